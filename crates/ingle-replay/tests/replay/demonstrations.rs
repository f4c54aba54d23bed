//! Demonstrations: files that are read as they should be, and files that are refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use ingle_core::{Checkpoint, Error, Keys, Sampler};
use ingle_replay::demonstrations::{
    DemonstrationConfig, DemonstrationError, Demonstrations, Origin, ReadOptions, Recording, SIZE_LIMIT,
    Spaces, Terminal,
};
use ingle_replay::{ReplayConfig, Rows, UniformReplay, WithDemonstrations};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};

use crate::values;

const PENDULUM: Spaces<'_> = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
/// Those of `imitation.npz` and of [`recording`].
const SMALL: Spaces<'_> = Spaces { observation: 2, action_low: &[-2.0], action_high: &[2.0] };

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demonstrations/pendulum.safetensors")
}

fn imitation() -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/imitation.npz")).unwrap()
}

/// What `imitation.npz` holds: trajectories of 3 and 2 steps.
fn recording() -> Recording {
    Recording {
        observation: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 9.0, 10.0, 11.0],
        action: vec![-2.0, -1.0, 0.0, 1.0, 2.0],
        reward: Some(vec![0.5, 1.5, 2.5, 3.5, 4.5]),
        next_observation: vec![2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0, 12.0, 13.0],
        terminated: vec![false, false, true, false, false],
        truncated: vec![false, false, false, false, true],
    }
}

/// How the small `.npz` is read.
fn npz(terminal: Terminal) -> ReadOptions<'static> {
    ReadOptions { terminal: Some(terminal), ..SMALL.into() }
}

fn small() -> Demonstrations {
    Demonstrations::new(SMALL, recording()).unwrap()
}

#[test]
fn the_shipped_episodes_are_56_of_200_steps_cut_by_their_time_limit() {
    let demonstrations = Demonstrations::read(&shipped(), PENDULUM).unwrap();
    assert_eq!((demonstrations.len(), demonstrations.trajectories().len()), (56 * 200, 56));
    let mut returns = Vec::new();
    for trajectory in demonstrations.trajectories() {
        assert_eq!((trajectory.len(), trajectory.observation.len()), (200, 600));
        assert!(trajectory.truncated && !trajectory.terminated);
        returns.push(trajectory.reward.unwrap().iter().map(|&reward| f64::from(reward)).sum::<f64>());
    }
    let mean = returns.iter().sum::<f64>() / 56.0;
    assert!((mean + 189.4).abs() < 0.1, "mean return {mean}");
}

/// Pendulum-v1's own step, in float64, from the recorded observations: the recording is of that environment, its rows
/// are in order, and its actions are torques, not canonical numbers.
#[test]
fn the_shipped_episodes_obey_the_dynamics() {
    let demonstrations = Demonstrations::read(&shipped(), PENDULUM).unwrap();
    for trajectory in demonstrations.trajectories() {
        let rows = trajectory.observation.chunks_exact(3).zip(trajectory.next_observation.chunks_exact(3));
        for ((observation, next), &torque) in rows.zip(trajectory.action) {
            let [cos, sin, speed] = [observation[0], observation[1], observation[2]].map(f64::from);
            let speed = (speed + (15.0 * sin + 3.0 * f64::from(torque)) * 0.05).clamp(-8.0, 8.0);
            let angle = sin.atan2(cos) + speed * 0.05;
            for (actual, expected) in next.iter().zip([angle.cos(), angle.sin(), speed]) {
                assert!((f64::from(*actual) - expected).abs() < 5e-6, "{actual} {expected}");
            }
        }
    }
}

#[test]
fn imitations_layout_is_read_and_the_flag_means_what_it_is_said_to() {
    let read = |terminal| Demonstrations::from_bytes(&imitation(), npz(terminal)).unwrap();
    // The second trajectory has no flag: a fragment, truncated whatever the flag means.
    assert_eq!(read(Terminal::Terminated), small());
    assert_eq!(read(Terminal::TimeLimit(4)), small());
    let all_cut = Recording {
        terminated: vec![false; 5],
        truncated: vec![false, false, true, false, true],
        ..recording()
    };
    let all_cut = Demonstrations::new(SMALL, all_cut).unwrap();
    assert_eq!(read(Terminal::Truncated), all_cut);
    assert_eq!(read(Terminal::TimeLimit(3)), all_cut);
}

#[test]
fn what_is_written_reads_back() {
    let bytes = small().to_safetensors().unwrap();
    assert_eq!(Demonstrations::from_bytes(&bytes, SMALL).unwrap(), small());
    let without = Recording { reward: None, ..recording() };
    let without = Demonstrations::new(SMALL, without).unwrap();
    let bytes = without.to_safetensors().unwrap();
    assert_eq!(Demonstrations::from_bytes(&bytes, SMALL).unwrap(), without);
}

type Arrays = BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>;

fn bytes<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
    values.into_iter().flatten().collect()
}

/// The arrays of [`recording`], in float64.
fn arrays() -> Arrays {
    let floats = |values: Vec<f32>| bytes(values.into_iter().map(|value| f64::from(value).to_le_bytes()));
    let flags = |values: Vec<bool>| values.into_iter().map(u8::from).collect();
    let Recording { observation, action, reward, next_observation, terminated, truncated } = recording();
    BTreeMap::from([
        ("observation", (Dtype::F64, vec![5, 2], floats(observation))),
        ("action", (Dtype::F64, vec![5, 1], floats(action))),
        ("reward", (Dtype::F64, vec![5], floats(reward.unwrap()))),
        ("next_observation", (Dtype::F64, vec![5, 2], floats(next_observation))),
        ("terminated", (Dtype::U8, vec![5], flags(terminated))),
        ("truncated", (Dtype::U8, vec![5], flags(truncated))),
    ])
}

fn safetensors_of(arrays: &Arrays) -> Vec<u8> {
    let views = arrays
        .iter()
        .map(|(name, (dtype, shape, bytes))| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn refusal(change: impl FnOnce(&mut Arrays)) -> String {
    let mut arrays = arrays();
    change(&mut arrays);
    Demonstrations::from_bytes(&safetensors_of(&arrays), SMALL).unwrap_err().to_string()
}

#[test]
fn other_arrays_than_the_layouts_are_refused() {
    let read = Demonstrations::from_bytes(&safetensors_of(&arrays()), SMALL).unwrap();
    assert_eq!(read, small(), "float64 is read as float32");
    assert_eq!(refusal(|arrays| drop(arrays.remove("action"))), "there is no array `action`");
    assert_eq!(refusal(|arrays| drop(arrays.remove("terminated"))), "there is no array `terminated`");
    let unknown = refusal(|arrays| {
        let reward = arrays.remove("reward").unwrap();
        arrays.insert("rewards", reward);
    });
    assert!(unknown.starts_with("unknown array `rewards`"), "{unknown}");
    assert_eq!(
        refusal(|arrays| arrays.get_mut("observation").unwrap().1 = vec![2, 5]),
        "observation: expected [5, 2], got [2, 5]"
    );
    assert_eq!(
        refusal(|arrays| arrays.get_mut("reward").unwrap().0 = Dtype::I64),
        "reward: elements of type I64, expected F32 or F64"
    );
    assert_eq!(
        refusal(|arrays| arrays.get_mut("truncated").unwrap().2[1] = 2),
        "not readable: truncated: 2 is neither 0 nor 1"
    );
    let empty = refusal(|arrays| {
        for (_, shape, bytes) in arrays.values_mut() {
            shape[0] = 0;
            bytes.clear();
        }
    });
    assert_eq!(empty, "there are no steps");
    // The environment's sizes decide, not the file's.
    let other = Spaces { observation: 3, ..SMALL };
    let error = Demonstrations::from_bytes(&safetensors_of(&arrays()), other).unwrap_err();
    assert_eq!(error.to_string(), "observation: expected [5, 3], got [5, 2]");
    let other = Spaces { action_low: &[-2.0, -2.0], action_high: &[2.0, 2.0], ..SMALL };
    let error = Demonstrations::from_bytes(&safetensors_of(&arrays()), other).unwrap_err();
    assert_eq!(error.to_string(), "action: expected [5, 2], got [5, 1]");
}

#[test]
fn bad_rows_are_refused_by_trajectory_and_row() {
    let refusal = |change: &dyn Fn(&mut Recording)| {
        let mut recording = recording();
        change(&mut recording);
        Demonstrations::new(SMALL, recording).unwrap_err().to_string()
    };
    for (change, message) in [
        (
            &(|recording: &mut Recording| recording.observation[7] = f32::NAN) as &dyn Fn(&mut Recording),
            "trajectory 1, row 0, observation, element 1: NaN is not finite",
        ),
        (
            &|recording| recording.next_observation[8] = f32::INFINITY,
            "trajectory 1, row 1, next_observation, element 0: inf is not finite",
        ),
        (
            &|recording| recording.reward.as_mut().unwrap()[2] = f32::NEG_INFINITY,
            "trajectory 0, row 2, reward, element 0: -inf is not finite",
        ),
        (
            &|recording| recording.action[1] = f32::NAN,
            "trajectory 0, row 1, action, element 0: NaN is not finite",
        ),
        (
            &|recording| recording.action[4] = 2.000_001,
            "trajectory 1, row 1, action, element 0: 2.000001 is outside [-2, 2]",
        ),
        (
            &|recording| recording.next_observation[2] = 4.5,
            "trajectory 0, row 1: its next_observation is not the next row's observation; \
             if the recording breaks off there, mark the row as truncated",
        ),
        (
            &|recording| recording.truncated[4] = false,
            "trajectory 1, row 1: the last row; mark it as terminated or truncated",
        ),
        (&|recording| recording.action.truncate(4), "action: expected 5 rows of 1, got [4]"),
        (&|recording| recording.truncated.truncate(4), "truncated: expected 5 rows of 1, got [4]"),
        (&|recording| *recording = Recording::default(), "there are no steps"),
    ] {
        assert_eq!(refusal(change), message);
    }
    for spaces in [
        Spaces { observation: 0, ..SMALL },
        Spaces { action_low: &[], action_high: &[], ..SMALL },
        Spaces { action_low: &[-1.0, 0.0], ..SMALL },
        Spaces { action_high: &[-2.0], ..SMALL },
        Spaces { action_low: &[f32::NEG_INFINITY], ..SMALL },
        Spaces { action_high: &[f32::NAN], ..SMALL },
    ] {
        let result = Demonstrations::new(spaces, recording());
        assert!(matches!(result, Err(DemonstrationError::Spaces { .. })), "{spaces:?}");
    }
}

/// A `.npy` of version 1.
fn npy(header: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(elements);
    bytes
}

fn array(element: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}"), elements)
}

/// A zip archive of stored entries.
fn zip(entries: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    for (name, content) in entries {
        let (mut entry, config) = archive
            .new_file(format!("{name}.npy"))
            .compression_method(rawzip::CompressionMethod::STORE)
            .start()
            .unwrap();
        let mut writer = config.wrap(&mut entry);
        std::io::Write::write_all(&mut writer, content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap()
}

/// As `imitation.npz`, with other types: float64 and float32 changed round, int32 indices, no rewards.
fn entries() -> BTreeMap<&'static str, Vec<u8>> {
    let observations = bytes((0..14).map(|n| f64::from(n).to_le_bytes()));
    let actions = bytes([-2.0_f32, -1.0, 0.0, 1.0, 2.0].map(f32::to_le_bytes));
    BTreeMap::from([
        ("obs", array("<f8", "(7, 2)", &observations)),
        ("acts", array("<f4", "(5,)", &actions)),
        ("terminal", array("|b1", "(2,)", &[1, 0])),
        ("indices", array("<i4", "(1,)", &3_i32.to_le_bytes())),
    ])
}

#[test]
fn stored_entries_are_read_too() {
    let read = Demonstrations::from_bytes(&zip(&entries()), npz(Terminal::Terminated)).unwrap();
    let expected = Demonstrations::new(SMALL, Recording { reward: None, ..recording() }).unwrap();
    assert_eq!(read, expected);
}

#[test]
fn bad_npz_files_are_refused() {
    let refusal = |name: &'static str, content: Option<Vec<u8>>| {
        let mut entries = entries();
        match content {
            Some(content) => drop(entries.insert(name, content)),
            None => drop(entries.remove(name)),
        }
        Demonstrations::from_bytes(&zip(&entries), npz(Terminal::Terminated)).unwrap_err().to_string()
    };
    let observations = bytes((0..14).map(|n| f64::from(n).to_le_bytes()));
    let index = |begin: i64| Some(array("<i8", "(1,)", &begin.to_le_bytes()));
    for (name, content, message) in [
        ("acts", None, "there is no array `acts`"),
        ("indices", None, "there is no array `indices`"),
        ("indices", index(0), "indices: trajectory 0 begins at row 0 and ends before row 0 of 5"),
        ("indices", index(5), "indices: trajectory 1 begins at row 5 and ends before row 5 of 5"),
        (
            "indices",
            index(-1),
            "indices: trajectory 0 begins at row 0 and ends before row 18446744073709551615 of 5",
        ),
        ("indices", Some(array("<i8", "(2,)", &[0; 16])), "indices: expected [1], got [2]"),
        ("terminal", Some(array("|b1", "(0,)", &[])), "there are no steps"),
        ("terminal", Some(array("|b1", "(2,)", &[1, 7])), "not readable: terminal: 7 is neither 0 nor 1"),
        ("obs", Some(array("<f8", "(7, 3)", &[0; 168])), "obs: expected [7, 2], got [7, 3]"),
        (
            "obs",
            Some(array("<f8", "(7, 2)", &observations[1..])),
            "not readable: obs: 111 bytes are not an array of shape [7, 2]",
        ),
        (
            "obs",
            Some(array(">f8", "(7, 2)", &observations)),
            "obs: elements of type >f8, expected float32 or float64, little-endian",
        ),
        (
            "acts",
            Some(array("<i8", "(5,)", &[0; 40])),
            "acts: elements of type <i8, expected float32 or float64, little-endian",
        ),
        (
            "acts",
            Some(array("|O", "(5,)", &[0; 40])),
            "acts: elements of type |O, expected float32 or float64, little-endian",
        ),
        (
            "obs",
            Some(npy("{'descr': '<f8', 'fortran_order': True, 'shape': (7, 2), }", &observations)),
            "not readable: obs: it is in Fortran's order; save it with numpy.ascontiguousarray",
        ),
        ("obs", Some(npy("{'descr': '<f8'}", &[])), "not readable: obs: no shape in its header"),
        ("obs", Some(b"\x93NUMPY\x01\x00\xff\xff{".to_vec()), "not readable: obs: the header is cut off"),
        (
            "obs",
            Some(b"\x93NUMPY\x09\x00".to_vec()),
            "not readable: obs: an unknown version of NumPy's format",
        ),
        ("obs", Some(vec![]), "not readable: obs: not an array of NumPy"),
        // Shapes whose product is more than there is, or more than a machine can count.
        (
            "acts",
            Some(array("<f4", "(18446744073709551615,)", &[])),
            "not readable: acts: 0 bytes are not an array of shape [18446744073709551615]",
        ),
        (
            "acts",
            Some(array("<f4", "(5, 4294967296, 4294967296)", &[])),
            "acts: expected [5, 1], got [5, 4294967296, 4294967296]",
        ),
    ] {
        assert_eq!(refusal(name, content), message, "{name}");
    }
}

#[test]
fn a_size_that_an_entry_cannot_have_takes_no_memory() {
    // The central directory says 2 GiB of `obs`, then a size below the limit that its bytes cannot unpack to.
    for (size, expected) in
        [(1_u32 << 31, "has 2147483648 bytes, at most 1073741824"), (1 << 29, "is damaged")]
    {
        let mut bytes = imitation();
        let entry = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
        bytes[entry + 24..entry + 28].copy_from_slice(&size.to_le_bytes());
        let error = Demonstrations::from_bytes(&bytes, npz(Terminal::Truncated)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn files_that_cannot_be_are_named() {
    let directory = std::env::temp_dir().join(format!("ingle-demonstrations-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let missing = directory.join("missing.safetensors");
    let error = Demonstrations::read(&missing, SMALL).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot be read", missing.display())), "{error}");
    // A sparse file: nothing of it is on the disk, and nothing of it is read.
    let large = directory.join("large.npz");
    File::create(&large).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
    let error = Demonstrations::read(&large, npz(Terminal::Truncated)).unwrap_err().to_string();
    assert!(error.contains("large.npz: the file has 1073741825 bytes, at most 1073741824"), "{error}");
    let wrong = directory.join("wrong.safetensors");
    std::fs::write(&wrong, imitation()).unwrap();
    let error = Demonstrations::read(&wrong, SMALL).unwrap_err().to_string();
    assert!(error.contains("wrong.safetensors: demonstrations.terminal"), "{error}");
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Reads damaged bytes: nothing may panic. Whether they are accepted is the format's checksums' business.
fn read_damaged(bytes: &[u8]) -> Result<Demonstrations, DemonstrationError> {
    Demonstrations::from_bytes(bytes, npz(Terminal::Terminated))
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for whole in [small().to_safetensors().unwrap(), imitation(), zip(&entries())] {
        for length in 0..whole.len() {
            assert!(read_damaged(&whole[..length]).is_err(), "cut at {length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_never_panic(
        format in 0_usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let whole = [small().to_safetensors().unwrap(), imitation(), zip(&entries())];
        let mut bytes = whole[format].clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Ok(demonstrations) = read_damaged(&bytes) {
            // What is accepted has kept the promises.
            prop_assert!(demonstrations.canonical_actions().iter().all(|action| (-1.0..=1.0).contains(action)));
        }
    }

    #[test]
    fn a_checksum_finds_every_changed_bit_of_an_array(bit in 0_usize..8, place in any::<prop::sample::Index>()) {
        let mut bytes = zip(&entries());
        let start = bytes.windows(6).position(|window| window == b"\x93NUMPY").unwrap();
        // The first entry's elements, after the header: `acts`.
        let place = start + place.index(80);
        bytes[place] ^= 1 << bit;
        prop_assert!(Demonstrations::from_bytes(&bytes, npz(Terminal::Terminated)).is_err());
    }
}

fn minari(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/minari").join(name)
}

/// `expected.safetensors` holds the same steps, which the script that made the fixtures wrote by other libraries.
#[test]
fn datasets_of_minari_are_read() {
    let expected = Demonstrations::read(&minari("expected.safetensors"), PENDULUM).unwrap();
    let ends: Vec<_> = expected.trajectories().map(|t| (t.len(), t.terminated, t.truncated)).collect();
    assert_eq!(ends, [(30, false, true), (20, true, false), (30, true, true), (10, false, true)]);

    let folder = Demonstrations::read(&minari("pendulum"), ReadOptions::default()).unwrap();
    assert_eq!(folder.spaces(), PENDULUM, "metadata.json says the bounds");
    let origin = Origin {
        environment: Some("Pendulum-v1".into()),
        source: Some("Minari pendulum-v0, policy random, code https://example.org/record_minari.py".into()),
        licence: None,
    };
    assert_eq!(folder.origin(), &origin);
    assert_eq!(folder.with_origin(Origin::default()), expected);
    let file = minari("pendulum/data/main_data.hdf5");
    for read in [
        Demonstrations::read(&minari("pendulum/data"), PENDULUM),
        Demonstrations::read(&file, ReadOptions::default()),
        // Packed by gzip and lzf in several chunks, observations in float64, no metadata.
        Demonstrations::read(&minari("packed.hdf5"), PENDULUM),
        Demonstrations::from_bytes(&std::fs::read(&file).unwrap(), PENDULUM),
    ] {
        assert_eq!(read.unwrap().sha256(), expected.sha256());
    }
    let (mean, deviation) = expected.observation_moments();
    let speeds: Vec<f64> =
        expected.trajectories().flat_map(|t| t.observation.chunks(3)).map(|o| o[2].into()).collect();
    let average = speeds.iter().sum::<f64>() / 90.0;
    let variance = speeds.iter().map(|speed| (speed - average).powi(2)).sum::<f64>() / 90.0;
    assert!((mean[2] - average).abs() < 1e-12 && (deviation[2] - variance.sqrt()).abs() < 1e-12);
}

#[test]
fn other_datasets_of_minari_are_refused_in_one_line() {
    let refusal = |path: &str, options: ReadOptions<'_>| {
        let error = Demonstrations::read(&minari(path), options).unwrap_err().to_string();
        assert!(error.contains("minari") && error.lines().count() == 1, "{error}");
        error
    };
    for (path, options, part) in [
        ("dictionaries", PENDULUM.into(), "observation_space: Dict spaces are not read, only Box"),
        ("packed.hdf5", ReadOptions::default(), "does not say the bounds of its actions"),
        ("", PENDULUM.into(), "a folder without data/main_data.hdf5 is no dataset of Minari"),
        (
            "pendulum",
            ReadOptions { observation: Some(4), ..PENDULUM.into() },
            "main_data.hdf5: episode_0: observations: expected [31, 4], got [31, 3]",
        ),
        (
            "pendulum",
            ReadOptions { action_bounds: Some((&[-1.0], &[1.0])), ..PENDULUM.into() },
            "main_data.hdf5: trajectory 0, row 2, action, element 0: -1.836106 is outside [-1, 1]",
        ),
    ] {
        let error = refusal(path, options);
        assert!(error.contains(part), "{error}");
    }
    let bytes = std::fs::read(minari("dictionaries/data/main_data.hdf5")).unwrap();
    let error = Demonstrations::from_bytes(&bytes, PENDULUM).unwrap_err().to_string();
    assert!(error.contains("episode_0: not readable: observations: a dictionary or tuple"), "{error}");
}

#[test]
fn a_damaged_dataset_of_minari_is_refused_without_a_panic() {
    let whole = std::fs::read(minari("packed.hdf5")).unwrap();
    let expected = Demonstrations::from_bytes(&whole, PENDULUM).unwrap();
    for length in (0..whole.len()).step_by(997) {
        assert!(Demonstrations::from_bytes(&whole[..length], PENDULUM).is_err(), "cut at {length}");
    }
    let mut stream = ingle_core::random::RandomStream::new(5, 0);
    let (mut refused, mut changed) = (0, 0);
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        for _ in 0..=stream.index(4) {
            let place = stream.index(bytes.len());
            bytes[place] = stream.index(256) as u8;
        }
        match Demonstrations::from_bytes(&bytes, PENDULUM) {
            Err(_) => refused += 1,
            // HDF5 has no checksum of its data unless one is asked for.
            Ok(read) => changed += usize::from(read != expected),
        }
    }
    println!("{refused} of 2000 damaged files refused, {changed} read with other numbers");
    assert!(refused > 200);
}

/// A flag in the middle of an episode, and shapes that the file is too small for, written by the library itself.
#[test]
fn an_episode_that_goes_on_after_its_end_and_arrays_too_large_for_the_file_are_refused() {
    let file = |flags: &[u8], chunk: u64, rows: u64| {
        let mut builder = hdf5_pure::FileBuilder::new();
        let mut group = builder.create_group("episode_0");
        group.create_dataset("observations").with_f32_data(&[0.0; 8]).with_shape(&[4, 2]);
        group
            .create_dataset("actions")
            .with_f32_data(&[0.0; 3])
            .with_shape(&[3])
            .with_maxshape(&[hdf5_pure::MaxExtent::Unlimited])
            .with_chunks(&[chunk]);
        group.create_dataset("rewards").with_f64_data(&[0.0; 3]).with_shape(&[rows]);
        group.create_dataset("terminations").with_u8_data(flags).with_shape(&[3]);
        group.create_dataset("truncations").with_u8_data(&[0; 3]).with_shape(&[3]);
        builder.add_group(group.finish());
        builder.finish().unwrap()
    };
    let read = |bytes: Vec<u8>| Demonstrations::from_bytes(&bytes, SMALL).map_err(|error| error.to_string());
    let whole = read(file(&[0; 3], 3, 3)).unwrap();
    let trajectory = whole.trajectories().next().unwrap();
    assert!(trajectory.truncated && !trajectory.terminated, "one without flags was not played to its end");
    assert_eq!(
        read(file(&[0, 1, 0], 3, 3)).unwrap_err(),
        "episode_0: not readable: terminations: set at row 1, before the last of 3 rows"
    );
    assert_eq!(
        read(file(&[0, 0, 2], 3, 3)).unwrap_err(),
        "episode_0: not readable: terminations: 2 is neither 0 nor 1"
    );
    let error = read(file(&[0, 0, 1], 1 << 23, 3)).unwrap_err();
    assert!(error.contains("a chunk of actions has 33554432 bytes, at most 16777216"), "{error}");
}

#[test]
fn the_hash_is_of_the_steps_and_of_nothing_else() {
    let other = small().with_origin(Origin { licence: Some("MIT".into()), ..Origin::default() });
    assert_eq!(other.sha256(), small().sha256());
    let written =
        Demonstrations::from_bytes(&other.to_safetensors().unwrap(), ReadOptions::default()).unwrap();
    assert_eq!(written, other, "bounds and origin are in the file");
    let mut hashes = vec![small().sha256()];
    for change in [
        (|recording: &mut Recording| recording.observation[0] = 0.5) as fn(&mut Recording),
        |recording| recording.next_observation[4] = 0.5,
        |recording| recording.action[0] = 0.5,
        |recording| recording.reward.as_mut().unwrap()[0] = 0.0,
        |recording| recording.reward = None,
        |recording| recording.truncated[2] = true,
        |recording| recording.truncated[3] = true,
    ] {
        let mut recording = recording();
        change(&mut recording);
        hashes.push(Demonstrations::new(SMALL, recording).unwrap().sha256());
    }
    let count = hashes.len();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

fn numbers(keys: Option<Keys>) -> Vec<u64> {
    keys.unwrap().iter().map(|key| key.unwrap()).collect()
}

fn sampler_of(
    demonstrations: &Demonstrations,
    config: &DemonstrationConfig,
    seed: u64,
) -> ingle_replay::demonstrations::DemonstrationSampler {
    config.init(demonstrations, seed, &Device::flex()).unwrap()
}

#[test]
fn samples_are_canonical_transitions_of_the_recording() {
    let config = DemonstrationConfig { batch: 200, gamma: 0.5.into(), ..DemonstrationConfig::default() };
    let mut sampler = sampler_of(&small(), &config, 0);
    assert_eq!(sampler.len(), 5);
    let sample = sampler.sample().unwrap();
    let keys = numbers(sample.keys);
    let [observation, next] = [sample.observation, sample.next_observation].map(values);
    let [reward, discount] = [sample.reward, sample.discount].map(values);
    let (action, recording) = (values(sample.action), recording());
    for (row, key) in keys.iter().map(|key| *key as usize).enumerate() {
        assert_eq!(observation[row * 2..][..2], recording.observation[key * 2..][..2]);
        assert_eq!(next[row * 2..][..2], recording.next_observation[key * 2..][..2]);
        assert_eq!(action[row], [-1.0, -0.5, 0.0, 0.5, 1.0][key]);
        assert_eq!(reward[row], recording.reward.as_ref().unwrap()[key]);
        assert_eq!(discount[row], if key == 2 { 0.0 } else { 0.5 }, "only a termination ends the bootstrap");
    }
    assert!((0..5).all(|key| keys.contains(&key)), "every row is drawn");
}

#[test]
fn members_share_the_demonstrations_and_draw_what_they_would_alone() {
    let config = DemonstrationConfig { batch: 16, ..DemonstrationConfig::default() };
    let mut together = sampler_of(&small(), &DemonstrationConfig { population: 3, ..config.clone() }, 7);
    let keys = numbers(together.sample().unwrap().keys);
    for member in 0..3 {
        let mut alone = sampler_of(&small(), &config, 7 + member);
        let own = &keys[member as usize * 16..][..16];
        assert_eq!(numbers(alone.sample().unwrap().keys), own);
    }
    assert_ne!(keys[..16], keys[16..32]);
}

/// The same rows and draws, with another discount for each member.
#[test]
fn members_have_discounts_of_their_own() {
    let gamma = vec![0.9, 0.5];
    let config =
        DemonstrationConfig { batch: 16, population: 2, gamma: gamma.clone().into(), ..Default::default() };
    let sample = sampler_of(&small(), &config, 7).sample().unwrap();
    let discount = values(sample.discount);
    for (member, gamma) in gamma.into_iter().enumerate() {
        let config = DemonstrationConfig { batch: 16, gamma: gamma.into(), ..Default::default() };
        let alone = sampler_of(&small(), &config, 7 + member as u64).sample().unwrap();
        assert_eq!(discount[member * 16..][..16], values(alone.discount));
        assert_eq!(sample.keys.as_ref().unwrap()[member * 16..][..16], alone.keys.unwrap()[..]);
    }
}

#[test]
fn rewards_that_are_not_there_are_missed_unless_nobody_reads_them() {
    let without = Demonstrations::new(SMALL, Recording { reward: None, ..recording() }).unwrap();
    let config = DemonstrationConfig::default();
    match config.init(&without, 0, &Device::flex()) {
        Err(Error::Config(problems)) => {
            assert_eq!(problems, ["use_rewards: the demonstrations have no rewards"]);
        }
        other => panic!("{other:?}"),
    }
    let mut sampler = sampler_of(&without, &DemonstrationConfig { use_rewards: false, ..config.clone() }, 0);
    assert!(values(sampler.sample().unwrap().reward).iter().all(|reward| *reward == 0.0));
    let wrong = DemonstrationConfig { batch: 0, population: 0, gamma: 1.5.into(), ..config };
    match wrong.init(&small(), 0, &Device::flex()) {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 3, "{problems:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn beside_a_replay_each_draws_its_own_rows() {
    let mut replay =
        UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(2, 1) }, 3, &Device::flex())
            .unwrap();
    let Recording { observation, action, reward, next_observation, .. } = recording();
    let rows = Rows {
        observation: &observation,
        action: &action,
        reward: &reward.unwrap(),
        discount: &[0.9; 5],
        truncated: &[false; 5],
        next_observation: &next_observation,
    };
    replay.insert(0, rows).unwrap();
    let config = DemonstrationConfig { batch: 64, ..DemonstrationConfig::default() };
    let mut both = WithDemonstrations { rl: replay, demonstrations: sampler_of(&small(), &config, 3) };
    let sample = both.sample().unwrap();
    assert_ne!(sample.rl.keys, sample.demonstrations.keys, "one seed, two streams");
    ingle_replay::Insert::insert(&mut both, 0, rows).unwrap();
    assert_eq!((both.rl.len(), both.demonstrations.len()), (10, 5), "what comes in is the learner's own");
}

#[test]
fn a_checkpoint_brings_back_where_the_drawing_stands() {
    let config = DemonstrationConfig { batch: 64, ..DemonstrationConfig::default() };
    let mut straight = sampler_of(&small(), &config, 3);
    straight.sample().unwrap();
    let record = straight.save_checkpoint().unwrap();
    let mut resumed = sampler_of(&small(), &config, 4);
    resumed.load_checkpoint(&record).unwrap();
    assert_eq!(resumed.sample().unwrap().keys, straight.sample().unwrap().keys);

    let Recording { observation, action, next_observation, .. } = recording();
    let one = Recording {
        observation: observation[..2].to_vec(),
        action: action[..1].to_vec(),
        reward: Some(vec![0.0]),
        next_observation: next_observation[..2].to_vec(),
        terminated: vec![true],
        truncated: vec![false],
    };
    let mut other = sampler_of(&Demonstrations::new(SMALL, one).unwrap(), &config, 4);
    match other.load_checkpoint(&record) {
        Err(Error::Record(problem)) => {
            assert!(problem.contains("5 demonstrated rows, here are 1"), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}
