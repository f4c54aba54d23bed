//! Rows of transitions, and the ring that says which are stored where.

use ingle_core::state::Visitor;
use ingle_core::{Error, Result};

/// Transitions on the host, `n` rows of each field, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `[n, O]`.
    pub observation: &'a [f32],
    /// `[n, A]`, in the canonical range `[-1, 1]`.
    pub action: &'a [f32],
    /// `[n]`.
    pub reward: &'a [f32],
    /// `[n]`: `γ^n · Π(1 − terminated)`, see [`ingle_core::Transitions::discount`].
    pub discount: &'a [f32],
    /// `[n]`: whether the episode was cut off after this step. Only [`NStepReplay`](crate::NStepReplay) reads it.
    pub truncated: &'a [bool],
    /// `[n, O]`: the successor; after a truncation the last real observation.
    pub next_observation: &'a [f32],
}

impl Rows<'_> {
    /// The fields of numbers, in the order in which a row is stored.
    fn fields(&self) -> [&[f32]; 5] {
        [self.observation, self.action, self.reward, self.discount, self.next_observation]
    }

    /// Writes row `row` into one piece.
    pub(crate) fn pack(&self, row: usize, widths: Widths, mut target: &mut [f32]) {
        for (values, width) in self.fields().into_iter().zip(widths.0) {
            let (head, tail) = target.split_at_mut(width);
            head.copy_from_slice(&values[row * width..(row + 1) * width]);
            target = tail;
        }
    }

    /// The number of rows, if every field has as many and every number is finite.
    pub(crate) fn check(&self, widths: Widths) -> Result<usize> {
        let count = self.reward.len();
        let names = ["observation", "action", "reward", "discount", "next_observation"];
        let shape = |field, width, length| Error::Shape {
            field,
            expected: format!("{count} rows of {width}, as there are {count} rewards"),
            actual: vec![length],
        };
        if self.truncated.len() != count {
            return Err(shape("truncated", 1, self.truncated.len()));
        }
        for ((field, values), width) in names.into_iter().zip(self.fields()).zip(widths.0) {
            if values.len() != count * width {
                return Err(shape(field, width, values.len()));
            }
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::NonFinite {
                    field,
                    row: index / width,
                    element: index % width,
                    value: values[index],
                });
            }
        }
        Ok(count)
    }
}

/// The widths of a transition's fields, in the order in which a row is stored:
/// observation, action, reward, discount, next observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Widths(pub(crate) [usize; 5]);

impl Widths {
    pub(crate) fn new(observation: usize, action: usize) -> Self {
        Self([observation, action, 1, 1, observation])
    }

    pub(crate) fn row(self) -> usize {
        self.0.iter().sum()
    }

    /// Copies stored rows, each given with its ring's and its slot, to `fields`: all observations, then all actions, ...
    pub(crate) fn copy<'a>(
        self,
        rows: impl ExactSizeIterator<Item = (&'a Vec<f32>, usize)> + Clone,
        fields: &mut [f32],
    ) {
        let (count, stride) = (rows.len(), self.row());
        // Rows lie anywhere in memory, and copying one at a time waits for each. Reading a little of all first lets the
        // processor fetch many at once.
        let ends = |row: &[f32]| row[0].to_bits() ^ row[stride - 1].to_bits();
        let touched = rows
            .clone()
            .fold(0, |bits, (stored, slot)| bits ^ ends(&stored[slot * stride..(slot + 1) * stride]));
        std::hint::black_box(touched);
        let mut rest = fields;
        let mut blocks = self.0.map(|width| {
            let (block, tail) = std::mem::take(&mut rest).split_at_mut(count * width);
            rest = tail;
            block
        });
        for (row, (stored, slot)) in rows.enumerate() {
            let mut source = &stored[slot * stride..(slot + 1) * stride];
            for (block, width) in blocks.iter_mut().zip(self.0) {
                let (head, tail) = source.split_at(width);
                block[row * width..(row + 1) * width].copy_from_slice(head);
                source = tail;
            }
        }
    }
}

/// The places of the last `capacity` rows inserted.
///
/// A row's key is the number of rows inserted before it: it names that row for as long as it is stored, and never
/// another one.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    capacity: usize,
    inserted: u64,
}

impl Ring {
    /// An empty ring.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inserted: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.inserted.min(self.capacity as u64) as usize
    }

    pub(crate) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Takes in one row, the oldest falling out; the slot that it goes to.
    pub(crate) fn push(&mut self) -> usize {
        let slot = self.slot(self.inserted);
        self.inserted += 1;
        slot
    }

    /// Whether the row of that key is still stored.
    pub(crate) fn holds(&self, key: u64) -> bool {
        key < self.inserted && self.inserted - key <= self.len() as u64
    }

    /// The slot of the row of that key.
    pub(crate) fn slot(&self, key: u64) -> usize {
        (key % self.capacity as u64) as usize
    }

    /// The key of the row in slot `slot`.
    pub(crate) fn key(&self, slot: usize) -> u64 {
        // The newest row is in slot (inserted − 1) mod capacity; walk back from there.
        let newest = self.inserted - 1;
        let capacity = self.capacity as u64;
        let back = (newest % capacity + capacity - slot as u64) % capacity;
        newest - back
    }

    /// Shows the ring with its rows, `width` numbers each.
    pub(crate) fn checkpoint(&mut self, rows: &mut Vec<f32>, width: usize, visitor: &mut Visitor<'_>) {
        visitor.counter("inserted", &mut self.inserted);
        visitor.values("rows", rows);
        // No ring lives to see half of all counts; the keys after it must still fit.
        let fits = self.inserted <= u64::MAX / 2 && rows.len() as u128 == self.len() as u128 * width as u128;
        if visitor.is_loading() && !fits {
            visitor.fail(Error::Record(format!(
                "{} numbers of {} inserted rows, expected {} rows of {width}",
                rows.len(),
                self.inserted,
                self.len()
            )));
            *self = Self::new(self.capacity);
            rows.clear();
        }
    }
}
