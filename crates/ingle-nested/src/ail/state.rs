//! Everything that changes in adversarial imitation.

use ingle_core::State;
use ingle_core::optimiser::Trainable;
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;

/// Everything that changes in adversarial imitation, the population axis first.
#[derive(Debug, Clone)]
pub struct AilState {
    /// The discriminator's parameters `[P, N]`.
    pub discriminator: Trainable,
    /// Where the gradient penalty's interpolations come from, one stream per member.
    pub interpolation: Vec<RandomStream>,
}

impl State for AilState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("discriminator", |visitor| self.discriminator.visit(visitor));
        visitor.streams("interpolation", &mut self.interpolation);
    }
}
