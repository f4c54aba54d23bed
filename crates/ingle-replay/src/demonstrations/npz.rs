//! The `.npz` layout of Python's `imitation`: a zip archive of NumPy's arrays, unpacked a piece at a time.

use std::io::{Error as IoError, ErrorKind, Read, Seek};

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder};

use super::episodes::Episodes;
use super::file::{Float, check_shape, check_size, in_pieces, numbers, read_flags};
use super::{DemonstrationError, Demonstrations, Origin, ReadOptions, Sizes, Terminal};

/// The longest header of an array that is read.
const HEADER_LIMIT: usize = 1 << 16;

pub(super) fn read(
    input: impl Read + Seek,
    options: ReadOptions<'_>,
) -> Result<Demonstrations, DemonstrationError> {
    let terminal = options.terminal.ok_or(DemonstrationError::Terminal)?;
    let archive = ZipArchive::from_seekable(input, &mut buffer()).map_err(damaged)?;
    let find = |name| find(&archive, name);
    let entry = |name| find(name)?.ok_or(DemonstrationError::Missing(name));

    let mut ended = Array::open(&archive, "terminal", entry("terminal")?)?;
    let trajectories = ended.shape.first().copied().unwrap_or(0);
    let ended = ended.flags(&[trajectories])?;
    if trajectories == 0 {
        return Err(DemonstrationError::Empty);
    }
    let begins = Array::open(&archive, "indices", entry("indices")?)?.integers(&[trajectories - 1])?;

    let mut action = Array::open(&archive, "acts", entry("acts")?)?;
    let mut observation = Array::open(&archive, "obs", entry("obs")?)?;
    let sizes = Sizes::settle(options, observation.width(), None)?;
    let rows = action.shape.first().copied().unwrap_or(0);
    let mut episodes = Episodes { action: action.floats(rows, sizes.action())?, ..Episodes::default() };
    drop(action);
    // Every trajectory has one observation more than it has actions.
    episodes.observation = observation.floats(rows.saturating_add(trajectories), sizes.observation)?;
    drop(observation);
    if let Some(entry) = find("rews")? {
        episodes.reward = Some(Array::open(&archive, "rews", entry)?.floats(rows, 1)?);
    }

    let mut begin = 0;
    for (trajectory, &ended) in ended.iter().enumerate() {
        let end = begins.get(trajectory).copied().unwrap_or(rows);
        if end <= begin || end > rows {
            return Err(DemonstrationError::Indices { trajectory, begin, end, rows });
        }
        let terminated = ended
            && match terminal {
                Terminal::Terminated => true,
                Terminal::Truncated => false,
                Terminal::TimeLimit(limit) => end - begin < limit,
            };
        episodes.ends.push(end);
        episodes.terminated.push(terminated);
        episodes.truncated.push(!terminated);
        begin = end;
    }
    Demonstrations::checked(sizes, episodes, Origin::default())
}

fn damaged(error: impl std::fmt::Display) -> DemonstrationError {
    DemonstrationError::Format(error.to_string())
}

/// What a name and its entry have to fit into.
fn buffer() -> Vec<u8> {
    vec![0; rawzip::RECOMMENDED_BUFFER_SIZE]
}

/// The entry of an array, if the archive has it.
fn find(
    archive: &ZipArchive<impl ReaderAt>,
    name: &str,
) -> Result<Option<(CompressionMethod, ZipArchiveEntryWayfinder)>, DemonstrationError> {
    let mut buffer = buffer();
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        if entry.file_path().as_bytes().strip_suffix(b".npy") == Some(name.as_bytes()) {
            return Ok(Some((entry.compression_method(), entry.wayfinder())));
        }
    }
    Ok(None)
}

/// One of NumPy's arrays: its header, and a reader that stands at its first element.
struct Array<'a> {
    name: &'static str,
    element: String,
    shape: Vec<usize>,
    input: Box<dyn Read + 'a>,
    /// The bytes of the elements, by the size of the entry.
    bytes: u64,
}

/// DEFLATE makes at most this many bytes of one.
const LARGEST_RATIO: u64 = 1032;

impl<'a> Array<'a> {
    fn open<R: ReaderAt>(
        archive: &'a ZipArchive<R>,
        name: &'static str,
        (method, wayfinder): (CompressionMethod, ZipArchiveEntryWayfinder),
    ) -> Result<Self, DemonstrationError> {
        let entry = archive.get_entry(wayfinder).map_err(damaged)?;
        let (begin, end) = entry.compressed_data_range();
        if end > archive.end_offset() {
            return Err(DemonstrationError::Format(format!("{name}: the archive is damaged")));
        }
        let reader = entry.reader();
        let size = reader.claim_verifier().uncompressed_size;
        check_size(name, size)?;
        let (ratio, input): (_, Box<dyn Read + 'a>) = match method {
            CompressionMethod::STORE => (1, Box::new(entry.verifying_reader(reader))),
            CompressionMethod::DEFLATE => {
                (LARGEST_RATIO, Box::new(entry.verifying_reader(Inflate::new(reader))))
            }
            other => {
                let reason = format!(
                    "{name}: packed by method {}, stored and deflated entries are read",
                    other.as_u16()
                );
                return Err(DemonstrationError::Format(reason));
            }
        };
        // A size that the data cannot unpack to takes no memory.
        if size > (end - begin).saturating_mul(ratio) {
            return Err(DemonstrationError::Format(format!("{name}: the archive is damaged")));
        }
        Self::parse(name, input, size)
    }

    /// The format is NumPy's: a magic string, two version bytes, the length of the header, the header (a Python
    /// dictionary), the elements.
    fn parse(
        name: &'static str,
        mut input: Box<dyn Read + 'a>,
        size: u64,
    ) -> Result<Self, DemonstrationError> {
        let malformed = |what: &str| DemonstrationError::Format(format!("{name}: {what}"));
        let mut read = |bytes: &mut [u8], what: &str| input.read_exact(bytes).map_err(|_| malformed(what));
        let mut magic = [0; 8];
        read(&mut magic, "not an array of NumPy")?;
        let Some([version, _]) = magic.strip_prefix(b"\x93NUMPY") else {
            return Err(malformed("not an array of NumPy"));
        };
        let (mut length, cut) = ([0; 4], "the header is cut off");
        let before = match version {
            1 => 2,
            2 | 3 => 4,
            _ => return Err(malformed("an unknown version of NumPy's format")),
        };
        read(&mut length[..before], cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > HEADER_LIMIT {
            return Err(malformed(cut));
        }
        let mut header = vec![0; length];
        read(&mut header, cut)?;
        let bytes = size.checked_sub((8 + before + length) as u64).ok_or_else(|| malformed(cut))?;
        let header = std::str::from_utf8(&header).map_err(|_| malformed("the header is not text"))?;
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
        Ok(Self { name, element, shape, input, bytes })
    }

    /// The numbers of a row; the axes after the first are one.
    fn width(&self) -> usize {
        self.shape.iter().skip(1).fold(1, |product: usize, &size| product.saturating_mul(size))
    }

    /// The elements as `rows` rows of `width` numbers.
    fn floats(&mut self, rows: usize, width: usize) -> Result<Vec<f32>, DemonstrationError> {
        if self.shape.first() != Some(&rows) || self.width() != width {
            return Err(DemonstrationError::Shape {
                array: self.name,
                expected: format!("[{rows}, {width}]"),
                actual: self.shape.clone(),
            });
        }
        let float = match self.element.trim_start_matches(['<', '=']) {
            "f4" => Float::F32,
            "f8" => Float::F64,
            _ => return Err(self.other_type("float32 or float64, little-endian")),
        };
        let count = self.count(float.size())?;
        float.read_all(&mut self.input, count).map_err(|error| self.cut(&error))
    }

    fn integers(&mut self, shape: &[usize]) -> Result<Vec<usize>, DemonstrationError> {
        check_shape(self.name, &self.shape, shape)?;
        // What is negative or too large is no row of any file.
        let row = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        let size = match self.element.trim_start_matches(['<', '=']) {
            "i8" | "u8" => 8,
            "i4" => 4,
            _ => return Err(self.other_type("int64 or int32, little-endian")),
        };
        let mut integers = Vec::with_capacity(self.count(size)?);
        let read = in_pieces(&mut self.input, integers.capacity(), size, |bytes| {
            match size {
                8 => integers.extend(numbers(bytes, |bytes| row(i64::from_le_bytes(bytes)))),
                _ => integers.extend(numbers(bytes, |bytes| row(i32::from_le_bytes(bytes).into()))),
            }
            Ok(())
        });
        read.map_err(|error| self.cut(&error))?;
        Ok(integers)
    }

    fn flags(&mut self, shape: &[usize]) -> Result<Vec<bool>, DemonstrationError> {
        check_shape(self.name, &self.shape, shape)?;
        if self.element != "|b1" {
            return Err(self.other_type("bool"));
        }
        let count = self.count(1)?;
        read_flags(self.name, &mut self.input, count)
    }

    /// The number of elements, if there are as many as the shape says.
    fn count(&self, size: usize) -> Result<usize, DemonstrationError> {
        let Self { name, shape, bytes, .. } = self;
        let count = shape.iter().try_fold(1, |product: usize, &size| product.checked_mul(size));
        match count {
            Some(count) if (count as u64).checked_mul(size as u64) == Some(*bytes) => Ok(count),
            _ => {
                let reason = format!("{name}: {bytes} bytes are not an array of shape {shape:?}");
                Err(DemonstrationError::Format(reason))
            }
        }
    }

    fn cut(&self, error: &DemonstrationError) -> DemonstrationError {
        DemonstrationError::Format(format!("{}: the archive is damaged: {error}", self.name))
    }

    fn other_type(&self, expected: &'static str) -> DemonstrationError {
        DemonstrationError::ElementType { array: self.name, expected, actual: self.element.clone() }
    }
}

/// Unpacks DEFLATE on the way.
struct Inflate<R> {
    input: R,
    packed: Box<[u8]>,
    /// The part of `packed` that is yet to be unpacked.
    rest: std::ops::Range<usize>,
    state: Box<InflateState>,
    ended: bool,
}

impl<R: Read> Inflate<R> {
    fn new(input: R) -> Self {
        let state = Box::new(InflateState::new(DataFormat::Raw));
        Self { input, packed: vec![0; 1 << 15].into(), rest: 0..0, state, ended: false }
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        while !self.ended && !bytes.is_empty() {
            if self.rest.is_empty() {
                self.rest = 0..self.input.read(&mut self.packed)?;
            }
            let input = &self.packed[self.rest.clone()];
            let result = inflate(&mut self.state, input, bytes, MZFlush::None);
            self.rest.start += result.bytes_consumed;
            match result.status {
                Ok(status) => self.ended = status == MZStatus::StreamEnd,
                Err(error) => {
                    return Err(IoError::new(ErrorKind::InvalidData, format!("{error:?}")));
                }
            }
            if result.bytes_written > 0 {
                return Ok(result.bytes_written);
            }
        }
        Ok(0)
    }
}
