//! What algorithms find that do not search: a description that was given.

use archai_engine::{
    EngineError,
    ahead::Ahead,
    experiment::{Experiment, Found},
};
use archai_spec::desc::{ModelDesc, ModelDescBuilder, build};
use archai_spec::event::LogPath;

/// Keys below `nas.search` that belong to a supernet and its training, which algorithms without one do not read.
pub(crate) const OF_SUPERNETS: [&str; 6] = [
    "loader",
    "trainer",
    "post_train",
    "guard",
    "darts_pt",
    "finalizer",
];

/// Builds the description for the search's data at the search's size, as what was found. `note` says what it is.
pub(crate) fn found(
    experiment: &Experiment<'_>,
    builder: &dyn ModelDescBuilder,
    note: String,
) -> Result<Found, EngineError> {
    let shape = &experiment.settings.nas.search.model_desc;
    let desc = experiment.build(builder, shape, None, true)?;
    experiment.run.log(LogPath::root()).info(&note)?;
    Ok(Found {
        what: "description".to_string(),
        introduced: "it is".to_string(),
        notes: vec![note],
        ..Found::new(desc)
    })
}

/// The same description before the run.
pub(crate) fn preview(
    ahead: &Ahead<'_>,
    builder: &dyn ModelDescBuilder,
) -> Result<Vec<ModelDesc>, EngineError> {
    let shape = &ahead.settings.nas.search.model_desc;
    Ok(vec![build(builder, shape, None, true, ahead.catalog)?.desc])
}
