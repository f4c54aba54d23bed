//! Environments with continuous actions: what a learner acts in.
//!
//! | | |
//! |---|---|
//! | [`Environment`] | one environment: `reset`, `step`, and optionally `save` and `restore` |
//! | [`VectorEnvironment`] | N of them, stepped together; what a training loop talks to |
//! | [`SyncVector`] | the vector that steps its environments one after another, in the caller's thread |
//! | [`TimeLimit`] | truncates an episode after a number of steps |
//! | [`Pendulum`], [`MountainCarContinuous`] | native environments, equal to Gymnasium's |
//! | [`LinearQuadratic`] | native tasks whose optimum is known |
//! | [`Mujoco`] | Gymnasium's `MuJoCo` environments, on the native library |
//! | [`GymnasiumVector`] | any environment of the user's Gymnasium, in child processes |
//! | [`make`], [`make_vector`], [`names`], [`EnvironmentOptions`] | environments by name |
//!
//! # Example
//!
//! Two pendulums, pushed at random for one episode each:
//!
//! ```
//! use ingle_envs::rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
//! use ingle_envs::{VectorEnvironment, make_vector};
//!
//! let mut environments = make_vector("Pendulum-v1", 2)?;
//! let mut random = ChaCha8Rng::seed_from_u64(1);
//! let mut canonical = [0.0; 2]; // what a policy emits: one action in [-1, 1] per environment
//! let mut actions = [0.0; 2]; // the same actions in the environment's own box, [-2, 2]
//!
//! let mut observation = environments.reset(7)?.to_vec(); // [N, O] = 2 × 3 numbers
//! let mut returns = Vec::new();
//! while returns.len() < 2 {
//!     canonical.fill_with(|| random.random_range(-1.0..=1.0));
//!     environments.action_space().from_canonical(&canonical, &mut actions)?;
//!     let step = environments.step(&actions)?;
//!     // Into the replay: observation, canonical, step.reward, step.next_observation, step.terminated.
//!     observation.copy_from_slice(&step.observation);
//!     returns.extend(step.episodes.iter().map(|episode| episode.episode_return));
//! }
//! assert!(returns.iter().all(|episode_return| (-2000.0..=0.0).contains(episode_return)));
//! # Ok::<(), ingle_envs::EnvironmentError>(())
//! ```
//!
//! The book has them all with their sources (`docs/environments.md` in the repository), and a program with an environment
//! of its own (`docs/own-environment.md`).
//!
//! # Randomness
//!
//! There is no hidden random generator. A [`SyncVector`] has one `ChaCha8` stream per environment (one key
//! from the seed, the environment's index as the stream number) and lends it to each call, so that an episode
//! depends on the seed and the environment's index and on nothing else, and [`VectorState`] can bring every
//! stream back.

mod environment;
mod error;
mod gymnasium;
mod linear_quadratic;
mod mountain_car_continuous;
mod mujoco;
mod pendulum;
mod python;
mod registry;
mod space;
mod sync_vector;
mod time_limit;
mod vector;

pub use environment::{Environment, Step};
pub use error::EnvironmentError;
pub use gymnasium::GymnasiumVector;
pub use linear_quadratic::{LinearQuadratic, LinearQuadraticOptimum};
pub use mountain_car_continuous::MountainCarContinuous;
pub use mujoco::Mujoco;
pub use pendulum::Pendulum;
/// The version of `rand` whose [`ChaCha8Rng`](rand::rngs::ChaCha8Rng) the [`Environment`] trait speaks.
pub use rand;
pub use registry::{EnvironmentOptions, make, make_vector, names};
pub use space::BoxSpace;
pub use sync_vector::SyncVector;
pub use time_limit::TimeLimit;
pub use vector::{Episode, EpisodeState, VectorEnvironment, VectorState, VectorStep};
