//! Uniform replay.

use burn::tensor::Device;
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Result, Sampler, Transitions};

use crate::ring::{Ring, Rows};
use crate::storage::{ReplayConfig, Storage};

/// The last transitions, sampled uniformly and with replacement (Mnih et al. 2015).
///
/// Rows are drawn by integer indices from a stream per member, so that member p draws what a single learner with its
/// seed would draw. A sample reaches the device in one upload.
#[derive(Debug, Clone)]
pub struct UniformReplay {
    storage: Storage,
    pub(crate) streams: Vec<RandomStream>,
}

impl UniformReplay {
    /// An empty replay that draws with `seed` and puts its samples on `device`. Memory is taken as rows come in.
    ///
    /// # Errors
    /// [`ingle_core::Error::Config`] with every size that is 0.
    pub fn new(config: &ReplayConfig, seed: u64, device: &Device) -> Result<Self> {
        let storage = Storage::new(config, device)?;
        Ok(Self { streams: storage.streams(seed), storage })
    }

    /// Appends transitions to the ring of `member` (ring 0 if the members share one); the oldest fall out.
    ///
    /// # Errors
    /// If a field has another number of rows or width, or a number that is not finite. Nothing is stored then.
    pub fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.storage.insert(member, rows)
    }

    /// The number of transitions in the ring that has the fewest.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether one of the rings has nothing to sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many transitions were ever inserted, in all rings.
    pub fn inserted(&self) -> u64 {
        self.storage.rings.iter().map(Ring::inserted).sum()
    }
}

impl Sampler for UniformReplay {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        self.storage.check_not_empty()?;
        let storage = &self.storage;
        let mut slots = Vec::with_capacity(storage.population * storage.batch);
        for (member, stream) in self.streams.iter_mut().enumerate() {
            let size = storage.rings[storage.ring_of(member)].len();
            slots.extend((0..storage.batch).map(|_| stream.index(size)));
        }
        Ok(storage.gather(&slots, None))
    }
}

impl Checkpoint for UniformReplay {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.storage.checkpoint(visitor);
        visitor.streams("streams", &mut self.streams);
    }
}
