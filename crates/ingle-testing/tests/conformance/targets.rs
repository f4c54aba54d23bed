//! What the reference traces are too mild to show of targets: actions at their bounds, and how target networks follow.

use burn::tensor::{DType, Device, Tensor};
use ingle::sac::SacConfig;
use ingle::td3::{Td3Config, Td3Noise};
use ingle::{ExplicitNoise, LearnerCore, Transitions};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device_or_skip, values};

const SIZES: Sizes = Sizes { population: 2, batch: 8, observation: 3, action: 2 };

fn devices() -> Vec<Device> {
    ["flex", "ndarray", "wgpu"].into_iter().filter_map(|name| device_or_skip(name, "targets")).collect()
}

/// Noise that carries every action to its bound, however far beyond it would go: the target is the same.
#[test]
fn the_smoothed_action_of_td3_stays_in_its_bounds() {
    for device in devices() {
        let config = Td3Config {
            population: 2,
            hidden: vec![8],
            target_noise: 1.0.into(),
            noise_clip: 100.0.into(),
            ..Td3Config::default()
        };
        let core = config.init(3, 2).unwrap();
        let state = core.init(1, &device).unwrap();
        let errors = |noise: f64| {
            let noise = Td3Noise { next: Tensor::full([2, 8, 2], noise, (&device, DType::F32)) };
            let sample = Transitions::random(SIZES, 0, DType::F32, &device);
            let output = core.step_with_noise(&mut state.clone(), sample, noise).unwrap();
            values(&output.feedback.unwrap().td_error)
        };
        for bound in [1.0, -1.0] {
            assert_eq!(errors(bound * 50.0), errors(bound * 80.0));
        }
        assert_ne!(errors(50.0), errors(-50.0));
        assert_ne!(errors(0.1), errors(0.2));
    }
}

/// `target` is (1 − τ) of what it was and τ of what its network is now.
fn assert_followed(what: &str, tau: [f64; 2], before: &Tensor<2>, now: &Tensor<2>, target: &Tensor<2>) {
    let width = before.dims()[1];
    let (before, now, target) = (values(before), values(now), values(target));
    for (index, actual) in target.into_iter().enumerate() {
        let tau = tau[index / width];
        let expected = (1.0 - tau) * before[index] + tau * now[index];
        assert!((actual - expected).abs() < 1e-6, "{what}, element {index}: {actual} instead of {expected}");
    }
}

#[test]
fn target_networks_follow_their_networks() {
    let tau = [0.25, 0.75];
    for device in devices() {
        let sample = |seed| Transitions::random(SIZES, seed, DType::F32, &device);
        let config = Td3Config {
            population: 2,
            hidden: vec![8],
            tau: tau.to_vec().into(),
            actor_learning_rate: 0.1.into(),
            critic_learning_rate: 0.1.into(),
            policy_delay: 3,
            ..Td3Config::default()
        };
        let core = config.init(3, 2).unwrap();
        let mut state = core.init(1, &device).unwrap();
        for seed in 0..6 {
            let before = state.clone();
            core.step(&mut state, sample(seed)).unwrap();
            // Between the policy's updates nothing follows.
            let tau = if (seed + 1) % 3 == 0 { tau } else { [0.0; 2] };
            let (actor, critic) = (&state.actor.parameters, &state.critic.parameters);
            assert_followed("TD3's actor", tau, &before.target_actor, actor, &state.target_actor);
            assert_followed("TD3's critics", tau, &before.target_critic, critic, &state.target_critic);
        }

        let config = SacConfig {
            population: 2,
            hidden: vec![8],
            tau: tau.to_vec().into(),
            critic_learning_rate: 0.1.into(),
            target_update_interval: 2,
            ..SacConfig::default()
        };
        let core = config.init(3, 2).unwrap();
        let mut state = core.init(1, &device).unwrap();
        for seed in 0..4 {
            let before = state.clone();
            core.step(&mut state, sample(seed)).unwrap();
            let tau = if seed % 2 == 1 { tau } else { [0.0; 2] };
            let critic = &state.critic.parameters;
            assert_followed("SAC's critics", tau, &before.target_critic, critic, &state.target_critic);
        }
    }
}
