use rand::{RngExt, rngs::ChaCha8Rng};

use crate::error::{EnvironmentError, check_length};
use crate::{BoxSpace, Environment, Step};

const MIN_POSITION: f64 = -1.2;
const MAX_POSITION: f64 = 0.6;
const MAX_SPEED: f64 = 0.07;
const GOAL_POSITION: f64 = 0.45;
const POWER: f64 = 0.0015;
const GRAVITY: f64 = 0.0025;

/// Drive a weak car out of a valley: Gymnasium's `MountainCarContinuous-v0`, to the bit where `cos` is.
///
/// The state is the position x and the velocity v:
///
/// ```text
/// v ← clip(v + 0.0015 clip(a, -1, 1) - 0.0025 cos(3 x), -0.07, 0.07)
/// x ← clip(x + v, -1.2, 0.6)                          at the left wall: v ← max(v, 0)
/// terminated = x ≥ 0.45 and v ≥ 0
/// reward = (100 if terminated) - 0.1 a²               the action as given, not clipped
/// ```
///
/// | | elements | range |
/// |---|---|---|
/// | observation | position x, velocity v | `[-1.2, 0.6]`, `[-0.07, 0.07]` |
/// | action | force a, clipped to its range | `[-1, 1]` |
/// | start | x uniform, v = 0 | `[-0.6, -0.4)` |
///
/// [`make`](crate::make) adds the usual [time limit](Self::TIME_LIMIT).
///
/// Gymnasium keeps the state in float64 until the first step and in float32 from then on, and so does this.
///
/// Source: `gymnasium/envs/classic_control/continuous_mountain_car.py`, version 1.4.0 (MIT licence), under
/// `NumPy` 2's rules of promotion.
#[derive(Clone, Debug)]
pub struct MountainCarContinuous {
    observation_space: BoxSpace,
    action_space: BoxSpace,
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    position: f64,
    velocity: f64,
    /// Whether the state has been through a step, and with it through float32.
    stepped: bool,
}

impl MountainCarContinuous {
    /// The largest number of steps of an episode of `MountainCarContinuous-v0`.
    pub const TIME_LIMIT: u64 = 999;

    /// A car that waits for its first reset.
    pub fn new() -> Self {
        let (low, high) = ([MIN_POSITION, -MAX_SPEED], [MAX_POSITION, MAX_SPEED]);
        Self {
            observation_space: BoxSpace::constant(
                low.map(|bound| bound as f32),
                high.map(|bound| bound as f32),
            ),
            action_space: BoxSpace::constant([-1.0], [1.0]),
            state: None,
        }
    }

    /// Puts the car at a position with a velocity, as if by a reset: ready for a first step.
    ///
    /// # Errors
    ///
    /// When one of them is not finite.
    pub fn set_state(&mut self, position: f64, velocity: f64) -> Result<(), EnvironmentError> {
        self.put(State { position, velocity, stepped: false })
    }

    fn put(&mut self, state: State) -> Result<(), EnvironmentError> {
        let State { position, velocity, .. } = state;
        if !(position.is_finite() && velocity.is_finite()) {
            return Err(EnvironmentError::mismatch(format!("position {position}, velocity {velocity}")));
        }
        self.state = Some(state);
        Ok(())
    }
}

impl Default for MountainCarContinuous {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for MountainCarContinuous {
    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        check_length("observation", self.observation_space.len(), observation.len())?;
        let state = State { position: random.random_range(-0.6..-0.4), velocity: 0.0, stepped: false };
        state.observe(observation);
        self.state = Some(state);
        Ok(())
    }

    fn step(
        &mut self,
        action: &[f32],
        _random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        self.action_space.check("action", action)?;
        check_length("observation", self.observation_space.len(), observation.len())?;
        let state = self.state.as_mut().ok_or(EnvironmentError::NotReset)?;
        let terminated = state.advance(action[0]);
        state.observe(observation);
        let goal = if terminated { 100.0 } else { 0.0 };
        Ok(Step { reward: goal - f64::from(action[0]).powi(2) * 0.1, terminated, truncated: false })
    }

    /// `[position, velocity, 1 after a first step and 0 before it]`.
    fn save(&self) -> Option<Vec<f64>> {
        self.state.map(|State { position, velocity, stepped }| vec![position, velocity, f64::from(stepped)])
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[position, velocity, stepped @ (0.0 | 1.0)] = state else {
            return Err(EnvironmentError::mismatch(format!(
                "{state:?}, expected a position, a velocity, and 0 or 1"
            )));
        };
        self.put(State { position, velocity, stepped: stepped > 0.0 })
    }
}

impl State {
    /// Moves the car and returns whether it has reached the goal.
    fn advance(&mut self, action: f32) -> bool {
        // The width of the state: float64 in the first step, float32 afterwards. Rounding each result of a
        // float64 operation on float32 numbers is the same as the float32 operation.
        let stepped = self.stepped;
        let width = |value: f64| if stepped { f64::from(value as f32) } else { value };

        let slope = GRAVITY * width(3.0 * self.position).cos();
        // Clipping puts a Python float in the action's place, and with it the float32 arithmetic ends.
        let push = if (-1.0..=1.0).contains(&action) {
            f64::from(action * POWER as f32 - slope as f32)
        } else {
            f64::from(action).signum() * POWER - slope
        };
        let max_speed = width(MAX_SPEED);
        let mut velocity = width(self.velocity + width(push)).clamp(-max_speed, max_speed);
        let position = width(self.position + velocity).clamp(width(MIN_POSITION), width(MAX_POSITION));
        if position <= width(MIN_POSITION) && velocity < 0.0 {
            velocity = 0.0;
        }
        let terminated = position >= width(GOAL_POSITION) && velocity >= 0.0;
        let [position, velocity] = [position, velocity].map(|value| f64::from(value as f32));
        *self = Self { position, velocity, stepped: true };
        terminated
    }

    fn observe(&self, observation: &mut [f32]) {
        observation.copy_from_slice(&[self.position as f32, self.velocity as f32]);
    }
}
