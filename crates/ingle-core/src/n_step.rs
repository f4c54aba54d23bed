//! n-step returns, and why only some cores are given them.
//!
//! An n-step return folds the rewards of n steps into one number. A nest that writes other rewards (RND, imitation)
//! would write one reward where n belong, and the return would be wrong without a word. So folded transitions are a type
//! of their own, [`NStepTransitions`], which is not [`Rewarded`](crate::Rewarded): no reward processor takes them. They
//! go to a [`DirectCore`] alone, inside [`NStep`]:
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use ingle_core::{LearnerCore, NStep, NStepTransitions, Transitions, sac::SacConfig};
//!
//! let device = Device::flex();
//! let core = NStep { direct: SacConfig::default().init(3, 1)? };
//! let mut state = core.init(0, &device)?; // Sac's own
//! // The return of three steps with reward 1 and γ = 0.9; the value of what follows counts 0.9³.
//! let sample = NStepTransitions::new(Transitions {
//!     observation: Tensor::zeros([1, 2, 3], &device),
//!     action: Tensor::zeros([1, 2, 1], &device),
//!     reward: Tensor::full([1, 2], 1.0 + 0.9 + 0.81, &device),
//!     discount: Tensor::full([1, 2], 0.729, &device),
//!     next_observation: Tensor::zeros([1, 2, 3], &device),
//!     importance_weight: None,
//!     keys: None,
//! });
//! core.step(&mut state, sample)?;
//! # Ok::<(), ingle_core::Error>(())
//! ```
//!
//! Neither order of a reward processor and n steps compiles:
//!
//! ```compile_fail,E0277
//! use ingle_core::processor::FromFn;
//! use ingle_core::{CoreLearner, NStep, Nested, Rewarded, Transitions, sac::SacConfig};
//!
//! let negate = FromFn::new("negate", |sample: Transitions| {
//!     let reward = sample.reward.clone().neg();
//!     Ok(sample.with_reward(reward))
//! });
//! let core = NStep { direct: Nested { processor: negate, direct: SacConfig::default().init(3, 1)? } };
//! CoreLearner::new(core, (), 0, &burn::tensor::Device::flex())?; // `Nested<..>` cannot be given n-step returns
//! # Ok::<(), ingle_core::Error>(())
//! ```
//!
//! ```compile_fail,E0277
//! use ingle_core::{NStepTransitions, Rewarded};
//!
//! fn negate<S: Rewarded>(sample: S) -> S {
//!     let reward = sample.transitions().reward.clone().neg();
//!     sample.with_reward(reward)
//! }
//! let _ = negate::<NStepTransitions>; // `NStepTransitions` is not a sample whose rewards can be replaced
//! ```

use burn::tensor::{Device, Tensor};

use crate::learner::{Act, Acting, ExplicitNoise, LearnerCore, LogProbability};
use crate::sample::{Input, Inputs};
use crate::{Result, StepOutput, Transitions};

/// A core that learns from the rewards of its transitions as they are, so that they may be n-step returns.
///
/// Implement it for a core of your own if it puts `reward + discount · V(next_observation)` into its targets and does not
/// otherwise look at rewards. A nest is none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be given n-step returns",
    label = "n-step returns need a core that learns from rewards as they are",
    note = "a processor that writes rewards would write one where n are folded: nest it over a core with one-step transitions",
    note = "`Sac` and `Td3` are direct cores; implement `DirectCore` for one of your own"
)]
pub trait DirectCore: LearnerCore<Sample = Transitions> {}

/// Transitions whose rewards are n-step returns: `Σ_{i<k} (Π_{j<i} d_j) r_i` over the k ≤ n steps of a row, discount
/// `Π_{i<k} d_i`, next observation that after the last of them.
#[derive(Debug, Clone)]
pub struct NStepTransitions(Transitions);

impl NStepTransitions {
    /// Declares that these transitions are folded.
    pub fn new(folded: Transitions) -> Self {
        Self(folded)
    }

    /// The folded transitions. Whoever writes other rewards into them has n-step returns no longer.
    pub fn into_inner(self) -> Transitions {
        self.0
    }
}

impl Inputs for NStepTransitions {
    fn inputs(&mut self) -> Vec<Input<'_>> {
        self.0.inputs()
    }
}

/// A direct core that is given n-step returns. Its state is the core's own.
#[derive(Debug, Clone)]
pub struct NStep<C> {
    /// The core that learns from them.
    pub direct: C,
}

impl<C: DirectCore> LearnerCore for NStep<C> {
    type State = C::State;
    type Sample = NStepTransitions;

    fn init(&self, seed: u64, device: &Device) -> Result<C::State> {
        self.direct.init(seed, device)
    }

    fn step(&self, state: &mut C::State, sample: NStepTransitions) -> Result<StepOutput> {
        self.direct.step(state, sample.0)
    }

    fn step_many(&self, state: &mut C::State, samples: Vec<NStepTransitions>) -> Result<Vec<StepOutput>> {
        self.direct.step_many(state, samples.into_iter().map(|sample| sample.0).collect())
    }

    fn decisions(&self, state: &C::State) -> Option<Vec<bool>> {
        self.direct.decisions(state)
    }
}

impl<C: DirectCore + ExplicitNoise> ExplicitNoise for NStep<C> {
    type Noise = C::Noise;

    fn step_with_noise(
        &self,
        state: &mut C::State,
        sample: NStepTransitions,
        noise: C::Noise,
    ) -> Result<StepOutput> {
        self.direct.step_with_noise(state, sample.0, noise)
    }
}

impl<C: DirectCore + Act> Act for NStep<C> {
    fn observation_size(&self) -> usize {
        self.direct.observation_size()
    }

    fn action_size(&self) -> usize {
        self.direct.action_size()
    }

    fn population(&self) -> usize {
        self.direct.population()
    }

    fn act(&self, state: &C::State, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        self.direct.act(state, observation, acting)
    }
}

impl<C: DirectCore + LogProbability> LogProbability for NStep<C> {
    fn log_probability(
        &self,
        state: &C::State,
        observation: Tensor<3>,
        action: Tensor<3>,
    ) -> Result<Tensor<2>> {
        self.direct.log_probability(state, observation, action)
    }
}
