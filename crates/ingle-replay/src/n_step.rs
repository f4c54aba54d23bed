//! n-step returns over environments that are stepped side by side.

use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Feedback, NStepTransitions, Result, Sampler, Transitions, Violations};

use crate::ring::{Rows, Widths};
use crate::{Insert, ReplayConfig};

/// Folds the steps of each environment into n-step transitions on their way into a replay (Sutton & Barto 2018, §7.1).
///
/// Row i of an insert is a step of environment i. With `r` the rewards, `d` the discounts (0 after a termination) and
/// k the number of steps folded, a stored row is
///
/// - observation and action of its first step,
/// - `reward = r_0 + d_0 r_1 + d_0 d_1 r_2 + …`, k terms,
/// - `discount = d_0 d_1 ⋯ d_{k−1}`: γ^k, or 0 if the last step terminated,
/// - the next observation of its last step: after a truncation, the last real one.
///
/// k is n, except where an episode ends: every step that waits there is stored with the k < n steps that it has. Sums and
/// products are taken in float64. With n = 1 the rows are stored as they come. Samples are [`NStepTransitions`]: for a
/// [`NStep`](ingle_core::NStep) core, and for no nest that writes rewards.
#[derive(Debug, Clone)]
pub struct NStepReplay<R> {
    /// Where the folded rows go.
    pub replay: R,
    n: usize,
    environments: usize,
    widths: Widths,
    /// The steps that wait for their successors, at most n − 1, for each environment of each member.
    windows: Vec<Window>,
}

/// Steps that wait, oldest first: observation, action, reward and discount of each.
#[derive(Debug, Clone, Default, PartialEq)]
struct Window(Vec<f32>);

/// Rows to be stored, each field flat.
#[derive(Default)]
struct Folded {
    observation: Vec<f32>,
    action: Vec<f32>,
    reward: Vec<f32>,
    discount: Vec<f32>,
    truncated: Vec<bool>,
    next_observation: Vec<f32>,
}

impl<R> NStepReplay<R> {
    /// Folds `n` steps of each of `environments` environments per member into rows for `replay`, which was made of
    /// `config`.
    ///
    /// # Errors
    /// [`Error::Config`] with every size that is 0.
    pub fn new(replay: R, config: &ReplayConfig, n: usize, environments: usize) -> Result<Self> {
        let ReplayConfig { observation, action, population, .. } = *config;
        let mut violations = Violations::default();
        let sizes = [
            ("observation", observation),
            ("action", action),
            ("population", population),
            ("n_step", n),
            ("environments", environments),
        ];
        for (name, size) in sizes {
            violations.require_count(name, size);
        }
        let windows = population.checked_mul(environments);
        violations.require(windows.is_some(), || "environments: too many to count".into());
        violations.finish()?;
        Ok(Self {
            replay,
            n,
            environments,
            widths: Widths::new(observation, action),
            windows: vec![Window::default(); windows.unwrap_or(0)],
        })
    }

    /// How many steps wait for their successors, in all environments of all members.
    pub fn pending(&self) -> usize {
        self.windows.iter().map(|window| window.0.len() / self.step_width()).sum()
    }

    fn step_width(&self) -> usize {
        self.widths.row() - self.widths.0[4]
    }

    /// What `environment`'s step adds to the rows to be stored, and the window after it.
    fn fold(&self, window: &Window, rows: &Rows<'_>, environment: usize, folded: &mut Folded) -> Window {
        let [observation, action, ..] = self.widths.0;
        let of = |values: &'_ [f32], width| values[environment * width..(environment + 1) * width].to_vec();
        let (reward, discount) = (rows.reward[environment], rows.discount[environment]);
        let next_observation = of(rows.next_observation, observation);
        let mut steps = window.0.clone();
        steps.extend(of(rows.observation, observation));
        steps.extend(of(rows.action, action));
        steps.extend([reward, discount]);

        let width = self.step_width();
        let truncated = rows.truncated[environment];
        let ended = truncated || discount == 0.0;
        let complete = if ended { steps.len() / width } else { usize::from(steps.len() == self.n * width) };
        for first in 0..complete {
            let (mut total, mut product) = (0.0, 1.0);
            for step in steps[first * width..].chunks_exact(width) {
                total += product * f64::from(step[width - 2]);
                product *= f64::from(step[width - 1]);
            }
            let (head, rest) = steps[first * width..].split_at(observation);
            folded.observation.extend_from_slice(head);
            folded.action.extend_from_slice(&rest[..action]);
            folded.reward.push(total as f32);
            folded.discount.push(product as f32);
            folded.truncated.push(truncated);
            folded.next_observation.extend_from_slice(&next_observation);
        }
        steps.drain(..complete * width);
        Window(steps)
    }
}

impl<R: Insert> Insert for NStepReplay<R> {
    /// Takes in one step of every environment of `member`.
    ///
    /// # Errors
    /// If there are not as many rows as environments, and as the replay's own `insert`. Nothing is stored then, and no
    /// window has moved.
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        let count = rows.check(self.widths)?;
        if count != self.environments {
            return Err(Error::Shape {
                field: "rows",
                expected: format!("{}, a step of each environment", self.environments),
                actual: vec![count],
            });
        }
        let population = self.windows.len() / self.environments;
        if member >= population {
            return Err(Error::Config(vec![format!("member: must be below {population}, got {member}")]));
        }
        let own = member * self.environments..(member + 1) * self.environments;
        let mut folded = Folded::default();
        let windows: Vec<Window> = self.windows[own.clone()]
            .iter()
            .enumerate()
            .map(|(environment, window)| self.fold(window, &rows, environment, &mut folded))
            .collect();
        if !folded.reward.is_empty() {
            self.replay.insert(
                member,
                Rows {
                    observation: &folded.observation,
                    action: &folded.action,
                    reward: &folded.reward,
                    discount: &folded.discount,
                    truncated: &folded.truncated,
                    next_observation: &folded.next_observation,
                },
            )?;
        }
        self.windows[own].clone_from_slice(&windows);
        Ok(())
    }

    fn begin(&mut self) {
        self.windows.fill(Window::default());
        self.replay.begin();
    }

    fn lag(&self) -> usize {
        self.n - 1 + self.replay.lag()
    }
}

impl<R: Sampler<Sample = Transitions>> Sampler for NStepReplay<R> {
    type Sample = NStepTransitions;

    fn sample(&mut self) -> Result<NStepTransitions> {
        self.replay.sample().map(NStepTransitions::new)
    }

    fn sample_many(&mut self, count: usize) -> Result<Vec<NStepTransitions>> {
        Ok(self.replay.sample_many(count)?.into_iter().map(NStepTransitions::new).collect())
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.replay.feedback(feedback)
    }
}

impl<R: Checkpoint> Checkpoint for NStepReplay<R> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("replay", |visitor| self.replay.checkpoint(visitor));
        let (width, n) = (self.step_width(), self.n);
        for (index, window) in self.windows.iter_mut().enumerate() {
            visitor.values(&format!("window-{index}"), &mut window.0);
            let fits = window.0.len() % width == 0 && window.0.len() / width < n;
            if !(fits && window.0.iter().all(|value| value.is_finite())) {
                visitor.fail(Error::Record(format!(
                    "window-{index}: {} numbers, expected fewer than {n} steps of {width}, finite",
                    window.0.len()
                )));
                window.0.clear();
            }
        }
    }
}
