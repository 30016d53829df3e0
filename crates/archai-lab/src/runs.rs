//! The runs below a folder: in which state they are, what they came to, how much room they take; and how they go away.

use std::fs;
use std::path::Path;

use archai_engine::files::FileError;
use archai_spec::event::{Event, Level};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::dirs::RunDirs;
use crate::error::LabError;
use crate::host::Host;
use crate::lock::DirLock;
pub use crate::lock::{Worker, Works, worker_in};
use crate::phase::Phase;
use crate::progress::PhaseProgress;
use crate::rundir::{CONFIG_FILE, RECORD_FILE, RunDir, STARTED_FILE};
use crate::started::{DirState, Started};

/// In which state a run or one of its phases is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process works in it.
    Running,
    /// A process holds it, but has computed nothing in it yet: it reads the data, say.
    Waiting,
    /// It ended with an error.
    Failed,
    /// It was interrupted or killed, and can be resumed.
    Interrupted,
    /// It ended well.
    Complete,
    /// What it left cannot be read, or was left by another program.
    Unreadable,
}

impl RunState {
    /// All.
    pub const ALL: [RunState; 6] = [
        RunState::Running,
        RunState::Waiting,
        RunState::Failed,
        RunState::Interrupted,
        RunState::Complete,
        RunState::Unreadable,
    ];

    /// `running`, `failed`, …
    pub fn name(self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Waiting => "waiting",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
            RunState::Complete => "complete",
            RunState::Unreadable => "unreadable",
        }
    }
}

/// One directory of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseInfo {
    /// The phase.
    pub phase: Phase,
    /// Where it is.
    #[serde(serialize_with = "as_path")]
    pub dir: RunDir,
    /// In which state it is.
    pub state: RunState,
    /// What is to be said about the state: the error that ended it, who works in it, why it cannot be read.
    pub detail: Option<String>,
    /// How far it has come; none of a phase that is complete.
    pub progress: Option<PhaseProgress>,
    /// Room that its files take, in bytes.
    pub size: u64,
}

/// A run: its search, its evaluation, or both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunInfo {
    /// What its directories are called, without `_search` and `_eval`, below the folder that was looked into.
    pub name: String,
    /// In which state it is: the first of [`RunState`] that one of its phases has.
    pub state: RunState,
    /// The algorithm.
    pub algorithm: Option<String>,
    /// The data set; that of the search, if the evaluation has another.
    pub dataset: Option<String>,
    /// The seed.
    pub seed: Option<u64>,
    /// Accuracy on test data.
    pub test_top1: Option<f64>,
    /// When it last wrote something.
    #[serde(serialize_with = "as_time")]
    pub changed: Option<Timestamp>,
    /// Room that its files take, in bytes.
    pub size: u64,
    /// Its directories.
    pub phases: Vec<PhaseInfo>,
}

impl RunInfo {
    /// The phase that counts: the one that is under way, that failed or was interrupted, else the last one.
    pub fn present(&self) -> Option<&PhaseInfo> {
        let mut phases = self.phases.iter();
        phases
            .find(|phase| phase.state == self.state)
            .filter(|_| self.state != RunState::Complete)
            .or(self.phases.last())
    }

    /// How far that phase has come; none if it is complete. [`PhaseProgress::left`] says how long it still takes. The log of a
    /// run that works is read anew by each [`list`]; who follows it keeps this up to date with [`PhaseProgress::take`].
    pub fn progress(&self) -> Option<&PhaseProgress> {
        self.present()?.progress.as_ref()
    }

    /// Its state in words: `complete`, `evaluation failed: the loss is not finite`.
    pub fn state_in_words(&self) -> String {
        let Some(phase) = self.phases.iter().find(|phase| phase.state == self.state) else {
            // All phases that there are ended well, but the evaluation did not begin.
            return format!("{} before its evaluation", self.state.name());
        };
        match (self.state, &phase.detail) {
            (RunState::Complete, _) if self.phases.len() > 1 => "complete".to_string(),
            (state, None) => format!("{} {}", phase.phase, state.name()),
            (state, Some(detail)) => format!("{} {}: {detail}", phase.phase, state.name()),
        }
    }
}

/// The runs in a folder and below it, the last one that wrote something first. Links are not followed.
///
/// ```
/// let logdir = tempfile::tempdir()?;
/// assert!(archai_lab::runs::list(logdir.path())?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A folder that cannot be read.
pub fn list(folder: &Path) -> Result<Vec<RunInfo>, LabError> {
    let mut dirs = Vec::new();
    look_into(folder, &mut dirs)?;
    let mut runs: Vec<RunInfo> = Vec::new();
    for dir in dirs {
        let Some((base, phase)) = RunDirs::phase_of(dir.path()) else {
            continue;
        };
        let name = base.strip_prefix(folder).unwrap_or(&base);
        let name = name.display().to_string();
        let at = runs.iter().position(|run| run.name == name);
        let at = at.unwrap_or_else(|| {
            runs.push(RunInfo::new(name));
            runs.len() - 1
        });
        runs[at].add(dir, phase)?;
    }
    for run in &mut runs {
        run.conclude()?;
    }
    runs.sort_by(|a, b| b.changed.cmp(&a.changed).then(a.name.cmp(&b.name)));
    Ok(runs)
}

/// Removes a run with all of its directories. The room that was freed is the run's [`RunInfo::size`].
///
/// # Errors
/// A process works in it; files that cannot be removed.
pub fn remove(run: &RunInfo, host: &Host) -> Result<(), LabError> {
    let dirs: Vec<&Path> = run.phases.iter().map(|phase| phase.dir.path()).collect();
    let Some(logdir) = dirs.first().and_then(|dir| dir.parent()) else {
        return Ok(());
    };
    // Nobody begins in a directory while it goes away, and nothing goes away where somebody works.
    let _gate = DirLock::wait_for(logdir)?;
    let locks = dirs.iter().map(|dir| DirLock::take(dir, host));
    let _locks = locks.collect::<Result<Vec<_>, _>>()?;
    for dir in dirs {
        fs::remove_dir_all(dir).map_err(|e| FileError::new("remove", dir, e))?;
    }
    Ok(())
}

/// What is in a run directory: in which state its phase is, and what is to be said of it.
///
/// # Errors
/// A folder that cannot be read.
pub fn phase_in(dir: &RunDir) -> Result<PhaseInfo, LabError> {
    let phase = RunDirs::phase_of(dir.path()).map_or(Phase::Search, |(_, phase)| phase);
    let mut run = RunInfo::new(dir.name());
    run.add(dir.clone(), phase)?;
    let gone = || LabError::failure(format!("`{}` is no run directory", dir.path().display()));
    run.phases.pop().ok_or_else(gone)
}

impl RunInfo {
    fn new(name: String) -> Self {
        RunInfo {
            name,
            state: RunState::Complete,
            algorithm: None,
            dataset: None,
            seed: None,
            test_top1: None,
            changed: None,
            size: 0,
            phases: Vec::new(),
        }
    }

    /// Adds one of its directories.
    fn add(&mut self, dir: RunDir, phase: Phase) -> Result<(), LabError> {
        let (size, changed) = room(dir.path())?;
        let mut info = PhaseInfo {
            phase,
            state: RunState::Unreadable,
            detail: None,
            progress: None,
            size,
            dir,
        };
        match info.dir.state() {
            Ok(DirState::Finished(started, record)) => {
                info.state = RunState::Complete;
                self.know(&started);
                self.algorithm = Some(record.algorithm);
                self.dataset = Some(record.dataset);
                self.seed = Some(record.seed);
                self.test_top1 = self.test_top1.or(record.figures.get("test_top1").copied());
            }
            Ok(DirState::Unfinished(started)) => {
                self.know(&started);
                let (progress, error) = told(&info.dir);
                info.state = match error {
                    Some(_) => RunState::Failed,
                    None => RunState::Interrupted,
                };
                info.detail = error;
                info.progress = Some(progress);
            }
            Ok(DirState::Absent | DirState::Foreign) => {
                info.detail = Some(format!("it has no {STARTED_FILE}"));
            }
            Err(error) => info.detail = Some(error.to_string()),
        }
        if info.state != RunState::Complete {
            match DirLock::holder(info.dir.path())? {
                Some(process) => {
                    let has_begun = (info.progress.as_ref()).is_some_and(PhaseProgress::has_begun);
                    info.state = match has_begun {
                        true => RunState::Running,
                        false => RunState::Waiting,
                    };
                    info.detail = Some(process);
                }
                None => {
                    // What cannot be read says nothing.
                    let reached = info.dir.checkpoints().unwrap_or_default();
                    if let Some(progress) = &mut info.progress {
                        progress.stands_at(reached.last());
                    }
                }
            }
        }
        self.size += size;
        self.changed = self.changed.max(changed);
        self.phases.push(info);
        Ok(())
    }

    /// What the beginning of a phase tells.
    fn know(&mut self, started: &Started) {
        let setting = |name: &str| started.settings.get(name);
        let dataset = setting("nas.search.loader.dataset.name");
        self.algorithm = Some(started.algorithm.clone());
        self.dataset = dataset.and_then(|name| Some(name.as_str()?.to_string()));
        self.seed = setting("common.seed").and_then(serde_json::Value::as_u64);
    }

    /// Its state, from those of its phases.
    fn conclude(&mut self) -> Result<(), LabError> {
        self.phases.sort_by_key(|phase| phase.phase);
        let states = self.phases.iter().map(|phase| phase.state);
        let unread = |state: &RunState| *state == RunState::Unreadable;
        // An error weighs more than what cannot be read.
        self.state = (states.clone().filter(|state| !unread(state)).min())
            .filter(|state| *state != RunState::Complete)
            .or(states.max())
            .unwrap_or(RunState::Unreadable);
        if let [only] = &self.phases[..]
            && (only.phase, only.state) == (Phase::Search, RunState::Complete)
            && only
                .dir
                .started()?
                .is_some_and(|started| started.eval_follows)
        {
            // Its process holds it until the evaluation has ended, too.
            self.state = match DirLock::holder(only.dir.path())? {
                Some(_) => RunState::Waiting,
                None => RunState::Interrupted,
            };
        }
        Ok(())
    }
}

/// The directories of phases in a folder and below it, by their names.
fn look_into(folder: &Path, dirs: &mut Vec<RunDir>) -> Result<(), FileError> {
    let failed = |e| FileError::new("read the folder", folder, e);
    let is_run = |name: &str| folder.join(name).is_file();
    if [STARTED_FILE, CONFIG_FILE, RECORD_FILE]
        .into_iter()
        .any(is_run)
    {
        dirs.push(RunDir::new(folder));
        return Ok(());
    }
    let mut below = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|folder| look_into(folder, dirs))
}

/// How many bytes the files in a folder and below it take, and when the last of them was written. A file that goes away
/// meanwhile, as those of a run that works do, takes none.
fn room(folder: &Path) -> Result<(u64, Option<Timestamp>), FileError> {
    let (mut size, mut changed) = (0, None);
    for entry in fs::read_dir(folder).map_err(|e| FileError::new("read the folder", folder, e))? {
        let entry = entry.map_err(|e| FileError::new("read the folder", folder, e))?;
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        let (own, at) = match metadata.is_dir() {
            true => room(&entry.path())?,
            false => {
                let at = metadata.modified().ok();
                let at = at.and_then(|at| Timestamp::try_from(at).ok());
                (metadata.len(), at)
            }
        };
        size += own;
        changed = changed.max(at);
    }
    Ok((size, changed))
}

/// How far a phase has come by its log, and the first line of the error with which the log ends, if it ends with one. A log
/// that cannot be read says nothing.
fn told(dir: &RunDir) -> (PhaseProgress, Option<String>) {
    let entries = dir.log().unwrap_or_default();
    let mut messages = entries.iter().rev().filter_map(|entry| match &entry.event {
        Event::Message { level, text } => Some((*level, text)),
        Event::Values { .. } | Event::Progress(_) => None,
    });
    let error = messages.next().filter(|(level, _)| *level == Level::Error);
    let error = error.map(|(_, text)| text.lines().next().unwrap_or_default().to_string());
    (PhaseProgress::of(&entries), error)
}

fn as_path<S: Serializer>(dir: &RunDir, serializer: S) -> Result<S::Ok, S::Error> {
    dir.path().serialize(serializer)
}

fn as_time<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}
