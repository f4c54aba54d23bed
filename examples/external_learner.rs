//! A learner that ingle knows nothing of, in a process of its own, under RND: the same processor as over any core.
//!
//! `cargo run --release -p ingle --example external_learner`, where the process is this program once more; or
//! `cargo run --release -p ingle --example external_learner -- python3 examples/external_learner.py`
//! with Stable-Baselines3's TD3.

use std::process::Command;

use ingle::envs::{VectorEnvironment, make_vector};
use ingle::nested::rnd::{Rnd, RndConfig};
use ingle::random::RandomStream;
use ingle::replay::{ReplayConfig, UniformReplay};
use ingle::train::process::{Answer, Batch, Hello, ProcessConfig, ProcessLearner, Remote, serve};
use ingle::{NestedLearner, SampleProcessor, TrainConfig, Trainer, Transitions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["--child"] {
        return Ok(serve(|hello| Ok(HandWritten::new(hello)))?);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    arguments.retain(|argument| argument != "--quick");
    let (seed, device) = (0, ingle::device::open("flex")?);

    // The process, and what it is told and expected to answer.
    let mut command = match arguments.first() {
        Some(program) => Command::new(program),
        None => Command::new(std::env::current_exe()?),
    };
    match arguments.get(1..) {
        Some(rest) => command.args(rest),
        None => command.arg("--child"),
    };
    let config = ProcessConfig { seed, metrics: vec!["td_loss"], ..ProcessConfig::new(3, 1) };
    let direct = ProcessLearner::start(command, &config, (), &device)?;

    // RND over it; the replay is the nest's, and the process sees rewards with the novelty in them.
    let rnd: Rnd<Transitions> =
        RndConfig { hidden: vec![64, 64], intrinsic: 0.1.into(), ..RndConfig::default() }.init(3)?;
    let replay = UniformReplay::new(&ReplayConfig { batch: 64, ..ReplayConfig::new(3, 1) }, seed, &device)?;
    let nest = NestedLearner { state: rnd.init(seed, &device)?, processor: rnd, direct, sampler: replay };

    let environments = |count| -> Result<Vec<Box<dyn VectorEnvironment>>, Box<dyn std::error::Error>> {
        Ok(vec![Box::new(make_vector("pendulum", count)?)])
    };
    let config = TrainConfig {
        steps: if quick { 300 } else { 10_000 },
        warmup_steps: 200,
        evaluation_interval: 0,
        ..TrainConfig::default()
    };
    let evaluation = environments(config.evaluation_episodes)?;
    let summary = Trainer::new(nest, environments(1)?, evaluation, config, seed)?.run(&mut [])?;
    println!("mean return {:.1} after {} updates", summary.evaluation[0].mean_return, summary.updates);
    Ok(())
}

const HIDDEN: usize = 64;
const ACTIONS: usize = 9;

/// Q-learning over a grid of one-element actions, with a network of one hidden layer and Adam: plain numbers, no tensors.
struct HandWritten {
    /// For each hidden unit the weights of observation, action and 1; then the hidden units' own.
    network: Vec<f32>,
    target: Vec<f32>,
    moments: [Vec<f32>; 2],
    updates: i32,
    /// The largest magnitude of each observation element so far.
    scale: Vec<f32>,
}

impl HandWritten {
    fn new(hello: &Hello) -> Self {
        let inputs = hello.observation + 2;
        let mut network = vec![0.0; HIDDEN * (inputs + 1)];
        RandomStream::new(hello.seed, 0).fill_uniform(-1.0, 1.0, &mut network);
        network[HIDDEN * inputs..].iter_mut().for_each(|weight| *weight /= (HIDDEN as f32).sqrt());
        let moments = [vec![0.0; network.len()], vec![0.0; network.len()]];
        Self { target: network.clone(), network, moments, updates: 0, scale: vec![1e-3; hello.observation] }
    }

    fn input(&self, observation: &[f32], action: f32) -> Vec<f32> {
        let scaled = observation.iter().zip(&self.scale).map(|(value, scale)| value / scale);
        scaled.chain([action, 1.0]).collect()
    }

    /// The value, and the hidden units.
    fn value(network: &[f32], input: &[f32]) -> (f32, Vec<f32>) {
        let (hidden, output) = network.split_at(HIDDEN * input.len());
        let units: Vec<f32> = hidden.chunks_exact(input.len()).map(|row| dot(row, input).max(0.0)).collect();
        (dot(output, &units), units)
    }

    /// The best action and its value.
    fn best(&self, network: &[f32], observation: &[f32]) -> (f32, f32) {
        let actions = (0..ACTIONS).map(|index| 2.0 * index as f32 / (ACTIONS - 1) as f32 - 1.0);
        let valued = actions.map(|action| (action, Self::value(network, &self.input(observation, action)).0));
        valued.fold((0.0, f32::NEG_INFINITY), |best, other| if other.1 > best.1 { other } else { best })
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Remote for HandWritten {
    fn step(&mut self, batch: Batch) -> Result<Answer, String> {
        let (rows, size) = (batch.reward.len(), self.scale.len());
        for (index, value) in batch.observation.iter().enumerate() {
            self.scale[index % size] = self.scale[index % size].max(value.abs());
        }
        let mut gradient = vec![0.0; self.network.len()];
        let mut errors = Vec::with_capacity(rows);
        for row in 0..rows {
            let of = |field: &[f32]| field[row * size..(row + 1) * size].to_vec();
            let (_, next) = self.best(&self.target, &of(&batch.next_observation));
            let input = self.input(&of(&batch.observation), batch.action[row]);
            let (value, units) = Self::value(&self.network, &input);
            let error = value - (batch.reward[row] + batch.discount[row] * next);
            let (hidden, output) = gradient.split_at_mut(HIDDEN * input.len());
            for (unit, value) in units.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                output[unit] += error * value / rows as f32;
                let back = error * self.network[HIDDEN * input.len() + unit] / rows as f32;
                let own = &mut hidden[unit * input.len()..(unit + 1) * input.len()];
                own.iter_mut().zip(&input).for_each(|(slope, input)| *slope += back * input);
            }
            errors.push(error.abs());
        }
        self.updates += 1;
        let [first, second] = &mut self.moments;
        let corrections = (1.0 - 0.9_f32.powi(self.updates), 1.0 - 0.999_f32.powi(self.updates));
        for (index, slope) in gradient.into_iter().enumerate() {
            first[index] += 0.1 * (slope - first[index]);
            second[index] += 0.001 * (slope * slope - second[index]);
            let step = first[index] / corrections.0 / ((second[index] / corrections.1).sqrt() + 1e-8);
            self.network[index] -= 3e-3 * step;
            self.target[index] += 0.01 * (self.network[index] - self.target[index]);
        }
        let loss = errors.iter().map(|error| error * error).sum::<f32>() / rows as f32;
        Ok(Answer { metrics: vec![loss], td_error: Some(errors) })
    }

    fn act(&mut self, observation: &[f32], noise: Option<&[f32]>) -> Result<Vec<f32>, String> {
        let rows = observation.chunks_exact(self.scale.len());
        let mut actions: Vec<f32> = rows.map(|row| self.best(&self.network, row).0).collect();
        for (action, noise) in actions.iter_mut().zip(noise.unwrap_or_default()) {
            *action = (*action + 0.3 * noise).clamp(-1.0, 1.0);
        }
        Ok(actions)
    }
}
