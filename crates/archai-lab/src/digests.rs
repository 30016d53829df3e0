//! What a run computed, as one BLAKE3 digest per file: two runs of the same settings have the same digests, on whatever
//! day, in whatever folder, with however many threads, and however often they were interrupted and resumed.
//!
//! Only what depends on the moment is left out: times and durations, the folder's name, records of starting and resuming,
//! and the files that repeat others for people (`log.log`, `log.yaml`, `summary.md`, `report.html`) or say how the run was started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use archai_engine::files::FileError;
use archai_spec::event::{Event, Level};
use serde_json::{Value, json};

use crate::error::LabError;
use crate::log::LogEntry;
use crate::rundir::RunDir;

/// Keys whose values are times or durations.
const TIMES: [&str; 9] = [
    "time",
    "start_time",
    "end_time",
    "step_time",
    "data_time",
    "duration",
    "images_per_s",
    "timings",
    "seconds",
];

/// Digests in hexadecimal of the files in a run directory, by their names in it. Hidden files are left out.
///
/// ```
/// let (a, b) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// for (dir, time) in [(&a, 1.5), (&b, 2.5)] {
///     let text = format!("top1: 0.5\nstart_time: {time}\nwhere: {}/x\n", dir.path().display());
///     std::fs::write(dir.path().join("metrics.yaml"), text)?;
/// }
/// assert_eq!(archai_lab::digests::of_run(a.path())?, archai_lab::digests::of_run(b.path())?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A file that cannot be read, or is not what its name says.
pub fn of_run(dir: &Path) -> Result<BTreeMap<String, String>, LabError> {
    let run = RunDir::new(dir);
    let apart = run.names_apart()?;
    let log = run.machine_log()?;
    let mut digests = BTreeMap::new();
    let run = Files {
        root: dir,
        log: log.as_deref(),
        apart: &apart,
    };
    run.visit(dir, &mut digests)?;
    Ok(digests)
}

/// The files of a run directory.
struct Files<'a> {
    root: &'a Path,
    /// The log for programs, the one file that is read as a log whatever its name.
    log: Option<&'a Path>,
    /// Names of files that do not count.
    apart: &'a [String],
}

impl Files<'_> {
    fn visit(&self, dir: &Path, digests: &mut BTreeMap<String, String>) -> Result<(), FileError> {
        let failed = |e| FileError::new("read", dir, e);
        for entry in fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let relative = path.strip_prefix(self.root).unwrap_or(&path);
            let name = relative.to_string_lossy().replace('\\', "/");
            if name.starts_with('.') || self.apart.contains(&name) {
                continue;
            }
            if path.is_dir() {
                self.visit(&path, digests)?;
            } else {
                digests.insert(name, self.digest(&path)?);
            }
        }
        Ok(())
    }

    /// The digest of a file, whose strings may name the folder of the run.
    fn digest(&self, path: &Path) -> Result<String, FileError> {
        let failed = |e| FileError::new("read", path, e);
        let invalid = |e: String| failed(io::Error::new(io::ErrorKind::InvalidData, e));
        let bytes = fs::read(path).map_err(failed)?;
        let root = self.root.to_string_lossy();
        let text = || String::from_utf8(bytes.clone()).map_err(|e| invalid(e.to_string()));
        let mut hasher = blake3::Hasher::new();
        if self.log == Some(path) {
            log(&bytes, &root, &mut hasher).map_err(invalid)?;
            return Ok(hasher.finalize().to_hex().to_string());
        }
        match &*path.extension().unwrap_or_default().to_string_lossy() {
            "yaml" => {
                let value = serde_saphyr::from_str(&text()?).map_err(|e| invalid(e.to_string()))?;
                hasher.update(timeless(value, &root).to_string().as_bytes());
            }
            "json" => {
                let mut value: Value =
                    serde_json::from_str(&text()?).map_err(|e| invalid(e.to_string()))?;
                // Where files lay when they were written; what the data held, which older programs did not look at.
                if let Some(Value::Object(outcome)) = value.get_mut("outcome") {
                    outcome.remove("files");
                    outcome.remove("final_desc");
                    if let Value::Object(record) = &mut value {
                        record.remove("data");
                    }
                }
                hasher.update(timeless(value, &root).to_string().as_bytes());
            }
            "tsv" => table(&text()?, &mut hasher),
            _ => {
                hasher.update(&bytes);
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// The entries of a log that every run of the same settings has.
fn log(bytes: &[u8], root: &str, hasher: &mut blake3::Hasher) -> Result<(), String> {
    let lines = bytes.split(|&b| b == b'\n').enumerate();
    for (n, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let no_entry = || format!("line {} is no entry of a log", n + 1);
        let entry = LogEntry::parse(line).ok_or_else(no_entry)?;
        if is_of_every_run(&entry) {
            hasher.update(timeless(as_json(entry), root).to_string().as_bytes());
        }
    }
    Ok(())
}

/// A table with a line of names, without its columns of times.
fn table(text: &str, hasher: &mut blake3::Hasher) {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    for line in lines {
        let fields = names.iter().zip(line.split('\t'));
        for (name, field) in fields.filter(|(name, _)| !is_time(name)) {
            hasher.update(format!("{name} {field}\n").as_bytes());
        }
    }
}

/// Whether an entry of the log would be in every run of the same settings.
fn is_of_every_run(entry: &LogEntry) -> bool {
    match &entry.event {
        Event::Values { path, .. } => {
            let ends = [path.0.first(), path.0.last()].map(|part| part.map(String::as_str));
            let [first, last] = ends.map(Option::unwrap_or_default);
            !["run", "dataset", "resumed"].contains(&first) && last != "timings"
        }
        // That a log or a checkpoint was damaged is part of one run's life.
        Event::Message { level, .. } => *level != Level::Warning,
        Event::Progress(_) => false,
    }
}

/// An entry without its time.
fn as_json(entry: LogEntry) -> Value {
    match entry.event {
        Event::Values { path, values } => {
            let values: serde_json::Map<String, Value> = values.into_iter().collect();
            json!({ "path": path.to_string(), "values": values })
        }
        Event::Message { level, text } => json!({ "level": level, "message": text }),
        Event::Progress(_) => Value::Null,
    }
}

fn is_time(key: &str) -> bool {
    TIMES.contains(&key) || key.ends_with("_seconds")
}

/// A value without times, and with `$expdir` for the folder of the run.
fn timeless(value: Value, root: &str) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(key, _)| !is_time(key))
                .map(|(key, value)| (key, timeless(value, root)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(|v| timeless(v, root)).collect()),
        Value::String(text) => Value::String(text.replace(root, "$expdir")),
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.jsonl"), "no log\n").unwrap();
        let error = of_run(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("log.jsonl") && error.contains("line 1"),
            "{error}"
        );
        fs::write(
            dir.path().join("config_used.yaml"),
            "common: {log_prefix: diary}",
        )
        .unwrap();
        of_run(dir.path()).unwrap();
    }

    #[test]
    fn every_number_counts_and_no_time() {
        // (name, one run, another, the same)
        let cases = [
            ("a.yaml", "x: 1\nduration: 2\n", "duration: 3\nx: 1\n", true),
            (
                "a.yaml",
                "x: [{y: 1.0}]\n",
                "x: [{y: 1.0000000000000002}]\n",
                false,
            ),
            (
                "result.json",
                r#"{"search_seconds": 1, "v": 2}"#,
                r#"{"v": 2}"#,
                true,
            ),
            ("result.json", r#"{"v": 2}"#, r#"{"v": 3}"#, false),
            (
                "log.jsonl",
                "{\"path\": \"resumed/a\", \"values\": {\"step\": 3}}\n{\"path\": \"b\", \"values\": {\"loss\": 1}}",
                "{\"path\": \"b\", \"values\": {\"loss\": 1, \"step_time\": 3}}\n",
                true,
            ),
            (
                "log.jsonl",
                "{\"path\": \"b\", \"values\": {\"loss\": 1}}",
                "{\"path\": \"b\", \"values\": {\"loss\": 2}}",
                false,
            ),
            ("pool.tsv", "seconds\tx\n1\t2\n", "seconds\tx\n2\t2\n", true),
            (
                "pool.tsv",
                "seconds\tx\n1\t2\n",
                "seconds\tx\n1\t3\n",
                false,
            ),
            ("model.pt", "ab", "ac", false),
            ("run.json", "1", "2", true),
            // What no run of this program wrote is compared as well.
            ("list.json", "[1, {\"duration\": 1}]", "[1, {}]", true),
            ("list.json", "[1]", "[2]", false),
            ("text.json", "\"outcome\"", "\"outcomes\"", false),
            ("other.jsonl", "no log\n", "no log\n", true),
            ("other.jsonl", "no log\n", "no log", false),
        ];
        for (name, one, other, same) in cases {
            let [one, other] = [one, other].map(|text| {
                let dir = tempfile::tempdir().unwrap();
                fs::write(dir.path().join(name), text).unwrap();
                of_run(dir.path()).unwrap()
            });
            assert_eq!(one == other, same, "{name}");
        }
    }
}
