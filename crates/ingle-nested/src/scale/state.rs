//! Everything that changes in reward scaling, and the members' settings.

use burn::tensor::Tensor;
use ingle_core::State;
use ingle_core::state::Visitor;

use crate::RunningMoments;

/// Everything that changes in reward scaling, the population axis first, and the members' settings.
#[derive(Debug, Clone)]
pub struct ScaleState {
    /// Moments of the rewards as they came; they stand still unless rewards are normalised.
    pub reward: RunningMoments,
    /// What each member's rewards are multiplied by, `[P, 1]`.
    pub scale: Tensor<2>,
    /// What is then added, `[P, 1]`.
    pub shift: Tensor<2>,
}

impl State for ScaleState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("reward", |visitor| self.reward.visit(visitor));
        visitor.tensor("scale", &mut self.scale);
        visitor.tensor("shift", &mut self.shift);
    }
}
