//! Adversarial imitation as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use ingle_core::gradient::value_and_gradient;
use ingle_core::network::{Mlp, Network};
use ingle_core::optimiser::{Adam, Trainable};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::random::{RandomStream, uniform_noise};
use ingle_core::sample::Expected;
use ingle_core::{Error, ImitationSample, Metrics, Result, Rewarded, SampleProcessor, Transitions};

use super::{AilConfig, AilState, loss};

/// Streams of the processor's seed.
const INITIAL_PARAMETERS: u64 = 0;
const INTERPOLATION: u64 = 1;

/// Adversarial imitation over inner samples of type `S`, made by [`AilConfig::init`].
#[derive(Debug, Clone)]
pub struct Ail<S> {
    config: AilConfig,
    observation: usize,
    action: usize,
    network: Mlp,
    precision: DType,
    sample: PhantomData<fn(S) -> S>,
}

/// The noise of one step: where between demonstration and own row the gradient is penalised, uniform in `[0, 1)`,
/// `[P, B, 1]`. Not read without a gradient penalty.
#[derive(Debug, Clone)]
pub struct AilNoise {
    /// The share of the demonstration.
    pub interpolation: Option<Tensor<3>>,
}

impl<S> Ail<S> {
    pub(super) fn from_parts(config: AilConfig, observation: usize, action: usize, network: Mlp) -> Self {
        Self { config, observation, action, network, precision: DType::F32, sample: PhantomData }
    }

    /// The same processor with states in another precision.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &AilConfig {
        &self.config
    }

    /// The discriminator's architecture.
    pub fn network(&self) -> &Mlp {
        &self.network
    }

    /// The discriminator's input `[P, B, I]`.
    fn input(&self, transitions: &Transitions) -> Tensor<3> {
        let mut parts = vec![transitions.observation.clone(), transitions.action.clone()];
        if self.config.use_next_observation {
            parts.push(transitions.next_observation.clone());
        }
        Tensor::cat(parts, 2)
    }

    fn penalises(&self) -> bool {
        self.config.gradient_penalty > 0.0
    }

    fn check(&self, state: &AilState, sample: &ImitationSample<S>) -> Result<usize>
    where
        S: Rewarded,
    {
        let expected = Expected {
            population: self.config.population,
            observation: self.observation,
            action: self.action,
            like: &state.discriminator.parameters,
        };
        let batch = sample.transitions().check(expected)?;
        let rows = sample.demonstrations.check(expected)?;
        if rows != batch {
            return Err(Error::Shape {
                field: "demonstrations",
                expected: format!("{batch} rows, as many as the learner's own"),
                actual: sample.demonstrations.observation.dims().to_vec(),
            });
        }
        Ok(batch)
    }

    fn update(&self, state: &mut AilState, sample: ImitationSample<S>, noise: AilNoise) -> (S, Metrics)
    where
        S: Rewarded,
    {
        let ImitationSample { rl, demonstrations } = sample;
        let own = self.input(rl.transitions());
        let expert = self.input(&demonstrations);
        let population = own.dims()[0].max(expert.dims()[0]);
        let spread = |input: Tensor<3>| {
            let [rows, batch, width] = input.dims();
            if rows == population { input } else { input.expand([population, batch, width]) }
        };
        let (own, expert) = (spread(own), spread(expert));
        let batch = own.dims()[1];

        // 1. The discriminator, on both batches in one pass.
        let both = Tensor::cat(vec![expert.clone(), own.clone()], 1).unsqueeze_dim(1);
        let (logits, tape) = self.network.record(&state.discriminator.parameters, both);
        let (mut value, gradient) = value_and_gradient(logits, |logits| {
            let logits = logits.squeeze_dim::<3>(3).squeeze_dim::<2>(1);
            let (expert, own) = (logits.clone().narrow(1, 0, batch), logits.narrow(1, batch, batch));
            loss::discriminator(self.config.loss, expert, own)
        });
        let mut gradient = self.network.gradient(tape, gradient);
        if let (true, Some(share)) = (self.penalises(), noise.interpolation) {
            let between = own.clone() + (expert - own.clone()) * share;
            let (penalty, slope) = self.network.slope_gradient(
                &state.discriminator.parameters,
                between.unsqueeze_dim(1),
                |slope| loss::gradient_penalty(slope.squeeze_dim(1)).mul_scalar(self.config.gradient_penalty),
            );
            value = value + penalty;
            gradient = gradient + slope;
        }
        state.discriminator.step(&Adam::default(), gradient);

        // 2. The rewards, with the updated discriminator.
        let logits = self.network.forward(&state.discriminator.parameters, own.unsqueeze_dim(1));
        let reward = loss::reward(self.config.reward, logits.squeeze_dim::<3>(3).squeeze_dim::<2>(1));
        let mut metrics = Metrics::default();
        metrics.push("discriminator_loss", value);
        metrics.push("imitation_reward", reward.clone().mean_dim(1).flatten::<1>(0, 1));
        (rl.with_reward(reward), metrics)
    }
}

impl<S: Rewarded> SampleProcessor for Ail<S> {
    type State = AilState;
    type Sample = ImitationSample<S>;
    type Processed = S;

    fn name(&self) -> &'static str {
        "ail"
    }

    fn init(&self, seed: u64, device: &Device) -> Result<AilState> {
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let mut initial = RandomStream::population(seed, INITIAL_PARAMETERS, population);
        let parameters = self.network.init(&mut initial, &options)?;
        let rate = self.config.learning_rate.to_tensor(population, &options);
        Ok(AilState {
            discriminator: Trainable::new(parameters, rate),
            interpolation: RandomStream::population(seed, INTERPOLATION, population),
        })
    }

    fn process(&self, state: &mut AilState, sample: ImitationSample<S>) -> Result<(S, Metrics)> {
        let batch = self.check(state, &sample)?;
        let parameters = &state.discriminator.parameters;
        let options = TensorCreationOptions::new(parameters.device()).with_dtype(parameters.dtype());
        let interpolation =
            self.penalises().then(|| uniform_noise(&mut state.interpolation, batch, &options));
        Ok(self.update(state, sample, AilNoise { interpolation }))
    }
}

impl<S: Rewarded> ExplicitProcessNoise for Ail<S> {
    type Noise = AilNoise;

    fn process_with_noise(
        &self,
        state: &mut AilState,
        sample: ImitationSample<S>,
        noise: AilNoise,
    ) -> Result<(S, Metrics)> {
        let batch = self.check(state, &sample)?;
        let shape = [self.config.population, batch, 1];
        let actual = noise.interpolation.as_ref().map(Tensor::dims);
        if self.penalises() && actual != Some(shape) {
            return Err(Error::Shape {
                field: "noise.interpolation",
                expected: format!("{shape:?}"),
                actual: actual.map_or_else(Vec::new, |shape| shape.to_vec()),
            });
        }
        Ok(self.update(state, sample, noise))
    }
}
