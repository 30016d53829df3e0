use archai_search::front::{
    crowding, dominates, hypervolume, knee, non_dominated, ranks, reference,
};
use archai_spec::rng::Key;
use proptest::prelude::*;

fn naive_front(points: &[Vec<f64>]) -> Vec<usize> {
    let beaten = |i: usize| points.iter().any(|other| dominates(other, &points[i]));
    (0..points.len()).filter(|i| !beaten(*i)).collect()
}

fn naive_ranks(points: &[Vec<f64>]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut found = vec![0; points.len()];
    for rank in 0.. {
        if left.is_empty() {
            break;
        }
        let there: Vec<Vec<f64>> = left.iter().map(|i| points[*i].clone()).collect();
        let front = naive_front(&there);
        for i in &front {
            found[left[*i]] = rank;
        }
        left = (0..left.len())
            .filter(|i| !front.contains(i))
            .map(|i| left[i])
            .collect();
    }
    found
}

/// Whole coordinates below 6: the cells of the grid that some point dominates.
fn naive_volume(points: &[Vec<f64>], dimensions: u32) -> f64 {
    let cells = (0..6usize.pow(dimensions)).filter(|cell| {
        let corner = |d: u32| ((cell / 6usize.pow(d)) % 6) as f64;
        let covers = |p: &Vec<f64>| (0..dimensions).all(|d| p[d as usize] <= corner(d));
        points.iter().any(covers)
    });
    cells.count() as f64
}

fn points(dimensions: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    let coordinate = (0u8..6).prop_map(f64::from);
    proptest::collection::vec(proptest::collection::vec(coordinate, dimensions), 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn fronts_and_volumes_are_those_of_the_definition(points in (1usize..6).prop_flat_map(points)) {
        prop_assert_eq!(non_dominated(&points), naive_front(&points));
        prop_assert_eq!(ranks(&points), naive_ranks(&points));
        let dimensions = points.first().map_or(0, Vec::len);
        if dimensions > 0 {
            let volume = hypervolume(&points, &vec![6.0; dimensions]);
            prop_assert_eq!(volume, naive_volume(&points, dimensions as u32));
        }
    }
}

fn random(n: usize, dimensions: usize) -> Vec<Vec<f64>> {
    let mut rng = Key::new(7).with("points").rng();
    let mut point = |_| (0..dimensions).map(|_| rng.uniform_f64()).collect();
    (0..n).map(&mut point).collect()
}

#[test]
fn many_points_without_ties_as_well() {
    for dimensions in 2..=5 {
        let points = random(700, dimensions);
        assert_eq!(non_dominated(&points), naive_front(&points), "{dimensions}");
        assert_eq!(ranks(&points), naive_ranks(&points), "{dimensions}");
    }
}

#[test]
fn a_volume_does_not_depend_on_how_it_is_computed() {
    // A coordinate in which all points are equal only scales the volume.
    for dimensions in 2..=4 {
        let flat = random(60, dimensions);
        let deep: Vec<Vec<f64>> = flat
            .iter()
            .map(|p| [p.as_slice(), &[0.5]].concat())
            .collect();
        let (one, two) = (
            hypervolume(&flat, &vec![1.0; dimensions]),
            hypervolume(&deep, &vec![1.0; dimensions + 1]),
        );
        assert!((0.5 * one - two).abs() < 1e-12, "{dimensions}: {one} {two}");
    }
}

#[test]
fn what_is_beyond_the_reference_adds_nothing() {
    let points = [[1.0, 9.0], [2.0, 2.0], [9.0, 1.0]];
    assert_eq!(hypervolume(&points, &[5.0, 5.0]), 9.0);
    assert_eq!(hypervolume::<[f64; 2]>(&[], &[5.0, 5.0]), 0.0);
}

#[test]
fn equal_points_are_all_kept() {
    let points = vec![[1.0, 1.0]; 3];
    assert_eq!(non_dominated(&points), [0, 1, 2]);
    assert_eq!(ranks(&points), [0, 0, 0]);
}

#[test]
fn knees_crowding_and_references() {
    let front = [[0.0, 10.0], [1.0, 2.0], [6.0, 1.0], [10.0, 0.0]];
    assert_eq!(knee(&front), Some(1));
    assert_eq!(knee::<[f64; 2]>(&[]), None);
    let distances = crowding(&front);
    assert_eq!(distances[0], f64::INFINITY);
    assert!((distances[1] - 1.5).abs() < 1e-12, "{distances:?}");
    assert_eq!(reference(&front), Some(vec![11.0, 11.0]));
}
