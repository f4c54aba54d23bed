//! Panics, of libraries mostly, as errors with one line and an exit code.
//!
//! A device that is lost or out of memory shows as a panic wherever burn has no way to return an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use crate::error::CliError;

/// What the first threads that panicked said, and where. The first one is the cause: others panic because it is gone.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How many are kept: environments may panic now and then without an end to the run.
const KEPT: usize = 8;

/// From now on panics are noted, not printed, unless somebody asks for backtraces.
pub(crate) fn note_quietly() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            default(panic);
        }
        let said = panic.payload_as_str().unwrap_or("no reason given");
        let place = panic.location().map(|place| format!(", at {place}")).unwrap_or_default();
        let line = format!("{}{place}", said.split_whitespace().collect::<Vec<_>>().join(" "));
        tracing::debug!("a thread panicked: {line}");
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < KEPT {
            said.push(line);
        }
    }));
}

/// Does `work`; a panic in it is an error that tells what was said since it began.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner).clear();
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let said = SAID.lock().unwrap_or_else(PoisonError::into_inner).join("; then ");
        Err(CliError::Panicked { kind: Kind::of(&said), said })
    })
}

/// What a panic or an error of the device is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OutOfMemory,
    DeviceLost,
    Bug,
}

impl Kind {
    /// Judges by the words of burn, `CubeCL`, wgpu and CUDA.
    pub(crate) fn of(said: &str) -> Self {
        let said = said.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if has(&[
            "out of memory",
            "out-of-memory",
            "outofmemory",
            "out_of_memory",
            "out of device memory",
            "out of host memory",
            "buffer too big",
            "buffertoobig",
            "memory allocation",
            "not enough memory",
            "too large for the",
        ]) {
            Self::OutOfMemory
        } else if has(&[
            "lost",
            "poison",
            "illegal address",
            "cuda_error",
            "device error",
            "driver",
            "hardware fault",
        ]) {
            Self::DeviceLost
        } else {
            Self::Bug
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libraries_say_is_understood() {
        for (said, kind) in [
            (
                "called `Result::unwrap()` on an `Err` value: out of device memory allocating 40 bytes",
                Kind::OutOfMemory,
            ),
            ("An out-of-memory error happened during launch", Kind::OutOfMemory),
            ("wgpu error: Out of Memory", Kind::OutOfMemory),
            ("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", Kind::OutOfMemory),
            ("can't allocate buffer of size: 3600000000: BufferTooBig", Kind::OutOfMemory),
            ("The device was poisoned during launch", Kind::DeviceLost),
            ("Parent device is lost", Kind::DeviceLost),
            (
                "DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")",
                Kind::DeviceLost,
            ),
            ("index out of bounds: the len is 3 but the index is 3", Kind::Bug),
        ] {
            assert_eq!(Kind::of(said), kind, "{said}");
        }
    }

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        note_quietly();
        let error = caught::<()>(|| {
            let device = std::thread::spawn(|| panic!("the device\n is lost"));
            let _ = device.join();
            panic!("nobody answers")
        })
        .unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("the device is lost, at ") && said.contains("; then nobody answers, at "),
            "{said}"
        );
        assert!(!said.contains('\n'), "{said}");
        assert_eq!(caught(|| Ok(7)).unwrap(), 7);
    }
}
