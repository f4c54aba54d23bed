//! TD3's target and losses, per member, with their gradients. Values are `[P, K, B]`; losses are `[P]`.

use burn::tensor::Tensor;

use crate::network::minimum;

/// `y = R + discount · min_k Q̄_k(s′, a′)`, `[P, B]`.
pub(super) fn target(reward: Tensor<2>, discount: Tensor<2>, next_value: Tensor<3>) -> Tensor<2> {
    reward + discount * minimum(next_value)
}

/// `L_Q = Σ_k mean_B w · (Q_k − y)²` and `∂L_Q/∂Q_k = 2 w (Q_k − y) / B`, for the errors `Q − y` `[P, K, B]`.
pub(super) fn critic(error: Tensor<3>, weight: Option<Tensor<2>>) -> (Tensor<1>, Tensor<3>) {
    let batch = error.dims()[2] as f64;
    let weighted = match weight {
        Some(weight) => error.clone() * weight.unsqueeze_dim(1),
        None => error.clone(),
    };
    let gradient = weighted.mul_scalar(2.0 / batch);
    let loss = (gradient.clone() * error).sum_dim(2).sum_dim(1).mul_scalar(0.5).flatten::<1>(0, 2);
    (loss, gradient)
}

/// What the actor's loss moves.
pub(super) struct ActorLoss {
    pub(super) loss: Tensor<1>,
    /// `∂L_π/∂Q_k`, `[P, K, B]`: 0 but for the first critic.
    pub(super) value: Tensor<3>,
    /// `∂L_π/∂π(s)` beside what comes through the critics, `[P, B, A]`.
    pub(super) action: Option<Tensor<3>>,
}

/// `L_π = −mean_B Q_1(s, π(s))`.
pub(super) fn actor(value: &Tensor<3>) -> ActorLoss {
    let first = value.clone().narrow(1, 0, 1);
    let slope = first.ones_like().div_scalar(-(value.dims()[2] as f64));
    ActorLoss {
        loss: first.mean_dim(2).neg().flatten::<1>(0, 2),
        value: of_first(slope, value),
        action: None,
    }
}

/// TD3+BC: `L_π = −λ · mean_B Q_1(s, π(s)) + mean_{B,A} (π(s) − a)²`, with `λ = α / mean_B |Q_1|` held constant.
pub(super) fn actor_with_cloning(
    value: &Tensor<3>,
    action: Tensor<3>,
    data: Tensor<3>,
    alpha: Tensor<2>,
) -> ActorLoss {
    let [_, batch, size] = action.dims();
    let first = value.clone().narrow(1, 0, 1);
    let lambda = alpha.unsqueeze_dim::<3>(1) / first.clone().abs().mean_dim(2);
    let difference = action - data;
    let cloning = difference.clone().square().mean_dim(2).mean_dim(1);
    let slope = first.ones_like() * lambda.clone().div_scalar(-(batch as f64));
    ActorLoss {
        loss: (cloning - lambda * first.mean_dim(2)).flatten::<1>(0, 2),
        value: of_first(slope, value),
        action: Some(difference.mul_scalar(2.0 / (batch * size) as f64)),
    }
}

/// The gradient `[P, 1, B]` of the first critic's values as one of all of them.
fn of_first(gradient: Tensor<3>, value: &Tensor<3>) -> Tensor<3> {
    let others = value.dims()[1] - 1;
    if others == 0 {
        return gradient;
    }
    Tensor::cat(vec![gradient, value.clone().narrow(1, 1, others).zeros_like()], 1)
}
