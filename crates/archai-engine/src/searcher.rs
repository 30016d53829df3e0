//! How an algorithm searches. Most train one supernet that holds all candidates and read the result off it:
//! [`OneShotSearcher`]. Others bring a [`Searcher`] of their own.

use std::io::Write;
use std::path::Path;

use archai_spec::desc::ModelDesc;
use archai_spec::event::{LogPath, Progress};
use archai_spec::settings;

pub use crate::experiment::{Found, SearchResult, Searcher, Trial};

use crate::{
    error::EngineError,
    experiment::{Experiment, ExperimentRunner, RunFile, SupernetSize},
    files::FOUND_DRAWING,
    finalize::{DefaultFinalizers, FinalizeData, Finalizers},
    guard::{Guard, skip_warning},
    model::Model,
    trainer::{ArchTrainer, Fit, FitState, TrainerHooks},
};

/// Trains one supernet, then finalises it.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneShotSearcher;

impl Searcher for OneShotSearcher {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        let (settings, run) = (&experiment.settings.nas.search, experiment.run);
        let space = experiment.space(runner)?;
        let mut finalizers = experiment.finalizers(runner)?;
        let parent = LogPath::new("arch_search");

        let desc = experiment.build(space.builder(), &settings.model_desc, None, false)?;
        let mut model = experiment.compile(&desc, runner)?;
        let supernet = SupernetSize {
            parameters: model.weights().n_numbers() as u64,
            alphas: model.arch().n_numbers() as u64,
        };
        let loaders = experiment.loaders(&settings.loader, "search")?;
        let mut hooks = runner.trainer_hooks(settings)?;
        // Before what is shown: the guard may take the architecture back.
        hooks.push(Box::new(Guard::new(settings.guard.clone())));
        // Finalizers that decide by data have nothing to say during the training.
        hooks.push(Box::new(ShowArch {
            finalizers: match finalizers.needs_data() {
                true => Box::new(DefaultFinalizers),
                false => experiment.finalizers(runner)?,
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

        let found = finalizers.finalize_model(&model)?;
        let last = fitted.metrics.last();
        let early = fitted.finished_early.as_ref();
        let notes = early.map(|why| {
            let epochs = fitted.metrics.run_metrics.epoch;
            format!("the supernet's training ended early, after {epochs} epochs: {why}")
        });
        let mut warnings: Vec<String> = skip_warning(&found).into_iter().collect();
        warnings.extend(fitted.metrics.skip_warning());
        Ok(Found {
            train_top1: last.and_then(|e| e.top1.avg),
            val_top1: last.and_then(|e| e.val_metrics.as_ref()?.top1()),
            supernet: Some(supernet),
            notes: notes.into_iter().collect(),
            warnings,
            ..Found::new(found)
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
    let space = experiment.space(runner)?;
    let desc = experiment.build(space.builder(), shape, Some(found), true)?;
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
    let groups = desc.distinct_cells();
    let cells = groups.iter().map(|group| {
        let kind = group.cell_type;
        let nodes = desc.cells[group.first()].nodes.iter().map(|node| {
            let edges = node
                .edges
                .iter()
                .map(|e| format!("{}{:?}", e.op.name, e.inputs));
            edges.collect::<Vec<_>>().join(" + ")
        });
        let nodes = nodes.collect::<Vec<_>>().join(" | ");
        match groups.iter().filter(|g| g.cell_type == kind).count() {
            1 => format!("{kind}: {nodes}"),
            _ => format!("{group}: {nodes}"),
        }
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
    let path = experiment.dir.join(FOUND_DRAWING);
    let svg = archai_spec::desc::draw_svg(desc);
    experiment
        .run
        .write(&path, |out| out.write_all(svg.as_bytes()))?;
    Ok(vec![RunFile::new("drawing of the cells", path)])
}
