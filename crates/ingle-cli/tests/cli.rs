//! The command, run as a person would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ingle-cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ingle(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ingle")).args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const TINY: [&str; 10] = [
    "--steps",
    "260",
    "--set",
    "sac.hidden=[8]",
    "--set",
    "train.warmup_steps=50",
    "--set",
    "replay.batch=8",
    "--set",
    "train.evaluation_episodes=3",
];

#[test]
fn train_then_evaluate() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let output = ingle(
        &[&["train", "sac", "--env", "pendulum", "--json", "--run", &run], &TINY[..]].concat(),
        &scratch.0,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let last: serde_json::Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(last["env_steps"], 260);
    assert_eq!(last["updates"], 210);
    assert_eq!(last["episodes"], 3);
    assert_eq!(last["run"], run);
    for key in ["mean_return", "std_return", "seconds"] {
        assert!(last[key].is_f64(), "{key} in {last}");
    }
    let mut files: Vec<String> = std::fs::read_dir(&run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert!(files[2].starts_with("events.out.tfevents."), "{files:?}");
    files.remove(2);
    assert_eq!(
        files,
        [
            "checkpoints",
            "config.toml",
            "metrics.jsonl",
            "run.json",
            "run.lock",
            "state.safetensors",
            "summary.json"
        ]
    );

    let evaluate = |episodes| {
        let output = ingle(&["eval", &run, "--json", "--episodes", episodes], &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_str::<serde_json::Value>(text(&output.stdout).lines().last().unwrap()).unwrap()
    };
    assert_eq!(evaluate("4")["mean_return"], evaluate("4")["mean_return"]);
    assert_eq!(evaluate("4")["episodes"], 4);
    assert_eq!(evaluate("4")["updates"], 210);

    // The resolved configuration trains the same agent again.
    let again = scratch.path("again");
    let config = format!("{run}/config.toml");
    let output = ingle(&["train", "sac", "--config", &config, "--json", "--run", &again], &scratch.0);
    let repeated: serde_json::Value =
        serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(repeated["mean_return"], last["mean_return"]);
    let state = |run: &str| std::fs::read(format!("{run}/state.safetensors")).unwrap();
    assert!(state(&run) == state(&again), "equal configurations give equal agents, bit for bit");

    // A run is never overwritten.
    let refused = ingle(&["train", "sac", "--run", &run], &scratch.0);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("holds a run: go on with it by --resume"));
}

#[test]
fn runs_without_a_directory_are_numbered() {
    let scratch = Scratch::new();
    for _ in 0..2 {
        let output = ingle(&[&["train", "sac"], &TINY[..]].concat(), &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("mean return"), "{}", text(&output.stdout));
    }
    for number in 0..2 {
        assert!(scratch.0.join(format!("runs/sac-pendulum-{number}/state.safetensors")).is_file());
    }
}

#[test]
fn every_learner_trains() {
    let scratch = Scratch::new();
    for learner in ["sac", "td3", "rnd+sac", "normalise+rnd+td3"] {
        let run = scratch.path(learner);
        let arguments =
            ["train", learner, "--run", &run, "--set", "td3.hidden=[8]", "--set", "rnd.hidden=[8]"];
        let output = ingle(&[&arguments, &TINY[..]].concat(), &scratch.0);
        assert!(output.status.success(), "{learner}: {}", text(&output.stderr));
        assert!(ingle(&["eval", &run], &scratch.0).status.success(), "{learner}");
    }
}

const PENDULUM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors");

/// How the lines of these events begin.
const METRICS: &str = "\"event\":\"metrics\"";
const EVALUATION: &str = "\"event\":\"evaluation\"";

#[test]
fn learners_learn_offline_and_are_evaluated_where_there_is_an_environment() {
    let scratch = Scratch::new();
    let small = ["--set", "td3.hidden=[8]", "--set", "bc.hidden=[8]", "--set", "train.log_interval=100"];
    for (learner, number) in [("td3bc", "1"), ("bc", "2"), ("td3", "1"), ("rnd+sac", "1")] {
        let run = scratch.path(learner);
        let arguments = ["train", learner, "--data", PENDULUM, "--json", "--run", &run, "--set"];
        let population = format!("population={number}");
        let output = ingle(
            &[&arguments, &[population.as_str(), "--set", "rnd.hidden=[8]"][..], &small, &TINY[..]].concat(),
            &scratch.0,
        );
        assert!(output.status.success(), "{learner}: {}", text(&output.stderr));
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&result["updates"], &result["env_steps"]), (&260.into(), &260.into()), "{learner}");
        assert!(result["mean_return"].is_null(), "there is nothing to evaluate in");
        let metrics = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
        assert!(metrics.contains(METRICS) && !metrics.contains(EVALUATION), "{metrics}");
        let output = ingle(&["eval", &run], &scratch.0);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains("give one by --env"), "{}", text(&output.stderr));
        assert!(ingle(&["eval", &run, "--env", "pendulum", "--episodes", "2"], &scratch.0).status.success());
    }
    let config = std::fs::read_to_string(scratch.path("td3bc/config.toml")).unwrap();
    for part in
        ["learner = \"td3bc\"", "env = \"none\"", "behaviour_cloning = 2.5", "[standardise]", "sha256 = "]
    {
        assert!(config.contains(part), "{part} is not in {config}");
    }
    let run = scratch.path("evaluated");
    let arguments = ["train", "td3bc", "--data", PENDULUM, "--env", "pendulum", "--run", &run];
    let output = ingle(&[&arguments, &small[..], &TINY[..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("mean return"), "{}", text(&output.stdout));
    let metrics = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    assert!(
        metrics.contains(EVALUATION) && !metrics.contains("episode_return"),
        "nothing is played: {metrics}"
    );
    let arguments = ["train", "bc", "--data", PENDULUM, "--env", "mountain-car-continuous"];
    let output = ingle(&arguments, &scratch.0);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn episodes_are_recorded_looked_into_and_converted() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let output = ingle(&[&["train", "sac", "--run", &run], &TINY[..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = scratch.path("expert.safetensors");
    let arguments = ["demos", "record", &run, "--episodes", "3", "--out", &file, "--licence", "CC0-1.0"];
    let output = ingle(&arguments, &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).starts_with("3 episodes, 600 steps, mean return -"),
        "{}",
        text(&output.stdout)
    );

    let inspect = |file: &str| -> serde_json::Value {
        let output = ingle(&["demos", "inspect", file, "--json"], &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let recorded = inspect(&file);
    let output = ingle(&["eval", &run, "--episodes", "3", "--json"], &scratch.0);
    let evaluated: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let difference = recorded["mean_return"].as_f64().unwrap() - evaluated["mean_return"].as_f64().unwrap();
    assert!(difference.abs() < 1e-2, "the same episodes as in an evaluation with that seed: {difference}");
    assert_eq!(recorded["environment"], "pendulum");
    assert_eq!(recorded["licence"], "CC0-1.0");
    assert_eq!((&recorded["truncated"], &recorded["terminated"]), (&3.into(), &0.into()));
    assert_eq!(recorded["action_low"], serde_json::json!([-2.0]));

    let copy = scratch.path("copy.safetensors");
    let output = ingle(&["demos", "convert", &file, &copy, "--source", "a test"], &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let converted = inspect(&copy);
    assert_eq!(converted["sha256"], recorded["sha256"]);
    assert_eq!((&converted["source"], &converted["licence"]), (&"a test".into(), &"CC0-1.0".into()));
    let table = ingle(&["demos", "inspect", &copy], &scratch.0);
    for part in ["episodes     3, of 200.0 steps", "source       a test", "observation[2]", "action[0]"] {
        assert!(text(&table.stdout).contains(part), "{part} is not in {}", text(&table.stdout));
    }
    // What was recorded trains.
    let arguments = ["train", "bc", "--data", &copy, "--steps", "20", "--set", "bc.hidden=[8]"];
    assert!(ingle(&arguments, &scratch.0).status.success());
    assert!(Path::new(&scratch.path("runs/bc-copy-0/state.safetensors")).is_file());
}

#[test]
fn demonstrations_are_imitated() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let path = format!("demonstrations.path={PENDULUM}");
    let small = [
        "--set",
        "train.log_interval=100",
        "--set",
        "ail.hidden=[8]",
        "--set",
        "rnd.hidden=[8]",
        "--set",
        "ail.gradient_penalty=10",
    ];
    let train = |learner: &str, more: &[&str]| {
        let arguments = ["train", learner, "--run", &run, "--set", "population=2", "--set", &path];
        ingle(&[&arguments, &small[..], more, &TINY[..]].concat(), &scratch.0)
    };
    for learner in ["sqil+sac", "normalise+airl+scale+sac"] {
        let output = train(learner, &["--set", "airl.hidden=[8]"]);
        assert!(output.status.success(), "{learner}: {}", text(&output.stderr));
        std::fs::remove_dir_all(&run).unwrap();
    }
    let output = train("airl+td3", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("airl needs the log-probability"), "{}", text(&output.stderr));
    let output = train("normalise+rnd+ail+sac", &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let metrics = std::fs::read_to_string(format!("{run}/metrics.jsonl")).unwrap();
    assert!(metrics.contains("imitation_reward"), "{metrics}");
    assert!(ingle(&["eval", &run], &scratch.0).status.success());
    // They are of another environment than this one.
    std::fs::remove_dir_all(&run).unwrap();
    let output = train("ail+sac", &["--env", "mountain-car-continuous"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("pendulum.safetensors: "), "{}", text(&output.stderr));
}

/// With a prioritised replay, feedback reaches the replay through every layer: the agent is another one.
#[test]
fn a_replay_is_prioritised_under_any_stack() {
    let scratch = Scratch::new();
    let train = |name: &str, more: &[&str]| {
        let run = scratch.path(name);
        let arguments = ["train", "normalise+rnd+sac", "--run", &run, "--set", "rnd.hidden=[8]"];
        let output = ingle(&[&arguments, more, &TINY[..]].concat(), &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read(format!("{run}/state.safetensors")).unwrap()
    };
    let kind = ["--set", "replay.kind=prioritised", "--set"];
    let prioritised = train("prioritised", &[&kind[..], &["replay.priorities.alpha=0.6"]].concat());
    assert!(prioritised == train("again", &[&kind[..], &["replay.priorities.alpha=0.6"]].concat()));
    // n steps are folded into rows of either kind.
    for kind in ["uniform", "prioritised"] {
        let run = scratch.path(&format!("folded-{kind}"));
        let kind = format!("replay.kind={kind}");
        let arguments =
            ["train", "sac", "--envs", "2", "--run", &run, "--set", "replay.n_step=3", "--set", &kind];
        let output = ingle(&[&arguments, &TINY[..]].concat(), &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    // Without β, weights are 1 whatever the priorities: only feedback on the errors makes a difference to α = 0.
    let beta = ["replay.priorities={ alpha = 0.0, beta = 0.0, beta_samples = 0 }"];
    let flat = train("flat", &[&kind[..], &beta].concat());
    let beta = ["replay.priorities={ alpha = 1.0, beta = 0.0, beta_samples = 0 }"];
    assert!(flat != train("steep", &[&kind[..], &beta].concat()));
}

#[test]
fn environments_of_python_train() {
    if std::env::var_os("INGLE_PYTHON").is_none() {
        // Past the harness, which shows what a test prints only if it fails.
        let _ = writeln!(std::io::stderr().lock(), "skipped: INGLE_PYTHON names no Python with Gymnasium");
        return;
    }
    let scratch = Scratch::new();
    for environment in ["gym:InvertedPendulum-v5", "mujoco:InvertedPendulum-v5"] {
        let succeed = |arguments: &[&str]| {
            let output = ingle(arguments, &scratch.0);
            assert!(output.status.success(), "{environment}: {}", text(&output.stderr));
        };
        let run = scratch.path(&environment.replace(':', "-"));
        let mut arguments = vec!["train", "sac", "--env", environment, "--envs", "3"];
        if environment.starts_with("gym") {
            arguments.extend(["--set", "env.reset_noise_scale=0.02", "--set", "environment.workers=2"]);
        }
        succeed(&[&arguments, &["--run", &run][..], &TINY].concat());
        // In two parts it is the same run, bit for bit: environments in Python go on as well.
        let parts = format!("{run}-parts");
        succeed(&[&arguments, &["--run", &parts, "--steps", "130"][..], &TINY[2..]].concat());
        succeed(&["train", "--resume", "--run", &parts, "--steps", "260"]);
        let state = |run: &str| std::fs::read(format!("{run}/state.safetensors")).unwrap();
        assert!(state(&run) == state(&parts), "{environment}");
        let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
        assert_eq!(config.contains("reset_noise_scale = 0.02"), environment.starts_with("gym"), "{config}");
        assert!(ingle(&["eval", &run], &scratch.0).status.success(), "{environment}");
    }
    let arguments = ["train", "sac", "--env", "gym:Pendulum-v1", "--set", "env.weight=2"];
    let refused = ingle(&arguments, &scratch.0);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("unexpected keyword argument 'weight'"),
        "{}",
        text(&refused.stderr)
    );
}

#[test]
fn a_population_is_trained_and_its_best_member_reported() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let arguments = [
        "train",
        "sac",
        "--run",
        &run,
        "--envs",
        "2",
        "--population",
        "3",
        "--set",
        "sac.tau=[0.001, 0.01, 0.1]",
    ];
    let output = ingle(&[&arguments, &TINY[..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("best of 3 members"), "{}", text(&output.stdout));
    assert!(ingle(&["eval", &run], &scratch.0).status.success());
}

fn last_json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

#[test]
fn a_sweep_is_a_population_and_each_member_the_run_alone() {
    let scratch = Scratch::new();
    let (run, alone) = (scratch.path("sweep"), scratch.path("alone"));
    let sweep =
        ["--sweep", "sac.tau=0.01,0.1", "--sweep", "seed=3..5", "--set", "train.evaluation_interval=100"];
    let output = ingle(&[&["train", "sac", "--json", "--run", &run], &sweep[..], &TINY].concat(), &scratch.0);
    let result = last_json(&output);
    let members = result["members"].as_array().unwrap();
    assert_eq!(members.len(), 4, "{result}");
    let settings: Vec<_> = members
        .iter()
        .map(|own| (own["settings"]["sac.tau"].as_f64().unwrap(), own["seed"].as_u64().unwrap()))
        .collect();
    assert_eq!(settings, [(0.01, 3), (0.01, 4), (0.1, 3), (0.1, 4)]);
    let best = result["best_member"].as_u64().unwrap() as usize;
    assert_eq!(members[best]["mean_return"], result["mean_return"]);
    let highest = members.iter().map(|own| own["mean_return"].as_f64().unwrap()).reduce(f64::max);
    assert_eq!(result["mean_return"].as_f64(), highest);

    // The best member is there as a run of its own; its configuration trains it alone, to the same bits.
    let config = format!("{run}/best/config.toml");
    let trained = ingle(&["train", "sac", "--json", "--run", &alone, "--config", &config], &scratch.0);
    assert_eq!(last_json(&trained)["mean_return"], result["mean_return"]);
    let state = |run: &str| std::fs::read(format!("{run}/state.safetensors")).unwrap();
    assert!(state(&alone) == state(&format!("{run}/best")), "the best member and the run alone");

    let evaluate = |arguments: &[&str]| {
        let more = ["--json", "--episodes", "2", "--seed", "7"];
        last_json(&ingle(&[&["eval"], arguments, &more[..]].concat(), &scratch.0))
    };
    let member = best.to_string();
    let (whole, one) = (evaluate(&[&run]), evaluate(&[&run, "--member", &member]));
    assert_eq!(whole["members"].as_array().unwrap().len(), 4);
    assert_eq!(whole["members"][best]["mean_return"], one["mean_return"]);
    assert_eq!(one["member"], best);
    for run in [&alone, &format!("{run}/best")] {
        assert_eq!(evaluate(&[run])["mean_return"], one["mean_return"], "{run}");
    }
    let refused = ingle(&["eval", &run, "--member", "4"], &scratch.0);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--member: must be below 4, got 4"), "{}", text(&refused.stderr));

    // What the members differ in is a group of the plot, over their seeds.
    let table = text(&ingle(&["plot", &run, "--group", "settings"], &scratch.0).stdout);
    for group in ["| **sac, sac.tau 0.01**, mean |", "| **sac, sac.tau 0.1**, mean |"] {
        assert!(table.contains(group), "{table}");
    }
    assert_eq!(table.matches("member").count(), 4, "{table}");
    let listed = last_json(&ingle(&["runs", &run, "--json"], &scratch.0));
    assert_eq!((&listed["population"], listed["members"].as_array().unwrap().len()), (&4.into(), 4));
    assert!(text(&ingle(&["runs", &run], &scratch.0).stdout).contains("sac × 4"));

    // It goes on as it was: the sweep is in its configuration, and what is exported is of its end.
    let longer = ingle(&["train", "--resume", "--run", &run, "--steps", "300", "--json"], &scratch.0);
    assert_eq!(last_json(&longer)["env_steps"], 300);
    let exported = std::fs::read_to_string(format!("{run}/best/config.toml")).unwrap();
    assert!(exported.contains("steps = 300"), "{exported}");
}

#[test]
fn updates_in_one_call_and_rows_on_the_device_change_nothing() {
    let scratch = Scratch::new();
    let train = |name: &str, steps: &str, more: &[&str]| {
        let run = scratch.path(name);
        let set = "train.updates_per_step=2";
        let arguments = ["train", "sac", "--population", "2", "--set", set, "--run", &run, "--steps", steps];
        last_json(&ingle(&[&arguments, more, &["--json"], &TINY[2..]].concat(), &scratch.0));
        std::fs::read(format!("{run}/state.safetensors")).unwrap()
    };
    let host = train("host", "260", &["--set", "replay.storage=host"]);
    assert!(host == train("device", "260", &["--set", "replay.storage=device"]), "rows on the device");
    // A run may be taken from one to the other.
    let part = scratch.path("part");
    train("part", "150", &["--set", "replay.storage=device"]);
    let resume = ["train", "--resume", "--run", &part, "--steps", "260", "--set", "replay.storage=host"];
    assert!(ingle(&resume, &scratch.0).status.success());
    assert!(
        host == std::fs::read(format!("{part}/state.safetensors")).unwrap(),
        "from the device to the host"
    );
    // Updates that wait for a call come later: the policy that acts meanwhile is an older one.
    assert!(host != train("calls", "260", &["--set", "train.updates_per_call=8"]));
}

/// Each of some commands ends with its code, and its message on standard error alone.
fn assert_refused(cases: &[(&[&str], i32, &str)], scratch: &Scratch) {
    for (arguments, code, message) in cases {
        let output = ingle(arguments, &scratch.0);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {message} is not in {error}");
        assert!(!error.contains("panicked"), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    }
}

#[test]
fn what_a_population_cannot_be_is_named() {
    let scratch = Scratch::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["train", "sac", "--population", "0"], 2, "population: must be at least 1, got 0"),
        (
            &["train", "sac", "--sweep", "replay.batch=8,16"],
            2,
            "sweep.replay.batch: cannot be swept: it makes the shapes",
        ),
        (
            &["train", "sac", "--sweep", "sac.tau=0.1,0.2", "--population", "3"],
            2,
            "the sweep has 2 members, got 3",
        ),
        (&["train", "sac", "--sweep", "sac.tau"], 2, "--sweep sac.tau: must be KEY=VALUES"),
        (&["train", "sac", "--set", "seed=[1, 2]"], 2, "seed: 2 values for a population of 1"),
        (
            &["train", "sac", "--set", "train.gamma=[0.9, 0.99]"],
            2,
            "train.gamma: 2 values for a population of 1",
        ),
        (
            &["train", "sac", "--set", "train.updates_per_call=0"],
            2,
            "train.updates_per_call: must be at least 1",
        ),
        (&["train", "sac", "--set", "replay.storage=disk"], 2, "replay.storage: unknown variant `disk`"),
    ];
    assert_refused(cases, &scratch);
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
}

#[test]
fn sizes_that_no_machine_has_are_refused_by_their_keys() {
    let scratch = Scratch::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["train", "sac", "--set", "sac.hidden=[1000000000]"],
            2,
            "sac.hidden: widths must be at most 65536",
        ),
        (&["train", "sac", "--set", "sac.hidden=[65000, 65000]"], 2, "sac.hidden: needs"),
        (&["train", "sac", "--set", "sac.critics=1000000000"], 2, "sac.critics: must be at most"),
        (&["train", "rnd+sac", "--set", "rnd.features=1000000000"], 2, "rnd.features: must be at most"),
        (&["train", "sac", "--set", "replay.capacity=1000000000000"], 2, "replay.capacity: must be at most"),
        (&["train", "sac", "--set", "replay.batch=1000000000"], 2, "replay.batch: must be at most"),
        (&["train", "sac", "--set", "replay.n_step=1000000000"], 2, "replay.n_step: must be at most"),
        (&["train", "sac", "--set", "population=1000000000"], 2, "population: must be at most"),
        (&["train", "sac", "--set", "population=60000"], 2, "sac.hidden: needs"),
        (&["train", "sac", "--envs", "1000000000"], 2, "envs: must be at most"),
        (
            &["train", "sac", "--set", "train.evaluation_episodes=1000000000"],
            2,
            "train.evaluation_episodes: must be at most",
        ),
        (&["bench", "--width", "1000000000"], 2, "hidden: widths must be at most"),
        (&["bench", "--batch", "1000000000"], 2, "batch: must be at most"),
        (&["eval", ".", "--episodes", "1000000000"], 2, "--episodes"),
    ];
    assert_refused(cases, &scratch);
    assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn bad_input_is_named_and_leaves_nothing_behind() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path("broken.toml"), "train = [").unwrap();
    std::fs::write(scratch.path("broken.npz"), b"PK\x03\x04 and nothing more").unwrap();
    std::fs::write(scratch.path("broken.hdf5"), b"\x89HDF\r\n\x1a\n and nothing more").unwrap();
    std::fs::write(scratch.path("negative.toml"), "[sac]\nactor_learning_rate = -1e-3\n[train]\nstepz = 5\n")
        .unwrap();
    let absent_wgpu = if cfg!(feature = "wgpu") { "is not there" } else { "is not built in" };
    let absent_cuda = if cfg!(feature = "cuda") { "is not there" } else { "is not built in" };
    let cases: &[(&[&str], i32, &str)] = &[
        (&["train", "sac", "--env", "pendulumm"], 2, "pendulumm"),
        (&["train", "sac", "--env", "mujoco:HalfCheeta-v5"], 2, "did you mean `mujoco:HalfCheetah-v5`"),
        (
            &["train", "sac", "--env", "mujoco:HalfCheetah-v5", "--python", "no/python"],
            2,
            "install what it needs with `no/python -m pip install",
        ),
        (
            &["train", "sac", "--set", "environment.interpreter=x"],
            2,
            "environment.interpreter: unknown field",
        ),
        (&["train", "ppo"], 2, "'ppo' is not a learner"),
        (&["train", "ail+sac"], 2, "demonstrations.path: 'ail' learns from demonstrations"),
        (&["train", "ail+sac", "--set", "demonstrations.path=none.safetensors"], 2, "none.safetensors"),
        (&["train", "ail+sac", "--set", "demonstrations.path=broken.npz"], 2, "demonstrations.terminal"),
        (&["train", "ail+sac", "--set", "demonstrations.path=broken.toml"], 2, "broken.toml"),
        (&["train", "bc"], 2, "demonstrations.path: 'bc' learns from a data set: --data FILE"),
        (&["train", "td3bc"], 2, "'standardise' takes the moments of a data set: --data FILE"),
        (&["train", "sac", "--env", "none"], 2, "env: 'sac' learns from what it plays"),
        (&["train", "bc", "--data", "broken.hdf5"], 2, "broken.hdf5: not readable: the HDF5 file is damaged"),
        (&["train", "bc", "--data", "."], 2, "no dataset of Minari"),
        (&["demos", "inspect", "broken.toml"], 2, "broken.toml: not readable: it is no safetensors"),
        (&["demos", "inspect", "broken.npz"], 2, "say what an .npz file's terminal flags mean"),
        (&["demos", "inspect", "broken.npz", "--terminal", "often"], 2, "--terminal: must be terminated"),
        (&["demos", "convert", "missing.npz", "new.safetensors"], 2, "missing.npz: cannot be read"),
        (&["demos", "convert", "missing.npz", "broken.npz"], 2, "broken.npz is there already"),
        (
            &["demos", "record", "nowhere", "--out", "new.safetensors"],
            2,
            "nowhere is not the directory of a run",
        ),
        (&["train", "rnd"], 2, "'rnd' has no direct core: end it with one, as in rnd+sac"),
        (&["train", "sac+rnd"], 2, "'sac' is a direct core: it comes last"),
        (&["train", "rnd+rnd+sac"], 2, "'rnd' is there twice"),
        (&["train", "sac", "--set", "sac.population=2"], 2, "sac.population: all layers have one population"),
        (&["train", "sac", "--set", "replay.kind=sorted"], 2, "replay.kind: unknown variant"),
        (&["train", "sac", "--device", "tpu"], 3, "'tpu' is not a device"),
        (&["train", "sac", "--device", "wgpu:99"], 3, absent_wgpu),
        (&["train", "sac", "--device", "cuda:99"], 3, absent_cuda),
        (&["train", "sac", "--set", "sac.tua=0.1"], 2, "sac.tua: unknown field `tua`"),
        (&["train", "sac", "--set", "sac.tau=0"], 2, "sac.tau: must be in (0, 1], got 0"),
        (&["train", "sac", "--set", "sac.critic_learning_rate=-3e-4"], 2, "sac.critic_learning_rate"),
        (&["train", "sac", "--set", "replay.batch=0"], 2, "replay.batch: must be at least 1"),
        (&["train", "sac", "--set", "train.gamma=nan"], 2, "train.gamma: must be in [0, 1], got NaN"),
        (&["train", "sac", "--set", "sac.tau=[0.1, 0.2]"], 2, "2 values for a population of 1"),
        (&["train", "sac", "--steps", "0"], 2, "train.steps: must be at least 1"),
        (&["train", "sac", "--steps", "-5"], 2, "-5"),
        (&["train", "sac", "--envs", "0"], 2, "envs: must be at least 1"),
        (&["train", "sac", "--config", "missing.toml"], 2, "cannot read missing.toml"),
        (&["train", "sac", "--config", "broken.toml"], 2, "broken.toml"),
        (&["train", "sac", "--config", "negative.toml"], 2, "train.stepz"),
        (&["train", "sac", "--config", "negative.toml"], 2, "2 settings are wrong"),
        (&["train", "sac", "--run", "broken.toml"], 2, "broken.toml"),
        (&["eval", "nowhere"], 2, "nowhere is not the directory of a run"),
        (&["eval", ".", "--episodes", "0"], 2, "--episodes"),
        (&["bench", "--batch", "0", "--repeats", "0"], 2, "2 settings are wrong"),
        (&["bench", "--seconds", "nan"], 2, "--seconds"),
        (&["bench", "--learner", "ppo"], 2, "'ppo' is not a learner"),
        (&["fly"], 2, "unrecognized subcommand"),
    ];
    assert_refused(cases, &scratch);
    let left: Vec<_> =
        std::fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");
}

#[test]
fn a_learner_that_diverges_stops_with_a_code_of_its_own() {
    let scratch = Scratch::new();
    for key in ["sac.critic_learning_rate", "sac.actor_learning_rate"] {
        let run = scratch.path(key);
        let rate = format!("{key}=1e30");
        let settings =
            ["--set", &rate, "--set", "train.log_interval=10", "--set", "train.max_skipped_updates=30"];
        let output = ingle(
            &[&["train", "sac", "--env", "pendulum", "--run", &run], &TINY[..], &settings].concat(),
            &scratch.0,
        );
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{errors}");
        let stopped = std::fs::read_to_string(Path::new(&run).join("stopped.txt")).unwrap();
        // Which of the two comes first is a matter of the device's arithmetic.
        let reasons = [
            "the learner stands still at step ",
            "the policy of member 0 acts with a number that is not finite",
        ];
        assert!(reasons.iter().any(|reason| stopped.starts_with(reason)), "{stopped}");
        assert!(stopped.lines().count() == 1 && errors.contains(stopped.trim()), "{errors}");
    }
}

#[test]
fn a_damaged_run_is_refused() {
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let output = ingle(&[&["train", "sac", "--run", &run], &TINY[..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let state = format!("{run}/state.safetensors");
    let bytes = std::fs::read(&state).unwrap();
    for damaged in [&bytes[..bytes.len() - 4], b"not a state".as_slice(), &[]] {
        std::fs::write(&state, damaged).unwrap();
        let output = ingle(&["eval", &run], &scratch.0);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("state.safetensors"), "{}", text(&output.stderr));
    }
    std::fs::remove_file(&state).unwrap();
    std::fs::remove_dir_all(format!("{run}/checkpoints")).unwrap();
    assert!(text(&ingle(&["eval", &run], &scratch.0).stderr).contains("has no state.safetensors"));
    // A state of another shape of network lists what differs.
    std::fs::write(&state, bytes).unwrap();
    let config = std::fs::read_to_string(format!("{run}/config.toml")).unwrap();
    std::fs::write(format!("{run}/config.toml"), config.replace("hidden = [8]", "hidden = [9]")).unwrap();
    let output = ingle(&["eval", &run], &scratch.0);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("actor/parameters has shape"), "{}", text(&output.stderr));
}

#[test]
fn bench_prints_a_table_or_one_object_a_point() {
    let scratch = Scratch::new();
    let short = ["--batch", "4,8", "--width", "8", "--seconds", "0.02", "--repeats", "3", "--threads", "1"];
    let output = ingle(&[&["bench", "--json"], &short[..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let points: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(points.len(), 2);
    for (point, batch) in points.iter().zip([4, 8]) {
        assert_eq!(point["batch"], batch);
        assert_eq!(
            (&point["width"], &point["population"], &point["threads"]),
            (&8.into(), &1.into(), &1.into())
        );
        let rate = &point["updates_per_s"];
        let (min, median, max) = (rate["min"].as_f64(), rate["median"].as_f64(), rate["max"].as_f64());
        assert!(min > Some(0.0) && min <= median && median <= max, "{rate}");
    }
    let table = text(&ingle(&[&["bench"], &short[..]].concat(), &scratch.0).stdout);
    assert_eq!(table.lines().count(), 3, "{table}");

    // A nest stands beside its direct core, and what it costs beside what it computes.
    let nest = ["bench", "--json", "--learner", "rnd+ail+sac", "--set", "ail.gradient_penalty=10"];
    let output = ingle(&[&nest, &short[2..]].concat(), &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let point: serde_json::Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
    assert!(point["extra_flops"].as_f64() > Some(0.3), "{point}");
    assert!(point["extra_time"].is_f64() && point["core_updates_per_s"]["median"].is_f64(), "{point}");
}

#[test]
fn runs_are_compared() {
    let scratch = Scratch::new();
    for (learner, seed) in [("sac", "0"), ("sac", "1"), ("td3", "0")] {
        let run = scratch.path(&format!("{learner}-{seed}"));
        let arguments = ["train", learner, "--seed", seed, "--run", &run, "--set", "td3.hidden=[8]"];
        let more = ["--set", "train.evaluation_interval=100", "--set", "train.log_interval=100"];
        let output = ingle(&[&arguments, &more[..], &TINY[..]].concat(), &scratch.0);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let titled = ingle(&["plot", ".", "--out", "all", "--title", "Every run", "--smooth", "2"], &scratch.0);
    if cfg!(feature = "plot") {
        assert!(titled.status.success(), "{}", text(&titled.stderr));
        let svg = std::fs::read_to_string(scratch.path("all.svg")).unwrap();
        for part in ["Every run", "td3", "moving mean of 2 values"] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }
    let runs = ["plot", "sac-0", "sac-1", "td3-0"];
    let table = text(&ingle(&[&runs[..], &["--threshold", "-1e6"]].concat(), &scratch.0).stdout);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(rows.len(), 2 + 3 + 2, "{table}");
    assert!(rows[4].starts_with("| **sac**, mean |") && rows[4].ends_with("| 2 of 2 |"), "{table}");
    assert!(rows[5].starts_with("| td3-0 |") && rows[5].ends_with("| 100 |"), "{table}");
    let json = text(&ingle(&[&runs[..], &["--json", "--metric", "critic_loss"]].concat(), &scratch.0).stdout);
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{json}");
    assert!(lines[2]["run"] == "td3-0" && lines[2]["group"] == "td3" && lines[2]["last"].is_f64(), "{json}");

    let drawn = ingle(&[&runs[..], &["--out", "figures/curves"]].concat(), &scratch.0);
    if cfg!(feature = "plot") {
        assert!(drawn.status.success(), "{}", text(&drawn.stderr));
        let svg = std::fs::read_to_string(scratch.path("figures/curves.svg")).unwrap();
        assert!(svg.contains("sac (2 runs)"), "{svg}");
        assert!(std::fs::read(scratch.path("figures/curves.png")).unwrap().starts_with(b"\x89PNG"));
    } else {
        assert_eq!(drawn.status.code(), Some(2));
        assert!(text(&drawn.stderr).contains("--features plot"), "{}", text(&drawn.stderr));
    }
    for (arguments, message) in [
        (&["plot", "nowhere"][..], "cannot read nowhere: No such file"),
        (&["plot", "sac-0/checkpoints"], "sac-0/checkpoints holds no run and no directory of a run"),
        (&["plot", "sac-0", "--smooth", "0"], "--smooth: must be at least 1, got 0"),
        (&["plot", "sac-0", "--metric", "critic_lost"], "no values of 'critic_lost'"),
        (&["plot", "sac-0", "--threshold", "nan"], "--threshold: must be finite"),
        (&["plot"], "required arguments"),
    ] {
        let output = ingle(arguments, &scratch.0);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(message), "{arguments:?}: {}", text(&output.stderr));
    }
}

/// A run's directory with evaluations of these returns at steps 100, 200, ...
fn recorded(directory: &Path, learner: &str, env: &str, seed: u64, returns: &[f64]) {
    std::fs::create_dir_all(directory).unwrap();
    let config = format!("learner = \"{learner}\"\nenv = \"{env}\"\nseed = {seed}\n");
    std::fs::write(directory.join("config.toml"), config).unwrap();
    let evaluations = returns.iter().enumerate().map(|(place, mean)| {
        let steps = 100 * (place + 1);
        format!(
            concat!(
                r#"{{"event":"evaluation","env_steps":{},"updates":{},"seconds":1.5,"members":"#,
                r#"[{{"mean_return":{},"std_return":0.5,"mean_length":20.0,"episodes":4}}]}}"#,
                "\n"
            ),
            steps, steps, mean
        )
    });
    std::fs::write(directory.join("metrics.jsonl"), evaluations.collect::<String>()).unwrap();
}

#[test]
fn groups_of_runs_are_compared() {
    let scratch = Scratch::new();
    for (seed, (sac, td3)) in [(1.0, 4.0), (2.0, 0.0), (9.0, 3.0), (3.0, 3.0)].into_iter().enumerate() {
        let seeds = seed as u64;
        recorded(&scratch.0.join(format!("runs/sac-{seed}")), "sac", "pendulum", seeds, &[-5.0, sac]);
        recorded(&scratch.0.join(format!("runs/td3-{seed}")), "td3", "pendulum", seeds, &[td3]);
        recorded(&scratch.0.join(format!("runs/sac-lqr-{seed}")), "sac", "lqr", seeds, &[7.0]);
    }
    let compare = |more: &[&str]| ingle(&[&["compare", "runs"], more].concat(), &scratch.0);
    let output = compare(&[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for row in [
        "| lqr | sac | 4 | 7.0 | 7.0 to 7.0 | 7.0 | 7.0 |",
        "| pendulum | sac | 4 | 2.5 | 1.0 to 9.0 | 3.8 | 2.5 |",
        "| pendulum | sac | td3 | 0.50 | ",
    ] {
        assert!(table.contains(row), "{row} in {table}");
    }
    assert!(!table.contains("| all |"), "{table}");
    let notes = text(&output.stderr);
    assert!(notes.contains("pendulum: evaluations at steps 100 to 200 are compared"), "{notes}");
    assert!(notes.contains("runs/sac-0 has not finished: its evaluation at step 200 counts"), "{notes}");
    assert!(text(&compare(&["--steps", "100"]).stdout).contains("| pendulum | sac | 4 | -5.0 |"));

    let output = compare(&["--normalise", "pendulum=-1,9", "--normalise", "lqr=0,7", "--json"]);
    let rows: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all = rows.iter().find(|row| row["env"] == "all").unwrap();
    // Of 0.2, 0.3, 0.4, 1.0 and four times 1 the middle half is 0.4, 1, 1, 1.
    assert!((all["iqm"].as_f64().unwrap() - 0.85).abs() < 1e-12 && all["n"] == 8, "{all}");
    assert!(rows.iter().any(|row| row["than"] == "td3" && row["probability"] == 0.5), "{rows:?}");

    let broken = scratch.0.join("broken");
    recorded(&broken, "sac", "pendulum", 0, &[1.0]);
    std::fs::write(broken.join("metrics.jsonl"), "{\"event\":\"episode\"\n{}\n").unwrap();
    recorded(&scratch.0.join("young"), "sac", "pendulum", 0, &[]);
    std::fs::create_dir_all(scratch.0.join("empty")).unwrap();
    for (arguments, message) in [
        (&["compare", "nowhere"][..], "cannot read nowhere: No such file"),
        (&["compare", "empty"], "empty holds no run and no directory of a run"),
        (&["compare", "broken"], "broken/metrics.jsonl: line 1 is no event: "),
        (&["plot", "broken"], "broken/metrics.jsonl: line 1 is no event: "),
        (&["runs", "broken", "--csv"], "broken/metrics.jsonl: line 1 is no event: "),
        (&["compare", "young"], "young: has no evaluation"),
        (&["plot", "young"], "young: no values of 'evaluation'"),
        (&["compare", "runs", "--steps", "50"], "has no evaluation up to step 50"),
        (&["compare", "runs", "--normalise", "lqr=0,1"], "add --normalise pendulum=LOW,HIGH"),
        (&["compare", "runs", "--normalise", "lqr"], "must be ENV=LOW,HIGH"),
        (&["compare"], "required arguments"),
    ] {
        let output = ingle(arguments, &scratch.0);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(message), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn numbers_are_printed_as_csv() {
    let scratch = Scratch::new();
    recorded(&scratch.0.join("runs/a,b"), "rnd+sac", "lqr", 3, &[7.5]);
    recorded(&scratch.0.join("runs/c"), "td3", "lqr", 4, &[-1.0, 2.0]);
    let output = ingle(&["runs", "runs", "--csv"], &scratch.0);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let csv = text(&output.stdout);
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 * 3, "{csv}");
    assert_eq!(lines[0], "run,learner,env,seed,member,env_steps,tag,value");
    assert_eq!(lines[1], "\"runs/a,b\",rnd+sac,lqr,3,0,100,eval/mean_reward,7.5");
    assert_eq!(lines[9], "runs/c,td3,lqr,4,0,200,eval/mean_ep_length,20");
}

/// Prints what the package tensorboard has read of some directories, before and after a command.
const ACCUMULATE: &str = r#"
import json, subprocess, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
directories, command = json.loads(sys.argv[1]), sys.argv[2:]
accumulators = [EventAccumulator(path, size_guidance={"scalars": 0, "tensors": 0}) for path in directories]
for accumulator in accumulators:
    accumulator.Reload()
if command:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for member, accumulator in enumerate(accumulators):
    accumulator.Reload()
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            print(json.dumps([member, event.step, tag, event.value]))
    for tag in accumulator.Tags()["tensors"]:
        text = accumulator.Tensors(tag)[0].tensor_proto.string_val[0].decode()
        print(json.dumps([member, accumulator.SummaryMetadata(tag).plugin_data.plugin_name, tag, text]))
"#;

/// What the package reads is what `ingle runs --csv` prints, for each member, and nothing is there twice after a run
/// went on from an older checkpoint: neither for one who looks anew nor for one who has been looking all along.
#[test]
fn tensorboard_reads_every_number() {
    let Some(python) = std::env::var_os("INGLE_PYTHON").filter(|python| {
        Command::new(python)
            .args(["-c", "import tensorboard"])
            .output()
            .is_ok_and(|done| done.status.success())
    }) else {
        let _ = writeln!(
            std::io::stderr().lock(),
            "skipped: INGLE_PYTHON names no Python with the package tensorboard"
        );
        return;
    };
    let scratch = Scratch::new();
    let run = scratch.path("run");
    let settings = [
        "--set=population=2",
        "--set=train.log_interval=50",
        "--set=train.evaluation_interval=100",
        "--set=train.checkpoint_interval=100",
        "--set=train.checkpoints=5",
    ];
    let output = ingle(
        &[&["train", "rnd+sac", "--run", &run, "--set", "rnd.hidden=[8]"], &TINY[..], &settings].concat(),
        &scratch.0,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    // All but the first checkpoint are lost.
    let mut checkpoints: Vec<PathBuf> =
        std::fs::read_dir(format!("{run}/checkpoints")).unwrap().map(|entry| entry.unwrap().path()).collect();
    checkpoints.sort();
    assert!(checkpoints.len() > 2, "{checkpoints:?}");
    for path in &checkpoints[1..] {
        std::fs::remove_dir_all(path).unwrap();
    }
    let members: Vec<String> = (0..2).map(|member| format!("{run}/member-{member}")).collect();
    let members = serde_json::to_string(&members).unwrap();
    let read = |command: &[&str]| {
        let output = Command::new(&python).args(["-c", ACCUMULATE, &members]).args(command).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let mut texts = 0;
        let mut scalars = Vec::new();
        for line in text(&output.stdout).lines() {
            let (member, step, tag, value): (u64, serde_json::Value, String, serde_json::Value) =
                serde_json::from_str(line).unwrap();
            if step == "text" {
                let part =
                    if tag == "config" { "    learner = \"rnd+sac\"\n" } else { "| rnd.hidden | [8] |" };
                assert!(value.as_str().unwrap().contains(part), "{tag}: {value}");
                texts += 1;
            } else {
                scalars.push((member, step.as_u64().unwrap(), tag, value.as_f64().unwrap() as f32));
            }
        }
        assert_eq!(texts, 4);
        scalars.sort_by(|a, b| a.partial_cmp(b).unwrap());
        scalars
    };
    let printed = || {
        let csv = text(&ingle(&["runs", &run, "--csv"], &scratch.0).stdout);
        let row = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |text: &str| text.parse::<f64>().unwrap();
            (
                number(fields[4]) as u64,
                number(fields[5]) as u64,
                fields[6].to_owned(),
                number(fields[7]) as f32,
            )
        };
        let mut scalars: Vec<(u64, u64, String, f32)> = csv.lines().skip(1).map(row).collect();
        scalars.sort_by(|a, b| a.partial_cmp(b).unwrap());
        scalars
    };
    let straight = read(&[]);
    assert_eq!(straight, printed());
    for tag in
        ["rollout/ep_rew_mean", "train/critic_loss", "train/rnd_loss", "train/ent_coef", "eval/mean_reward"]
    {
        assert!(straight.iter().any(|(_, _, own, _)| own == tag), "{tag} in {straight:?}");
    }
    let resume = [env!("CARGO_BIN_EXE_ingle"), "train", "--resume", "--run", &run];
    let followed = read(&resume);
    assert_eq!(followed, printed());
    assert_eq!(read(&[]), followed);
    // It is the same run, but for the clock.
    let timeless = |scalars: &[(u64, u64, String, f32)]| {
        scalars.iter().filter(|(_, _, tag, _)| !tag.starts_with("time/")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(timeless(&followed), timeless(&straight));
}

#[test]
fn devices_and_help() {
    let scratch = Scratch::new();
    let output = ingle(&["devices"], &scratch.0);
    assert!(text(&output.stdout).starts_with("flex"), "{}", text(&output.stdout));
    let json = text(&ingle(&["devices", "--json"], &scratch.0).stdout);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first["device"], "flex");
    let help = text(&ingle(&["--help"], &scratch.0).stdout);
    assert!(help.contains("Exit codes of every command:"), "{help}");
}
