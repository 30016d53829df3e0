//! From a checked configuration tree to the typed settings, and the digest of both.

use std::collections::BTreeMap;

use super::Settings;
use crate::config::{ConfigErrors, ConfigTree, Schema};

impl Schema {
    /// The schema of [`Settings`].
    pub fn settings() -> Self {
        Self::of::<Settings>()
    }
}

impl ConfigTree {
    /// The typed settings.
    ///
    /// # Errors
    /// Values that do not go together, see [`Settings::check`].
    pub fn settings(&self) -> Result<Settings, ConfigErrors> {
        let mut value = self.value("").cloned().unwrap_or_default();
        for section in self.schema().sections() {
            let (holder, name) = section.rsplit_once('.').unwrap_or(("", section));
            let parts = holder.split('.').filter(|part| !part.is_empty());
            let pointer: String = parts.map(|part| format!("/{part}")).collect();
            if let Some(map) = value
                .pointer_mut(&pointer)
                .and_then(serde_json::Value::as_object_mut)
            {
                map.shift_remove(name);
            }
        }
        let settings: Settings = self.read("", value)?;
        let problems = settings.check();
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(self.errors_at(problems)),
        }
    }

    /// BLAKE3 digest of what changes results, in hexadecimal: the settings as [`Settings::digest`] has it, and the
    /// sections of algorithms.
    ///
    /// # Errors
    /// As [`ConfigTree::settings`].
    pub fn digest(&self) -> Result<String, ConfigErrors> {
        Ok(self.settings()?.digest(&self.own_sections()))
    }

    /// What the digest is computed from: values by their dotted names.
    ///
    /// # Errors
    /// As [`ConfigTree::settings`].
    pub fn digested(&self) -> Result<BTreeMap<String, serde_json::Value>, ConfigErrors> {
        Ok(self.settings()?.digested(&self.own_sections()))
    }

    /// The sections of algorithms by path.
    fn own_sections(&self) -> Vec<(&str, &serde_json::Value)> {
        let sections = self.schema().sections().iter();
        sections
            .filter_map(|path| Some((path.as_str(), self.value(path)?)))
            .collect()
    }
}
