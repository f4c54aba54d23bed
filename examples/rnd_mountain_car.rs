//! Curiosity where the reward says nothing: RND over SAC on MountainCarContinuous, beside SAC alone.
//!
//! `cargo run --release -p ingle --example rnd_mountain_car`

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::rnd::RndConfig;
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::{Act, CoreLearner, Nested, TrainConfig, Trainer, Transitions};

fn train<C: Act<Sample = Transitions>>(name: &str, core: C) -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);
    let replay = UniformReplay::new(&ReplayConfig { batch: 128, ..ReplayConfig::new(2, 1) }, seed, &device)?;
    let learner = CoreLearner::new(core, replay, seed, &device)?;
    let environments = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("mountain-car-continuous", count)?)])
    };
    let config = TrainConfig {
        steps: if quick { 1_100 } else { 15_000 },
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = environments(config.evaluation_episodes)?;
    let summary = Trainer::new(learner, environments(1)?, evaluation, config, seed)?.run(&mut [])?;
    println!("{name}: mean return {:.1}", summary.evaluation[0].mean_return);
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(2, 1)?;
    let rnd = RndConfig {
        hidden: vec![64, 64],
        learning_rate: 1e-3.into(),
        intrinsic: 10.0.into(),
        ..RndConfig::default()
    }
    .init::<Transitions>(2)?;
    // At the goal the reward is 100, everywhere else it is the cost of the force: SAC learns to stand still.
    train("sac", sac.clone())?;
    train("rnd+sac", Nested { processor: rnd, direct: sac })
}
