//! RND as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, TensorCreationOptions};
use ingle_core::gradient::value_and_gradient;
use ingle_core::guard::{Guard, Skipped};
use ingle_core::network::{Mlp, Network};
use ingle_core::optimiser::{Adam, Trainable};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::random::RandomStream;
use ingle_core::{Metrics, PerMember, Result, Rewarded, SampleProcessor};

use super::{RndConfig, RndState};
use crate::RunningMoments;

/// Streams of the processor's seed.
const TARGET: u64 = 0;
const PREDICTOR: u64 = 1;
/// Bound of the whitened observations (paper, §2.4).
const CLIP: f64 = 5.0;

/// Random network distillation over samples of type `S`, made by [`RndConfig::init`].
///
/// Novelty is the error of a predictor of a fixed random network's features of the next observation. The reward that
/// goes on is `c_i · i + c_e · r`.
#[derive(Debug, Clone)]
pub struct Rnd<S> {
    config: RndConfig,
    network: Mlp,
    precision: DType,
    sample: PhantomData<fn(S) -> S>,
}

impl<S> Rnd<S> {
    pub(super) fn from_parts(config: RndConfig, network: Mlp) -> Self {
        Self { config, network, precision: DType::F32, sample: PhantomData }
    }

    /// The same processor with states in another precision.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &RndConfig {
        &self.config
    }

    /// The architecture of target and predictor.
    pub fn network(&self) -> &Mlp {
        &self.network
    }
}

impl<S: Rewarded> SampleProcessor for Rnd<S> {
    type State = RndState;
    type Sample = S;
    type Processed = S;

    fn name(&self) -> &'static str {
        "rnd"
    }

    fn init(&self, seed: u64, device: &Device) -> Result<RndState> {
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let each = |value: &PerMember| value.to_tensor(population, &options);
        let target = self.network.init(&mut RandomStream::population(seed, TARGET, population), &options)?;
        let predictor =
            self.network.init(&mut RandomStream::population(seed, PREDICTOR, population), &options)?;
        Ok(RndState {
            target,
            predictor: Trainable::new(predictor, each(&self.config.learning_rate)),
            skipped: Skipped::new(population, &options),
            observation: RunningMoments::new(population, self.network.sizes()[0], &options),
            reward: RunningMoments::new(population, 1, &options),
            intrinsic: each(&self.config.intrinsic),
            extrinsic: each(&self.config.extrinsic),
        })
    }

    fn process(&self, state: &mut RndState, sample: S) -> Result<(S, Metrics)> {
        let transitions = sample.transitions();
        transitions.check_observations(self.config.population, self.network.sizes()[0], &state.target)?;
        let seen = if self.config.use_observation {
            &transitions.observation
        } else {
            &transitions.next_observation
        };
        let extrinsic = transitions.reward.clone();

        // 1. The observations' moments, then the predictor: L = mean_{B,F} (g − f)².
        state.observation.update(seen);
        let input = state.observation.whiten(seen.clone(), CLIP).unsqueeze_dim::<4>(1);
        let features = self.network.forward(&state.target, input.clone());
        let (predicted, tape) = self.network.record(&state.predictor.parameters, input.clone());
        let (loss, gradient) = value_and_gradient(predicted, |predicted| {
            let error = (predicted - features.clone()).square();
            error.mean_dim(3).mean_dim(2).flatten::<1>(0, 3)
        });
        let mut guard = Guard::new(&loss);
        state.predictor.step(&Adam::default(), self.network.gradient(tape, gradient), &mut guard);
        state.skipped.count(&guard);

        // 2. The reward i = mean_F (g − f)², with the updated predictor, over its own deviation.
        let predicted = self.network.forward(&state.predictor.parameters, input);
        let novelty = (predicted - features).square().mean_dim(3).squeeze_dim::<3>(3).squeeze_dim::<2>(1);
        state.reward.update(&novelty.clone().unsqueeze_dim(2));
        let intrinsic =
            if self.config.normalise_intrinsic { novelty / state.reward.deviation() } else { novelty };

        let mut metrics = Metrics::default();
        metrics.push("rnd_loss", loss);
        state.skipped.show(&mut metrics, "rnd_skipped_updates", "rnd_skipped_in_a_row");
        metrics.push("intrinsic_reward", intrinsic.clone().mean_dim(1).flatten::<1>(0, 1));
        let reward = intrinsic * state.intrinsic.clone() + extrinsic * state.extrinsic.clone();
        Ok((sample.with_reward(reward), metrics))
    }

    fn decisions(&self, _: &RndState) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Rnd<S> {
    /// RND draws nothing after its start.
    type Noise = ();

    fn process_with_noise(&self, state: &mut RndState, sample: S, (): ()) -> Result<(S, Metrics)> {
        self.process(state, sample)
    }
}
