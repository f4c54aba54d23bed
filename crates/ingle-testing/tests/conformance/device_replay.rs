//! Replays whose rows are on the device hand out what replays on the host do, bit for bit, and exchange checkpoints with
//! them.

use burn::tensor::Device;
use ingle::random::RandomStream;
use ingle::replay::{Data, Insert, Place, Priorities, PrioritisedReplay, ReplayConfig, Rows, UniformReplay};
use ingle::{Checkpoint, Error, Feedback, Sampler, Transitions};
use ingle_testing::{device_or_skip, values};

trait Replay: Insert + Sampler<Sample = Transitions> + Checkpoint {}

impl<T: Insert + Sampler<Sample = Transitions> + Checkpoint> Replay for T {}

const OBSERVATION: usize = 3;
const ACTION: usize = 2;

/// Uniform replays, with own and shared rows, and a prioritised one.
fn replays(capacity: usize, place: Place, device: &Device) -> Vec<Box<dyn Replay>> {
    let config =
        ReplayConfig { capacity, batch: 7, population: 3, place, ..ReplayConfig::new(OBSERVATION, ACTION) };
    let shared = ReplayConfig { data: Data::Shared, ..config };
    vec![
        Box::new(UniformReplay::new(&config, 1, device).unwrap()),
        Box::new(UniformReplay::new(&shared, 1, device).unwrap()),
        Box::new(PrioritisedReplay::new(&config, Priorities::default(), 1, device).unwrap()),
    ]
}

/// Random rows for a ring.
fn insert(replay: &mut dyn Replay, ring: usize, count: usize, seed: u64) -> Result<(), Error> {
    let mut stream = RandomStream::new(seed, ring as u64);
    let mut random = |width: usize| {
        let mut values = vec![0.0; count * width];
        stream.fill_normal(&mut values);
        values
    };
    let (observation, action, reward) = (random(OBSERVATION), random(ACTION), random(1));
    let (discount, next_observation) = (random(1), random(OBSERVATION));
    replay.insert(
        ring,
        Rows {
            observation: &observation,
            action: &action,
            reward: &reward,
            discount: &discount,
            truncated: &vec![false; count],
            next_observation: &next_observation,
        },
    )
}

fn numbers(sample: &Transitions) -> Vec<Vec<f64>> {
    let mut all = vec![
        values(&sample.observation),
        values(&sample.action),
        values(&sample.reward),
        values(&sample.discount),
        values(&sample.next_observation),
    ];
    all.extend(sample.importance_weight.as_ref().map(values));
    all
}

fn assert_same_samples(what: &str, host: &mut dyn Replay, other: &mut dyn Replay, count: usize) {
    let (host_samples, samples) = (host.sample_many(count).unwrap(), other.sample_many(count).unwrap());
    assert_eq!(host_samples.len(), samples.len(), "{what}");
    for (expected, sample) in host_samples.iter().zip(&samples) {
        assert_eq!(sample.observation.dims(), [3, 7, OBSERVATION], "{what}");
        assert_eq!(numbers(sample), numbers(expected), "{what}");
        assert_eq!(sample.keys, expected.keys, "{what}");
        let feedback =
            |sample: &Transitions| Feedback { td_error: sample.reward.clone(), keys: sample.keys.clone() };
        host.feedback(feedback(expected)).unwrap();
        other.feedback(feedback(sample)).unwrap();
    }
}

fn devices() -> Vec<(&'static str, Device)> {
    let names = ["flex", "ndarray", "wgpu"];
    names.into_iter().filter_map(|name| Some((name, device_or_skip(name, "replay on the device")?))).collect()
}

#[test]
fn rows_on_the_device_are_sampled_as_rows_on_the_host() {
    for (name, device) in devices() {
        let pairs = || replays(11, Place::Host, &device).into_iter().zip(replays(11, Place::Device, &device));
        for (kind, (mut host, mut other)) in pairs().enumerate() {
            let rings = if kind == 1 { 1 } else { 3 };
            assert!(other.sample().is_err(), "nothing is stored");
            // One row each, as an environment gives them, round the end; then other numbers for every ring; then more than
            // there are places for.
            let rounds = [[1; 3]; 14].into_iter().chain([[2, 5, 1], [0, 3, 12], [4, 4, 4], [25, 30, 11]]);
            for (round, counts) in rounds.enumerate() {
                for (ring, count) in counts.into_iter().enumerate().take(rings) {
                    for replay in [&mut host, &mut other] {
                        insert(replay.as_mut(), ring, count, round as u64).unwrap();
                    }
                }
                // Not after every round: rows of several rounds wait together.
                if round % 3 != 1 {
                    let what = format!("{name}, replay {kind}, round {round}");
                    assert_same_samples(&what, host.as_mut(), other.as_mut(), 1 + round % 4);
                }
            }
            let saved = host.save_checkpoint().unwrap();
            assert!(saved == other.save_checkpoint().unwrap(), "{name}, replay {kind}: checkpoints");
            // A replay saved on the host goes on on the device, and the other way round.
            let (mut to_host, mut to_device) = pairs().nth(kind).unwrap();
            insert(to_device.as_mut(), 0, 3, 99).unwrap();
            to_device.load_checkpoint(&saved).unwrap();
            to_host.load_checkpoint(&other.save_checkpoint().unwrap()).unwrap();
            for replay in [&mut to_host, &mut to_device] {
                insert(replay.as_mut(), 0, 2, 100).unwrap();
            }
            assert_same_samples(
                &format!("{name}, replay {kind}: loaded"),
                to_host.as_mut(),
                to_device.as_mut(),
                2,
            );
        }
    }
}

/// Room on the device doubles as rows come in, and long inserts go there in pieces.
#[test]
fn a_large_replay_grows_on_the_device() {
    let device = ingle::device::open("flex").unwrap();
    let pairs = replays(5000, Place::Host, &device).into_iter().zip(replays(5000, Place::Device, &device));
    for (kind, (mut host, mut other)) in pairs.enumerate() {
        let rings = if kind == 1 { 1 } else { 3 };
        for (round, count) in [1000, 30, 1500, 4500, 9300].into_iter().enumerate() {
            for ring in 0..rings {
                for replay in [&mut host, &mut other] {
                    insert(replay.as_mut(), ring, count + ring, round as u64).unwrap();
                }
            }
            assert_same_samples(&format!("replay {kind}, round {round}"), host.as_mut(), other.as_mut(), 3);
        }
        assert!(host.save_checkpoint().unwrap() == other.save_checkpoint().unwrap(), "replay {kind}");
    }
}

#[test]
fn a_refused_insert_changes_nothing_and_a_capacity_beyond_the_device_is_refused() {
    let device = ingle::device::open("flex").unwrap();
    let mut replay = replays(11, Place::Device, &device).swap_remove(0);
    for ring in 0..3 {
        insert(replay.as_mut(), ring, 4, 0).unwrap();
    }
    let before = replay.save_checkpoint().unwrap();
    assert!(insert(replay.as_mut(), 3, 1, 1).is_err());
    let rows = Rows {
        observation: &[0.0, f32::NAN, 0.0],
        action: &[0.0; 2],
        reward: &[0.0],
        discount: &[0.0],
        truncated: &[false],
        next_observation: &[0.0; 3],
    };
    assert!(matches!(replay.insert(0, rows), Err(Error::NonFinite { .. })));
    assert!(before == replay.save_checkpoint().unwrap());
    let config =
        ReplayConfig { capacity: 1 << 30, place: Place::Device, ..ReplayConfig::new(OBSERVATION, ACTION) };
    match UniformReplay::new(&config, 0, &device) {
        Err(Error::Config(problems)) => {
            assert!(problems[0].contains("keep the replay on the host"), "{problems:?}");
        }
        other => panic!("{other:?}"),
    }
}
