//! Where the command line's samples come from: a replay of either kind, and demonstrations where a layer needs them.

use ingle::burn::tensor::Device;
use ingle::replay::{Insert, PrioritisedReplay, ReplayConfig, Rows, UniformReplay};
use ingle::state::Visitor;
use ingle::{Checkpoint, Feedback, Result, Sampler, Transitions};

use crate::config::{ReplayKind, ReplaySettings};
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

/// Demonstrations of any kind.
pub(crate) trait Demonstrations: Sampler<Sample = Transitions> + Checkpoint + Send {}

impl<T: Sampler<Sample = Transitions> + Checkpoint + Send> Demonstrations for T {}

/// A replay, and demonstrations to go with its rows.
pub(crate) struct Source {
    pub(crate) replay: Replay,
    pub(crate) demonstrations: Option<Box<dyn Demonstrations>>,
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
