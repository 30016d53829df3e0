//! What can go wrong while models are built, trained and saved.

use std::path::PathBuf;

use archai_data::DataError;
use archai_spec::desc::{DescError, DescErrorKind, DescErrors};

use crate::files::FileError;

/// An error of this crate. Messages say what happened, what was expected and how to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A model description cannot be compiled.
    #[error("the model description cannot be compiled: {0}")]
    Desc(#[from] DescErrors),
    /// Data could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A batch does not fit the model.
    #[error("{0}")]
    Batch(String),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A loss or a gradient is infinite or not a number.
    #[error(
        "{what} is not finite in {phase}, epoch {epoch}, step {step}: training cannot go on; a smaller learning rate or \
         a tighter grad_clip helps most often"
    )]
    NonFinite {
        /// What: `loss`, `gradient`, `weights`.
        what: String,
        /// Place of the training in the log: `arch_search/arch_train`, `random/3/post_train`.
        phase: String,
        /// Epoch, from 0.
        epoch: usize,
        /// Step within the epoch, from 0.
        step: usize,
    },
    /// The user asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// Settings do not fit together.
    #[error("{0}")]
    Config(String),
    /// Tensors do not have the names or shapes that the model needs.
    #[error("{0}")]
    Shape(String),
    /// An op of this name is registered already.
    #[error("an op named `{0}` is registered already; choose another name")]
    DuplicateOp(String),
}

impl From<DescError> for EngineError {
    fn from(error: DescError) -> Self {
        EngineError::Desc(error.into())
    }
}

impl EngineError {
    /// A description whose parts contradict each other.
    pub(crate) fn structure(message: impl Into<String>) -> Self {
        DescError::new(DescErrorKind::Structure, message).into()
    }
    /// An [`EngineError::Io`] at a path.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        EngineError::Io {
            path: path.into(),
            source,
        }
    }
}
