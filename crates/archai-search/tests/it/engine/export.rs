use std::sync::Arc;

use archai_search::cells::Cells201;
use archai_search::export::{optuna_journal, search_state, volume_curve};
use archai_search::journal::MemoryStore;
use archai_search::testing::{Planted, WORTH};
use archai_search::{Run, Settings, Setup, State, Stop, Study, optimisers};

fn searched() -> (Study, State) {
    let mut study = Study::open(Setup {
        space: Arc::new(Cells201::new()),
        evaluators: vec![Arc::new(Planted::new(1).failing(4))],
        settings: Settings::new([WORTH, "params"]),
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    })
    .unwrap();
    let (stop, clock) = (Stop::new(), || 0.0);
    let run = Run {
        workers: 1,
        budget: Some(30),
        stop: &stop,
        clock: &clock,
    };
    study.run(run).unwrap();
    let results = study.results();
    (study, results)
}

#[test]
fn the_table_has_a_row_for_each_network_and_none_that_failed_is_pareto() {
    let (study, results) = searched();
    let text = search_state(&study.view_of(&results));
    let mut lines = text.lines();
    let header = "archid,params,macs,model_size,worth,iteration_num,is_pareto,state,epochs,seconds";
    assert_eq!(lines.next(), Some(header));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 30);
    let pareto = rows.iter().filter(|row| row[6] == "True").count();
    assert!(pareto > 0 && pareto < 30, "{pareto}");
    for row in rows {
        assert_eq!(row[4].is_empty(), row[7] == "failed", "{row:?}");
        assert!(row[6] == "False" || row[7] == "done", "{row:?}");
    }
}

#[test]
fn optuna_gets_a_line_for_all_that_happened() {
    let (study, results) = searched();
    let text = optuna_journal(&study.view_of(&results), "cells", "2026-01-31T12:00:00");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let count = |op: u64| lines.iter().filter(|line| line["op_code"] == op).count();
    assert_eq!((count(0), count(4), count(5), count(6)), (1, 30, 180, 30));
    assert_eq!(lines[0]["directions"], serde_json::json!([2, 1]));
}

#[test]
fn hypervolume_never_falls_and_has_one_reference() {
    let (study, results) = searched();
    let curve = volume_curve(&study.view_of(&results)).unwrap();
    assert!(curve.points.windows(2).all(|pair| pair[0].2 <= pair[1].2));
    assert!(curve.points.last().unwrap().2 > 0.0);
    // More parameters are worse, so the reference has more than the smallest network; more worth is better.
    assert!(curve.reference[1] > 73_306.0, "{:?}", curve.reference);
}
