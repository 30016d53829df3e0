//! How long networks take, in figures that can be trusted: several are timed in turns beside a fixed reference network, so
//! that whatever else the machine does meets all of them; medians come with an interval; and a table of single layers, fitted to
//! whole networks, says what it is wrong by.
//!
//! Nothing here has a clock of its own: each function is given one, and on the same clock it gives the same figures.

mod evaluator;
mod fit;
mod layers;
mod measure;
mod network;
mod profile;
mod table;

pub use evaluator::{LATENCY, MeasuredLatency, TableLatency};
pub use fit::{Fit, FitError, Observed, fit};
pub use layers::{Kind, Signature, signatures};
pub use measure::{Effort, Interval, Timed, Timing, in_turns, summary};
pub use network::{NetworkTimer, REFERENCE, reference, runnable};
pub use profile::{ProfileRequest, profile};
pub use table::{LatencyTable, Machine, TableError, TimedLayer};
