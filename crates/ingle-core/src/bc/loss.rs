//! Behaviour cloning's losses, per member. Results are `[P]`.

use burn::tensor::Tensor;

use super::BcLoss;
use crate::network::tanh;
use crate::sac::SquashedGaussian;

/// The loss of the actor's outputs `[P, B, outputs]` for demonstrated actions `[P or 1, B, A]`:
/// `mean_B w · mean_A (π(s) − a)²`, or `−mean_B w · log π(a | s)`.
pub(super) fn cloning(
    loss: BcLoss,
    outputs: Tensor<3>,
    action: Tensor<3>,
    weight: Option<Tensor<2>>,
) -> Tensor<1> {
    let rows = match loss {
        BcLoss::MeanSquaredError => (tanh(outputs) - action).square().mean_dim(2).squeeze_dim(2),
        BcLoss::LogLikelihood => SquashedGaussian::new(outputs).log_prob(action).neg(),
    };
    let weighted = match weight {
        Some(weight) => rows * weight,
        None => rows,
    };
    weighted.mean_dim(1).flatten::<1>(0, 1)
}
