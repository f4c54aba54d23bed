//! Everything that changes in TD3.

use burn::tensor::Tensor;

use crate::guard::Skipped;
use crate::optimiser::Trainable;
use crate::random::RandomStream;
use crate::state::{State, Visitor};

/// Everything that changes in TD3, the population axis first.
#[derive(Debug, Clone)]
pub struct Td3State {
    /// The policy's parameters `[P, N]`.
    pub actor: Trainable,
    /// The critics' parameters `[P, N]`, all K of them.
    pub critic: Trainable,
    /// The target policy's parameters `[P, N]`.
    pub target_actor: Tensor<2>,
    /// The target critics' parameters `[P, N]`.
    pub target_critic: Tensor<2>,
    /// τ of each member, `[P, 1]`.
    pub tau: Tensor<2>,
    /// σ̃ of each member, `[P, 1]`.
    pub target_noise: Tensor<2>,
    /// c of each member, `[P, 1]`.
    pub noise_clip: Tensor<2>,
    /// Standard deviation of each member's exploration, `[P, 1]`.
    pub exploration_noise: Tensor<2>,
    /// TD3+BC's α of each member, `[P, 1]`; not used in TD3.
    pub behaviour_cloning: Tensor<2>,
    /// Where the updates' noise comes from, one stream per member.
    pub noise: Vec<RandomStream>,
    /// How many updates were left out because something in them was not finite.
    pub skipped: Skipped,
    /// How many updates were made, or left out.
    pub updates: u64,
}

impl State for Td3State {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("actor", |visitor| self.actor.visit(visitor));
        visitor.scope("critic", |visitor| self.critic.visit(visitor));
        visitor.tensor("target_actor/parameters", &mut self.target_actor);
        visitor.tensor("target_critic/parameters", &mut self.target_critic);
        visitor.tensor("tau", &mut self.tau);
        visitor.tensor("target_noise", &mut self.target_noise);
        visitor.tensor("noise_clip", &mut self.noise_clip);
        visitor.tensor("exploration_noise", &mut self.exploration_noise);
        visitor.tensor("behaviour_cloning", &mut self.behaviour_cloning);
        visitor.streams("noise", &mut self.noise);
        visitor.scope("skipped", |visitor| self.skipped.visit(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}
