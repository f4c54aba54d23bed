//! The built-in multi-layer perceptron, with the population and ensemble axes in every weight.

use burn::tensor::{Bool, Tensor, TensorCreationOptions, TensorData, activation};

use super::{Actor, Critic, Layout, Network};
use crate::random::RandomStream;
use crate::sample::concatenate;
use crate::{Result, Violations};

/// A `ReLU` multi-layer perceptron for P members and K networks per member, as one batched product per layer.
///
/// Weights are `[P, K, in, out]`, biases `[P, K, 1, out]`. The initial weights and biases are uniform in ±`1/√fan_in`
/// (`PyTorch`'s `nn.Linear`). [`MlpActor`] and [`MlpCritic`] put it to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    sizes: Vec<usize>,
    ensemble: usize,
    layout: Layout,
}

/// An [`Mlp`] as an [`Actor`].
#[derive(Debug, Clone, PartialEq)]
pub struct MlpActor(Mlp);

/// An ensemble of [`Mlp`]s as a [`Critic`], which reads observation and action side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct MlpCritic {
    mlp: Mlp,
    action: usize,
}

/// What a recorded forward pass keeps.
#[derive(Debug)]
pub struct MlpTape(Tape);

#[derive(Debug)]
enum Tape {
    /// Each layer's input and weight.
    Tensors(Vec<(Tensor<4>, Tensor<4>)>),
    /// Slices, on a host device.
    #[cfg(feature = "flex")]
    Host(crate::host::mlp::Tape),
}

impl MlpActor {
    /// An actor network `observation → hidden… → output`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a size is 0.
    pub fn new(observation: usize, hidden: &[usize], output: usize) -> Result<Self> {
        Ok(Self(Mlp::new(observation, hidden, output, 1)?))
    }
}

impl MlpCritic {
    /// `ensemble` critic networks `observation + action → hidden… → 1`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a size is 0.
    pub fn new(observation: usize, action: usize, hidden: &[usize], ensemble: usize) -> Result<Self> {
        let mut violations = Violations::default();
        violations.require(observation > 0 && action > 0, || {
            format!("critic: reads {observation} observation and {action} action elements, both must be at least 1")
        });
        violations.finish()?;
        Ok(Self { mlp: Mlp::new(observation + action, hidden, 1, ensemble)?, action })
    }
}

impl Mlp {
    /// `ensemble` networks `input → hidden… → output`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if a size is 0.
    pub fn new(input: usize, hidden: &[usize], output: usize, ensemble: usize) -> Result<Self> {
        let sizes: Vec<usize> =
            std::iter::once(input).chain(hidden.iter().copied()).chain([output]).collect();
        let mut violations = Violations::default();
        violations
            .require(!sizes.contains(&0), || format!("network sizes: must be at least 1, got {sizes:?}"));
        violations.require(ensemble > 0, || "critics: must be at least 1, got 0".into());
        // Devices count elements in 32 bits.
        let parameters = sizes.windows(2).map(|pair| (pair[0] as f64 + 1.0) * pair[1] as f64).sum::<f64>()
            * ensemble as f64;
        violations.require(parameters <= f64::from(i32::MAX), || {
            format!(
                "network sizes: {sizes:?} make {parameters:.1e} parameters, at most {} can be had",
                i32::MAX
            )
        });
        violations.finish()?;
        let mut layout = Layout::default();
        for (layer, pair) in sizes.windows(2).enumerate() {
            layout.push(format!("{layer}/weight"), [ensemble, pair[0], pair[1]]);
            layout.push(format!("{layer}/bias"), [ensemble, 1, pair[1]]);
        }
        Ok(Self { sizes, ensemble, layout })
    }

    /// The widths of input, hidden layers and output.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// K.
    #[cfg(feature = "flex")]
    pub(crate) fn ensemble(&self) -> usize {
        self.ensemble
    }

    /// N.
    #[cfg(feature = "flex")]
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    /// Where the weights and the biases of a layer begin among a member's parameters.
    #[cfg(feature = "flex")]
    pub(crate) fn starts(&self, layer: usize) -> [usize; 2] {
        [self.layout.start(2 * layer), self.layout.start(2 * layer + 1)]
    }

    fn layers(&self) -> usize {
        self.sizes.len() - 1
    }

    /// Parameters of which [`Self::layer`] takes its views, but for the last bias.
    ///
    /// A GPU can look at part of a tensor where it is if there are whole lines of 256 bytes (CUDA: 512) before it and
    /// after it, and copies it otherwise. Without the last bias, that is so for all layers if the hidden ones are
    /// multiples of 64 (128) wide: one copy instead of one for every weight and bias.
    fn body(&self, parameters: &Tensor<2>) -> Tensor<2> {
        parameters.clone().narrow(1, 0, self.layout.start(self.layout.len() - 1))
    }

    /// Weight `[P, K, in, out]` and bias `[P, K, 1, out]` of a layer, of the first K networks.
    fn layer(
        &self,
        parameters: &Tensor<2>,
        body: &Tensor<2>,
        layer: usize,
        networks: usize,
    ) -> (Tensor<4>, Tensor<4>) {
        let population = parameters.dims()[0];
        let (input, output) = (self.sizes[layer], self.sizes[layer + 1]);
        let weight = self.layout.slice(body, 2 * layer).reshape([population, self.ensemble, input, output]);
        let bias = if layer + 1 < self.layers() { body } else { parameters };
        let bias = self.layout.slice(bias, 2 * layer + 1).reshape([population, self.ensemble, 1, output]);
        if networks == self.ensemble {
            return (weight, bias);
        }
        (weight.narrow(1, 0, networks), bias.narrow(1, 0, networks))
    }

    /// Runs the layers of the first networks on `input` `[P or 1, 1, B, in]`, showing each layer's input and weight to `keep`.
    fn run(
        &self,
        parameters: &Tensor<2>,
        networks: usize,
        input: Tensor<4>,
        mut keep: impl FnMut(&Tensor<4>, Tensor<4>),
    ) -> Tensor<4> {
        let mut signal = input;
        let body = self.body(parameters);
        for layer in 0..self.layers() {
            let (weight, bias) = self.layer(parameters, &body, layer, networks);
            let output = signal.clone().matmul(weight.clone()).add(bias);
            keep(&signal, weight);
            signal = if layer + 1 < self.layers() { activation::relu(output) } else { output };
        }
        signal
    }

    /// The outputs `[P, K, B, out]` for inputs `[P or 1, 1 or K, B, in]`.
    pub fn forward(&self, parameters: &Tensor<2>, input: Tensor<4>) -> Tensor<4> {
        #[cfg(feature = "flex")]
        if let Some(output) = crate::host::mlp::forward(self, parameters, &input) {
            return output;
        }
        self.run(parameters, self.ensemble, input, |_, _| ())
    }

    /// The outputs, and what it takes to pull a gradient back.
    pub fn record(&self, parameters: &Tensor<2>, input: Tensor<4>) -> (Tensor<4>, MlpTape) {
        self.record_some(parameters, self.ensemble, input)
    }

    /// [`Self::record`] of the first networks; their gradient goes back to the input only.
    fn record_some(&self, parameters: &Tensor<2>, networks: usize, input: Tensor<4>) -> (Tensor<4>, MlpTape) {
        #[cfg(feature = "flex")]
        if let Some((output, tape)) = crate::host::mlp::record(self, parameters, networks, &input) {
            return (output, MlpTape(Tape::Host(tape)));
        }
        let (output, layers) = self.record_layers(parameters, networks, input);
        (output, MlpTape(Tape::Tensors(layers)))
    }

    /// The outputs, and each layer's input and weight.
    fn record_layers(
        &self,
        parameters: &Tensor<2>,
        networks: usize,
        input: Tensor<4>,
    ) -> (Tensor<4>, Vec<(Tensor<4>, Tensor<4>)>) {
        let mut layers = Vec::with_capacity(self.layers());
        let output =
            self.run(parameters, networks, input, |signal, weight| layers.push((signal.clone(), weight)));
        (output, layers)
    }

    /// The gradient `[P, N]` of the parameters, for the gradient `[P, K, B, out]` of the output.
    ///
    /// With `x_l` the input of layer l and `d_l` the gradient of its output:
    /// `∂W_l = x_lᵀ d_l`, `∂b_l = Σ_B d_l`, `d_{l-1} = (d_l W_lᵀ) ⊙ [x_l > 0]`.
    pub fn gradient(&self, tape: MlpTape, output: Tensor<4>) -> Tensor<2> {
        let layers = match tape.0 {
            Tape::Tensors(layers) => layers,
            #[cfg(feature = "flex")]
            Tape::Host(tape) => return tape.gradient(self, &output),
        };
        let mut pieces = Vec::with_capacity(self.layout.len());
        let mut gradient = output;
        for (layer, (input, weight)) in layers.into_iter().enumerate().rev() {
            pieces.push(flatten(gradient.clone().sum_dim(2)));
            pieces.push(flatten(input.clone().transpose().matmul(gradient.clone())));
            if layer > 0 {
                gradient = below(gradient, weight, input);
            }
        }
        pieces.reverse();
        Tensor::cat(pieces, 1)
    }

    /// The gradient `[P, K, B, columns]` of the input's last columns, for the gradient of the output.
    pub fn input_gradient(&self, tape: MlpTape, output: Tensor<4>, columns: usize) -> Tensor<4> {
        let layers = match tape.0 {
            Tape::Tensors(layers) => layers,
            #[cfg(feature = "flex")]
            Tape::Host(tape) => return tape.input_gradient(self, &output, columns),
        };
        let mut gradient = output;
        for (layer, (input, weight)) in layers.into_iter().enumerate().rev() {
            if layer > 0 {
                gradient = below(gradient, weight, input);
            } else {
                gradient = gradient.matmul(weight.narrow(2, self.sizes[0] - columns, columns).transpose());
            }
        }
        gradient
    }

    /// A loss on the gradient of the (single) output with respect to the input, and its gradient `[P, N]` with respect
    /// to the parameters: a gradient penalty.
    ///
    /// burn differentiates once. For a `ReLU` network that is enough: the input's gradient is itself a product of
    /// weights and slopes, `∂ℓ/∂x = W₁ M₁ W₂ M₂ … w_L`, and the slopes' own derivative is 0 almost everywhere. `loss`
    /// takes `[P, K, B, in]` to `[P]`.
    pub fn slope_gradient(
        &self,
        parameters: &Tensor<2>,
        input: Tensor<4>,
        loss: impl FnOnce(Tensor<4>) -> Tensor<1>,
    ) -> (Tensor<1>, Tensor<2>) {
        let (output, tape) = self.record_layers(parameters, self.ensemble, input);
        let tape: Vec<_> =
            tape.into_iter().map(|(input, weight)| (input, weight.autodiff().require_grad())).collect();
        // The gradient of the output with respect to itself, then down through the layers.
        let mut gradient = output.ones_like().autodiff();
        for (layer, (input, weight)) in tape.iter().enumerate().rev() {
            gradient = gradient.matmul(weight.clone().transpose());
            if layer > 0 {
                gradient = gradient.mask_fill(inactive(input.clone()), 0.0);
            }
        }
        let value = loss(gradient);
        let mut gradients = value.clone().sum().backward();
        let pieces = tape.into_iter().enumerate().flat_map(|(layer, (_, weight))| {
            let own =
                weight.grad_remove(&mut gradients).unwrap_or_else(|| weight.without_autodiff().zeros_like());
            [flatten(own), self.layout.slice(parameters, 2 * layer + 1).zeros_like()]
        });
        let pieces = pieces.collect();
        (value.without_autodiff(), Tensor::cat(pieces, 1))
    }
}

/// The gradient of a hidden layer's output, given that of the layer above, that layer's weight and its input:
/// `(d Wᵀ) ⊙ [x > 0]`. A single output needs no matrix product.
///
/// The slope is a masked fill, which a GPU does in the kernel of what is before it.
fn below(gradient: Tensor<4>, weight: Tensor<4>, input: Tensor<4>) -> Tensor<4> {
    let transposed = weight.transpose();
    let through = if gradient.dims()[3] == 1 { transposed * gradient } else { gradient.matmul(transposed) };
    through.mask_fill(inactive(input), 0.0)
}

/// Where a `ReLU` that put this out has slope 0.
fn inactive(output: Tensor<4>) -> Tensor<4, Bool> {
    output.lower_equal_elem(0.0)
}

fn flatten(gradient: Tensor<4>) -> Tensor<2> {
    let [population, ensemble, rows, columns] = gradient.dims();
    gradient.reshape([population, ensemble * rows * columns])
}

impl Network for Mlp {
    type Tape = MlpTape;

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        let mut values = vec![0.0; streams.len() * self.layout.size()];
        for (stream, member) in streams.iter_mut().zip(values.chunks_exact_mut(self.layout.size())) {
            for (index, (_, shape, start)) in self.layout.iter().enumerate() {
                let bound = 1.0 / (self.sizes[index / 2] as f32).sqrt();
                let count = shape.iter().product::<usize>();
                stream.fill_uniform(-bound, bound, &mut member[start..start + count]);
            }
        }
        Ok(Tensor::from_data(TensorData::new(values, [streams.len(), self.layout.size()]), options.clone()))
    }
}

impl Network for MlpActor {
    type Tape = MlpTape;

    fn layout(&self) -> &Layout {
        self.0.layout()
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        self.0.init(streams, options)
    }
}

impl Actor for MlpActor {
    fn observation_size(&self) -> usize {
        self.0.sizes[0]
    }

    fn output_size(&self) -> usize {
        self.0.sizes[self.0.layers()]
    }

    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> Tensor<3> {
        self.0.forward(parameters, observation.unsqueeze_dim(1)).squeeze_dim(1)
    }

    fn record(&self, parameters: &Tensor<2>, observation: Tensor<3>) -> (Tensor<3>, MlpTape) {
        let (output, tape) = self.0.record(parameters, observation.unsqueeze_dim(1));
        (output.squeeze_dim(1), tape)
    }

    /// Where each layer is a kernel or two, one pass of both batches. A CPU has no kernels to save.
    fn record_beside(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        other: Tensor<3>,
    ) -> (Tensor<3>, MlpTape, Tensor<3>) {
        #[cfg(feature = "flex")]
        if let Some((output, tape)) =
            crate::host::mlp::record(&self.0, parameters, 1, &observation.clone().unsqueeze_dim(1))
        {
            return (output.squeeze_dim(1), MlpTape(Tape::Host(tape)), self.forward(parameters, other));
        }
        let (first, second) = (observation.dims()[1], other.dims()[1]);
        let both = concatenate(vec![observation, other], 1).unsqueeze_dim(1);
        let (output, layers) = self.0.record_layers(parameters, 1, both);
        let layers = layers.into_iter().map(|(input, weight)| (input.narrow(2, 0, first), weight));
        let output = output.squeeze_dim::<3>(1);
        let tape = MlpTape(Tape::Tensors(layers.collect()));
        (output.clone().narrow(1, 0, first), tape, output.narrow(1, first, second))
    }

    fn gradient(&self, tape: MlpTape, output: Tensor<3>) -> Tensor<2> {
        self.0.gradient(tape, output.unsqueeze_dim(1))
    }
}

impl Network for MlpCritic {
    type Tape = MlpTape;

    fn layout(&self) -> &Layout {
        self.mlp.layout()
    }

    fn init(&self, streams: &mut [RandomStream], options: &TensorCreationOptions) -> Result<Tensor<2>> {
        self.mlp.init(streams, options)
    }
}

impl Critic for MlpCritic {
    fn observation_size(&self) -> usize {
        self.mlp.sizes[0] - self.action
    }

    fn action_size(&self) -> usize {
        self.action
    }

    fn ensemble(&self) -> usize {
        self.mlp.ensemble
    }

    fn forward(&self, parameters: &Tensor<2>, observation: Tensor<3>, action: Tensor<3>) -> Tensor<3> {
        self.mlp
            .forward(parameters, concatenate(vec![observation, action], 2).unsqueeze_dim(1))
            .squeeze_dim(3)
    }

    fn record(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, MlpTape) {
        let (output, tape) =
            self.mlp.record(parameters, concatenate(vec![observation, action], 2).unsqueeze_dim(1));
        (output.squeeze_dim(3), tape)
    }

    fn record_first(
        &self,
        parameters: &Tensor<2>,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> (Tensor<3>, MlpTape) {
        let input = concatenate(vec![observation, action], 2).unsqueeze_dim(1);
        let (output, tape) = self.mlp.record_some(parameters, 1, input);
        (output.squeeze_dim(3), tape)
    }

    fn gradient(&self, tape: MlpTape, value: Tensor<3>) -> Tensor<2> {
        self.mlp.gradient(tape, value.unsqueeze_dim(3))
    }

    fn action_gradient(&self, tape: MlpTape, value: Tensor<3>) -> Tensor<3> {
        self.mlp.input_gradient(tape, value.unsqueeze_dim(3), self.action).sum_dim(1).squeeze_dim(1)
    }
}
