//! How a found network is evaluated: [`DefaultEvaluater`] scales it up and trains it from scratch, from the description's
//! file alone.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use archai_data::Loaders;
use archai_spec::desc::ModelDesc;
use archai_spec::event::LogPath;
use archai_spec::graph::names;
use archai_spec::settings::{self, TemplateUse};

pub use crate::experiment::{EvalResult, Evaluater};

use crate::{
    error::EngineError,
    experiment::{Experiment, ExperimentRunner, RunFile},
    export::{
        self, Exported, Formats, ModelInfo, Provenance,
        import::{self, Weights},
    },
    files::{FOUND_DESC, FileError, make_folder},
    metrics::{Metrics, has_top5},
    model::Model,
    parts::Parts,
    predictions::predictions_path,
    run::Run,
    searcher::{draw_cells, save_desc},
    trainer::{ArchTrainer, FitState, measure},
};

/// Template → scaled description → training from scratch → files.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultEvaluater;

impl Evaluater for DefaultEvaluater {
    fn evaluate(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<EvalResult, EngineError> {
        let settings = &experiment.settings.nas.eval;
        let template_path = Path::new(&settings.final_desc_filename);
        let template = load_desc(template_path, experiment)?;
        let copy = experiment.dir.join(FOUND_DESC);
        if !same_file(template_path, &copy) {
            save_desc(experiment, &copy, &template)?;
        }
        let mut files = vec![RunFile::new("template", &copy)];
        files.extend(draw_cells(experiment, &template)?);
        let parent = LogPath::new("eval_arch");
        let mut result =
            evaluate_template(experiment, runner, settings, &template, "eval", &parent)?;
        files.append(&mut result.files);
        result.files = files;
        log_result(experiment, &result)?;
        Ok(result)
    }
}

/// Reads a description and checks it.
///
/// # Errors
/// The file cannot be read, or is no description.
pub fn load_desc(path: &Path, experiment: &Experiment<'_>) -> Result<ModelDesc, EngineError> {
    let failed = |e| FileError::new("read", path, e);
    let bytes = experiment.run.disk.read(path).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|e| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, e)))?;
    let name = path.display().to_string();
    Ok(ModelDesc::from_yaml(
        &text,
        &name,
        experiment.components.ops.catalog(),
    )?)
}

/// Scales `template` to `settings.model_desc` (or takes it as it is: `settings.template`), trains it from scratch, and writes the scaled description, the metrics and
/// the weights where `settings` say. `phase` keys the order of the batches; the log stands below `parent`.
///
/// # Errors
/// As a description's building and compiling and as [`ArchTrainer::fit`]. A training that was stopped leaves what there is.
pub fn evaluate_template(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    settings: &settings::Eval,
    template: &ModelDesc,
    phase: &str,
    parent: &LogPath,
) -> Result<EvalResult, EngineError> {
    let run = experiment.run;
    let start = run.clock.now();
    let formats = export::chosen(&experiment.components.exporters, settings)?;
    let space = experiment.space(runner)?;
    let desc = experiment.evaluated(space.builder(), settings, template)?;
    export::check_expressed(&formats, &desc, experiment.components.ops.catalog())?;
    save_desc(experiment, Path::new(&settings.full_desc_filename), &desc)?;
    let what = match settings.template {
        TemplateUse::Scale => "scaled description",
        TemplateUse::AsIs => "trained description",
        TemplateUse::Adapt => "description fitted to the data",
    };
    let mut files = vec![RunFile::new(what, &settings.full_desc_filename)];

    let mut model = experiment.compile(&desc, runner)?;
    let parts = Parts::new(settings)?;
    model.freeze(&parts)?;
    let notes = start_from(experiment, settings, &mut model)?;
    let loaders = experiment.loaders(&settings.loader, phase)?;
    let mut info = ModelInfo::new(&settings.loader.dataset, loaders.class_names());
    info.provenance = Provenance {
        dataset: info.provenance.dataset,
        seed: Some(run.seed),
        ..run.origin.cloned().unwrap_or_default()
    };
    let saving = Saving { run, formats, info };
    let predictions = predictions_path(Path::new(&settings.model_filename));
    let mut trainer = ArchTrainer::new(&settings.trainer, run, parent, &mut [])
        .with_test_every_epoch(settings.test_every_epoch)
        .with_predictions(&predictions)
        .with_parts(&parts, &model);
    let mut fitted = trainer.start()?;
    let outcome = trainer.fit_from(&mut fitted, &mut model, &loaders);
    if let Err(EngineError::Stopped) = outcome {
        // What there is: the epochs measured so far and the weights as they are.
        let mut part = fitted.metrics.clone();
        if fitted.current.step + fitted.current.skipped > 0 {
            part.run_metrics.epochs_metrics.push(fitted.current.clone());
        }
        save_metrics(run, Path::new(&settings.metric_filename), &part)?;
        saving.save(
            Path::new(&settings.model_filename),
            &model,
            "model as it was when the run was stopped",
            Reached::new(fitted.epoch, []),
        )?;
    }
    outcome?;

    save_metrics(run, Path::new(&settings.metric_filename), &fitted.metrics)?;
    files.push(RunFile::new(
        "metrics of all epochs",
        &settings.metric_filename,
    ));
    if fitted.metrics.run_metrics.test_metrics.is_some() && is_there(run, &predictions)? {
        let what = "what the network said of each test picture";
        files.push(RunFile::new(what, &predictions));
    }
    let last = fitted.metrics.last();
    let test = fitted
        .metrics
        .run_metrics
        .test_metrics
        .as_ref()
        .and_then(|m| m.last());
    let train_top1 = last.and_then(|e| e.top1.avg);
    let val_top1 = last.and_then(|e| e.val_metrics.as_ref()?.top1());
    let test_top1 = test.and_then(|t| t.top1.avg);
    let test_top5 = test
        .and_then(|t| t.top5.avg)
        .filter(|_| has_top5(desc.n_classes));

    let model_path = Path::new(&settings.model_filename);
    let accuracies = [
        ("train_top1", train_top1),
        ("val_top1", val_top1),
        ("test_top1", test_top1),
        ("test_top5", test_top5),
    ];
    let reached = Reached::new(fitted.epoch, accuracies);
    files.extend(saving.save(model_path, &model, "weights after the last epoch", reached)?);
    files.push(saving.save_info(model_path)?);
    let best_test_top1 = test_best(run, settings, parent, &fitted, &loaders)?;
    if let Some(best) = &fitted.best {
        let what = format!(
            "weights after epoch {}, the best on validation data",
            best.epoch + 1
        );
        let accuracies = [("val_top1", Some(best.top1)), ("test_top1", best_test_top1)];
        let reached = Reached::new(best.epoch + 1, accuracies);
        files.extend(saving.save(&best_path(model_path), &best.model, &what, reached)?);
    }

    let cost = experiment.cost(&desc, false)?;
    Ok(EvalResult {
        train_top1,
        val_top1,
        best_val: fitted.best.as_ref().map(|best| (best.epoch, best.top1)),
        test_top1,
        best_test_top1,
        test_top5,
        parameters: cost.params,
        parameters_with_aux: experiment.cost(&desc, true)?.params,
        macs: cost.macs,
        epochs: fitted.epoch,
        seconds: run.clock.now() - start,
        warnings: fitted.metrics.skip_warning().into_iter().collect(),
        notes,
        files,
    })
}

/// Puts the weights of `nas.eval.init_weights` into a model, if there are any, and logs which parts start anew. Gives the
/// sentences that it logged.
fn start_from(
    experiment: &Experiment<'_>,
    settings: &settings::Eval,
    model: &mut Model,
) -> Result<Vec<String>, EngineError> {
    let Some(path) = &settings.init_weights else {
        return Ok(Vec::new());
    };
    let failed = |e| FileError::new("start from", Path::new(path), e);
    let bytes = experiment.run.disk.read(Path::new(path)).map_err(failed)?;
    let weights = Weights::read(&bytes).map_err(failed)?;
    let start = import::start(&weights, model.desc(), model.catalog()).map_err(failed)?;
    // Without the file's name, so that the log of a repetition elsewhere is the same.
    let said = format!(
        "the training starts from given weights: {} tensors",
        start.taken.len()
    );
    let mut state = model.named_state();
    let places: HashMap<String, usize> = (state.iter().enumerate())
        .map(|(i, tensor)| (tensor.name.clone(), i))
        .collect();
    for tensor in start.taken {
        if let Some(&i) = places.get(&tensor.name) {
            state[i] = tensor;
        }
    }
    model.set_named_state(&state)?;
    let mut notes = vec![said];
    notes.extend(start.notes);
    let log = experiment.run.log(LogPath::root());
    notes.iter().try_for_each(|note| log.info(note))?;
    Ok(notes)
}

/// Logs an evaluation's closing figures.
///
/// # Errors
/// The log cannot be written.
pub fn log_result(experiment: &Experiment<'_>, result: &EvalResult) -> Result<(), EngineError> {
    experiment.run.log(LogPath::root()).measured(&[
        ("eval_top1_train", result.train_top1),
        ("eval_top1_test", result.test_top1),
    ])
}

/// Whether there is a file. A training that had ended under an older program, and is resumed for its files alone, left none
/// of what it said of test pictures.
fn is_there(run: Run<'_>, path: &Path) -> Result<bool, EngineError> {
    match run.disk.read(path) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(FileError::new("read", path, e).into()),
    }
}

/// Writes the metrics as YAML.
fn save_metrics(run: Run<'_>, path: &Path, metrics: &Metrics) -> Result<(), EngineError> {
    let text = serde_saphyr::to_string(metrics)
        .map_err(|e| FileError::new("write", path, std::io::Error::other(e.to_string())))?;
    run.write(path, |out| out.write_all(text.as_bytes()))
}

/// The accuracy on test data of the best model on validation data, if there is one: nothing is chosen by it.
fn test_best(
    run: Run<'_>,
    settings: &settings::Eval,
    parent: &LogPath,
    fitted: &FitState,
    loaders: &Loaders,
) -> Result<Option<f64>, EngineError> {
    let (Some(best), Some(test)) = (&fitted.best, &loaders.test) else {
        return Ok(None);
    };
    let log = run.log(parent.join(&settings.trainer.title).join("test_best"));
    let validation = &settings.trainer.validation;
    let measured = measure(&best.model, test, validation, "test of the best", run, &log)?;
    let top1 = measured.last().and_then(|pass| pass.top1.avg);
    log.measured(&[("top1", top1)])?;
    Ok(top1)
}

/// How far weights were trained, and what they reached.
struct Reached {
    epochs: usize,
    accuracy: BTreeMap<String, f64>,
}

impl Reached {
    /// After so many epochs, with those of the accuracies that were measured.
    fn new<const N: usize>(epochs: usize, accuracies: [(&str, Option<f64>); N]) -> Self {
        let measured = accuracies.into_iter();
        let measured = measured.filter_map(|(name, v)| Some((name.to_string(), v?)));
        Reached {
            epochs,
            // JSON has no NaN: an accuracy that is none is not there.
            accuracy: measured.filter(|(_, v)| v.is_finite()).collect(),
        }
    }
}

/// What saves the models of an evaluation.
struct Saving<'a> {
    run: Run<'a>,
    formats: Formats,
    info: ModelInfo,
}

impl Saving<'_> {
    /// Writes weights and running statistics in every format, as [`Formats::products`] names the files after `path`. Auxiliary
    /// towers, which may be most of the numbers, stay in the checkpoints unless a training shall go on from
    /// the files.
    fn save(
        &self,
        path: &Path,
        model: &Model,
        what: &str,
        reached: Reached,
    ) -> Result<Vec<RunFile>, EngineError> {
        let desc = model.desc();
        let towers = desc.cells.iter().filter(|cell| cell.aux_tower.is_some());
        let n_towers = towers.count();
        let cells = desc.cells.iter().enumerate();
        let towers = cells.filter(|(_, cell)| cell.aux_tower.is_some());
        let towers = towers.map(|(c, _)| format!("{}.", names::aux_tower(c, n_towers)));
        let towers: Vec<String> = towers.collect();
        let mut state = model.named_state();
        let without = desc.without_towers();
        let goes_on = self.formats.options().training;
        if !goes_on {
            state.retain(|tensor| !towers.iter().any(|tower| tensor.name.starts_with(tower)));
        }
        let info = ModelInfo {
            provenance: Provenance {
                epochs: Some(reached.epochs),
                accuracy: reached.accuracy,
                ..self.info.provenance.clone()
            },
            ..self.info.clone()
        };
        let exported = Exported {
            desc: if goes_on { desc } else { &without },
            catalog: model.catalog(),
            state: &state,
            info: &info,
            options: self.formats.options(),
        };
        let (path_folder, mut written) = (path.parent().unwrap_or(path), Vec::new());
        for product in self.formats.products(path) {
            let path = product.path();
            if let Some(folder) = path.parent()
                && folder != path_folder
            {
                make_folder(self.run.disk, folder)?;
            }
            let mut bytes = 0;
            (self.run).write(path, |out| {
                let mut out = Counted { out, bytes: 0 };
                product.write(&exported, &mut out)?;
                bytes = out.bytes;
                Ok(())
            })?;
            written.push(RunFile {
                bytes: Some(bytes),
                usage: product.usage(),
                ..RunFile::new(product.describe(what), path)
            });
        }
        Ok(written)
    }

    /// Writes what the network takes and gives beside the model at `path`.
    fn save_info(&self, path: &Path) -> Result<RunFile, EngineError> {
        let path = export::info_path(path);
        let text = self.info.to_yaml();
        let text = text.map_err(|e| FileError::new("write", &path, e))?;
        (self.run).write(&path, |out| out.write_all(text.as_bytes()))?;
        Ok(RunFile::new("classes, image size and normalisation", path))
    }
}

/// Counts what is written.
struct Counted<'a, W: Write> {
    out: &'a mut W,
    bytes: u64,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Where the best model on validation data is written: `model.pt` → `model_best.pt`.
pub fn best_path(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map_or_else(|| "pt".into(), |e| e.to_string_lossy());
    path.with_file_name(format!("{stem}_best.{extension}"))
}

/// Whether two paths lead to one file.
fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
