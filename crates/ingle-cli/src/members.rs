//! The members of a population: what they differ in, and each by itself.

use std::collections::BTreeMap;

use ingle::train::EpisodeStatistics;
use serde_json::json;
use toml::{Table, Value};

use crate::config::{POPULATION, RunConfig, flatten, insert};
use crate::error::CliError;
use crate::output::line;
use crate::sweep;

/// The settings in which the members of a configuration differ.
pub(crate) struct Members<'a> {
    config: &'a RunConfig,
    table: Table,
    /// By dotted key, a value for each member.
    settings: BTreeMap<String, Vec<Value>>,
}

impl<'a> Members<'a> {
    pub(crate) fn of(config: &'a RunConfig) -> Result<Self, CliError> {
        let defaults = RunConfig::default().to_table()?;
        let table = config.to_table()?;
        let mut all = BTreeMap::new();
        // The sections of the learner's own layers only.
        let own = config.to_toml()?.parse::<Table>().map_err(|error| CliError::Other(error.to_string()))?;
        flatten(String::new(), &Value::Table(own), &mut all);
        let settings = all.into_iter().filter_map(|(key, value)| match value {
            // A list may be a setting of one value (widths of layers), or one for each member.
            Value::Array(values)
                if values.len() == config.population && sweep::differs(&defaults, &key, values.first()?) =>
            {
                Some((key, values))
            }
            _ => None,
        });
        Ok(Self { config, settings: settings.collect(), table })
    }

    /// The configuration of one member alone: the same learner, as a population of one.
    ///
    /// # Errors
    /// If there is no such member.
    pub(crate) fn alone(&self, member: usize) -> Result<RunConfig, CliError> {
        let population = self.config.population;
        if member >= population {
            return Err(CliError::Config(vec![format!(
                "--member: must be below {population}, got {member}"
            )]));
        }
        let mut table = self.table.clone();
        for (key, values) in &self.settings {
            insert(&mut table, key, values[member].clone()).map_err(CliError::Other)?;
        }
        table.insert(POPULATION.to_owned(), Value::from(1));
        let config = RunConfig::from_table(table).map_err(|error| CliError::Other(error.to_string()))?;
        Ok(RunConfig { seed: self.config.seed.of(member).into(), ..config })
    }

    /// What a member has that others do not, its seed apart: `sac.tau 0.01, train.gamma 0.99`.
    pub(crate) fn describe(&self, member: usize) -> String {
        let settings = self.settings.iter().filter(|(key, _)| *key != "seed");
        let values = settings.map(|(key, values)| format!("{key} {}", values[member]));
        values.collect::<Vec<_>>().join(", ")
    }

    /// A member's settings and episodes.
    pub(crate) fn json(&self, member: usize, episodes: &EpisodeStatistics) -> serde_json::Value {
        let settings = self.settings.iter().filter(|(key, _)| *key != "seed");
        let settings: BTreeMap<&String, &Value> =
            settings.map(|(key, values)| (key, &values[member])).collect();
        let EpisodeStatistics { mean_return, std_return, episodes, .. } = episodes;
        json!({
            "member": member,
            "seed": self.config.seed.of(member),
            "settings": settings,
            "mean_return": mean_return,
            "std_return": std_return,
            "episodes": episodes,
        })
    }

    /// A row for each member, the best one marked.
    pub(crate) fn print(&self, evaluation: &[EpisodeStatistics], best: usize) -> Result<(), CliError> {
        line(format_args!("  {:>6} {:>10} {:>20}  settings", "member", "seed", "return"))?;
        evaluation.iter().enumerate().try_for_each(
            |(member, EpisodeStatistics { mean_return, std_return, .. })| {
                let mark = if member == best { '*' } else { ' ' };
                let (seed, value) =
                    (self.config.seed.of(member), format!("{mean_return:.1} ± {std_return:.1}"));
                line(format_args!("{mark} {member:>6} {seed:>10} {value:>20}  {}", self.describe(member)))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::resolve;

    #[test]
    fn a_member_alone_has_its_own_settings_and_seed() {
        let set = ["learner=rnd+sac", "seed=3", "sac.hidden=[8, 8]", "sweep.rnd.intrinsic=0.5,1.0"];
        let config = resolve(&set).unwrap();
        let members = Members::of(&config).unwrap();
        // Two layers for two members are widths, not settings of the members.
        assert_eq!(members.describe(1), "rnd.intrinsic 1.0");
        let set = ["learner=rnd+sac", "seed=4", "sac.hidden=[8, 8]", "rnd.intrinsic=1.0"];
        assert_eq!(members.alone(1).unwrap(), resolve(&set).unwrap());
        assert!(members.alone(2).unwrap_err().to_string().contains("--member: must be below 2, got 2"));
    }
}
