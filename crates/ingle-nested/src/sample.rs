//! The sample of the processors that imitate.

use burn::tensor::Tensor;
use ingle_core::{Result, Rewarded, Transitions};

/// What imitation learns from: the sample of the core below, and rows of demonstrations.
#[derive(Debug, Clone)]
pub struct ImitationSample<S> {
    /// The learner's own transitions.
    pub rl: S,
    /// The demonstrations; their rewards are not read.
    pub demonstrations: Transitions,
}

impl<S: Rewarded> Rewarded for ImitationSample<S> {
    fn transitions(&self) -> &Transitions {
        self.rl.transitions()
    }

    fn with_transitions(self, transitions: Transitions) -> Self {
        Self { rl: self.rl.with_transitions(transitions), demonstrations: self.demonstrations }
    }

    fn map_observations(self, map: impl Fn(Tensor<3>) -> Result<Tensor<3>>) -> Result<Self> {
        Ok(Self {
            rl: self.rl.map_observations(&map)?,
            demonstrations: self.demonstrations.map_observations(&map)?,
        })
    }
}
