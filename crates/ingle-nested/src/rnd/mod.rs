//! Random network distillation (Burda et al. 2018, arXiv:1810.12894): novelty as the error of predicting a fixed random
//! network.

mod config;
mod process;
mod state;

pub use config::RndConfig;
pub use process::Rnd;
pub use state::RndState;
