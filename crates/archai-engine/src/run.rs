//! What a run gets from outside: where its events go, what time it is, whether it shall stop, and the seed of all its
//! draws. Nothing of this is global; a library function that needs one of them takes a [`Run`].

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use archai_data::rng::Key;
use archai_export::Provenance;
use archai_spec::event::{Event, EventSink, Level, LogPath, Progress};

pub use crate::clock::{Clock, NoClock};

use crate::checkpoint::{Checkpoints, NoCheckpoints};
use crate::error::EngineError;
use crate::files::{Disk, RealDisk, Writer, write_atomically_on};

/// A request to stop, shared between whoever asks (a signal handler, say) and the training, which checks it after each step.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Not raised.
    pub fn new() -> Self {
        StopFlag::default()
    }
    /// Asks the training to stop after its present step.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// Whether somebody asked.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a run gets from outside.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Where events go.
    pub events: &'a dyn EventSink,
    /// What time it is.
    pub clock: &'a dyn Clock,
    /// Whether to stop.
    pub stop: &'a StopFlag,
    /// Seed of every random draw.
    pub seed: u64,
    /// Where trainings keep their state, see [`crate::checkpoint`].
    pub checkpoints: &'a dyn Checkpoints,
    /// Where files are written and read, apart from the data sets.
    pub disk: &'a dyn Disk,
    /// What the files of a trained network say of the run that trained it, so far as it is known before.
    pub origin: Option<&'a Provenance>,
}

impl<'a> Run<'a> {
    /// A run that keeps no checkpoints, on the operating system's file system.
    pub fn new(
        events: &'a dyn EventSink,
        clock: &'a dyn Clock,
        stop: &'a StopFlag,
        seed: u64,
    ) -> Self {
        Run {
            events,
            clock,
            stop,
            seed,
            checkpoints: &NoCheckpoints,
            disk: &RealDisk,
            origin: None,
        }
    }

    /// The same with checkpoints.
    pub fn with_checkpoints(self, checkpoints: &'a dyn Checkpoints) -> Self {
        Run {
            checkpoints,
            ..self
        }
    }

    /// The same on another file system.
    pub fn with_disk(self, disk: &'a dyn Disk) -> Self {
        Run { disk, ..self }
    }

    /// The same, of which the files of a trained network say this.
    pub fn with_origin(self, origin: &'a Provenance) -> Self {
        Run {
            origin: Some(origin),
            ..self
        }
    }

    /// Writes a file of the run, complete or not at all; see [`write_atomically_on`].
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(
        &self,
        path: &Path,
        write: impl FnOnce(&mut Writer) -> io::Result<()>,
    ) -> Result<(), EngineError> {
        Ok(write_atomically_on(self.disk, path, write)?)
    }

    /// The key of all draws for one purpose.
    pub fn key(&self, purpose: &str) -> Key {
        Key::new(self.seed).with(purpose)
    }

    /// The log at a path.
    pub fn log(&self, path: LogPath) -> Log<'a> {
        Log {
            events: self.events,
            path,
        }
    }

    /// [`EngineError::Stopped`] if somebody asked to stop.
    pub fn check_stop(&self) -> Result<(), EngineError> {
        if self.stop.is_raised() {
            Err(EngineError::Stopped)
        } else {
            Ok(())
        }
    }
}

/// A place of the log. A sink that cannot keep an event ends the run.
#[derive(Clone)]
pub struct Log<'a> {
    events: &'a dyn EventSink,
    path: LogPath,
}

impl<'a> Log<'a> {
    /// The place.
    pub fn path(&self) -> &LogPath {
        &self.path
    }

    /// A place below this one.
    pub fn at(&self, part: impl ToString) -> Log<'a> {
        Log {
            events: self.events,
            path: self.path.join(part),
        }
    }

    /// Logs an event, which [`archai_spec::values!`] makes.
    pub fn emit(&self, event: Event) -> Result<(), EngineError> {
        self.events.emit(event).map_err(EngineError::Log)
    }

    /// Logs named values here; see [`archai_spec::event::json`].
    pub fn values(&self, values: Vec<(String, serde_json::Value)>) -> Result<(), EngineError> {
        self.emit(Event::Values {
            path: self.path.clone(),
            values,
        })
    }

    /// Logs those of the figures here that were measured: one that was not is no value, and not null.
    pub fn measured(&self, figures: &[(&str, Option<f64>)]) -> Result<(), EngineError> {
        let value = |&(name, figure): &(&str, Option<f64>)| {
            Some((name.to_string(), archai_spec::event::json(figure?)))
        };
        let values: Vec<_> = figures.iter().filter_map(value).collect();
        match values.is_empty() {
            true => Ok(()),
            false => self.values(values),
        }
    }

    /// Logs a sentence.
    pub fn info(&self, text: impl Into<String>) -> Result<(), EngineError> {
        self.emit(Event::Message {
            level: Level::Info,
            text: text.into(),
        })
    }

    /// Logs a sentence that the user should read although the run goes on.
    pub fn warn(&self, text: impl Into<String>) -> Result<(), EngineError> {
        self.emit(Event::Message {
            level: Level::Warning,
            text: text.into(),
        })
    }

    /// Reports progress to live views.
    pub fn progress(&self, progress: Progress) -> Result<(), EngineError> {
        self.emit(Event::Progress(progress))
    }
}
