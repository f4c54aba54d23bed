//! State as plain data: every item can be visited by name, which is all that saving, loading, and taking members out
//! of a population need.

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};

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
        let mut saver = Saver { record: Record::default(), failure: None };
        self.clone().visit(&mut Visitor::new(&mut saver));
        saver.failure.map_or(Ok(saver.record), Err)
    }

    /// Brings back a saved state, on the device on which this one lives and in its precision.
    ///
    /// # Errors
    /// [`Error::Record`] if an item is missing, of another shape or unknown; the state is then as it was.
    fn load(&mut self, record: &Record) -> Result<()> {
        let mut loaded = self.clone();
        let mut loader = Loader { record, seen: 0, problems: Vec::new() };
        loaded.visit(&mut Visitor::new(&mut loader));
        let (seen, mut problems) = (loader.seen, loader.problems);
        if problems.is_empty() && seen != record.0.len() {
            problems.push(format!("the record has {} items, the state {seen}", record.0.len()));
        }
        if !problems.is_empty() {
            return Err(Error::Record(problems.join("; ")));
        }
        *self = loaded;
        Ok(())
    }

    /// The state of member `member` alone, as a population of one. `None` if there is no such member.
    fn member(&self, member: usize) -> Option<Self> {
        let mut state = self.clone();
        let mut taker = MemberTaker { member, present: true };
        state.visit(&mut Visitor::new(&mut taker));
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
            state.clone().visit(&mut Visitor::new(&mut collector));
        }
        let mut stacked = first.clone();
        let mut stacker = Stacker { columns, count: states.len(), problems: Vec::new() };
        stacked.visit(&mut Visitor::new(&mut stacker));
        if stacker.problems.is_empty() {
            Ok(stacked)
        } else {
            Err(Error::Record(stacker.problems.join("; ")))
        }
    }
}

/// A learner or processor that nothing changes in.
impl State for () {
    fn visit(&mut self, _: &mut Visitor<'_>) {}
}

/// Passes over the items of a state and knows the path to each.
pub struct Visitor<'a> {
    path: String,
    action: &'a mut dyn Visit,
}

/// What a visitor does with each kind of item.
trait Visit {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>);
    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>);
    fn counter(&mut self, name: &str, value: &mut u64);
}

impl std::fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Visitor").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> Visitor<'a> {
    fn new(action: &'a mut dyn Visit) -> Self {
        Self { path: String::new(), action }
    }

    /// Shows what belongs together under a common name.
    pub fn scope(&mut self, name: &str, show: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(name);
        self.path.push('/');
        show(self);
        self.path.truncate(length);
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
}

/// A state on the host: its items by path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record(pub BTreeMap<String, RecordItem>);

/// One item of a [`Record`].
#[derive(Debug, Clone, PartialEq)]
pub enum RecordItem {
    /// A tensor `[P, ·]`.
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

struct Saver {
    record: Record,
    failure: Option<Error>,
}

impl Visit for Saver {
    fn tensor(&mut self, name: &str, value: &mut Tensor<2>) {
        match value.try_to_data() {
            Ok(data) => {
                self.record.0.insert(name.to_owned(), RecordItem::Tensor(data));
            }
            Err(error) => self.failure = Some(Error::Execution(error.to_string())),
        }
    }

    fn streams(&mut self, name: &str, value: &mut Vec<RandomStream>) {
        let positions = value.iter().map(RandomStream::position).collect();
        self.record.0.insert(name.to_owned(), RecordItem::Streams(positions));
    }

    fn counter(&mut self, name: &str, value: &mut u64) {
        self.record.0.insert(name.to_owned(), RecordItem::Counter(*value));
    }
}

struct Loader<'a> {
    record: &'a Record,
    seen: usize,
    problems: Vec<String>,
}

impl Loader<'_> {
    fn item(&mut self, name: &str) -> Option<RecordItem> {
        let item = self.record.0.get(name).cloned();
        match &item {
            Some(_) => self.seen += 1,
            None => self.problems.push(format!("{name} is missing")),
        }
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
}
