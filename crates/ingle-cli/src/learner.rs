//! Learners by name: processors outermost first, then the direct core, joined by `+`.

use ingle::nested::rnd::RndConfig;
use ingle::sac::SacConfig;
use ingle::td3::Td3Config;
use ingle::{Act, Nested, Transitions};

use crate::config::RunConfig;
use crate::error::CliError;

/// The names of the learners, as `train` takes them.
pub(crate) const LEARNERS: &[&str] = &["sac", "td3", "rnd+sac", "rnd+td3"];

/// Something to do with a core, whichever it is.
pub(crate) trait Job {
    /// What comes out of it.
    type Output;
    /// Does it.
    fn run<C: Act<Sample = Transitions, State: Send> + Send>(self, core: C)
    -> Result<Self::Output, CliError>;
}

/// Checks the name of a learner.
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
    let sac = || config.sac.clone().init(observation, action);
    let td3 = || config.td3.clone().init(observation, action);
    let rnd = || config.rnd.clone().init::<Transitions>(observation);
    match config.learner.as_str() {
        "sac" => job.run(sac()?),
        "td3" => job.run(td3()?),
        "rnd+sac" => job.run(Nested { processor: rnd()?, direct: sac()? }),
        _ => job.run(Nested { processor: rnd()?, direct: td3()? }),
    }
}

/// The number of learners that a configuration trains side by side: the direct core's.
pub(crate) fn population(config: &RunConfig) -> usize {
    if config.learner.ends_with("td3") { config.td3.population } else { config.sac.population }
}

/// A configuration whose learner's networks have two hidden layers of one width.
pub(crate) fn bench_config(learner: &str, width: usize, population: usize) -> RunConfig {
    let hidden = vec![width; 2];
    RunConfig {
        learner: learner.to_owned(),
        sac: SacConfig { population, hidden: hidden.clone(), ..SacConfig::default() },
        td3: Td3Config { population, hidden: hidden.clone(), ..Td3Config::default() },
        rnd: RndConfig { population, hidden, ..RndConfig::default() },
        ..RunConfig::default()
    }
}
