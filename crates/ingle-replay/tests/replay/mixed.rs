//! Mixed batches: exact shares, and feedback that finds its way back.

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::{Checkpoint, Error, Feedback, Keys, Result, Sampler, Transitions};
use ingle_replay::{Insert, Mixed, Priorities, PrioritisedReplay, ReplayConfig, Rows, UniformReplay};
use proptest::prelude::*;

use crate::values;

/// Hands out rows whose rewards are `base + key`, and remembers its feedback as (key, error).
#[derive(Debug, Clone)]
struct Source {
    base: f32,
    population: usize,
    batch: usize,
    keyed: bool,
    weighted: bool,
    next: u64,
    heard: Vec<Vec<(u64, f32)>>,
}

impl Source {
    fn new(base: f32, population: usize, batch: usize) -> Self {
        Self { base, population, batch, keyed: true, weighted: false, next: 0, heard: Vec::new() }
    }
}

impl Sampler for Source {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        let (device, rows) = (Device::flex(), self.population * self.batch);
        let keys: Vec<u64> = (self.next..self.next + rows as u64).collect();
        self.next += rows as u64;
        let reward: Vec<f32> = keys.iter().map(|&key| self.base + key as f32).collect();
        let shape = [self.population, self.batch];
        Ok(Transitions {
            observation: Tensor::zeros([shape[0], shape[1], 2], &device),
            action: Tensor::zeros([shape[0], shape[1], 1], &device),
            reward: Tensor::from_data(TensorData::new(reward, shape), &device),
            discount: Tensor::ones(shape, &device),
            next_observation: Tensor::zeros([shape[0], shape[1], 2], &device),
            importance_weight: self.weighted.then(|| Tensor::full(shape, 0.5, &device)),
            keys: self.keyed.then(|| keys.into_iter().map(Some).collect()),
        })
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        let errors = values(feedback.td_error);
        let keys = feedback.keys.unwrap();
        assert_eq!(keys.len(), errors.len());
        self.heard.push(keys.iter().zip(errors).filter_map(|(key, error)| Some(((*key)?, error))).collect());
        Ok(())
    }
}

/// Feedback in which every row's error is its reward, the rows of each member in the order `order`.
fn feedback(sample: &Transitions, order: &[usize]) -> Feedback {
    let [members, batch] = sample.reward.dims();
    let rewards = values(sample.reward.clone());
    let keys = sample.keys.clone().unwrap();
    let rows: Vec<usize> =
        (0..members).flat_map(|member| order.iter().map(move |row| member * batch + row)).collect();
    let errors = rows.iter().map(|&row| rewards[row]).collect::<Vec<_>>();
    Feedback {
        td_error: Tensor::from_data(TensorData::new(errors, [members, order.len()]), &Device::flex()),
        keys: Some(rows.iter().map(|&row| keys[row]).collect()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Three samplers, mixed twice: every member's batch has each one's rows in order, and whatever order the feedback
    /// comes in, each hears of all its own rows and of no other.
    #[test]
    fn shares_are_exact_and_feedback_finds_its_way(
        population in 1_usize..4,
        batches in prop::array::uniform3(1_usize..6),
        shuffled in any::<bool>(),
    ) {
        let [a, b, c] = [(0.0, 0), (1e3, 1), (2e3, 2)].map(|(base, index)| Source::new(base, population, batches[index]));
        let mut mixed = Mixed { own: a, other: Mixed { own: b, other: c } };
        for round in 0..3_usize {
            let sample = mixed.sample().unwrap();
            let batch: usize = batches.iter().sum();
            prop_assert_eq!(sample.observation.dims(), [population, batch, 2]);
            let expected: Vec<f32> = (0..population)
                .flat_map(|member| {
                    batches.into_iter().enumerate().flat_map(move |(source, own)| {
                        (0..own).map(move |row| 1e3 * source as f32 + ((round * population + member) * own + row) as f32)
                    })
                })
                .collect();
            prop_assert_eq!(values(sample.reward.clone()), expected);
            let keys = sample.keys.clone().unwrap();
            let mut unique: Vec<_> = keys.to_vec();
            unique.sort_unstable();
            unique.dedup();
            prop_assert_eq!(unique.len(), keys.len(), "a key names one row");

            let mut order: Vec<usize> = (0..batch).collect();
            if shuffled {
                order.reverse();
            }
            mixed.feedback(feedback(&sample, &order)).unwrap();
        }
        for (source, base, own) in [
            (&mixed.own, 0.0, batches[0]),
            (&mixed.other.own, 1e3, batches[1]),
            (&mixed.other.other, 2e3, batches[2]),
        ] {
            prop_assert_eq!(source.heard.len(), 3);
            let mut heard: Vec<(u64, f32)> = source.heard.iter().flatten().copied().collect();
            prop_assert!(heard.iter().all(|&(key, error)| error == base + key as f32));
            heard.sort_by_key(|&(key, _)| key);
            let keys: Vec<u64> = heard.into_iter().map(|(key, _)| key).collect();
            prop_assert_eq!(keys, (0..(3 * population * own) as u64).collect::<Vec<_>>());
        }
    }
}

#[test]
fn rows_without_keys_or_weights_go_beside_rows_that_have_some() {
    let own = Source { weighted: true, ..Source::new(0.0, 1, 2) };
    let other = Source { keyed: false, ..Source::new(1e3, 1, 3) };
    let mut mixed = Mixed { own, other };
    let sample = mixed.sample().unwrap();
    assert_eq!(values(sample.importance_weight.clone().unwrap()), [0.5, 0.5, 1.0, 1.0, 1.0]);
    let keys: Keys = sample.keys.clone().unwrap();
    assert!(keys[..2].iter().all(Option::is_some) && keys[2..].iter().all(Option::is_none), "{keys:?}");
    mixed.feedback(feedback(&sample, &[0, 1, 2, 3, 4])).unwrap();
    assert_eq!((mixed.own.heard[0].len(), mixed.other.heard[0].len()), (2, 0));
    assert!(
        mixed.feedback(Feedback { td_error: Tensor::zeros([1, 5], &Device::flex()), keys: None }).is_ok()
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let mut mixed = Mixed { own: Source::new(0.0, 2, 4), other: Source::new(0.0, 1, 4) };
    assert!(matches!(mixed.sample(), Err(Error::Shape { field: "population", .. })));
    for (batch, share) in [(10, 0.0), (10, 1.0), (10, f64::NAN), (10, -0.5), (10, 0.25), (10, 1e-9), (0, 0.5)]
    {
        let result = Mixed::<(), ()>::batches(batch, share);
        assert!(matches!(result, Err(Error::Config(_))), "{batch} {share}: {result:?}");
    }
    assert_eq!(Mixed::<(), ()>::batches(256, 0.5).unwrap(), [128, 128]);
    assert_eq!(Mixed::<(), ()>::batches(10, 0.3).unwrap(), [7, 3]);
}

fn uniform(batch: usize, seed: u64) -> UniformReplay {
    let config = ReplayConfig { capacity: 8, batch, ..ReplayConfig::new(2, 1) };
    UniformReplay::new(&config, seed, &Device::flex()).unwrap()
}

fn insert(replay: &mut impl Insert, rewards: &[f32]) {
    let count = rewards.len();
    let rows = Rows {
        observation: &vec![0.0; 2 * count],
        action: &vec![0.0; count],
        reward: rewards,
        discount: &vec![0.9; count],
        truncated: &vec![false; count],
        next_observation: &vec![0.0; 2 * count],
    };
    replay.insert(0, rows).unwrap();
}

#[test]
fn priorities_of_a_mixed_replay_move_and_all_comes_back_from_a_checkpoint() {
    let config = ReplayConfig { capacity: 8, batch: 16, ..ReplayConfig::new(2, 1) };
    let new = |seed| Mixed {
        own: PrioritisedReplay::new(&config, Priorities::default(), seed, &Device::flex()).unwrap(),
        other: uniform(16, seed + 1),
    };
    let mut mixed = new(1);
    insert(&mut mixed, &[0.0, 0.0, 50.0, 0.0]);
    insert(&mut mixed.other, &[7.0]);
    assert_eq!((mixed.own.len(), mixed.other.len()), (4, 1), "inserted rows are the first's");
    for _ in 0..4 {
        let sample = mixed.sample().unwrap();
        mixed.feedback(feedback(&sample, &(0..32).collect::<Vec<_>>())).unwrap();
    }
    let mut resumed = new(5);
    resumed.load_checkpoint(&mixed.save_checkpoint().unwrap()).unwrap();
    let rewards = values(mixed.sample().unwrap().reward);
    assert!(rewards[..16].iter().all(|reward| *reward == 50.0), "the row with the error: {rewards:?}");
    assert_eq!(rewards[16..], [7.0; 16]);
    assert_eq!(values(resumed.sample().unwrap().reward), rewards);
}
