//! One small run, searched and evaluated by the lab, for all tests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use archai_lab::{Lab, NoObserver, Request, RunDir};
use serde_json::Value;
use tempfile::TempDir;

/// Networks of a few channels on a few images.
const TINY: [&str; 17] = [
    "nas.search.trainer.epochs=3",
    "nas.search.loader.dataset.max_batches=4",
    "nas.search.loader.train_batch=4",
    "nas.search.loader.test_batch=4",
    "nas.search.model_desc.n_cells=3",
    "nas.search.model_desc.n_reductions=1",
    "nas.search.model_desc.cell.n_nodes=2",
    "nas.search.model_desc.model_stems.init_node_ch=2",
    "nas.eval.trainer.epochs=2",
    "nas.eval.loader.dataset.max_batches=2",
    "nas.eval.loader.train_batch=4",
    "nas.eval.loader.test_batch=4",
    "nas.eval.model_desc.n_cells=3",
    "nas.eval.model_desc.n_reductions=1",
    "nas.eval.model_desc.aux_weight=0",
    "nas.eval.model_desc.model_stems.init_node_ch=2",
    "common.yaml_log=false",
];

/// The folder of the run; it stays as long as the process.
fn logdir() -> &'static Path {
    static DIR: OnceLock<TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let request = Request {
            logdir: Some(dir.path().display().to_string()),
            threads: Some(1),
            overrides: TINY.map(String::from).to_vec(),
            ..Request::new("darts")
        };
        Lab::builtin().run(&request, &NoObserver).unwrap();
        dir
    });
    dir.path()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// A copy of the run, which a test may change.
pub struct Copied(TempDir);

impl Copied {
    pub fn new() -> Self {
        let copied = Copied(tempfile::tempdir().unwrap());
        for entry in std::fs::read_dir(logdir()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                copy(&path, &copied.0.path().join(path.file_name().unwrap()));
            }
        }
        copied
    }

    pub fn logdir(&self) -> PathBuf {
        self.0.path().to_path_buf()
    }

    pub fn search(&self) -> RunDir {
        RunDir::new(
            self.0
                .path()
                .join("darts_fashion_mnist_mini_throwaway_search"),
        )
    }

    pub fn eval(&self) -> RunDir {
        RunDir::new(
            self.0
                .path()
                .join("darts_fashion_mnist_mini_throwaway_eval"),
        )
    }
}

pub fn page(dir: &RunDir) -> String {
    archai_report::run_page(&Lab::builtin(), dir).unwrap()
}

/// The numbers that a page holds for programs.
pub fn data(page: &str) -> Value {
    let (_, from) = page.split_once("id=\"data\">").unwrap();
    let (text, _) = from.split_once("</script>").unwrap();
    serde_json::from_str(text).unwrap()
}

#[track_caller]
pub fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text:?} is missing in:\n{page:.6000}");
    }
}
