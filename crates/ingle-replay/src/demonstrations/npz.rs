//! The `.npz` layout of Python's `imitation`: a zip archive of NumPy's arrays.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use rawzip::{CompressionMethod, ZipArchive, ZipSliceArchive, crc32};

use super::file::{check_shape, check_size, flags, numbers};
use super::{DemonstrationError, Recording, Spaces, Terminal};

pub(super) fn read(
    bytes: &[u8],
    spaces: Spaces<'_>,
    terminal: Terminal,
) -> Result<Recording, DemonstrationError> {
    let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
    let array = |name| Array::read(&archive, name)?.ok_or(DemonstrationError::Missing(name));
    let ended = array("terminal")?;
    let trajectories = ended.shape.first().copied().unwrap_or(0);
    let ended = ended.flags(&[trajectories])?;
    if trajectories == 0 {
        return Err(DemonstrationError::Empty);
    }
    let begins = array("indices")?.integers(&[trajectories - 1])?;
    let action = array("acts")?;
    let rows = action.shape.first().copied().unwrap_or(0);
    let action = action.floats(rows, spaces.action())?;
    // Every trajectory has one observation more than it has actions.
    let observations = array("obs")?.floats(rows + trajectories, spaces.observation)?;
    let reward = match Array::read(&archive, "rews")? {
        Some(rewards) => Some(rewards.floats(rows, 1)?),
        None => None,
    };

    let o = spaces.observation;
    let (mut observation, mut next_observation) =
        (Vec::with_capacity(rows * o), Vec::with_capacity(rows * o));
    let (mut terminated, mut truncated) = (vec![false; rows], vec![false; rows]);
    let mut begin = 0;
    for (trajectory, &ended) in ended.iter().enumerate() {
        let end = begins.get(trajectory).copied().unwrap_or(rows);
        if end <= begin || end > rows {
            return Err(DemonstrationError::Indices { trajectory, begin, end, rows });
        }
        let (first, last) = (begin + trajectory, end + trajectory);
        observation.extend_from_slice(&observations[first * o..last * o]);
        next_observation.extend_from_slice(&observations[(first + 1) * o..(last + 1) * o]);
        let is_termination = ended
            && match terminal {
                Terminal::Terminated => true,
                Terminal::Truncated => false,
                Terminal::TimeLimit(limit) => end - begin < limit,
            };
        (terminated[end - 1], truncated[end - 1]) = (is_termination, !is_termination);
        begin = end;
    }
    Ok(Recording { observation, action, reward, next_observation, terminated, truncated })
}

fn damaged(error: impl std::fmt::Display) -> DemonstrationError {
    DemonstrationError::Format(error.to_string())
}

/// One of NumPy's arrays.
struct Array {
    name: &'static str,
    element: String,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// The array of that name, if the archive has it.
    fn read(
        archive: &ZipSliceArchive<&[u8]>,
        name: &'static str,
    ) -> Result<Option<Self>, DemonstrationError> {
        let mut entries = archive.entries();
        while let Some(entry) = entries.next_entry().map_err(damaged)? {
            if entry.file_path().as_bytes().strip_suffix(b".npy") != Some(name.as_bytes()) {
                continue;
            }
            let content = archive.get_entry(entry.wayfinder()).map_err(damaged)?;
            let bytes = unpack(name, entry.compression_method(), content.data(), content.claim_verifier())?;
            return Self::parse(name, &bytes).map(Some);
        }
        Ok(None)
    }

    /// The format is NumPy's: a magic string, two version bytes, the length of the header, the header (a Python
    /// dictionary), the elements.
    fn parse(name: &'static str, bytes: &[u8]) -> Result<Self, DemonstrationError> {
        let malformed = |what: &str| DemonstrationError::Format(format!("{name}: {what}"));
        let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(|| malformed("not an array of NumPy"))?;
        let (length, rest) = match rest {
            [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
            _ => return Err(malformed("an unknown version of NumPy's format")),
        };
        let (header, data) =
            rest.split_at_checked(length).ok_or_else(|| malformed("the header is cut off"))?;
        let header = std::str::from_utf8(header).map_err(|_| malformed("the header is not text"))?;
        let value = |key: &str| {
            let after = header.split_once(&format!("'{key}':"));
            after
                .map(|(_, after)| after.trim_start())
                .ok_or_else(|| malformed(&format!("no {key} in its header")))
        };
        let element = value("descr")?.strip_prefix('\'').and_then(|text| text.split_once('\''));
        let element = element.map_or_else(|| "a record".into(), |(element, _)| element.to_owned());
        let shape = value("shape")?
            .strip_prefix('(')
            .and_then(|text| text.split_once(')'))
            .and_then(|(text, _)| {
                let sizes = text.split(',').map(str::trim).filter(|size| !size.is_empty());
                sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()
            })
            .ok_or_else(|| malformed("no shape in its header"))?;
        let in_columns = value("fortran_order")?.starts_with("True");
        // The order of rows and columns is the same if there is only one of them.
        if in_columns && shape.iter().filter(|&&size| size > 1).count() > 1 {
            return Err(malformed("it is in Fortran's order; save it with numpy.ascontiguousarray"));
        }
        Ok(Self { name, element, shape, bytes: data.to_vec() })
    }

    /// The elements as `rows` rows of `width` numbers; the axes after the first are one.
    fn floats(self, rows: usize, width: usize) -> Result<Vec<f32>, DemonstrationError> {
        let per_row = self.shape.iter().skip(1).try_fold(1_usize, |product, &size| product.checked_mul(size));
        if self.shape.first() != Some(&rows) || per_row != Some(width) {
            return Err(DemonstrationError::Shape {
                array: self.name,
                expected: format!("[{rows}, {width}]"),
                actual: self.shape,
            });
        }
        match self.element.trim_start_matches(['<', '=']) {
            "f4" => Ok(numbers(self.elements(4)?, f32::from_le_bytes)),
            "f8" => Ok(numbers(self.elements(8)?, |bytes| f64::from_le_bytes(bytes) as f32)),
            _ => Err(self.other_type("float32 or float64, little-endian")),
        }
    }

    fn integers(self, shape: &[usize]) -> Result<Vec<usize>, DemonstrationError> {
        check_shape(self.name, &self.shape, shape)?;
        // What is negative or too large is no row of any file.
        let row = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        match self.element.trim_start_matches(['<', '=']) {
            "i8" | "u8" => Ok(numbers(self.elements(8)?, |bytes| row(i64::from_le_bytes(bytes)))),
            "i4" => Ok(numbers(self.elements(4)?, |bytes| row(i32::from_le_bytes(bytes).into()))),
            _ => Err(self.other_type("int64 or int32, little-endian")),
        }
    }

    fn flags(self, shape: &[usize]) -> Result<Vec<bool>, DemonstrationError> {
        check_shape(self.name, &self.shape, shape)?;
        if self.element != "|b1" {
            return Err(self.other_type("bool"));
        }
        flags(self.name, self.elements(1)?)
    }

    /// The bytes, if there are as many as the shape says.
    fn elements(&self, size: usize) -> Result<&[u8], DemonstrationError> {
        let expected = self.shape.iter().try_fold(size, |product, &size| product.checked_mul(size));
        if expected != Some(self.bytes.len()) {
            let Self { name, shape, bytes, .. } = self;
            let reason = format!("{name}: {} bytes are not an array of shape {shape:?}", bytes.len());
            return Err(DemonstrationError::Format(reason));
        }
        Ok(&self.bytes)
    }

    fn other_type(self, expected: &'static str) -> DemonstrationError {
        DemonstrationError::ElementType { array: self.name, expected, actual: self.element }
    }
}

/// DEFLATE makes at most this many bytes of one.
const LARGEST_RATIO: u64 = 1032;

/// The content of an entry, checked against its size and checksum.
fn unpack(
    name: &str,
    method: CompressionMethod,
    data: &[u8],
    claim: rawzip::ZipVerification,
) -> Result<Vec<u8>, DemonstrationError> {
    let size = claim.uncompressed_size;
    check_size(name, size)?;
    let damaged = || DemonstrationError::Format(format!("{name}: the archive is damaged"));
    let content = match method {
        CompressionMethod::STORE => data.to_vec(),
        CompressionMethod::DEFLATE => {
            // A size that the data cannot unpack to takes no memory.
            if size > LARGEST_RATIO * data.len() as u64 {
                return Err(damaged());
            }
            let mut content = vec![0; size as usize];
            let mut decompressor = Box::<DecompressorOxide>::default();
            let (status, _, written) = decompress(
                &mut decompressor,
                data,
                &mut content,
                0,
                TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
            );
            if status != TINFLStatus::Done || written != content.len() {
                return Err(damaged());
            }
            content
        }
        other => {
            let reason =
                format!("{name}: packed by method {}, stored and deflated entries are read", other.as_u16());
            return Err(DemonstrationError::Format(reason));
        }
    };
    if content.len() as u64 != size || crc32(&content) != claim.crc {
        return Err(damaged());
    }
    Ok(content)
}
