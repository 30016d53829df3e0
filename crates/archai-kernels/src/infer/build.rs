//! A network as its user spells it out: one layer after the other, each checked as it is added.

use super::net::Net;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::product::Act;

/// A value of a network in the making: the input, or what a layer gives. Of use only with the builder that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(pub(super) usize);

/// The sizes of a convolution, each pair being (rows, columns). Weights have PyTorch's shape and order:
/// `[channels, input channels / groups, rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvSizes {
    /// Output channels.
    pub channels: usize,
    /// Sides of the window.
    pub kernel: (usize, usize),
    /// Strides.
    pub stride: (usize, usize),
    /// Zeros on each side.
    pub padding: (usize, usize),
    /// Distance of the window's taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// The sizes of a square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolSizes {
    /// Side of the window.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Pixels around the map on each side.
    pub padding: usize,
}

/// What a pooling window gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolMode {
    /// The maximum; padding never wins.
    Max,
    /// The mean.
    Average {
        /// Whether padding counts as zeros; if not, a window at the border is the mean of fewer pixels.
        padding_counts: bool,
    },
}

/// A function of each number, beside ReLU and ReLU6. Not-a-number stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// x · min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// min(max(x + 3, 0), 6) / 6.
    HardSigmoid,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x · Φ(x), by the error function.
    Gelu,
    /// x / (1 + e⁻ˣ).
    Silu,
}

/// A layer of the network.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Input,
    /// A convolution whose first window begins at `start`, rows and columns that may lie outside the map. The bias is
    /// there for every output channel.
    Conv {
        sizes: ConvSizes,
        start: (isize, isize),
        weights: Vec<f32>,
        bias: Vec<f32>,
    },
    Act(Act),
    ScaleShift {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Pool(PoolMode, PoolSizes),
    GlobalMean,
    Flatten,
    /// Every `stride`-th row and column, from (`top`, `left`) on.
    Pick {
        stride: usize,
        top: usize,
        left: usize,
    },
    TakeChannels,
    Concat,
    Add,
    /// The first value times the second one, which has one pixel.
    Scale,
    Zero,
}

/// A layer, what it reads and the size of what it gives.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub op: Op,
    pub inputs: Vec<usize>,
    pub map: FeatureMap,
}

/// Builds a [`Net`] layer by layer.
///
/// ```
/// use archai_kernels::infer::{ConvSizes, NetBuilder};
/// use archai_kernels::{Exec, FeatureMap};
/// # fn f() -> Result<(), archai_kernels::Unsupported> {
/// let (mut net, image) = NetBuilder::new(FeatureMap::new(3, 8, 8))?;
/// let sizes = ConvSizes::same(4, 3);
/// let x = net.conv(image, sizes, vec![0.1; 4 * 3 * 3 * 3], None)?;
/// let x = net.relu(x)?;
/// let x = net.global_mean(x)?;
/// let logits = net.linear(x, 2, vec![1.0; 2 * 4], Some(vec![0.0, 1.0]))?;
/// let net = net.finish(logits)?;
/// let logits = net.run(&Exec::new(), &[1.0; 3 * 8 * 8]);
/// assert_eq!(logits.len(), 2);
/// # Ok(()) }
/// # f().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct NetBuilder {
    nodes: Vec<Node>,
}

impl ConvSizes {
    /// A square convolution of odd size `k` and stride 1 that keeps height and width.
    pub fn same(channels: usize, k: usize) -> Self {
        ConvSizes {
            channels,
            kernel: (k, k),
            stride: (1, 1),
            padding: (k / 2, k / 2),
            dilation: 1,
            groups: 1,
        }
    }

    /// Numbers of its weights.
    fn weights(&self, inputs: usize) -> usize {
        self.channels * (inputs / self.groups) * self.kernel.0 * self.kernel.1
    }
}

/// Rows or columns that a window gives; none if it does not fit once.
fn windows(
    n: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
) -> Option<usize> {
    let extent = kernel
        .checked_sub(1)?
        .checked_mul(dilation)?
        .checked_add(1)?;
    let padded = n.checked_add(padding.checked_mul(2)?)?;
    Some(padded.checked_sub(extent)?.checked_div(stride)? + 1)
}

fn refuse<T>(text: String) -> Result<T, Unsupported> {
    Err(Unsupported(text))
}

/// Checks that there is a number for each of `channels` channels.
fn per_channel(what: &str, values: &[f32], channels: usize) -> Result<(), Unsupported> {
    match values.len() == channels {
        true => Ok(()),
        false => refuse(format!(
            "{what}: {} numbers given for {channels} channels",
            values.len()
        )),
    }
}

impl NetBuilder {
    /// A network that reads images of the given size, and its input.
    ///
    /// # Errors
    /// If a size is 0.
    pub fn new(input: FeatureMap) -> Result<(Self, Value), Unsupported> {
        let mut builder = NetBuilder { nodes: Vec::new() };
        let value = builder.push(Op::Input, &[], input)?;
        Ok((builder, value))
    }

    /// The size of a value.
    ///
    /// # Panics
    /// If another builder made it.
    pub fn map(&self, value: Value) -> FeatureMap {
        self.nodes[value.0].map
    }

    fn push(&mut self, op: Op, inputs: &[Value], map: FeatureMap) -> Result<Value, Unsupported> {
        if map.channels == 0 || map.pixels() == 0 {
            return refuse(format!("a map of {map}: every size must be positive"));
        }
        let inputs = inputs.iter().map(|v| v.0).collect();
        self.nodes.push(Node { op, inputs, map });
        Ok(Value(self.nodes.len() - 1))
    }

    /// A convolution.
    ///
    /// # Errors
    /// If the sizes do not fit each other, the input or the numbers given.
    pub fn conv(
        &mut self,
        x: Value,
        sizes: ConvSizes,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
    ) -> Result<Value, Unsupported> {
        let map = self.map(x);
        let ConvSizes {
            channels,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        } = sizes;
        let divides = |n: usize| n.checked_rem(groups) == Some(0);
        if !(divides(map.channels) && divides(channels)) {
            return refuse(format!(
                "a convolution from {} to {channels} channels in {groups} groups: the groups must divide both",
                map.channels
            ));
        }
        if dilation == 0 || weights.len() != sizes.weights(map.channels) {
            return refuse(format!(
                "a convolution of {map} with {sizes:?}: {} weights given, expected {} and a dilation of at least 1",
                weights.len(),
                sizes.weights(map.channels)
            ));
        }
        if let Some(bias) = &bias {
            per_channel("the bias of a convolution", bias, channels)?;
        }
        let height = windows(map.height, kernel.0, stride.0, padding.0, dilation);
        let width = windows(map.width, kernel.1, stride.1, padding.1, dilation);
        let (Some(height), Some(width)) = (height, width) else {
            return refuse(format!(
                "a convolution of {map} with {sizes:?}: the window does not fit once, or a stride is 0"
            ));
        };
        let op = Op::Conv {
            sizes,
            start: (-(padding.0 as isize), -(padding.1 as isize)),
            weights,
            bias: bias.unwrap_or_else(|| vec![0.0; channels]),
        };
        self.push(op, &[x], FeatureMap::new(channels, height, width))
    }

    /// `max(x, 0)`.
    ///
    /// # Errors
    /// None today.
    pub fn relu(&mut self, x: Value) -> Result<Value, Unsupported> {
        self.push(Op::Act(Act::Relu), &[x], self.map(x))
    }

    /// `min(max(x, 0), 6)`.
    ///
    /// # Errors
    /// None today.
    pub fn relu6(&mut self, x: Value) -> Result<Value, Unsupported> {
        self.push(Op::Act(Act::Relu6), &[x], self.map(x))
    }

    /// A function of each number.
    ///
    /// # Errors
    /// None today.
    pub fn function(&mut self, x: Value, function: Function) -> Result<Value, Unsupported> {
        let act = match function {
            Function::HardSwish => Act::HardSwish,
            Function::HardSigmoid => Act::HardSigmoid,
            Function::Sigmoid => Act::Sigmoid,
            Function::Gelu => Act::Gelu,
            Function::Silu => Act::Silu,
        };
        self.push(Op::Act(act), &[x], self.map(x))
    }

    /// Each channel of `x` times its number among `factors`, a map of one pixel.
    ///
    /// # Errors
    /// If there is not one factor for each channel.
    pub fn scale(&mut self, x: Value, factors: Value) -> Result<Value, Unsupported> {
        let (map, of) = (self.map(x), self.map(factors));
        match of == FeatureMap::new(map.channels, 1, 1) {
            true => self.push(Op::Scale, &[x, factors], map),
            false => refuse(format!(
                "the channels of {map} scaled by {of}: expected one number for each channel"
            )),
        }
    }

    /// `x · scale + shift` per channel: what a batch norm is at inference.
    ///
    /// # Errors
    /// If there is not one number of each per channel.
    pub fn scale_shift(
        &mut self,
        x: Value,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<Value, Unsupported> {
        let map = self.map(x);
        per_channel("a scale", &scale, map.channels)?;
        per_channel("a shift", &shift, map.channels)?;
        self.push(Op::ScaleShift { scale, shift }, &[x], map)
    }

    /// A pool. Each window covers at least one pixel of the map.
    ///
    /// # Errors
    /// If no window fits, the stride is 0, or the padding exceeds half of the window.
    pub fn pool(
        &mut self,
        x: Value,
        mode: PoolMode,
        sizes: PoolSizes,
    ) -> Result<Value, Unsupported> {
        let map = self.map(x);
        let out = |n| windows(n, sizes.kernel, sizes.stride, sizes.padding, 1);
        match (out(map.height), out(map.width)) {
            (Some(height), Some(width)) if sizes.padding <= sizes.kernel / 2 => {
                let map = FeatureMap {
                    height,
                    width,
                    ..map
                };
                self.push(Op::Pool(mode, sizes), &[x], map)
            }
            _ => refuse(format!(
                "a pool of {map} with {sizes:?}: the window must fit once, the stride be positive and the padding at most \
                 half of the window"
            )),
        }
    }

    /// The mean over all pixels.
    ///
    /// # Errors
    /// None today.
    pub fn global_mean(&mut self, x: Value) -> Result<Value, Unsupported> {
        self.push(
            Op::GlobalMean,
            &[x],
            FeatureMap::new(self.map(x).channels, 1, 1),
        )
    }

    /// All features as channels of one pixel, in the order channel, row, column.
    ///
    /// # Errors
    /// None today.
    pub fn flatten(&mut self, x: Value) -> Result<Value, Unsupported> {
        match self.map(x).pixels() {
            1 => Ok(x),
            _ => self.push(
                Op::Flatten,
                &[x],
                FeatureMap::new(self.map(x).plain_len(), 1, 1),
            ),
        }
    }

    /// W·x (+ b) on maps of one pixel; the weights have the shape `[outputs, inputs]`.
    ///
    /// # Errors
    /// If the map has more than one pixel, or the numbers given do not fit.
    pub fn linear(
        &mut self,
        x: Value,
        outputs: usize,
        weights: Vec<f32>,
        bias: Option<Vec<f32>>,
    ) -> Result<Value, Unsupported> {
        let map = self.map(x);
        match map.pixels() {
            1 => self.conv(x, ConvSizes::same(outputs, 1), weights, bias),
            _ => refuse(format!(
                "a linear layer of {map}: it reads maps of one pixel; flatten the map first"
            )),
        }
    }

    /// Every `stride`-th row and column, from the first.
    ///
    /// # Errors
    /// If the stride is 0.
    pub fn subsample(&mut self, x: Value, stride: usize) -> Result<Value, Unsupported> {
        let map = self.map(x);
        if stride == 0 {
            return refuse("a stride of 0; expected at least 1".to_string());
        }
        let (height, width) = (map.height.div_ceil(stride), map.width.div_ceil(stride));
        let op = Op::Pick {
            stride,
            top: 0,
            left: 0,
        };
        self.push(
            op,
            &[x],
            FeatureMap {
                height,
                width,
                ..map
            },
        )
    }

    /// The map without its first rows and columns.
    ///
    /// # Errors
    /// If none is left.
    pub fn crop(&mut self, x: Value, top: usize, left: usize) -> Result<Value, Unsupported> {
        let map = self.map(x);
        if top >= map.height || left >= map.width {
            return refuse(format!(
                "{top} rows and {left} columns are cut from a map of {map}"
            ));
        }
        let (height, width) = (map.height - top, map.width - left);
        let op = Op::Pick {
            stride: 1,
            top,
            left,
        };
        self.push(
            op,
            &[x],
            FeatureMap {
                height,
                width,
                ..map
            },
        )
    }

    /// The first channels.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn take_channels(&mut self, x: Value, channels: usize) -> Result<Value, Unsupported> {
        let map = self.map(x);
        if channels > map.channels {
            return refuse(format!("the first {channels} channels of a map of {map}"));
        }
        self.push(Op::TakeChannels, &[x], map.with_channels(channels))
    }

    /// Channels of zeros before and after those of the input.
    ///
    /// # Errors
    /// None today.
    pub fn pad_channels(
        &mut self,
        x: Value,
        before: usize,
        after: usize,
    ) -> Result<Value, Unsupported> {
        let mut parts = Vec::new();
        if before > 0 {
            parts.push(self.zeros(self.map(x).with_channels(before))?);
        }
        parts.push(x);
        if after > 0 {
            parts.push(self.zeros(self.map(x).with_channels(after))?);
        }
        self.concat(&parts)
    }

    /// Zeros.
    ///
    /// # Errors
    /// If a size is 0.
    pub fn zeros(&mut self, map: FeatureMap) -> Result<Value, Unsupported> {
        self.push(Op::Zero, &[], map)
    }

    /// All channels of the inputs, one input after the other.
    ///
    /// # Errors
    /// If there is no input, or their heights or widths differ.
    pub fn concat(&mut self, parts: &[Value]) -> Result<Value, Unsupported> {
        let maps: Vec<FeatureMap> = parts.iter().map(|&v| self.map(v)).collect();
        let Some(&first) = maps.first() else {
            return refuse("a concatenation of nothing".to_string());
        };
        if let Some(other) = maps
            .iter()
            .find(|m| (m.height, m.width) != (first.height, first.width))
        {
            return refuse(format!(
                "a concatenation of {first} and {other}: heights and widths must be the same"
            ));
        }
        match parts {
            [only] => Ok(*only),
            _ => self.push(
                Op::Concat,
                parts,
                first.with_channels(maps.iter().map(|m| m.channels).sum()),
            ),
        }
    }

    /// The sum of the inputs.
    ///
    /// # Errors
    /// If there is no input, or their sizes differ.
    pub fn add(&mut self, terms: &[Value]) -> Result<Value, Unsupported> {
        let maps: Vec<FeatureMap> = terms.iter().map(|&v| self.map(v)).collect();
        let Some(&first) = maps.first() else {
            return refuse("a sum of nothing".to_string());
        };
        if let Some(other) = maps.iter().find(|m| **m != first) {
            return refuse(format!(
                "a sum of {first} and {other}: all sizes must be the same"
            ));
        }
        match terms {
            [only] => Ok(*only),
            _ => self.push(Op::Add, terms, first),
        }
    }

    /// The network that gives `output`. Layers that it does not need are left out.
    ///
    /// # Errors
    /// None today.
    ///
    /// # Panics
    /// If another builder made `output`.
    pub fn finish(self, output: Value) -> Result<Net, Unsupported> {
        assert!(output.0 < self.nodes.len(), "a value of another network");
        Ok(Net::new(self.nodes, output.0))
    }
}
