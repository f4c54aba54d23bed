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
use crate::gradient::value_and_gradient_with;
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
    /// Pulls the gradient of the values back to the gradient `[P, N]` of the parameters.
    fn gradient(&self, tape: Self::Tape, value: Tensor<3>) -> Tensor<2>;
    /// Pulls the gradient of the values back to the gradient `[P, B, A]` of the action; the parameters are constants.
    fn action_gradient(&self, tape: Self::Tape, value: Tensor<3>) -> Tensor<3>;
}

/// `min_k Q_k`, `[P, B]`, of values `[P, K, B]`.
pub fn minimum(value: Tensor<3>) -> Tensor<2> {
    value.min_dim(1).squeeze_dim(1)
}

/// One value `[P, B]` of the critics (their [`minimum`], say) as a function of a tracked action, for an actor's loss;
/// the critics' parameters are constants.
///
/// A critic's pull-back is not burn's, so the value enters the graph by its linearisation at the action: the same value
/// and the same gradient.
pub fn value_of_action<C: Critic>(
    critic: &C,
    parameters: &Tensor<2>,
    observation: Tensor<3>,
    action: Tensor<3>,
    select: impl FnOnce(Tensor<3>) -> Tensor<2>,
) -> Tensor<2> {
    let point = action.clone().without_autodiff();
    let (values, tape) = critic.record(parameters, observation, point.clone());
    let (value, _, gradient) = value_and_gradient_with(values, |values| {
        let value = select(values);
        (value.clone().sum_dim(1).flatten::<1>(0, 1), value.without_autodiff())
    });
    let slope = critic.action_gradient(tape, gradient);
    let change = ((action - point.autodiff()) * slope.autodiff()).sum_dim(2).squeeze_dim(2);
    value.autodiff() + change
}
