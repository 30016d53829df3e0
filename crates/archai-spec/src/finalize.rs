//! From a supernet and the weights of its edges to the description of a found network: per edge the op that remains, per
//! node the edges that remain. Plain data on both sides, so that whatever decides (a trained model, a random draw, a
//! search without tensors) ends in the same rules.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::desc::{
    ChildDesc, DescError, DescErrorKind, EdgeDesc, ModelDesc, NodeDesc, OpCatalog, OpDesc,
};
use crate::rng::Key;

pub use crate::desc::Finalized;

/// The relaxed weights of mixed edges, one number per child of the edge's op, by (owning cell, node, edge).
pub type EdgeWeights = BTreeMap<(usize, usize, usize), Vec<f64>>;

/// One child of a node's mixed edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Choice {
    /// Place of the edge within its node.
    pub edge: usize,
    /// Place of the child within the edge's op.
    pub child: usize,
}

/// Which choices a node of a found network may keep together. How many it keeps is the description's
/// [`ModelDesc::max_final_edges`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeRule {
    /// Any different ones: two ops of one edge may remain, as two parallel edges or as a `multi_op`.
    #[default]
    AnyOps,
    /// Those of different edges: two states are joined by at most one op.
    OneOpPerEdge,
}

impl NodeRule {
    /// How many ops of one edge a node may keep; none where it may keep any number.
    ///
    /// ```
    /// use archai_spec::finalize::NodeRule;
    /// assert_eq!(NodeRule::AnyOps.most_per_edge(), None);
    /// assert_eq!(NodeRule::OneOpPerEdge.most_per_edge(), Some(1));
    /// ```
    pub fn most_per_edge(self) -> Option<usize> {
        match self {
            NodeRule::AnyOps => None,
            NodeRule::OneOpPerEdge => Some(1),
        }
    }

    /// Whether a node may keep all of these.
    pub fn allows(self, choices: &[Choice]) -> bool {
        let mut seen = BTreeSet::new();
        choices.iter().all(|c| match self {
            NodeRule::AnyOps => seen.insert((c.edge, c.child)),
            NodeRule::OneOpPerEdge => seen.insert((c.edge, 0)),
        })
    }

    /// Those that a node may keep if earlier ones come first: a choice that earlier ones exclude is left out.
    ///
    /// ```
    /// use archai_spec::finalize::{Choice, NodeRule};
    /// let [a, b, c] = [(0, 1), (0, 2), (1, 0)].map(|(edge, child)| Choice { edge, child });
    /// assert_eq!(NodeRule::AnyOps.thinned(vec![a, b, c]), [a, b, c]);
    /// assert_eq!(NodeRule::OneOpPerEdge.thinned(vec![a, b, c]), [a, c]);
    /// ```
    #[must_use]
    pub fn thinned(self, mut choices: Vec<Choice>) -> Vec<Choice> {
        if self == NodeRule::OneOpPerEdge {
            let mut seen = BTreeSet::new();
            choices.retain(|c| seen.insert(c.edge));
        }
        choices
    }
}

/// A supernet's description with the catalogue that says what its ops mean: what finalising reads.
#[derive(Clone, Copy, Debug)]
pub struct Supernet<'a> {
    /// The description.
    pub desc: &'a ModelDesc,
    /// What its op names mean.
    pub catalog: &'a OpCatalog,
}

impl<'a> Supernet<'a> {
    /// Both together.
    pub fn new(desc: &'a ModelDesc, catalog: &'a OpCatalog) -> Self {
        Supernet { desc, catalog }
    }

    /// The rule of DARTS (Liu, Simonyan, Yang 2019, section 2.4): per edge the op of the largest weight that does not give
    /// zeros, per node the `max_final_edges` strongest edges.
    ///
    /// # Errors
    /// A mixed edge without weights, or with another number of them than its op has children; an unknown op.
    pub fn finalize(&self, weights: &EdgeWeights) -> Result<ModelDesc, DescError> {
        self.each_node(|cell, node| {
            let owner = self.desc.cells[cell].alphas_from;
            self.node_of_ranks(cell, node, |edge| {
                let none = Vec::new();
                let weights = weights.get(&(owner, node, edge)).unwrap_or(&none);
                self.finalize_edge(cell, node, edge, weights)
            })
        })
    }

    /// The found network whose nodes are what `finalize` makes of (cell, node). Everything else stays.
    ///
    /// # Errors
    /// Those of `finalize`.
    pub fn each_node<E>(
        &self,
        mut finalize: impl FnMut(usize, usize) -> Result<NodeDesc, E>,
    ) -> Result<ModelDesc, E> {
        let mut found = self.desc.clone();
        for (c, cell) in found.cells.iter_mut().enumerate() {
            for (n, node) in cell.nodes.iter_mut().enumerate() {
                *node = finalize(c, n)?;
            }
        }
        Ok(found)
    }

    /// What remains of an edge if its op's children have these weights (none for ops that are no choice).
    ///
    /// # Errors
    /// There is no such edge, or it wants another number of weights.
    pub fn finalize_edge(
        &self,
        cell: usize,
        node: usize,
        edge: usize,
        weights: &[f64],
    ) -> Result<Finalized, DescError> {
        let op = &self.edge(cell, node, edge)?.op;
        (self.catalog.finalize(op, weights))
            .map_err(|e| e.at(format!("cell {cell}, node {node}, edge {edge}")))
    }

    /// A node of edges with ranks: those without a rank, then the `max_final_edges` strongest of the others in decreasing
    /// order of strength; among equals the earlier edge, which reads the lower state. `edge` says what remains of each.
    ///
    /// # Errors
    /// There is no such node; those of `edge`.
    pub fn node_of_ranks<E: From<DescError>>(
        &self,
        cell: usize,
        node: usize,
        mut edge: impl FnMut(usize) -> Result<Finalized, E>,
    ) -> Result<NodeDesc, E> {
        let edges = (self.node(cell, node)?.edges.iter().enumerate())
            .map(|(e, old)| {
                let Finalized { desc: op, rank } = edge(e)?;
                let inputs = old.inputs.clone();
                Ok((EdgeDesc { inputs, op }, rank))
            })
            .collect::<Result<Vec<_>, E>>()?;
        Ok(select_edges(edges, self.desc.max_final_edges))
    }

    /// A node with these choices and nothing else of its mixed edges. Edges that are no choice between ops remain and come
    /// first.
    ///
    /// # Errors
    /// There is no such node, edge or child.
    pub fn node_of_choices(
        &self,
        cell: usize,
        node: usize,
        choices: &[Choice],
    ) -> Result<NodeDesc, DescError> {
        let edges = &self.node(cell, node)?.edges;
        let mut kept = Vec::new();
        for (e, edge) in edges.iter().enumerate().filter(|(_, e)| !e.op.is_mixed()) {
            kept.push(EdgeDesc {
                inputs: edge.inputs.clone(),
                op: self.finalize_edge(cell, node, e, &[])?.desc,
            });
        }
        for choice in choices {
            kept.push(self.edge_of_choice(cell, node, *choice)?);
        }
        Ok(NodeDesc { edges: kept })
    }

    /// A mixed edge with one child left.
    ///
    /// # Errors
    /// There is no such edge or child, or the child gives zeros, which a found network never keeps.
    pub fn edge_of_choice(
        &self,
        cell: usize,
        node: usize,
        Choice { edge, child }: Choice,
    ) -> Result<EdgeDesc, DescError> {
        let old = self.edge(cell, node, edge)?;
        let place = format!("cell {cell}, node {node}, edge {edge}");
        let kept = (old.op.children.get(child))
            .ok_or_else(|| structure(format!("{place} has no child {child} to keep")))?;
        if self.catalog.is_zero(&kept.op.name) {
            return Err(structure(format!(
                "{place} cannot keep child {child}: `{}` gives zeros; choose another child",
                kept.op.name
            )));
        }
        // All weight on one child: the mixed op itself says what remains of it.
        let mut weights = vec![0.0; old.op.children.len()];
        weights[child] = 1.0;
        Ok(EdgeDesc {
            inputs: old.inputs.clone(),
            op: self.finalize_edge(cell, node, edge, &weights)?.desc,
        })
    }

    /// All choices at a node, by edge and child. Children that give zeros are left out.
    ///
    /// # Errors
    /// There is no such node.
    pub fn choices(&self, cell: usize, node: usize) -> Result<Vec<Choice>, DescError> {
        let edges = self.node(cell, node)?.edges.iter().enumerate();
        let mixed = edges.filter(|(_, edge)| edge.op.is_mixed());
        let of_edge = |(edge, desc): (usize, &'a EdgeDesc)| {
            let children = desc.op.children.iter().enumerate();
            let real = children.filter(|(_, child)| !self.catalog.is_zero(&child.op.name));
            real.map(move |(child, _)| Choice { edge, child })
        };
        Ok(mixed.flat_map(of_edge).collect())
    }

    /// A node of `max_final_edges` different choices: the first ones, in a random order of all, that the rule allows together,
    /// sorted. Every set of choices is equally likely, unless edges have different numbers of children under
    /// [`NodeRule::OneOpPerEdge`]: an edge with more of them is then kept more often. The draw depends on `key` and the node's
    /// place alone; cells that share their architecture get the same one.
    ///
    /// # Errors
    /// There is no such node.
    pub fn random_node(
        &self,
        cell: usize,
        node: usize,
        rule: NodeRule,
        key: &Key,
    ) -> Result<NodeDesc, DescError> {
        let mut choices = self.choices(cell, node)?;
        let owner = self.desc.cells[cell].alphas_from;
        key.with(owner).with(node).rng().shuffle(&mut choices);
        let mut choices = rule.thinned(choices);
        choices.truncate(self.desc.max_final_edges);
        choices.sort_unstable();
        self.node_of_choices(cell, node, &choices)
    }

    /// A network whose every node is a [`Supernet::random_node`].
    ///
    /// # Errors
    /// An op that the catalogue does not know.
    pub fn random(&self, rule: NodeRule, key: &Key) -> Result<ModelDesc, DescError> {
        self.each_node(|cell, node| self.random_node(cell, node, rule, key))
    }

    fn node(&self, cell: usize, node: usize) -> Result<&'a NodeDesc, DescError> {
        let nodes = self.desc.cells.get(cell).map(|cell| &cell.nodes);
        nodes
            .and_then(|nodes| nodes.get(node))
            .ok_or_else(|| structure(format!("there is no node {node} in a cell {cell}")))
    }

    fn edge(&self, cell: usize, node: usize, edge: usize) -> Result<&'a EdgeDesc, DescError> {
        (self.node(cell, node)?.edges.get(edge)).ok_or_else(|| {
            structure(format!(
                "cell {cell}, node {node} has no edge {edge} to finalise"
            ))
        })
    }
}

fn structure(message: String) -> DescError {
    DescError::new(DescErrorKind::Structure, message)
}

/// The edges without a rank, then the `most` strongest of the others in decreasing order; among equals the earlier one. A rank
/// that is no number is the weakest.
pub fn select_edges(edges: Vec<(EdgeDesc, Option<f64>)>, most: usize) -> NodeDesc {
    let (ranked, unranked): (Vec<_>, Vec<_>) =
        edges.into_iter().partition(|(_, rank)| rank.is_some());
    let mut ranked: Vec<(EdgeDesc, f64)> = ranked
        .into_iter()
        .filter_map(|(edge, rank)| Some((edge, rank?)))
        .collect();
    // Without NaN the order is total, which sorting relies on; 0 and −0 stay equal.
    let strength = |rank: f64| {
        if rank.is_nan() {
            f64::NEG_INFINITY
        } else {
            rank
        }
    };
    ranked.sort_by(|a, b| {
        let order = strength(b.1).partial_cmp(&strength(a.1));
        order.unwrap_or(Ordering::Equal)
    });
    let kept = unranked.into_iter().map(|(edge, _)| edge);
    NodeDesc {
        edges: kept
            .chain(ranked.into_iter().take(most).map(|(edge, _)| edge))
            .collect(),
    }
}

/// The child of the largest weight, of equals the first; children that give zeros and weights that are no number do not count.
/// Its weight is the rank, 0 where that is not finite. Where no child counts, the first one that does not give zeros remains,
/// with the rank 0; where all give zeros, the first one. For ops that are a choice among their children, with one weight per
/// child.
///
/// # Errors
/// A child that the catalogue does not know; no child at all.
pub fn strongest_child(
    op: &OpDesc,
    weights: &[f64],
    catalog: &OpCatalog,
) -> Result<Finalized, DescError> {
    let mut rank = f64::NEG_INFINITY;
    let counts = |child: &&ChildDesc| !catalog.is_zero(&child.op.name);
    let mut best = (op.children.iter().find(counts)).or(op.children.first());
    for (child, weight) in op.children.iter().zip(weights) {
        if counts(&child) && *weight > rank {
            (best, rank) = (Some(child), *weight);
        }
    }
    let best = best.ok_or_else(|| structure(format!("`{}` has no child to keep", op.name)))?;
    Ok(Finalized {
        desc: catalog.finalize(&best.op, &[])?.desc,
        rank: Some(if rank.is_finite() { rank } else { 0.0 }),
    })
}
