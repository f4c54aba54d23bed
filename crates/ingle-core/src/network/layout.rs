//! Where each parameter tensor of a network lies in the flat vector.

use burn::tensor::Tensor;

/// Names, shapes and places of one member's parameter tensors in the flat vector `[P, N]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    size: usize,
}

/// One parameter tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    start: usize,
}

impl Layout {
    /// Appends a parameter tensor of one member (without the population axis).
    pub fn push(&mut self, name: impl Into<String>, shape: impl Into<Vec<usize>>) {
        let shape = shape.into();
        let start = self.size;
        self.size += shape.iter().product::<usize>();
        self.entries.push(Entry { name: name.into(), shape, start });
    }

    /// N: the number of parameters of one member.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The number of parameter tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The parameter tensors in order: name, shape of one member, and the first index in the flat vector.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[usize], usize)> {
        self.entries.iter().map(|entry| (entry.name.as_str(), entry.shape.as_slice(), entry.start))
    }

    /// The first index of parameter tensor `index` in the flat vector.
    pub(crate) fn start(&self, index: usize) -> usize {
        self.entries[index].start
    }

    /// Parameter tensor `index` of all members, flattened: `[P, n]`. With P = 1 this is a view.
    ///
    /// # Panics
    /// If there is no such tensor.
    pub fn slice(&self, flat: &Tensor<2>, index: usize) -> Tensor<2> {
        let entry = &self.entries[index];
        flat.clone().narrow(1, entry.start, entry.shape.iter().product())
    }
}
