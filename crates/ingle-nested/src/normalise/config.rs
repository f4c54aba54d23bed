//! Settings of input normalisation.

use ingle_core::{Result, Violations};
use serde::{Deserialize, Serialize};

use super::Normalise;

/// Settings of input normalisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NormaliseConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// Bound of the normalised elements, > 0. Default 10 (Stable-Baselines3's `VecNormalize`).
    pub clip: f64,
}

impl Default for NormaliseConfig {
    fn default() -> Self {
        Self { population: 1, clip: 10.0 }
    }
}

impl NormaliseConfig {
    /// Normalisation of samples of type `S`, for observations of `observation` elements.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self, observation: usize) -> Result<Normalise<S>> {
        self.validate()?;
        Ok(Normalise::from_parts(self, observation))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let mut violations = Violations::default();
        violations.require_count("population", self.population);
        violations.require_positive("clip", self.clip);
        violations.finish()
    }
}
