//! Checkpoints on disk: directories that are whole or not there, each verified before an older one goes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use burn::tensor::DType;
use ingle_core::{Record, RecordItem};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::files::{
    at, make_directory, plain_file_length, read_exactly, sha256, sha256_of_file, sync_directory, write_synced,
};
use crate::record::{decode, encode};

/// The format of checkpoints; another number is refused.
const FORMAT: u32 = 1;

/// Where they are in the directory of a run.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

const MANIFEST: &str = "manifest.json";
const EXTENSION: &str = ".safetensors";

/// A manifest is a few kilobytes; what is larger is none.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// What a checkpoint is made of: the last file written of it, and the first one read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format of the checkpoint, 1.
    pub format: u32,
    /// The version of the crate that wrote it.
    pub version: String,
    /// Environment steps per member.
    pub step: u64,
    /// The mean return of the best member, if the policy was evaluated at this very step.
    pub evaluation: Option<f64>,
    /// The configuration of the run, as the run wrote it down.
    pub configuration: String,
    /// Length and hash of each file.
    pub files: BTreeMap<String, FileEntry>,
    /// The SHA-256 of the manifest with nothing in this place.
    checksum: String,
}

/// Length and hash of a file of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

/// What manifests of every format have.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Manifest {
    /// The manifest's only spelling.
    fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let text = |checksum| serde_json::to_string_pretty(&Self { checksum, ..self.clone() });
        Ok((text(sha256(text(String::new())?.as_bytes()))? + "\n").into_bytes())
    }

    fn read(path: &Path) -> Result<Self, TrainError> {
        let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
        let length = plain_file_length(path)?;
        if length > MANIFEST_LIMIT {
            return Err(format(format!("has {length} bytes, a manifest has at most {MANIFEST_LIMIT}")));
        }
        let bytes = read_exactly(path, length)?;
        let damaged = |error: serde_json::Error| format(format!("is damaged: {error}"));
        let head: Head = serde_json::from_slice(&bytes).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(format(format!(
                "format {} cannot be read, this version reads {FORMAT}",
                head.format
            )));
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(damaged)?;
        if manifest.to_bytes().map_err(damaged)? != bytes {
            return Err(format("is damaged: its checksum is wrong".into()));
        }
        if let Some(name) = manifest.files.keys().find(|name| !is_file_name(name)) {
            return Err(format(format!("'{name}' is not the name of a file of a checkpoint")));
        }
        Ok(manifest)
    }
}

/// Letters, digits, `-` and `_`, then the extension: nothing that could lead out of the directory.
fn is_file_name(name: &str) -> bool {
    name.strip_suffix(EXTENSION).is_some_and(|stem| {
        (1..=64).contains(&stem.len())
            && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

/// A checkpoint that was read, every byte of it verified.
#[derive(Debug, Clone)]
pub struct SavedCheckpoint {
    /// Where it is from.
    pub manifest: Manifest,
    /// What [`ingle_core::Checkpoint::load_checkpoint`] takes.
    pub record: Record,
}

/// The checkpoints of a run.
///
/// Each is a directory `checkpoint-<step>` with one safetensors file for each of the record's outermost scopes and a
/// `manifest.json`. It is built under a hidden name and renamed when it is on the disk, so that a kill at any moment
/// leaves it whole or invisible. It is written on a thread of its own, at most one at a time, read back and verified;
/// only then do older ones go: all but the last few and the one with the best evaluation.
#[derive(Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    configuration: String,
    keep: usize,
    writer: Option<JoinHandle<Result<(), TrainError>>>,
    waited: Duration,
}

impl Checkpoints {
    /// The checkpoints in `directory`, which is made when the first is saved. New ones carry `configuration`, and
    /// the last `keep` (at least 1) stay, beside the best.
    ///
    /// Only one process may save in a directory: [`RunDirectory`](crate::RunDirectory) sees to that.
    pub fn new(directory: &Path, configuration: &str, keep: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            configuration: configuration.to_owned(),
            keep: keep.max(1),
            writer: None,
            waited: Duration::ZERO,
        }
    }

    /// The checkpoints in the directory of a run, to look at.
    pub fn of_run(run: &Path) -> Self {
        Self::new(&run.join(CHECKPOINTS), "", 1)
    }

    /// Saves `record` as the checkpoint of step `step`, on another thread. Waits first for the one before, if that
    /// is still being written. `evaluation` is the policy's mean return, if it is known at this step.
    ///
    /// # Errors
    /// If the one before could not be written. Whether this one could, the next call or [`Checkpoints::finish`] tells.
    pub fn save(&mut self, step: u64, evaluation: Option<f64>, record: Record) -> Result<(), TrainError> {
        self.finish()?;
        let job = Job {
            directory: self.directory.clone(),
            keep: self.keep,
            manifest: Manifest {
                format: FORMAT,
                version: env!("CARGO_PKG_VERSION").into(),
                step,
                evaluation: evaluation.filter(|value| value.is_finite()),
                configuration: self.configuration.clone(),
                files: BTreeMap::new(),
                checksum: String::new(),
            },
        };
        let writer = std::thread::Builder::new().name("checkpoint".into()).spawn(move || job.run(record));
        self.writer = Some(writer.map_err(at(&self.directory))?);
        Ok(())
    }

    /// Waits until the last checkpoint is on the disk and verified.
    ///
    /// # Errors
    /// If it could not be written; the older ones are then as they were.
    pub fn finish(&mut self) -> Result<(), TrainError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let start = Instant::now();
        let result = writer.join().unwrap_or_else(|_| {
            let source = std::io::Error::other("the thread that wrote a checkpoint panicked");
            Err(TrainError::File { path: self.directory.clone(), source })
        });
        self.waited += start.elapsed();
        result
    }

    /// For how long saving has kept its callers waiting so far: what training lost, beside copying the state.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The steps of the checkpoints that are there, the oldest first.
    ///
    /// # Errors
    /// If the directory cannot be read; one that is not there has none.
    pub fn steps(&self) -> Result<Vec<u64>, TrainError> {
        steps(&self.directory)
    }

    /// Reads a checkpoint. Every length and hash is checked before anything of a file is looked at.
    ///
    /// # Errors
    /// If it is not there, damaged, or of another format.
    pub fn read(&self, step: u64) -> Result<SavedCheckpoint, TrainError> {
        let path = self.directory.join(name(step));
        let manifest = read_manifest(&path, step)?;
        let mut record = Record::default();
        for (file, entry) in &manifest.files {
            let scope = file.trim_end_matches(EXTENSION);
            let items = read_scope(&path.join(file), entry)?.0.into_iter();
            record.0.extend(items.map(|(name, item)| (format!("{scope}/{name}"), item)));
        }
        Ok(SavedCheckpoint { manifest, record })
    }

    /// Reads one outermost scope of a checkpoint, and nothing of the others: a replay may be large.
    pub(crate) fn read_scope(&self, step: u64, scope: &str) -> Result<(Manifest, Record), TrainError> {
        let path = self.directory.join(name(step));
        let manifest = read_manifest(&path, step)?;
        let file = format!("{scope}{EXTENSION}");
        match manifest.files.get(&file) {
            Some(entry) => {
                let record = read_scope(&path.join(file), entry)?;
                Ok((manifest, record))
            }
            None => Err(TrainError::Format { path, reason: format!("has no {file}") }),
        }
    }

    /// The newest checkpoint that is whole, if there is any, and why each newer one is not.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn latest(&self) -> Result<(Option<SavedCheckpoint>, Vec<TrainError>), TrainError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            match self.read(step) {
                Ok(checkpoint) => return Ok((Some(checkpoint), damaged)),
                Err(error) => damaged.push(error),
            }
        }
        Ok((None, damaged))
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(%error, "the last checkpoint was not written");
        }
    }
}

fn name(step: u64) -> String {
    format!("checkpoint-{step:012}")
}

/// The steps of the checkpoints in `directory`, the oldest first. Hidden names are none of them.
fn steps(directory: &Path) -> Result<Vec<u64>, TrainError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory)(error)),
    };
    let mut steps = Vec::new();
    for entry in entries {
        let entry = entry.map_err(at(directory))?;
        let own = entry.file_name();
        let step = own.to_str().and_then(|own| own.strip_prefix("checkpoint-")?.parse().ok());
        steps.extend(step.filter(|step| own == *name(*step)));
    }
    steps.sort_unstable();
    Ok(steps)
}

fn read_manifest(path: &Path, step: u64) -> Result<Manifest, TrainError> {
    let manifest = Manifest::read(&path.join(MANIFEST))?;
    if manifest.step != step {
        let reason = format!("is the checkpoint of step {}", manifest.step);
        return Err(TrainError::Format { path: path.to_owned(), reason });
    }
    Ok(manifest)
}

/// What is in one file of a checkpoint.
fn read_scope(path: &Path, entry: &FileEntry) -> Result<Record, TrainError> {
    let bytes = read_exactly(path, entry.length)?;
    if sha256(&bytes) != entry.sha256 {
        return Err(wrong_hash(path));
    }
    decode(path, &bytes)
}

fn wrong_hash(path: &Path) -> TrainError {
    TrainError::Format { path: path.to_owned(), reason: "is damaged: its hash is not the manifest's".into() }
}

/// Reads a checkpoint's files once more and compares lengths and hashes.
fn verify(path: &Path, step: u64) -> Result<(), TrainError> {
    for (file, entry) in &read_manifest(path, step)?.files {
        let path = path.join(file);
        if sha256_of_file(&path)? != (entry.length, entry.sha256.clone()) {
            return Err(wrong_hash(&path));
        }
    }
    Ok(())
}

/// One save, on its own thread.
struct Job {
    directory: PathBuf,
    keep: usize,
    manifest: Manifest,
}

impl Job {
    fn run(self, record: Record) -> Result<(), TrainError> {
        let Self { directory, keep, manifest } = self;
        let step = manifest.step;
        check_finite(step, &record)?;
        make_directory(&directory)?;
        remove_leftovers(&directory)?;
        let path = directory.join(name(step));
        // A whole checkpoint of this step is of this run, and as good. One that is damaged makes way.
        if path.exists() {
            if verify(&path, step).is_ok() {
                return Ok(());
            }
            remove(&directory, step)?;
        }
        let hidden = directory.join(format!(".{}", name(step)));
        let written = write(&hidden, manifest, record)
            .and_then(|()| fs::rename(&hidden, &path).map_err(at(&path)))
            .and_then(|()| sync_directory(&directory));
        if written.is_err() {
            // The error that matters is the first one.
            let _ = fs::remove_dir_all(&hidden);
        }
        written?;
        verify(&path, step)?;
        prune(&directory, step, keep)
    }
}

/// A policy that is not a number anywhere is no state to go on from.
fn check_finite(step: u64, record: &Record) -> Result<(), TrainError> {
    let items = not_finite(record);
    if items.is_empty() { Ok(()) } else { Err(TrainError::Diverged { step, items }) }
}

/// The items of a learner that hold a number that is not finite.
pub(crate) fn not_finite(record: &Record) -> Vec<String> {
    let finite = |item: &RecordItem| match item {
        RecordItem::Tensor(data) => match data.dtype() {
            DType::F32 => {
                data.as_slice::<f32>().is_ok_and(|values| values.iter().all(|value| value.is_finite()))
            }
            DType::F64 => {
                data.as_slice::<f64>().is_ok_and(|values| values.iter().all(|value| value.is_finite()))
            }
            _ => true,
        },
        _ => true,
    };
    let learner = record.0.iter().filter(|(name, _)| name.starts_with("learner/"));
    learner.filter(|(_, item)| !finite(item)).map(|(name, _)| name.clone()).collect()
}

/// Writes all files of a checkpoint, the manifest last, and waits until they are on the disk.
fn write(hidden: &Path, mut manifest: Manifest, record: Record) -> Result<(), TrainError> {
    fs::create_dir(hidden).map_err(at(hidden))?;
    let mut scopes = BTreeMap::<String, Record>::new();
    for (path, item) in record.0 {
        let (scope, name) = path.split_once('/').unwrap_or(("rest", &path));
        scopes.entry(scope.to_owned()).or_default().0.insert(name.to_owned(), item);
    }
    for (scope, record) in scopes {
        let file = format!("{scope}{EXTENSION}");
        let path = hidden.join(&file);
        if !is_file_name(&file) {
            let reason = "cannot be the name of a file of a checkpoint".into();
            return Err(TrainError::Format { path, reason });
        }
        let bytes = encode(&path, &record)?;
        // What has been turned into bytes is not needed twice.
        drop(record);
        write_synced(&path, &bytes)?;
        manifest.files.insert(file, FileEntry { length: bytes.len() as u64, sha256: sha256(&bytes) });
    }
    let path = hidden.join(MANIFEST);
    let bytes = manifest
        .to_bytes()
        .map_err(|error| TrainError::Format { path: path.clone(), reason: error.to_string() })?;
    write_synced(&path, &bytes)?;
    sync_directory(hidden)
}

/// Removes what a save or a removal that was cut short left behind.
fn remove_leftovers(directory: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        if entry.file_name().to_string_lossy().starts_with(".checkpoint-") {
            fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
        }
    }
    Ok(())
}

/// Removes all checkpoints up to `newest` but the last `keep` and the one with the best evaluation.
fn prune(directory: &Path, newest: u64, keep: usize) -> Result<(), TrainError> {
    let mut steps = steps(directory)?;
    steps.retain(|step| *step <= newest);
    let evaluation = |step: u64| read_manifest(&directory.join(name(step)), step).ok()?.evaluation;
    let best = steps.iter().filter_map(|&step| Some((step, evaluation(step)?)));
    // Of equally good ones the older: it is there already.
    let best = best.reduce(|best, other| if other.1 > best.1 { other } else { best });
    for &step in &steps[..steps.len().saturating_sub(keep)] {
        if best.is_none_or(|(best, _)| best != step) {
            remove(directory, step)?;
        }
    }
    Ok(())
}

/// Makes a checkpoint invisible, then removes it.
fn remove(directory: &Path, step: u64) -> Result<(), TrainError> {
    let (path, hidden) = (directory.join(name(step)), directory.join(format!(".{}.removed", name(step))));
    fs::rename(&path, &hidden).map_err(at(&path))?;
    sync_directory(directory)?;
    fs::remove_dir_all(&hidden).map_err(at(&hidden))
}
