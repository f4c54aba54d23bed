//! The seams: a learning rule as a stateless core that is given its sample, and learners that own a sampler.

use burn::tensor::{Device, Tensor};

use crate::phase::Phase;
use crate::processor::SampleProcessor;
use crate::random::Seeds;
use crate::sample::SameSample;
use crate::state::{Checkpoint, State, Visitor};
use crate::{Error, Feedback, Result, StepOutput, Transitions};

/// A learning rule: configuration only. Everything that changes is in its `State`.
///
/// Implement this for a new algorithm: [`crate::sac`] is the model to follow. Whoever holds a core and a state can
/// step it on any sample, from a replay, a file or a hand-written batch.
///
/// Laws, which `ingle-testing` checks: equal states and samples give equal states (bit for bit on a CPU); a failed
/// step leaves the state as it was; member p of a population equals the same learner trained alone.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a learning rule",
    note = "a configuration becomes one by its `init`, with the sizes of observation and action: `SacConfig::default().init(3, 1)?`",
    note = "a learner whose state lives elsewhere implements `Learner` and is nested by `NestedLearner`"
)]
pub trait LearnerCore {
    /// Everything that changes: parameters, moments, random streams, counters.
    type State: State;
    /// What one update learns from.
    type Sample;

    /// Makes the state before the first update. Equal seeds give equal states.
    ///
    /// # Errors
    /// If the state cannot be made on that device.
    fn init(&self, seed: u64, device: &Device) -> Result<Self::State>;

    /// One update from a given sample.
    ///
    /// # Errors
    /// If the sample does not fit; `state` is then as it was.
    fn step(&self, state: &mut Self::State, sample: Self::Sample) -> Result<StepOutput>;

    /// As many updates as there are samples, one after the other: what as many calls of [`Self::step`] do, bit for bit, and
    /// each one's output. The default makes those calls; override it where several updates cost less together.
    ///
    /// # Errors
    /// If a sample does not fit. The updates before it have then been made, and no other: their number is not told.
    fn step_many(&self, state: &mut Self::State, samples: Vec<Self::Sample>) -> Result<Vec<StepOutput>> {
        samples.into_iter().map(|sample| self.step(state, sample)).collect()
    }

    /// What the host decides in the next update, by the state's counters: whether the actor's turn has come, whether the
    /// targets follow. Two updates with the same decisions are the same program on the device, which
    /// [`GraphLearner`](crate::GraphLearner) may capture once and replay. A rule without such decisions has an empty
    /// list; the default, none, says that nobody has thought about it, and is never captured.
    fn decisions(&self, state: &Self::State) -> Option<Vec<bool>> {
        let _ = state;
        None
    }
}

/// A core whose noise can be handed in, for exact tests and for whoever keeps the noise elsewhere.
pub trait ExplicitNoise: LearnerCore {
    /// All the noise of one update.
    type Noise;

    /// One update with given noise; the state's random streams do not move.
    ///
    /// # Errors
    /// If sample or noise do not fit; `state` is then as it was.
    fn step_with_noise(
        &self,
        state: &mut Self::State,
        sample: Self::Sample,
        noise: Self::Noise,
    ) -> Result<StepOutput>;
}

/// How an agent chooses its actions.
#[derive(Debug, Clone)]
pub enum Acting {
    /// The deterministic policy, for evaluation.
    Deterministic,
    /// The exploring policy, with standard normal noise `[P, B, A]` given by the caller.
    Exploring(Tensor<3>),
}

/// A core that has a policy to act with. Wrappers forward it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no policy to act with",
    note = "a driver needs a learner whose core implements `Act`: a direct-RL core such as `Sac`, or a nest over one"
)]
pub trait Act: LearnerCore {
    /// Number of elements of an observation.
    fn observation_size(&self) -> usize;
    /// Number of elements of an action.
    fn action_size(&self) -> usize;
    /// Number of learners that are trained side by side, P.
    fn population(&self) -> usize;
    /// Actions in the canonical range `[-1, 1]`, `[P, B, A]`, for observations `[P, B, O]`.
    ///
    /// # Errors
    /// If the observation or the noise has another shape.
    fn act(&self, state: &Self::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>>;
}

/// A core whose policy has a density: the log-probability of a given action. Wrappers forward it.
#[diagnostic::on_unimplemented(
    message = "the policy of `{Self}` has no log-probability",
    label = "a core that gives log π(a|s) is needed here",
    note = "`Sac` has one, and so has a nest over it; a deterministic policy such as `Td3`'s has none: imitate with `Ail` there"
)]
pub trait LogProbability: Act {
    /// `log π(a|s)`, `[P, B]`, of actions `[P, B, A]` in the canonical range at observations `[P, B, O]`; a leading axis
    /// of size 1 broadcasts over the population.
    ///
    /// # Errors
    /// If observation or action have another shape.
    fn log_probability(
        &self,
        state: &Self::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>>;
}

/// Checks what a core is to act on: every core's first line in [`Act::act`].
///
/// # Errors
/// [`Error::Shape`] if the observation or the noise has another shape.
pub fn check_acting(core: &impl Act, observation: &Tensor<3>, acting: &Acting) -> Result<()> {
    check_acting_on([core.population(), core.observation_size(), core.action_size()], observation, acting)
}

/// As [`check_acting`], for a policy of these sizes `[P, O, A]`.
///
/// # Errors
/// [`Error::Shape`] if the observation or the noise has another shape.
pub fn check_acting_on(sizes: [usize; 3], observation: &Tensor<3>, acting: &Acting) -> Result<()> {
    let [population, observation_size, action_size] = sizes;
    let [members, batch, size] = observation.dims();
    if size != observation_size || (members != population && members != 1) {
        return Err(Error::Shape {
            field: "observation",
            expected: format!("[{population} or 1, B, {observation_size}]"),
            actual: vec![members, batch, size],
        });
    }
    let shape = [population, batch, action_size];
    match acting {
        Acting::Exploring(noise) if noise.dims() != shape => Err(Error::Shape {
            field: "noise",
            expected: format!("{shape:?}"),
            actual: noise.dims().to_vec(),
        }),
        _ => Ok(()),
    }
}

/// A source of samples that belongs to a learner.
#[diagnostic::on_unimplemented(
    message = "`{Self}` hands out no samples",
    note = "a replay does; your own source implements `Sampler`"
)]
pub trait Sampler {
    /// What it hands out.
    type Sample;

    /// Draws the next sample.
    ///
    /// # Errors
    /// If there is not enough data, or the source failed.
    fn sample(&mut self) -> Result<Self::Sample>;

    /// Draws up to `count` ≥ 1 samples at once, at least one: those that as many calls of [`Self::sample`] would draw if
    /// feedback came after each. The default draws one, which is right for every sampler; override it where the next
    /// sample does not depend on the feedback, and several cost less together.
    ///
    /// # Errors
    /// As [`Self::sample`].
    fn sample_many(&mut self, count: usize) -> Result<Vec<Self::Sample>> {
        let _ = count;
        Ok(vec![self.sample()?])
    }

    /// Takes the errors of a sample's rows, in the order in which the samples were drawn. The default drops them, unread.
    ///
    /// # Errors
    /// If reading them from the device fails.
    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        let _ = feedback;
        Ok(())
    }
}

/// No sampler: that of a learner that is only given samples, as inside a [`NestedLearner`].
impl Sampler for () {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        Err(Error::Sample("this learner has no sampler of its own: give it samples with `step_with`".into()))
    }
}

/// Something that can take a step: on its own sampler's sample, or on one that it is given.
///
/// [`CoreLearner`] makes any core a learner. A learner whose state cannot be pulled out (an external library, a remote
/// process) implements this trait itself, and nothing else.
pub trait Learner {
    /// What one update learns from.
    type Sample;

    /// One update on a sample of the learner's own sampler, which also gets the feedback.
    ///
    /// # Errors
    /// If sampling or the update fails.
    fn step(&mut self) -> Result<StepOutput>;

    /// `count` updates on samples of the learner's own sampler: what as many calls of [`Self::step`] do, bit for bit, and
    /// each one's output. The default makes those calls.
    ///
    /// # Errors
    /// As [`Self::step`]; the updates before the one that failed have then been made.
    fn step_many(&mut self, count: usize) -> Result<Vec<StepOutput>> {
        (0..count).map(|_| self.step()).collect()
    }

    /// One update on a given sample. Its feedback is handed back: whoever drew the sample knows its rows.
    ///
    /// # Errors
    /// If the sample does not fit.
    fn step_with(&mut self, sample: Self::Sample) -> Result<StepOutput>;
}

/// A learner that can act: what a driver needs to play episodes, whatever holds the state.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no policy to act with",
    note = "a `CoreLearner` has one if its core implements `Act`; a learner with its state elsewhere implements `Policy` itself"
)]
pub trait Policy {
    /// Number of elements of an observation.
    fn observation_size(&self) -> usize;
    /// Number of elements of an action.
    fn action_size(&self) -> usize;
    /// Number of learners that are trained side by side, P.
    fn population(&self) -> usize;
    /// The device that observations are to be on.
    fn device(&self) -> &Device;
    /// Actions in the canonical range `[-1, 1]`, `[P, B, A]`, for observations `[P, B, O]`.
    ///
    /// # Errors
    /// If the observation or the noise has another shape.
    fn act(&self, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>>;
}

/// Any core as a [`Learner`]: core, state and sampler in one place.
#[derive(Debug, Clone)]
pub struct CoreLearner<C: LearnerCore, S> {
    /// The learning rule.
    pub core: C,
    /// All that changes.
    pub state: C::State,
    /// Where [`Learner::step`] gets its samples.
    pub sampler: S,
    device: Device,
    updates: u64,
}

/// The state of a population whose members have these seeds. Member p of `core.init(s)` is the learner of `s + p`: for a
/// list, the members are taken out of as many such states as it takes.
pub(crate) fn initial<C: LearnerCore>(core: &C, seeds: &Seeds, device: &Device) -> Result<C::State> {
    let seeds = match seeds {
        Seeds::From(seed) => return core.init(*seed, device),
        Seeds::Each(seeds) => seeds,
    };
    let mismatch = || Error::Config(vec![format!("seed: {} values for another population", seeds.len())]);
    let mut members = Vec::with_capacity(seeds.len());
    let mut last: Option<(u64, C::State)> = None;
    for (member, seed) in seeds.iter().enumerate() {
        let first = seed.wrapping_sub(member as u64);
        let state = match last.take() {
            Some((same, state)) if same == first => state,
            _ => core.init(first, device)?,
        };
        if state.member(seeds.len()).is_some() {
            return Err(mismatch());
        }
        members.push(state.member(member).ok_or_else(mismatch)?);
        last = Some((first, state));
    }
    State::stack(&members)
}

impl<C: LearnerCore, S> CoreLearner<C, S> {
    /// Puts a learner together from a core, a fresh state and a sampler. Of a population, `seed` is that of member 0, and
    /// member p has `seed + p`, or it is a list: see [`Seeds`].
    ///
    /// # Errors
    /// If the state cannot be made.
    pub fn new(core: C, sampler: S, seed: impl Into<Seeds>, device: &Device) -> Result<Self> {
        let state = initial(&core, &seed.into(), device)?;
        Ok(Self { core, state, sampler, device: device.clone().without_autodiff(), updates: 0 })
    }

    /// How many updates this learner has made.
    pub fn updates(&self) -> u64 {
        self.updates
    }
}

impl<C, S> Learner for CoreLearner<C, S>
where
    C: LearnerCore<Sample: SameSample<S::Sample>>,
    S: Sampler,
{
    type Sample = C::Sample;

    fn step(&mut self) -> Result<StepOutput> {
        let sample = draw(&mut self.sampler)?;
        let mut output = self.step_with(sample)?;
        hand_back(&mut self.sampler, &mut output)?;
        Ok(output)
    }

    /// The updates share what the sampler can draw at once: one upload, or one gathering on the device.
    fn step_many(&mut self, count: usize) -> Result<Vec<StepOutput>> {
        let mut outputs = Vec::with_capacity(count);
        while outputs.len() < count {
            let samples = draw_many(&mut self.sampler, count - outputs.len())?;
            let mut made = self.core.step_many(&mut self.state, samples)?;
            self.updates += made.len() as u64;
            made.iter_mut().try_for_each(|output| hand_back(&mut self.sampler, output))?;
            outputs.append(&mut made);
        }
        Ok(outputs)
    }

    fn step_with(&mut self, sample: C::Sample) -> Result<StepOutput> {
        let output = self.core.step(&mut self.state, sample)?;
        self.updates += 1;
        Ok(output)
    }
}

impl<C: LearnerCore, S: Checkpoint> Checkpoint for CoreLearner<C, S> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("state", |visitor| self.state.visit(visitor));
        visitor.scope("sampler", |visitor| self.sampler.checkpoint(visitor));
        visitor.counter("updates", &mut self.updates);
    }
}

impl<C: Act, S> Policy for CoreLearner<C, S> {
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
        self.core.act(&self.state, observation, acting)
    }
}

/// A processor over a learner whose state lives elsewhere: the escape hatch for external libraries and processes.
///
/// The processors are the same ones that nest over cores; the outer sampler draws, the inner learner only ever sees
/// samples that it is given.
#[derive(Debug, Clone)]
pub struct NestedLearner<P: SampleProcessor, L, S> {
    /// Turns a sample into the inner learner's sample.
    pub processor: P,
    /// The processor's state.
    pub state: P::State,
    /// The learner that learns from what the processor made.
    pub direct: L,
    /// Where [`Learner::step`] gets its samples.
    pub sampler: S,
}

impl<P, L, S> Learner for NestedLearner<P, L, S>
where
    P: SampleProcessor<Sample: SameSample<S::Sample>>,
    L: Learner<Sample: SameSample<P::Processed>>,
    S: Sampler,
{
    type Sample = P::Sample;

    fn step(&mut self) -> Result<StepOutput> {
        let sample = draw(&mut self.sampler)?;
        let mut output = self.step_with(sample)?;
        hand_back(&mut self.sampler, &mut output)?;
        Ok(output)
    }

    fn step_with(&mut self, sample: P::Sample) -> Result<StepOutput> {
        // The processor works on a copy, so that a failure of either part leaves the nest's own state as it was.
        let mut state = self.state.clone();
        let (processed, metrics) = self.processor.process(&mut state, sample)?;
        let mut output = self.direct.step_with(L::Sample::same(processed))?;
        self.state = state;
        output.metrics.extend(metrics);
        Ok(output)
    }
}

impl<P: SampleProcessor, L: Checkpoint, S: Checkpoint> Checkpoint for NestedLearner<P, L, S> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("state", |visitor| self.state.visit(visitor));
        visitor.scope("direct", |visitor| self.direct.checkpoint(visitor));
        visitor.scope("sampler", |visitor| self.sampler.checkpoint(visitor));
    }
}

impl<P: SampleProcessor, L: Policy, S> Policy for NestedLearner<P, L, S> {
    fn observation_size(&self) -> usize {
        self.direct.observation_size()
    }

    fn action_size(&self) -> usize {
        self.direct.action_size()
    }

    fn population(&self) -> usize {
        self.direct.population()
    }

    fn device(&self) -> &Device {
        self.direct.device()
    }

    fn act(&self, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.direct.act(self.processor.observe(&self.state, observation), acting)
    }
}

/// A sampler's next sample.
pub(crate) fn draw<S: Sampler, T: SameSample<S::Sample>>(sampler: &mut S) -> Result<T> {
    let _phase = Phase::Sampling.enter();
    sampler.sample().map(T::same)
}

/// A sampler's next samples: up to `count`, at least one.
pub(crate) fn draw_many<S: Sampler, T: SameSample<S::Sample>>(
    sampler: &mut S,
    count: usize,
) -> Result<Vec<T>> {
    let _phase = Phase::Sampling.enter();
    let samples = sampler.sample_many(count)?;
    if samples.is_empty() {
        return Err(Error::Sample("the sampler handed out nothing".into()));
    }
    Ok(samples.into_iter().map(T::same).collect())
}

/// Gives a sampler the feedback on the sample that it drew.
pub(crate) fn hand_back<S: Sampler>(sampler: &mut S, output: &mut StepOutput) -> Result<()> {
    output.feedback.take().map_or(Ok(()), |feedback| sampler.feedback(feedback))
}
