//! What INT and TERM do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The signal that came first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// From now on the first INT or TERM sets `stop`, and a second one ends the process at once.
    ///
    /// # Errors
    /// If the system does not let us.
    #[cfg(unix)]
    pub(crate) fn watch(stop: &Arc<AtomicBool>) -> std::io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;

        let signals = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag set, the first one sets it.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
            flag::register_usize(signal, Arc::clone(&signals.0), signal as usize)?;
            flag::register(signal, Arc::clone(stop))?;
        }
        Ok(signals)
    }

    /// Elsewhere, the system's own ways to end a process are all there is.
    #[cfg(not(unix))]
    pub(crate) fn watch(_: &Arc<AtomicBool>) -> std::io::Result<Self> {
        Ok(Self::default())
    }

    /// Which one it was, if one came.
    pub(crate) fn first(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
    }
}
