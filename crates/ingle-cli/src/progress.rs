//! Progress for people: a bar on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ingle::train::{EpisodeStatistics, Event, Observer, Progress, TrainError};

use crate::output::note;

/// Shows the time left, the return, steps and updates per second, and the losses, on standard error.
pub(crate) struct ProgressView {
    bar: Option<ProgressBar>,
    steps: u64,
    start: Instant,
    rates: Rates,
    metrics: BTreeMap<String, Vec<f64>>,
}

/// How often a bar is redrawn, and a line printed where there is none.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
/// The time over which rates are taken, so that the time left does not jump with each evaluation or checkpoint.
const MEMORY: Duration = Duration::from_secs(15);

/// The metrics that are shown, and how.
const LOSSES: [(&str, &str); 3] =
    [("critic_loss", "critic"), ("actor_loss", "actor"), ("temperature", "temperature")];

impl ProgressView {
    pub(crate) fn new(steps: u64, start: Progress) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            // A message that is too long for the terminal is cut off.
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {percent:>3}%  {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self { bar, steps, start: now, rates: Rates::new(now, start), metrics: BTreeMap::new() }
    }

    fn show(&mut self, now: Instant, progress: Progress) {
        self.rates.update(now, progress);
        let message = message(self.steps, progress, &self.rates, &losses(&self.metrics));
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.env_steps.min(self.steps));
                bar.set_message(message);
            }
            None => note(format_args!("{message}")),
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(format_args!("{text}")),
        }
    }
}

/// What a run did per second lately.
struct Rates {
    last: (Instant, Progress),
    steps: f64,
    updates: f64,
    /// The share of these rates that was measured, and not assumed to be 0 at the start.
    weight: f64,
}

impl Rates {
    fn new(now: Instant, start: Progress) -> Self {
        Self { last: (now, start), steps: 0.0, updates: 0.0, weight: 0.0 }
    }

    /// Weighs what was measured since the last time by how long that was: the past fades.
    fn update(&mut self, now: Instant, progress: Progress) {
        let (then, before) = self.last;
        let seconds = (now - then).as_secs_f64().max(1e-9);
        let kept = (-seconds / MEMORY.as_secs_f64()).exp();
        let mix = |old: f64, count: u64| kept * old + (1.0 - kept) * count as f64 / seconds;
        self.steps = mix(self.steps, progress.env_steps - before.env_steps);
        self.updates = mix(self.updates, progress.updates - before.updates);
        self.weight = kept * self.weight + (1.0 - kept);
        self.last = (now, progress);
    }

    /// Steps and updates per second.
    fn get(&self) -> (f64, f64) {
        (self.steps / self.weight, self.updates / self.weight)
    }
}

fn message(steps: u64, progress: Progress, rates: &Rates, losses: &str) -> String {
    let (steps_rate, updates_rate) = rates.get();
    let left = steps.saturating_sub(progress.env_steps) as f64 / steps_rate.max(1e-9);
    let mean = progress.mean_return.map_or("–".to_owned(), |mean| format!("{mean:.1}"));
    format!(
        "{}/{steps} steps  {} left  return {mean}  {steps_rate:.0} steps/s  {updates_rate:.0} updates/s{losses}",
        progress.env_steps,
        clock(left)
    )
}

/// The learner's last losses: of a population, the means over the members.
fn losses(metrics: &BTreeMap<String, Vec<f64>>) -> String {
    let shown = LOSSES.iter().filter_map(|(name, shown)| {
        let values = metrics.get(*name).filter(|values| !values.is_empty())?;
        Some(format!("  {shown} {:.3}", values.iter().sum::<f64>() / values.len() as f64))
    });
    shown.collect()
}

impl Observer for ProgressView {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        match event {
            Event::Progress(progress) => {
                let now = Instant::now();
                if now - self.rates.last.0 >= if self.bar.is_some() { REDRAW } else { LINE } {
                    self.show(now, *progress);
                }
            }
            Event::Metrics { metrics, .. } => self.metrics.clone_from(metrics),
            Event::Evaluation { env_steps, members, .. } => {
                let mut sorted = members.to_vec();
                sorted.sort_by(|a, b| b.mean_return.total_cmp(&a.mean_return));
                let show = |EpisodeStatistics { mean_return, std_return, .. }: &EpisodeStatistics| {
                    format!("{mean_return:.1} ± {std_return:.1}")
                };
                let returns = match sorted.as_slice() {
                    // Of many members, the spread.
                    [best, .., worst] if sorted.len() > 4 => {
                        let median = &sorted[sorted.len() / 2];
                        format!("best {}, median {}, worst {}", show(best), show(median), show(worst))
                    }
                    _ => members.iter().map(show).collect::<Vec<_>>().join(", "),
                };
                self.line(&format!(
                    "{:>6}  step {env_steps:>7}  evaluation {}{}",
                    clock(self.start.elapsed().as_secs_f64()),
                    returns,
                    losses(&self.metrics)
                ));
            }
            Event::Finished(_) => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
            Event::Episode { .. } => {}
        }
        Ok(())
    }
}

/// Seconds as `m:ss` or `h:mm:ss`.
pub(crate) fn clock(seconds: f64) -> String {
    let seconds = seconds.min(3.6e7) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(env_steps: u64) -> Progress {
        Progress { env_steps, updates: env_steps / 2, mean_return: Some(-3.25) }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let start = Instant::now();
        let mut rates = Rates::new(start, at(1000));
        rates.update(start + Duration::from_millis(200), at(1020));
        let (steps, updates) = rates.get();
        assert!((steps - 100.0).abs() < 1e-6 && (updates - 50.0).abs() < 1e-6, "{steps} {updates}");
        // A short pause changes them by its share, a minute at another speed wholly.
        rates.update(start + Duration::from_millis(1200), at(1020));
        assert!((10.0..20.0).contains(&rates.get().0));
        rates.update(start + Duration::from_millis(61_200), at(1620));
        assert!((rates.get().0 - 10.0).abs() < 1.0, "{}", rates.get().0);
    }

    #[test]
    fn a_line_has_the_time_left_the_return_the_rates_and_the_losses() {
        let start = Instant::now();
        let mut rates = Rates::new(start, at(0));
        rates.update(start + Duration::from_secs(1), at(100));
        let metrics = [("critic_loss", vec![1.0, 2.0]), ("entropy", vec![9.0, 9.0])];
        let metrics = metrics.map(|(name, values)| (name.to_owned(), values)).into();
        assert_eq!(
            message(1005, at(100), &rates, &losses(&metrics)),
            "100/1005 steps  0:09 left  return -3.2  100 steps/s  50 updates/s  critic 1.500"
        );
    }
}
