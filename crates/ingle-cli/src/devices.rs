//! `ingle devices`.

use serde_json::json;

use crate::arguments::DevicesOptions;

pub(crate) fn run(options: &DevicesOptions) {
    for device in ingle::device::available() {
        if options.json {
            println!("{}", json!({"device": device.name.to_string(), "description": device.description}));
        } else {
            println!("{:10} {}", device.name.to_string(), device.description);
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
            println!("\nnot built in: {} (build with --features {})", missing.join(", "), missing.join(","));
        }
    }
}
