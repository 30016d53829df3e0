//! Which of many networks are worth growing: the lower convex hull of error over cost, the band above it, and the draw of a
//! parent from it.

use archai_data::rng::Key;

/// What a network costs, and how often it is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostError {
    /// Multiply-adds, or any other cost.
    pub cost: f64,
    /// Share of validation images that it gets wrong.
    pub error: f64,
}

/// Indices of the vertices of the lower convex hull, restricted to the part where the error falls with the cost, in
/// order of cost (Andrew's monotone chain, 1979). Of equal points the first one; points within an edge are no vertices.
///
/// ```
/// use archai_algos::petridish::{CostError, lower_hull};
/// let points = [(1.0, 0.5), (2.0, 0.45), (3.0, 0.1), (4.0, 0.3)].map(|(cost, error)| CostError { cost, error });
/// assert_eq!(lower_hull(&points), [0, 2]);
/// ```
pub fn lower_hull(points: &[CostError]) -> Vec<usize> {
    let mut hull: Vec<usize> = Vec::new();
    for i in by_cost(points) {
        // A point right above the last one is not on the lower hull, and an equal one is there already.
        if hull
            .last()
            .is_some_and(|&last| points[last].cost == points[i].cost)
        {
            continue;
        }
        while let [.., a, b] = *hull
            && !turns_left(points[a], points[b], points[i])
        {
            hull.pop();
        }
        hull.push(i);
    }
    let falling = hull
        .windows(2)
        .take_while(|pair| points[pair[1]].error < points[pair[0]].error)
        .count();
    hull.truncate(falling + 1);
    hull
}

/// Indices of all points whose error is at most (1 + `eps`) times the hull's at their cost, in order of cost. Right of the
/// hull's last vertex its level is that vertex's error.
pub fn eps_hull(points: &[CostError], eps: f64) -> Vec<usize> {
    let hull = lower_hull(points);
    let level = |cost: f64| -> f64 {
        let after = hull.iter().position(|&i| points[i].cost >= cost);
        let Some(after) = after else {
            return hull.last().map_or(f64::INFINITY, |&i| points[i].error);
        };
        let right = points[hull[after]];
        if right.cost == cost || after == 0 {
            return right.error;
        }
        let left = points[hull[after - 1]];
        let t = (cost - left.cost) / (right.cost - left.cost);
        left.error + t * (right.error - left.error)
    };
    let mut near = by_cost(points);
    near.retain(|&i| points[i].error <= level(points[i].cost) * (1.0 + eps));
    near
}

/// Probability of each point to be the next parent: in proportion to 1/(1 + s(count)) + 1/(1 + s(cost)), where s scales
/// to 0 … 1 from the least to the greatest. So what was grown less often, and what is cheap, comes first.
pub fn parent_probabilities(counts: &[f64], costs: &[f64]) -> Vec<f64> {
    let scaled = |values: &[f64]| -> Vec<f64> {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = if max > min { max - min } else { 1.0 };
        values.iter().map(|v| (v - min) / range).collect()
    };
    let shares: Vec<f64> = scaled(counts)
        .into_iter()
        .zip(scaled(costs))
        .map(|(count, cost)| 1.0 / (1.0 + count) + 1.0 / (1.0 + cost))
        .collect();
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

/// Draws an index by its probability. `None` of nothing.
pub fn draw_index(probabilities: &[f64], key: &Key) -> Option<usize> {
    let u = key.rng().uniform_f64();
    let mut sum = 0.0;
    let below = probabilities.iter().position(|p| {
        sum += p;
        u < sum
    });
    // Rounding may leave the sum a little below 1.
    below.or(probabilities.len().checked_sub(1))
}

/// All indices in order of cost, then of error; of equals the first one first.
fn by_cost(points: &[CostError]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    let key = |i: usize| (points[i].cost, points[i].error);
    order.sort_by(|&a, &b| {
        let ((xa, ya), (xb, yb)) = (key(a), key(b));
        xa.total_cmp(&xb).then(ya.total_cmp(&yb))
    });
    order
}

/// Whether the way a → b → c bends up.
fn turns_left(a: CostError, b: CostError, c: CostError) -> bool {
    (b.cost - a.cost) * (c.error - a.error) - (b.error - a.error) * (c.cost - a.cost) > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(list: &[(f64, f64)]) -> Vec<CostError> {
        list.iter()
            .map(|&(cost, error)| CostError { cost, error })
            .collect()
    }

    #[test]
    fn hulls() {
        let check = |list: &[(f64, f64)], eps: f64, hull: &[usize], near: &[usize]| {
            let points = points(list);
            assert_eq!(lower_hull(&points), hull, "{list:?}");
            assert_eq!(eps_hull(&points, eps), near, "{list:?}, eps {eps}");
        };
        check(&[], 0.1, &[], &[]);
        check(&[(1.0, 0.5)], 0.0, &[0], &[0]);
        // Equal points: the first is the vertex, both are near.
        check(&[(1.0, 0.5), (1.0, 0.5)], 0.0, &[0], &[0, 1]);
        // Of one cost, the better one; order does not matter.
        check(&[(1.0, 0.5), (1.0, 0.4)], 0.0, &[1], &[1]);
        // The same error at more cost is no vertex, but near.
        check(&[(1.0, 0.5), (2.0, 0.5)], 0.0, &[0], &[0, 1]);
        // Three on a line.
        check(
            &[(3.0, 0.1), (2.0, 0.2), (1.0, 0.3)],
            0.01,
            &[2, 0],
            &[2, 1, 0],
        );
        // Beyond the last vertex the level is its error.
        check(&[(1.0, 0.2), (2.0, 0.3), (9.0, 0.21)], 0.1, &[0], &[0, 2]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let probabilities = [0.5, 0.125, 0.375];
        let mut counts = [0; 3];
        for i in 0..8000usize {
            let drawn = draw_index(&probabilities, &Key::new(3).with(i)).expect("an index");
            counts[drawn] += 1;
        }
        for (count, p) in counts.iter().zip(probabilities) {
            // Five standard deviations.
            let spread = 5.0 * (8000.0 * p * (1.0 - p)).sqrt();
            assert!(
                (f64::from(*count) - 8000.0 * p).abs() < spread,
                "{counts:?}"
            );
        }
        assert_eq!(draw_index(&[], &Key::new(0)), None);
    }
}
