//! Who watches a run: an [`Observer`] sees every event as it happens and may ask for a stop.

use std::path::Path;

use archai_engine::run::StopFlag;
use archai_spec::event::Event;
use jiff::Zoned;

use crate::phase::Phase;
use crate::summary::Outcome;

/// What happens while a request is executed, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LabEvent<'a> {
    /// Without a search, this description is evaluated.
    Evaluating {
        /// The description.
        desc: &'a Path,
    },
    /// An algorithm begins on a data set.
    JobBegins {
        /// Algorithm and data sets, in words: `darts on cifar10`.
        title: &'a str,
    },
    /// A setting that the request gives has no effect in this job.
    NoEffect {
        /// A sentence that names the setting, where it was given, and why.
        text: &'a str,
    },
    /// An earlier run was set aside.
    SetAside {
        /// Where it was.
        from: &'a Path,
        /// Where it is kept.
        to: &'a Path,
    },
    /// An earlier attempt that ended before its first checkpoint was removed: this run takes its place.
    Replaced {
        /// Where it was.
        dir: &'a Path,
    },
    /// A phase was finished before and stays as it is.
    AlreadyComplete {
        /// The phase.
        phase: Phase,
        /// Its run directory.
        dir: &'a Path,
    },
    /// A phase begins, or is resumed where it was interrupted. Its directory says how it was started and has its configuration.
    PhaseBegins {
        /// The phase.
        phase: Phase,
        /// Its run directory.
        dir: &'a Path,
        /// Whether it is resumed.
        resumed: bool,
    },
    /// Something happened in a phase. Except for [`Event::Progress`] it is in the files of the log as well.
    Emitted {
        /// The phase.
        phase: Phase,
        /// What happened.
        event: &'a Event,
        /// When, by the host's clock.
        time: &'a Zoned,
        /// Whether it is for people who watch: not what every run notes for its files, and no less urgent than
        /// `common.log_level`.
        shown: bool,
    },
    /// A phase ended.
    PhaseEnds {
        /// The phase.
        phase: Phase,
        /// Its run directory.
        dir: &'a Path,
        /// How it ended.
        ended: Ended,
    },
    /// An algorithm is done on a data set.
    JobEnds {
        /// What it found.
        outcome: &'a Outcome,
    },
}

/// How a phase ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is complete.
    Complete,
    /// An observer asked for a stop; it can be resumed.
    Stopped,
    /// Something went wrong; the error of the call says what.
    Failed,
}

/// Watches runs: shows them, sends them elsewhere, or stops them.
///
/// ```
/// use archai_engine::run::StopFlag;
/// use archai_lab::{LabEvent, Observer};
/// use archai_spec::event::{Event, Progress};
///
/// /// Stops a run after its third step.
/// #[derive(Default)]
/// struct ThreeSteps(StopFlag);
///
/// impl Observer for ThreeSteps {
///     fn observe(&self, event: &LabEvent<'_>) {
///         if let LabEvent::Emitted { event: Event::Progress(Progress::Step { step: 2, .. }), .. } = event {
///             self.0.raise();
///         }
///     }
///     fn stop_flag(&self) -> StopFlag {
///         self.0.clone()
///     }
/// }
/// ```
pub trait Observer: Send + Sync {
    /// Sees an event. It is called from the thread that computes, which waits for it.
    fn observe(&self, event: &LabEvent<'_>);

    /// The flag that this observer raises, at any time and from any thread, to stop the run: it is asked for once, before
    /// the run begins. By default one that is never raised.
    fn stop_flag(&self) -> StopFlag {
        StopFlag::new()
    }
}

/// Does not watch.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _event: &LabEvent<'_>) {}
}
