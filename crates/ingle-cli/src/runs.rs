//! `ingle runs`.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use ingle::train::{RunDirectory, RunState, RunStatus, Scalar, Scalars};
use serde_json::json;

use crate::arguments::RunsOptions;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::output::{line, note};
use crate::recorded::Recorded;

pub(crate) fn run(options: &RunsOptions) -> Result<(), CliError> {
    let directory = &options.directory;
    if options.csv {
        return csv(&Recorded::read_all(std::slice::from_ref(directory))?);
    }
    let runs = if RunDirectory::holds_run(directory) { vec![directory.clone()] } else { below(directory)? };
    let mut listed = Vec::new();
    for path in runs {
        // One run that cannot be read does not hide the others.
        match listing(&path) {
            Ok(Some(listing)) => listed.push(listing),
            Ok(None) => {}
            Err(error) => note(format_args!("ingle: {error}")),
        }
    }
    if options.json {
        return listed.iter().try_for_each(|run| line(format_args!("{}", run.json())));
    }
    if listed.is_empty() {
        note(format_args!("ingle: no runs in {}", directory.display()));
        return Ok(());
    }
    line(format_args!("{:30} {:16} {:26} {:>19} {:>10}  state", "run", "learner", "env", "steps", "return"))?;
    listed.iter().try_for_each(|run| {
        let steps = format!("{}/{}", run.status.env_steps, run.config.train.steps);
        let last = run.status.last_return.map_or("–".to_owned(), |value| format!("{value:.1}"));
        let (config, state) = (&run.config, describe(&run.status.state));
        let learner = match config.population {
            1 => config.learner.clone(),
            members => format!("{} × {members}", config.learner),
        };
        line(format_args!(
            "{:30} {learner:16} {:26} {steps:>19} {last:>10}  {state}",
            run.path.display(),
            config.env
        ))
    })
}

/// Every number of the runs, under its TensorBoard name: one table of the same columns whatever the learners.
fn csv(runs: &[Recorded]) -> Result<(), CliError> {
    line(format_args!("run,learner,env,seed,member,env_steps,tag,value"))?;
    for run in runs {
        let path = run.path.to_string_lossy();
        let [path, learner, env] = [&*path, &run.learner, &run.env].map(field);
        let mut scalars = Scalars::new(run.log_interval);
        for Scalar { member, env_steps, tag, value } in run.events.iter().flat_map(|event| scalars.of(event))
        {
            let (seed, tag) = (run.seed, field(&tag));
            line(format_args!("{path},{learner},{env},{seed},{member},{env_steps},{tag},{value}"))?;
        }
    }
    Ok(())
}

/// A field as RFC 4180 has it.
fn field(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

struct Listing {
    path: PathBuf,
    config: RunConfig,
    status: RunStatus,
}

impl Listing {
    fn json(&self) -> serde_json::Value {
        let Self { path, config, status } = self;
        let (state, reason) = match &status.state {
            RunState::Running => ("running", None),
            RunState::Finished => ("finished", None),
            RunState::Stopped(reason) => ("stopped", Some(reason)),
            RunState::Interrupted => ("interrupted", None),
        };
        json!({
            "run": path,
            "learner": config.learner,
            "env": config.env,
            "seed": config.seed,
            "population": config.population,
            "env_steps": status.env_steps,
            "steps": config.train.steps,
            "last_return": status.last_return,
            "members": status.members,
            "state": state,
            "reason": reason,
        })
    }
}

fn describe(state: &RunState) -> String {
    match state {
        RunState::Running => "running".into(),
        RunState::Finished => "finished".into(),
        RunState::Stopped(reason) => format!("stopped: {reason}"),
        RunState::Interrupted => "interrupted: go on with --resume".into(),
    }
}

fn listing(path: &Path) -> Result<Option<Listing>, CliError> {
    let Some(status) = RunStatus::read(path)? else { return Ok(None) };
    let config = RunConfig::read(&status.configuration)
        .map_err(|error| CliError::Input(format!("{}: {error}", path.display())))?;
    Ok(Some(Listing { path: path.to_owned(), config, status }))
}

/// What is in a directory, by name.
fn below(directory: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read { path: directory.to_owned(), source };
    let mut paths = fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}
