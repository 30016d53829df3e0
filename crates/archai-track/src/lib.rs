//! Trackers: the figures of a run for other programs, TensorBoard and MLflow, off unless asked for.
//!
//! A run writes its log, and a tracker reads it: [`Tracked`] stands between a lab and whoever watches it, and starts a thread
//! for each tracker that `common.track` asks for. The thread follows `log.jsonl` on the disk, so that the training neither waits
//! for a tracker nor knows of one, and computes the same bits with and without. What a tracker has not got yet is in the log:
//! a server that was down gets it when it is back, and [`track`] gives it to a server, or to TensorBoard, after the run's end.
//!
//! Nothing here keeps a position. The event files of TensorBoard are written anew whenever a tracker begins, from a log of
//! which they are a copy; and an MLflow server is asked which steps it has.
//!
//! ```no_run
//! use std::sync::Arc;
//! use archai_lab::{Lab, NoObserver, Request};
//! use archai_track::Tracked;
//!
//! let lab = Lab::builtin();
//! let request = Request {
//!     track: Some(vec!["tensorboard".into()]),
//!     ..Request::new("darts")
//! };
//! let watcher = Tracked::new(&NoObserver, &lab, Arc::new(|notice| println!("{notice:?}")));
//! let outcomes = lab.run(&request, &watcher)?;
//! watcher.finish();
//! # Ok::<(), archai_lab::LabError>(())
//! ```

mod courier;
mod error;
mod facts;
mod haste;
pub mod mlflow;
mod observer;
pub mod point;
pub mod tensorboard;
mod tracker;

pub use courier::Pace;
pub use error::TrackError;
pub use facts::{Ending, RunFacts};
pub use haste::Haste;
pub use observer::{Notice, Notices, Tracked};
pub use point::{Point, Points, What};
pub use tracker::{Tracker, open, track};
