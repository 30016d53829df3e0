//! A whole mixed cell as one op: the fast path of a supernet.
//!
//! Every edge carries all its primitives, so a cell is mostly the same work many times over. Edges that leave one state
//! read the same input: the plan computes its padded ReLU, its pools and their sums once ([`Group`]). No normalised
//! tensor is ever stored: norms are folded into the next ReLU or into the node's weighted sum. And the sums that the
//! norms' gradients need anyway are the gradients of the mixing weights.

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::{Reduce, Separable, SeparableGrad, scratch};
use crate::exec::{Exec, sum_runs};
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::Window;
use crate::micro::norm::{ChannelSums, Combine, Dots, MaskedSums, Term};
use crate::micro::pad::{PadCopy, PadMap, Padded, ReluMask};
use crate::micro::pool::{PoolBackward, PoolForward, PoolWindow, scratch_len};
use crate::norm::{ChannelStats, Moments, NormGrad};
use crate::pack::ParamLayout;
use crate::plain::{concat_channels, split_channels};
use crate::simd::LANES;

/// A candidate operation of an edge. Norms are affine-free.
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
    /// By state; the last node feeds nothing.
    groups: Vec<Group>,
}

/// All edges that leave one state.
#[derive(Clone, Debug)]
struct Group {
    input: FeatureMap,
    output: FeatureMap,
    pool: PoolWindow,
    edges: Vec<GroupEdge>,
    /// First parameter of the first halves (and of all that has one half only), and how many there are.
    first: (usize, usize),
    /// The same for the second halves.
    second: (usize, usize),
}

#[derive(Clone, Debug)]
struct GroupEdge {
    node: usize,
    branches: Vec<Branch>,
}

/// A primitive that does something.
#[derive(Clone, Debug)]
struct Branch {
    /// Its place among the mixing weights.
    weight: usize,
    kind: Kind,
}

/// Norms are given by their place in [`CellPlan::norms`].
#[derive(Clone, Debug)]
enum Kind {
    Identity,
    Pool {
        max: bool,
        norm: Option<usize>,
    },
    Reduce {
        core: Reduce,
        norm: usize,
    },
    Dil {
        core: Separable,
        norm: usize,
    },
    Sep {
        first: Separable,
        norm: usize,
        second: Separable,
        norm2: usize,
    },
}

impl Kind {
    /// The norm of the result that goes into the node.
    fn last_norm(&self) -> Option<usize> {
        match self {
            Kind::Identity => None,
            Kind::Pool { norm, .. } => *norm,
            Kind::Reduce { norm, .. } | Kind::Dil { norm, .. } => Some(*norm),
            Kind::Sep { norm2, .. } => Some(*norm2),
        }
    }

    /// The norm of the first (or only) convolution.
    fn first_norm(&self) -> Option<usize> {
        match self {
            Kind::Identity | Kind::Pool { .. } => None,
            Kind::Reduce { norm, .. } | Kind::Dil { norm, .. } | Kind::Sep { norm, .. } => {
                Some(*norm)
            }
        }
    }

    fn separable(&self) -> Option<&Separable> {
        match self {
            Kind::Dil { core, .. } => Some(core),
            Kind::Sep { first, .. } => Some(first),
            _ => None,
        }
    }
}

/// What a backward pass needs besides inputs, weights, parameters and output.
#[derive(Clone, Debug)]
pub struct CellSave {
    groups: Vec<GroupSave>,
    moments: Vec<Moments>,
    /// The nodes' values where they are not blocks of the output (C no multiple of eight).
    nodes: Vec<Vec<f32>>,
}

impl CellSave {
    /// The batch's statistics of every norm, in the order of [`CellPlan::norms`].
    pub fn stats(&self) -> Vec<ChannelStats> {
        self.moments.iter().map(Moments::stats).collect()
    }
}

/// Results of a state's edges before their norms.
#[derive(Clone, Debug)]
struct GroupSave {
    max: Vec<f32>,
    at: Vec<u8>,
    avg: Vec<f32>,
    /// Per branch, edge after edge: first (or only) and second convolution; empty for what has none.
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
}

impl CellPlan {
    /// A cell with inputs like `input` (both already brought to one size and number of channels). In a reduction cell
    /// the edges from the inputs have stride 2.
    ///
    /// # Errors
    /// If an edge refers to a state that does not come before its node, or a primitive has no kernel for the geometry.
    pub fn new(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
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
            groups: Vec::new(),
        };
        for from in 0..nodes + 1 {
            let group = plan.group(from, if from < 2 { stride } else { 1 })?;
            plan.groups.push(group);
        }
        Ok(plan)
    }

    fn group(&mut self, from: usize, stride: usize) -> Result<Group, Unsupported> {
        let (input, output) = (if from < 2 { self.input } else { self.node }, self.node);
        let (mut first, mut second) = (ParamLayout::default(), ParamLayout::default());
        let mut edges = Vec::new();
        let mut weight = 0;
        for edge in &self.edges {
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
                        norm: norm(1),
                    },
                    Primitive::Dil { kernel } => {
                        let window = Window {
                            k: kernel,
                            dilation: 2,
                            stride,
                        };
                        Kind::Dil {
                            core: Separable::new(input, channels, window, &mut first, &prefix, 1)?,
                            norm: norm(1),
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
                            norm: norm(1),
                            second: Separable::new(
                                output,
                                channels,
                                window(1),
                                &mut second,
                                &prefix,
                                3,
                            )?,
                            norm2: norm(2),
                        }
                    }
                };
                branches.push(Branch {
                    weight: row + i,
                    kind,
                });
            }
            edges.push(GroupEdge {
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
        self.pass(exec, inputs, mixing, params, None)
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
        self.pass(exec, inputs, mixing, params, Some(stats)).0
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

    /// Whether the nodes are blocks of the output, so that nothing need be copied.
    fn is_compact(&self) -> bool {
        self.node.channels.is_multiple_of(LANES)
    }

    fn pass(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        given: Option<&[ChannelStats]>,
    ) -> (Vec<f32>, CellSave) {
        let n = self.check(inputs, mixing, params);
        let (node, len) = (self.node, self.node.sample_len());
        // SAFETY: every sample of every node is written by its weighted sum.
        let buffer = |nodes: usize| unsafe { overwritten::<f32>(n * nodes * len) };
        let (mut out, mut separate) = (Vec::new(), Vec::new());
        let nodes: Vec<SamplesMut<'_>> = if self.is_compact() {
            out = buffer(self.nodes);
            SamplesMut::parts(&mut out, self.nodes, len)
        } else {
            separate = (0..self.nodes).map(|_| buffer(1)).collect();
            views(&mut separate, len)
        };
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
        for (state, x) in states.iter().enumerate() {
            if state >= 2 {
                self.mix(
                    exec,
                    n,
                    state - 2,
                    &states,
                    &groups,
                    &moments,
                    mixing,
                    nodes[state - 2],
                );
            }
            if let Some(group) = self.groups.get(state) {
                groups.push(group.forward(exec, n, *x, params, &mut moments, given.is_some()));
            }
        }
        drop((states, nodes));
        if !self.is_compact() {
            let parts: Vec<(FeatureMap, &[f32])> =
                separate.iter().map(|v| (node, &v[..])).collect();
            out = concat_channels(exec, &parts).1;
        }
        let moments = moments.into_iter().flatten().collect();
        (
            out,
            CellSave {
                groups,
                moments,
                nodes: separate,
            },
        )
    }

    /// A node: the weighted sum over the primitives of all its edges, norms folded in.
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
        dst: SamplesMut<'_>,
    ) {
        let (map, len) = (self.node, self.node.sample_len());
        let mut base = vec![0.0; map.padded_channels()];
        let mut terms: Vec<(Samples<'_>, Vec<f32>)> = Vec::new();
        for ((group, save), x) in self.groups.iter().zip(saves).zip(states) {
            for (branch, values) in group.results(save, *x, |e| e.node == node) {
                let w = mixing[branch.weight];
                let scale = match branch.kind.last_norm() {
                    None => vec![w; map.padded_channels()],
                    Some(norm) => {
                        let (scale, shift) = moment(moments, norm).fold(None);
                        base.iter_mut().zip(shift).for_each(|(b, s)| *b += w * s);
                        scale.into_iter().map(|s| w * s).collect()
                    }
                };
                terms.push((values, scale));
            }
        }
        exec.for_samples(n, n * len * terms.len().max(1), |i| {
            let terms: Vec<Term<'_>> = terms
                .iter()
                .map(|(v, scale)| Term {
                    src: v.get(i),
                    scale,
                })
                .collect();
            // SAFETY: each sample is visited once.
            let dst = unsafe { dst.get(i) };
            exec.run(Combine {
                terms: &terms,
                base: &base,
                blocks: map.blocks(),
                pixels: map.pixels(),
                dst,
                add: false,
            });
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
        let mut states: Vec<Samples<'_>> = inputs
            .iter()
            .map(|s| Samples::whole(s, input_len))
            .collect();
        let mut separate;
        let grads: Vec<SamplesMut<'_>> = if self.is_compact() {
            states
                .extend((0..self.nodes).map(|i| Samples::new(out, i * len, self.nodes * len, len)));
            SamplesMut::parts(&mut g, self.nodes, len)
        } else {
            states.extend(save.nodes.iter().map(|v| Samples::whole(v, len)));
            separate = split_channels(exec, &vec![self.node; self.nodes], &g);
            views(&mut separate, len)
        };
        // SAFETY: if they are wanted, every sample is written by the groups of states 0 and 1.
        let mut dinputs = want
            .inputs
            .then(|| unsafe { [overwritten(n * input_len), overwritten(n * input_len)] });
        let mut sums = BackwardSums {
            mixing: vec![0.0; self.mixing_len],
            params: vec![0.0; self.layout.len()],
        };
        if !want.params {
            sums.params = Vec::new();
        }
        for state in (0..self.groups.len()).rev() {
            let target = match (state, &mut dinputs) {
                (2.., _) => Some((grads[state - 2], true)),
                (_, Some(d)) => Some((SamplesMut::whole(&mut d[state], input_len), false)),
                (_, None) => None,
            };
            // SAFETY: groups come in reverse, so that the nodes which this one feeds, all after its state, are complete
            // and no longer written.
            let read: Vec<Samples<'_>> = grads.iter().map(|g| unsafe { g.read() }).collect();
            let pass = GroupBackward {
                exec,
                n,
                group: &self.groups[state],
                save: &save.groups[state],
                moments: &save.moments,
                x: states[state],
                grads: &read,
                mixing,
                params,
                want,
            };
            pass.run(target, &mut sums);
        }
        CellGrads {
            inputs: dinputs,
            mixing: want.mixing.then_some(sums.mixing),
            params: want.params.then_some(sums.params),
        }
    }
}

fn moment(moments: &[Option<Moments>], norm: usize) -> &Moments {
    moments[norm]
        .as_ref()
        .expect("a state's statistics are known before a node reads it")
}

impl Group {
    fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.edges.iter().flat_map(|e| &e.branches)
    }

    fn any(&self, test: impl Fn(&Kind) -> bool) -> bool {
        self.branches().any(|b| test(&b.kind))
    }

    fn has_pool(&self, which: bool) -> bool {
        self.any(|k| matches!(k, Kind::Pool { max, .. } if *max == which))
    }

    /// The results of the branches on some edges, before their last norms.
    fn results<'a>(
        &'a self,
        save: &'a GroupSave,
        x: Samples<'a>,
        on: impl Fn(&GroupEdge) -> bool,
    ) -> Vec<(&'a Branch, Samples<'a>)> {
        let len = self.output.sample_len();
        let mut all = Vec::new();
        let mut index = 0;
        for edge in &self.edges {
            for branch in &edge.branches {
                if on(edge) {
                    let values = match branch.kind {
                        Kind::Identity => x,
                        Kind::Pool { max: true, .. } => Samples::whole(&save.max, len),
                        Kind::Pool { max: false, .. } => Samples::whole(&save.avg, len),
                        Kind::Reduce { .. } | Kind::Dil { .. } => {
                            Samples::whole(&save.first[index], len)
                        }
                        Kind::Sep { .. } => Samples::whole(&save.second[index], len),
                    };
                    all.push((branch, values));
                }
                index += 1;
            }
        }
        all
    }

    /// All results of a state's edges, and the statistics of their norms, unless these are given.
    fn forward(
        &self,
        exec: &Exec,
        n: usize,
        x: Samples<'_>,
        params: &[f32],
        moments: &mut [Option<Moments>],
        given: bool,
    ) -> GroupSave {
        let (map, len, c) = (
            self.output,
            self.output.sample_len(),
            self.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let branches: Vec<&Branch> = self.branches().collect();
        // SAFETY: every sample of what is not empty is written below.
        let buffer = |used: bool| unsafe { overwritten::<f32>(if used { n * len } else { 0 }) };
        let has_max = self.has_pool(true);
        let mut save = GroupSave {
            max: buffer(has_max),
            // SAFETY: as above.
            at: unsafe { overwritten::<u8>(if has_max { n * len } else { 0 }) },
            avg: buffer(self.has_pool(false)),
            first: branches
                .iter()
                .map(|b| buffer(b.kind.first_norm().is_some()))
                .collect(),
            second: branches
                .iter()
                .map(|b| buffer(matches!(b.kind, Kind::Sep { .. })))
                .collect(),
        };
        let (max, at, avg) = (
            SamplesMut::whole(&mut save.max, len),
            SamplesMut::whole(&mut save.at, len),
            SamplesMut::whole(&mut save.avg, len),
        );
        let firsts = views(&mut save.first, len);
        let params1 = &params[self.first.0..][..self.first.1];
        let work = n * self.input.sample_len() * branches.len().max(1);
        let any_sep = self.branches().any(|b| b.kind.separable().is_some());
        let any_reduce = self.any(|k| matches!(k, Kind::Reduce { .. }));
        let side = Padded::new(self.input.height, self.input.width);

        // Everything that reads the state itself.
        let sums = sum_runs(exec.runs(n, work, |range| {
            let mut sums = vec![0.0; (2 + branches.len()) * 2 * c];
            let mut padded = if any_sep {
                side.scratch(self.input.blocks())
            } else {
                Vec::new()
            };
            let mut mid = scratch(if any_sep { len } else { 0 });
            let half = || scratch(if any_reduce { len } else { 0 });
            let (mut even, mut odd) = (half(), half());
            for i in range {
                let x = x.get(i);
                let mut sum = |slot: usize, z: &[f32]| {
                    if !given {
                        exec.run(ChannelSums {
                            z,
                            blocks,
                            pixels,
                            sums: &mut sums[slot * 2 * c..][..2 * c],
                        });
                    }
                };
                let window = self.pool;
                if max.count() > 0 {
                    // SAFETY: each sample is visited once.
                    let (y, at) = unsafe { (max.get(i), at.get(i)) };
                    exec.run(PoolForward::<true> {
                        window,
                        blocks,
                        x,
                        y,
                        at,
                    });
                    sum(0, y);
                }
                if avg.count() > 0 {
                    // SAFETY: each sample is visited once.
                    let y = unsafe { avg.get(i) };
                    exec.run(PoolForward::<false> {
                        window,
                        blocks,
                        x,
                        y,
                        at: &mut [],
                    });
                    sum(1, y);
                }
                if any_sep {
                    exec.run(PadCopy {
                        src: x,
                        blocks,
                        to: side,
                        dst: &mut padded,
                        map: PadMap::Relu,
                    });
                }
                let mut gathered = false;
                for (slot, (branch, z)) in branches.iter().zip(&firsts).enumerate() {
                    if branch.kind.first_norm().is_none() {
                        continue;
                    }
                    // SAFETY: each sample is visited once.
                    let z = unsafe { z.get(i) };
                    if let Kind::Reduce { core, .. } = &branch.kind {
                        if !gathered {
                            core.gather(exec, x, true, &mut even, &mut odd);
                            gathered = true;
                        }
                        core.forward(exec, &even, &odd, params1, z);
                    } else if let Some(core) = branch.kind.separable() {
                        core.forward(exec, &padded, params1, &mut mid, z);
                    }
                    sum(2 + slot, z);
                }
            }
            sums
        }));
        if !given {
            let of = |slot: usize| {
                Some(Moments::from_sums(
                    &sums[slot * 2 * c..][..2 * c],
                    map.channels,
                    n * pixels,
                ))
            };
            for (slot, branch) in branches.iter().enumerate() {
                if let Kind::Pool {
                    max,
                    norm: Some(norm),
                } = branch.kind
                {
                    moments[norm] = of(if max { 0 } else { 1 });
                } else if let Some(norm) = branch.kind.first_norm() {
                    moments[norm] = of(2 + slot);
                }
            }
        }

        // The second halves of separable convolutions.
        let seconds = views(&mut save.second, len);
        let halves: Vec<SecondHalf<'_>> = self.second_halves(&branches, moments, |slot| {
            // SAFETY: the first halves are complete and no longer written.
            unsafe { firsts[slot].read() }
        });
        if halves.is_empty() {
            return save;
        }
        let params2 = &params[self.second.0..][..self.second.1];
        let sums = sum_runs(exec.runs(n, n * len * halves.len(), |range| {
            let mut sums = vec![0.0; halves.len() * 2 * c];
            let side = halves[0].core.side();
            let (mut padded, mut mid) = (side.scratch(blocks), scratch(len));
            for i in range {
                for (half, sums) in halves.iter().zip(sums.chunks_exact_mut(2 * c)) {
                    half.pad(exec, i, &mut padded);
                    // SAFETY: each sample is visited once.
                    let z = unsafe { seconds[half.slot].get(i) };
                    half.core.forward(exec, &padded, params2, &mut mid, z);
                    if !given {
                        exec.run(ChannelSums {
                            z,
                            blocks,
                            pixels,
                            sums,
                        });
                    }
                }
            }
            sums
        }));
        if !given {
            let norms: Vec<usize> = halves.iter().map(|h| h.norm2).collect();
            drop(halves);
            for (norm, sums) in norms.into_iter().zip(sums.chunks_exact(2 * c)) {
                moments[norm] = Some(Moments::from_sums(sums, map.channels, n * pixels));
            }
        }
        save
    }

    fn second_halves<'a>(
        &'a self,
        branches: &[&'a Branch],
        moments: &[Option<Moments>],
        first: impl Fn(usize) -> Samples<'a>,
    ) -> Vec<SecondHalf<'a>> {
        let half = |(slot, branch): (usize, &&'a Branch)| match &branch.kind {
            Kind::Sep {
                norm,
                second,
                norm2,
                ..
            } => {
                let (scale, shift) = moment(moments, *norm).fold(None);
                Some(SecondHalf {
                    slot,
                    core: second,
                    scale,
                    shift,
                    first: first(slot),
                    norm2: *norm2,
                })
            }
            _ => None,
        };
        branches.iter().enumerate().filter_map(half).collect()
    }
}

fn views(tensors: &mut [Vec<f32>], len: usize) -> Vec<SamplesMut<'_>> {
    tensors
        .iter_mut()
        .map(|t| SamplesMut::whole(t, len))
        .collect()
}

/// The second half of a separable convolution, with the norm of the first folded into its ReLU.
struct SecondHalf<'a> {
    /// Branch of the group.
    slot: usize,
    core: &'a Separable,
    scale: Vec<f32>,
    shift: Vec<f32>,
    first: Samples<'a>,
    norm2: usize,
}

impl SecondHalf<'_> {
    /// Norm and ReLU of sample `i` into padded scratch.
    fn pad(&self, exec: &Exec, i: usize, padded: &mut [f32]) {
        exec.run(PadCopy {
            src: self.first.get(i),
            blocks: self.core.input.blocks(),
            to: self.core.side(),
            dst: padded,
            map: PadMap::NormRelu {
                scale: &self.scale,
                shift: &self.shift,
            },
        });
    }
}

/// Gradients that all groups add to.
struct BackwardSums {
    mixing: Vec<f32>,
    params: Vec<f32>,
}

/// The backward pass of one group.
struct GroupBackward<'a> {
    exec: &'a Exec,
    n: usize,
    group: &'a Group,
    save: &'a GroupSave,
    moments: &'a [Moments],
    x: Samples<'a>,
    /// Complete gradients of the nodes that the group feeds, by node.
    grads: &'a [Samples<'a>],
    mixing: &'a [f32],
    params: &'a [f32],
    want: CellWant,
}

/// What the sums over the batch give for one branch.
struct BranchGrad<'a> {
    branch: &'a Branch,
    node: usize,
    values: Samples<'a>,
    /// The gradient of the values before the last norm; without a norm, the weighted gradient of the node.
    coefficients: NormGrad,
}

/// A gradient through the norm of a first half: what the mask of its ReLU let through, and its coefficients.
struct FirstHalfGrad {
    masked: Vec<f32>,
    coefficients: NormGrad,
}

impl GroupBackward<'_> {
    /// Writes (or adds to) the gradient of the state, and the group's part of `sums`.
    fn run(&self, target: Option<(SamplesMut<'_>, bool)>, sums: &mut BackwardSums) {
        let branches = self.reduce(sums);
        if target.is_none() && !self.want.params {
            return;
        }
        let firsts = self.second_halves(&branches, sums);
        self.rest(&branches, &firsts, target, sums);
    }

    /// The sums over each node's gradient times each result: gradients of the mixing weights, coefficients of the norms.
    fn reduce(&self, sums: &mut BackwardSums) -> Vec<BranchGrad<'_>> {
        let Self { exec, n, group, .. } = *self;
        let (map, c) = (group.output, group.output.padded_channels());
        let (blocks, pixels) = (map.blocks(), map.pixels());
        // Per edge: its node's gradient and the results that are needed with it.
        let edges: Vec<(usize, Vec<(&Branch, Samples<'_>)>)> = group
            .edges
            .iter()
            .map(|edge| {
                (
                    edge.node,
                    group.results(self.save, self.x, |e| std::ptr::eq(e, edge)),
                )
            })
            .collect();
        let needed = |b: &Branch| self.want.mixing || b.kind.last_norm().is_some();
        let slots: usize = edges.iter().map(|(_, r)| r.len() + 1).sum();
        let totals = sum_runs(exec.runs(n, n * map.sample_len() * slots, |range| {
            let mut sums = vec![0.0; slots * c];
            for i in range {
                let mut at = 0;
                for (node, results) in &edges {
                    let g = self.grads[*node].get(i);
                    let zs: Vec<&[f32]> = results
                        .iter()
                        .filter(|(b, _)| needed(b))
                        .map(|(_, z)| z.get(i))
                        .collect();
                    let part = &mut sums[at..at + (zs.len() + 1) * c];
                    exec.run(Dots {
                        g,
                        zs: &zs,
                        blocks,
                        pixels,
                        sums: part,
                    });
                    at += part.len();
                }
            }
            sums
        }));
        let mut totals = totals.chunks_exact(c);
        let mut next = || totals.next().expect("as many sums as slots");
        let mut out = Vec::new();
        for (node, results) in edges {
            let sg = next();
            for (branch, values) in results {
                let w = self.mixing[branch.weight];
                let dot = if needed(branch) { next() } else { &[] };
                let coefficients = match branch.kind.last_norm() {
                    Some(norm) => {
                        let moments = &self.moments[norm];
                        let gzhat = moments.dot_normalised(sg, dot);
                        sums.mixing[branch.weight] = gzhat.iter().sum::<f64>() as f32;
                        moments.gradient(sg, &gzhat, n * pixels, |_| f64::from(w), false)
                    }
                    None => {
                        sums.mixing[branch.weight] = dot.iter().sum::<f64>() as f32;
                        NormGrad {
                            of_g: vec![w; c],
                            constant: vec![0.0; c],
                            of_z: vec![0.0; c],
                        }
                    }
                };
                out.push(BranchGrad {
                    branch,
                    node,
                    values,
                    coefficients,
                });
            }
        }
        out
    }

    /// The second halves of separable convolutions, down to the norm of the first ones. By branch.
    fn second_halves(
        &self,
        branches: &[BranchGrad<'_>],
        sums: &mut BackwardSums,
    ) -> Vec<Option<FirstHalfGrad>> {
        let Self { exec, n, group, .. } = *self;
        let (map, len, c) = (
            group.output,
            group.output.sample_len(),
            group.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let list: Vec<&Branch> = branches.iter().map(|b| b.branch).collect();
        let moments: Vec<Option<Moments>> = self.moments.iter().cloned().map(Some).collect();
        let halves = group.second_halves(&list, &moments, |slot| {
            Samples::whole(&self.save.first[slot], len)
        });
        let mut firsts: Vec<Option<FirstHalfGrad>> = branches.iter().map(|_| None).collect();
        if halves.is_empty() {
            return firsts;
        }
        let (at, count) = group.second;
        let params = &self.params[at..at + count];
        let transposed: Vec<Vec<f32>> = halves.iter().map(|h| h.core.transposed(params)).collect();
        // SAFETY: every sample is written below.
        let mut masked: Vec<Vec<f32>> = halves
            .iter()
            .map(|_| unsafe { overwritten::<f32>(n * len) })
            .collect();
        let masked_views = views(&mut masked, len);
        let runs = exec.runs(n, n * len * halves.len(), |range| {
            let mut sums = vec![0.0; halves.len() * 2 * c];
            let mut grad = vec![0.0; if self.want.params { count } else { 0 }];
            let side = halves[0].core.side();
            let (mut padded, mut padded_g) = (side.scratch(blocks), side.scratch(blocks));
            let (mut mid, mut dz, mut dr) = (scratch(len), scratch(len), scratch(len));
            for i in range {
                for (k, half) in halves.iter().enumerate() {
                    let b = &branches[half.slot];
                    let z = half.first.get(i);
                    half.pad(exec, i, &mut padded);
                    b.coefficients.apply(
                        exec,
                        self.grads[b.node].get(i),
                        b.values.get(i),
                        map,
                        &mut dz,
                    );
                    let args = SeparableGrad {
                        padded: &padded,
                        params,
                        transposed: &transposed[k],
                        dz: &dz,
                        padded_g: &mut padded_g,
                        mid: &mut mid,
                    };
                    half.core.backward(
                        exec,
                        args,
                        Some(&mut dr),
                        false,
                        self.want.params.then_some(&mut grad),
                    );
                    exec.run(MaskedSums {
                        z,
                        scale: &half.scale,
                        shift: &half.shift,
                        g: &dr,
                        blocks,
                        pixels,
                        // SAFETY: each sample is visited once.
                        dst: unsafe { masked_views[k].get(i) },
                        sums: &mut sums[k * 2 * c..][..2 * c],
                    });
                }
            }
            (sums, grad)
        });
        let (norm_sums, grads): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        let norm_sums = sum_runs(norm_sums);
        if self.want.params {
            sums.params[at..at + count].copy_from_slice(&sum_runs(grads));
        }
        let slots: Vec<usize> = halves.iter().map(|h| h.slot).collect();
        for ((slot, masked), sums) in slots
            .into_iter()
            .zip(masked)
            .zip(norm_sums.chunks_exact(2 * c))
        {
            let norm = branches[slot]
                .branch
                .kind
                .first_norm()
                .expect("a separable convolution has two norms");
            let moments = &self.moments[norm];
            let gzhat = moments.dot_normalised(&sums[..c], &sums[c..]);
            let coefficients = moments.gradient(&sums[..c], &gzhat, n * pixels, |_| 1.0, false);
            firsts[slot] = Some(FirstHalfGrad {
                masked,
                coefficients,
            });
        }
        firsts
    }

    /// Everything that reads the state itself: pools, identities, first halves, factorised reduces.
    fn rest(
        &self,
        branches: &[BranchGrad<'_>],
        firsts: &[Option<FirstHalfGrad>],
        target: Option<(SamplesMut<'_>, bool)>,
        sums: &mut BackwardSums,
    ) {
        let Self { exec, n, group, .. } = *self;
        let (input, map, len, c) = (
            group.input,
            group.output,
            group.output.sample_len(),
            group.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let (at, count) = group.first;
        let params = &self.params[at..at + count];
        let transposed: Vec<[Vec<f32>; 2]> = branches
            .iter()
            .map(|b| match &b.branch.kind {
                Kind::Reduce { core, .. } => core.transposed(params),
                kind => [
                    kind.separable()
                        .map_or_else(Vec::new, |core| core.transposed(params)),
                    Vec::new(),
                ],
            })
            .collect();
        let pools: Vec<SharedPool<'_>> = [true, false]
            .into_iter()
            .filter_map(|max| SharedPool::new(max, branches, c))
            .collect();
        let identities: Vec<&BranchGrad<'_>> = branches
            .iter()
            .filter(|b| matches!(b.branch.kind, Kind::Identity))
            .collect();
        let any_sep = group.branches().any(|b| b.kind.separable().is_some());
        let any_reduce = group.any(|k| matches!(k, Kind::Reduce { .. }));
        let zeros = vec![0.0; c];
        let grad_wanted = self.want.params && count > 0;
        let firsts_views: Vec<Option<Samples<'_>>> = firsts
            .iter()
            .map(|f| f.as_ref().map(|f| Samples::whole(&f.masked, len)))
            .collect();
        let runs = exec.runs(n, n * input.sample_len() * branches.len().max(1), |range| {
            let mut grad = vec![0.0; if grad_wanted { count } else { 0 }];
            let side = Padded::new(input.height, input.width);
            let out_side = Padded::new(map.height, map.width);
            let pads = |used: bool, side: Padded| {
                if used {
                    side.scratch(blocks)
                } else {
                    Vec::new()
                }
            };
            let (mut padded, mut padded_g) = (pads(any_sep, side), pads(any_sep, out_side));
            let (mut mid, mut dz) = (scratch(len), scratch(len));
            let half = || scratch(if any_reduce { len } else { 0 });
            let (mut even, mut odd) = (half(), half());
            let mut dr = scratch(input.sample_len());
            let mut pool_scratch = scratch(scratch_len(group.pool));
            for i in range {
                let x = self.x.get(i);
                // SAFETY: each sample is visited once.
                let mut dx = target.as_ref().map(|(t, add)| (unsafe { t.get(i) }, *add));
                if let Some((dx, add)) = &mut dx {
                    if !identities.is_empty() {
                        let terms: Vec<Term<'_>> = identities
                            .iter()
                            .map(|b| Term {
                                src: self.grads[b.node].get(i),
                                scale: &b.coefficients.of_g,
                            })
                            .collect();
                        exec.run(Combine {
                            terms: &terms,
                            base: &zeros,
                            blocks,
                            pixels,
                            dst: dx,
                            add: *add,
                        });
                    } else if !*add {
                        dx.fill(0.0);
                    }
                    for pool in &pools {
                        pool.gradient(self, i, &mut dz);
                        let (window, g, scratch) = (group.pool, &dz[..], &mut pool_scratch[..]);
                        if pool.max {
                            let at = &self.save.at[i * len..(i + 1) * len];
                            exec.run(PoolBackward::<true> {
                                window,
                                blocks,
                                g,
                                at,
                                dx,
                                scratch,
                            });
                        } else {
                            exec.run(PoolBackward::<false> {
                                window,
                                blocks,
                                g,
                                at: &[],
                                dx,
                                scratch,
                            });
                        }
                    }
                }
                if any_sep {
                    exec.run(PadCopy {
                        src: x,
                        blocks,
                        to: side,
                        dst: &mut padded,
                        map: PadMap::Relu,
                    });
                }
                // What has been added to `dr` so far; the first one replaces what the scratch holds.
                let mut started = false;
                let mut gathered = false;
                for (slot, b) in branches.iter().enumerate() {
                    let wanted = grad_wanted.then_some(&mut grad[..]);
                    match (&b.branch.kind, &firsts[slot], &firsts_views[slot]) {
                        (Kind::Identity | Kind::Pool { .. }, ..) => continue,
                        (Kind::Sep { .. }, Some(first), Some(masked)) => {
                            let z = &self.save.first[slot][i * len..(i + 1) * len];
                            first
                                .coefficients
                                .apply(exec, masked.get(i), z, map, &mut dz);
                        }
                        _ => b.coefficients.apply(
                            exec,
                            self.grads[b.node].get(i),
                            b.values.get(i),
                            map,
                            &mut dz,
                        ),
                    }
                    let dr = dx.is_some().then_some(&mut dr[..]);
                    if let Kind::Reduce { core, .. } = &b.branch.kind {
                        if let Some(grad) = wanted {
                            if !gathered {
                                core.gather(exec, x, true, &mut even, &mut odd);
                                gathered = true;
                            }
                            core.weight_grad(exec, &even, &odd, &dz, grad);
                        }
                        if let Some(dr) = dr {
                            if !started {
                                dr.fill(0.0);
                            }
                            core.data_grad(exec, &transposed[slot], &dz, &mut mid, dr);
                        }
                    } else if let Some(core) = b.branch.kind.separable() {
                        let args = SeparableGrad {
                            padded: &padded,
                            params,
                            transposed: &transposed[slot][0],
                            dz: &dz,
                            padded_g: &mut padded_g,
                            mid: &mut mid,
                        };
                        core.backward(exec, args, dr, started, wanted);
                    }
                    started = true;
                }
                if started && let Some((dx, _)) = dx {
                    exec.run(ReluMask {
                        x,
                        g: &dr,
                        dx,
                        add: true,
                    });
                }
            }
            grad
        });
        if grad_wanted {
            let mut grad = sum_runs(runs);
            for branch in group.branches() {
                if let Kind::Reduce { core, .. } = &branch.kind {
                    core.clear_padding(&mut grad);
                }
            }
            sums.params[at..at + count].copy_from_slice(&grad);
        }
    }
}

/// The gradient of a pool that several edges read, each perhaps through its norm.
struct SharedPool<'a> {
    max: bool,
    values: Samples<'a>,
    /// Node and coefficient of its gradient, per edge.
    edges: Vec<(usize, &'a [f32])>,
    constant: Vec<f32>,
    of_z: Vec<f32>,
}

impl<'a> SharedPool<'a> {
    fn new(which: bool, branches: &'a [BranchGrad<'a>], c: usize) -> Option<Self> {
        let users = branches
            .iter()
            .filter(|b| matches!(b.branch.kind, Kind::Pool { max, .. } if max == which));
        let mut pool: Option<SharedPool<'a>> = None;
        for b in users {
            let pool = pool.get_or_insert_with(|| SharedPool {
                max: which,
                values: b.values,
                edges: Vec::new(),
                constant: vec![0.0; c],
                of_z: vec![0.0; c],
            });
            pool.edges.push((b.node, &b.coefficients.of_g));
            pool.constant
                .iter_mut()
                .zip(&b.coefficients.constant)
                .for_each(|(a, b)| *a += b);
            pool.of_z
                .iter_mut()
                .zip(&b.coefficients.of_z)
                .for_each(|(a, b)| *a += b);
        }
        pool
    }

    /// The gradient of the pool's result for sample `i`.
    fn gradient(&self, pass: &GroupBackward<'_>, i: usize, dz: &mut [f32]) {
        let map = pass.group.output;
        let mut terms: Vec<Term<'_>> = self
            .edges
            .iter()
            .map(|(node, scale)| Term {
                src: pass.grads[*node].get(i),
                scale,
            })
            .collect();
        terms.push(Term {
            src: self.values.get(i),
            scale: &self.of_z,
        });
        let (base, blocks, pixels) = (&self.constant, map.blocks(), map.pixels());
        pass.exec.run(Combine {
            terms: &terms,
            base,
            blocks,
            pixels,
            dst: dz,
            add: false,
        });
    }
}
