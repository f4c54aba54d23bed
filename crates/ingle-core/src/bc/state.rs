//! Everything that changes in behaviour cloning.

use crate::optimiser::Trainable;
use crate::state::{State, Visitor};

/// Everything that changes in behaviour cloning, the population axis first.
#[derive(Debug, Clone)]
pub struct BcState {
    /// The policy's parameters `[P, N]`.
    pub actor: Trainable,
    /// How many updates were made.
    pub updates: u64,
}

impl State for BcState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("actor", |visitor| self.actor.visit(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}
