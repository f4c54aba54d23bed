//! The `MuJoCo` environments against recordings of Gymnasium. They need the Python packages of
//! `fixtures/record_mujoco.py`; without them each test prints that it was skipped, and why.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;

use ingle_envs::rand::{SeedableRng, rngs::ChaCha8Rng};
use ingle_envs::{Environment, EnvironmentError, EnvironmentOptions, Mujoco, VectorEnvironment};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recordings {
    mujoco: String,
    environments: Vec<Recording>,
}

#[derive(Deserialize)]
struct Recording {
    environment: String,
    time_limit: u64,
    action_bound: f32,
    trajectories: Vec<Trajectory>,
}

/// Its fields are described in `fixtures/record_mujoco.py`.
#[derive(Deserialize)]
struct Trajectory {
    scale: f64,
    start: Vec<f64>,
    observation: Vec<f32>,
    rewards: Vec<f64>,
    terminated: String,
    rows: Vec<(usize, Vec<f64>, Vec<f32>)>,
}

fn recordings() -> Recordings {
    serde_json::from_str(include_str!("../fixtures/mujoco.json")).unwrap()
}

fn action(t: usize, i: usize, scale: f64) -> f32 {
    let number = (t * (i + 3) * 7919 + i * 104_729) % 2001;
    ((number as f64 - 1000.0) / 1000.0 * scale) as f32
}

/// The environment, or `None` after a line that says why the test is skipped. In CI nothing is skipped.
fn open(name: &str) -> Option<Mujoco> {
    let name = format!("mujoco:{name}");
    match EnvironmentOptions::default().make_mujoco(&name) {
        Ok(environment) => Some(environment),
        Err(error @ EnvironmentError::Unavailable { .. }) if std::env::var_os("INGLE_PYTHON").is_none() => {
            static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
            if TOLD.lock().unwrap().insert(name) {
                // Past the harness, which shows what a test prints only if it fails.
                let _ = writeln!(std::io::stderr().lock(), "skipped: {error}");
            }
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A stream for steps, which draw nothing from it.
fn unused() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

#[test]
fn trajectories_are_gymnasiums() {
    let recordings = recordings();
    assert_eq!(recordings.environments.len(), 9);
    for Recording { environment: name, action_bound, trajectories, .. } in recordings.environments {
        let Some(mut environment) = open(&name) else { continue };
        // Another version of the library parts from the recording, slowly at first.
        let same = environment.library_version() == recordings.mujoco;
        if !same {
            let version = environment.library_version();
            eprintln!(
                "{name}: MuJoCo {version}, recorded with {}: only the first 3 steps are compared",
                recordings.mujoco
            );
        }
        let controls = environment.action_space().len();
        assert_eq!(*environment.action_space().high(), vec![action_bound; controls]);
        assert_eq!(*environment.action_space().low(), vec![-action_bound; controls]);
        for trajectory in trajectories {
            let velocities = environment.velocities().len();
            let (start, rows) = (&trajectory.start, &trajectory.rows);
            let (q, v) = start.split_at(start.len() - velocities);
            let mut observation = vec![0.0; environment.observation_space().len()];
            environment.set_state(q, v, &mut observation).unwrap();
            let close = |ours: f64, theirs: f64, what: &dyn Fn() -> String| {
                let error = (ours - theirs).abs();
                let tolerance = if same { 1e-9 } else { 1e-4 };
                assert!(error <= tolerance * theirs.abs().max(1.0), "{}: {ours}, not {theirs}", what());
            };
            let observed = |ours: &[f32], theirs: &[f32], t: usize| {
                assert_eq!(ours.len(), theirs.len(), "{name}");
                for (element, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
                    // A float64 difference of 1e-9 can round to neighbouring float32.
                    let error = (ours - theirs).abs();
                    let tolerance = if same { f32::EPSILON } else { 1e-4 } * theirs.abs().max(1.0);
                    assert!(
                        error <= tolerance,
                        "{name}, step {t}: observation[{element}] {ours}, not {theirs}"
                    );
                }
            };
            observed(&observation, &trajectory.observation, 0);
            let mut rows = rows.iter().peekable();
            let steps = if same { trajectory.rewards.len() } else { 3 };
            let flags = trajectory.terminated.bytes().map(|flag| flag == b'1');
            for ((t, &reward), terminated) in (1..=steps).zip(&trajectory.rewards).zip(flags) {
                let scale = trajectory.scale * f64::from(action_bound);
                let actions: Vec<f32> = (0..controls).map(|i| action(t - 1, i, scale)).collect();
                let step = environment.step(&actions, &mut unused(), &mut observation).unwrap();
                close(step.reward, reward, &|| format!("{name}, step {t}: reward"));
                assert_eq!((step.terminated, step.truncated), (terminated, false), "{name}, step {t}");
                if let Some((_, state, recorded)) = rows.next_if(|row| row.0 == t) {
                    let ours = environment.positions().iter().chain(environment.velocities());
                    for (&ours, &theirs) in ours.zip(state) {
                        close(ours, theirs, &|| format!("{name}, step {t}: state"));
                    }
                    observed(&observation, recorded, t);
                }
            }
            assert!(!same || rows.next().is_none(), "{name}: every row was compared");
        }
    }
}

#[test]
fn time_limits_are_gymnasiums() {
    for Recording { environment: name, time_limit, action_bound, .. } in recordings().environments {
        let Some(bare) = open(&name) else { continue };
        let mut environments =
            EnvironmentOptions::default().make_vector(&format!("mujoco:{name}"), 1).unwrap();
        environments.reset(3).unwrap();
        let actions = vec![0.3 * action_bound; bare.action_space().len()];
        let mut length = 0;
        let mut cut = false;
        for _ in 0..=2 * time_limit {
            let step = environments.step(&actions).unwrap();
            length += 1;
            assert_eq!(step.truncated[0], length == time_limit, "{name}, step {length}");
            if step.terminated[0] || step.truncated[0] {
                assert_eq!(step.episodes[0].length, length);
                cut |= step.truncated[0];
                length = 0;
            }
        }
        let never_terminates = ["HalfCheetah-v5", "Swimmer-v5", "Reacher-v5"].contains(&name.as_str());
        assert!(cut || !never_terminates, "{name}");
    }
}

#[test]
fn episodes_begin_where_gymnasiums_do() {
    // Position noise, velocity noise, whether the latter is normal: the arguments' defaults in Gymnasium.
    for (name, positions, velocities, normal) in [
        ("HalfCheetah-v5", 0.1, 0.1, true),
        ("Hopper-v5", 5e-3, 5e-3, false),
        ("Swimmer-v5", 0.1, 0.1, false),
        ("InvertedPendulum-v5", 0.01, 0.01, false),
        ("InvertedDoublePendulum-v5", 0.1, 0.1, true),
    ] {
        let Some(mut environment) = open(name) else { continue };
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut observation = vec![0.0; environment.observation_space().len()];
        let mut draws = [Vec::new(), Vec::new()];
        for _ in 0..1000 {
            environment.reset(&mut random, &mut observation).unwrap();
            draws[0].push(environment.positions()[0]);
            draws[1].push(environment.velocities()[0]);
        }
        for (values, scale, normal) in [(&draws[0], positions, false), (&draws[1], velocities, normal)] {
            let deviation = if normal { scale } else { scale / f64::sqrt(3.0) };
            let mean = values.iter().sum::<f64>() / 1000.0;
            let spread = (values.iter().map(|value| value * value).sum::<f64>() / 1000.0).sqrt();
            assert!(mean.abs() < 5.0 * deviation / f64::sqrt(1000.0), "{name}: mean {mean}");
            assert!((spread / deviation - 1.0).abs() < 0.12, "{name}: spread {spread}, not {deviation}");
            assert_eq!(values.iter().any(|value| value.abs() > scale), normal, "{name}");
        }
    }
    if let Some(mut reacher) = open("Reacher-v5") {
        let (mut random, mut observation) = (ChaCha8Rng::seed_from_u64(5), [0.0; 10]);
        for _ in 0..300 {
            reacher.reset(&mut random, &mut observation).unwrap();
            let (q, v) = (reacher.positions(), reacher.velocities());
            assert!(q[2].hypot(q[3]) < 0.2 && q[..2].iter().all(|angle| angle.abs() <= 0.1), "{q:?}");
            assert!(v[..2].iter().all(|speed| speed.abs() <= 0.005) && v[2..] == [0.0, 0.0], "{v:?}");
        }
    }
}

/// Every bit that a vector returns in some steps, the actions being a function of the step's number.
fn bits(environments: &mut dyn VectorEnvironment, steps: std::ops::Range<usize>) -> Vec<u64> {
    let mut bits = Vec::new();
    let controls = environments.action_space().len();
    for t in steps {
        let actions: Vec<f32> =
            (0..environments.len() * controls).map(|i| action(t, i, 0.4 - 0.1 * (t % 3) as f64)).collect();
        let step = environments.step(&actions).unwrap();
        let floats = [&step.next_observation, &step.observation, &step.reward];
        bits.extend(floats.into_iter().flatten().map(|value| u64::from(value.to_bits())));
        bits.extend(step.terminated.iter().chain(&step.truncated).map(|&flag| u64::from(flag)));
        bits.extend(step.episodes.iter().flat_map(|episode| [episode.environment as u64, episode.length]));
    }
    bits
}

#[test]
fn a_restored_vector_goes_on_bit_for_bit() {
    for Recording { environment: name, .. } in recordings().environments {
        if open(&name).is_none() {
            continue;
        }
        let make = || EnvironmentOptions::default().make_vector(&format!("mujoco:{name}"), 3).unwrap();
        for cut in [0, 1, 60] {
            let mut straight = make();
            straight.reset(7).unwrap();
            bits(straight.as_mut(), 0..cut);
            let saved = serde_json::to_string(&straight.save().unwrap()).unwrap();
            let expected = bits(straight.as_mut(), cut..cut + 80);
            let mut resumed = make();
            resumed.restore(&serde_json::from_str(&saved).unwrap()).unwrap();
            assert!(bits(resumed.as_mut(), cut..cut + 80) == expected, "{name}, cut at {cut}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    let Some(_) = open("Hopper-v5") else { return };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut environments = EnvironmentOptions::default().make_vector("mujoco:hopper-v5", 5).unwrap();
            environments.reset(7).unwrap();
            bits(environments.as_mut(), 0..200)
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn bad_input_is_refused() {
    let Some(mut environment) = open("Hopper-v5") else { return };
    let mut observation = [0.0; 11];
    let early = environment.step(&[0.0; 3], &mut unused(), &mut observation).unwrap_err();
    assert!(matches!(early, EnvironmentError::NotReset), "{early}");
    assert_eq!(environment.save(), None);
    environment.reset(&mut unused(), &mut observation).unwrap();
    let before = environment.save().unwrap();
    for (action, message) in
        [(&[0.0; 2][..], "`action` has 2 values, expected 3"), (&[0.0, f32::NAN, 0.0], "`action[1]` is NaN")]
    {
        let error = environment.step(action, &mut unused(), &mut observation).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let mut state = before.clone();
    state.pop();
    let short = environment.restore(&state).unwrap_err().to_string();
    let expected = format!("{} numbers, expected {}", before.len() - 2, before.len() - 1);
    assert_eq!(short, format!("the saved state does not fit: {expected}"));
    state.push(f64::NAN);
    let error = environment.restore(&state).unwrap_err();
    assert_eq!(error.to_string(), "the saved state does not fit: a state that contains NaN");
    environment.restore(&before).unwrap();
    assert_eq!(environment.save().unwrap(), before);
}

#[test]
fn what_is_missing_is_said_in_one_line() {
    let message = |options: EnvironmentOptions, name: &str| {
        let error = options.make(name).err().expect("cannot be made").to_string();
        assert!(!error.contains('\n'), "{error}");
        error
    };
    let options = EnvironmentOptions { python: Some("/no/such/python".into()), ..Default::default() };
    let error = message(options.clone(), "mujoco:HalfCheetah-v5");
    assert!(
        error.starts_with(
            "`mujoco:HalfCheetah-v5` cannot be opened: cannot run the Python `/no/such/python`: "
        )
    );
    assert!(error.contains("/no/such/python -m pip install"), "{error}");
    assert!(error.contains("`--python PATH`"), "{error}");

    let error = message(options.clone(), "mujoco:HalfCheeta-v5");
    assert!(error.contains("(did you mean `mujoco:HalfCheetah-v5`?)"), "{error}");

    // With both paths no Python is asked.
    let paths = |library: &str| EnvironmentOptions {
        mujoco_library: Some(library.into()),
        mujoco_models: Some("/no/models".into()),
        ..options.clone()
    };
    let error = message(paths("/no/libmujoco.so"), "mujoco:HalfCheetah-v5");
    assert!(error.contains("cannot load /no/libmujoco.so"), "{error}");
    let other = std::env::current_exe().unwrap();
    let error = message(paths(&other.to_string_lossy()), "mujoco:HalfCheetah-v5");
    assert!(error.contains("cannot load") || error.contains("has no function"), "{error}");

    let Some(found) = open("HalfCheetah-v5") else { return };
    let library = found.library_path().to_owned();
    let error = message(paths(&library.to_string_lossy()), "mujoco:HalfCheetah-v5");
    assert!(error.contains("cannot load the model /no/models/half_cheetah.xml"), "{error}");
    // A model of another robot under the name.
    let folder = std::env::temp_dir().join(format!("ingle-models-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("half_cheetah.xml"), "<mujoco><worldbody/></mujoco>").unwrap();
    let options =
        EnvironmentOptions { mujoco_models: Some(folder.clone()), ..paths(&library.to_string_lossy()) };
    let error = message(options, "mujoco:HalfCheetah-v5");
    std::fs::remove_dir_all(folder).unwrap();
    assert!(error.contains("0 positions, 0 velocities and 0 controls, expected 9, 9 and 6"), "{error}");
}
