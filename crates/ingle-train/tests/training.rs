//! The loop, evaluation, observers and state files.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::sac::{Sac, SacConfig};
use ingle_core::{Acting, CoreLearner, Error, Learner, LearnerCore, Policy, Result, State, StepOutput};
use ingle_envs::{
    BoxSpace, EnvironmentError, LinearQuadratic, LinearQuadraticOptimum, VectorEnvironment, VectorStep,
    make_vector,
};
use ingle_replay::{Insert, ReplayConfig, Rows, UniformReplay};
use ingle_train::{
    Checkpoints, Event, MetricsFile, Observer, StopReason, TrainConfig, TrainError, Trainer, evaluate,
    read_record, write_record,
};

fn environments(name: &str, population: usize, count: usize) -> Vec<Box<dyn VectorEnvironment>> {
    (0..population)
        .map(|_| Box::new(make_vector(name, count).unwrap()) as Box<dyn VectorEnvironment>)
        .collect()
}

fn learner(population: usize, seed: u64) -> CoreLearner<Sac, UniformReplay> {
    let core = SacConfig { population, hidden: vec![8], ..SacConfig::default() }.init(3, 1).unwrap();
    let config = ReplayConfig { batch: 16, capacity: 1000, population, ..ReplayConfig::new(3, 1) };
    let replay = UniformReplay::new(&config, seed, &Device::flex()).unwrap();
    CoreLearner::new(core, replay, seed, &Device::flex()).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig {
        steps: 300,
        warmup_steps: 50,
        evaluation_episodes: 2,
        evaluation_interval: 0,
        ..TrainConfig::default()
    }
}

fn trainer(
    population: usize,
    count: usize,
    config: TrainConfig,
    seed: u64,
) -> Trainer<CoreLearner<Sac, UniformReplay>> {
    let evaluation = environments("pendulum", population, config.evaluation_episodes);
    Trainer::new(
        learner(population, seed),
        environments("pendulum", population, count),
        evaluation,
        config,
        seed,
    )
    .unwrap()
}

#[test]
fn the_update_ratio_is_exact_for_any_number_of_environments() {
    for (updates_per_step, count, expected) in
        [(1.0, 1, 250), (0.1, 1, 25), (0.25, 3, 62), (2.0, 4, 500), (1.0, 7, 251)]
    {
        let mut trainer = trainer(1, count, TrainConfig { updates_per_step, ..config() }, 0);
        let summary = trainer.run(&mut []).unwrap();
        assert_eq!(summary.updates, expected, "{updates_per_step} with {count} environments");
        assert_eq!(trainer.learner.updates(), expected);
        assert_eq!(summary.reason, StopReason::Steps);
        assert!(summary.env_steps >= 300 && summary.env_steps < 300 + count as u64);
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| {
        let mut trainer = trainer(1, 2, config(), seed);
        let summary = trainer.run(&mut []).unwrap();
        (trainer.learner.state.save().unwrap(), summary.evaluation)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn members_of_a_population_train_as_they_would_alone() {
    let mut together = trainer(2, 2, config(), 5);
    let summary = together.run(&mut []).unwrap();
    assert_eq!(summary.evaluation.len(), 2);
    for member in 0..2 {
        let mut alone = trainer(1, 2, config(), 5 + member as u64);
        alone.run(&mut []).unwrap();
        let own = together.learner.state.member(member).unwrap().save().unwrap();
        ingle_testing::laws::assert_same(
            "trainer",
            "law 5 (population)",
            &own,
            &alone.learner.state.save().unwrap(),
            1e-3,
        );
    }
}

/// What is best in the task `lqr`.
struct Regulator(LinearQuadraticOptimum, Device);

impl Policy for Regulator {
    fn observation_size(&self) -> usize {
        1
    }

    fn action_size(&self) -> usize {
        1
    }

    fn population(&self) -> usize {
        1
    }

    fn device(&self) -> &Device {
        &self.1
    }

    fn act(&self, observation: Tensor<3>, _: Acting) -> Result<Tensor<3>> {
        let shape = observation.dims();
        let observation = observation.into_data().try_to_vec::<f32>().unwrap();
        Ok(Tensor::from_data(TensorData::new(self.0.action(&observation), shape), &self.1))
    }
}

#[test]
fn sac_comes_close_to_a_known_optimum() {
    let config =
        TrainConfig { steps: 3000, warmup_steps: 300, evaluation_interval: 0, ..TrainConfig::default() };
    let core = SacConfig { hidden: vec![32, 32], ..SacConfig::default() }.init(1, 1).unwrap();
    let replay = ReplayConfig { batch: 64, capacity: 3000, ..ReplayConfig::new(1, 1) };
    let device = Device::flex();
    let replay = UniformReplay::new(&replay, 0, &device).unwrap();
    let learner = CoreLearner::new(core, replay, 0, &device).unwrap();
    let count = config.evaluation_episodes;
    let mut trainer =
        Trainer::new(learner, environments("lqr", 1, 1), environments("lqr", 1, count), config, 0).unwrap();
    trainer.run(&mut []).unwrap();
    // Returns are not discounted, and a hundred steps are for ever here. The same hundred starts for both:
    let optimum = LinearQuadratic::lqr().optimum(1.0).unwrap();
    let mut starts = environments("lqr", 1, 100);
    let best = evaluate(&Regulator(optimum, device), &mut starts, 9).unwrap()[0].mean_return;
    let ours = evaluate(&trainer.learner, &mut starts, 9).unwrap()[0].mean_return;
    assert!(ours < best + 1e-4 * best.abs(), "{ours} is better than the optimum, {best}");
    assert!(ours > 1.15 * best, "{ours}, and the optimum is {best}");
}

#[test]
fn a_run_stops_at_its_updates_or_its_target() {
    let summary = trainer(1, 1, TrainConfig { max_updates: Some(7), ..config() }, 0).run(&mut []).unwrap();
    assert_eq!((summary.updates, summary.reason), (7, StopReason::Updates));
    let target = TrainConfig { target_return: Some(-1e9), evaluation_interval: 100, ..config() };
    let summary = trainer(1, 1, target, 0).run(&mut []).unwrap();
    assert_eq!((summary.env_steps, summary.reason), (100, StopReason::TargetReturn));
    let unreachable = TrainConfig { target_return: Some(1e9), evaluation_interval: 100, ..config() };
    assert_eq!(trainer(1, 1, unreachable, 0).run(&mut []).unwrap().reason, StopReason::Steps);
}

#[derive(Default)]
struct Log {
    kinds: Vec<&'static str>,
    updates: Vec<u64>,
    evaluations: Vec<u64>,
}

impl Observer for Log {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        self.kinds.push(match event {
            Event::Progress(progress) => {
                self.updates.push(progress.updates);
                "progress"
            }
            Event::Episode { length, .. } => {
                assert_eq!(*length, 200);
                "episode"
            }
            Event::Metrics { metrics, .. } => {
                assert!(metrics["critic_loss"][0].is_finite());
                "metrics"
            }
            Event::Evaluation { env_steps, .. } => {
                self.evaluations.push(*env_steps);
                "evaluation"
            }
            Event::Finished(_) => "finished",
        });
        Ok(())
    }
}

#[test]
fn observers_see_everything() {
    let mut log = Log::default();
    let settings = TrainConfig { steps: 450, evaluation_interval: 200, log_interval: 100, ..config() };
    trainer(1, 1, settings, 0).run(&mut [&mut log]).unwrap();
    let count = |kind| log.kinds.iter().filter(|own| **own == kind).count();
    assert_eq!(
        [count("progress"), count("episode"), count("metrics"), count("evaluation"), count("finished")],
        [450, 2, 4, 3, 1]
    );
    assert_eq!(log.evaluations, [200, 400, 450]);
    assert_eq!(log.updates[..52], [[0; 50].as_slice(), &[1, 2]].concat(), "no update in the warm-up");
}

#[test]
fn the_metrics_file_is_json_lines() {
    let directory = scratch("metrics");
    let path = directory.join("metrics.jsonl");
    let mut file = MetricsFile::create(&path).unwrap();
    trainer(1, 1, TrainConfig { steps: 600, ..config() }, 0).run(&mut [&mut file]).unwrap();
    drop(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["episode", "episode", "metrics", "episode", "evaluation", "finished"]);
    assert!(events[2]["metrics"]["actor_loss"][0].is_number());
    assert!(matches!(MetricsFile::create(&path), Err(TrainError::File { .. })), "never overwritten");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn evaluation_is_deterministic_and_does_not_touch_training() {
    let mut quiet = trainer(1, 1, config(), 0);
    quiet.run(&mut []).unwrap();
    let mut often = trainer(1, 1, TrainConfig { evaluation_interval: 10, ..config() }, 0);
    often.run(&mut []).unwrap();
    assert_eq!(quiet.learner.state.save().unwrap(), often.learner.state.save().unwrap());
    let evaluate = |seed| evaluate(&quiet.learner, &mut environments("pendulum", 1, 3), seed).unwrap();
    assert_eq!(evaluate(1), evaluate(1));
    assert_ne!(evaluate(1), evaluate(2));
    assert_eq!(evaluate(1)[0].episodes, 3);
}

/// The first row of an insert.
struct Inserted {
    observation: Vec<f32>,
    discount: f32,
    truncated: bool,
    next_observation: Vec<f32>,
}

/// A learner that keeps what is inserted for each member and knows nothing else.
struct Recorder {
    device: Device,
    rows: Vec<Vec<Inserted>>,
}

impl Recorder {
    fn new(population: usize) -> Self {
        Self { device: Device::flex(), rows: (0..population).map(|_| Vec::new()).collect() }
    }
}

impl Learner for Recorder {
    type Sample = ();

    fn step(&mut self) -> Result<StepOutput> {
        Ok(StepOutput::default())
    }

    fn step_with(&mut self, (): ()) -> Result<StepOutput> {
        Ok(StepOutput::default())
    }
}

impl Policy for Recorder {
    fn observation_size(&self) -> usize {
        3
    }

    fn action_size(&self) -> usize {
        1
    }

    fn population(&self) -> usize {
        self.rows.len()
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn act(&self, observation: Tensor<3>, _: Acting) -> Result<Tensor<3>> {
        let [population, count, _] = observation.dims();
        Ok(Tensor::zeros([population, count, 1], &self.device))
    }
}

impl Insert for Recorder {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.rows[member].push(Inserted {
            observation: rows.observation.to_vec(),
            discount: rows.discount[0],
            truncated: rows.truncated[0],
            next_observation: rows.next_observation.to_vec(),
        });
        Ok(())
    }
}

#[test]
fn a_time_limit_keeps_the_bootstrap_and_the_real_successor() {
    let recorder = Recorder::new(1);
    let settings = TrainConfig { steps: 401, warmup_steps: 0, ..config() };
    let mut trainer = Trainer::new(
        recorder,
        environments("pendulum", 1, 1),
        environments("pendulum", 1, settings.evaluation_episodes),
        settings,
        0,
    )
    .unwrap();
    trainer.run(&mut []).unwrap();
    let rows = &trainer.learner.rows[0];
    for (step, pair) in rows.windows(2).enumerate() {
        assert!((pair[0].discount - 0.99).abs() < 1e-6, "a truncation is no termination");
        // Steps 200 and 400 end episodes: what follows is a new start, and not the successor that was stored.
        let goes_on = pair[0].next_observation == pair[1].observation;
        assert_eq!(goes_on, (step + 1) % 200 != 0, "step {step}");
    }
}

/// Counts its steps. Every second one ends an episode: by itself, by being cut off, or both, in turn.
struct Endings {
    spaces: [BoxSpace; 2],
    last: VectorStep,
    steps: u32,
}

/// Whether a step of [`Endings`] terminates, and whether it truncates.
fn ending(step: u32) -> (bool, bool) {
    match step % 6 {
        1 => (true, false),
        3 => (false, true),
        5 => (true, true),
        _ => (false, false),
    }
}

impl VectorEnvironment for Endings {
    fn len(&self) -> usize {
        1
    }

    fn observation_space(&self) -> &BoxSpace {
        &self.spaces[0]
    }

    fn action_space(&self) -> &BoxSpace {
        &self.spaces[1]
    }

    fn reset(&mut self, _: u64) -> std::result::Result<&[f32], EnvironmentError> {
        Ok(&self.last.observation)
    }

    fn step(&mut self, _: &[f32]) -> std::result::Result<&VectorStep, EnvironmentError> {
        (self.last.terminated[0], self.last.truncated[0]) = ending(self.steps);
        self.steps += 1;
        self.last.next_observation.fill(self.steps as f32);
        self.last.observation.fill(self.steps as f32);
        Ok(&self.last)
    }
}

#[test]
fn the_discount_is_gamma_of_the_member_and_0_where_an_episode_terminated() {
    let endings = |population: usize| -> Vec<Box<dyn VectorEnvironment>> {
        let space = |width: usize| BoxSpace::new(vec![-100.0; width], vec![100.0; width]).unwrap();
        let make = || Endings { spaces: [space(3), space(1)], last: VectorStep::new(1, 3), steps: 0 };
        (0..population).map(|_| Box::new(make()) as Box<dyn VectorEnvironment>).collect()
    };
    let gamma = [0.75, 0.5];
    let settings = TrainConfig { steps: 24, warmup_steps: 0, gamma: gamma.to_vec().into(), ..config() };
    let evaluation = environments("pendulum", 2, settings.evaluation_episodes);
    let mut trainer = Trainer::new(Recorder::new(2), endings(2), evaluation, settings, 0).unwrap();
    trainer.run(&mut []).unwrap();
    for (member, gamma) in gamma.into_iter().enumerate() {
        let rows = &trainer.learner.rows[member];
        assert_eq!(rows.len(), 24);
        for (step, row) in rows.iter().enumerate() {
            let (terminated, truncated) = ending(step as u32);
            assert_eq!(
                row.discount,
                if terminated { 0.0 } else { gamma as f32 },
                "member {member}, step {step}"
            );
            assert_eq!(row.truncated, truncated, "member {member}, step {step}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let wrong = Trainer::new(
        learner(1, 0),
        environments("mountain-car-continuous", 1, 1),
        environments("pendulum", 1, 2),
        config(),
        0,
    );
    assert!(matches!(
        wrong,
        Err(TrainError::Mismatch { what: "observation elements", environment: 2, learner: 3 })
    ));
    let wrong = Trainer::new(
        learner(2, 0),
        environments("pendulum", 1, 1),
        environments("pendulum", 2, 2),
        config(),
        0,
    );
    assert!(matches!(wrong, Err(TrainError::Mismatch { what: "members", .. })));
    let bad = TrainConfig {
        steps: 0,
        updates_per_step: -1.0,
        updates_per_call: 0,
        gamma: 1.5.into(),
        max_updates: Some(0),
        target_return: Some(f64::NAN),
        evaluation_episodes: 0,
        log_interval: 0,
        max_skipped_updates: 0,
        ..config()
    };
    match bad.validate() {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 9, "{problems:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_file_brings_back_every_bit() {
    let directory = scratch("state");
    let path = directory.join("state.safetensors");
    let mut trainer = trainer(2, 1, config(), 0);
    trainer.run(&mut []).unwrap();
    let record = trainer.learner.state.save().unwrap();
    write_record(&path, &record).unwrap();
    assert_eq!(read_record(&path).unwrap(), record);
    let mut fresh = trainer.learner.core.init(99, &Device::flex()).unwrap();
    fresh.load(&read_record(&path).unwrap()).unwrap();
    assert_eq!(fresh.save().unwrap(), record);
    let files: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["state.safetensors"], "nothing half-made stays behind");

    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(matches!(read_record(&path), Err(TrainError::Format { .. })), "cut at {cut}");
    }
    assert!(matches!(read_record(&directory.join("absent")), Err(TrainError::File { .. })));
    std::fs::remove_dir_all(directory).unwrap();
}

/// A trainer whose learner is not finite from the start: in the critics of the first member, or its actor.
fn poisoned(population: usize, actor: bool, config: TrainConfig) -> Trainer<CoreLearner<Sac, UniformReplay>> {
    let mut trainer = trainer(population, 1, config, 0);
    let state = &mut trainer.learner.state;
    let network = if actor { &mut state.actor } else { &mut state.critic };
    let mut data = network.parameters.to_data();
    data.as_mut_slice::<f32>().unwrap()[0] = f32::NAN;
    network.parameters = Tensor::from_data(data, &Device::flex());
    trainer
}

#[test]
fn a_learner_that_stands_still_ends_the_run() {
    let settings = || TrainConfig { log_interval: 10, max_skipped_updates: 15, ..config() };
    let mut trainer = poisoned(1, false, settings());
    match trainer.run(&mut []) {
        // Updates begin after step 50, and every tenth step is looked at.
        Err(TrainError::NotFinite { step: 70, skipped: 20, layer, not_finite }) => {
            assert_eq!(layer, "skipped_in_a_row");
            assert!(not_finite.contains(&"critic_loss (NaN)".to_owned()), "{not_finite:?}");
        }
        other => panic!("{other:?}"),
    }
    // The state names what it was; nothing is saved of it.
    let directory = scratch("standstill");
    let mut checkpoints = Checkpoints::new(&directory, "", 1);
    let error = poisoned(1, false, settings()).run_saving(&mut checkpoints, &mut []).unwrap_err().to_string();
    let expected =
        "the learner stands still at step 70: its last 20 updates (skipped_in_a_row) were left out";
    assert!(error.starts_with(expected), "{error}");
    assert!(error.contains("learner/state/critic/parameters"), "{error}");
    assert_eq!(checkpoints.steps().unwrap(), [0; 0]);
    std::fs::remove_dir_all(directory).unwrap();
    // Before the end, too, where it is not a step that is logged.
    let settings = TrainConfig { steps: 75, log_interval: 1000, ..settings() };
    assert!(matches!(poisoned(1, false, settings).run(&mut []), Err(TrainError::NotFinite { step: 75, .. })));
}

#[test]
fn one_member_that_stands_still_does_not_end_the_run_of_the_others() {
    let settings = TrainConfig { log_interval: 10, max_skipped_updates: 15, ..config() };
    let mut trainer = poisoned(2, false, settings.clone());
    assert_eq!(trainer.run(&mut []).unwrap().reason, StopReason::Steps);
    let mut alone = self::trainer(1, 1, settings, 1);
    alone.run(&mut []).unwrap();
    let own = trainer.learner.state.member(1).unwrap().save().unwrap();
    let alone = alone.learner.state.save().unwrap();
    ingle_testing::laws::assert_same("trainer", "law 5 (population)", &own, &alone, 1e-3);
}

#[test]
fn a_policy_that_is_not_finite_ends_the_run() {
    let settings = TrainConfig { max_skipped_updates: 1000, ..config() };
    let error = poisoned(2, true, settings).run(&mut []).unwrap_err();
    assert!(matches!(error, TrainError::ActionNotFinite { member: 0, .. }), "{error}");
}

/// A directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("ingle-{name}-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
