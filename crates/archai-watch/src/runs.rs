//! The runs below a folder: found again and again, put together from their phases, each under an id that no request can bend.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use archai_lab::dirs::RunDirs;
use archai_lab::rundir::{CONFIG_FILE, LOCK_FILE, RECORD_FILE, RunDir, STARTED_FILE};
use archai_lab::runs::RunState;
use archai_lab::{Lab, Phase};

use crate::phase::{PhaseSeen, PhaseWatch};

/// Deepest folder that is looked into.
const DEEPEST: usize = 8;
/// Most run directories that are watched.
const MOST_DIRS: usize = 4000;

/// A run: its search, its evaluation, or both.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSeen {
    /// How it is named in addresses: a digest of its name.
    pub id: String,
    /// What its directories are called, without `_search` and `_eval`, below the folder that is watched.
    pub name: String,
    /// Its directories, the search first.
    pub phases: Vec<PhaseSeen>,
}

impl RunSeen {
    /// The phase that the state of the run is about: the one that works, or else the last one.
    pub fn present(&self) -> Option<&PhaseSeen> {
        let works = |seen: &&PhaseSeen| matches!(seen.state, RunState::Running | RunState::Waiting);
        self.phases.iter().rev().find(works).or(self.phases.last())
    }

    /// Its phase of this name.
    pub fn phase(&self, phase: Phase) -> Option<&PhaseSeen> {
        self.phases.iter().find(|seen| seen.phase == phase)
    }

    /// In which state it is. A search that is complete waits for its evaluation while its process goes on.
    pub fn state(&self) -> RunState {
        let Some(present) = self.present() else {
            return RunState::Unreadable;
        };
        if present.state == RunState::Complete
            && present.phase == Phase::Search
            && present.eval_follows
        {
            let works = present.worker.as_ref().map(|worker| worker.works);
            return match works {
                Some(archai_lab::runs::Works::Yes) => RunState::Waiting,
                _ => RunState::Interrupted,
            };
        }
        // What was evaluated anew does not hide that its search failed.
        let worst = self.phases.iter().map(|seen| seen.state).min();
        match present.state {
            RunState::Complete => worst.unwrap_or(RunState::Complete),
            state => state,
        }
    }

    /// What is to be said about the state.
    pub fn detail(&self) -> Option<String> {
        let present = self.present()?;
        match (self.state(), present.state) {
            (RunState::Waiting, RunState::Complete) => {
                Some("the evaluation is about to begin".to_string())
            }
            (RunState::Interrupted, RunState::Complete) => {
                Some("before its evaluation".to_string())
            }
            _ => present.detail.clone(),
        }
    }

    /// When one of its files was last written.
    pub fn changed(&self) -> Option<f64> {
        let times = self.phases.iter().filter_map(|seen| seen.changed);
        times.max_by(f64::total_cmp)
    }
}

/// Watches the runs below a folder.
#[derive(Debug)]
pub struct RunsWatch {
    root: PathBuf,
    /// By directory.
    phases: BTreeMap<PathBuf, PhaseWatch>,
}

impl RunsWatch {
    /// Of the runs below `root`, or of the one whose directory it is.
    pub fn new(root: PathBuf) -> Self {
        RunsWatch {
            root,
            phases: BTreeMap::new(),
        }
    }

    /// Looks for directories that came or went.
    pub fn scan(&mut self) {
        let mut dirs = Vec::new();
        match is_run(&self.root) {
            true => {
                dirs.push(self.root.clone());
                dirs.extend(RunDirs::other_phase(&self.root).filter(|dir| is_run(dir)));
            }
            false => look_into(&self.root, 0, &mut dirs),
        }
        self.phases.retain(|dir, _| dirs.contains(dir));
        for dir in dirs {
            if let Some((_, phase)) = RunDirs::phase_of(&dir) {
                let watch = || PhaseWatch::new(RunDir::new(&dir), phase);
                self.phases.entry(dir.clone()).or_insert_with(watch);
            }
        }
    }

    /// Looks at all of them, or only at those that are not complete, and gives what is known of each run: the last one that wrote
    /// something first.
    pub fn look(&mut self, lab: &Lab, all: bool) -> Vec<RunSeen> {
        for watch in self.phases.values_mut() {
            if all || watch.seen.state != RunState::Complete {
                watch.look(lab);
            }
        }
        let mut runs: BTreeMap<PathBuf, Vec<PhaseSeen>> = BTreeMap::new();
        for (dir, watch) in &self.phases {
            if let Some((base, _)) = RunDirs::phase_of(dir) {
                runs.entry(base).or_default().push(watch.seen.clone());
            }
        }
        let above = match is_run(&self.root) {
            true => self.root.parent().unwrap_or(&self.root),
            false => &self.root,
        };
        let mut runs: Vec<RunSeen> = (runs.into_iter())
            .map(|(base, mut phases)| {
                phases.sort_by_key(|seen| seen.phase);
                let name = base.strip_prefix(above).unwrap_or(&base);
                let name = name.to_string_lossy().into_owned();
                let id = blake3::hash(base.as_os_str().as_encoded_bytes()).to_hex();
                RunSeen {
                    id: id.chars().take(16).collect(),
                    name,
                    phases,
                }
            })
            .collect();
        let changed = |run: &RunSeen| run.changed().unwrap_or(0.0);
        runs.sort_by(|a, b| changed(b).total_cmp(&changed(a)).then(a.name.cmp(&b.name)));
        runs
    }
}

/// Whether a folder is a run directory. While a process is about to begin there, it has a lock alone.
fn is_run(folder: &Path) -> bool {
    let has = |name: &str| folder.join(name).is_file();
    [STARTED_FILE, CONFIG_FILE, RECORD_FILE]
        .into_iter()
        .any(has)
        || (RunDirs::phase_of(folder).is_some() && has(LOCK_FILE))
}

/// The run directories in a folder and below it. Links are not followed, and what goes away meanwhile is not there.
fn look_into(folder: &Path, depth: usize, dirs: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let mut below: Vec<PathBuf> = (entries.filter_map(Result::ok))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    for folder in below {
        if dirs.len() >= MOST_DIRS {
            return;
        }
        if is_run(&folder) {
            dirs.push(folder);
        } else if depth < DEEPEST {
            look_into(&folder, depth + 1, dirs);
        }
    }
}
