//! A member of a space, and what a surrogate sees of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A member of a space: the option that was chosen at each place of the space's choices. What the places mean, only the
/// space knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Member {
    /// Index of the option by place; `None` where the choice does not exist because of another choice.
    pub choices: Vec<Option<u16>>,
}

/// What a surrogate sees of a member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// One number for each option of each choice and one for its absence: 1 where it holds, 0 elsewhere. All members of a
    /// space have as many.
    pub choices: Vec<f32>,
    /// How often each sequence of up to three layers lies on a way through the network. A sequence that is not named does
    /// not occur.
    pub paths: BTreeMap<String, u32>,
}

/// The value of a setting that a member chooses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecipeValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
}
