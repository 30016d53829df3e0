//! The registry of ops: what names mean, and how ops are made.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::Arc;

use archai_spec::desc::{OpCatalog, OpDesc, OpInfo};
use archai_spec::ops::LayerList;

use super::{Op, OpBuilder};
use crate::error::EngineError;

/// Makes an op from its description, declaring its parameters.
pub type OpFactory =
    Arc<dyn Fn(&OpDesc, &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> + Send + Sync>;

/// Names and makers of ops: a value; a second op of one name is an error.
#[derive(Clone)]
pub struct OpRegistry {
    catalog: OpCatalog,
    factories: HashMap<String, OpFactory>,
    /// Names whose ops compute in a way of their own, whatever layers the catalogue lists for them: no kernel may stand
    /// in for them.
    own: HashSet<String>,
}

impl Debug for OpRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpRegistry")
            .field("names", &self.names())
            .finish()
    }
}

impl OpRegistry {
    /// A catalogue with a maker for each of its names. A name without a maker fails when a model is compiled.
    pub(crate) fn new(catalog: OpCatalog, factories: HashMap<String, OpFactory>) -> Self {
        OpRegistry {
            catalog,
            factories,
            own: HashSet::new(),
        }
    }

    /// Adds an op: what it means for shapes and costs, and how it is made.
    ///
    /// # Errors
    /// [`EngineError::DuplicateOp`] if the name is taken.
    pub fn register(
        &mut self,
        info: impl OpInfo + 'static,
        make: OpFactory,
    ) -> Result<(), EngineError> {
        self.register_with(info, make, false)
    }

    /// As [`OpRegistry::register`]; `computes_layers` says that the op computes the layers that the catalogue lists.
    pub(crate) fn register_with(
        &mut self,
        info: impl OpInfo + 'static,
        make: OpFactory,
        computes_layers: bool,
    ) -> Result<(), EngineError> {
        let name = info.name().to_string();
        if self.factories.contains_key(&name) {
            return Err(EngineError::DuplicateOp(name));
        }
        self.catalog.register(info)?;
        if !computes_layers {
            self.own.insert(name.clone());
        }
        self.factories.insert(name, make);
        Ok(())
    }

    /// Makes the ops of a known name in another way; shapes and costs stay those of the name. For tests and experiments:
    /// [`crate::testing`] plants ops so. Kernels for whole cells leave cells with replaced ops alone.
    ///
    /// # Errors
    /// The name is unknown: a new op is [`OpRegistry::register`]ed.
    pub fn replace(&mut self, name: &str, make: OpFactory) -> Result<(), EngineError> {
        // The catalogue's error lists the nearest names.
        self.catalog.get(name)?;
        self.factories.insert(name.to_string(), make);
        self.own.insert(name.to_string());
        Ok(())
    }

    /// The layers that an op computes, for choosing a kernel; `None` if it, or one inside it, is not made of layers or
    /// computes in a way of its own.
    pub(crate) fn layers(&self, op: &OpDesc, n_inputs: usize, affine: bool) -> Option<LayerList> {
        (!self.is_own(op)).then(|| self.catalog.lower(op, n_inputs, affine).ok())?
    }

    fn is_own(&self, op: &OpDesc) -> bool {
        self.own.contains(&op.name) || op.children.iter().any(|c| self.is_own(&c.op))
    }

    /// What the names mean, for checking and counting descriptions.
    pub fn catalog(&self) -> &OpCatalog {
        &self.catalog
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.factories.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn make(
        &self,
        desc: &OpDesc,
        builder: &mut OpBuilder<'_>,
    ) -> Result<Box<dyn Op>, EngineError> {
        // The catalogue's error lists the nearest names.
        self.catalog.get(&desc.name)?;
        let make = self.factories.get(&desc.name).ok_or_else(|| {
            EngineError::Internal(format!(
                "the op `{}` is in the catalogue but nothing makes it",
                desc.name
            ))
        })?;
        make(desc, builder)
    }
}
