//! What needs a GPU by itself (or a software Vulkan): graph replay, and kernels counted. A process of its own, and one
//! test at a time: while a graph is captured, nobody else may use the device, and kernels are counted for the whole
//! process.

mod graph;
mod kernels;
mod records;

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Device;

static ALONE: Mutex<()> = Mutex::new(());

/// The wgpu device, for one test alone. Prints that a check was skipped if there is none.
fn alone(check: &str) -> Option<(Device, MutexGuard<'static, ()>)> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some((ingle_testing::device_or_skip("wgpu", check)?, guard))
}
