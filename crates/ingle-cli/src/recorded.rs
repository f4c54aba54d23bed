//! Runs that are on the disk, for the commands that look at what happened in them.

use std::fs;
use std::path::{Path, PathBuf};

use ingle::train::{Event, MetricsReader, RunDirectory, TrainError};
use toml::Table;

use crate::arguments::GroupBy;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::members::Members;
use crate::train::{CONFIG, METRICS};

/// What a run was, and what happened in it.
pub(crate) struct Recorded {
    pub(crate) path: PathBuf,
    pub(crate) learner: String,
    pub(crate) env: String,
    pub(crate) seed: u64,
    pub(crate) log_interval: u64,
    pub(crate) events: Vec<Event<'static>>,
}

impl Recorded {
    /// The runs that were named: each a run's directory, or a directory of runs.
    ///
    /// # Errors
    /// If there is none, or one cannot be read.
    pub(crate) fn read_all(named: &[PathBuf]) -> Result<Vec<Self>, CliError> {
        let mut runs = Vec::new();
        for path in named {
            for path in find(path)? {
                runs.push(Self::read(path)?);
            }
        }
        Ok(runs)
    }

    fn read(path: PathBuf) -> Result<Self, CliError> {
        let file = path.join(CONFIG);
        let text =
            fs::read_to_string(&file).map_err(|source| CliError::Read { path: file.clone(), source })?;
        // Only what is needed, so that runs of other versions can be compared as well.
        let config: Table = text
            .parse()
            .map_err(|error| CliError::Input(format!("{}: {error}", file.display()).trim_end().to_owned()))?;
        let text = |key: &str| Some(config.get(key)?.as_str()?.to_owned());
        let Some(learner) = text("learner") else {
            return Err(CliError::Input(format!("{}: has no learner", file.display())));
        };
        // Offline runs may have none.
        let env = text("env").unwrap_or_else(|| "no environment".into());
        let number =
            |value: Option<&toml::Value>| value.and_then(|value| u64::try_from(value.as_integer()?).ok());
        let interval = number(config.get("train").and_then(|train| train.get("log_interval")));
        let metrics = path.join(METRICS);
        let events =
            MetricsReader::open(&metrics).and_then(Iterator::collect).map_err(|error| match error {
                TrainError::File { path, source } => CliError::Read { path, source },
                error => error.into(),
            })?;
        Ok(Self {
            learner,
            env,
            seed: number(config.get("seed")).unwrap_or_default(),
            log_interval: interval.unwrap_or(1),
            events,
            path,
        })
    }

    /// The name of its directory.
    pub(crate) fn name(&self) -> String {
        let name =
            self.path.file_name().map_or_else(|| self.path.to_string_lossy(), |name| name.to_string_lossy());
        name.into_owned()
    }

    /// What each of its members is compared as.
    ///
    /// # Errors
    /// If its configuration cannot be read, or has not as many members.
    pub(crate) fn groups(&self, by: GroupBy, members: usize) -> Result<Vec<String>, CliError> {
        let one = |group: String| vec![group; members];
        Ok(match by {
            GroupBy::Learner => one(self.learner.clone()),
            GroupBy::Directory => one(fs::canonicalize(&self.path)
                .ok()
                .and_then(|run| Some(run.parent()?.file_name()?.to_string_lossy().into_owned()))
                .unwrap_or_default()),
            GroupBy::Settings => self.settings(members)?,
        })
    }

    /// The learner and the settings of each member.
    fn settings(&self, count: usize) -> Result<Vec<String>, CliError> {
        let path = self.path.join(CONFIG);
        let text =
            fs::read_to_string(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        let config = RunConfig::read(&text)?;
        if config.population < count {
            return Err(CliError::Input(format!(
                "{}: has {} members, the metrics {count}",
                path.display(),
                config.population
            )));
        }
        let members = Members::of(&config)?;
        let name = |member| match members.describe(member) {
            none if none.is_empty() => self.learner.clone(),
            settings => format!("{}, {settings}", self.learner),
        };
        Ok((0..count).map(name).collect())
    }
}

/// The runs at a path: itself, or those in it by their names.
///
/// # Errors
/// If there is none.
pub(crate) fn find(path: &Path) -> Result<Vec<PathBuf>, CliError> {
    if RunDirectory::holds_run(path) {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| CliError::Read { path: path.to_owned(), source };
    let entries = fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut runs: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    runs.retain(|path| RunDirectory::holds_run(path));
    runs.sort();
    if runs.is_empty() {
        return Err(CliError::Input(format!("{} holds no run and no directory of a run", path.display())));
    }
    Ok(runs)
}
