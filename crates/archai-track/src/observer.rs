//! An observer that starts trackers when phases begin, and passes everything on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use archai_engine::run::StopFlag;
use archai_lab::{Lab, LabEvent, Observer, RunDir};
use archai_spec::settings::TrackTarget;

use crate::courier::{Courier, Pace};
use crate::facts::Ending;
use crate::haste::Haste;
use crate::tracker::open;

/// What is to be said of trackers, to people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A tracker shows a run.
    Shown {
        /// The tracker.
        target: TrackTarget,
        /// The folder or the page where it can be looked at.
        place: String,
    },
    /// A tracker cannot be given anything at the moment. It is tried again; nothing is lost, and the run goes on. Said once until
    /// it is back.
    Down {
        /// The tracker.
        target: TrackTarget,
        /// What is wrong, and how to mend it.
        why: String,
    },
    /// A tracker that was down is back and has got what it missed.
    Back {
        /// The tracker.
        target: TrackTarget,
    },
    /// A tracker does not take something of a run, and goes on without it.
    Refused {
        /// The tracker.
        target: TrackTarget,
        /// What it does not take, and why.
        what: String,
    },
    /// A tracker has not got all of a run yet and there was no more time. [`track`](crate::track) gives it the rest at any time.
    Behind {
        /// The tracker.
        target: TrackTarget,
        /// The run directory.
        dir: PathBuf,
    },
}

/// Is told what is to be said of trackers, from any thread.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

/// Passes everything on to another observer, and starts the trackers that runs ask for (`common.track` in their
/// configurations) when their phases begin. See the [front page](crate) for an example.
pub struct Tracked<'a> {
    inner: &'a dyn Observer,
    lab: &'a Lab,
    notices: Notices,
    pace: Pace,
    haste: Haste,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the phase that is under way, and how it ended; its files are not all written when it ends.
    open: Vec<Courier>,
    ended: Option<Ending>,
    /// Of phases that are over, with something left to carry.
    closed: Vec<Courier>,
    /// Longest that the end waits, in seconds.
    wait: f64,
}

impl<'a> Tracked<'a> {
    /// Before `inner`, of runs in `lab`. What is to be said of trackers goes to `notices`.
    pub fn new(inner: &'a dyn Observer, lab: &'a Lab, notices: Notices) -> Self {
        Tracked {
            inner,
            lab,
            notices,
            pace: Pace::default(),
            haste: Haste::default(),
            state: Mutex::default(),
        }
    }

    /// The same, looking at logs and trying again more or less often.
    #[must_use]
    pub fn with_pace(self, pace: Pace) -> Self {
        Tracked { pace, ..self }
    }

    /// The same, whose end can be hastened.
    #[must_use]
    pub fn with_haste(self, haste: Haste) -> Self {
        Tracked { haste, ..self }
    }

    /// Waits for what trackers have not got yet, no longer than `common.track.wait_seconds` or until there is [`Haste`], and tells
    /// which of them are behind then. To be called when the lab is done, however it ended.
    pub fn finish(&self) {
        let mut state = self.lock();
        state.close();
        let (wait, couriers) = (state.wait, std::mem::take(&mut state.closed));
        drop(state);
        self.haste.set_waiting(true);
        Courier::wait_for(couriers, wait, &self.notices, &self.haste);
        self.haste.set_waiting(false);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what the run in `dir` asks for.
    fn start(&self, dir: &RunDir) {
        // The lab has read the same settings, and would have stopped at what is wrong in them.
        let track = dir.track().unwrap_or_default();
        let mut state = self.lock();
        state.wait = state.wait.max(track.wait_seconds);
        for target in track.targets().unwrap_or_default() {
            let open = || open(&target, &track, self.lab, &self.notices);
            match open().and_then(|tracker| Ok([tracker, open()?])) {
                Ok(both) => {
                    let notices = Arc::clone(&self.notices);
                    let courier = Courier::start(target, both, dir.clone(), notices, self.pace);
                    state.open.push(courier);
                }
                Err(error) => (self.notices)(Notice::Down {
                    target,
                    why: error.to_string(),
                }),
            }
        }
    }
}

impl State {
    /// Tells the trackers of a phase that its files are complete.
    fn close(&mut self) {
        // A phase that did not say how it ended was cut off.
        let ended = self.ended.take().unwrap_or(Ending::Stopped);
        for mut courier in self.open.drain(..) {
            courier.close(ended);
            self.closed.push(courier);
        }
    }
}

impl Observer for Tracked<'_> {
    fn observe(&self, event: &LabEvent<'_>) {
        match event {
            LabEvent::PhaseBegins { dir, .. } => {
                self.lock().close();
                self.start(&RunDir::new(*dir));
            }
            // Summary, record and the last line of the log are still to come.
            LabEvent::PhaseEnds { ended, .. } => self.lock().ended = Some(Ending::from(*ended)),
            LabEvent::JobEnds { .. } => self.lock().close(),
            _ => {}
        }
        self.inner.observe(event);
    }

    fn stop_flag(&self) -> StopFlag {
        self.inner.stop_flag()
    }
}
