//! Networks as functions whose parameters are handed in.
//!
//! A learner's parameters are one flat tensor `[P, N]` per network, so that the optimiser and the target average
//! take one pass each. A network knows how that vector is laid out, computes its output, and pulls a gradient of the
//! output back to a gradient of the parameters (or of the action). The built-in [`Mlp`] writes that pull-back out,
//! for all members and critics at once; [`ModuleActor`] and [`ModuleCritic`] take your own burn modules and leave it
//! to burn's autodiff.

mod layout;
mod mlp;
mod module;

use burn::tensor::{Tensor, TensorCreationOptions};

pub use layout::Layout;
pub use mlp::{Mlp, MlpActor, MlpCritic, MlpTape};
pub use module::{ActorModule, CriticModule, ModuleActor, ModuleCritic, ModuleTape};

use crate::Result;
use crate::random::RandomStream;

/// A differentiable function whose parameters `[P, N]` are handed in.
pub trait Network {
    /// What the pull-back needs to remember of a recorded forward pass.
    type Tape;

    /// Names, shapes and places of one member's parameters in the flat vector.
    fn layout(&self) -> &Layout;

    /// Fresh parameters `[P, N]`, one member per stream.
    ///
    /// # Errors
    /// If a user's module does not come out as the layout says.
    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>>;
}

/// A policy network: observations `[P, B, O]` to whatever the learner's policy head reads, `[P, B, outputs]`.
pub trait Actor: Network {
    /// O.
    fn observation_size(&self) -> usize;
    /// Number of outputs: 2A for SAC's Gaussian (means, then raw log standard deviations), A for TD3.
    fn output_size(&self) -> usize;
    /// The outputs.
    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> Tensor<3>;
    /// The outputs, and what it takes to pull a gradient back.
    fn record(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> (Tensor<3>, Self::Tape);
    /// The outputs for two batches, and what it takes to pull a gradient of the first one's back.
    fn record_beside(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        other: Tensor<3>,
    ) -> (Tensor<3>, Self::Tape, Tensor<3>) {
        let (output, tape) = self.record(parameters, observation);
        (output, tape, self.forward(parameters, other))
    }
    /// Pulls the gradient of the outputs back to the gradient `[P, N]` of the parameters.
    fn gradient(&self, tape: Self::Tape, output: Tensor<3>) -> Tensor<2>;
}

/// An ensemble of K action-value networks: `[P, B, O]` and `[P, B, A]` to `[P, K, B]`.
pub trait Critic: Network {
    /// O.
    fn observation_size(&self) -> usize;
    /// A.
    fn action_size(&self) -> usize;
    /// K.
    fn ensemble(&self) -> usize;
    /// The values.
    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>, action: Tensor<3>) -> Tensor<3>;
    /// The values, and what it takes to pull a gradient back.
    fn record(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, Self::Tape);
    /// The first critic's values `[P, 1, B]`, and what it takes to pull their gradient back to the action.
    fn record_first(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, Self::Tape);
    /// Pulls the gradient of all values back to the gradient `[P, N]` of the parameters.
    fn gradient(&self, tape: Self::Tape, value: Tensor<3>) -> Tensor<2>;
    /// Pulls the gradient of the recorded values back to the gradient `[P, B, A]` of the action; the parameters are
    /// constants.
    fn action_gradient(&self, tape: Self::Tape, value: Tensor<3>) -> Tensor<3>;
}

/// Each critic's values `[P, 1, B]` out of those of all, `[P, K, B]`. On a GPU, what is done to these views one critic after
/// the other is one kernel, and a reduction over K is one of its own.
pub fn each_critic(value: &Tensor<3>) -> Vec<Tensor<3>> {
    (0..value.dims()[1]).map(|critic| value.clone().narrow(1, critic, 1)).collect()
}

/// `min_k Q_k`, `[P, 1, B]`, of each critic's values; not-a-number if one of them is.
///
/// # Panics
/// If there is no critic.
pub fn minimum(values: &[Tensor<3>]) -> Tensor<3> {
    let (first, others) = values.split_first().expect("at least one critic");
    others.iter().fold(first.clone(), |smallest, value| {
        let smaller = value.clone().lower(smallest.clone());
        let a_number = value.clone().equal(value.clone());
        value.clone().mask_where(a_number, smallest.mask_where(smaller, value.clone()))
    })
}

/// The gradient of [`minimum`] with respect to the values `[P, K, B]`, given [`each_critic`]'s and the minimum: 1 for the smallest of a row, in
/// equal shares where several are (as `PyTorch`'s `amin` has it).
pub fn minimum_gradient(value: &Tensor<3>, values: &[Tensor<3>], minimum: Tensor<3>) -> Tensor<3> {
    let count = values.iter().fold(minimum.zeros_like(), |count, value| {
        let smallest = value.clone().lower_equal(minimum.clone());
        count + value.zeros_like().mask_fill(smallest, 1.0)
    });
    let smallest = value.clone().lower_equal(minimum);
    value.zeros_like().mask_where(smallest, count.recip())
}

/// `tanh`, which bounds actions: of one function everywhere, so that equal outputs give equal actions to the bit.
pub fn tanh(values: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(result) = crate::host::policy::tanh(&values) {
        return result;
    }
    values.tanh()
}
