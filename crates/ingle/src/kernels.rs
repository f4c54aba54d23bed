//! How many kernels a device is asked to run: on a GPU, what an update of small networks costs.

use std::collections::BTreeMap;

use burn::tensor::Device;

/// Kernels that were launched, by the names that they have in burn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernels(pub BTreeMap<&'static str, u64>);

impl Kernels {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Does `work` and counts the kernels that it launches, and whatever else the process launches meanwhile. None for a
/// device that launches none: a CPU.
///
/// A replayed graph launches nothing: its kernels were counted when it was captured. Waits for the device before and
/// after, so that the work is all there.
///
/// # Errors
/// If the device failed.
pub fn count<T>(device: &Device, work: impl FnOnce() -> T) -> ingle_core::Result<(T, Option<Kernels>)> {
    let sync = || device.sync().map_err(|error| ingle_core::Error::Execution(error.to_string()));
    sync()?;
    let observer = observer::Counting::begin();
    let result = work();
    sync()?;
    let kernels = observer.end();
    Ok((result, (kernels.total() > 0).then_some(kernels)))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod observer {
    use std::sync::{Arc, Mutex, PoisonError};

    use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};

    use super::Kernels;

    #[derive(Default)]
    struct Counter(Mutex<Kernels>);

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).0.entry(kernel).or_default() += 1;
        }
    }

    pub(super) struct Counting {
        counter: Arc<Counter>,
        observation: LaunchObservation,
    }

    impl Counting {
        pub(super) fn begin() -> Self {
            let counter = Arc::new(Counter::default());
            Self { observation: LaunchObservation::new(counter.clone()), counter }
        }

        pub(super) fn end(self) -> Kernels {
            drop(self.observation);
            std::mem::take(&mut *self.counter.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
mod observer {
    use super::Kernels;

    pub(super) struct Counting;

    impl Counting {
        pub(super) fn begin() -> Self {
            Self
        }

        #[allow(clippy::unused_self)] // as with devices that launch kernels
        pub(super) fn end(self) -> Kernels {
            Kernels::default()
        }
    }
}
