//! Settings of standardised observations.

use ingle_core::{Result, Violations};
use serde::{Deserialize, Serialize};

use super::Standardise;

/// Settings of standardised observations.
///
/// The moments are data, and no settings: they are not read from a configuration file, but taken from the data set
/// (`Demonstrations::observation_moments`), and are in the state from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandardiseConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// What is added to each deviation, > 0. Default 1e-3 (Fujimoto & Gu 2021, §4).
    pub epsilon: f64,
    /// The mean of each element of an observation, O of them; none is 0. Default none.
    #[serde(skip)]
    pub mean: Vec<f64>,
    /// The standard deviation of each element, O of them, ≥ 0; none is 1. Default none.
    #[serde(skip)]
    pub deviation: Vec<f64>,
}

impl Default for StandardiseConfig {
    fn default() -> Self {
        Self { population: 1, epsilon: 1e-3, mean: Vec::new(), deviation: Vec::new() }
    }
}

impl StandardiseConfig {
    /// Standardisation of samples of type `S`, for observations of `observation` elements.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self, observation: usize) -> Result<Standardise<S>> {
        self.validate()?;
        let mut violations = Violations::default();
        for (name, values) in [("mean", &self.mean), ("deviation", &self.deviation)] {
            violations.require(values.is_empty() || values.len() == observation, || {
                format!(
                    "{name}: must have {observation} numbers, as an observation has, got {}",
                    values.len()
                )
            });
        }
        violations.finish()?;
        Ok(Standardise::from_parts(self, observation))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let mut violations = Violations::default();
        violations.require_count("population", self.population);
        violations.require_positive("epsilon", self.epsilon);
        violations.require(self.mean.iter().all(|mean| mean.is_finite()), || "mean: must be finite".into());
        violations.require(self.deviation.iter().all(|value| value.is_finite() && *value >= 0.0), || {
            "deviation: must be finite and at least 0".into()
        });
        violations.finish()
    }
}
