//! Explicit randomness: counter-based streams that belong to a state and can be saved.
//!
//! Nothing in ingle draws from a backend's own generator: that one is global to the process, cannot be saved, and
//! makes results depend on who else draws. A [`RandomStream`] is a `ChaCha8` key with a stream number and a position;
//! drawing moves the position and nothing else.

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A counter-based stream of random numbers (`ChaCha8`), saved as key, stream and position.
#[derive(Debug, PartialEq)]
pub struct RandomStream(ChaCha8Rng);

/// Where a [`RandomStream`] stands: all that is needed to go on drawing the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// The `ChaCha` key.
    pub key: [u8; 32],
    /// The stream number below that key.
    pub stream: u64,
    /// The position in 32-bit words.
    pub word: u128,
}

impl RandomStream {
    /// Opens stream number `stream` below `seed`. Streams of one seed are independent of each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Opens stream `stream` for each of `population` members: member p has the seed `seed + p`, so that it draws
    /// what a single learner with that seed would draw.
    pub fn population(seed: u64, stream: u64, population: usize) -> Vec<Self> {
        (0..population as u64).map(|member| Self::new(seed.wrapping_add(member), stream)).collect()
    }

    /// Where the stream stands.
    pub fn position(&self) -> StreamPosition {
        StreamPosition { key: self.0.get_seed(), stream: self.0.get_stream(), word: self.0.get_word_pos() }
    }

    /// Goes on from a saved position.
    pub fn at(position: StreamPosition) -> Self {
        let mut generator = ChaCha8Rng::from_seed(position.key);
        generator.set_stream(position.stream);
        generator.set_word_pos(position.word);
        Self(generator)
    }

    /// Fills `values` with standard normal draws.
    pub fn fill_normal(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.0.sample(StandardNormal);
        }
    }

    /// Fills `values` with uniform draws from `low..high`.
    pub fn fill_uniform(&mut self, low: f32, high: f32, values: &mut [f32]) {
        for value in values {
            *value = low + (high - low) * self.0.random::<f32>();
        }
    }

    /// Draws an index below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }
}

impl Clone for RandomStream {
    /// A second stream that draws the same numbers. `rand` leaves this out so that nobody does it by accident; a
    /// state is cloned on purpose.
    fn clone(&self) -> Self {
        Self::at(self.position())
    }
}

/// The seeds of a population's members.
///
/// One seed gives member p `seed + p`, the learner which that seed alone would give; a list gives each its own, so that the
/// same seeds can be repeated for every value of a hyperparameter. In a configuration file: `seed = 0` or
/// `seed = [0, 1, 0, 1]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Seeds {
    /// Member p has this seed plus p.
    From(u64),
    /// One for each of the P members.
    Each(Vec<u64>),
}

impl Seeds {
    /// The seed of one member.
    ///
    /// # Panics
    /// If a list is shorter, which [`Self::check`] finds out.
    pub fn of(&self, member: usize) -> u64 {
        match self {
            Self::From(seed) => seed.wrapping_add(member as u64),
            Self::Each(seeds) => seeds[member],
        }
    }

    /// Checks that there is a seed for each of `population` members, and no other.
    ///
    /// # Errors
    /// [`Error::Config`] with both numbers.
    pub fn check(&self, population: usize) -> Result<()> {
        match self {
            Self::Each(seeds) if seeds.len() != population => Err(Error::Config(vec![format!(
                "seed: {} values for a population of {population}",
                seeds.len()
            )])),
            _ => Ok(()),
        }
    }

    /// The seeds of a layer of that name, see [`derive_seed`].
    #[must_use]
    pub fn derive(&self, name: &str) -> Self {
        match self {
            Self::From(seed) => Self::From(derive_seed(*seed, name)),
            Self::Each(seeds) => Self::Each(seeds.iter().map(|seed| derive_seed(*seed, name)).collect()),
        }
    }

    /// Opens stream `stream` of each of `population` members' seeds.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn streams(&self, stream: u64, population: usize) -> Result<Vec<RandomStream>> {
        self.check(population)?;
        Ok((0..population).map(|member| RandomStream::new(self.of(member), stream)).collect())
    }
}

impl From<u64> for Seeds {
    fn from(seed: u64) -> Self {
        Self::From(seed)
    }
}

impl From<Vec<u64>> for Seeds {
    fn from(seeds: Vec<u64>) -> Self {
        Self::Each(seeds)
    }
}

/// Standard normal noise `[draws, P, rows, columns]` in one upload: each member's share comes from its own stream, so
/// that a member of a population sees what it would see alone.
pub fn normal_noise(
    streams: &mut [RandomStream],
    draws: usize,
    rows: usize,
    columns: usize,
    options: &TensorCreationOptions,
) -> Tensor<4> {
    let members = streams.len();
    let block = rows * columns;
    let mut values = vec![0.0; draws * members * block];
    for draw in 0..draws {
        for (member, stream) in streams.iter_mut().enumerate() {
            let start = (draw * members + member) * block;
            stream.fill_normal(&mut values[start..start + block]);
        }
    }
    Tensor::from_data(TensorData::new(values, [draws, members, rows, columns]), options.clone())
}

/// Uniform noise `[P, rows, 1]` in `[0, 1)`, each member's share from its own stream.
pub fn uniform_noise(
    streams: &mut [RandomStream],
    rows: usize,
    options: &TensorCreationOptions,
) -> Tensor<3> {
    let mut values = vec![0.0; streams.len() * rows];
    for (stream, member) in streams.iter_mut().zip(values.chunks_exact_mut(rows)) {
        stream.fill_uniform(0.0, 1.0, member);
    }
    Tensor::from_data(TensorData::new(values, [streams.len(), rows, 1]), options.clone())
}

/// The seed of a layer that wraps another: the run's seed moved by a number made of the layer's name, so that adding a
/// layer leaves the random stream of what it wraps as it was.
///
/// `derive_seed(seed + p, name) = derive_seed(seed, name) + p`: member p of a population derives what a learner with
/// the seed `seed + p` alone would.
pub fn derive_seed(seed: u64, name: &str) -> u64 {
    // FNV-1a, then one round of SplitMix64: stable on every platform and release. Streams hash their seed once more.
    let mut mixed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    seed.wrapping_add(mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_from_its_position() {
        let mut stream = RandomStream::new(7, 2);
        let mut values = [0.0; 5];
        stream.fill_normal(&mut values);
        let mut copy = RandomStream::at(stream.position());
        let (mut a, mut b) = ([0.0; 9], [0.0; 9]);
        stream.fill_normal(&mut a);
        copy.fill_normal(&mut b);
        assert_eq!(a, b);
    }

    #[test]
    fn streams_and_seeds_differ() {
        let draw = |seed, stream| {
            let mut value = [0.0];
            RandomStream::new(seed, stream).fill_normal(&mut value);
            value[0]
        };
        assert_ne!(draw(0, 0), draw(0, 1));
        assert_ne!(draw(0, 0), draw(1, 0));
        assert_ne!(derive_seed(1, "rnd"), derive_seed(1, "ail"));
        assert_eq!(derive_seed(1, "rnd") + 1, derive_seed(2, "rnd"));
    }
}
