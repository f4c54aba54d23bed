//! Everything that changes in RND, and the fixed target.

use burn::tensor::Tensor;
use ingle_core::State;
use ingle_core::guard::Skipped;
use ingle_core::optimiser::Trainable;
use ingle_core::state::Visitor;

use crate::RunningMoments;

/// Everything that changes in RND, the population axis first, and the fixed target network.
#[derive(Debug, Clone)]
pub struct RndState {
    /// The fixed random network's parameters `[P, N]`: drawn once, saved, never moved.
    pub target: Tensor<2>,
    /// The predictor's parameters `[P, N]`.
    pub predictor: Trainable,
    /// How many of the predictor's updates were left out because something in them was not finite.
    pub skipped: Skipped,
    /// Moments of the observations.
    pub observation: RunningMoments,
    /// Moments of the intrinsic reward.
    pub reward: RunningMoments,
    /// Coefficient of the intrinsic reward of each member, `[P, 1]`.
    pub intrinsic: Tensor<2>,
    /// Coefficient of the sample's own reward of each member, `[P, 1]`.
    pub extrinsic: Tensor<2>,
}

impl State for RndState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("target/parameters", &mut self.target);
        visitor.scope("predictor", |visitor| self.predictor.visit(visitor));
        visitor.scope("skipped", |visitor| self.skipped.visit(visitor));
        visitor.scope("observation", |visitor| self.observation.visit(visitor));
        visitor.scope("reward", |visitor| self.reward.visit(visitor));
        visitor.tensor("intrinsic", &mut self.intrinsic);
        visitor.tensor("extrinsic", &mut self.extrinsic);
    }
}
