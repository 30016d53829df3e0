//! A search at work: workers that ask, evaluate and report, and a journal that is written before anything is acted on.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use archai_spec::names::UnknownName;
use archai_spec::registry::Registry;
use archai_spec::rng::Key;

use crate::evaluator::{EvalError, Evaluator, FailureKind, Job, Reports, Stop, Verdict};
use crate::journal::{Event, JournalError, Proposed, Store};
use crate::optimiser::{Exhausted, Optimiser, Proposal, View, Work};
use crate::optimisers::OptimiserKind;
use crate::problem::{ACTIVATION_MEMORY, Catalogue, Problem, lock, own_quantities};
use crate::quantity::{Bound, CostClass, Limit, Quantity, Values};
use crate::settings::Settings;
use crate::space::{Member, SearchSpace, SpaceError};
use crate::state::{Ledger, TrialState};

/// The version of journals.
const VERSION: u32 = 1;

/// Something is wrong with a search.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The settings.
    #[error("{0}")]
    Settings(String),
    /// The name of an optimiser.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// The space.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// No network is within the limits.
    #[error("{0}")]
    Impossible(String),
    /// The evaluation works for no network.
    #[error("{0}")]
    Evaluation(String),
    /// The events of a journal do not follow from one another.
    #[error(
        "event {number} of the journal does not follow from those before it: {problem}; the file was edited or mixed up"
    )]
    Events {
        /// The number of the event, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// A folder of a trial.
    #[error("cannot make the folder `{}` of a trial: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// What a search is made of.
pub struct Setup<'a> {
    /// The space.
    pub space: Arc<dyn SearchSpace>,
    /// What finds out quantities.
    pub evaluators: Vec<Arc<dyn Evaluator>>,
    /// What proposals depend on. Its list of quantities is filled in.
    pub settings: Settings,
    /// The optimisers that its name chooses from.
    pub optimisers: &'a Registry<dyn OptimiserKind>,
    /// Where events are kept.
    pub store: Box<dyn Store>,
    /// In which the trials' own folders are made, if evaluations need a place on disk.
    pub folder: Option<PathBuf>,
}

/// How to go on with a search.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// How many threads evaluate.
    pub workers: usize,
    /// How many networks may be tried in all, those of earlier runs included; none = until the space is exhausted.
    pub budget: Option<usize>,
    /// A request to end early.
    pub stop: &'a Stop,
    /// Seconds since some beginning.
    pub clock: &'a (dyn Fn() -> f64 + Sync),
}

/// Why a search came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As many networks were tried as were asked for.
    Budget,
    /// Nothing is left to be tried, and why.
    Exhausted(String),
    /// It was asked to end.
    Stopped,
}

/// A search: what happened so far, and what goes on with it.
///
/// See the [crate's page](crate) for an example.
pub struct Study {
    problem: Problem,
    evaluators: Vec<Arc<dyn Evaluator>>,
    optimiser: Arc<dyn Optimiser>,
    store: Box<dyn Store>,
    ledger: Ledger,
    events: Vec<Event>,
    folder: Option<PathBuf>,
}

/// What differs between a journal and what its settings give again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The number of the event, from 1.
    pub event: usize,
    /// What stands there.
    pub found: String,
    /// What was computed again.
    pub expected: String,
}

impl Study {
    /// Begins a search, or takes one up where its journal ends.
    ///
    /// # Errors
    /// Settings that do not fit, limits that no network meets (the message shows the nearest one), a journal of another search
    /// or one that is damaged.
    pub fn open(setup: Setup<'_>) -> Result<Study, StudyError> {
        let Setup {
            space,
            evaluators,
            settings,
            optimisers,
            store,
            folder,
        } = setup;
        let memory = uses(&settings, ACTIVATION_MEMORY);
        let catalogue = Arc::new(Catalogue::new(space, evaluators.iter().cloned(), memory));
        Self::open_with(catalogue, evaluators, settings, optimisers, store, folder)
    }

    /// As [`Study::open`], with a catalogue that other searches of the space share.
    ///
    /// # Errors
    /// As there.
    pub fn open_with(
        catalogue: Arc<Catalogue>,
        evaluators: Vec<Arc<dyn Evaluator>>,
        mut settings: Settings,
        optimisers: &Registry<dyn OptimiserKind>,
        mut store: Box<dyn Store>,
        folder: Option<PathBuf>,
    ) -> Result<Study, StudyError> {
        let memory = uses(&settings, ACTIVATION_MEMORY);
        let own = own_quantities().into_iter();
        settings.quantities = own
            .filter(|q| memory || q.name != ACTIVATION_MEMORY)
            .collect();
        for evaluator in &evaluators {
            settings
                .quantities
                .extend(evaluator.quantities().iter().cloned());
        }
        let kind = optimisers.get(&settings.optimiser.name)?;
        let optimiser = kind
            .make(&settings.optimiser.settings)
            .map_err(StudyError::Settings)?;
        let events = store.load()?;
        let space = catalogue.space();
        let beginning = Event::Study {
            version: VERSION,
            space: space.name().to_string(),
            fingerprint: blake3::Hash::from_bytes(space.fingerprint())
                .to_hex()
                .to_string(),
            settings: settings.clone(),
        };
        let order = settings.order;
        let problem = Problem::new(catalogue, settings)?;
        let ledger = Ledger::new(order, problem.last_rung());
        let mut study = Study {
            problem,
            evaluators,
            optimiser,
            store,
            ledger,
            events: Vec::new(),
            folder,
        };
        match events.first() {
            None => {
                study.check_limits()?;
                study.store.append(&beginning)?;
                study.events.push(beginning);
                study.ledger.events = 1;
            }
            Some(first) => {
                if *first != beginning {
                    return Err(StudyError::Settings(another(first, &beginning)));
                }
                study.ledger.events = 1;
                for (i, event) in events.iter().enumerate().skip(1) {
                    let problem = |problem| StudyError::Events {
                        number: i + 1,
                        problem,
                    };
                    study.ledger.apply(event).map_err(problem)?;
                }
                study.events = events;
            }
        }
        Ok(study)
    }

    /// The search as it was set up.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// All events so far.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What is known at this point. In strict order, some results are not visible before the next run begins or this one ends.
    pub fn view(&self) -> View<'_> {
        View::new(&self.problem, &self.ledger.state)
    }

    /// Everything that is known, whatever proposals may see of it.
    pub fn results(&self) -> crate::state::State {
        let mut ledger = self.ledger.clone();
        ledger.release_all();
        ledger.state
    }

    /// A view of [`Study::results`].
    pub fn view_of<'a>(&'a self, results: &'a crate::state::State) -> View<'a> {
        View::new(&self.problem, results)
    }

    /// Adds what somebody knows of a network already: the values after a whole training. In strict order, add such trials before
    /// the first run.
    ///
    /// # Errors
    /// It is no member of the space, its network was proposed or added before, an objective is missing or no number, a value is
    /// beyond a limit.
    pub fn add(
        &mut self,
        member: Member,
        values: Values,
        source: &str,
    ) -> Result<usize, StudyError> {
        let known = self.problem.catalogue.know(&member)?;
        if let Some(trial) = self.view().trial_of(&known) {
            return Err(StudyError::Settings(format!(
                "the network {} is trial {} of the search already",
                known.id, trial.number
            )));
        }
        for quantity in self.problem.objectives() {
            let value = values
                .get(&quantity.name)
                .or_else(|| known.statics.get(&quantity.name));
            if value.is_none_or(|value| !value.is_finite()) {
                return Err(StudyError::Settings(format!(
                    "the trial of {} has no number for the objective `{}`; give one for each objective",
                    known.id, quantity.name
                )));
            }
        }
        let mut all = known.statics.clone();
        all.extend(values.clone());
        let beyond = self.problem.settings.limits.iter().find_map(|limit| {
            let value = all.get(&limit.quantity)?;
            (!limit.admits(*value)).then_some((limit, *value))
        });
        if let Some((limit, value)) = beyond {
            return Err(StudyError::Settings(format!(
                "the network {} is beyond the limit {limit}: its `{}` is {value}",
                known.id, limit.quantity
            )));
        }
        let trial = self.ledger.state.trials.len();
        let event = Event::Added {
            trial,
            network: Proposed {
                member,
                id: known.id.clone(),
                hash: known.hash.clone(),
                statics: known.statics.clone(),
            },
            epochs: self.problem.last_rung(),
            values: values
                .into_iter()
                .filter(|(_, value)| value.is_finite())
                .collect(),
            source: source.to_string(),
        };
        record(&mut *self.store, &mut self.ledger, &mut self.events, event)?;
        Ok(trial)
    }

    /// Wants a network to be tried before whatever the optimiser proposes. It counts in the budget like any other.
    ///
    /// # Errors
    /// It is no member of the space, was proposed, added or asked for before, or is beyond a static limit.
    pub fn enqueue(&mut self, member: Member, source: &str) -> Result<(), StudyError> {
        let known = self.problem.catalogue.know(&member)?;
        if let Some(trial) = self.view().trial_of(&known) {
            return Err(StudyError::Settings(format!(
                "the network {} is trial {} of the search already",
                known.id, trial.number
            )));
        }
        let mut waiting = self.ledger.queue.iter();
        if waiting.any(|(waiting, _)| waiting.hash == known.hash) {
            return Err(StudyError::Settings(format!(
                "the network {} waits to be tried already",
                known.id
            )));
        }
        if let Some((limit, value)) = self.problem.broken_static(&known.statics) {
            let value = value.map_or("unknown".to_string(), |value| value.to_string());
            return Err(StudyError::Settings(format!(
                "the network {} is beyond the limit {limit}: its `{}` is {value}",
                known.id, limit.quantity
            )));
        }
        let event = Event::Enqueued {
            network: Proposed {
                member,
                id: known.id.clone(),
                hash: known.hash.clone(),
                statics: known.statics.clone(),
            },
            source: source.to_string(),
        };
        record(&mut *self.store, &mut self.ledger, &mut self.events, event)
    }

    /// The ids of the networks that somebody wants to be tried and that were not yet.
    pub fn queued(&self) -> Vec<&str> {
        let waiting = self.ledger.queue.iter();
        waiting.map(|(network, _)| network.id.as_str()).collect()
    }

    /// Works until the budget is used up, nothing is left, or somebody asks to end.
    ///
    /// # Errors
    /// The journal cannot be written, or the evaluation works for no network. Whatever was recorded stays recorded.
    pub fn run(&mut self, run: Run<'_>) -> Result<Outcome, StudyError> {
        let session = Event::Session { budget: run.budget };
        record(
            &mut *self.store,
            &mut self.ledger,
            &mut self.events,
            session,
        )?;
        let orphans: VecDeque<usize> = (0..self.ledger.jobs.len())
            .filter(|job| self.ledger.jobs[*job].end.is_none())
            .collect();
        let shared = Shared {
            problem: &self.problem,
            evaluators: &self.evaluators,
            optimiser: &*self.optimiser,
            folder: self.folder.as_deref(),
            run,
            core: Mutex::new(Core {
                store: &mut *self.store,
                ledger: &mut self.ledger,
                events: &mut self.events,
                orphans,
                under_way: 0,
                successes: 0,
                failures: 0,
                end: None,
            }),
            changed: Condvar::new(),
        };
        std::thread::scope(|scope| {
            for _ in 1..run.workers.max(1) {
                scope.spawn(|| shared.work());
            }
            shared.work();
        });
        let core = shared.core.into_inner();
        let core = core.unwrap_or_else(std::sync::PoisonError::into_inner);
        core.end.unwrap_or(Ok(Outcome::Stopped))
    }

    /// Computes every proposal and verdict of the journal again and lists what comes out differently. The journal of a search
    /// whose program, settings and space are the same has no differences.
    ///
    /// # Errors
    /// The events do not follow from one another.
    pub fn verify(&self) -> Result<Vec<Difference>, StudyError> {
        let mut ledger = Ledger::new(self.problem.settings.order, self.problem.last_rung());
        ledger.events = 1;
        let mut differences = Vec::new();
        for (i, event) in self.events.iter().enumerate().skip(1) {
            let mut compare = |found: String, expected: String| {
                if found != expected {
                    differences.push(Difference {
                        event: i + 1,
                        found,
                        expected,
                    });
                }
            };
            match event {
                Event::Proposed { seen, .. } | Event::Skipped { seen, .. } => {
                    ledger.release();
                    let again = propose(&self.problem, &*self.optimiser, &ledger);
                    let expected = match again {
                        Ok(again) => format!("{again:?}"),
                        Err(Exhausted::UntilResults) => format!(
                            "{:?}",
                            Event::Skipped {
                                job: ledger.jobs.len(),
                                seen: ledger.events
                            }
                        ),
                        Err(other) => other.to_string(),
                    };
                    compare(format!("{event:?}"), expected);
                    compare(format!("seen: {seen}"), format!("seen: {}", ledger.events));
                }
                Event::Reported {
                    job,
                    epochs,
                    values,
                    verdict,
                    ..
                }
                | Event::Finished {
                    job,
                    epochs,
                    values,
                    verdict,
                    ..
                } => {
                    let record = ledger.jobs.get(*job);
                    let ended = record.and_then(|record| record.reports.last().cloned());
                    let again = match (event, ended) {
                        // A training that was ended by a report keeps that report's verdict.
                        (Event::Finished { .. }, Some((at, _, verdict)))
                            if verdict != Verdict::Go && at == *epochs =>
                        {
                            verdict
                        }
                        _ => judge(
                            &self.problem,
                            &*self.optimiser,
                            &ledger,
                            *job,
                            *epochs,
                            values,
                        ),
                    };
                    compare(format!("{verdict:?}"), format!("{again:?}"));
                }
                _ => {}
            }
            let problem = |problem| StudyError::Events {
                number: i + 1,
                problem,
            };
            ledger.apply(event).map_err(problem)?;
        }
        Ok(differences)
    }

    /// Refuses limits that no network meets.
    fn check_limits(&self) -> Result<(), StudyError> {
        let limits = &self.problem.static_limits;
        if limits.is_empty() {
            return Ok(());
        }
        let key = Key::new(self.problem.settings.seed).with("limits");
        let Err(reason) = self.view().draw(key) else {
            return Ok(());
        };
        let mut lines = vec![format!(
            "no network of `{}` within the limits was found ({reason})",
            self.problem.space().name()
        )];
        for limit in limits {
            if let Some((value, id)) = self.extreme(limit, key) {
                let (which, mend) = match limit.bound {
                    Bound::AtMost(_) => ("smallest", "raise the limit or add smaller options"),
                    Bound::AtLeast(_) => ("largest", "lower the limit or add larger options"),
                };
                let verdict = if limit.admits(value) {
                    "within"
                } else {
                    "beyond"
                };
                lines.push(format!(
                    "the {which} `{}` is {value}, of {id}: {verdict} the limit {limit}; {mend}",
                    limit.quantity
                ));
            }
        }
        Err(StudyError::Impossible(lines.join("\n")))
    }

    /// The member that is farthest on a limit's good side: of all where they are few, else as far as neighbours lead.
    fn extreme(&self, limit: &Limit, key: Key) -> Option<(f64, String)> {
        let space = self.problem.space();
        let sign = match limit.bound {
            Bound::AtMost(_) => 1.0,
            Bound::AtLeast(_) => -1.0,
        };
        let value = |member: &Member| {
            let known = self.problem.catalogue.know(member).ok()?;
            Some((sign * known.statics.get(&limit.quantity)?, known.id.clone()))
        };
        let size = space.size().and_then(|size| u64::try_from(size).ok());
        let less = |a: &(f64, String), b: &(f64, String)| a.0.total_cmp(&b.0);
        let found = match space
            .enumerate()
            .filter(|_| size.is_some_and(|size| size <= 20_000))
        {
            Some(all) => all.filter_map(|member| value(&member)).min_by(less),
            None => {
                let walks = (0..8u64).filter_map(|i| {
                    let mut at = space.sample(key.with(i)).ok()?;
                    let mut best = value(&at)?;
                    loop {
                        let around = space.neighbours(&at).into_iter();
                        let around = around.filter_map(|member| Some((value(&member)?, member)));
                        match around.min_by(|a, b| less(&a.0, &b.0)) {
                            Some((smaller, member)) if smaller.0 < best.0 => {
                                (at, best) = (member, smaller);
                            }
                            _ => return Some(best),
                        }
                    }
                });
                walks.min_by(less)
            }
        };
        found.map(|(value, id)| (sign * value, id))
    }
}

fn uses(settings: &Settings, name: &str) -> bool {
    let limits = settings.limits.iter().map(|limit| &limit.quantity);
    let mut all = settings
        .objectives
        .iter()
        .chain(limits)
        .chain(&settings.prior);
    all.any(|other| other == name)
}

/// Why a journal does not belong to a search.
fn another(found: &Event, expected: &Event) -> String {
    let text = |event: &Event| serde_json::to_value(event).unwrap_or_default();
    let (found, expected) = (text(found), text(expected));
    let mut differing = Vec::new();
    let mut note = |key: &str, a: &serde_json::Value, b: &serde_json::Value| {
        if a != b {
            differing.push(format!("`{key}` is {a} there and {b} here"));
        }
    };
    for key in ["event", "version", "space", "fingerprint"] {
        note(key, &found[key], &expected[key]);
    }
    if let (Some(found), Some(expected)) = (
        found["settings"].as_object(),
        expected["settings"].as_object(),
    ) {
        let null = serde_json::Value::Null;
        let keys = found
            .keys()
            .chain(expected.keys().filter(|key| !found.contains_key(*key)));
        for key in keys {
            let value = |map: &serde_json::Map<_, _>| {
                let value = map.get(key).unwrap_or(&null);
                // As they are written on a command line.
                match serde_json::from_value::<Vec<Limit>>(value.clone()) {
                    Ok(limits) if key == "limits" => {
                        limits.iter().map(ToString::to_string).collect()
                    }
                    _ => value.clone(),
                }
            };
            note(key, &value(found), &value(expected));
        }
    }
    format!(
        "the journal is that of another search: {}; use the same settings, or begin in another folder",
        differing.join("; ")
    )
}

/// Writes an event down, then takes it in.
fn record(
    store: &mut dyn Store,
    ledger: &mut Ledger,
    events: &mut Vec<Event>,
    event: Event,
) -> Result<(), StudyError> {
    store.append(&event)?;
    ledger.apply(&event).map_err(|problem| StudyError::Events {
        number: ledger.events + 1,
        problem,
    })?;
    events.push(event);
    Ok(())
}

/// The next proposal as an event: a function of the settings and the events so far.
fn propose(
    problem: &Problem,
    optimiser: &dyn Optimiser,
    ledger: &Ledger,
) -> Result<Event, Exhausted> {
    let job = ledger.jobs.len();
    let view = View::new(problem, &ledger.state);
    let key = Key::new(problem.settings.seed).with("proposal").with(job);
    if let Some((network, source)) = ledger.queue.front().filter(|_| view.may_start()) {
        let until = match problem.settings.rungs.as_slice() {
            [first, ..] => *first,
            [] => problem.last_rung(),
        };
        return Ok(Event::Proposed {
            job,
            trial: ledger.state.trials.len(),
            network: Some(network.clone()),
            epochs: (0, until),
            origin: format!("asked for: {source}"),
            seen: ledger.events,
        });
    }
    let Proposal {
        work,
        until,
        origin,
    } = optimiser.ask(&view, key)?;
    let last = problem.last_rung();
    let until = until.unwrap_or(last).min(last);
    let seen = ledger.events;
    match work {
        Work::New(member) => {
            let impossible =
                |what: &str| Exhausted::Space(format!("the optimiser proposed {what}"));
            let known = problem.catalogue.know(&member);
            let known = known.map_err(|e| impossible(&format!("what is no member: {e}")))?;
            if view.trial_of(&known).is_some() {
                return Err(impossible(&format!("{}, which was tried before", known.id)));
            }
            if !problem.admits(&known.statics) {
                return Err(impossible(&format!(
                    "{}, which is beyond a limit",
                    known.id
                )));
            }
            Ok(Event::Proposed {
                job,
                trial: ledger.state.trials.len(),
                network: Some(Proposed {
                    member,
                    id: known.id.clone(),
                    hash: known.hash.clone(),
                    statics: known.statics.clone(),
                }),
                epochs: (0, until),
                origin,
                seen,
            })
        }
        Work::Continue(trial) => {
            let waiting = view.trials().get(trial);
            let waiting = waiting.filter(|t| t.state == TrialState::Paused && t.epochs < until);
            let Some(waiting) = waiting else {
                return Err(Exhausted::Space(format!(
                    "the optimiser wants trial {trial} to go on, which does not wait"
                )));
            };
            Ok(Event::Proposed {
                job,
                trial,
                network: None,
                epochs: (waiting.epochs, until),
                origin,
                seen,
            })
        }
    }
}

/// What becomes of a job's network after these values.
fn judge(
    problem: &Problem,
    optimiser: &dyn Optimiser,
    ledger: &Ledger,
    job: usize,
    epochs: u32,
    values: &Values,
) -> Verdict {
    let Some(trial) = ledger.jobs.get(job).and_then(|job| job.trial) else {
        return Verdict::Go;
    };
    if epochs >= problem.last_rung() {
        return Verdict::Go;
    }
    let view = View {
        horizon: ledger.horizon(job),
        ..View::new(problem, &ledger.state)
    };
    optimiser.verdict(&view, &ledger.state.trials[trial], epochs, values)
}

/// After so many failures and no success the evaluation itself is held to be at fault.
const HOPELESS: usize = 20;

/// What the workers of a run share.
struct Shared<'a> {
    problem: &'a Problem,
    evaluators: &'a [Arc<dyn Evaluator>],
    optimiser: &'a dyn Optimiser,
    folder: Option<&'a Path>,
    run: Run<'a>,
    core: Mutex<Core<'a>>,
    changed: Condvar,
}

struct Core<'a> {
    store: &'a mut dyn Store,
    ledger: &'a mut Ledger,
    events: &'a mut Vec<Event>,
    /// Jobs that an earlier run began.
    orphans: VecDeque<usize>,
    under_way: usize,
    successes: usize,
    failures: usize,
    end: Option<Result<Outcome, StudyError>>,
}

impl Core<'_> {
    fn record(&mut self, event: Event) -> bool {
        if matches!(self.end, Some(Err(_))) {
            // What cannot be written any more must not be acted on.
            return false;
        }
        match record(self.store, self.ledger, self.events, event) {
            Ok(()) => true,
            Err(error) => {
                self.end = Some(Err(error));
                false
            }
        }
    }
}

/// What a worker is to do.
enum Task {
    Evaluate(usize),
    Wait,
    End,
}

/// How an evaluation came out.
enum Found {
    Values {
        epochs: u32,
        values: Values,
        verdict: Option<Verdict>,
    },
    Infeasible {
        values: Values,
        limit: String,
    },
    Error(EvalError),
    /// It was interrupted; the next run resumes it.
    Interrupted,
}

impl Shared<'_> {
    fn work(&self) {
        loop {
            let mut core = lock(&self.core);
            match self.next(&mut core) {
                Task::End => {
                    self.changed.notify_all();
                    return;
                }
                Task::Wait => {
                    // Requests to end come from elsewhere, so they are looked for from time to time.
                    let waited = self.changed.wait_timeout(core, Duration::from_millis(50));
                    drop(waited);
                }
                Task::Evaluate(job) => {
                    core.under_way += 1;
                    drop(core);
                    self.evaluate(job);
                    lock(&self.core).under_way -= 1;
                    self.changed.notify_all();
                }
            }
        }
    }

    fn next(&self, core: &mut Core<'_>) -> Task {
        if core.end.is_some() {
            return Task::End;
        }
        if self.run.stop.is_requested() {
            core.end = Some(Ok(Outcome::Stopped));
            return Task::End;
        }
        if let Some(job) = core.orphans.pop_front() {
            return Task::Evaluate(job);
        }
        if core.ledger.awaited().is_some() {
            return Task::Wait;
        }
        let wait_or_end = |core: &mut Core<'_>, outcome: Outcome| match core.under_way {
            0 => {
                core.end = Some(Ok(outcome));
                Task::End
            }
            _ => Task::Wait,
        };
        let view = View::new(self.problem, &core.ledger.state);
        let may_start = view.may_start();
        // Without rungs there is nothing to do but to begin with new networks.
        if !may_start && self.problem.settings.rungs.len() < 2 {
            return wait_or_end(core, Outcome::Budget);
        }
        core.ledger.release();
        match propose(self.problem, self.optimiser, core.ledger) {
            Ok(Event::Proposed {
                network: Some(_), ..
            }) if !may_start => wait_or_end(core, Outcome::Budget),
            Ok(event) => {
                let job = core.ledger.jobs.len();
                match core.record(event) {
                    true => Task::Evaluate(job),
                    false => Task::End,
                }
            }
            Err(Exhausted::UntilResults) => {
                let outcome = match may_start {
                    true => Outcome::Exhausted(
                        "the optimiser waits for results, and none is under way".into(),
                    ),
                    false => Outcome::Budget,
                };
                match core.ledger.may_skip() {
                    // In strict order a proposal sees more only if it is a later one.
                    true => {
                        let skipped = Event::Skipped {
                            job: core.ledger.jobs.len(),
                            seen: core.ledger.events,
                        };
                        match core.record(skipped) {
                            true => self.next(core),
                            false => Task::End,
                        }
                    }
                    false => wait_or_end(core, outcome),
                }
            }
            Err(Exhausted::Space(reason)) => wait_or_end(core, Outcome::Exhausted(reason)),
        }
    }

    /// Evaluates a job, again where that may help, and records what came of it.
    fn evaluate(&self, job: usize) {
        loop {
            let (trial, attempt, epochs, measured) = {
                let mut core = lock(&self.core);
                let record = &core.ledger.jobs[job];
                let Some(trial) = record.trial else {
                    return;
                };
                let (attempt, epochs) = (record.attempt, record.epochs);
                if !core.record(Event::Started { job, attempt }) {
                    return;
                }
                let trial = core.ledger.state.trials[trial].clone();
                let measured = !trial.measured.is_empty();
                (trial, attempt, epochs, measured)
            };
            let folder = self
                .folder
                .map(|folder| folder.join("trials").join(trial.number.to_string()));
            if let Some(path) = &folder
                && let Err(source) = std::fs::create_dir_all(path)
            {
                let path = path.clone();
                lock(&self.core).end = Some(Err(StudyError::Folder { path, source }));
                return;
            }
            let begun = (self.run.clock)();
            let work = Job {
                trial: trial.number,
                attempt,
                member: &trial.member,
                id: &trial.id,
                space: self.problem.space(),
                epochs,
                folder: folder.as_deref(),
                // By the network, so that it is trained the same whenever it is proposed.
                key: Key::new(self.problem.settings.seed)
                    .with("evaluation")
                    .with(&trial.hash),
                stop: self.run.stop,
            };
            let found = self.find_out(job, &work, measured);
            let seconds = (self.run.clock)() - begun;
            let mut core = lock(&self.core);
            let keep = match found {
                Found::Interrupted => return,
                Found::Values {
                    epochs,
                    values,
                    verdict,
                } => {
                    core.successes += 1;
                    let verdict = verdict.unwrap_or_else(|| {
                        judge(
                            self.problem,
                            self.optimiser,
                            core.ledger,
                            job,
                            epochs,
                            &values,
                        )
                    });
                    let classes = [CostClass::Cheap, CostClass::Expensive];
                    let broken = self.problem.broken(&values, &classes);
                    let broken = broken.filter(|_| epochs >= self.problem.last_rung());
                    match broken {
                        Some(limit) => {
                            core.record(Event::Infeasible {
                                job,
                                values,
                                limit: limit.to_string(),
                                seconds,
                            });
                            false
                        }
                        None => {
                            core.record(Event::Finished {
                                job,
                                epochs,
                                values,
                                seconds,
                                verdict,
                            });
                            verdict != Verdict::Stop
                        }
                    }
                }
                Found::Infeasible { values, limit } => {
                    core.successes += 1;
                    core.record(Event::Infeasible {
                        job,
                        values,
                        limit,
                        seconds,
                    });
                    false
                }
                Found::Error(error) => {
                    let again = error.kind == FailureKind::Machine
                        && attempt < self.problem.settings.retries;
                    if error.kind == FailureKind::Setup {
                        core.end = Some(Err(StudyError::Evaluation(format!(
                            "the evaluation of {} is set up wrongly: {}",
                            trial.id, error.message
                        ))));
                        return;
                    }
                    core.record(Event::Failed {
                        job,
                        attempt,
                        kind: error.kind,
                        message: error.message.clone(),
                        again,
                        seconds,
                    });
                    if again && core.end.is_none() {
                        continue;
                    }
                    core.failures += 1;
                    if core.successes == 0 && core.failures >= HOPELESS && core.end.is_none() {
                        core.end = Some(Err(StudyError::Evaluation(format!(
                            "all of the {HOPELESS} evaluations of this run failed, so it is not the networks; the last one, of {}, \
                             said: {}",
                            trial.id, error.message
                        ))));
                    }
                    false
                }
            };
            drop(core);
            if let Some(folder) = folder.filter(|_| !keep) {
                // What cannot win keeps no checkpoint. One that stays only takes room.
                let _ = std::fs::remove_dir_all(folder);
            }
            return;
        }
    }

    /// Cheap quantities first, then, if they are within their limits, the others.
    fn find_out(&self, job: usize, work: &Job<'_>, measured: bool) -> Found {
        let mut values = Values::new();
        let of_class = |class: CostClass| {
            let found = self.evaluators.iter();
            found.filter(move |evaluator| class_of(evaluator.quantities()) == Some(class))
        };
        if !measured {
            for evaluator in of_class(CostClass::Cheap) {
                match guarded(|| evaluator.evaluate(work, &mut Nowhere)) {
                    Ok(found) => values.extend(found),
                    Err(_) if work.stop.is_requested() => return Found::Interrupted,
                    Err(error) => return Found::Error(error),
                }
                if let Err(error) = check(evaluator.quantities(), &values) {
                    return Found::Error(error);
                }
            }
            if let Some(limit) = self.problem.broken(&values, &[CostClass::Cheap]) {
                let limit = limit.to_string();
                return Found::Infeasible { values, limit };
            }
        }
        let mut end = (work.epochs.1, None);
        for evaluator in of_class(CostClass::Expensive) {
            let mut reports = Recorder {
                shared: self,
                job,
                ended: None,
                failed: None,
                interrupted: false,
            };
            let found = guarded(|| evaluator.evaluate(work, &mut reports));
            if reports.interrupted || (found.is_err() && work.stop.is_requested()) {
                return Found::Interrupted;
            }
            if let Some(error) = reports.failed {
                return Found::Error(error);
            }
            match found {
                Ok(found) => values.extend(found),
                Err(error) => return Found::Error(error),
            }
            if let Some((epochs, verdict)) = reports.ended {
                end = (epochs, Some(verdict));
            }
            if let Err(error) = check(evaluator.quantities(), &values) {
                return Found::Error(error);
            }
        }
        // Numbers beside the quantities are kept where they are numbers.
        values.retain(|_, value| value.is_finite());
        Found::Values {
            epochs: end.0,
            values,
            verdict: end.1,
        }
    }
}

/// The class of what an evaluator measures; none if everything is static.
fn class_of(quantities: &[Quantity]) -> Option<CostClass> {
    let has = |class: CostClass| quantities.iter().any(|quantity| quantity.class == class);
    match (has(CostClass::Expensive), has(CostClass::Cheap)) {
        (true, _) => Some(CostClass::Expensive),
        (false, true) => Some(CostClass::Cheap),
        (false, false) => None,
    }
}

/// Every quantity must be there and a number.
fn check(quantities: &[Quantity], values: &Values) -> Result<(), EvalError> {
    for quantity in quantities.iter().filter(|q| q.class != CostClass::Static) {
        match values.get(&quantity.name) {
            Some(value) if value.is_finite() => {}
            Some(value) => {
                return Err(EvalError::network(format!(
                    "`{}` is {value}, which is no number",
                    quantity.name
                )));
            }
            None => {
                let name = &quantity.name;
                return Err(EvalError::network(format!(
                    "the evaluation gave no value for `{name}`"
                )));
            }
        }
    }
    Ok(())
}

/// Lets no panic out: it is a failure of the network like any other.
fn guarded(evaluate: impl FnOnce() -> Result<Values, EvalError>) -> Result<Values, EvalError> {
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => match panic.downcast::<&str>() {
            Ok(text) => (*text).to_string(),
            Err(_) => "without a message".to_string(),
        },
    };
    match catch_unwind(AssertUnwindSafe(evaluate)) {
        Ok(found) => found,
        Err(panic) => Err(EvalError::network(format!(
            "the evaluation panicked: {}",
            text(panic)
        ))),
    }
}

/// Where cheap measurements report to.
struct Nowhere;

impl Reports for Nowhere {
    fn report(&mut self, _epochs: u32, _values: &Values) -> Verdict {
        Verdict::Go
    }
}

/// Takes reports down and answers them.
struct Recorder<'a, 'b> {
    shared: &'a Shared<'b>,
    job: usize,
    ended: Option<(u32, Verdict)>,
    failed: Option<EvalError>,
    interrupted: bool,
}

impl Reports for Recorder<'_, '_> {
    fn report(&mut self, epochs: u32, values: &Values) -> Verdict {
        if let Some((_, verdict)) = self.ended {
            return verdict;
        }
        if let Some((name, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
            let message = format!("`{name}` is {value} after {epochs} epochs, which is no number");
            self.failed = Some(EvalError::network(message));
            return Verdict::Stop;
        }
        let shared = self.shared;
        let mut core = lock(&shared.core);
        // A job that was begun before answers what it answered then, wherever its checkpoint lets it go on.
        let reports = &core.ledger.jobs[self.job].reports;
        let recorded = reports.iter().find(|(at, ..)| *at == epochs);
        let verdict = match recorded {
            Some((_, _, verdict)) => *verdict,
            _ if core.ledger.jobs[self.job]
                .reports
                .last()
                .is_some_and(|last| last.0 >= epochs) =>
            {
                Verdict::Go
            }
            _ => {
                if shared.run.stop.is_requested() || core.end.is_some() {
                    self.interrupted = true;
                    return Verdict::Pause;
                }
                let verdict = judge(
                    shared.problem,
                    shared.optimiser,
                    core.ledger,
                    self.job,
                    epochs,
                    values,
                );
                let seen = core.ledger.events;
                let kept = core.record(Event::Reported {
                    job: self.job,
                    epochs,
                    values: values.clone(),
                    verdict,
                    seen,
                });
                if !kept {
                    self.interrupted = true;
                    return Verdict::Pause;
                }
                verdict
            }
        };
        if verdict != Verdict::Go {
            self.ended = Some((epochs, verdict));
        }
        verdict
    }
}
