//! Adam and the target average in one pass each.

use std::ops::Add;

use burn::tensor::{DType, Tensor};
use burn_flex::Flex;
use rayon::prelude::*;

use super::kernels::{self, AdamStep, Real};
use super::{Values, tensor, threads};
use crate::guard::Guard;
use crate::optimiser::{Adam, Trainable};

/// The smallest number of parameters that pays for a second thread.
const WORTH_A_THREAD: usize = 1 << 15;

/// [`Trainable::step`] after clipping, if the parameters are on a host device.
pub(crate) fn adam(
    trainable: &mut Trainable,
    adam: &Adam,
    gradient: &Tensor<2>,
    guard: &Guard,
) -> Option<()> {
    by_type!(trainable.parameters, adam_of(trainable, adam, gradient, guard))
}

fn adam_of<T: Real>(
    trainable: &mut Trainable,
    adam: &Adam,
    gradient: &Tensor<2>,
    guard: &Guard,
) -> Option<()> {
    let Trainable { parameters, gradient_sum, square_sum, learning_rate, gradient_weight, square_weight } =
        trainable;
    let (learning_rate, gradient) = (Values::of(learning_rate)?, Values::of(gradient)?);
    let moves = guard.may_move()?;
    let (beta_1, beta_2) = (T::from_f64(adam.beta_1), T::from_f64(adam.beta_2));
    // None for a member that is held.
    let mut members: Vec<Option<AdamStep<T>>> = Vec::with_capacity(moves.len());
    in_place(gradient_weight, |gradient_weight: &mut [T]| {
        in_place(square_weight, |square_weight: &mut [T]| {
            let rows = learning_rate.slice::<T>().iter().zip(gradient_weight).zip(square_weight).zip(&moves);
            members.extend(rows.map(|(((rate, gradient_weight), square_weight), moves)| {
                moves.then(|| {
                    *gradient_weight = *gradient_weight * beta_1 + T::ONE;
                    *square_weight = *square_weight * beta_2 + T::ONE;
                    let root = square_weight.sqrt();
                    let rate = *rate * root / *gradient_weight;
                    AdamStep { beta_1, beta_2, rate, epsilon: root * T::from_f64(adam.epsilon) }
                })
            }));
        });
    });
    in_place(parameters, |parameters: &mut [T]| {
        in_place(gradient_sum, |gradient_sum: &mut [T]| {
            in_place(square_sum, |square_sum: &mut [T]| {
                let size = parameters.len() / members.len();
                let rows = parameters
                    .chunks_exact_mut(size)
                    .zip(gradient_sum.chunks_exact_mut(size))
                    .zip(square_sum.chunks_exact_mut(size))
                    .zip(gradient.slice().chunks_exact(size))
                    .zip(&members);
                for ((((parameters, gradient_sum), square_sum), gradient), step) in rows {
                    let Some(step) = *step else { continue };
                    let piece = size.div_ceil(threads::count()).max(WORTH_A_THREAD);
                    if piece >= size {
                        // Handing work to a pool from outside costs more than a small network's step.
                        kernels::adam(parameters, gradient_sum, square_sum, gradient, step);
                        continue;
                    }
                    parameters
                        .par_chunks_mut(piece)
                        .zip(gradient_sum.par_chunks_mut(piece))
                        .zip(square_sum.par_chunks_mut(piece))
                        .zip(gradient.par_chunks(piece))
                        .for_each(|(((parameters, gradient_sum), square_sum), gradient)| {
                            kernels::adam(parameters, gradient_sum, square_sum, gradient, step);
                        });
                }
            });
        });
    });
    Some(())
}

/// Polyak averaging, if the target is on a host device: `target ← target + τ (parameters − target)`, τ `[P, 1]`.
pub(crate) fn average(
    target: &mut Tensor<2>,
    parameters: &Tensor<2>,
    tau: &Tensor<2>,
    guard: &Guard,
) -> Option<()> {
    by_type!(target, average_of(target, parameters, tau, guard))
}

fn average_of<T: Real>(
    target: &mut Tensor<2>,
    parameters: &Tensor<2>,
    tau: &Tensor<2>,
    guard: &Guard,
) -> Option<()> {
    let (parameters, tau) = (Values::of(parameters)?, Values::of(tau)?);
    let moves = guard.may_move()?;
    in_place(target, |target: &mut [T]| {
        let tau = tau.slice::<T>();
        let size = target.len() / tau.len();
        let rows = target.chunks_exact_mut(size).zip(parameters.slice().chunks_exact(size)).zip(tau);
        for (((target, parameters), tau), moves) in rows.zip(moves) {
            if moves {
                kernels::average(target, parameters, *tau);
            }
        }
    });
    Some(())
}

/// Each member's sum of the squares of parameters and gradient, `[P, 1]`, if they are on a host device.
pub(crate) fn squares(parameters: &Tensor<2>, gradient: &Tensor<2>) -> Option<Tensor<2>> {
    by_type!(parameters, squares_of(parameters, gradient))
}

fn squares_of<T: Real>(parameters: &Tensor<2>, gradient: &Tensor<2>) -> Option<Tensor<2>> {
    let [members, size] = parameters.dims();
    let (parameters, gradient) = (Values::of(parameters)?, Values::of(gradient)?);
    let rows = parameters.slice::<T>().chunks_exact(size).zip(gradient.slice::<T>().chunks_exact(size));
    let sum = |parameters: &[T], gradient: &[T]| {
        let mut lanes = [T::ZERO; kernels::SQUARES];
        kernels::add_squares(&mut lanes, parameters);
        kernels::add_squares(&mut lanes, gradient);
        lanes.into_iter().fold(T::ZERO, Add::add)
    };
    let sums = rows.map(|(parameters, gradient)| {
        if size <= WORTH_A_THREAD {
            return sum(parameters, gradient);
        }
        // The pieces do not depend on the number of threads, and so neither do the sums.
        let sums: Vec<T> = if threads::count() == 1 {
            let pieces = parameters.chunks(WORTH_A_THREAD).zip(gradient.chunks(WORTH_A_THREAD));
            pieces.map(|(parameters, gradient)| sum(parameters, gradient)).collect()
        } else {
            let pieces = parameters.par_chunks(WORTH_A_THREAD).zip(gradient.par_chunks(WORTH_A_THREAD));
            pieces.map(|(parameters, gradient)| sum(parameters, gradient)).collect()
        };
        sums.into_iter().fold(T::ZERO, Add::add)
    });
    Some(tensor(sums.collect(), [members, 1]))
}

/// Which members' number in `values` `[P, 1]` is at most `largest`, if it is on a host device. Not-a-number is not.
pub(crate) fn at_most(values: &Tensor<2>, largest: f64) -> Option<Vec<bool>> {
    let dtype = values.dtype();
    let values = Values::of(values)?;
    Some(match dtype {
        DType::F64 => values.slice::<f64>().iter().map(|value| *value <= largest).collect(),
        _ => values.slice::<f32>().iter().map(|value| f64::from(*value) <= largest).collect(),
    })
}

/// Changes the elements of a tensor that is on a host device. A tensor that is shared is copied first.
fn in_place<T: Real>(tensor: &mut Tensor<2>, change: impl FnOnce(&mut [T])) {
    tensor.inplace(|tensor| {
        let mut values =
            tensor.try_into_primitive::<Flex>().expect("a tensor of a flex device").to_contiguous();
        change(values.storage_mut());
        Tensor::from_primitive::<Flex>(values)
    });
}
