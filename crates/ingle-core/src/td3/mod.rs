//! Twin delayed deep deterministic policy gradient (Fujimoto et al. 2018, arXiv:1802.09477), and TD3+BC (Fujimoto & Gu
//! 2021, arXiv:2106.06860).
//!
//! The files are those of [`crate::sac`]: `loss.rs`, `step.rs`, `policy.rs`, `config.rs`, `state.rs`.

mod config;
mod loss;
mod policy;
mod state;
mod step;

pub use config::Td3Config;
pub use state::Td3State;
pub use step::{Td3, Td3Noise};
