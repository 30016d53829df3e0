//! Ops that join states, and the classifier.

use archai_kernels::ConvKind;
use archai_spec::desc::OpDesc;
use burn::tensor::{Tensor, activation::relu};

use super::fused_conv::FusedConv;
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Conv, ConvShape, Linear, Norm, Op, OpBuilder, Pass};

fn join(pass: &Pass<'_>, states: &[Features]) -> Features {
    Features::concat(states.to_vec(), pass.exec())
}

/// Pointwise convolution and norm on joined states.
#[derive(Debug)]
struct Projection {
    fused: Option<FusedConv>,
    conv: Conv,
    norm: Norm,
}

impl Projection {
    fn new(c_in: usize, c_out: usize, b: &mut OpBuilder<'_>) -> Self {
        let shape = ConvShape::new(c_in, c_out, 1);
        let kind = ConvKind::Pointwise;
        match FusedConv::declare(b, false, kind, &[shape], c_out, true) {
            Some((fused, mut convs, Some(norm))) => Projection {
                fused: Some(fused),
                conv: convs.remove(0),
                norm,
            },
            _ => Projection {
                fused: None,
                conv: b.conv(shape),
                norm: b.norm(c_out),
            },
        }
    }

    fn forward(&self, pass: &mut Pass<'_>, states: &[Features]) -> Features {
        let x = join(pass, states);
        let fused = self.fused.as_ref();
        if let Some(y) = fused.and_then(|fused| fused.forward(pass, &x)) {
            return y;
        }
        let x = self.conv.forward(pass, x.nchw());
        Features::from_nchw(pass.batch_norm(&self.norm, x))
    }
}

/// `concate_channels`: joins all states that it is given along the channels.
#[derive(Debug)]
pub(super) struct Concat(pub OpDesc);

impl Op for Concat {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        join(pass, inputs)
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// `proj_channels`: joins all states, then a pointwise convolution and a norm.
#[derive(Debug)]
pub(super) struct Project {
    desc: OpDesc,
    projection: Projection,
}

impl Project {
    pub fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Self {
        Project {
            desc: desc.clone(),
            projection: Projection::new(b.n_inputs() * desc.ch_in, desc.ch_out, b),
        }
    }
}

impl Op for Project {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        self.projection.forward(pass, inputs)
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// `multi_op`: its children side by side, each on the input that it names; joined; pointwise convolution; norm.
#[derive(Debug)]
pub(super) struct Multi {
    desc: OpDesc,
    children: Vec<(usize, Box<dyn Op>)>,
    projection: Projection,
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
        Ok(Multi {
            desc: desc.clone(),
            children,
            projection: Projection::new(c_in, desc.ch_out, b),
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

/// `linear`, and `linear_relu`: flattens, then W·x + b, and its ReLU; the result is `[N, C, 1, 1]`.
#[derive(Debug)]
pub(super) struct Classifier {
    desc: OpDesc,
    linear: Linear,
    relu: bool,
}

impl Classifier {
    pub fn new(desc: &OpDesc, relu: bool, b: &mut OpBuilder<'_>) -> Self {
        Classifier {
            desc: desc.clone(),
            linear: b.linear(desc.ch_in, desc.ch_out),
            relu,
        }
    }
}

impl Op for Classifier {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let [n, c, h, w] = inputs[0].shape();
        let out = self
            .linear
            .forward(pass, inputs[0].nchw().reshape([n, c * h * w]));
        let out = if self.relu { relu(out) } else { out };
        Features::from_nchw(out.reshape([n, self.desc.ch_out, 1, 1]))
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}
