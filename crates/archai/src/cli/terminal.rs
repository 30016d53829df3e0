//! What a run shows while it goes on: on a terminal a block of lines that is kept up to date, plain lines elsewhere. Everything
//! goes to standard error, so that standard output holds results alone.
//!
//! Places in the log (`arch_search/arch_train/epochs/0/train`) are keys, which count from 0 as in all files. What is said
//! beside them counts from 1.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use archai_lab::progress::Pace;
use archai_lab::{Ended, LabEvent, log};
use archai_spec::event::{Event, Level, LogPath, Progress};
use jiff::Zoned;
use serde_json::Value;

use super::block::{Block, percent, spent};
use super::canvas::Canvas;
use super::env::Env;
use super::text::{error_width, wrapped};

/// How much a run shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loudness {
    /// Warnings and errors alone.
    Quiet,
    /// What people who watch want to know.
    #[default]
    Usual,
    /// All that the log has.
    Loud,
}

/// Where a run shows what it does.
pub struct Terminal {
    /// What draws the block, where there is one; lines otherwise.
    canvas: Option<Arc<Canvas>>,
    loudness: Loudness,
    /// Algorithm and data of the job that is under way.
    title: Mutex<String>,
    /// How fast the training goes.
    pace: Mutex<Pace>,
    start: Instant,
    /// Warnings that were shown.
    said: Mutex<Vec<String>>,
    /// Notes that were shown: what is true of every network of a search need not be read of each.
    noted: Mutex<BTreeSet<String>>,
}

impl Terminal {
    /// A block where standard error is a terminal, lines elsewhere and where they are asked for (`plain`).
    pub fn new(env: &Env, loudness: Loudness, plain: bool) -> Self {
        let draws = env.draws && !plain && loudness != Loudness::Quiet;
        Terminal {
            canvas: draws.then(|| Canvas::new(loudness == Loudness::Loud)),
            loudness,
            title: Mutex::default(),
            pace: Mutex::default(),
            start: Instant::now(),
            said: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    /// A panic says what happened on a terminal that is in order. For the rest of the process, so once.
    pub fn watch_panics(&self) {
        let Some(canvas) = &self.canvas else {
            return;
        };
        let (canvas, before) = (Arc::downgrade(canvas), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |panic| match canvas.upgrade() {
            Some(canvas) => canvas.interrupted_by(|| before(panic)),
            None => before(panic),
        }));
    }

    /// The warnings that were shown.
    pub fn said(&self) -> Vec<String> {
        lock(&self.said).clone()
    }

    /// Shows a line of its own, which stays.
    pub fn say(&self, line: &str) {
        match &self.canvas {
            Some(canvas) => canvas.say(line.to_string()),
            // Who reads them is gone: no reason to end a run of days, the log files go on.
            None => drop(writeln!(
                std::io::stderr(),
                "{}",
                wrapped(line, error_width(), 4)
            )),
        }
    }

    /// Shows a line that those who want quiet do not want to see.
    pub fn tell(&self, line: &str) {
        if self.loudness != Loudness::Quiet {
            self.say(line);
        }
    }

    /// Shows a line of the log, to those who want to see it scroll.
    fn log(&self, text: &str, now: &Zoned) {
        let line = format!("{} {text}", now.strftime("%H:%M:%S"));
        match &self.canvas {
            Some(canvas) => canvas.log(line),
            None => self.say(&line),
        }
    }

    /// Whether a note was not shown yet. Who wants all of the log gets repetitions, too.
    fn is_news(&self, text: &str) -> bool {
        lock(&self.noted).insert(text.to_string()) || self.loudness == Loudness::Loud
    }

    /// Shows what happens in a lab, in words.
    pub fn show(&self, event: &LabEvent<'_>) {
        match event {
            LabEvent::Evaluating { desc } => self.tell(&format!("evaluating {}", desc.display())),
            LabEvent::JobBegins { title } => {
                *lock(&self.title) = (*title).to_string();
                match &self.canvas {
                    Some(_) => self.tell(&format!("\x1b[1m{title}\x1b[0m")),
                    None => self.tell(title),
                }
            }
            LabEvent::NoEffect { text } => {
                lock(&self.said).push((*text).to_string());
                self.say(&format!("  warning: {text}"));
            }
            LabEvent::SetAside { to, .. } => {
                self.tell(&format!("  an earlier run is kept as {}", to.display()));
            }
            LabEvent::Replaced { .. } => {
                self.tell(
                    "  an earlier attempt, which ended before its first checkpoint, is replaced",
                );
            }
            LabEvent::AlreadyComplete { phase, dir } => {
                self.tell(&format!("  the {phase} in {} is complete", dir.display()));
            }
            LabEvent::PhaseBegins {
                phase,
                dir,
                resumed,
            } => {
                let verb = if *resumed { "goes on " } else { "" };
                self.tell(&format!("  {phase} {verb}in {}", dir.display()));
                if let Some(canvas) = &self.canvas {
                    let title = format!("{}: {phase}", lock(&self.title));
                    canvas.begin(Block::new(title, canvas.now()));
                }
            }
            LabEvent::Emitted {
                event, time, shown, ..
            } if *shown || self.loudness == Loudness::Loud => match event {
                Event::Progress(progress) => self.progress(progress),
                Event::Message { level, text } if *level >= Level::Warning => {
                    lock(&self.said).push(text.clone());
                    self.warning(*level, text, time);
                }
                _ if self.loudness == Loudness::Quiet => {}
                Event::Values { path, values } => self.values(path, values, time),
                Event::Message { text, .. } => {
                    if self.is_news(text) {
                        self.log(text, time);
                    }
                }
            },
            LabEvent::PhaseEnds { phase, ended, .. } => self.phase_ends(phase.name(), *ended),
            // Events that are for files alone, and whatever later versions of the lab report besides.
            _ => {}
        }
    }

    /// Shows what needs attention.
    fn warning(&self, level: Level, text: &str, now: &Zoned) {
        let (name, color) = match level {
            Level::Error => ("error", "1;31"),
            Level::Debug | Level::Info | Level::Warning => ("warning", "1;33"),
        };
        match &self.canvas {
            Some(canvas) => {
                canvas.say(format!("  \x1b[{color}m{name}:\x1b[0m {text}"));
                if level == Level::Warning {
                    canvas.update(|block| block.warn(text));
                }
            }
            None => self.say(&format!("{} {name}: {text}", now.strftime("%H:%M:%S"))),
        }
    }

    /// Shows values of the log: results of steps and epochs in words, others as they are.
    fn values(&self, path: &LogPath, values: &[(String, Value)], now: &Zoned) {
        if let Some(canvas) = &self.canvas {
            canvas.update(|block| block.values(path, values));
        }
        let loud = self.loudness == Loudness::Loud;
        // Lists, the architecture parameters of every edge say, are for the files.
        let short: Vec<_> = (values.iter())
            .filter(|(_, value)| loud || !value.is_array())
            .cloned()
            .collect();
        let is_step = matches!(&path.0[..], [.., steps, _] if steps == "steps");
        let is_result = values
            .iter()
            .any(|(name, _)| name == "loss" || name == "skipped");
        let is_for_files = is_for_files(path) || (is_step && !is_result);
        if short.is_empty() || (is_for_files && !loud) {
            return;
        }
        let pace = lock(&self.pace).clone();
        let text = match result(path, values, &pace, self.now()) {
            Some(text) if loud => format!("{}   ({text})", log::line(path, &short)),
            Some(text) => text,
            None if loud => log::line(path, &short),
            None => other(path, &short, &pace),
        };
        self.log(&text, now);
    }

    /// Takes what a live view is told.
    fn progress(&self, progress: &Progress) {
        if let Some(canvas) = &self.canvas {
            let now = canvas.now();
            canvas.update(|block| block.progress(progress, now));
        }
        let now = self.now();
        match progress {
            Progress::Begin { epochs, steps, .. } => {
                *lock(&self.pace) = Pace::new(*epochs, *steps);
            }
            Progress::Step { epoch, step, .. } => lock(&self.pace).step_done(*epoch, *step, now),
            Progress::Genotype(_) | Progress::Validate { .. } | Progress::End => {}
        }
    }

    fn phase_ends(&self, phase: &str, ended: Ended) {
        let Some(canvas) = &self.canvas else {
            return;
        };
        let (mut last, now) = (None, canvas.now());
        canvas.update(|block| last = Some(block.ended(phase, ended, now)));
        canvas.end(last);
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Leaves the terminal as it was before, whatever it shows.
    pub fn close(&self) {
        if let Some(canvas) = &self.canvas {
            canvas.end(None);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether values repeat others, or say what the closing table says.
fn is_for_files(path: &LogPath) -> bool {
    let last = path.0.last().map_or("", String::as_str);
    ["timings", "best_train", "best_val", "best_test"].contains(&last)
}

/// What a step or a pass measured, in a line:
/// `arch_train epoch 3/10 step 6/20  loss 2.291  top-1 15.6 %  0:34 left`, `arch_train epoch 3/10 val  loss …`.
fn result(path: &LogPath, values: &[(String, Value)], pace: &Pace, now: f64) -> Option<String> {
    let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
    let loss = values.iter().find(|(name, _)| name == "loss");
    let (_, loss) = loss?;
    let epochs = pace.epochs();
    let counted = |text: &str| Some(text.parse::<u64>().ok()? + 1);
    let (mut line, is_train) = match parts[..] {
        [.., training, "epochs", epoch, pass, "steps", step] => {
            let (epoch, step) = (counted(epoch)?, counted(step)?);
            let place = format!("{training} epoch {epoch}/{epochs} {pass} batch {step}");
            (place, false)
        }
        [.., training, "epochs", epoch, "steps", step] => {
            let (epoch, step) = (counted(epoch)?, counted(step)?);
            let steps = pace.steps();
            let place = format!("{training} epoch {epoch}/{epochs} step {step}/{steps}");
            (place, true)
        }
        [.., training, "epochs", epoch, name] => {
            let epoch = counted(epoch)?;
            let place = format!("{training} epoch {epoch}/{epochs} {name}");
            (place, name == "train")
        }
        [.., training, "test"] => (format!("{training} test"), false),
        _ => return None,
    };
    let number = |name: &str| {
        let (_, value) = values.iter().find(|(key, _)| key == name)?;
        value.as_f64()
    };
    match (loss.as_f64(), loss.as_str()) {
        (Some(loss), _) => drop(write!(line, "  loss {loss:.3}")),
        (None, Some(text)) => drop(write!(line, "  loss {text}")),
        (None, None) => line.push_str("  nothing was measured"),
    }
    if let Some(top1) = number("top1") {
        let _ = write!(line, "  top-1 {}", percent(top1));
    }
    if let Some(duration) = number("duration") {
        let _ = write!(line, "  {duration:.1} s");
    }
    if let Some(left) = pace.seconds_left(now).filter(|_| is_train) {
        let _ = write!(line, "  {} left", spent(left));
    }
    Some(line)
}

/// Other values as a line, whose place is said as that of [`result`]s: how a training begins in short.
fn other(path: &LogPath, values: &[(String, Value)], pace: &Pace) -> String {
    let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
    if let Some(training) = parts.last().and_then(|last| last.strip_suffix("__init__")) {
        let short = [
            "epochs",
            "train_batches",
            "val_batches",
            "parameters",
            "alphas",
        ];
        let short = |(name, _): &&(String, Value)| short.contains(&name.as_str());
        let short: Vec<_> = values.iter().filter(short).cloned().collect();
        return format!("{training} {}", log::line(&LogPath::root(), &short));
    }
    if let [.., training, "epochs", epoch, name] = parts[..]
        && let Ok(epoch) = epoch.parse::<u64>()
    {
        let values = log::line(&LogPath::root(), values);
        let (epoch, epochs) = (epoch + 1, pace.epochs());
        return format!("{training} epoch {epoch}/{epochs} {name}  {values}");
    }
    log::line(path, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn results_are_said_in_a_line_of_a_screen() {
        let mut pace = Pace::new(50, 391);
        pace.step_done(0, 0, 0.0);
        pace.step_done(9, 199, 3720.0);
        let values = [
            ("top1", json!(0.15625)),
            ("top5", json!(0.5)),
            ("loss", json!(2.291)),
        ];
        let values = values.map(|(name, value)| (name.to_string(), value));
        let training = LogPath::new("arch_search").join("arch_train");
        let epoch = training.join("epochs").join(9);
        let said = |path: &LogPath, values: &[(String, Value)]| result(path, values, &pace, 3720.0);
        let step = said(&epoch.join("steps").join(199), &values).unwrap();
        assert_eq!(
            step,
            "arch_train epoch 10/50 step 200/391  loss 2.291  top-1 15.6 %  4:23:59 left"
        );
        assert!(step.len() + "12:34:56 ".len() <= 85, "{step}");
        let mut pass = values.to_vec();
        pass.push(("duration".to_string(), json!(3.21)));
        assert_eq!(
            said(&epoch.join("val"), &pass).unwrap(),
            "arch_train epoch 10/50 val  loss 2.291  top-1 15.6 %  3.2 s"
        );
        assert_eq!(
            said(&epoch.join("val").join("steps").join(2), &values).unwrap(),
            "arch_train epoch 10/50 val batch 3  loss 2.291  top-1 15.6 %"
        );
        assert_eq!(
            said(&training.join("test"), &pass).unwrap(),
            "arch_train test  loss 2.291  top-1 15.6 %  3.2 s"
        );
        for (loss, expect) in [
            (
                json!(null),
                "arch_train epoch 10/50 val  nothing was measured",
            ),
            (json!("NaN"), "arch_train epoch 10/50 val  loss NaN"),
        ] {
            let values = [("loss".to_string(), loss)];
            assert_eq!(said(&epoch.join("val"), &values).unwrap(), expect);
        }
        // Others have no words of their own.
        assert_eq!(
            said(&epoch.join("guard"), &[("entropy".into(), json!(1))]),
            None
        );
        assert_eq!(said(&LogPath::new("train"), &values), None);
        let watched = [("entropy".to_string(), json!(0.95))];
        assert_eq!(
            other(&epoch.join("guard"), &watched, &pace),
            "arch_train epoch 10/50 guard  entropy=0.95"
        );
        assert_eq!(other(&LogPath::new("x"), &watched, &pace), "x entropy=0.95");
        let init = [
            ("epochs", json!(2)),
            ("lr", json!(0.1)),
            ("parameters", json!(9)),
        ];
        let init = init.map(|(name, value)| (name.to_string(), value));
        let place = LogPath::new("arch_search").join("arch_train__init__");
        assert_eq!(
            other(&place, &init, &pace),
            "arch_train epochs=2, parameters=9"
        );
    }
}
