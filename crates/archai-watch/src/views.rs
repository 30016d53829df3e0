//! What pages show of runs, made anew only when a run has changed. Logs are read on from where they were read before; those of a
//! few runs are kept, which bounds the memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use archai_lab::Lab;
use archai_report::{Course, LiveLog, RunView, ViewSection};

use crate::phase::PhaseSeen;

/// Most runs whose logs and pages are kept.
const MOST_VIEWS: usize = 4;
/// Most runs by whose courses they are compared that are kept.
const MOST_COURSES: usize = 24;

/// What a page shows of a run.
#[derive(Default)]
struct View {
    version: Option<u64>,
    log: LiveLog,
    shown: Option<Result<Arc<RunView>, String>>,
}

/// By directory, with a count that says which was used last.
type Kept<T> = Mutex<(u64, BTreeMap<PathBuf, (u64, T)>)>;

/// What pages show of runs.
#[derive(Default)]
pub struct Views {
    views: Kept<Arc<Mutex<View>>>,
    courses: Kept<(u64, Arc<Course>)>,
}

fn get<T: Clone>(kept: &Kept<T>, dir: &Path) -> Option<T> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, all) = &mut *kept;
    *count += 1;
    let (used, value) = all.get_mut(dir)?;
    *used = *count;
    Some(value.clone())
}

fn put<T: Clone>(kept: &Kept<T>, dir: &Path, value: T, most: usize) -> T {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let (count, all) = &mut *kept;
    all.insert(dir.to_path_buf(), (*count, value.clone()));
    while all.len() > most {
        let oldest = all.iter().min_by_key(|(_, (used, _))| *used);
        let Some(oldest) = oldest.map(|(dir, _)| dir.clone()) else {
            break;
        };
        all.remove(&oldest);
    }
    value
}

impl Views {
    /// What the page of a phase shows.
    ///
    /// # Errors
    /// Why it shows nothing.
    pub fn of(&self, lab: &Lab, seen: &PhaseSeen) -> Result<Arc<RunView>, String> {
        let dir = &seen.dir;
        let view = get(&self.views, dir.path())
            .unwrap_or_else(|| put(&self.views, dir.path(), Arc::default(), MOST_VIEWS));
        // Whoever asks at the same time waits for what is made.
        let mut view = view.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(version), Some(shown)) = (view.version, &view.shown)
            && version >= seen.version
        {
            return shown.clone();
        }
        view.log.look(dir);
        let shown = view
            .log
            .view(lab, dir)
            .map(Arc::new)
            .map_err(|e| e.to_string());
        (view.version, view.shown) = (Some(seen.version), Some(shown.clone()));
        shown
    }

    /// Phases beside each other, by their names.
    pub fn compared(&self, lab: &Lab, phases: &[(String, &PhaseSeen)]) -> Vec<ViewSection> {
        let courses = phases.iter().map(|(name, seen)| {
            let dir = seen.dir.path();
            let known = get(&self.courses, dir).filter(|(version, _)| *version == seen.version);
            let (_, course) = known.unwrap_or_else(|| {
                let mut log = LiveLog::default();
                log.look(&seen.dir);
                let course = Arc::new(Course::read(lab, &seen.dir, &log));
                put(&self.courses, dir, (seen.version, course), MOST_COURSES)
            });
            (name.clone(), course.as_ref().clone())
        });
        archai_report::compared(&courses.collect::<Vec<_>>())
    }
}
