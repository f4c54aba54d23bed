//! Learners by name.

use ingle::sac::{Sac, SacConfig};

use crate::config::RunConfig;
use crate::error::CliError;

/// The names of the learners, as `train` takes them.
pub(crate) const LEARNERS: &[&str] = &["sac"];

/// Checks the name of a learner: processors outermost first, then the direct core, joined by `+`.
///
/// # Errors
/// If there is no such learner; the message lists those that there are.
pub(crate) fn check(name: &str) -> Result<(), CliError> {
    if LEARNERS.contains(&name) {
        return Ok(());
    }
    Err(CliError::Input(format!("'{name}' is not a learner: give one of {}", LEARNERS.join(", "))))
}

/// The core of a configuration, for observations and actions of these sizes.
pub(crate) fn core(config: &RunConfig, observation: usize, action: usize) -> Result<Sac, CliError> {
    check(&config.learner)?;
    Ok(config.sac.clone().init(observation, action)?)
}

/// The core that is measured: two hidden layers of one width.
pub(crate) fn bench_core(
    name: &str,
    observation: usize,
    action: usize,
    width: usize,
    population: usize,
) -> Result<Sac, CliError> {
    check(name)?;
    Ok(SacConfig { population, hidden: vec![width; 2], ..SacConfig::default() }.init(observation, action)?)
}
