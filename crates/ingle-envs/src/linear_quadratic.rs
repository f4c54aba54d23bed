use rand::{RngExt, rngs::ChaCha8Rng};

use crate::error::{EnvironmentError, check_length};
use crate::{BoxSpace, Environment, Step};

/// Bring a linear system to rest at the least cost: a task whose optimum is known, for tests of learners.
///
/// A number of axes, each with a state x of one or two numbers and a force u, clipped to `[-1, 1]`:
///
/// ```text
/// reward = -Σ (xᵀ Q x + u²)                 of the state before the step, summed over the axes
/// x ← A x + B u
/// ```
///
/// | | [`lqr`](Self::lqr) | [`point_mass`](Self::point_mass) |
/// |---|---|---|
/// | axes | 1 | 2 |
/// | state of an axis | x | position p, velocity v |
/// | dynamics | x ← x + 0.1 u | p ← p + 0.1 v, v ← v + 0.1 u |
/// | cost | x² + u² | p² + 0.1 v² + u² |
/// | start | x uniform in `[-1, 1)` | p uniform in `[-1, 1)`, v = 0 |
///
/// The observation is the state, axis by axis; there is no noise, and an episode never terminates.
/// [`make`](crate::make) adds the usual [time limit](Self::TIME_LIMIT).
///
/// From these starts the best force never reaches the bounds, so that the solution of the unbounded problem, a
/// linear-quadratic regulator, is that of this one: [`optimum`](Self::optimum).
///
/// Source: Bertsekas, *Dynamic Programming and Optimal Control*, volume I, section 4.1.
#[derive(Clone, Debug)]
pub struct LinearQuadratic {
    axis: &'static Axis,
    axes: usize,
    observation_space: BoxSpace,
    action_space: BoxSpace,
    state: Option<Vec<f64>>,
}

/// The matrices of one axis. An axis of one number leaves the rest zero.
#[derive(Debug)]
struct Axis {
    size: usize,
    a: [[f64; 2]; 2],
    b: [f64; 2],
    /// The diagonal of Q.
    q: [f64; 2],
}

const TIME_STEP: f64 = 0.1;

static INTEGRATOR: Axis = Axis { size: 1, a: [[1.0, 0.0], [0.0, 0.0]], b: [TIME_STEP, 0.0], q: [1.0, 0.0] };

static MASS: Axis = Axis { size: 2, a: [[1.0, TIME_STEP], [0.0, 1.0]], b: [0.0, TIME_STEP], q: [1.0, 0.1] };

/// What is best in a [`LinearQuadratic`] that goes on for ever.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearQuadraticOptimum {
    size: usize,
    /// K: the best force is -K x.
    gain: [f64; 2],
    /// P: the value is -xᵀ P x.
    cost: [[f64; 2]; 2],
}

impl LinearQuadratic {
    /// The number of steps of an episode.
    pub const TIME_LIMIT: u64 = 100;

    /// A point without inertia, on a line.
    pub fn lqr() -> Self {
        Self::new(&INTEGRATOR, 1)
    }

    /// A mass in the plane.
    pub fn point_mass() -> Self {
        Self::new(&MASS, 2)
    }

    fn new(axis: &'static Axis, axes: usize) -> Self {
        Self {
            axis,
            axes,
            observation_space: BoxSpace::symmetric(f32::INFINITY, axes * axis.size),
            action_space: BoxSpace::symmetric(1.0, axes),
            state: None,
        }
    }

    /// The best policy and its value, for returns discounted by `gamma` and episodes without an end: the fixed point of
    /// Riccati's equation,
    ///
    /// ```text
    /// K = γ Bᵀ P A / (1 + γ Bᵀ P B)        P = Q + γ Aᵀ P (A - B K)
    /// ```
    ///
    /// # Errors
    ///
    /// When `gamma` is not in `[0, 1]`.
    pub fn optimum(&self, gamma: f64) -> Result<LinearQuadraticOptimum, EnvironmentError> {
        if !(0.0..=1.0).contains(&gamma) {
            return Err(EnvironmentError::Failed { reason: format!("gamma must be in [0, 1], got {gamma}") });
        }
        let Axis { size, a, b, q } = *self.axis;
        let product = |x: [[f64; 2]; 2], y: [[f64; 2]; 2]| {
            [0, 1].map(|i| [0, 1].map(|j| x[i][0] * y[0][j] + x[i][1] * y[1][j]))
        };
        let transposed = [0, 1].map(|i| [0, 1].map(|j| a[j][i]));
        let mut cost = [[q[0], 0.0], [0.0, q[1]]];
        loop {
            // Bᵀ P, then K, then the closed loop A - B K.
            let row = [0, 1].map(|j| b[0] * cost[0][j] + b[1] * cost[1][j]);
            let scale = gamma / (1.0 + gamma * (row[0] * b[0] + row[1] * b[1]));
            let gain = [0, 1].map(|j| scale * (row[0] * a[0][j] + row[1] * a[1][j]));
            let closed = [0, 1].map(|i| [0, 1].map(|j| a[i][j] - b[i] * gain[j]));
            let mut next =
                product(transposed, product(cost, closed)).map(|row| row.map(|value| gamma * value));
            next[0][0] += q[0];
            next[1][1] += q[1];
            let change = [0, 1].map(|i| [0, 1].map(|j| (next[i][j] - cost[i][j]).abs()));
            cost = next;
            // A contraction: it gets there, to the last digits.
            if change.as_flattened().iter().all(|change| *change <= 1e-12) {
                return Ok(LinearQuadraticOptimum { size, gain, cost });
            }
        }
    }
}

impl LinearQuadraticOptimum {
    /// The best action for an observation.
    pub fn action(&self, observation: &[f32]) -> Vec<f32> {
        self.axes(observation).map(|x| -(self.gain[0] * x[0] + self.gain[1] * x[1]) as f32).collect()
    }

    /// The largest discounted return from an observation.
    pub fn value(&self, observation: &[f32]) -> f64 {
        let [[p, q], [r, s]] = self.cost;
        self.axes(observation).map(|x| -(x[0] * (p * x[0] + q * x[1]) + x[1] * (r * x[0] + s * x[1]))).sum()
    }

    fn axes(&self, observation: &[f32]) -> impl Iterator<Item = [f64; 2]> {
        let at = |x: &[f32], index| x.get(index).map_or(0.0, |&value| f64::from(value));
        observation.chunks_exact(self.size).map(move |x| [at(x, 0), at(x, 1)])
    }
}

impl Environment for LinearQuadratic {
    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        check_length("observation", self.observation_space.len(), observation.len())?;
        let mut state = vec![0.0; self.observation_space.len()];
        for axis in state.chunks_exact_mut(self.axis.size) {
            axis[0] = random.random_range(-1.0..1.0);
        }
        observe(&state, observation);
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
        let Axis { size, a, b, q } = self.axis;
        let state = self.state.as_mut().ok_or(EnvironmentError::NotReset)?;
        let mut cost = 0.0;
        for (x, u) in state.chunks_exact_mut(*size).zip(action) {
            let u = f64::from(u.clamp(-1.0, 1.0));
            cost += u * u + x.iter().zip(q).map(|(x, q)| q * x * x).sum::<f64>();
            let before = [x[0], x.get(1).copied().unwrap_or(0.0)];
            for (i, x) in x.iter_mut().enumerate() {
                *x = a[i][0] * before[0] + a[i][1] * before[1] + b[i] * u;
            }
        }
        observe(state, observation);
        Ok(Step { reward: -cost, terminated: false, truncated: false })
    }

    /// The state, axis by axis.
    fn save(&self) -> Option<Vec<f64>> {
        self.state.clone()
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let size = self.axes * self.axis.size;
        if state.len() != size || !state.iter().all(|value| value.is_finite()) {
            return Err(EnvironmentError::mismatch(format!("{state:?}, expected {size} finite numbers")));
        }
        self.state = Some(state.to_vec());
        Ok(())
    }
}

fn observe(state: &[f64], observation: &mut [f32]) {
    for (out, value) in observation.iter_mut().zip(state) {
        *out = *value as f32;
    }
}
