//! One captured update: the only place with `unsafe`.
//!
//! # Why replaying is sound
//! [`Graph::replay`](burn::tensor::Graph::replay) re-runs recorded kernels on the very buffers that they were recorded
//! with. It asks for three things, and they hold for every [`Program`] whatever its user does:
//!
//! 1. *The buffers live.* A program's kernels touch the state, the inputs (sample and noise), the outputs, and what is
//!    made and freed in between. State and inputs are in [`Resident`] and [`Place`]s that the captured closure shares
//!    by `Arc`, so that they live at least as long as the program; the outputs are in burn's `Graph` itself. What is
//!    freed in between, and any buffer that a kernel was given, is on pages that the device's server guards for the
//!    graph's life (`PageGuard` of cubecl 0.11: "nothing on those pages may move or be handed to a later allocation");
//!    burn is pinned to one exact version.
//! 2. *Nobody else uses them at the same time.* No tensor of a program gets out: samples and noise are copied in, the
//!    state (what is saved of it, too: burn reads lazily) and the outputs are copied out ([`copied`]), always by operations
//!    on the stream of the thread that captured. `Tensor` can be sent to other threads, but these copies are other buffers.
//! 3. *Refreshes are on the same stream.* Streams belong to threads. [`Program::replay`] checks that it is on the thread
//!    that captured and otherwise refuses, and so does everything that writes in place.
//!
//! That the *values* are right does not follow from this: it needs writes in place ([`assign`]) to land in the buffers
//! that were recorded. burn writes a tensor that nobody shares in place, and [`Program::capture`] looks: it compares two
//! replays with two eager updates, and hands no program out that differs. While an update is captured, no other thread may
//! use the device: its work would be refused.

#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use burn::tensor::{DType, Device, Graph, Tensor, capture};

use super::Eager;
use crate::random::{Draw, Noise};
use crate::sample::{Input, Inputs};
use crate::state::{State, each_counter, each_streams, each_tensor};
use crate::{Error, Feedback, Keys, LearnerCore, Metrics, Result, StepOutput};

/// How far a replay may be from an eager update, relative and absolute: the same kernels give the same bits, but a device
/// may have tuned a product in between.
const TOLERANCE: f64 = 1e-5;
/// What every number of the state is multiplied with before a replay is compared: near enough for a state to stay one.
const ELSEWHERE: f64 = 1.03;
/// How many updates the same decisions may be apart in the check after a capture.
const CYCLE: usize = 1024;

/// A learner's state in memory that programs are captured on: its tensors are changed in place.
#[derive(Debug)]
pub(super) struct Resident<S>(Arc<Mutex<S>>);

/// A program's own copy of what it is given.
type Place<T> = Arc<Mutex<T>>;

/// The noise of an update: of each of the state's lists of streams, what it is asked for.
type Draws = Vec<Vec<Draw>>;

type Closure = Box<dyn FnMut() -> Result<StepOutput> + Send>;

/// What makes two updates the same program: the host's decisions, and the sample's shapes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    decisions: Vec<bool>,
    inputs: Vec<InputKind>,
}

/// Shape, and for a tensor its type and device.
type InputKind = (Vec<usize>, Option<(DType, Device)>);

/// A captured update.
pub(super) struct Program<C: LearnerCore> {
    kind: Kind,
    graph: Graph<Result<StepOutput>, Closure>,
    sample: Place<C::Sample>,
    noise: Place<Draws>,
    /// How far each counter goes in an update.
    counters: Vec<u64>,
    thread: ThreadId,
}

impl Kind {
    pub(super) fn of(decisions: Vec<bool>, sample: &mut impl Inputs) -> Self {
        let inputs = sample.inputs().into_iter().map(|input| match input {
            Input::Numbers(tensor) => (tensor.dims().to_vec(), Some((tensor.dtype(), tensor.device()))),
            Input::Rows(tensor) => (tensor.dims().to_vec(), Some((tensor.dtype(), tensor.device()))),
            Input::Keys(keys) => (keys.iter().map(|keys| keys.len()).collect(), None),
        });
        Self { decisions, inputs: inputs.collect() }
    }
}

impl<S: State> Resident<S> {
    pub(super) fn new(state: S) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    /// The state, for operations that read it and hand out other tensors than its own.
    pub(super) fn lock(&self) -> MutexGuard<'_, S> {
        lock(&self.0)
    }

    /// The state in memory of its own.
    pub(super) fn copy(&self) -> S {
        copied_state(&self.lock())
    }

    /// Puts the state's tensors into fresh memory of this thread's stream. No program may be on the old one.
    fn settle(&self) {
        each_tensor(&mut *self.lock(), |_, tensor| *tensor = copied(tensor));
    }

    /// Writes the tensors of `state` over the resident ones.
    fn put_back(&self, state: S) {
        put_back(&mut *self.lock(), state);
    }
}

impl<C> Program<C>
where
    C: LearnerCore<State: Send + 'static, Sample: Inputs + Send + 'static> + Send + Sync + 'static,
{
    /// Captures an update of the kind that comes next. The resident state is as it was afterwards. Unless this
    /// `is_first`, other programs are on its memory, and their user asks for their [`difference`](Self::difference) again.
    ///
    /// # Errors
    /// `Ok(Err(..))` says why there is no program.
    pub(super) fn capture(
        core: &Arc<C>,
        resident: &Resident<C::State>,
        kind: Kind,
        mut sample: C::Sample,
        device: &Device,
        is_first: bool,
    ) -> Result<Result<Self, Eager>> {
        if !capture(device, || ()).is_hardware() {
            return Ok(Err(Eager::NoGraphs));
        }
        if is_first {
            resident.settle();
        }
        let before = resident.copy();

        // A first eager update tells what noise is drawn and which counters move.
        let mut first = before.clone();
        each_streams(&mut first, |streams| set_noise(streams, Noise::Noted(Vec::new())));
        core.step(&mut first, sample.clone())?;
        let mut noise = Draws::new();
        each_streams(&mut first, |streams| {
            match streams.first_mut().map(|stream| std::mem::take(stream.noise())) {
                Some(Noise::Noted(draws)) => noise.push(draws),
                _ => noise.push(Vec::new()),
            }
        });
        let counters = differences(&mut before.clone(), &mut first);
        let other = reversed(&sample);

        // The inputs' places. The keys in them are row numbers, so that the output's keys say which row each is.
        for input in sample.inputs() {
            match input {
                Input::Numbers(tensor) => *tensor = copied(tensor),
                Input::Rows(tensor) => *tensor = copied(tensor),
                Input::Keys(keys) => {
                    *keys = keys.as_ref().map(|keys| (0..keys.len() as u64).map(Some).collect());
                }
            }
        }
        for draw in noise.iter_mut().flatten() {
            draw.tensor = copied(&draw.tensor);
        }
        let (sample, noise) = (Arc::new(Mutex::new(sample)), Arc::new(Mutex::new(noise)));

        let closure: Closure = {
            let (core, resident) = (Arc::clone(core), Resident(Arc::clone(&resident.0)));
            let (sample, noise) = (Arc::clone(&sample), Arc::clone(&noise));
            Box::new(move || {
                let mut state = resident.lock().clone();
                give(&mut state, &lock(&noise));
                let sample = lock(&sample).clone();
                // A read panics while a graph is recorded, and the recording is to be ended all the same.
                let step = AssertUnwindSafe(|| core.step(&mut state, sample));
                let panicked = |_| Err(Error::Execution("the update panicked while it was captured".into()));
                let output = catch_unwind(step).unwrap_or_else(panicked)?;
                resident.put_back(state);
                Ok(output)
            })
        };
        let graph = capture(device, closure);
        resident.put_back(copied_state(&before));
        if !graph.is_hardware() {
            return Ok(Err(Eager::Refused));
        }
        if graph.output().is_err() {
            return Ok(Err(Eager::Refused));
        }
        let thread = std::thread::current().id();
        let mut program = Self { kind, graph, sample, noise, counters, thread };

        // Seen to be right: a replay on this sample, and a later one on another with other noise.
        let mut differs = program.difference(core, resident, 0)?;
        if differs.is_none() {
            program.refresh(other, &mut first);
            differs = program.difference(core, resident, 1)?;
        }
        Ok(match differs {
            Some(item) => Err(Eager::Differs { item }),
            None => Ok(program),
        })
    }

    /// The first item of the state that a replay changes otherwise than an eager update on the same inputs, made `later`
    /// updates of its kind from now. The resident state is as it was afterwards.
    pub(super) fn difference(
        &mut self,
        core: &Arc<C>,
        resident: &Resident<C::State>,
        later: usize,
    ) -> Result<Option<String>> {
        let before = resident.copy();
        // From other numbers than those of the capture, so that a buffer that is read and is no longer the state's shows.
        let mut twin = before.clone();
        each_tensor(&mut twin, |_, tensor| *tensor = tensor.clone().mul_scalar(ELSEWHERE));
        resident.put_back(copied_state(&twin));
        let mut passed = 0;
        for _ in 0..CYCLE {
            if core.decisions(&twin).as_ref() == Some(&self.kind.decisions) {
                if passed == later {
                    break;
                }
                passed += 1;
            }
            advance(&mut twin, &self.counters);
        }
        give(&mut twin, &lock(&self.noise));
        core.step(&mut twin, lock(&self.sample).clone())?;
        self.run();
        let differs = first_difference(&mut resident.copy(), &mut twin)?;
        resident.put_back(before);
        Ok(differs)
    }

    pub(super) fn is(&self, kind: &Kind) -> bool {
        self.kind == *kind
    }

    /// Whether this thread is the one that captured the program.
    pub(super) fn is_here(&self) -> bool {
        self.thread == std::thread::current().id()
    }

    /// The update, on a sample of the program's kind. None on another thread.
    pub(super) fn replay(
        &mut self,
        resident: &Resident<C::State>,
        mut sample: C::Sample,
    ) -> Option<StepOutput> {
        if !self.is_here() {
            return None;
        }
        // The learner's own rows come first; a demonstration's key never comes out of an update.
        let keys = sample.inputs().into_iter().find_map(|input| match input {
            Input::Keys(keys) => Some(keys.clone()),
            _ => None,
        });
        let keys = keys.flatten();
        {
            let mut state = resident.lock();
            self.refresh(sample, &mut state);
            self.run();
            advance(&mut *state, &self.counters);
        }
        let output = self.graph.output().as_ref().ok()?;
        let mut metrics = Metrics::default();
        for (name, value) in output.metrics.iter() {
            metrics.push(name, copied(value));
        }
        let feedback = output.feedback.as_ref().map(|Feedback { td_error, keys: rows }| Feedback {
            td_error: copied(td_error),
            keys: rows.as_ref().zip(keys).map(|(rows, keys)| renamed(rows, &keys)),
        });
        Some(StepOutput { metrics, feedback })
    }

    /// Writes a sample, and the noise that the streams of `state` draw next, over the inputs.
    fn refresh(&mut self, mut sample: C::Sample, state: &mut C::State) {
        let mut own = lock(&self.sample);
        for (own, new) in own.inputs().into_iter().zip(sample.inputs()) {
            match (own, new) {
                (Input::Numbers(own), Input::Numbers(new)) => assign(own, new.clone()),
                (Input::Rows(own), Input::Rows(new)) => assign(own, new.clone()),
                _ => {}
            }
        }
        let mut noise = lock(&self.noise);
        let mut draws = noise.iter_mut();
        each_streams(state, |streams| {
            for draw in draws.next().into_iter().flatten() {
                let new = draw.again(streams);
                assign(&mut draw.tensor, new);
            }
        });
    }

    fn run(&mut self) {
        debug_assert!(self.is_here() && self.graph.is_hardware());
        // SAFETY: the module's documentation says why the buffers live, why nobody else uses them, and why all that
        // writes them is on this stream; both callers are on the thread that captured.
        unsafe {
            self.graph.replay();
        }
    }
}

/// Rows by number, as the keys of a sample.
fn renamed(rows: &Keys, keys: &Keys) -> Keys {
    rows.iter().map(|row| row.and_then(|row| keys.get(row as usize).copied().flatten())).collect()
}

fn lock<T>(place: &Mutex<T>) -> MutexGuard<'_, T> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same numbers in memory of their own.
pub(super) fn copied<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().mul_scalar(1.0)
}

fn copied_state<S: State>(state: &S) -> S {
    let mut copy = state.clone();
    each_tensor(&mut copy, |_, tensor| *tensor = copied(tensor));
    copy
}

/// Writes `new` over `tensor` in place. Where they are one and the same, or something else holds `tensor`, it is left.
fn assign<const D: usize>(tensor: &mut Tensor<D>, new: Tensor<D>) {
    if !tensor.can_mut() {
        return;
    }
    let all = tensor.dims().map(|size| 0..size);
    let own = std::mem::replace(tensor, new.clone());
    *tensor = own.slice_assign(all, new);
}

/// Writes the tensors of `state` over those of `resident`, of which it is a clone that may have changed since: what has
/// not changed is shared still, and left.
fn put_back<S: State>(resident: &mut S, mut state: S) {
    let mut tensors = Vec::new();
    each_tensor(&mut state, |_, tensor| tensors.push(tensor.clone()));
    drop(state);
    let mut tensors = tensors.into_iter();
    each_tensor(resident, |_, tensor| {
        if let Some(new) = tensors.next() {
            assign(tensor, new);
        }
    });
}

fn set_noise(streams: &mut [crate::random::RandomStream], noise: Noise) {
    if let Some(first) = streams.first_mut() {
        *first.noise() = noise;
    }
}

/// Has the state's streams hand out these draws.
fn give(state: &mut impl State, noise: &Draws) {
    let mut noise = noise.iter();
    each_streams(state, |streams| {
        let draws = noise.next().into_iter().flatten();
        set_noise(streams, Noise::Given(draws.map(|draw| draw.tensor.clone()).collect()));
    });
}

/// How far each counter of `after` is from that of `before`.
fn differences<S: State>(before: &mut S, after: &mut S) -> Vec<u64> {
    let mut counters = Vec::new();
    each_counter(before, |counter| counters.push(*counter));
    let mut own = counters.iter_mut();
    each_counter(after, |counter| {
        if let Some(own) = own.next() {
            *own = counter.wrapping_sub(*own);
        }
    });
    counters
}

fn advance(state: &mut impl State, counters: &[u64]) {
    let mut counters = counters.iter();
    each_counter(state, |counter| *counter = counter.wrapping_add(counters.next().copied().unwrap_or(0)));
}

/// The rows in reverse order: another sample that is as good as the first.
fn reversed<S: Inputs>(sample: &S) -> S {
    let mut sample = sample.clone();
    for input in sample.inputs() {
        match input {
            Input::Numbers(tensor) => *tensor = tensor.clone().flip([1]),
            Input::Rows(tensor) => *tensor = tensor.clone().flip([1]),
            Input::Keys(_) => {}
        }
    }
    sample
}

/// The first item that differs by more than the tolerance. Waits for the device.
fn first_difference<S: State>(a: &mut S, b: &mut S) -> Result<Option<String>> {
    let mut tensors = Vec::new();
    each_tensor(a, |name, tensor| tensors.push((name.to_owned(), tensor.clone())));
    let mut metrics = Metrics::default();
    let mut others = tensors.iter();
    each_tensor(b, |_, other| {
        if let Some((_, tensor)) = others.next() {
            let size = tensor.clone().abs().max_pair(other.clone().abs()).add_scalar(1.0);
            let relative = (tensor.clone() - other.clone()).abs() / size;
            // Not a number is not below the tolerance.
            let same = relative.lower_equal_elem(TOLERANCE).float();
            metrics.push("", same.min_dim(1).min_dim(0).flatten::<1>(0, 1));
        }
    });
    let same = metrics.read()?;
    let found = tensors.into_iter().zip(same).find(|(_, (_, value))| *value != [1.0]);
    Ok(found.map(|((name, _), _)| name))
}
