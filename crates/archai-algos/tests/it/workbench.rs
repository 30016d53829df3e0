//! Runs an algorithm from its shipped settings, shrunk to 8×8 images and a few small cells.

use std::path::Path;

use archai_algos::all;
use archai_engine::{
    Components, Compute, EngineError,
    evaluater::EvalResult,
    experiment::{Experiment, ExperimentRunner},
    phases::{run_eval, run_search},
    run::{NoClock, Run, StopFlag},
    searcher::SearchResult,
};
use archai_spec::config::{ConfigLoader, Shipped, parse_overrides};
use archai_spec::desc::ModelDesc;
use archai_spec::event::NoEvents;
use archai_spec::settings::Settings;

const TINY: &str = "
    dataset.size=[8,8] dataset.crop_padding=1
    nas.search.model_desc.n_cells=3 nas.search.model_desc.n_reductions=1 nas.search.model_desc.cell.n_nodes=1
    nas.search.model_desc.model_stems.init_node_ch=4 nas.search.model_desc.model_stems.stem_multiplier=1
    nas.search.loader.dataset.max_batches=4 nas.search.loader.train_batch=16 nas.search.loader.train_workers=1
    nas.search.trainer.epochs=1
    nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 nas.eval.model_desc.model_stems.init_node_ch=4
    nas.eval.model_desc.model_stems.stem_multiplier=1 nas.eval.model_desc.aux_weight=0
    nas.eval.loader.dataset.max_batches=2 nas.eval.loader.train_batch=16 nas.eval.loader.test_batch=64
    nas.eval.loader.cutout=2 nas.eval.loader.train_workers=0 nas.eval.trainer.epochs=1
";

/// An algorithm with its settings, whose files go to `dir`.
pub struct Workbench<'a> {
    pub dir: &'a Path,
    pub settings: Settings,
    pub runner: Box<dyn ExperimentRunner>,
}

impl<'a> Workbench<'a> {
    /// `overrides` come on top of the tiny settings.
    pub fn new(algorithm: &str, dir: &'a Path, overrides: &str) -> Self {
        let args: Vec<String> = [TINY, overrides]
            .iter()
            .flat_map(|text| text.split_whitespace().map(str::to_owned))
            .collect();
        let algorithms = all();
        let algorithm = algorithms.get(algorithm).expect("an algorithm");
        let files = archai_algos::files(&algorithms, &Shipped);
        let tree = ConfigLoader::new(&files)
            .files(&algorithm.defaults())
            .dataset("archai:datasets/fashion_mnist_mini.yaml")
            .overrides(parse_overrides(&args).expect("overrides"))
            .load(&algorithm.schema())
            .unwrap_or_else(|e| panic!("{e}"));
        let mut settings = tree.settings().unwrap_or_else(|e| panic!("{e}"));
        let file = |name: &str| dir.join(name).display().to_string();
        settings.nas.search.final_desc_filename = file("final_model_desc.yaml");
        settings.nas.eval.final_desc_filename = file("final_model_desc.yaml");
        settings.nas.eval.full_desc_filename = file("full_model_desc.yaml");
        settings.nas.eval.metric_filename = file("eval_train_metrics.yaml");
        settings.nas.eval.model_filename = file("model.pt");
        let runner = algorithm.runner(&tree).unwrap_or_else(|e| panic!("{e}"));
        Workbench {
            dir,
            settings,
            runner,
        }
    }

    pub fn with<T>(&self, body: impl FnOnce(&Experiment<'_>) -> T) -> T {
        let stop = StopFlag::new();
        body(&Experiment {
            settings: &self.settings,
            components: Components::builtin(),
            compute: Compute::cpu(),
            run: Run::new(&NoEvents, &NoClock, &stop, self.settings.common.seed),
            dir: self.dir,
        })
    }

    pub fn search(&self) -> Result<SearchResult, EngineError> {
        self.with(|experiment| run_search(experiment, self.runner.as_ref()))
    }

    pub fn eval(&self) -> Result<EvalResult, EngineError> {
        self.with(|experiment| run_eval(experiment, self.runner.as_ref()))
    }
}

pub fn load(path: &Path) -> ModelDesc {
    let text = std::fs::read_to_string(path).expect("a file");
    ModelDesc::from_yaml(&text, "found", Components::builtin().ops.catalog())
        .expect("a description")
}

/// The columns of a table by name, row by row.
pub fn rows(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut lines = text.lines().map(|line| line.split('\t'));
    let names: Vec<&str> = lines.next().expect("a head").collect();
    lines
        .map(|row| {
            let cells: Vec<&str> = row.collect();
            assert_eq!(cells.len(), names.len(), "{text}");
            let cells = names.iter().zip(cells);
            cells.map(|(n, c)| (n.to_string(), c.to_string())).collect()
        })
        .collect()
}
