//! The squashed Gaussian policy.

use std::f64::consts::{LN_2, PI};

use burn::tensor::{Tensor, activation};

use crate::network::tanh;

/// Bounds of log σ (paper's code and Stable-Baselines3).
const LOG_STD: (f64, f64) = (-20.0, 2.0);

/// The largest |a| of a given action, 1 − 2⁻²⁰: at 1, `atanh(a)` is infinite. It is d3rlpy's 1 − 1e-6, but for being a
/// float32: there, the distance of 1 − 1e-6 to 1 is wrong by some per cent.
const LARGEST_ACTION: f64 = 1.0 - 1.0 / 1_048_576.0;

/// A Gaussian squashed by tanh: the head `[P, B, 2A]` of SAC's actor, read as means and raw log standard deviations.
#[derive(Debug, Clone)]
pub struct SquashedGaussian {
    outputs: Tensor<3>,
}

/// What a recorded action keeps for its pull-back.
#[derive(Debug, Clone)]
pub struct ActionTape {
    /// For the pass on slices.
    #[cfg(feature = "flex")]
    outputs: Tensor<3>,
    /// The half of them that it takes elsewhere, where a GPU would copy it once more.
    raw_log_std: Tensor<3>,
    action: Tensor<3>,
    /// `σ·ε`.
    spread: Tensor<3>,
}

impl SquashedGaussian {
    /// Reads the actor's outputs `[P, B, 2A]`: means first, then log σ, clamped to `[−20, 2]`.
    pub fn new(outputs: Tensor<3>) -> Self {
        Self { outputs }
    }

    fn mean(&self) -> Tensor<3> {
        self.outputs.clone().narrow(2, 0, self.outputs.dims()[2] / 2)
    }

    fn raw_log_std(&self) -> Tensor<3> {
        let action = self.outputs.dims()[2] / 2;
        self.outputs.clone().narrow(2, action, action)
    }

    fn log_std(&self) -> Tensor<3> {
        clamp(self.raw_log_std())
    }

    /// The deterministic action, `tanh(mean)`.
    pub fn mode(self) -> Tensor<3> {
        tanh(self.mean())
    }

    /// The action `a = tanh(u)`, `u = mean + σ·ε`, for standard normal noise ε.
    pub fn sample(self, noise: Tensor<3>) -> Tensor<3> {
        let spread = self.log_std().exp() * noise;
        tanh(self.mean() + spread)
    }

    /// The action for noise ε, and its log-probability `[P, B]`:
    /// `Σ_j [−ε_j²/2 − log σ_j − ½ log 2π − 2 (log 2 − u_j − softplus(−2u_j))]`.
    pub fn sample_with_log_prob(self, noise: Tensor<3>) -> (Tensor<3>, Tensor<2>) {
        let (action, log_prob, _) = self.record(noise);
        (action, log_prob)
    }

    /// As [`Self::sample_with_log_prob`], and what it takes to pull gradients back.
    pub fn record(self, noise: Tensor<3>) -> (Tensor<3>, Tensor<2>, ActionTape) {
        let (mean, raw_log_std) = (self.mean(), self.raw_log_std());
        #[cfg(feature = "flex")]
        let outputs = self.outputs;
        #[cfg(feature = "flex")]
        if let Some((action, log_prob, spread)) = crate::host::policy::squash(&outputs, &noise, LOG_STD) {
            return (action.clone(), log_prob, ActionTape { outputs, raw_log_std, action, spread });
        }
        let noise_size = noise.dims()[2];
        let log_std = clamp(raw_log_std.clone());
        let spread = log_std.clone().exp() * noise.clone();
        let unsquashed = mean + spread.clone();
        let action = unsquashed.clone().tanh();
        // A threshold of 40 is beyond where softplus(x) = x even in float64.
        let softplus = activation::softplus_with_threshold(unsquashed.clone().mul_scalar(-2.0), 1.0, 40.0);
        let log_slope = (unsquashed + softplus).neg().add_scalar(LN_2).mul_scalar(2.0);
        let gaussian = noise.square().mul_scalar(-0.5) - log_std;
        // The constant after the sum: arithmetic there lets a GPU do all of it in the kernel of the sum.
        let constant = 0.5 * (2.0 * PI).ln() * noise_size as f64;
        let log_prob = (gaussian - log_slope).sum_dim(2).sub_scalar(constant).squeeze_dim(2);
        let tape = ActionTape {
            #[cfg(feature = "flex")]
            outputs,
            raw_log_std,
            action: action.clone(),
            spread,
        };
        (action, log_prob, tape)
    }

    /// The log-probability `[P, B]` of actions `[P, B, A]`, `ε_j = (atanh(a_j) − mean_j) / σ_j`:
    /// `Σ_j [−ε_j²/2 − log σ_j − ½ log 2π − log(1 − a_j²)]`. Actions beyond ±(1 − 2⁻²⁰) are taken for those.
    pub fn log_prob(self, action: Tensor<3>) -> Tensor<2> {
        let log_std = self.log_std();
        let action = action.clamp(-LARGEST_ACTION, LARGEST_ACTION);
        let (above, below) = (action.clone().add_scalar(1.0).log(), action.neg().add_scalar(1.0).log());
        let unsquashed = (above.clone() - below.clone()).mul_scalar(0.5);
        let noise = (unsquashed - self.mean()) / log_std.clone().exp();
        let gaussian = noise.square().mul_scalar(-0.5) - log_std;
        (gaussian - above - below).sub_scalar(0.5 * (2.0 * PI).ln()).sum_dim(2).squeeze_dim(2)
    }
}

fn clamp(log_std: Tensor<3>) -> Tensor<3> {
    log_std.clamp(LOG_STD.0, LOG_STD.1)
}

impl ActionTape {
    /// Pulls the gradients of the action `[P, B, A]` and of the log-probability (`[P, B]`, or `[P, 1]`
    /// where it is the same for every row) back to the actor's outputs.
    ///
    /// With `∂a/∂u = 1 − a²` and `∂ log π/∂u = 2a`: `d_u = d_a (1 − a²) + 2a · d_log π`, `d_mean = d_u`, and
    /// `d_log σ = d_u · σε − d_log π` where log σ was not clamped.
    pub fn gradient(self, action: Tensor<3>, log_prob: Tensor<2>) -> Tensor<3> {
        #[cfg(feature = "flex")]
        if let Some(gradient) = crate::host::policy::squash_gradient(
            &self.outputs,
            [&self.action, &self.spread],
            &action,
            &log_prob,
            LOG_STD,
        ) {
            return gradient;
        }
        let log_prob: Tensor<3> = log_prob.unsqueeze_dim(2);
        let slope = self.action.clone().square().neg().add_scalar(1.0);
        let mean = action * slope + self.action.mul_scalar(2.0) * log_prob.clone();
        let free = self.raw_log_std.clone().equal(clamp(self.raw_log_std));
        let log_std = mean.clone() * self.spread - log_prob;
        let log_std = log_std.zeros_like().mask_where(free, log_std);
        Tensor::cat(vec![mean, log_std], 2)
    }
}
