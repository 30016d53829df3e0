//! What an algorithm is made of ([`ExperimentRunner`], [`Searcher`], [`Evaluater`]), what a run is given ([`Experiment`]), and
//! what searches and evaluations give. [`crate::phases`] puts them together.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_data::{Loaders, rng::Key};
use archai_spec::desc::{Built, Cost, ModelDesc, ModelDescBuilder, build, evaluated};
use archai_spec::settings::{self, OWN_SPACE, Settings};
use archai_spec::spaces::{OwnSpace, Space};
use serde::{Deserialize, Serialize};

use crate::{
    ahead::{self, Ahead, PlannedTrainings},
    arch::{AlphaInit, Relaxation, Softmax},
    components::Components,
    compute::Compute,
    error::EngineError,
    finalize::{FinalizerContext, FinalizerRegistry, Finalizers, NamedFinalizer, NodeRule},
    finalizers::DARTS_PT,
    metrics::Top1,
    model::{Model, ModelOptions},
    op::OpRegistry,
    run::Run,
    trainer::TrainerHooks,
};

/// What makes an algorithm: the parts that it brings. All but the description builder have defaults.
///
/// An algorithm that varies another one names it as its [`ExperimentRunner::base`], and overrides what differs.
pub trait ExperimentRunner {
    /// Builds the description of the search space.
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder>;

    /// The algorithm that this one varies: whatever is not overridden comes from it. By default there is none, and what is
    /// not overridden is as each method says.
    fn base(&self) -> Option<&dyn ExperimentRunner> {
        None
    }

    /// Which choices a node keeps together in the space that the builder spans, the algorithm's own. By default any: the rule
    /// of DARTS. A space that differs in more is a [`Space`] of its own, in [`Components::spaces`].
    fn rule(&self) -> NodeRule {
        self.base()
            .map_or_else(NodeRule::default, ExperimentRunner::rule)
    }

    /// Whether it can search in a space that is not its own. By default it can: all that differs is the builder.
    fn searches_in(&self, space: &dyn Space) -> bool {
        self.base().is_none_or(|base| base.searches_in(space))
    }

    /// What happens around the steps of the search's training. By default nothing.
    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        match self.base() {
            Some(base) => base.trainer_hooks(search),
            None => Ok(Vec::new()),
        }
    }

    /// Checks the settings of a search before anything runs, so that what cannot work is an error at once and not after
    /// hours. By default it makes the hooks of [`ExperimentRunner::trainer_hooks`] and drops them.
    fn check(&self, search: &settings::Search) -> Result<(), EngineError> {
        self.trainer_hooks(search).map(drop)
    }

    /// The same for the evaluation that follows its search: what its own [`Evaluater`] needs to evaluate what the search found.
    /// By default nothing.
    fn check_eval(&self, eval: &settings::Eval) -> Result<(), EngineError> {
        self.base().map_or(Ok(()), |base| base.check_eval(eval))
    }

    /// Networks such as its search may find, finalised and at the search's size: before it runs they say whether they can be
    /// evaluated, and what that takes. One is enough where there is no choice; none means that nothing is known. By default
    /// [`ahead::samples`] of the space.
    fn preview(&self, ahead: &Ahead<'_>) -> Result<Vec<ModelDesc>, EngineError> {
        match self.base() {
            Some(base) => base.preview(ahead),
            None => Ok(ahead::samples(ahead)),
        }
    }

    /// What its search trains, so far as it is known before. By default the supernet, once; of a searcher of its own nothing
    /// is known.
    fn trainings(&self, ahead: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
        match (self.base(), self.searcher()) {
            (Some(base), _) => base.trainings(ahead),
            (None, None) => ahead::of_supernet(ahead),
            (None, Some(_)) => Ok(PlannedTrainings {
                known: Vec::new(),
                beyond: Some(
                    "what this algorithm's own searcher trains is not known before".into(),
                ),
            }),
        }
    }

    /// Keys below `nas.search`, whole sections too, that its search does not read under these settings: whoever sets them
    /// is told that it has no effect. By default the section of the finalizer `darts_pt`, unless that one is chosen.
    fn unread(&self, search: &settings::Search) -> Vec<&'static str> {
        match self.base() {
            Some(base) => base.unread(search),
            None if search.finalizer == DARTS_PT => Vec::new(),
            None => vec![DARTS_PT],
        }
    }

    /// Finalizers of its own, for `nas.search.finalizer` to name beside those of [`Components::finalizers`]; one of the same
    /// name takes the place of the shared one. By default none.
    fn finalizers(&self) -> Vec<NamedFinalizer> {
        self.base()
            .map_or_else(Vec::new, ExperimentRunner::finalizers)
    }

    /// How it searches. By default (`None`) by training one supernet.
    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        self.base()?.searcher()
    }

    /// How what was found is evaluated. By default (`None`) by training it, scaled up, from scratch.
    fn evaluater(&self) -> Option<Box<dyn Evaluater>> {
        self.base()?.evaluater()
    }

    /// From architecture parameters to the weights of primitives. By default the softmax.
    fn relaxation(&self) -> Arc<dyn Relaxation> {
        match self.base() {
            Some(base) => base.relaxation(),
            None => Arc::new(Softmax),
        }
    }

    /// How architecture parameters start. By default as in DARTS.
    fn alpha_init(&self) -> AlphaInit {
        self.base()
            .map_or_else(AlphaInit::default, ExperimentRunner::alpha_init)
    }

    /// Adds ops of its own to the registry; see [`OpRegistry::register`]. By default none.
    fn register_ops(&self, registry: &mut OpRegistry) -> Result<(), EngineError> {
        match self.base() {
            Some(base) => base.register_ops(registry),
            None => Ok(()),
        }
    }
}

/// Finds a network.
pub trait Searcher {
    /// Searches as the settings say. What was found is saved by [`crate::phases::run_search`].
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError>;
}

/// Evaluates what was found.
pub trait Evaluater {
    /// Evaluates the description at `nas.eval.final_desc_filename` as the settings say.
    fn evaluate(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<EvalResult, EngineError>;

    /// The shape to which it scales what was found. By default the one of the settings.
    fn shape(&self, eval: &settings::Eval, found: &ModelDesc) -> settings::ModelDescSettings {
        let _ = found;
        eval.model_desc.clone()
    }
}

/// What a search or an evaluation is given.
#[derive(Clone)]
pub struct Experiment<'a> {
    /// All settings, with the variables in paths expanded.
    pub settings: &'a Settings,
    /// What the settings' names mean. The algorithm's own ops and finalizers come on top.
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

    /// The space that the settings name.
    ///
    /// # Errors
    /// As [`space_of`].
    pub fn space(&self, runner: &dyn ExperimentRunner) -> Result<Arc<dyn Space>, EngineError> {
        space_of(&self.components, runner, &self.settings.nas.search)
    }

    /// The finalizers that the settings name.
    ///
    /// # Errors
    /// As [`finalizers_of`].
    pub fn finalizers(
        &self,
        runner: &dyn ExperimentRunner,
    ) -> Result<Box<dyn Finalizers>, EngineError> {
        let search = &self.settings.nas.search;
        finalizers_of(&self.components, runner, search, self.run.seed)
    }

    /// A description from settings, and from a template if there is one; what the builder notes is logged.
    pub fn build(
        &self,
        builder: &dyn ModelDescBuilder,
        settings: &settings::ModelDescSettings,
        template: Option<&ModelDesc>,
        affine: bool,
    ) -> Result<ModelDesc, EngineError> {
        let catalog = self.components.ops.catalog();
        self.note(build(builder, settings, template, affine, catalog)?)
    }

    /// The network that an evaluation trains, as [`evaluated`] makes it; what the builder notes is logged.
    pub fn evaluated(
        &self,
        builder: &dyn ModelDescBuilder,
        eval: &settings::Eval,
        template: &ModelDesc,
    ) -> Result<ModelDesc, EngineError> {
        let catalog = self.components.ops.catalog();
        self.note(evaluated(builder, eval, template, catalog)?)
    }

    fn note(&self, built: Built) -> Result<ModelDesc, EngineError> {
        let Built { desc, notes } = built;
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

    /// What a network costs: its weights, and multiply-adds for one image.
    ///
    /// # Errors
    /// An op that is not known.
    pub fn cost(&self, desc: &ModelDesc, with_aux: bool) -> Result<Cost, EngineError> {
        Ok(desc.cost(self.components.ops.catalog())?.total(with_aux))
    }

    /// The same experiment with the algorithm's own ops.
    pub(crate) fn with_ops(
        &self,
        runner: &dyn ExperimentRunner,
    ) -> Result<Experiment<'a>, EngineError> {
        let mut own = self.clone();
        runner.register_ops(&mut own.components.ops)?;
        Ok(own)
    }
}

/// The space that `nas.search.space` names, for an algorithm.
///
/// # Errors
/// There is no such space, or the algorithm cannot search there.
pub fn space_of(
    components: &Components,
    runner: &dyn ExperimentRunner,
    search: &settings::Search,
) -> Result<Arc<dyn Space>, EngineError> {
    if search.space == OWN_SPACE {
        let own = OwnSpace::new(runner.model_desc_builder());
        return Ok(Arc::new(own.with_rule(runner.rule())));
    }
    let space = components.spaces.get(&search.space).map_err(|e| {
        let problem = format!("{e}, and `{OWN_SPACE}`, the algorithm's own");
        EngineError::setting("nas.search.space", problem)
    })?;
    match runner.searches_in(space.as_ref()) {
        true => Ok(space.clone()),
        false => Err(EngineError::setting(
            "nas.search.space",
            format!(
                "the algorithm has a space of its own and cannot search in `{}`; leave out the space, or take an algorithm that \
                 trains a supernet, or random search",
                space.name()
            ),
        )),
    }
}

/// What `nas.search.finalizer` may name for an algorithm: the shared finalizers, and the algorithm's own, which take the places
/// of shared ones of the same name.
pub fn known_finalizers(
    components: &Components,
    runner: &dyn ExperimentRunner,
) -> FinalizerRegistry {
    let own = runner.finalizers().into_iter().map(Arc::new);
    own.fold(components.finalizers.clone(), |known, own| known.with(own))
}

/// The finalizers that `nas.search.finalizer` names, for an algorithm and a run's seed. Nothing of the run is needed, so that
/// a wrong name is found before the run starts.
///
/// # Errors
/// As [`space_of`]; there is no such finalizer, or it cannot work with the settings.
pub fn finalizers_of(
    components: &Components,
    runner: &dyn ExperimentRunner,
    search: &settings::Search,
    seed: u64,
) -> Result<Box<dyn Finalizers>, EngineError> {
    let context = FinalizerContext {
        search,
        rule: space_of(components, runner, search)?.rule(),
        key: Key::new(seed),
    };
    known_finalizers(components, runner)
        .get(&search.finalizer)
        .map_err(|e| EngineError::setting("nas.search.finalizer", e.to_string()))?
        .make(&context)
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The found network.
    pub desc: ModelDesc,
    /// What it is, in the list of the run's files.
    pub what: String,
    /// What comes before the network in the log: `found`.
    pub introduced: String,
    /// Top-1 accuracy on training data, of the supernet in the last epoch or, without a supernet, of the found network.
    pub train_top1: Option<f64>,
    /// The same on validation data.
    pub val_top1: Option<f64>,
    /// The supernet that was trained. A network that was read off one has not been trained itself: that is what
    /// `nas.search.post_train` is for.
    pub supernet: Option<SupernetSize>,
    /// Other networks that were tried, and the found one.
    pub trials: Vec<Trial>,
    /// What the trials in the gallery are, if there is a gallery.
    pub gallery: Option<String>,
    /// What the summary should say beside the figures.
    pub notes: Vec<String>,
    /// What the user must know before trusting the result.
    pub warnings: Vec<String>,
    /// Files of its own that the searcher wrote.
    pub files: Vec<RunFile>,
}

impl Found {
    /// A network, and nothing else to say.
    pub fn new(desc: ModelDesc) -> Self {
        Found {
            desc,
            what: "found description".to_string(),
            introduced: "found".to_string(),
            train_top1: None,
            val_top1: None,
            supernet: None,
            trials: Vec::new(),
            gallery: None,
            notes: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
        }
    }
}

/// How large a supernet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupernetSize {
    /// Weights.
    pub parameters: u64,
    /// Architecture parameters.
    pub alphas: u64,
}

/// A network that a search trained, with what it measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Its number in the search.
    pub id: usize,
    /// The network.
    pub desc: ModelDesc,
    /// Top-1 accuracy on training data.
    pub train_top1: f64,
    /// Top-1 accuracy on validation data.
    pub val_top1: f64,
    /// Weights.
    pub parameters: u64,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// Whether it goes into the gallery, whose networks the evaluation may train as well.
    pub in_gallery: bool,
    /// Files that accompany it in the gallery, each by its kind and its text: of the kind `hull`, trial 3 has
    /// `hull_3.yaml`.
    pub files: Vec<(String, String)>,
}

impl Trial {
    /// A network with what its training measured, counted. It is not in the gallery.
    ///
    /// # Errors
    /// As [`Experiment::cost`].
    pub fn new(
        experiment: &Experiment<'_>,
        id: usize,
        desc: ModelDesc,
        measured: Top1,
    ) -> Result<Self, EngineError> {
        let cost = experiment.cost(&desc, false)?;
        Ok(Trial {
            id,
            desc,
            train_top1: measured.train,
            val_top1: measured.val,
            parameters: cost.params,
            macs: cost.macs,
            in_gallery: false,
            files: Vec::new(),
        })
    }
}

/// The outcome of a search, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchResult {
    /// The found cells as a genotype string, where the network can be said as one.
    pub genotype: Option<String>,
    /// Top-1 accuracy of the supernet on training data in the last epoch; of the found network where there was no supernet.
    pub train_top1: Option<f64>,
    /// The same on validation data.
    pub val_top1: Option<f64>,
    /// Top-1 accuracy of the found network on test data after the optional `post_train`.
    pub post_train_test_top1: Option<f64>,
    /// Weights of the supernet; 0 if none was trained.
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

/// The outcome of an evaluation, as plain data. Accuracies are fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvalResult {
    /// Top-1 accuracy on training data in the last epoch.
    pub train_top1: Option<f64>,
    /// Top-1 accuracy on validation data in the last epoch, where a share was set apart.
    pub val_top1: Option<f64>,
    /// Epoch (from 0) and accuracy of the best model on validation data: `model_best.*`.
    pub best_val: Option<(usize, f64)>,
    /// Top-1 accuracy on test data, measured once after the last epoch.
    pub test_top1: Option<f64>,
    /// Top-1 accuracy on test data of the best model on validation data. Nothing is chosen by it.
    #[serde(default)]
    pub best_test_top1: Option<f64>,
    /// Top-5 accuracy on test data.
    pub test_top5: Option<f64>,
    /// Weights without the auxiliary tower.
    pub parameters: u64,
    /// Weights with the auxiliary tower: what training moves.
    pub parameters_with_aux: u64,
    /// Multiply-adds for one image, without the auxiliary tower.
    pub macs: u64,
    /// Epochs trained.
    pub epochs: usize,
    /// Seconds by the run's clock.
    pub seconds: f64,
    /// What the user must know before trusting the result.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What the summary should say beside the figures: which parts started anew, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// All files that were written.
    pub files: Vec<RunFile>,
}

/// A file that a run left, and what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// What it is, in a few words.
    pub what: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size in bytes, of a trained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// A line of code that loads it, of a trained model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
}

impl RunFile {
    /// A file and what it is.
    pub fn new(what: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        RunFile {
            what: what.into(),
            path: path.into(),
            bytes: None,
            usage: None,
        }
    }
}
