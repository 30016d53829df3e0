//! The environment: read here, at the program's edge, and passed on as values.

use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use archai_data::Cache;
use archai_engine::run::Clock;
use archai_lab::{Host, ProcessState, Processes, Resources};
use jiff::tz::TimeZone;

/// What the program takes from its surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// All variables, for `$NAME` in paths.
    pub vars: BTreeMap<String, String>,
    /// Standard error shows colours.
    pub colors: bool,
    /// Standard error is a terminal that may be drawn on: it can be, and neither `NO_COLOR` nor `CI` is set.
    pub draws: bool,
    /// Standard output and standard error go to the same place.
    pub one_screen: bool,
    /// The command line, for the log.
    pub command_line: Vec<String>,
    /// Name that the program was called by.
    pub program: String,
    /// The folder in which the command was given.
    pub folder: PathBuf,
}

impl Env {
    /// Reads variables, arguments and what standard error is connected to.
    pub fn read() -> Self {
        let command_line = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
        Env::of(command_line.collect())
    }

    /// The same with another command line than the process's, whose first part is the program's name.
    pub fn of(command_line: Vec<String>) -> Self {
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let set = |name: &str| vars.get(name).is_some_and(|v| !v.is_empty());
        let terminal = std::io::stderr().is_terminal();
        let dumb = vars.get("TERM").is_none_or(|term| term == "dumb");
        // Some set it to say that they are none.
        let is_ci = set("CI") && !["false", "0"].contains(&vars["CI"].as_str());
        let program = command_line
            .first()
            .and_then(|path| {
                PathBuf::from(path)
                    .file_stem()
                    .map(|name| name.to_string_lossy().into_owned())
            })
            .unwrap_or_else(|| "archai".to_string());
        Env {
            colors: terminal && !dumb && !set("NO_COLOR"),
            draws: terminal && !dumb && !set("NO_COLOR") && !is_ci,
            one_screen: is_one_screen(),
            vars,
            command_line,
            program,
            // In a folder that was removed meanwhile relative paths lead nowhere, which those who follow them report.
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// The time, in the system's zone.
    pub fn now(&self) -> jiff::Zoned {
        jiff::Zoned::now()
    }

    /// The surroundings of a lab in this process.
    pub fn host(&self) -> Host {
        Host {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line: self.command_line.clone(),
            folder: self.folder.clone(),
            vars: self.path_vars(),
            cache: self.cache(),
            process: std::process::id(),
            name: gethostname::gethostname().to_string_lossy().into_owned(),
            clock: Arc::new(WallClock),
            zone: TimeZone::system(),
            processes: Arc::new(SystemProcesses),
            resources: Arc::new(Machine),
        }
    }

    /// The user's folder for what may be computed again, as the system has it: `$XDG_CACHE_HOME`, `~/.cache` or, on Windows,
    /// `%LOCALAPPDATA%`.
    fn cache(&self) -> Cache {
        let folder = |name: &str, below: &str| {
            let value = self
                .vars
                .get(name)
                .filter(|value| Path::new(value).is_absolute());
            value.map(|value| Path::new(value).join(below).join("archai/data"))
        };
        let found = folder("XDG_CACHE_HOME", "")
            .or_else(|| folder("LOCALAPPDATA", ""))
            .or_else(|| folder("HOME", ".cache"));
        found.map_or_else(Cache::none, Cache::at)
    }

    /// The variables that path settings may use: the environment, and the folders of logs, data and the experiment.
    ///
    /// `$dataroot` is `$default_dataroot` where that is set, `~/dataroot` elsewhere.
    pub fn path_vars(&self) -> BTreeMap<String, String> {
        let mut vars = self.vars.clone();
        if !vars.contains_key("HOME")
            && let Some(home) =
                std::env::home_dir().and_then(|home| home.into_os_string().into_string().ok())
        {
            vars.insert("HOME".into(), home);
        }
        if !vars.contains_key("default_dataroot")
            && let Some(home) = vars.get("HOME").cloned()
        {
            vars.insert("default_dataroot".into(), format!("{home}/dataroot"));
        }
        if let Some(root) = vars.get("default_dataroot").cloned() {
            vars.insert("dataroot".into(), root);
        }
        vars
    }
}

/// Whether standard output and standard error are one file, pipe or terminal.
#[cfg(unix)]
fn is_one_screen() -> bool {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::fs::MetadataExt;
    let identity = |fd: BorrowedFd<'_>| {
        let file = std::fs::File::from(fd.try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    let out = identity(std::io::stdout().as_fd());
    out.is_some() && out == identity(std::io::stderr().as_fd())
}

/// Whether standard output and standard error are one file, pipe or terminal: unknown here.
#[cfg(not(unix))]
fn is_one_screen() -> bool {
    std::io::stdout().is_terminal() && std::io::stderr().is_terminal()
}

/// The processes of the system, where it lists them in files (Linux).
struct SystemProcesses;

impl Processes for SystemProcesses {
    fn look(&self, process: u32) -> ProcessState {
        if !Path::new("/proc/self/stat").exists() {
            return ProcessState::Unknown;
        }
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}"));
        match (read("stat"), read("status")) {
            (Ok(stat), Ok(status)) => process_state(&stat, &status),
            (Err(e), _) | (_, Err(e)) if e.kind() == ErrorKind::PermissionDenied => {
                ProcessState::Unknown
            }
            // It is not there, or ended between two looks.
            _ => ProcessState::Ended,
        }
    }

    fn has_open(&self, process: u32, file: &Path) -> Option<bool> {
        let file = file.canonicalize().ok()?;
        // Of processes of other users the system does not say.
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        let mut open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        Some(open.any(|own| own == file))
    }
}

/// What the files `stat` and `status` of a process say (proc_pid_stat(5), proc_pid_status(5)). One whose killing is under way
/// counts as ended, though it may hold its files for a moment.
fn process_state(stat: &str, status: &str) -> ProcessState {
    /// The flag of a process that the kernel takes down.
    const EXITING: u64 = 0x4;
    /// SIGKILL in a set of signals.
    const KILL: u64 = 1 << 8;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let number = |field: usize| fields.get(field).and_then(|text| text.parse::<u64>().ok());
    let (Some(state), Some(flags), Some(since)) = (fields.first(), number(6), number(19)) else {
        return ProcessState::Unknown;
    };
    let is_killed = status.lines().any(|line| {
        let signals = ["SigPnd:", "ShdPnd:"]
            .iter()
            .find_map(|name| line.strip_prefix(name));
        let signals = signals.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        signals.is_some_and(|set| set & KILL != 0)
    });
    match ["Z", "X", "x"].contains(state) || flags & EXITING != 0 || is_killed {
        true => ProcessState::Ended,
        false => ProcessState::Works { since },
    }
}

/// The system's clock, in seconds since the Unix epoch.
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    }
}

/// The machine on which the process works, as Linux and other Unixes describe it.
struct Machine;

impl Resources for Machine {
    #[cfg(unix)]
    fn free_disk(&self, folder: &Path) -> Option<u64> {
        // A log folder is made by its first run.
        let there = folder.ancestors().find(|folder| folder.is_dir());
        let there = match there {
            Some(there) if there != Path::new("") => there,
            _ => Path::new("."),
        };
        let volume = rustix::fs::statvfs(there).ok()?;
        if volume.f_blocks == 0 {
            // No disk, as in /proc: how much it takes is not known.
            return None;
        }
        volume.f_bavail.checked_mul(volume.f_frsize)
    }

    #[cfg(not(unix))]
    fn free_disk(&self, _: &Path) -> Option<u64> {
        None
    }

    fn available_memory(&self) -> Option<u64> {
        kibibytes("/proc/meminfo", "MemAvailable:")
    }

    fn resident(&self) -> Option<u64> {
        kibibytes("/proc/self/status", "VmRSS:")
    }

    fn peak_memory(&self) -> Option<u64> {
        kibibytes("/proc/self/status", "VmHWM:")
    }
}

/// A figure of one of Linux's files, which say `NAME: 123 kB`, in bytes.
fn kibibytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let n: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    n.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_killed_works_no_more() {
        let stat = |state: &str, flags: u64| {
            format!("7 (a) b (c) {state} 1 7 7 0 -1 {flags} 0 0 0 0 1 1 0 0 20 0 3 0 4711 9 9 9\n")
        };
        let status = |pending: &str| format!("Name:\tx\nSigPnd:\t{pending}\nShdPnd:\t0\n");
        let works = ProcessState::Works { since: 4711 };
        for (stat, status, expect) in [
            (stat("R", 0x40_0000), status("0000000000000000"), works),
            (stat("S", 0x40_0000), status("0000000000000002"), works),
            (
                stat("Z", 0x40_0000),
                status("0000000000000000"),
                ProcessState::Ended,
            ),
            (
                stat("R", 0x40_0004),
                status("0000000000000000"),
                ProcessState::Ended,
            ),
            (
                stat("D", 0x40_0000),
                status("0000000000000100"),
                ProcessState::Ended,
            ),
            ("nonsense".to_string(), String::new(), ProcessState::Unknown),
        ] {
            assert_eq!(process_state(&stat, &status), expect, "{stat}{status}");
        }
        if cfg!(target_os = "linux") {
            let own = SystemProcesses.look(std::process::id());
            assert!(matches!(own, ProcessState::Works { .. }), "{own:?}");
            // Numbers end far below (proc_sys_kernel(5), pid_max).
            assert_eq!(SystemProcesses.look(u32::MAX), ProcessState::Ended);
        }
    }
}
