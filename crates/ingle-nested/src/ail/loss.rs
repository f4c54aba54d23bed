//! Losses and rewards of logits `[P, B]`; results are `[P]` or `[P, B]`.

use burn::tensor::{Tensor, activation};

use super::{AilLoss, AilReward};

/// Binary cross-entropy where label 1 is expert: `½ (mean softplus(−ℓ_E) + mean softplus(ℓ_π))`, `[P, 1]`.
pub(crate) fn cross_entropy(expert: Tensor<2>, own: Tensor<2>) -> Tensor<2> {
    (softplus(expert.neg()).mean_dim(1) + softplus(own).mean_dim(1)).mul_scalar(0.5)
}

/// The rows of the demonstrations over and over, until there are as many as own ones.
pub(super) fn pair<const D: usize>(expert: Tensor<D>, rows: usize) -> Tensor<D> {
    let times = rows / expert.dims()[1];
    if times == 1 { expert } else { expert.repeat_dim(1, times) }
}

/// The discriminator's loss on logits of demonstrations and of the learner's transitions.
pub(super) fn discriminator(loss: AilLoss, expert: Tensor<2>, own: Tensor<2>) -> Tensor<1> {
    let value = match loss {
        // Half of the mean is of demonstrations, half of own rows, whatever their numbers.
        AilLoss::Gail { entropy_coefficient } => {
            let entropy =
                bernoulli_entropy(expert.clone()).mean_dim(1) + bernoulli_entropy(own.clone()).mean_dim(1);
            cross_entropy(expert, own) - entropy.mul_scalar(0.5 * entropy_coefficient)
        }
        AilLoss::Pugail { prior, beta } => {
            let rows = own.dims()[1];
            let excess = softplus(own) - pair(softplus(expert.clone()), rows).mul_scalar(prior);
            softplus(expert.neg()).mul_scalar(prior).mean_dim(1) + excess.clamp_min(-beta).mean_dim(1)
        }
    };
    value.flatten::<1>(0, 1)
}

/// The reward of each row.
pub(super) fn reward(reward: AilReward, logit: Tensor<2>) -> Tensor<2> {
    match reward {
        AilReward::Gail => softplus(logit),
        AilReward::Airl => logit,
        AilReward::Fairl => (logit.clone() * logit.clamp_max(20.0).exp()).neg(),
        AilReward::LogD => softplus(logit.neg()).neg(),
    }
}

/// DAC's penalty on the gradient `[P, B, I]` of the logit with respect to the input: `mean_B (√(‖∂ℓ/∂x‖² + 1e-12) − 1)²`.
pub(super) fn gradient_penalty(gradient: Tensor<3>) -> Tensor<1> {
    let norm = gradient.square().sum_dim(2).add_scalar(1e-12).sqrt();
    norm.sub_scalar(1.0).square().mean_dim(1).flatten::<1>(0, 2)
}

/// `H(Bernoulli(σ(ℓ))) = softplus(ℓ) − ℓ σ(ℓ)`.
fn bernoulli_entropy(logit: Tensor<2>) -> Tensor<2> {
    softplus(logit.clone()) - logit.clone() * activation::sigmoid(logit)
}

fn softplus(x: Tensor<2>) -> Tensor<2> {
    // A threshold of 40 is beyond where softplus(x) = x even in float64.
    activation::softplus_with_threshold(x, 1.0, 40.0)
}
