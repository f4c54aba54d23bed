//! How much arithmetic an update takes: floating-point operations of its matrix products, by the layers' sizes.

use std::iter::once;

use crate::config::RunConfig;
use crate::learner::{Sizes, Stack};

/// The operations of one update of one member, of the direct core and of all processors over it. `None` if the count of
/// a layer is not known.
pub(crate) fn of_update(config: &RunConfig, stack: &Stack, sizes: Sizes, batch: usize) -> Option<(f64, f64)> {
    let core = of_core(config, stack.core, sizes, batch)?;
    let processors =
        stack.processors.iter().map(|name| of_processor(config, name, sizes, batch)).sum::<Option<f64>>()?;
    Some((core, processors))
}

fn of_core(config: &RunConfig, name: &str, sizes: Sizes, batch: usize) -> Option<f64> {
    let Sizes { observation, action } = sizes;
    let networks = |hidden: &[usize], output, critics: usize| {
        let critic = Network::new(observation + action, hidden, 1, batch * critics);
        (Network::new(observation, hidden, output, batch), critic)
    };
    match name {
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

fn of_processor(config: &RunConfig, name: &str, sizes: Sizes, batch: usize) -> Option<f64> {
    let Sizes { observation, action } = sizes;
    match name {
        "normalise" => Some(0.0),
        "rnd" => {
            let rnd = &config.layers.rnd;
            let network = Network::new(observation, &rnd.hidden, rnd.features, batch);
            // The target's features, the predictor's update, the novelty.
            Some(network.forward() + network.forward() + network.gradient() + network.forward())
        }
        "ail" => {
            let ail = &config.layers.ail;
            let input = observation + action + if ail.use_next_observation { observation } else { 0 };
            let both = Network::new(input, &ail.hidden, 1, 2 * batch);
            let own = Network::new(input, &ail.hidden, 1, batch);
            // The discriminator's update on both batches, the penalty between them, the rewards.
            let penalty = if ail.gradient_penalty > 0.0 { own.forward() + own.slope_gradient() } else { 0.0 };
            Some(both.forward() + both.gradient() + penalty + own.forward())
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
        // Actor 3·4 + 4·4 = 28 weights, critic 5·4 + 4·1 = 24. Forward: 2 · 28 and 3 · 24. Gradients: 28 + 16 of the
        // actor's, 24 + 4 of the critic's, 4 + 2·4 through it.
        assert_eq!(count(&config, "sac"), (20.0 * f64::from(56 + 72 + 44 + 28 + 12), 0.0));
        // 3·4 + 4·5 = 32 weights: three times forward, and 32 + 20.
        assert_eq!(count(&config, "rnd+sac").1, 20.0 * f64::from(96 + 52));
        // 24 weights, on both batches forward and 24 + 4, on one forward.
        assert_eq!(count(&config, "normalise+ail+sac").1, 20.0 * f64::from(48 + 56 + 24));
        // The penalty: forward, down to the input, 24 for the weights' gradient and 20 for the signal's.
        config.layers.ail.gradient_penalty = 10.0;
        let (core, processors) = count(&config, "rnd+ail+sac");
        assert_eq!(processors, 20.0 * f64::from(148 + 128 + 24 + 24 + 24 + 20));
        assert_eq!(core, count(&config, "sac").0);
        // 20 and 24 weights: targets 20 + 24, critics 24 + 28; every other time the actor, 20 + 28 + 24 + 12.
        config.layers.td3.hidden = vec![4];
        config.layers.td3.critics = 1;
        assert_eq!(count(&config, "td3").0, 20.0 * f64::from(44 + 52 + 42));
    }
}
