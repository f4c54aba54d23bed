//! Uniform replay.

use burn::tensor::{Device, Tensor, TensorData};
use ingle_core::random::{RandomStream, derive_seed};
use ingle_core::{Keys, Result, Sampler, Transitions, Violations};

use crate::ring::{Ring, Rows, Widths};

/// Whose transitions the members of a population learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// All members draw, each on its own, from one ring.
    Shared,
    /// Each member has a ring of its own.
    Own,
}

/// The shape of a [`UniformReplay`].
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
    /// The defaults, for observations of `observation` and actions of `action` elements.
    pub fn new(observation: usize, action: usize) -> Self {
        Self { observation, action, capacity: 1_000_000, batch: 256, population: 1, data: Data::Own }
    }
}

/// The last transitions, sampled uniformly and with replacement (Mnih et al. 2015).
///
/// Rows are drawn by integer indices from a stream per member, so that member p draws what a single learner with its
/// seed would draw. A sample reaches the device in one upload.
#[derive(Debug, Clone)]
pub struct UniformReplay {
    widths: Widths,
    batch: usize,
    rings: Vec<Ring>,
    streams: Vec<RandomStream>,
    device: Device,
}

impl UniformReplay {
    /// An empty replay that draws with `seed` and puts its samples on `device`. Memory is taken as rows come in.
    ///
    /// # Errors
    /// [`ingle_core::Error::Config`] with every size that is 0.
    pub fn new(config: &ReplayConfig, seed: u64, device: &Device) -> Result<Self> {
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
        violations.finish()?;
        let widths = Widths::new(observation, action);
        let rings = if data == Data::Shared { 1 } else { population };
        Ok(Self {
            widths,
            batch,
            rings: vec![Ring::new(widths, capacity); rings],
            streams: (0..population as u64)
                .map(|member| RandomStream::new(derive_seed(seed.wrapping_add(member), "replay"), 0))
                .collect(),
            device: device.clone().without_autodiff(),
        })
    }

    /// Appends transitions to the ring of `member` (ring 0 if the members share one); the oldest fall out.
    ///
    /// # Errors
    /// If a field has another number of rows or width, or a number that is not finite. Nothing is stored then.
    pub fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        let count = self.rings.len();
        let ring = self.rings.get_mut(member).ok_or_else(|| {
            ingle_core::Error::Config(vec![format!("member: must be below {count}, got {member}")])
        })?;
        ring.insert(rows)
    }

    /// The number of transitions in the ring that has the fewest.
    pub fn len(&self) -> usize {
        self.rings.iter().map(Ring::len).min().unwrap_or(0)
    }

    /// Whether one of the rings has nothing to sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many transitions were ever inserted, in all rings.
    pub fn inserted(&self) -> u64 {
        self.rings.iter().map(Ring::inserted).sum()
    }
}

impl Sampler for UniformReplay {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        if self.is_empty() {
            return Err(ingle_core::Error::Sample("the replay is empty".into()));
        }
        let (population, batch) = (self.streams.len(), self.batch);
        let rows = population * batch;
        let mut values = vec![0.0; rows * self.widths.row()];
        let mut keys = Vec::with_capacity(rows);
        let [observation, action, ..] = self.widths.0;
        {
            let mut rest = values.as_mut_slice();
            let mut blocks = self.widths.0.map(|width| {
                let (block, tail) = std::mem::take(&mut rest).split_at_mut(rows * width);
                rest = tail;
                block
            });
            for (member, stream) in self.streams.iter_mut().enumerate() {
                let ring = &self.rings[member % self.rings.len()];
                let size = ring.len();
                for row in member * batch..(member + 1) * batch {
                    let slot = stream.index(size);
                    keys.push(ring.key(slot));
                    ring.copy(slot, row, &mut blocks);
                }
            }
        }
        let total = values.len();
        let upload = Tensor::<1>::from_data(TensorData::new(values, [total]), &self.device);
        let mut start = 0;
        let mut block = |width: usize| {
            start += rows * width;
            upload.clone().narrow(0, start - rows * width, rows * width)
        };
        Ok(Transitions {
            observation: block(observation).reshape([population, batch, observation]),
            action: block(action).reshape([population, batch, action]),
            reward: block(1).reshape([population, batch]),
            discount: block(1).reshape([population, batch]),
            next_observation: block(observation).reshape([population, batch, observation]),
            importance_weight: None,
            keys: Some(Keys::from(keys)),
        })
    }
}
