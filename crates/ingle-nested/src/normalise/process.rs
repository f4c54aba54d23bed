//! Input normalisation as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::{Error, Metrics, Result, Rewarded, SampleProcessor};

use super::NormaliseConfig;
use crate::RunningMoments;

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
            // Demonstrations were not looked at yet.
            let [rows, _, width] = observation.dims();
            if width != *size || (rows != config.population && rows != 1) {
                return Err(Error::Shape {
                    field: "observation",
                    expected: format!("[{} or 1, B, {size}]", config.population),
                    actual: observation.dims().to_vec(),
                });
            }
            if observation.dtype() != moments.mean.dtype() {
                return Err(Error::Precision {
                    field: "observation",
                    expected: format!("{:?}", moments.mean.dtype()),
                    actual: format!("{:?}", observation.dtype()),
                });
            }
            Ok(self.observe(&moments, observation))
        })?;
        *state = moments;
        Ok((processed, Metrics::default()))
    }

    fn observe(&self, state: &RunningMoments, observation: Tensor<3>) -> Tensor<3> {
        state.whiten(observation, self.config.clip)
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Normalise<S> {
    /// Nothing is drawn.
    type Noise = ();

    fn process_with_noise(&self, state: &mut RunningMoments, sample: S, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
