//! Reads the descriptions that Archai writes: YAML with the class names of Python objects as tags. Tags are passed over, no
//! code is ever run, and aliases are bounded by the YAML reader.
//!
//! Of all that such a file holds, only the cells' architecture is used (`_cell_descs`, `cell_type`, `_nodes`, `edges`, and of an
//! edge its inputs, op, stride and children), which is the same in all versions of the format. Weights, shapes and
//! channels are not read; the macro structure comes from settings.

use serde::Deserialize;

use super::yaml::syntax_error;
use super::{
    Built, CellPlan, CellType, ChildDesc, DescError, DescErrorKind, DescErrors, EdgeDesc,
    ModelDescBuilder, NodeDesc, OpCatalog, OpDesc, build,
};
use crate::settings::{ModelDescSettings, Settings};

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "_cell_descs", alias = "cell_descs")]
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    cell_type: Kind,
    #[serde(rename = "_nodes", alias = "nodes")]
    nodes: Vec<Node>,
}

/// An enumeration's value, bare or as the argument of its constructor.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Name(String),
    Argument(Vec<String>),
}

#[derive(PartialEq, Deserialize)]
struct Node {
    edges: Vec<Edge>,
}

#[derive(PartialEq, Deserialize)]
struct Edge {
    input_ids: Vec<usize>,
    op_desc: Op,
}

#[derive(PartialEq, Deserialize)]
struct Op {
    name: String,
    params: Option<Params>,
    children: Option<Vec<Op>>,
    children_ins: Option<Vec<usize>>,
}

#[derive(PartialEq, Deserialize)]
struct Params {
    stride: Option<usize>,
}

/// Builds the cells of the file: all of a kind are alike.
struct Imported {
    kinds: Vec<CellType>,
    /// Nodes of the regular and the reduction cells.
    nodes: [Option<Vec<Node>>; 2],
    /// Reductions stand where the file has them, not where settings put them.
    own_reductions: bool,
}

impl ModelDescBuilder for Imported {
    fn reduction_indices(&self, settings: &ModelDescSettings) -> Result<Vec<usize>, DescError> {
        if self.own_reductions {
            return Ok((0..self.kinds.len())
                .filter(|&i| self.kinds[i] == CellType::Reduction)
                .collect());
        }
        super::DefaultModelDescBuilder.reduction_indices(settings)
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let Some(nodes) = &self.nodes[cell.cell_type as usize] else {
            return Err(DescError::new(
                DescErrorKind::Template,
                format!(
                    "the imported file has no {0} cell, but the network to build needs one; set `n_reductions` accordingly, or \
                     import a file with a {0} cell",
                    cell.cell_type
                ),
            ));
        };
        let edge = |e: &Edge| {
            Ok(EdgeDesc {
                inputs: e.input_ids.clone(),
                op: op(&e.op_desc, cell.channels)?,
            })
        };
        nodes
            .iter()
            .map(|node| {
                Ok(NodeDesc {
                    edges: node
                        .edges
                        .iter()
                        .map(edge)
                        .collect::<Result<_, DescError>>()?,
                })
            })
            .collect()
    }
}

fn op(from: &Op, channels: usize) -> Result<OpDesc, DescError> {
    let stride = from.params.as_ref().and_then(|p| p.stride).unwrap_or(1);
    let mut desc = OpDesc::new(&from.name, channels, channels).with_stride(stride);
    let children = from.children.as_deref().unwrap_or_default();
    let inputs = from.children_ins.as_deref().unwrap_or_default();
    if from.children_ins.is_some() && children.len() != inputs.len() {
        return Err(DescError::new(
            DescErrorKind::Structure,
            format!(
                "`{}` has {} `children`, but {} `children_ins`",
                from.name,
                children.len(),
                inputs.len()
            ),
        ));
    }
    for (i, child) in children.iter().enumerate() {
        desc.children.push(ChildDesc {
            input: inputs.get(i).copied().unwrap_or(0),
            op: op(child, channels)?,
        });
    }
    Ok(desc)
}

/// Reads a description written by Archai (`final_model_desc*.yaml` of any version). `name` is the file's name in messages.
/// Without `settings`, the network has as many cells as the file, 16 channels, and CIFAR-10's images and classes.
///
/// # Errors
/// Not such a file (with `name:line:col`), an unknown kind of cell or op, cells of one kind that differ, an unfinalised supernet
/// in place of a found network, and what [`build`] reports.
pub fn import_archai(
    text: &str,
    name: &str,
    settings: Option<&ModelDescSettings>,
    affine: bool,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    // Weights stand in old files as base64 texts that are passed over like all else.
    let options = serde_saphyr::options! { ignore_binary_tag_for_string: true };
    let model: Model = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let mut error = syntax_error(name, &e);
        error
            .message
            .push_str("; expected a model description of Archai, with `_cell_descs` at its top");
        error
    })?;
    let structure = |text: String| DescError::new(DescErrorKind::Structure, text);
    if model.cells.is_empty() {
        return Err(
            structure("`_cell_descs` is empty; nothing to import".into())
                .at(name)
                .into(),
        );
    }
    let mut imported = Imported {
        kinds: Vec::new(),
        nodes: [None, None],
        own_reductions: settings.is_none(),
    };
    let (mut n_nodes, mut max_edges) = (1, 1);
    for (i, cell) in model.cells.into_iter().enumerate() {
        let kind = match cell.cell_type {
            Kind::Name(kind) => kind,
            Kind::Argument(parts) => parts.concat(),
        };
        let kind = match kind.as_str() {
            "regular" => CellType::Regular,
            "reduction" => CellType::Reduction,
            _ => {
                let message = format!("has the kind `{kind}`; expected `regular` or `reduction`");
                return Err(structure(message).at(format!("{name}: cell {i}")).into());
            }
        };
        imported.kinds.push(kind);
        n_nodes = n_nodes.max(cell.nodes.len());
        max_edges = cell
            .nodes
            .iter()
            .map(|node| node.edges.len())
            .fold(max_edges, usize::max);
        let known = &mut imported.nodes[kind as usize];
        if known.as_ref().is_some_and(|known| *known != cell.nodes) {
            let message = format!(
                "differs from the first {kind} cell; an import has one architecture for all cells of a kind, so make them alike"
            );
            return Err(structure(message).at(format!("{name}: cell {i}")).into());
        }
        known.get_or_insert(cell.nodes);
    }
    let minimal;
    let settings = match settings {
        Some(settings) => settings,
        None => {
            let reductions = imported
                .kinds
                .iter()
                .filter(|k| **k == CellType::Reduction)
                .count();
            minimal = minimal_settings(imported.kinds.len(), reductions, n_nodes, max_edges)?;
            &minimal
        }
    };
    build(&imported, settings, None, affine, catalog).map_err(|errors| errors.in_file(name))
}

/// The smallest macro structure that holds the file's cells.
fn minimal_settings(
    n_cells: usize,
    n_reductions: usize,
    n_nodes: usize,
    max_final_edges: usize,
) -> Result<ModelDescSettings, DescError> {
    let mut settings = Settings::shipped("cifar10")
        .map_err(|errors| DescError::new(DescErrorKind::Structure, errors.to_string()))?
        .nas
        .search
        .model_desc;
    settings.n_cells = n_cells;
    settings.n_reductions = n_reductions;
    settings.max_final_edges = max_final_edges;
    settings.cell.n_nodes = n_nodes;
    Ok(settings)
}
