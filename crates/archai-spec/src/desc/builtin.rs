//! The ops that come with the program. Each is a list of layers; output shapes and costs follow from the same list, so
//! they cannot contradict each other.

use super::catalog::{Arity, OpCatalog, OpInfo, ParamInfo, ParamType};
use super::{Cost, DescError, DescErrorKind, OpDesc, Shape};
use crate::finalize::{Finalized, strongest_child};

/// The primitives of DARTS (Liu, Simonyan, Yang 2019, §3.1.1) in the tutorial's order; `none` is last.
pub const PRIMITIVES: [&str; 8] = [
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "none",
];

impl OpDesc {
    /// The mixed op of DARTS (eq. 2): a weighted sum of `primitives`, all from and to `channels`, all with `stride`. Pools are
    /// followed by a norm, as in the original search.
    ///
    /// ```
    /// use archai_spec::desc::{OpDesc, PRIMITIVES};
    /// let op = OpDesc::mixed(&PRIMITIVES, 16, 2);
    /// assert_eq!(op.children.len(), 8);
    /// assert!(op.is_mixed() && op.children[0].op.flag("norm"));
    /// ```
    pub fn mixed<S: AsRef<str>>(primitives: &[S], channels: usize, stride: usize) -> Self {
        OpDesc::new("mixed_op", channels, channels)
            .with_stride(stride)
            .with_children(primitives.iter().map(|name| {
                let op = OpDesc::new(name.as_ref(), channels, channels).with_stride(stride);
                if name.as_ref().contains("_pool_") {
                    op.with_param("norm", super::ParamValue::Bool(true))
                } else {
                    op
                }
            }))
    }
    /// Whether the op is a choice among its children, with one architecture parameter per child. Every op with children
    /// is one, except `multi_op`, whose children all run.
    pub fn is_mixed(&self) -> bool {
        !self.children.is_empty() && self.name != "multi_op"
    }
}

/// Structure of a built-in op. Convolutions have no bias unless said.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    None,
    Pool,
    Skip,
    /// Twice ReLU, depthwise k×k, pointwise, norm.
    Sep(usize),
    /// ReLU, depthwise k×k with dilation 2, pointwise, norm.
    Dil(usize),
    /// ReLU, 1×7, 7×1, norm.
    Conv7,
    /// k×k convolution, and where a norm stands. Activations cost nothing and are the op's own business.
    Conv(usize, NormAt),
    /// Depthwise 3×3 convolution, norm, ReLU6.
    Depthwise,
    /// Norm, ReLU.
    NormRelu,
    Relu,
    /// Non-overlapping 2×2 windows.
    Pool2,
    /// First channels, or all channels with zeros around.
    Fit,
    /// 7×7 convolution of stride 2, norm, ReLU, 3×3 max pool of stride 2.
    Stem7,
    /// Norm, ReLU, mean over height and width.
    NormReluMean,
    /// Flatten, linear with bias, ReLU.
    LinearRelu,
    /// Joins states of any channels.
    Join,
    PreprNormal,
    PreprReduce,
    /// Pointwise to ratio·C, ReLU6, depthwise 3×3, ReLU6, pointwise, norm. Convolutions have a bias where norms are affine.
    MbConv(usize),
    /// 3×3 convolutions with these strides, each followed by a norm; the first of several goes to half of the channels.
    Stem(&'static [usize]),
    MeanPool,
    Pool7,
    Linear,
    Identity,
    Concat,
    Proj,
    Multi,
    Mixed,
}

/// Where a convolution's norm stands.
#[derive(Clone, Copy, PartialEq)]
enum NormAt {
    Nowhere,
    Before,
    After,
}

/// One layer, as far as shapes and costs are concerned.
enum Layer {
    Conv {
        to: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        dilation: usize,
        depthwise: bool,
        bias: bool,
    },
    Norm,
    Pool {
        kernel: usize,
        stride: usize,
        pad: usize,
    },
    Subsample(usize),
}

fn conv(to: usize, kernel: usize, stride: usize) -> Layer {
    let pad = kernel / 2;
    Layer::Conv {
        to,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad: [pad; 2],
        dilation: 1,
        depthwise: false,
        bias: false,
    }
}
fn depthwise(channels: usize, kernel: usize, stride: usize, dilation: usize) -> Layer {
    let pad = dilation * (kernel / 2);
    Layer::Conv {
        to: channels,
        kernel: [kernel; 2],
        stride: [stride; 2],
        pad: [pad; 2],
        dilation,
        depthwise: true,
        bias: false,
    }
}
fn biased(layer: Layer, with_bias: bool) -> Layer {
    match layer {
        Layer::Conv {
            to,
            kernel,
            stride,
            pad,
            dilation,
            depthwise,
            ..
        } => Layer::Conv {
            to,
            kernel,
            stride,
            pad,
            dilation,
            depthwise,
            bias: with_bias,
        },
        other => other,
    }
}

/// Size after a window of `kernel` moved over `size` padded cells.
fn window(size: usize, kernel: usize, stride: usize, pad: usize, dilation: usize) -> Option<usize> {
    let extent = dilation * (kernel - 1) + 1;
    Some((size + 2 * pad).checked_sub(extent)? / stride + 1)
}

impl Layer {
    fn apply(&self, input: Shape, affine: bool) -> Result<(Shape, Cost), DescError> {
        let too_small = |kernel: usize| {
            DescError::new(
                DescErrorKind::Shape,
                format!("a {kernel}×{kernel} window does not fit into the input, which is {input}"),
            )
        };
        let mut out = input;
        let mut cost = Cost::default();
        match *self {
            Layer::Conv {
                to,
                kernel,
                stride,
                pad,
                dilation,
                depthwise,
                bias,
            } => {
                let size = |axis: usize, size| {
                    window(size, kernel[axis], stride[axis], pad[axis], dilation)
                };
                out.channels = to;
                out.height = size(0, input.height).ok_or_else(|| too_small(kernel[0]))?;
                out.width = size(1, input.width).ok_or_else(|| too_small(kernel[1]))?;
                // A 1×7 convolution of stride (1, 2) halves one axis; its partner halves the other.
                out.scale = input.scale.saturating_mul(stride[0]);
                let from = if depthwise { 1 } else { input.channels };
                let weights = Cost::product(&[from, to, kernel[0], kernel[1]]);
                cost.macs = weights.saturating_mul(Cost::product(&[out.height, out.width]));
                cost.params = weights.saturating_add(if bias { to as u64 } else { 0 });
            }
            Layer::Norm => cost.params = if affine { 2 * input.channels as u64 } else { 0 },
            Layer::Pool {
                kernel,
                stride,
                pad,
            } => {
                out.height = window(input.height, kernel, stride, pad, 1)
                    .ok_or_else(|| too_small(kernel))?;
                out.width =
                    window(input.width, kernel, stride, pad, 1).ok_or_else(|| too_small(kernel))?;
                out.scale = input.scale.saturating_mul(stride);
            }
            Layer::Subsample(stride) => {
                out.height = input.height.div_ceil(stride);
                out.width = input.width.div_ceil(stride);
                out.scale = input.scale.saturating_mul(stride);
            }
        }
        Ok((out, cost))
    }
}

/// The factorised reduce: two pointwise convolutions of stride 2, the second one on the input without its first row and
/// column, each to half of the channels; norm.
fn factorized_reduce(op: &OpDesc, input: Shape, affine: bool) -> Result<(Shape, Cost), DescError> {
    if !input.height.is_multiple_of(2) || !input.width.is_multiple_of(2) {
        return Err(DescError::new(
            DescErrorKind::Shape,
            format!(
                "`{}` halves its input by a factorised reduce, which needs an even height and width, but the input is {input}; \
                 choose an image size that stays even at every reduction",
                op.name
            ),
        ));
    }
    // Both halves together are one pointwise convolution to all channels.
    layers_cost(&[conv(op.ch_out, 1, 2), Layer::Norm], input, affine)
}

fn layers_cost(layers: &[Layer], input: Shape, affine: bool) -> Result<(Shape, Cost), DescError> {
    let mut shape = input;
    let mut total = Cost::default();
    for layer in layers {
        let (next, cost) = layer.apply(shape, affine)?;
        shape = next;
        total += cost;
    }
    Ok((shape, total))
}

/// Joins states along the channels.
fn concat(op: &OpDesc, inputs: &[Shape]) -> Result<Shape, DescError> {
    let first = inputs[0];
    if let Some((i, other)) = inputs.iter().enumerate().find(|(_, s)| !s.same_size(first)) {
        return Err(DescError::new(
            DescErrorKind::Shape,
            format!(
                "`{}` joins inputs of one size, but input 0 is {first} and input {i} is {other}",
                op.name
            ),
        ));
    }
    Ok(Shape {
        channels: inputs.iter().map(|s| s.channels).sum(),
        ..first
    })
}

impl Kind {
    /// Whether the field `stride` is the user's choice; the other ops have their stride in their name.
    fn takes_stride(self) -> bool {
        matches!(
            self,
            Kind::None
                | Kind::Pool
                | Kind::Skip
                | Kind::Sep(_)
                | Kind::Dil(_)
                | Kind::Conv7
                | Kind::MbConv(_)
                | Kind::Conv(..)
                | Kind::Depthwise
                | Kind::Fit
                | Kind::Mixed
        )
    }

    fn run(
        self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        let (input, from, to, s) = (inputs[0], op.ch_in, op.ch_out, op.stride);
        let pool_norm = || {
            if op.flag("norm") {
                vec![Layer::Norm]
            } else {
                vec![]
            }
        };
        let layers = match self {
            Kind::None => vec![Layer::Subsample(s)],
            Kind::Pool => {
                let mut layers = vec![Layer::Pool {
                    kernel: 3,
                    stride: s,
                    pad: 1,
                }];
                layers.extend(pool_norm());
                layers
            }
            Kind::Identity => vec![],
            Kind::Skip if s == 1 => vec![],
            Kind::Skip | Kind::PreprReduce => return factorized_reduce(op, input, affine),
            Kind::Sep(k) => vec![
                depthwise(from, k, s, 1),
                conv(from, 1, 1),
                Layer::Norm,
                depthwise(from, k, 1, 1),
                conv(to, 1, 1),
                Layer::Norm,
            ],
            Kind::Dil(k) => vec![depthwise(from, k, s, 2), conv(to, 1, 1), Layer::Norm],
            Kind::Conv7 => {
                let part = |to, kernel, stride, pad| Layer::Conv {
                    to,
                    kernel,
                    stride,
                    pad,
                    dilation: 1,
                    depthwise: false,
                    bias: false,
                };
                vec![
                    part(from, [1, 7], [1, s], [0, 3]),
                    part(to, [7, 1], [s, 1], [3, 0]),
                    Layer::Norm,
                ]
            }
            Kind::Conv(k, norm) => {
                let conv = biased(conv(to, k, s), op.flag("bias"));
                match norm {
                    NormAt::Nowhere => vec![conv],
                    NormAt::Before => vec![Layer::Norm, conv],
                    NormAt::After => vec![conv, Layer::Norm],
                }
            }
            Kind::Depthwise => vec![depthwise(from, 3, s, 1), Layer::Norm],
            Kind::NormRelu => vec![Layer::Norm],
            Kind::Relu => vec![],
            Kind::Pool2 => vec![Layer::Pool {
                kernel: 2,
                stride: 2,
                pad: 0,
            }],
            Kind::Fit => {
                let (out, cost) = layers_cost(&[Layer::Subsample(s)], input, affine)?;
                return Ok((
                    Shape {
                        channels: to,
                        ..out
                    },
                    cost,
                ));
            }
            Kind::Stem7 => vec![
                conv(to, 7, 2),
                Layer::Norm,
                Layer::Pool {
                    kernel: 3,
                    stride: 2,
                    pad: 1,
                },
            ],
            Kind::PreprNormal => vec![conv(to, 1, 1), Layer::Norm],
            Kind::MbConv(ratio) => {
                let wide = ratio * from;
                vec![
                    biased(conv(wide, 1, 1), affine),
                    biased(depthwise(wide, 3, s, 1), affine),
                    biased(conv(to, 1, 1), affine),
                    Layer::Norm,
                ]
            }
            Kind::Stem(strides) => {
                let mut layers = Vec::new();
                for (i, &stride) in strides.iter().enumerate() {
                    let width = if i == 0 && strides.len() > 1 {
                        to / 2
                    } else {
                        to
                    };
                    layers.extend([conv(width, 3, stride), Layer::Norm]);
                }
                layers
            }
            Kind::MeanPool | Kind::NormReluMean => {
                let scale = input.scale.saturating_mul(input.height.max(input.width));
                return Ok((
                    Shape {
                        height: 1,
                        width: 1,
                        scale,
                        ..input
                    },
                    if self == Kind::NormReluMean {
                        Layer::Norm.apply(input, affine)?.1
                    } else {
                        Cost::default()
                    },
                ));
            }
            Kind::Pool7 => vec![Layer::Pool {
                kernel: 7,
                stride: 7,
                pad: 0,
            }],
            Kind::Linear | Kind::LinearRelu => {
                let weights = Cost::product(&[from, to]);
                let scale = input.scale.saturating_mul(input.height.max(input.width));
                let out = Shape {
                    channels: to,
                    height: 1,
                    width: 1,
                    scale,
                };
                return Ok((
                    out,
                    Cost {
                        params: weights.saturating_add(to as u64),
                        macs: weights,
                    },
                ));
            }
            Kind::Concat | Kind::Join => return Ok((concat(op, inputs)?, Cost::default())),
            Kind::Proj => {
                return layers_cost(&[conv(to, 1, 1), Layer::Norm], concat(op, inputs)?, affine);
            }
            Kind::Multi => {
                let mut outs = Vec::new();
                let mut total = Cost::default();
                for (i, child) in op.children.iter().enumerate() {
                    let at = |e: DescError| e.at(format!("child {i}"));
                    let input = [*inputs.get(child.input).ok_or_else(|| {
                        at(DescError::new(
                            DescErrorKind::Reference,
                            format!(
                                "reads input {} of `{}`, which has {} input(s)",
                                child.input,
                                op.name,
                                inputs.len()
                            ),
                        ))
                    })?];
                    outs.push(catalog.out_shape(&child.op, &input).map_err(at)?);
                    total += catalog.cost(&child.op, &input, affine).map_err(at)?;
                }
                let (out, cost) =
                    layers_cost(&[conv(to, 1, 1), Layer::Norm], concat(op, &outs)?, affine)?;
                total += cost;
                return Ok((out, total));
            }
            Kind::Mixed => {
                let mut out: Option<Shape> = None;
                let mut total = Cost::default();
                for (i, child) in op.children.iter().enumerate() {
                    let at = |e: DescError| e.at(format!("child {i} (`{}`)", child.op.name));
                    let shape = catalog.out_shape(&child.op, inputs).map_err(at)?;
                    if let Some(first) = out.filter(|first| *first != shape) {
                        return Err(at(DescError::new(
                            DescErrorKind::Shape,
                            format!(
                                "gives {shape}, but child 0 gives {first}; all children of `{}` must agree",
                                op.name
                            ),
                        )));
                    }
                    out = Some(shape);
                    total += catalog.cost(&child.op, inputs, affine).map_err(at)?;
                }
                return Ok((out.unwrap_or(input), total));
            }
        };
        layers_cost(&layers, input, affine)
    }
}

/// A built-in op.
pub(super) struct Builtin {
    name: &'static str,
    summary: &'static str,
    kind: Kind,
}

impl OpInfo for Builtin {
    fn name(&self) -> &str {
        self.name
    }
    fn summary(&self) -> &str {
        self.summary
    }
    fn arity(&self) -> Arity {
        match self.kind {
            Kind::Concat | Kind::Join | Kind::Proj | Kind::Multi => Arity::Any,
            _ => Arity::Fixed(1),
        }
    }
    fn params(&self) -> &[ParamInfo] {
        const NORM: &[ParamInfo] = &[ParamInfo {
            name: "norm",
            ty: ParamType::Bool,
            summary: "a norm follows, as inside the mixed op of DARTS (default false)",
        }];
        const KEEP: ParamInfo = ParamInfo {
            name: "keep",
            ty: ParamType::Bool,
            summary: "drop-path leaves the op alone, because it is the only way through its block (default false)",
        };
        const CONV: &[ParamInfo] = &[
            KEEP,
            ParamInfo {
                name: "bias",
                ty: ParamType::Bool,
                summary: "the convolution has a bias (default false)",
            },
        ];
        const FIT: &[ParamInfo] = &[ParamInfo {
            name: "offset",
            ty: ParamType::Int,
            summary: "zeros before the first channel, where the output is wider (default 0)",
        }];
        match self.kind {
            Kind::Pool => NORM,
            Kind::Conv(..) => CONV,
            Kind::Depthwise => &CONV[..1],
            Kind::Fit => FIT,
            _ => &[],
        }
    }
    fn joins_channels(&self) -> bool {
        self.kind == Kind::Join
    }
    fn has_children(&self) -> bool {
        matches!(self.kind, Kind::Multi | Kind::Mixed)
    }
    fn is_primitive(&self) -> bool {
        matches!(
            self.kind,
            Kind::None
                | Kind::Pool
                | Kind::Skip
                | Kind::Sep(_)
                | Kind::Dil(_)
                | Kind::Conv7
                | Kind::Conv(..)
                | Kind::MbConv(_)
        )
    }
    fn is_zero(&self) -> bool {
        self.kind == Kind::None
    }
    fn can_drop_path(&self, op: &OpDesc) -> bool {
        match self.kind {
            // A path that cannot be dropped must remain, or nothing might.
            Kind::Skip => op.stride != 1,
            Kind::Conv(..) | Kind::Depthwise => !op.flag("keep"),
            Kind::Identity
            | Kind::Relu
            | Kind::NormRelu
            | Kind::Pool2
            | Kind::Fit
            | Kind::Stem(_)
            | Kind::Stem7
            | Kind::MeanPool
            | Kind::NormReluMean
            | Kind::Pool7
            | Kind::Linear
            | Kind::LinearRelu
            | Kind::Concat
            | Kind::Join
            | Kind::Proj => false,
            _ => true,
        }
    }
    fn finalize(
        &self,
        op: &OpDesc,
        weights: &[f64],
        catalog: &OpCatalog,
    ) -> Result<Finalized, DescError> {
        let mut desc = op.clone();
        match self.kind {
            Kind::Mixed => return strongest_child(op, weights, catalog),
            // Found networks have bare pools.
            Kind::Pool => drop(desc.params.shift_remove("norm")),
            _ => {}
        }
        Ok(Finalized { desc, rank: None })
    }
    fn in_features(&self, input: Shape) -> usize {
        match self.kind {
            Kind::Linear | Kind::LinearRelu => input
                .channels
                .saturating_mul(input.height)
                .saturating_mul(input.width),
            _ => input.channels,
        }
    }
    fn check(&self, op: &OpDesc, _catalog: &OpCatalog) -> Result<(), DescError> {
        let error = |text: String| {
            Err(DescError::new(
                DescErrorKind::Param,
                format!("`{}` {text}", op.name),
            ))
        };
        if self.kind.takes_stride() {
            if !matches!(op.stride, 1 | 2) {
                return error(format!("has `stride: {}`; expected 1 or 2", op.stride));
            }
        } else if op.stride != 1 {
            return error(format!(
                "has `stride: {}`, but its stride is fixed; remove the field",
                op.stride
            ));
        }
        let factorised =
            self.kind == Kind::PreprReduce || self.kind == Kind::Skip && op.stride == 2;
        let halves = matches!(self.kind, Kind::Stem(strides) if strides.len() > 1) || factorised;
        if halves && !op.ch_out.is_multiple_of(2) {
            return error(format!(
                "makes its channels from two halves; `ch_out: {}` must be even",
                op.ch_out
            ));
        }
        let keeps = matches!(
            self.kind,
            Kind::None
                | Kind::Pool
                | Kind::Pool2
                | Kind::Identity
                | Kind::Relu
                | Kind::NormRelu
                | Kind::Depthwise
                | Kind::MeanPool
                | Kind::NormReluMean
                | Kind::Pool7
                | Kind::Join
        ) || self.kind == Kind::Skip && op.stride == 1;
        if keeps && op.ch_in != op.ch_out {
            return error(format!(
                "keeps its channels, but `ch_in` is {} and `ch_out` is {}",
                op.ch_in, op.ch_out
            ));
        }
        if self.kind == Kind::Fit {
            let room = op.ch_out.saturating_sub(op.ch_in);
            let offset = op.int("offset").unwrap_or(0);
            if usize::try_from(offset).map_or(true, |offset| offset > room) {
                return error(format!(
                    "has `offset: {offset}`; going {}→{} channels there is room for 0 to {room}",
                    op.ch_in, op.ch_out
                ));
            }
        }
        if self.kind == Kind::Mixed {
            for (i, child) in op.children.iter().enumerate() {
                let c = &child.op;
                if c.is_mixed() {
                    return error(format!(
                        "cannot have another mixed op (child {i}, `{}`) inside",
                        c.name
                    ));
                }
                if child.input != 0 {
                    return error(format!(
                        "has one input, but child {i} (`{}`) reads input {}",
                        c.name, child.input
                    ));
                }
                if (c.ch_in, c.ch_out, c.stride) != (op.ch_in, op.ch_out, op.stride) {
                    return error(format!(
                        "goes {}→{} with stride {}, but child {i} (`{}`) goes {}→{} with stride {}; make them equal",
                        op.ch_in, op.ch_out, op.stride, c.name, c.ch_in, c.ch_out, c.stride
                    ));
                }
            }
        }
        Ok(())
    }
    fn out_shape(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        catalog: &OpCatalog,
    ) -> Result<Shape, DescError> {
        Ok(self.kind.run(op, inputs, false, catalog)?.0)
    }
    fn cost(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<Cost, DescError> {
        Ok(self.kind.run(op, inputs, affine, catalog)?.1)
    }
}

/// All built-in ops, primitives first.
pub(super) fn all() -> Vec<Builtin> {
    let op = |name, kind, summary| Builtin {
        name,
        summary,
        kind,
    };
    vec![
        op("max_pool_3x3", Kind::Pool, "3×3 max pool"),
        op(
            "avg_pool_3x3",
            Kind::Pool,
            "3×3 average pool; padding does not count",
        ),
        op(
            "skip_connect",
            Kind::Skip,
            "identity; with stride 2 a factorised reduce",
        ),
        op(
            "sep_conv_3x3",
            Kind::Sep(3),
            "twice ReLU, depthwise 3×3, pointwise, norm",
        ),
        op(
            "sep_conv_5x5",
            Kind::Sep(5),
            "twice ReLU, depthwise 5×5, pointwise, norm",
        ),
        op(
            "sep_conv_7x7",
            Kind::Sep(7),
            "twice ReLU, depthwise 7×7, pointwise, norm",
        ),
        op(
            "dil_conv_3x3",
            Kind::Dil(3),
            "ReLU, depthwise 3×3 with dilation 2, pointwise, norm",
        ),
        op(
            "dil_conv_5x5",
            Kind::Dil(5),
            "ReLU, depthwise 5×5 with dilation 2, pointwise, norm",
        ),
        op(
            "conv_7x1_1x7",
            Kind::Conv7,
            "ReLU, 1×7, 7×1 convolution, norm",
        ),
        op(
            "convbnrelu_3x3",
            Kind::Conv(3, NormAt::After),
            "3×3 convolution, norm, ReLU",
        ),
        op(
            "convbnrelu_1x1",
            Kind::Conv(1, NormAt::After),
            "1×1 convolution, norm, ReLU",
        ),
        op(
            "nor_conv_3x3",
            Kind::Conv(3, NormAt::After),
            "ReLU, 3×3 convolution, norm: NAS-Bench-201",
        ),
        op(
            "nor_conv_1x1",
            Kind::Conv(1, NormAt::After),
            "ReLU, 1×1 convolution, norm: NAS-Bench-201",
        ),
        op(
            "convbn_3x3",
            Kind::Conv(3, NormAt::After),
            "3×3 convolution, norm",
        ),
        op(
            "convbn_1x1",
            Kind::Conv(1, NormAt::After),
            "1×1 convolution, norm",
        ),
        op(
            "convbnrelu6_3x3",
            Kind::Conv(3, NormAt::After),
            "3×3 convolution, norm, ReLU6",
        ),
        op(
            "convbnrelu6_1x1",
            Kind::Conv(1, NormAt::After),
            "1×1 convolution, norm, ReLU6",
        ),
        op(
            "bnreluconv_3x3",
            Kind::Conv(3, NormAt::Before),
            "norm, ReLU, 3×3 convolution",
        ),
        op(
            "bnreluconv_1x1",
            Kind::Conv(1, NormAt::Before),
            "norm, ReLU, 1×1 convolution",
        ),
        op(
            "conv_3x3",
            Kind::Conv(3, NormAt::Nowhere),
            "3×3 convolution alone",
        ),
        op(
            "conv_1x1",
            Kind::Conv(1, NormAt::Nowhere),
            "1×1 convolution alone",
        ),
        op(
            "dwconvbnrelu6_3x3",
            Kind::Depthwise,
            "depthwise 3×3 convolution, norm, ReLU6",
        ),
        op(
            "mbconv_r1",
            Kind::MbConv(1),
            "pointwise, ReLU6, depthwise 3×3, ReLU6, pointwise, norm",
        ),
        op(
            "mbconv_r2",
            Kind::MbConv(2),
            "mbconv_r1 with twice the channels inside",
        ),
        op(
            "mbconv_r3",
            Kind::MbConv(3),
            "mbconv_r1 with three times the channels inside",
        ),
        op("none", Kind::None, "zeros"),
        op("identity", Kind::Identity, "the input itself"),
        op("relu", Kind::Relu, "ReLU"),
        op("bnrelu", Kind::NormRelu, "norm, ReLU"),
        op(
            "max_pool_2x2",
            Kind::Pool2,
            "max of non-overlapping 2×2 windows: halves height and width",
        ),
        op(
            "avg_pool_2x2",
            Kind::Pool2,
            "average of non-overlapping 2×2 windows: halves height and width",
        ),
        op(
            "fit_channels",
            Kind::Fit,
            "the first channels, or all of them with zeros around; every other pixel with stride 2",
        ),
        op(
            "prepr_normal",
            Kind::PreprNormal,
            "ReLU, pointwise, norm: brings a cell's input to its channels",
        ),
        op(
            "prepr_reduce",
            Kind::PreprReduce,
            "ReLU, factorised reduce, norm: also halves height and width",
        ),
        op("stem_conv3x3", Kind::Stem(&[1]), "3×3 convolution, norm"),
        op(
            "stem_conv3x3Relu",
            Kind::Stem(&[1]),
            "3×3 convolution, norm, ReLU",
        ),
        op(
            "stem_conv3x3_s2",
            Kind::Stem(&[2]),
            "3×3 convolution of stride 2, norm",
        ),
        op(
            "stem_conv3x3_s4",
            Kind::Stem(&[2, 2]),
            "two 3×3 convolutions of stride 2 with norms, ReLU between",
        ),
        op(
            "stem_conv3x3_s4s2",
            Kind::Stem(&[2, 2, 2]),
            "three 3×3 convolutions of stride 2 with norms, ReLU between",
        ),
        op(
            "stem_conv7x7_s2_pool",
            Kind::Stem7,
            "7×7 convolution of stride 2, norm, ReLU, 3×3 max pool of stride 2",
        ),
        op(
            "stem_relu_conv3x3_s2",
            Kind::Stem(&[2]),
            "ReLU, 3×3 convolution of stride 2, norm: ImageNet's second stem",
        ),
        op(
            "pool_adaptive_avg2d",
            Kind::MeanPool,
            "mean over height and width",
        ),
        op(
            "pool_mean_tensor",
            Kind::MeanPool,
            "mean over height and width, axes dropped",
        ),
        op(
            "pool_avg2d7x7",
            Kind::Pool7,
            "non-overlapping 7×7 average pool",
        ),
        op(
            "bnrelu_pool_avg2d",
            Kind::NormReluMean,
            "norm, ReLU, mean over height and width: after cells that end without",
        ),
        op("linear", Kind::Linear, "flatten, linear with bias"),
        op(
            "linear_relu",
            Kind::LinearRelu,
            "flatten, linear with bias, ReLU",
        ),
        op(
            "concate_channels",
            Kind::Concat,
            "joins states along the channels",
        ),
        op(
            "concat_states",
            Kind::Join,
            "joins states of any channels; `ch_in` counts them all",
        ),
        op(
            "proj_channels",
            Kind::Proj,
            "joins states along the channels, pointwise, norm",
        ),
        op(
            "multi_op",
            Kind::Multi,
            "its children side by side, joined along the channels, pointwise, norm",
        ),
        op(
            "mixed_op",
            Kind::Mixed,
            "weighted sum of its children, one architecture parameter each",
        ),
    ]
}
