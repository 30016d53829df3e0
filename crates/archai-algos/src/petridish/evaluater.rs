//! The evaluation of all networks that a search found good, not of one alone.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use archai_engine::{
    EngineError,
    evaluater::{
        DefaultEvaluater, EvalResult, Evaluater, best_path, evaluate_template, load_desc,
        log_result,
    },
    experiment::{Experiment, ExperimentRunner, RunFile},
    export,
    files::{FOUND_DESC, FileError, GALLERY, GALLERY_DESC, make_folder, number_of},
    predictions::predictions_path,
    run::Run,
    searcher::{draw_cells, save_desc},
};
use archai_spec::desc::{CellType, ModelDesc};
use archai_spec::event::{LogPath, LogValue, json};
use archai_spec::settings;

/// Evaluates every description of the gallery beside the given one, and also writes the best on validation data under the
/// names that an evaluation usually has. Without a gallery it evaluates the given description as usual.
///
/// A network keeps its number of reductions; of cells it gets so many times as many, at most as the settings say.
#[derive(Clone, Copy, Debug)]
pub struct GalleryEvaluater {
    /// Factor for the number of cells.
    pub cell_count_scale: f64,
}

impl Evaluater for GalleryEvaluater {
    fn evaluate(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<EvalResult, EngineError> {
        let settings = &experiment.settings.nas.eval;
        let gallery = gallery(experiment.run, Path::new(&settings.final_desc_filename))?;
        if gallery.is_empty() {
            return DefaultEvaluater.evaluate(experiment, runner);
        }
        check_measured(settings)?;
        let start = experiment.run.clock.now();
        let mut best: Option<Evaluated> = None;
        let (mut files, mut warnings) = (Vec::new(), Vec::new());
        for (id, path) in gallery {
            let template = load_desc(&path, experiment)?;
            let own = self.settings_for(settings, &template, id);
            let phase = format!("eval {id}");
            let parent = LogPath::new("eval_arch").join(id);
            let result = evaluate_template(experiment, runner, &own, &template, &phase, &parent)?;
            let Some(top1) = result.val_top1 else {
                return Err(unmeasured());
            };
            let figures = [
                ("val_top1", Some(top1.into())),
                ("test_top1", result.test_top1.map(Into::into)),
                ("madd", Some(result.macs.into())),
            ];
            // What was not measured is no value.
            let figures = figures.into_iter();
            let figures = figures.filter_map(|(name, value): (&str, Option<LogValue>)| {
                Some((name.to_string(), json(value?)))
            });
            experiment.run.log(parent).values(figures.collect())?;
            let said = result.warnings.iter();
            warnings.extend(said.map(|text| format!("network {id}: {text}")));
            files.extend(result.files.iter().cloned().map(|file| RunFile {
                what: format!("network {id}: {}", file.what),
                ..file
            }));
            let new = Evaluated {
                id,
                template,
                settings: own,
                result,
                top1,
            };
            // The earlier one of equals.
            if best.as_ref().is_none_or(|best| new.top1 > best.top1) {
                best = Some(new);
            }
        }
        let Some(best) = best else {
            return DefaultEvaluater.evaluate(experiment, runner);
        };
        let mut result = best.publish(experiment, settings)?;
        result.files.extend(files);
        result.warnings = warnings;
        result.seconds = experiment.run.clock.now() - start;
        log_result(experiment, &result)?;
        Ok(result)
    }

    fn shape(&self, eval: &settings::Eval, found: &ModelDesc) -> settings::ModelDescSettings {
        let reductions = found.cells.iter();
        let reductions = reductions
            .filter(|cell| cell.cell_type == CellType::Reduction)
            .count();
        let cells = (found.cells.len() as f64 * self.cell_count_scale).ceil() as usize;
        settings::ModelDescSettings {
            n_reductions: reductions,
            n_cells: cells.min(eval.model_desc.n_cells).max(2 * reductions + 1),
            ..eval.model_desc.clone()
        }
    }
}

/// No network of the gallery is the best.
fn unmeasured() -> EngineError {
    EngineError::setting(
        "nas.eval.loader.val_ratio",
        "the best of several networks is chosen on validation data, but there are none; set it above 0, and \
         nas.eval.trainer.epochs and nas.eval.trainer.validation.freq to at least 1",
    )
}

/// Checks that the networks of a gallery are measured on validation data.
///
/// # Errors
/// They are not.
pub(super) fn check_measured(eval: &settings::Eval) -> Result<(), EngineError> {
    let measures = eval.loader.val_ratio > 0.0 && eval.trainer.epochs > 0;
    match measures && eval.trainer.validation.freq > 0 {
        true => Ok(()),
        false => Err(unmeasured()),
    }
}

impl GalleryEvaluater {
    /// The settings of one network: its size, and names of its own for its files.
    fn settings_for(
        &self,
        settings: &settings::Eval,
        template: &ModelDesc,
        id: usize,
    ) -> settings::Eval {
        let mut own = settings.clone();
        own.model_desc = self.shape(settings, template);
        let name = |common: &str, what: &str| {
            let path = Path::new(common).with_file_name(format!("{GALLERY_DESC}_{id}_{what}"));
            path.to_string_lossy().into_owned()
        };
        own.full_desc_filename = name(&settings.full_desc_filename, "full.yaml");
        own.metric_filename = name(&settings.metric_filename, "metrics.yaml");
        own.model_filename = name(&settings.model_filename, "model.pt");
        own
    }
}

/// A network of the gallery after its training.
struct Evaluated {
    id: usize,
    template: ModelDesc,
    settings: settings::Eval,
    result: EvalResult,
    top1: f64,
}

impl Evaluated {
    /// Writes the network's files once more under the common names, which the result then lists.
    fn publish(
        self,
        experiment: &Experiment<'_>,
        common: &settings::Eval,
    ) -> Result<EvalResult, EngineError> {
        let mut files = vec![];
        let template = experiment.dir.join(FOUND_DESC);
        save_desc(experiment, &template, &self.template)?;
        let what = format!(
            "template of network {}, the best on validation data",
            self.id
        );
        files.push(RunFile::new(what, &template));
        files.extend(draw_cells(experiment, &self.template)?);
        let formats = export::chosen(&experiment.components.exporters, common)?;
        let own_predictions = predictions_path(Path::new(&self.settings.model_filename));
        let is_tested = (self.result.files.iter()).any(|file| file.path == own_predictions);
        let files_of = |settings: &settings::Eval| -> Vec<(PathBuf, Option<String>)> {
            let model = Path::new(&settings.model_filename);
            // In this order they are listed in the summary.
            let mut files = vec![
                (PathBuf::from(&settings.full_desc_filename), None),
                (PathBuf::from(&settings.metric_filename), None),
            ];
            let products = |model: &Path| -> Vec<(PathBuf, Option<String>)> {
                let all = formats.products(model).into_iter();
                all.map(|p| (p.path().to_path_buf(), p.usage())).collect()
            };
            files.extend(products(model));
            files.push((export::info_path(model), None));
            files.extend(products(&best_path(model)));
            if is_tested {
                files.push((predictions_path(model), None));
            }
            files
        };
        let pairs = files_of(&self.settings).into_iter().zip(files_of(common));
        for ((from, _), (to, usage)) in pairs {
            let run = experiment.run;
            let bytes = (run.disk.read(&from)).map_err(|e| FileError::new("read", &from, e))?;
            // A format may have folders of its own.
            if let Some(folder) = to.parent()
                && Some(folder) != Path::new(&common.model_filename).parent()
            {
                make_folder(run.disk, folder)?;
            }
            run.write(&to, |out| out.write_all(&bytes))?;
            let written = self.result.files.iter().find(|file| file.path == from);
            let what = written.map_or_else(String::new, |file| file.what.clone());
            files.push(RunFile {
                bytes: written.and_then(|file| file.bytes),
                usage,
                ..RunFile::new(what, to)
            });
        }
        Ok(EvalResult {
            files,
            ..self.result
        })
    }
}

/// The descriptions in the gallery beside a found description, in order of their numbers. None if there is no gallery.
fn gallery(run: Run<'_>, found: &Path) -> Result<Vec<(usize, PathBuf)>, EngineError> {
    let dir = found.with_file_name(GALLERY);
    let paths = match run.disk.list(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| FileError::new("read", &dir, e))?,
    };
    let mut list = Vec::new();
    for path in paths {
        list.extend(number_of(&path, GALLERY_DESC).map(|id| (id, path)));
    }
    list.sort_unstable();
    Ok(list)
}
