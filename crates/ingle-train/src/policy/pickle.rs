//! Python's pickles, as far as `torch.save` needs them for tensors in dictionaries. Nothing that a file names is run.
//!
//! A pickle is a program for a stack machine, and a full reader runs whatever it names. This one knows the operations
//! that build numbers, text, tuples, lists and dictionaries, and the few names that make a tensor; everything else is
//! refused. Values lie in one list and refer to each other by place, so that nothing here recurses.

use std::collections::BTreeMap;

/// Where a value is.
pub(super) type Id = usize;

/// A value of a pickle.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// None, a truth value, or a number that means nothing here.
    Other,
    Integer(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Name(Name),
    Storage(Box<Storage>),
    Tensor(Box<TensorReference>),
}

/// The names that may be asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Name {
    OrderedDictionary,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

/// The types of elements that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
}

/// Elements in a file of their own.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    pub(super) element: Element,
    pub(super) key: String,
    pub(super) count: u64,
}

/// A tensor: a view of a storage.
#[derive(Debug, Clone)]
pub(super) struct TensorReference {
    pub(super) storage: Storage,
    pub(super) offset: i64,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
}

/// All values of a pickle, and which of them it is.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    pub(super) root: Id,
}

/// The largest pickle that is read: each operation of one byte may take some tens of bytes of memory. A tensor takes up
/// about 150 bytes of a pickle.
const LARGEST: usize = 4 << 20;

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// If it is cut off, or holds anything but tensors in dictionaries.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > LARGEST {
            return Err(format!("its pickle has {} bytes, at most {LARGEST} are read", bytes.len()));
        }
        let mut machine = Machine { bytes, ..Machine::default() };
        let root = machine.run()?;
        Ok(Self { values: machine.values, root })
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        self.values.get(id).unwrap_or(&Value::Other)
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    #[allow(clippy::too_many_lines)] // one arm for each operation
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let [operation] = self.array()?;
            match operation {
                b'.' => return self.pop(),
                // Protocol and frames.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                // Numbers, truth values, text.
                b'N' | 0x88 | 0x89 => self.push(Value::Other),
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Other);
                }
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Integer(number.into()));
                }
                b'K' => {
                    let [number] = self.array()?;
                    self.push(Value::Integer(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.push(Value::Integer(number.into()));
                }
                0x8a => self.long()?,
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize)?;
                }
                0x8c => {
                    let [length] = self.array()?;
                    self.text(length.into())?;
                }
                // Tuples, lists, dictionaries.
                b')' => self.push(Value::Tuple(Vec::new())),
                0x85..=0x87 => {
                    let count = usize::from(operation - 0x84);
                    let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
                    let items = self.stack.split_off(start.ok_or_else(underflow)?);
                    self.push(Value::Tuple(items));
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Tuple(items));
                }
                b']' => self.push(Value::List(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.list()?.push(item);
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.list()?.extend(items);
                }
                b'}' => self.push(Value::Dictionary(Vec::new())),
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.dictionary()?.push((key, value));
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
                    self.dictionary()?.extend(pairs);
                }
                // What was seen before.
                b'q' => {
                    let [index] = self.array()?;
                    self.remember(index.into())?;
                }
                b'r' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.remember(index)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let [index] = self.array()?;
                    self.recall(index.into())?;
                }
                b'j' => {
                    let index = u32::from_le_bytes(self.array()?);
                    self.recall(index)?;
                }
                // Names and what they make.
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Value::Name(known(module, name)?));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name])
                    else {
                        return Err("a name in it is no text".into());
                    };
                    let name = known(module, name)?;
                    self.push(Value::Name(name));
                }
                b'Q' => self.storage()?,
                b'R' => self.make()?,
                // What an ordered dictionary carries besides: the versions of the modules.
                b'b' => {
                    self.pop()?;
                    self.dictionary()?;
                }
                other => return Err(format!("its operation {other:#04x} makes something else than tensors")),
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or("it is cut off")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "it is cut off".into())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').ok_or("it is cut off")?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| "a name in it is no text".into())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// Where the values after the last mark begin.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.stack.len() <= self.floor() {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(mark))
    }

    /// The value on top, which stays there.
    fn top(&mut self) -> Result<&mut Value, String> {
        let top = self.stack.get(self.floor()..).and_then(<[Id]>::last).copied().ok_or_else(underflow)?;
        self.values.get_mut(top).ok_or_else(underflow)
    }

    fn list(&mut self) -> Result<&mut Vec<Id>, String> {
        match self.top()? {
            Value::List(items) => Ok(items),
            _ => Err("items are put into what is no list".into()),
        }
    }

    fn dictionary(&mut self) -> Result<&mut Vec<(Id, Id)>, String> {
        match self.top()? {
            Value::Dictionary(items) => Ok(items),
            _ => Err("it holds an object that is neither a dictionary nor a tensor".into()),
        }
    }

    fn text(&mut self, length: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a text in it is not UTF-8")?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    /// An integer of any length, of which 8 bytes are read.
    fn long(&mut self) -> Result<(), String> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Err("a number in it is too large".into());
        }
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        let mut number = [if negative { 0xff } else { 0 }; 8];
        number[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(number)));
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.stack.get(self.floor()..).and_then(<[Id]>::last).copied().ok_or_else(underflow)?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id = self.memo.get(&index).copied().ok_or("it refers to a value that it does not have")?;
        self.stack.push(id);
        Ok(())
    }

    /// `('storage', type, key, device, count)`.
    fn storage(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let Value::Tuple(items) = &self.values[id] else { return Err(no_tensor()) };
        let &[kind, element, key, _, count] = items.as_slice() else { return Err(no_tensor()) };
        let parts = (&self.values[kind], &self.values[element], &self.values[key], &self.values[count]);
        let (Value::Text(kind), Value::Name(Name::Storage(element)), Value::Text(key), Value::Integer(count)) =
            parts
        else {
            return Err(no_tensor());
        };
        let Some(count) = u64::try_from(*count).ok().filter(|_| kind == "storage") else {
            return Err(no_tensor());
        };
        let storage = Storage { element: *element, key: key.clone(), count };
        self.push(Value::Storage(Box::new(storage)));
        Ok(())
    }

    /// Calls a name with a tuple of arguments.
    fn make(&mut self) -> Result<(), String> {
        let (arguments, name) = (self.pop()?, self.pop()?);
        let (Value::Name(name), Value::Tuple(arguments)) = (&self.values[name], &self.values[arguments])
        else {
            return Err("it calls what is no name".into());
        };
        match (name, arguments.as_slice()) {
            (Name::OrderedDictionary, []) => self.push(Value::Dictionary(Vec::new())),
            (Name::RebuildTensor, &[storage, offset, size, stride, ..]) => {
                let (Value::Storage(storage), Value::Integer(offset)) =
                    (&self.values[storage], &self.values[offset])
                else {
                    return Err(no_tensor());
                };
                let tensor = TensorReference {
                    storage: Storage::clone(storage),
                    offset: *offset,
                    size: self.integers(size)?,
                    stride: self.integers(stride)?,
                };
                self.push(Value::Tensor(Box::new(tensor)));
            }
            (Name::RebuildParameter, &[tensor, ..]) => self.stack.push(tensor),
            _ => return Err(no_tensor()),
        }
        Ok(())
    }

    /// A tuple of a few integers.
    fn integers(&self, id: Id) -> Result<Vec<i64>, String> {
        let Value::Tuple(items) = &self.values[id] else { return Err(no_tensor()) };
        if items.len() > 8 {
            return Err("a tensor in it has more than 8 axes".into());
        }
        let integer = |id: &Id| match &self.values[*id] {
            Value::Integer(number) => Ok(*number),
            _ => Err(no_tensor()),
        };
        items.iter().map(integer).collect()
    }
}

fn known(module: &str, name: &str) -> Result<Name, String> {
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Name::OrderedDictionary),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Name::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => Ok(Name::RebuildParameter),
        ("torch", "FloatStorage") => Ok(Name::Storage(Element::F32)),
        ("torch", "DoubleStorage") => Ok(Name::Storage(Element::F64)),
        ("torch", other) if other.ends_with("Storage") => {
            Err(format!("a tensor in it has elements of type {other}: float32 and float64 are read"))
        }
        _ => Err(format!(
            "it asks for `{}.{}`: only dictionaries of tensors are read, and no code is run (save \
             `model.state_dict()`)",
            shown(module),
            shown(name)
        )),
    }
}

/// A name of a file for a message: short, and without control characters.
pub(super) fn shown(name: &str) -> String {
    name.chars().take(80).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn underflow() -> String {
    "it takes values that are not there".into()
}

fn no_tensor() -> String {
    "a tensor in it is not made as PyTorch makes them".into()
}
