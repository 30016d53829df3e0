//! Which configuration a command means: layers, weakest first, from algorithm, data set, mode and files.

use archai_algos::{Algorithm, Algorithms};
use archai_engine::Components;
use archai_spec::config::{ConfigLoader, ConfigTree, Files, Override, shipped_datasets};
use archai_spec::names::unknown;
use archai_spec::settings::OWN_SPACE;
use archai_spec::spaces;

use crate::error::LabError;

/// What a configuration is made from.
#[derive(Clone, Debug)]
pub struct ConfigRequest<'a> {
    /// All algorithms: their files may be included and named.
    pub algos: &'a Algorithms,
    /// What configurations may name.
    pub components: &'a Components,
    /// The algorithm, whose defaults are the weakest layer.
    pub algo: &'a Algorithm,
    /// Data set by name or path; none takes the mode's.
    pub dataset: Option<&'a str>,
    /// Another data set for the evaluation.
    pub eval_dataset: Option<&'a str>,
    /// Another space than the algorithm's own, by name.
    pub space: Option<&'a str>,
    /// The published settings, or toy mode.
    pub full: bool,
    /// Files over the defaults.
    pub config: Option<&'a str>,
    /// Files instead of the defaults.
    pub config_only: Option<&'a str>,
    /// Values of the command line.
    pub overrides: Vec<Override>,
}

impl ConfigRequest<'_> {
    /// Loads and checks the configuration.
    ///
    /// # Errors
    /// An unknown data set or space, and everything that is wrong with files and overrides.
    pub fn load(self) -> Result<ConfigTree, LabError> {
        let files = archai_algos::files(self.algos, &Files);
        let files = spaces::files(&self.components.spaces, &files);
        let space = match self.space {
            None | Some(OWN_SPACE) => None,
            Some(name) => {
                let known = self.components.spaces.get(name);
                let known = known.map_err(|e| LabError::request(format!("--space: {e}")))?;
                Some(known.as_ref())
            }
        };
        let mut loader = ConfigLoader::new(&files);
        if let Some(only) = self.config_only {
            loader = loader.files(only);
        } else {
            let default = if self.full {
                "cifar10"
            } else {
                "fashion_mnist_mini"
            };
            loader = loader
                .files(&self.algo.defaults())
                .dataset(&dataset_file(self.dataset.unwrap_or(default))?);
            if let Some(own_space) = self.algo.space_file() {
                loader = loader.files(own_space);
            }
            if let Some(space) = space {
                loader = loader.files(&spaces::file(space));
            }
            if !self.full {
                loader = loader.files("archai:toy.yaml");
                if let Some(toy) = space.and_then(spaces::toy_file) {
                    loader = loader.files(&toy);
                }
                if let Some(own_toy) = self.algo.toy_overlay() {
                    loader = loader.files(&own_toy);
                }
            }
            if let Some(name) = self.eval_dataset {
                loader = loader.eval_dataset(&dataset_file(name)?);
            }
            if let Some(files) = self.config {
                loader = loader.files(files);
            }
        }
        loader
            .overrides(self.overrides)
            .load(&self.components.naming(self.algo.schema()))
            .map_err(LabError::from)
    }
}

/// The file of a data set that was named, or the path that was given.
///
/// # Errors
/// An unknown name; the error names the nearest and all known.
pub fn dataset_file(name: &str) -> Result<String, LabError> {
    if name.ends_with(".yaml") || name.ends_with(".yml") || name.contains(['/', '\\']) {
        return Ok(name.to_string());
    }
    if shipped_datasets().any(|known| known == name) {
        return Ok(format!("archai:datasets/{name}.yaml"));
    }
    let error = unknown("data set", name, shipped_datasets());
    Err(LabError::request(format!(
        "{error}; a data set of your own is given by the path of its YAML file"
    )))
}
