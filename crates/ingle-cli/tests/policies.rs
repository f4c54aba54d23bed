//! Policies in and out, run as a person would: exported, run in Python, imported, trained on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use ingle::envs::make_vector;
use ingle::random::RandomStream;
use ingle::train::{Mode, PolicyParameters, SavedPolicy, evaluate};
use serde_json::{Value, json};

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ingle-policies-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    fn ingle(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ingle")).args(arguments).current_dir(&self.0).output().unwrap()
    }

    /// What a command that succeeds prints.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.ingle(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command says that refuses its input.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.ingle(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        error
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> String {
    repository().join("crates/ingle-train/fixtures/policies").join(name).to_string_lossy().into_owned()
}

/// The Python with the packages of these tests, if there is one.
fn python() -> Option<String> {
    let python = std::env::var("INGLE_PYTHON").ok();
    if python.is_none() {
        // Past the harness, which shows what a test prints only if it fails.
        let words = "skipped: INGLE_PYTHON names no Python with onnx, onnxruntime, safetensors and gymnasium";
        let _ = writeln!(std::io::stderr().lock(), "{words}");
    }
    python
}

fn run_python(python: &str, script: &str, arguments: &[&str]) -> String {
    let output = Command::new(python).arg(repository().join(script)).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}\n(pip install onnx onnxruntime safetensors gymnasium)",
        text(&output.stderr)
    );
    text(&output.stdout)
}

const TINY: [&str; 8] = [
    "--steps",
    "80",
    "--set",
    "train.warmup_steps=40",
    "--set",
    "replay.batch=8",
    "--set",
    "train.evaluation_episodes=2",
];

/// Exported, a policy acts in ONNX Runtime, NumPy (and torch, if `INGLE_TORCH` is set) as it does here.
#[test]
fn an_exported_policy_acts_the_same_in_python() {
    let scratch = Scratch::new();
    let python = python();
    let data = repository().join("demonstrations/pendulum.safetensors").to_string_lossy().into_owned();
    for (learner, settings) in [
        ("sac", &["--set", "sac.hidden=[16, 12]"][..]),
        ("normalise+sac", &["--set", "sac.hidden=[9]", "--set", "normalise.clip=1.0"]),
        ("td3bc", &["--set", "td3.hidden=[12]", "--data", &data, "--env", "pendulum"]),
        ("td3", &["--set", "td3.hidden=[12, 8, 4]", "--set", "population=2"]),
    ] {
        let run = scratch.path(learner);
        scratch.succeed(&[&["train", learner, "--run", &run], &TINY[..], settings].concat());
        let [onnx, weights] =
            ["onnx", "safetensors"].map(|ending| scratch.path(&format!("{learner}.{ending}")));
        let printed = scratch.succeed(&["export", &run, "--out", &onnx]);
        assert!(printed.contains("observation size 3"), "{printed}");
        let printed = scratch.succeed(&["export", &run, "--out", &weights, "--json"]);
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed["environment"], "pendulum");
        assert_eq!(printed["kind"], if learner.contains("td3") { "deterministic" } else { "gaussian" });
        assert_eq!(printed["normalised"], ["normalise+sac", "td3bc"].contains(&learner));
        assert_eq!(printed["action_high"], json!([2.0]));

        // An exported file acts like its run, and can be exported again.
        let parameters = PolicyParameters::load(&run, None).unwrap();
        assert_eq!(PolicyParameters::load(&weights, None).unwrap(), parameters);
        let again = scratch.path("again");
        scratch.succeed(&["export", &weights, "--format", "onnx", "--out", &again]);
        assert!(std::fs::read(&again).unwrap() == std::fs::read(&onnx).unwrap());

        let policy = SavedPolicy::new(parameters, &ingle::device::open("flex").unwrap()).unwrap();
        let mut observations = vec![0.0; 64 * 3];
        RandomStream::new(0, 0).fill_normal(&mut observations);
        let actions = policy.act(&observations, Mode::Deterministic).unwrap();
        let rows = |values: &[f32], width| values.chunks(width).map(<[f32]>::to_vec).collect::<Vec<_>>();
        let recorded = json!({ "observation": rows(&observations, 3), "action": rows(&actions, 1) });
        let file = scratch.path("actions.json");
        std::fs::write(&file, recorded.to_string()).unwrap();
        if let Some(python) = &python {
            let torch = std::env::var_os("INGLE_TORCH").map(|_| "torch");
            let arguments: Vec<&str> =
                [&onnx, &weights, &file].map(String::as_str).into_iter().chain(torch).collect();
            let printed = run_python(python, "crates/ingle-cli/tests/python/check_policy.py", &arguments);
            println!("{learner}\n{printed}");
        }
    }
    let [first, second] = ["0", "1"].map(|member| {
        let out = scratch.path("member.onnx");
        scratch.succeed(&["export", &scratch.path("td3"), "--member", member, "--out", &out]);
        std::fs::read(out).unwrap()
    });
    assert!(first != second);
    // What a population's run left of its best member is that member.
    let [run, best] = [scratch.path("td3"), scratch.path("td3/best")];
    assert_eq!(PolicyParameters::load(best, None).unwrap(), PolicyParameters::load(run, None).unwrap());
}

/// Of every layer that the command knows, alone over a core, offline where that can be: the policy that is taken out of
/// a run plays as the run's own does.
#[test]
fn a_policy_out_of_any_stack_plays_as_its_run() {
    let scratch = Scratch::new();
    let data = repository().join("demonstrations/pendulum.safetensors").to_string_lossy().into_owned();
    let known = scratch.refused(&["train", "nothing"]);
    let lists = known.split('(').skip(1).filter_map(|part| part.split_once(')'));
    let lists: Vec<Vec<&str>> = lists.map(|(list, _)| list.split(", ").collect()).collect();
    let [processors, cores] = &lists[..] else { panic!("{known}") };
    assert!(processors.contains(&"standardise") && cores.contains(&"td3bc"), "{known}");
    let nests = processors.iter().map(|processor| format!("{processor}+sac"));
    for learner in nests.chain(cores.iter().map(ToString::to_string)) {
        let run = scratch.path(&learner);
        let hidden = cores.iter().filter(|core| **core != "td3bc").map(|core| format!("{core}.hidden=[8]"));
        let hidden: Vec<String> = hidden.flat_map(|hidden| ["--set".to_owned(), hidden]).collect();
        let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
        scratch.succeed(&[&["train", &learner, "--data", &data, "--run", &run], &hidden[..], &TINY].concat());
        let arguments = ["eval", &run, "--env", "pendulum", "--episodes", "4", "--seed", "3", "--json"];
        let played: Value = serde_json::from_str(&scratch.succeed(&arguments)).unwrap();

        let policy = SavedPolicy::load(&run, &ingle::device::open("flex").unwrap()).unwrap();
        let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
        let offline = config.contains("env = \"none\"");
        assert_eq!(policy.parameters().environment.as_deref(), (!offline).then_some("pendulum"), "{learner}");
        assert_eq!(policy.action_space().high(), [2.0], "{learner}");
        let environment = make_vector("pendulum", 4).unwrap();
        let taken_out = evaluate(&policy, &mut [environment], 3).unwrap()[0].mean_return;
        let difference = taken_out - played["mean_return"].as_f64().unwrap();
        assert!(difference.abs() < 1e-9, "{learner}: {taken_out} taken out, {played}");
    }
}

#[test]
fn a_policy_of_stable_baselines_is_evaluated_trained_on_and_exported() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let output =
        scratch.ingle(&["import", "sac", &fixture("sb3_sac.zip"), "--env", "pendulum", "--run", &run]);
    let notes = text(&output.stderr);
    assert!(output.status.success(), "{notes}");
    assert!(text(&output.stdout).contains("ingle train --resume --run"), "{}", text(&output.stdout));
    assert!(notes.contains("taken over: actor, critics, targets, log α"), "{notes}");
    assert!(notes.contains("the optimisers' moments are fresh, and the replay is empty"), "{notes}");
    let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
    for line in ["hidden = [16, 16]", "batch = 64", "gamma = 0.99", "target_entropy = -1.0", "critics = 2"] {
        assert!(config.contains(line), "{line} is not in {config}");
    }

    // In Gymnasium it earns what it earned when Stable-Baselines3 played it.
    let onnx = scratch.path("policy.onnx");
    scratch.succeed(&["export", &run, "--out", &onnx]);
    if let Some(python) = python() {
        let printed = run_python(&python, "examples/python/run_policy.py", &[&onnx, "Pendulum-v1"]);
        let expected = std::fs::read_to_string(fixture("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let episodes = expected["sb3_sac"]["episodes"].as_array().unwrap();
        assert_eq!(printed.lines().count(), episodes.len(), "{printed}");
        for (line, episode) in printed.lines().zip(episodes) {
            let earned: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            let expected = episode["episode_return"].as_f64().unwrap();
            assert!((earned - expected).abs() < 1e-2, "{line}: {expected} there");
        }
    }

    let evaluate = || -> Value {
        serde_json::from_str(scratch.succeed(&["eval", &run, "--json"]).lines().last().unwrap()).unwrap()
    };
    let before = evaluate();
    assert_eq!(before["updates"], 0);
    let trained = ["train", "--resume", "--run", &run, "--steps", "1030", "--json"];
    let summary: Value = serde_json::from_str(scratch.succeed(&trained).lines().last().unwrap()).unwrap();
    assert_eq!(summary["updates"], 30);
    assert_ne!(evaluate()["mean_return"], before["mean_return"]);
}

#[test]
fn cleanrl_and_own_exports_are_imported() {
    let scratch = Scratch::new();
    let output =
        scratch.ingle(&["import", "td3", &fixture("sb3_td3.zip"), "--env", "pendulum", "--run", "sb3"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    scratch.succeed(&["export", "sb3", "--out", "policy.safetensors"]);
    let output = scratch.ingle(&["import", "td3", "policy.safetensors", "--env", "pendulum", "--run", "own"]);
    let notes = text(&output.stderr);
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("the file has no critics: they are fresh"), "{notes}");
    let parameters = |run| PolicyParameters::load(scratch.path(run), None).unwrap();
    assert_eq!(parameters("sb3"), parameters("own"));

    // CleanRL's fixtures are for 4 and 2 elements, with bounds that no environment here has.
    let file = fixture("cleanrl_td3.cleanrl_model");
    let error = scratch.refused(&["import", "td3", &file, "--env", "pendulum"]);
    assert!(error.contains("is for 4 observation and 2 action elements, pendulum has 3 and 1"), "{error}");
    let error = scratch.refused(&["import", "td3", &file, "--env", "point-mass"]);
    assert!(error.contains("[2.0, 3.0]") || error.contains("is for 4 observation"), "{error}");
    assert!(!scratch.0.join("runs").exists());
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let sac = fixture("sb3_sac.zip");
    let import =
        |arguments: &[&str]| scratch.refused(&[&["import"], arguments, &["--env", "pendulum"]].concat());
    assert!(import(&["td3", &sac]).contains("import it as sac, not as td3"));
    assert!(import(&["rnd+sac", &sac]).contains("import it as sac, not as rnd+sac"));
    assert!(import(&["sac", "nowhere.zip"]).contains("nowhere.zip"));
    assert!(import(&["sac", &fixture("expected.json")]).contains("is neither a zip"));
    assert!(import(&["sac", &sac, "--set", "sac.hidden=[8]"]).contains("actor/parameters has"));
    assert!(import(&["sac", &sac, "--set", "sac.tua=1"]).contains("unknown field `tua`"));
    assert!(scratch.refused(&["export", "nowhere", "--out", "x.onnx"]).contains("is neither a run"));
    assert!(scratch.refused(&["export", "nowhere", "--out", "x.pt"]).contains("say which by --format"));
    assert!(!scratch.0.join("runs").exists());
    let run = scratch.path("run");
    scratch.succeed(
        &[&["train", "normalise+sac", "--run", &run, "--set", "sac.hidden=[4]"], &TINY[..]].concat(),
    );
    scratch.succeed(&["export", &run, "--out", "normalised.safetensors"]);
    assert!(import(&["sac", "normalised.safetensors"]).contains("acts on normalised observations"));
}
