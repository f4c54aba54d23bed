//! One update of SAC.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};

use super::policy::SquashedGaussian;
use super::{SacConfig, SacState, Temperature, loss};
use crate::guard::{Guard, Skipped};
use crate::learner::{Act, Acting, ExplicitNoise, LearnerCore, LogProbability, check_acting};
use crate::network::{Actor, Critic, MlpActor, MlpCritic};
use crate::optimiser::{Adam, PerMember, Trainable, polyak};
use crate::phase::Phase;
use crate::random::{RandomStream, normal_noise};
use crate::sample::{Expected, Transitions};
use crate::{DirectCore, Error, Feedback, Metrics, Result, StepOutput};

/// Streams of a seed: initial parameters, and the updates' noise.
const INITIAL_PARAMETERS: u64 = 0;
const UPDATE_NOISE: u64 = 1;

/// Soft actor-critic as a stateless core, made by [`SacConfig::init`].
#[derive(Debug, Clone)]
pub struct Sac<A = MlpActor, C = MlpCritic> {
    config: SacConfig,
    actor: A,
    critic: C,
    adam: Adam,
    precision: DType,
}

/// The noise of one update, standard normal, `[P, B, A]` each.
#[derive(Debug, Clone)]
pub struct SacNoise {
    /// For the action a′ at the next observation, in the target.
    pub next: Tensor<3>,
    /// For the action ã at the observation, in the actor's loss.
    pub current: Tensor<3>,
}

impl<A: Actor, C: Critic> Sac<A, C> {
    pub(super) fn from_parts(config: SacConfig, actor: A, critic: C) -> Self {
        let adam = Adam { max_gradient_norm: config.max_gradient_norm, ..Adam::default() };
        Self { config, actor, critic, adam, precision: DType::F32 }
    }

    /// The same core with states in another precision (float64 for gradient checks, on devices that have it).
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &SacConfig {
        &self.config
    }

    /// The policy network.
    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// The critic networks.
    pub fn critic(&self) -> &C {
        &self.critic
    }

    fn check(&self, state: &SacState, sample: &Transitions) -> Result<usize> {
        sample.check(Expected {
            population: self.config.population,
            observation: self.critic.observation_size(),
            action: self.critic.action_size(),
            like: &state.critic.parameters,
        })
    }

    /// The update, in the order of the rule; every line uses the newest value of what it names.
    fn update(&self, state: &mut SacState, sample: Transitions, noise: SacNoise) -> StepOutput {
        let Transitions { observation, action, reward, discount, next_observation, importance_weight, keys } =
            sample;
        let alpha = state.log_alpha.parameters.clone().exp();

        // 1. The target, from the target critics and the policy at the next observation. The actor moves after its last
        // use, so that one pass serves its own loss, too.
        let phase = Phase::Targets.enter();
        let (outputs, actor_tape, next_outputs) =
            self.actor.record_beside(&state.actor.parameters, observation.clone(), next_observation.clone());
        let (next_action, next_log_prob) =
            SquashedGaussian::new(next_outputs).sample_with_log_prob(noise.next);
        let next_value = self.critic.forward(&state.target_critic, next_observation, next_action);
        let target = loss::target(reward, discount, &next_value, alpha.clone(), next_log_prob);
        drop(phase);

        // 2. The critics.
        let phase = Phase::Critics.enter();
        let (value, tape) = self.critic.record(&state.critic.parameters, observation.clone(), action);
        let critic_loss = loss::critic(value, target, importance_weight);
        let mut guard = Guard::new(&critic_loss.loss);
        state.critic.step(&self.adam, self.critic.gradient(tape, critic_loss.gradient), &mut guard);
        drop(phase);

        // 3. The actor, through the updated critics, which are constants here.
        let phase = Phase::Actor.enter();
        let (action, log_prob, action_tape) = SquashedGaussian::new(outputs).record(noise.current);
        let (value, critic_tape) = self.critic.record(&state.critic.parameters, observation, action);
        let actor_loss = loss::actor(alpha.clone(), log_prob.clone(), &value);
        let action = self.critic.action_gradient(critic_tape, actor_loss.value);
        let outputs = action_tape.gradient(action, actor_loss.log_prob);
        guard.watch(&actor_loss.loss);
        state.actor.step(&self.adam, self.actor.gradient(actor_tape, outputs), &mut guard);

        // 4. The temperature. Its loss is finite if its gradient and its parameter are.
        let entropy = log_prob.mean_dim(1).neg();
        let mut temperature_loss = None;
        if matches!(self.config.temperature, Temperature::Learned(_)) {
            let log_alpha = state.log_alpha.parameters.clone();
            let (loss, gradient) =
                loss::temperature(log_alpha, entropy.clone(), state.target_entropy.clone());
            state.log_alpha.step(&Adam { max_gradient_norm: None, ..self.adam }, gradient, &mut guard);
            temperature_loss = Some(loss);
        }
        drop(phase);

        // 5. The target critics.
        state.updates += 1;
        if state.updates.is_multiple_of(self.config.target_update_interval) {
            polyak(&mut state.target_critic, &state.critic.parameters, &state.tau, &guard);
        }
        state.skipped.count(&guard);

        let column = |values: Tensor<2>| values.flatten::<1>(0, 1);
        let mut metrics = Metrics::default();
        metrics.push("critic_loss", critic_loss.loss);
        metrics.push("actor_loss", actor_loss.loss);
        metrics.push("mean_value", critic_loss.mean_value);
        metrics.push("entropy", column(entropy));
        metrics.push("temperature", column(alpha));
        if let Some(loss) = temperature_loss {
            metrics.push("temperature_loss", column(loss));
        }
        state.skipped.show(&mut metrics, "skipped_updates", "skipped_in_a_row");
        StepOutput { metrics, feedback: Some(Feedback { td_error: critic_loss.td_error, keys }) }
    }
}

impl<A: Actor, C: Critic> LearnerCore for Sac<A, C> {
    type State = SacState;
    type Sample = Transitions;

    fn init(&self, seed: u64, device: &Device) -> Result<SacState> {
        let population = self.config.population;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let mut initial = RandomStream::population(seed, INITIAL_PARAMETERS, population);
        let actor = self.actor.init(&mut initial, &options)?;
        let critic = self.critic.init(&mut initial, &options)?;
        let (Temperature::Learned(alpha) | Temperature::Fixed(alpha)) = &self.config.temperature;
        let trainable =
            |parameters, rate: &PerMember| Trainable::new(parameters, rate.to_tensor(population, &options));
        let target_entropy = self.config.target_entropy.clone();
        Ok(SacState {
            actor: trainable(actor, &self.config.actor_learning_rate),
            target_critic: critic.clone(),
            critic: trainable(critic, &self.config.critic_learning_rate),
            log_alpha: trainable(
                alpha.to_tensor(population, &options).log(),
                &self.config.temperature_learning_rate,
            ),
            tau: self.config.tau.to_tensor(population, &options),
            target_entropy: target_entropy
                .unwrap_or_else(|| PerMember::All(-(self.critic.action_size() as f64)))
                .to_tensor(population, &options),
            noise: RandomStream::population(seed, UPDATE_NOISE, population),
            skipped: Skipped::new(population, &options),
            updates: 0,
        })
    }

    fn step(&self, state: &mut SacState, sample: Transitions) -> Result<StepOutput> {
        let batch = self.check(state, &sample)?;
        let parameters = &state.critic.parameters;
        let options = TensorCreationOptions::new(parameters.device()).with_dtype(parameters.dtype());
        let noise = normal_noise(&mut state.noise, 2, batch, self.critic.action_size(), &options);
        let noise = SacNoise {
            next: noise.clone().narrow(0, 0, 1).squeeze_dim(0),
            current: noise.narrow(0, 1, 1).squeeze_dim(0),
        };
        Ok(self.update(state, sample, noise))
    }

    fn decisions(&self, state: &SacState) -> Option<Vec<bool>> {
        Some(vec![(state.updates + 1).is_multiple_of(self.config.target_update_interval)])
    }
}

impl<A: Actor, C: Critic> DirectCore for Sac<A, C> {}

impl<A: Actor, C: Critic> ExplicitNoise for Sac<A, C> {
    type Noise = SacNoise;

    fn step_with_noise(
        &self,
        state: &mut SacState,
        sample: Transitions,
        noise: SacNoise,
    ) -> Result<StepOutput> {
        let batch = self.check(state, &sample)?;
        let shape = [self.config.population, batch, self.critic.action_size()];
        for (field, actual) in [("noise.next", noise.next.dims()), ("noise.current", noise.current.dims())] {
            if actual != shape {
                return Err(Error::Shape { field, expected: format!("{shape:?}"), actual: actual.to_vec() });
            }
        }
        Ok(self.update(state, sample, noise))
    }
}

impl<A: Actor, C: Critic> Act for Sac<A, C> {
    fn observation_size(&self) -> usize {
        self.critic.observation_size()
    }

    fn action_size(&self) -> usize {
        self.critic.action_size()
    }

    fn population(&self) -> usize {
        self.config.population
    }

    fn act(&self, state: &SacState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        check_acting(self, &observation, &acting)?;
        let policy = SquashedGaussian::new(self.actor.forward(&state.actor.parameters, observation));
        Ok(match acting {
            Acting::Deterministic => policy.mode(),
            Acting::Exploring(noise) => policy.sample(noise),
        })
    }
}

impl<A: Actor, C: Critic> LogProbability for Sac<A, C> {
    fn log_probability(
        &self,
        state: &SacState,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        check_acting(self, &observation, &Acting::Deterministic)?;
        let [members, batch, size] = action.dims();
        let population = self.config.population;
        if batch != observation.dims()[1]
            || size != self.critic.action_size()
            || (members != population && members != 1)
        {
            return Err(Error::Shape {
                field: "action",
                expected: format!(
                    "[{population} or 1, {}, {}]",
                    observation.dims()[1],
                    self.critic.action_size()
                ),
                actual: action.dims().to_vec(),
            });
        }
        Ok(SquashedGaussian::new(self.actor.forward(&state.actor.parameters, observation)).log_prob(action))
    }
}
