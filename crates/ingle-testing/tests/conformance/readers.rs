//! What the fuzz targets call, driven by mutations of good files: no panic, whatever the bytes.
//!
//! `INGLE_MUTATIONS` says how many for each reader, `INGLE_FAULT_SEED` which.

use std::path::Path;

use ingle::random::RandomStream;
use ingle::replay::demonstrations::{Demonstrations, Recording};
use ingle::sac::SacConfig;
use ingle::train::write_record;
use ingle::{LearnerCore, State};
use ingle_testing::readers::{READERS, SPACES};

/// A good file for each reader.
fn good(name: &str) -> Vec<u8> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match name {
        "state" => {
            let core = SacConfig { hidden: vec![2], ..SacConfig::default() }.init(1, 1).unwrap();
            let state = core.init(0, &ingle::device::open("flex").unwrap()).unwrap();
            let path = std::env::temp_dir().join(format!("ingle-good-{}", std::process::id()));
            write_record(&path, &state.save().unwrap()).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            bytes
        }
        "checkpoint" => {
            std::fs::read(crates.join("ingle-train/fixtures/checkpoint-000000000007/manifest.json")).unwrap()
        }
        "demonstrations" => {
            let recording = Recording {
                observation: vec![0.0, 1.0, 2.0, 3.0],
                action: vec![-2.0, 1.0],
                reward: Some(vec![0.5, 1.5]),
                next_observation: vec![2.0, 3.0, 4.0, 5.0],
                terminated: vec![false, false],
                truncated: vec![false, true],
            };
            Demonstrations::new(SPACES, recording).unwrap().to_safetensors().unwrap()
        }
        "imitation" => std::fs::read(crates.join("ingle-replay/fixtures/imitation.npz")).unwrap(),
        _ => b"{\"event\":\"progress\",\"env_steps\":7}\n{\"event\":\"evaluation\",\"env_steps\":8,\"members\":[{\"mean_return\":1.5}]}\n"
            .to_vec(),
    }
}

/// Pieces that parsers stumble over.
const PIECES: [&[u8]; 10] = [
    b"18446744073709551615",
    b"-1",
    b"1e999",
    b"[]",
    b"{}",
    b"null",
    b"\\u0000",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"[9223372036854775807,3]",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

fn mutated(mut bytes: Vec<u8>, random: &mut RandomStream) -> Vec<u8> {
    for _ in 0..=random.index(4) {
        let start = random.index(bytes.len() + 1);
        let end = (start + random.index(16)).min(bytes.len());
        match random.index(6) {
            0 => bytes[start..end].iter_mut().for_each(|byte| *byte = random.index(256) as u8),
            1 => drop(bytes.drain(start..end)),
            2 => bytes.truncate(start),
            3 => {
                let copy = bytes[start..end].to_vec();
                bytes.splice(start..start, copy);
            }
            4 => bytes[start..end].iter_mut().for_each(|byte| *byte ^= 1 << random.index(8)),
            _ => drop(bytes.splice(start..end, PIECES[random.index(PIECES.len())].iter().copied())),
        }
    }
    bytes
}

#[test]
fn no_reader_panics() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, seed): (u64, u64) = (number("INGLE_MUTATIONS", 500), number("INGLE_FAULT_SEED", 1));
    for (index, (name, reader)) in READERS.into_iter().enumerate() {
        let good = good(name);
        // A manifest alone is no checkpoint: its files are missing.
        assert_eq!(reader(&good), name != "checkpoint", "{name}");
        assert!(!reader(b""), "{name}");
        let mut random = RandomStream::new(seed, index as u64);
        let read = (0..count).filter(|_| reader(&mutated(good.clone(), &mut random))).count();
        println!("{name}: {count} mutated files, seed {seed}: {read} read, 0 panics");
    }
}
