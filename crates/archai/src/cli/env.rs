//! The environment: read here, at the program's edge, and passed on as values.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use archai_engine::run::Clock;
use archai_lab::Host;
use jiff::tz::TimeZone;

/// What the program takes from its surroundings.
#[derive(Clone, Debug)]
pub struct Env {
    /// All variables, for `$NAME` in paths.
    pub vars: BTreeMap<String, String>,
    /// Standard error shows colours.
    pub colors: bool,
    /// Standard error is a terminal that can be drawn on.
    pub draws: bool,
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
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let set = |name: &str| vars.get(name).is_some_and(|v| !v.is_empty());
        let terminal = std::io::stderr().is_terminal();
        let dumb = vars.get("TERM").is_none_or(|term| term == "dumb");
        let command_line: Vec<String> = std::env::args_os()
            .map(|a| a.to_string_lossy().into_owned())
            .collect();
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
            draws: terminal && !dumb,
            vars,
            command_line,
            program,
            // In a folder that was removed meanwhile relative paths lead nowhere, which those who follow them report.
            folder: std::env::current_dir().unwrap_or_default(),
        }
    }

    /// The surroundings of a lab in this process.
    pub fn host(&self) -> Host {
        Host {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command_line: self.command_line.clone(),
            folder: self.folder.clone(),
            vars: self.path_vars(),
            process: std::process::id(),
            name: gethostname::gethostname().to_string_lossy().into_owned(),
            clock: Arc::new(WallClock),
            zone: TimeZone::system(),
        }
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

/// The system's clock, in seconds since the Unix epoch.
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> f64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64())
    }
}
