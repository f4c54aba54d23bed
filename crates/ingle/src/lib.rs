//! Reinforcement learning on [burn](https://burn.dev): learning rules that are given their samples.
//!
//! # The idea
//!
//! In most frameworks a learner owns its data iterator and `step()` takes no argument, so nobody outside can touch a
//! sample. Here a learning rule is a *stateless core* that is given its sample,
//!
//! ```text
//! LearnerCore::step(&self, &mut State, Sample) -> StepOutput
//! ```
//!
//! and a learner is core + state + sampler. Another reward (imitation, curiosity) is a [`SampleProcessor`] nested over
//! any core: it learns on the sample, rewrites it, and hands it on.
//!
//! # Step a core with your own sample
//!
//! ```
//! use ingle::burn::tensor::Tensor;
//! use ingle::{LearnerCore, State, Transitions, sac::SacConfig};
//!
//! let device = ingle::device::open("flex")?;
//! let sac = SacConfig { hidden: vec![64, 64], ..SacConfig::default() }.init(3, 1)?;
//! let mut state = sac.init(/* seed */ 0, &device)?;
//!
//! // Where the sample comes from is your business. Shapes are [P, B, ...]: P learners, B rows.
//! let sample = || Transitions {
//!     observation: Tensor::zeros([1, 32, 3], &device),
//!     action: Tensor::zeros([1, 32, 1], &device),
//!     reward: Tensor::ones([1, 32], &device),
//!     discount: Tensor::full([1, 32], 0.99, &device),
//!     next_observation: Tensor::zeros([1, 32, 3], &device),
//!     importance_weight: None,
//!     keys: None,
//! };
//! let saved = state.save()?; // plain data: parameters, moments, random streams
//! sac.step(&mut state, sample())?;
//! state.load(&saved)?; // back to where it was, bit for bit
//! let output = sac.step(&mut state, sample())?;
//! println!("{:?}", output.metrics.read()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Train
//!
//! [`Trainer`] plays episodes, stores transitions and steps the learner in an exact ratio:
//!
//! ```
//! use ingle::envs::{VectorEnvironment, make_vector};
//! use ingle::replay::{ReplayConfig, UniformReplay};
//! use ingle::{CoreLearner, TrainConfig, Trainer, sac::SacConfig};
//!
//! let (seed, device) = (0, ingle::device::open("flex")?);
//! let sac = SacConfig { hidden: vec![16, 16], ..SacConfig::default() }.init(3, 1)?;
//! let replay = UniformReplay::new(&ReplayConfig { batch: 16, ..ReplayConfig::new(3, 1) }, seed, &device)?;
//! let learner = CoreLearner::new(sac, replay, seed, &device)?;
//!
//! let pendulum = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
//!     Ok(vec![Box::new(make_vector("pendulum", count)?)]) // one vector for each member of the population
//! };
//! let config = TrainConfig { steps: 60, warmup_steps: 40, evaluation_episodes: 1, ..TrainConfig::default() };
//! let summary = Trainer::new(learner, pendulum(1)?, pendulum(1)?, config, seed)?.run(&mut [])?;
//! assert_eq!(summary.updates, 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The `ingle` command does it from the shell.
//!
//! # Where to look
//!
//! | for | look at |
//! |---|---|
//! | a learning rule | [`sac`], [`td3`], [`bc`]; your own: [`LearnerCore`] |
//! | another reward, normalisation | [`nested`], put over a core by [`Nested`]; your own: [`SampleProcessor`] |
//! | a learner whose state is elsewhere | [`Learner`], [`NestedLearner`], [`train::process`] |
//! | replay, demonstrations, mixtures | [`replay`] |
//! | environments | [`envs`]; your own: [`envs::Environment`] |
//! | networks | [`network`]; your own burn modules: [`network::ActorModule`], [`network::CriticModule`] |
//! | the training loop, runs on disk | [`train`] |
//! | saving, populations | [`State`], [`Checkpoint`] |
//!
//! The book, in the repository's folder `docs/` (`just book` builds it), has a page for each of these, every algorithm with
//! its formulas, defaults and their sources, and the way here from Stable-Baselines3, `CleanRL` and Acme; `examples/` has
//! whole programs.
//!
//! # Devices and cargo features
//!
//! | feature | device names | what it is |
//! |---|---|---|
//! | `flex` (default) | `flex` | burn's pure Rust CPU backend |
//! | `ndarray` | `ndarray` | burn's older CPU backend (deprecated in burn 0.22) |
//! | `wgpu` | `wgpu`, `wgpu:1`, ... | any GPU through Vulkan, Metal or DirectX, with kernel fusion |
//! | `cuda` | `cuda`, `cuda:1`, ... | NVIDIA GPUs, with kernel fusion |
//! | `autotune` | | tunes matrix products on the first use of each shape |
//!
//! Algorithms know none of them: a device is chosen at run time by [`device::open`].

#![forbid(unsafe_code)]

pub mod device;
pub mod kernels;

pub use burn;
pub use ingle_core::*;
pub use ingle_envs as envs;
pub use ingle_nested as nested;
pub use ingle_replay as replay;
pub use ingle_train as train;
pub use ingle_train::{SavedPolicy, TrainConfig, Trainer};
