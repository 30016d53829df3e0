//! A thread that carries the log of a run to a tracker.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use archai_lab::RunDir;
use archai_spec::settings::TrackTarget;

use crate::error::TrackError;
use crate::facts::{Ending, RunFacts};
use crate::observer::{Notice, Notices};
use crate::point::Points;
use crate::tracker::Tracker;

/// How often logs are looked at, and trackers that are down are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Between two looks at a log.
    pub look: Duration,
    /// Before the first new try. Each further one waits twice as long as the one before.
    pub first_try: Duration,
    /// Longest before a new try.
    pub last_try: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            look: Duration::from_secs(1),
            first_try: Duration::from_secs(1),
            last_try: Duration::from_secs(30),
        }
    }
}

/// Carries the log of one run to one tracker, on a thread of its own.
pub(crate) struct Courier {
    target: TrackTarget,
    dir: RunDir,
    close: Sender<Ending>,
    /// Closed by the thread when it has carried everything.
    done: Receiver<()>,
}

impl Courier {
    pub fn start(
        target: TrackTarget,
        tracker: Box<dyn Tracker>,
        dir: RunDir,
        notices: Notices,
        pace: Pace,
    ) -> Self {
        let (close, closed) = channel();
        let (finished, done) = channel();
        let route = Route {
            target: target.clone(),
            dir: dir.clone(),
            notices: notices.clone(),
            pace,
            closed,
        };
        let started = thread::Builder::new()
            .name(format!("track {target}"))
            .spawn(move || {
                route.carry(tracker);
                // Whoever waits may be gone.
                let _ = finished.send(());
            });
        if let Err(error) = started {
            let why = format!("cannot start a thread: {error}");
            notices(Notice::Down {
                target: target.clone(),
                why,
            });
        }
        Courier {
            target,
            dir,
            close,
            done,
        }
    }

    /// The phase ended, and all its files are written.
    pub fn close(&self, ending: Ending) {
        // A thread that is gone has said why.
        let _ = self.close.send(ending);
    }

    /// Waits until all have carried everything, or for so many seconds in all; tells which have not.
    pub fn wait_for(couriers: Vec<Courier>, seconds: f64, notices: &Notices) {
        const SLICE: f64 = 0.05;
        let mut slices = (seconds / SLICE).ceil();
        for courier in couriers {
            let is_done = loop {
                let wait = match slices > 0.0 {
                    true => SLICE,
                    false => 0.0,
                };
                match courier.done.recv_timeout(Duration::from_secs_f64(wait)) {
                    Ok(()) => break true,
                    // It could not be started, or broke down.
                    Err(RecvTimeoutError::Disconnected) => break false,
                    Err(RecvTimeoutError::Timeout) if slices > 0.0 => slices -= 1.0,
                    Err(RecvTimeoutError::Timeout) => break false,
                }
            };
            if !is_done {
                notices(Notice::Behind {
                    target: courier.target,
                    dir: courier.dir.path().to_path_buf(),
                });
            }
        }
    }
}

/// What the thread of a courier knows.
struct Route {
    target: TrackTarget,
    dir: RunDir,
    notices: Notices,
    pace: Pace,
    closed: Receiver<Ending>,
}

/// What a courier has found out so far.
#[derive(Default)]
struct Way {
    ending: Option<Ending>,
    is_down: bool,
    is_shown: bool,
    /// Whether the command is over without having closed the run.
    is_left: bool,
    tries: u32,
}

impl Route {
    /// Carries everything, however often it takes.
    fn carry(&self, mut tracker: Box<dyn Tracker>) {
        let mut way = Way::default();
        while let Err(error) = self.try_once(tracker.as_mut(), &mut way) {
            if way.is_left {
                return;
            }
            if !way.is_down {
                way.is_down = true;
                (self.notices)(Notice::Down {
                    target: self.target.clone(),
                    why: error.to_string(),
                });
            }
            let pause = self.pace.first_try * 2_u32.saturating_pow(way.tries.min(16));
            way.tries += 1;
            self.wait(pause.min(self.pace.last_try), &mut way);
        }
    }

    /// Carries everything from the beginning of the log to its end, unless the tracker is down.
    fn try_once(&self, tracker: &mut dyn Tracker, way: &mut Way) -> Result<(), TrackError> {
        let run = RunFacts::read(self.dir.path())?;
        let (mut follower, mut points) = (self.dir.follow()?, Points::default());
        tracker.begin(&run)?;
        let mut is_first = true;
        loop {
            // Asked before the look: what is written by then is seen.
            let ending = way.ending;
            let news = follower.look()?;
            if news.from_start {
                points = Points::default();
                tracker.begin(&run)?;
            }
            let new: Vec<_> = news
                .entries
                .iter()
                .flat_map(|entry| points.of(entry))
                .collect();
            if is_first || news.from_start || !new.is_empty() {
                tracker.write(&new)?;
            }
            is_first = false;
            if let Some(ending) = ending {
                tracker.end(&run, ending)?;
                self.show(tracker, way);
                return Ok(());
            }
            self.show(tracker, way);
            self.wait(self.pace.look, way);
            if way.is_left {
                return Ok(());
            }
        }
    }

    /// Says where the run is shown, or that the tracker is back.
    fn show(&self, tracker: &dyn Tracker, way: &mut Way) {
        if way.is_down {
            (way.is_down, way.tries) = (false, 0);
            (self.notices)(Notice::Back {
                target: self.target.clone(),
            });
        }
        if !way.is_shown
            && let Some(place) = tracker.place()
        {
            way.is_shown = true;
            let target = self.target.clone();
            (self.notices)(Notice::Shown { target, place });
        }
    }

    /// Waits, less long when the run ends meanwhile.
    fn wait(&self, time: Duration, way: &mut Way) {
        match self.closed.recv_timeout(time) {
            Ok(ending) => {
                way.ending = Some(ending);
                way.tries = 0;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => way.is_left = true,
        }
    }
}
