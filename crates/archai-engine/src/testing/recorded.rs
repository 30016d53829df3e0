//! The events of a run, kept in memory.

use std::io;
use std::sync::{Mutex, PoisonError};

use archai_spec::event::{Event, EventSink, Progress};
use serde_json::Value;

/// Keeps all events, for tests of what a run logs.
///
/// ```
/// use archai_engine::testing::Recorded;
/// use archai_spec::event::{EventSink, LogPath};
/// use archai_spec::values;
/// let events = Recorded::default();
/// events.emit(values!(LogPath::new("train"), "loss" => 0.5))?;
/// assert_eq!(events.at("train").unwrap()[0].0, "loss");
/// assert!(events.at("test").is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Recorded(Mutex<Vec<Event>>);

impl EventSink for Recorded {
    fn emit(&self, event: Event) -> io::Result<()> {
        // A panic elsewhere leaves the list whole.
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
        Ok(())
    }
}

impl Recorded {
    /// All events so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All values logged at a path, by name and in order, however many events brought them; none if there was no event.
    pub fn at(&self, path: &str) -> Option<Vec<(String, Value)>> {
        let values = |event| match event {
            Event::Values { path: p, values } if p.to_string() == path => Some(values),
            _ => None,
        };
        let all: Vec<_> = self.events().into_iter().filter_map(values).collect();
        (!all.is_empty()).then(|| all.concat())
    }

    /// The architectures that were shown as the best of their moment, in order.
    pub fn genotypes(&self) -> Vec<String> {
        let shown = |event| match event {
            Event::Progress(Progress::Genotype(genotype)) => Some(genotype),
            _ => None,
        };
        self.events().into_iter().filter_map(shown).collect()
    }
}
