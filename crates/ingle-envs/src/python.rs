//! The user's Python: which one it is, and where its packages are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::EnvironmentError;

/// What installs everything that `gym:` and `mujoco:` environments need. The versions are those of our tests.
const PACKAGES: &str = "\"gymnasium[mujoco]==1.4.0\" mujoco==3.17.0";

/// The interpreter to use: `given`, `INGLE_PYTHON`, that of the active virtual or Conda environment, `python3`.
pub(crate) fn interpreter(given: Option<&Path>) -> PathBuf {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let inside = |root: PathBuf| {
        let (folder, name) = if cfg!(windows) { ("Scripts", "python.exe") } else { ("bin", "python") };
        Some(root.join(folder).join(name)).filter(|path| path.is_file())
    };
    given
        .map(Path::to_owned)
        .or_else(|| variable("INGLE_PYTHON"))
        .or_else(|| variable("VIRTUAL_ENV").and_then(inside))
        .or_else(|| variable("CONDA_PREFIX").and_then(inside))
        .unwrap_or_else(|| PathBuf::from(if cfg!(windows) { "python" } else { "python3" }))
}

/// The error for an environment that cannot be opened, ending with what to install.
pub(crate) fn unavailable(name: &str, reason: impl Into<String>, python: &Path) -> EnvironmentError {
    let help = format!(
        "install what it needs with `{} -m pip install {PACKAGES}`, or choose another Python with `--python PATH`",
        python.display()
    );
    EnvironmentError::Unavailable { name: name.to_owned(), reason: reason.into(), help }
}

/// The folders of two packages, in this order; `None` for one that is not installed. Neither is imported.
///
/// # Errors
/// When there is no such Python, or when it does not run; the reason as text.
pub(crate) fn folders(python: &Path, packages: [&str; 2]) -> Result<[Option<PathBuf>; 2], String> {
    const PROGRAM: &str = "
import importlib.util, sys
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else '')
";
    let output = Command::new(python)
        .args(["-c", PROGRAM])
        .args(packages)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| cannot_run(python, &error))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", python.display(), last_line(&words)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines().map(|line| Some(PathBuf::from(line)).filter(|path| path.is_dir()));
    Ok([lines.next().flatten(), lines.next().flatten()])
}

pub(crate) fn cannot_run(python: &Path, error: &std::io::Error) -> String {
    format!("cannot run the Python `{}`: {error}", python.display())
}

/// The line of a traceback that says what happened.
pub(crate) fn last_line(words: &str) -> &str {
    words.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing")
}
