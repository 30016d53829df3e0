//! Runs an algorithm from its shipped settings, shrunk to 8×8 images and a few small cells.

use std::path::Path;

use archai_engine::{
    Components, Compute, EngineError,
    evaluater::EvalResult,
    experiment::{Experiment, ExperimentRunner},
    phases::{run_eval, run_search},
    run::{NoClock, Run, StopFlag},
    searcher::SearchResult,
};
use archai_spec::event::NoEvents;
use archai_spec::settings::Settings;

pub use crate::search::load;
use crate::search::settings_of;

/// Over the settings of [`settings_of`].
const SMALLER: &str = "
    nas.search.model_desc.cell.n_nodes=1 nas.search.model_desc.model_stems.init_node_ch=4 nas.search.trainer.epochs=1
    nas.eval.model_desc.n_cells=3 nas.eval.model_desc.model_stems.init_node_ch=4 nas.eval.trainer.epochs=1
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
        let overrides = format!("{SMALLER} {overrides}");
        let (settings, runner) = settings_of(algorithm, dir, &overrides);
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
