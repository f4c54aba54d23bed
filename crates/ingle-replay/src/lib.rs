//! Replay buffers and rate limiting for [ingle](https://docs.rs/ingle).
//!
//! [`UniformReplay`] is a ring of transitions, on the host or on the device ([`Place`]), that hands out batches as device
//! tensors in a single upload; [`PrioritisedReplay`] draws surprising rows more often; [`NStepReplay`] folds n steps into a row on their way
//! into either. [`demonstrations`] are read from files. [`Mixed`] draws the rows of a batch from several samplers,
//! [`WithDemonstrations`] puts demonstrations beside it. [`RateLimiter`] keeps the ratio of updates to inserted
//! transitions exact.
//!
//! ```
//! use burn::tensor::Device;
//! use ingle_core::Sampler;
//! use ingle_replay::{ReplayConfig, Rows, UniformReplay};
//!
//! let config = ReplayConfig { capacity: 1000, batch: 4, ..ReplayConfig::new(3, 1) };
//! let mut replay = UniformReplay::new(&config, 0, &Device::flex())?;
//! replay.insert(0, Rows {
//!     observation: &[0.0, 0.1, 0.2],
//!     action: &[0.5],
//!     reward: &[1.0],
//!     discount: &[0.99],
//!     truncated: &[false],
//!     next_observation: &[0.1, 0.2, 0.3],
//! })?;
//! let sample = replay.sample()?;
//! assert_eq!(sample.observation.dims(), [1, 4, 3]);
//! # Ok::<(), ingle_core::Error>(())
//! ```
//!
//! The rules, with their papers and the tables that they are checked against, are in the book: `docs/replay.md` in the
//! repository.

#![forbid(unsafe_code)]

pub mod demonstrations;
mod limiter;
mod mixed;
mod n_step;
mod prioritised;
mod ring;
mod rows;
mod storage;
mod uniform;
mod with_demonstrations;

use ingle_core::{
    CoreLearner, Error, GraphLearner, LearnerCore, NestedLearner, Result, SampleProcessor, Sampler,
};

pub use limiter::RateLimiter;
pub use mixed::Mixed;
pub use n_step::NStepReplay;
pub use prioritised::{Priorities, PrioritisedReplay};
pub use ring::Rows;
pub use rows::Place;
pub use storage::{Data, ReplayConfig};
pub use uniform::UniformReplay;
pub use with_demonstrations::WithDemonstrations;

/// Draws `count` samples of a sampler that is given no feedback, as many at once as it hands out.
///
/// # Errors
/// As [`Sampler::sample_many`].
pub fn draw<S: Sampler + ?Sized>(sampler: &mut S, count: usize) -> Result<Vec<S::Sample>> {
    let mut samples = Vec::with_capacity(count);
    while samples.len() < count {
        let more = sampler.sample_many(count - samples.len())?;
        if more.is_empty() {
            return Err(Error::Sample("the sampler handed out nothing".into()));
        }
        samples.extend(more);
    }
    Ok(samples)
}

/// Something that takes in transitions: a replay, or a learner with one.
pub trait Insert {
    /// Appends transitions of `member`.
    ///
    /// # Errors
    /// If they do not fit, or hold a number that is not finite. Nothing is stored then.
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()>;

    /// Tells that all environments begin new episodes: steps that wait for their successors
    /// ([`NStepReplay`]) are dropped. The default does nothing.
    fn begin(&mut self) {}

    /// How many further steps of an environment a step may wait for before it is stored. Default 0.
    fn lag(&self) -> usize {
        0
    }
}

impl Insert for UniformReplay {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        Self::insert(self, member, rows)
    }
}

impl Insert for PrioritisedReplay {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        Self::insert(self, member, rows)
    }
}

/// Inserts through the sampler of a learner. All methods at once: one that was left out would fall back on its default.
macro_rules! insert_through_sampler {
    ($(<$($parameter:ident $(: $bound:ident)?),*> $learner:ty;)*) => {
        $(impl<$($parameter $(: $bound)?),*> Insert for $learner {
            fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
                self.sampler.insert(member, rows)
            }

            fn begin(&mut self) {
                self.sampler.begin();
            }

            fn lag(&self) -> usize {
                self.sampler.lag()
            }
        })*
    };
}

insert_through_sampler! {
    <C: LearnerCore, S: Insert> CoreLearner<C, S>;
    <C: LearnerCore, S: Insert> GraphLearner<C, S>;
    <P: SampleProcessor, L, S: Insert> NestedLearner<P, L, S>;
}
