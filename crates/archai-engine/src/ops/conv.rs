//! Ops made of convolutions: a list of layers each, and the factorised reduce.

use std::sync::Arc;

use archai_spec::desc::OpDesc;
use burn::tensor::{Tensor, activation::relu};

use crate::features::{Derived, Features};
use crate::op::{Conv, ConvShape, Norm, Op, OpBuilder, OpFactory, Pass};

/// A layer of a [`Sequence`].
#[derive(Debug)]
enum Layer {
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    Conv(Conv),
    Norm(Norm),
}

/// Layers one after the other.
#[derive(Debug)]
struct Sequence {
    desc: OpDesc,
    layers: Vec<Layer>,
    can_drop_path: bool,
}

impl Op for Sequence {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let (mut x, rest) = match self.layers.split_first() {
            // The ReLU of a state is shared by all ops that read it.
            Some((Layer::Relu, rest)) => (inputs[0].relu_nchw(), rest),
            _ => (inputs[0].nchw(), self.layers.as_slice()),
        };
        for layer in rest {
            x = match layer {
                Layer::Relu => relu(x),
                Layer::Relu6 => x.clamp(0.0, 6.0),
                Layer::Conv(conv) => conv.forward(pass, x),
                Layer::Norm(norm) => pass.batch_norm(norm, x),
            };
        }
        Features::from_nchw(x)
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn can_drop_path(&self) -> bool {
        self.can_drop_path
    }
}

/// A factory of sequences.
fn sequence(
    can_drop_path: bool,
    layers: impl Fn(&OpDesc, &mut OpBuilder<'_>) -> Vec<Layer> + Send + Sync + 'static,
) -> OpFactory {
    Arc::new(move |desc, b| {
        let layers = layers(desc, b);
        Ok(Box::new(Sequence {
            desc: desc.clone(),
            layers,
            can_drop_path,
        }))
    })
}

/// Twice [ReLU, depthwise k×k, pointwise, norm]; the stride is in the first depthwise convolution.
fn separable(k: usize) -> OpFactory {
    sequence(true, move |d, b| {
        let mut layers = Vec::new();
        for (c_out, stride) in [(d.ch_in, d.stride), (d.ch_out, 1)] {
            layers.extend([
                Layer::Relu,
                Layer::Conv(b.conv(ConvShape::depthwise(d.ch_in, k).with_stride(stride))),
                Layer::Conv(b.conv(ConvShape::new(d.ch_in, c_out, 1))),
                Layer::Norm(b.norm(c_out)),
            ]);
        }
        layers
    })
}

/// ReLU, depthwise k×k with dilation 2, pointwise, norm.
fn dilated(k: usize) -> OpFactory {
    sequence(true, move |d, b| {
        vec![
            Layer::Relu,
            Layer::Conv(
                b.conv(
                    ConvShape::depthwise(d.ch_in, k)
                        .with_stride(d.stride)
                        .with_dilation(2),
                ),
            ),
            Layer::Conv(b.conv(ConvShape::new(d.ch_in, d.ch_out, 1))),
            Layer::Norm(b.norm(d.ch_out)),
        ]
    })
}

/// Pointwise to `ratio` times the channels, ReLU6, depthwise 3×3, ReLU6, pointwise, norm. The convolutions have a bias
/// where norms are affine; there is neither an inner norm nor a residual connection.
fn inverted(ratio: usize) -> OpFactory {
    sequence(true, move |d, b| {
        let (wide, bias) = (ratio * d.ch_in, b.affine());
        vec![
            Layer::Conv(b.conv(ConvShape::new(d.ch_in, wide, 1).with_bias(bias))),
            Layer::Relu6,
            Layer::Conv(
                b.conv(
                    ConvShape::depthwise(wide, 3)
                        .with_stride(d.stride)
                        .with_bias(bias),
                ),
            ),
            Layer::Relu6,
            Layer::Conv(b.conv(ConvShape::new(wide, d.ch_out, 1).with_bias(bias))),
            Layer::Norm(b.norm(d.ch_out)),
        ]
    })
}

/// 3×3 convolutions with norms, ReLU between; the first of several goes to half of the channels.
fn stem(strides: &'static [usize], relu_before: bool, relu_after: bool) -> OpFactory {
    sequence(false, move |d, b| {
        let mut layers = Vec::new();
        let mut c_in = d.ch_in;
        for (i, &stride) in strides.iter().enumerate() {
            if i > 0 || relu_before {
                layers.push(Layer::Relu);
            }
            let c_out = if i == 0 && strides.len() > 1 {
                d.ch_out / 2
            } else {
                d.ch_out
            };
            layers.push(Layer::Conv(
                b.conv(ConvShape::new(c_in, c_out, 3).with_stride(stride)),
            ));
            layers.push(Layer::Norm(b.norm(c_out)));
            c_in = c_out;
        }
        if relu_after {
            layers.push(Layer::Relu);
        }
        layers
    })
}

/// k×k convolution, norm, ReLU.
fn conv_norm_relu(k: usize) -> OpFactory {
    sequence(true, move |d, b| {
        vec![
            Layer::Conv(b.conv(ConvShape::new(d.ch_in, d.ch_out, k))),
            Layer::Norm(b.norm(d.ch_out)),
            Layer::Relu,
        ]
    })
}

/// Makers of the ops of this file.
pub(super) fn factories() -> Vec<(&'static str, OpFactory)> {
    vec![
        ("sep_conv_3x3", separable(3)),
        ("sep_conv_5x5", separable(5)),
        ("sep_conv_7x7", separable(7)),
        ("dil_conv_3x3", dilated(3)),
        ("dil_conv_5x5", dilated(5)),
        (
            // ReLU, 1×7 with the horizontal stride, 7×1 with the vertical one, norm.
            "conv_7x1_1x7",
            sequence(true, |d, b| {
                let (c_in, c_out, s) = (d.ch_in, d.ch_out, d.stride);
                let row = ConvShape {
                    kernel: [1, 7],
                    stride: [1, s],
                    padding: [0, 3],
                    ..ConvShape::new(c_in, c_in, 1)
                };
                let column = ConvShape {
                    kernel: [7, 1],
                    stride: [s, 1],
                    padding: [3, 0],
                    ..ConvShape::new(c_in, c_out, 1)
                };
                vec![
                    Layer::Relu,
                    Layer::Conv(b.conv(row)),
                    Layer::Conv(b.conv(column)),
                    Layer::Norm(b.norm(c_out)),
                ]
            }),
        ),
        ("convbnrelu_3x3", conv_norm_relu(3)),
        ("convbnrelu_1x1", conv_norm_relu(1)),
        ("mbconv_r1", inverted(1)),
        ("mbconv_r2", inverted(2)),
        ("mbconv_r3", inverted(3)),
        (
            // ReLU, pointwise, norm.
            "prepr_normal",
            sequence(true, |d, b| {
                vec![
                    Layer::Relu,
                    Layer::Conv(b.conv(ConvShape::new(d.ch_in, d.ch_out, 1))),
                    Layer::Norm(b.norm(d.ch_out)),
                ]
            }),
        ),
        (
            "prepr_reduce",
            Arc::new(|d, b| Ok(Box::new(FactorizedReduce::new(d, b)))),
        ),
        ("stem_conv3x3", stem(&[1], false, false)),
        ("stem_conv3x3Relu", stem(&[1], false, true)),
        ("stem_conv3x3_s2", stem(&[2], false, false)),
        ("stem_relu_conv3x3_s2", stem(&[2], true, false)),
        ("stem_conv3x3_s4", stem(&[2, 2], false, false)),
        ("stem_conv3x3_s4s2", stem(&[2, 2, 2], false, false)),
    ]
}

/// Halves height and width: ReLU; a pointwise convolution of stride 2 on the input and one on the input without its first
/// row and column, each to half of the channels; joined; norm. Height and width must be even, or the halves would differ.
#[derive(Debug)]
pub(super) struct FactorizedReduce {
    desc: OpDesc,
    convs: [Conv; 2],
    norm: Norm,
}

impl FactorizedReduce {
    pub fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Self {
        let half = ConvShape::new(desc.ch_in, desc.ch_out / 2, 1).with_stride(2);
        let convs = [b.conv(half), b.conv(half)];
        FactorizedReduce {
            desc: desc.clone(),
            convs,
            norm: b.norm(desc.ch_out),
        }
    }
}

impl Op for FactorizedReduce {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let [_, _, h, w] = inputs[0].shape();
        let shifted = inputs[0].derive(Derived::ReluShifted, |x| {
            x.relu_nchw().narrow(2, 1, h - 1).narrow(3, 1, w - 1)
        });
        let halves = vec![
            self.convs[0].forward(pass, inputs[0].relu_nchw()),
            self.convs[1].forward(pass, shifted),
        ];
        Features::from_nchw(pass.batch_norm(&self.norm, Tensor::cat(halves, 1)))
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}
