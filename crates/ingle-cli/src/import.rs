//! `ingle import`.

use ingle::State;
use ingle::envs::VectorEnvironment;
use ingle::train::{Foreign, RunDirectory, TrainError};
use serde_json::json;
use toml::Value;

use crate::arguments::ImportOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::learner::{Sizes, Stack};
use crate::output::{line, note};
use crate::train::{TrainJob, environments, run_directory};
use crate::{in_pool, learner};

pub(crate) fn run(options: &ImportOptions) -> Result<(), CliError> {
    let file = options.file.display();
    let stack = Stack::parse(&options.learner)?;
    let foreign = Foreign::read(&options.file).map_err(|error| match error {
        TrainError::File { path, source } => CliError::Read { path, source },
        other => other.into(),
    })?;
    if !stack.processors.is_empty() || stack.core != foreign.learner() {
        return Err(CliError::Input(format!(
            "{file} is a {0} (its actor has {1} log standard deviations): import it as {0}, not as {2}",
            foreign.learner(),
            if foreign.learner() == "sac" { "" } else { "no" },
            options.learner
        )));
    }
    if foreign.is_normalised() {
        return Err(CliError::Input(format!(
            "{file} acts on normalised observations, as a {} alone does not: it can be acted with and exported, \
             not trained on",
            foreign.learner()
        )));
    }
    let config = resolve(options, &foreign)?;
    // Everything that can be refused is refused before there is anything on disk.
    let device = ingle::device::open(&config.device)?;
    let playing = environments(&config, config.envs)?;
    check_environment(options, &config, &foreign, playing[0].as_ref())?;
    let evaluation = environments(&config, 1)?;
    let core = learner::core(&config, Sizes::of(playing[0].as_ref()))?;
    let path = run_directory(options.run.as_deref(), &config)?;
    // The direct cores need no demonstrations.
    let job = TrainJob { config: &config, device, environments: playing, evaluation, demonstrations: None };
    let notes = in_pool(None, || {
        let mut trainer = job.trainer(core)?;
        let mut state = trainer.learner.state();
        let mut record = state.save()?;
        let notes = foreign.put_into(&mut record)?;
        state.load(&record)?;
        trainer.learner.set_state(state);
        let directory = RunDirectory::create(&path, &config.to_toml()?)?;
        let mut checkpoints = directory.checkpoints(config.train.checkpoints)?;
        checkpoints.save(0, None, ingle::Checkpoint::save_checkpoint(&mut trainer)?)?;
        checkpoints.finish()?;
        Ok(notes)
    })?;
    for text in &notes {
        note(format_args!("ingle: {text}"));
    }
    if options.json {
        return line(format_args!(
            "{}",
            json!({ "run": path, "learner": config.learner, "env": config.env, "notes": notes })
        ));
    }
    line(format_args!(
        "{file} imported; run saved in {0}; evaluate it by `ingle eval {0}`, train it on by `ingle train --resume \
         --run {0}`",
        path.display()
    ))
}

/// The defaults, then what the file says of itself, then `--set`, then the options.
fn resolve(options: &ImportOptions, foreign: &Foreign) -> Result<RunConfig, CliError> {
    let known = foreign.settings().iter().map(|(key, value)| format!("{key}={value}"));
    let set: Vec<String> = known.chain(options.set.iter().cloned()).collect();
    let text = [
        ("learner", Some(options.learner.as_str())),
        ("env", Some(options.env.as_str())),
        ("environment.python", options.python.as_deref()),
        ("device", options.device.as_deref()),
    ];
    let mut given: Vec<(&str, Value)> =
        text.into_iter().filter_map(|(key, value)| Some((key, Value::from(value?)))).collect();
    if let Some(seed) = options.seed {
        let seed = i64::try_from(seed)
            .map_err(|_| CliError::Config(vec![format!("seed: must be at most {}, got {seed}", i64::MAX)]))?;
        given.push(("seed", Value::from(seed)));
    }
    RunConfig::resolve(None, &set, given)
}

/// The policy has to be one for this environment.
fn check_environment(
    options: &ImportOptions,
    config: &RunConfig,
    foreign: &Foreign,
    environment: &dyn VectorEnvironment,
) -> Result<(), CliError> {
    let (file, env) = (options.file.display(), &config.env);
    let sizes = Sizes::of(environment);
    let theirs = (foreign.observation_size(), foreign.action_size());
    if theirs != (sizes.observation, sizes.action) {
        return Err(CliError::Input(format!(
            "{file} is for {} observation and {} action elements, {env} has {} and {}: give the environment that it \
             was trained in by --env",
            theirs.0, theirs.1, sizes.observation, sizes.action
        )));
    }
    let space = environment.action_space();
    if let Some((low, high)) = foreign.action_bounds() {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs().max(1.0);
        if !(low.iter().zip(space.low()).all(near) && high.iter().zip(space.high()).all(near)) {
            return Err(CliError::Input(format!(
                "{file} has actions from {low:?} to {high:?}, {env} from {:?} to {:?}: give the environment that it \
                 was trained in by --env",
                space.low(),
                space.high()
            )));
        }
    }
    Ok(())
}
