//! What the files of a run directory say of a run besides its log: how it was started, and what it came to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;
use archai_lab::rundir::{
    CHECKPOINTS, EXPORTS, STARTED_FILE, SUMMARY_FILE, TENSORBOARD, TRACKING_FILE,
};
use archai_lab::runs::{RunState, phase_in};
use archai_lab::{Ended, LabError, Phase, RunDir, Started};
use serde_json::Value;

use crate::error::TrackError;

/// How a phase ended, as far as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is complete.
    Complete,
    /// It was stopped or killed; it can be resumed.
    Stopped,
    /// It ended with an error.
    Failed,
}

impl From<Ended> for Ending {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Complete => Ending::Complete,
            Ended::Stopped => Ending::Stopped,
            Ended::Failed => Ending::Failed,
        }
    }
}

/// A run directory, and how it was started.
#[derive(Clone, Debug)]
pub struct RunFacts {
    /// The run directory.
    pub dir: RunDir,
    /// How its phase was started.
    pub started: Started,
}

impl RunFacts {
    /// Of the run directory at `dir`.
    ///
    /// # Errors
    /// It is no run directory, or cannot be read.
    pub fn read(dir: &Path) -> Result<RunFacts, TrackError> {
        let dir = RunDir::new(dir);
        match dir.started()? {
            Some(started) => Ok(RunFacts { dir, started }),
            None => Err(LabError::Request(
                format!(
                    "`{}` is no run directory: it has no {STARTED_FILE}; name a folder that a run made, NAME_search or NAME_eval",
                    dir.path().display()
                )
                .into(),
            )
            .into()),
        }
    }

    /// Its name: that of the directory.
    pub fn name(&self) -> String {
        self.dir.name()
    }

    /// How the phase ended; none while a process works there.
    ///
    /// # Errors
    /// Files that cannot be read, or are of another version.
    pub fn ending(&self) -> Result<Option<Ending>, TrackError> {
        let info = phase_in(&self.dir)?;
        match info.state {
            RunState::Running | RunState::Waiting => Ok(None),
            RunState::Complete => Ok(Some(Ending::Complete)),
            RunState::Interrupted => Ok(Some(Ending::Stopped)),
            RunState::Failed => Ok(Some(Ending::Failed)),
            RunState::Unreadable => {
                let why = info.detail.unwrap_or_default();
                Err(LabError::Failure(why.into()).into())
            }
        }
    }

    /// The settings that matter for the phase, by dotted names: all that change results, but those of the other phase alone.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &Value)> {
        let other = match self.started.phase {
            Phase::Search => "nas.eval.",
            Phase::Eval => "nas.search.",
        };
        let all = self.started.settings.iter();
        all.filter(move |(name, value)| !name.starts_with(other) && !value.is_null())
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The figures that the phase came to, by name; none until it is complete.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn figures(&self) -> Result<BTreeMap<String, f64>, TrackError> {
        let record = self.dir.record()?;
        Ok(record.map(|record| record.figures).unwrap_or_default())
    }

    /// The summary for people, as Markdown, if it is there: of a run that has both phases it stands with the evaluation.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn summary(&self) -> Result<Option<String>, TrackError> {
        let path = self.dir.file(SUMMARY_FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(FileError::new("read", &path, e).into()),
        }
    }

    /// The files that the run left, with their names below its directory: all but hidden ones, checkpoints, later exports and
    /// what trackers keep.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn files(&self) -> Result<Vec<(String, PathBuf)>, TrackError> {
        let mut files = Vec::new();
        visit(self.dir.path(), "", &mut files)?;
        files.sort();
        Ok(files)
    }
}

fn visit(folder: &Path, above: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), FileError> {
    const APART: [&str; 4] = [CHECKPOINTS, EXPORTS, TENSORBOARD, TRACKING_FILE];
    let failed = |e| FileError::new("read", folder, e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let own = entry.file_name().to_string_lossy().into_owned();
        if own.starts_with('.') || (above.is_empty() && APART.contains(&own.as_str())) {
            continue;
        }
        let name = format!("{above}{own}");
        // Links may lead anywhere.
        if kind.is_dir() {
            visit(&path, &format!("{name}/"), files)?;
        } else if kind.is_file() {
            files.push((name, path));
        }
    }
    Ok(())
}
