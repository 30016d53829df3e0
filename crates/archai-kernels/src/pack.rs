//! Parameters: one flat vector per op, and how PyTorch's tensors are arranged in it.
//!
//! A kernel wants its weights in the order in which it reads them, eight output channels side by side. Checkpoints,
//! exports and tests want named tensors of PyTorch's shapes. A [`Packing`] lists these tensors with their places;
//! gradients have the same layout. Padding entries are zero in packed parameters and in packed gradients alike, so an
//! optimiser that works on the flat vector leaves them at zero.

use crate::simd::LANES;

/// How a tensor is arranged inside the flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedKind {
    /// Depthwise weight `[C, 1, K, K]` as `[⌈C/8⌉][K·K][8]`.
    Depthwise,
    /// Dense or pointwise weight `[Cout, Cin, KH, KW]` as `[⌈Cout/8⌉][Cin block][tap][Cin in block][8]`; the first
    /// `skip` lanes of the first block stay empty (the second half of a factorised reduce starts inside a block).
    Dense {
        /// Empty lanes before the first output channel.
        skip: usize,
    },
    /// Scale of a norm, `[C]`, padded with zeros to whole blocks.
    NormWeight,
    /// Shift of a norm, `[C]`, padded with zeros to whole blocks.
    NormBias,
}

/// One tensor inside a flat parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedTensor {
    /// Name within the op, as in `conv1.weight` or `bn1.bias`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
    /// Elements in the flat vector, padding included.
    pub packed_len: usize,
    /// Arrangement.
    pub kind: PackedKind,
}

impl PackedTensor {
    /// Elements of the PyTorch tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the tensor from the flat vector, in PyTorch's shape and order.
    ///
    /// # Panics
    /// If the flat vector ends before the tensor does.
    pub fn unpack(&self, flat: &[f32]) -> Vec<f32> {
        let mut t = vec![0.0; self.len()];
        self.pairs(|plain, packed| t[plain] = flat[packed]);
        t
    }

    /// Writes the tensor, in PyTorch's order, to its place in the flat vector; padding is not written.
    ///
    /// # Panics
    /// If `tensor` has another length, or the flat vector ends before the tensor does.
    pub fn pack(&self, tensor: &[f32], flat: &mut [f32]) {
        assert!(
            tensor.len() == self.len(),
            "{}: {} values given for shape {:?}",
            self.name,
            tensor.len(),
            self.shape
        );
        self.pairs(|plain, packed| flat[packed] = tensor[plain]);
    }

    /// Calls `f(plain index, packed index)` for every element of the tensor.
    fn pairs(&self, mut f: impl FnMut(usize, usize)) {
        match self.kind {
            PackedKind::Depthwise => {
                let taps = self.shape[2] * self.shape[3];
                for c in 0..self.shape[0] {
                    for t in 0..taps {
                        f(
                            c * taps + t,
                            self.offset + (c / LANES * taps + t) * LANES + c % LANES,
                        );
                    }
                }
            }
            PackedKind::Dense { skip } => {
                let (ci, taps) = (self.shape[1], self.shape[2] * self.shape[3]);
                for o in 0..self.shape[0] {
                    for i in 0..ci {
                        for t in 0..taps {
                            f(
                                (o * ci + i) * taps + t,
                                self.offset + dense_index(o + skip, i, t, ci, taps),
                            );
                        }
                    }
                }
            }
            PackedKind::NormWeight | PackedKind::NormBias => {
                (0..self.shape[0]).for_each(|c| f(c, self.offset + c))
            }
        }
    }
}

/// The index of weight (`o`, `i`, `tap`) of a dense convolution: output blocks, then input blocks, taps, input lanes.
pub(crate) fn dense_index(o: usize, i: usize, tap: usize, ci: usize, taps: usize) -> usize {
    let (block, lane) = (i / LANES, i % LANES);
    let lanes = (ci - block * LANES).min(LANES);
    (o / LANES * ci * taps + block * LANES * taps + tap * lanes + lane) * LANES + o % LANES
}

/// The weights with input and output channels exchanged: what the data gradient reads. `co` counts all lanes that are
/// to be read, empty ones included.
pub(crate) fn transpose_dense(w: &[f32], co: usize, ci: usize, taps: usize) -> Vec<f32> {
    let mut out = vec![0.0; ci.next_multiple_of(LANES) * co * taps];
    for o in 0..co {
        for i in 0..ci {
            for t in 0..taps {
                out[dense_index(i, o, t, co, taps)] = w[dense_index(o, i, t, ci, taps)];
            }
        }
    }
    out
}

/// How the parameters of an op are packed into one flat vector: its tensors, in order.
///
/// ```
/// use archai_kernels::{ConvKind, ConvNorm, FeatureMap, NormKind};
/// let op = ConvNorm::new(FeatureMap::new(3, 8, 8), 12, ConvKind::Pointwise, true, NormKind::Affine).unwrap();
/// let names: Vec<_> = op.params().tensors().iter().map(|p| (p.name.as_str(), p.shape.clone())).collect();
/// assert_eq!(names, [("conv1.weight", vec![12, 3, 1, 1]), ("bn1.weight", vec![12]), ("bn1.bias", vec![12])]);
/// let flat = op.params().pack(|tensor| vec![1.0; tensor.len()]);
/// assert_eq!(op.params().unpack(&flat)[1].1, vec![1.0; 12]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    tensors: Vec<PackedTensor>,
    len: usize,
}

impl Packing {
    /// The tensors in the order of the flat vector.
    pub fn tensors(&self) -> &[PackedTensor] {
        &self.tensors
    }

    /// Elements of the flat vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the op has no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The flat vector made from PyTorch-shaped tensors, which `tensor` supplies one after the other.
    ///
    /// # Panics
    /// If a tensor's length is not that of its shape.
    pub fn pack(&self, mut tensor: impl FnMut(&PackedTensor) -> Vec<f32>) -> Vec<f32> {
        let mut flat = vec![0.0; self.len];
        for packed in &self.tensors {
            packed.pack(&tensor(packed), &mut flat);
        }
        flat
    }

    /// The PyTorch-shaped tensors of a flat vector (parameters or gradients), in order.
    ///
    /// # Panics
    /// If `flat` has another length than the packing.
    pub fn unpack(&self, flat: &[f32]) -> Vec<(&PackedTensor, Vec<f32>)> {
        self.check(flat);
        self.tensors.iter().map(|p| (p, p.unpack(flat))).collect()
    }

    pub(crate) fn check(&self, flat: &[f32]) {
        assert!(
            flat.len() == self.len,
            "{} parameters given, the op has {}",
            flat.len(),
            self.len
        );
    }

    /// Appends another packing and returns where it begins.
    pub(crate) fn append(&mut self, other: Packing) -> usize {
        let start = self.len;
        self.tensors
            .extend(other.tensors.into_iter().map(|p| PackedTensor {
                offset: start + p.offset,
                ..p
            }));
        self.len += other.len;
        start
    }

    /// Appends a tensor and returns its offset.
    pub(crate) fn push(&mut self, name: String, shape: Vec<usize>, kind: PackedKind) -> usize {
        let packed_len = match kind {
            PackedKind::Depthwise => shape[0].next_multiple_of(LANES) * shape[2] * shape[3],
            PackedKind::Dense { skip } => {
                (shape[0] + skip).next_multiple_of(LANES) * shape[1] * shape[2] * shape[3]
            }
            PackedKind::NormWeight | PackedKind::NormBias => shape[0].next_multiple_of(LANES),
        };
        let offset = self.len;
        self.tensors.push(PackedTensor {
            name,
            shape,
            offset,
            packed_len,
            kind,
        });
        self.len += packed_len;
        offset
    }
}
