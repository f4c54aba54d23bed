//! Behaviour cloning's hyperparameters.

use serde::{Deserialize, Serialize};

use super::{Bc, policy};
use crate::network::{Actor, MlpActor};
use crate::optimiser::PerMember;
use crate::{Result, Violations};

/// Behaviour cloning's hyperparameters. Settings of type [`PerMember`] may differ between the members of a population.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BcConfig {
    /// Number of learners trained side by side, P ≥ 1. Default 1.
    pub population: usize,
    /// Widths of the actor's hidden layers. Default `[256, 256]`, as SAC's and TD3's, to which the actor can be handed.
    pub hidden: Vec<usize>,
    /// What is minimised, and with it the policy. Default [`BcLoss::MeanSquaredError`].
    pub loss: BcLoss,
    /// The learning rate, > 0. Default 1e-3 (d3rlpy; the imitation library).
    pub learning_rate: PerMember,
    /// The largest global norm of a gradient, per member, > 0; none does not clip. Default none.
    pub max_gradient_norm: Option<f64>,
}

/// What behaviour cloning minimises. It settles the policy, and so which core can take the actor over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BcLoss {
    /// `mean_{B,A} (π(s) − a)²` of the deterministic policy `π(s) = tanh(outputs)`: TD3's.
    MeanSquaredError,
    /// `−mean_B log π(a | s)` of the squashed Gaussian: SAC's. Actions count as at most 1 − 2⁻²⁰ away from 0.
    LogLikelihood,
}

impl Default for BcConfig {
    fn default() -> Self {
        Self {
            population: 1,
            hidden: vec![256, 256],
            loss: BcLoss::MeanSquaredError,
            learning_rate: 1e-3.into(),
            max_gradient_norm: None,
        }
    }
}

impl BcConfig {
    /// Behaviour cloning with the built-in network, for observations of `observation` and actions of `action` elements.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with every setting that is out of range.
    pub fn init(self, observation: usize, action: usize) -> Result<Bc> {
        self.validate()?;
        let actor = MlpActor::new(observation, &self.hidden, action * policy::outputs_per_action(self.loss))?;
        self.init_with(actor)
    }

    /// Behaviour cloning with a network of your own; `hidden` is not used. It has one output for each action element,
    /// or two (means, then raw log standard deviations) for [`BcLoss::LogLikelihood`].
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a setting is out of range or the network does not fit the loss.
    pub fn init_with<A: Actor>(self, actor: A) -> Result<Bc<A>> {
        self.validate()?;
        let (outputs, each) = (actor.output_size(), policy::outputs_per_action(self.loss));
        let mut violations = Violations::default();
        violations.require(outputs > 0 && outputs.is_multiple_of(each), || {
            format!("actor: has {outputs} outputs, the loss needs {each} for each action element")
        });
        violations.finish()?;
        Ok(Bc::from_parts(self, actor))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let population = self.population;
        let mut violations = Violations::default();
        violations.require_sizes(population, &self.hidden);
        violations.require_each_positive("learning_rate", population, &self.learning_rate);
        if let Some(norm) = self.max_gradient_norm {
            violations.require_positive("max_gradient_norm", norm);
        }
        violations.finish()
    }
}
