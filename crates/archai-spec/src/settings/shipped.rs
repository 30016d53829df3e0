//! The settings that come with the program, as values: for programs, tests and examples that start from them and change
//! what they are about.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Checkpoint, Dataset, Eval, Settings};
use crate::config::{ConfigErrors, ConfigLoader, Schema, Shipped, shipped_section};

/// What all algorithms share.
const COMMON: &str = "archai:algos/common.yaml";

impl Settings {
    /// What all algorithms share (`common.yaml`), on a shipped data set. The files are read at each call; keep the value
    /// where that counts.
    ///
    /// # Errors
    /// No data set of this name is shipped.
    ///
    /// ```
    /// let mut settings = archai_spec::settings::Settings::shipped("fashion_mnist_mini")?;
    /// assert_eq!(settings.nas.search.model_desc.n_cells, 8);
    /// settings.nas.search.trainer.epochs = 1;
    /// # Ok::<(), archai_spec::config::ConfigErrors>(())
    /// ```
    pub fn shipped(dataset: &str) -> Result<Settings, ConfigErrors> {
        ConfigLoader::new(&Shipped)
            .files(COMMON)
            .dataset(&file(dataset))
            .load(&Schema::settings())?
            .settings()
    }
}

impl Dataset {
    /// A shipped data set, for example `fashion_mnist_mini`, which travels inside the program.
    ///
    /// # Errors
    /// No data set of this name is shipped.
    pub fn shipped(name: &str) -> Result<Dataset, ConfigErrors> {
        /// The part of a data set's file that says what it is.
        #[derive(Deserialize, JsonSchema)]
        struct File {
            #[expect(dead_code, reason = "gives the section its schema")]
            dataset: Dataset,
        }
        ConfigLoader::new(&Shipped)
            .dataset(&file(name))
            .load(&Schema::of::<File>())?
            .section("dataset")
    }
}

impl Checkpoint {
    /// The shipped policy, which configurations without `common.checkpoint` have as well.
    ///
    /// # Panics
    /// Never in a built program: the file is a part of it, and tests read it.
    pub fn shipped() -> Checkpoint {
        shipped_section(COMMON, "common.checkpoint")
            .unwrap_or_else(|errors| panic!("the shipped {COMMON} is damaged: {errors}"))
    }
}

impl Eval {
    /// The shipped formats, which configurations without `nas.eval.export` have as well.
    ///
    /// # Panics
    /// Never in a built program: the file is a part of it, and tests read it.
    pub fn shipped_export() -> Vec<String> {
        shipped_section(COMMON, "nas.eval.export")
            .unwrap_or_else(|errors| panic!("the shipped {COMMON} is damaged: {errors}"))
    }
}

fn file(dataset: &str) -> String {
    format!("archai:datasets/{dataset}.yaml")
}
