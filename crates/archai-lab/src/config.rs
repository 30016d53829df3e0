//! Which configuration a command means: layers, weakest first, from algorithm, data set, mode and files.

use std::path::Path;
use std::sync::Arc;

use archai_algos::{Algorithm, Algorithms, BASE_ALGORITHM};
use archai_engine::experiment::{known_finalizers, space_of};
use archai_engine::{Components, EngineError, OpRegistry};
use archai_spec::config::{
    ConfigError, ConfigErrors, ConfigLoader, ConfigTree, Files, Override, parse_overrides,
    shipped_datasets,
};
use archai_spec::desc::{ModelDesc, build};
use archai_spec::names::unknown;
use archai_spec::settings::{Dataset, OWN_SPACE, Settings};
use archai_spec::spaces;

use crate::error::LabError;
use crate::inputs;
use crate::lab::Lab;
use crate::message::{Message, Term};
use crate::request::RunMode;
use crate::rundir::{CONFIG_FILE, RunDir};

/// What a configuration is made from.
#[derive(Clone, Debug)]
pub struct ConfigRequest<'a> {
    /// All algorithms: their files may be included and named.
    pub algos: &'a Algorithms,
    /// What configurations may name.
    pub components: &'a Components,
    /// The algorithm, whose defaults are the weakest layer.
    pub algo: &'a Algorithm,
    /// The other algorithms of the same request: what is said of their sections is theirs to check.
    pub others: Vec<&'a Algorithm>,
    /// Data set by name or path; none takes the mode's.
    pub dataset: Option<&'a str>,
    /// Another data set for the evaluation.
    pub eval_dataset: Option<&'a str>,
    /// Another space than the algorithm's own, by name.
    pub space: Option<&'a str>,
    /// How much is done.
    pub mode: RunMode,
    /// Files over the defaults.
    pub config: Option<&'a str>,
    /// Files instead of the defaults.
    pub config_only: Option<&'a str>,
    /// Values of the command line.
    pub overrides: Vec<Override>,
    /// The caller's folder, at which relative paths start that no file gives; empty where it is not known, which leaves them
    /// as they are.
    pub folder: &'a Path,
}

impl<'a> ConfigRequest<'a> {
    /// The defaults of an algorithm.
    fn plain(lab: &'a Lab, algo: &'a Algorithm) -> Self {
        ConfigRequest {
            algos: lab.algorithms(),
            components: lab.components(),
            algo,
            others: Vec::new(),
            dataset: None,
            eval_dataset: None,
            space: None,
            mode: RunMode::default(),
            config: None,
            config_only: None,
            overrides: Vec::new(),
            folder: &lab.host().folder,
        }
    }

    /// Loads and checks the configuration. Relative paths of data sets, and of the description that is evaluated, start at the
    /// folder of the file in which they stand.
    ///
    /// # Errors
    /// An unknown data set, space or finalizer, what has no meaning beside `config_only`, and everything that is wrong with
    /// files and overrides.
    pub fn load(self) -> Result<ConfigTree, LabError> {
        let (components, folder) = (self.components, self.folder);
        Ok(inputs::named(inputs::located(
            self.load_as_written()?,
            components,
            folder,
        )))
    }

    /// The same with paths as they were written.
    pub(crate) fn load_as_written(self) -> Result<ConfigTree, LabError> {
        self.check_alone()?;
        let files = archai_algos::files(self.algos, &Files);
        let files = spaces::files(&self.components.spaces, &files);
        let space = match self.space {
            None | Some(OWN_SPACE) => None,
            Some(name) => {
                let known = self.components.spaces.get(name);
                let known = known.map_err(|e| {
                    LabError::request(Message::from(Term::Space).text(format!(": {e}")))
                })?;
                Some(known.as_ref())
            }
        };
        let mut loader = ConfigLoader::new(&files);
        if let Some(only) = self.config_only {
            loader = loader.files(only);
        } else {
            let dataset = self.dataset.unwrap_or(self.mode.dataset());
            loader = loader
                .files(&self.algo.defaults())
                .dataset(&dataset_file(dataset)?);
            if let Some(own_space) = self.algo.space_file() {
                loader = loader.files(own_space);
            }
            if let Some(space) = space {
                loader = loader.files(&spaces::file(space));
            }
            if let Some(overlay) = self.mode.overlay() {
                loader = loader.files(overlay);
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
        let others = self
            .others
            .iter()
            .filter(|other| other.name() != self.algo.name());
        let tree = loader
            .for_others(others.map(|other| other.section()))
            .overrides(self.overrides)
            .load(&self.components.naming(self.algo.schema()))
            .map_err(|errors| name_owners(errors, self.algos, self.algo))?;
        check_names(self.components, self.algo, &tree)?;
        Ok(tree)
    }

    /// A configuration that takes the place of all defaults leaves nothing for what chooses among them.
    fn check_alone(&self) -> Result<(), LabError> {
        if self.config_only.is_none() {
            return Ok(());
        }
        let given = [
            ("a data set", self.dataset.is_some()),
            ("a data set of the evaluation", self.eval_dataset.is_some()),
            ("a space", self.space.is_some()),
            ("the published settings", self.mode == RunMode::Full),
            ("smoke mode", self.mode == RunMode::Smoke),
            ("files over the defaults", self.config.is_some()),
        ];
        let given = given.into_iter().filter(|(_, is_given)| *is_given);
        let names: Vec<&str> = given.map(|(name, _)| name).collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(LabError::request(format!(
                "files that take the place of all defaults (config_only) are the whole configuration; beside them this has no \
                 meaning: {}; leave it out, and write into the files what it would change",
                names.join(", ")
            ))),
        }
    }
}

/// A section that is unknown because its algorithm takes no part is told as such.
fn name_owners(mut errors: ConfigErrors, algos: &Algorithms, algo: &Algorithm) -> ConfigErrors {
    for error in &mut errors.0 {
        let section = |other: &&Arc<Algorithm>| {
            let rest = error.key.strip_prefix(&other.section());
            other.name() != algo.name() && rest.is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        // The section of the algorithm whose defaults others may include is known to all, but they need not have it.
        let is_absent = ["unknown key", "missing key"].map(|what| error.message.starts_with(what));
        if let Some(owner) = algos.iter().find(section)
            && is_absent.contains(&true)
        {
            let (section, owner) = (owner.section(), owner.name());
            error.message = format!(
                "{section} is the section of the algorithm {owner}, which does not run here ({} does); take it out, or run \
                 {owner}, too",
                algo.name()
            );
        }
    }
    errors
}

/// Checks the names that only an algorithm's runner can tell, since it may bring what they mean.
fn check_names(
    components: &Components,
    algo: &Algorithm,
    tree: &ConfigTree,
) -> Result<(), LabError> {
    let settings = tree.settings()?;
    let search = &settings.nas.search;
    let runner = algo.runner(tree)?;
    space_of(components, runner.as_ref(), search)
        .map_err(|e| LabError::request(format!("{}: {e}", algo.name())))?;
    if let Err(unknown) = known_finalizers(components, runner.as_ref()).get(&search.finalizer) {
        let key = "nas.search.finalizer";
        return Err(LabError::from(ConfigErrors(vec![ConfigError {
            origin: tree.origin(key).cloned(),
            key: key.to_string(),
            message: format!("{key}: {unknown}"),
        }])));
    }
    Ok(())
}

/// All ops that a description may name: those of `components`, and those that algorithms bring to their runs, with the name of
/// the algorithm that brings them. Of two that bring one of the same name the first counts.
///
/// # Errors
/// An algorithm whose default settings cannot be used, or that cannot make its ops.
pub fn all_ops(
    algos: &Algorithms,
    components: &Components,
) -> Result<(OpRegistry, Vec<(String, String)>), LabError> {
    let (mut ops, mut brought) = (components.ops.clone(), Vec::new());
    for algo in algos.iter() {
        let request = ConfigRequest {
            algos,
            components,
            algo,
            others: Vec::new(),
            dataset: None,
            eval_dataset: None,
            space: None,
            mode: RunMode::default(),
            config: None,
            config_only: None,
            overrides: Vec::new(),
            folder: Path::new(""),
        };
        let mut with_own = ops.clone();
        match algo.runner(&request.load()?)?.register_ops(&mut with_own) {
            Ok(()) => {}
            Err(EngineError::DuplicateOp(_)) => continue,
            Err(error) => return Err(error.into()),
        }
        let new = with_own.names();
        let new = new.into_iter().filter(|name| !ops.names().contains(name));
        brought.extend(new.map(|name| (name.to_string(), algo.name().to_string())));
        ops = with_own;
    }
    Ok((ops, brought))
}

/// The section of a data set on its own, with the variables in its paths expanded: of one that comes with the program, by its
/// name, or of a user's file, by its path. `overrides` are values over it.
///
/// # Errors
/// An unknown name, a file that cannot be read or used, overrides that do not fit.
pub fn dataset_section(
    lab: &Lab,
    name: &str,
    overrides: Vec<Override>,
) -> Result<Dataset, LabError> {
    check_of_dataset(&overrides)?;
    let algo = lab.algorithms().get(BASE_ALGORITHM);
    let algo = algo.map_err(|e| LabError::request(e.to_string()))?;
    // What trainings do to pictures has no part in the section, and its default may not fit small ones.
    let mut overrides = overrides;
    let off = ["nas.search", "nas.eval"].map(|phase| format!("{phase}.loader.cutout=0"));
    overrides.extend(parse_overrides(&off)?);
    let request = ConfigRequest {
        dataset: Some(name),
        mode: RunMode::Full,
        overrides,
        ..ConfigRequest::plain(lab, algo)
    };
    Ok(expanded(lab, &request.load()?)?.dataset)
}

/// The section of the data set of the evaluation in a run directory, as its configuration has it; none if the directory does
/// not say how it was made. `overrides` are values over it.
///
/// # Errors
/// Files that cannot be read or used, an algorithm that is not known, overrides that do not fit.
pub fn dataset_of_run(
    lab: &Lab,
    dir: &RunDir,
    overrides: Vec<Override>,
) -> Result<Option<Dataset>, LabError> {
    check_of_dataset(&overrides)?;
    let Some(started) = dir.started()? else {
        return Ok(None);
    };
    let algo = lab.algorithms().get(&started.algorithm);
    let algo = algo.map_err(|e| LabError::request(e.to_string()))?;
    let file = dir.file(CONFIG_FILE).to_string_lossy().into_owned();
    let request = ConfigRequest {
        config_only: Some(&file),
        overrides,
        ..ConfigRequest::plain(lab, algo)
    };
    let settings = expanded(lab, &request.load()?)?;
    Ok(Some(settings.nas.eval.loader.dataset))
}

/// The network that the search in a run directory trains, as its configuration builds it; none if the directory does not say
/// how it was made, or if the algorithm makes networks of its own.
///
/// # Errors
/// Files that cannot be read or used, an algorithm that is not known, a network that cannot be built.
pub fn supernet_of_run(lab: &Lab, dir: &RunDir) -> Result<Option<ModelDesc>, LabError> {
    let Some(started) = dir.started()? else {
        return Ok(None);
    };
    let algo = lab.algorithms().get(&started.algorithm);
    let algo = algo.map_err(|e| LabError::request(e.to_string()))?;
    let file = dir.file(CONFIG_FILE).to_string_lossy().into_owned();
    let request = ConfigRequest {
        config_only: Some(&file),
        ..ConfigRequest::plain(lab, algo)
    };
    let tree = request.load()?;
    let settings = expanded(lab, &tree)?;
    let runner = algo.runner(&tree)?;
    if runner.searcher().is_some() {
        return Ok(None);
    }
    let mut ops = lab.components().ops.clone();
    runner.register_ops(&mut ops)?;
    let search = &settings.nas.search;
    let space = space_of(lab.components(), runner.as_ref(), search)?;
    let built = build(
        space.builder(),
        &search.model_desc,
        None,
        false,
        ops.catalog(),
    )?;
    Ok(Some(built.desc))
}

fn check_of_dataset(overrides: &[Override]) -> Result<(), LabError> {
    match overrides.iter().find(|o| !o.key().starts_with("dataset.")) {
        None => Ok(()),
        Some(other) => Err(LabError::request(format!(
            "`{}` has no meaning here: a trained network is used as it is, and of the settings only those of the data set count \
             (dataset.path, for example)",
            other.key()
        ))),
    }
}

/// Settings whose data sets lie where they say. There are no run directories, so that paths in them stay as they are.
fn expanded(lab: &Lab, tree: &ConfigTree) -> Result<Settings, LabError> {
    let mut vars = lab.host().vars.clone();
    for name in ["logdir", "expdir"] {
        vars.insert(name.into(), format!("${name}"));
    }
    Ok(tree.expanded(&vars)?.settings()?)
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
