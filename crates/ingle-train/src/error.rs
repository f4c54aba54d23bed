//! Errors of a run.

use std::path::PathBuf;

use ingle_envs::EnvironmentError;

/// Why a run, or a part of one, could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The learner, its sampler or the device.
    #[error(transparent)]
    Learner(#[from] ingle_core::Error),
    /// An environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The learner and the environments do not fit each other.
    #[error("{what}: the environment has {environment}, the learner {learner}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// The environment's value.
        environment: usize,
        /// The learner's value.
        learner: usize,
    },
    /// The learner has become useless; nothing was saved of it.
    #[error(
        "the learner is not finite at step {step} ({}): no checkpoint was written, older ones are as they were; \
         lower the learning rates or scale the rewards, and resume or begin anew",
        .items.join(", ")
    )]
    Diverged {
        /// The environment step.
        step: u64,
        /// The items that hold a number that is not finite.
        items: Vec<String>,
    },
    /// Another process works in the run's directory.
    #[error("{path}: another process is running there")]
    Locked {
        /// The run's directory.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is there but is not what it should be.
    #[error("{path}: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
