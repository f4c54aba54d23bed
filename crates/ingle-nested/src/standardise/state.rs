//! The moments that observations are standardised by.

use burn::tensor::Tensor;
use ingle_core::State;
use ingle_core::state::Visitor;

/// The moments that observations are standardised by, the population axis first. They do not change, but a policy needs
/// them as it needs its parameters.
#[derive(Debug, Clone)]
pub struct StandardiseState {
    /// The mean of each element, `[P, O]`.
    pub mean: Tensor<2>,
    /// The standard deviation of each element and ε, `[P, O]`.
    pub deviation: Tensor<2>,
}

impl State for StandardiseState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("mean", &mut self.mean);
        visitor.tensor("deviation", &mut self.deviation);
    }
}
