//! The multi-layer perceptron's passes on slices, one network of the P × K after the other or side by side.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

use super::kernels::{self, Real, give_back, take};
use super::product::{Finish, Matrix, product, transpose};
use super::{Values, tensor, threads};
use crate::network::Mlp;

/// The smallest number of multiplications that pays for a second thread.
const WORTH_A_THREAD: usize = 1 << 22;

/// How many rows go through all layers at a time: at a width of 256, their outputs are an eighth of a core's second cache,
/// and stay there next to a weight and its gradient.
const BLOCK: usize = 64;

/// The largest weight that stays in a core's second cache together with its gradient.
const CACHED_WEIGHT: usize = 1 << 17;

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

    /// How many rows go through all layers of a backward pass at a time. Weights that are too large for the cache are gone
    /// through once, with all rows.
    fn block(&self) -> usize {
        let mut weights = self.mlp.sizes().windows(2).map(|sizes| sizes[0] * sizes[1]);
        if weights.all(|size| size <= CACHED_WEIGHT) { BLOCK } else { self.batch }
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

    /// The inputs of a layer in some rows of one network.
    fn signal<'v, T>(&self, input: &'v [T], hidden: &'v [Vec<T>], rows: &Part, layer: usize) -> &'v [T] {
        if layer == 0 {
            rows.of(self.input(input, rows.network), self.width(0))
        } else {
            self.of_rows(&hidden[layer - 1], rows, layer)
        }
    }

    /// Some rows of one network, of a buffer that is as wide as a layer's input.
    fn of_rows<'v, T>(&self, buffer: &'v [T], rows: &Part, layer: usize) -> &'v [T] {
        let size = self.batch * self.width(layer);
        rows.of(&buffer[rows.network * size..][..size], self.width(layer))
    }

    /// Buffers for as many rows, as wide as the hidden layers.
    fn hidden<T: Real>(&self, rows: usize) -> Vec<Vec<T>> {
        (1..self.layers()).map(|layer| take(rows * self.width(layer))).collect()
    }

    /// The first rows of these buffers.
    fn first<'v, T>(
        &self,
        hidden: &'v mut [Vec<T>],
        rows: usize,
    ) -> impl DoubleEndedIterator<Item = &'v mut [T]> + ExactSizeIterator {
        hidden.iter_mut().zip(&self.mlp.sizes()[1..]).map(move |(buffer, width)| &mut buffer[..rows * width])
    }

    /// The hidden layers' outputs, if they are to be kept, and the last layer's. A block of rows goes through all layers
    /// at a time.
    fn forward<T: Real>(&self, parameters: &[T], input: &[T], keep: bool) -> (Vec<Vec<T>>, Vec<T>) {
        let rows = self.networks() * self.batch;
        let mut hidden = if keep { self.hidden(rows) } else { Vec::new() };
        let mut output = vec![T::ZERO; rows * self.width(self.layers())];
        // Of the last layers, or of all.
        let widths = &self.mlp.sizes()[self.layers() - hidden.len()..];
        let kept = hidden.iter_mut().map(|kept| &mut kept[..]).chain(std::iter::once(&mut output[..]));
        self.each(self.cut_all(kept.zip(widths.iter().copied())), |(part, mut kept)| {
            let mut passing = if keep { Vec::new() } else { self.hidden(BLOCK) };
            for block in part.blocks(BLOCK) {
                let rows = block.rows.len();
                let kept = kept.iter_mut().zip(widths).map(|(kept, width)| next(kept, rows * width));
                let mut signal = block.of(self.input(input, block.network), self.width(0));
                for (layer, output) in self.first(&mut passing, rows).chain(kept).enumerate() {
                    let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                    let (weight, bias) = self.layer(parameters, block.network, layer);
                    let last = layer + 1 == self.layers();
                    let finish = if last { Finish::Bias(bias) } else { Finish::BiasRelu(bias) };
                    let weight = Matrix::new(weight, width_in, width_out);
                    product(output, Matrix::new(signal, rows, width_in), weight, finish);
                    signal = output;
                }
            }
            passing.into_iter().for_each(give_back);
        });
        (hidden, output)
    }

    /// The gradient `[P, N]` of the parameters.
    fn gradient<T: Real>(&self, parameters: &[T], input: &[T], hidden: &[Vec<T>], output: &[T]) -> Vec<T> {
        let layers = self.layers();
        let mut gradient = vec![T::ZERO; self.population * self.mlp.size()];
        let weights = self.weights(&mut gradient);
        let add = |weights: &mut Weights<'_, T>, block: &Part, above: &[T]| {
            let Weights { layer, rows, weight, bias, .. } = weights;
            let (width_in, width_out) = (self.width(*layer), self.width(*layer + 1));
            let signal = self.signal(input, hidden, block, *layer);
            let signal = Matrix::new(signal, block.rows.len(), width_in).columns(rows.clone()).transposed();
            product(weight, signal, Matrix::new(above, block.rows.len(), width_out), Finish::Add);
            if let Some(bias) = bias {
                kernels::add_rows(bias, above);
            }
        };
        if self.cuts() == 1 {
            // A block of rows goes down all layers, and adds to the gradients of each, while it is in a core's cache.
            self.each(weights, |mut weights| {
                let network = weights[0].network;
                let transposed = self.transposed(parameters, network);
                let mut inner = self.hidden(self.block());
                for block in (Part { network, rows: 0..self.batch }).blocks(self.block()) {
                    let rows = block.rows.len();
                    let output = self.of_rows(output, &block, layers);
                    self.below(self.first(&mut inner, rows), output, &transposed, &block, hidden, None);
                    for weights in &mut weights {
                        let width = self.width(weights.layer + 1);
                        let above = inner.get(weights.layer).map_or(output, |inner| &inner[..rows * width]);
                        add(weights, &block, above);
                    }
                }
                transposed.into_iter().chain(inner).for_each(give_back);
            });
        } else {
            // First down all layers, cut along the rows; then each layer's gradient, cut along those of the weights.
            let mut inner = self.hidden(self.networks() * self.batch);
            let buffers = inner.iter_mut().zip(1..).map(|(inner, layer)| (&mut inner[..], self.width(layer)));
            self.each(self.cut_all(buffers), |(part, mut inner)| {
                let transposed = self.transposed(parameters, part.network);
                for block in part.blocks(self.block()) {
                    let inner = inner.iter_mut().zip(&self.mlp.sizes()[1..]);
                    let inner = inner.map(|(inner, width)| next(inner, block.rows.len() * width));
                    let output = self.of_rows(output, &block, layers);
                    self.below(inner, output, &transposed, &block, hidden, None);
                }
                transposed.into_iter().for_each(give_back);
            });
            self.each(weights.into_iter().flatten().collect(), |mut weights: Weights<'_, T>| {
                for block in (Part { network: weights.network, rows: 0..self.batch }).blocks(self.block()) {
                    let above = inner.get(weights.layer).map_or(output, |inner| inner);
                    let above = self.of_rows(above, &block, weights.layer + 1);
                    add(&mut weights, &block, above);
                }
            });
            inner.into_iter().for_each(give_back);
        }
        gradient
    }

    /// For each network, the places of its weights and biases in a gradient `[P, N]`, cut along the weights' rows.
    fn weights<'v, T>(&self, gradient: &'v mut [T]) -> Vec<Vec<Weights<'v, T>>> {
        let mut weights: Vec<Vec<_>> = (0..self.networks()).map(|_| Vec::new()).collect();
        let members = gradient.chunks_exact_mut(self.mlp.size()).zip(weights.chunks_mut(self.ensemble));
        for (member, (mut rest, networks)) in members.enumerate() {
            for layer in 0..self.layers() {
                let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
                let step = match width_in.div_ceil(self.cuts()) {
                    step if step * width_out > SMALL_PRODUCT => step,
                    _ => width_in,
                };
                for (network, weights) in (member * self.ensemble..).zip(networks.iter_mut()) {
                    let own = next(&mut rest, width_in * width_out).chunks_mut(step * width_out);
                    weights.extend(own.zip((0..).step_by(step)).map(|(weight, start)| {
                        let rows = start..start + weight.len() / width_out;
                        Weights { network, layer, rows, weight, bias: None }
                    }));
                }
                for weights in networks.iter_mut() {
                    let first = weights.iter_mut().find(|weights| weights.layer == layer);
                    first.expect("a weight for every layer").bias = Some(next(&mut rest, width_out));
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
        self.each(self.cut_all(std::iter::once((&mut gradient[..], columns))), |(part, mut gradient)| {
            let transposed = self.transposed(parameters, part.network);
            let (width_in, width_out) = (self.width(0), self.width(1));
            let (weight, _) = self.layer(parameters, part.network, 0);
            let first = transpose(&weight[(width_in - columns) * width_out..], width_out);
            let (mut above, mut below) = (take(BLOCK * last), take(BLOCK * columns));
            let mut inner = self.hidden(BLOCK);
            for block in part.blocks(BLOCK) {
                let gradient = next(&mut gradient[0], block.rows.len() * columns);
                let output = self.of_rows(output, &block, layers);
                let concerned =
                    |row: &usize| output[row * last..][..last].iter().any(|value| *value != T::ZERO);
                let rows: Vec<usize> = (0..block.rows.len()).filter(concerned).collect();
                let above = &mut above[..rows.len() * last];
                for (above, row) in above.chunks_exact_mut(last).zip(&rows) {
                    above.copy_from_slice(&output[row * last..][..last]);
                }
                let inner = self.first(&mut inner, rows.len());
                let above = self.below(inner, above, &transposed, &block, hidden, Some(&rows));
                let below = &mut below[..rows.len() * columns];
                let above = Matrix::new(above, rows.len(), width_out);
                product(below, above, Matrix::new(&first, width_out, columns), Finish::Nothing);
                for (row, values) in rows.iter().zip(below.chunks_exact(columns)) {
                    gradient[row * columns..][..columns].copy_from_slice(values);
                }
            }
            transposed.into_iter().chain(inner).chain([first, above, below]).for_each(give_back);
        });
        gradient
    }

    /// One network's weights of all layers but the first, `out × in`.
    fn transposed<T: Real>(&self, parameters: &[T], network: usize) -> Vec<Vec<T>> {
        let weight = |layer| self.layer(parameters, network, layer).0;
        (1..self.layers()).map(|layer| transpose(weight(layer), self.width(layer + 1))).collect()
    }

    /// `(d Wᵀ) ⊙ [x > 0]` for the gradient d of a layer's output, its weight W, and the slope at its input x, from the last
    /// layer down; the first layer's d is handed back. The rows are a block's, or some of them.
    fn below<'v, T: Real>(
        &self,
        inner: impl DoubleEndedIterator<Item = &'v mut [T]>,
        output: &'v [T],
        transposed: &[Vec<T>],
        block: &Part,
        hidden: &[Vec<T>],
        rows: Option<&[usize]>,
    ) -> &'v [T] {
        let mut above = output;
        for (layer, below) in (1..self.layers()).rev().zip(inner.rev()) {
            let (width_in, width_out) = (self.width(layer), self.width(layer + 1));
            let slope = Finish::Slope { signal: self.of_rows(&hidden[layer - 1], block, layer), rows };
            let weight = Matrix::new(&transposed[layer - 1], width_out, width_in);
            product(below, Matrix::new(above, above.len() / width_out, width_out), weight, slope);
            above = below;
        }
        above
    }
}

/// The next `size` elements of a buffer, which then begins after them.
// What moves is the place in the buffer.
#[allow(clippy::mut_mut)]
fn next<'v, T>(buffer: &mut &'v mut [T], size: usize) -> &'v mut [T] {
    buffer.split_off_mut(..size).expect("a buffer for all rows")
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

    /// These rows, `size` at a time.
    fn blocks(&self, size: usize) -> impl Iterator<Item = Self> {
        let (network, end) = (self.network, self.rows.end);
        self.rows
            .clone()
            .step_by(size)
            .map(move |start| Self { network, rows: start..(start + size).min(end) })
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
    let (_, output) = pass.forward(values.slice::<T>(), inputs.slice(), false);
    Some(tensor(output, shape))
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
    let (hidden, output) = pass.forward(values.slice::<T>(), inputs.slice(), true);
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
