//! `ingle compare`: what groups of runs came to, with intervals.

use std::collections::BTreeMap;

use ingle::train::Event;
use serde_json::{Value, json};

use crate::arguments::CompareOptions;
use crate::error::CliError;
use crate::output::{line, note};
use crate::recorded::Recorded;
use crate::statistics::{interquartile_mean, interval, mean, median, probability_of_improvement};

/// Resamples behind the interval of a score, and of a probability of improvement: rliable's numbers.
const RESAMPLES: usize = 50_000;
const PAIR_RESAMPLES: usize = 2_000;

/// The environment of a row over all of them.
const ALL: &str = "all";

/// The scores of each group by environment. Groups are in the order in which they came up.
type Scores = Vec<(String, BTreeMap<String, Vec<f64>>)>;

pub(crate) fn run(options: &CompareOptions) -> Result<(), CliError> {
    let ranges = ranges(&options.normalise)?;
    let scores = scores(&Recorded::read_all(&options.runs)?, options, &ranges)?;
    let (rows, pairs) = (rows(&scores, !ranges.is_empty()), pairs(&scores));
    if options.json {
        let all = rows.iter().map(Row::json).chain(pairs.iter().map(Pair::json));
        return all.into_iter().try_for_each(|row| line(format_args!("{row}")));
    }
    let digits = if ranges.is_empty() { 1 } else { 3 };
    let score = if ranges.is_empty() { "return" } else { "normalised return" };
    line(format_args!("| environment | runs of | n | IQM of the {score} | 95 % interval | mean | median |"))?;
    line(format_args!("|---|---|---|---|---|---|---|"))?;
    rows.iter().try_for_each(|row| line(format_args!("{}", row.markdown(digits))))?;
    if pairs.is_empty() {
        return Ok(());
    }
    line(format_args!("\n| environment | a run of | beats one of | with probability | 95 % interval |"))?;
    line(format_args!("|---|---|---|---|---|"))?;
    pairs.iter().try_for_each(|pair| line(format_args!("{}", pair.markdown())))
}

/// The returns that become 0 and 1, by environment.
fn ranges(given: &[String]) -> Result<BTreeMap<String, (f64, f64)>, CliError> {
    let mut problems = Vec::new();
    let mut ranges = BTreeMap::new();
    for text in given {
        let range = text.rsplit_once('=').and_then(|(env, range)| {
            let (low, high) = range.split_once(',')?;
            let (low, high): (f64, f64) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
            (low.is_finite() && high.is_finite() && low < high).then(|| (env.trim().to_owned(), (low, high)))
        });
        match range {
            Some((env, range)) => {
                ranges.insert(env, range);
            }
            None => problems.push(format!("--normalise {text}: must be ENV=LOW,HIGH with LOW below HIGH")),
        }
    }
    if problems.is_empty() { Ok(ranges) } else { Err(CliError::Config(problems)) }
}

fn scores(
    runs: &[Recorded],
    options: &CompareOptions,
    ranges: &BTreeMap<String, (f64, f64)>,
) -> Result<Scores, CliError> {
    let mut scores = Scores::new();
    let mut steps: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for run in runs {
        let refuse = |problem: &str| CliError::Input(format!("{}: {problem}", run.path.display()));
        let range = match ranges.get(&run.env) {
            None if !ranges.is_empty() => {
                return Err(refuse(&format!(
                    "its returns have no range: add --normalise {}=LOW,HIGH",
                    run.env
                )));
            }
            range => range.copied().unwrap_or((0.0, 1.0)),
        };
        let most = options.steps.unwrap_or(u64::MAX);
        let last = run.events.iter().rev().find_map(|event| match event {
            Event::Evaluation { env_steps, members, .. } if *env_steps <= most => Some((*env_steps, members)),
            _ => None,
        });
        let Some((env_steps, members)) = last else {
            let until = options.steps.map_or(String::new(), |steps| format!(" up to step {steps}"));
            return Err(refuse(&format!("has no evaluation{until}")));
        };
        if !run.events.iter().any(|event| matches!(event, Event::Finished(_))) && options.steps.is_none() {
            note(format_args!(
                "ingle: {} has not finished: its evaluation at step {env_steps} counts",
                run.path.display()
            ));
        }
        steps.entry(&run.env).or_default().push(env_steps);
        for (member, group) in members.iter().zip(run.groups(options.group, members.len())?) {
            if !member.mean_return.is_finite() {
                return Err(refuse("the return of its evaluation is not a number: leave the run away"));
            }
            let place = scores.iter().position(|(name, _)| *name == group).unwrap_or_else(|| {
                scores.push((group, BTreeMap::new()));
                scores.len() - 1
            });
            let own = scores[place].1.entry(run.env.clone()).or_default();
            own.push((member.mean_return - range.0) / (range.1 - range.0));
        }
    }
    for (env, steps) in steps {
        let (least, most) =
            steps.iter().fold((u64::MAX, 0), |(low, high), own| (low.min(*own), high.max(*own)));
        if least < most {
            note(format_args!(
                "ingle: {env}: evaluations at steps {least} to {most} are compared (--steps {least} takes the last up to there)"
            ));
        }
    }
    Ok(scores)
}

/// The environments of all groups.
fn environments(scores: &Scores) -> Vec<&str> {
    let mut environments: Vec<&str> =
        scores.iter().flat_map(|(_, own)| own.keys().map(String::as_str)).collect();
    environments.sort_unstable();
    environments.dedup();
    environments
}

/// One group in one environment, or over all.
struct Row {
    env: String,
    group: String,
    n: usize,
    iqm: f64,
    /// None of a single run.
    interval: Option<(f64, f64)>,
    mean: f64,
    median: f64,
}

/// The rows of each environment; and over all of them, where returns can be put together.
fn rows(scores: &Scores, normalised: bool) -> Vec<Row> {
    let environments = environments(scores);
    let mut rows = Vec::new();
    for env in &environments {
        let own = scores.iter().filter_map(|(group, own)| Some((group, own.get(*env)?)));
        rows.extend(own.map(|(group, values)| Row::of(env, group, std::slice::from_ref(values))));
    }
    if normalised && environments.len() > 1 {
        let complete = scores.iter().filter(|(_, own)| own.len() == environments.len());
        rows.extend(
            complete.map(|(group, own)| Row::of(ALL, group, &own.values().cloned().collect::<Vec<_>>())),
        );
    }
    rows
}

impl Row {
    fn of(env: &str, group: &str, strata: &[Vec<f64>]) -> Self {
        let values = strata.concat();
        let several = strata.iter().any(|stratum| stratum.len() > 1);
        Self {
            env: env.to_owned(),
            group: group.to_owned(),
            n: values.len(),
            iqm: interquartile_mean(&values),
            interval: several
                .then(|| interval(strata, RESAMPLES, |strata| interquartile_mean(&strata.concat()))),
            mean: mean(&values),
            median: median(&values),
        }
    }

    fn markdown(&self, digits: usize) -> String {
        let Self { env, group, n, iqm, interval, mean, median } = self;
        let interval =
            interval.map_or("–".to_owned(), |(low, high)| format!("{low:.digits$} to {high:.digits$}"));
        format!(
            "| {env} | {group} | {n} | {iqm:.digits$} | {interval} | {mean:.digits$} | {median:.digits$} |"
        )
    }

    fn json(&self) -> Value {
        let Self { env, group, n, iqm, interval, mean, median } = self;
        json!({"env": env, "group": group, "n": n, "iqm": iqm, "interval": interval, "mean": mean, "median": median})
    }
}

/// Two groups in one environment, or over all.
struct Pair {
    env: String,
    group: String,
    than: String,
    probability: f64,
    /// None if each has a single run.
    interval: Option<(f64, f64)>,
}

/// Every group against every later one, in each environment and over all that both have.
fn pairs(scores: &Scores) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for env in environments(scores).into_iter().map(Some).chain([None]) {
        for (place, (group, own)) in scores.iter().enumerate() {
            for (than, other) in &scores[place + 1..] {
                let shared = own.iter().filter(|(name, _)| env.is_none_or(|env| env == *name));
                let (better, worse): (Vec<_>, Vec<_>) =
                    shared.filter_map(|(name, own)| Some((own.clone(), other.get(name)?.clone()))).unzip();
                if better.len() > usize::from(env.is_none()) {
                    pairs.push(Pair::of(env.unwrap_or(ALL), group, than, better, worse));
                }
            }
        }
    }
    pairs
}

impl Pair {
    fn of(env: &str, group: &str, than: &str, better: Vec<Vec<f64>>, worse: Vec<Vec<f64>>) -> Self {
        let count = better.len();
        let probability = probability_of_improvement(&better, &worse);
        let strata = [better, worse].concat();
        let several = strata.iter().any(|stratum| stratum.len() > 1);
        let resampled = || {
            interval(&strata, PAIR_RESAMPLES, |drawn| {
                let (better, worse) = drawn.split_at(count);
                probability_of_improvement(better, worse)
            })
        };
        Self {
            env: env.to_owned(),
            group: group.to_owned(),
            than: than.to_owned(),
            probability,
            interval: several.then(resampled),
        }
    }

    fn markdown(&self) -> String {
        let Self { env, group, than, probability, interval } = self;
        let interval = interval.map_or("–".to_owned(), |(low, high)| format!("{low:.2} to {high:.2}"));
        format!("| {env} | {group} | {than} | {probability:.2} | {interval} |")
    }

    fn json(&self) -> Value {
        let Self { env, group, than, probability, interval } = self;
        json!({"env": env, "group": group, "than": than, "probability": probability, "interval": interval})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An environment and its returns.
    type Returns<'a> = (&'a str, &'a [f64]);

    fn scores(groups: &[(&str, &[Returns<'_>])]) -> Scores {
        let own =
            |own: &[Returns<'_>]| own.iter().map(|(env, values)| ((*env).into(), values.to_vec())).collect();
        groups.iter().map(|(group, values)| ((*group).into(), own(values))).collect()
    }

    #[test]
    fn environments_are_put_together_only_where_returns_are_normalised() {
        let scores = scores(&[
            ("a", &[("x", &[1.0, 2.0, 3.0, 10.0]), ("y", &[0.0])]),
            ("b", &[("x", &[0.0, 1.0]), ("y", &[5.0])]),
            ("c", &[("x", &[4.0])]),
        ]);
        let named = |rows: &[Row]| {
            rows.iter().map(|row| format!("{} {} {}", row.env, row.group, row.n)).collect::<Vec<_>>()
        };
        assert_eq!(named(&rows(&scores, false)), ["x a 4", "x b 2", "x c 1", "y a 1", "y b 1"]);
        let rows = rows(&scores, true);
        assert_eq!(named(&rows)[5..], ["all a 5", "all b 3"]);
        // Of 1, 2, 3 and 10 the middle half; over both environments ⌊5 / 4⌋ are left away at each end.
        assert_eq!((rows[0].iqm, rows[0].mean, rows[0].median), (2.5, 4.0, 2.5));
        assert_eq!(rows[5].iqm, 2.0);
        assert!(rows[0].interval.is_some() && rows[2].interval.is_none());
        let pairs = pairs(&scores);
        let named: Vec<String> = pairs
            .iter()
            .map(|own| format!("{} {} {} {}", own.env, own.group, own.than, own.probability))
            .collect();
        // a beats b in x in 7.5 of 8 pairs (1 = 1 counts half), in y in none.
        assert_eq!(named, ["x a b 0.9375", "x a c 0.25", "x b c 0", "y a b 0", "all a b 0.46875"]);
    }

    #[test]
    fn ranges_are_read() {
        let given = ["mujoco:Hopper-v5=-1.5, 3000", "pendulum=-1200,-150"].map(str::to_owned);
        let read = ranges(&given).unwrap();
        assert_eq!(read["mujoco:Hopper-v5"], (-1.5, 3000.0));
        for wrong in ["pendulum", "pendulum=1", "pendulum=2,1", "pendulum=0,nan", "pendulum=a,b"] {
            let error = ranges(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("ENV=LOW,HIGH"), "{error}");
        }
    }
}
