//! Observers of a run: everything that wants to know what happens without taking part in it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Split, Write};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::files::at;
use crate::{EpisodeStatistics, TrainError};

/// What happens in a run. As JSON it is an object whose `event` is the variant's name in lower case; a number that is not
/// finite is `null` there, and NaN when it is read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A round of environment steps and updates is over. Comes very often: keep what you do with it short.
    Progress(Progress),
    /// An episode ended.
    Episode {
        /// Environment steps per member so far.
        env_steps: u64,
        /// Which member played it.
        member: usize,
        /// Its undiscounted return.
        #[serde(deserialize_with = "number")]
        episode_return: f64,
        /// Its number of steps.
        length: u64,
    },
    /// The learner's metrics of its last update were read.
    Metrics {
        /// Environment steps per member so far.
        env_steps: u64,
        /// Updates so far.
        updates: u64,
        /// Seconds since the start.
        seconds: f64,
        /// The metrics by name, one number per member.
        #[serde(deserialize_with = "numbers")]
        metrics: BTreeMap<String, Vec<f64>>,
    },
    /// The deterministic policy was evaluated.
    Evaluation {
        /// Environment steps per member so far.
        env_steps: u64,
        /// Updates so far.
        updates: u64,
        /// Seconds since the start.
        seconds: f64,
        /// Each member's episodes.
        members: Cow<'a, [EpisodeStatistics]>,
    },
    /// The run is over.
    Finished(Cow<'a, Summary>),
}

impl Event<'_> {
    /// Environment steps per member at which it happened.
    pub fn env_steps(&self) -> u64 {
        match self {
            Self::Progress(Progress { env_steps, .. })
            | Self::Episode { env_steps, .. }
            | Self::Metrics { env_steps, .. }
            | Self::Evaluation { env_steps, .. } => *env_steps,
            Self::Finished(summary) => summary.env_steps,
        }
    }
}

/// A number of a JSON file, which has no others than finite ones: `null` is NaN.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<f64>>, D::Error> {
    let metrics = BTreeMap::<String, Vec<Option<f64>>>::deserialize(deserializer)?;
    let finite =
        |values: Vec<Option<f64>>| values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
    Ok(metrics.into_iter().map(|(name, values)| (name, finite(values))).collect())
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Environment steps per member so far.
    pub env_steps: u64,
    /// Updates so far.
    pub updates: u64,
    /// Mean return of the last (up to 100) training episodes of all members.
    pub mean_return: Option<f64>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Environment steps per member.
    pub env_steps: u64,
    /// Updates of each member.
    pub updates: u64,
    /// Seconds from start to end, the last evaluation included.
    pub seconds: f64,
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, each member's episodes; empty if there was none.
    pub evaluation: Vec<EpisodeStatistics>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// All steps were made.
    Steps,
    /// All updates were made.
    Updates,
    /// The target return was reached.
    TargetReturn,
    /// It was asked to stop, see [`Trainer::stop_flag`](crate::Trainer::stop_flag).
    Stopped,
}

impl Summary {
    /// The member with the highest mean return in the last evaluation, and its episodes; none if there was none.
    pub fn best(&self) -> Option<(usize, EpisodeStatistics)> {
        let members = self.evaluation.iter().copied().enumerate();
        members.max_by(|(_, a), (_, b)| a.mean_return.total_cmp(&b.mean_return))
    }
}

/// Something that is told what happens in a run.
pub trait Observer {
    /// Takes note.
    ///
    /// # Errors
    /// If it cannot (a full disk); that ends the run.
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError>;

    /// Where it stands, for a checkpoint; what it has noted up to here must survive a crash. 0 if that means nothing.
    ///
    /// # Errors
    /// If what it noted cannot be written.
    fn position(&mut self) -> Result<u64, TrainError> {
        Ok(0)
    }

    /// Forgets what it noted after `position`: the run goes on from there, and all of it will happen again.
    ///
    /// # Errors
    /// If it cannot go back.
    fn rewind(&mut self, position: u64) -> Result<(), TrainError> {
        let _ = position;
        Ok(())
    }
}

/// Writes every event but [`Event::Progress`] to a file, one JSON object a line.
#[derive(Debug)]
pub struct MetricsFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl MetricsFile {
    /// Creates the file, which must not exist.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: &Path) -> Result<Self, TrainError> {
        Self::new(path, OpenOptions::new().read(true).write(true).create_new(true))
    }

    /// Opens the file of a run that is to go on, or creates it. A run that was saved [rewinds](Observer::rewind) it;
    /// one that begins anew must do so itself.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        Self::new(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    fn new(path: &Path, options: &OpenOptions) -> Result<Self, TrainError> {
        let file = options.open(path).map_err(at(path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }
}

impl Observer for MetricsFile {
    fn observe(&mut self, event: &Event<'_>) -> Result<(), TrainError> {
        let flush = match event {
            Event::Progress(_) => return Ok(()),
            Event::Episode { .. } => false,
            _ => true,
        };
        let written = serde_json::to_writer(&mut self.file, event)
            .map_err(std::io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| if flush { self.file.flush() } else { Ok(()) });
        written.map_err(at(&self.path))
    }

    fn position(&mut self) -> Result<u64, TrainError> {
        let position = self.file.stream_position(); // which flushes
        position
            .and_then(|position| self.file.get_ref().sync_data().map(|()| position))
            .map_err(at(&self.path))
    }

    /// Cuts the file off at `position`, and a torn last line with it.
    fn rewind(&mut self, position: u64) -> Result<(), TrainError> {
        let mut cut = || {
            let file = self.file.get_mut();
            let mut end = position.min(file.metadata()?.len());
            let mut byte = [b'\n'];
            while end > 0 {
                file.seek(SeekFrom::Start(end - 1))?;
                file.read_exact(&mut byte)?;
                if byte == [b'\n'] {
                    break;
                }
                end -= 1;
            }
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))
        };
        cut().map(|_| ()).map_err(at(&self.path))
    }
}

/// The events in a file that [`MetricsFile`] wrote, one after the other. A last line that was written in part (the run
/// goes on, or was ended) is passed over.
#[derive(Debug)]
pub struct MetricsReader {
    path: PathBuf,
    lines: Peekable<Split<BufReader<File>>>,
    line: usize,
}

impl MetricsReader {
    /// Opens the file.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let file = File::open(path).map_err(at(path))?;
        Ok(Self { path: path.to_owned(), lines: BufReader::new(file).split(b'\n').peekable(), line: 0 })
    }
}

impl Iterator for MetricsReader {
    /// [`TrainError::Format`] names the line that is no event.
    type Item = Result<Event<'static>, TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.lines.next()? {
            Ok(line) => line,
            Err(error) => return Some(Err(at(&self.path)(error))),
        };
        self.line += 1;
        match serde_json::from_slice(&line) {
            Ok(event) => Some(Ok(event)),
            Err(_) if self.lines.peek().is_none() => None,
            Err(error) => {
                let reason = format!("line {} is no event: {error}", self.line);
                Some(Err(TrainError::Format { path: self.path.clone(), reason }))
            }
        }
    }
}
