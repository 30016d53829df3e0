//! What algorithms leave that do not search: a description that was given.

use std::path::PathBuf;

use archai_engine::{
    EngineError,
    experiment::{Experiment, RunFile},
    searcher::{SearchResult, describe, draw_cells, save_desc},
};
use archai_spec::desc::{ModelDesc, ModelDescBuilder};
use archai_spec::event::LogPath;

/// Builds the description for the search's data at the search's size, and leaves it as what was found. `note` says what it is.
pub(crate) fn leave(
    experiment: &Experiment<'_>,
    builder: &dyn ModelDescBuilder,
    note: String,
) -> Result<SearchResult, EngineError> {
    let (settings, run) = (&experiment.settings.nas.search, experiment.run);
    let start = run.clock.now();
    let desc: ModelDesc = experiment.build(builder, &settings.model_desc, None, true)?;
    let final_desc = PathBuf::from(&settings.final_desc_filename);
    save_desc(experiment, &final_desc, &desc)?;
    let mut files = vec![RunFile::new("description", &final_desc)];
    files.extend(draw_cells(experiment, &desc)?);
    let log = run.log(LogPath::root());
    log.info(&note)?;
    log.info(format!("it is {}", describe(&desc)))?;
    let cost = desc.cost(experiment.components.ops.catalog())?.total(false);
    Ok(SearchResult {
        genotype: desc.genotype().ok().map(|g| g.to_string()),
        train_top1: None,
        val_top1: None,
        post_train_test_top1: None,
        supernet_parameters: 0,
        alphas: 0,
        parameters: cost.params,
        macs: cost.macs,
        seconds: run.clock.now() - start,
        final_desc,
        notes: vec![note],
        warnings: Vec::new(),
        files,
    })
}
