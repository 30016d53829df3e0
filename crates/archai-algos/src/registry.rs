//! Algorithms by name: a value that the program is started with, not a global.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use archai_engine::experiment::ExperimentRunner;
use archai_spec::config::{
    AddedFiles, ConfigErrors, ConfigLoader, ConfigTree, FileSource, Schema, Shipped,
};
use archai_spec::registry::{Named, Registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::darts::DartsSettings;

/// Settings of an algorithm that has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

type Make =
    Arc<dyn Fn(&ConfigTree) -> Result<Box<dyn ExperimentRunner>, ConfigErrors> + Send + Sync>;

/// An algorithm: its name, one line about it, its default settings as YAML, and how its runner is made.
///
/// ```
/// use archai_algos::{Algorithm, Darts, DartsSettings};
///
/// let mine = Algorithm::new("mine", "DARTS in first order", |settings: DartsSettings| Darts::new(settings))
///     .yaml("__include__: archai:algos/common.yaml\nnas: {search: {mine: {second_order: false, epsilon: 0.01}}}")
///     .toy("nas: {search: {loader: {train_batch: 16}}}");
/// assert_eq!(mine.defaults(), "archai:algos/mine.yaml");
/// assert_eq!(mine.toy_overlay().as_deref(), Some("archai:algos/mine_toy.yaml"));
/// ```
#[derive(Clone)]
pub struct Algorithm {
    name: String,
    about: String,
    paper: Option<String>,
    yaml: Option<Cow<'static, str>>,
    toy: Option<Cow<'static, str>>,
    space: Option<String>,
    schema: Arc<dyn Fn(Schema) -> Schema + Send + Sync>,
    make: Make,
}

impl fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Algorithm {
            name,
            about,
            paper,
            yaml,
            toy,
            space,
            schema: _,
            make: _,
        } = self;
        f.debug_struct("Algorithm")
            .field("name", name)
            .field("about", about)
            .field("paper", paper)
            .field("yaml", yaml)
            .field("toy", toy)
            .field("space", space)
            .finish_non_exhaustive()
    }
}

/// The algorithm whose default settings one without YAML of its own starts from, and the YAML of any other may include. So its
/// section may be present for every algorithm.
pub const BASE_ALGORITHM: &str = "darts";

/// The section in it that is DARTS's own.
const BASE_SECTION: &str = "nas.search.darts";

fn with_base_section(schema: Schema) -> Schema {
    schema.section::<Option<DartsSettings>>(BASE_SECTION)
}

impl Algorithm {
    /// An algorithm whose runner `make` builds from the section `nas.search.<name>` of the configuration
    /// ([`NoSettings`] if it has none). Without [`Algorithm::yaml`] it starts from the defaults of DARTS.
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
        Algorithm {
            name,
            about: about.into(),
            paper: None,
            yaml: None,
            toy: None,
            space: None,
            schema: Arc::new(move |schema| schema.section::<S>(&own)),
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

    /// Gives its default settings: the text of a YAML file, usually `include_str!("mine.yaml")` beside its source.
    /// Configurations know the text as `archai:algos/<name>.yaml`. It may include shipped files by such names;
    /// `archai:algos/common.yaml` has every key that all algorithms share.
    #[must_use]
    pub fn yaml(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.yaml = Some(text.into());
        self
    }

    /// Gives what toy mode changes in its settings beyond `archai:toy.yaml`: the text of a YAML file, known as
    /// `archai:algos/<name>_toy.yaml`.
    #[must_use]
    pub fn toy(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.toy = Some(text.into());
        self
    }

    /// Names the file of the one space that it works in (`archai:spaces/…`). It is laid over the file of the data set,
    /// which may choose stems that the space cannot have.
    #[must_use]
    pub fn space(mut self, file: impl Into<String>) -> Self {
        self.space = Some(file.into());
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

    /// The file of its default settings, the weakest layer of a configuration: its own or, without one, that of DARTS.
    pub fn defaults(&self) -> String {
        match self.yaml {
            Some(_) => own_file(&self.name),
            None => own_file(BASE_ALGORITHM),
        }
    }

    /// The file with what toy mode changes in its settings, if it has one.
    pub fn toy_overlay(&self) -> Option<String> {
        self.toy.as_ref().map(|_| own_toy_file(&self.name))
    }

    /// The file of the one space that it works in, if there is one; see [`Algorithm::space`].
    pub fn space_file(&self) -> Option<&str> {
        self.space.as_deref()
    }

    /// Its files with their names.
    fn files(&self) -> impl Iterator<Item = (String, &str)> {
        let own = self.yaml.iter().map(|text| (own_file(&self.name), text));
        let toy = self.toy.iter().map(|text| (own_toy_file(&self.name), text));
        own.chain(toy).map(|(name, text)| (name, text.as_ref()))
    }

    /// What its configuration may hold: the settings and its own section.
    pub fn schema(&self) -> Schema {
        self.add_section(with_base_section(Schema::settings()))
    }

    /// A schema with its own section as well: that of several algorithms is made one by one.
    pub fn add_section(&self, schema: Schema) -> Schema {
        (self.schema)(schema)
    }

    /// The path of its own section.
    pub fn section(&self) -> String {
        format!("nas.search.{}", self.name)
    }

    /// Its own section as its YAML has it: the one place of the defaults of its settings.
    ///
    /// # Panics
    /// Never for the algorithms of a built program: the file is a part of it, and tests read it.
    pub(crate) fn shipped_section<S: DeserializeOwned>(self) -> S {
        let section = format!("nas.search.{}", self.name);
        let (schema, defaults) = (self.schema(), self.defaults());
        let algorithms = Registry::new("algorithm").with(Arc::new(self));
        let files = files(&algorithms, &Shipped);
        ConfigLoader::new(&files)
            .files(&defaults)
            .dataset("archai:datasets/fashion_mnist_mini.yaml")
            .load(&schema)
            .and_then(|tree| tree.section(&section))
            .unwrap_or_else(|errors| panic!("the shipped {defaults} is damaged: {errors}"))
    }

    /// A section that its configuration may hold, because it may start from the file of another algorithm, and that it does
    /// not read.
    pub fn unread_section(&self) -> Option<&str> {
        (self.name != "darts").then_some(BASE_SECTION)
    }

    /// The algorithm with the settings of its section.
    ///
    /// # Errors
    /// The section does not have the algorithm's type.
    pub fn runner(&self, tree: &ConfigTree) -> Result<Box<dyn ExperimentRunner>, ConfigErrors> {
        (self.make)(tree)
    }
}

fn own_file(name: &str) -> String {
    format!("archai:algos/{name}.yaml")
}

fn own_toy_file(name: &str) -> String {
    format!("archai:algos/{name}_toy.yaml")
}

impl Named for Algorithm {
    fn name(&self) -> &str {
        &self.name
    }

    fn about(&self) -> &str {
        &self.about
    }
}

/// Algorithms by name.
pub type Algorithms = Registry<Algorithm>;

/// The files of all algorithms under their names (`archai:algos/darts.yaml`), on top of the files that `rest` gives.
///
/// ```
/// use archai_spec::config::{FileSource, Shipped};
///
/// let algorithms = archai_algos::all();
/// assert!(archai_algos::files(&algorithms, &Shipped).read("archai:algos/darts.yaml").is_ok());
/// ```
pub fn files<'a>(algorithms: &'a Algorithms, rest: &'a dyn FileSource) -> AddedFiles<'a> {
    let own = algorithms.iter().flat_map(|algorithm| algorithm.files());
    AddedFiles::new(own, rest)
}
