//! The files that a run's events end in: `log.log` for people, `log.jsonl` for programs, line by line as it happens, and
//! `log.yaml`, the same values as one tree, at the end.
//!
//! A run that is taken up repeats what lies before its checkpoint. Its logs are cut back to where they were at that
//! checkpoint, and what is told again is not written again, so that each record is there exactly once.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use archai_engine::files::{Disk, DiskFile, FileError, RealDisk, write_atomically};
use archai_spec::event::{Event, EventSink, Level, LogPath};
use jiff::Zoned;
use serde_json::{Map, Value, json};

use super::terminal::Terminal;

/// Which log files are written, and what goes in.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Base name of the files; empty writes none.
    pub prefix: String,
    /// Least level for `log.log` and the terminal. `log.jsonl` and `log.yaml` take everything.
    pub level: u32,
    /// Write `log.yaml` too.
    pub yaml: bool,
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

/// The log of one run directory. Events also reach the terminal.
pub struct RunLog<'a> {
    state: Mutex<State>,
    terminal: &'a Terminal,
    level: u32,
}

struct State {
    human: Option<Lines>,
    machine: Option<Lines>,
    yaml: Option<PathBuf>,
    tree: Map<String, Value>,
    messages: usize,
    /// What a run that was taken up may tell again, with how often.
    told: HashMap<String, usize>,
    /// Whether everything so far was told before.
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

/// A line of `log.jsonl` as the event that it came from.
fn parse(line: &[u8]) -> Option<Event> {
    let record: Value = serde_json::from_slice(line).ok()?;
    if let Some(values) = record["values"].as_object() {
        let path = match record["path"].as_str()? {
            "" => LogPath::root(),
            path => LogPath(path.split('/').map(str::to_string).collect()),
        };
        let values = values.clone().into_iter().collect();
        return Some(Event::Values { path, values });
    }
    Some(Event::Message {
        level: serde_json::from_value(record["level"].clone()).ok()?,
        text: record["message"].as_str()?.to_string(),
    })
}

impl<'a> RunLog<'a> {
    /// Makes the log files of a new run in `dir`.
    ///
    /// # Errors
    /// Files that cannot be created, or are there already.
    pub fn create(
        dir: &Path,
        options: &LogOptions,
        terminal: &'a Terminal,
    ) -> Result<Self, FileError> {
        Self::open(dir, options, terminal, false)
    }

    /// Opens the log files of a run that is taken up; [`RunLog::cut_back`] comes next.
    ///
    /// # Errors
    /// Files that cannot be opened or created.
    pub fn reopen(
        dir: &Path,
        options: &LogOptions,
        terminal: &'a Terminal,
    ) -> Result<Self, FileError> {
        Self::open(dir, options, terminal, true)
    }

    fn open(
        dir: &Path,
        options: &LogOptions,
        terminal: &'a Terminal,
        again: bool,
    ) -> Result<Self, FileError> {
        let path = |ending: &str| dir.join(format!("{}.{ending}", options.prefix));
        let open = |ending: &str| -> Result<Lines, FileError> {
            let path = path(ending);
            let failed = |e| FileError::new("create the log", &path, e);
            let (file, length) = match again {
                true => {
                    let file = RealDisk.append(&path).map_err(failed)?;
                    (file, RealDisk.read(&path).map_err(failed)?.len() as u64)
                }
                false => (RealDisk.create_new(&path).map_err(failed)?, 0),
            };
            Ok(Lines { file, path, length })
        };
        let wanted = !options.prefix.is_empty();
        let state = State {
            human: wanted.then(|| open("log")).transpose()?,
            machine: wanted.then(|| open("jsonl")).transpose()?,
            yaml: (wanted && options.yaml).then(|| path("yaml")),
            tree: Map::new(),
            messages: 0,
            told: HashMap::new(),
            repeats: false,
        };
        Ok(RunLog {
            state: Mutex::new(state),
            terminal,
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
        for event in records.split(|&b| b == b'\n').filter_map(parse) {
            *state.told.entry(known_by(&event)).or_default() += 1;
            state.remember(&event);
        }
        state.repeats = true;
        Ok(missing)
    }

    /// Warns of something before the run begins to tell again what it told before.
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

    /// Logs values in the files alone: what every run notes at its start would only be in the way on a terminal.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn record(&self, path: LogPath, values: Vec<(String, Value)>) -> io::Result<()> {
        self.keep(&Event::Values { path, values }, &Zoned::now())?;
        Ok(())
    }

    /// Logs a sentence in the files alone: how a run ended is told the user in another way.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn note(&self, level: Level, text: &str) -> io::Result<()> {
        self.keep(
            &Event::Message {
                level,
                text: text.to_string(),
            },
            &Zoned::now(),
        )?;
        Ok(())
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

    /// Writes an event to the files unless they have it; gives whether they had not.
    fn keep(&self, event: &Event, now: &Zoned) -> io::Result<bool> {
        let mut state = self.lock();
        if state.was_told(event) {
            return Ok(false);
        }
        let time = now.timestamp().to_string();
        let (level, line, record) = match event {
            Event::Values { path, values } => {
                let map: Map<String, Value> = values.iter().cloned().collect();
                let record = json!({ "time": time, "path": path.to_string(), "values": map });
                (Level::Info, line(path, values), record)
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

    /// Whether the run tells again what it told before it was cut off.
    fn was_told(&mut self, event: &Event) -> bool {
        if self.told.is_empty() || matches!(event, Event::Progress(_)) {
            return false;
        }
        // A place of the log tells of one thing. A sentence may come twice, so that it counts as told only until
        // something new was said.
        let may_repeat = self.repeats || matches!(event, Event::Values { .. });
        let times = self.told.get_mut(&known_by(event));
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
        let now = Zoned::now();
        if !self.keep(&event, &now)? {
            return Ok(());
        }
        match event {
            Event::Progress(progress) => self.terminal.progress(&progress),
            Event::Values { path, values } if number(Level::Info) >= self.level => {
                self.terminal.values(&path, &values, &now);
            }
            Event::Message { level, text } if number(level) >= self.level => {
                self.terminal.message(level, &text, &now)
            }
            Event::Values { .. } | Event::Message { .. } => {}
        }
        Ok(())
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

/// `path/of/stack k1=v1, k2=v2`.
pub(super) fn line(path: &LogPath, values: &[(String, Value)]) -> String {
    let values: Vec<String> = values
        .iter()
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    let path = path.to_string();
    if path.is_empty() {
        values.join(", ")
    } else {
        format!("{path} {}", values.join(", "))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => n.as_f64().map_or_else(|| n.to_string(), general),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}

/// Four significant digits, as C's `%.4g`.
fn general(v: f64) -> String {
    if v == 0.0 {
        return "0".to_string();
    }
    let scientific = format!("{v:.3e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |digits: &str| -> String {
        if digits.contains('.') {
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_string()
        } else {
            digits.to_string()
        }
    };
    if (-4..4).contains(&exponent) {
        trim(&format!("{v:.*}", (3 - exponent) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archai_spec::values;
    use indicatif::ProgressDrawTarget;

    #[test]
    fn numbers_have_four_digits() {
        for (v, expect) in [
            (0.15625, "0.1562"),
            (2.291, "2.291"),
            (2.0, "2"),
            (0.001, "0.001"),
            (0.00002, "2e-05"),
            (12345.6, "1.235e+04"),
            (9999.6, "1e+04"),
            (-0.5, "-0.5"),
            (0.0, "0"),
        ] {
            assert_eq!(general(v), expect, "{v}");
        }
    }

    #[test]
    fn a_run_leaves_three_logs() {
        let dir = tempfile::tempdir().unwrap();
        let terminal = Terminal::bars(ProgressDrawTarget::hidden(), false);
        let options = LogOptions {
            prefix: "log".into(),
            level: 20,
            yaml: true,
        };
        let log = RunLog::create(dir.path(), &options, &terminal).unwrap();
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
        assert!(time <= jiff::Timestamp::now());

        let tree: Value = serde_saphyr::from_str(&read("log.yaml")).unwrap();
        assert_eq!(tree["arch_search"]["epochs"]["0"]["top1"], 0.25);
        assert_eq!(tree["arch_search"]["epochs"]["0"]["loss"], "NaN");
        assert_eq!(tree["arch_search"]["epochs"]["0"]["train"]["n"], 3);
        assert_eq!(tree["_warnings"]["1"], "beware: \"x\"\nof two lines");
    }

    #[test]
    fn old_logs_are_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let terminal = Terminal::bars(ProgressDrawTarget::hidden(), false);
        let options = LogOptions {
            prefix: "log".into(),
            level: 20,
            yaml: true,
        };
        RunLog::create(dir.path(), &options, &terminal).unwrap();
        assert!(RunLog::create(dir.path(), &options, &terminal).is_err());
        let none = LogOptions {
            prefix: String::new(),
            ..options
        };
        RunLog::create(dir.path(), &none, &terminal)
            .unwrap()
            .finish()
            .unwrap();
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
        let terminal = Terminal::bars(ProgressDrawTarget::hidden(), false);
        let options = LogOptions {
            prefix: "log".into(),
            level: 20,
            yaml: true,
        };
        let story = |log: &RunLog<'_>, from: usize| {
            for step in from..3 {
                log.emit(event(step)).unwrap();
            }
            log.emit(said("done")).unwrap();
        };
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path(), &options, &terminal).unwrap();
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
            let log = RunLog::reopen(cut.path(), &options, &terminal).unwrap();
            // Whatever the cut has left of the part before the mark, the run tells it again.
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
        let terminal = Terminal::bars(ProgressDrawTarget::hidden(), false);
        let options = LogOptions {
            prefix: "log".into(),
            level: 20,
            yaml: false,
        };
        let dir = tempfile::tempdir().unwrap();
        let log = RunLog::create(dir.path(), &options, &terminal).unwrap();
        log.emit(said("a step was left out")).unwrap();
        log.emit(event(0)).unwrap();
        let mark = log.mark().unwrap();
        drop(log);
        let log = RunLog::reopen(dir.path(), &options, &terminal).unwrap();
        log.cut_back(Some(&mark)).unwrap();
        log.emit(event(1)).unwrap();
        log.emit(said("a step was left out")).unwrap();
        assert_eq!(records(dir.path()).len(), 4);
        // Without a checkpoint nothing is left.
        let log = RunLog::reopen(dir.path(), &options, &terminal).unwrap();
        log.cut_back(None).unwrap();
        assert!(records(dir.path()).is_empty());
    }
}
