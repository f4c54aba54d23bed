//! Samples: a batch of transitions on the device, and what a reward processor needs of any sample.

use burn::tensor::{Device, Tensor};

use crate::{Error, Keys, Result};

/// A batch of transitions for each of P learners, on the device.
///
/// A leading axis of size 1 broadcasts over the population: all members then learn from the same rows. Termination
/// and truncation are settled where the transition is made: a learner sees only `discount`.
#[derive(Debug, Clone)]
pub struct Transitions {
    /// `[P, B, O]`: `s_t`.
    pub observation: Tensor<3>,
    /// `[P, B, A]`: `a_t`, in the canonical range `[-1, 1]`.
    pub action: Tensor<3>,
    /// `[P, B]`: the n-step return `Σ_{i<n} γ^i r_{t+i}` (for n = 1, `r_t`).
    pub reward: Tensor<2>,
    /// `[P, B]`: `γ^n · Π(1 − terminated)`: 0 after a true terminal state, `γ^n` after a truncation.
    pub discount: Tensor<2>,
    /// `[P, B, O]`: s_{t+n}; after a truncation the last real observation, never the one after the reset.
    pub next_observation: Tensor<3>,
    /// `[P, B]`: weights of the rows' losses (prioritised replay); none is 1 for every row.
    pub importance_weight: Option<Tensor<2>>,
    /// The rows' keys in the replay they came from, if they came from one; they travel with the rows and come back in
    /// the feedback.
    pub keys: Option<Keys>,
}

/// A sample in which a processor can read the transitions, and replace their rewards or all of them.
///
/// Samples of nests carry an inner sample and forward to it: that closes nests under nesting.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sample whose rewards can be replaced",
    note = "a reward processor needs a sample that implements `Rewarded`, such as `Transitions`",
    note = "the rewards of `NStepTransitions` are folded already: nest over a core with one-step transitions"
)]
pub trait Rewarded {
    /// The transitions that the direct core will learn from.
    fn transitions(&self) -> &Transitions;
    /// The same sample with other transitions.
    #[must_use]
    fn with_transitions(self, transitions: Transitions) -> Self;
    /// The same sample with other rewards `[P, B]`.
    #[must_use]
    fn with_reward(self, reward: Tensor<2>) -> Self
    where
        Self: Sized,
    {
        let transitions = Transitions { reward, ..self.transitions().clone() };
        self.with_transitions(transitions)
    }
    /// The same sample with every observation in it changed by `map`: those of all its transitions, demonstrations
    /// included.
    ///
    /// # Errors
    /// The first of `map`, which is to refuse what it cannot change.
    fn map_observations(self, map: impl Fn(Tensor<3>) -> Result<Tensor<3>>) -> Result<Self>
    where
        Self: Sized;
}

impl Rewarded for Transitions {
    fn transitions(&self) -> &Transitions {
        self
    }

    fn with_transitions(self, transitions: Transitions) -> Self {
        transitions
    }

    fn map_observations(self, map: impl Fn(Tensor<3>) -> Result<Tensor<3>>) -> Result<Self> {
        Ok(Self {
            observation: map(self.observation)?,
            next_observation: map(self.next_observation)?,
            ..self
        })
    }
}

/// What learners from demonstrations are given: the sample of the core below, and rows of demonstrations beside it. It is
/// `Rewarded` as its inner sample is, so that nests stack.
#[derive(Debug, Clone)]
pub struct ImitationSample<S> {
    /// The learner's own transitions.
    pub rl: S,
    /// The demonstrations; their rewards are not read.
    pub demonstrations: Transitions,
}

impl<S: Rewarded> ImitationSample<S> {
    /// Checks own rows and demonstrations, and returns how many there are of each, per member: there may be fewer
    /// demonstrations, if the number of own rows is a multiple of theirs. No device work.
    ///
    /// # Errors
    /// As [`Transitions::check`], for both; [`Error::Shape`] if the numbers of rows do not fit each other.
    pub fn check(&self, expected: Expected<'_>) -> Result<(usize, usize)> {
        let own = self.rl.transitions().check(expected)?;
        let rows = self.demonstrations.check(expected)?;
        if !own.is_multiple_of(rows) {
            return Err(Error::Shape {
                field: "demonstrations",
                expected: format!("{own} rows, as many as the learner's own, or a divisor of that"),
                actual: self.demonstrations.observation.dims().to_vec(),
            });
        }
        Ok((own, rows))
    }
}

impl<S: Rewarded> Rewarded for ImitationSample<S> {
    fn transitions(&self) -> &Transitions {
        self.rl.transitions()
    }

    fn with_transitions(self, transitions: Transitions) -> Self {
        Self { rl: self.rl.with_transitions(transitions), demonstrations: self.demonstrations }
    }

    fn map_observations(self, map: impl Fn(Tensor<3>) -> Result<Tensor<3>>) -> Result<Self> {
        Ok(Self {
            rl: self.rl.map_observations(&map)?,
            demonstrations: self.demonstrations.map_observations(&map)?,
        })
    }
}

/// One thing that a sample brings, shown by [`Inputs::inputs`].
#[derive(Debug)]
pub enum Input<'a> {
    /// A tensor `[P, B]`.
    Numbers(&'a mut Tensor<2>),
    /// A tensor `[P, B, ·]`.
    Rows(&'a mut Tensor<3>),
    /// The keys of the rows, on the host.
    Keys(&'a mut Option<Keys>),
}

/// A sample that shows everything that it brings, so that a captured update can be given another one
/// ([`GraphLearner`](crate::GraphLearner)).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sample that a captured update can be given",
    note = "implement `Inputs`: show every tensor and all keys, always in the same order"
)]
pub trait Inputs: Clone {
    /// Everything that the sample brings, always in the same order.
    fn inputs(&mut self) -> Vec<Input<'_>>;
}

impl Inputs for Transitions {
    fn inputs(&mut self) -> Vec<Input<'_>> {
        let mut inputs = vec![
            Input::Rows(&mut self.observation),
            Input::Rows(&mut self.action),
            Input::Numbers(&mut self.reward),
            Input::Numbers(&mut self.discount),
            Input::Rows(&mut self.next_observation),
        ];
        inputs.extend(self.importance_weight.as_mut().map(Input::Numbers));
        inputs.push(Input::Keys(&mut self.keys));
        inputs
    }
}

impl<S: Inputs> Inputs for ImitationSample<S> {
    fn inputs(&mut self) -> Vec<Input<'_>> {
        let mut inputs = self.rl.inputs();
        inputs.extend(self.demonstrations.inputs());
        inputs
    }
}

/// That what is handed on is what the next one learns from: true of every type and itself.
///
/// The compiler then says in our words what does not fit, where a nest or a learner is put together from parts that
/// handle different samples.
#[diagnostic::on_unimplemented(
    message = "the samples do not fit: `{T}` is handed to what learns from `{Self}`",
    label = "parts that handle different samples",
    note = "in `Nested` and `NestedLearner` the processor's `Processed` must be the `Sample` of `direct`",
    note = "in `CoreLearner` and `NestedLearner` the sampler's `Sample` must be that of the core or the processor"
)]
pub trait SameSample<T>: Sized {
    /// The sample, which is the same.
    fn same(sample: T) -> Self;
}

impl<T> SameSample<T> for T {
    fn same(sample: T) -> T {
        sample
    }
}

/// What a learner's transitions must look like; see [`Transitions::check`].
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// P.
    pub population: usize,
    /// O.
    pub observation: usize,
    /// A.
    pub action: usize,
    /// A tensor of the learner's state, for its device and precision.
    pub like: &'a Tensor<2>,
}

impl Transitions {
    /// The number of rows per member, B.
    pub fn batch(&self) -> usize {
        self.observation.dims()[1]
    }

    /// As [`Self::check`], for a processor that looks at observations and rewards whatever the actions are.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Precision`] or [`Error::Device`] with the field's name and both values.
    pub fn check_observations(
        &self,
        population: usize,
        observation: usize,
        like: &Tensor<2>,
    ) -> Result<usize> {
        let action = self.action.dims()[2];
        self.check(Expected { population, observation, action, like })
    }

    /// Checks every field against what the learner expects and returns B. No device work.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Precision`] or [`Error::Device`] with the field's name and both values.
    pub fn check(&self, expected: Expected<'_>) -> Result<usize> {
        let Expected { population, observation, action, like } = expected;
        let batch = self.batch();
        if batch == 0 {
            return Err(Error::Shape {
                field: "observation",
                expected: "at least one row".into(),
                actual: self.observation.dims().to_vec(),
            });
        }
        let check = |field, actual: &[usize], tail: &[usize]| {
            if (actual[0] == population || actual[0] == 1) && actual[1..] == *tail {
                return Ok(());
            }
            Err(Error::Shape {
                field,
                expected: format!(
                    "[{population} or 1, {}]",
                    tail.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
                ),
                actual: actual.to_vec(),
            })
        };
        check("observation", &self.observation.dims(), &[batch, observation])?;
        check("action", &self.action.dims(), &[batch, action])?;
        check("reward", &self.reward.dims(), &[batch])?;
        check("discount", &self.discount.dims(), &[batch])?;
        check("next_observation", &self.next_observation.dims(), &[batch, observation])?;
        if let Some(weight) = &self.importance_weight {
            check("importance_weight", &weight.dims(), &[batch])?;
        }
        if let Some(keys) = &self.keys {
            let rows = self.observation.dims()[0] * batch;
            if keys.len() != rows {
                return Err(Error::Shape {
                    field: "keys",
                    expected: format!("[{rows}]"),
                    actual: vec![keys.len()],
                });
            }
        }
        let types = [
            ("observation", self.observation.dtype()),
            ("action", self.action.dtype()),
            ("reward", self.reward.dtype()),
            ("discount", self.discount.dtype()),
            ("next_observation", self.next_observation.dtype()),
            ("importance_weight", self.importance_weight.as_ref().map_or(like.dtype(), Tensor::dtype)),
        ];
        for (field, dtype) in types {
            if dtype != like.dtype() {
                return Err(Error::Precision {
                    field,
                    expected: format!("{:?}", like.dtype()),
                    actual: format!("{dtype:?}"),
                });
            }
        }
        let (own, theirs) = (like.device(), self.observation.device());
        if own != theirs {
            return Err(Error::Device {
                field: "observation",
                expected: format!("{own:?}"),
                actual: format!("{theirs:?}"),
            });
        }
        Ok(batch)
    }

    /// These rows of every member and, after them, those of `other`, whose keys are dropped: they are not of the same
    /// replay. Rows without a weight weigh 1 beside rows that have one.
    ///
    /// # Errors
    /// As [`Self::check`], for both.
    pub fn join(self, other: Self, expected: Expected<'_>) -> Result<Self> {
        let (own, others) = (self.check(expected)?, other.check(expected)?);
        let shared = self.observation.dims()[0];
        let observation = concatenate(vec![self.observation, other.observation], 1);
        let keys = self.keys.map(|keys| {
            let every_member = keys.repeat(observation.dims()[0] / shared);
            let rows = every_member.chunks(own);
            rows.flat_map(|rows| rows.iter().copied().chain(std::iter::repeat_n(None, others))).collect()
        });
        let importance_weight = match (self.importance_weight, other.importance_weight) {
            (None, None) => None,
            (ours, theirs) => {
                let place = (&expected.like.device(), expected.like.dtype());
                let or_one = |weight: Option<Tensor<2>>, rows| {
                    weight.unwrap_or_else(|| Tensor::ones([1, rows], place))
                };
                Some(concatenate(vec![or_one(ours, own), or_one(theirs, others)], 1))
            }
        };
        Ok(Self {
            observation,
            action: concatenate(vec![self.action, other.action], 1),
            reward: concatenate(vec![self.reward, other.reward], 1),
            discount: concatenate(vec![self.discount, other.discount], 1),
            next_observation: concatenate(vec![self.next_observation, other.next_observation], 1),
            importance_weight,
            keys,
        })
    }

    /// The same transitions on another device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        Self {
            observation: self.observation.to_device(device),
            action: self.action.to_device(device),
            reward: self.reward.to_device(device),
            discount: self.discount.to_device(device),
            next_observation: self.next_observation.to_device(device),
            importance_weight: self.importance_weight.map(|weight| weight.to_device(device)),
            keys: self.keys,
        }
    }
}

/// Puts tensors together along `axis`; where the population shares one (a leading axis of size 1) and not all, it is
/// expanded.
pub fn concatenate<const D: usize>(tensors: Vec<Tensor<D>>, axis: usize) -> Tensor<D> {
    let members = tensors.iter().map(|tensor| tensor.dims()[0]).max().unwrap_or(1);
    let spread = |tensor: Tensor<D>| {
        let mut shape = tensor.dims();
        if shape[0] == members {
            return tensor;
        }
        shape[0] = members;
        tensor.expand(shape)
    };
    Tensor::cat(tensors.into_iter().map(spread).collect(), axis)
}
