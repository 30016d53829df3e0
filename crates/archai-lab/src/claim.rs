//! What becomes of older runs in the directories of a job, before it begins.

use std::path::Path;

use crate::dirs::{self, SetAside};
use crate::error::LabError;
use crate::lock::DirLock;
use crate::observer::{LabEvent, Observer};
use crate::plan::{Job, Plan};
use crate::record::Record;
use crate::rundir::RunDir;
use crate::started::{DirState, Started};

/// In which state a phase of a job is when the job begins.
pub(crate) enum PhaseState {
    /// It is not asked for.
    NotWanted,
    /// Nothing is there.
    New,
    /// It was interrupted, and is resumed.
    Resumed,
    /// It is finished, and stays.
    Complete(Box<Record>),
}

/// The states of both phases, and the directories that are this process's.
pub(crate) struct Claim {
    pub search: PhaseState,
    pub eval: PhaseState,
    _locks: Vec<DirLock>,
}

/// Who asks for the directories of a job.
pub(crate) struct Claimant<'a> {
    pub job: &'a Job<'a>,
    pub plan: &'a Plan<'a>,
    /// Whether some of the plan was done before by an equal one.
    pub goes_on: bool,
    pub observer: &'a dyn Observer,
}

impl Claimant<'_> {
    /// Decides what becomes of older runs in the job's directories, sets those aside that have had their time, and locks
    /// the rest. `given` is the digest of a description that was given to be evaluated.
    pub(crate) fn claim(&self, given: Option<&str>) -> Result<Claim, LabError> {
        let (plan, dirs) = (self.plan, &self.job.dirs);
        let host = plan.lab.host();
        let logdir = dirs.search.path().parent().unwrap_or(Path::new("."));
        dirs::create_logdir(logdir)?;
        // One process at a time looks and moves.
        let _gate = DirLock::wait_for(logdir)?;
        let mut locks: Vec<(&RunDir, DirLock)> = Vec::new();
        for dir in [&dirs.search, &dirs.eval] {
            if dir.path().is_dir() {
                locks.push((dir, DirLock::take(dir.path(), host)?));
            }
        }
        let (mut search, mut eval) = match plan.fresh {
            true => (PhaseState::New, PhaseState::New),
            false => self.states(given)?,
        };
        if !plan.search {
            search = PhaseState::NotWanted;
        }
        if !plan.eval {
            eval = PhaseState::NotWanted;
        }
        let aside = match (&search, &eval) {
            (PhaseState::New, _) => Some(SetAside::Pair),
            (_, PhaseState::New) => Some(SetAside::EvalOnly),
            _ => None,
        };
        if let Some(which) = aside {
            for (from, to) in dirs.set_aside(which)? {
                self.observer.observe(&LabEvent::SetAside {
                    from: &from,
                    to: &to,
                });
            }
        }
        for (state, dir) in [(&search, &dirs.search), (&eval, &dirs.eval)] {
            if let PhaseState::New = state {
                // What was held may be another directory by now.
                locks.retain(|(held, _)| *held != dir);
                dirs::create(dir.path())?;
                locks.push((dir, DirLock::take(dir.path(), host)?));
            }
        }
        Ok(Claim {
            search,
            eval,
            _locks: locks.into_iter().map(|(_, lock)| lock).collect(),
        })
    }

    /// The states of the phases of a request that does not start over.
    fn states(&self, given: Option<&str>) -> Result<(PhaseState, PhaseState), LabError> {
        let (plan, job) = (self.plan, self.job);
        let eval = job.dirs.eval.state()?;
        if !plan.search {
            return Ok((PhaseState::NotWanted, self.eval_state(eval, given)?));
        }
        let anew = (PhaseState::New, PhaseState::New);
        match (job.dirs.search.state()?, eval) {
            (DirState::Unfinished(started), _) => {
                self.check_same(&started, None)?;
                Ok((PhaseState::Resumed, PhaseState::New))
            }
            (DirState::Finished(started, record), eval) => {
                let is_ours = self.goes_on && plan.made(&started, job);
                let followed = started.eval_follows || is_ours;
                match eval {
                    // The pair is finished; so it stays only where the command as a whole is not.
                    DirState::Finished(..) if !is_ours => Ok(anew),
                    DirState::Unfinished(of_eval) if of_eval.given_desc.is_some() => Ok(anew),
                    _ if !followed || !(plan.eval || is_ours) => Ok(anew),
                    eval => {
                        if !is_ours {
                            self.check_same(&started, None)?;
                        }
                        let eval = self.eval_state(eval, None)?;
                        Ok((PhaseState::Complete(record), eval))
                    }
                }
            }
            (DirState::Absent | DirState::Foreign, _) => Ok(anew),
        }
    }

    /// The state of the evaluation, taken alone.
    fn eval_state(&self, dir: DirState, given: Option<&str>) -> Result<PhaseState, LabError> {
        match dir {
            DirState::Unfinished(started) => {
                self.check_same(&started, given)?;
                Ok(PhaseState::Resumed)
            }
            DirState::Finished(started, record)
                if self.goes_on && self.plan.made(&started, self.job) =>
            {
                Ok(PhaseState::Complete(record))
            }
            DirState::Finished(..) | DirState::Absent | DirState::Foreign => Ok(PhaseState::New),
        }
    }

    /// Checks that an older run of a phase computes what is asked for now.
    fn check_same(&self, older: &Started, given: Option<&str>) -> Result<(), LabError> {
        let now = self.plan.started(self.job, older.phase, given)?;
        let dir = self.job.dirs.of(older.phase);
        older.check_same(&now, dir.path(), self.plan.allow_changed)
    }
}
