//! Input normalisation: observations with the mean and the deviation of all that were seen taken out.

mod config;
mod process;

pub use config::NormaliseConfig;
pub use process::Normalise;
