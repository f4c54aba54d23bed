//! modurl on candle: `learn` of its `SACAgent` and `TD3Agent`. An update cannot be called without a step of an environment, so
//! one step and one action of the policy are inside of each; `Peer::beside` says what they cost.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use candle_core::{DType, Device, Module, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use modurl::distributions::GaussianDistributionError;
use modurl::prelude::*;

use crate::{
    ACTION, Algorithm, BUFFER, GAMMA, LEARNING_RATE, OBSERVATION, Options, Peer, Result, TAU, Transition,
    transitions,
};

type Candle<T> = candle_core::Result<T>;
type Failure = candle_core::Error;
type Squashed = TransformedDistribution<GaussianDistribution, TanhTransform>;
type PolicyFailure =
    ProbabilisticPolicyModelError<TransformedDistributionError<GaussianDistributionError, Failure>>;
type Sac<'a> = SACAgent<'a, AdamW, AdamW, AdamW, PolicyFailure, Failure, Failure>;
type Td3<'a> = TD3Agent<'a, AdamW, AdamW, Failure, Failure>;

const DEVICE: Device = Device::Cpu;

/// The transitions of all peers one after the other, whatever the action is: a step costs next to nothing.
struct Replayed {
    transitions: Vec<Transition>,
    next: usize,
}

impl Replayed {
    fn new() -> Self {
        Self { transitions: transitions().collect(), next: 0 }
    }

    fn observation(&self) -> Candle<Tensor> {
        Tensor::from_slice(&self.transitions[self.next].observation, (1, OBSERVATION), &DEVICE)
    }
}

impl MultiGym for Replayed {
    type Error = Failure;
    type SpaceError = Failure;

    fn step(&mut self, _action: Tensor) -> Candle<MultiGymStepInfo> {
        let Transition { reward, next_observation, terminated, .. } = self.transitions[self.next];
        self.next = (self.next + 1) % BUFFER;
        let terminal = terminated.then(|| Tensor::from_slice(&next_observation, OBSERVATION, &DEVICE));
        Ok(MultiGymStepInfo {
            states: self.observation()?,
            rewards: Tensor::from_slice(&[reward], 1, &DEVICE)?,
            infos: vec![()],
            dones: vec![terminated],
            truncateds: vec![false],
            terminal_states: vec![terminal.transpose()?],
        })
    }

    fn observation_space(&self) -> Box<dyn Space<Error = Failure>> {
        observations()
    }

    fn action_space(&self) -> Box<dyn Space<Error = Failure>> {
        Box::new(actions())
    }

    fn num_envs(&self) -> usize {
        1
    }

    fn reset(&mut self) -> Candle<Tensor> {
        self.observation()
    }
}

fn observations() -> Box<dyn Space<Error = Failure>> {
    Box::new(BoxSpace::new_unbounded(vec![OBSERVATION], &DEVICE))
}

fn actions() -> BoxSpace {
    BoxSpace::new_with_universal_bounds(vec![ACTION], -1.0, 1.0, &DEVICE)
}

/// Mean and logarithm of the deviation of a Gaussian, which depend on the state both.
struct Gaussian(MLP);

impl Module for Gaussian {
    fn forward(&self, observations: &Tensor) -> Candle<Tensor> {
        let both = self.0.forward(observations)?;
        let log_std = both.narrow(1, ACTION, ACTION)?.clamp(-5.0, 2.0)?;
        Tensor::cat(&[both.narrow(1, 0, ACTION)?, log_std], 1)
    }
}

/// The losses of critics and actor in the last update.
#[derive(Clone, Default)]
struct Losses(Rc<Cell<(f32, f32)>>);

impl Losses {
    fn set(&self, critics: &[Tensor], actor: Option<&Tensor>) {
        let number = |loss: &Tensor| loss.to_scalar().unwrap_or(f32::NAN);
        let critic = critics.iter().map(number).sum();
        self.0.set((critic, actor.map_or(self.0.get().1, number)));
    }
}

impl SACLogger for Losses {
    fn log_update(&mut self, entry: &SACLogEntry) {
        self.set(&entry.critic_losses, Some(&entry.actor_loss));
    }

    fn log_collection(&mut self, _entry: &SACCollectionLogEntry) {}
}

impl TD3Logger for Losses {
    fn log(&mut self, entry: &DeterministicActorCriticLogEntry) {
        self.set(&entry.critic_losses, entry.actor_loss.as_ref());
    }
}

/// What the two agents have in common, but for a trait.
trait Learns {
    fn learn(&mut self, environment: &mut Replayed, steps: usize) -> Result<()>;
    fn mean_action(&mut self, observation: &Tensor) -> Result<Tensor>;
}

macro_rules! learns {
    ($agent:ty) => {
        impl Learns for $agent {
            fn learn(&mut self, environment: &mut Replayed, steps: usize) -> Result<()> {
                Ok(Agent::learn(self, environment, steps)?)
            }

            fn mean_action(&mut self, observation: &Tensor) -> Result<Tensor> {
                Ok(self.act_deterministic(observation)?)
            }
        }
    };
}
learns!(Sac<'_>);
learns!(Td3<'_>);

struct Modurl<A> {
    agent: A,
    environment: Replayed,
    losses: Losses,
    beside: f64,
}

impl<A: Learns> Peer for Modurl<A> {
    fn updates(&mut self, count: usize) -> Result<()> {
        self.agent.learn(&mut self.environment, count)
    }

    fn action(&mut self) -> Result<Vec<f32>> {
        let observation = Tensor::full(0.5f32, (1, OBSERVATION), &DEVICE)?;
        Ok(self.agent.mean_action(&observation)?.flatten_all()?.to_vec1()?)
    }

    fn losses(&self) -> Vec<(&'static str, f32)> {
        let (critic, actor) = self.losses.0.get();
        vec![("critic_loss", critic), ("actor_loss", actor)]
    }

    fn beside(&self) -> f64 {
        self.beside
    }
}

/// Parameters of the five or six networks; the agents borrow them.
struct Parameters {
    actor: VarMap,
    target_actor: VarMap,
    critics: [VarMap; 2],
    target_critics: [VarMap; 2],
}

impl Parameters {
    fn new() -> Self {
        let pair = || [VarMap::new(), VarMap::new()];
        Self { actor: VarMap::new(), target_actor: VarMap::new(), critics: pair(), target_critics: pair() }
    }
}

fn network(parameters: &VarMap, inputs: usize, outputs: usize, width: usize) -> Candle<MLP> {
    MLP::builder()
        .input_size(inputs)
        .output_size(outputs)
        .vb(VarBuilder::from_varmap(parameters, DType::F32, &DEVICE))
        .hidden_layer_sizes(vec![width; 2])
        .build()
}

/// Tanh of a network's outputs, TD3's actor.
struct Bounded(MLP);

impl Module for Bounded {
    fn forward(&self, observations: &Tensor) -> Candle<Tensor> {
        self.0.forward(observations)?.tanh()
    }
}

/// Adam, which candle has as `AdamW` without decay.
fn adam(parameters: Vec<Var>) -> Candle<AdamW> {
    AdamW::new(parameters, ParamsAdamW { lr: LEARNING_RATE, weight_decay: 0.0, ..ParamsAdamW::default() })
}

fn critics<'a>(
    online: &'a [VarMap; 2],
    targets: &'a mut [VarMap; 2],
    width: usize,
) -> Result<Vec<SACCritic<'a, AdamW>>> {
    let inputs = OBSERVATION + ACTION;
    online
        .iter()
        .zip(targets)
        .map(|(online, target)| {
            Ok(SACCritic::builder()
                .online_network(ScalarStateActionCritic::new(network(online, inputs, 1, width)?))
                .target_network(ScalarStateActionCritic::new(network(target, inputs, 1, width)?))
                .optimizer(adam(online.all_vars())?)
                .online_vars(online)
                .target_vars(target)
                .build()?)
        })
        .collect()
}

/// SAC that acts at random for `random_steps`, and learns as soon as it has a batch after that.
fn sac<'a>(
    parameters: &'a mut Parameters,
    losses: &'a mut Losses,
    width: usize,
    batch: usize,
    random_steps: usize,
) -> Result<Sac<'a>> {
    let policy = ProbabilisticPolicyModel::<Squashed>::new(Gaussian(network(
        &parameters.actor,
        OBSERVATION,
        2 * ACTION,
        width,
    )?));
    let log_alpha = Var::from_slice(&[0.0f32], (), &DEVICE)?;
    let temperature = adam(vec![log_alpha.clone()])?;
    // Its default asks the policy for the entropy's target in every update, which costs a forward pass.
    let target = ConstantSchedule::new(-(ACTION as f64));
    Ok(SACAgent::builder()
        .policy(policy)
        .actor_optimizer(adam(parameters.actor.all_vars())?)
        .critics(critics(&parameters.critics, &mut parameters.target_critics, width)?)
        .entropy_configuration(SACEntropyConfiguration::automatic_with_target_schedule(
            log_alpha,
            temperature,
            target,
        ))
        .action_space(Box::new(actions()))
        .observation_space(observations())
        .replay_storage_config(ReplayStorageConfig::new(ReplayDeviceStrategy::OneDevice(DEVICE)))
        .logger(losses)
        .gamma(f64::from(GAMMA))
        .tau(f64::from(TAU))
        .replay_capacity(BUFFER)
        .batch_size(batch)
        .training_start(random_steps)
        .training_horizon(BUFFER)
        .build()?)
}

/// TD3, likewise.
fn td3<'a>(
    parameters: &'a mut Parameters,
    losses: &'a mut Losses,
    width: usize,
    batch: usize,
    random_steps: usize,
) -> Result<Td3<'a>> {
    let actor = |parameters: &VarMap| Candle::Ok(Bounded(network(parameters, OBSERVATION, ACTION, width)?));
    Ok(TD3Agent::builder()
        .online_actor(actor(&parameters.actor)?)
        .target_actor(actor(&parameters.target_actor)?)
        .actor_optimizer(adam(parameters.actor.all_vars())?)
        .online_actor_vars(&parameters.actor)
        .target_actor_vars(&mut parameters.target_actor)
        .critics(critics(&parameters.critics, &mut parameters.target_critics, width)?)
        .action_space(actions())
        .observation_space(observations())
        .replay_storage_config(ReplayStorageConfig::new(ReplayDeviceStrategy::OneDevice(DEVICE)))
        .logger(losses)
        .gamma(f64::from(GAMMA))
        .tau(f64::from(TAU))
        .actor_update_interval(2)
        .replay_capacity(BUFFER)
        .batch_size(batch)
        .training_start(random_steps)
        .training_horizon(BUFFER)
        .build()?)
}

/// Seconds of a step without an update: `agent` acts by its policy and waits for a batch as large as the whole buffer.
fn without_updates(mut agent: impl Learns) -> Result<f64> {
    const STEPS: usize = 1000;
    let mut environment = Replayed::new();
    agent.learn(&mut environment, STEPS)?;
    let start = Instant::now();
    agent.learn(&mut environment, STEPS)?;
    Ok(start.elapsed().as_secs_f64() / STEPS as f64)
}

fn timed(options: &Options, mut agent: impl Learns, losses: Losses, beside: f64) -> Result<()> {
    let mut environment = Replayed::new();
    // Random actions and no updates until all of the buffer but one transition is there.
    agent.learn(&mut environment, BUFFER - 1)?;
    crate::measure(options, "0.1.0 on candle 0.11.1", &mut Modurl { agent, environment, losses, beside })
}

pub(crate) fn measure(options: &Options) -> Result<()> {
    let (mut parameters, mut others) = (Parameters::new(), Parameters::new());
    let (losses, width, batch) = (Losses::default(), options.width, options.batch);
    let (mut logger, mut unused) = (losses.clone(), Losses::default());
    if options.algorithm == Algorithm::Sac {
        let beside = without_updates(sac(&mut others, &mut unused, width, BUFFER, 0)?)?;
        timed(options, sac(&mut parameters, &mut logger, width, batch, BUFFER)?, losses, beside)
    } else {
        let beside = without_updates(td3(&mut others, &mut unused, width, BUFFER, 0)?)?;
        timed(options, td3(&mut parameters, &mut logger, width, batch, BUFFER)?, losses, beside)
    }
}
