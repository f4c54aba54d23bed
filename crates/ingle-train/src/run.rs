//! What a run leaves on disk.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use ingle_core::random::StreamPosition;
use ingle_core::{Record, RecordItem};
use safetensors::tensor::{Dtype, View};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The format of [`write_record`]'s files; another number is refused.
const FORMAT: u32 = 1;

/// The key of the file's metadata that holds everything that is not a tensor.
const REST: &str = "ingle";

/// What a state has besides tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    format: u32,
    counters: BTreeMap<String, u64>,
    streams: BTreeMap<String, Vec<StreamPosition>>,
}

/// Writes a file whole or not at all: a hidden file beside it, synced, then renamed into place.
///
/// # Errors
/// If the file system refuses; what was there before is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let failed = |source| TrainError::File { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = File::create(&hidden)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&hidden, path));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&hidden);
    }
    written.map_err(failed)
}

/// Writes a saved state as one safetensors file, atomically. Counters and random streams are in its metadata.
///
/// # Errors
/// If a tensor has a type that the format cannot hold, or the file system refuses.
pub fn write_record(path: &Path, record: &Record) -> Result<(), TrainError> {
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
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| format(error.to_string()))?;
    write_atomically(path, &bytes)
}

/// Reads a state that [`write_record`] wrote.
///
/// # Errors
/// If the file is missing, damaged, or of another format.
pub fn read_record(path: &Path) -> Result<Record, TrainError> {
    let bytes = fs::read(path).map_err(|source| TrainError::File { path: path.to_owned(), source })?;
    let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
    let damaged = |error: safetensors::SafeTensorError| format(format!("not a readable state: {error}"));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(damaged)?;
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
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F64 => DType::F64,
            other => return Err(format(format!("{name}: elements of type {other:?} are not supported"))),
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
        let dtype = match data.dtype() {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            other => {
                let reason = format!("{name}: elements of type {other:?} cannot be written");
                return Err(TrainError::Format { path: path.to_owned(), reason });
            }
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
