//! From a member to its network: a [`ModelDesc`] that is trained like any other.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use archai_spec::desc::{
    CellDesc, CellType, Cost, EdgeDesc, FORMAT_VERSION, ModelDesc, NodeDesc, OpCatalog, OpDesc,
    Shape, StemDesc, StemInput,
};

use super::SpaceError;
use super::desc::{DagOutput, Lit, Pos};
use super::ops::{self, Block};
use super::tree::{CellStack, EdgeOp, Graph, Item, Kind, Seq, Tree, Val};

/// A block on a shape: what its nodes give, and what it costs.
#[derive(Debug)]
pub(crate) struct Measured {
    pub block: Block,
    pub shapes: Vec<Shape>,
    pub out: Shape,
    pub cost: Cost,
}

type Found = Result<Arc<Measured>, String>;

/// Most blocks that are remembered: what a space has of different ones is far less.
const MAX_REMEMBERED: usize = 200_000;

/// What blocks come to, each computed once.
#[derive(Debug)]
pub(crate) struct Measures {
    pub catalog: OpCatalog,
    known: RwLock<HashMap<String, Found>>,
}

impl Measures {
    pub(crate) fn new(catalog: OpCatalog) -> Self {
        Measures {
            catalog,
            known: RwLock::new(HashMap::new()),
        }
    }

    /// An op with its arguments on an input.
    pub(crate) fn block(&self, op: &str, args: &[(String, Lit)], input: Shape) -> Found {
        use std::fmt::Write;
        let mut key = format!(
            "{op} {} {} {} {}",
            input.channels, input.height, input.width, input.scale
        );
        for (name, value) in args {
            // Writing into a text does not fail.
            let _ = write!(key, " {name}={value}");
        }
        if let Ok(known) = self.known.read()
            && let Some(found) = known.get(&key)
        {
            return found.clone();
        }
        let found = self.measure(op, args, input).map(Arc::new);
        if let Ok(mut known) = self.known.write()
            && known.len() < MAX_REMEMBERED
        {
            known.insert(key, found.clone());
        }
        found
    }

    fn measure(&self, op: &str, args: &[(String, Lit)], input: Shape) -> Result<Measured, String> {
        let block = ops::build(op, args, input, &self.catalog)?;
        let mut states = vec![input];
        let mut total = Cost::default();
        for node in &block.nodes {
            let mut out: Option<Shape> = None;
            for (from, op) in node {
                let (shape, cost) = self.op(op, &[states[*from]])?;
                total += cost;
                if let Some(first) = out.filter(|first| *first != shape) {
                    return Err(sum_error(first, shape));
                }
                out = Some(shape);
            }
            states.push(out.unwrap_or(input));
        }
        Ok(Measured {
            block,
            out: states.last().copied().unwrap_or(input),
            shapes: states.split_off(1),
            cost: total,
        })
    }

    /// An op of the catalogue.
    pub(crate) fn op(&self, op: &OpDesc, inputs: &[Shape]) -> Result<(Shape, Cost), String> {
        let measured =
            (self.catalog.check(op)).and_then(|()| self.catalog.measure(op, inputs, true));
        measured.map_err(|e| e.message)
    }
}

fn sum_error(a: Shape, b: Shape) -> String {
    format!("the parts of a sum are {a} and {b}; a sum needs equal shapes")
}

/// A cell in the making.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    nodes: Vec<NodeDesc>,
    pub shapes: Vec<Shape>,
    inputs: usize,
    pub cost: Cost,
    /// Whether nodes are written down; shapes and costs follow without them.
    written: bool,
}

impl Cell {
    pub(crate) fn new(inputs: &[Shape]) -> Cell {
        Cell {
            nodes: Vec::new(),
            shapes: inputs.to_vec(),
            inputs: inputs.len(),
            cost: Cost::default(),
            written: true,
        }
    }

    /// A cell of which shapes and cost alone are wanted.
    pub(crate) fn counted(inputs: &[Shape]) -> Cell {
        Cell {
            written: false,
            ..Cell::new(inputs)
        }
    }

    fn node(&mut self, edges: Vec<EdgeDesc>, shape: Shape) -> usize {
        if self.written {
            self.nodes.push(NodeDesc { edges });
        }
        self.shapes.push(shape);
        self.shapes.len() - 1
    }

    /// Adds states up. The last node takes the others in, where it is one of them.
    fn sum(&mut self, states: &[usize]) -> Result<usize, String> {
        let shape = self.shapes[states[0]];
        if let Some(other) = states.iter().find(|&&s| self.shapes[s] != shape) {
            return Err(sum_error(shape, self.shapes[*other]));
        }
        let identity = |&state: &usize| {
            EdgeDesc::new(
                state,
                OpDesc::new("identity", shape.channels, shape.channels),
            )
        };
        if !self.written {
            return Ok(self.node(Vec::new(), shape));
        }
        let last = self.shapes.len() - 1;
        let own = states.iter().filter(|&&state| state == last).count() == 1;
        if own
            && let Some(node) = last
                .checked_sub(self.inputs)
                .and_then(|n| self.nodes.get_mut(n))
        {
            let others = states.iter().filter(|&&state| state != last);
            node.edges.extend(others.map(identity));
            return Ok(last);
        }
        let edges = states.iter().map(identity).collect();
        Ok(self.node(edges, shape))
    }
}

/// What a part of a network may be that cannot be built.
#[derive(Clone, Debug)]
pub(crate) struct Unfit {
    pub pos: Pos,
    pub message: String,
}

impl From<Unfit> for SpaceError {
    fn from(unfit: Unfit) -> Self {
        SpaceError::at(&unfit.pos, unfit.message)
    }
}

fn unfit(pos: &Pos) -> impl Fn(String) -> Unfit + '_ {
    move |message| Unfit {
        pos: pos.clone(),
        message,
    }
}

/// Makes networks of choices.
pub(crate) struct Compiler<'a> {
    pub tree: &'a Tree,
    pub measures: &'a Measures,
}

/// Values of arguments under choices.
pub(crate) fn resolve(
    args: &[(String, Val)],
    choices: &[u16],
    pos: &Pos,
) -> Result<Vec<(String, Lit)>, Unfit> {
    let value = |(name, value): &(String, Val)| {
        let value = value.value(choices).map_err(|e| unfit(pos)(e.message))?;
        Ok((name.clone(), value))
    };
    args.iter().map(value).collect()
}

impl Compiler<'_> {
    /// Layers one after the other, from a state.
    pub(crate) fn seq(
        &self,
        seq: &Seq,
        choices: &[u16],
        cell: &mut Cell,
        mut state: usize,
    ) -> Result<usize, Unfit> {
        for item in seq {
            state = self.item(item, choices, cell, state)?;
        }
        Ok(state)
    }

    pub(crate) fn item(
        &self,
        item: &Item,
        choices: &[u16],
        cell: &mut Cell,
        state: usize,
    ) -> Result<usize, Unfit> {
        let at = unfit(&item.pos);
        let shape = cell.shapes[state];
        match &item.kind {
            Kind::Op(op, args) => {
                let args = resolve(args, choices, &item.pos)?;
                self.op(op, &args, &item.pos, cell, state)
            }
            Kind::OneOf(slot, options) => {
                let chosen = options.get(usize::from(choices[*slot]));
                let chosen = chosen.ok_or_else(|| at("a choice is not made".to_owned()))?;
                self.seq(chosen, choices, cell, state)
            }
            Kind::Repeat(times, bodies) => {
                let n = times.times(choices, &item.pos).map_err(|e| at(e.message))?;
                let mut state = state;
                for body in bodies.iter().take(n) {
                    state = self.seq(body, choices, cell, state)?;
                }
                Ok(state)
            }
            Kind::Scope(scope) => self.seq(&scope.body, choices, cell, state),
            Kind::Use(fragment) => self.seq(&self.tree.fragments[*fragment], choices, cell, state),
            Kind::Residual(seq) => {
                let branch = self.seq(seq, choices, cell, state)?;
                let out = cell.shapes[branch];
                if out != shape {
                    return Err(at(format!(
                        "the branch turns {shape} into {out}; a sum needs equal shapes: leave out `out`, or put `fit` at the end"
                    )));
                }
                cell.sum(&[branch, state]).map_err(at)
            }
            Kind::Branches(add, all) => {
                let mut states = Vec::new();
                for seq in all {
                    states.push(self.seq(seq, choices, cell, state)?);
                }
                match add {
                    true => cell.sum(&states).map_err(at),
                    false => self.concat(&states, cell).map_err(at),
                }
            }
            Kind::Dag(graph) => {
                let states = self.graph(graph, choices, &item.pos, cell, &[state], false)?;
                self.output(graph, &states, choices, cell).map_err(at)
            }
            Kind::Cells(_) => Err(at(
                "`cells` stand in the network itself, not inside of other layers".to_owned(),
            )),
        }
    }

    fn op(
        &self,
        op: &str,
        args: &[(String, Lit)],
        pos: &Pos,
        cell: &mut Cell,
        state: usize,
    ) -> Result<usize, Unfit> {
        let found = self.measures.block(op, args, cell.shapes[state]);
        let measured = found.map_err(unfit(pos))?;
        cell.cost += measured.cost;
        let base = cell.shapes.len();
        let place = |local: usize| match local {
            0 => state,
            n => base + n - 1,
        };
        if !cell.written {
            cell.shapes.extend(&measured.shapes);
            return Ok(place(measured.block.nodes.len()));
        }
        for (node, shape) in measured.block.nodes.iter().zip(&measured.shapes) {
            let edges = node
                .iter()
                .map(|(from, op)| EdgeDesc::new(place(*from), op.clone()));
            cell.node(edges.collect(), *shape);
        }
        Ok(place(measured.block.nodes.len()))
    }

    /// States joined along their channels.
    fn concat(&self, states: &[usize], cell: &mut Cell) -> Result<usize, String> {
        if let [only] = states {
            return Ok(*only);
        }
        let shapes: Vec<Shape> = states.iter().map(|&state| cell.shapes[state]).collect();
        let channels = shapes
            .iter()
            .map(|s| s.channels)
            .fold(0, usize::saturating_add);
        let op = OpDesc::new("concat_states", channels, channels);
        let (out, cost) = self.measures.op(&op, &shapes)?;
        cell.cost += cost;
        let edge = EdgeDesc {
            inputs: states.to_vec(),
            op,
        };
        Ok(cell.node(vec![edge], out))
    }

    /// One edge of a graph, as a term of a sum: the state that it reads and the op on it.
    pub(crate) fn term(
        &self,
        op: &EdgeOp,
        choices: &[u16],
        pos: &Pos,
        cell: &mut Cell,
        state: usize,
        stride: bool,
    ) -> Result<(usize, OpDesc, Shape), Unfit> {
        let seq = (op.chosen(choices))
            .ok_or_else(|| unfit(pos)("a choice of an edge is not made".to_owned()))?;
        let mut state = state;
        for (i, item) in seq.iter().enumerate() {
            let Kind::Op(name, args) = &item.kind else {
                state = self.item(item, choices, cell, state)?;
                continue;
            };
            let mut args = resolve(args, choices, &item.pos)?;
            if i == 0 && stride {
                args.push(("stride".to_owned(), Lit::Int(2)));
            }
            if i + 1 == seq.len() {
                let found = self.measures.block(name, &args, cell.shapes[state]);
                let measured = found.map_err(unfit(&item.pos))?;
                if let [node] = measured.block.nodes.as_slice()
                    && let [(0, op)] = node.as_slice()
                {
                    cell.cost += measured.cost;
                    return Ok((state, op.clone(), measured.out));
                }
            }
            state = self.op(name, &args, &item.pos, cell, state)?;
        }
        let shape = cell.shapes[state];
        let identity = OpDesc::new("identity", shape.channels, shape.channels);
        Ok((state, identity, shape))
    }

    /// The states of a graph: its inputs, then its nodes. `reduces`: edges from inputs halve height and width.
    fn graph(
        &self,
        graph: &Graph,
        choices: &[u16],
        pos: &Pos,
        cell: &mut Cell,
        inputs: &[usize],
        reduces: bool,
    ) -> Result<Vec<usize>, Unfit> {
        let mut states = inputs.to_vec();
        if graph.inputs != inputs.len() {
            return Err(unfit(pos)(format!(
                "a graph of {} inputs stands where there is one; `cells` have graphs of two",
                graph.inputs
            )));
        }
        for n in 0..graph.nodes {
            let to = graph.inputs + n;
            let mut terms = Vec::new();
            for (from, op) in sources(graph, n, to, choices) {
                let stride = reduces && from < graph.inputs;
                terms.push(match op {
                    Some(op) => self.term(op, choices, pos, cell, states[from], stride)?,
                    None => {
                        let shape = cell.shapes[states[from]];
                        let identity = OpDesc::new("identity", shape.channels, shape.channels);
                        (states[from], identity, shape)
                    }
                });
            }
            let shape = terms[0].2;
            if let Some((_, _, other)) = terms.iter().find(|(.., s)| *s != shape) {
                return Err(unfit(pos)(format!(
                    "in node {to}, {}",
                    sum_error(shape, *other)
                )));
            }
            let edges = terms
                .into_iter()
                .map(|(from, op, _)| EdgeDesc::new(from, op));
            let sum = cell.node(edges.collect(), shape);
            states.push(match graph.node_ops.get(n) {
                None => sum,
                Some(op) => {
                    let (from, op, shape) = self.term(op, choices, pos, cell, sum, false)?;
                    match op.name == "identity" {
                        true => from,
                        false => cell.node(vec![EdgeDesc::new(from, op)], shape),
                    }
                }
            });
        }
        Ok(states)
    }

    /// What comes out of a graph.
    fn output(
        &self,
        graph: &Graph,
        states: &[usize],
        choices: &[u16],
        cell: &mut Cell,
    ) -> Result<usize, String> {
        let joined: Vec<usize> = out_nodes(graph, choices)
            .iter()
            .map(|&n| states[n])
            .collect();
        self.concat(&joined, cell)
    }

    /// The parts of a network that stand one after the other.
    fn flatten<'b>(
        &'b self,
        seq: &'b Seq,
        choices: &[u16],
        into: &mut Vec<&'b Item>,
    ) -> Result<(), Unfit> {
        for item in seq {
            match &item.kind {
                Kind::OneOf(slot, options) => {
                    if let Some(option) = options.get(usize::from(choices[*slot])) {
                        self.flatten(option, choices, into)?;
                    }
                }
                Kind::Repeat(times, bodies) => {
                    let n = times.times(choices, &item.pos);
                    let n = n.map_err(|e| unfit(&item.pos)(e.message))?;
                    for body in bodies.iter().take(n) {
                        self.flatten(body, choices, into)?;
                    }
                }
                Kind::Scope(scope) => self.flatten(&scope.body, choices, into)?,
                Kind::Use(fragment) => {
                    self.flatten(&self.tree.fragments[*fragment], choices, into)?;
                }
                _ => into.push(item),
            }
        }
        Ok(())
    }

    /// The cost of a network, which takes a fraction of the time that writing it down takes.
    pub(crate) fn cost(
        &self,
        choices: &[u16],
        input: Shape,
        n_classes: usize,
    ) -> Result<Cost, SpaceError> {
        let mut items = Vec::new();
        self.flatten(&self.tree.root.body, choices, &mut items)?;
        // What cells of two inputs read is known only with the network.
        if items.iter().any(|item| matches!(item.kind, Kind::Cells(_))) {
            return Ok(self.model(choices, input, n_classes)?.1);
        }
        let mut cell = Cell::counted(&[input]);
        let mut state = 0;
        for item in items {
            state = self.item(item, choices, &mut cell, state)?;
        }
        Ok(cell.cost)
    }

    /// The network and its cost.
    pub(crate) fn model(
        &self,
        choices: &[u16],
        input: Shape,
        n_classes: usize,
    ) -> Result<(ModelDesc, Cost), SpaceError> {
        let mut items = Vec::new();
        self.flatten(&self.tree.root.body, choices, &mut items)?;
        let Some((&head, body)) = items.split_last() else {
            return Err(SpaceError::new("a network without layers"));
        };
        let mut net = Net {
            compiler: self,
            choices,
            cost: Cost::default(),
            stem: None,
            cells: Vec::new(),
            out: input,
            pool: None,
        };
        let (body, pool) = match body.split_last() {
            Some((last, rest)) if net.is_pool(last) && !rest.is_empty() => (rest, Some(*last)),
            _ => (body, None),
        };
        for (i, item) in body.iter().enumerate() {
            match &item.kind {
                Kind::Cells(stack) => net.stack(stack, &item.pos, i, input)?,
                _ if i == 0 && body.len() > 1 && net.take_stem(item, input)? => {}
                _ => net.cell(item)?,
            }
        }
        if let Some(item) = pool {
            net.pool = Some(net.single(item)?);
        }
        let features = net.out;
        let logits = net.single(head)?;
        let same = |shape: Shape| OpDesc::new("identity", shape.channels, shape.channels);
        if net.cells.is_empty() {
            let shape = net.stem.as_ref().map_or(input, |stem| stem.out);
            net.cells.push(CellDesc {
                cell_type: CellType::Regular,
                alphas_from: 0,
                stems: vec![same(shape)],
                nodes: vec![NodeDesc::new([EdgeDesc::new(0, same(shape))])],
                post_op: same(shape),
                concat: vec![1],
                out: shape,
                aux_tower: None,
            });
        }
        let stem = net.stem.unwrap_or_else(|| StemDesc {
            input: StemInput::Image,
            op: same(input),
            out: input,
        });
        let two = net.cells.iter().any(|cell| cell.stems.len() == 2);
        let desc = ModelDesc {
            version: FORMAT_VERSION,
            input,
            n_classes,
            affine: true,
            max_final_edges: 2,
            stems: vec![stem],
            stem_outputs: if two { vec![0, 0] } else { vec![0] },
            cells: net.cells,
            pool: net.pool.unwrap_or_else(|| same(features)),
            logits,
        };
        Ok((desc, net.cost))
    }
}

/// The states that node `n` reads, each with the op on its edge.
fn sources<'a>(
    graph: &'a Graph,
    n: usize,
    to: usize,
    choices: &[u16],
) -> Vec<(usize, Option<&'a EdgeOp>)> {
    if let Some(pick) = graph.picks.get(n) {
        let i = pick.slot.map_or(0, |slot| usize::from(choices[slot]));
        let set = pick.sets.get(i).map_or(&[][..], Vec::as_slice);
        return (set.iter().enumerate())
            .map(|(k, &from)| (from, pick.ops.get(k)))
            .collect();
    }
    let into = graph.edges.iter().filter(|edge| edge.to == to);
    into.map(|edge| (edge.from, edge.op.as_ref())).collect()
}

/// The states that come out of a graph.
fn out_nodes(graph: &Graph, choices: &[u16]) -> Vec<usize> {
    let nodes = graph.inputs..graph.inputs + graph.nodes;
    match graph.output {
        DagOutput::Last => vec![nodes.end - 1],
        DagOutput::Concat => nodes.collect(),
        DagOutput::Unused => {
            let mut used = std::collections::BTreeSet::new();
            for n in 0..graph.nodes {
                let from = sources(graph, n, graph.inputs + n, choices);
                used.extend(from.into_iter().map(|(from, _)| from));
            }
            nodes.filter(|node| !used.contains(node)).collect()
        }
    }
}

/// A network in the making.
struct Net<'a> {
    compiler: &'a Compiler<'a>,
    choices: &'a [u16],
    cost: Cost,
    stem: Option<StemDesc>,
    cells: Vec<CellDesc>,
    out: Shape,
    pool: Option<OpDesc>,
}

impl Net<'_> {
    fn measured(&self, item: &Item, input: Shape) -> Result<Option<Arc<Measured>>, Unfit> {
        let Kind::Op(name, args) = &item.kind else {
            return Ok(None);
        };
        let args = resolve(args, self.choices, &item.pos)?;
        let found = self.compiler.measures.block(name, &args, input);
        found.map(Some).map_err(unfit(&item.pos))
    }

    /// The op that an item is, on what comes out so far.
    fn single(&mut self, item: &Item) -> Result<OpDesc, SpaceError> {
        let measured = self.measured(item, self.out)?;
        let only = measured
            .as_ref()
            .and_then(|m| match m.block.nodes.as_slice() {
                [node] => match node.as_slice() {
                    [(0, op)] => Some(op.clone()),
                    _ => None,
                },
                _ => None,
            });
        match (only, measured) {
            (Some(op), Some(measured)) => {
                self.cost += measured.cost;
                self.out = measured.out;
                Ok(op)
            }
            _ => Err(SpaceError::at(
                &item.pos,
                "the network has to end in `linear`",
            )),
        }
    }

    fn is_pool(&self, item: &Item) -> bool {
        match &item.kind {
            Kind::Op(name, args) => {
                let stride = args.iter().any(|(name, _)| name == "stride");
                let mean = args.iter().all(|(name, value)| {
                    name != "kind"
                        || value.value(self.choices).ok() == Some(Lit::Text("mean".to_owned()))
                });
                !stride && (name == "pool" && mean || name.starts_with("pool_"))
            }
            _ => false,
        }
    }

    /// Makes the first layer the stem, if it is one op.
    fn take_stem(&mut self, item: &Item, input: Shape) -> Result<bool, SpaceError> {
        let Some(measured) = self.measured(item, input)? else {
            return Ok(false);
        };
        let [node] = measured.block.nodes.as_slice() else {
            return Ok(false);
        };
        let [(0, op)] = node.as_slice() else {
            return Ok(false);
        };
        self.stem = Some(StemDesc {
            input: StemInput::Image,
            op: op.clone(),
            out: measured.out,
        });
        self.cost += measured.cost;
        self.out = measured.out;
        Ok(true)
    }

    fn push(
        &mut self,
        cell: Cell,
        stems: Vec<OpDesc>,
        post_op: OpDesc,
        concat: Vec<usize>,
        out: Shape,
    ) {
        self.cost += cell.cost;
        self.cells.push(CellDesc {
            cell_type: match out.scale == self.out.scale {
                true => CellType::Regular,
                false => CellType::Reduction,
            },
            alphas_from: self.cells.len(),
            stems,
            nodes: cell.nodes,
            post_op,
            concat,
            out,
            aux_tower: None,
        });
        self.out = out;
    }

    fn cell(&mut self, item: &Item) -> Result<(), SpaceError> {
        let input = self.out;
        let mut cell = Cell::new(&[input]);
        let state = self.compiler.item(item, self.choices, &mut cell, 0)?;
        if state == 0 {
            return Ok(());
        }
        let out = cell.shapes[state];
        let stem = OpDesc::new("identity", input.channels, input.channels);
        let post = OpDesc::new("identity", out.channels, out.channels);
        self.push(cell, vec![stem], post, vec![state], out);
        Ok(())
    }

    fn stack(
        &mut self,
        stack: &CellStack,
        pos: &Pos,
        index: usize,
        input: Shape,
    ) -> Result<(), SpaceError> {
        if index > 1 || !self.cells.is_empty() {
            return Err(SpaceError::at(
                pos,
                "`cells` read the two outputs before them, so that at most one op, the stem, stands before them",
            ));
        }
        let first = self.stem.as_ref().map_or(input, |stem| stem.out);
        let mut inputs = [first, first];
        for (cell, kind) in stacked(self.compiler, stack, self.choices, pos)?.zip(&stack.sequence) {
            let plan = cell(inputs)?;
            let (name, reduces, graph) = &stack.kinds[*kind];
            let mut cell = Cell::new(&plan.stemmed);
            cell.cost = plan.cost;
            let states =
                (self.compiler).graph(graph, self.choices, pos, &mut cell, &[0, 1], *reduces)?;
            let nodes: Vec<usize> = out_nodes(graph, self.choices)
                .iter()
                .map(|&n| states[n])
                .collect();
            let shapes: Vec<Shape> = nodes.iter().map(|&state| cell.shapes[state]).collect();
            let channels = shapes.iter().map(|s| s.channels).sum();
            let post = OpDesc::new("concat_states", channels, channels);
            let (out, _) = (self.compiler.measures.op(&post, &shapes))
                .map_err(|e| SpaceError::at(pos, format!("in a cell `{name}`, {e}")))?;
            self.push(cell, plan.stems, post, nodes, out);
            inputs = [inputs[1], out];
        }
        Ok(())
    }
}

/// What comes before the graph of a cell of two inputs.
pub(crate) struct CellPlan {
    pub stems: Vec<OpDesc>,
    pub stemmed: Vec<Shape>,
    pub cost: Cost,
}

type Planner<'a> = Box<dyn Fn([Shape; 2]) -> Result<CellPlan, SpaceError> + 'a>;

/// For each cell of a stack, what brings its inputs to its channels and size.
pub(crate) fn stacked<'a>(
    compiler: &'a Compiler<'a>,
    stack: &'a CellStack,
    choices: &[u16],
    pos: &'a Pos,
) -> Result<impl Iterator<Item = Planner<'a>>, SpaceError> {
    let mut channels = match stack.channels.value(choices)? {
        Lit::Int(n) if (1..=1 << 20).contains(&n) => n as usize,
        other => {
            return Err(SpaceError::at(
                pos,
                format!("`channels` is a whole number, at least 1, not `{other}`"),
            ));
        }
    };
    Ok(stack.sequence.iter().map(move |&kind| {
        if stack.kinds[kind].1 {
            channels *= 2;
        }
        let channels = channels;
        let plan: Planner<'a> = Box::new(move |[before, last]: [Shape; 2]| {
            let mut plan = CellPlan {
                stems: Vec::new(),
                stemmed: Vec::new(),
                cost: Cost::default(),
            };
            for (input, halve) in [(before, before.scale != last.scale), (last, false)] {
                let name = if halve {
                    "prepr_reduce"
                } else {
                    "prepr_normal"
                };
                let op = OpDesc::new(name, input.channels, channels);
                let (shape, cost) =
                    (compiler.measures.op(&op, &[input])).map_err(|e| SpaceError::at(pos, e))?;
                plan.cost += cost;
                plan.stemmed.push(shape);
                plan.stems.push(op);
            }
            Ok(plan)
        });
        plan
    }))
}
