//! Replays, demonstrations and the limiter, against plain models. The ring and the limiter are in this file.

mod checkpoint;
mod demonstrations;
mod mixed;
mod mutations;
mod n_step;
mod prioritised;

use std::collections::VecDeque;

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::{Error, Feedback, Keys, Sampler, Transitions};
use ingle_replay::{
    Data, Insert, Priorities, PrioritisedReplay, RateLimiter, ReplayConfig, Rows, UniformReplay,
};
use proptest::prelude::*;

const OBSERVATION: usize = 3;
const ACTION: usize = 2;

fn config(capacity: usize, batch: usize) -> ReplayConfig {
    ReplayConfig { capacity, batch, ..ReplayConfig::new(OBSERVATION, ACTION) }
}

fn replay(capacity: usize, batch: usize) -> UniformReplay {
    UniformReplay::new(&config(capacity, batch), 0, &Device::flex()).unwrap()
}

/// Rows `numbers`, in which every element tells which row and field it belongs to.
fn insert(replay: &mut impl Insert, member: usize, numbers: std::ops::Range<u64>) -> Result<(), Error> {
    let field = |offset: f32, width: usize| -> Vec<f32> {
        numbers.clone().flat_map(|n| (0..width).map(move |i| n as f32 + offset + 0.01 * i as f32)).collect()
    };
    replay.insert(
        member,
        Rows {
            observation: &field(0.1, OBSERVATION),
            action: &field(0.2, ACTION),
            reward: &field(0.3, 1),
            discount: &field(0.4, 1),
            truncated: &vec![false; field(0.4, 1).len()],
            next_observation: &field(0.5, OBSERVATION),
        },
    )
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().as_slice::<f32>().unwrap().to_vec()
}

/// The numbers of the sampled rows, after checking that each row's fields belong together and fit its key.
fn sampled(replay: &mut impl Sampler<Sample = Transitions>) -> Vec<u64> {
    let sample = replay.sample().unwrap();
    let keys = known(&sample.keys.clone().unwrap());
    let [members, batch, _] = sample.observation.dims();
    let fields = [
        (0.1, OBSERVATION, values(sample.observation)),
        (0.2, ACTION, values(sample.action)),
        (0.3, 1, values(sample.reward)),
        (0.4, 1, values(sample.discount)),
        (0.5, OBSERVATION, values(sample.next_observation)),
    ];
    for row in 0..members * batch {
        for (offset, width, values) in &fields {
            for i in 0..*width {
                let expected = keys[row] as f32 + offset + 0.01 * i as f32;
                assert!((values[row * width + i] - expected).abs() < 1e-3, "row {row}, key {}", keys[row]);
            }
        }
    }
    keys
}

/// The keys of rows that all come from a replay.
fn known(keys: &Keys) -> Vec<u64> {
    keys.iter().map(|key| key.expect("a row of the replay")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_ring_holds_what_a_queue_would(capacity in 1_usize..12, counts in prop::collection::vec(0_u64..15, 1..8)) {
        let mut replay = replay(capacity, 40);
        let mut model = VecDeque::new();
        let mut inserted = 0;
        for count in counts {
            insert(&mut replay, 0, inserted..inserted + count).unwrap();
            for number in inserted..inserted + count {
                model.push_back(number);
                if model.len() > capacity {
                    model.pop_front();
                }
            }
            inserted += count;
            prop_assert_eq!(replay.len(), model.len());
            prop_assert_eq!(replay.inserted(), inserted);
            if model.is_empty() {
                prop_assert!(matches!(replay.sample(), Err(Error::Sample(_))));
            } else {
                for number in sampled(&mut replay) {
                    prop_assert!(model.contains(&number), "{} not in {:?}", number, model);
                }
            }
        }
    }

    #[test]
    fn the_limiter_keeps_its_bounds_and_never_stands_still(
        ratio in prop_oneof![Just(0.1), Just(0.25), Just(1.0), Just(2.5), 0.01_f64..8.0],
        min_size in 0_u64..40,
        at_once in 1_u64..9,
        choices in prop::collection::vec(any::<bool>(), 200),
    ) {
        let mut limiter = RateLimiter::exact(ratio, min_size, at_once).unwrap();
        let start = ratio * min_size as f64;
        for insert_first in choices {
            let may_insert = limiter.may_insert(at_once);
            prop_assert!(may_insert || limiter.may_sample(), "a deadlock at {:?}", limiter);
            if may_insert && (insert_first || !limiter.may_sample()) {
                limiter.insert(at_once).unwrap();
            } else {
                limiter.sample().unwrap();
            }
            if limiter.inserts() >= min_size {
                let difference = limiter.difference();
                prop_assert!(difference >= start - 1e-5, "{difference} below {start}");
                prop_assert!(difference <= start + ratio * at_once as f64 + 1.0 + 1e-5);
            } else {
                prop_assert_eq!(limiter.samples(), 0);
            }
        }
    }
}

#[test]
fn a_loop_that_samples_when_due_keeps_the_ratio_exact() {
    // Multiples of 0.7 and 0.07 are often a rounding error below the number of samples that is due.
    let ratios = [(0.1, 1), (0.25, 3), (0.7, 1), (0.07, 2), (1.0, 1), (1.0, 8), (2.5, 4), (20.0, 1)];
    for (ratio, at_once) in ratios {
        let mut limiter = RateLimiter::exact(ratio, 100, at_once).unwrap();
        while limiter.inserts() < 30_000 {
            assert!(limiter.may_insert(at_once));
            limiter.insert(at_once).unwrap();
            while limiter.may_sample() {
                limiter.sample().unwrap();
            }
            let due = (limiter.inserts() as f64 - 100.0).max(0.0) * ratio;
            assert_eq!(
                limiter.samples(),
                (due + 1e-6).floor() as u64,
                "{ratio} {at_once} at {}",
                limiter.inserts()
            );
        }
    }
}

#[test]
fn impossible_limits_are_refused() {
    // Nothing could be inserted after the first samples: the band is narrower than one round.
    for result in [
        RateLimiter::new(4.0, 10, 40.0, 43.0, 1),
        RateLimiter::new(1.0, 10, 0.0, 5.0, 1),
        RateLimiter::new(0.0, 10, 0.0, 50.0, 1),
        RateLimiter::new(f64::NAN, 10, 0.0, 50.0, 1),
        RateLimiter::exact(1.0, 0, 0),
        RateLimiter::exact(f64::INFINITY, 0, 1),
    ] {
        assert!(matches!(result, Err(Error::Config(_))), "{result:?}");
    }
}

/// Bounds of one's own: samples that fell due in the warm-up are drawn when it is over, and it can always be completed, even
/// if the last rows of it overshoot the upper bound.
#[test]
fn the_first_rows_are_waited_for_whatever_the_bounds() {
    let mut limiter = RateLimiter::new(1.0, 10, 0.0, 10.0, 4).unwrap();
    for (inserts, due) in [(4, 0), (8, 0), (12, 12)] {
        assert!(limiter.may_insert(4), "after {} inserts", limiter.inserts());
        limiter.insert(4).unwrap();
        assert_eq!((limiter.inserts(), limiter.due()), (inserts, due));
    }
    assert!(!limiter.may_insert(1), "12 are above the bound");
    let mut limiter = RateLimiter::new(1.0, 3, 0.0, 5.0, 1).unwrap();
    for due in [0, 0, 3, 4, 5] {
        limiter.insert(1).unwrap();
        assert_eq!(limiter.due(), due, "{limiter:?}");
    }
}

#[test]
fn a_refused_insert_or_sample_is_not_counted() {
    let mut limiter = RateLimiter::exact(1.0, 4, 1).unwrap();
    assert!(limiter.sample().unwrap_err().to_string().contains("0 inserts, 0 samples"));
    limiter.insert(4).unwrap();
    assert!(limiter.insert(3).is_err());
    assert_eq!((limiter.inserts(), limiter.samples()), (4, 0));
}

#[test]
fn equal_seeds_draw_equal_rows_and_members_draw_what_they_would_alone() {
    let population = ReplayConfig { population: 3, data: Data::Shared, ..config(50, 16) };
    let mut together = UniformReplay::new(&population, 7, &Device::flex()).unwrap();
    insert(&mut together, 0, 0..50).unwrap();
    let keys = sampled(&mut together);
    for member in 0..3 {
        let mut alone = UniformReplay::new(&config(50, 16), 7 + member, &Device::flex()).unwrap();
        insert(&mut alone, 0, 0..50).unwrap();
        assert_eq!(sampled(&mut alone), keys[member as usize * 16..(member as usize + 1) * 16]);
    }
    assert_ne!(keys[..16], keys[16..32]);
    assert_ne!(sampled(&mut together), keys, "the next sample is another one");
}

#[test]
fn members_with_own_data_sample_only_their_own() {
    let own = ReplayConfig { population: 2, ..config(50, 16) };
    let mut replay = UniformReplay::new(&own, 0, &Device::flex()).unwrap();
    insert(&mut replay, 0, 0..10).unwrap();
    assert!(replay.is_empty(), "member 1 has nothing");
    assert!(replay.sample().is_err());
    insert(&mut replay, 1, 0..3).unwrap();
    let keys = sampled(&mut replay);
    assert!(keys[16..].iter().all(|&key| key < 3));
    assert!(matches!(insert(&mut replay, 2, 0..1), Err(Error::Config(_))));
}

/// What a population plays together, every member learns from.
#[test]
fn members_that_share_their_data_insert_into_one_ring() {
    let shared = ReplayConfig { population: 3, data: Data::Shared, ..config(50, 200) };
    let mut uniform = UniformReplay::new(&shared, 0, &Device::flex()).unwrap();
    let mut prioritised = PrioritisedReplay::new(&shared, Priorities::default(), 0, &Device::flex()).unwrap();
    for member in 0..3 {
        let row = member as u64;
        insert(&mut uniform, member, row..row + 1).unwrap();
        insert(&mut prioritised, member, row..row + 1).unwrap();
    }
    assert_eq!((uniform.len(), uniform.inserted(), prioritised.len()), (3, 3, 3));
    for keys in [sampled(&mut uniform), sampled(&mut prioritised)] {
        for own in keys.chunks(200) {
            assert!((0..3).all(|key| own.contains(&key)), "every member draws every row");
        }
    }
    assert!(matches!(insert(&mut uniform, 3, 0..1), Err(Error::Config(_))));
    assert!(matches!(insert(&mut prioritised, 3, 0..1), Err(Error::Config(_))));
}

#[test]
fn sampling_is_uniform() {
    let mut replay = replay(10, 1000);
    insert(&mut replay, 0, 0..10).unwrap();
    let mut counts = [0_f64; 10];
    for _ in 0..20 {
        for key in sampled(&mut replay) {
            counts[key as usize] += 1.0;
        }
    }
    let expected = 2000.0;
    let chi_square: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    // 9 degrees of freedom: 33.7 is exceeded once in 10,000 seeds; the seed is fixed.
    assert!(chi_square < 33.7, "{counts:?}");
}

#[test]
fn bad_sizes_and_rows_are_refused() {
    let zero = ReplayConfig { capacity: 0, batch: 0, population: 0, ..ReplayConfig::new(0, 0) };
    match UniformReplay::new(&zero, 0, &Device::flex()) {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 5, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    let mut replay = replay(4, 2);
    let good = Rows {
        observation: &[0.0; 6],
        action: &[0.0; 4],
        reward: &[0.0; 2],
        discount: &[0.0; 2],
        truncated: &[false; 2],
        next_observation: &[0.0; 6],
    };
    let short = replay.insert(0, Rows { action: &[0.0; 3], ..good }).unwrap_err().to_string();
    assert!(short.contains("action: expected shape 2 rows of 2"), "{short}");
    let mut next_observation = [0.0; 6];
    next_observation[4] = f32::NAN;
    let error = replay.insert(0, Rows { next_observation: &next_observation, ..good }).unwrap_err();
    assert_eq!(error.to_string(), "next_observation, row 1, element 1: NaN is not finite");
    assert!(replay.is_empty(), "nothing of a refused batch is stored");
    replay.insert(0, good).unwrap();
    assert_eq!(replay.len(), 2);
}

#[test]
fn a_capacity_of_one_keeps_the_newest() {
    let mut replay = replay(1, 3);
    insert(&mut replay, 0, 0..5).unwrap();
    assert_eq!(sampled(&mut replay), [4, 4, 4]);
}

fn prioritised(capacity: usize, batch: usize, priorities: Priorities) -> PrioritisedReplay {
    PrioritisedReplay::new(&config(capacity, batch), priorities, 0, &Device::flex()).unwrap()
}

fn insert_prioritised(replay: &mut PrioritisedReplay, count: usize) {
    let rows = Rows {
        observation: &vec![0.0; count * OBSERVATION],
        action: &vec![0.0; count * ACTION],
        reward: &vec![0.0; count],
        discount: &vec![0.0; count],
        truncated: &vec![false; count],
        next_observation: &vec![0.0; count * OBSERVATION],
    };
    replay.insert(0, rows).unwrap();
}

/// Gives every row its own error: that of key k is `error(k)`.
fn give_errors(replay: &mut PrioritisedReplay, rounds: usize, error: impl Fn(u64) -> f32) {
    for _ in 0..rounds {
        let keys = replay.sample().unwrap().keys.unwrap();
        let errors: Vec<f32> = known(&keys).into_iter().map(&error).collect();
        let td_error = Tensor::from_data(TensorData::new(errors, [1, keys.len()]), &Device::flex());
        replay.feedback(Feedback { td_error, keys: Some(keys) }).unwrap();
    }
}

#[test]
fn rows_are_drawn_in_proportion_to_their_priorities_and_weighted_back() {
    let priorities = Priorities { alpha: 0.5, beta: 1.0, ..Priorities::default() };
    let mut replay = prioritised(8, 4000, priorities);
    insert_prioritised(&mut replay, 8);
    give_errors(&mut replay, 3, |key| (key + 1) as f32);
    let sample = replay.sample().unwrap();
    let keys = known(&sample.keys.unwrap());
    let weights = values(sample.importance_weight.unwrap());
    let total: f64 = (1..=8).map(|p| f64::from(p).sqrt()).sum();
    for key in 0..8_u64 {
        let probability = ((key + 1) as f64).sqrt() / total;
        let share = keys.iter().filter(|own| **own == key).count() as f64 / 4000.0;
        // Drawn from equal shares of the whole, a row's count is within two of what is expected.
        assert!((share - probability).abs() < 2.0 / 4000.0, "{key}: {share} {probability}");
        // With β = 1 a weight is the inverse of the probability, over the largest, that of row 0.
        let weight = f64::from(weights[keys.iter().position(|own| *own == key).unwrap()]);
        assert!((weight - 1.0 / ((key + 1) as f64).sqrt()).abs() < 1e-4, "{key}: {weight}");
    }
}

#[test]
fn new_rows_enter_at_the_largest_priority_and_stale_keys_change_nothing() {
    let mut replay = prioritised(4, 64, Priorities { alpha: 1.0, ..Priorities::default() });
    insert_prioritised(&mut replay, 4);
    give_errors(&mut replay, 5, |_| 0.01);
    give_errors(&mut replay, 5, |key| if key == 2 { 9.0 } else { 0.01 });
    // Rows 4 and 5 push out rows 0 and 1, and come in at 9.
    insert_prioritised(&mut replay, 2);
    let keys = known(&replay.sample().unwrap().keys.unwrap());
    let count = |key| keys.iter().filter(|own| **own == key).count();
    assert!(count(4) > 15 && count(5) > 15 && count(2) > 15 && count(3) <= 1, "{keys:?}");
    assert_eq!(count(0) + count(1), 0);
    // Feedback on a row that is gone is dropped, and so is one that is not a number.
    let stale = |key: u64, error: f32| Feedback {
        td_error: Tensor::from_data(TensorData::new(vec![error; 64], [1, 64]), &Device::flex()),
        keys: Some(vec![Some(key); 64].into()),
    };
    let mut same = replay.clone();
    same.feedback(stale(0, 1e6)).unwrap();
    same.feedback(stale(3, f32::NAN)).unwrap();
    assert_eq!(same.sample().unwrap().keys, replay.sample().unwrap().keys);
    let short = Feedback { td_error: Tensor::zeros([1, 2], &Device::flex()), keys: Some([Some(1)].into()) };
    assert!(matches!(replay.feedback(short), Err(Error::Shape { field: "feedback", .. })));
}

/// Keys count in each ring anew: the same key names another row of each member.
#[test]
fn feedback_reaches_the_rows_of_its_own_member() {
    let config = ReplayConfig { population: 2, ..config(4, 64) };
    let priorities = Priorities { alpha: 1.0, ..Priorities::default() };
    let mut replay = PrioritisedReplay::new(&config, priorities, 0, &Device::flex()).unwrap();
    for member in 0..2 {
        insert(&mut replay, member, 0..4).unwrap();
    }
    for _ in 0..5 {
        let keys = replay.sample().unwrap().keys.unwrap();
        let error = |(row, key): (usize, u64)| if key == row as u64 / 64 { 9.0 } else { 0.01 };
        let errors: Vec<f32> = known(&keys).into_iter().enumerate().map(error).collect();
        let td_error = Tensor::from_data(TensorData::new(errors, [2, 64]), &Device::flex());
        replay.feedback(Feedback { td_error, keys: Some(keys) }).unwrap();
    }
    let keys = sampled(&mut replay);
    for (member, own) in keys.chunks(64).enumerate() {
        let count = own.iter().filter(|key| **key == member as u64).count();
        assert!(count > 60, "member {member}: {own:?}");
    }
}

/// Rows that a processor put into the batch have no key: whatever their errors, no priority moves.
#[test]
fn feedback_on_rows_without_a_key_changes_nothing() {
    let mut replay = prioritised(4, 2, Priorities { alpha: 1.0, ..Priorities::default() });
    insert_prioritised(&mut replay, 4);
    let mut told = replay.clone();
    let errors = TensorData::new(vec![1e6_f32, 3.0, 1e6], [1, 3]);
    let td_error = Tensor::from_data(errors, &Device::flex());
    told.feedback(Feedback { td_error, keys: Some([None, Some(2), None].into()) }).unwrap();
    let td_error = Tensor::from_data(TensorData::new(vec![3.0_f32], [1, 1]), &Device::flex());
    replay.feedback(Feedback { td_error, keys: Some([Some(2)].into()) }).unwrap();
    for _ in 0..20 {
        let (told, replay) = (told.sample().unwrap(), replay.sample().unwrap());
        assert_eq!(told.keys, replay.keys);
        assert_eq!(values(told.importance_weight.unwrap()), values(replay.importance_weight.unwrap()));
    }
}

#[test]
fn beta_goes_to_one() {
    let priorities = Priorities { alpha: 1.0, beta: 0.0, beta_samples: 10, ..Priorities::default() };
    let mut replay = prioritised(2, 100, priorities);
    insert_prioritised(&mut replay, 2);
    give_errors(&mut replay.clone(), 1, |_| 1.0);
    let weights = values(replay.sample().unwrap().importance_weight.unwrap());
    assert!(weights.iter().all(|weight| *weight == 1.0), "β = 0 weighs all alike");
    give_errors(&mut replay, 12, |key| if key == 0 { 1.0 } else { 4.0 });
    let mut weights = values(replay.sample().unwrap().importance_weight.unwrap());
    weights.sort_by(f32::total_cmp);
    assert!((weights[0] - 0.25).abs() < 1e-3 && weights[99] == 1.0, "β = 1: {} {}", weights[0], weights[99]);
}

#[test]
fn wrong_priorities_are_listed() {
    let wrong = Priorities { alpha: 1.5, beta: -0.1, beta_samples: 0, epsilon: 0.0 };
    match PrioritisedReplay::new(&config(4, 2), wrong, 0, &Device::flex()) {
        Err(Error::Config(problems)) => assert_eq!(problems.len(), 3, "{problems:?}"),
        other => panic!("{other:?}"),
    }
    assert!(prioritised(4, 2, Priorities::default()).sample().is_err(), "nothing to sample");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was inserted and fed back, only rows that are there are drawn, with weights in (0, 1].
    #[test]
    fn prioritised_samples_are_always_of_stored_rows(
        capacity in 1_usize..9,
        rounds in prop::collection::vec((1_usize..12, 0.0_f32..100.0), 1..6),
    ) {
        let mut replay = prioritised(capacity, 16, Priorities::default());
        let mut inserted = 0;
        for (count, error) in rounds {
            insert_prioritised(&mut replay, count);
            inserted += count as u64;
            give_errors(&mut replay, 2, |key| error * key as f32);
            let sample = replay.sample().unwrap();
            let oldest = inserted.saturating_sub(capacity as u64);
            prop_assert!(known(&sample.keys.unwrap()).iter().all(|key| (oldest..inserted).contains(key)));
            let weights = values(sample.importance_weight.unwrap());
            prop_assert!(weights.iter().all(|weight| *weight > 0.0 && *weight <= 1.0), "{weights:?}");
        }
    }
}
