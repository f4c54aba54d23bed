//! One update of TD3.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions};

use super::{Td3Config, Td3State, loss, policy};
use crate::guard::{Guard, Skipped};
use crate::learner::{Act, Acting, ExplicitNoise, LearnerCore, check_acting};
use crate::network::{Actor, Critic, MlpActor, MlpCritic};
use crate::optimiser::{Adam, PerMember, Trainable, polyak};
use crate::phase::Phase;
use crate::random::{RandomStream, normal_noise};
use crate::sample::{Expected, Transitions};
use crate::{DirectCore, Error, Feedback, Metrics, Result, StepOutput};

/// Streams of a seed: initial parameters, and the updates' noise.
const INITIAL_PARAMETERS: u64 = 0;
const UPDATE_NOISE: u64 = 1;

/// TD3 (and TD3+BC) as a stateless core, made by [`Td3Config::init`].
#[derive(Debug, Clone)]
pub struct Td3<A = MlpActor, C = MlpCritic> {
    config: Td3Config,
    actor: A,
    critic: C,
    adam: Adam,
    precision: DType,
}

/// The noise of one update.
#[derive(Debug, Clone)]
pub struct Td3Noise {
    /// Standard normal noise `[P, B, A]` on the target policy's action.
    pub next: Tensor<3>,
}

impl<A: Actor, C: Critic> Td3<A, C> {
    pub(super) fn from_parts(config: Td3Config, actor: A, critic: C) -> Self {
        let adam = Adam { max_gradient_norm: config.max_gradient_norm, ..Adam::default() };
        Self { config, actor, critic, adam, precision: DType::F32 }
    }

    /// The same core with states in another precision (float64 for gradient checks, on devices that have it).
    #[must_use]
    pub fn with_precision(self, precision: DType) -> Self {
        Self { precision, ..self }
    }

    /// The hyperparameters.
    pub fn config(&self) -> &Td3Config {
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

    fn check(&self, state: &Td3State, sample: &Transitions) -> Result<usize> {
        sample.check(Expected {
            population: self.config.population,
            observation: self.critic.observation_size(),
            action: self.critic.action_size(),
            like: &state.critic.parameters,
        })
    }

    /// The update, in the order of the rule; every line uses the newest value of what it names.
    fn update(&self, state: &mut Td3State, sample: Transitions, noise: Td3Noise) -> StepOutput {
        let Transitions { observation, action, reward, discount, next_observation, importance_weight, keys } =
            sample;

        // 1. The target, from the target critics at the target policy's smoothed action.
        let phase = Phase::Targets.enter();
        let next_action = policy::action(self.actor.forward(&state.target_actor, next_observation.clone()));
        let next_action =
            policy::smooth(next_action, noise.next, state.target_noise.clone(), state.noise_clip.clone());
        let next_value = self.critic.forward(&state.target_critic, next_observation, next_action);
        let target = loss::target(reward, discount, &next_value);
        drop(phase);

        // 2. The critics.
        let phase = Phase::Critics.enter();
        let (value, tape) = self.critic.record(&state.critic.parameters, observation.clone(), action.clone());
        let critic_loss = loss::critic(value, target, importance_weight);
        let mut guard = Guard::new(&critic_loss.loss);
        state.critic.step(&self.adam, self.critic.gradient(tape, critic_loss.gradient), &mut guard);
        drop(phase);

        let mut metrics = Metrics::default();
        metrics.push("critic_loss", critic_loss.loss);
        metrics.push("mean_value", critic_loss.mean_value);

        // 3. Every so often the actor, through the first critic, which is constant here; then the targets.
        state.updates += 1;
        if state.updates.is_multiple_of(self.config.policy_delay) {
            let phase = Phase::Actor.enter();
            let (outputs, actor_tape) = self.actor.record(&state.actor.parameters, observation.clone());
            let proposed = policy::action(outputs);
            let (value, critic_tape) =
                self.critic.record_first(&state.critic.parameters, observation, proposed.clone());
            let actor_loss = match self.config.behaviour_cloning {
                Some(_) => {
                    let alpha = state.behaviour_cloning.clone();
                    loss::actor_with_cloning(value, proposed.clone(), action, alpha)
                }
                None => loss::actor(value),
            };
            let through_critic = self.critic.action_gradient(critic_tape, actor_loss.value);
            let gradient = match actor_loss.action {
                Some(directly) => through_critic + directly,
                None => through_critic,
            };
            let gradient = policy::gradient(proposed, gradient);
            guard.watch(&actor_loss.loss);
            state.actor.step(&self.adam, self.actor.gradient(actor_tape, gradient), &mut guard);
            metrics.push("actor_loss", actor_loss.loss);
            drop(phase);
            polyak(&mut state.target_critic, &state.critic.parameters, &state.tau, &guard);
            polyak(&mut state.target_actor, &state.actor.parameters, &state.tau, &guard);
        }
        state.skipped.count(&guard);
        state.skipped.show(&mut metrics, "skipped_updates", "skipped_in_a_row");
        StepOutput { metrics, feedback: Some(Feedback { td_error: critic_loss.td_error, keys }) }
    }
}

impl<A: Actor, C: Critic> LearnerCore for Td3<A, C> {
    type State = Td3State;
    type Sample = Transitions;

    fn init(&self, seed: u64, device: &Device) -> Result<Td3State> {
        let Td3Config { population, .. } = self.config;
        let options =
            TensorCreationOptions::new(device.clone().without_autodiff()).with_dtype(self.precision);
        let mut initial = RandomStream::population(seed, INITIAL_PARAMETERS, population);
        let actor = self.actor.init(&mut initial, &options)?;
        let critic = self.critic.init(&mut initial, &options)?;
        let each = |value: &PerMember| value.to_tensor(population, &options);
        Ok(Td3State {
            target_actor: actor.clone(),
            target_critic: critic.clone(),
            actor: Trainable::new(actor, each(&self.config.actor_learning_rate)),
            critic: Trainable::new(critic, each(&self.config.critic_learning_rate)),
            tau: each(&self.config.tau),
            target_noise: each(&self.config.target_noise),
            noise_clip: each(&self.config.noise_clip),
            exploration_noise: each(&self.config.exploration_noise),
            behaviour_cloning: each(self.config.behaviour_cloning.as_ref().unwrap_or(&PerMember::All(0.0))),
            noise: RandomStream::population(seed, UPDATE_NOISE, population),
            skipped: Skipped::new(population, &options),
            updates: 0,
        })
    }

    fn step(&self, state: &mut Td3State, sample: Transitions) -> Result<StepOutput> {
        let batch = self.check(state, &sample)?;
        let parameters = &state.critic.parameters;
        let options = TensorCreationOptions::new(parameters.device()).with_dtype(parameters.dtype());
        let noise = normal_noise(&mut state.noise, 1, batch, self.critic.action_size(), &options);
        Ok(self.update(state, sample, Td3Noise { next: noise.squeeze_dim(0) }))
    }

    fn decisions(&self, state: &Td3State) -> Option<Vec<bool>> {
        Some(vec![(state.updates + 1).is_multiple_of(self.config.policy_delay)])
    }
}

impl<A: Actor, C: Critic> DirectCore for Td3<A, C> {}

impl<A: Actor, C: Critic> ExplicitNoise for Td3<A, C> {
    type Noise = Td3Noise;

    fn step_with_noise(
        &self,
        state: &mut Td3State,
        sample: Transitions,
        noise: Td3Noise,
    ) -> Result<StepOutput> {
        let batch = self.check(state, &sample)?;
        let shape = [self.config.population, batch, self.critic.action_size()];
        if noise.next.dims() != shape {
            return Err(Error::Shape {
                field: "noise.next",
                expected: format!("{shape:?}"),
                actual: noise.next.dims().to_vec(),
            });
        }
        Ok(self.update(state, sample, noise))
    }
}

impl<A: Actor, C: Critic> Act for Td3<A, C> {
    fn observation_size(&self) -> usize {
        self.critic.observation_size()
    }

    fn action_size(&self) -> usize {
        self.critic.action_size()
    }

    fn population(&self) -> usize {
        self.config.population
    }

    fn act(&self, state: &Td3State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        check_acting(self, &observation, &acting)?;
        let action = policy::action(self.actor.forward(&state.actor.parameters, observation));
        Ok(match acting {
            Acting::Deterministic => action,
            Acting::Exploring(noise) => policy::explore(action, noise, state.exploration_noise.clone()),
        })
    }
}
