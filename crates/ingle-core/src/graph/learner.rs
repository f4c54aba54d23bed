//! A learner that replays its updates.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::program::{Kind, Program, Resident, copied};
use super::{Eager, GraphMode};
use crate::learner::{
    Act, Acting, Learner, LearnerCore, Policy, Sampler, draw, draw_many, hand_back, initial,
};
use crate::random::Seeds;
use crate::sample::{Inputs, SameSample};
use crate::state::{Checkpoint, State, Visitor};
use crate::{Error, Result, StepOutput};

/// Programs that a learner captures before it gives up.
const LIMIT: usize = 16;

/// A [`CoreLearner`](crate::CoreLearner) whose updates are captured and replayed where that is possible; see the
/// [module](super). It gives the same states, and hands out copies of its state, which stays where it is.
pub struct GraphLearner<C: LearnerCore, S> {
    core: Arc<C>,
    state: Resident<C::State>,
    /// Where [`Learner::step`] gets its samples.
    pub sampler: S,
    device: Device,
    updates: u64,
    mode: GraphMode,
    programs: Vec<Program<C>>,
    /// Kinds of updates that came up once.
    seen: Vec<Kind>,
    /// Programs captured, those that are gone included.
    captured: usize,
    /// Why the last update was eager; none if it was a replay.
    eager: Option<Eager>,
    /// Whether it will stay so.
    given_up: bool,
}

impl<C: LearnerCore + std::fmt::Debug, S: std::fmt::Debug> std::fmt::Debug for GraphLearner<C, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphLearner")
            .field("core", &self.core)
            .field("sampler", &self.sampler)
            .field("mode", &self.mode)
            .field("updates", &self.updates)
            .field("eager", &self.eager)
            .finish_non_exhaustive()
    }
}

impl<C: LearnerCore, S> GraphLearner<C, S> {
    /// Puts a learner together from a core, a fresh state and a sampler; seeds are those of
    /// [`CoreLearner::new`](crate::CoreLearner::new).
    ///
    /// # Errors
    /// If the state cannot be made.
    pub fn new(
        core: C,
        sampler: S,
        seed: impl Into<Seeds>,
        device: &Device,
        mode: GraphMode,
    ) -> Result<Self> {
        let state = initial(&core, &seed.into(), device)?;
        Ok(Self {
            core: Arc::new(core),
            state: Resident::new(state),
            sampler,
            device: device.clone().without_autodiff(),
            updates: 0,
            mode,
            programs: Vec::new(),
            seen: Vec::new(),
            captured: 0,
            eager: Some(if mode == GraphMode::Off { Eager::Off } else { Eager::First }),
            given_up: mode == GraphMode::Off,
        })
    }

    /// The learning rule.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// A copy of the state.
    pub fn state(&self) -> C::State {
        self.state.copy()
    }

    /// Goes on from another state. What was captured is captured again.
    pub fn set_state(&mut self, state: C::State) {
        self.forget();
        self.state = Resident::new(state);
    }

    /// How many updates this learner has made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Why the last update was an eager one; none if it was a replay.
    pub fn eager(&self) -> Option<&Eager> {
        self.eager.as_ref()
    }

    /// Drops what was captured, before the state moves to other memory.
    fn forget(&mut self) {
        self.programs.clear();
        self.seen.clear();
    }

    fn give_up(&mut self, reason: Eager) {
        self.forget();
        self.eager = Some(reason);
        self.given_up = true;
    }
}

impl<C, S> GraphLearner<C, S>
where
    C: LearnerCore<State: Send + 'static, Sample: Inputs + Send + 'static> + Send + Sync + 'static,
{
    fn update(&mut self, mut sample: C::Sample) -> Result<StepOutput> {
        if self.given_up {
            return self.eagerly(sample);
        }
        if self.programs.iter().any(|program| !program.is_here()) {
            self.forget();
        }
        let decisions = self.core.decisions(&self.state.lock());
        let Some(decisions) = decisions else {
            self.give_up(Eager::Undeclared);
            return self.eagerly(sample);
        };
        let kind = Kind::of(decisions, &mut sample);
        if !self.programs.iter().any(|program| program.is(&kind)) {
            if !self.seen.contains(&kind) {
                // The first of its kind; it also shows whether the sample fits. It moves the state to other memory.
                let output = self.core.step(&mut self.state.lock(), sample)?;
                self.programs.clear();
                if self.seen.len() == LIMIT {
                    self.give_up(Eager::TooMany(LIMIT));
                } else {
                    self.seen.push(kind);
                    self.eager = Some(Eager::First);
                }
                return Ok(output);
            }
            if self.captured == LIMIT * LIMIT {
                self.give_up(Eager::TooMany(LIMIT));
                return self.eagerly(sample);
            }
            let is_first = self.programs.is_empty();
            let program = Program::capture(
                &self.core,
                &self.state,
                kind.clone(),
                sample.clone(),
                &self.device,
                is_first,
            )?;
            match program {
                Ok(program) => {
                    // Capturing ran updates in place. What no longer runs on this memory is captured again.
                    let (core, state) = (&self.core, &self.state);
                    self.programs.retain_mut(|other| matches!(other.difference(core, state, 0), Ok(None)));
                    self.captured += 1;
                    self.programs.push(program);
                }
                Err(reason) => {
                    self.give_up(reason);
                    return self.eagerly(sample);
                }
            }
        }
        let program = self.programs.iter_mut().find(|program| program.is(&kind));
        match program.and_then(|program| program.replay(&self.state, sample)) {
            Some(output) => {
                self.eager = None;
                Ok(output)
            }
            None => Err(Error::Execution("a captured update could not be replayed".into())),
        }
    }

    fn eagerly(&mut self, sample: C::Sample) -> Result<StepOutput> {
        if let (GraphMode::On, Some(reason)) = (self.mode, &self.eager) {
            return Err(Error::Graph(reason.clone()));
        }
        self.core.step(&mut self.state.lock(), sample)
    }
}

impl<C, S> Learner for GraphLearner<C, S>
where
    C: LearnerCore<State: Send + 'static, Sample: Inputs + Send + 'static + SameSample<S::Sample>>
        + Send
        + Sync
        + 'static,
    S: Sampler,
{
    type Sample = C::Sample;

    fn step(&mut self) -> Result<StepOutput> {
        let sample = draw(&mut self.sampler)?;
        let mut output = self.step_with(sample)?;
        hand_back(&mut self.sampler, &mut output)?;
        Ok(output)
    }

    /// The updates share what the sampler can draw at once.
    fn step_many(&mut self, count: usize) -> Result<Vec<StepOutput>> {
        let mut outputs = Vec::with_capacity(count);
        while outputs.len() < count {
            let samples: Vec<C::Sample> = draw_many(&mut self.sampler, count - outputs.len())?;
            let mut made = if self.given_up && self.mode != GraphMode::On {
                self.core.step_many(&mut self.state.lock(), samples)?
            } else {
                samples.into_iter().map(|sample| self.update(sample)).collect::<Result<Vec<_>>>()?
            };
            self.updates += made.len() as u64;
            made.iter_mut().try_for_each(|output| hand_back(&mut self.sampler, output))?;
            outputs.append(&mut made);
        }
        Ok(outputs)
    }

    fn step_with(&mut self, sample: C::Sample) -> Result<StepOutput> {
        let output = self.update(sample)?;
        self.updates += 1;
        Ok(output)
    }
}

impl<C: LearnerCore, S: Checkpoint> Checkpoint for GraphLearner<C, S> {
    /// The items of a [`CoreLearner`](crate::CoreLearner), under the same names.
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("state", |visitor| {
            if visitor.is_loading() {
                // Loading puts other tensors into the state.
                self.forget();
                self.state.lock().visit(visitor);
            } else {
                // Tensors are read when somebody looks at what was saved, which may be after the next replay.
                self.state.copy().visit(visitor);
            }
        });
        visitor.scope("sampler", |visitor| self.sampler.checkpoint(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}

impl<C: Act, S> Policy for GraphLearner<C, S> {
    fn observation_size(&self) -> usize {
        self.core.observation_size()
    }

    fn action_size(&self) -> usize {
        self.core.action_size()
    }

    fn population(&self) -> usize {
        self.core.population()
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn act(&self, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        let action = self.core.act(&self.state.lock(), observation, acting)?;
        // Whatever a core hands out: nothing of a state in place leaves the learner.
        Ok(if self.programs.is_empty() { action } else { copied(&action) })
    }
}
