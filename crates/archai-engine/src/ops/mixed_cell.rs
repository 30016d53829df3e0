//! A whole cell as one kernel: the fast path of supernets, whose edges are mixed ops, and of found networks, whose edges
//! are plain ones.

use std::collections::HashMap;

use archai_kernels::{CellEdge, FeatureMap, FusedCell, Primitive, Unsupported};
use archai_spec::desc::{CellDesc, OpDesc};
use archai_spec::graph::names;
use archai_spec::ops::{ConvShape, Layer, LayerList, PoolShape};
use burn::tensor::Tensor;

use super::fused_conv::{ConvRun, ForSize};
use super::joins_all_inputs;
use crate::features::Features;
use crate::fused::{self, kernels};
use crate::op::{Declared, Norm, NormId, OpRegistry, Packed, Pass};
use crate::params::ParamId;

/// Maps on which every plan exists that exists at all: only the layout of parameters is asked of it.
const ANY_SIZE: usize = 16;

/// A cell all of whose edges are mixed ops over primitives of plans, or such primitives themselves, joined node after node.
#[derive(Debug)]
pub(crate) struct MixedCell {
    channels: usize,
    nodes: usize,
    reduction: bool,
    /// Whether norms behind convolutions have learnt scales and shifts.
    affine: bool,
    edges: Vec<CellEdge>,
    /// The parameter of all edges.
    param: ParamId,
    /// In the plan's order.
    norms: Vec<Norm>,
    plan: ForSize<FusedCell>,
}

/// What is known of a cell before its edges are declared.
pub(crate) struct Draft {
    cell: MixedCell,
    /// Full names of the norms, in the plan's order.
    norms: Vec<String>,
}

/// What a plan calls an op that computes these layers on maps of `channels` channels, and whether its norms learn, if it
/// has norms that may; `None` if plans do not have it. `stride` is the edge's.
fn primitive(
    list: &LayerList,
    stride: usize,
    channels: usize,
) -> Option<(Primitive, Option<bool>)> {
    let three = PoolShape::centred(3, stride);
    let pool = |layer: &Layer, norm| match layer {
        Layer::MaxPool(window) if *window == three => Some(Primitive::MaxPool { norm }),
        Layer::AvgPool {
            window,
            count_include_pad: false,
        } if *window == three => Some(Primitive::AvgPool { norm }),
        _ => None,
    };
    let Some(layers) = list.chain() else {
        let reduce = ConvRun::factorized_reduce(list, 0)?;
        let whole = reduce.is_whole(list) && stride == 2;
        return (whole && reduce.keeps(channels)).then_some((Primitive::Skip, reduce.norm));
    };
    let norm_of = |layer: &Layer| match layer {
        Layer::Norm { affine, .. } => Some(*affine),
        _ => None,
    };
    match layers.as_slice() {
        [] => (stride == 1).then_some((Primitive::Skip, None)),
        [Layer::Zero { stride: s }] => (*s == stride).then_some((Primitive::None, None)),
        [layer] => Some((pool(layer, false)?, None)),
        // The norm of a pool does not learn in a plan.
        [layer, Layer::Norm { affine: false, .. }] => Some((pool(layer, true)?, None)),
        [Layer::Relu, Layer::Conv(first), Layer::Conv(second), norm] => {
            let [kernel @ (3 | 5), _] = first.kernel else {
                return None;
            };
            let depthwise = ConvShape::depthwise(channels, kernel).with_stride(stride);
            let fits = *first == depthwise.with_dilation(2)
                && *second == ConvShape::new(channels, channels, 1);
            fits.then_some((Primitive::Dil { kernel }, Some(norm_of(norm)?)))
        }
        [
            Layer::Relu,
            Layer::Conv(first),
            Layer::Conv(second),
            norm,
            Layer::Relu,
            Layer::Conv(third),
            Layer::Conv(fourth),
            last,
        ] => {
            let [kernel @ (3 | 5 | 7), _] = first.kernel else {
                return None;
            };
            let depthwise = ConvShape::depthwise(channels, kernel);
            let pointwise = ConvShape::new(channels, channels, 1);
            let fits = *first == depthwise.with_stride(stride)
                && *third == depthwise
                && [second, fourth] == [&pointwise; 2]
                && norm_of(norm)? == norm_of(last)?;
            fits.then_some((Primitive::Sep { kernel }, norm_of(last)))
        }
        _ => None,
    }
}

/// What a plan is made from, sizes apart.
struct Shape {
    reduction: bool,
    affine: bool,
    edges: Vec<CellEdge>,
    /// Plans name an edge by the state that it comes from and a candidate by its primitive, models by the edge's place in
    /// the node and the candidate's own name: from the one to the other.
    names: HashMap<String, String>,
}

/// The candidates of an edge with their names; none if the op is a choice but not a plain weighted sum.
fn candidates<'a>(
    op: &'a OpDesc,
    prefix: String,
    affine: bool,
    registry: &OpRegistry,
) -> Option<Vec<(String, &'a OpDesc, LayerList)>> {
    let list = registry.layers(op, 1, affine)?;
    if !op.is_mixed() {
        return Some(vec![(prefix, op, list)]);
    }
    let affine = op.affine.unwrap_or(affine);
    let mut found = Vec::new();
    let mut n_steps = 0;
    for (name, child) in op.child_names().into_iter().zip(&op.children) {
        let layers = registry.layers(&child.op, 1, affine)?;
        if child.input != 0 {
            return None;
        }
        if !layers.is_zero() {
            n_steps += layers.steps.len();
        }
        found.push((format!("{prefix}.{name}"), &child.op, layers));
    }
    let is_sum = match list.steps.last().map(|s| &s.layer) {
        Some(Layer::Mix { .. }) => list.steps.len() == n_steps + 1,
        _ => list.is_zero(),
    };
    is_sum.then_some(found)
}

/// The shape of a plan, if there is one for cell `c`.
fn shape(
    desc: &CellDesc,
    c: usize,
    channels: usize,
    affine: bool,
    registry: &OpRegistry,
) -> Option<Shape> {
    let mut edges = Vec::new();
    let mut learning = Vec::new();
    let mut all_names = HashMap::new();
    let mixed = desc.nodes.first()?.edges.first()?.op.is_mixed();
    let mut strides = [None; 2];
    for (node, n) in desc.nodes.iter().enumerate() {
        if n.edges.is_empty() {
            return None;
        }
        for (place, edge) in n.edges.iter().enumerate() {
            let [from] = *edge.inputs.as_slice() else {
                return None;
            };
            // A second edge between the same states would have the first one's names.
            let twice = n.edges[..place].iter().any(|e| e.inputs == edge.inputs);
            if edge.op.is_mixed() != mixed || twice {
                return None;
            }
            let prefix = names::edge_op(c, node, place, &edge.op);
            let candidates = candidates(&edge.op, prefix, affine, registry)?;
            let stride = candidates.first()?.1.stride;
            match from {
                0 | 1 if strides[from].is_none_or(|s| s == stride) => strides[from] = Some(stride),
                2.. if stride == 1 => {}
                _ => return None,
            }
            let mut primitives: Vec<Primitive> = Vec::new();
            for (name, op, list) in candidates {
                let (p, learns) = primitive(&list, stride, channels)?;
                learning.extend(learns);
                let is_twin = |q: &Primitive| q.name() == p.name();
                if primitives.iter().any(is_twin) || (op.ch_in, op.ch_out) != (channels, channels) {
                    return None;
                }
                let theirs = format!("node{node}.edge{from}.{}", p.name());
                all_names.insert(theirs, name);
                primitives.push(p);
            }
            edges.push(CellEdge {
                from,
                node,
                primitives,
            });
        }
    }
    let reduction = match strides {
        [None | Some(1), None | Some(1)] => false,
        [None | Some(2), None | Some(2)] => true,
        _ => return None,
    };
    let affine = *learning.first()?;
    learning.iter().all(|&l| l == affine).then_some(Shape {
        reduction,
        affine,
        edges,
        names: all_names,
    })
}

impl Draft {
    /// Declares the parameters of all edges of cell `c` as one, if there is a kernel for the whole of it; the edges' ops,
    /// declared next, then find their parts in it. `affine` is the model's choice. The kernel is chosen by the layers that
    /// the ops compute, not by their names.
    pub fn declare(
        desc: &CellDesc,
        c: usize,
        affine: bool,
        registry: &OpRegistry,
        declared: &mut Declared,
    ) -> Option<Draft> {
        // The kernel knows cells of two inputs; others are computed edge by edge.
        let [first, second] = desc.stems.as_slice() else {
            return None;
        };
        let (nodes, channels) = (desc.nodes.len(), first.ch_out);
        let all_nodes = desc.concat.iter().copied().eq(2..nodes + 2);
        if !declared.fused || !all_nodes || second.ch_out != channels {
            return None;
        }
        // The kernel joins the nodes: the post-op must begin with that.
        let post_op = registry.layers(&desc.post_op, nodes, affine)?;
        if !joins_all_inputs(&post_op) {
            return None;
        }
        let Shape {
            reduction,
            affine,
            edges,
            names,
        } = shape(desc, c, channels, affine, registry)?;
        let map = FeatureMap::new(channels, ANY_SIZE, ANY_SIZE);
        let plan = plan(map, nodes, reduction, affine, &edges).ok()?;
        let full = |name: &str| -> Option<String> {
            let end = name.match_indices('.').nth(2)?.0;
            Some(format!("{}{}", names.get(&name[..end])?, &name[end..]))
        };
        let pieces = plan.params().tensors().iter();
        let piece_names: Vec<String> = pieces.map(|p| full(&p.name)).collect::<Option<_>>()?;
        let norms = plan.norms().iter();
        let norms: Vec<String> = norms.map(|n| full(&n.name)).collect::<Option<_>>()?;
        let param = declared.push_packed(plan.params(), piece_names);
        declared.shared = Some(param);
        Some(Draft {
            norms,
            cell: MixedCell {
                channels,
                nodes,
                reduction,
                affine,
                edges,
                param,
                norms: Vec::new(),
                plan: ForSize::default(),
            },
        })
    }

    /// The cell, once its edges are declared.
    pub fn finish(mut self, declared: &mut Declared) -> MixedCell {
        declared.shared = None;
        let place = |name: &String| declared.norms.iter().position(|n| n.name == *name);
        for name in &self.norms {
            let id = place(name).expect("every norm of a plan is one of an edge");
            self.cell.norms.push(Norm {
                id: NormId(id),
                affine: None,
            });
        }
        self.cell
    }
}

impl MixedCell {
    /// All nodes, joined; `None` where edges must be taken one by one: for gradients in evaluation mode or through norms that are
    /// frozen, and for sizes without a kernel. `mixing` holds the weights of each edge's primitives, edge after edge, if they are mixed;
    /// `factors` those that drop-path gives the samples of each edge, if any.
    pub fn forward(
        &self,
        pass: &mut Pass<'_>,
        states: [&Features; 2],
        mixing: Vec<Tensor<1>>,
        factors: Vec<Option<Vec<f64>>>,
    ) -> Option<Features> {
        let exec = pass.exec()?;
        let map = states[0].map();
        if states[1].map() != map || map.channels != self.channels {
            return None;
        }
        let plan = self.plan.get(map, |map| {
            plan(map, self.nodes, self.reduction, self.affine, &self.edges)
        })?;
        let part = None;
        let params = pass.packed(&Packed {
            id: self.param,
            part,
        });
        let mixing = match mixing.is_empty() {
            true => Tensor::ones([plan.mixing_len()], pass.compute().options()),
            false => Tensor::cat(mixing, 0),
        };
        let learning = self.norms.iter().filter(|n| pass.uses_batch(n)).count();
        let given = match pass.is_training() && learning == self.norms.len() {
            true => None,
            // Some norms are frozen and some not.
            false if learning > 0 => return None,
            false => {
                let tracked = states.iter().any(|s| s.is_tracked());
                let drops = factors.iter().any(Option::is_some);
                if drops || tracked || params.is_tracked() || mixing.is_tracked() {
                    return None;
                }
                let stats = self.norms.iter().map(|n| (*pass.running(n)).clone());
                Some(stats.collect())
            }
        };
        let output = plan.output();
        let inputs = vec![
            states[0].input(exec),
            states[1].input(exec),
            mixing.into_dispatch(),
            params.into_dispatch(),
        ];
        let n = states[0].shape()[0];
        let single = |f: Vec<f64>| f.into_iter().map(|f| f as f32).collect();
        let kernel = kernels::Cell {
            exec,
            plan: plan.clone(),
            given,
            factors: factors.into_iter().map(|f| f.map(single)).collect(),
        };
        let (y, stats) = fused::call(kernel, inputs);
        for ((norm, of), stats) in self.norms.iter().zip(plan.norms()).zip(&stats) {
            pass.record(norm, stats, n * of.pixels);
        }
        Some(Features::from_blocked(y, output))
    }
}

fn plan(
    map: FeatureMap,
    nodes: usize,
    reduction: bool,
    affine: bool,
    edges: &[CellEdge],
) -> Result<FusedCell, Unsupported> {
    let new = match affine {
        true => FusedCell::with_affine_norms,
        false => FusedCell::new,
    };
    new(map, nodes, reduction, edges.to_vec())
}
