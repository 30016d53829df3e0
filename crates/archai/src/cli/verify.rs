//! `archai verify`: does a finished run again, in a folder of its own, and compares what came out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;
use archai_engine::searcher::GALLERY;

use super::dirs::RunDirs;
use super::error::CliError;
use super::started::{Phase, Started};
use crate::digests;
use crate::report::Record;

/// Name of the repeated run.
const PREFIX: &str = "verify";

/// A finished run, with a folder where it can be done again.
pub struct Repetition {
    dir: PathBuf,
    again: PathBuf,
    /// Arguments of the command that does it again.
    pub arguments: Vec<String>,
    scratch: tempfile::TempDir,
}

impl Repetition {
    /// Prepares to do the run in `dir` again, which needs nothing but `dir`: its configuration and, for an evaluation, its
    /// description. `more` are further arguments.
    ///
    /// # Errors
    /// `dir` is no finished run; no scratch folder.
    pub fn new(dir: &Path, more: &[String]) -> Result<Self, CliError> {
        let dir = dir
            .canonicalize()
            .map_err(|e| FileError::new("read", dir, e))?;
        let (started, record) = match Phase::of(&dir)? {
            Phase::Finished(started, record) => (started, record),
            Phase::Unfinished(_) => {
                return Err(CliError::usage(format!(
                    "the run in `{}` is not complete; finish it first: archai resume {0}",
                    dir.display()
                )));
            }
            Phase::Absent | Phase::Foreign => {
                return Err(CliError::usage(format!(
                    "`{}` is no run directory; name a folder that `archai run` made",
                    dir.display()
                )));
            }
        };
        let scratch = tempfile::Builder::new()
            .prefix("archai-verify-")
            .tempdir()
            .map_err(|e| FileError::new("make a folder in", &std::env::temp_dir(), e))?;
        let logdir = scratch.path().join("logdir");
        let dirs = RunDirs::new(&logdir, &started.algorithm, &record.dataset, PREFIX)?;
        let config = scratch.path().join("config.yaml");
        copy(&dir.join("config_used.yaml"), &config)?;
        let mut arguments = arguments(&started, &config, &logdir);
        let again = match record.phase.as_str() {
            "search" => {
                arguments.push("--no-eval".to_string());
                dirs.search
            }
            _ => {
                arguments.push("--no-search".to_string());
                arguments.extend(Self::bring_description(&dir, &record, &dirs)?);
                dirs.eval
            }
        };
        arguments.extend(more.iter().cloned());
        Ok(Repetition {
            dir,
            again,
            arguments,
            scratch,
        })
    }

    /// Puts the evaluated description where the repetition looks for it.
    fn bring_description(
        dir: &Path,
        record: &Record,
        dirs: &RunDirs,
    ) -> Result<Vec<String>, CliError> {
        let own = dir.join("final_model_desc.yaml");
        if record.given_desc.is_some() {
            return Ok(vec![format!(
                "nas.eval.final_desc_filename={}",
                serde_json::json!(own)
            )]);
        }
        let gallery = dir.join(GALLERY);
        let target = dirs.search.join(GALLERY);
        fs::create_dir_all(&dirs.search).map_err(|e| FileError::new("make", &dirs.search, e))?;
        copy(&own, &dirs.search.join("final_model_desc.yaml"))?;
        if gallery.is_dir() {
            fs::create_dir_all(&target).map_err(|e| FileError::new("make", &target, e))?;
            let failed = |e| FileError::new("read", &gallery, e);
            for entry in fs::read_dir(&gallery).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                copy(&entry.path(), &target.join(entry.file_name()))?;
            }
        }
        Ok(Vec::new())
    }

    /// Compares what the repetition, which is done, gave; prints file by file.
    ///
    /// # Errors
    /// Files that differ, or are on one side alone.
    pub fn compare(&self) -> Result<(), CliError> {
        let (old, new) = (digests::of_run(&self.dir)?, digests::of_run(&self.again)?);
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut table = String::new();
        let mut differing = Vec::new();
        for name in &names {
            let verdict = match (old.get(*name), new.get(*name)) {
                (Some(a), Some(b)) if a == b => "same",
                (Some(_), Some(_)) => "DIFFERS",
                (Some(_), None) => "DIFFERS: the repetition has not got it",
                _ => "DIFFERS: only the repetition has it",
            };
            if verdict != "same" {
                differing.push(name.as_str());
            }
            let digest = old.get(*name).or(new.get(*name)).map_or("", |d| &d[..16]);
            let _ = writeln!(table, "  {name:<width$}  {digest}  {verdict}");
        }
        let dir = self.dir.display();
        std::io::stdout().write_all(format!("\n{dir}\n{table}").as_bytes())?;
        if differing.is_empty() {
            let verdict = format!("{} files, all the same but for times\n", names.len());
            std::io::stdout().write_all(verdict.as_bytes())?;
            return Ok(());
        }
        Err(CliError::failure(format!(
            "{} of {} files in `{dir}` are not what the run gives: {}; another version of the program, another kind of \
             processor or other data can be the reason, or somebody changed them",
            differing.len(),
            names.len(),
            differing.join(", ")
        )))
    }

    /// The scratch folder, which goes away with this value.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }
}

fn arguments(started: &Started, config: &Path, logdir: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    [
        "run",
        "--algos",
        &started.algorithm,
        "--engine",
        &started.engine,
        "--exp-prefix",
        PREFIX,
        "--config-only",
        &text(config),
        "--logdir",
        &text(logdir),
    ]
    .map(str::to_string)
    .to_vec()
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let bytes = fs::read(from).map_err(|e| FileError::new("read", from, e))?;
    fs::write(to, bytes).map_err(|e| FileError::new("write", to, e))
}
