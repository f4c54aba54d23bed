//! What all replays share: the rings, insertion, and samples as device tensors.

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Keys, Result, Seeds, Transitions, Violations};

use crate::ring::{Ring, Rows, Widths};
use crate::rows::{DeviceRows, Place, StoredRows};

/// Whose transitions the members of a population learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// All members draw, each on its own, from one ring.
    Shared,
    /// Each member has a ring of its own.
    Own,
}

/// The shape of a [`UniformReplay`](crate::UniformReplay) or a [`PrioritisedReplay`](crate::PrioritisedReplay).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayConfig {
    /// O ≥ 1.
    pub observation: usize,
    /// A ≥ 1.
    pub action: usize,
    /// Transitions kept in each ring, ≥ 1. Default 1,000,000 (Haarnoja et al. 2018, Table 1).
    pub capacity: usize,
    /// Rows per member and sample, B ≥ 1. Default 256 (Haarnoja et al. 2018, Table 1).
    pub batch: usize,
    /// P ≥ 1. Default 1.
    pub population: usize,
    /// Whether members share their transitions. Default: own ones.
    pub data: Data,
    /// Where the transitions are kept. Default: on the host.
    pub place: Place,
}

impl ReplayConfig {
    /// The largest capacity, 2³² − 1: beyond it memory ends before the ring does.
    pub const LARGEST_CAPACITY: usize = u32::MAX as usize;
    /// The largest batch, 2²⁰.
    pub const LARGEST_BATCH: usize = 1 << 20;

    /// The defaults, for observations of `observation` and actions of `action` elements.
    pub fn new(observation: usize, action: usize) -> Self {
        Self {
            observation,
            action,
            capacity: 1_000_000,
            batch: 256,
            population: 1,
            data: Data::Own,
            place: Place::Host,
        }
    }
}

/// The rings of a population, their rows, and where samples go.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    widths: Widths,
    pub(crate) batch: usize,
    pub(crate) population: usize,
    pub(crate) rings: Vec<Ring>,
    rows: StoredRows,
    device: Device,
}

impl Storage {
    pub(crate) fn new(config: &ReplayConfig, device: &Device) -> Result<Self> {
        let ReplayConfig { observation, action, capacity, batch, population, data, place } = *config;
        let mut violations = Violations::default();
        let sizes = [
            ("observation", observation),
            ("action", action),
            ("capacity", capacity),
            ("batch", batch),
            ("population", population),
        ];
        for (name, size) in sizes {
            violations.require_count(name, size);
        }
        violations.require_at_most("capacity", capacity, ReplayConfig::LARGEST_CAPACITY);
        violations.require_at_most("batch", batch, ReplayConfig::LARGEST_BATCH);
        violations.finish()?;
        let widths = Widths::new(observation, action);
        let rings = if data == Data::Shared { 1 } else { population };
        let device = device.clone().without_autodiff();
        let rows = match place {
            Place::Host => StoredRows::Host(vec![Vec::new(); rings]),
            Place::Device => StoredRows::Device(DeviceRows::new(rings, capacity, widths.row(), &device)?),
        };
        Ok(Self { widths, batch, population, rings: vec![Ring::new(capacity); rings], rows, device })
    }

    /// A stream of indices for each member.
    pub(crate) fn streams(&self, seeds: &Seeds) -> Result<Vec<RandomStream>> {
        seeds.derive("replay").streams(0, self.population)
    }

    /// Appends rows to a ring, the oldest falling out. Nothing is stored if one of them is refused.
    pub(crate) fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        if member >= self.population {
            let problem = format!("member: must be below {}, got {member}", self.population);
            return Err(Error::Config(vec![problem]));
        }
        let (index, width) = (self.ring_of(member), self.widths.row());
        for row in 0..rows.check(self.widths)? {
            let slot = self.rings[index].push();
            match &mut self.rows {
                StoredRows::Host(stored) => {
                    let stored = &mut stored[index];
                    if slot * width == stored.len() {
                        stored.resize((slot + 1) * width, 0.0);
                    }
                    rows.pack(row, self.widths, &mut stored[slot * width..(slot + 1) * width]);
                }
                StoredRows::Device(stored) => {
                    stored.push(index, slot, |target| rows.pack(row, self.widths, target));
                }
            }
        }
        Ok(())
    }

    /// The ring that `member` inserts into and samples from.
    pub(crate) fn ring_of(&self, member: usize) -> usize {
        member % self.rings.len()
    }

    /// The number of transitions in the ring that has the fewest.
    pub(crate) fn len(&self) -> usize {
        self.rings.iter().map(Ring::len).min().unwrap_or(0)
    }

    pub(crate) fn check_not_empty(&self) -> Result<()> {
        if self.len() == 0 { Err(Error::Sample("the replay is empty".into())) } else { Ok(()) }
    }

    /// The samples of the rows in `slots`: sample after sample, in each member after member, B of each; `weights` are their
    /// importance weights, if they have any. All of them share one upload.
    pub(crate) fn gather(&mut self, slots: &[usize], weights: Option<&[f32]>) -> Vec<Transitions> {
        let (rows, batch, rings) = (self.population * self.batch, self.batch, self.rings.len());
        let weighted = weights.is_some();
        let samples = slots.chunks_exact(rows).enumerate();
        match &mut self.rows {
            StoredRows::Host(stored) => {
                let size = rows * (self.widths.row() + usize::from(weighted));
                let mut values = vec![0.0; slots.len() / rows * size];
                for ((index, slots), values) in samples.clone().zip(values.chunks_exact_mut(size)) {
                    let (fields, own) = values.split_at_mut(rows * self.widths.row());
                    self.widths.copy(
                        slots.iter().enumerate().map(|(row, slot)| (&stored[row / batch % rings], *slot)),
                        fields,
                    );
                    if let Some(weights) = weights {
                        own.copy_from_slice(&weights[index * rows..(index + 1) * rows]);
                    }
                }
                let total = values.len();
                let upload = Tensor::<1>::from_data(TensorData::new(values, [total]), &self.device);
                let sample = |(index, slots): (usize, &[usize])| {
                    let block = |start: usize, width: usize| {
                        let start = index * size + rows * start;
                        upload.clone().narrow(0, start, rows * width).reshape([rows, width])
                    };
                    self.transitions(slots, weighted, block)
                };
                samples.map(sample).collect()
            }
            StoredRows::Device(stored) => {
                stored.flush();
                let places = slots.iter().enumerate().map(|(row, slot)| (row / batch % rings, *slot));
                let mut gathered = stored.gather(places);
                if let Some(weights) = weights {
                    let data = TensorData::new(weights.to_vec(), [slots.len(), 1]);
                    gathered = Tensor::cat(vec![gathered, Tensor::from_data(data, &self.device)], 1);
                }
                let sample = |(index, slots): (usize, &[usize])| {
                    let own = gathered.clone().narrow(0, index * rows, rows);
                    self.transitions(slots, weighted, |start, width| own.clone().narrow(1, start, width))
                };
                samples.map(sample).collect()
            }
        }
    }

    /// One sample, made of blocks `[P · B, width]`: `block` is given how many numbers of a row lie before it, and its width.
    fn transitions(
        &self,
        slots: &[usize],
        weighted: bool,
        block: impl Fn(usize, usize) -> Tensor<2>,
    ) -> Transitions {
        let (population, batch) = (self.population, self.batch);
        let [observation, action, ..] = self.widths.0;
        let wide = |start, width| block(start, width).reshape([population, batch, width]);
        let single = |start| block(start, 1).reshape([population, batch]);
        let reward = observation + action;
        let key = |(row, slot): (usize, &usize)| Some(self.rings[self.ring_of(row / batch)].key(*slot));
        Transitions {
            observation: wide(0, observation),
            action: wide(observation, action),
            reward: single(reward),
            discount: single(reward + 1),
            next_observation: wide(reward + 2, observation),
            importance_weight: weighted.then(|| single(self.widths.row())),
            keys: Some(slots.iter().enumerate().map(key).collect::<Keys>()),
        }
    }
}

impl Checkpoint for Storage {
    /// The same items wherever the rows are: a replay can be saved in one place and loaded in another.
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        let lengths: Vec<usize> = self.rings.iter().map(Ring::len).collect();
        let read = match &mut self.rows {
            StoredRows::Host(stored) => Ok(std::mem::take(stored)),
            // What is about to be replaced need not be read.
            StoredRows::Device(_) if visitor.is_loading() => Ok(vec![Vec::new(); lengths.len()]),
            StoredRows::Device(stored) => stored.read(&lengths),
        };
        let mut rows = match read {
            Ok(rows) => rows,
            Err(error) => return visitor.fail(error),
        };
        for (index, (ring, rows)) in self.rings.iter_mut().zip(&mut rows).enumerate() {
            let width = self.widths.row();
            visitor.scope(&format!("ring-{index}"), |visitor| ring.checkpoint(rows, width, visitor));
        }
        match &mut self.rows {
            StoredRows::Host(stored) => *stored = rows,
            StoredRows::Device(stored) if visitor.is_loading() => stored.load(rows),
            StoredRows::Device(_) => {}
        }
    }
}
