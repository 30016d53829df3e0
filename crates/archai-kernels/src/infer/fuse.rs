//! What a network's layers become before they run: norms inside convolutions, activations inside what is before or behind
//! them, depthwise and pointwise convolutions as one step, sums as something that a convolution adds to.

use super::build::{ConvSizes, Node, Op, PoolMode, PoolSizes};
use crate::layout::FeatureMap;
use crate::micro::product::Act;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A layer after fusion.
#[derive(Clone, Debug)]
pub(super) enum Fused {
    Input,
    /// Reads a value and, if it is a second input, a residual, which is added before `post`.
    Conv(Box<FusedConv>),
    Pool(PoolMode, PoolSizes),
    GlobalMean,
    Flatten,
    Pick {
        stride: usize,
        top: usize,
        left: usize,
    },
    TakeChannels,
    Concat,
    /// The first input times the second one, which has one pixel.
    Scale,
    /// `act((Σ inputs) · scale + shift)`.
    Sum {
        scale_shift: Option<(Vec<f32>, Vec<f32>)>,
        act: Act,
    },
    Zero,
    /// Part of a later layer now.
    Gone,
}

/// A convolution: weights in PyTorch's order, the row and column where the first window begins.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub sizes: ConvSizes,
    pub start: (isize, isize),
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A convolution with what is done before and behind it.
#[derive(Clone, Debug)]
pub(super) struct FusedConv {
    pub pre: Act,
    /// A depthwise convolution that comes first, and what is done between the two.
    pub depthwise: Option<(Filter, Act)>,
    pub filter: Filter,
    pub post: Act,
}

/// A layer, what it reads and the size of what it gives.
#[derive(Clone, Debug)]
pub(super) struct FusedNode {
    pub op: Fused,
    pub inputs: Vec<usize>,
    pub map: FeatureMap,
}

impl Filter {
    fn is_pointwise(&self) -> bool {
        let s = &self.sizes;
        s.kernel == (1, 1)
            && s.stride == (1, 1)
            && s.padding == (0, 0)
            && s.groups == 1
            && self.start == (0, 0)
    }

    /// Whether each output channel reads the input channel of its own number alone.
    pub fn is_depthwise(&self, channels: usize) -> bool {
        self.sizes.groups == channels && self.sizes.channels == channels
    }

    fn scale_shift(&mut self, scale: &[f32], shift: &[f32]) {
        let per_channel = self.weights.len() / self.sizes.channels;
        for (weights, &scale) in self.weights.chunks_exact_mut(per_channel).zip(scale) {
            weights.iter_mut().for_each(|w| *w *= scale);
        }
        for ((bias, &scale), &shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
    }
}

/// The layers that `output` needs, fused, each after what it reads; and where the output is among them.
pub(super) fn fuse(nodes: Vec<Node>, output: usize) -> (Vec<FusedNode>, usize) {
    let mut nodes: Vec<FusedNode> = nodes.into_iter().map(plain).collect();
    drop_unused(&mut nodes, output);
    fold(&mut nodes, output);
    crop(&mut nodes);
    drop_unused(&mut nodes, output);
    act_before(&mut nodes, output);
    separable(&mut nodes, output);
    residuals(&mut nodes, output);
    drop_unused(&mut nodes, output);
    ordered(nodes, output)
}

fn plain(node: Node) -> FusedNode {
    let Node { op, inputs, map } = node;
    let sum = |scale_shift, act| Fused::Sum { scale_shift, act };
    let op = match op {
        Op::Input => Fused::Input,
        Op::Conv {
            sizes,
            start,
            weights,
            bias,
        } => Fused::Conv(Box::new(FusedConv {
            pre: Act::None,
            depthwise: None,
            filter: Filter {
                sizes,
                start,
                weights,
                bias,
            },
            post: Act::None,
        })),
        Op::Act(act) => sum(None, act),
        Op::ScaleShift { scale, shift } => sum(Some((scale, shift)), Act::None),
        Op::Pool(mode, sizes) => Fused::Pool(mode, sizes),
        Op::GlobalMean => Fused::GlobalMean,
        Op::Flatten => Fused::Flatten,
        Op::Pick { stride, top, left } => Fused::Pick { stride, top, left },
        Op::TakeChannels => Fused::TakeChannels,
        Op::Concat => Fused::Concat,
        Op::Scale => Fused::Scale,
        Op::Add => sum(None, Act::None),
        Op::Zero => Fused::Zero,
    };
    FusedNode { op, inputs, map }
}

/// Marks what nothing reads as gone. The input stays.
fn drop_unused(nodes: &mut [FusedNode], output: usize) {
    let mut needed = vec![false; nodes.len()];
    let mut open = vec![output, 0];
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut needed[i], true) {
            open.extend(&nodes[i].inputs);
        }
    }
    for (node, needed) in nodes.iter_mut().zip(needed) {
        if !needed {
            (node.op, node.inputs) = (Fused::Gone, Vec::new());
        }
    }
}

/// How often each value is read; the output once more.
fn uses(nodes: &[FusedNode], output: usize) -> Vec<usize> {
    let mut uses = vec![0; nodes.len()];
    uses[output] += 1;
    nodes
        .iter()
        .flat_map(|n| &n.inputs)
        .for_each(|&i| uses[i] += 1);
    uses
}

/// Takes a layer out of its place.
fn take(nodes: &mut [FusedNode], i: usize) -> (Fused, Vec<usize>) {
    let op = std::mem::replace(&mut nodes[i].op, Fused::Gone);
    (op, std::mem::take(&mut nodes[i].inputs))
}

/// Scales, shifts and activations behind convolutions, sums and concatenations of these become a part of them.
fn fold(nodes: &mut [FusedNode], output: usize) {
    let mut uses = uses(nodes, output);
    for i in 0..nodes.len() {
        let (Fused::Sum { act, .. }, &[x]) = (&nodes[i].op, &nodes[i].inputs[..]) else {
            continue;
        };
        if !takes(nodes, &uses, x, *act) {
            continue;
        }
        let (op, _) = take(nodes, i);
        let Fused::Sum { scale_shift, act } = op else {
            unreachable!("just compared");
        };
        let both = scale_shift.as_ref().map(|(a, b)| (&a[..], &b[..]));
        give(nodes, x, both, act);
        let (op, inputs) = take(nodes, x);
        (nodes[i].op, nodes[i].inputs) = (op, inputs);
        uses[x] = 0;
    }
}

/// Whether a layer that is read once can take a scale, a shift and this activation behind it.
fn takes(nodes: &[FusedNode], uses: &[usize], x: usize, act: Act) -> bool {
    uses[x] == 1
        && match &nodes[x].op {
            Fused::Conv(conv) => conv.post == Act::None && act.is_short(),
            Fused::Sum { act: own, .. } => *own == Act::None,
            Fused::Concat => nodes[x]
                .inputs
                .iter()
                .all(|&part| takes(nodes, uses, part, act)),
            _ => false,
        }
}

/// Gives it to the layer.
fn give(nodes: &mut [FusedNode], x: usize, scale_shift: Option<(&[f32], &[f32])>, act: Act) {
    match &mut nodes[x].op {
        Fused::Conv(conv) => {
            if let Some((scale, shift)) = scale_shift {
                conv.filter.scale_shift(scale, shift);
            }
            conv.post = act;
        }
        Fused::Sum {
            scale_shift: own,
            act: own_act,
        } => {
            *own_act = act;
            match (own, scale_shift) {
                (_, None) => {}
                (Some((a, b)), Some((scale, shift))) => {
                    for (((a, b), scale), shift) in a.iter_mut().zip(b).zip(scale).zip(shift) {
                        (*a, *b) = (*a * scale, *b * scale + shift);
                    }
                }
                (own, Some((scale, shift))) => *own = Some((scale.to_vec(), shift.to_vec())),
            }
        }
        _ => {
            let mut first = 0;
            for part in nodes[x].inputs.clone() {
                let channels = first..first + nodes[part].map.channels;
                first = channels.end;
                let of_part = scale_shift.map(|(a, b)| (&a[channels.clone()], &b[channels]));
                give(nodes, part, of_part, act);
            }
        }
    }
}

/// Convolutions read the whole map rather than a part of it that was cut out before.
fn crop(nodes: &mut [FusedNode]) {
    for i in 0..nodes.len() {
        let Some(&x) = nodes[i].inputs.first() else {
            continue;
        };
        let (Fused::Pick { stride, top, left }, from) =
            (&nodes[x].op, nodes[x].inputs.first().copied())
        else {
            continue;
        };
        let (stride, top, left) = (*stride, *top as isize, *left as isize);
        if let (Fused::Conv(conv), Some(from)) = (&mut nodes[i].op, from) {
            let Filter { sizes, start, .. } = &mut conv.filter;
            // The zeros of a padding are not those pixels of the larger map.
            if sizes.padding != (0, 0) || *start != (0, 0) || (stride > 1 && sizes.kernel != (1, 1))
            {
                continue;
            }
            *start = (top, left);
            sizes.stride = (sizes.stride.0 * stride, sizes.stride.1 * stride);
            nodes[i].inputs[0] = from;
        }
    }
}

/// An activation that only convolutions read is done by them as they read.
fn act_before(nodes: &mut [FusedNode], output: usize) {
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&x| readers[x].push(i));
    }
    for a in 0..nodes.len() {
        let (
            Fused::Sum {
                scale_shift: None,
                act,
            },
            &[x],
        ) = (&nodes[a].op, &nodes[a].inputs[..])
        else {
            continue;
        };
        let act = *act;
        let fits = |&i: &usize| matches!(&nodes[i].op, Fused::Conv(conv) if conv.pre == Act::None);
        if a == output || act == Act::None || !act.is_short() || !readers[a].iter().all(fits) {
            continue;
        }
        for i in std::mem::take(&mut readers[a]) {
            if let Fused::Conv(conv) = &mut nodes[i].op {
                conv.pre = act;
                nodes[i].inputs[0] = x;
                readers[x].push(i);
            }
        }
        readers[x].retain(|&i| i != a);
        take(nodes, a);
    }
}

/// A depthwise convolution that only a pointwise one reads becomes a part of it.
fn separable(nodes: &mut [FusedNode], output: usize) {
    let uses = uses(nodes, output);
    for i in 0..nodes.len() {
        let (Fused::Conv(conv), Some(&x)) = (&nodes[i].op, nodes[i].inputs.first()) else {
            continue;
        };
        let Fused::Conv(first) = &nodes[x].op else {
            continue;
        };
        let between = match (first.post, conv.pre) {
            (act, Act::None) | (Act::None, act) => act,
            (a, b) if a == b => a,
            _ => continue,
        };
        if uses[x] != 1
            || !conv.filter.is_pointwise()
            || conv.depthwise.is_some()
            || first.depthwise.is_some()
            || !first
                .filter
                .is_depthwise(nodes[nodes[x].inputs[0]].map.channels)
        {
            continue;
        }
        let (Fused::Conv(first), inputs) = take(nodes, x) else {
            unreachable!("just compared");
        };
        if let Fused::Conv(conv) = &mut nodes[i].op {
            conv.pre = first.pre;
            conv.depthwise = Some((first.filter, between));
        }
        nodes[i].inputs = inputs;
    }
}

/// Convolutions add to what the other terms of a sum have given: one after the other, the last in the sum's place.
fn residuals(nodes: &mut [FusedNode], output: usize) {
    let uses = uses(nodes, output);
    for i in 0..nodes.len() {
        let Fused::Sum {
            scale_shift: None,
            act,
        } = nodes[i].op
        else {
            continue;
        };
        if nodes[i].inputs.len() < 2 || !act.is_short() {
            continue;
        }
        let fits = |&x: &usize| {
            let free = nodes[x].inputs.len() == 1;
            uses[x] == 1
                && free
                && matches!(&nodes[x].op, Fused::Conv(conv) if conv.post == Act::None)
        };
        let (convs, others): (Vec<usize>, Vec<usize>) =
            nodes[i].inputs.iter().partition(|x| fits(x));
        let Some(&last) = convs.last() else {
            continue;
        };
        let mut before = others.first().copied();
        for &x in &convs {
            nodes[x].inputs.extend(before);
            before = Some(x);
        }
        if others.len() > 1 {
            nodes[i].inputs = [&[last], &others[1..]].concat();
            continue;
        }
        let (Fused::Conv(mut conv), inputs) = take(nodes, last) else {
            unreachable!("just compared");
        };
        conv.post = act;
        (nodes[i].op, nodes[i].inputs) = (Fused::Conv(conv), inputs);
    }
}

/// The layers that are left, renumbered, each after what it reads and otherwise in their order.
fn ordered(nodes: Vec<FusedNode>, output: usize) -> (Vec<FusedNode>, usize) {
    let mut missing: Vec<usize> = nodes.iter().map(|n| n.inputs.len()).collect();
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut ready = BinaryHeap::new();
    for (i, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&x| readers[x].push(i));
        if node.inputs.is_empty() && !matches!(node.op, Fused::Gone) {
            ready.push(Reverse(i));
        }
    }
    let mut places = vec![usize::MAX; nodes.len()];
    let mut nodes: Vec<Option<FusedNode>> = nodes.into_iter().map(Some).collect();
    let mut ordered: Vec<FusedNode> = Vec::new();
    while let Some(Reverse(i)) = ready.pop() {
        let Some(mut node) = nodes[i].take() else {
            continue;
        };
        node.inputs.iter_mut().for_each(|x| *x = places[*x]);
        places[i] = ordered.len();
        ordered.push(node);
        for &reader in &readers[i] {
            missing[reader] -= 1;
            if missing[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    (ordered, places[output])
}
