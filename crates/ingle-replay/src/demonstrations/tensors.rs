//! ingle's flat layout in safetensors.

use std::borrow::Cow;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::file::{check_shape, flags, numbers};
use super::{DemonstrationError, Demonstrations, Recording, Spaces};

const ARRAYS: [&str; 6] = ["observation", "action", "reward", "next_observation", "terminated", "truncated"];

pub(super) fn read(bytes: &[u8], spaces: Spaces<'_>) -> Result<Recording, DemonstrationError> {
    let file =
        SafeTensors::deserialize(bytes).map_err(|error| DemonstrationError::Format(error.to_string()))?;
    if let Some(name) = file.names().into_iter().find(|name| !ARRAYS.contains(name)) {
        return Err(DemonstrationError::Unknown(name.to_owned()));
    }
    let array = |name| file.tensor(name).map_err(|_| DemonstrationError::Missing(name));
    let terminated = array("terminated")?;
    let rows = terminated.shape().first().copied().unwrap_or(0);
    let floats = |name, view: &TensorView<'_>, shape: &[usize]| {
        check_shape(name, view.shape(), shape)?;
        match view.dtype() {
            Dtype::F32 => Ok(numbers(view.data(), f32::from_le_bytes)),
            Dtype::F64 => Ok(numbers(view.data(), |bytes| f64::from_le_bytes(bytes) as f32)),
            other => Err(DemonstrationError::ElementType {
                array: name,
                expected: "F32 or F64",
                actual: format!("{other:?}"),
            }),
        }
    };
    let ends = |name, view: &TensorView<'_>| {
        check_shape(name, view.shape(), &[rows])?;
        match view.dtype() {
            Dtype::BOOL | Dtype::U8 => flags(name, view.data()),
            other => Err(DemonstrationError::ElementType {
                array: name,
                expected: "BOOL or U8",
                actual: format!("{other:?}"),
            }),
        }
    };
    let reward = match array("reward") {
        Ok(view) => Some(floats("reward", &view, &[rows])?),
        Err(_) => None,
    };
    Ok(Recording {
        observation: floats("observation", &array("observation")?, &[rows, spaces.observation])?,
        action: floats("action", &array("action")?, &[rows, spaces.action()])?,
        reward,
        next_observation: floats(
            "next_observation",
            &array("next_observation")?,
            &[rows, spaces.observation],
        )?,
        terminated: ends("terminated", &terminated)?,
        truncated: ends("truncated", &array("truncated")?)?,
    })
}

pub(super) fn write(demonstrations: &Demonstrations) -> Result<Vec<u8>, DemonstrationError> {
    let Recording { observation, action, reward, next_observation, terminated, truncated } =
        &demonstrations.steps;
    let (rows, o, a) =
        (demonstrations.len(), demonstrations.observation_size(), demonstrations.action_size());
    let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let ends = |values: &[bool]| values.iter().map(|&value| u8::from(value)).collect::<Vec<u8>>();
    let mut arrays = vec![
        ("observation", Dtype::F32, vec![rows, o], floats(observation)),
        ("action", Dtype::F32, vec![rows, a], floats(action)),
        ("next_observation", Dtype::F32, vec![rows, o], floats(next_observation)),
        ("terminated", Dtype::BOOL, vec![rows], ends(terminated)),
        ("truncated", Dtype::BOOL, vec![rows], ends(truncated)),
    ];
    arrays.extend(reward.as_ref().map(|rewards| ("reward", Dtype::F32, vec![rows], floats(rewards))));
    let views = arrays.into_iter().map(|(name, dtype, shape, bytes)| (name, Array { dtype, shape, bytes }));
    safetensors::serialize(views, None).map_err(|error| DemonstrationError::Format(error.to_string()))
}

/// An array on its way into a file.
struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl safetensors::View for Array {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
