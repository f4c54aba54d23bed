//! Imitation from real demonstrations: DAC, a discriminator's reward with a gradient penalty, over SAC on Pendulum.
//!
//! `cargo run --release -p ingle --example imitation`

use std::path::Path;

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::ail::{AilConfig, AilReward};
use ingle::replay::demonstrations::{DemonstrationConfig, Demonstrations, Spaces};
use ingle::replay::{ReplayConfig, UniformReplay, WithDemonstrations};
use ingle::sac::SacConfig;
use ingle::{CoreLearner, Nested, TrainConfig, Trainer, Transitions};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);

    // GAIL is `AilReward::Gail` without a penalty; DAC the logit as reward, and this penalty.
    let ail = AilConfig {
        hidden: vec![64, 64],
        learning_rate: 1e-3.into(),
        gradient_penalty: 10.0,
        reward: AilReward::Airl,
        ..AilConfig::default()
    }
    .init::<Transitions>(3, 1)?;
    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(3, 1)?;
    let core = Nested { processor: ail, direct: sac };

    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let demonstrations = Demonstrations::read(Path::new(FILE), spaces)?;
    let sampler = WithDemonstrations {
        rl: UniformReplay::new(&ReplayConfig { batch: 128, ..ReplayConfig::new(3, 1) }, seed, &device)?,
        demonstrations: DemonstrationConfig {
            batch: 128,
            use_rewards: false,
            ..DemonstrationConfig::default()
        }
        .init(&demonstrations, seed, &device)?,
    };
    let learner = CoreLearner::new(core, sampler, seed, &device)?;

    let environments = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("pendulum", count)?)])
    };
    let config = TrainConfig {
        steps: if quick { 1_100 } else { 20_000 },
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = environments(config.evaluation_episodes)?;
    let summary = Trainer::new(learner, environments(1)?, evaluation, config, seed)?.run(&mut [])?;
    // The environment's own reward, which the learner has never seen.
    println!("mean return {:.1} (the demonstrations' is -189.4)", summary.evaluation[0].mean_return);
    Ok(())
}
