//! How much arithmetic an update takes: floating-point operations of its matrix products, by the layers' sizes.

use std::iter::once;

use ingle::bc::BcLoss;

use crate::config::RunConfig;
use crate::learner::{Sizes, Stack};

/// The operations of one update of one member on `batch` rows: of the direct core by itself, and of the whole stack.
/// `None` if the count of a layer is not known.
pub(crate) fn of_update(config: &RunConfig, stack: &Stack, sizes: Sizes, batch: usize) -> Option<(f64, f64)> {
    let (mut rows, mut total) = (batch, 0.0);
    for name in &stack.processors {
        total += of_layer(config, stack.core, name, sizes, rows, batch)?;
        // What a layer adds to the rows, the layers below learn from too.
        rows += match *name {
            "sqil" => batch,
            "ail" if config.layers.ail.mix_demonstrations => batch,
            _ => 0,
        };
    }
    Some((of_core(config, stack.core, sizes, batch)?, total + of_core(config, stack.core, sizes, rows)?))
}

fn of_core(config: &RunConfig, name: &str, sizes: Sizes, batch: usize) -> Option<f64> {
    let Sizes { observation, action } = sizes;
    let networks = |hidden: &[usize], output, critics: usize| {
        let critic = Network::new(observation + action, hidden, 1, batch * critics);
        (Network::new(observation, hidden, output, batch), critic)
    };
    match name {
        "bc" => {
            let outputs = match config.layers.bc.loss {
                BcLoss::MeanSquaredError => action,
                BcLoss::LogLikelihood => 2 * action,
            };
            let (actor, _) = networks(&config.layers.bc.hidden, outputs, 1);
            Some(actor.forward() + actor.gradient())
        }
        "sac" => {
            let (actor, critic) = networks(&config.layers.sac.hidden, 2 * action, config.layers.sac.critics);
            // Both policies, targets, critics; then the actor's gradient through the updated critics.
            let target = actor.forward() + critic.forward();
            let critics = critic.forward() + critic.gradient();
            let through = critic.forward() + critic.input_gradient(action);
            Some(target + critics + actor.forward() + actor.gradient() + through)
        }
        "td3" => {
            let (actor, critic) = networks(&config.layers.td3.hidden, action, config.layers.td3.critics);
            let target = actor.forward() + critic.forward();
            let critics = critic.forward() + critic.gradient();
            let through = critic.forward() + critic.input_gradient(action);
            let policy = actor.forward() + actor.gradient() + through;
            Some(target + critics + policy / config.layers.td3.policy_delay as f64)
        }
        _ => None,
    }
}

/// A layer over `core`, given so many own rows and demonstrations.
fn of_layer(
    config: &RunConfig,
    core: &str,
    name: &str,
    sizes: Sizes,
    own: usize,
    demonstrations: usize,
) -> Option<f64> {
    let Sizes { observation, action } = sizes;
    match name {
        "normalise" | "scale" | "standardise" | "sqil" => Some(0.0),
        "rnd" => {
            let rnd = &config.layers.rnd;
            let network = Network::new(observation, &rnd.hidden, rnd.features, own);
            // The target's features, the predictor's update, the novelty.
            Some(network.forward() + network.forward() + network.gradient() + network.forward())
        }
        "ail" => {
            let ail = &config.layers.ail;
            let input = observation + action + if ail.use_next_observation { observation } else { 0 };
            let network = |rows| Network::new(input, &ail.hidden, 1, rows);
            let (both, between) = (network(own + demonstrations), network(own));
            // The discriminator's update on both batches and the penalty between them; the rewards.
            let penalty =
                if ail.gradient_penalty > 0.0 { between.forward() + between.slope_gradient() } else { 0.0 };
            let updates = ail.updates as f64 / ail.update_interval as f64;
            let rewarded = if ail.mix_demonstrations { both.forward() } else { network(own).forward() };
            Some(updates * (both.forward() + both.gradient() + penalty) + rewarded)
        }
        "airl" => {
            let airl = &config.layers.airl;
            let input = if airl.state_only { observation } else { observation + action };
            let reward = |rows| Network::new(input, &airl.hidden, 1, rows);
            let shaping = |rows| Network::new(observation, &airl.hidden, 1, 2 * rows);
            let both = own + demonstrations;
            // The policy's density, the update of reward and shaping, the rewards.
            let density = match core {
                "sac" => Network::new(observation, &config.layers.sac.hidden, 2 * action, both).forward(),
                _ => return None,
            };
            let updates = reward(both).forward() + reward(both).gradient();
            let shaped = shaping(both).forward() + shaping(both).gradient();
            Some(density + updates + shaped + reward(own).forward() + shaping(own).forward())
        }
        _ => None,
    }
}

/// The products of a multi-layer perceptron on some rows.
struct Network {
    rows: f64,
    /// Weights of each layer.
    weights: Vec<f64>,
    /// Width of the first hidden layer.
    first: f64,
}

impl Network {
    fn new(input: usize, hidden: &[usize], output: usize, rows: usize) -> Self {
        let widths: Vec<f64> =
            once(input).chain(hidden.iter().copied()).chain(once(output)).map(|width| width as f64).collect();
        Self {
            rows: rows as f64,
            first: widths[1],
            weights: widths.windows(2).map(|pair| pair[0] * pair[1]).collect(),
        }
    }

    /// A multiplication and an addition for each row and weight.
    fn products(&self, weights: f64) -> f64 {
        2.0 * self.rows * weights
    }

    fn all(&self) -> f64 {
        self.weights.iter().sum()
    }

    fn above_first(&self) -> f64 {
        self.weights[1..].iter().sum()
    }

    fn forward(&self) -> f64 {
        self.products(self.all())
    }

    /// The weights' gradients, and the signal's down to the first layer's output.
    fn gradient(&self) -> f64 {
        self.products(self.all() + self.above_first())
    }

    /// The signal's gradient down to `columns` elements of the input.
    fn input_gradient(&self, columns: usize) -> f64 {
        self.products(self.above_first() + columns as f64 * self.first)
    }

    /// The input's whole gradient, and the weights' gradient of a loss on it.
    fn slope_gradient(&self) -> f64 {
        let below_last = self.all() - self.weights[self.weights.len() - 1];
        self.products(self.all() + self.all() + below_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counted by hand: batch 10, observations of 3, actions of 2, hidden layers of 4, one critic.
    #[test]
    fn operations_are_those_counted_by_hand() {
        let mut config = RunConfig::default();
        config.layers.sac.hidden = vec![4];
        config.layers.sac.critics = 1;
        config.layers.rnd.hidden = vec![4];
        config.layers.rnd.features = 5;
        config.layers.ail.hidden = vec![4];
        let sizes = Sizes { observation: 3, action: 2 };
        let count = |config: &RunConfig, learner| {
            of_update(config, &Stack::parse(learner).unwrap(), sizes, 10).unwrap()
        };
        let extra = |config: &RunConfig, learner| {
            let (core, all) = count(config, learner);
            all - core
        };
        // Actor 3·4 + 4·4 = 28 weights, critic 5·4 + 4·1 = 24. Forward: 2 · 28 and 3 · 24. Gradients: 28 + 16 of the
        // actor's, 24 + 4 of the critic's, 4 + 2·4 through it.
        let sac = 20.0 * f64::from(56 + 72 + 44 + 28 + 12);
        assert_eq!(count(&config, "sac"), (sac, sac));
        // 3·4 + 4·5 = 32 weights: three times forward, and 32 + 20.
        assert_eq!(extra(&config, "rnd+sac"), 20.0 * f64::from(96 + 52));
        // 24 weights, on both batches forward and 24 + 4, on one forward.
        assert_eq!(extra(&config, "normalise+scale+ail+sac"), 20.0 * f64::from(48 + 56 + 24));
        // The penalty: forward, down to the input, 24 for the weights' gradient and 20 for the signal's.
        config.layers.ail.gradient_penalty = 10.0;
        assert_eq!(extra(&config, "rnd+ail+sac"), 20.0 * f64::from(148 + 128 + 24 + 24 + 24 + 20));
        // Every other step, and the demonstrations go on: their rewards, and twice the rows for the core.
        config.layers.ail.update_interval = 2;
        config.layers.ail.mix_demonstrations = true;
        let update = 48 + 56 + 24 + 24 + 24 + 20;
        assert_eq!(extra(&config, "ail+sac"), 20.0 * f64::from(update / 2 + 48) + sac);
        assert_eq!(extra(&config, "sqil+sac"), sac);
        // On both batches the actor forward; g of 24 weights and, twice, h of 3·4 + 4·1 = 16 there and back.
        config.layers.airl.hidden = vec![4];
        let update = 2 * (28 + 24 + 28 + 2 * (16 + 20));
        assert_eq!(extra(&config, "airl+sac"), 20.0 * f64::from(update + 24 + 32));
        // 20 and 24 weights: targets 20 + 24, critics 24 + 28; every other time the actor, 20 + 28 + 24 + 12.
        config.layers.td3.hidden = vec![4];
        config.layers.td3.critics = 1;
        assert_eq!(count(&config, "td3").0, 20.0 * f64::from(44 + 52 + 42));
        // 20 weights there, and 20 + 8 back.
        config.layers.bc.hidden = vec![4];
        assert_eq!(count(&config, "standardise+bc").0, 20.0 * f64::from(20 + 28));
    }
}
