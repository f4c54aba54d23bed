//! Recorded episodes: read from files, checked, and sampled.
//!
//! [`Demonstrations`] come from a safetensors file in ingle's flat layout ([`Demonstrations::read`]), from an `.npz` of
//! Python's `imitation` ([`Demonstrations::read_imitation`]), or from your own arrays ([`Demonstrations::new`]). A
//! [`DemonstrationSampler`] draws batches from them: for imitation, for behaviour cloning, for offline learning.
//!
//! ```
//! use burn::tensor::Device;
//! use ingle_core::Sampler;
//! use ingle_replay::demonstrations::{DemonstrationConfig, Demonstrations, Recording, Spaces};
//!
//! // One episode of two steps that a time limit cut; actions are the environment's, here torques between −2 and 2.
//! let spaces = Spaces { observation: 1, action_low: &[-2.0], action_high: &[2.0] };
//! let recording = Recording {
//!     observation: vec![0.0, 0.1],
//!     action: vec![0.5, -2.0],
//!     reward: Some(vec![0.0, 1.0]),
//!     next_observation: vec![0.1, 0.2],
//!     terminated: vec![false, false],
//!     truncated: vec![false, true],
//! };
//! let demonstrations = Demonstrations::new(spaces, recording)?;
//! assert_eq!(demonstrations.trajectories().len(), 1);
//!
//! let config = DemonstrationConfig { batch: 4, ..DemonstrationConfig::default() };
//! let mut sampler = config.init(&demonstrations, 0, &Device::flex())?;
//! assert_eq!(sampler.sample()?.action.dims(), [1, 4, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod file;
mod npz;
mod sampler;
mod tensors;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::DemonstrationError;
pub use file::SIZE_LIMIT;
pub use sampler::{DemonstrationConfig, DemonstrationSampler};

/// What the environment's observations and actions look like: demonstrations must be of the same kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spaces<'a> {
    /// O ≥ 1.
    pub observation: usize,
    /// The lower bound of each action element, A ≥ 1 of them, finite.
    pub action_low: &'a [f32],
    /// The upper bounds, above the lower ones.
    pub action_high: &'a [f32],
}

impl Spaces<'_> {
    fn check(self) -> Result<Self, DemonstrationError> {
        let Self { observation, action_low, action_high } = self;
        let bounded = |(low, high): (&f32, &f32)| low.is_finite() && high.is_finite() && low < high;
        let bounds_fit = action_low.len() == action_high.len() && !action_low.is_empty();
        if observation == 0 || !bounds_fit || !action_low.iter().zip(action_high).all(bounded) {
            return Err(DemonstrationError::Spaces {
                observation,
                low: action_low.to_vec(),
                high: action_high.to_vec(),
            });
        }
        Ok(self)
    }

    fn action(self) -> usize {
        self.action_low.len()
    }
}

/// Steps of episodes one after another, each field flat: what [`Demonstrations`] are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// `[N, O]`.
    pub observation: Vec<f32>,
    /// `[N, A]`, in the environment's own units.
    pub action: Vec<f32>,
    /// `[N]`, if rewards were recorded.
    pub reward: Option<Vec<f32>>,
    /// `[N, O]`: the real successor; inside an episode it is the next row's observation.
    pub next_observation: Vec<f32>,
    /// `[N]`: the episode ended in a state without a future.
    pub terminated: Vec<bool>,
    /// `[N]`: the episode, or the recording of it, was cut off. Both may be true; then `terminated` decides.
    pub truncated: Vec<bool>,
}

/// What the `terminal` flags of `imitation`'s files mean.
///
/// That package sets the flag for every episode that was played to its end, and a time limit is such an end: its files
/// do not tell a termination from a truncation. A learner that bootstraps must know, so you say it. A trajectory
/// without the flag is a fragment, which is a truncation in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// Terminated: the environment has no time limit, or none was reached.
    Terminated,
    /// Truncated: the environment never terminates by itself (`Pendulum-v1`).
    Truncated,
    /// Truncated if the trajectory has at least this many steps, the environment's time limit; otherwise terminated.
    TimeLimit(usize),
}

/// Recorded episodes of one environment, checked: at least one, every number finite, every action in its bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Demonstrations {
    observation: usize,
    action_low: Vec<f32>,
    action_high: Vec<f32>,
    steps: Recording,
    /// The row after the last one of each trajectory.
    ends: Vec<usize>,
}

/// One recorded episode, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trajectory<'a> {
    /// `[T, O]`.
    pub observation: &'a [f32],
    /// `[T, A]`, in the environment's own units.
    pub action: &'a [f32],
    /// `[T]`, if rewards were recorded.
    pub reward: Option<&'a [f32]>,
    /// `[T, O]`: the real successors.
    pub next_observation: &'a [f32],
    /// Whether the last step led to a state without a future.
    pub terminated: bool,
    /// Whether the episode was cut off after the last step.
    pub truncated: bool,
    len: usize,
}

impl Demonstrations {
    /// Checks recorded steps. Trajectories end where a step terminated or was truncated.
    ///
    /// # Errors
    /// [`DemonstrationError`] with the trajectory and the row in it: an array of another size, no step at all, a number
    /// that is not finite, an action outside its bounds, a row whose successor is not the next row's observation, a last
    /// row at which nothing ends.
    pub fn new(spaces: Spaces<'_>, recording: Recording) -> Result<Self, DemonstrationError> {
        let spaces = spaces.check()?;
        let (observation, action, rows) = (spaces.observation, spaces.action(), recording.terminated.len());
        if rows == 0 {
            return Err(DemonstrationError::Empty);
        }
        let fields = [
            ("observation", recording.observation.as_slice(), observation),
            ("action", &recording.action, action),
            ("next_observation", &recording.next_observation, observation),
            ("reward", recording.reward.as_deref().unwrap_or(&[]), usize::from(recording.reward.is_some())),
        ];
        let lengths = fields.map(|(array, values, width)| (array, values.len(), width));
        for (array, length, width) in lengths.into_iter().chain([("truncated", recording.truncated.len(), 1)])
        {
            if rows.checked_mul(width) != Some(length) {
                return Err(DemonstrationError::Shape {
                    array,
                    expected: format!("{rows} rows of {width}"),
                    actual: vec![length],
                });
            }
        }
        let (mut ends, mut start) = (Vec::new(), 0);
        for row in 0..rows {
            // In the errors, rows are counted from the start of their trajectory.
            let place = (ends.len(), row - start);
            for (field, values, width) in fields {
                check_finite(field, &values[row * width..(row + 1) * width], place)?;
            }
            check_bounds(spaces, &recording.action[row * action..(row + 1) * action], place)?;
            if row > start {
                let successor = &recording.next_observation[(row - 1) * observation..row * observation];
                if successor != &recording.observation[row * observation..(row + 1) * observation] {
                    return Err(DemonstrationError::Gap { trajectory: place.0, row: place.1 - 1 });
                }
            }
            if recording.terminated[row] || recording.truncated[row] {
                start = row + 1;
                ends.push(start);
            } else if row + 1 == rows {
                return Err(DemonstrationError::Unended { trajectory: place.0, row: place.1 });
            }
        }
        let (action_low, action_high) = (spaces.action_low.to_vec(), spaces.action_high.to_vec());
        Ok(Self { observation, action_low, action_high, steps: recording, ends })
    }

    /// Reads a safetensors file in ingle's flat layout; see [`Self::from_safetensors`].
    ///
    /// # Errors
    /// [`DemonstrationError::File`] with the path and what is wrong.
    pub fn read(path: &Path, spaces: Spaces<'_>) -> Result<Self, DemonstrationError> {
        file::read(path)
            .and_then(|bytes| Self::from_safetensors(&bytes, spaces))
            .map_err(|error| error.at(path))
    }

    /// Reads trajectories that Python's package `imitation` saved as `.npz`; see [`Self::from_imitation`].
    ///
    /// # Errors
    /// [`DemonstrationError::File`] with the path and what is wrong.
    pub fn read_imitation(
        path: &Path,
        spaces: Spaces<'_>,
        terminal: Terminal,
    ) -> Result<Self, DemonstrationError> {
        file::read(path)
            .and_then(|bytes| Self::from_imitation(&bytes, spaces, terminal))
            .map_err(|error| error.at(path))
    }

    /// Reads a safetensors file in ingle's flat layout: one row per step, episode after episode.
    ///
    /// | array | shape | type |
    /// |---|---|---|
    /// | `observation`, `next_observation` | `[N, O]` | F32 or F64 |
    /// | `action` | `[N, A]`, in the environment's own units | F32 or F64 |
    /// | `reward` (may be missing) | `[N]` | F32 or F64 |
    /// | `terminated`, `truncated` | `[N]` | BOOL, or U8 of 0 and 1 |
    ///
    /// An episode ends where one of the flags is true, and one of them is in the last row. No other array may be there.
    ///
    /// # Errors
    /// [`DemonstrationError`]: a damaged file, arrays that are missing, unknown, or of another shape or type, and whatever
    /// [`Self::new`] refuses.
    pub fn from_safetensors(bytes: &[u8], spaces: Spaces<'_>) -> Result<Self, DemonstrationError> {
        Self::new(spaces, tensors::read(bytes, spaces.check()?)?)
    }

    /// The same steps in the layout that [`Self::from_safetensors`] reads.
    ///
    /// # Errors
    /// [`DemonstrationError::Format`] if the format cannot hold them.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, DemonstrationError> {
        tensors::write(self)
    }

    /// Reads the `.npz` layout of Python's package `imitation` ([`Terminal`] says why `terminal` is asked for): `obs` `[N + K, O]`, the observations of K trajectories with T + 1 each, `acts` `[N, A]`, `rews` `[N]` (may be
    /// missing), `terminal` `[K]` and `indices` `[K − 1]`, the rows of `acts` at which trajectories 1, 2, ... begin.
    /// Entries may be stored or deflated. `infos` are pickled Python objects, and are not read.
    ///
    /// # Errors
    /// As [`Self::from_safetensors`].
    pub fn from_imitation(
        bytes: &[u8],
        spaces: Spaces<'_>,
        terminal: Terminal,
    ) -> Result<Self, DemonstrationError> {
        Self::new(spaces, npz::read(bytes, spaces.check()?, terminal)?)
    }

    /// The number of steps in all trajectories, ≥ 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a step")]
    pub fn len(&self) -> usize {
        self.steps.terminated.len()
    }

    /// Elements of an observation, O.
    pub fn observation_size(&self) -> usize {
        self.observation
    }

    /// Elements of an action, A.
    pub fn action_size(&self) -> usize {
        self.action_low.len()
    }

    /// Whether rewards were recorded.
    pub fn has_rewards(&self) -> bool {
        self.steps.reward.is_some()
    }

    /// The trajectories, in the order in which they were recorded.
    pub fn trajectories(&self) -> impl ExactSizeIterator<Item = Trajectory<'_>> {
        let (o, a) = (self.observation, self.action_size());
        self.ends.iter().enumerate().map(move |(index, &end)| {
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
            Trajectory {
                observation: &self.steps.observation[start * o..end * o],
                action: &self.steps.action[start * a..end * a],
                reward: self.steps.reward.as_ref().map(|rewards| &rewards[start..end]),
                next_observation: &self.steps.next_observation[start * o..end * o],
                terminated: self.steps.terminated[end - 1],
                truncated: self.steps.truncated[end - 1],
                len: end - start,
            }
        })
    }

    /// All actions `[N, A]` in the range of policies, `[-1, 1]`: affine, the bounds exactly at −1 and 1.
    pub fn canonical_actions(&self) -> Vec<f32> {
        let bounds = self.action_low.iter().zip(&self.action_high).cycle();
        let canonical = |(&value, (&low, &high)): (&f32, (&f32, &f32))| {
            // In f64: a difference of two f32 bounds can overflow f32.
            let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
            (((value - low) - (high - value)) / (high - low)) as f32
        };
        self.steps.action.iter().zip(bounds).map(canonical).collect()
    }
}

impl Trajectory<'_> {
    /// The number of steps, ≥ 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a step")]
    pub fn len(&self) -> usize {
        self.len
    }
}

fn check_finite(
    field: &'static str,
    values: &[f32],
    (trajectory, row): (usize, usize),
) -> Result<(), DemonstrationError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(element) => {
            Err(DemonstrationError::NonFinite { trajectory, row, field, element, value: values[element] })
        }
        None => Ok(()),
    }
}

fn check_bounds(
    spaces: Spaces<'_>,
    action: &[f32],
    (trajectory, row): (usize, usize),
) -> Result<(), DemonstrationError> {
    let bounds = spaces.action_low.iter().zip(spaces.action_high);
    for (element, (&value, (&low, &high))) in action.iter().zip(bounds).enumerate() {
        if !(low..=high).contains(&value) {
            return Err(DemonstrationError::OutOfBounds { trajectory, row, element, value, low, high });
        }
    }
    Ok(())
}
