//! Adversarial inverse reinforcement learning (Fu et al. 2018, arXiv:1710.11248): a reward with shaping taken out of it,
//! learned by a discriminator that knows the policy's density.
//!
//! Unlike [`crate::ail`], it needs `log π` of the core below, so it is a core over a core and no processor.

mod config;
mod state;
mod step;

pub use config::AirlConfig;
pub use state::AirlState;
pub use step::Airl;
