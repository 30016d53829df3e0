//! The two phases of an experiment.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A phase of an experiment: each has a run directory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Finds a network.
    #[serde(rename = "search")]
    Search,
    /// Trains what was found from scratch and measures it.
    #[serde(rename = "evaluation")]
    Eval,
}

impl Phase {
    /// Both, in the order in which they run.
    pub const ALL: [Phase; 2] = [Phase::Search, Phase::Eval];

    /// `search` or `evaluation`, as in files and texts.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Search => "search",
            Phase::Eval => "evaluation",
        }
    }

    /// How the names of its run directories end: `_search` or `_eval`.
    pub fn suffix(self) -> &'static str {
        match self {
            Phase::Search => "_search",
            Phase::Eval => "_eval",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
