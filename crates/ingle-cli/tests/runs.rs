//! Runs that are stopped, killed, resumed and looked at, as a person would.
//!
//! The random tests take their counts from `INGLE_KILLS` and `INGLE_SIGNALS` and their seed from `INGLE_FAULT_SEED`.

#![cfg(unix)]

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[path = "../../ingle-train/tests/scratch/mod.rs"]
mod scratch;
use scratch::Scratch;

/// A run of about a second, with checkpoints all along.
const SETTINGS: &[&str] = &[
    "--steps=2500",
    "--threads=1",
    "--set=sac.hidden=[4]",
    "--set=td3.hidden=[4]",
    "--set=rnd.hidden=[4]",
    "--set=train.warmup_steps=50",
    "--set=train.evaluation_interval=1000",
    "--set=train.evaluation_episodes=2",
    "--set=train.checkpoint_interval=100",
    "--set=replay.batch=4",
    "--set=replay.capacity=700",
];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingle"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn ingle(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn begin(learner: &str, run: &str) -> Vec<String> {
    let arguments = [&["train", learner, "--run", run], SETTINGS].concat();
    arguments.into_iter().map(str::to_owned).collect()
}

fn start(arguments: &[String]) -> Child {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn resume(run: &str) -> Vec<String> {
    ["train", "--resume", "--run", run, "--threads=1"].map(str::to_owned).into()
}

fn finish(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    output
}

fn policy(run: &str) -> Vec<u8> {
    fs::read(Path::new(run).join("state.safetensors")).unwrap()
}

/// The metrics without what a clock put into them.
fn metrics(run: &str) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    text.lines().map(line).collect()
}

fn newest_step(run: &str) -> u64 {
    let entries = fs::read_dir(Path::new(run).join("checkpoints")).map(Iterator::collect::<Vec<_>>);
    let names = entries.unwrap_or_default().into_iter().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.to_str()?.strip_prefix("checkpoint-")?.parse().ok()).max().unwrap_or(0)
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// A small generator of delays: which moments are hit depends on the machine in any case.
struct Delays(u64);

impl Delays {
    fn next(&mut self, below: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        below.mul_f64((self.0 >> 33) as f64 / f64::from(1_u32 << 31))
    }
}

fn report(what: &str, count: u64, seed: u64) {
    let bound = 1.0 - 0.05_f64.powf(1.0 / count as f64);
    println!("{count} {what}, seed {seed}: 0 failures (95 % upper bound {bound:.2e})");
}

/// Straight run: how long it took, and where it is.
fn straight(learner: &str, run: &str) -> Duration {
    let begun = Instant::now();
    let output = finish(start(&begin(learner, run)));
    assert!(output.status.success(), "{}", text(&output.stderr));
    begun.elapsed()
}

#[test]
fn a_killed_run_loses_at_most_an_interval_and_ends_as_if_nothing_had_happened() {
    let (kills, seed) = (number("INGLE_KILLS", 6), number("INGLE_FAULT_SEED", 1));
    let scratch = Scratch::new();
    let learners = ["sac", "rnd+td3"];
    let runs: Vec<String> =
        learners.iter().map(|name| scratch.0.join(name).to_string_lossy().into_owned()).collect();
    let took: Vec<Duration> = learners.iter().zip(&runs).map(|(name, run)| straight(name, run)).collect();
    let mut delays = Delays(seed);
    let (mut killed, mut round, mut lost) = (0, 0, 0);
    while killed < kills {
        let which = round % learners.len();
        let run = scratch.0.join(format!("killed-{round}")).to_string_lossy().into_owned();
        let mut arguments = begin(learners[which], &run);
        // A run is killed again and again until it ends by itself.
        loop {
            let mut child = start(&arguments);
            std::thread::sleep(delays.next(took[which]));
            child.kill().unwrap();
            let output = finish(child);
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.code(), None, "{}", text(&output.stderr));
            killed += 1;
            let reached = metrics_steps(&run);
            let saved = newest_step(&run);
            // An interval, and what was done while the next checkpoint was being written.
            assert!(reached <= saved + 200, "at step {reached}, saved at {saved}");
            lost = lost.max(reached.saturating_sub(saved));
            let holds_run = Path::new(&run).join("config.toml").is_file();
            arguments = if holds_run { resume(&run) } else { begin(learners[which], &run) };
            if killed >= kills {
                let output = finish(start(&arguments));
                assert!(output.status.success(), "{}", text(&output.stderr));
                break;
            }
        }
        assert!(policy(&run) == policy(&runs[which]), "{}: another policy", learners[which]);
        assert_eq!(metrics(&run), metrics(&runs[which]), "{}", learners[which]);
        fs::remove_dir_all(&run).unwrap();
        round += 1;
    }
    let what = "random kills of the trainer, each resumed to the end bit for bit";
    report(&format!("{what}, at most {lost} steps made again (an interval is 100)"), killed, seed);
}

/// The last step that the metrics know of.
fn metrics_steps(run: &str) -> u64 {
    let text = fs::read_to_string(Path::new(run).join("metrics.jsonl")).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    events.filter_map(|event| event["env_steps"].as_u64()).max().unwrap_or(0)
}

fn send(child: &Child, signal: &str) {
    let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_signal_stops_after_the_step_and_saves() {
    let (count, seed) = (number("INGLE_SIGNALS", 4), number("INGLE_FAULT_SEED", 1));
    let scratch = Scratch::new();
    let expected = scratch.0.join("straight").to_string_lossy().into_owned();
    let took = straight("sac", &expected);
    let mut delays = Delays(seed + 7);
    let mut longest = Duration::ZERO;
    let mut stopped = 0;
    for round in 0.. {
        if stopped >= count {
            break;
        }
        let run = scratch.0.join(format!("run-{round}")).to_string_lossy().into_owned();
        let (signal, code) = [("TERM", 143), ("INT", 130)][round % 2];
        let child = start(&begin("sac", &run));
        // The handlers are there as soon as the metrics are.
        while !Path::new(&run).join("metrics.jsonl").is_file() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(delays.next(took.mul_f64(0.8)));
        let sent = Instant::now();
        send(&child, signal);
        let output = finish(child);
        longest = longest.max(sent.elapsed());
        if output.status.success() {
            continue;
        }
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.contains(&format!("stopped by {signal} at step")), "{error}");
        let reason = fs::read_to_string(Path::new(&run).join("stopped.txt")).unwrap();
        assert!(reason.contains(&format!("stopped by {signal} at step {}", newest_step(&run))), "{reason}");
        assert_eq!(reason.lines().count(), 1);
        stopped += 1;
        let output = finish(start(&resume(&run)));
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(policy(&run) == policy(&expected));
        assert_eq!(metrics(&run), metrics(&expected));
        assert!(!Path::new(&run).join("stopped.txt").exists());
        fs::remove_dir_all(&run).unwrap();
    }
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    report(&format!("signals, the slowest answered in {} ms", longest.as_millis()), stopped, seed);
}

#[test]
fn a_second_signal_stops_at_once() {
    let scratch = Scratch::new();
    let run = scratch.0.join("run").to_string_lossy().into_owned();
    // Updates of some seconds each: the first signal waits for the step's end.
    let mut arguments = begin("sac", &run);
    arguments
        .extend(["--set=train.updates_per_step=1000000", "--set=train.warmup_steps=1"].map(str::to_owned));
    let child = start(&arguments);
    while !Path::new(&run).join("metrics.jsonl").is_file() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(200));
    send(&child, "TERM");
    std::thread::sleep(Duration::from_millis(200));
    let sent = Instant::now();
    send(&child, "TERM");
    assert_eq!(finish(child).status.code(), Some(143));
    assert!(sent.elapsed() < Duration::from_secs(1));
    assert!(!Path::new(&run).join("stopped.txt").exists(), "nothing was saved any more");
}

/// The data of a run may lie elsewhere when it goes on, but must be the same.
#[test]
fn a_run_goes_on_with_its_own_data_wherever_they_are() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.0.join(name).to_string_lossy().into_owned();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../demonstrations/pendulum.safetensors");
    fs::copy(shipped, path("data.safetensors")).unwrap();
    let settings = ["--set=td3.hidden=[4]", "--set=train.checkpoint_interval=50", "--set=replay.batch=4"];
    let (data, straight, run) = (path("data.safetensors"), path("straight"), path("run"));
    let train = |run: &str, steps: &str| {
        let arguments = ["train", "td3bc", "--data", &data, "--run", run, "--steps", steps, "--threads=1"];
        finish(command(&[&arguments[..], &settings].concat()).stderr(Stdio::piped()).spawn().unwrap())
    };
    assert!(train(&straight, "300").status.success());
    assert!(train(&run, "120").status.success());
    fs::rename(&data, path("moved.safetensors")).unwrap();
    let go_on = |more: &[&str]| {
        let arguments = ["train", "--resume", "--run", &run, "--steps", "300", "--threads=1"];
        ingle(&[&arguments[..], more].concat())
    };
    let refused = |output: Output, part: &str| {
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{part} is not in {}", text(&output.stderr));
    };
    refused(go_on(&[]), "data.safetensors: cannot be read");
    let other = path("other.safetensors");
    let arguments = ["demos", "record", &straight, "--env", "pendulum", "--episodes", "1", "--out", &other];
    let output = ingle(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    refused(go_on(&["--data", &other]), "holds other data than the run began with (SHA-256");
    let output = go_on(&["--data", &path("moved.safetensors")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(policy(&run) == policy(&straight), "another policy");
    assert_eq!(metrics(&run), metrics(&straight));
}

/// The process that trains for a supervisor, once there is one.
#[cfg(target_os = "linux")]
fn trainer_of(supervisor: &Child, not: Option<u32>) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", supervisor.id());
    loop {
        let children = fs::read_to_string(&children).unwrap();
        if let Some(child) = children.split_whitespace().next().map(|text| text.parse().unwrap())
            && Some(child) != not
        {
            return child;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(target_os = "linux")]
fn send_to(process: u32, signal: &str) {
    assert!(
        Command::new("kill").args([format!("-{signal}"), process.to_string()]).status().unwrap().success()
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_supervised_run_goes_on_when_its_process_is_killed() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.0.join(name).to_string_lossy().into_owned();
    straight("sac", &path("straight"));
    let supervised = |run: &str, restarts: &str| {
        let mut arguments = begin("sac", run);
        arguments.extend(["--restarts".to_owned(), restarts.to_owned()]);
        start(&arguments)
    };

    let run = path("killed");
    let supervisor = supervised(&run, "3");
    let mut trainer = None;
    for step in [300, 900] {
        trainer = Some(trainer_of(&supervisor, trainer));
        while newest_step(&run) < step {
            std::thread::sleep(Duration::from_millis(1));
        }
        send_to(trainer.unwrap(), "KILL");
    }
    let output = finish(supervisor);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for line in [
        "the process was ended by signal 9; restart 1 of 3 in 1s",
        "the process was ended by signal 9; restart 2 of 3 in 2s",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(policy(&run) == policy(&path("straight")), "another policy");
    assert_eq!(metrics(&run), metrics(&path("straight")));

    // It gives up with one line, which stays in the run's directory.
    let run = path("given-up");
    let supervisor = supervised(&run, "1");
    let first = trainer_of(&supervisor, None);
    while newest_step(&run) < 200 {
        std::thread::sleep(Duration::from_millis(1));
    }
    send_to(first, "KILL");
    send_to(trainer_of(&supervisor, Some(first)), "KILL");
    let output = finish(supervisor);
    assert_eq!(output.status.code(), Some(137));
    let reason = fs::read_to_string(Path::new(&run).join("stopped.txt")).unwrap();
    assert_eq!(reason, "gave up: the process was ended by signal 9, and no restart of 1 is left\n");
    assert!(text(&output.stderr).contains(reason.trim()), "{}", text(&output.stderr));

    // A wrong setting is no reason to begin again.
    let mut wrong = begin("sac", &path("wrong"));
    wrong.extend(["--restarts=3", "--set=replay.batch=0"].map(str::to_owned));
    let output = finish(start(&wrong));
    assert_eq!(output.status.code(), Some(2));
    assert!(!text(&output.stderr).contains("restart 1"), "{}", text(&output.stderr));
}

#[test]
#[cfg(target_os = "linux")]
fn a_supervisor_passes_signals_on_and_its_own_end_stops_the_run() {
    let scratch = Scratch::new();
    for (signal, code, reason) in [
        ("TERM", Some(143), "stopped by TERM at step"),
        ("INT", Some(130), "stopped by INT at step"),
        ("KILL", None, "stopped by TERM at step"),
    ] {
        let run = scratch.0.join(signal).to_string_lossy().into_owned();
        let mut arguments = begin("sac", &run);
        // It will not end by itself.
        arguments.extend(["--restarts=3", "--set=train.steps=100000000"].map(str::to_owned));
        arguments.retain(|argument| argument != "--steps=2500");
        let supervisor = start(&arguments);
        while newest_step(&run) < 200 {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(&supervisor, signal);
        assert_eq!(finish(supervisor).status.code(), code);
        let begun = Instant::now();
        let stopped = Path::new(&run).join("stopped.txt");
        while !stopped.is_file() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{signal}: the run goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = fs::read_to_string(stopped).unwrap();
        assert!(said.contains(reason), "{signal}: {said}");
    }
}

#[test]
fn a_run_is_resumed_as_what_it_was() {
    let scratch = Scratch::new();
    let run = scratch.0.join("run").to_string_lossy().into_owned();
    let long = scratch.0.join("long").to_string_lossy().into_owned();
    straight("sac", &long);
    let short: Vec<String> =
        begin("sac", &run).into_iter().map(|text| text.replace("--steps=2500", "--steps=600")).collect();
    assert!(finish(start(&short)).status.success());

    // Neither silently anew, nor as something else.
    let again = finish(start(&short));
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("holds a run: go on with it by --resume"),
        "{}",
        text(&again.stderr)
    );
    let other = ["train", "td3", "--resume", "--run", &run, "--seed=9", "--set=sac.tau=0.5"];
    let other = ingle(&other);
    assert_eq!(other.status.code(), Some(2));
    let error = text(&other.stderr);
    for part in [
        "3 settings are wrong",
        "learner: the run has \"sac\", got \"td3\"",
        "seed: the run has 0, got 9",
        "sac.tau: the run has 0.005, got 0.5",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let config = ingle(&["train", "--resume", "--run", &run, "--config", "x.toml"]);
    assert_eq!(config.status.code(), Some(2));
    let nowhere = ingle(&["train", "--resume", "--run", &scratch.0.to_string_lossy()]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("holds no run"), "{}", text(&nowhere.stderr));

    // Resuming what has finished says the same again; more steps give what a longer run would have given.
    let before = policy(&run);
    assert!(finish(start(&resume(&run))).status.success());
    assert!(policy(&run) == before);
    let mut more = resume(&run);
    more.push("--steps=2500".into());
    let output = finish(start(&more));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("going on at step 600"), "{}", text(&output.stderr));
    assert!(policy(&run) == policy(&long));
    // But for the evaluation at its first end.
    let without: Vec<_> = metrics(&run)
        .into_iter()
        .filter(|event| event["event"] != "evaluation" || event["env_steps"] != 600)
        .collect();
    assert_eq!(without, metrics(&long));
}

#[test]
fn one_process_at_a_time() {
    let scratch = Scratch::new();
    let run = scratch.0.join("run").to_string_lossy().into_owned();
    let first = start(&begin("sac", &run));
    while !Path::new(&run).join("metrics.jsonl").is_file() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // It holds still meanwhile: on a busy machine it may otherwise end before the others have looked.
    send(&first, "STOP");
    let second = finish(start(&resume(&run)));
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("another process is running there"), "{}", text(&second.stderr));
    let list = text(&ingle(&["runs", &run]).stdout);
    send(&first, "CONT");
    assert!(list.contains("running"), "{list}");
    let output = finish(first);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!Path::new(&run).join("stopped.txt").exists());
}

#[test]
fn runs_are_listed() {
    let scratch = Scratch::new();
    let path = |name: &str| scratch.0.join(name).to_string_lossy().into_owned();
    straight("sac", &path("a"));
    let mut killed = start(&begin("rnd+sac", &path("b")));
    while newest_step(&path("b")) < 300 {
        std::thread::sleep(Duration::from_millis(1));
    }
    killed.kill().unwrap();
    finish(killed);
    fs::create_dir(path("no-run")).unwrap();
    fs::create_dir(path("damaged")).unwrap();
    fs::write(Path::new(&path("damaged")).join("config.toml"), "learner = 5").unwrap();

    let output = ingle(&["runs", &scratch.0.to_string_lossy(), "--json"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("damaged"), "{}", text(&output.stderr));
    let runs: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[0]["run"], &runs[0]["state"]), (&path("a").into(), &"finished".into()));
    assert_eq!((&runs[0]["env_steps"], &runs[0]["steps"]), (&2500.into(), &2500.into()));
    assert!(runs[0]["last_return"].is_f64());
    assert_eq!((&runs[1]["learner"], &runs[1]["state"]), (&"rnd+sac".into(), &"interrupted".into()));
    assert!(runs[1]["env_steps"].as_u64() >= Some(300), "{}", runs[1]);

    // A policy of a run that has not finished can be looked at.
    let output = ingle(&["eval", &path("b"), "--episodes", "2", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("has not finished: this is its policy of step"));
    assert_eq!(ingle(&["runs", &path("nowhere")]).status.code(), Some(2));
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_none_is_refused() {
    let scratch = Scratch::new();
    let (run, expected) = (scratch.0.join("run"), scratch.0.join("straight"));
    let (run, expected) = (run.to_string_lossy().into_owned(), expected.to_string_lossy().into_owned());
    straight("sac", &expected);
    let mut child = start(&begin("sac", &run));
    while newest_step(&run) < 500 {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    finish(child);
    let newest = Path::new(&run).join(format!("checkpoints/checkpoint-{:012}", newest_step(&run)));
    fs::write(newest.join("learner.safetensors"), "nonsense").unwrap();
    let output = finish(start(&resume(&run)));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("passed over a checkpoint"), "{}", text(&output.stderr));
    assert!(policy(&run) == policy(&expected));

    for entry in fs::read_dir(Path::new(&run).join("checkpoints")).unwrap() {
        fs::write(entry.unwrap().path().join("manifest.json"), "{").unwrap();
    }
    let output = finish(start(&resume(&run)));
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no checkpoint of"), "{}", text(&output.stderr));
    assert!(policy(&run) == policy(&expected), "nothing was begun anew");
}

#[test]
fn closed_and_full_outputs_are_errors_and_no_panics() {
    let scratch = Scratch::new();
    let run = scratch.0.join("run").to_string_lossy().into_owned();
    straight("sac", &run);
    // Every write to this device says that the disk is full.
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        println!("skipped: this system has no /dev/full");
        return;
    };
    let arguments = resume(&run);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for arguments in [&arguments[..], &["runs", &run], &["devices"], &["eval", &run]] {
        let mut child = command(arguments);
        let output = child.stdout(full.try_clone().unwrap()).stderr(Stdio::piped()).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("cannot write to standard output"), "{arguments:?}: {error}");
        // And if nobody listens at all.
        let mut silent = command(arguments);
        silent.stdout(full.try_clone().unwrap()).stderr(full.try_clone().unwrap());
        assert_eq!(silent.status().unwrap().code(), Some(1), "{arguments:?}");
    }
}

/// What a process has resident in memory, in MB.
#[cfg(target_os = "linux")]
fn resident(child: &Child) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// Small networks, a full replay, an update every hundred steps: what grows here grows everywhere. `INGLE_MEMORY_STEPS` says for
/// how long.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow() {
    let steps = number("INGLE_MEMORY_STEPS", 40_000);
    let scratch = Scratch::new();
    let run = scratch.0.join("run").to_string_lossy().into_owned();
    let mut arguments = begin("sac", &run);
    arguments.retain(|argument| argument != "--steps=2500");
    arguments.push(format!("--steps={steps}"));
    arguments.extend(
        [
            "--set=train.updates_per_step=0.01",
            "--set=train.checkpoint_interval=2000",
            "--set=train.evaluation_interval=10000",
        ]
        .map(str::to_owned),
    );
    let mut child = start(&arguments);
    let mut samples = Vec::new();
    while child.try_wait().unwrap().is_none() {
        if let Some(memory) = resident(&child) {
            samples.push((newest_step(&run), memory));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(finish(child).status.success());
    // While a checkpoint is written there is a copy of what is saved: the least of each part is compared.
    let least = |from: f64, to: f64| {
        let part = samples.iter().filter(|(step, _)| {
            let share = *step as f64 / steps as f64;
            from <= share && share < to
        });
        part.map(|(_, memory)| *memory).reduce(f64::min)
    };
    let (Some(early), Some(late)) = (least(0.2, 0.5), least(0.7, 1.0)) else {
        println!("skipped: only {} looks at the process", samples.len());
        return;
    };
    let growth = (late - early) / (0.5 * steps as f64) * 100_000.0;
    println!("{steps} steps: {early:.1} MB, then {late:.1} MB: {growth:+.2} MB for 100,000 steps");
    // In a short run the allocator's own habits are seen; a long one shows growth.
    let allowed = if steps < 200_000 { 10.0 } else { 1.0 };
    assert!(growth <= allowed, "{growth} MB for 100,000 steps");
}
