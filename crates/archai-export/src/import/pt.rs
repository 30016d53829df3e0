//! PyTorch's files of weights, read without PyTorch: the archive that `torch.save` writes since 1.6 and the stream that it
//! wrote before. [`super::pickle`] says what of their pickles is read.
//!
//! Why not a library: those that there are (burn's `pytorch-reader` 0.22 among them) take a pickle that calls anything for
//! one that holds less, so that a file which is more than weights is read without a word.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::pickle::{self, Pickle, Storage, Type, Value, View};
use crate::{NamedTensor, invalid};

/// Longest list of tensors in an archive, which is some hundred bytes for each of them.
const MAX_PICKLE: u64 = 64 << 20;

/// A tensor of a file, and whether it holds whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct PtTensor {
    /// The tensor. Numbers of 16 and 32 bits are exact in it, whole ones up to 2⁵³.
    pub tensor: NamedTensor,
    /// Whether it holds whole numbers: what is counted, and no weights.
    pub whole: bool,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict {
    /// The tensors in their order.
    pub tensors: Vec<PtTensor>,
    /// Where in a checkpoint they stood, if it holds more than them: `state_dict`.
    pub under: Option<String>,
    /// What else stands in the checkpoint: `epoch`, `optimizer`.
    pub beside: Vec<String>,
}

/// Whether the bytes look like a file of PyTorch, of whatever form.
pub fn is_pt(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK") || bytes.starts_with(&[0x80]) || is_tar(bytes)
}

/// PyTorch's first form, before 0.1.10.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// Reads a file of weights: a state dict, or a checkpoint (a dictionary) that holds one. Tensors have numbers of 16, 32 or
/// 64 bits or whole numbers of 64 bits.
///
/// ```
/// use archai_export::{NamedTensor, import::read_pt, write_pt};
/// let tensor = NamedTensor { name: "w".into(), shape: vec![2], values: vec![0.5, -1.0] };
/// let mut file = Vec::new();
/// write_pt(&mut file, &[tensor.clone()])?;
/// assert_eq!(read_pt(&file)?.tensors[0].tensor, tensor);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// It is no such file or is damaged; it holds anything else (by name), or no state dict, or several.
pub fn read_pt(bytes: &[u8]) -> io::Result<StateDict> {
    if bytes.starts_with(b"PK") {
        archive(bytes)
    } else if is_tar(bytes) {
        Err(invalid(format!(
            "it is a file of PyTorch before 0.1.10; {REMEDY}"
        )))
    } else if bytes.starts_with(&MAGIC) {
        stream(bytes)
    } else if bytes.starts_with(&[0x80]) {
        Err(invalid(format!(
            "it is a pickle, but no file of PyTorch; {REMEDY}"
        )))
    } else {
        Err(invalid(format!("it is no file of PyTorch; {REMEDY}")))
    }
}

const REMEDY: &str = "expected what torch.save(model.state_dict(), FILE) writes";

/// The pickle of the number that the older form starts with.
const MAGIC: [u8; 15] = [
    0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.',
];
/// The version of the older form; there has been no other.
const STREAM_VERSION: i64 = 1001;

/// An archive: `NAME/data.pkl`, and `NAME/data/KEY` for each storage.
fn archive(bytes: &[u8]) -> io::Result<StateDict> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(zip_error)?;
    let names = zip.file_names().map(|name| name.map(String::from));
    let names: Vec<String> = names.collect::<Result<_, _>>().map_err(zip_error)?;
    let mut lists = names
        .iter()
        .filter_map(|name| name.strip_suffix("data.pkl"));
    let folder = lists
        .next()
        .filter(|folder| folder.is_empty() || folder.ends_with('/'));
    let Some(folder) = folder.map(str::to_string) else {
        return Err(invalid(format!(
            "it is an archive, but without `data.pkl`, PyTorch's list of tensors; {REMEDY}"
        )));
    };
    let holds = |name: &str| names.iter().any(|n| *n == format!("{folder}{name}"));
    if lists.next().is_some() || holds("constants.pkl") {
        return Err(invalid(format!(
            "it is a network of TorchScript, which holds a program; {REMEDY}"
        )));
    }
    if holds("byteorder") {
        let order = entry(&mut zip, &format!("{folder}byteorder"), 16)?;
        if order != b"little" {
            return Err(invalid(format!(
                "its numbers are {}-endian; expected little-endian ones",
                String::from_utf8_lossy(&order)
            )));
        }
    }
    let list = entry(&mut zip, &format!("{folder}data.pkl"), MAX_PICKLE)?;
    let (pickle, value, end) = pickle::read(&list)?;
    if end != list.len() {
        return Err(invalid(
            "its list of tensors is damaged: something stands behind it".into(),
        ));
    }
    let found = Found::new(&pickle, value)?;
    let mut storages = HashMap::new();
    // No entry is larger than the file, but several might lie on one another.
    let mut rest = bytes.len() as u64;
    for i in found.storages() {
        let storage = &pickle.storages[i];
        let name = format!("{folder}data/{}", storage.key);
        let size = byte_length(storage)?;
        let numbers = entry(&mut zip, &name, rest)?;
        rest -= numbers.len() as u64;
        if numbers.len() != size {
            return Err(invalid(format!(
                "the entry `{name}` should hold {} numbers of {} bytes and has {} bytes",
                storage.len,
                storage.numbers.size(),
                numbers.len()
            )));
        }
        storages.insert(i, numbers);
    }
    found.tensors(|i| storages.get(&i).map(Vec::as_slice))
}

/// An entry of an archive that is as long as it says.
fn entry(zip: &mut ZipArchive<Cursor<&[u8]>>, name: &str, most: u64) -> io::Result<Vec<u8>> {
    let file = zip.by_name(name).map_err(|e| match e {
        ZipError::FileNotFound => invalid(format!("its archive has no entry `{name}`")),
        other => zip_error(other),
    })?;
    if file.compression() != CompressionMethod::Stored {
        return Err(invalid(format!(
            "its entry `{name}` is compressed, which torch.save never does; {REMEDY}"
        )));
    }
    if file.size() > most {
        return Err(invalid(format!(
            "its entry `{name}` claims {} bytes; expected at most {most}",
            file.size()
        )));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn zip_error(error: ZipError) -> io::Error {
    invalid(format!("its archive is damaged: {error}"))
}

/// The older form: pickles of a version, of the machine, of the state dict and of the storages' names in their order, then
/// each storage as its length and its numbers.
fn stream(bytes: &[u8]) -> io::Result<StateDict> {
    let mut at = MAGIC.len();
    let mut next = || -> io::Result<(Pickle, Value)> {
        let (pickle, value, taken) = pickle::read(&bytes[at..])?;
        at += taken;
        Ok((pickle, value))
    };
    let (_, version) = next()?;
    if version != Value::Int(STREAM_VERSION) {
        return Err(invalid(format!(
            "it has another version than {STREAM_VERSION}; {REMEDY}"
        )));
    }
    let (machine, system) = next()?;
    let system = machine.entries(system).unwrap_or_default();
    let little = |&(key, value): &(Value, Value)| {
        machine.text(key) == Some("little_endian") && value == Value::Bool(true)
    };
    if !system.iter().any(little) {
        return Err(invalid(
            "its numbers are big-endian; expected little-endian ones".into(),
        ));
    }
    let (pickle, value) = next()?;
    let found = Found::new(&pickle, value)?;
    let (list, keys) = next()?;
    let mut storages = HashMap::new();
    for &key in list.items(keys).unwrap_or_default() {
        let key = list.text(key).unwrap_or_default();
        let known = pickle
            .storages
            .iter()
            .position(|storage| storage.key == key);
        let known = known.ok_or_else(|| {
            invalid(format!(
                "it holds numbers `{key}` that its list of tensors does not name"
            ))
        })?;
        let size = byte_length(&pickle.storages[known])?;
        let cut = || invalid("it ends in the middle of its numbers".into());
        let (length, rest) = bytes[at..].split_first_chunk::<8>().ok_or_else(cut)?;
        if u64::from_le_bytes(*length) != pickle.storages[known].len as u64 {
            return Err(invalid(format!(
                "it should hold {} numbers `{key}` and holds {}",
                pickle.storages[known].len,
                u64::from_le_bytes(*length)
            )));
        }
        storages.insert(known, rest.get(..size).ok_or_else(cut)?);
        at += 8 + size;
    }
    if at != bytes.len() {
        return Err(invalid(format!(
            "{} bytes stand behind its last numbers",
            bytes.len() - at
        )));
    }
    found.tensors(|i| storages.get(&i).copied())
}

fn byte_length(storage: &Storage) -> io::Result<usize> {
    let size = storage.len.checked_mul(storage.numbers.size());
    size.ok_or_else(|| {
        invalid(format!(
            "the numbers `{}` claim to be {}",
            storage.key, storage.len
        ))
    })
}

/// The state dict within what a file's pickle made.
struct Found<'a> {
    pickle: &'a Pickle,
    tensors: Vec<(&'a str, &'a View)>,
    under: Option<String>,
    beside: Vec<String>,
}

impl<'a> Found<'a> {
    fn new(pickle: &'a Pickle, value: Value) -> io::Result<Self> {
        let Some(entries) = pickle.entries(value) else {
            return Err(invalid(format!(
                "it holds {} and no dictionary of tensors; {REMEDY}",
                pickle.kind(value)
            )));
        };
        let is_tensor = |&(_, value): &(Value, Value)| pickle.view(value).is_some();
        if entries.iter().any(is_tensor) {
            return Ok(Found {
                pickle,
                tensors: state_dict(pickle, entries)?,
                under: None,
                beside: Vec::new(),
            });
        }
        // A checkpoint: what else it holds is not weights, such as an optimiser's state, whose keys are numbers.
        let holds = |value: Value| {
            let inner = pickle.entries(value).unwrap_or_default();
            inner.iter().any(is_tensor) && inner.iter().all(|&(key, _)| pickle.text(key).is_some())
        };
        let name = |key: Value| pickle.text(key).unwrap_or("?").to_string();
        let (with, beside): (Vec<_>, Vec<_>) = entries
            .iter()
            .copied()
            .partition(|&(_, value)| holds(value));
        match with.as_slice() {
            [(key, value)] => Ok(Found {
                pickle,
                tensors: state_dict(pickle, pickle.entries(*value).unwrap_or_default())?,
                under: Some(name(*key)),
                beside: beside.iter().map(|(key, _)| name(*key)).collect(),
            }),
            [] => Err(invalid(format!("it holds no tensors; {REMEDY}"))),
            several => {
                let names = several.iter().map(|(key, _)| format!("`{}`", name(*key)));
                Err(invalid(format!(
                    "it holds several dictionaries of tensors, {}; save the one that you mean alone: {REMEDY}",
                    names.collect::<Vec<_>>().join(", ")
                )))
            }
        }
    }

    /// The storages that the tensors need, each once.
    fn storages(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.tensors.iter().map(|(_, view)| view.storage).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The tensors, whose numbers are given.
    fn tensors<'n>(self, numbers: impl Fn(usize) -> Option<&'n [u8]>) -> io::Result<StateDict> {
        // Tied weights are one storage under two names; a hundred names for it are no network.
        let own = |&i: &usize| self.pickle.storages[i].len;
        let mut rest = self
            .storages()
            .iter()
            .map(own)
            .fold(0, usize::saturating_add);
        rest = rest.saturating_mul(4);
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for &(name, view) in &self.tensors {
            let storage = &self.pickle.storages[view.storage];
            let at = |e: &str| invalid(format!("tensor `{name}` of shape {:?} {e}", view.shape));
            let bytes = numbers(view.storage);
            let bytes = bytes.ok_or_else(|| at("has numbers that are not in the file"))?;
            let n =
                n_numbers(view, storage).ok_or_else(|| at("does not lie within its numbers"))?;
            rest = rest.checked_sub(n).ok_or_else(|| {
                at("is one of many that share their numbers, which no network does")
            })?;
            tensors.push(PtTensor {
                tensor: NamedTensor {
                    name: name.to_string(),
                    shape: view.shape.clone(),
                    values: gathered(view, n, storage.numbers, bytes),
                },
                whole: storage.numbers == Type::I64,
            });
        }
        Ok(StateDict {
            tensors,
            under: self.under,
            beside: self.beside,
        })
    }
}

fn state_dict<'a>(
    pickle: &'a Pickle,
    entries: &[(Value, Value)],
) -> io::Result<Vec<(&'a str, &'a View)>> {
    let mut tensors = Vec::with_capacity(entries.len());
    for &(key, value) in entries {
        let Some(name) = pickle.text(key) else {
            return Err(invalid(format!(
                "a tensor is called by {}; expected a text",
                pickle.kind(key)
            )));
        };
        let view = pickle.view(value).ok_or_else(|| {
            invalid(format!(
                "`{name}` is {}; expected a tensor",
                pickle.kind(value)
            ))
        })?;
        tensors.push((name, view));
    }
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(invalid(format!("two tensors are called `{}`", pair[0]))),
        None => Ok(tensors),
    }
}

/// How many numbers a tensor has; `None` if they do not all lie in the storage, or one of them is several of the tensor's.
fn n_numbers(view: &View, storage: &Storage) -> Option<usize> {
    let n = view
        .shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d))?;
    if n == 0 {
        return Some(0);
    }
    let mut last = view.offset;
    for (&d, &stride) in view.shape.iter().zip(&view.stride) {
        last = last.checked_add((d - 1).checked_mul(stride)?)?;
    }
    (last < storage.len && n <= storage.len).then_some(n)
}

/// The `n` numbers of a tensor in row-major order, all of which lie in `bytes`.
fn gathered(view: &View, n: usize, numbers: Type, bytes: &[u8]) -> Vec<f64> {
    let size = numbers.size();
    let mut values = Vec::with_capacity(n);
    let mut index = vec![0; view.shape.len()];
    let mut at = view.offset;
    while values.len() < n {
        values.push(number(numbers, &bytes[at * size..(at + 1) * size]));
        // The next place, like the wheels of a counter.
        for d in (0..index.len()).rev() {
            index[d] += 1;
            at += view.stride[d];
            if index[d] < view.shape[d] {
                break;
            }
            at -= view.stride[d] * view.shape[d];
            index[d] = 0;
        }
    }
    values
}

fn number(numbers: Type, bytes: &[u8]) -> f64 {
    fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        array
    }
    match numbers {
        Type::F64 => f64::from_le_bytes(array(bytes)),
        Type::F32 => f32::from_le_bytes(array(bytes)).into(),
        Type::F16 => half(u16::from_le_bytes(array(bytes))),
        // The upper half of a number of 32 bits.
        Type::BF16 => f32::from_bits(u32::from(u16::from_le_bytes(array(bytes))) << 16).into(),
        Type::I64 => i64::from_le_bytes(array(bytes)) as f64,
    }
}

/// A number of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits & 0x8000 != 0 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    sign * size
}
