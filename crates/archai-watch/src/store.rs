//! What is known of all runs at the moment, kept up to date by a thread while somebody looks, and what pages show of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use archai_lab::Lab;
use archai_lab::runs::{Worker, Works, worker_in};

use crate::runs::{RunSeen, RunsWatch};
use crate::serve::End;
use crate::views::Views;
use crate::{Limits, Stopper};

/// Looks between two searches for directories that came or went, and between two looks at finished runs.
const SCAN: u64 = 6;
/// Looks without anybody to show something to, after which the thread rests.
const REST: u64 = 40;
/// Longest that somebody waits for the first look after a rest.
const FRESH: Duration = Duration::from_secs(5);

/// All runs at a moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts the changes.
    pub version: u64,
    /// The runs, the last one that wrote something first.
    pub runs: Arc<Vec<RunSeen>>,
}

impl Snapshot {
    /// The run of an id.
    pub fn run(&self, id: &str) -> Option<&RunSeen> {
        self.runs.iter().find(|run| run.id == id)
    }
}

/// What is known of the runs below a folder.
pub struct Store {
    pub lab: Lab,
    pub root: PathBuf,
    pub views: Views,
    stopper: Arc<dyn Stopper>,
    limits: Limits,
    state: Mutex<State>,
    /// Something changed, or somebody came.
    bell: Condvar,
    watch: Mutex<RunsWatch>,
    /// Processes that were asked to stop: (number, beginning).
    asked: Mutex<BTreeSet<(u32, Option<u64>)>>,
}

#[derive(Default)]
struct State {
    snapshot: Snapshot,
    /// Looks so far.
    looks: u64,
    /// The look at which somebody last asked for something.
    asked_at: u64,
    /// Pages that are told of news.
    streams: usize,
    /// Whether a thread looks, and whether it rests.
    works: bool,
    rests: bool,
}

impl State {
    /// Whether nobody is there to show something to.
    fn is_alone(&self) -> bool {
        self.streams == 0 && self.looks > self.asked_at + REST
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    pub fn new(lab: Lab, root: PathBuf, stopper: Arc<dyn Stopper>, limits: Limits) -> Self {
        Store {
            lab,
            watch: Mutex::new(RunsWatch::new(root.clone())),
            root,
            views: Views::default(),
            stopper,
            limits,
            state: Mutex::default(),
            bell: Condvar::new(),
            asked: Mutex::default(),
        }
    }

    /// The time, in seconds since the Unix epoch.
    pub fn now(&self) -> f64 {
        self.lab.host().clock.now()
    }

    /// All runs as they are now: as they were seen a moment ago, or, after a rest, by a new look.
    pub fn fresh(&self) -> Snapshot {
        let mut state = lock(&self.state);
        state.asked_at = state.looks;
        if !state.works {
            drop(state);
            return self.look();
        }
        let (looks, rests) = (state.looks, state.rests || state.looks == 0);
        self.bell.notify_all();
        let waits = |state: &mut State| state.works && rests && state.looks == looks;
        let waited = self.bell.wait_timeout_while(state, FRESH, waits);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .snapshot
            .clone()
    }

    /// Looks at the files once.
    fn look(&self) -> Snapshot {
        let looks = lock(&self.state).looks;
        let runs = {
            let mut watch = lock(&self.watch);
            let all = looks.is_multiple_of(SCAN);
            if all {
                watch.scan();
            }
            watch.look(&self.lab, all)
        };
        let mut state = lock(&self.state);
        if *state.snapshot.runs != runs {
            state.snapshot.version += 1;
            state.snapshot.runs = Arc::new(runs);
        }
        state.looks += 1;
        let snapshot = state.snapshot.clone();
        drop(state);
        self.bell.notify_all();
        snapshot
    }

    /// Looks again and again until the end, while somebody is there.
    pub fn keep_looking(&self, end: &End) {
        lock(&self.state).works = true;
        while !end.is_near() {
            self.look();
            let mut state = lock(&self.state);
            state.rests = state.is_alone();
            let (pause, rests) = match state.rests {
                true => (Duration::from_secs(3600), true),
                false => (self.limits.look, false),
            };
            let waits = |state: &mut State| !end.is_near() && (!rests || state.is_alone());
            drop(self.bell.wait_timeout_while(state, pause, waits));
        }
        lock(&self.state).works = false;
        self.bell.notify_all();
    }

    /// Wakes everybody who waits: the end is near.
    pub fn wake(&self) {
        drop(lock(&self.state));
        self.bell.notify_all();
    }

    /// Counts a page that is told of news; none if there are too many.
    pub fn listen(&self) -> Option<Listener<'_>> {
        let mut state = lock(&self.state);
        if state.streams >= self.limits.streams {
            return None;
        }
        state.streams += 1;
        state.asked_at = state.looks;
        self.bell.notify_all();
        Some(Listener(self))
    }

    /// Whether a page is told of news.
    pub fn is_watched(&self) -> bool {
        lock(&self.state).streams > 0
    }

    /// Asks the process that works on a run to stop after its present step. Gives what is to be said.
    ///
    /// # Errors
    /// Why it cannot be asked.
    pub fn stop(&self, run: &RunSeen) -> Result<String, String> {
        let workers = run
            .phases
            .iter()
            .filter_map(|seen| self.worker(seen.dir.path()));
        let worker = workers.into_iter().find(|worker| worker.works != Works::No);
        let worker =
            worker.ok_or("no process works on this run, so that there is nothing to stop")?;
        if worker.works == Works::Unknown {
            return Err(format!(
                "process {} works on {}, which cannot be asked from here; interrupt it there (Ctrl-C, or kill -INT {})",
                worker.pid, worker.host, worker.pid
            ));
        }
        let mut asked = lock(&self.asked);
        // A second interrupt would end it at once.
        if !asked.contains(&(worker.pid, worker.since)) {
            self.stopper.stop(&worker)?;
            asked.insert((worker.pid, worker.since));
        }
        Ok(format!(
            "process {} stops after its present step",
            worker.pid
        ))
    }

    fn worker(&self, dir: &Path) -> Option<Worker> {
        worker_in(dir, self.lab.host()).ok().flatten()
    }

    /// Whether a process was asked to stop.
    pub fn is_asked(&self, worker: &Worker) -> bool {
        lock(&self.asked).contains(&(worker.pid, worker.since))
    }
}

/// A page that is told of news.
pub struct Listener<'a>(&'a Store);

impl Listener<'_> {
    /// Waits for another version of all runs than this one, or for the time to pass, or for the end.
    pub fn wait(&self, version: u64, pause: Duration, end: &End) -> Snapshot {
        let state = lock(&self.0.state);
        let waits = |state: &mut State| state.snapshot.version == version && !end.is_near();
        let waited = self.0.bell.wait_timeout_while(state, pause, waits);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .snapshot
            .clone()
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).streams -= 1;
    }
}
