//! Devices by name: `flex`, `ndarray`, `wgpu[:n]`, `cuda[:n]`.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// A device that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// burn's pure Rust CPU backend.
    Flex,
    /// burn's older CPU backend.
    Ndarray,
    /// The n-th adapter that wgpu finds, GPUs before software ones.
    Wgpu(usize),
    /// The n-th CUDA device.
    Cuda(usize),
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// The name is none.
    #[error("'{name}' is not a device: give flex, ndarray, wgpu[:n] or cuda[:n]; {}", Available)]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The backend was not compiled in.
    #[error("device '{name}' is not built in: build with `--features {feature}`; {}", Available)]
    NotBuiltIn {
        /// What was asked for.
        name: String,
        /// The cargo feature that has it.
        feature: &'static str,
    },
    /// The machine has no such device.
    #[error("device '{name}' is not there: {found} found; {}", Available)]
    Absent {
        /// What was asked for.
        name: String,
        /// How many devices of that kind there are.
        found: usize,
    },
}

/// Displays the list of devices for an error message.
struct Available;

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = available().into_iter().map(|device| device.name.to_string()).collect();
        write!(f, "available: {}", if names.is_empty() { "none".into() } else { names.join(", ") })
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { name: name.to_owned() };
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| unknown())?)),
            None => (name, None),
        };
        match (kind, index) {
            ("flex", None) => Ok(Self::Flex),
            ("ndarray", None) => Ok(Self::Ndarray),
            ("wgpu", index) => Ok(Self::Wgpu(index.unwrap_or(0))),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
            Self::Wgpu(0) => f.write_str("wgpu"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

/// A device that is built in and there.
#[derive(Debug, Clone)]
pub struct AvailableDevice {
    /// What to ask for.
    pub name: DeviceName,
    /// What it is.
    pub description: String,
    /// The device.
    pub device: Device,
}

/// The device of that name.
///
/// # Errors
/// If the name is none, the backend is not built in, or the machine has no such device; the message lists those that
/// are there.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    let wanted: DeviceName = name.parse()?;
    let (built_in, feature) = match wanted {
        DeviceName::Flex => (cfg!(feature = "flex"), "flex"),
        DeviceName::Ndarray => (cfg!(feature = "ndarray"), "ndarray"),
        DeviceName::Wgpu(_) => (cfg!(feature = "wgpu"), "wgpu"),
        DeviceName::Cuda(_) => (cfg!(feature = "cuda"), "cuda"),
    };
    if !built_in {
        return Err(DeviceError::NotBuiltIn { name: name.to_owned(), feature });
    }
    // Only that backend is asked: finding out about the others would load their drivers.
    let mut peers = of_kind(wanted);
    match peers.iter().position(|device| device.name == wanted) {
        Some(index) => Ok(peers.swap_remove(index).device),
        None => Err(DeviceError::Absent { name: name.to_owned(), found: peers.len() }),
    }
}

/// How burn looks for operations that make one kernel.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod fusion {
    use std::sync::Once;

    use burn::BurnConfig;
    use cubecl_runtime::config::RuntimeConfig;

    /// One chain of operations at a time, in the program's order. With several at a time, as burn does by default, chains
    /// get entangled, and some updates end in twice the kernels.
    const ONE_AT_A_TIME: &str = "[fusion.beam_search]\nmax_blocks = 1";

    /// Sets that up before burn reads its configuration, unless there is one: a `burn.toml` in the working directory or above,
    /// or what a program set.
    pub(super) fn configure() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let own = BurnConfig::from_current_dir();
            if toml::to_string(&own).ok() != toml::to_string(&BurnConfig::default()).ok() {
                return;
            }
            if let Ok(config) = toml::from_str::<BurnConfig>(ONE_AT_A_TIME) {
                BurnConfig::try_set(config.override_from_env());
            }
        });
    }
}

/// Every device that is built in and there, CPUs first. Asks the drivers; opens no device.
pub fn available() -> Vec<AvailableDevice> {
    [DeviceName::Flex, DeviceName::Ndarray, DeviceName::Wgpu(0), DeviceName::Cuda(0)]
        .into_iter()
        .flat_map(of_kind)
        .collect()
}

/// The devices of the backend that `name` belongs to; none if it is not built in.
fn of_kind(name: DeviceName) -> Vec<AvailableDevice> {
    match name {
        #[cfg(feature = "flex")]
        DeviceName::Flex => {
            vec![AvailableDevice {
                name,
                description: "CPU, pure Rust (burn-flex)".into(),
                device: Device::flex(),
            }]
        }
        #[cfg(feature = "ndarray")]
        DeviceName::Ndarray => vec![AvailableDevice {
            name,
            description: "CPU (burn-ndarray)".into(),
            #[allow(deprecated, reason = "kept for comparison until burn drops it")]
            device: Device::ndarray(),
        }],
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu(_) => {
            enumerate(burn::tensor::DeviceType::Wgpu, DeviceName::Wgpu, "through wgpu").collect()
        }
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(_) => {
            enumerate(burn::tensor::DeviceType::Cuda, DeviceName::Cuda, "through CUDA").collect()
        }
        #[allow(unreachable_patterns, reason = "reached by what is not built in")]
        _ => Vec::new(),
    }
}

/// The devices of a runtime, those that are no processor first.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn enumerate(
    kind: burn::tensor::DeviceType,
    name: fn(usize) -> DeviceName,
    through: &'static str,
) -> impl Iterator<Item = AvailableDevice> {
    // Whoever gets a GPU gets it from here.
    fusion::configure();
    let mut devices = Device::enumerate(kind).into_vec();
    let software = |device: &Device| format!("{device:?}").contains("Cpu");
    devices.sort_by_key(software);
    devices.into_iter().enumerate().map(move |(index, device)| {
        let what = if software(&device) { "software rasteriser" } else { "GPU" };
        AvailableDevice { name: name(index), description: format!("{what} {through}"), device }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["flex", "ndarray", "wgpu", "wgpu:2", "cuda", "cuda:1"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "flex:1", "wgpu:", "cuda:x", "wgpu:-1"] {
            assert!(matches!(name.parse::<DeviceName>(), Err(DeviceError::Unknown { .. })), "{name}");
        }
    }
}
