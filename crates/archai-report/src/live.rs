//! A page of a run in pieces, again and again while the run goes on.

use archai_lab::log::Follower;
use archai_lab::{Lab, Phase, RunDir};

use crate::ReportError;
use crate::log::RunLog;
use crate::page::Section;
use crate::run::run_view;

/// Bytes of a log that are read at a time.
const PART: u64 = 1 << 20;

/// What a page of a run shows at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunView {
    /// What it is called.
    pub title: String,
    /// The phase.
    pub phase: Phase,
    /// Below the title: whether it is finished. As HTML.
    pub state: String,
    /// Its sections, the answers first.
    pub sections: Vec<ViewSection>,
}

/// A section of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSection {
    /// Its anchor.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What stands in it, as HTML.
    pub html: String,
}

impl From<Section> for ViewSection {
    fn from(section: Section) -> Self {
        ViewSection {
            id: section.id.to_string(),
            title: section.title.to_string(),
            html: section.body.into_string(),
        }
    }
}

/// The log of a run as far as it was read. Each look reads what was written since the one before; a log that was cut back or
/// replaced, as when a run is resumed or begins anew, is read from its start.
///
/// ```no_run
/// use archai_lab::{Lab, RunDir};
/// let (lab, dir) = (Lab::builtin(), RunDir::new("logdir/darts_cifar10_a_search"));
/// let mut log = archai_report::LiveLog::default();
/// while log.look(&dir) {
///     let view = log.view(&lab, &dir)?;
///     println!("{}: {} sections", view.title, view.sections.len());
/// }
/// # Ok::<(), archai_report::ReportError>(())
/// ```
#[derive(Debug, Default)]
pub struct LiveLog {
    follower: Option<Follower>,
    log: RunLog,
    problem: Option<String>,
}

impl LiveLog {
    /// Reads what was written to the log of the run in `dir`, always the same one. Says whether anything came of it. What cannot
    /// be read is told on the page.
    pub fn look(&mut self, dir: &RunDir) -> bool {
        let before = self.problem.take();
        let mut is_new = false;
        match self.read(dir) {
            Ok(news) => is_new = news,
            Err(e) => self.problem = Some(format!("What is known of the log is left out: {e}")),
        }
        is_new || before != self.problem
    }

    fn read(&mut self, dir: &RunDir) -> Result<bool, archai_lab::LabError> {
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => dir.follow()?,
        };
        let mut is_new = false;
        loop {
            let before = follower.place();
            let news = follower.look_at_most(PART)?;
            if news.from_start {
                self.log = RunLog::default();
                is_new = true;
            }
            self.log.damaged += news.damaged;
            is_new |= !news.entries.is_empty() || news.damaged > 0;
            news.entries
                .into_iter()
                .for_each(|entry| self.log.take(entry));
            if follower.place() == before {
                break;
            }
        }
        // A run that begins anew may call its log otherwise.
        let is_there = follower.path().exists();
        self.follower = Some(follower).filter(|_| is_there);
        Ok(is_new)
    }

    /// What the page of the run in `dir` shows now: the same as [`run_page`](crate::run_page), in pieces.
    ///
    /// # Errors
    /// A directory that no run made.
    pub fn view(&self, lab: &Lab, dir: &RunDir) -> Result<RunView, ReportError> {
        run_view(lab, dir, &self.log, self.problem.iter().cloned().collect())
    }

    pub(crate) fn log(&self) -> &RunLog {
        &self.log
    }
}
