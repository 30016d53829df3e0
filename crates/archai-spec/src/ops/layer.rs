//! The vocabulary: each layer is one operation of any tensor library, with all facts that its execution needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::function::{Activation, Share};
use crate::desc::{Cost, DescError, DescErrorKind, Shape};

/// Sizes of a 2-D convolution (cross-correlation). Its weight has the shape
/// `[c_out, c_in / groups, kernel height, kernel width]`.
///
/// ```
/// use archai_spec::ops::ConvShape;
/// let conv = ConvShape::depthwise(16, 3).with_stride(2).with_dilation(2);
/// assert_eq!((conv.groups, conv.padding), (16, [2, 2]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConvShape {
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Steps in height and width.
    pub stride: [usize; 2],
    /// Zeros on both sides in height and width.
    pub padding: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl ConvShape {
    /// A square convolution of odd size `k` that keeps height and width.
    pub fn new(c_in: usize, c_out: usize, k: usize) -> Self {
        ConvShape {
            c_in,
            c_out,
            kernel: [k, k],
            stride: [1, 1],
            padding: [k / 2, k / 2],
            dilation: 1,
            groups: 1,
            bias: false,
        }
    }
    /// One filter per channel.
    pub fn depthwise(c: usize, k: usize) -> Self {
        ConvShape {
            groups: c,
            ..ConvShape::new(c, c, k)
        }
    }
    /// The same with a stride.
    pub fn with_stride(self, stride: usize) -> Self {
        ConvShape {
            stride: [stride, stride],
            ..self
        }
    }
    /// The same with dilation; padding grows so that the size is kept.
    pub fn with_dilation(self, dilation: usize) -> Self {
        let padding = self.kernel.map(|k| dilation * (k / 2));
        ConvShape {
            dilation,
            padding,
            ..self
        }
    }
    /// The same with or without bias.
    pub fn with_bias(self, bias: bool) -> Self {
        ConvShape { bias, ..self }
    }
    /// Whether each output pixel sees one input pixel alone.
    pub fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.padding == [0, 0] && self.groups == 1
    }
}

/// A square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolShape {
    /// Height and width of the window.
    pub kernel: usize,
    /// Steps in height and width.
    pub stride: usize,
    /// Pixels around the map on each side.
    pub padding: usize,
}

impl PoolShape {
    /// A window of odd size `k` around every `stride`-th pixel.
    pub fn centred(k: usize, stride: usize) -> Self {
        PoolShape {
            kernel: k,
            stride,
            padding: k / 2,
        }
    }
    /// Windows of size `k`, none around the map: those that do not fit are left out.
    pub fn unpadded(k: usize, stride: usize) -> Self {
        PoolShape {
            kernel: k,
            stride,
            padding: 0,
        }
    }
}

/// One operation on feature maps `[N, C, H, W]`. Layers that give one number per channel give maps of one pixel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "layer", rename_all = "snake_case")]
pub enum Layer {
    /// Zeros in the shape of every `stride`-th row and column of the input.
    Zero {
        /// Steps in height and width.
        stride: usize,
    },
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// Any other function of each number by itself.
    Activation {
        /// Which one.
        function: Activation,
    },
    /// A 2-D convolution.
    Conv(ConvShape),
    /// A batch norm: (x − mean)/√(var + 1e-5) per channel, times scale plus shift if `affine`. In training by the batch's
    /// statistics; the running statistics move by a tenth towards them.
    Norm {
        /// Channels.
        channels: usize,
        /// Whether it has a learnt scale and shift.
        affine: bool,
    },
    /// The maximum of each window; padding never wins.
    MaxPool(PoolShape),
    /// The mean of each window.
    AvgPool {
        /// The windows.
        #[serde(flatten)]
        window: PoolShape,
        /// Whether padding counts as zeros; if not, a window at the border is the mean of fewer pixels.
        count_include_pad: bool,
    },
    /// The mean over height and width: maps of one pixel.
    GlobalMean,
    /// All features as channels of one pixel, in the order channel, row, column.
    Flatten,
    /// W·x (+ b) on maps of one pixel. The weight has the shape `[n_out, n_in]`.
    Linear {
        /// Input features.
        n_in: usize,
        /// Output features.
        n_out: usize,
        /// Whether it has a bias.
        bias: bool,
    },
    /// Every `stride`-th row and column, from the first.
    Subsample {
        /// Steps in height and width.
        stride: usize,
    },
    /// The map without its first rows and columns.
    Crop {
        /// Rows to leave out.
        top: usize,
        /// Columns to leave out.
        left: usize,
    },
    /// The map moved up and left by one pixel: without its first row and column, and with zeros after its last ones where a
    /// side is odd, so that a stride of 2 gives half of the pixels, rounded up, as it does over the whole map. For the second
    /// half of a factorised reduce; only unpadded 1×1 convolutions of stride 2 may read it. A [`Graph`](crate::graph::Graph),
    /// whose shapes are known, says it in other layers.
    Shift,
    /// The first channels.
    TakeChannels {
        /// How many.
        channels: usize,
    },
    /// Channels of zeros around those of the input.
    PadChannels {
        /// Channels before.
        before: usize,
        /// Channels after.
        after: usize,
    },
    /// All channels of the inputs, one input after the other.
    Concat,
    /// The sum of the inputs.
    Add,
    /// Each channel of the first input times its number in the second one, a map of one pixel with as many channels.
    Scale,
    /// Σ w\[places\[i\]\]·xᵢ over the inputs, w being the `of` weights that a relaxation makes of an edge's architecture
    /// parameters. Candidates that give zeros are no inputs but keep their weight.
    Mix {
        /// For each input, the place of its weight.
        places: Vec<usize>,
        /// How many weights there are.
        of: usize,
    },
    /// Marks what drop-path (Larsson et al. 2017) may drop in training: each sample's map is zero with some probability p,
    /// and divided by 1 − p otherwise. The identity in evaluation.
    DropPath,
    /// A dropout (Srivastava et al. 2014): in training each number is zero with the probability `share`, and divided by
    /// 1 − `share` otherwise. The identity in evaluation.
    Dropout {
        /// The probability.
        share: Share,
    },
}

/// What a parameter of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    /// Weight of a convolution or linear layer.
    Weight,
    /// Its bias.
    Bias,
    /// Scale of a norm.
    Scale,
    /// Shift of a norm.
    Shift,
    /// Running mean of a norm: kept, not learnt.
    RunningMean,
    /// Running variance of a norm: kept, not learnt.
    RunningVar,
}

impl ParamKind {
    /// Name in state dicts, as PyTorch's layers name it.
    pub fn name(self) -> &'static str {
        match self {
            ParamKind::Weight | ParamKind::Scale => "weight",
            ParamKind::Bias | ParamKind::Shift => "bias",
            ParamKind::RunningMean => "running_mean",
            ParamKind::RunningVar => "running_var",
        }
    }
    /// Whether it is learnt: running statistics are not.
    pub fn is_learnt(self) -> bool {
        !matches!(self, ParamKind::RunningMean | ParamKind::RunningVar)
    }
}

/// A parameter of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerParam {
    /// What it is.
    pub kind: ParamKind,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Size after a window of `kernel` taps moved over `size` padded cells; `None` if it does not fit once.
fn window(size: usize, kernel: usize, stride: usize, pad: usize, dilation: usize) -> Option<usize> {
    let extent = (kernel.checked_sub(1)?.saturating_mul(dilation)).saturating_add(1);
    let padded = size.saturating_add(2usize.saturating_mul(pad));
    Some(padded.checked_sub(extent)?.checked_div(stride)? + 1)
}

/// The layer with what matters of it, in a few words: `conv 3×3 16→32 stride 2 groups 16`.
impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pair = |[a, b]: [usize; 2]| match a == b {
            true => a.to_string(),
            false => format!("{a}×{b}"),
        };
        let pool = |f: &mut fmt::Formatter<'_>, name: &str, p: &PoolShape| {
            write!(f, "{name} {0}×{0} stride {1}", p.kernel, p.stride)?;
            match p.padding {
                0 => Ok(()),
                n => write!(f, " padding {n}"),
            }
        };
        match self {
            Layer::Zero { stride } => write!(f, "zeros stride {stride}"),
            Layer::Relu => f.write_str("ReLU"),
            Layer::Relu6 => f.write_str("ReLU6"),
            Layer::Activation { function } => f.write_str(function.title()),
            Layer::Conv(c) => {
                let [h, w] = c.kernel;
                write!(f, "conv {h}×{w} {}→{}", c.c_in, c.c_out)?;
                if c.stride != [1, 1] {
                    write!(f, " stride {}", pair(c.stride))?;
                }
                if c.padding != [0, 0] {
                    write!(f, " padding {}", pair(c.padding))?;
                }
                if c.dilation != 1 {
                    write!(f, " dilation {}", c.dilation)?;
                }
                if c.groups != 1 {
                    write!(f, " groups {}", c.groups)?;
                }
                f.write_str(if c.bias { " bias" } else { "" })
            }
            Layer::Norm { affine, .. } => f.write_str(if *affine { "norm affine" } else { "norm" }),
            Layer::MaxPool(p) => pool(f, "max pool", p),
            Layer::AvgPool {
                window,
                count_include_pad,
            } => {
                pool(f, "average pool", window)?;
                f.write_str(match (window.padding, count_include_pad) {
                    (0, _) => "",
                    (_, true) => ", padding counts",
                    (_, false) => ", padding does not count",
                })
            }
            Layer::GlobalMean => f.write_str("mean over height and width"),
            Layer::Flatten => f.write_str("flatten"),
            Layer::Linear { n_in, n_out, bias } => {
                write!(f, "linear {n_in}→{n_out}")?;
                f.write_str(if *bias { " bias" } else { "" })
            }
            Layer::Subsample { stride } => {
                let suffix = match (stride % 10, stride % 100) {
                    (_, 11..=13) => "th",
                    (1, _) => "st",
                    (2, _) => "nd",
                    (3, _) => "rd",
                    _ => "th",
                };
                write!(f, "every {stride}{suffix} row and column")
            }
            Layer::Crop { top, left } => write!(f, "without {top} row(s) and {left} column(s)"),
            Layer::Shift => f.write_str("without 1 row(s) and 1 column(s), sides made even"),
            Layer::TakeChannels { channels } => write!(f, "first {channels} channels"),
            Layer::PadChannels { before, after } => {
                write!(f, "{before} channels of zeros before, {after} after")
            }
            Layer::Concat => f.write_str("concat"),
            Layer::Add => f.write_str("add"),
            Layer::Scale => f.write_str("each channel times a number"),
            Layer::Mix { of, .. } => write!(f, "weighted sum with {of} weights"),
            Layer::DropPath => f.write_str("drop-path"),
            Layer::Dropout { share } => write!(f, "dropout of {share}"),
        }
    }
}

fn shape_error<T>(text: String) -> Result<T, DescError> {
    Err(DescError::new(DescErrorKind::Shape, text))
}

impl Layer {
    /// How values of this layer are called: `conv`, `bn`, `linear`, `relu`, ….
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Zero { .. } => "zero",
            Layer::Relu => "relu",
            // A number follows the name.
            Layer::Relu6 => "relu6_",
            Layer::Activation { function } => function.name(),
            Layer::Conv(_) => "conv",
            Layer::Norm { .. } => "bn",
            Layer::MaxPool(_) => "max_pool",
            Layer::AvgPool { .. } => "avg_pool",
            Layer::GlobalMean => "mean",
            Layer::Flatten => "flatten",
            Layer::Linear { .. } => "linear",
            Layer::Subsample { .. } => "subsample",
            // By the name of what it comes to.
            Layer::Crop { .. } | Layer::Shift => "crop",
            Layer::TakeChannels { .. } => "take",
            Layer::PadChannels { .. } => "pad",
            Layer::Concat => "concat",
            Layer::Add => "add",
            Layer::Scale => "scale",
            Layer::Mix { .. } => "mix",
            Layer::DropPath => "drop_path",
            Layer::Dropout { .. } => "dropout",
        }
    }

    /// Its parameters, in the order of state dicts: learnt ones, then running statistics.
    pub fn params(&self) -> Vec<LayerParam> {
        use ParamKind::{Bias, RunningMean, RunningVar, Scale, Shift, Weight};
        let param = |kind, shape: &[usize]| LayerParam {
            kind,
            shape: shape.to_vec(),
        };
        match *self {
            Layer::Conv(c) => {
                let [h, w] = c.kernel;
                let weight = [c.c_out, c.c_in / c.groups.max(1), h, w];
                let mut params = vec![param(Weight, &weight)];
                params.extend(c.bias.then(|| param(Bias, &[c.c_out])));
                params
            }
            Layer::Linear { n_in, n_out, bias } => {
                let mut params = vec![param(Weight, &[n_out, n_in])];
                params.extend(bias.then(|| param(Bias, &[n_out])));
                params
            }
            Layer::Norm { channels, affine } => {
                let learnt = if affine { &[Scale, Shift][..] } else { &[] };
                let kinds = learnt.iter().chain(&[RunningMean, RunningVar]);
                kinds.map(|&kind| param(kind, &[channels])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether it does something in training only and gives back its input otherwise.
    pub fn is_only_training(&self) -> bool {
        matches!(self, Layer::DropPath | Layer::Dropout { .. })
    }

    /// Whether the output is the input (in evaluation) or the input's numbers in another shape, so that it needs no
    /// memory of its own.
    pub fn is_view(&self) -> bool {
        *self == Layer::Flatten || self.is_only_training()
    }

    /// Shape of the output, and the layer's learnt numbers and multiply-adds for one image.
    ///
    /// # Errors
    /// Says which shape does not fit: channels that the layer does not have, a window larger than the map, joined inputs of
    /// different sizes. Says which number a layer cannot have: a stride or dilation of 0, groups that do not divide the
    /// channels, weights of a sum that are not there.
    pub fn measure(&self, inputs: &[Shape]) -> Result<(Shape, Cost), DescError> {
        let Some(&input) = inputs.first() else {
            return shape_error(format!("a layer `{}` without inputs", self.name()));
        };
        self.check()?;
        let out = self.out_shape(input, inputs)?;
        let params = self.params();
        let learnt = params.iter().filter(|p| p.kind.is_learnt());
        let numbers = |p: &LayerParam| Cost::product(&p.shape);
        let weights = params.iter().find(|p| p.kind == ParamKind::Weight);
        let pixels = Cost::product(&[out.height, out.width]);
        Ok((
            out,
            Cost {
                params: learnt.map(numbers).fold(0, u64::saturating_add),
                // Each weight meets every pixel of the output once.
                macs: weights.map_or(0, |w| numbers(w).saturating_mul(pixels)),
            },
        ))
    }

    /// Checks the layer's own numbers.
    fn check(&self) -> Result<(), DescError> {
        let error = |text: String| {
            let text = format!("the layer `{}` {text}", self.name());
            Err(DescError::new(DescErrorKind::Param, text))
        };
        match self {
            Layer::Conv(c) => {
                if c.c_in == 0 || c.c_out == 0 {
                    return error(format!(
                        "goes from {} to {} channels; expected at least 1 (a map of one channel cannot be halved by a \
                         factorised reduction)",
                        c.c_in, c.c_out
                    ));
                }
                if c.stride.contains(&0) || c.dilation == 0 {
                    let ([h, w], dilation) = (c.stride, c.dilation);
                    return error(format!(
                        "has stride {h}×{w} and dilation {dilation}; expected at least 1"
                    ));
                }
                let divides = |n: usize| n.checked_rem(c.groups) == Some(0);
                if !(divides(c.c_in) && divides(c.c_out)) {
                    return error(format!(
                        "has {} groups, which must divide its {} input channels and its {} output channels",
                        c.groups, c.c_in, c.c_out
                    ));
                }
            }
            Layer::Zero { stride }
            | Layer::Subsample { stride }
            | Layer::MaxPool(PoolShape { stride, .. })
            | Layer::AvgPool {
                window: PoolShape { stride, .. },
                ..
            } if *stride == 0 => return error("has stride 0; expected at least 1".to_string()),
            Layer::Mix { places, of } => {
                if let Some(place) = places.iter().find(|place| *place >= of) {
                    return error(format!(
                        "takes weight {place} of an input, but there are {of} weights"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn out_shape(&self, input: Shape, inputs: &[Shape]) -> Result<Shape, DescError> {
        let too_small = |kernel: usize| {
            let text =
                format!("a {kernel}×{kernel} window does not fit into the input, which is {input}");
            DescError::new(DescErrorKind::Shape, text)
        };
        let expect = |channels: usize| {
            if input.channels == channels {
                return Ok(());
            }
            let name = self.name();
            shape_error(format!(
                "the layer `{name}` expects {channels} channels, but its input is {input}"
            ))
        };
        let one_pixel = Shape {
            height: 1,
            width: 1,
            scale: (input.scale).saturating_mul(input.height.max(input.width)),
            ..input
        };
        Ok(match self {
            Layer::Zero { stride } | Layer::Subsample { stride } => Shape {
                height: input.height.div_ceil(*stride),
                width: input.width.div_ceil(*stride),
                scale: input.scale.saturating_mul(*stride),
                ..input
            },
            Layer::Conv(c) => {
                expect(c.c_in)?;
                let size = |axis: usize, size| {
                    let (kernel, stride) = (c.kernel[axis], c.stride[axis]);
                    window(size, kernel, stride, c.padding[axis], c.dilation)
                        .ok_or_else(|| too_small(kernel))
                };
                Shape {
                    channels: c.c_out,
                    height: size(0, input.height)?,
                    width: size(1, input.width)?,
                    // A 1×7 convolution of stride (1, 2) halves one axis; its partner halves the other.
                    scale: input.scale.saturating_mul(c.stride[0]),
                }
            }
            Layer::MaxPool(p) | Layer::AvgPool { window: p, .. } => {
                let size = |size| {
                    window(size, p.kernel, p.stride, p.padding, 1)
                        .ok_or_else(|| too_small(p.kernel))
                };
                Shape {
                    height: size(input.height)?,
                    width: size(input.width)?,
                    scale: input.scale.saturating_mul(p.stride),
                    ..input
                }
            }
            Layer::Norm { channels, .. } => {
                expect(*channels)?;
                input
            }
            Layer::Relu
            | Layer::Relu6
            | Layer::Activation { .. }
            | Layer::DropPath
            | Layer::Dropout { .. } => input,
            Layer::Scale => {
                let [_, factors] = inputs else {
                    return shape_error(format!(
                        "a layer `scale` reads maps and their factors, but has {} input(s)",
                        inputs.len()
                    ));
                };
                if (factors.channels, factors.height, factors.width) != (input.channels, 1, 1) {
                    return shape_error(format!(
                        "the channels of {input} are scaled by {factors}; expected one number for each of the {} channels",
                        input.channels
                    ));
                }
                input
            }
            Layer::GlobalMean => one_pixel,
            Layer::Flatten => Shape {
                channels: (input.channels)
                    .saturating_mul(input.height)
                    .saturating_mul(input.width),
                ..one_pixel
            },
            Layer::Linear { n_in, n_out, .. } => {
                expect(*n_in)?;
                if (input.height, input.width) != (1, 1) {
                    return shape_error(format!(
                        "a linear layer expects maps of one pixel, but its input is {input}; flatten it first"
                    ));
                }
                Shape {
                    channels: *n_out,
                    ..input
                }
            }
            Layer::Crop { top, left } => {
                let rest = |size: usize, by: usize| size.checked_sub(by).filter(|&rest| rest > 0);
                let (Some(height), Some(width)) =
                    (rest(input.height, *top), rest(input.width, *left))
                else {
                    return shape_error(format!(
                        "{top} row(s) and {left} column(s) are cut from a map, but it is {input}"
                    ));
                };
                Shape {
                    height,
                    width,
                    ..input
                }
            }
            Layer::Shift => Shape {
                // As far as a stride of 2 needs it: an even side loses a pixel, an odd one gets zeros in its place.
                height: input.height - usize::from(input.height.is_multiple_of(2)),
                width: input.width - usize::from(input.width.is_multiple_of(2)),
                ..input
            },
            Layer::TakeChannels { channels } => {
                if *channels > input.channels {
                    return shape_error(format!(
                        "the first {channels} channels are taken, but the input is {input}"
                    ));
                }
                Shape {
                    channels: *channels,
                    ..input
                }
            }
            Layer::PadChannels { before, after } => Shape {
                channels: (input.channels)
                    .saturating_add(*before)
                    .saturating_add(*after),
                ..input
            },
            Layer::Concat => {
                if let Some((i, other)) =
                    (inputs.iter().enumerate()).find(|(_, s)| !s.same_size(input))
                {
                    return shape_error(format!(
                        "joins inputs of one size, but input 0 is {input} and input {i} is {other}"
                    ));
                }
                let channels = inputs.iter().map(|s| s.channels);
                Shape {
                    channels: channels.fold(0, usize::saturating_add),
                    ..input
                }
            }
            Layer::Add | Layer::Mix { .. } => {
                if let Layer::Mix { places, .. } = self
                    && places.len() != inputs.len()
                {
                    return shape_error(format!(
                        "a weighted sum names the weights of {} input(s), but reads {}",
                        places.len(),
                        inputs.len()
                    ));
                }
                if let Some((i, other)) = (inputs.iter().enumerate()).find(|(_, s)| **s != input) {
                    return shape_error(format!(
                        "adds inputs of one shape, but input 0 is {input} and input {i} is {other}"
                    ));
                }
                input
            }
        })
    }
}
