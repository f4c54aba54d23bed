use crate::error::{EnvironmentError, check_finite, check_length};

/// A box of real vectors: one closed interval per element.
///
/// Action spaces are bounded; an observation space may be infinite in some or all directions.
///
/// ```
/// use ingle_envs::BoxSpace;
///
/// let torque = BoxSpace::new(vec![-2.0], vec![2.0])?;
/// let mut action = [0.0];
/// torque.from_canonical(&[0.25], &mut action)?;
/// assert_eq!(action, [0.5]);
/// # Ok::<(), ingle_envs::EnvironmentError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BoxSpace {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl BoxSpace {
    /// The box of the vectors `x` with `low[i] <= x[i] <= high[i]`.
    ///
    /// # Errors
    ///
    /// When there are no bounds or not equally many, and when a lower bound is not below its upper bound (NaN
    /// never is).
    pub fn new(low: Vec<f32>, high: Vec<f32>) -> Result<Self, EnvironmentError> {
        if low.is_empty() || low.len() != high.len() {
            return Err(EnvironmentError::BoundLengths { low: low.len(), high: high.len() });
        }
        for (index, (&low, &high)) in low.iter().zip(&high).enumerate() {
            let ordered = low < high; // false for NaN
            if !ordered {
                return Err(EnvironmentError::Bounds { index, low, high });
            }
        }
        Ok(Self { low, high })
    }

    /// The space of a native environment, whose bounds are constants. A test holds them to what
    /// [`new`](Self::new) asks.
    pub(crate) fn constant<const N: usize>(low: [f32; N], high: [f32; N]) -> Self {
        Self { low: low.into(), high: high.into() }
    }

    /// `size` times `[-bound, bound]`, for a bound above 0, which may be infinite, and a size of at least 1.
    pub(crate) fn symmetric(bound: f32, size: usize) -> Self {
        Self { low: vec![-bound; size], high: vec![bound; size] }
    }

    /// How many elements a vector of this space has.
    #[expect(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(&self) -> usize {
        self.low.len()
    }

    /// The lower bounds, one per element.
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The upper bounds, one per element.
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// Whether every bound is finite.
    pub fn is_bounded(&self) -> bool {
        self.first_unbounded().is_none()
    }

    /// Whether `values` has this space's length and lies in the box, its surface included.
    pub fn contains(&self, values: &[f32]) -> bool {
        values.len() == self.len()
            && values
                .iter()
                .zip(self.low.iter().zip(&self.high))
                .all(|(value, (low, high))| (low..=high).contains(&value))
    }

    /// Checks that `values` has this space's length and only finite numbers. They may lie outside the box: it
    /// is the environment that says what becomes of such an action (the native ones clip it).
    ///
    /// # Errors
    ///
    /// [`WrongLength`](EnvironmentError::WrongLength) or [`NotFinite`](EnvironmentError::NotFinite), in which
    /// `field` names the values.
    pub fn check(&self, field: &'static str, values: &[f32]) -> Result<(), EnvironmentError> {
        check_length(field, self.len(), values.len())?;
        check_finite(field, values)
    }

    /// Maps vectors from `[-1, 1]`, a policy's range, to this box: affine, and exact at both ends.
    ///
    /// `canonical` and `out` hold any number of vectors, one after another (`[N, A]`). What lies outside
    /// `[-1, 1]` is mapped by the same line to outside the box.
    ///
    /// # Errors
    ///
    /// When a bound is infinite, when `canonical` is not a whole number of vectors, or when `out` has another
    /// length.
    pub fn from_canonical(&self, canonical: &[f32], out: &mut [f32]) -> Result<(), EnvironmentError> {
        self.map("canonical", canonical, out, |value, low, high| {
            0.5 * ((1.0 - value) * low + (1.0 + value) * high)
        })
    }

    /// The inverse of [`from_canonical`](Self::from_canonical): maps vectors of this box to `[-1, 1]`, the
    /// bounds exactly to -1 and 1.
    ///
    /// # Errors
    ///
    /// As for [`from_canonical`](Self::from_canonical).
    pub fn to_canonical(&self, values: &[f32], out: &mut [f32]) -> Result<(), EnvironmentError> {
        self.map("values", values, out, |value, low, high| ((value - low) - (high - value)) / (high - low))
    }

    /// Applies `f(value, low, high)` to each element, in f64: a difference of two f32 bounds can overflow
    /// f32.
    fn map(
        &self,
        field: &'static str,
        values: &[f32],
        out: &mut [f32],
        f: impl Fn(f64, f64, f64) -> f64,
    ) -> Result<(), EnvironmentError> {
        if let Some(index) = self.first_unbounded() {
            return Err(EnvironmentError::Unbounded { index, low: self.low[index], high: self.high[index] });
        }
        check_length(field, values.len().next_multiple_of(self.len()), values.len())?;
        check_length("out", values.len(), out.len())?;
        let bounds = self.low.iter().zip(&self.high).cycle();
        for ((out, &value), (&low, &high)) in out.iter_mut().zip(values).zip(bounds) {
            *out = f(value.into(), low.into(), high.into()) as f32;
        }
        Ok(())
    }

    fn first_unbounded(&self) -> Option<usize> {
        self.low.iter().zip(&self.high).position(|(low, high)| !(low.is_finite() && high.is_finite()))
    }
}
