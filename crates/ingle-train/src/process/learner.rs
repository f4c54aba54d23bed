//! The near end: a process as a learner.

use std::io;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData, Transaction};
use ingle_core::sample::Expected;
use ingle_core::state::{Checkpoint, Visitor};
use ingle_core::{Acting, Error, Feedback, Learner, Policy, Result, Sampler, StepOutput, Transitions};
use ingle_replay::{Insert, Rows};

use super::frame::{ACT, Frame, GET, HELLO, PUT, Parser, REFUSED, STEP, VERSION, put_reals};

/// How long a process may take to end by itself once its input has ended, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a [`ProcessLearner`] tells its process, and expects of it.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// O: number of elements of an observation, ≥ 1.
    pub observation: usize,
    /// A: number of elements of an action, ≥ 1.
    pub action: usize,
    /// The seed that the process is told.
    pub seed: u64,
    /// The names of the metrics that the process reports with each step, in its order. Default none.
    pub metrics: Vec<&'static str>,
    /// How long an answer may take, the first one (with the start of an interpreter and its libraries) included; the
    /// process is killed then. Default 5 minutes.
    pub deadline: Duration,
}

impl ProcessConfig {
    /// The defaults, for observations of `observation` and actions of `action` elements.
    pub fn new(observation: usize, action: usize) -> Self {
        Self { observation, action, seed: 0, metrics: Vec::new(), deadline: Duration::from_mins(5) }
    }
}

/// Why a learner in another process failed; the source of an [`Error::External`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// The process could not be started.
    #[error("{program} cannot be started: {reason}")]
    Start {
        /// The program.
        program: String,
        /// What the operating system said.
        reason: String,
    },
    /// The process refused a request, and is as it was.
    #[error("refused: {0}")]
    Refused(String),
    /// The process is gone, and its state with it.
    #[error("the process has ended ({status}); what it learned is lost")]
    Ended {
        /// How it ended.
        status: ExitStatus,
    },
    /// The process did not answer in time and was killed.
    #[error("no answer within {seconds} s; the process was killed")]
    Deadline {
        /// The deadline.
        seconds: f64,
    },
    /// The process answered something else than the protocol has, and was killed.
    #[error("the process does not keep to the protocol and was killed: {0}")]
    Protocol(String),
}

impl From<ProcessError> for Error {
    fn from(error: ProcessError) -> Self {
        Self::External(error.into())
    }
}

/// A learner whose state is in another process, which this one starts, asks, and ends when it is dropped.
///
/// `S` is its own sampler; `()` is none, for a learner that is only given samples: inside a
/// [`NestedLearner`](ingle_core::NestedLearner). It is a population of one. Each step and each action wait for the
/// process, and move the sample to the host: what cannot be moved into a [`LearnerCore`](ingle_core::LearnerCore) costs
/// that.
///
/// A step that the process refuses leaves it as it was. A process that ends, is silent beyond the deadline, or answers
/// something else than the [protocol](super) has, is gone: that error, and the same one ever after.
///
/// ```no_run
/// use std::process::Command;
///
/// use burn::tensor::Device;
/// use ingle_train::process::{ProcessConfig, ProcessLearner};
///
/// let mut command = Command::new("python3");
/// command.arg("examples/external_learner.py");
/// let learner = ProcessLearner::start(command, &ProcessConfig::new(3, 1), (), &Device::flex())?;
/// # Ok::<(), ingle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ProcessLearner<S> {
    /// Where [`Learner::step`] gets its samples.
    pub sampler: S,
    config: ProcessConfig,
    device: Device,
    link: Mutex<Link>,
}

impl<S> ProcessLearner<S> {
    /// Starts the process and waits for its hello. Its standard input and output become the pipes; its standard error,
    /// environment and working directory are as `command` has them.
    ///
    /// # Errors
    /// [`Error::Config`] if a size is 0, [`Error::External`] with a [`ProcessError`] if the process cannot be started,
    /// or does not answer as it should.
    pub fn start(command: Command, config: &ProcessConfig, sampler: S, device: &Device) -> Result<Self> {
        let ProcessConfig { observation, action, seed, ref metrics, deadline } = *config;
        if observation == 0 || action == 0 {
            return Err(Error::Config(vec![format!(
                "process: observations of {observation} and actions of {action} elements, both must be at least 1"
            )]));
        }
        let mut payload = Vec::new();
        for number in [VERSION, observation as u32, action as u32] {
            payload.extend(number.to_le_bytes());
        }
        payload.extend(seed.to_le_bytes());
        payload.extend((metrics.len() as u32).to_le_bytes());
        for name in metrics {
            payload.extend((name.len() as u32).to_le_bytes());
            payload.extend(name.as_bytes());
        }
        let mut link = Link::start(command, deadline)?;
        link.ask(HELLO, payload, |parser| match parser.integer()? {
            VERSION => Ok(()),
            other => Err(format!("its version is {other}, ours {VERSION}")),
        })?;
        let device = device.clone().without_autodiff();
        Ok(Self { sampler, config: config.clone(), device, link: Mutex::new(link) })
    }

    /// The process's number in its system.
    pub fn id(&self) -> u32 {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).child.id()
    }

    fn ask<T>(
        &self,
        kind: u8,
        payload: Vec<u8>,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, String>,
    ) -> Result<T, ProcessError> {
        // A panic elsewhere while the lock was held left an answer unread at worst, which the next request notices.
        self.link.lock().unwrap_or_else(PoisonError::into_inner).ask(kind, payload, read)
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

impl<S: Sampler<Sample = Transitions>> Learner for ProcessLearner<S> {
    type Sample = Transitions;

    fn step(&mut self) -> Result<StepOutput> {
        let sample = self.sampler.sample()?;
        let mut output = self.step_with(sample)?;
        if let Some(feedback) = output.feedback.take() {
            self.sampler.feedback(feedback)?;
        }
        Ok(output)
    }

    fn step_with(&mut self, sample: Transitions) -> Result<StepOutput> {
        let ProcessConfig { observation, action, .. } = self.config;
        let like = Tensor::<2>::zeros([1, 1], &self.device);
        let rows = sample.check(Expected { population: 1, observation, action, like: &like })?;
        let weight = sample.importance_weight;
        let mut payload = Vec::new();
        payload.extend((rows as u32).to_le_bytes());
        payload.extend(u32::from(weight.is_some()).to_le_bytes());
        let fields = Transaction::default()
            .register(sample.observation)
            .register(sample.action)
            .register(sample.reward)
            .register(sample.discount)
            .register(sample.next_observation);
        let fields = weight.into_iter().fold(fields, Transaction::register);
        for data in fields.try_execute().map_err(|error| Error::Execution(error.to_string()))? {
            put_reals(&mut payload, &host(data)?);
        }
        let count = self.config.metrics.len();
        let (metrics, errors) = self.ask(STEP, payload, |parser| {
            let errors = parser.integer()? as usize;
            if errors != 0 && errors != rows {
                return Err(format!("{errors} TD errors for {rows} rows"));
            }
            Ok((parser.reals(count)?, parser.reals(errors)?))
        })?;
        let mut output = StepOutput::default();
        if count > 0 {
            let values = self.tensor(metrics, [count]);
            for (index, name) in self.config.metrics.iter().enumerate() {
                output.metrics.push(name, values.clone().narrow(0, index, 1));
            }
        }
        if !errors.is_empty() {
            let td_error = self.tensor(errors, [1, rows]);
            output.feedback = Some(Feedback { td_error, keys: sample.keys });
        }
        Ok(output)
    }
}

impl<S> Policy for ProcessLearner<S> {
    fn observation_size(&self) -> usize {
        self.config.observation
    }

    fn action_size(&self) -> usize {
        self.config.action
    }

    fn population(&self) -> usize {
        1
    }

    fn device(&self) -> &Device {
        &self.device
    }

    fn act(&self, observation: Tensor<3>, acting: Acting) -> Result<Tensor<3>> {
        let ProcessConfig { observation: size, action, .. } = self.config;
        let rows = observation.dims()[1];
        let check = |field, actual: [usize; 3], expected: [usize; 3]| {
            if actual == expected {
                return Ok(());
            }
            Err(Error::Shape { field, expected: format!("{expected:?}"), actual: actual.to_vec() })
        };
        check("observation", observation.dims(), [1, rows, size])?;
        let mut payload = Vec::new();
        payload.extend((rows as u32).to_le_bytes());
        payload.extend(u32::from(matches!(acting, Acting::Exploring(_))).to_le_bytes());
        let mut fields = Transaction::default().register(observation);
        if let Acting::Exploring(noise) = acting {
            check("noise", noise.dims(), [1, rows, action])?;
            fields = fields.register(noise);
        }
        for data in fields.try_execute().map_err(|error| Error::Execution(error.to_string()))? {
            put_reals(&mut payload, &host(data)?);
        }
        let actions = self.ask(ACT, payload, |parser| parser.reals(rows * action))?;
        Ok(self.tensor(actions, [1, rows, action]))
    }
}

impl<S: Insert> Insert for ProcessLearner<S> {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.sampler.insert(member, rows)
    }
}

/// The process's own state is one item, in whatever bytes it makes of it.
impl<S: Checkpoint> Checkpoint for ProcessLearner<S> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        let all = |parser: &mut Parser<'_>| parser.bytes(parser.0.len()).map(<[u8]>::to_vec);
        let mut state = Vec::new();
        if !visitor.is_loading() {
            match self.ask(GET, Vec::new(), all) {
                Ok(bytes) => state = bytes,
                Err(error) => visitor.fail(error.into()),
            }
        }
        visitor.values("process", &mut state);
        if visitor.is_loading()
            && let Err(error) = self.ask(PUT, state, |_| Ok(()))
        {
            visitor.fail(error.into());
        }
        visitor.scope("sampler", |visitor| self.sampler.checkpoint(visitor));
    }
}

fn host(data: TensorData) -> Result<Vec<f32>> {
    let data = data.convert::<f32>();
    data.try_into_vec().map_err(|error| Error::Execution(format!("{error:?}")))
}

/// The process with a thread for each direction, so that neither end ever waits for the other to read.
#[derive(Debug)]
struct Link {
    child: Child,
    /// None once the process is to end: that ends the writing thread, and with it the process's input.
    requests: Option<Sender<Frame>>,
    answers: Receiver<io::Result<Option<Frame>>>,
    deadline: Duration,
    /// Why the process is gone.
    gone: Option<ProcessError>,
}

impl Link {
    fn start(mut command: Command, deadline: Duration) -> Result<Self, ProcessError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |reason: String| ProcessError::Start { program: program.clone(), reason };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no pipes".into()));
        };
        let (requests, to_write) = channel();
        let (read, answers) = channel();
        // The threads end with the pipes. They are not joined: a process's own children may hold those open.
        thread::spawn(move || write_requests(input, &to_write));
        thread::spawn(move || read_answers(output, &read));
        Ok(Self { child, requests: Some(requests), answers, deadline, gone: None })
    }

    /// Sends a request and reads its answer, every byte of it.
    fn ask<T>(
        &mut self,
        kind: u8,
        payload: Vec<u8>,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, String>,
    ) -> Result<T, ProcessError> {
        let answer = self.exchange(Frame { kind, payload })?;
        if answer.kind == REFUSED {
            return Err(ProcessError::Refused(String::from_utf8_lossy(&answer.payload).into_owned()));
        }
        let mut parser = Parser(&answer.payload);
        let value = if answer.kind == kind {
            read(&mut parser).and_then(|value| parser.finish().map(|()| value))
        } else {
            Err(format!("an answer of kind {:?}", answer.kind as char))
        };
        value.map_err(|reason| {
            let request = kind as char;
            self.end(ProcessError::Protocol(format!("in the answer to {request:?}: {reason}")))
        })
    }

    fn exchange(&mut self, request: Frame) -> Result<Frame, ProcessError> {
        if let Some(gone) = &self.gone {
            return Err(gone.clone());
        }
        let answer = match self.answers.try_recv() {
            Ok(Ok(Some(_))) => {
                return Err(self.end(ProcessError::Protocol("an answer that nobody asked for".into())));
            }
            Ok(end) => Ok(end),
            Err(_) => {
                if let Some(requests) = &self.requests {
                    // A writer that has ended shows at the reader.
                    let _ = requests.send(request);
                }
                self.answers.recv_timeout(self.deadline)
            }
        };
        match answer {
            Ok(Ok(Some(answer))) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                Err(self.end(ProcessError::Deadline { seconds: self.deadline.as_secs_f64() }))
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.end(ProcessError::Protocol(error.to_string())))
            }
            // The output has ended, in the middle of an answer or not: how did the process end?
            Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                self.requests = None;
                let reason = match wait(&mut self.child, GRACE) {
                    Some(status) => ProcessError::Ended { status },
                    None => ProcessError::Protocol("it closed its output".into()),
                };
                Err(self.end(reason))
            }
        }
    }

    /// Kills the process, if it is still there, and remembers why it is gone.
    fn end(&mut self, reason: ProcessError) -> ProcessError {
        self.requests = None;
        // Neither can fail for a child that is ours; one that has ended is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.gone = Some(reason.clone());
        reason
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.requests = None;
        if wait(&mut self.child, GRACE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for a process, but not longer than `most`.
fn wait(child: &mut Child, most: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if start.elapsed() < most => thread::sleep(Duration::from_millis(1)),
            _ => return None,
        }
    }
}

fn write_requests(mut input: ChildStdin, requests: &Receiver<Frame>) {
    for request in requests {
        if request.write(&mut input).is_err() {
            return;
        }
    }
}

fn read_answers(output: ChildStdout, answers: &Sender<io::Result<Option<Frame>>>) {
    let mut output = io::BufReader::new(output);
    loop {
        let answer = Frame::read(&mut output);
        let last = !matches!(answer, Ok(Some(_)));
        if answers.send(answer).is_err() || last {
            return;
        }
    }
}
