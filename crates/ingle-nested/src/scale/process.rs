//! Reward scaling as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, TensorCreationOptions};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::sample::Expected;
use ingle_core::{Metrics, Result, Rewarded, SampleProcessor};

use super::{ScaleConfig, ScaleState};
use crate::RunningMoments;

/// Reward scaling of samples of type `S`, made by [`ScaleConfig::init`].
///
/// The rewards that go on are `clip(scale · r / √(mean r² + 1e-8) + shift, ±clip)`, where the division is left out
/// unless rewards are normalised. The mean is over all rows seen, this batch included.
#[derive(Debug, Clone)]
pub struct Scale<S> {
    config: ScaleConfig,
    precision: DType,
    sample: PhantomData<fn(S) -> S>,
}

impl<S> Scale<S> {
    pub(super) fn from_parts(config: ScaleConfig) -> Self {
        Self { config, precision: DType::F32, sample: PhantomData }
    }

    /// The same processor with states in another precision.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The settings.
    pub fn config(&self) -> &ScaleConfig {
        &self.config
    }
}

impl<S: Rewarded> SampleProcessor for Scale<S> {
    type State = ScaleState;
    type Sample = S;
    type Processed = S;

    fn name(&self) -> &'static str {
        "scale"
    }

    fn init(&self, _: u64, device: &Device) -> Result<ScaleState> {
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        Ok(ScaleState {
            reward: RunningMoments::new(population, 1, &options),
            scale: self.config.scale.to_tensor(population, &options),
            shift: self.config.shift.to_tensor(population, &options),
        })
    }

    fn process(&self, state: &mut ScaleState, sample: S) -> Result<(S, Metrics)> {
        let transitions = sample.transitions();
        // Whatever the sizes of observation and action are.
        let [_, _, observation] = transitions.observation.dims();
        let [_, _, action] = transitions.action.dims();
        let population = self.config.population;
        transitions.check(Expected { population, observation, action, like: &state.scale })?;
        let mut reward = transitions.reward.clone();
        if self.config.normalise {
            state.reward.update(&reward.clone().unsqueeze_dim(2));
            reward = reward / state.reward.root_mean_square();
        }
        reward = reward * state.scale.clone() + state.shift.clone();
        if let Some(clip) = self.config.clip {
            reward = reward.clamp(-clip, clip);
        }
        let mut metrics = Metrics::default();
        metrics.push("scaled_reward", reward.clone().mean_dim(1).flatten::<1>(0, 1));
        Ok((sample.with_reward(reward), metrics))
    }

    fn decisions(&self, _: &ScaleState) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Scale<S> {
    /// Nothing is drawn.
    type Noise = ();

    fn process_with_noise(&self, state: &mut ScaleState, sample: S, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
