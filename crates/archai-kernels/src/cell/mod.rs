//! A whole cell as one op: the fast path of supernets, and of evaluated networks, whose edges have one primitive each.
//!
//! Every edge carries all its primitives, so a cell is mostly the same work many times over. Edges that leave one state
//! read the same input: the plan computes its padded ReLU, its pools and their sums once (`group`). No normalised
//! tensor is ever stored: norms are folded into the next ReLU or into the node's weighted sum. And the sums that the
//! norms' gradients need anyway are the gradients of the mixing weights.

mod backward;
mod group;
mod incoming;

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::{Reduce, Separable};
use crate::exec::{Exec, Turn};
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::Window;
use crate::micro::norm::{Combine, Term};
use crate::micro::place::Place;
use crate::micro::pool::PoolWindow;
use crate::norm::{ChannelStats, Moments, NormParams, scaled};
use crate::pack::ParamLayout;
use crate::plain::{place_channels, split_channels};
use crate::simd::LANES;
use backward::{BackwardSums, GroupBackward, Start, Target};
use group::{Branch, Group, GroupEdge, GroupSave, Kind, moment};
use incoming::{Incoming, NodeSamples};

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
    /// Values per channel and sample, by which an unbiased variance is made of a biased one.
    pub pixels: usize,
}

/// What a backward pass through a cell is asked for.
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

/// The gradients that were asked for.
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
/// use archai_kernels::{CellEdge, CellPlan, CellWant, Exec, FeatureMap, Primitive};
/// let exec = Exec::new();
/// let primitives = vec![Primitive::MaxPool { norm: true }, Primitive::Skip, Primitive::Sep { kernel: 3 }, Primitive::None];
/// let edges = (0..2).map(|from| CellEdge { from, node: 0, primitives: primitives.clone() }).collect();
/// let plan = CellPlan::new(FeatureMap::new(8, 6, 6), 1, false, edges)?;
/// let s = vec![1.0; 2 * plan.input().sample_len()];
/// let params = plan.params().pack(|piece| vec![0.1; piece.len()]);
/// let mixing = vec![0.25; plan.mixing_len()];
/// let (out, save) = plan.forward(&exec, [&s, &s], &mixing, &params);
/// let grads = plan.backward(&exec, [&s, &s], &mixing, &params, &out, &save, out.clone(), CellWant::ALL);
/// assert_eq!(grads.mixing.map(|g| g.len()), Some(8));
/// # Ok::<(), archai_kernels::Unsupported>(())
/// ```
#[derive(Clone, Debug)]
pub struct CellPlan {
    input: FeatureMap,
    node: FeatureMap,
    nodes: usize,
    edges: Vec<CellEdge>,
    mixing_len: usize,
    layout: ParamLayout,
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

/// For each edge, the factor of each sample, unless it is one throughout; no entries at all if that holds for all edges.
type Factors = Vec<Option<Vec<f32>>>;

fn factor(factors: &Factors, edge: usize, sample: usize) -> f32 {
    match factors.get(edge) {
        Some(Some(f)) => f[sample],
        _ => 1.0,
    }
}

impl CellSave {
    /// The batch's statistics of every norm, in the order of [`CellPlan::norms`].
    pub fn stats(&self) -> Vec<ChannelStats> {
        self.moments.iter().map(Moments::stats).collect()
    }
}

impl CellPlan {
    /// A cell with inputs like `input` (both already brought to one size and number of channels). In a reduction cell
    /// the edges from the inputs have stride 2. Norms have neither scale nor shift.
    ///
    /// # Errors
    /// If an edge refers to a state that does not come before its node, or a primitive has no kernel for the geometry.
    pub fn new(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        Self::build(input, nodes, reduction, false, edges)
    }

    /// As [`CellPlan::new`], with learnt scales and shifts in the norms behind convolutions.
    ///
    /// # Errors
    /// As [`CellPlan::new`].
    pub fn with_affine_norms(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        Self::build(input, nodes, reduction, true, edges)
    }

    fn build(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        affine: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        if nodes == 0 || input.channels == 0 || input.pixels() == 0 {
            return Err(Unsupported(format!(
                "a cell of {nodes} nodes on {input}: every size must be positive"
            )));
        }
        let stride = if reduction { 2 } else { 1 };
        let node = FeatureMap::new(
            input.channels,
            (input.height - 1) / stride + 1,
            (input.width - 1) / stride + 1,
        );
        if let Some(e) = edges
            .iter()
            .find(|e| e.node >= nodes || e.from >= e.node + 2)
        {
            return Err(Unsupported(format!(
                "an edge from state {} to node {}: the cell has {nodes} nodes, and node i can read the states 0 to i + 1",
                e.from, e.node
            )));
        }
        let mut plan = CellPlan {
            input,
            node,
            nodes,
            mixing_len: edges.iter().map(|e| e.primitives.len()).sum(),
            edges,
            layout: ParamLayout::default(),
            norms: Vec::new(),
            affine: Vec::new(),
            groups: Vec::new(),
        };
        for from in 0..nodes + 1 {
            let group = plan.group(from, if from < 2 { stride } else { 1 }, affine)?;
            plan.groups.push(group);
        }
        let names = plan.layout.pieces().iter().map(|p| &p.name);
        let mut names: Vec<&String> = names.chain(plan.norms.iter().map(|n| &n.name)).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Unsupported(format!(
                "two tensors of the cell are named {}: an edge can hold a primitive with weights or norms only once",
                twice[0]
            )));
        }
        Ok(plan)
    }

    fn group(&mut self, from: usize, stride: usize, affine: bool) -> Result<Group, Unsupported> {
        let (input, output) = (if from < 2 { self.input } else { self.node }, self.node);
        // Scales and shifts: the norm, whether it is in a second half, the place there.
        let mut learnt: Vec<(usize, bool, NormParams)> = Vec::new();
        let (mut first, mut second) = (ParamLayout::default(), ParamLayout::default());
        let mut edges = Vec::new();
        let mut weight = 0;
        for (index, edge) in self.edges.iter().enumerate() {
            let row = weight;
            weight += edge.primitives.len();
            if edge.from != from {
                continue;
            }
            let mut branches = Vec::new();
            for (i, primitive) in edge.primitives.iter().enumerate() {
                let prefix = format!("node{}.edge{}.{}.", edge.node, edge.from, primitive.name());
                let norms = &mut self.norms;
                let mut norm = |number: usize| {
                    norms.push(CellNorm {
                        name: format!("{prefix}bn{number}"),
                        channels: output.channels,
                        pixels: output.pixels(),
                    });
                    norms.len() - 1
                };
                let channels = output.channels;
                let mut learn =
                    |norm: usize, number: usize, second: bool, layout: &mut ParamLayout| {
                        if affine {
                            let name = format!("{prefix}bn{number}");
                            let params = NormParams::push(layout, &name, channels);
                            learnt.push((norm, second, params));
                        }
                        norm
                    };
                let kind = match *primitive {
                    Primitive::None => continue,
                    Primitive::MaxPool { norm: with } => Kind::Pool {
                        max: true,
                        norm: with.then(|| norm(1)),
                    },
                    Primitive::AvgPool { norm: with } => Kind::Pool {
                        max: false,
                        norm: with.then(|| norm(1)),
                    },
                    Primitive::Skip if stride == 1 => Kind::Identity,
                    Primitive::Skip => Kind::Reduce {
                        core: Reduce::new(input, channels, &mut first, &prefix)?,
                        norm: learn(norm(1), 1, false, &mut first),
                    },
                    Primitive::Dil { kernel } => {
                        let window = Window {
                            k: kernel,
                            dilation: 2,
                            stride,
                        };
                        Kind::Dil {
                            core: Separable::new(input, channels, window, &mut first, &prefix, 1)?,
                            norm: learn(norm(1), 1, false, &mut first),
                        }
                    }
                    Primitive::Sep { kernel } => {
                        let window = |stride| Window {
                            k: kernel,
                            dilation: 1,
                            stride,
                        };
                        Kind::Sep {
                            first: Separable::new(
                                input,
                                channels,
                                window(stride),
                                &mut first,
                                &prefix,
                                1,
                            )?,
                            norm: learn(norm(1), 1, false, &mut first),
                            second: Separable::new(
                                output,
                                channels,
                                window(1),
                                &mut second,
                                &prefix,
                                3,
                            )?,
                            norm2: learn(norm(2), 2, true, &mut second),
                        }
                    }
                };
                branches.push(Branch {
                    weight: row + i,
                    edge: index,
                    kind,
                });
            }
            edges.push(GroupEdge {
                index,
                node: edge.node,
                branches,
            });
        }
        let pool = PoolWindow {
            k: 3,
            stride,
            pad: 1,
            height: input.height,
            width: input.width,
        };
        let lens = (first.len(), second.len());
        let first = (self.layout.append(first), lens.0);
        let second = (self.layout.append(second), lens.1);
        self.affine.resize(self.norms.len(), None);
        for (norm, in_second, params) in learnt {
            let (start, _) = if in_second { second } else { first };
            self.affine[norm] = Some(params.after(start));
        }
        Ok(Group {
            input,
            output,
            pool,
            edges,
            first,
            second,
        })
    }

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
    pub fn params(&self) -> &ParamLayout {
        &self.layout
    }

    /// The norms, in the order in which statistics are returned and taken.
    pub fn norms(&self) -> &[CellNorm] {
        &self.norms
    }

    /// Training: the concatenated nodes, and what the backward pass needs. `mixing` are the weights themselves (after
    /// softmax or whatever else), edge after edge.
    pub fn forward(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
    ) -> (Vec<f32>, CellSave) {
        self.pass(exec, inputs, mixing, params, None, Vec::new())
    }

    /// As [`CellPlan::forward`], with drop-path: for each edge that has some, the factors by which its result for each
    /// sample is multiplied.
    ///
    /// # Panics
    /// If there are not as many entries as edges, or not as many factors as samples.
    pub fn forward_dropping(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        factors: Vec<Option<Vec<f32>>>,
    ) -> (Vec<f32>, CellSave) {
        let n = self.input.samples(inputs[0].len());
        assert!(
            factors.len() == self.edges.len() && factors.iter().flatten().all(|f| f.len() == n),
            "factors for {} edges given, the cell has {}, and there is one per sample ({n})",
            factors.len(),
            self.edges.len()
        );
        self.pass(exec, inputs, mixing, params, None, factors)
    }

    /// Evaluation: as [`CellPlan::forward`], with given statistics for every norm.
    pub fn infer(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        stats: &[ChannelStats],
    ) -> Vec<f32> {
        assert!(
            stats.len() == self.norms.len(),
            "{} statistics given, the cell has {} norms",
            stats.len(),
            self.norms.len()
        );
        self.pass(exec, inputs, mixing, params, Some(stats), Vec::new())
            .0
    }

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

    /// Where a node stands in the output, if it is kept nowhere else: its values are to be blocks if other nodes read them.
    fn in_output(&self, node: usize) -> Option<Place> {
        let place = self.place(node)?;
        (place == Place::Blocks || !self.is_read(node)).then_some(place)
    }

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

    fn pass(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        given: Option<&[ChannelStats]>,
        factors: Factors,
    ) -> (Vec<f32>, CellSave) {
        let n = self.check(inputs, mixing, params);
        let (node, len) = (self.node, self.node.sample_len());
        let whole = self.output().sample_len();
        // SAFETY: the nodes' channels, and the padding behind them, make up every sample.
        let mut out = unsafe { overwritten::<f32>(n * whole) };
        let joined = SamplesMut::whole(&mut out, whole);
        let mut separate: Vec<Vec<f32>> = (0..self.nodes)
            .map(|i| match self.in_output(i) {
                Some(_) => Vec::new(),
                // SAFETY: every sample is written by the node's weighted sum.
                None => unsafe { overwritten(n * len) },
            })
            .collect();
        let nodes: Vec<SamplesMut<'_>> = separate
            .iter_mut()
            .enumerate()
            .map(|(i, own)| match self.in_output(i) {
                Some(_) => joined.part(self.start(i), len),
                None => SamplesMut::whole(own, len),
            })
            .collect();
        let mut states: Vec<Samples<'_>> = inputs
            .iter()
            .map(|s| Samples::whole(s, self.input.sample_len()))
            .collect();
        // SAFETY: a node is read only after its weighted sum has been written.
        states.extend(nodes.iter().map(|v| unsafe { v.read() }));
        let mut moments: Vec<Option<Moments>> = match given {
            None => vec![None; self.norms.len()],
            Some(stats) => stats
                .iter()
                .map(|s| Some(Moments::given(s, node.channels)))
                .collect(),
        };
        let mut groups: Vec<GroupSave> = Vec::new();
        let mut turn = Turn::new(exec);
        for (state, x) in states.iter().enumerate() {
            if state >= 2 {
                self.mix(
                    &turn.next(),
                    n,
                    state - 2,
                    &states,
                    &groups,
                    &moments,
                    mixing,
                    params,
                    &factors,
                    nodes[state - 2],
                    joined,
                );
            }
            if let Some(group) = self.groups.get(state) {
                let norms = (&mut moments[..], &self.affine[..]);
                groups.push(group.forward(&mut turn, n, *x, params, norms, given.is_some()));
            }
        }
        drop((states, nodes));
        let moments = moments.into_iter().flatten().collect();
        (
            out,
            CellSave {
                groups,
                moments,
                nodes: separate,
                factors,
            },
        )
    }

    /// A node: the weighted sum over the primitives of all its edges, norms folded in. It goes to `dst`, and to its
    /// channels of `joined`, the output, unless `dst` is a part of that.
    #[allow(clippy::too_many_arguments)]
    fn mix(
        &self,
        exec: &Exec,
        n: usize,
        node: usize,
        states: &[Samples<'_>],
        saves: &[GroupSave],
        moments: &[Option<Moments>],
        mixing: &[f32],
        params: &[f32],
        factors: &Factors,
        dst: SamplesMut<'_>,
        joined: SamplesMut<'_>,
    ) {
        let (map, len) = (self.node, self.node.sample_len());
        /// A result, its edge, and its scale and shift per channel.
        struct Part<'a> {
            values: Samples<'a>,
            edge: usize,
            scale: Vec<f32>,
            shift: Vec<f32>,
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        for ((group, save), x) in self.groups.iter().zip(saves).zip(states) {
            for (branch, values) in group.results(save, *x, |e| e.node == node) {
                let w = mixing[branch.weight];
                let c = map.padded_channels();
                let (mut scale, mut shift) = match branch.kind.last_norm() {
                    None => (vec![1.0; c], vec![0.0; c]),
                    Some(norm) => {
                        let affine = self.affine[norm].map(|a| a.get(params));
                        moment(moments, norm).fold(affine)
                    }
                };
                scale.iter_mut().chain(&mut shift).for_each(|s| *s *= w);
                parts.push(Part {
                    values,
                    edge: branch.edge,
                    scale,
                    shift,
                });
            }
        }
        exec.for_samples(n, n * len * parts.len().max(1), |i| {
            let mut base = vec![0.0; map.padded_channels()];
            let mut scales = Vec::with_capacity(parts.len());
            for part in &parts {
                let f = factor(factors, part.edge, i);
                base.iter_mut()
                    .zip(&part.shift)
                    .for_each(|(b, s)| *b += f * s);
                // What is dropped is not read.
                if f != 0.0 {
                    scales.push((part.values.get(i), scaled(&part.scale, f)));
                }
            }
            let terms: Vec<Term<'_>> = scales
                .iter()
                .map(|(src, scale)| Term::new(*src, scale))
                .collect();
            let (whole, place) = (self.output(), self.in_output(node));
            if node == 0 && whole.channels < whole.padded_channels() {
                // SAFETY: each sample is visited once, and the result is gone before the next one is made.
                let joined = unsafe { joined.get(i) };
                joined[(whole.blocks() - 1) * whole.pixels() * LANES..].fill(0.0);
            }
            // SAFETY: each sample is visited once.
            let dst = unsafe { dst.get(i) };
            exec.run(Combine {
                terms: &terms,
                base: &base,
                blocks: map.blocks(),
                pixels: map.pixels(),
                dst: &mut *dst,
                to: place.unwrap_or(Place::Blocks),
                add: false,
            });
            if place.is_none() {
                // SAFETY: each sample is visited once; `dst` is a tensor of its own.
                let joined = unsafe { joined.get(i) };
                place_channels(map, dst, node * map.channels, joined);
            }
        });
    }

    /// Gradients of a training pass. `out` and `save` are what [`CellPlan::forward`] returned; the gradient `g` of `out`
    /// is taken over, since the nodes' gradients are added up in it.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        out: &[f32],
        save: &CellSave,
        mut g: Vec<f32>,
        want: CellWant,
    ) -> CellGrads {
        let n = self.check(inputs, mixing, params);
        self.output().check("output", out, n);
        self.output().check("gradient", &g, n);
        let (len, input_len) = (self.node.sample_len(), self.input.sample_len());
        let whole = self.output().sample_len();
        let mut states: Vec<Samples<'_>> = inputs
            .iter()
            .map(|s| Samples::whole(s, input_len))
            .collect();
        states.extend((0..self.nodes).map(|i| match self.in_output(i) {
            Some(_) => Samples::new(out, self.start(i), whole, len),
            None => Samples::whole(&save.nodes[i], len),
        }));
        // Where the channels of a node cannot be worked on in the output's gradient, the node gets a tensor of its own.
        let mut separate: Vec<Vec<f32>> = match self.place(0).is_some() {
            true => (0..self.nodes)
                .map(|i| match self.in_output(i) {
                    Some(_) => Vec::new(),
                    // SAFETY: every sample is written by the node's group before anybody reads it.
                    None => unsafe { overwritten(n * len) },
                })
                .collect(),
            false => split_channels(exec, &vec![self.node; self.nodes], &g),
        };
        let joined = SamplesMut::whole(&mut g, whole);
        let targets: Vec<Target<'_>> = separate
            .iter_mut()
            .enumerate()
            .map(|(i, own)| {
                let part = joined.part(self.start(i), len);
                let (to, start) = match (self.in_output(i), self.place(i)) {
                    (Some(_), _) => (part, Start::There),
                    (None, Some(at)) => {
                        // SAFETY: that part of the output's gradient is not written.
                        let part = unsafe { part.read() };
                        let start = Start::At(NodeSamples::new(part, at));
                        (SamplesMut::whole(own, len), start)
                    }
                    (None, None) => (SamplesMut::whole(own, len), Start::There),
                };
                Target { to, start }
            })
            .collect();
        let grads: Vec<NodeSamples<'_>> = (0..self.nodes)
            .map(|i| {
                let at = self.in_output(i).unwrap_or(Place::Blocks);
                // SAFETY: a node's gradient is read only when it is complete and no longer written: when the groups of
                // all states from the node's on have had their turn.
                NodeSamples::new(unsafe { targets[i].to.read() }, at)
            })
            .collect();
        // SAFETY: if they are wanted, every sample is written by the groups of states 0 and 1.
        let mut dinputs = want
            .inputs
            .then(|| unsafe { [overwritten(n * input_len), overwritten(n * input_len)] });
        let mut sums = BackwardSums {
            mixing: vec![0.0; self.mixing_len],
            params: vec![0.0; if want.params { self.layout.len() } else { 0 }],
            edges: vec![Vec::new(); self.edges.len()],
        };
        let incoming: Vec<Incoming<'_>> = (0..self.nodes)
            .map(|node| Incoming::new(node, self.node, &self.groups, &save.groups, &states, want))
            .collect();
        let mut turn = Turn::new(exec);
        // What no other node reads has its gradient already.
        let complete: Vec<(&Incoming<'_>, NodeSamples<'_>)> = (0..self.nodes)
            .filter(|&i| !self.is_read(i))
            .map(|i| (&incoming[i], grads[i]))
            .collect();
        incoming::sum(turn.next(), n, &complete, &save.factors, &mut sums.edges);
        for (state, group) in self.groups.iter().enumerate().rev() {
            let (target, of_target) = match (state, &mut dinputs) {
                (2.., _) if group.edges.is_empty() => continue,
                (2.., _) => (Some(targets[state - 2]), Some(&incoming[state - 2])),
                (_, Some(d)) => {
                    let to = SamplesMut::whole(&mut d[state], input_len);
                    let start = Start::Nothing;
                    (Some(Target { to, start }), None)
                }
                (_, None) => (None, None),
            };
            let pass = GroupBackward {
                exec,
                n,
                group,
                save: &save.groups[state],
                factors: &save.factors,
                affine: &self.affine,
                moments: &save.moments,
                x: states[state],
                grads: &grads,
                mixing,
                params,
                want,
            };
            pass.run(&mut turn, target, of_target, &mut sums);
        }
        CellGrads {
            inputs: dinputs,
            mixing: want.mixing.then_some(sums.mixing),
            params: want.params.then_some(sums.params),
        }
    }
}
