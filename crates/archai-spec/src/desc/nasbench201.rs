//! NAS-Bench-201 (Dong and Yang, 2020): its cells, when two of them are the same network, and its networks as descriptions.
//!
//! A cell has four nodes; every node reads all earlier ones, each through one of five ops: 5⁶ = 15,625 cells. As a
//! [`CellDesc`], node 0 is state 1 (state 0 is not read), and node k is the description's node k−1, state k+1.

use std::fmt;
use std::str::FromStr;

use super::genotype_text::choose;
use super::literal::{Reader, line_and_column};
use super::{
    Built, CellDesc, CellPlan, CellType, DescError, DescErrorKind, DescErrors, EdgeDesc, ModelDesc,
    ModelDescBuilder, ModelPlan, NodeDesc, OpCatalog, OpDesc, ParamValue, Shape, Which, build,
};
use crate::settings::ModelDescSettings;

/// The op of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op201 {
    /// The input itself.
    Skip,
    /// Zeros.
    None,
    /// ReLU, 3×3 convolution, norm.
    Conv3x3,
    /// ReLU, 1×1 convolution, norm.
    Conv1x1,
    /// 3×3 average pool.
    AvgPool,
}

impl Op201 {
    /// All ops, in the order of their digits.
    pub const ALL: [Op201; 5] = [
        Op201::Skip,
        Op201::None,
        Op201::Conv3x3,
        Op201::Conv1x1,
        Op201::AvgPool,
    ];
    /// Name in the benchmark and in descriptions.
    pub fn name(self) -> &'static str {
        match self {
            Op201::Skip => "skip_connect",
            Op201::None => "none",
            Op201::Conv3x3 => "nor_conv_3x3",
            Op201::Conv1x1 => "nor_conv_1x1",
            Op201::AvgPool => "avg_pool_3x3",
        }
    }
    fn from_name(name: &str) -> Option<Op201> {
        Op201::ALL.into_iter().find(|op| op.name() == name)
    }
}

/// The ops that a search chooses from; `none` is last, as everywhere.
pub const PRIMITIVES_201: [&str; 5] = [
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
    "none",
];

/// Number of cells of the space.
pub const N_CELLS: usize = 15_625;

/// (source, target) of each edge in the order of the digits.
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
const NODES: usize = 4;

/// A cell: the op of each of its six edges, in the order (0→1) (0→2) (0→3) (1→2) (1→3) (2→3).
///
/// ```
/// use archai_spec::desc::nasbench201::Cell201;
/// let text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|";
/// let cell: Cell201 = text.parse().unwrap();
/// assert_eq!(cell, "433000".parse().unwrap());
/// assert_eq!((cell.to_string().as_str(), cell.digits().as_str()), (text, "433000"));
/// assert_eq!(cell.neighbours().len(), 24);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell201 {
    /// One op per edge.
    pub edges: [Op201; 6],
}

fn error(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Cell, message)
}

impl Cell201 {
    /// All cells, in the order of their digits read as a number to base five.
    pub fn all() -> impl Iterator<Item = Cell201> {
        (0..N_CELLS).filter_map(Cell201::from_code)
    }
    /// The cell whose digits are `code` to base five; none from 15,625 on.
    pub fn from_code(code: usize) -> Option<Cell201> {
        let mut rest = code;
        let mut edges = [Op201::Skip; 6];
        for edge in edges.iter_mut().rev() {
            *edge = Op201::ALL[rest % 5];
            rest /= 5;
        }
        (rest == 0).then_some(Cell201 { edges })
    }
    /// Its digits read as a number to base five: 0 to 15,624. Not the index of the published table.
    pub fn code(&self) -> usize {
        self.edges.iter().fold(0, |code, op| 5 * code + digit(*op))
    }
    /// Its six digits.
    pub fn digits(&self) -> String {
        self.edges.iter().map(|op| digit(*op).to_string()).collect()
    }
    /// The op between two nodes, `from` < `to` ≤ 3.
    pub fn edge(&self, from: usize, to: usize) -> Option<Op201> {
        let place = EDGES.iter().position(|&e| e == (from, to))?;
        Some(self.edges[place])
    }
    /// Ops into node `to` with their source nodes, in the order of the sources.
    fn edges_into(&self, to: usize) -> impl Iterator<Item = (usize, Op201)> + '_ {
        EDGES
            .iter()
            .zip(self.edges)
            .filter(move |((_, target), _)| *target == to)
            .map(|((from, _), op)| (*from, op))
    }
    /// The 24 cells that differ in one edge.
    pub fn neighbours(&self) -> Vec<Cell201> {
        let mut all = Vec::with_capacity(24);
        for place in 0..6 {
            for op in Op201::ALL {
                if op != self.edges[place] {
                    let mut cell = *self;
                    cell.edges[place] = op;
                    all.push(cell);
                }
            }
        }
        all
    }

    /// Strings of the nodes by a rule for the term of an op on a node's string; a node joins its sorted terms.
    fn strings(&self, term: impl Fn(Op201, &str) -> String) -> String {
        let mut nodes = vec!["0".to_string()];
        for to in 1..NODES {
            let mut terms: Vec<String> = self
                .edges_into(to)
                .map(|(from, op)| term(op, &nodes[from]))
                .collect();
            terms.sort();
            nodes.push(terms.join("+"));
        }
        nodes.swap_remove(NODES - 1)
    }
    /// The output as a formula in which skips pass their input on and every other op, `none` too, is spelt out: 12,751
    /// different ones.
    pub fn skip_string(&self) -> String {
        self.strings(|op, on| match op {
            Op201::Skip => on.to_string(),
            op => format!("({on})@{}", op.name()),
        })
    }
    /// The benchmark's own formula: as [`Cell201::skip_string`], but `none`, and any op on a node that is exactly zero, is
    /// `#`. Cells of one string are the same network: 6,466 different ones. Zeros stay in sums, so it is not a full normal
    /// form; see [`Cell201::functional_string`].
    pub fn unique_string(&self) -> String {
        self.strings(|op, on| match op {
            Op201::None => "#".to_string(),
            _ if on == "#" => "#".to_string(),
            Op201::Skip => on.to_string(),
            op => format!("({on})@{}", op.name()),
        })
    }
    /// The formula of what the cell computes, but for constants that norms may add on dead branches: zeros are dropped from
    /// sums, skips pass the terms of their input on, an op on a zero is a zero. `#` is a cell without a path from its input
    /// to its output. 4,930 different ones.
    pub fn functional_string(&self) -> String {
        let mut nodes: Vec<Vec<String>> = vec![vec!["0".to_string()]];
        for to in 1..NODES {
            let mut terms = Vec::new();
            for (from, op) in self.edges_into(to) {
                let source = &nodes[from];
                match op {
                    Op201::None => {}
                    _ if source.is_empty() => {}
                    Op201::Skip => terms.extend(source.iter().cloned()),
                    op => terms.push(format!("({})@{}", source.join("+"), op.name())),
                }
            }
            terms.sort();
            nodes.push(terms);
        }
        match nodes.swap_remove(NODES - 1) {
            terms if terms.is_empty() => "#".to_string(),
            terms => terms.join("+"),
        }
    }

    /// The cell's nodes for a description, all from and to `channels`.
    pub fn nodes(&self, channels: usize) -> Vec<NodeDesc> {
        let edge = |(from, op): (usize, Op201)| {
            EdgeDesc::new(from + 1, OpDesc::new(op.name(), channels, channels))
        };
        (1..NODES)
            .map(|to| NodeDesc::new(self.edges_into(to).map(edge)))
            .collect()
    }
    /// The whole network of the cell in the macro structure of `settings`, with learnt scales and shifts.
    ///
    /// # Errors
    /// What [`build`] reports.
    pub fn to_desc(
        &self,
        settings: &ModelDescSettings,
        catalog: &OpCatalog,
    ) -> Result<Built, DescErrors> {
        build(&FixedCell(*self), settings, None, true, catalog)
    }
    /// The cell of a found network: that of all its regular cells. Edges that are missing are `none`; a node without edges
    /// repeats the node before it, which is a skip.
    ///
    /// # Errors
    /// Says why the description has no such cell, or which one is another.
    pub fn from_desc(desc: &ModelDesc) -> Result<Cell201, DescError> {
        let regular = desc.cells.iter().enumerate();
        let mut regular = regular
            .filter(|(_, cell)| cell.cell_type == CellType::Regular)
            .map(|(i, cell)| {
                (
                    i,
                    Cell201::from_cell(cell).map_err(|e| e.at(format!("cell {i}"))),
                )
            });
        let (_, first) = regular
            .next()
            .ok_or_else(|| error("there is no regular cell to read a NAS-Bench-201 cell from"))?;
        let first = first?;
        for (i, other) in regular {
            let other = other?;
            if other != first {
                return Err(error(format!(
                    "is {other}, but the first regular cell is {first}; all must be the same"
                ))
                .at(format!("cell {i}")));
            }
        }
        Ok(first)
    }
    /// As [`Cell201::from_desc`], of one cell.
    ///
    /// # Errors
    /// Says why it is none of the space.
    pub fn from_cell(cell: &CellDesc) -> Result<Cell201, DescError> {
        if cell.stems.len() != 2 {
            return Err(error(format!(
                "a NAS-Bench-201 cell has 2 inputs, of which it reads the second, but this one has {}",
                cell.stems.len()
            )));
        }
        if cell.nodes.len() != NODES - 1 || cell.concat != [NODES] {
            return Err(error(format!(
                "a NAS-Bench-201 cell has 3 nodes and gives the last of them (`concat: [4]`), but this one has {} and gives {:?}",
                cell.nodes.len(),
                cell.concat
            )));
        }
        let mut edges = [Op201::None; 6];
        for (n, node) in cell.nodes.iter().enumerate() {
            let at = |e: usize| format!("node {n}, edge {e}");
            if node.edges.is_empty() {
                edges[place(n, n + 1)] = Op201::Skip;
            }
            let mut seen = Vec::new();
            for (e, edge) in node.edges.iter().enumerate() {
                let fail = |text: String| Err(error(text).at(at(e)));
                let op = &edge.op;
                let &[state] = edge.inputs.as_slice() else {
                    return fail(format!(
                        "`{}` reads {} states; an edge of NAS-Bench-201 reads one",
                        op.name,
                        edge.inputs.len()
                    ));
                };
                if state == 0 || state > n + 1 {
                    return fail(format!(
                        "reads state {state}; node {n} of a NAS-Bench-201 cell reads states 1 to {} (1 is the cell's input)",
                        n + 1
                    ));
                }
                if seen.contains(&state) {
                    return fail(format!(
                        "reads state {state} a second time; NAS-Bench-201 has one edge between two nodes"
                    ));
                }
                seen.push(state);
                let plain = op.children.is_empty()
                    && op.stride == 1
                    && op.affine.is_none()
                    && op.params.is_empty();
                match Op201::from_name(&op.name) {
                    Some(known) if plain => edges[place(state - 1, n + 1)] = known,
                    _ => {
                        return fail(format!(
                            "`{}`{} is no op of NAS-Bench-201, which has {}, all with stride 1 and without parameters",
                            op.name,
                            if op.is_mixed() {
                                " (still a choice)"
                            } else {
                                ""
                            },
                            Op201::ALL.map(Op201::name).join(", ")
                        ));
                    }
                }
            }
        }
        Ok(Cell201 { edges })
    }
}

fn digit(op: Op201) -> usize {
    match op {
        Op201::Skip => 0,
        Op201::None => 1,
        Op201::Conv3x3 => 2,
        Op201::Conv1x1 => 3,
        Op201::AvgPool => 4,
    }
}

/// Place of an edge among the six, `from` < `to` ≤ 3.
fn place(from: usize, to: usize) -> usize {
    // The edges from a node follow each other: 3 from node 0, 2 from node 1, 1 from node 2.
    [0, 3, 5][from] + to - from - 1
}

/// The benchmark's text: edges grouped by target, `|op~source|…|+|…|`.
impl fmt::Display for Cell201 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for to in 1..NODES {
            f.write_str(if to > 1 { "+|" } else { "|" })?;
            for (from, op) in self.edges_into(to) {
                write!(f, "{}~{from}|", op.name())?;
            }
        }
        Ok(())
    }
}

/// Reads the benchmark's text or six digits.
impl FromStr for Cell201 {
    type Err = DescError;
    fn from_str(text: &str) -> Result<Self, DescError> {
        let text = text.trim();
        // What is shown of a wrong text is bounded.
        let shown: String = text.chars().take(200).collect();
        let fail = |why: String| {
            error(format!(
                "`{shown}` is no NAS-Bench-201 cell: {why}; expected six digits 0 to 4 as `433000`, or \
                 `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|` with ops {}",
                Op201::ALL.map(Op201::name).join(", ")
            ))
        };
        let mut edges = [Op201::None; 6];
        if !text.starts_with('|') {
            let digits: Vec<u32> = text.chars().map_while(|c| c.to_digit(5)).collect();
            if digits.len() != 6 || text.len() != 6 {
                return Err(fail("it is not six digits".into()));
            }
            for (edge, d) in edges.iter_mut().zip(digits) {
                *edge = Op201::ALL[d as usize];
            }
            return Ok(Cell201 { edges });
        }
        let groups: Vec<&str> = text.split('+').collect();
        if groups.len() != NODES - 1 {
            return Err(fail(format!("it has {} nodes", groups.len())));
        }
        for (n, group) in groups.into_iter().enumerate() {
            let to = n + 1;
            let inner = group
                .strip_prefix('|')
                .and_then(|g| g.strip_suffix('|'))
                .ok_or_else(|| fail(format!("node {to} does not stand between bars")))?;
            let terms: Vec<&str> = inner.split('|').collect();
            if terms.len() != to {
                return Err(fail(format!("node {to} has {} edges", terms.len())));
            }
            for (from, term) in terms.into_iter().enumerate() {
                let (name, source) = term
                    .split_once('~')
                    .ok_or_else(|| fail(format!("node {to} has an edge without `~`")))?;
                if source != from.to_string() {
                    return Err(fail(format!(
                        "edge {from} of node {to} reads node `{source}`"
                    )));
                }
                edges[place(from, to)] = Op201::from_name(name)
                    .ok_or_else(|| fail(format!("`{name}` is no op of the space")))?;
            }
        }
        Ok(Cell201 { edges })
    }
}

/// What the benchmark's text of a cell is made of.
fn is_cell(c: char) -> bool {
    c.is_ascii_alphanumeric() || "|~+_".contains(c)
}

/// The places at which a text holds the benchmark's notation, and what stands there.
fn cells_in(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut pos = 0;
    while let Some(at) = text[pos..].find('|').map(|i| pos + i) {
        let end = text[at..]
            .find(|c| !is_cell(c))
            .map_or(text.len(), |i| at + i);
        let cell = &text[at..end];
        if cell.contains('~') {
            found.push((at, cell));
        }
        pos = end.max(at + 1);
    }
    found
}

impl Cell201 {
    /// The cell within a text: the benchmark's notation, alone or among other words as in a log; six digits; or the list of
    /// six digits that NASLib prints. Digits are as in [`Cell201::digits`].
    ///
    /// ```
    /// use archai_spec::desc::{Which, nasbench201::Cell201};
    /// let text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|";
    /// let log = format!("[best] Structure(4 nodes with {text})");
    /// assert_eq!(Cell201::find(&log, &Which::Only).unwrap().digits(), "433000");
    /// assert_eq!(Cell201::find("(4, 3, 3, 0, 0, 0)", &Which::Only).unwrap().digits(), "433000");
    /// ```
    ///
    /// # Errors
    /// None, several where one is meant (the error lists them by line), and what is wrong with the one that is meant.
    pub fn find(text: &str, which: &Which) -> Result<Cell201, DescError> {
        let cells = cells_in(text);
        let place = |at: usize| {
            let (line, column) = line_and_column(text, at);
            format!("line {line}, column {column}")
        };
        if !cells.is_empty() {
            let line = |i: usize| {
                let (at, cell) = cells[i];
                let shown: String = cell.chars().take(120).collect();
                format!("{}: {shown}", place(at))
            };
            let (at, cell) =
                cells[choose(which, cells.len(), "cell", |_| "", line).map_err(error)?];
            return cell.parse().map_err(|e: DescError| e.at(place(at)));
        }
        match digit_list(text) {
            Some(digits) => digits.parse(),
            None => text.parse(),
        }
    }
    /// Whether a text looks like a cell of the benchmark.
    pub(super) fn is_in(text: &str) -> bool {
        let digits = text.trim();
        !cells_in(text).is_empty()
            || digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit())
            || digit_list(text).is_some()
    }
}

/// The digits of a list of six numbers below ten.
fn digit_list(text: &str) -> Option<String> {
    let mut reader = Reader::new(text, 0);
    let list = reader.value().ok()?;
    reader.skip();
    let items = list.items().filter(|items| items.len() == 6)?;
    let digits: Option<String> = items
        .iter()
        .map(|item| char::from_digit(u32::try_from(item.number()?).ok()?, 10))
        .collect();
    digits.filter(|_| reader.rest().is_empty())
}

/// The search space and its macro structure: regular cells in which every node reads all earlier ones through mixed ops
/// (state 0 is not read), and reduction cells that are fixed residual blocks of stride 2 and own no architecture
/// parameters. The rest comes from the settings: a stem `stem_conv3x3` with 16 channels, 3·N + 2 cells with two
/// reductions, `bnrelu_pool_avg2d` before the classifier (see `confs/spaces/nasbench201.yaml`).
///
/// A cell has three nodes beside its input whatever the settings say (a note tells). With a template, its first regular
/// cell is scaled; it must be a cell of the space.
#[derive(Clone, Copy, Debug, Default)]
pub struct NasBench201Builder;

/// Passes a cell's inputs on as they are.
fn plain_stems(inputs: &[Shape]) -> Vec<OpDesc> {
    let plain = |input: &Shape| OpDesc::new("identity", input.channels, input.channels);
    inputs.iter().map(plain).collect()
}

/// The residual block between two stages: twice ReLU, 3×3 convolution, norm, beside a 2×2 average pool and a bare 1×1
/// convolution; their sum is the output. Drop-path may drop the first branch as a whole. The benchmark's images have even sides
/// before it. An odd one is halved and rounded up by the convolution, and by a pool of 3×3 windows, which then takes the place.
fn residual(input: Shape, to: usize) -> Vec<NodeDesc> {
    let from = input.channels;
    let keep = |op: OpDesc| op.with_param("keep", ParamValue::Bool(true));
    let halve = keep(OpDesc::new("nor_conv_3x3", from, to).with_stride(2));
    let is_even = input.height.is_multiple_of(2) && input.width.is_multiple_of(2);
    let pool = match is_even {
        true => OpDesc::new("avg_pool_2x2", from, from),
        false => keep(OpDesc::new("avg_pool_3x3", from, from).with_stride(2)),
    };
    vec![
        NodeDesc::new([EdgeDesc::new(1, halve)]),
        NodeDesc::new([EdgeDesc::new(1, pool)]),
        NodeDesc::new([
            EdgeDesc::new(2, OpDesc::new("nor_conv_3x3", to, to)),
            EdgeDesc::new(3, keep(OpDesc::new("conv_1x1", from, to))),
        ]),
    ]
}

impl ModelDescBuilder for NasBench201Builder {
    fn template_cell<'a>(
        &self,
        model: &'a ModelPlan<'_>,
        index: usize,
    ) -> Result<Option<&'a CellDesc>, DescError> {
        if model.cell_type(index) == CellType::Reduction {
            return Ok(None);
        }
        let cell = model.template_cell(index)?;
        if let Some(cell) = cell {
            Cell201::from_cell(cell).map_err(|e| e.at("template"))?;
        }
        Ok(cell)
    }
    fn cell_stems(
        &self,
        _model: &ModelPlan<'_>,
        _index: usize,
        inputs: &[Shape],
    ) -> Result<Vec<OpDesc>, DescError> {
        Ok(plain_stems(inputs))
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let c = cell.channels;
        if cell.cell_type == CellType::Reduction {
            return Ok(residual(cell.inputs[1], c));
        }
        // The pools are bare: the benchmark's searches have no norm behind them.
        let mixed = || {
            let children = PRIMITIVES_201.map(|name| OpDesc::new(name, c, c));
            OpDesc::new("mixed_op", c, c).with_children(children)
        };
        let node = |n| NodeDesc::new((1..n + 2).map(|from| EdgeDesc::new(from, mixed())));
        Ok((0..NODES - 1).map(node).collect())
    }
    fn cell_concat(&self, _cell: &CellPlan<'_>, n_nodes: usize) -> Vec<usize> {
        vec![n_nodes + 1]
    }
}

/// The space's networks with one cell everywhere.
struct FixedCell(Cell201);

impl ModelDescBuilder for FixedCell {
    fn cell_stems(
        &self,
        _model: &ModelPlan<'_>,
        _index: usize,
        inputs: &[Shape],
    ) -> Result<Vec<OpDesc>, DescError> {
        Ok(plain_stems(inputs))
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        match cell.cell_type {
            CellType::Reduction => NasBench201Builder.nodes(cell),
            CellType::Regular => Ok(self.0.nodes(cell.channels)),
        }
    }
    fn cell_concat(&self, cell: &CellPlan<'_>, n_nodes: usize) -> Vec<usize> {
        NasBench201Builder.cell_concat(cell, n_nodes)
    }
}
