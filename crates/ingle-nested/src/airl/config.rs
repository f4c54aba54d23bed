//! AIRL's hyperparameters.

use ingle_core::network::Mlp;
use ingle_core::{LogProbability, PerMember, Result, Rewarded, Violations};
use serde::{Deserialize, Serialize};

use super::Airl;

/// AIRL's hyperparameters. Those of type [`PerMember`] may differ between the members of a population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AirlConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// Widths of the hidden layers of reward and shaping. Default `[256, 256]`.
    pub hidden: Vec<usize>,
    /// The learning rate of reward and shaping, > 0. Default 3e-4.
    pub learning_rate: PerMember,
    /// Whether the reward is one of the observation alone, g(s), which then carries over to other dynamics (paper, §5).
    /// Default false.
    pub state_only: bool,
}

impl Default for AirlConfig {
    fn default() -> Self {
        Self { population: 1, hidden: vec![256, 256], learning_rate: 3e-4.into(), state_only: false }
    }
}

impl AirlConfig {
    /// AIRL over a core whose policy has a log-probability.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range, or a population that is
    /// not the core's.
    pub fn init<C: LogProbability<Sample: Rewarded>>(self, direct: C) -> Result<Airl<C>> {
        self.validate()?;
        let mut violations = Violations::default();
        violations.require(self.population == direct.population(), || {
            format!("population: must be the direct core's, {}, got {}", direct.population(), self.population)
        });
        violations.finish()?;
        let (observation, action) = (direct.observation_size(), direct.action_size());
        let input = if self.state_only { observation } else { observation + action };
        let reward = Mlp::new(input, &self.hidden, 1, 1)?;
        let shaping = Mlp::new(observation, &self.hidden, 1, 1)?;
        Ok(Airl::from_parts(self, reward, shaping, direct))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let mut violations = Violations::default();
        violations.require_sizes(self.population, &self.hidden);
        violations.require_each_positive("learning_rate", self.population, &self.learning_rate);
        violations.finish()
    }
}
