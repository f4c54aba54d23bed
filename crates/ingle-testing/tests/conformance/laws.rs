//! The laws on every core.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Tensor, activation};
use ingle::network::{ActorModule, CriticModule, ModuleActor, ModuleCritic};
use ingle::sac::{Sac, SacConfig, Temperature};
use ingle::td3::{Td3, Td3Config};
use ingle_testing::laws::{Subject, check_all, devices_agree};
use ingle_testing::{device, device_or_skip};

/// Three members with three learning rates, averages and targets.
fn config(members: &[usize]) -> SacConfig {
    let each = |base: f64| members.iter().map(|&member| base * (1.0 + member as f64)).collect::<Vec<_>>();
    SacConfig {
        population: members.len(),
        hidden: vec![16, 16],
        actor_learning_rate: each(1e-3).into(),
        critic_learning_rate: each(2e-3).into(),
        temperature_learning_rate: each(5e-4).into(),
        target_entropy: Some(each(-1.0).into()),
        tau: each(0.01).into(),
        ..SacConfig::default()
    }
}

pub(crate) fn sac(members: &[usize]) -> Sac {
    config(members).init(3, 2).unwrap()
}

/// Everything that is not the default.
fn unusual(members: &[usize]) -> Sac {
    SacConfig {
        hidden: vec![8],
        critics: 5,
        temperature: Temperature::Fixed(
            members.iter().map(|&member| 0.1 + member as f64).collect::<Vec<_>>().into(),
        ),
        target_update_interval: 3,
        max_gradient_norm: Some(0.05),
        ..config(members)
    }
    .init(3, 2)
    .unwrap()
}

fn td3_config(members: &[usize]) -> Td3Config {
    let each = |base: f64| members.iter().map(|&member| base * (1.0 + member as f64)).collect::<Vec<_>>();
    Td3Config {
        population: members.len(),
        hidden: vec![16, 16],
        actor_learning_rate: each(1e-3).into(),
        critic_learning_rate: each(2e-3).into(),
        target_noise: each(0.1).into(),
        noise_clip: each(0.2).into(),
        exploration_noise: each(0.1).into(),
        tau: each(0.01).into(),
        ..Td3Config::default()
    }
}

pub(crate) fn td3(members: &[usize]) -> Td3 {
    td3_config(members).init(3, 2).unwrap()
}

/// TD3+BC with everything that is not the default.
fn td3_bc(members: &[usize]) -> Td3 {
    let alpha: Vec<f64> = members.iter().map(|&member| 1.0 + member as f64).collect();
    Td3Config {
        hidden: vec![8],
        critics: 3,
        policy_delay: 3,
        behaviour_cloning: Some(alpha.into()),
        max_gradient_norm: Some(0.05),
        ..td3_config(members)
    }
    .init(3, 2)
    .unwrap()
}

#[test]
fn td3_obeys_the_laws() {
    check_all(&Subject::new("td3", td3), DType::F32, &device());
    check_all(&Subject::new("td3+bc", td3_bc), DType::F32, &device());
}

#[test]
fn devices_agree_on_td3() {
    let flex = ingle::device::open("flex").unwrap();
    for name in ["ndarray", "wgpu"] {
        if let Some(other) = device_or_skip(name, "law 6") {
            devices_agree(&Subject::new("td3", td3), &flex, &other);
            devices_agree(&Subject::new("td3+bc", td3_bc), &flex, &other);
        }
    }
}

#[test]
fn sac_obeys_the_laws() {
    check_all(&Subject::new("sac", sac), DType::F32, &device());
}

#[test]
fn sac_with_unusual_settings_obeys_the_laws() {
    check_all(&Subject::new("unusual sac", unusual), DType::F32, &device());
}

#[test]
fn sac_in_float64_obeys_the_laws() {
    let flex = ingle::device::open("flex").unwrap();
    check_all(
        &Subject::new("sac", |members: &[usize]| sac(members).with_precision(DType::F64)),
        DType::F64,
        &flex,
    );
}

#[test]
fn devices_agree_on_sac() {
    let flex = ingle::device::open("flex").unwrap();
    for name in ["ndarray", "wgpu"] {
        if let Some(other) = device_or_skip(name, "law 6") {
            devices_agree(&Subject::new("sac", sac), &flex, &other);
            devices_agree(&Subject::new("unusual sac", unusual), &flex, &other);
        }
    }
}

#[derive(Module, Debug)]
struct OwnActor {
    first: Linear,
    second: Linear,
}

impl ActorModule for OwnActor {
    fn forward(&self, observation: Tensor<2>) -> Tensor<2> {
        self.second.forward(activation::tanh(self.first.forward(observation)))
    }
}

#[derive(Module, Debug)]
struct OwnCritic {
    observation: Linear,
    action: Linear,
    value: Linear,
}

impl CriticModule for OwnCritic {
    fn forward(&self, observation: Tensor<2>, action: Tensor<2>) -> Tensor<2> {
        let hidden = self.observation.forward(observation) + self.action.forward(action);
        self.value.forward(activation::silu(hidden))
    }
}

fn own_networks(members: &[usize]) -> Sac<ModuleActor<OwnActor>, ModuleCritic<OwnCritic>> {
    let device = device();
    let actor = ModuleActor::new(
        |device| OwnActor {
            first: LinearConfig::new(3, 7).init(device),
            second: LinearConfig::new(7, 4).init(device),
        },
        3,
        4,
        &device,
    );
    let critic = ModuleCritic::new(
        |device| OwnCritic {
            observation: LinearConfig::new(3, 6).init(device),
            action: LinearConfig::new(2, 6).with_bias(false).init(device),
            value: LinearConfig::new(6, 1).init(device),
        },
        3,
        2,
        2,
        &device,
    );
    config(members).init_with(actor.unwrap(), critic.unwrap()).unwrap()
}

#[test]
fn sac_with_own_modules_obeys_the_laws() {
    check_all(&Subject::new("sac with own modules", own_networks), DType::F32, &device());
}
