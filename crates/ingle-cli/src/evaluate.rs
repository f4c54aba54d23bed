//! `ingle eval`.

use std::path::Path;
use std::time::Instant;

use ingle::burn::tensor::Device;
use ingle::train::{EpisodeStatistics, RunDirectory};
use ingle::{CoreLearner, LearnerCore, Record, RecordItem, State};
use serde_json::json;

use crate::arguments::{EvalOptions, PlaceOptions};
use crate::config::{NONE, RunConfig};
use crate::error::CliError;
use crate::learner::Sizes;
use crate::members::Members;
use crate::output::{line, note};
use crate::stack::Core;
use crate::train::{CONFIG, environments};
use crate::{in_pool, learner};

/// They are played side by side, each in an environment of its own.
const MOST_EPISODES: usize = 1 << 16;

pub(crate) fn run(options: &EvalOptions) -> Result<(), CliError> {
    let start = Instant::now();
    if options.episodes == 0 {
        return Err(CliError::Config(vec!["--episodes: must be at least 1, got 0".into()]));
    }
    if options.episodes > MOST_EPISODES {
        let problem = format!("--episodes: must be at most {MOST_EPISODES}, got {}", options.episodes);
        return Err(CliError::Config(vec![problem]));
    }
    let saved = RunPolicy::open(&options.run, &options.place)?;
    let config = saved.config.clone();
    let whole = Members::of(&config)?;
    let policy = match options.member {
        Some(member) => saved.of_member(&whole, member)?,
        None => saved,
    };
    let mut environments = environments(&policy.config, options.episodes)?;
    // The direct core's, however deep it is nested.
    let updates = policy.record.0.iter().find_map(|(name, item)| match item {
        RecordItem::Counter(updates) if name == "updates" || name.ends_with("/updates") => Some(*updates),
        _ => None,
    });
    let members = policy.with(Sizes::of(environments[0].as_ref()), |policy| {
        Ok(ingle::train::evaluate(policy, &mut environments, options.seed)?)
    })?;
    let best = members.iter().copied().enumerate();
    let best = best.max_by(|(_, a), (_, b)| a.mean_return.total_cmp(&b.mean_return));
    let Some((best, EpisodeStatistics { mean_return, std_return, mean_length, episodes })) = best else {
        return Err(CliError::Other("no episode was played".into()));
    };
    // Who it is, where there are several.
    let member = options.member.unwrap_or(best);
    if options.json {
        let mut result = json!({
            "mean_return": mean_return,
            "std_return": std_return,
            "episodes": episodes,
            "env_steps": mean_length * episodes as f64,
            "updates": updates,
            "seconds": start.elapsed().as_secs_f64(),
            "run": options.run,
        });
        if config.population > 1 {
            result["member"] = json!(member);
        }
        if members.len() > 1 {
            result["members"] =
                members.iter().enumerate().map(|(member, own)| whole.json(member, own)).collect();
        }
        return line(format_args!("{result}"));
    }
    if members.len() > 1 {
        whole.print(&members, best)?;
    }
    let of_population = match (config.population, options.member) {
        (1, _) => String::new(),
        (_, Some(member)) => format!(" (member {member})"),
        (count, None) => format!(" (best of {count} members: {member})"),
    };
    line(format_args!(
        "mean return {mean_return:.1} ± {std_return:.1} over {episodes} episodes of {mean_length:.0} steps{of_population}"
    ))
}

/// The policy of a run, and what it was made with.
pub(crate) struct RunPolicy {
    pub(crate) config: RunConfig,
    device: Device,
    record: Record,
    /// The population that the record is of, and which member this is; none if it is all of them.
    whole: Option<(RunConfig, usize)>,
}

impl RunPolicy {
    /// The policy of a run, to be acted with on another device or in another environment, if one is given.
    pub(crate) fn open(run: &Path, place: &PlaceOptions) -> Result<Self, CliError> {
        if !run.is_dir() {
            return Err(CliError::Input(format!("{} is not the directory of a run", run.display())));
        }
        let PlaceOptions { env, python, device } = place;
        let given = [("device", device), ("env", env), ("environment.python", python)];
        let given =
            given.into_iter().filter_map(|(key, value)| Some((key, toml::Value::from(value.as_deref()?))));
        let config = RunConfig::resolve(Some(&run.join(CONFIG)), &[], given.collect())?;
        if config.env == NONE {
            let problem = "env: the run has no environment to play in: give one by --env";
            return Err(CliError::Config(vec![problem.into()]));
        }
        let device = ingle::device::open(&config.device)?;
        let (record, step) = RunDirectory::policy(run)?;
        if let Some(step) = step {
            note(format_args!("ingle: the run has not finished: this is its policy of step {step}"));
        }
        Ok(Self { record, config, device, whole: None })
    }

    /// The policy of one member of the run's population, as the learner that it would be alone.
    fn of_member(self, members: &Members<'_>, member: usize) -> Result<Self, CliError> {
        let config = members.alone(member)?;
        Ok(Self { whole: Some((self.config, member)), config, ..self })
    }

    /// Does something with the policy, for observations and actions of these sizes.
    pub(crate) fn with<T: Send>(
        &self,
        sizes: Sizes,
        work: impl FnOnce(&CoreLearner<Core, ()>) -> Result<T, CliError> + Send,
    ) -> Result<T, CliError> {
        let core = learner::core(&self.config, sizes)?;
        in_pool(None, || {
            let mut policy = CoreLearner::new(core, (), self.config.seed.clone(), &self.device)?;
            match &self.whole {
                None => policy.state.load(&self.record)?,
                Some((config, member)) => {
                    let mut all = learner::core(config, sizes)?.init(0, &self.device)?;
                    all.load(&self.record)?;
                    policy.state = all
                        .member(*member)
                        .ok_or_else(|| CliError::Other(format!("the state has no member {member}")))?;
                }
            }
            work(&policy)
        })
    }
}
