//! Policies without their trainer: acted with, written for other programs, read from other libraries.
//!
//! [`PolicyParameters`] is a policy as plain data: from a run, from a checkpoint of one, or from an exported file;
//! [`SavedPolicy`] is that policy on a device, and acts. [`Foreign`] reads what other libraries saved.

mod archive;
mod export;
mod foreign;
mod load;
mod onnx;
mod pickle;
mod torch;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::network::{Actor, MlpActor, Network, tanh};
use ingle_core::random::RandomStream;
use ingle_core::sac::SquashedGaussian;
use ingle_core::{Acting, Error, Policy, Violations, learner};
use ingle_envs::BoxSpace;
use serde::{Deserialize, Serialize};

pub use foreign::Foreign;

use crate::TrainError;

/// A policy as plain data: a `ReLU` network, how its outputs become an action, and what that action means.
///
/// ```text
/// x = observation, or clip((observation − mean) / deviation, ±clip) where there is a normalisation
/// outputs = network(x);  action = bounds' middle + bounds' half width · tanh(outputs' first A)
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyParameters {
    /// The environment that it was trained in, by the name that `--env` takes, if that is known.
    pub environment: Option<String>,
    /// The lower bounds of the environment's actions, `[A]`.
    pub action_low: Vec<f32>,
    /// The upper bounds of the environment's actions, `[A]`.
    pub action_high: Vec<f32>,
    /// What the observations went through in training before the network saw them.
    pub normalisation: Option<Normalisation>,
    /// Widths of the network: observation, hidden layers, outputs (A, or 2A of a [`PolicyKind::Gaussian`]).
    pub sizes: Vec<usize>,
    /// The network's parameters, layer after layer: the weight `[in, out]`, then the bias `[out]`.
    pub parameters: Vec<f32>,
    /// What the outputs are.
    pub kind: PolicyKind,
}

/// What a policy's outputs are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicyKind {
    /// Means, then raw log standard deviations, of a Gaussian that `tanh` squashes (SAC's).
    Gaussian,
    /// The action before `tanh` (TD3's).
    Deterministic {
        /// Standard deviation of the noise that [`Mode::Stochastic`] puts on canonical actions.
        exploration_noise: f32,
    },
}

/// Input normalisation with the moments of what was seen in training, or of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalisation {
    /// What is taken from each element, `[O]`.
    pub mean: Vec<f32>,
    /// What each element is divided by, `[O]`, > 0.
    pub deviation: Vec<f32>,
    /// Bound of the normalised elements, > 0; none leaves them as they are.
    pub clip: Option<f32>,
}

/// The most parameters that a policy from a file may have: 1 GiB of them.
const LARGEST: usize = 1 << 28;

impl PolicyParameters {
    /// Reads the policy of a run's directory, of a checkpoint's directory below one, or of a `.safetensors` file that
    /// [`write_safetensors`](Self::write_safetensors) wrote.
    ///
    /// Of a run that has finished it is the final policy, of another one that of the newest checkpoint. `member` is
    /// the member of a population; none is the best one in the last evaluation.
    ///
    /// # Errors
    /// If there is no policy, it cannot be read, or it is no network of ours (burn modules are acted with by their
    /// own core).
    pub fn load(path: impl AsRef<Path>, member: Option<usize>) -> Result<Self, TrainError> {
        load::load(path.as_ref(), member)
    }

    /// Number of elements of an observation, O.
    pub fn observation_size(&self) -> usize {
        self.sizes.first().copied().unwrap_or_default()
    }

    /// Number of elements of an action, A.
    pub fn action_size(&self) -> usize {
        self.action_low.len()
    }

    /// Checks that everything fits together.
    ///
    /// # Errors
    /// [`Error::Config`] with everything that does not.
    pub fn validate(&self) -> Result<(), Error> {
        let mut violations = Violations::default();
        let Self { action_low, action_high, normalisation, sizes, parameters, kind, .. } = self;
        violations.require(sizes.len() >= 2 && !sizes.contains(&0), || {
            format!("sizes: an input and an output of at least 1 are needed, got {sizes:?}")
        });
        violations.require(action_low.len() == action_high.len(), || {
            format!("{} lower and {} upper bounds of actions", action_low.len(), action_high.len())
        });
        let bounded = |(low, high): (&f32, &f32)| low.is_finite() && high.is_finite() && low < high;
        violations.require(action_low.iter().zip(action_high).all(bounded), || {
            format!("action bounds: must be finite and in order, got {action_low:?} and {action_high:?}")
        });
        let (outputs, actions) = (sizes.last().copied().unwrap_or_default(), action_low.len());
        let each = kind.outputs_per_action();
        violations.require(actions > 0 && actions.checked_mul(each) == Some(outputs), || {
            format!("{outputs} outputs for {actions} action elements, {each} each are needed")
        });
        let expected = parameter_count(sizes);
        violations.require(expected == Some(parameters.len()), || {
            format!("{} parameters for layers of {sizes:?}", parameters.len())
        });
        violations.require(parameters.iter().all(|value| value.is_finite()), || {
            "parameters: not all of them are finite".into()
        });
        if let PolicyKind::Deterministic { exploration_noise } = kind {
            violations.require(exploration_noise.is_finite() && *exploration_noise >= 0.0, || {
                format!("exploration_noise: must be a finite number of at least 0, got {exploration_noise}")
            });
        }
        if let Some(Normalisation { mean, deviation, clip }) = normalisation {
            let size = self.observation_size();
            violations.require(mean.len() == size && deviation.len() == size, || {
                format!(
                    "normalisation: {} means and {} deviations for observations of {size}",
                    mean.len(),
                    deviation.len()
                )
            });
            let mut positive = deviation.iter().chain(clip);
            let valid = mean.iter().all(|mean| mean.is_finite())
                && positive.all(|value| value.is_finite() && *value > 0.0);
            violations.require(valid, || {
                "normalisation: means must be finite, deviations and the bound finite and above 0".into()
            });
        }
        violations.finish()
    }

    /// The layers: weight `[in, out]` and bias `[out]`, with their sizes.
    fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        let mut rest = self.parameters.as_slice();
        self.sizes.windows(2).map_while(move |pair| {
            let (weight, after) = rest.split_at_checked(pair[0] * pair[1])?;
            let (bias, after) = after.split_at_checked(pair[1])?;
            rest = after;
            Some(Layer { input: pair[0], output: pair[1], weight, bias })
        })
    }
}

impl PolicyKind {
    fn outputs_per_action(self) -> usize {
        match self {
            Self::Gaussian => 2,
            Self::Deterministic { .. } => 1,
        }
    }
}

impl Normalisation {
    /// This one, then the next: one map too, unless what this one clips would go on through the next.
    fn then(&self, next: &Self) -> Option<Self> {
        if self.clip.is_some() || self.mean.len() != next.mean.len() {
            return None;
        }
        let pairs = || self.deviation.iter().map(|deviation| f64::from(*deviation));
        let means = self.mean.iter().zip(pairs()).zip(&next.mean);
        Some(Self {
            mean: means.map(|((mean, by), next)| (f64::from(*mean) + by * f64::from(*next)) as f32).collect(),
            deviation: pairs()
                .zip(&next.deviation)
                .map(|(by, next)| (by * f64::from(*next)) as f32)
                .collect(),
            clip: next.clip,
        })
    }
}

/// A layer of a network.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    input: usize,
    output: usize,
    /// `[input, output]`.
    weight: &'a [f32],
    bias: &'a [f32],
}

impl Layer<'_> {
    /// The outputs from `start` to `end`, as `PyTorch` keeps a layer: weight `[out, in]` and bias `[out]`.
    fn transposed(self, start: usize, end: usize) -> (Vec<f32>, Vec<f32>) {
        let element = |(row, column): (usize, usize)| self.weight[column * self.output + row];
        let weight = (start..end).flat_map(|row| (0..self.input).map(move |column| (row, column)));
        (weight.map(element).collect(), self.bias[start..end].to_vec())
    }
}

/// The number of parameters of a network of these widths, unless it is absurdly large.
fn parameter_count(sizes: &[usize]) -> Option<usize> {
    let counts = sizes.windows(2).map(|pair| pair[0].checked_add(1)?.checked_mul(pair[1]));
    counts
        .into_iter()
        .try_fold(0_usize, |sum, count| sum.checked_add(count?))
        .filter(|count| *count <= LARGEST)
}

/// How a [`SavedPolicy`] chooses its actions.
#[derive(Debug)]
pub enum Mode<'a> {
    /// The best action it knows: what an evaluation plays.
    Deterministic,
    /// A draw, as in training: from the Gaussian, or with the exploration noise. The stream says which.
    Stochastic(&'a mut RandomStream),
}

/// A policy to act with: no trainer, no environment, no replay.
///
/// ```no_run
/// use burn::tensor::Device;
/// use ingle_train::{Mode, SavedPolicy};
///
/// let policy = SavedPolicy::load("runs/sac-pendulum-0", &Device::flex())?;
/// // One observation, or several one after another; actions in the environment's units.
/// let action = policy.act(&[1.0, 0.0, 0.0], Mode::Deterministic)?;
/// assert!(policy.action_space().contains(&action));
/// # Ok::<(), ingle_train::TrainError>(())
/// ```
///
/// As a [`Policy`] (a population of one) it can also be handed to [`evaluate`](crate::evaluate).
#[derive(Debug, Clone)]
pub struct SavedPolicy {
    parameters: PolicyParameters,
    network: MlpActor,
    weights: Tensor<2>,
    /// Mean and deviation `[1, 1, O]` of a normalisation.
    moments: Option<(Tensor<3>, Tensor<3>)>,
    action_space: BoxSpace,
    device: Device,
}

impl SavedPolicy {
    /// Reads a policy as [`PolicyParameters::load`] does, the best member of a population.
    ///
    /// # Errors
    /// As for [`PolicyParameters::load`].
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, TrainError> {
        Self::new(PolicyParameters::load(path, None)?, device)
    }

    /// The policy of these parameters.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn new(parameters: PolicyParameters, device: &Device) -> Result<Self, TrainError> {
        parameters.validate()?;
        let device = device.clone().without_autodiff();
        let (hidden, outputs) = match parameters.sizes.as_slice() {
            [_, hidden @ .., outputs] => (hidden, *outputs),
            _ => (&[][..], 0),
        };
        let network = MlpActor::new(parameters.observation_size(), hidden, outputs)?;
        let row =
            |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), &device);
        let weights = row(&parameters.parameters);
        let moments = parameters.normalisation.as_ref().map(|Normalisation { mean, deviation, .. }| {
            (row(mean).unsqueeze_dim(1), row(deviation).unsqueeze_dim(1))
        });
        let action_space = BoxSpace::new(parameters.action_low.clone(), parameters.action_high.clone())?;
        debug_assert_eq!(network.layout().size(), parameters.parameters.len());
        Ok(Self { parameters, network, weights, moments, action_space, device })
    }

    /// What it is made of.
    pub fn parameters(&self) -> &PolicyParameters {
        &self.parameters
    }

    /// The space that its actions are in.
    pub fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    /// Actions `[B, A]`, in the environment's units, for observations `[B, O]`, one after another.
    ///
    /// # Errors
    /// If the observations are not a whole number of finite ones, or the device fails.
    pub fn act(&self, observations: &[f32], mode: Mode<'_>) -> Result<Vec<f32>, TrainError> {
        let size = self.parameters.observation_size();
        if observations.is_empty() || !observations.len().is_multiple_of(size) {
            let expected = format!("[B, {size}] with at least one row");
            let actual = vec![observations.len()];
            return Err(Error::Shape { field: "observation", expected, actual }.into());
        }
        if let Some(index) = observations.iter().position(|value| !value.is_finite()) {
            let (row, element, value) = (index / size, index % size, observations[index]);
            return Err(Error::NonFinite { field: "observation", row, element, value }.into());
        }
        let (rows, actions) = (observations.len() / size, self.parameters.action_size());
        let tensor = |values: Vec<f32>, width| {
            Tensor::from_data(TensorData::new(values, [1, rows, width]), &self.device)
        };
        let acting = match mode {
            Mode::Deterministic => Acting::Deterministic,
            Mode::Stochastic(stream) => {
                let mut noise = vec![0.0; rows * actions];
                stream.fill_normal(&mut noise);
                Acting::Exploring(tensor(noise, actions))
            }
        };
        let canonical = Policy::act(self, tensor(observations.to_vec(), size), acting)?
            .try_into_data()
            .map_err(|error| Error::Execution(error.to_string()))?;
        let canonical =
            canonical.try_into_vec::<f32>().map_err(|error| Error::Execution(format!("{error:?}")))?;
        let mut scaled = vec![0.0; canonical.len()];
        self.action_space.from_canonical(&canonical, &mut scaled)?;
        Ok(scaled)
    }
}

impl Policy for SavedPolicy {
    fn observation_size(&self) -> usize {
        self.parameters.observation_size()
    }

    fn action_size(&self) -> usize {
        self.parameters.action_size()
    }

    fn population(&self) -> usize {
        1
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn act(&self, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>, Error> {
        let sizes = [1, self.observation_size(), self.action_size()];
        learner::check_acting_on(sizes, &observation, &acting)?;
        let mut seen = observation;
        if let Some((mean, deviation)) = &self.moments {
            seen = (seen - mean.clone()) / deviation.clone();
        }
        if let Some(clip) = self.parameters.normalisation.as_ref().and_then(|own| own.clip) {
            seen = seen.clamp(-clip, clip);
        }
        let outputs = self.network.forward(&self.weights, seen);
        Ok(match (self.parameters.kind, acting) {
            (PolicyKind::Gaussian, Acting::Deterministic) => SquashedGaussian::new(outputs).mode(),
            (PolicyKind::Gaussian, Acting::Exploring(noise)) => SquashedGaussian::new(outputs).sample(noise),
            (PolicyKind::Deterministic { .. }, Acting::Deterministic) => tanh(outputs),
            (PolicyKind::Deterministic { exploration_noise }, Acting::Exploring(noise)) => {
                (tanh(outputs) + noise.mul_scalar(exploration_noise)).clamp(-1.0, 1.0)
            }
        })
    }
}
