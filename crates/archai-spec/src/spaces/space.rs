//! The interface of search spaces.

use std::fmt;

use crate::desc::{Built, DescError, DescErrors, ModelDesc, ModelDescBuilder, OpCatalog, build};
use crate::finalize::{NodeRule, Supernet};
use crate::registry::Named;
use crate::rng::Key;
use crate::settings::ModelDescSettings;

use super::cells;

/// A search space. Its architectures are finalised descriptions at the size of a supernet, which
/// [`Space::supernet`] builds and all other questions are given.
///
/// Only the builder must be named; the defaults are those of supernets whose mixed edges are the choices.
///
/// ```
/// use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
/// use archai_spec::{finalize::NodeRule, registry::Named, spaces::Space};
///
/// /// The cells of DARTS in which two states are joined by at most one op.
/// struct Simple;
/// impl Named for Simple {
///     fn name(&self) -> &str { "simple" }
///     fn about(&self) -> &str { "cells of DARTS without parallel edges" }
/// }
/// impl Space for Simple {
///     fn builder(&self) -> &dyn ModelDescBuilder { &DartsModelDescBuilder }
///     fn rule(&self) -> NodeRule { NodeRule::OneOpPerEdge }
/// }
/// let spaces = archai_spec::spaces::builtin().with(std::sync::Arc::new(Simple));
/// assert!(spaces.get("simple").is_ok());
/// ```
pub trait Space: Named + Send + Sync {
    /// Builds the supernet, and scales found networks for their evaluation.
    fn builder(&self) -> &dyn ModelDescBuilder;

    /// Which choices a node of a found network keeps together.
    fn rule(&self) -> NodeRule {
        NodeRule::default()
    }

    /// YAML text with the settings that belong to the space (sizes, stems). It comes over the data set's file when a run
    /// names the space.
    fn config(&self) -> Option<&str> {
        None
    }

    /// YAML text that makes these settings small, for toy runs.
    fn toy_config(&self) -> Option<&str> {
        None
    }

    /// The supernet at the size of the settings, without learnt scales and shifts of norms, as searches train it.
    ///
    /// # Errors
    /// What [`build`] reports.
    fn supernet(
        &self,
        settings: &ModelDescSettings,
        catalog: &OpCatalog,
    ) -> Result<Built, DescErrors> {
        build(self.builder(), settings, None, false, catalog)
    }

    /// An architecture that depends on `key` alone. Default: every node keeps as many choices as it may, drawn as
    /// [`Supernet::random_node`] says.
    ///
    /// # Errors
    /// The supernet has no choices, or is none of this space.
    fn draw(&self, supernet: Supernet<'_>, key: &Key) -> Result<ModelDesc, DescError> {
        cells::draw(supernet, self.rule(), key)
    }

    /// A neighbour of an architecture: one change that leads to another valid one. Default: one choice of one node is
    /// replaced.
    ///
    /// # Errors
    /// The architecture is none of this space, or has no neighbour.
    fn mutate(
        &self,
        supernet: Supernet<'_>,
        desc: &ModelDesc,
        key: &Key,
    ) -> Result<ModelDesc, DescError> {
        cells::mutate(supernet, self.rule(), desc, key)
    }

    /// A text that is equal for architectures that are known to be the same network. Default: the cells up to the order of
    /// edges and, where a cell has at most seven nodes, up to the order of nodes.
    ///
    /// # Errors
    /// The architecture is none of this space.
    fn canonical(&self, supernet: Supernet<'_>, desc: &ModelDesc) -> Result<String, DescError> {
        self.contains(supernet, desc)?;
        Ok(cells::canonical(desc))
    }

    /// How many architectures there are, equal ones counted apart. Default: those whose nodes keep as many choices as they
    /// may, which is what [`Space::draw`] draws from.
    ///
    /// # Errors
    /// The supernet is none of this space.
    fn count(&self, supernet: Supernet<'_>) -> Result<Count, DescError> {
        cells::count(supernet, self.rule())
    }

    /// Whether a description is an architecture of this space at the supernet's size.
    ///
    /// # Errors
    /// Says, with its place, what does not belong to the space.
    fn contains(&self, supernet: Supernet<'_>, desc: &ModelDesc) -> Result<(), DescError> {
        cells::choices_of(supernet, self.rule(), desc).map(drop)
    }
}

/// A number of architectures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Count {
    /// The number, if it is below 2¹²⁸.
    pub exact: Option<u128>,
    /// Its decimal logarithm; −∞ for none.
    pub log10: f64,
}

impl Count {
    /// A number that is known.
    pub fn of(n: u128) -> Self {
        Count {
            exact: Some(n),
            log10: (n as f64).log10(),
        }
    }

    /// So many times as many.
    #[must_use]
    pub fn times(self, other: Count) -> Self {
        let both = self.exact.zip(other.exact);
        Count {
            exact: both.and_then(|(a, b)| a.checked_mul(b)),
            log10: self.log10 + other.log10,
        }
    }
}

/// The number, or its order of magnitude: `10^141.3`.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exact {
            Some(n) => write!(f, "{n}"),
            None => write!(f, "10^{:.1}", self.log10),
        }
    }
}
