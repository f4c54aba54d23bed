//! Whether a run can fit into memory, before any is asked for: an allocation that fails ends the process without a word.

use std::fs;

use crate::config::{ReplayKind, RunConfig};
use crate::error::CliError;
use crate::learner::{Sizes, Stack};

/// Parameters, two moments, gradient, target.
const COPIES: f64 = 5.0;

/// A run's numbers are float32.
const BYTES: f64 = 4.0;

/// No device has more: what a learner on a device whose memory is not known is held against.
const LARGEST_DEVICE: f64 = (1_u64 << 40) as f64;

/// Refuses a run that this machine has no memory for, by the keys that ask for most of it.
///
/// # Errors
/// [`CliError::Config`].
pub(crate) fn check(config: &RunConfig, sizes: Sizes) -> Result<(), CliError> {
    let problems = too_large(config, sizes, memory().unwrap_or(LARGEST_DEVICE));
    if problems.is_empty() { Ok(()) } else { Err(CliError::Config(problems)) }
}

fn too_large(config: &RunConfig, sizes: Sizes, memory: f64) -> Vec<String> {
    let Sizes { observation, action } = sizes;
    let population = config.population as f64;
    let row = (2 * observation + action + 2) as f64 * BYTES;
    // What is never filled takes no memory.
    let stored = config.replay.capacity.min(config.train.steps as usize) as f64;
    let priorities = match config.replay.kind {
        ReplayKind::Prioritised => 2.0 * 8.0 * config.replay.capacity as f64,
        ReplayKind::Uniform => 0.0,
    };
    let mut host = vec![("replay.capacity".to_owned(), population * (stored * row + priorities))];
    let (mut device, mut widths) = (Vec::new(), 0.0);
    for (layer, networks) in networks(config, sizes) {
        let key = format!("{layer}.hidden");
        let parameters: f64 = networks.iter().map(Network::parameters).sum();
        device.push((key, population * parameters * COPIES * BYTES));
        widths += networks.iter().map(Network::widths).sum::<f64>();
    }
    // The rows, and what each layer keeps of them for its gradient.
    let batch = config.replay.batch as f64;
    device.push(("replay.batch".to_owned(), population * batch * (row + 2.0 * widths * BYTES)));
    if ["flex", "ndarray"].contains(&config.device.as_str()) {
        host.append(&mut device);
    }
    let mut problems = over(&host, memory, "this machine");
    problems.extend(over(&device, LARGEST_DEVICE, "no device"));
    problems
}

/// The largest of the parts, if all of them together are more than there is.
fn over(parts: &[(String, f64)], memory: f64, whose: &str) -> Vec<String> {
    let total: f64 = parts.iter().map(|(_, bytes)| bytes).sum();
    if total <= memory {
        return Vec::new();
    }
    let largest = parts.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
    let large = parts.iter().filter(|(_, bytes)| *bytes > memory / 2.0 || *bytes == largest);
    let has = if whose == "no device" { "has more than" } else { "has" };
    large
        .map(|(key, bytes)| format!("{key}: needs {}, {whose} {has} {}", readable(*bytes), readable(memory)))
        .collect()
}

fn readable(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let power = (bytes.max(1.0).log10() / 3.0).floor().clamp(0.0, 6.0);
    format!("{:.1} {}", bytes / 1000_f64.powf(power), units[power as usize])
}

/// A multi-layer perceptron, or an ensemble of them.
struct Network {
    widths: Vec<f64>,
    ensemble: f64,
}

impl Network {
    fn new(input: usize, hidden: &[usize], output: usize, ensemble: usize) -> Self {
        let widths = std::iter::once(input).chain(hidden.iter().copied()).chain([output]);
        Self { widths: widths.map(|width| width as f64).collect(), ensemble: ensemble as f64 }
    }

    fn parameters(&self) -> f64 {
        self.ensemble * self.widths.windows(2).map(|pair| (pair[0] + 1.0) * pair[1]).sum::<f64>()
    }

    fn widths(&self) -> f64 {
        self.ensemble * self.widths.iter().sum::<f64>()
    }
}

/// The networks of each layer of the stack.
fn networks(config: &RunConfig, sizes: Sizes) -> Vec<(&'static str, Vec<Network>)> {
    let Sizes { observation, action } = sizes;
    let both = observation + action;
    let layers = &config.layers;
    let Ok(stack) = Stack::parse(&config.learner) else { return Vec::new() };
    let of = |name| match name {
        "sac" => vec![
            Network::new(observation, &layers.sac.hidden, 2 * action, 1),
            Network::new(both, &layers.sac.hidden, 1, layers.sac.critics),
        ],
        "td3" => vec![
            Network::new(observation, &layers.td3.hidden, action, 1),
            Network::new(both, &layers.td3.hidden, 1, layers.td3.critics),
        ],
        "rnd" => vec![Network::new(observation, &layers.rnd.hidden, layers.rnd.features, 2)],
        "ail" => vec![Network::new(both + observation, &layers.ail.hidden, 1, 1)],
        "airl" => vec![Network::new(both, &layers.airl.hidden, 1, 2)],
        _ => Vec::new(),
    };
    stack.layers().map(|name| (name, of(name))).filter(|(_, networks)| !networks.is_empty()).collect()
}

/// The memory that this process may have, in bytes, where the system tells.
fn memory() -> Option<f64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
    });
    let of_group =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    [of_machine, of_group].into_iter().flatten().reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::resolve;

    const PENDULUM: Sizes = Sizes { observation: 3, action: 1 };
    const HUMANOID: Sizes = Sizes { observation: 348, action: 17 };

    fn problems(set: &[&str], sizes: Sizes, memory: f64) -> Vec<String> {
        too_large(&resolve(set).unwrap(), sizes, memory)
    }

    #[test]
    fn what_cannot_fit_is_refused_by_its_key() {
        for (set, sizes, key) in [
            (
                &["replay.capacity=4000000000", "train.steps=4000000000"][..],
                PENDULUM,
                "replay.capacity: needs 144.0 GB",
            ),
            (
                &["replay.capacity=4000000000", "replay.kind=prioritised"],
                PENDULUM,
                "replay.capacity: needs 64.0 GB",
            ),
            (&["replay.batch=1000000", "sac.hidden=[4096, 4096]"], PENDULUM, "replay.batch: needs"),
            (&["sac.hidden=[40000, 40000]"], PENDULUM, "sac.hidden: needs"),
            (&["td3.hidden=[60000, 60000]", "learner=rnd+td3"], PENDULUM, "td3.hidden: needs"),
            (&["rnd.hidden=[60000, 60000]", "learner=rnd+td3"], PENDULUM, "rnd.hidden: needs"),
            (&["population=60000"], PENDULUM, "sac.hidden: needs"),
            (
                &["replay.capacity=100000000", "train.steps=100000000"],
                HUMANOID,
                "replay.capacity: needs 286.0 GB",
            ),
            (
                &["device=cuda", "population=60000", "sac.hidden=[1024, 1024]"],
                PENDULUM,
                "no device has more than 1.1 TB",
            ),
        ] {
            let problems = problems(set, sizes, 16e9);
            assert!(problems.iter().any(|problem| problem.contains(key)), "{set:?}: {problems:?}");
        }
    }

    #[test]
    fn what_fits_is_not() {
        for (set, sizes) in [
            (&[][..], PENDULUM),
            (&["train.steps=1000000", "learner=rnd+td3"], HUMANOID),
            // Never filled.
            (&["replay.capacity=4000000000", "train.steps=100000"], HUMANOID),
            (&["population=64", "train.steps=100000"], PENDULUM),
            (&["device=wgpu", "sac.hidden=[8192, 8192]"], PENDULUM),
        ] {
            assert_eq!(problems(set, sizes, 16e9), [""; 0], "{set:?}");
        }
        assert!(memory().is_none_or(|bytes| bytes > 1e6));
    }
}
