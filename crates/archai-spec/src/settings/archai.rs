//! Reads configuration files of Microsoft Archai (v0.4 to v1.0) and says them in the keys of this program. Every key is carried
//! over, moved, or left out with the reason; no key is passed over in silence.
//!
//! What is written is a layer over the defaults of an algorithm. It is tried out there: values that this program cannot use are
//! left out too, again with the reason.

use std::fmt;

use indexmap::IndexMap;

use crate::config::tree::{COPY, Kind, Node, Scalar, Style, Value, bare_text, complete, resolve};
use crate::config::{ConfigError, ConfigErrors, ConfigLoader, FileSource, Origin, Schema};
use crate::names::{did_you_mean, similar};

/// A configuration of Archai in the keys of this program.
#[derive(Clone, Debug)]
pub struct ImportedConfig {
    /// A configuration file: a layer over an algorithm's defaults.
    pub yaml: String,
    /// What was left out or changed, and what the values still lack, in the order of the file.
    pub notes: Vec<ImportNote>,
    /// The data set of search and evaluation, where the file names it.
    pub dataset: Option<String>,
    /// Another data set for the evaluation, where the file names one.
    pub eval_dataset: Option<String>,
}

/// Something that a translation left out, changed, or cannot mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportNote {
    /// Where it was written.
    pub origin: Option<Origin>,
    /// The key as Archai has it, dotted.
    pub key: String,
    /// What became of it, and why.
    pub message: String,
}

impl fmt::Display for ImportNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// What a configuration of Archai is translated for.
#[derive(Clone, Copy)]
pub struct ImportTarget<'a> {
    /// The algorithm, by name: its own section is translated, those of others are left out.
    pub algo: &'a str,
    /// The layers on which the result is tried out: those of the algorithm and of a data set.
    pub defaults: &'a ConfigLoader<'a>,
    /// The keys that the algorithm has.
    pub schema: &'a Schema,
    /// Networks that the algorithm `manual` knows.
    pub networks: &'a [&'a str],
}

/// Translates the file `name`, with what it includes.
///
/// ```
/// use archai_spec::config::{ConfigLoader, Schema, Shipped};
/// use archai_spec::settings::{ImportTarget, import_archai_config};
/// use std::collections::BTreeMap;
/// let theirs = "common: {seed: 2.0, tb_enable: false}\nnas: {eval: {model_desc: {n_nodes: 5}}}";
/// let files = BTreeMap::from([("theirs.yaml".to_string(), theirs.to_string())]);
/// let defaults = ConfigLoader::new(&Shipped)
///     .files("archai:algos/common.yaml")
///     .dataset("archai:datasets/cifar10.yaml");
/// let target = ImportTarget { algo: "darts", defaults: &defaults, schema: &Schema::settings(), networks: &[] };
/// let ours = import_archai_config(&files, "theirs.yaml", target)?;
/// assert_eq!(ours.yaml, "common:\n  seed: 2\nnas:\n  eval:\n    model_desc:\n      cell:\n        n_nodes: 5\n");
/// assert_eq!(ours.notes[0].key, "common.tb_enable");
/// # Ok::<(), archai_spec::config::ConfigErrors>(())
/// ```
///
/// # Errors
/// Files that cannot be read or are no YAML without tags, and defaults that are wrong by themselves.
pub fn import_archai_config(
    source: &dyn FileSource,
    name: &str,
    target: ImportTarget<'_>,
) -> Result<ImportedConfig, ConfigErrors> {
    let theirs = ConfigLoader::new(source).with_includes(name)?;
    let mut import = Import {
        target,
        base: target.defaults.merged(target.schema)?,
        ours: Node::section(translated()),
        notes: Vec::new(),
    };
    import.section(&theirs, "", "", ROOT);
    let named = |path: &str| match theirs.at(path).map(|node| &node.value) {
        Some(Value::Scalar(scalar)) => Some(scalar.text.clone()),
        _ => None,
    };
    let section_named = |path: &str| {
        let target = named(&format!("{path}.{COPY}"))?;
        named(&format!(
            "{}.name",
            target.trim_matches('/').replace('/', ".")
        ))
    };
    let dataset = named("dataset.name").or_else(|| section_named("dataset"));
    let eval_dataset = named("nas.eval.loader.dataset.name")
        .or_else(|| section_named("nas.eval.loader.dataset"))
        .filter(|name| Some(name) != dataset.as_ref());
    import.try_out()?;
    let mut yaml = String::new();
    render(&import.ours, 0, &mut yaml);
    if yaml.is_empty() {
        yaml.push_str("{}\n");
    }
    Ok(ImportedConfig {
        yaml,
        notes: import.notes,
        dataset,
        eval_dataset,
    })
}

/// What becomes of a key.
enum Act {
    /// The same key means the same.
    Keep,
    /// A section with keys of its own.
    Section(Rules),
    /// As `Section`, but null means that there is none, here too.
    SectionOrNull(Rules),
    /// The same value under another key of the same section.
    Move(&'static str),
    /// The same value somewhere else, if the algorithm is this one.
    Of(&'static str, &'static str),
    /// Left out, because …
    LeftOut(&'static str),
    /// Seen to by the section that holds it.
    Seen,
    /// None of the above.
    By(fn(&mut Import<'_>, &Node, Place<'_>)),
}

/// How often values that do not hold are taken out.
const TURNS: usize = 10;

type Rules = &'static [(&'static str, Act)];

/// Where a value comes from and where it would go under the same name.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Dotted, as Archai has it.
    theirs: &'a str,
    ours: &'a str,
}

use Act::{By, Keep, LeftOut, Move, Of, Section, SectionOrNull, Seen};

const DEVICES: &str = "devices, precision and processes are no settings here; see `archai run --device` and `--threads`";
const NEVER_READ: &str = "nothing in Archai reads it";
const RESUME: &str =
    "runs keep their state at the end of each epoch and go on when the command is given again";
const AUTOAUG: &str = "augmentation is not searched for here";
const PARALLEL: &str = "one process trains a network";
const DATA_FILE: &str = "it comes from the data set's own file, which `--datasets` names; `archai datasets` lists those that are known";

const ROOT: Rules = &[
    ("common", Section(COMMON)),
    ("dataset", Section(DATASET)),
    (
        "dataset_search",
        LeftOut("name the data set with `--datasets`"),
    ),
    (
        "dataset_eval",
        LeftOut("name the evaluation's data set with `--eval-dataset`"),
    ),
    (
        "imagenet_dataset",
        LeftOut("name the evaluation's data set with `--eval-dataset`"),
    ),
    (
        "sport8_dataset",
        LeftOut("name the evaluation's data set with `--eval-dataset`"),
    ),
    ("nas", Section(NAS)),
    ("autoaug", LeftOut(AUTOAUG)),
];

const COMMON: Rules = &[
    (
        "experiment_name",
        LeftOut(
            "a run directory is named after algorithm and data set; `--exp-prefix` gives the rest",
        ),
    ),
    ("experiment_desc", LeftOut(NEVER_READ)),
    ("logdir", Keep),
    ("log_prefix", By(log_prefix)),
    ("log_level", Keep),
    ("backup_existing_log_file", LeftOut(NEVER_READ)),
    ("yaml_log", Keep),
    ("seed", By(seed)),
    (
        "tb_enable",
        LeftOut("`--track tensorboard` writes the files of TensorBoard"),
    ),
    (
        "tb_dir",
        LeftOut("`--track tensorboard` writes the files of TensorBoard into the run directory"),
    ),
    ("checkpoint", LeftOut(RESUME)),
    ("resume", LeftOut(RESUME)),
    ("redis", LeftOut(PARALLEL)),
    ("ray", LeftOut(PARALLEL)),
    ("apex", LeftOut(DEVICES)),
    (
        "detect_anomaly",
        LeftOut("nas.*.trainer.on_nan says what a loss that is no number does"),
    ),
    ("smoke_test", LeftOut(AUTOAUG)),
    ("only_eval", LeftOut(AUTOAUG)),
    (
        "toy_mode",
        LeftOut("toy mode has overlays of its own; leave `--full` out"),
    ),
];

const DATASET: Rules = &[
    (COPY, LeftOut("name the data set with `--datasets`")),
    ("name", LeftOut("name the data set with `--datasets`")),
    ("dataroot", LeftOut(DATA_FILE)),
    ("storage_name", LeftOut(DATA_FILE)),
    ("n_classes", LeftOut(DATA_FILE)),
    ("channels", LeftOut(DATA_FILE)),
    ("max_batches", Keep),
];

const NAS: Rules = &[("search", Section(SEARCH)), ("eval", Section(EVAL))];

const SEARCH: Rules = &[
    ("finalizer", By(finalizer)),
    ("data_parallel", LeftOut(PARALLEL)),
    ("checkpoint", LeftOut(RESUME)),
    ("resume", LeftOut(RESUME)),
    ("search_iters", LeftOut(NEVER_READ)),
    ("full_desc_filename", LeftOut(NEVER_READ)),
    ("final_desc_filename", Keep),
    (
        "final_desc_foldername",
        LeftOut("the gallery lies in the run directory"),
    ),
    ("metrics_dir", LeftOut(NEVER_READ)),
    ("pareto", By(pareto)),
    ("model_desc", By(model_desc)),
    ("loader", Section(LOADER)),
    ("trainer", Section(TRAINER)),
    ("seed_train", By(seed_train)),
    ("post_train", Section(TRAINING)),
    ("xnas", By(xnas)),
    ("divnas", By(divnas)),
    ("petridish", By(petridish)),
];

const PARETO: Rules = &[
    ("max_cells", Keep),
    ("max_reductions", Keep),
    ("max_nodes", Keep),
    (
        "enabled",
        LeftOut("seeds of all sizes up to these are always grown"),
    ),
    (
        "summary_filename",
        LeftOut("the front's tables lie in the run directory"),
    ),
];

const XNAS: Rules = &[("to_evict", Keep)];
const DIVNAS: Rules = &[("sigma", Keep), ("archtrainer", Keep)];
const PETRIDISH: Rules = &[
    ("convex_hull_eps", Keep),
    ("max_madd", Keep),
    ("max_hull_points", Keep),
    ("sampling_max_try", LeftOut(NEVER_READ)),
    (
        "max_parent_samples",
        LeftOut("parents are drawn without tries that can fail"),
    ),
    (
        "max_parent_models",
        LeftOut("`max_hull_points` limits the number of networks"),
    ),
    ("checkpoints_foldername", LeftOut(RESUME)),
];
const EVAL_PETRIDISH: Rules = &[(
    "cell_count_scale",
    Of("petridish", "nas.search.petridish.cell_count_scale"),
)];

const EVAL: Rules = &[
    ("full_desc_filename", Keep),
    ("final_desc_filename", Keep),
    (
        "final_desc_foldername",
        LeftOut("the gallery lies in the run directory"),
    ),
    ("model_factory_spec", By(factory)),
    ("final_model_factory", By(factory)),
    ("metric_filename", Keep),
    ("model_filename", Keep),
    ("data_parallel", LeftOut(PARALLEL)),
    ("checkpoint", LeftOut(RESUME)),
    ("resume", LeftOut(RESUME)),
    ("model_desc", By(model_desc)),
    ("loader", Section(LOADER)),
    ("trainer", Section(TRAINER)),
    ("petridish", Section(EVAL_PETRIDISH)),
];

const MODEL_DESC: Rules = &[
    ("dataset", By(dataset)),
    ("n_reductions", Keep),
    ("n_cells", Keep),
    ("max_final_edges", Keep),
    ("model_post_op", Keep),
    ("params", Section(PARAMS)),
    ("aux_weight", Keep),
    ("aux_tower_stride", Keep),
    ("model_stems", Section(STEMS)),
    ("cell", Section(CELL)),
    (
        "num_edges_to_sample",
        LeftOut("drawn nodes have `max_final_edges` edges; set that"),
    ),
    (
        "n_cells_multiplier",
        LeftOut("nas.search.petridish.cell_count_scale scales cells"),
    ),
    (
        "n_reductions_multiplier",
        LeftOut("reductions are not scaled"),
    ),
    // v0.4 and v0.5
    ("n_nodes", Move("cell.n_nodes")),
    ("cell_post_op", Move("cell.cell_post_op")),
    ("stem_multiplier", Move("model_stems.stem_multiplier")),
    ("init_node_ch", Move("model_stems.init_node_ch")),
    ("model_stem0_op", Seen),
    ("model_stem1_op", Seen),
];
const PARAMS: Rules = &[("gs_num_sample", Of("gs", "nas.search.gs.num_sample"))];
const STEMS: Rules = &[
    ("ops", Keep),
    ("stem_multiplier", Keep),
    ("init_node_ch", Keep),
];
const CELL: Rules = &[
    ("n_nodes", Keep),
    ("cell_post_op", Keep),
    (
        "gs",
        Section(&[("num_sample", Of("gs", "nas.search.gs.num_sample"))]),
    ),
];

const TRAINING: Rules = &[("loader", Section(LOADER)), ("trainer", Section(TRAINER))];

const LOADER: Rules = &[
    ("apex", LeftOut(DEVICES)),
    ("aug", By(augmentation)),
    ("cutout", Keep),
    ("load_train", Keep),
    (
        "batch",
        LeftOut("Archai reads `train_batch` and never this key; set `train_batch` if you mean it"),
    ),
    ("train_batch", Keep),
    ("train_workers", By(workers)),
    ("test_workers", By(workers)),
    ("load_test", Keep),
    ("test_batch", Keep),
    ("val_ratio", Keep),
    (
        "val_fold",
        LeftOut("a validation share is drawn by the seed, there are no folds"),
    ),
    (
        "cv_num",
        LeftOut("a validation share is drawn by the seed, there are no folds"),
    ),
    ("dataset", By(dataset)),
];

const TRAINER: Rules = &[
    ("apex", LeftOut(DEVICES)),
    ("aux_weight", Keep),
    ("drop_path_prob", Keep),
    ("grad_clip", Keep),
    ("l1_alphas", Keep),
    ("logger_freq", Keep),
    ("title", Keep),
    ("epochs", Keep),
    ("batch_chunks", Keep),
    (
        "plotsdir",
        LeftOut("`archai desc draw` draws a found description"),
    ),
    ("lossfn", By(loss)),
    ("optimizer", By(optimizer)),
    ("alpha_optimizer", By(optimizer)),
    ("lr_schedule", By(schedule)),
    ("alpha_lr_schedule", By(schedule)),
    ("validation", Section(VALIDATION)),
];

const VALIDATION: Rules = &[
    ("title", Keep),
    ("logger_freq", Keep),
    ("batch_chunks", Keep),
    ("freq", Keep),
    ("lossfn", By(loss)),
];

const LOSS: Rules = &[("type", By(loss_type)), ("smoothing", Keep)];

const OPTIMIZER: Rules = &[
    ("type", Keep),
    ("lr", Keep),
    ("decay", Keep),
    ("decay_bn", By(decay_bn)),
    ("momentum", Keep),
    ("nesterov", Keep),
    ("betas", Keep),
    ("eps", Keep),
    (
        "clip",
        LeftOut("gradients are clipped by the trainer's `grad_clip`"),
    ),
    ("warmup", LeftOut("Archai reads it in `lr_schedule` alone")),
];

const SCHEDULE: Rules = &[
    ("type", Keep),
    ("min_lr", Keep),
    ("milestones", Keep),
    ("decay_period", Keep),
    ("gamma", Keep),
    ("epochs", LeftOut("a schedule is as long as the training")),
    ("warmup", SectionOrNull(WARMUP)),
];
const WARMUP: Rules = &[("multiplier", Keep), ("epochs", Keep)];

/// Keys of an optimiser or a schedule that belong to some of its types: (key, types).
const OWN_KEYS: [(&str, &[&str]); 8] = [
    ("momentum", &["sgd", "rmsprop"]),
    ("nesterov", &["sgd"]),
    ("betas", &["adam", "adamw"]),
    ("eps", &["adam", "adamw", "rmsprop"]),
    ("min_lr", &["cosine"]),
    ("milestones", &["multi_step"]),
    ("decay_period", &["step"]),
    ("gamma", &["multi_step", "step"]),
];

fn translated() -> Origin {
    Origin::Program("the translation".into())
}

fn join(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}

/// The text of a scalar.
fn text_of(node: Option<&Node>) -> Option<&str> {
    match &node?.value {
        Value::Scalar(scalar) => Some(scalar.text.as_str()),
        _ => None,
    }
}

fn kind_of(node: &Node) -> Option<Kind> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.kind()),
        _ => None,
    }
}

fn is_null(node: &Node) -> bool {
    kind_of(node) == Some(Kind::Null)
}

struct Import<'a> {
    target: ImportTarget<'a>,
    /// The defaults.
    base: Node,
    ours: Node,
    notes: Vec<ImportNote>,
}

impl Import<'_> {
    fn note(&mut self, node: &Node, key: &str, message: impl Into<String>) {
        self.notes.push(ImportNote {
            origin: Some(node.origin.clone()),
            // A key may be as long as a file.
            key: key.chars().take(200).collect(),
            message: message.into(),
        });
    }
    fn left_out(&mut self, node: &Node, key: &str, why: &str) {
        self.note(node, key, format!("left out: {why}"));
    }

    /// Puts a value at a dotted path.
    fn put(&mut self, path: &str, node: Node) {
        let mut place = &mut self.ours;
        for key in path.split('.') {
            if !matches!(place.value, Value::Section(_)) {
                *place = Node::section(translated());
            }
            let Value::Section(map) = &mut place.value else {
                return;
            };
            place = map
                .entry(key.to_owned())
                .or_insert_with(|| Node::section(translated()));
        }
        *place = node;
    }

    /// Keeps a value as it is, or as the copy of another one.
    fn keep(&mut self, node: &Node, theirs: &str, ours: &str) {
        let mut kept = node.clone();
        if let Value::Scalar(scalar) = &mut kept.value
            && let Some(path) = scalar.copied().map(copied)
        {
            match path {
                Ok(path) => scalar.text = format!("_copy: {path}"),
                Err(why) => return self.left_out(node, theirs, &why),
            }
        }
        self.put(ours, kept);
    }

    fn section(&mut self, node: &Node, theirs: &str, ours: &str, rules: Rules) {
        let Value::Section(map) = &node.value else {
            // The copy of a section, or null for none.
            if matches!(&node.value, Value::Scalar(scalar) if scalar.copied().is_some()) {
                return self.keep(node, theirs, ours);
            }
            let found = node.found();
            return self.left_out(
                node,
                theirs,
                &format!("it is {found}, and a section was expected"),
            );
        };
        for (key, child) in map {
            let (from, to) = (join(theirs, key), join(ours, key));
            match rules.iter().find(|(known, _)| known == key) {
                Some((_, act)) => self.act(act, child, &from, &to, ours),
                None if key == COPY => self.copy_of_section(child, &from, &to),
                None => self.unknown(child, key, &from, rules),
            }
        }
    }

    fn act(&mut self, act: &Act, child: &Node, from: &str, to: &str, section: &str) {
        match act {
            Keep => self.keep(child, from, to),
            Section(rules) => self.section(child, from, to, rules),
            SectionOrNull(_) if is_null(child) => self.put(to, child.clone()),
            SectionOrNull(rules) => self.section(child, from, to, rules),
            Move(key) => self.keep(child, from, &join(section, key)),
            Of(algo, path) if *algo == self.target.algo => self.keep(child, from, path),
            Of(algo, _) => {
                self.left_out(
                    child,
                    from,
                    &format!("it belongs to `{algo}`; see `--algo {algo}`"),
                );
            }
            LeftOut(why) => self.left_out(child, from, why),
            Seen => {}
            By(translate) => translate(
                self,
                child,
                Place {
                    theirs: from,
                    ours: to,
                },
            ),
        }
    }

    /// `_copy` in a section.
    fn copy_of_section(&mut self, child: &Node, from: &str, to: &str) {
        let Some(path) = text_of(Some(child)) else {
            return self.left_out(child, from, "a copy names a path");
        };
        match copied(path) {
            Ok(path) => {
                let origin = child.origin.clone();
                self.put(to, Node::scalar(path, Style::Quoted, origin));
            }
            Err(why) => self.left_out(child, from, &why),
        }
    }

    fn unknown(&mut self, child: &Node, key: &str, from: &str, rules: Rules) {
        // Comparing takes time, and a hostile file has many keys.
        let near = match self.notes.len() < 100 && key.len() < 100 {
            true => similar(key, rules.iter().map(|(known, _)| *known)),
            false => Vec::new(),
        };
        let near = did_you_mean(&near).map_or_else(String::new, |near| format!("; {near}"));
        let why = format!("it is no key of Archai's that is known here{near}");
        self.left_out(child, from, &why);
    }

    /// Lays the translation over the defaults, and takes out what does not hold there.
    fn try_out(&mut self) -> Result<(), ConfigErrors> {
        let mut left = Vec::new();
        // Wrong values are found together, wrong copies one by one.
        for _ in 0..TURNS {
            let mut whole = self.base.clone();
            whole.merge(self.ours.clone());
            let tree = resolve(whole)
                .map_err(|error| vec![error])
                .and_then(|root| complete(root, self.target.schema));
            left = match tree {
                Ok(tree) => {
                    let problems = tree.settings().err().map_or_else(Vec::new, |e| e.0);
                    self.notes
                        .extend(problems.into_iter().map(|error| ImportNote {
                            origin: error.origin,
                            key: error.key,
                            message: format!("to be mended before a run: {}", error.message),
                        }));
                    return Ok(());
                }
                Err(errors) => errors,
            };
            let mut taken = Vec::new();
            for error in &left {
                taken.extend(self.take_out(error, &taken));
            }
            if taken.is_empty() {
                break;
            }
        }
        Err(ConfigErrors::distinct(left))
    }

    /// Takes out the value that an error is about, and gives its path. `taken` are those of this turn: an error about a part of
    /// one is settled.
    fn take_out(&mut self, error: &ConfigError, taken: &[String]) -> Option<String> {
        let is_within = |above: &String| {
            let rest = error.key.strip_prefix(above.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if taken.iter().any(is_within) {
            return None;
        }
        // A value that copies another one has the other's origin, so its own place comes first.
        let at_key = self.ours.at(&error.key);
        let is_value = at_key.is_some_and(|node| !matches!(node.value, Value::Section(_)));
        let key = match &error.origin {
            _ if is_value && remove_path(&mut self.ours, &error.key) => error.key.clone(),
            Some(origin @ Origin::File { .. }) => remove_origin(&mut self.ours, origin, "")?,
            // A section that lacks a key is to blame as a whole.
            _ => {
                let mut path = error.key.as_str();
                while !remove_path(&mut self.ours, path) {
                    path = path.rsplit_once('.')?.0;
                }
                path.to_owned()
            }
        };
        self.notes.push(ImportNote {
            origin: error.origin.clone(),
            key: key.clone(),
            message: format!("left out: {}", error.message),
        });
        Some(key)
    }
}

/// The path of a copy. Early versions leave out the slash at its start.
fn copied(path: &str) -> Result<String, String> {
    let tops = ["common/", "dataset", "nas/", "autoaug/"];
    let path = match tops.iter().any(|top| path.starts_with(top)) {
        true => format!("/{path}"),
        false => path.to_owned(),
    };
    let known = !path.starts_with('/') || path == "/dataset" || path.starts_with("/nas/");
    match known {
        true => Ok(path),
        false => Err(format!("what it copies ({path}) is not carried over")),
    }
}

/// Removes the first entry that was written at a place, or whose list has an item from there, and gives its path.
fn remove_origin(node: &mut Node, origin: &Origin, path: &str) -> Option<String> {
    let Value::Section(map) = &mut node.value else {
        return None;
    };
    let found = map.iter().find(|(_, child)| is_from(child, origin));
    if let Some(key) = found.map(|(key, _)| key.clone()) {
        map.shift_remove(&key);
        return Some(join(path, &key));
    }
    map.iter_mut()
        .find_map(|(key, child)| remove_origin(child, origin, &join(path, key)))
}

fn is_from(node: &Node, origin: &Origin) -> bool {
    let within = match &node.value {
        Value::List(items) => items.iter().any(|item| is_from(item, origin)),
        Value::Scalar(_) | Value::Section(_) => false,
    };
    within || node.origin == *origin
}

fn remove_path(node: &mut Node, path: &str) -> bool {
    let Value::Section(map) = &mut node.value else {
        return false;
    };
    match path.split_once('.') {
        Some((key, rest)) => map
            .get_mut(key)
            .is_some_and(|child| remove_path(child, rest)),
        None => map.shift_remove(path).is_some(),
    }
}

fn log_prefix(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match text_of(Some(node)) {
        Some("") => import.left_out(node, at.theirs, "logs are always written, and need a name"),
        _ => import.keep(node, at.theirs, at.ours),
    }
}

/// Archai has a number with a point and cuts off what follows it.
fn seed(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match kind_of(node) {
        Some(Kind::Float(seed)) if (0.0..9.0e15).contains(&seed) => {
            if seed.fract() != 0.0 {
                let message = format!("{seed} became {}: a seed is a whole number", seed.trunc());
                import.note(node, at.theirs, message);
            }
            let whole = Node::scalar(
                format!("{}", seed.trunc()),
                Style::Plain,
                node.origin.clone(),
            );
            import.put(at.ours, whole);
        }
        _ => import.keep(node, at.theirs, at.ours),
    }
}

fn finalizer(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match text_of(Some(node)) {
        Some("") => {
            let origin = node.origin.clone();
            import.put(at.ours, Node::scalar("default", Style::Plain, origin));
        }
        Some("default" | "random" | "mi" | "mi_ranked") => {
            import.keep(node, at.theirs, at.ours);
        }
        _ => {
            let why = format!("{} is no finalizer of Archai", node.found());
            import.left_out(node, at.theirs, &why);
        }
    }
}

fn pareto(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match import.target.algo {
        "petridish" => import.section(node, at.theirs, "nas.search.petridish.pareto", PARETO),
        _ => import.left_out(
            node,
            at.theirs,
            "a search has one size, that of nas.search.model_desc; petridish alone grows several",
        ),
    }
}

fn seed_train(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match import.target.algo {
        "petridish" => import.section(node, at.theirs, "nas.search.petridish.seed_train", TRAINING),
        _ => import.left_out(node, at.theirs, "petridish alone trains seeds"),
    }
}

/// A section that belongs to one algorithm.
fn of_algorithm(import: &mut Import<'_>, node: &Node, at: Place<'_>, algo: &str, rules: Rules) {
    match import.target.algo == algo {
        true => import.section(node, at.theirs, at.ours, rules),
        false => {
            let why = format!("it belongs to `{algo}`; see `--algo {algo}`");
            import.left_out(node, at.theirs, &why);
        }
    }
}

fn xnas(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    of_algorithm(import, node, at, "xnas", XNAS);
}
fn divnas(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    of_algorithm(import, node, at, "divnas", DIVNAS);
}
fn petridish(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    of_algorithm(import, node, at, "petridish", PETRIDISH);
}

/// `some.module.resnet18`: a network of the zoo for the algorithm `manual`.
fn factory(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    let spec = text_of(Some(node)).unwrap_or_default();
    let name = spec.rsplit('.').next().unwrap_or_default();
    let known = import.target.networks.contains(&name);
    if known && import.target.algo == "manual" {
        let model = Node::scalar(name, Style::Plain, node.origin.clone());
        import.put("nas.search.manual.model", model);
    } else if known {
        let why = format!(
            "`archai run --algos manual` trains a network as it is: nas.search.manual.model={name}"
        );
        import.left_out(node, at.theirs, &why);
    } else if spec.is_empty() {
        import.left_out(
            node,
            at.theirs,
            "it is empty, and the found description is evaluated",
        );
    } else {
        let why = "no network of the zoo has this name; see docs/spaces.md";
        import.left_out(node, at.theirs, why);
    }
}

fn model_desc(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    import.section(node, at.theirs, at.ours, MODEL_DESC);
    // v0.4 and v0.5 have a key for each stem.
    let stems = ["model_stem0_op", "model_stem1_op"].map(|key| (key, node.child(key)));
    match stems {
        [(_, Some(first)), (_, Some(second))] => {
            let list = Node {
                value: Value::List(vec![first.clone(), second.clone()]),
                origin: first.origin.clone(),
            };
            import.put(&join(at.ours, "model_stems.ops"), list);
        }
        stems => {
            for (key, stem) in stems {
                if let Some(stem) = stem {
                    let why = "`model_stems.ops` names both stems at once; set it";
                    import.left_out(stem, &join(at.theirs, key), why);
                }
            }
        }
    }
}

/// The data set of a loader or a model: that of the whole configuration, with another number of batches perhaps.
fn dataset(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    let Some(map) = node.entries() else {
        return import.section(node, at.theirs, at.ours, DATASET);
    };
    for (key, child) in map {
        let (from, to) = (join(at.theirs, key), join(at.ours, key));
        match key.as_str() {
            "max_batches" => import.keep(child, &from, &to),
            COPY if text_of(Some(child)).and_then(|path| copied(path).ok()).as_deref() == Some("/dataset") => {
                import.copy_of_section(child, &from, &to);
            }
            COPY | "name" => import.left_out(
                child,
                &from,
                "name the data set with `--datasets`, and that of the evaluation with `--eval-dataset`",
            ),
            "dataroot" | "storage_name" | "n_classes" | "channels" => {
                import.left_out(child, &from, DATA_FILE);
            }
            _ => import.unknown(child, key, &from, DATASET),
        }
    }
}

/// Archai's names of policies that are the same here, sub-policy for sub-policy. Its other lists have no name here, or are
/// others than those of the papers, which this program has.
const POLICIES: [&str; 5] = [
    "fa_reduced_cifar10",
    "fa_reduced_imagenet",
    "fa_reduced_svhn",
    "arsaug",
    "autoaug_extend",
];

fn augmentation(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    let is_copied = matches!(&node.value, Value::Scalar(scalar) if scalar.copied().is_some());
    match text_of(Some(node)) {
        Some(name) if is_copied || POLICIES.contains(&name) => {
            import.keep(node, at.theirs, at.ours);
        }
        Some(name) if name.is_empty() || is_null(node) => {
            let none = Node::scalar("null", Style::Plain, node.origin.clone());
            import.put(at.ours, none);
        }
        _ => import.left_out(
            node,
            at.theirs,
            "this program has no policy that is the same under that name; set `aug` to one that docs/data.md lists, such as \
             AutoAugment's",
        ),
    }
}

fn workers(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match is_null(node) {
        true => import.left_out(
            node,
            at.theirs,
            "null is four for each GPU there; the default here is four",
        ),
        false => import.keep(node, at.theirs, at.ours),
    }
}

fn loss(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    import.section(node, at.theirs, at.ours, LOSS);
}

fn loss_type(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    if text_of(Some(node)) == Some("CrossEntropyLabelSmooth") {
        import.note(
            node,
            at.theirs,
            "became CrossEntropyLoss with the same `smoothing` s: the right class of n has 1 − s + s/n there, others s/n, \
             where Archai has 1 − s and s/(n − 1); multiply s by n/(n − 1) for the same targets",
        );
        let origin = node.origin.clone();
        import.put(
            at.ours,
            Node::scalar("CrossEntropyLoss", Style::Plain, origin),
        );
    } else {
        import.keep(node, at.theirs, at.ours);
    }
}

/// NaN stands for no value.
fn decay_bn(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    match kind_of(node) {
        Some(Kind::Float(value)) if value.is_nan() => {
            let origin = node.origin.clone();
            import.put(at.ours, Node::scalar("null", Style::Plain, origin));
        }
        _ => import.keep(node, at.theirs, at.ours),
    }
}

fn optimizer(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    if import.target.algo == "xnas" && at.ours.ends_with(".alpha_optimizer") {
        let why = "xnas has no rate for the architecture; it follows from the number of updates";
        return import.left_out(node, at.theirs, why);
    }
    match is_null(node) && at.ours.ends_with(".alpha_optimizer") {
        true => import.put(at.ours, node.clone()),
        false => typed(import, node, at, OPTIMIZER, &["sgd", "adam"]),
    }
}

fn schedule(import: &mut Import<'_>, node: &Node, at: Place<'_>) {
    let of_alphas = at.ours.ends_with(".alpha_lr_schedule");
    if import.target.algo == "xnas" && of_alphas {
        let why = "xnas has no rate for the architecture; it follows from the number of updates";
        return import.left_out(node, at.theirs, why);
    }
    let none = is_null(node) || text_of(node.child("type")) == Some("");
    if none {
        let constant = match of_alphas {
            true => "null",
            false => "constant",
        };
        let value = Node::scalar(constant, Style::Plain, node.origin.clone());
        return match of_alphas {
            true => import.put(at.ours, value),
            false => {
                import.put(&join(at.ours, "type"), value);
                null_others(import, at.ours, SCHEDULE, "constant");
            }
        };
    }
    typed(
        import,
        node,
        at,
        SCHEDULE,
        &["constant", "cosine", "multi_step", "step"],
    );
}

/// A section whose `type` says which of its keys count.
fn typed(import: &mut Import<'_>, node: &Node, at: Place<'_>, rules: Rules, types: &[&str]) {
    let named = text_of(node.child("type")).map(str::to_owned);
    if let (Some(named), Some(kind)) = (&named, node.child("type"))
        && !types.contains(&named.as_str())
    {
        let shown: String = named.chars().take(60).collect();
        let why = format!(
            "its type `{shown}` is not among {}; the defaults stay",
            types.join(", ")
        );
        return import.left_out(kind, at.theirs, &why);
    }
    let Some(kind) = named else {
        return import.section(node, at.theirs, at.ours, rules);
    };
    import.section(node, at.theirs, at.ours, rules);
    for (key, of) in OWN_KEYS {
        if let Some(child) = node.child(key)
            && !of.contains(&kind.as_str())
            && remove_path(&mut import.ours, &join(at.ours, key))
        {
            let why = format!("it has no part in `type: {kind}`");
            import.left_out(child, &join(at.theirs, key), &why);
        }
    }
    null_others(import, at.ours, rules, &kind);
}

/// The defaults may be of another type: what belongs to that one is taken away.
fn null_others(import: &mut Import<'_>, section: &str, rules: Rules, kind: &str) {
    for (key, of) in OWN_KEYS {
        let path = join(section, key);
        let is_other = rules.iter().any(|(known, _)| *known == key) && !of.contains(&kind);
        // A section that the defaults copy may have anything.
        let is_set = match import.base.at(section) {
            Some(defaults) => defaults.child(key).is_some_and(|value| !is_null(value)),
            None => true,
        };
        if is_other && is_set {
            import.put(&path, Node::scalar("null", Style::Plain, translated()));
        }
    }
}

/// A tree of scalars as YAML.
fn render(node: &Node, depth: usize, out: &mut String) {
    let Some(map) = node.entries() else { return };
    for (key, child) in map {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&bare_text(key));
        out.push(':');
        match child.entries() {
            Some(inner) if !inner.is_empty() => {
                out.push('\n');
                render(child, depth + 1, out);
            }
            _ => {
                out.push(' ');
                out.push_str(&flow(child));
                out.push('\n');
            }
        }
    }
}

fn flow(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => bare(scalar),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Section(map) => flow_section(map),
    }
}

fn flow_section(map: &IndexMap<String, Node>) -> String {
    let entries: Vec<String> = map
        .iter()
        .map(|(key, child)| format!("{}: {}", bare_text(key), flow(child)))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn bare(scalar: &Scalar) -> String {
    match scalar.kind() {
        Kind::Null => "null".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Int(_) | Kind::Float(_) => scalar.text.clone(),
        Kind::Text => bare_text(&scalar.text),
    }
}
