//! Environments of the real Gymnasium, in child processes. They need the Python packages of
//! `fixtures/record_mujoco.py`; without them each test prints that it was skipped, and why.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use ingle_envs::rand::{Rng, SeedableRng, rngs::ChaCha8Rng};
use ingle_envs::{EnvironmentError, EnvironmentOptions, VectorEnvironment, make};
use serde_json::{Value, json};

const COUNTER: &str = "gym:tests.python.misbehaving:Counter-v0";

type Vector = Box<dyn VectorEnvironment>;

fn options(arguments: &Value) -> EnvironmentOptions {
    let arguments: BTreeMap<String, Value> = serde_json::from_value(arguments.clone()).unwrap();
    EnvironmentOptions { arguments, workers: Some(2), ..EnvironmentOptions::default() }
}

/// Whether there is a Gymnasium to test with. In CI nothing is skipped.
fn there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| match EnvironmentOptions::default().make_vector("gym:InvertedPendulum-v5", 1) {
        Ok(_) => true,
        Err(error @ EnvironmentError::Unavailable { .. }) if std::env::var_os("INGLE_PYTHON").is_none() => {
            // Past the harness, which shows what a test prints only if it fails.
            let _ = writeln!(std::io::stderr().lock(), "skipped: {error}");
            false
        }
        Err(error) => panic!("{error}"),
    })
}

/// A file that does not exist, removed at the end.
struct Marker(PathBuf);

impl Marker {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ingle-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn action(t: usize, i: usize) -> f64 {
    ((t * (i + 3) * 7919 + i * 104_729) % 2001) as f64 / 1000.0 - 1.0
}

/// The same actions for each environment, in the units of the space.
fn actions(environments: &dyn VectorEnvironment, t: usize) -> Vec<f32> {
    let high = environments.action_space().high();
    (0..environments.len())
        .flat_map(|_| high.iter().enumerate().map(move |(i, high)| action(t, i) as f32 * high))
        .collect()
}

/// The documented seed of an episode.
fn seed(vector: u64, environment: usize, episode: u64) -> u64 {
    let mut random = ChaCha8Rng::seed_from_u64(vector);
    random.set_stream(environment as u64);
    random.set_word_pos(episode.into());
    u64::from(random.next_u32() >> 1)
}

#[test]
fn episodes_are_gymnasiums() {
    if !there() {
        return;
    }
    for (id, arguments, steps) in [
        ("HalfCheetah-v5", json!({"max_episode_steps": 150}), 500),
        ("Hopper-v5", json!({}), 200),
        ("Pendulum-v1", json!({"max_episode_steps": 7, "g": 9.0}), 30),
        ("Swimmer-v5", json!({"exclude_current_positions_from_observation": false, "frame_skip": 2}), 30),
    ] {
        let n = 3;
        let seeds: Vec<Vec<u64>> = (0..n).map(|i| (0..100).map(|e| seed(7, i, e)).collect()).collect();
        let python = std::env::var("INGLE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let output = Command::new(python)
            .args(["tests/python/reference.py", id, &arguments.to_string()])
            .args([steps.to_string(), json!(seeds).to_string()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let reference: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
        let floats = |value: &Value| -> Vec<f32> { serde_json::from_value(value.clone()).unwrap() };

        let mut environments = options(&arguments).make_vector(&format!("gym:{id}"), n).unwrap();
        let o = environments.observation_space().len();
        let first = environments.reset(7).unwrap().to_vec();
        let mut ended = 0;
        for (i, rows) in reference.iter().enumerate() {
            assert_eq!(first[i * o..(i + 1) * o], floats(&rows[0]), "{id}");
        }
        let (mut returns, mut lengths) = (vec![0.0; n], vec![0; n]);
        for t in 0..steps {
            let actions = actions(&environments, t);
            let step = environments.step(&actions).unwrap();
            let mut episodes = step.episodes.iter();
            for (i, rows) in reference.iter().enumerate() {
                let what = format!("{id}, environment {i}, step {t}");
                let [next, reward, terminated, truncated, observation] = &rows[t + 1].as_array().unwrap()[..]
                else {
                    panic!("a row of five");
                };
                assert_eq!(step.next_observation[i * o..(i + 1) * o], floats(next), "{what}");
                assert_eq!(step.observation[i * o..(i + 1) * o], floats(observation), "{what}");
                let reward = reward.as_f64().unwrap();
                assert_eq!(step.reward[i], reward as f32, "{what}");
                let flags = json!([step.terminated[i], step.truncated[i]]);
                assert_eq!(flags, json!([terminated, truncated]), "{what}");
                returns[i] += reward;
                lengths[i] += 1;
                if step.terminated[i] || step.truncated[i] {
                    let episode = episodes.next().unwrap();
                    assert_eq!((episode.environment, episode.length), (i, lengths[i]), "{what}");
                    assert_eq!(episode.episode_return, returns[i], "{what}");
                    (returns[i], lengths[i]) = (0.0, 0);
                    ended += 1;
                }
            }
            assert!(episodes.next().is_none());
        }
        assert_eq!(ended > 0, id != "Swimmer-v5", "{id}");
    }
}

/// Every bit that a vector returns in some steps.
fn bits(environments: &mut dyn VectorEnvironment, steps: std::ops::Range<usize>) -> Vec<u64> {
    let mut bits = Vec::new();
    for t in steps {
        let actions = actions(environments, t);
        let step = environments.step(&actions).unwrap();
        let floats = [&step.next_observation, &step.observation, &step.reward];
        bits.extend(floats.into_iter().flatten().map(|value| u64::from(value.to_bits())));
        bits.extend(step.terminated.iter().chain(&step.truncated).map(|&flag| u64::from(flag)));
        for episode in &step.episodes {
            bits.extend([episode.environment as u64, episode.episode_return.to_bits(), episode.length]);
        }
    }
    bits
}

#[test]
fn workers_and_seeds() {
    if !there() {
        return;
    }
    let run = |workers: usize, seed: u64| {
        let options = EnvironmentOptions { workers: Some(workers), ..options(&json!({})) };
        let mut environments = options.make_vector("gym:Pendulum-v1", 5).unwrap();
        environments.reset(seed).unwrap();
        bits(&mut environments, 0..20)
    };
    assert!(run(1, 7) == run(3, 7), "the number of workers changes nothing");
    assert!(run(1, 7) != run(1, 8));
}

#[test]
fn a_restored_vector_goes_on_bit_for_bit() {
    if !there() {
        return;
    }
    for name in ["gym:Hopper-v5", COUNTER] {
        let make = || options(&json!({})).make_vector(name, 3).unwrap();
        for cut in [0, 1, 30] {
            let mut straight = make();
            straight.reset(7).unwrap();
            bits(&mut straight, 0..cut);
            let saved = serde_json::to_string(&straight.save().unwrap()).unwrap();
            let expected = bits(&mut straight, cut..cut + 60);
            let mut resumed = make();
            resumed.restore(&serde_json::from_str(&saved).unwrap()).unwrap();
            assert!(bits(&mut resumed, cut..cut + 60) == expected, "{name}, cut at {cut}");
        }
    }
    // What cannot be played again begins anew.
    let make = || options(&json!({"trouble": "noise"})).make_vector(COUNTER, 3).unwrap();
    let mut straight = make();
    straight.reset(7).unwrap();
    bits(&mut straight, 0..5);
    let saved = straight.save().unwrap();
    let mut resumed = make();
    let observation = resumed.restore(&saved).unwrap().to_vec();
    for (i, row) in observation.chunks_exact(3).enumerate() {
        assert_eq!(row, [(seed(7, i, 1) % 1000) as f32, 0.0, 0.0]);
    }
    assert_eq!(resumed.save().unwrap().environments[2].length, 0);

    let mut short = saved.clone();
    short.environments[1].state.pop();
    let error = resumed.restore(&short).unwrap_err().to_string();
    let expected = "environment 1, step 5: the saved state does not fit: 9 numbers, expected 10 finite ones: the actions";
    assert_eq!(error, expected);
}

#[test]
fn a_lost_worker_is_replaced_and_nothing_is_lost() {
    if !there() {
        return;
    }
    let expected = {
        let mut environments = options(&json!({})).make_vector(COUNTER, 4).unwrap();
        environments.reset(3).unwrap();
        bits(&mut environments, 0..30)
    };
    for trouble in ["exit", "hang"] {
        let marker = Marker::new(trouble);
        let arguments = json!({"trouble": trouble, "once": marker.0, "at": 6});
        let options = EnvironmentOptions { timeout: 4, ..options(&arguments) };
        let mut environments = options.make_vector(COUNTER, 4).unwrap();
        environments.reset(3).unwrap();
        assert!(bits(&mut environments, 0..30) == expected, "{trouble}");
        assert!(marker.0.exists(), "{trouble}: it happened");
    }
}

#[test]
fn what_cannot_be_played_again_is_cut() {
    if !there() {
        return;
    }
    // With `at` 7 it also adds noise, so that playing again leads elsewhere.
    let marker = Marker::new("cut");
    let arguments = json!({"trouble": "exit", "once": marker.0, "at": 7});
    let mut environments = options(&arguments).make_vector(COUNTER, 2).unwrap();
    environments.reset(3).unwrap();
    let mut cut = 0;
    for t in 0..10 {
        let before: Vec<f32> =
            environments.save().unwrap().environments.iter().flat_map(|e| e.observation.clone()).collect();
        let actions = actions(&environments, t);
        let step = environments.step(&actions).unwrap();
        for i in 0..2 {
            if step.truncated[i] {
                cut += 1;
                let row = 3 * i..3 * i + 3;
                assert_eq!((t, step.terminated[i], step.reward[i]), (6, false, 0.0));
                assert_eq!(step.next_observation[row.clone()], before[row.clone()]);
                assert_eq!(step.observation[row], [(seed(3, i, 1) % 1000) as f32, 0.0, 0.0]);
                assert_eq!(step.episodes[0].length, 7);
            }
        }
    }
    assert_eq!(cut, 1, "one of two workers, with one environment");
}

/// The first error of some steps.
fn first_error(environments: &mut Vector) -> String {
    let mut step = |t| {
        let actions = actions(environments, t);
        environments.step(&actions).err()
    };
    (0..20).find_map(&mut step).expect("an error").to_string()
}

#[test]
fn trouble_is_named() {
    if !there() {
        return;
    }
    let run = |arguments: Value| {
        let options = EnvironmentOptions { restarts: 1, timeout: 4, ..options(&arguments) };
        let mut environments = options.make_vector(COUNTER, 3).unwrap();
        let early = environments.step(&[0.0; 6]).unwrap_err();
        assert!(matches!(early, EnvironmentError::NotReset), "{early}");
        environments.reset(3).unwrap();
        for (actions, message) in [
            (&[0.0; 5][..], "`actions` has 5 values, expected 6"),
            (&[0.0, 0.0, 0.0, f32::NAN, 0.0, 0.0], "environment 1, step 1: `action[1]` is NaN"),
        ] {
            assert_eq!(environments.step(actions).unwrap_err().to_string(), message);
        }
        let error = first_error(&mut environments);
        let after = environments.step(&[0.0; 6]).unwrap_err();
        assert!(matches!(after, EnvironmentError::NotReset), "{after}");
        error
    };
    assert_eq!(
        run(json!({"trouble": "raise"})),
        "environment 0, step 5: the environment failed: RuntimeError: it is broken"
    );
    assert_eq!(run(json!({"trouble": "nan"})), "environment 0, step 5: `next_observation[2]` is NaN");
    let gone = run(json!({"trouble": "exit"}));
    assert!(gone.starts_with("worker 0 failed: it ended (exit status: 7)"), "{gone}");
    assert!(gone.contains("its last words: the last words; no restarts are left"), "{gone}");
    let late = run(json!({"trouble": "hang"}));
    assert!(late.starts_with("worker 0 failed: it did not answer in time and was ended"), "{late}");
}

#[test]
fn observations_and_actions_of_any_shape() {
    if !there() {
        return;
    }
    let mut environments = options(&json!({"observations": "dictionary"})).make_vector(COUNTER, 1).unwrap();
    assert_eq!(environments.action_space().high(), [2.0, 2.0], "of shape [1, 2]");
    assert_eq!(environments.reset(3).unwrap(), [(seed(3, 0, 0) % 1000) as f32, 0.0, 0.0, 1.0, 0.0]);
    let step = environments.step(&[0.5, 1.0]).unwrap();
    assert_eq!(step.observation[1..], [1.0, 1.5, 0.0, 1.0]);
}

#[test]
fn what_cannot_be_opened_is_said_in_one_line() {
    let message = |options: EnvironmentOptions, name: &str| {
        let error = options.make_vector(name, 2).err().expect("cannot be made").to_string();
        assert!(!error.contains('\n') && !error.contains("Traceback"), "{error}");
        assert!(error.starts_with(&format!("`{name}` cannot be opened: ")), "{error}");
        error
    };
    let nowhere = EnvironmentOptions { python: Some("/no/python".into()), ..options(&json!({})) };
    let error = message(nowhere, "gym:Pendulum-v1");
    assert!(error.contains("cannot run the Python `/no/python`"), "{error}");
    assert!(error.contains("install what it needs with `/no/python -m pip install"), "{error}");

    let native = options(&json!({"mass": 2})).make("pendulum").err().unwrap().to_string();
    assert!(native.contains("it takes no arguments, and got `mass`"), "{native}");
    assert!(matches!(make("gym:Pendulum-v1").err().unwrap(), EnvironmentError::UnknownName { .. }));

    if !there() {
        return;
    }
    let error = message(options(&json!({})), "gym:HalfCheeta-v5");
    assert!(error.contains("NameNotFound") && error.contains("check its name"), "{error}");
    let error = message(options(&json!({})), "gym:no_such_module:Thing-v0");
    assert!(error.contains("ModuleNotFoundError") && error.contains("pip install"), "{error}");
    let error = message(options(&json!({"mas": 2})), "gym:Pendulum-v1");
    assert!(error.contains("mas") && error.contains("`environment.arguments`"), "{error}");
    let error = message(options(&json!({})), "gym:CartPole-v1");
    assert!(error.contains("only continuous actions (a Box)"), "{error}");
    let error = message(options(&json!({"actions": "unbounded"})), COUNTER);
    assert!(error.contains("its space of actions is not bounded"), "{error}");
    let error = message(options(&json!({"trouble": "start"})), COUNTER);
    assert!(error.contains("ValueError: one of two lines"), "{error}");
    // Something that runs and is no Python.
    let other = EnvironmentOptions { python: Some("/bin/true".into()), ..options(&json!({})) };
    assert!(message(other, "gym:Pendulum-v1").contains("/bin/true: it ended (exit status: 0)"));
    let other = EnvironmentOptions { python: Some("/bin/echo".into()), ..options(&json!({})) };
    assert!(message(other, "gym:Pendulum-v1").contains("does anything print when Python starts?"));
}
