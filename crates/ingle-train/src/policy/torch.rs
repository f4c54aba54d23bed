//! What `torch.save` writes: a zip archive with a pickle of views and a file for each storage.

use std::collections::BTreeMap;

use super::archive::{Archive, SIZE_LIMIT};
use super::pickle::{Element, Id, Pickle, Storage, TensorReference, Value, shown};

/// The most tensors that are read of a file.
const TENSORS: usize = 10_000;

/// How deep dictionaries of tensors may be in each other.
const DEPTH: usize = 3;

/// A tensor on the host.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// Tensors by name, in the file's order.
pub(super) type StateDictionary = Vec<(String, Array)>;

/// The dictionaries of tensors in a file of `torch.save`: of a tuple or a list each of them, or the one that there is.
/// Dictionaries in a dictionary are one, their names joined by dots.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<StateDictionary>, String> {
    let archive = Archive::open(bytes)?;
    let Some(prefix) = archive.names().find_map(|name| name.strip_suffix("data.pkl")) else {
        return Err("it has no `data.pkl`, which `torch.save` writes".into());
    };
    let order = archive.read(&format!("{prefix}byteorder"))?;
    if order.is_some_and(|order| order != b"little") {
        return Err("its numbers are big-endian".into());
    }
    let pickle = archive.read(&format!("{prefix}data.pkl"))?.unwrap_or_default();
    let pickle = Pickle::read(&pickle)?;
    let mut reader = Reader {
        archive: &archive,
        prefix,
        pickle: &pickle,
        storages: BTreeMap::new(),
        unpacked: 0,
        elements: 0,
        tensors: 0,
    };
    let parts = match pickle.get(pickle.root) {
        Value::Tuple(items) | Value::List(items) => items.clone(),
        _ => vec![pickle.root],
    };
    let dictionary = |id: Id| {
        let mut tensors = Vec::new();
        reader.collect(id, "", 0, &mut tensors)?;
        Ok(tensors)
    };
    parts.into_iter().map(dictionary).collect()
}

struct Reader<'a> {
    archive: &'a Archive<'a>,
    prefix: &'a str,
    pickle: &'a Pickle,
    storages: BTreeMap<String, Vec<u8>>,
    /// Bytes of all storages, and elements and number of all tensors so far: views may be many of one storage.
    unpacked: u64,
    elements: u64,
    tensors: usize,
}

impl Reader<'_> {
    fn collect(
        &mut self,
        id: Id,
        path: &str,
        depth: usize,
        tensors: &mut StateDictionary,
    ) -> Result<(), String> {
        let Value::Dictionary(items) = self.pickle.get(id) else {
            return Err("it is no dictionary of tensors (save `model.state_dict()`)".into());
        };
        for (key, value) in items {
            let Value::Text(key) = self.pickle.get(*key) else { continue };
            let name = format!("{path}{key}");
            self.tensors += 1;
            if self.tensors > TENSORS {
                return Err(format!("it has more than {TENSORS} items"));
            }
            match self.pickle.get(*value) {
                Value::Tensor(tensor) => {
                    let array = self.array(tensor).map_err(|reason| format!("{}: {reason}", shown(&name)))?;
                    tensors.push((name, array));
                }
                Value::Dictionary(_) if depth < DEPTH => {
                    self.collect(*value, &format!("{name}."), depth + 1, tensors)?;
                }
                Value::Dictionary(_) => return Err("its dictionaries are too deep in each other".into()),
                // Counters and the like.
                _ => {}
            }
        }
        Ok(())
    }

    /// The elements of a view, in order.
    fn array(&mut self, tensor: &TensorReference) -> Result<Array, String> {
        let TensorReference { storage, offset, size, stride } = tensor;
        let odd = || "its sizes make no sense".to_owned();
        if size.len() != stride.len() {
            return Err(odd());
        }
        let sizes: Vec<u64> =
            size.iter().map(|size| u64::try_from(*size)).collect::<Result<_, _>>().map_err(|_| odd())?;
        let strides: Vec<u64> = stride
            .iter()
            .map(|stride| u64::try_from(*stride))
            .collect::<Result<_, _>>()
            .map_err(|_| odd())?;
        let count =
            sizes.iter().try_fold(1_u64, |product, size| product.checked_mul(*size)).ok_or_else(odd)?;
        let first = u64::try_from(*offset).map_err(|_| odd())?;
        // The last element of the view is in the storage, and so are all others; an expanded view has more than that.
        let last = sizes.iter().zip(&strides).try_fold(first, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
        if count > storage.count || (count > 0 && last.is_none_or(|last| last >= storage.count)) {
            return Err(odd());
        }
        self.elements += count;
        if self.elements.saturating_mul(4) > SIZE_LIMIT {
            return Err("the tensors of the file are too large".into());
        }
        let bytes = self.storage(storage)?;
        let mut values = Vec::with_capacity(count as usize);
        let mut index = vec![0_u64; sizes.len()];
        for _ in 0..count {
            let place = first + index.iter().zip(&strides).map(|(index, stride)| index * stride).sum::<u64>();
            values.push(element(bytes, storage.element, place as usize).ok_or_else(odd)?);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < sizes[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        Ok(Array { shape: sizes.into_iter().map(|size| size as usize).collect(), values })
    }

    fn storage(&mut self, storage: &Storage) -> Result<&[u8], String> {
        if !self.storages.contains_key(&storage.key) {
            let name = format!("{}data/{}", self.prefix, storage.key);
            let Some(bytes) = self.archive.read(&name)? else {
                return Err(format!("{} is not in the file", shown(&name)));
            };
            self.unpacked += bytes.len() as u64;
            if self.unpacked > SIZE_LIMIT {
                return Err("the tensors of the file are too large".into());
            }
            self.storages.insert(storage.key.clone(), bytes);
        }
        let bytes = self.storages.get(&storage.key).map(Vec::as_slice).unwrap_or_default();
        let width = match storage.element {
            Element::F32 => 4,
            Element::F64 => 8,
        };
        if storage.count.checked_mul(width) != Some(bytes.len() as u64) {
            return Err(format!("{} bytes are not {} elements", bytes.len(), storage.count));
        }
        Ok(bytes)
    }
}

fn element(bytes: &[u8], element: Element, place: usize) -> Option<f32> {
    match element {
        Element::F32 => bytes.as_chunks().0.get(place).map(|bytes| f32::from_le_bytes(*bytes)),
        Element::F64 => bytes.as_chunks().0.get(place).map(|bytes| f64::from_le_bytes(*bytes) as f32),
    }
}
