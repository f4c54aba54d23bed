//! What a run leaves on disk, and who may write there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_core::Record;
use serde::{Deserialize, Serialize};

use crate::checkpoints::CHECKPOINTS;
use crate::files::{at, make_directory, write_atomically};
use crate::{
    Checkpoints, EventFiles, MetricsFile, MetricsReader, SavedCheckpoint, Summary, TrainError, read_record,
    write_record,
};

const LOCK: &str = "run.lock";
const VERSION: &str = "run.json";
pub(crate) const CONFIGURATION: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const POLICY: &str = "state.safetensors";
const SUMMARY: &str = "summary.json";
const STOPPED: &str = "stopped.txt";
const BEST: &str = "best";

/// The format of run directories; another number is refused.
const FORMAT: u32 = 1;

/// How much of the end of a metrics file is read to see where a run stands.
const TAIL: u64 = 1 << 16;

/// Which program wrote a run.
#[derive(Serialize, Deserialize)]
struct Version {
    format: u32,
    version: String,
}

/// The directory of a run, locked for as long as this value lives: one process writes in it, and no second one.
///
/// | file | what is in it |
/// |---|---|
/// | `config.toml` | the configuration as resolved; a directory with this file holds a run |
/// | `run.json` | the format of the directory and the version of the crate |
/// | `run.lock` | empty; locked by the process that runs |
/// | `metrics.jsonl` | what happened, see [`MetricsFile`] |
/// | `events.out.tfevents.*` | the same for TensorBoard, see [`EventFiles`]; a population's are in `member-0`, `member-1`, ... |
/// | `checkpoints/` | see [`Checkpoints`] |
/// | `state.safetensors`, `summary.json` | the final policy and what the run came to; there when it has finished |
/// | `best/` | `config.toml`, `state.safetensors` and `summary.json` of a population's best member alone, as of a run of its own |
/// | `stopped.txt` | one line: why it stopped before its end |
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: File,
}

impl RunDirectory {
    /// Whether there is a run in `path`.
    pub fn holds_run(path: &Path) -> bool {
        path.join(CONFIGURATION).is_file()
    }

    /// Begins a run in `path`, which is made if it is not there. `configuration` is what is needed to begin it again.
    ///
    /// # Errors
    /// If there is a run already, something else, or another process, or if nothing can be written there.
    pub fn create(path: &Path, configuration: &str) -> Result<Self, TrainError> {
        let foreign = match fs::read_dir(path) {
            Ok(mut entries) => entries.find_map(|entry| {
                let name = entry.ok()?.file_name();
                // What a process that was killed before it had begun may have left.
                let ours = [LOCK, VERSION].iter().any(|own| name == **own)
                    || name.to_string_lossy().starts_with('.');
                (!ours).then_some(name)
            }),
            Err(_) => None,
        };
        if let Some(name) = foreign {
            let reason = format!("is not empty ({} is there): a run is never overwritten", name.display());
            return Err(TrainError::Format { path: path.to_owned(), reason });
        }
        make_directory(path)?;
        let directory = Self::lock(path)?;
        let version = Version { format: FORMAT, version: env!("CARGO_PKG_VERSION").into() };
        directory.write_json(VERSION, &version)?;
        write_atomically(&path.join(CONFIGURATION), configuration.as_bytes())?;
        Ok(directory)
    }

    /// Takes over the run in `path`, to go on with it.
    ///
    /// # Errors
    /// If there is none, it is of another format, or another process is running there.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let refuse = |path: &Path, reason: String| TrainError::Format { path: path.to_owned(), reason };
        if !Self::holds_run(path) {
            return Err(refuse(path, format!("holds no run (it has no {CONFIGURATION})")));
        }
        let directory = Self::lock(path)?;
        let file = path.join(VERSION);
        let text = fs::read_to_string(&file).map_err(at(&file))?;
        let version: Version =
            serde_json::from_str(&text).map_err(|error| refuse(&file, format!("is damaged: {error}")))?;
        if version.format != FORMAT {
            let format = version.format;
            return Err(refuse(
                &file,
                format!("format {format} cannot be read, this version reads {FORMAT}"),
            ));
        }
        Ok(directory)
    }

    fn lock(path: &Path) -> Result<Self, TrainError> {
        let file = path.join(LOCK);
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(&file).map_err(at(&file))?;
        // Somebody who only looks whether a run is running holds the lock for a moment.
        for _ in 0..20 {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
                Err(TryLockError::Error(error)) => return Err(at(&file)(error)),
            }
        }
        Err(TrainError::Locked { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that the run began with, or was last given.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn configuration(&self) -> Result<String, TrainError> {
        let file = self.path.join(CONFIGURATION);
        fs::read_to_string(&file).map_err(at(&file))
    }

    /// Gives a run that goes on another configuration (more steps, another device), and forgets that it had stopped or
    /// finished: its newest checkpoint holds all of it.
    ///
    /// # Errors
    /// If the directory cannot be changed.
    pub fn go_on(&self, configuration: &str) -> Result<(), TrainError> {
        for name in [SUMMARY, POLICY, STOPPED] {
            let file = self.path.join(name);
            match fs::remove_file(&file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(&file)(error)),
                _ => {}
            }
        }
        let best = self.path.join(BEST);
        if best.is_dir() {
            fs::remove_dir_all(&best).map_err(at(&best))?;
        }
        if self.configuration()? == configuration {
            return Ok(());
        }
        write_atomically(&self.path.join(CONFIGURATION), configuration.as_bytes())
    }

    /// The run's checkpoints, of which the last `keep` stay; new ones carry the run's configuration.
    ///
    /// # Errors
    /// If the configuration cannot be read.
    pub fn checkpoints(&self, keep: usize) -> Result<Checkpoints, TrainError> {
        Ok(Checkpoints::new(&self.path.join(CHECKPOINTS), &self.configuration()?, keep))
    }

    /// The run's metrics, opened to go on. A run that is not resumed from a checkpoint begins them anew.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn metrics(&self) -> Result<MetricsFile, TrainError> {
        MetricsFile::open(&self.path.join(METRICS))
    }

    /// The run's event files for TensorBoard, made anew: a run that goes on at `env_steps` begins them with what its
    /// metrics have up to there. The rest is as in [`EventFiles::create`].
    ///
    /// # Errors
    /// If the files cannot be written, or the metrics not be read.
    pub fn event_files(
        &self,
        env_steps: u64,
        members: usize,
        log_interval: u64,
        texts: &[(&str, String)],
    ) -> Result<EventFiles, TrainError> {
        let path = self.path.join(METRICS);
        let metrics = if env_steps > 0 && path.is_file() { Some(MetricsReader::open(&path)?) } else { None };
        // What comes after that step is cut off when the run goes on, and may be damaged.
        let history = metrics.into_iter().flatten().map_while(Result::ok);
        let history = history.take_while(|event| event.env_steps() <= env_steps);
        EventFiles::create(&self.path, members, log_interval, texts, history)
    }

    /// The policy of the run in `path`, as a learner's state: the final one, or of a run that has not finished that of
    /// the newest checkpoint that is whole, with its step.
    ///
    /// # Errors
    /// If there is neither, or it cannot be read.
    pub fn policy(path: &Path) -> Result<(Record, Option<u64>), TrainError> {
        let last = path.join(POLICY);
        if last.is_file() {
            return Ok((read_record(&last)?, None));
        }
        let (checkpoint, damaged) = Checkpoints::of_run(path).latest()?;
        match (checkpoint, damaged.into_iter().next()) {
            (Some(SavedCheckpoint { manifest, record }), _) => {
                Ok((record.scope("learner").scope("state"), Some(manifest.step)))
            }
            (None, Some(error)) => Err(error),
            (None, None) => {
                let reason = format!("has no {POLICY} and no checkpoint yet");
                Err(TrainError::Format { path: path.to_owned(), reason })
            }
        }
    }

    /// Writes down the final policy, as a learner's state, and what the run came to.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn finish(&self, policy: &Record, summary: &Summary) -> Result<(), TrainError> {
        write_record(&self.path.join(POLICY), policy)?;
        self.write_json(SUMMARY, summary)
    }

    /// Writes down the best member of a population, as a run of its own that has finished: `configuration` is what trains that
    /// member alone.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish_best(
        &self,
        configuration: &str,
        policy: &Record,
        summary: &Summary,
    ) -> Result<(), TrainError> {
        let best = self.path.join(BEST);
        make_directory(&best)?;
        write_record(&best.join(POLICY), policy)?;
        write_json(&best.join(SUMMARY), summary)?;
        write_atomically(&best.join(CONFIGURATION), configuration.as_bytes())
    }

    /// Writes down, in one line, why the run stops before its end.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn stopped(&self, reason: &str) -> Result<(), TrainError> {
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        write_atomically(&self.path.join(STOPPED), (line + "\n").as_bytes())
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        write_json(&self.path.join(name), value)
    }
}

fn write_json(file: &Path, value: &impl Serialize) -> Result<(), TrainError> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| TrainError::Format { path: file.to_owned(), reason: error.to_string() })?;
    write_atomically(file, (text + "\n").as_bytes())
}

/// What can be seen of a run from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStatus {
    /// The configuration, as it is in the directory.
    pub configuration: String,
    /// Environment steps per member, as far as they were written down.
    pub env_steps: u64,
    /// Mean return of the best member in the last evaluation, if there was one.
    pub last_return: Option<f64>,
    /// Each member's mean return in that evaluation.
    pub members: Vec<f64>,
    /// Whether it runs, and if not, why not.
    pub state: RunState,
}

/// Whether a run runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// A process is at it.
    Running,
    /// It has come to its end.
    Finished,
    /// It stopped before its end and said why.
    Stopped(String),
    /// Its process is gone and said nothing: it was killed, or the machine stopped.
    Interrupted,
}

impl RunStatus {
    /// Looks at the run in `path`; `None` if there is none.
    ///
    /// # Errors
    /// If its files cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        if !RunDirectory::holds_run(path) {
            return Ok(None);
        }
        let file = path.join(CONFIGURATION);
        let configuration = fs::read_to_string(&file).map_err(at(&file))?;
        let (env_steps, members) = Self::tail(&path.join(METRICS))?;
        let steps = Checkpoints::of_run(path).steps()?;
        let env_steps = env_steps.max(steps.last().copied().unwrap_or_default());
        let last_return = members.iter().copied().reduce(f64::max);
        Ok(Some(Self { configuration, env_steps, last_return, members, state: Self::state(path) }))
    }

    fn state(path: &Path) -> RunState {
        let running = File::open(path.join(LOCK))
            .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)));
        if running {
            RunState::Running
        } else if path.join(SUMMARY).is_file() {
            RunState::Finished
        } else if let Ok(reason) = fs::read_to_string(path.join(STOPPED)) {
            RunState::Stopped(reason.trim_end().to_owned())
        } else {
            RunState::Interrupted
        }
    }

    /// The last step and the last evaluation in the end of the metrics; nothing of a file that is not there.
    fn tail(path: &Path) -> Result<(u64, Vec<f64>), TrainError> {
        let mut bytes = Vec::new();
        let mut read = || {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            file.take(TAIL).read_to_end(&mut bytes)
        };
        match read() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(at(path)(error)),
            _ => {}
        }
        let (mut env_steps, mut last) = (0, Vec::new());
        // The first line may have been cut, and the last one torn: both are no JSON, and passed over.
        for line in String::from_utf8_lossy(&bytes).lines() {
            let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            env_steps = event["env_steps"].as_u64().unwrap_or(env_steps);
            if let Some(members) = event["members"].as_array() {
                last = members.iter().filter_map(|member| member["mean_return"].as_f64()).collect();
            }
        }
        Ok((env_steps, last))
    }
}
