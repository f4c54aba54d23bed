//! `ingle export`.

use std::path::Path;

use ingle::train::{PolicyKind, PolicyParameters};
use serde_json::json;

use crate::arguments::{ExportFormat, ExportOptions};
use crate::error::CliError;
use crate::output::line;

pub(crate) fn run(options: &ExportOptions) -> Result<(), CliError> {
    let ExportOptions { run, member, format, out, json } = options;
    let Some(format) = format.or_else(|| by_extension(out)) else {
        return Err(CliError::Config(vec![format!(
            "--out {}: ends with neither .safetensors nor .onnx: say which by --format",
            out.display()
        )]));
    };
    let policy = PolicyParameters::load(run, *member)?;
    match format {
        ExportFormat::Safetensors => policy.write_safetensors(out)?,
        ExportFormat::Onnx => policy.write_onnx(out)?,
    }
    let kind = match policy.kind {
        PolicyKind::Gaussian => "gaussian",
        PolicyKind::Deterministic { .. } => "deterministic",
    };
    if *json {
        return line(format_args!(
            "{}",
            json!({
                "out": out,
                "environment": policy.environment,
                "kind": kind,
                "observation_size": policy.observation_size(),
                "action_size": policy.action_size(),
                "action_low": policy.action_low,
                "action_high": policy.action_high,
                "normalised": policy.normalisation.is_some(),
            })
        ));
    }
    line(format_args!(
        "{}: {kind} policy, observation size {}{}, action size {}, actions from {:?} to {:?}",
        out.display(),
        policy.observation_size(),
        if policy.normalisation.is_some() { " (normalised inside)" } else { "" },
        policy.action_size(),
        policy.action_low,
        policy.action_high
    ))
}

fn by_extension(out: &Path) -> Option<ExportFormat> {
    match out.extension()?.to_str()? {
        "safetensors" => Some(ExportFormat::Safetensors),
        "onnx" => Some(ExportFormat::Onnx),
        _ => None,
    }
}
