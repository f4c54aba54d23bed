//! Soft Q imitation learning (Reddy et al. 2019, arXiv:1905.11108): demonstrations have the reward 1, own rows 0.

mod config;
mod process;

pub use config::SqilConfig;
pub use process::Sqil;
