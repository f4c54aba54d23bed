//! Settings of the training loop.

use ingle_core::{Error, PerMember, Result, Violations};
use serde::{Deserialize, Serialize};

/// Settings of the training loop. Steps are environment steps per member of the population;
/// [offline](crate::Trainer::offline) they are updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Environment steps to train for, ≥ 1. Default 10,000.
    pub steps: u64,
    /// First steps with uniformly random actions and no updates. Default 1,000.
    pub warmup_steps: u64,
    /// Updates per environment step after the warm-up, > 0; below 1 is fine. Default 1.
    pub updates_per_step: f64,
    /// Updates that are made in one call of the learner, ≥ 1: they wait until so many are due, and share what the sampler can
    /// draw at once. With 1, all that are due at a step are one call. Default 1.
    pub updates_per_call: u64,
    /// Discount factor γ in [0, 1], one for all members or one each. Default 0.99 (Haarnoja et al. 2018, Table 1).
    pub gamma: PerMember,
    /// Stop after this many updates, ≥ 1; none does not. Default none.
    pub max_updates: Option<u64>,
    /// Stop as soon as an evaluation's mean return (of the best member) is at least this; none does not. Default none.
    pub target_return: Option<f64>,
    /// Steps between two evaluations; 0 evaluates only at the end. Default 2,000.
    pub evaluation_interval: u64,
    /// Episodes of an evaluation, ≥ 1, played side by side. Default 10.
    pub evaluation_episodes: usize,
    /// Steps between two readings of the learner's metrics, ≥ 1; each waits for the device. Default 500.
    pub log_interval: u64,
    /// The number of updates in a row, ≥ 1, that may be left out because something in them was not finite (by every
    /// member, in one layer): then the run stops. Looked at whenever the metrics are read, and before each save. Default
    /// 100.
    pub max_skipped_updates: u64,
    /// Steps between two checkpoints, where the run is saved at all; 0 saves only at the end. An evaluation that is
    /// better than all before is saved in any case. Default 10,000.
    pub checkpoint_interval: u64,
    /// The number of last checkpoints that are kept, ≥ 1; the best is kept besides. Default 2.
    pub checkpoints: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 10_000,
            warmup_steps: 1_000,
            updates_per_step: 1.0,
            updates_per_call: 1,
            gamma: 0.99.into(),
            max_updates: None,
            target_return: None,
            evaluation_interval: 2_000,
            evaluation_episodes: 10,
            log_interval: 500,
            max_skipped_updates: 100,
            checkpoint_interval: 10_000,
            checkpoints: 2,
        }
    }
}

impl TrainConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let mut violations = Violations::default();
        violations.require_count("steps", self.steps);
        violations.require_positive("updates_per_step", self.updates_per_step);
        violations.require_count("updates_per_call", self.updates_per_call);
        // The members are counted where they are known: when the run is put together.
        let members = self.gamma.values().len();
        violations
            .note(self.gamma.violation("gamma", members, "in [0, 1]", |gamma| (0.0..=1.0).contains(&gamma)));
        violations.require(self.max_updates != Some(0), || "max_updates: must be at least 1, got 0".into());
        violations.require(self.target_return.is_none_or(f64::is_finite), || {
            format!("target_return: must be finite, got {}", self.target_return.unwrap_or_default())
        });
        violations.require_count("evaluation_episodes", self.evaluation_episodes);
        violations.require_at_most("evaluation_episodes", self.evaluation_episodes, 1 << 16);
        violations.require_count("log_interval", self.log_interval);
        violations.require_count("max_skipped_updates", self.max_skipped_updates);
        violations.require_count("checkpoints", self.checkpoints);
        violations.finish()
    }
}
