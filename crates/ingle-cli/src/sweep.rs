//! Sweeps: settings given as lists or ranges. Their grid is the population: one learner for each combination.
//!
//! A sweep is resolved into the settings of a population, one list for each key, before anything else looks at it: what a run
//! writes down, resumes from and is evaluated with has no sweep in it.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::{POPULATION, RunConfig, flatten, insert, place, settings};

/// The section of a configuration that has sweeps in it.
pub(crate) const SWEEP: &str = "sweep";

/// The largest grid.
const LARGEST: u16 = 4096;

/// Settings that make the shapes of tensors.
const SHAPES: &[&str] =
    &["hidden", "critics", "features", "batch", "capacity", "n_step", "envs", "population", "kind"];

/// A range as a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: Value,
    to: Value,
    steps: u16,
    #[serde(default)]
    log: bool,
}

/// One swept setting.
struct Axis {
    key: String,
    values: Vec<Value>,
}

/// Takes the sweeps out of the given settings and puts the lists in their places that they come to, and the population.
/// Returns everything that is wrong with them.
pub(crate) fn expand(given: &mut Table, defaults: &Table) -> Vec<String> {
    let Some(section) = given.remove(SWEEP) else { return Vec::new() };
    let Value::Table(section) = section else {
        return vec![format!("{SWEEP}: must be a section of settings, each with a list or a range")];
    };
    let mut leaves = BTreeMap::new();
    collect(String::new(), &Value::Table(section), &mut leaves);
    let (mut axes, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in leaves {
        match values(&value).and_then(|values| check(&key, &values, defaults).map(|()| values)) {
            Ok(values) => axes.push(Axis { key, values }),
            Err(problem) => problems.push(format!("{SWEEP}.{key}: {problem}")),
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    let sizes = axes.iter().map(|axis| axis.values.len());
    let members = sizes.clone().try_fold(1_usize, usize::checked_mul);
    let Some(members) = members.filter(|members| *members <= usize::from(LARGEST)) else {
        let sizes = sizes.map(|size| size.to_string()).collect::<Vec<_>>().join(" × ");
        return vec![format!("{SWEEP}: {sizes} members, there may be {LARGEST}")];
    };
    let population = Value::from(i64::try_from(members).unwrap_or(i64::MAX));
    if let Some(other) = given.get(POPULATION).filter(|given| **given != population) {
        problems.push(format!(
            "{POPULATION}: the sweep has {members} members, got {other}: leave it out; for more of each, sweep seed too \
             (--sweep seed=0..4)"
        ));
    }
    given.insert(POPULATION.to_owned(), population);
    // The last key in the order of the alphabet changes from member to member, the first one most slowly.
    let mut repeat = members;
    for Axis { key, values } in axes {
        repeat /= values.len();
        let of = |member: usize| values[member / repeat % values.len()].clone();
        if let Err(problem) = insert(given, &key, Value::Array((0..members).map(of).collect())) {
            problems.push(problem);
        }
    }
    problems
}

/// The swept settings by their dotted keys: a table is a range if it has its ends, and a section if not.
fn collect(path: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) if !["from", "to", "steps"].iter().any(|key| table.contains_key(*key)) => {
            for (key, value) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(path, value, leaves);
            }
        }
        _ => {
            leaves.insert(path, value.clone());
        }
    }
}

/// The values of a sweep: `[1e-4, 3e-4]`, `{ from = 1e-4, to = 1e-2, steps = 5, log = true }`, and, as a text, `1e-4,3e-4` or
/// `0..8`.
fn values(value: &Value) -> Result<Vec<Value>, String> {
    let values = match value {
        Value::Array(values) => values.clone(),
        Value::Table(table) => {
            let range: Range = Value::Table(table.clone())
                .try_into()
                .map_err(|error: toml::de::Error| error.message().trim_end().to_owned())?;
            range.values()?
        }
        Value::String(text) => match text.split_once("..") {
            Some((from, to)) => match (from.trim().parse::<i64>(), to.trim().parse::<i64>()) {
                (Ok(from), Ok(to)) if to.saturating_sub(from) <= i64::from(LARGEST) => {
                    (from..to).map(Value::from).collect()
                }
                (Ok(_), Ok(_)) => return Err(format!("'{text}' has more than {LARGEST} values")),
                _ => return Err(format!("'{text}' is not a range of whole numbers such as 0..8")),
            },
            None => text.split(',').map(|value| number(value.trim())).collect::<Result<_, _>>()?,
        },
        single => vec![single.clone()],
    };
    if values.is_empty() { Err("has no values".into()) } else { Ok(values) }
}

fn number(text: &str) -> Result<Value, String> {
    let whole = text.parse::<i64>().map(Value::from);
    whole.or_else(|_| text.parse::<f64>().map(Value::from)).map_err(|_| format!("'{text}' is not a number"))
}

impl Range {
    fn values(&self) -> Result<Vec<Value>, String> {
        let Self { from, to, steps, log } = self;
        let end = |value: &Value| match value {
            Value::Integer(number) => Ok(*number as f64),
            Value::Float(number) if number.is_finite() => Ok(*number),
            other => Err(format!("a range goes from one finite number to another, got {other}")),
        };
        let (start, stop) = (end(from)?, end(to)?);
        if !(2..=LARGEST).contains(steps) {
            return Err(format!("steps: must be 2 to {LARGEST}, got {steps}"));
        }
        if *log && !(start > 0.0 && stop > 0.0) {
            return Err(format!("a logarithmic range has ends above 0, got {from} and {to}"));
        }
        if let (Value::Integer(from), Value::Integer(to), false) = (from, to, log) {
            let (width, gaps) = (to.saturating_sub(*from), i64::from(*steps) - 1);
            if width % gaps == 0 {
                return Ok((0..=gaps).map(|step| Value::from(from + width / gaps * step)).collect());
            }
        }
        let at = |step: u16| {
            let share = f64::from(step) / f64::from(steps - 1);
            // The ends exactly as they were given.
            match step {
                0 => start,
                _ if step + 1 == *steps => stop,
                _ if *log => (start.ln() + (stop.ln() - start.ln()) * share).exp(),
                _ => start + (stop - start) * share,
            }
        };
        Ok((0..*steps).map(|step| Value::from(at(step))).collect())
    }
}

/// Whether a setting of that value alone is accepted on top of the defaults.
fn accepts(defaults: &Table, key: &str, value: Value) -> Result<(), String> {
    let (mut single, mut trial) = (Table::new(), defaults.clone());
    insert(&mut single, key, value)?;
    for (path, value) in settings(&single) {
        place(&mut trial, &path, value);
    }
    RunConfig::from_table(trial).map(|_| ()).map_err(|error| error.message().trim_end().to_owned())
}

/// Whether the members of a population may differ in a setting, which now is `value`.
pub(crate) fn differs(defaults: &Table, key: &str, value: &Value) -> bool {
    let list = Value::Array(vec![value.clone(), value.clone()]);
    accepts(defaults, key, value.clone()).is_ok() && accepts(defaults, key, list).is_ok()
}

/// Refuses a sweep over what the members of a population share, and says what they may differ in.
fn check(key: &str, values: &[Value], defaults: &Table) -> Result<(), String> {
    for value in values {
        accepts(defaults, key, value.clone())?;
    }
    if accepts(defaults, key, Value::Array(values.to_vec())).is_ok() {
        return Ok(());
    }
    let mut all = BTreeMap::new();
    flatten(String::new(), &Value::Table(defaults.clone()), &mut all);
    let section = key.split('.').next().unwrap_or_default();
    let near = |other: &str| {
        !other.contains('.') || other.starts_with("train.") || other.starts_with(&format!("{section}."))
    };
    let free: Vec<&str> = all
        .iter()
        .filter(|(other, value)| near(other) && differs(defaults, other, value))
        .map(|(other, _)| other.as_str())
        .collect();
    let why = if SHAPES.contains(&key.rsplit('.').next().unwrap_or_default()) {
        "it makes the shapes of tensors, which all members of a population share"
    } else {
        "the members of a population are one program, and do this together"
    };
    Err(format!(
        "cannot be swept: {why}; run `ingle train` once for each value (can be swept: {})",
        free.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::resolve;

    #[test]
    fn the_grid_is_the_population() {
        let config = resolve(&[
            "sweep.sac.tau=0.01,0.1",
            "sweep.seed=5..8",
            "sac.tau=0.5",
            "sweep.train.gamma={ from = 0.9, to = 0.99, steps = 2 }",
        ])
        .unwrap();
        assert_eq!(config.population, 12);
        let tau = [0.01, 0.1].map(|tau| [tau; 6]).concat();
        assert_eq!(config.layers.sac.tau, tau.into());
        assert_eq!(config.seed, vec![5, 5, 6, 6, 7, 7, 5, 5, 6, 6, 7, 7].into());
        assert_eq!(config.train.gamma, [0.9, 0.99].repeat(6).into());
        // What a run writes down has no sweep in it.
        let text = config.to_toml().unwrap();
        assert!(!text.contains("sweep"), "{text}");
        assert_eq!(RunConfig::read(&text).unwrap(), config);
    }

    #[test]
    fn ranges_and_lists_mean_what_they_say() {
        let of = |text: &str| values(&format!("x = {text}").parse::<Table>().unwrap()["x"]);
        assert_eq!(of("{ from = 0, to = 8, steps = 3 }").unwrap(), [0, 4, 8].map(Value::from));
        assert_eq!(of("{ from = 0, to = 1, steps = 3 }").unwrap(), [0.0, 0.5, 1.0].map(Value::from));
        let log = of("{ from = 1e-4, to = 1e-2, steps = 3, log = true }").unwrap();
        assert_eq!([&log[0], &log[2]], [&Value::from(1e-4), &Value::from(1e-2)]);
        assert!((log[1].as_float().unwrap() / 1e-3 - 1.0).abs() < 1e-12, "{log:?}");
        assert_eq!(of("'1, 2.5'").unwrap(), [Value::from(1), Value::from(2.5)]);
        assert_eq!(of("'2..4'").unwrap(), [2, 3].map(Value::from));
        assert_eq!(of("0.5").unwrap(), [Value::from(0.5)]);
        for (text, problem) in [
            ("[]", "has no values"),
            ("'4..4'", "has no values"),
            ("'a..b'", "not a range of whole numbers"),
            ("'0..99999'", "more than 4096"),
            ("'1,x'", "'x' is not a number"),
            ("{ from = 1, to = 2, steps = 1 }", "steps: must be 2 to 4096"),
            ("{ from = 0, to = 2, steps = 3, log = true }", "ends above 0"),
            ("{ from = 0, to = nan, steps = 3 }", "finite"),
            ("{ from = 0, to = 2, step = 3 }", "unknown field `step`"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn what_the_members_share_is_refused_with_the_reason() {
        let problems = resolve(&[
            "sweep.replay.batch=64,256",
            "sweep.sac.hidden=[[64, 64], [256, 256]]",
            "sweep.train.updates_per_step=1,2",
            "sweep.sac.tua=0.1,0.2",
            "sweep.sac.tau=a,b",
        ])
        .unwrap_err();
        for parts in [
            ["sweep.replay.batch: cannot be swept: it makes the shapes", "can be swept: seed, train.gamma"],
            ["sweep.sac.hidden: cannot be swept: it makes the shapes", "sac.actor_learning_rate"],
            ["sweep.train.updates_per_step: cannot be swept: the members", "can be swept: seed, train.gamma"],
            ["sweep.sac.tua: unknown field `tua`", ""],
            ["sweep.sac.tau: 'a' is not a number", ""],
        ] {
            let found = problems.iter().any(|problem| parts.iter().all(|part| problem.contains(part)));
            assert!(found, "{parts:?} in {problems:#?}");
        }
        assert_eq!(problems.len(), 5, "{problems:#?}");
        // Widths of layers are a list, but not one for the members.
        assert!(resolve(&["sweep.sac.hidden=64,256"]).is_err());
        let problems = resolve(&["sweep.sac.tau=0.1,0.2", "population=3"]).unwrap_err();
        assert!(problems[0].contains("the sweep has 2 members, got 3"), "{problems:?}");
        let problems =
            resolve(&["sweep.seed=0..100", "sweep.sac.tau=[0.1]", "sweep.train.gamma=0..90"]).unwrap_err();
        assert!(problems[0].contains("1 × 100 × 90 members, there may be 4096"), "{problems:?}");
        // A value out of range is named as one that was set.
        let problems = resolve(&["sweep.sac.tau=0.1,2"]).unwrap_err();
        assert_eq!(problems, ["sac.tau: must be in (0, 1], got 2"]);
    }
}
