//! Ops made of convolutions: a list of layers each, and the factorised reduce.

use std::sync::Arc;

use archai_kernels::ConvKind;
use archai_spec::desc::OpDesc;
use burn::tensor::Tensor;

use super::fused_conv::FusedConv;
use crate::features::{Derived, Features};
use crate::op::{Conv, ConvShape, Norm, Op, OpBuilder, OpFactory, Pass};

/// A layer as the makers below write it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer {
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    Conv(ConvShape),
    /// Over so many channels.
    Norm(usize),
}

/// A layer with its numbers.
#[derive(Debug)]
enum Step {
    Relu,
    Relu6,
    Conv(Conv),
    Norm(Norm),
}

/// Layers that one kernel can compute together, or that stand alone.
#[derive(Debug)]
pub(super) struct Stretch {
    fused: Option<FusedConv>,
    steps: Vec<Step>,
}

impl Stretch {
    /// Declares all layers.
    pub fn declare_all(mut layers: &[Layer], b: &mut OpBuilder<'_>) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        while !layers.is_empty() {
            stretches.push(Stretch::declare(&mut layers, b));
        }
        stretches
    }

    /// Takes the longest stretch from the front of `layers` for which there is a kernel, or one layer.
    fn declare(layers: &mut &[Layer], b: &mut OpBuilder<'_>) -> Self {
        if let Some((stretch, n)) = Stretch::declare_fused(layers, b) {
            *layers = &layers[n..];
            return stretch;
        }
        let step = match layers[0] {
            Layer::Relu => Step::Relu,
            Layer::Relu6 => Step::Relu6,
            Layer::Conv(shape) => Step::Conv(b.conv(shape)),
            Layer::Norm(channels) => Step::Norm(b.norm(channels)),
        };
        *layers = &layers[1..];
        Stretch {
            fused: None,
            steps: vec![step],
        }
    }

    fn declare_fused(layers: &[Layer], b: &mut OpBuilder<'_>) -> Option<(Self, usize)> {
        let relu = matches!(layers[0], Layer::Relu);
        let rest = &layers[usize::from(relu)..];
        let (kind, convs) = kernel_for(rest)?;
        let rest = &rest[convs.len()..];
        let c_out = convs.last()?.c_out;
        let with_norm = matches!(rest.first(), Some(Layer::Norm(_)));
        let (fused, handles, norm) = FusedConv::declare(b, relu, kind, &convs, c_out, with_norm)?;
        let n = usize::from(relu) + convs.len() + usize::from(with_norm);
        let mut steps = Vec::with_capacity(n);
        steps.extend(relu.then_some(Step::Relu));
        steps.extend(handles.into_iter().map(Step::Conv));
        steps.extend(norm.map(Step::Norm));
        let fused = Some(fused);
        Some((Stretch { fused, steps }, n))
    }

    pub fn forward(&self, pass: &mut Pass<'_>, x: Features) -> Features {
        let fused = self.fused.as_ref();
        if let Some(y) = fused.and_then(|fused| fused.forward(pass, &x)) {
            return y;
        }
        self.steps.iter().fold(x, |x, step| match step {
            // The ReLU of a state is shared by all ops that read it.
            Step::Relu => x.relu(),
            Step::Relu6 => Features::from_nchw(x.nchw().clamp(0.0, 6.0)),
            Step::Conv(conv) => Features::from_nchw(conv.forward(pass, x.nchw())),
            Step::Norm(norm) => Features::from_nchw(pass.batch_norm(norm, x.nchw())),
        })
    }
}

/// The kernel for the convolutions at the front of `layers`.
fn kernel_for(layers: &[Layer]) -> Option<(ConvKind, Vec<ConvShape>)> {
    let Some(Layer::Conv(first)) = layers.first() else {
        return None;
    };
    let [k, _] = first.kernel;
    if first.bias {
        return None;
    }
    if first.groups == 1 && first.dilation == 1 {
        let kind = if *first == ConvShape::new(first.c_in, first.c_out, 1) {
            ConvKind::Pointwise
        } else {
            let pair = |[rows, columns]: [usize; 2]| (rows, columns);
            ConvKind::Dense {
                kernel: pair(first.kernel),
                stride: pair(first.stride),
                padding: pair(first.padding),
            }
        };
        return Some((kind, vec![*first]));
    }
    let Some(Layer::Conv(second)) = layers.get(1) else {
        return None;
    };
    let depthwise = ConvShape::depthwise(first.c_in, k)
        .with_stride(first.stride[0])
        .with_dilation(first.dilation);
    let pointwise = ConvShape::new(first.c_in, second.c_out, 1);
    let kind = ConvKind::Separable {
        kernel: k,
        dilation: first.dilation,
        stride: first.stride[0],
    };
    (*first == depthwise && *second == pointwise).then(|| (kind, vec![*first, *second]))
}

/// Layers one after the other.
#[derive(Debug)]
pub(super) struct Sequence {
    desc: OpDesc,
    stretches: Vec<Stretch>,
    can_drop_path: bool,
}

impl Op for Sequence {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let x = inputs[0].clone();
        self.stretches
            .iter()
            .fold(x, |x, stretch| stretch.forward(pass, x))
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn can_drop_path(&self) -> bool {
        self.can_drop_path && !self.desc.flag("keep")
    }
}

/// A factory of sequences. `layers` is given the description and whether norms are affine.
pub(super) fn sequence(
    can_drop_path: bool,
    layers: impl Fn(&OpDesc, bool) -> Vec<Layer> + Send + Sync + 'static,
) -> OpFactory {
    Arc::new(move |desc, b| {
        let layers = layers(desc, b.affine());
        Ok(Box::new(Sequence {
            desc: desc.clone(),
            stretches: Stretch::declare_all(&layers, b),
            can_drop_path,
        }))
    })
}

/// Twice [ReLU, depthwise k×k, pointwise, norm]; the stride is in the first depthwise convolution.
fn separable(k: usize) -> OpFactory {
    sequence(true, move |d, _| {
        let mut layers = Vec::new();
        for (c_out, stride) in [(d.ch_in, d.stride), (d.ch_out, 1)] {
            layers.extend([
                Layer::Relu,
                Layer::Conv(ConvShape::depthwise(d.ch_in, k).with_stride(stride)),
                Layer::Conv(ConvShape::new(d.ch_in, c_out, 1)),
                Layer::Norm(c_out),
            ]);
        }
        layers
    })
}

/// ReLU, depthwise k×k with dilation 2, pointwise, norm.
fn dilated(k: usize) -> OpFactory {
    sequence(true, move |d, _| {
        vec![
            Layer::Relu,
            Layer::Conv(
                ConvShape::depthwise(d.ch_in, k)
                    .with_stride(d.stride)
                    .with_dilation(2),
            ),
            Layer::Conv(ConvShape::new(d.ch_in, d.ch_out, 1)),
            Layer::Norm(d.ch_out),
        ]
    })
}

/// Pointwise to `ratio` times the channels, ReLU6, depthwise 3×3, ReLU6, pointwise, norm. The convolutions have a bias
/// where norms are affine; there is neither an inner norm nor a residual connection.
fn inverted(ratio: usize) -> OpFactory {
    sequence(true, move |d, affine| {
        let (wide, bias) = (ratio * d.ch_in, affine);
        vec![
            Layer::Conv(ConvShape::new(d.ch_in, wide, 1).with_bias(bias)),
            Layer::Relu6,
            Layer::Conv(
                ConvShape::depthwise(wide, 3)
                    .with_stride(d.stride)
                    .with_bias(bias),
            ),
            Layer::Relu6,
            Layer::Conv(ConvShape::new(wide, d.ch_out, 1).with_bias(bias)),
            Layer::Norm(d.ch_out),
        ]
    })
}

/// 3×3 convolutions with norms, ReLU between; the first of several goes to half of the channels.
fn stem(strides: &'static [usize], relu_before: bool, relu_after: bool) -> OpFactory {
    sequence(false, move |d, _| {
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
                ConvShape::new(c_in, c_out, 3).with_stride(stride),
            ));
            layers.push(Layer::Norm(c_out));
            c_in = c_out;
        }
        if relu_after {
            layers.push(Layer::Relu);
        }
        layers
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
            sequence(true, |d, _| {
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
                    Layer::Conv(row),
                    Layer::Conv(column),
                    Layer::Norm(c_out),
                ]
            }),
        ),
        ("mbconv_r1", inverted(1)),
        ("mbconv_r2", inverted(2)),
        ("mbconv_r3", inverted(3)),
        (
            // ReLU, pointwise, norm.
            "prepr_normal",
            sequence(true, |d, _| {
                vec![
                    Layer::Relu,
                    Layer::Conv(ConvShape::new(d.ch_in, d.ch_out, 1)),
                    Layer::Norm(d.ch_out),
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
    fused: Option<FusedConv>,
    convs: Vec<Conv>,
    norm: Norm,
}

impl FactorizedReduce {
    pub fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Self {
        let half = ConvShape::new(desc.ch_in, desc.ch_out / 2, 1).with_stride(2);
        let kind = ConvKind::FactorizedReduce;
        let desc = desc.clone();
        match FusedConv::declare(b, true, kind, &[half, half], 2 * half.c_out, true) {
            Some((fused, convs, Some(norm))) => FactorizedReduce {
                desc,
                fused: Some(fused),
                convs,
                norm,
            },
            _ => FactorizedReduce {
                fused: None,
                convs: vec![b.conv(half), b.conv(half)],
                norm: b.norm(desc.ch_out),
                desc,
            },
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
        let fused = self.fused.as_ref();
        if let Some(y) = fused.and_then(|fused| fused.forward(pass, &inputs[0])) {
            return y;
        }
        let [_, _, h, w] = inputs[0].shape();
        let shifted = inputs[0].derive(Derived::ReluShifted, |x| {
            Features::from_nchw(x.relu_nchw().narrow(2, 1, h - 1).narrow(3, 1, w - 1))
        });
        let halves = vec![
            self.convs[0].forward(pass, inputs[0].relu_nchw()),
            self.convs[1].forward(pass, shifted.nchw()),
        ];
        Features::from_nchw(pass.batch_norm(&self.norm, Tensor::cat(halves, 1)))
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}
