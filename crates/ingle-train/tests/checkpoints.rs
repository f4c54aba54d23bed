//! Checkpoints on disk: what is read is what was written, or nothing.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use ingle_core::random::RandomStream;
use ingle_core::{Record, RecordItem};
use ingle_train::{Checkpoints, TrainError};
use sha2::{Digest, Sha256};

mod scratch;
use scratch::Scratch;

/// A small record in which every number tells the step.
fn record(step: u64) -> Record {
    let numbers = |count| vec![step as f32; count];
    let mut stream = RandomStream::new(step, 1);
    stream.index(7);
    Record(
        [
            ("learner/state/actor", RecordItem::Tensor(TensorData::new(numbers(6), [2, 3]))),
            ("learner/updates", RecordItem::Counter(step)),
            ("trainer/acting", RecordItem::Streams(vec![stream.position()])),
            ("trainer/returns", RecordItem::Tensor(TensorData::new(vec![step as f64; 2], [2]))),
            ("trainer/empty", RecordItem::Tensor(TensorData::new(Vec::<u64>::new(), [0]))),
            ("trainer/bytes", RecordItem::Tensor(TensorData::new(vec![step as u8; 5], [5]))),
        ]
        .map(|(name, item)| (name.to_owned(), item))
        .into(),
    )
}

fn checkpoints(directory: &Path, keep: usize) -> Checkpoints {
    Checkpoints::new(directory, "learner = \"sac\"\n", keep)
}

fn save(directory: &Path, keep: usize, step: u64, evaluation: Option<f64>) {
    let mut checkpoints = checkpoints(directory, keep);
    checkpoints.save(step, evaluation, record(step)).unwrap();
    checkpoints.finish().unwrap();
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_read_is_what_was_written() {
    let scratch = Scratch::new();
    save(&scratch.0, 1, 12, Some(-3.5));
    assert_eq!(files(&scratch.0), ["checkpoint-000000000012"]);
    let path = scratch.0.join("checkpoint-000000000012");
    assert_eq!(files(&path), ["learner.safetensors", "manifest.json", "trainer.safetensors"]);
    let read = checkpoints(&scratch.0, 1).read(12).unwrap();
    assert_eq!(read.record, record(12));
    assert_eq!((read.manifest.step, read.manifest.evaluation), (12, Some(-3.5)));
    assert_eq!(read.manifest.configuration, "learner = \"sac\"\n");
    assert_eq!(read.manifest.version, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_last_ones_and_the_best_one_are_kept() {
    let scratch = Scratch::new();
    let evaluations =
        [(10, None), (20, Some(-5.0)), (30, Some(7.0)), (40, Some(f64::NAN)), (50, Some(7.0)), (1000, None)];
    for (step, evaluation) in evaluations {
        save(&scratch.0, 2, step, evaluation);
    }
    assert_eq!(checkpoints(&scratch.0, 2).steps().unwrap(), [30, 50, 1000]);
    let (latest, damaged) = checkpoints(&scratch.0, 2).latest().unwrap();
    assert_eq!((latest.unwrap().record, damaged.len()), (record(1000), 0));
}

#[test]
fn what_a_cut_save_left_is_invisible_and_goes_away() {
    let scratch = Scratch::new();
    save(&scratch.0, 1, 5, None);
    for name in [".checkpoint-000000000006", ".checkpoint-000000000004.removed"] {
        fs::create_dir(scratch.0.join(name)).unwrap();
        fs::write(scratch.0.join(name).join("learner.safetensors"), "half").unwrap();
    }
    for name in ["checkpoint-7", "checkpoint-00000000000x", "checkpoint-+00000000008", "other"] {
        fs::create_dir(scratch.0.join(name)).unwrap();
    }
    assert_eq!(checkpoints(&scratch.0, 1).steps().unwrap(), [5]);
    save(&scratch.0, 1, 6, None);
    assert_eq!(checkpoints(&scratch.0, 1).steps().unwrap(), [6]);
    assert!(files(&scratch.0).iter().all(|name| !name.starts_with('.')), "{:?}", files(&scratch.0));
}

#[test]
fn a_damaged_one_is_passed_over_and_replaced() {
    let scratch = Scratch::new();
    save(&scratch.0, 2, 5, None);
    save(&scratch.0, 2, 6, None);
    let file = scratch.0.join("checkpoint-000000000006/trainer.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (latest, damaged) = checkpoints(&scratch.0, 2).latest().unwrap();
    assert_eq!(latest.unwrap().record, record(5));
    assert!(damaged[0].to_string().contains("trainer.safetensors: is damaged"), "{}", damaged[0]);
    // A good one is never replaced, a damaged one is.
    let before = fs::metadata(scratch.0.join("checkpoint-000000000005")).unwrap().modified().unwrap();
    save(&scratch.0, 2, 5, None);
    assert_eq!(fs::metadata(scratch.0.join("checkpoint-000000000005")).unwrap().modified().unwrap(), before);
    save(&scratch.0, 2, 6, None);
    assert_eq!(checkpoints(&scratch.0, 2).read(6).unwrap().record, record(6));
}

#[test]
fn a_learner_that_is_not_finite_is_not_saved() {
    let scratch = Scratch::new();
    save(&scratch.0, 1, 5, None);
    for value in [f32::NAN, f32::INFINITY] {
        let mut bad = record(6);
        let tensor = RecordItem::Tensor(TensorData::new(vec![0.0, value], [1, 2]));
        bad.0.insert("learner/state/critic".into(), tensor);
        let mut checkpoints = checkpoints(&scratch.0, 1);
        checkpoints.save(6, None, bad).unwrap();
        match checkpoints.finish() {
            Err(TrainError::Diverged { step: 6, items }) => assert_eq!(items, ["learner/state/critic"]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(checkpoints(&scratch.0, 1).latest().unwrap().0.unwrap().record, record(5));
}

#[test]
fn what_cannot_be_written_is_told_and_leaves_the_older_ones() {
    let scratch = Scratch::new();
    let blocked = scratch.0.join("blocked");
    fs::write(&blocked, "a file where the directory should be").unwrap();
    let mut store = checkpoints(&blocked, 1);
    store.save(1, None, record(1)).unwrap();
    assert!(matches!(store.save(2, None, record(2)), Err(TrainError::File { .. })));
    // A scope that is no name for a file.
    save(&scratch.0, 1, 1, None);
    let mut store = checkpoints(&scratch.0, 1);
    let bad = Record([("../escape/x".to_owned(), RecordItem::Counter(1))].into());
    store.save(2, None, bad).unwrap();
    assert!(matches!(store.finish(), Err(TrainError::Format { .. })));
    assert_eq!(checkpoints(&scratch.0, 1).latest().unwrap().0.unwrap().record, record(1));
}

/// Format 1, as version 0.1.0 wrote it: it must be read for ever.
#[test]
fn the_first_format_is_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    if std::env::var_os("INGLE_WRITE_FIXTURES").is_some() {
        save(&fixtures, 1, 7, Some(0.25));
    }
    let read = checkpoints(&fixtures, 1).read(7).unwrap();
    assert_eq!(read.record, record(7));
    assert_eq!((read.manifest.format, read.manifest.evaluation), (1, Some(0.25)));

    let scratch = Scratch::new();
    save(&scratch.0, 1, 7, None);
    let path = scratch.0.join("checkpoint-000000000007/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"format\": 1", "\"format\": 2, \"new\": {}")).unwrap();
    let error = checkpoints(&scratch.0, 1).read(7).unwrap_err().to_string();
    assert!(error.contains("format 2 cannot be read, this version reads 1"), "{error}");
}

/// A checkpoint that can be damaged and repaired.
struct Victim {
    scratch: Scratch,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Victim {
    fn new() -> Self {
        let scratch = Scratch::new();
        save(&scratch.0, 1, 9, Some(1.5));
        let path = scratch.0.join("checkpoint-000000000009");
        let files = files(&path)
            .into_iter()
            .map(|name| (path.join(&name), fs::read(path.join(&name)).unwrap()))
            .collect();
        Self { scratch, files }
    }

    /// Whether the checkpoint is accepted with `bytes` in the place of file `index`.
    fn accepts(&self, index: usize, bytes: &[u8]) -> bool {
        let (path, original) = &self.files[index];
        fs::write(path, bytes).unwrap();
        let accepted = checkpoints(&self.scratch.0, 1).read(9).is_ok();
        fs::write(path, original).unwrap();
        accepted
    }
}

#[test]
fn no_bit_can_be_flipped_and_nothing_cut_off() {
    let victim = Victim::new();
    let accepted = || checkpoints(&victim.scratch.0, 1).read(9).is_ok();
    let (mut bits, mut lengths) = (0, 0);
    for (index, (path, original)) in victim.files.iter().enumerate() {
        let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let mut put = |position: usize, byte: u8| {
            file.seek(SeekFrom::Start(position as u64)).unwrap();
            file.write_all(&[byte]).unwrap();
        };
        for (position, &byte) in original.iter().enumerate() {
            for bit in 0..8 {
                put(position, byte ^ (1 << bit));
                assert!(!accepted(), "{}: byte {position}, bit {bit}", path.display());
                bits += 1;
            }
            put(position, byte);
        }
        assert!(accepted());
        for length in (0..original.len()).rev() {
            file.set_len(length as u64).unwrap();
            assert!(!accepted(), "{}: {length} bytes", path.display());
            lengths += 1;
        }
        assert!(!victim.accepts(index, &[&original[..], b"\n"].concat()));
        assert!(victim.accepts(index, original));
    }
    println!("{bits} single bits and {lengths} lengths: 0 accepted, 0 panics");
}

/// Many changes of other kinds; `INGLE_CORRUPTIONS` says how many, `INGLE_FAULT_SEED` which.
#[test]
fn no_corruption_is_accepted() {
    let (count, seed) = (number("INGLE_CORRUPTIONS", 500), number("INGLE_FAULT_SEED", 1));
    let victim = Victim::new();
    // Files of another checkpoint of the same run, whole and with valid hashes of their own.
    let other = Scratch::new();
    save(&other.0, 1, 10, Some(1.5));
    let other = other.0.join("checkpoint-000000000010");
    let mut random = RandomStream::new(seed, 0);
    let mut tried = 0;
    while tried < count {
        let index = random.index(victim.files.len());
        let (path, original) = &victim.files[index];
        let foreign = fs::read(other.join(path.file_name().unwrap())).unwrap();
        let mut bytes = original.clone();
        for _ in 0..=random.index(3) {
            let start = random.index(bytes.len().max(1));
            let end = (start + random.index(64)).min(bytes.len());
            match random.index(7) {
                0 => bytes[start..end].iter_mut().for_each(|byte| *byte = random.index(256) as u8),
                1 => bytes[start..end].fill(0),
                2 => drop(bytes.drain(start..end)),
                3 => bytes.extend_from_slice(&original[start.min(original.len())..]),
                4 => bytes.clone_from(&foreign),
                5 => {
                    // Spliced: the head of one, the tail of the other.
                    let cut = start.min(foreign.len());
                    bytes.truncate(cut);
                    bytes.extend_from_slice(&foreign[cut..]);
                }
                _ => {
                    let copy = bytes[start..end].to_vec();
                    bytes.splice(start..start, copy);
                }
            }
        }
        if bytes != *original {
            assert!(!victim.accepts(index, &bytes), "seed {seed}, corruption {tried}: {}", path.display());
            tried += 1;
        }
    }
    report("corruptions", count, seed, "accepted");
}

/// Files whose hashes are right, made by somebody who means harm: no panic, and no memory beyond the file's size.
#[test]
fn hostile_files_do_no_harm() {
    let (count, seed) = (number("INGLE_CORRUPTIONS", 500), number("INGLE_FAULT_SEED", 1));
    let victim = Victim::new();
    let index = 0;
    let (path, original) = &victim.files[index];
    let mut random = RandomStream::new(seed, 1);
    let header = u64::from_le_bytes(*original.first_chunk().unwrap()) as usize;
    let pieces: [&[u8]; 12] = [
        b"18446744073709551615",
        b"-1",
        b"1e999",
        b"[]",
        b"{}",
        b"null",
        b"\"F64\"",
        b"\"U8\"",
        b"[9223372036854775807,3]",
        b"[0,18446744073709551615]",
        b"\\u0000",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ];
    let mut read = 0;
    for _ in 0..count {
        let mut bytes = original.clone();
        for _ in 0..=random.index(3) {
            let start = random.index(header + 8);
            let end = (start + random.index(8)).min(bytes.len());
            let piece = pieces[random.index(pieces.len())];
            match random.index(3) {
                0 => drop(bytes.splice(start..end, piece.iter().copied())),
                1 => bytes[start..end].iter_mut().for_each(|byte| *byte = random.index(256) as u8),
                _ => bytes[..8].copy_from_slice(&(random.index(1 << 30) as u64 * 999_999_937).to_le_bytes()),
            }
        }
        // Half of them with a header length that is right again.
        if random.index(2) == 0 && bytes.len() >= 8 {
            let length = (bytes.len() - 8 - (original.len() - 8 - header).min(bytes.len() - 8)) as u64;
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        fs::write(path, &bytes).unwrap();
        reseal(&victim, index, &bytes);
        read += usize::from(checkpoints(&victim.scratch.0, 1).read(9).is_ok());
    }
    let most = peak().map_or("not known here".into(), |bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    println!(
        "{count} hostile files with valid hashes, seed {seed}: 0 panics ({read} could be read), peak memory {most}"
    );
    // A header that claims to be as large as a file could be.
    let mut bytes = original.clone();
    bytes[..8].copy_from_slice(&(90_000_000_u64).to_le_bytes());
    fs::write(path, &bytes).unwrap();
    reseal(&victim, index, &bytes);
    let error = checkpoints(&victim.scratch.0, 1).read(9).unwrap_err().to_string();
    assert!(error.contains("its header has 90000000 bytes"), "{error}");
    assert!(peak().is_none_or(|peak| peak < bytes.len() as u64 + (64 << 20)), "{most} of memory");
}

/// The peak of this process's resident memory in bytes, where Linux tells it: of all tests in here.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(kilobytes.parse::<u64>().ok()? * 1024)
}

/// Writes a manifest that is right for `bytes` in the place of file `index`.
fn reseal(victim: &Victim, index: usize, bytes: &[u8]) {
    let sha256 = |bytes: &[u8]| format!("{:x}", Sha256::digest(bytes));
    let (manifest, original) = &victim.files[1];
    assert!(manifest.ends_with("manifest.json"));
    let mut json: serde_json::Value = serde_json::from_slice(original).unwrap();
    let name = victim.files[index].0.file_name().unwrap().to_str().unwrap();
    let ours = json["checksum"].as_str().unwrap().to_owned();
    let entry = json["files"][name].take();
    let replace = |text: String, key: &str, value: String| {
        let start = text.find(name).unwrap();
        let old = format!("\"{key}\": {}", entry[key]);
        let at = start + text[start..].find(&old).unwrap();
        format!("{}\"{key}\": {value}{}", &text[..at], &text[at + old.len()..])
    };
    let text = String::from_utf8(original.clone()).unwrap();
    let text = replace(text, "length", bytes.len().to_string());
    let text = replace(text, "sha256", format!("\"{}\"", sha256(bytes)));
    let open = text.trim_end().replace(&ours, "");
    fs::write(manifest, text.replace(&ours, &sha256(open.as_bytes()))).unwrap();
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// What was tried, and below which rate the failures are with 95 % confidence, none having been seen.
fn report(what: &str, count: u64, seed: u64, failure: &str) {
    let bound = 1.0 - 0.05_f64.powf(1.0 / count as f64);
    println!("{count} {what}, seed {seed}: 0 {failure}, 0 panics (95 % upper bound {bound:.2e})");
}

#[test]
fn links_and_names_lead_nowhere() {
    let victim = Victim::new();
    let (path, original) = &victim.files[0];
    let outside = victim.scratch.0.join("outside");
    fs::write(&outside, original).unwrap();
    fs::remove_file(path).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, path).unwrap();
        let error = checkpoints(&victim.scratch.0, 1).read(9).unwrap_err().to_string();
        assert!(error.contains("is not a plain file"), "{error}");
    }
}
