//! What was measured, as a figure.

use super::Axes;
use crate::plot::{Figure, Point, Series};

/// A measured point: the settings by the names of the options, and members' updates a second.
pub(super) struct Measurement {
    pub(super) settings: Vec<(&'static str, String)>,
    /// Median, minimum and maximum of the updates a second, of all members together.
    pub(super) rates: [f64; 3],
}

/// Updates a second over the first of batch, width and population that was swept; a line for each combination of what
/// else differs. None if nothing was swept.
pub(super) fn figure(axes: &Axes<'_>, measurements: &[Measurement]) -> Option<Figure> {
    let (x, _) = axes.numbers().into_iter().find(|(_, values)| values.len() > 1)?;
    let differing: Vec<&str> =
        axes.names().into_iter().filter(|(name, many)| *many && *name != x).map(|(name, _)| name).collect();
    let mut series: Vec<Series> = Vec::new();
    for Measurement { settings, rates: [median, min, max] } in measurements {
        let value = |name: &str| {
            settings.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| value.as_str())
        };
        let parts: Vec<String> = differing
            .iter()
            .map(|name| {
                if value(name).parse::<f64>().is_ok() {
                    format!("{name} {}", value(name))
                } else {
                    value(name).to_owned()
                }
            })
            .collect();
        let label = if parts.is_empty() { value("learner").to_owned() } else { parts.join(", ") };
        let point = Point { x: value(x).parse().ok()?, mean: *median, low: *min, high: *max };
        match series.iter_mut().find(|series| series.label == label) {
            Some(series) => series.points.push(point),
            None => series.push(Series { label, points: vec![point] }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    Some(Figure {
        x_label: x.to_owned(),
        y_label: "updates a second".to_owned(),
        series,
        threshold: None,
        logarithmic: true,
        title: "Updates a second".to_owned(),
        caption: "median of the repeats, lowest to highest; of all members together".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_combination_over_the_first_swept_number() {
        let options = |learner: &[&str], batch: &[usize], width: &[usize]| {
            (learner.iter().map(ToString::to_string).collect::<Vec<_>>(), batch.to_vec(), width.to_vec())
        };
        let (learner, batch, width) = options(&["sac", "td3"], &[64], &[256, 64]);
        let (device, graph) = (vec!["flex".to_owned()], vec!["off".to_owned()]);
        let axes = Axes {
            learner: &learner,
            device: &device,
            graph: &graph,
            batch: &batch,
            width: &width,
            population: &[1],
            updates_per_call: &[1],
        };
        let measurement = |learner: &str, width: usize, rate: f64| Measurement {
            settings: vec![("learner", learner.into()), ("batch", "64".into()), ("width", width.to_string())],
            rates: [rate, rate - 1.0, rate + 1.0],
        };
        let measured =
            [measurement("sac", 256, 10.0), measurement("sac", 64, 30.0), measurement("td3", 256, 20.0)];
        let figure = figure(&axes, &measured).unwrap();
        assert_eq!(figure.x_label, "width");
        let labels: Vec<_> = figure.series.iter().map(|series| series.label.as_str()).collect();
        assert_eq!(labels, ["sac", "td3"]);
        let points: Vec<_> =
            figure.series[0].points.iter().map(|point| (point.x, point.mean, point.high)).collect();
        assert_eq!(points, [(64.0, 30.0, 31.0), (256.0, 10.0, 11.0)]);
        let fixed = Axes { width: &[64], ..axes };
        assert!(super::figure(&fixed, &measured).is_none());
    }
}
