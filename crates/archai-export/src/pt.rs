//! PyTorch's file format, written without PyTorch: `torch.load("model.pt", weights_only=True)` gives an `OrderedDict` of
//! float32 tensors (float16 ones where [`crate::width`] says so), ready for `load_state_dict`.
//!
//! Such a file is a ZIP archive of stored entries below one folder: `data.pkl`, a pickle that describes the dictionary;
//! `data/<k>`, the numbers of tensor k, aligned to 64 bytes so that they can be mapped into memory; `version` and
//! `byteorder`. The safe loader refuses pickles that use more than protocol 2 or call anything outside a short list, so
//! only the opcodes of `Pickle` occur.

use std::io::{self, Cursor, Write};

use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, result::ZipError};

use crate::width::{self, Width};
use crate::{Exported, NamedTensor, check};

/// Writes a network's numbers, those of convolutions in 16 bits if that is asked for.
pub(crate) fn write_model(model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
    let widths = width::widths(model.state, model.options)?;
    check(model.state)?;
    out.write_all(&archive(model.state, &widths)?)
}

/// The folder that all entries lie in; readers take whatever name they find.
const FOLDER: &str = "model";

/// Writes `tensors` as a PyTorch state dict of float32 tensors, in their order.
///
/// # Errors
/// Two tensors of one name, a shape that does not fit its numbers, and what the writer reports.
pub fn write_pt(out: &mut (impl Write + ?Sized), tensors: &[NamedTensor]) -> io::Result<()> {
    check(tensors)?;
    // In memory, where it cannot fail: an archive that is given up halfway prints to the terminal.
    out.write_all(&archive(tensors, &vec![Width::F32; tensors.len()])?)
}

fn archive(tensors: &[NamedTensor], widths: &[Width]) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    // No time stamps: the same weights give the same file.
    let stored = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .with_alignment(64);

    let pickle = state_dict(tensors, widths);
    let mut entry =
        |name: &str, size: usize, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>| {
            // Sizes above 32 bits need the large form of an entry.
            let options = stored.large_file(u32::try_from(size).is_err());
            zip.start_file(format!("{FOLDER}/{name}"), options)
                .map_err(zip_error)?;
            write(&mut zip)
        };
    entry("data.pkl", pickle.len(), &mut |w| w.write_all(&pickle))?;
    entry("byteorder", 6, &mut |w| w.write_all(b"little"))?;
    entry("version", 2, &mut |w| w.write_all(b"3\n"))?;
    for (k, (tensor, width)) in tensors.iter().zip(widths).enumerate() {
        entry(
            &format!("data/{k}"),
            width.bytes() * tensor.values.len(),
            &mut |mut w| width.write(&mut w, &tensor.values),
        )?;
    }
    Ok(zip.finish().map_err(zip_error)?.into_inner())
}

fn zip_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(e) => e,
        other => io::Error::other(other),
    }
}

/// The pickle of `OrderedDict([(name, tensor), …])`.
fn state_dict(tensors: &[NamedTensor], widths: &[Width]) -> Vec<u8> {
    let mut p = Pickle::default();
    p.op(b"\x80\x02"); // PROTO 2
    p.ordered_dict();
    p.op(b"("); // MARK
    for (k, (tensor, width)) in tensors.iter().zip(widths).enumerate() {
        p.text(&tensor.name);
        p.tensor(k, &tensor.shape, *width);
    }
    p.op(b"u."); // SETITEMS, STOP
    p.0
}

/// A pickle in the making. Nothing is memoised: each value is spelt out where it stands.
#[derive(Default)]
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// GLOBAL: a name of a Python module.
    fn global(&mut self, module: &str, name: &str) {
        self.op(format!("c{module}\n{name}\n").as_bytes());
    }

    /// BINUNICODE.
    fn text(&mut self, text: &str) {
        self.op(b"X");
        self.op(&(text.len() as u32).to_le_bytes());
        self.op(text.as_bytes());
    }

    /// The shortest of BININT1, BININT2, BININT and LONG1.
    fn int(&mut self, n: usize) {
        if let Ok(n) = u8::try_from(n) {
            self.op(&[b'K', n]);
        } else if let Ok(n) = u16::try_from(n) {
            self.op(b"M");
            self.op(&n.to_le_bytes());
        } else if let Ok(n) = i32::try_from(n) {
            self.op(b"J");
            self.op(&n.to_le_bytes());
        } else {
            // Nine bytes, the last of them zero: the number is signed.
            self.op(b"\x8a\x09");
            self.op(&(n as u64).to_le_bytes());
            self.op(&[0]);
        }
    }

    /// A tuple of any length: MARK … TUPLE.
    fn ints(&mut self, numbers: &[usize]) {
        self.op(b"(");
        numbers.iter().for_each(|&n| self.int(n));
        self.op(b"t");
    }

    /// `collections.OrderedDict()`.
    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.op(b")R"); // EMPTY_TUPLE, REDUCE
    }

    /// `torch._utils._rebuild_tensor_v2(storage k, offset 0, shape, strides, requires_grad False, OrderedDict())`.
    fn tensor(&mut self, k: usize, shape: &[usize], width: Width) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.op(b"((");
        self.text("storage");
        self.global(
            "torch",
            match width {
                Width::F16 => "HalfStorage",
                Width::F32 => "FloatStorage",
            },
        );
        self.text(&k.to_string());
        self.text("cpu");
        self.int(shape.iter().product());
        self.op(b"tQ"); // TUPLE, BINPERSID: the loader looks the storage up in data/<k>
        self.int(0);
        self.ints(shape);
        self.ints(&row_major_strides(shape));
        self.op(b"\x89"); // NEWFALSE
        self.ordered_dict();
        self.op(b"tR"); // TUPLE, REDUCE
    }
}

/// How many numbers lie between neighbours along each axis.
fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // PyTorch counts an empty axis as one.
        strides[axis - 1] = strides[axis] * shape[axis].max(1);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides() {
        for (shape, expect) in [
            (vec![], vec![]),
            (vec![7], vec![1]),
            (vec![2, 3], vec![3, 1]),
            (vec![4, 3, 2, 5], vec![30, 10, 5, 1]),
            (vec![2, 0, 3], vec![3, 3, 1]),
        ] {
            assert_eq!(row_major_strides(&shape), expect, "{shape:?}");
        }
    }

    #[test]
    fn whole_numbers() {
        for (n, expect) in [
            (0, &b"K\x00"[..]),
            (255, b"K\xff"),
            (256, b"M\x00\x01"),
            (65_536, b"J\x00\x00\x01\x00"),
            (1 << 31, b"\x8a\x09\x00\x00\x00\x80\x00\x00\x00\x00\x00"),
        ] {
            let mut pickle = Pickle::default();
            pickle.int(n);
            assert_eq!(pickle.0, expect, "{n}");
        }
    }
}
