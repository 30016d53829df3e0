use archai_search::forest::{Forest, Growth, Table, normal_quantile, rank_gauss};
use archai_spec::rng::Key;

/// Rows of noise of which three columns matter.
fn planted(n: usize, seed: u64) -> (Table, Vec<f64>) {
    let mut rng = Key::new(seed).rng();
    let values: Vec<f32> = (0..n * 30)
        .map(|_| rng.uniform_u32_below(2) as f32)
        .collect();
    let table = Table::new(30, values);
    let target = |i: usize| {
        let row = table.row(i);
        f64::from(2.0 * row[3] + row[7] * row[11])
    };
    let targets = (0..n).map(target).collect();
    (table, targets)
}

#[test]
fn trees_learn_what_matters() {
    let (table, targets) = planted(300, 1);
    let forest = Forest::grow(&table, &targets, Growth::default(), Key::new(5), 0..50);
    let (unseen, truth) = planted(200, 2);
    let mean = truth.iter().sum::<f64>() / 200.0;
    let (mut error, mut spread) = (0.0, 0.0);
    for (i, t) in truth.iter().enumerate() {
        error += (forest.predict(unseen.row(i)) - t).powi(2);
        spread += (mean - t).powi(2);
    }
    assert!(error < 0.15 * spread, "{}", error / spread);
    // Trees that are grown to the end know their examples.
    assert_eq!(forest.predict(table.row(17)), targets[17]);
}

#[test]
fn a_tree_depends_on_its_number_alone() {
    let (table, targets) = planted(100, 1);
    let grow = |numbers: &[usize]| {
        let numbers = numbers.iter().copied();
        Forest::grow(&table, &targets, Growth::default(), Key::new(5), numbers)
    };
    let (unseen, _) = planted(20, 3);
    let all = grow(&[0, 1, 2, 3]);
    let votes: Vec<f64> = all.votes(unseen.row(4)).collect();
    assert_eq!(votes[2], grow(&[2]).predict(unseen.row(4)));
    assert_eq!(votes.iter().sum::<f64>() / 4.0, all.predict(unseen.row(4)));
}

#[test]
fn nothing_to_learn_from_is_no_trouble() {
    let empty = Forest::grow(
        &Table::new(3, vec![]),
        &[],
        Growth::default(),
        Key::new(1),
        0..5,
    );
    assert_eq!(empty.predict(&[0.0; 3]), 0.0);
    let constant = Table::new(2, vec![1.0; 20]);
    let targets: Vec<f64> = (0..10).map(f64::from).collect();
    let forest = Forest::grow(&constant, &targets, Growth::default(), Key::new(1), 0..5);
    assert_eq!(forest.predict(&[1.0, 1.0]), 4.5);
}

#[test]
fn ranks_become_normal() {
    let scores = rank_gauss(&[10.0, -5.0, 1e300, 10.0]);
    assert_eq!(scores[0], scores[3]);
    assert!(scores[1] < scores[0] && scores[0] < scores[2]);
    assert!(
        (scores[1] + scores[2]).abs() < 1e-9 && scores[0].abs() < 1e-9,
        "{scores:?}"
    );
    // Values of the tables in any book.
    for (p, z) in [(0.975, 1.959_963_985), (0.5, 0.0), (0.001, -3.090_232_306)] {
        assert!((normal_quantile(p) - z).abs() < 1e-8, "{p}");
    }
}
