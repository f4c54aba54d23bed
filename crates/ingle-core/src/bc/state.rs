//! Everything that changes in behaviour cloning.

use crate::guard::Skipped;
use crate::optimiser::Trainable;
use crate::state::{State, Visitor};

/// Everything that changes in behaviour cloning, the population axis first.
#[derive(Debug, Clone)]
pub struct BcState {
    /// The policy's parameters `[P, N]`.
    pub actor: Trainable,
    /// How many updates were left out because something in them was not finite.
    pub skipped: Skipped,
    /// How many updates were made, or left out.
    pub updates: u64,
}

impl State for BcState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("actor", |visitor| self.actor.visit(visitor));
        visitor.scope("skipped", |visitor| self.skipped.visit(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}
