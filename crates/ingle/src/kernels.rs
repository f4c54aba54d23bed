//! How many kernels a device is asked to run, and how often the host waits for it: on a GPU, what an update of small networks
//! costs.

use std::collections::BTreeMap;

use burn::tensor::Device;

/// What a device was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernels {
    /// Kernels that were launched, by the names that they have in burn.
    pub launched: BTreeMap<&'static str, u64>,
    /// How often the host waited for the device, to read a tensor or for all work to be done. None where nothing tells: on
    /// CUDA, and in a program with a logger (of the `log` crate) of its own, since wgpu tells its logger.
    pub waits: Option<u64>,
}

impl Kernels {
    /// All kernels.
    pub fn total(&self) -> u64 {
        self.launched.values().sum()
    }
}

/// Does `work` and counts the kernels that it launches, the host's waits for the device, and whatever else the process does
/// there meanwhile. None for a device that launches no kernels: a CPU.
///
/// A replayed graph launches nothing: its kernels were counted when it was captured. Waits for the device before and
/// after, so that the work is all there; these waits are not counted. To hear of waits, it becomes the logger of the `log`
/// crate at the first call, if the program has none.
///
/// # Errors
/// If the device failed.
pub fn count<T>(device: &Device, work: impl FnOnce() -> T) -> ingle_core::Result<(T, Option<Kernels>)> {
    let sync = || device.sync().map_err(|error| ingle_core::Error::Execution(error.to_string()));
    sync()?;
    let counting = observer::Counting::begin();
    let result = work();
    let waits = counting.waits();
    sync()?;
    let kernels = counting.end(waits);
    Ok((result, (kernels.total() > 0).then_some(kernels)))
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod observer {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use cubecl_runtime::logging::{LaunchObservation, LaunchObserver};
    use log::{LevelFilter, Log, Metadata, Record};

    use super::Kernels;

    #[derive(Default)]
    struct Counter(Mutex<BTreeMap<&'static str, u64>>);

    impl LaunchObserver for Counter {
        fn launched(&self, kernel: &'static str) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kernel).or_default() += 1;
        }
    }

    /// Listens to what wgpu says of its calls: cubecl has no hook for reads.
    struct Listener {
        waits: AtomicU64,
        submissions: AtomicU64,
    }

    static LISTENER: Listener = Listener { waits: AtomicU64::new(0), submissions: AtomicU64::new(0) };
    static IS_LOGGER: OnceLock<bool> = OnceLock::new();

    impl Log for Listener {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("wgpu_core::device")
        }

        fn log(&self, record: &Record<'_>) {
            if !self.enabled(record.metadata()) {
                return;
            }
            let message = record.args().to_string();
            // A read maps a buffer; a wait for everything asks to be called back. (Device::poll is no sign: cubecl's own thread
            // waits there for old work before it submits more.)
            let is_wait = ["Buffer::map_async ", "Queue::on_submitted_work_done "];
            if is_wait.iter().any(|call| message.starts_with(call)) {
                self.waits.fetch_add(1, Ordering::Relaxed);
            } else if message == "Queue::submit" {
                self.submissions.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn flush(&self) {}
    }

    pub(super) struct Counting {
        counter: Arc<Counter>,
        observation: LaunchObservation,
        level: LevelFilter,
    }

    impl Counting {
        pub(super) fn begin() -> Self {
            let level = log::max_level();
            if *IS_LOGGER.get_or_init(|| log::set_logger(&LISTENER).is_ok()) {
                LISTENER.waits.store(0, Ordering::Relaxed);
                LISTENER.submissions.store(0, Ordering::Relaxed);
                log::set_max_level(LevelFilter::Trace);
            }
            let counter = Arc::new(Counter::default());
            Self { observation: LaunchObservation::new(counter.clone()), counter, level }
        }

        /// So far.
        #[allow(clippy::unused_self)] // there are none without a count that has begun
        pub(super) fn waits(&self) -> u64 {
            LISTENER.waits.load(Ordering::Relaxed)
        }

        pub(super) fn end(self, waits: u64) -> Kernels {
            drop(self.observation);
            log::set_max_level(self.level);
            let launched =
                std::mem::take(&mut *self.counter.0.lock().unwrap_or_else(PoisonError::into_inner));
            // Nothing heard of submissions: another logger, or another runtime.
            let heard = LISTENER.submissions.load(Ordering::Relaxed) > 0;
            Kernels { launched, waits: heard.then_some(waits) }
        }
    }
}

#[cfg(not(any(feature = "wgpu", feature = "cuda")))]
mod observer {
    use super::Kernels;

    pub(super) struct Counting;

    #[allow(clippy::unused_self)] // as with devices that launch kernels
    impl Counting {
        pub(super) fn begin() -> Self {
            Self
        }

        pub(super) fn waits(&self) -> u64 {
            0
        }

        pub(super) fn end(self, _: u64) -> Kernels {
            Kernels::default()
        }
    }
}
