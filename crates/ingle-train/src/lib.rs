//! The training loop of [ingle](https://docs.rs/ingle), evaluation, observers, and what a run leaves on disk.
//!
//! [`Trainer`] plays episodes with a learner's policy, stores the transitions, and steps the learner as often as the
//! update ratio says. It is generic over the learner, so a nest, or a learner whose state lives elsewhere, is driven
//! by the same loop. Whoever wants another loop needs none of this: a learner steps on any sample.

mod config;
mod error;
mod evaluation;
mod observer;
mod run;
mod trainer;

pub use config::TrainConfig;
pub use error::TrainError;
pub use evaluation::{EpisodeStatistics, evaluate};
pub use observer::{Event, MetricsFile, Observer, Progress, StopReason, Summary};
pub use run::{read_record, write_atomically, write_record};
pub use trainer::{Agent, Trainer};
