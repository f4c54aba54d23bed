//! Processors for [ingle](https://docs.rs/ingle): reward learners that nest over any core by handing it a processed
//! sample.
//!
//! A processor learns on the sample, writes other rewards into it with what it just learned, and leaves the rest to the
//! core below. It neither owns data nor knows which core that is, so nests stack:
//!
//! ```
//! use burn::tensor::Device;
//! use ingle_core::sac::SacConfig;
//! use ingle_core::{LearnerCore, Nested, Transitions};
//! use ingle_nested::rnd::RndConfig;
//!
//! let nest = Nested {
//!     processor: RndConfig::default().init::<Transitions>(3)?,
//!     direct: SacConfig::default().init(3, 1)?,
//! };
//! let state = nest.init(0, &Device::flex())?; // a core like any other
//! # let _ = state;
//! # Ok::<(), ingle_core::Error>(())
//! ```

#![forbid(unsafe_code)]

pub mod ail;
mod moments;
pub mod normalise;
pub mod rnd;

pub use ingle_core::ImitationSample;
pub use moments::RunningMoments;
