//! `multi_op`: ops side by side.

use archai_spec::desc::OpDesc;
pub(super) use archai_spec::ops::MULTI_OP;
use archai_spec::ops::{LayerBuilder, projection};
use burn::tensor::Tensor;

use super::layered::Layered;
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Op, OpBuilder, Pass};

/// Its children side by side, each on the input that it names; joined; pointwise convolution; norm. The children may be
/// ops that are not made of layers.
#[derive(Debug)]
pub(super) struct Multi {
    desc: OpDesc,
    children: Vec<(usize, Box<dyn Op>)>,
    projection: Layered,
}

impl Multi {
    pub fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Self, EngineError> {
        let n_inputs = b.n_inputs();
        let mut children = Vec::new();
        for child in &desc.children {
            if child.input >= n_inputs {
                return Err(EngineError::structure(format!(
                    "`{}` inside `{}` reads input {}, but there are {n_inputs}",
                    child.op.name, desc.name, child.input
                )));
            }
            children.push((child.input, b.child(&child.op)?));
        }
        let c_in = desc.children.iter().map(|c| c.op.ch_out).sum();
        let (mut list, outs) = LayerBuilder::new(b.catalog(), children.len(), b.affine());
        let joined = projection(&outs, c_in, desc.ch_out, &mut list);
        let list = list.finish(joined);
        Ok(Multi {
            desc: desc.clone(),
            children,
            projection: Layered::declare(list, b)?,
        })
    }
}

impl Op for Multi {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let outs: Vec<Features> = self
            .children
            .iter()
            .map(|(input, op)| op.forward(pass, std::slice::from_ref(&inputs[*input]), None))
            .collect();
        self.projection.forward(pass, &outs)
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}
