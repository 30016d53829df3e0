//! From a trained supernet to a description: per edge the op that remains, per node the edges that remain. [`Finalizers`]
//! is split by level, so that an algorithm replaces one and keeps the others.

use std::cmp::Ordering;

use archai_data::{Loaders, rng::Key};
use archai_spec::desc::{CellDesc, EdgeDesc, ModelDesc, NodeDesc};
use archai_spec::settings;

use crate::{
    error::EngineError,
    model::Model,
    op::Finalized,
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
}

impl RandomFinalizers {
    /// Draws that depend on `key` and the place in the network alone.
    pub fn new(key: Key) -> Self {
        RandomFinalizers { key }
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
        let mut kept = Vec::new();
        for (e, edge) in edges.iter().enumerate() {
            if edge.op.is_mixed() {
                let ops = edge
                    .op
                    .children
                    .iter()
                    .enumerate()
                    .filter(|(_, child)| child.op.name != "none");
                pairs.extend(ops.map(|(child, _)| (e, child)));
            } else {
                kept.push(EdgeDesc {
                    inputs: edge.inputs.clone(),
                    op: self.finalize_edge(model, cell, node, e)?.desc,
                });
            }
        }
        self.key
            .with(cell_desc.alphas_from)
            .with(node)
            .rng()
            .shuffle(&mut pairs);
        pairs.truncate(model.desc().max_final_edges);
        pairs.sort_unstable();
        for (e, child) in pairs {
            let edge = &edges[e];
            // All weight on one op: the op itself says what remains of it.
            let mut weights = vec![0.0; edge.op.children.len()];
            weights[child] = 1.0;
            let finalized = model.finalize_edge_with(cell, node, e, &weights);
            let op = finalized.ok_or_else(|| no_edge(cell, node, e))?.desc;
            kept.push(EdgeDesc {
                inputs: edge.inputs.clone(),
                op,
            });
        }
        Ok(NodeDesc { edges: kept })
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

fn no_edge(cell: usize, node: usize, edge: usize) -> EngineError {
    EngineError::structure(format!(
        "cell {cell}, node {node} has no edge {edge} to finalise"
    ))
}
