//! Runs as they go on, in a browser. [`Watch`] serves the pages of [`archai_report`] from the run directories below a folder and
//! tells open pages what is new: within a second of a line in a log its numbers are on the page.
//!
//! It reads and nothing else: no lock is taken, no file is written. It works for runs of any process, on this machine or through
//! a shared folder, for several at once, and for runs that are killed, resumed or begun anew.
//!
//! It is meant for one person's browser. Whoever has the [token](Settings::token) sees all; nobody else sees anything. Names
//! under which the server is reached and pages that call it are checked, paths are never made of what a request says, and
//! requests, connections and their time are limited. The protocol is spoken in threads, a connection for each request, with the
//! parser of `httparse`: an asynchronous server would be the larger part of the program that uses it.
//!
//! ```no_run
//! use std::net::TcpListener;
//! use std::sync::Arc;
//! use archai_lab::Lab;
//! use archai_watch::{CannotStop, End, Settings, Watch};
//!
//! let settings = Settings::new("logdir", "a secret of at least sixteen letters", Arc::new(CannotStop));
//! let watch = Watch::new(Lab::builtin(), settings)?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! println!("{}", watch.address(listener.local_addr()?, "/"));
//! watch.serve(&listener, &End::new())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod files;
mod gate;
mod http;
mod pages;
mod phase;
mod routes;
mod runs;
mod serve;
mod store;
mod views;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use archai_lab::Lab;
use archai_lab::runs::Worker;

use gate::Gate;
pub use serve::End;
use store::Store;

/// Shortest secret that is taken.
pub const SHORTEST_TOKEN: usize = 16;

/// What is served to whom.
#[derive(Clone)]
pub struct Settings {
    /// A folder with runs at any depth, or a run directory.
    pub root: PathBuf,
    /// The secret without which nothing is shown: letters, digits, `-` and `_`, at least [`SHORTEST_TOKEN`].
    pub token: String,
    /// Asks runs to stop.
    pub stopper: Arc<dyn Stopper>,
    /// Names of this machine under which it may be called, besides `localhost` and numbers: others are refused, so that no page
    /// from elsewhere can give itself out for this one (DNS rebinding).
    pub names: Vec<String>,
    /// What is allowed.
    pub limits: Limits,
}

impl Settings {
    /// With no further names and the usual limits.
    pub fn new(root: impl Into<PathBuf>, token: &str, stopper: Arc<dyn Stopper>) -> Self {
        Settings {
            root: root.into(),
            token: token.to_string(),
            stopper,
            names: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// What the server allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; those beyond are told to come again.
    pub connections: usize,
    /// Pages that are told of news at a time.
    pub streams: usize,
    /// How long is waited for the next part of a request, and for a browser to take the next part of an answer.
    pub patience: Duration,
    /// Between two looks at the files.
    pub look: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 160,
            streams: 64,
            patience: Duration::from_secs(5),
            look: Duration::from_millis(300),
        }
    }
}

/// Asks runs to stop, as an interrupt on their terminal does.
pub trait Stopper: Send + Sync {
    /// Asks this process to stop after its present step. It was seen to work in a run directory a moment ago.
    ///
    /// # Errors
    /// Why it cannot be asked, in a sentence.
    fn stop(&self, worker: &Worker) -> Result<(), String>;
}

/// Cannot ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct CannotStop;

impl Stopper for CannotStop {
    fn stop(&self, _worker: &Worker) -> Result<(), String> {
        Err("this program cannot stop other processes".to_string())
    }
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The folder of the runs.
    #[error("cannot read the folder `{}`: {source}; give the folder that holds runs, or a run directory", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The secret is none.
    #[error(
        "the token must have at least {SHORTEST_TOKEN} letters, digits, `-` or `_`, and nothing else"
    )]
    Token,
}

/// A server of live pages.
pub struct Watch {
    store: Arc<Store>,
    gate: Arc<Gate>,
    limits: Limits,
}

impl Watch {
    /// Of runs in this lab, which also tells the time and knows the machine's processes.
    ///
    /// # Errors
    /// A folder that cannot be read, a token that is none.
    pub fn new(lab: Lab, settings: Settings) -> Result<Self, WatchError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if settings.token.len() < SHORTEST_TOKEN || !settings.token.chars().all(is_plain) {
            return Err(WatchError::Token);
        }
        let root = settings.root.canonicalize().and_then(|root| {
            std::fs::read_dir(&root)?;
            Ok(root)
        });
        let root = root.map_err(|source| WatchError::Folder {
            path: settings.root.clone(),
            source,
        })?;
        Ok(Watch {
            store: Arc::new(Store::new(lab, root, settings.stopper, settings.limits)),
            gate: Arc::new(Gate::new(&settings.token, settings.names)),
            limits: settings.limits,
        })
    }

    /// What a browser is to open when the server listens there: `path` is `/`, or `/now` for the run that goes on.
    pub fn address(&self, at: SocketAddr, path: &str) -> String {
        address(at, path, self.gate.token())
    }

    /// The same, with a secret that can be used once in place of the token: for command lines, which others of the machine see.
    pub fn address_once(&self, at: SocketAddr, path: &str) -> String {
        address(at, path, self.gate.once())
    }

    /// How many runs there are at the moment.
    pub fn count(&self) -> usize {
        self.store.fresh().runs.len()
    }

    /// Whether a page is open somewhere.
    pub fn is_watched(&self) -> bool {
        self.store.is_watched()
    }
}

fn address(at: SocketAddr, path: &str, secret: &str) -> String {
    let host = match at.ip() {
        // Of all addresses the one that is always this machine's.
        IpAddr::V4(ip) if ip.is_unspecified() => "127.0.0.1".to_string(),
        IpAddr::V6(ip) if ip.is_unspecified() => "[::1]".to_string(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{host}:{}{path}?token={secret}", at.port())
}
