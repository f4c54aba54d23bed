//! The training loop of [ingle](https://docs.rs/ingle), evaluation, observers, and what a run leaves on disk.
//!
//! [`Trainer`] plays episodes with a learner's policy, stores the transitions, and steps the learner as often as the
//! update ratio says. It is generic over the learner, so a nest, or a learner whose state lives elsewhere, is driven
//! by the same loop. Whoever wants another loop needs none of this: a learner steps on any sample.
//!
//! | | |
//! |---|---|
//! | [`Trainer`], [`TrainConfig`] | the loop: act, store, update in an exact ratio, evaluate |
//! | [`evaluate`] | episodes of the policy without exploration |
//! | [`Observer`], [`Event`] | whoever wants to know what happens; [`MetricsFile`] writes it down, [`EventFiles`] for TensorBoard |
//! | [`MetricsReader`], [`Scalars`] | what a run wrote down, and its numbers under the names that people know |
//! | [`RunDirectory`], [`Checkpoints`] | what a run leaves on disk, and where it goes on |
//! | [`SavedPolicy`], [`PolicyParameters`], [`Foreign`] | policies out of runs, to act with or for other programs, and from other libraries |
//! | [`process`] | learners in another process, in any language |
//!
//! In the book: `docs/first-run.md`, `docs/running-for-days.md`, `docs/logging.md`, `docs/policies.md`,
//! `docs/external-learners.md`.

#![forbid(unsafe_code)]

mod checkpoints;
mod config;
mod environments;
mod error;
mod evaluation;
mod files;
mod observer;
mod policy;
pub mod process;
mod record;
mod run_directory;
mod scalars;
mod tensorboard;
mod trainer;

pub use checkpoints::{Checkpoints, FileEntry, Manifest, SavedCheckpoint};
pub use config::TrainConfig;
pub use error::TrainError;
pub use evaluation::{EpisodeStatistics, evaluate, record_episodes};
pub use files::write_atomically;
pub use observer::{Event, MetricsFile, MetricsReader, Observer, Progress, StopReason, Summary};
pub use policy::{Foreign, Mode, Normalisation, PolicyKind, PolicyParameters, SavedPolicy};
pub use record::{read_record, write_record};
pub use run_directory::{RunDirectory, RunState, RunStatus};
pub use scalars::{Scalar, Scalars};
pub use tensorboard::EventFiles;
pub use trainer::{Agent, Trainer};
