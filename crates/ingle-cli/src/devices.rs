//! `ingle devices`.

use serde_json::json;

use crate::arguments::DevicesOptions;
use crate::error::CliError;
use crate::output::line;

pub(crate) fn run(options: &DevicesOptions) -> Result<(), CliError> {
    for device in ingle::device::available() {
        if options.json {
            line(format_args!(
                "{}",
                json!({"device": device.name.to_string(), "description": device.description})
            ))?;
        } else {
            line(format_args!("{:10} {}", device.name.to_string(), device.description))?;
        }
    }
    if !options.json {
        let features = [
            ("ndarray", cfg!(feature = "ndarray")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("cuda", cfg!(feature = "cuda")),
        ];
        let missing: Vec<&str> = features.iter().filter(|(_, built)| !built).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            line(format_args!(
                "\nnot built in: {} (build with --features {})",
                missing.join(", "),
                missing.join(",")
            ))?;
        }
    }
    Ok(())
}
