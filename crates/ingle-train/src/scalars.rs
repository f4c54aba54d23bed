//! A run's numbers under the names that people know from other frameworks.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use crate::{EpisodeStatistics, Event};

/// The number of episodes behind a mean of training episodes (Stable-Baselines3's window).
const WINDOW: usize = 100;

/// One number of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Which member of the population it is of.
    pub member: usize,
    /// Environment steps per member.
    pub env_steps: u64,
    /// Its name, as in `eval/mean_reward`.
    pub tag: Cow<'static, str>,
    /// The number.
    pub value: f64,
}

/// Makes scalars of events: a function of what [`MetricsFile`](crate::MetricsFile) writes and of nothing else, so that
/// they can be had from a run that is over.
///
/// | tag | what | when |
/// |---|---|---|
/// | `rollout/ep_rew_mean`, `rollout/ep_len_mean` | return and length of training episodes, mean of the member's last 100 | at the first episode that ends in a log interval |
/// | `train/ent_coef`, `train/ent_coef_loss` | SAC's temperature and its loss | every log interval |
/// | `train/NAME` | any other metric of the learner, as `train/critic_loss`, `train/rnd_loss` | every log interval |
/// | `train/n_updates` | updates so far | every log interval |
/// | `time/fps`, `time/time_elapsed` | environment steps (of a member) per second since the start; seconds since the start | every log interval |
/// | `eval/mean_reward`, `eval/std_reward`, `eval/mean_ep_length` | an evaluation: mean and deviation of the returns, mean length | every evaluation |
///
/// The names are those of Stable-Baselines3 where it has one.
#[derive(Debug)]
pub struct Scalars {
    log_interval: u64,
    rollouts: BTreeMap<usize, Rollout>,
}

/// The last training episodes of a member.
#[derive(Debug, Default)]
struct Rollout {
    episodes: VecDeque<(f64, u64)>,
    /// The log interval that was last shown.
    shown: Option<u64>,
}

impl Scalars {
    /// Of a run with this log interval, in environment steps.
    pub fn new(log_interval: u64) -> Self {
        Self { log_interval: log_interval.max(1), rollouts: BTreeMap::new() }
    }

    /// The scalars that an event brings.
    pub fn of(&mut self, event: &Event<'_>) -> Vec<Scalar> {
        match event {
            Event::Episode { env_steps, member, episode_return, length } => {
                self.episode(*env_steps, *member, (*episode_return, *length))
            }
            Event::Metrics { env_steps, updates, seconds, metrics } => {
                let members = metrics.values().map(Vec::len).max().unwrap_or(1);
                let own = metrics.iter().flat_map(|(name, values)| {
                    values.iter().enumerate().map(move |(member, value)| (member, train_tag(name), *value))
                });
                let of_the_run = [
                    ("train/n_updates", *updates as f64),
                    ("time/fps", *env_steps as f64 / seconds),
                    ("time/time_elapsed", *seconds),
                ];
                let shared = (0..members)
                    .flat_map(|member| of_the_run.map(|(tag, value)| (member, Cow::Borrowed(tag), value)));
                at(*env_steps, own.chain(shared))
            }
            Event::Evaluation { env_steps, members, .. } => {
                at(*env_steps, members.iter().enumerate().flat_map(evaluation))
            }
            Event::Progress(_) | Event::Finished(_) => Vec::new(),
        }
    }

    fn episode(&mut self, env_steps: u64, member: usize, episode: (f64, u64)) -> Vec<Scalar> {
        let interval = env_steps / self.log_interval;
        let rollout = self.rollouts.entry(member).or_default();
        if rollout.episodes.len() == WINDOW {
            rollout.episodes.pop_front();
        }
        rollout.episodes.push_back(episode);
        if rollout.shown.is_some_and(|shown| shown >= interval) {
            return Vec::new();
        }
        rollout.shown = Some(interval);
        let statistics = EpisodeStatistics::of(rollout.episodes.iter().copied());
        let scalars = statistics.into_iter().flat_map(|statistics| {
            [("rollout/ep_rew_mean", statistics.mean_return), ("rollout/ep_len_mean", statistics.mean_length)]
        });
        at(env_steps, scalars.map(|(tag, value)| (member, tag.into(), value)))
    }
}

fn at(env_steps: u64, values: impl Iterator<Item = (usize, Cow<'static, str>, f64)>) -> Vec<Scalar> {
    values.map(|(member, tag, value)| Scalar { member, env_steps, tag, value }).collect()
}

fn evaluation((member, statistics): (usize, &EpisodeStatistics)) -> [(usize, Cow<'static, str>, f64); 3] {
    let EpisodeStatistics { mean_return, std_return, mean_length, .. } = *statistics;
    [
        (member, "eval/mean_reward".into(), mean_return),
        (member, "eval/std_reward".into(), std_return),
        (member, "eval/mean_ep_length".into(), mean_length),
    ]
}

fn train_tag(name: &str) -> Cow<'static, str> {
    match name {
        "temperature" => "train/ent_coef".into(),
        "temperature_loss" => "train/ent_coef_loss".into(),
        _ => format!("train/{name}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(scalars: &[Scalar]) -> Vec<(usize, u64, &str, f64)> {
        scalars.iter().map(|own| (own.member, own.env_steps, own.tag.as_ref(), own.value)).collect()
    }

    fn episode(env_steps: u64, member: usize, episode_return: f64) -> Event<'static> {
        Event::Episode { env_steps, member, episode_return, length: 10 * env_steps }
    }

    #[test]
    fn training_episodes_are_shown_once_in_an_interval_as_the_mean_of_a_members_last() {
        let mut scalars = Scalars::new(100);
        let rollout = |member, steps, mean, length| {
            vec![(member, steps, "rollout/ep_rew_mean", mean), (member, steps, "rollout/ep_len_mean", length)]
        };
        assert_eq!(values(&scalars.of(&episode(40, 0, 2.0))), rollout(0, 40, 2.0, 400.0));
        assert_eq!(values(&scalars.of(&episode(40, 1, -1.0))), rollout(1, 40, -1.0, 400.0));
        assert_eq!(scalars.of(&episode(99, 0, 3.0)), []);
        assert_eq!(values(&scalars.of(&episode(101, 0, 7.0))), rollout(0, 101, 4.0, 800.0));
        for step in 0..WINDOW as u64 {
            scalars.of(&episode(102, 0, step as f64));
        }
        // Only the last 100: of the values 1 to 99 and this one.
        assert_eq!(scalars.of(&episode(250, 0, 50.0))[0].value, 50.0);
    }

    #[test]
    fn metrics_and_evaluations_have_the_known_names_for_each_member() {
        let metrics = [("critic_loss", vec![1.0, 2.0]), ("temperature", vec![0.5, 0.25])];
        let metrics = metrics.map(|(name, values)| (name.to_owned(), values)).into();
        let event = Event::Metrics { env_steps: 300, updates: 200, seconds: 2.0, metrics };
        let scalars = Scalars::new(100).of(&event);
        for expected in [
            (0, 300, "train/critic_loss", 1.0),
            (1, 300, "train/critic_loss", 2.0),
            (1, 300, "train/ent_coef", 0.25),
            (0, 300, "train/n_updates", 200.0),
            (1, 300, "time/fps", 150.0),
            (0, 300, "time/time_elapsed", 2.0),
        ] {
            assert!(values(&scalars).contains(&expected), "{expected:?} in {scalars:?}");
        }
        assert_eq!(scalars.len(), 10);
        let statistics = EpisodeStatistics::of([(1.0, 10), (3.0, 20)]).unwrap();
        let event =
            Event::Evaluation { env_steps: 7, updates: 1, seconds: 1.0, members: vec![statistics].into() };
        assert_eq!(
            values(&Scalars::new(100).of(&event)),
            [
                (0, 7, "eval/mean_reward", 2.0),
                (0, 7, "eval/std_reward", 1.0),
                (0, 7, "eval/mean_ep_length", 15.0)
            ]
        );
    }
}
