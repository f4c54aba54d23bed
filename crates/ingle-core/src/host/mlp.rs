//! The multi-layer perceptron's passes on slices, one network of the P × K after the other or side by side.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Real, give_back, take};
use super::product::{Finish, Matrix, product};
use super::{Values, tensor, threads};
use crate::network::Mlp;

/// The smallest number of multiplications that pays for a second thread.
const WORTH_A_THREAD: usize = 1 << 22;

/// How many rows go through all layers of a pass that keeps nothing: at a width of 256, their outputs are an eighth of a
/// core's second cache.
const BLOCK: usize = 64;

/// gemm adds up products of at most this many elements in another order. No cut may make one of a larger one: the number of
/// threads would change the result's last bits.
const SMALL_PRODUCT: usize = 256;

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
    /// How many of each member's networks, from the first.
    ensemble: usize,
    batch: usize,
    /// How far apart the inputs of two members, and of two networks of a member, are; 0 where they share them.
    input_stride: [usize; 2],
}

impl<'a> Pass<'a> {
    fn new(mlp: &'a Mlp, parameters: &Tensor<2>, ensemble: usize, input: &Tensor<4>) -> Self {
        let [members, networks, batch, width] = input.dims();
        let size = batch * width;
        let stride = |rows: usize, size: usize| if rows == 1 { 0 } else { size };
        Self {
            mlp,
            population: parameters.dims()[0],
            ensemble,
            batch,
            input_stride: [stride(members, networks * size), stride(networks, size)],
        }
    }

    fn width(&self, layer: usize) -> usize {
        self.mlp.sizes()[layer]
    }

    fn layers(&self) -> usize {
        self.mlp.sizes().len() - 1
    }

    fn networks(&self) -> usize {
        self.population * self.ensemble
    }

    /// Which member a network is of, and which of that member's networks it is.
    fn member(&self, network: usize) -> (usize, usize) {
        (network / self.ensemble, network % self.ensemble)
    }

    /// Whether a second thread pays.
    fn is_large(&self) -> bool {
        self.mlp.size() * self.population * self.batch >= WORTH_A_THREAD
    }

    /// Weight `in × out` and bias of a layer of one network.
    fn layer<'v, T>(&self, parameters: &'v [T], network: usize, layer: usize) -> (&'v [T], &'v [T]) {
        let (member, copy) = self.member(network);
        let own = &parameters[member * self.mlp.size()..(member + 1) * self.mlp.size()];
        let (weight, bias) = self.places(layer, copy);
        (&own[weight], &own[bias])
    }

    /// Where a layer's weight and bias of one network lie among its member's parameters.
    fn places(&self, layer: usize, copy: usize) -> (Range<usize>, Range<usize>) {
        let (input, output) = (self.width(layer), self.width(layer + 1));
        let [weight, bias] = self.mlp.starts(layer);
        let (weight, bias) = (weight + copy * input * output, bias + copy * output);
        (weight..weight + input * output, bias..bias + output)
    }

    fn input<'v, T>(&self, input: &'v [T], network: usize) -> &'v [T] {
        let (member, copy) = self.member(network);
        let start = member * self.input_stride[0] + copy * self.input_stride[1];
        &input[start..start + self.batch * self.width(0)]
    }

    /// Into how many parts the rows of one network are cut: more than one where threads outnumber the networks.
    fn cuts(&self) -> usize {
        if !self.is_large() {
            return 1;
        }
        let cuts = threads::count().div_ceil(self.networks()).min(self.batch);
        let narrowest = self.mlp.sizes()[1..self.layers()].iter().min().copied().unwrap_or(0);
        if narrowest * self.batch.div_ceil(cuts) > SMALL_PRODUCT { cuts } else { 1 }
    }

    /// How many rows of a network a part has; the last one may have fewer. Blocks of rows are the same for any cut.
    fn step(&self) -> usize {
        let cuts = self.cuts();
        if cuts == 1 { self.batch } else { self.batch.div_ceil(cuts).next_multiple_of(BLOCK) }
    }

    /// The networks' rows, cut.
    fn parts(&self) -> Vec<Part> {
        let step = self.step();
        let starts = (0..self.batch).step_by(step);
        let rows = starts.map(|start| start..(start + step).min(self.batch)).collect::<Vec<_>>();
        let parts = (0..self.networks())
            .flat_map(|network| rows.iter().map(move |rows| Part { network, rows: rows.clone() }));
        parts.collect()
    }

    /// A buffer with `width` values a row for every network, cut alike.
    fn cut<'v, T>(
        &self,
        buffer: &'v mut [T],
        width: usize,
    ) -> impl Iterator<Item = &'v mut [T]> + use<'v, T> {
        let step = self.step() * width;
        buffer.chunks_exact_mut(self.batch * width).flat_map(move |network| network.chunks_mut(step))
    }

    /// Several buffers, given with their widths, cut alike: for every part, its piece of each.
    fn cut_all<'v, T>(
        &self,
        buffers: impl Iterator<Item = (&'v mut [T], usize)>,
    ) -> Vec<(Part, Vec<&'v mut [T]>)> {
        let mut pieces: Vec<(Part, Vec<&'v mut [T]>)> =
            self.parts().into_iter().map(|part| (part, Vec::new())).collect();
        for (buffer, width) in buffers {
            for ((_, pieces), piece) in pieces.iter_mut().zip(self.cut(buffer, width)) {
                pieces.push(piece);
            }
        }
        pieces
    }

    /// Runs a task for every item, side by side if that pays. What a task computes does not depend on which.
    fn each<I: Send>(&self, items: Vec<I>, task: impl Fn(I) + Sync + Send) {
        if items.len() > 1 && self.is_large() && threads::count() > 1 {
            items.into_par_iter().for_each(task);
        } else {
            items.into_iter().for_each(task);
        }
    }

    /// The inputs of a layer in all rows of one network.
    fn signal<'v, T>(&self, input: &'v [T], hidden: &'v [Vec<T>], network: usize, layer: usize) -> &'v [T] {
        if layer == 0 {
            self.input(input, network)
        } else {
            self.of_network(&hidden[layer - 1], network, layer)
        }
    }

    /// One network's rows of a buffer that is as wide as a layer's input.
    fn of_network<'v, T>(&self, buffer: &'v [T], network: usize, layer: usize) -> &'v [T] {
        let size = self.batch * self.width(layer);
        &buffer[network * size..][..size]
    }

    /// The last layer's outputs. A block of rows goes through all layers at a time: what the hidden layers put out is
    /// not kept, and stays in a core's cache.
    fn forward<T: Real>(&self, parameters: &[T], input: &[T]) -> Vec<T> {
        let layers = self.layers();
        let last = self.width(layers);
        let mut output = vec![T::ZERO; self.networks() * self.batch * last];
        let widest = (1..layers).map(|layer| self.width(layer)).max().unwrap_or(0);
        self.each(self.cut_all(std::iter::once((&mut output[..], last))), |(part, mut outputs)| {
            let output = outputs.pop().expect("one buffer was cut");
            let input = part.of(self.input(input, part.network), self.width(0));
            let (mut signal, mut next) = (take(BLOCK * widest), take(BLOCK * widest));
            let blocks = input.chunks(BLOCK * self.width(0)).zip(output.chunks_mut(BLOCK * last));
            for (input, output) in blocks {
                let rows = output.len() / last;
                for layer in 0..layers {
                    let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                    let (weight, bias) = self.layer(parameters, part.network, layer);
                    let weight = Matrix::new(weight, width_in, width_out);
                    let from = if layer == 0 { input } else { &signal[..rows * width_in] };
                    let from = Matrix::new(from, rows, width_in);
                    if layer + 1 == layers {
                        product(output, from, weight, Finish::Bias(bias));
                    } else {
                        product(&mut next[..rows * width_out], from, weight, Finish::BiasRelu(bias));
                        std::mem::swap(&mut signal, &mut next);
                    }
                }
            }
            give_back(signal);
            give_back(next);
        });
        output
    }

    /// The hidden layers' outputs and the last layer's.
    fn record<T: Real>(&self, parameters: &[T], input: &[T]) -> (Vec<Vec<T>>, Vec<T>) {
        let layers = self.layers();
        let rows = self.networks() * self.batch;
        let mut hidden: Vec<Vec<T>> = (1..layers).map(|layer| take(rows * self.width(layer))).collect();
        let buffers = hidden.iter_mut().zip(1..).map(|(output, layer)| (&mut output[..], self.width(layer)));
        self.each(self.cut_all(buffers), |(part, outputs)| {
            let mut signal = part.of(self.input(input, part.network), self.width(0));
            for (layer, output) in outputs.into_iter().enumerate() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let (weight, bias) = self.layer(parameters, part.network, layer);
                let weight = Matrix::new(weight, width_in, width_out);
                let signal_rows = Matrix::new(signal, part.rows.len(), width_in);
                product(output, signal_rows, weight, Finish::BiasRelu(bias));
                signal = output;
            }
        });
        // The last layer is narrow, and not cut.
        let last = layers - 1;
        let (width_in, width_out) = (self.width(last), self.width(layers));
        let mut output = vec![T::ZERO; rows * width_out];
        let networks = output.chunks_exact_mut(self.batch * width_out).enumerate().collect();
        self.each(networks, |(network, output): (usize, &mut [T])| {
            let (weight, bias) = self.layer(parameters, network, last);
            let signal = Matrix::new(self.signal(input, &hidden, network, last), self.batch, width_in);
            product(output, signal, Matrix::new(weight, width_in, width_out), Finish::Bias(bias));
        });
        (hidden, output)
    }

    /// The gradient `[P, N]` of the parameters.
    fn gradient<T: Real>(&self, parameters: &[T], input: &[T], hidden: &[Vec<T>], output: &[T]) -> Vec<T> {
        let layers = self.layers();
        let rows = self.networks() * self.batch;
        // The gradients of the hidden layers' outputs, from the last one down.
        let mut inner: Vec<Vec<T>> = (1..layers).map(|layer| take(rows * self.width(layer))).collect();
        let buffers = inner.iter_mut().zip(1..).map(|(inner, layer)| (&mut inner[..], self.width(layer)));
        self.each(self.cut_all(buffers), |(part, mut inner)| {
            let mut above = part.of(self.of_network(output, part.network, layers), self.width(layers));
            for layer in (1..layers).rev() {
                let below = inner.pop().expect("a piece for every hidden layer");
                let (weight, _) = self.layer(parameters, part.network, layer);
                let signal = self.signal(input, hidden, part.network, layer);
                let signal = part.of(signal, self.width(layer));
                self.below(layer, below, above, weight, Finish::Slope { signal, rows: None });
                above = below;
            }
        });
        // Then each layer's own, cut along the rows of the weights.
        let mut gradient = vec![T::ZERO; self.population * self.mlp.size()];
        self.each(self.weights(&mut gradient), |Weights { network, layer, rows, weight, bias }| {
            let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
            let above = if layer + 1 == layers { output } else { &inner[layer] };
            let above = self.of_network(above, network, layer + 1);
            let signal = Matrix::new(self.signal(input, hidden, network, layer), self.batch, width_in);
            let above_rows = Matrix::new(above, self.batch, width_out);
            product(weight, signal.columns(rows).transposed(), above_rows, Finish::Nothing);
            if let Some(bias) = bias {
                kernels::column_sums(bias, above);
            }
        });
        inner.into_iter().for_each(give_back);
        gradient
    }

    /// The places of the weights and biases in a gradient `[P, N]`, cut along the weights' rows.
    fn weights<'v, T>(&self, gradient: &'v mut [T]) -> Vec<Weights<'v, T>> {
        let mut weights = Vec::new();
        for (member, mut rest) in gradient.chunks_exact_mut(self.mlp.size()).enumerate() {
            for layer in 0..self.layers() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let step = match width_in.div_ceil(self.cuts()) {
                    step if step * width_out > SMALL_PRODUCT => step,
                    _ => width_in,
                };
                for network in member * self.ensemble..(member + 1) * self.ensemble {
                    let own;
                    (own, rest) = rest.split_at_mut(width_in * width_out);
                    for (weight, start) in own.chunks_mut(step * width_out).zip((0..).step_by(step)) {
                        let rows = start..start + weight.len() / width_out;
                        weights.push(Weights { network, layer, rows, weight, bias: None });
                    }
                }
                for network in 0..self.ensemble {
                    let own;
                    (own, rest) = rest.split_at_mut(width_out);
                    // With the first of the network's pieces of this layer.
                    let pieces = width_in.div_ceil(step);
                    let first = weights.len() - (self.ensemble - network) * pieces;
                    weights[first].bias = Some(own);
                }
            }
        }
        weights
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
        let layers = self.layers();
        let last = self.width(layers);
        let mut gradient = vec![T::ZERO; self.networks() * self.batch * columns];
        let networks = gradient.chunks_exact_mut(self.batch * columns).enumerate().collect();
        self.each(networks, |(network, gradient): (usize, &mut [T])| {
            let own = self.of_network(output, network, layers);
            let concerned = |row: &usize| own[row * last..][..last].iter().any(|value| *value != T::ZERO);
            let rows: Vec<usize> = (0..self.batch).filter(concerned).collect();
            if rows.is_empty() {
                return;
            }
            let mut above = take(self.batch * last);
            for (above, row) in above.chunks_exact_mut(last).zip(&rows) {
                above.copy_from_slice(&own[row * last..][..last]);
            }
            for layer in (1..layers).rev() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let mut below = take(self.batch * width_in);
                let (weight, _) = self.layer(parameters, network, layer);
                let signal = self.of_network(&hidden[layer - 1], network, layer);
                let above_rows = &above[..rows.len() * width_out];
                let below_rows = &mut below[..rows.len() * width_in];
                self.below(
                    layer,
                    below_rows,
                    above_rows,
                    weight,
                    Finish::Slope { signal, rows: Some(&rows) },
                );
                give_back(std::mem::replace(&mut above, below));
            }
            let (width_in, width_out) = (self.width(0), self.width(1));
            let (weight, _) = self.layer(parameters, network, 0);
            let weight = Matrix::new(&weight[(width_in - columns) * width_out..], columns, width_out);
            let mut below = take(self.batch * columns);
            let below_rows = &mut below[..rows.len() * columns];
            let above_rows = Matrix::new(&above[..rows.len() * width_out], rows.len(), width_out);
            product(below_rows, above_rows, weight.transposed(), Finish::Nothing);
            for (row, values) in rows.iter().zip(below_rows.chunks_exact(columns)) {
                gradient[row * columns..][..columns].copy_from_slice(values);
            }
            give_back(below);
            give_back(above);
        });
        gradient
    }

    /// `(d Wᵀ) ⊙ [x > 0]` for some rows of the gradient d of a layer's output, its weight W, and the slope at its input x.
    fn below<T: Real>(&self, layer: usize, below: &mut [T], above: &[T], weight: &[T], slope: Finish<'_, T>) {
        let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
        let above = Matrix::new(above, above.len() / width_out, width_out);
        product(below, above, Matrix::new(weight, width_in, width_out).transposed(), slope);
    }
}

/// Rows of one network.
struct Part {
    network: usize,
    rows: Range<usize>,
}

impl Part {
    /// These rows of a network's buffer.
    fn of<'v, T>(&self, network: &'v [T], width: usize) -> &'v [T] {
        &network[self.rows.start * width..self.rows.end * width]
    }
}

/// Some rows of a layer's weight in a gradient; the bias comes with one piece of each layer.
struct Weights<'v, T> {
    network: usize,
    layer: usize,
    rows: Range<usize>,
    weight: &'v mut [T],
    bias: Option<&'v mut [T]>,
}

/// The outputs `[P, K, B, out]` of a network on a host device.
pub(crate) fn forward(mlp: &Mlp, parameters: &Tensor<2>, input: &Tensor<4>) -> Option<Tensor<4>> {
    by_type!(parameters, forward_as(mlp, parameters, input))
}

fn forward_as<T: Real>(mlp: &Mlp, parameters: &Tensor<2>, input: &Tensor<4>) -> Option<Tensor<4>> {
    let (values, inputs) = (Values::of(parameters)?, Values::of(input)?);
    let pass = Pass::new(mlp, parameters, mlp.ensemble(), input);
    let shape = [pass.population, mlp.ensemble(), pass.batch, pass.width(pass.layers())];
    Some(tensor(pass.forward(values.slice::<T>(), inputs.slice()), shape))
}

/// The outputs `[P, K, B, out]` of a member's first networks on a host device, and their tape.
pub(crate) fn record(
    mlp: &Mlp,
    parameters: &Tensor<2>,
    ensemble: usize,
    input: &Tensor<4>,
) -> Option<(Tensor<4>, Tape)> {
    match parameters.dtype() {
        DType::F32 => {
            record_as(mlp, parameters, ensemble, input).map(|(output, layers)| (output, Tape::F32(layers)))
        }
        DType::F64 => {
            record_as(mlp, parameters, ensemble, input).map(|(output, layers)| (output, Tape::F64(layers)))
        }
        _ => None,
    }
}

fn record_as<T: Real>(
    mlp: &Mlp,
    parameters: &Tensor<2>,
    ensemble: usize,
    input: &Tensor<4>,
) -> Option<(Tensor<4>, Layers<T>)> {
    let (values, inputs) = (Values::of(parameters)?, Values::of(input)?);
    let pass = Pass::new(mlp, parameters, ensemble, input);
    let (hidden, output) = pass.record(values.slice::<T>(), inputs.slice());
    let width = pass.width(pass.layers());
    let shape = [pass.population, ensemble, pass.batch, width];
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
        let pass = Pass::new(mlp, &self.parameters, mlp.ensemble(), &self.input);
        let gradient = pass.gradient(parameters.slice(), input.slice(), &self.hidden, output.slice::<T>());
        tensor(gradient, self.parameters.dims())
    }

    fn input_gradient(self, mlp: &Mlp, output: &Tensor<4>, columns: usize) -> Tensor<4> {
        let ensemble = output.dims()[1];
        let [parameters, _, output] = self.values(output);
        let pass = Pass::new(mlp, &self.parameters, ensemble, &self.input);
        let gradient = pass.input_gradient(parameters.slice(), &self.hidden, output.slice::<T>(), columns);
        let shape = [pass.population, ensemble, pass.batch, columns];
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::WORTH_A_THREAD;
    use crate::network::{Mlp, Network};
    use crate::random::RandomStream;

    fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
        let data = tensor.into_data();
        data.try_to_vec::<f32>().expect("float32").into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let device = Device::flex();
        let normal = |size: usize, seed: u64| {
            let mut values = vec![0.0; size];
            RandomStream::new(seed, 0).fill_normal(&mut values);
            Tensor::<1>::from_floats(values.as_slice(), &device)
        };
        for (networks, batch) in [(1, 301), (2, 256)] {
            let mlp = Mlp::new(7, &[130, 129], 1, networks).unwrap();
            assert!(mlp.size() * batch > WORTH_A_THREAD, "too small to be cut");
            let mut streams = RandomStream::population(1, 0, 1);
            let parameters = mlp.init(&mut streams, &(&device).into()).unwrap();
            let input = normal(batch * 7, 2).reshape([1, 1, batch, 7]);
            let slope = normal(networks * batch, 3).reshape([1, networks, batch, 1]);
            // Half of the rows concern nobody.
            let slope = slope.clone() * slope.greater_elem(0.0).float();
            let passes = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let record = || mlp.record(&parameters, input.clone());
                    [
                        bits(record().0),
                        bits(mlp.gradient(record().1, slope.clone())),
                        bits(mlp.input_gradient(record().1, slope.clone(), 3)),
                    ]
                })
            };
            let names = ["output", "gradient", "input gradient"];
            let alone = passes(1);
            for threads in 2..=4 {
                for (name, (one, other)) in names.iter().zip(alone.iter().zip(passes(threads))) {
                    assert!(*one == other, "{name}: {networks} networks, {threads} threads");
                }
            }
        }
    }
}
