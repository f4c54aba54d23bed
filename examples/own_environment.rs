//! An environment of your own: a boat in a random wind, in which SAC learns to stay near the harbour.
//!
//! `cargo run --release -p ingle --example own_environment`

use ingle::envs::rand::{RngExt, rngs::ChaCha8Rng};
use ingle::envs::{BoxSpace, Environment, EnvironmentError, Step, SyncVector, TimeLimit, VectorEnvironment};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::train::evaluate;
use ingle::{CoreLearner, TrainConfig, Trainer};

/// Stay near the harbour: the wind is random, the engine is yours.
struct Boat {
    observation_space: BoxSpace,
    action_space: BoxSpace,
    position: f32,
}

impl Boat {
    fn new() -> Result<Self, EnvironmentError> {
        Ok(Self {
            observation_space: BoxSpace::new(vec![f32::NEG_INFINITY], vec![f32::INFINITY])?,
            action_space: BoxSpace::new(vec![-1.0], vec![1.0])?,
            position: 0.0,
        })
    }
}

impl Environment for Boat {
    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        self.position = random.random_range(-1.0..1.0);
        observation[0] = self.position;
        Ok(())
    }

    fn step(
        &mut self,
        action: &[f32],
        random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        self.action_space.check("action", action)?;
        let wind = random.random_range(-0.2..0.2);
        self.position += wind + 0.1 * action[0].clamp(-1.0, 1.0);
        observation[0] = self.position;
        let distance = self.position.abs();
        Ok(Step { reward: -f64::from(distance), terminated: distance > 5.0, truncated: false })
    }

    // With these two a run in it can be resumed; without them it still trains.
    fn save(&self) -> Option<Vec<f64>> {
        Some(vec![self.position.into()])
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        let &[position] = state else {
            let reason = format!("{} numbers, expected 1", state.len());
            return Err(EnvironmentError::StateMismatch { reason });
        };
        self.position = position as f32;
        Ok(())
    }
}

/// `count` boats, stepped together; episodes are cut after 100 steps.
fn boats(count: usize) -> Result<Vec<Box<dyn VectorEnvironment>>, EnvironmentError> {
    let boat = || -> Result<Box<dyn Environment>, EnvironmentError> {
        Ok(Box::new(TimeLimit::new(Boat::new()?, 100)?))
    };
    let boats = (0..count).map(|_| boat()).collect::<Result<_, _>>()?;
    Ok(vec![Box::new(SyncVector::new(boats)?)])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);

    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(1, 1)?;
    let replay = UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(1, 1) }, seed, &device)?;
    let learner = CoreLearner::new(sac, replay, seed, &device)?;
    let before = evaluate(&learner, &mut boats(10)?, seed)?;

    let config = TrainConfig {
        steps: if quick { 300 } else { 5_000 },
        warmup_steps: 200,
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = boats(config.evaluation_episodes)?;
    let summary = Trainer::new(learner, boats(1)?, evaluation, config, seed)?.run(&mut [])?;
    println!("mean return {:.1}, before it {:.1}", summary.evaluation[0].mean_return, before[0].mean_return);
    Ok(())
}
