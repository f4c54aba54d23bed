//! The seams of [ingle](https://docs.rs/ingle), networks with a population axis, Adam, SAC, TD3 and behaviour cloning.
//!
//! A learning rule is a stateless core that is given its sample: [`LearnerCore::step`] takes the state and the sample
//! and touches nothing else. [`CoreLearner`] puts core, state and sampler together; [`Nested`] puts a
//! [`SampleProcessor`] (another reward, normalisation) over any core and is a core again.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use ingle_core::{LearnerCore, Transitions, sac::SacConfig};
//!
//! let device = Device::flex();
//! let sac = SacConfig { hidden: vec![32, 32], ..SacConfig::default() }.init(3, 1)?;
//! let mut state = sac.init(0, &device)?;
//! // Any batch will do: two transitions for one learner, shapes [P, B, ...].
//! let sample = Transitions {
//!     observation: Tensor::zeros([1, 2, 3], &device),
//!     action: Tensor::from_floats([[[0.5], [-0.5]]], &device),
//!     reward: Tensor::from_floats([[1.0, 0.0]], &device),
//!     discount: Tensor::from_floats([[0.99, 0.0]], &device),
//!     next_observation: Tensor::ones([1, 2, 3], &device),
//!     importance_weight: None,
//!     keys: None,
//! };
//! let output = sac.step(&mut state, sample)?;
//! for (name, value) in output.metrics.read()? {
//!     println!("{name}: {}", value[0]);
//! }
//! # Ok::<(), ingle_core::Error>(())
//! ```
//!
//! Formulas, defaults and their sources are in the book, a page for each algorithm (`docs/sac.md` and others in the
//! repository); `docs/own-network.md` shows networks of your own.

pub mod bc;
mod error;
pub mod gradient;
pub mod graph;
pub mod guard;
#[cfg(feature = "flex")]
mod host;
pub mod learner;
mod loss;
mod metrics;
pub mod n_step;
pub mod network;
pub mod optimiser;
pub mod phase;
pub mod pretraining;
pub mod processor;
pub mod random;
pub mod sac;
pub mod sample;
#[cfg(feature = "flex")]
mod side_by_side;
pub mod state;
pub mod td3;

pub use error::{Error, Result, Violations};
pub use graph::{Eager, GraphLearner, GraphMode};
pub use learner::{
    Act, Acting, CoreLearner, ExplicitNoise, Learner, LearnerCore, LogProbability, NestedLearner, Policy,
    Sampler,
};
pub use metrics::{Feedback, Keys, Metrics, StepOutput};
pub use n_step::{DirectCore, NStep, NStepTransitions};
pub use optimiser::PerMember;
pub use processor::{Nested, NestedState, SampleProcessor};
pub use random::Seeds;
pub use sample::{ImitationSample, Inputs, Rewarded, Transitions};
#[cfg(feature = "flex")]
pub use side_by_side::{Members, SideBySide};
pub use state::{Checkpoint, Record, RecordItem, State};
