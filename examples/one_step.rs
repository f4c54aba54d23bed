//! One update of SAC on a sample that you made yourself: no environment, no replay, no loop.
//!
//! `cargo run --release -p ingle --example one_step`

use ingle::burn::tensor::Tensor;
use ingle::{LearnerCore, State, Transitions, sac::SacConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = ingle::device::open("flex")?; // or "wgpu", "cuda": the rest stays as it is
    let sac = SacConfig::default().init(3, 1)?; // 3 observation elements, 1 action element
    let mut state = sac.init(/* seed */ 0, &device)?;

    // Shapes are [P, B, ...]: P learners, B rows.
    let sample = Transitions {
        observation: Tensor::zeros([1, 256, 3], &device),
        action: Tensor::zeros([1, 256, 1], &device),
        reward: Tensor::ones([1, 256], &device),
        discount: Tensor::full([1, 256], 0.99, &device), // 0 where the episode terminated
        next_observation: Tensor::zeros([1, 256, 3], &device),
        importance_weight: None,
        keys: None,
    };
    let saved = state.save()?; // plain data: parameters, moments, random streams
    let output = sac.step(&mut state, sample.clone())?;
    println!("{:?}", output.metrics.read()?);

    state.load(&saved)?; // as before the step
    let again = sac.step(&mut state, sample)?;
    assert_eq!(again.metrics.read()?, output.metrics.read()?); // bit for bit
    Ok(())
}
