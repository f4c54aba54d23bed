//! Nests and learners: what the seams promise.

use burn::tensor::{DType, Device, Tensor};
use ingle::sac::{Sac, SacConfig};
use ingle::sample::Expected;
use ingle::{
    CoreLearner, Error, Learner, LearnerCore, Nested, NestedLearner, Result, SampleProcessor, State,
    StepOutput, Transitions,
};
use ingle_testing::fakes::{Queue, Scale};
use ingle_testing::laws::{Subject, assert_same, determinism, errors, resume};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device, values};

const SIZES: Sizes = Sizes { population: 1, batch: 8, observation: 3, action: 2 };

fn sac() -> Sac {
    SacConfig { hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap()
}

fn sample(seed: u64) -> Transitions {
    Transitions::random(SIZES, seed, DType::F32, &device())
}

fn scale(name: &'static str) -> Scale<Transitions> {
    Scale::new(name, false)
}

#[test]
fn a_nest_is_a_core_and_stacks() {
    let make = |members: &[usize]| Nested {
        processor: scale("outer"),
        direct: Nested {
            processor: scale("inner"),
            direct: SacConfig { population: members.len(), hidden: vec![8], ..SacConfig::default() }
                .init(3, 2)
                .unwrap(),
        },
    };
    let subject = Subject::new("scale+scale+sac", make);
    determinism(&subject, DType::F32, &device());
    resume(&subject, DType::F32, &device());
    errors(&subject, DType::F32, &device());
}

#[test]
fn a_nest_hands_the_processed_sample_to_the_core() {
    let nest = Nested { processor: scale("scale"), direct: sac() };
    let mut nested = nest.init(3, &device()).unwrap();
    let mut bare = sac().init(3, &device()).unwrap();
    for seed in 0..3 {
        // The k-th sample's rewards are scaled by 2^k.
        let plain = sample(seed);
        let scaled =
            Transitions { reward: plain.reward.clone().mul_scalar(f64::from(1 << seed)), ..plain.clone() };
        let output = nest.step(&mut nested, plain).unwrap();
        sac().step(&mut bare, scaled).unwrap();
        assert_eq!(values(output.metrics.get("factor").unwrap()), [f64::from(2 << seed)]);
        assert!(output.metrics.get("critic_loss").is_some());
        assert_eq!(output.feedback.unwrap().keys.unwrap().len(), SIZES.batch);
    }
    // The layer did not change the core's random stream, nor anything else.
    assert_same("scale+sac", "nesting", &nested.direct.save().unwrap(), &bare.save().unwrap(), 0.0);
}

#[test]
fn a_failing_layer_leaves_the_whole_nest_as_it_was() {
    let nest = Nested {
        processor: scale("outer"),
        direct: Nested { processor: Scale::new("inner", true), direct: sac() },
    };
    let mut state = nest.init(0, &device()).unwrap();
    let before = state.save().unwrap();
    assert!(matches!(nest.step(&mut state, sample(0)), Err(Error::Sample(_))));
    assert_same("nest", "law 7", &before, &state.save().unwrap(), 0.0);
}

#[test]
fn a_learner_steps_on_its_own_sample_or_on_a_given_one() {
    let queue = Queue::new(vec![sample(1), sample(0)]);
    let mut learner = CoreLearner::new(sac(), queue, 4, &device()).unwrap();
    let mut bare = sac().init(4, &device()).unwrap();

    assert!(learner.step().unwrap().feedback.is_none(), "the sampler has it");
    assert_eq!(learner.sampler.feedback.len(), 1);
    assert_eq!(learner.sampler.feedback[0].keys, sample(0).keys);
    assert!(learner.step_with(sample(5)).unwrap().feedback.is_some(), "whoever gave the sample gets it");
    assert_eq!(learner.sampler.feedback.len(), 1);
    learner.step().unwrap();
    assert!(matches!(learner.step(), Err(Error::Sample(_))), "the queue is empty");
    assert_eq!(learner.updates(), 3);

    for seed in [0, 5, 1] {
        sac().step(&mut bare, sample(seed)).unwrap();
    }
    assert_same("core learner", "samples", &learner.state.save().unwrap(), &bare.save().unwrap(), 0.0);
}

/// A learner that hides its state: all it shows is `Learner`.
struct External {
    rewards: Vec<f64>,
    fail: bool,
}

impl Learner for External {
    type Sample = Transitions;

    fn step(&mut self) -> Result<StepOutput> {
        Err(Error::Sample("an inner learner's own sampler is never asked".into()))
    }

    fn step_with(&mut self, sample: Transitions) -> Result<StepOutput> {
        if self.fail {
            return Err(Error::External("out of service".into()));
        }
        self.rewards.extend(values(&sample.reward.sum()));
        Ok(StepOutput::default())
    }
}

#[test]
fn a_nested_learner_feeds_a_learner_whose_state_is_elsewhere() {
    let processor = scale("scale");
    let state = processor.init(0, &device()).unwrap();
    let external = External { rewards: Vec::new(), fail: false };
    let queue = Queue::new(vec![sample(1), sample(0)]);
    let mut learner = NestedLearner { processor, state, direct: external, sampler: queue };
    let output = learner.step().unwrap();
    assert!(output.metrics.get("factor").is_some());
    learner.step().unwrap();
    let sum = |seed| values(&sample(seed).reward.sum())[0];
    let expected = [sum(0), 2.0 * sum(1)];
    for (actual, expected) in learner.direct.rewards.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-4, "{actual} {expected}");
    }

    learner.direct.fail = true;
    let before = learner.state.save().unwrap();
    assert!(matches!(learner.step_with(sample(2)), Err(Error::External(_))));
    assert_same("nested learner", "law 7", &before, &learner.state.save().unwrap(), 0.0);
}

#[test]
fn a_population_may_share_its_samples() {
    let core = SacConfig { population: 3, hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap();
    let (mut shared, mut own) = (core.init(0, &device()).unwrap(), core.init(0, &device()).unwrap());
    let one = sample(9);
    let repeated = Transitions {
        observation: one.observation.clone().repeat_dim(0, 3),
        action: one.action.clone().repeat_dim(0, 3),
        reward: one.reward.clone().repeat_dim(0, 3),
        discount: one.discount.clone().repeat_dim(0, 3),
        next_observation: one.next_observation.clone().repeat_dim(0, 3),
        importance_weight: one.importance_weight.clone().map(|weight| weight.repeat_dim(0, 3)),
        keys: None,
    };
    let output = core.step(&mut shared, one).unwrap();
    assert_eq!(output.feedback.unwrap().td_error.dims(), [3, SIZES.batch]);
    core.step(&mut own, repeated).unwrap();
    assert_same("sac", "shared samples", &shared.save().unwrap(), &own.save().unwrap(), 1e-6);
}

/// Rows of two samples side by side: a shared one is spread over the members, and only the first has keys.
#[test]
fn joined_rows_keep_their_keys() {
    let device = device();
    let (population, observation, action) = (2, 3, 2);
    let like = Tensor::<2>::zeros([2, 1], &device);
    let expected = Expected { population, observation, action, like: &like };
    let own = Transitions::random(Sizes { population: 1, batch: 2, ..SIZES }, 0, DType::F32, &device);
    let other = Transitions::random(Sizes { population: 2, batch: 3, ..SIZES }, 1, DType::F32, &device);
    let other = Transitions { importance_weight: None, ..other };
    let (r, s) = (values(&own.reward), values(&other.reward));
    let w = values(own.importance_weight.as_ref().unwrap());
    let joined = own.clone().join(other.clone(), expected).unwrap();
    assert_eq!(values(&joined.reward), [r[0], r[1], s[0], s[1], s[2], r[0], r[1], s[3], s[4], s[5]]);
    assert_eq!(
        values(&joined.importance_weight.clone().unwrap()),
        [w[0], w[1], 1.0, 1.0, 1.0],
        "one row of weights for both members"
    );
    let keys = [Some(1000), Some(1001), None, None, None];
    assert_eq!(joined.keys.as_deref(), Some([keys, keys].concat().as_slice()));
    assert_eq!(joined.check(expected).unwrap(), 5);
    assert_eq!(joined.next_observation.dims(), [2, 5, 3]);
    assert_eq!(values(&joined.action.narrow(1, 2, 3)), values(&other.action));

    // Two shared samples stay shared; without keys there are none, and without weights neither.
    let bare = Transitions { keys: None, importance_weight: None, ..own.clone() };
    let shared = bare.clone().join(bare, expected).unwrap();
    assert_eq!(shared.reward.dims(), [1, 4]);
    assert!(shared.keys.is_none() && shared.importance_weight.is_none());
    for (what, spoiled) in other.spoiled() {
        if what != "importance_weight" {
            assert!(own.clone().join(spoiled, expected).is_err(), "{what}");
        }
    }
}

#[test]
fn a_state_does_not_load_what_is_not_its_own() {
    let mut small = sac().init(0, &device()).unwrap();
    let before = small.save().unwrap();
    let large = SacConfig { hidden: vec![9], ..SacConfig::default() }.init(3, 2).unwrap();
    let record = large.init(0, &device()).unwrap().save().unwrap();
    let message = small.load(&record).unwrap_err().to_string();
    assert!(
        message.contains("actor/parameters has shape") && message.contains("target_critic/parameters"),
        "{message}"
    );
    let mut missing = before.clone();
    missing.0.remove("log_alpha/gradient_sum");
    let message = small.load(&missing).unwrap_err().to_string();
    assert!(message.contains("log_alpha/gradient_sum is missing"), "{message}");
    let mut extra = before.clone();
    extra.0.insert("other".into(), ingle::RecordItem::Counter(1));
    assert!(small.load(&extra).is_err());
    assert_same("sac", "law 7", &before, &small.save().unwrap(), 0.0);
}

#[test]
fn a_sample_on_another_device_is_refused() {
    // Two CPU backends are two devices.
    let Some(other) = ingle_testing::device_or_skip("ndarray", "a sample on another device") else { return };
    let flex: Device = ingle::device::open("flex").unwrap();
    let mut state = sac().init(0, &flex).unwrap();
    let elsewhere = Transitions::random(SIZES, 0, DType::F32, &other);
    assert!(matches!(sac().step(&mut state, elsewhere), Err(Error::Device { .. })));
}
