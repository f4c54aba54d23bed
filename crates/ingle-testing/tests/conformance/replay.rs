//! Samplers under cores and nests: priorities, n-step returns, and one sample a step in an exact ratio.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use burn::tensor::Device;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::ail::AilConfig;
use ingle::nested::rnd::RndConfig;
use ingle::random::RandomStream;
use ingle::replay::demonstrations::{DemonstrationConfig, DemonstrationSampler, Demonstrations, Spaces};
use ingle::replay::{
    Data, Insert, Mixed, NStepReplay, Place, Priorities, PrioritisedReplay, ReplayConfig, Rows,
    UniformReplay, WithDemonstrations,
};
use ingle::sac::{Sac, SacConfig};
use ingle::state::Visitor;
use ingle::td3::{Td3, Td3Config};
use ingle::train::TrainError;
use ingle::{
    Checkpoint, CoreLearner, Error, Feedback, Learner, LearnerCore, NStep, Nested, NestedLearner, RecordItem,
    Result, SampleProcessor, Sampler, State, StepOutput, TrainConfig, Trainer, Transitions,
};
use ingle_testing::laws::assert_same;
use ingle_testing::{device, values};

const BATCH: usize = 6;

fn sac(population: usize) -> Sac {
    SacConfig { population, hidden: vec![8], ..SacConfig::default() }.init(3, 1).unwrap()
}

fn td3(population: usize) -> Td3 {
    Td3Config { population, hidden: vec![8], ..Td3Config::default() }.init(3, 1).unwrap()
}

fn rnd<S>(population: usize) -> ingle::nested::rnd::Rnd<S> {
    RndConfig { population, hidden: vec![8], ..RndConfig::default() }.init(3).unwrap()
}

fn ail<S>(population: usize) -> ingle::nested::ail::Ail<S> {
    AilConfig { population, hidden: vec![8], ..AilConfig::default() }.init(3, 1).unwrap()
}

fn config(population: usize) -> ReplayConfig {
    ReplayConfig { capacity: 100, batch: BATCH, population, data: Data::Own, ..ReplayConfig::new(3, 1) }
}

fn prioritised(population: usize) -> PrioritisedReplay {
    PrioritisedReplay::new(&config(population), Priorities::default(), 3, &device()).unwrap()
}

fn expert(population: usize) -> DemonstrationSampler {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demonstrations/pendulum.safetensors");
    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let config = DemonstrationConfig { batch: BATCH, population, ..DemonstrationConfig::default() };
    config.init(&Demonstrations::read(&path, spaces).unwrap(), 1, &device()).unwrap()
}

/// 20 random steps of one environment for each member.
fn fill(replay: &mut impl Insert, population: usize) {
    let mut stream = RandomStream::new(9, 0);
    for _ in 0..20 {
        for member in 0..population {
            let mut numbers = [0.0; 8];
            stream.fill_uniform(-1.0, 1.0, &mut numbers);
            let rows = Rows {
                observation: &numbers[..3],
                action: &numbers[3..4],
                reward: &numbers[4..5],
                discount: &[0.99],
                truncated: &[false],
                next_observation: &numbers[5..],
            };
            replay.insert(member, rows).unwrap();
        }
    }
}

/// The priorities to the power of α, a list for each member, wherever in the sampler the prioritised replay is.
fn weights(sampler: &mut impl Checkpoint) -> Vec<Vec<f64>> {
    let items = sampler.save_checkpoint().unwrap().0;
    items
        .into_iter()
        .filter(|(name, _)| name.contains("weights-"))
        .map(|(_, item)| match item {
            RecordItem::Tensor(data) => data.try_into_vec::<f64>().unwrap(),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Steps a learner and checks that the errors of its rows, and of no others, have become their priorities. `own` takes a
/// key to the prioritised replay's own, if it is one of its.
fn priorities_move<C, S>(name: &str, core: C, sampler: S, own: impl Fn(u64) -> Option<u64>)
where
    C: LearnerCore + Clone,
    S: Sampler<Sample = C::Sample> + Checkpoint + Clone,
{
    let mut learner = CoreLearner::new(core, sampler, 0, &device()).unwrap();
    for _ in 0..3 {
        let mut expected = weights(&mut learner.sampler);
        // The same step by hand.
        let sample = learner.sampler.clone().sample().unwrap();
        let mut state = learner.state.clone();
        let feedback = learner.core.step(&mut state, sample).unwrap().feedback.unwrap();
        let [_, batch] = feedback.td_error.dims();
        let Priorities { alpha, epsilon, .. } = Priorities::default();
        let errors = values(&feedback.td_error);
        for (row, (key, error)) in feedback.keys.unwrap().iter().zip(errors).enumerate() {
            if let Some(key) = key.and_then(&own) {
                expected[row / batch][key as usize] = (error.abs() + epsilon).powf(alpha);
            }
        }
        let before = weights(&mut learner.sampler);
        learner.step().unwrap();
        let after = weights(&mut learner.sampler);
        assert_eq!(after, expected, "{name}");
        for (before, after) in before.into_iter().zip(after) {
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert!((1..=BATCH).contains(&moved), "{name}: {moved} priorities moved");
        }
    }
}

#[test]
fn priorities_follow_the_errors_through_every_nest() {
    for population in [1, 2] {
        let mut replay = prioritised(population);
        fill(&mut replay, population);
        let with = |rl| WithDemonstrations { rl, demonstrations: expert(population) };
        priorities_move("sac", sac(population), replay.clone(), Some);
        priorities_move("td3", td3(population), replay.clone(), Some);
        let nest = Nested { processor: rnd(population), direct: td3(population) };
        priorities_move("rnd+td3", nest, replay.clone(), Some);
        let nest = Nested {
            processor: rnd(population),
            direct: Nested { processor: ail::<Transitions>(population), direct: sac(population) },
        };
        priorities_move("rnd+ail+sac", nest, with(replay.clone()), Some);
        // Half of the rows are demonstrations, whose errors go elsewhere.
        let mixed = Mixed { own: replay.clone(), other: expert(population) };
        let even = |key: u64| key.is_multiple_of(2).then_some(key / 2);
        priorities_move("sac, mixed", sac(population), mixed.clone(), even);
        let nest = Nested { processor: ail::<Transitions>(population), direct: sac(population) };
        let double = DemonstrationConfig { batch: 2 * BATCH, population, ..DemonstrationConfig::default() };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demonstrations/pendulum.safetensors");
        let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
        let demonstrations =
            double.init(&Demonstrations::read(&path, spaces).unwrap(), 1, &device()).unwrap();
        priorities_move("ail+sac, mixed", nest, WithDemonstrations { rl: mixed, demonstrations }, even);
        let mut folded = NStepReplay::new(prioritised(population), &config(population), 3, 1).unwrap();
        fill(&mut folded, population);
        priorities_move("td3, 3 steps", NStep { direct: td3(population) }, folded, Some);
    }
}

#[test]
fn priorities_move_under_a_learner_whose_state_is_elsewhere() {
    let mut replay = prioritised(1);
    fill(&mut replay, 1);
    let processor = rnd::<Transitions>(1);
    let state = processor.init(0, &device()).unwrap();
    let direct = CoreLearner::new(sac(1), Never, 0, &device()).unwrap();
    let mut learner = NestedLearner { processor, state, direct, sampler: replay };
    let before = weights(&mut learner.sampler);
    let keys = learner.sampler.clone().sample().unwrap().keys.unwrap();
    assert!(learner.step().unwrap().feedback.is_none(), "the sampler has it");
    let after = weights(&mut learner.sampler);
    for (key, (before, after)) in before[0].iter().zip(&after[0]).enumerate() {
        assert_eq!(before != after, keys.contains(&Some(key as u64)), "row {key}: {before} {after}");
    }
}

/// A sampler that nobody may ask.
#[derive(Debug)]
struct Never;

impl Sampler for Never {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        Err(Error::Sample("an inner learner's own sampler is never asked".into()))
    }
}

impl Insert for Never {
    fn insert(&mut self, _: usize, _: Rows<'_>) -> Result<()> {
        Err(Error::Sample("nothing is inserted into an inner learner's own sampler".into()))
    }
}

impl Checkpoint for Never {
    fn checkpoint(&mut self, _: &mut Visitor<'_>) {}
}

/// How often a sampler was asked for a sample, and how often it was given feedback.
#[derive(Debug, Clone, Default)]
struct Counters {
    samples: Rc<Cell<u64>>,
    feedback: Rc<Cell<u64>>,
}

/// Counts how often it is asked and told.
#[derive(Debug, Clone)]
struct Counted<S> {
    sampler: S,
    counters: Counters,
}

impl<S> Counted<S> {
    fn new(sampler: S) -> Self {
        Self { sampler, counters: Counters::default() }
    }
}

impl<S: Sampler> Sampler for Counted<S> {
    type Sample = S::Sample;

    fn sample(&mut self) -> Result<S::Sample> {
        self.counters.samples.set(self.counters.samples.get() + 1);
        self.sampler.sample()
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.counters.feedback.set(self.counters.feedback.get() + 1);
        self.sampler.feedback(feedback)
    }
}

impl<S: Insert> Insert for Counted<S> {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.sampler.insert(member, rows)
    }

    fn begin(&mut self) {
        self.sampler.begin();
    }

    fn lag(&self) -> usize {
        self.sampler.lag()
    }
}

impl<S: Checkpoint> Checkpoint for Counted<S> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.sampler.checkpoint(visitor);
    }
}

fn pendulum(environments: usize) -> Vec<Box<dyn VectorEnvironment>> {
    vec![Box::new(make_vector("pendulum", environments).unwrap())]
}

const WARMUP: u64 = 20;

fn train_config(updates_per_step: f64) -> TrainConfig {
    TrainConfig {
        steps: 60,
        warmup_steps: WARMUP,
        updates_per_step,
        evaluation_interval: 0,
        evaluation_episodes: 1,
        ..TrainConfig::default()
    }
}

fn uniform(device: &Device) -> UniformReplay {
    UniformReplay::new(&config(1), 0, device).unwrap()
}

/// Trains `learner` in two environments and returns how many updates were made.
fn train<L>(learner: L, updates_per_step: f64) -> u64
where
    L: Learner + ingle::Policy + Insert + Checkpoint,
{
    let mut trainer =
        Trainer::new(learner, pendulum(2), pendulum(1), train_config(updates_per_step), 0).unwrap();
    trainer.run(&mut []).unwrap();
    trainer.updates()
}

#[test]
fn one_sample_is_drawn_a_step_in_the_exact_ratio_whatever_the_nest() {
    let device = device();
    for ratio in [0.3, 1.0, 2.5] {
        let due = ((60 - WARMUP) as f64 * ratio + 1e-9).floor() as u64;
        let check = |name: &str, updates: u64, counted: &[Counters]| {
            assert_eq!(updates, due, "{name}, {ratio} updates a step");
            for counters in counted {
                assert_eq!(counters.samples.get(), due, "{name}, {ratio} updates a step");
            }
            assert_eq!(counted[0].feedback.get(), due, "{name}: the feedback of every step");
        };
        let sampler = Counted::new(uniform(&device));
        let counted = sampler.counters.clone();
        check("sac", train(CoreLearner::new(sac(1), sampler, 0, &device).unwrap(), ratio), &[counted]);

        let (own, other) = (Counted::new(uniform(&device)), Counted::new(expert(1)));
        let counted = [own.counters.clone(), other.counters.clone()];
        let nest =
            Nested { processor: rnd(1), direct: Nested { processor: ail::<Transitions>(1), direct: td3(1) } };
        let sampler = WithDemonstrations { rl: own, demonstrations: other };
        check("rnd+ail+td3", train(CoreLearner::new(nest, sampler, 0, &device).unwrap(), ratio), &counted);

        let sampler = Counted::new(uniform(&device));
        let counted = sampler.counters.clone();
        let processor = rnd::<Transitions>(1);
        let state = processor.init(0, &device).unwrap();
        let direct = CoreLearner::new(sac(1), Never, 0, &device).unwrap();
        let learner = NestedLearner { processor, state, direct, sampler };
        check("rnd over a learner", train(learner, ratio), &[counted]);

        let replay = NStepReplay::new(uniform(&device), &config(1), 3, 2).unwrap();
        let sampler = Counted::new(replay);
        let counted = sampler.counters.clone();
        let learner = CoreLearner::new(NStep { direct: sac(1) }, sampler, 0, &device).unwrap();
        check("sac, 3 steps", train(learner, ratio), &[counted]);
    }
}

#[test]
fn a_warm_up_that_ends_before_the_first_window_is_refused() {
    let learner = || {
        let replay = NStepReplay::new(uniform(&device()), &config(1), 5, 2).unwrap();
        CoreLearner::new(NStep { direct: sac(1) }, replay, 0, &device()).unwrap()
    };
    let config = |warmup_steps| TrainConfig { warmup_steps, ..train_config(1.0) };
    for warmup in [0, 1, 8] {
        match Trainer::new(learner(), pendulum(2), pendulum(1), config(warmup), 0) {
            Err(TrainError::Learner(Error::Config(problems))) => {
                assert!(problems[0].starts_with("warmup_steps: must be above 8"), "{problems:?}");
            }
            other => panic!("{:?}", other.err()),
        }
    }
    Trainer::new(learner(), pendulum(2), pendulum(1), config(9), 0).unwrap().run(&mut []).unwrap();
}

/// Five updates in one call and five calls leave learner and sampler alike.
fn many_equal_single<C, S>(name: &str, core: &C, sampler: &S)
where
    C: LearnerCore + Clone,
    S: Sampler<Sample = C::Sample> + Checkpoint + Clone,
{
    let learner = || CoreLearner::new(core.clone(), sampler.clone(), 0, &device()).unwrap();
    let (mut single, mut many) = (learner(), learner());
    let one_by_one: Vec<StepOutput> = (0..5).map(|_| single.step().unwrap()).collect();
    let at_once = many.step_many(5).unwrap();
    assert_eq!((many.updates(), at_once.len()), (5, 5), "{name}");
    for (one, other) in one_by_one.iter().zip(&at_once) {
        assert_eq!(one.metrics.read().unwrap(), other.metrics.read().unwrap(), "{name}");
        assert!(other.feedback.is_none(), "{name}: the sampler has it");
    }
    let (single, many) = (single.save_checkpoint().unwrap(), many.save_checkpoint().unwrap());
    assert_same(name, "updates at once", &single, &many, 0.0);
}

#[test]
fn updates_at_once_equal_single_ones_with_every_sampler() {
    for population in [1, 3] {
        for place in [Place::Host, Place::Device] {
            let config = ReplayConfig { place, ..config(population) };
            let mut uniform = UniformReplay::new(&config, 3, &device()).unwrap();
            let mut prioritised =
                PrioritisedReplay::new(&config, Priorities::default(), 3, &device()).unwrap();
            fill(&mut uniform, population);
            fill(&mut prioritised, population);
            let mut folded = NStepReplay::new(uniform.clone(), &config, 3, 1).unwrap();
            fill(&mut folded, population);
            many_equal_single("sac", &sac(population), &uniform);
            // Each of its samples depends on the feedback on the one before.
            many_equal_single("td3, prioritised", &td3(population), &prioritised);
            many_equal_single("sac, 3 steps", &NStep { direct: sac(population) }, &folded);
            let mixed = Mixed { own: prioritised.clone(), other: expert(population) };
            many_equal_single("td3, mixed", &td3(population), &mixed);
            let nest = || Nested { processor: ail::<Transitions>(population), direct: td3(population) };
            let with = |rl| WithDemonstrations { rl, demonstrations: expert(population) };
            many_equal_single("ail+td3", &nest(), &with(uniform));
            let with = |rl| WithDemonstrations { rl, demonstrations: expert(population) };
            many_equal_single("ail+td3, prioritised", &nest(), &with(prioritised));
        }
    }
}

#[test]
fn an_n_step_core_is_its_direct_core_on_the_folded_rows() {
    let mut replay = NStepReplay::new(uniform(&device()), &config(1), 3, 1).unwrap();
    fill(&mut replay, 1);
    let (core, direct) = (NStep { direct: sac(1) }, sac(1));
    let (mut folded, mut plain) = (core.init(4, &device()).unwrap(), direct.init(4, &device()).unwrap());
    for _ in 0..3 {
        let sample = replay.sample().unwrap();
        direct.step(&mut plain, sample.clone().into_inner()).unwrap();
        let StepOutput { feedback, .. } = core.step(&mut folded, sample).unwrap();
        assert_eq!(feedback.unwrap().keys.unwrap().len(), BATCH);
    }
    assert_same("n-step sac", "forwarding", &folded.save().unwrap(), &plain.save().unwrap(), 0.0);
}
