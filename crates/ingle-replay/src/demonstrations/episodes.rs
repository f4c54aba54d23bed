//! Episodes as they are kept: every observation once, and the checks that all readers share.

use super::{DemonstrationError, Recording, Sizes};

/// Episodes one after another.
///
/// An episode of T steps has T + 1 observations, of which the last is the one it ended in: so a successor is the next
/// row, and nothing is stored twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Episodes {
    /// `[N + K, O]`.
    pub(super) observation: Vec<f32>,
    /// `[N, A]`, in the environment's own units.
    pub(super) action: Vec<f32>,
    /// `[N]`, if rewards were recorded.
    pub(super) reward: Option<Vec<f32>>,
    /// `[K]`: the row of `action` after the last one of each episode.
    pub(super) ends: Vec<usize>,
    /// `[K]`: whether the last step led to a state without a future.
    pub(super) terminated: Vec<bool>,
    /// `[K]`: whether the episode was cut off after its last step.
    pub(super) truncated: Vec<bool>,
}

impl Episodes {
    /// The number of steps, N.
    pub(super) fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The episode of a step, and the step's row in it.
    pub(super) fn place(&self, row: usize) -> (usize, usize) {
        let episode = self.ends.partition_point(|&end| end <= row);
        (episode, row - self.begin(episode))
    }

    /// The first step of an episode.
    pub(super) fn begin(&self, episode: usize) -> usize {
        episode.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Where episodes end, by the flags of all steps.
    ///
    /// # Errors
    /// If there is no step, or nothing ends at the last one.
    pub(super) fn ending(terminated: &[bool], truncated: &[bool]) -> Result<Self, DemonstrationError> {
        let mut episodes = Self::default();
        for (row, (&terminated, &truncated)) in terminated.iter().zip(truncated).enumerate() {
            if terminated || truncated {
                episodes.ends.push(row + 1);
                episodes.terminated.push(terminated);
                episodes.truncated.push(truncated);
            }
        }
        match terminated.len().checked_sub(1) {
            None => Err(DemonstrationError::Empty),
            Some(last) if episodes.len() <= last => {
                let (trajectory, row) = episodes.place(last);
                Err(DemonstrationError::Unended { trajectory, row })
            }
            Some(_) => Ok(episodes),
        }
    }

    /// Takes in further observations `[·, O]`, those of the steps, which begin at step `*row`; the rows of the last ones
    /// stay empty.
    pub(super) fn push_observations(&mut self, values: &[f32], size: usize, row: &mut usize) {
        for observation in values.chunks_exact(size) {
            self.observation.extend_from_slice(observation);
            *row += 1;
            if self.ends.binary_search(row).is_ok() {
                self.observation.resize(self.observation.len() + size, 0.0);
            }
        }
    }

    /// Takes in further successors `[·, O]`, which begin at step `*row`: the last one of an episode is kept, the others
    /// must be the next step's observation.
    ///
    /// # Errors
    /// If one is not, or is not finite.
    pub(super) fn push_successors(
        &mut self,
        values: &[f32],
        size: usize,
        row: &mut usize,
    ) -> Result<(), DemonstrationError> {
        for successor in values.chunks_exact(size) {
            let (trajectory, step) = self.place(*row);
            check_finite("next_observation", successor, (trajectory, step))?;
            let next = *row + trajectory + 1;
            let stored = &mut self.observation[next * size..(next + 1) * size];
            *row += 1;
            if *row == self.ends[trajectory] {
                stored.copy_from_slice(successor);
            } else if stored != successor && stored.iter().all(|value| value.is_finite()) {
                return Err(DemonstrationError::Gap { trajectory, row: step });
            }
        }
        Ok(())
    }

    /// Checks every number.
    ///
    /// # Errors
    /// The first one that is not finite, or the first action outside its bounds.
    pub(super) fn check(&self, sizes: &Sizes) -> Result<(), DemonstrationError> {
        if self.len() == 0 {
            return Err(DemonstrationError::Empty);
        }
        let (o, a) = (sizes.observation, sizes.action());
        for (trajectory, &end) in self.ends.iter().enumerate() {
            let begin = self.begin(trajectory);
            let rows = end - begin;
            for (row, observation) in
                self.observation[(begin + trajectory) * o..][..(rows + 1) * o].chunks_exact(o).enumerate()
            {
                let (field, row) =
                    if row < rows { ("observation", row) } else { ("next_observation", rows - 1) };
                check_finite(field, observation, (trajectory, row))?;
            }
            for (row, action) in self.action[begin * a..end * a].chunks_exact(a).enumerate() {
                check_finite("action", action, (trajectory, row))?;
                check_bounds(sizes, action, (trajectory, row))?;
            }
            for (row, reward) in self.reward.iter().flat_map(|reward| &reward[begin..end]).enumerate() {
                check_finite("reward", std::slice::from_ref(reward), (trajectory, row))?;
            }
        }
        Ok(())
    }

    /// Episodes of your own arrays.
    ///
    /// # Errors
    /// If an array has another size, an episode does not end, or a successor is not the next observation.
    pub(super) fn of(recording: Recording, sizes: &Sizes) -> Result<Self, DemonstrationError> {
        let (o, a, rows) = (sizes.observation, sizes.action(), recording.terminated.len());
        let Recording { observation, action, reward, next_observation, terminated, truncated } = recording;
        if rows == 0 {
            return Err(DemonstrationError::Empty);
        }
        for (array, length, width) in [
            ("observation", observation.len(), o),
            ("action", action.len(), a),
            ("next_observation", next_observation.len(), o),
            ("reward", reward.as_ref().map_or(0, Vec::len), usize::from(reward.is_some())),
            ("truncated", truncated.len(), 1),
        ] {
            if rows.checked_mul(width) != Some(length) {
                return Err(DemonstrationError::Shape {
                    array,
                    expected: format!("{rows} rows of {width}"),
                    actual: vec![length],
                });
            }
        }
        let mut episodes = Self { action, reward, ..Self::ending(&terminated, &truncated)? };
        episodes.observation.reserve_exact(observation.len() + episodes.ends.len() * o);
        episodes.push_observations(&observation, o, &mut 0);
        drop(observation);
        episodes.push_successors(&next_observation, o, &mut 0)?;
        Ok(episodes)
    }
}

fn check_finite(
    field: &'static str,
    values: &[f32],
    (trajectory, row): (usize, usize),
) -> Result<(), DemonstrationError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(element) => {
            Err(DemonstrationError::NonFinite { trajectory, row, field, element, value: values[element] })
        }
        None => Ok(()),
    }
}

fn check_bounds(
    sizes: &Sizes,
    action: &[f32],
    (trajectory, row): (usize, usize),
) -> Result<(), DemonstrationError> {
    let bounds = sizes.action_low.iter().zip(&sizes.action_high);
    for (element, (&value, (&low, &high))) in action.iter().zip(bounds).enumerate() {
        if !(low..=high).contains(&value) {
            return Err(DemonstrationError::OutOfBounds { trajectory, row, element, value, low, high });
        }
    }
    Ok(())
}
