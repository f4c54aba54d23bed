//! Random samples for the laws, and what can be done to them.

use burn::tensor::{DType, Device, Tensor, TensorData};
use ingle::Transitions;
use ingle::nested::ImitationSample;
use ingle::nested::ail::AilNoise;
use ingle::random::RandomStream;
use ingle::sac::SacNoise;
use ingle::td3::Td3Noise;

/// Sizes of a sample.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// P.
    pub population: usize,
    /// B.
    pub batch: usize,
    /// O.
    pub observation: usize,
    /// A.
    pub action: usize,
}

/// A sample that the laws can make up, permute, take apart and spoil.
pub trait TestSample: Clone {
    /// A random one.
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self;
    /// The rows in another order; `rows[i]` is the old place of new row i.
    #[must_use]
    fn permute(&self, rows: &[usize]) -> Self;
    /// The rows of one member.
    #[must_use]
    fn member(&self, member: usize) -> Self;
    /// The same numbers on another device.
    #[must_use]
    fn to(&self, device: &Device) -> Self;
    /// Samples that must be refused, each with what is wrong with it.
    fn spoiled(&self) -> Vec<(&'static str, Self)>;
    /// Samples that have a number in them that is not finite, or so large that its square is not, in a row of that member
    /// and nowhere else, each with where it is.
    fn poisoned(&self, member: usize) -> Vec<(&'static str, Self)>;
}

/// Noise that the laws can make up and permute.
pub trait TestNoise: Clone {
    /// Standard normal noise.
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self;
    /// The rows in another order.
    #[must_use]
    fn permute(&self, rows: &[usize]) -> Self;
    /// As [`Self::random`], in a nest that hands `times` as many rows to its core as it gets; a processor's own noise
    /// is for those that it gets.
    fn random_below(sizes: Sizes, times: usize, seed: u64, precision: DType, device: &Device) -> Self {
        Self::random(Sizes { batch: times * sizes.batch, ..sizes }, seed, precision, device)
    }
    /// As [`Self::permute`], in such a nest: each block of rows in that order.
    #[must_use]
    fn permute_below(&self, rows: &[usize], times: usize) -> Self {
        let blocks = (0..times).flat_map(|block| rows.iter().map(move |&row| block * rows.len() + row));
        self.permute(&blocks.collect::<Vec<_>>())
    }
}

/// Standard normal numbers in that shape.
pub fn normal<const D: usize>(
    shape: [usize; D],
    stream: &mut RandomStream,
    precision: DType,
    device: &Device,
) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream.fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), (device, precision))
}

fn permuted<const D: usize>(tensor: &Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let pieces = rows.iter().map(|&row| tensor.clone().narrow(1, row, 1)).collect();
    Tensor::cat(pieces, 1)
}

/// The tensor with `value` as the first number of that member.
fn poisoned<const D: usize>(tensor: &Tensor<D>, member: usize, value: f64) -> Tensor<D> {
    let mut data = tensor.to_data().convert::<f64>();
    let first = member * (data.num_elements() / tensor.dims()[0]);
    data.as_mut_slice::<f64>().expect("numbers")[first] = value;
    Tensor::from_data(data, (&tensor.device(), tensor.dtype()))
}

fn moved<const D: usize>(tensor: &Tensor<D>, device: &Device) -> Tensor<D> {
    Tensor::from_data(tensor.to_data(), (device, tensor.dtype()))
}

impl TestSample for Transitions {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        let Sizes { population, batch, observation, action } = sizes;
        let mut stream = RandomStream::new(seed, 77);
        // Each member has a discount factor of its own, and every fifth row is terminal.
        let gamma = |row: usize| 0.99 - 0.05 * (row / batch) as f32;
        let discount: Vec<f32> =
            (0..population * batch).map(|row| if row % 5 == 0 { 0.0 } else { gamma(row) }).collect();
        Self {
            observation: normal([population, batch, observation], &mut stream, precision, device),
            action: normal([population, batch, action], &mut stream, precision, device).tanh(),
            reward: normal([population, batch], &mut stream, precision, device),
            discount: Tensor::from_data(TensorData::new(discount, [population, batch]), (device, precision)),
            next_observation: normal([population, batch, observation], &mut stream, precision, device),
            importance_weight: Some(normal([population, batch], &mut stream, precision, device).abs()),
            keys: Some((0..(population * batch) as u64).map(|row| Some(1000 + row)).collect()),
        }
    }

    fn permute(&self, rows: &[usize]) -> Self {
        let batch = self.batch();
        let keys = self
            .keys
            .as_ref()
            .map(|keys| keys.chunks(batch).flat_map(|member| rows.iter().map(|&row| member[row])).collect());
        Self {
            observation: permuted(&self.observation, rows),
            action: permuted(&self.action, rows),
            reward: permuted(&self.reward, rows),
            discount: permuted(&self.discount, rows),
            next_observation: permuted(&self.next_observation, rows),
            importance_weight: self.importance_weight.as_ref().map(|weight| permuted(weight, rows)),
            keys,
        }
    }

    fn member(&self, member: usize) -> Self {
        let batch = self.batch();
        Self {
            observation: self.observation.clone().narrow(0, member, 1),
            action: self.action.clone().narrow(0, member, 1),
            reward: self.reward.clone().narrow(0, member, 1),
            discount: self.discount.clone().narrow(0, member, 1),
            next_observation: self.next_observation.clone().narrow(0, member, 1),
            importance_weight: self.importance_weight.clone().map(|weight| weight.narrow(0, member, 1)),
            keys: self.keys.as_ref().map(|keys| keys[member * batch..(member + 1) * batch].into()),
        }
    }

    fn to(&self, device: &Device) -> Self {
        Self {
            observation: moved(&self.observation, device),
            action: moved(&self.action, device),
            reward: moved(&self.reward, device),
            discount: moved(&self.discount, device),
            next_observation: moved(&self.next_observation, device),
            importance_weight: self.importance_weight.as_ref().map(|weight| moved(weight, device)),
            keys: self.keys.clone(),
        }
    }

    fn spoiled(&self) -> Vec<(&'static str, Self)> {
        let [population, batch, observation] = self.observation.dims();
        let other = if self.reward.dtype() == DType::F32 { DType::F16 } else { DType::F32 };
        let device = self.reward.device();
        let mut spoiled = vec![
            (
                "observation",
                Self { observation: self.observation.clone().narrow(1, 0, batch - 1), ..self.clone() },
            ),
            ("action", Self { action: self.action.clone().repeat_dim(2, 2), ..self.clone() }),
            ("reward", Self { reward: self.reward.clone().repeat_dim(1, 2), ..self.clone() }),
            ("discount", Self { discount: self.discount.clone().narrow(1, 0, 1), ..self.clone() }),
            (
                "next_observation",
                Self {
                    next_observation: self.next_observation.clone().repeat_dim(2, observation + 1),
                    ..self.clone()
                },
            ),
            (
                "importance_weight",
                Self {
                    importance_weight: self.importance_weight.clone().map(|w| w.repeat_dim(1, 3)),
                    ..self.clone()
                },
            ),
            ("keys", Self { keys: Some([Some(7)].into()), ..self.clone() }),
            (
                "population",
                Self {
                    reward: Tensor::zeros([population + 2, batch], (&device, self.reward.dtype())),
                    ..self.clone()
                },
            ),
        ];
        // A type that the device has, and the state does not.
        if device.supports_dtype(other) {
            spoiled.push(("precision", Self { reward: self.reward.clone().cast(other), ..self.clone() }));
        }
        spoiled
    }

    fn poisoned(&self, member: usize) -> Vec<(&'static str, Self)> {
        let reward = |value| Self { reward: poisoned(&self.reward, member, value), ..self.clone() };
        let mut samples = vec![
            ("reward", reward(f64::NAN)),
            ("reward", reward(f64::INFINITY)),
            ("reward", reward(-1e25)),
            (
                "observation",
                Self { observation: poisoned(&self.observation, member, f64::NAN), ..self.clone() },
            ),
            ("action", Self { action: poisoned(&self.action, member, f64::NAN), ..self.clone() }),
            (
                "next_observation",
                Self {
                    next_observation: poisoned(&self.next_observation, member, f64::INFINITY),
                    ..self.clone()
                },
            ),
            (
                "discount",
                Self { discount: poisoned(&self.discount, member, f64::NEG_INFINITY), ..self.clone() },
            ),
        ];
        if let Some(weight) = &self.importance_weight {
            let weight = Some(poisoned(weight, member, f64::NAN));
            samples.push(("importance_weight", Self { importance_weight: weight, ..self.clone() }));
        }
        samples
    }
}

impl TestNoise for SacNoise {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        let Sizes { population, batch, action, .. } = sizes;
        let mut stream = RandomStream::new(seed, 78);
        Self {
            next: normal([population, batch, action], &mut stream, precision, device),
            current: normal([population, batch, action], &mut stream, precision, device),
        }
    }

    fn permute(&self, rows: &[usize]) -> Self {
        Self { next: permuted(&self.next, rows), current: permuted(&self.current, rows) }
    }
}

impl TestNoise for Td3Noise {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        let Sizes { population, batch, action, .. } = sizes;
        let mut stream = RandomStream::new(seed, 78);
        Self { next: normal([population, batch, action], &mut stream, precision, device) }
    }

    fn permute(&self, rows: &[usize]) -> Self {
        Self { next: permuted(&self.next, rows) }
    }
}

impl<S: TestSample> TestSample for ImitationSample<S> {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        Self {
            rl: S::random(sizes, seed, precision, device),
            demonstrations: Transitions::random(sizes, seed + 1_000_000, precision, device),
        }
    }

    fn permute(&self, rows: &[usize]) -> Self {
        Self { rl: self.rl.permute(rows), demonstrations: self.demonstrations.permute(rows) }
    }

    fn member(&self, member: usize) -> Self {
        Self { rl: self.rl.member(member), demonstrations: self.demonstrations.member(member) }
    }

    fn to(&self, device: &Device) -> Self {
        Self { rl: self.rl.to(device), demonstrations: self.demonstrations.to(device) }
    }

    fn spoiled(&self) -> Vec<(&'static str, Self)> {
        let own = self.rl.spoiled().into_iter().map(|(what, rl)| (what, Self { rl, ..self.clone() }));
        let demonstrations = self
            .demonstrations
            .spoiled()
            .into_iter()
            .map(|(what, demonstrations)| (what, Self { demonstrations, ..self.clone() }));
        // A number that does not divide that of the own rows.
        let rows: Vec<usize> = (0..self.demonstrations.batch() - 1).collect();
        let fewer = Self { demonstrations: self.demonstrations.permute(&rows), ..self.clone() };
        own.chain(demonstrations).chain([("number of demonstrations", fewer)]).collect()
    }

    fn poisoned(&self, member: usize) -> Vec<(&'static str, Self)> {
        let own = self.rl.poisoned(member).into_iter().map(|(what, rl)| (what, Self { rl, ..self.clone() }));
        let demonstrations = self.demonstrations.poisoned(member).into_iter();
        let demonstrations =
            demonstrations.map(|(what, demonstrations)| (what, Self { demonstrations, ..self.clone() }));
        own.chain(demonstrations).collect()
    }
}

impl TestNoise for () {
    fn random(_: Sizes, _: u64, _: DType, _: &Device) -> Self {}

    fn permute(&self, _: &[usize]) -> Self {}
}

impl<A: TestNoise, B: TestNoise> TestNoise for (A, B) {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        (A::random(sizes, seed, precision, device), B::random(sizes, seed + 1, precision, device))
    }

    fn permute(&self, rows: &[usize]) -> Self {
        (self.0.permute(rows), self.1.permute(rows))
    }

    fn random_below(sizes: Sizes, times: usize, seed: u64, precision: DType, device: &Device) -> Self {
        (
            A::random_below(sizes, times, seed, precision, device),
            B::random_below(sizes, times, seed + 1, precision, device),
        )
    }

    fn permute_below(&self, rows: &[usize], times: usize) -> Self {
        (self.0.permute_below(rows, times), self.1.permute_below(rows, times))
    }
}

impl TestNoise for AilNoise {
    fn random(sizes: Sizes, seed: u64, precision: DType, device: &Device) -> Self {
        let mut values = vec![0.0; sizes.population * sizes.batch];
        RandomStream::new(seed, 79).fill_uniform(0.0, 1.0, &mut values);
        let data = TensorData::new(values, [sizes.population, sizes.batch, 1]);
        Self { interpolation: Some(Tensor::from_data(data, (device, precision))) }
    }

    fn permute(&self, rows: &[usize]) -> Self {
        Self { interpolation: self.interpolation.as_ref().map(|noise| permuted(noise, rows)) }
    }

    fn random_below(sizes: Sizes, _: usize, seed: u64, precision: DType, device: &Device) -> Self {
        Self::random(sizes, seed, precision, device)
    }

    fn permute_below(&self, rows: &[usize], _: usize) -> Self {
        self.permute(rows)
    }
}
