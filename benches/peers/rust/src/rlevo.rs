//! rlevo on burn's flex: `SacAgent::learn_step` and `Td3Agent::learn_step`, which sample, too.

use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rlevo_core::action::{BoundedAction, ContinuousAction};
use rlevo_core::agent::Agent;
use rlevo_core::base::{Action as _, HostRow};
use rlevo_core::bounds::Bounds;
use rlevo_core::environment::EpisodeStatus;
use rlevo_reinforcement_learning::algorithms::ddpg::ddpg_model::{
    MlpActor, MlpActorConfig, MlpCritic, MlpCriticConfig,
};
use rlevo_reinforcement_learning::algorithms::sac::sac_agent::SacAgent;
use rlevo_reinforcement_learning::algorithms::sac::sac_config::SacTrainingConfig;
use rlevo_reinforcement_learning::algorithms::sac::sac_policy::{
    SquashedGaussianPolicyHead, SquashedGaussianPolicyHeadConfig,
};
use rlevo_reinforcement_learning::algorithms::td3::td3_agent::Td3Agent;
use rlevo_reinforcement_learning::algorithms::td3::td3_config::Td3TrainingConfig;
use rlevo_reinforcement_learning::target::TargetUpdate;

use crate::{
    ACTION, Algorithm, BUFFER, GAMMA, LEARNING_RATE, OBSERVATION, Options, Peer, Result, TAU, transitions,
};

#[derive(Clone, Debug)]
struct Observation([f32; OBSERVATION]);

impl rlevo_core::base::Observation<1> for Observation {
    fn shape() -> [usize; 1] {
        [OBSERVATION]
    }
}

impl HostRow<1> for Observation {
    fn write_host_row(&self, buffer: &mut Vec<f32>) {
        buffer.extend_from_slice(&self.0);
    }
}

#[derive(Clone, Debug)]
struct Action([f32; ACTION]);

impl rlevo_core::base::Action<1> for Action {
    fn shape() -> [usize; 1] {
        [ACTION]
    }

    fn is_valid(&self) -> bool {
        self.0.iter().all(|component| component.abs() <= 1.0)
    }
}

impl ContinuousAction<1> for Action {
    const COMPONENTS: usize = ACTION;

    fn as_slice(&self) -> &[f32] {
        &self.0
    }

    fn from_slice(values: &[f32]) -> Self {
        Self(values.try_into().expect("as many components as an action has"))
    }
}

impl BoundedAction<1> for Action {
    fn low() -> &'static [f32] {
        &[-1.0; ACTION]
    }

    fn high() -> &'static [f32] {
        &[1.0; ACTION]
    }
}

type Sac = SacAgent<SquashedGaussianPolicyHead, MlpCritic, Observation, Action, 1, 2, 1, 2>;
type Td3 = Td3Agent<MlpActor, MlpCritic, Observation, Action, 1, 2, 1, 2>;

/// What the two agents have in common, but for a trait.
trait Learns: Agent<Observation, Action> {
    fn remember(
        &mut self,
        observation: Observation,
        action: &Action,
        reward: f32,
        next: Observation,
        status: EpisodeStatus,
    );
    /// One update; the losses of critics and, where it had its turn, actor.
    fn learn(&mut self, random: &mut StdRng) -> Result<(f32, Option<f32>)>;
}

macro_rules! learns {
    ($agent:ty) => {
        impl Learns for $agent {
            fn remember(
                &mut self,
                observation: Observation,
                action: &Action,
                reward: f32,
                next: Observation,
                status: EpisodeStatus,
            ) {
                <$agent>::remember(self, observation, action, reward, next, status);
            }

            fn learn(&mut self, random: &mut StdRng) -> Result<(f32, Option<f32>)> {
                let outcome = self.learn_step(random)?.ok_or("rlevo made no update")?;
                Ok((outcome.critic_loss, outcome.actor_loss))
            }
        }
    };
}
learns!(Sac);
learns!(Td3);

struct Rlevo<A> {
    agent: A,
    random: StdRng,
    losses: (f32, f32),
}

impl<A: Learns> Rlevo<A> {
    fn filled(mut agent: A) -> Self {
        for one in transitions() {
            let status = if one.terminated { EpisodeStatus::Terminated } else { EpisodeStatus::Running };
            let (observation, next) = (Observation(one.observation), Observation(one.next_observation));
            agent.remember(observation, &Action(one.action), one.reward, next, status);
        }
        Self { agent, random: StdRng::seed_from_u64(0), losses: (0.0, 0.0) }
    }
}

impl<A: Learns> Peer for Rlevo<A> {
    fn updates(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (critic, actor) = self.agent.learn(&mut self.random)?;
            self.losses = (critic, actor.unwrap_or(self.losses.1));
        }
        Ok(())
    }

    fn action(&mut self) -> Result<Vec<f32>> {
        self.agent.set_training(false);
        let action = self.agent.act(&Observation([0.5; OBSERVATION]), &mut self.random);
        self.agent.set_training(true);
        if action.is_valid() {
            Ok(action.0.to_vec())
        } else {
            Err("rlevo's action is out of its bounds".into())
        }
    }

    fn losses(&self) -> Vec<(&'static str, f32)> {
        vec![("critic_loss", self.losses.0), ("actor_loss", self.losses.1)]
    }
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    let device = Device::flex();
    let hidden = vec![options.width; 2];
    let critic = || {
        MlpCriticConfig { obs_dim: OBSERVATION, action_dim: ACTION, hidden: hidden.clone() }.try_init(&device)
    };
    let version = "0.6.1 on burn-flex 0.22.1";
    if options.algorithm == Algorithm::Sac {
        let actor = SquashedGaussianPolicyHeadConfig {
            obs_dim: OBSERVATION,
            hidden: options.width,
            action_dim: ACTION,
            log_std: Bounds::new(-5.0, 2.0),
            action_scale: 1.0,
            action_bias: 0.0,
        };
        let config = SacTrainingConfig {
            replay_buffer_capacity: BUFFER,
            batch_size: options.batch,
            learning_starts: 0,
            actor_lr: LEARNING_RATE,
            critic_lr: LEARNING_RATE,
            alpha_lr: LEARNING_RATE,
            gamma: GAMMA,
            // Its default, 2, leaves out every second update of actor and temperature.
            policy_frequency: 1,
            target_update: TargetUpdate::polyak(TAU, 1),
            ..SacTrainingConfig::default()
        };
        let agent = Sac::new(actor.try_init(&device)?, critic()?, critic()?, config, device.clone())?;
        crate::measure(options, version, &mut Rlevo::filled(agent))
    } else {
        let actor = MlpActorConfig {
            obs_dim: OBSERVATION,
            hidden: hidden.clone(),
            action_dim: ACTION,
            action_scale: 1.0,
        };
        let config = Td3TrainingConfig {
            replay_buffer_capacity: BUFFER,
            batch_size: options.batch,
            learning_starts: 0,
            actor_lr: LEARNING_RATE,
            critic_lr: LEARNING_RATE,
            gamma: GAMMA,
            policy_frequency: 2,
            target_update: TargetUpdate::polyak(TAU, 2),
            ..Td3TrainingConfig::default()
        };
        let agent = Td3::new(actor.try_init(&device)?, critic()?, critic()?, config, device.clone())?;
        crate::measure(options, version, &mut Rlevo::filled(agent))
    }
}
