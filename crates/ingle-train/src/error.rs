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
    /// Nothing moves in the learner any more: its updates are not finite, and left out.
    #[error(
        "the learner stands still at step {step}: its last {skipped} updates ({layer}) were left out, since not everything \
         in them was finite: {}; nothing was saved of it, older checkpoints are as they were: lower the learning rates \
         or scale the rewards, and resume or begin anew",
        culprits(.not_finite)
    )]
    NotFinite {
        /// The environment step.
        step: u64,
        /// The number of updates in a row that were left out.
        skipped: u64,
        /// The metric that counts them, which names the layer.
        layer: String,
        /// The metrics of the last update and the items of the learner's state that are not finite.
        not_finite: Vec<String>,
    },
    /// The policy has become useless.
    #[error(
        "the policy of member {member} acts with a number that is not finite ({value}): older checkpoints are as they \
         were; lower the learning rates or scale the rewards, and resume or begin anew"
    )]
    ActionNotFinite {
        /// The member of the population.
        member: usize,
        /// The number.
        value: f32,
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

fn culprits(names: &[String]) -> String {
    if names.is_empty() {
        "a gradient is not, or is above 1e15 in size".into()
    } else {
        format!("{} not", names.join(", ") + if names.len() == 1 { " is" } else { " are" })
    }
}
