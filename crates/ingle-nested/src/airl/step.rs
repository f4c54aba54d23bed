//! AIRL over a core.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};
use ingle_core::gradient::value_and_gradient;
use ingle_core::guard::{Guard, Skipped};
use ingle_core::network::{Mlp, MlpTape, Network};
use ingle_core::optimiser::{Adam, Trainable};
use ingle_core::random::{RandomStream, derive_seed};
use ingle_core::sample::{Expected, concatenate};
use ingle_core::{
    Act, Acting, ExplicitNoise, ImitationSample, LearnerCore, LogProbability, Metrics, Result, Rewarded,
    StepOutput, Transitions,
};

use super::{AirlConfig, AirlState};

use crate::ail::loss;

/// The name that the seed is derived by.
const NAME: &str = "airl";
/// Streams of that seed.
const REWARD: u64 = 0;
const SHAPING: u64 = 1;

/// AIRL over the core `direct`, made by [`AirlConfig::init`]. It is a core itself: nests stack over it and below it.
///
/// The discriminator's logit is `f(s, a, s′) − log π(a|s)`, `f = g(s, a) + discount · h(s′) − h(s)`, with log π of the
/// core below before its step; the rewards that go on are f.
#[derive(Debug, Clone)]
pub struct Airl<C> {
    config: AirlConfig,
    reward: Mlp,
    shaping: Mlp,
    precision: DType,
    /// The core below.
    pub direct: C,
}

/// f of rows, `[P, B]`, and what it takes to pull a gradient back.
struct Recorded {
    value: Tensor<2>,
    reward: MlpTape,
    shaping: MlpTape,
}

/// What one update makes: new parts of the state, the sample with new rewards, and the metrics.
struct Learned<S> {
    reward: Trainable,
    shaping: Trainable,
    skipped: Skipped,
    sample: S,
    metrics: Metrics,
}

impl<C: LogProbability<Sample: Rewarded>> Airl<C> {
    pub(super) fn from_parts(config: AirlConfig, reward: Mlp, shaping: Mlp, direct: C) -> Self {
        Self { config, reward, shaping, precision: DType::F32, direct }
    }

    /// The same core with its own state in another precision; the core below has its own.
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &AirlConfig {
        &self.config
    }

    /// Inputs of g, `[P, 1, B, I]`, and of h: observations, then next ones, `[P, 1, 2B, O]`.
    fn inputs(&self, rows: &Transitions) -> (Tensor<4>, Tensor<4>) {
        let observation = rows.observation.clone();
        let both = concatenate(vec![observation.clone(), rows.next_observation.clone()], 1);
        let input = if self.config.state_only {
            observation
        } else {
            concatenate(vec![observation, rows.action.clone()], 2)
        };
        (input.unsqueeze_dim(1), both.unsqueeze_dim(1))
    }

    /// `f = g + discount · h(s′) − h(s)` of outputs `[P, 1, B, 1]` and `[P, 1, 2B, 1]`.
    fn combine(discount: &Tensor<2>, reward: Tensor<4>, shaping: Tensor<4>) -> Tensor<2> {
        let flat = |output: Tensor<4>| output.squeeze_dim::<3>(3).squeeze_dim::<2>(1);
        let (reward, shaping) = (flat(reward), flat(shaping));
        let rows = reward.dims()[1];
        reward + discount.clone() * shaping.clone().narrow(1, rows, rows) - shaping.narrow(1, 0, rows)
    }

    fn record(&self, reward: &Tensor<2>, shaping: &Tensor<2>, rows: &Transitions) -> Recorded {
        let (input, both) = self.inputs(rows);
        let (g, reward) = self.reward.record(reward, input);
        let (h, shaping) = self.shaping.record(shaping, both);
        Recorded { value: Self::combine(&rows.discount, g, h), reward, shaping }
    }

    /// One update of reward and shaping; then the sample with the new rewards, and the metrics.
    fn learn(
        &self,
        state: &AirlState<C::State>,
        sample: ImitationSample<C::Sample>,
    ) -> Result<Learned<C::Sample>> {
        let expected = Expected {
            population: self.config.population,
            observation: self.direct.observation_size(),
            action: self.direct.action_size(),
            like: &state.reward.parameters,
        };
        let (own, demonstrated) = sample.check(expected)?;
        let ImitationSample { rl, demonstrations } = sample;
        let rows = rl.transitions().clone().join(demonstrations, expected)?;
        let log_probability =
            self.direct.log_probability(&state.direct, rows.observation.clone(), rows.action.clone())?;

        // 1. The discriminator. f is g, h at s′ and h at s in turn: so is its gradient.
        let (mut reward, mut shaping) = (state.reward.clone(), state.shaping.clone());
        let recorded = self.record(&reward.parameters, &shaping.parameters, &rows);
        let logits = recorded.value - log_probability.clone();
        let (value, gradient) = value_and_gradient(logits, |logits| {
            let expert = logits.clone().narrow(1, own, demonstrated);
            loss::cross_entropy(expert, logits.narrow(1, 0, own)).flatten::<1>(0, 1)
        });
        let of_next = rows.discount.clone() * gradient.clone();
        let of_shaping = Tensor::cat(vec![gradient.clone().neg(), of_next], 1);
        let lift = |gradient: Tensor<2>| gradient.unsqueeze_dim::<3>(1).unsqueeze_dim::<4>(3);
        let mut guard = Guard::new(&value);
        let adam = Adam::default();
        reward.step(&adam, self.reward.gradient(recorded.reward, lift(gradient)), &mut guard);
        shaping.step(&adam, self.shaping.gradient(recorded.shaping, lift(of_shaping)), &mut guard);
        let mut skipped = state.skipped.clone();
        skipped.count(&guard);

        // 2. The rewards f of the own rows, with the updated networks.
        let (input, both) = self.inputs(rl.transitions());
        let rewards = Self::combine(
            &rl.transitions().discount,
            self.reward.forward(&reward.parameters, input),
            self.shaping.forward(&shaping.parameters, both),
        );
        let mean = |value: Tensor<2>| value.mean_dim(1).flatten::<1>(0, 1);
        let mut metrics = Metrics::default();
        metrics.push("discriminator_loss", value);
        metrics.push("imitation_reward", mean(rewards.clone()));
        metrics.push("own_log_probability", mean(log_probability.narrow(1, 0, own)));
        skipped.show(&mut metrics, "airl_skipped_updates", "airl_skipped_in_a_row");
        Ok(Learned { reward, shaping, skipped, sample: rl.with_reward(rewards), metrics })
    }

    /// Learns, then steps the core below with the rewards. If that one refuses, nothing has changed.
    fn both(
        &self,
        state: &mut AirlState<C::State>,
        sample: ImitationSample<C::Sample>,
        step: impl FnOnce(&mut C::State, C::Sample) -> Result<StepOutput>,
    ) -> Result<StepOutput> {
        let Learned { reward, shaping, skipped, sample, metrics } = self.learn(state, sample)?;
        let mut output = step(&mut state.direct, sample)?;
        (state.reward, state.shaping, state.skipped) = (reward, shaping, skipped);
        output.metrics.extend(metrics);
        Ok(output)
    }
}

impl<C: LogProbability<Sample: Rewarded>> LearnerCore for Airl<C> {
    type State = AirlState<C::State>;
    type Sample = ImitationSample<C::Sample>;

    fn init(&self, seed: u64, device: &Device) -> Result<Self::State> {
        let own = derive_seed(seed, NAME);
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let fresh = |network: &Mlp, stream| -> Result<Trainable> {
            let mut streams = RandomStream::population(own, stream, population);
            let rate = self.config.learning_rate.to_tensor(population, &options);
            Ok(Trainable::new(network.init(&mut streams, &options)?, rate))
        };
        Ok(AirlState {
            reward: fresh(&self.reward, REWARD)?,
            shaping: fresh(&self.shaping, SHAPING)?,
            skipped: Skipped::new(population, &options),
            direct: self.direct.init(seed, device)?,
        })
    }

    fn step(&self, state: &mut Self::State, sample: Self::Sample) -> Result<StepOutput> {
        self.both(state, sample, |direct, sample| self.direct.step(direct, sample))
    }

    fn decisions(&self, state: &Self::State) -> Option<Vec<bool>> {
        self.direct.decisions(&state.direct)
    }
}

impl<C: LogProbability<Sample: Rewarded> + ExplicitNoise> ExplicitNoise for Airl<C> {
    /// The direct core's: AIRL draws nothing after its start.
    type Noise = C::Noise;

    fn step_with_noise(
        &self,
        state: &mut Self::State,
        sample: Self::Sample,
        noise: C::Noise,
    ) -> Result<StepOutput> {
        self.both(state, sample, |direct, sample| self.direct.step_with_noise(direct, sample, noise))
    }
}

impl<C: LogProbability<Sample: Rewarded>> Act for Airl<C> {
    fn observation_size(&self) -> usize {
        self.direct.observation_size()
    }

    fn action_size(&self) -> usize {
        self.direct.action_size()
    }

    fn population(&self) -> usize {
        self.direct.population()
    }

    fn act(&self, state: &Self::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.direct.act(&state.direct, observation, acting)
    }
}

impl<C: LogProbability<Sample: Rewarded>> LogProbability for Airl<C> {
    fn log_probability(
        &self,
        state: &Self::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        self.direct.log_probability(&state.direct, observation, action)
    }
}
