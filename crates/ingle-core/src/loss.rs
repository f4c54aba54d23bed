//! What SAC and TD3 share of their targets and losses: values are `[P, K, B]`, losses `[P]`.

use burn::tensor::Tensor;

use crate::network::minimum;

/// A squared error of values, and what is measured beside it.
pub(crate) struct ValueLoss {
    pub(crate) loss: Tensor<1>,
    /// Of the loss with respect to the values, `[P, K, B]`.
    pub(crate) gradient: Tensor<3>,
    /// `mean_k |Q_k − y|`, `[P, B]`.
    pub(crate) td_error: Tensor<2>,
    /// `mean_{k,B} Q_k`.
    pub(crate) mean_value: Tensor<1>,
}

/// `y = R + discount · (min_k Q_k − α · log π)`, `[P, B]`; without the entropy's term if there are no `(α, log π)`.
pub(crate) fn target(
    reward: Tensor<2>,
    discount: Tensor<2>,
    value: Tensor<3>,
    entropy: Option<(Tensor<2>, Tensor<2>)>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        let entropy = entropy.as_ref().map(|(alpha, log_prob)| (alpha, log_prob));
        if let Some(target) = crate::host::loss::target(&reward, &discount, &value, entropy) {
            return target;
        }
    }
    let value = minimum(value);
    match entropy {
        Some((alpha, log_prob)) => reward + discount * (value - alpha * log_prob),
        None => reward + discount * value,
    }
}

/// `L = Σ_k mean_B c · w (Q_k − y)²`, with `∂L/∂Q_k = 2c w (Q_k − y) / B`, for targets y and weights w `[P, B]`.
pub(crate) fn squared_error(
    value: Tensor<3>,
    target: Tensor<2>,
    weight: Option<Tensor<2>>,
    factor: f64,
) -> ValueLoss {
    #[cfg(feature = "flex")]
    if let Some(loss) = crate::host::loss::squared_error(&value, &target, weight.as_ref(), factor) {
        return loss;
    }
    let batch = value.dims()[2] as f64;
    let mean_value = value.clone().mean_dim(2).mean_dim(1).flatten::<1>(0, 2);
    let error = value - target.unsqueeze_dim(1);
    let td_error = error.clone().abs().mean_dim(1).squeeze_dim(1);
    let weighted = match weight {
        Some(weight) => error.clone() * weight.unsqueeze_dim(1),
        None => error.clone(),
    };
    let gradient = weighted.mul_scalar(2.0 * factor / batch);
    let loss = (gradient.clone() * error).sum_dim(2).sum_dim(1).mul_scalar(0.5).flatten::<1>(0, 2);
    ValueLoss { loss, gradient, td_error, mean_value }
}
