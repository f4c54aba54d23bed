use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::{EnvironmentError, check_finite, check_length};
use crate::{BoxSpace, Environment, Episode, EpisodeState, Step, VectorEnvironment, VectorState, VectorStep};

/// Steps its environments one after another in the caller's thread: the fastest way while a step costs less
/// than talking to another thread, as it does for the native environments. For others there is
/// [`threaded`](Self::threaded); what comes out is the same, bit for bit.
///
/// ```
/// use ingle_envs::{Pendulum, SyncVector, TimeLimit, VectorEnvironment};
///
/// let mut environments = SyncVector::new(vec![
///     Box::new(TimeLimit::new(Pendulum::new(), 200)?),
///     Box::new(TimeLimit::new(Pendulum::new(), 100)?),
/// ])?;
/// assert_eq!(environments.reset(7)?.len(), 2 * 3);
///
/// let saved = environments.save().expect("a pendulum can be saved");
/// let straight = environments.step(&[0.5, -0.5])?.clone();
/// environments.restore(&saved)?;
/// assert_eq!(*environments.step(&[0.5, -0.5])?, straight);
/// # Ok::<(), ingle_envs::EnvironmentError>(())
/// ```
///
/// # When an environment fails
///
/// An environment that panics, fails, or returns a number that is not finite, is an error that says which one it was, in
/// which step. After [`restarts`](Self::restarts), so many of these failures are borne: the episode is cut (truncated, with
/// reward 0 and the last observation as the next), a new one begins, a warning is logged, and the other environments
/// notice nothing. One that hangs cannot be helped from here; in a process of its own
/// ([`GymnasiumVector`](crate::GymnasiumVector)) it can.
pub struct SyncVector {
    slots: Vec<Slot>,
    observation_space: BoxSpace,
    action_space: BoxSpace,
    /// The steps taken since the reset; `None` while the environments are in no common state.
    steps: Option<u64>,
    threaded: bool,
    restarts: u64,
    last: VectorStep,
}

/// An environment with its random stream and the episode that runs in it.
struct Slot {
    environment: Box<dyn Environment>,
    random: ChaCha8Rng,
    episode_return: f64,
    length: u64,
    /// What the last step came to.
    outcome: Result<(Step, Option<Episode>), EnvironmentError>,
}

impl SyncVector {
    /// A vector that waits for its first reset.
    ///
    /// # Errors
    ///
    /// When there is no environment, or when they do not all have the same spaces.
    pub fn new(environments: Vec<Box<dyn Environment>>) -> Result<Self, EnvironmentError> {
        let first = environments.first().ok_or(EnvironmentError::NoEnvironments)?;
        let observation_space = first.observation_space().clone();
        let action_space = first.action_space().clone();
        for (environment, other) in environments.iter().enumerate() {
            for (field, space, other) in [
                ("observation_space", &observation_space, other.observation_space()),
                ("action_space", &action_space, other.action_space()),
            ] {
                if space != other {
                    return Err(EnvironmentError::SpacesDiffer { environment, field });
                }
            }
        }
        let last = VectorStep::new(environments.len(), observation_space.len());
        let slots = environments.into_iter().map(Slot::new).collect();
        Ok(Self { slots, observation_space, action_space, steps: None, threaded: false, restarts: 0, last })
    }

    /// This vector, stepped by the threads of rayon's current pool from now on. It pays where a step takes longer
    /// than some ten microseconds.
    #[must_use]
    pub fn threaded(mut self) -> Self {
        self.threaded = true;
        self
    }

    /// This vector, bearing so many failures of its environments. Default 0.
    #[must_use]
    pub fn restarts(mut self, restarts: u64) -> Self {
        self.restarts = restarts;
        self
    }

    /// Cuts the episode of an environment that failed in a step, if that may be borne, and begins the next one.
    fn recover(
        &mut self,
        index: usize,
        number: u64,
        before: &[f32],
        error: EnvironmentError,
    ) -> Result<Episode, EnvironmentError> {
        let error = error.at(index, number);
        let Some(left) = self.restarts.checked_sub(1) else { return Err(error) };
        self.restarts = left;
        tracing::warn!("{error}: its episode is cut; {left} restarts are left");
        let o = self.observation_space.len();
        let row = index * o..(index + 1) * o;
        let slot = &mut self.slots[index];
        // The step that failed counts: no episode has none.
        let episode = Episode { length: slot.length.max(1), ..slot.episode(index) };
        slot.begin(&mut self.last.observation[row.clone()]).map_err(|error| error.at(index, number))?;
        self.last.next_observation[row].copy_from_slice(before);
        Ok(episode)
    }
}

impl VectorEnvironment for SyncVector {
    fn len(&self) -> usize {
        self.slots.len()
    }

    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, seed: u64) -> Result<&[f32], EnvironmentError> {
        self.steps = None;
        let key = ChaCha8Rng::seed_from_u64(seed).get_seed();
        let observations = self.last.observation.chunks_exact_mut(self.observation_space.len());
        for (index, (slot, observation)) in self.slots.iter_mut().zip(observations).enumerate() {
            slot.random = stream(key, index, 0);
            slot.begin(observation).map_err(|error| error.at(index, 0))?;
        }
        self.steps = Some(0);
        Ok(&self.last.observation)
    }

    fn step(&mut self, actions: &[f32]) -> Result<&VectorStep, EnvironmentError> {
        let number = self.steps.ok_or(EnvironmentError::NotReset)?.saturating_add(1);
        let (o, a) = (self.observation_space.len(), self.action_space.len());
        check_length("actions", self.slots.len() * a, actions.len())?;
        for (index, action) in actions.chunks_exact(a).enumerate() {
            check_finite("action", action).map_err(|error| error.at(index, number))?;
        }

        self.steps = None;
        // Where an environment fails, there is nothing else left of what it was last at.
        let before = if self.restarts > 0 { self.last.observation.clone() } else { Vec::new() };
        let last = &mut self.last;
        let rows = (
            actions.par_chunks_exact(a),
            last.next_observation.par_chunks_exact_mut(o),
            last.observation.par_chunks_exact_mut(o),
        );
        if self.threaded && self.slots.len() > 1 {
            self.slots.par_iter_mut().enumerate().zip(rows).for_each(
                |((index, slot), (action, next, observation))| {
                    slot.advance(index, action, next, observation);
                },
            );
        } else {
            for (index, slot) in self.slots.iter_mut().enumerate() {
                let row = index * o..(index + 1) * o;
                let (next, observation) =
                    (&mut last.next_observation[row.clone()], &mut last.observation[row]);
                slot.advance(index, &actions[index * a..(index + 1) * a], next, observation);
            }
        }
        last.episodes.clear();
        for index in 0..self.slots.len() {
            let (step, episode) = match self.slots[index].outcome.clone() {
                Ok(outcome) => outcome,
                Err(error) => {
                    let before = before.get(index * o..(index + 1) * o).unwrap_or_default();
                    let cut = self.recover(index, number, before, error)?;
                    (Step { reward: 0.0, terminated: false, truncated: true }, Some(cut))
                }
            };
            self.last.episodes.extend(episode);
            self.last.reward[index] = step.reward as f32;
            self.last.terminated[index] = step.terminated;
            self.last.truncated[index] = step.truncated;
        }
        self.steps = Some(number);
        Ok(&self.last)
    }

    fn save(&self) -> Option<VectorState> {
        let observations = self.last.observation.chunks_exact(self.observation_space.len());
        Some(VectorState {
            steps: self.steps?,
            key: self.slots.first()?.random.get_seed(),
            environments: self
                .slots
                .iter()
                .zip(observations)
                .map(|(slot, observation)| slot.save(observation))
                .collect::<Option<_>>()?,
        })
    }

    fn restore(&mut self, state: &VectorState) -> Result<&[f32], EnvironmentError> {
        let (expected, actual) = (self.slots.len(), state.environments.len());
        if actual != expected {
            return Err(EnvironmentError::mismatch(format!("{actual} environments, expected {expected}")));
        }
        self.steps = None;
        let observations = self.last.observation.chunks_exact_mut(self.observation_space.len());
        for (index, ((slot, observation), saved)) in
            self.slots.iter_mut().zip(observations).zip(&state.environments).enumerate()
        {
            let at = |error: EnvironmentError| error.at(index, state.steps);
            self.observation_space.check("observation", &saved.observation).map_err(at)?;
            slot.restore(saved).map_err(at)?;
            slot.random = stream(state.key, index, saved.stream_position);
            observation.copy_from_slice(&saved.observation);
        }
        self.steps = Some(state.steps);
        Ok(&self.last.observation)
    }
}

impl Slot {
    fn new(environment: Box<dyn Environment>) -> Self {
        Self {
            environment,
            random: stream([0; 32], 0, 0),
            episode_return: 0.0,
            length: 0,
            outcome: Err(EnvironmentError::NotReset),
        }
    }

    /// Begins an episode.
    fn begin(&mut self, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        observation.fill(f32::NAN); // so that what an environment forgets to write is refused
        caught(|| self.environment.reset(&mut self.random, observation))?;
        self.episode_return = 0.0;
        self.length = 0;
        check_finite("observation", observation)
    }

    /// Takes a step of the episode.
    fn step(&mut self, action: &[f32], next_observation: &mut [f32]) -> Result<Step, EnvironmentError> {
        next_observation.fill(f32::NAN);
        let step = caught(|| self.environment.step(action, &mut self.random, next_observation))?;
        check_finite("next_observation", next_observation)?;
        check_finite("reward", &[step.reward as f32])?;
        self.episode_return += step.reward;
        self.length = self.length.saturating_add(1);
        Ok(step)
    }

    /// Takes a step and, where the episode ended with it, begins the next one.
    fn advance(
        &mut self,
        index: usize,
        action: &[f32],
        next_observation: &mut [f32],
        observation: &mut [f32],
    ) {
        self.outcome = self.step(action, next_observation).and_then(|step| {
            if step.terminated || step.truncated {
                let episode = self.episode(index);
                self.begin(observation).map(|()| (step, Some(episode)))
            } else {
                observation.copy_from_slice(next_observation);
                Ok((step, None))
            }
        });
    }

    fn episode(&self, environment: usize) -> Episode {
        Episode { environment, episode_return: self.episode_return, length: self.length }
    }

    fn save(&self, observation: &[f32]) -> Option<EpisodeState> {
        Some(EpisodeState {
            state: self.environment.save()?,
            observation: observation.to_vec(),
            stream_position: u64::try_from(self.random.get_word_pos()).ok()?,
            episode_return: self.episode_return,
            length: self.length,
        })
    }

    fn restore(&mut self, saved: &EpisodeState) -> Result<(), EnvironmentError> {
        let EpisodeState { episode_return, length, .. } = *saved;
        if !episode_return.is_finite() {
            return Err(EnvironmentError::mismatch(format!("an episode return of {episode_return}")));
        }
        self.environment.restore(&saved.state)?;
        self.episode_return = episode_return;
        self.length = length;
        Ok(())
    }
}

/// A call of an environment. After a panic, as after any error, the environment's next call is a reset.
fn caught<T>(call: impl FnOnce() -> Result<T, EnvironmentError>) -> Result<T, EnvironmentError> {
    let said = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(panic) => panic
            .downcast::<&str>()
            .map_or_else(|_| "it does not say why".to_owned(), |said| (*said).to_owned()),
    };
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        Err(EnvironmentError::Failed { reason: format!("it panicked: {}", said(panic)) })
    })
}

/// The random stream of the environment at `index`, `position` words on.
fn stream(key: [u8; 32], index: usize, position: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_stream(index as u64);
    random.set_word_pos(position.into());
    random
}
