//! Configuration files: YAML with includes, copies, layers and overrides, each value knowing where it came from.
//!
//! - `__include__: common.yaml` (or a list) at the top of a file loads other files first; names are relative to the
//!   file, shipped files are `archai:algos/common.yaml`.
//! - `_copy: /dataset` in a section fills in the keys that the section lacks; `'_copy: ../train_workers'` as a value
//!   takes another's place. Both follow what overrides change.
//! - Layers are laid over each other, sections key by key, everything else whole.
//! - Overrides name any key by its dotted path.
//!
//! In the end everything is typed: the tree is checked against the JSON schema of [`Settings`](crate::settings::Settings),
//! and all problems are reported at once with their places.
//!
//! ```
//! use archai_spec::config::{AddedFiles, ConfigLoader, Schema, Shipped, parse_overrides};
//!
//! // An algorithm brings its defaults, and types its own section.
//! let defaults = "__include__: archai:algos/common.yaml\nnas: {search: {darts: {second_order: true, epsilon: 0.01}}}";
//! let files = AddedFiles::new([("archai:algos/darts.yaml".to_owned(), defaults)], &Shipped);
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Darts {
//!     second_order: bool,
//!     epsilon: f64,
//! }
//!
//! let args = ["--nas.eval.trainer.epochs".to_owned(), "200".to_owned()];
//! let tree = ConfigLoader::new(&files)
//!     .files("archai:algos/darts.yaml")
//!     .dataset("archai:datasets/cifar10.yaml")
//!     .overrides(parse_overrides(&args)?)
//!     .load(&Schema::settings().section::<Darts>("nas.search.darts"))?;
//!
//! let settings = tree.settings()?;
//! assert_eq!(settings.nas.eval.trainer.epochs, 200);
//! assert_eq!(settings.nas.search.loader.dataset.name, "cifar10");
//! assert!(tree.section::<Darts>("nas.search.darts")?.second_order);
//! assert_eq!(tree.origin("nas.eval.trainer.epochs").unwrap().to_string(), "`--nas.eval.trainer.epochs 200`");
//! # Ok::<(), archai_spec::config::ConfigErrors>(())
//! ```

mod check;
mod copy;
mod error;
mod load;
mod node;
mod overrides;
mod paths;
mod schema;
mod show;
mod source;
mod units;
mod vars;
mod yaml;

/// YAML as a tree whose every node knows its place: for files that are no configurations but deserve errors as good.
pub mod nodes {
    pub use super::node::{Kind, Node, Scalar, Style, Value};
    use super::{ConfigError, yaml};

    /// The section that a file holds; an empty file is an empty one.
    ///
    /// ```
    /// use archai_spec::config::nodes::parse;
    /// let node = parse("cell.yaml", "a: 1\nb:\n  - x\n")?;
    /// assert_eq!(node.at("b").unwrap().origin.to_string(), "cell.yaml:2:1");
    /// assert!(parse("cell.yaml", "- 1").unwrap_err().to_string().contains("expected a section"));
    /// # Ok::<(), archai_spec::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// What is not accepted, and where: the text is no YAML, has several documents, tags, keys that stand twice, too many
    /// nodes, or no section at its top.
    pub fn parse(name: &str, text: &str) -> Result<Node, ConfigError> {
        yaml::parse_file(&name.into(), text)
    }
}

/// The tree before it has types, for the translation of other programs' configurations.
pub(crate) mod tree {
    pub(crate) use super::copy::resolve;
    pub(crate) use super::load::complete;
    pub(crate) use super::node::{COPY, Kind, Node, Scalar, Style, Value};
    pub(crate) use super::show::text as bare_text;
}

pub use error::{ConfigError, ConfigErrors};
pub(crate) use load::shipped_section;
pub use load::{ConfigLoader, ConfigTree};
pub use node::Origin;
pub use overrides::{Override, parse_overrides};
pub(crate) use paths::is_path;
pub use schema::Schema;
pub use source::{AddedFiles, FileSource, Files, Shipped, shipped_datasets};
pub(crate) use units::problem_of;
pub use vars::{ExpandError, Vars, expand};
