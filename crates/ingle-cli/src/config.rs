//! The configuration of a run: defaults, file, `--set` and options, merged and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ingle::device::DeviceName;
use ingle::envs::EnvironmentOptions;
use ingle::replay::demonstrations::Terminal;
use ingle::replay::{Data, Place, Priorities, ReplayConfig};
use ingle::{Error, GraphMode, Seeds, TrainConfig};
use serde::{Deserialize, Serialize, de::Error as _};
use toml::{Table, Value};

use crate::error::CliError;
use crate::learner::{Layers, Sizes, Stack};
use crate::sweep;

/// The key of the population, which is set once for all layers.
pub(crate) const POPULATION: &str = "population";

/// What may change when a run goes on: where it computes, when it ends, what is kept of it.
const FREE: &[&str] = &[
    "demonstrations.path",
    "device",
    "graph",
    "environment.python",
    "log.tensorboard",
    "replay.storage",
    "train.steps",
    "train.max_updates",
    "train.target_return",
    "train.max_skipped_updates",
    "train.checkpoint_interval",
    "train.checkpoints",
];

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
    /// Whether updates are captured and replayed.
    pub(crate) graph: GraphMode,
    /// Seed of everything random; member p of a population has that plus p, or its own of a list.
    pub(crate) seed: Seeds,
    /// Environments played side by side.
    pub(crate) envs: usize,
    /// Where environments that are not built in come from.
    pub(crate) environment: EnvironmentOptions,
    /// Learners trained side by side: the population of every layer.
    pub(crate) population: usize,
    /// The training loop.
    pub(crate) train: TrainConfig,
    /// What is written of the run beside its metrics.
    pub(crate) log: LogSettings,
    /// The replay buffer.
    pub(crate) replay: ReplaySettings,
    /// Demonstrations, for the layers that learn from them.
    pub(crate) demonstrations: DemonstrationSettings,
    /// The layers, each a section beside those above.
    #[serde(skip)]
    pub(crate) layers: Layers,
}

/// What is written of a run beside its metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// Event files for TensorBoard.
    pub(crate) tensorboard: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { tensorboard: true }
    }
}

/// Settings of the replay buffer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReplaySettings {
    /// How rows are drawn.
    pub(crate) kind: ReplayKind,
    /// Transitions kept.
    pub(crate) capacity: usize,
    /// Rows per update.
    pub(crate) batch: usize,
    /// Steps folded into a row.
    pub(crate) n_step: usize,
    /// Where rows are kept.
    pub(crate) storage: ReplayStorage,
    /// How a prioritised replay weighs its rows.
    pub(crate) priorities: Priorities,
}

/// Where demonstrations come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DemonstrationSettings {
    /// The file: safetensors in the flat layout, an `.npz` of Python's `imitation`, or a dataset of Minari.
    pub(crate) path: Option<PathBuf>,
    /// What the `terminal` flags of an `.npz` mean.
    pub(crate) terminal: Option<Terminal>,
    /// The bounds of actions, where neither an environment nor the file says them.
    pub(crate) action_low: Option<Vec<f32>>,
    pub(crate) action_high: Option<Vec<f32>>,
    /// The hash of the steps, wherever the file is: written down when a run begins.
    pub(crate) sha256: Option<String>,
}

/// The name of no environment, for a run that learns offline.
pub(crate) const NONE: &str = "none";

/// How a replay draws its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayKind {
    #[default]
    Uniform,
    Prioritised,
}

/// Where a replay keeps its rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayStorage {
    /// On the device, if that is no CPU.
    #[default]
    Auto,
    Host,
    Device,
}

impl Default for ReplaySettings {
    fn default() -> Self {
        let ReplayConfig { capacity, batch, .. } = ReplayConfig::new(1, 1);
        Self {
            kind: ReplayKind::default(),
            capacity,
            batch,
            n_step: 1,
            storage: ReplayStorage::default(),
            priorities: Priorities::default(),
        }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            learner: "sac".into(),
            env: "pendulum".into(),
            device: "flex".into(),
            graph: GraphMode::default(),
            seed: 0.into(),
            envs: 1,
            environment: EnvironmentOptions::default(),
            population: 1,
            train: TrainConfig::default(),
            log: LogSettings::default(),
            replay: ReplaySettings::default(),
            demonstrations: DemonstrationSettings::default(),
            layers: Layers::default(),
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
                    // `env` is the name, so that its arguments have a section of their own.
                    let key = match key.trim().strip_prefix("env.") {
                        Some(argument) => format!("environment.arguments.{argument}"),
                        None => key.trim().to_owned(),
                    };
                    if let Err(problem) = insert(&mut given, &key, parse_value(value.trim())) {
                        problems.push(problem);
                    }
                }
                None => problems.push(match assignment.strip_prefix("sweep.") {
                    Some(sweep) => format!("--sweep {sweep}: must be KEY=VALUES"),
                    None => format!("--set {assignment}: must be KEY=VALUE"),
                }),
            }
        }
        for (key, value) in options {
            if let Err(problem) = insert(&mut given, key, value) {
                problems.push(problem);
            }
        }

        // Each setting is tried by itself on top of the defaults, so that every one that is wrong is named.
        let defaults = Self::default().to_table()?;
        problems.extend(sweep::expand(&mut given, &defaults));
        let mut merged = defaults.clone();
        for (path, value) in settings(&given) {
            let name = path.join(".");
            if matches!(path.as_slice(), [_, key] if key == POPULATION) {
                problems.push(format!("{name}: all layers have one population: set {POPULATION}"));
                continue;
            }
            let mut trial = defaults.clone();
            place(&mut trial, &path, value.clone());
            match Self::from_table(trial) {
                Ok(_) => place(&mut merged, &path, value),
                Err(error) => problems.push(format!("{name}: {}", error.message().trim_end())),
            }
        }
        let mut config = Self::from_table(merged)
            .map_err(|error| CliError::Config(vec![error.message().trim_end().to_owned()]))?;
        if Stack::is_td3bc(&config.learner) {
            config.layers.td3.behaviour_cloning.get_or_insert_with(|| 2.5.into());
        }
        if config.is_offline() && !given.contains_key("env") {
            config.env = NONE.into();
        }
        problems.extend(config.violations());
        if problems.is_empty() { Ok(config) } else { Err(CliError::Config(problems)) }
    }

    /// Whether the learner plays nothing, and learns from a data set alone: one is given, and no layer wants it beside
    /// what is played.
    pub(crate) fn is_offline(&self) -> bool {
        self.demonstrations.path.is_some()
            && Stack::parse(&self.learner).is_ok_and(|stack| stack.imitator().is_none())
    }

    /// What a run needs that is not there: a data set, or an environment.
    ///
    /// # Errors
    /// One line that says which.
    pub(crate) fn check_sources(&self) -> Result<(), CliError> {
        let needs = Stack::parse(&self.learner)?.needs_data();
        let problem = match needs {
            Some((layer, what)) if self.demonstrations.path.is_none() => {
                format!("demonstrations.path: '{layer}' {what}: --data FILE")
            }
            _ if self.env == NONE && !self.is_offline() => {
                format!("env: '{}' learns from what it plays: give an environment", self.learner)
            }
            _ => return Ok(()),
        };
        Err(CliError::Config(vec![problem]))
    }

    /// Reads what a run wrote down of itself.
    ///
    /// # Errors
    /// If that is no configuration.
    pub(crate) fn read(text: &str) -> Result<Self, CliError> {
        let table =
            text.parse().map_err(|error: toml::de::Error| CliError::Config(vec![error.to_string()]))?;
        Self::from_table(table).map_err(|error| CliError::Config(vec![error.message().trim_end().to_owned()]))
    }

    /// The settings in which a run that goes on would differ from what it was, apart from those that
    /// [may](FREE) differ.
    pub(crate) fn differences(&self, before: &Self) -> Result<Vec<String>, CliError> {
        let (mut now, mut then) = (BTreeMap::new(), BTreeMap::new());
        flatten(String::new(), &Value::Table(self.to_table()?), &mut now);
        flatten(String::new(), &Value::Table(before.to_table()?), &mut then);
        let keys: BTreeSet<&String> = now.keys().chain(then.keys()).collect();
        let show = |value: Option<&Value>| value.map_or("not set".to_owned(), ToString::to_string);
        Ok(keys
            .into_iter()
            .filter(|key| now.get(*key) != then.get(*key) && !FREE.contains(&key.as_str()))
            // It is known only when the data were read.
            .filter(|key| key.as_str() != "demonstrations.sha256" || then.contains_key(*key))
            .map(|key| format!("{key}: the run has {}, got {}", show(then.get(key)), show(now.get(key))))
            .collect())
    }

    /// Every setting that is out of range, by its dotted key.
    fn violations(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.envs == 0 {
            problems.push("envs: must be at least 1, got 0".to_owned());
        }
        if self.population == 0 {
            problems.push("population: must be at least 1, got 0".to_owned());
        }
        if self.demonstrations.action_low.is_some() != self.demonstrations.action_high.is_some() {
            problems.push("demonstrations.action_low: comes with demonstrations.action_high".into());
        }
        if let Err(Error::Config(list)) = self.seed.check(self.population) {
            problems.extend(list);
        }
        problems.extend(self.train.gamma.violation("train.gamma", self.population, "in [0, 1]", |_| true));
        let ReplaySettings { capacity, batch, n_step, .. } = self.replay;
        let sizes = [("replay.capacity", capacity), ("replay.batch", batch), ("replay.n_step", n_step)];
        problems.extend(
            sizes
                .iter()
                .filter(|(_, size)| *size == 0)
                .map(|(name, _)| format!("{name}: must be at least 1, got 0")),
        );
        let sizes = [
            ("envs", self.envs, 1 << 16),
            ("replay.capacity", capacity, ReplayConfig::LARGEST_CAPACITY),
            ("replay.batch", batch, ReplayConfig::LARGEST_BATCH),
            ("replay.n_step", n_step, 1 << 16),
            ("population", self.population, 1 << 16),
        ];
        problems.extend(
            sizes
                .iter()
                .filter(|(_, size, most)| size > most)
                .map(|(name, size, most)| format!("{name}: must be at most {most}, got {size}")),
        );
        if n_step > 1 && Stack::parse(&self.learner).is_ok_and(|stack| !stack.processors.is_empty()) {
            problems.push(format!(
                "replay.n_step: must be 1 under a processor, which would write one reward where {n_step} are folded"
            ));
        }
        let mut sections =
            vec![("train", self.train.validate()), ("replay.priorities", self.replay.priorities.validate())];
        sections.extend(self.layers.validate());
        for (section, result) in sections {
            match result {
                Err(Error::Config(list)) => {
                    // The population was checked above, once for all layers.
                    let own = list.into_iter().filter(|problem| !problem.starts_with("population:"));
                    problems.extend(own.map(|problem| format!("{section}.{problem}")));
                }
                Err(other) => problems.push(other.to_string()),
                Ok(()) => {}
            }
        }
        problems
    }

    /// The replay buffer for an environment of these sizes.
    pub(crate) fn replay(&self, sizes: Sizes, data: Data) -> ReplayConfig {
        let Sizes { observation, action } = sizes;
        let ReplaySettings { capacity, batch, .. } = self.replay;
        let (population, place) = (self.population, self.place());
        ReplayConfig { observation, action, capacity, batch, population, data, place }
    }

    /// Where the replay keeps its rows: by itself on the device, unless that is a CPU, which reads the host's memory.
    pub(crate) fn place(&self) -> Place {
        match self.replay.storage {
            ReplayStorage::Host => Place::Host,
            ReplayStorage::Device => Place::Device,
            ReplayStorage::Auto => match self.device.parse() {
                Ok(DeviceName::Wgpu(_) | DeviceName::Cuda(_)) => Place::Device,
                _ => Place::Host,
            },
        }
    }

    /// The configuration as a file, with the sections of the learner's layers only.
    pub(crate) fn to_toml(&self) -> Result<String, CliError> {
        toml::to_string(&self.own_table()?)
            .map_err(|error| CliError::Other(format!("cannot write the configuration: {error}")))
    }

    /// The configuration as texts for TensorBoard: a table of the settings by their dotted keys, and the file.
    pub(crate) fn to_markdown(&self) -> Result<[(&'static str, String); 2], CliError> {
        let mut settings = BTreeMap::new();
        flatten(String::new(), &Value::Table(self.own_table()?), &mut settings);
        let rows = settings.iter().map(|(key, value)| {
            let value = value.to_string().replace('|', "\\|").replace('\n', " ");
            format!("| {key} | {value} |")
        });
        let head = ["| setting | value |", "|---|---|"].map(str::to_owned);
        let table = head.into_iter().chain(rows).collect::<Vec<_>>().join("\n");
        // What is indented is code.
        let file = self.to_toml()?.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
        Ok([("hyperparameters", table), ("config", file)])
    }

    /// All settings but those of the layers that the learner has not.
    fn own_table(&self) -> Result<Table, CliError> {
        let mut table = self.to_table()?;
        let stack = Stack::parse(&self.learner)?;
        for (section, _) in self.layers.validate() {
            if !stack.layers().any(|layer| layer == section) {
                table.remove(section);
            }
        }
        Ok(table)
    }

    /// All settings, every layer's in its section. The population is in none of the sections, but above them.
    pub(crate) fn to_table(&self) -> Result<Table, CliError> {
        let failed = |error: toml::ser::Error| CliError::Other(error.to_string());
        let mut table = Table::try_from(self).map_err(failed)?;
        for (name, mut section) in Table::try_from(&self.layers).map_err(failed)? {
            if let Value::Table(section) = &mut section {
                section.remove(POPULATION);
            }
            table.insert(name, section);
        }
        Ok(table)
    }

    /// Reads what [`Self::to_table`] wrote, and gives every layer the population.
    pub(crate) fn from_table(mut table: Table) -> Result<Self, toml::de::Error> {
        let population = table.get(POPULATION).cloned();
        let mut sections = Table::new();
        for (name, default) in Table::try_from(Layers::default()).map_err(toml::de::Error::custom)? {
            let mut section = table.remove(&name).unwrap_or_else(|| default.clone());
            if let (Value::Table(section), Some(population)) = (&mut section, &population)
                && default.get(POPULATION).is_some()
            {
                section.insert(POPULATION.to_owned(), population.clone());
            }
            sections.insert(name, section);
        }
        let config: Self = table.try_into()?;
        Ok(Self { layers: sections.try_into()?, ..config })
    }
}

/// The settings in a value by their dotted keys.
pub(crate) fn flatten(path: String, value: &Value, settings: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(path, value, settings);
            }
        }
        _ => {
            settings.insert(path, value.clone());
        }
    }
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
pub(crate) fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
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
pub(crate) fn settings(given: &Table) -> Vec<(Vec<String>, Value)> {
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
pub(crate) fn place(table: &mut Table, path: &[String], value: Value) {
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
pub(crate) mod tests {
    use super::*;

    /// A configuration of these settings, or all that is wrong with them.
    pub(crate) fn resolve(set: &[&str]) -> Result<RunConfig, Vec<String>> {
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
        assert_eq!(config.layers.sac.hidden, [64, 64]);
        assert_eq!(config.layers.sac.temperature, ingle::sac::Temperature::Fixed(0.2.into()));
        assert_eq!(config.layers.sac.critics, 2);
    }

    #[test]
    fn a_resolved_configuration_reads_back() {
        let config = resolve(&["sac.tau=0.01", "train.target_return=-150.0"]).unwrap();
        let read = RunConfig::from_table(config.to_toml().unwrap().parse().unwrap()).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn the_population_is_set_once_for_all_layers() {
        let config =
            resolve(&["learner=rnd+ail+td3", "population=3", "rnd.intrinsic=[1.0, 2.0, 3.0]"]).unwrap();
        let layers = &config.layers;
        assert_eq!([layers.rnd.population, layers.ail.population, layers.td3.population], [3; 3]);
        let text = config.to_toml().unwrap();
        assert_eq!(text.matches("population").count(), 1, "{text}");
        assert!(text.contains("[ail]") && !text.contains("[sac]"), "{text}");
        let read = RunConfig::from_table(text.parse().unwrap()).unwrap();
        assert_eq!(read, config);
        let problems = resolve(&["sac.population=3", "population=0"]).unwrap_err();
        assert!(problems[0].contains("sac.population: all layers have one population: set population"));
        assert_eq!(problems[1..], ["population: must be at least 1, got 0"]);
    }

    #[test]
    fn priorities_are_a_table_of_the_replay() {
        let config = resolve(&["replay.kind=prioritised", "replay.priorities.alpha=0.5"]).unwrap();
        assert_eq!(config.replay.kind, ReplayKind::Prioritised);
        assert_eq!(config.replay.priorities, Priorities { alpha: 0.5, ..Priorities::default() });
        let read = RunConfig::from_table(config.to_toml().unwrap().parse().unwrap()).unwrap();
        assert_eq!(read, config);
        let problems = resolve(&["learner=rnd+sac", "replay.n_step=3"]).unwrap_err();
        assert!(problems[0].contains("replay.n_step: must be 1 under a processor"), "{problems:?}");
        assert_eq!(resolve(&["learner=td3", "replay.n_step=3"]).unwrap().replay.n_step, 3);
        let problems = resolve(&["replay.kind=sorted", "replay.priorities.beta=2.0"]).unwrap_err();
        assert!(problems[0].contains("replay.kind: unknown variant `sorted`"), "{problems:?}");
        assert!(problems[1].contains("replay.priorities.beta: must be in [0, 1], got 2"), "{problems:?}");
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
