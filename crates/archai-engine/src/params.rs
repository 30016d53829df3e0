//! Parameters as one value. A model's weights, their gradients and an optimiser's momentum are all a [`ParamVec`]: one
//! flat tensor per parameter, in the model's order, so that a look-ahead step is arithmetic and nothing must be restored.
//!
//! A parameter may pack several named pieces (all weights of one op, say, in the layout of a fast kernel): only
//! [`ParamSpec::pieces`] knows, and names reach files, exports and tests through [`ParamLayout::named`] and
//! [`ParamLayout::from_named`] alone.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::compute::Compute;

/// Handle of a parameter of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) usize);

/// What a parameter is for: optimisers may treat norms apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// A convolution's or linear layer's weight or bias.
    Weight,
    /// Scale or shift of a normalisation.
    Norm,
}

/// A named part of a parameter, in the shape that other programs know (PyTorch's order of axes).
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Readable name, for example `cell0.node1.edge2.sep_conv_3x3.conv1.weight`.
    pub name: String,
    /// Shape in PyTorch's order of axes.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
}

/// How a piece starts, drawn from a generator keyed by the run's seed and the piece's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±1/√fan_in: the framework default of PyTorch's convolutions and linear layers.
    FanIn(usize),
    /// A constant.
    Constant(f64),
}

/// A parameter: one flat tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its parts, one after the other in the flat tensor.
    pub pieces: Vec<Piece>,
    /// What it is for.
    pub role: ParamRole,
}

impl ParamSpec {
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|p| p.shape.iter().product::<usize>()).sum()
    }
    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All parameters of a model, without their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamLayout {
    /// In the model's order.
    pub params: Vec<ParamSpec>,
}

/// A tensor by name, on the host, as files hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Readable name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Numbers in row-major order; 32-bit values are exact in it.
    pub values: Vec<f64>,
}

/// One flat tensor per parameter of a model: weights, gradients, momenta. A value: cloning shares the numbers until one
/// of the clones changes.
#[derive(Clone, Debug)]
pub struct ParamVec {
    pub(crate) layout: Arc<ParamLayout>,
    pub(crate) tensors: Vec<Tensor<1>>,
}
