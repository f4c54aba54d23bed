//! State as plain data: every item can be visited by name, which is all that saving, loading, and taking members out
//! of a population need.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Element, Tensor, TensorData, Transaction};

use crate::random::{RandomStream, StreamPosition};
use crate::{Error, Result};

/// Everything that changes in a learner or a processor.
///
/// A state shows its items to a [`Visitor`], each under a stable name; the population axis comes first in each of
/// them. From that one function follow [`State::save`], [`State::load`], [`State::member`] and [`State::stack`].
/// Cloning is cheap: tensors share their storage until one of the copies changes.
pub trait State: Clone {
    /// Shows every item, always in the same order and under the same names.
    fn visit(&mut self, visitor: &mut Visitor<'_>);

    /// Copies the state to the host. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] if the device failed.
    fn save(&self) -> Result<Record> {
        save(|visitor| self.clone().visit(visitor))
    }

    /// Brings back a saved state, on the device on which this one lives and in its precision.
    ///
    /// # Errors
    /// [`Error::Record`] if an item is missing, of another shape or unknown; the state is then as it was.
    fn load(&mut self, record: &Record) -> Result<()> {
        let mut loaded = self.clone();
        load(record, |visitor| loaded.visit(visitor))?;
        *self = loaded;
        Ok(())
    }

    /// The state of member `member` alone, as a population of one. `None` if there is no such member.
    fn member(&self, member: usize) -> Option<Self> {
        let mut state = self.clone();
        let mut taker = MemberTaker { member, present: true };
        state.visit(&mut Visitor::new(&mut taker, false));
        taker.present.then_some(state)
    }

    /// Puts states together into one population, in that order. Counters are the first state's.
    ///
    /// # Errors
    /// [`Error::Record`] if there is none, or they differ in their items or counters.
    fn stack(states: &[Self]) -> Result<Self> {
        let Some(first) = states.first() else { return Err(Error::Record("no states to stack".into())) };
        let mut columns = BTreeMap::<String, Vec<Item>>::new();
        for state in states {
            let mut collector = Collector { columns: &mut columns };
            state.clone().visit(&mut Visitor::new(&mut collector, false));
        }
        let mut stacked = first.clone();
        let mut stacker = Stacker { columns, count: states.len(), problems: Vec::new() };
        stacked.visit(&mut Visitor::new(&mut stacker, false));
        if stacker.problems.is_empty() {
            Ok(stacked)
        } else {
            Err(Error::Record(stacker.problems.join("; ")))
        }
    }
}

/// A learner, processor or sampler that nothing changes in.
impl State for () {
    fn visit(&mut self, _: &mut Visitor<'_>) {}
}

/// Something of which everything that changes can be saved and brought back: a state, and also what is no plain data
/// or too large to be cloned (a replay, environments, a learner whose state lives elsewhere, a whole run).
///
/// It shows its items to the same [`Visitor`] as a [`State`], which is a `Checkpoint` by itself, and what is made of
/// several parts shows each in a scope of its own. A learner whose state lives elsewhere shows it as bytes:
///
/// ```
/// use ingle_core::state::Visitor;
/// use ingle_core::{Checkpoint, Error};
///
/// /// A library that can write itself out.
/// struct Library(u8);
///
/// impl Checkpoint for Library {
///     fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
///         let mut bytes = vec![self.0];
///         visitor.values("library", &mut bytes);
///         match bytes[..] {
///             [byte] => self.0 = byte,
///             _ => visitor.fail(Error::Record(format!("library: {} bytes, expected 1", bytes.len()))),
///         }
///     }
/// }
///
/// let record = Library(7).save_checkpoint()?;
/// let mut library = Library(0);
/// library.load_checkpoint(&record)?;
/// assert_eq!(library.0, 7);
/// # Ok::<(), Error>(())
/// ```
pub trait Checkpoint {
    /// Shows every item, always in the same order and under the same names. When the visitor
    /// [is loading](Visitor::is_loading), the items have changed when it is done with them.
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>);

    /// Copies everything to the host. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] if the device failed, and whatever a part of it refused with.
    fn save_checkpoint(&mut self) -> Result<Record> {
        save(|visitor| self.checkpoint(visitor))
    }

    /// Brings back what [`Checkpoint::save_checkpoint`] saved.
    ///
    /// # Errors
    /// [`Error::Record`] if an item is missing, of another shape or unknown. Unlike a [`State`], it may then be half
    /// loaded: drop it, or load something else.
    fn load_checkpoint(&mut self, record: &Record) -> Result<()> {
        load(record, |visitor| self.checkpoint(visitor))
    }
}

impl<S: State> Checkpoint for S {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.visit(visitor);
    }
}

fn save(show: impl FnOnce(&mut Visitor<'_>)) -> Result<Record> {
    let mut saver = Saver { record: Record::default(), failure: None };
    show(&mut Visitor::new(&mut saver, false));
    saver.failure.map_or(Ok(saver.record), Err)
}

fn load(record: &Record, show: impl FnOnce(&mut Visitor<'_>)) -> Result<()> {
    let mut loader = Loader { record, seen: BTreeSet::new(), problems: Vec::new() };
    show(&mut Visitor::new(&mut loader, true));
    let Loader { seen, mut problems, .. } = loader;
    let unknown = record.0.keys().filter(|name| !seen.contains(*name));
    problems.extend(unknown.map(|name| format!("{name} is not known here")));
    if problems.is_empty() { Ok(()) } else { Err(Error::Record(problems.join("; "))) }
}

/// Passes over the items of a state and knows the path to each.
pub struct Visitor<'a> {
    path: String,
    loading: bool,
    action: &'a mut dyn Visit,
}

/// What a visitor does with each kind of item.
trait Visit {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>);
    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>);
    fn counter(&mut self, name: &str, value: &mut u64);
    fn data(&mut self, name: &str, value: &mut TensorData);
    fn fail(&mut self, error: Error);
}

impl std::fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visitor").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Visitor<'a> {
    fn new(action: &'a mut dyn Visit, loading: bool) -> Self {
        Self { path: String::new(), loading, action }
    }

    /// Shows what belongs together under a common name.
    pub fn scope<R>(&mut self, name: &str, show: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        self.path.push_str(name);
        self.path.push('/');
        let result = show(self);
        self.path.truncate(length);
        result
    }

    /// Shows a tensor `[P, ·]`.
    pub fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        self.action.tensor(&format!("{}{name}", self.path), value);
    }

    /// Shows random streams, one per member.
    pub fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        self.action.streams(&format!("{}{name}", self.path), value);
    }

    /// Shows a counter that all members share.
    pub fn counter(&mut self, name: &str, value: &mut u64) {
        self.action.counter(&format!("{}{name}", self.path), value);
    }

    /// Shows numbers on the host, of any count: `f32`, `f64`, `u64`, or bytes (`u8`). Whoever shows them checks, when
    /// [loading](Visitor::is_loading), that there are as many as there should be. For a [`Checkpoint`] only: a
    /// [`State`] with such an item cannot be taken out of a population.
    pub fn values<E: Element>(&mut self, name: &str, values: &mut Vec<E>) {
        let name = format!("{}{name}", self.path);
        let count = values.len();
        let mut data = TensorData::new(std::mem::take(values), [count]);
        self.action.data(&name, &mut data);
        let dtype = data.dtype();
        match data.try_into_vec::<E>() {
            Ok(loaded) => *values = loaded,
            Err(_) => self.fail(Error::Record(format!("{name} has elements of type {dtype:?}"))),
        }
    }

    /// Whether items are being replaced by saved ones. (Not while they are saved, or taken out of a population.)
    pub fn is_loading(&self) -> bool {
        self.loading
    }

    /// Makes the whole pass fail: what was loaded makes no sense, or it could not be saved.
    pub fn fail(&mut self, error: Error) {
        self.action.fail(error);
    }
}

/// A state on the host: its items by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record(pub BTreeMap<String, RecordItem>);

impl Record {
    /// What was shown in the scope `name`, as its own record.
    #[must_use]
    pub fn scope(mut self, name: &str) -> Self {
        let prefix = format!("{name}/");
        let own = self.0.split_off(&prefix).into_iter();
        Self(own.map_while(|(path, item)| Some((path.strip_prefix(&prefix)?.to_owned(), item))).collect())
    }
}

/// One item of a [`Record`].
#[derive(Debug, Clone, PartialEq)]
pub enum RecordItem {
    /// A tensor `[P, ·]`, or numbers `[n]` on the host.
    Tensor(TensorData),
    /// Random streams, one per member.
    Streams(Vec<StreamPosition>),
    /// A counter.
    Counter(u64),
}

enum Item {
    Tensor(Tensor<2>),
    Streams(Vec<RandomStream>),
    Counter(u64),
}

/// Passes over a state's tensors.
pub(crate) fn each_tensor(state: &mut impl State, mut visit: impl FnMut(&str, &mut Tensor<2>)) {
    let mut each = Each { tensor: &mut visit, streams: &mut |_| (), counter: &mut |_| () };
    state.visit(&mut Visitor::new(&mut each, false));
}

/// Passes over a state's random streams.
pub(crate) fn each_streams(state: &mut impl State, mut visit: impl FnMut(&mut Vec<RandomStream>)) {
    let mut each = Each { tensor: &mut |_, _| (), streams: &mut visit, counter: &mut |_| () };
    state.visit(&mut Visitor::new(&mut each, false));
}

/// Passes over a state's counters.
pub(crate) fn each_counter(state: &mut impl State, mut visit: impl FnMut(&mut u64)) {
    let mut each = Each { tensor: &mut |_, _| (), streams: &mut |_| (), counter: &mut visit };
    state.visit(&mut Visitor::new(&mut each, false));
}

/// P, by the first item that has a population axis; none if no item has.
#[cfg(feature = "flex")]
pub(crate) fn population(state: &mut impl State) -> Option<usize> {
    let mut population = None;
    each_streams(state, |streams| population = population.or(Some(streams.len())));
    each_tensor(state, |_, tensor| population = population.or(Some(tensor.dims()[0])));
    population
}

/// A function for each kind of item.
struct Each<'a> {
    tensor: &'a mut dyn FnMut(&str, &mut Tensor<2>),
    streams: &'a mut dyn FnMut(&mut Vec<RandomStream>),
    counter: &'a mut dyn FnMut(&mut u64),
}

impl Visit for Each<'_> {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        (self.tensor)(name, value);
    }

    fn streams(&mut self, _: &str, value: &mut Vec<RandomStream>) {
        (self.streams)(value);
    }

    fn counter(&mut self, _: &str, value: &mut u64) {
        (self.counter)(value);
    }

    fn data(&mut self, _: &str, _: &mut TensorData) {}

    fn fail(&mut self, _: Error) {}
}

struct Saver {
    record: Record,
    failure: Option<Error>,
}

impl Visit for Saver {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        // In a transaction: other reads on a GPU are put off until somebody looks at the numbers, and an update in place that
        // comes before would be saved with them.
        match Transaction::default().register(value.clone()).try_execute() {
            Ok(data) => {
                let items = data.into_iter().map(|data| (name.to_owned(), RecordItem::Tensor(data)));
                self.record.0.extend(items);
            }
            Err(error) => self.fail(Error::Execution(error.to_string())),
        }
    }

    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        let positions = value.iter().map(RandomStream::position).collect();
        self.record.0.insert(name.to_owned(), RecordItem::Streams(positions));
    }

    fn counter(&mut self, name: &str, value: &mut u64) {
        self.record.0.insert(name.to_owned(), RecordItem::Counter(*value));
    }

    fn data(&mut self, name: &str, value: &mut TensorData) {
        self.record.0.insert(name.to_owned(), RecordItem::Tensor(value.clone()));
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }
}

struct Loader<'a> {
    record: &'a Record,
    seen: BTreeSet<String>,
    problems: Vec<String>,
}

impl Loader<'_> {
    fn item(&mut self, name: &str) -> Option<RecordItem> {
        let item = self.record.0.get(name).cloned();
        if item.is_none() {
            self.problems.push(format!("{name} is missing"));
        }
        self.seen.insert(name.to_owned());
        item
    }

    fn other_kind(&mut self, name: &str) {
        self.problems.push(format!("{name} is of another kind"));
    }
}

impl Visit for Loader<'_> {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        match self.item(name) {
            Some(RecordItem::Tensor(data)) if data.shape()[..] == value.dims() => {
                *value = Tensor::from_data(data, (&value.device(), value.dtype()));
            }
            Some(RecordItem::Tensor(data)) => self.problems.push(format!(
                "{name} has shape {:?} in the record and {:?} here",
                &data.shape()[..],
                value.dims()
            )),
            Some(_) => self.other_kind(name),
            None => {}
        }
    }

    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        match self.item(name) {
            Some(RecordItem::Streams(positions)) if positions.len() == value.len() => {
                *value = positions.into_iter().map(RandomStream::at).collect();
            }
            Some(RecordItem::Streams(positions)) => self.problems.push(format!(
                "{name} has {} streams in the record and {} here",
                positions.len(),
                value.len()
            )),
            Some(_) => self.other_kind(name),
            None => {}
        }
    }

    fn counter(&mut self, name: &str, value: &mut u64) {
        match self.item(name) {
            Some(RecordItem::Counter(count)) => *value = count,
            Some(_) => self.other_kind(name),
            None => {}
        }
    }

    fn data(&mut self, name: &str, value: &mut TensorData) {
        match self.item(name) {
            Some(RecordItem::Tensor(data)) if data.shape().rank() == 1 => *value = data,
            Some(RecordItem::Tensor(data)) => {
                self.problems.push(format!("{name} has shape {:?}, must be a list", &data.shape()[..]));
            }
            Some(_) => self.other_kind(name),
            None => {}
        }
    }

    fn fail(&mut self, error: Error) {
        self.problems.push(match error {
            Error::Record(problem) => problem,
            other => other.to_string(),
        });
    }
}

struct MemberTaker {
    member: usize,
    present: bool,
}

impl Visit for MemberTaker {
    fn tensor(&mut self, _: &str, value: &mut Tensor<2>) {
        if self.member < value.dims()[0] {
            *value = value.clone().narrow(0, self.member, 1);
        } else {
            self.present = false;
        }
    }

    fn streams(&mut self, _: &str, value: &mut Vec<RandomStream>) {
        if self.member < value.len() {
            *value = vec![value.swap_remove(self.member)];
        } else {
            self.present = false;
        }
    }

    fn counter(&mut self, _: &str, _: &mut u64) {}

    fn data(&mut self, _: &str, _: &mut TensorData) {
        self.present = false;
    }

    fn fail(&mut self, _: Error) {
        self.present = false;
    }
}

struct Collector<'a> {
    columns: &'a mut BTreeMap<String, Vec<Item>>,
}

impl Collector<'_> {
    fn add(&mut self, name: &str, item: Item) {
        self.columns.entry(name.to_owned()).or_default().push(item);
    }
}

impl Visit for Collector<'_> {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        self.add(name, Item::Tensor(value.clone()));
    }

    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        self.add(name, Item::Streams(value.clone()));
    }

    fn counter(&mut self, name: &str, value: &mut u64) {
        self.add(name, Item::Counter(*value));
    }

    fn data(&mut self, _: &str, _: &mut TensorData) {}

    fn fail(&mut self, _: Error) {}
}

struct Stacker {
    columns: BTreeMap<String, Vec<Item>>,
    count: usize,
    problems: Vec<String>,
}

impl Stacker {
    /// The items of that name, one per state, in the form that `take` finds.
    fn column<T>(&mut self, name: &str, take: impl Fn(Item) -> Option<T>) -> Vec<T> {
        let column: Vec<T> = self.columns.remove(name).into_iter().flatten().filter_map(take).collect();
        if column.len() != self.count {
            self.problems.push(format!("{name} is not in every state"));
        }
        column
    }
}

impl Visit for Stacker {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        let column =
            self.column(name, |item| if let Item::Tensor(tensor) = item { Some(tensor) } else { None });
        let width = value.dims()[1];
        if column.iter().any(|tensor| tensor.dims()[1] != width) {
            self.problems.push(format!("{name} has different sizes"));
        } else if !column.is_empty() {
            *value = Tensor::cat(column, 0);
        }
    }

    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        let column =
            self.column(name, |item| if let Item::Streams(streams) = item { Some(streams) } else { None });
        *value = column.into_iter().flatten().collect();
    }

    fn counter(&mut self, name: &str, value: &mut u64) {
        let column =
            self.column(name, |item| if let Item::Counter(count) = item { Some(count) } else { None });
        if column.iter().any(|count| count != value) {
            self.problems.push(format!("{name} differs: {column:?}"));
        }
    }

    fn data(&mut self, name: &str, _: &mut TensorData) {
        self.problems.push(format!("{name} has no population axis"));
    }

    fn fail(&mut self, error: Error) {
        self.problems.push(error.to_string());
    }
}
