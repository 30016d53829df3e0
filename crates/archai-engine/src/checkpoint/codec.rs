//! A checkpoint as bytes: a first line with the version, a header with the checksum of every part, the parts. Whatever is
//! damaged is recognised.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Snapshot;
use crate::params::NamedTensor;

/// First line of a checkpoint file, but for its version.
const NAME: &[u8] = b"archai checkpoint ";
/// First line of a checkpoint file.
pub(super) const MAGIC: &[u8] = b"archai checkpoint 1\n";
/// The version of the files that are written and read here.
pub(super) const VERSION: u64 = 1;

/// A part of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) length: u64,
    pub(super) blake3: String,
}

/// The head of a checkpoint file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Number within the run, from 1.
    pub(super) sequence: u64,
    pub(super) scope: String,
    pub(super) finished: bool,
    /// What the writer of the logs needs on resuming, see [`CheckpointStore::open`].
    pub(super) mark: Value,
    pub(super) parts: Vec<Part>,
}

/// A tensor's place in the numbers of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorEntry {
    name: String,
    shape: Vec<usize>,
    /// Whether its numbers need 64 bits.
    wide: bool,
}

/// Values, and tensors, as bytes.
pub(super) fn encode(state: &Snapshot) -> io::Result<[Vec<u8>; 2]> {
    let (mut entries, mut numbers) = (Vec::with_capacity(state.tensors.len()), Vec::new());
    for t in &state.tensors {
        // Numbers of 32 bits come back exactly from 32 bits.
        let wide = t
            .values
            .iter()
            .any(|&v| f64::from(v as f32).to_bits() != v.to_bits());
        for &v in &t.values {
            match wide {
                true => numbers.extend_from_slice(&v.to_le_bytes()),
                false => numbers.extend_from_slice(&(v as f32).to_le_bytes()),
            }
        }
        entries.push(TensorEntry {
            name: t.name.clone(),
            shape: t.shape.clone(),
            wide,
        });
    }
    let values = serde_json::to_vec(&(&state.values, entries))?;
    Ok([values, numbers])
}

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// The version of a file that a newer program wrote. A file of this version in which that number is damaged is none.
pub(super) fn newer_version(bytes: &[u8]) -> Option<u64> {
    let rest = bytes.strip_prefix(NAME)?;
    let end = rest.iter().take(20).position(|&byte| byte == b'\n')?;
    let version = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let as_ours = [MAGIC, &rest[end + 1..]].concat();
    (version > VERSION && read_header(&as_ours).is_err()).then_some(version)
}

/// The header of a checkpoint, and what follows it. Nothing is believed before its checksum agrees.
pub(super) fn read_header(bytes: &[u8]) -> io::Result<(Header, &[u8])> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("it does not begin like a checkpoint of this version"))?;
    let (length, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (hash, rest) = rest.split_first_chunk::<32>().ok_or_else(cut)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (text, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
    if blake3::hash(text).as_bytes() != hash {
        return Err(damaged("its header's checksum does not agree"));
    }
    let header = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    Ok((header, rest))
}

/// The part at the front of `rest` as the header has it, and what follows.
fn split_part<'b>(part: &Part, rest: &'b [u8]) -> io::Result<(&'b [u8], &'b [u8])> {
    let length = usize::try_from(part.length).unwrap_or(usize::MAX);
    let (body, after) = rest.split_at_checked(length).ok_or_else(cut)?;
    if blake3::hash(body).to_hex().as_str() != part.blake3 {
        return Err(damaged(format!(
            "the checksum of its {} does not agree",
            part.name
        )));
    }
    Ok((body, after))
}

/// The header and the values of a checkpoint, of which no more is read than these two.
pub(super) fn read_values(file: &mut impl Read) -> io::Result<(Header, Snapshot)> {
    let mut bytes = Vec::new();
    let mut read_to = |bytes: &mut Vec<u8>, length: usize| -> io::Result<()> {
        let more = length.saturating_sub(bytes.len());
        match file.by_ref().take(more as u64).read_to_end(bytes)? == more {
            true => Ok(()),
            false => Err(cut()),
        }
    };
    let fixed = MAGIC.len() + 8;
    read_to(&mut bytes, fixed)?;
    let length = bytes
        .last_chunk::<8>()
        .map_or(0, |n| u64::from_le_bytes(*n));
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    read_to(&mut bytes, length.saturating_add(fixed + 32))?;
    let header = read_header(&bytes)?.0;
    let [values, _] = &header.parts[..] else {
        return Err(damaged("it does not have two parts"));
    };
    let mut body = Vec::new();
    read_to(
        &mut body,
        usize::try_from(values.length).unwrap_or(usize::MAX),
    )?;
    let (values, _) = decode_values(split_part(values, &body)?.0)?;
    let tensors = Vec::new();
    Ok((header, Snapshot { values, tensors }))
}

fn decode_values(values: &[u8]) -> io::Result<(Map<String, Value>, Vec<TensorEntry>)> {
    serde_json::from_slice(values).map_err(|e| damaged(e.to_string()))
}

/// Reads and checks the bytes of a checkpoint. What is wrong with them is an error of kind `InvalidData`.
pub(super) fn read_bytes(bytes: &[u8]) -> io::Result<(Header, Snapshot)> {
    let (header, mut rest) = read_header(bytes)?;
    let mut parts = Vec::new();
    for part in &header.parts {
        let (body, after) = split_part(part, rest)?;
        parts.push(body);
        rest = after;
    }
    let [values, numbers] = parts[..] else {
        return Err(damaged("it does not have two parts"));
    };
    if !rest.is_empty() {
        return Err(damaged("there is something behind its end"));
    }
    let (values, entries) = decode_values(values)?;
    let mut left = numbers;
    let mut tensors = Vec::with_capacity(entries.len());
    for TensorEntry { name, shape, wide } in entries {
        let n = shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))
            .ok_or_else(cut)?;
        let bytes = n.checked_mul(if wide { 8 } else { 4 }).ok_or_else(cut)?;
        let (own, after) = left.split_at_checked(bytes).ok_or_else(cut)?;
        left = after;
        let values = match wide {
            true => own
                .as_chunks::<8>()
                .0
                .iter()
                .map(|&b| f64::from_le_bytes(b))
                .collect(),
            false => own
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&b| f32::from_le_bytes(b).into())
                .collect(),
        };
        tensors.push(NamedTensor {
            name,
            shape,
            values,
        });
    }
    if !left.is_empty() {
        return Err(damaged("it holds more numbers than its tensors"));
    }
    Ok((header, Snapshot { values, tensors }))
}

fn cut() -> io::Error {
    damaged("it is cut off")
}
