//! On how many threads the passes of an update run.

use std::cell::Cell;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Does work whose passes keep to this thread.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    /// Also when the work panics.
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _back = Back(ALONE.replace(true));
    work()
}

/// How many threads a pass may use.
pub(super) fn count() -> usize {
    if ALONE.get() { 1 } else { rayon::current_num_threads() }
}
