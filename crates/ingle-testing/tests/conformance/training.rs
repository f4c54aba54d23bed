//! The whole loop on every device: the same seeds learn to the same losses.

use std::collections::BTreeMap;

use burn::tensor::Device;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::sac::SacConfig;
use ingle::train::{Checkpoints, Event, Observer, TrainError};
use ingle::{Checkpoint, CoreLearner, TrainConfig, Trainer};
use ingle_testing::device_or_skip;

#[derive(Default)]
struct Last {
    updates: u64,
    metrics: BTreeMap<String, Vec<f64>>,
}

impl Observer for Last {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        if let Event::Metrics { updates, metrics, .. } = event {
            self.updates = *updates;
            self.metrics.clone_from(metrics);
        }
        Ok(())
    }
}

/// Small networks on Pendulum: 60 updates, and the metrics of the last one.
fn train(device: &Device) -> Last {
    let core = SacConfig { hidden: vec![16, 16], ..SacConfig::default() }.init(3, 1).unwrap();
    let replay =
        UniformReplay::new(&ReplayConfig { batch: 32, ..ReplayConfig::new(3, 1) }, 2, device).unwrap();
    let learner = CoreLearner::new(core, replay, 2, device).unwrap();
    let pendulum = || vec![Box::new(make_vector("pendulum", 1).unwrap()) as Box<dyn VectorEnvironment>];
    let config = TrainConfig {
        steps: 100,
        warmup_steps: 40,
        log_interval: 100,
        evaluation_interval: 0,
        evaluation_episodes: 1,
        ..TrainConfig::default()
    };
    let mut last = Last::default();
    Trainer::new(learner, pendulum(), pendulum(), config, 2).unwrap().run(&mut [&mut last]).unwrap();
    assert_eq!(last.updates, 60);
    last
}

#[test]
fn training_learns_to_the_same_losses_on_every_device() {
    let reference = train(&ingle::device::open("flex").unwrap());
    for name in ["ndarray", "wgpu"] {
        let Some(device) = device_or_skip(name, "training to the same losses") else { continue };
        let last = train(&device);
        for (metric, expected) in &reference.metrics {
            let (ours, expected) = (last.metrics[metric][0], expected[0]);
            println!("{name:8} {metric:16} {ours:12.6} (flex {expected:12.6})");
            // Actions feed back into the data, so rounding grows; a wrong operation is off by far more.
            assert!((ours - expected).abs() <= 1e-3 * (1.0 + expected.abs()), "{name}: {metric}");
        }
    }
}

type Sac = CoreLearner<ingle::sac::Sac, UniformReplay>;

/// A run that is about to begin, on a device; `seed` shows where something is not loaded.
fn trainer(device: &Device, steps: u64, seed: u64) -> Trainer<Sac> {
    let core = SacConfig { hidden: vec![8], ..SacConfig::default() }.init(3, 1).unwrap();
    let replay = ReplayConfig { batch: 8, capacity: 50, ..ReplayConfig::new(3, 1) };
    let replay = UniformReplay::new(&replay, seed, device).unwrap();
    let learner = CoreLearner::new(core, replay, seed, device).unwrap();
    let pendulum = || vec![Box::new(make_vector("pendulum", 1).unwrap()) as Box<dyn VectorEnvironment>];
    let config = TrainConfig {
        steps,
        warmup_steps: 20,
        evaluation_interval: 0,
        evaluation_episodes: 1,
        checkpoint_interval: 0,
        ..TrainConfig::default()
    };
    Trainer::new(learner, pendulum(), pendulum(), config, seed).unwrap()
}

#[test]
fn a_checkpoint_goes_from_device_to_device_and_back() {
    let directory = std::env::temp_dir().join(format!("ingle-devices-{}", std::process::id()));
    let flex = ingle::device::open("flex").unwrap();
    let others = ["wgpu", "ndarray"].into_iter().filter_map(|name| device_or_skip(name, "checkpoints"));
    let mut checkpoints = Checkpoints::new(&directory, "", 10);
    trainer(&flex, 60, 1).run_saving(&mut checkpoints, &mut []).unwrap();
    let mut steps = 60;
    for device in others.chain([flex.clone()]) {
        let saved = checkpoints.read(steps).unwrap().record;
        let mut loaded = trainer(&device, steps, 2);
        loaded.load_checkpoint(&saved).unwrap();
        assert!(loaded.save_checkpoint().unwrap() == saved, "{device:?} changes the bits of step {steps}");
        // And it goes on there, to a checkpoint for the next one.
        steps += 10;
        let mut longer = trainer(&device, steps, 3);
        longer.load_checkpoint(&saved).unwrap();
        longer.run_saving(&mut checkpoints, &mut []).unwrap();
        assert_eq!(longer.updates(), steps - 20, "{device:?}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}
