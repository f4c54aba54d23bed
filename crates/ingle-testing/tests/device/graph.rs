//! Graph replay: N replays equal N eager updates, on the devices that have graphs; and the reasons where there are none.

use burn::tensor::{DType, Device, Tensor};
use ingle::nested::ail::{Ail, AilConfig};
use ingle::nested::normalise::NormaliseConfig;
use ingle::nested::rnd::{Rnd, RndConfig};
use ingle::sac::{Sac, SacConfig, SacState, Temperature};
use ingle::td3::{Td3, Td3Config};
use ingle::{
    Act, Acting, Checkpoint, CoreLearner, Eager, Error, GraphLearner, GraphMode, Inputs, Learner,
    LearnerCore, Nested, Policy, Result, State, StepOutput, Transitions,
};
use ingle_testing::fakes::Queue;
use ingle_testing::laws::assert_same;
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device_or_skip, values};

use crate::alone;

const SIZES: Sizes = Sizes { population: 2, batch: 8, observation: 3, action: 2 };
const UPDATES: u64 = 10;
/// The same kernels on the same numbers.
const TOLERANCE: f64 = 1e-5;

/// A core that can be captured.
trait Capturable: LearnerCore<State: Send + 'static, Sample: Sent> + Act + Send + Sync + 'static {}

impl<C: LearnerCore<State: Send + 'static, Sample: Sent> + Act + Send + Sync + 'static> Capturable for C {}

trait Sent: TestSample + Inputs + Send + 'static {}

impl<S: TestSample + Inputs + Send + 'static> Sent for S {}

fn sac() -> Sac {
    SacConfig { population: 2, hidden: vec![8, 8], tau: vec![0.01, 0.02].into(), ..SacConfig::default() }
        .init(3, 2)
        .unwrap()
}

fn td3() -> Td3 {
    Td3Config { population: 2, hidden: vec![8, 8], tau: vec![0.01, 0.02].into(), ..Td3Config::default() }
        .init(3, 2)
        .unwrap()
}

fn rnd<S>() -> Rnd<S> {
    RndConfig { population: 2, hidden: vec![8], features: 4, ..RndConfig::default() }.init(3).unwrap()
}

fn ail<S>(config: AilConfig) -> Ail<S> {
    AilConfig { population: 2, hidden: vec![8], ..config }.init(3, 2).unwrap()
}

fn nested<P, C>(processor: P, direct: C) -> Nested<P, C> {
    Nested { processor, direct }
}

fn sample<S: TestSample>(seed: u64, device: &Device) -> S {
    S::random(SIZES, seed, DType::F32, device)
}

fn learner<C: Capturable>(core: C, device: &Device, mode: GraphMode) -> GraphLearner<C, Queue<C::Sample>> {
    GraphLearner::new(core, Queue::new(Vec::new()), 7, device, mode).unwrap()
}

fn assert_near(what: &str, a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= TOLERANCE * (1.0 + a.abs()), "{what}: {a} {b}");
    }
}

/// A learner that replays and one that does not, side by side: states, metrics and feedback are the same after every
/// update, and all but those in `eager`, the first of each kind, are replays.
fn replays_are_updates<C: Capturable>(name: &str, make: impl Fn() -> C, eager: &[u64], device: &Device) {
    let mut plain = CoreLearner::new(make(), (), 7, device).unwrap();
    let mut learner = learner(make(), device, GraphMode::On);
    let mut kept = Vec::new();
    for update in 0..UPDATES {
        let sample: C::Sample = sample(update, device);
        let expected = plain.core.step(&mut plain.state, sample.clone()).unwrap();
        let actual = learner.step_with(sample).unwrap();
        let reason = learner.eager();
        assert_eq!(reason.is_some(), eager.contains(&update), "{name}: update {update}: {reason:?}");
        let (theirs, ours) = (plain.state.save().unwrap(), learner.state().save().unwrap());
        assert_same(name, &format!("replay {update}"), &theirs, &ours, TOLERANCE);
        kept.push((expected, actual));
    }
    // What was handed out is what it was, however often the program ran since.
    for (update, (expected, actual)) in kept.into_iter().enumerate() {
        let (theirs, ours) = (expected.metrics.read().unwrap(), actual.metrics.read().unwrap());
        assert_eq!(theirs.len(), ours.len(), "{name}");
        for ((metric, theirs), (own, ours)) in theirs.iter().zip(&ours) {
            assert_eq!(metric, own, "{name}");
            assert_near(&format!("{name}: {metric} of update {update}"), theirs, ours);
        }
        let (theirs, ours) = (expected.feedback.unwrap(), actual.feedback.unwrap());
        assert_eq!(theirs.keys, ours.keys, "{name}: keys of update {update}");
        assert_near(
            &format!("{name}: errors of update {update}"),
            &values(&theirs.td_error),
            &values(&ours.td_error),
        );
    }
    let observation = Tensor::ones([1, 4, SIZES.observation], device);
    let theirs = plain.act(observation.clone(), Acting::Deterministic).unwrap();
    let ours = learner.act(observation, Acting::Deterministic).unwrap();
    assert_near(&format!("{name}: the policy"), &values(&theirs), &values(&ours));
}

#[test]
fn replays_of_sac_are_updates() {
    alone("replays of sac", |device| {
        replays_are_updates("sac", sac, &[0], &device);
        // Everything that is not the default; the targets follow in every third update.
        let unusual = || SacConfig {
            population: 2,
            hidden: vec![8],
            critics: 3,
            temperature: Temperature::Fixed(0.2.into()),
            target_update_interval: 3,
            max_gradient_norm: Some(0.05),
            ..SacConfig::default()
        };
        replays_are_updates("unusual sac", || unusual().init(3, 2).unwrap(), &[0, 2], &device);
    });
}

#[test]
fn replays_of_td3_are_updates() {
    alone("replays of td3", |device| {
        replays_are_updates("td3", td3, &[0, 1], &device);
        let cloning = || Td3Config {
            population: 2,
            hidden: vec![8],
            policy_delay: 3,
            behaviour_cloning: Some(2.5.into()),
            ..Td3Config::default()
        };
        replays_are_updates("td3+bc", || cloning().init(3, 2).unwrap(), &[0, 2], &device);
    });
}

#[test]
fn replays_of_nests_are_updates() {
    alone("replays of nests", |device| {
        replays_are_updates("rnd+sac", || nested(rnd(), sac()), &[0], &device);
        let penalty = || AilConfig { gradient_penalty: 10.0, ..AilConfig::default() };
        replays_are_updates("ail+sac", || nested(ail(penalty()), sac()), &[0], &device);
        replays_are_updates(
            "rnd+ail+td3",
            || nested(rnd(), nested(ail(AilConfig::default()), td3())),
            &[0, 1],
            &device,
        );
    });
}

#[test]
fn replays_of_nests_with_options_are_updates() {
    alone("replays of nests with options", |device| {
        let normalise = || NormaliseConfig { population: 2, ..NormaliseConfig::default() }.init(3).unwrap();
        replays_are_updates("normalise+sac", || nested(normalise(), sac()), &[0], &device);
        // A discriminator that learns from every other sample, and hands rows on that have no keys.
        let mixing = || AilConfig {
            spectral_normalisation: true,
            update_interval: 2,
            updates: 2,
            mix_demonstrations: true,
            ..AilConfig::default()
        };
        replays_are_updates("mixing+td3", || nested(ail(mixing()), td3()), &[0, 1], &device);
    });
}

#[test]
fn a_cpu_has_no_graphs() {
    for name in ["flex", "ndarray"] {
        let Some(device) = device_or_skip(name, "no graphs") else { continue };
        let mut plain = CoreLearner::new(sac(), (), 7, &device).unwrap();
        let mut learner = learner(sac(), &device, GraphMode::Auto);
        for update in 0..4 {
            plain.step_with(sample(update, &device)).unwrap();
            learner.step_with(sample(update, &device)).unwrap();
            let expected = if update == 0 { Eager::First } else { Eager::NoGraphs };
            assert_eq!(learner.eager(), Some(&expected));
        }
        let (theirs, ours) = (plain.state.save().unwrap(), learner.state().save().unwrap());
        assert_same("sac", "without graphs", &theirs, &ours, 0.0);
        let mut strict = self::learner(sac(), &device, GraphMode::On);
        strict.step_with(sample(0, &device)).unwrap();
        let before = strict.state().save().unwrap();
        let error = strict.step_with(sample(1, &device)).unwrap_err();
        assert!(matches!(error, Error::Graph(Eager::NoGraphs)), "{error}");
        assert!(error.to_string().contains("the device has no graphs"), "{error}");
        assert_same("sac", "law 7", &before, &strict.state().save().unwrap(), 0.0);
        assert_eq!(strict.updates(), 1);
        let mut off = self::learner(sac(), &device, GraphMode::Off);
        off.step_with(sample(0, &device)).unwrap();
        assert_eq!(off.eager(), Some(&Eager::Off));
    }
}

/// SAC with something that no captured program can have.
struct Spoiled {
    sac: Sac,
    how: Spoil,
}

#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    /// Does not say what it decides.
    Silent,
    /// Reads a tensor.
    Reads,
    /// Makes a tensor of numbers on the host.
    Uploads,
    /// Multiplies with a number that changes from update to update.
    Anneals,
}

impl LearnerCore for Spoiled {
    type State = SacState;
    type Sample = Transitions;

    fn init(&self, seed: u64, device: &Device) -> Result<SacState> {
        self.sac.init(seed, device)
    }

    fn step(&self, state: &mut SacState, sample: Transitions) -> Result<StepOutput> {
        let reward = sample.reward.clone();
        let reward = match self.how {
            Spoil::Silent => reward,
            Spoil::Reads => reward.clone() * values(&reward)[0],
            Spoil::Uploads => reward.clone() * Tensor::from_floats([[2.0]], &reward.device()),
            Spoil::Anneals => reward.mul_scalar(1.0 / (state.updates + 1) as f64),
        };
        self.sac.step(state, Transitions { reward, ..sample })
    }

    fn decisions(&self, state: &SacState) -> Option<Vec<bool>> {
        if self.how == Spoil::Silent { None } else { self.sac.decisions(state) }
    }
}

impl Act for Spoiled {
    fn observation_size(&self) -> usize {
        self.sac.observation_size()
    }

    fn action_size(&self) -> usize {
        self.sac.action_size()
    }

    fn population(&self) -> usize {
        self.sac.population()
    }

    fn act(&self, state: &SacState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.sac.act(state, observation, acting)
    }
}

/// What cannot be replayed is done eagerly, is right, and has its reason.
#[test]
fn a_core_that_cannot_be_captured_is_stepped_eagerly() {
    alone("cores that cannot be captured", |device| {
        let core = |how| Spoiled { sac: sac(), how };
        for how in [Spoil::Silent, Spoil::Reads, Spoil::Uploads, Spoil::Anneals] {
            let mut plain = core(how).init(7, &device).unwrap();
            let mut learner = learner(core(how), &device, GraphMode::Auto);
            for update in 0..4 {
                core(how).step(&mut plain, sample(update, &device)).unwrap();
                learner.step_with(sample(update, &device)).unwrap();
            }
            let reason = learner.eager().unwrap();
            let expected = match how {
                Spoil::Silent => matches!(reason, Eager::Undeclared),
                Spoil::Reads | Spoil::Uploads => matches!(reason, Eager::Refused),
                Spoil::Anneals => matches!(reason, Eager::Differs { .. }),
            };
            assert!(expected, "{reason:?}");
            assert_same(
                "spoiled",
                "eager",
                &plain.save().unwrap(),
                &learner.state().save().unwrap(),
                TOLERANCE,
            );
        }
    });
}

/// Whatever comes between replays: other shapes, a saved run, another state, another thread.
#[test]
fn replays_go_on_after_everything_that_may_come_between() {
    alone("what comes between replays", |device| {
        let mut plain = CoreLearner::new(td3(), (), 7, &device).unwrap();
        let mut learner = GraphLearner::new(td3(), (), 7, &device, GraphMode::Auto).unwrap();
        let mut seeds = 0..;
        let mut updates = |plain: &mut CoreLearner<Td3, ()>,
                           learner: &mut GraphLearner<Td3, ()>,
                           count,
                           batch| {
            for seed in seeds.by_ref().take(count) {
                let sample = Transitions::random(Sizes { batch, ..SIZES }, seed, DType::F32, &device);
                plain.step_with(sample.clone()).unwrap();
                learner.step_with(sample).unwrap();
                let (theirs, ours) = (plain.state.save().unwrap(), learner.state().save().unwrap());
                let what =
                    format!("{count} updates on {batch} rows, {}: {:?}", learner.updates(), learner.eager());
                assert_same("td3", &what, &theirs, &ours, TOLERANCE);
            }
            learner.eager().cloned()
        };
        assert_eq!(updates(&mut plain, &mut learner, 5, 8), None);
        // Two batches of another size are stepped eagerly; then they have programs too.
        assert_eq!(updates(&mut plain, &mut learner, 1, 6), Some(Eager::First));
        assert_eq!(updates(&mut plain, &mut learner, 2, 8), None);
        assert_eq!(updates(&mut plain, &mut learner, 4, 6), None);
        assert_eq!(updates(&mut plain, &mut learner, 2, 8), None);
        // A refused sample changes nothing.
        let before = learner.state().save().unwrap();
        let spoiled = sample::<Transitions>(0, &device).spoiled();
        for (what, spoiled) in spoiled.into_iter().take(3) {
            assert!(learner.step_with(spoiled).is_err(), "{what}");
            assert_same("td3", "law 7", &before, &learner.state().save().unwrap(), 0.0);
        }
        assert_eq!(updates(&mut plain, &mut learner, 2, 8), None);
        // A copy of the state stays as it is.
        let copy = learner.state();
        let record = copy.save().unwrap();
        updates(&mut plain, &mut learner, 3, 8);
        assert_same("td3", "a copy", &record, &copy.save().unwrap(), 0.0);
        // Back to a checkpoint.
        let saved = learner.save_checkpoint().unwrap();
        let earlier = plain.state.clone();
        updates(&mut plain, &mut learner, 3, 8);
        learner.load_checkpoint(&saved).unwrap();
        plain.state = earlier.clone();
        let (theirs, ours) = (plain.state.save().unwrap(), learner.state().save().unwrap());
        assert_same("td3", "a checkpoint", &theirs, &ours, TOLERANCE);
        assert_eq!(updates(&mut plain, &mut learner, 6, 8), None);
        // Another state.
        plain.state = earlier.clone();
        learner.set_state(earlier);
        assert_eq!(updates(&mut plain, &mut learner, 6, 8), None);
        // Another thread, where what was captured here cannot run: it is captured again there.
        let sample = |seed| Transitions::random(SIZES, seed, DType::F32, &device);
        for seed in 100..106 {
            plain.step_with(sample(seed)).unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for seed in 100..106 {
                    learner.step_with(sample(seed)).unwrap();
                }
                assert_eq!(learner.eager(), None);
            });
        });
        let (theirs, ours) = (plain.state.save().unwrap(), learner.state().save().unwrap());
        assert_same("td3", "another thread", &theirs, &ours, TOLERANCE);
        updates(&mut plain, &mut learner, 6, 8);
    });
}

#[test]
fn shapes_that_keep_changing_end_in_eager_updates() {
    alone("shapes that keep changing", |device| {
        let small = || SacConfig { hidden: vec![4], ..SacConfig::default() }.init(3, 2).unwrap();
        let mut learner = learner(small(), &device, GraphMode::Auto);
        for batch in 1..20 {
            let sizes = Sizes { population: 1, batch, ..SIZES };
            learner.step_with(Transitions::random(sizes, 0, DType::F32, &device)).unwrap();
        }
        assert_eq!(learner.eager(), Some(&Eager::TooMany(16)));
    });
}
