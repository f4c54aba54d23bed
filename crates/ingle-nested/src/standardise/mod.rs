//! Standardised observations: the mean and the deviation of a data set taken out, which do not change while learning.

mod config;
mod process;
mod state;

pub use config::StandardiseConfig;
pub use process::Standardise;
pub use state::StandardiseState;
