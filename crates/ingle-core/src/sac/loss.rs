//! SAC's target and losses, per member, with their gradients. `log_prob` is `[P, B]`, values are `[P, K, B]`; losses are
//! `[P]`.

use burn::tensor::Tensor;

use crate::loss::{self, ValueLoss};
use crate::network::{each_critic, minimum, minimum_gradient};

/// `y = R + discount · (min_k Q̄_k(s′, a′) − α · log π′)`, `[P, B]`.
pub(super) fn target(
    reward: Tensor<2>,
    discount: Tensor<2>,
    next_value: &Tensor<3>,
    alpha: Tensor<2>,
    next_log_prob: Tensor<2>,
) -> Tensor<2> {
    loss::target(reward, discount, next_value, Some((alpha, next_log_prob)))
}

/// `L_Q = Σ_k mean_B w · ½ (Q_k − y)²` and `∂L_Q/∂Q_k = w (Q_k − y) / B`.
pub(super) fn critic(value: Tensor<3>, target: Tensor<2>, weight: Option<Tensor<2>>) -> ValueLoss {
    loss::squared_error(value, target, weight, 0.5)
}

/// What the actor's loss moves.
pub(crate) struct ActorLoss {
    pub(crate) loss: Tensor<1>,
    /// `∂L_π/∂Q_k`, `[P, K, B]`.
    pub(crate) value: Tensor<3>,
    /// `∂L_π/∂ log π̃`, `[P, 1]`: the same for every row.
    pub(crate) log_prob: Tensor<2>,
}

/// `L_π = mean_B (α · log π̃ − min_k Q_k(s, ã))`, so that `∂L_π/∂ log π̃ = α / B`, and `∂L_π/∂Q_k = −1 / B` for the smallest.
pub(super) fn actor(alpha: Tensor<2>, log_prob: Tensor<2>, value: &Tensor<3>) -> ActorLoss {
    #[cfg(feature = "flex")]
    if let Some(loss) = crate::host::loss::actor(&alpha, &log_prob, value) {
        return loss;
    }
    let batch = value.dims()[2] as f64;
    let (cost, log_prob) = (alpha.clone().unsqueeze_dim(1), log_prob.unsqueeze_dim(1));
    let values = each_critic(value);
    let smallest = minimum(&values);
    let loss = cost * log_prob - smallest.clone();
    ActorLoss {
        value: minimum_gradient(value, &values, smallest).div_scalar(-batch),
        loss: loss.mean_dim(2).flatten::<1>(0, 2),
        log_prob: alpha.div_scalar(batch),
    }
}

/// `L_α = log α · (H(π̃) − H̄)` and `∂L_α/∂ log α = H(π̃) − H̄`, `[P, 1]`, with the policy's entropy
/// `H(π̃) = −mean_B log π̃`, `[P, 1]`, held constant.
pub(super) fn temperature(
    log_alpha: Tensor<2>,
    entropy: Tensor<2>,
    target_entropy: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let gradient = entropy - target_entropy;
    (log_alpha * gradient.clone(), gradient)
}
