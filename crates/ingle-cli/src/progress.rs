//! Progress for people: a bar on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ingle::train::{EpisodeStatistics, Event, Observer, Progress, TrainError};

use crate::output::note;

/// Shows steps/s, updates/s, the return and the time left, on standard error.
pub(crate) struct ProgressView {
    bar: Option<ProgressBar>,
    steps: u64,
    start: Instant,
    /// When, and with how many steps and updates, the rates were last taken.
    last: (Instant, Progress),
    metrics: BTreeMap<String, Vec<f64>>,
}

/// How often a bar is redrawn, and a line printed where there is none.
const REDRAW: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);

impl ProgressView {
    pub(crate) fn new(steps: u64, start: Progress) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps);
            let template = "{bar:30} {percent:>3}%  {pos}/{len} steps  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        let now = Instant::now();
        Self { bar, steps, start: now, last: (now, start), metrics: BTreeMap::new() }
    }

    fn show(&mut self, now: Instant, progress: Progress) {
        let (then, before) = self.last;
        let seconds = (now - then).as_secs_f64();
        let steps = (progress.env_steps - before.env_steps) as f64 / seconds;
        let updates = (progress.updates - before.updates) as f64 / seconds;
        let left = self.steps.saturating_sub(progress.env_steps) as f64 / steps.max(1e-9);
        let mean = progress.mean_return.map_or("–".to_owned(), |mean| format!("{mean:.1}"));
        let message =
            format!("{steps:.0} steps/s  {updates:.0} updates/s  return {mean}  {} left", clock(left));
        match &self.bar {
            Some(bar) => {
                bar.set_position(progress.env_steps.min(self.steps));
                bar.set_message(message);
            }
            None => note(format_args!("{}/{} steps  {message}", progress.env_steps, self.steps)),
        }
        self.last = (now, progress);
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => note(format_args!("{text}")),
        }
    }
}

impl Observer for ProgressView {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        match event {
            Event::Progress(progress) => {
                let now = Instant::now();
                if now - self.last.0 >= if self.bar.is_some() { REDRAW } else { LINE } {
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
                let losses: Vec<String> = ["critic_loss", "actor_loss", "temperature"]
                    .iter()
                    .filter_map(|name| Some(format!("{name} {:.3}", self.metrics.get(*name)?.first()?)))
                    .collect();
                self.line(&format!(
                    "{:>6}  step {env_steps:>7}  evaluation {}  {}",
                    clock(self.start.elapsed().as_secs_f64()),
                    returns,
                    losses.join("  ")
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
