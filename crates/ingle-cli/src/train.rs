//! `ingle train`.

use std::path::{Path, PathBuf};

use ingle::burn::tensor::Device;
use ingle::envs::{BoxSpace, VectorEnvironment};
use ingle::replay::Data;
use ingle::replay::demonstrations::{Demonstrations, Spaces};
use ingle::train::{Checkpoints, EpisodeStatistics, Observer, RunDirectory, StopReason, Summary};
use ingle::{Checkpoint, GraphLearner, GraphMode, State, Trainer};
use serde_json::json;
use toml::Value;

use crate::arguments::TrainOptions;
use crate::config::{NONE, RunConfig};
use crate::error::CliError;
use crate::learner::{Sizes, Stack};
use crate::members::Members;
use crate::output::{line, note};
use crate::panics::caught;
use crate::progress::{ProgressView, clock};
use crate::signals::Signals;
use crate::source::Source;
use crate::stack::Core;
use crate::sweep::SWEEP;
use crate::{in_pool, learner, memory, source};

/// The files of a run directory that other commands read.
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";

pub(crate) fn run(options: &TrainOptions) -> Result<(), CliError> {
    let (mut config, place) = if options.resume { resume(options)? } else { begin(options)? };
    // Everything that can be refused is refused before there is anything on disk, or anything changed there.
    config.check_sources()?;
    let device = ingle::device::open(&config.device)?;
    // Offline nothing is played, but the policy can be evaluated.
    let environments = if config.is_offline() { Vec::new() } else { environments(&config, config.envs)? };
    let evaluation = match config.env.as_str() {
        NONE => Vec::new(),
        _ => self::environments(&config, config.train.evaluation_episodes)?,
    };
    let demonstrations = source::demonstrations(&mut config, evaluation.first().map(Box::as_ref))?;
    let sizes = sizes(&evaluation, demonstrations.as_ref())?;
    memory::check(&config, sizes)?;
    let core = learner::stepped(&config, sizes, &device)?;
    let job = TrainJob { config: &config, device, environments, evaluation, demonstrations };
    let (summary, path) = in_pool(options.threads, || job.run(core, place))?;
    report(&summary, &config, &path, options.json)
}

/// Where a run is to be.
enum Place {
    /// A directory that is yet to be made.
    New(PathBuf),
    /// The directory of a run that is to go on.
    Existing(RunDirectory),
}

/// What the learner observes and does, by the environment or, without one, by the data.
fn sizes(
    environments: &[Box<dyn VectorEnvironment>],
    data: Option<&Demonstrations>,
) -> Result<Sizes, CliError> {
    let environment = environments.first().map(|environment| Sizes::of(environment.as_ref()));
    environment
        .or(data.map(Sizes::of_data))
        .ok_or_else(|| CliError::Config(vec!["env: there is neither an environment nor a data set".into()]))
}

/// A run from start, or from where it was saved, to end.
pub(crate) struct TrainJob<'a> {
    pub(crate) config: &'a RunConfig,
    pub(crate) device: Device,
    pub(crate) environments: Vec<Box<dyn VectorEnvironment>>,
    pub(crate) evaluation: Vec<Box<dyn VectorEnvironment>>,
    pub(crate) demonstrations: Option<Demonstrations>,
}

impl TrainJob<'_> {
    /// The run before its first step.
    pub(crate) fn trainer(self, core: Core) -> Result<Trainer<GraphLearner<Core, Source>>, CliError> {
        let Self { config, device, environments, evaluation, demonstrations } = self;
        let shape = config.replay(sizes(&evaluation, demonstrations.as_ref())?, Data::Own);
        let source = Source::new(config, &shape, demonstrations.as_ref(), &device)?;
        let learner = GraphLearner::new(core, source, config.seed.clone(), &device, config.graph)?;
        let (settings, seeds) = (config.train.clone(), config.seed.clone());
        // The sampler has taken in what it draws: the data go at the end of this.
        Ok(match demonstrations {
            Some(data) if config.is_offline() => {
                let Spaces { action_low, action_high, .. } = data.spaces();
                let actions = BoxSpace::new(action_low.to_vec(), action_high.to_vec())?;
                Trainer::offline(learner, evaluation, settings, seeds)?.with_action_space(actions)?
            }
            _ => Trainer::new(learner, environments, evaluation, settings, seeds)?,
        })
    }

    fn run(self, core: Core, place: Place) -> Result<(Summary, PathBuf), CliError> {
        let config = self.config;
        let mut trainer = self.trainer(core)?;
        let text = config.to_toml()?;
        let directory = match place {
            Place::New(path) => RunDirectory::create(&path, &text)?,
            Place::Existing(directory) => {
                restore(&mut trainer, config, &directory)?;
                directory.go_on(&text)?;
                directory
            }
        };
        let outcome = caught(|| train(&mut trainer, config, &directory));
        if let Err(error) = &outcome {
            // The run has stopped already; if its reason cannot be written either, it is still printed.
            let _ = directory.stopped(&error.to_string());
        }
        Ok((outcome?, directory.path().to_owned()))
    }
}

fn train(
    trainer: &mut Trainer<GraphLearner<Core, Source>>,
    config: &RunConfig,
    directory: &RunDirectory,
) -> Result<Summary, CliError> {
    let signals = Signals::watch(&trainer.stop_flag())
        .map_err(|error| CliError::Other(format!("cannot watch for signals: {error}")))?;
    #[cfg(unix)]
    crate::supervise::follow_supervisor();
    let mut checkpoints = directory.checkpoints(config.train.checkpoints)?;
    let start = trainer.progress();
    let mut metrics = directory.metrics()?;
    if start.env_steps == 0 {
        metrics.rewind(0)?;
    }
    let mut progress = ProgressView::new(config.train.steps, start);
    let mut observers: Vec<&mut dyn Observer> = vec![&mut metrics, &mut progress];
    let mut events;
    if config.log.tensorboard {
        let (members, interval) = (config.population, config.train.log_interval);
        events = directory.event_files(start.env_steps, members, interval, &config.to_markdown()?)?;
        observers.push(&mut events);
    }
    let summary = trainer.run_saving(&mut checkpoints, &mut observers)?;
    if let (StopReason::Stopped, Some(signal)) = (summary.reason, signals.first()) {
        let run = directory.path().to_owned();
        return Err(CliError::Stopped { signal, step: summary.env_steps, run });
    }
    if config.graph != GraphMode::Off && summary.updates > 0 {
        match trainer.learner.eager() {
            Some(reason) => note(format_args!("ingle: the updates were eager ones: {reason}")),
            None => note(format_args!("ingle: the updates were replayed")),
        }
    }
    let state = trainer.learner.state();
    if let Some((best, episodes)) = summary.best().filter(|_| config.population > 1)
        && let Some(own) = state.member(best)
    {
        let alone = Members::of(config)?.alone(best)?.to_toml()?;
        let summary = Summary { evaluation: vec![episodes], ..summary.clone() };
        directory.finish_best(&alone, &own.save()?, &summary)?;
    }
    directory.finish(&state.save()?, &summary)?;
    Ok(summary)
}

/// Brings back the newest checkpoint that is whole.
fn restore(
    trainer: &mut Trainer<GraphLearner<Core, Source>>,
    config: &RunConfig,
    directory: &RunDirectory,
) -> Result<(), CliError> {
    let (checkpoint, damaged) = Checkpoints::of_run(directory.path()).latest()?;
    for error in &damaged {
        note(format_args!("ingle: passed over a checkpoint: {error}"));
    }
    let Some(checkpoint) = checkpoint else {
        if let Some(error) = damaged.first() {
            let path = directory.path().display();
            return Err(CliError::Input(format!("no checkpoint of {path} can be read: {error}")));
        }
        note(format_args!("ingle: the run has no checkpoint yet: it begins at step 0"));
        return Ok(());
    };
    refuse_differences(config, &RunConfig::read(&checkpoint.manifest.configuration)?)?;
    trainer.load_checkpoint(&checkpoint.record)?;
    note(format_args!("ingle: going on at step {}", checkpoint.manifest.step));
    Ok(())
}

fn refuse_differences(config: &RunConfig, before: &RunConfig) -> Result<(), CliError> {
    let differences = config.differences(before)?;
    if differences.is_empty() { Ok(()) } else { Err(CliError::Config(differences)) }
}

/// One vector of environments for each member of the population.
pub(crate) fn environments(
    config: &RunConfig,
    count: usize,
) -> Result<Vec<Box<dyn VectorEnvironment>>, CliError> {
    (0..config.population).map(|_| Ok(config.environment.make_vector(&config.env, count)?)).collect()
}

/// Where the run that is asked for is, or is to be.
#[cfg(unix)]
pub(crate) fn place(options: &TrainOptions) -> Result<PathBuf, CliError> {
    if options.resume {
        return Ok(options.run.clone().unwrap_or_else(|| ".".into()));
    }
    match begin(options)?.1 {
        Place::New(path) => Ok(path),
        Place::Existing(directory) => Ok(directory.path().to_owned()),
    }
}

/// A new run.
fn begin(options: &TrainOptions) -> Result<(RunConfig, Place), CliError> {
    Stack::parse(options.learner.as_deref().unwrap_or_default())?;
    let config = resolve(options, options.config.as_deref())?;
    let path = run_directory(options.run.as_deref(), &config)?;
    Ok((config, Place::New(path)))
}

/// A run that goes on, with its own configuration and what is given here.
fn resume(options: &TrainOptions) -> Result<(RunConfig, Place), CliError> {
    let path = options.run.as_deref().unwrap_or(Path::new("."));
    let directory = RunDirectory::open(path)?;
    let config = resolve(options, Some(&path.join(CONFIG)))?;
    refuse_differences(&config, &RunConfig::read(&directory.configuration()?)?)?;
    Ok((config, Place::Existing(directory)))
}

pub(crate) fn resolve(options: &TrainOptions, file: Option<&Path>) -> Result<RunConfig, CliError> {
    let mut given = Vec::new();
    let text = [
        ("learner", &options.learner),
        ("env", &options.env),
        ("environment.python", &options.python),
        ("device", &options.device),
        ("demonstrations.path", &options.data),
        ("graph", &options.graph),
    ];
    given.extend(text.into_iter().filter_map(|(key, value)| Some((key, Value::from(value.as_deref()?)))));
    let numbers = [
        ("seed", options.seed),
        ("train.steps", options.steps),
        ("envs", options.envs.map(|envs| envs as u64)),
        ("population", options.population.map(|population| population as u64)),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            let number = i64::try_from(number).map_err(|_| {
                CliError::Config(vec![format!("{key}: must be at most {}, got {number}", i64::MAX)])
            })?;
            given.push((key, Value::from(number)));
        }
    }
    let sweeps = options.sweep.iter().map(|sweep| format!("{SWEEP}.{}", sweep.trim_start()));
    let set: Vec<String> = options.set.iter().cloned().chain(sweeps).collect();
    RunConfig::resolve(file, &set, given)
}

/// The directory for a new run.
pub(crate) fn run_directory(wanted: Option<&Path>, config: &RunConfig) -> Result<PathBuf, CliError> {
    let Some(directory) = wanted else {
        let data = config.demonstrations.path.as_deref().and_then(Path::file_stem);
        let environment = match data {
            Some(data) if config.env == NONE => data.to_string_lossy().into_owned(),
            _ => config.env.replace([':', '/'], "-"),
        };
        let name =
            |number: usize| PathBuf::from("runs").join(format!("{}-{environment}-{number}", config.learner));
        let free = (0..1_000_000).map(name).find(|directory| !directory.exists());
        return free.ok_or_else(|| CliError::Other("no free name for a run below runs/".into()));
    };
    if directory.exists() && !directory.is_dir() {
        return Err(CliError::Input(format!("{} is not a directory", directory.display())));
    }
    if RunDirectory::holds_run(directory) {
        return Err(CliError::Input(format!(
            "{} holds a run: go on with it by --resume, or give --run a new directory (a run is never overwritten)",
            directory.display()
        )));
    }
    Ok(directory.to_owned())
}

fn report(summary: &Summary, config: &RunConfig, directory: &Path, json: bool) -> Result<(), CliError> {
    let best = summary.best();
    let members = Members::of(config)?;
    let several = summary.evaluation.len() > 1;
    if json {
        let statistics = best.map(|(_, statistics)| statistics);
        let mut result = json!({
            "mean_return": statistics.map(|statistics| statistics.mean_return),
            "std_return": statistics.map(|statistics| statistics.std_return),
            "episodes": statistics.map_or(0, |statistics| statistics.episodes),
            "env_steps": summary.env_steps,
            "updates": summary.updates,
            "seconds": summary.seconds,
            "run": directory,
        });
        if let (true, Some((member, _))) = (several, best) {
            let all = summary.evaluation.iter().enumerate();
            result["best_member"] = json!(member);
            result["members"] = all.map(|(member, own)| members.json(member, own)).collect();
        }
        return line(format_args!("{result}"));
    }
    if let Some((member, EpisodeStatistics { mean_return, std_return, mean_length, episodes })) = best {
        if several {
            members.print(&summary.evaluation, member)?;
        }
        let of_population = if several {
            format!(" (best of {} members: {member})", summary.evaluation.len())
        } else {
            String::new()
        };
        line(format_args!(
            "mean return {mean_return:.1} ± {std_return:.1} over {episodes} episodes of {mean_length:.0} steps{of_population}"
        ))?;
    }
    line(format_args!(
        "{} steps{}, {} updates in {}; run saved in {}{}",
        summary.env_steps,
        if several { " a member" } else { "" },
        summary.updates,
        clock(summary.seconds),
        directory.display(),
        if several { ", the best member alone in best/" } else { "" }
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use ingle::Error;
    use ingle::processor::FromFn;

    use super::*;
    use crate::stack::Sample;

    type Fault = fn() -> Error;

    /// A run over a layer that fails at its sample number `at`.
    fn run(place: Place, at: u64, fault: Fault) -> Result<(Summary, PathBuf), CliError> {
        let set = [
            "train.steps=300",
            "train.warmup_steps=20",
            "train.checkpoint_interval=50",
            "train.evaluation_episodes=1",
            "sac.hidden=[4]",
            "replay.batch=4",
        ]
        .map(str::to_owned);
        let config = RunConfig::resolve(None, &set, vec![("learner", "sac".into())])?;
        let environments = environments(&config, 1)?;
        let evaluation = self::environments(&config, 1)?;
        let core = learner::core(&config, Sizes::of(environments[0].as_ref()))?;
        let samples = AtomicU64::new(1);
        let core = core.under(FromFn::new("fault", move |sample: Sample| {
            if samples.fetch_add(1, Ordering::Relaxed) == at { Err(fault()) } else { Ok(sample) }
        }));
        let device = ingle::device::open("flex")?;
        TrainJob { config: &config, device, environments, evaluation, demonstrations: None }.run(core, place)
    }

    #[test]
    fn a_device_that_fails_ends_the_run_with_its_code_and_the_run_goes_on_elsewhere() {
        crate::panics::note_quietly();
        let scratch = std::env::temp_dir().join(format!("ingle-device-{}", std::process::id()));
        let healthy = || Error::Sample("never".into());
        let (_, straight) = run(Place::New(scratch.join("straight")), 0, healthy).unwrap();
        let faults: [(Fault, u8, &str); 5] = [
            (
                || {
                    panic!(
                        "called `Result::unwrap()` on an `Err` value: out of device memory allocating 8 bytes"
                    )
                },
                4,
                "the device is out of memory: called",
            ),
            (|| panic!("wgpu error: Parent device is lost"), 5, "the device is lost: wgpu error"),
            (|| Error::Execution("An out-of-memory error happened".into()), 4, "the device failed: An out"),
            (|| Error::Execution("The device was poisoned".into()), 5, "the device failed: The device"),
            (|| panic!("index out of bounds"), 101, "internal error, please report it: index out of bounds"),
        ];
        for (number, (fault, code, line)) in faults.into_iter().enumerate() {
            let path = scratch.join(number.to_string());
            let error = run(Place::New(path.clone()), 200, fault).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            let stopped = std::fs::read_to_string(path.join("stopped.txt")).unwrap();
            assert!(stopped.starts_with(line) && stopped.lines().count() == 1, "{stopped}");
            // The last checkpoint is whole, and the run goes on from there.
            assert_eq!(Checkpoints::of_run(&path).steps().unwrap().last(), Some(&200));
            run(Place::Existing(RunDirectory::open(&path).unwrap()), 0, healthy).unwrap();
            let policy = |path: &Path| std::fs::read(path.join("state.safetensors")).unwrap();
            assert!(policy(&path) == policy(&straight), "{line}: another policy");
        }
        std::fs::remove_dir_all(scratch).unwrap();
    }
}
