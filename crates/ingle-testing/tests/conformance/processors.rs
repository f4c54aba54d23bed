//! The laws on nests of the processors, and what each processor promises.

use burn::tensor::{DType, Device, Tensor, TensorData};
use ingle::nested::ail::{Ail, AilConfig, AilLoss, AilReward};
use ingle::nested::airl::{Airl, AirlConfig};
use ingle::nested::normalise::{Normalise, NormaliseConfig};
use ingle::nested::rnd::{Rnd, RndConfig};
use ingle::nested::scale::{Scale, ScaleConfig};
use ingle::nested::sqil::{Sqil, SqilConfig};
use ingle::nested::standardise::{Standardise, StandardiseConfig};
use ingle::nested::{ImitationSample, RunningMoments};
use ingle::processor::FromFn;
use ingle::sac::SacConfig;
use ingle::{
    Act, Acting, LearnerCore, LogProbability, Nested, Rewarded, SampleProcessor, State, Transitions,
};
use ingle_testing::laws::{Subject, assert_same, check_all, devices_agree};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device, device_or_skip, values};

use crate::laws::{sac, td3};

const SIZES: Sizes = Sizes { population: 3, batch: 16, observation: 3, action: 2 };

fn each(members: &[usize], base: f64) -> Vec<f64> {
    members.iter().map(|&member| base * (1.0 + member as f64)).collect()
}

pub(crate) fn rnd<S>(members: &[usize]) -> Rnd<S> {
    RndConfig {
        population: members.len(),
        hidden: vec![12],
        features: 5,
        learning_rate: each(members, 1e-3).into(),
        intrinsic: each(members, 0.5).into(),
        extrinsic: each(members, 0.25).into(),
        ..RndConfig::default()
    }
    .init(3)
    .unwrap()
}

fn ail_config(members: &[usize]) -> AilConfig {
    AilConfig {
        population: members.len(),
        hidden: vec![10, 8],
        learning_rate: each(members, 1e-3).into(),
        ..AilConfig::default()
    }
}

/// GAIL without a penalty.
fn gail<S>(members: &[usize]) -> Ail<S> {
    AilConfig { reward: AilReward::Gail, ..ail_config(members) }.init(3, 2).unwrap()
}

/// DAC: the logit as reward, and a gradient penalty.
pub(crate) fn dac<S>(members: &[usize]) -> Ail<S> {
    AilConfig { gradient_penalty: 10.0, use_next_observation: true, ..ail_config(members) }
        .init(3, 2)
        .unwrap()
}

fn pugail<S>(members: &[usize]) -> Ail<S> {
    let loss = AilLoss::Pugail { prior: 0.7, beta: 0.1 };
    AilConfig { loss, reward: AilReward::LogD, ..ail_config(members) }.init(3, 2).unwrap()
}

pub(crate) fn nested<P, C>(processor: P, direct: C) -> Nested<P, C> {
    Nested { processor, direct }
}

#[test]
fn rnd_nests_obey_the_laws() {
    check_all(&Subject::new("rnd+sac", |m: &[usize]| nested(rnd(m), sac(m))), DType::F32, &device());
    check_all(&Subject::new("rnd+td3", |m: &[usize]| nested(rnd(m), td3(m))), DType::F32, &device());
}

#[test]
fn ail_nests_obey_the_laws() {
    check_all(&Subject::new("ail+sac", |m: &[usize]| nested(gail(m), sac(m))), DType::F32, &device());
    check_all(&Subject::new("dac+td3", |m: &[usize]| nested(dac(m), td3(m))), DType::F32, &device());
    check_all(&Subject::new("pugail+sac", |m: &[usize]| nested(pugail(m), sac(m))), DType::F32, &device());
}

#[test]
fn stacked_nests_obey_the_laws() {
    let rnd_ail_sac = |m: &[usize]| nested(rnd(m), nested(gail(m), sac(m)));
    check_all(&Subject::new("rnd+ail+sac", rnd_ail_sac), DType::F32, &device());
    let ail_rnd_td3 = |m: &[usize]| nested(dac(m), nested(rnd(m), td3(m)));
    check_all(&Subject::new("ail+rnd+td3", ail_rnd_td3), DType::F32, &device());
}

fn normalise<S>(members: &[usize]) -> Normalise<S> {
    NormaliseConfig { population: members.len(), ..NormaliseConfig::default() }.init(3).unwrap()
}

/// Everything that is not the default but a penalty: spectral normalisation, two updates in every second step, and
/// demonstrations for the core below.
fn mixing<S>(members: &[usize]) -> Ail<S> {
    AilConfig {
        spectral_normalisation: true,
        update_interval: 2,
        updates: 2,
        mix_demonstrations: true,
        ..ail_config(members)
    }
    .init(3, 2)
    .unwrap()
}

fn spectral<S>(members: &[usize]) -> Ail<S> {
    AilConfig { spectral_normalisation: true, gradient_penalty: 1.0, ..ail_config(members) }
        .init(3, 2)
        .unwrap()
}

fn sqil<S>(members: &[usize]) -> Sqil<S> {
    SqilConfig { population: members.len() }.init(3, 2).unwrap()
}

fn scale<S>(members: &[usize]) -> Scale<S> {
    ScaleConfig {
        population: members.len(),
        normalise: true,
        scale: each(members, 0.5).into(),
        shift: each(members, -0.1).into(),
        clip: Some(0.9),
    }
    .init()
    .unwrap()
}

fn airl<C: LogProbability<Sample: Rewarded>>(members: &[usize], direct: C) -> Airl<C> {
    AirlConfig {
        population: members.len(),
        hidden: vec![10, 8],
        learning_rate: each(members, 1e-3).into(),
        state_only: false,
    }
    .init(direct)
    .unwrap()
}

#[test]
fn ail_nests_with_every_option_obey_the_laws() {
    check_all(
        &Subject::new("spectral+sac", |m: &[usize]| nested(spectral(m), sac(m))),
        DType::F32,
        &device(),
    );
    let mixing_td3 = Subject::new("mixing+td3", |m: &[usize]| nested(mixing(m), td3(m))).with_rows(2);
    check_all(&mixing_td3, DType::F32, &device());
    let stacked = |m: &[usize]| nested(normalise(m), nested(mixing(m), nested(rnd(m), sac(m))));
    check_all(&Subject::new("normalise+mixing+rnd+sac", stacked).with_rows(2), DType::F32, &device());
}

#[test]
fn sqil_nests_obey_the_laws() {
    let sqil_sac = Subject::new("sqil+sac", |m: &[usize]| nested(sqil(m), sac(m))).with_rows(2);
    check_all(&sqil_sac, DType::F32, &device());
    let stacked = |m: &[usize]| nested(rnd(m), nested(sqil(m), nested(scale(m), td3(m))));
    check_all(&Subject::new("rnd+sqil+scale+td3", stacked).with_rows(2), DType::F32, &device());
}

#[test]
fn scaling_nests_obey_the_laws() {
    let stacked = |m: &[usize]| nested(scale(m), nested(rnd(m), sac(m)));
    check_all(&Subject::new("scale+rnd+sac", stacked), DType::F32, &device());
}

#[test]
fn airl_nests_obey_the_laws() {
    check_all(&Subject::new("airl+sac", |m: &[usize]| airl(m, sac(m))), DType::F32, &device());
    // Processors above it and below it.
    let stacked = |m: &[usize]| nested(rnd(m), airl(m, nested(normalise(m), sac(m))));
    check_all(&Subject::new("rnd+airl+normalise+sac", stacked), DType::F32, &device());
}

#[test]
fn normalising_nests_obey_the_laws() {
    let normalise_rnd_sac = |m: &[usize]| nested(normalise(m), nested(rnd(m), sac(m)));
    check_all(&Subject::new("normalise+rnd+sac", normalise_rnd_sac), DType::F32, &device());
    let normalise_ail_td3 = |m: &[usize]| nested(normalise(m), nested(dac(m), td3(m)));
    check_all(&Subject::new("normalise+ail+td3", normalise_ail_td3), DType::F32, &device());
}

fn standardise<S>(members: &[usize]) -> Standardise<S> {
    let (mean, deviation) = (vec![0.5, -1.0, 2.0], vec![0.0, 2.0, 0.1]);
    StandardiseConfig { population: members.len(), mean, deviation, ..StandardiseConfig::default() }
        .init(3)
        .unwrap()
}

#[test]
fn standardised_nests_obey_the_laws() {
    // TD3+BC as its paper has it.
    check_all(
        &Subject::new("standardise+td3", |m: &[usize]| nested(standardise(m), td3(m))),
        DType::F32,
        &device(),
    );
    let stacked = |m: &[usize]| nested(standardise(m), nested(gail(m), sac(m)));
    check_all(&Subject::new("standardise+ail+sac", stacked), DType::F32, &device());
}

/// `(x − mean) / (deviation + 1e-3)`, of everything that is an observation, learned from and acted on alike.
#[test]
fn observations_are_standardised_by_the_given_moments() {
    let device = device();
    let processor = standardise::<ImitationSample<Transitions>>(&[0, 1]);
    let mut state = processor.init(0, &device).unwrap();
    let before = state.save().unwrap();
    let row = |shift: f32| Tensor::<3>::from_floats([[[0.501 + shift, 1.0, 2.101]]], &device);
    let expected = [1.0, 2.0 / 2.001, 0.101 / 0.101];
    let close = |x: &Tensor<3>, expected: [f64; 3]| {
        for (actual, expected) in values(x).chunks(3).flatten().zip(expected.iter().cycle()) {
            assert!((actual - expected).abs() < 1e-4, "{actual} {expected}");
        }
    };
    let own = Transitions {
        observation: row(0.0),
        action: Tensor::zeros([1, 1, 2], &device),
        reward: Tensor::zeros([1, 1], &device),
        discount: Tensor::zeros([1, 1], &device),
        next_observation: row(0.001),
        importance_weight: None,
        keys: None,
    };
    let demonstrations = Transitions { observation: row(0.002), ..own.clone() };
    let (sample, _) = processor.process(&mut state, ImitationSample { rl: own, demonstrations }).unwrap();
    close(&sample.rl.observation, expected);
    assert_eq!(sample.rl.observation.dims(), [2, 1, 3]);
    close(&sample.rl.next_observation, [2.0, expected[1], expected[2]]);
    close(&sample.demonstrations.observation, [3.0, expected[1], expected[2]]);
    close(&processor.observe(&state, row(0.0)), expected);
    assert_eq!(state.save().unwrap(), before, "moments of a data set do not change");

    // Without moments nothing is changed: a state that is loaded brings them.
    let bare = StandardiseConfig { population: 2, ..StandardiseConfig::default() }
        .init::<ImitationSample<Transitions>>(3)
        .unwrap();
    let mut loaded = bare.init(0, &device).unwrap();
    assert_eq!(values(&bare.observe(&loaded, row(0.0)))[..3], values(&row(0.0))[..]);
    loaded.load(&before).unwrap();
    close(&bare.observe(&loaded, row(0.0)), expected);
    for (mean, deviation) in [(vec![0.0; 2], vec![]), (vec![f64::NAN; 3], vec![]), (vec![], vec![-1.0; 3])] {
        let config = StandardiseConfig { mean, deviation, ..StandardiseConfig::default() };
        assert!(config.init::<Transitions>(3).is_err());
    }
}

/// What the core learns from and what it acts on are normalised alike.
#[test]
fn normalisation_is_the_same_for_learning_and_acting() {
    let device = device();
    let processor: Normalise<Transitions> = NormaliseConfig::default().init(3).unwrap();
    let mut state = processor.init(0, &device).unwrap();
    let sizes = Sizes { population: 1, batch: 200, ..SIZES };
    let plain = Transitions::random(sizes, 0, DType::F32, &device);
    let scaled = plain
        .clone()
        .map_observations(|observation| Ok(observation.mul_scalar(50.0).add_scalar(7.0)))
        .unwrap();
    let (processed, _) = processor.process(&mut state, scaled.clone()).unwrap();
    for feature in 0..3 {
        let column = values(&processed.observation.clone().narrow(2, feature, 1));
        let mean = column.iter().sum::<f64>() / 200.0;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 200.0;
        assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3, "{mean} {variance}");
    }
    let nest = nested(processor, SacConfig { hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap());
    let mut whole = nest.init(1, &device).unwrap();
    nest.step(&mut whole, scaled.clone()).unwrap();
    let seen = nest.processor.observe(&whole.processor, scaled.observation.clone());
    let through = nest.act(&whole, scaled.observation, Acting::Deterministic).unwrap();
    let direct = nest.direct.act(&whole.direct, seen, Acting::Deterministic).unwrap();
    assert_eq!(values(&through), values(&direct));
}

#[test]
fn a_function_is_a_processor() {
    let double = || {
        FromFn::new("double", |sample: Transitions| {
            let reward = sample.reward.clone().mul_scalar(2.0);
            Ok(sample.with_reward(reward))
        })
    };
    check_all(&Subject::new("fn+sac", |m: &[usize]| nested(double(), sac(m))), DType::F32, &device());
    let sample = Transitions::random(SIZES, 0, DType::F32, &device());
    let expected: Vec<f64> = values(&sample.reward).iter().map(|reward| 2.0 * reward).collect();
    assert_eq!(values(&double().process(&mut (), sample).unwrap().0.reward), expected);
}

#[test]
fn devices_agree_on_nests() {
    let flex = ingle::device::open("flex").unwrap();
    for name in ["ndarray", "wgpu"] {
        if let Some(other) = device_or_skip(name, "law 6") {
            devices_agree(&Subject::new("rnd+sac", |m: &[usize]| nested(rnd(m), sac(m))), &flex, &other);
            devices_agree(&Subject::new("dac+td3", |m: &[usize]| nested(dac(m), td3(m))), &flex, &other);
            let mixing_td3 = |m: &[usize]| nested(mixing(m), nested(scale(m), td3(m)));
            devices_agree(&Subject::new("mixing+scale+td3", mixing_td3), &flex, &other);
            devices_agree(&Subject::new("airl+sac", |m: &[usize]| airl(m, sac(m))), &flex, &other);
        }
    }
}

/// Law 3: RND with intrinsic coefficient 0 and extrinsic 1 leaves the direct core exactly as the bare core would.
#[test]
fn rnd_that_adds_nothing_is_the_bare_core() {
    let silent = RndConfig { population: 3, hidden: vec![8], intrinsic: 0.0.into(), ..RndConfig::default() };
    let nest = nested(silent.init(3).unwrap(), sac(&[0, 1, 2]));
    let bare = sac(&[0, 1, 2]);
    let (mut nested, mut alone) = (nest.init(4, &device()).unwrap(), bare.init(4, &device()).unwrap());
    for step in 0..5 {
        let sample = Transitions::random(SIZES, step, DType::F32, &device());
        nest.step(&mut nested, sample.clone()).unwrap();
        bare.step(&mut alone, sample).unwrap();
    }
    let (nested, alone) = (nested.direct.save().unwrap(), alone.save().unwrap());
    assert_same("rnd(0, 1)+sac", "law 3 (identity)", &nested, &alone, 0.0);
}

#[test]
fn rnd_rewards_what_it_has_not_seen() {
    let config = RndConfig {
        hidden: vec![32],
        features: 16,
        learning_rate: 1e-3.into(),
        extrinsic: 0.0.into(),
        ..RndConfig::default()
    };
    let rnd: Rnd<Transitions> = config.init(3).unwrap();
    let mut state = rnd.init(0, &device()).unwrap();
    let sizes = Sizes { population: 1, batch: 64, ..SIZES };
    let known = Transitions::random(sizes, 0, DType::F32, &device());
    for _ in 0..300 {
        rnd.process(&mut state, known.clone()).unwrap();
    }
    // Half of the batch is what it knows, half is elsewhere.
    let elsewhere = known.next_observation.clone().mul_scalar(-1.0).add_scalar(1.5);
    let next_observation =
        Tensor::cat(vec![known.next_observation.clone().narrow(1, 0, 32), elsewhere.narrow(1, 32, 32)], 1);
    let (processed, metrics) = rnd.process(&mut state, Transitions { next_observation, ..known }).unwrap();
    let reward = values(&processed.reward);
    let mean = |rows: &[f64]| rows.iter().sum::<f64>() / rows.len() as f64;
    assert!(
        mean(&reward[32..]) > 3.0 * mean(&reward[..32]),
        "{} {}",
        mean(&reward[..32]),
        mean(&reward[32..])
    );
    assert!(metrics.get("rnd_loss").is_some());
}

#[test]
fn rnd_stays_finite_where_nothing_varies() {
    let rnd: Rnd<Transitions> = RndConfig { hidden: vec![8], ..RndConfig::default() }.init(3).unwrap();
    let mut state = rnd.init(0, &device()).unwrap();
    let one = Transitions::random(Sizes { population: 1, batch: 1, ..SIZES }, 0, DType::F32, &device());
    for _ in 0..3 {
        let (processed, _) = rnd.process(&mut state, one.clone()).unwrap();
        assert!(values(&processed.reward).iter().all(|reward| reward.is_finite()));
    }
}

#[test]
fn the_discriminator_learns_to_tell_demonstrations() {
    for config in [
        AilConfig { hidden: vec![32], learning_rate: 3e-3.into(), ..AilConfig::default() },
        AilConfig {
            hidden: vec![32],
            learning_rate: 3e-3.into(),
            gradient_penalty: 1.0,
            ..AilConfig::default()
        },
    ] {
        let ail: Ail<Transitions> = config.init(3, 2).unwrap();
        let mut state = ail.init(0, &device()).unwrap();
        let sizes = Sizes { population: 1, batch: 32, ..SIZES };
        let reward_of = |state: &mut _, seed: u64, expert: bool| {
            let mut sample: ImitationSample<Transitions> =
                TestSample::random(sizes, seed, DType::F32, &device());
            // Demonstrations push the other way.
            sample.demonstrations.action = sample.rl.action.zeros_like().add_scalar(0.8);
            sample.rl.action = sample.rl.action.zeros_like().add_scalar(if expert { 0.8 } else { -0.8 });
            let (processed, _) = ail.process(state, sample).unwrap();
            values(&processed.reward.mean())[0]
        };
        for seed in 0..200 {
            reward_of(&mut state, seed, false);
        }
        let own = reward_of(&mut state.clone(), 500, false);
        let expert = reward_of(&mut state, 500, true);
        assert!(expert > own + 1.0, "{expert} {own}");
    }
}

/// The rewards at logits where naive formulas overflow.
#[test]
fn rewards_stay_finite_at_large_logits() {
    let huge = Transitions::random(Sizes { population: 1, batch: 4, ..SIZES }, 0, DType::F32, &device());
    let huge = Transitions { observation: huge.observation.clone().mul_scalar(1e5), ..huge };
    for reward in [AilReward::Gail, AilReward::Airl, AilReward::Fairl, AilReward::LogD] {
        let ail: Ail<Transitions> =
            AilConfig { hidden: vec![16], reward, ..AilConfig::default() }.init(3, 2).unwrap();
        let mut state = ail.init(0, &device()).unwrap();
        let sample = ImitationSample { rl: huge.clone(), demonstrations: huge.clone() };
        let (processed, metrics) = ail.process(&mut state, sample).unwrap();
        let rewards = values(&processed.reward);
        assert!(rewards.iter().all(|reward| reward.is_finite()), "{reward:?}: {rewards:?}");
        assert!(values(metrics.get("discriminator_loss").unwrap())[0].is_finite(), "{reward:?}");
    }
}

#[test]
fn running_moments_are_those_of_all_rows() {
    let device: Device = device();
    let mut moments = RunningMoments::new(1, 2, &(&device).into());
    let rows: Vec<[f32; 2]> = (0..23).map(|i| [(i as f32 * 0.7).sin() * 3.0 + 100.0, i as f32]).collect();
    for batch in [&rows[..1], &rows[1..9], &rows[9..]] {
        let data = TensorData::new(batch.concat(), [1, batch.len(), 2]);
        moments.update(&Tensor::from_data(data, &device));
    }
    for feature in 0..2 {
        let column: Vec<f64> = rows.iter().map(|row| f64::from(row[feature])).collect();
        let mean = column.iter().sum::<f64>() / 23.0;
        let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 23.0;
        assert!((values(&moments.mean)[feature] - mean).abs() < 1e-4);
        assert!((values(&moments.variance)[feature] - variance).abs() < 1e-3 * variance);
    }
    assert_eq!(values(&moments.count), [23.0]);
}

#[test]
fn wrong_settings_are_listed() {
    let rnd = RndConfig {
        population: 0,
        hidden: vec![0],
        features: 0,
        learning_rate: (-1.0).into(),
        intrinsic: f64::NAN.into(),
        ..RndConfig::default()
    };
    let Err(ingle::Error::Config(problems)) = rnd.init::<Transitions>(3) else { panic!("accepted") };
    assert_eq!(problems.len(), 5, "{problems:?}");
    let loss = AilLoss::Pugail { prior: 1.5, beta: -1.0 };
    let ail = AilConfig { loss, gradient_penalty: -1.0, hidden: vec![0], ..AilConfig::default() };
    let Err(ingle::Error::Config(problems)) = ail.init::<Transitions>(3, 1) else { panic!("accepted") };
    assert_eq!(problems.len(), 4, "{problems:?}");
}
