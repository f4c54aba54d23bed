//! The targets and losses of SAC and TD3 in one pass each, over values `[P, K, B]`.

use burn::tensor::Tensor;

use super::kernels::{Real, sum};
use super::{Values, tensor};
use crate::loss::ValueLoss;
use crate::sac::loss::ActorLoss;

/// `R + discount · (min_k Q_k − α · log π)`, with `(α, log π)` as entropy; `[P, B]`.
pub(crate) fn target(
    reward: &Tensor<2>,
    discount: &Tensor<2>,
    value: &Tensor<3>,
    entropy: Option<(&Tensor<2>, &Tensor<2>)>,
) -> Option<Tensor<2>> {
    by_type!(value, target_as(reward, discount, value, entropy))
}

fn target_as<T: Real>(
    reward: &Tensor<2>,
    discount: &Tensor<2>,
    value: &Tensor<3>,
    entropy: Option<(&Tensor<2>, &Tensor<2>)>,
) -> Option<Tensor<2>> {
    let [population, _, batch] = value.dims();
    let rows = [population, batch];
    let entropy = match entropy {
        Some((alpha, log_prob)) if alpha.dims() == [population, 1] && log_prob.dims() == rows => {
            Some((Values::of(alpha)?, Values::of(log_prob)?))
        }
        Some(_) => return None,
        None => None,
    };
    if reward.dims() != rows || discount.dims() != rows {
        return None;
    }
    let [reward, discount] = [Values::of(reward)?, Values::of(discount)?];
    let (reward, discount) = (reward.slice::<T>(), discount.slice::<T>());
    let mut target = smallest::<T>(value)?;
    for (member, target) in target.chunks_exact_mut(batch).enumerate() {
        let own = member * batch..(member + 1) * batch;
        if let Some((alpha, log_prob)) = &entropy {
            let alpha = alpha.slice::<T>()[member];
            for (target, log_prob) in target.iter_mut().zip(&log_prob.slice::<T>()[own.clone()]) {
                *target = *target - alpha * *log_prob;
            }
        }
        for ((target, reward), discount) in target.iter_mut().zip(&reward[own.clone()]).zip(&discount[own]) {
            *target = *reward + *discount * *target;
        }
    }
    Some(tensor(target, rows))
}

/// `min_k Q_k` `[P, B]`; not-a-number if one of them is.
fn smallest<T: Real>(value: &Tensor<3>) -> Option<Vec<T>> {
    let [population, ensemble, batch] = value.dims();
    let value = Values::of(value)?;
    let mut smallest = Vec::with_capacity(population * batch);
    for member in value.slice::<T>().chunks_exact(ensemble * batch) {
        let (first, others) = member.split_at(batch);
        let start = smallest.len();
        smallest.extend_from_slice(first);
        for other in others.chunks_exact(batch) {
            for (smallest, other) in smallest[start..].iter_mut().zip(other) {
                *smallest = if *other < *smallest || other.is_nan() { *other } else { *smallest };
            }
        }
    }
    Some(smallest)
}

/// The weighted squared error of values `[P, K, B]`; see [`crate::loss::squared_error`].
pub(crate) fn squared_error(
    value: &Tensor<3>,
    target: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    factor: f64,
) -> Option<ValueLoss> {
    by_type!(value, squared_error_as(value, target, weight, factor))
}

fn squared_error_as<T: Real>(
    value: &Tensor<3>,
    target: &Tensor<2>,
    weight: Option<&Tensor<2>>,
    factor: f64,
) -> Option<ValueLoss> {
    let [population, ensemble, batch] = value.dims();
    let rows = [population, batch];
    let weight = match weight {
        Some(weight) if weight.dims() == rows => Some(Values::of(weight)?),
        Some(_) => return None,
        None => None,
    };
    if target.dims() != rows {
        return None;
    }
    let (values, target) = (Values::of(value)?, Values::of(target)?);
    let slope = T::from_f64(2.0 * factor / batch as f64);
    let [per_critic, per_row, half] = [1.0 / ensemble as f64, 1.0 / batch as f64, 0.5].map(T::from_f64);
    let mut gradient = vec![T::ZERO; population * ensemble * batch];
    let mut td_error = vec![T::ZERO; population * batch];
    let (mut loss, mut mean_value) = (Vec::with_capacity(population), Vec::with_capacity(population));
    let mut scratch = vec![T::ZERO; batch];
    for (member, (value, gradient)) in values
        .slice::<T>()
        .chunks_exact(ensemble * batch)
        .zip(gradient.chunks_exact_mut(ensemble * batch))
        .enumerate()
    {
        let own = member * batch..(member + 1) * batch;
        let target = &target.slice::<T>()[own.clone()];
        let td_error = &mut td_error[own.clone()];
        let (mut member_loss, mut member_value) = (T::ZERO, T::ZERO);
        for (value, gradient) in value.chunks_exact(batch).zip(gradient.chunks_exact_mut(batch)) {
            for ((gradient, value), target) in gradient.iter_mut().zip(value).zip(target) {
                *gradient = *value - *target;
            }
            for (td_error, error) in td_error.iter_mut().zip(&*gradient) {
                *td_error += error.abs();
            }
            scratch.copy_from_slice(gradient);
            if let Some(weight) = &weight {
                for (gradient, weight) in gradient.iter_mut().zip(&weight.slice::<T>()[own.clone()]) {
                    *gradient = *gradient * *weight;
                }
            }
            for (scratch, gradient) in scratch.iter_mut().zip(gradient) {
                *gradient = *gradient * slope;
                *scratch = *scratch * *gradient;
            }
            member_loss += sum(&scratch);
            member_value += sum(value);
        }
        for td_error in td_error {
            *td_error = *td_error * per_critic;
        }
        loss.push(member_loss * half);
        mean_value.push(member_value * per_critic * per_row);
    }
    Some(ValueLoss {
        loss: tensor(loss, [population]),
        gradient: tensor(gradient, value.dims()),
        td_error: tensor(td_error, rows),
        mean_value: tensor(mean_value, [population]),
    })
}

/// SAC's loss of the actor; see [`crate::sac::loss::actor`].
pub(crate) fn actor(alpha: &Tensor<2>, log_prob: &Tensor<2>, value: &Tensor<3>) -> Option<ActorLoss> {
    by_type!(value, actor_as(alpha, log_prob, value))
}

fn actor_as<T: Real>(alpha: &Tensor<2>, log_prob: &Tensor<2>, value: &Tensor<3>) -> Option<ActorLoss> {
    let [population, ensemble, batch] = value.dims();
    if alpha.dims() != [population, 1] || log_prob.dims() != [population, batch] {
        return None;
    }
    let smallest = smallest::<T>(value)?;
    let (alphas, log_prob, values) = (Values::of(alpha)?, Values::of(log_prob)?, Values::of(value)?);
    let share = T::from_f64(1.0 / batch as f64);
    let mut gradient = vec![T::ZERO; population * ensemble * batch];
    let mut loss = Vec::with_capacity(population);
    let mut ties = vec![T::ZERO; batch];
    for (member, smallest) in smallest.chunks_exact(batch).enumerate() {
        let own = member * ensemble * batch..(member + 1) * ensemble * batch;
        let log_prob = &log_prob.slice::<T>()[member * batch..(member + 1) * batch];
        loss.push((alphas.slice::<T>()[member] * sum(log_prob) - sum(smallest)) * share);
        ties.fill(T::ZERO);
        let critics = || values.slice::<T>()[own.clone()].chunks_exact(batch);
        for value in critics() {
            for ((ties, value), smallest) in ties.iter_mut().zip(value).zip(smallest) {
                *ties += if *value <= *smallest { T::ONE } else { T::ZERO };
            }
        }
        for (gradient, value) in gradient[own.clone()].chunks_exact_mut(batch).zip(critics()) {
            let rows = gradient.iter_mut().zip(value).zip(smallest).zip(&ties);
            for (((gradient, value), smallest), ties) in rows {
                let chosen = if *value <= *smallest { share } else { T::ZERO };
                *gradient = T::ZERO - chosen / *ties;
            }
        }
    }
    let alpha: Vec<T> = alphas.slice::<T>().iter().map(|alpha| *alpha * share).collect();
    Some(ActorLoss {
        loss: tensor(loss, [population]),
        value: tensor(gradient, value.dims()),
        log_prob: tensor(alpha, [population, 1]),
    })
}
