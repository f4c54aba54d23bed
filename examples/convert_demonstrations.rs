//! Demonstrations of Python's package `imitation` (`.npz`), checked and written in ingle's own layout (safetensors).
//!
//! `cargo run --release -p ingle --example convert_demonstrations -- final.npz pendulum.safetensors`

use std::path::Path;

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::replay::demonstrations::{Demonstrations, Spaces, Terminal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let environment = make_vector("pendulum", 1)?;
    let spaces = Spaces {
        observation: environment.observation_space().len(),
        action_low: environment.action_space().low(),
        action_high: environment.action_space().high(),
    };
    let demonstrations = if let [from, to] = arguments.as_slice() {
        // The file says of every episode that it ended, but a pendulum has no end of its own: all were cut by its time
        // limit.
        let read = Demonstrations::read_imitation(Path::new(from), spaces, Terminal::Truncated)?;
        std::fs::write(to, read.to_safetensors()?)?;
        read
    } else {
        println!(
            "give two paths: the .npz to read and the .safetensors to write; this is what ingle comes with"
        );
        Demonstrations::read(Path::new("demonstrations/pendulum.safetensors"), spaces)?
    };

    let returns: Vec<f32> = demonstrations
        .trajectories()
        .map(|trajectory| trajectory.reward.unwrap_or(&[]).iter().sum())
        .collect();
    let mean = returns.iter().sum::<f32>() / returns.len() as f32;
    println!("{} episodes, {} steps, mean return {mean:.1}", returns.len(), demonstrations.len());
    Ok(())
}
