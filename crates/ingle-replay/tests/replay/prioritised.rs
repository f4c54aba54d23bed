//! The sum tree, its priorities and weights against a plain list.

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::random::{RandomStream, derive_seed};
use ingle_core::{Feedback, Sampler};
use ingle_replay::{Priorities, PrioritisedReplay, ReplayConfig, Rows};
use proptest::prelude::*;

use crate::values;

const SEED: u64 = 11;
/// A power of two, with weights in quarters: all sums are exact, in whatever order they are taken.
const BATCH: usize = 8;
const EPSILON: f64 = 0.25;

/// What the replay is to do, on a list of keys with their priorities to the power of α, oldest first.
struct Model {
    capacity: usize,
    rows: Vec<(u64, f64)>,
    inserted: u64,
    largest: f64,
    stream: RandomStream,
    /// Whether α is ½, and not 1.
    rooted: bool,
    beta: f64,
}

impl Model {
    fn weight(&self, priority: f64) -> f64 {
        if self.rooted { priority.sqrt() } else { priority }
    }

    fn insert(&mut self, count: usize) {
        for _ in 0..count {
            self.rows.push((self.inserted, self.weight(self.largest)));
            self.inserted += 1;
            if self.rows.len() > self.capacity {
                self.rows.remove(0);
            }
        }
    }

    /// Keys and weights of the next sample.
    fn sample(&mut self) -> (Vec<u64>, Vec<f64>) {
        // The order in which rows are passed is that of their places in the ring.
        let mut rows = self.rows.clone();
        rows.sort_by_key(|&(key, _)| key % self.capacity as u64);
        let total: f64 = rows.iter().map(|&(_, weight)| weight).sum();
        let (mut keys, mut weights) = (Vec::new(), Vec::new());
        for row in 0..BATCH {
            let mut offset = [0.0];
            self.stream.fill_uniform(0.0, 1.0, &mut offset);
            let mut left = (row as f64 + f64::from(offset[0])) * (total / BATCH as f64);
            let found = rows.iter().find(|&&(_, weight)| {
                left -= weight;
                left < 0.0
            });
            let &(key, weight) = found.unwrap();
            keys.push(key);
            weights.push((rows.len() as f64 * weight / total).powf(-self.beta));
        }
        let largest = weights.iter().copied().fold(0.0, f64::max);
        (keys, weights.into_iter().map(|weight| weight / largest).collect())
    }

    fn feedback(&mut self, keys: &[u64], errors: &[f32]) {
        for (&key, &error) in keys.iter().zip(errors) {
            let priority = f64::from(error).abs() + EPSILON;
            let weight = self.weight(priority);
            if let Some(row) = self.rows.iter_mut().find(|row| row.0 == key) {
                row.1 = weight;
                self.largest = self.largest.max(priority);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Rows inserted between a sample and its feedback may have pushed the sampled ones out.
    #[test]
    fn the_replay_does_what_a_list_would(
        capacity in 1_usize..20,
        rooted in any::<bool>(),
        beta in prop_oneof![Just(0.0), Just(0.4), Just(1.0)],
        rounds in prop::collection::vec(
            (1_usize..8, 0_usize..4, prop::collection::vec((any::<bool>(), 1_u8..40), BATCH)),
            1..12,
        ),
    ) {
        let config = ReplayConfig { capacity, batch: BATCH, ..ReplayConfig::new(1, 1) };
        let priorities = Priorities { alpha: if rooted { 0.5 } else { 1.0 }, beta, beta_samples: 0, epsilon: EPSILON };
        let mut replay = PrioritisedReplay::new(&config, priorities, SEED, &Device::flex()).unwrap();
        let stream = RandomStream::new(derive_seed(SEED, "replay"), 0);
        let mut model = Model { capacity, rows: Vec::new(), inserted: 0, largest: 1.0, stream, rooted, beta };
        let insert = |replay: &mut PrioritisedReplay, count: usize| {
            let zeros = vec![0.0; count];
            let rows = Rows {
                observation: &zeros,
                action: &zeros,
                reward: &zeros,
                discount: &zeros,
                truncated: &vec![false; count],
                next_observation: &zeros,
            };
            replay.insert(0, rows).unwrap();
        };
        // An error whose priority, to the power of α, is that many quarters.
        let error = |(negative, quarters): (bool, u8)| {
            let weight = f32::from(quarters.max(2)) / 4.0;
            let size = if rooted { weight * weight } else { weight } - EPSILON as f32;
            if negative { -size } else { size }
        };
        for (before, between, quarters) in rounds {
            insert(&mut replay, before);
            model.insert(before);
            let sample = replay.sample().unwrap();
            let (keys, weights) = model.sample();
            let drawn: Vec<u64> = sample.keys.clone().unwrap().iter().map(|key| key.unwrap()).collect();
            prop_assert_eq!(&drawn, &keys);
            for (actual, expected) in values(sample.importance_weight.unwrap()).into_iter().zip(weights) {
                prop_assert!((f64::from(actual) - expected).abs() < 1e-6, "{} {}", actual, expected);
            }
            insert(&mut replay, between);
            model.insert(between);
            let errors: Vec<f32> = quarters.into_iter().map(error).collect();
            model.feedback(&keys, &errors);
            let td_error = Tensor::from_data(TensorData::new(errors, [1, BATCH]), &Device::flex());
            replay.feedback(Feedback { td_error, keys: sample.keys }).unwrap();
        }
    }
}
