//! Where the states of a cell stand, and where its edges run.
//!
//! States stand in columns on one line, the inputs above one another at the left. Between two columns is a gap in which lines
//! run level, each in a lane of its own, and where their labels are; beside the states is a zone in which lines leave their
//! lanes. So a label never meets another label or the line of another edge, however many edges there are.
//!
//! The lanes are those of all pairs of states, whether an edge joins them or not: the layout depends on the numbers of nodes
//! and inputs alone, and cells of one search space can be laid over each other. Only where that would be too many pairs, lanes
//! are of the edges that exist, and edges beyond the first between two states get lanes besides.

use std::collections::BTreeMap;

use super::picture::Step;

/// Distance of two lanes, and of the first one from the middle line.
const LANE: f64 = 27.0;
const FIRST_LANE: f64 = 32.0;
/// The zone beside a state.
const ZONE: f64 = 26.0;
/// Most room for a label.
pub const LABEL: f64 = 138.0;
/// Height of a label.
pub const LABEL_HEIGHT: f64 = 21.0;
/// The gap before the output, in which no labels are.
const LAST_GAP: f64 = 26.0;
/// Width and height of a node, and of an input or the output.
pub const NODE: [f64; 2] = [36.0, 36.0];
pub const GATE: [f64; 2] = [52.0, 34.0];
/// Least distance of two inputs.
const INPUTS_APART: f64 = 44.0;
/// Most distance of the ends of two lines at one state.
const PORTS_APART: f64 = 8.0;
/// Length of the head of an arrow.
pub const HEAD: f64 = 8.0;
/// Most pairs of states that all get lanes.
const MOST_PAIRS: usize = 45;
/// Most edges whose crossings are counted.
const MOST_COUNTED: usize = 400;

/// What the layout depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    /// Which inputs anything reads.
    pub inputs: Vec<bool>,
    /// Number of nodes.
    pub nodes: usize,
    /// How many edges join two states.
    pub pairs: BTreeMap<(usize, usize), usize>,
    /// States that go into the output.
    pub joined: Vec<usize>,
    /// How far from its middle lines end at a state.
    pub ports: f64,
}

/// Where a state or the output stands: its middle and its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    pub at: [f64; 2],
    pub size: [f64; 2],
}

impl Spot {
    fn left(&self) -> f64 {
        self.at[0] - self.size[0] / 2.0
    }
    fn right(&self) -> f64 {
        self.at[0] + self.size[0] / 2.0
    }
    fn bottom(&self) -> f64 {
        self.at[1] + self.size[1] / 2.0
    }
}

/// The way of an edge.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub from: [f64; 2],
    pub steps: Vec<Step>,
    /// Where it ends: at its state's left side.
    pub tip: [f64; 2],
    /// Half the height of an arrow's head that leaves room for its neighbours'.
    pub head: f64,
    /// The middle of its label.
    pub label: [f64; 2],
}

/// A cell in its places.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Inputs that are read and nodes, by state.
    pub states: BTreeMap<usize, Spot>,
    pub output: Spot,
    /// The ways of all edges between two states.
    pub ways: BTreeMap<(usize, usize), Vec<Way>>,
    /// The ways into the output, and whether each ends below it.
    pub joins: Vec<(usize, [f64; 2], Vec<Step>, bool)>,
    pub width: f64,
    pub height: f64,
}

/// On which side of the middle line a lane is, and the how manieth it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lane {
    Middle,
    Above(usize),
    Below(usize),
}

impl Lane {
    fn y(self) -> f64 {
        match self {
            Lane::Middle => 0.0,
            Lane::Above(row) => -FIRST_LANE - row as f64 * LANE,
            Lane::Below(row) => FIRST_LANE + row as f64 * LANE,
        }
    }
}

/// An edge in its lane.
struct Slot {
    from: usize,
    to: usize,
    lane: Lane,
}

/// Where an input's lines may run.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Above,
    Free,
    Below,
}

impl Topology {
    fn n_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The column of a state: inputs share the first one.
    fn column(&self, state: usize) -> usize {
        (state + 1).saturating_sub(self.n_inputs())
    }

    /// All edges for which there are lanes.
    fn slots(&self) -> Vec<(usize, usize)> {
        let n_states = self.n_inputs() + self.nodes;
        let is_there = |state: usize| self.inputs.get(state).copied().unwrap_or(true);
        let read = self.inputs.iter().filter(|read| **read).count();
        let n_pairs = self
            .nodes
            .saturating_mul(read)
            .saturating_add(self.nodes.saturating_mul(self.nodes.saturating_sub(1)) / 2);
        let mut pairs = self.pairs.clone();
        if n_pairs <= MOST_PAIRS {
            for to in self.n_inputs()..n_states {
                for from in (0..to).filter(|&from| is_there(from)) {
                    pairs.entry((from, to)).or_insert(1);
                }
            }
        }
        let slots = pairs
            .into_iter()
            .filter(|((from, to), _)| self.column(*from) < self.column(*to) && is_there(*from));
        let mut slots: Vec<(usize, usize)> = slots
            .flat_map(|(pair, n)| std::iter::repeat_n(pair, n))
            .collect();
        // Short ones first: they get the inner lanes, and long ones run around them.
        slots.sort_by_key(|&(from, to)| {
            (self.column(to) - self.column(from), self.column(from), from)
        });
        slots
    }

    /// Upper inputs' lines run above, lower ones' below; the middle one's are free, as are those of nodes.
    fn side(&self, state: usize) -> Side {
        if state >= self.n_inputs() {
            return Side::Free;
        }
        let read = |states: &[bool]| states.iter().filter(|read| **read).count();
        let (before, after) = (read(&self.inputs[..state]), read(&self.inputs[state + 1..]));
        match before.cmp(&after) {
            std::cmp::Ordering::Less => Side::Above,
            std::cmp::Ordering::Equal => Side::Free,
            std::cmp::Ordering::Greater => Side::Below,
        }
    }

    /// Gives every edge a lane.
    fn lanes(&self) -> Vec<Slot> {
        let n_gaps = self.nodes;
        let mut taken: [Vec<Vec<bool>>; 2] = [Vec::new(), Vec::new()];
        let mut middle = vec![false; n_gaps];
        let mut slots: Vec<Slot> = Vec::new();
        let pairs = self.slots();
        let counts = pairs.len() <= MOST_COUNTED;
        for (from, to) in pairs {
            let (start, end) = (self.column(from), self.column(to));
            let side = self.side(from);
            if side == Side::Free && end == start + 1 && !middle[start] {
                middle[start] = true;
                slots.push(Slot {
                    from,
                    to,
                    lane: Lane::Middle,
                });
                continue;
            }
            let free_row = |rows: &Vec<Vec<bool>>| {
                let free = |row: &Vec<bool>| row[start..end].iter().all(|taken| !taken);
                rows.iter().position(free).unwrap_or(rows.len())
            };
            // Lines that begin or end between the ends of another one on its side cross it.
            let crossings = |is_above: bool| {
                let others = slots
                    .iter()
                    .filter(|_| counts)
                    .filter(|slot| match slot.lane {
                        Lane::Above(_) => is_above,
                        Lane::Below(_) => !is_above,
                        Lane::Middle => false,
                    });
                let crossed = others.filter(|slot| {
                    let (a, b) = (self.column(slot.from), self.column(slot.to));
                    (a < start && start < b && b < end) || (start < a && a < end && end < b)
                });
                crossed.count()
            };
            let is_above = match side {
                Side::Above => true,
                Side::Below => false,
                Side::Free => {
                    let cost = |i: usize| (crossings(i == 0), free_row(&taken[i]));
                    cost(0) <= cost(1)
                }
            };
            let rows = &mut taken[usize::from(!is_above)];
            let row = free_row(rows);
            if row == rows.len() {
                rows.push(vec![false; n_gaps]);
            }
            rows[row][start..end].fill(true);
            let lane = if is_above {
                Lane::Above(row)
            } else {
                Lane::Below(row)
            };
            slots.push(Slot { from, to, lane });
        }
        slots
    }

    /// Places everything, the upper left corner at 0.
    pub fn layout(&self) -> Layout {
        let lanes = self.lanes();
        let rows = |pick: fn(Lane) -> Option<usize>| {
            let rows = lanes.iter().filter_map(|slot| pick(slot.lane));
            rows.map(|row| row + 1).max().unwrap_or(0)
        };
        let above = rows(|lane| match lane {
            Lane::Above(row) => Some(row),
            Lane::Middle | Lane::Below(_) => None,
        });
        let below = rows(|lane| match lane {
            Lane::Below(row) => Some(row),
            Lane::Middle | Lane::Above(_) => None,
        });
        let n_inputs = self.n_inputs();
        let last = n_inputs + self.nodes;
        let joined: Vec<usize> = self
            .joined
            .iter()
            .copied()
            .filter(|&state| state < last)
            .collect();
        // All states but the last go into the output by a line of their own below everything.
        let joined_inputs = joined.iter().filter(|&&state| state < n_inputs).count();
        let left = if joined_inputs > 0 {
            12.0 + 6.0 * joined_inputs as f64
        } else {
            0.0
        };
        let pitch = NODE[0] + 2.0 * ZONE + LABEL;
        let first = left + GATE[0] + 2.0 * ZONE + LABEL + NODE[0] / 2.0;

        let mut states: BTreeMap<usize, Spot> = BTreeMap::new();
        let read = (0..n_inputs).filter(|&state| self.inputs[state]);
        let inputs: Vec<usize> = read.collect();
        let wishes = inputs.iter().map(|&input| {
            let own: Vec<f64> = lanes
                .iter()
                .filter(|slot| slot.from == input)
                .map(|slot| slot.lane.y())
                .collect();
            match self.side(input) {
                Side::Free => 0.0,
                Side::Above | Side::Below if own.is_empty() => 0.0,
                Side::Above | Side::Below => own.iter().sum::<f64>() / own.len() as f64,
            }
        });
        let wishes: Vec<f64> = wishes.collect();
        for (&input, y) in inputs.iter().zip(apart(&wishes, INPUTS_APART)) {
            states.insert(
                input,
                Spot {
                    at: [left + GATE[0] / 2.0, y],
                    size: GATE,
                },
            );
        }
        for node in 0..self.nodes {
            let at = [first + node as f64 * pitch, 0.0];
            states.insert(n_inputs + node, Spot { at, size: NODE });
        }
        let end = match self.nodes {
            0 => left + GATE[0],
            n => first + (n - 1) as f64 * pitch + NODE[0] / 2.0,
        };
        let output = Spot {
            at: [end + 2.0 * ZONE + LAST_GAP + GATE[0] / 2.0, 0.0],
            size: GATE,
        };

        let lowest = states
            .values()
            .map(Spot::bottom)
            .fold(GATE[1] / 2.0, f64::max);
        let highest = states
            .values()
            .map(|spot| spot.at[1] - spot.size[1] / 2.0)
            .fold(-GATE[1] / 2.0, f64::min);
        let reach = |rows: usize| match rows.checked_sub(1) {
            Some(row) => FIRST_LANE + row as f64 * LANE + LABEL_HEIGHT / 2.0,
            None => 0.0,
        };
        let top = -reach(above).max(-highest);
        let mut bottom = reach(below).max(lowest);
        let bus = bottom + 12.0;
        let uses_bus = joined.iter().any(|&state| state + 1 != last);
        if uses_bus {
            bottom = bus + 2.0;
        }

        let mut layout = Layout {
            ways: self.ways(&lanes, &states),
            joins: joined
                .iter()
                .filter_map(|&state| {
                    join(
                        state,
                        state + 1 == last,
                        states.get(&state)?,
                        &output,
                        bus,
                        state < n_inputs,
                    )
                })
                .collect(),
            states,
            output,
            width: output.right(),
            height: bottom - top,
        };
        layout.shift(-top);
        layout
    }

    /// The ways of the edges that exist. Lines end at a state in the order of their lanes.
    fn ways(
        &self,
        lanes: &[Slot],
        states: &BTreeMap<usize, Spot>,
    ) -> BTreeMap<(usize, usize), Vec<Way>> {
        let mut rest = self.pairs.clone();
        let used = lanes
            .iter()
            .filter(|slot| match rest.get_mut(&(slot.from, slot.to)) {
                Some(n) if *n > 0 => {
                    *n -= 1;
                    true
                }
                _ => false,
            });
        let used: Vec<&Slot> = used.collect();
        // How many lanes end at a state above and below the middle line, before and after this one.
        let port = |state: usize, slot: &Slot, is_end: bool| {
            let here = used
                .iter()
                .filter(|other| state == if is_end { other.to } else { other.from });
            let mut ys: Vec<f64> = here.map(|other| other.lane.y()).collect();
            ys.sort_by(f64::total_cmp);
            let sides = [
                ys.iter().filter(|y| **y < 0.0).count(),
                ys.iter().filter(|y| **y > 0.0).count(),
            ];
            let own = slot.lane.y();
            let steps = match own {
                y if y < 0.0 => {
                    -(ys.iter()
                        .filter(|other| **other < 0.0 && **other >= y)
                        .count() as f64)
                }
                y if y > 0.0 => ys
                    .iter()
                    .filter(|other| **other > 0.0 && **other <= y)
                    .count() as f64,
                _ => 0.0,
            };
            let most = sides[0].max(sides[1]).max(1) as f64;
            let step = (self.ports / most).min(PORTS_APART);
            (steps * step, step)
        };
        let mut ways: BTreeMap<(usize, usize), Vec<Way>> = BTreeMap::new();
        for slot in &used {
            let (Some(from), Some(to)) = (states.get(&slot.from), states.get(&slot.to)) else {
                continue;
            };
            let y = slot.lane.y();
            // Inputs that stand off the middle line begin all their lines at one point.
            let (leaves, _) = port(slot.from, slot, false);
            let leaves = if slot.from < self.n_inputs() && self.side(slot.from) != Side::Free {
                0.0
            } else {
                leaves
            };
            let (arrives, step) = port(slot.to, slot, true);
            // Inputs are round at their ends.
            let round = match from.size == GATE {
                true => GATE[1] / 2.0 - ((GATE[1] / 2.0).powi(2) - leaves * leaves).max(0.0).sqrt(),
                false => 0.0,
            };
            let start = [from.right() - round, from.at[1] + leaves];
            let tip = [to.left(), to.at[1] + arrives];
            let level = [from.right() + ZONE, to.left() - ZONE];
            let end = [tip[0] - HEAD, tip[1]];
            let mut steps = Vec::new();
            curve(&mut steps, start, [level[0], y]);
            steps.push(Step::To([level[1], y]));
            curve(&mut steps, [level[1], y], end);
            ways.entry((slot.from, slot.to)).or_default().push(Way {
                from: start,
                steps,
                tip,
                head: (step / 2.0).clamp(2.2, 4.0),
                label: [to.left() - ZONE - LABEL / 2.0, y],
            });
        }
        ways
    }
}

/// The way of a state into the output: straight from the last node, below everything from the others.
fn join(
    state: usize,
    is_last: bool,
    spot: &Spot,
    output: &Spot,
    bus: f64,
    is_input: bool,
) -> Option<(usize, [f64; 2], Vec<Step>, bool)> {
    if is_last {
        let start = [spot.right(), spot.at[1]];
        let mut steps = Vec::new();
        curve(&mut steps, start, [output.left() - HEAD, output.at[1]]);
        return Some((state, start, steps, false));
    }
    let radius = 9.0;
    let mut steps = Vec::new();
    let (start, x) = match is_input {
        // Below an input may be another one, so its line goes round by the left.
        true => {
            let x = spot.left() - 6.0 - 6.0 * state as f64;
            let start = [spot.left(), spot.at[1]];
            steps.push(Step::To([x + 4.0, start[1]]));
            corner(
                &mut steps,
                [x + 4.0, start[1]],
                [x, start[1]],
                [x, start[1] + 4.0],
            );
            (start, x)
        }
        false => ([spot.at[0], spot.bottom()], spot.at[0]),
    };
    steps.push(Step::To([x, bus - radius]));
    corner(&mut steps, [x, bus - radius], [x, bus], [x + radius, bus]);
    let end = output.at[0];
    steps.push(Step::To([end - radius, bus]));
    corner(
        &mut steps,
        [end - radius, bus],
        [end, bus],
        [end, bus - radius],
    );
    steps.push(Step::To([end, output.bottom() + HEAD]));
    Some((state, start, steps, true))
}

/// From one level to another.
fn curve(steps: &mut Vec<Step>, from: [f64; 2], to: [f64; 2]) {
    if (from[1] - to[1]).abs() < 0.05 {
        steps.push(Step::To(to));
        return;
    }
    let middle = (from[0] + to[0]) / 2.0;
    steps.push(Step::Curve([middle, from[1]], [middle, to[1]], to));
}

fn corner(steps: &mut Vec<Step>, from: [f64; 2], at: [f64; 2], to: [f64; 2]) {
    let near = |end: [f64; 2]| [0, 1].map(|i| end[i] + 0.55 * (at[i] - end[i]));
    steps.push(Step::Curve(near(from), near(to), to));
}

/// Places nearest to the wishes (least squares), at least so far from each other: isotonic regression by pooling adjacent
/// violators.
fn apart(wishes: &[f64], distance: f64) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (i, wish) in wishes.iter().enumerate() {
        pools.push((wish - i as f64 * distance, 1));
        while let [.., (a, n), (b, m)] = pools[..] {
            if a <= b {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push(((a * n as f64 + b * m as f64) / (n + m) as f64, n + m));
        }
    }
    let fitted = pools
        .into_iter()
        .flat_map(|(value, n)| std::iter::repeat_n(value, n));
    fitted
        .enumerate()
        .map(|(i, value)| value + i as f64 * distance)
        .collect()
}

impl Layout {
    /// Moves everything down.
    fn shift(&mut self, down: f64) {
        let point = |p: &mut [f64; 2]| p[1] += down;
        let all = |steps: &mut Vec<Step>| {
            for step in steps {
                match step {
                    Step::To(end) => end[1] += down,
                    Step::Curve(a, b, end) => [a, b, end].into_iter().for_each(|p| p[1] += down),
                }
            }
        };
        self.states
            .values_mut()
            .for_each(|spot| point(&mut spot.at));
        point(&mut self.output.at);
        for way in self.ways.values_mut().flatten() {
            point(&mut way.from);
            point(&mut way.tip);
            point(&mut way.label);
            all(&mut way.steps);
        }
        for (_, from, steps, _) in &mut self.joins {
            point(from);
            all(steps);
        }
    }
}
