//! What concerns every supernet: DivNAS's choices, selection by perturbation, and the guard against collapse.

use std::path::Path;

use archai_engine::{EngineError, searcher::SearchResult, testing::Recorded};
use serde_json::Value;

use crate::search::{load, logged, search_with, settings_of};

fn search_of(
    algo: &str,
    dir: &Path,
    overrides: &str,
) -> (Result<SearchResult, EngineError>, Recorded) {
    let (settings, runner) = settings_of(algo, dir, overrides);
    search_with(&settings, runner.as_ref(), dir)
}

fn found(algo: &str, overrides: &str) -> (Vec<u8>, Recorded) {
    let dir = tempfile::tempdir().expect("a directory");
    let (result, events) = search_of(algo, dir.path(), overrides);
    let found = result.expect("a search");
    let desc = load(&found.final_desc);
    for node in desc.cells.iter().flat_map(|c| &c.nodes) {
        assert_eq!(node.edges.len(), 2);
        assert!(node.edges.iter().all(|e| e.op.name != "none"));
    }
    for (c, cell) in desc.cells.iter().enumerate() {
        let owner = &desc.cells[cell.alphas_from];
        for (node, of_owner) in cell.nodes.iter().zip(&owner.nodes) {
            let names = |n: &archai_spec::desc::NodeDesc| -> Vec<_> {
                n.edges
                    .iter()
                    .map(|e| (e.inputs.clone(), e.op.name.clone()))
                    .collect()
            };
            assert_eq!(names(node), names(of_owner), "cell {c} and its owner");
        }
    }
    (std::fs::read(&found.final_desc).expect("a file"), events)
}

fn value(values: &[(String, Value)], name: &str) -> Value {
    let found = values.iter().find(|(n, _)| n == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {values:?}"))
        .1
        .clone()
}

const QUICK: &str = "nas.search.trainer.epochs=1 nas.search.divnas.bilevel.second_order=false";

#[test]
fn divnas_compares_every_op_but_none_on_all_training_data() {
    let (first, events) = found("divnas", QUICK);
    assert_eq!(first, found("divnas", QUICK).0);
    // 32 images train, 7 real ops on each edge; nodes of 2 and 3 edges.
    for (node, candidates) in [(0, 14), (1, 21)] {
        let values = logged(&events, &format!("arch_search/finalize/cell0.node{node}"));
        assert_eq!(value(&values, "candidates"), candidates);
        assert_eq!(value(&values, "samples"), 32);
        assert_eq!(value(&values, "ops").as_array().map(Vec::len), Some(2));
    }
    let limited = format!("{QUICK} nas.search.divnas.max_batches=1");
    let values = logged(
        &found("divnas", &limited).1,
        "arch_search/finalize/cell0.node0",
    );
    assert_eq!(value(&values, "samples"), 16);
}

#[test]
fn divnas_without_alphas_trains_weights_alone() {
    let quick = format!("{QUICK} nas.search.divnas.archtrainer=noalpha nas.search.finalizer=mi");
    let (_, events) = found("divnas", &quick);
    for (edge, alphas) in logged(&events, "arch_search/arch_train/epochs/0/alphas") {
        assert_eq!(alphas, Value::from(vec![1.0; 8]), "{edge}");
    }
    found(
        "divnas",
        &format!("{quick} nas.search.divnas.selection=greedy"),
    );
}

#[test]
fn divnas_says_what_does_not_go_together() {
    let check = |overrides: &str, expect: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let result = search_of("divnas", dir.path(), overrides).0;
        let message = result.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains(expect), "{overrides}: {message}");
    };
    let noalpha = "nas.search.divnas.archtrainer=noalpha";
    check(noalpha, "choose the finalizer `mi`");
    check(
        &format!("{noalpha} nas.search.finalizer=default"),
        "choose the finalizer `mi`",
    );
    check(
        "nas.search.finalizer=strongest",
        "known are default, random, darts_pt, mi_ranked, mi",
    );
    check("nas.search.divnas.max_batches=0", "at least 1");
}

#[test]
fn any_supernet_can_be_selected_from_by_perturbation() {
    let quick = "nas.search.trainer.epochs=1 nas.search.finalizer=darts_pt nas.search.darts_pt.tune_steps=1 \
                 nas.search.darts_pt.measure_batches=1";
    let darts = format!("{quick} nas.search.darts.second_order=false");
    let (first, events) = found("darts", &darts);
    assert_eq!(
        first,
        found("darts", &darts).0,
        "the same seed gives the same bytes"
    );
    // Ten owned edges, then the two nodes of three edges.
    for decision in 0..10 {
        let values = logged(&events, &format!("arch_search/finalize/{decision}"));
        assert_ne!(value(&values, "op"), "none");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let without =
        format!("{quick} nas.search.loader.val_ratio=0 nas.search.divnas.archtrainer=noalpha");
    let message = search_of("divnas", dir.path(), &without)
        .0
        .err()
        .map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("nas.search.loader.val_ratio")));
    let noalpha = format!("{quick} nas.search.divnas.archtrainer=noalpha");
    found("divnas", &noalpha);
}

#[test]
fn the_guard_logs_every_epoch_and_can_end_the_training() {
    let darts = "nas.search.darts.second_order=false nas.search.guard.iterations=2";
    let (_, events) = found("darts", darts);
    for epoch in 0..2 {
        let values = logged(
            &events,
            &format!("arch_search/arch_train/epochs/{epoch}/guard"),
        );
        for name in ["skip_share", "entropy"] {
            let share = value(&values, name).as_f64().expect("a number");
            assert!((0.0..=1.0).contains(&share), "{name} {share}");
        }
        assert!(
            value(&values, "eigenvalue")
                .as_f64()
                .is_some_and(f64::is_finite)
        );
    }
    let off = format!("{darts} nas.search.guard.hessian=false");
    let values = logged(
        &found("darts", &off).1,
        "arch_search/arch_train/epochs/0/guard",
    );
    assert_eq!(values.len(), 2, "{values:?}");

    let dir = tempfile::tempdir().expect("a directory");
    let stop = "nas.search.guard.stop.eigenvalue_ratio=1e9 nas.search.guard.stop.window=1 nas.search.trainer.epochs=4";
    let result = search_of("darts", dir.path(), &format!("{darts} {stop}"))
        .0
        .expect("a search");
    let [note] = result.notes.as_slice() else {
        panic!("{:?}", result.notes);
    };
    assert!(
        note.contains("after 2 epochs") && note.contains("eigenvalue"),
        "{note}"
    );
    let blind = format!("{darts} {stop} nas.search.loader.val_ratio=0");
    let message = search_of("darts", dir.path(), &blind)
        .0
        .err()
        .map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("eigenvalue_ratio")));
}
