//! `ingle train --restarts N`: the run is trained in a process of its own, and goes on in a new one when that one is lost.
//!
//! A device that is lost or out of memory stays so until its process ends: only a new process can go on.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ingle::train::RunDirectory;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::arguments::TrainOptions;
use crate::error::CliError;
use crate::output::note;
use crate::train;

/// Tells a process who supervises it.
const SUPERVISOR: &str = "INGLE_SUPERVISOR";

/// How often the process and the signals are looked at.
const TICK: Duration = Duration::from_millis(20);

/// How long the first restart waits; each further one waits twice as long, up to the longest. Drivers need a moment.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Trains under supervision, and gives back the exit code of the last process.
///
/// # Errors
/// If the run is refused, or no process can be started.
pub(crate) fn run(options: &TrainOptions) -> Result<ExitCode, CliError> {
    let path = train::place(options)?;
    let program = std::env::current_exe()
        .map_err(|error| CliError::Other(format!("cannot find this program: {error}")))?;
    let begin = arguments(std::env::args_os().skip(1), options, &path);
    let go_on = going_on(options, &path);
    let start = || {
        let begun = options.resume || !RunDirectory::holds_run(&path);
        let mut command = Command::new(&program);
        command.args(if begun { &begin } else { &go_on });
        command
    };
    let supervisor = Supervisor::new(options.restarts, FIRST_WAIT)?;
    let outcome = supervisor.watch(start)?;
    if let Some(reason) = outcome.gave_up {
        let line = format!("gave up: {reason}, and no restart of {} is left", options.restarts);
        // If it cannot be written, it is still printed.
        let _ = RunDirectory::open(&path).and_then(|directory| directory.stopped(&line));
        note(format_args!("ingle: {line}; go on with: ingle train --resume --run {}", path.display()));
    }
    Ok(ExitCode::from(outcome.code))
}

/// Called by a process that trains: it stops, and saves, when its supervisor is gone.
pub(crate) fn follow_supervisor() {
    let Some(supervisor) = std::env::var(SUPERVISOR).ok().and_then(|text| text.parse::<i32>().ok()) else {
        return;
    };
    // Where the system cannot tell us, the run goes on alone.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(supervisor) {
        // It went before it could be followed.
        let _ = signal_hook::low_level::raise(SIGTERM);
    }
}

/// Our own arguments without `--restarts`, and with the run's place.
fn arguments(own: impl Iterator<Item = OsString>, options: &TrainOptions, path: &Path) -> Vec<OsString> {
    let mut arguments = Vec::new();
    let mut own = own;
    while let Some(argument) = own.next() {
        if argument == "--restarts" {
            own.next();
        } else if !argument.to_string_lossy().starts_with("--restarts=") {
            arguments.push(argument);
        }
    }
    if options.run.is_none() {
        arguments.extend(["--run".into(), path.into()]);
    }
    arguments
}

/// The arguments that go on with a run that has begun: it knows its configuration.
fn going_on(options: &TrainOptions, path: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["train".into(), "--resume".into(), "--run".into(), path.into()];
    if let Some(threads) = options.threads {
        arguments.push(format!("--threads={threads}").into());
    }
    if options.json {
        arguments.push("--json".into());
    }
    arguments
}

/// What a supervised run came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    code: u8,
    /// Why the last process ended, if it would have been followed by another one.
    gave_up: Option<String>,
}

struct Supervisor {
    restarts: u64,
    wait: Duration,
    /// Signals to pass on, each with its flag. A closed terminal is as good as TERM.
    signals: [(Signal, Arc<AtomicBool>); 3],
}

impl Supervisor {
    fn new(restarts: u64, wait: Duration) -> Result<Self, CliError> {
        let failed = |error| CliError::Other(format!("cannot watch for signals: {error}"));
        let signals = [(SIGINT, Signal::INT), (SIGTERM, Signal::TERM), (SIGHUP, Signal::TERM)];
        let flags = signals.map(|(_, passed)| (passed, Arc::new(AtomicBool::new(false))));
        for ((signal, _), (_, flag)) in signals.iter().zip(&flags) {
            flag::register(*signal, Arc::clone(flag)).map_err(failed)?;
        }
        Ok(Self { restarts, wait, signals: flags })
    }

    /// Runs processes until one of them ends for good.
    fn watch(&self, start: impl Fn() -> Command) -> Result<Outcome, CliError> {
        let (mut restart, mut wait) = (0, self.wait);
        loop {
            // A process group of its own: what the terminal sends reaches it through us alone, and so once.
            let mut child = start()
                .env(SUPERVISOR, std::process::id().to_string())
                .stdin(Stdio::null())
                .process_group(0)
                .spawn()
                .map_err(|error| CliError::Other(format!("cannot start a process: {error}")))?;
            let (status, stopped) = self.attend(&mut child)?;
            let code = code_of(status);
            let Some(reason) = lost(status).filter(|_| !stopped) else {
                return Ok(Outcome { code, gave_up: None });
            };
            if restart == self.restarts {
                return Ok(Outcome { code, gave_up: Some(reason) });
            }
            restart += 1;
            note(format_args!("ingle: {reason}; restart {restart} of {} in {wait:.0?}", self.restarts));
            let begun = Instant::now();
            while begun.elapsed() < wait {
                if let Some(signal) = self.signal() {
                    return Ok(Outcome { code: 128 + signal.as_raw() as u8, gave_up: None });
                }
                sleep(TICK);
            }
            wait = (2 * wait).min(LONGEST_WAIT);
        }
    }

    /// Waits for the process, passes signals on to it, and tells whether there was one.
    fn attend(&self, child: &mut Child) -> Result<(ExitStatus, bool), CliError> {
        let mut stopped = false;
        loop {
            let failed = |error| CliError::Other(format!("cannot wait for the process: {error}"));
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok((status, stopped));
            }
            while let Some(signal) = self.signal() {
                stopped = true;
                // It may have ended by itself in this moment.
                let _ = kill_process(Pid::from_child(child), signal);
            }
            sleep(TICK);
        }
    }

    /// The next signal that came.
    fn signal(&self) -> Option<Signal> {
        let came = self.signals.iter().find(|(_, flag)| flag.swap(false, Ordering::Relaxed));
        came.map(|(signal, _)| *signal)
    }
}

/// The exit code that stands for how a process ended.
fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Why a process ended, if a new one can do better: not after bad input, a stop, or a learner that is not finite.
fn lost(status: ExitStatus) -> Option<String> {
    let reason = match (status.code(), status.signal()) {
        (Some(4), _) => "the device is out of memory (exit code 4)".to_owned(),
        (Some(5), _) => "the device is lost (exit code 5)".to_owned(),
        (Some(7), _) => "an environment failed (exit code 7)".to_owned(),
        (Some(101), _) => "an internal error (exit code 101)".to_owned(),
        (_, Some(signal)) if ![SIGINT, SIGTERM, SIGHUP].contains(&signal) => {
            format!("the process was ended by signal {signal}")
        }
        _ => return None,
    };
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervise(restarts: u64, script: &str) -> Outcome {
        let start = || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        Supervisor::new(restarts, Duration::from_millis(1)).unwrap().watch(start).unwrap()
    }

    #[test]
    fn only_what_a_new_process_can_help_is_begun_again() {
        for code in [0, 1, 2, 3, 6, 130, 143] {
            let file = std::env::temp_dir().join(format!("ingle-supervise-{}-{code}", std::process::id()));
            let script = format!("echo x >> {}; exit {code}", file.display());
            assert_eq!(supervise(3, &script), Outcome { code, gave_up: None });
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n", "once");
            std::fs::remove_file(file).unwrap();
        }
        for (script, code, reason) in [
            ("exit 4", 4, "the device is out of memory (exit code 4)"),
            ("exit 5", 5, "the device is lost (exit code 5)"),
            ("exit 7", 7, "an environment failed (exit code 7)"),
            ("exit 101", 101, "an internal error (exit code 101)"),
            ("kill -KILL $$", 137, "the process was ended by signal 9"),
            ("kill -ABRT $$", 134, "the process was ended by signal 6"),
        ] {
            assert_eq!(supervise(1, script), Outcome { code, gave_up: Some(reason.to_owned()) }, "{script}");
        }
        assert_eq!(supervise(1, "kill -TERM $$"), Outcome { code: 143, gave_up: None });
    }

    #[test]
    fn restarts_are_counted() {
        for (failures, restarts, code, starts) in [(2, 3, 0, 3), (2, 2, 0, 3), (3, 2, 5, 3)] {
            let name = format!("ingle-supervise-{}-{failures}-{restarts}", std::process::id());
            let file = std::env::temp_dir().join(name);
            let script =
                format!("echo x >> {0}; [ $(wc -l < {0}) -gt {failures} ] || exit 5", file.display());
            assert_eq!(supervise(restarts, &script).code, code, "{failures} failures, {restarts} restarts");
            assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), starts);
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn arguments_are_passed_on_without_our_own() {
        use clap::Parser;
        let own = ["train", "sac", "--restarts", "3", "--set", "sac.tau=0.1", "--threads=2"];
        let parsed = crate::arguments::Arguments::parse_from(["ingle"].iter().chain(&own));
        let crate::arguments::Command::Train(options) = parsed.command else { panic!("not train") };
        let path = Path::new("runs/x");
        let passed = arguments(own.iter().map(Into::into), &options, path);
        assert_eq!(passed, ["train", "sac", "--set", "sac.tau=0.1", "--threads=2", "--run", "runs/x"]);
        assert_eq!(going_on(&options, path), ["train", "--resume", "--run", "runs/x", "--threads=2"]);
    }
}
