//! Layers without their types: any processors over any direct core are one type, [`Core`].
//!
//! In a program, a nest is a type, and every layer is called without a detour. On the command line a nest is a string:
//! with types alone, each depth would multiply their number. So all layers here learn from one type of [`Sample`], and
//! each nest is boxed before the next layer comes over it: there is one type for each processor and each direct core,
//! whatever the depth.

use std::any::Any;

use ingle::burn::tensor::{Device, Tensor};
use ingle::nested::ImitationSample;
use ingle::sample::Input;
use ingle::state::Visitor;
use ingle::{
    Act, Acting, Error, Inputs, LearnerCore, LogProbability, Metrics, Nested, Result, Rewarded,
    SampleProcessor, State, StepOutput, Transitions,
};

/// What every layer of the command line learns from.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The learner's own transitions.
    pub(crate) transitions: Transitions,
    /// As many rows of demonstrations, in a stack with a layer that learns from them.
    pub(crate) demonstrations: Option<Transitions>,
}

impl Sample {
    /// The sample of a direct core, which has no use for demonstrations.
    #[allow(clippy::unnecessary_wraps)] // one type of function for all layers
    fn without_demonstrations(self) -> Result<Transitions> {
        Ok(self.transitions)
    }

    /// The sample of a layer that learns from demonstrations. What it hands on still has them.
    fn for_imitation(self) -> Result<ImitationSample<Self>> {
        match self.demonstrations.clone() {
            Some(demonstrations) => Ok(ImitationSample { rl: self, demonstrations }),
            None => Err(Error::Sample("a layer needs demonstrations, the sample has none".into())),
        }
    }
}

impl Rewarded for Sample {
    fn transitions(&self) -> &Transitions {
        &self.transitions
    }

    fn with_transitions(self, transitions: Transitions) -> Self {
        Self { transitions, ..self }
    }

    fn map_observations(self, map: impl Fn(Tensor<3>) -> Result<Tensor<3>>) -> Result<Self> {
        let demonstrations =
            self.demonstrations.map(|transitions| transitions.map_observations(&map)).transpose()?;
        Ok(Self { transitions: self.transitions.map_observations(&map)?, demonstrations })
    }
}

impl Inputs for Sample {
    fn inputs(&mut self) -> Vec<Input<'_>> {
        let mut inputs = self.transitions.inputs();
        inputs.extend(self.demonstrations.iter_mut().flat_map(Inputs::inputs));
        inputs
    }
}

/// A processor that learns from demonstrations, over samples that may have some. The layers below see them too.
pub(crate) struct Imitator<P>(pub(crate) P);

impl<P> SampleProcessor for Imitator<P>
where
    P: SampleProcessor<Sample = ImitationSample<Sample>, Processed = Sample>,
{
    type State = P::State;
    type Sample = Sample;
    type Processed = Sample;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn init(&self, seed: u64, device: &Device) -> Result<P::State> {
        self.0.init(seed, device)
    }

    fn process(&self, state: &mut P::State, sample: Sample) -> Result<(Sample, Metrics)> {
        self.0.process(state, sample.for_imitation()?)
    }

    fn decisions(&self, state: &P::State) -> Option<Vec<bool>> {
        self.0.decisions(state)
    }

    fn observe(&self, state: &P::State, observation: Tensor<3>) -> Tensor<3> {
        self.0.observe(state, observation)
    }
}

/// The log-probability of a core's policy, or why it has none.
type Density<C> = fn(&C, &<C as LearnerCore>::State, Tensor<3>, Tensor<3>) -> Result<Tensor<2>>;

/// A core of its own type of sample, made from what every layer here learns from.
struct Adapted<C: LearnerCore> {
    core: C,
    adapt: fn(Sample) -> Result<C::Sample>,
    density: Density<C>,
}

impl<C: LearnerCore> LearnerCore for Adapted<C> {
    type State = C::State;
    type Sample = Sample;

    fn init(&self, seed: u64, device: &Device) -> Result<C::State> {
        self.core.init(seed, device)
    }

    fn step(&self, state: &mut C::State, sample: Sample) -> Result<StepOutput> {
        self.core.step(state, (self.adapt)(sample)?)
    }

    fn step_many(&self, state: &mut C::State, samples: Vec<Sample>) -> Result<Vec<StepOutput>> {
        let samples = samples.into_iter().map(self.adapt).collect::<Result<_>>()?;
        self.core.step_many(state, samples)
    }

    fn decisions(&self, state: &C::State) -> Option<Vec<bool>> {
        self.core.decisions(state)
    }
}

impl<C: Act> Act for Adapted<C> {
    fn observation_size(&self) -> usize {
        self.core.observation_size()
    }

    fn action_size(&self) -> usize {
        self.core.action_size()
    }

    fn population(&self) -> usize {
        self.core.population()
    }

    fn act(&self, state: &C::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.core.act(state, observation, acting)
    }
}

impl<C: Act> LogProbability for Adapted<C> {
    fn log_probability(
        &self,
        state: &C::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        (self.density)(&self.core, state, observation, action)
    }
}

/// Any stack of layers. Its state has the same items, under the same names, as that of the nest with types.
pub(crate) struct Core {
    inner: Box<dyn ErasedCore>,
    /// Whether the policy at the bottom has a log-probability.
    has_density: bool,
}

impl Core {
    /// A direct core by itself, whose policy has a log-probability.
    pub(crate) fn direct<C>(core: C) -> Self
    where
        C: LogProbability<Sample = Transitions, State: Send + 'static> + Send + Sync + 'static,
    {
        let adapt = Sample::without_demonstrations;
        Self { inner: Box::new(Adapted { core, adapt, density: C::log_probability }), has_density: true }
    }

    /// A direct core by itself, whose policy is deterministic.
    pub(crate) fn deterministic<C>(core: C) -> Self
    where
        C: Act<Sample = Transitions, State: Send + 'static> + Send + Sync + 'static,
    {
        let density = |_: &C, _: &C::State, _, _| Err(no_density("this layer"));
        let adapt = Sample::without_demonstrations;
        Self { inner: Box::new(Adapted { core, adapt, density }), has_density: false }
    }

    /// One more layer over this one.
    pub(crate) fn under<P>(self, processor: P) -> Self
    where
        P: SampleProcessor<Sample = Sample, Processed = Sample, State: Send + 'static>
            + Send
            + Sync
            + 'static,
    {
        let has_density = self.has_density;
        Self { inner: Box::new(Nested { processor, direct: self }), has_density }
    }

    /// A layer that is a core over the one [`with_density`](Self::with_density), and learns from demonstrations.
    pub(crate) fn imitator<C>(core: C) -> Self
    where
        C: LogProbability<Sample = ImitationSample<Sample>, State: Send + 'static> + Send + Sync + 'static,
    {
        let adapt = Sample::for_imitation;
        Self { inner: Box::new(Adapted { core, adapt, density: C::log_probability }), has_density: true }
    }

    /// A population's core whose members are stepped one by one, each on a thread, by the core of a single member.
    ///
    /// # Errors
    /// If the other core is not that of a member.
    #[cfg(feature = "flex")]
    pub(crate) fn side_by_side(self, one: Self) -> Result<Self> {
        let has_density = self.has_density;
        Ok(Self { inner: Box::new(ingle::SideBySide::new(self, one)?), has_density })
    }

    /// This core, for a layer that needs the log-probability of its policy.
    ///
    /// # Errors
    /// If it has none.
    pub(crate) fn with_density(self, layer: &str) -> Result<Self> {
        if self.has_density { Ok(self) } else { Err(no_density(layer)) }
    }
}

fn no_density(layer: &str) -> Error {
    let problem =
        format!("{layer} needs the log-probability of the policy below, which is deterministic: use sac");
    Error::Config(vec![problem])
}

impl LearnerCore for Core {
    type State = CoreState;
    type Sample = Sample;

    fn init(&self, seed: u64, device: &Device) -> Result<CoreState> {
        self.inner.erased_init(seed, device)
    }

    fn step(&self, state: &mut CoreState, sample: Sample) -> Result<StepOutput> {
        self.inner.erased_step(state, sample)
    }

    fn step_many(&self, state: &mut CoreState, samples: Vec<Sample>) -> Result<Vec<StepOutput>> {
        self.inner.erased_step_many(state, samples)
    }

    fn decisions(&self, state: &CoreState) -> Option<Vec<bool>> {
        self.inner.erased_decisions(state)
    }
}

impl Act for Core {
    fn observation_size(&self) -> usize {
        self.inner.shape().observation
    }

    fn action_size(&self) -> usize {
        self.inner.shape().action
    }

    fn population(&self) -> usize {
        self.inner.shape().population
    }

    fn act(&self, state: &CoreState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.inner.erased_act(state, observation, acting)
    }
}

impl LogProbability for Core {
    fn log_probability(
        &self,
        state: &CoreState,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        self.inner.erased_log_probability(state, observation, action)
    }
}

/// The state of a [`Core`].
pub(crate) struct CoreState(Box<dyn ErasedState>);

impl Clone for CoreState {
    fn clone(&self) -> Self {
        Self(self.0.duplicate())
    }
}

impl State for CoreState {
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        self.0.show(visitor);
    }
}

/// The numbers that [`Act`] knows.
struct Shape {
    observation: usize,
    action: usize,
    population: usize,
}

/// [`LogProbability`] without its associated types.
trait ErasedCore: Send + Sync {
    fn erased_init(&self, seed: u64, device: &Device) -> Result<CoreState>;
    fn erased_step(&self, state: &mut CoreState, sample: Sample) -> Result<StepOutput>;
    fn erased_step_many(&self, state: &mut CoreState, samples: Vec<Sample>) -> Result<Vec<StepOutput>>;
    fn erased_decisions(&self, state: &CoreState) -> Option<Vec<bool>>;
    fn shape(&self) -> Shape;
    fn erased_act(&self, state: &CoreState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>>;
    fn erased_log_probability(
        &self,
        state: &CoreState,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>>;
}

impl<C> ErasedCore for C
where
    C: LogProbability<Sample = Sample, State: Send + 'static> + Send + Sync,
{
    fn erased_init(&self, seed: u64, device: &Device) -> Result<CoreState> {
        Ok(CoreState(Box::new(self.init(seed, device)?)))
    }

    fn erased_step(&self, state: &mut CoreState, sample: Sample) -> Result<StepOutput> {
        let own = state.0.as_any_mut().downcast_mut().ok_or_else(other_state)?;
        self.step(own, sample)
    }

    fn erased_step_many(&self, state: &mut CoreState, samples: Vec<Sample>) -> Result<Vec<StepOutput>> {
        let own = state.0.as_any_mut().downcast_mut().ok_or_else(other_state)?;
        self.step_many(own, samples)
    }

    fn erased_decisions(&self, state: &CoreState) -> Option<Vec<bool>> {
        self.decisions(state.0.as_any().downcast_ref()?)
    }

    fn shape(&self) -> Shape {
        Shape {
            observation: self.observation_size(),
            action: self.action_size(),
            population: self.population(),
        }
    }

    fn erased_act(&self, state: &CoreState, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        let own = state.0.as_any().downcast_ref().ok_or_else(other_state)?;
        self.act(own, observation, acting)
    }

    fn erased_log_probability(
        &self,
        state: &CoreState,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        let own = state.0.as_any().downcast_ref().ok_or_else(other_state)?;
        self.log_probability(own, observation, action)
    }
}

fn other_state() -> Error {
    Error::Record("it belongs to another stack of layers".into())
}

/// [`State`] without its type.
trait ErasedState: Send {
    fn show(&mut self, visitor: &mut Visitor<'_>);
    fn duplicate(&self) -> Box<dyn ErasedState>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<S: State + Send + 'static> ErasedState for S {
    fn show(&mut self, visitor: &mut Visitor<'_>) {
        self.visit(visitor);
    }

    fn duplicate(&self) -> Box<dyn ErasedState> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use ingle::nested::ail::AilConfig;
    use ingle::nested::airl::AirlConfig;
    use ingle::nested::normalise::NormaliseConfig;
    use ingle::nested::rnd::RndConfig;
    use ingle::random::RandomStream;
    use ingle::sac::SacConfig;
    use ingle::td3::Td3Config;

    use super::*;

    fn transitions(seed: u64, device: &Device) -> Transitions {
        let mut stream = RandomStream::new(seed, 0);
        let mut normal = |shape: [usize; 3]| {
            let mut values = vec![0.0; shape.iter().product()];
            stream.fill_normal(&mut values);
            Tensor::<1>::from_floats(values.as_slice(), device).reshape(shape)
        };
        Transitions {
            observation: normal([1, 8, 3]),
            action: normal([1, 8, 2]).tanh(),
            reward: normal([1, 8, 1]).squeeze_dim(2),
            discount: Tensor::full([1, 8], 0.9, device),
            next_observation: normal([1, 8, 3]),
            importance_weight: None,
            keys: Some((0..8).map(Some).collect()),
        }
    }

    fn sample(seed: u64, device: &Device) -> Sample {
        let demonstrations = Some(transitions(100 + seed, device));
        Sample { transitions: transitions(seed, device), demonstrations }
    }

    /// The same layers as types and boxed: the same states under the same names, bit for bit, and the same actions.
    #[test]
    fn a_stack_is_the_nest_with_types() {
        let device = ingle::device::open("flex").unwrap();
        let normalise = NormaliseConfig::default();
        let rnd = RndConfig { hidden: vec![8], features: 4, ..RndConfig::default() };
        let ail = AilConfig { hidden: vec![8], gradient_penalty: 10.0, ..AilConfig::default() };
        let td3 = Td3Config { hidden: vec![8], ..Td3Config::default() }.init(3, 2).unwrap();
        let typed = Nested {
            processor: normalise.clone().init::<ImitationSample<Transitions>>(3).unwrap(),
            direct: Nested {
                processor: rnd.clone().init::<ImitationSample<Transitions>>(3).unwrap(),
                direct: Nested {
                    processor: ail.clone().init::<Transitions>(3, 2).unwrap(),
                    direct: td3.clone(),
                },
            },
        };
        let stack = Core::deterministic(td3)
            .under(Imitator(ail.init(3, 2).unwrap()))
            .under(rnd.init(3).unwrap())
            .under(normalise.init(3).unwrap());

        let mut expected = typed.init(7, &device).unwrap();
        let mut actual = stack.init(7, &device).unwrap();
        assert_eq!(actual.save().unwrap(), expected.save().unwrap());
        for seed in 0..3 {
            let Sample { transitions: rl, demonstrations } = sample(seed, &device);
            let demonstrations = demonstrations.unwrap();
            typed.step(&mut expected, ImitationSample { rl, demonstrations }).unwrap();
            let output = stack.step(&mut actual, sample(seed, &device)).unwrap();
            let names: Vec<_> = output.metrics.names().collect();
            assert!(
                ["rnd_loss", "discriminator_loss", "critic_loss"].iter().all(|name| names.contains(name))
            );
            assert_eq!(output.feedback.unwrap().keys.unwrap().len(), 8);
        }
        let record = expected.save().unwrap();
        assert_eq!(actual.save().unwrap(), record);
        let observation = transitions(9, &device).observation;
        let act = typed.act(&expected, observation.clone(), Acting::Deterministic).unwrap();
        let same = stack.act(&actual, observation, Acting::Deterministic).unwrap();
        assert_eq!(same.to_data(), act.to_data());

        // A copy shares nothing that changes, and a state goes out and in again.
        let copy = actual.clone();
        stack.step(&mut actual, sample(4, &device)).unwrap();
        assert_eq!(copy.save().unwrap(), record);
        actual.load(&record).unwrap();
        assert_eq!(actual.save().unwrap(), record);
    }

    /// AIRL needs the density of the policy below, through whatever lies between.
    #[test]
    fn a_density_is_found_through_the_layers_or_missed_at_once() {
        let device = ingle::device::open("flex").unwrap();
        let airl = || AirlConfig { hidden: vec![8], ..AirlConfig::default() };
        let sac = SacConfig { hidden: vec![8], ..SacConfig::default() }.init(3, 2).unwrap();
        let normalise = || NormaliseConfig::default();
        let typed = airl()
            .init(Nested { processor: normalise().init::<Transitions>(3).unwrap(), direct: sac.clone() })
            .unwrap();
        let below = Core::direct(sac).under(normalise().init(3).unwrap()).with_density("airl").unwrap();
        let stack = Core::imitator(airl().init(below).unwrap());
        let (mut expected, mut actual) = (typed.init(7, &device).unwrap(), stack.init(7, &device).unwrap());
        for seed in 0..2 {
            let Sample { transitions: rl, demonstrations } = sample(seed, &device);
            typed
                .step(&mut expected, ImitationSample { rl, demonstrations: demonstrations.unwrap() })
                .unwrap();
            stack.step(&mut actual, sample(seed, &device)).unwrap();
        }
        assert_eq!(actual.save().unwrap(), expected.save().unwrap());

        let td3 = Td3Config { hidden: vec![8], ..Td3Config::default() }.init(3, 2).unwrap();
        let below = Core::deterministic(td3).under(normalise().init(3).unwrap());
        let Transitions { observation, action, .. } = transitions(0, &device);
        let state = below.init(0, &device).unwrap();
        assert!(below.log_probability(&state, observation, action).is_err());
        let error = below.with_density("airl").err().unwrap().to_string();
        assert!(error.contains("airl needs the log-probability of the policy below"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let device = ingle::device::open("flex").unwrap();
        let td3 = Td3Config { hidden: vec![8], ..Td3Config::default() }.init(3, 2).unwrap();
        let rnd = RndConfig { hidden: vec![8], ..RndConfig::default() };
        let bare = Core::deterministic(td3.clone());
        let stack = Core::deterministic(td3)
            .under(Imitator(AilConfig { hidden: vec![8], ..AilConfig::default() }.init(3, 2).unwrap()))
            .under(rnd.init(3).unwrap());
        let mut state = stack.init(0, &device).unwrap();
        let before = state.save().unwrap();
        let none = Sample { demonstrations: None, ..sample(0, &device) };
        let error = stack.step(&mut state, none).unwrap_err().to_string();
        assert!(error.contains("a layer needs demonstrations"), "{error}");
        assert!(matches!(bare.step(&mut state, sample(0, &device)), Err(Error::Record(_))));
        assert_eq!(state.save().unwrap(), before);
    }
}
