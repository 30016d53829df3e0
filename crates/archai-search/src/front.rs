//! What is worth keeping when several numbers count: non-dominated points, fronts behind fronts, the volume that a front
//! dominates, its knee.
//!
//! Every coordinate is minimised. One point dominates another when it is nowhere larger and somewhere smaller, so equal points
//! do not dominate each other: all of them are kept. Coordinates must be numbers; what failed has no place here.
//!
//! ```
//! use archai_search::front::{hypervolume, non_dominated};
//! let points = [[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [2.0, 2.0]];
//! assert_eq!(non_dominated(&points), [0, 1, 3]);
//! assert_eq!(hypervolume(&points, &[5.0, 5.0]), 10.0);
//! ```

use std::cmp::Ordering;

/// Whether a point is nowhere larger than another and somewhere smaller.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    let mut smaller = false;
    for (x, y) in a.iter().zip(b) {
        if x > y {
            return false;
        }
        smaller |= x < y;
    }
    smaller
}

fn lexical(a: &[f64], b: &[f64]) -> Ordering {
    let pairs = a.iter().zip(b);
    let orders = pairs.map(|(x, y)| x.partial_cmp(y).unwrap_or(Ordering::Equal));
    orders
        .into_iter()
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Points in lexical order without repetitions, and for each of them the indices of the points that are equal to it.
struct Distinct<'a> {
    points: Vec<&'a [f64]>,
    members: Vec<Vec<usize>>,
}

fn distinct<P: AsRef<[f64]>>(points: &[P]) -> Distinct<'_> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| lexical(points[*a].as_ref(), points[*b].as_ref()));
    let mut found = Distinct {
        points: Vec::new(),
        members: Vec::new(),
    };
    for i in order {
        let point = points[i].as_ref();
        match (found.points.last(), found.members.last_mut()) {
            (Some(last), Some(members)) if *last == point => members.push(i),
            _ => {
                found.points.push(point);
                found.members.push(vec![i]);
            }
        }
    }
    found
}

/// The indices of the points that no other point dominates, in ascending order.
///
/// It takes n log n steps for two coordinates, and n log^(d−2) n for more (Kung, Luccio and Preparata, "On finding the maxima of
/// a set of vectors", 1975).
pub fn non_dominated<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let found = distinct(points);
    let dimensions = found.points.first().map_or(0, |point| point.len());
    let mut dominated = vec![false; found.points.len()];
    if dimensions > 0 {
        let all: Vec<usize> = (0..found.points.len()).collect();
        maxima(&found.points, &all, dimensions, &mut dominated);
    }
    let kept = found.members.iter().zip(&dominated);
    let mut kept: Vec<usize> = kept
        .filter(|(_, dominated)| !**dominated)
        .flat_map(|(members, _)| members.iter().copied())
        .collect();
    kept.sort_unstable();
    kept
}

/// Marks what is dominated among distinct points in lexical order.
fn maxima(points: &[&[f64]], all: &[usize], dimensions: usize, dominated: &mut [bool]) {
    if dimensions <= 2 {
        // Points that are equal were merged, so whatever comes later and is not smaller in the last coordinate is dominated.
        let mut smallest: Option<f64> = None;
        for i in all {
            let last = points[*i][dimensions - 1];
            match smallest {
                Some(value) if value <= last => dominated[*i] = true,
                _ => smallest = Some(last),
            }
        }
        return;
    }
    if all.len() < 2 {
        return;
    }
    // In lexical order nothing in the second half dominates anything in the first.
    let (first, second) = all.split_at(all.len() / 2);
    maxima(points, first, dimensions, dominated);
    maxima(points, second, dimensions, dominated);
    let alive = |half: &[usize], dominated: &[bool]| -> Vec<usize> {
        half.iter().copied().filter(|i| !dominated[*i]).collect()
    };
    let (best, rest) = (alive(first, dominated), alive(second, dominated));
    filter(points, best, rest, 1, dimensions, dominated);
}

/// Marks the points of `rest` that a point of `best` dominates. In the coordinates before `from`, every point of `best` is
/// known to be at most as large as every point of `rest`.
fn filter(
    points: &[&[f64]],
    mut best: Vec<usize>,
    mut rest: Vec<usize>,
    from: usize,
    dimensions: usize,
    dominated: &mut [bool],
) {
    if best.is_empty() || rest.is_empty() {
        return;
    }
    if best.len() * rest.len() <= 64 {
        for r in rest {
            let within = |b: &usize| (from..dimensions).all(|d| points[*b][d] <= points[r][d]);
            dominated[r] |= best.iter().any(within);
        }
        return;
    }
    let by = |d: usize| {
        move |a: &usize, b: &usize| {
            let order = points[*a][d].partial_cmp(&points[*b][d]);
            order.unwrap_or(Ordering::Equal)
        }
    };
    if from + 2 >= dimensions {
        let last = dimensions - 1;
        best.sort_by(by(from));
        rest.sort_by(by(from));
        let (mut next, mut smallest) = (0, f64::INFINITY);
        for r in rest {
            while next < best.len() && points[best[next]][from] <= points[r][from] {
                smallest = smallest.min(points[best[next]][last]);
                next += 1;
            }
            dominated[r] |= next > 0 && smallest <= points[r][last];
        }
        return;
    }
    let mut values: Vec<f64> = best.iter().chain(&rest).map(|i| points[*i][from]).collect();
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    let (smallest, largest) = (values[0], values[values.len() - 1]);
    if smallest == largest {
        return filter(points, best, rest, from + 1, dimensions, dominated);
    }
    let mut middle = values[values.len() / 2];
    if middle == smallest {
        middle = values[values.partition_point(|v| *v <= smallest)];
    }
    let below = |i: &usize| points[*i][from] < middle;
    let (best_low, best_high): (Vec<_>, Vec<_>) = best.into_iter().partition(below);
    let (rest_low, rest_high): (Vec<_>, Vec<_>) = rest.into_iter().partition(below);
    filter(
        points,
        best_low.clone(),
        rest_low,
        from,
        dimensions,
        dominated,
    );
    let rest_high = alive(rest_high, dominated);
    filter(
        points,
        best_low,
        rest_high.clone(),
        from + 1,
        dimensions,
        dominated,
    );
    let rest_high = alive(rest_high, dominated);
    filter(points, best_high, rest_high, from, dimensions, dominated);
}

fn alive(points: Vec<usize>, dominated: &[bool]) -> Vec<usize> {
    points.into_iter().filter(|i| !dominated[*i]).collect()
}

/// The number of the front on which each point lies: 0 for the non-dominated points, 1 for those that are non-dominated once
/// front 0 is gone, and so on (Zhang, Tian, Cheng and Jin, "An efficient approach to non-dominated sorting", 2015).
pub fn ranks<P: AsRef<[f64]>>(points: &[P]) -> Vec<usize> {
    let found = distinct(points);
    let mut ranks = vec![0; points.len()];
    let mut fronts: Vec<Vec<&[f64]>> = Vec::new();
    for (point, members) in found.points.iter().zip(&found.members) {
        let plane = point.len() <= 2;
        let is_beaten = |front: &Vec<&[f64]>| match plane {
            // In lexical order the newest point of a front has the smallest last coordinate.
            true => front.last().is_some_and(|last| dominates(last, point)),
            false => front.iter().rev().any(|other| dominates(other, point)),
        };
        let rank = fronts.partition_point(is_beaten);
        match fronts.get_mut(rank) {
            Some(front) => front.push(point),
            None => fronts.push(vec![point]),
        }
        for member in members {
            ranks[*member] = rank;
        }
    }
    ranks
}

/// How far each point's neighbours on a front are apart, summed over the coordinates; infinite at the ends (Deb, Pratap,
/// Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002).
pub fn crowding<P: AsRef<[f64]>>(front: &[P]) -> Vec<f64> {
    let dimensions = front.first().map_or(0, |point| point.as_ref().len());
    let mut distances = vec![0.0; front.len()];
    for d in 0..dimensions {
        let at = |i: usize| front[i].as_ref()[d];
        let mut order: Vec<usize> = (0..front.len()).collect();
        order.sort_by(|a, b| at(*a).partial_cmp(&at(*b)).unwrap_or(Ordering::Equal));
        let (first, last) = (order[0], order[order.len() - 1]);
        let range = at(last) - at(first);
        distances[first] = f64::INFINITY;
        distances[last] = f64::INFINITY;
        if range > 0.0 {
            for window in order.windows(3) {
                distances[window[1]] += (at(window[2]) - at(window[0])) / range;
            }
        }
    }
    distances
}

/// The volume of what is dominated by some point and dominates the reference. Points that are not smaller than the reference
/// in every coordinate add nothing.
///
/// It is exact: a sweep for two and for three coordinates, n log n and n² steps; for more, exclusive volumes (While, Bradstreet
/// and Barone, "A fast way of calculating exact hypervolumes", 2012).
pub fn hypervolume<P: AsRef<[f64]>>(points: &[P], reference: &[f64]) -> f64 {
    let within = points.iter().map(AsRef::as_ref).filter(|point: &&[f64]| {
        point.len() == reference.len() && point.iter().zip(reference).all(|(x, r)| x < r)
    });
    volume(within.collect(), reference)
}

fn volume(mut points: Vec<&[f64]>, reference: &[f64]) -> f64 {
    match reference.len() {
        0 => 0.0,
        1 => points
            .iter()
            .map(|point| reference[0] - point[0])
            .fold(0.0, f64::max),
        2 => {
            points.sort_by(|a, b| lexical(a, b));
            let (mut sum, mut top) = (0.0, reference[1]);
            for point in points {
                if point[1] < top {
                    sum += (reference[0] - point[0]) * (top - point[1]);
                    top = point[1];
                }
            }
            sum
        }
        3 => space(points, reference),
        dimensions => {
            // The largest last coordinate first: what is cut off by a later point then loses a coordinate's extent soonest.
            points.sort_by(|a, b| lexical(&[b[dimensions - 1]], &[a[dimensions - 1]]));
            let mut sum = 0.0;
            for (i, point) in points.iter().enumerate() {
                let own: f64 = point.iter().zip(reference).map(|(x, r)| r - x).product();
                let limited: Vec<Vec<f64>> = points[i + 1..]
                    .iter()
                    .map(|other| other.iter().zip(*point).map(|(x, y)| x.max(*y)).collect())
                    .collect();
                let kept = non_dominated(&limited);
                let kept = kept.iter().map(|k| limited[*k].as_slice());
                let mut kept: Vec<&[f64]> = kept.collect();
                kept.sort_by(|a, b| lexical(a, b));
                kept.dedup();
                sum += own - volume(kept, reference);
            }
            sum
        }
    }
}

/// Three coordinates: slices along the last one, below each of which the area of a staircase in the first two is kept.
fn space(mut points: Vec<&[f64]>, reference: &[f64]) -> f64 {
    points.sort_by(|a, b| lexical(&[a[2]], &[b[2]]));
    // Ascending in the first coordinate, descending in the second.
    let mut stairs: Vec<(f64, f64)> = Vec::new();
    let (mut sum, mut area, mut height) = (0.0, 0.0, f64::NAN);
    for point in points {
        let (x, y, z) = (point[0], point[1], point[2]);
        if z > height {
            sum += area * (z - height);
        }
        height = z;
        let at = stairs.partition_point(|stair| stair.0 <= x);
        let mut top = match at.checked_sub(1) {
            Some(left) => stairs[left].1,
            None => reference[1],
        };
        if top <= y {
            continue;
        }
        // What the new point adds, stair by stair to its right, and which stairs it makes useless.
        let (mut left, mut end) = (x, at);
        while end < stairs.len() && stairs[end].1 >= y {
            area += (stairs[end].0 - left) * (top - y);
            (left, top) = stairs[end];
            end += 1;
        }
        let right = stairs.get(end).map_or(reference[0], |stair| stair.0);
        area += (right - left) * (top - y);
        let start = match at.checked_sub(1) {
            Some(same) if stairs[same].0 == x => same,
            _ => at,
        };
        stairs.splice(start..end, [(x, y)]);
    }
    if height.is_nan() {
        return 0.0;
    }
    sum + area * (reference[2] - height)
}

/// The point of a front that bends farthest towards the ideal: the one with the smallest sum of coordinates, each scaled to
/// 0 … 1 over the front. Of several, the first. `None` for no points.
pub fn knee<P: AsRef<[f64]>>(front: &[P]) -> Option<usize> {
    let dimensions = front.first()?.as_ref().len();
    let range = |d: usize| {
        let values = front.iter().map(|point| point.as_ref()[d]);
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let ranges: Vec<(f64, f64)> = (0..dimensions).map(range).collect();
    let sum = |point: &[f64]| -> f64 {
        let scaled = point.iter().zip(&ranges).map(|(x, (low, high))| {
            let extent = high - low;
            if extent > 0.0 {
                (x - low) / extent
            } else {
                0.0
            }
        });
        scaled.sum()
    };
    let sums = front.iter().map(|point| sum(point.as_ref())).enumerate();
    sums.min_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal))
        .map(|(i, _)| i)
}

/// A reference for [`hypervolume`] when nobody names one: the largest value of each coordinate, and a tenth of its extent more,
/// or a tenth of itself where all are equal.
pub fn reference<P: AsRef<[f64]>>(points: &[P]) -> Option<Vec<f64>> {
    let dimensions = points.first()?.as_ref().len();
    let of = |d: usize| {
        let values = || points.iter().map(|point| point.as_ref()[d]);
        let (low, high) = (
            values().fold(f64::INFINITY, f64::min),
            values().fold(f64::NEG_INFINITY, f64::max),
        );
        let margin = match high > low {
            true => 0.1 * (high - low),
            false => (0.1 * high.abs()).max(f64::MIN_POSITIVE),
        };
        high + margin
    };
    Some((0..dimensions).map(of).collect())
}
