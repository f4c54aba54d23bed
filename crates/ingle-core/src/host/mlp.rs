//! The multi-layer perceptron's passes on slices, one network of the P × K after the other or side by side.

use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Matrix, Parallelism, Real, give_back, product, take};
use super::{Values, tensor};
use crate::network::Mlp;

/// The smallest number of multiplications that pays for a second thread.
const WORTH_A_THREAD: usize = 1 << 22;

/// What a recorded forward pass keeps: the inputs, and each hidden layer's outputs.
#[derive(Debug)]
pub(crate) enum Tape {
    F32(Layers<f32>),
    F64(Layers<f64>),
}

/// The parameters and inputs of a pass, and the hidden layers' outputs `[P, K, B, width]`.
#[derive(Debug)]
pub(crate) struct Layers<T: Real> {
    parameters: Tensor<2>,
    input: Tensor<4>,
    hidden: Vec<Vec<T>>,
}

impl<T: Real> Drop for Layers<T> {
    fn drop(&mut self) {
        self.hidden.drain(..).for_each(give_back);
    }
}

/// The sizes of one pass.
struct Pass<'a> {
    mlp: &'a Mlp,
    population: usize,
    batch: usize,
    /// How far apart the inputs of two members, and of two networks of a member, are; 0 where they share them.
    input_stride: [usize; 2],
}

impl<'a> Pass<'a> {
    fn new(mlp: &'a Mlp, parameters: &Tensor<2>, input: &Tensor<4>) -> Self {
        let [members, networks, batch, width] = input.dims();
        let size = batch * width;
        let stride = |rows: usize, size: usize| if rows == 1 { 0 } else { size };
        Self {
            mlp,
            population: parameters.dims()[0],
            batch,
            input_stride: [stride(members, networks * size), stride(networks, size)],
        }
    }

    fn width(&self, layer: usize) -> usize {
        self.mlp.sizes()[layer]
    }

    fn networks(&self) -> usize {
        self.population * self.mlp.ensemble()
    }

    /// Weight `in × out` and bias of a layer of one network.
    fn layer<'v, T>(&self, parameters: &'v [T], network: usize, layer: usize) -> (&'v [T], &'v [T]) {
        let (member, copy) = (network / self.mlp.ensemble(), network % self.mlp.ensemble());
        let own = &parameters[member * self.mlp.size()..(member + 1) * self.mlp.size()];
        let (weight, bias) = self.places(layer, copy);
        (&own[weight], &own[bias])
    }

    /// Where a layer's weight and bias of one network lie among its member's parameters.
    fn places(&self, layer: usize, copy: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let (input, output) = (self.width(layer), self.width(layer + 1));
        let [weight, bias] = self.mlp.starts(layer);
        let (weight, bias) = (weight + copy * input * output, bias + copy * output);
        (weight..weight + input * output, bias..bias + output)
    }

    fn input<'v, T>(&self, input: &'v [T], network: usize) -> &'v [T] {
        let (member, copy) = (network / self.mlp.ensemble(), network % self.mlp.ensemble());
        let start = member * self.input_stride[0] + copy * self.input_stride[1];
        &input[start..start + self.batch * self.width(0)]
    }

    /// How one network's products use threads: none where there are networks enough, or nothing to win.
    fn threads(&self) -> Parallelism {
        let largest = self.mlp.sizes().windows(2).map(|pair| pair[0] * pair[1]).max().unwrap_or(0);
        if self.networks() == 1 && largest * self.batch >= WORTH_A_THREAD && rayon::current_num_threads() > 1
        {
            Parallelism::Rayon(0)
        } else {
            Parallelism::None
        }
    }

    /// Runs `task` for every network, side by side if that pays.
    fn each<I: Send>(&self, items: Vec<I>, task: impl Fn(usize, I) + Sync + Send) {
        let work = self.mlp.size() * self.population * self.batch;
        if items.len() > 1 && work >= WORTH_A_THREAD && rayon::current_num_threads() > 1 {
            items.into_par_iter().enumerate().for_each(|(network, item)| task(network, item));
        } else {
            items.into_iter().enumerate().for_each(|(network, item)| task(network, item));
        }
    }

    /// A pool buffer with `width` values a row for every network, cut into the networks' parts.
    fn parts<'v, T>(&self, buffer: &'v mut [T], width: usize) -> std::slice::ChunksExactMut<'v, T> {
        buffer.chunks_exact_mut(self.batch * width)
    }

    /// The hidden layers' outputs and the last layer's.
    fn forward<T: Real>(&self, parameters: &[T], input: &[T]) -> (Vec<Vec<T>>, Vec<T>) {
        let layers = self.mlp.sizes().len() - 1;
        let rows = self.networks() * self.batch;
        let mut outputs: Vec<Vec<T>> = (1..layers).map(|layer| take(rows * self.width(layer))).collect();
        outputs.push(vec![T::ZERO; rows * self.width(layers)]);
        let mut parts: Vec<Vec<&mut [T]>> =
            (0..self.networks()).map(|_| Vec::with_capacity(layers)).collect();
        for (layer, output) in outputs.iter_mut().enumerate() {
            for (parts, part) in parts.iter_mut().zip(self.parts(output, self.width(layer + 1))) {
                parts.push(part);
            }
        }
        let threads = self.threads();
        self.each(parts, |network, parts| {
            let mut signal = self.input(input, network);
            for (layer, part) in parts.into_iter().enumerate() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let (weight, bias) = self.layer(parameters, network, layer);
                product(
                    part,
                    Matrix::new(signal, self.batch, width_in),
                    Matrix::new(weight, width_in, width_out),
                    threads,
                );
                if layer + 1 < layers {
                    kernels::add_bias_relu(part, bias);
                } else {
                    kernels::add_bias(part, bias);
                }
                signal = part;
            }
        });
        let output = outputs.pop().expect("at least one layer");
        (outputs, output)
    }

    /// The gradient `[P, N]` of the parameters.
    fn gradient<T: Real>(&self, parameters: &[T], input: &[T], hidden: &[Vec<T>], output: &[T]) -> Vec<T> {
        let layers = self.mlp.sizes().len() - 1;
        let ensemble = self.mlp.ensemble();
        let mut gradient = take(self.population * self.mlp.size());
        // Per network, per layer: the places of its weight's and its bias's gradient.
        let mut places: Vec<Vec<[&mut [T]; 2]>> = (0..self.networks()).map(|_| Vec::new()).collect();
        for (member, mut rest) in gradient.chunks_exact_mut(self.mlp.size()).enumerate() {
            for layer in 0..layers {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let weights;
                let biases;
                (weights, rest) = rest.split_at_mut(ensemble * width_in * width_out);
                (biases, rest) = rest.split_at_mut(ensemble * width_out);
                let weights = weights.chunks_exact_mut(width_in * width_out);
                for (copy, (weight, bias)) in weights.zip(biases.chunks_exact_mut(width_out)).enumerate() {
                    places[member * ensemble + copy].push([weight, bias]);
                }
            }
        }
        let threads = self.threads();
        self.each(places, |network, places| {
            let last = self.width(layers);
            let mut above = take(self.batch * last);
            above.copy_from_slice(&output[network * self.batch * last..][..self.batch * last]);
            let mut places = places.into_iter().enumerate().rev().peekable();
            if let Some((_, [_, bias])) = places.peek_mut() {
                kernels::column_sums(bias, &above);
            }
            while let Some((layer, [weight, _])) = places.next() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let signal = if layer == 0 {
                    self.input(input, network)
                } else {
                    &hidden[layer - 1][network * self.batch * width_in..][..self.batch * width_in]
                };
                product(
                    weight,
                    Matrix::new(signal, self.batch, width_in).transposed(),
                    Matrix::new(&above, self.batch, width_out),
                    threads,
                );
                if let Some((_, [_, bias_below])) = places.peek_mut() {
                    let mut below = take(self.batch * width_in);
                    let (weight, _) = self.layer(parameters, network, layer);
                    self.below(layer, &mut below, &above, weight, signal, 0..self.batch, bias_below);
                    give_back(std::mem::replace(&mut above, below));
                }
            }
            give_back(above);
        });
        gradient
    }

    /// The gradient `[P, K, B, columns]` of the input's last columns. Rows whose gradient is 0 cost nothing: of the
    /// smallest of K values, each row concerns one network.
    fn input_gradient<T: Real>(
        &self,
        parameters: &[T],
        hidden: &[Vec<T>],
        output: &[T],
        columns: usize,
    ) -> Vec<T> {
        let layers = self.mlp.sizes().len() - 1;
        let last = self.width(layers);
        let mut gradient = vec![T::ZERO; self.networks() * self.batch * columns];
        let parts = gradient.chunks_exact_mut(self.batch * columns).collect();
        let threads = self.threads();
        self.each(parts, |network, part: &mut [T]| {
            let own = &output[network * self.batch * last..][..self.batch * last];
            let rows: Vec<usize> = (0..self.batch)
                .filter(|row| own[row * last..][..last].iter().any(|g| *g != T::ZERO))
                .collect();
            if rows.is_empty() {
                return;
            }
            let count = rows.len();
            let mut above = take(self.batch * last);
            gather(&mut above, own, last, &rows);
            for layer in (1..layers).rev() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let mut below = take(self.batch * width_in);
                let signal = &hidden[layer - 1][network * self.batch * width_in..];
                let (weight, _) = self.layer(parameters, network, layer);
                let (below_rows, above_rows) = (&mut below[..count * width_in], &above[..count * width_out]);
                let mut sums = take(width_in);
                self.below(layer, below_rows, above_rows, weight, signal, rows.iter().copied(), &mut sums);
                give_back(sums);
                give_back(std::mem::replace(&mut above, below));
            }
            let (width_in, width_out) = (self.width(0), self.width(1));
            let (weight, _) = self.layer(parameters, network, 0);
            let mut below = take(self.batch * columns);
            product(
                &mut below[..count * columns],
                Matrix::new(&above[..count * width_out], count, width_out),
                Matrix::new(&weight[(width_in - columns) * width_out..], columns, width_out).transposed(),
                threads,
            );
            for (row, values) in rows.iter().zip(below.chunks_exact(columns)) {
                part[row * columns..][..columns].copy_from_slice(values);
            }
            give_back(below);
            give_back(above);
        });
        gradient
    }

    /// `(d Wᵀ) ⊙ [x > 0]` for the gradient d of a layer's output, its weight W and the given rows of its input x, and
    /// the sums of its columns.
    #[allow(clippy::too_many_arguments)]
    fn below<T: Real>(
        &self,
        layer: usize,
        below: &mut [T],
        above: &[T],
        weight: &[T],
        signal: &[T],
        rows: impl ExactSizeIterator<Item = usize>,
        sums: &mut [T],
    ) {
        sums.fill(T::ZERO);
        let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
        if width_out > 1 {
            let above = Matrix::new(above, rows.len(), width_out);
            product(below, above, Matrix::new(weight, width_in, width_out).transposed(), self.threads());
        }
        for ((below, above), row) in
            below.chunks_exact_mut(width_in).zip(above.chunks_exact(width_out)).zip(rows)
        {
            let signal = &signal[row * width_in..][..width_in];
            if width_out == 1 {
                kernels::masked_multiple(below, above[0], weight, signal, sums);
            } else {
                kernels::mask(below, signal, sums);
            }
        }
    }
}

/// The given rows, one after the other, at the front of `to`.
fn gather<T: Real>(to: &mut [T], from: &[T], width: usize, rows: &[usize]) {
    for (to, row) in to.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&from[row * width..][..width]);
    }
}

/// The outputs `[P, K, B, out]` of a network on a host device, and its tape.
pub(crate) fn record(mlp: &Mlp, parameters: &Tensor<2>, input: &Tensor<4>) -> Option<(Tensor<4>, Tape)> {
    match parameters.dtype() {
        DType::F32 => record_as(mlp, parameters, input).map(|(output, layers)| (output, Tape::F32(layers))),
        DType::F64 => record_as(mlp, parameters, input).map(|(output, layers)| (output, Tape::F64(layers))),
        _ => None,
    }
}

fn record_as<T: Real>(
    mlp: &Mlp,
    parameters: &Tensor<2>,
    input: &Tensor<4>,
) -> Option<(Tensor<4>, Layers<T>)> {
    let (values, inputs) = (Values::of(parameters)?, Values::of(input)?);
    let pass = Pass::new(mlp, parameters, input);
    let (hidden, output) = pass.forward(values.slice::<T>(), inputs.slice());
    let width = pass.width(mlp.sizes().len() - 1);
    let shape = [pass.population, mlp.ensemble(), pass.batch, width];
    let output = tensor(output, shape);
    Some((output, Layers { parameters: parameters.clone(), input: input.clone(), hidden }))
}

impl Tape {
    /// The gradient `[P, N]` of the parameters, for the gradient `[P, K, B, out]` of the output.
    pub(crate) fn gradient(self, mlp: &Mlp, output: &Tensor<4>) -> Tensor<2> {
        match self {
            Self::F32(layers) => layers.gradient(mlp, output),
            Self::F64(layers) => layers.gradient(mlp, output),
        }
    }

    /// The gradient `[P, K, B, columns]` of the input's last columns, for the gradient of the output.
    pub(crate) fn input_gradient(self, mlp: &Mlp, output: &Tensor<4>, columns: usize) -> Tensor<4> {
        match self {
            Self::F32(layers) => layers.input_gradient(mlp, output, columns),
            Self::F64(layers) => layers.input_gradient(mlp, output, columns),
        }
    }
}

impl<T: Real> Layers<T> {
    fn gradient(self, mlp: &Mlp, output: &Tensor<4>) -> Tensor<2> {
        let [parameters, input, output] = self.values(output);
        let pass = Pass::new(mlp, &self.parameters, &self.input);
        let gradient = pass.gradient(parameters.slice(), input.slice(), &self.hidden, output.slice::<T>());
        tensor(gradient, self.parameters.dims())
    }

    fn input_gradient(self, mlp: &Mlp, output: &Tensor<4>, columns: usize) -> Tensor<4> {
        let [parameters, _, output] = self.values(output);
        let pass = Pass::new(mlp, &self.parameters, &self.input);
        let gradient = pass.input_gradient(parameters.slice(), &self.hidden, output.slice::<T>(), columns);
        let shape = [pass.population, mlp.ensemble(), pass.batch, columns];
        tensor(gradient, shape)
    }

    /// The parameters, the input and the gradient of the output: all on the device that the first two were recorded on.
    fn values(&self, output: &Tensor<4>) -> [Values; 3] {
        let here = "the output's gradient is on the device of the parameters";
        [
            Values::of(&self.parameters).expect(here),
            Values::of(&self.input).expect(here),
            Values::of(output).expect(here),
        ]
    }
}
