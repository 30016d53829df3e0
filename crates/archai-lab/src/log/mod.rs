//! The log of a run: `log.log` for people and `log.jsonl` for programs, line by line as it happens, and `log.yaml`, the
//! same values as one tree, at the end. The run writes them; [`LogEntry`] and [`Follower`] read `log.jsonl` back.

mod line;
mod read;
mod write;

use std::path::PathBuf;

pub use line::line;
pub use read::{Follower, LogEntry, News, read_entries};
pub(crate) use write::{Audience, LogOptions, RunLog};

/// The log files of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// For people, line by line.
    pub human: PathBuf,
    /// For programs, line by line.
    pub machine: PathBuf,
    /// The same values as one tree, written at the end.
    pub tree: PathBuf,
}
