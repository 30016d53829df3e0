//! Which run of which MLflow server a run directory is: `tracking.json`. Nothing else is kept, since the server says what it has.

use std::collections::BTreeMap;
use std::io::Write;

use archai_engine::files::{FileError, write_atomically};
use archai_lab::RunDir;
use archai_lab::rundir::TRACKING_FILE;
use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: u32 = 1;

/// What trackers keep of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tracking {
    version: u32,
    /// By the addresses of servers.
    #[serde(default)]
    mlflow: BTreeMap<String, ServerRun>,
}

/// A run of an MLflow server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerRun {
    /// A word of ours that stands with the run on the server: the run is found by it if the server's answer was lost.
    pub token: String,
    /// The experiment's number, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment_id: Option<String>,
    /// The run's number, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// Reads what is kept of a server. A file that is not there, was cut or damaged, or is of another version knows of none: the
/// server is asked instead.
///
/// # Errors
/// A file that is there and cannot be read.
pub fn read(dir: &RunDir, url: &str) -> Result<Option<ServerRun>, FileError> {
    Ok(read_all(dir)?.mlflow.remove(url))
}

/// Keeps which run it is.
///
/// # Errors
/// A file that cannot be read or written.
pub fn write(dir: &RunDir, url: &str, run: &ServerRun) -> Result<(), FileError> {
    let mut all = read_all(dir)?;
    if all.mlflow.get(url) == Some(run) {
        return Ok(());
    }
    all.mlflow.insert(url.to_string(), run.clone());
    write_atomically(&dir.file(TRACKING_FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        out.write_all(b"\n")
    })
}

fn read_all(dir: &RunDir) -> Result<Tracking, FileError> {
    let none = || Tracking {
        version: VERSION,
        mlflow: BTreeMap::new(),
    };
    let path = dir.file(TRACKING_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let read: Option<Tracking> = serde_json::from_slice(&bytes).ok();
            Ok(read
                .filter(|all| all.version == VERSION)
                .unwrap_or_else(none))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(none()),
        Err(e) => Err(FileError::new("read", &path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_knows_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::new(folder.path());
        assert_eq!(read(&dir, "u").unwrap(), None);
        let run = ServerRun {
            token: "t".into(),
            experiment_id: Some("1".into()),
            run_id: Some("r".into()),
        };
        write(&dir, "u", &run).unwrap();
        let other = ServerRun::default();
        write(&dir, "v", &other).unwrap();
        assert_eq!(read(&dir, "u").unwrap(), Some(run.clone()));
        assert_eq!(read(&dir, "v").unwrap(), Some(other));
        let path = dir.file(TRACKING_FILE);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() - 2 {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&dir, "u").unwrap(), None, "{length}");
        }
        write(&dir, "u", &run).unwrap();
        assert_eq!(read(&dir, "u").unwrap(), Some(run));
    }
}
