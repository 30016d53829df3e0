//! The ops that come with the program, one row each: name, what it is, what may be said of it, and its layers.

use super::layer::{ConvShape, Layer, PoolShape};
use super::list::{LayerBuilder, Value};
use crate::desc::{
    Arity, Cost, DescError, DescErrorKind, Finalized, OpCatalog, OpDesc, OpInfo, ParamInfo,
    ParamType, Shape,
};
use crate::finalize::strongest_child;

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

/// Name of the mixed op in descriptions. Parameters of its children stand directly below the edge's name.
pub const MIXED_OP: &str = "mixed_op";

/// Name of the op that gives random numbers.
pub const NOISE: &str = "noise";

/// Name of the op whose children all run side by side.
pub const MULTI_OP: &str = "multi_op";

/// How an op becomes layers.
#[derive(Clone, Copy)]
enum Lower {
    /// Layers on the op's only input.
    One(fn(&OpDesc, Value, &mut LayerBuilder<'_>) -> Value),
    /// Layers on any number of inputs.
    Many(fn(&OpDesc, &[Value], &mut LayerBuilder<'_>) -> Value),
    /// Zeros, whatever the input.
    Zero,
    /// Random numbers, which no layer gives.
    Noise,
    /// The children, joined along the channels.
    Side,
    /// The weighted sum of the children.
    Mixed,
}

/// A property that may depend on the description.
type Flag = fn(&OpDesc) -> bool;

fn never(_: &OpDesc) -> bool {
    false
}
fn always(_: &OpDesc) -> bool {
    true
}
/// A path that cannot be dropped must remain in some blocks, or nothing might.
fn unless_kept(op: &OpDesc) -> bool {
    !op.flag("keep")
}
fn unstrided(op: &OpDesc) -> bool {
    op.stride == 1
}
fn strided(op: &OpDesc) -> bool {
    op.stride != 1
}

/// A built-in op.
struct Row {
    name: &'static str,
    summary: &'static str,
    colour: Option<&'static str>,
    params: &'static [ParamInfo],
    /// Truth values that the op has as a candidate of a supernet, and in supernets only.
    search_params: &'static [&'static str],
    arity: Arity,
    /// The field `stride` is the user's choice; the other ops have their stride in their name.
    takes_stride: bool,
    is_primitive: bool,
    joins_channels: bool,
    /// Reads all features of its input, not its channels.
    flattens: bool,
    can_drop_path: Flag,
    keeps_channels: Flag,
    /// Makes its channels from two halves.
    halves_channels: Flag,
    /// Has a factorised reduce, which makes its channels in two halves.
    reduces: Flag,
    lower: Lower,
}

fn row(
    name: &'static str,
    summary: &'static str,
    layers: fn(&OpDesc, Value, &mut LayerBuilder<'_>) -> Value,
) -> Row {
    Row {
        name,
        summary,
        colour: None,
        params: &[],
        search_params: &[],
        arity: Arity::Fixed(1),
        takes_stride: false,
        is_primitive: false,
        joins_channels: false,
        flattens: false,
        can_drop_path: never,
        keeps_channels: never,
        halves_channels: never,
        reduces: never,
        lower: Lower::One(layers),
    }
}

fn row_of_many(
    name: &'static str,
    summary: &'static str,
    layers: fn(&OpDesc, &[Value], &mut LayerBuilder<'_>) -> Value,
) -> Row {
    Row {
        arity: Arity::Any,
        lower: Lower::Many(layers),
        ..row(name, summary, |_, x, _| x)
    }
}

impl Row {
    fn params(self, params: &'static [ParamInfo]) -> Self {
        Row { params, ..self }
    }
    fn colour(self, colour: &'static str) -> Self {
        Row {
            colour: Some(colour),
            ..self
        }
    }
    fn strided(self) -> Self {
        Row {
            takes_stride: true,
            ..self
        }
    }
    /// Searches may choose it, with the stride of the edge.
    fn primitive(self) -> Self {
        Row {
            is_primitive: true,
            ..self.strided()
        }
    }
    fn drop_path(self, can_drop_path: Flag) -> Self {
        Row {
            can_drop_path,
            ..self
        }
    }
    fn keeps_channels(self, keeps_channels: Flag) -> Self {
        Row {
            keeps_channels,
            ..self
        }
    }
    fn halves_channels(self) -> Self {
        Row {
            halves_channels: always,
            ..self
        }
    }
    fn reduces(self, reduces: Flag) -> Self {
        Row {
            reduces,
            halves_channels: reduces,
            ..self
        }
    }
    fn flattens(self) -> Self {
        Row {
            flattens: true,
            ..self
        }
    }
    fn zero(self) -> Self {
        Row {
            lower: Lower::Zero,
            ..self
        }
    }
    fn joins_channels(self) -> Self {
        Row {
            joins_channels: true,
            ..self
        }
    }
    fn search_params(self, search_params: &'static [&'static str]) -> Self {
        Row {
            search_params,
            ..self
        }
    }
    fn of_children(self, lower: Lower, arity: Arity) -> Self {
        Row {
            lower,
            arity,
            ..self
        }
    }
}

const NORM: ParamInfo = ParamInfo {
    name: "norm",
    ty: ParamType::Bool,
    summary: "a norm follows, as inside the mixed op of DARTS (default false)",
};
const KEEP: ParamInfo = ParamInfo {
    name: "keep",
    ty: ParamType::Bool,
    summary: "drop-path leaves the op alone, because it is the only way through its block (default false)",
};
const BIAS: ParamInfo = ParamInfo {
    name: "bias",
    ty: ParamType::Bool,
    summary: "the convolution has a bias (default false)",
};
const OFFSET: ParamInfo = ParamInfo {
    name: "offset",
    ty: ParamType::Int,
    summary: "zeros before the first channel, where the output is wider (default 0)",
};

/// A 3×3 pool, padded by one, and the norm behind it.
fn pool(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, layer: fn(PoolShape) -> Layer) -> Value {
    let y = b.layer(layer(PoolShape::centred(3, d.stride)), &[x]);
    match d.flag("norm") {
        true => b.norm(y, d.ch_out),
        false => y,
    }
}

/// Padding does not count.
fn average(window: PoolShape) -> Layer {
    Layer::AvgPool {
        window,
        count_include_pad: false,
    }
}

/// A k×k convolution with the stride and the bias of the description.
fn conv(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    let shape = ConvShape::new(d.ch_in, d.ch_out, k).with_stride(d.stride);
    b.conv(x, shape.with_bias(d.flag("bias")))
}

fn conv_norm(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    let x = conv(d, x, b, k);
    b.norm(x, d.ch_out)
}

fn relu_conv_norm(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    let x = b.relu(x);
    conv_norm(d, x, b, k)
}

fn norm_relu_conv(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    let x = b.norm(x, d.ch_in);
    let x = b.relu(x);
    conv(d, x, b, k)
}

/// Twice [ReLU, depthwise k×k, pointwise, norm]; the stride is in the first depthwise convolution.
fn separable(d: &OpDesc, mut x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    for (c_out, stride) in [(d.ch_in, d.stride), (d.ch_out, 1)] {
        x = b.relu(x);
        x = b.conv(x, ConvShape::depthwise(d.ch_in, k).with_stride(stride));
        x = b.conv(x, ConvShape::new(d.ch_in, c_out, 1));
        x = b.norm(x, c_out);
    }
    x
}

/// ReLU, depthwise k×k with dilation 2, pointwise, norm.
fn dilated(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, k: usize) -> Value {
    let x = b.relu(x);
    let depthwise = ConvShape::depthwise(d.ch_in, k).with_stride(d.stride);
    let x = b.conv(x, depthwise.with_dilation(2));
    let x = b.conv(x, ConvShape::new(d.ch_in, d.ch_out, 1));
    b.norm(x, d.ch_out)
}

/// ReLU, 1×7 with the horizontal stride, 7×1 with the vertical one, norm.
fn row_and_column(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Value {
    let row = ConvShape {
        kernel: [1, 7],
        stride: [1, d.stride],
        padding: [0, 3],
        ..ConvShape::new(d.ch_in, d.ch_in, 1)
    };
    let column = ConvShape {
        kernel: [7, 1],
        stride: [d.stride, 1],
        padding: [3, 0],
        ..ConvShape::new(d.ch_in, d.ch_out, 1)
    };
    let x = b.relu(x);
    let x = b.conv(x, row);
    let x = b.conv(x, column);
    b.norm(x, d.ch_out)
}

/// Pointwise to `ratio` times the channels, ReLU6, depthwise 3×3, ReLU6, pointwise, norm. The convolutions have a bias
/// where norms are affine; there is neither an inner norm nor a residual connection.
fn inverted(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>, ratio: usize) -> Value {
    let (wide, bias) = (ratio * d.ch_in, b.affine());
    let x = b.conv(x, ConvShape::new(d.ch_in, wide, 1).with_bias(bias));
    let x = b.relu6(x);
    let depthwise = ConvShape::depthwise(wide, 3).with_stride(d.stride);
    let x = b.conv(x, depthwise.with_bias(bias));
    let x = b.relu6(x);
    let x = b.conv(x, ConvShape::new(wide, d.ch_out, 1).with_bias(bias));
    b.norm(x, d.ch_out)
}

/// 3×3 convolutions with norms, ReLU between; the first of several goes to half of the channels.
fn stem(d: &OpDesc, mut x: Value, b: &mut LayerBuilder<'_>, strides: &[usize]) -> Value {
    let mut c_in = d.ch_in;
    for (i, &stride) in strides.iter().enumerate() {
        let c_out = match i == 0 && strides.len() > 1 {
            true => d.ch_out / 2,
            false => d.ch_out,
        };
        if i > 0 {
            x = b.relu(x);
        }
        x = b.conv(x, ConvShape::new(c_in, c_out, 3).with_stride(stride));
        x = b.norm(x, c_out);
        c_in = c_out;
    }
    x
}

/// The factorised reduce halves height and width, rounded up: ReLU; a pointwise convolution of stride 2 on the input and one
/// on the input without its first row and column, each to half of the channels; joined; norm. The original needs even sides;
/// after an odd one the second convolution sees zeros, as AutoDL-Projects' `FactorizedReduce` has it.
fn factorized_reduce(d: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Value {
    let half = ConvShape::new(d.ch_in, d.ch_out / 2, 1).with_stride(2);
    let x = b.relu(x);
    let first = b.conv(x, half);
    let shifted = b.layer(Layer::Shift, &[x]);
    let second = b.conv(shifted, half);
    let both = b.concat(&[first, second]);
    b.norm(both, d.ch_out)
}

fn fit_channels(d: &OpDesc, mut x: Value, b: &mut LayerBuilder<'_>) -> Value {
    if d.stride != 1 {
        x = b.layer(Layer::Subsample { stride: d.stride }, &[x]);
    }
    let channels = d.ch_out;
    let offset = d.int("offset").and_then(|o| usize::try_from(o).ok());
    match channels.checked_sub(d.ch_in) {
        Some(0) => x,
        None => b.layer(Layer::TakeChannels { channels }, &[x]),
        Some(room) => {
            // The check has seen to it that the offset is at most the room.
            let before = offset.unwrap_or(0).min(room);
            let after = room - before;
            b.layer(Layer::PadChannels { before, after }, &[x])
        }
    }
}

/// Joined states, pointwise convolution from `c_in` channels in all to `c_out`, norm: what ends `proj_channels` and
/// `multi_op`.
pub fn projection(states: &[Value], c_in: usize, c_out: usize, b: &mut LayerBuilder<'_>) -> Value {
    let x = b.concat(states);
    let x = b.conv(x, ConvShape::new(c_in, c_out, 1));
    b.norm(x, c_out)
}

fn lower_side(op: &OpDesc, inputs: &[Value], b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
    let mut outs = Vec::new();
    for (i, child) in op.children.iter().enumerate() {
        let x = op.input_of(i, inputs)?;
        outs.push((b.child(&child.op, &[x])).map_err(|e| e.at(format!("child {i}")))?);
    }
    let c_in = op.children.iter().map(|c| c.op.ch_out).sum();
    Ok(projection(&outs, c_in, op.ch_out, b))
}

fn lower_mixed(
    op: &OpDesc,
    inputs: &[Value],
    b: &mut LayerBuilder<'_>,
) -> Result<Value, DescError> {
    let (mut places, mut outs) = (Vec::new(), Vec::new());
    for (i, name) in op.child_names().into_iter().enumerate() {
        let child = &op.children[i].op;
        let at = |e: DescError| e.at(format!("child {i} (`{}`)", child.name));
        if !b.catalog().is_zero(&child.name) {
            places.push(i);
            outs.push(b.child_named(&name, child, inputs).map_err(at)?);
        }
    }
    match op.children.first() {
        Some(zero) if outs.is_empty() => b.child(&zero.op, inputs),
        _ => {
            let of = op.children.len();
            Ok(b.layer(Layer::Mix { places, of }, &outs))
        }
    }
}

/// Shape and cost of joined children. They are asked of the catalogue, not of a list: children need not lower.
fn measure_side(
    op: &OpDesc,
    inputs: &[Shape],
    affine: bool,
    catalog: &OpCatalog,
) -> Result<(Shape, Cost), DescError> {
    let (mut outs, mut total) = (Vec::new(), Cost::default());
    for (i, child) in op.children.iter().enumerate() {
        let at = |e: DescError| e.at(format!("child {i}"));
        let input = [op.input_of(i, inputs)?];
        let (out, cost) = catalog.measure(&child.op, &input, affine).map_err(at)?;
        outs.push(out);
        total += cost;
    }
    let (mut b, states) = LayerBuilder::new(catalog, outs.len(), affine);
    let c_in = outs.iter().map(|s| s.channels).sum();
    let joined = projection(&states, c_in, op.ch_out, &mut b);
    let (out, cost) = b.finish(joined).measure(&outs)?;
    total += cost;
    Ok((out, total))
}

/// As [`measure_side`], for a choice among children.
fn measure_mixed(
    op: &OpDesc,
    inputs: &[Shape],
    affine: bool,
    catalog: &OpCatalog,
) -> Result<(Shape, Cost), DescError> {
    let (out, total) = catalog.measure_choice(op, inputs, affine)?;
    let input = inputs[0];
    if out.scale != input.scale.saturating_mul(op.stride) {
        return Err(DescError::new(
            DescErrorKind::Shape,
            format!(
                "`{}` has `stride: {}`, but its children turn {input} into {out}; make them agree",
                op.name, op.stride
            ),
        ));
    }
    Ok((out, total))
}

impl OpInfo for Row {
    fn name(&self) -> &str {
        self.name
    }
    fn summary(&self) -> &str {
        self.summary
    }
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        if (self.reduces)(op) && !op.ch_out.is_multiple_of(2) {
            return Err(DescError::new(
                DescErrorKind::Shape,
                format!(
                    "`{}` gives {} channels by a factorised reduce, which makes them in two halves; choose an even number",
                    op.name, op.ch_out
                ),
            ));
        }
        match self.lower {
            Lower::Side => measure_side(op, inputs, affine, catalog),
            Lower::Mixed => measure_mixed(op, inputs, affine, catalog),
            Lower::One(_) | Lower::Many(_) | Lower::Zero => {
                catalog.measure_layers(op, inputs, affine, |values, b| self.lower(op, values, b))
            }
            Lower::Noise => catalog.measure_layers(op, inputs, affine, |values, b| {
                Ok(b.layer(Layer::Subsample { stride: op.stride }, values))
            }),
        }
    }
    fn colour(&self) -> Option<&str> {
        self.colour
    }
    fn arity(&self) -> Arity {
        self.arity
    }
    fn params(&self) -> &[ParamInfo] {
        self.params
    }
    fn joins_channels(&self) -> bool {
        self.joins_channels
    }
    fn has_children(&self) -> bool {
        matches!(self.lower, Lower::Side | Lower::Mixed)
    }
    fn is_primitive(&self) -> bool {
        self.is_primitive
    }
    fn is_zero(&self) -> bool {
        matches!(self.lower, Lower::Zero)
    }
    fn can_drop_path(&self, op: &OpDesc) -> bool {
        (self.can_drop_path)(op)
    }
    fn finalize(
        &self,
        op: &OpDesc,
        weights: &[f64],
        catalog: &OpCatalog,
    ) -> Result<Finalized, DescError> {
        if let Lower::Mixed = self.lower {
            return strongest_child(op, weights, catalog);
        }
        let mut desc = op.clone();
        let only_searched = |name: &String| self.search_params.contains(&name.as_str());
        desc.params.retain(|name, _| !only_searched(name));
        Ok(Finalized { desc, rank: None })
    }
    fn in_features(&self, input: Shape) -> usize {
        match self.flattens {
            true => input.flattened(),
            false => input.channels,
        }
    }
    fn check(&self, op: &OpDesc, _catalog: &OpCatalog) -> Result<(), DescError> {
        let error = |text: String| {
            let text = format!("`{}` {text}", op.name);
            Err(DescError::new(DescErrorKind::Param, text))
        };
        let (stride, c_in, c_out) = (op.stride, op.ch_in, op.ch_out);
        if self.takes_stride && !matches!(stride, 1 | 2) {
            return error(format!("has `stride: {stride}`; expected 1 or 2"));
        }
        if !self.takes_stride && stride != 1 {
            return error(format!(
                "has `stride: {stride}`, but its stride is fixed; remove the field"
            ));
        }
        if (self.halves_channels)(op) && !c_out.is_multiple_of(2) {
            return error(format!(
                "makes its channels from two halves; `ch_out: {c_out}` must be even"
            ));
        }
        if (self.keeps_channels)(op) && c_in != c_out {
            return error(format!(
                "keeps its channels, but `ch_in` is {c_in} and `ch_out` is {c_out}"
            ));
        }
        if self.params.contains(&OFFSET) {
            let room = c_out.saturating_sub(c_in);
            let offset = op.int(OFFSET.name).unwrap_or(0);
            if usize::try_from(offset).map_or(true, |offset| offset > room) {
                return error(format!(
                    "has `offset: {offset}`; going {c_in}→{c_out} channels there is room for 0 to {room}"
                ));
            }
        }
        if let Lower::Mixed = self.lower {
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
                // What stands between input and output, strides included, is each child's own business.
                if (c.ch_in, c.ch_out) != (c_in, c_out) {
                    return error(format!(
                        "goes {c_in}→{c_out}, but child {i} (`{}`) goes {}→{}; make them equal",
                        c.name, c.ch_in, c.ch_out
                    ));
                }
            }
        }
        Ok(())
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        match self.lower {
            Lower::One(layers) => Ok(layers(op, inputs[0], b)),
            Lower::Many(layers) => Ok(layers(op, inputs, b)),
            Lower::Zero => Ok(b.layer(Layer::Zero { stride: op.stride }, inputs)),
            Lower::Side => lower_side(op, inputs, b),
            Lower::Mixed => lower_mixed(op, inputs, b),
            Lower::Noise => Err(DescError::new(
                DescErrorKind::NoLayers,
                format!(
                    "`{NOISE}` gives random numbers, which is no layer that other programs know; a network with it can be trained \
                     and measured here, but not exported: choose another op (`none` gives zeros, the mean of the noise)"
                ),
            )),
        }
    }
}

/// The truth values that a candidate of a mixed op has, and that are taken from it where it is kept; none for ops that are not
/// built in.
pub(crate) fn search_params(name: &str) -> &'static [&'static str] {
    let row = primitives().into_iter().find(|row| row.name == name);
    row.map_or(&[], |row| row.search_params)
}

/// All built-in ops, primitives first.
pub(crate) fn all() -> impl Iterator<Item = impl OpInfo + 'static> {
    primitives()
        .into_iter()
        .chain(parts_of_networks())
        .chain(stems_and_heads())
        .chain(joins())
}

/// A convolution that searches may choose and that drop-path may be told to leave alone.
fn choosable_conv(row: Row) -> Row {
    row.params(&[KEEP, BIAS]).primitive().drop_path(unless_kept)
}

fn primitives() -> Vec<Row> {
    let pools = [
        row("max_pool_3x3", "3×3 max pool", |d, x, b| {
            pool(d, x, b, Layer::MaxPool)
        })
        .colour("#d1662a"),
        row(
            "avg_pool_3x3",
            "3×3 average pool; padding does not count",
            |d, x, b| pool(d, x, b, average),
        )
        .colour("#e0a526"),
    ];
    let pools = pools.map(|row| {
        // Found networks have bare pools.
        row.params(&[NORM, KEEP])
            .search_params(&["norm"])
            .primitive()
            .keeps_channels(always)
            .drop_path(unless_kept)
    });
    let skip = row(
        "skip_connect",
        "identity; with stride 2 a factorised reduce",
        |d, x, b| match d.stride {
            1 => x,
            _ => factorized_reduce(d, x, b),
        },
    )
    .colour("#6b7280");
    // As the identity it must remain: a path that cannot be dropped.
    let skip = skip
        .primitive()
        .keeps_channels(unstrided)
        .reduces(strided)
        .drop_path(strided);
    let convs = [
        row(
            "sep_conv_3x3",
            "twice ReLU, depthwise 3×3, pointwise, norm",
            |d, x, b| separable(d, x, b, 3),
        )
        .colour("#2563b0"),
        row(
            "sep_conv_5x5",
            "twice ReLU, depthwise 5×5, pointwise, norm",
            |d, x, b| separable(d, x, b, 5),
        )
        .colour("#4f97dd"),
        row(
            "sep_conv_7x7",
            "twice ReLU, depthwise 7×7, pointwise, norm",
            |d, x, b| separable(d, x, b, 7),
        )
        .colour("#163d75"),
        row(
            "dil_conv_3x3",
            "ReLU, depthwise 3×3 with dilation 2, pointwise, norm",
            |d, x, b| dilated(d, x, b, 3),
        )
        .colour("#2c8556"),
        row(
            "dil_conv_5x5",
            "ReLU, depthwise 5×5 with dilation 2, pointwise, norm",
            |d, x, b| dilated(d, x, b, 5),
        )
        .colour("#63b286"),
        row(
            "conv_7x1_1x7",
            "ReLU, 1×7, 7×1 convolution, norm",
            row_and_column,
        )
        .colour("#8455ad"),
    ];
    let convs = convs.map(|row| row.primitive().drop_path(always));
    let mut rows = Vec::from(pools);
    rows.push(skip);
    rows.extend(convs);
    rows
}

fn parts_of_networks() -> Vec<Row> {
    let convs = [
        row(
            "convbnrelu_3x3",
            "3×3 convolution, norm, ReLU",
            |d, x, b| {
                let x = conv_norm(d, x, b, 3);
                b.relu(x)
            },
        ),
        row(
            "convbnrelu_1x1",
            "1×1 convolution, norm, ReLU",
            |d, x, b| {
                let x = conv_norm(d, x, b, 1);
                b.relu(x)
            },
        ),
        row(
            "nor_conv_3x3",
            "ReLU, 3×3 convolution, norm: NAS-Bench-201",
            |d, x, b| relu_conv_norm(d, x, b, 3),
        ),
        row(
            "nor_conv_1x1",
            "ReLU, 1×1 convolution, norm: NAS-Bench-201",
            |d, x, b| relu_conv_norm(d, x, b, 1),
        ),
        row("convbn_3x3", "3×3 convolution, norm", |d, x, b| {
            conv_norm(d, x, b, 3)
        }),
        row("convbn_1x1", "1×1 convolution, norm", |d, x, b| {
            conv_norm(d, x, b, 1)
        }),
        row(
            "convbnrelu6_3x3",
            "3×3 convolution, norm, ReLU6",
            |d, x, b| {
                let x = conv_norm(d, x, b, 3);
                b.relu6(x)
            },
        ),
        row(
            "convbnrelu6_1x1",
            "1×1 convolution, norm, ReLU6",
            |d, x, b| {
                let x = conv_norm(d, x, b, 1);
                b.relu6(x)
            },
        ),
        row(
            "bnreluconv_3x3",
            "norm, ReLU, 3×3 convolution",
            |d, x, b| norm_relu_conv(d, x, b, 3),
        ),
        row(
            "bnreluconv_1x1",
            "norm, ReLU, 1×1 convolution",
            |d, x, b| norm_relu_conv(d, x, b, 1),
        ),
        row("conv_3x3", "3×3 convolution alone", |d, x, b| {
            conv(d, x, b, 3)
        }),
        row("conv_1x1", "1×1 convolution alone", |d, x, b| {
            conv(d, x, b, 1)
        }),
    ];
    let mut rows: Vec<Row> = convs.into_iter().map(choosable_conv).collect();
    rows.push(
        row(
            "dwconvbnrelu6_3x3",
            "depthwise 3×3 convolution, norm, ReLU6",
            |d, x, b| {
                let x = b.conv(x, ConvShape::depthwise(d.ch_in, 3).with_stride(d.stride));
                let x = b.norm(x, d.ch_out);
                b.relu6(x)
            },
        )
        .params(&[KEEP])
        .strided()
        .keeps_channels(always)
        .drop_path(unless_kept),
    );
    let inverted = [
        row(
            "mbconv_r1",
            "pointwise, ReLU6, depthwise 3×3, ReLU6, pointwise, norm",
            |d, x, b| inverted(d, x, b, 1),
        ),
        row(
            "mbconv_r2",
            "mbconv_r1 with twice the channels inside",
            |d, x, b| inverted(d, x, b, 2),
        ),
        row(
            "mbconv_r3",
            "mbconv_r1 with three times the channels inside",
            |d, x, b| inverted(d, x, b, 3),
        ),
    ];
    rows.extend(inverted.map(|row| row.primitive().drop_path(always)));
    rows.extend([
        row("none", "zeros", |_, x, _| x)
            .zero()
            .colour("#b8bcc2")
            .primitive()
            .keeps_channels(always)
            .drop_path(always),
        Row {
            lower: Lower::Noise,
            ..row(
                NOISE,
                "Gaussian noise of variance 1, whatever the input (the space S4 of Zela et al. 2020)",
                |_, x, _| x,
            )
        }
        .colour("#8a8f98")
        .primitive()
        .keeps_channels(always)
        .drop_path(always),
        row("identity", "the input itself", |_, x, _| x).keeps_channels(always),
        row("relu", "ReLU", |_, x, b| b.relu(x)).keeps_channels(always),
        row("bnrelu", "norm, ReLU", |d, x, b| {
            let x = b.norm(x, d.ch_in);
            b.relu(x)
        })
        .keeps_channels(always),
        row(
            "max_pool_2x2",
            "max of non-overlapping 2×2 windows: halves height and width",
            |_, x, b| b.layer(Layer::MaxPool(PoolShape::unpadded(2, 2)), &[x]),
        )
        .keeps_channels(always),
        row(
            "avg_pool_2x2",
            "average of non-overlapping 2×2 windows: halves height and width",
            |_, x, b| b.layer(average(PoolShape::unpadded(2, 2)), &[x]),
        )
        .keeps_channels(always),
        row(
            "fit_channels",
            "the first channels, or all of them with zeros around; every other pixel with stride 2",
            fit_channels,
        )
        .params(&[OFFSET])
        .strided(),
    ]);
    rows
}

fn stems_and_heads() -> Vec<Row> {
    vec![
        row(
            "prepr_normal",
            "ReLU, pointwise, norm: brings a cell's input to its channels",
            |d, x, b| relu_conv_norm(d, x, b, 1),
        )
        .drop_path(always),
        row(
            "prepr_reduce",
            "ReLU, factorised reduce, norm: also halves height and width",
            factorized_reduce,
        )
        .reduces(always)
        .drop_path(always),
        row("stem_conv3x3", "3×3 convolution, norm", |d, x, b| {
            stem(d, x, b, &[1])
        }),
        row(
            "stem_conv3x3Relu",
            "3×3 convolution, norm, ReLU",
            |d, x, b| {
                let x = stem(d, x, b, &[1]);
                b.relu(x)
            },
        ),
        row(
            "stem_conv3x3_s2",
            "3×3 convolution of stride 2, norm",
            |d, x, b| stem(d, x, b, &[2]),
        ),
        row(
            "stem_conv3x3_s4",
            "two 3×3 convolutions of stride 2 with norms, ReLU between",
            |d, x, b| stem(d, x, b, &[2, 2]),
        )
        .halves_channels(),
        row(
            "stem_conv3x3_s4s2",
            "three 3×3 convolutions of stride 2 with norms, ReLU between",
            |d, x, b| stem(d, x, b, &[2, 2, 2]),
        )
        .halves_channels(),
        row(
            "stem_conv7x7_s2_pool",
            "7×7 convolution of stride 2, norm, ReLU, 3×3 max pool of stride 2",
            |d, x, b| {
                let x = b.conv(x, ConvShape::new(d.ch_in, d.ch_out, 7).with_stride(2));
                let x = b.norm(x, d.ch_out);
                let x = b.relu(x);
                b.layer(Layer::MaxPool(PoolShape::centred(3, 2)), &[x])
            },
        ),
        row(
            "stem_relu_conv3x3_s2",
            "ReLU, 3×3 convolution of stride 2, norm: ImageNet's second stem",
            |d, x, b| {
                let x = b.relu(x);
                stem(d, x, b, &[2])
            },
        ),
        row(
            "pool_adaptive_avg2d",
            "mean over height and width",
            |_, x, b| b.layer(Layer::GlobalMean, &[x]),
        )
        .keeps_channels(always),
        row(
            "pool_mean_tensor",
            "mean over height and width, axes dropped",
            |_, x, b| b.layer(Layer::GlobalMean, &[x]),
        )
        .keeps_channels(always),
        row(
            "pool_avg2d7x7",
            "non-overlapping 7×7 average pool",
            |_, x, b| b.layer(average(PoolShape::unpadded(7, 7)), &[x]),
        )
        .keeps_channels(always),
        row(
            "bnrelu_pool_avg2d",
            "norm, ReLU, mean over height and width: after cells that end without",
            |d, x, b| {
                let x = b.norm(x, d.ch_in);
                let x = b.relu(x);
                b.layer(Layer::GlobalMean, &[x])
            },
        )
        .keeps_channels(always),
        row("linear", "flatten, linear with bias", |d, x, b| {
            b.linear(x, d.ch_in, d.ch_out)
        })
        .flattens(),
        row(
            "linear_relu",
            "flatten, linear with bias, ReLU",
            |d, x, b| {
                let x = b.linear(x, d.ch_in, d.ch_out);
                b.relu(x)
            },
        )
        .flattens(),
    ]
}

fn joins() -> Vec<Row> {
    vec![
        row_of_many(
            "concate_channels",
            "joins states along the channels",
            |_, states, b| b.concat(states),
        ),
        row_of_many(
            "concat_states",
            "joins states of any channels; `ch_in` counts them all",
            |_, states, b| b.concat(states),
        )
        .keeps_channels(always)
        .joins_channels(),
        row_of_many(
            "proj_channels",
            "joins states along the channels, pointwise, norm",
            |d, states, b| projection(states, states.len() * d.ch_in, d.ch_out, b),
        ),
        row(
            MULTI_OP,
            "its children side by side, joined along the channels, pointwise, norm",
            |_, x, _| x,
        )
        .colour("#a8485f")
        .of_children(Lower::Side, Arity::Any)
        .drop_path(always),
        row(
            MIXED_OP,
            "weighted sum of its children, one architecture parameter each",
            |_, x, _| x,
        )
        .colour("#8d949e")
        .of_children(Lower::Mixed, Arity::Fixed(1))
        .strided()
        .drop_path(always),
    ]
}
