//! A phase of a run as seen from outside: in which state it is, how far it has come. What has not changed is not read again.

use std::path::Path;

use archai_lab::log::{Follower, LogEntry};
use archai_lab::rundir::{CONFIG_FILE, FOUND_DESC, LOCK_FILE, RECORD_FILE, STARTED_FILE};
use archai_lab::runs::{Worker, Works, worker_in};
use archai_lab::{DirState, Lab, Phase, RunDir};
use archai_spec::event::{Event, Level};
use jiff::Timestamp;
use serde_json::Value;

/// Seconds without a sign of life after which a process on another machine is taken to have ended.
const SILENCE: f64 = 300.0;
/// Bytes of a log that are read at a time.
const PART: u64 = 1 << 20;
/// Epochs whose times say how long the next ones take.
const EPOCHS: usize = 10;

/// In which state a phase or a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// A process works in it.
    Running,
    /// A process is about to begin it.
    Waiting,
    /// It ended with an error.
    Failed,
    /// It was stopped or killed, and can be resumed.
    Interrupted,
    /// It ended well.
    Finished,
    /// What it left cannot be read.
    Unreadable,
}

impl State {
    /// All.
    pub const ALL: [State; 6] = [
        State::Running,
        State::Waiting,
        State::Failed,
        State::Interrupted,
        State::Finished,
        State::Unreadable,
    ];

    /// `running`, `waiting`, …
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Waiting => "waiting",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
            State::Finished => "finished",
            State::Unreadable => "unreadable",
        }
    }
}

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
    pub state: State,
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
    pub progress: Progress,
    /// When one of its files was last written, in seconds since the Unix epoch.
    pub changed: Option<f64>,
}

/// Watches a phase.
#[derive(Debug)]
pub struct PhaseWatch {
    /// What is known.
    pub seen: PhaseSeen,
    /// What its files say of the state and what is to be said about it, whoever works there.
    told: (State, Option<String>),
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
                state: State::Unreadable,
                detail: None,
                worker: None,
                algorithm: None,
                dataset: None,
                seed: None,
                eval_follows: false,
                test_top1: None,
                supernet_top1: None,
                progress: Progress::default(),
                changed: None,
            },
            told: (State::Unreadable, None),
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
                self.seen.progress = Progress::default();
            }
            self.read(&dir);
        }
        // A process can end without writing anything.
        if is_changed || self.told.0 != State::Finished {
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
                (Some(started), (State::Finished, None))
            }
            Ok(DirState::Unfinished(started)) => (Some(started), (State::Interrupted, None)),
            Ok(DirState::Absent | DirState::Foreign) => {
                let why = format!("it has no {STARTED_FILE}");
                (None, (State::Unreadable, Some(why)))
            }
            Err(e) => (None, (State::Unreadable, Some(e.to_string()))),
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
        if self.told.0 == State::Finished {
            return;
        }
        match self.follow(dir) {
            Ok(()) if self.told.0 == State::Interrupted => {
                if let Some(error) = &self.seen.progress.error {
                    self.told = (State::Failed, Some(error.clone()));
                }
            }
            Ok(()) => {}
            Err(e) => {
                self.told.1.get_or_insert(e.to_string());
            }
        }
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
                self.seen.progress = Progress::default();
            }
            news.entries
                .iter()
                .for_each(|entry| self.seen.progress.take(entry));
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
            .filter(|_| seen.state != State::Finished)
        else {
            return;
        };
        let silent = seen.changed.map(|at| lab.host().clock.now() - at);
        let patience = SILENCE.max(3.0 * seen.progress.epoch_time().unwrap_or(0.0));
        let (works, how) = match worker.works {
            Works::Yes => (true, ""),
            Works::No => (false, ""),
            Works::Unknown => (
                silent.is_some_and(|silent| silent < patience),
                ", as far as its files tell",
            ),
        };
        if works {
            seen.state = match self.stamps[0].is_some() {
                true => State::Running,
                false => State::Waiting,
            };
            seen.detail = Some(format!("process {} on {}{how}", worker.pid, worker.host));
        }
    }
}

/// How far a log has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Trainings that began.
    pub trainings: usize,
    /// Place of the present one.
    place: String,
    /// Epochs that it is to have.
    pub planned: Option<u64>,
    /// Steps of an epoch.
    batches: Option<u64>,
    /// Epochs that are done.
    pub done: u64,
    /// Steps of the present epoch that are done.
    steps: u64,
    /// When it began, when epochs ended, when the last step was done: seconds since the Unix epoch.
    began: Option<f64>,
    ends: Vec<f64>,
    last: Option<f64>,
    /// Last accuracy on validation data, or on training data where there are none: with what it is measured.
    pub top1: Option<(f64, &'static str)>,
    /// The error with which the log ends.
    error: Option<String>,
}

impl Progress {
    fn take(&mut self, entry: &LogEntry) {
        let time = entry.time.map(|at| at.as_duration().as_secs_f64());
        self.last = time.or(self.last);
        match &entry.event {
            Event::Message { level, text } => {
                let first = text.lines().next().unwrap_or_default();
                self.error = (*level == Level::Error).then(|| first.to_string());
            }
            Event::Values { path, values } => self.values(&path.0, values, time),
            Event::Progress(_) => {}
        }
    }

    fn values(&mut self, path: &[String], values: &[(String, Value)], time: Option<f64>) {
        let value = |name: &str| values.iter().find(|(own, _)| own == name).map(|(_, v)| v);
        let Some((last, before)) = path.split_last() else {
            return;
        };
        if let Some(name) = last.strip_suffix("__init__") {
            *self = Progress {
                trainings: self.trainings + 1,
                place: before
                    .iter()
                    .map(String::as_str)
                    .chain([name])
                    .collect::<Vec<_>>()
                    .join("/"),
                planned: value("epochs").and_then(Value::as_u64),
                batches: value("train_batches").and_then(Value::as_u64),
                began: time,
                last: time,
                top1: self.top1,
                ..Progress::default()
            };
            return;
        }
        let Some(at) = path.iter().position(|part| part == "epochs") else {
            return;
        };
        let number = path.get(at + 1).and_then(|part| part.parse::<u64>().ok());
        let (Some(number), true) = (number, path[..at].join("/") == self.place) else {
            return;
        };
        let kind: Vec<&str> = path[at + 2..].iter().map(String::as_str).collect();
        let top1 = value("top1")
            .and_then(Value::as_f64)
            .filter(|v| v.is_finite());
        match kind.as_slice() {
            ["steps", step] => {
                self.done = number;
                self.steps = step.parse().map_or(0, |step: u64| step + 1);
            }
            ["train"] => {
                (self.done, self.steps) = (number + 1, 0);
                self.ends.extend(time);
                if self.ends.len() > EPOCHS + 1 {
                    self.ends.remove(0);
                }
                if !matches!(self.top1, Some((_, "validation"))) {
                    self.top1 = top1.map(|v| (v, "training")).or(self.top1);
                }
            }
            ["val"] => self.top1 = top1.map(|v| (v, "validation")).or(self.top1),
            _ => {}
        }
    }

    /// The usual time of an epoch, in seconds: the median of the last ones, so that an interruption does not count.
    fn epoch_time(&self) -> Option<f64> {
        let mut times: Vec<f64> = self.ends.windows(2).map(|pair| pair[1] - pair[0]).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().filter(|t| *t > 0.0)
    }

    /// Share of the present training that is done.
    pub fn share(&self) -> Option<f64> {
        let planned = self.planned.filter(|n| *n > 0)? as f64;
        let within = self
            .batches
            .filter(|n| *n > 0)
            .map_or(0.0, |n| self.steps as f64 / n as f64);
        Some(((self.done as f64 + within.min(1.0)) / planned).min(1.0))
    }

    /// Seconds that the present training still takes at its pace.
    pub fn left(&self) -> Option<f64> {
        let (share, planned) = (self.share()?, self.planned? as f64);
        match self.epoch_time() {
            Some(time) => Some((1.0 - share) * planned * time),
            // Before two epochs have ended, its pace since it began.
            None => {
                let since = self.last? - self.began?;
                (share > 0.0 && since > 0.0).then(|| since / share * (1.0 - share))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: u32, path: &str, values: &str) -> LogEntry {
        let line = format!(
            "{{\"time\":\"2026-01-02T03:{:02}:{:02}Z\",\"path\":\"{path}\",\"values\":{values}}}",
            second / 60,
            second % 60
        );
        LogEntry::parse(line.as_bytes()).unwrap()
    }

    #[test]
    fn a_log_tells_how_far_it_is() {
        let mut progress = Progress::default();
        let mut take = |second, path: &str, values: &str| {
            progress.take(&entry(second, path, values));
            progress.clone()
        };
        take(
            0,
            "a/train__init__",
            r#"{"epochs": 4, "train_batches": 10}"#,
        );
        let early = take(10, "a/train/epochs/0/steps/4", r#"{"top1": 0.1}"#);
        assert_eq!((early.share(), early.left()), (Some(0.125), Some(70.0)));
        take(20, "a/train/epochs/0/train", r#"{"top1": 0.2}"#);
        let done = take(21, "a/train/epochs/0/val", r#"{"top1": 0.3}"#);
        assert_eq!((done.done, done.top1), (1, Some((0.3, "validation"))));
        // An interruption of many minutes does not count.
        take(40, "a/train/epochs/1/train", r#"{"top1": 0.4}"#);
        take(1240, "a/train/epochs/2/train", r#"{"top1": 0.4}"#);
        let last = take(1260, "a/train/epochs/3/steps/4", r#"{"top1": 0.4}"#);
        assert_eq!(last.top1, Some((0.3, "validation")));
        assert_eq!((last.done, last.share()), (3, Some(0.875)));
        let next = take(
            1300,
            "b/train__init__",
            r#"{"epochs": 2, "train_batches": 10}"#,
        );
        assert_eq!((next.trainings, next.done, next.share()), (2, 0, Some(0.0)));
    }
}
