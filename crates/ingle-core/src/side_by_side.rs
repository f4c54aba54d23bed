//! A population stepped member by member, on the threads of a CPU.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::host::threads;
use crate::learner::{Act, Acting, LearnerCore, LogProbability};
use crate::sample::{Input, Inputs};
use crate::state::{State, Visitor, population};
use crate::{Error, Feedback, Keys, Metrics, Result, StepOutput, Violations};

/// A population whose members are stepped side by side, each as a program of its own on one of the CPU's threads.
///
/// A core for P members takes them all through one operation after the other. That is what makes a population cheap on
/// a GPU; on a CPU, what P members touch in an operation soon is more than its caches hold. Here a thread takes one
/// member through a whole update, or through all updates of a [`step_many`](LearnerCore::step_many), before it takes the
/// next one. By law 5 the numbers are the same, on the flex device bit for bit; samples, states and outputs have the
/// same shapes, and a state's items the same names.
///
/// What a core refuses (shapes, devices, precision) and what it decides by its counters, all members have in common. So they
/// fail together, and a step that fails leaves every member as it was.
///
/// ```
/// use ingle_core::sac::SacConfig;
/// use ingle_core::{LearnerCore, SideBySide};
///
/// let sac = SacConfig { hidden: vec![16], ..SacConfig::default() };
/// let sac = SideBySide::new(SacConfig { population: 8, ..sac.clone() }.init(3, 1)?, sac.init(3, 1)?)?;
/// let state = sac.init(0, &burn::tensor::Device::flex())?;
/// # Ok::<(), ingle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SideBySide<C> {
    all: C,
    one: C,
}

/// The state of a [`SideBySide`]: that of each member.
#[derive(Debug, Clone)]
pub struct Members<S>(Vec<S>);

impl<C: Act> SideBySide<C> {
    /// The population `all`, stepped by `one`: the same rule for a single member. What members may differ in is in their
    /// states, and comes from `all`.
    ///
    /// # Errors
    /// [`Error::Config`] if `one` is for more than one member, or for other observations or actions than `all`.
    pub fn new(all: C, one: C) -> Result<Self> {
        let mut violations = Violations::default();
        let sizes = |core: &C| [core.observation_size(), core.action_size()];
        violations.require(one.population() == 1, || {
            format!("side by side: steps one member at a time, not {}", one.population())
        });
        violations.require(sizes(&all) == sizes(&one), || {
            format!(
                "side by side: sizes {:?} of the population and {:?} of a member",
                sizes(&all),
                sizes(&one)
            )
        });
        violations.finish()?;
        Ok(Self { all, one })
    }
}

impl<C> LearnerCore for SideBySide<C>
where
    C: LearnerCore<State: Send, Sample: Inputs + Send> + Sync,
{
    type State = Members<C::State>;
    type Sample = C::Sample;

    fn init(&self, seed: u64, device: &Device) -> Result<Self::State> {
        Ok(Members::of(self.all.init(seed, device)?))
    }

    fn step(&self, state: &mut Self::State, sample: C::Sample) -> Result<StepOutput> {
        let outputs = self.step_many(state, vec![sample])?;
        outputs.into_iter().next().ok_or_else(|| Error::Sample("an update put nothing out".into()))
    }

    /// Each member makes all its updates before its thread goes on to the next member.
    fn step_many(&self, state: &mut Self::State, samples: Vec<C::Sample>) -> Result<Vec<StepOutput>> {
        let updates = samples.len();
        // A sample that cannot be dealt out ends the updates where it stands.
        let mut refused = None;
        let mut dealt: Vec<Vec<C::Sample>> = state.0.iter().map(|_| Vec::with_capacity(updates)).collect();
        for sample in samples {
            match deal(sample, dealt.len()) {
                Ok(samples) => dealt.iter_mut().zip(samples).for_each(|(own, sample)| own.push(sample)),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        let work = state.0.iter_mut().zip(dealt).collect();
        let outputs = each(work, |(state, samples)| self.one.step_many(state, samples))?;
        refused.map_or(Ok(()), Err)?;
        let mut outputs: Vec<_> = outputs.into_iter().map(Vec::into_iter).collect();
        Ok((0..updates)
            .map(|_| gather(&outputs.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()))
            .collect())
    }

    fn decisions(&self, state: &Self::State) -> Option<Vec<bool>> {
        state.0.first().and_then(|state| self.one.decisions(state))
    }
}

impl<C> Act for SideBySide<C>
where
    C: Act<State: Send, Sample: Inputs + Send> + Sync,
{
    fn observation_size(&self) -> usize {
        self.all.observation_size()
    }

    fn action_size(&self) -> usize {
        self.all.action_size()
    }

    fn population(&self) -> usize {
        self.all.population()
    }

    fn act(&self, state: &Self::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        crate::learner::check_acting(self, &observation, &acting)?;
        let members = state.0.len();
        let actions = state.0.iter().enumerate().map(|(member, state)| {
            let acting = match &acting {
                Acting::Deterministic => Acting::Deterministic,
                Acting::Exploring(noise) => Acting::Exploring(own(noise, member, members)),
            };
            self.one.act(state, own(&observation, member, members), acting)
        });
        Ok(Tensor::cat(actions.collect::<Result<_>>()?, 0))
    }
}

impl<C> LogProbability for SideBySide<C>
where
    C: LogProbability<State: Send, Sample: Inputs + Send> + Sync,
{
    fn log_probability(
        &self,
        state: &Self::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        let members = state.0.len();
        let log_prob = state.0.iter().enumerate().map(|(member, state)| {
            let (observation, action) = (own(&observation, member, members), own(&action, member, members));
            self.one.log_probability(state, observation, action)
        });
        Ok(Tensor::cat(log_prob.collect::<Result<_>>()?, 0))
    }
}

impl<S: State> Members<S> {
    fn of(mut all: S) -> Self {
        let count = population(&mut all).unwrap_or(1);
        Self((0..count).filter_map(|member| all.member(member)).collect())
    }
}

impl<S: State> State for Members<S> {
    /// Shows the items of the whole population.
    fn visit(&mut self, visitor: &mut Visitor<'_>) {
        match S::stack(&self.0) {
            Ok(mut all) => {
                all.visit(visitor);
                *self = Self::of(all);
            }
            Err(error) => visitor.fail(error),
        }
    }
}

/// Does a task for every member, on as many threads as there are. The first error is handed back when all are done.
fn each<I: Send, R: Send>(items: Vec<I>, task: impl Fn(I) -> Result<R> + Sync + Send) -> Result<Vec<R>> {
    let threads = rayon::current_num_threads();
    let results: Vec<_> = if threads == 1 || items.len() == 1 {
        items.into_iter().map(task).collect()
    } else if items.len() < threads {
        items.into_par_iter().with_max_len(1).map(task).collect()
    } else {
        // Enough for every thread: an update keeps to its own.
        items.into_par_iter().with_max_len(1).map(|item| threads::alone(|| task(item))).collect()
    };
    results.into_iter().collect()
}

/// What a member has of a tensor that is the population's, or that all share.
fn own<const D: usize>(tensor: &Tensor<D>, member: usize, members: usize) -> Tensor<D> {
    if tensor.dims()[0] == members { tensor.clone().narrow(0, member, 1) } else { tensor.clone() }
}

/// A sample for every member.
fn deal<S: Inputs>(mut sample: S, members: usize) -> Result<Vec<S>> {
    let shapes = sample.inputs().into_iter().filter_map(|input| match input {
        Input::Numbers(tensor) => Some(tensor.dims().to_vec()),
        Input::Rows(tensor) => Some(tensor.dims().to_vec()),
        Input::Keys(_) => None,
    });
    for shape in shapes {
        if shape[0] != members && shape[0] != 1 {
            return Err(Error::Shape {
                field: "sample",
                expected: format!("[{members} or 1, ...]"),
                actual: shape,
            });
        }
    }
    let samples = (0..members).map(|member| {
        let mut sample = sample.clone();
        // Keys come after the tensors of their rows.
        let mut rows = [1, 0];
        for input in sample.inputs() {
            match input {
                Input::Numbers(tensor) => {
                    rows = tensor.dims();
                    *tensor = own(tensor, member, members);
                }
                Input::Rows(tensor) => {
                    rows = [tensor.dims()[0], tensor.dims()[1]];
                    *tensor = own(tensor, member, members);
                }
                Input::Keys(keys) => {
                    if let Some(all) =
                        keys.as_mut().filter(|keys| rows[0] > 1 && keys.len() == rows[0] * rows[1])
                    {
                        *all = all[member * rows[1]..][..rows[1]].into();
                    }
                }
            }
        }
        sample
    });
    Ok(samples.collect())
}

/// The population's output of an update, of those of its members.
fn gather(outputs: &[StepOutput]) -> StepOutput {
    let mut metrics = Metrics::default();
    let mut columns: Vec<_> = outputs.iter().map(|output| output.metrics.iter()).collect();
    while let Some(values) = columns.iter_mut().map(Iterator::next).collect::<Option<Vec<_>>>()
        && let Some((name, _)) = values.first()
    {
        metrics.push(name, Tensor::cat(values.iter().map(|(_, value)| (*value).clone()).collect(), 0));
    }
    let feedback = outputs.iter().map(|output| output.feedback.as_ref()).collect::<Option<Vec<_>>>();
    let feedback = feedback.map(|own| {
        let keys = own.iter().map(|own| own.keys.as_ref()).collect::<Option<Vec<&Keys>>>();
        Feedback {
            td_error: Tensor::cat(own.iter().map(|own| own.td_error.clone()).collect(), 0),
            keys: keys.map(|keys| keys.into_iter().flat_map(|keys| keys.iter().copied()).collect()),
        }
    });
    StepOutput { metrics, feedback }
}
