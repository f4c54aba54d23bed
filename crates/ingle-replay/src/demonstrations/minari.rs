//! Datasets of Minari 0.5 in HDF5.
//!
//! A dataset is a folder with `data/main_data.hdf5` and `data/metadata.json`. The HDF5 file has a group `episode_N` for
//! each episode, with `observations` (T + 1 rows: the last is the one the episode ended in), `actions`, `rewards`,
//! `terminations` and `truncations` (T rows each); `infos` are not read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use hdf5_pure::{DType, Dataset, File, Group};
use serde_json::Value;

use super::episodes::Episodes;
use super::file::{check_size, flag};
use super::{Bounds, DemonstrationError, Demonstrations, Origin, ReadOptions, Sizes};

const MAIN: &str = "main_data.hdf5";
const METADATA: &str = "metadata.json";

/// The largest `metadata.json` that is read.
const METADATA_LIMIT: u64 = 1 << 20;

/// The largest chunk that is unpacked, and about how much of an array is read at once.
const CHUNK_LIMIT: u64 = 16 << 20;
const PIECE: u64 = 1 << 20;

/// DEFLATE makes at most this many bytes of one; the other filters make fewer.
const LARGEST_RATIO: u64 = 1032;
/// HDF5's numbers of DEFLATE, shuffling, checksums and LZF.
const FILTERS: [u16; 4] = [1, 2, 3, 32_000];

/// Reads a dataset's folder.
pub(super) fn read_directory(
    path: &Path,
    options: ReadOptions<'_>,
) -> Result<Demonstrations, DemonstrationError> {
    let data = path.join("data");
    let folder = if data.is_dir() { data.as_path() } else { path };
    let file = folder.join(MAIN);
    let metadata = Metadata::read(folder)?;
    if file.is_file() {
        return read_with(|| File::open_streaming(&file), &metadata, options)
            .map_err(|error| error.at(&file));
    }
    Err(DemonstrationError::Format(match metadata.text("data_format").as_deref() {
        Some("arrow") => format!(
            "a dataset of Minari in its Arrow format, which is not read: make it anew with data_format=\"hdf5\", \
             or save it as an HDF5 file {MAIN}"
        ),
        _ => format!("a folder without data/{MAIN} is no dataset of Minari"),
    }))
}

/// Reads the HDF5 file of a dataset, with the metadata beside it if they are there.
pub(super) fn read_file(path: &Path, options: ReadOptions<'_>) -> Result<Demonstrations, DemonstrationError> {
    let metadata = Metadata::read(path.parent().unwrap_or(Path::new(".")))?;
    read_with(|| File::open_streaming(path), &metadata, options)
}

/// Reads the bytes of an HDF5 file.
pub(super) fn read_bytes(
    bytes: &[u8],
    options: ReadOptions<'_>,
) -> Result<Demonstrations, DemonstrationError> {
    read_with(|| File::from_bytes(bytes.to_vec()), &Metadata::default(), options)
}

/// The library answers damage with errors; should it panic, that is an error too.
fn read_with(
    open: impl FnOnce() -> Result<File, hdf5_pure::Error>,
    metadata: &Metadata,
    options: ReadOptions<'_>,
) -> Result<Demonstrations, DemonstrationError> {
    let read = || Hdf5 { file: open().map_err(damaged)?, stored: 0, unpacked: 0 }.read(metadata, options);
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(DemonstrationError::Format("the HDF5 file is damaged: its reader gave up".into()))
    })
}

fn damaged(error: impl std::fmt::Display) -> DemonstrationError {
    DemonstrationError::Format(format!("the HDF5 file is damaged: {error}"))
}

/// What `metadata.json` says.
#[derive(Default)]
struct Metadata(Value);

impl Metadata {
    /// Those in a folder, or none.
    fn read(folder: &Path) -> Result<Self, DemonstrationError> {
        let path = folder.join(METADATA);
        let read = || {
            let length = std::fs::metadata(&path)?.len();
            if length > METADATA_LIMIT {
                return Err(DemonstrationError::TooLarge {
                    what: METADATA.into(),
                    bytes: length,
                    limit: METADATA_LIMIT,
                });
            }
            serde_json::from_slice(&std::fs::read(&path)?)
                .map(Self)
                .map_err(|error| DemonstrationError::Format(error.to_string()))
        };
        if path.is_file() { read().map_err(|error| error.at(&path)) } else { Ok(Self::default()) }
    }

    fn text(&self, key: &str) -> Option<String> {
        let value = self.0.get(key)?;
        value.as_str().map(str::to_owned)
    }

    /// JSON in a text of the JSON. Python writes numbers into it that JSON does not have.
    fn inner(&self, key: &str) -> Option<Value> {
        let text = self.text(key)?.replace("-Infinity", "null").replace("Infinity", "null");
        serde_json::from_str(&text.replace("NaN", "null")).ok()
    }

    /// A space, which must be a box.
    fn space(&self, key: &str) -> Result<Option<Value>, DemonstrationError> {
        let Some(space) = self.inner(key) else { return Ok(None) };
        match space["type"].as_str() {
            Some("Box") => Ok(Some(space)),
            other => Err(DemonstrationError::Format(format!(
                "{key}: {} spaces are not read, only Box",
                other.unwrap_or("unnamed")
            ))),
        }
    }

    /// The bounds of actions, if they are finite numbers.
    fn bounds(&self) -> Result<Option<Bounds>, DemonstrationError> {
        let Some(space) = self.space("action_space")? else { return Ok(None) };
        let side = |key: &str| {
            let mut values = Vec::new();
            flatten(&space[key], &mut values).then_some(values)
        };
        Ok(side("low").zip(side("high")))
    }

    fn origin(&self) -> Origin {
        let environment = self.inner("env_spec").and_then(|spec| Some(spec["id"].as_str()?.to_owned()));
        let source = [("dataset_id", "Minari "), ("algorithm_name", "policy "), ("code_permalink", "code ")];
        let source: Vec<String> = source
            .into_iter()
            .filter_map(|(key, what)| self.text(key).map(|text| format!("{what}{text}")))
            .collect();
        Origin {
            environment,
            source: (!source.is_empty()).then(|| source.join(", ")),
            licence: self.text("license").or_else(|| self.text("licence")),
        }
    }
}

/// The numbers in a list of lists; false if there is something else in it.
fn flatten(value: &Value, numbers: &mut Vec<f32>) -> bool {
    match value {
        Value::Array(values) => values.iter().all(|value| flatten(value, numbers)),
        Value::Number(number) => {
            numbers.extend(number.as_f64().map(|number| number as f32));
            true
        }
        _ => false,
    }
}

struct Hdf5 {
    file: File,
    /// Bytes of the arrays so far that are stored as they are: the file can hold so many and no more.
    stored: u64,
    /// Bytes of all arrays so far, as they are unpacked.
    unpacked: u64,
}

impl Hdf5 {
    fn read(
        mut self,
        metadata: &Metadata,
        options: ReadOptions<'_>,
    ) -> Result<Demonstrations, DemonstrationError> {
        let (size, claimed) = (self.file.file_size(), self.file.superblock().eof_address);
        check_size("the file", size)?;
        if claimed > size {
            return Err(damaged(format!("{size} bytes are there, its header says {claimed}")));
        }
        metadata.space("observation_space")?;
        let bounds = metadata.bounds()?;
        let mut groups: Vec<(u64, String, Group)> = self
            .file
            .root()
            .iter_groups()
            .map_err(damaged)?
            .filter_map(|(name, group)| Some((name.strip_prefix("episode_")?.parse().ok()?, name, group)))
            .collect();
        groups.sort_by_key(|(number, ..)| *number);
        let (_, name, first) = groups.first().ok_or(DemonstrationError::Empty)?;
        let observation = width(first, "observations").map_err(|error| error.of_episode(name))?;
        let sizes = Sizes::settle(options, observation, bounds.as_ref())?;
        let (o, a) = (sizes.observation, sizes.action());

        // First everything is looked at: then the memory that it takes is known, and that the file is large enough.
        let mut steps = 0;
        for (_, name, group) in &groups {
            let own = self.look_at(group, o as u64, a as u64).map_err(|error| error.of_episode(name))?;
            steps += own as usize;
        }
        let mut episodes = Episodes { reward: Some(Vec::with_capacity(steps)), ..Episodes::default() };
        episodes.observation.reserve_exact((steps + groups.len()) * o);
        episodes.action.reserve_exact(steps * a);
        for (_, name, group) in &groups {
            read_into(&mut episodes, group, o, a).map_err(|error| error.of_episode(name))?;
        }
        Demonstrations::checked(sizes, episodes, metadata.origin())
    }

    /// Checks types, shapes and sizes of an episode's arrays, and counts its steps.
    fn look_at(&mut self, group: &Group, o: u64, a: u64) -> Result<u64, DemonstrationError> {
        let steps = rows(&dataset(group, "terminations")?)?;
        if steps == 0 {
            return Err(DemonstrationError::Empty);
        }
        let arrays = [
            ("observations", steps.saturating_add(1), o, true),
            ("actions", steps, a, true),
            ("rewards", steps, 1, true),
            ("terminations", steps, 1, false),
            ("truncations", steps, 1, false),
        ];
        for (name, rows, width, float) in arrays {
            let dataset = dataset(group, name)?;
            let shape = dataset.shape().map_err(damaged)?;
            let per_row = shape.iter().skip(1).try_fold(1_u64, |product, &size| product.checked_mul(size));
            if shape.first() != Some(&rows) || per_row != Some(width) {
                return Err(DemonstrationError::Shape {
                    array: name,
                    expected: if width == 1 { format!("[{rows}]") } else { format!("[{rows}, {width}]") },
                    actual: shape.iter().map(|&size| size as usize).collect(),
                });
            }
            self.check(name, &dataset, rows.checked_mul(width), float)?;
        }
        Ok(steps)
    }

    /// Checks an array's type, and that the file is large enough for it.
    fn check(
        &mut self,
        name: &'static str,
        dataset: &Dataset,
        elements: Option<u64>,
        float: bool,
    ) -> Result<(), DemonstrationError> {
        let element = dataset.dtype().map_err(damaged)?;
        let size = match (&element, float) {
            (DType::F32, true) => 4,
            (DType::F64, true) => 8,
            (DType::Enum(_) | DType::U8 | DType::I8, false)
                if dataset.element_size().map_err(damaged)? == 1 =>
            {
                1
            }
            _ => {
                return Err(DemonstrationError::ElementType {
                    array: name,
                    expected: if float { "f32 or f64" } else { "bool" },
                    actual: element.to_string(),
                });
            }
        };
        let filters = dataset.filters();
        if let Some(filter) = filters.iter().find(|filter| !FILTERS.contains(filter)) {
            return Err(DemonstrationError::Format(format!(
                "{name}: packed by HDF5's filter {filter}; gzip, shuffle, fletcher32 and lzf are read"
            )));
        }
        let chunk = dataset.chunk_shape().map_err(damaged)?.unwrap_or_default();
        let chunk = chunk.iter().try_fold(size, |product: u64, &size| product.checked_mul(size));
        if chunk.is_none_or(|bytes| bytes > CHUNK_LIMIT) {
            return Err(DemonstrationError::TooLarge {
                what: format!("a chunk of {name}"),
                bytes: chunk.unwrap_or(u64::MAX),
                limit: CHUNK_LIMIT,
            });
        }
        let bytes = elements.and_then(|elements| elements.checked_mul(size)).unwrap_or(u64::MAX);
        self.unpacked = self.unpacked.saturating_add(bytes);
        if filters.is_empty() {
            self.stored = self.stored.saturating_add(bytes);
        }
        check_size("what the file unpacks to", self.unpacked)?;
        let file = self.file.file_size();
        if self.stored > file || self.unpacked > file.saturating_mul(LARGEST_RATIO) {
            return Err(damaged(format!("{name}: a file of {file} bytes cannot hold it")));
        }
        Ok(())
    }
}

/// Appends an episode that was looked at.
fn read_into(episodes: &mut Episodes, group: &Group, o: usize, a: usize) -> Result<(), DemonstrationError> {
    floats(&dataset(group, "observations")?, o, &mut episodes.observation)?;
    floats(&dataset(group, "actions")?, a, &mut episodes.action)?;
    floats(&dataset(group, "rewards")?, 1, episodes.reward.get_or_insert_default())?;
    let (terminated, steps) = ends(group, "terminations")?;
    let (truncated, _) = ends(group, "truncations")?;
    episodes.ends.push(episodes.len() + steps);
    episodes.terminated.push(terminated);
    // An episode that was not played to its end breaks off where its recording does: a truncation.
    episodes.truncated.push(truncated || !terminated);
    Ok(())
}

/// Whether the last flag is set, and how many there are. The others must not be set.
fn ends(group: &Group, name: &'static str) -> Result<(bool, usize), DemonstrationError> {
    let flags = dataset(group, name)?.read_u8().map_err(damaged)?;
    let mut ended = false;
    for (row, &byte) in flags.iter().enumerate() {
        ended = flag(name, byte)?;
        if ended && row + 1 < flags.len() {
            let reason = format!("{name}: set at row {row}, before the last of {} rows", flags.len());
            return Err(DemonstrationError::Format(reason));
        }
    }
    Ok((ended, flags.len()))
}

/// The numbers of an array, appended; of its chunks as many at once as fit into a piece.
fn floats(dataset: &Dataset, width: usize, values: &mut Vec<f32>) -> Result<(), DemonstrationError> {
    let rows = rows(dataset)?;
    let chunk = dataset.chunk_shape().map_err(damaged)?;
    let chunk = chunk.and_then(|shape| shape.first().copied()).unwrap_or(1).max(1);
    let at_once = (PIECE / 4 / width as u64).max(1).next_multiple_of(chunk);
    let (before, mut start) = (values.len(), 0);
    while start < rows {
        values.extend_from_slice(&dataset.read_f32_rows(start, at_once).map_err(damaged)?);
        start += at_once;
    }
    let (read, expected) = (values.len() - before, rows as usize * width);
    if read != expected {
        return Err(damaged(format!("{read} numbers of {expected}")));
    }
    Ok(())
}

/// An array of an episode.
fn dataset(group: &Group, name: &'static str) -> Result<Dataset, DemonstrationError> {
    group.dataset(name).map_err(|_| {
        // A dictionary or a tuple of arrays is a group of them.
        if group.group(name).is_ok() {
            DemonstrationError::Format(format!(
                "{name}: a dictionary or tuple of arrays; only Box spaces are read: flatten them first"
            ))
        } else {
            DemonstrationError::Missing(name)
        }
    })
}

fn rows(dataset: &Dataset) -> Result<u64, DemonstrationError> {
    Ok(dataset.shape().map_err(damaged)?.first().copied().unwrap_or(0))
}

/// The numbers of a row; the axes after the first are one.
fn width(group: &Group, name: &'static str) -> Result<usize, DemonstrationError> {
    let shape = dataset(group, name)?.shape().map_err(damaged)?;
    let width = shape.iter().skip(1).try_fold(1_u64, |product, &size| product.checked_mul(size));
    usize::try_from(width.unwrap_or(u64::MAX)).map_err(damaged)
}
