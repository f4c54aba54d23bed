//! N steps straight equal k steps, a new process, and N − k steps, bit for bit, wherever the cut is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use ingle_core::bc::BcConfig;
use ingle_core::sac::SacConfig;
use ingle_core::state::Visitor;
use ingle_core::td3::Td3Config;
use ingle_core::{
    Act, Checkpoint, CoreLearner, Error, Feedback, Learner, NStep, Nested, Policy, Record, RecordItem,
    Result, Sampler, Transitions,
};
use ingle_envs::{VectorEnvironment, make_vector};
use ingle_nested::ail::AilConfig;
use ingle_nested::rnd::RndConfig;
use ingle_replay::demonstrations::{
    DemonstrationConfig, DemonstrationSampler, Demonstrations, Recording, Spaces,
};
use ingle_replay::{
    Insert, NStepReplay, Priorities, PrioritisedReplay, ReplayConfig, Rows, UniformReplay, WithDemonstrations,
};
use ingle_train::{Checkpoints, Event, MetricsFile, Observer, StopReason, TrainConfig, TrainError, Trainer};

mod scratch;
use scratch::Scratch;

/// Seeds of the run, and of the learner that a checkpoint is loaded into: what is not saved shows.
const SEED: u64 = 3;
const OTHER: u64 = 400;

const BATCH: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Case {
    learner: &'static str,
    environments: usize,
    prioritised: bool,
}

impl Case {
    /// Rows that the replay holds: it wraps in the middle of the run.
    fn capacity(self) -> usize {
        23 * self.environments
    }

    /// All lengths are in rounds, of one step in each environment: the warm-up ends after round 10, the replay wraps
    /// after round 23, and episodes of the pendulum end after round 200.
    fn config(self, rounds: u64) -> TrainConfig {
        let count = self.environments as u64;
        TrainConfig {
            steps: rounds * count,
            warmup_steps: 10 * count,
            updates_per_step: 0.3,
            evaluation_interval: 50 * count,
            evaluation_episodes: 1,
            log_interval: 7 * count,
            checkpoint_interval: 0,
            ..TrainConfig::default()
        }
    }
}

/// Whichever replay.
enum Replay {
    Uniform(UniformReplay),
    Prioritised(PrioritisedReplay),
}

impl Replay {
    fn new(case: Case, seed: u64) -> Self {
        let config = ReplayConfig { capacity: case.capacity(), batch: BATCH, ..ReplayConfig::new(3, 1) };
        if case.prioritised {
            let priorities = Priorities { beta_samples: 50, ..Priorities::default() };
            Self::Prioritised(PrioritisedReplay::new(&config, priorities, seed, &Device::flex()).unwrap())
        } else {
            Self::Uniform(UniformReplay::new(&config, seed, &Device::flex()).unwrap())
        }
    }
}

impl Sampler for Replay {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        match self {
            Self::Uniform(replay) => replay.sample(),
            Self::Prioritised(replay) => replay.sample(),
        }
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        match self {
            Self::Uniform(replay) => replay.feedback(feedback),
            Self::Prioritised(replay) => replay.feedback(feedback),
        }
    }
}

impl Insert for Replay {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        match self {
            Self::Uniform(replay) => replay.insert(member, rows),
            Self::Prioritised(replay) => replay.insert(member, rows),
        }
    }
}

impl Checkpoint for Replay {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        match self {
            Self::Uniform(replay) => replay.checkpoint(visitor),
            Self::Prioritised(replay) => replay.checkpoint(visitor),
        }
    }
}

fn demonstrations(seed: u64) -> UniformReplay {
    let config = ReplayConfig { capacity: 10, batch: BATCH, ..ReplayConfig::new(3, 1) };
    let mut replay = UniformReplay::new(&config, seed ^ 1, &Device::flex()).unwrap();
    for row in 0..10 {
        let angle = row as f32 * 0.3;
        let rows = Rows {
            observation: &[angle.cos(), angle.sin(), 0.1],
            action: &[angle.sin()],
            reward: &[0.0],
            discount: &[0.99],
            truncated: &[false],
            next_observation: &[angle.cos(), angle.sin(), 0.2],
        };
        replay.insert(0, rows).unwrap();
    }
    replay
}

/// Two episodes, of which one terminated.
fn recorded() -> Demonstrations {
    let angle = |row: usize| row as f32 * 0.3;
    let observation = |row: usize| [angle(row).cos(), angle(row).sin(), 0.1];
    let recording = Recording {
        observation: (0..10).flat_map(observation).collect(),
        action: (0..10).map(|row| angle(row).sin()).collect(),
        reward: Some((0..10).map(|row| angle(row).cos()).collect()),
        next_observation: (1..11).flat_map(observation).collect(),
        terminated: (0..10).map(|row| row == 3).collect(),
        truncated: (0..10).map(|row| row == 9).collect(),
    };
    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    Demonstrations::new(spaces, recording).unwrap()
}

/// A run without environments of its own, evaluated in the pendulum.
fn offline<C>(config: &TrainConfig, core: C, seed: u64) -> Trainer<CoreLearner<C, DemonstrationSampler>>
where
    C: Act<Sample = Transitions>,
{
    let sampler = DemonstrationConfig { batch: BATCH, ..DemonstrationConfig::default() };
    let sampler = sampler.init(&recorded(), seed, &Device::flex()).unwrap();
    let learner = CoreLearner::new(core, sampler, seed, &Device::flex()).unwrap();
    Trainer::offline(learner, environments(config.evaluation_episodes), config.clone(), SEED).unwrap()
}

fn environments(count: usize) -> Vec<Box<dyn VectorEnvironment>> {
    vec![Box::new(make_vector("pendulum", count).unwrap())]
}

fn trainer<C, S>(
    case: Case,
    config: &TrainConfig,
    core: C,
    sampler: S,
    seed: u64,
) -> Trainer<CoreLearner<C, S>>
where
    C: Act,
    S: Sampler<Sample = C::Sample> + Insert,
{
    let learner = CoreLearner::new(core, sampler, seed, &Device::flex()).unwrap();
    let evaluation = environments(config.evaluation_episodes);
    Trainer::new(learner, environments(case.environments), evaluation, config.clone(), SEED).unwrap()
}

/// What is to be done with a case's trainers; the argument is the seed of learner and sampler.
trait Task {
    fn run<L: Learner + Policy + Checkpoint>(
        self,
        case: Case,
        make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
    );
}

fn with_case(case: Case, task: impl Task) {
    let hidden = || vec![5];
    let sac = || SacConfig { hidden: hidden(), ..SacConfig::default() }.init(3, 1).unwrap();
    let td3 = || Td3Config { hidden: hidden(), ..Td3Config::default() }.init(3, 1).unwrap();
    let rnd = || RndConfig { hidden: hidden(), ..RndConfig::default() }.init::<Transitions>(3).unwrap();
    let ail = || {
        let config = AilConfig { hidden: hidden(), gradient_penalty: 10.0, ..AilConfig::default() };
        config.init::<Transitions>(3, 1).unwrap()
    };
    let replay = |seed| Replay::new(case, seed);
    match case.learner {
        "sac" => task.run(case, &|seed, config| trainer(case, config, sac(), replay(seed), seed)),
        "td3" => task.run(case, &|seed, config| trainer(case, config, td3(), replay(seed), seed)),
        "sac, 3 steps" => task.run(case, &|seed, config| {
            // Cuts are in the middle of windows, but for those at an episode's end.
            let folding =
                NStepReplay::new(replay(seed), &ReplayConfig::new(3, 1), 3, case.environments).unwrap();
            trainer(case, config, NStep { direct: sac() }, folding, seed)
        }),
        "offline td3" => task.run(case, &|seed, config| offline(config, td3(), seed)),
        "offline bc" => task.run(case, &|seed, config| {
            let bc = BcConfig { hidden: hidden(), ..BcConfig::default() };
            offline(config, bc.init(3, 1).unwrap(), seed)
        }),
        "rnd+sac" => task.run(case, &|seed, config| {
            trainer(case, config, Nested { processor: rnd(), direct: sac() }, replay(seed), seed)
        }),
        _ => task.run(case, &|seed, config| {
            let sampler = WithDemonstrations { rl: replay(seed), demonstrations: demonstrations(seed) };
            trainer(case, config, Nested { processor: ail(), direct: td3() }, sampler, seed)
        }),
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let offline = ["offline td3", "offline bc"];
    let offline = offline.map(|learner| Case { learner, environments: 1, prioritised: false });
    let playing = ["sac", "td3", "sac, 3 steps", "rnd+sac", "ail+td3"].into_iter().flat_map(|learner| {
        [(1, false), (1, true), (8, false), (8, true)].map(|(environments, prioritised)| Case {
            learner,
            environments,
            prioritised,
        })
    });
    playing.chain(offline)
}

/// Sets the flag at a step, as a signal would.
struct StopAt {
    step: u64,
    flag: Arc<AtomicBool>,
}

impl Observer for StopAt {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let Event::Progress(progress) = event
            && progress.env_steps >= self.step
        {
            self.flag.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The run's metrics without what a clock put into them.
fn metrics(path: &Path) -> Vec<serde_json::Value> {
    fn without_seconds(mut value: serde_json::Value) -> serde_json::Value {
        if let Some(object) = value.as_object_mut() {
            object.remove("seconds");
        }
        value
    }
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| without_seconds(serde_json::from_str(line).unwrap())).collect()
}

fn latest(directory: &Path) -> Record {
    let (checkpoint, damaged) = Checkpoints::new(directory, "", 1).latest().unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let mut record = checkpoint.unwrap().record;
    // The clock, and how many digits its seconds took in the metrics (which are compared line by line).
    for name in ["trainer/seconds", "trainer/positions"] {
        record.0.remove(name).expect(name);
    }
    record
}

fn run<L: Learner + Policy + Checkpoint>(
    trainer: &mut Trainer<L>,
    directory: &Path,
    stop_at: Option<u64>,
) -> StopReason {
    let mut checkpoints = Checkpoints::new(directory, "a test", 1);
    let mut metrics = MetricsFile::open(&directory.join("metrics.jsonl")).unwrap();
    let mut stop = StopAt { step: stop_at.unwrap_or(u64::MAX), flag: trainer.stop_flag() };
    trainer.run_saving(&mut checkpoints, &mut [&mut metrics, &mut stop]).unwrap().reason
}

/// Runs straight, and cut and resumed at each of some rounds.
struct Cuts(Vec<u64>, u64);

impl Task for Cuts {
    fn run<L: Learner + Policy + Checkpoint>(
        self,
        case: Case,
        make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
    ) {
        let Self(cuts, rounds) = self;
        let config = case.config(rounds);
        let straight = Scratch::new();
        assert_eq!(run(&mut make(SEED, &config), &straight.0, None), StopReason::Steps);
        let expected = (latest(&straight.0), metrics(&straight.0.join("metrics.jsonl")));
        for cut in cuts {
            let directory = Scratch::new();
            let stop_at = cut * case.environments as u64;
            assert_eq!(run(&mut make(SEED, &config), &directory.0, Some(stop_at)), StopReason::Stopped);
            let saved = Checkpoints::new(&directory.0, "", 1).latest().unwrap().0.unwrap();
            assert_eq!(saved.manifest.step, stop_at);
            // A line that a kill tore, and one that it left after the checkpoint.
            let path = directory.0.join("metrics.jsonl");
            let mut text = std::fs::read_to_string(&path).unwrap();
            text.push_str("{\"event\":\"episode\",\"env_steps\":1}\n{\"event\":\"epi");
            std::fs::write(&path, text).unwrap();

            let mut resumed = make(OTHER, &config);
            resumed.load_checkpoint(&saved.record).unwrap();
            assert_eq!(run(&mut resumed, &directory.0, None), StopReason::Steps);
            assert_same(&format!("{case:?}, cut at {cut}"), &expected.0, &latest(&directory.0));
            assert_eq!(metrics(&path), expected.1, "{case:?}, cut at {cut}");
        }
    }
}

fn assert_same(what: &str, expected: &Record, actual: &Record) {
    let names = |record: &Record| record.0.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(expected), names(actual), "{what}");
    let differing: Vec<_> = expected.0.iter().filter(|(name, item)| actual.0[*name] != **item).collect();
    assert!(differing.is_empty(), "{what}: {:?}", differing.iter().map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn a_cut_anywhere_changes_nothing() {
    // In the warm-up and at its end (10), at the wrap (23), at an evaluation (50), at metrics (7, 14, ...), between.
    let cuts = vec![1, 2, 5, 7, 9, 10, 11, 12, 14, 21, 22, 23, 24, 25, 35, 42, 46, 47, 50, 51];
    for case in cases() {
        with_case(case, Cuts(cuts.clone(), 60));
    }
}

#[test]
fn a_cut_around_the_end_of_an_episode_changes_nothing() {
    for case in cases().filter(|case| case.prioritised) {
        with_case(case, Cuts(vec![199, 200, 201], 210));
    }
}

/// A run that is extended is the run that was long from the start, but for the evaluation at its first end.
struct Extended;

impl Task for Extended {
    fn run<L: Learner + Policy + Checkpoint>(
        self,
        case: Case,
        make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
    ) {
        let (straight, extended) = (Scratch::new(), Scratch::new());
        run(&mut make(SEED, &case.config(100)), &straight.0, None);
        run(&mut make(SEED, &case.config(50)), &extended.0, None);
        let mut resumed = make(OTHER, &case.config(100));
        resumed
            .load_checkpoint(&Checkpoints::new(&extended.0, "", 1).latest().unwrap().0.unwrap().record)
            .unwrap();
        assert_eq!(run(&mut resumed, &extended.0, None), StopReason::Steps);
        assert_same("extended", &latest(&straight.0), &latest(&extended.0));
        let path = |scratch: &Scratch| scratch.0.join("metrics.jsonl");
        assert_eq!(metrics(&path(&straight)), metrics(&path(&extended)));
        // Resuming what is finished changes nothing and tells its result again.
        let mut again = make(OTHER, &case.config(100));
        again
            .load_checkpoint(&Checkpoints::new(&extended.0, "", 1).latest().unwrap().0.unwrap().record)
            .unwrap();
        assert_eq!(run(&mut again, &extended.0, None), StopReason::Steps);
        assert_same("resumed at its end", &latest(&straight.0), &latest(&extended.0));
        assert_eq!(metrics(&path(&straight)), metrics(&path(&extended)));
    }
}

#[test]
fn a_run_can_be_extended() {
    with_case(Case { learner: "sac", environments: 1, prioritised: true }, Extended);
}

/// Leaves each item out in turn, and puts each item of a fresh run in its place.
struct Items;

impl Task for Items {
    fn run<L: Learner + Policy + Checkpoint>(
        self,
        case: Case,
        make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
    ) {
        let config = case.config(230);
        let straight = Scratch::new();
        run(&mut make(SEED, &config), &straight.0, None);
        let expected = latest(&straight.0);
        let expected_metrics = metrics(&straight.0.join("metrics.jsonl"));

        // After an episode's end, before metrics in a round without an update.
        let directory = Scratch::new();
        run(&mut make(SEED, &config), &directory.0, Some(202 * case.environments as u64));
        let saved = Checkpoints::new(&directory.0, "", 1).latest().unwrap().0.unwrap().record;
        let written = std::fs::read(directory.0.join("metrics.jsonl")).unwrap();
        // Another run, at another point.
        let other = Scratch::new();
        run(&mut make(OTHER, &config), &other.0, Some(37 * case.environments as u64));
        let other = Checkpoints::new(&other.0, "", 1).latest().unwrap().0.unwrap().record;

        for (name, item) in &saved.0 {
            let mut without = saved.clone();
            without.0.remove(name);
            match make(OTHER, &config).load_checkpoint(&without) {
                Err(Error::Record(problem)) => {
                    assert!(problem.contains(&format!("{name} is missing")), "{case:?}: {name}: {problem}");
                }
                loaded => panic!("{case:?}: loaded without {name}: {loaded:?}"),
            }
            // The clock, and what is equal in all runs, cannot show; the last evaluation shows where a run is resumed
            // that had ended, see above.
            if other.0[name] == *item || ["trainer/seconds", "trainer/evaluated"].contains(&name.as_str()) {
                continue;
            }
            let mut exchanged = saved.clone();
            exchanged.0.insert(name.clone(), other.0[name].clone());
            let mut resumed = make(OTHER, &config);
            if resumed.load_checkpoint(&exchanged).is_err() {
                continue;
            }
            let own = Scratch::new();
            std::fs::write(own.0.join("metrics.jsonl"), &written).unwrap();
            let mut checkpoints = Checkpoints::new(&own.0, "", 1);
            let mut file = MetricsFile::open(&own.0.join("metrics.jsonl")).unwrap();
            let mut progress = Means::default();
            if resumed.run_saving(&mut checkpoints, &mut [&mut file, &mut progress]).is_err() {
                continue;
            }
            checkpoints.finish().unwrap();
            let same =
                latest(&own.0) == expected && metrics(&own.0.join("metrics.jsonl")) == expected_metrics;
            assert!(!same, "{case:?}: {name} of another run makes no difference");
        }
    }
}

#[derive(Default)]
struct Means(Vec<Option<f64>>);

impl Observer for Means {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let Event::Progress(progress) = event {
            self.0.push(progress.mean_return);
        }
        Ok(())
    }
}

#[test]
fn every_item_is_needed() {
    for case in cases().filter(|case| case.prioritised && case.environments == 1) {
        with_case(case, Items);
    }
}

#[test]
fn another_run_is_refused_with_all_differences() {
    struct Other(Record);
    impl Task for Other {
        fn run<L: Learner + Policy + Checkpoint>(
            self,
            case: Case,
            make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
        ) {
            match make(SEED, &case.config(20)).load_checkpoint(&self.0) {
                Err(Error::Record(problem)) => {
                    assert!(problem.contains("learner/state/processor"), "{problem}");
                    assert!(problem.contains("environments/member-0"), "{problem}");
                }
                loaded => panic!("{loaded:?}"),
            }
        }
    }
    struct Save<'a>(&'a mut Record);
    impl Task for Save<'_> {
        fn run<L: Learner + Policy + Checkpoint>(
            self,
            case: Case,
            make: &dyn Fn(u64, &TrainConfig) -> Trainer<L>,
        ) {
            let mut trainer = make(SEED, &case.config(20));
            trainer.run(&mut []).unwrap();
            *self.0 = trainer.save_checkpoint().unwrap();
        }
    }
    let mut record = Record::default();
    let case = Case { learner: "sac", environments: 8, prioritised: false };
    with_case(case, Save(&mut record));
    assert!(record.0.values().any(|item| matches!(item, RecordItem::Streams(_))));
    with_case(Case { learner: "rnd+sac", environments: 1, prioritised: false }, Other(record));
}
