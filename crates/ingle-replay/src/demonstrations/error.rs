//! What can be wrong with demonstrations.

use std::path::{Path, PathBuf};

/// Why demonstrations were refused. Trajectories, rows and elements are counted from 0, rows from the start of their
/// trajectory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemonstrationError {
    /// A file cannot be used.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: Box<DemonstrationError>,
    },
    /// One episode of a dataset cannot be used.
    #[error("{episode}: {problem}")]
    Episode {
        /// Its name.
        episode: String,
        /// What is wrong with it.
        #[source]
        problem: Box<DemonstrationError>,
    },
    /// The operating system does not give the file.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file, or what it says that it unpacks to, is larger than [`SIZE_LIMIT`](super::SIZE_LIMIT).
    #[error("{what} has {bytes} bytes, at most {limit} are read; split the file")]
    TooLarge {
        /// The file or the array in it.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is damaged or of another format.
    #[error("not readable: {0}")]
    Format(String),
    /// An array is not in the file.
    #[error("there is no array `{0}`")]
    Missing(&'static str),
    /// An array that means nothing here, or is misspelt.
    #[error(
        "unknown array `{0}`: the arrays are observation, action, reward, next_observation, terminated, truncated"
    )]
    Unknown(String),
    /// An array has another shape than the environment or the other arrays ask for.
    #[error("{array}: expected {expected}, got {actual:?}")]
    Shape {
        /// The array.
        array: &'static str,
        /// The expected shape, in words and numbers.
        expected: String,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// An array has elements of a type that is not read.
    #[error("{array}: elements of type {actual}, expected {expected}")]
    ElementType {
        /// The array.
        array: &'static str,
        /// The types that are read.
        expected: &'static str,
        /// The type that came, as the file names it.
        actual: String,
    },
    /// An `.npz`, whose flags have two meanings.
    #[error(
        "demonstrations.terminal: say what an .npz file's terminal flags mean: terminated, truncated or \
         {{ time_limit = STEPS }}"
    )]
    Terminal,
    /// Nobody has said the bounds of actions.
    #[error(
        "the file does not say the bounds of its actions: give the environment, or \
         demonstrations.action_low and demonstrations.action_high"
    )]
    Bounds,
    /// There is no step in it.
    #[error("there are no steps")]
    Empty,
    /// The trajectories' first rows in `indices` do not rise, or are not in the file.
    #[error("indices: trajectory {trajectory} begins at row {begin} and ends before row {end} of {rows}")]
    Indices {
        /// The trajectory.
        trajectory: usize,
        /// Its first row.
        begin: usize,
        /// The row after its last one.
        end: usize,
        /// The number of rows.
        rows: usize,
    },
    /// A number is not finite.
    #[error("trajectory {trajectory}, row {row}, {field}, element {element}: {value} is not finite")]
    NonFinite {
        /// The trajectory.
        trajectory: usize,
        /// The row in it.
        row: usize,
        /// The array.
        field: &'static str,
        /// The element in the row.
        element: usize,
        /// The number.
        value: f32,
    },
    /// An action that the environment does not have.
    #[error(
        "trajectory {trajectory}, row {row}, action, element {element}: {value} is outside [{low}, {high}]"
    )]
    OutOfBounds {
        /// The trajectory.
        trajectory: usize,
        /// The row in it.
        row: usize,
        /// The element of the action.
        element: usize,
        /// The number.
        value: f32,
        /// The environment's lower bound.
        low: f32,
        /// The environment's upper bound.
        high: f32,
    },
    /// Inside a trajectory, a successor is not the next row's observation.
    #[error(
        "trajectory {trajectory}, row {row}: its next_observation is not the next row's observation; \
         if the recording breaks off there, mark the row as truncated"
    )]
    Gap {
        /// The trajectory.
        trajectory: usize,
        /// The row in it.
        row: usize,
    },
    /// The last row neither terminated nor was truncated.
    #[error("trajectory {trajectory}, row {row}: the last row; mark it as terminated or truncated")]
    Unended {
        /// The trajectory.
        trajectory: usize,
        /// The row in it.
        row: usize,
    },
    /// What was given as the environment's spaces is none.
    #[error(
        "spaces: observations need at least 1 element, actions at least 1 finite interval; \
         got {observation}, {low:?} and {high:?}"
    )]
    Spaces {
        /// Elements of an observation.
        observation: usize,
        /// The lower bounds.
        low: Vec<f32>,
        /// The upper bounds.
        high: Vec<f32>,
    },
}

impl DemonstrationError {
    /// The same error with the file that it is about.
    pub(super) fn at(self, path: &Path) -> Self {
        if matches!(self, Self::File { .. }) {
            return self;
        }
        Self::File { path: path.to_owned(), problem: Box::new(self) }
    }

    /// The same error with the episode that it is about.
    pub(super) fn of_episode(self, name: &str) -> Self {
        Self::Episode { episode: name.to_owned(), problem: Box::new(self) }
    }
}
