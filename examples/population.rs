//! A sweep of learning rates: six TD3 learners trained side by side, as one tensor program.
//!
//! `cargo run --release -p ingle --example population`

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::td3::Td3Config;
use ingle::{CoreLearner, State, TrainConfig, Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);
    let rates = vec![3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2];
    let population = rates.len();

    let td3 = Td3Config {
        population,
        hidden: vec![64, 64],
        actor_learning_rate: rates.clone().into(),
        critic_learning_rate: rates.clone().into(),
        ..Td3Config::default()
    }
    .init(3, 1)?;
    let replay = UniformReplay::new(
        &ReplayConfig { batch: 64, population, ..ReplayConfig::new(3, 1) },
        seed,
        &device,
    )?;
    let learner = CoreLearner::new(td3, replay, seed, &device)?;

    // Each member plays, stores and learns on its own; member p is the learner that seed + p alone would give.
    let pendulum = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        (0..population)
            .map(|_| Ok(Box::new(make_vector("pendulum", count)?) as Box<dyn VectorEnvironment>))
            .collect()
    };
    let config = TrainConfig {
        steps: if quick { 300 } else { 6_000 },
        warmup_steps: 200,
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = pendulum(config.evaluation_episodes)?;
    let mut trainer = Trainer::new(learner, pendulum(1)?, evaluation, config, seed)?;
    let summary = trainer.run(&mut [])?;

    for (rate, member) in rates.iter().zip(&summary.evaluation) {
        println!("learning rate {rate:e}: mean return {:.1} ± {:.1}", member.mean_return, member.std_return);
    }
    let Some((best, _)) = summary.best() else { return Err("no member was evaluated".into()) };
    let alone = trainer.learner.state.member(best).ok_or("no such member")?;
    println!("the best member's state has {} items", alone.save()?.0.len());
    Ok(())
}
