//! Parameters: one flat vector per op, and the description by which it is taken apart into PyTorch's tensors.
//!
//! A kernel wants its weights in the order in which it reads them, eight output channels side by side. Checkpoints,
//! exports and tests want named tensors of PyTorch's shapes. A [`ParamLayout`] is the list of pieces that connects both;
//! gradients have the same layout. Padding entries are zero in packed parameters and in packed gradients alike, so an
//! optimiser that works on the flat vector leaves them at zero.

use crate::simd::LANES;

/// How a piece is arranged inside the flat vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
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
pub struct Piece {
    /// Name within the op, as in `conv1.weight` or `bn1.bias`.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
    /// Elements in the flat vector, padding included.
    pub packed_len: usize,
    /// Arrangement.
    pub kind: PieceKind,
}

impl Piece {
    /// Elements of the PyTorch tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This piece of the flat vector, as a tensor of PyTorch's shape.
    ///
    /// # Panics
    /// If the flat vector ends before the piece does.
    pub fn unpack(&self, flat: &[f32]) -> Vec<f32> {
        let mut t = vec![0.0; self.len()];
        self.pairs(|plain, packed| t[plain] = flat[packed]);
        t
    }

    /// Writes a tensor of PyTorch's shape into this piece of the flat vector; padding is left alone.
    ///
    /// # Panics
    /// If the tensor has another length, or the flat vector ends before the piece does.
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
            PieceKind::Depthwise => {
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
            PieceKind::Dense { skip } => {
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
            PieceKind::NormWeight | PieceKind::NormBias => {
                (0..self.shape[0]).for_each(|c| f(c, self.offset + c))
            }
        }
    }
}

/// Where weight (`o`, `i`, `tap`) of a dense convolution stands: output blocks, then input blocks, taps, input lanes.
pub(crate) fn dense_index(o: usize, i: usize, tap: usize, ci: usize, taps: usize) -> usize {
    let (block, lane) = (i / LANES, i % LANES);
    let lanes = (ci - block * LANES).min(LANES);
    (o / LANES * ci * taps + block * LANES * taps + tap * lanes + lane) * LANES + o % LANES
}

/// The weights with input and output channels exchanged: what the data gradient reads. `co` counts all lanes that are to
/// be read, empty ones included.
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

/// The pieces of a flat parameter, in order.
///
/// ```
/// use archai_kernels::{ConvKind, ConvNorm, FeatureMap, NormKind};
/// let op = ConvNorm::new(FeatureMap::new(3, 8, 8), 12, ConvKind::Pointwise, true, NormKind::Affine).unwrap();
/// let names: Vec<_> = op.params().pieces().iter().map(|p| (p.name.as_str(), p.shape.clone())).collect();
/// assert_eq!(names, [("conv1.weight", vec![12, 3, 1, 1]), ("bn1.weight", vec![12]), ("bn1.bias", vec![12])]);
/// let flat = op.params().pack(|piece| vec![1.0; piece.len()]);
/// assert_eq!(op.params().unpack(&flat)[1].1, vec![1.0; 12]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParamLayout {
    pieces: Vec<Piece>,
    len: usize,
}

impl ParamLayout {
    /// The pieces in the order of the flat vector.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Elements of the flat vector.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the op has no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The flat vector made from PyTorch-shaped tensors, which `tensor` supplies piece by piece.
    ///
    /// # Panics
    /// If a tensor's length is not that of its shape.
    pub fn pack(&self, mut tensor: impl FnMut(&Piece) -> Vec<f32>) -> Vec<f32> {
        let mut flat = vec![0.0; self.len];
        for piece in &self.pieces {
            piece.pack(&tensor(piece), &mut flat);
        }
        flat
    }

    /// The PyTorch-shaped tensors of a flat vector (parameters or gradients), in order.
    ///
    /// # Panics
    /// If `flat` has another length than the layout.
    pub fn unpack(&self, flat: &[f32]) -> Vec<(&Piece, Vec<f32>)> {
        self.check(flat);
        self.pieces.iter().map(|p| (p, p.unpack(flat))).collect()
    }

    pub(crate) fn check(&self, flat: &[f32]) {
        assert!(
            flat.len() == self.len,
            "{} parameters given, the op has {}",
            flat.len(),
            self.len
        );
    }

    /// Appends another layout and returns where it begins.
    pub(crate) fn append(&mut self, other: ParamLayout) -> usize {
        let start = self.len;
        self.pieces.extend(other.pieces.into_iter().map(|p| Piece {
            offset: start + p.offset,
            ..p
        }));
        self.len += other.len;
        start
    }

    /// Appends a piece and returns its offset.
    pub(crate) fn push(&mut self, name: String, shape: Vec<usize>, kind: PieceKind) -> usize {
        let packed_len = match kind {
            PieceKind::Depthwise => shape[0].next_multiple_of(LANES) * shape[2] * shape[3],
            PieceKind::Dense { skip } => {
                (shape[0] + skip).next_multiple_of(LANES) * shape[1] * shape[2] * shape[3]
            }
            PieceKind::NormWeight | PieceKind::NormBias => shape[0].next_multiple_of(LANES),
        };
        let offset = self.len;
        self.pieces.push(Piece {
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
