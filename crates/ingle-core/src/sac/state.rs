//! Everything that changes in SAC.

use burn::tensor::Tensor;

use crate::guard::Skipped;
use crate::optimiser::Trainable;
use crate::random::RandomStream;
use crate::state::{State, Visitor};

/// Everything that changes in SAC, the population axis first.
#[derive(Debug, Clone)]
pub struct SacState {
    /// The policy's parameters `[P, N]`.
    pub actor: Trainable,
    /// The critics' parameters `[P, N]`, all K of them.
    pub critic: Trainable,
    /// The target critics' parameters `[P, N]`.
    pub target_critic: Tensor<2>,
    /// log α, `[P, 1]`; its learning rate is not used where the temperature is fixed.
    pub log_alpha: Trainable,
    /// τ of each member, `[P, 1]`.
    pub tau: Tensor<2>,
    /// H̄ of each member, `[P, 1]`.
    pub target_entropy: Tensor<2>,
    /// Where the updates' noise comes from, one stream per member.
    pub noise: Vec<RandomStream>,
    /// How many updates were left out because something in them was not finite.
    pub skipped: Skipped,
    /// How many updates were made, or left out.
    pub updates: u64,
}

impl State for SacState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("actor", |visitor| self.actor.visit(visitor));
        visitor.scope("critic", |visitor| self.critic.visit(visitor));
        visitor.tensor("target_critic/parameters", &mut self.target_critic);
        visitor.scope("log_alpha", |visitor| self.log_alpha.visit(visitor));
        visitor.tensor("tau", &mut self.tau);
        visitor.tensor("target_entropy", &mut self.target_entropy);
        visitor.streams("noise", &mut self.noise);
        visitor.scope("skipped", |visitor| self.skipped.visit(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}
