//! What a run directory says of the run that made it (`run.json`), in which state its phase is, and who works in it.
//!
//! A phase is *finished* when its `result.json` is there, which is written last; with a `run.json` alone it is
//! *unfinished* and can be taken up by the command that `run.json` holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use archai_engine::files::{Disk, FileError, RealDisk, remove_unfinished, write_atomically};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dirs::is_bare;
use super::error::CliError;
use crate::report::{RECORD_FILE, Record};

/// Name of the file that holds a [`Started`].
pub const STARTED_FILE: &str = "run.json";
/// Version of [`Started`] that this program writes and reads.
const STARTED_VERSION: u32 = 1;
/// Name of the file that is locked while a process works in a directory.
const LOCK_FILE: &str = ".lock";

/// How a phase was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Version of this file's contents.
    pub version: u32,
    /// Version of the program.
    pub program: String,
    /// `search` or `evaluation`.
    pub phase: String,
    /// The algorithm's name.
    pub algorithm: String,
    /// What computes: `fused` or `plain`.
    pub engine: String,
    /// Arguments of the command line, without the program's name.
    pub arguments: Vec<String>,
    /// The folder in which the command was given.
    pub folder: PathBuf,
    /// Whether the same command evaluates what this search finds.
    pub eval_follows: bool,
    /// Digest of the settings.
    pub digest: String,
    /// The description that is evaluated, by its digest, where it came from a file and not from a search.
    pub given_desc: Option<String>,
    /// All settings that change results, by dotted names.
    pub settings: BTreeMap<String, Value>,
}

impl Started {
    /// Of this program, with nothing in it yet but what every phase of a command shares.
    pub fn new(arguments: &[String], folder: &Path) -> Self {
        Started {
            version: STARTED_VERSION,
            program: env!("CARGO_PKG_VERSION").to_string(),
            phase: String::new(),
            algorithm: String::new(),
            engine: String::new(),
            arguments: arguments.to_vec(),
            folder: folder.to_path_buf(),
            eval_follows: false,
            digest: String::new(),
            given_desc: None,
            settings: BTreeMap::new(),
        }
    }

    /// Reads the file of a run directory; `None` if there is none.
    ///
    /// # Errors
    /// A file that cannot be read, or is of another version.
    pub fn read(dir: &Path) -> Result<Option<Self>, CliError> {
        let path = dir.join(STARTED_FILE);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let unusable = |why: String| {
            CliError::failure(format!(
                "`{}` cannot be used: {why}; --fresh sets the old run aside and starts over",
                path.display()
            ))
        };
        let value: Value = serde_json::from_str(&text).map_err(|e| unusable(e.to_string()))?;
        match value["version"].as_u64() {
            Some(version) if version == u64::from(STARTED_VERSION) => {}
            other => {
                let found = other.map_or("no version".to_string(), |n| format!("version {n}"));
                return Err(unusable(format!(
                    "it has {found}, this program reads version {STARTED_VERSION}"
                )));
            }
        }
        serde_json::from_value(value)
            .map(Some)
            .map_err(|e| unusable(e.to_string()))
    }

    /// Writes the file into a run directory.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), FileError> {
        write_atomically(&dir.join(STARTED_FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            out.write_all(b"\n")
        })
    }

    /// Checks that this run, which is to be taken up in `dir`, computes what `now` asks for. With `allow` the differences
    /// that cannot change what the phase computes are taken over: settings of the evaluation while the search goes on, and
    /// the program's version.
    ///
    /// # Errors
    /// All differences that count, by name.
    pub fn check_same(&self, now: &Started, dir: &Path, allow: bool) -> Result<(), CliError> {
        let searching = self.phase == "search";
        let mut differences = Vec::new();
        let mut harmless = true;
        let mut differs = |name: &str, old: String, new: String, is_harmless: bool| {
            if old != new {
                harmless &= is_harmless;
                differences.push(format!("  {name}: {old} -> {new}"));
            }
        };
        let none = Value::Null;
        let names: BTreeSet<&String> = self.settings.keys().chain(now.settings.keys()).collect();
        for name in names {
            let value = |of: &Started| of.settings.get(name).unwrap_or(&none).to_string();
            let is_harmless = searching && name.starts_with("nas.eval.");
            differs(name, value(self), value(now), is_harmless);
        }
        differs("--engine", self.engine.clone(), now.engine.clone(), false);
        let desc = |of: &Started| {
            let digest = of.given_desc.as_deref();
            digest.map_or("what the search found".into(), |d| format!("file {d:.16}"))
        };
        differs("the evaluated description", desc(self), desc(now), false);
        differs("archai", self.program.clone(), now.program.clone(), true);
        if differences.is_empty() || (allow && harmless) {
            return Ok(());
        }
        let way = match harmless {
            true => {
                "--allow-changed goes on with the new values, which change nothing that was computed so far; "
            }
            false => "",
        };
        Err(CliError::usage(format!(
            "the unfinished run in `{}` was started differently (old -> new):\n{}\n  \
             go on with the old command (archai resume {0}); {way}--fresh sets the old run aside and starts over",
            dir.display(),
            differences.join("\n")
        )))
    }
}

/// In which state a phase's directory is.
#[derive(Clone, Debug)]
pub enum Phase {
    /// There is no directory, or an empty one.
    Absent,
    /// Something that no run of this program tells about.
    Foreign,
    /// A run that did not end well.
    Unfinished(Box<Started>),
    /// A run that did.
    Finished(Box<Started>, Box<Record>),
}

impl Phase {
    /// Looks at a directory.
    ///
    /// # Errors
    /// Files that cannot be read or are of another version.
    pub fn of(dir: &Path) -> Result<Self, CliError> {
        if dir.symlink_metadata().is_err() {
            return Ok(Phase::Absent);
        }
        let Some(started) = Started::read(dir)? else {
            return Ok(match is_bare(dir) {
                true => Phase::Absent,
                false => Phase::Foreign,
            });
        };
        let path = dir.join(RECORD_FILE);
        let Some(text) = read_if_there(&path)? else {
            return Ok(Phase::Unfinished(Box::new(started)));
        };
        match Record::from_json(&text) {
            Ok(record) => Ok(Phase::Finished(Box::new(started), Box::new(record))),
            Err(why) => Err(CliError::failure(format!(
                "`{}` cannot be used: {why}; --fresh sets the old run aside and starts over",
                path.display()
            ))),
        }
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", path, e)),
    }
}

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
}

/// A directory that this process alone works in. The system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    /// Held, not read.
    _file: File,
}

impl DirLock {
    /// Locks a directory for this process.
    ///
    /// # Errors
    /// Another process holds it (the error names it), or the file system cannot lock.
    pub fn take(dir: &Path) -> Result<Self, CliError> {
        let (path, mut file) = Self::open(dir)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Where a lock keeps others from reading, or its holder has not written yet, it stays nameless.
                let owner = (file.read_to_string(&mut text).ok())
                    .and_then(|_| serde_json::from_str::<Owner>(&text).ok())
                    .map_or("another process".to_string(), |o| {
                        format!("process {} on {}", o.pid, o.host)
                    });
                return Err(CliError::failure(format!(
                    "{owner} is working in `{}`; wait for it, stop it, or give this run a name of its own with --exp-prefix",
                    dir.display()
                )));
            }
            Err(TryLockError::Error(e)) => return Err(FileError::new("lock", &path, e).into()),
        }
        let owner = Owner {
            pid: std::process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
        };
        let failed = |e| FileError::new("write", &path, e);
        let text = serde_json::to_string(&owner).map_err(|e| failed(e.into()))?;
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(DirLock { _file: file })
    }

    /// Waits until this process alone holds the directory: for what takes a moment.
    ///
    /// # Errors
    /// The file system cannot lock.
    pub fn wait_for(dir: &Path) -> Result<Self, CliError> {
        let (path, file) = Self::open(dir)?;
        file.lock().map_err(|e| FileError::new("lock", &path, e))?;
        Ok(DirLock { _file: file })
    }

    fn open(dir: &Path) -> Result<(PathBuf, File), FileError> {
        let path = dir.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(&path);
        match file {
            Ok(file) => Ok((path, file)),
            Err(e) => Err(FileError::new("lock", &path, e)),
        }
    }
}

/// Removes what a killed process had begun to write in a run directory.
///
/// # Errors
/// A folder that cannot be read, or a file that cannot be removed.
pub fn sweep(dir: &Path) -> Result<(), FileError> {
    remove_unfinished(&RealDisk, dir)?;
    let paths = RealDisk.list(dir);
    for path in paths.map_err(|e| FileError::new("read", dir, e))? {
        if path.is_dir() && !path.is_symlink() {
            sweep(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(phase: &str, settings: Value) -> Started {
        Started {
            phase: phase.into(),
            settings: serde_json::from_value(settings).unwrap(),
            ..Started::new(&["run".into()], Path::new("/"))
        }
    }

    #[test]
    fn differences_are_named() {
        let old = json(1, 5);
        fn json(epochs: u32, eval: u32) -> Value {
            serde_json::json!({ "nas.search.trainer.epochs": epochs, "nas.eval.trainer.epochs": eval })
        }
        // (phase, new settings, allowed, what the error holds)
        let cases = [
            ("search", json(1, 5), false, &[][..]),
            ("search", json(1, 6), true, &[]),
            (
                "search",
                json(1, 6),
                false,
                &["nas.eval.trainer.epochs: 5 -> 6", "--allow-changed"],
            ),
            (
                "search",
                json(2, 5),
                true,
                &["nas.search.trainer.epochs: 1 -> 2", "--fresh"],
            ),
            (
                "evaluation",
                json(1, 6),
                true,
                &["nas.eval.trainer.epochs: 5 -> 6"],
            ),
        ];
        for (phase, new, allow, expect) in cases {
            let result = started(phase, old.clone()).check_same(
                &started(phase, new.clone()),
                Path::new("d"),
                allow,
            );
            let error = result.err().map(|e| e.to_string()).unwrap_or_default();
            assert_eq!(
                error.is_empty(),
                expect.is_empty(),
                "{phase} {new}: {error}"
            );
            for text in expect {
                assert!(error.contains(text), "{text:?} is missing in {error}");
            }
        }
        let mut other = started("search", old.clone());
        other.program = "99.0".into();
        let before = started("search", old);
        assert!(before.check_same(&other, Path::new("d"), false).is_err());
        assert!(before.check_same(&other, Path::new("d"), true).is_ok());
    }

    #[test]
    fn p27_other_versions_are_refused_by_number() {
        let dir = tempfile::tempdir().unwrap();
        for (text, expect) in [
            (
                r#"{"version": 2}"#,
                "version 2, this program reads version 1",
            ),
            ("{}", "no version"),
            ("{", "EOF"),
        ] {
            std::fs::write(dir.path().join(STARTED_FILE), text).unwrap();
            let error = Phase::of(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(expect) && error.contains("--fresh"),
                "{error}"
            );
        }
    }

    #[test]
    fn p09_a_directory_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::take(dir.path()).unwrap();
        let error = DirLock::take(dir.path()).unwrap_err().to_string();
        let pid = format!("process {} on ", std::process::id());
        assert!(error.contains(&pid), "{error}");
        drop(held);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn states_of_directories() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("d");
        assert!(matches!(Phase::of(&dir).unwrap(), Phase::Absent));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(".writing-x"), "").unwrap();
        assert!(matches!(Phase::of(&dir).unwrap(), Phase::Absent));
        sweep(root.path()).unwrap();
        assert!(!dir.join(".writing-x").exists());
        std::fs::write(dir.join("log.log"), "").unwrap();
        assert!(matches!(Phase::of(&dir).unwrap(), Phase::Foreign));
        started("search", serde_json::json!({}))
            .write(&dir)
            .unwrap();
        assert!(matches!(Phase::of(&dir).unwrap(), Phase::Unfinished(_)));
    }
}
