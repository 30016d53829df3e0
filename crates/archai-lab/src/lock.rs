//! Who works in a directory: a lock that the system lets go of when its process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use archai_engine::files::FileError;
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::host::{Host, ProcessState};
use crate::message::{Message, Term};
use crate::rundir::LOCK_FILE;

/// How often the lock of a process that has ended is looked at again: the system takes a moment to let go of it, the longer
/// the more memory there is to give back.
const LOOKS: u32 = 100;
/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Who worked in a directory last, as its lock says, and whether it still does. See [`worker_in`].
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Number of the process.
    pub pid: u32,
    /// Name of its machine.
    pub host: String,
    /// When the process began, in a count of its system's own.
    pub since: Option<u64>,
    /// Whether it works there now.
    pub works: Works,
}

/// Whether a process works in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Works {
    /// It does.
    Yes,
    /// It has ended, or works elsewhere.
    No,
    /// It is on another machine, or the system does not say.
    Unknown,
}

/// Who worked in the directory `dir` last, seen from the machine of `host`; `None` where nobody did. The lock is read, not tried:
/// whoever wants to work there at this moment is not kept from it, as a lock that is held for a moment would.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let host = archai_lab::Host::default();
/// assert_eq!(archai_lab::runs::worker_in(dir.path(), &host)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A lock that cannot be read.
pub fn worker_in(dir: &Path, host: &Host) -> Result<Option<Worker>, LabError> {
    let path = dir.join(LOCK_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(FileError::new("read", &path, e).into()),
    };
    // Whoever holds it may not have written yet.
    let Ok(owner) = serde_json::from_str::<Owner>(&text) else {
        return Ok(None);
    };
    let is_here = owner.host == host.name;
    let works = match host.processes.look(owner.pid) {
        _ if !is_here => Works::Unknown,
        ProcessState::Unknown => Works::Unknown,
        _ if owner.has_ended(host) => Works::No,
        // It may have done with this directory and work on in another.
        _ => match host.processes.has_open(owner.pid, &path) {
            Some(false) => Works::No,
            Some(true) | None => Works::Yes,
        },
    };
    Ok(Some(Worker {
        pid: owner.pid,
        host: owner.host,
        since: owner.since,
        works,
    }))
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    /// When the process began, where the system says so: a number is given to another process some day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

impl Owner {
    /// This process.
    fn own(host: &Host) -> Self {
        Owner {
            pid: host.process,
            host: host.name.clone(),
            since: match host.processes.look(host.process) {
                ProcessState::Works { since } => Some(since),
                ProcessState::Ended | ProcessState::Unknown => None,
            },
        }
    }

    /// Who a lock says holds it. Where it keeps others from reading, or its holder has not written yet, nobody knows.
    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.rewind().ok()?;
        file.read_to_string(&mut text).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Whether it is known to do no more work.
    fn has_ended(&self, host: &Host) -> bool {
        if self.host != host.name {
            return false;
        }
        match host.processes.look(self.pid) {
            ProcessState::Works { since } => self.since.is_some_and(|own| own != since),
            ProcessState::Ended => true,
            ProcessState::Unknown => false,
        }
    }
}

/// A directory that this process alone works in.
#[derive(Debug)]
pub(crate) struct DirLock {
    /// Held, not read.
    _file: File,
}

impl DirLock {
    /// Locks a directory for this process, which `host` describes. The lock of a process that has ended is waited for.
    ///
    /// # Errors
    /// Another process holds it (the error names it), or the file system cannot lock.
    pub fn take(dir: &Path, host: &Host) -> Result<Self, LabError> {
        let (path, mut file) = Self::open(dir)?;
        let mut looks = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(e)) => return Err(FileError::new("lock", &path, e).into()),
                Err(TryLockError::WouldBlock) => {}
            }
            let owner = Owner::read(&mut file);
            let has_ended = owner.as_ref().is_some_and(|owner| owner.has_ended(host));
            // Whoever has written nothing may only be looking at the lock.
            let waits = has_ended || (owner.is_none() && looks < LOOKS / 20);
            if !waits || looks == LOOKS {
                return Err(held(dir, owner.as_ref(), has_ended));
            }
            looks += 1;
            std::thread::sleep(PAUSE);
        }
        let failed = |e| FileError::new("write", &path, e);
        let text = serde_json::to_string(&Owner::own(host)).map_err(|e| failed(e.into()))?;
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        Ok(DirLock { _file: file })
    }

    /// Whether a process works in a directory, and which, as far as its lock says. Nothing is changed, and a directory
    /// without a lock gets none.
    ///
    /// # Errors
    /// The file cannot be opened, or the file system cannot lock.
    pub fn holder(dir: &Path) -> Result<Option<String>, FileError> {
        let path = dir.join(LOCK_FILE);
        let mut file = match File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| FileError::new("read", &path, e))?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(named(Owner::read(&mut file).as_ref()))),
            Err(TryLockError::Error(e)) => Err(FileError::new("lock", &path, e)),
        }
    }

    /// Waits until this process alone holds the directory: for what takes a moment.
    ///
    /// # Errors
    /// The file system cannot lock.
    pub fn wait_for(dir: &Path) -> Result<Self, LabError> {
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

/// `process 17 on here`.
fn named(owner: Option<&Owner>) -> String {
    owner.map_or("another process".to_string(), |owner| {
        format!("process {} on {}", owner.pid, owner.host)
    })
}

/// A directory cannot be had.
fn held(dir: &Path, owner: Option<&Owner>, has_ended: bool) -> LabError {
    let (owner, dir) = (named(owner), dir.display());
    if has_ended {
        return LabError::failure(format!(
            "`{dir}` is still locked, although {owner}, which worked there, has ended: a program that it started may hold the \
             file {LOCK_FILE} there; end that program, or wait until the file system lets go of the lock"
        ));
    }
    let what = format!(
        "{owner} is working in `{dir}`; wait for it, stop it, or give this run a name of its own with "
    );
    LabError::failure(Message::from(what).term(Term::ExpPrefix))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::Processes;

    /// All processes do the same.
    struct All(ProcessState);

    impl Processes for All {
        fn look(&self, _process: u32) -> ProcessState {
            self.0
        }
    }

    fn host(state: ProcessState) -> Host {
        Host {
            process: 17,
            name: "here".into(),
            processes: Arc::new(All(state)),
            ..Host::default()
        }
    }

    #[test]
    fn p09_a_directory_has_one_process() {
        for state in [ProcessState::Unknown, ProcessState::Works { since: 5 }] {
            let (dir, host) = (tempfile::tempdir().unwrap(), host(state));
            assert_eq!(DirLock::holder(dir.path()).unwrap(), None);
            let held = DirLock::take(dir.path(), &host).unwrap();
            let holder = DirLock::holder(dir.path()).unwrap();
            assert_eq!(holder.as_deref(), Some("process 17 on here"));
            let error = DirLock::take(dir.path(), &host).unwrap_err().to_string();
            assert!(error.contains("process 17 on here is working"), "{error}");
            drop(held);
            assert_eq!(DirLock::holder(dir.path()).unwrap(), None);
            DirLock::take(dir.path(), &host).unwrap();
        }
    }

    /// A process that works, and has files open or not.
    struct Holding(Option<bool>);

    impl Processes for Holding {
        fn look(&self, _process: u32) -> ProcessState {
            ProcessState::Works { since: 5 }
        }

        fn has_open(&self, process: u32, file: &Path) -> Option<bool> {
            assert!(process == 17 && file.ends_with(LOCK_FILE));
            self.0
        }
    }

    #[test]
    fn who_works_in_a_directory_is_seen_without_touching_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let works = |host: &Host| worker_in(dir.path(), host).unwrap().map(|w| w.works);
        let own = host(ProcessState::Works { since: 5 });
        assert_eq!(works(&own), None);
        let held = DirLock::take(dir.path(), &own).unwrap();
        let elsewhere = Host {
            name: "there".into(),
            ..host(ProcessState::Ended)
        };
        let holding = |open| Host {
            processes: Arc::new(Holding(open)),
            ..own.clone()
        };
        for (host, expect) in [
            (own.clone(), Works::Yes),
            (holding(Some(true)), Works::Yes),
            (holding(Some(false)), Works::No),
            (host(ProcessState::Ended), Works::No),
            (host(ProcessState::Works { since: 6 }), Works::No),
            (host(ProcessState::Unknown), Works::Unknown),
            (elsewhere, Works::Unknown),
        ] {
            assert_eq!(works(&host), Some(expect));
        }
        drop(held);
        std::fs::write(dir.path().join(LOCK_FILE), "").unwrap();
        assert_eq!(works(&own), None);
    }

    #[test]
    fn p09_the_lock_of_a_process_that_ended_is_waited_for() {
        // It is gone, or another process has its number by now.
        for state in [ProcessState::Ended, ProcessState::Works { since: 6 }] {
            let dir = tempfile::tempdir().unwrap();
            let held = DirLock::take(dir.path(), &host(ProcessState::Works { since: 5 })).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    std::thread::sleep(3 * PAUSE);
                    drop(held);
                });
                DirLock::take(dir.path(), &host(state)).unwrap();
            });
        }
    }
}
