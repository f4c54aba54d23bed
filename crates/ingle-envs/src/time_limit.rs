use rand::rngs::ChaCha8Rng;

use crate::{BoxSpace, Environment, EnvironmentError, Step};

/// Truncates an episode after a number of steps. It never terminates one, and leaves `terminated` as it is:
/// when an episode terminates in its last allowed step, both flags are true.
#[derive(Clone, Debug)]
pub struct TimeLimit<E> {
    environment: E,
    limit: u64,
    elapsed: u64,
}

impl<E: Environment> TimeLimit<E> {
    /// `environment`, with episodes of at most `limit` steps.
    ///
    /// # Errors
    ///
    /// When `limit` is 0.
    pub fn new(environment: E, limit: u64) -> Result<Self, EnvironmentError> {
        if limit == 0 {
            return Err(EnvironmentError::NoTime);
        }
        Ok(Self { environment, limit, elapsed: 0 })
    }
}

impl<E: Environment> Environment for TimeLimit<E> {
    fn observation_space(&self) -> &BoxSpace {
        self.environment.observation_space()
    }

    fn action_space(&self) -> &BoxSpace {
        self.environment.action_space()
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        self.elapsed = 0;
        self.environment.reset(random, observation)
    }

    fn step(
        &mut self,
        action: &[f32],
        random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        let step = self.environment.step(action, random, observation)?;
        self.elapsed = self.elapsed.saturating_add(1);
        Ok(Step { truncated: step.truncated || self.elapsed >= self.limit, ..step })
    }

    /// The environment's state, followed by the number of steps taken in this episode.
    fn save(&self) -> Option<Vec<f64>> {
        let mut state = self.environment.save()?;
        state.push(self.elapsed as f64);
        Some(state)
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let Some((&elapsed, state)) = state.split_last() else {
            return Err(EnvironmentError::mismatch("the number of steps taken is missing"));
        };
        let limit = self.limit as f64;
        if !(0.0..=limit).contains(&elapsed) || elapsed.fract() != 0.0 {
            return Err(EnvironmentError::mismatch(format!("{elapsed} steps taken of at most {limit}")));
        }
        self.environment.restore(state)?;
        #[expect(clippy::cast_sign_loss, reason = "not negative, as just checked")]
        let elapsed = elapsed as u64;
        self.elapsed = elapsed;
        Ok(())
    }
}
