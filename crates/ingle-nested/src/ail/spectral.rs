//! Spectral normalisation of a network's weights.

use burn::tensor::{Tensor, TensorCreationOptions};
use ingle_core::network::Layout;
use ingle_core::random::{RandomStream, normal_noise};

use super::state::SingularVectors;

/// Power iterations on fresh vectors (`PyTorch`).
const FIRST_ITERATIONS: usize = 15;

/// Parameters whose weights are divided by their largest singular values, as far as the vectors know them.
///
/// Miyato et al. 2018 (arXiv:1802.05957), with the rule of `PyTorch`'s `parametrizations.spectral_norm`: `Ŵ = W / σ`,
/// `σ = vᵀ W u`, where one power iteration `u ← Wᵀv / ‖·‖`, `v ← W u / ‖·‖` precedes each update. The vectors are
/// constants of the gradient, σ is not. Biases stay as they are.
pub(super) struct Normalised {
    /// `[P, N]`.
    pub(super) parameters: Tensor<2>,
    /// σ of each layer, `[P, 1]`.
    sigma: Vec<Tensor<2>>,
}

/// Random vectors of each layer, after their first iterations on these parameters.
pub(super) fn init(
    layout: &Layout,
    parameters: &Tensor<2>,
    streams: &mut [RandomStream],
    options: &TensorCreationOptions,
) -> Vec<SingularVectors> {
    let mut vectors = weights(layout)
        .map(|(_, [input, output])| {
            let mut unit = |size| {
                unit(normal_noise(streams, 1, 1, size, options).squeeze_dim::<3>(0).squeeze_dim::<2>(1))
            };
            SingularVectors { input: unit(input), output: unit(output) }
        })
        .collect::<Vec<_>>();
    for _ in 0..FIRST_ITERATIONS {
        iterate(layout, parameters, &mut vectors);
    }
    vectors
}

/// One power iteration for each layer.
pub(super) fn iterate(layout: &Layout, parameters: &Tensor<2>, vectors: &mut [SingularVectors]) {
    for ((index, shape), vectors) in weights(layout).zip(vectors) {
        let weight = weight(layout, parameters, index, shape);
        let input = vectors.input.clone().unsqueeze_dim::<3>(1);
        vectors.output = unit(input.matmul(weight.clone()).squeeze_dim(1));
        let output = vectors.output.clone().unsqueeze_dim::<3>(2);
        vectors.input = unit(weight.matmul(output).squeeze_dim(2));
    }
}

/// The parameters with normalised weights.
pub(super) fn apply(layout: &Layout, parameters: &Tensor<2>, vectors: &[SingularVectors]) -> Normalised {
    let mut pieces = Vec::with_capacity(layout.len());
    let mut sigma = Vec::with_capacity(vectors.len());
    for ((index, shape), vectors) in weights(layout).zip(vectors) {
        let weight = weight(layout, parameters, index, shape);
        let product = vectors.input.clone().unsqueeze_dim::<3>(1).matmul(weight).squeeze_dim::<2>(1);
        let own = (product * vectors.output.clone()).sum_dim(1);
        pieces.push(layout.slice(parameters, index) / own.clone());
        pieces.push(layout.slice(parameters, index + 1));
        sigma.push(own);
    }
    Normalised { parameters: Tensor::cat(pieces, 1), sigma }
}

impl Normalised {
    /// The gradient `[P, N]` of the parameters, for that of the normalised ones:
    /// `∂L/∂W = (G − ⟨G, Ŵ⟩ v uᵀ) / σ`.
    pub(super) fn gradient(
        self,
        layout: &Layout,
        vectors: &[SingularVectors],
        gradient: &Tensor<2>,
    ) -> Tensor<2> {
        let mut pieces = Vec::with_capacity(layout.len());
        for (((index, _), vectors), sigma) in weights(layout).zip(vectors).zip(self.sigma) {
            let own = layout.slice(gradient, index);
            let along = (own.clone() * layout.slice(&self.parameters, index)).sum_dim(1);
            let outer = (vectors.input.clone().unsqueeze_dim::<3>(2)
                * vectors.output.clone().unsqueeze_dim::<3>(1))
            .flatten::<2>(1, 2);
            pieces.push((own - outer * along) / sigma);
            pieces.push(layout.slice(gradient, index + 1));
        }
        Tensor::cat(pieces, 1)
    }
}

/// Each weight's place in the layout of a single `Mlp` (weight and bias in turn), and its rows and columns.
fn weights(layout: &Layout) -> impl Iterator<Item = (usize, [usize; 2])> {
    layout.iter().enumerate().step_by(2).map(|(index, (_, shape, _))| (index, [shape[1], shape[2]]))
}

fn weight(layout: &Layout, parameters: &Tensor<2>, index: usize, [input, output]: [usize; 2]) -> Tensor<3> {
    layout.slice(parameters, index).reshape([parameters.dims()[0], input, output])
}

/// Vectors `[P, n]` of length 1 (`PyTorch`'s rule, ε = 1e-12).
fn unit(vector: Tensor<2>) -> Tensor<2> {
    let norm = vector.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    vector / norm
}
