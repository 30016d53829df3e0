//! One search or one evaluation from settings to files. Whatever an algorithm finds is saved, drawn, counted, trained for a
//! while if the settings ask for it, and reported here, so that all algorithms do it alike.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use archai_spec::event::LogPath;

use crate::{
    error::EngineError,
    evaluater::DefaultEvaluater,
    experiment::{EvalResult, Experiment, ExperimentRunner, Found, RunFile, SearchResult, Trial},
    files::{FileError, GALLERY, GALLERY_DESC, make_folder, number_of, numbered},
    metrics::Metrics,
    preview::{check_eval, check_search},
    run::Run,
    searcher::{OneShotSearcher, describe, draw_cells, save_desc, train_found},
};

/// Searches, and leaves `final_model_desc.yaml` (at the path in `nas.search.final_desc_filename`), drawings of its cells and,
/// if the search found several networks, a gallery of them.
///
/// # Errors
/// Settings that do not fit each other or the data, files that cannot be read or written, a loss that is not finite, a
/// request to stop.
pub fn run_search(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
) -> Result<SearchResult, EngineError> {
    let experiment = experiment.with_ops(runner)?;
    check_search(&experiment.components, runner, experiment.settings)?;
    let start = experiment.run.clock.now();
    let mut searcher = (runner.searcher()).unwrap_or_else(|| Box::new(OneShotSearcher));
    let found = searcher.search(&experiment, runner)?;
    conclude(&experiment, runner, found, start)
}

/// Evaluates the description in `nas.eval.final_desc_filename`, and leaves the scaled description, its metrics, its weights
/// and drawings of its cells.
///
/// # Errors
/// As [`run_search`]; a template that is missing, damaged or no found network.
pub fn run_eval(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
) -> Result<EvalResult, EngineError> {
    let experiment = experiment.with_ops(runner)?;
    check_eval(experiment.settings)?;
    let mut evaluater = (runner.evaluater()).unwrap_or_else(|| Box::new(DefaultEvaluater));
    evaluater.evaluate(&experiment, runner)
}

/// Checks, saves, draws, logs and counts what was found, and trains it for a while if it has to be. `start` is when the
/// search began.
fn conclude(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    found: Found,
    start: f64,
) -> Result<SearchResult, EngineError> {
    let (search, run) = (&experiment.settings.nas.search, experiment.run);
    let catalog = experiment.components.ops.catalog();
    found.desc.check(catalog)?;
    let final_desc = PathBuf::from(&search.final_desc_filename);
    save_desc(experiment, &final_desc, &found.desc)?;
    let mut files = vec![RunFile::new(&found.what, &final_desc)];
    files.extend(save_gallery(experiment, &found)?);
    files.extend(found.files.iter().cloned());
    files.extend(draw_cells(experiment, &found.desc)?);

    let root = run.log(LogPath::root());
    root.info(format!("{} {}", found.introduced, describe(&found.desc)))?;
    let mut warnings = found.warnings.clone();
    let mut post = None;
    warnings.iter().try_for_each(|warning| root.warn(warning))?;
    // Other networks were trained to be found, or not at all.
    if found.supernet.is_some() {
        post = post_train(experiment, runner, &found)?;
        warnings.extend(post.as_ref().and_then(Metrics::skip_warning));
        let post_val = (post.as_ref()).and_then(|m| m.last()?.val_metrics.as_ref()?.top1());
        root.measured(&[
            ("search_top1_val", found.val_top1),
            ("train_top1_val", post_val),
        ])?;
    }
    let cost = experiment.cost(&found.desc, false)?;
    Ok(SearchResult {
        genotype: found.desc.genotype().ok().map(|g| g.to_string()),
        train_top1: found.train_top1,
        val_top1: found.val_top1,
        post_train_test_top1: post.and_then(|m| m.best().test),
        supernet_parameters: found.supernet.map_or(0, |s| s.parameters),
        alphas: found.supernet.map_or(0, |s| s.alphas),
        parameters: cost.params,
        macs: cost.macs,
        seconds: run.clock.now() - start,
        final_desc,
        notes: found.notes,
        warnings,
        files,
    })
}

/// The training in `nas.search.post_train` of a network that was read off a supernet, if it has epochs.
fn post_train(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    found: &Found,
) -> Result<Option<Metrics>, EngineError> {
    let search = &experiment.settings.nas.search;
    if search.post_train.trainer.epochs == 0 {
        return Ok(None);
    }
    let (_, fitted) = train_found(
        experiment,
        runner,
        &search.post_train,
        &search.model_desc,
        &found.desc,
        "post_train",
        &LogPath::root(),
    )?;
    Ok(Some(fitted.metrics))
}

/// The gallery beside the found description.
fn gallery_of(experiment: &Experiment<'_>) -> PathBuf {
    Path::new(&experiment.settings.nas.search.final_desc_filename).with_file_name(GALLERY)
}

/// Removes what an earlier search of the same kind left in the gallery: the evaluation would take it for this one's. That
/// is what the trials write themselves, under other numbers too; whatever else lies there is the user's.
fn empty_gallery(run: Run<'_>, folder: &Path, trials: &[Trial]) -> Result<(), EngineError> {
    let paths = run.disk.list(folder);
    let paths = paths.map_err(|e| FileError::new("read", folder, e))?;
    let kinds: BTreeSet<&str> = (trials.iter().flat_map(|trial| &trial.files))
        .map(|(kind, _)| kind.as_str())
        .chain([GALLERY_DESC])
        .collect();
    let is_ours = |path: &&PathBuf| {
        let is_named = |kind: &&str| {
            let number = number_of(path, kind);
            number.is_some_and(|n| path.file_name() == Some(numbered(kind, n).as_ref()))
        };
        kinds.iter().any(is_named)
    };
    for path in paths.iter().filter(is_ours) {
        (run.disk.remove_file(path)).map_err(|e| FileError::new("remove", path, e))?;
    }
    Ok(())
}

/// Writes the trials of the gallery, each with the files that accompany it.
fn save_gallery(
    experiment: &Experiment<'_>,
    found: &Found,
) -> Result<Option<RunFile>, EngineError> {
    let Some(what) = &found.gallery else {
        return Ok(None);
    };
    let folder = gallery_of(experiment);
    make_folder(experiment.run.disk, &folder)?;
    empty_gallery(experiment.run, &folder, &found.trials)?;
    for trial in found.trials.iter().filter(|trial| trial.in_gallery) {
        let path = folder.join(numbered(GALLERY_DESC, trial.id));
        save_desc(experiment, &path, &trial.desc)?;
        for (kind, text) in &trial.files {
            let path = folder.join(numbered(kind, trial.id));
            (experiment.run).write(&path, |out| out.write_all(text.as_bytes()))?;
        }
    }
    Ok(Some(RunFile::new(what, &folder)))
}
