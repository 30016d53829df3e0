//! What a tracker is, which there are, and giving one of them a whole run at once.

use archai_lab::log::Follower;
use archai_lab::{Lab, RunDir};
use archai_spec::settings::{Track, TrackTarget};

use crate::error::TrackError;
use crate::facts::{Ending, RunFacts};
use crate::mlflow::MlFlow;
use crate::observer::Notices;
use crate::point::{Point, Points};
use crate::tensorboard::TensorBoard;

/// Shows runs to somebody else.
///
/// It is told of one run directory: [`begin`](Tracker::begin), then [`write`](Tracker::write) with all points of the log from its
/// first line, in pieces, and [`end`](Tracker::end). After an error, or when a run that goes on has cut its log back, all of
/// that comes again from the beginning. So a tracker finds out by itself what it has shown already.
pub trait Tracker: Send {
    /// The log is about to be read from its beginning.
    ///
    /// # Errors
    /// It cannot be reached, or cannot write.
    fn begin(&mut self, run: &RunFacts) -> Result<(), TrackError>;

    /// The next points of the log; none at the first call, if nothing is there yet.
    ///
    /// # Errors
    /// As [`Tracker::begin`].
    fn write(&mut self, points: &[Point]) -> Result<(), TrackError>;

    /// The log has been read to its end, and the phase ended so.
    ///
    /// # Errors
    /// As [`Tracker::begin`].
    fn end(&mut self, run: &RunFacts, ending: Ending) -> Result<(), TrackError>;

    /// Says that the run in `dir` ended so, which it would otherwise be shown to go on, without whatever it has not got yet: one
    /// request, for when there is no time for more. By default nothing is to be said.
    ///
    /// # Errors
    /// As [`Tracker::begin`].
    fn close(&self, dir: &RunDir, ending: Ending) -> Result<(), TrackError> {
        let _ = (dir, ending);
        Ok(())
    }

    /// Where it can be looked at, once it has begun: a folder, or the address of a page.
    fn place(&self) -> Option<String>;
}

/// The tracker of this name. What it cannot show is told to `notices`.
///
/// # Errors
/// Variables of the host that it cannot use: a proxy that is none.
pub fn open(
    target: &TrackTarget,
    settings: &Track,
    lab: &Lab,
    notices: &Notices,
) -> Result<Box<dyn Tracker>, TrackError> {
    Ok(match target {
        TrackTarget::TensorBoard => Box::new(TensorBoard::new(lab)),
        TrackTarget::MlFlow(url) => Box::new(MlFlow::new(url, settings, lab.host(), notices)?),
    })
}

/// Gives a tracker all that a run directory holds, and says where it can be looked at. What it has already is not given twice.
///
/// # Errors
/// A directory that is none, in which a process works or which cannot be read; a tracker that is down.
pub fn track(
    run: &RunFacts,
    target: &TrackTarget,
    settings: &Track,
    lab: &Lab,
    notices: &Notices,
) -> Result<Option<String>, TrackError> {
    let Some(ending) = run.ending()? else {
        return Err(TrackError::Server(format!(
            "a process works in `{}`; wait until it has ended, and give the command again",
            run.dir.path().display()
        )));
    };
    let mut tracker = open(target, settings, lab, notices)?;
    let mut follower = run.dir.follow()?;
    tracker.begin(run)?;
    let points = all_new(&mut follower, &mut Points::default())?;
    tracker.write(&points)?;
    tracker.end(run, ending)?;
    Ok(tracker.place())
}

/// The points of what was written to a log since the last look.
fn all_new(follower: &mut Follower, points: &mut Points) -> Result<Vec<Point>, TrackError> {
    let news = follower.look()?;
    Ok(news
        .entries
        .iter()
        .flat_map(|entry| points.of(entry))
        .collect())
}
