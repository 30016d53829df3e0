//! The interface of operations: the [`Op`] trait, the [`Pass`] in which ops compute, the [`OpBuilder`] with which they
//! declare parameters, and the [`OpRegistry`] that names them. No file here knows any particular op.
//!
//! An op is structure: it is built once from its description by an [`OpBuilder`], which gives it handles of parameters
//! and norms, and it computes with the numbers that each [`Pass`] brings along. So one op serves a model, its look-ahead
//! copies and its clones alike.

mod builder;
mod layers;
mod norms;
mod pass;
mod registry;

use std::fmt::Debug;

use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::features::Features;

pub use archai_spec::ops::ConvShape;
pub(crate) use builder::Declared;
pub use builder::OpBuilder;
pub use layers::{Conv, Linear, Norm};
pub(crate) use layers::{Packed, conv2d};
pub use norms::NormId;
pub(crate) use norms::NormTable;
pub use pass::{Candidate, Mode, Pass};
pub(crate) use pass::{DropPath, training_norm};
pub use registry::{OpFactory, OpRegistry};

/// An operation of a network. It holds structure and handles of parameters, never numbers: those come with the [`Pass`].
pub trait Op: Debug + Send + Sync {
    /// Computes the output. `arch` holds the weights of this edge's primitives for ops that have architecture
    /// parameters (shape `[k]`, already relaxed: softmaxed, sampled, …), none for all others.
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        arch: Option<&Tensor<1>>,
    ) -> Features;

    /// What this op is.
    fn desc(&self) -> &OpDesc;

    /// How many architecture parameters it wants.
    fn n_alphas(&self) -> usize {
        0
    }

    /// Whether the output is zero whatever the input: a mixed op then need not compute it.
    fn is_zero(&self) -> bool {
        false
    }
}
