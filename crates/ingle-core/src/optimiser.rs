//! Adam over a network's flat parameters, with everything that changes on the device.

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use serde::{Deserialize, Serialize};

use crate::guard::Guard;
use crate::phase::Phase;
use crate::state::{State, Visitor};

/// Adam's constants (Kingma & Ba 2014, arXiv:1412.6980), with `PyTorch`'s rule and defaults:
/// `θ ← θ − lr · m̂ / (√v̂ + ε)`, ε outside the root and after the bias correction, no weight decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// β₁, the decay of the first moment.
    pub beta_1: f64,
    /// β₂, the decay of the second moment.
    pub beta_2: f64,
    /// ε.
    pub epsilon: f64,
    /// The largest global norm of one member's gradient of one network; none does not clip.
    pub max_gradient_norm: Option<f64>,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, max_gradient_norm: None }
    }
}

/// Parameters `[P, N]` with the state of their optimiser.
///
/// Adam's moments are kept as decayed sums, `s ← βs + g`, and there is no step count: the bias correction is the decayed
/// sum of ones. With `w ← βw + 1`, `m̂ = s₁ / w₁` and `v̂ = s₂ / w₂` are Adam's corrected moments, since
/// `w = (1 − βᵗ) / (1 − β)`. That saves two passes over the parameters; nothing is a host scalar that changes, so a
/// captured update replays right; and no digits cancel.
#[derive(Debug, Clone)]
pub struct Trainable {
    /// The parameters, `[P, N]`.
    pub parameters: Tensor<2>,
    /// The learning rate of each member, `[P, 1]`.
    pub learning_rate: Tensor<2>,
    /// Decayed sum of the gradients, `[P, N]`, and of as many ones, `[P, 1]`.
    pub(crate) gradient_sum: Tensor<2>,
    pub(crate) gradient_weight: Tensor<2>,
    /// Decayed sum of the gradients' squares, `[P, N]`, and of as many ones, `[P, 1]`.
    pub(crate) square_sum: Tensor<2>,
    pub(crate) square_weight: Tensor<2>,
}

impl Trainable {
    /// Parameters before their first step.
    pub fn new(parameters: Tensor<2>, learning_rate: Tensor<2>) -> Self {
        Self {
            gradient_sum: parameters.zeros_like(),
            gradient_weight: learning_rate.zeros_like(),
            square_sum: parameters.zeros_like(),
            square_weight: learning_rate.zeros_like(),
            parameters,
            learning_rate,
        }
    }

    /// One Adam step on all parameters at once, for their gradient `[P, N]`. Members that the guard holds, or holds from
    /// here on because of this gradient, stay as they are.
    pub fn step(&mut self, adam: &Adam, gradient: Tensor<2>, guard: &mut Guard) {
        let _phase = Phase::Optimiser.enter();
        let Adam { beta_1, beta_2, epsilon, max_gradient_norm } = *adam;
        guard.watch_gradient(&self.parameters, &gradient);
        let gradient = match max_gradient_norm {
            Some(limit) => clip_by_global_norm(gradient, limit),
            None => gradient,
        };

        #[cfg(feature = "flex")]
        if crate::host::optimiser::adam(self, adam, &gradient, guard).is_some() {
            return;
        }
        // Of a member that is held, nothing decays, nothing is added, and the rate is 0. Of the others every number is
        // what it would be without a guard: a product with 1 and a sum with 0.
        let held = guard.held();
        let moves = held.clone().neg().add_scalar(1.0);
        let [beta_1, beta_2] = [beta_1, beta_2].map(|beta| moves.clone().mul_scalar(beta) + held.clone());
        let gradient = guard.allow(gradient);
        self.gradient_weight = self.gradient_weight.clone() * beta_1.clone() + moves.clone();
        self.square_weight = self.square_weight.clone() * beta_2.clone() + moves.clone();
        // Out of their places, so that a CPU changes them where they are.
        let take = |tensor: &mut Tensor<2>| std::mem::replace(tensor, held.clone());
        self.gradient_sum = take(&mut self.gradient_sum) * beta_1 + gradient.clone();
        self.square_sum = take(&mut self.square_sum) * beta_2 + gradient.clone() * gradient;

        // m̂ / (√v̂ + ε) with the weights taken out of the pass over all parameters:
        // (s₁ / w₁) / (√(s₂ / w₂) + ε) = √w₂ / w₁ · s₁ / (√s₂ + ε √w₂).
        let root_weight = self.square_weight.clone().sqrt();
        // Before a member's first step the weights are 0.
        let rate = self.learning_rate.clone() * root_weight.clone() * moves
            / (self.gradient_weight.clone() + held.clone());
        let root = self.square_sum.clone().sqrt() + (root_weight.mul_scalar(epsilon) + held.clone());
        let change = self.gradient_sum.clone() / root * rate;
        self.parameters = take(&mut self.parameters) - change;
    }
}

impl State for Trainable {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("parameters", &mut self.parameters);
        visitor.tensor("learning_rate", &mut self.learning_rate);
        visitor.tensor("gradient_sum", &mut self.gradient_sum);
        visitor.tensor("gradient_weight", &mut self.gradient_weight);
        visitor.tensor("square_sum", &mut self.square_sum);
        visitor.tensor("square_weight", &mut self.square_weight);
    }
}

/// Polyak averaging of target parameters: `θ̄ ← (1 − τ)·θ̄ + τ·θ`, with τ `[P, 1]`. Members that the guard holds stay.
pub fn polyak(target: &mut Tensor<2>, parameters: &Tensor<2>, tau: &Tensor<2>, guard: &Guard) {
    let _phase = Phase::Averaging.enter();
    #[cfg(feature = "flex")]
    if crate::host::optimiser::average(target, parameters, tau, guard).is_some() {
        return;
    }
    let change = (parameters.clone() - target.clone()) * tau.clone();
    *target = target.clone() + guard.allow(change);
}

/// Scales each member's gradient `[P, N]` down to a global norm of at most `limit` (`PyTorch`'s `clip_grad_norm_`).
fn clip_by_global_norm(gradient: Tensor<2>, limit: f64) -> Tensor<2> {
    let norm = gradient.clone().square().sum_dim(1).sqrt();
    let scale = norm.add_scalar(1e-6).recip().mul_scalar(limit).clamp_max(1.0);
    gradient * scale
}

/// A setting that may differ between the members of a population: one value for all, or one for each.
///
/// In a configuration file: `tau = 0.005` or `tau = [0.005, 0.01, 0.02]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerMember {
    /// The same for every member.
    All(f64),
    /// One value for each of the P members.
    Each(Vec<f64>),
}

impl PerMember {
    /// The values, one or P of them.
    pub fn values(&self) -> &[f64] {
        match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }

    /// The value of one member.
    pub fn of(&self, member: usize) -> Option<f64> {
        match self {
            Self::All(value) => Some(*value),
            Self::Each(values) => values.get(member).copied(),
        }
    }

    /// The values on the device, `[P, 1]`.
    pub fn to_tensor(&self, population: usize, options: &TensorCreationOptions) -> Tensor<2> {
        let values: Vec<f64> = (0..population).map(|member| self.of(member).unwrap_or(f64::NAN)).collect();
        Tensor::from_data(TensorData::new(values, [population, 1]), options.clone())
    }

    /// Why these values do not do for `name`, if they do not: another count than P, or one out of range.
    pub fn violation(
        &self,
        name: &str,
        population: usize,
        range: &str,
        valid: impl Fn(f64) -> bool,
    ) -> Option<String> {
        match self {
            Self::Each(values) if values.len() != population => {
                Some(format!("{name}: {} values for a population of {population}", values.len()))
            }
            _ => self
                .values()
                .iter()
                .find(|value| !valid(**value))
                .map(|value| format!("{name}: must be {range}, got {value}")),
        }
    }
}

impl From<f64> for PerMember {
    fn from(value: f64) -> Self {
        Self::All(value)
    }
}

impl From<Vec<f64>> for PerMember {
    fn from(values: Vec<f64>) -> Self {
        Self::Each(values)
    }
}
