//! How far a training or a phase has come, and how long it still takes: counted in one way for all who show it.

use std::collections::BTreeMap;
use std::time::Duration;

use archai_engine::checkpoint::Reached;
use archai_spec::event::{Event, Level, LogPath};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::log::LogEntry;

/// How far a training has come, and how fast it goes. Times are seconds since any one moment.
///
/// ```
/// use archai_lab::progress::Pace;
/// let mut pace = Pace::new(2, 10);
/// pace.step_done(0, 0, 60.0);
/// assert_eq!(pace.seconds_left(60.0), None, "one step says nothing yet: the first takes longer than the others");
/// // Four more steps took 8 seconds; 15 are left.
/// pace.step_done(0, 4, 68.0);
/// assert_eq!((pace.epoch(), pace.step(), pace.seconds_left(68.0)), (1, 5, Some(30.0)));
/// assert_eq!(pace.seconds_left(70.0), Some(28.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    epochs: u64,
    steps: u64,
    done: u64,
    /// When the process reported for the first time, and how many steps were done by then.
    first: Option<(f64, u64)>,
    /// When it reported last.
    last: f64,
}

impl Pace {
    /// A training of so many epochs of so many steps, of which none is done.
    pub fn new(epochs: u64, steps: u64) -> Self {
        Pace {
            epochs,
            steps,
            ..Pace::default()
        }
    }

    /// At `time` the step `step` of the epoch `epoch` was over; both count from 0, as in the log.
    pub fn step_done(&mut self, epoch: u64, step: u64, time: f64) {
        let done = epoch.saturating_mul(self.steps).saturating_add(step + 1);
        self.note(done, time);
    }

    /// At `time` all steps of the epoch `epoch`, from 0, were over.
    pub fn epoch_done(&mut self, epoch: u64, time: f64) {
        self.note((epoch + 1).saturating_mul(self.steps), time);
    }

    fn note(&mut self, done: u64, time: f64) {
        self.done = done.min(self.all());
        self.last = time;
        // A training that begins again before where it was goes on from there.
        match self.first {
            Some((_, first)) if first <= self.done => {}
            _ => self.first = Some((time, self.done)),
        }
    }

    /// Another process goes on after `done` steps: how fast the one before was says nothing.
    pub fn goes_on(&mut self, epoch: u64, step: u64) {
        let done = epoch.saturating_mul(self.steps).saturating_add(step);
        self.done = done.min(self.all());
        self.first = None;
    }

    fn all(&self) -> u64 {
        self.epochs.saturating_mul(self.steps)
    }

    /// Epochs that it takes.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The epoch that is under way, counted from 1; the last one when all are over.
    pub fn epoch(&self) -> u64 {
        match self.done.checked_div(self.steps) {
            Some(done) => (done + 1).min(self.epochs),
            None => self.epochs.min(1),
        }
    }

    /// Steps of that epoch that are over.
    pub fn step(&self) -> u64 {
        match self.done {
            done if done == self.all() => self.steps,
            done => done.checked_rem(self.steps).unwrap_or(0),
        }
    }

    /// The share that is done, from 0 to 1.
    pub fn fraction(&self) -> f64 {
        match self.all() {
            0 => 0.0,
            all => self.done as f64 / all as f64,
        }
    }

    /// How long a step takes at the pace of this process so far; unknown before its second report.
    fn seconds_each(&self) -> Option<f64> {
        let (since, first) = self.first?;
        let steps = self.done.checked_sub(first).filter(|steps| *steps > 0)?;
        Some((self.last - since) / steps as f64)
    }

    /// How long it still takes at the pace of this process so far; unknown before its second report.
    pub fn seconds_left(&self, now: f64) -> Option<f64> {
        let rest = (self.all() - self.done) as f64;
        let left = self.seconds_each()? * rest - (now - self.last).max(0.0);
        Some(left.max(0.0)).filter(|left| left.is_finite())
    }
}

/// How far a phase has come, as its log and its checkpoints say. Who follows a log keeps it up to date with
/// [`PhaseProgress::take`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PhaseProgress {
    /// The training that is under way or was the last, by its place in the log: `arch_search/arch_train`.
    pub training: Option<String>,
    /// How many trainings have begun: searches that measure networks one by one have many.
    pub trainings: usize,
    /// The epoch of the training that is under way, counted from 1; the last one when all are over.
    pub epoch: u64,
    /// Epochs that the training takes.
    pub epochs: u64,
    /// Steps of the epoch that are over.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// The share of the training that is done, from 0 to 1.
    pub fraction: f64,
    /// The last accuracy, as a fraction; of which data, `top1_of` says.
    pub top1: Option<f64>,
    /// `test`, `val` or, as long as nothing else was measured in this training, `train`.
    pub top1_of: Option<&'static str>,
    /// The last loss on training data.
    pub loss: Option<f64>,
    /// Images in a second in the last epoch.
    pub images_per_s: Option<f64>,
    /// Warnings so far.
    pub warnings: usize,
    /// Whether anything but how the phase was begun is in the log.
    #[serde(skip)]
    begun: bool,
    #[serde(skip)]
    paces: BTreeMap<String, Pace>,
}

impl PhaseProgress {
    /// What the entries of a log say.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a LogEntry>) -> Self {
        let mut progress = PhaseProgress::default();
        for entry in entries {
            progress.take(entry);
        }
        progress
    }

    /// Takes one more entry of the log.
    pub fn take(&mut self, entry: &LogEntry) {
        let time = entry.time.map(seconds);
        match &entry.event {
            Event::Values { path, values } => self.place(path, values, time),
            Event::Message { level, .. } => {
                self.warnings += usize::from(*level == Level::Warning);
            }
            Event::Progress(_) => {}
        }
    }

    /// Whether the phase has done more than to begin: it waits for its data, say, while it has not.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// How long the training that is under way still takes at the pace of the process that works on it; unknown before its
    /// second report. It says nothing of trainings and phases that follow.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.pace()?.seconds_left(seconds(now))?;
        Duration::try_from_secs_f64(left).ok()
    }

    /// How long an epoch of the training that is under way takes at that pace.
    pub fn epoch_time(&self) -> Option<Duration> {
        let pace = self.pace()?;
        Duration::try_from_secs_f64(pace.seconds_each()? * pace.steps as f64).ok()
    }

    fn pace(&self) -> Option<&Pace> {
        self.paces.get(self.training.as_deref()?)
    }

    fn place(&mut self, path: &LogPath, values: &[(String, Value)], time: Option<f64>) {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        let Some((last, before)) = parts.split_last() else {
            return;
        };
        self.begun |= !["run", "dataset", "resumed"].contains(&parts[0]);
        if let Some(name) = last.strip_suffix("__init__") {
            let place = before.iter().copied().chain([name]).collect::<Vec<_>>();
            let count = |name: &str| number(values, name).map_or(0, |n| n as u64);
            let pace = Pace::new(count("epochs"), count("train_batches"));
            let place = place.join("/");
            // A run that was resumed begins it again.
            if self.paces.insert(place.clone(), pace).is_none() {
                self.trainings += 1;
            }
            self.enter(place);
            return;
        }
        if let ["resumed", title, ..] = parts[..] {
            let count = |name: &str| number(values, name).map_or(0, |n| n as u64);
            let (epoch, step) = (count("epoch"), count("step"));
            // Several may have that title; the one that was under way last goes on.
            let places = self.training.iter().chain(self.paces.keys().rev());
            let mut places = places.filter(|place| place.rsplit('/').next() == Some(title));
            if let Some(place) = places.next().cloned() {
                self.at(place, |pace| pace.goes_on(epoch, step));
            }
            return;
        }
        if *last == "test" && self.paces.contains_key(&before.join("/")) {
            self.enter(before.join("/"));
            self.measured(values, "test");
            return;
        }
        let Some(epochs) = parts.iter().position(|part| *part == "epochs") else {
            return;
        };
        let epoch = parts.get(epochs + 1).and_then(|part| part.parse().ok());
        let (Some(epoch), place) = (epoch, parts[..epochs].join("/")) else {
            return;
        };
        if !self.paces.contains_key(&place) {
            return;
        }
        let time = time.unwrap_or_default();
        match parts[epochs + 2..] {
            ["steps", step] => {
                let Ok(step) = step.parse() else {
                    return;
                };
                self.at(place, |pace| pace.step_done(epoch, step, time));
                self.measured(values, "train");
            }
            ["train"] => {
                self.at(place, |pace| pace.epoch_done(epoch, time));
                self.measured(values, "train");
                self.images_per_s = number(values, "images_per_s").or(self.images_per_s);
            }
            ["val"] => {
                self.enter(place);
                self.measured(values, "val");
            }
            _ => {}
        }
    }

    /// Notes what was measured, unless it says less than what is known of this training.
    fn measured(&mut self, values: &[(String, Value)], of: &'static str) {
        if of == "train" {
            self.loss = number(values, "loss").or(self.loss);
        }
        let top1 = number(values, "top1");
        if top1.is_some() && (of != "train" || self.top1_of.is_none_or(|known| known == "train")) {
            (self.top1, self.top1_of) = (top1, Some(of));
        }
    }

    /// A training moves on.
    fn at(&mut self, place: String, work: impl FnOnce(&mut Pace)) {
        if let Some(pace) = self.paces.get_mut(&place) {
            work(pace);
        }
        self.enter(place);
    }

    /// The training at `place` is the one that is under way.
    fn enter(&mut self, place: String) {
        if self.training.as_ref() != Some(&place) {
            (self.top1, self.top1_of, self.loss) = (None, None, None);
            self.training = Some(place);
        }
        let pace = self.pace().cloned().unwrap_or_default();
        (self.epoch, self.epochs) = (pace.epoch(), pace.epochs());
        (self.step, self.steps) = (pace.step(), pace.steps());
        self.fraction = pace.fraction();
    }

    /// Nobody works on the phase: it has come as far as its last checkpoint, from which it would be resumed.
    pub(crate) fn stands_at(&mut self, last: Option<&Reached>) {
        let Some(last) = last.filter(|last| !last.finished) else {
            return;
        };
        let (Some(epoch), Some(step)) = (last.epoch, last.step) else {
            return;
        };
        if self.paces.contains_key(&last.scope) {
            let (epoch, step) = (epoch as u64, step as u64);
            self.at(last.scope.clone(), |pace| {
                let done = epoch.saturating_mul(pace.steps).saturating_add(step);
                pace.done = done.min(pace.all());
            });
        }
    }
}

/// A finite number among values; the log writes others as texts.
fn number(values: &[(String, Value)], name: &str) -> Option<f64> {
    let (_, value) = values.iter().find(|(key, _)| key == name)?;
    value.as_f64().filter(|value| value.is_finite())
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::read_entries;

    fn entry(second: u32, path: &str, values: &str) -> String {
        format!(
            "{{\"time\":\"2026-01-02T03:{:02}:{:02}Z\",\"path\":\"{path}\",\"values\":{values}}}\n",
            second / 60,
            second % 60
        )
    }

    fn of(lines: &[String]) -> PhaseProgress {
        let entries: Vec<LogEntry> = read_entries(lines.concat().as_bytes()).collect();
        PhaseProgress::of(&entries)
    }

    fn at(second: i64) -> Timestamp {
        let start: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
        start + Duration::from_secs(second as u64)
    }

    const TRAINING: &str = "arch_search/arch_train";

    fn story() -> Vec<String> {
        let epochs = format!("{TRAINING}/epochs");
        vec![
            entry(0, "run", r#"{"seed":1}"#),
            entry(
                1,
                &format!("{TRAINING}__init__"),
                r#"{"epochs":2,"train_batches":10}"#,
            ),
            entry(
                60,
                &format!("{epochs}/0/steps/0"),
                r#"{"top1":0.1,"loss":3}"#,
            ),
            entry(
                68,
                &format!("{epochs}/0/steps/4"),
                r#"{"top1":0.2,"loss":2}"#,
            ),
            entry(
                78,
                &format!("{epochs}/0/train"),
                r#"{"top1":0.3,"loss":"NaN","images_per_s":100}"#,
            ),
            entry(80, &format!("{epochs}/0/val"), r#"{"top1":0.25,"loss":2}"#),
            entry(
                90,
                &format!("{epochs}/1/steps/4"),
                r#"{"top1":0.9,"loss":1}"#,
            ),
        ]
    }

    #[test]
    fn a_log_says_how_far_it_is() {
        let story = story();
        let (waits, begun) = (of(&story[..1]), of(&story[..2]));
        assert!(!waits.has_begun() && waits.training.is_none());
        assert!(begun.has_begun());
        assert_eq!((begun.epoch, begun.step, begun.left(at(1))), (1, 0, None));
        // (entries, epoch, step, share, accuracy, seconds left)
        for (n, epoch, step, fraction, top1, (second, left)) in [
            (3, 1, 1, 0.05, (0.1, "train"), (60, None)),
            (4, 1, 5, 0.25, (0.2, "train"), (68, Some(30))),
            (5, 2, 0, 0.5, (0.3, "train"), (78, Some(20))),
            (6, 2, 0, 0.5, (0.25, "val"), (80, Some(18))),
            (7, 2, 5, 0.75, (0.25, "val"), (90, Some(11))),
        ] {
            let progress = of(&story[..n]);
            assert_eq!(progress.training.as_deref(), Some(TRAINING));
            assert_eq!(
                (
                    progress.epoch,
                    progress.epochs,
                    progress.step,
                    progress.steps
                ),
                (epoch, 2, step, 10),
                "{n}"
            );
            assert!((progress.fraction - fraction).abs() < 1e-9, "{n}");
            let found = (progress.top1.unwrap(), progress.top1_of.unwrap());
            assert_eq!(found, top1, "{n}");
            let found = progress
                .left(at(second))
                .map(|left| left.as_secs_f64().round());
            assert_eq!(found, left.map(f64::from), "{n}");
        }
        let progress = of(&story);
        assert_eq!(
            (progress.loss, progress.images_per_s),
            (Some(1.0), Some(100.0))
        );
        let left = |second| progress.left(at(second)).unwrap().as_secs_f64().round();
        // Fourteen steps took 30 seconds; five are left.
        assert_eq!((left(94), left(500)), (7.0, 0.0));
        let epoch = progress.epoch_time().unwrap().as_secs_f64();
        assert!((epoch - 300.0 / 14.0).abs() < 1e-9, "{epoch}");
    }

    #[test]
    fn what_goes_on_counts_from_its_checkpoint() {
        let mut lines = story();
        let values = r#"{"phase":"arch_train","epoch":1,"step":2}"#;
        lines.push(entry(1000, "resumed/arch_train/1/2", values));
        let resumed = of(&lines);
        assert_eq!((resumed.epoch, resumed.step), (2, 2));
        assert_eq!(
            resumed.left(at(1000)),
            None,
            "how fast this process is, nobody knows yet"
        );
        let steps = format!("{TRAINING}/epochs/1/steps");
        lines.push(entry(1010, &format!("{steps}/2"), r#"{"top1":0.9}"#));
        lines.push(entry(1014, &format!("{steps}/4"), r#"{"top1":0.9}"#));
        assert_eq!(of(&lines).left(at(1014)), Some(Duration::from_secs(10)));
        let mut stopped = of(&lines);
        let reached = |finished| Reached {
            number: 3,
            scope: TRAINING.to_string(),
            finished,
            epoch: Some(1),
            step: Some(3),
        };
        stopped.stands_at(Some(&reached(true)));
        assert_eq!((stopped.epoch, stopped.step), (2, 5));
        stopped.stands_at(Some(&reached(false)));
        assert_eq!(
            (stopped.epoch, stopped.step, stopped.fraction),
            (2, 3, 0.65)
        );
    }

    #[test]
    fn trainings_follow_each_other() {
        let mut lines = story();
        let other = "arch_search/post_train";
        lines.push(entry(
            91,
            &format!("{other}__init__"),
            r#"{"epochs":0,"train_batches":5}"#,
        ));
        let progress = of(&lines);
        assert_eq!(
            (progress.trainings, progress.training.as_deref()),
            (2, Some(other))
        );
        assert_eq!(
            (progress.top1, progress.epoch, progress.fraction),
            (None, 0, 0.0)
        );
        // What has no training of its own changes nothing.
        for path in [
            "elsewhere/epochs/7/train",
            "arch_search/epochs/x/train",
            "test",
            "",
        ] {
            lines.push(entry(99, path, r#"{"top1":0.9}"#));
        }
        assert_eq!(of(&lines), progress);
        lines.push(entry(99, &format!("{TRAINING}/test"), r#"{"top1":0.5}"#));
        let progress = of(&lines);
        assert_eq!((progress.top1, progress.top1_of), (Some(0.5), Some("test")));
    }
}
