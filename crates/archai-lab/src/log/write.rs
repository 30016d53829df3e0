//! Writing a run's log.
//!
//! A run that is resumed repeats what lies before its checkpoint. Its logs are cut back to where they were at that
//! checkpoint, and what is reported again is not written again, so that each record is there exactly once.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use archai_engine::files::{Disk, DiskFile, FileError, RealDisk, write_atomically};
use archai_spec::event::{Event, EventSink, Level, LogPath};
use archai_spec::settings::Common;
use jiff::Zoned;
use serde_json::{Map, Value, json};

use super::LogFiles;
use super::read::LogEntry;
use crate::host::Host;
use crate::observer::{LabEvent, Observer};
use crate::phase::Phase;

/// Which log files are written, and what goes in.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    /// The files; none writes none.
    pub files: Option<LogFiles>,
    /// Least level for the log for people and for those who watch. The other files take everything.
    pub level: u32,
    /// Write the log as a tree too.
    pub yaml: bool,
}

impl LogOptions {
    /// As the settings say, in these files.
    pub fn new(files: Option<LogFiles>, common: &Common) -> Self {
        LogOptions {
            files,
            level: common.log_level,
            yaml: common.yaml_log,
        }
    }
}

/// Who sees the events of a phase besides the files.
#[derive(Clone, Copy)]
pub(crate) struct Audience<'a> {
    /// Whose events these are.
    pub phase: Phase,
    /// Sees them.
    pub observer: &'a dyn Observer,
    /// Says when they happened.
    pub host: &'a Host,
}

/// The number of a level, as settings have it.
fn number(level: Level) -> u32 {
    match level {
        Level::Debug => 10,
        Level::Info => 20,
        Level::Warning => 30,
        Level::Error => 40,
    }
}

/// The log of one run directory. Events also reach the observer.
pub(crate) struct RunLog<'a> {
    state: Mutex<State>,
    audience: Audience<'a>,
    level: u32,
}

struct State {
    human: Option<Lines>,
    machine: Option<Lines>,
    yaml: Option<PathBuf>,
    tree: Map<String, Value>,
    messages: usize,
    /// What a run that was resumed may report again, with how often.
    reported: HashMap<String, usize>,
    /// Whether everything so far was reported before.
    repeats: bool,
}

/// A file that lines are put behind.
struct Lines {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    length: u64,
}

impl Lines {
    /// One call per line, so that a reader never sees half of one.
    fn push(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }

    /// Cuts the file after the last whole line within `length` bytes and gives what is left.
    fn cut(&mut self, length: u64) -> Result<Vec<u8>, FileError> {
        let failed = |action, e| FileError::new(action, &self.path, e);
        let mut bytes = RealDisk.read(&self.path).map_err(|e| failed("read", e))?;
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        let end = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
        bytes.truncate(end);
        self.length = end as u64;
        self.file
            .set_len(self.length)
            .map_err(|e| failed("cut back", e))?;
        Ok(bytes)
    }
}

/// What a record is known by: the values of a run that repeats itself are the same, but for its times.
fn known_by(event: &Event) -> String {
    match event {
        Event::Values { path, values } => {
            let mut names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
            // Names come back from a file in the order of the alphabet.
            names.sort_unstable();
            json!([path.to_string(), names]).to_string()
        }
        Event::Message { level, text } => json!([level, [], text]).to_string(),
        Event::Progress(_) => String::new(),
    }
}

impl<'a> RunLog<'a> {
    /// Makes the log files of a new run.
    ///
    /// # Errors
    /// Files that cannot be created, or are there already.
    pub fn create(options: &LogOptions, audience: Audience<'a>) -> Result<Self, FileError> {
        let create = |path: PathBuf| -> Result<Lines, FileError> {
            let file = RealDisk.create_new(&path);
            let file = file.map_err(|e| FileError::new("create the log", &path, e))?;
            let length = 0;
            Ok(Lines { file, path, length })
        };
        Self::open(options, audience, create)
    }

    /// Opens the log files of a run that is resumed; [`RunLog::cut_back`] comes next.
    ///
    /// # Errors
    /// Files that cannot be opened or created.
    pub fn reopen(options: &LogOptions, audience: Audience<'a>) -> Result<Self, FileError> {
        let reopen = |path: PathBuf| -> Result<Lines, FileError> {
            let failed = |e| FileError::new("create the log", &path, e);
            let file = RealDisk.append(&path).map_err(failed)?;
            let length = RealDisk.read(&path).map_err(failed)?.len() as u64;
            Ok(Lines { file, path, length })
        };
        Self::open(options, audience, reopen)
    }

    fn open(
        options: &LogOptions,
        audience: Audience<'a>,
        open: impl Fn(PathBuf) -> Result<Lines, FileError>,
    ) -> Result<Self, FileError> {
        let files = options.files.clone();
        let (human, machine, tree) = match files {
            None => (None, None, None),
            Some(LogFiles {
                human,
                machine,
                tree,
            }) => (Some(open(human)?), Some(open(machine)?), Some(tree)),
        };
        let state = State {
            human,
            machine,
            yaml: tree.filter(|_| options.yaml),
            tree: Map::new(),
            messages: 0,
            reported: HashMap::new(),
            repeats: false,
        };
        Ok(RunLog {
            state: Mutex::new(state),
            audience,
            level: options.level,
        })
    }

    /// Where the logs stand, for a checkpoint. Up to there they are on the disk when this returns.
    ///
    /// # Errors
    /// A file that cannot be flushed.
    pub fn mark(&self) -> io::Result<Value> {
        let mut state = self.lock();
        let at = |lines: &mut Option<Lines>| -> io::Result<u64> {
            let Some(lines) = lines else { return Ok(0) };
            lines.file.sync()?;
            Ok(lines.length)
        };
        Ok(json!({ "log": at(&mut state.human)?, "jsonl": at(&mut state.machine)? }))
    }

    /// Cuts the logs back to a mark, or to nothing, and remembers what is left of them. Gives how many bytes before the
    /// mark are missing.
    ///
    /// # Errors
    /// Files that cannot be read or cut.
    pub fn cut_back(&self, mark: Option<&Value>) -> Result<u64, FileError> {
        let at = |name: &str| mark.and_then(|m| m[name].as_u64()).unwrap_or(0);
        let mut state = self.lock();
        let mut missing = 0;
        if let Some(human) = &mut state.human {
            let length = at("log");
            human.cut(length)?;
            missing += length - human.length;
        }
        let mut records = Vec::new();
        if let Some(machine) = &mut state.machine {
            let length = at("jsonl");
            records = machine.cut(length)?;
            missing += length - machine.length;
        }
        // A line that cannot be read stays as it is.
        let lines = records.split(|&b| b == b'\n');
        for LogEntry { event, .. } in lines.filter_map(LogEntry::parse) {
            *state.reported.entry(known_by(&event)).or_default() += 1;
            state.remember(&event);
        }
        state.repeats = true;
        Ok(missing)
    }

    /// Warns of something before the run begins to report again what it reported before.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn warn_first(&self, text: &str) -> io::Result<()> {
        self.emit(Event::Message {
            level: Level::Warning,
            text: text.to_string(),
        })?;
        self.lock().repeats = true;
        Ok(())
    }

    /// Logs values that are not for people who watch: what every run notes at its start would only be in their way.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn record(&self, path: LogPath, values: Vec<(String, Value)>) -> io::Result<()> {
        self.publish(&Event::Values { path, values }, false)
    }

    /// Logs a sentence that is not for people who watch: how a phase ended they learn in another way.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note(&self, level: Level, text: &str) -> io::Result<()> {
        let text = text.to_string();
        self.publish(&Event::Message { level, text }, false)
    }

    /// Writes `log.yaml`. Called at the end, whether the run succeeded or not.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(&self) -> Result<(), FileError> {
        let state = self.lock();
        let Some(path) = &state.yaml else {
            return Ok(());
        };
        let text = serde_saphyr::to_string(&state.tree).map_err(|e| {
            FileError::new("write", path, io::Error::new(io::ErrorKind::InvalidData, e))
        })?;
        write_atomically(path, |out| out.write_all(text.as_bytes()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it held the lock left at worst half a line; the log goes on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event to the files and shows it to the observer, unless the files have it already.
    fn publish(&self, event: &Event, for_people: bool) -> io::Result<()> {
        let Audience {
            phase,
            observer,
            host,
        } = self.audience;
        let time = &host.now();
        if self.keep(event, time)? {
            let level = match event {
                Event::Message { level, .. } => *level,
                Event::Values { .. } | Event::Progress(_) => Level::Info,
            };
            let is_urgent = matches!(event, Event::Progress(_)) || number(level) >= self.level;
            observer.observe(&LabEvent::Emitted {
                phase,
                event,
                time,
                shown: for_people && is_urgent,
            });
        }
        Ok(())
    }

    /// Writes an event to the files unless they have it; gives whether they had not.
    fn keep(&self, event: &Event, now: &Zoned) -> io::Result<bool> {
        let mut state = self.lock();
        if state.was_reported(event) {
            return Ok(false);
        }
        let time = now.timestamp().to_string();
        let (level, line, record) = match event {
            Event::Values { path, values } => {
                let map: Map<String, Value> = values.iter().cloned().collect();
                let record = json!({ "time": time, "path": path.to_string(), "values": map });
                (Level::Info, super::line(path, values), record)
            }
            Event::Message { level, text } => {
                let record = json!({ "time": time, "level": level, "message": text });
                (*level, text.clone(), record)
            }
            Event::Progress(_) => return Ok(true),
        };
        state.remember(event);
        if let Some(file) = &mut state.machine {
            file.push(&format!("{record}\n"))?;
        }
        if number(level) >= self.level
            && let Some(file) = &mut state.human
        {
            let name = format!("{level:?}").to_uppercase();
            let time = now.strftime("%Y-%m-%d %H:%M:%S,%3f");
            file.push(&format!("[{time}][{name}] {line}\n"))?;
        }
        Ok(true)
    }
}

impl State {
    /// Puts an event into the tree that becomes `log.yaml`.
    fn remember(&mut self, event: &Event) {
        match event {
            Event::Values { path, values } => {
                insert(&mut self.tree, path, &values.iter().cloned().collect());
            }
            Event::Message { level, text } => {
                let n = self.messages.to_string();
                self.messages += 1;
                let key = if *level >= Level::Warning {
                    "_warnings"
                } else {
                    "_messages"
                };
                let message = Map::from_iter([(n, Value::from(text.as_str()))]);
                insert(&mut self.tree, &LogPath::new(key), &message);
            }
            Event::Progress(_) => {}
        }
    }

    /// Whether the run reports again what it reported before it was interrupted.
    fn was_reported(&mut self, event: &Event) -> bool {
        if self.reported.is_empty() || matches!(event, Event::Progress(_)) {
            return false;
        }
        // A place of the log holds one thing. A sentence may come twice, so that it counts as reported only until
        // something new was said.
        let may_repeat = self.repeats || matches!(event, Event::Values { .. });
        let times = self.reported.get_mut(&known_by(event));
        if let Some(times) = times.filter(|times| may_repeat && **times > 0) {
            *times -= 1;
            return true;
        }
        self.repeats = false;
        false
    }
}

impl EventSink for RunLog<'_> {
    fn emit(&self, event: Event) -> io::Result<()> {
        self.publish(&event, true)
    }
}

/// Merges values into the tree; a repeated key replaces.
fn insert(tree: &mut Map<String, Value>, path: &LogPath, values: &Map<String, Value>) {
    let mut node = tree;
    for part in &path.0 {
        let child = node
            .entry(part.clone())
            .or_insert_with(|| Value::Object(Map::new()));
        if !child.is_object() {
            *child = Value::Object(Map::new());
        }
        let Value::Object(map) = child else { return };
        node = map;
    }
    node.extend(values.clone());
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::LazyLock;

    use archai_spec::values;

    use super::*;
    use crate::observer::NoObserver;
    use crate::rundir::RunDir;

    static HOST: LazyLock<Host> = LazyLock::new(Host::default);

    fn audience() -> Audience<'static> {
        Audience {
            phase: Phase::Search,
            observer: &NoObserver,
            host: &HOST,
        }
    }

    fn options(dir: &Path) -> LogOptions {
        LogOptions {
            files: RunDir::new(dir).log_files("log"),
            level: 20,
            yaml: true,
        }
    }

    #[test]
    fn a_run_leaves_three_logs() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(&options(dir.path()), audience()).unwrap();
        let train = LogPath::new("arch_search").join("epochs").join(0);
        log.emit(values!(train.clone(), "top1" => 0.15625, "loss" => f64::NAN))
            .unwrap();
        log.emit(values!(train.join("train"), "n" => 3)).unwrap();
        log.emit(values!(train, "top1" => 0.25)).unwrap();
        for (level, text) in [
            (Level::Debug, "detail"),
            (Level::Warning, "beware: \"x\"\nof two lines"),
        ] {
            log.emit(Event::Message {
                level,
                text: text.into(),
            })
            .unwrap();
        }
        log.finish().unwrap();

        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let human = read("log.log");
        let first = human.lines().next().unwrap();
        assert!(
            first.starts_with('[')
                && first.ends_with("][INFO] arch_search/epochs/0 top1=0.1562, loss=NaN"),
            "{first}"
        );
        assert_eq!(
            first.find(']'),
            Some(24),
            "[YYYY-mm-dd HH:MM:SS,mmm]: {first}"
        );
        assert!(
            !human.contains("detail") && human.contains("[WARNING] beware"),
            "{human}"
        );

        let records: Vec<Value> = read("log.jsonl")
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(records.len(), 5);
        assert_eq!(records[0]["path"], "arch_search/epochs/0");
        assert_eq!(records[0]["values"]["loss"], "NaN");
        assert_eq!(records[3]["level"], "debug");
        let time: jiff::Timestamp = records[4]["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, jiff::Timestamp::UNIX_EPOCH);

        let tree: Value = serde_saphyr::from_str(&read("log.yaml")).unwrap();
        assert_eq!(tree["arch_search"]["epochs"]["0"]["top1"], 0.25);
        assert_eq!(tree["arch_search"]["epochs"]["0"]["loss"], "NaN");
        assert_eq!(tree["arch_search"]["epochs"]["0"]["train"]["n"], 3);
        assert_eq!(tree["_warnings"]["1"], "beware: \"x\"\nof two lines");
    }

    #[test]
    fn old_logs_are_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        RunLog::create(&options(dir.path()), audience()).unwrap();
        assert!(RunLog::create(&options(dir.path()), audience()).is_err());
        let none = LogOptions {
            files: None,
            ..options(dir.path())
        };
        RunLog::create(&none, audience()).unwrap().finish().unwrap();
    }

    fn event(step: usize) -> Event {
        values!(LogPath::new("steps").join(step), "loss" => 0.5, "a" => step)
    }

    fn said(text: &str) -> Event {
        Event::Message {
            level: Level::Info,
            text: text.into(),
        }
    }

    /// Records of `log.jsonl` without their times.
    fn records(dir: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(dir.join("log.jsonl")).unwrap();
        let mut records: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        for record in &mut records {
            record.as_object_mut().unwrap().remove("time");
        }
        records
    }

    #[test]
    fn p26_logs_survive_a_cut_at_any_byte() {
        let story = |log: &RunLog<'_>, from: usize| {
            for step in from..3 {
                log.emit(event(step)).unwrap();
            }
            log.emit(said("done")).unwrap();
        };
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(&options(dir.path()), audience()).unwrap();
        log.emit(said("begin")).unwrap();
        log.emit(event(0)).unwrap();
        let mark = log.mark().unwrap();
        story(&log, 1);
        log.finish().unwrap();
        let expect = records(dir.path());
        let (whole, human) = ("log.jsonl", "log.log");
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let (whole_bytes, human_bytes, yaml) = (read(whole), read(human), read("log.yaml"));

        for length in 0..=whole_bytes.len() {
            let cut = tempfile::tempdir().unwrap();
            std::fs::write(cut.path().join(whole), &whole_bytes[..length]).unwrap();
            let of_human = length * human_bytes.len() / whole_bytes.len();
            std::fs::write(cut.path().join(human), &human_bytes[..of_human]).unwrap();
            let log = RunLog::reopen(&options(cut.path()), audience()).unwrap();
            // Whatever the cut has left of the part before the mark, the run reports it again.
            let missing = log.cut_back(Some(&mark)).unwrap();
            assert_eq!(
                missing == 0,
                length as u64 >= mark["jsonl"].as_u64().unwrap()
                    && of_human as u64 >= mark["log"].as_u64().unwrap(),
                "{length}"
            );
            log.emit(said("begin")).unwrap();
            log.emit(event(0)).unwrap();
            story(&log, 1);
            log.finish().unwrap();
            assert_eq!(records(cut.path()), expect, "cut after {length} bytes");
            assert_eq!(
                std::fs::read(cut.path().join("log.yaml")).unwrap(),
                yaml,
                "{length}"
            );
        }
    }

    #[test]
    fn a_sentence_that_comes_again_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(&options(dir.path()), audience()).unwrap();
        log.emit(said("a step was left out")).unwrap();
        log.emit(event(0)).unwrap();
        let mark = log.mark().unwrap();
        drop(log);
        let log = RunLog::reopen(&options(dir.path()), audience()).unwrap();
        log.cut_back(Some(&mark)).unwrap();
        log.emit(event(1)).unwrap();
        log.emit(said("a step was left out")).unwrap();
        assert_eq!(records(dir.path()).len(), 4);
        // Without a checkpoint nothing is left.
        let log = RunLog::reopen(&options(dir.path()), audience()).unwrap();
        log.cut_back(None).unwrap();
        assert!(records(dir.path()).is_empty());
    }
}
