//! Handing a trained policy from one core's state to another's: behaviour cloning, then SAC or TD3.
//!
//! ```
//! use burn::tensor::Device;
//! use ingle_core::bc::{BcConfig, BcLoss};
//! use ingle_core::pretraining::hand_over;
//! use ingle_core::{LearnerCore, sac::SacConfig};
//!
//! let device = Device::flex();
//! let bc = BcConfig { loss: BcLoss::LogLikelihood, ..BcConfig::default() }.init(3, 1)?;
//! let cloned = bc.init(0, &device)?; // ... step it on demonstrations
//! let sac = SacConfig::default().init(3, 1)?;
//! let mut state = sac.init(0, &device)?;
//! hand_over(&bc, &cloned, &sac, &mut state)?; // SAC's policy now is the cloned one
//! # Ok::<(), ingle_core::Error>(())
//! ```

use burn::tensor::Tensor;

use crate::bc::Bc;
use crate::learner::Act;
use crate::network::{Actor, Critic, Layout};
use crate::optimiser::Trainable;
use crate::sac::Sac;
use crate::td3::Td3;
use crate::{Error, Result};

/// A core whose policy is one actor network in its state.
///
/// Nests do not forward it, because a processor may change what the policy sees: hand over to the core inside, as in
/// `hand_over(&bc, &cloned, &nest.direct, &mut state.direct)`.
pub trait ActorCore: Act {
    /// Names, shapes and places of the actor's parameters.
    fn actor_layout(&self) -> &Layout;
    /// The actor's parameters `[P, N]`.
    fn actor_parameters<'a>(&self, state: &'a Self::State) -> &'a Tensor<2>;
    /// Puts in other parameters `[P, N]`, for targets too, with an optimiser that has not moved.
    fn replace_actor(&self, state: &mut Self::State, parameters: Tensor<2>);
}

/// Copies the actor's parameters of `trained` into `state`, whose policy then acts as the trained one. The rest of
/// `state` (critics, temperature, streams, counters) stays; the actor's optimiser starts afresh.
///
/// One trained policy may go to a whole population. Devices and precisions may differ: the parameters pass through the
/// host, so this waits for the device.
///
/// # Errors
/// [`Error::Record`] with everything that differs in sizes or layout (a squashed Gaussian has two outputs per action
/// element, a deterministic policy one), [`Error::Execution`] if a device failed; `state` is then as it was.
pub fn hand_over<F: ActorCore, T: ActorCore>(
    from: &F,
    trained: &F::State,
    to: &T,
    state: &mut T::State,
) -> Result<()> {
    let parameters = from.actor_parameters(trained);
    let (members, population) = (parameters.dims()[0], to.population());
    let mut differences = Vec::new();
    let mut compare = |what: &str, from: String, to: String| {
        if from != to {
            differences.push(format!("{what}: the trained policy has {from}, this one {to}"));
        }
    };
    let sizes = [
        ("observation elements", from.observation_size(), to.observation_size()),
        ("action elements", from.action_size(), to.action_size()),
        ("members", members, if members == 1 { 1 } else { population }),
    ];
    for (what, from, to) in sizes {
        compare(what, from.to_string(), to.to_string());
    }
    compare("actor", shapes(from.actor_layout()), shapes(to.actor_layout()));
    if !differences.is_empty() {
        return Err(Error::Record(differences.join("; ")));
    }
    let data = parameters.try_to_data().map_err(|error| Error::Execution(error.to_string()))?;
    let own = to.actor_parameters(state);
    let parameters = Tensor::<2>::from_data(data, (&own.device(), own.dtype()));
    let parameters = if members == population { parameters } else { parameters.repeat_dim(0, population) };
    to.replace_actor(state, parameters);
    Ok(())
}

/// A layout in words.
fn shapes(layout: &Layout) -> String {
    layout.iter().map(|(name, shape, _)| format!("{name} {shape:?}")).collect::<Vec<_>>().join(", ")
}

/// Other parameters with the same learning rate.
fn afresh(actor: &mut Trainable, parameters: Tensor<2>) {
    *actor = Trainable::new(parameters, actor.learning_rate.clone());
}

impl<A: Actor> ActorCore for Bc<A> {
    fn actor_layout(&self) -> &Layout {
        self.actor().layout()
    }

    fn actor_parameters<'a>(&self, state: &'a Self::State) -> &'a Tensor<2> {
        &state.actor.parameters
    }

    fn replace_actor(&self, state: &mut Self::State, parameters: Tensor<2>) {
        afresh(&mut state.actor, parameters);
    }
}

impl<A: Actor, C: Critic> ActorCore for Sac<A, C> {
    fn actor_layout(&self) -> &Layout {
        self.actor().layout()
    }

    fn actor_parameters<'a>(&self, state: &'a Self::State) -> &'a Tensor<2> {
        &state.actor.parameters
    }

    fn replace_actor(&self, state: &mut Self::State, parameters: Tensor<2>) {
        afresh(&mut state.actor, parameters);
    }
}

impl<A: Actor, C: Critic> ActorCore for Td3<A, C> {
    fn actor_layout(&self) -> &Layout {
        self.actor().layout()
    }

    fn actor_parameters<'a>(&self, state: &'a Self::State) -> &'a Tensor<2> {
        &state.actor.parameters
    }

    fn replace_actor(&self, state: &mut Self::State, parameters: Tensor<2>) {
        state.target_actor = parameters.clone();
        afresh(&mut state.actor, parameters);
    }
}
