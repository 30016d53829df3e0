//! The part of Python's pickle in which PyTorch says what a file of weights holds, and nothing else of it.
//!
//! A pickle is a program for a stack machine, and a general reader of it runs whatever functions the file names. This one
//! knows six names, all of which only put tensors together; any other name, and any instruction that would make an object
//! of a class, ends the reading with an error that says it. Nothing is looked up and nothing is run.
//!
//! Containers lie side by side in [`Pickle::objects`] and refer to each other by index. So a value takes no more than the
//! instruction that made it, however often it is repeated, and nothing here recurses.

use std::collections::HashMap;
use std::io;

use crate::invalid;

/// What numbers a storage holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    F64,
    F32,
    F16,
    BF16,
    I64,
}

impl Type {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Type::F64 | Type::I64 => 8,
            Type::F32 => 4,
            Type::F16 | Type::BF16 => 2,
        }
    }
}

/// A function or a class that a file of weights may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    OrderedDict,
    Storage(Type),
    /// `(storage, offset, size, stride, …)`: a tensor; what follows are settings of training.
    Tensor,
    /// `(tensor, …)`: a tensor that was a parameter.
    Parameter,
}

impl Known {
    fn named(module: &str, name: &str) -> Option<Known> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Known::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Known::Tensor,
            ("torch._utils", "_rebuild_parameter") => Known::Parameter,
            ("torch", "DoubleStorage") => Known::Storage(Type::F64),
            ("torch", "FloatStorage") => Known::Storage(Type::F32),
            ("torch", "HalfStorage") => Known::Storage(Type::F16),
            ("torch", "BFloat16Storage") => Known::Storage(Type::BF16),
            ("torch", "LongStorage") => Known::Storage(Type::I64),
            _ => return None,
        })
    }
}

/// A value on the stack. Those that hold others are indices of [`Pickle::objects`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Known(Known),
    Object(usize),
}

/// What a value refers to.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Text(String),
    /// Bytes that are no text, such as what Python 2 pickled.
    Bytes,
    Tuple(Vec<Value>),
    List(Vec<Value>),
    /// In the order in which the entries were set.
    Dict(Vec<(Value, Value)>),
    /// A storage, by its number in [`Pickle::storages`].
    Storage(usize),
    Tensor(View),
}

/// Numbers that stand together in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    /// Its name in the file.
    pub key: String,
    pub numbers: Type,
    /// How many there are.
    pub len: usize,
}

/// A tensor: some of the numbers of a storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub storage: usize,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// What a pickle made.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub objects: Vec<Object>,
    pub storages: Vec<Storage>,
    by_key: HashMap<String, usize>,
}

/// Most dimensions of a tensor; convolutions have four.
const MAX_DIMENSIONS: usize = 16;
/// Most arguments of a call; tensors are made of six or seven.
const MAX_ARGUMENTS: usize = 16;

/// Reads one pickle from the front of `bytes`. Gives its value and how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> io::Result<(Pickle, Value, usize)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
        pickle: Pickle::default(),
    };
    let value = machine.run()?;
    Ok((machine.pickle, value, machine.at))
}

impl Pickle {
    /// A text.
    pub fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a dictionary.
    pub fn entries(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list or a tuple.
    pub fn items(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(items) | Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// A tensor.
    pub fn view(&self, value: Value) -> Option<&View> {
        match self.object(value)? {
            Object::Tensor(view) => Some(view),
            _ => None,
        }
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(i) => self.objects.get(i),
            _ => None,
        }
    }

    /// What a value is, for errors.
    pub fn kind(&self, value: Value) -> &'static str {
        match (value, self.object(value)) {
            (Value::None, _) => "None",
            (Value::Bool(_), _) => "a truth value",
            (Value::Int(_), _) => "a whole number",
            (Value::Float(_), _) => "a number",
            (Value::Known(_), _) => "a function",
            (_, Some(Object::Text(_))) => "a text",
            (_, Some(Object::Bytes)) => "bytes",
            (_, Some(Object::Tuple(_))) => "a tuple",
            (_, Some(Object::List(_))) => "a list",
            (_, Some(Object::Dict(_))) => "a dictionary",
            (_, Some(Object::Storage(_))) => "a storage",
            (_, Some(Object::Tensor(_))) => "a tensor",
            (Value::Object(_), None) => "nothing",
        }
    }

    fn add(&mut self, object: Object) -> Value {
        self.objects.push(object);
        Value::Object(self.objects.len() - 1)
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Entries of dictionaries that were made of lists.
    copied: usize,
    pickle: Pickle,
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    invalid(format!("its list of tensors is damaged: {what}"))
}

/// What to do about a file that holds more than tensors.
const REMEDY: &str = "save the weights alone, in PyTorch with torch.save(model.state_dict(), FILE)";

impl<'a> Machine<'a> {
    fn run(&mut self) -> io::Result<Value> {
        loop {
            let at = self.at;
            let [code] = self.array()?;
            match code {
                // PROTO: torch.save has always written 2.
                0x80 => match self.array()? {
                    [2 | 3] => {}
                    [protocol] => {
                        return Err(invalid(format!(
                            "its pickle has protocol {protocol}; expected 2, which torch.save writes: {REMEDY}"
                        )));
                    }
                },
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.marked()?),
                b'N' => self.stack.push(Value::None),
                0x88 => self.stack.push(Value::Bool(true)),
                0x89 => self.stack.push(Value::Bool(false)),
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(number.into()));
                }
                b'K' => {
                    let [number] = self.array()?;
                    self.stack.push(Value::Int(number.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.array()?);
                    self.stack.push(Value::Int(number.into()));
                }
                0x8a => self.long()?,
                b'G' => {
                    let number = f64::from_be_bytes(self.array()?);
                    self.stack.push(Value::Float(number));
                }
                b'X' | b'T' | b'B' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.text(length as usize, code == b'X')?;
                }
                b'U' | b'C' => {
                    let [length] = self.array()?;
                    self.text(length.into(), false)?;
                }
                b']' => self.push(Object::List(Vec::new())),
                b'}' => self.push(Object::Dict(Vec::new())),
                b')' => self.push(Object::Tuple(Vec::new())),
                b't' => {
                    let items = self.marked()?;
                    self.push(Object::Tuple(items));
                }
                0x85..=0x87 => {
                    let n = usize::from(code - 0x84);
                    let start = self
                        .stack
                        .len()
                        .checked_sub(n)
                        .filter(|&s| s >= self.floor());
                    let start =
                        start.ok_or_else(|| damaged("a tuple of more values than there are"))?;
                    let items = self.stack.split_off(start);
                    self.push(Object::Tuple(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.marked()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.marked()?;
                    self.set_items(&items)?;
                }
                b'q' => {
                    let [slot] = self.array()?;
                    self.keep(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.keep(slot)?;
                }
                b'h' => {
                    let [slot] = self.array()?;
                    self.fetch(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.fetch(slot)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    let known = Known::named(&module, &name).ok_or_else(|| {
                        invalid(format!(
                            "it names `{module}.{name}`; a file of weights holds tensors of 16, 32 and 64 bits and whole numbers \
                             of 64 bits, and nothing else is read: {REMEDY}"
                        ))
                    })?;
                    self.stack.push(Value::Known(known));
                }
                b'R' => self.call()?,
                b'b' => self.attributes()?,
                b'Q' => self.storage()?,
                other => {
                    return Err(invalid(format!(
                        "its pickle has the instruction 0x{other:02x} at byte {at}{}, which no list of tensors needs: {REMEDY}",
                        name_of(other)
                    )));
                }
            }
        }
    }

    fn take(&mut self, n: usize) -> io::Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(n)
            .filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| damaged("it ends in the middle"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A text up to the end of the line.
    fn line(&mut self) -> io::Result<String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(1000).position(|&b| b == b'\n');
        let length = length.ok_or_else(|| damaged("a name that does not end"))?;
        let line = self.take(length + 1)?;
        Ok(String::from_utf8_lossy(&line[..length]).into_owned())
    }

    /// A whole number of any length, of which 64 bits are enough.
    fn long(&mut self) -> io::Result<()> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Err(damaged("a whole number of more than 64 bits"));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    /// A text. Python 2 wrote texts as bytes.
    fn text(&mut self, length: usize, must_be: bool) -> io::Result<()> {
        let bytes = self.take(length)?;
        let object = match std::str::from_utf8(bytes) {
            Ok(text) => Object::Text(text.to_string()),
            Err(_) if must_be => return Err(damaged("a text that is not UTF-8")),
            Err(_) => Object::Bytes,
        };
        self.push(object);
        Ok(())
    }

    fn push(&mut self, object: Object) {
        let value = self.pickle.add(object);
        self.stack.push(value);
    }

    /// Height of the stack below which nothing may be taken before the mark is.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> io::Result<Value> {
        match self.stack.len() > self.floor() {
            true => self
                .stack
                .pop()
                .ok_or_else(|| damaged("a value is missing")),
            false => Err(damaged("a value is missing")),
        }
    }

    /// What stands above the last mark.
    fn marked(&mut self) -> io::Result<Vec<Value>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn keep(&mut self, slot: u32) -> io::Result<()> {
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(slot, value);
        Ok(())
    }

    fn fetch(&mut self, slot: u32) -> io::Result<()> {
        let value = self.memo.get(&slot);
        let value = value.ok_or_else(|| damaged("it repeats a value that it has not named"))?;
        self.stack.push(*value);
        Ok(())
    }

    /// The object on top of the stack, which stays there.
    fn top(&mut self) -> io::Result<&mut Object> {
        let value = self.pop()?;
        self.stack.push(value);
        match value {
            Value::Object(i) => Ok(&mut self.pickle.objects[i]),
            _ => Err(damaged("something is put into a value that holds nothing")),
        }
    }

    fn append(&mut self, items: Vec<Value>) -> io::Result<()> {
        match self.top()? {
            Object::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(damaged("something is appended to what is no list")),
        }
    }

    fn set_items(&mut self, items: &[Value]) -> io::Result<()> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(damaged("a key without a value"));
        }
        match self.top()? {
            Object::Dict(entries) => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(damaged("an entry is set in what is no dictionary")),
        }
    }

    /// Attributes of the object below. A state dict keeps the versions of its modules there, which say nothing of the
    /// numbers.
    fn attributes(&mut self) -> io::Result<()> {
        let _versions = self.pop()?;
        match self.top()? {
            Object::Dict(_) => Ok(()),
            _ => Err(invalid(format!(
                "it sets the attributes of an object that is no dictionary: {REMEDY}"
            ))),
        }
    }

    fn call(&mut self) -> io::Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Known(function) = function else {
            return Err(damaged("a call of what is no function"));
        };
        // A tuple that is repeated is copied each time, so it must be short.
        let arguments = self
            .pickle
            .items(arguments)
            .filter(|all| all.len() <= MAX_ARGUMENTS);
        let arguments =
            arguments.ok_or_else(|| damaged("a call without arguments, or with too many"))?;
        let arguments = arguments.to_vec();
        match (function, arguments.as_slice()) {
            (Known::OrderedDict, []) => self.push(Object::Dict(Vec::new())),
            // Python 2: a list of pairs.
            (Known::OrderedDict, &[list]) => {
                let pairs = self.pickle.items(list).unwrap_or_default().to_vec();
                // A list that is repeated must not become more than the file is.
                self.copied += pairs.len();
                if self.copied > self.bytes.len() {
                    return Err(damaged("it makes many dictionaries of one list"));
                }
                let mut entries = Vec::with_capacity(pairs.len());
                for pair in pairs {
                    match self.pickle.items(pair) {
                        Some(&[key, value]) => entries.push((key, value)),
                        _ => return Err(damaged("a dictionary of what are no pairs")),
                    }
                }
                self.push(Object::Dict(entries));
            }
            (Known::Tensor, &[storage, offset, shape, stride, ..]) => {
                let view = self.view_of(storage, offset, shape, stride)?;
                self.push(Object::Tensor(view));
            }
            (Known::Parameter, &[tensor, ..]) if self.pickle.view(tensor).is_some() => {
                self.stack.push(tensor);
            }
            (Known::Storage(_), _) => {
                return Err(damaged(
                    "numbers that stand in the list itself and not beside it",
                ));
            }
            _ => return Err(damaged("a tensor is made of what makes none")),
        }
        Ok(())
    }

    fn view_of(
        &self,
        storage: Value,
        offset: Value,
        shape: Value,
        stride: Value,
    ) -> io::Result<View> {
        let numbers = |value: Value| -> Option<Vec<usize>> {
            let items = self.pickle.items(value)?;
            if items.len() > MAX_DIMENSIONS {
                return None;
            }
            let number = |item: &Value| match item {
                Value::Int(n) => usize::try_from(*n).ok(),
                _ => None,
            };
            items.iter().map(number).collect()
        };
        let storage = match self.pickle.object(storage) {
            Some(Object::Storage(i)) => *i,
            _ => return Err(damaged("a tensor without numbers")),
        };
        let offset = match offset {
            Value::Int(n) => usize::try_from(n).ok(),
            _ => None,
        };
        match (offset, numbers(shape), numbers(stride)) {
            (Some(offset), Some(shape), Some(stride)) if shape.len() == stride.len() => Ok(View {
                storage,
                offset,
                shape,
                stride,
            }),
            _ => Err(damaged("a tensor whose shape is none")),
        }
    }

    /// A reference to a storage: `('storage', class, key, device, length, …)`.
    fn storage(&mut self) -> io::Result<()> {
        let reference = self.pop()?;
        let parts = self.pickle.items(reference).unwrap_or_default();
        let (kind, rest) = match parts {
            [kind, rest @ ..] => (self.pickle.text(*kind), rest),
            [] => (None, parts),
        };
        let (numbers, key, len) = match (kind, rest) {
            // The last part is a view on another storage, which files of the older form may have.
            (
                Some("storage"),
                &[
                    Value::Known(Known::Storage(numbers)),
                    key,
                    _,
                    Value::Int(len),
                ],
            )
            | (
                Some("storage"),
                &[
                    Value::Known(Known::Storage(numbers)),
                    key,
                    _,
                    Value::Int(len),
                    Value::None,
                ],
            ) => (numbers, self.pickle.text(key), usize::try_from(len).ok()),
            _ => return Err(damaged("numbers of which it is not said where they are")),
        };
        let (Some(key), Some(len)) = (key.map(str::to_string), len) else {
            return Err(damaged("numbers of which it is not said where they are"));
        };
        let storage = Storage { key, numbers, len };
        let number = match self.pickle.by_key.get(&storage.key) {
            Some(&i) if self.pickle.storages[i] == storage => i,
            Some(_) => {
                return Err(damaged(format!(
                    "it says two things of the numbers `{}`",
                    storage.key
                )));
            }
            None => {
                let i = self.pickle.storages.len();
                self.pickle.by_key.insert(storage.key.clone(), i);
                self.pickle.storages.push(storage);
                i
            }
        };
        self.push(Object::Storage(number));
        Ok(())
    }
}

/// What a refused instruction is for, where that is known.
fn name_of(code: u8) -> &'static str {
    match code {
        b'i' | b'o' | 0x81 | 0x92 => " (make an object of a class)",
        b'P' => " (an object that stands elsewhere)",
        0x82..=0x84 => " (a function by its number)",
        0x8c..=0x95 => " (of protocol 4)",
        _ => "",
    }
}
