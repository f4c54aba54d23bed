//! Evaluation with the deterministic policy, in environments of its own.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Tensor, TensorData};
use ingle_core::{Acting, Policy, Seeds};
use ingle_envs::VectorEnvironment;
use ingle_replay::demonstrations::Recording;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::observer::number;

/// Returns and lengths of a number of episodes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpisodeStatistics {
    /// Mean of the undiscounted returns.
    #[serde(deserialize_with = "number")]
    pub mean_return: f64,
    /// Their standard deviation (of the episodes themselves, not of the mean).
    #[serde(deserialize_with = "number")]
    pub std_return: f64,
    /// Mean number of steps.
    pub mean_length: f64,
    /// How many episodes.
    pub episodes: usize,
}

impl EpisodeStatistics {
    /// The statistics of `(return, length)` pairs; `None` of none.
    pub fn of(episodes: impl IntoIterator<Item = (f64, u64)>) -> Option<Self> {
        let (returns, lengths): (Vec<f64>, Vec<u64>) = episodes.into_iter().unzip();
        if returns.is_empty() {
            return None;
        }
        let count = returns.len() as f64;
        let mean_return = returns.iter().sum::<f64>() / count;
        let variance = returns.iter().map(|value| (value - mean_return).powi(2)).sum::<f64>() / count;
        Some(Self {
            mean_return,
            std_return: variance.sqrt(),
            mean_length: lengths.iter().sum::<u64>() as f64 / count,
            episodes: returns.len(),
        })
    }

    pub(crate) fn to_numbers(self) -> [f64; 4] {
        [self.mean_return, self.std_return, self.mean_length, self.episodes as f64]
    }

    pub(crate) fn from_numbers([mean_return, std_return, mean_length, episodes]: [f64; 4]) -> Self {
        Self { mean_return, std_return, mean_length, episodes: episodes as usize }
    }
}

/// Plays one episode in each environment with the deterministic policy and returns each member's statistics.
///
/// `environments` has one vector per member, all of one length. They are reset with `seed`: equal seeds give equal
/// starts, so that evaluations can be compared.
///
/// # Errors
/// If an environment or the policy fails.
pub fn evaluate(
    policy: &impl Policy,
    environments: &mut [Box<dyn VectorEnvironment>],
    seed: u64,
) -> Result<Vec<EpisodeStatistics>, TrainError> {
    let seeds = Seeds::Each(vec![seed; environments.len()]);
    Ok(evaluate_unless(&AtomicBool::new(false), policy, environments, &seeds)?.unwrap_or_default())
}

/// As [`evaluate`] with a seed for each member, but gives up, with `None`, as soon as `stop` is set.
pub(crate) fn evaluate_unless(
    stop: &AtomicBool,
    policy: &impl Policy,
    environments: &mut [Box<dyn VectorEnvironment>],
    seeds: &Seeds,
) -> Result<Option<Vec<EpisodeStatistics>>, TrainError> {
    let mut stage =
        Stage::new(policy, environments.len(), environments.first().map_or(0, VectorEnvironment::len));
    let mut finished = vec![vec![None; stage.environments]; environments.len()];
    for (member, vector) in environments.iter_mut().enumerate() {
        stage.observation_mut(member).copy_from_slice(vector.reset(seeds.of(member))?);
    }
    while finished.iter().flatten().any(Option::is_none) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        stage.act(policy, Acting::Deterministic)?;
        for (member, vector) in environments.iter_mut().enumerate() {
            let step = stage.step(member, vector.as_mut())?;
            for episode in &step.episodes {
                finished[member][episode.environment].get_or_insert((episode.episode_return, episode.length));
            }
        }
    }
    let episodes = finished.into_iter().map(|episodes| episodes.into_iter().flatten());
    Ok(Some(episodes.filter_map(EpisodeStatistics::of).collect()))
}

/// Plays one episode in each of `environments` with the deterministic policy of `member`, and returns every step: what
/// [`Demonstrations`](ingle_replay::demonstrations::Demonstrations) are made of.
///
/// # Errors
/// If an environment or the policy fails, or there is no such member.
pub fn record_episodes(
    policy: &impl Policy,
    member: usize,
    environments: &mut dyn VectorEnvironment,
    seed: u64,
) -> Result<Recording, TrainError> {
    let (population, count) = (policy.population(), environments.len());
    if member >= population {
        let problem = format!("member: must be below {population}, got {member}");
        return Err(ingle_core::Error::Config(vec![problem]).into());
    }
    let mut stage = Stage::new(policy, population, count);
    let (o, a) = (stage.observation_size, stage.action_size);
    let mut episodes = vec![Recording { reward: Some(Vec::new()), ..Recording::default() }; count];
    let mut finished = vec![false; count];
    stage.observation_mut(member).copy_from_slice(environments.reset(seed)?);
    while finished.contains(&false) {
        let before = stage.observation(member).to_vec();
        stage.act(policy, Acting::Deterministic)?;
        let step = stage.step(member, &mut *environments)?;
        for (index, (episode, finished)) in episodes.iter_mut().zip(&mut finished).enumerate() {
            if *finished {
                continue;
            }
            let (terminated, truncated) = (step.terminated[index], step.truncated[index]);
            episode.observation.extend_from_slice(&before[index * o..(index + 1) * o]);
            episode.action.extend_from_slice(&stage.scaled[index * a..(index + 1) * a]);
            episode.reward.get_or_insert_default().push(step.reward[index]);
            episode.next_observation.extend_from_slice(&step.next_observation[index * o..(index + 1) * o]);
            episode.terminated.push(terminated);
            episode.truncated.push(truncated);
            *finished = terminated || truncated;
        }
    }
    let mut all = Recording { reward: Some(Vec::new()), ..Recording::default() };
    for episode in episodes {
        all.observation.extend(episode.observation);
        all.action.extend(episode.action);
        all.reward.get_or_insert_default().extend(episode.reward.unwrap_or_default());
        all.next_observation.extend(episode.next_observation);
        all.terminated.extend(episode.terminated);
        all.truncated.extend(episode.truncated);
    }
    Ok(all)
}

/// The buffers between a policy and P vectors of environments.
#[derive(Debug)]
pub(crate) struct Stage {
    population: usize,
    pub(crate) environments: usize,
    observation_size: usize,
    action_size: usize,
    observations: Vec<f32>,
    /// Canonical actions `[P, N, A]`, as the policy gave them.
    pub(crate) actions: Vec<f32>,
    scaled: Vec<f32>,
}

impl Stage {
    pub(crate) fn new(policy: &impl Policy, population: usize, environments: usize) -> Self {
        let (observation_size, action_size) = (policy.observation_size(), policy.action_size());
        Self {
            population,
            environments,
            observation_size,
            action_size,
            observations: vec![0.0; population * environments * observation_size],
            actions: vec![0.0; population * environments * action_size],
            scaled: vec![0.0; environments * action_size],
        }
    }

    /// What `member` is to act on, `[N, O]`.
    pub(crate) fn observation(&self, member: usize) -> &[f32] {
        let size = self.environments * self.observation_size;
        &self.observations[member * size..(member + 1) * size]
    }

    pub(crate) fn observation_mut(&mut self, member: usize) -> &mut [f32] {
        let size = self.environments * self.observation_size;
        &mut self.observations[member * size..(member + 1) * size]
    }

    /// The canonical actions of `member`, `[N, A]`.
    pub(crate) fn action(&self, member: usize) -> &[f32] {
        let size = self.environments * self.action_size;
        &self.actions[member * size..(member + 1) * size]
    }

    /// Asks the policy for actions on the current observations.
    pub(crate) fn act(&mut self, policy: &impl Policy, acting: Acting) -> Result<(), TrainError> {
        let shape = [self.population, self.environments, self.observation_size];
        let data = TensorData::new(self.observations.clone(), shape);
        let actions = policy.act(Tensor::from_data(data, policy.device()), acting)?;
        let data = actions
            .try_into_data()
            .map_err(|error| ingle_core::Error::Execution(error.to_string()))?
            .convert::<f32>();
        match data.as_slice::<f32>() {
            Ok(actions) if actions.len() == self.actions.len() => {
                if let Some(index) = actions.iter().position(|value| !value.is_finite()) {
                    let member = index / (self.environments * self.action_size);
                    return Err(TrainError::ActionNotFinite { member, value: actions[index] });
                }
                self.actions.copy_from_slice(actions);
                Ok(())
            }
            _ => Err(TrainError::Mismatch {
                what: "action elements",
                environment: self.actions.len(),
                learner: data.num_elements(),
            }),
        }
    }

    /// Steps the environments of `member` with its actions; its observations are then the ones to act on next.
    pub(crate) fn step<'a>(
        &mut self,
        member: usize,
        vector: &'a mut dyn VectorEnvironment,
    ) -> Result<&'a ingle_envs::VectorStep, TrainError> {
        let size = self.action_size;
        let start = member * self.environments * size;
        for environment in 0..self.environments {
            let canonical = &self.actions[start + environment * size..start + (environment + 1) * size];
            let scaled = &mut self.scaled[environment * size..(environment + 1) * size];
            vector.action_space().from_canonical(canonical, scaled)?;
        }
        let step = vector.step(&self.scaled)?;
        let size = self.environments * self.observation_size;
        self.observations[member * size..(member + 1) * size].copy_from_slice(&step.observation);
        Ok(step)
    }
}
