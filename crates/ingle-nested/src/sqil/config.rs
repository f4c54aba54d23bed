//! SQIL's settings.

use ingle_core::{Result, Violations};
use serde::{Deserialize, Serialize};

use super::Sqil;

/// SQIL's settings. The rewards 1 and 0 are the rule (paper, Algorithm 1), not settings: [`crate::scale`] below it makes
/// others of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SqilConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
}

impl Default for SqilConfig {
    fn default() -> Self {
        Self { population: 1 }
    }
}

impl SqilConfig {
    /// SQIL over inner samples of type `S`, for these sizes.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self, observation: usize, action: usize) -> Result<Sqil<S>> {
        self.validate()?;
        Ok(Sqil::from_parts(self, observation, action))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let mut violations = Violations::default();
        violations.require_sizes(self.population, &[]);
        violations.finish()
    }
}
