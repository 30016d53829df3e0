//! What becomes of older runs in the directories of a job, before it begins.
//!
//! What was interrupted is resumed; what is finished stays, or is kept under a number when its time is over. An attempt that
//! ended before its first checkpoint holds nothing: the same command resumes it, another one takes its place.

use std::path::Path;

use archai_engine::files::FileError;

use crate::data;
use crate::dirs::{self, SetAside};
use crate::error::LabError;
use crate::host::Host;
use crate::lock::DirLock;
use crate::observer::{LabEvent, Observer};
use crate::plan::{Job, Plan};
use crate::record::Record;
use crate::rundir::{LOCK_FILE, RunDir, is_bare};
use crate::started::{Accepted, DirState, Started};

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
    locks: Vec<DirLock>,
    /// Directories that it made.
    made: Vec<RunDir>,
}

impl Claim {
    /// Makes the directory of an evaluation that follows a search of the same job, now that it begins. Until then nobody else
    /// could have made it: whoever wants to has to lock the search's, too.
    pub(crate) fn begin_eval(&mut self, dir: &RunDir, host: &Host) -> Result<(), LabError> {
        if let PhaseState::New = self.eval
            && !self.made.contains(dir)
        {
            dirs::create(dir.path())?;
            self.locks.push(DirLock::take(dir.path(), host)?);
            self.made.push(dir.clone());
        }
        Ok(())
    }

    /// Removes the directories that it made and in which nothing was begun. Whatever goes wrong with that leaves an empty
    /// directory, which no run minds.
    pub(crate) fn abandon(self, logdir: &Path) {
        let Ok(_gate) = DirLock::wait_for(logdir) else {
            return;
        };
        for dir in self.made.iter().filter(|dir| is_bare(dir.path())) {
            let _ = std::fs::remove_file(dir.file(LOCK_FILE));
            let _ = std::fs::remove_dir(dir.path());
        }
    }
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
        let logdir = dirs.logdir();
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
            if !plan.fresh {
                self.remove_attempts(which)?;
            }
            for (from, to) in dirs.set_aside(which)? {
                self.observer.observe(&LabEvent::SetAside {
                    from: &from,
                    to: &to,
                });
            }
        }
        // The directory of an evaluation that comes later is made when it begins.
        let eval_is_next = !matches!(search, PhaseState::New | PhaseState::Resumed);
        let mut made = Vec::new();
        for (state, dir, is_next) in [
            (&search, &dirs.search, true),
            (&eval, &dirs.eval, eval_is_next),
        ] {
            if let PhaseState::New = state {
                // What was held may be another directory by now.
                locks.retain(|(held, _)| *held != dir);
                if is_next {
                    dirs::create(dir.path())?;
                    locks.push((dir, DirLock::take(dir.path(), host)?));
                    made.push(dir.clone());
                }
            }
        }
        Ok(Claim {
            search,
            eval,
            locks: locks.into_iter().map(|(_, lock)| lock).collect(),
            made,
        })
    }

    /// Removes attempts that hold nothing, where a run that begins would set them aside.
    fn remove_attempts(&self, which: SetAside) -> Result<(), LabError> {
        let dirs = &self.job.dirs;
        let going = match which {
            SetAside::Pair => vec![&dirs.search, &dirs.eval],
            SetAside::EvalOnly => vec![&dirs.eval],
        };
        for dir in going {
            if dir.holds_attempt_alone()? {
                std::fs::remove_dir_all(dir)
                    .map_err(|e| FileError::new("remove the earlier attempt", dir.path(), e))?;
                self.observer
                    .observe(&LabEvent::Replaced { dir: dir.path() });
            }
        }
        Ok(())
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
                Ok((self.resumed_or_new(&started, None)?, PhaseState::New))
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
                            self.check_same(&started, None, Accepted::Later)?;
                        } else if !matches!(eval, DirState::Finished(..)) {
                            // The same command, but the images may be others by now.
                            self.check_data(&started)?;
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
            DirState::Unfinished(started) => self.resumed_or_new(&started, given),
            DirState::Finished(started, record)
                if self.goes_on && self.plan.made(&started, self.job) =>
            {
                Ok(PhaseState::Complete(record))
            }
            DirState::Finished(..) | DirState::Absent | DirState::Foreign => Ok(PhaseState::New),
        }
    }

    /// The state of a phase that did not end: what computes something else begins anew, if that costs nothing.
    fn resumed_or_new(&self, older: &Started, given: Option<&str>) -> Result<PhaseState, LabError> {
        match self.check_same(older, given, Accepted::None) {
            Ok(()) => Ok(PhaseState::Resumed),
            Err(_) if !self.job.dirs.of(older.phase).has_checkpoint()? => Ok(PhaseState::New),
            Err(error) => Err(error),
        }
    }

    /// Checks that an older run of a phase that this very command made had the data that are there now.
    fn check_data(&self, older: &Started) -> Result<(), LabError> {
        let now = Started {
            data: self.plan.data(self.job, older.phase)?,
            ..older.clone()
        };
        self.compared(older, &now, Accepted::Later)
    }

    /// Checks that an older run of a phase is the same as the one that would be started now. Where pictures differ, the error
    /// names them.
    fn compared(&self, older: &Started, now: &Started, accepted: Accepted) -> Result<(), LabError> {
        let dir = self.job.dirs.of(older.phase);
        let cache = &self.plan.lab.host().cache;
        older
            .check_same(now, dir.path(), accepted)
            .map_err(|error| match error {
                LabError::Request(mut message) => {
                    for line in data::pictures_that_differ(cache, &older.data, &now.data) {
                        message = message.text(format!("\n  {line}"));
                    }
                    LabError::Request(message)
                }
                other => other,
            })
    }

    /// Checks that an older run of a phase computes what is asked for now.
    fn check_same(
        &self,
        older: &Started,
        given: Option<&str>,
        accepted: Accepted,
    ) -> Result<(), LabError> {
        let now = self.plan.started(self.job, older.phase, given)?;
        let accepted = match self.plan.allow_changed {
            true => Accepted::Harmless,
            false => accepted,
        };
        self.compared(older, &now, accepted)
    }
}
