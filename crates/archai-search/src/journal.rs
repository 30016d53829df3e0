//! The record of a search: one event a line, each with a checksum, written and flushed before it is acted on.
//!
//! The journal is the whole state of a search. What an optimiser knows, which network waits at which rung, what was tried how
//! often: all of it follows from the events, so resuming is reading, and nothing has to be kept in step with anything. A line
//! is written in one piece and never changed. Its checksum covers the line before it as well, so that a line that was lost,
//! moved or edited is noticed. What a power cut leaves of the last line is cut off; damage anywhere else is an error.
//!
//! A database was not made the truth for these reasons: appended text survives every crash at the price of one flush, can be
//! read with any tool while the search goes on, and has no locks that others could hold. Tables are an export
//! ([`search_state`](crate::export::search_state)). Whoever wants a shared database implements [`Store`].

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::evaluator::{FailureKind, Verdict};
use crate::quantity::Values;
use crate::settings::Settings;
use crate::space::Member;

/// A network, by a hash of what it computes and of the settings that its member chooses, in hexadecimal.
pub type Network = String;

/// What happened in a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The search was set up. Always the first event, never another.
    Study {
        /// The version of the journal.
        version: u32,
        /// The name of the space.
        space: String,
        /// What tells the space from all others.
        fingerprint: String,
        /// Everything that proposals depend on.
        settings: Settings,
    },
    /// A program began to work on it.
    Session {
        /// How many networks may be tried in all; none = as many as there are.
        budget: Option<usize>,
    },
    /// A job was made up: a network to be tried, or one to be trained on.
    Proposed {
        /// The number of the job.
        job: usize,
        /// The number of the network.
        trial: usize,
        /// The network, unless it was proposed before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<Proposed>,
        /// The epochs from which and to which it is trained.
        epochs: (u32, u32),
        /// Why this one, in the optimiser's words.
        origin: String,
        /// How many events the proposal looked at.
        seen: usize,
    },
    /// There was nothing to do for a job until more is known.
    Skipped {
        /// The number of the job.
        job: usize,
        /// How many events were looked at.
        seen: usize,
    },
    /// Somebody works on it.
    Started {
        /// The number of the job.
        job: usize,
        /// How often it was tried before.
        attempt: u32,
    },
    /// Values before the end.
    Reported {
        /// The number of the job.
        job: usize,
        /// After how many epochs.
        epochs: u32,
        /// The values.
        values: Values,
        /// What was answered.
        verdict: Verdict,
        /// How many events the verdict looked at.
        seen: usize,
    },
    /// It came to its end.
    Finished {
        /// The number of the job.
        job: usize,
        /// After how many epochs.
        epochs: u32,
        /// The values.
        values: Values,
        /// How long it took, by the clock of the search.
        seconds: f64,
        /// What becomes of it.
        verdict: Verdict,
    },
    /// What was found out before a training says that none is worth while.
    Infeasible {
        /// The number of the job.
        job: usize,
        /// The values so far.
        values: Values,
        /// The limit that they are beyond.
        limit: String,
        /// How long it took.
        seconds: f64,
    },
    /// It has no values.
    Failed {
        /// The number of the job.
        job: usize,
        /// How often it was tried before.
        attempt: u32,
        /// Whose fault it is.
        kind: FailureKind,
        /// What happened.
        message: String,
        /// Whether it is tried once more.
        again: bool,
        /// How long it took.
        seconds: f64,
    },
    /// Somebody knows the values of a network already.
    Added {
        /// The number of the network.
        trial: usize,
        /// The network.
        network: Proposed,
        /// After how many epochs.
        epochs: u32,
        /// The values.
        values: Values,
        /// Where they come from.
        source: String,
    },
    /// Somebody wants a network to be tried before others.
    Enqueued {
        /// The network.
        network: Proposed,
        /// Who wants it, or why.
        source: String,
    },
}

/// A network as it was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposed {
    /// Its choices.
    pub member: Member,
    /// Its readable id.
    pub id: String,
    /// What it computes.
    pub hash: Network,
    /// What follows from its description.
    pub statics: Values,
}

/// Where events are kept.
pub trait Store: Send {
    /// All events so far. Called once, first.
    ///
    /// # Errors
    /// They cannot be read, or are damaged.
    fn load(&mut self) -> Result<Vec<Event>, JournalError>;

    /// Adds an event at the end. When this returns, no crash and no power cut loses it.
    ///
    /// # Errors
    /// It may not have been kept. Nothing may be added after that.
    fn append(&mut self, event: &Event) -> Result<(), JournalError>;
}

/// Something is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system says no.
    #[error("cannot {action} the journal `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another process writes.
    #[error(
        "another process works on the search of `{}`; wait until it ends, or stop it", path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what was written.
    #[error(
        "line {line} of the journal `{}` is damaged: {problem}; restore the file from a copy, or move it away and begin anew (the \
         lines before it are intact)", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// The file system is shared between machines.
    #[error(
        "the journal `{}` would lie on a network file system ({name}), where locks and flushes do not keep two machines from \
         writing at once; choose a folder on a disk of this machine and copy the results afterwards", path.display()
    )]
    Network {
        /// The file.
        path: PathBuf,
        /// The kind of file system.
        name: &'static str,
    },
    /// An event cannot be written as text.
    #[error("an event cannot be written: {0}")]
    Encode(#[from] serde_json::Error),
    /// Another store than a file says no.
    #[error("{0}")]
    Other(String),
}

/// Events in memory, for searches of seconds and for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// The events.
    pub events: Vec<Event>,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<Event>, JournalError> {
        Ok(self.events.clone())
    }

    fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        self.events.push(event.clone());
        Ok(())
    }
}

/// Events in a file.
///
/// A line is the checksum, 16 hexadecimal digits of BLAKE3 over the checksum before and the text, then a space and the event as
/// JSON.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    file: File,
    chain: String,
    broken: bool,
}

impl FileStore {
    /// Opens a journal for writing, or makes an empty one. Only one process at a time has it.
    ///
    /// # Errors
    /// Another process has it, the file system is one of several machines, or says no.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |action| {
            move |source| JournalError::Io {
                action,
                path: path.to_path_buf(),
                source,
            }
        };
        let is_new = !path.exists();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed("open"))?;
        if let Some(name) = network_file_system(&file) {
            if is_new {
                std::fs::remove_file(path).map_err(failed("remove"))?;
            }
            let path = path.to_path_buf();
            return Err(JournalError::Network { path, name });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_path_buf();
                return Err(JournalError::Busy { path });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        if is_new {
            // The name is to survive a power cut as well as the lines.
            sync_folder(path).map_err(failed("flush the folder of"))?;
        }
        Ok(FileStore {
            path: path.to_path_buf(),
            file,
            chain: String::new(),
            broken: false,
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> JournalError + use<> {
        let path = self.path.clone();
        move |source| JournalError::Io {
            action,
            path,
            source,
        }
    }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// The kind of a file system that several machines share.
#[cfg(target_os = "linux")]
fn network_file_system(file: &File) -> Option<&'static str> {
    // The numbers are the kernel's, from statfs(2).
    const SHARED: [(u64, &str); 9] = [
        (0x6969, "NFS"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB"),
        (0x517B, "SMB"),
        (0x00C3_6400, "Ceph"),
        (0x0BD0_0BD0, "Lustre"),
        (0x5346_414F, "AFS"),
        (0x7461_636F, "OCFS2"),
        (0x0116_1970, "GFS2"),
    ];
    let kind = rustix::fs::fstatfs(file).ok()?.f_type as u64 & 0xFFFF_FFFF;
    let shared = SHARED.iter().find(|(number, _)| *number == kind);
    shared.map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_file: &File) -> Option<&'static str> {
    None
}

/// The checksum of a line after the line with another checksum.
fn checksum(before: &str, text: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes()).update(text.as_bytes());
    hasher.finalize().to_hex()[..16].to_string()
}

/// What a journal's bytes hold.
struct Parsed {
    events: Vec<Event>,
    /// The checksum of the last whole line.
    chain: String,
    /// How many bytes the whole lines have.
    length: usize,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, JournalError> {
    let mut parsed = Parsed {
        events: Vec::new(),
        chain: String::new(),
        length: 0,
    };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let damaged = |problem: String| JournalError::Damaged {
            path: path.to_path_buf(),
            line: parsed.events.len() + 1,
            problem,
        };
        let Some((b'\n', text)) = line.split_last() else {
            // What was being written when everything ended: nobody has acted on it.
            break;
        };
        let text = std::str::from_utf8(text).map_err(|e| damaged(e.to_string()))?;
        let Some((sum, json)) = text.split_at_checked(16) else {
            return Err(damaged("it is too short".into()));
        };
        let json = json
            .strip_prefix(' ')
            .ok_or_else(|| damaged("it does not begin with a checksum".into()))?;
        if sum != checksum(&parsed.chain, json) {
            return Err(damaged(
                "its checksum is another, so it, or the line before it, was changed or lost".into(),
            ));
        }
        let event = serde_json::from_str(json).map_err(|e| damaged(e.to_string()))?;
        parsed.events.push(event);
        parsed.chain = sum.to_string();
        parsed.length += line.len();
    }
    Ok(parsed)
}

/// The events of a journal that somebody else may be writing to. Nothing is changed.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn read(path: &Path) -> Result<Vec<Event>, JournalError> {
    let bytes = std::fs::read(path).map_err(|source| JournalError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    Ok(parse(path, &bytes)?.events)
}

impl Store for FileStore {
    fn load(&mut self) -> Result<Vec<Event>, JournalError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(self.failed("read"))?;
        self.file
            .read_to_end(&mut bytes)
            .map_err(self.failed("read"))?;
        let parsed = parse(&self.path, &bytes)?;
        if parsed.length < bytes.len() {
            self.file
                .set_len(parsed.length as u64)
                .map_err(self.failed("cut"))?;
            self.file.sync_all().map_err(self.failed("flush"))?;
        }
        self.chain = parsed.chain;
        Ok(parsed.events)
    }

    fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        if self.broken {
            let source = io::Error::other("an earlier line could not be written");
            return Err(self.failed("write")(source));
        }
        let json = serde_json::to_string(event)?;
        let sum = checksum(&self.chain, &json);
        let line = format!("{sum} {json}\n");
        // A line that failed may be there in part, so nothing may follow it.
        self.broken = true;
        self.file
            .write_all(line.as_bytes())
            .map_err(self.failed("write"))?;
        self.file.sync_data().map_err(self.failed("flush"))?;
        self.broken = false;
        self.chain = sum;
        Ok(())
    }
}
