//! The mixed op of DARTS: all candidates of an edge at once, weighted.

use archai_kernels::Exec;
use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::error::EngineError;
use crate::features::Features;
use crate::fused::{self, MAX_INPUTS, kernels};
use crate::op::{Op, OpBuilder, Pass};

/// Σ wₖ·opₖ(x) (Liu et al. 2019, eq. 2). The weights come with each pass: the op owns none.
#[derive(Debug)]
pub struct MixedOp {
    desc: OpDesc,
    children: Vec<Box<dyn Op>>,
}

impl MixedOp {
    /// Builds the candidates, each below its own name.
    ///
    /// # Errors
    /// [`EngineError::Desc`] if there is none, or as their factories.
    pub fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Self, EngineError> {
        if desc.children.is_empty() {
            return Err(EngineError::structure(format!(
                "`{}` has no children to choose from",
                desc.name
            )));
        }
        let named = desc.child_names().into_iter().zip(&desc.children);
        let children = named
            .map(|(name, child)| b.child_named(&name, &child.op))
            .collect::<Result<_, _>>()?;
        Ok(MixedOp {
            desc: desc.clone(),
            children,
        })
    }
}

impl Op for MixedOp {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        arch: Option<&Tensor<1>>,
    ) -> Features {
        let weights = arch.expect("a mixed op is given one weight per primitive");
        let candidates = self.children.iter().enumerate();
        let mut outs: Vec<(usize, Features)> = Vec::new();
        for (k, op) in candidates.filter(|(_, op)| !op.is_zero()) {
            outs.push((k, op.forward(pass, inputs, None)));
        }
        pass.show(&outs);
        if outs.is_empty() {
            return self.children[0].forward(pass, inputs, None);
        }
        weighted_sum(pass, &outs, weights)
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn n_alphas(&self) -> usize {
        self.children.len()
    }
}

/// Σ weights\[k\]·y over the candidates (k, y), of which there must be at least one: for ops that mix candidates their own way.
pub fn weighted_sum(
    pass: &Pass<'_>,
    candidates: &[(usize, Features)],
    weights: &Tensor<1>,
) -> Features {
    match pass.exec() {
        Some(exec) => fused_sum(exec, candidates, weights),
        None => plain_sum(candidates, weights),
    }
}

fn plain_sum(outs: &[(usize, Features)], weights: &Tensor<1>) -> Features {
    let term = |(k, y): &(usize, Features)| {
        y.nchw() * weights.clone().narrow(0, *k, 1).reshape([1, 1, 1, 1])
    };
    let sum = outs.iter().map(term).reduce(|a, b| a + b);
    Features::from_nchw(sum.expect("not empty"))
}

fn fused_sum(exec: Exec, outs: &[(usize, Features)], weights: &Tensor<1>) -> Features {
    let map = outs[0].1.map();
    // One place is for the weights themselves.
    let sums = outs.chunks(MAX_INPUTS - 1).map(|some| {
        let places = some.iter().map(|(k, _)| *k).collect();
        let mut inputs: Vec<_> = some.iter().map(|(_, y)| y.input(exec)).collect();
        inputs.push(weights.clone().into_dispatch());
        let (y, _) = fused::call(kernels::Mix { exec, map, places }, inputs);
        Features::from_blocked(y, map)
    });
    Features::sum(sums.collect())
}
