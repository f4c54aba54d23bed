//! `ingle train`.

use std::fs;
use std::path::{Path, PathBuf};

use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::replay::Data;
use ingle::replay::demonstrations::Demonstrations;
use ingle::train::{EpisodeStatistics, MetricsFile, Summary, write_atomically, write_record};
use ingle::{CoreLearner, State, Trainer};
use serde_json::json;
use toml::Value;

use crate::arguments::TrainOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::learner::{Sizes, Stack};
use crate::progress::{ProgressView, clock};
use crate::source::Source;
use crate::stack::Core;
use crate::{in_pool, learner, source};

/// The files of a run directory.
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const STATE: &str = "state.safetensors";
pub(crate) const METRICS: &str = "metrics.jsonl";
const SUMMARY: &str = "summary.json";
const STOPPED: &str = "stopped.txt";

pub(crate) fn run(options: &TrainOptions) -> Result<(), CliError> {
    Stack::parse(&options.learner)?;
    let config = resolve(options)?;
    // Everything that can be refused is refused before there is anything on disk.
    let device = ingle::device::open(&config.device)?;
    let environments = environments(&config, config.envs)?;
    let evaluation = self::environments(&config, config.train.evaluation_episodes)?;
    let sizes = Sizes::of(environments[0].as_ref());
    let demonstrations = source::demonstrations(&config, environments[0].as_ref())?;
    let directory = run_directory(options.run.as_deref(), &config)?;
    let job = TrainJob {
        config: &config,
        device,
        directory: &directory,
        environments,
        evaluation,
        demonstrations,
        threads: options.threads,
    };
    match learner::core(&config, sizes).and_then(|core| job.run(core)) {
        Ok(summary) => {
            report(&summary, &directory, options.json);
            Ok(())
        }
        Err(error) => {
            if directory.is_dir() {
                // The run failed already; if its reason cannot be written either, it is still printed.
                let _ = write_atomically(&directory.join(STOPPED), format!("{error}\n").as_bytes());
            }
            Err(error)
        }
    }
}

/// A run from start to end.
struct TrainJob<'a> {
    config: &'a RunConfig,
    device: Device,
    directory: &'a Path,
    environments: Vec<Box<dyn VectorEnvironment>>,
    evaluation: Vec<Box<dyn VectorEnvironment>>,
    demonstrations: Option<Demonstrations>,
    threads: Option<usize>,
}

impl TrainJob<'_> {
    fn run(self, core: Core) -> Result<Summary, CliError> {
        let Self { config, device, directory, environments, evaluation, demonstrations, threads } = self;
        in_pool(threads, || {
            let shape = config.replay(Sizes::of(environments[0].as_ref()), Data::Own);
            let source = Source::new(config, &shape, demonstrations.as_ref(), &device)?;
            let learner = CoreLearner::new(core, source, config.seed, &device)?;
            let mut trainer =
                Trainer::new(learner, environments, evaluation, config.train.clone(), config.seed)?;
            fs::create_dir_all(directory).map_err(|error| {
                CliError::Other(format!("cannot create {}: {error}", directory.display()))
            })?;
            write_atomically(&directory.join(CONFIG), config.to_toml()?.as_bytes())?;
            let mut metrics = MetricsFile::create(&directory.join(METRICS))?;
            let mut progress = ProgressView::new(config.train.steps);
            let summary = trainer.run(&mut [&mut metrics, &mut progress])?;
            write_record(&directory.join(STATE), &trainer.learner.state.save()?)?;
            let text =
                serde_json::to_string_pretty(&summary).map_err(|error| CliError::Other(error.to_string()))?;
            write_atomically(&directory.join(SUMMARY), text.as_bytes())?;
            Ok(summary)
        })
    }
}

/// One vector of environments for each member of the population.
pub(crate) fn environments(
    config: &RunConfig,
    count: usize,
) -> Result<Vec<Box<dyn VectorEnvironment>>, CliError> {
    (0..config.population).map(|_| Ok(config.environment.make_vector(&config.env, count)?)).collect()
}

fn resolve(options: &TrainOptions) -> Result<RunConfig, CliError> {
    let mut given = vec![("learner", Value::from(options.learner.as_str()))];
    let text = [("env", &options.env), ("environment.python", &options.python), ("device", &options.device)];
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
    RunConfig::resolve(options.config.as_deref(), &options.set, given)
}

/// The directory for a new run. What is there must be empty: a run is never overwritten.
fn run_directory(wanted: Option<&Path>, config: &RunConfig) -> Result<PathBuf, CliError> {
    let Some(directory) = wanted else {
        let environment = config.env.replace([':', '/'], "-");
        let name =
            |number: usize| PathBuf::from("runs").join(format!("{}-{environment}-{number}", config.learner));
        let free = (0..1_000_000).map(name).find(|directory| !directory.exists());
        return free.ok_or_else(|| CliError::Other("no free name for a run below runs/".into()));
    };
    match fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(CliError::Input(format!(
            "{} is not empty: give --run a new directory (a run is never overwritten)",
            directory.display()
        ))),
        Ok(false) => Ok(directory.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(directory.to_owned()),
        Err(source) => Err(CliError::Read { path: directory.to_owned(), source }),
    }
}

fn report(summary: &Summary, directory: &Path, json: bool) {
    let Some((member, best)) = summary.best() else { return };
    let EpisodeStatistics { mean_return, std_return, mean_length, episodes } = best;
    if json {
        println!(
            "{}",
            json!({
                "mean_return": mean_return,
                "std_return": std_return,
                "episodes": episodes,
                "env_steps": summary.env_steps,
                "updates": summary.updates,
                "seconds": summary.seconds,
                "run": directory,
            })
        );
        return;
    }
    let of_population = if summary.evaluation.len() > 1 {
        format!(" (best of {} members: {member})", summary.evaluation.len())
    } else {
        String::new()
    };
    println!(
        "mean return {mean_return:.1} ± {std_return:.1} over {episodes} episodes of {mean_length:.0} steps{of_population}"
    );
    println!(
        "{} environment steps, {} updates in {}; run saved in {}",
        summary.env_steps,
        summary.updates,
        clock(summary.seconds),
        directory.display()
    );
}
