//! Nests stack: imitation over curiosity over SAC is one core, with one sample, one state and one step.
//!
//! `cargo run --release -p ingle --example stacked_nests`

use ingle::burn::tensor::{Tensor, TensorData};
use ingle::nested::ImitationSample;
use ingle::nested::ail::AilConfig;
use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::{Act, Acting, LearnerCore, Nested, State, Transitions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let device = ingle::device::open("flex")?;
    let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(3, 1)?;

    // Outermost first: the discriminator's verdict replaces the reward, RND adds novelty to it, SAC learns from both.
    let imitation = AilConfig { hidden: vec![64, 64], ..AilConfig::default() }.init::<Transitions>(3, 1)?;
    let curiosity = RndConfig { hidden: vec![64, 64], intrinsic: 0.1.into(), ..RndConfig::default() };
    let nest = Nested {
        processor: imitation,
        direct: Nested { processor: curiosity.clone().init::<Transitions>(3)?, direct: sac.clone() },
    };

    // Any rows will do here: own actions at random, demonstrated ones all 0.8.
    let rows = |action: Tensor<3>, seed: f32| {
        let observation: Tensor<3> = (action.clone().mul_scalar(9.0) + seed).repeat_dim(2, 3).sin();
        Transitions {
            next_observation: observation.clone().mul_scalar(0.9),
            observation,
            reward: Tensor::zeros([1, 64], &device),
            discount: Tensor::full([1, 64], 0.99, &device),
            importance_weight: None,
            keys: None,
            action,
        }
    };
    let sample = |step: u32| {
        let own: Vec<f32> = (0..64).map(|row| (37.0 * (row as f32 + step as f32)).sin()).collect();
        let own = Tensor::from_data(TensorData::new(own, [1, 64, 1]), &device);
        ImitationSample {
            rl: rows(own, step as f32),
            demonstrations: rows(Tensor::full([1, 64, 1], 0.8, &device), step as f32),
        }
    };

    // One state for all three layers, plain data as any other.
    let mut state = nest.init(0, &device)?;
    for step in 0..if quick { 20 } else { 400 } {
        let output = nest.step(&mut state, sample(step))?;
        if step % 100 == 0 {
            println!("step {step}: {:?}", output.metrics.read()?);
        }
    }
    println!("{} items in the state of the whole stack", state.save()?.0.len());
    let action = nest.act(&state, Tensor::zeros([1, 1, 3], &device), Acting::Deterministic)?;
    println!("where the demonstrations act with 0.8, it acts with {:?}", action.try_into_vec_as::<f32>()?);

    // The other way round is another type: RND trains, and imitation then replaces the reward that RND wrote.
    let other = Nested {
        processor: curiosity.init::<ImitationSample<Transitions>>(3)?,
        direct: Nested { processor: nest.processor, direct: sac },
    };
    let mut state = other.init(0, &device)?;
    println!("the other way round: {:?}", other.step(&mut state, sample(0))?.metrics.read()?);
    Ok(())
}
