//! Weights as files that other programs read: [`safetensors`] for everything, [`pt`] for PyTorch. Both hold named 32-bit
//! tensors; the names are those of the parameters (`cell0.node1.edge2.sep_conv_3x3.conv1.weight`).
//!
//! The same tensors always give the same bytes: no time stamp, no order that depends on a hash.

pub mod pt;
pub mod safetensors;

pub use pt::{save_pt, write_pt};
pub use safetensors::{load_safetensors, save_safetensors, write_safetensors};

use std::collections::HashSet;
use std::io;

use crate::params::NamedTensor;

/// Refuses what no format can hold: a name twice, or fewer numbers than the shape says.
fn check(tensors: &[NamedTensor]) -> io::Result<()> {
    let mut names = HashSet::new();
    for tensor in tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(invalid(format!(
                "two tensors are called `{}`; names must differ",
                tensor.name
            )));
        }
        let expected: usize = tensor.shape.iter().product();
        if tensor.values.len() != expected {
            return Err(invalid(format!(
                "tensor `{}` of shape {:?} should hold {expected} numbers and holds {}",
                tensor.name,
                tensor.shape,
                tensor.values.len()
            )));
        }
    }
    Ok(())
}

/// The numbers as little-endian 32-bit floats.
fn write_f32(out: &mut impl io::Write, values: &[f64]) -> io::Result<()> {
    values
        .iter()
        .try_for_each(|&v| out.write_all(&(v as f32).to_le_bytes()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
