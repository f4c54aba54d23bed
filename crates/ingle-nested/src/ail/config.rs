//! Hyperparameters of adversarial imitation.

use ingle_core::network::Mlp;
use ingle_core::{PerMember, Result, Violations};
use serde::{Deserialize, Serialize};

use super::Ail;

/// Hyperparameters of adversarial imitation. The defaults are GAIL with DAC's reward and no penalty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AilConfig {
    /// Number of learners trained side by side, P ≥ 1; the direct core's. Default 1.
    pub population: usize,
    /// Widths of the discriminator's hidden layers. Default `[256, 256]`.
    pub hidden: Vec<usize>,
    /// The discriminator's learning rate, > 0. Default 3e-4.
    pub learning_rate: PerMember,
    /// Whether the discriminator also sees the next observation. Default false.
    pub use_next_observation: bool,
    /// What the discriminator minimises. Default [`AilLoss::Gail`] with an entropy coefficient of 1e-3 (GAIL's code).
    pub loss: AilLoss,
    /// Weight of the gradient penalty, ≥ 0; DAC has 10. Default 0.
    pub gradient_penalty: f64,
    /// Whether the discriminator's weights are divided by their largest singular values. Default false.
    pub spectral_normalisation: bool,
    /// The discriminator learns in every k-th step, k ≥ 1. Default 1.
    pub update_interval: u64,
    /// Updates of the discriminator in a step in which it learns, all on that step's sample, ≥ 1. Default 1.
    pub updates: u64,
    /// Whether the core below learns from the demonstrations too, with rewards of the same discriminator. Default false.
    pub mix_demonstrations: bool,
    /// The reward made of the discriminator's logit. Default [`AilReward::Airl`].
    pub reward: AilReward,
}

/// What the discriminator minimises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AilLoss {
    /// Binary cross-entropy, demonstrations being 1, less a bonus for the entropy of the verdict.
    Gail {
        /// Weight of the entropy, ≥ 0.
        entropy_coefficient: f64,
    },
    /// Positive-unlabelled: the learner's transitions are unlabelled, a share `prior` of them as good as demonstrated.
    Pugail {
        /// The share, in (0, 1). 0.7 in its reference settings.
        prior: f64,
        /// The bound β ≥ 0 below which the unlabelled rows' excess does not go.
        beta: f64,
    },
}

/// The reward made of the logit ℓ, D = σ(ℓ). All are computed from ℓ, so that nothing overflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AilReward {
    /// `−log(1 − D) = softplus(ℓ)` (Ho & Ermon 2016).
    Gail,
    /// `log D − log(1 − D) = ℓ` (Fu et al. 2018; DAC).
    Airl,
    /// `−ℓ · exp(min(ℓ, 20))` (Ghasemipour et al. 2020).
    Fairl,
    /// `log D = −softplus(−ℓ)`.
    LogD,
}

impl Default for AilConfig {
    fn default() -> Self {
        Self {
            population: 1,
            hidden: vec![256, 256],
            learning_rate: 3e-4.into(),
            use_next_observation: false,
            loss: AilLoss::Gail { entropy_coefficient: 1e-3 },
            gradient_penalty: 0.0,
            spectral_normalisation: false,
            update_interval: 1,
            updates: 1,
            mix_demonstrations: false,
            reward: AilReward::Airl,
        }
    }
}

impl AilConfig {
    /// Adversarial imitation over inner samples of type `S`, for these sizes.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with every setting that is out of range.
    pub fn init<S>(self, observation: usize, action: usize) -> Result<Ail<S>> {
        self.validate()?;
        let next = if self.use_next_observation { observation } else { 0 };
        let network = Mlp::new(observation + action + next, &self.hidden, 1, 1)?;
        Ok(Ail::from_parts(self, observation, action, network))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](ingle_core::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let population = self.population;
        let mut violations = Violations::default();
        violations.require_sizes(population, &self.hidden);
        violations.require_each_positive("learning_rate", population, &self.learning_rate);
        for (name, value) in [("update_interval", self.update_interval), ("updates", self.updates)] {
            violations.require_count(name, value);
        }
        // The noise of all of them is drawn at once.
        violations.require_at_most("updates", self.updates as usize, 1 << 10);
        let mut not_negative = |name: &str, value: f64| {
            violations.require(value >= 0.0 && value.is_finite(), || {
                format!("{name}: must be a finite number of at least 0, got {value}")
            });
        };
        not_negative("gradient_penalty", self.gradient_penalty);
        match self.loss {
            AilLoss::Gail { entropy_coefficient } => {
                not_negative("loss.gail.entropy_coefficient", entropy_coefficient);
            }
            AilLoss::Pugail { prior, beta } => {
                not_negative("loss.pugail.beta", beta);
                violations.require(prior > 0.0 && prior < 1.0, || {
                    format!("loss.pugail.prior: must be in (0, 1), got {prior}")
                });
            }
        }
        violations.finish()
    }
}
