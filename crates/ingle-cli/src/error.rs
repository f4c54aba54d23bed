//! What can go wrong on the command line, and the exit code of each.

use std::path::PathBuf;
use std::process::ExitCode;

use ingle::device::DeviceError;
use ingle::envs::EnvironmentError;
use ingle::replay::demonstrations::DemonstrationError;
use ingle::train::TrainError;

use crate::panics::Kind;

/// An error with the exit code that it ends the program with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration is wrong; every problem is listed.
    #[error("{}", list(.0))]
    Config(Vec<String>),
    /// What was given cannot be used.
    #[error("{0}")]
    Input(String),
    /// A file that was given cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Demonstrations(#[from] DemonstrationError),
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A signal stopped the run, which has been saved.
    #[error("stopped by {} at step {step}; go on with: ingle train --resume --run {}", signal_name(*.signal), .run.display())]
    Stopped {
        /// Its number.
        signal: u8,
        /// The environment step.
        step: u64,
        /// The run's directory.
        run: PathBuf,
    },
    /// Standard output is closed, or full.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// Something panicked.
    #[error("{}: {said}", match kind {
        Kind::OutOfMemory => "the device is out of memory",
        Kind::DeviceLost => "the device is lost",
        Kind::Bug => "internal error, please report it",
    })]
    Panicked {
        /// What it is about.
        kind: Kind,
        /// What the threads that panicked said.
        said: String,
    },
    #[error("{0}")]
    Other(String),
}

fn signal_name(signal: u8) -> &'static str {
    match signal {
        2 => "INT",
        15 => "TERM",
        _ => "a signal",
    }
}

fn list(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("{} settings are wrong:\n  {}", many.len(), many.join("\n  ")),
    }
}

impl From<ingle::Error> for CliError {
    fn from(error: ingle::Error) -> Self {
        Self::Train(error.into())
    }
}

impl CliError {
    /// The documented exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Input(_)
            | Self::Read { .. }
            | Self::Demonstrations(_)
            | Self::Train(
                TrainError::Learner(ingle::Error::Config(_) | ingle::Error::Record(_))
                | TrainError::Mismatch { .. }
                | TrainError::Format { .. }
                | TrainError::Locked { .. },
            ) => 2,
            Self::Stopped { signal, .. } => 128 + signal,
            Self::Train(
                TrainError::NotFinite { .. }
                | TrainError::ActionNotFinite { .. }
                | TrainError::Diverged { .. },
            ) => 6,
            Self::Device(_) => 3,
            Self::Panicked { kind, .. } => match kind {
                Kind::OutOfMemory => 4,
                Kind::DeviceLost => 5,
                Kind::Bug => 101,
            },
            // What is not about memory: nothing on that device can be trusted any more.
            Self::Train(TrainError::Learner(ingle::Error::Execution(reason))) => {
                if Kind::of(reason) == Kind::OutOfMemory { 4 } else { 5 }
            }
            Self::Environment(error) | Self::Train(TrainError::Environment(error)) => environment_code(error),
            Self::Train(_) | Self::Output(_) | Self::Other(_) => 1,
        }
    }
}

/// An environment that is not known, or not installed, is bad input; one that fails while it runs is not. Which of them it
/// was, and when, does not matter.
fn environment_code(error: &EnvironmentError) -> u8 {
    match error {
        EnvironmentError::UnknownName { .. } | EnvironmentError::Unavailable { .. } => 2,
        EnvironmentError::At { error, .. } => environment_code(error),
        _ => 7,
    }
}
