//! Recorded episodes: read from files, checked, and sampled.
//!
//! [`Demonstrations`] come from a file ([`Demonstrations::read`]): safetensors in ingle's flat layout, an `.npz` of
//! Python's `imitation`, a dataset of Minari in HDF5; or from your own arrays ([`Demonstrations::new`]). A
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

mod episodes;
mod error;
mod file;
mod minari;
mod npz;
mod sampler;
mod tensors;

use std::fs;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use episodes::Episodes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

/// What is known of a file before it is read. [`Spaces`] become such options, for files that are not `.npz`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ReadOptions<'a> {
    /// O, which the file must have; none takes the file's.
    pub observation: Option<usize>,
    /// The lower and upper bounds of each action element, which the actions must keep; none takes those that the file
    /// says, and refuses one that does not say any.
    pub action_bounds: Option<(&'a [f32], &'a [f32])>,
    /// What the `terminal` flags of an `.npz` mean; other files need none.
    pub terminal: Option<Terminal>,
}

impl<'a> From<Spaces<'a>> for ReadOptions<'a> {
    fn from(Spaces { observation, action_low, action_high }: Spaces<'a>) -> Self {
        Self {
            observation: Some(observation),
            action_bounds: Some((action_low, action_high)),
            terminal: None,
        }
    }
}

/// Where episodes come from, as far as the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The environment's name.
    pub environment: Option<String>,
    /// Who or what made them.
    pub source: Option<String>,
    /// Their licence.
    pub licence: Option<String>,
}

/// The lower and the upper bounds of each action element.
type Bounds = (Vec<f32>, Vec<f32>);

/// Numbers of elements, and the bounds of actions.
#[derive(Debug, Clone, PartialEq)]
struct Sizes {
    observation: usize,
    action_low: Vec<f32>,
    action_high: Vec<f32>,
}

impl Sizes {
    fn new(observation: usize, low: Vec<f32>, high: Vec<f32>) -> Result<Self, DemonstrationError> {
        let bounded = |(low, high): (&f32, &f32)| low.is_finite() && high.is_finite() && low < high;
        let bounds_fit = low.len() == high.len() && !low.is_empty();
        if observation == 0 || !bounds_fit || !low.iter().zip(&high).all(bounded) {
            return Err(DemonstrationError::Spaces { observation, low, high });
        }
        Ok(Self { observation, action_low: low, action_high: high })
    }

    /// The sizes to read a file with: those that are asked for, otherwise those that it has. (What does not fit is found
    /// when the arrays are looked at.)
    fn settle(
        options: ReadOptions<'_>,
        observation: usize,
        stated: Option<&Bounds>,
    ) -> Result<Self, DemonstrationError> {
        let (low, high) = match options.action_bounds {
            Some((low, high)) => (low.to_vec(), high.to_vec()),
            None => stated.cloned().ok_or(DemonstrationError::Bounds)?,
        };
        Self::new(options.observation.unwrap_or(observation), low, high)
    }

    fn action(&self) -> usize {
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
///
/// An observation is held once, although it is the successor of one step and the start of the next: with N steps in K
/// episodes, `4 · ((N + K) · O + N · A + N)` bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Demonstrations {
    sizes: Sizes,
    episodes: Episodes,
    origin: Origin,
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
        let Spaces { observation, action_low, action_high } = spaces;
        let sizes = Sizes::new(observation, action_low.to_vec(), action_high.to_vec())?;
        let episodes = Episodes::of(recording, &sizes)?;
        Self::checked(sizes, episodes, Origin::default())
    }

    fn checked(sizes: Sizes, episodes: Episodes, origin: Origin) -> Result<Self, DemonstrationError> {
        episodes.check(&sizes)?;
        Ok(Self { sizes, episodes, origin })
    }

    /// Reads a file of any format that is known, which its first bytes tell, or the folder of a dataset of Minari.
    ///
    /// *ingle's flat layout* (safetensors) has one row per step, episode after episode:
    ///
    /// | array | shape | type |
    /// |---|---|---|
    /// | `observation`, `next_observation` | `[N, O]` | F32 or F64 |
    /// | `action` | `[N, A]`, in the environment's own units | F32 or F64 |
    /// | `reward` (may be missing) | `[N]` | F32 or F64 |
    /// | `terminated`, `truncated` | `[N]` | BOOL, or U8 of 0 and 1 |
    ///
    /// An episode ends where one of the flags is true, and one of them is in the last row. No other array may be there.
    /// The metadata may say `action_low` and `action_high` (JSON lists), `environment`, `source` and `licence`.
    ///
    /// *`.npz`* of Python's `imitation` has `obs` `[N + K, O]`, the observations of K trajectories with T + 1 each, `acts`
    /// `[N, A]`, `rews` `[N]` (may be missing), `terminal` `[K]` ([`Terminal`] says why its meaning is asked for) and
    /// `indices` `[K − 1]`, the rows of `acts` at which trajectories 1, 2, ... begin. Entries may be stored or deflated.
    /// `infos` are pickled Python objects, and are not read. The bounds of actions are not in it.
    ///
    /// *Minari* 0.5 in HDF5 has a group for each episode, with one observation more than it has actions. Box spaces of
    /// float32 and float64 are read, stored as they are or packed by gzip or lzf. An episode with neither flag in its last
    /// row is taken for truncated. Bounds and origin are taken from `metadata.json`, which lies beside the file.
    ///
    /// Files are taken in piece by piece: besides the result, a few MB of memory are used.
    ///
    /// # Errors
    /// [`DemonstrationError::File`] with the path and what is wrong: a damaged file, arrays that are missing, unknown, or
    /// of another shape or type, more than [`SIZE_LIMIT`], and whatever [`Self::new`] refuses.
    pub fn read<'a>(path: &Path, options: impl Into<ReadOptions<'a>>) -> Result<Self, DemonstrationError> {
        Self::open(path, options.into()).map_err(|error| error.at(path))
    }

    fn open(path: &Path, options: ReadOptions<'_>) -> Result<Self, DemonstrationError> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return minari::read_directory(path, options);
        }
        if !metadata.is_file() {
            return Err(DemonstrationError::Format("it is neither a file nor a folder".into()));
        }
        file::check_size("the file", metadata.len())?;
        let mut input = fs::File::open(path)?;
        match Format::of(&mut input)? {
            Format::Zip => npz::read(input, options),
            Format::Hdf5 => minari::read_file(path, options),
            Format::Safetensors => tensors::read(&mut input, metadata.len(), options),
        }
    }

    /// Reads the bytes of a file as [`Self::read`] does.
    ///
    /// # Errors
    /// As [`Self::read`], without a path.
    pub fn from_bytes<'a>(
        bytes: &[u8],
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<Self, DemonstrationError> {
        let options = options.into();
        file::check_size("the file", bytes.len() as u64)?;
        let mut input = Cursor::new(bytes);
        match Format::of(&mut input)? {
            Format::Zip => npz::read(input, options),
            Format::Hdf5 => minari::read_bytes(bytes, options),
            Format::Safetensors => tensors::read(&mut input, bytes.len() as u64, options),
        }
    }

    /// The same steps in the flat layout that [`Self::read`] reads. Equal demonstrations give equal bytes.
    ///
    /// # Errors
    /// [`DemonstrationError::Format`] if the format cannot hold them.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, DemonstrationError> {
        tensors::write(self)
    }

    /// The number of steps in all trajectories, ≥ 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a step")]
    pub fn len(&self) -> usize {
        self.episodes.len()
    }

    /// What the observations and actions are.
    pub fn spaces(&self) -> Spaces<'_> {
        let Sizes { observation, action_low, action_high } = &self.sizes;
        Spaces { observation: *observation, action_low, action_high }
    }

    /// Elements of an observation, O.
    pub fn observation_size(&self) -> usize {
        self.sizes.observation
    }

    /// Elements of an action, A.
    pub fn action_size(&self) -> usize {
        self.sizes.action()
    }

    /// Where they come from, as far as is known.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The same episodes with another origin.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        Self { origin, ..self }
    }

    /// Whether rewards were recorded.
    pub fn has_rewards(&self) -> bool {
        self.episodes.reward.is_some()
    }

    /// The trajectories, in the order in which they were recorded.
    pub fn trajectories(&self) -> impl ExactSizeIterator<Item = Trajectory<'_>> {
        let (o, a, episodes) = (self.sizes.observation, self.sizes.action(), &self.episodes);
        episodes.ends.iter().enumerate().map(move |(index, &end)| {
            let begin = episodes.begin(index);
            let observations = &episodes.observation[(begin + index) * o..(end + index + 1) * o];
            Trajectory {
                observation: &observations[..(end - begin) * o],
                action: &episodes.action[begin * a..end * a],
                reward: episodes.reward.as_ref().map(|rewards| &rewards[begin..end]),
                next_observation: &observations[o..],
                terminated: episodes.terminated[index],
                truncated: episodes.truncated[index],
                len: end - begin,
            }
        })
    }

    /// All actions `[N, A]` in the range of policies, `[-1, 1]`: affine, the bounds exactly at −1 and 1.
    pub fn canonical_actions(&self) -> Vec<f32> {
        self.canonical(&self.episodes.action)
    }

    fn canonical(&self, actions: &[f32]) -> Vec<f32> {
        let bounds = self.sizes.action_low.iter().zip(&self.sizes.action_high).cycle();
        let canonical = |(&value, (&low, &high)): (&f32, (&f32, &f32))| {
            // In f64: a difference of two f32 bounds can overflow f32.
            let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
            (((value - low) - (high - value)) / (high - low)) as f32
        };
        actions.iter().zip(bounds).map(canonical).collect()
    }

    /// Mean and standard deviation of each element of the steps' observations (of all steps, not of a sample of them).
    pub fn observation_moments(&self) -> (Vec<f64>, Vec<f64>) {
        let (o, count) = (self.sizes.observation, self.len() as f64);
        let sum = |term: &dyn Fn(usize, f64) -> f64| {
            let mut sums = vec![0.0; o];
            for trajectory in self.trajectories() {
                for observation in trajectory.observation.chunks_exact(o) {
                    for (element, (sum, &value)) in sums.iter_mut().zip(observation).enumerate() {
                        *sum += term(element, value.into());
                    }
                }
            }
            sums
        };
        let mean: Vec<f64> = sum(&|_, value| value).iter().map(|sum| sum / count).collect();
        let squares = sum(&|element, value| (value - mean[element]).powi(2));
        (mean, squares.iter().map(|sum| (sum / count).sqrt()).collect())
    }

    /// SHA-256 of all steps, in hexadecimal: equal for equal steps, whatever file, format or origin they are from.
    pub fn sha256(&self) -> String {
        let Episodes { observation, action, reward, ends, terminated, truncated } = &self.episodes;
        let mut hash = Sha256::new();
        let sizes = [self.observation_size(), self.action_size(), ends.len(), usize::from(reward.is_some())];
        for number in sizes.iter().chain(ends) {
            hash.update((*number as u64).to_le_bytes());
        }
        for (&terminated, &truncated) in terminated.iter().zip(truncated) {
            hash.update([u8::from(terminated), u8::from(truncated)]);
        }
        let mut piece = Vec::new();
        for values in [observation, action].into_iter().chain(reward) {
            for values in values.chunks(1 << 14) {
                piece.clear();
                piece.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                hash.update(&piece);
            }
        }
        format!("{:x}", hash.finalize())
    }
}

/// The formats that are read.
enum Format {
    Safetensors,
    Zip,
    Hdf5,
}

impl Format {
    /// The format of a file, by its first bytes.
    fn of(input: &mut (impl Read + Seek)) -> Result<Self, DemonstrationError> {
        let mut start = Vec::new();
        input.by_ref().take(8).read_to_end(&mut start)?;
        input.rewind()?;
        Ok(match start.as_slice() {
            b"\x89HDF\r\n\x1a\n" => Self::Hdf5,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            _ => Self::Safetensors,
        })
    }
}

impl Trajectory<'_> {
    /// The number of steps, ≥ 1.
    #[expect(clippy::len_without_is_empty, reason = "there is always a step")]
    pub fn len(&self) -> usize {
        self.len
    }
}
