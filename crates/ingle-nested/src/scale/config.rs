//! Settings of reward scaling.

use ingle_core::{PerMember, Result, Violations};
use serde::{Deserialize, Serialize};

use super::Scale;

/// Settings of reward scaling. Those of type [`PerMember`] may differ between the members of a population. The defaults
/// change nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScaleConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// Whether rewards are first divided by the running root of their mean square. Default false.
    pub normalise: bool,
    /// What rewards are multiplied by, finite. Default 1.
    pub scale: PerMember,
    /// What is then added, finite. Default 0.
    pub shift: PerMember,
    /// The bound ±`clip` of the result, > 0; none does not clip. Default none.
    pub clip: Option<f64>,
}

impl Default for ScaleConfig {
    fn default() -> Self {
        Self { population: 1, normalise: false, scale: 1.0.into(), shift: 0.0.into(), clip: None }
    }
}

impl ScaleConfig {
    /// Reward scaling of samples of type `S`.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self) -> Result<Scale<S>> {
        self.validate()?;
        Ok(Scale::from_parts(self))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let population = self.population;
        let mut violations = Violations::default();
        violations.require_sizes(population, &[]);
        violations.note(self.scale.violation("scale", population, "finite", f64::is_finite));
        violations.note(self.shift.violation("shift", population, "finite", f64::is_finite));
        if let Some(clip) = self.clip {
            violations.require_positive("clip", clip);
        }
        violations.finish()
    }
}
