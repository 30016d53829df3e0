//! What can go wrong while models are built, trained and saved.

use std::path::PathBuf;

/// An error of this crate. Messages say what happened, what was expected and how to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A model description cannot be compiled.
    #[error("the model description cannot be compiled: {0}")]
    Desc(String),
    /// Data could not be delivered.
    #[error("data: {0}")]
    Data(String),
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
        /// Title of the training.
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

impl EngineError {
    /// An [`EngineError::Io`] at a path.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        EngineError::Io {
            path: path.into(),
            source,
        }
    }
}
