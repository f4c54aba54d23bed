//! What needs a GPU by itself (or a software Vulkan): graph replay, and kernels counted. A process of its own, and one
//! test at a time: while a graph is captured, nobody else may use the device, and kernels are counted for the whole
//! process.

mod graph;
mod kernels;
mod records;

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

static ALONE: Mutex<()> = Mutex::new(());

/// Does a test with the wgpu device, alone. Prints that a check was skipped if there is none.
///
/// On a thread of its own, which is gone before the next test begins: what a thread has left on a device is given back when
/// the thread ends, and would be refused while that test captures.
fn alone(check: &str, test: impl FnOnce(Device) + Send) {
    let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(device) = ingle_testing::device_or_skip("wgpu", check) else { return };
    if let Err(panic) = std::thread::scope(|scope| scope.spawn(|| test(device)).join()) {
        resume_unwind(panic);
    }
}
