use serde::{Deserialize, Serialize};

use crate::{BoxSpace, EnvironmentError};

/// N environments with the same spaces, stepped together: what a training loop talks to.
///
/// Arrays are flat, rows first: `[N, O]` is N observations of O numbers, `[N, A]` N actions of A numbers.
///
/// An environment whose episode ends begins the next one within the same step. Nothing is lost by it: see
/// [`VectorStep`].
pub trait VectorEnvironment: Send {
    /// N, the number of environments.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The space of one environment's observations.
    fn observation_space(&self) -> &BoxSpace;

    /// The space of one environment's actions, which is bounded.
    fn action_space(&self) -> &BoxSpace;

    /// Begins anew with everything random drawn from `seed`: the same seed brings the same episodes, and no
    /// two environments share a stream. Returns the first observations, `[N, O]`.
    ///
    /// # Errors
    ///
    /// When an environment fails to begin or returns a number that is not finite.
    fn reset(&mut self, seed: u64) -> Result<&[f32], EnvironmentError>;

    /// Takes one step in every environment, with `actions` `[N, A]` in the units of the
    /// [`action_space`](Self::action_space).
    ///
    /// # Errors
    ///
    /// When the actions have the wrong length or a number that is not finite: then nothing has moved. When an
    /// environment fails, or returns an observation or a reward that is not finite: then the others may have
    /// moved, and the vector steps again only after a [`reset`](Self::reset) or [`restore`](Self::restore).
    fn step(&mut self, actions: &[f32]) -> Result<&VectorStep, EnvironmentError>;

    /// Everything that [`restore`](Self::restore) needs to go on bit for bit.
    ///
    /// `None` when there is nothing to go on from: before the first reset, after an error, and when one of
    /// the environments cannot save itself.
    fn save(&self) -> Option<VectorState> {
        None
    }

    /// Goes back to a saved state and returns the observations to act on next, `[N, O]`.
    ///
    /// # Errors
    ///
    /// When the environments cannot be restored, which is the default, or when the state is not one of
    /// theirs: then the vector steps again only after a [`reset`](Self::reset) or another `restore`.
    fn restore(&mut self, state: &VectorState) -> Result<&[f32], EnvironmentError> {
        let _ = state;
        Err(EnvironmentError::CannotRestore)
    }
}

impl<V: VectorEnvironment + ?Sized> VectorEnvironment for Box<V> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn observation_space(&self) -> &BoxSpace {
        (**self).observation_space()
    }

    fn action_space(&self) -> &BoxSpace {
        (**self).action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<&[f32], EnvironmentError> {
        (**self).reset(seed)
    }

    fn step(&mut self, actions: &[f32]) -> Result<&VectorStep, EnvironmentError> {
        (**self).step(actions)
    }

    fn save(&self) -> Option<VectorState> {
        (**self).save()
    }

    fn restore(&mut self, state: &VectorState) -> Result<&[f32], EnvironmentError> {
        (**self).restore(state)
    }
}

/// What one step of N environments brought. Each array has one row per environment.
///
/// There are two observations, and they are equal except where an episode ended:
///
/// - [`next_observation`](Self::next_observation) is what the action led to. It belongs into the transition:
///   the target of a learner is `reward + γ (1 - terminated) V(next_observation)`.
/// - [`observation`](Self::observation) is what to act on next: after an episode's end, the first observation
///   of the next episode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorStep {
    /// `[N, O]` The real successor of each action, before any reset.
    pub next_observation: Vec<f32>,
    /// `[N, O]` What to act on next, after any reset.
    pub observation: Vec<f32>,
    /// `[N]` The rewards.
    pub reward: Vec<f32>,
    /// `[N]` The episode ended in a state without a future: do not bootstrap.
    pub terminated: Vec<bool>,
    /// `[N]` The episode was cut off: bootstrap from `next_observation`, unless `terminated` is true as well.
    pub truncated: Vec<bool>,
    /// The episodes that ended in this step, by rising index of the environment.
    pub episodes: Vec<Episode>,
}

impl VectorStep {
    /// Zeros for `environments` environments with observations of `observation_len` numbers, and room for the
    /// rest: a step that is written into it allocates nothing.
    pub fn new(environments: usize, observation_len: usize) -> Self {
        Self {
            next_observation: vec![0.0; environments * observation_len],
            observation: vec![0.0; environments * observation_len],
            reward: vec![0.0; environments],
            terminated: vec![false; environments],
            truncated: vec![false; environments],
            episodes: Vec::with_capacity(environments),
        }
    }
}

/// An episode that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// The index of its environment.
    pub environment: usize,
    /// The sum of its rewards, not discounted.
    pub episode_return: f64,
    /// Its number of steps.
    pub length: u64,
}

/// The whole state of a vector of environments, for a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorState {
    /// The key of the random streams. The stream's number is the index of the environment.
    pub key: [u8; 32],
    /// How many steps the vector has taken since its reset.
    pub steps: u64,
    /// One for each environment.
    pub environments: Vec<EpisodeState>,
}

/// The state of one environment of a vector, in the middle of an episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeState {
    /// The environment's own state, from [`Environment::save`](crate::Environment::save).
    pub state: Vec<f64>,
    /// The observation to act on next.
    pub observation: Vec<f32>,
    /// How many 32-bit words the environment has drawn from its random stream.
    pub stream_position: u64,
    /// The sum of the episode's rewards so far.
    pub episode_return: f64,
    /// The number of the episode's steps so far.
    pub length: u64,
}
