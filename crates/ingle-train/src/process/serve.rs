//! The far end, in Rust.

use std::io::{self, Read, Write};

use super::frame::{ACT, Frame, GET, HELLO, PUT, Parser, REFUSED, STEP, VERSION, put_reals};

/// What a served learner is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// O: number of elements of an observation.
    pub observation: usize,
    /// A: number of elements of an action.
    pub action: usize,
    /// The seed of everything that it draws.
    pub seed: u64,
    /// The names of the metrics that each step's answer has, in that order.
    pub metrics: Vec<String>,
}

/// What one update learns from, B rows on the host; see [`ingle_core::Transitions`].
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[B, O]`.
    pub observation: Vec<f32>,
    /// `[B, A]`.
    pub action: Vec<f32>,
    /// `[B]`.
    pub reward: Vec<f32>,
    /// `[B]`.
    pub discount: Vec<f32>,
    /// `[B, O]`.
    pub next_observation: Vec<f32>,
    /// `[B]`.
    pub importance_weight: Option<Vec<f32>>,
}

/// What one update hands back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// As many numbers as [`Hello::metrics`] has names.
    pub metrics: Vec<f32>,
    /// `|Q − y|` of each row, if the learner has such errors.
    pub td_error: Option<Vec<f32>>,
}

/// A learner that another process nests and drives, through [`serve`].
pub trait Remote {
    /// One update.
    ///
    /// # Errors
    /// Why it refuses; it is then as it was.
    fn step(&mut self, batch: Batch) -> Result<Answer, String>;

    /// Actions `[B, A]` in `[-1, 1]` for observations `[B, O]`, with standard normal noise `[B, A]` when exploring.
    ///
    /// # Errors
    /// Why it refuses.
    fn act(&mut self, observation: &[f32], noise: Option<&[f32]>) -> Result<Vec<f32>, String>;

    /// Everything that changes, as bytes. The default refuses: a run with such a learner cannot be resumed.
    ///
    /// # Errors
    /// Why it refuses.
    fn state(&mut self) -> Result<Vec<u8>, String> {
        Err("this learner does not save its state".into())
    }

    /// Brings back what [`Remote::state`] gave.
    ///
    /// # Errors
    /// Why it refuses; it is then as it was.
    fn restore(&mut self, state: &[u8]) -> Result<(), String> {
        let _ = state;
        Err("this learner does not restore a state".into())
    }
}

/// Serves the learner that `start` makes, on standard input and output, until the input ends. Print to standard error
/// only: whatever else is on standard output breaks the protocol.
///
/// # Errors
/// If a stream fails or the other end does not keep to the [protocol](super).
pub fn serve<R: Remote>(start: impl FnOnce(&Hello) -> Result<R, String>) -> io::Result<()> {
    serve_on(&mut io::stdin().lock(), &mut io::stdout().lock(), start)
}

fn serve_on<R: Remote>(
    input: &mut impl Read,
    output: &mut impl Write,
    start: impl FnOnce(&Hello) -> Result<R, String>,
) -> io::Result<()> {
    let Some(first) = Frame::read(input)? else { return Ok(()) };
    let hello = read_hello(&first).map_err(invalid)?;
    let mut learner = match start(&hello) {
        Ok(learner) => learner,
        Err(reason) => return refusal(&reason).write(output),
    };
    Frame { kind: HELLO, payload: VERSION.to_le_bytes().to_vec() }.write(output)?;
    while let Some(request) = Frame::read(input)? {
        let answer = answer(&mut learner, &hello, &request).map_err(invalid)?;
        answer.unwrap_or_else(|reason| refusal(&reason)).write(output)?;
    }
    Ok(())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn refusal(reason: &str) -> Frame {
    Frame { kind: REFUSED, payload: reason.as_bytes().to_vec() }
}

fn read_hello(frame: &Frame) -> Result<Hello, String> {
    let mut parser = Parser(&frame.payload);
    let version = parser.integer()?;
    if frame.kind != HELLO || version != VERSION {
        return Err(format!(
            "expected hello in version {VERSION}, got {:?} in {version}",
            frame.kind as char
        ));
    }
    let (observation, action) = (parser.integer()? as usize, parser.integer()? as usize);
    let seed = parser.long()?;
    let metrics = (0..parser.integer()?).map(|_| parser.text()).collect::<Result<_, _>>()?;
    parser.finish()?;
    Ok(Hello { observation, action, seed, metrics })
}

/// The learner's answer or refusal; an error is the other end's, which does not keep to the protocol.
fn answer<R: Remote>(
    learner: &mut R,
    hello: &Hello,
    request: &Frame,
) -> Result<Result<Frame, String>, String> {
    let mut parser = Parser(&request.payload);
    let size = |rows: usize, width: usize| rows.checked_mul(width).ok_or("a count that overflows");
    let payload = match request.kind {
        STEP => {
            let (rows, weighted) = (parser.integer()? as usize, parser.integer()? != 0);
            let batch = Batch {
                observation: parser.reals(size(rows, hello.observation)?)?,
                action: parser.reals(size(rows, hello.action)?)?,
                reward: parser.reals(rows)?,
                discount: parser.reals(rows)?,
                next_observation: parser.reals(size(rows, hello.observation)?)?,
                importance_weight: if weighted { Some(parser.reals(rows)?) } else { None },
            };
            parser.finish()?;
            learner.step(batch).and_then(|answer| {
                let errors = answer.td_error.unwrap_or_default();
                if answer.metrics.len() != hello.metrics.len() || (!errors.is_empty() && errors.len() != rows)
                {
                    return Err(format!(
                        "{} metrics and {} errors of rows, for {} names and {rows} rows",
                        answer.metrics.len(),
                        errors.len(),
                        hello.metrics.len()
                    ));
                }
                let mut payload = (errors.len() as u32).to_le_bytes().to_vec();
                put_reals(&mut payload, &answer.metrics);
                put_reals(&mut payload, &errors);
                Ok(payload)
            })
        }
        ACT => {
            let (rows, exploring) = (parser.integer()? as usize, parser.integer()? != 0);
            let observation = parser.reals(size(rows, hello.observation)?)?;
            let noise = if exploring { Some(parser.reals(size(rows, hello.action)?)?) } else { None };
            parser.finish()?;
            learner.act(&observation, noise.as_deref()).map(|actions| {
                let mut payload = Vec::new();
                put_reals(&mut payload, &actions);
                payload
            })
        }
        GET => {
            parser.finish()?;
            learner.state()
        }
        PUT => learner.restore(&request.payload).map(|()| Vec::new()),
        other => return Err(format!("there is no request of kind {:?}", other as char)),
    };
    Ok(payload.map(|payload| Frame { kind: request.kind, payload }))
}
