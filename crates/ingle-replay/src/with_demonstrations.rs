//! A learner's own sample with demonstrations beside it.

use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Feedback, ImitationSample, Result, Sampler, Transitions};

use crate::{Insert, Rows, draw};

/// Draws one sample from the learner's own sampler and one of demonstrations: what imitation is given.
///
/// Whatever is inserted goes to the learner's own, and so does the feedback.
#[derive(Debug, Clone)]
pub struct WithDemonstrations<S, D> {
    /// The learner's own transitions.
    pub rl: S,
    /// The demonstrations.
    pub demonstrations: D,
}

impl<S: Sampler, D: Sampler<Sample = Transitions>> Sampler for WithDemonstrations<S, D> {
    type Sample = ImitationSample<S::Sample>;

    fn sample(&mut self) -> Result<Self::Sample> {
        Ok(ImitationSample { rl: self.rl.sample()?, demonstrations: self.demonstrations.sample()? })
    }

    /// As many as the learner's own sampler draws at once: nothing is fed back to the demonstrations.
    fn sample_many(&mut self, count: usize) -> Result<Vec<Self::Sample>> {
        let own = self.rl.sample_many(count)?;
        let demonstrations = draw(&mut self.demonstrations, own.len())?;
        let pairs = own.into_iter().zip(demonstrations);
        Ok(pairs.map(|(rl, demonstrations)| ImitationSample { rl, demonstrations }).collect())
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        self.rl.feedback(feedback)
    }
}

impl<S: Insert, D> Insert for WithDemonstrations<S, D> {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.rl.insert(member, rows)
    }

    fn begin(&mut self) {
        self.rl.begin();
    }

    fn lag(&self) -> usize {
        self.rl.lag()
    }
}

impl<S: Checkpoint, D: Checkpoint> Checkpoint for WithDemonstrations<S, D> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("rl", |visitor| self.rl.checkpoint(visitor));
        visitor.scope("demonstrations", |visitor| self.demonstrations.checkpoint(visitor));
    }
}
