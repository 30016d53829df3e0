//! A network as steps: what each computes, with its weights packed for the kernels, and how channels lie in each value.

use super::build::{PoolMode, PoolSizes};
use super::fuse::{Filter, Fused, FusedConv, FusedNode};
use crate::layout::FeatureMap;
use crate::micro::product::{Act, Segment};
use crate::micro::window::{DEPTHWISE_SLACK, Pooling};
use crate::simd::LANES;
use rayon::prelude::*;
use std::ops::Range;

/// How channels lie in the blocks of a value: each block holds the channels from `first` on in its first `lanes` lanes. What is in
/// the others is nothing that a result depends on. Only what was joined has gaps between its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Vec<BlockOf>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockOf {
    pub first: usize,
    pub lanes: usize,
}

impl Layout {
    pub fn dense(channels: usize) -> Self {
        let block = |first| BlockOf {
            first,
            lanes: LANES.min(channels - first),
        };
        Layout((0..channels).step_by(LANES).map(block).collect())
    }

    fn joined<'a>(parts: impl Iterator<Item = &'a Layout>) -> Self {
        let mut blocks: Vec<BlockOf> = Vec::new();
        for part in parts {
            let before = blocks.last().map_or(0, |b| b.first + b.lanes);
            let moved = |b: &BlockOf| BlockOf {
                first: before + b.first,
                ..*b
            };
            blocks.extend(part.0.iter().map(moved));
        }
        Layout(blocks)
    }

    pub fn blocks(&self) -> usize {
        self.0.len()
    }

    fn channels(&self) -> usize {
        self.0.last().map_or(0, |b| b.first + b.lanes)
    }

    /// Block and lane of each channel.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let of = |(i, b): (usize, &BlockOf)| (0..b.lanes).map(move |lane| (i, lane));
        self.0.iter().enumerate().flat_map(of).collect()
    }

    /// A number per channel at its place, zeros in the gaps.
    fn spread(&self, values: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.blocks() * LANES];
        for (block, out) in self.0.iter().zip(out.chunks_exact_mut(LANES)) {
            out[..block.lanes].copy_from_slice(&values[block.first..block.first + block.lanes]);
        }
        out
    }
}

/// A value: its size and layout.
#[derive(Clone, Debug)]
pub(super) struct ValueOf {
    pub layout: Layout,
    pub height: usize,
    pub width: usize,
}

impl ValueOf {
    /// Elements of one block.
    pub fn plane(&self) -> usize {
        self.height * self.width * LANES
    }

    pub fn len(&self) -> usize {
        self.layout.blocks() * self.plane()
    }
}

/// What a step computes.
#[derive(Debug)]
pub(super) enum Work {
    /// The image, from NCHW.
    Input,
    Conv(Box<Conv>),
    Pool {
        pooling: Pooling,
        sizes: PoolSizes,
    },
    GlobalMean,
    Flatten,
    /// Every `stride`-th pixel from (`top`, `left`) on, block by block.
    Pick {
        stride: usize,
        top: usize,
        left: usize,
    },
    /// Channels to other places, by their numbers.
    Move {
        from: Vec<(usize, usize)>,
    },
    /// The first input, each lane times its number in the second one.
    Scale,
    /// Numbers per lane.
    Sum {
        scale_shift: Option<(Vec<f32>, Vec<f32>)>,
        act: Act,
    },
    Zero,
}

/// A step: what it reads, which value is added by a convolution, and what it gives.
#[derive(Debug)]
pub(super) struct Step {
    pub work: Work,
    pub inputs: Vec<usize>,
    pub residual: Option<usize>,
    pub output: usize,
    /// About how many multiply-adds of eight lanes it takes.
    pub cost: usize,
}

/// A convolution in the kernels' terms.
#[derive(Debug)]
pub(super) struct Conv {
    pub pre: Act,
    pub source: Source,
    pub products: Vec<Part>,
    pub post: Act,
    /// Rows of the output that are computed at a time, so that what is read for them stays in the caches.
    pub panel: usize,
}

/// From where the products read.
#[derive(Debug)]
pub(super) enum Source {
    /// The input itself.
    Direct,
    /// A copy of single pixels.
    Pick {
        start: (usize, usize),
        stride: (usize, usize),
    },
    /// A copy of rows with a border.
    Window(Window),
    /// A depthwise convolution of such a copy.
    Depthwise(Depthwise),
    /// That alone: there are no products.
    OnlyDepthwise(Depthwise),
}

/// A window that moves over the input, from `start` on.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub start: (isize, isize),
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub dilation: usize,
}

impl Window {
    fn new(filter: &Filter) -> Self {
        let s = &filter.sizes;
        let (start, kernel, stride, dilation) = (filter.start, s.kernel, s.stride, s.dilation);
        Window {
            start,
            kernel,
            stride,
            dilation,
        }
    }

    /// Rows of the input that `n` rows of the output read.
    pub fn rows(&self, n: usize) -> usize {
        (n - 1) * self.stride.0 + (self.kernel.0 - 1) * self.dilation + 1
    }

    /// Columns that `n` columns of the output read.
    pub fn cols(&self, n: usize) -> usize {
        (n - 1) * self.stride.1 + (self.kernel.1 - 1) * self.dilation + 1
    }
}

#[derive(Debug)]
pub(super) struct Depthwise {
    pub window: Window,
    /// `[blocks][taps][8]`.
    pub weights: Vec<f32>,
    /// `[blocks][8]`.
    pub bias: Vec<f32>,
    /// What is done before the products.
    pub mid: Act,
}

/// Products that give some blocks of the output.
#[derive(Debug)]
pub(super) struct Part {
    /// Blocks of the output.
    pub blocks: Range<usize>,
    pub segments: Vec<Segment>,
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// Pixels behind the last one that products may read.
pub(super) const SLACK: usize = 8;

/// Pixels of a panel.
const PANEL: usize = 128;

impl Conv {
    /// Elements of scratch.
    pub fn scratch(&self, from: &ValueOf, to: &ValueOf) -> usize {
        let blocks = from.layout.blocks();
        match &self.source {
            Source::Direct => 0,
            Source::Pick { .. } => self.block(from, to) * blocks + SLACK * LANES,
            Source::Window(w) => self.block(from, to) * blocks + w.stride.1 * SLACK * LANES,
            Source::Depthwise(d) => {
                self.padded(&d.window, to) + self.block(from, to) * blocks + SLACK * LANES
            }
            Source::OnlyDepthwise(d) => self.padded(&d.window, to),
        }
    }

    /// Elements of a panel's padded rows of one block, and what a tile reads behind them.
    pub fn padded(&self, window: &Window, to: &ValueOf) -> usize {
        let slack = DEPTHWISE_SLACK * window.stride.1;
        (window.rows(self.panel) * window.cols(to.width) + slack) * LANES
    }

    /// Elements from one block of what the products read to the next.
    pub fn block(&self, from: &ValueOf, to: &ValueOf) -> usize {
        match &self.source {
            Source::Direct => from.plane(),
            Source::Pick { .. } | Source::Depthwise(_) | Source::OnlyDepthwise(_) => {
                self.panel * to.width * LANES
            }
            Source::Window(w) => w.rows(self.panel) * w.cols(to.width) * LANES,
        }
    }
}

/// The steps of a network.
#[derive(Debug)]
pub(super) struct Program {
    pub values: Vec<ValueOf>,
    pub steps: Vec<Step>,
    /// Values that lie inside another one, from a block on: those that were joined.
    pub inside: Vec<Option<(usize, usize)>>,
    pub input: FeatureMap,
    pub output: usize,
    /// What is still to be packed for the products of which steps, while the program is made.
    unpacked: Vec<(usize, Unpacked)>,
}

/// The numbers of products before they are packed.
#[derive(Debug)]
struct Unpacked {
    filter: Filter,
    inputs: usize,
    to: Layout,
    /// Channel and tap of each row of weights, part by part.
    rows: Vec<Vec<(usize, usize)>>,
}

impl Program {
    /// The steps of a network, whose weights are packed on the rayon pool of the caller.
    pub fn new(nodes: Vec<FusedNode>, output: usize) -> Self {
        let input = nodes[0].map;
        let mut program = Program {
            values: Vec::new(),
            steps: Vec::new(),
            inside: Vec::new(),
            input,
            output: 0,
            unpacked: Vec::new(),
        };
        let mut values = Vec::with_capacity(nodes.len());
        for node in nodes {
            let inputs: Vec<usize> = node.inputs.iter().map(|&i| values[i]).collect();
            values.push(program.node(node.op, inputs, node.map));
        }
        program.output = values[output];
        program.pack();
        program
    }

    fn pack(&mut self) {
        let unpacked = std::mem::take(&mut self.unpacked);
        let mut waiting = unpacked.into_iter().peekable();
        let pairs: Vec<(&mut Conv, Unpacked)> = (self.steps.iter_mut().enumerate())
            .filter_map(|(i, step)| {
                let (_, unpacked) = waiting.next_if(|(of, _)| *of == i)?;
                match &mut step.work {
                    Work::Conv(conv) => Some((&mut **conv, unpacked)),
                    _ => None,
                }
            })
            .collect();
        pairs.into_par_iter().for_each(|(conv, unpacked)| {
            for (part, rows) in conv.products.iter_mut().zip(&unpacked.rows) {
                (part.weights, part.bias) = unpacked.pack(part.blocks.clone(), rows);
            }
        });
    }

    fn value(&mut self, layout: Layout, map: FeatureMap) -> usize {
        let FeatureMap { height, width, .. } = map;
        self.values.push(ValueOf {
            layout,
            height,
            width,
        });
        self.inside.push(None);
        self.values.len() - 1
    }

    fn step(&mut self, work: Work, inputs: Vec<usize>, layout: Layout, map: FeatureMap) -> usize {
        let output = self.value(layout, map);
        let cost = self.values[output].len() / LANES * inputs.len().max(1);
        self.steps.push(Step {
            work,
            inputs,
            residual: None,
            output,
            cost,
        });
        output
    }

    fn node(&mut self, op: Fused, inputs: Vec<usize>, map: FeatureMap) -> usize {
        let dense = Layout::dense(map.channels);
        let Some(&x) = inputs.first() else {
            let work = match op {
                Fused::Input => Work::Input,
                _ => Work::Zero,
            };
            return self.step(work, inputs, dense, map);
        };
        let same = self.values[x].layout.clone();
        match op {
            Fused::Input | Fused::Zero | Fused::Gone => x,
            Fused::Conv(conv) => self.conv(*conv, &inputs, map),
            Fused::Pool(mode, sizes) => {
                let pooling = match mode {
                    PoolMode::Max => Pooling::Max,
                    PoolMode::Average {
                        padding_counts: false,
                    } => Pooling::Mean(None),
                    PoolMode::Average {
                        padding_counts: true,
                    } => Pooling::Mean(Some(1.0 / (sizes.kernel * sizes.kernel) as f32)),
                };
                let output = self.step(Work::Pool { pooling, sizes }, inputs, same, map);
                if let Some(step) = self.steps.last_mut() {
                    step.cost *= sizes.kernel * sizes.kernel;
                }
                output
            }
            Fused::GlobalMean => {
                let cost = self.values[x].len() / LANES;
                let output = self.step(Work::GlobalMean, inputs, same, map);
                if let Some(step) = self.steps.last_mut() {
                    step.cost = cost;
                }
                output
            }
            Fused::Flatten => self.step(Work::Flatten, inputs, dense, map),
            Fused::Pick { stride, top, left } => {
                self.step(Work::Pick { stride, top, left }, inputs, same, map)
            }
            Fused::TakeChannels => {
                let from = same.places()[..map.channels].to_vec();
                self.step(Work::Move { from }, inputs, dense, map)
            }
            Fused::Concat => self.concat(&inputs, map),
            Fused::Scale => {
                let factors = FeatureMap::new(map.channels, 1, 1);
                let factors = self.laid_out(inputs[1], &same, factors);
                self.step(Work::Scale, vec![x, factors], same, map)
            }
            Fused::Sum { scale_shift, act } => {
                let inputs = inputs
                    .iter()
                    .map(|&x| self.laid_out(x, &same, map))
                    .collect();
                let spread = |(a, b): (Vec<f32>, Vec<f32>)| (same.spread(&a), same.spread(&b));
                let scale_shift = scale_shift.map(spread);
                self.step(Work::Sum { scale_shift, act }, inputs, same, map)
            }
        }
    }

    /// A value in another layout: a copy, unless it has that one already.
    fn laid_out(&mut self, x: usize, layout: &Layout, map: FeatureMap) -> usize {
        if self.values[x].layout == *layout {
            return x;
        }
        let from = self.values[x].layout.places();
        self.step(Work::Move { from }, vec![x], layout.clone(), map)
    }

    /// The parts are computed where the whole is. A part that lies elsewhere already is copied.
    fn concat(&mut self, inputs: &[usize], map: FeatureMap) -> usize {
        let mut parts: Vec<usize> = Vec::new();
        for &x in inputs {
            let free = self.inside[x].is_none() && !parts.contains(&x);
            parts.push(match free {
                true => x,
                false => {
                    let layout = self.values[x].layout.clone();
                    let part = map_of(&self.values[x]);
                    let sum = Work::Sum {
                        scale_shift: None,
                        act: Act::None,
                    };
                    self.step(sum, vec![x], layout, part)
                }
            });
        }
        let layout = Layout::joined(parts.iter().map(|&p| &self.values[p].layout));
        let whole = self.value(layout, map);
        let mut block = 0;
        for part in parts {
            self.inside[part] = Some((whole, block));
            block += self.values[part].layout.blocks();
        }
        whole
    }

    fn conv(&mut self, conv: FusedConv, inputs: &[usize], map: FeatureMap) -> usize {
        let FusedConv {
            pre,
            depthwise,
            filter,
            post,
        } = conv;
        let (x, residual) = (inputs[0], inputs.get(1).copied());
        let from = self.values[x].clone();
        let channels = from.layout.channels();
        let per_pixel = |f: &Filter| f.sizes.kernel.0 * f.sizes.kernel.1;
        let only_depthwise = depthwise.is_none()
            && residual.is_none()
            && filter.is_depthwise(channels)
            && per_pixel(&filter) > 1;
        let layout = match residual {
            Some(residual) => self.values[residual].layout.clone(),
            None if only_depthwise => from.layout.clone(),
            None => Layout::dense(map.channels),
        };
        let panel = (PANEL / map.width).clamp(1, map.height);
        let pixels = map.pixels();
        let mut cost = 0;
        let mut depthwise_of = |filter: &Filter, mid: Act, layout: &Layout| {
            cost += layout.blocks() * per_pixel(filter) * pixels;
            let taps = per_pixel(filter);
            let mut weights = vec![0.0; layout.blocks() * taps * LANES];
            for (c, (block, lane)) in layout.places().into_iter().enumerate() {
                for t in 0..taps {
                    weights[(block * taps + t) * LANES + lane] = filter.weights[c * taps + t];
                }
            }
            Depthwise {
                window: Window::new(filter),
                weights,
                bias: layout.spread(&filter.bias),
                mid,
            }
        };
        if only_depthwise {
            let source = Source::OnlyDepthwise(depthwise_of(&filter, post, &from.layout));
            let conv = Conv {
                pre,
                source,
                products: Vec::new(),
                post: Act::None,
                panel,
            };
            return self.finish_conv(conv, x, None, layout, map, cost);
        }
        let source = match &depthwise {
            Some((first, mid)) => Source::Depthwise(depthwise_of(first, *mid, &from.layout)),
            None => source(&filter, pre, &from, map),
        };
        let mut conv = Conv {
            pre,
            source,
            products: Vec::new(),
            post,
            panel,
        };
        let to = ValueOf {
            layout: layout.clone(),
            height: map.height,
            width: map.width,
        };
        let (block, row) = match &conv.source {
            Source::Window(w) => (conv.block(&from, &to), w.cols(map.width) * LANES),
            _ => (conv.block(&from, &to), 0),
        };
        let (products, rows) = products(&filter, &from.layout, &layout, block, row);
        conv.products = products;
        let unpacked = Unpacked {
            inputs: channels / filter.sizes.groups,
            filter,
            to: layout.clone(),
            rows,
        };
        self.unpacked.push((self.steps.len(), unpacked));
        let lanes = |p: &Part| p.blocks.len() * p.segments.iter().map(|s| s.lanes).sum::<usize>();
        cost += conv.products.iter().map(lanes).sum::<usize>() * pixels;
        self.finish_conv(conv, x, residual, layout, map, cost)
    }

    fn finish_conv(
        &mut self,
        conv: Conv,
        x: usize,
        residual: Option<usize>,
        layout: Layout,
        map: FeatureMap,
        cost: usize,
    ) -> usize {
        let output = self.step(Work::Conv(Box::new(conv)), vec![x], layout, map);
        if let Some(step) = self.steps.last_mut() {
            (step.residual, step.cost) = (residual, cost);
        }
        output
    }
}

fn map_of(value: &ValueOf) -> FeatureMap {
    FeatureMap::new(value.layout.channels(), value.height, value.width)
}

/// From where a convolution without a depthwise one before it reads.
fn source(filter: &Filter, pre: Act, from: &ValueOf, map: FeatureMap) -> Source {
    let sizes = &filter.sizes;
    let start = (
        usize::try_from(filter.start.0),
        usize::try_from(filter.start.1),
    );
    match (sizes.kernel, start) {
        ((1, 1), (Ok(top), Ok(left))) if inside(top, left, sizes.stride, from, map) => {
            let same = (from.height, from.width) == (map.height, map.width);
            match pre == Act::None && same && (top, left) == (0, 0) && sizes.stride == (1, 1) {
                true => Source::Direct,
                false => Source::Pick {
                    start: (top, left),
                    stride: sizes.stride,
                },
            }
        }
        _ => Source::Window(Window::new(filter)),
    }
}

/// Whether all pixels that a 1×1 convolution reads exist.
fn inside(
    top: usize,
    left: usize,
    stride: (usize, usize),
    from: &ValueOf,
    map: FeatureMap,
) -> bool {
    top + (map.height - 1) * stride.0 < from.height
        && left + (map.width - 1) * stride.1 < from.width
}

impl Unpacked {
    /// The weights and the bias of some blocks of the output.
    fn pack(&self, blocks: Range<usize>, rows: &[(usize, usize)]) -> (Vec<f32>, Vec<f32>) {
        let Unpacked {
            filter, inputs, to, ..
        } = self;
        let sizes = &filter.sizes;
        let (taps, ci) = (sizes.kernel.0 * sizes.kernel.1, *inputs);
        let co = to.channels() / sizes.groups;
        let mut weights = vec![0.0; blocks.len() * rows.len() * LANES];
        let mut bias = vec![0.0; blocks.len() * LANES];
        for ((of, weights), bias) in (to.0[blocks].iter())
            .zip(weights.chunks_exact_mut(rows.len() * LANES))
            .zip(bias.chunks_exact_mut(LANES))
        {
            bias[..of.lanes].copy_from_slice(&filter.bias[of.first..of.first + of.lanes]);
            for (weights, &(c, t)) in weights.chunks_exact_mut(LANES).zip(rows) {
                for (lane, w) in weights[..of.lanes].iter_mut().enumerate() {
                    let o = of.first + lane;
                    // Without groups the first difference is the channel, and it exists.
                    let i = c.wrapping_sub(o / co * ci);
                    if i < ci {
                        *w = filter.weights[(o * ci + i) * taps + t];
                    }
                }
            }
        }
        (weights, bias)
    }
}

/// Products whose weights are not packed yet, and channel and tap of each row of weights that each will have: for each block of
/// the input and each tap its lanes. A block of what the products read has `block` elements, a row of its pixels `row`.
fn products(
    filter: &Filter,
    from: &Layout,
    to: &Layout,
    block: usize,
    row: usize,
) -> (Vec<Part>, Vec<Vec<(usize, usize)>>) {
    let sizes = &filter.sizes;
    let (groups, taps) = (sizes.groups, sizes.kernel.0 * sizes.kernel.1);
    let (ci, co) = (from.channels() / groups, to.channels() / groups);
    // Groups that fill blocks of the output are products of their own; others meet zeros in the weights.
    let apart = groups > 1 && co.is_multiple_of(LANES) && *to == Layout::dense(to.channels());
    let parts = if apart { groups } else { 1 };
    let blocks = to.blocks() / parts;
    let part = |p: usize| {
        let own = p * blocks..(p + 1) * blocks;
        let inputs = match apart {
            true => p * ci..(p + 1) * ci,
            false => 0..from.channels(),
        };
        let mut segments = Vec::new();
        // Channel and tap of each row of weights.
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (b, of) in from.0.iter().enumerate() {
            let channels = of.first.max(inputs.start)..(of.first + of.lanes).min(inputs.end);
            if channels.is_empty() {
                continue;
            }
            for t in 0..taps {
                let (down, across) = (
                    t / sizes.kernel.1 * sizes.dilation,
                    t % sizes.kernel.1 * sizes.dilation,
                );
                let lane = channels.start - of.first;
                let offset = b * block + down * row + across * LANES + lane;
                segments.push(Segment {
                    offset,
                    lanes: channels.len(),
                });
                rows.extend(channels.clone().map(|c| (c, t)));
            }
        }
        let part = Part {
            blocks: own,
            segments,
            weights: Vec::new(),
            bias: Vec::new(),
        };
        (part, rows)
    };
    (0..parts).map(part).unzip()
}
