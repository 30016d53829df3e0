//! The structure of a compiled description: stems, cells, nodes and edges with their ops. It holds no numbers and never
//! changes.

use archai_spec::desc::{ModelDesc, OpCatalog, OpDesc, StemInput};
use archai_spec::graph::names;
use burn::tensor::Tensor;

use super::{ModelOptions, Outputs};
use crate::arch::ArchKey;
use crate::compute::Compute;
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Declared, Op, OpBuilder, OpRegistry, Pass};
use crate::ops::{AuxTower, MixedCell, MixedCellDraft};

#[derive(Debug)]
pub(super) struct Edge {
    inputs: Vec<usize>,
    pub(super) op: Box<dyn Op>,
    /// Whether drop-path may drop the output.
    drops: bool,
    /// Index into the architecture parameters.
    pub(super) alphas: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Cell {
    stems: Vec<Box<dyn Op>>,
    pub(super) nodes: Vec<Vec<Edge>>,
    /// All nodes at once, if there is a kernel for the whole cell.
    fused: Option<MixedCell>,
    post_op: Box<dyn Op>,
    concat: Vec<usize>,
    aux: Option<AuxTower>,
}

/// The structure: shared by all clones of a model.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) desc: ModelDesc,
    /// What the names of its ops mean.
    pub(super) catalog: OpCatalog,
    stems: Vec<(StemInput, Box<dyn Op>)>,
    pub(super) cells: Vec<Cell>,
    pool: Box<dyn Op>,
    logits: Box<dyn Op>,
    pub(super) compute: Compute,
}

impl Network {
    /// What each stem gives.
    pub(super) fn stems(&self, pass: &mut Pass<'_>, image: &Features) -> Vec<Features> {
        let mut stems: Vec<Features> = Vec::with_capacity(self.stems.len());
        for (input, op) in &self.stems {
            let input = match input {
                StemInput::Image => image.clone(),
                StemInput::Stem(i) => stems[*i].clone(),
            };
            let out = op.forward(pass, &[input], None);
            stems.push(out);
        }
        stems
    }

    /// The inputs of the first cell. As many outputs are kept from cell to cell.
    pub(super) fn first_inputs(&self, stems: Vec<Features>) -> Vec<Features> {
        let outputs = self.desc.stem_outputs.iter();
        outputs.map(|&stem| stems[stem].clone()).collect()
    }

    pub(super) fn forward(
        &self,
        pass: &mut Pass<'_>,
        images: Tensor<4>,
        weights: &[Tensor<1>],
        aux: bool,
    ) -> Outputs {
        let stems = self.stems(pass, &Features::from_nchw(images));
        let mut outputs = self.first_inputs(stems);
        let mut aux_logits = Vec::new();
        for (i, cell) in self.cells.iter().enumerate() {
            outputs.push(cell.forward(pass, i, &outputs, weights));
            outputs.remove(0);
            let out = &outputs[outputs.len() - 1];
            if let Some(tower) = cell.aux.as_ref().filter(|_| aux && pass.is_training()) {
                aux_logits.push(tower.forward(pass, out));
            }
        }
        let features = outputs.split_off(outputs.len() - 1);
        drop(outputs);
        let pooled = self.pool.forward(pass, &features, None);
        let logits = self.logits.forward(pass, &[pooled], None);
        let [n, classes, _, _] = logits.shape();
        Outputs {
            logits: logits.nchw().reshape([n, classes]),
            aux: aux_logits,
        }
    }
}

impl Cell {
    pub(super) fn forward(
        &self,
        pass: &mut Pass<'_>,
        cell: usize,
        outputs: &[Features],
        weights: &[Tensor<1>],
    ) -> Features {
        let inputs = &outputs[outputs.len() - self.stems.len()..];
        let mut states = Vec::with_capacity(self.stems.len() + self.nodes.len());
        for (stem, input) in self.stems.iter().zip(inputs) {
            states.push(stem.forward(pass, std::slice::from_ref(input), None));
        }
        // A whole cell at once does not show its parts.
        if let Some(fused) = self.fused.as_ref().filter(|_| !pass.shows_candidates()) {
            let samples = inputs[0].shape()[0];
            let (mut mixing, mut factors) = (Vec::new(), Vec::new());
            for (n, node) in self.nodes.iter().enumerate() {
                for (e, edge) in node.iter().enumerate() {
                    mixing.extend(edge.alphas.map(|i| weights[i].clone()));
                    factors.push(match edge.drops {
                        true => pass.drop_path([cell, n, e], samples),
                        false => None,
                    });
                }
            }
            let states = [&states[0], &states[1]];
            if let Some(out) = fused.forward(pass, states, mixing, factors) {
                // It is joined already: what is left of the post-op is what it does to joined states.
                return self.post_op.forward(pass, &[out], None);
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let mut parts = Vec::with_capacity(node.len());
            for (e, edge) in node.iter().enumerate() {
                let inputs: Vec<Features> =
                    edge.inputs.iter().map(|&i| states[i].clone()).collect();
                let out = edge
                    .op
                    .forward(pass, &inputs, edge.alphas.map(|i| &weights[i]));
                pass.candidates_are_of(n, e);
                let factors = match edge.drops {
                    true => pass.drop_path([cell, n, e], out.shape()[0]),
                    false => None,
                };
                parts.push((out, factors));
            }
            let state = if parts.is_empty() {
                states[states.len() - 1].clone()
            } else {
                Features::sum_scaled(parts)
            };
            states.push(state);
        }
        let inputs: Vec<Features> = self.concat.iter().map(|&i| states[i].clone()).collect();
        self.post_op.forward(pass, &inputs, None)
    }
}

/// Builds the structure.
pub(super) fn build(
    desc: &ModelDesc,
    registry: &OpRegistry,
    options: &ModelOptions,
    declared: &mut Declared,
    arch: &mut Vec<(ArchKey, usize)>,
) -> Result<Network, EngineError> {
    let make = |declared: &mut Declared, op: &OpDesc, prefix: String, n_inputs: usize| {
        let affine = op.affine.unwrap_or(desc.affine);
        registry.make(
            op,
            &mut OpBuilder::new(registry, declared, prefix, affine, n_inputs),
        )
    };
    let mut stems = Vec::new();
    for (i, stem) in desc.stems.iter().enumerate() {
        let name = names::stem(i, desc.stems.len());
        stems.push((stem.input, make(declared, &stem.op, name, 1)?));
    }
    let n_towers = desc.cells.iter().filter(|c| c.aux_tower.is_some()).count();
    let mut cells = Vec::new();
    for (c, cell) in desc.cells.iter().enumerate() {
        let mut cell_stems = Vec::with_capacity(cell.stems.len());
        for (s, stem) in cell.stems.iter().enumerate() {
            cell_stems.push(make(declared, stem, names::cell_stem(c, s), 1)?);
        }
        let draft = MixedCellDraft::declare(cell, c, desc.affine, registry, declared);
        let mut nodes = Vec::new();
        for (n, node) in cell.nodes.iter().enumerate() {
            let mut edges = Vec::new();
            for (e, edge) in node.edges.iter().enumerate() {
                let prefix = names::edge_op(c, n, e, &edge.op);
                let op = make(declared, &edge.op, prefix, edge.inputs.len())?;
                let alphas = match op.n_alphas() {
                    0 => None,
                    k => Some(alphas_of(
                        arch,
                        ArchKey {
                            cell: cell.alphas_from,
                            node: n,
                            edge: e,
                        },
                        c,
                        k,
                    )?),
                };
                edges.push(Edge {
                    inputs: edge.inputs.clone(),
                    drops: registry.catalog().can_drop_path(&edge.op)?,
                    op,
                    alphas,
                });
            }
            nodes.push(edges);
        }
        let fused = draft.map(|draft| draft.finish(declared));
        let post_op = make(
            declared,
            &cell.post_op,
            names::post_op(c),
            cell.concat.len(),
        )?;
        let aux = match &cell.aux_tower {
            Some(tower) => {
                let name = names::aux_tower(c, n_towers);
                // The towers are not part of a search: their norms always learn.
                let mut builder = OpBuilder::new(registry, declared, name, true, 1);
                Some(AuxTower::new(tower, cell.out, &mut builder)?)
            }
            None => None,
        };
        cells.push(Cell {
            stems: cell_stems,
            nodes,
            fused,
            post_op,
            concat: cell.concat.clone(),
            aux,
        });
    }
    Ok(Network {
        desc: desc.clone(),
        catalog: registry.catalog().clone(),
        stems,
        cells,
        pool: make(declared, &desc.pool, names::POOL.into(), 1)?,
        logits: make(declared, &desc.logits, names::CLASSIFIER.into(), 1)?,
        compute: options.compute.clone(),
    })
}

/// Index of the architecture parameters of an edge, which `cell` owns if the key names it.
fn alphas_of(
    arch: &mut Vec<(ArchKey, usize)>,
    key: ArchKey,
    cell: usize,
    n: usize,
) -> Result<usize, EngineError> {
    if key.cell == cell {
        arch.push((key, n));
        return Ok(arch.len() - 1);
    }
    match arch.iter().position(|(k, _)| *k == key) {
        Some(i) if arch[i].1 == n => Ok(i),
        found => Err(EngineError::structure(format!(
            "cell {cell} shares the architecture parameters of {key}, which {}; cells that share must have the same edges",
            match found {
                Some(i) => format!("has {} of them where {n} are needed", arch[i].1),
                None => "owns none".to_string(),
            }
        ))),
    }
}

/// Names reach files and tests: two parts of one name would overwrite each other there.
pub(super) fn unique_names(declared: &Declared) -> Result<(), EngineError> {
    let mut seen = std::collections::HashSet::new();
    let pieces = declared
        .params
        .iter()
        .flat_map(|p| &p.pieces)
        .map(|p| &p.name);
    match pieces
        .chain(declared.norms.iter().map(|n| &n.name))
        .find(|name| !seen.insert(name.as_str()))
    {
        Some(name) => Err(EngineError::structure(format!(
            "two parameters are named `{name}`; ops must name theirs apart"
        ))),
        None => Ok(()),
    }
}
