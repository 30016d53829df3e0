//! Algorithms by name: a value that the program is started with, not a global.

use std::fmt;
use std::sync::Arc;

use archai_engine::experiment::ExperimentRunner;
use archai_spec::config::{ConfigErrors, ConfigTree, Schema};
use archai_spec::names::{UnknownName, unknown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::darts::DartsSettings;

/// Where the defaults of an algorithm's configuration stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlgorithmConfig {
    /// A file by name, as configurations include them: `archai:algos/darts.yaml` is a shipped one.
    File(String),
    /// The text of a YAML file, which may `__include__` shipped ones.
    Text(String),
}

/// Settings of an algorithm that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

type Make =
    Arc<dyn Fn(&ConfigTree) -> Result<Box<dyn ExperimentRunner>, ConfigErrors> + Send + Sync>;

/// An algorithm: its name, what to say of it, where its defaults stand, and how it is made.
#[derive(Clone)]
pub struct Algorithm {
    name: String,
    about: String,
    paper: Option<String>,
    config: AlgorithmConfig,
    schema: Arc<dyn Fn(Schema) -> Schema + Send + Sync>,
    make: Make,
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Algorithm {
            name,
            about,
            paper,
            config,
            schema: _,
            make: _,
        } = self;
        f.debug_struct("Algorithm")
            .field("name", name)
            .field("about", about)
            .field("paper", paper)
            .field("config", config)
            .finish_non_exhaustive()
    }
}

impl Algorithm {
    /// An algorithm whose runner `make` builds from the section `nas.search.<name>` of the configuration. Its
    /// defaults are those of DARTS unless [`Algorithm::config`] says otherwise; then the section of DARTS may stay.
    pub fn new<S, R>(
        name: impl Into<String>,
        about: impl Into<String>,
        make: impl Fn(S) -> R + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + JsonSchema,
        R: ExperimentRunner + 'static,
    {
        let name = name.into();
        let section = format!("nas.search.{name}");
        let own = section.clone();
        let is_darts = name == "darts";
        Algorithm {
            name,
            about: about.into(),
            paper: None,
            config: AlgorithmConfig::File("archai:algos/darts.yaml".to_string()),
            schema: Arc::new(move |schema| {
                let schema = if is_darts {
                    schema
                } else {
                    schema.section::<Option<DartsSettings>>("nas.search.darts")
                };
                schema.section::<S>(&own)
            }),
            make: Arc::new(move |tree| {
                let settings = tree.section::<S>(&section)?;
                Ok(Box::new(make(settings)) as Box<dyn ExperimentRunner>)
            }),
        }
    }

    /// Names the paper.
    #[must_use]
    pub fn paper(mut self, paper: impl Into<String>) -> Self {
        self.paper = Some(paper.into());
        self
    }

    /// Says where the defaults of its configuration stand.
    #[must_use]
    pub fn config(mut self, config: AlgorithmConfig) -> Self {
        self.config = config;
        self
    }

    /// Its name, as `--algos` takes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is, in one line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Where it was published.
    pub fn paper_title(&self) -> Option<&str> {
        self.paper.as_deref()
    }

    /// Where the defaults of its configuration stand.
    pub fn default_config(&self) -> &AlgorithmConfig {
        &self.config
    }

    /// What its configuration may hold: the settings and its own section.
    pub fn schema(&self) -> Schema {
        (self.schema)(Schema::settings())
    }

    /// The algorithm with the settings of its section.
    ///
    /// # Errors
    /// The section does not have the algorithm's type.
    pub fn runner(&self, tree: &ConfigTree) -> Result<Box<dyn ExperimentRunner>, ConfigErrors> {
        (self.make)(tree)
    }
}

/// Algorithms by name.
#[derive(Clone, Debug, Default)]
pub struct Algorithms {
    list: Vec<Algorithm>,
}

impl Algorithms {
    /// None.
    pub fn new() -> Self {
        Algorithms::default()
    }

    /// Adds an algorithm of your own: its name, one line about it, and the function that makes its
    /// [`ExperimentRunner`] from the settings in `nas.search.<name>` ([`NoSettings`] if it has none). One of the same
    /// name is replaced.
    #[must_use]
    pub fn with<S, R>(
        self,
        name: impl Into<String>,
        about: impl Into<String>,
        make: impl Fn(S) -> R + Send + Sync + 'static,
    ) -> Self
    where
        S: DeserializeOwned + JsonSchema,
        R: ExperimentRunner + 'static,
    {
        self.with_algorithm(Algorithm::new(name, about, make))
    }

    /// Adds an algorithm with all that can be said of it. One of the same name is replaced.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.list.retain(|a| a.name != algorithm.name);
        self.list.push(algorithm);
        self
    }

    /// All, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Algorithm> {
        self.list.iter()
    }

    /// The algorithm of a name.
    ///
    /// # Errors
    /// There is none; the error names the nearest and all known.
    pub fn get(&self, name: &str) -> Result<&Algorithm, UnknownName> {
        self.list
            .iter()
            .find(|a| a.name == name)
            .ok_or_else(|| unknown("algorithm", name, self.list.iter().map(Algorithm::name)))
    }
}
