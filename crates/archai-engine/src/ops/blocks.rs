//! Ops of the published networks and of the tabular benchmarks: single convolutions with what stands around them, small
//! pools, and what joins the branches of a block.

use std::sync::Arc;

use archai_kernels::{Pool, PoolKind};
use archai_spec::desc::OpDesc;
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module, s};

use super::conv::{Layer, Stretch, sequence};
use super::fused_conv::ForSize;
use super::join::{Classifier, Concat};
use crate::error::EngineError;
use crate::features::Features;
use crate::fused::{self, kernels};
use crate::op::{ConvShape, Op, OpBuilder, OpFactory, Pass};

/// An activation of a convolution op.
#[derive(Clone, Copy)]
enum Act {
    None,
    Relu,
    Relu6,
}

impl Act {
    fn layer(self) -> Option<Layer> {
        match self {
            Act::None => None,
            Act::Relu => Some(Layer::Relu),
            Act::Relu6 => Some(Layer::Relu6),
        }
    }
}

/// A k×k convolution with the stride and the bias of the description.
fn conv(d: &OpDesc, k: usize) -> Layer {
    let shape = ConvShape::new(d.ch_in, d.ch_out, k).with_stride(d.stride);
    Layer::Conv(shape.with_bias(d.flag("bias")))
}

/// k×k convolution, norm, activation.
fn conv_norm(k: usize, act: Act) -> OpFactory {
    sequence(true, move |d, _| {
        let layers = [conv(d, k), Layer::Norm(d.ch_out)];
        layers.into_iter().chain(act.layer()).collect()
    })
}

/// ReLU, k×k convolution, norm.
fn relu_conv_norm(k: usize) -> OpFactory {
    sequence(true, move |d, _| {
        vec![Layer::Relu, conv(d, k), Layer::Norm(d.ch_out)]
    })
}

/// Norm, ReLU, k×k convolution.
fn norm_relu_conv(k: usize) -> OpFactory {
    sequence(true, move |d, _| {
        vec![Layer::Norm(d.ch_in), Layer::Relu, conv(d, k)]
    })
}

/// Layers, then an op of its own.
#[derive(Debug)]
struct Head {
    desc: OpDesc,
    stretches: Vec<Stretch>,
    then: Box<dyn Op>,
}

impl Head {
    fn new(
        desc: &OpDesc,
        layers: &[Layer],
        then: &OpDesc,
        b: &mut OpBuilder<'_>,
    ) -> Result<Self, EngineError> {
        Ok(Head {
            desc: desc.clone(),
            stretches: Stretch::declare_all(layers, b),
            then: b.child(then)?,
        })
    }
}

impl Op for Head {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let x = inputs[0].clone();
        let x = self.stretches.iter().fold(x, |x, s| s.forward(pass, x));
        self.then.forward(pass, &[x], None)
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// `max_pool_2x2` and `avg_pool_2x2`: windows that do not overlap; a last odd row or column is left out.
#[derive(Debug)]
struct Pool2 {
    desc: OpDesc,
    kind: PoolKind,
    kernel: ForSize<Pool>,
}

impl Pool2 {
    fn new(desc: &OpDesc, kind: PoolKind) -> Self {
        Pool2 {
            desc: desc.clone(),
            kind,
            kernel: ForSize::default(),
        }
    }
}

impl Op for Pool2 {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let x = &inputs[0];
        let kernel = |map| Pool::new(map, self.kind, 2, 2, 0, false);
        if let Some(exec) = pass.exec()
            && let Some(op) = self.kernel.get(x.map(), kernel)
        {
            let map = op.output();
            // In evaluation without gradients the backward pass's notes are not taken.
            let given = (!pass.is_training() && !x.is_tracked()).then_some(None);
            let (y, _) = fused::call(kernels::Pooling { exec, op, given }, vec![x.input(exec)]);
            return Features::from_blocked(y, map);
        }
        Features::from_nchw(match self.kind {
            PoolKind::Max => {
                module::max_pool2d(x.nchw(), MaxPoolOptions::new([2, 2]).with_stride([2, 2]))
            }
            PoolKind::Average => {
                module::avg_pool2d(x.nchw(), AvgPoolOptions::new([2, 2]).with_stride([2, 2]))
            }
        })
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// `relu`, shared with all others that read the same state.
#[derive(Debug)]
struct Relu(OpDesc);

impl Op for Relu {
    fn forward(
        &self,
        _pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        inputs[0].relu()
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// `fit_channels`: the first channels where the output has fewer; zeros around them, `offset` of them before, where it
/// has more; every other pixel with stride 2.
#[derive(Debug)]
struct Fit(OpDesc);

impl Op for Fit {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let (d, step) = (&self.0, self.0.stride as isize);
        if d.stride == 1 && d.ch_in == d.ch_out {
            return inputs[0].clone();
        }
        let mut x = inputs[0].nchw();
        if step != 1 {
            x = x.slice(s![.., .., ..;step, ..;step]);
        }
        if d.ch_out <= d.ch_in {
            return Features::from_nchw(x.narrow(1, 0, d.ch_out));
        }
        let [n, c, h, w] = x.dims();
        // The catalogue has checked that it lies between 0 and the room there is.
        let before = d
            .int("offset")
            .and_then(|o| usize::try_from(o).ok())
            .unwrap_or(0);
        let mut parts = Vec::new();
        let zeros = |c| Tensor::zeros([n, c, h, w], pass.compute().options());
        if before > 0 {
            parts.push(zeros(before));
        }
        parts.push(x);
        let after = d.ch_out - c - before;
        if after > 0 {
            parts.push(zeros(after));
        }
        Features::from_nchw(Tensor::cat(parts, 1))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// Makers of the ops of this file.
pub(super) fn factories() -> Vec<(&'static str, OpFactory)> {
    vec![
        ("convbnrelu_3x3", conv_norm(3, Act::Relu)),
        ("convbnrelu_1x1", conv_norm(1, Act::Relu)),
        ("convbn_3x3", conv_norm(3, Act::None)),
        ("convbn_1x1", conv_norm(1, Act::None)),
        ("convbnrelu6_3x3", conv_norm(3, Act::Relu6)),
        ("convbnrelu6_1x1", conv_norm(1, Act::Relu6)),
        ("nor_conv_3x3", relu_conv_norm(3)),
        ("nor_conv_1x1", relu_conv_norm(1)),
        ("bnreluconv_3x3", norm_relu_conv(3)),
        ("bnreluconv_1x1", norm_relu_conv(1)),
        ("conv_3x3", sequence(true, |d, _| vec![conv(d, 3)])),
        ("conv_1x1", sequence(true, |d, _| vec![conv(d, 1)])),
        (
            "dwconvbnrelu6_3x3",
            sequence(true, |d, _| {
                let shape = ConvShape::depthwise(d.ch_in, 3).with_stride(d.stride);
                vec![Layer::Conv(shape), Layer::Norm(d.ch_out), Layer::Relu6]
            }),
        ),
        (
            "bnrelu",
            sequence(false, |d, _| vec![Layer::Norm(d.ch_in), Layer::Relu]),
        ),
        (
            "stem_conv7x7_s2_pool",
            Arc::new(|d, b| {
                let conv = ConvShape::new(d.ch_in, d.ch_out, 7).with_stride(2);
                let layers = [Layer::Conv(conv), Layer::Norm(d.ch_out), Layer::Relu];
                let pool = OpDesc::new("max_pool_3x3", d.ch_out, d.ch_out).with_stride(2);
                Ok(Box::new(Head::new(d, &layers, &pool, b)?))
            }),
        ),
        (
            "bnrelu_pool_avg2d",
            Arc::new(|d, b| {
                let layers = [Layer::Norm(d.ch_in), Layer::Relu];
                let pool = OpDesc::new("pool_adaptive_avg2d", d.ch_in, d.ch_out);
                Ok(Box::new(Head::new(d, &layers, &pool, b)?))
            }),
        ),
        (
            "max_pool_2x2",
            Arc::new(|d, _| Ok(Box::new(Pool2::new(d, PoolKind::Max)))),
        ),
        (
            "avg_pool_2x2",
            Arc::new(|d, _| Ok(Box::new(Pool2::new(d, PoolKind::Average)))),
        ),
        ("relu", Arc::new(|d, _| Ok(Box::new(Relu(d.clone()))))),
        (
            "fit_channels",
            Arc::new(|d, _| Ok(Box::new(Fit(d.clone())))),
        ),
        (
            "linear_relu",
            Arc::new(|d, b| Ok(Box::new(Classifier::new(d, true, b)))),
        ),
        (
            "concat_states",
            Arc::new(|d, _| Ok(Box::new(Concat(d.clone())))),
        ),
    ]
}
