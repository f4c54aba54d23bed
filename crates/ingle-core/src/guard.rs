//! The guard: an update that is not finite is left out, and counted, without a look from the host.

use burn::tensor::{Tensor, TensorCreationOptions};

use crate::Metrics;
use crate::state::{State, Visitor};

/// The largest sum of losses, squared gradients and squared parameters that counts as finite. Below it Adam's decayed
/// sums of squares, which may become 1,000 times as large as one square, stay finite in float32 too.
const LARGEST: f64 = 1e30;

/// Watches one update of a network, or of several in turn. As soon as a loss, a gradient or a parameter of a member is not
/// finite (or its square is above 1e30), nothing of that member moves any more in this update: whatever takes the guard
/// leaves parameters, moments and targets as they are. Other members go on.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use ingle_core::guard::Guard;
/// use ingle_core::optimiser::{Adam, Trainable};
///
/// let device = Device::flex();
/// let rate = Tensor::from_floats([[0.1], [0.1]], &device);
/// let mut network = Trainable::new(Tensor::ones([2, 3], &device), rate);
/// let gradient = Tensor::from_floats([[1.0, 0.0, 0.0], [1.0, f32::NAN, 0.0]], &device);
/// // The second member's gradient is not finite: its parameters stay.
/// let mut guard = Guard::new(&Tensor::from_floats([0.5, 0.5], &device));
/// network.step(&Adam::default(), gradient, &mut guard);
/// let parameters = network.parameters.to_data().to_vec::<f32>().unwrap();
/// assert!(parameters[0] < 1.0 && parameters[3..] == [1.0; 3]);
/// ```
#[derive(Debug, Clone)]
pub struct Guard {
    /// The sum of what was watched, `[P, 1]`: finite as long as everything was.
    magnitude: Option<Tensor<2>>,
    /// Losses that are to come into it, `[P, 1]`: in the kernel that adds up the next squares.
    losses: Vec<Tensor<2>>,
}

impl Guard {
    /// Begins an update with its loss `[P]`.
    pub fn new(loss: &Tensor<1>) -> Self {
        Self { magnitude: None, losses: vec![loss.clone().unsqueeze_dim(1)] }
    }

    /// A guard over numbers of any kind, by the sum of their sizes, `[P, 1]`.
    pub fn of(magnitude: Tensor<2>) -> Self {
        Self { magnitude: Some(magnitude), losses: Vec::new() }
    }

    /// Watches another loss `[P]`.
    pub fn watch(&mut self, loss: &Tensor<1>) {
        self.losses.push(loss.clone().unsqueeze_dim(1));
    }

    /// Watches parameters `[P, N]` and their gradient.
    pub(crate) fn watch_gradient(&mut self, parameters: &Tensor<2>, gradient: &Tensor<2>) {
        #[cfg(feature = "flex")]
        if let Some(squares) = crate::host::optimiser::squares(parameters, gradient) {
            return self.add(squares);
        }
        let squares = parameters.clone().square() + gradient.clone().square();
        self.add(if squares.dims()[1] == 1 { squares } else { squares.sum_dim(1) });
    }

    fn add(&mut self, magnitude: Tensor<2>) {
        *self = Self::of(magnitude + self.magnitude());
    }

    fn magnitude(&self) -> Tensor<2> {
        let losses = self.losses.iter().map(|loss| loss.clone().abs());
        let all = self.magnitude.iter().cloned().chain(losses);
        all.reduce(|sum, magnitude| sum + magnitude).expect("a guard begins with something to watch")
    }

    /// 1 for each member of which nothing may move, 0 for the others, `[P, 1]`, in the precision of what was watched.
    pub fn held(&self) -> Tensor<2> {
        let magnitude = self.magnitude();
        // Nothing compares with not-a-number: that is not below a limit.
        magnitude.ones_like().mask_fill(magnitude.lower_equal_elem(LARGEST), 0.0)
    }

    /// A change `[P, N]` of the members that may move; 0, whatever it was, for those that are held.
    pub fn allow(&self, change: Tensor<2>) -> Tensor<2> {
        change.mask_fill(self.held().greater_elem(0.0), 0.0)
    }

    /// The same on a host device: whether a member may move.
    #[cfg(feature = "flex")]
    pub(crate) fn may_move(&self) -> Option<Vec<bool>> {
        crate::host::optimiser::at_most(&self.magnitude(), LARGEST)
    }
}

/// How many updates the [`Guard`] left out: an item of the state of whatever it guards.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// All of them, of each member, `[P, 1]`.
    pub total: Tensor<2>,
    /// Those in a row up to the last update, of each member, `[P, 1]`: 0 when that one was made.
    pub in_a_row: Tensor<2>,
}

impl Skipped {
    /// None so far.
    pub fn new(population: usize, options: &TensorCreationOptions) -> Self {
        let zeros = || Tensor::zeros([population, 1], options.clone());
        Self { total: zeros(), in_a_row: zeros() }
    }

    /// Counts an update when it is over.
    pub fn count(&mut self, guard: &Guard) {
        let held = guard.held();
        self.total = self.total.clone() + held.clone();
        self.in_a_row = self.in_a_row.clone().add_scalar(1.0) * held;
    }

    /// Shows both numbers as metrics. A driver stops a learner that shows too many under a name that ends in
    /// [`SKIPPED_IN_A_ROW`].
    pub fn show(&self, metrics: &mut Metrics, total: &'static str, in_a_row: &'static str) {
        metrics.push(total, self.total.clone().flatten::<1>(0, 1));
        metrics.push(in_a_row, self.in_a_row.clone().flatten::<1>(0, 1));
    }
}

/// How the names of the metrics end that say how many updates in a row were left out.
pub const SKIPPED_IN_A_ROW: &str = "skipped_in_a_row";

impl State for Skipped {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.tensor("total", &mut self.total);
        visitor.tensor("in_a_row", &mut self.in_a_row);
    }
}
