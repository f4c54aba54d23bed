//! The native environments against recordings of Gymnasium, and the vector against what it promises.

use ingle_envs::rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use ingle_envs::{
    BoxSpace, Environment, EnvironmentError, Episode, LinearQuadratic, MountainCarContinuous, Pendulum, Step,
    SyncVector, TimeLimit, VectorEnvironment, VectorState, make, make_vector, names,
};
use proptest::prelude::*;
use serde::Deserialize;

// -----------------------------------------------------------------------------------------------------------
// Recordings of Gymnasium
// -----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Recording {
    environment: String,
    trajectories: Vec<Trajectory>,
}

/// Its fields are described in `fixtures/record.py`.
#[derive(Deserialize)]
struct Trajectory {
    name: String,
    time_limit: u64,
    actions: Vec<f32>,
    states: Vec<[f64; 2]>,
    observations: Vec<Vec<f32>>,
    rewards: Vec<f64>,
    terminated: Vec<bool>,
    truncated: Vec<bool>,
}

fn pendulum_recording() -> Recording {
    serde_json::from_str(include_str!("../fixtures/pendulum.json")).unwrap()
}

fn mountain_car_recording() -> Recording {
    serde_json::from_str(include_str!("../fixtures/mountain_car_continuous.json")).unwrap()
}

impl Trajectory {
    /// The relative error that a reward may have.
    ///
    /// The last place of float64 arithmetic is a matter of `sin` and `pow`, hence 1e-12. For the pendulum,
    /// `NumPy` adds a float32 `powf(u, 2)`, which is now and then one unit in the last place off `u * u`,
    /// except where the square is exact, as it is for a multiple of 1/1024.
    fn reward_error(&self, t: usize) -> f64 {
        let torque = f64::from(self.actions[t]).clamp(-2.0, 2.0);
        let exact = (torque * 1024.0).fract() == 0.0;
        let powf = if exact { 0.0 } else { 0.001 * torque * torque * f64::from(f32::EPSILON) };
        1e-12 * self.rewards[t].abs() + powf
    }

    /// Runs `environment` from the first recorded state to the end, on its own, and compares all it returns.
    ///
    /// On one machine the two are equal to the bit. Between machines `sin` and `cos` may differ in the last
    /// place, and the recorded motions let that grow to less than the tolerance.
    fn runs_freely(&self, environment: &mut dyn Environment) {
        let mut observation = vec![0.0; environment.observation_space().len()];
        for (t, action) in self.actions.iter().enumerate() {
            let step = environment.step(&[*action], &mut unused(), &mut observation).unwrap();
            let what = format!("{}, step {t}", self.name);
            for (ours, theirs) in observation.iter().zip(&self.observations[t + 1]) {
                assert!((ours - theirs).abs() <= 1e-6, "{what}: observed {ours}, not {theirs}");
            }
            let error = (step.reward - self.rewards[t]).abs();
            assert!(error <= 1e-6 * self.rewards[t].abs() + 1e-6, "{what}: reward off by {error}");
            assert_eq!(step.terminated, self.terminated[t], "{what}");
            assert_eq!(step.truncated, self.truncated[t], "{what}");
        }
    }

    /// Steps `environment` from each recorded state to the next, put right after every step.
    ///
    /// `set` puts the environment in the state of row `t`.
    fn steps_singly<E: Environment>(&self, environment: &mut E, set: impl Fn(&mut E, usize)) {
        let mut observation = vec![0.0; environment.observation_space().len()];
        for (t, action) in self.actions.iter().enumerate() {
            set(environment, t);
            let step = environment.step(&[*action], &mut unused(), &mut observation).unwrap();
            let what = format!("{}, step {t}", self.name);
            let state = environment.save().unwrap();
            for (ours, theirs) in state.iter().zip(&self.states[t + 1]) {
                let error = (ours - theirs).abs();
                assert!(error <= 1e-14 * theirs.abs().max(1.0), "{what}: state off by {error:e}");
            }
            for (ours, theirs) in observation.iter().zip(&self.observations[t + 1]) {
                let error = (ours - theirs).abs();
                assert!(
                    error <= f32::EPSILON * theirs.abs() + 1e-14,
                    "{what}: observed {ours}, not {theirs}"
                );
            }
            let error = (step.reward - self.rewards[t]).abs();
            assert!(error <= self.reward_error(t), "{what}: reward off by {error:e}");
            assert_eq!(step.terminated, self.terminated[t], "{what}");
        }
    }
}

/// A stream for environments whose steps draw nothing from it.
fn unused() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0)
}

#[test]
fn pendulum_steps_as_gymnasium_does() {
    let recording = pendulum_recording();
    assert_eq!(recording.environment, "Pendulum-v1");
    for trajectory in &recording.trajectories {
        trajectory.steps_singly(&mut Pendulum::new(), |pendulum, t| {
            let [angle, velocity] = trajectory.states[t];
            pendulum.set_state(angle, velocity).unwrap();
        });
    }
}

#[test]
fn mountain_car_steps_as_gymnasium_does() {
    let recording = mountain_car_recording();
    assert_eq!(recording.environment, "MountainCarContinuous-v0");
    for trajectory in &recording.trajectories {
        trajectory.steps_singly(&mut MountainCarContinuous::new(), |car, t| {
            let [position, velocity] = trajectory.states[t];
            car.restore(&[position, velocity, if t == 0 { 0.0 } else { 1.0 }]).unwrap();
        });
    }
}

#[test]
fn whole_pendulum_episodes_are_gymnasiums() {
    for trajectory in &pendulum_recording().trajectories {
        let mut pendulum = Pendulum::new();
        let [angle, velocity] = trajectory.states[0];
        pendulum.set_state(angle, velocity).unwrap();
        trajectory.runs_freely(&mut TimeLimit::new(pendulum, trajectory.time_limit).unwrap());
    }
}

#[test]
fn whole_mountain_car_episodes_are_gymnasiums() {
    let recording = mountain_car_recording();
    for trajectory in &recording.trajectories {
        let mut car = MountainCarContinuous::new();
        let [position, velocity] = trajectory.states[0];
        car.set_state(position, velocity).unwrap();
        trajectory.runs_freely(&mut TimeLimit::new(car, trajectory.time_limit).unwrap());
    }
    let endings: Vec<_> = recording
        .trajectories
        .iter()
        .map(|trajectory| (*trajectory.terminated.last().unwrap(), *trajectory.truncated.last().unwrap()))
        .collect();
    for ending in [(false, false), (true, false), (false, true), (true, true)] {
        assert!(endings.contains(&ending), "no recording ends with (terminated, truncated) = {ending:?}");
    }
}

#[test]
fn names_have_the_recorded_time_limits() {
    for (name, recording) in
        [("pendulum", pendulum_recording()), ("mountain-car-continuous", mountain_car_recording())]
    {
        let limit = recording.trajectories.iter().find(|t| t.name == "time limit").unwrap().time_limit;
        for name in [name.to_owned(), name.to_uppercase(), recording.environment.to_lowercase()] {
            let mut environment = make(&name).unwrap();
            let mut observation = vec![0.0; environment.observation_space().len()];
            environment.reset(&mut ChaCha8Rng::seed_from_u64(3), &mut observation).unwrap();
            for t in 1..=limit {
                let step = environment.step(&[0.0], &mut unused(), &mut observation).unwrap();
                assert_eq!((step.terminated, step.truncated), (false, t == limit), "{name}, step {t}");
            }
        }
    }
}

// -----------------------------------------------------------------------------------------------------------
// Native environments
// -----------------------------------------------------------------------------------------------------------

#[test]
fn native_spaces_are_what_the_constructor_would_accept() {
    for (name, _) in names() {
        let environment = make(name).unwrap();
        for space in [environment.observation_space(), environment.action_space()] {
            assert_eq!(*space, BoxSpace::new(space.low().to_vec(), space.high().to_vec()).unwrap());
        }
        assert!(environment.action_space().is_bounded());
    }
}

#[test]
fn episodes_begin_where_gymnasiums_do() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut starts = |environment: &mut dyn Environment, observation_len: usize| -> Vec<Vec<f64>> {
        let mut observation = vec![0.0; observation_len];
        (0..4000)
            .map(|_| {
                environment.reset(&mut random, &mut observation).unwrap();
                environment.save().unwrap()
            })
            .collect()
    };
    // A uniform variable: all in the interval, and a mean within five standard errors of its middle.
    let is_uniform = |values: &mut dyn Iterator<Item = f64>, low: f64, high: f64| {
        let values: Vec<_> = values.collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let spread = values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
            - values.iter().copied().fold(f64::INFINITY, f64::min);
        let standard_error = (high - low) / (12.0 * values.len() as f64).sqrt();
        assert!(values.iter().all(|value| (low..high).contains(value)));
        assert!((mean - f64::midpoint(low, high)).abs() < 5.0 * standard_error, "mean {mean}");
        assert!(spread > 0.99 * (high - low), "spread {spread}");
    };
    let pi = std::f64::consts::PI;
    let pendulum = starts(&mut Pendulum::new(), 3);
    is_uniform(&mut pendulum.iter().map(|state| state[0]), -pi, pi);
    is_uniform(&mut pendulum.iter().map(|state| state[1]), -1.0, 1.0);
    let car = starts(&mut MountainCarContinuous::new(), 2);
    is_uniform(&mut car.iter().map(|state| state[0]), -0.6, -0.4);
    assert!(car.iter().all(|state| state[1..] == [0.0, 0.0]));
}

#[test]
fn native_environments_refuse_bad_input() {
    for (name, _) in names() {
        let mut environment = make(name).unwrap();
        let len = environment.observation_space().len();
        let zeros = vec![0.0; environment.action_space().len()];
        let mut observation = vec![0.0; len];
        let random = &mut unused();

        let early = environment.step(&zeros, random, &mut observation).unwrap_err();
        assert!(matches!(early, EnvironmentError::NotReset), "{early}");
        assert_eq!(environment.save(), None);

        let short = environment.reset(random, &mut []).unwrap_err();
        assert_eq!(short.to_string(), format!("`observation` has 0 values, expected {len}"));
        environment.reset(random, &mut observation).unwrap();
        let before = environment.save();
        let expected = zeros.len();
        let first = |value: f32| [&[value], &zeros[1..]].concat();
        for (action, message) in [
            (vec![], format!("`action` has 0 values, expected {expected}")),
            (vec![0.0; 9], format!("`action` has 9 values, expected {expected}")),
            (first(f32::NAN), "`action[0]` is NaN".to_owned()),
            (first(f32::NEG_INFINITY), "`action[0]` is -inf".to_owned()),
        ] {
            let error = environment.step(&action, random, &mut observation).unwrap_err();
            assert_eq!(error.to_string(), message, "{name}");
        }
        let short = environment.step(&zeros, random, &mut []).unwrap_err();
        assert_eq!(short.to_string(), format!("`observation` has 0 values, expected {len}"));
        assert_eq!(environment.save(), before, "{name}: a refused step moved it");
    }
}

#[test]
fn native_environments_refuse_foreign_states() {
    let message = |result: Result<(), EnvironmentError>| result.unwrap_err().to_string();
    let (mut pendulum, mut car) = (Pendulum::new(), MountainCarContinuous::new());
    assert_eq!(message(pendulum.restore(&[1.0])), "the saved state does not fit: 1 numbers, expected 2");
    assert_eq!(
        message(pendulum.set_state(f64::NAN, 0.5)),
        "the saved state does not fit: angle NaN, angular velocity 0.5"
    );
    assert_eq!(
        message(car.restore(&[0.1, 0.0, 2.0])),
        "the saved state does not fit: [0.1, 0.0, 2.0], expected a position, a velocity, and 0 or 1"
    );
    assert_eq!(
        message(car.set_state(0.0, f64::INFINITY)),
        "the saved state does not fit: position 0, velocity inf"
    );
    let mut limited = TimeLimit::new(pendulum, 200).unwrap();
    assert_eq!(
        message(limited.restore(&[])),
        "the saved state does not fit: the number of steps taken is missing"
    );
    for elapsed in [-1.0, 0.5, 201.0, f64::NAN] {
        assert_eq!(
            message(limited.restore(&[0.0, 0.0, elapsed])),
            format!("the saved state does not fit: {elapsed} steps taken of at most 200")
        );
    }
}

#[test]
fn the_optimum_of_the_linear_tasks_is_known() {
    // An independent solution of Riccati's equation in NumPy, at gamma 0.99.
    let close = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 2e-6, "{ours}, not {theirs}");
    let line = LinearQuadratic::lqr().optimum(0.99).unwrap();
    close(line.action(&[1.0])[0].into(), -0.904_532_89);
    close(line.value(&[-1.0]), -10.045_328_92);
    let plane = LinearQuadratic::point_mass().optimum(0.99).unwrap();
    let action = plane.action(&[1.0, 0.0, 0.0, 1.0]);
    close(action[0].into(), -0.864_574_98);
    close(action[1].into(), -1.346_999_76);
    close(plane.value(&[1.0, 1.0, 0.0, 0.0]), -(14.469_532_66 + 2.0 * 9.992_703_12 + 14.569_267_92));
    assert!(LinearQuadratic::lqr().optimum(1.5).is_err());
    assert_eq!(LinearQuadratic::lqr().optimum(0.0).unwrap().action(&[1.0]), [0.0]);
}

#[test]
fn no_action_is_better_than_the_optimum() {
    for (mut environment, size) in [(LinearQuadratic::lqr(), 1), (LinearQuadratic::point_mass(), 2)] {
        let mut observation = vec![0.0; environment.observation_space().len()];
        let mut random = ChaCha8Rng::seed_from_u64(2);
        for gamma in [0.5, 0.9, 0.99, 1.0] {
            let optimum = environment.optimum(gamma).unwrap();
            for _ in 0..10 {
                environment.reset(&mut random, &mut observation).unwrap();
                for t in 0..50 {
                    let value = optimum.value(&observation);
                    let best = optimum.action(&observation);
                    assert!(environment.action_space().contains(&best), "step {t}: {best:?}");
                    let state = environment.save().unwrap();
                    let mut return_of = |action: &[f32], observation: &mut [f32]| {
                        environment.restore(&state).unwrap();
                        let step = environment.step(action, &mut unused(), observation).unwrap();
                        step.reward + gamma * optimum.value(observation)
                    };
                    let scratch = &mut vec![0.0; observation.len()];
                    for change in [-0.3, 0.1] {
                        let mut other = best.clone();
                        other[size - 1] = (other[size - 1] + change).clamp(-1.0, 1.0);
                        let moved = f64::from(other[size - 1] - best[size - 1]);
                        // The cost of the force alone rises by the square of the change.
                        assert!(return_of(&other, scratch) < value - 0.9 * moved * moved + 1e-5);
                    }
                    let error = (return_of(&best, &mut observation) - value).abs();
                    assert!(error < 1e-5 * value.abs().max(1.0), "step {t}: {error}");
                }
            }
        }
    }
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let known = "there is: pendulum (Pendulum-v1), mountain-car-continuous (MountainCarContinuous-v0), lqr, point-mass, \
                 mujoco:NAME with one of HalfCheetah-v5, Hopper-v5, Walker2d-v5, Swimmer-v5, InvertedPendulum-v5, \
                 InvertedDoublePendulum-v5, Reacher-v5, Ant-v5, Humanoid-v5, \
                 gym:NAME with any that your Gymnasium knows";
    for (name, suggestion) in [
        ("pendulum-v2", " (did you mean `Pendulum-v1`?)"),
        ("pendulum 2", " (did you mean `pendulum`?)"),
        ("MountainCarContinous-v0", " (did you mean `MountainCarContinuous-v0`?)"),
        ("halfcheetah", ""),
        ("", ""),
    ] {
        let error = make(name).err().unwrap();
        assert_eq!(error.to_string(), format!("there is no environment `{name}`{suggestion}; {known}"));
        assert!(matches!(make_vector(name, 2).err().unwrap(), EnvironmentError::UnknownName { .. }));
    }
}

// -----------------------------------------------------------------------------------------------------------
// The vector, over an environment that follows a script
// -----------------------------------------------------------------------------------------------------------

/// Episode after episode, plays the same script. Observes `[episode, step of the episode]` and counts from 1
/// and 0.
struct Script {
    spaces: [BoxSpace; 2],
    lines: Vec<Step>,
    episode: f32,
    t: usize,
    observe: fn(f32, f32) -> Vec<f32>,
}

fn script(lines: &[(f64, bool, bool)]) -> Script {
    Script {
        spaces: [
            BoxSpace::new(vec![0.0; 2], vec![f32::INFINITY; 2]).unwrap(),
            BoxSpace::new(vec![-1.0; 2], vec![1.0; 2]).unwrap(),
        ],
        lines: lines
            .iter()
            .map(|&(reward, terminated, truncated)| Step { reward, terminated, truncated })
            .collect(),
        episode: 0.0,
        t: 0,
        observe: |episode, t| vec![episode, t],
    }
}

impl Script {
    fn write(&self, observation: &mut [f32]) {
        for (out, value) in observation.iter_mut().zip((self.observe)(self.episode, self.t as f32)) {
            *out = value;
        }
    }
}

impl Environment for Script {
    fn observation_space(&self) -> &BoxSpace {
        &self.spaces[0]
    }

    fn action_space(&self) -> &BoxSpace {
        &self.spaces[1]
    }

    fn reset(&mut self, _random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        self.episode += 1.0;
        self.t = 0;
        self.write(observation);
        Ok(())
    }

    fn step(
        &mut self,
        _action: &[f32],
        _random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        let step = *self
            .lines
            .get(self.t)
            .ok_or_else(|| EnvironmentError::Failed { reason: format!("no line {}", self.t) })?;
        self.t += 1;
        self.write(observation);
        Ok(step)
    }
}

fn vector(environments: impl IntoIterator<Item = Script>) -> SyncVector {
    SyncVector::new(environments.into_iter().map(|script| Box::new(script) as Box<dyn Environment>).collect())
        .unwrap()
}

#[test]
fn an_episodes_end_keeps_its_last_observation() {
    // Four environments, one for each combination of the flags; all end but the first.
    let flags = [(false, false), (true, false), (false, true), (true, true)];
    let mut environments = vector(flags.map(|(terminated, truncated)| {
        script(&[(1.0, false, false), (0.5, terminated, truncated), (0.25, false, false)])
    }));
    assert_eq!(environments.reset(7).unwrap(), [1.0, 0.0].repeat(4));

    let first = environments.step(&[0.0; 8]).unwrap();
    assert_eq!(first.next_observation, [1.0, 1.0].repeat(4));
    assert_eq!(first.observation, first.next_observation);
    assert_eq!(first.reward, [1.0; 4]);
    assert!(first.episodes.is_empty());

    let second = environments.step(&[0.0; 8]).unwrap();
    assert_eq!(second.next_observation, [1.0, 2.0].repeat(4), "the successors, before any reset");
    assert_eq!(second.observation, [1.0, 2.0, 2.0, 0.0, 2.0, 0.0, 2.0, 0.0], "what to act on");
    assert_eq!(second.reward, [0.5; 4]);
    assert_eq!(second.terminated, flags.map(|(terminated, _)| terminated));
    assert_eq!(second.truncated, flags.map(|(_, truncated)| truncated));
    let ended = |environment| Episode { environment, episode_return: 1.5, length: 2 };
    assert_eq!(second.episodes, [1, 2, 3].map(ended));

    let third = environments.step(&[0.0; 8]).unwrap();
    assert_eq!(third.next_observation, [1.0, 3.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
    assert_eq!(third.reward, [0.25, 1.0, 1.0, 1.0]);
    assert_eq!((&third.terminated[..], &third.truncated[..]), (&[false; 4][..], &[false; 4][..]));
    assert!(third.episodes.is_empty(), "an episode is told once");

    let fourth = environments.step(&[0.0; 2]).unwrap_err();
    assert_eq!(fourth.to_string(), "`actions` has 2 values, expected 8");
}

#[test]
fn a_time_limit_truncates_and_never_terminates() {
    let flags = |limit: u64, ending: (bool, bool)| {
        let line = |(terminated, truncated)| (1.0, terminated, truncated);
        let lines = [(false, false), (false, false), ending].map(line);
        let mut limited = TimeLimit::new(script(&lines), limit).unwrap();
        let mut observation = [0.0; 2];
        limited.reset(&mut unused(), &mut observation).unwrap();
        [(); 3].map(|()| {
            let step = limited.step(&[0.0; 2], &mut unused(), &mut observation).unwrap();
            (step.terminated, step.truncated)
        })
    };
    let none = (false, false);
    assert_eq!(flags(4, none), [none, none, none]);
    assert_eq!(flags(3, none), [none, none, (false, true)]);
    assert_eq!(flags(3, (true, false)), [none, none, (true, true)], "both, when they coincide");
    assert_eq!(flags(4, (true, false)), [none, none, (true, false)]);
    assert_eq!(
        flags(4, (false, true)),
        [none, none, (false, true)],
        "the environment's own truncation stays"
    );
    let zero = TimeLimit::new(script(&[]), 0).err().unwrap();
    assert_eq!(zero.to_string(), "a time limit needs at least one step");
}

#[test]
fn a_time_limit_counts_anew_in_each_episode() {
    let limited = TimeLimit::new(script(&[(1.0, false, false); 9]), 3).unwrap();
    let mut environments = SyncVector::new(vec![Box::new(limited)]).unwrap();
    environments.reset(0).unwrap();
    let truncated: Vec<_> = (0..9).map(|_| environments.step(&[0.0; 2]).unwrap().truncated[0]).collect();
    assert_eq!(truncated, [false, false, true].repeat(3));
    environments.step(&[0.0; 2]).unwrap();
    environments.reset(0).unwrap();
    let truncated: Vec<_> = (0..3).map(|_| environments.step(&[0.0; 2]).unwrap().truncated[0]).collect();
    assert_eq!(truncated, [false, false, true], "a reset of the vector begins an episode too");
}

#[test]
fn what_is_not_finite_is_refused_with_its_place() {
    let good = || script(&[(1.0, false, false), (1.0, true, false)]);
    let with = |observe: fn(f32, f32) -> Vec<f32>| Script { observe, ..good() };
    let reward = |reward: f64| Script { lines: vec![Step { reward, ..good().lines[0] }], ..good() };

    // The first error of a vector whose environment 1 is `bad`, and the vector.
    let first_error = |bad: Script| {
        let mut environments = vector([good(), bad]);
        let error = match environments.reset(0).map(<[f32]>::to_vec) {
            Err(error) => error,
            Ok(_) => (0..4).find_map(|_| environments.step(&[0.0; 4]).err()).expect("an error"),
        };
        (error.to_string(), environments)
    };
    for (bad, message) in [
        (with(|_, _| vec![0.0, f32::NAN]), "environment 1, reset: `observation[1]` is NaN"),
        (with(|_, _| vec![0.0]), "environment 1, reset: `observation[1]` is NaN"), // not written
        (with(|_, t| vec![t / (t - 1.0), t]), "environment 1, step 1: `next_observation[0]` is inf"),
        (
            with(|_, t| if t < 2.0 { vec![t; 2] } else { vec![] }),
            "environment 1, step 2: `next_observation[0]` is NaN",
        ),
        // The episode ends in step 2, and the next one begins badly.
        (
            with(|episode, t| vec![t, episode.ln() / (2.0 - episode)]),
            "environment 1, step 2: `observation[1]` is inf",
        ),
        (reward(f64::NAN), "environment 1, step 1: `reward[0]` is NaN"),
        (reward(-1e300), "environment 1, step 1: `reward[0]` is -inf"), // as float32
        (script(&[(1.0, false, false)]), "environment 1, step 2: the environment failed: no line 1"),
    ] {
        let (error, mut environments) = first_error(bad);
        assert_eq!(error, message);
        // The environments stand at different steps now: nothing goes on without a reset.
        assert!(matches!(environments.step(&[0.0; 4]).unwrap_err(), EnvironmentError::NotReset));
        assert_eq!(environments.save(), None);
    }
}

/// Fails in the second step of its episodes 1 and 3, and never else.
fn failing(how: fn(f32, f32) -> Vec<f32>) -> Script {
    Script { observe: how, ..script(&[(1.0, false, false), (2.0, false, false), (4.0, true, false)]) }
}

#[test]
fn failures_are_borne_as_often_as_allowed() {
    let panics: fn(f32, f32) -> Vec<f32> = |episode, t| {
        assert!(episode % 2.0 == 0.0 || t < 2.0, "the boiler burst");
        vec![episode, t]
    };
    let not_finite: fn(f32, f32) -> Vec<f32> =
        |episode, t| if episode % 2.0 == 0.0 || t < 2.0 { vec![episode, t] } else { vec![episode, f32::NAN] };
    for (how, reason) in [
        (panics, "environment 1, step 7: the environment failed: it panicked: the boiler burst"),
        (not_finite, "environment 1, step 7: `next_observation[1]` is NaN"),
    ] {
        for threaded in [false, true] {
            let good = || script(&[(1.0, false, false); 20]);
            let mut environments = vector([good(), failing(how)]).restarts(1);
            if threaded {
                environments = environments.threaded();
            }
            environments.reset(0).unwrap();
            environments.step(&[0.0; 4]).unwrap();
            let cut = environments.step(&[0.0; 4]).unwrap();
            assert_eq!(cut.reward, [1.0, 0.0]);
            assert_eq!((&cut.terminated[..], &cut.truncated[..]), (&[false; 2][..], &[false, true][..]));
            assert_eq!(cut.next_observation, [1.0, 2.0, 1.0, 1.0], "the last that was seen");
            assert_eq!(cut.observation, [1.0, 2.0, 2.0, 0.0], "a new episode");
            assert_eq!(cut.episodes, [Episode { environment: 1, episode_return: 1.0, length: 1 }]);
            // The second episode is played to its end; in the third nothing is borne any more.
            let ends: Vec<_> = (0..3).map(|_| environments.step(&[0.0; 4]).unwrap().terminated[1]).collect();
            assert_eq!(ends, [false, false, true]);
            environments.step(&[0.0; 4]).unwrap();
            assert_eq!(environments.step(&[0.0; 4]).unwrap_err().to_string(), reason);
            assert!(matches!(environments.step(&[0.0; 4]).unwrap_err(), EnvironmentError::NotReset));
        }
        // Without any, the first one is an error.
        let mut environments = vector([failing(how)]);
        environments.reset(0).unwrap();
        environments.step(&[0.0; 2]).unwrap();
        let error = environments.step(&[0.0; 2]).unwrap_err().to_string();
        assert_eq!(error, reason.replace("environment 1, step 7", "environment 0, step 2"));
    }
}

#[test]
fn refused_actions_move_nothing() {
    let mut environments = make_vector("pendulum", 3).unwrap();
    let early = environments.step(&[0.0; 3]).unwrap_err();
    assert_eq!(early.to_string(), "reset the environment before its first step, and after an error");
    environments.reset(1).unwrap();
    environments.step(&[0.0; 3]).unwrap();
    let before = environments.save().unwrap();
    for (actions, message) in [
        (&[0.0; 2][..], "`actions` has 2 values, expected 3"),
        (&[0.0; 4], "`actions` has 4 values, expected 3"),
        (&[0.0, 0.0, f32::INFINITY], "environment 2, step 2: `action[0]` is inf"),
        (&[0.0, f32::NAN, f32::NAN], "environment 1, step 2: `action[0]` is NaN"),
    ] {
        assert_eq!(environments.step(actions).unwrap_err().to_string(), message);
        assert_eq!(environments.save().unwrap(), before);
    }
    let mut two_actions = vector([script(&[(0.0, false, false)])]);
    two_actions.reset(0).unwrap();
    let error = two_actions.step(&[0.0, f32::NAN]).unwrap_err();
    assert_eq!(error.to_string(), "environment 0, step 1: `action[1]` is NaN");
}

#[test]
fn a_vector_needs_environments_that_agree() {
    let none = SyncVector::new(vec![]).err().unwrap();
    assert_eq!(none.to_string(), "a vector needs at least one environment");
    assert_eq!(make_vector("pendulum", 0).err().unwrap().to_string(), none.to_string());

    let boxed = |environment| Box::new(environment) as Box<dyn Environment>;
    let mut other = script(&[]);
    other.spaces[1] = BoxSpace::new(vec![-2.0; 2], vec![2.0; 2]).unwrap();
    let error = SyncVector::new(vec![boxed(script(&[])), boxed(other)]).err().unwrap();
    assert_eq!(error.to_string(), "environment 1 has another action_space than environment 0");
    let error = SyncVector::new(vec![make("pendulum").unwrap(), boxed(script(&[]))]).err().unwrap();
    assert_eq!(error.to_string(), "environment 1 has another observation_space than environment 0");
}

// -----------------------------------------------------------------------------------------------------------
// Seeds, save and restore
// -----------------------------------------------------------------------------------------------------------

/// Draws from its stream in every step, an odd number of words in all.
struct Noise {
    spaces: [BoxSpace; 2],
    sum: f64,
}

impl Environment for Noise {
    fn observation_space(&self) -> &BoxSpace {
        &self.spaces[0]
    }

    fn action_space(&self) -> &BoxSpace {
        &self.spaces[1]
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        self.sum = f64::from(random.random::<f32>());
        observation[0] = self.sum as f32;
        Ok(())
    }

    fn step(
        &mut self,
        action: &[f32],
        random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        self.sum += random.random::<f64>() + f64::from(random.random::<f32>() + action[0]);
        observation[0] = self.sum as f32;
        Ok(Step { reward: self.sum, terminated: random.random::<f32>() < 0.1, truncated: false })
    }

    fn save(&self) -> Option<Vec<f64>> {
        Some(vec![self.sum])
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        self.sum = state[0];
        Ok(())
    }
}

fn noise(n: usize) -> SyncVector {
    let space = || BoxSpace::new(vec![-1.0], vec![1.0]).unwrap();
    let environment = || TimeLimit::new(Noise { spaces: [space(), space()], sum: 0.0 }, 25).unwrap();
    SyncVector::new((0..n).map(|_| Box::new(environment()) as Box<dyn Environment>).collect()).unwrap()
}

/// Every bit that a vector returns in `steps` steps, the actions being a function of the step's number.
fn bits(environments: &mut dyn VectorEnvironment, steps: std::ops::Range<usize>) -> Vec<u64> {
    let mut bits = Vec::new();
    for t in steps {
        let actions: Vec<_> = (0..environments.len()).map(|i| ((t * 7 + i) as f32).sin()).collect();
        let step = environments.step(&actions).unwrap();
        let floats = [&step.next_observation, &step.observation, &step.reward];
        bits.extend(floats.into_iter().flatten().map(|value| u64::from(value.to_bits())));
        bits.extend(step.terminated.iter().chain(&step.truncated).map(|&flag| u64::from(flag)));
        for episode in &step.episodes {
            bits.extend([episode.environment as u64, episode.episode_return.to_bits(), episode.length]);
        }
    }
    bits
}

#[test]
fn the_seed_and_the_index_make_the_episode() {
    let start = |n: usize, seed: u64| make_vector("pendulum", n).unwrap().reset(seed).unwrap().to_vec();
    let starts = start(4, 7);
    for i in 0..4 {
        for j in 0..i {
            assert_ne!(starts[i * 3..][..3], starts[j * 3..][..3], "environments {j} and {i}");
        }
    }
    assert_eq!(starts, start(4, 7));
    assert_ne!(starts, start(4, 8));
    assert_eq!(starts[..6], start(2, 7), "more environments do not change the first ones");

    let mut environments = noise(3);
    environments.reset(7).unwrap();
    let first = bits(&mut environments, 0..60);
    environments.reset(7).unwrap();
    assert_eq!(bits(&mut environments, 0..60), first, "a second run in the same vector");
    environments.reset(8).unwrap();
    assert_ne!(bits(&mut environments, 0..60), first);
}

#[test]
fn a_restored_vector_goes_on_bit_for_bit() {
    type Make = fn() -> Box<dyn VectorEnvironment>;
    let makers: [Make; 4] = [
        || make_vector("pendulum", 3).unwrap(),
        || make_vector("mountain-car-continuous", 3).unwrap(),
        || make_vector("lqr", 3).unwrap(),
        || Box::new(noise(3)),
    ];
    for make in makers {
        // Cuts at the start, after the first step, in mid-episode, and on both sides of the pendulum's limit.
        for cut in [0, 1, 2, 17, 199, 200, 201] {
            let mut straight = make();
            straight.reset(7).unwrap();
            bits(straight.as_mut(), 0..cut);
            let json = serde_json::to_string(&straight.save().unwrap()).unwrap();
            let expected = bits(straight.as_mut(), cut..cut + 450);

            let state: VectorState = serde_json::from_str(&json).unwrap();
            assert_eq!(state.steps, cut as u64);
            let mut resumed = make(); // a new process would have nothing else
            let observation = resumed.restore(&state).unwrap();
            assert!(state.environments.iter().flat_map(|e| &e.observation).eq(observation));
            assert_eq!(resumed.save().unwrap(), state, "cut at {cut}");
            assert_eq!(bits(resumed.as_mut(), cut..cut + 450), expected, "cut at {cut}");
        }
    }
}

#[test]
fn foreign_vector_states_are_refused() {
    let mut environments = make_vector("pendulum", 2).unwrap();
    environments.reset(7).unwrap();
    environments.step(&[0.0; 2]).unwrap();
    let good = environments.save().unwrap();
    let mut message = |change: fn(&mut VectorState)| {
        let mut state = good.clone();
        change(&mut state);
        let error = environments.restore(&state).unwrap_err().to_string();
        environments.restore(&good).unwrap();
        assert_eq!(environments.save().unwrap(), good, "a good state helps after a bad one");
        error
    };
    let misfit = "environment 1, step 1: the saved state does not fit:";
    assert_eq!(
        message(|state| state.environments.truncate(1)),
        "the saved state does not fit: 1 environments, expected 2"
    );
    assert_eq!(
        message(|state| state.environments[1].observation.truncate(2)),
        "environment 1, step 1: `observation` has 2 values, expected 3"
    );
    assert_eq!(
        message(|state| state.environments[0].observation[2] = f32::NAN),
        "environment 0, step 1: `observation[2]` is NaN"
    );
    assert_eq!(
        message(|state| state.environments[1].state.insert(0, 0.5)),
        format!("{misfit} 3 numbers, expected 2")
    );
    assert_eq!(
        message(|state| state.environments[1].state[2] = 1000.0),
        format!("{misfit} 1000 steps taken of at most 200")
    );
    assert_eq!(
        message(|state| state.environments[1].episode_return = f64::INFINITY),
        format!("{misfit} an episode return of inf")
    );
    // Counters at their end must not overflow.
    let mut last = good.clone();
    last.steps = u64::MAX;
    last.environments[0].length = u64::MAX;
    environments.restore(&last).unwrap();
    environments.step(&[0.0; 2]).unwrap();
}

#[test]
fn what_cannot_be_saved_says_so() {
    let mut environments = vector([script(&[(0.0, false, false)])]);
    environments.reset(0).unwrap();
    assert_eq!(environments.save(), None);
    let error = script(&[]).restore(&[0.0]).unwrap_err();
    assert_eq!(error.to_string(), "this environment cannot be restored from a saved state");
    assert_eq!(make_vector("pendulum", 1).unwrap().save(), None, "before the first reset");
}

#[test]
fn a_worker_failure_names_the_worker() {
    let error = EnvironmentError::Worker { worker: 3, reason: "exit status 1".to_owned() };
    assert_eq!(error.to_string(), "worker 3 failed: exit status 1");
}

// -----------------------------------------------------------------------------------------------------------
// Boxes
// -----------------------------------------------------------------------------------------------------------

#[test]
fn bad_boxes_are_refused() {
    let message = |low: &[f32], high: &[f32]| BoxSpace::new(low.into(), high.into()).unwrap_err().to_string();
    let lengths = "a space needs as many lower as upper bounds and at least one:";
    assert_eq!(message(&[], &[]), format!("{lengths} got 0 and 0"));
    assert_eq!(message(&[0.0], &[1.0, 1.0]), format!("{lengths} got 1 and 2"));
    for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::NAN)] {
        assert_eq!(
            message(&[0.0, low], &[1.0, high]),
            format!("element 1 of the space: the lower bound {low} is not below the upper bound {high}")
        );
    }
}

#[test]
fn unbounded_boxes_contain_but_do_not_map() {
    let space = BoxSpace::new(vec![-1.0, 0.0], vec![1.0, f32::INFINITY]).unwrap();
    assert!(!space.is_bounded());
    for (values, inside) in [
        (&[1.0, 1e30][..], true),
        (&[-1.0, 0.0], true),
        (&[1.1, 0.0], false),
        (&[0.0, -0.1], false),
        (&[0.0, f32::NAN], false),
        (&[0.0], false),
    ] {
        assert_eq!(space.contains(values), inside, "{values:?}");
    }
    let error = space.from_canonical(&[0.0; 2], &mut [0.0; 2]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "element 1 of the space is unbounded, [0, inf]: it has no map to or from [-1, 1]"
    );

    let space = BoxSpace::new(vec![-1.0; 2], vec![1.0; 2]).unwrap();
    let error = space.from_canonical(&[0.0; 3], &mut [0.0; 3]).unwrap_err();
    assert_eq!(error.to_string(), "`canonical` has 3 values, expected 4");
    let error = space.to_canonical(&[0.0; 4], &mut [0.0; 2]).unwrap_err();
    assert_eq!(error.to_string(), "`out` has 2 values, expected 4");
}

/// A bounded box of one to four elements, of any size that f32 has.
fn bounded_box() -> impl Strategy<Value = BoxSpace> {
    let bound =
        prop_oneof![-10.0_f32..10.0, -1e-6_f32..1e-6, any::<f32>().prop_filter("finite", |x| x.is_finite())];
    prop::collection::vec(
        (bound.clone(), bound).prop_filter("not empty", |(x, y)| x.min(*y) < x.max(*y)),
        1..=4,
    )
    .prop_map(|bounds| {
        let (low, high) = bounds.into_iter().map(|(x, y)| (x.min(y), x.max(y))).unzip();
        BoxSpace::new(low, high).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_canonical_map_is_onto_the_box(
        space in bounded_box(),
        canonical in prop::collection::vec(-1.0_f32..=1.0, 12),
    ) {
        let canonical = &canonical[..3 * space.len()]; // three rows
        let mut values = vec![0.0; canonical.len()];
        space.from_canonical(canonical, &mut values).unwrap();
        prop_assert!(values.chunks(space.len()).all(|row| space.contains(row)), "{values:?}");

        let mut back = vec![0.0; canonical.len()];
        space.to_canonical(&values, &mut back).unwrap();
        let bounds = space.low().iter().zip(space.high()).cycle();
        for ((back, canonical), (&low, &high)) in back.iter().zip(canonical).zip(bounds) {
            // A value has the resolution of f32 at the larger bound, and never a finer one than its smallest number.
            let (low, high) = (f64::from(low), f64::from(high));
            let ulp = f64::from(f32::EPSILON) * low.abs().max(high.abs()) + f64::from(f32::from_bits(1));
            let error = f64::from((back - canonical).abs());
            prop_assert!(error <= ulp / (high - low) + 1e-6, "{canonical} came back as {back}");
        }
    }

    #[test]
    fn the_canonical_map_is_exact_at_the_bounds(space in bounded_box()) {
        let mut out = vec![0.0; space.len()];
        for (canonical, bound) in [(-1.0, space.low()), (1.0, space.high())] {
            let canonical = vec![canonical; space.len()];
            space.from_canonical(&canonical, &mut out).unwrap();
            prop_assert_eq!(&out[..], bound);
            space.to_canonical(bound, &mut out).unwrap();
            prop_assert_eq!(&out, &canonical);
        }
    }
}
