//! Graph replay: an update captured once as a program of the device, and replayed with other inputs.
//!
//! An update of small networks is dozens of small kernels, and on a GPU issuing them takes longer than running them.
//! [`GraphLearner`] is a [`CoreLearner`](crate::CoreLearner) that captures the whole update (a CUDA graph, or a list of
//! recorded dispatches on wgpu), and from then on hands the device one program instead of many kernels. It works for every core and
//! every nest that says what [`decisions`](crate::LearnerCore::decisions) its host makes.
//!
//! What changes from update to update is an input of the program, refreshed in place before each replay: the sample, and
//! the noise, which goes on being drawn from the state's own streams on the host. The state stays in the memory that it
//! was captured in. What the host decides (delayed actor and target updates) makes programs of their own, captured when
//! they first come up. Counters are moved by the host, as an eager update would.
//!
//! While an update is captured, other threads of the process must leave the device alone: what they ask of it may be
//! refused then.
//!
//! A program is used only if it was seen to do what the eager update does: after capturing, two replays with
//! different samples and different noise are compared with two eager updates from the same state. Whatever is in the way (a device
//! without graphs, a rule that reads a tensor, a host scalar that changes) leads back to eager updates, with the reason:
//! [`Eager`].
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use ingle_core::{Eager, GraphLearner, GraphMode, Learner, Transitions, sac::SacConfig};
//!
//! let device = Device::flex();
//! let sac = SacConfig { hidden: vec![16], ..SacConfig::default() }.init(3, 1)?;
//! let mut learner = GraphLearner::new(sac, (), /* seed */ 0, &device, GraphMode::Auto)?;
//! for _ in 0..3 {
//!     learner.step_with(Transitions {
//!         observation: Tensor::zeros([1, 2, 3], &device),
//!         action: Tensor::zeros([1, 2, 1], &device),
//!         reward: Tensor::ones([1, 2], &device),
//!         discount: Tensor::full([1, 2], 0.99, &device),
//!         next_observation: Tensor::zeros([1, 2, 3], &device),
//!         importance_weight: None,
//!         keys: None,
//!     })?;
//! }
//! // A CPU has no graphs: the updates were eager ones, and the learner says why.
//! assert_eq!(learner.eager(), Some(&Eager::NoGraphs));
//! # Ok::<(), ingle_core::Error>(())
//! ```

mod learner;
mod program;

use serde::{Deserialize, Serialize};

pub use learner::GraphLearner;

/// Whether updates are captured and replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GraphMode {
    /// Never.
    #[default]
    Off,
    /// Where it is possible.
    Auto,
    /// Always; where it is not possible, an update is refused with [`Error::Graph`](crate::Error::Graph).
    On,
}

/// Why an update is an eager one and no replay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Eager {
    /// Nobody asked for graphs.
    #[error("they were not asked for")]
    Off,
    /// The device has none: flex and ndarray.
    #[error("the device has no graphs")]
    NoGraphs,
    /// A core or a processor does not say what its host decides.
    #[error("a layer of the learner does not state its `decisions`")]
    Undeclared,
    /// A program is captured when an update of its kind comes up for the second time: this was the first of these
    /// decisions and shapes of the sample.
    #[error("an update with these decisions and shapes came up for the first time")]
    First,
    /// Programs for too many kinds of updates would be needed.
    #[error(
        "more than {0} programs would be needed: the samples' shapes keep changing, or the host's decisions"
    )]
    TooMany(usize),
    /// The device refused the capture: the update reads a tensor, waits, or makes tensors of numbers on the host.
    #[error("the device did not capture the update: it reads from the device or uploads to it")]
    Refused,
    /// Replays do not do what eager updates do.
    #[error(
        "a replay gives another {item} than an eager update: something that changes is a number on the host"
    )]
    Differs {
        /// The first item of the state that came out otherwise.
        item: String,
    },
}
