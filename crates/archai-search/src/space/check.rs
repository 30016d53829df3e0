//! What is known of every member before anything is trained: by dynamic programming over (place, shape), so that no member
//! is looked at on its own and none is left out.
//!
//! Options are summed, layers one after the other are multiplied, equal shapes are merged. What a `let` binds to a value
//! is tried value by value within its scope. What it binds to layers is carried along as "so often on such a shape" and
//! settled where the scope ends: each independent choice in it adds up over all of its uses, so that sharing costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use archai_spec::desc::{Cost, OpDesc, Shape};
use indexmap::IndexMap;
use num_bigint::BigUint;

use super::SpaceError;
use super::compile::{Cell, Compiler, Measures, Unfit, stacked};
use super::desc::{DagOutput, Lit, Pos};
use super::tree::{
    Bound, CellStack, Chooser, EdgeOp, Graph, Item, Kind, NONE, Scope, Seq, Tree, Val,
};

/// Most combinations of shared choices that are tried.
const MAX_COMBINATIONS: usize = 1_000_000;
/// Most combinations of the choices that conditions name.
const MAX_CONDITIONED: usize = 20_000;
/// Most steps of a check, which takes half a minute then.
const MAX_STEPS: u64 = 5_000_000;
/// Most shapes and uses that can reach one place.
const MAX_TABLE: usize = 50_000;
/// Most failures that are kept: the one with the fewest unusual choices is shown.
const MAX_FAILURES: usize = 1000;

/// Choices of a witness, shared by all that continue it.
#[derive(Debug)]
enum Rope {
    Empty,
    One(usize, u16),
    Both(Arc<Rope>, Arc<Rope>),
}

impl Rope {
    fn and(a: &Arc<Rope>, b: &Arc<Rope>) -> Arc<Rope> {
        match (&**a, &**b) {
            (Rope::Empty, _) => b.clone(),
            (_, Rope::Empty) => a.clone(),
            _ => Arc::new(Rope::Both(a.clone(), b.clone())),
        }
    }
    fn of(choices: &[(usize, u16)]) -> Arc<Rope> {
        let one = |&(slot, option)| Arc::new(Rope::One(slot, option));
        (choices.iter().map(one)).fold(Arc::new(Rope::Empty), |a, b| Rope::and(&a, &b))
    }
    fn write(&self, into: &mut [Option<u16>]) {
        let mut open = vec![self];
        while let Some(rope) = open.pop() {
            match rope {
                Rope::Empty => {}
                Rope::One(slot, option) => into[*slot] = Some(*option),
                Rope::Both(a, b) => open.extend([&**a, &**b]),
            }
        }
    }
}

/// Choices that are not the first option.
fn unusual(choices: &[(usize, u16)]) -> u64 {
    choices.iter().filter(|(_, option)| *option > 0).count() as u64
}

/// A number and a member that has it.
#[derive(Clone, Debug)]
struct Extreme(u64, Arc<Rope>);

/// What is known of all ways to one place and shape.
#[derive(Clone, Debug)]
struct Tally {
    count: BigUint,
    /// Unusual choices, smallest and largest parameters, smallest and largest multiply-adds.
    extremes: [Extreme; 5],
}

impl Tally {
    fn new(cost: Cost, choices: &[(usize, u16)]) -> Tally {
        let rope = Rope::of(choices);
        let numbers = [
            unusual(choices),
            cost.params,
            cost.params,
            cost.macs,
            cost.macs,
        ];
        Tally {
            count: BigUint::from(1u32),
            extremes: numbers.map(|n| Extreme(n, rope.clone())),
        }
    }
    fn one() -> Tally {
        Tally::new(Cost::default(), &[])
    }
    /// One after the other.
    fn then(&self, next: &Tally) -> Tally {
        let mut result = self.clone();
        result.count *= &next.count;
        for (a, b) in result.extremes.iter_mut().zip(&next.extremes) {
            *a = Extreme(a.0.saturating_add(b.0), Rope::and(&a.1, &b.1));
        }
        result
    }
    /// Either.
    fn or(&mut self, other: Tally) {
        self.count += other.count;
        for (i, (a, b)) in self.extremes.iter_mut().zip(other.extremes).enumerate() {
            let better = match i {
                2 | 4 => b.0 > a.0,
                _ => b.0 < a.0,
            };
            if better {
                *a = b;
            }
        }
    }
}

type Dims = [usize; 4];

fn dims(s: Shape) -> Dims {
    [s.channels, s.height, s.width, s.scale]
}
fn shape(d: Dims) -> Shape {
    Shape {
        channels: d[0],
        height: d[1],
        width: d[2],
        scale: d[3],
    }
}

/// How often shared layers are used on which shape.
type Uses = BTreeMap<(usize, Dims), u64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct At {
    shape: Dims,
    uses: Uses,
}

type Table = IndexMap<At, Tally>;

fn put(table: &mut Table, at: At, tally: Tally) {
    match table.get_mut(&at) {
        Some(known) => known.or(tally),
        None => {
            table.insert(at, tally);
        }
    }
}

fn table(shape: Shape) -> Table {
    let at = At {
        shape: dims(shape),
        uses: Uses::new(),
    };
    Table::from([(at, Tally::one())])
}

/// Members that cannot be built: why, and the one with the fewest unusual choices.
#[derive(Clone, Debug)]
struct Failure {
    unfit: Unfit,
    first: Extreme,
}

/// Why a table could not be made.
enum Stop {
    Error(SpaceError),
    /// These shared layers do not have the same choices on every shape: try them one by one.
    Each(usize),
}

impl From<SpaceError> for Stop {
    fn from(error: SpaceError) -> Self {
        Stop::Error(error)
    }
}

/// What an independent choice costs by option.
struct Unit(Vec<(Vec<(usize, u16)>, Cost)>);

/// Goes through all assignments, the last choice changing fastest. Fixed choices keep their options.
struct Odometer<'a> {
    fixed: &'a [u16],
    made: Vec<(usize, u16, usize)>,
    at: usize,
    ranges: &'a Tree,
}

impl Chooser for Odometer<'_> {
    fn choose(&mut self, slot: usize, n: usize) -> Result<u16, SpaceError> {
        if self.fixed[slot] != NONE {
            return Ok(self.fixed[slot]);
        }
        if self.at == self.made.len() {
            let n = if n == 0 {
                self.ranges.slots[slot].options.len()
            } else {
                n
            };
            self.made.push((slot, 0, n));
        }
        let option = self.made[self.at].1;
        self.at += 1;
        Ok(option)
    }
}

impl Odometer<'_> {
    /// The next assignment, or none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((slot, option, n)) = self.made.pop() {
            if usize::from(option) + 1 < n {
                self.made.push((slot, option + 1, n));
                return true;
            }
        }
        false
    }
}

/// What every member has in common, and what some have.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// Members that meet all conditions.
    pub members: BigUint,
    /// Members without conditions.
    pub all: BigUint,
    /// Choices of members: with the fewest unusual options, fewest and most parameters, fewest and most multiply-adds.
    pub witnesses: [(u64, Vec<Option<u16>>); 5],
    pub warnings: Vec<String>,
    /// Whether conditions were taken into account in `members` and `witnesses`.
    pub exact: bool,
}

/// Goes through the choices of a part.
type Walk<'w> = dyn Fn(&mut [u16], &mut dyn Chooser) -> Result<(), SpaceError> + 'w;
/// Builds a part from state 0 of a cell and says which state comes out.
type Run<'r> = dyn Fn(&Compiler<'_>, &[u16], &mut Cell) -> Result<usize, Unfit> + 'r;

struct Dp<'a> {
    tree: &'a Tree,
    compiler: Compiler<'a>,
    /// Choices that are fixed at present.
    env: Vec<u16>,
    /// Shared layers whose choices are tried one by one.
    each: BTreeSet<usize>,
    failures: Vec<Failure>,
    steps: std::cell::Cell<u64>,
}

fn many(pos: &Pos) -> Stop {
    Stop::Error(SpaceError::at(
        pos,
        format!(
            "more than {MAX_COMBINATIONS} combinations of shared choices decide over shapes here, which are too many to check; bind \
             fewer of them with one `let`"
        ),
    ))
}

impl<'a> Dp<'a> {
    fn step(&self, pos: &Pos) -> Result<(), Stop> {
        self.steps.set(self.steps.get() + 1);
        match self.steps.get() > MAX_STEPS {
            true => Err(Stop::Error(SpaceError::at(
                pos,
                format!(
                    "the check takes more than {MAX_STEPS} steps; let fewer choices decide over shapes, or shorten conditions"
                ),
            ))),
            false => Ok(()),
        }
    }

    /// All assignments of the free choices of a part, in order.
    fn assignments(&self, pos: &Pos, walk: &Walk<'_>) -> Result<Vec<Vec<(usize, u16)>>, Stop> {
        let mut choices = self.env.clone();
        let mut odometer = Odometer {
            fixed: &self.env,
            made: Vec::new(),
            at: 0,
            ranges: self.tree,
        };
        let mut all = Vec::new();
        loop {
            self.step(pos)?;
            walk(&mut choices, &mut odometer)?;
            all.push(
                odometer
                    .made
                    .iter()
                    .map(|&(slot, option, _)| (slot, option))
                    .collect(),
            );
            if all.len() > MAX_COMBINATIONS {
                return Err(many(pos));
            }
            if !odometer.next() {
                return Ok(all);
            }
        }
    }

    fn fixed<T>(&mut self, choices: &[(usize, u16)], then: impl FnOnce(&mut Self) -> T) -> T {
        for &(slot, option) in choices {
            self.env[slot] = option;
        }
        let result = then(self);
        for &(slot, _) in choices {
            self.env[slot] = NONE;
        }
        result
    }

    fn fail(&mut self, unfit: Unfit, choices: &[(usize, u16)]) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                unfit,
                first: Extreme(unusual(choices), Rope::of(choices)),
            });
        }
    }

    /// Continues each way of a table.
    fn extend(
        &mut self,
        from: &Table,
        mut step: impl FnMut(&mut Self, Shape) -> Result<Table, Stop>,
    ) -> Result<Table, Stop> {
        let mut result = Table::new();
        for (at, tally) in from {
            let known = self.failures.len();
            let next = step(self, shape(at.shape))?;
            for failure in &mut self.failures[known..] {
                let Extreme(n, rope) = &failure.first;
                failure.first = Extreme(
                    n + tally.extremes[0].0,
                    Rope::and(&tally.extremes[0].1, rope),
                );
            }
            if result.len() > MAX_TABLE {
                return Err(Stop::Error(SpaceError::new(format!(
                    "more than {MAX_TABLE} different shapes can reach one place of the network, which are too many to check; let \
                     fewer choices decide over shapes"
                ))));
            }
            for (next_at, next_tally) in next {
                self.step(&Pos::default())?;
                let mut uses = at.uses.clone();
                for (key, n) in next_at.uses {
                    *uses.entry(key).or_insert(0) += n;
                }
                let at = At {
                    shape: next_at.shape,
                    uses,
                };
                put(&mut result, at, tally.then(&next_tally));
            }
        }
        Ok(result)
    }

    fn seq(&mut self, seq: &'a Seq, from: Shape) -> Result<Table, Stop> {
        let mut now = table(from);
        for item in seq {
            now = self.extend(&now, |dp, shape| dp.item(item, shape))?;
        }
        Ok(now)
    }

    /// A part that is tried assignment by assignment.
    fn tried(
        &mut self,
        pos: &Pos,
        from: Shape,
        walk: &Walk<'_>,
        run: &Run<'_>,
    ) -> Result<Table, Stop> {
        let mut result = Table::new();
        for choices in self.assignments(pos, walk)? {
            let found = self.fixed(&choices, |dp| {
                let mut cell = Cell::counted(&[from]);
                let state = run(&dp.compiler, &dp.env, &mut cell)?;
                Ok((cell.shapes[state], cell.cost))
            });
            match found {
                Ok((out, cost)) => {
                    let at = At {
                        shape: dims(out),
                        uses: Uses::new(),
                    };
                    put(&mut result, at, Tally::new(cost, &choices));
                }
                Err(unfit) => self.fail(unfit, &choices),
            }
        }
        Ok(result)
    }

    fn item(&mut self, item: &'a Item, from: Shape) -> Result<Table, Stop> {
        let tree = self.tree;
        match &item.kind {
            Kind::Op(..) => self.tried(
                &item.pos,
                from,
                &|choices, by| tree.walk_item(item, choices, by),
                &|compiler, choices, cell| compiler.item(item, choices, cell, 0),
            ),
            Kind::OneOf(slot, options) => {
                let mut result = Table::new();
                let fixed = self.env[*slot];
                for (i, option) in options.iter().enumerate() {
                    let Ok(i) = u16::try_from(i) else { break };
                    if fixed != NONE && fixed != i {
                        continue;
                    }
                    let chosen = if fixed == NONE {
                        vec![(*slot, i)]
                    } else {
                        Vec::new()
                    };
                    let start = Table::from([(
                        At {
                            shape: dims(from),
                            uses: Uses::new(),
                        },
                        Tally::new(Cost::default(), &chosen),
                    )]);
                    let table = self.extend(&start, |dp, shape| dp.seq(option, shape))?;
                    for (at, tally) in table {
                        put(&mut result, at, tally);
                    }
                }
                Ok(result)
            }
            Kind::Repeat(times, bodies) => {
                let walk = |choices: &mut [u16], by: &mut dyn Chooser| times.walk(choices, by);
                let mut by_times: BTreeMap<usize, Vec<Vec<(usize, u16)>>> = BTreeMap::new();
                for choices in self.assignments(&item.pos, &walk)? {
                    let n = self.fixed(&choices, |dp| times.times(&dp.env, &item.pos))?;
                    by_times.entry(n).or_default().push(choices);
                }
                let mut result = Table::new();
                let mut now = table(from);
                let most = by_times.keys().next_back().copied().unwrap_or(0);
                for n in 0..=most {
                    for choices in by_times.get(&n).into_iter().flatten() {
                        let chosen = Tally::new(Cost::default(), choices);
                        for (at, tally) in &now {
                            put(&mut result, at.clone(), chosen.then(tally));
                        }
                    }
                    if let Some(body) = bodies.get(n).filter(|_| n < most) {
                        // Which number of repetitions leads here with the fewest unusual choices.
                        let longer = by_times.range(n + 1..).flat_map(|(_, all)| all);
                        let cheapest = longer.min_by_key(|choices| unusual(choices)).cloned();
                        let known = self.failures.len();
                        now = self.extend(&now, |dp, shape| dp.seq(body, shape))?;
                        let chosen = cheapest.unwrap_or_default();
                        for failure in &mut self.failures[known..] {
                            let Extreme(n, rope) = &failure.first;
                            failure.first =
                                Extreme(n + unusual(&chosen), Rope::and(&Rope::of(&chosen), rope));
                        }
                    }
                }
                Ok(result)
            }
            Kind::Scope(scope) => self.scope(scope, &item.pos, from),
            Kind::Use(fragment) => {
                if self.each.contains(fragment) {
                    return self.seq(&tree.fragments[*fragment], from);
                }
                let (out, _) = self.units(*fragment, from)?;
                let at = At {
                    shape: dims(out),
                    uses: Uses::from([((*fragment, dims(from)), 1)]),
                };
                Ok(Table::from([(at, Tally::one())]))
            }
            Kind::Residual(seq) => {
                let inner = self.seq(seq, from)?;
                let mut result = Table::new();
                for (at, tally) in inner {
                    if shape(at.shape) == from {
                        put(&mut result, at, tally);
                    } else {
                        let message = format!(
                            "the branch turns {from} into {}; a sum needs equal shapes: leave out `out`, or put `fit` at its end",
                            shape(at.shape)
                        );
                        self.fail_at(&item.pos, message, &tally);
                    }
                }
                Ok(result)
            }
            Kind::Branches(add, all) => self.branches(*add, all, &item.pos, from),
            Kind::Dag(graph) => match self.graph_units(graph, &item.pos, &[from], false)? {
                Some((out, units)) => {
                    let at = At {
                        shape: dims(out),
                        uses: Uses::new(),
                    };
                    let tally = units.iter().map(unit_tally);
                    Ok(Table::from([(
                        at,
                        tally.fold(Tally::one(), |a, b| a.then(&b)),
                    )]))
                }
                None => self.tried(
                    &item.pos,
                    from,
                    &|choices, by| tree.walk_item(item, choices, by),
                    &|compiler, choices, cell| compiler.item(item, choices, cell, 0),
                ),
            },
            Kind::Cells(stack) => self.cells(stack, item, from),
        }
    }

    fn fail_at(&mut self, pos: &Pos, message: String, tally: &Tally) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure {
                unfit: Unfit {
                    pos: pos.clone(),
                    message,
                },
                first: tally.extremes[0].clone(),
            });
        }
    }

    fn branches(
        &mut self,
        add: bool,
        all: &'a [Seq],
        pos: &Pos,
        from: Shape,
    ) -> Result<Table, Stop> {
        let mut joined: Option<Table> = None;
        for seq in all {
            let branch = self.seq(seq, from)?;
            let Some(before) = joined else {
                joined = Some(branch);
                continue;
            };
            let mut result = Table::new();
            for (a, first) in &before {
                for (b, second) in &branch {
                    let tally = first.then(second);
                    let (x, y) = (shape(a.shape), shape(b.shape));
                    let fits = if add { x == y } else { x.same_size(y) };
                    if !fits {
                        let message = match add {
                            true => format!(
                                "one branch gives {x} and another {y}; a sum needs equal shapes"
                            ),
                            false => format!(
                                "one branch gives {x} and another {y}; `join: concat` needs equal height and width"
                            ),
                        };
                        self.fail_at(pos, message, &tally);
                        continue;
                    }
                    let mut at = a.clone();
                    if !add {
                        at.shape[0] = at.shape[0].saturating_add(b.shape[0]);
                    }
                    for (key, n) in &b.uses {
                        *at.uses.entry(*key).or_insert(0) += n;
                    }
                    put(&mut result, at, tally);
                }
            }
            joined = Some(result);
        }
        Ok(joined.unwrap_or_default())
    }

    /// Tries the values of a scope and settles what its shared layers cost.
    fn scope(&mut self, scope: &'a Scope, pos: &Pos, from: Shape) -> Result<Table, Stop> {
        loop {
            let known = self.failures.len();
            match self.scope_once(scope, pos, from) {
                Err(Stop::Each(fragment)) if scope.shares(fragment) => {
                    self.failures.truncate(known);
                    self.each.insert(fragment);
                }
                result => return result,
            }
        }
    }

    fn scope_once(&mut self, scope: &'a Scope, pos: &Pos, from: Shape) -> Result<Table, Stop> {
        let tree = self.tree;
        let each = self.each.clone();
        let walk = |choices: &mut [u16], by: &mut dyn Chooser| {
            for bound in &scope.lets {
                match bound {
                    Bound::Value(value) => value.walk(choices, by)?,
                    Bound::Layers(fragment) if each.contains(fragment) => {
                        tree.walk_seq(&tree.fragments[*fragment], choices, by)?;
                    }
                    Bound::Layers(_) => {}
                }
            }
            Ok(())
        };
        let mut result = Table::new();
        for choices in self.assignments(pos, &walk)? {
            let known = self.failures.len();
            let body = self.fixed(&choices, |dp| {
                let body = dp.seq(&scope.body, from)?;
                dp.settle(scope, body)
            })?;
            let chosen = Tally::new(Cost::default(), &choices);
            for failure in &mut self.failures[known..] {
                let Extreme(n, rope) = &failure.first;
                failure.first = Extreme(
                    n + chosen.extremes[0].0,
                    Rope::and(&chosen.extremes[0].1, rope),
                );
            }
            for (at, tally) in body {
                put(&mut result, at, chosen.then(&tally));
            }
        }
        Ok(result)
    }

    /// Adds the costs of shared layers at the end of their scope.
    fn settle(&mut self, scope: &'a Scope, body: Table) -> Result<Table, Stop> {
        let shared = scope.lets.iter().filter_map(|bound| match bound {
            Bound::Layers(fragment) if !self.each.contains(fragment) => Some(*fragment),
            _ => None,
        });
        let mut result = body;
        for fragment in shared.collect::<Vec<usize>>() {
            let mut settled = Table::new();
            for (mut at, tally) in result {
                let keys = at.uses.keys().filter(|(f, _)| *f == fragment).copied();
                let keys: Vec<(usize, Dims)> = keys.collect();
                let mut sum: Option<Vec<Unit>> = None;
                for key in keys {
                    let n = at.uses.remove(&key).unwrap_or(0);
                    let (_, mut units) = self.units(fragment, shape(key.1))?;
                    for (_, cost) in units.iter_mut().flat_map(|unit| &mut unit.0) {
                        *cost = Cost {
                            params: cost.params.saturating_mul(n),
                            macs: cost.macs.saturating_mul(n),
                        };
                    }
                    sum = Some(match sum {
                        None => units,
                        Some(mut sum) => {
                            for (a, b) in sum.iter_mut().zip(units) {
                                for (a, b) in a.0.iter_mut().zip(b.0) {
                                    a.1 += b.1;
                                }
                            }
                            sum
                        }
                    });
                }
                let cost = match sum {
                    Some(units) => units
                        .iter()
                        .map(unit_tally)
                        .fold(Tally::one(), |a, b| a.then(&b)),
                    None => {
                        let mut unused = Tally::one();
                        unused.count = self.count_seq(&self.tree.fragments[fragment])?;
                        unused
                    }
                };
                put(&mut settled, at, tally.then(&cost));
            }
            result = settled;
        }
        Ok(result)
    }

    /// The independent choices of shared layers, if there are such and all lead to one shape.
    fn units(&mut self, fragment: usize, from: Shape) -> Result<(Shape, Vec<Unit>), Stop> {
        let tree = self.tree;
        let (mut now, mut units) = (from, Vec::new());
        for item in &tree.fragments[fragment] {
            if let Kind::Dag(graph) = &item.kind {
                let found = self.graph_units(graph, &item.pos, &[now], false)?;
                let (out, more) = found.ok_or(Stop::Each(fragment))?;
                units.extend(more);
                now = out;
                continue;
            }
            let (mut out, mut unit) = (None, Unit(Vec::new()));
            let walk =
                |choices: &mut [u16], by: &mut dyn Chooser| tree.walk_item(item, choices, by);
            for choices in self.assignments(&item.pos, &walk)? {
                let found = self.fixed(&choices, |dp| {
                    let mut cell = Cell::counted(&[now]);
                    let state = dp.compiler.item(item, &dp.env, &mut cell, 0)?;
                    Ok::<_, Unfit>((cell.shapes[state], cell.cost))
                });
                match found {
                    // What another name stands for has choices of its own.
                    Ok((shape, cost)) if out.is_none_or(|out| out == shape) && !tree.uses(item) => {
                        out = Some(shape);
                        unit.0.push((choices, cost));
                    }
                    _ => return Err(Stop::Each(fragment)),
                }
            }
            units.push(unit);
            now = out.unwrap_or(now);
        }
        Ok((now, units))
    }

    /// The independent choices of a graph and its output's shape, if its states have one shape whatever is chosen.
    fn graph_units(
        &mut self,
        graph: &'a Graph,
        pos: &Pos,
        inputs: &[Shape],
        reduces: bool,
    ) -> Result<Option<(Shape, Vec<Unit>)>, Stop> {
        if graph.inputs != inputs.len() || graph.output == DagOutput::Unused {
            return Ok(None);
        }
        let mut states = inputs.to_vec();
        let mut units = Vec::new();
        for n in 0..graph.nodes {
            let to = graph.inputs + n;
            let mut out: Option<Shape> = None;
            let mut merge = |shape: Shape| out.replace(shape).is_none_or(|known| known == shape);
            if let Some(pick) = graph.picks.get(n) {
                // One unit: which states, and what is on the edges from them.
                let mut by_state = Vec::new();
                for op in &pick.ops {
                    let mut costs = Vec::new();
                    for (from, &state) in states.iter().enumerate() {
                        let stride = reduces && from < graph.inputs;
                        let Some(unit) = self.edge_unit(op, pos, state, stride, &mut merge)? else {
                            return Ok(None);
                        };
                        costs.push(unit);
                    }
                    by_state.push(costs);
                }
                if pick.ops.is_empty() && !states.iter().all(|&state| merge(state)) {
                    return Ok(None);
                }
                let mut all = vec![(Vec::new(), Cost::default(), 0)];
                if let Some(slot) = pick.slot {
                    all = (0..pick.sets.len())
                        .filter_map(|i| {
                            Some((vec![(slot, u16::try_from(i).ok()?)], Cost::default(), i))
                        })
                        .filter(|(choice, ..)| {
                            self.env[slot] == NONE || self.env[slot] == choice[0].1
                        })
                        .collect();
                    if self.env[slot] != NONE {
                        all.iter_mut().for_each(|(choice, ..)| choice.clear());
                    }
                }
                for (k, costs) in by_state.iter().enumerate() {
                    let mut longer = Vec::new();
                    for (choices, cost, i) in &all {
                        let state = pick.sets[*i][k];
                        for (more, added) in &costs[state].0 {
                            let mut choices = choices.clone();
                            choices.extend(more);
                            let mut cost = *cost;
                            cost += *added;
                            longer.push((choices, cost, *i));
                        }
                        if longer.len() > MAX_COMBINATIONS {
                            return Err(many(pos));
                        }
                    }
                    all = longer;
                }
                units.push(Unit(
                    all.into_iter().map(|(c, cost, _)| (c, cost)).collect(),
                ));
            } else {
                for edge in graph.edges.iter().filter(|edge| edge.to == to) {
                    let stride = reduces && edge.from < graph.inputs;
                    let state = states[edge.from];
                    match &edge.op {
                        Some(op) => {
                            let Some(unit) = self.edge_unit(op, pos, state, stride, &mut merge)?
                            else {
                                return Ok(None);
                            };
                            units.push(unit);
                        }
                        None if merge(state) => {}
                        None => return Ok(None),
                    }
                }
            }
            let mut out = out.unwrap_or(inputs[0]);
            if let Some(op) = graph.node_ops.get(n) {
                let sum = out;
                let mut after: Option<Shape> = None;
                let mut merge =
                    |shape: Shape| after.replace(shape).is_none_or(|known| known == shape);
                let Some(unit) = self.edge_unit(op, pos, sum, false, &mut merge)? else {
                    return Ok(None);
                };
                units.push(unit);
                out = after.unwrap_or(sum);
            }
            states.push(out);
        }
        let nodes = &states[graph.inputs..];
        let out = match graph.output {
            DagOutput::Concat if nodes.len() > 1 => {
                let channels = nodes.iter().map(|s| s.channels).sum();
                let op = OpDesc::new("concat_states", channels, channels);
                match self.compiler.measures.op(&op, nodes) {
                    Ok((out, _)) => out,
                    Err(_) => return Ok(None),
                }
            }
            _ => nodes[nodes.len() - 1],
        };
        Ok(Some((out, units)))
    }

    /// What the options of an edge cost; none if one of them cannot be or gives a shape that `merge` refuses.
    fn edge_unit(
        &mut self,
        op: &'a EdgeOp,
        pos: &Pos,
        from: Shape,
        stride: bool,
        merge: &mut dyn FnMut(Shape) -> bool,
    ) -> Result<Option<Unit>, Stop> {
        let tree = self.tree;
        if op.options.iter().flatten().any(|item| tree.uses(item)) {
            return Ok(None);
        }
        let walk = |choices: &mut [u16], by: &mut dyn Chooser| op.walk(tree, choices, by);
        let mut unit = Unit(Vec::new());
        for choices in self.assignments(pos, &walk)? {
            let found = self.fixed(&choices, |dp| {
                let mut cell = Cell::counted(&[from]);
                let (_, _, out) = dp.compiler.term(op, &dp.env, pos, &mut cell, 0, stride)?;
                Ok::<_, Unfit>((out, cell.cost))
            });
            match found {
                Ok((out, cost)) if merge(out) => unit.0.push((choices, cost)),
                _ => return Ok(None),
            }
        }
        Ok(Some(unit))
    }

    fn cells(&mut self, stack: &'a CellStack, item: &'a Item, from: Shape) -> Result<Table, Stop> {
        let pos = &item.pos;
        let walk = |choices: &mut [u16], by: &mut dyn Chooser| stack.channels.walk(choices, by);
        let mut result = Table::new();
        for choices in self.assignments(pos, &walk)? {
            let chosen = Tally::new(Cost::default(), &choices);
            let (out, cost) = self.fixed(&choices, |dp| dp.stack(stack, pos, from))?;
            let at = At {
                shape: dims(out),
                uses: Uses::new(),
            };
            put(&mut result, at, chosen.then(&cost));
        }
        Ok(result)
    }

    fn stack(
        &mut self,
        stack: &'a CellStack,
        pos: &'a Pos,
        from: Shape,
    ) -> Result<(Shape, Tally), Stop> {
        let compiler = Compiler {
            tree: self.tree,
            measures: self.compiler.measures,
        };
        let mut inputs = [from, from];
        let mut fixed = Cost::default();
        let mut sums: Vec<Option<Vec<Unit>>> = stack.kinds.iter().map(|_| None).collect();
        let env = self.env.clone();
        let plans = stacked(&compiler, stack, &env, pos)?;
        for (plan, &kind) in plans.zip(&stack.sequence) {
            let plan = plan(inputs)?;
            fixed += plan.cost;
            let (name, reduces, graph) = &stack.kinds[kind];
            let found = self.graph_units(graph, pos, &plan.stemmed, *reduces)?;
            let Some((out, units)) = found else {
                return Err(Stop::Error(SpaceError::at(
                    pos,
                    format!(
                        "the options of the edges of `{name}` give different shapes, or cannot all stand there; cells need options of one shape"
                    ),
                )));
            };
            sums[kind] = Some(match sums[kind].take() {
                None => units,
                Some(mut sum) => {
                    for (a, b) in sum.iter_mut().zip(units) {
                        for (a, b) in a.0.iter_mut().zip(b.0) {
                            a.1 += b.1;
                        }
                    }
                    sum
                }
            });
            inputs = [inputs[1], out];
        }
        let mut tally = Tally::new(fixed, &[]);
        for units in sums.iter().flatten() {
            for unit in units {
                tally = tally.then(&unit_tally(unit));
            }
        }
        Ok((inputs[1], tally))
    }

    /// How many assignments layers have, whether or not they can be built.
    fn count_seq(&mut self, seq: &'a Seq) -> Result<BigUint, Stop> {
        let mut count = BigUint::from(1u32);
        for item in seq {
            count *= self.count_item(item)?;
        }
        Ok(count)
    }

    fn count_item(&mut self, item: &'a Item) -> Result<BigUint, Stop> {
        let tree = self.tree;
        let one = BigUint::from(1u32);
        Ok(match &item.kind {
            Kind::OneOf(slot, options) => {
                let mut count = BigUint::ZERO;
                for (i, option) in options.iter().enumerate() {
                    if self.env[*slot] == NONE || usize::from(self.env[*slot]) == i {
                        count += self.count_seq(option)?;
                    }
                }
                count
            }
            Kind::Repeat(times, bodies) => {
                let walk = |choices: &mut [u16], by: &mut dyn Chooser| times.walk(choices, by);
                let mut counts = vec![one];
                for body in bodies {
                    let next = &counts[counts.len() - 1] * self.count_seq(body)?;
                    counts.push(next);
                }
                let mut count = BigUint::ZERO;
                for choices in self.assignments(&item.pos, &walk)? {
                    let n = self.fixed(&choices, |dp| times.times(&dp.env, &item.pos))?;
                    count += counts.get(n).unwrap_or(&BigUint::ZERO);
                }
                count
            }
            Kind::Scope(scope) => self.count_scope(scope, &item.pos)?,
            Kind::Use(_) => one,
            Kind::Residual(seq) => self.count_seq(seq)?,
            Kind::Branches(_, all) => {
                let mut count = one;
                for seq in all {
                    count *= self.count_seq(seq)?;
                }
                count
            }
            Kind::Op(..) => {
                let walk =
                    |choices: &mut [u16], by: &mut dyn Chooser| tree.walk_item(item, choices, by);
                BigUint::from(self.assignments(&item.pos, &walk)?.len())
            }
            Kind::Dag(graph) => self.count_graph(graph, &item.pos)?,
            Kind::Cells(stack) => {
                let walk =
                    |choices: &mut [u16], by: &mut dyn Chooser| stack.channels.walk(choices, by);
                let mut count = BigUint::from(self.assignments(&item.pos, &walk)?.len());
                for (_, _, graph) in &stack.kinds {
                    count *= self.count_graph(graph, &item.pos)?;
                }
                count
            }
        })
    }

    fn count_graph(&mut self, graph: &'a Graph, pos: &Pos) -> Result<BigUint, Stop> {
        let mut count = BigUint::from(1u32);
        let edges = graph.edges.iter().filter_map(|edge| edge.op.as_ref());
        let picked = graph.picks.iter().flat_map(|pick| &pick.ops);
        for op in edges.chain(picked).chain(&graph.node_ops) {
            let walk = |choices: &mut [u16], by: &mut dyn Chooser| op.walk(self.tree, choices, by);
            count *= self.assignments(pos, &walk)?.len();
        }
        for pick in &graph.picks {
            if let Some(slot) = pick.slot.filter(|&slot| self.env[slot] == NONE) {
                count *= self.tree.slots[slot].options.len();
            }
        }
        Ok(count)
    }

    fn count_scope(&mut self, scope: &'a Scope, pos: &Pos) -> Result<BigUint, Stop> {
        let walk = |choices: &mut [u16], by: &mut dyn Chooser| {
            for bound in &scope.lets {
                if let Bound::Value(value) = bound {
                    value.walk(choices, by)?;
                }
            }
            Ok(())
        };
        let mut count = BigUint::ZERO;
        for choices in self.assignments(pos, &walk)? {
            count += self.fixed(&choices, |dp| dp.count_seq(&scope.body))?;
        }
        for bound in &scope.lets {
            if let Bound::Layers(fragment) = bound {
                count *= self.count_seq(&self.tree.fragments[*fragment])?;
            }
        }
        Ok(count)
    }
}

/// What a unit comes to: its options are alternatives.
fn unit_tally(unit: &Unit) -> Tally {
    let mut options = unit
        .0
        .iter()
        .map(|(choices, cost)| Tally::new(*cost, choices));
    let mut tally = options.next().unwrap_or_else(Tally::one);
    options.for_each(|option| tally.or(option));
    tally
}

impl Scope {
    fn shares(&self, fragment: usize) -> bool {
        (self.lets.iter()).any(|bound| matches!(bound, Bound::Layers(f) if *f == fragment))
    }
}

/// The choices that values of names depend on, each once.
fn roots<'a>(value: &'a Val, into: &mut Vec<&'a Val>) {
    match value {
        Val::Lit(_) => {}
        Val::Ref(inner) => roots(inner, into),
        Val::Expr(_, names, _) => names.iter().for_each(|(_, value)| roots(value, into)),
        Val::Choice(slot, options) => {
            let known = |v: &&Val| matches!(v, Val::Choice(s, _) if s == slot);
            if !into.iter().any(known) {
                into.push(value);
                options.iter().for_each(|option| {
                    if let Val::Ref(_) | Val::Expr(..) = option {
                        roots(option, into);
                    }
                });
            }
        }
    }
}

/// What the choices of a witness are called: those that are not the first option.
fn unusual_choices(tree: &Tree, choices: &[Option<u16>]) -> String {
    let named = choices
        .iter()
        .zip(&tree.slots)
        .filter_map(|(choice, slot)| {
            let option = usize::from((*choice).filter(|i| *i > 0)?);
            Some(format!("{} = {}", slot.place, slot.options.get(option)?))
        });
    let named: Vec<String> = named.collect();
    match named.is_empty() {
        true => "the first option everywhere".to_owned(),
        false => named.join(", "),
    }
}

/// Checks every member.
///
/// # Errors
/// Members that cannot be built, with the one that has the fewest unusual choices; conditions that no member meets.
pub(crate) fn check(
    name: &str,
    tree: &Tree,
    measures: &Measures,
    input: Shape,
    classes: usize,
) -> Result<Checked, SpaceError> {
    let mut dp = Dp {
        tree,
        compiler: Compiler { tree, measures },
        env: vec![NONE; tree.slots.len()],
        each: BTreeSet::new(),
        failures: Vec::new(),
        steps: std::cell::Cell::new(0),
    };
    let settings = recipe_count(tree);
    let whole = dp.whole(name, input, classes, &settings)?;
    let mut warnings = Vec::new();
    if tree.conditions.is_empty() {
        return Ok(whole.checked(tree, warnings, true));
    }
    let unless = |stop: Stop| match stop {
        Stop::Error(error) => error,
        Stop::Each(_) => SpaceError::new("shared layers cannot be separated"),
    };
    // Each condition on its own, then all together.
    for (text, pos, expr, names) in &tree.conditions {
        let mut found = Vec::new();
        names.iter().for_each(|(_, value)| roots(value, &mut found));
        let walk = |choices: &mut [u16], by: &mut dyn Chooser| {
            found.iter().try_for_each(|value| value.walk(choices, by))
        };
        let condition = Val::Expr(expr.clone(), names.clone(), pos.clone());
        let all = dp.assignments(pos, &walk).map_err(unless)?;
        let mut holds = 0;
        for choices in &all {
            holds +=
                usize::from(dp.fixed(choices, |dp| condition.value(&dp.env))? == Lit::Bool(true));
        }
        if holds == 0 {
            let values = names.iter().map(|(name, value)| {
                let values = super::tree::possible(value)?;
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                Ok(format!("${name} is {}", values.join(" or ")))
            });
            let values = SpaceError::all(values)?.join(", ");
            return Err(SpaceError::at(
                pos,
                format!("the condition `{text}` is never true: {values}"),
            ));
        }
        if holds == all.len() {
            warnings.push(format!(
                "{pos}the condition `{text}` is always true and of no use"
            ));
        }
    }
    let mut found = Vec::new();
    for (_, _, _, names) in &tree.conditions {
        names.iter().for_each(|(_, value)| roots(value, &mut found));
    }
    let walk = |choices: &mut [u16], by: &mut dyn Chooser| {
        found.iter().try_for_each(|value| value.walk(choices, by))
    };
    let pos = Pos::default();
    let all = dp.assignments(&pos, &walk).map_err(unless)?;
    let mut kept = Vec::new();
    for choices in all {
        if dp.fixed(&choices, |dp| tree.meets_conditions(&dp.env))? {
            kept.push(choices);
        }
    }
    if kept.is_empty() {
        let texts: Vec<&str> = tree
            .conditions
            .iter()
            .map(|(text, ..)| text.as_str())
            .collect();
        return Err(SpaceError::at(
            &tree.conditions[0].1,
            format!(
                "no member meets all conditions at once: {}",
                texts.join("; ")
            ),
        ));
    }
    if kept.len() > MAX_CONDITIONED {
        warnings.push(format!(
            "conditions name more than {MAX_CONDITIONED} combinations of choices; counts and bounds are those without conditions"
        ));
        return Ok(whole.checked(tree, warnings, false));
    }
    let mut limited: Option<Tally> = None;
    for choices in kept {
        let part = dp.fixed(&choices, |dp| dp.whole(name, input, classes, &settings))?;
        let part = Tally::new(Cost::default(), &choices).then(&part);
        match &mut limited {
            Some(all) => all.or(part),
            None => limited = Some(part),
        }
    }
    let limited = limited.unwrap_or_else(|| whole.clone());
    Ok(Checked {
        all: whole.count,
        ..limited.checked(tree, warnings, true)
    })
}

impl Tally {
    fn checked(self, tree: &Tree, warnings: Vec<String>, exact: bool) -> Checked {
        let witnesses = self.extremes.map(|Extreme(value, rope)| {
            let mut choices = vec![None; tree.slots.len()];
            rope.write(&mut choices);
            (value, choices)
        });
        Checked {
            members: self.count.clone(),
            all: self.count,
            witnesses,
            warnings,
            exact,
        }
    }
}

/// How many recipes there are.
fn recipe_count(tree: &Tree) -> BigUint {
    use super::tree::Setting;
    fn value(v: &Val) -> BigUint {
        match v {
            Val::Choice(_, options) => options.iter().map(value).sum(),
            _ => BigUint::from(1u32),
        }
    }
    fn list(tree: &Tree, settings: &[Setting]) -> BigUint {
        settings
            .iter()
            .map(|setting| match setting {
                Setting::Value(_, v) => value(v),
                Setting::Int(_, slot, ..) | Setting::Float(_, slot, ..) => {
                    BigUint::from(tree.slots[*slot].options.len())
                }
                Setting::OneOf(_, options) => options.iter().map(|o| list(tree, o)).sum(),
            })
            .product()
    }
    list(tree, &tree.recipe)
}

impl<'a> Dp<'a> {
    /// The whole network: all of its members under what is fixed.
    fn whole(
        &mut self,
        name: &str,
        input: Shape,
        classes: usize,
        settings: &BigUint,
    ) -> Result<Tally, SpaceError> {
        let tree = self.tree;
        let pos = Pos::default();
        self.failures.clear();
        let stop = |stop: Stop| match stop {
            Stop::Error(error) => error,
            Stop::Each(_) => SpaceError::new("shared layers are used outside of their scope"),
        };
        let table = self.scope(&tree.root, &pos, input).map_err(stop)?;
        let last = tree
            .root
            .body
            .last()
            .map(|item| item.pos.clone())
            .unwrap_or_default();
        let mut result: Option<Tally> = None;
        let built: BigUint = table.values().map(|tally| &tally.count).sum();
        for (at, tally) in table {
            let out = shape(at.shape);
            if out.channels != classes || (out.height, out.width) != (1, 1) {
                let message = format!(
                    "the network ends in {out}, but there are {classes} classes; expected `linear: {{out: $classes}}` at its end"
                );
                self.fail_at(&last, message, &tally);
                continue;
            }
            match &mut result {
                Some(all) => all.or(tally),
                None => result = Some(tally),
            }
        }
        if let Some(failure) = self.failures.iter().min_by_key(|f| f.first.0).cloned() {
            let all = self.count_scope(&tree.root, &pos).map_err(stop)?;
            let mut choices = vec![None; tree.slots.len()];
            failure.first.1.write(&mut choices);
            let ended = result.map_or(BigUint::ZERO, |tally| tally.count);
            let built = if ended < built { ended } else { built };
            let failing = if all > built {
                &all - &built
            } else {
                BigUint::ZERO
            };
            let Unfit { pos, message } = failure.unfit;
            return Err(SpaceError::at(
                &pos,
                format!(
                    "some members of `{name}` cannot be built: {message}\n  smallest such member: {}\n  {failing} of {all} members",
                    unusual_choices(tree, &choices)
                ),
            ));
        }
        let mut whole = result.ok_or_else(|| SpaceError::new(format!("`{name}` has no member")))?;
        whole.count *= settings;
        Ok(whole)
    }
}
