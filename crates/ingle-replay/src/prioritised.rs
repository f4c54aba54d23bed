//! Prioritised replay.

use burn::tensor::Device;
use ingle_core::random::RandomStream;
use ingle_core::state::Visitor;
use ingle_core::{Checkpoint, Error, Feedback, Result, Sampler, Seeds, Transitions, Violations};
use serde::{Deserialize, Serialize};

use crate::ring::{Ring, Rows};
use crate::storage::{ReplayConfig, Storage};

/// How priorities make probabilities and weights (Schaul et al. 2016, arXiv:1511.05952).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Priorities {
    /// The exponent α in `P(i) ∝ p_i^α`, in [0, 1]; 0 is uniform. Default 0.6 (paper, Table 3, proportional).
    pub alpha: f64,
    /// The exponent β of the importance weights at the start, in [0, 1]. Default 0.4 (paper, Table 3).
    pub beta: f64,
    /// Samples over which β goes to 1 in a straight line; 0 leaves it as it is. Default 100,000.
    pub beta_samples: u64,
    /// What is added to every `|TD error|`, > 0, so that no row is lost. Default 1e-6.
    pub epsilon: f64,
}

impl Default for Priorities {
    fn default() -> Self {
        Self { alpha: 0.6, beta: 0.4, beta_samples: 100_000, epsilon: 1e-6 }
    }
}

impl Priorities {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Config`] with one message for each setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let Self { alpha, beta, epsilon, .. } = *self;
        let mut violations = Violations::default();
        for (name, value) in [("alpha", alpha), ("beta", beta)] {
            violations
                .require((0.0..=1.0).contains(&value), || format!("{name}: must be in [0, 1], got {value}"));
        }
        violations.require_positive("epsilon", epsilon);
        violations.finish()
    }
}

/// The last transitions, sampled with probability `P(i) ∝ p_i^α` (Schaul et al. 2016, arXiv:1511.05952).
///
/// New rows enter at the largest priority seen. Rows are drawn from B equal shares of the whole priority, one from each
/// (paper, Appendix B.2.1), and carry importance weights `(N · P(i))^{−β}`, divided by the largest of their member's
/// batch. The feedback of a step sets `p_i = |TD error| + ε`: taking it waits for the device.
#[derive(Debug, Clone)]
pub struct PrioritisedReplay {
    storage: Storage,
    streams: Vec<RandomStream>,
    trees: Vec<SumTree>,
    /// The largest priority that each ring has seen.
    largest: Vec<f64>,
    priorities: Priorities,
    samples: u64,
}

impl PrioritisedReplay {
    /// An empty replay that draws with `seed` and puts its samples on `device`.
    ///
    /// # Errors
    /// [`Error::Config`] with every size that is 0 and every exponent that is out of range, or if there are other seeds than
    /// members.
    pub fn new(
        config: &ReplayConfig,
        priorities: Priorities,
        seed: impl Into<Seeds>,
        device: &Device,
    ) -> Result<Self> {
        priorities.validate()?;
        let storage = Storage::new(config, device)?;
        let rings = storage.rings.len();
        Ok(Self {
            streams: storage.streams(&seed.into())?,
            trees: vec![SumTree::new(config.capacity); rings],
            largest: vec![1.0; rings],
            storage,
            priorities,
            samples: 0,
        })
    }

    /// Appends transitions to the ring of `member` (ring 0 if the members share one), at the largest priority seen.
    ///
    /// # Errors
    /// If a field has another number of rows or width, or a number that is not finite. Nothing is stored then.
    pub fn insert(&mut self, member: usize, rows: Rows<'_>) -> Result<()> {
        self.storage.insert(member, rows)?;
        let member = self.storage.ring_of(member);
        let ring = &self.storage.rings[member];
        let weight = self.largest[member].powf(self.priorities.alpha);
        // At most as many rows as there are places: of more, only the last are still there.
        let first = ring.inserted().saturating_sub(rows.reward.len().min(ring.len()) as u64);
        for key in first..ring.inserted() {
            self.trees[member].set(ring.slot(key), weight);
        }
        Ok(())
    }

    /// The number of transitions in the ring that has the fewest.
    pub fn len(&self) -> usize {
        self.storage.len()
    }

    /// Whether one of the rings has nothing to sample.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The β of the next sample.
    fn beta(&self) -> f64 {
        let Priorities { beta, beta_samples, .. } = self.priorities;
        if beta_samples == 0 {
            return beta;
        }
        beta + (1.0 - beta) * (self.samples as f64 / beta_samples as f64).min(1.0)
    }
}

impl Sampler for PrioritisedReplay {
    type Sample = Transitions;

    fn sample(&mut self) -> Result<Transitions> {
        self.storage.check_not_empty()?;
        let beta = self.beta();
        let batch = self.storage.batch;
        let mut slots = Vec::with_capacity(self.storage.population * batch);
        let mut weights = Vec::with_capacity(self.storage.population * batch);
        for (member, stream) in self.streams.iter_mut().enumerate() {
            let ring = self.storage.ring_of(member);
            let (tree, size) = (&self.trees[ring], self.storage.rings[ring].len());
            let share = tree.total() / batch as f64;
            let start = weights.len();
            for row in 0..batch {
                let mut offset = [0.0];
                stream.fill_uniform(0.0, 1.0, &mut offset);
                let slot = tree.find((row as f64 + f64::from(offset[0])) * share).min(size - 1);
                slots.push(slot);
                weights.push((size as f64 * tree.get(slot) / tree.total()).powf(-beta));
            }
            let largest = weights[start..].iter().copied().fold(f64::MIN_POSITIVE, f64::max);
            for weight in &mut weights[start..] {
                *weight /= largest;
            }
        }
        self.samples += 1;
        let weights: Vec<f32> = weights.into_iter().map(|weight| weight as f32).collect();
        let sample = self.storage.gather(&slots, Some(&weights)).pop();
        sample.ok_or_else(|| Error::Sample("the replay handed out nothing".into()))
    }

    fn feedback(&mut self, feedback: Feedback) -> Result<()> {
        let Some(keys) = feedback.keys else { return Ok(()) };
        let shape = feedback.td_error.dims();
        let data = feedback
            .td_error
            .try_into_data()
            .map_err(|error| Error::Execution(error.to_string()))?
            .convert::<f64>();
        let errors = data.as_slice::<f64>().unwrap_or(&[]);
        let population = self.storage.population;
        if errors.len() != keys.len() || shape[0] != population {
            return Err(Error::Shape {
                field: "feedback",
                expected: format!("[{population}, B] errors and as many keys as there are errors"),
                actual: vec![shape[0], shape[1], keys.len()],
            });
        }
        for (row, (key, &error)) in keys.iter().zip(errors).enumerate() {
            // A row that somebody else put into the batch.
            let &Some(key) = key else { continue };
            let member = self.storage.ring_of(row / shape[1]);
            let ring: &Ring = &self.storage.rings[member];
            // A row that has been overwritten meanwhile has no priority to set, and an error that is not finite is none.
            if error.is_finite() && ring.holds(key) {
                let priority = error.abs() + self.priorities.epsilon;
                self.largest[member] = self.largest[member].max(priority);
                self.trees[member].set(ring.slot(key), priority.powf(self.priorities.alpha));
            }
        }
        Ok(())
    }
}

impl Checkpoint for PrioritisedReplay {
    fn checkpoint(&mut self, visitor: &mut Visitor<'_>) {
        self.storage.checkpoint(visitor);
        visitor.streams("streams", &mut self.streams);
        for (index, (tree, ring)) in self.trees.iter_mut().zip(&self.storage.rings).enumerate() {
            let mut weights = tree.weights(ring.len()).to_vec();
            visitor.values(&format!("weights-{index}"), &mut weights);
            if visitor.is_loading() {
                let valid = weights.len() == ring.len()
                    && weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
                if valid {
                    tree.fill(&weights);
                } else {
                    visitor.fail(Error::Record(format!(
                        "weights-{index}: {} numbers, expected {}, finite and not negative",
                        weights.len(),
                        ring.len()
                    )));
                }
            }
        }
        let rings = self.largest.len();
        visitor.values("largest", &mut self.largest);
        if self.largest.len() != rings {
            visitor.fail(Error::Record(format!("largest: {} numbers, expected {rings}", self.largest.len())));
            self.largest.resize(rings, 1.0);
        }
        visitor.counter("samples", &mut self.samples);
    }
}

/// Weights with their sums in a binary tree: setting one and finding the place of a running sum take `log₂ n` steps.
#[derive(Debug, Clone)]
struct SumTree {
    /// Node 1 is the root, node n has the children 2n and 2n + 1, the leaves begin at `leaves`.
    nodes: Vec<f64>,
    leaves: usize,
}

impl SumTree {
    fn new(size: usize) -> Self {
        let leaves = size.next_power_of_two();
        Self { nodes: vec![0.0; 2 * leaves], leaves }
    }

    fn total(&self) -> f64 {
        self.nodes[1]
    }

    fn get(&self, index: usize) -> f64 {
        self.nodes[self.leaves + index]
    }

    /// The first `count` weights.
    fn weights(&self, count: usize) -> &[f64] {
        &self.nodes[self.leaves..self.leaves + count]
    }

    /// Sets the first weights, and all others to 0.
    fn fill(&mut self, weights: &[f64]) {
        self.nodes.fill(0.0);
        self.nodes[self.leaves..self.leaves + weights.len()].copy_from_slice(weights);
        for node in (1..self.leaves).rev() {
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    fn set(&mut self, index: usize, weight: f64) {
        let mut node = self.leaves + index;
        self.nodes[node] = weight;
        while node > 1 {
            node /= 2;
            // Summed anew, not adjusted: rounding does not pile up.
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// The index at which the running sum of the weights passes `sum`.
    fn find(&self, mut sum: f64) -> usize {
        let mut node = 1;
        while node < self.leaves {
            let left = self.nodes[2 * node];
            // A right branch without weight is never taken, whatever rounding made of the sum.
            if sum < left || self.nodes[2 * node + 1] <= 0.0 {
                node *= 2;
            } else {
                sum -= left;
                node = 2 * node + 1;
            }
        }
        node - self.leaves
    }
}
