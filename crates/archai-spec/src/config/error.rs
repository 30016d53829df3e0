//! What is wrong with a configuration: every problem names its place, what was expected and the nearest valid names.

use super::node::Origin;
use crate::names;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where it was written; none when no file or flag is to blame (a file that cannot be found, say).
    pub origin: Option<Origin>,
    /// Dotted path of the key; empty when the problem is not one of a key.
    pub key: String,
    /// What happened, what was expected, how to mend it.
    pub message: String,
}

impl ConfigError {
    pub(super) fn new(
        origin: Option<Origin>,
        key: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            origin,
            key: key.into(),
            message: message.into(),
        }
    }

    pub(super) fn at(origin: &Origin, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Some(origin.clone()), key, message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All problems that were found at once, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// A section that is copied to many places would repeat its problems at each of them: what was written once is
    /// reported once, under its shortest path.
    pub(crate) fn distinct(errors: Vec<ConfigError>) -> Self {
        let mut kept: Vec<ConfigError> = Vec::new();
        let mut known: HashMap<(Origin, String), usize> = HashMap::new();
        for error in errors {
            let Some(origin) = error.origin.clone() else {
                kept.push(error);
                continue;
            };
            let bare = match error.key.rsplit_once('.') {
                Some((section, _)) => error.message.replace(section, ""),
                None => error.message.clone(),
            };
            match known.entry((origin, bare)) {
                Entry::Vacant(place) => {
                    place.insert(kept.len());
                    kept.push(error);
                }
                Entry::Occupied(same) => {
                    let same = &mut kept[*same.get()];
                    if error.key.len() < same.key.len() {
                        *same = error;
                    }
                }
            }
        }
        Self(kept)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// ``; did you mean `a` or `b`?`` or nothing.
pub(super) fn did_you_mean<S: fmt::Display>(names: &[S]) -> String {
    names::did_you_mean(names).map_or_else(String::new, |question| format!("; {question}"))
}
