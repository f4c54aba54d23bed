//! `ingle demos`.

use std::path::Path;

use ingle::envs::VectorEnvironment;
use ingle::replay::demonstrations::{Demonstrations, Origin, ReadOptions, Spaces, Terminal};
use ingle::train::{EpisodeStatistics, record_episodes, write_atomically};
use serde_json::{Value, json};

use crate::arguments::{ConvertOptions, DemosCommand, FileOptions, InspectOptions, RecordOptions};
use crate::config::RunConfig;
use crate::error::CliError;
use crate::evaluate::RunPolicy;
use crate::learner::Sizes;
use crate::output::line;
use crate::train::environments;

pub(crate) fn run(command: &DemosCommand) -> Result<(), CliError> {
    match command {
        DemosCommand::Record(options) => record(options),
        DemosCommand::Inspect(options) => inspect(options),
        DemosCommand::Convert(options) => convert(options),
    }
}

fn record(options: &RecordOptions) -> Result<(), CliError> {
    let RecordOptions { run, episodes, out, seed, member, place, licence } = options;
    if *episodes == 0 {
        return Err(CliError::Config(vec!["--episodes: must be at least 1, got 0".into()]));
    }
    refuse_existing(out)?;
    let policy = RunPolicy::open(run, place)?;
    let mut environments = environments(&policy.config, *episodes)?;
    let (learner, env) = (policy.config.learner.clone(), policy.config.env.clone());
    let mut environment = environments.remove(0);
    let demonstrations = policy.with(Sizes::of(environment.as_ref()), |policy| {
        let recording = record_episodes(policy, *member, environment.as_mut(), *seed)?;
        let action = environment.action_space();
        let spaces = Spaces {
            observation: environment.observation_space().len(),
            action_low: action.low(),
            action_high: action.high(),
        };
        Ok(Demonstrations::new(spaces, recording)?)
    })?;
    let origin = Origin {
        environment: Some(env),
        source: Some(format!("the policy of {learner} in {}, seed {seed}", run.display())),
        licence: licence.clone(),
    };
    let demonstrations = demonstrations.with_origin(origin);
    write_atomically(out, &demonstrations.to_safetensors()?)?;
    let summary = Summary::of(&demonstrations);
    line(format_args!(
        "{} episodes, {} steps, mean return {}: {}",
        summary.lengths.episodes,
        demonstrations.len(),
        shown(summary.returns.map(|returns| returns.mean_return)),
        out.display()
    ))
}

fn inspect(options: &InspectOptions) -> Result<(), CliError> {
    let demonstrations = read(&options.file)?;
    let summary = Summary::of(&demonstrations);
    if options.json {
        return line(format_args!("{}", summary.json(&demonstrations, &options.file.path)));
    }
    let Summary { lengths, returns, least, most, terminated, truncated, .. } = &summary;
    let Origin { environment, source, licence } = demonstrations.origin();
    let text = |text: &Option<String>| text.as_deref().unwrap_or("not said").to_owned();
    let returns = match returns {
        Some(EpisodeStatistics { mean_return, std_return, .. }) => {
            format!("{mean_return:.1} ± {std_return:.1}, from {least:.1} to {most:.1}")
        }
        None => "no rewards".into(),
    };
    for (name, value) in [
        ("environment", text(environment)),
        ("source", text(source)),
        ("licence", text(licence)),
        ("episodes", format!("{}, of {:.1} steps on average", lengths.episodes, lengths.mean_length)),
        ("steps", demonstrations.len().to_string()),
        ("return", returns),
        ("terminated", format!("{terminated} episodes")),
        ("truncated", format!("{truncated} episodes")),
        ("SHA-256", demonstrations.sha256()),
    ] {
        line(format_args!("{name:12} {value}"))?;
    }
    line(format_args!("\n{:16} {:>12} {:>12} {:>12} {:>12}", "element", "least", "most", "low", "high"))?;
    for Range { name, least, most, bounds } in &summary.ranges {
        let (low, high) =
            bounds.map_or((String::new(), String::new()), |(low, high)| (low.to_string(), high.to_string()));
        line(format_args!("{name:16} {least:>12} {most:>12} {low:>12} {high:>12}"))?;
    }
    Ok(())
}

fn convert(options: &ConvertOptions) -> Result<(), CliError> {
    refuse_existing(&options.out)?;
    let demonstrations = read(&options.file)?;
    let Origin { environment, source, licence } = demonstrations.origin().clone();
    let origin = Origin {
        environment: options.file.env.clone().or(environment),
        source: options.source.clone().or(source),
        licence: options.licence.clone().or(licence),
    };
    let demonstrations = demonstrations.with_origin(origin);
    write_atomically(&options.out, &demonstrations.to_safetensors()?)?;
    let episodes = demonstrations.trajectories().len();
    line(format_args!("{episodes} episodes, {} steps: {}", demonstrations.len(), options.out.display()))
}

fn refuse_existing(path: &Path) -> Result<(), CliError> {
    if path.exists() {
        return Err(CliError::Input(format!("{} is there already: give another name", path.display())));
    }
    Ok(())
}

fn read(options: &FileOptions) -> Result<Demonstrations, CliError> {
    let terminal = match options.terminal.as_deref() {
        None => None,
        Some("terminated") => Some(Terminal::Terminated),
        Some("truncated") => Some(Terminal::Truncated),
        Some(steps) => Some(Terminal::TimeLimit(steps.parse().map_err(|_| {
            let problem =
                format!("--terminal: must be terminated, truncated or a number of steps, got {steps}");
            CliError::Config(vec![problem])
        })?)),
    };
    let Some(env) = &options.env else {
        let known = ReadOptions { terminal, ..ReadOptions::default() };
        return Ok(Demonstrations::read(&options.path, known)?);
    };
    let mut given = vec![("env", toml::Value::from(env.as_str()))];
    given.extend(
        options.python.iter().map(|python| ("environment.python", toml::Value::from(python.as_str()))),
    );
    let environment = environments(&RunConfig::resolve(None, &[], given)?, 1)?.remove(0);
    let action = environment.action_space();
    let known = ReadOptions {
        observation: Some(environment.observation_space().len()),
        action_bounds: Some((action.low(), action.high())),
        terminal,
    };
    Ok(Demonstrations::read(&options.path, known)?)
}

/// What there is to say of some episodes.
struct Summary {
    /// Their lengths; the returns of those without rewards count as 0 here.
    lengths: EpisodeStatistics,
    returns: Option<EpisodeStatistics>,
    least: f64,
    most: f64,
    terminated: usize,
    truncated: usize,
    ranges: Vec<Range>,
}

/// The values of one element of observations or actions.
struct Range {
    name: String,
    least: f32,
    most: f32,
    bounds: Option<(f32, f32)>,
}

impl Summary {
    fn of(demonstrations: &Demonstrations) -> Self {
        let episodes: Vec<(f64, u64)> = demonstrations
            .trajectories()
            .map(|trajectory| {
                let rewards = trajectory.reward.unwrap_or(&[]);
                (rewards.iter().map(|&reward| f64::from(reward)).sum(), trajectory.len() as u64)
            })
            .collect();
        // There is always an episode.
        let none = EpisodeStatistics { mean_return: 0.0, std_return: 0.0, mean_length: 0.0, episodes: 0 };
        let lengths = EpisodeStatistics::of(episodes.iter().copied()).unwrap_or(none);
        let returns = || episodes.iter().map(|(value, _)| *value);
        let spaces = demonstrations.spaces();
        let (o, a) = (spaces.observation, spaces.action_low.len());
        let mut ranges: Vec<Range> = (0..o)
            .map(|index| (format!("observation[{index}]"), None))
            .chain((0..a).map(|index| {
                let bounds = (spaces.action_low[index], spaces.action_high[index]);
                (format!("action[{index}]"), Some(bounds))
            }))
            .map(|(name, bounds)| Range { name, least: f32::INFINITY, most: f32::NEG_INFINITY, bounds })
            .collect();
        for trajectory in demonstrations.trajectories() {
            let last = &trajectory.next_observation[trajectory.next_observation.len() - o..];
            let observations = trajectory.observation.chunks_exact(o).chain([last]);
            let (of_observations, of_actions) = ranges.split_at_mut(o);
            observations.for_each(|observation| widen(of_observations, observation));
            trajectory.action.chunks_exact(a).for_each(|action| widen(of_actions, action));
        }
        let count = |flag: fn(&ingle::replay::demonstrations::Trajectory<'_>) -> bool| {
            demonstrations.trajectories().filter(flag).count()
        };
        Self {
            lengths,
            returns: demonstrations.has_rewards().then_some(lengths),
            least: returns().fold(f64::INFINITY, f64::min),
            most: returns().fold(f64::NEG_INFINITY, f64::max),
            terminated: count(|trajectory| trajectory.terminated),
            truncated: count(|trajectory| trajectory.truncated && !trajectory.terminated),
            ranges,
        }
    }

    fn json(&self, demonstrations: &Demonstrations, path: &Path) -> Value {
        let Origin { environment, source, licence } = demonstrations.origin();
        let spaces = demonstrations.spaces();
        let ranges = |from: usize, to: usize| -> Vec<[f32; 2]> {
            self.ranges[from..to].iter().map(|range| [range.least, range.most]).collect()
        };
        json!({
            "file": path,
            "environment": environment,
            "source": source,
            "licence": licence,
            "episodes": self.lengths.episodes,
            "steps": demonstrations.len(),
            "mean_length": self.lengths.mean_length,
            "mean_return": self.returns.map(|returns| returns.mean_return),
            "std_return": self.returns.map(|returns| returns.std_return),
            "min_return": self.returns.map(|_| self.least),
            "max_return": self.returns.map(|_| self.most),
            "terminated": self.terminated,
            "truncated": self.truncated,
            "observation_size": spaces.observation,
            "action_size": spaces.action_low.len(),
            "observation_ranges": ranges(0, spaces.observation),
            "action_ranges": ranges(spaces.observation, self.ranges.len()),
            "action_low": spaces.action_low,
            "action_high": spaces.action_high,
            "sha256": demonstrations.sha256(),
        })
    }
}

fn widen(ranges: &mut [Range], values: &[f32]) {
    for (range, &value) in ranges.iter_mut().zip(values) {
        range.least = range.least.min(value);
        range.most = range.most.max(value);
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or("unknown".into(), |value| format!("{value:.1}"))
}
