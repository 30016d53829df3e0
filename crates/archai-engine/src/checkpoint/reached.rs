//! How far trainings had come, as their checkpoints say: for those who watch a run from outside.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use super::codec::read_values;
use crate::files::{Disk, FileError, RealDisk};

/// How far a training had come at a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Number of the checkpoint within the run, from 1.
    pub number: u64,
    /// The training, by its place in the log.
    pub scope: String,
    /// Whether it had ended.
    pub finished: bool,
    /// The epoch that was under way, from 0, if the training counts epochs.
    pub epoch: Option<usize>,
    /// Steps of that epoch that were done.
    pub step: Option<usize>,
}

/// What the checkpoints in a folder say, by their numbers. Nothing is changed, so that a run may work there meanwhile, and
/// no tensor is read. Files whose head is damaged or of another version, or which the run took away just now, are left out.
/// A folder that is not there holds none.
///
/// # Errors
/// A folder or a file that cannot be read.
pub fn reached(dir: &Path) -> Result<Vec<Reached>, FileError> {
    let is_gone = |e: &std::io::Error| e.kind() == ErrorKind::NotFound;
    let paths = match RealDisk.list(dir) {
        Err(e) if is_gone(&e) => return Ok(Vec::new()),
        paths => paths.map_err(|e| FileError::new("read", dir, e))?,
    };
    let mut all = Vec::new();
    for path in paths {
        if path.extension().is_none_or(|e| e != "checkpoint") {
            continue;
        }
        let read = File::open(&path).and_then(|mut file| read_values(&mut file));
        let (header, snapshot) = match read {
            Err(e) if is_gone(&e) || e.kind() == ErrorKind::InvalidData => continue,
            read => read.map_err(|e| FileError::new("read", &path, e))?,
        };
        all.push(Reached {
            number: header.sequence,
            scope: header.scope,
            finished: header.finished,
            epoch: snapshot.get("epoch").ok(),
            step: snapshot.get("step").ok(),
        });
    }
    all.sort_by_key(|reached| reached.number);
    Ok(all)
}
