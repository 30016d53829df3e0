//! A user's own program as an evaluator: it gets a network as JSON on its input and writes its numbers as JSON to its output.
//!
//! The input is one line:
//!
//! ```json
//! {"trial": 3, "attempt": 0, "id": "nb201-220223", "choices": [2, 2, 0, 2, 2, 3], "recipe": {}, "epochs": [0, 12], "seed": 17,
//!  "folder": "search/trials/3", "model": "…"}
//! ```
//!
//! `model` is the network's description, left out where the space has none; `folder` is the trial's own, in which a
//! checkpoint may lie that an earlier job of the trial left. Of the output every line that is a JSON object counts, others are
//! ignored. `{"epochs": 3, "values": {"accuracy": 0.71}}` reports how far it is, and `{"accuracy": 0.93, "latency": 1.8}` is the
//! result. A program whose network cannot win any more is ended.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::evaluator::{EvalError, Evaluator, Job, Reports, Verdict};
use crate::quantity::{Quantity, Values};

/// A user's program.
///
/// ```
/// use archai_search::command::CommandEvaluator;
/// use archai_search::{Direction, Evaluator, Quantity};
/// use std::time::Duration;
/// let accuracy = Quantity::new("accuracy", Direction::Maximise);
/// let program = CommandEvaluator::new(["python", "train.py"], [accuracy]).time_limit(Duration::from_secs(3600));
/// assert_eq!(program.quantities().len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct CommandEvaluator {
    command: Vec<String>,
    quantities: Vec<Quantity>,
    limit: Option<Duration>,
}

impl CommandEvaluator {
    /// A program with its arguments, and the quantities that it finds out.
    pub fn new<S: Into<String>>(
        command: impl IntoIterator<Item = S>,
        quantities: impl IntoIterator<Item = Quantity>,
    ) -> Self {
        CommandEvaluator {
            command: command.into_iter().map(Into::into).collect(),
            quantities: quantities.into_iter().collect(),
            limit: None,
        }
    }

    /// After so long it is ended, with all programs that it started, and the network counts as failed.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

/// How often requests to end are looked for.
const TICK: Duration = Duration::from_millis(50);
/// Most bytes of messages that are kept of a program's error output.
const KEPT: usize = 4_000;

/// A line of a program's output.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    epochs: u32,
    values: Values,
}

/// A program and those that it started, all of which end when this is dropped.
struct Group {
    child: Child,
}

impl Group {
    fn end(&mut self) {
        // The group has the number of its first process, which is not given away before it was waited for.
        #[cfg(unix)]
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        let _ = self.child.wait();
    }
}

/// What an evaluation waits for.
enum Message {
    Line(String),
    Closed,
    Tick,
}

/// Sends what a program writes, line by line, and ticks between.
fn messages(output: impl Read + Send + 'static) -> Receiver<Message> {
    let (sender, receiver) = channel();
    let ticks = sender.clone();
    std::thread::spawn(move || {
        // Nobody listens any more once the evaluation is over.
        while ticks.send(Message::Tick).is_ok() {
            std::thread::sleep(TICK);
        }
    });
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else {
                break;
            };
            let text = String::from_utf8_lossy(&line).into_owned();
            if sender.send(Message::Line(text)).is_err() {
                return;
            }
        }
        let _ = sender.send(Message::Closed);
    });
    receiver
}

/// Keeps the end of what a program says of its troubles.
fn tail(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..n]);
            if kept.len() > 2 * KEPT {
                kept.drain(..kept.len() - KEPT);
            }
        }
        let _ = sender.send(kept);
    });
    receiver
}

/// Where a program was ended by the system, it is the machine's fault.
fn ended(status: ExitStatus, program: &str, messages: &str) -> EvalError {
    let messages: Vec<&str> = messages
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = messages[messages.len().saturating_sub(5)..].join("\n");
    let message = format!("`{program}` ended with {status}: {last}");
    match status.code() {
        Some(_) => EvalError::network(message),
        None => EvalError::machine(message),
    }
}

impl CommandEvaluator {
    fn input(&self, job: &Job<'_>) -> Result<String, EvalError> {
        let broken = |e: serde_json::Error| EvalError::network(e.to_string());
        let mut input = json!({
            "trial": job.trial,
            "attempt": job.attempt,
            "id": job.id,
            "choices": job.member.choices,
            "recipe": serde_json::to_value(job.recipe()?).map_err(broken)?,
            "epochs": [job.epochs.0, job.epochs.1],
            // 53 bits, so that every reader of JSON gets the same number.
            "seed": job.key.rng().next_u64() >> 11,
            "folder": job.folder.map(Path::to_string_lossy),
        });
        if let Ok(desc) = job.describe() {
            let text = desc
                .to_yaml()
                .map_err(|e| EvalError::network(e.to_string()))?;
            input["model"] = text.into();
        }
        serde_json::to_string(&input).map_err(broken)
    }
}

impl Evaluator for CommandEvaluator {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(EvalError::setup(
                "the command is empty; give a program and its arguments such as [\"python\", \"train.py\"]",
            ));
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let input = self.input(job)?;
        let child = command.spawn().map_err(|e| {
            let hint = "check its name, and that it may be executed";
            EvalError::setup(format!(
                "the program `{program}` cannot be started: {e}; {hint}"
            ))
        })?;
        let mut group = Group { child };
        let missing = || EvalError::machine(format!("`{program}` has no input or output"));
        let mut stdin = group.child.stdin.take().ok_or_else(missing)?;
        let output = messages(group.child.stdout.take().ok_or_else(missing)?);
        let troubles = tail(group.child.stderr.take().ok_or_else(missing)?);
        // A program that does not read its input has its reasons. In a thread, because one that writes first would wait for ever.
        std::thread::spawn(move || {
            let _ = stdin
                .write_all(input.as_bytes())
                .and_then(|()| stdin.write_all(b"\n"));
        });
        let mut waited = Duration::ZERO;
        let mut result = None;
        let mut line_number = 0;
        let (mut closed, mut ended_for) = (false, 0);
        let status = loop {
            match output.recv() {
                Ok(Message::Line(line)) => {
                    line_number += 1;
                    if !line.trim_start().starts_with('{') {
                        continue;
                    }
                    if let Ok(report) = serde_json::from_str::<Report>(&line) {
                        if reports.report(report.epochs, &report.values) != Verdict::Go {
                            return Ok(report.values);
                        }
                        continue;
                    }
                    let values = serde_json::from_str::<Values>(&line).map_err(|e| {
                        EvalError::network(format!(
                            "line {line_number} of what `{program}` wrote is no result: {e}; expected an object of numbers such as \
                             {{\"accuracy\": 0.93}}"
                        ))
                    })?;
                    result = Some(values);
                    continue;
                }
                Ok(Message::Closed) | Err(_) => closed = true,
                Ok(Message::Tick) => {
                    waited += TICK;
                    self.check(job, program, waited)?;
                }
            }
            let status = group.child.try_wait();
            let status =
                status.map_err(|e| EvalError::machine(format!("`{program}` is lost: {e}")))?;
            if let Some(status) = status {
                // A program that it left behind may keep the output open; what was written has arrived soon.
                ended_for += 1;
                if closed || ended_for > 20 {
                    break status;
                }
            }
        };
        group.end();
        if !status.success() {
            let troubles = troubles
                .recv_timeout(Duration::from_secs(1))
                .unwrap_or_default();
            return Err(ended(status, program, &String::from_utf8_lossy(&troubles)));
        }
        result.ok_or_else(|| {
            EvalError::network(format!(
                "`{program}` wrote no result; expected a line such as {{\"accuracy\": 0.93}} on its standard output"
            ))
        })
    }
}

impl CommandEvaluator {
    fn check(&self, job: &Job<'_>, program: &str, waited: Duration) -> Result<(), EvalError> {
        if job.stop.is_requested() {
            return Err(EvalError::machine("the search was asked to end"));
        }
        match self.limit {
            Some(limit) if waited >= limit => Err(EvalError::network(format!(
                "`{program}` was ended because it ran longer than {} s",
                limit.as_secs_f64()
            ))),
            _ => Ok(()),
        }
    }
}
