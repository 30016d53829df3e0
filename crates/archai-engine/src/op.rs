//! The interface of operations, and the registry that names them.

use std::fmt::Debug;

use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::features::Features;

/// An operation of a network. It holds structure and handles of parameters, never numbers: those come with the [`Pass`].
pub trait Op: Debug + Send + Sync {
    /// Computes the output. `arch` holds the weights of this edge's primitives for ops that have architecture
    /// parameters (shape `[k]`, already relaxed: softmaxed, sampled, …), none for all others.
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], arch: Option<&Tensor<1>>) -> Features;

    /// What this op is.
    fn desc(&self) -> &OpDesc;

    /// How many architecture parameters it wants.
    fn n_alphas(&self) -> usize {
        0
    }

    /// What remains of the op in a found network, and how strongly it is wanted there. `weights` are the relaxed
    /// architecture parameters of this edge (empty for ops without). Ordinary ops remain as they are, without a rank.
    fn finalize(&self, weights: &[f64]) -> Finalized {
        let _ = weights;
        Finalized { desc: self.desc().clone(), rank: None }
    }

    /// Whether drop-path may drop this op's output.
    fn can_drop_path(&self) -> bool {
        true
    }
}

/// The outcome of [`Op::finalize`].
#[derive(Clone, Debug, PartialEq)]
pub struct Finalized {
    /// What remains.
    pub desc: OpDesc,
    /// Strength; edges without one are always kept.
    pub rank: Option<f64>,
}

/// One forward pass: parameters, running statistics, mode.
pub struct Pass<'a> {
    _todo: std::marker::PhantomData<&'a ()>,
}

/// Declares the parameters of ops while a model is compiled.
pub struct OpBuilder;

/// Names and makers of ops: a value; a second op of one name is an error.
pub struct OpRegistry;
