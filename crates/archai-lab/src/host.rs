//! What a lab takes from the process and the machine in which it works.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_data::Cache;
use archai_engine::run::{Clock, NoClock};
use archai_spec::config::Vars;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

/// The surroundings of a lab, as values. Nothing in it changes what a run computes.
///
/// The default is a host without a name, whose clock stands still and whose paths have no variables: good for tests, whose
/// logs then repeat to the byte. A program with users gives the real ones; `archai::cli::host()` reads them from the process.
#[derive(Clone)]
pub struct Host {
    /// Version of the program, which `run.json` and the logs name.
    pub version: String,
    /// The whole command line, for the logs.
    pub command_line: Vec<String>,
    /// The folder in which the command was given; relative paths in it mean this folder. `archai resume` goes back there, and
    /// refuses runs of a host whose folder is empty.
    pub folder: PathBuf,
    /// Variables that paths in settings may use: `$HOME`, `$default_dataroot`, …
    pub vars: Vars,
    /// Where what was found by reading data is kept, so that data that have not changed are not read again at each start.
    pub cache: Cache,
    /// Number of the process.
    pub process: u32,
    /// Name of the machine.
    pub name: String,
    /// Tells the time, in seconds since the Unix epoch.
    pub clock: Arc<dyn Clock>,
    /// The time zone of the logs for people.
    pub zone: TimeZone,
    /// Knows the machine's processes.
    pub processes: Arc<dyn Processes>,
    /// Space and memory of the machine, against which a plan is checked.
    pub resources: Arc<dyn Resources>,
}

/// What a host knows of the processes on its machine, so that a run is not kept from its directory by a process that has
/// ended.
pub trait Processes: Send + Sync {
    /// What the process of this number does.
    fn look(&self, process: u32) -> ProcessState;

    /// Whether the process of this number has a file open; `None` where the system does not say.
    fn has_open(&self, _process: u32, _file: &Path) -> Option<bool> {
        None
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It works. When it began, in a count of the system's own, tells it from others that had its number before.
    Works {
        /// When it began.
        since: u64,
    },
    /// It has ended, or is about to: it does no more work.
    Ended,
    /// The system does not say.
    Unknown,
}

/// Knows no process.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProcesses;

impl Processes for NoProcesses {
    fn look(&self, _process: u32) -> ProcessState {
        ProcessState::Unknown
    }
}

/// What a machine has to give, in bytes; `None` where it does not say.
pub trait Resources: Send + Sync {
    /// What is free for files of this user where `folder` lies, which need not be there yet.
    fn free_disk(&self, folder: &Path) -> Option<u64>;

    /// Memory that a process can have without others being pushed out.
    fn available_memory(&self) -> Option<u64> {
        None
    }

    /// Memory that this process takes now.
    fn resident(&self) -> Option<u64> {
        None
    }

    /// The most that it has taken so far.
    fn peak_memory(&self) -> Option<u64> {
        None
    }
}

/// A machine that does not say what it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnknownResources;

impl Resources for UnknownResources {
    fn free_disk(&self, _: &Path) -> Option<u64> {
        None
    }
}

impl Default for Host {
    fn default() -> Self {
        Host {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line: Vec::new(),
            folder: PathBuf::new(),
            vars: Vars::new(),
            cache: Cache::none(),
            process: 0,
            name: String::new(),
            clock: Arc::new(NoClock),
            zone: TimeZone::UTC,
            processes: Arc::new(NoProcesses),
            resources: Arc::new(UnknownResources),
        }
    }
}

impl Host {
    /// The time by the host's clock. A clock beyond the calendar gives the epoch.
    pub(crate) fn now(&self) -> Zoned {
        let since_epoch = SignedDuration::try_from_secs_f64(self.clock.now()).unwrap_or_default();
        let time = Timestamp::from_duration(since_epoch).unwrap_or(Timestamp::UNIX_EPOCH);
        time.to_zoned(self.zone.clone())
    }
}
