//! A child process with a few environments, and the frames that go to it and come from it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::BoxSpace;
use crate::python::{cannot_run, last_line};

/// The program that the user's Python runs.
const PROGRAM: &str = include_str!("worker.py");

const UNBOUNDED: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

/// Four letters, read as the length of a frame, are more than this.
const LONGEST_FRAME: usize = 1 << 28;

/// How often it is looked whether a worker is late.
const TICK: Duration = Duration::from_millis(50);

/// How long a worker may take to end by itself when its pipe is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why a worker gave no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process has ended, was killed because it was late, or spoke nonsense.
    Lost(String),
    /// Python said no, and the process is still there.
    Python {
        kind: Kind,
        /// The index of the environment in its worker.
        environment: usize,
        error: String,
    },
}

/// What Python said no to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Missing,
    CannotMake,
    Failed,
}

/// A worker process.
pub(super) struct Worker {
    /// `None` once it is closed.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    watched: Arc<Watched>,
    /// Closing it ends the thread that watches.
    _watch: mpsc::Sender<()>,
    frame: Vec<u8>,
    started: Instant,
}

struct Watched {
    child: Mutex<Child>,
    /// Milliseconds after the start at which an answer is late; `u64::MAX` when none is expected.
    deadline: AtomicU64,
    late: AtomicBool,
    /// The end of what the process wrote to standard error.
    words: Mutex<String>,
}

impl Worker {
    /// Starts Python. What it is asked first is its own affair.
    pub(super) fn start(python: &Path) -> Result<Self, String> {
        let mut child = Command::new(python)
            .args(["-u", "-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot_run(python, &error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(requests), Some(replies), Some(words)) = pipes else {
            return Err(format!("{} has no pipes", python.display()));
        };
        let started = Instant::now();
        let watched = Arc::new(Watched {
            child: Mutex::new(child),
            deadline: AtomicU64::new(u64::MAX),
            late: AtomicBool::new(false),
            words: Mutex::new(String::new()),
        });
        let (watch, ended) = mpsc::channel();
        let watcher = Arc::clone(&watched);
        thread::spawn(move || watcher.watch(started, &ended));
        let listener = Arc::clone(&watched);
        thread::spawn(move || listener.listen(BufReader::new(words)));
        let replies = BufReader::with_capacity(1 << 16, replies);
        Ok(Self { requests: Some(requests), replies, watched, _watch: watch, frame: Vec::new(), started })
    }

    /// Sends a request. It must be answered within `patience` from now.
    pub(super) fn send(&mut self, payload: &[u8], patience: Duration) -> Result<(), Failure> {
        let deadline = (self.started.elapsed() + patience).as_millis();
        self.watched.deadline.store(u64::try_from(deadline).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.frame.clear();
        self.frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.frame.extend_from_slice(payload);
        let sent = match &mut self.requests {
            Some(requests) => requests.write_all(&self.frame),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|_| self.lost())
    }

    /// Waits for the answer to the request and returns it.
    pub(super) fn receive(&mut self) -> Result<&[u8], Failure> {
        if let Err(error) = self.read() {
            return Err(if error.kind() == io::ErrorKind::InvalidData {
                Failure::Lost(
                    "it wrote something else than an answer (does anything print when Python starts?)"
                        .to_owned(),
                )
            } else {
                self.lost()
            });
        }
        self.watched.deadline.store(u64::MAX, Ordering::Relaxed);
        let kind = match self.frame[0] {
            0 => return Ok(&self.frame[1..]),
            1 => Kind::Missing,
            2 => Kind::CannotMake,
            _ => Kind::Failed,
        };
        let index =
            self.frame.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let error = String::from_utf8_lossy(self.frame.get(5..).unwrap_or_default());
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(Failure::Python { kind, environment: index as usize, error })
    }

    fn read(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.replies.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if !(1..=LONGEST_FRAME).contains(&length) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.frame.resize(length, 0);
        self.replies.read_exact(&mut self.frame)
    }

    /// What became of the process, which is ended if it has not.
    pub(super) fn lost(&mut self) -> Failure {
        let late = self.watched.late.load(Ordering::Relaxed);
        let mut child = lock(&self.watched.child);
        let status = ended(&mut child, Duration::from_millis(200));
        drop(child);
        // The last words come through another pipe, perhaps a moment later.
        thread::sleep(Duration::from_millis(20));
        let words = lock(&self.watched.words);
        let words = if words.trim().is_empty() {
            String::new()
        } else {
            format!("; its last words: {}", last_line(&words))
        };
        Failure::Lost(if late {
            format!("it did not answer in time and was ended{words}")
        } else {
            format!("it ended ({status}){words}")
        })
    }

    /// Tells the process to end, without waiting for it.
    pub(super) fn close(&mut self) {
        self.requests = None;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
        let _ = ended(&mut lock(&self.watched.child), FAREWELL);
    }
}

impl Watched {
    fn watch(&self, started: Instant, ended: &mpsc::Receiver<()>) {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            if now > self.deadline.load(Ordering::Relaxed) {
                self.late.store(true, Ordering::Relaxed);
                let _ = lock(&self.child).kill(); // whoever waits for an answer now reads the end of the pipe
                return;
            }
        }
    }

    fn listen(&self, mut stream: impl BufRead) {
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            tracing::debug!("Python: {}", text.trim_end());
            let mut words = lock(&self.words);
            if words.len() > 10_000 {
                words.clear();
            }
            words.push_str(&text);
            drop(words);
            line.clear();
        }
    }
}

/// Waits for a process to end, ends it when it has not after `patience`, and says how it ended.
fn ended(child: &mut Child, patience: Duration) -> String {
    let start = Instant::now();
    while start.elapsed() < patience {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Err(error) => return error.to_string(),
        }
    }
    let _ = child.kill();
    child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The spaces in the answer to the first request.
pub(super) fn spaces(reply: &[u8]) -> Result<[BoxSpace; 2], String> {
    let nonsense = || "its answer is not that of our program".to_owned();
    let (sizes, bounds) = reply.split_at_checked(8).ok_or_else(nonsense)?;
    let bounds: Vec<f32> = floats(bounds).collect();
    let [o, a] = [0, 4].map(|at| u32::from_le_bytes([0, 1, 2, 3].map(|byte| sizes[at + byte])) as usize);
    if bounds.len() != 2 * (o + a) {
        return Err(nonsense());
    }
    let (observation, action) = bounds.split_at(2 * o);
    let space = |(low, high): (Vec<f32>, Vec<f32>), what: &str| {
        BoxSpace::new(low, high).map_err(|error| format!("its space of {what}: {error}"))
    };
    // An element of an observation that never changes has equal bounds, which are no box.
    let (low, high) = observation.split_at(o);
    let bounds = low.iter().zip(high).map(|(&low, &high)| if low < high { (low, high) } else { UNBOUNDED });
    let (low, high) = action.split_at(a);
    let spaces = [space(bounds.unzip(), "observations")?, space((low.to_vec(), high.to_vec()), "actions")?];
    if spaces[1].is_bounded() { Ok(spaces) } else { Err("its space of actions is not bounded".to_owned()) }
}

/// The numbers in little-endian bytes.
pub(super) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
