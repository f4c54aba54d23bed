//! `ingle eval`.

use std::path::Path;
use std::time::Instant;

use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::train::{Checkpoints, EpisodeStatistics, read_record};
use ingle::{CoreLearner, Record, RecordItem, State};
use serde_json::json;

use crate::arguments::EvalOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::learner::Sizes;
use crate::output::{line, note};
use crate::stack::Core;
use crate::train::{CONFIG, STATE, environments};
use crate::{in_pool, learner};

pub(crate) fn run(options: &EvalOptions) -> Result<(), CliError> {
    let start = Instant::now();
    if options.episodes == 0 {
        return Err(CliError::Config(vec!["--episodes: must be at least 1, got 0".into()]));
    }
    if !options.run.is_dir() {
        return Err(CliError::Input(format!("{} is not the directory of a run", options.run.display())));
    }
    let mut given = Vec::new();
    if let Some(device) = &options.device {
        given.push(("device", toml::Value::from(device.as_str())));
    }
    let config = RunConfig::resolve(Some(&options.run.join(CONFIG)), &[], given)?;
    let device = ingle::device::open(&config.device)?;
    let environments: Vec<Box<dyn VectorEnvironment>> = environments(&config, options.episodes)?;
    let sizes = Sizes::of(environments[0].as_ref());
    let record = policy(&options.run)?;
    // The direct core's, however deep it is nested.
    let updates = record.0.iter().find_map(|(name, item)| match item {
        RecordItem::Counter(updates) if name == "updates" || name.ends_with("/updates") => Some(*updates),
        _ => None,
    });
    let job = EvalJob { seed: options.seed, config: &config, device, record, environments };
    let members = job.run(learner::core(&config, sizes)?)?;
    let best = members.iter().max_by(|a, b| a.mean_return.total_cmp(&b.mean_return));
    let Some(EpisodeStatistics { mean_return, std_return, mean_length, episodes }) = best.copied() else {
        return Err(CliError::Other("no episode was played".into()));
    };
    if options.json {
        line(format_args!(
            "{}",
            json!({
                "mean_return": mean_return,
                "std_return": std_return,
                "episodes": episodes,
                "env_steps": mean_length * episodes as f64,
                "updates": updates,
                "seconds": start.elapsed().as_secs_f64(),
                "run": options.run,
            })
        ))?;
    } else {
        line(format_args!(
            "mean return {mean_return:.1} ± {std_return:.1} over {episodes} episodes of {mean_length:.0} steps"
        ))?;
    }
    Ok(())
}

/// The final policy of a run, or of one that has not finished the one in its newest checkpoint.
fn policy(run: &Path) -> Result<Record, CliError> {
    let path = run.join(STATE);
    if path.is_file() {
        return Ok(read_record(&path)?);
    }
    let (checkpoint, damaged) = Checkpoints::of_run(run).latest()?;
    match checkpoint {
        Some(checkpoint) => {
            let step = checkpoint.manifest.step;
            note(format_args!("ingle: the run has not finished: this is its policy of step {step}"));
            Ok(checkpoint.record.scope("learner").scope("state"))
        }
        None => Err(CliError::Input(match damaged.first() {
            Some(error) => error.to_string(),
            None => format!("{} has no {STATE} and no checkpoint yet", run.display()),
        })),
    }
}

/// One evaluation of a saved state.
struct EvalJob<'a> {
    seed: u64,
    config: &'a RunConfig,
    device: Device,
    record: Record,
    environments: Vec<Box<dyn VectorEnvironment>>,
}

impl EvalJob<'_> {
    fn run(self, core: Core) -> Result<Vec<EpisodeStatistics>, CliError> {
        let Self { seed, config, device, record, mut environments } = self;
        in_pool(None, || {
            let mut policy = CoreLearner::new(core, (), config.seed, &device)?;
            policy.state.load(&record)?;
            Ok(ingle::train::evaluate(&policy, &mut environments, seed)?)
        })
    }
}
