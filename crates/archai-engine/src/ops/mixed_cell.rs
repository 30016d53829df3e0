//! A whole cell as one kernel: the fast path of supernets, whose edges are mixed ops, and of found networks, whose edges
//! are plain ones.

use std::collections::HashMap;

use archai_kernels::{CellEdge, FeatureMap, FusedCell, Primitive, Unsupported};
use archai_spec::desc::{CellDesc, OpDesc};
use burn::tensor::Tensor;

use super::fused_conv::ForSize;
use super::mixed::MIXED_OP;
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

/// How a primitive is called in a plan, and whether it has norms that learn, if it has norms; `None` if plans do not have
/// it. `stride` and `channels` are the edge's.
fn primitive(
    op: &OpDesc,
    stride: usize,
    channels: usize,
    affine: bool,
) -> Option<(Primitive, Option<bool>)> {
    let norm = op.flag("norm");
    let fits = op.ch_in == channels && op.ch_out == channels && op.stride == stride;
    let learns = op.affine.unwrap_or(affine);
    if !fits || !op.children.is_empty() {
        return None;
    }
    let primitive = match op.name.as_str() {
        "none" => Primitive::None,
        "max_pool_3x3" => Primitive::MaxPool { norm },
        "avg_pool_3x3" => Primitive::AvgPool { norm },
        "skip_connect" => Primitive::Skip,
        "sep_conv_3x3" => Primitive::Sep { kernel: 3 },
        "sep_conv_5x5" => Primitive::Sep { kernel: 5 },
        "sep_conv_7x7" => Primitive::Sep { kernel: 7 },
        "dil_conv_3x3" => Primitive::Dil { kernel: 3 },
        "dil_conv_5x5" => Primitive::Dil { kernel: 5 },
        _ => return None,
    };
    let learns = match primitive {
        Primitive::None => None,
        Primitive::Skip if stride == 1 => None,
        // The norm of a pool does not learn in a plan.
        Primitive::MaxPool { norm } | Primitive::AvgPool { norm } if norm && learns => return None,
        Primitive::MaxPool { .. } | Primitive::AvgPool { .. } => None,
        _ => Some(learns),
    };
    Some((primitive, learns))
}

/// What a plan is made from, sizes apart.
struct Shape {
    reduction: bool,
    affine: bool,
    edges: Vec<CellEdge>,
}

/// The shape of a plan, if there is one for such a cell.
fn shape(desc: &CellDesc, channels: usize, affine: bool) -> Option<Shape> {
    let mut edges = Vec::new();
    let mut learning = Vec::new();
    let first = desc.nodes.first()?.edges.first()?;
    let mixed = first.op.name == MIXED_OP;
    let mut strides = [None; 2];
    for (node, n) in desc.nodes.iter().enumerate() {
        if n.edges.is_empty() {
            return None;
        }
        for (place, edge) in n.edges.iter().enumerate() {
            let [from] = *edge.inputs.as_slice() else {
                return None;
            };
            let op = &edge.op;
            // A second edge between the same states would have the first one's names.
            let twice = n.edges[..place].iter().any(|e| e.inputs == edge.inputs);
            let affine = op.affine.unwrap_or(affine);
            let ops: Vec<&OpDesc> = match mixed {
                true => op.children.iter().map(|c| &c.op).collect(),
                false => vec![op],
            };
            let stride = ops.first()?.stride;
            match from {
                0 | 1 if strides[from].is_none_or(|s| s == stride) => strides[from] = Some(stride),
                2.. if stride == 1 => {}
                _ => return None,
            }
            let is_mixed = op.name == MIXED_OP;
            if is_mixed != mixed || twice || op.children.iter().any(|c| c.input != 0) {
                return None;
            }
            let mut primitives = Vec::new();
            for op in ops {
                let (p, learns) = primitive(op, stride, channels, affine)?;
                learning.extend(learns);
                let is_twin = |q: &Primitive| q.name() == p.name();
                if primitives.iter().any(is_twin) {
                    return None;
                }
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
    })
}

impl Draft {
    /// Declares the parameters of all edges of a cell as one, if there is a kernel for the whole of it; the edges' ops,
    /// declared next, then find their parts in it. `prefix` names the cell, `affine` is the model's choice.
    pub fn declare(
        desc: &CellDesc,
        prefix: &str,
        affine: bool,
        registry: &OpRegistry,
        declared: &mut Declared,
    ) -> Option<Draft> {
        // The kernel knows ops by their names: it must not stand in for others.
        let mut ops = desc.nodes.iter().flat_map(|n| &n.edges).map(|e| &e.op);
        if registry.is_replaced(&desc.post_op) || ops.any(|op| registry.is_replaced(op)) {
            return None;
        }
        // The kernel knows cells of two inputs; others are computed edge by edge.
        let [first, second] = desc.stems.as_slice() else {
            return None;
        };
        let (nodes, channels) = (desc.nodes.len(), first.ch_out);
        let all_nodes = desc.concat.iter().copied().eq(2..nodes + 2);
        let joins = ["concate_channels", "proj_channels"].contains(&desc.post_op.name.as_str());
        if !declared.fused || !all_nodes || !joins || second.ch_out != channels {
            return None;
        }
        let Shape {
            reduction,
            affine,
            edges,
        } = shape(desc, channels, affine)?;
        let map = FeatureMap::new(channels, ANY_SIZE, ANY_SIZE);
        let plan = plan(map, nodes, reduction, affine, &edges).ok()?;
        // Plans name an edge by the state that it comes from, models by its place in the node.
        let mut places = HashMap::new();
        for (node, n) in desc.nodes.iter().enumerate() {
            for (place, edge) in n.edges.iter().enumerate() {
                let theirs = format!("node{node}.edge{}.", edge.inputs[0]);
                places.insert(theirs, format!("{prefix}.node{node}.edge{place}."));
            }
        }
        let full = |name: &str| -> Option<String> {
            let end = name.match_indices('.').nth(1)?.0 + 1;
            Some(format!("{}{}", places.get(&name[..end])?, &name[end..]))
        };
        let pieces = plan.params().tensors().iter();
        let names: Vec<String> = pieces.map(|p| full(&p.name)).collect::<Option<_>>()?;
        let norms = plan.norms().iter();
        let norms: Vec<String> = norms.map(|n| full(&n.name)).collect::<Option<_>>()?;
        let param = declared.push_packed(plan.params(), names);
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
    /// All nodes, joined; `None` where edges must be taken one by one: for gradients in evaluation mode, and for sizes
    /// without a kernel. `mixing` holds the weights of each edge's primitives, edge after edge, if they are mixed;
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
        let given = match pass.is_training() {
            true => None,
            false => {
                let tracked = states.iter().any(|s| s.is_tracked());
                if tracked || params.is_tracked() || mixing.is_tracked() {
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
