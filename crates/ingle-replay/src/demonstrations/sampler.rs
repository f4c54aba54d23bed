//! Batches of demonstrated transitions.

use burn::tensor::Device;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, PerMember, Result, Sampler, Seeds, Transitions, Violations};
use serde::{Deserialize, Serialize};

use super::Demonstrations;
use crate::{Data, Place, ReplayConfig, Rows, UniformReplay};

/// How demonstrations are sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DemonstrationConfig {
    /// Rows per member and sample, B ≥ 1. Default 256, as the replay's.
    pub batch: usize,
    /// P ≥ 1; the members share the demonstrations, and each draws on its own. Default 1.
    pub population: usize,
    /// Discount factor γ in [0, 1] of the transitions, one for all members or one each. Default 0.99, as the training
    /// loop's.
    pub gamma: PerMember,
    /// Where the transitions are kept. Default: on the host.
    pub place: Place,
    /// Whether the recorded rewards are used. False: they may be missing, and all rewards are 0, which is right for
    /// learners that do not read them (imitation, behaviour cloning). Default true.
    pub use_rewards: bool,
}

impl Default for DemonstrationConfig {
    fn default() -> Self {
        Self { batch: 256, population: 1, gamma: 0.99.into(), place: Place::Host, use_rewards: true }
    }
}

impl DemonstrationConfig {
    /// A sampler of `demonstrations` that draws with `seed` and puts its samples on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] with every setting that is out of range, or if rewards are to be used and there are none.
    pub fn init(
        &self,
        demonstrations: &Demonstrations,
        seed: impl Into<Seeds>,
        device: &Device,
    ) -> Result<DemonstrationSampler> {
        self.validate()?;
        let mut violations = Violations::default();
        violations.require(!self.use_rewards || demonstrations.has_rewards(), || {
            "use_rewards: the demonstrations have no rewards".into()
        });
        violations.finish()?;
        let rows = demonstrations.len();
        let config = ReplayConfig {
            observation: demonstrations.observation_size(),
            action: demonstrations.action_size(),
            capacity: rows,
            batch: self.batch,
            population: self.population,
            // With discounts of their own, the members have rows of their own.
            data: if self.gamma.values().len() > 1 { Data::Own } else { Data::Shared },
            place: self.place,
        };
        // Not the replay's stream: beside a replay of the same seed, the indices of both would go hand in hand.
        let mut replay = UniformReplay::new(&config, seed.into().derive("demonstrations"), device)?;
        let none = vec![0.0; rows];
        for (ring, &gamma) in self.gamma.values().iter().enumerate() {
            // A trajectory at a time, so that no second copy of all of them is made on the way.
            for trajectory in demonstrations.trajectories() {
                let steps = trajectory.len();
                let mut discount = vec![gamma as f32; steps];
                let mut truncated = vec![false; steps];
                truncated[steps - 1] = trajectory.truncated;
                if trajectory.terminated {
                    discount[steps - 1] = 0.0;
                }
                replay.insert(
                    ring,
                    Rows {
                        observation: trajectory.observation,
                        action: &demonstrations.canonical(trajectory.action),
                        reward: trajectory.reward.filter(|_| self.use_rewards).unwrap_or(&none[..steps]),
                        discount: &discount,
                        truncated: &truncated,
                        next_observation: trajectory.next_observation,
                    },
                )?;
            }
        }
        Ok(DemonstrationSampler { replay })
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let mut violations = Violations::default();
        for (name, size) in [("batch", self.batch), ("population", self.population)] {
            violations.require_count(name, size);
        }
        violations.note(
            self.gamma.violation("gamma", self.population, "in [0, 1]", |gamma| (0.0..=1.0).contains(&gamma)),
        );
        violations.finish()
    }
}

/// Transitions drawn from demonstrations uniformly and with replacement, made by [`DemonstrationConfig::init`].
///
/// Actions are in the canonical range `[-1, 1]`. A row's key is its number in the demonstrations. Nothing can be
/// inserted: use it beside a replay ([`WithDemonstrations`](crate::WithDemonstrations)), or alone for learning offline.
#[derive(Debug, Clone)]
pub struct DemonstrationSampler {
    replay: UniformReplay,
}

impl DemonstrationSampler {
    /// The number of transitions that it draws from, ≥ 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.replay.len()
    }
}

impl Sampler for DemonstrationSampler {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        self.replay.sample()
    }

    fn sample_many(&mut self, count: usize) -> Result<Vec<Transitions>> {
        self.replay.sample_many(count)
    }
}

/// Where it stands in drawing; the demonstrations themselves are read from their file again.
impl Checkpoint for DemonstrationSampler {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        let mut rows = self.len() as u64;
        visitor.counter("rows", &mut rows);
        if rows != self.len() as u64 {
            visitor.fail(Error::Record(format!("{rows} demonstrated rows, here are {}", self.len())));
        }
        visitor.streams("streams", &mut self.replay.streams);
    }
}
