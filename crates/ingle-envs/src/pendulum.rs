use std::f64::consts::{PI, TAU};

use rand::{RngExt, rngs::ChaCha8Rng};

use crate::error::{EnvironmentError, check_length};
use crate::{BoxSpace, Environment, Step};

const MAX_SPEED: f64 = 8.0;
const MAX_TORQUE: f32 = 2.0;
const TIME_STEP: f64 = 0.05;

/// Swing a pendulum up and balance it: Gymnasium's `Pendulum-v1`, to the bit where `sin` and `cos` are.
///
/// The state is the angle θ (0 is upright, any number of turns) and the angular velocity ω, in float64:
///
/// ```text
/// reward = -(normalised(θ)² + 0.1 ω² + 0.001 u²)      normalised: to [-π, π)
/// ω ← clip(ω + (15 sin θ + 3 u) · 0.05, -8, 8)
/// θ ← θ + 0.05 ω
/// ```
///
/// | | elements | range |
/// |---|---|---|
/// | observation | cos θ, sin θ, ω (rad/s) | `[-1, 1]`, `[-1, 1]`, `[-8, 8]` |
/// | action | torque u (N m), clipped to its range | `[-2, 2]` |
/// | start | θ, ω uniform | `[-π, π)`, `[-1, 1)` |
///
/// An episode never terminates; [`make`](crate::make) adds the usual [time limit](Self::TIME_LIMIT).
///
/// Source: `gymnasium/envs/classic_control/pendulum.py`, version 1.4.0 (MIT licence).
#[derive(Clone, Debug)]
pub struct Pendulum {
    observation_space: BoxSpace,
    action_space: BoxSpace,
    state: Option<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    angle: f64,
    velocity: f64,
}

impl Pendulum {
    /// The number of steps of an episode of `Pendulum-v1`.
    pub const TIME_LIMIT: u64 = 200;

    /// A pendulum that waits for its first reset.
    pub fn new() -> Self {
        Self {
            observation_space: BoxSpace::constant([-1.0, -1.0, -8.0], [1.0, 1.0, 8.0]),
            action_space: BoxSpace::constant([-MAX_TORQUE], [MAX_TORQUE]),
            state: None,
        }
    }

    /// Puts the pendulum at an angle (rad, 0 is upright) with an angular velocity (rad/s), ready for a step.
    ///
    /// # Errors
    ///
    /// When one of them is not finite.
    pub fn set_state(&mut self, angle: f64, velocity: f64) -> Result<(), EnvironmentError> {
        if !(angle.is_finite() && velocity.is_finite()) {
            return Err(EnvironmentError::mismatch(format!("angle {angle}, angular velocity {velocity}")));
        }
        self.state = Some(State { angle, velocity });
        Ok(())
    }
}

impl Default for Pendulum {
    fn default() -> Self {
        Self::new()
    }
}

impl Environment for Pendulum {
    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        check_length("observation", self.observation_space.len(), observation.len())?;
        let state = State { angle: random.random_range(-PI..PI), velocity: random.random_range(-1.0..1.0) };
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
        let reward = state.advance(action[0].clamp(-MAX_TORQUE, MAX_TORQUE));
        state.observe(observation);
        Ok(Step { reward, terminated: false, truncated: false })
    }

    /// `[angle, angular velocity]`.
    fn save(&self) -> Option<Vec<f64>> {
        self.state.map(|State { angle, velocity }| vec![angle, velocity])
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[angle, velocity] = state else {
            return Err(EnvironmentError::mismatch(format!("{} numbers, expected 2", state.len())));
        };
        self.set_state(angle, velocity)
    }
}

impl State {
    /// One step of semi-implicit Euler; returns the reward, which is that of the state before it.
    ///
    /// As in Gymnasium, what is computed from the action alone is float32, like the action.
    fn advance(&mut self, torque: f32) -> f64 {
        let cost = normalised(self.angle).powi(2)
            + 0.1 * self.velocity.powi(2)
            + f64::from(0.001 * (torque * torque));
        let acceleration = 15.0 * self.angle.sin() + f64::from(3.0 * torque);
        self.velocity = (self.velocity + acceleration * TIME_STEP).clamp(-MAX_SPEED, MAX_SPEED);
        self.angle += self.velocity * TIME_STEP;
        -cost
    }

    fn observe(&self, observation: &mut [f32]) {
        let Self { angle, velocity } = *self;
        observation.copy_from_slice(&[angle.cos() as f32, angle.sin() as f32, velocity as f32]);
    }
}

/// The angle in `[-π, π)`. The remainder is the floor's, never negative: `%` would be wrong for negative
/// angles.
fn normalised(angle: f64) -> f64 {
    (angle + PI).rem_euclid(TAU) - PI
}
