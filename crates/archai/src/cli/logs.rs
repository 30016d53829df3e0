//! The files that a run's events end in: `log.log` for people, `log.jsonl` for programs, line by line as it happens, and
//! `log.yaml`, the same values as one tree, at the end.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use archai_engine::files::{FileError, write_atomically};
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
    human: Option<File>,
    machine: Option<File>,
    yaml: Option<PathBuf>,
    tree: Map<String, Value>,
    messages: usize,
}

impl<'a> RunLog<'a> {
    /// Opens the log files in `dir`.
    ///
    /// # Errors
    /// Files that cannot be created.
    pub fn create(
        dir: &Path,
        options: &LogOptions,
        terminal: &'a Terminal,
    ) -> Result<Self, FileError> {
        let path = |ending: &str| dir.join(format!("{}.{ending}", options.prefix));
        let open = |ending: &str| {
            let path = path(ending);
            let file = File::options().create_new(true).append(true).open(&path);
            file.map_err(|e| FileError::new("create the log", &path, e))
        };
        let wanted = !options.prefix.is_empty();
        let state = State {
            human: wanted.then(|| open("log")).transpose()?,
            machine: wanted.then(|| open("jsonl")).transpose()?,
            yaml: (wanted && options.yaml).then(|| path("yaml")),
            tree: Map::new(),
            messages: 0,
        };
        Ok(RunLog {
            state: Mutex::new(state),
            terminal,
            level: options.level,
        })
    }

    /// Logs values in the files alone: what every run notes at its start would only be in the way on a terminal.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn record(&self, path: LogPath, values: Vec<(String, Value)>) -> io::Result<()> {
        self.keep(&Event::Values { path, values }, &Zoned::now())
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
        )
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

    fn keep(&self, event: &Event, now: &Zoned) -> io::Result<()> {
        let mut state = self.lock();
        let (level, line, record) = match event {
            Event::Values { path, values } => {
                let map: Map<String, Value> = values.iter().cloned().collect();
                insert(&mut state.tree, path, &map);
                let record = json!({ "time": now.timestamp().to_string(), "path": path.to_string(), "values": map });
                (Level::Info, line(path, values), record)
            }
            Event::Message { level, text } => {
                let n = state.messages.to_string();
                state.messages += 1;
                let key = if *level >= Level::Warning {
                    "_warnings"
                } else {
                    "_messages"
                };
                let message = Map::from_iter([(n, Value::from(text.as_str()))]);
                insert(&mut state.tree, &LogPath::new(key), &message);
                let record =
                    json!({ "time": now.timestamp().to_string(), "level": level, "message": text });
                (*level, text.clone(), record)
            }
            Event::Progress(_) => return Ok(()),
        };
        if let Some(file) = &mut state.machine {
            // One call per line, so that a reader never sees half of one.
            file.write_all(format!("{record}\n").as_bytes())?;
        }
        if number(level) >= self.level
            && let Some(file) = &mut state.human
        {
            let name = format!("{level:?}").to_uppercase();
            let time = now.strftime("%Y-%m-%d %H:%M:%S,%3f");
            file.write_all(format!("[{time}][{name}] {line}\n").as_bytes())?;
        }
        Ok(())
    }
}

impl EventSink for RunLog<'_> {
    fn emit(&self, event: Event) -> io::Result<()> {
        let now = Zoned::now();
        self.keep(&event, &now)?;
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
}
