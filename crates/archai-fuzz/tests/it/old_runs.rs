//! What released programs wrote opens for ever, or is refused with its version named. Each release that changes a format
//! adds a folder of its files to `tests/fixtures`; none is ever changed or taken away.

use std::fs;
use std::path::PathBuf;

use archai::engine::checkpoint::{CheckpointStore, Checkpoints, Policy};
use archai::engine::export::load_safetensors;
use archai::engine::run::NoClock;
use archai::lab::Record;
use archai::lab::report::{FinishedRun, collate};
use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::measure::alone;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn text(name: &str) -> String {
    let path = fixture(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn p27_records_of_version_1() {
    let _alone = alone();
    let record = |phase| Record::from_json(&text(&format!("0.1/run_{phase}/result.json"))).unwrap();
    let (search, eval) = (record("search"), record("eval"));
    assert_eq!(
        (search.version, search.algorithm.as_str(), search.seed),
        (1, "darts", 2)
    );
    assert!(search.figures.contains_key("search_macs") && eval.figures.contains_key("test_top1"));
    let run = FinishedRun {
        name: "run".into(),
        search: Some(search),
        eval: Some(eval),
        toy: false,
    };
    let report = collate(vec![run], Vec::new());
    assert!(report.left_out.is_empty(), "{:?}", report.left_out);
    assert!(report.to_markdown().contains("darts"));

    for version in [2, 17] {
        let newer = text("0.1/run_search/result.json")
            .replace("\"version\": 1", &format!("\"version\": {version}"));
        let error = Record::from_json(&newer).unwrap_err();
        assert_eq!(
            error,
            format!("has version {version}, this program reads 1")
        );
    }
}

#[test]
fn p27_descriptions_of_version_1() {
    let _alone = alone();
    let catalog = OpCatalog::builtin();
    for name in [
        "run_search/final_model_desc.yaml",
        "run_eval/final_model_desc.yaml",
        "run_eval/full_model_desc.yaml",
    ] {
        let written = text(&format!("0.1/{name}"));
        let desc = ModelDesc::from_yaml(&written, name, &catalog).unwrap();
        assert_eq!(
            desc.to_yaml().unwrap(),
            written,
            "{name} is written as it was"
        );
        let newer = written.replace("version: 1\n", "version: 2\nunheard_of: [1]\n");
        assert_ne!(newer, written);
        let error = ModelDesc::from_yaml(&newer, name, &catalog)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("layout version 2, written by a newer program"),
            "{error}"
        );
    }
}

#[test]
fn p27_weights_and_checkpoints_of_version_1() {
    let _alone = alone();
    let (tensors, texts) = load_safetensors(&fixture("0.1/run_eval/model.safetensors")).unwrap();
    assert!(
        tensors.len() > 10 && !texts.is_empty(),
        "{} {texts:?}",
        tensors.len()
    );

    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("000001.checkpoint");
    fs::copy(fixture("0.1/checkpoints/000001.checkpoint"), copy).unwrap();
    let mark = Box::new(|| Ok(serde_json::Value::Null));
    let (store, found) =
        CheckpointStore::open(folder.path(), Policy::shipped(), &NoClock, mark).unwrap();
    assert_eq!(found.damaged, Vec::<String>::new());
    assert_eq!(
        (found.mark, found.scope.as_deref()),
        (Some(3.into()), Some("eval/0"))
    );
    let (snapshot, finished) = store.latest("eval/0").unwrap().unwrap();
    assert!(!finished);
    assert_eq!(snapshot.get::<usize>("n").unwrap(), 7);
    assert_eq!(
        snapshot.part("a").get::<Vec<f64>>("list").unwrap(),
        [0.1, 2.0]
    );
    let weight = &snapshot.tensors("a")[0];
    assert_eq!(
        (weight.name.as_str(), &weight.shape[..]),
        ("stem.weight", &[2, 2][..])
    );
    assert_eq!(weight.values, [0.5, -1.0, f64::INFINITY, 0.0]);
}
