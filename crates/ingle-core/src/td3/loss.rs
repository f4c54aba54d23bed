//! TD3's losses and target, per member. Values are `[P, K, B]`; results are `[P]` or `[P, B]`.

use burn::tensor::Tensor;

use crate::network::minimum;

/// `y = R + discount · min_k Q̄_k(s′, a′)`, `[P, B]`.
pub(super) fn target(reward: Tensor<2>, discount: Tensor<2>, next_value: Tensor<3>) -> Tensor<2> {
    reward + discount * minimum(next_value)
}

/// `L_Q = Σ_k mean_B w · (Q_k − y)²`.
pub(super) fn critic(value: Tensor<3>, target: Tensor<2>, weight: Option<Tensor<2>>) -> Tensor<1> {
    let squared = (value - target.unsqueeze_dim(1)).square();
    let weighted = match weight {
        Some(weight) => squared * weight.unsqueeze_dim(1),
        None => squared,
    };
    weighted.mean_dim(2).sum_dim(1).flatten::<1>(0, 2)
}

/// `L_π = −mean_B Q_1(s, π(s))`.
pub(super) fn actor(value: Tensor<2>) -> Tensor<1> {
    value.mean_dim(1).neg().flatten::<1>(0, 1)
}

/// TD3+BC: `L_π = −λ · mean_B Q_1(s, π(s)) + mean_{B,A} (π(s) − a)²`, with `λ = α / mean_B |Q_1|` held constant.
pub(super) fn actor_with_cloning(
    value: Tensor<2>,
    action: Tensor<3>,
    data: Tensor<3>,
    alpha: Tensor<2>,
) -> Tensor<1> {
    let scale = value.clone().detach().abs().mean_dim(1);
    let cloning = (action - data).square().mean_dim(2).mean_dim(1).squeeze_dim(2);
    (cloning - alpha / scale * value.mean_dim(1)).flatten::<1>(0, 1)
}
