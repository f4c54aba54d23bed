//! One update of behaviour cloning.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};

use super::{BcConfig, BcState, loss, policy};
use crate::gradient::value_and_gradient;
use crate::guard::{Guard, Skipped};
use crate::learner::{Act, Acting, ExplicitNoise, LearnerCore, check_acting};
use crate::network::{Actor, MlpActor};
use crate::optimiser::{Adam, Trainable};
use crate::random::RandomStream;
use crate::sample::{Expected, Transitions};
use crate::{Metrics, Result, StepOutput};

/// Stream of a seed: the initial parameters. SAC and TD3 draw their actors from it too, before anything else.
const INITIAL_PARAMETERS: u64 = 0;

/// Behaviour cloning as a stateless core, made by [`BcConfig::init`].
///
/// Of a sample it reads observations, actions and importance weights; rewards, discounts and successors are only
/// checked. It has no errors to hand back to a sampler.
#[derive(Debug, Clone)]
pub struct Bc<A = MlpActor> {
    config: BcConfig,
    actor: A,
    adam: Adam,
    precision: DType,
}

impl<A: Actor> Bc<A> {
    pub(super) fn from_parts(config: BcConfig, actor: A) -> Self {
        let adam = Adam { max_gradient_norm: config.max_gradient_norm, ..Adam::default() };
        Self { config, actor, adam, precision: DType::F32 }
    }

    /// The same core with states in another precision (float64 for gradient checks, on devices that have it).
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &BcConfig {
        &self.config
    }

    /// The policy network.
    pub fn actor(&self) -> &A {
        &self.actor
    }
}

impl<A: Actor> LearnerCore for Bc<A> {
    type State = BcState;
    type Sample = Transitions;

    fn init(&self, seed: u64, device: &Device) -> Result<BcState> {
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let mut initial = RandomStream::population(seed, INITIAL_PARAMETERS, population);
        let actor = self.actor.init(&mut initial, &options)?;
        let rate = self.config.learning_rate.to_tensor(population, &options);
        let skipped = Skipped::new(population, &options);
        Ok(BcState { actor: Trainable::new(actor, rate), skipped, updates: 0 })
    }

    fn step(&self, state: &mut BcState, sample: Transitions) -> Result<StepOutput> {
        sample.check(Expected {
            population: self.config.population,
            observation: self.actor.observation_size(),
            action: self.action_size(),
            like: &state.actor.parameters,
        })?;
        let Transitions { observation, action, importance_weight, .. } = sample;
        let (outputs, tape) = self.actor.record(&state.actor.parameters, observation);
        let (value, gradient) = value_and_gradient(outputs, |outputs| {
            loss::cloning(self.config.loss, outputs, action, importance_weight)
        });
        let mut guard = Guard::new(&value);
        state.actor.step(&self.adam, self.actor.gradient(tape, gradient), &mut guard);
        state.skipped.count(&guard);
        state.updates += 1;
        let mut metrics = Metrics::default();
        metrics.push("cloning_loss", value);
        state.skipped.show(&mut metrics, "skipped_updates", "skipped_in_a_row");
        Ok(StepOutput { metrics, feedback: None })
    }

    fn decisions(&self, _: &BcState) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<A: Actor> ExplicitNoise for Bc<A> {
    /// Behaviour cloning draws nothing after its start.
    type Noise = ();

    fn step_with_noise(&self, state: &mut BcState, sample: Transitions, (): ()) -> Result<StepOutput> {
        self.step(state, sample)
    }
}

impl<A: Actor> Act for Bc<A> {
    fn observation_size(&self) -> usize {
        self.actor.observation_size()
    }

    fn action_size(&self) -> usize {
        self.actor.output_size() / policy::outputs_per_action(self.config.loss)
    }

    fn population(&self) -> usize {
        self.config.population
    }

    fn act(&self, state: &BcState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        check_acting(self, &observation, &acting)?;
        let outputs = self.actor.forward(&state.actor.parameters, observation);
        Ok(policy::act(self.config.loss, outputs, acting))
    }
}
