//! Standardised observations as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::{Metrics, Result, Rewarded, SampleProcessor};

use super::{StandardiseConfig, StandardiseState};
use crate::observations::check_rows;

/// Standardised observations over samples of type `S`, made by [`StandardiseConfig::init`].
///
/// All observations go on as `(x − mean) / (deviation + ε)`, and the policy below sees them so when it acts.
#[derive(Debug, Clone)]
pub struct Standardise<S> {
    config: StandardiseConfig,
    observation: usize,
    precision: DType,
    sample: PhantomData<fn(S) -> S>,
}

impl<S> Standardise<S> {
    pub(super) fn from_parts(config: StandardiseConfig, observation: usize) -> Self {
        Self { config, observation, precision: DType::F32, sample: PhantomData }
    }

    /// The same processor with states in another precision.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }
}

impl<S: Rewarded> SampleProcessor for Standardise<S> {
    type State = StandardiseState;
    type Sample = S;
    type Processed = S;

    fn name(&self) -> &'static str {
        "standardise"
    }

    fn init(&self, _: u64, device: &Device) -> Result<StandardiseState> {
        let StandardiseConfig { population, epsilon, mean, deviation } = &self.config;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let tensor = |values: &[f64], instead: f64, add: f64| {
            let filled: Vec<f64> = if values.is_empty() {
                vec![instead; self.observation]
            } else {
                values.iter().map(|value| value + add).collect()
            };
            let data = TensorData::new(filled, [1, self.observation]).convert_dtype(self.precision);
            Tensor::<2>::from_data(data, options.clone()).repeat_dim(0, *population)
        };
        Ok(StandardiseState { mean: tensor(mean, 0.0, 0.0), deviation: tensor(deviation, 1.0, *epsilon) })
    }

    fn process(&self, state: &mut StandardiseState, sample: S) -> Result<(S, Metrics)> {
        let Self { config, observation: size, .. } = self;
        sample.transitions().check_observations(config.population, *size, &state.mean)?;
        let processed = sample.map_observations(|observation| {
            check_rows(&observation, config.population, *size, &state.mean)?;
            Ok(self.observe(state, observation))
        })?;
        Ok((processed, Metrics::default()))
    }

    fn decisions(&self, _: &StandardiseState) -> Option<Vec<bool>> {
        Some(Vec::new())
    }

    fn observe(&self, state: &StandardiseState, observation: Tensor<3>) -> Tensor<3> {
        (observation - state.mean.clone().unsqueeze_dim(1)) / state.deviation.clone().unsqueeze_dim(1)
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Standardise<S> {
    /// Nothing is drawn.
    type Noise = ();

    fn process_with_noise(&self, state: &mut StandardiseState, sample: S, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
