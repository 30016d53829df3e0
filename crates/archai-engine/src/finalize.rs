//! From a trained supernet to a description: per edge the op that remains, per node the edges that remain. [`Finalizers`]
//! is split by level, so that an algorithm replaces one and keeps the others.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use archai_data::{Loaders, rng::Key};
use archai_spec::desc::{CellDesc, EdgeDesc, ModelDesc, NodeDesc};
use archai_spec::settings;

use crate::{
    error::EngineError,
    model::Model,
    op::Finalized,
    perturbation::PerturbationFinalizers,
    run::{Log, Run},
};

/// What finalizers that look at data are given.
#[derive(Clone)]
pub struct FinalizeData<'a> {
    /// The search's batches.
    pub loaders: &'a Loaders,
    /// The search's settings.
    pub settings: &'a settings::Search,
    /// Clock, stop flag and seed.
    pub run: Run<'a>,
    /// The log below which they report.
    pub log: Log<'a>,
}

/// Turns a trained model into the description of what was found. Each level calls the one below.
pub trait Finalizers {
    /// Whether [`Finalizers::prepare`] must have seen the model and data before anything is finalised.
    fn needs_data(&self) -> bool {
        false
    }

    /// Called once after the search's training: for finalizers that decide by data. The model is a copy of theirs: what they
    /// do to its weights stays with them. By default nothing.
    fn prepare(&mut self, model: &mut Model, data: &FinalizeData<'_>) -> Result<(), EngineError> {
        let _ = (model, data);
        Ok(())
    }

    /// The whole network: the same macro structure with every cell finalised.
    fn finalize_model(&self, model: &Model) -> Result<ModelDesc, EngineError> {
        let mut desc = model.desc().clone();
        for (cell, finalized) in desc.cells.iter_mut().enumerate() {
            *finalized = self.finalize_cell(model, cell)?;
        }
        Ok(desc)
    }

    /// One cell.
    fn finalize_cell(&self, model: &Model, cell: usize) -> Result<CellDesc, EngineError> {
        let mut desc = model.desc().cells[cell].clone();
        for (node, finalized) in desc.nodes.iter_mut().enumerate() {
            *finalized = self.finalize_node(model, cell, node)?;
        }
        Ok(desc)
    }

    /// One node: which of its edges remain. By default those without a rank, and the `max_final_edges` strongest of the
    /// others, in decreasing order of strength; among equals the earlier edge, which reads the lower state.
    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let desc = &model.desc().cells[cell].nodes[node];
        let edges = (desc.edges.iter().enumerate())
            .map(|(edge, desc)| {
                let Finalized { desc: op, rank } = self.finalize_edge(model, cell, node, edge)?;
                Ok((
                    EdgeDesc {
                        inputs: desc.inputs.clone(),
                        op,
                    },
                    rank,
                ))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok(select_edges(edges, model.desc().max_final_edges))
    }

    /// One edge: which op remains, and how strongly it is wanted. By default what the op says of itself, see
    /// [`crate::Op::finalize`].
    fn finalize_edge(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
        edge: usize,
    ) -> Result<Finalized, EngineError> {
        model
            .finalize_edge(cell, node, edge)
            .ok_or_else(|| no_edge(cell, node, edge))
    }
}

/// DARTS's rule: per edge the op with the largest weight other than `none`, per node the strongest edges.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultFinalizers;

impl Finalizers for DefaultFinalizers {}

/// A baseline: per node, `max_final_edges` different (edge, op) pairs drawn without replacement, `none` excluded. Edges that
/// are no choice between ops remain. Cells that share their architecture get the same draw.
#[derive(Clone, Copy, Debug)]
pub struct RandomFinalizers {
    key: Key,
    one_op: bool,
}

impl RandomFinalizers {
    /// Draws that depend on `key` and the place in the network alone.
    pub fn new(key: Key) -> Self {
        RandomFinalizers { key, one_op: false }
    }

    /// Whether all pairs of a node must be of different edges, see [`settings::Space::one_op_per_edge`].
    #[must_use]
    pub fn with_one_op(mut self, one_op: bool) -> Self {
        self.one_op = one_op;
        self
    }
}

impl Finalizers for RandomFinalizers {
    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let cell_desc = &model.desc().cells[cell];
        let edges = &cell_desc.nodes[node].edges;
        let mut pairs = Vec::new();
        for (e, edge) in edges.iter().enumerate().filter(|(_, e)| e.op.is_mixed()) {
            let ops = edge.op.children.iter().enumerate();
            let real = ops.filter(|(_, child)| child.op.name != "none");
            pairs.extend(real.map(|(child, _)| (e, child)));
        }
        self.key
            .with(cell_desc.alphas_from)
            .with(node)
            .rng()
            .shuffle(&mut pairs);
        if self.one_op {
            let mut seen = BTreeSet::new();
            pairs.retain(|(edge, _)| seen.insert(*edge));
        }
        pairs.truncate(model.desc().max_final_edges);
        pairs.sort_unstable();
        node_of_ops(model, cell, node, &pairs)
    }
}

/// The edges without a rank, then the `most` strongest of the others in decreasing order; among equals the earlier one.
pub fn select_edges(edges: Vec<(EdgeDesc, Option<f64>)>, most: usize) -> NodeDesc {
    let (ranked, unranked): (Vec<_>, Vec<_>) =
        edges.into_iter().partition(|(_, rank)| rank.is_some());
    let mut ranked: Vec<(EdgeDesc, f64)> = ranked
        .into_iter()
        .filter_map(|(edge, rank)| Some((edge, rank?)))
        .collect();
    ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
    let kept = unranked.into_iter().map(|(edge, _)| edge);
    NodeDesc {
        edges: kept
            .chain(ranked.into_iter().take(most).map(|(edge, _)| edge))
            .collect(),
    }
}

/// A node with these `(edge, primitive)` pairs and nothing else of its mixed edges. Edges that are no choice between ops
/// remain and come first.
///
/// # Errors
/// There is no such node, or no such edge or primitive.
pub fn node_of_ops(
    model: &Model,
    cell: usize,
    node: usize,
    ops: &[(usize, usize)],
) -> Result<NodeDesc, EngineError> {
    let cells = &model.desc().cells;
    let desc = cells.get(cell).and_then(|cell| cell.nodes.get(node));
    let edges = &desc.ok_or_else(|| no_edge(cell, node, 0))?.edges;
    let mut kept = Vec::new();
    for (e, edge) in edges.iter().enumerate().filter(|(_, e)| !e.op.is_mixed()) {
        let finalized = model.finalize_edge(cell, node, e);
        kept.push(EdgeDesc {
            inputs: edge.inputs.clone(),
            op: finalized.ok_or_else(|| no_edge(cell, node, e))?.desc,
        });
    }
    for &(e, op) in ops {
        kept.push(only_op(model, [cell, node, e], op)?);
    }
    Ok(NodeDesc { edges: kept })
}

/// The edge at `[cell, node, edge]` of a supernet with nothing but its primitive `op` left.
fn only_op(
    model: &Model,
    [cell, node, edge]: [usize; 3],
    op: usize,
) -> Result<EdgeDesc, EngineError> {
    let missing = || no_edge(cell, node, edge);
    let nodes = &model.desc().cells.get(cell).ok_or_else(missing)?.nodes;
    let node_desc = nodes.get(node).ok_or_else(missing)?;
    let desc = node_desc.edges.get(edge).ok_or_else(missing)?;
    // All weight on one op: the mixed op itself says what remains of it.
    let mut weights = vec![0.0; desc.op.children.len()];
    *weights.get_mut(op).ok_or_else(missing)? = 1.0;
    let finalized = model.finalize_edge_with(cell, node, edge, &weights);
    Ok(EdgeDesc {
        inputs: desc.inputs.clone(),
        op: finalized.ok_or_else(missing)?.desc,
    })
}

/// The finalizer that `nas.search.finalizer` names, of those that serve every supernet: `default`, `random` and `darts_pt`.
/// `own` are the names that an algorithm adds, for the error's list.
///
/// # Errors
/// There is no finalizer of this name.
pub fn shared_finalizers(
    search: &settings::Search,
    run: &Run<'_>,
    own: &[&str],
) -> Result<Box<dyn Finalizers>, EngineError> {
    match search.finalizer.as_str() {
        "default" => Ok(Box::new(DefaultFinalizers)),
        "random" => Ok(Box::new(
            RandomFinalizers::new(run.key("finalize")).with_one_op(search.space.one_op_per_edge()),
        )),
        "darts_pt" => Ok(Box::new(PerturbationFinalizers::new(
            search.darts_pt.clone(),
        ))),
        other => {
            let names = own.iter().chain(&["default", "random", "darts_pt"]);
            let known: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            Err(EngineError::Config(format!(
                "nas.search.finalizer: there is no finalizer `{other}`; known are {}",
                known.join(", ")
            )))
        }
    }
}

fn no_edge(cell: usize, node: usize, edge: usize) -> EngineError {
    EngineError::structure(format!(
        "cell {cell}, node {node} has no edge {edge} to finalise"
    ))
}
