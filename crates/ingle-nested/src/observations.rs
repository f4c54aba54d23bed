//! Checks of observations that a processor has not looked at yet: demonstrations, of an outer sample.

use burn::tensor::Tensor;
use ingle_core::{Error, Result};

/// Checks observations `[P or 1, B, O]`, of the precision of `like`.
pub(crate) fn check_rows(
    observation: &Tensor<3>,
    population: usize,
    size: usize,
    like: &Tensor<2>,
) -> Result<()> {
    let [members, _, width] = observation.dims();
    if width != size || (members != population && members != 1) {
        return Err(Error::Shape {
            field: "observation",
            expected: format!("[{population} or 1, B, {size}]"),
            actual: observation.dims().to_vec(),
        });
    }
    if observation.dtype() != like.dtype() {
        return Err(Error::Precision {
            field: "observation",
            expected: format!("{:?}", like.dtype()),
            actual: format!("{:?}", observation.dtype()),
        });
    }
    Ok(())
}
