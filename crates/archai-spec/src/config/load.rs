//! Loading: files and overrides in, a checked tree out.

use super::check::{check, is_nullable};
use super::copy::{resolve, section_copies};
use super::error::{ConfigError, ConfigErrors, did_you_mean};
use super::node::{COPY, Kind, Node, Origin, Style, Value};
use super::overrides::{Override, apply};
use super::paths::{each_path, expand_paths};
use super::schema::{Schema, properties};
use super::source::{FileSource, Shipped, join};
use super::vars::Vars;
use super::{show, yaml};
use crate::names::similar;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::Display;
use std::io;
use std::sync::Arc;

const INCLUDE: &str = "__include__";
/// Most files that one configuration may be made of, included ones counted each time.
const MAX_FILES: usize = 200;

/// Gathers the layers of a configuration, weakest first, and loads them.
pub struct ConfigLoader<'a> {
    source: &'a dyn FileSource,
    layers: Vec<Layer>,
    overrides: Vec<Override>,
    others: Vec<String>,
    files_read: Cell<usize>,
}

enum Layer {
    File(String),
    Dataset(String),
    EvalDataset(String),
}

impl Layer {
    /// The sections that the layer fills with a data set.
    fn datasets(&self) -> &'static [&'static [&'static str]] {
        match self {
            Layer::File(_) => &[],
            Layer::Dataset(_) => &[&["dataset"]],
            Layer::EvalDataset(_) => &[
                &["nas", "eval", "loader", "dataset"],
                &["nas", "eval", "model_desc", "dataset"],
            ],
        }
    }
}

impl<'a> ConfigLoader<'a> {
    /// A loader without layers.
    pub fn new(source: &'a dyn FileSource) -> Self {
        Self {
            source,
            layers: Vec::new(),
            overrides: Vec::new(),
            others: Vec::new(),
            files_read: Cell::new(0),
        }
    }

    /// Adds a layer, or several separated by `;`, stronger than those before.
    #[must_use]
    pub fn files(mut self, names: &str) -> Self {
        let names = names
            .split(';')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        self.layers
            .extend(names.map(|name| Layer::File(name.to_owned())));
        self
    }

    /// Adds a data-set file: a `dataset:` section, and any other keys that the data set needs. Its fields count as
    /// given even where they are left to their defaults, so that two data sets never mix. `name` defaults to the
    /// file's name without its ending.
    #[must_use]
    pub fn dataset(mut self, name: &str) -> Self {
        self.layers.push(Layer::Dataset(name.to_owned()));
        self
    }

    /// Adds a data-set file for the evaluation alone: its `dataset:` section takes the place of
    /// `nas.eval.loader.dataset` and `nas.eval.model_desc.dataset`, and its keys below `nas.eval` hold. Its keys for
    /// other phases are not part of the layer.
    #[must_use]
    pub fn eval_dataset(mut self, name: &str) -> Self {
        self.layers.push(Layer::EvalDataset(name.to_owned()));
        self
    }

    /// Adds overrides, stronger than all layers.
    #[must_use]
    pub fn overrides(mut self, overrides: Vec<Override>) -> Self {
        self.overrides.extend(overrides);
        self
    }

    /// Names sections, by dotted paths, that are for others who load the same files and overrides, and who check them: what is
    /// said of them is left out here. One that the schema knows and that the first layer has stays.
    #[must_use]
    pub fn for_others(mut self, sections: impl IntoIterator<Item = String>) -> Self {
        self.others.extend(sections);
        self
    }

    /// Reads, merges, overrides, resolves and checks.
    ///
    /// # Errors
    /// All that is wrong with files, copies, overrides and keys, as far as it can be told at once.
    pub fn load(self, schema: &Schema) -> Result<ConfigTree, ConfigErrors> {
        let mut errors = Vec::new();
        let mut root: Option<Node> = None;
        let mut first: Vec<&String> = Vec::new();
        for layer in &self.layers {
            match self.layer(layer, schema) {
                Ok(mut node) => match &mut root {
                    Some(root) => {
                        for path in layer.datasets() {
                            cut_off(root, &mut node, path, schema);
                        }
                        root.merge(node);
                    }
                    None => {
                        let had = self.others.iter().filter(|other| node.at(other).is_some());
                        first.extend(had);
                        root = Some(node);
                    }
                },
                Err(found) => errors.extend(found.0),
            }
        }
        let mut root = root.unwrap_or_else(|| Node::section(Origin::Program("the program".into())));
        let parts =
            |other: &String| -> Vec<String> { other.split('.').map(str::to_owned).collect() };
        let others = self.others.iter().filter_map(|other| {
            let stays = first.contains(&other) && schema.lookup(&parts(other)).is_ok();
            (!stays).then(|| parts(other))
        });
        let others: Vec<Vec<String>> = others.collect();
        for section in &others {
            root.remove(section);
        }
        let own = self
            .overrides
            .iter()
            .filter(|given| !others.iter().any(|section| given.is_in(section)));
        errors.extend(own.filter_map(|given| apply(&mut root, given, schema).err()));
        // Copies of a tree with a layer missing would only add errors that are not there.
        let files_read = errors
            .iter()
            .all(|error| matches!(error.origin, Some(Origin::Flag(_))));
        let copies = section_copies(&root);
        let resolved = if files_read {
            resolve(root).map_err(|error| errors.push(error)).ok()
        } else {
            None
        };
        let Some(root) = resolved else {
            return Err(ConfigErrors(errors));
        };
        match complete(root, schema) {
            Ok(tree) if errors.is_empty() => return Ok(tree),
            Ok(_) => {}
            Err(found) => errors.extend(without_copies(found, &copies)),
        }
        Err(ConfigErrors::distinct(errors))
    }

    /// The layers on top of each other, neither overridden, resolved nor checked.
    pub(crate) fn merged(&self, schema: &Schema) -> Result<Node, ConfigErrors> {
        let mut root = Node::section(Origin::Program("the program".into()));
        for layer in &self.layers {
            root.merge(self.layer(layer, schema)?);
        }
        Ok(root)
    }

    /// A file on top of what it includes, whatever its keys.
    pub(crate) fn with_includes(&self, name: &str) -> Result<Node, ConfigError> {
        self.file(name, None, &mut Vec::new())
    }

    fn layer(&self, layer: &Layer, schema: &Schema) -> Result<Node, ConfigErrors> {
        match layer {
            Layer::File(name) => {
                let file = self.file(name, None, &mut Vec::new())?;
                refuse_description(&file, name)?;
                Ok(file)
            }
            Layer::Dataset(name) => {
                let mut file = self.dataset_file(name)?;
                complete_dataset(&mut file, name, schema)?;
                Ok(file)
            }
            Layer::EvalDataset(name) => self.evaluation_data(name, schema),
        }
    }

    fn evaluation_data(&self, name: &str, schema: &Schema) -> Result<Node, ConfigErrors> {
        let mut file = self.dataset_file(name)?;
        complete_dataset(&mut file, name, schema)?;
        let mut errors = Vec::new();
        unknown_keys(&file, &mut Vec::new(), schema, &mut errors);
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        let why = Origin::Program(format!("evaluation's data set {name}").into());
        let mut layer = match file.at("nas.eval") {
            Some(eval) => nest(&["nas", "eval"], eval.clone(), &why),
            None => Node::section(why.clone()),
        };
        if let Some(mut dataset) = file.at("dataset").cloned() {
            // The sections below copy the search's data set, which is not to show through.
            if let Value::Section(map) = &mut dataset.value {
                let none = Node::scalar("null", Style::Plain, why.clone());
                map.entry(COPY.to_owned()).or_insert(none);
            }
            for section in ["loader", "model_desc"] {
                layer.merge(nest(
                    &["nas", "eval", section, "dataset"],
                    dataset.clone(),
                    &why,
                ));
            }
        }
        Ok(layer)
    }

    /// A data-set file on top of what it includes. Whoever names one that is not there may not know what such a file is.
    fn dataset_file(&self, name: &str) -> Result<Node, ConfigError> {
        let file = self.file(name, None, &mut Vec::new());
        file.map_err(|error| {
            let message = error.message.strip_prefix(&cannot_read("configuration", name));
            match (message, &error.origin) {
                (Some(why), None) => ConfigError::new(
                    None,
                    "",
                    format!(
                        "{}{why}; `archai datasets` lists the data sets that are known by name, and one of your own is a YAML file \
                         with a section `dataset:`",
                        cannot_read("data-set", name)
                    ),
                ),
                _ => error,
            }
        })
    }

    /// A file on top of what it includes.
    fn file(
        &self,
        name: &str,
        included_at: Option<&Origin>,
        open: &mut Vec<String>,
    ) -> Result<Node, ConfigError> {
        if open.iter().any(|above| above == name) {
            let mut chain = open.clone();
            chain.push(name.to_owned());
            let message = format!(
                "files include each other in a circle: {}",
                chain.join(" → ")
            );
            return Err(ConfigError::new(included_at.cloned(), "", message));
        }
        self.files_read.set(self.files_read.get() + 1);
        if self.files_read.get() > MAX_FILES {
            let message = format!(
                "more than {MAX_FILES} files in one configuration; does each include the others?"
            );
            return Err(ConfigError::new(included_at.cloned(), "", message));
        }
        let allowed = match open.first() {
            Some(top) => self.source.check_include(top, name),
            None => Ok(()),
        };
        let text = allowed
            .and_then(|()| self.source.read(name))
            .map_err(|error| {
                // Another name helps only where there is no file of this one.
                let shipped = match error.kind() {
                    io::ErrorKind::NotFound => self.source.shipped(),
                    _ => Vec::new(),
                };
                let tail = |path: &str| path.rsplit(['/', ':']).next().unwrap_or(path).to_owned();
                let same = shipped
                    .iter()
                    .filter(|known| tail(known) == tail(name) && *known != name)
                    .cloned();
                let mut guesses: Vec<String> = same.collect();
                if guesses.is_empty() {
                    let near = similar(name, shipped.iter().map(String::as_str));
                    guesses = near.into_iter().map(str::to_owned).collect();
                }
                let message = format!(
                    "{}: {error}{}",
                    cannot_read("configuration", name),
                    did_you_mean(&guesses)
                );
                ConfigError::new(included_at.cloned(), "", message)
            })?;
        let shown: Arc<str> = name.into();
        let mut node = yaml::parse_file(&shown, &text)?;
        let includes = match &mut node.value {
            Value::Section(map) => map.shift_remove(INCLUDE),
            _ => None,
        };
        let Some(includes) = includes else {
            return Ok(node);
        };
        open.push(name.to_owned());
        let mut base: Option<Node> = None;
        for (included, origin) in included_names(&includes)? {
            let below = self.file(&join(name, &included), Some(&origin), open)?;
            match &mut base {
                Some(base) => base.merge(below),
                None => base = Some(below),
            }
        }
        open.pop();
        Ok(match base {
            Some(mut base) => {
                base.merge(node);
                base
            }
            None => node,
        })
    }
}

/// How the error of a file begins that cannot be read.
fn cannot_read(kind: &str, name: &str) -> String {
    format!("cannot read the {kind} file {name}")
}

/// The checked form of a tree in which copies are resolved.
pub(crate) fn complete(root: Node, schema: &Schema) -> Result<ConfigTree, Vec<ConfigError>> {
    let (value, errors) = check(&root, schema);
    match errors.is_empty() {
        true => Ok(ConfigTree {
            root,
            value,
            schema: schema.clone(),
        }),
        false => Err(errors),
    }
}

fn included_names(includes: &Node) -> Result<Vec<(String, Origin)>, ConfigError> {
    let one = |node: &Node| match &node.value {
        Value::Scalar(scalar) if scalar.kind() == Kind::Text => {
            Ok((scalar.text.clone(), node.origin.clone()))
        }
        _ => Err(ConfigError::at(
            &node.origin,
            INCLUDE,
            format!(
                "`{INCLUDE}` expects a file name or a list of file names, found {}",
                node.found()
            ),
        )),
    };
    match &includes.value {
        Value::List(items) => items.iter().map(one).collect(),
        _ => Ok(vec![one(includes)?]),
    }
}

/// Keys that the schema does not know. Needed where only a part of a file becomes part of the tree.
fn unknown_keys(
    node: &Node,
    path: &mut Vec<String>,
    schema: &Schema,
    errors: &mut Vec<ConfigError>,
) {
    for (key, child) in node
        .entries()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != COPY)
    {
        path.push(key.clone());
        match schema.lookup(path) {
            Ok(()) => unknown_keys(child, path, schema, errors),
            Err(message) => errors.push(ConfigError::at(&child.origin, path.join("."), message)),
        }
        path.pop();
    }
}

/// `value` below the given keys.
fn nest(path: &[&str], value: Node, origin: &Origin) -> Node {
    path.iter().rev().fold(value, |inner, key| {
        let map = IndexMap::from([((*key).to_owned(), inner)]);
        Node {
            value: Value::Section(map),
            origin: origin.clone(),
        }
    })
}

/// The fields of a data set, as the schema declares them.
fn dataset_fields(schema: &Schema) -> impl Iterator<Item = (&String, &serde_json::Value)> {
    let all = schema.root().get("properties");
    let declared = all.and_then(|all| all.get("dataset")).into_iter();
    declared.flat_map(move |declared| properties(schema.plain(declared)))
}

/// A field that a weaker layer's data set has, and that this one neither has nor has a default of, would show through: it
/// becomes null. Where none does, nothing is written.
fn cut_off(below: &Node, layer: &mut Node, path: &[&str], schema: &Schema) {
    let Some(below) = path.iter().try_fold(below, |node, key| node.child(key)) else {
        return;
    };
    let above = path
        .iter()
        .try_fold(layer, |node, key| match &mut node.value {
            Value::Section(map) => map.get_mut(*key),
            _ => None,
        });
    let Some(Node {
        value: Value::Section(above),
        origin,
    }) = above
    else {
        return;
    };
    for (key, declared) in dataset_fields(schema) {
        let without_default = declared.get("default").is_none() && is_nullable(declared);
        if without_default && !above.contains_key(key) && below.child(key).is_some() {
            let null = Node::scalar("null", Style::Plain, origin.clone());
            above.insert(key.clone(), null);
        }
    }
}

/// A model description is no configuration: one error that says so is worth more than one for each of its keys.
fn refuse_description(file: &Node, name: &str) -> Result<(), ConfigError> {
    if file.child("cells").is_none() || file.child("version").is_none() {
        return Ok(());
    }
    let message = format!(
        "{name} is a model description and no configuration; `archai train {name}` trains it as it is, `archai run --no-search \
         --nas.eval.final_desc_filename {name}` scales it up first"
    );
    Err(ConfigError::at(&file.origin, "", message))
}

/// Fills in the fields that a data-set file leaves to their defaults.
fn complete_dataset(file: &mut Node, name: &str, schema: &Schema) -> Result<(), ConfigError> {
    refuse_description(file, name)?;
    let origin = file.origin.clone();
    let section = match &mut file.value {
        Value::Section(map) => map.get_mut("dataset"),
        _ => None,
    };
    let Some(Node {
        value: Value::Section(dataset),
        origin: at,
    }) = section
    else {
        let message = format!(
            "the data-set file {name} has no section `dataset:`; put the data set's fields below that key"
        );
        return Err(ConfigError::at(&origin, "dataset", message));
    };
    let why: Origin = Origin::Program("default of the key".into());
    let stem = name.rsplit(['/', '\\', ':']).next().unwrap_or(name);
    let stem = stem
        .strip_suffix(".yaml")
        .or_else(|| stem.strip_suffix(".yml"))
        .unwrap_or(stem);
    if !dataset.contains_key("name") {
        dataset.shift_insert(
            0,
            "name".to_owned(),
            Node::scalar(stem, Style::Quoted, at.clone()),
        );
    }
    for (key, schema) in dataset_fields(schema) {
        if !dataset.contains_key(key)
            && let Some(default) = schema.get("default")
        {
            let style = if default.is_string() {
                Style::Quoted
            } else {
                Style::Plain
            };
            let text = default
                .as_str()
                .map_or_else(|| default.to_string(), str::to_owned);
            dataset.insert(key.clone(), Node::scalar(text, style, why.clone()));
        }
    }
    Ok(())
}

/// Where a section, or the first part of it that a user wrote, was written.
fn given_in(node: &Node) -> Option<&Origin> {
    if !node.origin.is_shipped() {
        return Some(&node.origin);
    }
    match &node.value {
        Value::Scalar(_) => None,
        Value::List(items) => items.iter().find_map(given_in),
        Value::Section(map) => map.values().find_map(given_in),
    }
}

/// A key that is missing where all copy from is missing in each copy, too: it is told once, where it must be written.
fn without_copies(errors: Vec<ConfigError>, copies: &[(String, String)]) -> Vec<ConfigError> {
    let is_missing = |error: &ConfigError| error.message.starts_with("missing key");
    let missing = errors.iter().filter(|error| is_missing(error));
    let missing: HashSet<String> = missing.map(|error| error.key.clone()).collect();
    let is_repeated = |error: &ConfigError| {
        copies.iter().any(|(copy, source)| {
            let rest = error.key.strip_prefix(copy.as_str());
            let rest = rest.filter(|rest| rest.starts_with('.'));
            rest.is_some_and(|rest| missing.contains(&format!("{source}{rest}")))
        })
    };
    let mut errors = errors;
    errors.retain(|error| !is_missing(error) || !is_repeated(error));
    errors
}

/// A configuration that holds nothing but known keys of the right types, each with its origin.
#[derive(Clone, Debug)]
pub struct ConfigTree {
    root: Node,
    value: serde_json::Value,
    schema: Schema,
}

impl ConfigTree {
    /// The typed section at a dotted path, for example an algorithm's own. An absent one gives the type's defaults.
    ///
    /// # Errors
    /// When the section does not fit the type, which the schema given to the loader should have shown.
    pub fn section<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConfigErrors> {
        let value = self
            .value(path)
            .cloned()
            .unwrap_or_else(|| serde_json::json!({}));
        self.read(path, value)
    }

    /// A value of the tree, or one made from it, as a type.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        value: serde_json::Value,
    ) -> Result<T, ConfigErrors> {
        serde_json::from_value(value).map_err(|error| {
            let message = if path.is_empty() {
                error.to_string()
            } else {
                format!("{path}: {error}")
            };
            // Sections are mostly shipped; what is wrong with one is what somebody wrote into it.
            let section = self.root.at(path).filter(|_| !path.is_empty());
            let given = section.and_then(given_in);
            let origin = given.or_else(|| self.origin(path));
            ConfigErrors::from(ConfigError::new(origin.cloned(), path, message))
        })
    }

    /// The typed value at a dotted path.
    pub fn value(&self, path: &str) -> Option<&serde_json::Value> {
        let parts = path.split('.').filter(|part| !part.is_empty());
        parts
            .into_iter()
            .try_fold(&self.value, |value, part| match value {
                serde_json::Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                value => value.get(part),
            })
    }

    /// Where the value at a dotted path was written; for a path that does not exist, its nearest section.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        let mut node = &self.root;
        for part in path.split('.').filter(|part| !part.is_empty()) {
            match node.child(part) {
                Some(child) => node = child,
                None => break,
            }
        }
        Some(&node.origin)
    }

    /// The whole tree as plain YAML: a configuration file that gives this tree again.
    pub fn to_yaml(&self) -> String {
        show::render(&self.value, None)
    }

    /// The whole tree as YAML, with a comment behind each value that says where it was written.
    pub fn to_yaml_with_origins(&self) -> String {
        show::render(&self.value, Some(&self.root))
    }

    /// The same tree with the variables in all paths expanded, its own sections included: its settings name files that can
    /// be opened. Each phase of a run has its own `$expdir`, and so its own expanded tree.
    ///
    /// # Errors
    /// Variables that are not set, with the place of the value.
    pub fn expanded(&self, vars: &Vars) -> Result<ConfigTree, ConfigErrors> {
        self.with_expanded_section("", vars)
    }

    /// The same tree with the variables in the paths of one section expanded, an algorithm's own for example:
    /// [`ConfigTree::section`] then gives paths that can be opened.
    ///
    /// # Errors
    /// Variables that are not set, with the place of the value.
    pub fn with_expanded_section(
        &self,
        section: &str,
        vars: &Vars,
    ) -> Result<ConfigTree, ConfigErrors> {
        let mut tree = self.clone();
        let parts = section.split('.').filter(|part| !part.is_empty());
        let pointer: String = parts.map(|part| format!("/{part}")).collect();
        let mut problems = Vec::new();
        if let Some(value) = tree.value.pointer_mut(&pointer) {
            expand_paths(value, section, vars, &mut problems);
        }
        if problems.is_empty() {
            return Ok(tree);
        }
        Err(self.errors_at(problems))
    }

    /// The keys that hold paths (see [`crate::settings`]) with their texts, sections of algorithms included; `null`s are left
    /// out.
    pub fn paths(&self) -> Vec<(String, String)> {
        let (mut value, mut paths) = (self.value.clone(), Vec::new());
        each_path(&mut value, "", &mut |key, text| {
            paths.push((key.to_owned(), text.clone()));
        });
        paths
    }

    /// The text of a value as it was written, whatever [`ConfigTree::with_text`] made of it; none for what is no single value, and
    /// for a key that is not there.
    pub fn written(&self, path: &str) -> Option<&str> {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        let node = parts.try_fold(&self.root, |node, part| node.child(part))?;
        match &node.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The same tree with another text for a key that has one: what the caller knows better than the file. Its origin stays,
    /// unless `why` says another. Other keys stay as they are.
    ///
    /// ```
    /// use archai_spec::config::{ConfigLoader, Schema, Shipped};
    ///
    /// let tree = ConfigLoader::new(&Shipped)
    ///     .files("archai:algos/common.yaml")
    ///     .dataset("archai:datasets/mnist.yaml")
    ///     .load(&Schema::settings())?
    ///     .with_text("dataset.path", "/mine/mnist", None);
    /// assert_eq!(tree.settings()?.dataset.path, "/mine/mnist");
    /// assert_eq!(tree.written("dataset.path"), Some("$dataroot/mnist"));
    /// # Ok::<(), archai_spec::config::ConfigErrors>(())
    /// ```
    #[must_use]
    pub fn with_text(mut self, path: &str, text: &str, why: Option<Origin>) -> ConfigTree {
        let pointer: String = path.split('.').map(|part| format!("/{part}")).collect();
        if let Some(serde_json::Value::String(value)) = self.value.pointer_mut(&pointer) {
            *value = text.to_owned();
            if let (Some(node), Some(why)) = (self.root.at_mut(path), why) {
                node.origin = why;
            }
        }
        self
    }

    /// What the keys may be.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Errors from keys and what is wrong with their values.
    pub(crate) fn errors_at<E: Display>(&self, problems: Vec<(String, E)>) -> ConfigErrors {
        let located = problems.into_iter().map(|(key, problem)| {
            let message = format!("{key}: {problem}");
            ConfigError::new(self.origin(&key).cloned(), key, message)
        });
        ConfigErrors::distinct(located.collect())
    }
}

/// One section of a shipped file, which neither copies nor is copied from elsewhere.
pub(crate) fn shipped_section<T: DeserializeOwned + JsonSchema>(
    file: &str,
    section: &str,
) -> Result<T, ConfigErrors> {
    let problem = |message: String| ConfigError::new(None, section, message);
    let text = Shipped
        .read(file)
        .map_err(|error| problem(error.to_string()))?;
    let root = yaml::parse_file(&file.into(), &text)?;
    let node = root
        .at(section)
        .ok_or_else(|| problem(format!("there is no section `{section}`")))?;
    let (value, errors) = check(node, &Schema::of::<T>());
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    serde_json::from_value(value).map_err(|error| problem(error.to_string()).into())
}
