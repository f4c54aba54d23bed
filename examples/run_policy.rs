//! A policy without its trainer: from a run, a checkpoint, an exported file, or a zip of Stable-Baselines3.
//!
//! `cargo run --release -p ingle --example run_policy -- runs/sac-pendulum-0`

use ingle::SavedPolicy;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::train::{Foreign, Mode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = ingle::device::open("flex")?;
    let path = std::env::args().skip(1).find(|argument| argument != "--quick");
    let policy = if let Some(path) = path {
        SavedPolicy::load(path, &device)?
    } else {
        // SAC on Pendulum as Stable-Baselines3 saved it, one of our tests' files.
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingle-train/fixtures/policies/sb3_sac.zip");
        SavedPolicy::new(Foreign::read(file)?.policy(vec![-2.0], vec![2.0])?, &device)?
    };
    let name = policy.parameters().environment.clone().unwrap_or("pendulum".into());
    println!("{name}, actions in {:?}", policy.action_space());

    // Any loop of yours: observations in, actions in the environment's units out.
    let mut environment = make_vector(&name, 1)?;
    let mut observation = environment.reset(0)?.to_vec();
    loop {
        let action = policy.act(&observation, Mode::Deterministic)?;
        let step = environment.step(&action)?;
        observation.copy_from_slice(&step.observation);
        if let Some(episode) = step.episodes.first() {
            println!("return {:.1} after {} steps", episode.episode_return, episode.length);
            return Ok(());
        }
    }
}
