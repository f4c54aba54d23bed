//! SAC's hyperparameters.

use serde::{Deserialize, Serialize};

use super::Sac;
use crate::network::{Actor, Critic, MlpActor, MlpCritic};
use crate::optimiser::PerMember;
use crate::{Result, Violations};

/// SAC's hyperparameters. Settings of type [`PerMember`] may differ between the members of a population.
///
/// The defaults are Stable-Baselines3's and the paper's where those agree. The discount factor γ is not here: it is
/// part of the transitions (see [`crate::Transitions::discount`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SacConfig {
    /// Number of learners trained side by side, P ≥ 1. Default 1.
    pub population: usize,
    /// Widths of the hidden layers of actor and critics. Default `[256, 256]` (paper, Table 1).
    pub hidden: Vec<usize>,
    /// Number of critics K ≥ 1; the target takes their minimum. Default 2 (paper, §5).
    pub critics: usize,
    /// The actor's learning rate, > 0. Default 3e-4 (paper, Table 1).
    pub actor_learning_rate: PerMember,
    /// The critics' learning rate, > 0. Default 3e-4 (paper, Table 1).
    pub critic_learning_rate: PerMember,
    /// The learning rate of log α, > 0. Default 3e-4 (Stable-Baselines3).
    pub temperature_learning_rate: PerMember,
    /// How the temperature α is found. Default: learned, from 1 (Stable-Baselines3's `auto`).
    pub temperature: Temperature,
    /// The entropy H̄ that a learned temperature aims at, in nats; none is −A (paper, Appendix D).
    pub target_entropy: Option<PerMember>,
    /// Rate τ of the targets' Polyak average, in (0, 1]. Default 0.005 (paper, Table 1).
    pub tau: PerMember,
    /// Number of updates between two moves of the targets, ≥ 1. Default 1 (paper, Table 1).
    pub target_update_interval: u64,
    /// The largest global norm of a gradient, per network and member, > 0; none does not clip. Default none.
    pub max_gradient_norm: Option<f64>,
}

/// How the temperature α, the weight of the entropy, is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Temperature {
    /// Learned so that the policy's entropy meets the target, from this first value > 0.
    Learned(PerMember),
    /// Held at this value > 0.
    Fixed(PerMember),
}

impl Default for SacConfig {
    fn default() -> Self {
        Self {
            population: 1,
            hidden: vec![256, 256],
            critics: 2,
            actor_learning_rate: 3e-4.into(),
            critic_learning_rate: 3e-4.into(),
            temperature_learning_rate: 3e-4.into(),
            temperature: Temperature::Learned(1.0.into()),
            target_entropy: None,
            tau: 0.005.into(),
            target_update_interval: 1,
            max_gradient_norm: None,
        }
    }
}

impl SacConfig {
    /// SAC with the built-in networks, for observations of `observation` and actions of `action` elements.
    ///
    /// ```
    /// use ingle_core::sac::SacConfig;
    /// let sac = SacConfig::default().init(3, 1)?;
    /// # Ok::<(), ingle_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with every setting that is out of range.
    pub fn init(self, observation: usize, action: usize) -> Result<Sac> {
        self.validate()?;
        let actor = MlpActor::new(observation, &self.hidden, 2 * action)?;
        let critic = MlpCritic::new(observation, action, &self.hidden, self.critics)?;
        self.init_with(actor, critic)
    }

    /// SAC with networks of your own; `hidden` and `critics` are not used.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a setting is out of range or the networks do not fit each other.
    pub fn init_with<A: Actor, C: Critic>(self, actor: A, critic: C) -> Result<Sac<A, C>> {
        self.validate()?;
        let (observation, outputs, action) =
            (critic.observation_size(), actor.output_size(), critic.action_size());
        let mut violations = Violations::default();
        violations.require(actor.observation_size() == observation, || {
            format!("actor: reads observations of {}, the critics of {observation}", actor.observation_size())
        });
        violations.require(outputs == 2 * action, || {
            format!("actor: has {outputs} outputs, SAC needs 2 for each of {action} action elements")
        });
        violations.finish()?;
        Ok(Sac::from_parts(self, actor, critic))
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let population = self.population;
        let mut violations = Violations::default();
        violations.require_sizes(population, &self.hidden);
        violations.require_count("critics", self.critics);
        violations.require_at_most("critics", self.critics, 1 << 10);
        violations.require_count("target_update_interval", self.target_update_interval);
        let (Temperature::Learned(temperature) | Temperature::Fixed(temperature)) = &self.temperature;
        for (name, value) in [
            ("actor_learning_rate", &self.actor_learning_rate),
            ("critic_learning_rate", &self.critic_learning_rate),
            ("temperature_learning_rate", &self.temperature_learning_rate),
            ("temperature", temperature),
        ] {
            violations.require_each_positive(name, population, value);
        }
        violations.note(self.tau.violation("tau", population, "in (0, 1]", |tau| tau > 0.0 && tau <= 1.0));
        if let Some(target) = &self.target_entropy {
            violations.note(target.violation("target_entropy", population, "finite", f64::is_finite));
        }
        if let Some(norm) = self.max_gradient_norm {
            violations.require_positive("max_gradient_norm", norm);
        }
        violations.finish()
    }
}
