//! What is sampled after a checkpoint is what would have been sampled without one, and nothing less than all of it
//! is accepted.

use burn::tensor::{Device, Tensor};
use ingle_core::{Checkpoint, Error, Feedback, Record, RecordItem, Sampler, Transitions};
use ingle_replay::{
    Data, Insert, Priorities, PrioritisedReplay, RateLimiter, ReplayConfig, Rows, UniformReplay,
};

trait Replay: Insert + Sampler<Sample = Transitions> + Checkpoint {}

impl<T: Insert + Sampler<Sample = Transitions> + Checkpoint> Replay for T {}

const CAPACITY: usize = 10;

/// One of each kind, two members that have their own rings.
fn replays(seed: u64) -> Vec<Box<dyn Replay>> {
    let config = ReplayConfig {
        capacity: CAPACITY,
        batch: 6,
        population: 2,
        data: Data::Own,
        ..ReplayConfig::new(2, 1)
    };
    let priorities = Priorities { beta_samples: 9, ..Priorities::default() };
    vec![
        Box::new(UniformReplay::new(&config, seed, &Device::flex()).unwrap()),
        Box::new(PrioritisedReplay::new(&config, priorities, seed, &Device::flex()).unwrap()),
    ]
}

/// Row `number`, for both members, then a sample with feedback: its keys and weights.
fn round(replay: &mut dyn Replay, number: usize) -> (Vec<Option<u64>>, Vec<f32>) {
    for member in 0..2 {
        let value = number as f32 + 0.5 * member as f32;
        let rows = Rows {
            observation: &[value, -value],
            action: &[0.1],
            reward: &[value],
            discount: &[0.9],
            truncated: &[false],
            next_observation: &[value + 1.0, 0.0],
        };
        replay.insert(member, rows).unwrap();
    }
    let sample = replay.sample().unwrap();
    let keys = sample.keys.clone().unwrap();
    let numbers = |tensor: Tensor<2>| tensor.into_data().as_slice::<f32>().unwrap().to_vec();
    replay
        .feedback(Feedback { td_error: sample.reward.clone().mul_scalar(0.3), keys: Some(keys.clone()) })
        .unwrap();
    let mut values = numbers(sample.reward);
    values.extend(sample.importance_weight.map(numbers).unwrap_or_default());
    (keys.to_vec(), values)
}

#[test]
fn sampling_goes_on_as_if_nothing_had_happened() {
    // In the middle of the first lap, at the last row before the wrap, just after it, laps later.
    for cut in [1, 5, CAPACITY - 1, CAPACITY, CAPACITY + 1, 33] {
        for (mut straight, mut resumed) in replays(1).into_iter().zip(replays(2)) {
            for number in 0..cut {
                round(&mut *straight, number);
            }
            resumed.load_checkpoint(&straight.save_checkpoint().unwrap()).unwrap();
            for number in cut..cut + 25 {
                assert_eq!(round(&mut *straight, number), round(&mut *resumed, number), "cut at {cut}");
            }
            assert_eq!(straight.save_checkpoint().unwrap(), resumed.save_checkpoint().unwrap());
        }
    }
}

fn refused(replay: &mut dyn Replay, record: &Record, name: &str) {
    match replay.load_checkpoint(record) {
        Err(Error::Record(problem)) => assert!(problem.contains(name), "{name} is not in: {problem}"),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_item_is_needed_and_must_fit() {
    for (kind, mut replay) in replays(1).into_iter().enumerate() {
        for number in 0..13 {
            round(&mut *replay, number);
        }
        let record = replay.save_checkpoint().unwrap();
        let fresh = || replays(3).remove(kind);
        for (name, item) in &record.0 {
            let mut without = record.clone();
            without.0.remove(name);
            refused(&mut *fresh(), &without, name);

            let mut kinds = vec![RecordItem::Streams(Vec::new())];
            if let RecordItem::Tensor(_) = item {
                // No numbers, numbers of another type, and one too many.
                kinds.push(RecordItem::Tensor(burn::tensor::TensorData::new(Vec::<f32>::new(), [0])));
                kinds.push(RecordItem::Tensor(burn::tensor::TensorData::new(vec![1_i32; 50], [50])));
                kinds.push(RecordItem::Tensor(burn::tensor::TensorData::new(vec![1.0_f64; 51], [51])));
            }
            for wrong in kinds {
                let mut other = record.clone();
                other.0.insert(name.clone(), wrong);
                let mut replay = fresh();
                assert!(replay.load_checkpoint(&other).is_err(), "{name}");
                // Half loaded, but no panic.
                let _ = replay.sample();
            }
        }
        let mut more = record.clone();
        more.0.insert("more".into(), RecordItem::Counter(1));
        refused(&mut *fresh(), &more, "more is not known here");
        for inserted in [0, 5, 14, u64::MAX] {
            let mut other = record.clone();
            other.0.insert("ring-0/inserted".into(), RecordItem::Counter(inserted));
            // 14 rows in a ring of 10 are as good as 13.
            assert_eq!(fresh().load_checkpoint(&other).is_ok(), inserted == 14, "{inserted}");
        }
    }
}

#[test]
fn a_limiter_goes_on() {
    let mut limiter = RateLimiter::exact(0.3, 5, 1).unwrap();
    for _ in 0..20 {
        limiter.insert(1).unwrap();
        while limiter.may_sample() {
            limiter.sample().unwrap();
        }
    }
    let mut resumed = RateLimiter::exact(0.3, 5, 1).unwrap();
    resumed.load_checkpoint(&limiter.save_checkpoint().unwrap()).unwrap();
    assert_eq!(resumed, limiter);
}
