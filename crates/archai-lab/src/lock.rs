//! Who works in a directory: a lock that the system lets go of when its process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use archai_engine::files::FileError;
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::host::Host;
use crate::message::{Message, Term};
use crate::rundir::LOCK_FILE;

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
}

/// A directory that this process alone works in.
#[derive(Debug)]
pub(crate) struct DirLock {
    /// Held, not read.
    _file: File,
}

impl DirLock {
    /// Locks a directory for this process, which `host` describes.
    ///
    /// # Errors
    /// Another process holds it (the error names it), or the file system cannot lock.
    pub fn take(dir: &Path, host: &Host) -> Result<Self, LabError> {
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
                return Err(LabError::failure(
                    Message::from(format!(
                        "{owner} is working in `{}`; wait for it, stop it, or give this run a name of its own with ",
                        dir.display()
                    ))
                    .term(Term::ExpPrefix),
                ));
            }
            Err(TryLockError::Error(e)) => return Err(FileError::new("lock", &path, e).into()),
        }
        let owner = Owner {
            pid: host.process,
            host: host.name.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p09_a_directory_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host {
            process: 17,
            name: "here".into(),
            ..Host::default()
        };
        let held = DirLock::take(dir.path(), &host).unwrap();
        let error = DirLock::take(dir.path(), &host).unwrap_err().to_string();
        assert!(error.contains("process 17 on here"), "{error}");
        drop(held);
        DirLock::take(dir.path(), &host).unwrap();
    }
}
