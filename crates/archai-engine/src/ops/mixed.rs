//! The mixed op of DARTS: all candidates of an edge at once, weighted.

use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Finalized, Op, OpBuilder, Pass};

/// Name of the mixed op in descriptions.
pub const MIXED_OP: &str = "mixed_op";

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
        let mut children: Vec<Box<dyn Op>> = Vec::new();
        for child in &desc.children {
            let twins = children
                .iter()
                .filter(|c| c.desc().name == child.op.name)
                .count();
            let name = match twins {
                0 => child.op.name.clone(),
                n => format!("{}_{}", child.op.name, n + 1),
            };
            children.push(b.child_named(&name, &child.op)?);
        }
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
        let mut sum: Option<Tensor<4>> = None;
        for (k, op) in self
            .children
            .iter()
            .enumerate()
            .filter(|(_, op)| !op.is_zero())
        {
            let y = op.forward(pass, inputs, None).nchw();
            let y = y * weights.clone().narrow(0, k, 1).reshape([1, 1, 1, 1]);
            sum = Some(match sum {
                None => y,
                Some(sum) => sum + y,
            });
        }
        match sum {
            Some(sum) => Features::from_nchw(sum),
            None => self.children[0].forward(pass, inputs, None),
        }
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn n_alphas(&self) -> usize {
        self.children.len()
    }

    /// The candidate of the largest weight, zeros not counted; the first of equals. Its weight is the rank.
    fn finalize(&self, weights: &[f64]) -> Finalized {
        let mut best = 0;
        let mut rank = f64::NEG_INFINITY;
        for (k, _) in self
            .children
            .iter()
            .enumerate()
            .filter(|(_, op)| !op.is_zero())
        {
            if weights[k] > rank {
                (best, rank) = (k, weights[k]);
            }
        }
        let rank = Some(if rank.is_finite() { rank } else { 0.0 });
        Finalized {
            desc: self.children[best].finalize(&[]).desc,
            rank,
        }
    }
}
