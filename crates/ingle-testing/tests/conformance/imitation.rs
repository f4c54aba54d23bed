//! What imitation learners and reward scaling do, by numbers worked out here.

use burn::tensor::{DType, Tensor, TensorData};
use ingle::nested::ImitationSample;
use ingle::nested::ail::{Ail, AilConfig, AilLoss, AilNoise, AilState};
use ingle::nested::airl::AirlConfig;
use ingle::nested::scale::{Scale, ScaleConfig};
use ingle::nested::sqil::{Sqil, SqilConfig};
use ingle::network::Network;
use ingle::processor::ExplicitProcessNoise;
use ingle::replay::{Priorities, PrioritisedReplay, ReplayConfig, Rows};
use ingle::sac::{Sac, SacConfig};
use ingle::{
    CoreLearner, Error, Feedback, Learner, LearnerCore, LogProbability, Nested, Result, Rewarded,
    SampleProcessor, Sampler, State, Transitions,
};
use ingle_testing::laws::assert_same;
use ingle_testing::sample::{Sizes, TestNoise, TestSample};
use ingle_testing::{device, values};

const SIZES: Sizes = Sizes { population: 2, batch: 6, observation: 3, action: 2 };

fn sample(seed: u64) -> ImitationSample<Transitions> {
    TestSample::random(SIZES, seed, DType::F32, &device())
}

fn sac() -> Sac {
    SacConfig { population: 2, hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap()
}

fn ail(config: AilConfig) -> Ail<Transitions> {
    AilConfig { population: 2, hidden: vec![7, 6], ..config }.init(3, 2).unwrap()
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{a} {b}");
    }
}

/// The first `rows` demonstrations of each member.
fn fewer(sample: ImitationSample<Transitions>, rows: usize) -> ImitationSample<Transitions> {
    let rows: Vec<usize> = (0..rows).collect();
    ImitationSample { demonstrations: sample.demonstrations.permute(&rows), ..sample }
}

#[test]
fn sqil_learns_from_own_rows_at_0_and_demonstrations_at_1() {
    let sqil: Sqil<Transitions> = SqilConfig { population: 2 }.init(3, 2).unwrap();
    let ImitationSample { rl, demonstrations } = sample(0);
    let (processed, _) = sqil.process(&mut (), sample(0)).unwrap();
    let each = [[0.0; 6], [1.0; 6]].concat();
    assert_eq!(values(&processed.reward), [each.clone(), each].concat());
    assert_eq!(values(&processed.observation.clone().narrow(1, 0, 6)), values(&rl.observation));
    assert_eq!(values(&processed.discount.clone().narrow(1, 6, 6)), values(&demonstrations.discount));
    // Row by row: the key of an own row is its own, and a demonstration has none.
    let (keys, own) = (processed.keys.clone().unwrap(), rl.keys.unwrap());
    for member in 0..2 {
        assert_eq!(keys[member * 12..member * 12 + 6], own[member * 6..member * 6 + 6]);
        assert_eq!(keys[member * 12 + 6..member * 12 + 12], [None; 6]);
    }

    // The nest is the bare core on that batch.
    let nest = Nested { processor: sqil, direct: sac() };
    let mut state = nest.init(1, &device()).unwrap();
    let mut bare = sac().init(1, &device()).unwrap();
    let through = nest.step(&mut state, sample(0)).unwrap().feedback.unwrap();
    let direct = sac().step(&mut bare, processed).unwrap().feedback.unwrap();
    assert_same("sqil+sac", "batch", &state.direct.save().unwrap(), &bare.save().unwrap(), 0.0);
    assert_eq!((values(&through.td_error), through.keys), (values(&direct.td_error), direct.keys));

    // Half and half is the rule.
    assert!(matches!(
        nest.step(&mut state, fewer(sample(0), 3)),
        Err(Error::Shape { field: "demonstrations", .. })
    ));
}

/// A prioritised replay with demonstrations beside it.
struct Beside {
    replay: PrioritisedReplay,
    demonstrations: Transitions,
    last: Option<Feedback>,
}

impl Sampler for Beside {
    type Sample = ImitationSample<Transitions>;

    fn sample(&mut self) -> Result<Self::Sample> {
        Ok(ImitationSample { rl: self.replay.sample()?, demonstrations: self.demonstrations.clone() })
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.last = Some(feedback.clone());
        self.replay.feedback(feedback)
    }
}

/// A prioritised replay gets the errors of its own rows, each under its key, and none of the demonstrations'.
#[test]
fn feedback_reaches_own_rows_only() {
    let device = device();
    let config = ReplayConfig { capacity: 40, batch: 6, ..ReplayConfig::new(3, 2) };
    let mut replay = PrioritisedReplay::new(&config, Priorities::default(), 3, &device).unwrap();
    let numbers: Vec<f32> = (0..120).map(|i| (i as f32 * 0.37).sin()).collect();
    let rows = Rows {
        observation: &numbers,
        action: &numbers[..80],
        reward: &numbers[..40],
        discount: &[0.9; 40],
        next_observation: &numbers,
        truncated: &[false; 40],
    };
    replay.insert(0, rows).unwrap();
    let sizes = Sizes { population: 1, ..SIZES };
    // Large errors: they would be drawn for ever if they reached a row.
    let far = Transitions::random(sizes, 1, DType::F32, &device);
    let far = far.map_observations(|observation| Ok(observation.mul_scalar(1e3))).unwrap();
    let core = |mix| {
        let config = AilConfig { hidden: vec![7], mix_demonstrations: mix, ..AilConfig::default() };
        Nested {
            processor: config.init::<Transitions>(3, 2).unwrap(),
            direct: SacConfig { hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap(),
        }
    };
    let start = Beside { replay: replay.clone(), demonstrations: far, last: None };
    let mut learner = CoreLearner::new(core(true), start, 5, &device).unwrap();
    for _ in 0..10 {
        let keys = replay.sample().unwrap().keys.unwrap();
        learner.step().unwrap();
        let Feedback { td_error, keys: given } = learner.sampler.last.clone().unwrap();
        assert_eq!(given.as_ref().map(|keys| keys.len()), Some(12));
        assert!(values(&td_error.clone().narrow(1, 6, 6)).iter().all(|error| *error > 5.0), "{td_error}");
        // A replay that is told of the own rows alone goes on in the same way.
        replay.feedback(Feedback { td_error: td_error.narrow(1, 0, 6), keys: Some(keys) }).unwrap();
        let (theirs, ours) = (learner.sampler.replay.clone().sample(), replay.clone().sample());
        assert_eq!(theirs.unwrap().keys, ours.unwrap().keys);
    }
}

/// Demonstrations that are mixed in have the reward that the same rows would have as the learner's own.
#[test]
fn mixed_demonstrations_have_the_discriminators_rewards() {
    // The discriminator does not learn in these steps, so that its verdict stays the same.
    let config = AilConfig { update_interval: 100, ..AilConfig::default() };
    let (plain, mixed) = (ail(config.clone()), ail(AilConfig { mix_demonstrations: true, ..config }));
    let start = plain.init(3, &device()).unwrap();
    let process = |ail: &Ail<Transitions>, sample| ail.process(&mut start.clone(), sample).unwrap();
    let ImitationSample { rl, demonstrations } = sample(4);
    let swapped = ImitationSample { rl: demonstrations.clone(), demonstrations: rl.clone() };
    let own = values(&process(&plain, sample(4)).0.reward);
    let expert = values(&process(&plain, swapped).0.reward);

    for count in [6, 3, 1] {
        let (processed, metrics) = process(&mixed, fewer(sample(4), count));
        assert_eq!(processed.reward.dims(), [2, 6 + count]);
        let reward = values(&processed.reward);
        for member in 0..2 {
            let of_member = &reward[member * (6 + count)..(member + 1) * (6 + count)];
            close(&of_member[..6], &own[member * 6..(member + 1) * 6], 1e-5);
            close(&of_member[6..], &expert[member * 6..member * 6 + count], 1e-5);
            let mean = of_member[6..].iter().sum::<f64>() / count as f64;
            close(&[values(metrics.get("demonstration_reward").unwrap())[member]], &[mean], 1e-5);
        }
        let keys = processed.keys.unwrap();
        assert_eq!(keys.iter().flatten().count(), 12, "every own row has its key");
        assert_eq!(keys[6 + count..6 + count + 6], rl.keys.as_ref().unwrap()[6..]);
        assert_eq!(
            values(&processed.action.narrow(1, 6, count)),
            values(&fewer(sample(4), count).demonstrations.action)
        );
    }
    assert!(plain.process(&mut start.clone(), fewer(sample(4), 4)).is_err(), "4 does not divide 6");
}

/// With fewer demonstrations, each weighs as if it had been given over and over.
#[test]
fn fewer_demonstrations_are_repeated() {
    for loss in [AilLoss::Gail { entropy_coefficient: 0.1 }, AilLoss::Pugail { prior: 0.6, beta: 0.1 }] {
        let ail = ail(AilConfig { loss, gradient_penalty: 2.0, ..AilConfig::default() });
        let (mut few, mut many) = (ail.init(0, &device()).unwrap(), ail.init(0, &device()).unwrap());
        let repeated = sample(2);
        let repeated = ImitationSample {
            demonstrations: repeated.demonstrations.permute(&[0, 1, 2, 0, 1, 2]),
            ..repeated
        };
        let (a, _) = ail.process(&mut few, fewer(sample(2), 3)).unwrap();
        let (b, _) = ail.process(&mut many, repeated).unwrap();
        close(&values(&a.reward), &values(&b.reward), 1e-4);
        assert_same("ail", "repeated rows", &few.save().unwrap(), &many.save().unwrap(), 1e-5);
    }
}

/// Steps on shared rows and on the same rows spread over the members.
fn check_sharing<C>(core: &C, own: &Transitions, shared: &Transitions, spread: &Transitions)
where
    C: LearnerCore<Sample = ImitationSample<Transitions>>,
{
    let pairs = [(own, shared, own, spread), (shared, own, spread, own), (shared, shared, spread, spread)];
    for (rl, demonstrations, rl_spread, demonstrations_spread) in pairs {
        let (mut a, mut b) = (core.init(0, &device()).unwrap(), core.init(0, &device()).unwrap());
        let sample = |rl: &Transitions, demonstrations: &Transitions| ImitationSample {
            rl: rl.clone(),
            demonstrations: demonstrations.clone(),
        };
        core.step(&mut a, sample(rl, demonstrations)).unwrap();
        core.step(&mut b, sample(rl_spread, demonstrations_spread)).unwrap();
        assert_same("imitation", "shared rows", &a.save().unwrap(), &b.save().unwrap(), 1e-5);
    }
}

/// Demonstrations that all members share, beside own rows of each, and the other way round.
#[test]
fn members_may_share_demonstrations() {
    let one = Sizes { population: 1, ..SIZES };
    let shared =
        Transitions { importance_weight: None, ..Transitions::random(one, 8, DType::F32, &device()) };
    let spread = {
        let twice = |tensor: &Tensor<3>| tensor.clone().repeat_dim(0, 2);
        Transitions {
            observation: twice(&shared.observation),
            action: twice(&shared.action),
            reward: shared.reward.clone().repeat_dim(0, 2),
            discount: shared.discount.clone().repeat_dim(0, 2),
            next_observation: twice(&shared.next_observation),
            importance_weight: None,
            keys: Some([shared.keys.clone().unwrap(), shared.keys.clone().unwrap()].concat().into()),
        }
    };
    let own = sample(5).rl;
    let mixing = AilConfig { mix_demonstrations: true, gradient_penalty: 1.0, ..AilConfig::default() };
    check_sharing(&Nested { processor: ail(mixing), direct: sac() }, &own, &shared, &spread);
    let sqil = SqilConfig { population: 2 }.init(3, 2).unwrap();
    check_sharing(&Nested { processor: sqil, direct: sac() }, &own, &shared, &spread);
    let airl = AirlConfig { population: 2, hidden: vec![5], ..AirlConfig::default() }.init(sac()).unwrap();
    check_sharing(&airl, &own, &shared, &spread);
}

#[test]
fn the_discriminator_learns_in_every_kth_step() {
    let ail = ail(AilConfig { update_interval: 3, ..AilConfig::default() });
    let mut state = ail.init(0, &device()).unwrap();
    for step in 1..=7 {
        let before = values(&state.discriminator.parameters);
        let (_, metrics) = ail.process(&mut state, sample(step)).unwrap();
        let learned = before != values(&state.discriminator.parameters);
        assert_eq!(learned, step % 3 == 0, "step {step}");
        assert_eq!(metrics.get("discriminator_loss").is_some(), learned, "step {step}");
        assert!(metrics.get("imitation_reward").is_some());
    }
}

/// Two updates in a step are two steps of one update on the same sample, each with its noise.
#[test]
fn several_updates_are_several_steps_on_the_same_sample() {
    let config = AilConfig { gradient_penalty: 3.0, spectral_normalisation: true, ..AilConfig::default() };
    let (once, twice) = (ail(config.clone()), ail(AilConfig { updates: 2, ..config }));
    let (mut a, mut b) = (once.init(0, &device()).unwrap(), twice.init(0, &device()).unwrap());
    let noise =
        [0, 1].map(|seed| AilNoise::random(SIZES, seed, DType::F32, &device()).interpolation.unwrap());
    for noise in &noise {
        let noise = AilNoise { interpolation: Some(noise.clone()) };
        once.process_with_noise(&mut a, sample(3), noise).unwrap();
    }
    let both = AilNoise { interpolation: Some(Tensor::cat(noise.to_vec(), 2)) };
    twice.process_with_noise(&mut b, sample(3), both.clone()).unwrap();
    assert_eq!((a.steps, b.steps), (2, 1));
    a.steps = 1;
    assert_same("ail", "two updates", &a.save().unwrap(), &b.save().unwrap(), 1e-6);
    assert!(once.process_with_noise(&mut a, sample(3), both).is_err(), "noise for two updates, not one");
}

/// The rule of `PyTorch`'s `parametrizations.spectral_norm`, by loops over rows and columns.
#[test]
fn spectral_normalisation_divides_weights_by_their_largest_singular_values() {
    let ail = ail(AilConfig { spectral_normalisation: true, ..AilConfig::default() });
    let start = ail.init(2, &device()).unwrap();
    let mut state = start.clone();
    let (processed, _) = ail.process(&mut state, sample(0)).unwrap();
    let rl = sample(0).rl;
    let input = values(&Tensor::cat(vec![rl.observation, rl.action], 2));
    let sizes = ail.network().sizes().to_vec();
    for member in 0..2 {
        let after = values(&state.discriminator.parameters.clone().narrow(0, member, 1));
        let before = values(&start.discriminator.parameters.clone().narrow(0, member, 1));
        let mut layers = Vec::new();
        for (layer, (_, shape, place)) in ail.network().layout().iter().enumerate().step_by(2) {
            let (rows, columns) = (shape[1], shape[2]);
            let vector =
                |state: &AilState| values(&state.spectral[layer / 2].input.clone().narrow(0, member, 1));
            let unit = |vector: Vec<f64>| {
                let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
                vector.into_iter().map(|x| x / norm).collect::<Vec<_>>()
            };
            // One iteration, on the parameters before the step.
            let old = &before[place..place + rows * columns];
            let v = vector(&start);
            let u =
                unit((0..columns).map(|c| (0..rows).map(|r| v[r] * old[r * columns + c]).sum()).collect());
            let v =
                unit((0..rows).map(|r| (0..columns).map(|c| u[c] * old[r * columns + c]).sum()).collect());
            close(&values(&state.spectral[layer / 2].output.clone().narrow(0, member, 1)), &u, 1e-5);
            close(&vector(&state), &v, 1e-5);
            // After the fifteen of the start it is near the largest singular value: found here by many more.
            let new = &after[place..place + rows * columns];
            let sigma: f64 = (0..rows * columns).map(|i| v[i / columns] * new[i] * u[i % columns]).sum();
            let (mut exact, mut largest) = (u.clone(), 0.0);
            for _ in 0..3000 {
                let left: Vec<f64> =
                    (0..rows).map(|r| (0..columns).map(|c| exact[c] * new[r * columns + c]).sum()).collect();
                largest = left.iter().map(|x| x * x).sum::<f64>().sqrt();
                exact = unit(
                    (0..columns).map(|c| (0..rows).map(|r| left[r] * new[r * columns + c]).sum()).collect(),
                );
            }
            assert!(sigma <= largest * (1.0 + 1e-5) && sigma > 0.9 * largest, "{sigma} {largest}");
            let bias = &after[place + rows * columns..place + (rows + 1) * columns];
            layers.push((rows, columns, new.iter().map(|w| w / sigma).collect::<Vec<_>>(), bias.to_vec()));
        }
        // The reward (the logit) of the first row, with the divided weights.
        let width = sizes[0];
        let mut signal = input[member * 6 * width..member * 6 * width + width].to_vec();
        let last = layers.len() - 1;
        for (index, (rows, columns, weight, bias)) in layers.into_iter().enumerate() {
            signal = (0..columns)
                .map(|c| bias[c] + (0..rows).map(|r| signal[r] * weight[r * columns + c]).sum::<f64>())
                .map(|x| if index < last { x.max(0.0) } else { x })
                .collect();
        }
        close(&[values(&processed.reward)[member * 6]], &signal, 1e-4);
    }
}

#[test]
fn rewards_are_scaled_shifted_and_clipped() {
    let rewards = |values: [f64; 4]| {
        let data = TensorData::new(values.to_vec(), [2, 2]);
        let sizes = Sizes { batch: 2, ..SIZES };
        Transitions {
            reward: Tensor::from_data(data, (&device(), DType::F32)),
            ..Transitions::random(sizes, 0, DType::F32, &device())
        }
    };
    let run = |config: ScaleConfig, batches: &[[f64; 4]]| {
        let scale: Scale<Transitions> = ScaleConfig { population: 2, ..config }.init().unwrap();
        let mut state = scale.init(0, &device()).unwrap();
        let mut last = None;
        for batch in batches {
            last = Some(scale.process(&mut state, rewards(*batch)).unwrap());
        }
        let (processed, metrics) = last.unwrap();
        (values(&processed.reward), values(metrics.get("scaled_reward").unwrap()))
    };
    let plain = ScaleConfig::default;
    assert_eq!(
        run(plain(), &[[1.0, -3.0, 0.5, 8.0]]).0,
        [1.0, -3.0, 0.5, 8.0],
        "the defaults change nothing"
    );
    let config = ScaleConfig { scale: vec![2.0, 0.5].into(), shift: vec![1.0, -1.0].into(), ..plain() };
    let (reward, mean) = run(config.clone(), &[[1.0, -3.0, 0.5, 8.0]]);
    assert_eq!((reward, mean), (vec![3.0, -5.0, -0.75, 3.0], vec![-1.0, 1.125]));
    let (reward, _) = run(ScaleConfig { clip: Some(2.5), ..config }, &[[1.0, -3.0, 0.5, 8.0]]);
    assert_eq!(reward, [2.5, -2.5, -0.75, 2.5]);
    // Over both batches, member 0 has seen 1, −3, 2, 0, member 1 four times 5.
    let normalise = ScaleConfig { normalise: true, ..plain() };
    let (reward, _) = run(normalise.clone(), &[[1.0, -3.0, 5.0, 5.0], [2.0, 0.0, 5.0, 5.0]]);
    close(&reward, &[2.0 / 3.5_f64.sqrt(), 0.0, 1.0, 1.0], 1e-5);
    assert_eq!(run(normalise, &[[0.0; 4]]).0, [0.0; 4], "where there is no reward there is none");
}

/// Linear g and h, worked out by hand.
#[test]
fn airl_hands_on_f_of_the_updated_networks() {
    let device = device();
    for state_only in [false, true] {
        let config = AirlConfig { population: 2, hidden: vec![], state_only, ..AirlConfig::default() };
        let airl = config.init(sac()).unwrap();
        let mut state = airl.init(7, &device).unwrap();
        let mut bare = state.direct.clone();
        let start = state.clone();
        let ImitationSample { rl, demonstrations } = sample(6);

        // f at given parameters: g = w·x + b, h = v·s + c.
        let f = |reward: &Tensor<2>, shaping: &Tensor<2>, rows: &Transitions| -> Vec<f64> {
            let (w, v) = (values(reward), values(shaping));
            let [s, a, next, discount] = [
                values(&rows.observation),
                values(&rows.action),
                values(&rows.next_observation),
                values(&rows.discount),
            ];
            let width = if state_only { 3 } else { 5 };
            let row = |i: usize| {
                let (w, v) = (&w[i / 6 * (width + 1)..], &v[i / 6 * 4..]);
                let dot = |weights: &[f64], x: &[f64]| weights.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
                let h = |s: &[f64]| dot(&v[..3], s) + v[3];
                let state = &s[i * 3..i * 3 + 3];
                let acted = if state_only { 0.0 } else { dot(&w[3..5], &a[i * 2..i * 2 + 2]) };
                dot(&w[..3], state) + acted + w[width] + discount[i] * h(&next[i * 3..i * 3 + 3]) - h(state)
            };
            (0..12).map(row).collect()
        };
        let log_pi = |rows: &Transitions| {
            let (observation, action) = (rows.observation.clone(), rows.action.clone());
            values(&airl.direct.log_probability(&start.direct, observation, action).unwrap())
        };
        let output = airl.step(&mut state, sample(6)).unwrap();

        // The loss is that of the networks before the step, and log π that of the policy before it.
        let logits = |rows: &Transitions| -> Vec<f64> {
            let f = f(&start.reward.parameters, &start.shaping.parameters, rows);
            f.iter().zip(log_pi(rows)).map(|(f, log_pi)| f - log_pi).collect()
        };
        let (own, expert) = (logits(&rl), logits(&demonstrations));
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let loss: Vec<f64> = (0..2)
            .map(|member| {
                let rows = member * 6..(member + 1) * 6;
                rows.map(|i| softplus(own[i]) + softplus(-expert[i])).sum::<f64>() / 12.0
            })
            .collect();
        close(&values(output.metrics.get("discriminator_loss").unwrap()), &loss, 1e-5);

        // The core below learned from f of the networks after it.
        let rewards = f(&state.reward.parameters, &state.shaping.parameters, &rl);
        let data = TensorData::new(rewards.clone(), [2, 6]);
        let rewarded = Transitions { reward: Tensor::from_data(data, (&device, DType::F32)), ..rl.clone() };
        let direct = airl.direct.step(&mut bare, rewarded).unwrap();
        assert_same("airl", "rewards", &state.direct.save().unwrap(), &bare.save().unwrap(), 1e-5);
        assert_eq!(output.feedback.unwrap().keys, rl.keys);
        close(
            &values(output.metrics.get("critic_loss").unwrap()),
            &values(direct.metrics.get("critic_loss").unwrap()),
            1e-4,
        );
        let mean: Vec<f64> = rewards.chunks(6).map(|rewards| rewards.iter().sum::<f64>() / 6.0).collect();
        close(&values(output.metrics.get("imitation_reward").unwrap()), &mean, 1e-5);
    }
}

/// A reward for what demonstrations do, in spite of a policy that is far from it.
#[test]
fn airl_rewards_what_was_demonstrated() {
    let core = || SacConfig { hidden: vec![16], ..SacConfig::default() }.init(3, 2).unwrap();
    let airl = AirlConfig { hidden: vec![32], learning_rate: 3e-3.into(), ..AirlConfig::default() }
        .init(core())
        .unwrap();
    let mut state = airl.init(0, &device()).unwrap();
    let sizes = Sizes { population: 1, batch: 32, ..SIZES };
    let make = |seed, own| {
        let mut sample: ImitationSample<Transitions> = TestSample::random(sizes, seed, DType::F32, &device());
        sample.demonstrations.action = sample.rl.action.zeros_like().add_scalar(0.8);
        sample.rl.action = sample.rl.action.zeros_like().add_scalar(own);
        sample
    };
    let reward = |state: &mut _, sample| {
        values(airl.step(state, sample).unwrap().metrics.get("imitation_reward").unwrap())[0]
    };
    for seed in 0..200 {
        reward(&mut state, make(seed, -0.8));
    }
    let own = reward(&mut state.clone(), make(500, -0.8));
    let expert = reward(&mut state, make(500, 0.8));
    assert!(expert > own + 1.0, "{expert} {own}");
}

#[test]
fn wrong_settings_are_listed() {
    let problems = |result: Result<()>| match result {
        Err(Error::Config(problems)) => problems,
        other => panic!("{other:?}"),
    };
    let wrong = AilConfig { update_interval: 0, updates: 0, ..AilConfig::default() };
    assert_eq!(problems(wrong.validate()).len(), 2);
    assert_eq!(problems(SqilConfig { population: 0 }.validate()).len(), 1);
    let wrong = ScaleConfig {
        population: 2,
        scale: f64::NAN.into(),
        shift: vec![1.0].into(),
        clip: Some(0.0),
        ..ScaleConfig::default()
    };
    assert_eq!(problems(wrong.validate()).len(), 3);
    let wrong = AirlConfig { hidden: vec![0], learning_rate: 0.0.into(), ..AirlConfig::default() };
    assert_eq!(problems(wrong.validate()).len(), 2);
    let other = AirlConfig { population: 3, ..AirlConfig::default() }.init(sac()).map(|_| ());
    assert_eq!(problems(other).len(), 1, "the core has two members");
}
