//! One op by itself, with its numbers: for testing ops, and for using them outside a model.

use std::sync::Arc;

use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::compute::{Compute, track};
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Declared, Mode, NormTable, Op, OpBuilder, OpRegistry, Pass};
use crate::params::{NamedTensor, ParamLayout, ParamVec};
use archai_data::rng::Key;

/// An op with weights and running statistics of its own. Names have no prefix: `conv1.weight`, `bn1.running_mean`.
///
/// ```
/// use archai_engine::{Compute, Mode, OpRegistry, ops::SingleOp};
/// use archai_spec::desc::OpDesc;
/// # fn main() -> Result<(), archai_engine::EngineError> {
/// let compute = Compute::cpu();
/// let desc = OpDesc::new("max_pool_3x3", 1, 1).with_stride(2);
/// let mut pool = SingleOp::new(&desc, 1, false, &OpRegistry::builtin(), &compute, 0)?;
/// let x = compute.tensor((0..16).map(f64::from).collect(), [1, 1, 4, 4]);
/// let y = pool.forward(&[x], None, Mode::Training);
/// assert_eq!(archai_engine::compute::to_host(&y), [5.0, 7.0, 13.0, 15.0]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SingleOp {
    op: Arc<dyn Op>,
    weights: ParamVec,
    norms: NormTable,
    compute: Compute,
}

/// Gradients of Σ output·cotangent.
#[derive(Clone, Debug)]
pub struct OpGrads {
    /// The output itself.
    pub output: Tensor<4>,
    /// With respect to each input; zeros where the op does not depend on it.
    pub inputs: Vec<Tensor<4>>,
    /// With respect to the weights.
    pub weights: ParamVec,
    /// With respect to the weights of the primitives, for ops that have some.
    pub arch: Option<Tensor<1>>,
}

impl SingleOp {
    /// Builds an op that reads `n_inputs` states. `affine` holds where the description does not say.
    ///
    /// # Errors
    /// As the op's factory; [`EngineError::Desc`] for an unknown name.
    pub fn new(
        desc: &OpDesc,
        n_inputs: usize,
        affine: bool,
        registry: &OpRegistry,
        compute: &Compute,
        seed: u64,
    ) -> Result<Self, EngineError> {
        let mut declared = Declared::new(compute);
        let affine = desc.affine.unwrap_or(affine);
        let op = registry.make(
            desc,
            &mut OpBuilder::new(registry, &mut declared, String::new(), affine, n_inputs),
        )?;
        let layout = Arc::new(ParamLayout {
            params: declared.params,
        });
        Ok(SingleOp {
            op: op.into(),
            weights: ParamVec::init(&layout, &Key::new(seed), compute),
            norms: NormTable::new(declared.norms, compute),
            compute: compute.clone(),
        })
    }

    /// The op.
    pub fn op(&self) -> &dyn Op {
        self.op.as_ref()
    }

    /// Its weights.
    pub fn weights(&self) -> &ParamVec {
        &self.weights
    }

    /// Replaces its weights.
    ///
    /// # Errors
    /// [`EngineError::Shape`] if names or shapes do not fit.
    pub fn set_weights(&mut self, weights: &[NamedTensor]) -> Result<(), EngineError> {
        self.weights = ParamVec::from_named(self.weights.layout(), weights, &self.compute)?;
        Ok(())
    }

    /// The running statistics of its norms.
    pub fn buffers(&self) -> Vec<NamedTensor> {
        self.norms.named()
    }

    /// Replaces the running statistics of its norms.
    ///
    /// # Errors
    /// [`EngineError::Shape`] if names or shapes do not fit.
    pub fn set_buffers(&mut self, buffers: &[NamedTensor]) -> Result<(), EngineError> {
        self.norms = self.norms.with_named(buffers, &self.compute)?;
        Ok(())
    }

    /// The output on plain tensors `[N, C, H, W]`. Training moves the running statistics.
    pub fn forward(
        &mut self,
        inputs: &[Tensor<4>],
        arch: Option<&Tensor<1>>,
        mode: Mode,
    ) -> Tensor<4> {
        let weights = self.weights.tensors.clone();
        self.pass(&weights, inputs, arch, mode)
    }

    /// Output and gradients in training mode. Moves the running statistics.
    pub fn grads(
        &mut self,
        inputs: &[Tensor<4>],
        arch: Option<&Tensor<1>>,
        cotangent: &Tensor<4>,
    ) -> OpGrads {
        let weights: Vec<_> = self.weights.tensors.iter().map(track).collect();
        let tracked: Vec<_> = inputs.iter().map(track).collect();
        let arch = arch.map(track);
        let output = self.pass(&weights, &tracked, arch.as_ref(), Mode::Training);
        let sum = (output.clone() * cotangent.clone()).sum();
        let mut grads = sum.is_tracked().then(|| sum.backward());
        let mut inputs = Vec::new();
        for t in &tracked {
            let grad = grads.as_mut().and_then(|g| t.grad_remove(g));
            inputs.push(grad.unwrap_or_else(|| t.clone().inner().zeros_like()));
        }
        let mut flat = |t: &Tensor<1>| {
            let grad = grads.as_mut().and_then(|g| t.grad_remove(g));
            grad.unwrap_or_else(|| t.clone().inner().zeros_like())
        };
        let tensors = weights.iter().map(&mut flat).collect();
        let arch = arch.as_ref().map(&mut flat);
        let weights = ParamVec {
            layout: self.weights.layout.clone(),
            tensors,
        };
        OpGrads {
            output: output.inner(),
            inputs,
            weights,
            arch,
        }
    }

    fn pass(
        &mut self,
        weights: &[Tensor<1>],
        inputs: &[Tensor<4>],
        arch: Option<&Tensor<1>>,
        mode: Mode,
    ) -> Tensor<4> {
        let inputs: Vec<Features> = inputs.iter().cloned().map(Features::from_nchw).collect();
        let layout = self.weights.layout.clone();
        let mut pass = Pass::new(&layout, weights, &self.norms, &self.compute, mode, None);
        let y = self.op.forward(&mut pass, &inputs, arch).nchw();
        let updates = pass.into_updates();
        self.norms.apply(updates);
        y
    }
}
