//! Where the command line's samples come from: a replay of either kind, and demonstrations where a layer needs them.

use ingle::burn::tensor::Device;
use ingle::envs::VectorEnvironment;
use ingle::random::derive_seed;
use ingle::replay::demonstrations::{DemonstrationConfig, Demonstrations, Spaces};
use ingle::replay::{Insert, PrioritisedReplay, ReplayConfig, Rows, UniformReplay};
use ingle::state::Visitor;
use ingle::{Checkpoint, Feedback, Result, Sampler, Transitions};

use crate::config::{ReplayKind, ReplaySettings, RunConfig};
use crate::error::CliError;
use crate::learner::Stack;
use crate::stack::Sample;

/// A replay of the configured kind.
pub(crate) enum Replay {
    Uniform(UniformReplay),
    Prioritised(PrioritisedReplay),
}

impl Replay {
    pub(crate) fn new(
        settings: &ReplaySettings,
        shape: &ReplayConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        Ok(match settings.kind {
            ReplayKind::Uniform => Self::Uniform(UniformReplay::new(shape, seed, device)?),
            ReplayKind::Prioritised => {
                Self::Prioritised(PrioritisedReplay::new(shape, settings.priorities, seed, device)?)
            }
        })
    }
}

impl Sampler for Replay {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        match self {
            Self::Uniform(replay) => replay.sample(),
            Self::Prioritised(replay) => replay.sample(),
        }
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        match self {
            Self::Uniform(replay) => replay.feedback(feedback),
            Self::Prioritised(replay) => replay.feedback(feedback),
        }
    }
}

impl Insert for Replay {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        match self {
            Self::Uniform(replay) => replay.insert(member, rows),
            Self::Prioritised(replay) => replay.insert(member, rows),
        }
    }
}

impl Checkpoint for Replay {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        match self {
            Self::Uniform(replay) => replay.checkpoint(visitor),
            Self::Prioritised(replay) => replay.checkpoint(visitor),
        }
    }
}

/// A sampler of demonstrations.
pub(crate) trait Expert: Sampler<Sample = Transitions> + Checkpoint + Send {}

impl<T: Sampler<Sample = Transitions> + Checkpoint + Send> Expert for T {}

/// Reads the demonstrations of a configuration; none if no layer of its learner learns from them.
///
/// # Errors
/// If there are none but a layer needs some, or the file is not of this environment.
pub(crate) fn demonstrations(
    config: &RunConfig,
    environment: &dyn VectorEnvironment,
) -> Result<Option<Demonstrations>, CliError> {
    let stack = Stack::parse(&config.learner)?;
    let Some(imitator) = stack.imitator() else { return Ok(None) };
    let Some(path) = &config.demonstrations.path else {
        return Err(CliError::Config(vec![format!(
            "demonstrations.path: '{imitator}' learns from demonstrations: --set demonstrations.path=FILE"
        )]));
    };
    let action = environment.action_space();
    let spaces = Spaces {
        observation: environment.observation_space().len(),
        action_low: action.low(),
        action_high: action.high(),
    };
    if path.extension() != Some("npz".as_ref()) {
        return Ok(Some(Demonstrations::read(path, spaces)?));
    }
    let terminal = config.demonstrations.terminal.ok_or_else(|| {
        CliError::Config(vec![
            "demonstrations.terminal: say what an .npz file's terminal flags mean: terminated, truncated or \
             { time_limit = STEPS }"
                .into(),
        ])
    })?;
    Ok(Some(Demonstrations::read_imitation(path, spaces, terminal)?))
}

/// A replay, and demonstrations to go with its rows.
pub(crate) struct Source {
    pub(crate) replay: Replay,
    pub(crate) demonstrations: Option<Box<dyn Expert>>,
}

impl Source {
    /// The source of a run. What is drawn of the demonstrations does not move what is drawn of the replay.
    pub(crate) fn new(
        config: &RunConfig,
        shape: &ReplayConfig,
        demonstrations: Option<&Demonstrations>,
        device: &Device,
    ) -> Result<Self> {
        let sampler = DemonstrationConfig {
            batch: shape.batch,
            population: shape.population,
            gamma: config.train.gamma,
            use_rewards: false,
        };
        let seed = derive_seed(config.seed, "demonstrations");
        let demonstrations = demonstrations
            .map(|demonstrations| sampler.init(demonstrations, seed, device))
            .transpose()?
            .map(|sampler| Box::new(sampler) as Box<dyn Expert>);
        Ok(Self { replay: Replay::new(&config.replay, shape, config.seed, device)?, demonstrations })
    }
}

impl Checkpoint for Source {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("replay", |visitor| self.replay.checkpoint(visitor));
        if let Some(demonstrations) = &mut self.demonstrations {
            visitor.scope("demonstrations", |visitor| demonstrations.checkpoint(visitor));
        }
    }
}

impl Sampler for Source {
    type Sample = Sample;

    fn sample(&mut self) -> Result<Sample> {
        let demonstrations = self.demonstrations.as_mut().map(|sampler| sampler.sample()).transpose()?;
        Ok(Sample { transitions: self.replay.sample()?, demonstrations })
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.replay.feedback(feedback)
    }
}

impl Insert for Source {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.replay.insert(member, rows)
    }
}
