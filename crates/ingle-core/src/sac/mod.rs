//! Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905).
//!
//! - `loss.rs`: the three losses and their gradients, one line of mathematics each;
//! - `step.rs`: one update, in the paper's order;
//! - `policy.rs`: the squashed Gaussian;
//! - `config.rs`: every hyperparameter with its default and where it comes from;
//! - `state.rs`: everything that changes.

mod config;
pub(crate) mod loss;
mod policy;
mod state;
mod step;

pub use config::{SacConfig, Temperature};
pub use policy::{ActionTape, SquashedGaussian};
pub use state::SacState;
pub use step::{Sac, SacNoise};
