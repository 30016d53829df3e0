//! A job while it runs: its phases in their directories, with their logs, checkpoints and records.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use archai_data::Loaders;
use archai_engine::checkpoint::{CheckpointStore, Opened};
use archai_engine::device::USUAL_DEVICE;
use archai_engine::evaluater::EvalResult;
use archai_engine::experiment::{Experiment, ExperimentRunner};
use archai_engine::export::Provenance;
use archai_engine::files::{FileError, write_atomically};
use archai_engine::phases::{run_eval, run_search};
use archai_engine::run::{Run, StopFlag};
use archai_engine::searcher::SearchResult;
use archai_engine::{Engine, EngineError};
use archai_spec::event::{Event, EventSink, Level, LogPath, json};
use archai_spec::settings::Settings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::claim::{Claim, Claimant, PhaseState};
use crate::error::LabError;
use crate::lab::Lab;
use crate::latency;
use crate::log::{Audience, LogOptions, RunLog};
use crate::message::{Message, Term};
use crate::observer::{Ended, LabEvent, Observer};
use crate::phase::Phase;
use crate::plan::{Job, Plan, Progress};
use crate::record::{RECORD_VERSION, Record, figures_of_eval, figures_of_search};
use crate::request::Request;
use crate::rundir::{CHECKPOINTS, CONFIG_FILE, FOUND_DESC, RECORD_FILE, RunDir, SUMMARY_FILE};
use crate::started::Started;
use crate::summary::{Outcome, as_markdown};
use crate::table::TableEntry;
use crate::template::Template;

impl Lab {
    /// Executes a request: for each data set and each algorithm a search and an evaluation. What an equal request left
    /// unfinished before is resumed. Gives what was found, in the order of the request.
    ///
    /// # Errors
    /// Whatever goes wrong first; what was complete by then stays on disk, and the observer saw it.
    pub fn run(
        &self,
        request: &Request,
        observer: &dyn Observer,
    ) -> Result<Vec<Outcome>, LabError> {
        self.plan(request)?.execute(observer)
    }
}

impl Plan<'_> {
    /// Executes the plan; see [`Lab::run`].
    ///
    /// # Errors
    /// Whatever goes wrong first.
    pub fn execute(&self, observer: &dyn Observer) -> Result<Vec<Outcome>, LabError> {
        self.in_threads(|| self.execute_here(observer))?
    }

    /// Does something in the threads of the plan.
    pub(crate) fn in_threads<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, LabError> {
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.unwrap_or(0))
            .build()
            .map_err(|e| LabError::failure(format!("cannot start the threads: {e}")))?;
        Ok(threads.install(work))
    }

    /// Looks for whatever can be seen to fail in any job, before older runs are touched. Gives the descriptions to evaluate of
    /// jobs without a search.
    ///
    /// # Errors
    /// What is wrong first.
    pub(crate) fn check_before(&self) -> Result<Vec<Option<Template>>, LabError> {
        self.jobs.iter().map(|job| self.check_job(job)).collect()
    }

    /// Looks for whatever can be seen to fail in a job. Gives the description to evaluate if
    /// there is no search.
    fn check_job(&self, job: &Job<'_>) -> Result<Option<Template>, LabError> {
        let components = self.lab.components();
        let check_data =
            |loader| Loaders::check(loader, &components.formats, &components.transforms);
        // Before the data, which take longer to look at.
        let template = match (self.search, self.eval) {
            (false, _) => {
                let (template, desc) = job.given(components)?;
                job.check_given(components, &template.path, &desc)?;
                Some(template)
            }
            (true, true) => Template::check_not_named(&job.dirs, &job.eval).map(|()| None)?,
            (true, false) => None,
        };
        if self.search {
            let search = &job.search.nas.search;
            check_data(&search.loader)?;
            if search.post_train.trainer.epochs > 0 {
                check_data(&search.post_train.loader)?;
            }
        }
        if self.eval {
            check_data(&job.eval.nas.eval.loader)?;
        }
        // What is not there costs less to find than what is damaged.
        for phase in Phase::ALL.into_iter().filter(|phase| self.wants(*phase)) {
            self.data(job, phase)?;
        }
        Ok(template)
    }

    fn execute_here(&self, observer: &dyn Observer) -> Result<Vec<Outcome>, LabError> {
        let stop = observer.stop_flag();
        let goes_on = !self.fresh && self.progress()? == Progress::Begun;
        // All of them first, so that the last does not fail for what could be seen before the first.
        let templates = self.check_before()?;
        if !goes_on {
            self.jobs.iter().try_for_each(|job| self.check_disk(job))?;
        }
        let mut outcomes = Vec::new();
        for (job, template) in self.jobs.iter().zip(templates) {
            let session = Session {
                job,
                plan: self,
                goes_on,
                observer,
                stop: &stop,
            };
            let outcome = session.run(template)?;
            observer.observe(&LabEvent::JobEnds { outcome: &outcome });
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

/// A job while it runs.
pub(crate) struct Session<'a> {
    pub job: &'a Job<'a>,
    pub plan: &'a Plan<'a>,
    /// Whether some of the plan was done before by an equal one.
    pub goes_on: bool,
    pub observer: &'a dyn Observer,
    pub stop: &'a StopFlag,
}

impl Session<'_> {
    /// Runs the job; `template` is what [`Session::check_before`] gave.
    fn run(&self, template: Option<Template>) -> Result<Outcome, LabError> {
        let (job, plan) = (self.job, self.plan);
        let runner = job.runner()?;
        let runner = runner.as_ref();
        if let Some(template) = &template {
            self.observer.observe(&LabEvent::Evaluating {
                desc: &template.path,
            });
        }
        let title = job.title();
        self.observer
            .observe(&LabEvent::JobBegins { title: &title });
        for text in &job.without_effect {
            self.observer.observe(&LabEvent::NoEffect { text });
        }
        let given = template.as_ref().and_then(Template::given_digest);
        let claimant = Claimant {
            job,
            plan,
            goes_on: self.goes_on,
            observer: self.observer,
        };
        let mut claim = claimant.claim(given.as_deref())?;
        let result = self.run_claimed(runner, template, title, &mut claim);
        if result.is_err() {
            claim.abandon(job.dirs.logdir());
        }
        result
    }

    /// The phases, in directories that are this process's.
    fn run_claimed(
        &self,
        runner: &dyn ExperimentRunner,
        template: Option<Template>,
        title: String,
        claim: &mut Claim,
    ) -> Result<Outcome, LabError> {
        let (job, plan) = (self.job, self.plan);
        let given = template.as_ref().and_then(Template::given_digest);
        let search = match &claim.search {
            PhaseState::NotWanted => None,
            PhaseState::Complete(record) => Some(self.complete(record)?),
            PhaseState::New => Some(self.search(runner, false)?),
            PhaseState::Resumed => Some(self.search(runner, true)?),
        };
        let dir_of = |phase| job.dirs.of(phase).path().to_path_buf();
        let mut outcome = Outcome {
            title,
            table: None,
            search_dir: search.is_some().then(|| dir_of(Phase::Search)),
            eval_dir: plan.eval.then(|| dir_of(Phase::Eval)),
            search,
            eval: None,
            logs: job.log_names(),
        };
        if let Some(found) = &outcome.search {
            outcome.table = self.look_up(&found.final_desc)?;
        }
        let resumed = match &claim.eval {
            PhaseState::NotWanted => {
                self.end_without_eval(claim, &outcome)?;
                return Ok(outcome);
            }
            PhaseState::Complete(record) => {
                outcome.eval = Some(self.complete(record)?);
                if !plan.search {
                    outcome.table = self.look_up(&job.dirs.eval.file(FOUND_DESC))?;
                }
                return Ok(outcome);
            }
            PhaseState::New => false,
            PhaseState::Resumed => true,
        };
        let template = match (&outcome.search, template) {
            (Some(found), _) => Template::found(&found.final_desc)?,
            (None, Some(template)) => template,
            (None, None) => return Err(LabError::failure("there is nothing to evaluate")),
        };
        claim.begin_eval(&job.dirs.eval, plan.lab.host())?;
        let result = self.eval(runner, &template, resumed)?;
        let mut figures = figures_of_eval(&result);
        if !plan.search {
            outcome.table = self.look_up(&job.dirs.eval.file(FOUND_DESC))?;
            figures.extend(figures_of(&outcome.table));
        }
        figures.extend(self.latency(runner)?);
        outcome.eval = Some(result.clone());
        self.summarise(&outcome, &job.dirs.eval)?;
        self.record_end(Phase::Eval, given, figures, &result)?;
        Ok(outcome)
    }

    /// The result of a phase that was finished before.
    fn complete<T: DeserializeOwned>(&self, record: &Record) -> Result<T, LabError> {
        let (phase, dir) = (record.phase, self.job.dirs.of(record.phase));
        self.observer.observe(&LabEvent::AlreadyComplete {
            phase,
            dir: dir.path(),
        });
        T::deserialize(&record.outcome).map_err(|e| {
            let path = dir.file(RECORD_FILE);
            let what = format!("the result in `{}` cannot be used: {e}; ", path.display());
            let message = Message::from(what).term(Term::Fresh);
            LabError::failure(message.text(" sets the old run aside and starts over"))
        })
    }

    /// Summary and record of a search that no evaluation follows. The summary comes first, because a record is what makes
    /// a run complete.
    fn end_without_eval(&self, claim: &Claim, outcome: &Outcome) -> Result<(), LabError> {
        let was_complete = matches!(claim.search, PhaseState::Complete(_));
        if let (Some(found), false) = (&outcome.search, was_complete) {
            self.summarise(outcome, &self.job.dirs.search)?;
            let mut figures = figures_of_search(found);
            figures.extend(figures_of(&outcome.table));
            self.record_end(Phase::Search, None, figures, found)?;
        }
        Ok(())
    }

    fn summarise(&self, outcome: &Outcome, dir: &RunDir) -> Result<(), LabError> {
        let command_line = &self.plan.lab.host().command_line;
        let text = as_markdown(outcome, command_line, &self.job.digest);
        Ok(dir.write(SUMMARY_FILE, &text)?)
    }

    fn search(
        &self,
        runner: &dyn ExperimentRunner,
        resumed: bool,
    ) -> Result<SearchResult, LabError> {
        let started = self.plan.started(self.job, Phase::Search, None)?;
        let found = self.phase(&started, &self.job.search, resumed, |experiment| {
            run_search(experiment, runner)
        })?;
        if self.plan.eval {
            let mut figures = figures_of_search(&found);
            figures.extend(figures_of(&self.look_up(&found.final_desc)?));
            self.record_end(Phase::Search, None, figures, &found)?;
        }
        Ok(found)
    }

    fn eval(
        &self,
        runner: &dyn ExperimentRunner,
        template: &Template,
        resumed: bool,
    ) -> Result<EvalResult, LabError> {
        let dir = &self.job.dirs.eval;
        let mut settings = self.job.eval.clone();
        let own = dir.file(FOUND_DESC);
        settings.nas.eval.final_desc_filename = own.to_string_lossy().into_owned();
        let given = template.given_digest();
        let started = self.plan.started(self.job, Phase::Eval, given.as_deref())?;
        self.phase(&started, &settings, resumed, |experiment| {
            template.write(dir)?;
            run_eval(experiment, runner)
        })
    }

    /// How long the trained network takes for one picture, if that can be measured.
    fn latency(&self, runner: &dyn ExperimentRunner) -> Result<BTreeMap<String, f64>, LabError> {
        // The algorithm's own ops may stand in the network.
        let mut ops = self.plan.lab.components().ops.clone();
        runner.register_ops(&mut ops)?;
        let clock = self.plan.lab.host().clock.as_ref();
        let dir = self.job.dirs.eval.path();
        Ok(latency::figures(dir, ops.catalog(), clock))
    }

    /// What the table says of a found cell.
    fn look_up(&self, found: &Path) -> Result<Option<TableEntry>, LabError> {
        let Some(table) = &self.plan.table else {
            return Ok(None);
        };
        // The algorithm's own ops may stand in what it found.
        let mut ops = self.plan.lab.components().ops.clone();
        self.job.runner()?.register_ops(&mut ops)?;
        table.of_file(found, ops.catalog()).map(Some)
    }

    /// Leaves the facts of a phase that ended well, for reports.
    fn record_end(
        &self,
        phase: Phase,
        given_desc: Option<String>,
        figures: BTreeMap<String, f64>,
        outcome: &impl Serialize,
    ) -> Result<(), LabError> {
        let job = self.job;
        let path = job.dirs.of(phase).file(RECORD_FILE);
        let outcome =
            serde_json::to_value(outcome).map_err(|e| FileError::new("write", &path, e.into()))?;
        let record = Record {
            version: RECORD_VERSION,
            phase,
            algorithm: job.algo.name().to_string(),
            dataset: job.search.nas.search.loader.dataset.name.clone(),
            eval_dataset: job.eval.nas.eval.loader.dataset.name.clone(),
            seed: job.search.common.seed,
            digest: job.digest.clone(),
            engine: job.engine.to_string(),
            device: job.device.clone(),
            given_desc,
            settings: job.digested()?,
            data: self.plan.data(job, phase)?,
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
        settings: &Settings,
        resumed: bool,
        body: impl FnOnce(&Experiment<'_>) -> Result<T, EngineError>,
    ) -> Result<T, LabError> {
        let (phase, host) = (started.phase, self.plan.lab.host());
        let dir = self.job.dirs.of(phase);
        if self.stop.is_raised() {
            return Err(LabError::StoppedBefore {
                title: self.job.title(),
                phase,
            });
        }
        dir.sweep()?;
        // First of all, so that whatever else is there belongs to a run that can be resumed.
        dir.write_started(started)?;
        dir.write(CONFIG_FILE, &self.config_used(dir))?;
        // Only now, so that who sees it can follow the log, whose name the configuration says.
        self.observer.observe(&LabEvent::PhaseBegins {
            phase,
            dir: dir.path(),
            resumed,
        });
        let options = LogOptions::new(dir.log_files(&settings.common.log_prefix), &settings.common);
        let audience = Audience {
            phase,
            observer: self.observer,
            host,
        };
        let log = match resumed {
            true => RunLog::reopen(&options, audience)?,
            false => RunLog::create(&options, audience)?,
        };
        let (checkpoints, opened) = CheckpointStore::open(
            &dir.file(CHECKPOINTS),
            settings.common.checkpoint,
            host.clock.as_ref(),
            Box::new(|| log.mark()),
        )?;
        if resumed {
            resume_log(&log, phase, dir, &opened)?;
        }
        let in_log = |e| FileError::new("write to the log in", dir.path(), e);
        self.record_start(&log, phase, settings).map_err(in_log)?;
        // A log that goes on has them from its first start.
        if opened.mark.is_none() {
            for text in self.plan.notes_on_data(self.job, phase)? {
                log.emit(Event::Message {
                    level: Level::Warning,
                    text,
                })
                .map_err(in_log)?;
            }
        }

        let run = Run::new(&log, host.clock.as_ref(), self.stop, settings.common.seed);
        let origin = self.origin(phase)?;
        let run = run.with_origin(&origin);
        let experiment = Experiment {
            settings,
            components: self.plan.lab.components().clone(),
            compute: self.job.compute.clone(),
            run: run.with_checkpoints(&checkpoints),
            dir: dir.path(),
        };
        let result = body(&experiment);
        self.end_phase(&log, phase, result)
    }

    /// What the files of a network that this run trains say of the run.
    fn origin(&self, phase: Phase) -> Result<Provenance, LabError> {
        let (job, host) = (self.job, self.plan.lab.host());
        let data = self.plan.data(job, phase)?.into_iter();
        Ok(Provenance {
            program: format!("archai {}", host.version).trim_end().to_string(),
            algorithm: job.algo.name().to_string(),
            data: data.map(|(name, part)| (name, part.digest)).collect(),
            settings: job.digest.clone(),
            ..Provenance::default()
        })
    }

    /// Notes how a phase ended, and finishes its log.
    fn end_phase<T>(
        &self,
        log: &RunLog<'_>,
        phase: Phase,
        result: Result<T, EngineError>,
    ) -> Result<T, LabError> {
        let dir = self.job.dirs.of(phase).path();
        let ended = match &result {
            Ok(_) => Ended::Complete,
            Err(EngineError::Stopped) => Ended::Stopped,
            Err(_) => Ended::Failed,
        };
        self.observer
            .observe(&LabEvent::PhaseEnds { phase, dir, ended });
        let noted = match &result {
            Ok(_) => log.note(Level::Info, &format!("the {phase} is complete")),
            Err(EngineError::Stopped) => {
                log.note(Level::Warning, &format!("the {phase} was interrupted"))
            }
            Err(error) => log.note(Level::Error, &error.to_string()),
        };
        let in_log = |e| FileError::new("write to the log in", dir, e);
        let noted = noted.and_then(|()| self.note_memory(log));
        let finished = noted.map_err(in_log).and_then(|()| log.finish());
        match result {
            Ok(value) => Ok(finished.map(|()| value)?),
            Err(EngineError::Stopped) => Err(LabError::Interrupted {
                title: self.job.title(),
                phase,
                dir: dir.to_path_buf(),
            }),
            // The first error is the one to mend; a log that could not be finished follows from it, if anything.
            Err(error) => Err(error.into()),
        }
    }

    /// Notes the most memory that the process has taken so far, where the machine says it.
    fn note_memory(&self, log: &RunLog<'_>) -> std::io::Result<()> {
        let Some(bytes) = self.plan.lab.host().resources.peak_memory() else {
            return Ok(());
        };
        let values = vec![("peak_memory".to_string(), json(bytes))];
        log.record(LogPath::new("run").join("end"), values)
    }

    /// What every run notes in its log at its start.
    fn record_start(
        &self,
        log: &RunLog<'_>,
        phase: Phase,
        settings: &Settings,
    ) -> std::io::Result<()> {
        let (job, host) = (self.job, self.plan.lab.host());
        let dir = job.dirs.of(phase);
        let dataset = match phase {
            Phase::Search => &settings.nas.search.loader.dataset,
            Phase::Eval => &settings.nas.eval.loader.dataset,
        };
        let started = host.now().strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
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
                ("command_line", json(host.command_line.clone())),
                ("version", json(host.version.clone())),
                ("experiment", json(dir.name())),
                ("started", json(started)),
                ("directory", json(dir.path().to_string_lossy().into_owned())),
                ("process", json(host.process)),
                ("algorithm", json(job.algo.name())),
                ("seed", json(settings.common.seed)),
                ("device", json(job.device.clone())),
                ("engine", json(job.engine.to_string())),
                ("threads", json(rayon::current_num_threads())),
                ("config_digest", json(job.digest.clone())),
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
    fn config_used(&self, dir: &RunDir) -> String {
        let name = dir.name();
        let engine = match self.job.engine {
            Engine::Fused => "",
            Engine::Plain => " --engine plain",
        };
        let device = match self.job.device.as_str() {
            USUAL_DEVICE => String::new(),
            other => format!(" --device {other}"),
        };
        format!(
            "# The whole configuration of {name}. It gives the same run again:\n\
             #   archai run --algos {} --config-only {CONFIG_FILE}{engine}{device}\n\
             # Digest of what changes results: {}\n\n{}",
            self.job.algo.name(),
            self.job.digest,
            self.job.tree.to_yaml()
        )
    }
}

/// Cuts the log of a phase that is resumed back to its last checkpoint, and notes what was lost.
fn resume_log(
    log: &RunLog<'_>,
    phase: Phase,
    dir: &RunDir,
    opened: &Opened,
) -> Result<(), LabError> {
    let in_log = |e| FileError::new("write to the log in", dir.path(), e);
    let missing = log.cut_back(opened.mark.as_ref())?;
    for text in &opened.damaged {
        log.warn_first(text).map_err(in_log)?;
    }
    if opened.mark.is_none() {
        // It was interrupted before its first checkpoint, which the trainings below know nothing of.
        let at = LogPath::new("resumed").join(phase).join(0).join(0);
        let values = [
            ("phase", json(phase.name())),
            ("epoch", json(0)),
            ("step", json(0)),
        ];
        let values = values.map(|(key, value)| (key.to_string(), value));
        log.record(at, values.to_vec()).map_err(in_log)?;
    }
    if missing > 0 {
        let text = format!(
            "{missing} bytes of the logs are missing; the run reports them again where it can"
        );
        log.warn_first(&text).map_err(in_log)?;
    }
    Ok(())
}

/// The figures of a table, if one was looked into.
fn figures_of(entry: &Option<TableEntry>) -> BTreeMap<String, f64> {
    entry
        .as_ref()
        .map_or_else(BTreeMap::new, |entry| entry.figures.clone())
}
