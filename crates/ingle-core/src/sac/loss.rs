//! SAC's losses and target, per member. `log_prob` is `[P, B]`, values `[P, K, B]`; results are `[P]` or `[P, B]`.

use burn::tensor::Tensor;

use crate::network::minimum;

/// `y = R + discount · (min_k Q̄_k(s′, a′) − α · log π′)`, `[P, B]`.
pub(super) fn target(
    reward: Tensor<2>,
    discount: Tensor<2>,
    next_value: Tensor<3>,
    alpha: Tensor<2>,
    next_log_prob: Tensor<2>,
) -> Tensor<2> {
    reward + discount * (minimum(next_value) - alpha * next_log_prob)
}

/// `L_Q = Σ_k mean_B w · ½ (Q_k − y)²`.
pub(super) fn critic(value: Tensor<3>, target: Tensor<2>, weight: Option<Tensor<2>>) -> Tensor<1> {
    let squared = (value - target.unsqueeze_dim(1)).square().mul_scalar(0.5);
    let weighted = match weight {
        Some(weight) => squared * weight.unsqueeze_dim(1),
        None => squared,
    };
    weighted.mean_dim(2).sum_dim(1).flatten::<1>(0, 2)
}

/// `L_π = mean_B (α · log π̃ − min_k Q_k(s, ã))`.
pub(super) fn actor(alpha: Tensor<2>, log_prob: Tensor<2>, value: Tensor<2>) -> Tensor<1> {
    (alpha * log_prob - value).mean_dim(1).flatten::<1>(0, 1)
}

/// `L_α = −log α · mean_B(log π̃ + H̄)`, with log π̃ held constant.
pub(super) fn temperature(log_alpha: Tensor<2>, log_prob: Tensor<2>, target_entropy: Tensor<2>) -> Tensor<1> {
    (log_alpha * (log_prob + target_entropy).mean_dim(1)).neg().flatten::<1>(0, 1)
}
