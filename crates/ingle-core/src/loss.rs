//! What SAC and TD3 share of their targets and losses: values are `[P, K, B]`, losses `[P]`.

use burn::tensor::Tensor;

use crate::network::{each_critic, minimum};

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
    value: &Tensor<3>,
    entropy: Option<(Tensor<2>, Tensor<2>)>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        let entropy = entropy.as_ref().map(|(alpha, log_prob)| (alpha, log_prob));
        if let Some(target) = crate::host::loss::target(&reward, &discount, value, entropy) {
            return target;
        }
    }
    // Reshaped first: that ends a kernel.
    let (reward, discount) = (reward.unsqueeze_dim::<3>(1), discount.unsqueeze_dim(1));
    let entropy = entropy.map(|(alpha, log_prob)| (alpha.unsqueeze_dim(1), log_prob.unsqueeze_dim(1)));
    let smallest = minimum(&each_critic(value));
    let value = match entropy {
        Some((alpha, log_prob)) => smallest - alpha * log_prob,
        None => smallest,
    };
    (reward + discount * value).squeeze_dim(1)
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
    let [_, critics, batch] = value.dims();
    let (target, weight) = (target.unsqueeze_dim::<3>(1), weight.map(|weight| weight.unsqueeze_dim::<3>(1)));
    let scale = 2.0 * factor / batch as f64;
    let slope = |error: Tensor<3>| match &weight {
        Some(weight) => (error * weight.clone()).mul_scalar(scale),
        None => error.mul_scalar(scale),
    };
    // The rows' sums over the critics, then one sum over the rows for each number. The gradient is computed anew from all
    // values: putting the critics' own together would end the kernel.
    let values = each_critic(&value);
    let errors = values.iter().map(|value| value.clone() - target.clone()).collect::<Vec<_>>();
    let sum = |terms: Vec<Tensor<3>>| terms.into_iter().reduce(|sum, term| sum + term).expect("a critic");
    let loss = sum(errors.iter().map(|error| slope(error.clone()) * error.clone()).collect()).mul_scalar(0.5);
    let td_error = sum(errors.into_iter().map(Tensor::abs).collect()).div_scalar(critics as f64);
    let mean_value = sum(values).div_scalar(critics as f64);
    ValueLoss {
        gradient: slope(value - target),
        td_error: td_error.squeeze_dim(1),
        loss: loss.sum_dim(2).flatten::<1>(0, 2),
        mean_value: mean_value.mean_dim(2).flatten::<1>(0, 2),
    }
}
