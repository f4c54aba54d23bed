//! How much memory reading takes: at most the file's size and 64 MB, the process itself included.
//!
//! Each file is read in a process of its own, whose peak Linux keeps.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ingle_replay::demonstrations::{Demonstrations, ReadOptions, Recording, Spaces, Terminal};

const FILE: &str = "INGLE_MEMORY_FILE";
const ALLOWED: u64 = 64 << 20;

const STEPS: usize = 1000;
const EPISODES: usize = 800;
const ROWS: usize = STEPS * EPISODES;
const O: usize = 17;
const A: usize = 6;
const LOW: &[f32] = &[-1.0; A];
const HIGH: &[f32] = &[1.0; A];

/// The peak of this process's resident memory, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn observations(rows: usize) -> Vec<f32> {
    (0..rows * O).map(|index| index as f32).collect()
}

/// Observations and their successors, in one long episode.
fn flat(path: &Path) {
    let all = observations(ROWS + 1);
    let mut truncated = vec![false; ROWS];
    truncated[ROWS - 1] = true;
    let recording = Recording {
        observation: all[..ROWS * O].to_vec(),
        action: vec![0.5; ROWS * A],
        reward: Some(vec![1.0; ROWS]),
        next_observation: all[O..].to_vec(),
        terminated: vec![false; ROWS],
        truncated,
    };
    let spaces = Spaces { observation: O, action_low: LOW, action_high: HIGH };
    let demonstrations = Demonstrations::new(spaces, recording).unwrap();
    std::fs::write(path, demonstrations.to_safetensors().unwrap()).unwrap();
}

fn imitation(path: &Path) {
    let array = |element: &str, shape: &str, elements: Vec<u8>| {
        let header = format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(elements);
        bytes
    };
    let floats = |values: Vec<f32>| values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>();
    let begins = (1..EPISODES).flat_map(|episode| ((episode * STEPS) as u64).to_le_bytes()).collect();
    let mut archive = rawzip::ZipArchiveWriter::new(std::fs::File::create(path).unwrap());
    for (name, content) in [
        ("obs", array("<f4", &format!("({}, {O})", ROWS + EPISODES), floats(observations(ROWS + EPISODES)))),
        ("acts", array("<f4", &format!("({ROWS}, {A})"), floats(vec![0.5; ROWS * A]))),
        ("rews", array("<f4", &format!("({ROWS},)"), floats(vec![1.0; ROWS]))),
        ("terminal", array("|b1", &format!("({EPISODES},)"), vec![1; EPISODES])),
        ("indices", array("<i8", &format!("({},)", EPISODES - 1), begins)),
    ] {
        let store = rawzip::CompressionMethod::STORE;
        let (mut entry, config) =
            archive.new_file(format!("{name}.npy")).compression_method(store).start().unwrap();
        let mut writer = config.wrap(&mut entry);
        std::io::Write::write_all(&mut writer, &content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
}

fn minari(path: &Path) {
    let mut builder = hdf5_pure::FileBuilder::new();
    let (observation, action) = (observations(STEPS + 1), vec![0.5_f32; STEPS * A]);
    let mut truncated = vec![0; STEPS];
    truncated[STEPS - 1] = 1;
    for episode in 0..EPISODES {
        let mut group = builder.create_group(&format!("episode_{episode}"));
        let shape = |rows: usize, width: usize| [rows as u64, width as u64];
        group.create_dataset("observations").with_f32_data(&observation).with_shape(&shape(STEPS + 1, O));
        group.create_dataset("actions").with_f32_data(&action).with_shape(&shape(STEPS, A));
        group.create_dataset("rewards").with_f64_data(&[1.0; STEPS]).with_shape(&[STEPS as u64]);
        group.create_dataset("terminations").with_u8_data(&[0; STEPS]).with_shape(&[STEPS as u64]);
        group.create_dataset("truncations").with_u8_data(&truncated).with_shape(&[STEPS as u64]);
        builder.add_group(group.finish());
    }
    std::fs::write(path, builder.finish().unwrap()).unwrap();
}

#[test]
fn reading_takes_no_more_memory_than_the_file_and_64_mb() {
    if let Some(path) = std::env::var_os(FILE) {
        // The process that reads.
        let options = ReadOptions {
            action_bounds: Some((LOW, HIGH)),
            terminal: Some(Terminal::Truncated),
            ..ReadOptions::default()
        };
        let demonstrations = Demonstrations::read(&PathBuf::from(path), options).unwrap();
        assert_eq!((demonstrations.len(), demonstrations.observation_size()), (ROWS, O));
        println!("peak {} bytes", peak());
        return;
    }
    let directory = std::env::temp_dir().join(format!("ingle-memory-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let files = ["flat.safetensors", "imitation.npz", "main_data.hdf5"];
    for name in files {
        let path = directory.join(name);
        match name {
            "flat.safetensors" => flat(&path),
            "imitation.npz" => imitation(&path),
            _ => minari(&path),
        }
        let size = std::fs::metadata(&path).unwrap().len();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let peak = text.lines().find_map(|line| line.split_once("peak ")?.1.strip_suffix(" bytes")).unwrap();
        let peak: u64 = peak.parse().unwrap();
        println!("{name}: {:.1} MB, read with a peak of {:.1} MB", size as f64 / 1e6, peak as f64 / 1e6);
        assert!(peak <= size + ALLOWED, "{name}: {size} bytes, peak {peak}");
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
