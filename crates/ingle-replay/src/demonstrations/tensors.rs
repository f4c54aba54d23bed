//! ingle's flat layout in safetensors.

use std::io::{Read, Seek, SeekFrom};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde_json::json;

use super::episodes::Episodes;
use super::file::{Float, check_shape, read_flags};
use super::{Bounds, DemonstrationError, Demonstrations, Origin, ReadOptions, Sizes};

const ARRAYS: [&str; 6] = ["observation", "action", "reward", "next_observation", "terminated", "truncated"];

/// The longest header that is read: names, shapes and the metadata.
const HEADER_LIMIT: u64 = 1 << 20;

const LENGTH: u64 = 8;

/// A file whose header was read.
struct Tensors<'a, R> {
    input: &'a mut R,
    header: Metadata,
    /// Where the arrays begin.
    start: u64,
}

pub(super) fn read(
    input: &mut (impl Read + Seek),
    length: u64,
    options: ReadOptions<'_>,
) -> Result<Demonstrations, DemonstrationError> {
    let mut file = Tensors::open(input, length)?;
    if let Some(name) = file.header.offset_keys().into_iter().find(|name| !ARRAYS.contains(&name.as_str())) {
        return Err(DemonstrationError::Unknown(name));
    }
    let origin = file.origin()?;
    let [rows] = file.shape("terminated")?;
    let [_, o] = file.shape("observation")?;
    let sizes = Sizes::settle(options, o, origin.1.as_ref())?;
    let (terminated, truncated) = (file.flags("terminated", rows)?, file.flags("truncated", rows)?);
    let mut episodes = Episodes::ending(&terminated, &truncated)?;
    drop((terminated, truncated));

    let (o, a) = (sizes.observation, sizes.action());
    let (steps, ends) = (episodes.len(), episodes.ends.len());
    let float = file.array("observation", &[rows, o])?;
    // One of the rows there are, and one for each episode, which is at most as many: the array of successors is larger.
    file.checked("next_observation", &[rows, o])?;
    episodes.observation.reserve_exact((steps + ends) * o);
    let mut row = 0;
    float.read(file.input, rows, o, |values| {
        episodes.push_observations(values, o, &mut row);
        Ok(())
    })?;
    let float = file.array("next_observation", &[rows, o])?;
    let mut row = 0;
    float.read(file.input, rows, o, |values| episodes.push_successors(values, o, &mut row))?;
    episodes.action = file.array("action", &[rows, a])?.read_all(file.input, rows * a)?;
    if file.header.info("reward").is_some() {
        episodes.reward = Some(file.array("reward", &[rows])?.read_all(file.input, rows)?);
    }
    Demonstrations::checked(sizes, episodes, origin.0)
}

impl<'a, R: Read + Seek> Tensors<'a, R> {
    fn open(input: &'a mut R, length: u64) -> Result<Self, DemonstrationError> {
        let format = |problem: String| DemonstrationError::Format(problem);
        let unknown = || format("it is no safetensors, .npz or HDF5 file".into());
        if length < LENGTH {
            return Err(unknown());
        }
        let mut bytes = [0; LENGTH as usize];
        input.seek(SeekFrom::Start(0))?;
        input.read_exact(&mut bytes)?;
        let header = u64::from_le_bytes(bytes);
        if header > length - LENGTH {
            return Err(unknown());
        }
        if header > HEADER_LIMIT {
            return Err(format(format!("its header has {header} bytes, at most {HEADER_LIMIT} are read")));
        }
        let mut bytes = vec![0; header as usize];
        input.read_exact(&mut bytes)?;
        let parsed: Metadata = serde_json::from_slice(&bytes)
            .map_err(|error| format(format!("its header is not one of a safetensors file: {error}")))?;
        let start = LENGTH + header;
        if parsed.data_len() as u64 != length - start {
            let (has, expected) = (length - start, parsed.data_len());
            return Err(format(format!("{has} bytes of arrays, its header says {expected}")));
        }
        Ok(Self { input, header: parsed, start })
    }

    fn info(&self, name: &'static str) -> Result<&TensorInfo, DemonstrationError> {
        self.header.info(name).ok_or(DemonstrationError::Missing(name))
    }

    /// The shape of an array, of as many axes as are asked for.
    fn shape<const N: usize>(&self, name: &'static str) -> Result<[usize; N], DemonstrationError> {
        let shape = &self.info(name)?.shape;
        <[usize; N]>::try_from(shape.as_slice()).map_err(|_| DemonstrationError::Shape {
            array: name,
            expected: if N == 1 { "[N]".into() } else { "two axes".into() },
            actual: shape.clone(),
        })
    }

    /// An array of floats, checked, and how it is read.
    fn checked(&self, name: &'static str, shape: &[usize]) -> Result<(Float, usize), DemonstrationError> {
        let info = self.info(name)?;
        check_shape(name, &info.shape, shape)?;
        let float = match info.dtype {
            Dtype::F32 => Float::F32,
            Dtype::F64 => Float::F64,
            other => {
                return Err(DemonstrationError::ElementType {
                    array: name,
                    expected: "F32 or F64",
                    actual: format!("{other:?}"),
                });
            }
        };
        Ok((float, info.data_offsets.0))
    }

    /// Goes to an array of floats.
    fn array(&mut self, name: &'static str, shape: &[usize]) -> Result<Float, DemonstrationError> {
        let (float, offset) = self.checked(name, shape)?;
        self.input.seek(SeekFrom::Start(self.start + offset as u64))?;
        Ok(float)
    }

    fn flags(&mut self, name: &'static str, rows: usize) -> Result<Vec<bool>, DemonstrationError> {
        let info = self.info(name)?;
        check_shape(name, &info.shape, &[rows])?;
        if !matches!(info.dtype, Dtype::BOOL | Dtype::U8) {
            return Err(DemonstrationError::ElementType {
                array: name,
                expected: "BOOL or U8",
                actual: format!("{:?}", info.dtype),
            });
        }
        let offset = self.start + info.data_offsets.0 as u64;
        self.input.seek(SeekFrom::Start(offset))?;
        read_flags(name, self.input, rows)
    }

    /// What the metadata say, and the bounds of actions if they do.
    fn origin(&self) -> Result<(Origin, Option<Bounds>), DemonstrationError> {
        let Some(metadata) = self.header.metadata() else { return Ok(Default::default()) };
        let text = |key: &str| metadata.get(key).cloned();
        let origin =
            Origin { environment: text("environment"), source: text("source"), licence: text("licence") };
        let bounds = |key: &str| {
            metadata.get(key).map(|text| serde_json::from_str::<Vec<f32>>(text)).transpose().map_err(|_| {
                DemonstrationError::Format(format!("{key}: must be a list of numbers, as in [-2.0, -1.0]"))
            })
        };
        let bounds = bounds("action_low")?.zip(bounds("action_high")?);
        Ok((origin, bounds))
    }
}

/// The same steps in the flat layout. Equal demonstrations give equal bytes.
pub(super) fn write(demonstrations: &Demonstrations) -> Result<Vec<u8>, DemonstrationError> {
    let Demonstrations { sizes, episodes, origin } = demonstrations;
    let (rows, o, a) = (episodes.len(), sizes.observation, sizes.action());
    let mut arrays = vec![
        ("observation", "F32", vec![rows, o]),
        ("action", "F32", vec![rows, a]),
        ("next_observation", "F32", vec![rows, o]),
    ];
    arrays.extend(episodes.reward.as_ref().map(|_| ("reward", "F32", vec![rows])));
    arrays.extend([("terminated", "BOOL", vec![rows]), ("truncated", "BOOL", vec![rows])]);
    let mut metadata = json!({
        "action_low": json!(sizes.action_low).to_string(),
        "action_high": json!(sizes.action_high).to_string(),
    });
    let Origin { environment, source, licence } = origin;
    for (key, text) in [("environment", environment), ("source", source), ("licence", licence)] {
        if let Some(text) = text {
            metadata[key] = json!(text);
        }
    }
    let (mut header, mut end) = (json!({ "__metadata__": metadata }), 0);
    for (name, dtype, shape) in arrays {
        let size = shape.iter().product::<usize>() * if dtype == "F32" { 4 } else { 1 };
        header[name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + size] });
        end += size;
    }
    let mut header = header.to_string().into_bytes();
    if header.len() as u64 > HEADER_LIMIT {
        return Err(DemonstrationError::Format(format!("a header of {} bytes", header.len())));
    }
    // So that the numbers behind it are aligned.
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut bytes = Vec::with_capacity(LENGTH as usize + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    let floats =
        |bytes: &mut Vec<u8>, values: &[f32]| bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    demonstrations.trajectories().for_each(|trajectory| floats(&mut bytes, trajectory.observation));
    floats(&mut bytes, &episodes.action);
    demonstrations.trajectories().for_each(|trajectory| floats(&mut bytes, trajectory.next_observation));
    floats(&mut bytes, episodes.reward.as_deref().unwrap_or(&[]));
    for flags in [&episodes.terminated, &episodes.truncated] {
        for (trajectory, flag) in demonstrations.trajectories().zip(flags) {
            bytes.resize(bytes.len() + trajectory.len() - 1, 0);
            bytes.push(u8::from(*flag));
        }
    }
    Ok(bytes)
}
