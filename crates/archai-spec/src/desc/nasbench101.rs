//! NAS-Bench-101 (Ying et al. 2019): its cells as graphs, when two of them are equal, and its networks as descriptions.
//!
//! A cell is a directed graph of at most seven vertices and nine edges with an op on every inner vertex. As a
//! [`CellDesc`], the graph's input is state 1 (state 0 is not read).

use std::str::FromStr;

use super::literal::{Entry, Fault, Literal, Reader, Value};
use super::{
    CellDesc, CellPlan, CellType, DescError, DescErrorKind, EdgeDesc, ModelDesc, ModelDescBuilder,
    ModelPlan, NodeDesc, OpDesc, Shape,
};

/// Most vertices of a cell, its input and output counted.
pub const MAX_VERTICES: usize = 7;
/// Most edges of a cell.
pub const MAX_EDGES: usize = 9;

/// Largest matrix that is looked at before it is pruned; larger ones are typing errors.
const MAX_MATRIX: usize = 64;
/// Draws after which a random source is taken for broken; about one draw in five is a valid cell.
const MAX_DRAWS: usize = 10_000;

/// The op of an inner vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op101 {
    /// 1×1 convolution, norm, ReLU.
    Conv1x1,
    /// 3×3 convolution, norm, ReLU.
    Conv3x3,
    /// 3×3 max pool of stride 1.
    MaxPool3x3,
}

impl Op101 {
    /// All ops.
    pub const ALL: [Op101; 3] = [Op101::Conv1x1, Op101::Conv3x3, Op101::MaxPool3x3];
    /// Name in the benchmark.
    pub fn name(self) -> &'static str {
        match self {
            Op101::Conv1x1 => "conv1x1-bn-relu",
            Op101::Conv3x3 => "conv3x3-bn-relu",
            Op101::MaxPool3x3 => "maxpool3x3",
        }
    }
    /// Name in descriptions.
    fn op(self) -> &'static str {
        match self {
            Op101::Conv1x1 => "convbnrelu_1x1",
            Op101::Conv3x3 => "convbnrelu_3x3",
            Op101::MaxPool3x3 => "max_pool_3x3",
        }
    }
}

/// A cell of the benchmark, without superfluous vertices.
///
/// ```
/// use archai_spec::desc::nasbench101::Cell101;
/// // The second vertex leads nowhere: it is left out.
/// let matrix = vec![vec![0, 1, 1, 0], vec![0, 0, 0, 1], vec![0, 0, 0, 0], vec![0, 0, 0, 0]];
/// let cell = Cell101::new(&matrix, &["input", "conv3x3-bn-relu", "maxpool3x3", "output"]).unwrap();
/// assert_eq!((cell.n_vertices(), cell.n_edges()), (3, 2));
/// assert_eq!(cell.op_names(), ["input", "conv3x3-bn-relu", "output"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell101 {
    /// `matrix[i][j]`: an edge from vertex i to vertex j > i.
    matrix: Vec<Vec<bool>>,
    /// Ops of vertices 1 to n−2.
    ops: Vec<Op101>,
}

fn error(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Cell, message)
}

impl Cell101 {
    /// A cell from the benchmark's notation: a matrix of zeros and ones, and the ops `input`, …, `output`. Vertices that lie
    /// on no path from the input to the output are left out; the limits hold for what remains.
    ///
    /// # Errors
    /// A matrix that is not square, not strictly upper-triangular or has other numbers; unknown ops, or as many as do not fit;
    /// no path from the input to the output; too many vertices or edges.
    pub fn new<S: AsRef<str>>(matrix: &[Vec<u8>], ops: &[S]) -> Result<Cell101, DescError> {
        let n = matrix.len();
        if !(2..=MAX_MATRIX).contains(&n) {
            return Err(error(format!(
                "the matrix has {n} rows; a cell has 2 to {MAX_VERTICES} vertices"
            )));
        }
        if ops.len() != n {
            return Err(error(format!(
                "there are {} ops for the {n} vertices of the matrix; name one per vertex, from `input` to `output`",
                ops.len()
            )));
        }
        let mut edges = Vec::with_capacity(n);
        for (i, row) in matrix.iter().enumerate() {
            if row.len() != n {
                return Err(error(format!(
                    "row {i} of the matrix has {} entries; expected {n}",
                    row.len()
                )));
            }
            for (j, &entry) in row.iter().enumerate() {
                if entry > 1 || entry == 1 && j <= i {
                    return Err(error(format!(
                        "entry {entry} at row {i}, column {j} of the matrix; expected 0, or 1 above the diagonal"
                    )));
                }
            }
            edges.push(row.iter().map(|&entry| entry == 1).collect());
        }
        let mut inner = Vec::with_capacity(n - 2);
        for (i, name) in ops.iter().enumerate() {
            let name = name.as_ref();
            let known = Op101::ALL.into_iter().find(|op| op.name() == name);
            match known {
                Some(op) if i > 0 && i < n - 1 => inner.push(op),
                None if i == 0 && name == "input" || i == n - 1 && name == "output" => {}
                _ => {
                    return Err(error(format!(
                        "op {i} is `{name}`; expected `input` first, `output` last and {} between",
                        Op101::ALL.map(Op101::name).join(", ")
                    )));
                }
            }
        }
        Cell101::pruned(&edges, &inner)
    }

    fn pruned(matrix: &[Vec<bool>], ops: &[Op101]) -> Result<Cell101, DescError> {
        let n = matrix.len();
        let mut from_input = vec![false; n];
        let mut to_output = vec![false; n];
        from_input[0] = true;
        to_output[n - 1] = true;
        for i in 0..n {
            for j in i + 1..n {
                from_input[j] |= from_input[i] && matrix[i][j];
            }
        }
        for i in (0..n).rev() {
            for j in i + 1..n {
                to_output[i] |= to_output[j] && matrix[i][j];
            }
        }
        if !from_input[n - 1] {
            return Err(error("no path leads from the input to the output"));
        }
        let kept: Vec<usize> = (0..n).filter(|&i| from_input[i] && to_output[i]).collect();
        let pick = |i: usize| kept.iter().map(|&j| matrix[i][j]).collect();
        let cell = Cell101 {
            matrix: kept.iter().map(|&i| pick(i)).collect(),
            ops: kept[1..kept.len() - 1]
                .iter()
                .map(|&i| ops[i - 1])
                .collect(),
        };
        if cell.n_vertices() > MAX_VERTICES || cell.n_edges() > MAX_EDGES {
            return Err(error(format!(
                "the cell has {} vertices and {} edges that matter; NAS-Bench-101 has at most {MAX_VERTICES} and {MAX_EDGES}",
                cell.n_vertices(),
                cell.n_edges()
            )));
        }
        Ok(cell)
    }

    /// A random cell as the benchmark's own random search draws it: each of the 21 edges with probability ½ and each op with
    /// probability ⅓, again until the cell is valid. `below(n)` gives a uniform number from 0 to n−1.
    ///
    /// # Errors
    /// The source gave no valid cell in ten thousand draws: it is not random.
    pub fn random(mut below: impl FnMut(u32) -> u32) -> Result<Cell101, DescError> {
        let n = MAX_VERTICES;
        for _ in 0..MAX_DRAWS {
            let mut matrix = vec![vec![false; n]; n];
            for (i, row) in matrix.iter_mut().enumerate() {
                for edge in row.iter_mut().skip(i + 1) {
                    *edge = below(2) == 1;
                }
            }
            let ops: Vec<Op101> = (2..n)
                .map(|_| Op101::ALL[below(3) as usize % Op101::ALL.len()])
                .collect();
            if let Ok(cell) = Cell101::pruned(&matrix, &ops) {
                return Ok(cell);
            }
        }
        Err(error(format!(
            "the random source gave no valid cell in {MAX_DRAWS} draws; it is not uniform"
        )))
    }

    /// Vertices, input and output counted.
    pub fn n_vertices(&self) -> usize {
        self.matrix.len()
    }
    /// Edges.
    pub fn n_edges(&self) -> usize {
        self.matrix.iter().flatten().filter(|&&edge| edge).count()
    }
    /// Whether an edge leads from one vertex to another.
    pub fn has_edge(&self, from: usize, to: usize) -> bool {
        self.matrix
            .get(from)
            .and_then(|row| row.get(to))
            .is_some_and(|&edge| edge)
    }
    /// The matrix in the benchmark's notation.
    pub fn matrix(&self) -> Vec<Vec<u8>> {
        let row = |row: &Vec<bool>| row.iter().map(|&edge| u8::from(edge)).collect();
        self.matrix.iter().map(row).collect()
    }
    /// Ops of the inner vertices.
    pub fn ops(&self) -> &[Op101] {
        &self.ops
    }
    /// Ops in the benchmark's notation, from `input` to `output`.
    pub fn op_names(&self) -> Vec<&'static str> {
        let inner = self.ops.iter().map(|op| op.name());
        std::iter::once("input")
            .chain(inner)
            .chain(["output"])
            .collect()
    }

    /// A text that isomorphic cells share: vertices start from the hash of (edges out, edges in, op) and take in the sorted
    /// hashes of their neighbours once per vertex (Ying et al. 2019, §2.3, after Weisfeiler and Lehman). The hash is
    /// BLAKE3, so the text differs from the benchmark's MD5.
    pub fn fingerprint(&self) -> String {
        let n = self.n_vertices();
        let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
        let names = self.op_names();
        let mut hashes: Vec<String> = (0..n)
            .map(|v| {
                let out = self.matrix[v].iter().filter(|&&edge| edge).count();
                let into = (0..n).filter(|&u| self.matrix[u][v]).count();
                hash(&format!("{out} {into} {}", names[v]))
            })
            .collect();
        for _ in 0..n {
            let joined = |keep: &dyn Fn(usize) -> bool| {
                let mut some: Vec<&str> = (0..n)
                    .filter(|&u| keep(u))
                    .map(|u| hashes[u].as_str())
                    .collect();
                some.sort_unstable();
                some.concat()
            };
            hashes = (0..n)
                .map(|v| {
                    let before = joined(&|u| self.matrix[u][v]);
                    let after = joined(&|u| self.matrix[v][u]);
                    hash(&format!("{before}|{after}|{}", hashes[v]))
                })
                .collect();
        }
        hashes.sort_unstable();
        hash(&hashes.concat())
    }

    /// Channels of every vertex. The vertices that lead to the output share its channels, the first ones taking what does
    /// not divide; every other vertex has as many as the widest that it leads to.
    pub fn vertex_channels(&self, input: usize, output: usize) -> Vec<usize> {
        let n = self.n_vertices();
        let mut channels = vec![0; n];
        (channels[0], channels[n - 1]) = (input, output);
        let last: Vec<usize> = (1..n - 1).filter(|&v| self.matrix[v][n - 1]).collect();
        for (i, &v) in last.iter().enumerate() {
            channels[v] = output / last.len() + usize::from(i < output % last.len());
        }
        for v in (1..n - 1).rev() {
            if !self.matrix[v][n - 1] {
                let next = (v + 1..n - 1).filter(|&u| self.matrix[v][u]);
                channels[v] = next.map(|u| channels[u]).max().unwrap_or(0);
            }
        }
        channels
    }

    /// The cell's nodes for a description, and the state that is its output. An edge from the input goes through a 1×1
    /// convolution, norm and ReLU; other edges drop the channels that their target does not have; a vertex adds what
    /// comes in and applies its op. The output joins its vertices and adds the projected input, if that leads to it.
    ///
    /// # Errors
    /// Fewer channels than vertices that share them.
    pub fn nodes(&self, input: usize, output: usize) -> Result<(Vec<NodeDesc>, usize), DescError> {
        let n = self.n_vertices();
        let channels = self.vertex_channels(input, output);
        if channels.contains(&0) {
            return Err(error(format!(
                "{output} channels cannot be shared among the vertices that lead to the output; use more channels"
            )));
        }
        let mut nodes: Vec<NodeDesc> = Vec::new();
        let mut push = |edges: Vec<EdgeDesc>| {
            nodes.push(NodeDesc::new(edges));
            nodes.len() + 1
        };
        let project = |to: usize| EdgeDesc::new(1, OpDesc::new("convbnrelu_1x1", input, to));
        let mut states = vec![1];
        for v in 1..n - 1 {
            let c = channels[v];
            let sources: Vec<usize> = (1..v).filter(|&u| self.matrix[u][v]).collect();
            let state = match sources.as_slice() {
                &[u] if !self.matrix[0][v] && channels[u] == c => states[u],
                _ => {
                    let fit = |&u: &usize| {
                        EdgeDesc::new(states[u], OpDesc::new("fit_channels", channels[u], c))
                    };
                    let mut edges: Vec<EdgeDesc> = sources.iter().map(fit).collect();
                    edges.extend(self.matrix[0][v].then(|| project(c)));
                    push(edges)
                }
            };
            let op = OpDesc::new(self.ops[v - 1].op(), c, c);
            states.push(push(vec![EdgeDesc::new(state, op)]));
        }
        let last: Vec<usize> = (1..n - 1)
            .filter(|&v| self.matrix[v][n - 1])
            .map(|v| states[v])
            .collect();
        let out = match (last.as_slice(), self.matrix[0][n - 1]) {
            (&[state], false) => state,
            (last, also_input) => {
                let mut edges = Vec::new();
                if !last.is_empty() {
                    edges.push(EdgeDesc {
                        inputs: last.to_vec(),
                        op: OpDesc::new("concat_states", output, output),
                    });
                }
                edges.extend(also_input.then(|| project(output)));
                push(edges)
            }
        };
        Ok((nodes, out))
    }

    /// The cell of a network of this space: that of all its cells, reductions too.
    ///
    /// # Errors
    /// Says that the description has no such cell, or which one is another.
    pub fn from_desc(desc: &ModelDesc) -> Result<Cell101, DescError> {
        let cell = desc
            .first_cell(CellType::Regular)
            .ok_or_else(|| error("there is no regular cell to read a NAS-Bench-101 cell from"))?;
        let first = Cell101::from_cell(cell)?;
        for (i, other) in desc.cells.iter().enumerate() {
            if Cell101::from_cell(other).map_err(|e| e.at(format!("cell {i}")))? != first {
                return Err(error(
                    "is another cell than the first regular one; all must be the same",
                )
                .at(format!("cell {i}")));
            }
        }
        Ok(first)
    }
    /// As [`Cell101::from_desc`], of one cell.
    ///
    /// # Errors
    /// It is not a cell as [`Cell101::nodes`] gives it.
    pub fn from_cell(cell: &CellDesc) -> Result<Cell101, DescError> {
        read(cell).ok_or_else(|| {
            error("the cell is not one of NAS-Bench-101 as this program writes them")
        })
    }
}

/// What the benchmark says about a cell beside its graph; it is ignored.
const METRICS: [&str; 8] = [
    "epochs",
    "hash",
    "module_hash",
    "trainable_parameters",
    "training_time",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
];
/// The names that the benchmark's examples give to ops.
const CONSTANTS: [(&str, &str); 5] = [
    ("INPUT", "input"),
    ("OUTPUT", "output"),
    ("CONV1X1", "conv1x1-bn-relu"),
    ("CONV3X3", "conv3x3-bn-relu"),
    ("MAXPOOL3X3", "maxpool3x3"),
];
const FORM: &str =
    "a NAS-Bench-101 cell reads {\"matrix\": [[0, 1], [0, 0]], \"ops\": [\"input\", \"output\"]}";

/// Matrix and ops as far as they have been read.
#[derive(Default)]
struct Parts<'a> {
    matrix: Option<Literal<'a>>,
    ops: Option<Literal<'a>>,
}

impl<'a> Parts<'a> {
    fn set(&mut self, at: usize, key: &str, value: Literal<'a>) -> Result<(), Fault> {
        let place = match key {
            "matrix" | "module_adjacency" => &mut self.matrix,
            "ops" | "module_operations" => &mut self.ops,
            // Definitions as `CONV1X1 = 'conv1x1-bn-relu'` say what is known.
            _ if CONSTANTS
                .iter()
                .any(|c| (c.0, Some(c.1)) == (key, value.text())) =>
            {
                return Ok(());
            }
            _ if METRICS.contains(&key) => return Ok(()),
            // `cell = ModelSpec(…)`
            _ if matches!(value.value, Value::Dict(_) | Value::Call(..)) => {
                return self.take(value);
            }
            _ => {
                let key: String = key.chars().take(40).collect();
                let message = format!("unknown key `{key}`; expected `matrix` and `ops`");
                return Err(Fault::new(at, message));
            }
        };
        match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(Fault::new(at, format!("`{key}` comes a second time"))),
        }
    }
    /// A value that holds both.
    fn take(&mut self, value: Literal<'a>) -> Result<(), Fault> {
        match value.value {
            Value::Dict(entries) | Value::Call(_, entries) => {
                for (i, Entry { at, key, value }) in entries.into_iter().enumerate() {
                    let key = key.or(["matrix", "ops"].get(i).copied()).unwrap_or("");
                    if matches!(value.value, Value::Dict(_) | Value::Call(..))
                        && value.items().is_none()
                    {
                        let message = format!("`{key}` is no list");
                        return Err(Fault::new(at, message));
                    }
                    self.set(at, key, value)?;
                }
                Ok(())
            }
            Value::List(items) if items.len() == 2 => {
                for (key, item) in ["matrix", "ops"].into_iter().zip(items) {
                    self.set(item.at, key, item)?;
                }
                Ok(())
            }
            Value::List(_) | Value::Text(_) | Value::Word(_) => {
                Err(Fault::new(value.at, "expected a matrix and its ops"))
            }
        }
    }
}

fn read_text(text: &str) -> Result<Cell101, Fault> {
    let mut reader = Reader::new(text, 0);
    let mut parts = Parts::default();
    loop {
        reader.skip();
        if reader.rest().is_empty() {
            break;
        }
        let at = reader.pos;
        let mut ahead = reader.clone();
        let key = ahead.word();
        if !key.is_empty() && (ahead.eat('=') || ahead.eat(':')) {
            reader.pos = ahead.pos;
            let value = reader.value()?;
            parts.set(at, key, value)?;
        } else {
            let value = reader.value()?;
            parts.take(value)?;
        }
        // YAML's and Python's statements end with the line, JSON's and Python's entries with a comma.
        reader.eat(',');
    }
    let missing = |name: &str| Fault::new(text.len(), format!("there is no `{name}`"));
    let matrix = parts.matrix.ok_or_else(|| missing("matrix"))?;
    let ops = parts.ops.ok_or_else(|| missing("ops"))?;
    let rows = matrix
        .items()
        .ok_or_else(|| reader.fault_at(matrix.at, "a list of rows"))?;
    let row = |row: &Literal<'_>| -> Result<Vec<u8>, Fault> {
        let entries = row
            .items()
            .ok_or_else(|| reader.fault_at(row.at, "a row `[0, 1, …]` of the matrix"))?;
        let entry = |entry: &Literal<'_>| match entry.value {
            Value::Word("0" | "0." | "0.0" | "False" | "false") => Ok(0),
            Value::Word("1" | "1." | "1.0" | "True" | "true") => Ok(1),
            _ => Err(reader.fault_at(entry.at, "0 or 1")),
        };
        entries.iter().map(entry).collect()
    };
    let rows: Vec<Vec<u8>> = rows.iter().map(row).collect::<Result<_, Fault>>()?;
    let ops_list = ops
        .items()
        .ok_or_else(|| reader.fault_at(ops.at, "a list of ops"))?;
    let mut names = Vec::with_capacity(ops_list.len());
    for op in ops_list {
        let name = op
            .text()
            .ok_or_else(|| reader.fault_at(op.at, "the name of an op"))?;
        let constant = CONSTANTS.iter().find(|c| c.0 == name);
        names.push(constant.map_or(name, |c| c.1));
    }
    Cell101::new(&rows, &names).map_err(|e| Fault::new(matrix.at, e.message))
}

/// Reads a matrix and its ops: JSON, a Python dictionary, `ModelSpec(matrix=…, ops=…)`, two assignments, two keys of YAML, or
/// the pair `(matrix, ops)`. Keys are `matrix` and `ops`, or the benchmark's `module_adjacency` and `module_operations`.
///
/// ```
/// use archai_spec::desc::nasbench101::Cell101;
/// let text = "ModelSpec(matrix=[[0, 1, 0], [0, 0, 1], [0, 0, 0]], ops=[INPUT, CONV3X3, OUTPUT])";
/// let cell: Cell101 = text.parse().unwrap();
/// assert_eq!(cell.op_names(), ["input", "conv3x3-bn-relu", "output"]);
/// ```
impl FromStr for Cell101 {
    type Err = DescError;
    fn from_str(text: &str) -> Result<Self, DescError> {
        read_text(text).map_err(|fault| {
            let message = format!("{}; {FORM}", fault.message);
            Fault { message, ..fault }.of(text, DescErrorKind::Cell)
        })
    }
}

/// The graph of a cell; it is built again and compared, so nothing has to be checked on the way.
fn read(cell: &CellDesc) -> Option<Cell101> {
    let &[out] = cell.concat.as_slice() else {
        return None;
    };
    // Vertices so far, and for each state the vertices that it adds up (or is).
    let mut ops = Vec::new();
    let mut matrix_in: Vec<Vec<usize>> = vec![Vec::new()];
    let mut sums: Vec<Option<Vec<usize>>> = vec![None, Some(vec![0])];
    let vertex_of = |sums: &[Option<Vec<usize>>], state: usize| -> Option<Vec<usize>> {
        sums.get(state).cloned().flatten()
    };
    for node in &cell.nodes {
        let is_vertex = match node.edges.as_slice() {
            [edge] if edge.inputs != [1] => Op101::ALL
                .into_iter()
                .find(|op| op.op() == edge.op.name)
                .map(|op| (op, edge.inputs.as_slice())),
            _ => None,
        };
        if let Some((op, &[state])) = is_vertex {
            matrix_in.push(vertex_of(&sums, state)?);
            ops.push(op);
            sums.push(Some(vec![matrix_in.len() - 1]));
        } else {
            let mut vertices = Vec::new();
            for state in node.edges.iter().flat_map(|e| &e.inputs) {
                vertices.extend(vertex_of(&sums, *state)?);
            }
            sums.push(Some(vertices));
        }
    }
    matrix_in.push(vertex_of(&sums, out)?);
    let n = matrix_in.len();
    let mut matrix = vec![vec![false; n]; n];
    for (to, sources) in matrix_in.iter().enumerate() {
        for &from in sources {
            matrix[from][to] = true;
        }
    }
    let found = Cell101::pruned(&matrix, &ops).ok()?;
    let (nodes, state) = found
        .nodes(cell.stems.get(1)?.ch_out, cell.post_op.ch_out)
        .ok()?;
    (nodes == cell.nodes && state == out).then_some(found)
}

/// The benchmark's network around a cell. The rest comes from the settings: a stem `stem_conv3x3Relu` with 128 channels,
/// nine cells with two reductions, the global mean. A reduction is the first cell of a stack: it max-pools its input
/// 2×2 and has twice the channels.
///
/// With a template, the template's cell stands in place of the builder's.
#[derive(Clone, Debug)]
pub struct NasBench101Builder {
    /// The cell; none builds from templates alone.
    pub cell: Option<Cell101>,
}

impl NasBench101Builder {
    fn made(&self, plan: &CellPlan<'_>) -> Result<(Vec<NodeDesc>, usize), DescError> {
        let (input, output) = (plan.inputs[1].channels, plan.channels);
        match plan.model.template {
            Some(template) => Cell101::from_desc(template)
                .map_err(|e| e.at("template"))?
                .nodes(input, output),
            None => match &self.cell {
                Some(cell) => cell.nodes(input, output),
                None => Err(error(
                    "no cell is named and there is no template to take one from",
                )),
            },
        }
    }
}

impl ModelDescBuilder for NasBench101Builder {
    fn template_cell<'a>(
        &self,
        _model: &'a ModelPlan<'_>,
        _index: usize,
    ) -> Result<Option<&'a CellDesc>, DescError> {
        Ok(None)
    }
    fn cell_stems(
        &self,
        model: &ModelPlan<'_>,
        index: usize,
        inputs: &[Shape],
    ) -> Result<Vec<OpDesc>, DescError> {
        let stem = |name: &str, input: Shape| OpDesc::new(name, input.channels, input.channels);
        let second = match model.cell_type(index) {
            CellType::Regular => "identity",
            CellType::Reduction => "max_pool_2x2",
        };
        // The last input is the one that the cell reads; what comes before it passes as it is.
        let n = inputs.len();
        let names = (1..=n).map(|i| if i == n { second } else { "identity" });
        Ok(names
            .zip(inputs)
            .map(|(name, input)| stem(name, *input))
            .collect())
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        Ok(self.made(cell)?.0)
    }
    fn cell_concat(&self, cell: &CellPlan<'_>, n_nodes: usize) -> Vec<usize> {
        // `nodes` was made from the same cell just before, so there is one.
        let out = self.made(cell).map_or(n_nodes + 1, |(_, out)| out);
        vec![out]
    }
    fn notes(&self, model: &ModelPlan<'_>, _desc: &ModelDesc) -> Vec<String> {
        vec![format!(
            "the nodes of a NAS-Bench-101 cell follow from its graph; the settings' `cell.n_nodes: {}` is not used",
            model.settings.cell.n_nodes
        )]
    }
}
