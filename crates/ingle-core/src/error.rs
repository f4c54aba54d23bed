//! Errors of the learning side: what was wrong, where, and with which values.

use crate::PerMember;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a learner, a core, a sampler or a state refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor of a sample has another shape than the learner works on.
    #[error("{field}: expected shape {expected}, got {actual:?}")]
    Shape {
        /// The field of the sample, as it is named in the code.
        field: &'static str,
        /// The expected shape, in words and numbers.
        expected: String,
        /// The shape that came.
        actual: Vec<usize>,
    },
    /// A tensor of a sample has another element type than the learner's state.
    #[error("{field}: expected elements of type {expected}, got {actual}")]
    Precision {
        /// The field of the sample.
        field: &'static str,
        /// The state's element type.
        expected: String,
        /// The type that came.
        actual: String,
    },
    /// A tensor of a sample lives on another device than the learner's state.
    #[error("{field}: the learner is on {expected}, the sample on {actual}")]
    Device {
        /// The field of the sample.
        field: &'static str,
        /// The state's device.
        expected: String,
        /// The sample's device.
        actual: String,
    },
    /// A number that must be finite is not.
    #[error("{field}, row {row}, element {element}: {value} is not finite")]
    NonFinite {
        /// The field of the sample.
        field: &'static str,
        /// The row in the batch that came.
        row: usize,
        /// The element in that row.
        element: usize,
        /// The number.
        value: f32,
    },
    /// A configuration is out of range; every violation is listed.
    #[error("invalid configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// A sampler has not got what was asked for (yet).
    #[error("cannot sample: {0}")]
    Sample(String),
    /// A record does not fit the state it is loaded into.
    #[error("cannot load the state: {0}")]
    Record(String),
    /// The device could not finish its work (lost, out of memory, ...).
    #[error("the device failed: {0}")]
    Execution(String),
    /// Updates are to be replayed as graphs, and cannot be.
    #[error("updates cannot be replayed as graphs: {0}; set the graph mode to auto or off")]
    Graph(crate::Eager),
    /// A learner whose state lives elsewhere failed.
    #[error("external learner: {0}")]
    External(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The largest width of a layer, and population: larger ones are mistakes, and end in an aborted allocation.
const LARGEST_SIZE: usize = 1 << 16;

/// The most hidden layers.
const MOST_LAYERS: usize = 256;

/// Collects every violation of a configuration, so that all are reported at once.
///
/// ```
/// use ingle_core::{Error, Violations};
/// let mut violations = Violations::default();
/// violations.require(0 > 1, || "batch: must be at least 1, got 0".into());
/// assert!(matches!(violations.finish(), Err(Error::Config(list)) if list.len() == 1));
/// ```
#[derive(Debug, Default)]
pub struct Violations(Vec<String>);

impl Violations {
    /// Notes `message` unless `condition` holds.
    pub fn require(&mut self, condition: bool, message: impl FnOnce() -> String) {
        if !condition {
            self.0.push(message());
        }
    }

    /// Notes what every configuration with a population and hidden layers checks: sizes of at least 1, and no larger than
    /// any machine can compute with.
    pub fn require_sizes(&mut self, population: usize, hidden: &[usize]) {
        self.require_count("population", population);
        self.require_at_most("population", population, LARGEST_SIZE);
        self.require(!hidden.contains(&0), || format!("hidden: widths must be at least 1, got {hidden:?}"));
        let widest = hidden.iter().copied().max().unwrap_or(0);
        self.require(widest <= LARGEST_SIZE, || {
            format!("hidden: widths must be at most {LARGEST_SIZE}, got {widest}")
        });
        self.require(hidden.len() <= MOST_LAYERS, || {
            format!("hidden: must be at most {MOST_LAYERS} layers, got {}", hidden.len())
        });
    }

    /// Notes a count of 0.
    pub fn require_count<T: Copy + Default + PartialEq>(&mut self, name: &str, count: T) {
        self.require(count != T::default(), || format!("{name}: must be at least 1, got 0"));
    }

    /// Notes a number that is not finite or not above 0.
    pub fn require_positive(&mut self, name: &str, value: f64) {
        self.require_each_positive(name, 1, &value.into());
    }

    /// Notes a number of a member that is not finite or not above 0, and another count of them than the population's.
    pub fn require_each_positive(&mut self, name: &str, population: usize, values: &PerMember) {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        self.note(values.violation(name, population, "a finite number above 0", positive));
    }

    /// Notes a size above `most`: one with which a program would only run out of memory.
    pub fn require_at_most(&mut self, name: &str, size: usize, most: usize) {
        self.require(size <= most, || format!("{name}: must be at most {most}, got {size}"));
    }

    /// Notes a violation, if there is one.
    pub fn note(&mut self, violation: Option<String>) {
        self.0.extend(violation);
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// [`Error::Config`] with every violation noted.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Config(self.0)) }
    }
}
