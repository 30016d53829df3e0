//! A run directory: the names of its files, which are spelt here and nowhere else, and typed readers of what they hold.
//!
//! A phase is *finished* when its `result.json` is there, which is written last; with a `run.json` alone it is *unfinished*
//! and can be resumed by the command that `run.json` holds.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use archai_engine::checkpoint::{Reached, reached};
use archai_engine::files::{
    Disk, FileError, RealDisk, number_of, remove_unfinished, write_atomically,
};
pub use archai_engine::files::{FOUND_DESC, GALLERY};
use archai_engine::files::{FOUND_DRAWING, GALLERY_DESC};
use archai_engine::metrics::Metrics;
pub use archai_engine::predictions::TestPrediction;
use archai_engine::predictions::{self, predictions_path};
use archai_spec::config::{Vars, expand};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::settings::{Common, Track};
use serde::Deserialize;
use serde_json::Value;

use crate::error::LabError;
use crate::log::{Follower, LogEntry, LogFiles, read_entries};
use crate::message::{Message, Term};
use crate::record::Record;
use crate::started::{DirState, Started};

/// How the phase was started: a [`Started`].
pub const STARTED_FILE: &str = "run.json";
/// The facts of a phase that ended well: a [`Record`].
pub const RECORD_FILE: &str = "result.json";
/// The whole configuration of the run.
pub const CONFIG_FILE: &str = "config_used.yaml";
/// What was found, for people.
pub const SUMMARY_FILE: &str = "summary.md";
/// The run as a page for a browser, which whoever runs it may write.
pub const REPORT_FILE: &str = "report.html";
/// Locked while a process works in the directory.
pub const LOCK_FILE: &str = ".lock";
/// The folder of the checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// Name of the folder in which later exports of its model lie; they say nothing about what it computed.
pub const EXPORTS: &str = "export";
/// Folder of the event files of TensorBoard: the log once more, for that program.
pub const TENSORBOARD: &str = "tensorboard";
/// What trackers keep of a run, as which run of an MLflow server it is.
pub const TRACKING_FILE: &str = "tracking.json";

/// Ending of the log for people.
const HUMAN: &str = "log";
/// Ending of the log for programs.
const MACHINE: &str = "jsonl";
/// Ending of the log as a tree.
const TREE: &str = "yaml";
/// The name of the logs, unless `common.log_prefix` says otherwise.
const LOG: &str = "log";

/// The directory of one phase of an experiment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunDir {
    path: PathBuf,
}

impl AsRef<Path> for RunDir {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl RunDir {
    /// The run directory at `path`, which need not be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        RunDir { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its own name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The log files for the name that `common.log_prefix` gives them; none for an empty one, which writes none.
    pub fn log_files(&self, prefix: &str) -> Option<LogFiles> {
        let file = |ending: &str| self.path.join(format!("{prefix}.{ending}"));
        (!prefix.is_empty()).then(|| LogFiles {
            human: file(HUMAN),
            machine: file(MACHINE),
            tree: file(TREE),
        })
    }

    /// The log files that settings ask for: all, all but the tree, or none.
    pub(crate) fn logs_of(&self, common: &Common) -> Vec<PathBuf> {
        let Some(files) = self.log_files(&common.log_prefix) else {
            return Vec::new();
        };
        match common.yaml_log {
            true => vec![files.human, files.tree, files.machine],
            false => vec![files.human, files.machine],
        }
    }

    /// Names of files that say nothing about what a run computed: they say how it was started, or repeat others for people.
    pub(crate) fn names_apart(&self) -> Result<Vec<String>, LabError> {
        let prefix = self.log_prefix()?;
        let mut names = [
            CONFIG_FILE,
            STARTED_FILE,
            SUMMARY_FILE,
            REPORT_FILE,
            CHECKPOINTS,
            EXPORTS,
            TENSORBOARD,
            TRACKING_FILE,
        ]
        .map(String::from)
        .to_vec();
        if !prefix.is_empty() {
            names.extend([HUMAN, TREE].map(|ending| format!("{prefix}.{ending}")));
        }
        Ok(names)
    }

    /// In which state it is.
    ///
    /// # Errors
    /// Files that cannot be read or are of another version.
    pub fn state(&self) -> Result<DirState, LabError> {
        if self.path.symlink_metadata().is_err() {
            return Ok(DirState::Absent);
        }
        let Some(started) = self.started()? else {
            return Ok(match is_bare(&self.path) {
                true => DirState::Absent,
                false => DirState::Foreign,
            });
        };
        Ok(match self.record()? {
            Some(record) => DirState::Finished(Box::new(started), Box::new(record)),
            None => DirState::Unfinished(Box::new(started)),
        })
    }

    /// How the phase was started; none if the directory does not say.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of another version.
    pub fn started(&self) -> Result<Option<Started>, LabError> {
        self.read(STARTED_FILE, Started::from_json)
    }

    /// The facts of the phase; none until it has ended well.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of another version.
    pub fn record(&self) -> Result<Option<Record>, LabError> {
        self.read(RECORD_FILE, Record::from_json)
    }

    /// The log for programs: `log.jsonl`, under the name that the run's configuration gives it (`common.log_prefix`); none if
    /// it is not there.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn machine_log(&self) -> Result<Option<PathBuf>, LabError> {
        let files = self.log_files(&self.log_prefix()?);
        Ok(files
            .map(|files| files.machine)
            .filter(|path| path.exists()))
    }

    /// The name of the logs. A run writes its configuration before its log, so that without one there is no other name than
    /// the usual one to look for.
    fn log_prefix(&self) -> Result<String, LabError> {
        let given = self.config()?;
        let given = given
            .as_ref()
            .and_then(|config| config.pointer("/common/log_prefix"));
        let prefix = given.map_or(Some(LOG), Value::as_str);
        let prefix = prefix.filter(|prefix| check_log_prefix(prefix).is_ok());
        let prefix = prefix.ok_or_else(|| {
            unusable(
                &self.file(CONFIG_FILE),
                &"its common.log_prefix is no name of files",
            )
        })?;
        Ok(prefix.to_string())
    }

    /// All entries of the log so far. Lines that are no entries, as a killed process leaves one at the end, are left out.
    ///
    /// # Errors
    /// A file that cannot be read, a configuration that cannot be used.
    pub fn log(&self) -> Result<Vec<LogEntry>, LabError> {
        let Some(path) = self.machine_log()? else {
            return Ok(Vec::new());
        };
        let bytes = std::fs::read(&path).map_err(|e| FileError::new("read", &path, e))?;
        Ok(read_entries(&bytes).collect())
    }

    /// Follows the log while the run writes it. The configuration of the run says what the log is called; it is there when
    /// [`LabEvent::PhaseBegins`](crate::LabEvent::PhaseBegins) is seen.
    ///
    /// # Errors
    /// A configuration that cannot be used, or by which the run writes no log.
    pub fn follow(&self) -> Result<Follower, LabError> {
        let files = self.log_files(&self.log_prefix()?).ok_or_else(|| {
            LabError::failure(format!(
                "the run in `{}` writes no log: its common.log_prefix is empty",
                self.path.display()
            ))
        })?;
        Ok(Follower::new(files.machine))
    }

    /// The description that the search found or the evaluation got, if it is there.
    ///
    /// # Errors
    /// A file that cannot be read, or is no description.
    pub fn found_desc(&self, catalog: &OpCatalog) -> Result<Option<ModelDesc>, LabError> {
        read_desc(&self.file(FOUND_DESC), catalog)
    }

    /// The scaled description that an evaluation trains, if it is there.
    ///
    /// # Errors
    /// A file that cannot be read, or is no description; a configuration that does not name the file.
    pub fn scaled_desc(&self, catalog: &OpCatalog) -> Result<Option<ModelDesc>, LabError> {
        read_desc(&self.configured("/nas/eval/full_desc_filename")?, catalog)
    }

    /// The metrics of an evaluation, epoch by epoch, if they are there.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no metrics; a configuration that does not name the file.
    pub fn metrics(&self) -> Result<Option<Metrics>, LabError> {
        let path = self.configured("/nas/eval/metric_filename")?;
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let metrics = serde_saphyr::from_str(&text).map_err(|e| unusable(&path, &e))?;
        Ok(Some(metrics))
    }

    /// What the network of an evaluation said of each test picture, if the file is there; of several networks, that of the
    /// one that stands under the common names.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no predictions; a configuration that does not name the model.
    pub fn predictions(&self) -> Result<Option<Vec<TestPrediction>>, LabError> {
        let path = predictions_path(&self.configured("/nas/eval/model_filename")?);
        read_predictions(&path)
    }

    /// The same of each of the networks of a gallery that were evaluated, by their numbers.
    ///
    /// # Errors
    /// A folder or a file that cannot be read, or holds no predictions; a configuration that does not name the model.
    pub fn predictions_of_gallery(&self) -> Result<BTreeMap<usize, Vec<TestPrediction>>, LabError> {
        let common = self.configured("/nas/eval/model_filename")?;
        let folder = self.file(GALLERY);
        let mut all = BTreeMap::new();
        if !folder.is_dir() {
            return Ok(all);
        }
        let paths = RealDisk.list(&folder);
        let paths = paths.map_err(|e| FileError::new("read", &folder, e))?;
        for number in paths.iter().filter_map(|p| number_of(p, GALLERY_DESC)) {
            let model = common.with_file_name(format!("{GALLERY_DESC}_{number}_model.pt"));
            if let Some(said) = read_predictions(&predictions_path(&model))? {
                all.insert(number, said);
            }
        }
        Ok(all)
    }

    /// How far the trainings had come at the checkpoints that are there, by number: while a run works there, too.
    ///
    /// # Errors
    /// A folder or a file that cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<Reached>, LabError> {
        Ok(reached(&self.file(CHECKPOINTS))?)
    }

    /// Whether there is a checkpoint from which the phase could be resumed, or a damaged one.
    pub(crate) fn has_checkpoint(&self) -> Result<bool, FileError> {
        let folder = self.file(CHECKPOINTS);
        match folder.is_dir() {
            true => {
                let files = RealDisk.list(&folder);
                let files = files.map_err(|e| FileError::new("read", &folder, e))?;
                Ok(files
                    .iter()
                    .any(|file| file.extension().is_some_and(|e| e == "checkpoint")))
            }
            false => Ok(false),
        }
    }

    /// Whether it holds a phase that ended before its first checkpoint, and nothing else: only files that every run writes.
    pub(crate) fn holds_attempt_alone(&self) -> Result<bool, LabError> {
        let is_attempt = self.started()?.is_some() && self.record()?.is_none();
        if !is_attempt || self.has_checkpoint()? {
            return Ok(false);
        }
        let mut own = self.names_apart()?;
        own.extend([FOUND_DESC, FOUND_DRAWING, GALLERY, LOCK_FILE].map(String::from));
        let mut files: Vec<PathBuf> = self.machine_log()?.into_iter().collect();
        // A name that leads elsewhere is none of this directory's.
        files.extend(self.configured("/nas/eval/full_desc_filename").ok());
        own.extend(files.into_iter().map(|path| RunDir::new(path).name()));
        let paths = RealDisk.list(&self.path);
        let paths = paths.map_err(|e| FileError::new("read", &self.path, e))?;
        let mut names = paths.into_iter().map(|path| RunDir::new(path).name());
        Ok(names.all(|name| own.contains(&name)))
    }

    /// Where the figures of the run go besides its log (`common.track`), as its configuration has it.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn track(&self) -> Result<Track, LabError> {
        let config = self.config()?;
        let Some(track) = config.as_ref().and_then(|all| all.pointer("/common/track")) else {
            return Ok(Track::default());
        };
        Track::deserialize(track)
            .map_err(|e| unusable(&self.file(CONFIG_FILE), &format!("common.track: {e}")))
    }

    /// The configuration of the run, if it is there.
    fn config(&self) -> Result<Option<Value>, LabError> {
        let path = self.file(CONFIG_FILE);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        let config = serde_saphyr::from_str(&text).map_err(|e| unusable(&path, &e))?;
        Ok(Some(config))
    }

    /// A file that the configuration of the run names at `pointer`.
    fn configured(&self, pointer: &str) -> Result<PathBuf, LabError> {
        let path = self.file(CONFIG_FILE);
        let missing = || FileError::new("read", &path, io::ErrorKind::NotFound.into());
        let config = self.config()?.ok_or_else(missing)?;
        let name = config.pointer(pointer).and_then(Value::as_str);
        let name = name.ok_or_else(|| unusable(&path, &format!("it has no {pointer}")))?;
        let expdir = self.path.to_string_lossy().into_owned();
        let vars = Vars::from([("expdir".to_string(), expdir)]);
        let file = expand(name, &vars).map_err(|e| unusable(&path, &e))?;
        Ok(PathBuf::from(file))
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, LabError> {
        let path = self.file(name);
        let Some(text) = read_if_there(&path)? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(|why| {
            let what = format!("`{}` cannot be used: {why}; ", path.display());
            let message = Message::from(what).term(Term::Fresh);
            LabError::failure(message.text(" sets the old run aside and starts over"))
        })
    }

    /// Writes how the phase is started.
    pub(crate) fn write_started(&self, started: &Started) -> Result<(), FileError> {
        write_atomically(&self.file(STARTED_FILE), |out| {
            serde_json::to_writer_pretty(&mut *out, started)?;
            out.write_all(b"\n")
        })
    }

    /// Writes a text file into it, complete or not at all.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), FileError> {
        write_atomically(&self.file(name), |out| out.write_all(text.as_bytes()))
    }

    /// Removes what a killed process had begun to write.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        sweep(&self.path)
    }
}

/// Checks a name of the logs (`common.log_prefix`), which may be empty: they belong into the run directory, and are no
/// hidden files there, which do not count.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check_log_prefix(prefix: &str) -> Result<(), String> {
    if prefix.contains(['/', '\\']) || prefix.starts_with('.') {
        return Err(format!(
            "`{prefix}` is no name for files of a run directory; expected a name without slashes that does not start with a \
             dot, such as `{LOG}`, or an empty one for no logs"
        ));
    }
    Ok(())
}

/// Whether nothing was begun in a directory: it holds at most a lock, or what a killed process had begun to write.
pub(crate) fn is_bare(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return false;
    };
    let mut names = entries.map_while(|entry| Some(entry.ok()?.file_name()));
    names.all(|name| name.to_string_lossy().starts_with('.'))
}

fn sweep(dir: &Path) -> Result<(), FileError> {
    remove_unfinished(&RealDisk, dir)?;
    let paths = RealDisk.list(dir);
    for path in paths.map_err(|e| FileError::new("read", dir, e))? {
        if path.is_dir() && !path.is_symlink() {
            sweep(&path)?;
        }
    }
    Ok(())
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> LabError {
    LabError::failure(format!("`{}` cannot be used: {why}", path.display()))
}

fn read_desc(path: &Path, catalog: &OpCatalog) -> Result<Option<ModelDesc>, LabError> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    ModelDesc::from_yaml(&text, &path.display().to_string(), catalog)
        .map(Some)
        .map_err(LabError::caused)
}

fn read_predictions(path: &Path) -> Result<Option<Vec<TestPrediction>>, LabError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(FileError::new("read", path, e).into()),
    };
    let read = predictions::read(&bytes);
    read.map(Some)
        .map_err(|why| LabError::failure(format!("`{}` cannot be used: it {why}", path.display())))
}

fn read_if_there(path: &Path) -> Result<Option<String>, FileError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::Phase;

    #[test]
    fn states_of_directories() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::new(root.path().join("d"));
        assert!(matches!(dir.state().unwrap(), DirState::Absent));
        std::fs::create_dir(dir.path()).unwrap();
        std::fs::write(dir.file(".writing-x"), "").unwrap();
        assert!(matches!(dir.state().unwrap(), DirState::Absent));
        sweep(root.path()).unwrap();
        assert!(!dir.file(".writing-x").exists());
        std::fs::write(dir.file("log.log"), "").unwrap();
        assert!(matches!(dir.state().unwrap(), DirState::Foreign));
        let started = Started::new(Phase::Search, "0.1.0", &[], Path::new("/"));
        dir.write_started(&started).unwrap();
        assert!(matches!(dir.state().unwrap(), DirState::Unfinished(_)));
        std::fs::write(dir.file(RECORD_FILE), "{\"version\": 9}").unwrap();
        let error = dir.state().unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }

    #[test]
    fn p27_other_versions_are_refused_by_number() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::new(root.path());
        for (text, expect) in [
            (
                r#"{"version": 2}"#,
                "version 2, this program reads version 1",
            ),
            ("{}", "no version"),
            ("{", "EOF"),
        ] {
            std::fs::write(dir.file(STARTED_FILE), text).unwrap();
            let error = dir.state().unwrap_err().to_string();
            assert!(
                error.contains(expect) && error.contains("`fresh` sets the old run aside"),
                "{error}"
            );
        }
    }
}
