//! Tests of algorithms, built-in ones and your own: [`check_algorithm`] runs one on tiny pictures and reports all that is
//! wrong with it.
//!
//! The checks, in their order ([`Check`]): descriptions survive YAML; a search ends in time; the same seed gives the same
//! bytes, also if it is interrupted; training moves every architecture parameter; what was found is a network; an evaluation needs nothing but its
//! file; and, for algorithms that claim to learn an architecture, a *planted op* is found. There one primitive passes
//! its input through and all others put noise in its place, so that the task can be learnt through the planted one alone. Which
//! one that is changes with the seed: whoever prefers a place in a list finds it once in a round.
//!
//! [`FaultyDisk`] is a file system whose operations fail when a test says so; [`Recorded`] keeps the events of a run.
//!
//! Nothing here reads a clock or makes a temporary folder: both are given.
//!
//! ```no_run
//! use archai_engine::Components;
//! use archai_engine::experiment::ExperimentRunner;
//! use archai_engine::testing::{Conformance, Planted, Subject, check_algorithm};
//! # use archai_engine::{EngineError, run::Clock};
//! # use archai_spec::settings::Settings;
//! # fn test(settings: Settings, clock: &dyn Clock, make: fn() -> Box<dyn ExperimentRunner>) {
//! let runner = |_: &Settings| Ok(make());
//! let components = Components::builtin();
//! let subject = Subject { settings, components, runner: &runner };
//! let report = check_algorithm(&Conformance {
//!     small: subject.clone(),
//!     planted: Some(Planted::new(subject)),
//!     moves_alphas: true,
//!     bounds_edges: true,
//!     limit_s: 60.0,
//!     clock,
//!     dir: std::path::Path::new("scratch"),
//! });
//! match report {
//!     Ok(report) => println!("{report}"),
//!     Err(failures) => failures.iter().for_each(|failure| println!("{failure}")),
//! }
//! # }
//! ```

mod data;
mod faulty_disk;
mod planted;
mod recorded;
mod watch;

pub use faulty_disk::{Fault, FaultyDisk, Operation, OperationKind, Survives};
pub use recorded::Recorded;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::settings::{Dataset, Settings};
use archai_spec::spaces::Space;

use crate::{
    checkpoint::{CheckpointStore, Mark, Policy},
    components::Components,
    compute::Compute,
    error::EngineError,
    experiment::{Experiment, ExperimentRunner},
    files::{FOUND_DESC, FULL_DESC, FileError},
    finalize::Supernet,
    op::OpRegistry,
    phases::{run_eval, run_search},
    run::{Clock, NoClock, Run, StopFlag},
    testing::watch::{Moved, Trainings, Watchdog, Watched},
};

/// Makes an algorithm for a run with these settings, whose paths are set already.
pub type MakeRunner<'a> = dyn Fn(&Settings) -> Result<Box<dyn ExperimentRunner>, EngineError> + 'a;

/// An algorithm and the settings that it is tested with. Data set, paths and seed in them are replaced by the test's.
#[derive(Clone)]
pub struct Subject<'a> {
    /// The settings: a few small cells on 8×8 pictures of one channel, a few steps.
    pub settings: Settings,
    /// What the settings' names mean: the built-in parts and those of a program's own, a space or an op for example.
    pub components: Components,
    /// Makes the algorithm anew for each run, with its own section, if it has one.
    pub runner: &'a MakeRunner<'a>,
}

/// What is tested and what the algorithm claims.
pub struct Conformance<'a> {
    /// For all checks but the planted op.
    pub small: Subject<'a>,
    /// For the planted op: settings under which it learns fast. None if the algorithm does not claim to learn an
    /// architecture.
    pub planted: Option<Planted<'a>>,
    /// It trains architecture parameters by hooks of [`ExperimentRunner::trainer_hooks`].
    pub moves_alphas: bool,
    /// Nodes of what it finds keep at most `max_final_edges` edges. A network that is taken from a list need not.
    pub bounds_edges: bool,
    /// Seconds that the small search may take.
    pub limit_s: f64,
    /// The time.
    pub clock: &'a dyn Clock,
    /// An empty folder to work in.
    pub dir: &'a Path,
}

/// The test of the planted op.
pub struct Planted<'a> {
    /// The algorithm, with settings under which it learns fast.
    pub subject: Subject<'a>,
    /// The primitives among which one is planted; empty takes those of the supernet, `none` left out.
    pub primitives: Vec<String>,
    /// Seeds 1, 2, …: as many searches.
    pub seeds: u64,
    /// In how many of them the planted op must be found.
    pub least_found: u64,
}

impl<'a> Planted<'a> {
    /// Ten seeds, of which nine must succeed.
    pub fn new(subject: Subject<'a>) -> Self {
        Planted {
            subject,
            primitives: Vec::new(),
            seeds: 10,
            least_found: 9,
        }
    }
}

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The description of the search space and the one that was found pass their check and survive YAML.
    Descriptions,
    /// A small search ends, in time.
    Ends,
    /// The same seed gives the same files and the same logged values, to the byte.
    Repeats,
    /// A search and an evaluation that are stopped in the middle of epochs and resumed end in the same files and logged
    /// values as undisturbed ones. Hooks that remember something without naming it are found here, see [`TrainerHooks`].
    ///
    /// [`TrainerHooks`]: crate::trainer::TrainerHooks
    Resumes,
    /// Each architecture parameter of each primitive but `none` is moved by the training, and not all of an edge alike. The
    /// optimiser's decay is off: it would move them without any gradient.
    AlphasMove,
    /// No mixed op and no `none` is left, and no node has more than `max_final_edges` edges.
    Found,
    /// The evaluation runs from the found description's file alone, in another folder.
    FromFile,
    /// The planted op holds the majority of the primitives' edges in enough of the searches.
    FindsPlanted,
    /// The planted op's share of edges is larger than under random choice ([`Space::draw`]) on the same supernets (on average over the
    /// seeds, by more than three standard errors of the difference).
    BeatsRandom,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Check::Descriptions => "descriptions survive YAML",
            Check::Ends => "a small search ends in time",
            Check::Repeats => "the same seed gives the same bytes",
            Check::Resumes => "an interrupted run ends in the same bytes",
            Check::AlphasMove => "training moves every architecture parameter",
            Check::Found => "what was found is a network",
            Check::FromFile => "an evaluation needs nothing but its file",
            Check::FindsPlanted => "a planted op is found",
            Check::BeatsRandom => "the search beats random choice",
        })
    }
}

/// A check that did not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The check.
    pub check: Check,
    /// What was seen and what was expected.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.message)
    }
}

/// What a passed test saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Seconds of the small search.
    pub search_s: f64,
    /// Trainings of models with architecture parameters in it.
    pub trainings: usize,
    /// The planted searches, seed after seed.
    pub planted: Vec<PlantedSearch>,
    /// What was not checked, and why.
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "small search {:.1} s", self.search_s)?;
        for s in &self.planted {
            write!(f, "\n  {s}")?;
        }
        self.notes
            .iter()
            .try_for_each(|note| write!(f, "\n  {note}"))
    }
}

/// A search for a planted op.
#[derive(Clone, Debug, PartialEq)]
pub struct PlantedSearch {
    /// The seed.
    pub seed: u64,
    /// The primitive that carries the signal.
    pub op: String,
    /// Its share of the found edges that hold a primitive, cells of a kind counted each.
    pub share: f64,
    /// The same under random choice on the same supernet; none where there is no supernet of mixed edges.
    pub random_share: Option<f64>,
}

impl PlantedSearch {
    /// Whether the planted op holds the majority.
    pub fn found(&self) -> bool {
        self.share > 0.5
    }
}

impl fmt::Display for PlantedSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlantedSearch {
            seed, op, share, ..
        } = self;
        write!(
            f,
            "seed {seed}: `{op}` holds {:.0} % of the edges",
            share * 100.0
        )?;
        match self.random_share {
            Some(share) => write!(f, ", {:.0} % under random choice", share * 100.0),
            None => Ok(()),
        }
    }
}

/// Runs all checks.
///
/// # Errors
/// All that did not hold, in the order of [`Check`]. A check that needs what an earlier one failed to give is
/// not run.
pub fn check_algorithm(conformance: &Conformance<'_>) -> Result<Report, Vec<Failure>> {
    let mut test = Test {
        conformance,
        report: Report::default(),
        failures: Vec::new(),
    };
    test.small();
    test.planted();
    test.failures.sort_by_key(|f| f.check);
    match test.failures.is_empty() {
        true => Ok(test.report),
        false => Err(test.failures),
    }
}

/// Pictures for training (halved between weights and architecture) and for testing in the small runs.
const SMALL: [u32; 2] = [64, 32];
/// The same for the planted op.
const PLANTED: [u32; 2] = [256, 32];
/// How often an interrupted run is resumed at most.
const MOST_STOPS: usize = 100;
/// Seed of the small runs.
const SEED: u64 = 2;

struct Test<'a> {
    conformance: &'a Conformance<'a>,
    report: Report,
    failures: Vec<Failure>,
}

/// A search that ended.
struct Searched {
    desc: ModelDesc,
    /// What the names of its ops mean, the algorithm's own included.
    ops: OpRegistry,
    trainings: Vec<Vec<Moved>>,
    values: BTreeMap<String, String>,
    steps: usize,
    seconds: f64,
}

/// A space with the description that it spans.
struct Spanned {
    space: Arc<dyn Space>,
    supernet: ModelDesc,
    ops: OpRegistry,
}

/// An error as a message.
fn say(error: impl fmt::Display) -> String {
    error.to_string()
}

impl Test<'_> {
    fn fail(&mut self, check: Check, message: impl Into<String>) {
        self.failures.push(Failure {
            check,
            message: message.into(),
        });
    }

    /// Notes what went wrong under a check, and gives what did not.
    fn take<T>(&mut self, check: Check, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.fail(check, message)).ok()
    }

    fn small(&mut self) {
        let c = self.conformance;
        let dir = c.dir.join("small");
        let data = data::write_textures(&dir.join("data"), SMALL[0], SMALL[1]).map_err(say);
        let Some(data) = self.take(Check::Ends, data) else {
            return;
        };
        let deadline = c.clock.now() + c.limit_s;
        let components = &c.small.components;
        let place = |name: &str| Place {
            dir: dir.join(name),
            data: &data,
            seed: SEED,
            components,
            compute: Compute::cpu(),
        };
        let run = |name: &str| {
            let at = place(name);
            let searched = c.search(&c.small, &at, deadline);
            (at, searched)
        };
        let (at, first) = run("first");
        let checked = c.check_space(&c.small, &at);
        if c.moves_alphas {
            self.take(Check::Descriptions, checked);
        } else if let Err(message) = checked {
            self.report.notes.push(format!(
                "no description of a search space was checked: {message}"
            ));
        }
        let Some(first) = self.take(Check::Ends, first) else {
            return;
        };
        self.report.search_s = first.seconds;
        self.report.trainings = first.trainings.len();
        if let Err(message) = survives(&first.desc, &first.ops) {
            self.fail(Check::Descriptions, message);
        }
        if c.moves_alphas {
            let problems = stuck(&first.trainings, first.ops.catalog());
            if !problems.is_empty() {
                self.fail(Check::AlphasMove, problems);
            }
        }
        let problems = not_found(&first.desc, c.bounds_edges, first.ops.catalog());
        if !problems.is_empty() {
            self.fail(Check::Found, problems);
        }
        let evaluated = c.evaluate(&c.small, &at);
        let Some(first_values) = self.take(Check::FromFile, evaluated) else {
            return;
        };

        let (again, second) = run("second");
        let second = second.and_then(|s| Ok((s, c.evaluate(&c.small, &again)?)));
        let Some((second, second_values)) = self.take(Check::Repeats, second) else {
            return;
        };
        let straight = [first.values, first_values];
        match self.difference(&at, &straight, &again, &[second.values, second_values]) {
            Ok(None) => {}
            Ok(Some(what)) => {
                let message = format!("two runs with seed {SEED} differ in {what}");
                return self.fail(Check::Repeats, message);
            }
            Err(message) => return self.fail(Check::Repeats, message),
        }

        let third = place("third");
        let every = first.steps / 3 + 1;
        let search = c.interrupted(&c.small, &third, Phase::Search, every);
        let values = search.and_then(|s| {
            let eval = c.interrupted(&c.small, &third, Phase::Eval, every)?;
            Ok([s, eval])
        });
        let Some(values) = self.take(Check::Resumes, values) else {
            return;
        };
        match self.difference(&at, &straight, &third, &values) {
            Ok(None) => {}
            Ok(Some(what)) => self.fail(
                Check::Resumes,
                format!(
                    "stopped after every {every} steps and resumed, it differs in {what}; whatever a hook remembers between \
                     steps must be named in TrainerHooks::memory"
                ),
            ),
            Err(message) => self.fail(Check::Resumes, message),
        }
    }

    /// The first thing in which a search and an evaluation at two places differ.
    fn difference(
        &self,
        at: &Place<'_>,
        values: &[BTreeMap<String, String>; 2],
        other: &Place<'_>,
        others: &[BTreeMap<String, String>; 2],
    ) -> Result<Option<String>, String> {
        let value = values.iter().zip(others);
        let value = value.filter_map(|(a, b)| first_difference(a, b)).next();
        if let Some(at) = value {
            return Ok(Some(format!("the value logged at {at}")));
        }
        let file = first_difference(&files(&at.dir)?, &files(&other.dir)?);
        Ok(file.map(|name| format!("the file {name}")))
    }

    fn planted(&mut self) {
        let c = self.conformance;
        let Some(planted) = &c.planted else { return };
        let searches = c.planted_searches(planted);
        let Some(searches) = self.take(Check::FindsPlanted, searches) else {
            return;
        };
        let list = |searches: &[PlantedSearch]| {
            let lines: Vec<String> = searches.iter().map(|s| format!("\n  {s}")).collect();
            lines.concat()
        };
        let found = searches.iter().filter(|s| s.found()).count() as u64;
        if found < planted.least_found {
            let message = format!(
                "in {found} of {} searches, expected at least {}:{}",
                planted.seeds,
                planted.least_found,
                list(&searches)
            );
            self.fail(Check::FindsPlanted, message);
        }
        let gains: Vec<f64> = searches
            .iter()
            .filter_map(|s| Some(s.share - s.random_share?))
            .collect();
        match mean_and_error(&gains) {
            None => self.report.notes.push(
                "no random choice to compare with: there is no supernet of mixed edges".to_string(),
            ),
            Some((mean, error)) if mean > 3.0 * error => {}
            Some((mean, error)) => {
                let message = format!(
                    "the planted op's share is {mean:+.2} ± {error:.2} (standard error) beside random choice:{}",
                    list(&searches)
                );
                self.fail(Check::BeatsRandom, message);
            }
        }
        self.report.planted = searches;
    }
}

/// Where and on what something runs.
struct Place<'a> {
    dir: PathBuf,
    data: &'a Dataset,
    seed: u64,
    components: &'a Components,
    compute: Compute,
}

/// What is run. Its name is that of its folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Search,
    Eval,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Search => "search",
            Phase::Eval => "eval",
        }
    }
}

impl Place<'_> {
    /// The folder of a phase.
    fn folder(&self, phase: Phase) -> PathBuf {
        self.dir.join(phase.name())
    }

    /// The settings for a phase in a folder of its own, which is made.
    fn settings(&self, settings: &Settings, phase: &str) -> Result<(Settings, PathBuf), String> {
        let dir = self.dir.join(phase);
        std::fs::create_dir_all(&dir)
            .map_err(|e| FileError::new("create the folder", &dir, e).to_string())?;
        let mut s = settings.clone();
        s.common.seed = self.seed;
        let (search, eval) = (&mut s.nas.search, &mut s.nas.eval);
        for dataset in [
            &mut s.dataset,
            &mut search.model_desc.dataset,
            &mut search.loader.dataset,
            &mut search.post_train.loader.dataset,
            &mut eval.model_desc.dataset,
            &mut eval.loader.dataset,
        ] {
            *dataset = self.data.clone();
        }
        let file = |name: &str| dir.join(name).display().to_string();
        search.final_desc_filename = file(FOUND_DESC);
        eval.final_desc_filename = file(FOUND_DESC);
        eval.full_desc_filename = file(FULL_DESC);
        eval.metric_filename = file("eval_train_metrics.yaml");
        eval.model_filename = file("model.pt");
        // Decay moves parameters that no gradient reaches.
        search.trainer.l1_alphas = 0.0;
        if let Some(optimizer) = &mut search.trainer.alpha_optimizer {
            optimizer.decay = 0.0;
        }
        Ok((s, dir))
    }

    fn experiment<'e>(
        &'e self,
        settings: &'e Settings,
        dir: &'e Path,
        events: &'e Watchdog<'_>,
    ) -> Experiment<'e> {
        Experiment {
            settings,
            components: self.components.clone(),
            compute: self.compute.clone(),
            run: Run::new(events, &NoClock, &events.stop, self.seed),
            dir,
        }
    }
}

impl Conformance<'_> {
    fn watchdog(&self, deadline: f64) -> Watchdog<'_> {
        Watchdog {
            clock: self.clock,
            deadline,
            stop: StopFlag::new(),
            stop_after: usize::MAX,
            steps: AtomicUsize::new(0),
            values: Mutex::default(),
        }
    }

    /// A phase that is stopped after every `every` steps and resumed until it ends; gives the logged values.
    fn interrupted(
        &self,
        subject: &Subject<'_>,
        at: &Place<'_>,
        phase: Phase,
        every: usize,
    ) -> Result<BTreeMap<String, String>, String> {
        let name = phase.name();
        let (settings, dir) = at.settings(&subject.settings, name)?;
        if phase == Phase::Eval {
            let found = at.folder(Phase::Search).join(FOUND_DESC);
            std::fs::copy(&found, Path::new(&settings.nas.eval.final_desc_filename))
                .map_err(|e| FileError::new("copy", &found, e).to_string())?;
        }
        // Beside the folder, whose files are compared.
        let mut checkpoints = at.dir.clone().into_os_string();
        checkpoints.push(format!(", {name} checkpoints"));
        let policy = Policy {
            every_steps: 0,
            every_seconds: 0.0,
            keep: 1,
        };
        let mut values = BTreeMap::new();
        for _ in 0..MOST_STOPS {
            let events = Watchdog {
                stop_after: every,
                ..self.watchdog(f64::INFINITY)
            };
            let mark: Mark<'_> = Box::new(|| Ok(serde_json::Value::Null));
            let (store, _) = CheckpointStore::open(Path::new(&checkpoints), policy, &NoClock, mark)
                .map_err(say)?;
            let runner = (subject.runner)(&settings).map_err(say)?;
            let mut experiment = at.experiment(&settings, &dir, &events);
            experiment.run = experiment.run.with_checkpoints(&store);
            let outcome = match phase {
                Phase::Search => run_search(&experiment, runner.as_ref()).map(drop),
                Phase::Eval => run_eval(&experiment, runner.as_ref()).map(drop),
            };
            let logged = events.values.into_inner();
            values.extend(logged.unwrap_or_else(PoisonError::into_inner));
            match outcome {
                Ok(()) => {
                    values.retain(|name, _| !name.starts_with("resumed/"));
                    return Ok(values);
                }
                Err(EngineError::Stopped) => {}
                Err(error) => return Err(format!("resumed, the {name} fails: {error}")),
            }
        }
        Err(format!(
            "stopped after every {every} steps and resumed {MOST_STOPS} times, the {name} does not end; a training that is \
             not an ArchTrainer's must keep its state in Run::checkpoints itself"
        ))
    }

    fn search(
        &self,
        subject: &Subject<'_>,
        at: &Place<'_>,
        deadline: f64,
    ) -> Result<Searched, String> {
        let (settings, dir) = at.settings(&subject.settings, Phase::Search.name())?;
        let runner = (subject.runner)(&settings).map_err(say)?;
        let seen = Trainings::default();
        let watched = Watched {
            inner: runner.as_ref(),
            seen: seen.clone(),
        };
        let events = self.watchdog(deadline);
        let start = self.clock.now();
        let result = run_search(&at.experiment(&settings, &dir, &events), &watched);
        let end = self.clock.now();
        let result = match result {
            Err(EngineError::Stopped) => {
                return Err(format!(
                    "it was stopped after {:.1} s, which is more than the {:.1} s that it may take",
                    end - start,
                    self.limit_s
                ));
            }
            other => other.map_err(say)?,
        };
        if end > deadline {
            return Err(format!(
                "it took {:.1} s, expected at most {:.1} s",
                end - start,
                self.limit_s
            ));
        }
        let path = Path::new(&settings.nas.search.final_desc_filename);
        if result.final_desc != path {
            return Err(format!(
                "it says that the found description is {}, but nas.search.final_desc_filename asks for {}",
                result.final_desc.display(),
                path.display()
            ));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("no found description: {}", FileError::new("read", path, e)))?;
        let mut registry = at.components.ops.clone();
        runner.register_ops(&mut registry).map_err(say)?;
        let desc = ModelDesc::from_yaml(&text, &path.display().to_string(), registry.catalog())
            .map_err(say)?;
        let trainings = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let steps = events.steps.into_inner();
        let values = events.values.into_inner();
        Ok(Searched {
            desc,
            ops: registry,
            steps,
            trainings,
            values: values.unwrap_or_else(PoisonError::into_inner),
            seconds: end - start,
        })
    }

    /// Evaluates what was found at a place, from nothing but the description's file; gives the logged values.
    fn evaluate(
        &self,
        subject: &Subject<'_>,
        at: &Place<'_>,
    ) -> Result<BTreeMap<String, String>, String> {
        let searched = at.folder(Phase::Search);
        let found = searched.join(FOUND_DESC);
        let (settings, dir) = at.settings(&subject.settings, Phase::Eval.name())?;
        let template = Path::new(&settings.nas.eval.final_desc_filename);
        std::fs::copy(&found, template)
            .map_err(|e| FileError::new("copy", &found, e).to_string())?;
        // Whoever looks for the search shall not find it.
        let hidden = at.dir.join("search, hidden");
        let put = |from: &Path, to: &Path| {
            std::fs::rename(from, to).map_err(|e| FileError::new("rename", from, e).to_string())
        };
        put(&searched, &hidden)?;
        let events = self.watchdog(f64::INFINITY);
        let result = (subject.runner)(&settings)
            .and_then(|runner| run_eval(&at.experiment(&settings, &dir, &events), runner.as_ref()))
            .map_err(say);
        put(&hidden, &searched)?;
        result?;
        let values = events.values.into_inner();
        Ok(values.unwrap_or_else(PoisonError::into_inner))
    }

    /// The description of the search space, checked. It fails for algorithms without one.
    fn check_space(&self, subject: &Subject<'_>, at: &Place<'_>) -> Result<(), String> {
        let spanned = self.space(subject, at)?;
        survives(&spanned.supernet, &spanned.ops)
    }

    fn space(&self, subject: &Subject<'_>, at: &Place<'_>) -> Result<Spanned, String> {
        let (settings, dir) = at.settings(&subject.settings, "space")?;
        let runner = (subject.runner)(&settings).map_err(say)?;
        let events = self.watchdog(f64::INFINITY);
        let mut experiment = at.experiment(&settings, &dir, &events);
        let ops = &mut experiment.components.ops;
        runner.register_ops(ops).map_err(say)?;
        let space = experiment.space(runner.as_ref()).map_err(say)?;
        let shape = &settings.nas.search.model_desc;
        let supernet = experiment
            .build(space.builder(), shape, None, false)
            .map_err(say)?;
        let ops = experiment.components.ops;
        Ok(Spanned {
            space,
            supernet,
            ops,
        })
    }

    fn planted_searches(&self, planted: &Planted<'_>) -> Result<Vec<PlantedSearch>, String> {
        let dir = self.dir.join("planted");
        let data = data::write_textures(&dir.join("data"), PLANTED[0], PLANTED[1]).map_err(say)?;
        let components = &planted.subject.components;
        // There are no kernels for planted ops.
        let compute = Compute::cpu().with_plain_ops();
        let unplanted = Place {
            dir: dir.join("unplanted"),
            data: &data,
            seed: 0,
            components,
            compute: compute.clone(),
        };
        let spanned = self.space(&planted.subject, &unplanted);
        let primitives = match planted.primitives.is_empty() {
            true => spanned
                .as_ref()
                .map(|s| planted::primitives(&s.supernet, s.ops.catalog()))
                .map_err(Clone::clone)?,
            false => planted.primitives.clone(),
        };
        if primitives.len() < 2 {
            return Err(format!(
                "the search space offers {} primitives, expected a choice among several; say which they are in `Planted::primitives`",
                primitives.len()
            ));
        }
        let spanned = spanned.ok().filter(|s| s.supernet.has_alphas());
        let search = |seed: u64| -> Result<PlantedSearch, String> {
            let op = &primitives[seed as usize % primitives.len()];
            let planted_components = Components {
                ops: planted::plant(&components.ops, &primitives, op).map_err(say)?,
                ..components.clone()
            };
            let at = Place {
                dir: dir.join(format!("seed {seed}")),
                data: &data,
                seed,
                components: &planted_components,
                compute: compute.clone(),
            };
            let found = self.search(&planted.subject, &at, f64::INFINITY)?;
            let random_share = match &spanned {
                None => None,
                Some(Spanned {
                    space,
                    supernet,
                    ops,
                }) => {
                    let key = archai_data::rng::Key::new(seed).with("random choice");
                    let random = space.draw(Supernet::new(supernet, ops.catalog()), &key);
                    Some(planted::share(&random.map_err(say)?, &primitives, op))
                }
            };
            Ok(PlantedSearch {
                seed,
                op: op.clone(),
                share: planted::share(&found.desc, &primitives, op),
                random_share,
            })
        };
        (1..=planted.seeds)
            .map(|seed| search(seed).map_err(|e| format!("seed {seed}: {e}")))
            .collect()
    }
}

/// Whether a description passes its check and is the same after YAML.
fn survives(desc: &ModelDesc, registry: &OpRegistry) -> Result<(), String> {
    desc.check(registry.catalog()).map_err(say)?;
    let text = desc.to_yaml().map_err(say)?;
    match ModelDesc::from_yaml(&text, "the description", registry.catalog()).map_err(say)? {
        again if again == *desc => Ok(()),
        _ => Err("written as YAML and read again it is another description".to_string()),
    }
}

/// What is wrong with the way in which architecture parameters moved; empty if nothing is.
fn stuck(trainings: &[Vec<Moved>], catalog: &OpCatalog) -> String {
    if trainings.iter().all(Vec::is_empty) {
        return "no training of a model with architecture parameters was seen; searchers take their hooks from \
                ExperimentRunner::trainer_hooks"
            .to_string();
    }
    let mut problems = BTreeSet::new();
    for moved in trainings.iter().flatten() {
        let chosen = || {
            let all = moved.primitives.iter().zip(&moved.before).zip(&moved.after);
            all.filter(|((name, _), _)| !catalog.is_zero(name))
                .map(|((name, before), after)| (name, *before, *after))
        };
        let still: Vec<&str> = chosen()
            .filter(|(_, before, after)| before == after || !after.is_finite())
            .map(|(name, ..)| name.as_str())
            .collect();
        let alike = |by: &dyn Fn(f64, f64) -> f64| {
            let steps: Vec<f64> = chosen().map(|(_, b, a)| by(b, a)).collect();
            let largest = steps.iter().fold(0f64, |m, s| m.max(s.abs()));
            steps.len() > 1 && steps.iter().all(|s| (s - steps[0]).abs() <= 1e-6 * largest)
        };
        if !still.is_empty() {
            problems.insert(format!("{}: {} did not move", moved.key, still.join(", ")));
        } else if alike(&|before, after| after - before) || alike(&|before, after| after / before) {
            problems.insert(format!(
                "{}: all moved alike, so that nothing tells them apart",
                moved.key
            ));
        }
    }
    Vec::from_iter(problems).join("; ")
}

/// What is wrong with a found network; empty if nothing is.
fn not_found(desc: &ModelDesc, bounds_edges: bool, catalog: &OpCatalog) -> String {
    let mut problems = Vec::new();
    for (c, cell) in desc.cells.iter().enumerate() {
        for (n, node) in cell.nodes.iter().enumerate() {
            if bounds_edges && node.edges.len() > desc.max_final_edges {
                problems.push(format!(
                    "cell {c}, node {n} has {} edges where max_final_edges is {}",
                    node.edges.len(),
                    desc.max_final_edges
                ));
            }
            for edge in &node.edges {
                let children = edge.op.children.iter().map(|child| &child.op);
                for op in children.chain([&edge.op]) {
                    if catalog.is_zero(&op.name) {
                        problems.push(format!("cell {c}, node {n} holds `{}`", op.name));
                    }
                }
                if edge.op.is_mixed() {
                    problems.push(format!("cell {c}, node {n} is still a choice"));
                }
            }
        }
    }
    problems.join("; ")
}

/// The first key that two maps do not agree on.
fn first_difference<V: PartialEq>(
    a: &BTreeMap<String, V>,
    b: &BTreeMap<String, V>,
) -> Option<String> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter()
        .find(|key| a.get(*key) != b.get(*key))
        .cloned()
}

/// All files below a folder by their paths in it; where they name the folder itself, it counts as `.`.
fn files(dir: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |e| FileError::new("read", &folder, e).to_string();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes =
                std::fs::read(&path).map_err(|e| FileError::new("read", &path, e).to_string())?;
            let bytes = match String::from_utf8(bytes) {
                Ok(text) => text.replace(&dir.display().to_string(), ".").into_bytes(),
                Err(binary) => binary.into_bytes(),
            };
            let name = path.strip_prefix(dir).unwrap_or(&path);
            all.insert(name.display().to_string(), bytes);
        }
    }
    Ok(all)
}

/// Mean and its standard error; none of fewer than two numbers.
fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((mean, (squares / (n - 1.0) / n).sqrt()))
}
