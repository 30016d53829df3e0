//! A whole cell as one op: the fast path of supernets, and of evaluated networks, whose edges have one primitive each.
//!
//! Every edge carries all its primitives, so a cell is mostly the same work many times over. Edges that leave one state
//! read the same input: the cell computes its padded ReLU, its pools and their sums once (`group`). No normalised
//! tensor is ever stored: norms are folded into the next ReLU or into the node's weighted sum. And the sums that the
//! norms' gradients need anyway are the gradients of the mixing weights.

mod backward;
mod build;
mod forward;
mod group;
mod incoming;

use crate::layout::FeatureMap;
use crate::micro::place::Place;
use crate::norm::{ChannelStats, Moments, NormParams};
use crate::pack::Packing;
use crate::simd::LANES;
use group::{Group, GroupSave};

/// A candidate operation of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// Zero.
    None,
    /// 3×3 max pool, perhaps with a norm behind it.
    MaxPool {
        /// Followed by a norm (the original DARTS search network), or bare.
        norm: bool,
    },
    /// 3×3 average pool, padding not counted.
    AvgPool {
        /// As for the max pool.
        norm: bool,
    },
    /// The identity; at stride 2 a factorised reduce (ReLU, two 1×1 convolutions, norm).
    Skip,
    /// Twice ReLU, depthwise k×k, pointwise, norm; the stride is in the first half.
    Sep {
        /// 3, 5 or 7.
        kernel: usize,
    },
    /// ReLU, depthwise k×k with dilation 2, pointwise, norm.
    Dil {
        /// 3 or 5.
        kernel: usize,
    },
}

impl Primitive {
    /// The usual name: `none`, `max_pool_3x3`, `avg_pool_3x3`, `skip_connect`, `sep_conv_5x5`, `dil_conv_3x3` …
    pub fn name(&self) -> String {
        match self {
            Primitive::None => "none".into(),
            Primitive::MaxPool { .. } => "max_pool_3x3".into(),
            Primitive::AvgPool { .. } => "avg_pool_3x3".into(),
            Primitive::Skip => "skip_connect".into(),
            Primitive::Sep { kernel } => format!("sep_conv_{kernel}x{kernel}"),
            Primitive::Dil { kernel } => format!("dil_conv_{kernel}x{kernel}"),
        }
    }
}

/// An edge of a cell: which state feeds which node, through which candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellEdge {
    /// 0 and 1: the cell's inputs; 2 + i: node i.
    pub from: usize,
    /// The node that it feeds; it comes after `from`.
    pub node: usize,
    /// The candidates, in the order of the mixing weights.
    pub primitives: Vec<Primitive>,
}

/// A norm inside a cell, for keeping its running statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellNorm {
    /// As in `node0.edge1.sep_conv_3x3.bn2`, the edge being named by the state that it comes from.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Values per channel and sample: their number turns a biased variance into an unbiased one.
    pub pixels: usize,
}

/// Which gradients a backward pass through a cell computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellWant {
    /// Gradients of the two inputs.
    pub inputs: bool,
    /// Gradient of the mixing weights.
    pub mixing: bool,
    /// Gradient of the parameters.
    pub params: bool,
}

impl CellWant {
    /// All three.
    pub const ALL: CellWant = CellWant {
        inputs: true,
        mixing: true,
        params: true,
    };
}

/// The gradients that were wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellGrads {
    /// Of both inputs.
    pub inputs: Option<[Vec<f32>; 2]>,
    /// Of the mixing weights, edge after edge.
    pub mixing: Option<Vec<f32>>,
    /// Of the parameters, packed.
    pub params: Option<Vec<f32>>,
}

/// A mixed cell of given geometry.
///
/// ```
/// use archai_kernels::{CellEdge, FusedCell, CellWant, Exec, FeatureMap};
/// use archai_kernels::Primitive::*;
/// let exec = Exec::new();
/// let primitives = vec![MaxPool { norm: true }, Skip, Sep { kernel: 3 }, None];
/// let edges = (0..2).map(|from| CellEdge { from, node: 0, primitives: primitives.clone() }).collect();
/// let cell = FusedCell::new(FeatureMap::new(8, 6, 6), 1, false, edges)?;
/// let s = vec![1.0; 2 * cell.input().sample_len()];
/// let params = cell.params().pack(|tensor| vec![0.1; tensor.len()]);
/// let mixing = vec![0.25; cell.mixing_len()];
/// let (out, save) = cell.forward(&exec, [&s, &s], &mixing, &params);
/// let grads = cell.backward(&exec, [&s, &s], &mixing, &params, &out, &save, out.clone(), CellWant::ALL);
/// assert_eq!(grads.mixing.map(|g| g.len()), Some(8));
/// # Ok::<(), archai_kernels::Unsupported>(())
/// ```
#[derive(Clone, Debug)]
pub struct FusedCell {
    input: FeatureMap,
    node: FeatureMap,
    nodes: usize,
    edges: Vec<CellEdge>,
    mixing_len: usize,
    layout: Packing,
    norms: Vec<CellNorm>,
    /// Scale and shift of each norm, if it has them.
    affine: Vec<Option<NormParams>>,
    /// By state; the last node feeds nothing.
    groups: Vec<Group>,
}

/// What a backward pass needs besides inputs, weights, parameters and output.
#[derive(Clone, Debug)]
pub struct CellSave {
    groups: Vec<GroupSave>,
    moments: Vec<Moments>,
    /// The nodes' values where they are not kept in the output.
    nodes: Vec<Vec<f32>>,
    factors: Factors,
}

/// For each edge, the factor of each sample, unless all are one; no entries if that holds for all edges.
type Factors = Vec<Option<Vec<f32>>>;

fn factor(factors: &Factors, edge: usize, sample: usize) -> f32 {
    match factors.get(edge) {
        Some(Some(f)) => f[sample],
        _ => 1.0,
    }
}

impl CellSave {
    /// The batch's statistics of every norm, in the order of [`FusedCell::norms`].
    pub fn stats(&self) -> Vec<ChannelStats> {
        self.moments.iter().map(Moments::stats).collect()
    }
}

impl FusedCell {
    /// The size of both inputs.
    pub fn input(&self) -> FeatureMap {
        self.input
    }

    /// The size of the output: all nodes' channels.
    pub fn output(&self) -> FeatureMap {
        self.node.with_channels(self.nodes * self.node.channels)
    }

    /// The edges, whose rows of mixing weights follow each other.
    pub fn edges(&self) -> &[CellEdge] {
        &self.edges
    }

    /// The number of mixing weights of all edges.
    pub fn mixing_len(&self) -> usize {
        self.mixing_len
    }

    /// The parameters, named as in `node0.edge1.sep_conv_3x3.conv2.weight`, the edge by the state that it comes from.
    pub fn params(&self) -> &Packing {
        &self.layout
    }

    /// The norms, in the order of the statistics in results and arguments.
    pub fn norms(&self) -> &[CellNorm] {
        &self.norms
    }

    /// Checks the lengths of a pass's arguments and returns the number of samples.
    fn check(&self, inputs: [&[f32]; 2], mixing: &[f32], params: &[f32]) -> usize {
        let n = self.input.samples(inputs[0].len());
        self.input.check("second input of a cell", inputs[1], n);
        assert!(
            mixing.len() == self.mixing_len,
            "{} mixing weights given, the cell has {}",
            mixing.len(),
            self.mixing_len
        );
        self.layout.check(params);
        n
    }

    /// The place of a node's channels in the output, if its values are kept nowhere else: they must be blocks of their
    /// own if other nodes read them.
    fn in_output(&self, node: usize) -> Option<Place> {
        let place = self.place(node)?;
        (place == Place::Blocks || !self.is_read(node)).then_some(place)
    }

    /// The place of a node's channels in the output, if it is a simple one.
    fn place(&self, node: usize) -> Option<Place> {
        Place::of(node * self.node.channels, self.node.channels)
    }

    /// The first element of a node's first block in a sample of the output.
    fn start(&self, node: usize) -> usize {
        node * self.node.channels / LANES * LANES * self.node.pixels()
    }

    /// Whether other nodes read a node.
    fn is_read(&self, node: usize) -> bool {
        self.groups
            .get(node + 2)
            .is_some_and(|g| !g.edges.is_empty())
    }
}
