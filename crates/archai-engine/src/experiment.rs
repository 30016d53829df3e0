//! One search or one evaluation from settings to files: what an algorithm is made of ([`ExperimentRunner`]), what a run is
//! given ([`Experiment`]), and the two functions that put them together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_data::Loaders;
use archai_spec::desc::{
    Built, ModelDesc, ModelDescBuilder, build, nasbench201::NasBench201Builder,
};
use archai_spec::settings::{self, Settings, Space};

use crate::{
    arch::{AlphaInit, Relaxation, Softmax},
    components::Components,
    compute::Compute,
    error::EngineError,
    evaluater::{DefaultEvaluater, EvalResult, Evaluater},
    finalize::{Finalizers, shared_finalizers},
    model::{Model, ModelOptions},
    op::OpRegistry,
    run::Run,
    searcher::{OneShotSearcher, SearchResult, Searcher},
    trainer::TrainerHooks,
};

/// What makes an algorithm: the parts that it brings. All but the description builder have defaults.
pub trait ExperimentRunner {
    /// Builds the description of the search space.
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder>;

    /// Whether it can search in a space that is not its own. By default it can: all that differs is the builder.
    fn searches_in(&self, space: Space) -> bool {
        let _ = space;
        true
    }

    /// What happens around the steps of the search's training. By default nothing.
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let _ = search;
        Ok(Vec::new())
    }

    /// How the trained supernet becomes a description. By default what `nas.search.finalizer` names of
    /// [`shared_finalizers`].
    fn finalizers(
        &self,
        search: &settings::Search,
        run: &Run<'_>,
    ) -> Result<Box<dyn Finalizers>, EngineError> {
        shared_finalizers(search, run, &[])
    }

    /// How it searches. By default by training one supernet.
    fn searcher(&self) -> Box<dyn Searcher> {
        Box::new(OneShotSearcher)
    }

    /// How what was found is evaluated. By default by training it, scaled up, from scratch.
    fn evaluater(&self) -> Box<dyn Evaluater> {
        Box::new(DefaultEvaluater)
    }

    /// From architecture parameters to the weights of primitives. By default the softmax.
    fn relaxation(&self) -> Arc<dyn Relaxation> {
        Arc::new(Softmax)
    }

    /// How architecture parameters start. By default as in DARTS.
    fn alpha_init(&self) -> AlphaInit {
        AlphaInit::default()
    }

    /// Adds ops of its own to the registry; see [`OpRegistry::register`]. By default none.
    fn register_ops(&self, registry: &mut OpRegistry) -> Result<(), EngineError> {
        let _ = registry;
        Ok(())
    }
}

/// What a search or an evaluation is given.
#[derive(Clone)]
pub struct Experiment<'a> {
    /// All settings, with the variables in paths expanded.
    pub settings: &'a Settings,
    /// The open lists: ops, data formats and so on. The algorithm's own ops come on top.
    pub components: Components,
    /// Where numbers live and how precise they are.
    pub compute: Compute,
    /// Events, clock, stop flag and seed.
    pub run: Run<'a>,
    /// The run directory, which exists: drawings and copies go there, all else where the settings say.
    pub dir: &'a Path,
}

impl<'a> Experiment<'a> {
    /// The batches of a loader section for one phase of the run, whose name keys their order.
    pub fn loaders(
        &self,
        settings: &settings::Loader,
        phase: &str,
    ) -> Result<Loaders, EngineError> {
        let Components {
            formats,
            transforms,
            ..
        } = &self.components;
        Ok(Loaders::new(
            settings,
            formats,
            transforms,
            self.run.seed,
            phase,
        )?)
    }

    /// The description builder of the space that the settings name.
    ///
    /// # Errors
    /// As [`builder_in`].
    pub fn builder(
        &self,
        runner: &dyn ExperimentRunner,
    ) -> Result<Box<dyn ModelDescBuilder>, EngineError> {
        builder_in(runner, self.settings.nas.search.space)
    }

    /// A description from settings, and from a template where there is one; what the builder notes is logged.
    pub fn build(
        &self,
        builder: &dyn ModelDescBuilder,
        settings: &settings::ModelDescSettings,
        template: Option<&ModelDesc>,
        affine: bool,
    ) -> Result<ModelDesc, EngineError> {
        let Built { desc, notes } = build(
            builder,
            settings,
            template,
            affine,
            self.components.ops.catalog(),
        )?;
        let log = self.run.log(archai_spec::event::LogPath::root());
        notes.into_iter().try_for_each(|note| log.info(note))?;
        Ok(desc)
    }

    /// Compiles a description with the relaxation and the starting values of an algorithm.
    pub fn compile(
        &self,
        desc: &ModelDesc,
        runner: &dyn ExperimentRunner,
    ) -> Result<Model, EngineError> {
        let options = ModelOptions {
            compute: self.compute.clone(),
            seed: self.run.seed,
            relaxation: runner.relaxation(),
            alpha_init: runner.alpha_init(),
        };
        Model::compile(desc, &self.components.ops, &options)
    }

    /// The same experiment with the algorithm's own ops.
    fn with_ops(&self, runner: &dyn ExperimentRunner) -> Result<Experiment<'a>, EngineError> {
        let mut own = self.clone();
        runner.register_ops(&mut own.components.ops)?;
        Ok(own)
    }
}

/// The description builder of an algorithm in a space.
///
/// # Errors
/// The algorithm cannot search there.
pub fn builder_in(
    runner: &dyn ExperimentRunner,
    space: Space,
) -> Result<Box<dyn ModelDescBuilder>, EngineError> {
    match space {
        Space::Own => Ok(runner.model_desc_builder()),
        other if !runner.searches_in(other) => Err(EngineError::Config(format!(
            "the algorithm has a space of its own and cannot search in `{}`; leave out --space (nas.search.space), or take \
             an algorithm that trains a supernet, or random search",
            other.name()
        ))),
        Space::Nasbench201 => Ok(Box::new(NasBench201Builder)),
    }
}

/// Searches, and leaves `final_model_desc.yaml` (where `nas.search.final_desc_filename` says) and drawings of its cells.
///
/// # Errors
/// Settings that do not fit each other or the data, files that cannot be read or written, a loss that is not finite, a
/// request to stop.
pub fn run_search(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
) -> Result<SearchResult, EngineError> {
    let experiment = experiment.with_ops(runner)?;
    let search = &experiment.settings.nas.search;
    check_data("nas.search", &search.model_desc, &search.loader)?;
    runner.searcher().search(&experiment, runner)
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
    let eval = &experiment.settings.nas.eval;
    check_data("nas.eval", &eval.model_desc, &eval.loader)?;
    runner.evaluater().evaluate(&experiment, runner)
}

/// The network must be built for the data that it is trained on.
fn check_data(
    section: &str,
    model: &settings::ModelDescSettings,
    loader: &settings::Loader,
) -> Result<(), EngineError> {
    let (m, l) = (&model.dataset, &loader.dataset);
    let shape = |d: &settings::Dataset| (d.channels, d.size, d.n_classes);
    if shape(m) == shape(l) {
        return Ok(());
    }
    let say = |d: &settings::Dataset| {
        let [h, w] = d.size;
        format!(
            "`{}` ({} channels of {h}x{w}, {} classes)",
            d.name, d.channels, d.n_classes
        )
    };
    Err(EngineError::Config(format!(
        "{section}.model_desc.dataset is {}, but {section}.loader.dataset is {}; the network must be built for the data \
         that it is trained on: let both copy one section",
        say(m),
        say(l)
    )))
}

/// A file that a run left, and what it is.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RunFile {
    /// What it is, in a few words.
    pub what: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl RunFile {
    /// A file and what it is.
    pub fn new(what: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        RunFile {
            what: what.into(),
            path: path.into(),
        }
    }
}
