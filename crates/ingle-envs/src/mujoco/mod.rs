//! Gymnasium's `MuJoCo` environments, on `MuJoCo`'s shared library.

mod library;
mod task;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal, Uniform};

use self::library::{Library, Model, Simulation};
use self::task::{Motion, Noise, TASKS, Task};
use crate::error::{EnvironmentError, check_length};
use crate::python::{self, unavailable};
use crate::{BoxSpace, Environment, EnvironmentOptions, Step};

/// One of Gymnasium's `MuJoCo` environments, stepped natively: observations and rewards are Gymnasium's.
///
/// The library is loaded when the first environment is made, from the `mujoco` package of the user's Python or from
/// [`EnvironmentOptions::mujoco_library`]; nothing is needed to build. The model files are those of the `gymnasium`
/// package, or in [`EnvironmentOptions::mujoco_models`]. All versions from 3.3 to 4.0 work;
/// `InvertedDoublePendulum-v5`, `Ant-v5` and `Humanoid-v5` read forces by name, which needs 3.17.
///
/// | name | observation | action | time limit | terminates |
/// |---|---|---|---|---|
/// | `HalfCheetah-v5` | 17 | 6 in `[-1, 1]` | 1000 | never |
/// | `Hopper-v5` | 11 | 3 in `[-1, 1]` | 1000 | when it falls |
/// | `Walker2d-v5` | 17 | 6 in `[-1, 1]` | 1000 | when it falls |
/// | `Swimmer-v5` | 8 | 2 in `[-1, 1]` | 1000 | never |
/// | `InvertedPendulum-v5` | 4 | 1 in `[-3, 3]` | 1000 | when it falls |
/// | `InvertedDoublePendulum-v5` | 9 | 1 in `[-1, 1]` | 1000 | when it falls |
/// | `Reacher-v5` | 10 | 2 in `[-1, 1]` | 50 | never |
/// | `Ant-v5` | 105 | 8 in `[-1, 1]` | 1000 | when it falls or jumps |
/// | `Humanoid-v5` | 348 | 17 in `[-0.4, 0.4]` | 1000 | when it falls |
///
/// [`make`](crate::make) makes them as `mujoco:HalfCheetah-v5`, with the time limit.
///
/// Source: `gymnasium/envs/mujoco/*_v5.py`, version 1.4.0 (MIT licence), with their default arguments.
pub struct Mujoco {
    task: &'static Task,
    simulation: Simulation,
    observation_space: BoxSpace,
    action_space: BoxSpace,
    /// The model's initial positions and velocities, around which episodes begin.
    initial: Vec<f64>,
    /// Simulated seconds in a step of the environment.
    seconds: f64,
    /// The masses of the bodies, where the reward is about their centre.
    masses: Vec<f64>,
    /// Where the reward measures progress from; `None` before the first reset.
    position: Option<f64>,
    control: Vec<f64>,
}

/// The names of the environments, as Gymnasium has them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|task| task.name)
}

/// What makes environments of one name: the library and the model are found once.
pub(crate) struct Maker {
    name: String,
    task: &'static Task,
    model: Arc<Model>,
    python: PathBuf,
}

impl Maker {
    /// Finds library and model of the environment that Gymnasium calls `task`, for the registry's `name`.
    pub(crate) fn new(
        name: &str,
        task: &str,
        options: &EnvironmentOptions,
    ) -> Result<Option<Self>, EnvironmentError> {
        let Some(task) = TASKS.iter().find(|known| known.name.eq_ignore_ascii_case(task)) else {
            return Ok(None);
        };
        let python = python::interpreter(options.python.as_deref());
        let unavailable = |reason: String| unavailable(name, reason, &python);
        let (library, models) = find(options, &python).map_err(unavailable)?;
        let library = Library::open(&library).map_err(unavailable)?;
        let model = Model::load(library, &models.join(task.model), task.sizes).map_err(unavailable)?;
        Ok(Some(Self { name: name.to_owned(), task, model: Arc::new(model), python }))
    }

    /// Makes one environment.
    pub(crate) fn make(&self) -> Result<Mujoco, EnvironmentError> {
        Mujoco::new(self.task, Arc::clone(&self.model))
            .map_err(|reason| unavailable(&self.name, reason, &self.python))
    }

    /// The number of steps after which an episode is truncated.
    pub(crate) fn time_limit(&self) -> u64 {
        self.task.time_limit
    }
}

/// The library and the folder of the models.
fn find(options: &EnvironmentOptions, python: &Path) -> Result<(PathBuf, PathBuf), String> {
    let given = (options.mujoco_library.clone(), options.mujoco_models.clone());
    if let (Some(library), Some(models)) = given {
        return Ok((library, models));
    }
    let [mujoco, gymnasium] = python::folders(python, ["mujoco", "gymnasium"])?;
    let missing = |package: &str| format!("{} has no package `{package}`", python.display());
    let library = match given.0 {
        Some(library) => library,
        None => library_in(&mujoco.ok_or_else(|| missing("mujoco"))?)?,
    };
    let models = match given.1 {
        Some(models) => models,
        None => gymnasium.ok_or_else(|| missing("gymnasium"))?.join("envs/mujoco/assets"),
    };
    Ok((library, models))
}

/// The library in the folder of the Python package: `libmujoco.so.3.17.0`, `libmujoco.3.17.0.dylib`, `mujoco.dll`.
fn library_in(folder: &Path) -> Result<PathBuf, String> {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libmujoco.") || name == "mujoco.dll"
    };
    std::fs::read_dir(folder)
        .ok()
        .and_then(|entries| entries.flatten().map(|entry| entry.path()).filter(is_library).min())
        .ok_or_else(|| format!("the package in {} has no library `libmujoco`", folder.display()))
}

impl Mujoco {
    fn new(task: &'static Task, model: Arc<Model>) -> Result<Self, String> {
        let masses =
            if task.motion == Motion::CentreOfMass { model.field(c"body_mass")? } else { Vec::new() };
        let mut simulation = Simulation::new(model, task.reads)?;
        let initial = [simulation.positions(), simulation.velocities()].concat();
        let control = vec![0.0; task.sizes.controls];
        simulation.start(&initial)?;
        simulation.step(&control, 1, false)?;
        let seconds = simulation.time() * task.frame_skip as f64;
        Ok(Self {
            task,
            simulation,
            observation_space: BoxSpace::symmetric(f32::INFINITY, task.observation),
            action_space: BoxSpace::symmetric(task.action_bound, task.sizes.controls),
            initial,
            seconds,
            masses,
            position: None,
            control,
        })
    }

    /// Puts the simulation at generalised positions and velocities, as if by a reset: ready for a first step.
    ///
    /// # Errors
    ///
    /// When there are not as many as the model has, when one is not finite, or when `observation` has the wrong length.
    pub fn set_state(
        &mut self,
        positions: &[f64],
        velocities: &[f64],
        observation: &mut [f32],
    ) -> Result<(), EnvironmentError> {
        check_length("positions", self.task.sizes.positions, positions.len())?;
        check_length("velocities", self.task.sizes.velocities, velocities.len())?;
        check_length("observation", self.observation_space.len(), observation.len())?;
        self.begin(&[positions, velocities].concat(), observation)
    }

    /// The generalised positions.
    pub fn positions(&self) -> &[f64] {
        self.simulation.positions()
    }

    /// The generalised velocities.
    pub fn velocities(&self) -> &[f64] {
        self.simulation.velocities()
    }

    /// The version of the library, as `3.17.0`.
    pub fn library_version(&self) -> &str {
        self.simulation.library().version()
    }

    /// The file that the library was loaded from.
    pub fn library_path(&self) -> &Path {
        self.simulation.library().path()
    }

    fn begin(&mut self, state: &[f64], observation: &mut [f32]) -> Result<(), EnvironmentError> {
        check_finite(state)?;
        self.position = None;
        self.simulation.start(state).map_err(failed)?;
        self.position = Some(self.measured());
        (self.task.observe)(&self.simulation, observation);
        Ok(())
    }

    /// What the reward takes the progress of, in metres.
    fn measured(&self) -> f64 {
        match self.task.motion {
            Motion::None => 0.0,
            Motion::Position => self.simulation.positions()[0],
            Motion::Body => self.simulation.body_position(0)[0],
            Motion::CentreOfMass => task::centre_of_mass(&self.masses, self.simulation.field(task::CENTRES)),
        }
    }

    fn draw(&self, random: &mut ChaCha8Rng) -> Result<Vec<f64>, EnvironmentError> {
        let Task { sizes, noise, .. } = self.task;
        let uniform = |scale: f64| {
            Uniform::new(-scale, scale)
                .map_err(|error| EnvironmentError::Failed { reason: error.to_string() })
        };
        let mut state = self.initial.clone();
        let (positions, velocities) = state.split_at_mut(sizes.positions);
        add(positions, &uniform(noise.positions())?, random);
        match *noise {
            Noise::Uniform(scale) => add(velocities, &uniform(scale)?, random),
            Noise::Normal(scale) => {
                for velocity in velocities {
                    *velocity += scale * random.sample::<f64, _>(StandardNormal);
                }
            }
            Noise::Reacher => {
                let goal = loop {
                    let goal: [f64; 2] = [0.0; 2].map(|_: f64| random.random_range(-0.2..0.2));
                    if goal[0].hypot(goal[1]) < 0.2 {
                        break goal;
                    }
                };
                positions[2..].copy_from_slice(&goal);
                add(&mut velocities[..2], &uniform(0.005)?, random);
                velocities[2..].fill(0.0);
            }
        }
        Ok(state)
    }
}

fn add(values: &mut [f64], noise: &impl Distribution<f64>, random: &mut impl Rng) {
    for value in values {
        *value += noise.sample(random);
    }
}

impl Environment for Mujoco {
    fn observation_space(&self) -> &BoxSpace {
        &self.observation_space
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn reset(&mut self, random: &mut ChaCha8Rng, observation: &mut [f32]) -> Result<(), EnvironmentError> {
        check_length("observation", self.observation_space.len(), observation.len())?;
        let state = self.draw(random)?;
        self.begin(&state, observation)
    }

    fn step(
        &mut self,
        action: &[f32],
        _random: &mut ChaCha8Rng,
        observation: &mut [f32],
    ) -> Result<Step, EnvironmentError> {
        self.action_space.check("action", action)?;
        check_length("observation", self.observation_space.len(), observation.len())?;
        let before = self.position.take().ok_or(EnvironmentError::NotReset)?;
        for (control, action) in self.control.iter_mut().zip(action) {
            *control = f64::from(*action);
        }
        let Task { frame_skip, contact_forces, .. } = *self.task;
        self.simulation.step(&self.control, frame_skip, contact_forces).map_err(failed)?;
        let after = self.measured();
        self.position = Some(after);
        (self.task.observe)(&self.simulation, observation);
        let velocity = (after - before) / self.seconds;
        let (reward, terminated) = (self.task.reward)(&self.simulation, action, velocity);
        Ok(Step { reward, terminated, truncated: false })
    }

    /// Everything that `MuJoCo` integrates, then what progress is measured from.
    fn save(&self) -> Option<Vec<f64>> {
        Some([self.simulation.state(), &[self.position?]].concat())
    }

    fn restore(&mut self, state: &[f64]) -> Result<(), EnvironmentError> {
        check_finite(state)?;
        let Some((&position, state)) = state.split_last() else {
            return Err(EnvironmentError::mismatch("there is none"));
        };
        self.position = None;
        self.simulation.restore(state).map_err(EnvironmentError::mismatch)?;
        self.position = Some(position);
        Ok(())
    }
}

fn check_finite(state: &[f64]) -> Result<(), EnvironmentError> {
    match state.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(EnvironmentError::mismatch(format!("a state that contains {value}"))),
        None => Ok(()),
    }
}

fn failed(reason: String) -> EnvironmentError {
    EnvironmentError::Failed { reason }
}
