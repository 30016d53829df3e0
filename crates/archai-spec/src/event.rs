//! What happens during a run, as values: the trainer emits [`Event`]s, the binary writes them to `log.log`,
//! `log.jsonl`, `log.yaml` and the terminal. Libraries never print.

use serde::{Deserialize, Serialize};

/// A place in the hierarchical log, for example `arch_search/arch_train/epochs/0/train`.
///
/// ```
/// use archai_spec::event::LogPath;
/// let path = LogPath::new("arch_search").join("epochs").join(3);
/// assert_eq!(path.to_string(), "arch_search/epochs/3");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogPath(pub Vec<String>);

impl LogPath {
    /// A path of one part.
    pub fn new(part: impl ToString) -> Self {
        LogPath(vec![part.to_string()])
    }
    /// The root of the log.
    pub fn root() -> Self {
        LogPath(Vec::new())
    }
    /// This path with one more part.
    pub fn join(&self, part: impl ToString) -> Self {
        let mut parts = self.0.clone();
        parts.push(part.to_string());
        LogPath(parts)
    }
}

impl std::fmt::Display for LogPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Detail for developers.
    Debug,
    /// The ordinary course of a run.
    Info,
    /// Something that the user should know of, although the run goes on.
    Warning,
    /// Something that ends the run.
    Error,
}

/// One thing that happened. Accuracies are fractions in `[0, 1]`, durations are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Named values at a place of the log; a repeated key replaces the value in `log.yaml`.
    Values {
        /// Where in the log.
        path: LogPath,
        /// Names and values, in the order in which they are shown.
        values: Vec<(String, serde_json::Value)>,
    },
    /// A sentence for people.
    Message {
        /// How urgent it is.
        level: Level,
        /// The sentence.
        text: String,
    },
    /// A step of a live view. Not kept in any file.
    Progress(Progress),
}

/// Where a phase stands. Only live views use it; everything worth keeping is also an [`Event::Values`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A phase begins, for example `arch_train` or `eval_train`.
    Begin {
        /// Title of the phase.
        title: String,
        /// Epochs that it will take.
        epochs: u64,
        /// Steps of one epoch.
        steps: u64,
    },
    /// A training step ended.
    Step {
        /// Epoch, from 0.
        epoch: u64,
        /// Step within the epoch, from 0.
        step: u64,
        /// Mean loss of the epoch so far; none if no step counted.
        loss: Option<f64>,
        /// Mean top-1 accuracy of the epoch so far; none if no step counted.
        top1: Option<f64>,
        /// Images per second in this step.
        images_per_s: f64,
    },
    /// Validation or test batches passed so far.
    Validate {
        /// Title of the pass, for example `search_val`.
        title: String,
        /// Batches done.
        done: u64,
        /// Batches in all.
        total: u64,
    },
    /// The best architecture at this moment, as a genotype string (or a short description where none exists).
    Genotype(String),
    /// The phase ended.
    End,
}

/// Receives the events of a run. A sink that cannot keep an event (a full disk) says so, and the run stops.
pub trait EventSink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event) -> std::io::Result<()>;
}

/// A sink that forgets everything: for tests and for callers that want no log.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _event: Event) -> std::io::Result<()> {
        Ok(())
    }
}

/// Builds [`Event::Values`] from pairs of names and anything that becomes JSON.
///
/// ```
/// use archai_spec::{event::{Event, LogPath}, values};
/// let event = values!(LogPath::new("train"), "top1" => 0.5, "epoch" => 3);
/// assert!(matches!(event, Event::Values { ref values, .. } if values.len() == 2));
/// ```
#[macro_export]
macro_rules! values {
    ($path:expr, $($name:expr => $value:expr),+ $(,)?) => {
        $crate::event::Event::Values {
            path: $path,
            values: vec![$(($name.to_string(), $crate::event::json($value))),+],
        }
    };
}

/// A value as JSON. A float that JSON cannot hold (NaN, infinity) becomes the string `NaN`, `inf` or `-inf`, so
/// that it stays visible instead of turning into null.
pub fn json(value: impl Into<LogValue>) -> serde_json::Value {
    value.into().0
}

/// A value of the log; see [`json`].
pub struct LogValue(serde_json::Value);

impl From<f64> for LogValue {
    fn from(v: f64) -> Self {
        LogValue(if v.is_finite() {
            v.into()
        } else {
            v.to_string().into()
        })
    }
}
impl From<f32> for LogValue {
    fn from(v: f32) -> Self {
        f64::from(v).into()
    }
}
macro_rules! log_value {
    ($($t:ty),+) => {$(
        impl From<$t> for LogValue {
            fn from(v: $t) -> Self {
                LogValue(v.into())
            }
        }
    )+};
}
log_value!(
    bool,
    u32,
    u64,
    usize,
    i32,
    i64,
    &str,
    String,
    serde_json::Value
);
impl<T: Into<LogValue>> From<Vec<T>> for LogValue {
    fn from(v: Vec<T>) -> Self {
        LogValue(v.into_iter().map(|x| x.into().0).collect())
    }
}
impl<T: Into<LogValue>> From<Option<T>> for LogValue {
    fn from(v: Option<T>) -> Self {
        v.map_or(LogValue(serde_json::Value::Null), Into::into)
    }
}
