//! Policies as safetensors files, in `PyTorch`'s layout and under Stable-Baselines3's names.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::foreign::Foreign;
use super::{Normalisation, PolicyKind, PolicyParameters};
use crate::TrainError;
use crate::files::write_atomically;

/// The key of a file's metadata, safetensors or ONNX, that holds its [`Description`].
pub(super) const DESCRIPTION: &str = "ingle.policy";

/// The format of that description; another number is refused.
const FORMAT: u32 = 1;

/// The tensors of an input normalisation.
pub(super) const MEAN: &str = "normalisation.mean";
pub(super) const DEVIATION: &str = "normalisation.deviation";

/// What an exported policy says of itself beside its weights, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Description {
    format: u32,
    pub(super) environment: Option<String>,
    pub(super) kind: PolicyKind,
    observation_size: usize,
    action_size: usize,
    pub(super) action_low: Vec<f32>,
    pub(super) action_high: Vec<f32>,
    /// For whoever reads it: always `relu` and `tanh`.
    activation: String,
    squash: String,
    pub(super) normalisation: Option<DescribedNormalisation>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribedNormalisation {
    pub(super) clip: Option<f32>,
}

impl PolicyParameters {
    /// Writes the policy as a safetensors file that `PyTorch` can use: weights `[out, in]` under the names that
    /// Stable-Baselines3 gives them, and a description as JSON in the metadata under `ingle.policy`.
    ///
    /// | | [`PolicyKind::Gaussian`] | [`PolicyKind::Deterministic`] |
    /// |---|---|---|
    /// | hidden layer i = 0, 1, … | `actor.latent_pi.{2i}.weight`, `.bias` | `actor.mu.{2i}.weight`, `.bias` |
    /// | last of n layers | `actor.mu.weight`, `.bias` and `actor.log_std.weight`, `.bias` | `actor.mu.{2n − 2}.weight`, `.bias` |
    /// | with input normalisation | `normalisation.mean`, `normalisation.deviation` | the same |
    ///
    /// # Errors
    /// If the parameters do not fit together, or the file system refuses.
    pub fn write_safetensors(&self, path: impl AsRef<Path>) -> Result<(), TrainError> {
        let path = path.as_ref();
        self.validate()?;
        let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .named()
            .into_iter()
            .map(|(name, shape, values)| {
                (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect())
            })
            .collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        });
        let bytes = views
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .and_then(|views| {
                let metadata = [("format", "pt".to_owned()), (DESCRIPTION, self.description())];
                let metadata = metadata.map(|(key, value)| (key.to_owned(), value));
                safetensors::serialize(views, Some(HashMap::from(metadata)))
            })
            .map_err(|error| format(error.to_string()))?;
        write_atomically(path, &bytes)
    }

    /// All tensors with their names and shapes, as `PyTorch` has them.
    fn named(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut tensors = Vec::new();
        let mut push = |name: String, input, (weight, bias): (Vec<f32>, Vec<f32>)| {
            let output = bias.len();
            tensors.push((format!("{name}.weight"), vec![output, input], weight));
            tensors.push((format!("{name}.bias"), vec![output], bias));
        };
        let (last, actions) = (self.sizes.len().saturating_sub(2), self.action_size());
        for (index, layer) in self.layers().enumerate() {
            match self.kind {
                PolicyKind::Gaussian if index == last => {
                    push("actor.mu".into(), layer.input, layer.transposed(0, actions));
                    push("actor.log_std".into(), layer.input, layer.transposed(actions, layer.output));
                }
                PolicyKind::Gaussian => {
                    let name = format!("actor.latent_pi.{}", 2 * index);
                    push(name, layer.input, layer.transposed(0, layer.output));
                }
                PolicyKind::Deterministic { .. } => {
                    let name = format!("actor.mu.{}", 2 * index);
                    push(name, layer.input, layer.transposed(0, layer.output));
                }
            }
        }
        if let Some(Normalisation { mean, deviation, .. }) = &self.normalisation {
            tensors.push((MEAN.into(), vec![mean.len()], mean.clone()));
            tensors.push((DEVIATION.into(), vec![deviation.len()], deviation.clone()));
        }
        tensors
    }

    /// The [`Description`] as JSON.
    pub(super) fn description(&self) -> String {
        let description = Description {
            format: FORMAT,
            environment: self.environment.clone(),
            kind: self.kind,
            observation_size: self.observation_size(),
            action_size: self.action_size(),
            action_low: self.action_low.clone(),
            action_high: self.action_high.clone(),
            activation: "relu".into(),
            squash: "tanh".into(),
            normalisation: self
                .normalisation
                .as_ref()
                .map(|normalisation| DescribedNormalisation { clip: normalisation.clip }),
        };
        // Text, numbers and lists of them are always JSON.
        serde_json::to_string(&description).unwrap_or_default()
    }
}

impl Description {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let description: Self =
            serde_json::from_str(text).map_err(|error| format!("its description is damaged: {error}"))?;
        if description.format != FORMAT {
            let format = description.format;
            return Err(format!(
                "format {format} of its description cannot be read, this version reads {FORMAT}"
            ));
        }
        Ok(description)
    }
}

/// Reads what [`PolicyParameters::write_safetensors`] wrote.
pub(super) fn read(path: &Path) -> Result<PolicyParameters, TrainError> {
    let format = |reason: String| TrainError::Format { path: path.to_owned(), reason };
    let file = Foreign::read(path)?;
    let Some((low, high)) = file.action_bounds() else {
        return Err(format(
            "does not say what its actions mean, as `ingle export` does: `ingle import` makes a run of it"
                .into(),
        ));
    };
    file.policy(low, high).map_err(|error| format(error.to_string()))
}
