//! Bytes of files, and numbers in bytes, a piece at a time.

use std::io::Read;

use super::DemonstrationError;

/// The largest file that is read, and the most that one array may unpack to: 1 GiB.
pub const SIZE_LIMIT: u64 = 1 << 30;

/// How many bytes are taken in at once.
const PIECE: usize = 1 << 16;

pub(super) fn check_size(what: &str, bytes: u64) -> Result<(), DemonstrationError> {
    if bytes > SIZE_LIMIT {
        return Err(DemonstrationError::TooLarge { what: what.to_owned(), bytes, limit: SIZE_LIMIT });
    }
    Ok(())
}

/// The types of floating-point numbers that are read, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F64,
}

impl Float {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Reads `rows` rows of `width` numbers and hands them on as float32, some whole rows at a time.
    pub(super) fn read(
        self,
        input: &mut impl Read,
        rows: usize,
        width: usize,
        mut take: impl FnMut(&[f32]) -> Result<(), DemonstrationError>,
    ) -> Result<(), DemonstrationError> {
        let mut piece = Vec::new();
        in_pieces(input, rows, width * self.size(), |bytes| {
            piece.clear();
            match self {
                Self::F32 => piece.extend(numbers(bytes, f32::from_le_bytes)),
                Self::F64 => piece.extend(numbers(bytes, |bytes| f64::from_le_bytes(bytes) as f32)),
            }
            take(&piece)
        })
    }

    /// Reads `count` numbers, which whoever calls has found to be in the file.
    pub(super) fn read_all(
        self,
        input: &mut impl Read,
        count: usize,
    ) -> Result<Vec<f32>, DemonstrationError> {
        let mut values = Vec::with_capacity(count);
        self.read(input, count, 1, |piece| {
            values.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(values)
    }
}

/// Reads `count` elements of `size` bytes each, as many at once as fit into a piece.
pub(super) fn in_pieces(
    input: &mut impl Read,
    count: usize,
    size: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), DemonstrationError>,
) -> Result<(), DemonstrationError> {
    let at_once = (PIECE / size).max(1);
    let mut buffer = vec![0; count.min(at_once) * size];
    let mut left = count;
    while left > 0 {
        let elements = left.min(at_once);
        let bytes = &mut buffer[..elements * size];
        input.read_exact(bytes)?;
        take(bytes)?;
        left -= elements;
    }
    Ok(())
}

/// Little-endian numbers of `N` bytes each.
pub(super) fn numbers<const N: usize, T>(
    bytes: &[u8],
    number: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = T> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| number(*chunk))
}

/// A flag of one byte, 0 or 1.
pub(super) fn flag(array: &str, byte: u8) -> Result<bool, DemonstrationError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DemonstrationError::Format(format!("{array}: {other} is neither 0 nor 1"))),
    }
}

/// Reads `count` flags of one byte each.
pub(super) fn read_flags(
    array: &str,
    input: &mut impl Read,
    count: usize,
) -> Result<Vec<bool>, DemonstrationError> {
    let mut flags = Vec::with_capacity(count);
    in_pieces(input, count, 1, |bytes| {
        bytes.iter().try_for_each(|&byte| {
            flags.push(flag(array, byte)?);
            Ok(())
        })
    })?;
    Ok(flags)
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
