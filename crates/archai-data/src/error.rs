//! What can go wrong between a data set's files and a batch.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate. Messages say what happened, where, what was expected and how to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A data set is not where the configuration says.
    #[error(
        "data set '{name}' ({split} data) was not found: looked for {looked_for} in '{}'\n  {ways_out}",
        place.display()
    )]
    Absent {
        /// The data set.
        name: String,
        /// `training` or `test`.
        split: &'static str,
        /// The files or folders that would have served.
        looked_for: String,
        /// The folder where they were looked for.
        place: PathBuf,
        /// What the user can do.
        ways_out: String,
    },
    /// A file holds something else than its format says.
    #[error("'{}': at {at}: expected {expected}, found {found}; {mend}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Byte offset, row or entry.
        at: String,
        /// What should stand there.
        expected: String,
        /// What stands there.
        found: String,
        /// What the user can do.
        mend: String,
    },
    /// The operating system refused.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// What was tried: `read`, `create`, …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A setting does not fit the data or the other settings.
    #[error("{key}: {problem}")]
    Setting {
        /// The key below the data set's or loader's section, as `dataset.mean`.
        key: String,
        /// What is wrong, what was expected, how to mend it.
        problem: String,
    },
    /// A download failed.
    #[error("cannot get '{name}' from '{from}': {problem}\n  {mend}")]
    Download {
        /// The data set.
        name: String,
        /// URL or file.
        from: String,
        /// What happened.
        problem: String,
        /// What the user can do.
        mend: String,
    },
}

/// What to do about a damaged file.
pub(crate) const REPLACE: &str =
    "the file is damaged or of another format: get it again, or correct dataset.format";

impl DataError {
    /// For `map_err`: the operating system refused to `action` (`read`, `open`) a file or folder.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
        let path = path.to_owned();
        move |source| DataError::Io {
            action,
            path,
            source,
        }
    }

    /// A file holds something else than its format says, and is to be replaced.
    pub fn malformed(
        path: &Path,
        at: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> DataError {
        DataError::Malformed {
            path: path.to_owned(),
            at: at.into(),
            expected: expected.into(),
            found: found.into(),
            mend: REPLACE.into(),
        }
    }

    /// A setting does not fit; `key` as `dataset.mean`.
    pub fn setting(key: impl Into<String>, problem: impl Into<String>) -> DataError {
        DataError::Setting {
            key: key.into(),
            problem: problem.into(),
        }
    }
}
