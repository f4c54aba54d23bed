//! Matrix products, and what follows them, in one pass.
//!
//! At the sizes of reinforcement learning (hundreds of rows and columns) the operands stay in a core's second cache, and a
//! product needs neither to be cut into blocks nor its operands packed: a tile of the result stays in registers from its
//! first term to its last, starts from the bias and is stored through the `ReLU` or its slope. Every element is the sum of
//! its terms in their order, each added by one fused multiply-add, however the tiles lie: neither the number of threads
//! nor the width of the registers changes a bit. float64 and other processors take `gemm`'s kernels.
//!
//! The unsafe code reads and writes through pointers; [`product`] checks all places before.
#![allow(unsafe_code)]

use std::ops::Range;

use super::kernels::{self, Real, take};

/// A matrix in a slice, read with strides. The places of all its elements are inside the slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
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

/// What follows a product, row by row.
#[derive(Clone, Copy)]
pub(crate) enum Finish<'a, T> {
    Nothing,
    /// Added to what is there: the sums start from it.
    Add,
    /// Plus a bias.
    Bias(&'a [T]),
    /// Plus a bias, then `max(·, 0)`; not-a-number stays.
    BiasRelu(&'a [T]),
    /// `⊙ [signal > 0]`; row i goes with row `rows[i]` of the signal, or with row i.
    Slope {
        signal: &'a [T],
        rows: Option<&'a [usize]>,
    },
}

impl<T: Real> Finish<'_, T> {
    /// Panics if it does not fit a product of `m × n`.
    fn check(&self, m: usize, n: usize) {
        match *self {
            Self::Nothing | Self::Add => (),
            Self::Bias(bias) | Self::BiasRelu(bias) => assert_eq!(bias.len(), n, "the size of a bias"),
            Self::Slope { signal, rows: None } => assert_eq!(signal.len(), m * n, "the size of a signal"),
            Self::Slope { signal, rows: Some(rows) } => {
                assert_eq!(rows.len(), m, "the rows of a signal");
                let available = signal.len() / n;
                assert!(rows.iter().all(|row| *row < available), "a row beyond the {available} of a signal");
            }
        }
    }

    /// The same, as a pass over the finished product.
    fn apply(&self, out: &mut [T], n: usize) {
        match *self {
            Self::Nothing | Self::Add => (),
            Self::Bias(bias) => kernels::add_bias(out, bias),
            Self::BiasRelu(bias) => kernels::add_bias_relu(out, bias),
            Self::Slope { signal, rows: None } => kernels::mask(out, signal),
            Self::Slope { signal, rows: Some(rows) } => {
                for (out, row) in out.chunks_exact_mut(n).zip(rows) {
                    kernels::mask(out, &signal[row * n..][..n]);
                }
            }
        }
    }
}

/// `out = finish(a · b)`, row after row.
pub(super) fn product<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>, finish: Finish<'_, T>) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "the inner sizes of a product");
    assert_eq!(out.len(), m * n, "the size of a product");
    finish.check(m, n);
    let adds = matches!(finish, Finish::Add);
    if n == 1 && a.column_stride == 1 && b.row_stride == 1 && a.row_stride == k && !adds {
        kernels::dots(out, a.values, &b.values[..k]);
        finish.apply(out, n);
    } else if n == 1 && a.row_stride == 1 && (adds || matches!(finish, Finish::Nothing)) {
        // A column is a row, too: along the contiguous axis.
        row_by_row(out, b.transposed(), a.transposed(), finish);
    } else {
        assert_eq!(b.column_stride, 1, "a right operand has contiguous rows: transpose it first");
        row_by_row(out, a, b, finish);
    }
}

/// The rows of a matrix that is `width` wide become columns, in a buffer to [`give_back`](super::kernels::give_back).
pub(super) fn transpose<T: Real>(matrix: &[T], width: usize) -> Vec<T> {
    let mut copy = take(matrix.len());
    T::transpose(&mut copy, matrix, width);
    copy
}

/// [`product`] of a `b` whose rows are contiguous.
fn row_by_row<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>, finish: Finish<'_, T>) {
    if T::tiled(out, a, b, finish) {
        return;
    }
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let adds = matches!(finish, Finish::Add);
    // SAFETY: every element of both operands is inside its slice: `Matrix::new` checks that, `columns` leaves elements
    // out and moves the slice's start along with them, `transposed` only swaps sizes together with strides. gemm writes
    // the m × n elements of `out`, and reads them where it adds; `product` checks their number. `out` is borrowed mutably,
    // so it overlaps neither operand. f32 and f64, the only types that implement `Real`, are types that gemm handles.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n.cast_signed(),
            adds,
            a.values.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.values.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            if adds { T::ONE } else { T::ZERO },
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    finish.apply(out, n);
}

/// `row_by_row` with the widest registers at hand; false if there are none that are worth it.
pub(super) fn tiled_f32(
    out: &mut [f32],
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    finish: Finish<'_, f32>,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        x86::Instructions::at_hand().is_some_and(|instructions| {
            x86::product(instructions, out, a, b, finish);
            true
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (out, a, b, finish);
        false
    }
}

/// The rows of a matrix that is `width` wide become columns.
pub(super) fn transpose_f32(out: &mut [f32], matrix: &[f32], width: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(instructions) = x86::Instructions::at_hand() {
        return x86::transpose(instructions, out, matrix, width);
    }
    transpose_any(out, matrix, width);
}

/// The same, for any type and processor.
pub(super) fn transpose_any<T: Copy>(out: &mut [T], matrix: &[T], width: usize) {
    let height = matrix.len() / width;
    for (row, values) in matrix.chunks_exact(width).enumerate() {
        for (column, value) in values.iter().enumerate() {
            out[column * height + row] = *value;
        }
    }
}

#[cfg(target_arch = "x86_64")]
// Instructions come by the dozen, and only inlined into code that may use them.
#[allow(clippy::wildcard_imports, clippy::inline_always)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Finish, Matrix};

    /// Instructions that the processor was found to have.
    #[derive(Debug, Clone, Copy)]
    pub(super) struct Instructions(Set);

    #[derive(Debug, Clone, Copy)]
    enum Set {
        Avx512,
        /// AVX2 and FMA.
        Avx2,
    }

    impl Instructions {
        /// The widest ones.
        pub(super) fn at_hand() -> Option<Self> {
            if is_x86_feature_detected!("avx512f") { Some(Self(Set::Avx512)) } else { Self::avx2() }
        }

        /// AVX2 and FMA.
        pub(super) fn avx2() -> Option<Self> {
            let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            found.then_some(Self(Set::Avx2))
        }
    }

    /// `out = finish(a · b)`; [`super::product`] says what must fit.
    pub(super) fn product(
        instructions: Instructions,
        out: &mut [f32],
        a: Matrix<'_, f32>,
        b: Matrix<'_, f32>,
        finish: Finish<'_, f32>,
    ) {
        let (bias, relu) = match finish {
            Finish::Bias(bias) => (bias.as_ptr(), false),
            Finish::BiasRelu(bias) => (bias.as_ptr(), true),
            Finish::Nothing | Finish::Add | Finish::Slope { .. } => (std::ptr::null(), false),
        };
        let slope = match finish {
            Finish::Slope { signal, rows } => Some((signal.as_ptr(), rows)),
            _ => None,
        };
        let task = Task {
            sizes: [a.rows, a.columns, b.columns],
            a: a.values.as_ptr(),
            a_strides: [a.row_stride, a.column_stride],
            b: b.values.as_ptr(),
            b_stride: b.row_stride,
            out: out.as_mut_ptr(),
            adds: matches!(finish, Finish::Add),
            bias,
            relu,
            slope,
        };
        // SAFETY: the processor has the instructions, or there were no `Instructions`. `super::product` has checked that all
        // elements of both operands, of the result, and of what follows it are inside their slices.
        unsafe {
            match instructions.0 {
                Set::Avx512 => avx512(&task),
                Set::Avx2 => avx2(&task),
            }
        }
    }

    /// The rows of a matrix that is `width` wide become columns.
    pub(super) fn transpose(_: Instructions, out: &mut [f32], matrix: &[f32], width: usize) {
        const BLOCK: usize = 8;
        let height = matrix.len() / width;
        assert!(matrix.len() == height * width && out.len() == matrix.len(), "a whole matrix");
        let (rows, columns) = (height / BLOCK * BLOCK, width / BLOCK * BLOCK);
        for row in (0..rows).step_by(BLOCK) {
            for column in (0..columns).step_by(BLOCK) {
                // SAFETY: whoever has `Instructions` has AVX2. The block's 8 × 8 elements are in the matrix, and so in
                // the result, which is as large: `row + 8 <= height`, `column + 8 <= width`.
                unsafe {
                    let from = matrix.as_ptr().add(row * width + column);
                    transpose_block(out.as_mut_ptr().add(column * height + row), height, from, width);
                }
            }
        }
        for row in 0..height {
            for column in if row < rows { columns } else { 0 }..width {
                out[column * height + row] = matrix[row * width + column];
            }
        }
    }

    /// A block of 8 × 8, in three rounds of exchanges: of elements, of pairs, of fours.
    #[target_feature(enable = "avx2")]
    unsafe fn transpose_block(out: *mut f32, out_stride: usize, from: *const f32, from_stride: usize) {
        // SAFETY: the caller's.
        let row = |index: usize| unsafe { _mm256_loadu_ps(from.add(index * from_stride)) };
        let pairs = |index: usize| {
            let (one, other) = (row(index), row(index + 1));
            (_mm256_unpacklo_ps(one, other), _mm256_unpackhi_ps(one, other))
        };
        let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (pairs(0), pairs(2), pairs(4), pairs(6));
        let fours = |one: __m256, other: __m256| {
            (_mm256_shuffle_ps::<0b01_00_01_00>(one, other), _mm256_shuffle_ps::<0b11_10_11_10>(one, other))
        };
        let ((p0, p1), (p2, p3)) = (fours(a0, b0), fours(a1, b1));
        let ((q0, q1), (q2, q3)) = (fours(c0, d0), fours(c1, d1));
        for (index, (one, other)) in [(p0, q0), (p1, q1), (p2, q2), (p3, q3)].into_iter().enumerate() {
            let low = _mm256_permute2f128_ps::<0x20>(one, other);
            let high = _mm256_permute2f128_ps::<0x31>(one, other);
            // SAFETY: the caller's.
            unsafe {
                _mm256_storeu_ps(out.add(index * out_stride), low);
                _mm256_storeu_ps(out.add((index + 4) * out_stride), high);
            }
        }
    }

    /// A product, as places.
    struct Task<'a> {
        /// m, k, n of `[m, k] · [k, n]`.
        sizes: [usize; 3],
        a: *const f32,
        a_strides: [usize; 2],
        b: *const f32,
        b_stride: usize,
        out: *mut f32,
        /// Whether the sums start from what is in `out`.
        adds: bool,
        /// n elements that the sums start from, or null.
        bias: *const f32,
        relu: bool,
        /// A signal with rows of n elements, and which of its rows go with those of the result.
        slope: Option<(*const f32, Option<&'a [usize]>)>,
    }

    /// How many rows of b are fetched before they are needed.
    const AHEAD: usize = 16;

    /// A register of several float32. Its functions may only be called where its instructions are enabled, and are
    /// inlined there.
    trait Lanes {
        const WIDTH: usize;
        /// How many rows of a tile that is two registers wide fit into the registers.
        const ROWS: usize;
        type Vector: Copy;
        type Mask: Copy;
        /// The first `count` lanes.
        unsafe fn mask(count: usize) -> Self::Mask;
        unsafe fn splat(value: f32) -> Self::Vector;
        unsafe fn load(from: *const f32) -> Self::Vector;
        unsafe fn load_some(from: *const f32, mask: Self::Mask) -> Self::Vector;
        unsafe fn store(to: *mut f32, value: Self::Vector);
        unsafe fn store_some(to: *mut f32, mask: Self::Mask, value: Self::Vector);
        /// `a · b + c`, rounded once.
        unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
        /// Moves memory nearer; any address will do.
        unsafe fn prefetch(from: *const f32);
        /// `max(value, 0)`; not-a-number stays.
        unsafe fn relu(value: Self::Vector) -> Self::Vector;
        /// The value where the signal is above 0, else 0.
        unsafe fn where_positive(value: Self::Vector, signal: Self::Vector) -> Self::Vector;
    }

    struct Avx512;

    #[rustfmt::skip]
    impl Lanes for Avx512 {
        const WIDTH: usize = 16;
        const ROWS: usize = 14;
        type Vector = __m512;
        type Mask = __mmask16;
        #[inline(always)]
        unsafe fn mask(count: usize) -> __mmask16 { u16::MAX >> (16 - count) }
        #[inline(always)]
        unsafe fn splat(value: f32) -> __m512 { unsafe { _mm512_set1_ps(value) } }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 { unsafe { _mm512_loadu_ps(from) } }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, mask: __mmask16) -> __m512 { unsafe { _mm512_maskz_loadu_ps(mask, from) } }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m512) { unsafe { _mm512_storeu_ps(to, value) } }
        #[inline(always)]
        unsafe fn store_some(to: *mut f32, mask: __mmask16, value: __m512) { unsafe { _mm512_mask_storeu_ps(to, mask, value) } }
        #[inline(always)]
        unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 { unsafe { _mm512_fmadd_ps(a, b, c) } }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) } }
        #[inline(always)]
        unsafe fn relu(value: __m512) -> __m512 { unsafe { _mm512_max_ps(_mm512_setzero_ps(), value) } }
        #[inline(always)]
        unsafe fn where_positive(value: __m512, signal: __m512) -> __m512 {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(signal, _mm512_setzero_ps()), value) }
        }
    }

    struct Avx2;

    #[rustfmt::skip]
    impl Lanes for Avx2 {
        const WIDTH: usize = 8;
        const ROWS: usize = 6;
        type Vector = __m256;
        type Mask = __m256i;
        #[inline(always)]
        unsafe fn mask(count: usize) -> __m256i {
            const LANES: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
            unsafe { _mm256_loadu_si256(LANES[8 - count..].as_ptr().cast()) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> __m256 { unsafe { _mm256_set1_ps(value) } }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 { unsafe { _mm256_loadu_ps(from) } }
        #[inline(always)]
        unsafe fn load_some(from: *const f32, mask: __m256i) -> __m256 { unsafe { _mm256_maskload_ps(from, mask) } }
        #[inline(always)]
        unsafe fn store(to: *mut f32, value: __m256) { unsafe { _mm256_storeu_ps(to, value) } }
        #[inline(always)]
        unsafe fn store_some(to: *mut f32, mask: __m256i, value: __m256) { unsafe { _mm256_maskstore_ps(to, mask, value) } }
        #[inline(always)]
        unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 { unsafe { _mm256_fmadd_ps(a, b, c) } }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) } }
        #[inline(always)]
        unsafe fn relu(value: __m256) -> __m256 { unsafe { _mm256_max_ps(_mm256_setzero_ps(), value) } }
        #[inline(always)]
        unsafe fn where_positive(value: __m256, signal: __m256) -> __m256 {
            unsafe { _mm256_and_ps(value, _mm256_cmp_ps::<_CMP_GT_OQ>(signal, _mm256_setzero_ps())) }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(task: &Task<'_>) {
        unsafe { panels::<Avx512>(task) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(task: &Task<'_>) {
        unsafe { panels::<Avx2>(task) }
    }

    /// The result in columns as wide as two registers; the last ones may be narrower.
    #[inline(always)]
    unsafe fn panels<L: Lanes>(task: &Task<'_>) {
        let columns = task.sizes[2];
        for first in (0..columns).step_by(2 * L::WIDTH) {
            let width = (columns - first).min(2 * L::WIDTH);
            unsafe {
                let mask = L::mask((width - 1) % L::WIDTH + 1);
                match (width > L::WIDTH, width.is_multiple_of(L::WIDTH)) {
                    (true, true) => panel::<L, 2, true>(task, first, mask),
                    (true, false) => panel::<L, 2, false>(task, first, mask),
                    (false, true) => panel::<L, 1, true>(task, first, mask),
                    (false, false) => panel::<L, 1, false>(task, first, mask),
                }
            }
        }
    }

    /// One of these, in tiles of as many rows as fit.
    #[inline(always)]
    unsafe fn panel<L: Lanes, const N: usize, const FULL: bool>(
        task: &Task<'_>,
        column: usize,
        mask: L::Mask,
    ) {
        let rows = task.sizes[0];
        let mut row = 0;
        macro_rules! tiles {
            ($($size:literal)*) => {$(
                while L::ROWS >= $size && rows - row >= $size {
                    unsafe { tile::<L, $size, N, FULL>(task, row, column, mask) };
                    row += $size;
                }
            )*};
        }
        tiles!(14 8 6 4 2 1);
    }

    /// `M` rows and `N` registers of the result. Of the last register, only the lanes of the mask are there if the tile is
    /// not full.
    #[inline(always)]
    unsafe fn tile<L: Lanes, const M: usize, const N: usize, const FULL: bool>(
        task: &Task<'_>,
        row: usize,
        column: usize,
        mask: L::Mask,
    ) {
        let [_, inner, columns] = task.sizes;
        let [a_row, a_column] = task.a_strides;
        unsafe {
            let read = |from: *const f32| {
                let mut values = [L::splat(0.0); N];
                for (lane, value) in values.iter_mut().enumerate() {
                    let from = from.add(lane * L::WIDTH);
                    *value = if FULL || lane + 1 < N { L::load(from) } else { L::load_some(from, mask) };
                }
                values
            };
            let start = if task.bias.is_null() { [L::splat(0.0); N] } else { read(task.bias.add(column)) };
            let mut sums = [start; M];
            if task.adds {
                for (index, sums) in sums.iter_mut().enumerate() {
                    *sums = read(task.out.add((row + index) * columns + column));
                }
            }
            let mut a = task.a.add(row * a_row);
            let mut b = task.b.add(column);
            for _ in 0..inner {
                // Where b is not in the second cache yet, its rows are too far apart for the processor to see them coming.
                for lane in 0..N {
                    L::prefetch(b.wrapping_add(AHEAD * task.b_stride + lane * L::WIDTH));
                }
                let right = read(b);
                for (index, sums) in sums.iter_mut().enumerate() {
                    let left = L::splat(*a.add(index * a_row));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = L::multiply_add(left, right, *sum);
                    }
                }
                // Past the last row, a pointer is only computed.
                a = a.wrapping_add(a_column);
                b = b.wrapping_add(task.b_stride);
            }
            if let Some((signal, rows)) = task.slope {
                for (index, sums) in sums.iter_mut().enumerate() {
                    let row = rows.map_or(row + index, |rows| rows[row + index]);
                    for (sum, signal) in sums.iter_mut().zip(read(signal.add(row * columns + column))) {
                        *sum = L::where_positive(*sum, signal);
                    }
                }
            }
            for (index, sums) in sums.into_iter().enumerate() {
                for (lane, sum) in sums.into_iter().enumerate() {
                    let sum = if task.relu { L::relu(sum) } else { sum };
                    let to = task.out.add((row + index) * columns + column + lane * L::WIDTH);
                    if FULL || lane + 1 < N { L::store(to, sum) } else { L::store_some(to, mask, sum) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::RandomStream;

    fn normal(count: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0.0; count];
        RandomStream::new(seed, 0).fill_normal(&mut values);
        values
    }

    /// What a product is added to.
    const THERE: f32 = 0.75;

    /// The product of the definition, in float64.
    fn expected(a: Matrix<'_, f32>, b: Matrix<'_, f32>, finish: Finish<'_, f32>) -> Vec<f64> {
        let at = |matrix: Matrix<'_, f32>, row: usize, column: usize| {
            f64::from(matrix.values[row * matrix.row_stride + column * matrix.column_stride])
        };
        let n = b.columns;
        let places = (0..a.rows).flat_map(|i| (0..n).map(move |j| (i, j)));
        let element = |(i, j)| {
            let sum: f64 = (0..a.columns).map(|k| at(a, i, k) * at(b, k, j)).sum();
            match finish {
                Finish::Nothing => sum,
                Finish::Add => sum + f64::from(THERE),
                Finish::Bias(bias) => sum + f64::from(bias[j]),
                Finish::BiasRelu(bias) => (sum + f64::from(bias[j])).max(0.0),
                Finish::Slope { signal, rows } => {
                    let row = rows.map_or(i, |rows| rows[i]);
                    if signal[row * n + j] > 0.0 { sum } else { 0.0 }
                }
            }
        };
        places.map(element).collect()
    }

    fn close(what: &str, actual: &[f32], expected: &[f64], terms: usize) {
        for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            let error = (f64::from(*actual) - expected).abs();
            assert!(error <= 2e-6 * (terms as f64).sqrt(), "{what}[{index}]: {actual}, expected {expected}");
        }
    }

    #[test]
    fn products_are_those_of_the_definition_at_every_size_and_layout() {
        for (m, k, n) in
            [(1, 1, 1), (2, 3, 1), (29, 40, 33), (14, 7, 32), (15, 16, 16), (3, 5, 47), (30, 1, 9)]
        {
            let (a, b) = (normal(m * k, 1), normal(k * n, 2));
            let (bias, signal) = (normal(n, 3), normal(2 * m * n, 4));
            let rows: Vec<usize> = (0..m).map(|row| 2 * row + 1).collect();
            let finishes = [
                Finish::Nothing,
                Finish::Add,
                Finish::Bias(&bias),
                Finish::BiasRelu(&bias),
                Finish::Slope { signal: &signal[..m * n], rows: None },
                Finish::Slope { signal: &signal, rows: Some(&rows) },
            ];
            let lefts = [Matrix::new(&a, m, k), Matrix::new(&a, k, m).transposed()];
            let right = Matrix::new(&b, k, n);
            for (finish, left) in finishes.into_iter().flat_map(|finish| lefts.map(|left| (finish, left))) {
                let there = if matches!(finish, Finish::Add) { THERE } else { f32::NAN };
                let mut out = vec![there; m * n];
                product(&mut out, left, right, finish);
                close(&format!("{m} × {k} × {n}"), &out, &expected(left, right, finish), k + 1);
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_width_of_the_registers_changes_no_bit() {
        let (Some(widest), Some(avx2)) = (x86::Instructions::at_hand(), x86::Instructions::avx2()) else {
            println!("skipped: this processor has no AVX2");
            return;
        };
        let (m, k, n) = (45, 70, 61);
        let (a, b, bias) = (normal(m * k, 1), normal(k * n, 2), normal(n, 3));
        let bits = |instructions| {
            let mut out = vec![0.0; m * n];
            let (a, b) = (Matrix::new(&a, m, k), Matrix::new(&b, k, n));
            x86::product(instructions, &mut out, a, b, Finish::BiasRelu(&bias));
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(widest), bits(avx2));
    }

    #[test]
    fn transposes_are_those_of_the_definition_at_every_size() {
        for (height, width) in [(1, 1), (8, 8), (16, 24), (9, 17), (7, 40), (31, 8), (48, 57)] {
            let matrix = normal(height * width, 5);
            let (mut expected, mut actual) = (vec![0.0; height * width], vec![0.0; height * width]);
            transpose_any(&mut expected, &matrix, width);
            transpose_f32(&mut actual, &matrix, width);
            assert_eq!(expected[(width - 1) * height], matrix[width - 1]);
            assert_eq!(actual, expected, "{height} × {width}");
        }
    }

    #[test]
    fn not_a_number_stays() {
        let mut out = [0.0; 1];
        product(
            &mut out,
            Matrix::new(&[f32::NAN], 1, 1),
            Matrix::new(&[1.0], 1, 1),
            Finish::BiasRelu(&[0.0]),
        );
        assert!(out[0].is_nan());
        let mut out = [0.0; 2];
        product(
            &mut out,
            Matrix::new(&[f32::NAN], 1, 1),
            Matrix::new(&[1.0, 1.0], 1, 2),
            Finish::BiasRelu(&[0.0, 0.0]),
        );
        assert!(out[0].is_nan() && out[1].is_nan());
    }
}
