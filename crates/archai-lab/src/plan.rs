//! What a request comes to: one job for each algorithm on each data set, with its configuration and directories, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_algos::Algorithm;
use archai_engine::ahead::{self, Ahead};
use archai_engine::device::USUAL_DEVICE;
use archai_engine::experiment::{ExperimentRunner, finalizers_of, space_of};
use archai_engine::parts::Parts;
use archai_engine::preview::{self, check_eval, check_search};
use archai_engine::{Components, Compute, Engine, device, export};
use archai_spec::config::{
    ConfigError, ConfigErrors, ConfigTree, Override, Vars, expand, parse_overrides,
};
use archai_spec::desc::{ModelDesc, OpCatalog, build, check_primitives};
use archai_spec::settings::{ForSize, ModelDescSettings, OWN_SPACE, Settings, TemplateUse};

use serde_json::Value;

use crate::config::ConfigRequest;
use crate::data::{Data, Seen};
use crate::dirs::RunDirs;
use crate::error::LabError;
use crate::initial::{INIT_WEIGHTS, InitialWeights};
use crate::inputs;
use crate::lab::Lab;
use crate::message::{Message, Term};
use crate::phase::Phase;
use crate::request::Request;
use crate::rundir::{CONFIG_FILE, FOUND_DESC, RunDir, check_log_prefix};
use crate::started::{DirState, Started};
use crate::table::Table;
use crate::template::Template;
use crate::unread;

/// Everything that a request will run, checked.
pub struct Plan<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) jobs: Vec<Job<'a>>,
    pub(crate) table: Option<Table>,
    pub(crate) search: bool,
    pub(crate) eval: bool,
    pub(crate) fresh: bool,
    pub(crate) allow_changed: bool,
    /// The command line without the program and without what only says how to treat older runs.
    pub(crate) arguments: Vec<String>,
    pub(crate) threads: Option<usize>,
    /// The data sets that it has looked at.
    pub(crate) seen: Seen,
}

/// One algorithm on one data set.
pub(crate) struct Job<'a> {
    pub algo: &'a Algorithm,
    pub tree: ConfigTree,
    /// The same with the paths of the algorithm's own section expanded.
    pub own: ConfigTree,
    /// Of all that changes results: the configuration, and engine and device if they are not the usual ones.
    pub digest: String,
    pub engine: Engine,
    /// The device's name.
    pub device: String,
    pub compute: Compute,
    pub dirs: RunDirs,
    /// Settings whose `$expdir` is the search's directory.
    pub search: Settings,
    /// Settings whose `$expdir` is the evaluation's directory.
    pub eval: Settings,
    /// Sentences about settings that the request gives and nothing reads.
    pub without_effect: Vec<String>,
    /// The weights that the evaluation starts from, if they are given.
    pub initial: Option<InitialWeights>,
    /// The seed, where the request has several.
    pub seed: Option<u64>,
}

/// How much of a request was done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing, by an equal request.
    None,
    /// Some of it.
    Begun,
    /// All phases are finished, whoever did them.
    Complete,
}

impl Lab {
    /// Checks a request: everything that can be known to be wrong before anything runs is an error here.
    ///
    /// # Errors
    /// Unknown names, configurations that cannot be used, runs that would share a directory.
    pub fn plan(&self, request: &Request) -> Result<Plan<'_>, LabError> {
        Plan::new(self, request)
    }
}

impl<'a> Plan<'a> {
    pub(crate) fn new(lab: &'a Lab, request: &Request) -> Result<Self, LabError> {
        if !request.search && !request.eval {
            return Err(LabError::request(
                Message::from(Term::NoSearch)
                    .text(" and ")
                    .term(Term::NoEval)
                    .text(" together leave nothing to do; take one away"),
            ));
        }
        if request.fresh && request.allow_changed {
            return Err(LabError::request(
                Message::from(Term::Fresh)
                    .text(" starts over, ")
                    .term(Term::AllowChanged)
                    .text(" resumes what is there: only one of them has a meaning; take one away"),
            ));
        }
        let seeds = seeds_of(request)?;
        let table = request.table.as_deref().map(Table::open).transpose()?;
        let datasets = match &request.datasets {
            Some(names) => names_of(&Term::Datasets, names)?
                .into_iter()
                .map(Some)
                .collect(),
            None => vec![None],
        };
        let algorithms: Vec<&Algorithm> = names_of(&Term::Algorithms, &request.algorithms)?
            .into_iter()
            .map(|name| {
                let known = lab.algorithms().get(name).map(Arc::as_ref);
                known.map_err(|e| LabError::request(e.to_string()))
            })
            .collect::<Result<_, _>>()?;
        let mut jobs: Vec<Job<'a>> = Vec::new();
        for dataset in datasets {
            for (&algo, &seed) in algorithms
                .iter()
                .flat_map(|a| seeds.iter().map(move |s| (a, s)))
            {
                let config = ConfigRequest {
                    algos: lab.algorithms(),
                    components: lab.components(),
                    algo,
                    others: algorithms.clone(),
                    dataset,
                    eval_dataset: request.eval_dataset.as_deref(),
                    space: request.space.as_deref(),
                    mode: request.mode,
                    config: request.config.as_deref(),
                    config_only: request.config_only.as_deref(),
                    overrides: overrides(request, seed)?,
                    folder: &lab.host().folder,
                };
                let job = config
                    .load()
                    .and_then(|tree| Job::new(lab, algo, tree, request, seed))
                    .map_err(|error| match algorithms.len() {
                        1 => error,
                        _ => of_algorithm(algo, error),
                    })?;
                if jobs.iter().any(|other| other.dirs == job.dirs) {
                    return Err(LabError::request(format!(
                        "two of the runs would share `{}`; data sets (dataset.name) must have different names",
                        job.dirs.search.path().display()
                    )));
                }
                jobs.push(job);
            }
        }
        Ok(Plan {
            lab,
            jobs,
            table,
            search: request.search,
            eval: request.eval,
            fresh: request.fresh,
            allow_changed: request.allow_changed,
            arguments: request.arguments(),
            threads: request.threads,
            seen: Seen::new(&lab.host().cache),
        })
    }

    /// The run directories of each job, in the order in which they run.
    pub fn dirs(&self) -> Vec<&RunDirs> {
        self.jobs.iter().map(|job| &job.dirs).collect()
    }

    /// How much of it was done before.
    ///
    /// # Errors
    /// Run directories whose files cannot be read or are of another version.
    pub fn progress(&self) -> Result<Progress, LabError> {
        let (mut begun, mut complete) = (false, true);
        for job in &self.jobs {
            for phase in Phase::ALL.into_iter().filter(|phase| self.wants(*phase)) {
                match job.dirs.of(phase).state()? {
                    DirState::Finished(started, _) if self.made(&started, job) => begun = true,
                    DirState::Unfinished(started) => {
                        begun |= self.made(&started, job);
                        complete = false;
                    }
                    DirState::Finished(..) | DirState::Absent | DirState::Foreign => {
                        complete = false;
                    }
                }
            }
        }
        Ok(match (begun, complete) {
            (_, true) => Progress::Complete,
            (true, false) => Progress::Begun,
            (false, false) => Progress::None,
        })
    }

    /// The settings of its first job that change results, by dotted names.
    pub(crate) fn settings_of_first(&self) -> Result<BTreeMap<String, Value>, LabError> {
        self.jobs
            .first()
            .map_or_else(|| Ok(BTreeMap::new()), Job::digested)
    }

    /// Whether a phase was asked for.
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        match phase {
            Phase::Search => self.search,
            Phase::Eval => self.eval,
        }
    }

    /// Whether this very command made a run of a job.
    pub(crate) fn made(&self, started: &Started, job: &Job<'_>) -> bool {
        (&started.arguments, &started.folder, &started.digest)
            == (&self.arguments, &self.lab.host().folder, &job.digest)
    }

    /// How a phase of a job is started by this plan.
    pub(crate) fn started(
        &self,
        job: &Job<'_>,
        phase: Phase,
        given: Option<&str>,
    ) -> Result<Started, LabError> {
        let host = self.lab.host();
        Ok(Started {
            algorithm: job.algo.name().to_string(),
            engine: job.engine.to_string(),
            device: job.device.clone(),
            eval_follows: self.search && self.eval,
            digest: job.digest.clone(),
            given_desc: given.map(str::to_string),
            settings: job.digested()?,
            data: self.data(job, phase)?,
            ..Started::new(phase, &host.version, &self.arguments, &host.folder)
        })
    }

    /// What the data of a phase hold, all of which is read the first time.
    ///
    /// # Errors
    /// Data that are not there, damaged, or other than the settings say.
    pub(crate) fn data(&self, job: &Job<'_>, phase: Phase) -> Result<Data, LabError> {
        let settings = job.of(phase);
        (self.seen)
            .of_phase(self.lab.components(), settings, phase)
            .map(|(data, _)| data)
    }

    /// What is to be said of the data of a phase.
    ///
    /// # Errors
    /// As [`Plan::data`].
    pub(crate) fn notes_on_data(
        &self,
        job: &Job<'_>,
        phase: Phase,
    ) -> Result<Vec<String>, LabError> {
        let settings = job.of(phase);
        (self.seen)
            .of_phase(self.lab.components(), settings, phase)
            .map(|(_, notes)| notes)
    }

    /// Checks that this plan works in `dir`, so that executing it resumes the run there.
    ///
    /// # Errors
    /// It works elsewhere: the directory was moved, or is of another command.
    pub fn check_works_in(&self, dir: &Path) -> Result<(), LabError> {
        let is_dir = |own: &RunDir| own.path().canonicalize().is_ok_and(|own| own == dir);
        let mut dirs = self.jobs.iter().map(|job| &job.dirs);
        if dirs.any(|dirs| is_dir(&dirs.search) || is_dir(&dirs.eval)) {
            return Ok(());
        }
        let places = self.jobs.iter().map(|job| job.dirs.search.path().display());
        let places: Vec<String> = places.map(|place| place.to_string()).collect();
        Err(LabError::request(format!(
            "the command that made `{}` works in {}; move the directory (and the one of its other phase) back to go on",
            dir.display(),
            places.join(", ")
        )))
    }
}

impl<'a> Job<'a> {
    fn new(
        lab: &Lab,
        algo: &'a Algorithm,
        tree: ConfigTree,
        request: &Request,
        seed: Option<u64>,
    ) -> Result<Self, LabError> {
        let settings = tree.settings()?;
        let wanted = [
            ("nas.search.loader.dataset.path", request.search),
            ("nas.eval.loader.dataset.path", request.eval),
            (
                "nas.eval.final_desc_filename",
                request.eval && !request.search,
            ),
            (INIT_WEIGHTS, request.eval),
        ];
        let wanted = wanted
            .into_iter()
            .filter_map(|(key, wanted)| wanted.then_some(key));
        let wanted: Vec<&str> = wanted.collect();
        inputs::check_starts(&tree, &wanted, &lab.host().folder)?;
        let mut vars: Vars = lab.host().vars.clone();
        let logdir = expand(&settings.common.logdir, &vars).map_err(|e| {
            let what = format!("common.logdir: {e}; or give the folder with ");
            LabError::request(Message::from(what).term(Term::Logdir))
        })?;
        vars.insert("logdir".into(), logdir.clone());
        let space = settings.nas.search.space.as_str();
        let dirs = RunDirs::new(
            Path::new(&logdir),
            &in_space(algo, space, "-"),
            &settings.dataset.name,
            &match seed {
                Some(seed) => format!("{}_s{seed}", request.exp_prefix),
                None => request.exp_prefix.clone(),
            },
        )?;
        if let Some(seed) = seed.filter(|seed| *seed != settings.common.seed) {
            return Err(LabError::request(
                Message::from(Term::Seeds).text(format!(
                    " asks for a run with seed {seed}, but common.seed is set to {}; leave one of them out",
                    settings.common.seed
                )),
            ));
        }
        let in_dir = |dir: &RunDir| {
            let mut vars = vars.clone();
            vars.insert("expdir".into(), dir.path().to_string_lossy().into_owned());
            vars
        };
        let expanded = |dir: &RunDir| -> Result<Settings, LabError> {
            Ok(tree.expanded(&in_dir(dir))?.settings()?)
        };
        let (search, eval) = (expanded(&dirs.search)?, expanded(&dirs.eval)?);
        check_logs(&dirs, &search, &eval)?;
        check_places(&dirs, &search, &eval, request)?;
        let section = format!("nas.search.{}", algo.name());
        let own = tree.with_expanded_section(&section, &in_dir(&dirs.search))?;
        let components = lab.components();
        check_parts(components, algo, &own, &settings, request)?;
        let without_effect = without_effect(algo, &own, &settings, request)?;
        let (device, engine) = (request.device.clone(), request.engine);
        let compute = device::open(&components.devices, &device, engine).map_err(|e| {
            let text = e.to_string();
            let problem = text.strip_prefix("device").unwrap_or(&text);
            LabError::request(Message::from(Term::Device).text(problem))
        })?;
        let mut digest = tree.digest()?;
        if engine != Engine::default() {
            digest.push_str(&format!("+{engine}"));
        }
        if device != USUAL_DEVICE {
            digest.push_str(&format!("+{device}"));
        }
        let initial = match request.eval {
            true => InitialWeights::of(&eval, request.search)?,
            false => None,
        };
        if let Some(initial) = &initial {
            digest.push_str(&format!("+weights {:.16}", initial.digest));
        }
        Ok(Job {
            algo,
            tree,
            own,
            digest,
            engine,
            device,
            compute,
            dirs,
            search,
            eval,
            without_effect,
            initial,
            seed,
        })
    }

    /// All settings that change results, by dotted names; the weights that an evaluation starts from by their digest.
    pub fn digested(&self) -> Result<BTreeMap<String, Value>, LabError> {
        let mut all = self.tree.digested()?;
        if let Some(initial) = &self.initial {
            all.insert(INIT_WEIGHTS.to_string(), initial.digest.clone().into());
        }
        Ok(all)
    }

    /// The algorithm, with the settings of its own section.
    pub fn runner(&self) -> Result<Box<dyn ExperimentRunner>, LabError> {
        Ok(self.algo.runner(&self.own)?)
    }

    /// The folder of its run directories.
    pub fn logdir(&self) -> &Path {
        self.dirs.search.path().parent().unwrap_or(Path::new("."))
    }

    /// The description that is evaluated without a search.
    pub fn given(&self, components: &Components) -> Result<(Template, ModelDesc), LabError> {
        let runner = self.runner()?;
        let mut ops = components.ops.clone();
        runner.register_ops(&mut ops)?;
        Template::without_search(&self.dirs, &self.search, &self.eval, ops.catalog())
    }

    /// Checks that a description that is given can be scaled up for the evaluation.
    pub fn check_given(
        &self,
        components: &Components,
        path: &Path,
        desc: &ModelDesc,
    ) -> Result<(), LabError> {
        let runner = self.runner()?;
        let runner = runner.as_ref();
        let mut ops = components.ops.clone();
        runner.register_ops(&mut ops)?;
        let space = space_of(components, runner, &self.eval.nas.search)?;
        let ahead = Ahead {
            settings: &self.eval,
            space: space.as_ref(),
            catalog: ops.catalog(),
        };
        let built = preview::evaluated(&ahead, runner, desc).map_err(|e| {
            LabError::request(format!("`{}` cannot be evaluated: {e}", path.display()))
        })?;
        let formats = export::chosen(&components.exporters, &self.eval.nas.eval)?;
        export::check_expressed(&formats, &built.desc, ops.catalog())?;
        self.check_start(&built.desc, ops.catalog())
    }

    /// Checks that the network of an evaluation can start from the weights that are given, and has the parts that are frozen or
    /// learn at rates of their own.
    fn check_start(&self, desc: &ModelDesc, catalog: &OpCatalog) -> Result<(), LabError> {
        let parts = Parts::new(&self.eval.nas.eval)?;
        if self.initial.is_none() && parts.is_usual() {
            return Ok(());
        }
        let graph = desc.lower(catalog).map_err(LabError::caused)?;
        let params = || graph.layers.iter().flat_map(|layer| &layer.params);
        let learnt = params().filter(|param| param.kind.is_learnt());
        let learnt: Vec<&str> = learnt.map(|param| param.name.as_str()).collect();
        let all: Vec<&str> = params().map(|param| param.name.as_str()).collect();
        parts.check(&learnt, &all)?;
        match &self.initial {
            Some(initial) => initial.check(desc, catalog),
            None => Ok(()),
        }
    }

    /// The settings of a phase.
    fn of(&self, phase: Phase) -> &Settings {
        match phase {
            Phase::Search => &self.search,
            Phase::Eval => &self.eval,
        }
    }

    /// Names of the log files in each of its directories.
    pub fn log_names(&self) -> Vec<String> {
        let files = self.dirs.search.logs_of(&self.search.common);
        let names = files.iter().filter_map(|path| path.file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// `darts on cifar10`, or `darts on cifar10, seed 3` where there are several.
    pub fn title(&self) -> String {
        let (search, eval) = (
            &self.search.dataset.name,
            &self.eval.nas.eval.loader.dataset.name,
        );
        let name = in_space(self.algo, &self.search.nas.search.space, " in ");
        let task = if search == eval {
            format!("{name} on {search}")
        } else {
            format!("{name} on {search}, evaluated on {eval}")
        };
        self.seed
            .map_or(task.clone(), |seed| format!("{task}, seed {seed}"))
    }
}

/// Checks that the logs lie in the run's directories, beside its other files.
fn check_logs(dirs: &RunDirs, search: &Settings, eval: &Settings) -> Result<(), LabError> {
    let common = &search.common;
    check_log_prefix(&common.log_prefix)
        .map_err(|why| LabError::request(format!("common.log_prefix: {why}")))?;
    let other = [
        dirs.search.file(CONFIG_FILE),
        PathBuf::from(&search.nas.search.final_desc_filename),
        dirs.eval.file(CONFIG_FILE),
        dirs.eval.file(FOUND_DESC),
        PathBuf::from(&eval.nas.eval.full_desc_filename),
        PathBuf::from(&eval.nas.eval.metric_filename),
    ];
    for dir in [&dirs.search, &dirs.eval] {
        if let Some(log) = dir.logs_of(common).iter().find(|log| other.contains(log)) {
            return Err(LabError::request(format!(
                "common.log_prefix: `{}` gives a log the name of another file of the run, `{}`; choose another name",
                common.log_prefix,
                log.display()
            )));
        }
    }
    Ok(())
}

/// Keys below `nas.eval.model_desc` that count only where a description is scaled.
const OF_SCALING: [&str; 8] = [
    "n_cells",
    "n_reductions",
    "max_final_edges",
    "model_post_op",
    "aux_tower_stride",
    "aux_tower_second_norm",
    "model_stems",
    "cell",
];

/// Checks that the folders are there in which the files of a run will lie that its settings name: the run directory, or one of
/// the user's.
fn check_places(
    dirs: &RunDirs,
    search: &Settings,
    eval: &Settings,
    request: &Request,
) -> Result<(), LabError> {
    let (search, eval) = (&search.nas.search, &eval.nas.eval);
    let found = (
        "nas.search.final_desc_filename",
        &search.final_desc_filename,
    );
    let trained = [
        ("nas.eval.full_desc_filename", &eval.full_desc_filename),
        ("nas.eval.metric_filename", &eval.metric_filename),
        ("nas.eval.model_filename", &eval.model_filename),
    ];
    let searched = (&dirs.search, request.search, vec![found]);
    let evaluated = (&dirs.eval, request.eval, trained.to_vec());
    for (dir, wanted, files) in [searched, evaluated] {
        for (key, file) in files.into_iter().filter(|_| wanted) {
            let folder = Path::new(file).parent().unwrap_or(Path::new(""));
            let is_there = folder.as_os_str().is_empty() || folder.is_dir();
            if folder != dir.path() && !is_there {
                return Err(LabError::request(format!(
                    "{key}: there is no folder `{}`; make it first, or name a file in the run directory, such as $expdir/NAME",
                    folder.display()
                )));
            }
        }
    }
    Ok(())
}

/// What the request sets and nothing reads.
fn without_effect(
    algo: &Algorithm,
    tree: &ConfigTree,
    settings: &Settings,
    request: &Request,
) -> Result<Vec<String>, LabError> {
    // A configuration that is given as a whole holds everything, whoever reads it.
    if request.config_only.is_some() {
        return Ok(Vec::new());
    }
    let mut keys: Vec<String> = Vec::new();
    if request.search {
        let unread = algo.runner(tree)?.unread(&settings.nas.search);
        keys.extend(unread.into_iter().map(|key| format!("nas.search.{key}")));
        // Another algorithm of the request may read it.
        let read = |section: &&str| {
            let mut names = request.algorithms.iter();
            names.any(|name| section.strip_prefix("nas.search.") == Some(name.trim()))
        };
        let unread = algo.unread_section().filter(|section| !read(section));
        keys.extend(unread.map(str::to_string));
    }
    if request.eval && settings.nas.eval.template != TemplateUse::Scale {
        keys.extend(OF_SCALING.map(|key| format!("nas.eval.model_desc.{key}")));
    }
    let config = request.config.as_deref();
    Ok(unread::warnings(tree, &keys, algo.name(), config))
}

/// Checks that all parts which the settings name are there and fit together, as far as that can be known without data: before
/// there is a directory.
fn check_parts(
    components: &Components,
    algo: &Algorithm,
    tree: &ConfigTree,
    settings: &Settings,
    request: &Request,
) -> Result<(), LabError> {
    let (search, eval) = (&settings.nas.search, &settings.nas.eval);
    let runner = algo.runner(tree)?;
    let runner = runner.as_ref();
    let space = space_of(components, runner, search)?;
    let mut ops = components.ops.clone();
    runner.register_ops(&mut ops)?;
    let catalog = ops.catalog();
    if request.search {
        finalizers_of(components, runner, search, settings.common.seed)?;
        check_search(components, runner, settings)?;
        check_ops("nas.search.model_desc", &search.model_desc, catalog)?;
        check_primitives(&search.model_desc, space.builder(), catalog).map_err(|e| {
            let key = "nas.search.model_desc.primitives";
            let whose = match search.space.as_str() {
                OWN_SPACE => algo.name(),
                space => space,
            };
            ConfigErrors(vec![ConfigError {
                origin: tree.origin(key).cloned(),
                key: key.to_string(),
                message: format!("nas.search.model_desc.{e} (space of {whose})"),
            }])
        })?;
        // A searcher of the algorithm's own makes networks of its own.
        if runner.searcher().is_none() {
            build(space.builder(), &search.model_desc, None, false, catalog).map_err(|e| {
                LabError::request(format!(
                    "the supernet of {} cannot be built from nas.search.model_desc: {e}{}",
                    algo.name(),
                    for_size("nas.search.model_desc", &search.model_desc)
                ))
            })?;
        }
    }
    if request.eval {
        check_ops("nas.eval.model_desc", &eval.model_desc, catalog)?;
        check_eval(settings)?;
    }
    if request.search && request.eval {
        runner.check_eval(eval)?;
        let ahead = Ahead {
            settings,
            space: space.as_ref(),
            catalog,
        };
        check_evaluated(algo.name(), &ahead, runner)?;
        check_expressed(components, &ahead, runner)?;
    }
    if request.table.is_some() && !Table::knows(space.as_ref(), &search.model_desc, catalog) {
        return Err(LabError::request(
            Message::from(Term::Table)
                .text(format!(
                    " knows the cells of NAS-Bench-201, but {} searches in its own space; add ",
                    algo.name()
                ))
                .term(Term::Space)
                .text(" nasbench201, or leave ")
                .term(Term::Table)
                .text(" out"),
        ));
    }
    export::chosen(&components.exporters, eval)?;
    Ok(())
}

/// Checks that what the search may find can be scaled up for the evaluation: found out only then, it would cost a search.
fn check_evaluated(
    algorithm: &str,
    ahead: &Ahead<'_>,
    runner: &dyn ExperimentRunner,
) -> Result<(), LabError> {
    let found = runner.preview(ahead).map_err(|e| {
        LabError::request(format!(
            "no network that {algorithm} may find can be built from nas.search.model_desc: {e}"
        ))
    })?;
    let mut first = None;
    for found in &found {
        match preview::evaluated(ahead, runner, found) {
            // What is wrong with the sizes is wrong with every network.
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        None => Ok(()),
        Some(error) => Err(LabError::request(format!(
            "what {algorithm} finds could not be evaluated, because its network cannot be built from nas.eval.model_desc: {error}{}",
            for_size("nas.eval.model_desc", &ahead.settings.nas.eval.model_desc)
        ))),
    }
}

/// What fits the size of the images, where the settings are others.
fn for_size(section: &str, settings: &ModelDescSettings) -> String {
    let missing = ForSize::missing_in(settings);
    if missing.is_empty() {
        return String::new();
    }
    let [height, width] = settings.dataset.size;
    let missing = missing
        .iter()
        .map(|(key, value)| format!("{section}.{key}={value}"));
    format!(
        "\n  for images of {height}×{width} pixels these settings fit: {}",
        missing.collect::<Vec<_>>().join(" ")
    )
}

/// Checks that the formats of the trained network can express whatever the search may find.
fn check_expressed(
    components: &Components,
    ahead: &Ahead<'_>,
    runner: &dyn ExperimentRunner,
) -> Result<(), LabError> {
    let formats = export::chosen(&components.exporters, &ahead.settings.nas.eval)?;
    let mut found = ahead::of_each_op(ahead);
    found.extend(runner.preview(ahead)?);
    // One that cannot be built is no network that is found.
    let scaled = found
        .iter()
        .filter_map(|found| preview::evaluated(ahead, runner, found).ok());
    for built in scaled {
        export::check_expressed(&formats, &built.desc, ahead.catalog)?;
    }
    Ok(())
}

/// Checks that the ops that the settings of a network name are there.
fn check_ops(
    section: &str,
    settings: &ModelDescSettings,
    catalog: &OpCatalog,
) -> Result<(), LabError> {
    let [first, second] = &settings.model_stems.ops;
    for (key, op) in [
        ("model_stems.ops.0", first),
        ("model_stems.ops.1", second),
        ("model_post_op", &settings.model_post_op),
        ("cell.cell_post_op", &settings.cell.cell_post_op),
    ] {
        (catalog.get(op)).map_err(|e| LabError::request(format!("{section}.{key}: {e}")))?;
    }
    Ok(())
}

/// `darts`, or `darts-nasbench201`: an algorithm, and the space if it is not its own.
fn in_space(algo: &Algorithm, space: &str, between: &str) -> String {
    match space {
        OWN_SPACE => algo.name().to_string(),
        other => format!("{}{between}{other}", algo.name()),
    }
}

/// The single settings of a request, the weaker ones first.
fn overrides(request: &Request, seed: Option<u64>) -> Result<Vec<Override>, LabError> {
    let mut given = Vec::new();
    if let Some(dir) = &request.logdir {
        // Quoted, so that a path which looks like a list or a number stays a text.
        let value = serde_json::Value::from(dir.as_str()).to_string();
        given.push(Override::new(
            "common.logdir",
            &value,
            &format!("--logdir {dir}"),
        ));
    }
    if let Some(seed) = seed.or(request.seed) {
        let flag = format!("--seed {seed}");
        given.push(Override::new("common.seed", &seed.to_string(), &flag));
    }
    if let Some(targets) = &request.track {
        let value = serde_json::Value::from(targets.clone()).to_string();
        // What was given is not repeated in errors: an address may hold what it should not.
        let flag = "--track";
        given.push(Override::new("common.track.to", &value, flag));
        // It belongs to a tracker that is not asked for now.
        if !targets.iter().any(|target| target.starts_with("mlflow")) {
            given.push(Override::new("common.track.experiment", "null", flag));
        }
    }
    given.extend(parse_overrides(&request.overrides)?);
    Ok(given)
}

/// An error of one of several algorithms says of which, unless it does already.
fn of_algorithm(algo: &Algorithm, error: LabError) -> LabError {
    let is_named = |text: &Message| text.to_string().starts_with(&format!("{}: ", algo.name()));
    let name = Message::from(format!("algorithm {}: ", algo.name()));
    match error {
        LabError::Request(text) if !is_named(&text) => LabError::Request(name.message(text)),
        LabError::Failure(text) if !is_named(&text) => LabError::Failure(name.message(text)),
        other => other,
    }
}

/// The seeds of the runs; a none is the one of the configuration.
fn seeds_of(request: &Request) -> Result<Vec<Option<u64>>, LabError> {
    let seeds = &request.seeds;
    if !seeds.is_empty() && request.seed.is_some() {
        return Err(LabError::request(
            Message::from(Term::Seed)
                .text(" and ")
                .term(Term::Seeds)
                .text(" say the same in two ways; take one away"),
        ));
    }
    let mut places = seeds.iter().enumerate();
    if let Some((_, twice)) = places.find(|(i, seed)| seeds[..*i].contains(seed)) {
        return Err(LabError::request(Message::from(Term::Seeds).text(format!(
            " names {twice} twice; a repetition is no second sample"
        ))));
    }
    Ok(match seeds.is_empty() {
        true => vec![None],
        false => seeds.iter().copied().map(Some).collect(),
    })
}

/// The names in a list, without blanks.
fn names_of<'a>(field: &Term, items: &'a [String]) -> Result<Vec<&'a str>, LabError> {
    let items: Vec<&str> = items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .collect();
    if items.is_empty() {
        return Err(LabError::request(
            Message::from(field.clone()).text(" is empty; give at least one name"),
        ));
    }
    let mut places = items.iter().enumerate();
    match places.find(|(i, item)| items[..*i].contains(item)) {
        Some((_, twice)) => Err(LabError::request(Message::from(field.clone()).text(
            format!(" names `{twice}` twice; a run needs a name of its own"),
        ))),
        None => Ok(items),
    }
}
