//! Reads reference vectors: from the engine's `tests/golden`, or from the directory that `ARCHAI_GOLDEN` names.

use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A file of tensors with its sidecar.
pub struct Golden {
    bytes: Vec<u8>,
    pub json: Value,
}

impl Golden {
    pub fn read(name: &str) -> Golden {
        let dir = match std::env::var_os("ARCHAI_GOLDEN") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../archai-engine/tests/golden"
            )),
        };
        let read = |file: String| {
            let path = dir.join(file);
            std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        // Python's writer leaves NaN where there is nothing to say; JSON has no such word.
        let text = String::from_utf8(read(format!("{name}.json"))).expect("UTF-8");
        Golden {
            bytes: read(format!("{name}.safetensors")),
            json: serde_json::from_str(&text.replace("NaN", "null")).expect("JSON"),
        }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("safetensors")
    }

    pub fn names(&self) -> Vec<String> {
        self.tensors()
            .names()
            .iter()
            .map(|n| n.to_string())
            .collect()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors()
            .tensor(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .shape()
            .to_vec()
    }

    pub fn get(&self, name: &str) -> Vec<f64> {
        let tensors = self.tensors();
        let tensor = tensors
            .tensor(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F64 => data
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            Dtype::F32 => data
                .chunks_exact(4)
                .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
                .collect(),
            Dtype::I64 => data
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                .collect(),
            Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
            other => panic!("{name}: {other:?} is not read here"),
        }
    }

    /// Tolerance of a 32-bit implementation, by the README's rule. `entry` names the sidecar's error entry.
    pub fn f32_tolerance(&self, entry: &str) -> f64 {
        let error = &self.json["float32_error"][entry];
        let (absolute, truth) = (
            error[0].as_f64().expect(entry),
            error[1].as_f64().expect(entry),
        );
        10.0 * absolute + 1e-6 * truth.max(1e-3)
    }
}

pub fn max_abs(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |m, (a, b)| {
        m.max(if a.is_finite() {
            (a - b).abs()
        } else {
            f64::INFINITY
        })
    })
}
