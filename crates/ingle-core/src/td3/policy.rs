//! The deterministic policy and the noise on it.

use burn::tensor::Tensor;

use crate::network::tanh;

/// `π(s) = tanh(outputs)`.
pub(super) fn action(outputs: Tensor<3>) -> Tensor<3> {
    tanh(outputs)
}

/// Pulls the gradient of the action back to the outputs: `d_u = d_a (1 − a²)`.
pub(super) fn gradient(action: Tensor<3>, gradient: Tensor<3>) -> Tensor<3> {
    gradient * action.square().neg().add_scalar(1.0)
}

/// `clip(π(s) + σ·ε, −1, 1)`, for standard normal noise ε and σ `[P, 1]`.
pub(super) fn explore(action: Tensor<3>, noise: Tensor<3>, deviation: Tensor<2>) -> Tensor<3> {
    (action + noise * deviation.unsqueeze_dim(2)).clamp(-1.0, 1.0)
}

/// `clip(π̄(s′) + clip(σ̃·ε, ±c), −1, 1)`: one draw for each sample and action element; σ̃ and c are `[P, 1]`.
pub(super) fn smooth(
    action: Tensor<3>,
    noise: Tensor<3>,
    deviation: Tensor<2>,
    bound: Tensor<2>,
) -> Tensor<3> {
    let bound = bound.unsqueeze_dim::<3>(2);
    let noise = (noise * deviation.unsqueeze_dim(2)).min_pair(bound.clone()).max_pair(bound.neg());
    (action + noise).clamp(-1.0, 1.0)
}
