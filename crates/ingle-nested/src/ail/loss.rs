//! Losses and rewards of logits `[P, B]`; results are `[P]` or `[P, B]`.

use burn::tensor::{Tensor, activation};

use super::{AilLoss, AilReward};

/// The discriminator's loss on logits of demonstrations and of the learner's transitions.
pub(super) fn discriminator(loss: AilLoss, expert: Tensor<2>, own: Tensor<2>) -> Tensor<1> {
    let value = match loss {
        // Label 1 is expert: softplus(−ℓ) there, softplus(ℓ) here; the mean is over both.
        AilLoss::Gail { entropy_coefficient } => {
            let entropy = bernoulli_entropy(Tensor::cat(vec![expert.clone(), own.clone()], 1)).mean_dim(1);
            let cross_entropy = Tensor::cat(vec![softplus(expert.neg()), softplus(own)], 1).mean_dim(1);
            cross_entropy - entropy.mul_scalar(entropy_coefficient)
        }
        AilLoss::Pugail { prior, beta } => {
            let excess = softplus(own) - softplus(expert.clone()).mul_scalar(prior);
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
