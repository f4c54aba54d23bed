//! The whole loop with a population: member p is the run that its seed and hyperparameters alone would give, environments,
//! replay, evaluations and metrics included, on flex bit for bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::ail::AilConfig;
use ingle::nested::normalise::NormaliseConfig;
use ingle::nested::rnd::RndConfig;
use ingle::nested::scale::ScaleConfig;
use ingle::nested::sqil::SqilConfig;
use ingle::replay::demonstrations::{DemonstrationConfig, DemonstrationSampler, Demonstrations, Spaces};
use ingle::replay::{
    Insert, NStepReplay, Place, Priorities, PrioritisedReplay, ReplayConfig, UniformReplay,
    WithDemonstrations,
};
use ingle::sac::{Sac, SacConfig};
use ingle::td3::{Td3, Td3Config};
use ingle::train::{Event, Observer, TrainError};
use ingle::{
    Act, Checkpoint, CoreLearner, NStep, Nested, PerMember, Record, RecordItem, Sampler, Seeds, State,
    TrainConfig, Trainer, Transitions,
};
use serde_json::Value;

/// What the three members have: seeds in no order, one of them twice.
const SEEDS: [u64; 3] = [11, 4, 11];
const GAMMA: [f64; 3] = [0.99, 0.9, 0.95];
const ENVIRONMENTS: usize = 2;
const BATCH: usize = 6;

fn each(members: &[usize], base: f64) -> PerMember {
    members.iter().map(|&member| base * (1.0 + member as f64)).collect::<Vec<_>>().into()
}

fn seeds(members: &[usize]) -> Seeds {
    members.iter().map(|&member| SEEDS[member]).collect::<Vec<_>>().into()
}

fn sac(members: &[usize]) -> Sac {
    SacConfig {
        population: members.len(),
        hidden: vec![16, 16],
        actor_learning_rate: each(members, 1e-3),
        critic_learning_rate: each(members, 2e-3),
        temperature: ingle::sac::Temperature::Learned(each(members, 0.5)),
        target_entropy: Some(each(members, -1.0)),
        tau: each(members, 0.01),
        ..SacConfig::default()
    }
    .init(3, 1)
    .unwrap()
}

fn td3(members: &[usize]) -> Td3 {
    Td3Config {
        population: members.len(),
        hidden: vec![16, 16],
        actor_learning_rate: each(members, 1e-3),
        exploration_noise: each(members, 0.1),
        tau: each(members, 0.01),
        ..Td3Config::default()
    }
    .init(3, 1)
    .unwrap()
}

fn rnd(members: &[usize]) -> ingle::nested::rnd::Rnd<Transitions> {
    RndConfig {
        population: members.len(),
        hidden: vec![8],
        intrinsic: each(members, 0.3),
        ..RndConfig::default()
    }
    .init(3)
    .unwrap()
}

fn config(members: &[usize], place: Place) -> ReplayConfig {
    // It wraps in the middle of the run.
    ReplayConfig { capacity: 150, batch: BATCH, population: members.len(), place, ..ReplayConfig::new(3, 1) }
}

fn uniform(members: &[usize]) -> UniformReplay {
    UniformReplay::new(&config(members, Place::Host), seeds(members), &Device::flex()).unwrap()
}

fn prioritised(members: &[usize]) -> PrioritisedReplay {
    let config = config(members, Place::Device);
    PrioritisedReplay::new(&config, Priorities::default(), seeds(members), &Device::flex()).unwrap()
}

fn expert(members: &[usize]) -> DemonstrationSampler {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demonstrations/pendulum.safetensors");
    let spaces = Spaces { observation: 3, action_low: &[-2.0], action_high: &[2.0] };
    let config = DemonstrationConfig {
        batch: BATCH,
        population: members.len(),
        gamma: gamma(members),
        ..DemonstrationConfig::default()
    };
    config.init(&Demonstrations::read(&path, spaces).unwrap(), seeds(members), &Device::flex()).unwrap()
}

fn gamma(members: &[usize]) -> PerMember {
    members.iter().map(|&member| GAMMA[member]).collect::<Vec<_>>().into()
}

fn environments(members: usize, count: usize) -> Vec<Box<dyn VectorEnvironment>> {
    (0..members)
        .map(|_| Box::new(make_vector("pendulum", count).unwrap()) as Box<dyn VectorEnvironment>)
        .collect()
}

/// Everything that happens, and a step at which the run is stopped.
struct Log {
    events: Vec<Value>,
    stop: Option<(u64, Arc<AtomicBool>)>,
}

impl Observer for Log {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        match (event, &self.stop) {
            (Event::Progress(progress), Some((step, flag))) if progress.env_steps >= *step => {
                flag.store(true, Ordering::Relaxed);
            }
            (Event::Progress(_) | Event::Finished(_), _) => {}
            _ => {
                let mut event = serde_json::to_value(event).unwrap();
                event.as_object_mut().unwrap().remove("seconds");
                self.events.push(event);
            }
        }
        Ok(())
    }
}

/// What a run came to.
struct Outcome {
    state: Record,
    sampler: Record,
    whole: Record,
    events: Vec<Value>,
}

/// Trains some of the members together, and saves and goes on at `cut`, if there is one.
fn train<C, S>(
    core: &impl Fn(&[usize]) -> C,
    sampler: &impl Fn(&[usize]) -> S,
    members: &[usize],
    cut: Option<u64>,
) -> Outcome
where
    C: Act,
    S: Sampler<Sample = C::Sample> + Insert + Checkpoint,
{
    let config = TrainConfig {
        steps: 460,
        warmup_steps: 60,
        updates_per_step: 0.3,
        updates_per_call: 2,
        gamma: gamma(members),
        evaluation_interval: 200,
        evaluation_episodes: 2,
        log_interval: 50,
        ..TrainConfig::default()
    };
    let make = |seeds: Seeds| {
        let learner =
            CoreLearner::new(core(members), sampler(members), seeds.clone(), &Device::flex()).unwrap();
        let count = members.len();
        Trainer::new(
            learner,
            environments(count, ENVIRONMENTS),
            environments(count, 2),
            config.clone(),
            seeds,
        )
        .unwrap()
    };
    let mut trainer = make(seeds(members));
    let mut log = Log { events: Vec::new(), stop: cut.map(|step| (step, trainer.stop_flag())) };
    trainer.run(&mut [&mut log]).unwrap();
    if cut.is_some() {
        let saved = trainer.save_checkpoint().unwrap();
        trainer = make(seeds(members));
        trainer.load_checkpoint(&saved).unwrap();
        log.stop = None;
        trainer.run(&mut [&mut log]).unwrap();
    }
    let mut whole = trainer.save_checkpoint().unwrap();
    whole.0.retain(|name, _| !["trainer/seconds", "trainer/positions"].contains(&name.as_str()));
    Outcome {
        state: trainer.learner.state.save().unwrap(),
        sampler: trainer.learner.sampler.save_checkpoint().unwrap(),
        whole,
        events: log.events,
    }
}

/// What a population's record has of one member, under the names that it has alone.
fn of_member(record: &Record, member: usize) -> BTreeMap<String, RecordItem> {
    let own = record.0.iter().filter_map(|(name, item)| {
        let (head, last) = name.rsplit_once('/').map_or(("", name.as_str()), |(head, last)| (head, last));
        // A ring, its priorities, and the windows of its environments, each an item of its own.
        for (part, per_member) in [("ring-", 1), ("weights-", 1), ("window-", ENVIRONMENTS)] {
            if let Some(place) = name.find(part) {
                let rest = &name[place + part.len()..];
                let digits = rest.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(rest.len());
                let index: usize = rest[..digits].parse().unwrap();
                let alone = index % per_member;
                return (index / per_member == member)
                    .then(|| (format!("{}{part}{alone}{}", &name[..place], &rest[digits..]), item.clone()));
            }
        }
        let item = match item {
            RecordItem::Streams(streams) => RecordItem::Streams(vec![streams[member]]),
            RecordItem::Tensor(data) if last == "largest" => {
                let values = data.as_slice::<f64>().unwrap();
                RecordItem::Tensor(burn::tensor::TensorData::new(vec![values[member]], [1]))
            }
            RecordItem::Tensor(data) => {
                let [members, width] = data.shape()[..] else { panic!("{head}/{last}: {:?}", data.shape()) };
                let values = data.as_slice::<f32>().unwrap();
                assert!(member < members, "{name}");
                let own = values[member * width..(member + 1) * width].to_vec();
                RecordItem::Tensor(burn::tensor::TensorData::new(own, [1, width]))
            }
            RecordItem::Counter(count) => RecordItem::Counter(*count),
        };
        Some((name.clone(), item))
    });
    own.collect()
}

/// What happened to one member.
fn events_of(events: &[Value], member: usize) -> Vec<Value> {
    let own = |event: &Value| {
        let mut event = event.clone();
        match event["event"].as_str().unwrap() {
            "episode" if event["member"] != member => return None,
            "episode" => event["member"] = 0.into(),
            "evaluation" => event["members"] = vec![event["members"][member].clone()].into(),
            _ => {
                for values in event["metrics"].as_object_mut().unwrap().values_mut() {
                    *values = vec![values[member].clone()].into();
                }
            }
        }
        Some(event)
    };
    events.iter().filter_map(own).collect()
}

fn check<C, S>(name: &str, core: impl Fn(&[usize]) -> C, sampler: impl Fn(&[usize]) -> S)
where
    C: Act,
    S: Sampler<Sample = C::Sample> + Insert + Checkpoint,
{
    let together = train(&core, &sampler, &[0, 1, 2], None);
    for member in 0..3 {
        let alone = train(&core, &sampler, &[member], None);
        assert_eq!(events_of(&together.events, member), alone.events, "{name}: events of member {member}");
        assert!(alone.events.len() > 12, "{name}: {} events", alone.events.len());
        for (what, together, alone) in
            [("state", &together.state, &alone.state), ("sampler", &together.sampler, &alone.sampler)]
        {
            let own = of_member(together, member);
            assert!(own.keys().eq(alone.0.keys()), "{name}: {what} of member {member}: {:?}", own.keys());
            for (item, own) in own {
                assert!(own == alone.0[&item], "{name}: {what} of member {member}: {item}");
            }
        }
    }
    // Saved in the middle of a call's updates that wait, and gone on with.
    let resumed = train(&core, &sampler, &[0, 1, 2], Some(254));
    for (item, own) in &together.whole.0 {
        assert!(*own == resumed.whole.0[item], "{name}: resumed: {item}");
    }
    assert_eq!(resumed.events, together.events, "{name}: resumed");
}

#[test]
fn a_member_of_a_population_is_the_run_alone() {
    check("sac", sac, uniform);
    check("td3, prioritised, on the device", td3, prioritised);
}

#[test]
fn a_member_of_a_population_of_nests_is_the_nest_alone() {
    check("rnd+sac", |members| Nested { processor: rnd(members), direct: sac(members) }, uniform);
    check(
        "normalise+scale+td3",
        |members| {
            let population = members.len();
            let normalise = NormaliseConfig { population, ..NormaliseConfig::default() };
            let scale = ScaleConfig {
                population,
                scale: each(members, 0.1),
                normalise: true,
                ..ScaleConfig::default()
            };
            Nested {
                processor: normalise.init::<Transitions>(3).unwrap(),
                direct: Nested { processor: scale.init::<Transitions>().unwrap(), direct: td3(members) },
            }
        },
        uniform,
    );
    check(
        "sac, 3 steps",
        |members| NStep { direct: sac(members) },
        |members| {
            NStepReplay::new(prioritised(members), &config(members, Place::Device), 3, ENVIRONMENTS).unwrap()
        },
    );
}

#[test]
fn a_member_of_a_population_of_imitators_is_the_imitator_alone() {
    let with =
        |members: &[usize]| WithDemonstrations { rl: uniform(members), demonstrations: expert(members) };
    check(
        "ail+td3",
        |members| {
            let ail = AilConfig {
                population: members.len(),
                hidden: vec![8],
                learning_rate: each(members, 1e-3),
                gradient_penalty: 10.0,
                ..AilConfig::default()
            };
            Nested { processor: ail.init::<Transitions>(3, 1).unwrap(), direct: td3(members) }
        },
        with,
    );
    check(
        "sqil+sac",
        |members| {
            let sqil = SqilConfig { population: members.len() };
            Nested { processor: sqil.init::<Transitions>(3, 1).unwrap(), direct: sac(members) }
        },
        with,
    );
}
