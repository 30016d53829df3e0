//! How an algorithm searches. Most train one supernet that holds all candidates and read the result off it:
//! [`OneShotSearcher`]. Others bring a [`Searcher`] of their own.

use std::io::Write;
use std::path::{Path, PathBuf};

use archai_spec::desc::{CellType, ModelDesc};
use archai_spec::event::{LogPath, Progress};
use archai_spec::{settings, values};
use serde::{Deserialize, Serialize};

use crate::{
    error::EngineError,
    experiment::{Experiment, ExperimentRunner, RunFile},
    finalize::{DefaultFinalizers, FinalizeData, Finalizers},
    guard::{Guard, skip_warning},
    metrics::Metrics,
    model::Model,
    trainer::{ArchTrainer, Fit, FitState, TrainerHooks},
};

/// Folder beside the found description into which a search that finds several networks puts them all, as
/// `model_desc_<number>.yaml`. The evaluation gets it along with the description.
pub const GALLERY: &str = "model_desc_gallery";

/// Finds a network.
pub trait Searcher {
    /// Searches as the settings say and leaves the found description at `nas.search.final_desc_filename`.
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<SearchResult, EngineError>;
}

/// The outcome of a search, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// The found cells as a genotype string, where the network can be said as one.
    pub genotype: Option<String>,
    /// Top-1 accuracy of the supernet on training data in the last epoch; of the found network where there was no supernet.
    pub train_top1: Option<f64>,
    /// The same on validation data.
    pub val_top1: Option<f64>,
    /// Top-1 accuracy of the found network on test data after the optional `post_train`.
    pub post_train_test_top1: Option<f64>,
    /// Weights of the supernet; 0 where none was trained.
    pub supernet_parameters: u64,
    /// Architecture parameters.
    pub alphas: u64,
    /// Weights of the found network at the search's size.
    pub parameters: u64,
    /// Multiply-adds of the found network at the search's size.
    pub macs: u64,
    /// Seconds by the run's clock.
    pub seconds: f64,
    /// The found description.
    pub final_desc: PathBuf,
    /// What the summary should say beside the figures.
    pub notes: Vec<String>,
    /// What the user must know before trusting the result.
    pub warnings: Vec<String>,
    /// All files that were written.
    pub files: Vec<RunFile>,
}

/// Trains one supernet, then finalises it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneShotSearcher;

impl Searcher for OneShotSearcher {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<SearchResult, EngineError> {
        let (settings, run) = (&experiment.settings.nas.search, experiment.run);
        let start = run.clock.now();
        let builder = experiment.builder(runner)?;
        let mut finalizers = runner.finalizers(settings, &run)?;
        let parent = LogPath::new("arch_search");

        let desc = experiment.build(builder.as_ref(), &settings.model_desc, None, false)?;
        let mut model = experiment.compile(&desc, runner)?;
        let (supernet_parameters, alphas) = (model.weights().n_numbers(), model.arch().n_numbers());
        let loaders = experiment.loaders(&settings.loader, "search")?;
        let mut hooks = runner.trainer_hooks(settings)?;
        // Before what is shown: the guard may take the architecture back.
        hooks.push(Box::new(Guard::new(settings.guard.clone())));
        // Finalizers that decide by data have nothing to say during the training.
        hooks.push(Box::new(ShowArch {
            finalizers: match finalizers.needs_data() {
                true => Box::new(DefaultFinalizers),
                false => runner.finalizers(settings, &run)?,
            },
        }));
        let fitted = ArchTrainer::new(&settings.trainer, run, &parent, &mut hooks)
            .fit(&mut model, &loaders)?;
        if finalizers.needs_data() {
            let data = FinalizeData {
                loaders: &loaders,
                settings,
                run,
                log: run.log(parent.join("finalize")),
            };
            finalizers.prepare(&mut model.clone(), &data)?;
        }
        drop(loaders);

        let found = finalizers.finalize_model(&model)?;
        found.check(experiment.components.ops.catalog())?;
        let final_desc = PathBuf::from(&settings.final_desc_filename);
        save_desc(experiment, &final_desc, &found)?;
        let mut files = vec![RunFile::new("found description", &final_desc)];
        files.extend(draw_cells(experiment, &found)?);

        let last = fitted.metrics.last();
        let train_top1 = last.map(|e| e.top1.avg);
        let val_top1 = last.and_then(|e| e.val_metrics.as_ref()?.top1());
        let root = run.log(LogPath::root());
        let genotype = found.genotype().ok().map(|g| g.to_string());
        root.info(format!("found {}", describe(&found)))?;
        let early = fitted.finished_early.as_ref();
        let notes = early.map(|why| {
            let epochs = fitted.metrics.run_metrics.epoch;
            format!("the supernet's training ended early, after {epochs} epochs: {why}")
        });
        let mut warnings: Vec<String> = skip_warning(&found).into_iter().collect();
        warnings.extend(fitted.metrics.skip_warning());
        warnings.iter().try_for_each(|warning| root.warn(warning))?;
        let post = match settings.post_train.trainer.epochs {
            0 => None,
            _ => {
                let path = LogPath::root();
                let (_, fitted) = train_found(
                    experiment,
                    runner,
                    &settings.post_train,
                    &settings.model_desc,
                    &found,
                    "post_train",
                    &path,
                )?;
                Some(fitted.metrics)
            }
        };
        warnings.extend(post.as_ref().and_then(Metrics::skip_warning));
        let post_val = post
            .as_ref()
            .and_then(|m| m.last()?.val_metrics.as_ref()?.top1());
        root.emit(
            values!(LogPath::root(), "search_top1_val" => val_top1, "train_top1_val" => post_val),
        )?;
        let cost = found
            .cost(experiment.components.ops.catalog())?
            .total(false);
        Ok(SearchResult {
            genotype,
            train_top1,
            val_top1,
            post_train_test_top1: post.and_then(|m| m.best().test),
            supernet_parameters: supernet_parameters as u64,
            alphas: alphas as u64,
            parameters: cost.params,
            macs: cost.macs,
            seconds: run.clock.now() - start,
            final_desc,
            notes: notes.into_iter().collect(),
            warnings,
            files,
        })
    }
}

/// Trains a found network from scratch, scaled to `shape`: gives the trained model and how the training went. `phase` keys
/// the order of its batches, and its log stands below `parent` under the title of the settings.
///
/// # Errors
/// As a description's building and compiling and as [`ArchTrainer::fit`].
pub fn train_found(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    settings: &settings::Training,
    shape: &settings::ModelDescSettings,
    found: &ModelDesc,
    phase: &str,
    parent: &LogPath,
) -> Result<(Model, FitState), EngineError> {
    let builder = experiment.builder(runner)?;
    let desc = experiment.build(builder.as_ref(), shape, Some(found), true)?;
    let mut model = experiment.compile(&desc, runner)?;
    let loaders = experiment.loaders(&settings.loader, phase)?;
    let fitted = ArchTrainer::new(&settings.trainer, experiment.run, parent, &mut [])
        .fit(&mut model, &loaders)?;
    Ok((model, fitted))
}

/// Logs the architecture parameters after each epoch and shows the best architecture of the moment.
struct ShowArch {
    finalizers: Box<dyn Finalizers>,
}

impl ShowArch {
    fn show(&self, model: &Model, fit: &Fit<'_>) -> Result<(), EngineError> {
        let found = self.finalizers.finalize_model(model)?;
        fit.log.progress(Progress::Genotype(describe(&found)))
    }
}

impl TrainerHooks for ShowArch {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        self.show(fit.model, fit)
    }

    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let alphas = fit.model.arch().to_host();
        if alphas.is_empty() {
            return Ok(());
        }
        let values = alphas
            .into_iter()
            .map(|(key, alpha)| (key.to_string(), archai_spec::event::json(alpha)));
        fit.log.at("alphas").values(values.collect())?;
        self.show(fit.model, fit)
    }
}

/// A found network in one line: its genotype, or the edges of its cells where it is none (nodes with other than two edges, say).
pub fn describe(desc: &ModelDesc) -> String {
    if let Ok(genotype) = desc.genotype() {
        return genotype.to_string();
    }
    let kinds = [CellType::Regular, CellType::Reduction];
    let cells = kinds.iter().filter_map(|&kind| {
        let nodes = desc.first_cell(kind)?.nodes.iter().map(|node| {
            let edges = node
                .edges
                .iter()
                .map(|e| format!("{}{:?}", e.op.name, e.inputs));
            edges.collect::<Vec<_>>().join(" + ")
        });
        Some(format!("{kind}: {}", nodes.collect::<Vec<_>>().join(" | ")))
    });
    cells.collect::<Vec<_>>().join("; ")
}

/// Writes a description as YAML, atomically.
///
/// # Errors
/// The file cannot be written.
pub fn save_desc(
    experiment: &Experiment<'_>,
    path: &Path,
    desc: &ModelDesc,
) -> Result<(), EngineError> {
    let text = desc.to_yaml()?;
    experiment
        .run
        .write(path, |out| out.write_all(text.as_bytes()))
}

/// Draws one cell of each kind as `final_model_desc.svg` into the run directory.
///
/// # Errors
/// The file cannot be written.
pub fn draw_cells(
    experiment: &Experiment<'_>,
    desc: &ModelDesc,
) -> Result<Vec<RunFile>, EngineError> {
    let path = experiment.dir.join("final_model_desc.svg");
    let svg = archai_spec::desc::draw_svg(desc);
    experiment
        .run
        .write(&path, |out| out.write_all(svg.as_bytes()))?;
    Ok(vec![RunFile::new("drawing of the cells", path)])
}
