//! Experiments as a library: everything between a request ("DARTS on CIFAR-10, seed 3") and the results on disk.
//!
//! [`Lab`] holds what an experiment may be made of: algorithms and ops, the built-in ones and yours. [`Lab::run`] executes a
//! [`Request`] and gives typed results; an [`Observer`] sees every event as it happens and may ask for a stop. What a run
//! leaves behind is read with [`RunDir`]: its records, its log (also while it is written), descriptions, metrics and
//! checkpoints. [`export`] writes its trained network for other programs. [`runs`] lists and removes runs, [`progress`] says how far they are, [`report`] collates many, [`verify`] repeats a finished one, and [`digests`]
//! says whether two runs computed the same.
//!
//! Nothing here reads flags, the environment or a clock, prints, or handles signals: what a run needs of its surroundings
//! comes in as a [`Host`]. Several experiments can run in one process at once, each in threads of its own.
//!
//! ```
//! use archai_lab::{Lab, NoObserver, Request};
//!
//! let logdir = tempfile::tempdir()?;
//! let request = Request {
//!     logdir: Some(logdir.path().display().to_string()),
//!     threads: Some(1),
//!     // So small that it takes a moment.
//!     overrides: [
//!         "nas.search.loader.dataset.max_batches=4",
//!         "nas.search.loader.train_batch=4",
//!         "nas.search.model_desc.n_cells=3",
//!         "nas.search.model_desc.n_reductions=1",
//!         "nas.search.model_desc.cell.n_nodes=1",
//!         "nas.search.model_desc.model_stems.init_node_ch=2",
//!     ]
//!     .map(String::from)
//!     .to_vec(),
//!     eval: false,
//!     ..Request::new("didarts")
//! };
//! let outcomes = Lab::builtin().run(&request, &NoObserver)?;
//! let found = outcomes[0].search.as_ref().ok_or("the search was asked for")?;
//! assert!(found.genotype.is_some() && found.final_desc.exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod claim;
pub mod config;
mod data;
mod device;
pub mod digests;
pub mod dirs;
pub mod discrete;
mod error;
pub mod export;
pub mod forecast;
mod host;
mod initial;
mod inputs;
mod lab;
mod latency;
mod lock;
pub mod log;
mod message;
mod observer;
mod phase;
pub mod pictures;
mod plan;
mod planned;
pub mod progress;
pub mod proxies;
mod record;
pub mod report;
mod request;
pub mod rundir;
pub mod runs;
mod session;
mod started;
pub mod summary;
pub mod table;
mod template;
pub mod timing;
mod unread;
pub mod verify;

pub use data::{Data, DataPart};
pub use error::LabError;
pub use host::{Host, NoProcesses, ProcessState, Processes, Resources, UnknownResources};
pub use lab::Lab;
pub use message::{Message, Term};
pub use observer::{Ended, LabEvent, NoObserver, Observer};
pub use phase::Phase;
pub use plan::{Plan, Progress};
pub use record::{RECORD_VERSION, Record};
pub use request::{Request, RunMode};
pub use rundir::RunDir;
pub use started::{DirState, Started};
pub use summary::Outcome;
