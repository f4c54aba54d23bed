//! Running means and variances on the device.

use burn::tensor::{Tensor, TensorCreationOptions};
use ingle_core::State;
use ingle_core::guard::Guard;
use ingle_core::state::Visitor;

/// Mean and population variance of everything seen, per member and feature, by Chan's parallel update (Chan et al.
/// 1979).
///
/// The variance itself is kept, not the sum of squares, so that nothing grows without bound; the count is a tensor,
/// so that nothing that changes is a host scalar. (When the count is 2²⁴ times a batch, it stops growing in float32,
/// and the mean becomes an exponential one with that rate.)
#[derive(Debug, Clone)]
pub struct RunningMoments {
    /// `[P, F]`.
    pub mean: Tensor<2>,
    /// `[P, F]`, of the whole population seen (the sum of squares over the count).
    pub variance: Tensor<2>,
    /// Rows seen, `[P, 1]`.
    pub count: Tensor<2>,
}

impl RunningMoments {
    /// The moments of nothing, for `features` features of `population` members.
    pub fn new(population: usize, features: usize, options: &TensorCreationOptions) -> Self {
        Self {
            mean: Tensor::zeros([population, features], options.clone()),
            variance: Tensor::zeros([population, features], options.clone()),
            count: Tensor::zeros([population, 1], options.clone()),
        }
    }

    /// Takes in a batch `[P or 1, B, F]`. A member's batch that is not finite is left out.
    pub fn update(&mut self, batch: &Tensor<3>) {
        let rows = batch.dims()[1] as f64;
        let batch_mean = batch.clone().mean_dim(1);
        let batch_variance = (batch.clone() - batch_mean.clone()).square().mean_dim(1).squeeze_dim::<2>(1);
        let batch_mean = batch_mean.squeeze_dim::<2>(1);
        let guard = Guard::of((batch_mean.clone().abs() + batch_variance.clone()).sum_dim(1));
        let (batch_mean, batch_variance) = (guard.allow(batch_mean), guard.allow(batch_variance));
        let held = guard.held();
        let taken = held.clone().neg().add_scalar(1.0).mul_scalar(rows);
        let change = batch_mean - self.mean.clone();
        let count = self.count.clone() + taken.clone();
        // The moments of nothing have a count of 0.
        let weight = (count.clone() + held).recip() * taken;
        let kept = weight.clone().neg().add_scalar(1.0);
        let spread = change.clone().square() * kept.clone();
        self.mean = self.mean.clone() + change * weight.clone();
        self.variance = self.variance.clone() * kept + (batch_variance + spread) * weight;
        self.count = count;
    }

    /// `clip((x − mean) / √(variance + 1e-8), ±bound)`, `[P, B, F]`.
    pub fn whiten(&self, x: Tensor<3>, bound: f64) -> Tensor<3> {
        let centred = x - self.mean.clone().unsqueeze_dim(1);
        (centred / self.deviation().unsqueeze_dim(1)).clamp(-bound, bound)
    }

    /// `√(variance + mean² + 1e-8)`, `[P, F]`.
    pub fn root_mean_square(&self) -> Tensor<2> {
        (self.variance.clone() + self.mean.clone().square()).add_scalar(1e-8).sqrt()
    }

    /// `√(variance + 1e-8)`, `[P, F]`.
    pub fn deviation(&self) -> Tensor<2> {
        self.variance.clone().add_scalar(1e-8).sqrt()
    }
}

impl State for RunningMoments {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("mean", &mut self.mean);
        visitor.tensor("variance", &mut self.variance);
        visitor.tensor("count", &mut self.count);
    }
}
