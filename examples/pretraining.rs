//! Pre-training: a policy cloned from demonstrations goes on learning in TD3.
//!
//! `cargo run --release -p ingle --example pretraining`

use std::path::Path;

use ingle::bc::BcConfig;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::pretraining::hand_over;
use ingle::replay::demonstrations::{DemonstrationConfig, Demonstrations, Spaces};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::td3::Td3Config;
use ingle::train::evaluate;
use ingle::{CoreLearner, Learner, TrainConfig, Trainer};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);
    let environments = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("pendulum", count)?)])
    };
    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let demonstrations = Demonstrations::read(Path::new(FILE), spaces)?;

    // 1. Clone.
    let bc = BcConfig { hidden: vec![64, 64], ..BcConfig::default() }.init(3, 1)?;
    let sampler = DemonstrationConfig::default().init(&demonstrations, seed, &device)?;
    let mut cloning = CoreLearner::new(bc, sampler, seed, &device)?;
    for _ in 0..if quick { 100 } else { 3_000 } {
        cloning.step()?;
    }
    let mut evaluation = environments(20)?;
    let cloned = evaluate(&cloning, &mut evaluation, seed)?;
    println!("cloned: mean return {:.1}", cloned[0].mean_return);

    // 2. Hand over to TD3, whose policy is the same kind.
    let td3 = Td3Config {
        hidden: vec![64, 64],
        actor_learning_rate: 1e-3.into(),
        critic_learning_rate: 1e-3.into(),
        ..Td3Config::default()
    }
    .init(3, 1)?;
    let replay = UniformReplay::new(&ReplayConfig { batch: 128, ..ReplayConfig::new(3, 1) }, seed, &device)?;
    let mut learner = CoreLearner::new(td3, replay, seed, &device)?;
    hand_over(&cloning.core, &cloning.state, &learner.core, &mut learner.state)?;
    let handed = evaluate(&learner, &mut evaluation, seed)?;
    assert_eq!(handed, cloned, "the same policy");

    // 3. TD3's critics know nothing yet, and would pull the policy away. They learn first, from what it does: its own
    // learning rate, a part of the state like any other, is 0 for as long.
    let rate = learner.state.actor.learning_rate.clone();
    learner.state.actor.learning_rate = rate.zeros_like();
    let config = |steps| TrainConfig {
        steps: if quick { 300 } else { steps },
        warmup_steps: 128,
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let mut critics = Trainer::new(learner, environments(1)?, environments(10)?, config(4_000), seed)?;
    critics.run(&mut [])?;
    let mut learner = critics.learner;
    assert_eq!(evaluate(&learner, &mut evaluation, seed)?, cloned, "still the same policy");

    // 4. Train on.
    learner.state.actor.learning_rate = rate;
    let mut trainer = Trainer::new(learner, environments(1)?, environments(10)?, config(6_000), seed + 1)?;
    trainer.run(&mut [])?;
    let trained = evaluate(&trainer.learner, &mut evaluation, seed)?;
    println!("trained on: mean return {:.1}", trained[0].mean_return);
    Ok(())
}
