//! Adversarial imitation as a processor.

use std::marker::PhantomData;

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use ingle_core::gradient::value_and_gradient;
use ingle_core::guard::{Guard, Skipped};
use ingle_core::network::{Mlp, Network};
use ingle_core::optimiser::{Adam, Trainable};
use ingle_core::processor::ExplicitProcessNoise;
use ingle_core::random::{RandomStream, uniform_noise};
use ingle_core::sample::{Expected, concatenate};
use ingle_core::{Error, ImitationSample, Metrics, Result, Rewarded, SampleProcessor, Transitions};

use super::spectral::{self, Normalised};
use super::{AilConfig, AilState, loss};

/// Streams of the processor's seed.
const INITIAL_PARAMETERS: u64 = 0;
const INTERPOLATION: u64 = 1;
const SINGULAR_VECTORS: u64 = 2;

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
/// `[P, B, updates]`. Not read without a gradient penalty, or where the discriminator does not learn.
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
        concatenate(parts, 2)
    }

    fn penalises(&self) -> bool {
        self.config.gradient_penalty > 0.0
    }

    /// The discriminator's parameters as it uses them.
    fn normalised(&self, state: &AilState) -> Option<Normalised> {
        let layout = self.network.layout();
        self.config
            .spectral_normalisation
            .then(|| spectral::apply(layout, &state.discriminator.parameters, &state.spectral))
    }

    /// Whether the discriminator learns from the next sample.
    fn learns(&self, state: &AilState) -> bool {
        (state.steps + 1).is_multiple_of(self.config.update_interval)
    }

    fn expected<'a>(&self, state: &'a AilState) -> Expected<'a> {
        Expected {
            population: self.config.population,
            observation: self.observation,
            action: self.action,
            like: &state.discriminator.parameters,
        }
    }

    /// One update of the discriminator on inputs `[P, B, I]`, and its loss `[P]` before it.
    fn learn(
        &self,
        state: &mut AilState,
        own: &Tensor<3>,
        expert: &Tensor<3>,
        interpolation: Option<Tensor<3>>,
    ) -> Tensor<1> {
        let layout = self.network.layout();
        spectral::iterate(layout, &state.discriminator.parameters, &mut state.spectral);
        let normalised = self.normalised(state);
        let parameters =
            normalised.as_ref().map_or(&state.discriminator.parameters, |normalised| &normalised.parameters);

        // Both batches in one pass.
        let (rows, demonstrated) = (own.dims()[1], expert.dims()[1]);
        let both = concatenate(vec![expert.clone(), own.clone()], 1).unsqueeze_dim(1);
        let (logits, tape) = self.network.record(parameters, both);
        let (mut value, gradient) = value_and_gradient(logits, |logits| {
            let logits = logits.squeeze_dim::<3>(3).squeeze_dim::<2>(1);
            let expert = logits.clone().narrow(1, 0, demonstrated);
            loss::discriminator(self.config.loss, expert, logits.narrow(1, demonstrated, rows))
        });
        let mut gradient = self.network.gradient(tape, gradient);
        if let (true, Some(share)) = (self.penalises(), interpolation) {
            let between = own.clone() + (loss::pair(expert.clone(), rows) - own.clone()) * share;
            let (penalty, slope) =
                self.network.slope_gradient(parameters, between.unsqueeze_dim(1), |slope| {
                    loss::gradient_penalty(slope.squeeze_dim(1)).mul_scalar(self.config.gradient_penalty)
                });
            value = value + penalty;
            gradient = gradient + slope;
        }
        if let Some(normalised) = normalised {
            gradient = normalised.gradient(layout, &state.spectral, &gradient);
        }
        let mut guard = Guard::new(&value);
        state.discriminator.step(&Adam::default(), gradient, &mut guard);
        state.skipped.count(&guard);
        value
    }

    /// The rewards `[P, B]` of inputs `[P, B, I]`.
    fn reward(&self, state: &AilState, input: Tensor<3>) -> Tensor<2> {
        let normalised = self.normalised(state);
        let parameters =
            normalised.as_ref().map_or(&state.discriminator.parameters, |normalised| &normalised.parameters);
        let logits = self.network.forward(parameters, input.unsqueeze_dim(1));
        loss::reward(self.config.reward, logits.squeeze_dim::<3>(3).squeeze_dim::<2>(1))
    }

    fn update(
        &self,
        state: &mut AilState,
        sample: ImitationSample<S>,
        noise: &AilNoise,
    ) -> Result<(S, Metrics)>
    where
        S: Rewarded,
    {
        let ImitationSample { rl, demonstrations } = sample;
        let own = self.input(rl.transitions());
        let expert = self.input(&demonstrations);
        let (rows, demonstrated) = (own.dims()[1], expert.dims()[1]);
        let mut metrics = Metrics::default();

        // 1. The discriminator, if it is its turn.
        let learns = self.learns(state);
        state.steps += 1;
        if learns {
            for update in 0..self.config.updates {
                let share =
                    noise.interpolation.as_ref().map(|noise| noise.clone().narrow(2, update as usize, 1));
                let value = self.learn(state, &own, &expert, share);
                if update + 1 == self.config.updates {
                    metrics.push("discriminator_loss", value);
                }
            }
        }
        state.skipped.show(&mut metrics, "ail_skipped_updates", "ail_skipped_in_a_row");

        // 2. The rewards, with the updated discriminator: of the demonstrations too, if they are to go on.
        let mean = |reward: &Tensor<2>| reward.clone().mean_dim(1).flatten::<1>(0, 1);
        if !self.config.mix_demonstrations {
            let reward = self.reward(state, own);
            metrics.push("imitation_reward", mean(&reward));
            return Ok((rl.with_reward(reward), metrics));
        }
        let reward = self.reward(state, concatenate(vec![own, expert], 1));
        let (own, expert) = (reward.clone().narrow(1, 0, rows), reward.narrow(1, rows, demonstrated));
        metrics.push("imitation_reward", mean(&own));
        metrics.push("demonstration_reward", mean(&expert));
        let own = Transitions { reward: own, ..rl.transitions().clone() };
        let joined = own.join(Transitions { reward: expert, ..demonstrations }, self.expected(state))?;
        Ok((rl.with_transitions(joined), metrics))
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
        let spectral = if self.config.spectral_normalisation {
            let mut streams = RandomStream::population(seed, SINGULAR_VECTORS, population);
            spectral::init(self.network.layout(), &parameters, &mut streams, &options)
        } else {
            Vec::new()
        };
        Ok(AilState {
            discriminator: Trainable::new(parameters, rate),
            skipped: Skipped::new(population, &options),
            spectral,
            steps: 0,
            interpolation: RandomStream::population(seed, INTERPOLATION, population),
        })
    }

    fn process(&self, state: &mut AilState, sample: ImitationSample<S>) -> Result<(S, Metrics)> {
        let (rows, _) = sample.check(self.expected(state))?;
        let parameters = &state.discriminator.parameters;
        let options = TensorCreationOptions::new(parameters.device()).with_dtype(parameters.dtype());
        let interpolation = (self.penalises() && self.learns(state)).then(|| {
            let shares = (0..self.config.updates)
                .map(|_| uniform_noise(&mut state.interpolation, rows, &options))
                .collect();
            Tensor::cat(shares, 2)
        });
        self.update(state, sample, &AilNoise { interpolation })
    }

    fn decisions(&self, state: &AilState) -> Option<Vec<bool>> {
        Some(vec![self.learns(state)])
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
        let (rows, _) = sample.check(self.expected(state))?;
        let shape = [self.config.population, rows, self.config.updates as usize];
        let actual = noise.interpolation.as_ref().map(Tensor::dims);
        if self.penalises() && actual != Some(shape) {
            return Err(Error::Shape {
                field: "noise.interpolation",
                expected: format!("{shape:?}"),
                actual: actual.map_or_else(Vec::new, |shape| shape.to_vec()),
            });
        }
        self.update(state, sample, &noise)
    }
}
