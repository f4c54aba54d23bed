//! Everything that changes in AIRL.

use ingle_core::State;
use ingle_core::guard::Skipped;
use ingle_core::optimiser::Trainable;
use ingle_core::state::Visitor;

/// Everything that changes in AIRL and in the core below, the population axis first.
#[derive(Debug, Clone)]
pub struct AirlState<D> {
    /// The parameters `[P, N]` of the reward g.
    pub reward: Trainable,
    /// The parameters `[P, N]` of the shaping h.
    pub shaping: Trainable,
    /// How many updates of the two were left out because something in them was not finite.
    pub skipped: Skipped,
    /// The direct core's state.
    pub direct: D,
}

impl<D: State> State for AirlState<D> {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("airl/reward", |visitor| self.reward.visit(visitor));
        visitor.scope("airl/shaping", |visitor| self.shaping.visit(visitor));
        visitor.scope("airl/skipped", |visitor| self.skipped.visit(visitor));
        visitor.scope("direct", |visitor| self.direct.visit(visitor));
    }
}
