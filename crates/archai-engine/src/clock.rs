//! The time, as a value that a run gets from outside.

/// The time. Only what is shown and logged depends on it, never a number of the training.
pub trait Clock: Send + Sync {
    /// Seconds since some fixed moment (the binary takes the Unix epoch).
    fn now(&self) -> f64;
}

/// A clock that stands still: for tests, whose logs then repeat to the byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> f64 {
        0.0
    }
}
