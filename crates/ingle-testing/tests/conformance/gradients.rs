//! Gradients against central differences, in float64.

use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};
use ingle::nested::ImitationSample;
use ingle::nested::ail::{Ail, AilConfig, AilLoss, AilNoise, AilState};
use ingle::nested::airl::AirlConfig;
use ingle::nested::rnd::{Rnd, RndConfig, RndState};
use ingle::network::{Actor, Critic, Mlp, MlpActor, MlpCritic, Network};
use ingle::processor::ExplicitProcessNoise;
use ingle::random::RandomStream;
use ingle::sac::{SacConfig, SacNoise, SquashedGaussian};
use ingle::td3::{Td3Config, Td3Noise};
use ingle::{ExplicitNoise, LearnerCore, LogProbability, RecordItem, SampleProcessor, State, Transitions};
use ingle_testing::sample::{Sizes, TestNoise, TestSample, normal};
use ingle_testing::values;

const PRECISION: DType = DType::F64;
const SIZES: Sizes = Sizes { population: 2, batch: 5, observation: 3, action: 2 };

fn flex() -> Device {
    ingle::device::open("flex").unwrap()
}

fn options() -> TensorCreationOptions {
    TensorCreationOptions::new(flex()).with_dtype(PRECISION)
}

/// Compares a gradient with central differences of `f` at `x`, element by element.
pub(crate) fn check<const D: usize>(
    what: &str,
    x: &Tensor<D>,
    gradient: &Tensor<D>,
    f: impl Fn(Tensor<D>) -> f64,
) {
    let (point, gradient) = (values(x), values(gradient));
    let step = 1e-5;
    let scale = gradient.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(scale > 1e-6, "{what}: the gradient is 0");
    for (index, &ours) in gradient.iter().enumerate() {
        let at = |change: f64| {
            let mut moved = point.clone();
            moved[index] += change;
            f(Tensor::from_data(TensorData::new(moved, x.dims()), (&flex(), PRECISION)))
        };
        let difference = (at(step) - at(-step)) / (2.0 * step);
        let error = (ours - difference).abs() / (scale.max(difference.abs()));
        assert!(
            error <= 1e-6,
            "{what}[{index}]: {ours}, central difference {difference}, relative error {error:e}"
        );
    }
}

fn streams(seed: u64) -> Vec<RandomStream> {
    RandomStream::population(seed, 3, SIZES.population)
}

#[test]
fn mlp_as_actor() {
    let mlp = MlpActor::new(SIZES.observation, &[6, 5, 4], 4).unwrap();
    let parameters = mlp.init(&mut streams(0), &options()).unwrap();
    let mut stream = RandomStream::new(1, 0);
    let observation = normal([2, 5, 3], &mut stream, PRECISION, &flex());
    let slope = normal([2, 5, 4], &mut stream, PRECISION, &flex());
    let loss = |parameters: Tensor<2>| {
        values(&(mlp.forward(&parameters, observation.clone()) * slope.clone()).sum())[0]
    };
    let (output, tape) = mlp.record(&parameters, observation.clone());
    assert_eq!(values(&output), values(&mlp.forward(&parameters, observation.clone())));
    check("actor", &parameters, &mlp.gradient(tape, slope.clone()), loss);
}

#[test]
fn mlp_as_critic() {
    let mlp = MlpCritic::new(SIZES.observation, SIZES.action, &[6, 5], 3).unwrap();
    let parameters = mlp.init(&mut streams(2), &options()).unwrap();
    let mut stream = RandomStream::new(3, 0);
    let observation = normal([2, 5, 3], &mut stream, PRECISION, &flex());
    let action = normal([2, 5, 2], &mut stream, PRECISION, &flex());
    let slope = normal([2, 3, 5], &mut stream, PRECISION, &flex());
    let value = |parameters: &Tensor<2>, action: Tensor<3>| {
        values(&(mlp.forward(parameters, observation.clone(), action) * slope.clone()).sum())[0]
    };
    let record = || mlp.record(&parameters, observation.clone(), action.clone()).1;
    check("critic", &parameters, &mlp.gradient(record(), slope.clone()), |p| value(&p, action.clone()));
    check("action", &action, &mlp.action_gradient(record(), slope.clone()), |a| value(&parameters, a));

    let (first, tape) = mlp.record_first(&parameters, observation.clone(), action.clone());
    let all = mlp.forward(&parameters, observation.clone(), action.clone());
    assert_eq!(values(&first), values(&all.narrow(1, 0, 1)));
    let slope = slope.clone().narrow(1, 0, 1);
    check("action, first critic", &action, &mlp.action_gradient(tape, slope.clone()), |a| {
        let all = mlp.forward(&parameters, observation.clone(), a);
        values(&(all.narrow(1, 0, 1) * slope.clone()).sum())[0]
    });
}

#[test]
fn gradient_penalty_of_an_mlp() {
    let mlp = Mlp::new(3, &[6, 5, 4], 1, 2).unwrap();
    let parameters = mlp.init(&mut streams(9), &options()).unwrap();
    let input = normal([2, 1, 5, 3], &mut RandomStream::new(10, 0), PRECISION, &flex());
    let loss = |slope: Tensor<4>| {
        let norm = slope.square().sum_dim(3).add_scalar(1e-12).sqrt();
        norm.sub_scalar(1.0).square().mean_dim(2).mean_dim(1).flatten::<1>(0, 3)
    };
    // The slope itself is the gradient of the output's sum with respect to the input.
    let mut slope = None;
    mlp.slope_gradient(&parameters, input.clone(), |s| {
        slope = Some(s.clone().without_autodiff());
        loss(s)
    });
    let of_first = slope.unwrap().narrow(1, 0, 1);
    check("slope", &input, &of_first, |input| {
        values(&mlp.forward(&parameters, input).narrow(1, 0, 1).sum())[0]
    });
    let (_, gradient) = mlp.slope_gradient(&parameters, input.clone(), loss);
    check("penalty", &parameters, &gradient, |parameters| {
        values(&mlp.slope_gradient(&parameters, input.clone(), loss).0).iter().sum()
    });
}

#[test]
fn processors_move_along_the_gradients_of_their_losses() {
    let moment = |record: &ingle::Record, name: &str| {
        let Some(RecordItem::Tensor(data)) = record.0.get(name).cloned() else { panic!("{name}") };
        Tensor::<2>::from_data(data, (&flex(), PRECISION))
    };
    let (gail, pugail) =
        (AilLoss::Gail { entropy_coefficient: 0.1 }, AilLoss::Pugail { prior: 0.7, beta: 0.05 });
    for (loss, gradient_penalty, spectral_normalisation) in
        [(gail, 10.0, false), (pugail, 10.0, false), (gail, 10.0, true), (pugail, 0.0, true)]
    {
        let config = AilConfig {
            population: 2,
            hidden: vec![6, 5],
            loss,
            gradient_penalty,
            spectral_normalisation,
            ..AilConfig::default()
        };
        let ail: Ail<Transitions> = config.init(3, 2).unwrap().with_precision(PRECISION);
        let mut start = ail.init(3, &flex()).unwrap();
        // σ moves as the rule says only where its vectors are the singular ones: iterate, with nothing else moving.
        let mut still = start.clone();
        still.discriminator.learning_rate = still.discriminator.learning_rate.zeros_like();
        for _ in 0..if spectral_normalisation { 400 } else { 0 } {
            let sample = TestSample::random(SIZES, 1, PRECISION, &flex());
            ail.process(&mut still, sample).unwrap();
        }
        start.spectral = still.spectral;
        let sample: ImitationSample<Transitions> = TestSample::random(SIZES, 1, PRECISION, &flex());
        let noise = AilNoise::random(SIZES, 2, PRECISION, &flex());
        let process = |mut state: AilState| {
            let (_, metrics) = ail.process_with_noise(&mut state, sample.clone(), noise.clone()).unwrap();
            (state.save().unwrap(), values(metrics.get("discriminator_loss").unwrap()).iter().sum::<f64>())
        };
        let gradient = moment(&process(start.clone()).0, "discriminator/gradient_sum");
        check("discriminator loss", &start.discriminator.parameters, &gradient, |parameters| {
            let mut state = start.clone();
            state.discriminator.parameters = parameters;
            process(state).1
        });
    }
    let rnd: Rnd<Transitions> =
        RndConfig { population: 2, hidden: vec![6, 5], features: 4, ..RndConfig::default() }
            .init(3)
            .unwrap()
            .with_precision(PRECISION);
    let start = rnd.init(3, &flex()).unwrap();
    let sample = Transitions::random(SIZES, 1, PRECISION, &flex());
    let process = |mut state: RndState| {
        let (_, metrics) = rnd.process(&mut state, sample.clone()).unwrap();
        (state.save().unwrap(), values(metrics.get("rnd_loss").unwrap()).iter().sum::<f64>())
    };
    let gradient = moment(&process(start.clone()).0, "predictor/gradient_sum");
    check("rnd loss", &start.predictor.parameters, &gradient, |parameters| {
        let mut state = start.clone();
        state.predictor.parameters = parameters;
        process(state).1
    });
}

#[test]
fn airl_moves_along_the_gradient_of_its_loss() {
    let sac = SacConfig { population: 2, hidden: vec![6], ..SacConfig::default() }
        .init(SIZES.observation, SIZES.action)
        .unwrap()
        .with_precision(PRECISION);
    let config = AirlConfig { population: 2, hidden: vec![6, 5], ..AirlConfig::default() };
    let airl = config.init(sac).unwrap().with_precision(PRECISION);
    let start = airl.init(6, &flex()).unwrap();
    let sample: ImitationSample<Transitions> = TestSample::random(SIZES, 7, PRECISION, &flex());
    let noise = SacNoise::random(SIZES, 8, PRECISION, &flex());
    let gradient = |network: &str| gradient_of(&airl, &start, sample.clone(), noise.clone(), network);
    let loss = |state| loss_of(&airl, state, sample.clone(), noise.clone(), "discriminator_loss");
    check("airl reward", &start.reward.parameters, &gradient("airl/reward"), |parameters| {
        let mut state = start.clone();
        state.reward.parameters = parameters;
        loss(state)
    });
    check("airl shaping", &start.shaping.parameters, &gradient("airl/shaping"), |parameters| {
        let mut state = start.clone();
        state.shaping.parameters = parameters;
        loss(state)
    });
}

#[test]
fn squashed_gaussian() {
    let mut stream = RandomStream::new(4, 0);
    let outputs = normal([2, 5, 4], &mut stream, PRECISION, &flex());
    let noise = normal([2, 5, 2], &mut stream, PRECISION, &flex());
    let slope = normal([2, 5, 2], &mut stream, PRECISION, &flex());
    let loss = |outputs: Tensor<3>, slope: Tensor<3>, noise: Tensor<3>| {
        let (action, log_prob) = SquashedGaussian::new(outputs).sample_with_log_prob(noise);
        (action * slope).sum_dim(2).squeeze_dim::<2>(2).sum_dim(1).flatten::<1>(0, 1)
            + log_prob.sum_dim(1).flatten::<1>(0, 1)
    };
    let (_, log_prob, tape) = SquashedGaussian::new(outputs.clone()).record(noise.clone());
    let gradient = tape.gradient(slope.clone(), log_prob.ones_like());
    check("policy", &outputs, &gradient, |outputs| {
        values(&loss(outputs, slope.clone(), noise.clone()).sum())[0]
    });
}

/// The log-probability integrates to 1 over the actions, which no wrong Jacobian does.
#[test]
fn the_log_probability_is_a_density() {
    let count = 40_001;
    // Noise on a fine grid: sum π(a) Δa over the interval, for one mean and deviation.
    let noise: Vec<f64> = (0..count).map(|i| -8.0 + 16.0 * f64::from(i) / f64::from(count - 1)).collect();
    let outputs = TensorData::new([0.3, -0.4].repeat(count as usize), [1, count as usize, 2]);
    let noise = TensorData::new(noise, [1, count as usize, 1]);
    let (action, log_prob) = SquashedGaussian::new(Tensor::from_data(outputs, options()))
        .sample_with_log_prob(Tensor::from_data(noise, options()));
    let (action, log_prob) = (values(&action), values(&log_prob));
    let mass: f64 = (1..action.len())
        .map(|i| (action[i] - action[i - 1]) * 0.5 * (log_prob[i].exp() + log_prob[i - 1].exp()))
        .sum();
    assert!((mass - 1.0).abs() < 1e-6, "{mass}");
}

/// The log-probability of an action is that which it was drawn with; of actions at the edge it is finite.
#[test]
fn the_log_probability_of_a_given_action() {
    let mut stream = RandomStream::new(11, 0);
    let outputs = normal([2, 6, 4], &mut stream, PRECISION, &flex()).mul_scalar(0.5);
    let noise = normal([2, 6, 2], &mut stream, PRECISION, &flex());
    let (action, drawn) = SquashedGaussian::new(outputs.clone()).sample_with_log_prob(noise);
    let given = SquashedGaussian::new(outputs.clone()).log_prob(action.clone());
    for (drawn, given) in values(&drawn).into_iter().zip(values(&given)) {
        assert!((drawn - given).abs() < 1e-9 * (1.0 + drawn.abs()), "{drawn} {given}");
    }
    let edge = SquashedGaussian::new(outputs).log_prob(action.clone().sign());
    assert!(values(&edge).iter().all(|value| value.is_finite()), "{edge}");

    let sac = SacConfig { population: 2, hidden: vec![6], ..SacConfig::default() }
        .init(3, 2)
        .unwrap()
        .with_precision(PRECISION);
    let state = sac.init(0, &flex()).unwrap();
    let observation = normal([1, 6, 3], &mut stream, PRECISION, &flex());
    let head = SquashedGaussian::new(sac.actor().forward(&state.actor.parameters, observation.clone()));
    let log_prob = sac.log_probability(&state, observation.clone(), action.clone()).unwrap();
    assert_eq!(values(&log_prob), values(&head.log_prob(action.clone())));
    for wrong in [action.clone().narrow(1, 0, 5), action.clone().narrow(2, 0, 1), action.repeat_dim(0, 2)] {
        assert!(sac.log_probability(&state, observation.clone(), wrong).is_err());
    }
}

#[test]
fn the_log_probability_stays_finite() {
    for (mean, log_std) in [(1e4, 0.0), (-1e4, 0.0), (0.0, -1e4), (0.0, 1e4), (1e4, 1e4), (0.0, 0.0)] {
        for precision in [DType::F32, DType::F64] {
            let outputs = TensorData::new(vec![mean, log_std], [1, 1, 2]);
            let outputs: Tensor<3> = Tensor::from_data(outputs, (&flex(), precision));
            let noise: Tensor<3> =
                Tensor::from_data(TensorData::new(vec![1.5], [1, 1, 1]), (&flex(), precision));
            let (action, log_prob, tape) = SquashedGaussian::new(outputs).record(noise);
            let gradient = tape.gradient(action.ones_like(), log_prob.ones_like());
            let all = [values(&action), values(&log_prob), values(&gradient)].concat();
            assert!(all.iter().all(|value| value.is_finite()), "{mean} {log_std} {precision:?}: {all:?}");
        }
    }
}

/// Adam's decayed sum of gradients after one step is the gradient.
pub(crate) fn gradient_of<C: ExplicitNoise>(
    core: &C,
    start: &C::State,
    sample: C::Sample,
    noise: C::Noise,
    network: &str,
) -> Tensor<2> {
    let mut state = start.clone();
    core.step_with_noise(&mut state, sample, noise).unwrap();
    let record = state.save().unwrap();
    let Some(RecordItem::Tensor(data)) = record.0.get(&format!("{network}/gradient_sum")).cloned() else {
        panic!("{network} has no sum of gradients");
    };
    Tensor::<2>::from_data(data, (&flex(), PRECISION))
}

/// A loss, summed over the members, as one step reports it.
pub(crate) fn loss_of<C: ExplicitNoise>(
    core: &C,
    mut state: C::State,
    sample: C::Sample,
    noise: C::Noise,
    name: &str,
) -> f64 {
    let output = core.step_with_noise(&mut state, sample, noise).unwrap();
    values(output.metrics.get(name).unwrap()).iter().sum()
}

#[test]
fn sac_moves_along_the_gradients_of_its_losses() {
    let sac = SacConfig { population: 2, hidden: vec![6, 5], critics: 3, ..SacConfig::default() }
        .init(SIZES.observation, SIZES.action)
        .unwrap()
        .with_precision(PRECISION);
    let start = sac.init(6, &flex()).unwrap();
    let sample = Transitions::random(SIZES, 7, PRECISION, &flex());
    let noise = SacNoise::random(SIZES, 8, PRECISION, &flex());
    check(
        "critic loss",
        &start.critic.parameters,
        &gradient_of(&sac, &start, sample.clone(), noise.clone(), "critic"),
        |parameters| {
            let mut state = start.clone();
            state.critic.parameters = parameters;
            loss_of(&sac, state, sample.clone(), noise.clone(), "critic_loss")
        },
    );
    // The actor's loss is taken through the critics after their own step, which depends on the actor through the
    // target; where nothing is bootstrapped it does not.
    let sample = Transitions { discount: sample.discount.zeros_like(), ..sample };
    check(
        "actor loss",
        &start.actor.parameters,
        &gradient_of(&sac, &start, sample.clone(), noise.clone(), "actor"),
        |parameters| {
            let mut state = start.clone();
            state.actor.parameters = parameters;
            loss_of(&sac, state, sample.clone(), noise.clone(), "actor_loss")
        },
    );
    check(
        "temperature loss",
        &start.log_alpha.parameters,
        &gradient_of(&sac, &start, sample.clone(), noise.clone(), "log_alpha"),
        |parameters| {
            let mut state = start.clone();
            state.log_alpha.parameters = parameters;
            // α weighs the actor's own loss too; log π̃ is drawn before any of it moves.
            loss_of(&sac, state, sample.clone(), noise.clone(), "temperature_loss")
        },
    );
}

#[test]
fn td3_moves_along_the_gradients_of_its_losses() {
    let td3 =
        Td3Config { population: 2, hidden: vec![6, 5], critics: 3, policy_delay: 1, ..Td3Config::default() }
            .init(SIZES.observation, SIZES.action)
            .unwrap()
            .with_precision(PRECISION);
    let start = td3.init(6, &flex()).unwrap();
    let sample = Transitions::random(SIZES, 7, PRECISION, &flex());
    let noise = Td3Noise::random(SIZES, 8, PRECISION, &flex());
    for (network, loss) in [("critic", "critic_loss"), ("actor", "actor_loss")] {
        let parameters = if network == "critic" { &start.critic.parameters } else { &start.actor.parameters };
        check(
            loss,
            parameters,
            &gradient_of(&td3, &start, sample.clone(), noise.clone(), network),
            |parameters| {
                let mut state = start.clone();
                if network == "critic" {
                    state.critic.parameters = parameters;
                } else {
                    state.actor.parameters = parameters;
                }
                loss_of(&td3, state, sample.clone(), noise.clone(), loss)
            },
        );
    }
}
