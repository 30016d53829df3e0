//! Which cells of a description are alike: what is shown, drawn and scaled once for all of them must be the same in all.
//!
//! The architecture of a cell is its nodes with their edges and ops, and how which states are joined. Channels, stems and
//! auxiliary towers are no part of it: they follow from where the cell stands.

use std::fmt;

use super::{CellDesc, CellType, DescError, DescErrorKind, EdgeDesc, ModelDesc, OpDesc};

/// The place in which two cells differ first, and what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `node 1, edge 0` for example.
    pub place: String,
    /// What the one has there.
    pub ours: String,
    /// What the other has there.
    pub theirs: String,
}

/// Cells of one kind and one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellGroup {
    /// Kind.
    pub cell_type: CellType,
    /// Indices of the cells, in order. The first one stands for all.
    pub cells: Vec<usize>,
}

impl CellGroup {
    /// The cell that stands for all.
    pub fn first(&self) -> usize {
        self.cells.first().copied().unwrap_or(0)
    }
}

/// `regular cell (cells 0–5, 7–8)`.
impl fmt::Display for CellGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = if self.cells.len() == 1 {
            "cell"
        } else {
            "cells"
        };
        write!(
            f,
            "{} cell ({cells} {})",
            self.cell_type,
            ranges(&self.cells)
        )
    }
}

/// `0–5, 7–8`.
fn ranges(indices: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &i in indices {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == i => *last = i,
            _ => runs.push((i, i)),
        }
    }
    let runs = runs.iter().map(|&(a, b)| match a == b {
        true => a.to_string(),
        false => format!("{a}–{b}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

impl EdgeDesc {
    /// What the edge adds to its node: each op with the state that it reads. A `multi_op` consists of its parts; of any other
    /// op each input is one.
    pub fn parts(&self) -> Vec<(usize, &OpDesc)> {
        if self.op.children.is_empty() || self.op.is_mixed() {
            return self.inputs.iter().map(|&state| (state, &self.op)).collect();
        }
        let parts = self.op.children.iter();
        let part = parts.filter_map(|part| Some((*self.inputs.get(part.input)?, &part.op)));
        part.collect()
    }
}

impl CellDesc {
    /// How a state is called in drawings and texts: an input by how far back it is (`c_{k-2}`), a node by its number.
    pub fn state_name(&self, state: usize) -> String {
        match state.checked_sub(self.stems.len()) {
            None => format!("c_{{k-{}}}", self.stems.len() - state),
            Some(node) => node.to_string(),
        }
    }

    /// Whether anything in the cell reads a state, or it is part of the output. A block of a chain leaves all inputs but the
    /// last unread.
    pub fn reads(&self, state: usize) -> bool {
        let by_edge = (self.nodes.iter().flat_map(|node| &node.edges))
            .any(|edge| edge.inputs.contains(&state));
        // A node without edges repeats the state before it.
        let repeated = (self.nodes.iter().enumerate()).any(|(n, node)| {
            node.edges.is_empty() && (n + self.stems.len()).checked_sub(1) == Some(state)
        });
        by_edge || repeated || self.concat.contains(&state)
    }

    /// Where this cell's architecture first differs from another's; none if they are alike.
    pub fn difference(&self, other: &CellDesc) -> Option<Difference> {
        let differ = |place: &str, ours: String, theirs: String| {
            Some(Difference {
                place: place.to_string(),
                ours,
                theirs,
            })
        };
        let (ours, theirs) = (self.stems.len(), other.stems.len());
        if ours != theirs {
            return differ("its inputs", ours.to_string(), theirs.to_string());
        }
        for (n, (ours, theirs)) in self.nodes.iter().zip(&other.nodes).enumerate() {
            for (e, (ours, theirs)) in ours.edges.iter().zip(&theirs.edges).enumerate() {
                if ours.inputs != theirs.inputs || !alike(&ours.op, &theirs.op) {
                    let place = format!("node {n}, edge {e}");
                    return differ(&place, self.edge_text(ours), other.edge_text(theirs));
                }
            }
            let (ours, theirs) = (ours.edges.len(), theirs.edges.len());
            if ours != theirs {
                let place = format!("node {n}");
                return differ(&place, format!("{ours} edges"), format!("{theirs} edges"));
            }
        }
        let (ours, theirs) = (self.nodes.len(), other.nodes.len());
        if ours != theirs {
            return differ("its nodes", ours.to_string(), theirs.to_string());
        }
        if self.concat != other.concat || !alike(&self.post_op, &other.post_op) {
            return differ("its output", self.output_text(), other.output_text());
        }
        None
    }

    /// `sep_conv_3x3←c_{k-1}`, an op that reads several states with all of them, a `multi_op` with its parts in brackets.
    pub fn edge_text(&self, edge: &EdgeDesc) -> String {
        let op = &edge.op;
        if op.children.is_empty() || op.is_mixed() {
            return format!("{}←{}", op_text(op), self.states_text(&edge.inputs));
        }
        let parts = edge.parts().into_iter();
        let parts = parts.map(|(state, op)| format!("{}←{}", op_text(op), self.state_name(state)));
        format!("{}({})", op.name, parts.collect::<Vec<_>>().join(" + "))
    }

    /// `concate_channels←0,1`: what joins which states into the output.
    pub fn output_text(&self) -> String {
        format!(
            "{}←{}",
            op_text(&self.post_op),
            self.states_text(&self.concat)
        )
    }

    fn states_text(&self, states: &[usize]) -> String {
        let names = states.iter().map(|&state| self.state_name(state));
        names.collect::<Vec<_>>().join(",")
    }
}

/// The name of an op with what else makes it what it is; a choice says of how many candidates.
fn op_text(op: &OpDesc) -> String {
    let mut text = op.name.clone();
    if op.is_mixed() {
        text.push_str(&format!(" of {}", op.children.len()));
    }
    if op.stride != 1 {
        text.push_str(&format!(" /{}", op.stride));
    }
    let affine = op.affine.map(|affine| format!("affine: {affine}"));
    let params = op
        .params
        .iter()
        .map(|(name, value)| format!("{name}: {value}"));
    let params: Vec<String> = params.chain(affine).collect();
    if !params.is_empty() {
        text.push_str(&format!("({})", params.join(", ")));
    }
    text
}

/// Whether two ops are one, but for their channels.
fn alike(a: &OpDesc, b: &OpDesc) -> bool {
    let same = a.name == b.name
        && (a.stride, a.affine) == (b.stride, b.affine)
        && a.params == b.params
        && a.children.len() == b.children.len();
    let mut children = a.children.iter().zip(&b.children);
    same && children.all(|(a, b)| a.input == b.input && alike(&a.op, &b.op))
}

impl ModelDesc {
    /// The cells in groups of one architecture: the regular ones first, then the reductions, each group at the place of its
    /// first cell.
    ///
    /// ```
    /// # use archai_spec::desc::ModelDesc;
    /// # fn f(desc: &ModelDesc) {
    /// for group in desc.distinct_cells() {
    ///     println!("{group}: {} nodes", desc.cells[group.first()].nodes.len());
    /// }
    /// # }
    /// ```
    pub fn distinct_cells(&self) -> Vec<CellGroup> {
        let mut groups: Vec<CellGroup> = Vec::new();
        for cell_type in [CellType::Regular, CellType::Reduction] {
            let start = groups.len();
            let cells = self.cells.iter().enumerate();
            for (i, cell) in cells.filter(|(_, cell)| cell.cell_type == cell_type) {
                let same =
                    |group: &&mut CellGroup| cell.difference(&self.cells[group.first()]).is_none();
                match groups[start..].iter_mut().find(same) {
                    Some(group) => group.cells.push(i),
                    None => groups.push(CellGroup {
                        cell_type,
                        cells: vec![i],
                    }),
                }
            }
        }
        groups
    }

    /// The cell that stands for all of a kind; none if there is none of this kind.
    ///
    /// # Errors
    /// Cells of the kind differ: says which, and where they do so first.
    pub fn common_cell(&self, cell_type: CellType) -> Result<Option<&CellDesc>, DescError> {
        let groups = self.distinct_cells();
        let groups: Vec<CellGroup> = (groups.into_iter())
            .filter(|group| group.cell_type == cell_type)
            .collect();
        let (first, second) = match groups.as_slice() {
            [] => return Ok(None),
            [only] => return Ok(self.cells.get(only.first())),
            [first, second, ..] => (first.first(), second.first()),
        };
        let differ = self.cells[second].difference(&self.cells[first]);
        let Some(Difference {
            place,
            ours,
            theirs,
        }) = differ
        else {
            unreachable!("cells of two groups differ");
        };
        let alike: Vec<String> = groups.iter().map(|group| ranges(&group.cells)).collect();
        Err(DescError::new(
            DescErrorKind::Template,
            format!(
                "its {cell_type} cells differ, so that no one stands for all: cell {second} has {ours} for {place}, cell {first} \
                 {theirs} (alike are cells {}); make them alike, or train the description as it is: `archai train`, or \
                 nas.eval.template: as_is",
                alike.join("; cells ")
            ),
        ))
    }
}
