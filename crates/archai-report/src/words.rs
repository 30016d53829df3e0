//! Sentences and figures that several parts of a page share.

use std::collections::BTreeMap;

use archai_spec::desc::{CellDesc, CellType, ModelDesc};
use archai_spec::numbers::percent;

/// The op whose number tells a collapsed search.
pub const SKIP: &str = "skip_connect";

/// Ends of the 95 % interval of a share of which `hits` of `n` were seen: the score interval (Wilson 1927, "Probable inference,
/// the law of succession, and statistical inference").
pub fn wilson(share: f64, n: usize) -> Option<[f64; 2]> {
    const Z: f64 = 1.959_963_984_540_054;
    if n == 0 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let n = n as f64;
    let below = 1.0 + Z * Z / n;
    let middle = (share + Z * Z / (2.0 * n)) / below;
    let half = Z / below * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some([(middle - half).max(0.0), (middle + half).min(1.0)])
}

/// `69.36 % to 77.09 %`.
pub fn interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", percent(low), percent(high))
}

/// How many of a cell's edges are skip connections, and how many edges it has.
pub fn skips(cell: &CellDesc) -> (usize, usize) {
    let ops = || {
        cell.nodes
            .iter()
            .flat_map(|node| &node.edges)
            .flat_map(|edge| edge.parts())
    };
    (
        ops().filter(|(_, op)| op.name == SKIP).count(),
        ops().count(),
    )
}

/// Skips and edges of the regular cell that has the largest share of skips.
pub fn worst_regular(desc: &ModelDesc) -> Option<(usize, usize)> {
    let groups = desc.distinct_cells();
    let regular = groups
        .iter()
        .filter(|group| group.cell_type == CellType::Regular);
    let shares = regular.filter_map(|group| Some(skips(desc.cells.get(group.first())?)));
    shares
        .filter(|(_, edges)| *edges > 0)
        .max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))
}

/// `3 × avg_pool_3x3, 1 × max_pool_3x3`: the ops of the cells that differ, the most frequent first.
pub fn ops_in_words(cell: &CellDesc) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let edges = cell.nodes.iter().flat_map(|node| &node.edges);
    for (_, op) in edges.flat_map(|edge| edge.parts()) {
        *counts.entry(&op.name).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let words: Vec<String> = counts.iter().map(|(op, n)| format!("{n} × {op}")).collect();
    words.join(", ")
}

/// `1 cell`, `3 cells`.
pub fn plural(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_textbook() {
        // 15 of 20: Wilson 0.531299 to 0.888138 (Agresti, Coull 1998 give the formula; computed with R's prop.test, which
        // without continuity correction is this interval).
        let [low, high] = wilson(0.75, 20).unwrap();
        assert!(
            (low - 0.531_299).abs() < 1e-5 && (high - 0.888_138).abs() < 1e-5,
            "{low} {high}"
        );
        let [low, high] = wilson(0.0, 10).unwrap();
        assert!(low == 0.0 && (high - 0.277_533).abs() < 1e-5, "{high}");
        assert_eq!(wilson(0.5, 0), None);
        assert_eq!(wilson(f64::NAN, 5), None);
    }
}
