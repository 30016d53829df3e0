//! The cells of NAS-Bench-201 as a space of choices, written by hand: for tables, and as the proving ground of optimisers.

use std::collections::BTreeMap;

use archai_spec::desc::nasbench201::{Cell201, Op201};
use archai_spec::desc::{Cost, ModelDesc, OpCatalog};
use archai_spec::rng::Key;
use archai_spec::settings::ModelDescSettings;

use crate::space::{BigUint, Features, Member, SearchSpace, SpaceError};

/// All cells whose last edges are as in a given one: with six free edges the whole space, with fewer a part of it.
///
/// ```
/// use archai_search::{cells::Cells201, space::SearchSpace};
/// let space = Cells201::new();
/// let member = space.parse_id("nb201-220223").unwrap();
/// assert_eq!(space.neighbours(&member).len(), 24);
/// assert_eq!(space.costs(&member).unwrap().params, 1_073_466);
/// ```
#[derive(Clone, Debug)]
pub struct Cells201 {
    free: usize,
    rest: Cell201,
    settings: Option<ModelDescSettings>,
}

/// (source, target) of each edge in the order of the digits.
const EDGES: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];

const NAME: &str = "nb201";

impl Default for Cells201 {
    fn default() -> Self {
        Cells201::new()
    }
}

impl Cells201 {
    /// All 15,625 cells. Their costs are known; described they are only with settings, see [`Cells201::described`].
    pub fn new() -> Self {
        Cells201 {
            free: 6,
            rest: Cell201 {
                edges: [Op201::Conv3x3; 6],
            },
            settings: None,
        }
    }

    /// The cells of which only the first edges are free, at most six; the others are 3×3 convolutions.
    pub fn with_free_edges(free: usize) -> Self {
        Cells201 {
            free: free.min(6),
            ..Cells201::new()
        }
    }

    /// With the settings of the network around a cell.
    #[must_use]
    pub fn described(mut self, settings: ModelDescSettings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// The cell of a member.
    ///
    /// # Errors
    /// It is no member.
    pub fn cell(&self, member: &Member) -> Result<Cell201, SpaceError> {
        let mut cell = self.rest;
        if member.choices.len() != self.free {
            return Err(SpaceError::new(format!(
                "a member of `{NAME}` has {} choices, this one has {}",
                self.free,
                member.choices.len()
            )));
        }
        for (edge, choice) in cell.edges.iter_mut().zip(&member.choices) {
            let op = choice.and_then(|choice| Op201::ALL.get(usize::from(choice)));
            *edge =
                *op.ok_or_else(|| SpaceError::new("a choice of a cell is an op from 0 to 4"))?;
        }
        Ok(cell)
    }

    /// The member of a cell, if it is one.
    pub fn member(&self, cell: &Cell201) -> Option<Member> {
        if cell.edges[self.free..] != self.rest.edges[self.free..] {
            return None;
        }
        let index = |op: &Op201| Op201::ALL.iter().position(|other| other == op);
        let choices = cell.edges[..self.free]
            .iter()
            .map(|op| index(op).map(|i| i as u16));
        Some(Member {
            choices: choices.collect(),
        })
    }

    fn coded(&self, mut code: u32) -> Member {
        let mut choices = vec![Some(0); self.free];
        for choice in choices.iter_mut().rev() {
            *choice = Some((code % 5) as u16);
            code /= 5;
        }
        Member { choices }
    }

    fn count(&self) -> u32 {
        5u32.pow(self.free as u32)
    }
}

/// Which edges lie on a way from the input to the output.
fn live(cell: &Cell201) -> [bool; 6] {
    let works = |edge: usize| cell.edges[edge] != Op201::None;
    let mut reached = [true, false, false, false];
    for (edge, (from, to)) in EDGES.iter().enumerate() {
        // The sources are in ascending order for each target, and targets follow their sources.
        reached[*to] |= works(edge) && reached[*from];
    }
    // An edge into node 2 stands before the edge 1→2 in the list, so node 2 is looked at again.
    reached[3] |= works(5) && reached[2];
    let mut useful = [false, false, false, true];
    for (edge, (from, to)) in EDGES.iter().enumerate().rev() {
        useful[*from] |= works(edge) && useful[*to];
    }
    std::array::from_fn(|edge| {
        let (from, to) = EDGES[edge];
        works(edge) && reached[from] && useful[to]
    })
}

/// What a state is the sum of: the input, by its number 0, and ops, by the numbers of their edges plus 1.
type Terms = Vec<usize>;

/// The same text for the same network: skips pass on what they read, dead ops are dropped, an op that is used twice stays one op
/// (two convolutions of one sum are two), and the order of sums and of ops does not matter.
fn canonical(cell: &Cell201) -> String {
    let live = live(cell);
    let mut states: [Terms; 4] = [vec![0], vec![], vec![], vec![]];
    let mut ops: Vec<(usize, Op201, Terms)> = Vec::new();
    for to in 1..4 {
        for (edge, (from, _)) in EDGES
            .iter()
            .enumerate()
            .filter(|(_, (_, target))| *target == to)
        {
            match cell.edges[edge] {
                _ if !live[edge] => {}
                Op201::Skip => {
                    let passed = states[*from].clone();
                    states[to].extend(passed);
                }
                op => {
                    // Two pools of one sum are one pool used twice: nothing is learnt in them.
                    let same = |(_, other, read): &&(usize, Op201, Terms)| {
                        op == Op201::AvgPool && *other == op && *read == states[*from]
                    };
                    let term = ops.iter().find(same).map_or(edge + 1, |(term, ..)| *term);
                    if term == edge + 1 {
                        ops.push((term, op, states[*from].clone()));
                    }
                    states[to].push(term);
                }
            }
        }
        states[to].sort_unstable();
    }
    let output = &states[3];
    // Every order of the ops in which each follows what it reads gives a text; the smallest is the network's.
    let mut best: Option<String> = None;
    let mut order: Vec<usize> = Vec::new();
    extend(&ops, output, &mut order, &mut best);
    best.unwrap_or_default()
}

fn extend(
    ops: &[(usize, Op201, Terms)],
    output: &Terms,
    order: &mut Vec<usize>,
    best: &mut Option<String>,
) {
    if order.len() == ops.len() {
        let place = |term: &usize| match term {
            0 => 0,
            id => 1 + order.iter().position(|i| ops[*i].0 == *id).unwrap_or(0),
        };
        let text = |terms: &Terms| {
            let mut places: Vec<usize> = terms.iter().map(place).collect();
            places.sort_unstable();
            places
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join("+")
        };
        let parts = order
            .iter()
            .map(|i| format!("{:?}({})", ops[*i].1, text(&ops[*i].2)));
        let whole = format!(
            "{} -> {}",
            parts.collect::<Vec<_>>().join(" "),
            text(output)
        );
        if best.as_ref().is_none_or(|best| whole < *best) {
            *best = Some(whole);
        }
        return;
    }
    for i in 0..ops.len() {
        let ready = |term: &usize| *term == 0 || order.iter().any(|o| ops[*o].0 == *term);
        if !order.contains(&i) && ops[i].2.iter().all(ready) {
            order.push(i);
            extend(ops, output, order, best);
            order.pop();
        }
    }
}

/// Learnt numbers and multiply-adds of the published networks: 5 cells of 16, 32 and 64 channels on maps of 32, 16 and 8 pixels,
/// each convolution with its norm's scale and shift, and what is around them.
fn cost(cell: &Cell201) -> Cost {
    let mut cost = Cost {
        params: 73_306,
        macs: 7_783_040,
    };
    for (channels, pixels) in [(16u64, 1024u64), (32, 256), (64, 64)] {
        for op in cell.edges {
            let taps = match op {
                Op201::Conv3x3 => 9,
                Op201::Conv1x1 => 1,
                Op201::Skip | Op201::None | Op201::AvgPool => continue,
            };
            cost.params += 5 * (taps * channels * channels + 2 * channels);
            cost.macs += 5 * taps * channels * channels * pixels;
        }
    }
    cost
}

impl SearchSpace for Cells201 {
    fn name(&self) -> &str {
        NAME
    }

    fn fingerprint(&self) -> [u8; 32] {
        let text = format!(
            "cells of NAS-Bench-201, version 1, {} free edges",
            self.free
        );
        *blake3::hash(text.as_bytes()).as_bytes()
    }

    fn size(&self) -> Option<BigUint> {
        Some(BigUint::from(self.count()))
    }

    fn sample(&self, key: Key) -> Result<Member, SpaceError> {
        Ok(self.coded(key.rng().uniform_u32_below(self.count())))
    }

    fn neighbours(&self, member: &Member) -> Vec<Member> {
        let mut all = Vec::with_capacity(4 * self.free);
        for place in 0..member.choices.len() {
            for op in 0..5 {
                if member.choices[place] != Some(op) {
                    let mut other = member.clone();
                    other.choices[place] = Some(op);
                    all.push(other);
                }
            }
        }
        all
    }

    fn crossover(&self, a: &Member, b: &Member, key: Key) -> Member {
        let mut rng = key.rng();
        let pairs = a.choices.iter().zip(&b.choices);
        let choices = pairs.map(|(a, b)| {
            if rng.uniform_u32_below(2) == 0 {
                *a
            } else {
                *b
            }
        });
        Member {
            choices: choices.collect(),
        }
    }

    fn features(&self, member: &Member) -> Result<Features, SpaceError> {
        let cell = self.cell(member)?;
        let mut choices = vec![0.0; 6 * self.free];
        for (place, choice) in member.choices.iter().enumerate() {
            choices[6 * place + choice.map_or(5, usize::from)] = 1.0;
        }
        // All ways from the input to the output as lists of ops, skips left out.
        let live = live(&cell);
        let mut ways: Vec<(usize, Vec<&str>)> = vec![(0, Vec::new())];
        let mut paths = BTreeMap::new();
        while let Some((node, ops)) = ways.pop() {
            if node == 3 {
                for length in 1..=3 {
                    for window in ops.windows(length) {
                        *paths.entry(window.join(" ")).or_insert(0) += 1;
                    }
                }
                let whole = format!("= {}", ops.join(" "));
                *paths.entry(whole).or_insert(0) += 1;
                continue;
            }
            for (edge, (from, to)) in EDGES.iter().enumerate() {
                if *from == node && live[edge] {
                    let mut longer = ops.clone();
                    if cell.edges[edge] != Op201::Skip {
                        longer.push(cell.edges[edge].name());
                    }
                    ways.push((*to, longer));
                }
            }
        }
        Ok(Features { choices, paths })
    }

    fn id(&self, member: &Member) -> String {
        match self.cell(member) {
            Ok(cell) => format!("{NAME}-{}", cell.digits()),
            Err(_) => format!("{NAME}-?"),
        }
    }

    fn parse_id(&self, id: &str) -> Result<Member, SpaceError> {
        let fail = |why: String| {
            SpaceError::new(format!(
                "`{id}` is no member of `{NAME}`: {why}; expected an id such as `nb201-220223`"
            ))
        };
        let digits = id
            .strip_prefix("nb201-")
            .ok_or_else(|| fail("it begins otherwise".into()))?;
        let cell: Cell201 = digits.parse().map_err(|e| fail(format!("{e}")))?;
        let member = self.member(&cell);
        member.ok_or_else(|| fail("an edge that is not free is another".into()))
    }

    fn network_hash(&self, member: &Member) -> Result<[u8; 32], SpaceError> {
        let text = canonical(&self.cell(member)?);
        Ok(*blake3::hash(text.as_bytes()).as_bytes())
    }

    fn describe(&self, member: &Member) -> Result<ModelDesc, SpaceError> {
        let cell = self.cell(member)?;
        let settings = self.settings.as_ref().ok_or_else(|| {
            SpaceError::new("cells of a table have no description without the settings of the network around them")
        })?;
        let built = cell.to_desc(settings, &OpCatalog::builtin());
        built
            .map(|built| built.desc)
            .map_err(|e| SpaceError::new(e.to_string()))
    }

    fn costs(&self, member: &Member) -> Result<Cost, SpaceError> {
        Ok(cost(&self.cell(member)?))
    }

    fn enumerate(&self) -> Option<Box<dyn Iterator<Item = Member> + '_>> {
        Some(Box::new((0..self.count()).map(|code| self.coded(code))))
    }
}
