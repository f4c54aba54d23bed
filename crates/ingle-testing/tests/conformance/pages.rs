//! The code that pages quote and no example has. It runs, so that a page that quotes it is right.

use std::path::Path;

use burn::tensor::{DType, Device};
use ingle::bc::{BcConfig, BcLoss};
use ingle::nested::ail::AilConfig;
use ingle::nested::airl::AirlConfig;
use ingle::nested::normalise::NormaliseConfig;
use ingle::nested::rnd::RndConfig;
use ingle::nested::scale::ScaleConfig;
use ingle::nested::sqil::SqilConfig;
use ingle::nested::standardise::StandardiseConfig;
use ingle::pretraining::hand_over;
use ingle::processor::FromFn;
use ingle::replay::demonstrations::{DemonstrationConfig, Demonstrations, ReadOptions, Spaces};
use ingle::replay::{
    Insert, Mixed, NStepReplay, Priorities, PrioritisedReplay, ReplayConfig, Rows, UniformReplay,
    WithDemonstrations,
};
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::train::{Foreign, Mode};
use ingle::{
    CoreLearner, ImitationSample, Learner, LearnerCore, NStep, Nested, Result, Rewarded, SavedPolicy,
    SideBySide, State, TrainConfig, Trainer, Transitions,
};
use ingle_testing::device;
use ingle_testing::fakes::Queue;
use ingle_testing::sample::{Sizes, TestSample};

const SIZES: Sizes = Sizes { population: 1, batch: 4, observation: 3, action: 1 };

fn rows(seed: u64, device: &Device) -> Transitions {
    Transitions::random(SIZES, seed, DType::F32, device)
}

/// Seed, device, and a sample of a learner's own rows with demonstrations.
fn imitation() -> (u64, Device, ImitationSample<Transitions>) {
    let device = device();
    let sample = ImitationSample { rl: rows(0, &device), demonstrations: rows(1, &device) };
    (0, device, sample)
}

#[test]
fn adversarial_imitation() -> Result<()> {
    let (seed, device, sample) = imitation();
    let ImitationSample { rl: own_transitions, demonstrations } = sample;
    let td3 = Td3Config::default().init(3, 1)?;
    let ail = AilConfig::default().init::<Transitions>(3, 1)?; // observation and action elements
    let nest = Nested { processor: ail, direct: td3 };
    let mut state = nest.init(seed, &device)?;
    nest.step(&mut state, ImitationSample { rl: own_transitions, demonstrations })?;
    Ok(())
}

#[test]
fn adversarial_inverse_reinforcement_learning() -> Result<()> {
    let (seed, device, sample) = imitation();
    let ImitationSample { rl: own_transitions, demonstrations } = sample;
    let sac = SacConfig::default().init(3, 1)?;
    let airl = AirlConfig::default().init(sac)?;
    let mut state = airl.init(seed, &device)?;
    airl.step(&mut state, ImitationSample { rl: own_transitions, demonstrations })?;
    Ok(())
}

#[test]
fn soft_q_imitation() -> Result<()> {
    let (seed, device, sample) = imitation();
    let ImitationSample { rl: own_transitions, demonstrations } = sample;
    let sac = SacConfig::default().init(3, 1)?;
    let nest = Nested { processor: SqilConfig::default().init::<Transitions>(3, 1)?, direct: sac };
    let mut state = nest.init(seed, &device)?;
    nest.step(&mut state, ImitationSample { rl: own_transitions, demonstrations })?;
    Ok(())
}

#[test]
fn behaviour_cloning() -> Result<()> {
    let (seed, device) = (0, device());
    let demonstrations = Queue::new(vec![rows(0, &device)]);
    let bc = BcConfig::default().init(3, 1)?; // observation and action elements
    let mut learner = CoreLearner::new(bc, demonstrations, seed, &device)?; // any `Sampler` of `Transitions`
    learner.step()?;
    Ok(())
}

#[test]
fn pretraining() -> Result<()> {
    let (seed, device) = (0, device());
    let bc = BcConfig { loss: BcLoss::LogLikelihood, ..BcConfig::default() }.init(3, 1)?;
    let mut cloned = bc.init(seed, &device)?;
    bc.step(&mut cloned, rows(0, &device))?; // on demonstrations, many times

    let sac = SacConfig::default().init(3, 1)?;
    let mut state = sac.init(seed, &device)?;
    hand_over(&bc, &cloned, &sac, &mut state)?; // or &td3, after `mean_squared_error`
    Ok(())
}

#[test]
fn processors_of_one_kind_of_sample() -> Result<()> {
    let (seed, device) = (0, device());
    let core = SacConfig::default().init(3, 1)?;
    let nest = Nested { processor: RndConfig::default().init::<Transitions>(3)?, direct: core.clone() };
    nest.step(&mut nest.init(seed, &device)?, rows(0, &device))?;
    let nest = Nested { processor: NormaliseConfig::default().init::<Transitions>(3)?, direct: core.clone() };
    nest.step(&mut nest.init(seed, &device)?, rows(0, &device))?;
    let nest = Nested { processor: ScaleConfig::default().init::<Transitions>()?, direct: core };
    nest.step(&mut nest.init(seed, &device)?, rows(0, &device))?;
    Ok(())
}

#[test]
fn a_function_as_a_processor() -> Result<()> {
    let (seed, device) = (0, device());
    let sac = SacConfig::default().init(3, 1)?;
    let clip = FromFn::new("clip", |sample: Transitions| {
        let reward = sample.reward.clone().clamp(-1.0, 1.0);
        Ok(sample.with_reward(reward))
    });
    let nest = Nested { processor: clip, direct: sac };
    nest.step(&mut nest.init(seed, &device)?, rows(0, &device))?;
    Ok(())
}

#[test]
fn demonstrations() -> Result<(), Box<dyn std::error::Error>> {
    let (seed, device) = (0, device());
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors"));
    let td3_bc = Td3Config { behaviour_cloning: Some(2.5.into()), ..Td3Config::default() }.init(3, 1)?;
    let replay = UniformReplay::new(&ReplayConfig::new(3, 1), seed, &device)?;

    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let demonstrations = Demonstrations::read(path, spaces)?; // demonstrations/pendulum.safetensors
    let sampler = DemonstrationConfig::default().init(&demonstrations, seed, &device)?;
    let learner = CoreLearner::new(td3_bc, sampler.clone(), seed, &device)?; // offline: TD3+BC
    let sampler = WithDemonstrations { rl: replay, demonstrations: sampler }; // imitation: `Ail`'s sample

    let mut learner = learner;
    learner.step()?;
    assert!(sampler.rl.is_empty());
    Ok(())
}

#[test]
fn offline() -> Result<(), Box<dyn std::error::Error>> {
    let (seed, device) = (0, device());
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors"));
    let evaluation = Vec::new();
    let config = TrainConfig { steps: 3, ..TrainConfig::default() };

    let demonstrations = Demonstrations::read(path, ReadOptions::default())?;
    let (mean, deviation) = demonstrations.observation_moments();
    let td3_bc = Nested {
        processor: StandardiseConfig { mean, deviation, ..StandardiseConfig::default() }.init(3)?,
        direct: Td3Config { behaviour_cloning: Some(2.5.into()), ..Td3Config::default() }.init(3, 1)?,
    };
    let sampler = DemonstrationConfig::default().init(&demonstrations, seed, &device)?;
    let learner = CoreLearner::new(td3_bc, sampler, seed, &device)?;
    Trainer::offline(learner, evaluation, config, seed)?.run(&mut [])?;
    Ok(())
}

#[test]
fn replays() -> Result<()> {
    let (seed, device) = (0, device());
    let row = Rows {
        observation: &[0.0; 3],
        action: &[0.5],
        reward: &[1.0],
        discount: &[0.99],
        truncated: &[false],
        next_observation: &[0.1; 3],
    };
    let sac = SacConfig::default().init(3, 1)?;

    let config = ReplayConfig { capacity: 100_000, batch: 256, ..ReplayConfig::new(3, 1) };
    let replay = UniformReplay::new(&config, seed, &device)?;
    let mut learner = CoreLearner::new(sac.clone(), replay, seed, &device)?;
    learner.insert(0, row)?; // member 0 of the population
    learner.step()?;

    let replay = PrioritisedReplay::new(&config, Priorities::default(), seed, &device)?;
    let (steps, environments) = (3, 1);
    let replay = NStepReplay::new(replay, &config, steps, environments)?;
    let core = NStep { direct: sac };
    let mut learner = CoreLearner::new(core, replay, seed, &device)?;
    for _ in 0..4 {
        learner.insert(0, row)?;
    }
    learner.step()?;

    let [own, other] = Mixed::<(), ()>::batches(256, 0.25)?; // 192 and 64 rows
    let of = |batch| UniformReplay::new(&ReplayConfig { batch, ..config }, seed, &device);
    let mixed = Mixed { own: of(own)?, other: of(other)? };
    assert_eq!((mixed.own.is_empty(), other), (true, 64));
    Ok(())
}

#[test]
fn populations() -> Result<()> {
    let (seed, device) = (0, device());
    let rates = vec![1e-4, 3e-4, 1e-3];
    let td3 =
        Td3Config { population: 3, actor_learning_rate: rates.into(), ..Td3Config::default() }.init(3, 1)?;
    let replay =
        UniformReplay::new(&ReplayConfig { population: 3, ..ReplayConfig::new(3, 1) }, seed, &device)?;
    let learner = CoreLearner::new(td3, replay, seed, &device)?; // or a list of seeds, `vec![5, 5, 5]`: see `Seeds`
    let alone = learner.state.member(2); // the state of one, as a population of one
    assert!(alone.is_some());

    let all = SacConfig { population: 8, ..SacConfig::default() }.init(3, 1)?;
    let one = SacConfig::default().init(3, 1)?;
    let sac = SideBySide::new(all, one)?;
    let mut state = sac.init(seed, &device)?;
    sac.step(&mut state, rows(1, &device))?;
    Ok(())
}

#[test]
fn policies() -> Result<(), Box<dyn std::error::Error>> {
    let device = device();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingle-train/fixtures/policies/sb3_sac.zip");
    let run = std::env::temp_dir().join(format!("ingle-pages-{}.safetensors", std::process::id()));
    Foreign::read(file)?.policy(vec![-2.0], vec![2.0])?.write_safetensors(&run)?;

    let policy = SavedPolicy::load(&run, &device)?; // runs/sac-pendulum-0, as `ingle train` leaves it
    let action = policy.act(&[1.0, 0.0, 0.0], Mode::Deterministic)?; // in the environment's units

    std::fs::remove_file(&run)?;
    assert!(policy.action_space().contains(&action));
    Ok(())
}
