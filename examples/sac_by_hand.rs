//! SAC without a training loop: you act, you store, you decide when and on what the core steps.
//!
//! `cargo run --release -p ingle --example sac_by_hand`

use ingle::burn::tensor::{Tensor, TensorData};
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::random::{RandomStream, normal_noise};
use ingle::replay::{ReplayConfig, Rows, UniformReplay};
use ingle::sac::SacConfig;
use ingle::{Act, Acting, LearnerCore, Sampler};

const GAMMA: f32 = 0.99;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let steps = if quick { 600 } else { 6_000 };
    let device = ingle::device::open("flex")?;

    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(3, 1)?;
    let mut state = sac.init(0, &device)?;
    let mut replay = UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(3, 1) }, 0, &device)?;
    let mut environment = make_vector("pendulum", 1)?;
    let mut exploration = vec![RandomStream::new(0, 9)];

    let mut observation = environment.reset(0)?.to_vec();
    for step in 1..=steps {
        // Act: canonical actions in [-1, 1], scaled to the environment's box.
        let input = Tensor::from_data(TensorData::new(observation.clone(), [1, 1, 3]), &device);
        let noise = normal_noise(&mut exploration, 1, 1, 1, &(&device).into()).squeeze_dim(0);
        let canonical: Vec<f32> = sac.act(&state, input, Acting::Exploring(noise))?.try_into_vec_as()?;
        let mut action = [0.0];
        environment.action_space().from_canonical(&canonical, &mut action)?;
        let outcome = environment.step(&action)?;

        // Store: a time limit is no termination, and keeps its bootstrap.
        replay.insert(
            0,
            Rows {
                observation: &observation,
                action: &canonical,
                reward: &outcome.reward,
                discount: &[if outcome.terminated[0] { 0.0 } else { GAMMA }],
                truncated: &outcome.truncated,
                next_observation: &outcome.next_observation,
            },
        )?;
        observation.clone_from(&outcome.observation);
        for episode in &outcome.episodes {
            println!("step {step}: return {:.1}", episode.episode_return);
        }

        // Learn.
        if step > 200 {
            let output = sac.step(&mut state, replay.sample()?)?;
            if step % 1000 == 0 {
                println!("step {step}: {:?}", output.metrics.read()?);
            }
        }
    }
    Ok(())
}
