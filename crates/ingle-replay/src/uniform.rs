//! Uniform replay.

use burn::tensor::Device;
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Result, Sampler, Seeds, Transitions};

use crate::ring::{Ring, Rows};
use crate::storage::{ReplayConfig, Storage};

/// The last transitions, sampled uniformly and with replacement (Mnih et al. 2015).
///
/// Rows are drawn by integer indices from a stream per member, so that member p draws what a single learner with its
/// seed would draw. Samples reach the device in one upload, or are gathered there, see [`Place`](crate::Place).
#[derive(Debug, Clone)]
pub struct UniformReplay {
    storage: Storage,
    pub(crate) streams: Vec<RandomStream>,
}

impl UniformReplay {
    /// An empty replay that draws with `seed` and puts its samples on `device`. Memory is taken as rows come in.
    ///
    /// # Errors
    /// [`ingle_core::Error::Config`] with every size that is 0, or if there are other seeds than members.
    pub fn new(config: &ReplayConfig, seed: impl Into<Seeds>, device: &Device) -> Result<Self> {
        let storage = Storage::new(config, device)?;
        Ok(Self { streams: storage.streams(&seed.into())?, storage })
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
        let sample = self.sample_many(1)?.pop();
        sample.ok_or_else(|| Error::Sample("the replay handed out nothing".into()))
    }

    /// All of them, in one upload (of the rows, or of their places, if they are on the device).
    fn sample_many(&mut self, count: usize) -> Result<Vec<Transitions>> {
        self.storage.check_not_empty()?;
        let storage = &mut self.storage;
        let mut slots = Vec::with_capacity(count * storage.population * storage.batch);
        for _ in 0..count {
            for (member, stream) in self.streams.iter_mut().enumerate() {
                let size = storage.rings[storage.ring_of(member)].len();
                slots.extend((0..storage.batch).map(|_| stream.index(size)));
            }
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
