//! The safetensors format: the length of a JSON header, the header (type, shape and place of each tensor, and free texts
//! under `__metadata__`), then the numbers. Read by PyTorch, JAX, candle, Burn and many more, and by [`read_safetensors`].

use std::collections::BTreeMap;
use std::io::{self, Write};

use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, json};

use archai_spec::registry::Named;

use crate::model_file::{DESC_TEXT, MODEL_VERSION, VERSION_TEXT};
use crate::width::{self, Width};
use crate::{Exported, Exporter, NamedTensor, check, invalid};

/// Writes safetensors files, whose texts hold the network's description.
#[derive(Clone, Copy, Debug)]
pub struct SafetensorsExporter;

impl Named for SafetensorsExporter {
    fn name(&self) -> &str {
        "safetensors"
    }
    fn about(&self) -> &str {
        "safetensors with the network's description"
    }
}

impl Exporter for SafetensorsExporter {
    fn extension(&self) -> &str {
        "safetensors"
    }
    fn options(&self) -> &[&str] {
        &["half"]
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let mut metadata = model.info.metadata();
        metadata.insert("format".to_string(), "pt".to_string());
        metadata.insert(VERSION_TEXT.to_string(), MODEL_VERSION.to_string());
        let desc = model.desc.to_yaml().map_err(io::Error::other)?;
        metadata.insert(DESC_TEXT.to_string(), desc);
        let widths = width::widths(model.state, model.options)?;
        write(out, model.state, &widths, &metadata)
    }
    fn usage(&self, file: &str) -> Option<String> {
        Some(format!("safetensors.numpy.load_file(\"{file}\")"))
    }
    /// It is the first of the files, and needs no word of its format.
    fn describe(&self, what: &str) -> String {
        what.to_string()
    }
}

/// Longest header that is read: enough for 40,000 tensors.
const MAX_HEADER: u64 = 4 << 20;

/// Where the header begins: behind its length.
const HEADER_AT: usize = 8;

/// Writes `tensors` as 32-bit floats, in their order, with `metadata` as texts beside them (a model's description, say).
///
/// The header is written here and not by the `safetensors` crate because that one puts the metadata in the order of a
/// hash map, so that the same model would give different bytes each time.
///
/// # Errors
/// Two tensors of one name, a shape that does not fit its numbers, and what the writer reports.
pub fn write_safetensors(
    out: &mut (impl Write + ?Sized),
    tensors: &[NamedTensor],
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    write(out, tensors, &vec![Width::F32; tensors.len()], metadata)
}

/// [`write_safetensors`] with the width of each tensor's numbers.
fn write(
    out: &mut (impl Write + ?Sized),
    tensors: &[NamedTensor],
    widths: &[Width],
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    check(tensors)?;
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut offset = 0;
    for (tensor, width) in tensors.iter().zip(widths) {
        let end = offset + width.bytes() * tensor.values.len();
        let dtype = match width {
            Width::F16 => "F16",
            Width::F32 => "F32",
        };
        header.insert(
            tensor.name.clone(),
            json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [offset, end] }),
        );
        offset = end;
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');

    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    let numbers = tensors.iter().zip(widths);
    numbers
        .into_iter()
        .try_for_each(|(t, width)| width.write(out, &t.values))
}

/// Reads tensors of 16-, 32- or 64-bit floats, in the order in which they lie in the file, and the texts beside them.
///
/// # Errors
/// It is no safetensors file, is cut off, or holds another type of number.
pub fn read_safetensors(bytes: &[u8]) -> io::Result<(Vec<NamedTensor>, BTreeMap<String, String>)> {
    let broken = |e| invalid(format!("this is not a whole safetensors file: {e}"));
    // A header takes many times its length in memory.
    if let Some((length, _)) = bytes.split_first_chunk::<8>()
        && u64::from_le_bytes(*length) > MAX_HEADER
    {
        let length = u64::from_le_bytes(*length);
        return Err(invalid(format!(
            "it is not a whole safetensors file: its header claims {length} bytes, expected at most {} MiB",
            MAX_HEADER >> 20
        )));
    }
    // That the tensors fill the rest of the file without gaps is checked here, too.
    let (length, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let numbers = bytes.get(HEADER_AT + length..).unwrap_or_default();
    let names = header.offset_keys();
    let tensor = |name: String| -> io::Result<NamedTensor> {
        let info = header.info(&name);
        let data = info.and_then(|i| Some((i, numbers.get(i.data_offsets.0..i.data_offsets.1)?)));
        let Some((info, data)) = data else {
            return Err(invalid(format!("tensor `{name}` lies outside the file")));
        };
        let values = match info.dtype {
            Dtype::F16 => read::<2>(data, width::from_f16),
            Dtype::BF16 => read::<2>(data, width::from_bf16),
            Dtype::F32 => read::<4>(data, |b| f32::from_le_bytes(b).into()),
            Dtype::F64 => read::<8>(data, f64::from_le_bytes),
            other => {
                return Err(invalid(format!(
                    "tensor `{name}` holds {other:?}; expected F16, BF16, F32 or F64"
                )));
            }
        };
        Ok(NamedTensor {
            shape: info.shape.clone(),
            name,
            values,
        })
    };
    // One after the other, an error names the first tensor that is wrong.
    let tensors: Vec<io::Result<NamedTensor>> = names.into_par_iter().map(tensor).collect();
    let tensors = tensors.into_iter().collect::<io::Result<Vec<_>>>()?;
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    Ok((tensors, metadata))
}

fn read<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&b| number(b))
        .collect()
}
