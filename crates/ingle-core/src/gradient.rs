//! The gradient of a loss with respect to what a network put out.

use burn::tensor::Tensor;

/// The value `[P]` of a loss and its gradient with respect to `x`.
///
/// For a loss that is written as a loss, on the (small) outputs of a network: burn differentiates it, and the network
/// pulls the gradient back. The members' losses are summed, so that no member's gradient sees another.
pub fn value_and_gradient<const D: usize>(
    x: Tensor<D>,
    loss: impl FnOnce(Tensor<D>) -> Tensor<1>,
) -> (Tensor<1>, Tensor<D>) {
    let x = x.autodiff().require_grad();
    let value = loss(x.clone());
    let mut gradients = value.clone().sum().backward();
    let gradient = x.grad_remove(&mut gradients).unwrap_or_else(|| x.without_autodiff().zeros_like());
    (value.without_autodiff(), gradient)
}
