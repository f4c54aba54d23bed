//! The policies' heads, element by element, in a pass or two.

use burn::tensor::Tensor;

use super::kernels::{self, Real, give_back, take};
use super::{Values, tensor};

/// Actions `[P, B, A]`, their log-probabilities `[P, B]` and `σ·ε` `[P, B, A]` of a squashed Gaussian with outputs
/// `[P, B, 2A]`, if they are on a host device.
pub(crate) fn squash(
    outputs: &Tensor<3>,
    noise: &Tensor<3>,
    bounds: (f64, f64),
) -> Option<(Tensor<3>, Tensor<2>, Tensor<3>)> {
    by_type!(outputs, squash_as(outputs, noise, bounds))
}

fn squash_as<T: Real>(
    outputs: &Tensor<3>,
    noise: &Tensor<3>,
    (low, high): (f64, f64),
) -> Option<(Tensor<3>, Tensor<2>, Tensor<3>)> {
    let [population, batch, size] = noise.dims();
    if outputs.dims() != [population, batch, 2 * size] {
        return None;
    }
    let (outputs, noise) = (Values::of(outputs)?, Values::of(noise)?);
    let count = population * batch * size;
    let (mut mean, mut log_std) = (take::<T>(count), take::<T>(count));
    let rows = mean.chunks_exact_mut(size).zip(log_std.chunks_exact_mut(size));
    for (row, (mean, log_std)) in outputs.slice::<T>().chunks_exact(2 * size).zip(rows) {
        mean.copy_from_slice(&row[..size]);
        log_std.copy_from_slice(&row[size..]);
    }
    let (mut action, mut spread) = (vec![T::ZERO; count], vec![T::ZERO; count]);
    let bounds = (T::from_f64(low), T::from_f64(high));
    kernels::squash(&mut action, &mut spread, &mut mean, &mut log_std, noise.slice(), bounds);
    // The densities of the elements are where their means were.
    let log_prob = mean.chunks_exact(size).map(|row| row.iter().fold(T::ZERO, |sum, value| sum + *value));
    let log_prob: Vec<T> = log_prob.collect();
    give_back(mean);
    give_back(log_std);
    let shape = [population, batch, size];
    Some((tensor(action, shape), tensor(log_prob, [population, batch]), tensor(spread, shape)))
}

/// The gradient `[P, B, 2A]` of a squashed Gaussian's outputs, for those of the action `[P, B, A]` and of the
/// log-probability `[P, B or 1]`, if they are on a host device.
pub(crate) fn squash_gradient(
    outputs: &Tensor<3>,
    [action, spread]: [&Tensor<3>; 2],
    action_gradient: &Tensor<3>,
    log_prob_gradient: &Tensor<2>,
    bounds: (f64, f64),
) -> Option<Tensor<3>> {
    let tensors = [outputs, action, spread, action_gradient];
    by_type!(outputs, squash_gradient_as(tensors, log_prob_gradient, bounds))
}

fn squash_gradient_as<T: Real>(
    [outputs, action, spread, action_gradient]: [&Tensor<3>; 4],
    log_prob_gradient: &Tensor<2>,
    (low, high): (f64, f64),
) -> Option<Tensor<3>> {
    let [population, batch, size] = action.dims();
    let given = log_prob_gradient.dims();
    if action_gradient.dims() != action.dims()
        || given[0] != population
        || (given[1] != batch && given[1] != 1)
    {
        return None;
    }
    let [outputs, action, spread, action_gradient] =
        [Values::of(outputs)?, Values::of(action)?, Values::of(spread)?, Values::of(action_gradient)?];
    let log_prob_gradient = Values::of(log_prob_gradient)?;
    let log_prob_gradient = log_prob_gradient.slice::<T>();
    let (low, high) = (T::from_f64(low), T::from_f64(high));
    let mut gradient = vec![T::ZERO; population * batch * 2 * size];
    let rows = gradient
        .chunks_exact_mut(2 * size)
        .zip(outputs.slice::<T>().chunks_exact(2 * size))
        .zip(action.slice::<T>().chunks_exact(size))
        .zip(spread.slice::<T>().chunks_exact(size))
        .zip(action_gradient.slice::<T>().chunks_exact(size));
    for (row, ((((gradient, outputs), action), spread), action_gradient)) in rows.enumerate() {
        let log_prob = log_prob_gradient[if given[1] == 1 { row / batch } else { row }];
        let (mean, log_std) = gradient.split_at_mut(size);
        let elements = mean.iter_mut().zip(log_std).zip(action).zip(spread).zip(action_gradient);
        for (((((mean, log_std), action), spread), action_gradient), raw) in elements.zip(&outputs[size..]) {
            let slope = T::ONE - *action * *action;
            *mean = *action_gradient * slope + (*action + *action) * log_prob;
            let free = *raw >= low && *raw <= high;
            *log_std = if free { *mean * *spread - log_prob } else { T::ZERO };
        }
    }
    Some(tensor(gradient, [population, batch, 2 * size]))
}

/// `tanh`, if the values are on a host device.
pub(crate) fn tanh(values: &Tensor<3>) -> Option<Tensor<3>> {
    fn of<T: Real>(tensor_of: &Tensor<3>) -> Option<Tensor<3>> {
        let mut values = Values::of(tensor_of)?.slice::<T>().to_vec();
        kernels::tanh(&mut values);
        Some(tensor(values, tensor_of.dims()))
    }
    by_type!(values, of(values))
}
