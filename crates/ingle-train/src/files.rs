//! Files that are whole or not there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::TrainError;

/// Names what the operating system refused.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    let path = path.to_owned();
    |source| TrainError::File { path, source }
}

/// Writes a file whole or not at all: a hidden file beside it, synced, then renamed into place, and that synced too.
///
/// # Errors
/// If the file system refuses; what was there before is then untouched.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hidden = path.with_file_name(format!(".{name}.new"));
    let written = write_synced(&hidden, bytes).and_then(|()| fs::rename(&hidden, path).map_err(at(path)));
    if written.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&hidden);
    }
    written.and_then(|()| sync_parent(path))
}

/// Writes a file and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    File::create(path)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(at(path))
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync_directory(path: &Path) -> Result<(), TrainError> {
    // Elsewhere a directory cannot be opened as a file, and its names need no waiting for.
    if cfg!(unix) { File::open(path).and_then(|file| file.sync_all()).map_err(at(path)) } else { Ok(()) }
}

/// Waits until the name of a file or directory is on the disk.
pub(crate) fn sync_parent(path: &Path) -> Result<(), TrainError> {
    sync_directory(match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    })
}

/// Makes a directory, and those above it, and waits until they are on the disk.
pub(crate) fn make_directory(path: &Path) -> Result<(), TrainError> {
    let missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|part| !part.as_os_str().is_empty() && !part.exists())
        .map(Path::to_owned)
        .collect();
    fs::create_dir_all(path).map_err(at(path))?;
    missing.iter().try_for_each(|part| sync_parent(part))
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// Length and SHA-256 of a file, in hexadecimal, without having it in memory.
pub(crate) fn sha256_of_file(path: &Path) -> Result<(u64, String), TrainError> {
    let mut file = File::open(path).map_err(at(path))?;
    let (mut hash, mut length, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 18]);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((length, format!("{:x}", hash.finalize()))),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(at(path)(error)),
        };
        hash.update(&buffer[..count]);
        length += count as u64;
    }
}

/// Reads a plain file of exactly `length` bytes.
pub(crate) fn read_exactly(path: &Path, length: u64) -> Result<Vec<u8>, TrainError> {
    let actual = plain_file_length(path)?;
    if actual != length {
        let reason = format!("has {actual} bytes, expected {length}");
        return Err(TrainError::Format { path: path.to_owned(), reason });
    }
    let mut bytes = Vec::with_capacity(length as usize);
    // One byte more than there should be, so that a file that grows meanwhile is noticed and not followed.
    let read = File::open(path).and_then(|file| file.take(length.saturating_add(1)).read_to_end(&mut bytes));
    read.map_err(at(path))?;
    Ok(bytes)
}

/// The length of a file that is neither a link nor a device.
pub(crate) fn plain_file_length(path: &Path) -> Result<u64, TrainError> {
    let metadata = fs::symlink_metadata(path).map_err(at(path))?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(TrainError::Format { path: path.to_owned(), reason: "is not a plain file".into() })
    }
}
