//! Bytes of files, and numbers in bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::DemonstrationError;

/// The largest file that is read, and the most that one array may unpack to: 1 GiB.
pub const SIZE_LIMIT: u64 = 1 << 30;

/// The bytes of a file that is not too large.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, DemonstrationError> {
    let file = File::open(path)?;
    check_size("the file", file.metadata()?.len())?;
    let mut bytes = Vec::new();
    // Whatever the metadata said, no more than the limit is taken in.
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)?;
    check_size("the file", bytes.len() as u64)?;
    Ok(bytes)
}

pub(super) fn check_size(what: &str, bytes: u64) -> Result<(), DemonstrationError> {
    if bytes > SIZE_LIMIT {
        return Err(DemonstrationError::TooLarge { what: what.to_owned(), bytes, limit: SIZE_LIMIT });
    }
    Ok(())
}

/// Little-endian numbers of `N` bytes each.
pub(super) fn numbers<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
}

/// Flags of one byte each, 0 or 1.
pub(super) fn flags(array: &'static str, bytes: &[u8]) -> Result<Vec<bool>, DemonstrationError> {
    bytes
        .iter()
        .map(|byte| match byte {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(DemonstrationError::Format(format!("{array}: {other} is neither 0 nor 1"))),
        })
        .collect()
}

pub(super) fn check_shape(
    array: &'static str,
    actual: &[usize],
    expected: &[usize],
) -> Result<(), DemonstrationError> {
    if actual != expected {
        return Err(DemonstrationError::Shape {
            array,
            expected: format!("{expected:?}"),
            actual: actual.to_vec(),
        });
    }
    Ok(())
}
