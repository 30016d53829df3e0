//! Random search from settings to files.

use std::collections::HashSet;

use crate::workbench::{Workbench, load, rows};

const SMALL: &str = "nas.search.random.n_archs=4 nas.search.random.train.trainer.epochs=1
    nas.search.random.train.loader.dataset.max_batches=4 nas.search.random.train.loader.train_batch=16
    nas.search.random.train.loader.val_ratio=0.5 nas.search.model_desc.cell.n_nodes=2";

#[test]
fn the_best_on_validation_data_is_kept_and_all_are_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("random", dir.path(), SMALL);
    let found = bench.search().expect("a search");

    let rows = rows(&dir.path().join("random_archs.tsv"));
    assert_eq!(rows.len(), 4);
    let accuracies: Vec<f64> = rows
        .iter()
        .map(|row| row["val_top1"].parse().expect("a number"))
        .collect();
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    assert_eq!(found.val_top1, Some(best));
    let first = accuracies.iter().position(|&a| a == best).expect("one");
    assert_eq!(found.genotype.as_ref(), Some(&rows[first]["architecture"]));
    let distinct: HashSet<&String> = rows.iter().map(|row| &row["architecture"]).collect();
    assert_eq!(distinct.len(), 4, "architectures are drawn once each");
    assert!(found.notes[0].contains("4 random architectures"));
    assert!(found.warnings.is_empty());
    assert_eq!((found.supernet_parameters, found.alphas), (0, 0));

    let desc = load(&found.final_desc);
    for node in desc.cells.iter().flat_map(|c| &c.nodes) {
        assert_eq!(node.edges.len(), 2);
        assert!(node.edges.iter().all(|e| e.op.name != "none"));
        assert_ne!(node.edges[0], node.edges[1]);
    }
    let result = bench.eval().expect("an evaluation");
    assert!(result.test_top1.is_some());
    for file in found.files.iter().chain(&result.files) {
        assert!(file.path.is_file(), "{} is missing", file.path.display());
    }
}

#[test]
fn the_same_seed_draws_the_same_and_another_seed_others() {
    let run = |seed: u64| {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = format!("{SMALL} common.seed={seed} nas.search.random.n_archs=2");
        let found = Workbench::new("random", dir.path(), &overrides).search();
        let file = |name: &str| std::fs::read(dir.path().join(name)).expect("a file");
        found.expect("a search");
        (file("random_archs.tsv"), file("final_model_desc.yaml"))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_small_space_is_exhausted_and_says_so() {
    // One node per cell that takes all 14 pairs of state and op: there is one way.
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = format!(
        "{SMALL} nas.search.model_desc.cell.n_nodes=1 nas.search.model_desc.max_final_edges=14 nas.search.random.n_archs=3"
    );
    let found = Workbench::new("random", dir.path(), &overrides)
        .search()
        .expect("a search");
    assert_eq!(rows(&dir.path().join("random_archs.tsv")).len(), 1);
    assert!(found.warnings[0].contains("only 1 different"));
}

#[test]
fn without_validation_data_it_says_what_to_set() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = format!("{SMALL} nas.search.random.train.loader.val_ratio=0");
    let error = Workbench::new("random", dir.path(), &overrides).search();
    let message = error.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("nas.search.random.train"), "{message}");
}
