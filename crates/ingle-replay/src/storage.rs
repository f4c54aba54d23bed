//! What all replays share: the rings, insertion, and a sample as device tensors in one upload.

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::random::{RandomStream, derive_seed};
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Keys, Result, Transitions, Violations};

use crate::ring::{Ring, Rows, Widths};

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
}

impl ReplayConfig {
    /// The largest capacity, 2³² − 1: beyond it memory ends before the ring does.
    pub const LARGEST_CAPACITY: usize = u32::MAX as usize;
    /// The largest batch, 2²⁰.
    pub const LARGEST_BATCH: usize = 1 << 20;

    /// The defaults, for observations of `observation` and actions of `action` elements.
    pub fn new(observation: usize, action: usize) -> Self {
        Self { observation, action, capacity: 1_000_000, batch: 256, population: 1, data: Data::Own }
    }
}

/// The rings of a population, and where their samples go.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    widths: Widths,
    pub(crate) batch: usize,
    pub(crate) population: usize,
    pub(crate) rings: Vec<Ring>,
    device: Device,
}

impl Storage {
    pub(crate) fn new(config: &ReplayConfig, device: &Device) -> Result<Self> {
        let ReplayConfig { observation, action, capacity, batch, population, data } = *config;
        let mut violations = Violations::default();
        let sizes = [
            ("observation", observation),
            ("action", action),
            ("capacity", capacity),
            ("batch", batch),
            ("population", population),
        ];
        for (name, size) in sizes {
            violations.require(size > 0, || format!("{name}: must be at least 1, got 0"));
        }
        violations.require_at_most("capacity", capacity, ReplayConfig::LARGEST_CAPACITY);
        violations.require_at_most("batch", batch, ReplayConfig::LARGEST_BATCH);
        violations.finish()?;
        let widths = Widths::new(observation, action);
        let rings = if data == Data::Shared { 1 } else { population };
        Ok(Self {
            widths,
            batch,
            population,
            rings: vec![Ring::new(widths, capacity); rings],
            device: device.clone().without_autodiff(),
        })
    }

    /// A stream of indices for each member.
    pub(crate) fn streams(&self, seed: u64) -> Vec<RandomStream> {
        RandomStream::population(derive_seed(seed, "replay"), 0, self.population)
    }

    pub(crate) fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        if member >= self.population {
            let problem = format!("member: must be below {}, got {member}", self.population);
            return Err(Error::Config(vec![problem]));
        }
        let ring = self.ring_of(member);
        self.rings[ring].insert(rows)
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

    /// The rows in `slots` (B for each member, member after member) as device tensors, in one upload; `weights` are
    /// their importance weights, if they have any.
    pub(crate) fn gather(&self, slots: &[usize], weights: Option<&[f32]>) -> Transitions {
        let (population, batch) = (self.population, self.batch);
        let rows = population * batch;
        let [observation, action, ..] = self.widths.0;
        let size = rows * self.widths.row();
        let mut values = vec![0.0; size];
        let mut keys = Vec::with_capacity(rows);
        {
            let mut rest = values.as_mut_slice();
            let mut blocks = self.widths.0.map(|width| {
                let (block, tail) = std::mem::take(&mut rest).split_at_mut(rows * width);
                rest = tail;
                block
            });
            // Rows lie anywhere in memory, and copying one at a time waits for each. Reading a little of all first lets the
            // processor fetch many at once; it takes a third of the time.
            let touched = slots
                .iter()
                .enumerate()
                .fold(0, |bits, (row, &slot)| bits ^ self.rings[self.ring_of(row / batch)].touch(slot));
            std::hint::black_box(touched);
            for (row, &slot) in slots.iter().enumerate() {
                let ring = &self.rings[self.ring_of(row / batch)];
                keys.push(Some(ring.key(slot)));
                ring.copy(slot, row, &mut blocks);
            }
        }
        values.extend_from_slice(weights.unwrap_or(&[]));
        let total = values.len();
        let upload = Tensor::<1>::from_data(TensorData::new(values, [total]), &self.device);
        let mut start = 0;
        let mut block = |width: usize| {
            start += rows * width;
            upload.clone().narrow(0, start - rows * width, rows * width)
        };
        Transitions {
            observation: block(observation).reshape([population, batch, observation]),
            action: block(action).reshape([population, batch, action]),
            reward: block(1).reshape([population, batch]),
            discount: block(1).reshape([population, batch]),
            next_observation: block(observation).reshape([population, batch, observation]),
            importance_weight: weights.map(|_| block(1).reshape([population, batch])),
            keys: Some(Keys::from(keys)),
        }
    }
}

impl Checkpoint for Storage {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        for (index, ring) in self.rings.iter_mut().enumerate() {
            visitor.scope(&format!("ring-{index}"), |visitor| ring.checkpoint(visitor));
        }
    }
}
