//! What is wrong with a space, a member or an id.

use super::desc::Pos;

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

    /// An error at a place.
    pub(crate) fn at(pos: &Pos, message: impl Into<String>) -> Self {
        SpaceError::new(format!("{pos}{}", message.into()))
    }

    /// All results, or all errors, one a line.
    pub(crate) fn all<T>(
        results: impl IntoIterator<Item = Result<T, SpaceError>>,
    ) -> Result<Vec<T>, SpaceError> {
        let (mut values, mut errors) = (Vec::new(), Vec::<String>::new());
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error.message),
            }
        }
        match errors.is_empty() {
            true => Ok(values),
            false => Err(SpaceError::new(errors.join("\n"))),
        }
    }
}
