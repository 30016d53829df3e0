//! Discrete search at work: [`Training`] finds out by training what members of a space reach, and [`SearchDir`] is the folder in
//! which a search keeps everything that it needs to go on.
//!
//! The search itself is the crate `archai-search`, which knows no tensors. What is here joins it with the evaluation that
//! `archai train` makes of a description.
//!
//! ```
//! use std::sync::Arc;
//! use archai_lab::discrete::{Training, space_from};
//! use archai_lab::{Lab, Request, RunMode};
//! use archai_search::journal::MemoryStore;
//! use archai_search::{Run, Settings, Setup, Stop, Study, optimisers};
//!
//! let (lab, folder) = (Lab::builtin(), tempfile::tempdir()?);
//! let request = Request {
//!     mode: RunMode::Smoke,
//!     logdir: Some(folder.path().display().to_string()),
//!     ..Request::new("manual")
//! };
//! let space = space_from(&lab, "small.yaml", "
//! space: small
//! version: 1
//! input: {channels: 1, size: [32, 32]}
//! classes: 10
//! network:
//!   - conv_bn: {out: {one_of: [2, 4, 8]}, kernel: {one_of: [3, 5]}, stride: 2, act: relu}
//!   - pool
//!   - linear: {out: $classes}
//! ", None)?;
//! let training = Training::new(&lab, &request, 1)?;
//! training.check_space(&space)?;
//! let mut study = Study::open(Setup {
//!     space: Arc::new(space),
//!     settings: Settings::new(["accuracy", "params"]).limits(["params<=200".parse()?]).rungs([training.epochs()]),
//!     evaluators: vec![Arc::new(training)],
//!     optimisers: &optimisers::all(),
//!     store: Box::new(MemoryStore::default()),
//!     folder: Some(folder.path().to_path_buf()),
//! })?;
//! let (stop, clock) = (Stop::new(), || 0.0);
//! study.run(Run { workers: 1, budget: Some(3), stop: &stop, clock: &clock })?;
//! assert!(study.view().front().iter().all(|(trial, _)| trial.values["params"] <= 200.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dir;
mod training;

pub use dir::{
    BEST_FILE, Evaluation, FRONT_FILE, FittedTo, JOURNAL_FILE, PLOT_FILE, PROGRESS_FILE, Recorded,
    SEARCH_FILE, SPACE_FILE, STATE_FILE, SearchDir, SearchStart, TRIALS, TableColumn, space_from,
};
pub use training::{ACCURACY, LOSS, TRAIN_TIME, Training, surroundings};
