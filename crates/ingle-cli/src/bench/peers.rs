//! Python peers beside ingle: `benches/peers/run.py`, one process for each turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::error::CliError;

/// Where the peers are, in the repository.
const SCRIPT: &str = "benches/peers/run.py";

/// The peers of a point.
pub(super) struct Peers<'a> {
    pub(super) python: &'a Path,
    pub(super) names: &'a [String],
}

/// What a peer is to measure.
pub(super) struct Work<'a> {
    pub(super) learner: &'a str,
    pub(super) batch: usize,
    pub(super) width: usize,
    pub(super) threads: usize,
    pub(super) seconds: f64,
}

impl Peers<'_> {
    /// One turn of a peer: updates a second.
    ///
    /// # Errors
    /// If the peer cannot be run; the last line of what it said is in the message.
    pub(super) fn turn(&self, name: &str, work: &Work<'_>) -> Result<f64, CliError> {
        let script = script()?;
        let output = Command::new(self.python)
            .arg(script)
            .args(["--peer", name, "--algo", work.learner, "--repeats", "1", "--wait", "0"])
            .args(["--batch", &work.batch.to_string(), "--width", &work.width.to_string()])
            .args(["--threads", &work.threads.to_string(), "--seconds", &work.seconds.to_string()])
            .output()
            .map_err(|error| {
                CliError::Input(format!("--peers {}: cannot be started: {error}", self.python.display()))
            })?;
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = |text: &str| text.trim().lines().last().unwrap_or_default().to_owned();
        let rate = serde_json::from_str::<Value>(&last(&stdout))
            .ok()
            .and_then(|line| line["updates_per_s"]["median"].as_f64());
        match rate {
            Some(rate) if output.status.success() => Ok(rate),
            _ => {
                let said = if stderr.trim().is_empty() { last(&stdout) } else { last(&stderr) };
                Err(CliError::Other(format!("peer {name}: {}; {said}", output.status)))
            }
        }
    }
}

/// The script, which lies in the repository.
fn script() -> Result<PathBuf, CliError> {
    let path = PathBuf::from(SCRIPT);
    if path.is_file() {
        return Ok(path);
    }
    Err(CliError::Input(format!("--peers: {SCRIPT} is not here: run it in a clone of the repository")))
}
