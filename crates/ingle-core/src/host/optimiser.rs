//! Adam and the target average in one pass each.

use burn::tensor::{DType, Tensor};
use burn_flex::Flex;
use rayon::prelude::*;

use super::Values;
use super::kernels::{self, AdamStep, Real};
use crate::optimiser::{Adam, Trainable};

/// The smallest number of parameters that pays for a second thread.
const WORTH_A_THREAD: usize = 1 << 15;

/// Decays the sums, adds the gradient, and moves the parameters, if they are on a host device: what follows the decay of
/// the weights in [`Trainable::step`].
pub(crate) fn adam(trainable: &mut Trainable, adam: &Adam, gradient: &Tensor<2>) -> Option<()> {
    match trainable.parameters.dtype() {
        DType::F32 => adam_of::<f32>(trainable, adam, gradient),
        DType::F64 => adam_of::<f64>(trainable, adam, gradient),
        _ => None,
    }
}

fn adam_of<T: Real>(trainable: &mut Trainable, adam: &Adam, gradient: &Tensor<2>) -> Option<()> {
    let Trainable { parameters, gradient_sum, square_sum, learning_rate, gradient_weight, square_weight } =
        trainable;
    let [learning_rate, gradient_weight, square_weight] =
        [Values::of(learning_rate)?, Values::of(gradient_weight)?, Values::of(square_weight)?];
    let gradient = Values::of(gradient)?;
    let members: Vec<AdamStep<T>> = learning_rate
        .slice::<T>()
        .iter()
        .zip(gradient_weight.slice::<T>())
        .zip(square_weight.slice::<T>())
        .map(|((rate, gradient_weight), square_weight)| {
            let root = square_weight.sqrt();
            AdamStep {
                beta_1: T::from_f64(adam.beta_1),
                beta_2: T::from_f64(adam.beta_2),
                rate: *rate * root / *gradient_weight,
                epsilon: root * T::from_f64(adam.epsilon),
            }
        })
        .collect();
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
                    let piece = size.div_ceil(rayon::current_num_threads()).max(WORTH_A_THREAD);
                    if piece >= size {
                        // Handing work to a pool from outside costs more than a small network's step.
                        kernels::adam(parameters, gradient_sum, square_sum, gradient, *step);
                        continue;
                    }
                    parameters
                        .par_chunks_mut(piece)
                        .zip(gradient_sum.par_chunks_mut(piece))
                        .zip(square_sum.par_chunks_mut(piece))
                        .zip(gradient.par_chunks(piece))
                        .for_each(|(((parameters, gradient_sum), square_sum), gradient)| {
                            kernels::adam(parameters, gradient_sum, square_sum, gradient, *step);
                        });
                }
            });
        });
    });
    Some(())
}

/// Polyak averaging, if the target is on a host device: `target ← target + τ (parameters − target)`, τ `[P, 1]`.
pub(crate) fn average(target: &mut Tensor<2>, parameters: &Tensor<2>, tau: &Tensor<2>) -> Option<()> {
    match target.dtype() {
        DType::F32 => average_of::<f32>(target, parameters, tau),
        DType::F64 => average_of::<f64>(target, parameters, tau),
        _ => None,
    }
}

fn average_of<T: Real>(target: &mut Tensor<2>, parameters: &Tensor<2>, tau: &Tensor<2>) -> Option<()> {
    let (parameters, tau) = (Values::of(parameters)?, Values::of(tau)?);
    in_place(target, |target: &mut [T]| {
        let tau = tau.slice::<T>();
        let size = target.len() / tau.len();
        let rows = target.chunks_exact_mut(size).zip(parameters.slice().chunks_exact(size)).zip(tau);
        for ((target, parameters), tau) in rows {
            kernels::average(target, parameters, *tau);
        }
    });
    Some(())
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
