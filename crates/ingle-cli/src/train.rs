//! `ingle train`.

use std::path::{Path, PathBuf};

use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::replay::Data;
use ingle::replay::demonstrations::Demonstrations;
use ingle::train::{Checkpoints, EpisodeStatistics, Observer, RunDirectory, StopReason, Summary};
use ingle::{Checkpoint, CoreLearner, State, Trainer};
use serde_json::json;
use toml::Value;

use crate::arguments::TrainOptions;
use crate::config::{NONE, RunConfig};
use crate::error::CliError;
use crate::learner::{Sizes, Stack};
use crate::output::{line, note};
use crate::progress::{ProgressView, clock};
use crate::signals::Signals;
use crate::source::Source;
use crate::stack::Core;
use crate::{in_pool, learner, source};

/// The files of a run directory that other commands read.
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const STATE: &str = "state.safetensors";
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
    let core = learner::core(&config, sizes(&evaluation, demonstrations.as_ref())?)?;
    let job = TrainJob { config: &config, device, environments, evaluation, demonstrations };
    let (summary, path) = in_pool(options.threads, || job.run(core, place))?;
    report(&summary, &path, options.json)
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
struct TrainJob<'a> {
    config: &'a RunConfig,
    device: Device,
    environments: Vec<Box<dyn VectorEnvironment>>,
    evaluation: Vec<Box<dyn VectorEnvironment>>,
    demonstrations: Option<Demonstrations>,
}

impl TrainJob<'_> {
    fn run(self, core: Core, place: Place) -> Result<(Summary, PathBuf), CliError> {
        let Self { config, device, environments, evaluation, demonstrations } = self;
        let shape = config.replay(sizes(&evaluation, demonstrations.as_ref())?, Data::Own);
        let source = Source::new(config, &shape, demonstrations.as_ref(), &device)?;
        let learner = CoreLearner::new(core, source, config.seed, &device)?;
        // The sampler has taken in what it draws.
        drop(demonstrations);
        let settings = config.train.clone();
        let mut trainer = if config.is_offline() {
            Trainer::offline(learner, evaluation, settings, config.seed)?
        } else {
            Trainer::new(learner, environments, evaluation, settings, config.seed)?
        };
        let text = config.to_toml()?;
        let directory = match place {
            Place::New(path) => RunDirectory::create(&path, &text)?,
            Place::Existing(directory) => {
                restore(&mut trainer, config, &directory)?;
                directory.go_on(&text)?;
                directory
            }
        };
        let outcome = train(&mut trainer, config, &directory);
        if let Err(error) = &outcome {
            // The run has stopped already; if its reason cannot be written either, it is still printed.
            let _ = directory.stopped(&error.to_string());
        }
        Ok((outcome?, directory.path().to_owned()))
    }
}

fn train(
    trainer: &mut Trainer<CoreLearner<Core, Source>>,
    config: &RunConfig,
    directory: &RunDirectory,
) -> Result<Summary, CliError> {
    let signals = Signals::watch(&trainer.stop_flag())
        .map_err(|error| CliError::Other(format!("cannot watch for signals: {error}")))?;
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
    directory.finish(&trainer.learner.state.save()?, &summary)?;
    Ok(summary)
}

/// Brings back the newest checkpoint that is whole.
fn restore(
    trainer: &mut Trainer<CoreLearner<Core, Source>>,
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
    ];
    given.extend(text.into_iter().filter_map(|(key, value)| Some((key, Value::from(value.as_deref()?)))));
    let numbers = [
        ("seed", options.seed),
        ("train.steps", options.steps),
        ("envs", options.envs.map(|envs| envs as u64)),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            let number = i64::try_from(number).map_err(|_| {
                CliError::Config(vec![format!("{key}: must be at most {}, got {number}", i64::MAX)])
            })?;
            given.push((key, Value::from(number)));
        }
    }
    RunConfig::resolve(file, &options.set, given)
}

/// The directory for a new run.
fn run_directory(wanted: Option<&Path>, config: &RunConfig) -> Result<PathBuf, CliError> {
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

fn report(summary: &Summary, directory: &Path, json: bool) -> Result<(), CliError> {
    let best = summary.best();
    if json {
        let statistics = best.map(|(_, statistics)| statistics);
        line(format_args!(
            "{}",
            json!({
                "mean_return": statistics.map(|statistics| statistics.mean_return),
                "std_return": statistics.map(|statistics| statistics.std_return),
                "episodes": statistics.map_or(0, |statistics| statistics.episodes),
                "env_steps": summary.env_steps,
                "updates": summary.updates,
                "seconds": summary.seconds,
                "run": directory,
            })
        ))?;
        return Ok(());
    }
    if let Some((member, EpisodeStatistics { mean_return, std_return, mean_length, episodes })) = best {
        let of_population = if summary.evaluation.len() > 1 {
            format!(" (best of {} members: {member})", summary.evaluation.len())
        } else {
            String::new()
        };
        line(format_args!(
            "mean return {mean_return:.1} ± {std_return:.1} over {episodes} episodes of {mean_length:.0} steps{of_population}"
        ))?;
    }
    line(format_args!(
        "{} steps, {} updates in {}; run saved in {}",
        summary.env_steps,
        summary.updates,
        clock(summary.seconds),
        directory.display()
    ))
}
