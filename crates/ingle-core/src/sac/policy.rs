//! The squashed Gaussian policy.

use std::f64::consts::{LN_2, PI};

use burn::tensor::{Tensor, activation};

/// Bounds of log σ (paper's code and Stable-Baselines3).
const LOG_STD: (f64, f64) = (-20.0, 2.0);

/// The largest |a| of a given action, 1 − 2⁻²⁰: at 1, `atanh(a)` is infinite. It is d3rlpy's 1 − 1e-6, but for being a
/// float32: there, the distance of 1 − 1e-6 to 1 is wrong by some per cent.
const LARGEST_ACTION: f64 = 1.0 - 1.0 / 1_048_576.0;

/// A Gaussian squashed by tanh: the head `[P, B, 2A]` of SAC's actor, read as means and raw log standard deviations.
#[derive(Debug, Clone)]
pub struct SquashedGaussian {
    mean: Tensor<3>,
    log_std: Tensor<3>,
}

impl SquashedGaussian {
    /// Reads the actor's outputs `[P, B, 2A]`: means first, then log σ, clamped to `[−20, 2]`.
    pub fn new(outputs: Tensor<3>) -> Self {
        let action = outputs.dims()[2] / 2;
        Self {
            mean: outputs.clone().narrow(2, 0, action),
            log_std: outputs.narrow(2, action, action).clamp(LOG_STD.0, LOG_STD.1),
        }
    }

    /// The deterministic action, `tanh(mean)`.
    pub fn mode(self) -> Tensor<3> {
        self.mean.tanh()
    }

    /// The action `a = tanh(u)`, `u = mean + σ·ε`, for standard normal noise ε.
    pub fn sample(self, noise: Tensor<3>) -> Tensor<3> {
        (self.mean + self.log_std.exp() * noise).tanh()
    }

    /// The action for noise ε, and its log-probability `[P, B]`:
    /// `Σ_j [−ε_j²/2 − log σ_j − ½ log 2π − 2 (log 2 − u_j − softplus(−2u_j))]`.
    pub fn sample_with_log_prob(self, noise: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let Self { mean, log_std } = self;
        let unsquashed = mean + log_std.clone().exp() * noise.clone();
        // A threshold of 40 is beyond where softplus(x) = x even in float64.
        let softplus = activation::softplus_with_threshold(unsquashed.clone().mul_scalar(-2.0), 1.0, 40.0);
        let log_slope = (unsquashed.clone() + softplus).neg().add_scalar(LN_2).mul_scalar(2.0);
        let gaussian = noise.square().mul_scalar(-0.5) - log_std;
        let log_prob = (gaussian - log_slope).sub_scalar(0.5 * (2.0 * PI).ln()).sum_dim(2).squeeze_dim(2);
        (unsquashed.tanh(), log_prob)
    }

    /// The log-probability `[P, B]` of actions `[P, B, A]`, `ε_j = (atanh(a_j) − mean_j) / σ_j`:
    /// `Σ_j [−ε_j²/2 − log σ_j − ½ log 2π − log(1 − a_j²)]`. Actions beyond ±(1 − 2⁻²⁰) are taken for those.
    pub fn log_prob(self, action: Tensor<3>) -> Tensor<2> {
        let Self { mean, log_std } = self;
        let action = action.clamp(-LARGEST_ACTION, LARGEST_ACTION);
        let (above, below) = (action.clone().add_scalar(1.0).log(), action.neg().add_scalar(1.0).log());
        let unsquashed = (above.clone() - below.clone()).mul_scalar(0.5);
        let noise = (unsquashed - mean) / log_std.clone().exp();
        let gaussian = noise.square().mul_scalar(-0.5) - log_std;
        (gaussian - above - below).sub_scalar(0.5 * (2.0 * PI).ln()).sum_dim(2).squeeze_dim(2)
    }
}
