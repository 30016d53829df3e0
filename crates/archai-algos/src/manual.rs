//! A network made by hand: no search, but the same evaluation as that of every found network. The model zoo
//! ([`archai_spec::desc::zoo`]) has the published ones; channels and classes come from the data set.
//!
//! The "search" writes the network's description, so that an evaluation has the file that it needs.

use archai_engine::{
    EngineError,
    ahead::{Ahead, PlannedTrainings},
    experiment::{Experiment, ExperimentRunner, Found, Searcher},
};
use archai_spec::desc::{ModelDesc, ModelDescBuilder, zoo};
use archai_spec::settings;
use archai_spec::spaces::Space;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::Algorithm;
use crate::given;

/// The algorithm `manual` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "manual",
        "no search: a network of the model zoo, by its name",
        Manual::new,
    )
    .paper(
        "those of the networks: He et al. 2016 (ResNet) and others; each name's is in \
         docs/spaces.md",
    )
    .yaml(include_str!("manual.yaml"))
    .toy(include_str!("manual_toy.yaml"))
}

/// The section `nas.search.manual`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualSettings {
    /// The network, by its name in the model zoo.
    pub model: ZooModel,
}

/// A name that the model zoo has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZooModel(String);

impl ZooModel {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Default for ManualSettings {
    /// Those of `manual.yaml`.
    fn default() -> Self {
        algorithm().shipped_section()
    }
}

impl TryFrom<String> for ZooModel {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        match zoo::builder(&name) {
            Some(_) => Ok(ZooModel(name)),
            None => Err(format!(
                "there is no network `{name}` in the model zoo; known are {}",
                zoo::names().collect::<Vec<_>>().join(", ")
            )),
        }
    }
}

impl From<ZooModel> for String {
    fn from(model: ZooModel) -> String {
        model.0
    }
}

impl JsonSchema for ZooModel {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ZooModel".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": zoo::names().collect::<Vec<_>>() })
    }
}

/// A network of the model zoo.
#[derive(Clone, Debug, Default)]
pub struct Manual {
    settings: ManualSettings,
}

impl Manual {
    /// From its section of the configuration.
    pub fn new(settings: ManualSettings) -> Self {
        Manual { settings }
    }
}

impl ExperimentRunner for Manual {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        zoo::builder(self.settings.model.name()).unwrap_or_else(|| {
            unreachable!("a `ZooModel` is a name of the zoo");
        })
    }

    fn searches_in(&self, _: &dyn Space) -> bool {
        false
    }

    fn unread(&self, _: &settings::Search) -> Vec<&'static str> {
        given::OF_SUPERNETS.to_vec()
    }

    fn preview(&self, ahead: &Ahead<'_>) -> Result<Vec<ModelDesc>, EngineError> {
        given::preview(ahead, ahead.space.builder())
    }

    fn trainings(&self, _: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
        Ok(PlannedTrainings::default())
    }

    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        Some(Box::new(self.clone()))
    }
}

impl Searcher for Manual {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        let name = self.settings.model.name();
        let note = match zoo::about(name) {
            Some(about) => format!("no search: {name}, {about}"),
            None => format!("no search: {name}"),
        };
        given::found(experiment, experiment.space(runner)?.builder(), note)
    }
}
