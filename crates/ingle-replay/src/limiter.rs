//! The ratio of updates to inserted transitions.

use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Result, Violations};

/// Keeps the number of samples in step with the number of inserts, by reverb's rule (Cassirer et al. 2021,
/// arXiv:2102.04736): at all times
/// `min_difference ≤ inserts · samples_per_insert − samples ≤ max_difference`,
/// where the upper bound holds from the first `min_size` inserts on.
///
/// A loop that inserts when it may and samples when it may never stands still: settings that could are refused when
/// the limiter is built.
#[derive(Debug, Clone, PartialEq)]
pub struct RateLimiter {
    samples_per_insert: f64,
    min_size: u64,
    min_difference: f64,
    max_difference: f64,
    inserts: u64,
    samples: u64,
}

/// Sums of products like 30 · 0.1 are a rounding error above or below a whole number; a count is never.
const ROUNDING: f64 = 1e-6;

impl RateLimiter {
    /// A limiter with reverb's four settings. `inserts_at_once` is the largest number of transitions that are inserted
    /// in one go.
    ///
    /// # Errors
    /// [`Error::Config`] if the ratio or the bounds are not finite, the ratio is not positive, or some number of
    /// inserts would allow neither an insert nor a sample: the bounds must be at least
    /// `samples_per_insert · inserts_at_once + 1` apart, and the upper one must be reached after `min_size`.
    pub fn new(
        samples_per_insert: f64,
        min_size: u64,
        min_difference: f64,
        max_difference: f64,
        inserts_at_once: u64,
    ) -> Result<Self> {
        let mut violations = Violations::default();
        violations.require_positive("samples_per_insert", samples_per_insert);
        violations.require_count("inserts_at_once", inserts_at_once);
        let needed = samples_per_insert * inserts_at_once as f64 + 1.0;
        let width = max_difference - min_difference;
        violations.require(width + ROUNDING >= needed, || {
            format!(
                "max_difference: {max_difference} is {width} above min_difference {min_difference}, \
                 must be at least {needed} above it, or neither an insert nor a sample may be allowed"
            )
        });
        let at_start = samples_per_insert * min_size as f64;
        violations.require(max_difference + ROUNDING >= at_start, || {
            format!(
                "max_difference: {max_difference} is below the {at_start} reached after min_size = {min_size} inserts"
            )
        });
        violations.finish()?;
        Ok(Self { samples_per_insert, min_size, min_difference, max_difference, inserts: 0, samples: 0 })
    }

    /// The limiter of a single loop: nothing is sampled before `min_size` inserts, and from then on exactly
    /// `samples_per_insert` samples fall due with each insert, with less than one outstanding.
    ///
    /// # Errors
    /// [`Error::Config`] if the ratio is not a finite number above 0.
    pub fn exact(samples_per_insert: f64, min_size: u64, inserts_at_once: u64) -> Result<Self> {
        let start = samples_per_insert * min_size as f64;
        // The insert that completes `min_size` may overshoot it by all but one of a round's inserts.
        let slack = samples_per_insert * inserts_at_once as f64 + 1.0;
        Self::new(samples_per_insert, min_size, start, start + slack, inserts_at_once)
    }

    /// `inserts · samples_per_insert − samples`.
    pub fn difference(&self) -> f64 {
        self.inserts as f64 * self.samples_per_insert - self.samples as f64
    }

    /// Whether `count` transitions may be inserted now.
    pub fn may_insert(&self, count: u64) -> bool {
        let inserts = self.inserts + count;
        self.inserts < self.min_size
            || inserts as f64 * self.samples_per_insert - self.samples as f64
                <= self.max_difference + ROUNDING
    }

    /// Whether a sample may be drawn now.
    pub fn may_sample(&self) -> bool {
        self.due() > 0
    }

    /// How many samples may be drawn now, one after the other.
    pub fn due(&self) -> u64 {
        if self.inserts < self.min_size.max(1) {
            return 0;
        }
        (self.difference() - self.min_difference + ROUNDING).floor().max(0.0) as u64
    }

    /// Notes that `count` transitions were inserted.
    ///
    /// # Errors
    /// [`Error::Sample`] if they may not be; nothing is counted then.
    pub fn insert(&mut self, count: u64) -> Result<()> {
        if !self.may_insert(count) {
            return Err(self.refusal("insert"));
        }
        self.inserts += count;
        Ok(())
    }

    /// Notes that a sample was drawn.
    ///
    /// # Errors
    /// [`Error::Sample`] if it may not be; nothing is counted then.
    pub fn sample(&mut self) -> Result<()> {
        if !self.may_sample() {
            return Err(self.refusal("sample"));
        }
        self.samples += 1;
        Ok(())
    }

    /// How many transitions were inserted.
    pub fn inserts(&self) -> u64 {
        self.inserts
    }

    /// How many samples were drawn.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn refusal(&self, what: &str) -> Error {
        Error::Sample(format!(
            "the rate limiter allows no {what} now: {} inserts, {} samples, difference {} in [{}, {}]",
            self.inserts,
            self.samples,
            self.difference(),
            self.min_difference,
            self.max_difference
        ))
    }
}

impl Checkpoint for RateLimiter {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.counter("inserts", &mut self.inserts);
        visitor.counter("samples", &mut self.samples);
    }
}
