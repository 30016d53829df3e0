//! What a run shows while it goes on: bars on a terminal, plain lines elsewhere. Everything goes to standard error, so
//! that standard output holds results alone.
//!
//! Places in the log (`arch_search/arch_train/epochs/0/train`) are keys, which count from 0 as in all files. What is said
//! beside them counts from 1.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use archai_lab::{LabEvent, log, summary::clock};
use archai_spec::desc::Genotype;
use archai_spec::event::{Event, Level, LogPath, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use jiff::Zoned;
use serde_json::Value;

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
    mode: Mode,
    loudness: Loudness,
    /// Width of the terminal, if it is one.
    width: Option<usize>,
    /// Warnings that were shown.
    said: Mutex<Vec<String>>,
    /// Notes that were shown: what is true of every network of a search need not be read of each.
    noted: Mutex<BTreeSet<String>>,
}

enum Mode {
    Lines(Mutex<Pace>),
    Bars { bars: Box<Bars>, colors: bool },
}

/// How fast a training goes, for those who read lines.
#[derive(Default)]
struct Pace {
    epochs: u64,
    steps: u64,
    begun: Option<Instant>,
    /// When the first step of this process was over, and its number from the beginning of the training.
    first: Option<(Instant, u64)>,
}

impl Pace {
    fn begin(&mut self, epochs: u64, steps: u64) {
        *self = Pace {
            epochs,
            steps,
            begun: Some(Instant::now()),
            first: None,
        };
    }

    /// What is said behind the values of a step or an epoch: where it is, and how long the training will take.
    fn said(&mut self, path: &LogPath, now: Instant) -> Option<String> {
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<u64>().ok();
        let (epoch, step) = match parts[..] {
            [.., "epochs", epoch, "steps", step] => (number(epoch)?, Some(number(step)?)),
            [.., "epochs", epoch, "train"] => (number(epoch)?, None),
            _ => return None,
        };
        let begun = self.begun.filter(|_| epoch < self.epochs)?;
        let done = epoch * self.steps + step.map_or(self.steps, |step| step + 1);
        let all = self.epochs * self.steps;
        let (since, first) = *self.first.get_or_insert((now, done));
        let mut text = format!("epoch {}/{}", epoch + 1, self.epochs);
        if let Some(step) = step {
            let _ = write!(text, ", step {}/{}", step + 1, self.steps);
        }
        let _ = write!(text, ", {} so far", clock(now - begun));
        // One step says nothing yet: the first takes longer than the others.
        if done > first && done <= all {
            let left = (now - since).as_secs_f64() / (done - first) as f64 * (all - done) as f64;
            let _ = write!(text, ", {} to go", clock(Duration::from_secs_f64(left)));
        }
        Some(text)
    }
}

struct Bars {
    all: MultiProgress,
    /// Steps of the phase.
    steps: ProgressBar,
    /// Loss and accuracy.
    state: ProgressBar,
    /// Best architecture, a line per kind of cell.
    cells: [ProgressBar; 2],
    phase: Mutex<Phase>,
}

#[derive(Default)]
struct Phase {
    title: String,
    epochs: u64,
    steps: u64,
    state: String,
}

impl Terminal {
    /// Bars where standard error is a terminal, lines elsewhere.
    pub fn new(env: &Env, loudness: Loudness) -> Self {
        let mode = match env.draws && loudness != Loudness::Quiet {
            true => Terminal::bars(ProgressDrawTarget::stderr(), env.colors),
            false => Mode::Lines(Mutex::default()),
        };
        Terminal {
            mode,
            loudness,
            width: error_width(),
            said: Mutex::default(),
            noted: Mutex::default(),
        }
    }

    /// The warnings that were shown.
    pub fn said(&self) -> Vec<String> {
        let said = self.said.lock();
        said.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bars on a target of the caller's choice.
    fn bars(target: ProgressDrawTarget, colors: bool) -> Mode {
        let all = MultiProgress::with_draw_target(target);
        let line = || ProgressBar::new(0).with_style(style("{msg}"));
        let bars = Bars {
            steps: line(),
            state: line(),
            cells: [line(), line()],
            phase: Mutex::default(),
            all,
        };
        Mode::Bars {
            bars: Box::new(bars),
            colors,
        }
    }

    /// Shows a line of its own, above the bars if there are any.
    pub fn say(&self, line: &str) {
        let line = wrapped(line, self.width, 4);
        match &self.mode {
            // A terminal that has gone is no reason to end a run of days: the log files go on.
            Mode::Lines(_) => drop(writeln!(std::io::stderr(), "{line}")),
            Mode::Bars { bars, .. } => drop(bars.all.println(line)),
        }
    }

    /// Shows a line that those who want quiet do not want to see.
    pub fn tell(&self, line: &str) {
        if self.loudness != Loudness::Quiet {
            self.say(line);
        }
    }

    /// Notes a warning that is shown.
    fn note(&self, text: &str) {
        let said = self.said.lock();
        said.unwrap_or_else(PoisonError::into_inner)
            .push(text.to_string());
    }

    /// Whether a note was not shown yet. Who wants all of the log gets repetitions, too.
    fn is_news(&self, text: &str) -> bool {
        let noted = self.noted.lock();
        let mut noted = noted.unwrap_or_else(PoisonError::into_inner);
        noted.insert(text.to_string()) || self.loudness == Loudness::Loud
    }

    /// Shows what happens in a lab, in words.
    pub fn show(&self, event: &LabEvent<'_>) {
        match event {
            LabEvent::Evaluating { desc } => self.tell(&format!("evaluating {}", desc.display())),
            LabEvent::JobBegins { title } => self.heading(title),
            LabEvent::NoEffect { text } => {
                self.note(text);
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
            }
            LabEvent::Emitted {
                event, time, shown, ..
            } if *shown || self.loudness == Loudness::Loud => match event {
                Event::Progress(progress) => self.progress(progress),
                Event::Message { level, text } if *level >= Level::Warning => {
                    self.note(text);
                    self.message(*level, text, time);
                }
                _ if self.loudness == Loudness::Quiet => {}
                Event::Values { path, values } => self.values(path, values, time),
                Event::Message { level, text } => {
                    if self.is_news(text) {
                        self.message(*level, text, time);
                    }
                }
            },
            LabEvent::PhaseEnds { .. } | LabEvent::JobEnds { .. } => self.clear(),
            // Events that are for files alone, and whatever later versions of the lab report besides.
            _ => {}
        }
    }

    /// Shows a heading.
    fn heading(&self, text: &str) {
        match &self.mode {
            Mode::Bars { colors: true, .. } => self.tell(&format!("\x1b[1m{text}\x1b[0m")),
            _ => self.tell(text),
        }
    }

    /// Shows a message of the log.
    fn message(&self, level: Level, text: &str, now: &Zoned) {
        let (name, color) = match level {
            Level::Debug => ("debug: ", "2"),
            Level::Info => ("", ""),
            Level::Warning => ("warning: ", "1;33"),
            Level::Error => ("error: ", "1;31"),
        };
        // A genotype is easier to read cell by cell.
        let found = text
            .split_once("Genotype(")
            .and_then(|(before, _)| Some((before.trim_end(), edges(text)?)));
        match &self.mode {
            Mode::Lines(_) => self.say(&format!("{} {name}{text}", now.strftime("%H:%M:%S"))),
            Mode::Bars { colors: true, .. } if !name.is_empty() => {
                self.say(&format!("  \x1b[{color}m{name}\x1b[0m{text}"))
            }
            Mode::Bars { .. } => match found {
                Some((before, cells)) => {
                    self.say(&format!("  {before}"));
                    cells.iter().for_each(|cell| self.say(&format!("  {cell}")));
                }
                None => self.say(&format!("  {name}{text}")),
            },
        }
    }

    /// Shows values of the log: all of them as lines; on a terminal, where bars show the steps, the result of each pass.
    fn values(&self, path: &LogPath, values: &[(String, Value)], now: &Zoned) {
        let loud = self.loudness == Loudness::Loud;
        // Lists, the architecture parameters of every edge say, are for the files.
        let short: Vec<_> = (values.iter())
            .filter(|(_, value)| loud || !value.is_array())
            .cloned()
            .collect();
        if short.is_empty() || (is_for_files(path) && !loud) {
            return;
        }
        match &self.mode {
            Mode::Lines(pace) => {
                let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                let is_result = values.iter().any(|(name, _)| name == "loss");
                let said = is_result.then(|| pace.said(path, Instant::now())).flatten();
                let said = said.map_or_else(String::new, |said| format!("   ({said})"));
                let line = log::line(path, &short);
                self.say(&format!("{} {line}{said}", now.strftime("%H:%M:%S")));
            }
            Mode::Bars { .. } => match pass(path, values) {
                Some(line) => self.say(&line),
                None if loud => self.say(&format!("  {}", log::line(path, &short))),
                None => {}
            },
        }
    }

    /// Moves the bars.
    fn progress(&self, progress: &Progress) {
        match &self.mode {
            Mode::Bars { bars, .. } => bars.update(progress),
            Mode::Lines(pace) => {
                if let Progress::Begin { epochs, steps, .. } = progress {
                    let mut pace = pace.lock().unwrap_or_else(PoisonError::into_inner);
                    pace.begin(*epochs, *steps);
                }
            }
        }
    }

    /// Takes the bars away, whatever they show.
    pub fn clear(&self) {
        if let Mode::Bars { bars, .. } = &self.mode {
            bars.end();
        }
    }
}

impl Bars {
    fn update(&self, progress: &Progress) {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Begin {
                title,
                epochs,
                steps,
            } => {
                *phase = Phase {
                    title: title.clone(),
                    epochs: *epochs,
                    steps: *steps,
                    state: String::new(),
                };
                self.begin(&phase);
            }
            Progress::Step {
                epoch,
                step,
                loss,
                top1,
                images_per_s,
            } => {
                self.steps.set_prefix(epoch_of(&phase, *epoch));
                self.steps.set_position(epoch * phase.steps + step + 1);
                let mut state = String::new();
                if let (Some(loss), Some(top1)) = (loss, top1) {
                    let _ = write!(state, "loss {loss:.3}   top-1 {:.1} %   ", 100.0 * top1);
                }
                phase.state = format!("{state}{} images/s", speed(*images_per_s));
                self.state.set_message(format!("  {}", phase.state));
            }
            Progress::Validate { title, done, total } => {
                self.state.set_message(format!(
                    "  {}   measuring {title} {done}/{total}",
                    phase.state
                ));
            }
            Progress::Genotype(text) => {
                for (line, text) in self.cells.iter().zip(cells(text)) {
                    line.set_message(text);
                }
            }
            Progress::End => {
                drop(phase);
                self.end();
            }
        }
    }

    fn begin(&self, phase: &Phase) {
        self.end();
        self.steps.reset();
        self.steps.set_length((phase.epochs * phase.steps).max(1));
        self.steps.set_prefix(epoch_of(phase, 0));
        self.steps.set_style(
            style("  {prefix} {bar:30.cyan/dim} step {pos}/{len}   {spent} so far, {left} to go")
                .progress_chars("━╸─")
                .with_key(
                    "spent",
                    |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                        let _ = out.write_str(&clock(state.elapsed()));
                    },
                )
                .with_key(
                    "left",
                    |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                        // Before the first step nobody knows.
                        let left = if state.pos() == 0 {
                            "…".to_string()
                        } else {
                            clock(state.eta())
                        };
                        let _ = out.write_str(&left);
                    },
                ),
        );
        for bar in [&self.steps, &self.state, &self.cells[0], &self.cells[1]] {
            self.all.add(bar.clone());
        }
        self.steps.enable_steady_tick(Duration::from_millis(200));
    }

    fn end(&self) {
        self.steps.disable_steady_tick();
        for bar in [&self.steps, &self.state, &self.cells[0], &self.cells[1]] {
            bar.set_message("");
            self.all.remove(bar);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; one that did not parse would show as the default line of bars.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn epoch_of(phase: &Phase, epoch: u64) -> String {
    if phase.epochs > 1 {
        format!("{} epoch {}/{}", phase.title, epoch + 1, phase.epochs)
    } else {
        phase.title.clone()
    }
}

fn speed(images_per_s: f64) -> String {
    if images_per_s < 10.0 {
        format!("{images_per_s:.1}")
    } else {
        format!("{images_per_s:.0}")
    }
}

/// Whether values repeat others, or say what the closing table says.
fn is_for_files(path: &LogPath) -> bool {
    let last = path.0.last().map_or("", String::as_str);
    ["timings", "best_train", "best_val", "best_test"].contains(&last)
}

/// One line for the result of a pass: `  epoch 3 train   top-1 15.6 %   top-5 56.2 %   loss 2.291   3.2 s`.
fn pass(path: &LogPath, values: &[(String, Value)]) -> Option<String> {
    let [.., before, name] = &path.0[..] else {
        return None;
    };
    if !["train", "val", "test"].contains(&name.as_str()) {
        return None;
    }
    let number = |key: &str| {
        values
            .iter()
            .find(|(k, _)| k == key)
            .and_then(|(_, v)| v.as_f64())
    };
    let mut line = match before.parse::<u64>() {
        Ok(epoch) => format!("  {:<10} {name:<5}", format!("epoch {}", epoch + 1)),
        Err(_) => format!("  {:<10} {name:<5}", "at the end"),
    };
    if values.iter().any(|(k, v)| k == "loss" && v.is_null()) {
        line.push_str("   nothing was measured");
    }
    for (key, label) in [("top1", "top-1"), ("top5", "top-5")] {
        if let Some(v) = number(key) {
            let _ = write!(line, "   {label} {:5.1} %", 100.0 * v);
        }
    }
    if let Some(v) = number("loss") {
        let _ = write!(line, "   loss {v:.3}");
    }
    if let Some(v) = number("duration") {
        let _ = write!(line, "   {v:.1} s");
    }
    Some(line)
}

/// The two lines that show the best architecture; texts that are no genotype take the first.
fn cells(genotype: &str) -> [String; 2] {
    edges(genotype).unwrap_or_else(|| [format!("  best so far: {genotype}"), String::new()])
}

/// A genotype as a line for each kind of cell: `  normal   sep_conv_3x3←0 skip_connect←1 | …`.
fn edges(genotype: &str) -> Option<[String; 2]> {
    let genotype = &genotype[genotype.find("Genotype(")?..];
    let genotype: Genotype = genotype.parse().ok()?;
    let line = |name: &str, nodes: &[Vec<(String, usize)>]| {
        let edge = |(op, state): &(String, usize)| format!("{op}←{state}");
        let nodes: Vec<String> = nodes
            .iter()
            .map(|node| node.iter().map(edge).collect::<Vec<_>>().join(" "))
            .collect();
        format!("  {name:<7} {}", nodes.join(" | "))
    };
    Some([
        line("normal", &genotype.normal),
        line("reduce", &genotype.reduce),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn genotypes_fit_on_two_lines() {
        let text = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), ('max_pool_3x3', 0)], \
                    normal_concat=[2, 3], reduce=[('max_pool_3x3', 0), ('skip_connect', 1)], reduce_concat=range(2, 3))";
        assert_eq!(
            cells(text),
            [
                "  normal  sep_conv_3x3←0 skip_connect←1 | dil_conv_5x5←2 max_pool_3x3←0",
                "  reduce  max_pool_3x3←0 skip_connect←1"
            ]
        );
        assert_eq!(cells("2 cells"), ["  best so far: 2 cells", ""]);
    }

    #[test]
    fn lines_say_where_a_training_is_and_how_long_it_takes() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let epochs = LogPath::new("arch_search")
            .join("arch_train")
            .join("epochs");
        let step = |epoch: usize, step: usize| epochs.join(epoch).join("steps").join(step);
        assert_eq!(pace.said(&step(0, 0), start), None, "nothing has begun");
        pace.begin(2, 10);
        pace.begun = Some(start);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        for (path, seconds, expect) in [
            (step(0, 0), 60, "epoch 1/2, step 1/10, 1:00 so far"),
            // Four more steps took 8 seconds; 15 are left.
            (
                step(0, 4),
                68,
                "epoch 1/2, step 5/10, 1:08 so far, 0:30 to go",
            ),
            (
                epochs.join(0).join("train"),
                78,
                "epoch 1/2, 1:18 so far, 0:20 to go",
            ),
            (
                epochs.join(1).join("train"),
                98,
                "epoch 2/2, 1:38 so far, 0:00 to go",
            ),
        ] {
            assert_eq!(pace.said(&path, after(seconds)).as_deref(), Some(expect));
        }
        let other = epochs.join(0).join("val").join("steps").join(0);
        assert_eq!(pace.said(&other, after(99)), None);
    }

    #[test]
    fn passes_differ_from_other_values() {
        let values = [
            ("top1", json!(0.15625)),
            ("loss", json!(2.291)),
            ("duration", json!(3.21)),
        ]
        .map(|(k, v)| (k.to_string(), v));
        let path = LogPath::new("arch_search").join("epochs").join(2);
        assert_eq!(pass(&path, &values), None);
        assert_eq!(
            pass(&path.join("val"), &values).unwrap(),
            "  epoch 3    val     top-1  15.6 %   loss 2.291   3.2 s"
        );
        assert_eq!(pass(&LogPath::new("train"), &values), None);
        let nothing = [
            ("top1", json!(null)),
            ("loss", json!(null)),
            ("duration", json!(1.0)),
        ];
        let nothing = nothing.map(|(k, v)| (k.to_string(), v));
        assert_eq!(
            pass(&path.join("train"), &nothing).unwrap(),
            "  epoch 3    train   nothing was measured   1.0 s"
        );
    }
}
