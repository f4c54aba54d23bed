//! A ring of transitions on the host.

use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Result};

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
}

/// The last `capacity` rows inserted, each stored in one piece so that a random access touches one place in memory.
///
/// A row's key is the number of rows inserted before it: it names that row for as long as it is stored, and never
/// another one.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    widths: Widths,
    capacity: usize,
    rows: Vec<f32>,
    inserted: u64,
}

impl Ring {
    /// An empty ring; memory is taken as rows come in.
    pub(crate) fn new(widths: Widths, capacity: usize) -> Self {
        Self { widths, capacity, rows: Vec::new(), inserted: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() / self.widths.row()
    }

    pub(crate) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Appends rows, the oldest falling out. Nothing is stored if one of them is refused.
    pub(crate) fn insert(&mut self, rows: Rows<'_>) -> Result<()> {
        let count = rows.check(self.widths)?;
        let fields = rows.fields();
        for row in 0..count {
            let slot = (self.inserted % self.capacity as u64) as usize * self.widths.row();
            if slot == self.rows.len() {
                self.rows.resize(slot + self.widths.row(), 0.0);
            }
            let mut target = &mut self.rows[slot..slot + self.widths.row()];
            for (values, width) in fields.into_iter().zip(self.widths.0) {
                let (head, tail) = target.split_at_mut(width);
                head.copy_from_slice(&values[row * width..(row + 1) * width]);
                target = tail;
            }
            self.inserted += 1;
        }
        Ok(())
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

    /// Reads the ends of the row in `slot`, so that the row is fetched from memory.
    pub(crate) fn touch(&self, slot: usize) -> u32 {
        let stride = self.widths.row();
        self.rows[slot * stride].to_bits() ^ self.rows[(slot + 1) * stride - 1].to_bits()
    }

    /// Copies the row in `slot` into row `row` of each of `blocks`.
    pub(crate) fn copy(&self, slot: usize, row: usize, blocks: &mut [&mut [f32]; 5]) {
        let stride = self.widths.row();
        let mut source = &self.rows[slot * stride..(slot + 1) * stride];
        for (block, width) in blocks.iter_mut().zip(self.widths.0) {
            let (head, tail) = source.split_at(width);
            block[row * width..(row + 1) * width].copy_from_slice(head);
            source = tail;
        }
    }
}

impl Checkpoint for Ring {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.counter("inserted", &mut self.inserted);
        visitor.values("rows", &mut self.rows);
        let (width, stored) = (self.widths.row(), self.inserted.min(self.capacity as u64));
        // No ring lives to see half of all counts; the keys after it must still fit.
        let fits =
            self.inserted <= u64::MAX / 2 && self.rows.len() as u128 == u128::from(stored) * width as u128;
        if visitor.is_loading() && !fits {
            visitor.fail(Error::Record(format!(
                "{} numbers of {} inserted rows, expected {stored} rows of {width}",
                self.rows.len(),
                self.inserted
            )));
            *self = Self::new(self.widths, self.capacity);
        }
    }
}
