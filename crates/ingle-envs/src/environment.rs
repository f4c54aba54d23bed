use rand::rngs::ChaCha8Rng;

use crate::{BoxSpace, EnvironmentError};

/// One environment with continuous actions, in which one episode runs at a time.
///
/// It holds no random generator. Whoever runs it lends it the environment's own stream in every call, and so
/// can save that stream, restore it, and repeat an episode.
///
/// # What the caller promises
///
/// `observation` has [`observation_space().len()`](BoxSpace::len) elements, and every episode begins with a
/// `reset`: after a step that is `terminated` or `truncated`, and after an error, the next call is a `reset`.
/// [`SyncVector`] keeps both promises, so an environment may rely on them; it may not rely on `action`, which
/// comes from a learner: [`BoxSpace::check`] is the one line for that.
///
/// [`SyncVector`]: crate::SyncVector
///
/// # Writing one
///
/// ```
/// use ingle_envs::rand::{RngExt, rngs::ChaCha8Rng};
/// use ingle_envs::{BoxSpace, Environment, EnvironmentError, Step};
///
/// /// Stay near the harbour: the wind is random, the engine is yours.
/// struct Boat {
///     observation_space: BoxSpace,
///     action_space: BoxSpace,
///     position: f32,
/// }
///
/// impl Environment for Boat {
///     fn observation_space(&self) -> &BoxSpace {
///         &self.observation_space
///     }
///     fn action_space(&self) -> &BoxSpace {
///         &self.action_space
///     }
///     fn reset(
///         &mut self,
///         random: &mut ChaCha8Rng,
///         observation: &mut [f32],
///     ) -> Result<(), EnvironmentError> {
///         self.position = random.random_range(-1.0..1.0);
///         observation[0] = self.position;
///         Ok(())
///     }
///     fn step(
///         &mut self,
///         action: &[f32],
///         random: &mut ChaCha8Rng,
///         observation: &mut [f32],
///     ) -> Result<Step, EnvironmentError> {
///         self.action_space.check("action", action)?;
///         let wind = random.random_range(-0.2..0.2);
///         self.position += wind + 0.1 * action[0].clamp(-1.0, 1.0);
///         observation[0] = self.position;
///         let distance = self.position.abs();
///         Ok(Step { reward: -f64::from(distance), terminated: distance > 5.0, truncated: false })
///     }
/// }
///
/// use ingle_envs::{SyncVector, TimeLimit, VectorEnvironment};
///
/// let boat = Boat {
///     observation_space: BoxSpace::new(vec![f32::NEG_INFINITY], vec![f32::INFINITY])?,
///     action_space: BoxSpace::new(vec![-1.0], vec![1.0])?,
///     position: 0.0,
/// };
/// let mut boats = SyncVector::new(vec![Box::new(TimeLimit::new(boat, 100)?)])?;
/// boats.reset(7)?;
/// assert!(boats.step(&[0.5])?.reward[0] < 0.0);
/// # Ok::<(), EnvironmentError>(())
/// ```
pub trait Environment: Send {
    /// The space of observations. It does not change.
    fn observation_space(&self) -> &BoxSpace;

    /// The space of actions, which is bounded. It does not change.
    fn action_space(&self) -> &BoxSpace;

    /// Begins an episode and writes its first observation.
    ///
    /// # Errors
    ///
    /// When the environment cannot begin, or when `observation` has the wrong length.
    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError>;

    /// Takes one step with `action`, in the units of [`action_space`](Self::action_space), and writes the
    /// observation that follows (also when the episode ends with it).
    ///
    /// # Errors
    ///
    /// When the action has the wrong length or a number that is not finite, before the first reset, or when
    /// the environment itself fails.
    fn step(
        &mut self,
        action: &[f32],
        random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError>;

    /// The internal state, from which [`restore`](Self::restore) goes on bit for bit: everything that changes
    /// from step to step, and nothing that is configuration. All numbers are finite.
    ///
    /// `None` when there is nothing to go on from: before the first reset, and always for an environment that
    /// cannot save itself, which is what an environment is unless it says otherwise.
    fn save(&self) -> Option<Vec<f64>> {
        None
    }

    /// Goes back to a saved state.
    ///
    /// # Errors
    ///
    /// When the environment cannot be restored, which is the default, or when the state is not one of its
    /// own.
    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let _ = state;
        Err(EnvironmentError::CannotRestore)
    }
}

/// What a step brought, apart from the observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The reward for this step.
    pub reward: f64,
    /// The episode has ended in a state without a future: its value is zero, and no learner bootstraps from
    /// it.
    pub terminated: bool,
    /// The episode was cut off from outside, as by a time limit: the state has a future that nobody watches,
    /// and a learner bootstraps from its observation. Both flags can be true; then `terminated` decides.
    pub truncated: bool,
}

impl<E: Environment + ?Sized> Environment for Box<E> {
    fn observation_space(&self) -> &BoxSpace {
        (**self).observation_space()
    }

    fn action_space(&self) -> &BoxSpace {
        (**self).action_space()
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        (**self).reset(random, observation)
    }

    fn step(
        &mut self,
        action: &[f32],
        random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        (**self).step(action, random, observation)
    }

    fn save(&self) -> Option<Vec<f64>> {
        (**self).save()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        (**self).restore(state)
    }
}
