//! A thread that carries the log of a run to a tracker.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use archai_lab::RunDir;
use archai_spec::settings::TrackTarget;

use crate::error::TrackError;
use crate::facts::{Ending, RunFacts};
use crate::haste::Haste;
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

/// Longest that closing takes when there is haste.
const MOMENT: Duration = Duration::from_secs(2);

/// Carries the log of one run to one tracker, on a thread of its own.
pub(crate) struct Courier {
    target: TrackTarget,
    dir: RunDir,
    /// Closes what the tracker shows while the thread is at work.
    closer: Box<dyn Tracker>,
    ending: Ending,
    close: Sender<Ending>,
    /// Closed by the thread when it has carried everything.
    done: Receiver<()>,
}

impl Courier {
    pub fn start(
        target: TrackTarget,
        [tracker, closer]: [Box<dyn Tracker>; 2],
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
            closer,
            ending: Ending::Stopped,
            close,
            done,
        }
    }

    /// The phase ended, and all its files are written.
    pub fn close(&mut self, ending: Ending) {
        self.ending = ending;
        // A thread that is gone has said why.
        let _ = self.close.send(ending);
    }

    /// Waits until all have carried everything, for so many seconds in all, or until there is haste: what is not carried then
    /// is closed as it is. Tells which have not carried everything.
    pub fn wait_for(couriers: Vec<Courier>, seconds: f64, notices: &Notices, haste: &Haste) {
        const SLICE: f64 = 0.05;
        let mut slices = (seconds / SLICE).ceil();
        let mut behind = Vec::new();
        for courier in couriers {
            let is_done = loop {
                let has_time = slices > 0.0 && !haste.is_asked();
                let wait = match has_time {
                    true => SLICE,
                    false => 0.0,
                };
                match courier.done.recv_timeout(Duration::from_secs_f64(wait)) {
                    Ok(()) => break true,
                    // It could not be started, or broke down.
                    Err(RecvTimeoutError::Disconnected) => break false,
                    Err(RecvTimeoutError::Timeout) if has_time => slices -= 1.0,
                    Err(RecvTimeoutError::Timeout) => break false,
                }
            };
            if !is_done {
                notices(Notice::Behind {
                    target: courier.target.clone(),
                    dir: courier.dir.path().to_path_buf(),
                });
                behind.push(courier);
            }
        }
        if haste.is_asked() {
            Courier::close_all(behind);
        }
    }

    /// Closes what trackers show, whatever else they have not got, for a moment.
    fn close_all(couriers: Vec<Courier>) {
        let (closed, is_closed) = channel();
        for courier in couriers {
            let closed = closed.clone();
            let close = move || {
                // Its thread gives up when it next waits, so that it does not begin anew.
                drop(courier.close);
                // What it asked for may be done meanwhile, such as a new run: that is closed once the thread has come to its end.
                // Who cannot be reached in time stays as it is, and it was said that it is behind.
                let close = || courier.closer.close(&courier.dir, courier.ending);
                let _ = close();
                if courier.done.recv_timeout(MOMENT) != Err(RecvTimeoutError::Timeout) {
                    let _ = close();
                }
                let _ = closed.send(());
            };
            // Without a thread nothing is closed, which was said as well.
            let _ = thread::Builder::new().spawn(close);
        }
        drop(closed);
        let mut slices = MOMENT.as_millis() / 50;
        while slices > 0 {
            match is_closed.recv_timeout(Duration::from_millis(50)) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => slices -= 1,
                Err(RecvTimeoutError::Disconnected) => return,
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
