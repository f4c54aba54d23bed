//! Your own burn modules as SAC's actor and critics: any architecture, differentiated by burn.
//!
//! `cargo run --release -p ingle --example own_network`

use ingle::burn::module::Module;
use ingle::burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use ingle::burn::tensor::{Device, Tensor, activation};
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::network::{ActorModule, CriticModule, ModuleActor, ModuleCritic};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::{CoreLearner, TrainConfig, Trainer};

#[derive(Module, Debug)]
struct Actor {
    hidden: Linear,
    outputs: Linear,
}

impl Actor {
    fn new(device: &Device) -> Self {
        // Two outputs for each action element: mean and log standard deviation.
        Self { hidden: LinearConfig::new(3, 64).init(device), outputs: LinearConfig::new(64, 2).init(device) }
    }
}

impl ActorModule for Actor {
    fn forward(&self, observation: Tensor<2>) -> Tensor<2> {
        self.outputs.forward(activation::silu(self.hidden.forward(observation)))
    }
}

/// Layer normalisation in the critics, as in recent sample-efficient variants of SAC.
#[derive(Module, Debug)]
struct Critic {
    hidden: Linear,
    norm: LayerNorm,
    value: Linear,
}

impl Critic {
    fn new(device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(4, 64).init(device),
            norm: LayerNormConfig::new(64).init(device),
            value: LinearConfig::new(64, 1).init(device),
        }
    }
}

impl CriticModule for Critic {
    fn forward(&self, observation: Tensor<2>, action: Tensor<2>) -> Tensor<2> {
        let hidden = self.hidden.forward(Tensor::cat(vec![observation, action], 1));
        self.value.forward(activation::relu(self.norm.forward(hidden)))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);
    let actor = ModuleActor::new(Actor::new, 3, 2, &device)?;
    let critics = ModuleCritic::new(Critic::new, 3, 1, 2, &device)?;
    let sac = SacConfig::default().init_with(actor, critics)?;

    let replay = UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(3, 1) }, seed, &device)?;
    let learner = CoreLearner::new(sac, replay, seed, &device)?;
    let pendulum = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("pendulum", count)?)])
    };
    let config = TrainConfig {
        steps: if quick { 300 } else { 6_000 },
        warmup_steps: 200,
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = pendulum(config.evaluation_episodes)?;
    let summary = Trainer::new(learner, pendulum(1)?, evaluation, config, seed)?.run(&mut [])?;
    println!("mean return {:.1} after {} updates", summary.evaluation[0].mean_return, summary.updates);
    Ok(())
}
