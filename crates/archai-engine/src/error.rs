//! What can go wrong while models are built, trained and saved.

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
    /// A file could not be read or written, or holds what it should not. The error says which file, what was tried and
    /// what the operating system or the file's format said.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sink of the run's events could not keep one. The log would have a gap, so the run ends.
    #[error("cannot write the run's log: {0}")]
    Log(#[source] std::io::Error),
    /// A loss or a gradient is infinite or not a number.
    #[error(
        "{what} is not finite in {phase}, epoch {}, step {}: training cannot go on; a smaller learning rate or a tighter \
         grad_clip helps most often",
        epoch + 1, step + 1
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
    /// A setting cannot be used, or does not fit the others, the data or the model. The user can mend it.
    #[error("{key}: {problem}")]
    Setting {
        /// The setting: `nas.search.finalizer`, or what is left of it where the section is not known (`lr_schedule`).
        key: String,
        /// What is wrong with it, what was expected, and how to mend it.
        problem: String,
    },
    /// A checkpoint does not fit this program or this training: another version or other settings wrote it.
    #[error("{0}")]
    Checkpoint(String),
    /// A part of the program broke what it promised to another part. No setting mends it: it is a fault of this crate, of an
    /// algorithm or of an op.
    #[error("internal error: {0}")]
    Internal(String),
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

    /// An [`EngineError::Setting`].
    pub fn setting(key: impl Into<String>, problem: impl Into<String>) -> Self {
        EngineError::Setting {
            key: key.into(),
            problem: problem.into(),
        }
    }
}
