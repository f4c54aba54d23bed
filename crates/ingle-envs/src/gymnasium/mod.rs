//! Any environment of the user's Gymnasium, in child processes.

mod worker;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use self::worker::{Failure, Kind, Worker, floats};
use crate::error::{EnvironmentError, check_finite, check_length};
use crate::{
    BoxSpace, EnvironmentOptions, Episode, EpisodeState, VectorEnvironment, VectorState, VectorStep, python,
};

/// How long Python may take to start and to import everything.
const START: Duration = Duration::from_mins(3);

/// How many environments a process has by default. Where a step takes some ten microseconds, a second process costs more
/// than it brings.
const SHARE: usize = 8;

/// An episode's actions are kept, so that it can be played again. A longer one cannot be saved.
const LONGEST: usize = 1 << 20;

/// Environments of the user's own Gymnasium, by the name that `gymnasium.make` takes: any with continuous actions (a
/// `Box`), and observations that are a `Box` or can be flattened into one.
///
/// They live in child processes that run the user's Python, several in each. An environment cannot reach the pipes:
/// what it prints goes to standard error, which is logged. [`make_vector`](crate::make_vector) makes them as
/// `gym:HalfCheetah-v5`; a name with a module is imported from there, `gym:my_package.my_module:MyEnvironment-v0`.
///
/// # Seeds
///
/// Every episode is begun by `reset(seed=...)`, with a seed of 31 bits that depends on the vector's seed, the
/// environment's index and the episode's number. So an episode can be played again from its seed and its actions.
///
/// # Saving
///
/// A Python environment has no state that could be read. What is saved are the seed and the actions of the running
/// episode, and they are played again. If that leads elsewhere, because the environment is not deterministic, a new
/// episode begins, and a warning is logged.
///
/// # When a process dies or hangs
///
/// A process that ends, or does not answer within [`EnvironmentOptions::timeout`], is replaced, at most
/// [`EnvironmentOptions::restarts`] times; its episodes are played again, and the step is repeated: nothing is lost. If
/// that leads elsewhere, the episodes are cut: truncated, with reward 0 and the last observation as the next.
/// An exception in Python is not a reason for a replacement: it would come again.
pub struct GymnasiumVector {
    source: Source,
    workers: Vec<Worker>,
    /// The environments of each worker.
    shares: Vec<Range<usize>>,
    episodes: Vec<Running>,
    observation_space: BoxSpace,
    action_space: BoxSpace,
    key: [u8; 32],
    restarts: u64,
    steps: Option<u64>,
    last: VectorStep,
}

/// The episode that runs in an environment.
#[derive(Clone, Default)]
struct Running {
    /// Its number, counted from 0 since the vector's reset.
    number: u64,
    /// Its actions so far, up to [`LONGEST`] numbers.
    actions: Vec<f32>,
    episode_return: f64,
    length: u64,
}

/// What the workers are made from.
struct Source {
    name: String,
    id: String,
    arguments: BTreeMap<String, Value>,
    python: PathBuf,
    timeout: Duration,
}

impl Source {
    /// Starts a worker with `count` environments.
    fn start(&self, count: usize) -> Result<Worker, EnvironmentError> {
        let mut worker = Worker::start(&self.python)
            .map_err(|reason| python::unavailable(&self.name, reason, &self.python))?;
        let request = json!({"id": self.id, "arguments": self.arguments, "count": count});
        let payload = [&[0], request.to_string().as_bytes()].concat();
        // A failure to send shows as a failure to receive.
        let _ = worker.send(&payload, START);
        Ok(worker)
    }

    /// The spaces of a started worker, which has made its environments then.
    fn spaces(&self, worker: &mut Worker) -> Result<[BoxSpace; 2], EnvironmentError> {
        let (kind, reason) = match worker.receive() {
            Ok(reply) => match worker::spaces(reply) {
                Ok(spaces) => return Ok(spaces),
                Err(reason) => (Kind::CannotMake, reason),
            },
            Err(Failure::Lost(reason)) => (Kind::Failed, format!("{}: {reason}", self.python.display())),
            Err(Failure::Python { kind, error, .. }) => (kind, error),
        };
        Err(match kind {
            Kind::CannotMake => EnvironmentError::Unavailable {
                name: self.name.clone(),
                reason,
                help: "check its name, which is what `gymnasium.make` takes, and `environment.arguments`"
                    .to_owned(),
            },
            _ => python::unavailable(&self.name, reason, &self.python),
        })
    }
}

impl GymnasiumVector {
    /// Starts the processes and makes `n` environments with the name `id`. `name` is what messages call them.
    ///
    /// # Errors
    ///
    /// When `n` is 0, when there is no such Python, package or environment, or when its spaces are not supported.
    pub(crate) fn new(
        name: &str,
        id: &str,
        n: usize,
        options: &EnvironmentOptions,
    ) -> Result<Self, EnvironmentError> {
        if n == 0 {
            return Err(EnvironmentError::NoEnvironments);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = options.workers.unwrap_or(cores.min(n.div_ceil(SHARE))).clamp(1, n);
        let shares: Vec<_> = (0..count).map(|worker| worker * n / count..(worker + 1) * n / count).collect();
        let source = Source {
            name: name.to_owned(),
            id: id.to_owned(),
            arguments: options.arguments.clone(),
            python: python::interpreter(options.python.as_deref()),
            timeout: Duration::from_secs(options.timeout.max(1)),
        };
        // All of them start, which takes a second or more, and then all are asked.
        let mut workers =
            shares.iter().map(|share| source.start(share.len())).collect::<Result<Vec<_>, _>>()?;
        let mut spaces = None;
        for worker in &mut workers {
            spaces = Some(source.spaces(worker)?);
        }
        let [observation_space, action_space] = spaces.ok_or(EnvironmentError::NoEnvironments)?;
        Ok(Self {
            source,
            workers,
            shares,
            episodes: vec![Running::default(); n],
            last: VectorStep::new(n, observation_space.len()),
            observation_space,
            action_space,
            key: [0; 32],
            restarts: options.restarts,
            steps: None,
        })
    }

    /// The seed of an episode.
    fn seed(&self, environment: usize, episode: u64) -> u64 {
        let mut random = ChaCha8Rng::from_seed(self.key);
        random.set_stream(environment as u64);
        random.set_word_pos(u128::from(episode));
        u64::from(random.next_u32() >> 1)
    }

    /// The request for a worker to play its episodes again from their beginnings to now.
    fn play_again(&self, worker: usize) -> Vec<u8> {
        let mut request = vec![1];
        for environment in self.shares[worker].clone() {
            let Running { number, actions, .. } = &self.episodes[environment];
            request.extend(self.seed(environment, *number).to_le_bytes());
            request.extend(((actions.len() / self.action_space.len()) as u32).to_le_bytes());
            request.extend(actions.iter().flat_map(|value| value.to_le_bytes()));
        }
        request
    }

    /// The request for a worker to take a step.
    fn step_request(&self, worker: usize, actions: &[f32]) -> Vec<u8> {
        let share = self.shares[worker].clone();
        let width = self.action_space.len();
        let mut request = Vec::with_capacity(1 + share.len() * (4 * width + 8));
        request.push(2);
        let actions = &actions[share.start * width..share.end * width];
        request.extend(actions.iter().flat_map(|value| value.to_le_bytes()));
        for environment in share {
            let next = self.episodes[environment].number + 1;
            request.extend(self.seed(environment, next).to_le_bytes());
        }
        request
    }

    /// Makes the workers play all episodes again, and returns the observations that they lead to.
    fn play_all_again(&mut self, step: u64) -> Result<Vec<f32>, EnvironmentError> {
        let sent: Vec<_> = (0..self.workers.len())
            .map(|worker| {
                let (request, patience) = (self.play_again(worker), self.patience(worker));
                self.workers[worker].send(&request, patience)
            })
            .collect();
        let mut observations = Vec::new();
        for (worker, sent) in sent.into_iter().enumerate() {
            let size = self.shares[worker].len() * self.observation_space.len();
            let mut answer = sent.and_then(|()| observations_of(&mut self.workers[worker], size));
            while let Err(Failure::Lost(reason)) = &answer {
                self.replace(worker, reason)?;
                answer = self.ask_again(worker);
            }
            observations.extend(answer.map_err(|failure| self.python_error(worker, failure, step))?);
        }
        Ok(observations)
    }

    /// Makes one worker play its episodes again.
    fn ask_again(&mut self, worker: usize) -> Result<Vec<f32>, Failure> {
        let size = self.shares[worker].len() * self.observation_space.len();
        let (request, patience) = (self.play_again(worker), self.patience(worker));
        self.workers[worker].send(&request, patience)?;
        observations_of(&mut self.workers[worker], size)
    }

    /// How long a worker may take to play its episodes again.
    fn patience(&self, worker: usize) -> Duration {
        let steps: u64 =
            self.shares[worker].clone().map(|environment| self.episodes[environment].length).sum();
        self.source.timeout + Duration::from_millis(10 * steps)
    }

    /// Replaces a worker that is lost.
    fn replace(&mut self, worker: usize, reason: &str) -> Result<(), EnvironmentError> {
        let used_up = |reason: String| EnvironmentError::Worker { worker, reason };
        self.restarts =
            self.restarts.checked_sub(1).ok_or_else(|| used_up(format!("{reason}; no restarts are left")))?;
        tracing::warn!(
            "`{}`: worker {worker} is replaced: {reason}; {} restarts are left",
            self.source.name,
            self.restarts
        );
        let mut fresh = self.source.start(self.shares[worker].len())?;
        let [observation_space, action_space] = self.source.spaces(&mut fresh)?;
        if observation_space != self.observation_space || action_space != self.action_space {
            return Err(used_up(format!("{reason}; in its place came environments with other spaces")));
        }
        self.workers[worker] = fresh;
        Ok(())
    }

    /// Takes a worker's step up again after it was lost, and returns whether it is to be repeated. If not, the rows of
    /// its environments are written: cut episodes.
    fn recover(&mut self, worker: usize, reason: &str, step: u64) -> Result<bool, EnvironmentError> {
        self.replace(worker, reason)?;
        let o = self.observation_space.len();
        let share = self.shares[worker].clone();
        let rows = share.start * o..share.end * o;
        if share.clone().all(|environment| self.episodes[environment].is_whole(self.action_space.len())) {
            match self.ask_again(worker) {
                Ok(observations) if same_bits(&observations, &self.last.observation[rows.clone()]) => {
                    return Ok(true);
                }
                Err(Failure::Lost(reason)) => return self.recover(worker, &reason, step),
                _ => {}
            }
        }
        tracing::warn!(
            "`{}`: the episodes of worker {worker} are cut, they cannot be played again",
            self.source.name
        );
        // The new numbers stay in the episodes until the bookkeeping of the step, which adds one.
        let before = self.episodes[share.clone()].to_vec();
        for episode in &mut self.episodes[share.clone()] {
            *episode = Running { number: episode.number + 1, ..Running::default() };
        }
        let answer = self.ask_again(worker);
        self.episodes[share.clone()].clone_from_slice(&before);
        let observations = match answer {
            Ok(observations) => observations,
            Err(Failure::Lost(reason)) => return self.recover(worker, &reason, step),
            Err(failure) => return Err(self.python_error(worker, failure, step)),
        };
        let last = &mut self.last;
        last.next_observation[rows.clone()].copy_from_slice(&last.observation[rows.clone()]);
        last.observation[rows].copy_from_slice(&observations);
        for environment in share {
            last.reward[environment] = 0.0;
            (last.terminated[environment], last.truncated[environment]) = (false, true);
        }
        Ok(false)
    }

    fn python_error(&self, worker: usize, failure: Failure, step: u64) -> EnvironmentError {
        match failure {
            Failure::Lost(reason) => EnvironmentError::Worker { worker, reason },
            Failure::Python { environment, error, .. } => EnvironmentError::Failed { reason: error }
                .at((self.shares[worker].start + environment).min(self.episodes.len() - 1), step),
        }
    }

    /// Writes a worker's answer to a step into the rows of its environments. The rewards are also returned, in the
    /// width that Python has them in.
    fn take_in(&mut self, worker: usize, rewards: &mut [f64]) -> Result<(), Failure> {
        let share = self.shares[worker].clone();
        let o = self.observation_space.len();
        let (count, rows) = (share.len(), share.start * o..share.end * o);
        let reply = self.workers[worker].receive()?;
        if reply.len() != count * (8 * o + 9) {
            return Err(Failure::Lost("its answer is not that of our program".to_owned()));
        }
        let (next, rest) = reply.split_at(4 * count * o);
        let (observation, rest) = rest.split_at(4 * count * o);
        let (reward, flags) = rest.split_at(8 * count);
        let last = &mut self.last;
        last.next_observation[rows.clone()]
            .iter_mut()
            .zip(floats(next))
            .for_each(|(out, value)| *out = value);
        last.observation[rows].iter_mut().zip(floats(observation)).for_each(|(out, value)| *out = value);
        for ((environment, bytes), flags) in share.zip(reward.chunks_exact(8)).zip(flags) {
            let value = f64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| bytes[byte]));
            rewards[environment] = value;
            last.reward[environment] = value as f32;
            last.terminated[environment] = flags & 1 != 0;
            last.truncated[environment] = flags & 2 != 0;
        }
        Ok(())
    }
}

impl Running {
    /// Whether all actions of the episode were kept.
    fn is_whole(&self, width: usize) -> bool {
        self.actions.len() as u64 == self.length.saturating_mul(width as u64)
    }
}

fn observations_of(worker: &mut Worker, size: usize) -> Result<Vec<f32>, Failure> {
    let observations: Vec<f32> = floats(worker.receive()?).collect();
    if observations.len() == size {
        Ok(observations)
    } else {
        Err(Failure::Lost("its answer is not that of our program".to_owned()))
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

impl VectorEnvironment for GymnasiumVector {
    fn len(&self) -> usize {
        self.episodes.len()
    }

    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, seed: u64) -> Result<&[f32], EnvironmentError> {
        self.steps = None;
        self.key = ChaCha8Rng::seed_from_u64(seed).get_seed();
        self.episodes.fill(Running::default());
        self.last.observation = self.play_all_again(0)?;
        for (environment, row) in self.last.observation.chunks_exact(self.observation_space.len()).enumerate()
        {
            check_finite("observation", row).map_err(|error| error.at(environment, 0))?;
        }
        self.steps = Some(0);
        Ok(&self.last.observation)
    }

    fn step(&mut self, actions: &[f32]) -> Result<&VectorStep, EnvironmentError> {
        let number = self.steps.ok_or(EnvironmentError::NotReset)?.saturating_add(1);
        let (o, a) = (self.observation_space.len(), self.action_space.len());
        check_length("actions", self.len() * a, actions.len())?;
        for (environment, action) in actions.chunks_exact(a).enumerate() {
            check_finite("action", action).map_err(|error| error.at(environment, number))?;
        }
        self.steps = None;
        let mut rewards = vec![0.0; self.len()];
        let timeout = self.source.timeout;
        let sent: Vec<_> = (0..self.workers.len())
            .map(|worker| {
                let request = self.step_request(worker, actions);
                self.workers[worker].send(&request, timeout)
            })
            .collect();
        for (worker, sent) in sent.into_iter().enumerate() {
            let mut answer = sent.and_then(|()| self.take_in(worker, &mut rewards));
            while let Err(Failure::Lost(reason)) = answer {
                if !self.recover(worker, &reason, number)? {
                    answer = Ok(());
                    break;
                }
                let request = self.step_request(worker, actions);
                answer = self.workers[worker]
                    .send(&request, timeout)
                    .and_then(|()| self.take_in(worker, &mut rewards));
            }
            answer.map_err(|failure| self.python_error(worker, failure, number))?;
        }
        self.last.episodes.clear();
        for (environment, running) in self.episodes.iter_mut().enumerate() {
            let at = |error: EnvironmentError| error.at(environment, number);
            let row = environment * o..(environment + 1) * o;
            check_finite("next_observation", &self.last.next_observation[row.clone()]).map_err(at)?;
            check_finite("observation", &self.last.observation[row]).map_err(at)?;
            check_finite("reward", &[self.last.reward[environment]]).map_err(at)?;
            running.episode_return += rewards[environment];
            running.length = running.length.saturating_add(1);
            if running.actions.len() + a <= LONGEST {
                running.actions.extend(&actions[environment * a..(environment + 1) * a]);
            }
            if self.last.terminated[environment] || self.last.truncated[environment] {
                let Running { episode_return, length, .. } = *running;
                self.last.episodes.push(Episode { environment, episode_return, length });
                running.number += 1;
                running.actions.clear();
                (running.episode_return, running.length) = (0.0, 0);
            }
        }
        self.steps = Some(number);
        Ok(&self.last)
    }

    /// The number and the actions of each running episode.
    fn save(&self) -> Option<VectorState> {
        let steps = self.steps?;
        let a = self.action_space.len();
        let rows = self.last.observation.chunks_exact(self.observation_space.len());
        let environments = self.episodes.iter().zip(rows).map(|(running, row)| {
            let Running { number, actions, episode_return, length } = running;
            running.is_whole(a).then(|| EpisodeState {
                state: actions.iter().map(|&value| f64::from(value)).collect(),
                observation: row.to_vec(),
                stream_position: *number,
                episode_return: *episode_return,
                length: *length,
            })
        });
        Some(VectorState { key: self.key, steps, environments: environments.collect::<Option<_>>()? })
    }

    fn restore(&mut self, state: &VectorState) -> Result<&[f32], EnvironmentError> {
        let (expected, actual) = (self.len(), state.environments.len());
        if actual != expected {
            return Err(EnvironmentError::mismatch(format!("{actual} environments, expected {expected}")));
        }
        let (o, a) = (self.observation_space.len(), self.action_space.len());
        for (environment, saved) in state.environments.iter().enumerate() {
            let at = |error: EnvironmentError| error.at(environment, state.steps);
            self.observation_space.check("observation", &saved.observation).map_err(at)?;
            let actions = saved.length.saturating_mul(a as u64);
            let finite =
                saved.state.iter().all(|value| value.is_finite()) && saved.episode_return.is_finite();
            if saved.state.len() as u64 != actions || !finite {
                let reason =
                    format!("{} numbers, expected {actions} finite ones: the actions", saved.state.len());
                return Err(at(EnvironmentError::mismatch(reason)));
            }
        }
        self.steps = None;
        self.key = state.key;
        for (running, saved) in self.episodes.iter_mut().zip(&state.environments) {
            *running = Running {
                number: saved.stream_position,
                actions: saved.state.iter().map(|&value| value as f32).collect(),
                episode_return: saved.episode_return,
                length: saved.length,
            };
        }
        let observations = self.play_all_again(state.steps)?;
        let astray: Vec<usize> = (0..expected)
            .filter(|&i| !same_bits(&observations[i * o..(i + 1) * o], &state.environments[i].observation))
            .collect();
        self.last.observation = observations;
        if !astray.is_empty() {
            tracing::warn!(
                "`{}`: played again, the episodes of environments {astray:?} led elsewhere: new ones begin",
                self.source.name
            );
            for environment in astray {
                let number = self.episodes[environment].number + 1;
                self.episodes[environment] = Running { number, ..Running::default() };
            }
            // The others are played once more: a worker begins all of its episodes together.
            self.last.observation = self.play_all_again(state.steps)?;
        }
        self.steps = Some(state.steps);
        Ok(&self.last.observation)
    }
}

impl Drop for GymnasiumVector {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        self.workers.iter_mut().for_each(Worker::close);
    }
}
