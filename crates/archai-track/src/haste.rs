//! How whoever waits for trackers is told that there is little time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells [`Tracked::finish`](crate::Tracked::finish) from another thread that the user does not want to wait: what trackers show
/// is then closed as it is, which takes a moment, and what they have not got is left for later. Clones are the same.
///
/// ```
/// let haste = archai_track::Haste::default();
/// assert!(!haste.ask(), "nobody waits");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Haste(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_waiting: AtomicBool,
    is_asked: AtomicBool,
}

impl Haste {
    /// Asks whoever waits to come to an end, and says whether this does anything: whether somebody waits, and was not asked
    /// before.
    pub fn ask(&self) -> bool {
        self.0.is_waiting.load(Ordering::SeqCst) && !self.0.is_asked.swap(true, Ordering::SeqCst)
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::SeqCst)
    }

    /// Whether somebody waits from now on.
    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        self.0.is_waiting.store(is_waiting, Ordering::SeqCst);
    }
}
