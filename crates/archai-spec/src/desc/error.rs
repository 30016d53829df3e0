//! What can be wrong with a description: one type that says where, what and how to mend it.

use std::fmt;

use crate::names::{did_you_mean, similar};

/// The kind of an error, for callers and tests; people read the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DescErrorKind {
    /// The text is not YAML of the expected form.
    Syntax,
    /// The layout's version is not one that this program reads.
    Version,
    /// No op of this name.
    UnknownOp,
    /// An op of this name exists already.
    DuplicateOp,
    /// A field or parameter of an op has a value that the op cannot have.
    Param,
    /// A reference (input of an edge, stem, concatenated state, owner of architecture parameters) leads nowhere.
    Reference,
    /// Shapes do not fit.
    Shape,
    /// An op is not made of layers.
    NoLayers,
    /// The parts of the description contradict each other.
    Structure,
    /// A template cannot be scaled as asked.
    Template,
    /// A genotype is malformed, or a description cannot be said as one.
    Genotype,
    /// A cell of a tabular benchmark is malformed, or a description cannot be said as one.
    Cell,
}

/// An error of a description. Displays as `place: message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DescError {
    /// Kind.
    pub kind: DescErrorKind,
    /// Where, for example `cell 2, node 1, edge 0` or `net.yaml:3:7`; empty where there is nothing to say.
    pub place: String,
    /// What happened, what was expected, how to mend it.
    pub message: String,
}

impl fmt::Display for DescError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

impl DescError {
    /// An error without a place; whoever knows the place adds it with [`DescError::at`].
    pub fn new(kind: DescErrorKind, message: impl Into<String>) -> Self {
        DescError {
            kind,
            place: String::new(),
            message: message.into(),
        }
    }
    /// The same error at an (outer) place.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = if self.place.is_empty() {
            place.to_string()
        } else {
            format!("{place}, {}", self.place)
        };
        self
    }
}

/// All errors of a description at once, one per line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DescErrors(pub Vec<DescError>);

impl fmt::Display for DescErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl DescErrors {
    /// The same errors, of a file of this name.
    pub(crate) fn in_file(mut self, name: &str) -> Self {
        for error in &mut self.0 {
            error.place = if error.place.is_empty() {
                name.to_string()
            } else {
                format!("{name}: {}", error.place)
            };
        }
        self
    }
}

impl From<DescError> for DescErrors {
    fn from(error: DescError) -> Self {
        DescErrors(vec![error])
    }
}

/// ``did you mean `a` or `b`?``, or the whole list where nothing is near.
pub(crate) fn suggest<'a>(name: &str, names: impl IntoIterator<Item = &'a str> + Clone) -> String {
    did_you_mean(&similar(name, names.clone())).unwrap_or_else(|| {
        format!(
            "known are {}",
            names.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}
