//! The log of a run as curves: what each training measured in its epochs and steps.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use archai_lab::log::LogEntry;
use archai_spec::event::{Event, Level};
use serde_json::Value;

use crate::ReportError;

/// Numbers by name.
pub type Numbers = BTreeMap<String, f64>;

/// What a log tells.
#[derive(Debug, Default)]
pub struct RunLog {
    /// The trainings, in the order in which they began.
    pub trainings: Vec<Training>,
    /// How the process began the phase: device, threads, version.
    pub run: BTreeMap<String, Value>,
    /// Warnings and errors, each once.
    pub warnings: Vec<String>,
    /// The last sentence.
    pub last_message: Option<String>,
    /// Lines that are no entries.
    pub damaged: usize,
    /// When the first and the last entry were written.
    pub times: Option<(String, String)>,
}

/// One training.
#[derive(Debug, Default)]
pub struct Training {
    /// Its place in the log, such as `arch_search/arch_train`.
    pub place: String,
    /// How it began: epochs, batches, parameters.
    pub init: BTreeMap<String, Value>,
    /// Its epochs, by number from 0.
    pub epochs: BTreeMap<u64, Epoch>,
    /// What steps measured: (epoch, step, numbers).
    pub steps: BTreeMap<(u64, u64), Numbers>,
    /// The test.
    pub test: Numbers,
}

/// One epoch.
#[derive(Debug, Default)]
pub struct Epoch {
    /// On training data.
    pub train: Numbers,
    /// On validation data.
    pub val: Numbers,
    /// What the guard watches.
    pub guard: Numbers,
    /// Architecture parameters of each edge: (cell, node, edge).
    pub alphas: BTreeMap<(usize, usize, usize), Vec<f64>>,
}

impl RunLog {
    /// Reads the log at `path`, line by line. Lines that are no entries are counted and left out: a process that was killed
    /// leaves half a line.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(path: &Path) -> Result<RunLog, ReportError> {
        let failed = |e| ReportError::io("read", path, e);
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let (mut log, mut line) = (RunLog::default(), Vec::new());
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                return Ok(log);
            }
            match LogEntry::parse(&line) {
                Some(entry) => log.take(entry),
                None if line.iter().all(u8::is_ascii_whitespace) => {}
                None => log.damaged += 1,
            }
        }
    }

    /// The training whose architecture parameters were searched.
    pub fn searched(&self) -> Option<&Training> {
        self.trainings.iter().find(|t| {
            t.epochs
                .values()
                .any(|e| !e.alphas.is_empty() || !e.guard.is_empty())
        })
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: LogEntry) {
        if let Some(time) = entry.time {
            let time = time.to_string();
            match &mut self.times {
                Some((_, last)) => *last = time,
                None => self.times = Some((time.clone(), time)),
            }
        }
        match entry.event {
            Event::Message { level, text } => {
                if level >= Level::Warning && !self.warnings.contains(&text) {
                    self.warnings.push(text.clone());
                }
                self.last_message = Some(text);
            }
            Event::Values { path, values } => self.place(&path.0, values),
            Event::Progress(_) => {}
        }
    }

    fn place(&mut self, path: &[String], values: Vec<(String, Value)>) {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["run"] => {
                self.run = values.into_iter().collect();
                return;
            }
            ["run", "end"] => {
                self.run.extend(values);
                return;
            }
            _ => {}
        }
        if let Some((last, before)) = parts.split_last()
            && let Some(name) = last.strip_suffix("__init__")
        {
            let place = before.iter().copied().chain([name]).collect::<Vec<_>>();
            self.training(&place.join("/")).init = values.into_iter().collect();
            return;
        }
        let Some(at) = parts.iter().position(|part| *part == "epochs") else {
            if let Some((&"test", before)) = parts.split_last() {
                self.training(&before.join("/"))
                    .test
                    .extend(numbers(&values));
            }
            return;
        };
        let Some(number) = parts.get(at + 1).and_then(|part| part.parse().ok()) else {
            return;
        };
        let training = self.training(&parts[..at].join("/"));
        match &parts[at + 2..] {
            ["steps", step] => {
                if let Ok(step) = step.parse() {
                    let at = training.steps.entry((number, step)).or_default();
                    at.extend(numbers(&values));
                }
            }
            [kind @ ("train" | "val" | "guard" | "alphas")] => {
                let epoch = training.epochs.entry(number).or_default();
                match *kind {
                    "train" => epoch.train.extend(numbers(&values)),
                    "val" => epoch.val.extend(numbers(&values)),
                    "guard" => epoch.guard.extend(numbers(&values)),
                    _ => epoch.alphas = alphas(&values),
                }
            }
            _ => {}
        }
    }

    fn training(&mut self, place: &str) -> &mut Training {
        let at = self.trainings.iter().position(|t| t.place == place);
        let at = at.unwrap_or_else(|| {
            self.trainings.push(Training {
                place: place.to_string(),
                ..Training::default()
            });
            self.trainings.len() - 1
        });
        &mut self.trainings[at]
    }
}

impl Training {
    /// A number of each epoch that has it, with the epoch's number from 1.
    pub fn curve(&self, of: impl Fn(&Epoch) -> Option<f64>) -> Vec<[f64; 2]> {
        let points = self
            .epochs
            .iter()
            .filter_map(|(n, e)| Some([*n as f64 + 1.0, of(e)?]));
        points.collect()
    }

    /// A number of each step that has it, against the epochs that were done by then.
    pub fn step_curve(&self, name: &str) -> Vec<[f64; 2]> {
        let told = self.init.get("train_batches").and_then(Value::as_u64);
        let most = self.steps.keys().map(|(_, step)| step + 1).max();
        let per_epoch = told.max(most).unwrap_or(1).max(1) as f64;
        let points = self.steps.iter().filter_map(|((epoch, step), numbers)| {
            let x = *epoch as f64 + (*step as f64 + 1.0) / per_epoch;
            Some([x, *numbers.get(name)?])
        });
        points.collect()
    }

    /// The last epoch.
    pub fn last(&self) -> Option<&Epoch> {
        self.epochs.values().next_back()
    }

    /// How many epochs it was to have.
    pub fn planned_epochs(&self) -> Option<u64> {
        self.init.get("epochs").and_then(Value::as_u64)
    }
}

/// The finite numbers among values; the log writes others as texts.
fn numbers(values: &[(String, Value)]) -> Numbers {
    let there = values
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    there.filter(|(_, value)| value.is_finite()).collect()
}

/// `cell0.node1.edge2` with its numbers. What is named otherwise, or holds what is no number, is no edge.
fn alphas(values: &[(String, Value)]) -> BTreeMap<(usize, usize, usize), Vec<f64>> {
    let edges = values.iter().filter_map(|(name, value)| {
        let mut parts = name.split('.');
        let mut part = |prefix: &str| parts.next()?.strip_prefix(prefix)?.parse().ok();
        let key = (part("cell")?, part("node")?, part("edge")?);
        let numbers = value.as_array()?.iter().map(Value::as_f64);
        Some((key, numbers.collect::<Option<Vec<f64>>>()?))
    });
    edges.collect()
}
