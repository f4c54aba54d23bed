//! Nesting: a processor learns on a sample and turns it into the sample that an inner core learns from.

use std::marker::PhantomData;

use burn::tensor::{Device, Tensor};

use crate::learner::{Act, Acting, ExplicitNoise, LearnerCore, LogProbability};
use crate::phase::Phase;
use crate::random::derive_seed;
use crate::sample::SameSample;
use crate::state::{State, Visitor};
use crate::{Metrics, Result, StepOutput};

/// Learns on a sample and turns it into the sample an inner core learns from (imitation, curiosity, normalisation).
///
/// A processor is a stateless rule too: configuration in `self`, everything that changes in `State`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a processor of samples",
    note = "a configuration becomes one by its `init`: `RndConfig::default().init(3)?`; a function becomes one by `FromFn::new`"
)]
pub trait SampleProcessor {
    /// Everything that changes.
    type State: State;
    /// The outer sample.
    type Sample;
    /// The inner sample.
    type Processed;

    /// A short name: its metrics' and its random stream's.
    fn name(&self) -> &'static str;

    /// Makes the state before the first step.
    ///
    /// # Errors
    /// If the state cannot be made on that device.
    fn init(&self, seed: u64, device: &Device) -> Result<Self::State>;

    /// Learns on the sample, then turns it into the inner sample with what it just learned.
    ///
    /// # Errors
    /// If the sample does not fit; `state` is then as it was.
    fn process(&self, state: &mut Self::State, sample: Self::Sample) -> Result<(Self::Processed, Metrics)>;

    /// As [`LearnerCore::decisions`].
    fn decisions(&self, state: &Self::State) -> Option<Vec<bool>> {
        let _ = state;
        None
    }

    /// What the policy below is to see of an observation `[P, B, O]` when it acts. The default changes nothing; a
    /// processor that changes observations changes them here alike.
    fn observe(&self, state: &Self::State, observation: Tensor<3>) -> Tensor<3> {
        let _ = state;
        observation
    }
}

/// A processor without a state, made of a function on samples.
///
/// ```
/// use ingle_core::processor::FromFn;
/// use ingle_core::{Nested, Rewarded, Transitions, sac::SacConfig};
///
/// // Rewards between −1 and 1.
/// let clip = FromFn::new("clip", |sample: Transitions| {
///     let reward = sample.reward.clone().clamp(-1.0, 1.0);
///     Ok(sample.with_reward(reward))
/// });
/// let nest = Nested { processor: clip, direct: SacConfig::default().init(3, 1)? };
/// # let _ = nest;
/// # Ok::<(), ingle_core::Error>(())
/// ```
pub struct FromFn<F, S> {
    name: &'static str,
    function: F,
    sample: PhantomData<fn(S)>,
}

impl<F, S> std::fmt::Debug for FromFn<F, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromFn").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F, S, T> FromFn<F, S>
where
    F: Fn(S) -> Result<T>,
{
    /// A processor of that name that does what `function` does.
    pub fn new(name: &'static str, function: F) -> Self {
        Self { name, function, sample: PhantomData }
    }
}

impl<F, S, T> SampleProcessor for FromFn<F, S>
where
    F: Fn(S) -> Result<T>,
{
    type State = ();
    type Sample = S;
    type Processed = T;

    fn name(&self) -> &'static str {
        self.name
    }

    fn init(&self, _: u64, _: &Device) -> Result<()> {
        Ok(())
    }

    fn process(&self, (): &mut (), sample: S) -> Result<(T, Metrics)> {
        Ok(((self.function)(sample)?, Metrics::default()))
    }

    fn decisions(&self, (): &()) -> Option<Vec<bool>> {
        Some(Vec::new())
    }
}

impl<F, S, T> ExplicitProcessNoise for FromFn<F, S>
where
    F: Fn(S) -> Result<T>,
{
    type Noise = ();

    fn process_with_noise(&self, state: &mut (), sample: S, (): ()) -> Result<(T, Metrics)> {
        self.process(state, sample)
    }
}

/// A processor whose noise can be handed in, for exact tests.
pub trait ExplicitProcessNoise: SampleProcessor {
    /// All the noise of one step.
    type Noise;

    /// As [`SampleProcessor::process`], with given noise; the state's random streams do not move.
    ///
    /// # Errors
    /// If sample or noise do not fit; `state` is then as it was.
    fn process_with_noise(
        &self,
        state: &mut Self::State,
        sample: Self::Sample,
        noise: Self::Noise,
    ) -> Result<(Self::Processed, Metrics)>;
}

/// A processor over a core. It is a [`LearnerCore`] itself, so nests stack: `Nested<Rnd, Nested<Ail, Sac>>`.
///
/// The inner core gets the seed unchanged and the processor derives its own, so that adding a layer does not change
/// what the core draws.
#[derive(Debug, Clone)]
pub struct Nested<P, C> {
    /// Turns a sample into the direct core's sample.
    pub processor: P,
    /// The core that learns from it.
    pub direct: C,
}

/// The states of both layers of a [`Nested`].
#[derive(Debug, Clone)]
pub struct NestedState<P, C> {
    /// The processor's state.
    pub processor: P,
    /// The direct core's state.
    pub direct: C,
}

impl<P: State, C: State> State for NestedState<P, C> {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("processor", |visitor| self.processor.visit(visitor));
        visitor.scope("direct", |visitor| self.direct.visit(visitor));
    }
}

impl<P, C> LearnerCore for Nested<P, C>
where
    P: SampleProcessor,
    C: LearnerCore<Sample: SameSample<P::Processed>>,
{
    type State = NestedState<P::State, C::State>;
    type Sample = P::Sample;

    fn init(&self, seed: u64, device: &Device) -> Result<Self::State> {
        Ok(NestedState {
            processor: self.processor.init(derive_seed(seed, self.processor.name()), device)?,
            direct: self.direct.init(seed, device)?,
        })
    }

    fn step(&self, state: &mut Self::State, sample: P::Sample) -> Result<StepOutput> {
        both(
            state,
            |processor| self.processor.process(processor, sample),
            |direct, processed| self.direct.step(direct, C::Sample::same(processed)),
        )
    }

    fn decisions(&self, state: &Self::State) -> Option<Vec<bool>> {
        let mut decisions = self.processor.decisions(&state.processor)?;
        decisions.extend(self.direct.decisions(&state.direct)?);
        Some(decisions)
    }
}

impl<P, C> ExplicitNoise for Nested<P, C>
where
    P: ExplicitProcessNoise,
    C: ExplicitNoise<Sample: SameSample<P::Processed>>,
{
    /// The processor's noise, then the direct core's.
    type Noise = (P::Noise, C::Noise);

    fn step_with_noise(
        &self,
        state: &mut Self::State,
        sample: P::Sample,
        (own, inner): Self::Noise,
    ) -> Result<StepOutput> {
        both(
            state,
            |processor| self.processor.process_with_noise(processor, sample, own),
            |direct, processed| self.direct.step_with_noise(direct, C::Sample::same(processed), inner),
        )
    }
}

/// The processor, then the direct core on what it made.
///
/// The processor works on a copy (a handful of reference counts): if the direct core refuses what it made, the whole
/// nest is as it was.
fn both<P: Clone, C, T>(
    state: &mut NestedState<P, C>,
    process: impl FnOnce(&mut P) -> Result<(T, Metrics)>,
    step: impl FnOnce(&mut C, T) -> Result<StepOutput>,
) -> Result<StepOutput> {
    let mut processor = state.processor.clone();
    let phase = Phase::Processor.enter();
    let (processed, metrics) = process(&mut processor)?;
    drop(phase);
    let mut output = step(&mut state.direct, processed)?;
    state.processor = processor;
    output.metrics.extend(metrics);
    Ok(output)
}

impl<P, C> Act for Nested<P, C>
where
    P: SampleProcessor,
    C: Act<Sample: SameSample<P::Processed>>,
{
    fn observation_size(&self) -> usize {
        self.direct.observation_size()
    }

    fn action_size(&self) -> usize {
        self.direct.action_size()
    }

    fn population(&self) -> usize {
        self.direct.population()
    }

    fn act(&self, state: &Self::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.direct.act(&state.direct, self.processor.observe(&state.processor, observation), acting)
    }
}

impl<P, C> LogProbability for Nested<P, C>
where
    P: SampleProcessor,
    C: LogProbability<Sample: SameSample<P::Processed>>,
{
    fn log_probability(
        &self,
        state: &Self::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        let observation = self.processor.observe(&state.processor, observation);
        self.direct.log_probability(&state.direct, observation, action)
    }
}
