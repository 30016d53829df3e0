//! State as plain data: what a training or a hook remembers, apart from how it is written.

use std::collections::BTreeSet;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::error::EngineError;
use crate::params::NamedTensor;

/// State as plain data: named tensors, and values by name.
///
/// ```
/// use archai_engine::checkpoint::Snapshot;
/// let mut snapshot = Snapshot::default();
/// snapshot.set("epoch", &3)?;
/// let mut outer = Snapshot::default();
/// outer.put("training", snapshot);
/// assert_eq!(outer.part("training").get::<usize>("epoch")?, 3);
/// # Ok::<(), archai_engine::EngineError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub(super) values: Map<String, Value>,
    pub(super) tensors: Vec<NamedTensor>,
}

impl Snapshot {
    /// Keeps a value under a name.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), EngineError> {
        let value = serde_json::to_value(value).map_err(|e| {
            EngineError::Internal(format!("the state `{name}` cannot be kept: {e}"))
        })?;
        self.values.insert(name.to_string(), value);
        Ok(())
    }

    /// The value of a name.
    ///
    /// # Errors
    /// There is none, or it is of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, EngineError> {
        let value = self
            .values
            .get(name)
            .ok_or_else(|| EngineError::Checkpoint(format!("the checkpoint has no `{name}`")))?;
        T::deserialize(value).map_err(|e| {
            EngineError::Checkpoint(format!(
                "`{name}` in the checkpoint is not what was expected: {e}"
            ))
        })
    }

    /// Keeps tensors below a name.
    pub fn put_tensors(&mut self, name: &str, tensors: Vec<NamedTensor>) {
        self.tensors
            .extend(tensors.into_iter().map(|t| NamedTensor {
                name: format!("{name}/{}", t.name),
                ..t
            }));
    }

    /// The tensors below a name, in the order in which they were kept.
    pub fn tensors(&self, name: &str) -> Vec<NamedTensor> {
        let below = |t: &NamedTensor| {
            let name = t.name.strip_prefix(name)?.strip_prefix('/')?.to_string();
            Some(NamedTensor { name, ..t.clone() })
        };
        self.tensors.iter().filter_map(below).collect()
    }

    /// Keeps a whole snapshot below a name.
    pub fn put(&mut self, name: &str, part: Snapshot) {
        let values = part.values.into_iter();
        self.values
            .extend(values.map(|(key, value)| (format!("{name}/{key}"), value)));
        self.put_tensors(name, part.tensors);
    }

    /// The snapshot below a name; empty if nothing was kept there.
    pub fn part(&self, name: &str) -> Snapshot {
        let below = |(key, value): (&String, &Value)| {
            let key = key.strip_prefix(name)?.strip_prefix('/')?;
            Some((key.to_string(), value.clone()))
        };
        Snapshot {
            values: self.values.iter().filter_map(below).collect(),
            tensors: self.tensors(name),
        }
    }

    /// The names under which something was kept, each once: of what was kept below a name, that name.
    pub fn names(&self) -> BTreeSet<&str> {
        let tensors = self.tensors.iter().map(|t| &t.name);
        let names = self.values.keys().chain(tensors);
        names
            .map(|name| name.split_once('/').map_or(name.as_str(), |(top, _)| top))
            .collect()
    }

    /// Removes what was kept under a name or below it.
    pub fn remove(&mut self, name: &str) {
        let is_other = |key: &str| {
            key.strip_prefix(name)
                .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
        };
        self.values.retain(|key, _| is_other(key));
        self.tensors.retain(|t| is_other(&t.name));
    }

    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.tensors.is_empty()
    }
}
