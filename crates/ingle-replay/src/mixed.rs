//! Batches whose rows come from several samplers.

use std::ops::Range;

use ingle_core::sample::Expected;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Feedback, Keys, Result, Sampler, Transitions, Violations};

use crate::{Insert, Rows};

/// Draws the rows of each batch from two samplers, first those of `own`, then those of `other`, each as many as it hands
/// out: the shares are exact. More than two are mixed by mixing again.
///
/// ```
/// # use burn::tensor::Device;
/// # use ingle_core::Sampler;
/// # use ingle_replay::{Mixed, ReplayConfig, Rows, UniformReplay};
/// // A quarter of 64 rows from the second (demonstrations, for one).
/// let [own, other] = Mixed::<(), ()>::batches(64, 0.25)?;
/// let replay = |batch| {
///     UniformReplay::new(&ReplayConfig { batch, ..ReplayConfig::new(1, 1) }, 0, &Device::flex())
/// };
/// let mut mixed = Mixed { own: replay(own)?, other: replay(other)? };
/// # let row = Rows { observation: &[0.0], action: &[0.0], reward: &[0.0], discount: &[0.9], truncated: &[false],
/// #     next_observation: &[0.0] };
/// # mixed.own.insert(0, row)?;
/// # mixed.other.insert(0, row)?;
/// assert_eq!((own, other), (48, 16));
/// assert_eq!(mixed.sample()?.observation.dims(), [1, 64, 1]);
/// # Ok::<(), ingle_core::Error>(())
/// ```
///
/// Whatever is inserted goes to `own`. A row's key says which sampler it came from, and each gets the feedback on its own
/// rows, wherever they stand in the batch by then. Rows without importance weights weigh 1 beside rows that have some.
#[derive(Debug, Clone)]
pub struct Mixed<A, B> {
    /// The first: the learner's own replay, as a rule.
    pub own: A,
    /// The second: demonstrations, say.
    pub other: B,
}

impl<A, B> Mixed<A, B> {
    /// The batches of `own` and `other` for `batch` rows of which the share `other` is the second's.
    ///
    /// # Errors
    /// [`Error::Config`] if the share is not above 0 and below 1, or not of whole rows.
    pub fn batches(batch: usize, other: f64) -> Result<[usize; 2]> {
        let rows = other * batch as f64;
        let mut violations = Violations::default();
        violations.require(other > 0.0 && other < 1.0, || format!("share: must be in (0, 1), got {other}"));
        let whole = (rows - rows.round()).abs() < 1e-6 && rows.round() >= 1.0 && rows.round() < batch as f64;
        violations.require(whole, || {
            format!("share: {other} of {batch} rows are {rows} rows, must be whole ones for both samplers")
        });
        violations.finish()?;
        let rows = rows.round() as usize;
        Ok([batch - rows, rows])
    }
}

impl<A, B> Sampler for Mixed<A, B>
where
    A: Sampler<Sample = Transitions>,
    B: Sampler<Sample = Transitions>,
{
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        let (own, other) = (self.own.sample()?, self.other.sample()?);
        let ([population, batch, observation], action) = (own.observation.dims(), own.action.dims()[2]);
        let members = other.observation.dims()[0];
        if members != population {
            return Err(Error::Shape {
                field: "population",
                expected: format!("{population} members, as the sampler that it is mixed with"),
                actual: vec![members],
            });
        }
        let others = other.batch();
        let keys = [own.keys.clone(), other.keys.clone()];
        let like = own.reward.clone();
        // It also checks that there are as many keys as rows.
        let mixed = own.join(other, Expected { population, observation, action, like: &like })?;
        let keys = (0..population)
            .flat_map(|member| {
                let [own, other] = &keys;
                mark(own.as_ref(), 0, member * batch..(member + 1) * batch).chain(mark(
                    other.as_ref(),
                    1,
                    member * others..(member + 1) * others,
                ))
            })
            .collect();
        Ok(Transitions { keys: Some(keys), ..mixed })
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        let Feedback { td_error, keys } = feedback;
        let Some(keys) = keys else { return Ok(()) };
        let of = |source| Feedback { td_error: td_error.clone(), keys: Some(unmark(&keys, source)) };
        self.own.feedback(of(0))?;
        self.other.feedback(of(1))
    }
}

/// The keys of some rows, moved so that those of two sources differ: an even one is the first's, an odd one the second's.
fn mark(keys: Option<&Keys>, source: u64, rows: Range<usize>) -> impl Iterator<Item = Option<u64>> {
    rows.map(move |row| {
        keys.and_then(|keys| keys[row]).and_then(|key| key.checked_mul(2)).map(|key| key + source)
    })
}

/// The keys that came from a source, as it knows them; none for all other rows.
fn unmark(keys: &Keys, source: u64) -> Keys {
    keys.iter().map(|key| key.filter(|key| key % 2 == source).map(|key| key / 2)).collect()
}

impl<A: Insert, B> Insert for Mixed<A, B> {
    fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.own.insert(member, rows)
    }

    fn begin(&mut self) {
        self.own.begin();
    }

    fn lag(&self) -> usize {
        self.own.lag()
    }
}

impl<A: Checkpoint, B: Checkpoint> Checkpoint for Mixed<A, B> {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        visitor.scope("own", |visitor| self.own.checkpoint(visitor));
        visitor.scope("other", |visitor| self.other.checkpoint(visitor));
    }
}
