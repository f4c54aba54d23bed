//! RND's hyperparameters.

use ingle_core::network::Mlp;
use ingle_core::{PerMember, Result, Violations};
use serde::{Deserialize, Serialize};

use super::Rnd;

/// RND's hyperparameters. Settings of type [`PerMember`] may differ between the members of a population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RndConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// Widths of the hidden layers of target and predictor. Default `[256, 256]`.
    pub hidden: Vec<usize>,
    /// Number of features F that are predicted, ≥ 1. Default 64.
    pub features: usize,
    /// The predictor's learning rate, > 0. Default 1e-4 (paper, Table 5).
    pub learning_rate: PerMember,
    /// Coefficient of the intrinsic reward, finite. Default 1.
    pub intrinsic: PerMember,
    /// Coefficient of the sample's own reward, finite. Default 1.
    pub extrinsic: PerMember,
    /// Whether the intrinsic reward is divided by its own running deviation. Default true (paper, §2.4).
    pub normalise_intrinsic: bool,
    /// Whether novelty is that of the observation instead of the next one. Default false.
    pub use_observation: bool,
}

impl Default for RndConfig {
    fn default() -> Self {
        Self {
            population: 1,
            hidden: vec![256, 256],
            features: 64,
            learning_rate: 1e-4.into(),
            intrinsic: 1.0.into(),
            extrinsic: 1.0.into(),
            normalise_intrinsic: true,
            use_observation: false,
        }
    }
}

impl RndConfig {
    /// RND over samples of type `S`, for observations of `observation` elements.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self, observation: usize) -> Result<Rnd<S>> {
        self.validate()?;
        let network = Mlp::new(observation, &self.hidden, self.features, 1)?;
        Ok(Rnd::from_parts(self, network))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let population = self.population;
        let mut violations = Violations::default();
        violations.require_sizes(population, &self.hidden);
        violations.require_count("features", self.features);
        violations.require_at_most("features", self.features, 1 << 16);
        violations.require_each_positive("learning_rate", population, &self.learning_rate);
        violations.note(self.intrinsic.violation("intrinsic", population, "finite", f64::is_finite));
        violations.note(self.extrinsic.violation("extrinsic", population, "finite", f64::is_finite));
        violations.finish()
    }
}
