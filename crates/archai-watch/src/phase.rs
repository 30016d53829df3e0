//! A phase of a run as seen from outside: in which state it is, how far it has come. What has not changed is not read again.

use std::path::Path;

use archai_lab::log::Follower;
use archai_lab::progress::PhaseProgress;
use archai_lab::rundir::{CONFIG_FILE, FOUND_DESC, LOCK_FILE, RECORD_FILE, STARTED_FILE};
use archai_lab::runs::{RunState, Worker, Works, worker_in};
use archai_lab::{DirState, Lab, Phase, RunDir};
use archai_spec::event::{Event, Level};
use jiff::Timestamp;
use serde_json::Value;

/// Seconds without a sign of life after which a process on another machine is taken to have ended.
const SILENCE: f64 = 300.0;
/// Bytes of a log that are read at a time.
const PART: u64 = 1 << 20;

/// What a file looks like from outside.
type Stamp = Option<(u64, Option<Timestamp>)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    let modified = metadata.modified().ok();
    Some((
        metadata.len(),
        modified.and_then(|at| Timestamp::try_from(at).ok()),
    ))
}

/// What is known of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseSeen {
    /// The phase.
    pub phase: Phase,
    /// Its directory.
    pub dir: RunDir,
    /// Counts the changes of its files.
    pub version: u64,
    /// In which state it is.
    pub state: RunState,
    /// What is to be said about the state.
    pub detail: Option<String>,
    /// Who works there.
    pub worker: Option<Worker>,
    /// The algorithm.
    pub algorithm: Option<String>,
    /// The data set.
    pub dataset: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// Whether the same command evaluates what this search finds.
    pub eval_follows: bool,
    /// Accuracy on test data, once it has ended.
    pub test_top1: Option<f64>,
    /// Accuracy of a supernet on validation data, once its search has ended.
    pub supernet_top1: Option<f64>,
    /// How far its log has come.
    pub progress: PhaseProgress,
    /// When one of its files was last written, in seconds since the Unix epoch.
    pub changed: Option<f64>,
}

/// Watches a phase.
#[derive(Debug)]
pub struct PhaseWatch {
    /// What is known.
    pub seen: PhaseSeen,
    /// What its files say of the state and what is to be said about it, whoever works there.
    told: (RunState, Option<String>),
    /// The error with which the log ends.
    error: Option<String>,
    stamps: [Stamp; 6],
    follower: Option<Follower>,
}

impl PhaseWatch {
    /// Of the run directory `dir`.
    pub fn new(dir: RunDir, phase: Phase) -> Self {
        PhaseWatch {
            seen: PhaseSeen {
                phase,
                dir,
                version: 0,
                state: RunState::Unreadable,
                detail: None,
                worker: None,
                algorithm: None,
                dataset: None,
                seed: None,
                eval_follows: false,
                test_top1: None,
                supernet_top1: None,
                progress: PhaseProgress::default(),
                changed: None,
            },
            told: (RunState::Unreadable, None),
            error: None,
            stamps: [None; 6],
            follower: None,
        }
    }

    /// Looks at the files, and reads those that have changed.
    pub fn look(&mut self, lab: &Lab) {
        let dir = self.seen.dir.clone();
        let log = self
            .follower
            .as_ref()
            .map(|follower| follower.path().to_path_buf());
        let usual = || dir.log_files("log").map(|files| files.machine);
        let log = log.or_else(usual).unwrap_or_default();
        let stamps = [
            stamp(&dir.file(STARTED_FILE)),
            stamp(&dir.file(RECORD_FILE)),
            stamp(&dir.file(CONFIG_FILE)),
            stamp(&dir.file(FOUND_DESC)),
            stamp(&dir.file(LOCK_FILE)),
            stamp(&log),
        ];
        let is_changed = stamps != self.stamps || self.seen.version == 0;
        if is_changed {
            let is_begun_anew = stamps[0] != self.stamps[0];
            self.stamps = stamps;
            self.seen.version += 1;
            let times = stamps.iter().flatten().filter_map(|(_, at)| *at);
            self.seen.changed = times.max().map(|at| at.as_duration().as_secs_f64());
            if is_begun_anew {
                self.follower = None;
                self.forget();
            }
            self.read(&dir);
        }
        // A process can end without writing anything.
        if is_changed || self.told.0 != RunState::Complete {
            self.judge(lab, &dir);
        }
    }

    /// Reads what is there.
    fn read(&mut self, dir: &RunDir) {
        let seen = &mut self.seen;
        (seen.test_top1, seen.supernet_top1) = (None, None);
        let (started, told) = match dir.state() {
            Ok(DirState::Finished(started, record)) => {
                let figure = |name: &str| record.figures.get(name).copied();
                seen.test_top1 = figure("test_top1");
                seen.supernet_top1 = figure("supernet_val_top1");
                (Some(started), (RunState::Complete, None))
            }
            Ok(DirState::Unfinished(started)) => (Some(started), (RunState::Interrupted, None)),
            Ok(DirState::Absent | DirState::Foreign) => {
                let why = format!("it has no {STARTED_FILE}");
                (None, (RunState::Unreadable, Some(why)))
            }
            Err(e) => (None, (RunState::Unreadable, Some(e.to_string()))),
        };
        self.told = told;
        if let Some(started) = started {
            let text = |name: &str| Some(started.settings.get(name)?.as_str()?.to_string());
            let own = match seen.phase {
                Phase::Search => "nas.search.loader.dataset.name",
                Phase::Eval => "nas.eval.loader.dataset.name",
            };
            seen.dataset = text(own);
            seen.seed = started.settings.get("common.seed").and_then(Value::as_u64);
            seen.eval_follows = started.eval_follows;
            seen.algorithm = Some(started.algorithm);
        }
        // Of a finished phase the record says all that is shown in a list.
        if self.told.0 == RunState::Complete {
            return;
        }
        match self.follow(dir) {
            Ok(()) if self.told.0 == RunState::Interrupted => {
                if let Some(error) = &self.error {
                    self.told = (RunState::Failed, Some(error.clone()));
                }
            }
            Ok(()) => {}
            Err(e) => {
                self.told.1.get_or_insert(e.to_string());
            }
        }
    }

    /// What the log told does not hold any more.
    fn forget(&mut self) {
        (self.seen.progress, self.error) = (PhaseProgress::default(), None);
    }

    fn follow(&mut self, dir: &RunDir) -> Result<(), archai_lab::LabError> {
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None if self.stamps[2].is_none() => return Ok(()),
            None => dir.follow()?,
        };
        loop {
            let before = follower.place();
            let news = follower.look_at_most(PART)?;
            if news.from_start {
                self.forget();
            }
            for entry in &news.entries {
                self.seen.progress.take(entry);
                if let Event::Message { level, text } = &entry.event {
                    let first = text.lines().next().unwrap_or_default();
                    self.error = (*level == Level::Error).then(|| first.to_string());
                }
            }
            if follower.place() == before {
                break;
            }
        }
        self.follower = Some(follower);
        Ok(())
    }

    /// Says in which state the phase is, by its files and by who works there.
    fn judge(&mut self, lab: &Lab, dir: &RunDir) {
        let seen = &mut self.seen;
        seen.worker = worker_in(dir.path(), lab.host()).ok().flatten();
        (seen.state, seen.detail) = self.told.clone();
        let Some(worker) = seen
            .worker
            .as_ref()
            .filter(|_| seen.state != RunState::Complete)
        else {
            return;
        };
        let silent = seen.changed.map(|at| lab.host().clock.now() - at);
        let epoch = seen.progress.epoch_time().unwrap_or_default();
        let patience = SILENCE.max(3.0 * epoch.as_secs_f64());
        let (works, how) = match worker.works {
            Works::Yes => (true, ""),
            Works::No => (false, ""),
            Works::Unknown => (
                silent.is_some_and(|silent| silent < patience),
                ", as far as its files tell",
            ),
        };
        if works {
            seen.state = match seen.progress.has_begun() {
                true => RunState::Running,
                false => RunState::Waiting,
            };
            seen.detail = Some(format!("process {} on {}{how}", worker.pid, worker.host));
        }
    }
}
