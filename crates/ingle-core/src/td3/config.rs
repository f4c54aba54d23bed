//! TD3's hyperparameters.

use serde::{Deserialize, Serialize};

use super::Td3;
use crate::network::{Actor, Critic, MlpActor, MlpCritic};
use crate::optimiser::PerMember;
use crate::{Result, Violations};

/// TD3's hyperparameters. Settings of type [`PerMember`] may differ between the members of a population.
///
/// The defaults are those of the authors' code. The discount factor γ is not here: it is part of the transitions (see
/// [`crate::Transitions::discount`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Td3Config {
    /// Number of learners trained side by side, P ≥ 1. Default 1.
    pub population: usize,
    /// Widths of the hidden layers of actor and critics. Default `[256, 256]` (authors' code).
    pub hidden: Vec<usize>,
    /// Number of critics K ≥ 1; the target takes their minimum. Default 2 (paper, §4.2).
    pub critics: usize,
    /// The actor's learning rate, > 0. Default 3e-4 (authors' code).
    pub actor_learning_rate: PerMember,
    /// The critics' learning rate, > 0. Default 3e-4 (authors' code).
    pub critic_learning_rate: PerMember,
    /// Rate τ of the targets' Polyak average, in (0, 1]. Default 0.005 (paper, Appendix C).
    pub tau: PerMember,
    /// Updates of the critics for one of the actor and the targets, ≥ 1. Default 2 (paper, §5.2).
    pub policy_delay: u64,
    /// Standard deviation σ̃ of the noise on the target's action, ≥ 0. Default 0.2 (paper, §5.3).
    pub target_noise: PerMember,
    /// Bound c of that noise, ≥ 0. Default 0.5 (paper, §5.3).
    pub noise_clip: PerMember,
    /// Standard deviation of the noise on actions in training, ≥ 0. Default 0.1 (paper, Appendix C).
    pub exploration_noise: PerMember,
    /// Weight α of the value in TD3+BC, > 0 (2.5 in its paper); none is TD3. Default none.
    pub behaviour_cloning: Option<PerMember>,
    /// The largest global norm of a gradient, per network and member, > 0; none does not clip. Default none.
    pub max_gradient_norm: Option<f64>,
}

impl Default for Td3Config {
    fn default() -> Self {
        Self {
            population: 1,
            hidden: vec![256, 256],
            critics: 2,
            actor_learning_rate: 3e-4.into(),
            critic_learning_rate: 3e-4.into(),
            tau: 0.005.into(),
            policy_delay: 2,
            target_noise: 0.2.into(),
            noise_clip: 0.5.into(),
            exploration_noise: 0.1.into(),
            behaviour_cloning: None,
            max_gradient_norm: None,
        }
    }
}

impl Td3Config {
    /// TD3 with the built-in networks, for observations of `observation` and actions of `action` elements.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) with every setting that is out of range.
    pub fn init(self, observation: usize, action: usize) -> Result<Td3> {
        self.validate()?;
        let actor = MlpActor::new(observation, &self.hidden, action)?;
        let critic = MlpCritic::new(observation, action, &self.hidden, self.critics)?;
        self.init_with(actor, critic)
    }

    /// TD3 with networks of your own; `hidden` and `critics` are not used.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a setting is out of range or the networks do not fit each other.
    pub fn init_with<A: Actor, C: Critic>(self, actor: A, critic: C) -> Result<Td3<A, C>> {
        self.validate()?;
        let mut violations = Violations::default();
        violations.require(actor.observation_size() == critic.observation_size(), || {
            format!(
                "actor: reads observations of {}, the critics of {}",
                actor.observation_size(),
                critic.observation_size()
            )
        });
        violations.require(actor.output_size() == critic.action_size(), || {
            format!(
                "actor: has {} outputs, TD3 needs 1 for each of {} action elements",
                actor.output_size(),
                critic.action_size()
            )
        });
        violations.finish()?;
        Ok(Td3::from_parts(self, actor, critic))
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
        violations.require_count("policy_delay", self.policy_delay);
        let not_negative = |value: f64| value >= 0.0 && value.is_finite();
        let positives = [
            ("actor_learning_rate", Some(&self.actor_learning_rate)),
            ("critic_learning_rate", Some(&self.critic_learning_rate)),
            ("behaviour_cloning", self.behaviour_cloning.as_ref()),
        ];
        for (name, value) in positives.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            violations.require_each_positive(name, population, value);
        }
        violations.note(self.tau.violation("tau", population, "in (0, 1]", |tau| tau > 0.0 && tau <= 1.0));
        for (name, value) in [
            ("target_noise", &self.target_noise),
            ("noise_clip", &self.noise_clip),
            ("exploration_noise", &self.exploration_noise),
        ] {
            violations.note(value.violation(name, population, "a finite number of at least 0", not_negative));
        }
        if let Some(norm) = self.max_gradient_norm {
            violations.require_positive("max_gradient_norm", norm);
        }
        violations.finish()
    }
}
