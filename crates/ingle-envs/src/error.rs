use thiserror::Error;

/// Why an environment, a vector of them, or a space refused.
///
/// A single environment does not know its index: the vector that holds it adds where and when, as
/// [`At`](Self::At).
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// What happened to one environment of a vector.
    #[error("environment {environment}, {}: {error}", moment(*step))]
    At {
        /// The environment's index in its vector.
        environment: usize,
        /// The vector's step that failed, counted from 1 since its reset; 0 is the reset itself.
        step: u64,
        /// What happened.
        error: Box<EnvironmentError>,
    },
    /// A slice does not have the length that its space asks for.
    #[error("`{field}` has {actual} values, expected {expected}")]
    WrongLength {
        /// Which slice: `action`, `observation`, ...
        field: &'static str,
        /// The length asked for.
        expected: usize,
        /// The length given.
        actual: usize,
    },
    /// A number is NaN or infinite, and no environment or learner should see it.
    #[error("`{field}[{index}]` is {value}")]
    NotFinite {
        /// What holds the number: `action`, `observation`, `next_observation`, `reward`, ...
        field: &'static str,
        /// The number's index in it.
        index: usize,
        /// The number.
        value: f64,
    },
    /// A step before the first reset, or after an error that left the environment between two states.
    #[error("reset the environment before its first step, and after an error")]
    NotReset,
    /// A space's lower and upper bounds are not equally many, or there are none.
    #[error("a space needs as many lower as upper bounds and at least one: got {low} and {high}")]
    BoundLengths {
        /// How many lower bounds there are.
        low: usize,
        /// How many upper bounds there are.
        high: usize,
    },
    /// A lower bound of a space is not below its upper bound (or one of them is NaN).
    #[error("element {index} of the space: the lower bound {low} is not below the upper bound {high}")]
    Bounds {
        /// The element's index.
        index: usize,
        /// Its lower bound.
        low: f32,
        /// Its upper bound.
        high: f32,
    },
    /// A map to or from `[-1, 1]` needs finite bounds.
    #[error("element {index} of the space is unbounded, [{low}, {high}]: it has no map to or from [-1, 1]")]
    Unbounded {
        /// The element's index.
        index: usize,
        /// Its lower bound.
        low: f32,
        /// Its upper bound.
        high: f32,
    },
    /// A time limit of zero steps.
    #[error("a time limit needs at least one step")]
    NoTime,
    /// A vector of no environments.
    #[error("a vector needs at least one environment")]
    NoEnvironments,
    /// The environments of a vector have different spaces.
    #[error("environment {environment} has another {field} than environment 0")]
    SpacesDiffer {
        /// The first environment that differs.
        environment: usize,
        /// `observation_space` or `action_space`.
        field: &'static str,
    },
    /// No environment has this name.
    #[error("there is no environment `{name}`{}; there is: {known}", did_you_mean(suggestion.as_deref()))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The name that it resembles most, if it resembles one.
        suggestion: Option<String>,
        /// The names there are.
        known: String,
    },
    /// An environment cannot be opened: something that it needs is not there.
    #[error("`{name}` cannot be opened: {reason}; {help}")]
    Unavailable {
        /// The name of the environment.
        name: String,
        /// What is missing, or what went wrong.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// A saved state does not fit the environment that is to be restored from it.
    #[error("the saved state does not fit: {reason}")]
    StateMismatch {
        /// What does not fit, with both values.
        reason: String,
    },
    /// The environment has no [`restore`](crate::Environment::restore).
    #[error("this environment cannot be restored from a saved state")]
    CannotRestore,
    /// The environment itself failed: its simulation, or code that panicked. Also for environments of your own.
    #[error("the environment failed: {reason}")]
    Failed {
        /// What happened.
        reason: String,
    },
    /// A process or thread that environments of a vector live in failed.
    #[error("worker {worker} failed: {reason}")]
    Worker {
        /// The worker's index.
        worker: usize,
        /// What happened, with the worker's own last words where there are any.
        reason: String,
    },
}

impl EnvironmentError {
    /// This error, with the index of the environment and the step (0: the reset) that it happened in.
    #[must_use]
    pub fn at(self, environment: usize, step: u64) -> Self {
        Self::At { environment, step, error: Box::new(self) }
    }

    pub(crate) fn mismatch(reason: impl Into<String>) -> Self {
        Self::StateMismatch { reason: reason.into() }
    }
}

/// Checks that no number is NaN or infinite.
pub(crate) fn check_finite(field: &'static str, values: &[f32]) -> Result<(), EnvironmentError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(index) => Err(EnvironmentError::NotFinite { field, index, value: f64::from(values[index]) }),
    }
}

/// Checks a slice's length.
pub(crate) fn check_length(
    field: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), EnvironmentError> {
    if actual == expected { Ok(()) } else { Err(EnvironmentError::WrongLength { field, expected, actual }) }
}

fn moment(step: u64) -> String {
    if step == 0 { "reset".to_owned() } else { format!("step {step}") }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}
