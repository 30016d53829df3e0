use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_search::cells::Cells201;
use archai_search::journal::MemoryStore;
use archai_search::table::{Table, TableQuantity};
use archai_search::{
    CostClass, Direction, Quantity, Run, Settings, Setup, Stop, Study, TrialState, optimisers,
};

const TEXT: &str =
    "edges,val_12ep,val_200ep,latency\n220223,80,91,1.5\n220222,81,90,-1\n000000,50,,0.5\n";

fn columns() -> Vec<TableQuantity> {
    let accuracy = Quantity::new("accuracy", Direction::Maximise);
    let latency = Quantity::new("latency", Direction::Minimise).class(CostClass::Static);
    vec![
        TableQuantity::by_epochs(accuracy, [(12, "val_12ep"), (200, "val_200ep")]),
        TableQuantity::new(latency, "latency"),
    ]
}

fn write(dir: &Path, text: &str, gzip: bool) -> PathBuf {
    let path = dir.join("table.csv");
    let mut bytes = text.as_bytes().to_vec();
    if gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&bytes).unwrap();
        bytes = encoder.finish().unwrap();
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn values_by_epochs_and_missing_ones() {
    let dir = tempfile::tempdir().unwrap();
    for gzip in [false, true] {
        let table = Table::open(&write(dir.path(), TEXT, gzip), "edges", columns()).unwrap();
        assert_eq!(table.len(), 3);
        let get = |id: &str, epochs| {
            let values = table.get(id, epochs).unwrap();
            (
                values.get("accuracy").copied(),
                values.get("latency").copied(),
            )
        };
        assert_eq!(get("nb201-220223", 12), (Some(80.0), Some(1.5)));
        assert_eq!(get("220223", 200), (Some(91.0), Some(1.5)));
        assert_eq!(get("220222", 30), (Some(81.0), None));
        assert_eq!(get("000000", 200), (None, Some(0.5)));
        assert!(table.get("111111", 12).is_none());
    }
}

#[test]
fn errors_name_the_line() {
    let dir = tempfile::tempdir().unwrap();
    let error = |text: &str| {
        let path = write(dir.path(), text, false);
        Table::open(&path, "edges", columns())
            .unwrap_err()
            .to_string()
    };
    let column = error("edges,val_12,val_200ep,latency\n");
    assert!(
        column.contains("line 1") && column.contains("did you mean `val_12`"),
        "{column}"
    );
    let number = error(&TEXT.replace("81", "good"));
    assert!(
        number.contains("line 3") && number.contains("`good` in the column `val_12ep`"),
        "{number}"
    );
    let twice = error(&TEXT.replace("220222", "220223"));
    assert!(
        twice.contains("line 3") && twice.contains("`220223` stands there twice"),
        "{twice}"
    );
    let short = error("edges,val_12ep,val_200ep,latency\n220223,1\n");
    assert!(short.contains("line 2"), "{short}");
    let absent = Table::open(&dir.path().join("no.csv"), "edges", columns())
        .unwrap_err()
        .to_string();
    assert!(absent.contains("no.csv"), "{absent}");
}

#[test]
fn a_table_is_searched_rung_by_rung() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::from("edges,val_12ep,val_200ep,latency\n");
    for code in 0..25 {
        let (a, b) = (code / 5, code % 5);
        text.push_str(&format!("{a}{b}2222,{code},{},{}\n", 2 * code, 25 - code));
    }
    let table = Table::open(&write(dir.path(), &text, false), "edges", columns()).unwrap();
    let mut study = Study::open(Setup {
        space: Arc::new(Cells201::with_free_edges(2)),
        evaluators: vec![Arc::new(table)],
        settings: Settings::new(["accuracy"])
            .limits(["latency<=20".parse().unwrap()])
            .rungs([12, 200])
            .optimiser("halving"),
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    })
    .unwrap();
    let (stop, clock) = (Stop::new(), || 0.0);
    let run = Run {
        workers: 1,
        budget: None,
        stop: &stop,
        clock: &clock,
    };
    study.run(run).unwrap();
    let trials = study.view().trials();
    assert!(trials.iter().all(|trial| trial.values["latency"] <= 20.0));
    let done = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Done);
    let done: Vec<f64> = done.map(|trial| trial.values["accuracy"]).collect();
    assert!(done.contains(&48.0), "{done:?}");
    assert!(
        done.len() < trials.len(),
        "{} of {}",
        done.len(),
        trials.len()
    );
}
