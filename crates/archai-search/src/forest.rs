//! The surrogate: extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized trees", 2006) and the ranks
//! that they learn.
//!
//! Trees suit what a search knows of networks: choices that exist or do not, counts, numbers of any scale, tens to thousands
//! of examples. A tree that was grown at random is as good as a draw from what is believed, so the mean of a few trees, another
//! few for each proposal, explores by itself.
//!
//! ```
//! use archai_search::forest::{Forest, Growth, Table};
//! use archai_spec::rng::Key;
//! let rows = [[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]];
//! let table = Table::new(2, rows.iter().flatten().copied().collect());
//! let forest = Forest::grow(&table, &[0.0, 1.0, 0.0, 1.0], Growth::default(), Key::new(1), 0..50);
//! assert!(forest.predict(&[1.0, 0.5]) > 0.9 && forest.predict(&[0.0, 0.5]) < 0.1);
//! ```

use archai_spec::rng::{Key, Rng};

/// Rows of numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    width: usize,
    values: Vec<f32>,
}

impl Table {
    /// From the values row by row. Values that do not fill a row are left out.
    pub fn new(width: usize, mut values: Vec<f32>) -> Self {
        values.truncate(values.len() - values.len() % width.max(1));
        Table { width, values }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many numbers a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// A row.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }
}

/// How trees grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Which part of the columns is looked at for a split, at least one column.
    pub columns: f64,
    /// A node with fewer rows is not split.
    pub split: usize,
}

impl Default for Growth {
    fn default() -> Self {
        Growth {
            columns: 1.0 / 3.0,
            split: 2,
        }
    }
}

/// A node of a tree: a question, or a value when both ways lead to the node itself.
#[derive(Clone, Copy, Debug)]
struct Node {
    column: u32,
    threshold: f32,
    /// Where rows go whose value is below the threshold; the others go to the node after it.
    below: u32,
    value: f64,
}

/// Trees whose mean is the prediction.
#[derive(Clone, Debug)]
pub struct Forest {
    trees: Vec<Vec<Node>>,
}

impl Forest {
    /// Grows the trees of these numbers. A tree depends on the key, its number, the table and the targets alone, so that
    /// whoever needs ten of a hundred grows ten.
    ///
    /// # Panics
    /// If there is not one target per row.
    pub fn grow(
        table: &Table,
        targets: &[f64],
        growth: Growth,
        key: Key,
        numbers: impl IntoIterator<Item = usize>,
    ) -> Self {
        assert_eq!(table.len(), targets.len(), "one target for each row");
        let (n, width) = (table.len(), table.width);
        let columns = Columns::of(table);
        let varied: Vec<u32> = (0..width as u32)
            .filter(|c| columns.levels[*c as usize].len() > 1)
            .collect();
        // Sums of whole numbers do not depend on their order, so that several are made at once.
        let most = targets.iter().fold(0.0, |most: f64, t| most.max(t.abs()));
        let unit = match most > 0.0 && most.is_finite() {
            true => f64::from(i32::MAX) / (most * n as f64),
            false => 1.0,
        };
        let whole: Vec<i32> = targets.iter().map(|t| (t * unit) as i32).collect();
        let tries = ((growth.columns * varied.len() as f64).ceil() as usize).max(1);
        let trees = numbers.into_iter().map(|number| {
            let mut grower = Grower {
                columns: &columns,
                targets,
                whole: &whole,
                codes: vec![0; n],
                goals: vec![0; n],
                tries,
                split: growth.split.max(2),
                rng: key.with(number).rng(),
                nodes: Vec::with_capacity(2 * n),
            };
            let mut rows: Vec<u32> = (0..n as u32).collect();
            grower.nodes.push(Node {
                column: 0,
                threshold: 0.0,
                below: 0,
                value: 0.0,
            });
            grower.grow(0, 0, &mut rows, varied.clone());
            grower.nodes
        });
        Forest {
            trees: trees.collect(),
        }
    }

    /// The mean of the trees' values for a row; 0 of a forest without trees or without examples.
    pub fn predict(&self, row: &[f32]) -> f64 {
        let sum: f64 = self.trees.iter().map(|tree| value(tree, row)).sum();
        sum / self.trees.len().max(1) as f64
    }

    /// Each tree's value for a row.
    pub fn votes(&self, row: &[f32]) -> impl Iterator<Item = f64> {
        self.trees.iter().map(move |tree| value(tree, row))
    }
}

fn value(tree: &[Node], row: &[f32]) -> f64 {
    let mut at = 0;
    loop {
        let node = &tree[at];
        if node.below == 0 {
            return node.value;
        }
        let beyond = row[node.column as usize] >= node.threshold;
        at = node.below as usize + usize::from(beyond);
    }
}

/// Nodes below one another at most: random thresholds halve a node's rows in a few steps, so trees of a million rows stay below.
const MAX_DEPTH: usize = 200;

/// A table column by column, each value as the place that it has among the column's different values: a column of a thousand
/// rows then fits into the fastest cache.
struct Columns {
    n: usize,
    codes: Vec<u32>,
    /// The different values of each column, in ascending order.
    levels: Vec<Vec<f32>>,
}

impl Columns {
    fn of(table: &Table) -> Self {
        let n = table.len();
        let (mut codes, mut levels) = (Vec::with_capacity(n * table.width), Vec::new());
        let mut column = vec![0f32; n];
        for c in 0..table.width {
            for (i, value) in column.iter_mut().enumerate() {
                *value = table.values[i * table.width + c];
            }
            let mut different = column.clone();
            different.sort_by(f32::total_cmp);
            different.dedup();
            codes.extend(
                (column.iter()).map(|v| different.partition_point(|level| level < v) as u32),
            );
            levels.push(different);
        }
        Columns { n, codes, levels }
    }

    fn codes(&self, column: u32) -> &[u32] {
        &self.codes[column as usize * self.n..][..self.n]
    }
}

struct Grower<'a> {
    columns: &'a Columns,
    targets: &'a [f64],
    /// The targets in such a unit that no sum of them is too large.
    whole: &'a [i32],
    tries: usize,
    split: usize,
    rng: Rng,
    nodes: Vec<Node>,
    /// Of the rows of the present node: the codes in the present column, and the targets.
    codes: Vec<u32>,
    goals: Vec<i32>,
}

impl Grower<'_> {
    /// Grows what is below a node. `open` are the columns that may still differ among its rows.
    fn grow(&mut self, node: usize, depth: usize, rows: &mut [u32], mut open: Vec<u32>) {
        let (n, columns) = (rows.len(), self.columns);
        let target = |row: &u32| self.targets[*row as usize];
        self.nodes[node].value = match n {
            0 => 0.0,
            n => rows.iter().map(target).sum::<f64>() / n as f64,
        };
        let pure = rows.iter().all(|row| target(row) == target(&rows[0]));
        if n < self.split || pure || depth == MAX_DEPTH {
            return;
        }
        for (goal, row) in self.goals.iter_mut().zip(rows.iter()) {
            *goal = self.whole[*row as usize];
        }
        let goals = &self.goals[..n];
        let sum: i32 = goals.iter().sum();
        let mut best: Option<(f64, u32, u32, f32)> = None;
        let (mut left, mut looked) = (open.len(), 0);
        while left > 0 && looked < self.tries {
            let drawn = self.rng.uniform_u32_below(left as u32) as usize;
            left -= 1;
            open.swap(drawn, left);
            let column = columns.codes(open[left]);
            let codes = &mut self.codes[..n];
            let (mut low, mut high) = (u32::MAX, 0);
            for (code, row) in codes.iter_mut().zip(rows.iter()) {
                *code = column[*row as usize];
                low = low.min(*code);
                high = high.max(*code);
            }
            if low >= high {
                // The same in all rows here, so in all rows of what is below too.
                open.swap_remove(left);
                continue;
            }
            looked += 1;
            let levels = &columns.levels[open[left] as usize];
            let (least, most) = (levels[low as usize], levels[high as usize]);
            let threshold = least + (most - least) * (1.0 - self.rng.uniform_f64()) as f32;
            let cut = levels.partition_point(|level| *level < threshold) as u32;
            let (mut below, mut below_sum) = (0i32, 0i32);
            for (code, goal) in codes.iter().zip(goals) {
                // Without a branch, which could not be foretold.
                let mask = -i32::from(*code < cut);
                below -= mask;
                below_sum += goal & mask;
            }
            let beyond = n as i32 - below;
            if below == 0 || beyond == 0 {
                continue;
            }
            let square = |sum: i32, n: i32| f64::from(sum) * f64::from(sum) / f64::from(n);
            // What the variance loses, up to a constant and a factor.
            let gain = square(below_sum, below) + square(sum - below_sum, beyond);
            if best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, open[left], cut, threshold));
            }
        }
        let Some((_, column, cut, threshold)) = best else {
            return;
        };
        let codes = columns.codes(column);
        let mut middle = 0;
        for i in 0..n {
            if codes[rows[i] as usize] < cut {
                rows.swap(i, middle);
                middle += 1;
            }
        }
        let below = self.nodes.len();
        let empty = Node {
            column: 0,
            threshold: 0.0,
            below: 0,
            value: 0.0,
        };
        self.nodes.extend([empty, empty]);
        self.nodes[node] = Node {
            column,
            threshold,
            below: below as u32,
            ..self.nodes[node]
        };
        let (first, second) = rows.split_at_mut(middle);
        self.grow(below, depth + 1, first, open.clone());
        self.grow(below + 1, depth + 1, second, open);
    }
}

/// Values by their ranks, spread as the standard normal distribution: the smallest is the lowest, equal ones are equal. What
/// is learnt from them does not change when values are scaled, and one bad value does not hide the others.
pub fn rank_gauss(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut scores = vec![0.0; values.len()];
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let before = order.partition_point(|i| values[*i] < values[group[0]]);
        let rank = before as f64 + 0.5 * group.len() as f64;
        let score = normal_quantile(rank / values.len() as f64);
        for i in group {
            scores[*i] = score;
        }
    }
    scores
}

/// The quantile of the standard normal distribution, to 1.2·10⁻⁹ of itself (Acklam's rational approximation, 2003).
pub fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let polynomial =
        |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    match p {
        p if p <= 0.0 => f64::NEG_INFINITY,
        p if p >= 1.0 => f64::INFINITY,
        p if p < 0.02425 => tail(p),
        p if p > 1.0 - 0.02425 => -tail(1.0 - p),
        p => {
            let q = p - 0.5;
            let r = q * q;
            polynomial(&A, r) * q / polynomial(&B, r)
        }
    }
}
