//! SAC on Pendulum with the training loop: learner, environments, observer.
//!
//! `cargo run --release -p ingle --example train_pendulum`

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::train::{Event, Observer, TrainError};
use ingle::{CoreLearner, TrainConfig, Trainer};

/// Prints each evaluation.
struct Print;

impl Observer for Print {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let Event::Evaluation { env_steps, members, .. } = event {
            println!("step {env_steps}: mean return {:.1}", members[0].mean_return);
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);

    let sac = SacConfig::default().init(3, 1)?;
    let replay = UniformReplay::new(&ReplayConfig::new(3, 1), seed, &device)?;
    let learner = CoreLearner::new(sac, replay, seed, &device)?;

    let environments = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("pendulum", count)?)])
    };
    let config = TrainConfig { steps: if quick { 1_200 } else { 10_000 }, ..TrainConfig::default() };
    let evaluation = environments(config.evaluation_episodes)?;
    let mut trainer = Trainer::new(learner, environments(1)?, evaluation, config, seed)?;
    let summary = trainer.run(&mut [&mut Print])?;
    println!("{} updates in {:.0} s", summary.updates, summary.seconds);
    Ok(())
}
