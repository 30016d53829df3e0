//! Where the figures of a run go besides its log: `common.track`, and the flag `--track`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the figures of a run go besides its log: nowhere, unless asked for. No result depends on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Track {
    /// Trackers: `tensorboard` (event files in the run directory), `mlflow=URL` (an MLflow server, as
    /// `mlflow=http://127.0.0.1:5000`). `--track` sets it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// The experiment of MLflow that runs are put into. Left out, it is `archai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// How many seconds the end of a command waits for trackers that are behind.
    #[serde(default = "ten")]
    #[schemars(range(min = 0.0, max = 86400.0))]
    pub wait_seconds: f64,
}

fn ten() -> f64 {
    10.0
}

impl Default for Track {
    fn default() -> Self {
        Track {
            to: Vec::new(),
            experiment: None,
            wait_seconds: ten(),
        }
    }
}

impl Track {
    /// Whether nothing is asked for, as in configurations that do not know of trackers.
    pub(super) fn is_left_out(&self) -> bool {
        *self == Track::default()
    }

    /// What is asked for, each tracker once.
    ///
    /// # Errors
    /// Texts that name no tracker, and one that is named twice: (dotted key below this section, what is wrong).
    pub fn targets(&self) -> Result<Vec<TrackTarget>, (String, String)> {
        let mut targets: Vec<TrackTarget> = Vec::new();
        for text in &self.to {
            let target: TrackTarget = text.parse().map_err(|why| ("to".to_owned(), why))?;
            if targets.contains(&target) {
                let why = format!("`{target}` is named twice; once is enough");
                return Err(("to".to_owned(), why));
            }
            targets.push(target);
        }
        Ok(targets)
    }

    /// What does not go together: (dotted key below this section, what is wrong and how to mend it).
    pub(super) fn check(&self) -> Option<(String, String)> {
        let targets = match self.targets() {
            Ok(targets) => targets,
            Err(problem) => return Some(problem),
        };
        let experiment = self.experiment.as_deref()?;
        if experiment.trim().is_empty() {
            return Some((
                "experiment".to_owned(),
                "an experiment needs a name; leave the key out for `archai`".to_owned(),
            ));
        }
        let is_read = |target: &TrackTarget| matches!(target, TrackTarget::MlFlow(_));
        (!targets.iter().any(is_read)).then(|| {
            (
                "experiment".to_owned(),
                "only MLflow has experiments, and no mlflow=URL is in common.track.to; add one, or leave this key out"
                    .to_owned(),
            )
        })
    }
}

/// A tracker, and where it is.
///
/// ```
/// use archai_spec::settings::TrackTarget;
/// let target: TrackTarget = "mlflow=http://127.0.0.1:5000/".parse()?;
/// assert_eq!(target, TrackTarget::MlFlow("http://127.0.0.1:5000".into()));
/// assert_eq!(target.to_string(), "mlflow=http://127.0.0.1:5000");
/// assert!("mlflow".parse::<TrackTarget>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TrackTarget {
    /// Event files of TensorBoard in the run directory.
    TensorBoard,
    /// An MLflow server, by its address without a slash at the end.
    MlFlow(String),
}

impl fmt::Display for TrackTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrackTarget::TensorBoard => f.write_str("tensorboard"),
            TrackTarget::MlFlow(url) => write!(f, "mlflow={url}"),
        }
    }
}

impl FromStr for TrackTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.trim().split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (text.trim(), None),
        };
        match (name, value) {
            ("tensorboard", None) => Ok(TrackTarget::TensorBoard),
            ("tensorboard", Some(_)) => Err(
                "tensorboard takes no value: its files lie in the run directory; write `tensorboard` alone".to_owned(),
            ),
            ("mlflow", Some(url)) => Ok(TrackTarget::MlFlow(address(url)?)),
            ("mlflow", None) => Err(
                "mlflow needs the address of its server; write mlflow=URL, for example mlflow=http://127.0.0.1:5000"
                    .to_owned(),
            ),
            _ => Err(format!(
                "`{name}` is no tracker; expected tensorboard or mlflow=URL"
            )),
        }
    }
}

/// The address of a server: `http://HOST[:PORT][/PATH]`, without a slash at the end.
fn address(url: &str) -> Result<String, String> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err(format!(
            "`{url}` is no address of a server; expected http://HOST:PORT or https://HOST"
        ));
    };
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        // The address stands in files and in messages.
        return Err(
            "a name or a password does not belong into the address, which stands in files; give it in the variables \
             MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or a token in MLFLOW_TRACKING_TOKEN"
                .to_owned(),
        );
    }
    let is_plain = |c: char| c.is_ascii_graphic() && !['?', '#', '"', '<', '>', '\\'].contains(&c);
    if host.is_empty() || host.starts_with(':') || !rest.chars().all(is_plain) {
        return Err(format!(
            "`{url}` is no address of a server; expected http://HOST:PORT or https://HOST, without `?` and `#`"
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}
