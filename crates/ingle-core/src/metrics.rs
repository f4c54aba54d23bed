//! What a step hands back: metrics that stay on the device until somebody reads them, and feedback for the sampler.

use std::sync::Arc;

use burn::tensor::{Tensor, Transaction};

use crate::{Error, Result};

/// What a step measured, by name: one number per population member, on the device.
///
/// Collecting metrics costs no synchronisation; [`Metrics::read`] waits for the device. Only a driver should read,
/// every so many steps.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Vec<(&'static str, Tensor<1>)>);

impl Metrics {
    /// Adds a metric `[P]`.
    pub fn push(&mut self, name: &'static str, value: Tensor<1>) {
        self.0.push((name, value));
    }

    /// Adds the metrics of another layer; its names are kept.
    pub fn extend(&mut self, other: Metrics) {
        self.0.extend(other.0);
    }

    /// The metric of that name, still on the device.
    pub fn get(&self, name: &str) -> Option<&Tensor<1>> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The names, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.iter().map(|(name, _)| *name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Tensor<1>)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Reads all metrics in one transaction: `(name, one value per member)`. Waits for the device.
    ///
    /// # Errors
    /// [`Error::Execution`] if the device failed since it was last waited for.
    pub fn read(&self) -> Result<Vec<(&'static str, Vec<f64>)>> {
        let transaction =
            self.0.iter().fold(Transaction::default(), |all, (_, value)| all.register(value.clone()));
        let data = transaction.try_execute().map_err(|error| Error::Execution(error.to_string()))?;
        Ok(self
            .0
            .iter()
            .zip(data)
            .map(|((name, _), data)| (*name, data.convert::<f64>().as_slice::<f64>().unwrap_or(&[]).to_vec()))
            .collect())
    }
}

/// Keys of rows in a replay: each names one stored transition for as long as it is stored. A row that did not come from
/// there (a demonstration that a processor put beside the sampler's rows) has none.
pub type Keys = Arc<[Option<u64>]>;

/// How surprising each row of a batch was, for samplers that care.
///
/// A prioritised sampler turns it into priorities; a uniform one drops it, which costs nothing: the tensor is never
/// read.
#[derive(Debug, Clone)]
pub struct Feedback {
    /// `|Q − y|`, mean over the critics, `[P, B]`.
    pub td_error: Tensor<2>,
    /// The keys of the rows, `P · B` of them, in the order of `td_error`; none if the sample had none. These may be other
    /// rows, and more of them, than a sampler handed out: a row is known by its key, never by its place.
    pub keys: Option<Keys>,
}

/// What one update hands back.
#[derive(Debug, Clone, Default)]
pub struct StepOutput {
    /// Losses and the like, on the device.
    pub metrics: Metrics,
    /// Per-row errors with the rows' keys; none from a rule that has no notion of them.
    pub feedback: Option<Feedback>,
}
