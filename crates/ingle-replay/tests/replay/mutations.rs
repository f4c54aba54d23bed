//! Demonstration files with one thing wrong, many of them: no panic, and a message that names the array or the row.
//!
//! `INGLE_MUTATIONS` says how many, `INGLE_FAULT_SEED` which.

use std::collections::BTreeMap;
use std::path::Path;

use ingle_core::random::RandomStream;
use ingle_replay::demonstrations::{DemonstrationError, Demonstrations, ReadOptions, Spaces, Terminal};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Those of `imitation.npz`.
const SPACES: Spaces<'_> = Spaces { observation: 2, action_low: &[-2.0], action_high: &[2.0] };

type Arrays = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn arrays(file: &[u8]) -> Arrays {
    let file = SafeTensors::deserialize(file).unwrap();
    let array = |name: &str, view: &TensorView<'_>| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.iter().map(|(name, view)| array(name, &view)).collect()
}

fn file_of(arrays: &Arrays) -> Vec<u8> {
    let views = arrays.iter().map(|(name, (dtype, shape, bytes))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// A file, and the texts of which an error must have one in it; whether there must be an error.
struct Mutation {
    bytes: Vec<u8>,
    named: Vec<String>,
    refused: bool,
}

/// One thing wrong that the format has nothing against.
fn wrong_arrays(mut arrays: Arrays, random: &mut RandomStream) -> Mutation {
    let names: Vec<String> = arrays.keys().cloned().collect();
    let name = names[random.index(names.len())].clone();
    let (dtype, shape, bytes) = arrays.get_mut(&name).unwrap();
    let rows = shape[0];
    let flags = *dtype == Dtype::BOOL;
    let named = match random.index(6) {
        // A number in a known row.
        0..3 => {
            let (elements, size) = if flags { (rows, 1) } else { (bytes.len() / 4, 4) };
            let element = random.index(elements);
            let row = element / (elements / rows);
            let place = element * size;
            if flags {
                *dtype = Dtype::U8;
                bytes[place] = 2 + random.index(254) as u8;
                vec![name.clone()]
            } else {
                let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][random.index(3)];
                bytes[place..place + 4].copy_from_slice(&bad.to_le_bytes());
                // Rows are counted from the start of their trajectory: the second one begins at row 3.
                let (trajectory, row) = if row < 3 { (0, row) } else { (1, row - 3) };
                vec![format!("trajectory {trajectory}, row {row}, {name}, ")]
            }
        }
        // An array that is not there, of another name, shape or type.
        3 => {
            let array = arrays.remove(&name).unwrap();
            // A recording need not have rewards.
            if name == "reward" || random.index(2) == 0 {
                arrays.insert(format!("{name}s"), array);
            }
            vec![format!("`{name}`"), format!("`{name}s`")]
        }
        4 => {
            let size = bytes.len() / rows;
            shape[0] -= 1;
            bytes.truncate((rows - 1) * size);
            // All are held against the number of flags.
            vec![
                name.clone(),
                "observation".to_owned(),
                "action".to_owned(),
                "reward".to_owned(),
                "truncated".to_owned(),
            ]
        }
        _ => {
            *dtype = if flags { Dtype::I8 } else { Dtype::I32 };
            vec![name.clone()]
        }
    };
    Mutation { bytes: file_of(&arrays), named, refused: true }
}

/// Bytes that are changed, cut, or doubled.
fn damaged(mut bytes: Vec<u8>, random: &mut RandomStream) -> Mutation {
    match random.index(3) {
        0 => {
            for _ in 0..=random.index(4) {
                let place = random.index(bytes.len());
                bytes[place] = random.index(256) as u8;
            }
            Mutation { bytes, named: Vec::new(), refused: false }
        }
        1 => {
            bytes.truncate(random.index(bytes.len()));
            Mutation { bytes, named: Vec::new(), refused: true }
        }
        _ => {
            let start = random.index(bytes.len());
            let end = (start + 1 + random.index(40)).min(bytes.len());
            let copy = bytes[start..end].to_vec();
            let place = random.index(bytes.len());
            bytes.splice(place..place, copy);
            Mutation { bytes, named: Vec::new(), refused: false }
        }
    }
}

#[test]
fn wrong_demonstrations_are_refused_by_array_or_row() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, seed): (u64, u64) = (number("INGLE_MUTATIONS", 1000), number("INGLE_FAULT_SEED", 1));
    let npz = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/imitation.npz")).unwrap();
    let options = ReadOptions { terminal: Some(Terminal::Terminated), ..SPACES.into() };
    let read_npz = |bytes: &[u8]| Demonstrations::from_bytes(bytes, options);
    let flat = read_npz(&npz).unwrap().to_safetensors().unwrap();
    let mut random = RandomStream::new(seed, 0);
    let mut refused = 0;
    for number in 0..count {
        let packed = random.index(3) == 0;
        let mutation = match (packed, random.index(2)) {
            (true, _) => damaged(npz.clone(), &mut random),
            (false, 0) => damaged(flat.clone(), &mut random),
            (false, _) => wrong_arrays(arrays(&flat), &mut random),
        };
        let Mutation { bytes, named, refused: must } = mutation;
        let read: Result<_, DemonstrationError> =
            if packed { read_npz(&bytes) } else { Demonstrations::from_bytes(&bytes, SPACES) };
        match read {
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                let what = format!("seed {seed}, mutation {number}: {message}");
                assert!(!message.trim().is_empty(), "{what}");
                assert!(
                    named.is_empty() || named.iter().any(|name| message.contains(name)),
                    "{what}: {named:?}"
                );
            }
            Ok(read) => {
                assert!(!must, "seed {seed}, mutation {number} was accepted: {named:?}");
                // What is accepted has kept the promises.
                assert!(read.canonical_actions().iter().all(|action| (-1.0..=1.0).contains(action)));
            }
        }
    }
    assert!(refused > count / 2, "only {refused} of {count} were refused");
    let bound = 1.0 - 0.05_f64.powf(1.0 / count as f64);
    println!(
        "{count} mutated demonstration files, seed {seed}: {refused} refused, 0 panics (95 % upper bound {bound:.2e})"
    );
}
