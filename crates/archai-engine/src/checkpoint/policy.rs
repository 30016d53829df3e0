//! How often the state of a training is kept.

/// How often the state of a training is kept, apart from the end of each epoch and an interruption.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// After so many steps; 0 not by steps.
    pub every_steps: usize,
    /// After so many seconds of the clock; 0 not by time.
    pub every_seconds: f64,
    /// How many to keep of a training under way; older ones serve when the last is damaged.
    pub keep: usize,
}

impl Default for Policy {
    /// Once a minute; the last two are kept.
    fn default() -> Self {
        Policy {
            every_steps: 0,
            every_seconds: 60.0,
            keep: 2,
        }
    }
}
