//! The cloned policy: deterministic or a squashed Gaussian, as the loss has it.

use burn::tensor::Tensor;

use super::BcLoss;
use crate::learner::Acting;
use crate::network::tanh;
use crate::sac::SquashedGaussian;

/// How many outputs the actor has for each action element.
pub(super) fn outputs_per_action(loss: BcLoss) -> usize {
    match loss {
        BcLoss::MeanSquaredError => 1,
        BcLoss::LogLikelihood => 2,
    }
}

/// The action. A deterministic policy does not explore: whoever trains it further brings that.
pub(super) fn act(loss: BcLoss, outputs: Tensor<3>, acting: Acting) -> Tensor<3> {
    match (loss, acting) {
        (BcLoss::MeanSquaredError, _) => tanh(outputs),
        (BcLoss::LogLikelihood, Acting::Deterministic) => SquashedGaussian::new(outputs).mode(),
        (BcLoss::LogLikelihood, Acting::Exploring(noise)) => SquashedGaussian::new(outputs).sample(noise),
    }
}
