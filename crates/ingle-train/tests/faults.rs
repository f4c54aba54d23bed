//! A save that is killed, or refused, at each of its system calls. The calls are hit by strace, which is attached to a
//! process of this very test; where it is not there, or may not attach, the tests say so.
//!
//! `INGLE_FAULTS=full` tries more kinds of errors.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use burn::tensor::TensorData;
use ingle_core::{Record, RecordItem};
use ingle_train::Checkpoints;

mod scratch;
use scratch::Scratch;

/// The calls by which a save changes the disk or opens what it changes; those of other architectures with a `?`.
const CALLS: [&str; 10] = [
    "openat",
    "?mkdir",
    "?mkdirat",
    "write",
    "fsync",
    "?rename",
    "?renameat",
    "?renameat2",
    "unlinkat",
    "close",
];

const DIRECTORY: &str = "INGLE_FAULT_DIRECTORY";

/// What the process says, and with which code it ends, when a save failed as it should.
const REFUSED: i32 = 7;

/// Two scopes in which every number tells the step.
fn record(step: u64) -> Record {
    let item = || RecordItem::Tensor(TensorData::new(vec![step as f32; 3000], [1, 3000]));
    Record([("learner/a".to_owned(), item()), ("trainer/b".to_owned(), item())].into())
}

fn checkpoints(directory: &Path) -> Checkpoints {
    Checkpoints::new(&directory.join("checkpoints"), "", 1)
}

fn save(directory: &Path, step: u64) -> Result<(), ingle_train::TrainError> {
    let mut checkpoints = checkpoints(directory);
    checkpoints.save(step, None, record(step))?;
    checkpoints.finish()
}

/// The process that is hit: waits until it may go on, then saves the next step, with which the one before goes.
#[test]
#[ignore = "a process of the other tests"]
fn saving() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let step = checkpoints(&directory).steps().unwrap().last().unwrap() + 1;
    let go = directory.join("go");
    fs::write(directory.join("ready"), "").unwrap();
    while !go.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    match save(&directory, step) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            // The fault may hit this line too.
            let _ = writeln!(std::io::stdout(), "refused: {error}");
            std::process::exit(REFUSED);
        }
    }
}

/// What became of a process that was hit.
struct Hit {
    status: ExitStatus,
    output: String,
    /// Whether the fault was injected: the save may have fewer calls of that kind.
    fired: bool,
}

/// Runs [`saving`] with a fault at the `number`th call. `Err` says why strace cannot.
fn hit(directory: &Path, call: &str, fault: &str, number: u32) -> Result<Hit, String> {
    for name in ["go", "ready"] {
        let _ = fs::remove_file(directory.join(name));
    }
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["saving", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !directory.join("ready").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let log = directory.join("strace.log");
    let strace = attach(&log, call, fault, number, process.id());
    let (mut strace, mut lines) = match strace {
        Ok(attached) => attached,
        Err(reason) => {
            process.kill().unwrap();
            process.wait().unwrap();
            return Err(reason);
        }
    };
    // What strace has to say after that must not fill its pipe.
    let rest = std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    File::create(directory.join("go")).unwrap();
    let output = process.wait_with_output().unwrap();
    strace.wait().unwrap();
    rest.join().unwrap().unwrap();
    let mut log_text = String::new();
    File::open(&log).unwrap().read_to_string(&mut log_text).unwrap();
    let fired = output.status.code().is_none() || log_text.contains("(INJECTED)");
    let text = [output.stdout, output.stderr].concat();
    Ok(Hit { status: output.status, output: String::from_utf8_lossy(&text).into_owned(), fired })
}

/// Starts strace and waits until it has attached.
fn attach(
    log: &Path,
    call: &str,
    fault: &str,
    number: u32,
    process: u32,
) -> Result<(Child, BufReader<ChildStderr>), String> {
    let mut strace = Command::new("strace")
        .args(["-f", "-o"])
        .arg(log)
        .arg(format!("--trace={}", CALLS.join(",")))
        .arg(format!("--inject={call}:{fault}:when={number}"))
        .args(["-p", &process.to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("strace: {error}"))?;
    let stderr = strace.stderr.take();
    let mut said = String::new();
    if let Some(mut lines) = stderr.map(BufReader::new) {
        while lines.read_line(&mut said).is_ok_and(|count| count > 0) {
            if said.contains("attached") {
                return Ok((strace, lines));
            }
        }
    }
    strace.wait().map_err(|error| error.to_string())?;
    Err(said)
}

/// Whether the newest checkpoint is whole, nothing of it mixed, and which it is.
fn newest(directory: &Path) -> u64 {
    let (checkpoint, damaged) = checkpoints(directory).latest().unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    let checkpoint = checkpoint.expect("a checkpoint is left");
    assert_eq!(checkpoint.record, record(checkpoint.manifest.step));
    checkpoint.manifest.step
}

/// Hits every call with `fault` and returns how often, or why strace cannot.
fn every_call(calls: &[&str], fault: &str, check: impl Fn(&Hit, &str)) -> Result<u32, String> {
    let scratch = Scratch::new();
    save(&scratch.0, 1).unwrap();
    let mut hits = 0;
    for call in calls {
        for number in 1.. {
            let before = newest(&scratch.0);
            let hit = hit(&scratch.0, call, fault, number)?;
            let what = format!("{fault} at {call} {number}: {}", hit.output);
            assert!(!hit.output.contains("panicked"), "{what}");
            let after = newest(&scratch.0);
            assert!(after == before || after == before + 1, "{what}");
            if !hit.fired {
                assert!(hit.status.success() && after == before + 1, "{what}");
                break;
            }
            check(&hit, &what);
            hits += 1;
            // The next save goes through, and leaves nothing behind of the one that did not.
            save(&scratch.0, after + 1).unwrap();
            let left: Vec<_> = fs::read_dir(scratch.0.join("checkpoints"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left.len(), 1, "{what}: {left:?}");
        }
    }
    Ok(hits)
}

fn report(result: Result<u32, String>, what: &str) {
    match result {
        Ok(count) => println!("{count} {what}: 0 checkpoints lost, 0 mixed, 0 panics"),
        Err(reason) => println!("skipped ({what}): {reason}"),
    }
}

#[test]
fn a_save_can_be_killed_at_every_system_call() {
    let result = every_call(&CALLS, "signal=KILL", |hit, what| assert_eq!(hit.status.code(), None, "{what}"));
    if let Ok(count) = result {
        assert!(count >= 30, "{count} calls are too few for a save");
    }
    report(result, "kills, one at each system call of a save and its rotation");
}

#[test]
fn a_save_can_be_refused_at_every_system_call() {
    let full = std::env::var("INGLE_FAULTS").is_ok_and(|value| value == "full");
    let errors: &[&str] = if full { &["ENOSPC", "EIO", "EROFS", "EACCES", "EDQUOT"] } else { &["ENOSPC"] };
    for error in errors {
        // All but closing: a failed `closedir` is one at which the standard library itself panics. A call whose failure
        // does no harm may pass.
        let (_, calls) = CALLS.split_last().unwrap();
        let result = every_call(calls, &format!("error={error}"), |hit, what| {
            let refused = hit.status.code() == Some(REFUSED) && hit.output.contains("refused: ");
            assert!(refused || hit.status.success(), "{what}");
        });
        report(result, &format!("{error}, one at each system call of a save and its rotation"));
    }
}
