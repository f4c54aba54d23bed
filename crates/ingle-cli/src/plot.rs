//! `ingle plot`: learning curves of runs, their mean and its interval over the runs of a group.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ingle::random::RandomStream;
use serde_json::{Value, json};

use crate::arguments::{GroupBy, PlotOptions};
use crate::config::RunConfig;
use crate::error::CliError;
use crate::members::Members;
use crate::output::{line, note};
use crate::train::{CONFIG, METRICS};

/// Resamples behind an interval.
const RESAMPLES: usize = 2_000;
/// Share of the resampled means inside of an interval.
const CONFIDENCE: f64 = 0.95;

/// A figure of learning curves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) series: Vec<Series>,
    /// A horizontal line to compare with.
    pub(crate) threshold: Option<f64>,
}

/// One line with a band around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) points: Vec<Point>,
}

/// Mean and interval at one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// One member of one run: a value by environment steps.
#[derive(Debug, Clone, PartialEq)]
struct Curve {
    run: String,
    group: String,
    values: BTreeMap<u64, f64>,
}

pub(crate) fn run(options: &PlotOptions) -> Result<(), CliError> {
    if let Some(threshold) = options.threshold.filter(|threshold| !threshold.is_finite()) {
        return Err(CliError::Config(vec![format!("--threshold: must be finite, got {threshold}")]));
    }
    let mut curves = Vec::new();
    for run in &options.runs {
        curves.extend(read_curves(run, options)?);
    }
    let figure = figure(&curves, options)?;
    if options.json {
        print_json(&curves, options.threshold)?;
    } else {
        print_table(&curves, options)?;
    }
    let Some(stem) = &options.out else { return Ok(()) };
    for path in draw(&figure, stem)? {
        note(format_args!("{}", path.display()));
    }
    Ok(())
}

/// Draws a figure as `stem.svg` and `stem.png`.
#[cfg(feature = "plot")]
fn draw(figure: &Figure, stem: &Path) -> Result<[PathBuf; 2], CliError> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| {
        CliError::Other(format!("cannot draw {}: {reason}", path.display()))
    };
    if let Some(parent) = stem.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
    }
    let name = stem.file_name().unwrap_or_default().to_string_lossy();
    let paths = ["svg", "png"].map(|extension| stem.with_file_name(format!("{name}.{extension}")));
    let svg = crate::draw::svg(figure).map_err(|reason| failed(&paths[0], &reason))?;
    let png = crate::draw::png(figure).map_err(|reason| failed(&paths[1], &reason))?;
    for (path, bytes) in paths.iter().zip([svg.as_bytes(), &png[..]]) {
        ingle::train::write_atomically(path, bytes)?;
    }
    Ok(paths)
}

#[cfg(not(feature = "plot"))]
fn draw(_: &Figure, _: &Path) -> Result<[PathBuf; 0], CliError> {
    Err(CliError::Input(
        "this ingle was built without drawing: build it with the feature `plot` (a default one), or leave --out away".into(),
    ))
}

/// The curves of a run, one for each member of its population.
fn read_curves(run: &Path, options: &PlotOptions) -> Result<Vec<Curve>, CliError> {
    let path = run.join(METRICS);
    let text = fs::read_to_string(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
    let members = parse_metrics(&text, &options.metric)
        .map_err(|problem| CliError::Input(format!("{}: {problem}", path.display())))?;
    let several = members.len() > 1;
    let one = |group: String| vec![group; members.len()];
    let groups = match options.group {
        GroupBy::Settings => settings(run, members.len())?,
        GroupBy::Learner => one(learner(run)?),
        GroupBy::Directory => {
            let parent = fs::canonicalize(run).ok().and_then(|run| Some(run.parent()?.to_owned()));
            let name = parent.and_then(|parent| Some(parent.file_name()?.to_string_lossy().into_owned()));
            one(name.unwrap_or_default())
        }
    };
    let name = run.file_name().map_or_else(|| run.to_string_lossy(), |name| name.to_string_lossy());
    Ok(members
        .into_iter()
        .zip(groups)
        .enumerate()
        .map(|(member, (values, group))| Curve {
            run: if several { format!("{name}, member {member}") } else { name.clone().into_owned() },
            group,
            values,
        })
        .collect())
}

/// The learner and the settings of each of a run's members.
fn settings(run: &Path, count: usize) -> Result<Vec<String>, CliError> {
    let path = run.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
    let config = RunConfig::read(&text)?;
    if config.population < count {
        return Err(CliError::Input(format!(
            "{}: has {} members, the metrics {count}",
            path.display(),
            config.population
        )));
    }
    let members = Members::of(&config)?;
    let learner = &config.learner;
    let name = |member| match members.describe(member) {
        none if none.is_empty() => learner.clone(),
        settings => format!("{learner}, {settings}"),
    };
    Ok((0..count).map(name).collect())
}

/// The learner of a run.
fn learner(run: &Path) -> Result<String, CliError> {
    let path = run.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
    let table = text.parse::<toml::Table>().ok();
    table
        .and_then(|table| Some(table.get("learner")?.as_str()?.to_owned()))
        .ok_or_else(|| CliError::Input(format!("{}: has no learner", path.display())))
}

/// Each member's values of a metric by environment steps; `evaluation` is the mean return of an evaluation.
fn parse_metrics(text: &str, metric: &str) -> Result<Vec<BTreeMap<u64, f64>>, String> {
    let mut members: Vec<BTreeMap<u64, f64>> = Vec::new();
    let mut seen = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            // A run that goes on, or was ended, may have written half of its last line.
            Err(_) if index + 1 == lines.len() => break,
            Err(error) => return Err(format!("line {}: {error}", index + 1)),
        };
        let values: Option<Vec<f64>> = match event["event"].as_str() {
            Some("evaluation") if metric == "evaluation" => event["members"]
                .as_array()
                .map(|members| members.iter().filter_map(|member| member["mean_return"].as_f64()).collect()),
            Some("metrics") => {
                let metrics = event["metrics"].as_object();
                for name in metrics.into_iter().flat_map(serde_json::Map::keys) {
                    if !seen.contains(name) {
                        seen.push(name.clone());
                    }
                }
                metrics
                    .and_then(|metrics| metrics.get(metric)?.as_array())
                    .map(|values| values.iter().filter_map(Value::as_f64).collect())
            }
            _ => None,
        };
        let (Some(values), Some(steps)) = (values, event["env_steps"].as_u64()) else { continue };
        members.resize_with(members.len().max(values.len()), BTreeMap::new);
        for (member, value) in members.iter_mut().zip(values) {
            member.insert(steps, value);
        }
    }
    if members.is_empty() {
        seen.sort();
        return Err(format!("no values of '{metric}' (there are evaluation, {})", seen.join(", ")));
    }
    Ok(members)
}

fn figure(curves: &[Curve], options: &PlotOptions) -> Result<Figure, CliError> {
    let series = groups(curves)
        .into_iter()
        .map(|(group, curves)| {
            let points = points(&curves);
            if points.is_empty() {
                return Err(CliError::Input(format!(
                    "the runs of {group} have no environment steps in common"
                )));
            }
            let label = if curves.len() > 1 { format!("{group} ({} runs)", curves.len()) } else { group };
            Ok(Series { label, points })
        })
        .collect::<Result<_, _>>()?;
    let y_label = match options.metric.as_str() {
        "evaluation" => "mean return of an evaluation".to_owned(),
        metric => metric.replace('_', " "),
    };
    Ok(Figure { x_label: "environment steps".into(), y_label, series, threshold: options.threshold })
}

/// The curves of each group, in the order in which the groups come up.
fn groups(curves: &[Curve]) -> Vec<(String, Vec<&Curve>)> {
    let mut groups: Vec<(String, Vec<&Curve>)> = Vec::new();
    for curve in curves {
        match groups.iter_mut().find(|(name, _)| *name == curve.group) {
            Some((_, own)) => own.push(curve),
            None => groups.push((curve.group.clone(), vec![curve])),
        }
    }
    groups
}

/// Mean and interval over the curves wherever all of them have a value.
fn points(curves: &[&Curve]) -> Vec<Point> {
    let Some((first, rest)) = curves.split_first() else { return Vec::new() };
    first
        .values
        .keys()
        .filter(|steps| rest.iter().all(|curve| curve.values.contains_key(steps)))
        .map(|steps| {
            let values: Vec<f64> = curves.iter().map(|curve| curve.values[steps]).collect();
            let (low, high) = interval(&values);
            Point { x: *steps as f64, mean: mean(&values), low, high }
        })
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The bootstrap's percentile interval of the mean, always drawn alike. Of a single value it is that value.
fn interval(values: &[f64]) -> (f64, f64) {
    let mut stream = RandomStream::new(0, 0);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| mean(&values.iter().map(|_| values[stream.index(values.len())]).collect::<Vec<_>>()))
        .collect();
    means.sort_by(f64::total_cmp);
    let outside = (1.0 - CONFIDENCE) / 2.0 * (RESAMPLES - 1) as f64;
    (means[outside.floor() as usize], means[RESAMPLES - 1 - outside.floor() as usize])
}

/// What a curve came to.
struct Outcome {
    last: f64,
    best: f64,
    /// The first steps at which the threshold was reached.
    reached: Option<u64>,
}

impl Outcome {
    fn of(curve: &Curve, threshold: Option<f64>) -> Self {
        Self {
            last: curve.values.values().next_back().copied().unwrap_or(f64::NAN),
            best: curve.values.values().copied().fold(f64::NEG_INFINITY, f64::max),
            reached: threshold.and_then(|threshold| {
                curve.values.iter().find(|(_, value)| **value >= threshold).map(|(steps, _)| *steps)
            }),
        }
    }
}

fn print_json(curves: &[Curve], threshold: Option<f64>) -> Result<(), CliError> {
    for curve in curves {
        let Outcome { last, best, reached } = Outcome::of(curve, threshold);
        line(format_args!(
            "{}",
            json!({"group": curve.group, "run": curve.run, "last": last, "best": best, "reached": reached})
        ))?;
    }
    Ok(())
}

/// A row for each run, then one for each group: a table in Markdown.
fn print_table(curves: &[Curve], options: &PlotOptions) -> Result<(), CliError> {
    let header = options.threshold.map_or(String::new(), |threshold| format!(" first ≥ {threshold} at |"));
    line(format_args!("| run | last | best |{header}"))?;
    line(format_args!("|---|---|---|{}", if header.is_empty() { "" } else { "---|" }))?;
    let threshold = options.threshold;
    for (group, curves) in groups(curves) {
        let outcomes: Vec<Outcome> = curves.iter().map(|curve| Outcome::of(curve, threshold)).collect();
        for (curve, Outcome { last, best, reached }) in curves.iter().zip(&outcomes) {
            let reached = threshold.map_or(String::new(), |_| {
                format!(" {} |", reached.map_or("–".into(), |steps| steps.to_string()))
            });
            line(format_args!("| {} | {last:.1} | {best:.1} |{reached}", curve.run))?;
        }
        let of = |value: fn(&Outcome) -> f64| mean(&outcomes.iter().map(value).collect::<Vec<_>>());
        let reached = threshold.map_or(String::new(), |_| {
            format!(
                " {} of {} |",
                outcomes.iter().filter(|outcome| outcome.reached.is_some()).count(),
                outcomes.len()
            )
        });
        line(format_args!(
            "| **{group}**, mean | {:.1} | {:.1} |{reached}",
            of(|outcome| outcome.last),
            of(|outcome| outcome.best)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(run: &str, group: &str, values: &[(u64, f64)]) -> Curve {
        Curve { run: run.into(), group: group.into(), values: values.iter().copied().collect() }
    }

    #[test]
    fn metrics_are_read_by_member_and_a_torn_last_line_is_left_alone() {
        let text = concat!(
            r#"{"event":"metrics","env_steps":5,"metrics":{"critic_loss":[1.0,2.0]}}"#,
            "\n",
            r#"{"event":"evaluation","env_steps":10,"members":[{"mean_return":-3.5},{"mean_return":4.0}]}"#,
            "\n",
            r#"{"event":"evaluation","env_steps":20,"members":[{"mean_return":1.0},{"mean_return":2.0}]}"#,
            "\n",
            r#"{"event":"evalu"#,
        );
        let members = parse_metrics(text, "evaluation").unwrap();
        assert_eq!(members[0], BTreeMap::from([(10, -3.5), (20, 1.0)]));
        assert_eq!(members[1], BTreeMap::from([(10, 4.0), (20, 2.0)]));
        assert_eq!(parse_metrics(text, "critic_loss").unwrap()[1], BTreeMap::from([(5, 2.0)]));
        let error = parse_metrics(text, "actor_loss").unwrap_err();
        assert!(error.contains("no values of 'actor_loss' (there are evaluation, critic_loss)"), "{error}");
        assert!(parse_metrics("{\n{}\n", "evaluation").unwrap_err().starts_with("line 1: "));
    }

    #[test]
    fn a_point_is_where_all_curves_have_a_value() {
        let curves = [
            curve("a", "x", &[(1, 0.0), (2, 4.0), (3, 1.0)]),
            curve("b", "x", &[(1, 2.0), (2, 4.0)]),
            curve("c", "y", &[(9, 7.0)]),
        ];
        let groups = groups(&curves);
        assert_eq!(groups.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
        let points = points(&groups[0].1);
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].mean, points[0].low, points[0].high), (1.0, 0.0, 2.0));
        assert_eq!((points[1].mean, points[1].low, points[1].high), (4.0, 4.0, 4.0));
    }

    /// Of many values, the bootstrap's interval is nearly the normal one: ±1.96 deviations of the mean.
    #[test]
    fn the_interval_covers_the_mean() {
        let mut values = vec![0.0_f32; 400];
        RandomStream::new(3, 0).fill_normal(&mut values);
        let values: Vec<f64> = values.into_iter().map(f64::from).collect();
        let (low, high) = interval(&values);
        let mean = mean(&values);
        for side in [mean - low, high - mean] {
            assert!((side - 1.96 / 20.0).abs() < 0.02, "{side}");
        }
        assert_eq!(interval(&[2.5]), (2.5, 2.5));
    }

    #[test]
    fn an_outcome_is_the_last_the_best_and_the_first_over_the_threshold() {
        let Outcome { last, best, reached } =
            Outcome::of(&curve("a", "x", &[(1, 0.0), (2, 95.0), (3, 91.0)]), Some(90.0));
        assert_eq!((last, best, reached), (91.0, 95.0, Some(2)));
        assert_eq!(Outcome::of(&curve("a", "x", &[(1, 0.0)]), Some(90.0)).reached, None);
    }
}
