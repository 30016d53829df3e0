//! Why a request could not be fulfilled.

use std::path::PathBuf;

use archai_data::DataError;
use archai_engine::EngineError;
use archai_engine::files::FileError;
use archai_spec::config::ConfigErrors;
use archai_spec::desc::DescErrors;

use crate::message::Message;
use crate::phase::Phase;

/// Why a request could not be fulfilled. Messages say what happened, what was expected and how to mend it; what they name of
/// the request can be named otherwise ([`Message::with`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The request, or a configuration, cannot be used: the caller has to change it.
    #[error("{0}")]
    Request(Message),
    /// Something went wrong.
    #[error("{0}")]
    Failure(Message),
    /// Something went wrong, for the reasons that [`std::error::Error::source`] gives.
    #[error(transparent)]
    Caused(Box<dyn std::error::Error + Send + Sync>),
    /// An observer asked for a stop before a phase began.
    #[error("stopped before the {phase} of {title} began")]
    StoppedBefore {
        /// Algorithm and data sets, in words.
        title: String,
        /// The phase.
        phase: Phase,
    },
    /// An observer asked for a stop during a phase, which can be resumed.
    #[error("the {phase} of {title} is not complete; what there is lies in {}", dir.display())]
    Interrupted {
        /// Algorithm and data sets, in words.
        title: String,
        /// The phase.
        phase: Phase,
        /// Its run directory.
        dir: PathBuf,
    },
}

impl LabError {
    /// A request that cannot be used.
    pub(crate) fn request(text: impl Into<Message>) -> Self {
        LabError::Request(text.into())
    }

    /// A failure without further reasons.
    pub(crate) fn failure(text: impl Into<Message>) -> Self {
        LabError::Failure(text.into())
    }

    /// A failure with its reasons.
    pub(crate) fn caused(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        LabError::Caused(Box::new(error))
    }
}

impl From<ConfigErrors> for LabError {
    fn from(errors: ConfigErrors) -> Self {
        match errors.0.len() {
            0 | 1 => LabError::request(errors.to_string()),
            n => LabError::request(format!(
                "{n} problems:\n  {}",
                errors.to_string().replace('\n', "\n  ")
            )),
        }
    }
}

/// Settings that do not fit together are the caller's to mend.
impl From<EngineError> for LabError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Setting { .. } | EngineError::Checkpoint(_) => {
                LabError::request(error.to_string())
            }
            error => LabError::caused(error),
        }
    }
}

/// Data that are not there, damaged, or other than the settings say are the caller's to mend; a disk that fails is not.
impl From<DataError> for LabError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Absent { .. } | DataError::Malformed { .. } | DataError::Setting { .. } => {
                LabError::request(error.to_string())
            }
            error => LabError::caused(error),
        }
    }
}

/// A description in a file that cannot be used.
impl From<DescErrors> for LabError {
    fn from(errors: DescErrors) -> Self {
        LabError::request(errors.to_string())
    }
}

impl From<FileError> for LabError {
    fn from(error: FileError) -> Self {
        LabError::caused(error)
    }
}
