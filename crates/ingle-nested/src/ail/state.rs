//! Everything that changes in adversarial imitation.

use burn::tensor::Tensor;
use ingle_core::State;
use ingle_core::guard::Skipped;
use ingle_core::optimiser::Trainable;
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;

/// Everything that changes in adversarial imitation, the population axis first.
#[derive(Debug, Clone)]
pub struct AilState {
    /// The discriminator's parameters `[P, N]`, before any spectral normalisation.
    pub discriminator: Trainable,
    /// How many of its updates were left out because something in them was not finite.
    pub skipped: Skipped,
    /// The singular vectors of each layer's weight; none without spectral normalisation.
    pub spectral: Vec<SingularVectors>,
    /// Where the gradient penalty's interpolations come from, one stream per member.
    pub interpolation: Vec<RandomStream>,
    /// How many samples were processed.
    pub steps: u64,
}

/// What power iteration has found of the largest singular value's vectors of a weight `[P, in, out]`.
#[derive(Debug, Clone)]
pub struct SingularVectors {
    /// `[P, in]`, of length 1: `PyTorch`'s v.
    pub input: Tensor<2>,
    /// `[P, out]`, of length 1: `PyTorch`'s u.
    pub output: Tensor<2>,
}

impl State for AilState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("discriminator", |visitor| self.discriminator.visit(visitor));
        visitor.scope("skipped", |visitor| self.skipped.visit(visitor));
        for (layer, vectors) in self.spectral.iter_mut().enumerate() {
            visitor.scope(&format!("spectral/{layer}"), |visitor| {
                visitor.tensor("input", &mut vectors.input);
                visitor.tensor("output", &mut vectors.output);
            });
        }
        visitor.streams("interpolation", &mut self.interpolation);
        visitor.counter("steps", &mut self.steps);
    }
}
