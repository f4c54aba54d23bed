//! Policies without their trainer: from runs and checkpoints, through exported files, and from other libraries.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::network::{Actor, Critic, MlpActor, MlpCritic};
use ingle_core::random::RandomStream;
use ingle_core::sac::SacConfig;
use ingle_core::state::State;
use ingle_core::td3::{Td3, Td3Config};
use ingle_core::{
    Act, Acting, Checkpoint, CoreLearner, LearnerCore, Nested, Policy, RecordItem, Transitions,
};
use ingle_envs::{BoxSpace, Pendulum, VectorEnvironment, make_vector};
use ingle_nested::normalise::{Normalise, NormaliseConfig};
use ingle_nested::scale::ScaleConfig;
use ingle_nested::standardise::{Standardise, StandardiseConfig};
use ingle_replay::{ReplayConfig, UniformReplay};
use ingle_train::{
    Foreign, Mode, Normalisation, PolicyKind, PolicyParameters, RunDirectory, SavedPolicy, TrainConfig,
    TrainError, Trainer, evaluate,
};
use serde_json::Value;

mod scratch;
use scratch::Scratch;

/// `count` normal numbers.
fn normal(seed: u64, count: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    RandomStream::new(seed, 77).fill_normal(&mut values);
    values
}

const SEED: u64 = 5;

fn environments(members: usize, count: usize) -> Vec<Box<dyn VectorEnvironment>> {
    (0..members)
        .map(|_| Box::new(make_vector("pendulum", count).unwrap()) as Box<dyn VectorEnvironment>)
        .collect()
}

/// Trains for a moment and saves the run, with a configuration as the command writes it.
fn train<C>(core: C, configuration: &str, path: &Path) -> Trainer<CoreLearner<C, UniformReplay>>
where
    C: Act + LearnerCore<Sample = Transitions>,
{
    let device = Device::flex();
    let population = core.population();
    let replay = ReplayConfig { batch: 8, population, ..ReplayConfig::new(3, 1) };
    let replay = UniformReplay::new(&replay, SEED, &device).unwrap();
    let learner = CoreLearner::new(core, replay, SEED, &device).unwrap();
    let config =
        TrainConfig { steps: 60, warmup_steps: 20, evaluation_episodes: 2, ..TrainConfig::default() };
    let mut trainer =
        Trainer::new(learner, environments(population, 1), environments(population, 2), config, SEED)
            .unwrap();
    let directory = RunDirectory::create(path, configuration).unwrap();
    let mut checkpoints = directory.checkpoints(2).unwrap();
    let summary = trainer.run_saving(&mut checkpoints, &mut []).unwrap();
    directory.finish(&trainer.learner.state.save().unwrap(), &summary).unwrap();
    trainer
}

fn tensor(values: &[f32], shape: [usize; 3]) -> Tensor<3> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

/// A member's row of actions, in the pendulum's units.
fn actions(tensor: Tensor<3>, member: usize) -> Vec<f32> {
    let rows: Vec<f32> = tensor.narrow(0, member, 1).into_data().try_into_vec().unwrap();
    let mut scaled = vec![0.0; rows.len()];
    BoxSpace::new(vec![-2.0], vec![2.0]).unwrap().from_canonical(&rows, &mut scaled).unwrap();
    scaled
}

/// Member by member, the policy out of the run acts as the learner that was saved, with and without noise, to this
/// tolerance.
fn acts_alike<C>(core: C, configuration: &str, tolerance: f32) -> Vec<PolicyParameters>
where
    C: Act + LearnerCore<Sample = Transitions>,
{
    let scratch = Scratch::new();
    let run = scratch.0.join("run");
    let trainer = train(core, configuration, &run);
    let population = trainer.learner.population();
    let rows = 16;
    let observations = normal(1, rows * 3);
    let mut policies = Vec::new();
    for member in 0..population {
        let parameters = PolicyParameters::load(&run, Some(member)).unwrap();
        let policy = SavedPolicy::new(parameters.clone(), &Device::flex()).unwrap();
        let expected =
            trainer.learner.act(tensor(&observations, [1, rows, 3]), Acting::Deterministic).unwrap();
        let acted = policy.act(&observations, Mode::Deterministic).unwrap();
        assert!(distance(&acted, &actions(expected, member)) <= tolerance, "{parameters:?}");

        let mut noise = vec![0.0; rows];
        RandomStream::new(9, 0).fill_normal(&mut noise);
        let noise = tensor(&noise.repeat(population), [population, rows, 1]);
        let expected =
            trainer.learner.act(tensor(&observations, [1, rows, 3]), Acting::Exploring(noise)).unwrap();
        let stochastic = policy.act(&observations, Mode::Stochastic(&mut RandomStream::new(9, 0))).unwrap();
        assert!(distance(&stochastic, &actions(expected, member)) <= tolerance, "{parameters:?}");
        assert_ne!(stochastic, policy.act(&observations, Mode::Deterministic).unwrap());

        // One row at a time it is the same, and a checkpoint has the same policy as its run.
        let single = policy.act(&observations[3..6], Mode::Deterministic).unwrap();
        let batch = policy.act(&observations, Mode::Deterministic).unwrap();
        assert!((single[0] - batch[1]).abs() < 1e-6);
        let checkpoint = run.join("checkpoints/checkpoint-000000000060");
        assert_eq!(PolicyParameters::load(checkpoint, Some(member)).unwrap(), parameters);

        // Written and read again, it is the same.
        let file = scratch.0.join("policy.safetensors");
        parameters.write_safetensors(&file).unwrap();
        assert_eq!(PolicyParameters::load(&file, None).unwrap(), parameters);
        policies.push(parameters);
    }
    // The best member, by the evaluation that was saved.
    let returns: Vec<f64> = policies
        .iter()
        .map(|parameters| {
            let policy = SavedPolicy::new(parameters.clone(), &Device::flex()).unwrap();
            let seed = ingle_core::random::derive_seed(SEED, "evaluation");
            evaluate(&policy, &mut environments(1, 2), seed).unwrap()[0].mean_return
        })
        .collect();
    let best = (0..population).max_by(|a, b| returns[*a].total_cmp(&returns[*b])).unwrap();
    assert_eq!(PolicyParameters::load(&run, None).unwrap(), policies[best], "{returns:?}");
    policies
}

#[test]
fn a_policy_out_of_a_run_acts_as_its_learner() {
    let sac = SacConfig { hidden: vec![8, 6], ..SacConfig::default() }.init(3, 1).unwrap();
    let configuration = "learner = 'sac'\nenv = 'pendulum'\n[sac]\nhidden = [8, 6]\n";
    let policies = acts_alike(sac, configuration, 0.0);
    assert_eq!(policies[0].kind, PolicyKind::Gaussian);
    assert_eq!(policies[0].sizes, [3, 8, 6, 2]);
    assert_eq!(policies[0].environment.as_deref(), Some("pendulum"));
    assert_eq!((&policies[0].action_low[..], &policies[0].action_high[..]), (&[-2.0][..], &[2.0][..]));
}

#[test]
fn a_member_of_a_normalised_population_too() {
    let td3 = Td3Config {
        population: 3,
        hidden: vec![7],
        exploration_noise: vec![0.1, 0.2, 0.3].into(),
        ..Td3Config::default()
    };
    let normalise = NormaliseConfig { population: 3, clip: 1.5 };
    let nest =
        Nested { processor: normalise.init::<Transitions>(3).unwrap(), direct: td3.init(3, 1).unwrap() };
    let configuration =
        "learner = 'normalise+td3'\nenv = 'pendulum'\n[td3]\nhidden = [7]\n[normalise]\nclip = 1.5\n";
    let policies = acts_alike(nest, configuration, 0.0);
    assert_eq!(policies[2].kind, PolicyKind::Deterministic { exploration_noise: 0.3 });
    let normalisation = policies[1].normalisation.as_ref().unwrap();
    assert_eq!(normalisation.clip, Some(1.5));
    // The velocity's deviation is far above the others'.
    assert!(normalisation.deviation[2] > normalisation.deviation[0], "{normalisation:?}");
}

fn td3() -> Td3<MlpActor, MlpCritic> {
    let config = Td3Config { hidden: vec![7], exploration_noise: 0.2.into(), ..Td3Config::default() };
    config.init(3, 1).unwrap()
}

fn normalise() -> Normalise<Transitions> {
    NormaliseConfig { clip: 0.7, ..NormaliseConfig::default() }.init(3).unwrap()
}

fn standardise() -> Standardise<Transitions> {
    let (mean, deviation) = (vec![0.3, -0.2, 1.5], vec![0.6, 0.5, 3.0]);
    StandardiseConfig { mean, deviation, ..StandardiseConfig::default() }.init(3).unwrap()
}

const LAYERS: &str = "env = 'pendulum'\n[td3]\nhidden = [7]\n[normalise]\nclip = 0.7\n[standardise]\n";

#[test]
fn a_standardised_policy_too() {
    for learner in ["standardise+td3", "td3bc"] {
        let nest = Nested { processor: standardise(), direct: td3() };
        let policies = acts_alike(nest, &format!("learner = '{learner}'\n{LAYERS}"), 0.0);
        let expected =
            Normalisation { mean: vec![0.3, -0.2, 1.5], deviation: vec![0.601, 0.501, 3.001], clip: None };
        assert_eq!(policies[0].normalisation.as_ref(), Some(&expected));
    }
}

/// What is standardised and then normalised is one map; what is clipped in between is none.
#[test]
fn layers_over_layers_are_one_map_or_refused() {
    let scale = || ScaleConfig::default().init::<Transitions>().unwrap();
    let over = Nested { processor: normalise(), direct: Nested { processor: scale(), direct: td3() } };
    let nest = Nested { processor: standardise(), direct: over };
    let configuration = format!("learner = 'standardise+normalise+scale+td3'\n{LAYERS}");
    let policies = acts_alike(nest, &configuration, 2e-6);
    assert_eq!(policies[0].normalisation.as_ref().unwrap().clip, Some(0.7));

    let scratch = Scratch::new();
    let refused = |configuration: &str, name: &str| {
        let nest = Nested { processor: standardise(), direct: td3() };
        let nest = Nested { processor: normalise(), direct: nest };
        let run = scratch.0.join(name);
        train(nest, configuration, &run);
        PolicyParameters::load(&run, None).unwrap_err().to_string()
    };
    let error = refused(&format!("learner = 'normalise+td3bc'\n{LAYERS}"), "clipped");
    assert!(error.contains("'standardise' gets observations that are clipped already"), "{error}");
    let error = refused(&format!("learner = 'normalise+whiten+td3'\n{LAYERS}"), "unknown");
    assert!(error.contains("what its layer 'whiten' does to observations is not known here"), "{error}");
}

#[test]
fn what_is_no_policy_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let run = scratch.0.join("run");
    let sac = || SacConfig { hidden: vec![4], ..SacConfig::default() }.init(3, 1).unwrap();
    train(sac(), "learner = 'sac'\nenv = 'pendulum'\n[sac]\nhidden = [6]\n", &run);
    let refused = |path: &Path, member| PolicyParameters::load(path, member).unwrap_err().to_string();
    let error = refused(&run, None);
    assert!(
        error.contains("26 parameters, which is no network from 3 over [6] to 1 or 2 outputs"),
        "{error}"
    );
    assert!(refused(&run, Some(1)).contains("has no member 1: they are numbered 0 to 0"));
    assert!(refused(&scratch.0, None).contains("is neither a run (it has no config.toml)"));
    assert!(refused(&scratch.0.join("nothing"), None).contains("is neither a run"));
    let other = scratch.0.join("other");
    train(sac(), "my own words", &other);
    assert!(refused(&other, None).contains("its configuration is none of the `ingle` command"));
    let state = run.join("state.safetensors");
    assert!(
        refused(&state, None).contains("belongs to no linear layer")
            || refused(&state, None).contains("no network")
    );

    let parameters = PolicyParameters {
        environment: None,
        action_low: vec![-1.0, 1.0],
        action_high: vec![1.0, 1.0],
        normalisation: None,
        sizes: vec![3, 4],
        parameters: vec![0.0; 15],
        kind: PolicyKind::Gaussian,
    };
    let Err(TrainError::Learner(error)) = SavedPolicy::new(parameters.clone(), &Device::flex()) else {
        panic!()
    };
    let error = error.to_string();
    assert!(
        error.contains("finite and in order") && error.contains("15 parameters for layers of [3, 4]"),
        "{error}"
    );
    let parameters =
        PolicyParameters { action_high: vec![1.0, 2.0], parameters: vec![0.0; 16], ..parameters };
    let policy = SavedPolicy::new(parameters, &Device::flex()).unwrap();
    assert_eq!(policy.act(&[1.0; 6], Mode::Deterministic).unwrap(), [0.0, 1.5, 0.0, 1.5]);
    assert!(policy.act(&[1.0; 4], Mode::Deterministic).unwrap_err().to_string().contains("[B, 3]"));
    assert!(policy.act(&[], Mode::Deterministic).is_err());
    let error =
        policy.act(&[0.0, 0.0, 0.0, 0.0, f32::NAN, 0.0], Mode::Deterministic).unwrap_err().to_string();
    assert!(error.contains("observation, row 1, element 1: NaN is not finite"), "{error}");
}

/// A run goes on in an environment with its own spaces only.
#[test]
fn other_bounds_of_actions_are_refused() {
    let scratch = Scratch::new();
    let sac = SacConfig { hidden: vec![4], ..SacConfig::default() }.init(3, 1).unwrap();
    let mut trainer = train(sac, "", &scratch.0.join("run"));
    let mut record = trainer.save_checkpoint().unwrap();
    trainer.load_checkpoint(&record).unwrap();
    let item = RecordItem::Tensor(TensorData::new(vec![1.5_f32], [1]));
    record.0.insert("trainer/action_high".into(), item);
    let error = trainer.load_checkpoint(&record).unwrap_err().to_string();
    assert!(error.contains("actions from [-2.0] to [1.5], here they are 3 and [-2.0] to [2.0]"), "{error}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/policies").join(name)
}

fn expected(name: &str) -> Value {
    let text = fs::read_to_string(fixture("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].take()
}

/// Rows of numbers, one after another, and how many there are.
fn rows(value: &Value) -> (Vec<f32>, usize) {
    let rows = value.as_array().unwrap();
    let numbers = rows.iter().flat_map(|row| row.as_array().unwrap());
    (numbers.map(|number| number.as_f64().unwrap() as f32).collect(), rows.len())
}

/// The largest difference.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Values `[1, K, B]` as rows of K.
fn by_row(values: Tensor<3>) -> Vec<f32> {
    values.swap_dims(1, 2).into_data().try_into_vec().unwrap()
}

/// Canonical actions for a space.
fn canonical(space: &BoxSpace, actions: &[f32]) -> Vec<f32> {
    let mut canonical = vec![0.0; actions.len()];
    space.to_canonical(actions, &mut canonical).unwrap();
    canonical
}

/// Actor and critics of a file in a fresh core give what the library that saved them gave.
#[test]
fn networks_of_other_libraries_give_the_same_numbers() {
    let pendulum = BoxSpace::new(vec![-2.0], vec![2.0]).unwrap();
    let cleanrl = BoxSpace::new(vec![-2.0, -1.0], vec![2.0, 3.0]).unwrap();
    for (name, file, space) in [
        ("sb3_sac", "sb3_sac.zip", &pendulum),
        ("sb3_td3", "sb3_td3.zip", &pendulum),
        ("cleanrl_sac", "cleanrl_sac.pt", &cleanrl),
        ("cleanrl_td3", "cleanrl_td3.cleanrl_model", &cleanrl),
    ] {
        let (expected, foreign) = (expected(name), Foreign::read(fixture(file)).unwrap());
        let (o, a) = (foreign.observation_size(), foreign.action_size());
        let (observation, count) = rows(&expected["observation"]);
        let (action, _) = rows(&expected["action"]);
        let (critic_action, _) = rows(&expected["critic_action"]);
        // Stable-Baselines3's critics read canonical actions, CleanRL's the environment's.
        let critic_action =
            if name.starts_with("sb3") { critic_action } else { canonical(space, &critic_action) };
        let (observations, critic_actions) =
            (tensor(&observation, [1, count, o]), tensor(&critic_action, [1, count, a]));
        let (value, _) = rows(&expected["value"]);

        let device = Device::flex();
        let (acted, values, targets) = if foreign.learner() == "sac" {
            let core = SacConfig { hidden: vec![16, 16], ..SacConfig::default() }.init(o, a).unwrap();
            let mut state = core.init(0, &device).unwrap();
            let mut record = state.save().unwrap();
            foreign.put_into(&mut record).unwrap();
            state.load(&record).unwrap();
            if name == "sb3_sac" {
                let outputs = core.actor().forward(&state.actor.parameters, observations.clone());
                let log_std: Vec<f32> =
                    outputs.narrow(2, 1, 1).clamp(-20.0, 2.0).into_data().try_into_vec().unwrap();
                assert!(distance(&log_std, &rows(&expected["log_std"]).0) < 1e-5);
                let log_alpha = state.log_alpha.parameters.clone().into_scalar::<f32>();
                assert!((f64::from(log_alpha) - expected["log_alpha"].as_f64().unwrap()).abs() < 1e-6);
            }
            (
                core.act(&state, observations.clone(), Acting::Deterministic).unwrap(),
                core.critic().forward(&state.critic.parameters, observations.clone(), critic_actions.clone()),
                core.critic().forward(&state.target_critic, observations, critic_actions),
            )
        } else {
            let core = Td3Config { hidden: vec![16, 16], ..Td3Config::default() }.init(o, a).unwrap();
            let mut state = core.init(0, &device).unwrap();
            let mut record = state.save().unwrap();
            foreign.put_into(&mut record).unwrap();
            state.load(&record).unwrap();
            (
                core.act(&state, observations.clone(), Acting::Deterministic).unwrap(),
                core.critic().forward(&state.critic.parameters, observations.clone(), critic_actions.clone()),
                core.critic().forward(&state.target_critic, observations, critic_actions),
            )
        };
        let acted: Vec<f32> = acted.into_data().try_into_vec().unwrap();
        let mut scaled = vec![0.0; acted.len()];
        space.from_canonical(&acted, &mut scaled).unwrap();
        let largest = distance(&scaled, &action);
        assert!(largest < 1e-5, "{name}: actions differ by {largest}");
        // Values of a hundred have 5 digits to spare.
        let relative = |values: Tensor<3>, expected: &[f32]| {
            distance(&by_row(values), expected)
                / expected.iter().fold(1.0_f32, |most, value| most.max(value.abs()))
        };
        let largest = relative(values, &value);
        assert!(largest < 2e-6, "{name}: values differ by {largest}");
        let target = if name.starts_with("sb3") { rows(&expected["target_value"]).0 } else { value };
        let largest = relative(targets, &target);
        assert!(largest < 2e-6, "{name}: target values differ by {largest}");
    }
}

/// From the same starts, with the native pendulum, an imported policy earns what it earned in Gymnasium.
#[test]
fn a_policy_of_stable_baselines_earns_the_same_return() {
    for name in ["sb3_sac", "sb3_td3"] {
        let foreign = Foreign::read(fixture(&format!("{name}.zip"))).unwrap();
        let policy = foreign.policy(vec![-2.0], vec![2.0]).unwrap();
        let policy = SavedPolicy::new(policy, &Device::flex()).unwrap();
        for episode in expected(name)["episodes"].as_array().unwrap() {
            let mut pendulum = make_vector("pendulum", 1).unwrap();
            pendulum.reset(0).unwrap();
            let mut begin = pendulum.save().unwrap();
            let start: Vec<f64> =
                episode["state"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
            begin.environments[0].state[..2].copy_from_slice(&start);
            let (angle, velocity) = (start[0], start[1]);
            let mut observation = vec![angle.cos() as f32, angle.sin() as f32, velocity as f32];
            begin.environments[0].observation.copy_from_slice(&observation);
            pendulum.restore(&begin).unwrap();
            let mut total = 0.0;
            for _ in 0..Pendulum::TIME_LIMIT {
                let action = policy.act(&observation, Mode::Deterministic).unwrap();
                let step = pendulum.step(&action).unwrap();
                total += f64::from(step.reward[0]);
                observation.copy_from_slice(&step.observation);
            }
            let earned = episode["episode_return"].as_f64().unwrap();
            assert!((total - earned).abs() < 1e-2, "{name}: {total} here, {earned} there");
        }
    }
}

/// A zip archive of stored entries, as Python's `zipfile` writes it.
fn zip(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
            })
        })
    };
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend(crc(content).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend((bytes.len() as u32).to_le_bytes());
        directory.extend(name.as_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
    }
    let (start, count) = (bytes.len() as u32, (entries.len() as u16).to_le_bytes());
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].concat());
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// The entries of an archive.
fn unzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let archive = rawzip::ZipArchive::from_slice(bytes).unwrap();
    let (mut list, mut entries) = (archive.entries(), Vec::new());
    while let Some(entry) = list.next_entry().unwrap() {
        let name = String::from_utf8(entry.file_path().as_bytes().to_vec()).unwrap();
        entries.push((name, archive.get_entry(entry.wayfinder()).unwrap().data().to_vec()));
    }
    entries
}

/// Why bytes are refused, in one line.
fn refusal(scratch: &Scratch, bytes: &[u8]) -> Option<String> {
    let path = scratch.0.join("file");
    fs::write(&path, bytes).unwrap();
    let error = Foreign::read(&path).err()?.to_string();
    assert!(!error.contains('\n') && error.len() < 400, "{error}");
    Some(error)
}

/// A pickle as `torch.save` frames it, with storages of float32 zeros.
fn saved(pickle: &[u8], storages: &[(&str, usize)]) -> Vec<u8> {
    let mut entries = vec![("x/data.pkl".to_owned(), pickle.to_vec())];
    entries.extend(storages.iter().map(|(key, count)| (format!("x/data/{key}"), vec![0; 4 * count])));
    zip(&entries)
}

/// A dictionary with one tensor: `(storage elements, offset, size, stride)`.
fn one_tensor(count: u32, offset: u32, size: &[u32], stride: &[u32]) -> Vec<u8> {
    let integer = |value: u32| [&b"J"[..], &value.to_le_bytes()].concat();
    let tuple = |values: &[u32]| {
        let items: Vec<u8> = values.iter().flat_map(|value| integer(*value)).collect();
        [b"(", &items[..], b"t"].concat()
    };
    [
        b"\x80\x02}X\x0b\0\0\0mean.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n",
        &b"X\x01\0\0\x000X\x03\0\0\0cpu"[..],
        &integer(count),
        b"tQ",
        &integer(offset),
        &tuple(size),
        &tuple(stride),
        b"\x89Nt",
        b"Rs.",
    ]
    .concat()
}

#[test]
fn hostile_files_are_refused_and_run_nothing() {
    let scratch = Scratch::new();
    let refused = |bytes: &[u8]| refusal(&scratch, bytes).unwrap_or_else(|| "accepted".into());
    // What pickle.load would run.
    let error = refused(&saved(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.", &[]));
    assert!(error.contains("it asks for `os.system`: only dictionaries of tensors are read"), "{error}");
    let error = refused(&saved(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", &[]));
    assert!(error.contains("`builtins.eval`"), "{error}");
    let error = refused(&saved(b"\x80\x02ctorch\nHalfStorage\n.", &[]));
    assert!(error.contains("HalfStorage: float32 and float64 are read"), "{error}");
    // A good tensor, then views that leave their storage, overflow, or are larger than it.
    let good = one_tensor(6, 0, &[2, 3], &[3, 1]);
    assert!(refused(&saved(&good, &[("0", 6)])).contains("its bias is missing"));
    for (count, offset, size, stride) in [
        (6, 1, &[2, 3][..], &[3, 1][..]),
        (6, 0, &[2, 3], &[4, 1]),
        (6, 0, &[1 << 30, 1 << 30], &[0, 0]),
        (6, 0, &[7, 1], &[0, 0]),
        (6, u32::MAX, &[1, 1], &[1, 1]),
        (6, 0, &[2], &[3, 1]),
    ] {
        let error = refused(&saved(&one_tensor(count, offset, size, stride), &[("0", 6)]));
        assert!(error.contains("its sizes make no sense"), "{size:?}: {error}");
    }
    assert!(refused(&saved(&one_tensor(5, 0, &[2, 2], &[2, 1]), &[("0", 6)])).contains("24 bytes are not 5"));
    assert!(refused(&saved(&good, &[])).contains("x/data/0 is not in the file"));
    // A dictionary in itself, and dictionaries that hold each other ten times, 20 deep.
    let error = refused(&saved(b"\x80\x02}q\0X\x01\0\0\0ah\0s.", &[]));
    assert!(error.contains("too deep"), "{error}");
    let mut bomb = b"\x80\x02}".to_vec();
    for level in 0..3_u8 {
        bomb.extend([b'q', level, b'0', b'}']);
        for item in 0..100_u8 {
            bomb.extend([b'X', 1, 0, 0, 0, b'0' + item % 75, b'h', level, b's']);
        }
    }
    bomb.push(b'.');
    assert!(refused(&saved(&bomb, &[])).contains("more than 10000 items"));
    // Millions of marks, and tuples in tuples: the reader does not recurse.
    let marks = |count| [b"\x80\x02", &vec![b'('; count][..]].concat();
    assert!(refused(&saved(&marks(4_000_000), &[])).contains("cut off"));
    assert!(refused(&saved(&marks(5_000_000), &[])).contains("its pickle has 5000002 bytes"));
    let nested = [b"\x80\x02N", &vec![0x85; 1_000_000][..], b"."].concat();
    assert!(refused(&saved(&nested, &[])).contains("no dictionary of tensors"));
    for (bytes, words) in [
        (&b""[..], "neither a zip"),
        (b"PK", "is a damaged zip archive"),
        (b"\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "format before 1.6"),
        (&[0xff; 64], "neither a zip"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "its header has"),
        (&saved(b"\x80\x02.", &[]), "takes values that are not there"),
        (&saved(b"\x80\x02}.", &[]), "has no actor"),
    ] {
        let error = refused(bytes);
        assert!(error.contains(words), "{words}: {error}");
    }
}

/// Other networks than ours are not quietly taken for ours.
#[test]
fn networks_that_ours_cannot_be_are_refused() {
    let scratch = Scratch::new();
    let parts = unzip(&fs::read(fixture("sb3_sac.zip")).unwrap());
    let data = |from: &str, to: &str| {
        let mut parts = parts.clone();
        let data = &mut parts.iter_mut().find(|(name, _)| name == "data").unwrap().1;
        let text = String::from_utf8(data.clone()).unwrap();
        assert!(text.contains(from));
        *data = text.replace(from, to).into_bytes();
        zip(&parts)
    };
    assert!(
        refusal(&scratch, &data("\"use_sde\": false,\n    \"sde_s", "\"use_sde\": false,\n    \"sde_s"))
            .is_none()
    );
    let sde = data("\"use_sde\": false,\n    \"sde_s", "\"use_sde\": true,\n    \"sde_s");
    assert!(refusal(&scratch, &sde).unwrap().contains("gSDE"));
    let tanh = data(
        "\"policy_kwargs\": {",
        "\"policy_kwargs\": { \"activation_fn\": \"<class 'torch.nn.modules.activation.Tanh'>\",",
    );
    assert!(refusal(&scratch, &tanh).unwrap().contains("Tanh'>: only ReLU is read"));

    let rename = |file: &str, from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut parts = unzip(&fs::read(fixture(file)).unwrap());
        let pickle = &mut parts.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1;
        let place = pickle.windows(from.len()).position(|window| window == from).unwrap();
        pickle[place..place + to.len()].copy_from_slice(to);
        zip(&parts)
    };
    let file = "cleanrl_td3.cleanrl_model";
    for (from, to, words) in [
        (
            &b"fc2.weight"[..],
            &b"fc2.w8ight"[..],
            "actor: fc2.w8ight of shape [16, 16] belongs to no linear layer",
        ),
        (b"fc2.bias", b"fc1.bias", "fc1.bias is there twice"),
        (b"action_bias", b"action_bia5", "no bounds of actions"),
    ] {
        let error = refusal(&scratch, &rename(file, from, to)).unwrap();
        assert!(error.contains(words), "{error}");
    }
}

/// Damaged files are refused or read; nothing panics, and what is refused is refused in one line.
#[test]
fn mutated_files_never_panic() {
    let scratch = Scratch::new();
    let count: usize =
        std::env::var("INGLE_CORRUPTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000);
    let exported = scratch.0.join("policy.safetensors");
    let sac = Foreign::read(fixture("sb3_sac.zip")).unwrap();
    sac.policy(vec![-2.0], vec![2.0]).unwrap().write_safetensors(&exported).unwrap();
    let mut random = RandomStream::new(3, 0);
    let mut mutate = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for _ in 0..=random.index(3) {
            let place = random.index(bytes.len());
            match random.index(4) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes[place] ^= 1 << random.index(8),
                2 => bytes[place] = [0, 0xff, 0x7f, b'.', b'R', b'('][random.index(6)],
                _ => drop(bytes.splice(place..place, [random.index(256) as u8; 5])),
            }
        }
        bytes
    };
    let mut refused = 0;
    for file in [
        fixture("sb3_sac.zip"),
        fixture("sb3_td3.zip"),
        fixture("cleanrl_sac.pt"),
        fixture("cleanrl_td3.cleanrl_model"),
        exported,
    ] {
        let whole = fs::read(&file).unwrap();
        assert!(refusal(&scratch, &whole).is_none());
        // The file, and behind the checksums the pickle in it.
        let pickled =
            file.extension().is_some_and(|extension| extension == "pt" || extension == "cleanrl_model");
        let parts = if pickled { unzip(&whole) } else { Vec::new() };
        for round in 0..count / 5 {
            let bytes = if pickled && round % 2 == 0 {
                let mut parts = parts.clone();
                let pickle = &mut parts.iter_mut().find(|(name, _)| name.ends_with("data.pkl")).unwrap().1;
                *pickle = mutate(pickle);
                zip(&parts)
            } else {
                mutate(&whole)
            };
            refused += usize::from(refusal(&scratch, &bytes).is_some());
        }
    }
    assert!(refused > count / 4, "{refused} of {count} were refused");
}
