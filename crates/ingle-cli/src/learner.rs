//! Learners by name.

use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Act, Transitions};

use crate::config::RunConfig;
use crate::error::CliError;

/// The names of the learners, as `train` takes them.
pub(crate) const LEARNERS: &[&str] = &["sac", "td3"];

/// Something to do with a core, whichever it is.
pub(crate) trait Job {
    /// What comes out of it.
    type Output;
    /// Does it.
    fn run<C: Act<Sample = Transitions, State: Send> + Send>(self, core: C)
    -> Result<Self::Output, CliError>;
}

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

/// Does `job` with the core of a configuration, for observations and actions of these sizes.
pub(crate) fn with_core<J: Job>(
    config: &RunConfig,
    observation: usize,
    action: usize,
    job: J,
) -> Result<J::Output, CliError> {
    check(&config.learner)?;
    match config.learner.as_str() {
        "td3" => job.run(config.td3.clone().init(observation, action)?),
        _ => job.run(config.sac.clone().init(observation, action)?),
    }
}

/// The number of learners that a configuration trains side by side.
pub(crate) fn population(config: &RunConfig) -> usize {
    match config.learner.as_str() {
        "td3" => config.td3.population,
        _ => config.sac.population,
    }
}

/// A configuration whose learner has two hidden layers of one width.
pub(crate) fn bench_config(learner: &str, width: usize, population: usize) -> RunConfig {
    let hidden = vec![width; 2];
    RunConfig {
        learner: learner.to_owned(),
        sac: SacConfig { population, hidden: hidden.clone(), ..SacConfig::default() },
        td3: Td3Config { population, hidden, ..Td3Config::default() },
        ..RunConfig::default()
    }
}
