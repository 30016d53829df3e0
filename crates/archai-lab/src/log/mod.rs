//! The log of a run: `log.log` for people and `log.jsonl` for programs, line by line as it happens, and `log.yaml`, the
//! same values as one tree, at the end. The run writes them; [`LogEntry`] and [`Follower`] read `log.jsonl` back.

mod line;
mod read;
mod write;

pub use line::line;
pub use read::{Follower, LogEntry, News, read_entries};
pub(crate) use write::{Audience, LogOptions, RunLog};
