//! `ingle plot`: learning curves of runs, their mean and its interval over the runs of a group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use ingle::train::Event;
use serde_json::json;

use crate::arguments::PlotOptions;
use crate::error::CliError;
use crate::output::{line, note};
use crate::recorded::Recorded;
use crate::statistics::{interval, mean};

/// Resamples behind an interval.
const RESAMPLES: usize = 2_000;
/// The metric that is no learner's: the mean return of an evaluation.
const EVALUATION: &str = "evaluation";

/// A figure of learning curves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) title: String,
    /// What lines and bands are, in a line below the title.
    pub(crate) caption: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) series: Vec<Series>,
    /// A horizontal line to compare with.
    pub(crate) threshold: Option<f64>,
    /// Whether both axes are; all numbers are then above 0.
    pub(crate) logarithmic: bool,
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
    env: String,
    values: BTreeMap<u64, f64>,
}

pub(crate) fn run(options: &PlotOptions) -> Result<(), CliError> {
    let mut problems = Vec::new();
    if let Some(threshold) = options.threshold.filter(|threshold| !threshold.is_finite()) {
        problems.push(format!("--threshold: must be finite, got {threshold}"));
    }
    if options.smooth == 0 {
        problems.push("--smooth: must be at least 1, got 0".into());
    }
    if !problems.is_empty() {
        return Err(CliError::Config(problems));
    }
    let mut curves = Vec::new();
    for run in Recorded::read_all(&options.runs)? {
        curves.extend(read_curves(&run, options)?);
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
pub(crate) fn draw(figure: &Figure, stem: &Path) -> Result<[PathBuf; 2], CliError> {
    let failed = |path: &Path, reason: &dyn std::fmt::Display| {
        CliError::Other(format!("cannot draw {}: {reason}", path.display()))
    };
    if let Some(parent) = stem.parent() {
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
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
pub(crate) fn draw(_: &Figure, _: &Path) -> Result<[PathBuf; 0], CliError> {
    Err(CliError::Input(
        "this ingle was built without drawing: build it with the feature `plot` (a default one), or leave the figure away".into(),
    ))
}

/// The curves of a run, one for each member of its population.
fn read_curves(run: &Recorded, options: &PlotOptions) -> Result<Vec<Curve>, CliError> {
    let members = values(&run.events, &options.metric)
        .map_err(|problem| CliError::Input(format!("{}: {problem}", run.path.display())))?;
    let several = members.len() > 1;
    let (name, groups) = (run.name(), run.groups(options.group, members.len())?);
    Ok(members
        .into_iter()
        .zip(groups)
        .enumerate()
        .map(|(member, (values, group))| Curve {
            run: if several { format!("{name}, member {member}") } else { name.clone() },
            group,
            env: run.env.clone(),
            values: smooth(values, options.smooth),
        })
        .collect())
}

/// Each member's values of a metric by environment steps; `evaluation` is the mean return of an evaluation. What is not
/// finite cannot be drawn and is left out.
fn values(events: &[Event<'_>], metric: &str) -> Result<Vec<BTreeMap<u64, f64>>, String> {
    let mut members: Vec<BTreeMap<u64, f64>> = Vec::new();
    let mut seen = BTreeSet::from([EVALUATION]);
    for event in events {
        let values: Vec<f64> = match event {
            Event::Evaluation { members, .. } if metric == EVALUATION => {
                members.iter().map(|member| member.mean_return).collect()
            }
            Event::Metrics { metrics, .. } => {
                seen.extend(metrics.keys().map(String::as_str));
                metrics.get(metric).cloned().unwrap_or_default()
            }
            _ => continue,
        };
        members.resize_with(members.len().max(values.len()), BTreeMap::new);
        for (member, value) in members.iter_mut().zip(values).filter(|(_, value)| value.is_finite()) {
            member.insert(event.env_steps(), value);
        }
    }
    if members.iter().all(BTreeMap::is_empty) {
        let seen: Vec<&str> = seen.into_iter().collect();
        return Err(format!("no values of '{metric}' (there may be {})", seen.join(", ")));
    }
    Ok(members)
}

/// The mean of each value and those before it, `count` in all.
fn smooth(values: BTreeMap<u64, f64>, count: usize) -> BTreeMap<u64, f64> {
    let mut window = VecDeque::new();
    let smoothed = values.into_iter().map(|(steps, value)| {
        window.push_back(value);
        if window.len() > count {
            window.pop_front();
        }
        (steps, mean(window.make_contiguous()))
    });
    smoothed.collect()
}

fn figure(curves: &[Curve], options: &PlotOptions) -> Result<Figure, CliError> {
    let groups = groups(curves);
    let several = groups.iter().any(|(_, curves)| curves.len() > 1);
    let series = groups
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
        EVALUATION => "mean return of an evaluation".to_owned(),
        metric => metric.replace('_', " "),
    };
    let environments: BTreeSet<&str> = curves.iter().map(|curve| curve.env.as_str()).collect();
    let environments = environments.into_iter().collect::<Vec<_>>().join(", ");
    let mut caption = Vec::new();
    if several {
        caption.push("mean over the runs and its 95 % bootstrap interval".to_owned());
    }
    if options.smooth > 1 {
        caption.push(format!("moving mean of {} values", options.smooth));
    }
    Ok(Figure {
        title: options.title.clone().unwrap_or(environments),
        caption: caption.join("; "),
        x_label: "environment steps".into(),
        y_label,
        series,
        threshold: options.threshold,
        logarithmic: false,
    })
}

/// The curves of each group, in the order in which the groups come up. Runs in different environments are never one
/// group.
fn groups(curves: &[Curve]) -> Vec<(String, Vec<&Curve>)> {
    let mixed = curves.iter().any(|curve| curve.env != curves[0].env);
    let name =
        |curve: &Curve| if mixed { format!("{}, {}", curve.group, curve.env) } else { curve.group.clone() };
    let mut groups: Vec<(String, Vec<&Curve>)> = Vec::new();
    for curve in curves {
        match groups.iter_mut().find(|(_, own)| own[0].group == curve.group && own[0].env == curve.env) {
            Some((_, own)) => own.push(curve),
            None => groups.push((name(curve), vec![curve])),
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
            let (low, high) = interval(std::slice::from_ref(&values), RESAMPLES, |strata| mean(&strata[0]));
            Point { x: *steps as f64, mean: mean(&values), low, high }
        })
        .collect()
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
    curves.iter().try_for_each(|curve| {
        let Outcome { last, best, reached } = Outcome::of(curve, threshold);
        let Curve { run, group, env, .. } = curve;
        line(format_args!(
            "{}",
            json!({"group": group, "env": env, "run": run, "last": last, "best": best, "reached": reached})
        ))
    })
}

/// A row for each run, then one for each group: a table in Markdown.
fn print_table(curves: &[Curve], options: &PlotOptions) -> Result<(), CliError> {
    let threshold = options.threshold;
    // Returns are large, losses may be small.
    let digits = if options.metric == EVALUATION { 1 } else { 4 };
    let header = threshold.map_or(String::new(), |threshold| format!(" first ≥ {threshold} at |"));
    line(format_args!("| run | last | best |{header}"))?;
    line(format_args!("|---|---|---|{}", if header.is_empty() { "" } else { "---|" }))?;
    for (group, curves) in groups(curves) {
        let outcomes: Vec<Outcome> = curves.iter().map(|curve| Outcome::of(curve, threshold)).collect();
        for (curve, Outcome { last, best, reached }) in curves.iter().zip(&outcomes) {
            let reached = threshold.map_or(String::new(), |_| {
                format!(" {} |", reached.map_or("–".into(), |steps| steps.to_string()))
            });
            line(format_args!("| {} | {last:.digits$} | {best:.digits$} |{reached}", curve.run))?;
        }
        let of = |value: fn(&Outcome) -> f64| mean(&outcomes.iter().map(value).collect::<Vec<_>>());
        let reached = threshold.map_or(String::new(), |_| {
            let count = outcomes.iter().filter(|outcome| outcome.reached.is_some()).count();
            format!(" {count} of {} |", outcomes.len())
        });
        line(format_args!(
            "| **{group}**, mean | {:.digits$} | {:.digits$} |{reached}",
            of(|outcome| outcome.last),
            of(|outcome| outcome.best)
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ingle::train::EpisodeStatistics;

    use super::*;

    fn curve(run: &str, group: &str, values: &[(u64, f64)]) -> Curve {
        let values = values.iter().copied().collect();
        Curve { run: run.into(), group: group.into(), env: "pendulum".into(), values }
    }

    #[test]
    fn values_are_by_member_and_finite() {
        let evaluation = |env_steps, means: [f64; 2]| Event::Evaluation {
            env_steps,
            updates: 0,
            seconds: 0.0,
            members: means.map(|mean| EpisodeStatistics::of([(mean, 1)]).unwrap()).to_vec().into(),
        };
        let metrics = BTreeMap::from([("critic_loss".to_owned(), vec![1.0, 2.0])]);
        let events = [
            Event::Metrics { env_steps: 5, updates: 0, seconds: 0.0, metrics },
            evaluation(10, [-3.5, 4.0]),
            evaluation(20, [f64::NAN, 2.0]),
        ];
        let members = values(&events, "evaluation").unwrap();
        assert_eq!(members, [BTreeMap::from([(10, -3.5)]), BTreeMap::from([(10, 4.0), (20, 2.0)])]);
        assert_eq!(values(&events, "critic_loss").unwrap()[1], BTreeMap::from([(5, 2.0)]));
        let error = values(&events, "actor_loss").unwrap_err();
        assert!(
            error.contains("no values of 'actor_loss' (there may be critic_loss, evaluation)"),
            "{error}"
        );
    }

    #[test]
    fn smoothing_takes_the_mean_of_the_last_values() {
        let values = BTreeMap::from([(1, 2.0), (3, 4.0), (4, 12.0), (9, 2.0)]);
        assert_eq!(smooth(values.clone(), 1), values);
        assert_eq!(smooth(values, 2), BTreeMap::from([(1, 2.0), (3, 3.0), (4, 8.0), (9, 7.0)]));
    }

    #[test]
    fn a_point_is_where_all_curves_have_a_value() {
        let mut curves = vec![
            curve("a", "x", &[(1, 0.0), (2, 4.0), (3, 1.0)]),
            curve("b", "x", &[(1, 2.0), (2, 4.0)]),
            curve("c", "y", &[(9, 7.0)]),
        ];
        let names = |curves: &[Curve]| groups(curves).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&curves), ["x", "y"]);
        let points = points(&groups(&curves)[0].1);
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].mean, points[0].low, points[0].high), (1.0, 0.0, 2.0));
        assert_eq!((points[1].mean, points[1].low, points[1].high), (4.0, 4.0, 4.0));
        curves.push(Curve { env: "lqr".into(), ..curve("d", "x", &[(1, 0.0)]) });
        assert_eq!(names(&curves), ["x, pendulum", "y, pendulum", "x, lqr"]);
    }

    #[test]
    fn an_outcome_is_the_last_the_best_and_the_first_over_the_threshold() {
        let Outcome { last, best, reached } =
            Outcome::of(&curve("a", "x", &[(1, 0.0), (2, 95.0), (3, 91.0)]), Some(90.0));
        assert_eq!((last, best, reached), (91.0, 95.0, Some(2)));
        assert_eq!(Outcome::of(&curve("a", "x", &[(1, 0.0)]), Some(90.0)).reached, None);
    }
}
