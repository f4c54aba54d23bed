//! Input normalisation as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::{Metrics, Result, Rewarded, SampleProcessor};

use super::NormaliseConfig;
use crate::RunningMoments;
use crate::observations::check_rows;

/// Input normalisation over samples of type `S`, made by [`NormaliseConfig::init`].
///
/// The moments of the batch's observations are taken in, then all observations go on as
/// `clip((x − mean) / √(variance + 1e-8), ±clip)`. The policy below sees its observations alike when it acts.
#[derive(Debug, Clone)]
pub struct Normalise<S> {
    config: NormaliseConfig,
    observation: usize,
    precision: DType,
    sample: PhantomData<fn(S) -> S>,
}

impl<S> Normalise<S> {
    pub(super) fn from_parts(config: NormaliseConfig, observation: usize) -> Self {
        Self { config, observation, precision: DType::F32, sample: PhantomData }
    }

    /// The same processor with states in another precision.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }
}

impl<S: Rewarded> SampleProcessor for Normalise<S> {
    type State = RunningMoments;
    type Sample = S;
    type Processed = S;

    fn name(&self) -> &'static str {
        "normalise"
    }

    fn init(&self, _: u64, device: &Device) -> Result<RunningMoments> {
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        Ok(RunningMoments::new(self.config.population, self.observation, &options))
    }

    fn process(&self, state: &mut RunningMoments, sample: S) -> Result<(S, Metrics)> {
        let Self { config, observation: size, .. } = self;
        let transitions = sample.transitions();
        transitions.check_observations(config.population, *size, &state.mean)?;
        let mut moments = state.clone();
        moments.update(&transitions.observation);
        let processed = sample.map_observations(|observation| {
            check_rows(&observation, config.population, *size, &moments.mean)?;
            Ok(self.observe(&moments, observation))
        })?;
        *state = moments;
        Ok((processed, Metrics::default()))
    }

    fn observe(&self, state: &RunningMoments, observation: Tensor<3>) -> Tensor<3> {
        state.whiten(observation, self.config.clip)
    }

    fn decisions(&self, _: &RunningMoments) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Normalise<S> {
    /// Nothing is drawn.
    type Noise = ();

    fn process_with_noise(&self, state: &mut RunningMoments, sample: S, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
