//! What the CPU does faster on slices than tensor by tensor.
//!
//! burn's flex device keeps tensors in the host's memory. There the built-in network's passes ([`mlp`]) and the
//! optimiser's ([`optimiser`]) run on that memory in place: no output is cleared or copied before it is written, bias and
//! `ReLU` take one pass, Adam one over all parameters. So do the targets and losses ([`loss`]) and the policies' heads
//! ([`policy`]), which at small widths would otherwise be most of an update. On every other device these functions hand `None` back, and the callers'
//! tensor operations do the same work.

/// Calls a function of a tensor's float type; `None` for other types.
macro_rules! by_type {
    ($tensor:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $tensor.dtype() {
            burn::tensor::DType::F32 => $function::<f32>($($argument),*),
            burn::tensor::DType::F64 => $function::<f64>($($argument),*),
            _ => None,
        }
    };
}

mod elementary;
mod kernels;
pub(crate) mod loss;
pub(crate) mod mlp;
pub(crate) mod optimiser;
pub(crate) mod policy;
mod product;
pub(crate) mod threads;

use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

use kernels::Real;

/// A plain (untracked) tensor of a flex device, to be read as a slice.
struct Values(FlexTensor);

impl Values {
    /// None for tensors of other devices or types.
    fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if !matches!(tensor.dtype(), DType::F32 | DType::F64) {
            return None;
        }
        let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
        // Rows of a larger tensor are read where they are.
        let in_one_piece = tensor.layout().contiguous_offsets().is_some();
        Some(Self(if in_one_piece { tensor } else { tensor.to_contiguous() }))
    }

    fn slice<T: Real>(&self) -> &[T] {
        self.0.as_slice().expect("a tensor of this type, in one piece")
    }
}

/// A tensor of the flex device, without a copy.
fn tensor<T: Real, const D: usize>(values: Vec<T>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape)))
}
