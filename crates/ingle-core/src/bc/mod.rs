//! Behaviour cloning (Pomerleau 1988): a policy fitted to demonstrated actions by supervised learning.
//!
//! The files are those of [`crate::sac`]: `loss.rs`, `step.rs`, `policy.rs`, `config.rs`, `state.rs`. The policy can be
//! trained further by another core: see [`crate::pretraining`].

mod config;
mod loss;
mod policy;
mod state;
mod step;

pub use config::{BcConfig, BcLoss};
pub use state::BcState;
pub use step::Bc;
