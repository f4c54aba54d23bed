//! The laws that every core and every nest must obey, on any device.
//!
//! ```no_run
//! use burn::tensor::DType;
//! use ingle::sac::SacConfig;
//! use ingle_testing::laws::{Subject, check_all};
//!
//! let subject = Subject::new("sac", |members: &[usize]| {
//!     SacConfig { population: members.len(), hidden: vec![16], ..SacConfig::default() }.init(3, 2).unwrap()
//! });
//! check_all(&subject, DType::F32, &ingle_testing::device());
//! ```

use burn::tensor::{DType, Device};
use ingle::{ExplicitNoise, Feedback, LearnerCore, Record, RecordItem, State, StepOutput};

use crate::sample::{Sizes, TestNoise, TestSample};
use crate::{numbers, values};

/// A core under test: a function that makes it for members with given numbers. Members with different numbers should
/// have different hyperparameters, where the core allows that.
pub struct Subject<F> {
    name: &'static str,
    make: F,
    feedback: bool,
    times: usize,
}

const SEED: u64 = 5;
const SIZES: Sizes = Sizes { population: 3, batch: 16, observation: 3, action: 2 };
/// Long enough for delayed updates and target intervals to come round several times.
const STEPS: u64 = 7;

impl<F> Subject<F> {
    /// A core for observations of 3 and actions of 2 elements.
    pub fn new<C>(name: &'static str, make: F) -> Self
    where
        F: Fn(&[usize]) -> C,
    {
        Self { name, make, feedback: true, times: 1 }
    }
}

impl<F> Subject<F> {
    /// A core that hands back no errors of rows.
    #[must_use]
    pub fn without_feedback(self) -> Self {
        Self { feedback: false, ..self }
    }

    /// A nest that hands `times` as many rows to its core as it gets: own ones and demonstrations.
    #[must_use]
    pub fn with_rows(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// Laws 1, 2, 4, 5, 7 and 8 (law 6 needs two devices: [`devices_agree`]).
///
/// # Panics
/// If one does not hold.
pub fn check_all<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: ExplicitNoise<Sample: TestSample, Noise: TestNoise>,
    F: Fn(&[usize]) -> C,
{
    determinism(subject, precision, device);
    resume(subject, precision, device);
    rows(subject, precision, device);
    population(subject, precision, device);
    errors(subject, precision, device);
    guard(subject, precision, device);
    many(subject, precision, device);
}

/// Law 1: two clones of a state, stepped with the same samples, are equal bit for bit.
///
/// # Panics
/// If it does not hold.
pub fn determinism<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let (core, mut state) = start(subject, &[0, 1, 2], precision, device);
    let mut clone = state.clone();
    steps(&core, &mut state, 0..STEPS, precision, device);
    let untouched = clone.save().unwrap();
    steps(&core, &mut clone, 0..STEPS, precision, device);
    assert_ne!(untouched, clone.save().unwrap(), "{}: nothing was learned", subject.name);
    assert_same(subject.name, "law 1 (determinism)", &state.save().unwrap(), &clone.save().unwrap(), 0.0);
}

/// Law 2: save, restore, step equals step, bit for bit.
///
/// # Panics
/// If it does not hold.
pub fn resume<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    for cut in [0, 1, STEPS / 2] {
        let (core, mut straight) = start(subject, &[0, 1, 2], precision, device);
        steps(&core, &mut straight, 0..cut, precision, device);
        let saved = straight.save().unwrap();
        // Whatever is not in the record keeps the value of another seed, and shows.
        let mut resumed = core.init(SEED + 100, device).unwrap();
        resumed.load(&saved).unwrap();
        steps(&core, &mut straight, cut..STEPS, precision, device);
        steps(&core, &mut resumed, cut..STEPS, precision, device);
        assert_same(subject.name, "law 2 (resume)", &straight.save().unwrap(), &resumed.save().unwrap(), 0.0);
    }
}

/// Law 4: permuting the rows of a batch permutes the feedback and its keys, and changes nothing else (up to the order
/// of summation).
///
/// # Panics
/// If it does not hold.
pub fn rows<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: ExplicitNoise<Sample: TestSample, Noise: TestNoise>,
    F: Fn(&[usize]) -> C,
{
    let (core, state) = start(subject, &[0, 1, 2], precision, device);
    let sample = C::Sample::random(SIZES, 1, precision, device);
    let noise = C::Noise::random_below(SIZES, subject.times, 2, precision, device);
    let order: Vec<usize> = (0..SIZES.batch).map(|row| (row * 5 + 3) % SIZES.batch).collect();
    let (mut a, mut b) = (state.clone(), state);
    let permuted_noise = noise.permute_below(&order, subject.times);
    let plain = core.step_with_noise(&mut a, sample.clone(), noise).unwrap().feedback;
    let permuted = core.step_with_noise(&mut b, sample.permute(&order), permuted_noise).unwrap().feedback;
    let law = "law 4 (rows)";
    assert_same(subject.name, law, &a.save().unwrap(), &b.save().unwrap(), tolerance(precision));
    let given = (plain.is_some(), permuted.is_some());
    assert_eq!(given, (subject.feedback, subject.feedback), "{}: {law}: feedback", subject.name);
    let (Some(plain), Some(permuted)) = (plain, permuted) else { return };
    for member in 0..SIZES.population {
        let (plain, permuted) = (errors_by_key(&plain, member), errors_by_key(&permuted, member));
        assert_eq!(plain.len(), permuted.len(), "{}: {law}: number of rows", subject.name);
        for ((key, plain), (other, permuted)) in plain.into_iter().zip(permuted) {
            assert_eq!(key, other, "{}: {law}: the keys", subject.name);
            assert_close(subject.name, &format!("{law}: {key:?}"), permuted, plain, tolerance(precision));
        }
    }
}

/// The errors of a member's rows with their keys, sorted: rows that a nest added have none, and come first.
fn errors_by_key(feedback: &Feedback, member: usize) -> Vec<(Option<u64>, f64)> {
    let rows = feedback.td_error.dims()[1];
    let (errors, keys) = (values(&feedback.td_error), feedback.keys.as_ref().unwrap());
    let own = member * rows..(member + 1) * rows;
    let mut pairs: Vec<_> = keys[own.clone()].iter().copied().zip(errors[own].iter().copied()).collect();
    let keyed = pairs.iter().filter(|(key, _)| key.is_some()).count();
    assert_eq!(keyed, SIZES.batch, "every row of the sample, and no other, has its key");
    pairs.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    pairs
}

/// Law 5: member p of a population equals the same learner trained alone, with its own seed, samples and
/// hyperparameters: on flex bit for bit, elsewhere up to the order of summation.
///
/// # Panics
/// If it does not hold.
pub fn population<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let law = "law 5 (population)";
    let tolerance = if *device == Device::flex() { 0.0 } else { tolerance(precision) };
    let (core, mut together) = start(subject, &[0, 1, 2], precision, device);
    let mut solos: Vec<_> = (0..3)
        .map(|member| {
            let solo = (subject.make)(&[member]);
            let state = precise(solo.init(SEED + member as u64, device).unwrap(), precision);
            let own = together.member(member).unwrap().save().unwrap();
            assert_same(
                subject.name,
                &format!("{law}: start of member {member}"),
                &own,
                &state.save().unwrap(),
                0.0,
            );
            (solo, state)
        })
        .collect();
    for step in 0..STEPS {
        let sample = C::Sample::random(SIZES, step, precision, device);
        for (member, (solo, state)) in solos.iter_mut().enumerate() {
            solo.step(state, sample.member(member)).unwrap();
        }
        core.step(&mut together, sample).unwrap();
    }
    let mut records = Vec::new();
    for (member, (_, state)) in solos.iter().enumerate() {
        let (own, alone) = (together.member(member).unwrap().save().unwrap(), state.save().unwrap());
        assert_same(subject.name, law, &own, &alone, tolerance);
        records.push(state.clone());
    }
    assert!(together.member(3).is_none(), "{}: {law}: there is no fourth member", subject.name);
    let stacked = State::stack(&records).unwrap().save().unwrap();
    assert_same(subject.name, law, &stacked, &together.save().unwrap(), tolerance);
}

/// Law 6: another device agrees with `reference` over many steps.
///
/// # Panics
/// If it does not.
pub fn devices_agree<C, F>(subject: &Subject<F>, reference: &Device, other: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let precision = DType::F32;
    let (core, mut state) = start(subject, &[0, 1, 2], precision, reference);
    let mut there = core.init(SEED, other).unwrap();
    // Initial parameters and all noise are drawn on the host: nothing needs to be copied over.
    for step in 0..5 * STEPS {
        let sample = C::Sample::random(SIZES, step, precision, reference);
        core.step(&mut there, sample.to(other)).unwrap();
        core.step(&mut state, sample).unwrap();
    }
    // As the reference traces: 1e-5 · (1 + t).
    let tolerance = 1e-5 * (1.0 + (5 * STEPS) as f64);
    assert_same(subject.name, "law 6 (device)", &state.save().unwrap(), &there.save().unwrap(), tolerance);
}

/// Law 7: a step that fails leaves the state as it was.
///
/// # Panics
/// If it does not hold, or a spoiled sample is accepted.
pub fn errors<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let law = "law 7 (errors)";
    let (core, mut state) = start(subject, &[0, 1, 2], precision, device);
    steps(&core, &mut state, 0..2, precision, device);
    let before = state.save().unwrap();
    for (what, spoiled) in C::Sample::random(SIZES, 3, precision, device).spoiled() {
        let error = core.step(&mut state, spoiled).err();
        assert!(error.is_some(), "{}: {law}: a sample with a wrong {what} was accepted", subject.name);
        assert_same(subject.name, law, &before, &state.save().unwrap(), 0.0);
    }
}

/// Law 8: a sample that is not finite for one member leaves that member's state finite, and the other members learn from
/// it as they would from any.
///
/// # Panics
/// If it does not hold.
pub fn guard<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let (core, mut state) = start(subject, &[0, 1, 2], precision, device);
    steps(&core, &mut state, 0..2, precision, device);
    let sample = C::Sample::random(SIZES, 2, precision, device);
    let mut healthy = state.clone();
    core.step(&mut healthy, sample.clone()).unwrap();
    for (what, poisoned) in sample.poisoned(1) {
        let law = format!("law 8 (guard): {what}");
        let mut hurt = state.clone();
        core.step(&mut hurt, poisoned).unwrap();
        for member in [0, 2] {
            let [own, other] = [&hurt, &healthy].map(|state| state.member(member).unwrap().save().unwrap());
            assert_same(subject.name, &law, &own, &other, 0.0);
        }
        // And it goes on from there.
        steps(&core, &mut hurt, 3..5, precision, device);
        for (name, item) in hurt.save().unwrap().0 {
            if let RecordItem::Tensor(data) = item {
                let finite = numbers(data).iter().all(|number| number.is_finite());
                assert!(finite, "{}: {law}: {name} is not finite", subject.name);
            }
        }
    }
}

/// Law 9: K updates at once equal K single ones, bit for bit, and hand back as many outputs; a sample that is refused leaves
/// what the ones before it have learned.
///
/// # Panics
/// If it does not hold.
pub fn many<C, F>(subject: &Subject<F>, precision: DType, device: &Device)
where
    C: LearnerCore<Sample: TestSample>,
    F: Fn(&[usize]) -> C,
{
    let law = "law 9 (updates at once)";
    let (core, start) = start(subject, &[0, 1, 2], precision, device);
    let samples: Vec<_> = (0..STEPS).map(|step| C::Sample::random(SIZES, step, precision, device)).collect();
    let (mut single, mut many, mut refused) = (start.clone(), start.clone(), start);
    let one_by_one: Vec<_> =
        samples.iter().map(|sample| core.step(&mut single, sample.clone()).unwrap()).collect();
    let at_once = core.step_many(&mut many, samples.clone()).unwrap();
    let expected = single.save().unwrap();
    assert_same(subject.name, law, &expected, &many.save().unwrap(), 0.0);
    assert_eq!(at_once.len(), one_by_one.len(), "{}: {law}: outputs", subject.name);
    for (one, other) in one_by_one.iter().zip(&at_once) {
        assert_eq!(one.metrics.read().unwrap(), other.metrics.read().unwrap(), "{}: {law}", subject.name);
        let errors = |output: &StepOutput| output.feedback.as_ref().map(|own| values(&own.td_error));
        assert_eq!(errors(one), errors(other), "{}: {law}", subject.name);
    }
    let (_, spoiled) = samples[0].spoiled().swap_remove(0);
    let with_one_wrong = samples.into_iter().chain([spoiled]).collect();
    assert!(core.step_many(&mut refused, with_one_wrong).is_err(), "{}: {law}", subject.name);
    assert_same(subject.name, law, &expected, &refused.save().unwrap(), 0.0);
}

/// The tolerance for a different order of summation, relative and absolute.
fn tolerance(precision: DType) -> f64 {
    if precision == DType::F64 { 1e-10 } else { 5e-5 }
}

fn start<C, F>(subject: &Subject<F>, members: &[usize], precision: DType, device: &Device) -> (C, C::State)
where
    C: LearnerCore,
    F: Fn(&[usize]) -> C,
{
    let core = (subject.make)(members);
    let state = precise(core.init(SEED, device).unwrap(), precision);
    (core, state)
}

/// Checks that the state that came is in the wanted precision.
fn precise<S: State>(state: S, precision: DType) -> S {
    for (name, item) in state.save().unwrap().0 {
        if let RecordItem::Tensor(data) = item {
            assert_eq!(data.dtype(), precision, "{name}: the core under test must be made in that precision");
        }
    }
    state
}

fn steps<C: LearnerCore<Sample: TestSample>>(
    core: &C,
    state: &mut C::State,
    range: std::ops::Range<u64>,
    precision: DType,
    device: &Device,
) {
    for step in range {
        core.step(state, C::Sample::random(SIZES, step, precision, device)).unwrap();
    }
}

/// Compares two saved states; a tolerance of 0 compares bits.
///
/// # Panics
/// If they differ by more.
pub fn assert_same(subject: &str, law: &str, a: &Record, b: &Record, tolerance: f64) {
    assert!(a.0.keys().eq(b.0.keys()), "{subject}: {law}: the items differ");
    for ((name, a), b) in a.0.iter().zip(b.0.values()) {
        match (a, b) {
            (RecordItem::Tensor(a), RecordItem::Tensor(b)) if tolerance > 0.0 => {
                for (a, b) in numbers(a.clone()).into_iter().zip(numbers(b.clone())) {
                    assert_close(subject, &format!("{law}: {name}"), a, b, tolerance);
                }
            }
            _ => assert!(a == b, "{subject}: {law}: {name} differs"),
        }
    }
}

fn assert_close(subject: &str, what: &str, a: f64, b: f64, tolerance: f64) {
    let allowed = tolerance * (1.0 + a.abs().max(b.abs()));
    assert!((a - b).abs() <= allowed, "{subject}: {what}: {a} and {b} differ by more than {allowed}");
}
