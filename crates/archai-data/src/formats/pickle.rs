//! The part of Python's pickle in which the batches of CIFAR are written: a dictionary of an array of bytes, lists of whole
//! numbers and texts, and nothing else of it.
//!
//! A pickle is a program for a stack machine, and a general reader of it runs whatever functions the file names. This one knows
//! the four names with which NumPy writes an array of bytes; any other name, and any other instruction, ends the reading with
//! an error that says it. Nothing is looked up and nothing is run. Values that hold others lie side by side and are referred to
//! by number, so nothing here recurses, and nothing takes more than the instruction that made it.

use std::collections::HashMap;
use std::ops::Range;

/// A function or a class that a batch may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Makes an array that is filled afterwards.
    Reconstruct,
    Array,
    Type,
    /// Turns a text into the bytes that it stands for: so Python 3 writes bytes for Python 2.
    Encode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    Known(Known),
    Object(usize),
}

#[derive(Debug)]
enum Object {
    /// Bytes of the file: a text, or what Python 2 took for one.
    Bytes(Range<usize>),
    /// Bytes that were made from a text.
    Made(Vec<u8>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// The type of the numbers of an array: whether it is unsigned bytes.
    Type {
        is_bytes: bool,
    },
    /// An array of bytes in C order; none before it is filled.
    Array(Option<(Vec<u64>, Value)>),
}

/// An array of unsigned bytes: its sides, and what it holds.
pub(super) struct Bytes<'a> {
    pub(super) shape: &'a [u64],
    pub(super) bytes: &'a [u8],
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    objects: Vec<Object>,
    root: Value,
}

impl<'a> Pickle<'a> {
    /// Reads a batch.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Pickle<'a>, String> {
        let mut machine = Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            objects: Vec::new(),
            made: 0,
        };
        let at = |machine: &Machine<'_>, problem| format!("{problem} (byte {})", machine.at);
        let root = machine.run().map_err(|problem| at(&machine, problem))?;
        if machine.at != bytes.len() {
            return Err(at(&machine, "something stands behind its end".into()));
        }
        let objects = machine.objects;
        Ok(Pickle {
            bytes,
            objects,
            root,
        })
    }

    /// The keys of its dictionary.
    pub(super) fn keys(&self) -> Vec<String> {
        let text = |(key, _): &(Value, Value)| self.text(*key);
        self.entries().iter().filter_map(text).collect()
    }

    /// The array of bytes under a key.
    pub(super) fn array(&self, key: &str) -> Option<Bytes<'_>> {
        match self.object(self.get(key)?)? {
            Object::Array(Some((shape, bytes))) => Some(Bytes {
                shape,
                bytes: self.raw(*bytes)?,
            }),
            _ => None,
        }
    }

    /// The list of whole numbers under a key.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<i64>> {
        let number = |value: &Value| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        };
        self.list(key)?.iter().map(number).collect()
    }

    /// The list of texts under a key.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<String>> {
        self.list(key)?
            .iter()
            .map(|value| self.text(*value))
            .collect()
    }

    fn list(&self, key: &str) -> Option<&[Value]> {
        match self.object(self.get(key)?)? {
            Object::List(values) => Some(values),
            _ => None,
        }
    }

    fn entries(&self) -> &[(Value, Value)] {
        match self.object(self.root) {
            Some(Object::Dict(entries)) => entries,
            _ => &[],
        }
    }

    fn get(&self, key: &str) -> Option<Value> {
        let entry = self
            .entries()
            .iter()
            .find(|(name, _)| self.raw(*name) == Some(key.as_bytes()));
        entry.map(|(_, value)| *value)
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(number) => self.objects.get(number),
            _ => None,
        }
    }

    fn raw(&self, value: Value) -> Option<&[u8]> {
        match self.object(value)? {
            Object::Bytes(range) => self.bytes.get(range.clone()),
            Object::Made(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn text(&self, value: Value) -> Option<String> {
        Some(String::from_utf8_lossy(self.raw(value)?).into_owned())
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    objects: Vec<Object>,
    /// Bytes that were made from texts.
    made: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let [code] = self.array()?;
            match code {
                0x80 => match self.array()? {
                    [2..=4] => {}
                    [protocol] => {
                        return Err(format!(
                            "it has protocol {protocol}; 2, 3 and 4 are read: pickle.dump(batch, file, protocol=2)"
                        ));
                    }
                },
                // The length of what follows.
                0x95 => drop(self.array::<8>()?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
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
                b'U' | b'C' | 0x8c => {
                    let [length] = self.array()?;
                    self.take_bytes(length.into())?;
                }
                b'T' | b'X' | b'B' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.take_bytes(length.into())?;
                }
                0x8e => {
                    let length = u64::from_le_bytes(self.array()?);
                    self.take_bytes(length)?;
                }
                b']' => self.push(Object::List(Vec::new())),
                b'}' => self.push(Object::Dict(Vec::new())),
                b')' => self.push(Object::Tuple(Vec::new())),
                b't' => {
                    let values = self.marked()?;
                    self.push(Object::Tuple(values));
                }
                0x85..=0x87 => {
                    let values = (0..code - 0x84)
                        .map(|_| self.pop())
                        .collect::<Result<Vec<_>, _>>()?;
                    self.push(Object::Tuple(values.into_iter().rev().collect()));
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(&[value])?;
                }
                b'e' => {
                    let values = self.marked()?;
                    self.append(&values)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let values = self.marked()?;
                    self.set(&values)?;
                }
                b'q' => {
                    let [slot] = self.array()?;
                    self.keep(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(self.array()?);
                    self.keep(slot)?;
                }
                // Keeps the value in the next free place.
                0x94 => self.keep(self.memo.len() as u32)?,
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
                    self.name(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let text = |value| {
                        String::from_utf8_lossy(self.raw(value).unwrap_or_default()).into_owned()
                    };
                    let (module, name) = (text(module), text(name));
                    self.name(&module, &name)?;
                }
                b'R' => self.call()?,
                b'b' => self.build()?,
                other => {
                    return Err(format!(
                        "it has the instruction 0x{other:02x}, which no batch of pictures needs"
                    ));
                }
            }
        }
    }

    fn take(&mut self, n: u64) -> Result<Range<usize>, String> {
        let end = usize::try_from(n).ok().and_then(|n| self.at.checked_add(n));
        match end.filter(|&end| end <= self.bytes.len()) {
            Some(end) => {
                let range = self.at..end;
                self.at = end;
                Ok(range)
            }
            None => Err("it ends in the middle".into()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let range = self.take(N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes[range]);
        Ok(array)
    }

    fn take_bytes(&mut self, n: u64) -> Result<(), String> {
        let range = self.take(n)?;
        self.push(Object::Bytes(range));
        Ok(())
    }

    /// A text up to the end of the line.
    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(200).position(|&byte| byte == b'\n');
        let length = length.ok_or("it has a name that does not end")?;
        let range = self.take(length as u64 + 1)?;
        Ok(String::from_utf8_lossy(&self.bytes[range.start..range.end - 1]).into_owned())
    }

    fn long(&mut self) -> Result<(), String> {
        let [length] = self.array()?;
        let range = self.take(length.into())?;
        let bytes = &self.bytes[range];
        if bytes.len() > 8 {
            return Err("it has a whole number of more than 64 bits".into());
        }
        let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut all = [if is_negative { 0xff } else { 0 }; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    fn push(&mut self, object: Object) {
        self.objects.push(object);
        self.stack.push(Value::Object(self.objects.len() - 1));
    }

    fn pop(&mut self) -> Result<Value, String> {
        // Nothing below a mark may be taken before the mark is.
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or_else(|| "a value is missing".into()),
            false => Err("a value is missing".into()),
        }
    }

    /// What stands above the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn keep(&mut self, slot: u32) -> Result<(), String> {
        let value = self.pop()?;
        self.stack.push(value);
        self.memo.insert(slot, value);
        Ok(())
    }

    fn fetch(&mut self, slot: u32) -> Result<(), String> {
        let value = self.memo.get(&slot);
        self.stack
            .push(*value.ok_or("it repeats a value that it has not named")?);
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), String> {
        let known = match (module, name) {
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => {
                Known::Reconstruct
            }
            ("numpy", "ndarray") => Known::Array,
            ("numpy", "dtype") => Known::Type,
            ("_codecs", "encode") => Known::Encode,
            _ => {
                return Err(format!(
                    "it names `{module}.{name}`; a batch holds an array of bytes, numbers and texts, and nothing else is read"
                ));
            }
        };
        self.stack.push(Value::Known(known));
        Ok(())
    }

    fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(number) => self.objects.get(number),
            _ => None,
        }
    }

    fn raw(&self, value: Value) -> Option<&[u8]> {
        match self.object(value)? {
            Object::Bytes(range) => self.bytes.get(range.clone()),
            Object::Made(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn tuple(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::Tuple(values) => Some(values),
            _ => None,
        }
    }

    /// The object on top of the stack, which stays there.
    fn top(&mut self) -> Result<&mut Object, String> {
        let value = self.pop()?;
        self.stack.push(value);
        match value {
            Value::Object(number) => self
                .objects
                .get_mut(number)
                .ok_or_else(|| "a value is missing".into()),
            _ => Err("something is put into a value that holds nothing".into()),
        }
    }

    fn append(&mut self, values: &[Value]) -> Result<(), String> {
        match self.top()? {
            Object::List(list) => {
                list.extend(values);
                Ok(())
            }
            _ => Err("something is appended to what is no list".into()),
        }
    }

    fn set(&mut self, values: &[Value]) -> Result<(), String> {
        let (pairs, rest) = values.as_chunks::<2>();
        match self.top()? {
            Object::Dict(entries) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err("an entry is set in what is no dictionary".into()),
        }
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.tuple(arguments).unwrap_or_default();
        match (function, arguments) {
            (Value::Known(Known::Reconstruct), [Value::Known(Known::Array), ..]) => {
                self.push(Object::Array(None));
            }
            (Value::Known(Known::Type), [kind, ..]) => {
                let is_bytes = self.raw(*kind) == Some(b"u1");
                self.push(Object::Type { is_bytes });
            }
            (Value::Known(Known::Encode), &[text, code]) if self.raw(code) == Some(b"latin1") => {
                let text = self
                    .raw(text)
                    .and_then(|bytes| std::str::from_utf8(bytes).ok());
                let text = text.ok_or("it makes bytes of what is no text")?;
                // A text that is repeated must not become more than the file is.
                let made = self.made + text.len();
                if made > self.bytes.len() {
                    return Err("it makes bytes of one text many times".into());
                }
                let bytes = text.chars().map(|letter| u8::try_from(u32::from(letter)));
                let bytes = bytes.collect::<Result<Vec<u8>, _>>();
                let bytes =
                    bytes.map_err(|_| "it makes bytes of letters that are none".to_owned())?;
                self.made = made;
                self.push(Object::Made(bytes));
            }
            _ => return Err("it calls a function with arguments that no batch needs".into()),
        }
        Ok(())
    }

    /// Fills an array, or says more of a type, which matters only for others than bytes.
    fn build(&mut self) -> Result<(), String> {
        let state = self.pop()?;
        let Some(state) = self.tuple(state) else {
            return Err("it fills an object with what is no tuple".into());
        };
        // Of an array: version, sides, type, whether the first side changes fastest, and its bytes.
        let filled = match *state {
            [_, sides, kind, Value::Bool(false), bytes] => {
                let is_bytes = matches!(self.object(kind), Some(Object::Type { is_bytes: true }));
                let side = |value: &Value| match value {
                    Value::Int(side) => u64::try_from(*side).ok(),
                    _ => None,
                };
                let sides = self.tuple(sides).filter(|sides| sides.len() <= 8);
                let sides =
                    sides.and_then(|sides| sides.iter().map(side).collect::<Option<Vec<u64>>>());
                match (is_bytes, sides, self.raw(bytes)) {
                    (true, Some(sides), Some(_)) => Some((sides, bytes)),
                    _ => None,
                }
            }
            _ => None,
        };
        match (self.top()?, filled) {
            (Object::Type { .. }, _) => Ok(()),
            (Object::Array(array @ None), Some(filled)) => {
                *array = Some(filled);
                Ok(())
            }
            (Object::Array(_), _) => {
                Err("it has an array of others than unsigned bytes in C order".into())
            }
            _ => Err("it fills what is neither an array nor a type".into()),
        }
    }
}
