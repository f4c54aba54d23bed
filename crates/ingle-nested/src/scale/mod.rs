//! Rewards scaled, shifted and clipped.

mod config;
mod process;
mod state;

pub use config::ScaleConfig;
pub use process::Scale;
pub use state::ScaleState;
