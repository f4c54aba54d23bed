//! Adversarial imitation: a discriminator tells demonstrations from the learner's own transitions, and its verdict is the
//! reward.
//!
//! GAIL (Ho & Ermon 2016, arXiv:1606.03476), DAC (Kostrikov et al. 2019, arXiv:1809.02925), FAIRL (Ghasemipour et al.
//! 2020, arXiv:1911.02256), PUGAIL (Xu & Denil 2021, arXiv:1911.00459) are settings of one processor.

mod config;
pub(crate) mod loss;
mod process;
mod spectral;
mod state;

pub use config::{AilConfig, AilLoss, AilReward};
pub use process::{Ail, AilNoise};
pub use state::{AilState, SingularVectors};
