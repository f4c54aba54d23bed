//! The stored rows themselves, on the host or on the device.

use burn::tensor::{Device, Int, Tensor, TensorData};
use ingle_core::{Error, Result, Violations};
use serde::{Deserialize, Serialize};

/// Where a replay keeps its transitions. What is sampled is the same, bit for bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the host's memory: a sample is gathered there and uploaded. Memory is taken as rows come in.
    #[default]
    Host,
    /// On the learner's device, as one tensor `[rings, rows, numbers]` that doubles until it holds the capacity: new rows
    /// are uploaded together before the next sample, and of a sample only the rows' places.
    Device,
}

/// How many new rows of a ring wait on the host for their upload, at most.
const PENDING: usize = 4096;

/// The fewest rows that memory is taken for on a device.
const SMALLEST: usize = 1024;

/// The rows of all rings, each stored in one piece so that a random access touches one place in memory.
#[derive(Debug, Clone)]
pub(crate) enum StoredRows {
    Host(Vec<Vec<f32>>),
    Device(DeviceRows),
}

/// Rows on a device.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRows {
    width: usize,
    capacity: usize,
    /// `[rings, rows, width]`.
    stored: Tensor<3>,
    /// Each ring's rows that are not there yet.
    pending: Vec<Pending>,
}

/// Rows that wait for their upload, in consecutive slots.
#[derive(Debug, Clone, Default)]
struct Pending {
    first: usize,
    rows: Vec<f32>,
}

impl DeviceRows {
    /// Room for `rings` rings of `capacity` rows of `width` numbers; nothing is stored.
    ///
    /// # Errors
    /// [`Error::Config`] if there are more than a device can count.
    pub(crate) fn new(rings: usize, capacity: usize, width: usize, device: &Device) -> Result<Self> {
        // Kernels count elements in 32 bits, and places are signed.
        let numbers = (rings as u128) * (capacity as u128) * (width as u128);
        let mut violations = Violations::default();
        violations.require(numbers <= i32::MAX as u128, || {
            format!(
                "capacity: {rings} rings of {capacity} rows of {width} are {numbers} numbers, a device holds at most {}: \
                 lower it, or keep the replay on the host",
                i32::MAX
            )
        });
        violations.finish()?;
        Ok(Self {
            width,
            capacity,
            stored: Tensor::zeros([rings, SMALLEST.min(capacity), width], device),
            pending: vec![Pending::default(); rings],
        })
    }

    /// Makes room for `rows` rows in every ring, twice what there was or more.
    fn grow(&mut self, rows: usize) {
        let [rings, room, width] = self.stored.dims();
        if rows > room {
            let more = rows.next_power_of_two().min(self.capacity) - room;
            let device = self.stored.device();
            self.stored
                .inplace(|stored| Tensor::cat(vec![stored, Tensor::zeros([rings, more, width], &device)], 1));
        }
    }

    /// Takes in a row for `slot` of `ring`, which follows the slot before.
    pub(crate) fn push(&mut self, ring: usize, slot: usize, write: impl FnOnce(&mut [f32])) {
        let limit = PENDING.min(self.capacity);
        if self.pending[ring].rows.len() == limit * self.width {
            self.flush();
        }
        let pending = &mut self.pending[ring];
        if pending.rows.is_empty() {
            pending.first = slot;
        }
        let start = pending.rows.len();
        pending.rows.resize(start + self.width, 0.0);
        write(&mut pending.rows[start..]);
    }

    /// Uploads what waits: in one piece if all rings wait with rows for the same slots, as those of a population do.
    pub(crate) fn flush(&mut self) {
        let pending: Vec<Pending> = self.pending.iter_mut().map(std::mem::take).collect();
        let ends = pending.iter().map(|pending| pending.first + pending.rows.len() / self.width);
        self.grow(ends.max().unwrap_or(0).min(self.capacity));
        let alike = pending
            .windows(2)
            .all(|pair| pair[0].first == pair[1].first && pair[0].rows.len() == pair[1].rows.len());
        if alike {
            let first = pending.first().map_or(0, |pending| pending.first);
            let rows: Vec<f32> = pending.iter().flat_map(|pending| pending.rows.iter().copied()).collect();
            self.write(0, pending.len(), first, rows);
        } else {
            for (ring, Pending { first, rows }) in pending.into_iter().enumerate() {
                self.write(ring, 1, first, rows);
            }
        }
    }

    /// Writes the rows of some rings, ring after ring, from slot `first` on, round the end of the rings.
    fn write(&mut self, ring: usize, rings: usize, first: usize, rows: Vec<f32>) {
        let count = rows.len() / (rings * self.width);
        if count == 0 {
            return;
        }
        let device = self.stored.device();
        let values = Tensor::<3>::from_data(TensorData::new(rows, [rings, count, self.width]), &device);
        let before_end = count.min(self.capacity - first);
        let pieces = [(first, 0, before_end), (0, before_end, count - before_end)];
        for (slot, start, length) in pieces.into_iter().filter(|(_, _, length)| *length > 0) {
            let piece = values.clone().narrow(1, start, length);
            let place = [ring..ring + rings, slot..slot + length, 0..self.width];
            self.stored.inplace(|stored| stored.slice_assign(place, piece));
        }
    }

    /// The rows in the given slots of rings, `[rows, width]`: one upload of their places, one gathering.
    pub(crate) fn gather(&self, places: impl Iterator<Item = (usize, usize)>) -> Tensor<2> {
        let [rings, room, width] = self.stored.dims();
        // Every place fits an `i32`: there are fewer of them than numbers, which are counted in `new`.
        let places: Vec<u32> = places.map(|(ring, slot)| (ring * room + slot) as u32).collect();
        let count = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &self.stored.device());
        self.stored.clone().reshape([rings * room, width]).select(0, places)
    }

    /// Each ring's rows, on the host; `lengths` is how many there are.
    pub(crate) fn read(&mut self, lengths: &[usize]) -> Result<Vec<Vec<f32>>> {
        self.flush();
        let rows = lengths.iter().enumerate().map(|(ring, &length)| {
            if length == 0 {
                return Ok(Vec::new());
            }
            let own = self.stored.clone().narrow(0, ring, 1).narrow(1, 0, length);
            let data = own.try_into_data().map_err(|error| Error::Execution(error.to_string()))?;
            Ok(data.convert::<f32>().as_slice::<f32>().unwrap_or(&[]).to_vec())
        });
        rows.collect()
    }

    /// Puts each ring's rows, from slot 0 on, in the place of all that is stored.
    pub(crate) fn load(&mut self, rows: Vec<Vec<f32>>) {
        self.pending.fill(Pending::default());
        let longest = rows.iter().map(|rows| rows.len() / self.width).max().unwrap_or(0);
        self.grow(longest);
        for (ring, rows) in rows.into_iter().enumerate() {
            self.write(ring, 1, 0, rows);
        }
    }
}
