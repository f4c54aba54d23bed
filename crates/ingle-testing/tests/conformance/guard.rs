//! What is not finite moves nothing, on every device, and is counted.

use burn::tensor::{DType, Device, Tensor, TensorData};
use ingle::guard::{Guard, Skipped};
use ingle::nested::RunningMoments;
use ingle::nested::ail::{AilConfig, AilReward};
use ingle::nested::rnd::RndConfig;
use ingle::optimiser::{Adam, Trainable, polyak};
use ingle::{LearnerCore, Nested, Record, RecordItem, State, Transitions};
use ingle_testing::sample::{Sizes, TestSample};
use ingle_testing::{device_or_skip, has_f64, values};

use crate::laws::{sac, td3};

const SIZES: Sizes = Sizes { population: 3, batch: 16, observation: 3, action: 2 };

fn devices() -> Vec<Device> {
    ["flex", "ndarray", "wgpu"].into_iter().filter_map(|name| device_or_skip(name, "the guard")).collect()
}

/// What an update moves, of one member.
fn moved(state: &impl State, member: usize) -> Record {
    let mut record = state.member(member).unwrap().save().unwrap();
    record.0.retain(|name, _| {
        ["noise", "updates", "steps", "skipped"]
            .iter()
            .all(|other| !name.split('/').any(|part| part == *other))
    });
    assert!(record.0.len() > 4, "{:?}", record.0.keys());
    record
}

/// The numbers of an item of a state.
fn item(state: &impl State, name: &str) -> Vec<f64> {
    match state.save().unwrap().0.remove(name) {
        Some(RecordItem::Tensor(data)) => ingle_testing::numbers(data),
        other => panic!("{name}: {other:?}"),
    }
}

/// Steps with poisoned samples in between: nothing of that member moves, and the counts are right.
fn skips<C: LearnerCore<Sample = Transitions>>(core: &C, device: &Device) {
    let mut state = core.init(5, device).unwrap();
    let sample = |seed| Transitions::random(SIZES, seed, DType::F32, device);
    let counts = |state: &C::State| (item(state, "skipped/total"), item(state, "skipped/in_a_row"));
    // The very first step too: there are no sums yet to divide by.
    for (steps, poisons) in [(0, 3), (4, 2)] {
        for seed in 0..steps {
            core.step(&mut state, sample(seed)).unwrap();
        }
        let before = [0, 1, 2].map(|member| moved(&state, member));
        let (total, _) = counts(&state);
        for seed in 0..poisons {
            let poisoned = sample(10 + seed).poisoned(1).swap_remove(0).1;
            let output = core.step(&mut state, poisoned).unwrap();
            let in_a_row = values(output.metrics.get("skipped_in_a_row").unwrap());
            assert_eq!(in_a_row, [0.0, (seed + 1) as f64, 0.0]);
        }
        assert_eq!(before[1], moved(&state, 1));
        assert_ne!(before[0], moved(&state, 0));
        assert_ne!(before[2], moved(&state, 2));
        let expected = [total[0], total[1] + poisons as f64, total[2]];
        assert_eq!(counts(&state), (expected.to_vec(), vec![0.0, poisons as f64, 0.0]));
    }
    // The counts come back with the state, and end with a sample that is finite.
    let mut resumed = core.init(6, device).unwrap();
    resumed.load(&state.save().unwrap()).unwrap();
    core.step(&mut resumed, sample(20)).unwrap();
    assert_eq!(counts(&resumed), (vec![0.0, 5.0, 0.0], vec![0.0; 3]));
    assert_ne!(moved(&state, 1), moved(&resumed, 1));
}

#[test]
fn an_update_that_is_not_finite_is_left_out_and_counted() {
    for device in devices() {
        skips(&sac(&[0, 1, 2]), &device);
        // Every update moves the actor and the targets.
        let config = ingle::td3::Td3Config { policy_delay: 1, ..td3(&[0, 1, 2]).config().clone() };
        skips(&config.init(3, 2).unwrap(), &device);
    }
}

#[test]
fn cloning_leaves_out_what_is_not_finite() {
    for device in devices() {
        let config = ingle::bc::BcConfig { population: 3, hidden: vec![8], ..Default::default() };
        let bc = config.init(3, 2).unwrap();
        let mut state = bc.init(5, &device).unwrap();
        let before = [0, 1].map(|member| moved(&state, member));
        let sample = Transitions::random(SIZES, 0, DType::F32, &device);
        for (what, poisoned) in sample.poisoned(1) {
            if ["action", "importance_weight"].contains(&what) {
                bc.step(&mut state, poisoned).unwrap();
            }
        }
        assert_eq!(before[1], moved(&state, 1));
        assert_ne!(before[0], moved(&state, 0));
        assert_eq!(item(&state, "skipped/total"), [0.0, 2.0, 0.0]);
    }
}

/// `ReLU` turns not-a-number into 0 on some devices, and a loss may be finite when a weight is not: the weights
/// themselves are watched.
#[test]
fn a_parameter_that_is_not_finite_is_noticed_on_every_device() {
    for device in devices() {
        let core = sac(&[0, 1, 2]);
        for network in ["actor", "critic"] {
            for place in [0, 70] {
                for value in [f64::NAN, f64::INFINITY] {
                    let mut state = core.init(5, &device).unwrap();
                    let mut record = state.save().unwrap();
                    let name = format!("{network}/parameters");
                    let Some(RecordItem::Tensor(data)) = record.0.get_mut(&name) else { panic!("{name}") };
                    let size = data.num_elements() / 3;
                    data.as_mut_slice::<f32>().unwrap()[size + place] = value as f32;
                    state.load(&record).unwrap();
                    let mut healthy = core.init(5, &device).unwrap();
                    let sample = Transitions::random(SIZES, 0, DType::F32, &device);
                    core.step(&mut state, sample.clone()).unwrap();
                    core.step(&mut healthy, sample).unwrap();
                    assert_eq!(item(&state, "skipped/in_a_row"), [0.0, 1.0, 0.0], "{name} {place} {value}");
                    assert_eq!(moved(&state, 2), moved(&healthy, 2));
                }
            }
        }
    }
}

/// A loss or a gradient in its own right, with and without clipping, and the target average after it.
#[test]
fn the_guard_holds_single_members() {
    for device in devices() {
        for precision in [DType::F32, DType::F64] {
            if precision == DType::F64 && !has_f64(&device) {
                continue;
            }
            for max_gradient_norm in [None, Some(0.5)] {
                let adam = Adam { max_gradient_norm, ..Adam::default() };
                let tensor = |values: Vec<f64>, width: usize| {
                    let rows = values.len() / width;
                    Tensor::<2>::from_data(TensorData::new(values, [rows, width]), (&device, precision))
                };
                let fresh = || Trainable::new(tensor(vec![1.0; 12], 2), tensor(vec![0.1; 6], 1));
                // Not-a-number, infinite, too large to be squared, small, and one with a loss that is infinite.
                let gradient =
                    vec![f64::NAN, 1.0, 0.0, f64::INFINITY, 1e20, 0.0, 0.5, -0.5, 0.5, -0.5, 0.0, 0.0];
                let gradient = tensor(gradient, 2);
                let loss = vec![0.0, 0.0, 0.0, 0.0, f64::NEG_INFINITY, 0.0];
                let loss = tensor(loss, 1).flatten::<1>(0, 1);
                let mut network = fresh();
                let mut target = tensor(vec![0.0; 12], 2);
                for _ in 0..2 {
                    let mut guard = Guard::new(&loss);
                    network.step(&adam, gradient.clone(), &mut guard);
                    polyak(&mut target, &network.parameters, &tensor(vec![0.5; 6], 1), &guard);
                }
                let parameters = values(&network.parameters);
                for member in [0, 1, 2, 4] {
                    assert_eq!(parameters[2 * member..2 * member + 2], [1.0; 2], "member {member}");
                    assert_eq!(values(&target)[2 * member..2 * member + 2], [0.0; 2], "member {member}");
                }
                assert!(parameters[6] < 0.9 && parameters[7] > 1.1, "{parameters:?}");
                assert!(values(&target)[6] > 0.5);
                // A gradient of 0 is a step like any other.
                let mut record = network.save().unwrap();
                let mut weights = |name: &str| match record.0.remove(name) {
                    Some(RecordItem::Tensor(data)) => ingle_testing::numbers(data),
                    _ => Vec::new(),
                };
                assert_eq!(
                    weights("gradient_weight").map_near(),
                    [0.0, 0.0, 0.0, 1.9, 0.0, 1.9],
                    "nothing decays in members that are held"
                );
                assert!(
                    weights("gradient_sum").iter().chain(&weights("square_sum")).all(|sum| sum.is_finite())
                );
            }
        }
    }
}

/// Numbers rounded to 4 digits.
trait Near {
    fn map_near(self) -> Vec<f64>;
}

impl Near for Vec<f64> {
    fn map_near(self) -> Vec<f64> {
        self.into_iter().map(|number| (number * 1e4).round() / 1e4).collect()
    }
}

#[test]
fn processors_are_guarded_too() {
    for device in devices() {
        let rnd = RndConfig { population: 3, hidden: vec![8], features: 4, ..RndConfig::default() };
        let nest = Nested { processor: rnd.init::<Transitions>(3).unwrap(), direct: sac(&[0, 1, 2]) };
        let mut state = nest.init(5, &device).unwrap();
        nest.step(&mut state, Transitions::random(SIZES, 0, DType::F32, &device)).unwrap();
        let mut record = state.save().unwrap();
        let name = "processor/predictor/parameters";
        let Some(RecordItem::Tensor(data)) = record.0.get_mut(name) else { panic!("{name}") };
        let last = data.num_elements() - 1;
        data.as_mut_slice::<f32>().unwrap()[last] = f32::NAN;
        state.load(&record).unwrap();
        let before = moved(&state.direct, 2);
        let output = nest.step(&mut state, Transitions::random(SIZES, 1, DType::F32, &device)).unwrap();
        // The novelty is not-a-number, and so is the reward that goes on: both layers leave their updates out.
        for metric in ["rnd_skipped_in_a_row", "rnd_skipped_updates", "skipped_in_a_row", "skipped_updates"] {
            assert_eq!(values(output.metrics.get(metric).unwrap()), [0.0, 0.0, 1.0], "{metric}");
        }
        assert_eq!(before, moved(&state.direct, 2));
        assert!(values(&state.processor.reward.mean).iter().all(|mean| mean.is_finite()));

        let ail =
            AilConfig { population: 3, hidden: vec![8], reward: AilReward::Gail, ..AilConfig::default() };
        let nest = Nested { processor: ail.init::<Transitions>(3, 2).unwrap(), direct: td3(&[0, 1, 2]) };
        let mut state = nest.init(5, &device).unwrap();
        let sample = ingle::ImitationSample::<Transitions>::random(SIZES, 0, DType::F32, &device);
        let before = moved(&state.processor, 1);
        let poisoned = sample.poisoned(1).into_iter().rfind(|(what, _)| *what == "observation").unwrap().1;
        let output = nest.step(&mut state, poisoned).unwrap();
        assert_eq!(values(output.metrics.get("ail_skipped_updates").unwrap()), [0.0, 1.0, 0.0]);
        assert_eq!(before, moved(&state.processor, 1));
    }
}

#[test]
fn moments_take_in_nothing_that_is_not_finite() {
    for device in devices() {
        let batch = |values: [f32; 8]| {
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), [2, 2, 2]), (&device, DType::F32))
        };
        let options = (&device).into();
        let (mut moments, mut healthy) =
            (RunningMoments::new(2, 2, &options), RunningMoments::new(2, 2, &options));
        // Before anything else was seen, and after.
        let poison = batch([1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN, 6.0, 7.0]);
        moments.update(&poison);
        assert_eq!(values(&moments.count), [2.0, 0.0]);
        assert_eq!(values(&moments.mean), [2.0, 3.0, 0.0, 0.0]);
        let plain = batch([1.0, 2.0, 3.0, 4.0, 5.0, 1.0, 6.0, 7.0]);
        moments.update(&plain);
        moments.update(&batch([1.0, 2.0, 3.0, 4.0, f32::INFINITY, 1.0, 6.0, 7.0]));
        healthy.update(&plain);
        assert_eq!(values(&moments.count), [6.0, 2.0]);
        assert_eq!(values(&moments.mean)[2..], values(&healthy.mean)[2..]);
        assert_eq!(values(&moments.variance)[2..], values(&healthy.variance)[2..]);
    }
}

/// A loss that comes after others, and parameters whose gradient is finite.
#[test]
fn whatever_is_watched_holds_its_member() {
    for device in devices() {
        let tensor = |values: [[f32; 2]; 3]| Tensor::<2>::from_floats(values, &device);
        let zeros = Tensor::<1>::zeros([3], &device);
        let mut guard = Guard::new(&zeros);
        guard.watch(&Tensor::from_floats([0.0, f32::NAN, 0.0], &device));
        guard.watch(&Tensor::from_floats([0.0, 0.0, f32::INFINITY], &device));
        assert_eq!(values(&guard.held()), [0.0, 1.0, 1.0]);

        let rate = Tensor::full([3, 1], 0.1, &device);
        let parameters = tensor([[1.0, 1.0], [f32::NAN, 1.0], [1.0, 1e20]]);
        let mut network = Trainable::new(parameters, rate);
        let mut guard = Guard::new(&zeros);
        network.step(&Adam::default(), tensor([[0.5; 2]; 3]), &mut guard);
        assert_eq!(values(&guard.held()), [0.0, 1.0, 1.0]);
        let parameters = values(&network.parameters);
        assert!(parameters[0] < 1.0 && parameters[1] < 1.0, "{parameters:?}");
        assert_eq!((parameters[3], parameters[4]), (1.0, 1.0));
    }
}

#[test]
fn skips_are_counted_for_each_member() {
    let device = ingle::device::open("flex").unwrap();
    let mut skipped = Skipped::new(3, &(&device).into());
    for losses in [[0.0, f32::NAN, 0.0], [1.0, f32::NAN, f32::INFINITY], [1.0, 2.0, f32::NAN]] {
        skipped.count(&Guard::new(&Tensor::from_floats(losses, &device)));
    }
    assert_eq!(values(&skipped.total), [0.0, 2.0, 2.0]);
    assert_eq!(values(&skipped.in_a_row), [0.0, 0.0, 2.0]);
}
