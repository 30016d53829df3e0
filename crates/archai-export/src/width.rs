//! Weights in half precision: files of half the size, for networks that compute in 32 bits as before.
//!
//! Only tensors of two or more axes, the weights of convolutions and linear layers, take 16 bits (IEEE 754 binary16, ten bits
//! of fraction, rounded to nearest even). Scales, shifts, statistics and biases are few and keep 32: a running variance may be
//! smaller than the smallest normal number of 16 bits (6·10⁻⁵). Readers widen what they read, so that a network with such
//! weights runs wherever the other one runs.

use std::io::{self, Write};

use half::{bf16, f16};

use crate::{NamedTensor, Options, invalid};

/// How wide the numbers of a tensor are in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 16 bits: half precision.
    F16,
    /// 32 bits.
    F32,
}

impl Width {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Width::F16 => 2,
            Width::F32 => 4,
        }
    }
    /// The number that a reader gets.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Width::F16 => f16::from_f64(value).to_f64(),
            Width::F32 => f64::from(value as f32),
        }
    }
    /// Writes numbers, little-endian.
    pub(crate) fn write(self, out: &mut (impl Write + ?Sized), values: &[f64]) -> io::Result<()> {
        match self {
            Width::F16 => values
                .iter()
                .try_for_each(|&v| out.write_all(&f16::from_f64(v).to_le_bytes())),
            Width::F32 => values
                .iter()
                .try_for_each(|&v| out.write_all(&(v as f32).to_le_bytes())),
        }
    }
}

/// How wide each tensor is written.
///
/// ```
/// use archai_export::width::{Width, widths};
/// use archai_export::{NamedTensor, Options};
/// let tensor = |name: &str, shape: &[usize]| NamedTensor {
///     name: name.into(),
///     shape: shape.to_vec(),
///     values: vec![0.1; shape.iter().product()],
/// };
/// let state = [tensor("conv.weight", &[2, 1, 3, 3]), tensor("bn.weight", &[2])];
/// let options = Options { half: true, ..Options::default() };
/// assert_eq!(widths(&state, &options)?, [Width::F16, Width::F32]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// A weight that 16 bits cannot hold (beyond ±65,504), by name.
pub fn widths(tensors: &[NamedTensor], options: &Options) -> io::Result<Vec<Width>> {
    let width = |tensor: &NamedTensor| {
        if !options.half || tensor.shape.len() < 2 {
            return Ok(Width::F32);
        }
        let too_large = |v: &&f64| v.is_finite() && f16::from_f64(**v).is_infinite();
        match tensor.values.iter().find(too_large) {
            None => Ok(Width::F16),
            Some(value) => Err(invalid(format!(
                "tensor `{}` holds {value}, and numbers of 16 bits end at 65504; export it without half precision",
                tensor.name
            ))),
        }
    };
    tensors.iter().map(width).collect()
}

/// The state that a reader of a file with these options gets: what half precision changes can be measured with it.
///
/// # Errors
/// As [`widths`].
pub fn rounded(tensors: &[NamedTensor], options: &Options) -> io::Result<Vec<NamedTensor>> {
    let widths = widths(tensors, options)?;
    let rounded = |(tensor, width): (&NamedTensor, Width)| NamedTensor {
        values: tensor.values.iter().map(|&v| width.round(v)).collect(),
        ..tensor.clone()
    };
    Ok(tensors.iter().zip(widths).map(rounded).collect())
}

pub(crate) fn from_f16(bytes: [u8; 2]) -> f64 {
    f16::from_le_bytes(bytes).to_f64()
}
pub(crate) fn from_bf16(bytes: [u8; 2]) -> f64 {
    bf16::from_le_bytes(bytes).to_f64()
}
