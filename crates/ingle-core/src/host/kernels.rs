//! Passes over slices, compiled for the instructions of the CPU at hand.
//!
//! Unsafe is only the call of a function compiled for instructions that were found at run time.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::f64::consts::{LN_2, PI};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::thread::LocalKey;

use burn::tensor::Element;

use super::elementary;
use super::product::{Finish, Matrix, tiled_f32, transpose_any, transpose_f32};

/// float32 or float64.
pub(crate) trait Real:
    Element
    + bytemuck::Pod
    + Debug
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + PartialOrd
{
    const ZERO: Self;
    const ONE: Self;
    fn sqrt(self) -> Self;
    fn from_f64(value: f64) -> Self;
    fn abs(self) -> Self;
    fn is_nan(self) -> bool;
    fn exp(self) -> Self;
    fn tanh(self) -> Self;
    /// `log(1 + eˣ)`.
    fn softplus(self) -> Self;
    /// Where this thread keeps buffers to use again.
    fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
    /// The product of an `a` and a `b` with contiguous rows in registers, if there are kernels for it.
    fn tiled(out: &mut [Self], a: Matrix<'_, Self>, b: Matrix<'_, Self>, finish: Finish<'_, Self>) -> bool;
    /// The rows of a matrix that is `width` wide become columns.
    fn transpose(out: &mut [Self], matrix: &[Self], width: usize);
}

macro_rules! real {
    ($type:ty, $tiled:expr, $transpose:expr, $exp:expr, $tanh:expr, $softplus:expr) => {
        impl Real for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline(always)]
            fn sqrt(self) -> Self {
                <$type>::sqrt(self)
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn abs(self) -> Self {
                <$type>::abs(self)
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                <$type>::is_nan(self)
            }

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }

            #[inline(always)]
            fn tanh(self) -> Self {
                $tanh(self)
            }

            #[inline(always)]
            fn softplus(self) -> Self {
                $softplus(self)
            }

            fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>> {
                thread_local!(static POOL: RefCell<Vec<Vec<$type>>> = const { RefCell::new(Vec::new()) });
                &POOL
            }

            fn tiled(
                out: &mut [Self],
                a: Matrix<'_, Self>,
                b: Matrix<'_, Self>,
                finish: Finish<'_, Self>,
            ) -> bool {
                $tiled(out, a, b, finish)
            }

            fn transpose(out: &mut [Self], matrix: &[Self], width: usize) {
                $transpose(out, matrix, width);
            }
        }
    };
}

real!(f32, tiled_f32, transpose_f32, elementary::exp, elementary::tanh, elementary::softplus);
real!(f64, |_, _, _, _| false, transpose_any, f64::exp, f64::tanh, |x: f64| x.max(0.0)
    + (-x.abs()).exp().ln_1p());

/// How many buffers a thread keeps: more than an update has at one time.
const POOLED: usize = 32;

/// A buffer of `length` elements with arbitrary values, used before if one of that length is at hand: an update then
/// neither asks the system for memory nor clears it.
pub(super) fn take<T: Real>(length: usize) -> Vec<T> {
    let reused = T::pool().with_borrow_mut(|pool| {
        let index = pool.iter().rposition(|buffer| buffer.len() == length)?;
        Some(pool.swap_remove(index))
    });
    reused.unwrap_or_else(|| vec![T::ZERO; length])
}

/// Hands a buffer back to [`take`].
pub(super) fn give_back<T: Real>(buffer: Vec<T>) {
    T::pool().with_borrow_mut(|pool| {
        if pool.len() == POOLED {
            pool.swap_remove(0);
        }
        pool.push(buffer);
    });
}

/// How many sums a sum is made of; their number is part of the result's last bits.
const LANES: usize = 16;

/// The sum of all values, in several lanes.
pub(super) fn sum<T: Real>(values: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (head, tail) = values.as_chunks::<LANES>();
    for values in head {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += *value;
        }
    }
    lanes.iter().chain(tail).fold(T::ZERO, |sum, value| sum + *value)
}

/// Compiles a pass twice, for any CPU and for AVX2, and runs the one that fits. The results are the same, bit for bit:
/// the compiler neither reorders sums nor contracts products.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident<T: Real>($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$attribute])*
        $visibility fn $name<T: Real>($($argument: $type),*) {
            #[inline(always)]
            fn everywhere<T: Real>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2<T: Real>($($argument: $type),*) {
                    everywhere($($argument),*);
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the instructions it was compiled for were just found.
                    return unsafe { avx2($($argument),*) };
                }
            }
            everywhere($($argument),*);
        }
    };
}

vectorised! {
    /// Adds a bias to every row.
    pub(super) fn add_bias<T: Real>(rows: &mut [T], bias: &[T]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value += *bias;
            }
        }
    }
}

vectorised! {
    /// Adds a bias to every row, then `max(·, 0)`; not-a-number stays.
    pub(super) fn add_bias_relu<T: Real>(rows: &mut [T], bias: &[T]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (value, bias) in row.iter_mut().zip(bias) {
                let sum = *value + *bias;
                *value = if sum < T::ZERO { T::ZERO } else { sum };
            }
        }
    }
}

vectorised! {
    /// A row of `gradient ⊙ [output > 0]`.
    pub(super) fn mask<T: Real>(gradient: &mut [T], output: &[T]) {
        for (gradient, output) in gradient.iter_mut().zip(output) {
            *gradient = if *output > T::ZERO { *gradient } else { T::ZERO };
        }
    }
}

vectorised! {
    /// Each row's inner product with a vector.
    pub(super) fn dots<T: Real>(out: &mut [T], rows: &[T], vector: &[T]) {
        for (out, row) in out.iter_mut().zip(rows.chunks_exact(vector.len())) {
            let mut lanes = [T::ZERO; LANES];
            let (head, tail) = row.as_chunks::<LANES>();
            let (vector_head, vector_tail) = vector.as_chunks::<LANES>();
            for (values, weights) in head.iter().zip(vector_head) {
                for ((lane, value), weight) in lanes.iter_mut().zip(values).zip(weights) {
                    *lane += *value * *weight;
                }
            }
            let mut sum = T::ZERO;
            for lane in lanes {
                sum += lane;
            }
            for (value, weight) in tail.iter().zip(vector_tail) {
                sum += *value * *weight;
            }
            *out = sum;
        }
    }
}

vectorised! {
    /// Adds up columns.
    pub(super) fn add_rows<T: Real>(sums: &mut [T], rows: &[T]) {
        for row in rows.chunks_exact(sums.len()) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += *value;
            }
        }
    }
}

/// One member's Adam step, as numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct AdamStep<T> {
    pub(super) beta_1: T,
    pub(super) beta_2: T,
    /// `lr · √w₂ / w₁`.
    pub(super) rate: T,
    /// `ε √w₂`.
    pub(super) epsilon: T,
}

vectorised! {
    /// Decayed sums and parameters in one pass; the rule is [`crate::optimiser::Trainable`]'s.
    pub(super) fn adam<T: Real>(
        parameters: &mut [T],
        gradient_sum: &mut [T],
        square_sum: &mut [T],
        gradient: &[T],
        step: AdamStep<T>,
    ) {
        let AdamStep { beta_1, beta_2, rate, epsilon } = step;
        for (((parameter, sum), square), gradient) in
            parameters.iter_mut().zip(gradient_sum).zip(square_sum).zip(gradient)
        {
            *sum = *sum * beta_1 + *gradient;
            *square = *square * beta_2 + *gradient * *gradient;
            *parameter = *parameter - *sum / (square.sqrt() + epsilon) * rate;
        }
    }
}

vectorised! {
    /// `target ← target + τ (parameters − target)`.
    pub(super) fn average<T: Real>(target: &mut [T], parameters: &[T], tau: T) {
        for (target, parameter) in target.iter_mut().zip(parameters) {
            *target = *target + (*parameter - *target) * tau;
        }
    }
}

vectorised! {
    /// For means and raw log standard deviations of a squashed Gaussian, and standard normal noise: the actions, `σ·ε`, and
    /// in the place of the means each element's share of the log-probability
    /// (see [`crate::sac::SquashedGaussian::sample_with_log_prob`]).
    pub(super) fn squash<T: Real>(
        action: &mut [T],
        spread: &mut [T],
        mean: &mut [T],
        log_std: &mut [T],
        noise: &[T],
        bounds: (T, T),
    ) {
        let [half, two, log_two] = [0.5, 2.0, LN_2].map(T::from_f64);
        let normaliser = T::from_f64(0.5 * (2.0 * PI).ln());
        for ((spread, log_std), noise) in spread.iter_mut().zip(&mut *log_std).zip(noise) {
            let clamped = if *log_std < bounds.0 { bounds.0 } else { *log_std };
            *log_std = if clamped > bounds.1 { bounds.1 } else { clamped };
            *spread = log_std.exp() * *noise;
        }
        for (((action, spread), mean), (log_std, noise)) in
            action.iter_mut().zip(spread).zip(mean).zip(log_std.iter().zip(noise))
        {
            let unsquashed = *mean + *spread;
            *action = unsquashed.tanh();
            let log_slope = two * (log_two - unsquashed - (T::ZERO - two * unsquashed).softplus());
            *mean = T::ZERO - half * *noise * *noise - *log_std - normaliser - log_slope;
        }
    }
}

vectorised! {
    /// Hyperbolic tangents in place.
    pub(super) fn tanh<T: Real>(values: &mut [T]) {
        for value in values {
            *value = value.tanh();
        }
    }
}

/// How many sums [`add_squares`] takes side by side: enough to hide how long an addition takes.
pub(super) const SQUARES: usize = 32;

vectorised! {
    /// Adds the squares of values to sums, in turn.
    pub(super) fn add_squares<T: Real>(sums: &mut [T; SQUARES], values: &[T]) {
        let (whole, rest) = values.as_chunks::<SQUARES>();
        for values in whole {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += *value * *value;
            }
        }
        for (sum, value) in sums.iter_mut().zip(rest) {
            *sum += *value * *value;
        }
    }
}
