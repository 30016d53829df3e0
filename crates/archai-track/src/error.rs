//! Why a tracker could not be given something.

use archai_engine::files::FileError;
use archai_lab::LabError;

/// Why a tracker could not be given something. Whatever it is, it may be over later: trackers are tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrackError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] LabError),
    /// A server cannot be reached, or does not do what is asked of it: what it did, and how to mend it.
    #[error("{0}")]
    Server(String),
}
