//! Learning from the demonstrations in this repository: imitation in the training loop, and offline learning.

use std::path::Path;

use burn::tensor::Device;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::ail::AilConfig;
use ingle::replay::demonstrations::{DemonstrationConfig, DemonstrationSampler, Demonstrations, Spaces};
use ingle::replay::{ReplayConfig, UniformReplay, WithDemonstrations};
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Act, Acting, CoreLearner, Learner, Nested, Policy, Sampler, TrainConfig, Trainer, Transitions};
use ingle_testing::{device, values};

/// The expert's episodes, `batch` rows at a time.
fn expert(batch: usize, use_rewards: bool, device: &Device) -> DemonstrationSampler {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demonstrations/pendulum.safetensors");
    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let config = DemonstrationConfig { batch, use_rewards, ..DemonstrationConfig::default() };
    config.init(&Demonstrations::read(&path, spaces).unwrap(), 1, device).unwrap()
}

#[test]
fn imitation_trains_in_the_loop_and_tells_the_expert_from_the_learner() {
    let device = device();
    let nest = Nested {
        processor: AilConfig { hidden: vec![32], learning_rate: 3e-3.into(), ..AilConfig::default() }
            .init::<Transitions>(3, 1)
            .unwrap(),
        direct: SacConfig { hidden: vec![16], ..SacConfig::default() }.init(3, 1).unwrap(),
    };
    let replay = ReplayConfig { batch: 64, ..ReplayConfig::new(3, 1) };
    let sampler = WithDemonstrations {
        rl: UniformReplay::new(&replay, 0, &device).unwrap(),
        demonstrations: expert(64, false, &device),
    };
    let learner = CoreLearner::new(nest, sampler, 0, &device).unwrap();
    let pendulum = || vec![Box::new(make_vector("pendulum", 1).unwrap()) as Box<dyn VectorEnvironment>];
    let config = TrainConfig {
        steps: 400,
        warmup_steps: 200,
        evaluation_interval: 0,
        evaluation_episodes: 1,
        ..TrainConfig::default()
    };
    let mut trainer = Trainer::new(learner, pendulum(), pendulum(), config, 0).unwrap();
    trainer.run(&mut []).unwrap();
    assert_eq!(trainer.updates(), 200);
    assert_eq!(trainer.learner.sampler.rl.inserted(), 400, "the learner's own steps");
    // A coin's loss is ln 2 = 0.693 (less the entropy's 0.001); random torques do not swing a pendulum up.
    let output = trainer.learner.step().unwrap();
    let loss = values(output.metrics.get("discriminator_loss").unwrap())[0];
    assert!(loss < 0.6, "discriminator loss {loss}");
}

#[test]
fn td3_bc_learns_the_experts_actions_offline() {
    let device = device();
    let core = Td3Config {
        hidden: vec![64, 64],
        actor_learning_rate: 3e-3.into(),
        critic_learning_rate: 3e-3.into(),
        behaviour_cloning: Some(2.5.into()),
        ..Td3Config::default()
    };
    let mut learner =
        CoreLearner::new(core.init(3, 1).unwrap(), expert(128, true, &device), 0, &device).unwrap();
    let held_out = expert(1024, true, &device).sample().unwrap();
    let error = |learner: &CoreLearner<_, _>| {
        let action = Policy::act(learner, held_out.observation.clone(), Acting::Deterministic).unwrap();
        values(&(action - held_out.action.clone()).square().mean())[0]
    };
    let before = error(&learner);
    for _ in 0..400 {
        learner.step().unwrap();
    }
    let after = error(&learner);
    println!("mean squared difference to the expert: {before:.3} before, {after:.3} after 400 updates");
    assert!(after < 0.5 * before, "{before} {after}");
    assert_eq!(learner.core.observation_size(), 3);
}
