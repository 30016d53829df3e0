//! Does a finished run again, in a folder of its own, and compares what came out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use archai_engine::Engine;
use archai_engine::files::FileError;
use serde_json::Value;

use crate::config::ConfigRequest;
use crate::data::differences;
use crate::digests;
use crate::error::LabError;
use crate::initial::INIT_WEIGHTS;
use crate::inputs;
use crate::lab::Lab;
use crate::message::{Message, Term};
use crate::observer::Observer;
use crate::phase::Phase;
use crate::record::Record;
use crate::request::{Request, RunMode};
use crate::rundir::{CONFIG_FILE, FOUND_DESC, GALLERY, RunDir};
use crate::started::{DirState, Started};
use crate::table::FIGURES;

/// Name of the repeated run.
const PREFIX: &str = "verify";

/// How a file of a run compares with that of its repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both are the same but for times.
    Same,
    /// They differ.
    Differs,
    /// The repetition does not have it.
    OnlyOld,
    /// Only the repetition has it.
    OnlyNew,
}

/// A file of a run and of its repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Its name in the run directory.
    pub name: String,
    /// The digest in the run, or in the repetition if the run does not have the file; see [`digests`].
    pub digest: String,
    /// How they compare.
    pub verdict: Verdict,
}

/// A finished run, with a folder in which it can be done again.
#[derive(Debug)]
pub struct Repetition {
    dir: RunDir,
    again: RunDir,
    request: Request,
}

impl Repetition {
    /// Prepares to do the run in `dir` again, which needs nothing but `dir`: its configuration and, for an evaluation, its
    /// description. The repetition happens in `scratch`, an empty folder of the caller's. `overrides` and `threads` are
    /// those of the repetition: see [`Request`].
    ///
    /// # Errors
    /// `dir` is no finished run, or files cannot be read or copied.
    pub fn new(
        lab: &Lab,
        dir: &Path,
        scratch: &Path,
        overrides: &[String],
        threads: Option<usize>,
    ) -> Result<Self, LabError> {
        if !dir.exists() {
            return Err(no_run(dir));
        }
        let path = dir
            .canonicalize()
            .map_err(|e| FileError::new("read", dir, e))?;
        let dir = RunDir::new(path);
        let (started, record) = finished(&dir)?;
        let config = scratch.join("config.yaml");
        copy(&dir.file(CONFIG_FILE), &config)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let engines = [Engine::Fused, Engine::Plain];
        let engine = engines
            .into_iter()
            .find(|e| e.to_string() == started.engine);
        let engine = engine.ok_or_else(|| {
            LabError::failure(format!(
                "the run in `{}` was computed by `{}`, which this program does not have",
                dir.path().display(),
                started.engine
            ))
        })?;
        let mut request = Request {
            search: record.phase == Phase::Search,
            eval: record.phase == Phase::Eval,
            exp_prefix: PREFIX.to_string(),
            config_only: Some(text(&config)),
            logdir: Some(text(&scratch.join("logdir"))),
            overrides: [paths_of(lab, &started, &config)?, overrides.to_vec()].concat(),
            table: started
                .argument("--table")
                .filter(|_| record.figures.keys().any(|name| name.starts_with(FIGURES)))
                .map(|path| started.folder.join(path)),
            device: started.device.clone(),
            engine,
            threads,
            ..Request::new(&started.algorithm)
        };
        let started_from = record.settings.get(INIT_WEIGHTS).and_then(Value::as_str);
        let plan = lab.plan(&request)?;
        let now = plan.jobs[0]
            .initial
            .as_ref()
            .map(|initial| initial.digest.as_str());
        if now != started_from {
            return Err(LabError::failure(format!(
                "the run in `{}` cannot be verified: the weights that it started from ({INIT_WEIGHTS}) changed since",
                dir.path().display()
            )));
        }
        let again = plan.dirs()[0].clone();
        // Other images would change every file, and nobody would know why.
        let now = plan.data(&plan.jobs[0], record.phase)?;
        if let Some((name, then, now)) = differences(&record.data, &now).into_iter().next() {
            return Err(LabError::failure(format!(
                "the run in `{}` cannot be verified: {name} changed since: {then} -> {now}",
                dir.path().display()
            )));
        }
        if record.phase == Phase::Eval {
            let own = dir.file(FOUND_DESC);
            match record.given_desc {
                Some(_) => {
                    let named = serde_json::json!(own);
                    request
                        .overrides
                        .push(format!("nas.eval.final_desc_filename={named}"));
                }
                None => bring_description(&dir, &again.search)?,
            }
        }
        let again = again.of(record.phase).clone();
        Ok(Repetition {
            dir,
            again,
            request,
        })
    }

    /// The run that is repeated.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// Does the run again and compares what came out, file by file.
    ///
    /// # Errors
    /// As [`Lab::run`]; files that cannot be read. That files differ is no error.
    pub fn run(&self, lab: &Lab, observer: &dyn Observer) -> Result<Vec<Compared>, LabError> {
        lab.run(&self.request, observer)?;
        let old = digests::of_run(self.dir.path())?;
        let new = digests::of_run(self.again.path())?;
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let compared = names.into_iter().map(|name| {
            let (a, b) = (old.get(name), new.get(name));
            let verdict = match (a, b) {
                (Some(a), Some(b)) if a == b => Verdict::Same,
                (Some(_), Some(_)) => Verdict::Differs,
                (Some(_), None) => Verdict::OnlyOld,
                (None, _) => Verdict::OnlyNew,
            };
            Compared {
                name: name.clone(),
                digest: a.or(b).cloned().unwrap_or_default(),
                verdict,
            }
        });
        Ok(compared.collect())
    }
}

/// Overrides that say where the relative paths in a copied configuration lead: programs before this one left them as they were
/// written, seen from where the run was started.
fn paths_of(lab: &Lab, started: &Started, config: &Path) -> Result<Vec<String>, LabError> {
    if started.folder.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let algo = lab.algorithms().get(&started.algorithm);
    let algo = algo.map_err(|e| LabError::request(e.to_string()))?;
    let file = config.to_string_lossy();
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo,
        others: Vec::new(),
        dataset: None,
        eval_dataset: None,
        space: None,
        mode: RunMode::default(),
        config: None,
        config_only: Some(&file),
        overrides: Vec::new(),
        folder: Path::new(""),
    };
    let paths = inputs::relative(&request.load_as_written()?, lab.components());
    let paths = paths.into_iter().map(|(key, text)| {
        let path = serde_json::json!(started.folder.join(text));
        format!("{key}={path}")
    });
    Ok(paths.collect())
}

/// How a run was started and what it gave, if it is finished.
fn finished(dir: &RunDir) -> Result<(Box<Started>, Box<Record>), LabError> {
    let place = dir.path().display();
    match dir.state()? {
        DirState::Finished(started, record) => Ok((started, record)),
        DirState::Unfinished(_) => {
            let what = format!("the run in `{place}` is not complete; finish it first: ");
            let resume = Term::Resume(dir.path().to_path_buf());
            Err(LabError::request(Message::from(what).term(resume)))
        }
        DirState::Absent | DirState::Foreign => Err(no_run(dir.path())),
    }
}

fn no_run(dir: &Path) -> LabError {
    LabError::request(format!(
        "`{}` is no run directory; name a folder that a run made",
        dir.display()
    ))
}

/// Puts the evaluated description where the repetition looks for it.
fn bring_description(dir: &RunDir, search: &RunDir) -> Result<(), LabError> {
    fs::create_dir_all(search).map_err(|e| FileError::new("make", search.path(), e))?;
    copy(&dir.file(FOUND_DESC), &search.file(FOUND_DESC))?;
    let (gallery, target) = (dir.file(GALLERY), search.file(GALLERY));
    if gallery.is_dir() {
        fs::create_dir_all(&target).map_err(|e| FileError::new("make", &target, e))?;
        let failed = |e| FileError::new("read", &gallery, e);
        for entry in fs::read_dir(&gallery).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            copy(&entry.path(), &target.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let bytes = fs::read(from).map_err(|e| FileError::new("read", from, e))?;
    fs::write(to, bytes).map_err(|e| FileError::new("write", to, e))
}
