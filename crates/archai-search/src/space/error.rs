//! What is wrong with a space, a member or an id.

/// Says what happened, what was expected and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SpaceError {
    /// The message.
    pub message: String,
}

impl SpaceError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        SpaceError {
            message: message.into(),
        }
    }
}
