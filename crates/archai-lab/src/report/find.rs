//! Finding finished runs on the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;

use super::collate::{FinishedRun, LeftOut};
use crate::dirs::RunDirs;
use crate::error::LabError;
use crate::log::LogEntry;
use crate::phase::Phase;
use crate::record::Record;
use crate::rundir::{CONFIG_FILE, RECORD_FILE, RunDir};

/// Finds the runs in these folders and below them, by the name that their two directories share, and what cannot count as
/// a run, with the reason. Links are not followed.
///
/// # Errors
/// Folders that cannot be read.
pub fn find(dirs: &[PathBuf]) -> Result<(Vec<FinishedRun>, Vec<LeftOut>), LabError> {
    let mut found = Found::default();
    for dir in dirs {
        found.look_into(dir)?;
    }
    Ok((found.runs.into_values().collect(), found.left_out))
}

/// Runs by the name that their two directories share.
#[derive(Default)]
struct Found {
    runs: BTreeMap<PathBuf, FinishedRun>,
    left_out: Vec<LeftOut>,
    seen: Vec<PathBuf>,
}

impl Found {
    /// Looks at a folder and those below it, in the order of their names. Links are not followed.
    fn look_into(&mut self, dir: &Path) -> Result<(), LabError> {
        let failed = |e| FileError::new("read the folder", dir, e);
        let canonical = dir.canonicalize().map_err(failed)?;
        if self.seen.contains(&canonical) {
            return Ok(());
        }
        self.seen.push(canonical);
        let phase = RunDirs::phase_of(dir);
        if dir.join(CONFIG_FILE).exists() || dir.join(RECORD_FILE).exists() {
            self.take(dir, phase);
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                entries.push(entry.path());
            }
        }
        if phase.is_some() && entries.is_empty() {
            let reason = format!(
                "it has neither {CONFIG_FILE} nor {RECORD_FILE}: the run ended before it began"
            );
            self.leave(dir, reason);
        }
        entries.sort();
        entries.iter().try_for_each(|entry| self.look_into(entry))
    }

    fn leave(&mut self, dir: &Path, reason: impl Into<String>) {
        self.left_out.push(LeftOut {
            name: dir.display().to_string(),
            reason: reason.into(),
        });
    }

    fn take(&mut self, dir: &Path, phase: Option<(PathBuf, Phase)>) {
        let record = match read_record(dir) {
            Ok(record) => record,
            Err(reason) => return self.leave(dir, reason),
        };
        // A directory that was renamed by hand is a run of its own.
        let key = match phase {
            Some((key, phase)) if record.phase == phase => key,
            _ => dir.to_path_buf(),
        };
        let run = self.runs.entry(key.clone()).or_insert_with(|| FinishedRun {
            name: key.display().to_string(),
            search: None,
            eval: None,
            toy: false,
        });
        run.toy |= is_toy(dir);
        let place = match record.phase {
            Phase::Search => &mut run.search,
            Phase::Eval => &mut run.eval,
        };
        *place = Some(record);
    }
}

/// The record of a run directory, or why there is none.
fn read_record(dir: &Path) -> Result<Record, String> {
    let path = dir.join(RECORD_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let last =
                last_message(dir).map_or_else(String::new, |m| format!("; its log ends with: {m}"));
            return Err(format!(
                "it is not complete, or was made by an older program: there is no {RECORD_FILE}{last}"
            ));
        }
        Err(e) => return Err(format!("{RECORD_FILE} cannot be read: {e}")),
    };
    Record::from_json(&text).map_err(|why| format!("{RECORD_FILE} {why}"))
}

/// Whether a run was made in toy mode. A configuration that was given as a whole is what it is; a run that does not say how it
/// was made counts in full.
fn is_toy(dir: &Path) -> bool {
    let started = RunDir::new(dir).started().ok().flatten();
    started.is_some_and(|started| started.is_toy())
}

/// The last sentence in a log that is there, for people who wonder how far a run got.
fn last_message(dir: &Path) -> Option<String> {
    let entries = RunDir::new(dir).log().ok()?;
    let mut messages = entries.iter().rev().filter_map(LogEntry::message);
    messages.next().map(str::to_string)
}
