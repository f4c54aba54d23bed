//! Observers of a run: everything that wants to know what happens without taking part in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{EpisodeStatistics, TrainError};

/// What happens in a run.
#[derive(Debug, Clone, Serialize)]
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
        metrics: BTreeMap<&'static str, Vec<f64>>,
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
        members: &'a [EpisodeStatistics],
    },
    /// The run is over.
    Finished(&'a Summary),
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
    /// Updates.
    pub updates: u64,
    /// Seconds from start to end, the last evaluation included.
    pub seconds: f64,
    /// Why it ended.
    pub reason: StopReason,
    /// The last evaluation, each member's episodes.
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
}

impl Summary {
    /// The member with the highest mean return, and its episodes.
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
        let file =
            File::create_new(path).map_err(|source| TrainError::File { path: path.to_owned(), source })?;
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
        written.map_err(|source| TrainError::File { path: self.path.clone(), source })
    }
}
