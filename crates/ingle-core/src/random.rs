//! Explicit randomness: counter-based streams that belong to a state and can be saved.
//!
//! Nothing in ingle draws from a backend's own generator: that one is global to the process, cannot be saved, and
//! makes results depend on who else draws. A [`RandomStream`] is a `ChaCha8` key with a stream number and a position;
//! drawing moves the position and nothing else.

use std::collections::VecDeque;

use burn::tensor::{Tensor, TensorCreationOptions, TensorData};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A counter-based stream of random numbers (`ChaCha8`), saved as key, stream and position.
#[derive(Debug)]
pub struct RandomStream {
    generator: ChaCha8Rng,
    noise: Noise,
}

/// Where the noise tensors of a population come from, if this is its first member's stream.
#[derive(Debug, Clone, Default)]
pub(crate) enum Noise {
    /// From the streams, drawn on the host and uploaded.
    #[default]
    Drawn,
    /// From the streams too; what was drawn is noted.
    Noted(Vec<Draw>),
    /// From tensors that are on the device already, in the order in which they are asked for; the streams stay.
    Given(VecDeque<Tensor<4>>),
}

/// One draw of noise: what from, and what it came to.
#[derive(Debug, Clone)]
pub(crate) struct Draw {
    distribution: Distribution,
    /// `[draws, P, rows, columns]`.
    pub(crate) tensor: Tensor<4>,
}

#[derive(Debug, Clone, Copy)]
enum Distribution {
    Normal,
    Uniform,
}

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
        Self { generator, noise: Noise::Drawn }
    }

    /// Opens stream `stream` for each of `population` members: member p has the seed `seed + p`, so that it draws
    /// what a single learner with that seed would draw.
    pub fn population(seed: u64, stream: u64, population: usize) -> Vec<Self> {
        (0..population as u64).map(|member| Self::new(seed.wrapping_add(member), stream)).collect()
    }

    /// Where the stream stands.
    pub fn position(&self) -> StreamPosition {
        let generator = &self.generator;
        StreamPosition {
            key: generator.get_seed(),
            stream: generator.get_stream(),
            word: generator.get_word_pos(),
        }
    }

    /// Goes on from a saved position.
    pub fn at(position: StreamPosition) -> Self {
        let mut generator = ChaCha8Rng::from_seed(position.key);
        generator.set_stream(position.stream);
        generator.set_word_pos(position.word);
        Self { generator, noise: Noise::Drawn }
    }

    /// Where the noise of the population that this stream is the first of comes from.
    pub(crate) fn noise(&mut self) -> &mut Noise {
        &mut self.noise
    }

    /// Fills `values` with standard normal draws.
    pub fn fill_normal(&mut self, values: &mut [f32]) {
        for value in values {
            *value = self.generator.sample(StandardNormal);
        }
    }

    /// Fills `values` with uniform draws from `low..high`.
    pub fn fill_uniform(&mut self, low: f32, high: f32, values: &mut [f32]) {
        for value in values {
            *value = low + (high - low) * self.generator.random::<f32>();
        }
    }

    /// Draws an index below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn index(&mut self, bound: usize) -> usize {
        self.generator.random_range(0..bound)
    }
}

impl Clone for RandomStream {
    /// A second stream that draws the same numbers. `rand` leaves this out so that nobody does it by accident; a
    /// state is cloned on purpose.
    fn clone(&self) -> Self {
        Self { noise: self.noise.clone(), ..Self::at(self.position()) }
    }
}

impl PartialEq for RandomStream {
    /// Whether both draw the same numbers.
    fn eq(&self, other: &Self) -> bool {
        self.generator == other.generator
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
    noise(streams, Distribution::Normal, [draws, streams.len(), rows, columns], options)
}

/// Uniform noise `[P, rows, 1]` in `[0, 1)`, each member's share from its own stream.
pub fn uniform_noise(
    streams: &mut [RandomStream],
    rows: usize,
    options: &TensorCreationOptions,
) -> Tensor<3> {
    noise(streams, Distribution::Uniform, [1, streams.len(), rows, 1], options).squeeze_dim(0)
}

fn noise(
    streams: &mut [RandomStream],
    distribution: Distribution,
    shape: [usize; 4],
    options: &TensorCreationOptions,
) -> Tensor<4> {
    if let Some(Noise::Given(tensors)) = streams.first_mut().map(RandomStream::noise)
        && let Some(tensor) = tensors.pop_front()
    {
        return tensor;
    }
    let tensor = draw(streams, distribution, shape, options);
    if let Some(Noise::Noted(draws)) = streams.first_mut().map(RandomStream::noise) {
        draws.push(Draw { distribution, tensor: tensor.clone() });
    }
    tensor
}

fn draw(
    streams: &mut [RandomStream],
    distribution: Distribution,
    shape: [usize; 4],
    options: &TensorCreationOptions,
) -> Tensor<4> {
    let mut values = vec![0.0; shape.iter().product()];
    let mut rest = values.as_mut_slice();
    for _ in 0..shape[0] {
        for stream in streams.iter_mut() {
            let (member, tail) = std::mem::take(&mut rest).split_at_mut(shape[2] * shape[3]);
            rest = tail;
            match distribution {
                Distribution::Normal => stream.fill_normal(member),
                Distribution::Uniform => stream.fill_uniform(0.0, 1.0, member),
            }
        }
    }
    Tensor::from_data(TensorData::new(values, shape), options.clone())
}

impl Draw {
    /// The next one of its kind.
    pub(crate) fn again(&self, streams: &mut [RandomStream]) -> Tensor<4> {
        let options = TensorCreationOptions::new(self.tensor.device()).with_dtype(self.tensor.dtype());
        draw(streams, self.distribution, self.tensor.dims(), &options)
    }
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
    fn noise_is_noted_drawn_again_and_given() {
        let device = burn::tensor::Device::flex();
        let options = TensorCreationOptions::new(device);
        let read = |tensor: Tensor<4>| tensor.to_data();
        let mut streams = RandomStream::population(3, 0, 2);
        let mut plain = streams.clone();
        *streams[0].noise() = Noise::Noted(Vec::new());
        let first = normal_noise(&mut streams, 2, 3, 4, &options);
        let shares = uniform_noise(&mut streams, 5, &options);
        let Noise::Noted(draws) = std::mem::take(streams[0].noise()) else { panic!("nothing was noted") };
        assert_eq!(draws.len(), 2);
        assert_eq!(read(draws[0].tensor.clone()), read(first.clone()));
        // Drawn again, the same streams give the same; the order of the numbers is that of the streams.
        assert_eq!(read(draws[0].again(&mut plain)), read(first.clone()));
        assert_eq!(
            draws[1].again(&mut plain).to_data().as_slice::<f32>().unwrap(),
            shares.to_data().as_slice::<f32>().unwrap()
        );
        assert_eq!(plain, streams);
        // Given noise is handed out once, moves no stream, and survives a clone.
        *streams[0].noise() = Noise::Given([first.clone()].into());
        let mut streams = streams.clone();
        assert_eq!(read(normal_noise(&mut streams, 2, 3, 4, &options)), read(first.clone()));
        assert_eq!(plain, streams);
        assert_ne!(read(normal_noise(&mut streams, 2, 3, 4, &options)), read(first));
        assert_ne!(plain, streams);
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
