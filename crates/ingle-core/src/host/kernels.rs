//! The loops: matrix products, and passes over slices compiled for the instructions of the CPU at hand.
//!
//! The only unsafe code of this crate: the call of `gemm`, which takes pointers, and the call of a function compiled for
//! instructions that were found at run time. Each has its argument where it stands.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Range, Sub};
use std::thread::LocalKey;

use burn::tensor::Element;

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
    /// Where this thread keeps buffers to use again.
    fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>>;
}

macro_rules! real {
    ($type:ty) => {
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

            fn pool() -> &'static LocalKey<RefCell<Vec<Vec<Self>>>> {
                thread_local!(static POOL: RefCell<Vec<Vec<$type>>> = const { RefCell::new(Vec::new()) });
                &POOL
            }
        }
    };
}

real!(f32);
real!(f64);

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

/// A matrix in a slice, read with strides. The places of all its elements are inside the slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows × columns`, row after row.
    pub(super) fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} × {columns}");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Some of the columns.
    pub(super) fn columns(self, range: Range<usize>) -> Self {
        assert!(
            range.start < range.end && range.end <= self.columns,
            "columns {range:?} of {}",
            self.columns
        );
        Self {
            values: &self.values[range.start * self.column_stride..],
            columns: range.end - range.start,
            ..self
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a · b`, row after row.
pub(super) fn product<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "the inner sizes of a product");
    assert_eq!(out.len(), m * n, "the size of a product");
    // SAFETY: every element of both operands is inside its slice: `Matrix::new` checks that, `columns` leaves elements
    // out and moves the slice's start along with them, `transposed` only swaps sizes together with strides. gemm writes the m × n elements of
    // `out`, whose length is checked above; `out` is borrowed mutably, so it overlaps neither operand. f32 and f64, the
    // only types that implement `Real`, are types that gemm handles.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n.cast_signed(),
            false,
            a.values.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.values.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            T::ZERO,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
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
    /// A row of the gradient below a single output: `gradient · weight ⊙ [output > 0]`.
    pub(super) fn masked_multiple<T: Real>(below: &mut [T], gradient: T, weight: &[T], output: &[T]) {
        for ((below, output), weight) in below.iter_mut().zip(output).zip(weight) {
            let multiple = gradient * *weight;
            *below = if *output > T::ZERO { multiple } else { T::ZERO };
        }
    }
}

vectorised! {
    /// Sums of columns.
    pub(super) fn column_sums<T: Real>(sums: &mut [T], rows: &[T]) {
        sums.fill(T::ZERO);
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
