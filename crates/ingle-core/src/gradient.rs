//! The gradient of a loss with respect to what a network put out.

use burn::tensor::Tensor;

/// The value `[P]` of a loss and its gradient with respect to `x`.
///
/// Losses are written as losses, on the (small) outputs of networks; burn differentiates them, and the network pulls
/// the gradient back. The members' losses are summed, so that no member's gradient sees another.
pub fn value_and_gradient<const D: usize>(
    x: Tensor<D>,
    loss: impl FnOnce(Tensor<D>) -> Tensor<1>,
) -> (Tensor<1>, Tensor<D>) {
    let ((), value, gradient) = value_and_gradient_with(x, |x| (loss(x), ()));
    (value, gradient)
}

/// As [`value_and_gradient`], for a loss that has something else to hand back.
pub fn value_and_gradient_with<const D: usize, T>(
    x: Tensor<D>,
    loss: impl FnOnce(Tensor<D>) -> (Tensor<1>, T),
) -> (T, Tensor<1>, Tensor<D>) {
    let x = x.autodiff().require_grad();
    let (value, extra) = loss(x.clone());
    let mut gradients = value.clone().sum().backward();
    let gradient = x.grad_remove(&mut gradients).unwrap_or_else(|| x.without_autodiff().zeros_like());
    (extra, value.without_autodiff(), gradient)
}
