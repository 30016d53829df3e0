//! `archai run`: for each data set and each algorithm a search and an evaluation, each in a directory of its own.
//!
//! A command that was cut off is taken up by giving it again: what is finished stays, what was under way goes on at its
//! last checkpoint. A command that had ended well starts anew, and the older runs are kept under a number.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use archai_algos::{Algorithm, Algorithms};
use archai_data::Split;
use archai_engine::checkpoint::{CheckpointStore, Policy};
use archai_engine::evaluater::EvalResult;
use archai_engine::experiment::{Experiment, ExperimentRunner, builder_in, run_eval, run_search};
use archai_engine::files::{FileError, write_atomically};
use archai_engine::run::{Clock, Run, StopFlag};
use archai_engine::searcher::{GALLERY, SearchResult};
use archai_engine::{Components, Compute, Engine, EngineError, OpRegistry};
use archai_spec::config::{ConfigTree, Override, expand, parse_overrides};
use archai_spec::desc::ModelDesc;
use archai_spec::event::{Level, LogPath, json};
use archai_spec::settings::{Dataset, DatasetFormat, Settings, Space};
use jiff::Zoned;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::{DeviceArg, RunArgs, is_on};
use super::dirs::{self, RunDirs, SetAside};
use super::env::Env;
use super::error::CliError;
use super::logs::{LogOptions, RunLog};
use super::report;
use super::source::ConfigRequest;
use super::started::{DirLock, Phase, Started, sweep};
use super::summary::{self, Outcome};
use super::table::{Looked, Table};
use super::terminal::Terminal;
use crate::report::{RECORD_FILE, RECORD_VERSION, Record};

/// Runs what the command line asks for and prints the results.
///
/// # Errors
/// Whatever goes wrong first. All configurations are checked before the first run starts.
pub fn run(
    args: &RunArgs,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
) -> Result<(), CliError> {
    let plan = Plan::new(args, overrides, algos, env)?;
    start_threads(args)?;
    let (outcomes, result) = carry_out(&plan, env, &Live::new(env)?)?;
    show(&plan, &outcomes)?;
    result
}

/// The same without printing the results. More than one may follow another in a process.
///
/// # Errors
/// As [`run`].
pub fn quietly(
    args: &RunArgs,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    live: &Live,
) -> Result<(), CliError> {
    let plan = Plan::new(args, overrides, algos, env)?;
    let threads = rayon::ThreadPoolBuilder::new().num_threads(args.threads.map_or(0, usize::from));
    let threads = threads
        .build()
        .map_err(|e| CliError::failure(format!("cannot start the threads: {e}")))?;
    threads.install(|| carry_out(&plan, env, live)?.1)
}

/// Goes on with the run in `dir`, which this command line made.
///
/// # Errors
/// Nothing is left to do, `dir` was moved, and whatever goes wrong first.
pub fn resume(
    args: &RunArgs,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    dir: &Path,
) -> Result<(), CliError> {
    let plan = Plan::new(args, overrides, algos, env)?;
    let mut dirs = plan
        .jobs
        .iter()
        .flat_map(|j| [&j.dirs.search, &j.dirs.eval]);
    if !dirs.any(|d| d.canonicalize().is_ok_and(|d| d == dir)) {
        let places: Vec<_> = plan
            .jobs
            .iter()
            .map(|j| j.dirs.search.display().to_string())
            .collect();
        return Err(CliError::usage(format!(
            "the command that made `{}` works in {}; move the directory (and the one of its other phase) back to go on",
            dir.display(),
            places.join(", ")
        )));
    }
    if plan.progress()? == Progress::Complete {
        Terminal::new(env).say(&format!("the run in {} is complete", dir.display()));
        return Ok(());
    }
    start_threads(args)?;
    let (outcomes, result) = carry_out(&plan, env, &Live::new(env)?)?;
    show(&plan, &outcomes)?;
    result
}

/// What a command shows and listens to, once in a process.
pub struct Live {
    terminal: Arc<Terminal>,
    stop: StopFlag,
}

impl Live {
    /// Draws on the terminal, and watches for interrupts from now on.
    ///
    /// # Errors
    /// The system does not let interrupts be watched, or they are watched already.
    pub fn new(env: &Env) -> Result<Self, CliError> {
        let (terminal, stop) = (Arc::new(Terminal::new(env)), StopFlag::new());
        watch_interrupts(&stop, &terminal)?;
        Ok(Live { terminal, stop })
    }
}

fn start_threads(args: &RunArgs) -> Result<(), CliError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, usize::from))
        .build_global()
        .map_err(|e| CliError::failure(format!("cannot start the threads: {e}")))
}

fn show(plan: &Plan<'_>, outcomes: &[Outcome]) -> Result<(), CliError> {
    if outcomes.is_empty() {
        return Ok(());
    }
    let text = summary::for_terminal(outcomes, !plan.full && !plan.custom);
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// What was found, and how it ended: the first failure leaves what was found before.
type CarriedOut = (Vec<Outcome>, Result<(), CliError>);

fn carry_out(plan: &Plan<'_>, env: &Env, live: &Live) -> Result<CarriedOut, CliError> {
    let Live { terminal, stop } = live;
    let mut outcomes = Vec::new();
    let mut result = Ok(());
    let goes_on = !plan.fresh && plan.progress()? == Progress::Begun;
    for job in &plan.jobs {
        let job = Session {
            job,
            plan,
            goes_on,
            terminal,
            stop,
            env,
        };
        match job.run() {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    terminal.clear();
    Ok((outcomes, result))
}

/// Everything that will be run, checked.
struct Plan<'a> {
    jobs: Vec<Job<'a>>,
    table: Option<Table>,
    full: bool,
    custom: bool,
    search: bool,
    eval: bool,
    fresh: bool,
    allow_changed: bool,
    /// The command line without the program and without what only says how to treat older runs.
    arguments: Vec<String>,
    folder: PathBuf,
}

/// One algorithm on one data set.
struct Job<'a> {
    algo: &'a Algorithm,
    tree: ConfigTree,
    /// The same with the paths of the algorithm's own section expanded.
    own: ConfigTree,
    /// Of all that changes results: the configuration, and the engine where it is not the usual one.
    digest: String,
    engine: Engine,
    dirs: RunDirs,
    /// Settings whose `$expdir` is the search's directory.
    search: Settings,
    /// Settings whose `$expdir` is the evaluation's directory.
    eval: Settings,
}

impl<'a> Plan<'a> {
    fn new(
        args: &'a RunArgs,
        overrides: &[String],
        algos: &'a Algorithms,
        env: &Env,
    ) -> Result<Self, CliError> {
        let (search, eval) = (!is_on(args.no_search), !is_on(args.no_eval));
        if !search && !eval {
            return Err(CliError::usage(
                "--no-search and --no-eval together leave nothing to do; take one away",
            ));
        }
        let DeviceArg::Cpu = args.device;
        let mut given = Vec::new();
        if let Some(dir) = &args.logdir {
            given.push(Override::new(
                "common.logdir",
                &quoted(dir),
                &format!("--logdir {dir}"),
            ));
        }
        if let Some(seed) = args.seed {
            given.push(Override::new(
                "common.seed",
                &seed.to_string(),
                &format!("--seed {seed}"),
            ));
        }
        given.extend(parse_overrides(overrides).map_err(CliError::config)?);

        let table = args.table.as_deref().map(Table::open).transpose()?;
        let datasets = match &args.datasets {
            Some(names) => list("--datasets", names)?.into_iter().map(Some).collect(),
            None => vec![None],
        };
        let chosen: Vec<&Algorithm> = list("--algos", &args.algos)?
            .into_iter()
            .map(|name| algos.get(name).map_err(|e| CliError::usage(e.to_string())))
            .collect::<Result<_, _>>()?;
        let mut jobs: Vec<Job<'a>> = Vec::new();
        for dataset in datasets {
            for &algo in &chosen {
                let request = ConfigRequest {
                    algo,
                    dataset,
                    eval_dataset: args.eval_dataset.as_deref(),
                    space: args.space,
                    full: is_on(args.full),
                    config: args.config.as_deref(),
                    config_only: args.config_only.as_deref(),
                    overrides: given.clone(),
                };
                let job = Job::new(algo, request.load()?, args, env)?;
                if jobs.iter().any(|other| other.dirs == job.dirs) {
                    return Err(CliError::usage(format!(
                        "two of the runs would share `{}`; data sets (dataset.name) must have different names",
                        job.dirs.search.display()
                    )));
                }
                jobs.push(job);
            }
        }
        Ok(Plan {
            jobs,
            table,
            full: is_on(args.full),
            custom: args.config_only.is_some(),
            search,
            eval,
            fresh: args.fresh,
            allow_changed: args.allow_changed,
            arguments: (env.command_line.iter().skip(1))
                .filter(|a| !["--fresh", "--allow-changed"].contains(&a.as_str()))
                .cloned()
                .collect(),
            folder: env.folder.clone(),
        })
    }

    /// How much of this command was done before.
    fn progress(&self) -> Result<Progress, CliError> {
        let (mut begun, mut complete) = (false, true);
        for job in &self.jobs {
            let wanted = [(self.search, &job.dirs.search), (self.eval, &job.dirs.eval)];
            for (_, dir) in wanted.into_iter().filter(|(wanted, _)| *wanted) {
                match Phase::of(dir)? {
                    Phase::Finished(started, _) if self.made(&started, job) => begun = true,
                    Phase::Unfinished(started) => {
                        begun |= self.made(&started, job);
                        complete = false;
                    }
                    _ => complete = false,
                }
            }
        }
        Ok(match (begun, complete) {
            (_, true) => Progress::Complete,
            (true, false) => Progress::Begun,
            (false, false) => Progress::None,
        })
    }

    /// Whether this very command made a run of a job.
    fn made(&self, started: &Started, job: &Job<'_>) -> bool {
        (&started.arguments, &started.folder, &started.digest)
            == (&self.arguments, &self.folder, &job.digest)
    }
}

/// How much of a command was done before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing, by this very command.
    None,
    /// Some of it.
    Begun,
    /// All phases are finished, whoever did them.
    Complete,
}

/// Where a phase of a job stands when the job begins.
enum Stand {
    /// It is not asked for.
    Unwanted,
    /// Nothing is there.
    New,
    /// It was cut off, and goes on.
    TakenUp,
    /// It is finished, and stays.
    Done(Box<Record>),
}

/// Where both phases stand, and the directories that are this process's.
struct Stands {
    search: Stand,
    eval: Stand,
    _locks: Vec<DirLock>,
}

impl<'a> Job<'a> {
    fn new(
        algo: &'a Algorithm,
        tree: ConfigTree,
        args: &RunArgs,
        env: &Env,
    ) -> Result<Self, CliError> {
        let settings = tree.settings().map_err(CliError::config)?;
        let mut vars = env.path_vars();
        let logdir = expand(&settings.common.logdir, &vars).map_err(|e| {
            CliError::usage(format!(
                "common.logdir: {e}; or give the folder with --logdir"
            ))
        })?;
        vars.insert("logdir".into(), logdir.clone());
        let dirs = RunDirs::new(
            Path::new(&logdir),
            &in_space(algo, settings.nas.search.space, "-"),
            &settings.dataset.name,
            &args.exp_prefix,
        )?;
        let expanded = |dir: &Path| -> Result<Settings, CliError> {
            let mut vars = vars.clone();
            vars.insert("expdir".into(), dir.to_string_lossy().into_owned());
            let mut settings = settings.clone();
            tree.expand_paths(&mut settings, &vars)
                .map_err(CliError::config)?;
            Ok(settings)
        };
        let (search, eval) = (expanded(&dirs.search)?, expanded(&dirs.eval)?);
        vars.insert("expdir".into(), dirs.search.to_string_lossy().into_owned());
        let section = format!("nas.search.{}", algo.name());
        let own = tree
            .with_expanded_section(&section, &vars)
            .map_err(CliError::config)?;
        let space = settings.nas.search.space;
        let runner = algo.runner(&own).map_err(CliError::config)?;
        builder_in(runner.as_ref(), space)
            .map_err(|e| CliError::usage(format!("{}: {e}", algo.name())))?;
        if args.table.is_some() && space != Space::Nasbench201 {
            return Err(CliError::usage(format!(
                "--table knows the cells of NAS-Bench-201, but {} searches in its own space; add --space nasbench201, or \
                 leave --table out",
                algo.name()
            )));
        }
        let engine = Engine::from(args.engine);
        let mut digest = tree.digest().map_err(CliError::config)?;
        if engine != Engine::default() {
            digest.push_str(&format!("+{engine}"));
        }
        Ok(Job {
            algo,
            tree,
            own,
            digest,
            engine,
            dirs,
            search,
            eval,
        })
    }

    /// `darts on cifar10`.
    fn title(&self) -> String {
        let (search, eval) = (
            &self.search.dataset.name,
            &self.eval.nas.eval.loader.dataset.name,
        );
        let name = in_space(self.algo, self.search.nas.search.space, " in ");
        if search == eval {
            format!("{name} on {search}")
        } else {
            format!("{name} on {search}, evaluated on {eval}")
        }
    }
}

/// `darts`, or `darts-nasbench201`: an algorithm, and the space where that is not its own.
fn in_space(algo: &Algorithm, space: Space, between: &str) -> String {
    match space {
        Space::Own => algo.name().to_string(),
        other => format!("{}{between}{}", algo.name(), other.name()),
    }
}

/// A job while it runs.
struct Session<'a> {
    job: &'a Job<'a>,
    plan: &'a Plan<'a>,
    goes_on: bool,
    terminal: &'a Terminal,
    stop: &'a StopFlag,
    env: &'a Env,
}

impl Session<'_> {
    fn run(&self) -> Result<Outcome, CliError> {
        let (job, plan) = (self.job, self.plan);
        let runner = job.algo.runner(&job.own).map_err(CliError::config)?;
        let runner = runner.as_ref();
        // Whatever can be seen to fail is looked for before older runs are touched.
        let mut registry = OpRegistry::builtin();
        runner
            .register_ops(&mut registry)
            .map_err(CliError::engine)?;
        if plan.search {
            self.check_data(&job.search.nas.search.loader.dataset)?;
        }
        if plan.eval {
            self.check_data(&job.eval.nas.eval.loader.dataset)?;
        }
        let template = match (plan.search, plan.eval) {
            (false, _) => Some(self.template(&registry)?),
            (true, true) => {
                self.check_template_is_ours()?;
                None
            }
            (true, false) => None,
        };

        self.terminal.heading(&job.title());
        let given = template.as_ref().filter(|t| !t.is_ours).map(|t| t.digest());
        let stands = self.claim(given.as_deref())?;
        let search = match &stands.search {
            Stand::Unwanted => None,
            Stand::Done(record) => {
                let place = job.dirs.search.display();
                self.terminal
                    .say(&format!("  the search in {place} is complete"));
                Some(outcome_of(record, &job.dirs.search)?)
            }
            stand => Some(self.search(runner, stand)?),
        };
        let mut outcome = Outcome {
            title: job.title(),
            looked: None,
            search_dir: search.is_some().then(|| job.dirs.search.clone()),
            eval_dir: plan.eval.then(|| job.dirs.eval.clone()),
            search,
            eval: None,
        };
        if let Some(found) = &outcome.search {
            outcome.looked = self.look_up(&found.final_desc)?;
        }
        match &stands.eval {
            Stand::Unwanted => {
                if let (Some(found), false) =
                    (&outcome.search, matches!(stands.search, Stand::Done(_)))
                {
                    self.summarise(&outcome, &job.dirs.search)?;
                    let mut figures = report::figures_of_search(found);
                    figures.extend(figures_of(&outcome.looked));
                    self.record_end("search", None, figures, found)?;
                }
            }
            Stand::Done(record) => {
                let place = job.dirs.eval.display();
                self.terminal
                    .say(&format!("  the evaluation in {place} is complete"));
                outcome.eval = Some(outcome_of(record, &job.dirs.eval)?);
                if !plan.search {
                    outcome.looked = self.look_up(&job.dirs.eval.join("final_model_desc.yaml"))?;
                }
            }
            stand => {
                let template = match (&outcome.search, template) {
                    (Some(found), _) => read_template(&found.final_desc)?.with_gallery()?,
                    (None, Some(template)) => template,
                    (None, None) => return Err(CliError::failure("there is nothing to evaluate")),
                };
                let result = self.eval(runner, &template, stand)?;
                outcome.eval = Some(result.clone());
                let mut figures = report::figures_of_eval(&result);
                if !plan.search {
                    outcome.looked = self.look_up(&job.dirs.eval.join("final_model_desc.yaml"))?;
                    figures.extend(figures_of(&outcome.looked));
                }
                self.summarise(&outcome, &job.dirs.eval)?;
                self.record_end("evaluation", given, figures, &result)?;
            }
        }
        Ok(outcome)
    }

    /// Decides what becomes of older runs in the job's directories, moves those that have had their time, and takes hold
    /// of the rest.
    fn claim(&self, given: Option<&str>) -> Result<Stands, CliError> {
        let (plan, dirs) = (self.plan, &self.job.dirs);
        let logdir = dirs.search.parent().unwrap_or(Path::new("."));
        dirs::create_logdir(logdir)?;
        // One process at a time looks and moves.
        let _gate = DirLock::wait_for(logdir)?;
        let mut locks = Vec::new();
        for dir in [&dirs.search, &dirs.eval] {
            if dir.is_dir() {
                locks.push((dir, DirLock::take(dir)?));
            }
        }
        let (mut search, mut eval) = match plan.fresh {
            true => (Stand::New, Stand::New),
            false => self.stands(given)?,
        };
        if !plan.search {
            search = Stand::Unwanted;
        }
        if !plan.eval {
            eval = Stand::Unwanted;
        }
        let aside = match (&search, &eval) {
            (Stand::New, _) => Some(SetAside::Pair),
            (_, Stand::New) => Some(SetAside::EvalOnly),
            _ => None,
        };
        if let Some(which) = aside {
            for (_, aside) in dirs.set_aside(which)? {
                let place = aside.display();
                self.terminal
                    .say(&format!("  an earlier run is kept as {place}"));
            }
        }
        for (stand, dir) in [(&search, &dirs.search), (&eval, &dirs.eval)] {
            if let Stand::New = stand {
                // What was held may be another directory by now.
                locks.retain(|(held, _)| *held != dir);
                dirs::create(dir)?;
                locks.push((dir, DirLock::take(dir)?));
            }
        }
        Ok(Stands {
            search,
            eval,
            _locks: locks.into_iter().map(|(_, lock)| lock).collect(),
        })
    }

    /// Where the phases of a command that is not told to start over stand.
    fn stands(&self, given: Option<&str>) -> Result<(Stand, Stand), CliError> {
        let (plan, job) = (self.plan, self.job);
        let same = |started: &Started, dir: &Path, given: Option<&str>| -> Result<(), CliError> {
            let now = self.started(&started.phase, given)?;
            started.check_same(&now, dir, plan.allow_changed)
        };
        let eval_alone = |phase: Phase, given: Option<&str>| -> Result<Stand, CliError> {
            match phase {
                Phase::Unfinished(started) => {
                    same(&started, &job.dirs.eval, given)?;
                    Ok(Stand::TakenUp)
                }
                Phase::Finished(started, record) if self.goes_on && plan.made(&started, job) => {
                    Ok(Stand::Done(record))
                }
                _ => Ok(Stand::New),
            }
        };
        let eval = Phase::of(&job.dirs.eval)?;
        if !plan.search {
            return Ok((Stand::Unwanted, eval_alone(eval, given)?));
        }
        match (Phase::of(&job.dirs.search)?, eval) {
            (Phase::Unfinished(started), _) => {
                same(&started, &job.dirs.search, None)?;
                Ok((Stand::TakenUp, Stand::New))
            }
            (Phase::Finished(started, record), eval) => {
                let is_ours = self.goes_on && plan.made(&started, job);
                let followed = started.eval_follows || is_ours;
                match eval {
                    // The pair is finished; so it stays only where the command as a whole is not.
                    Phase::Finished(..) if !is_ours => Ok((Stand::New, Stand::New)),
                    Phase::Unfinished(of_eval) if of_eval.given_desc.is_some() => {
                        Ok((Stand::New, Stand::New))
                    }
                    _ if !followed || !(plan.eval || is_ours) => Ok((Stand::New, Stand::New)),
                    eval => {
                        if !is_ours {
                            same(&started, &job.dirs.search, None)?;
                        }
                        Ok((Stand::Done(record), eval_alone(eval, None)?))
                    }
                }
            }
            _ => Ok((Stand::New, Stand::New)),
        }
    }

    /// How a phase of this command is started.
    fn started(&self, phase: &str, given: Option<&str>) -> Result<Started, CliError> {
        Ok(Started {
            phase: phase.to_string(),
            algorithm: self.job.algo.name().to_string(),
            engine: self.job.engine.to_string(),
            eval_follows: self.plan.search && self.plan.eval,
            digest: self.job.digest.clone(),
            given_desc: given.map(str::to_string),
            settings: self.job.tree.digested().map_err(CliError::config)?,
            ..Started::new(&self.plan.arguments, &self.plan.folder)
        })
    }

    fn summarise(&self, outcome: &Outcome, dir: &Path) -> Result<(), CliError> {
        let text = summary::as_markdown(outcome, &self.env.command_line, &self.job.digest);
        write_atomically(&dir.join(summary::FILE), |out| {
            out.write_all(text.as_bytes())
        })?;
        Ok(())
    }

    fn search(
        &self,
        runner: &dyn ExperimentRunner,
        stand: &Stand,
    ) -> Result<SearchResult, CliError> {
        let dir = &self.job.dirs.search;
        let started = self.started("search", None)?;
        let found = self.phase(&started, dir, &self.job.search, stand, |experiment| {
            run_search(experiment, runner)
        })?;
        // Without an evaluation the summary comes first, because a record is what makes a run complete.
        if self.plan.eval {
            let mut figures = report::figures_of_search(&found);
            figures.extend(figures_of(&self.look_up(&found.final_desc)?));
            self.record_end("search", None, figures, &found)?;
        }
        Ok(found)
    }

    /// What the table says of a found cell.
    fn look_up(&self, found: &Path) -> Result<Option<Looked>, CliError> {
        let table = self.plan.table.as_ref();
        table.map(|table| table.of_file(found)).transpose()
    }

    fn eval(
        &self,
        runner: &dyn ExperimentRunner,
        template: &Template,
        stand: &Stand,
    ) -> Result<EvalResult, CliError> {
        let dir = &self.job.dirs.eval;
        let mut settings = self.job.eval.clone();
        let own = dir.join("final_model_desc.yaml");
        settings.nas.eval.final_desc_filename = own.to_string_lossy().into_owned();
        let given = (!template.is_ours).then(|| template.digest());
        let started = self.started("evaluation", given.as_deref())?;
        self.phase(&started, dir, &settings, stand, |experiment| {
            write_atomically(&own, |out| out.write_all(template.text.as_bytes()))?;
            if !template.gallery.is_empty() {
                let folder = dir.join(GALLERY);
                std::fs::create_dir_all(&folder).map_err(|e| FileError::new("make", &folder, e))?;
                for (name, text) in &template.gallery {
                    write_atomically(&folder.join(name), |out| out.write_all(text.as_bytes()))?;
                }
            }
            run_eval(experiment, runner)
        })
    }

    /// Leaves the facts of a phase that ended well, for reports.
    fn record_end(
        &self,
        phase: &str,
        given_desc: Option<String>,
        figures: BTreeMap<String, f64>,
        outcome: &impl Serialize,
    ) -> Result<(), CliError> {
        let job = self.job;
        let dir = match phase {
            "search" => &job.dirs.search,
            _ => &job.dirs.eval,
        };
        let path = dir.join(RECORD_FILE);
        let outcome =
            serde_json::to_value(outcome).map_err(|e| FileError::new("write", &path, e.into()))?;
        let record = Record {
            version: RECORD_VERSION,
            phase: phase.to_string(),
            algorithm: job.algo.name().to_string(),
            dataset: job.search.nas.search.loader.dataset.name.clone(),
            eval_dataset: job.eval.nas.eval.loader.dataset.name.clone(),
            seed: job.search.common.seed,
            digest: job.digest.clone(),
            engine: job.engine.to_string(),
            given_desc,
            settings: job.tree.digested().map_err(CliError::config)?,
            figures,
            outcome,
        };
        write_atomically(&path, |out| {
            serde_json::to_writer_pretty(&mut *out, &record)?;
            out.write_all(b"\n")
        })?;
        Ok(())
    }

    /// One phase in its directory, with its logs, which are finished however it ends.
    fn phase<T>(
        &self,
        started: &Started,
        dir: &Path,
        settings: &Settings,
        stand: &Stand,
        body: impl FnOnce(&Experiment<'_>) -> Result<T, EngineError>,
    ) -> Result<T, CliError> {
        let name = started.phase.as_str();
        if self.stop.is_raised() {
            return Err(CliError::Interrupted(format!(
                "stopped before the {name} of {} began",
                self.job.title()
            )));
        }
        let goes_on = matches!(stand, Stand::TakenUp);
        let verb = if goes_on { "goes on " } else { "" };
        self.terminal
            .say(&format!("  {name} {verb}in {}", dir.display()));
        sweep(dir)?;
        // First of all, so that whatever else is there belongs to a run that can be taken up.
        started.write(dir)?;
        let text = self.config_used(dir);
        write_atomically(&dir.join("config_used.yaml"), |out| {
            out.write_all(text.as_bytes())
        })?;
        let common = &settings.common;
        let options = LogOptions {
            prefix: common.log_prefix.clone(),
            level: common.log_level,
            yaml: common.yaml_log,
        };
        let log = match goes_on {
            true => RunLog::reopen(dir, &options, self.terminal)?,
            false => RunLog::create(dir, &options, self.terminal)?,
        };
        let policy = Policy {
            every_steps: common.checkpoint.every_steps,
            every_seconds: common.checkpoint.every_seconds,
            keep: common.checkpoint.keep,
        };
        let (checkpoints, found) = CheckpointStore::open(
            &dir.join("checkpoints"),
            policy,
            &WallClock,
            Box::new(|| log.mark()),
        )
        .map_err(CliError::engine)?;
        let in_log = |e| FileError::new("write to the log in", dir, e);
        if goes_on {
            let missing = log.cut_back(found.mark.as_ref())?;
            for text in &found.damaged {
                log.warn_first(text).map_err(in_log)?;
            }
            if found.mark.is_none() {
                // It was cut off before its first checkpoint, which the trainings below know nothing of.
                let at = LogPath::new("resumed").join(name).join(0).join(0);
                let values = [("phase", json(name)), ("epoch", json(0)), ("step", json(0))];
                let values = values.map(|(key, value)| (key.to_string(), value));
                log.record(at, values.to_vec()).map_err(in_log)?;
            }
            if missing > 0 {
                let text = format!(
                    "{missing} bytes of the logs are missing; the run tells them again where it can"
                );
                log.warn_first(&text).map_err(in_log)?;
            }
        }
        self.record_start(&log, name, dir, settings)
            .map_err(in_log)?;

        let experiment = Experiment {
            settings,
            components: Components::builtin(),
            compute: Compute::cpu().with_engine(self.job.engine),
            run: Run::new(&log, &WallClock, self.stop, common.seed).with_checkpoints(&checkpoints),
            dir,
        };
        let result = body(&experiment);
        self.terminal.clear();
        let noted = match &result {
            Ok(_) => log.note(Level::Info, &format!("the {name} is complete")),
            Err(EngineError::Stopped) => {
                log.note(Level::Warning, &format!("the {name} was interrupted"))
            }
            Err(error) => log.note(Level::Error, &error.to_string()),
        };
        let finished = noted.map_err(in_log).and_then(|()| log.finish());
        match result {
            Ok(value) => finished.map(|()| value).map_err(CliError::from),
            Err(EngineError::Stopped) => Err(CliError::Interrupted(format!(
                "the {name} of {} is not complete; what there is lies in {}\n  \
                 to go on where it stopped, run the same command again, or: archai resume {1}",
                self.job.title(),
                dir.display()
            ))),
            // The first error is the one to mend; a log that could not be finished follows from it, if anything.
            Err(error) => Err(CliError::engine(error)),
        }
    }

    fn record_start(
        &self,
        log: &RunLog<'_>,
        phase: &str,
        dir: &Path,
        settings: &Settings,
    ) -> std::io::Result<()> {
        let dataset = if phase == "search" {
            &settings.nas.search.loader.dataset
        } else {
            &settings.nas.eval.loader.dataset
        };
        let name = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let record = |path: &str, values: Vec<(&str, serde_json::Value)>| {
            let values = values
                .into_iter()
                .map(|(key, value)| (key.to_string(), value))
                .collect();
            log.record(LogPath::new(path), values)
        };
        record(
            "run",
            vec![
                ("command_line", json(self.env.command_line.clone())),
                ("version", json(env!("CARGO_PKG_VERSION"))),
                ("experiment", json(name)),
                (
                    "started",
                    json(Zoned::now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string()),
                ),
                ("directory", json(dir.to_string_lossy().into_owned())),
                ("process", json(std::process::id())),
                ("algorithm", json(self.job.algo.name())),
                ("seed", json(settings.common.seed)),
                ("device", json("cpu")),
                ("engine", json(self.job.engine.to_string())),
                ("threads", json(rayon::current_num_threads())),
                ("config_digest", json(self.job.digest.clone())),
            ],
        )?;
        record(
            "dataset",
            vec![
                ("name", json(dataset.name.clone())),
                ("path", json(dataset.path.clone())),
                ("n_classes", json(dataset.n_classes)),
                ("channels", json(dataset.channels)),
                ("size", json(dataset.size.to_vec())),
                ("max_batches", json(dataset.max_batches)),
            ],
        )
    }

    /// The configuration of the run as a file that gives the same run again.
    fn config_used(&self, dir: &Path) -> String {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let engine = match self.job.engine {
            Engine::Fused => "",
            Engine::Plain => " --engine plain",
        };
        format!(
            "# The whole configuration of {name}. It gives the same run again:\n\
             #   archai run --algos {} --config-only config_used.yaml{engine}\n\
             # Digest of what changes results: {}\n\n{}",
            self.job.algo.name(),
            self.job.digest,
            self.job.tree.to_yaml()
        )
    }

    /// A data set that is not there is found out before older runs are set aside.
    fn check_data(&self, dataset: &Dataset) -> Result<(), CliError> {
        if dataset.format != DatasetFormat::Embedded && !Path::new(&dataset.path).exists() {
            archai_data::open(dataset, Split::Train).map_err(CliError::caused)?;
        }
        Ok(())
    }

    /// The description to evaluate without a search: the one that `nas.eval.final_desc_filename` names, or what the
    /// last search of this name found.
    fn template(&self, registry: &OpRegistry) -> Result<Template, CliError> {
        let job = self.job;
        let named = PathBuf::from(&job.eval.nas.eval.final_desc_filename);
        let searched = PathBuf::from(&job.search.nas.search.final_desc_filename);
        let is_default = named.starts_with(&job.dirs.eval);
        let path = match (named.exists(), is_default && searched.exists()) {
            (true, _) => named.clone(),
            (false, true) => searched,
            (false, false) => {
                let looked_for = if is_default {
                    format!(
                        "neither `{}` nor `{}` is there",
                        named.display(),
                        searched.display()
                    )
                } else {
                    format!("`{}` is not there", named.display())
                };
                return Err(CliError::usage(format!(
                    "there is no found network to evaluate: {looked_for}; search first (without --no-search), or name a \
                     description with --nas.eval.final_desc_filename FILE"
                )));
            }
        };
        let mut template = Template {
            is_ours: is_default,
            ..read_template(&path)?
        };
        ModelDesc::from_yaml(
            &template.text,
            &path.display().to_string(),
            registry.catalog(),
        )
        .map_err(CliError::caused)?;
        // A description that was named is evaluated alone.
        if is_default {
            template = template.with_gallery()?;
        }
        self.terminal.say(&format!("evaluating {}", path.display()));
        Ok(template)
    }

    /// With a search, the evaluation takes what the search found; another file would be ignored or written over.
    fn check_template_is_ours(&self) -> Result<(), CliError> {
        let named = &self.job.eval.nas.eval.final_desc_filename;
        if Path::new(named).starts_with(&self.job.dirs.eval) {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "nas.eval.final_desc_filename names `{named}`, but this run searches for a network itself; add --no-search to \
             evaluate that file, or leave the key out"
        )))
    }
}

/// A found description, read while it is still where it was.
struct Template {
    path: PathBuf,
    text: String,
    /// Whether a search of this run's name found it.
    is_ours: bool,
    /// Names and texts of the files in the gallery beside it.
    gallery: Vec<(String, String)>,
}

fn read_template(path: &Path) -> Result<Template, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))?;
    Ok(Template {
        path: path.to_path_buf(),
        text,
        is_ours: true,
        gallery: Vec::new(),
    })
}

impl Template {
    fn digest(&self) -> String {
        blake3::hash(self.text.as_bytes()).to_hex().to_string()
    }

    /// Along with all networks that its search found, where there are several.
    fn with_gallery(mut self) -> Result<Self, CliError> {
        let folder = self.path.with_file_name(GALLERY);
        if !folder.is_dir() {
            return Ok(self);
        }
        let failed = |e| FileError::new("read", &folder, e);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".yaml") {
                let text =
                    std::fs::read_to_string(&path).map_err(|e| FileError::new("read", &path, e))?;
                self.gallery.push((name.into_owned(), text));
            }
        }
        self.gallery.sort();
        Ok(self)
    }
}

/// The figures of a table, where one was looked into.
fn figures_of(looked: &Option<Looked>) -> BTreeMap<String, f64> {
    looked
        .as_ref()
        .map_or_else(BTreeMap::new, |l| l.figures.clone())
}

/// The result that a finished phase left.
fn outcome_of<T: DeserializeOwned>(record: &Record, dir: &Path) -> Result<T, CliError> {
    T::deserialize(&record.outcome).map_err(|e| {
        CliError::failure(format!(
            "the result in `{}` cannot be used: {e}; --fresh sets the old run aside and starts over",
            dir.join(RECORD_FILE).display()
        ))
    })
}

/// The first interrupt asks for a stop after the present step, the second one ends the program.
fn watch_interrupts(stop: &StopFlag, terminal: &Arc<Terminal>) -> Result<(), CliError> {
    let (stop, terminal) = (stop.clone(), Arc::clone(terminal));
    ctrlc::set_handler(move || {
        if stop.is_raised() {
            terminal.clear();
            terminal.say("stopped at once; the last lines of log.jsonl say how far it got");
            std::process::exit(i32::from(super::error::INTERRUPTED));
        }
        stop.raise();
        terminal.say("  stopping after this step; interrupt again to stop at once");
    })
    .map_err(|e| CliError::failure(format!("cannot watch for interrupts: {e}")))
}

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    }
}

/// The items of a comma-separated list, without blanks.
fn list<'a>(flag: &str, items: &'a [String]) -> Result<Vec<&'a str>, CliError> {
    let items: Vec<&str> = items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .collect();
    if items.is_empty() {
        return Err(CliError::usage(format!(
            "{flag} is empty; give at least one name"
        )));
    }
    match items
        .iter()
        .enumerate()
        .find(|(i, item)| items[..*i].contains(item))
    {
        Some((_, twice)) => Err(CliError::usage(format!(
            "{flag} names `{twice}` twice; a run needs a name of its own"
        ))),
        None => Ok(items),
    }
}

/// A text as YAML, so that a path which looks like a list or a number stays a text.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
