//! From a trained supernet to a description: per edge the op that remains, per node the edges that remain. [`Finalizers`]
//! is split by level, so that an algorithm replaces one and keeps the others. What the levels decide by default, and all that
//! needs no tensors, is [`archai_spec::finalize`].

use archai_data::{Loaders, rng::Key};
use archai_spec::desc::{CellDesc, ModelDesc, NodeDesc};
use archai_spec::registry::{Named, Registry};
use archai_spec::settings;

pub use archai_spec::finalize::{Choice, Finalized, NodeRule, Supernet, select_edges};

use crate::{
    error::EngineError,
    model::Model,
    run::{Log, Run},
};

/// What finalizers that look at data are given.
#[derive(Clone)]
pub struct FinalizeData<'a> {
    /// The search's batches.
    pub loaders: &'a Loaders,
    /// The search's settings.
    pub settings: &'a settings::Search,
    /// Clock, stop flag and seed.
    pub run: Run<'a>,
    /// The log below which they report.
    pub log: Log<'a>,
}

/// Turns a trained model into the description of what was found. Each level calls the one below.
pub trait Finalizers {
    /// Whether [`Finalizers::prepare`] must have seen the model and data before anything is finalised.
    fn needs_data(&self) -> bool {
        false
    }

    /// Called once after the search's training: for finalizers that decide by data. The model is a copy of theirs: what they
    /// do to its weights stays with them. By default nothing.
    fn prepare(&mut self, model: &mut Model, data: &FinalizeData<'_>) -> Result<(), EngineError> {
        let _ = (model, data);
        Ok(())
    }

    /// The whole network: the same macro structure with every cell finalised.
    fn finalize_model(&self, model: &Model) -> Result<ModelDesc, EngineError> {
        let mut desc = model.desc().clone();
        for (cell, finalized) in desc.cells.iter_mut().enumerate() {
            *finalized = self.finalize_cell(model, cell)?;
        }
        Ok(desc)
    }

    /// One cell.
    fn finalize_cell(&self, model: &Model, cell: usize) -> Result<CellDesc, EngineError> {
        let mut desc = model.desc().cells[cell].clone();
        for (node, finalized) in desc.nodes.iter_mut().enumerate() {
            *finalized = self.finalize_node(model, cell, node)?;
        }
        Ok(desc)
    }

    /// One node: which of its edges remain. By default those without a rank, and the `max_final_edges` strongest of the
    /// others, in decreasing order of strength; among equals the earlier edge, which reads the lower state.
    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let edge = |edge| self.finalize_edge(model, cell, node, edge);
        model.supernet().node_of_ranks(cell, node, edge)
    }

    /// One edge: which op remains, and how strongly it is wanted. By default what the catalogue says of the op,
    /// see [`archai_spec::desc::OpInfo::finalize`].
    fn finalize_edge(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
        edge: usize,
    ) -> Result<Finalized, EngineError> {
        model.finalize_edge(cell, node, edge)
    }
}

/// DARTS's rule: per edge the op with the largest weight that does not give zeros, per node the strongest edges.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultFinalizers;

impl Finalizers for DefaultFinalizers {
    fn finalize_model(&self, model: &Model) -> Result<ModelDesc, EngineError> {
        model.finalize()
    }
}

/// A baseline: per node, `max_final_edges` different choices drawn without replacement, see
/// [`archai_spec::finalize::Supernet::random_node`].
#[derive(Clone, Copy, Debug)]
pub struct RandomFinalizers {
    key: Key,
    rule: NodeRule,
}

impl RandomFinalizers {
    /// Draws that depend on `key` and the place in the network alone, of any different choices.
    pub fn new(key: Key) -> Self {
        RandomFinalizers {
            key,
            rule: NodeRule::default(),
        }
    }

    /// The same under another rule.
    #[must_use]
    pub fn with_rule(mut self, rule: NodeRule) -> Self {
        self.rule = rule;
        self
    }
}

impl Finalizers for RandomFinalizers {
    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let supernet = model.supernet();
        Ok(supernet.random_node(cell, node, self.rule, &self.key)?)
    }
}

/// What a finalizer is made from.
#[derive(Clone, Copy, Debug)]
pub struct FinalizerContext<'a> {
    /// The search's settings.
    pub search: &'a settings::Search,
    /// Which choices a node may keep together in the space that is searched.
    pub rule: NodeRule,
    /// The key of the run's seed.
    pub key: Key,
}

type Make = dyn Fn(&FinalizerContext<'_>) -> Result<Box<dyn Finalizers>, EngineError> + Send + Sync;

/// A way to finalise by the name that `nas.search.finalizer` takes.
///
/// ```
/// use archai_engine::finalize::{DefaultFinalizers, NamedFinalizer};
/// use std::sync::Arc;
/// let mine = NamedFinalizer::new("mine", "as DARTS does", |_| Ok(Box::new(DefaultFinalizers)));
/// let finalizers = archai_engine::finalizers::builtin().with(Arc::new(mine));
/// assert!(finalizers.get("mine").is_ok());
/// ```
pub struct NamedFinalizer {
    name: String,
    about: String,
    make: Box<Make>,
}

/// Finalizers by name.
pub type FinalizerRegistry = Registry<NamedFinalizer>;

impl NamedFinalizer {
    /// Its name, one line about it, and how it is made. `make` may be called before a run starts, to see settings fail early.
    pub fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        make: impl Fn(&FinalizerContext<'_>) -> Result<Box<dyn Finalizers>, EngineError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        NamedFinalizer {
            name: name.into(),
            about: about.into(),
            make: Box::new(make),
        }
    }

    /// Finalizers for one search.
    ///
    /// # Errors
    /// Settings that it cannot work with.
    pub fn make(&self, context: &FinalizerContext<'_>) -> Result<Box<dyn Finalizers>, EngineError> {
        (self.make)(context)
    }
}

impl Named for NamedFinalizer {
    fn name(&self) -> &str {
        &self.name
    }
    fn about(&self) -> &str {
        &self.about
    }
}
