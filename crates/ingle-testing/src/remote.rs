//! A learner that knows nothing of ingle's tensors: linear actor-critic on plain numbers.

use ingle::train::process::{Answer, Batch, Hello, Remote};

/// The names of [`LinearActorCritic`]'s metrics.
pub const METRICS: [&str; 2] = ["td_loss", "mean_reward"];

const VALUE_RATE: f32 = 0.05;
const POLICY_RATE: f32 = 0.05;

/// TD(0) with a linear value, and a linear Gaussian policy that moves along the TD error (Sutton & Barto 2018, §13.5).
#[derive(Debug, Clone, PartialEq)]
pub struct LinearActorCritic {
    observation: usize,
    action: usize,
    /// Weights of the observation and a constant.
    value: Vec<f32>,
    /// For each action element, weights of the observation and a constant.
    policy: Vec<f32>,
}

impl LinearActorCritic {
    /// A learner with small weights made of the seed.
    ///
    /// # Errors
    /// If the metrics are not [`METRICS`].
    pub fn new(hello: &Hello) -> Result<Self, String> {
        if hello.metrics != METRICS {
            return Err(format!("the metrics are {METRICS:?}, not {:?}", hello.metrics));
        }
        let inputs = hello.observation + 1;
        let weight = |index: usize| ((hello.seed as f32 + 1.0) * (index as f32 + 1.0)).sin() * 0.1;
        Ok(Self {
            observation: hello.observation,
            action: hello.action,
            value: (0..inputs).map(weight).collect(),
            policy: (0..inputs * hello.action).map(weight).collect(),
        })
    }

    fn mean(&self, observation: &[f32], element: usize) -> f32 {
        let inputs = self.observation + 1;
        linear(&self.policy[element * inputs..(element + 1) * inputs], observation).tanh()
    }
}

fn linear(weights: &[f32], observation: &[f32]) -> f32 {
    let (constant, weights) = weights.split_last().expect("a weight for the constant");
    weights.iter().zip(observation).map(|(weight, input)| weight * input).sum::<f32>() + constant
}

fn nudge(weights: &mut [f32], observation: &[f32], amount: f32) {
    for (weight, input) in weights.iter_mut().zip(observation.iter().chain([&1.0])) {
        *weight += amount * input;
    }
}

impl Remote for LinearActorCritic {
    fn step(&mut self, batch: Batch) -> Result<Answer, String> {
        if batch.reward.iter().any(|reward| !reward.is_finite()) {
            return Err("a reward is not finite".into());
        }
        let rows = batch.reward.len() as f32;
        let before = self.clone();
        let weights = batch.importance_weight.unwrap_or_else(|| vec![1.0; batch.reward.len()]);
        let observations = batch.observation.chunks_exact(self.observation);
        let next_observations = batch.next_observation.chunks_exact(self.observation);
        let mut errors = Vec::new();
        for (row, (observation, next)) in observations.zip(next_observations).enumerate() {
            let target = batch.reward[row] + batch.discount[row] * linear(&before.value, next);
            let error = target - linear(&before.value, observation);
            nudge(&mut self.value, observation, VALUE_RATE * weights[row] * error / rows);
            for element in 0..self.action {
                let taken = batch.action[row * self.action + element];
                let amount = POLICY_RATE * error * (taken - before.mean(observation, element)) / rows;
                let inputs = self.observation + 1;
                nudge(&mut self.policy[element * inputs..(element + 1) * inputs], observation, amount);
            }
            errors.push(error.abs());
        }
        let loss = errors.iter().map(|error| error * error).sum::<f32>() / rows;
        let reward = batch.reward.iter().sum::<f32>() / rows;
        Ok(Answer { metrics: vec![loss, reward], td_error: Some(errors) })
    }

    fn act(&mut self, observation: &[f32], noise: Option<&[f32]>) -> Result<Vec<f32>, String> {
        let rows = observation.chunks_exact(self.observation);
        let means = rows.flat_map(|row| (0..self.action).map(|element| self.mean(row, element)));
        Ok(match noise {
            Some(noise) => {
                means.zip(noise).map(|(mean, noise)| (mean + 0.3 * noise).clamp(-1.0, 1.0)).collect()
            }
            None => means.collect(),
        })
    }

    fn state(&mut self) -> Result<Vec<u8>, String> {
        Ok(self.value.iter().chain(&self.policy).flat_map(|weight| weight.to_le_bytes()).collect())
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let expected = 4 * (self.value.len() + self.policy.len());
        if state.len() != expected {
            return Err(format!("a state of {} bytes, expected {expected}", state.len()));
        }
        let weights = self.value.iter_mut().chain(&mut self.policy);
        for (weight, bytes) in weights.zip(state.chunks_exact(4)) {
            *weight = f32::from_le_bytes(bytes.try_into().expect("4 bytes"));
        }
        Ok(())
    }
}
