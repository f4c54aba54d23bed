//! Records as safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use ingle_core::random::StreamPosition;
use ingle_core::{Record, RecordItem};
use safetensors::tensor::{Dtype, View};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::files::{plain_file_length, read_exactly, write_atomically};

/// The format of [`write_record`]'s files; another number is refused.
const FORMAT: u32 = 1;

/// The key of the file's metadata that holds everything that is not a tensor.
const REST: &str = "ingle";

/// The largest header that is read.
const HEADER_LIMIT: u64 = 8 << 20;

/// The element types of tensors and numbers, here and in a file.
const TYPES: [(DType, Dtype); 4] =
    [(DType::F32, Dtype::F32), (DType::F64, Dtype::F64), (DType::U64, Dtype::U64), (DType::U8, Dtype::U8)];

/// What a state has besides tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    format: u32,
    counters: BTreeMap<String, u64>,
    streams: BTreeMap<String, Vec<StreamPosition>>,
}

/// Writes a saved state as one safetensors file, atomically. Counters and random streams are in its metadata.
///
/// # Errors
/// If a tensor has a type that the format cannot hold, or the file system refuses.
pub fn write_record(path: &Path, record: &Record) -> Result<(), TrainError> {
    write_atomically(path, &encode(path, record)?)
}

/// Reads a state that [`write_record`] wrote.
///
/// # Errors
/// If the file is missing, damaged, or of another format.
pub fn read_record(path: &Path) -> Result<Record, TrainError> {
    decode(path, &read_exactly(path, plain_file_length(path)?)?)
}

/// A record as the bytes of a safetensors file; `path` is where they are to go.
pub(crate) fn encode(path: &Path, record: &Record) -> Result<Vec<u8>, TrainError> {
    let mut tensors = Vec::new();
    let mut rest = Rest { format: FORMAT, counters: BTreeMap::new(), streams: BTreeMap::new() };
    for (name, item) in &record.0 {
        match item {
            RecordItem::Tensor(data) => tensors.push((name.as_str(), Stored::new(path, name, data)?)),
            RecordItem::Counter(count) => {
                rest.counters.insert(name.clone(), *count);
            }
            RecordItem::Streams(positions) => {
                rest.streams.insert(name.clone(), positions.clone());
            }
        }
    }
    let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
    let rest = serde_json::to_string(&rest).map_err(|error| format(error.to_string()))?;
    let metadata = HashMap::from([(REST.to_owned(), rest)]);
    safetensors::serialize(tensors, Some(metadata)).map_err(|error| format(error.to_string()))
}

/// The record in the bytes of a safetensors file; `path` is where they are from.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Record, TrainError> {
    let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
    let damaged = |error: safetensors::SafeTensorError| format(format!("not a readable state: {error}"));
    // The header is parsed into far more memory than it takes up; ours has a few hundred bytes an item.
    let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
    if length > HEADER_LIMIT {
        return Err(format(format!("its header has {length} bytes, at most {HEADER_LIMIT} are read")));
    }
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = safetensors::SafeTensors::deserialize(bytes).map_err(damaged)?;
    let rest = header
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(REST))
        .ok_or_else(|| format("not a state of ingle: its metadata is missing".into()))?;
    let rest: Rest = serde_json::from_str(rest).map_err(|error| format(error.to_string()))?;
    if rest.format != FORMAT {
        return Err(format(format!("format {} cannot be read, this version reads {FORMAT}", rest.format)));
    }
    let mut record = Record::default();
    for (name, view) in file.iter() {
        let Some((dtype, _)) = TYPES.into_iter().find(|(_, stored)| *stored == view.dtype()) else {
            return Err(format(format!("{name}: elements of type {:?} are not supported", view.dtype())));
        };
        let data = TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
            .map_err(|error| format(format!("{name}: {error}")))?;
        record.0.insert(name.to_owned(), RecordItem::Tensor(data));
    }
    record.0.extend(rest.counters.into_iter().map(|(name, count)| (name, RecordItem::Counter(count))));
    record.0.extend(rest.streams.into_iter().map(|(name, streams)| (name, RecordItem::Streams(streams))));
    Ok(record)
}

/// A tensor on its way into a file.
struct Stored<'a> {
    dtype: Dtype,
    data: &'a TensorData,
}

impl<'a> Stored<'a> {
    fn new(path: &Path, name: &str, data: &'a TensorData) -> Result<Self, TrainError> {
        let Some((_, dtype)) = TYPES.into_iter().find(|(dtype, _)| *dtype == data.dtype()) else {
            let reason = format!("{name}: elements of type {:?} cannot be written", data.dtype());
            return Err(TrainError::Format { path: path.to_owned(), reason });
        };
        Ok(Self { dtype, data })
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.data.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.data.as_bytes())
    }

    fn data_len(&self) -> usize {
        self.data.as_bytes().len()
    }
}
