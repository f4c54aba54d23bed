//! Every reader of files as a function of bytes: what the fuzz targets and the mutation test call.
//!
//! Whatever the bytes are, a reader refuses them with an error or reads them; it does not panic, and takes no more memory than
//! the bytes are worth. What it has read must keep the reader's promises, which these functions check.

use std::fs;
use std::path::{Path, PathBuf};

use ingle::replay::demonstrations::{Demonstrations, ReadOptions, Spaces, Terminal};
use ingle::train::{Checkpoints, RunStatus, read_record, write_record};

/// The spaces of the demonstrations that are read.
pub const SPACES: Spaces<'_> = Spaces { observation: 2, action_low: &[-2.0], action_high: &[2.0] };

/// A reader, by the name of its fuzz target.
pub type Reader = fn(&[u8]) -> bool;

/// All of them. Each tells whether it read the bytes.
pub const READERS: [(&str, Reader); 5] = [
    ("state", state),
    ("checkpoint", checkpoint),
    ("demonstrations", demonstrations),
    ("imitation", imitation),
    ("run", run),
];

/// A state file ([`read_record`]). What was read is written as the same state again.
///
/// # Panics
/// If the reader panics, or what it read does not come back.
pub fn state(bytes: &[u8]) -> bool {
    let directory = Directory::new("state");
    let path = directory.file("state.safetensors", bytes);
    let Ok(record) = read_record(&path) else { return false };
    write_record(&path, &record).expect("a state that was read can be written");
    assert_eq!(read_record(&path).expect("a state that was written can be read"), record);
    true
}

/// The manifest of a checkpoint without files ([`Checkpoints::read`]).
///
/// # Panics
/// If the reader panics, or reads a checkpoint of another step.
pub fn checkpoint(bytes: &[u8]) -> bool {
    let directory = Directory::new("checkpoint");
    fs::create_dir_all(directory.0.join("checkpoint-000000000007")).expect("a directory");
    directory.file("checkpoint-000000000007/manifest.json", bytes);
    let Ok(read) = Checkpoints::new(&directory.0, "", 1).read(7) else { return false };
    assert_eq!(read.manifest.step, 7);
    true
}

/// A file of demonstrations in the flat layout.
///
/// # Panics
/// If the reader panics, or what it read is out of its bounds.
pub fn demonstrations(bytes: &[u8]) -> bool {
    let Ok(read) = Demonstrations::from_bytes(bytes, SPACES) else { return false };
    in_bounds(&read);
    true
}

/// A `.npz` of Python's `imitation`.
///
/// # Panics
/// If the reader panics, or what it read is out of its bounds.
pub fn imitation(bytes: &[u8]) -> bool {
    let options = ReadOptions { terminal: Some(Terminal::Terminated), ..SPACES.into() };
    let Ok(read) = Demonstrations::from_bytes(bytes, options) else { return false };
    in_bounds(&read);
    true
}

fn in_bounds(read: &Demonstrations) {
    assert_ne!(read.len(), 0);
    assert!(read.canonical_actions().iter().all(|action| (-1.0..=1.0).contains(action)));
}

/// The metrics of a run that somebody looks at from outside ([`RunStatus::read`]).
///
/// # Panics
/// If the reader panics, or refuses a file that it can open.
pub fn run(bytes: &[u8]) -> bool {
    let directory = Directory::new("run");
    directory.file("config.toml", b"");
    directory.file("metrics.jsonl", bytes);
    directory.file("stopped.txt", b"a reason");
    let status = RunStatus::read(&directory.0).expect("a run is there").expect("a run is there");
    status.env_steps > 0
}

/// A directory of this thread's own, in memory where there is some, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "-");
        let path = parent.join(format!("ingle-{name}-{}-{thread}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
