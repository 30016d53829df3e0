//! Requests so small that a run takes a moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use archai_lab::{Request, RunMode, digests};

/// Three narrow cells and a few images per phase, of these algorithms.
pub fn tiny(algorithms: &[&str], logdir: &Path) -> Request {
    let overrides = [
        "nas.search.loader.dataset.max_batches=4",
        "nas.search.loader.train_batch=4",
        "nas.search.loader.test_batch=4",
        "nas.search.loader.train_workers=0",
        "nas.search.model_desc.n_cells=3",
        "nas.search.model_desc.n_reductions=1",
        "nas.search.model_desc.cell.n_nodes=1",
        "nas.search.model_desc.model_stems.init_node_ch=2",
        "nas.search.trainer.epochs=2",
        "nas.eval.loader.dataset.max_batches=2",
        "nas.eval.loader.train_batch=4",
        "nas.eval.loader.test_batch=4",
        "nas.eval.loader.train_workers=0",
        "nas.eval.model_desc.n_cells=3",
        "nas.eval.model_desc.n_reductions=1",
        "nas.eval.model_desc.aux_weight=0.0",
        "nas.eval.model_desc.model_stems.init_node_ch=2",
        "common.checkpoint.every_steps=1",
    ];
    Request {
        algorithms: algorithms.iter().map(|name| name.to_string()).collect(),
        logdir: Some(logdir.display().to_string()),
        threads: Some(2),
        mode: RunMode::Smoke,
        overrides: overrides.map(String::from).to_vec(),
        ..Request::new("")
    }
}

/// Digests of all runs below a log folder, by the run directory's name.
pub fn all_digests(logdir: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(logdir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            all.insert(name, digests::of_run(&path).unwrap());
        }
    }
    assert!(!all.is_empty());
    all
}
