//! Which configuration a command means: layers, weakest first, from algorithm, data set, mode and files.

use std::io;

use archai_algos::{Algorithm, AlgorithmConfig};
use archai_spec::config::{
    ConfigLoader, ConfigTree, FileSource, Files, Override, shipped_datasets, shipped_files,
};

use archai_spec::names::unknown;

use crate::error::LabError;

/// What a configuration is made from.
#[derive(Clone, Debug)]
pub struct ConfigRequest<'a> {
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
    /// An unknown data set, and everything that is wrong with files and overrides.
    pub fn load(self) -> Result<ConfigTree, LabError> {
        let own = OwnText::new(self.algo);
        let mut loader = ConfigLoader::new(&own);
        if let Some(only) = self.config_only {
            loader = loader.files(only);
        } else {
            let default = if self.full {
                "cifar10"
            } else {
                "fashion_mnist_mini"
            };
            loader = loader
                .files(&own.name)
                .dataset(&dataset_file(self.dataset.unwrap_or(default))?);
            // Over the data set's file, which may say stems that the space cannot have.
            let own_space = own.name.replace("archai:algos/", "archai:spaces/");
            if shipped_files().any(|file| file == own_space) {
                loader = loader.files(&own_space);
            }
            if let Some(space) = self.space {
                loader = loader.files(&space_file(space, ""));
            }
            if !self.full {
                loader = loader.files("archai:toy.yaml");
                if let Some(space) = self.space {
                    loader = loader.files(&space_file(space, "_toy"));
                }
                // What toy mode means for this algorithm's own settings.
                let own_toy = own.name.replace(".yaml", "_toy.yaml");
                if shipped_files().any(|file| file == own_toy) {
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
            .load(&self.algo.schema())
            .map_err(LabError::from)
    }
}

/// The shipped file of a space: what names it, and its sizes.
fn space_file(name: &str, toy: &str) -> String {
    format!("archai:spaces/{name}{toy}.yaml")
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

/// Files, and the defaults that an algorithm brings along as text.
struct OwnText<'a> {
    name: String,
    text: Option<&'a str>,
}

impl<'a> OwnText<'a> {
    fn new(algo: &'a Algorithm) -> Self {
        match algo.default_config() {
            AlgorithmConfig::File(name) => OwnText {
                name: name.clone(),
                text: None,
            },
            AlgorithmConfig::Text(text) => OwnText {
                name: format!("the defaults of {}", algo.name()),
                text: Some(text),
            },
        }
    }
}

impl FileSource for OwnText<'_> {
    fn read(&self, name: &str) -> io::Result<String> {
        match self.text {
            Some(text) if name == self.name => Ok(text.to_string()),
            _ => Files.read(name),
        }
    }

    fn check_include(&self, top: &str, included: &str) -> io::Result<()> {
        match self.text {
            // A text has no folder: what it includes is the program's own business.
            Some(_) if top == self.name => Ok(()),
            _ => Files.check_include(top, included),
        }
    }
}
