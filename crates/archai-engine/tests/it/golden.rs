//! Reading the reference vectors and comparing with them. `ARCHAI_GOLDEN` names another directory of the same structure.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use archai_engine::{Compute, NamedTensor, Precision};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// One reference file: tensors and what is said of them.
pub struct Golden {
    pub json: Value,
    tensors: HashMap<String, NamedTensor>,
    /// Names of tensors that are stored in 32 bits.
    single: HashSet<String>,
}

pub fn directory() -> PathBuf {
    match std::env::var_os("ARCHAI_GOLDEN") {
        Some(dir) => dir.into(),
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden").into(),
    }
}

pub fn json(file: &str) -> Value {
    let path = directory().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // Python's writer leaves NaN where there is nothing to say; JSON has no such word.
    serde_json::from_str(&text.replace("NaN", "null"))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Golden {
    pub fn open(name: &str) -> Golden {
        let path = directory().join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let single = file
            .tensors()
            .into_iter()
            .filter(|(_, view)| view.dtype() == Dtype::F32)
            .map(|(name, _)| name)
            .collect();
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let d = view.data();
                let values: Vec<f64> = match view.dtype() {
                    Dtype::F64 => d
                        .chunks_exact(8)
                        .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
                        .collect(),
                    Dtype::F32 => d
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
                        .collect(),
                    Dtype::I64 => d
                        .chunks_exact(8)
                        .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64)
                        .collect(),
                    Dtype::U8 => d.iter().map(|&b| b.into()).collect(),
                    other => panic!("{name}: unexpected type {other:?}"),
                };
                let shape = view.shape().to_vec();
                (
                    name.clone(),
                    NamedTensor {
                        name,
                        shape,
                        values,
                    },
                )
            })
            .collect();
        Golden {
            json: json(&format!("{name}.json")),
            tensors,
            single,
        }
    }

    pub fn find(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.get(name)
    }

    pub fn get(&self, name: &str) -> &NamedTensor {
        self.find(name)
            .unwrap_or_else(|| panic!("no tensor `{name}` in the reference file"))
    }

    /// All tensors whose name starts with `prefix`, named by the rest.
    pub fn below(&self, prefix: &str) -> Vec<NamedTensor> {
        let mut all: Vec<NamedTensor> = self
            .tensors
            .values()
            .filter_map(|t| {
                let name = t.name.strip_prefix(prefix)?.to_string();
                Some(NamedTensor { name, ..t.clone() })
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The tensor that the files give by formula under this key.
    pub fn hashed(&self, key: &str) -> NamedTensor {
        let entry = &self.json["hashed"][key];
        let shape = sizes(&entry["shape"]);
        let (offset, scale) = (
            entry["offset"].as_u64().unwrap(),
            entry["scale"].as_f64().unwrap(),
        );
        let n: usize = shape.iter().product();
        let values = (0..n as u64)
            .map(|i| {
                let mut h = ((i + offset) as u32).wrapping_mul(2_654_435_761);
                h ^= h >> 16;
                h = h.wrapping_mul(2_246_822_519);
                h ^= h >> 13;
                ((f64::from(h) / 4_294_967_296.0 - 0.5) * scale) as f32 as f64
            })
            .collect();
        NamedTensor {
            name: key.to_string(),
            shape,
            values,
        }
    }
}

pub fn size(v: &Value) -> usize {
    v.as_u64().unwrap_or_else(|| panic!("{v} is not a size")) as usize
}

pub fn sizes(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(size).collect()
}

pub fn texts(v: &Value) -> Vec<String> {
    v.as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap().to_string())
        .collect()
}

pub fn shape<const D: usize>(t: &NamedTensor) -> [usize; D] {
    t.shape
        .as_slice()
        .try_into()
        .unwrap_or_else(|_| panic!("{} has shape {:?}", t.name, t.shape))
}

/// 64 bits: the gate.
pub fn double() -> Compute {
    Compute::cpu().with_precision(Precision::F64)
}

/// 32 bits, layer by layer and on fused kernels.
pub fn single() -> [Compute; 2] {
    [Compute::cpu().with_plain_ops(), Compute::cpu()]
}

/// Collects comparisons; [`Comparison::finish`] fails on what does not fit.
///
/// In 64 bits every tensor must fit: that is the gate. In 32 bits a value near the kink of a ReLU or the tie of a max
/// pool may fall on the other side than in the reference, for any implementation; then a few per cent of the gradients
/// before that place go elsewhere, in all tensors upstream of it. So in 32 bits outputs, losses and statistics must fit,
/// and a stated share of the gradients may be off, each by a stated share of its norm.
pub struct Comparison<'a> {
    golden: &'a Golden,
    compute: Compute,
    /// Relative tolerance in 64 bits.
    pub tolerance: f64,
    /// Relative L2 error of a gradient that is accepted as upstream of a kink, in 32 bits.
    pub kink: f64,
    n: usize,
    failures: Vec<String>,
    outliers: Vec<String>,
}

impl<'a> Comparison<'a> {
    pub fn new(golden: &'a Golden, compute: &Compute) -> Self {
        Comparison {
            golden,
            compute: compute.clone(),
            tolerance: 1e-9,
            kink: 0.05,
            n: 0,
            failures: Vec::new(),
            outliers: Vec::new(),
        }
    }

    /// Compares an output, a loss or a statistic with the reference tensor of this name.
    pub fn check(&mut self, name: &str, got: &[f64]) {
        if let Some(message) = self.compare(name, got).0 {
            self.failures.push(message);
        }
    }

    /// Compares a gradient.
    pub fn check_gradient(&mut self, name: &str, got: &[f64]) {
        if let (Some(message), relative) = self.compare(name, got) {
            match self.compute.precision() == Precision::F32 && relative <= self.kink {
                true => self.outliers.push(message),
                false => self.failures.push(message),
            }
        }
    }

    /// What is wrong, and the relative L2 error.
    fn compare(&mut self, name: &str, got: &[f64]) -> (Option<String>, f64) {
        self.n += 1;
        let want = self.golden.get(name);
        // A single NaN stands for no gradient at all.
        let none = vec![0.0; got.len()];
        let want = if want.values.len() == 1 && want.values[0].is_nan() {
            &none
        } else {
            &want.values
        };
        assert_eq!(got.len(), want.len(), "{name}: number of values");
        let largest = want.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
        let (mut error, mut squares) = (0.0f64, (0.0, 0.0));
        for (g, w) in got.iter().zip(want) {
            let e = (g - w).abs();
            error = if e.is_nan() {
                f64::INFINITY
            } else {
                error.max(e)
            };
            squares = (squares.0 + e * e, squares.1 + w * w);
        }
        let limit = match self.compute.precision() {
            Precision::F64 if self.golden.single.contains(name) => 1e-7 * largest,
            // What is below 1e-9 is zero in theory: only small against everything else here.
            Precision::F64 => self.tolerance * largest.max(1e-3),
            Precision::F32 => {
                let known = self.golden.json["float32_error"][name][0]
                    .as_f64()
                    .unwrap_or(0.0);
                10.0 * known + 1e-6 * largest.max(1e-3)
            }
        };
        let message = (error > limit).then(|| {
            format!("{name}: error {error:.3e} above {limit:.3e} (largest value {largest:.3e})")
        });
        (message, (squares.0 / squares.1).sqrt())
    }

    /// Fails unless everything fits, but for this share of all comparisons.
    pub fn finish(self, at_least: usize, outliers: f64) {
        let Comparison {
            n,
            failures,
            outliers: off,
            compute,
            ..
        } = self;
        let how = format!("{:?}, {} engine", compute.precision(), compute.engine());
        println!("{how}: {} of {n} gradients beyond the rule", off.len());
        assert!(
            n >= at_least,
            "only {n} comparisons; at least {at_least} were expected"
        );
        assert!(
            failures.is_empty(),
            "{} of {n} comparisons failed, {how}:\n{}",
            failures.len(),
            failures.join("\n")
        );
        assert!(
            off.len() as f64 <= outliers * n as f64,
            "{} of {n} gradients are off, {how}; {outliers} of them would be accepted:\n{}",
            off.len(),
            off.join("\n")
        );
    }
}
