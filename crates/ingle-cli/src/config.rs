//! The configuration of a run: defaults, file, `--set` and options, merged and checked.

use std::fs;
use std::path::Path;

use ingle::envs::EnvironmentOptions;
use ingle::nested::rnd::RndConfig;
use ingle::replay::{Data, ReplayConfig};
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Error, TrainConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::error::CliError;

/// Everything that determines a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RunConfig {
    /// The learner, outermost first.
    pub(crate) learner: String,
    /// The environment.
    pub(crate) env: String,
    /// The device.
    pub(crate) device: String,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// Environments played side by side.
    pub(crate) envs: usize,
    /// Where environments that are not built in come from.
    pub(crate) environment: EnvironmentOptions,
    /// The training loop.
    pub(crate) train: TrainConfig,
    /// The replay buffer.
    pub(crate) replay: ReplaySettings,
    /// SAC.
    pub(crate) sac: SacConfig,
    /// TD3.
    pub(crate) td3: Td3Config,
    /// RND; its population is the direct core's.
    pub(crate) rnd: RndConfig,
}

/// Settings of the replay buffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplaySettings {
    /// Transitions kept.
    pub(crate) capacity: usize,
    /// Rows per update.
    pub(crate) batch: usize,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        let ReplayConfig { capacity, batch, .. } = ReplayConfig::new(1, 1);
        Self { capacity, batch }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            learner: "sac".into(),
            env: "pendulum".into(),
            device: "flex".into(),
            seed: 0,
            envs: 1,
            environment: EnvironmentOptions::default(),
            train: TrainConfig::default(),
            replay: ReplaySettings::default(),
            sac: SacConfig::default(),
            td3: Td3Config::default(),
            rnd: RndConfig::default(),
        }
    }
}

impl RunConfig {
    /// Reads `file`, lays `set` (`key=value`) and then `options` (key, value) over it, and checks everything.
    ///
    /// # Errors
    /// Every problem at once: keys that do not exist, values of another type, values out of range.
    pub(crate) fn resolve(
        file: Option<&Path>,
        set: &[String],
        options: Vec<(&str, Value)>,
    ) -> Result<Self, CliError> {
        let mut problems = Vec::new();
        let mut given = match file {
            Some(path) => read_table(path)?,
            None => Table::new(),
        };
        for assignment in set {
            match assignment.split_once('=') {
                Some((key, value)) => {
                    if let Err(problem) = insert(&mut given, key.trim(), parse_value(value.trim())) {
                        problems.push(problem);
                    }
                }
                None => problems.push(format!("--set {assignment}: must be KEY=VALUE")),
            }
        }
        for (key, value) in options {
            if let Err(problem) = insert(&mut given, key, value) {
                problems.push(problem);
            }
        }

        // Each setting is tried by itself on top of the defaults, so that every one that is wrong is named.
        let mut merged = defaults()?;
        for (path, value) in settings(&given) {
            let mut trial = defaults()?;
            place(&mut trial, &path, value.clone());
            match trial.try_into::<Self>() {
                Ok(_) => place(&mut merged, &path, value),
                Err(error) => problems.push(format!("{}: {}", path.join("."), error.message().trim_end())),
            }
        }
        let mut config: Self = merged
            .try_into()
            .map_err(|error: toml::de::Error| CliError::Config(vec![error.message().to_owned()]))?;
        // The processor has as many members as the core below it; a configuration that says otherwise is refused.
        let population = crate::learner::population(&config);
        if config.rnd.population == RndConfig::default().population {
            config.rnd.population = population;
        } else if config.rnd.population != population {
            problems.push(format!(
                "rnd.population: must be the direct core's, {population}, got {}",
                config.rnd.population
            ));
        }
        problems.extend(config.violations());
        if problems.is_empty() { Ok(config) } else { Err(CliError::Config(problems)) }
    }

    /// Every setting that is out of range, by its dotted key.
    fn violations(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.envs == 0 {
            problems.push("envs: must be at least 1, got 0".to_owned());
        }
        let sizes = [("replay.capacity", self.replay.capacity), ("replay.batch", self.replay.batch)];
        problems.extend(
            sizes
                .iter()
                .filter(|(_, size)| *size == 0)
                .map(|(name, _)| format!("{name}: must be at least 1, got 0")),
        );
        let sections = [
            ("train", self.train.validate()),
            ("sac", self.sac.validate()),
            ("td3", self.td3.validate()),
            ("rnd", self.rnd.validate()),
        ];
        for (section, result) in sections {
            match result {
                Err(Error::Config(list)) => {
                    problems.extend(list.into_iter().map(|problem| format!("{section}.{problem}")));
                }
                Err(other) => problems.push(other.to_string()),
                Ok(()) => {}
            }
        }
        problems
    }

    /// The replay buffer for an environment of these sizes.
    pub(crate) fn replay(&self, observation: usize, action: usize, population: usize) -> ReplayConfig {
        let ReplaySettings { capacity, batch } = self.replay;
        ReplayConfig { observation, action, capacity, batch, population, data: Data::Own }
    }

    /// The configuration as a file.
    pub(crate) fn to_toml(&self) -> Result<String, CliError> {
        toml::to_string(self)
            .map_err(|error| CliError::Other(format!("cannot write the configuration: {error}")))
    }
}

fn defaults() -> Result<Table, CliError> {
    Table::try_from(RunConfig::default()).map_err(|error| CliError::Other(error.to_string()))
}

fn read_table(path: &Path) -> Result<Table, CliError> {
    let text = fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    text.parse::<Table>().map_err(|error| CliError::Config(vec![format!("{}: {error}", path.display())]))
}

/// A value as in a TOML file; what is none is a string, so that quotes are not needed on the command line.
fn parse_value(text: &str) -> Value {
    format!("value = {text}")
        .parse::<Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Puts a value at a dotted key.
fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let mut parts: Vec<&str> = key.split('.').collect();
    let Some(last) = parts.pop().filter(|last| !last.is_empty() && parts.iter().all(|part| !part.is_empty()))
    else {
        return Err(format!("'{key}' is not a dotted key"));
    };
    let mut place = table;
    for part in parts {
        let entry = place.entry(part.to_owned()).or_insert_with(|| Value::Table(Table::new()));
        match entry {
            Value::Table(inner) => place = inner,
            _ => return Err(format!("{key}: {part} is not a section")),
        }
    }
    place.insert(last.to_owned(), value);
    Ok(())
}

/// The settings in a table: `key` or `section.key`, each with its whole value.
fn settings(given: &Table) -> Vec<(Vec<String>, Value)> {
    let mut settings = Vec::new();
    for (name, value) in given {
        match value {
            Value::Table(section) => settings
                .extend(section.iter().map(|(key, value)| (vec![name.clone(), key.clone()], value.clone()))),
            _ => settings.push((vec![name.clone()], value.clone())),
        }
    }
    settings
}

/// Replaces the value at a path of one or two keys.
fn place(table: &mut Table, path: &[String], value: Value) {
    match path {
        [key] => {
            table.insert(key.clone(), value);
        }
        [section, key] => {
            let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = entry {
                section.insert(key.clone(), value);
            } else {
                *entry = Value::Table(Table::from_iter([(key.clone(), value)]));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(set: &[&str]) -> Result<RunConfig, Vec<String>> {
        let set: Vec<String> = set.iter().map(ToString::to_string).collect();
        RunConfig::resolve(None, &set, Vec::new()).map_err(|error| match error {
            CliError::Config(list) => list,
            other => vec![other.to_string()],
        })
    }

    #[test]
    fn settings_are_laid_over_the_defaults() {
        let config =
            resolve(&["env=mountain-car-continuous", "sac.hidden=[64, 64]", "sac.temperature.fixed=0.2"])
                .unwrap();
        assert_eq!(config.env, "mountain-car-continuous");
        assert_eq!(config.sac.hidden, [64, 64]);
        assert_eq!(config.sac.temperature, ingle::sac::Temperature::Fixed(0.2.into()));
        assert_eq!(config.sac.critics, 2);
    }

    #[test]
    fn a_resolved_configuration_reads_back() {
        let config = resolve(&["sac.tau=0.01", "train.target_return=-150.0"]).unwrap();
        let read: RunConfig = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let problems = resolve(&[
            "sac.tua=0.1",
            "sac.actor_learning_rate=-1.0",
            "replay.batch=0",
            "train.steps=many",
            "train.gamma=nan",
            "speed=9",
            "nonsense",
        ])
        .unwrap_err();
        for part in [
            "sac.tua: unknown field `tua`",
            "sac.actor_learning_rate: must be a finite number above 0, got -1",
            "replay.batch: must be at least 1",
            "train.steps: invalid type",
            "train.gamma: must be in [0, 1], got NaN",
            "speed: unknown field `speed`",
            "--set nonsense: must be KEY=VALUE",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part} in {problems:#?}");
        }
        assert_eq!(problems.len(), 7, "{problems:#?}");
    }
}
