//! The training loop.

use std::collections::VecDeque;
use std::time::Instant;

use ingle_core::random::{RandomStream, derive_seed, normal_noise};
use ingle_core::{Acting, Learner, Policy, StepOutput};
use ingle_envs::VectorEnvironment;
use ingle_replay::{Insert, RateLimiter, Rows};
use tracing::{debug, info_span};

use crate::evaluation::Stage;
use crate::observer::{Event, Observer, Progress, StopReason, Summary};
use crate::{EpisodeStatistics, TrainConfig, TrainError, evaluate};

/// What a training loop needs of a learner: updates, a policy, and a place for transitions.
pub trait Agent: Learner + Policy + Insert {}

impl<T: Learner + Policy + Insert> Agent for T {}

/// The number of episodes whose mean return [`Progress`] shows (Stable-Baselines3's window).
const RETURN_WINDOW: usize = 100;

/// Drives a learner: act, store, update in the configured ratio, evaluate.
pub struct Trainer<L> {
    /// The learner that is trained.
    pub learner: L,
    config: TrainConfig,
    environments: Vec<Box<dyn VectorEnvironment>>,
    evaluation: Vec<Box<dyn VectorEnvironment>>,
    limiter: RateLimiter,
    /// Each member's stream of random actions and exploration noise.
    acting: Vec<RandomStream>,
    stage: Stage,
    discount: Vec<f32>,
    reward: Vec<f32>,
    seed: u64,
    env_steps: u64,
    updates: u64,
    returns: VecDeque<f64>,
}

impl<L: std::fmt::Debug> std::fmt::Debug for Trainer<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trainer")
            .field("learner", &self.learner)
            .field("config", &self.config)
            .field("env_steps", &self.env_steps)
            .field("updates", &self.updates)
            .finish_non_exhaustive()
    }
}

impl<L: Agent> Trainer<L> {
    /// Puts a run together. `environments` and `evaluation` have one vector for each member of the population; the
    /// evaluation's have [`TrainConfig::evaluation_episodes`] environments each.
    ///
    /// # Errors
    /// If a setting is out of range, or learner and environments do not fit each other.
    pub fn new(
        learner: L,
        environments: Vec<Box<dyn VectorEnvironment>>,
        evaluation: Vec<Box<dyn VectorEnvironment>>,
        config: TrainConfig,
        seed: u64,
    ) -> Result<Self, TrainError> {
        config.validate()?;
        let count = environments.first().map_or(0, VectorEnvironment::len);
        let mismatch = |what, environment, learner| TrainError::Mismatch { what, environment, learner };
        for vectors in [&environments, &evaluation] {
            if vectors.len() != learner.population() {
                return Err(mismatch("members", vectors.len(), learner.population()));
            }
            for vector in vectors {
                let (observation, action) = (vector.observation_space().len(), vector.action_space().len());
                if observation != learner.observation_size() {
                    return Err(mismatch("observation elements", observation, learner.observation_size()));
                }
                if action != learner.action_size() {
                    return Err(mismatch("action elements", action, learner.action_size()));
                }
            }
        }
        if let Some(other) = environments.iter().find(|vector| vector.len() != count || count == 0) {
            return Err(mismatch("environments per member", other.len(), count.max(1)));
        }
        let limiter = RateLimiter::exact(config.updates_per_step, config.warmup_steps, count as u64)?;
        let population = learner.population();
        Ok(Self {
            stage: Stage::new(&learner, population, count),
            discount: vec![0.0; count],
            reward: vec![0.0; count],
            acting: (0..population as u64)
                .map(|member| RandomStream::new(derive_seed(seed.wrapping_add(member), "acting"), 0))
                .collect(),
            learner,
            config,
            environments,
            evaluation,
            limiter,
            seed,
            env_steps: 0,
            updates: 0,
            returns: VecDeque::with_capacity(RETURN_WINDOW),
        })
    }

    /// Trains until a stop condition holds, telling `observers` what happens, and evaluates at the end.
    ///
    /// # Errors
    /// If the learner, an environment or an observer fails.
    pub fn run(&mut self, observers: &mut [&mut dyn Observer]) -> Result<Summary, TrainError> {
        let _span = info_span!("train", seed = self.seed).entered();
        let start = Instant::now();
        let mut tell =
            |event: Event<'_>| observers.iter_mut().try_for_each(|observer| observer.observe(&event));
        let mut last = None;
        let mut evaluated = None;
        for (member, vector) in self.environments.iter_mut().enumerate() {
            // Member p plays what a single learner with its seed would play.
            let seed = derive_seed(self.seed.wrapping_add(member as u64), "environments");
            self.stage.observation_mut(member).copy_from_slice(vector.reset(seed)?);
        }
        let reason = loop {
            let before = self.env_steps;
            self.play(&mut tell)?;
            if let Some(output) = self.learn()? {
                last = Some(output);
            }
            tell(Event::Progress(self.progress()))?;

            let crossed = |interval: u64| interval > 0 && before / interval != self.env_steps / interval;
            if crossed(self.config.log_interval)
                && let Some(output) = &last
            {
                tell(self.metrics(output, start)?)?;
            }
            let steps_done = self.env_steps >= self.config.steps;
            let updates_done = self.config.max_updates.is_some_and(|most| self.updates >= most);
            if steps_done || updates_done || crossed(self.config.evaluation_interval) {
                let members = self.evaluate()?;
                let best = members.iter().map(|member| member.mean_return).fold(f64::NEG_INFINITY, f64::max);
                tell(Event::Evaluation {
                    env_steps: self.env_steps,
                    updates: self.updates,
                    seconds: start.elapsed().as_secs_f64(),
                    members: &members,
                })?;
                evaluated = Some(members);
                if self.config.target_return.is_some_and(|target| best >= target) {
                    break StopReason::TargetReturn;
                }
            }
            if updates_done {
                break StopReason::Updates;
            }
            if steps_done {
                break StopReason::Steps;
            }
        };
        let summary = Summary {
            env_steps: self.env_steps,
            updates: self.updates,
            seconds: start.elapsed().as_secs_f64(),
            reason,
            evaluation: evaluated.unwrap_or_default(),
        };
        tell(Event::Finished(&summary))?;
        debug!(?summary, "run finished");
        Ok(summary)
    }

    /// How many updates were made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One step in every environment, stored.
    fn play(&mut self, tell: &mut impl FnMut(Event<'_>) -> Result<(), TrainError>) -> Result<(), TrainError> {
        let count = self.stage.environments;
        if self.env_steps < self.config.warmup_steps {
            let size = count * self.learner.action_size();
            for (stream, actions) in self.acting.iter_mut().zip(self.stage.actions.chunks_exact_mut(size)) {
                stream.fill_uniform(-1.0, 1.0, actions);
            }
        } else {
            let options = self.learner.device().into();
            let noise = normal_noise(&mut self.acting, 1, count, self.learner.action_size(), &options);
            self.stage.act(&self.learner, Acting::Exploring(noise.squeeze_dim(0)))?;
        }
        self.limiter.insert(count as u64)?;
        self.env_steps += count as u64;
        for (member, vector) in self.environments.iter_mut().enumerate() {
            let observation = self.stage.observation(member).to_vec();
            let action = self.stage.action(member).to_vec();
            let step = self.stage.step(member, vector.as_mut())?;
            for (discount, &terminated) in self.discount.iter_mut().zip(&step.terminated) {
                *discount = if terminated { 0.0 } else { self.config.gamma as f32 };
            }
            self.reward.copy_from_slice(&step.reward);
            self.learner.insert(
                member,
                Rows {
                    observation: &observation,
                    action: &action,
                    reward: &self.reward,
                    discount: &self.discount,
                    next_observation: &step.next_observation,
                },
            )?;
            for episode in &step.episodes {
                if self.returns.len() == RETURN_WINDOW {
                    self.returns.pop_front();
                }
                self.returns.push_back(episode.episode_return);
                tell(Event::Episode {
                    env_steps: self.env_steps,
                    member,
                    episode_return: episode.episode_return,
                    length: episode.length,
                })?;
            }
        }
        Ok(())
    }

    /// All updates that are due.
    fn learn(&mut self) -> Result<Option<StepOutput>, TrainError> {
        let mut last = None;
        let most = self.config.max_updates.unwrap_or(u64::MAX);
        while self.updates < most && self.limiter.may_sample() {
            self.limiter.sample()?;
            last = Some(self.learner.step()?);
            self.updates += 1;
        }
        Ok(last)
    }

    fn evaluate(&mut self) -> Result<Vec<EpisodeStatistics>, TrainError> {
        let _span = info_span!("evaluate", env_steps = self.env_steps).entered();
        evaluate(&self.learner, &mut self.evaluation, derive_seed(self.seed, "evaluation"))
    }

    fn metrics(&self, output: &StepOutput, start: Instant) -> Result<Event<'static>, TrainError> {
        Ok(Event::Metrics {
            env_steps: self.env_steps,
            updates: self.updates,
            seconds: start.elapsed().as_secs_f64(),
            metrics: output.metrics.read()?.into_iter().collect(),
        })
    }

    fn progress(&self) -> Progress {
        let mean = self.returns.iter().sum::<f64>() / self.returns.len() as f64;
        Progress {
            env_steps: self.env_steps,
            updates: self.updates,
            mean_return: (!self.returns.is_empty()).then_some(mean),
        }
    }
}
