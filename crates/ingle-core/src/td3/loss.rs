//! TD3's target and losses, per member, with their gradients. Values are `[P, K, B]`; losses are `[P]`.

use burn::tensor::Tensor;

use crate::loss::{self, ValueLoss};

/// `y = R + discount · min_k Q̄_k(s′, a′)`, `[P, B]`.
pub(super) fn target(reward: Tensor<2>, discount: Tensor<2>, next_value: &Tensor<3>) -> Tensor<2> {
    loss::target(reward, discount, next_value, None)
}

/// `L_Q = Σ_k mean_B w · (Q_k − y)²` and `∂L_Q/∂Q_k = 2 w (Q_k − y) / B`.
pub(super) fn critic(value: Tensor<3>, target: Tensor<2>, weight: Option<Tensor<2>>) -> ValueLoss {
    loss::squared_error(value, target, weight, 1.0)
}

/// What the actor's loss moves.
pub(super) struct ActorLoss {
    pub(super) loss: Tensor<1>,
    /// `∂L_π/∂Q_1`, `[P, 1, B]`.
    pub(super) value: Tensor<3>,
    /// `∂L_π/∂π(s)` beside what comes through the critic, `[P, B, A]`.
    pub(super) action: Option<Tensor<3>>,
}

/// `L_π = −mean_B Q_1(s, π(s))`, for values `[P, 1, B]`.
pub(super) fn actor(value: Tensor<3>) -> ActorLoss {
    let slope = value.ones_like().div_scalar(-(value.dims()[2] as f64));
    ActorLoss { loss: value.mean_dim(2).neg().flatten::<1>(0, 2), value: slope, action: None }
}

/// TD3+BC: `L_π = −λ · mean_B Q_1(s, π(s)) + mean_{B,A} (π(s) − a)²`, with `λ = α / mean_B |Q_1|` held constant.
pub(super) fn actor_with_cloning(
    value: Tensor<3>,
    action: Tensor<3>,
    data: Tensor<3>,
    alpha: Tensor<2>,
) -> ActorLoss {
    let [_, batch, size] = action.dims();
    let lambda = alpha.unsqueeze_dim::<3>(1) / value.clone().abs().mean_dim(2);
    let difference = action - data;
    let cloning = difference.clone().square().mean_dim(2).mean_dim(1);
    let slope = value.ones_like() * lambda.clone().div_scalar(-(batch as f64));
    ActorLoss {
        loss: (cloning - lambda * value.mean_dim(2)).flatten::<1>(0, 2),
        value: slope,
        action: Some(difference.mul_scalar(2.0 / (batch * size) as f64)),
    }
}
