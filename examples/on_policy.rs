//! No replay at all: a loop of your own, in which each update learns from what was just seen, and forgets it.
//!
//! `cargo run --release -p ingle --example on_policy`

use ingle::burn::tensor::{Tensor, TensorData};
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::random::{RandomStream, normal_noise};
use ingle::sac::SacConfig;
use ingle::{Act, Acting, LearnerCore, Transitions};

const ENVIRONMENTS: usize = 128;
const GAMMA: f32 = 0.99;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let updates = if quick { 250 } else { 30_000 };
    let device = ingle::device::open("flex")?;
    // Fresh rows are never repeated, so that a large step does not fit the same ones over and over.
    let sac = SacConfig {
        hidden: vec![64, 64],
        actor_learning_rate: 1e-3.into(),
        critic_learning_rate: 1e-3.into(),
        ..SacConfig::default()
    }
    .init(3, 1)?;
    let mut state = sac.init(0, &device)?;
    let mut exploration = vec![RandomStream::new(0, 9)];
    let mut environments = make_vector("pendulum", ENVIRONMENTS)?;

    let rows = |values: &[f32], width| {
        Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, ENVIRONMENTS, width]), &device)
    };
    let column =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [1, ENVIRONMENTS]), &device);
    let mut observation = rows(environments.reset(0)?, 3);
    let mut returns = Vec::new();
    for update in 1..=updates {
        let noise = normal_noise(&mut exploration, 1, ENVIRONMENTS, 1, &(&device).into()).squeeze_dim(0);
        let action = sac.act(&state, observation.clone(), Acting::Exploring(noise))?;
        let canonical: Vec<f32> = action.clone().try_into_vec_as()?;
        let mut scaled = vec![0.0; ENVIRONMENTS];
        environments.action_space().from_canonical(&canonical, &mut scaled)?;
        let outcome = environments.step(&scaled)?;

        // One step of every environment is the batch.
        let going_on = outcome.terminated.iter().map(|&terminated| if terminated { 0.0 } else { GAMMA });
        let sample = Transitions {
            observation,
            action,
            reward: column(outcome.reward.clone()),
            discount: column(going_on.collect()),
            next_observation: rows(&outcome.next_observation, 3),
            importance_weight: None,
            keys: None,
        };
        sac.step(&mut state, sample)?;
        observation = rows(&outcome.observation, 3);
        returns.extend(outcome.episodes.iter().map(|episode| episode.episode_return));
        if update % 5_000 == 0 || (quick && update == updates) {
            let mean = returns.iter().sum::<f64>() / returns.len() as f64;
            println!("update {update}: mean return {mean:.1} of {} episodes", returns.len());
            returns.clear();
        }
    }
    Ok(())
}
