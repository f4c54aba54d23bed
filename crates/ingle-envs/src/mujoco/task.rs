//! What the environments are: models, observations, rewards, endings.
//!
//! The arithmetic follows Gymnasium's down to where it is float32: the cost of an action is, because actions are.

use std::ffi::CStr;

use super::library::{Reads, Simulation, Sizes};

/// One of Gymnasium's environments, with its default arguments.
pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) model: &'static str,
    pub(super) sizes: Sizes,
    /// Steps of the simulation in one of the environment.
    pub(super) frame_skip: usize,
    pub(super) time_limit: u64,
    /// Elements of an observation.
    pub(super) observation: usize,
    pub(super) action_bound: f32,
    pub(super) noise: Noise,
    pub(super) motion: Motion,
    pub(super) contact_forces: bool,
    pub(super) reads: Reads<'static>,
    pub(super) observe: fn(&Simulation, &mut [f32]),
    /// From the action and the velocity of the [`Motion`]: the reward, and whether the episode terminated.
    pub(super) reward: fn(&Simulation, &[f32], f64) -> (f64, bool),
}

/// How an episode's start differs from the model's initial state.
#[derive(Clone, Copy)]
pub(super) enum Noise {
    /// Positions and velocities, uniform.
    Uniform(f64),
    /// Positions uniform, velocities normal.
    Normal(f64),
    /// The arm's positions uniform, a goal in a disc, the arm's velocities uniform.
    Reacher,
}

impl Noise {
    pub(super) fn positions(self) -> f64 {
        match self {
            Self::Uniform(scale) | Self::Normal(scale) => scale,
            Self::Reacher => 0.1,
        }
    }
}

/// What a reward takes the velocity of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    None,
    /// The first generalised position.
    Position,
    /// The first body that is read.
    Body,
    /// The centre of all masses.
    CentreOfMass,
}

const fn sizes(positions: usize, velocities: usize, controls: usize) -> Sizes {
    Sizes { positions, velocities, controls }
}

const NOTHING: Reads<'static> = Reads { bodies: &[], fields: &[] };

/// Humanoid's fields, by their index in its reads.
const HUMANOID: [&CStr; 5] = [c"cinert", c"cvel", c"qfrc_actuator", c"cfrc_ext", c"xipos"];
pub(super) const CENTRES: usize = 4;

pub(super) static TASKS: [Task; 9] = [
    Task {
        name: "HalfCheetah-v5",
        model: "half_cheetah.xml",
        sizes: sizes(9, 9, 6),
        frame_skip: 5,
        time_limit: 1000,
        observation: 17,
        action_bound: 1.0,
        noise: Noise::Normal(0.1),
        motion: Motion::Position,
        contact_forces: false,
        reads: NOTHING,
        observe: |simulation, out| {
            fill(out, after(simulation, 1).chain(simulation.velocities().iter().copied()));
        },
        reward: |_, action, velocity| (velocity - cost(0.1, action), false),
    },
    Task {
        name: "Hopper-v5",
        model: "hopper.xml",
        sizes: sizes(6, 6, 3),
        frame_skip: 4,
        time_limit: 1000,
        observation: 11,
        action_bound: 1.0,
        noise: Noise::Uniform(5e-3),
        motion: Motion::Position,
        contact_forces: false,
        reads: NOTHING,
        observe: |simulation, out| fill(out, after(simulation, 1).chain(clipped(simulation))),
        reward: |simulation, action, velocity| {
            let (positions, velocities) = (simulation.positions(), simulation.velocities());
            let healthy = positions[2..].iter().chain(velocities).all(|value| inside(*value, -100.0, 100.0))
                && inside(positions[1], 0.7, f64::INFINITY)
                && inside(positions[2], -0.2, 0.2);
            (velocity + f64::from(healthy) - cost(1e-3, action), !healthy)
        },
    },
    Task {
        name: "Walker2d-v5",
        model: "walker2d_v5.xml",
        sizes: sizes(9, 9, 6),
        frame_skip: 4,
        time_limit: 1000,
        observation: 17,
        action_bound: 1.0,
        noise: Noise::Uniform(5e-3),
        motion: Motion::Position,
        contact_forces: false,
        reads: NOTHING,
        observe: |simulation, out| fill(out, after(simulation, 1).chain(clipped(simulation))),
        reward: |simulation, action, velocity| {
            let positions = simulation.positions();
            let healthy = inside(positions[1], 0.8, 2.0) && inside(positions[2], -1.0, 1.0);
            (velocity + f64::from(healthy) - cost(1e-3, action), !healthy)
        },
    },
    Task {
        name: "Swimmer-v5",
        model: "swimmer.xml",
        sizes: sizes(5, 5, 2),
        frame_skip: 4,
        time_limit: 1000,
        observation: 8,
        action_bound: 1.0,
        noise: Noise::Uniform(0.1),
        motion: Motion::Position,
        contact_forces: false,
        reads: NOTHING,
        observe: |simulation, out| {
            fill(out, after(simulation, 2).chain(simulation.velocities().iter().copied()));
        },
        reward: |_, action, velocity| (velocity - cost(1e-4, action), false),
    },
    Task {
        name: "InvertedPendulum-v5",
        model: "inverted_pendulum.xml",
        sizes: sizes(2, 2, 1),
        frame_skip: 2,
        time_limit: 1000,
        observation: 4,
        action_bound: 3.0,
        noise: Noise::Uniform(0.01),
        motion: Motion::None,
        contact_forces: false,
        reads: NOTHING,
        observe: |simulation, out| {
            fill(out, after(simulation, 0).chain(simulation.velocities().iter().copied()));
        },
        reward: |simulation, _, _| {
            let all = simulation.positions().iter().chain(simulation.velocities());
            let upright = simulation.positions()[1].abs() <= 0.2 && all.copied().all(f64::is_finite);
            (f64::from(upright), !upright)
        },
    },
    Task {
        name: "InvertedDoublePendulum-v5",
        model: "inverted_double_pendulum.xml",
        sizes: sizes(3, 3, 1),
        frame_skip: 5,
        time_limit: 1000,
        observation: 9,
        action_bound: 1.0,
        noise: Noise::Normal(0.1),
        motion: Motion::None,
        contact_forces: false,
        reads: Reads { bodies: &[], fields: &[c"qfrc_constraint", c"site_xpos"] },
        observe: |simulation, out| {
            let positions = simulation.positions();
            let angles = || positions[1..].iter();
            let values = [positions[0]].into_iter();
            let values =
                values.chain(angles().map(|angle| angle.sin())).chain(angles().map(|angle| angle.cos()));
            let force = simulation.field(0)[0].clamp(-10.0, 10.0);
            fill(out, values.chain(clipped(simulation)).chain([force]));
        },
        reward: |simulation, _, _| {
            let tip = simulation.field(1);
            let velocities = simulation.velocities();
            let distance = 0.01 * tip[0].powi(2) + (tip[2] - 2.0).powi(2);
            let speed = 1e-3 * velocities[1].powi(2) + 5e-3 * velocities[2].powi(2);
            let terminated = tip[2] <= 1.0;
            (10.0 * f64::from(!terminated) - distance - speed, terminated)
        },
    },
    Task {
        name: "Reacher-v5",
        model: "reacher.xml",
        sizes: sizes(4, 4, 2),
        frame_skip: 2,
        time_limit: 50,
        observation: 10,
        action_bound: 1.0,
        noise: Noise::Reacher,
        motion: Motion::None,
        contact_forces: false,
        reads: Reads { bodies: &[c"fingertip", c"target"], fields: &[] },
        observe: |simulation, out| {
            let angles = || simulation.positions()[..2].iter();
            let values = angles().map(|angle| angle.cos()).chain(angles().map(|angle| angle.sin()));
            let rest = simulation.positions()[2..].iter().chain(&simulation.velocities()[..2]).copied();
            fill(out, values.chain(rest).chain(to_target(simulation).into_iter().take(2)));
        },
        reward: |simulation, action, _| {
            let distance = to_target(simulation).iter().map(|value| value * value).sum::<f64>().sqrt();
            (-distance - cost(1.0, action), false)
        },
    },
    Task {
        name: "Ant-v5",
        model: "ant.xml",
        sizes: sizes(15, 14, 8),
        frame_skip: 5,
        time_limit: 1000,
        observation: 105,
        action_bound: 1.0,
        noise: Noise::Normal(0.1),
        motion: Motion::Body,
        contact_forces: true,
        reads: Reads { bodies: &[c"torso"], fields: &[c"cfrc_ext"] },
        observe: |simulation, out| {
            let forces = simulation.field(0)[6..].iter().map(|force| force.clamp(-1.0, 1.0));
            fill(out, after(simulation, 2).chain(simulation.velocities().iter().copied()).chain(forces));
        },
        reward: |simulation, action, velocity| {
            let positions = simulation.positions();
            let finite = positions.iter().chain(simulation.velocities()).copied().all(f64::is_finite);
            let healthy = finite && (0.2..=1.0).contains(&positions[2]);
            let forces: Vec<f64> =
                simulation.field(0).iter().map(|force| force.clamp(-1.0, 1.0).powi(2)).collect();
            let costs = cost(0.5, action) + 5e-4 * numpy_sum(&forces);
            (velocity + f64::from(healthy) - costs, !healthy)
        },
    },
    Task {
        name: "Humanoid-v5",
        model: "humanoid.xml",
        sizes: sizes(24, 23, 17),
        frame_skip: 5,
        time_limit: 1000,
        observation: 348,
        action_bound: 0.4,
        noise: Noise::Uniform(1e-2),
        motion: Motion::CentreOfMass,
        contact_forces: true,
        reads: Reads { bodies: &[], fields: &HUMANOID },
        observe: |simulation, out| {
            let [inertia, velocity, actuators, forces] = [(0, 10), (1, 6), (2, 6), (3, 6)]
                .map(|(field, skip)| simulation.field(field)[skip..].iter().copied());
            let values = after(simulation, 2).chain(simulation.velocities().iter().copied());
            fill(out, values.chain(inertia).chain(velocity).chain(actuators).chain(forces));
        },
        reward: |simulation, action, velocity| {
            let healthy = inside(simulation.positions()[2], 1.0, 2.0);
            let squares =
                |values: &mut dyn Iterator<Item = f64>| numpy_sum(&values.map(|v| v * v).collect::<Vec<_>>());
            let control = 0.1 * squares(&mut action.iter().map(|&value| f64::from(value)));
            let contact = (5e-7 * squares(&mut simulation.field(3).iter().copied())).min(10.0);
            (1.25 * velocity + 5.0 * f64::from(healthy) - (control + contact), !healthy)
        },
    },
];

fn fill(out: &mut [f32], values: impl Iterator<Item = f64>) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value as f32;
    }
}

/// The positions after the first `skip`.
fn after(simulation: &Simulation, skip: usize) -> impl Iterator<Item = f64> {
    simulation.positions()[skip..].iter().copied()
}

fn clipped(simulation: &Simulation) -> impl Iterator<Item = f64> {
    simulation.velocities().iter().map(|velocity| velocity.clamp(-10.0, 10.0))
}

/// Whether a value lies strictly between two others; NaN never does.
fn inside(value: f64, low: f64, high: f64) -> bool {
    low < value && value < high
}

fn to_target(simulation: &Simulation) -> [f64; 3] {
    let (tip, target) = (simulation.body_position(0), simulation.body_position(1));
    std::array::from_fn(|axis| tip[axis] - target[axis])
}

/// The weighted sum of an action's squares, in float32 as in Gymnasium.
fn cost(weight: f32, action: &[f32]) -> f64 {
    let squares: Vec<f32> = action.iter().map(|value| value * value).collect();
    f64::from(weight * numpy_sum(&squares))
}

/// The x coordinate of the centre of masses whose own centres are in `centres`, `[bodies, 3]`.
pub(super) fn centre_of_mass(masses: &[f64], centres: &[f64]) -> f64 {
    let moment: f64 = masses.iter().zip(centres.chunks_exact(3)).map(|(mass, centre)| mass * centre[0]).sum();
    moment / numpy_sum(masses)
}

/// The sum in `NumPy`'s order, for up to 128 numbers: eight sums side by side, then the rest.
fn numpy_sum<T: Copy + Default + std::ops::Add<Output = T>>(values: &[T]) -> T {
    let mut blocks = values.chunks_exact(8);
    let mut total = T::default();
    if let Some(first) = blocks.next() {
        let mut sums: [T; 8] = std::array::from_fn(|lane| first[lane]);
        for block in blocks.by_ref() {
            for (sum, value) in sums.iter_mut().zip(block) {
                *sum = *sum + *value;
            }
        }
        let [a, b, c, d, e, f, g, h] = sums;
        total = ((a + b) + (c + d)) + ((e + f) + (g + h));
    }
    blocks.remainder().iter().fold(total, |total, value| total + *value)
}
