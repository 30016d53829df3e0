//! Genotypes: the short form of a found architecture in the original DARTS code and the programs that came from it, as a
//! value. `genotype_text` reads their Python text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Built, CellDesc, CellPlan, CellType, DescError, DescErrorKind, DescErrors, ModelDesc,
    ModelDescBuilder, NodeDesc, OpCatalog, build,
};
use crate::settings::ModelDescSettings;

/// Largest state number that a genotype may name; larger numbers are typing errors. A cell of more nodes than that has states
/// that no edge can read: it is refused before a network is built of it.
pub(super) const MAX_STATE: usize = 1000;
/// Most edges of a cell: two for each node that it may have.
const MAX_EDGES: usize = 2 * (MAX_STATE - 1);

/// An edge of a genotype: (op, input state).
pub type GenotypeEdge = (String, usize);

/// Two cells in the notation of the original DARTS code: each node is a list of (op, input state), mostly two. State 0 is the
/// cell before the previous one, state 1 the previous one, state 2+k node k.
///
/// A node may have one edge or several. A node without edges has no value: nothing may read it, and it cannot be part of the
/// output.
///
/// ```
/// use archai_spec::desc::Genotype;
/// let text = "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=range(2, 3), \
///             reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1)], reduce_concat=range(2, 3))";
/// let genotype: Genotype = text.parse().unwrap();
/// assert_eq!(genotype.normal[0][1], ("sep_conv_3x3".to_string(), 1));
/// assert_eq!(genotype.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genotype {
    /// Regular cell: the edges of each node.
    #[serde(serialize_with = "write_nodes", deserialize_with = "read_nodes")]
    pub normal: Vec<Vec<GenotypeEdge>>,
    /// States that make the regular cell's output.
    pub normal_concat: Vec<usize>,
    /// Reduction cell: the edges of each node.
    #[serde(serialize_with = "write_nodes", deserialize_with = "read_nodes")]
    pub reduce: Vec<Vec<GenotypeEdge>>,
    /// States that make the reduction cell's output.
    pub reduce_concat: Vec<usize>,
}

pub(super) fn error(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Genotype, message)
}

/// Whether the list can be said without brackets around nodes, as the original code does.
fn is_flat(nodes: &[Vec<GenotypeEdge>]) -> bool {
    nodes.iter().all(|node| node.len() == 2)
}

/// Flat where all nodes have two edges, else node by node.
fn write_nodes<S: Serializer>(nodes: &[Vec<GenotypeEdge>], to: S) -> Result<S::Ok, S::Error> {
    match is_flat(nodes) {
        true => to.collect_seq(nodes.iter().flatten()),
        false => to.collect_seq(nodes),
    }
}

fn read_nodes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<GenotypeEdge>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Flat(Vec<GenotypeEdge>),
        ByNode(Vec<Vec<GenotypeEdge>>),
    }
    match Form::deserialize(from)? {
        Form::ByNode(nodes) => Ok(nodes),
        Form::Flat(edges) => in_pairs(edges).map_err(serde::de::Error::custom),
    }
}

/// The nodes of a flat list.
pub(super) fn in_pairs(edges: Vec<GenotypeEdge>) -> Result<Vec<Vec<GenotypeEdge>>, DescError> {
    if edges.is_empty() || !edges.len().is_multiple_of(2) {
        let n = edges.len();
        return Err(error(format!("has {n} pairs; expected two per node")));
    }
    let mut nodes = Vec::with_capacity(edges.len() / 2);
    let mut edges = edges.into_iter();
    while let (Some(one), Some(other)) = (edges.next(), edges.next()) {
        nodes.push(vec![one, other]);
    }
    Ok(nodes)
}

impl Genotype {
    /// Checks what can be checked without knowing the ops. Parsing does so too.
    ///
    /// # Errors
    /// No nodes, more nodes than have a number, an input or a concatenated state that does not exist or has no value.
    pub fn check(&self) -> Result<(), DescError> {
        check_cell("normal", &self.normal, &self.normal_concat)?;
        check_cell("reduce", &self.reduce, &self.reduce_concat)
    }
    fn cell(&self, kind: CellType) -> (&[Vec<GenotypeEdge>], &[usize]) {
        match kind {
            CellType::Regular => (&self.normal, &self.normal_concat),
            CellType::Reduction => (&self.reduce, &self.reduce_concat),
        }
    }
}

fn check_cell(name: &str, nodes: &[Vec<GenotypeEdge>], concat: &[usize]) -> Result<(), DescError> {
    let (n_nodes, most) = (nodes.len(), MAX_STATE - 1);
    if n_nodes == 0 {
        return Err(error("has no nodes; give it at least one").at(name));
    }
    if n_nodes > most {
        return Err(error(format!(
            "has {n_nodes} nodes; a cell may have {most}, because states are numbered up to {MAX_STATE}"
        ))
        .at(name));
    }
    let edges: usize = nodes.iter().map(Vec::len).sum();
    if edges > MAX_EDGES {
        return Err(error(format!("has {edges} edges; a cell may have {MAX_EDGES}")).at(name));
    }
    let is_empty = |state: usize| state >= 2 && nodes[state - 2].is_empty();
    let mut pair = 0;
    for (n, node) in nodes.iter().enumerate() {
        for (op, input) in node {
            let fail =
                |text: String| Err(error(format!("pair {pair} ('{op}', {input}) {text}")).at(name));
            if *input >= n + 2 {
                return fail(format!(
                    "belongs to node {n}, which can read states 0 to {}",
                    n + 1
                ));
            }
            if is_empty(*input) {
                return fail(format!(
                    "reads node {}, which has no edges and so no value; give that node an edge, or read another state",
                    input - 2
                ));
            }
            pair += 1;
        }
    }
    let states = n_nodes + 2;
    let fail = |text: String| Err(error(text).at(format!("{name}_concat")));
    if concat.is_empty() {
        return fail("is empty; name at least one state".into());
    }
    if let Some(bad) = concat.iter().find(|&&s| s >= states) {
        return fail(format!(
            "names state {bad}, but the last one is {}",
            states - 1
        ));
    }
    if let Some(bad) = concat.iter().find(|&&s| is_empty(s)) {
        return fail(format!(
            "names state {bad}, but node {} has no edges and so no value; leave the state out of `{name}_concat`, or give \
             the node an edge",
            bad - 2
        ));
    }
    Ok(())
}

impl fmt::Display for Genotype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Genotype(")?;
        for (i, (name, nodes, concat)) in [
            ("normal", &self.normal, &self.normal_concat),
            ("reduce", &self.reduce, &self.reduce_concat),
        ]
        .into_iter()
        .enumerate()
        {
            let of = |node: &Vec<GenotypeEdge>| {
                let edges = node.iter().map(|(op, input)| format!("('{op}', {input})"));
                edges.collect::<Vec<_>>().join(", ")
            };
            let flat = is_flat(nodes);
            let list = nodes.iter().map(|node| match flat {
                true => of(node),
                false => format!("[{}]", of(node)),
            });
            write!(
                f,
                "{}{name}=[{}], {name}_concat=",
                if i > 0 { ", " } else { "" },
                list.collect::<Vec<_>>().join(", ")
            )?;
            match (concat.first(), concat.last()) {
                (Some(&first), Some(&last)) if concat.iter().copied().eq(first..=last) => {
                    write!(f, "range({first}, {})", last + 1)?;
                }
                _ => write!(f, "{concat:?}")?,
            }
        }
        f.write_str(")")
    }
}

/// Builds the cells of a genotype.
pub(super) struct GenotypeBuilder<'a>(pub Cow<'a, Genotype>);

impl ModelDescBuilder for GenotypeBuilder<'_> {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let (nodes, _) = self.0.cell(cell.cell_type);
        Ok(nodes
            .iter()
            .map(|node| NodeDesc::new(node.iter().map(|(op, from)| cell.edge(op, *from))))
            .collect())
    }
    fn cell_concat(&self, cell: &CellPlan<'_>, _n_nodes: usize) -> Vec<usize> {
        self.0.cell(cell.cell_type).1.to_vec()
    }
}

/// The full description of a genotype in the macro structure of `settings`.
///
/// # Errors
/// An inconsistent genotype, unknown ops, and what [`build`] reports.
pub fn from_genotype(
    genotype: &Genotype,
    settings: &ModelDescSettings,
    affine: bool,
    catalog: &OpCatalog,
) -> Result<Built, DescErrors> {
    genotype.check()?;
    let builder = GenotypeBuilder(Cow::Borrowed(genotype));
    build(&builder, settings, None, affine, catalog)
}

impl ModelDesc {
    /// The genotype of the first regular and the first reduction cell.
    ///
    /// # Errors
    /// Says what a genotype cannot express: a missing kind of cell, nodes without exactly two edges, mixed ops, ops with
    /// parameters or several inputs, unusual strides, cells of one kind that differ.
    pub fn genotype(&self) -> Result<Genotype, DescError> {
        self.genotype_with(EdgesPerNode::Two)
    }

    /// As [`ModelDesc::genotype`], but nodes may have any number of edges: the text is by node then, which the original code
    /// does not read.
    ///
    /// # Errors
    /// As [`ModelDesc::genotype`]; a node without edges that something reads.
    pub fn genotype_by_node(&self) -> Result<Genotype, DescError> {
        let genotype = self.genotype_with(EdgesPerNode::Any)?;
        genotype.check()?;
        Ok(genotype)
    }

    fn genotype_with(&self, edges: EdgesPerNode) -> Result<Genotype, DescError> {
        let (normal, normal_concat) = self.cell_genotype(CellType::Regular, edges)?;
        let (reduce, reduce_concat) = self.cell_genotype(CellType::Reduction, edges)?;
        Ok(Genotype {
            normal,
            normal_concat,
            reduce,
            reduce_concat,
        })
    }

    fn cell_genotype(
        &self,
        kind: CellType,
        edges: EdgesPerNode,
    ) -> Result<(Vec<Vec<GenotypeEdge>>, Vec<usize>), DescError> {
        let mut cells = self
            .cells
            .iter()
            .enumerate()
            .filter(|(_, c)| c.cell_type == kind);
        let Some((first, cell)) = cells.next() else {
            return Err(error(format!(
                "a genotype needs a regular and a reduction cell, but the description has no {kind} cell"
            )));
        };
        let nodes = cell_nodes(cell, edges).map_err(|e| e.at(format!("cell {first}")))?;
        for (i, other) in cells {
            if cell_nodes(other, edges).map_err(|e| e.at(format!("cell {i}")))? != nodes
                || other.concat != cell.concat
            {
                return Err(error(format!(
                    "a genotype has one {kind} cell for all, but this one differs from cell {first}"
                ))
                .at(format!("cell {i}")));
            }
        }
        Ok((nodes, cell.concat.clone()))
    }
}

/// How many edges a node may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EdgesPerNode {
    Two,
    Any,
}

fn cell_nodes(
    cell: &CellDesc,
    per_node: EdgesPerNode,
) -> Result<Vec<Vec<GenotypeEdge>>, DescError> {
    if cell.stems.len() != 2 {
        return Err(error(format!(
            "a genotype's cells have two inputs, but this one has {}",
            cell.stems.len()
        )));
    }
    let mut nodes = Vec::new();
    for (n, node) in cell.nodes.iter().enumerate() {
        if per_node == EdgesPerNode::Two && node.edges.len() != 2 {
            return Err(error(format!(
                "a genotype has two edges per node, but this one has {}",
                node.edges.len()
            ))
            .at(format!("node {n}")));
        }
        let mut edges = Vec::new();
        for (e, edge) in node.edges.iter().enumerate() {
            let op = &edge.op;
            let fail = |text: String| Err(error(text).at(format!("node {n}, edge {e}")));
            let &[input] = edge.inputs.as_slice() else {
                return fail(format!(
                    "`{}` reads {} states; a genotype's op reads one",
                    op.name,
                    edge.inputs.len()
                ));
            };
            if op.is_mixed() {
                return fail(format!(
                    "`{}` is not finalised; a genotype names one op per edge",
                    op.name
                ));
            }
            if !op.params.is_empty() || !op.children.is_empty() || op.affine.is_some() {
                return fail(format!(
                    "`{}` has parameters or children of its own, which a genotype cannot say",
                    op.name
                ));
            }
            let stride = if cell.cell_type == CellType::Reduction && input < cell.stems.len() {
                2
            } else {
                1
            };
            if op.stride != stride {
                return fail(format!(
                    "`{}` has stride {}, but a genotype means {stride} here",
                    op.name, op.stride
                ));
            }
            edges.push((op.name.clone(), input));
        }
        nodes.push(edges);
    }
    Ok(nodes)
}
