//! Behaviour cloning: laws, gradients, and a policy that goes on to another core.

use burn::tensor::{DType, Device, Tensor};
use ingle::bc::{Bc, BcConfig, BcLoss};
use ingle::pretraining::hand_over;
use ingle::random::RandomStream;
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Act, Acting, Error, LearnerCore, Nested, Result, State, Transitions};
use ingle_testing::fakes::Scale;
use ingle_testing::laws::{Subject, assert_same, check_all, devices_agree};
use ingle_testing::sample::{Sizes, TestSample, normal};
use ingle_testing::{device, device_or_skip, values};

use crate::gradients::{check, gradient_of, loss_of};
use crate::laws::{sac, td3};

const LOSSES: [BcLoss; 2] = [BcLoss::MeanSquaredError, BcLoss::LogLikelihood];
const SIZES: Sizes = Sizes { population: 1, batch: 64, observation: 3, action: 2 };

/// Three members with three learning rates.
fn bc(loss: BcLoss, members: &[usize]) -> Bc {
    let rates: Vec<f64> = members.iter().map(|&member| 1e-3 * (1.0 + member as f64)).collect();
    BcConfig {
        population: members.len(),
        hidden: vec![16, 16],
        loss,
        learning_rate: rates.into(),
        ..BcConfig::default()
    }
    .init(3, 2)
    .unwrap()
}

#[test]
fn bc_obeys_the_laws() {
    for loss in LOSSES {
        let subject = Subject::new("bc", |members: &[usize]| bc(loss, members)).without_feedback();
        check_all(&subject, DType::F32, &device());
        let clipped = |members: &[usize]| {
            BcConfig { max_gradient_norm: Some(0.05), hidden: vec![8], ..bc(loss, members).config().clone() }
                .init(3, 2)
                .unwrap()
                .with_precision(DType::F64)
        };
        let subject = Subject::new("clipped bc", clipped).without_feedback();
        check_all(&subject, DType::F64, &ingle::device::open("flex").unwrap());
        let nest = |m: &[usize]| Nested {
            processor: Scale::<Transitions>::new("scale", false),
            direct: bc(loss, m),
        };
        let subject = Subject::new("scale+bc", nest).without_feedback();
        ingle_testing::laws::resume(&subject, DType::F32, &device());
    }
}

#[test]
fn devices_agree_on_bc() {
    let flex = ingle::device::open("flex").unwrap();
    for name in ["ndarray", "wgpu"] {
        if let Some(other) = device_or_skip(name, "law 6") {
            for loss in LOSSES {
                let subject = Subject::new("bc", |members: &[usize]| bc(loss, members));
                devices_agree(&subject, &flex, &other);
            }
        }
    }
}

#[test]
fn bc_moves_along_the_gradient_of_its_loss() {
    let flex = ingle::device::open("flex").unwrap();
    for loss in LOSSES {
        let bc = BcConfig { population: 2, hidden: vec![6, 5], loss, ..BcConfig::default() }
            .init(3, 2)
            .unwrap()
            .with_precision(DType::F64);
        let start = bc.init(6, &flex).unwrap();
        let sample = Transitions::random(Sizes { population: 2, batch: 5, ..SIZES }, 7, DType::F64, &flex);
        let gradient = gradient_of(&bc, &start, sample.clone(), (), "actor");
        check("cloning loss", &start.actor.parameters, &gradient, |parameters| {
            let mut state = start.clone();
            state.actor.parameters = parameters;
            loss_of(&bc, state, sample.clone(), (), "cloning_loss")
        });
    }
}

/// A smooth expert, `tanh` of a linear map.
fn demonstrations(seed: u64, device: &Device) -> Transitions {
    let sample = Transitions::random(SIZES, seed, DType::F32, device);
    let expert = Tensor::<3>::from_floats([[[0.8, -0.3], [-0.5, 0.6], [0.2, 0.4]]], device);
    let action = sample.observation.clone().matmul(expert).tanh();
    Transitions { action, importance_weight: None, ..sample }
}

#[test]
fn bc_learns_the_demonstrated_policy() {
    let device = device();
    for loss in LOSSES {
        let bc = BcConfig { hidden: vec![32], loss, learning_rate: 1e-2.into(), ..BcConfig::default() }
            .init(3, 2)
            .unwrap();
        let mut state = bc.init(0, &device).unwrap();
        let unseen = demonstrations(10_000, &device);
        let error = |state: &_| {
            let action = bc.act(state, unseen.observation.clone(), Acting::Deterministic).unwrap();
            values(&(action - unseen.action.clone()).square().mean())[0]
        };
        let before = error(&state);
        for seed in 0..400 {
            bc.step(&mut state, demonstrations(seed, &device)).unwrap();
        }
        let after = error(&state);
        assert!(after < 0.01 * before, "{loss:?}: {before} {after}");
    }
}

/// Actions at the end of their range are common in demonstrations, and have no finite `u`.
#[test]
fn the_log_likelihood_of_saturated_actions_is_finite() {
    let device = device();
    let bc = bc(BcLoss::LogLikelihood, &[0]);
    let mut state = bc.init(0, &device).unwrap();
    let sample = demonstrations(0, &device);
    let sample = Transitions { action: sample.action.sign(), ..sample };
    for _ in 0..5 {
        let output = bc.step(&mut state, sample.clone()).unwrap();
        assert!(values(output.metrics.get("cloning_loss").unwrap())[0].is_finite());
    }
    assert!(values(&state.actor.parameters).iter().all(|value| value.is_finite()));
}

/// Clones for a few steps, hands over, and compares both policies on the same observations and noise.
fn check_hand_over<C>(loss: BcLoss, members: &[usize], to: &C, exploring: bool, check: impl Fn(&C::State))
where
    C: ingle::pretraining::ActorCore<Sample = Transitions>,
{
    let device = device();
    let bc = bc(loss, members);
    let mut cloned = bc.init(1, &device).unwrap();
    for seed in 0..3 {
        bc.step(&mut cloned, demonstrations(seed, &device)).unwrap();
    }
    let mut state = to.init(2, &device).unwrap();
    // A state that has moved: what is handed over has nothing of the old policy's moments.
    let sizes = Sizes { population: to.population(), ..SIZES };
    to.step(&mut state, Transitions::random(sizes, 0, DType::F32, &device)).unwrap();
    hand_over(&bc, &cloned, to, &mut state).unwrap();

    let mut stream = RandomStream::new(3, 0);
    let observation = normal([1, 5, 3], &mut stream, DType::F32, &device);
    let noise = normal([to.population(), 5, 2], &mut stream, DType::F32, &device);
    let own = |acting| values(&to.act(&state, observation.clone(), acting).unwrap());
    let each = |acting| {
        let actions = values(&bc.act(&cloned, observation.clone(), acting).unwrap());
        actions.repeat(to.population() / members.len())
    };
    assert_eq!(own(Acting::Deterministic), each(Acting::Deterministic));
    if exploring {
        assert_eq!(own(Acting::Exploring(noise.clone())), each(Acting::Exploring(noise)));
    }
    check(&state);
    to.step(&mut state, Transitions::random(sizes, 1, DType::F32, &device)).unwrap();
}

#[test]
fn a_handed_over_policy_acts_identically() {
    let moments = |record: &ingle::Record| {
        let ingle::RecordItem::Tensor(data) = &record.0["actor/square_sum"] else { panic!("no moments") };
        ingle_testing::numbers(data.clone()).iter().map(|value| value.abs()).sum::<f64>()
    };
    check_hand_over(BcLoss::LogLikelihood, &[0, 1, 2], &sac(&[0, 1, 2]), true, |state| {
        assert_eq!(moments(&state.save().unwrap()), 0.0);
        assert_eq!(state.updates, 1, "the rest stays");
    });
    check_hand_over(BcLoss::MeanSquaredError, &[0, 1, 2], &td3(&[0, 1, 2]), false, |state| {
        assert_eq!(moments(&state.save().unwrap()), 0.0);
        assert_eq!(values(&state.target_actor), values(&state.actor.parameters));
    });
    // One policy for a whole population.
    check_hand_over(BcLoss::MeanSquaredError, &[0], &td3(&[0, 1, 2]), false, |_| ());
    check_hand_over(BcLoss::MeanSquaredError, &[0], &bc(BcLoss::MeanSquaredError, &[0, 1]), false, |_| ());
}

#[test]
fn a_policy_is_handed_to_another_device_and_precision() {
    let bc = bc(BcLoss::LogLikelihood, &[0]);
    let flex = ingle::device::open("flex").unwrap();
    let cloned = bc.init(1, &flex).unwrap();
    let expected = values(&cloned.actor.parameters);
    let sac64 = sac(&[0]).with_precision(DType::F64);
    let mut state = sac64.init(0, &flex).unwrap();
    hand_over(&bc, &cloned, &sac64, &mut state).unwrap();
    assert_eq!(state.actor.parameters.dtype(), DType::F64);
    assert_eq!(values(&state.actor.parameters), expected);
    if let Some(other) = device_or_skip("ndarray", "handing a policy over") {
        let mut state = sac(&[0]).init(0, &other).unwrap();
        hand_over(&bc, &cloned, &sac(&[0]), &mut state).unwrap();
        assert_eq!(state.actor.parameters.device(), other);
        assert_eq!(values(&state.actor.parameters), expected);
    }
}

#[test]
fn a_policy_that_does_not_fit_is_refused() {
    let device = device();
    let bc = bc(BcLoss::MeanSquaredError, &[0, 1]);
    let cloned = bc.init(0, &device).unwrap();
    let refuse = |result: Result<()>, reasons: &[&str]| {
        let Err(Error::Record(message)) = result else { panic!("accepted: {result:?}") };
        for reason in reasons {
            assert!(message.contains(reason), "{message}");
        }
    };
    // A Gaussian head, and another population.
    let other = sac(&[0, 1, 2]);
    let mut state = other.init(0, &device).unwrap();
    let before = state.save().unwrap();
    let refused = hand_over(&bc, &cloned, &other, &mut state);
    refuse(refused, &["members: the trained policy has 2, this one 3", "actor: the trained policy has"]);
    assert_same("sac", "law 7", &before, &state.save().unwrap(), 0.0);
    // Two outputs each, but one is a Gaussian for one action element.
    let gaussian =
        SacConfig { population: 2, hidden: vec![16, 16], ..SacConfig::default() }.init(3, 1).unwrap();
    let mut state = gaussian.init(0, &device).unwrap();
    refuse(hand_over(&bc, &cloned, &gaussian, &mut state), &["action elements"]);
    let wide = Td3Config { population: 2, hidden: vec![17, 16], ..Td3Config::default() }.init(4, 2).unwrap();
    let mut state = wide.init(0, &device).unwrap();
    refuse(hand_over(&bc, &cloned, &wide, &mut state), &["observation elements", "0/weight [1, 4, 17]"]);
}

#[test]
fn wrong_settings_are_listed() {
    let config = BcConfig {
        population: 0,
        hidden: vec![0],
        learning_rate: f64::NAN.into(),
        max_gradient_norm: Some(0.0),
        ..BcConfig::default()
    };
    let Err(Error::Config(problems)) = config.init(3, 2) else { panic!("accepted") };
    assert_eq!(problems.len(), 4, "{problems:?}");
    let odd = ingle::network::MlpActor::new(3, &[8], 3).unwrap();
    let config = BcConfig { loss: BcLoss::LogLikelihood, ..BcConfig::default() };
    assert!(matches!(config.init_with(odd), Err(Error::Config(_))));
}
