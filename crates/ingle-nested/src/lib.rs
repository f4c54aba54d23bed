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
//!
//! A reward processor does not take n-step returns, whose rewards are folded already
//! ([`n_step`](ingle_core::n_step) says why):
//!
//! ```compile_fail,E0277
//! use burn::tensor::Device;
//! use ingle_core::sac::SacConfig;
//! use ingle_core::{CoreLearner, NStep, NStepTransitions, Nested};
//! use ingle_nested::rnd::RndConfig;
//!
//! let processor = RndConfig::default().init::<NStepTransitions>(3)?;
//! let nest = Nested { processor, direct: NStep { direct: SacConfig::default().init(3, 1)? } };
//! CoreLearner::new(nest, (), 0, &Device::flex())?; // `NStepTransitions` is not a sample whose rewards can be replaced
//! # Ok::<(), ingle_core::Error>(())
//! ```
//!
//! | processor | what it writes | page of the book |
//! |---|---|---|
//! | [`rnd`] | adds a reward for what is new | `docs/rnd.md` |
//! | [`ail`] | the reward of a discriminator that learns from demonstrations | `docs/ail.md` |
//! | [`sqil`] | 1 for demonstrations, which join the batch, and 0 for own rows | `docs/sqil.md` |
//! | [`normalise`] | observations with mean and deviation taken out | `docs/normalise.md` |
//! | [`scale`] | rewards scaled, shifted, clipped, normalised | `docs/scale.md` |
//!
//! [`airl`] needs the density of the core below, and is a core over a core (`docs/airl.md`). Your own:
//! `docs/own-processor.md`.

#![forbid(unsafe_code)]

pub mod ail;
pub mod airl;
mod moments;
pub mod normalise;
mod observations;
pub mod rnd;
pub mod scale;
pub mod sqil;
pub mod standardise;

pub use ingle_core::ImitationSample;
pub use moments::RunningMoments;
