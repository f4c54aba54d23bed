//! A learner that owns its parameters, in a process of its own, below the same processors as every core.

use std::error::Error as _;
use std::fmt::Debug;
use std::process::Command;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Tensor};
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::ImitationSample;
use ingle::nested::ail::{Ail, AilConfig};
use ingle::nested::rnd::{Rnd, RndConfig};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::train::process::{Answer, Batch, Hello, ProcessConfig, ProcessError, ProcessLearner, Remote};
use ingle::{
    Acting, Checkpoint, Error, Learner, NestedLearner, Policy, Rewarded, SampleProcessor, State, TrainConfig,
    Trainer, Transitions,
};
use ingle_testing::fakes::Queue;
use ingle_testing::laws::assert_same;
use ingle_testing::remote::{LinearActorCritic, METRICS};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device, values};

const SIZES: Sizes = Sizes { population: 1, batch: 8, observation: 3, action: 2 };

fn command(fault: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remote_learner"));
    command.args((!fault.is_empty()).then_some(fault));
    command
}

fn config() -> ProcessConfig {
    ProcessConfig { metrics: METRICS.to_vec(), seed: 7, ..ProcessConfig::new(3, 2) }
}

fn start(fault: &str) -> ProcessLearner<()> {
    ProcessLearner::start(command(fault), &config(), (), &device()).unwrap()
}

/// The same learner in this process.
fn twin() -> LinearActorCritic {
    let metrics = METRICS.iter().map(|&name| name.to_owned()).collect();
    LinearActorCritic::new(&Hello { observation: 3, action: 2, seed: 7, metrics }).unwrap()
}

fn sample(seed: u64) -> Transitions {
    Transitions::random(SIZES, seed, DType::F32, &device())
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    values(tensor).into_iter().map(|value| value as f32).collect()
}

fn batch(sample: &Transitions) -> Batch {
    Batch {
        observation: floats(&sample.observation),
        action: floats(&sample.action),
        reward: floats(&sample.reward),
        discount: floats(&sample.discount),
        next_observation: floats(&sample.next_observation),
        importance_weight: sample.importance_weight.as_ref().map(floats),
    }
}

/// Both learners' actions, bit for bit.
fn assert_acts_as(learner: &impl Policy, twin: &mut LinearActorCritic) {
    let observation = sample(99).observation;
    let noise = sample(98).action;
    let (states, draws) = (floats(&observation), floats(&noise));
    let action = learner.act(observation.clone(), Acting::Deterministic).unwrap();
    assert_eq!(floats(&action), twin.act(&states, None).unwrap());
    let action = learner.act(observation, Acting::Exploring(noise)).unwrap();
    assert_eq!(action.dims(), [1, 8, 2]);
    assert_eq!(floats(&action), twin.act(&states, Some(&draws)).unwrap());
}

#[test]
fn a_process_learns_as_its_learner_does() {
    let queue = Queue::new(vec![sample(1), Transitions { importance_weight: None, ..sample(0) }]);
    let mut learner = ProcessLearner::start(command(""), &config(), queue, &device()).unwrap();
    let mut twin = twin();
    assert_acts_as(&learner, &mut twin);
    for _ in 0..2 {
        let given = learner.sampler.samples.last().unwrap().clone();
        let output = learner.step().unwrap();
        let Answer { metrics, td_error } = twin.step(batch(&given)).unwrap();
        assert_eq!(output.metrics.names().collect::<Vec<_>>(), METRICS);
        for (name, expected) in METRICS.iter().zip(metrics) {
            assert_eq!(floats(output.metrics.get(name).unwrap()), [expected]);
        }
        // The sampler has the feedback, with the rows' keys.
        let feedback = learner.sampler.feedback.last().unwrap();
        assert_eq!(floats(&feedback.td_error), td_error.unwrap());
        assert_eq!(feedback.keys, given.keys);
        assert_acts_as(&learner, &mut twin);
    }
    assert!(matches!(learner.step(), Err(Error::Sample(_))), "the queue is empty");
}

/// Nests the process under a processor, and steps both beside the processor and the twin by hand.
fn check_nest<P>(processor: &P, samples: Vec<P::Sample>)
where
    P: SampleProcessor<Sample: Clone, Processed = Transitions> + Clone,
{
    let mut state = processor.init(5, &device()).unwrap();
    let mut twin = twin();
    let queue = Queue::new(samples.iter().rev().cloned().collect());
    let mut nest = NestedLearner {
        processor: processor.clone(),
        state: state.clone(),
        direct: start(""),
        sampler: queue,
    };
    for sample in samples {
        let output = nest.step().unwrap();
        let (processed, own) = processor.process(&mut state, sample).unwrap();
        let answer = twin.step(batch(&processed)).unwrap();
        assert_eq!(floats(output.metrics.get("mean_reward").unwrap()), [answer.metrics[1]]);
        for name in own.names() {
            assert_eq!(values(output.metrics.get(name).unwrap()), values(own.get(name).unwrap()), "{name}");
        }
        assert_acts_as(&nest, &mut twin);
    }
    let (ours, theirs) = (nest.state.save().unwrap(), state.save().unwrap());
    assert_same("nest over a process", processor.name(), &ours, &theirs, 0.0);
}

#[test]
fn rnd_nests_over_a_process() {
    let rnd: Rnd<Transitions> = RndConfig { hidden: vec![8], ..RndConfig::default() }.init(3).unwrap();
    check_nest(&rnd, (0..4).map(sample).collect());
}

#[test]
fn adversarial_imitation_nests_over_a_process() {
    let config = AilConfig { hidden: vec![8], gradient_penalty: 10.0, ..AilConfig::default() };
    let ail: Ail<Transitions> = config.init(3, 2).unwrap();
    let pair = |seed| ImitationSample { rl: sample(seed), demonstrations: sample(seed + 100) };
    check_nest(&ail, (0..4).map(pair).collect());
}

#[test]
fn the_training_loop_drives_a_nest_over_a_process() {
    let config = ProcessConfig { metrics: METRICS.to_vec(), ..ProcessConfig::new(3, 1) };
    let direct = ProcessLearner::start(command(""), &config, (), &device()).unwrap();
    let rnd: Rnd<Transitions> = RndConfig { hidden: vec![8], ..RndConfig::default() }.init(3).unwrap();
    let state = rnd.init(0, &device()).unwrap();
    let replay =
        UniformReplay::new(&ReplayConfig { batch: 16, ..ReplayConfig::new(3, 1) }, 0, &device()).unwrap();
    let nest = NestedLearner { processor: rnd, state, direct, sampler: replay };
    let pendulum = || vec![Box::new(make_vector("pendulum", 1).unwrap()) as Box<dyn VectorEnvironment>];
    let train = TrainConfig {
        steps: 60,
        warmup_steps: 30,
        evaluation_interval: 0,
        evaluation_episodes: 1,
        ..TrainConfig::default()
    };
    let summary = Trainer::new(nest, pendulum(), pendulum(), train, 0).unwrap().run(&mut []).unwrap();
    assert_eq!(summary.updates, 30);
}

#[test]
fn a_process_is_saved_and_brought_back() {
    let mut learner = start("");
    for seed in 0..3 {
        learner.step_with(sample(seed)).unwrap();
    }
    let record = learner.save_checkpoint().unwrap();
    let mut other = start("");
    other.load_checkpoint(&record).unwrap();
    let output = |learner: &mut ProcessLearner<()>| {
        let output = learner.step_with(sample(9)).unwrap();
        floats(output.metrics.get("td_loss").unwrap())
    };
    assert_eq!(output(&mut learner), output(&mut other));
    // One that does not save its state says so.
    let error = start("none").save_checkpoint().unwrap_err();
    assert!(matches!(reason(&error), ProcessError::Refused(_)), "{error}");
}

/// The process's own error in one of ours.
fn reason(error: &Error) -> &ProcessError {
    error.source().and_then(|source| source.downcast_ref()).unwrap_or_else(|| panic!("{error}"))
}

fn failure<T: Debug>(result: Result<T, Error>) -> ProcessError {
    reason(&result.unwrap_err()).clone()
}

#[test]
fn a_refusal_leaves_process_and_processor_as_they_were() {
    let rnd: Rnd<Transitions> = RndConfig { hidden: vec![8], ..RndConfig::default() }.init(3).unwrap();
    let state = rnd.init(0, &device()).unwrap();
    let mut nest = NestedLearner { processor: rnd, state, direct: start(""), sampler: Queue::new(vec![]) };
    nest.step_with(sample(0)).unwrap();
    let mut twin = twin();
    let (processed, _) = {
        let mut state = nest.processor.init(0, &device()).unwrap();
        nest.processor.process(&mut state, sample(0)).unwrap()
    };
    twin.step(batch(&processed)).unwrap();
    let before = nest.state.save().unwrap();
    let bad = sample(1);
    let infinite = bad.reward.clone().mul_scalar(f64::INFINITY);
    let refused = failure(nest.step_with(bad.with_reward(infinite)).map(|_| ()));
    assert!(matches!(&refused, ProcessError::Refused(why) if why == "a reward is not finite"), "{refused}");
    assert_same("nest over a process", "law 7", &before, &nest.state.save().unwrap(), 0.0);
    assert_acts_as(&nest, &mut twin);
}

#[test]
fn samples_that_do_not_fit_are_not_sent() {
    let mut learner = start("");
    let mut twin = twin();
    for (what, spoiled) in sample(3).spoiled() {
        let error = learner.step_with(spoiled).map(|_| ()).unwrap_err();
        assert!(!matches!(error, Error::External(_)), "{what}: {error}");
    }
    let wide = Transitions::random(Sizes { observation: 4, ..SIZES }, 0, DType::F32, &device());
    assert!(matches!(learner.act(wide.observation, Acting::Deterministic), Err(Error::Shape { .. })));
    let noise = Acting::Exploring(sample(0).action.narrow(1, 0, 3));
    assert!(matches!(learner.act(sample(0).observation, noise), Err(Error::Shape { .. })));
    assert!(matches!(learner.step(), Err(Error::Sample(_))), "it has no sampler");
    assert_acts_as(&learner, &mut twin);
}

#[test]
fn a_process_that_dies_is_reported_with_its_status() {
    let mut learner = start("exit");
    let ended = failure(learner.step_with(sample(0)).map(|_| ()));
    assert!(matches!(ended, ProcessError::Ended { status } if status.code() == Some(3)), "{ended}");
    assert!(ended.to_string().contains("exit status: 3"), "{ended}");
    // And so ever after, at once.
    let again = failure(learner.act(sample(0).observation, Acting::Deterministic));
    assert_eq!(again.to_string(), ended.to_string());
    let aborted = failure(start("abort").step_with(sample(0)).map(|_| ()));
    assert!(matches!(aborted, ProcessError::Ended { status } if !status.success()), "{aborted}");
    // In the middle of an answer.
    let closed = failure(start("close").step_with(sample(0)).map(|_| ()));
    assert!(matches!(closed, ProcessError::Ended { status } if status.success()), "{closed}");
}

#[test]
fn what_is_not_the_protocol_is_reported() {
    for (fault, words) in [("print", "no frame begins with"), ("other", "kind 'A'")] {
        let error = failure(start(fault).step_with(sample(0)).map(|_| ()));
        assert!(matches!(&error, ProcessError::Protocol(why) if why.contains(words)), "{fault}: {error}");
    }
    // The far end's library checks its own learner's answers.
    let error = failure(start("few").step_with(sample(0)).map(|_| ()));
    assert!(matches!(&error, ProcessError::Refused(why) if why.contains("7 errors of rows")), "{error}");
    let mut learner = start("unasked");
    let error = failure(learner.step_with(sample(0)).map(|_| ()));
    assert!(matches!(&error, ProcessError::Protocol(why) if why.contains("kind 'A'")), "{error}");
    let error = failure(start("short").act(sample(0).observation, Acting::Deterministic));
    assert!(matches!(&error, ProcessError::Protocol(why) if why.contains("64 bytes")), "{error}");
    let start = |fault| ProcessLearner::start(command(fault), &config(), (), &device());
    let error = failure(start("version"));
    assert!(matches!(&error, ProcessError::Protocol(why) if why.contains("version is 9")), "{error}");
    let config = ProcessConfig { metrics: vec!["loss"], ..config() };
    let error = failure(ProcessLearner::start(command(""), &config, (), &device()));
    assert!(matches!(&error, ProcessError::Refused(why) if why.contains("td_loss")), "{error}");
    let nowhere = Command::new("/nowhere/learner");
    let error = failure(ProcessLearner::start(nowhere, &config, (), &device()));
    assert!(error.to_string().starts_with("/nowhere/learner cannot be started"), "{error}");
    let config = ProcessConfig::new(0, 2);
    assert!(matches!(ProcessLearner::start(command(""), &config, (), &device()), Err(Error::Config(_))));
}

/// Pipes hold 64 KiB: requests and output far beyond that, in both directions at once, must neither hang nor be lost.
#[test]
fn full_pipes_block_nobody() {
    let sizes = Sizes { batch: 40_000, ..SIZES };
    let large = Transitions::random(sizes, 0, DType::F32, &device());
    let mut learner = start("");
    let output = learner.step_with(large.clone()).unwrap();
    assert_eq!(output.feedback.unwrap().td_error.dims(), [1, 40_000]);
    let actions = learner.act(large.observation, Acting::Deterministic).unwrap();
    assert_eq!(actions.dims(), [1, 40_000, 2]);

    let start = Instant::now();
    let flooded = failure(ProcessLearner::start(command("flood"), &config(), (), &device()));
    assert!(matches!(flooded, ProcessError::Protocol(_)), "{flooded}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_silent_process_is_given_up() {
    let config = ProcessConfig { deadline: Duration::from_millis(300), ..config() };
    let start = |fault| ProcessLearner::start(command(fault), &config, (), &device());
    let deaf = failure(start("deaf"));
    assert!(matches!(deaf, ProcessError::Deadline { .. }), "{deaf}");
    let sizes = Sizes { batch: 40_000, ..SIZES };
    let large = Transitions::random(sizes, 0, DType::F32, &device());
    let silent = failure(start("silent").unwrap().step_with(large).map(|_| ()));
    assert!(matches!(silent, ProcessError::Deadline { .. }), "{silent}");
}

/// Dropping the learner ends its process, also one that ignores the end of its input, and leaves no zombie.
#[cfg(target_os = "linux")]
#[test]
fn the_process_ends_with_its_learner() {
    for fault in ["", "stay"] {
        let learner = start(fault);
        let process = format!("/proc/{}", learner.id());
        assert!(std::path::Path::new(&process).exists());
        drop(learner);
        assert!(!std::path::Path::new(&process).exists(), "{process}");
    }
}
