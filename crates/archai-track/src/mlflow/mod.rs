//! MLflow, through the REST interface of its server.
//!
//! A run directory is one run of the server, in the experiment that `common.track.experiment` names. The server says which steps
//! of which metrics it has, and gets those that follow. So nothing is shown twice, however often a run is resumed or a
//! connection breaks: a run that is resumed computes the same numbers again, and of those the server has the first.

mod commit;
mod limits;
mod rest;
mod state;

use std::collections::{HashMap, HashSet};

use archai_lab::{Host, RunDir};
use archai_spec::settings::{Track, TrackTarget};
use jiff::Timestamp;
use serde_json::{Value, json};

use rest::{Rest, RestError};
use state::ServerRun;

use crate::error::TrackError;
use crate::facts::{Ending, RunFacts};
use crate::observer::{Notice, Notices};
use crate::point::{Point, What};
use crate::tracker::Tracker;

/// The experiment, unless `common.track.experiment` names one.
const EXPERIMENT: &str = "archai";
/// The tag by which a run is found whose number was lost.
const TOKEN: &str = "archai.token";
/// What the server says of something that is not there.
const NOT_THERE: &str = "RESOURCE_DOES_NOT_EXIST";

/// Shows runs to an MLflow server.
pub struct MlFlow {
    url: String,
    experiment: String,
    rest: Rest,
    host: Host,
    notices: Notices,
    open: Option<Open>,
    /// What was refused is said once.
    refused: HashSet<String>,
}

/// The run as the server has it.
struct Open {
    experiment_id: String,
    run_id: String,
    artifacts: String,
    /// The greatest step of each metric that the server has.
    steps: HashMap<String, u64>,
    /// The time of the last point.
    time: Timestamp,
}

/// A metric at a step.
#[derive(Clone, Debug, PartialEq)]
struct Metric {
    key: String,
    value: f64,
    step: u64,
    time: Timestamp,
}

impl MlFlow {
    /// The server at `url`. Its credentials and proxies are among the variables of the host.
    ///
    /// # Errors
    /// A proxy that is none.
    pub fn new(
        url: &str,
        settings: &Track,
        host: &Host,
        notices: &Notices,
    ) -> Result<Self, TrackError> {
        let experiment = settings.experiment.as_deref().unwrap_or(EXPERIMENT);
        Ok(MlFlow {
            url: url.to_string(),
            experiment: experiment.to_string(),
            rest: Rest::new(url, &host.vars)?,
            host: host.clone(),
            notices: notices.clone(),
            open: None,
            refused: HashSet::new(),
        })
    }

    /// The number of the experiment, which is made if it is not there.
    fn experiment(&self) -> Result<String, TrackError> {
        let query = [("experiment_name", self.experiment.as_str())];
        let found = match self.rest.get("experiments/get-by-name", &query) {
            Ok(found) => found,
            Err(RestError::Refused { code, .. }) if code == NOT_THERE => {
                let body = json!({ "name": self.experiment });
                match self.rest.post("experiments/create", &body) {
                    Ok(made) => return text(&made, "/experiment_id"),
                    // Another run has made it meanwhile.
                    Err(RestError::Refused { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => {
                        self.rest.get("experiments/get-by-name", &query)?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if found.pointer("/experiment/lifecycle_stage") == Some(&json!("deleted")) {
            return Err(TrackError::Server(format!(
                "the experiment `{}` was deleted on {}; restore it there, or name another one in common.track.experiment",
                self.experiment, self.url
            )));
        }
        text(&found, "/experiment/experiment_id")
    }

    /// The run of the server that is kept for this directory, if the server still has it.
    fn known_run(&self, kept: &ServerRun, experiment: &str) -> Result<Option<Value>, TrackError> {
        if let Some(id) = &kept.run_id {
            match self.rest.get("runs/get", &[("run_id", id)]) {
                Ok(found) => {
                    let is_deleted =
                        found.pointer("/run/info/lifecycle_stage") == Some(&json!("deleted"));
                    return Ok(found.get("run").filter(|_| !is_deleted).cloned());
                }
                Err(RestError::Refused { code, .. }) if code == NOT_THERE => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let body = json!({
            "experiment_ids": [experiment],
            "filter": format!("tags.`{TOKEN}` = '{}'", kept.token),
            "max_results": 1,
        });
        let found = self.rest.post("runs/search", &body)?;
        Ok(found.pointer("/runs/0").cloned())
    }

    fn create(&self, run: &RunFacts, experiment: &str, token: &str) -> Result<Value, TrackError> {
        let started = &run.started;
        let begun = first_time(run)?.map_or(
            (self.host.clock.now() * 1e3) as i64,
            Timestamp::as_millisecond,
        );
        let mut tags = vec![
            (TOKEN, token.to_string()),
            ("mlflow.source.name", "archai".to_string()),
            ("mlflow.source.type", "LOCAL".to_string()),
            ("archai.version", started.program.clone()),
            ("archai.phase", started.phase.to_string()),
            ("archai.algorithm", started.algorithm.clone()),
            ("archai.digest", started.digest.clone()),
            ("archai.directory", run.dir.path().display().to_string()),
            ("archai.host", self.host.name.clone()),
            ("archai.arguments", started.arguments.join(" ")),
        ];
        let vars = &self.host.vars;
        let user = ["LOGNAME", "USER"]
            .into_iter()
            .find_map(|name| vars.get(name));
        tags.extend(user.map(|user| ("mlflow.user", user.clone())));
        // What is checked out later is not what ran.
        if run.ending()?.is_none()
            && let Some(commit) = commit::of_folder(&started.folder)
        {
            tags.push(("mlflow.source.git.commit", commit));
        }
        let tags: Vec<Value> = tags
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| json!({ "key": key, "value": limits::tag(value) }))
            .collect();
        let body = json!({
            "experiment_id": experiment,
            "run_name": run.name(),
            "start_time": begun,
            "tags": tags,
        });
        let made = self.rest.post("runs/create", &body)?;
        made.get("run").cloned().ok_or_else(|| unexpected("run"))
    }

    /// Sends the settings that the server does not have. Those it has stay: MLflow's parameters do not change.
    fn send_params(&mut self, run: &RunFacts, known: &HashSet<&str>) -> Result<(), TrackError> {
        let started = &run.started;
        let own = [
            ("algorithm", Value::from(started.algorithm.as_str())),
            ("device", Value::from(started.device.as_str())),
            ("engine", Value::from(started.engine.as_str())),
        ];
        let settings = run.settings().map(|(name, value)| (name, value.clone()));
        let params: Vec<Value> = own
            .into_iter()
            .chain(settings)
            .map(|(name, value)| (limits::name(name), value))
            .filter(|(name, _)| !known.contains(name.as_str()))
            .map(|(name, value)| {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_string);
                json!({ "key": name, "value": limits::value(&text) })
            })
            .collect();
        for batch in params.chunks(limits::PARAMS) {
            self.send_batch("params", batch)?;
        }
        Ok(())
    }

    /// Sends a batch of one kind; what the server refuses of it is left out and said once.
    fn send_batch(&mut self, kind: &str, batch: &[Value]) -> Result<(), TrackError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        if batch.is_empty() {
            return Ok(());
        }
        let body = json!({ "run_id": open.run_id, kind: batch });
        match self.rest.post("runs/log-batch", &body) {
            Ok(_) => Ok(()),
            Err(RestError::Refused { code, .. }) if code == NOT_THERE => Err(TrackError::Server(
                format!("the run was deleted on {}", self.url),
            )),
            Err(RestError::Refused { message, .. }) => match batch {
                [one] => {
                    let key = one["key"].as_str().unwrap_or_default();
                    self.say_refused(key, &message);
                    Ok(())
                }
                batch => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    self.send_batch(kind, first)?;
                    self.send_batch(kind, second)
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    fn say_refused(&mut self, what: &str, why: &str) {
        if self.refused.insert(what.to_string()) {
            (self.notices)(Notice::Refused {
                target: TrackTarget::MlFlow(self.url.clone()),
                what: format!("{what}: {why}"),
            });
        }
    }

    /// Sends the metrics that the server does not have.
    fn send_metrics(&mut self, metrics: Vec<Metric>) -> Result<(), TrackError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let is_new = |metric: &Metric| open.steps.get(&metric.key).is_none_or(|s| metric.step > *s);
        let new: Vec<Metric> = metrics.into_iter().filter(is_new).collect();
        for batch in new.chunks(limits::METRICS) {
            let body: Vec<Value> = batch.iter().map(Metric::to_json).collect();
            self.send_batch("metrics", &body)?;
            if let Some(open) = &mut self.open {
                let sent = batch.iter().map(|metric| (metric.key.clone(), metric.step));
                open.steps.extend(sent);
            }
        }
        Ok(())
    }

    /// Sends the files of the run, where the server takes them.
    fn send_files(&mut self, run: &RunFacts) -> Result<(), TrackError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let root = match artefacts_below(&open.artifacts) {
            Some(root) => root.to_string(),
            None => {
                let why = format!(
                    "the server keeps them at {} and does not take them itself; start it with --serve-artifacts",
                    open.artifacts
                );
                self.say_refused("the files of the run", &why);
                return Ok(());
            }
        };
        for (name, path) in run.files()? {
            match self.rest.put_artefact(&format!("{root}/{name}"), &path) {
                Ok(()) => {}
                Err(RestError::Refused { message, .. }) => self.say_refused(&name, &message),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn set_status(&self, status: &str, end: Option<Timestamp>) -> Result<(), TrackError> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let mut body = json!({ "run_id": open.run_id, "status": status });
        if let Some(end) = end {
            body["end_time"] = json!(end.as_millisecond());
        }
        self.rest.post("runs/update", &body)?;
        Ok(())
    }
}

impl Tracker for MlFlow {
    fn begin(&mut self, run: &RunFacts) -> Result<(), TrackError> {
        self.open = None;
        let experiment_id = self.experiment()?;
        let mut kept = state::read(&run.dir, &self.url)?.unwrap_or_default();
        if kept.token.is_empty() {
            kept.token = token(run, &self.host)?;
            state::write(&run.dir, &self.url, &kept)?;
        }
        let found = match self.known_run(&kept, &experiment_id)? {
            Some(found) => found,
            None => {
                if kept.run_id.take().is_some() {
                    // Somebody has deleted it; the new one is another.
                    kept.token = token(run, &self.host)?;
                    state::write(&run.dir, &self.url, &kept)?;
                }
                self.create(run, &experiment_id, &kept.token)?
            }
        };
        let run_id = text(&found, "/info/run_id")?;
        kept.run_id = Some(run_id.clone());
        // It stays where it was begun.
        let experiment_id = text(&found, "/info/experiment_id")?;
        kept.experiment_id = Some(experiment_id.clone());
        state::write(&run.dir, &self.url, &kept)?;
        self.open = Some(Open {
            experiment_id,
            run_id,
            artifacts: text(&found, "/info/artifact_uri")?,
            steps: steps_of(&found),
            time: Timestamp::UNIX_EPOCH,
        });
        if found.pointer("/info/status") != Some(&json!("RUNNING")) {
            self.set_status("RUNNING", None)?;
        }
        self.send_params(run, &keys_of(&found, "/data/params"))
    }

    fn write(&mut self, points: &[Point]) -> Result<(), TrackError> {
        if let (Some(open), Some(last)) = (&mut self.open, points.last()) {
            open.time = last.time;
        }
        // Weights of ops are pictures elsewhere: as metrics they would be hundreds.
        let metrics = points.iter().filter_map(|point| match point.what {
            What::Number(value) => Some(Metric {
                key: limits::name(&point.curve),
                value,
                step: point.step,
                time: point.time,
            }),
            What::Weights(_) => None,
        });
        self.send_metrics(metrics.collect())
    }

    fn end(&mut self, run: &RunFacts, ending: Ending) -> Result<(), TrackError> {
        let Some(time) = self.open.as_ref().map(|open| open.time) else {
            return Ok(());
        };
        let figures = run.figures()?.into_iter();
        let figures = figures.map(|(name, value)| Metric {
            key: limits::name(&name),
            value,
            step: 0,
            time,
        });
        self.send_metrics(figures.collect())?;
        let mut tags = Vec::new();
        if let Some(summary) = run.summary()? {
            tags.push(json!({ "key": "mlflow.note.content", "value": limits::tag(&summary) }));
        }
        self.send_batch("tags", &tags)?;
        self.send_files(run)?;
        self.set_status(status(ending), Some(time))
    }

    fn close(&self, dir: &RunDir, ending: Ending) -> Result<(), TrackError> {
        // A run that the server does not know of is not shown to go on.
        let kept = state::read(dir, &self.url)?.unwrap_or_default();
        let Some(run_id) = kept.run_id else {
            return Ok(());
        };
        let now = (self.host.clock.now() * 1e3) as i64;
        let body = json!({ "run_id": run_id, "status": status(ending), "end_time": now });
        self.rest.post("runs/update", &body)?;
        Ok(())
    }

    fn place(&self) -> Option<String> {
        let open = self.open.as_ref()?;
        Some(format!(
            "{}/#/experiments/{}/runs/{}",
            self.url, open.experiment_id, open.run_id
        ))
    }
}

impl Metric {
    fn to_json(&self) -> Value {
        // JSON has no such numbers; MLflow takes their names in protobuf's JSON.
        let value = match self.value {
            v if v.is_nan() => json!("NaN"),
            f64::INFINITY => json!("Infinity"),
            f64::NEG_INFINITY => json!("-Infinity"),
            v => json!(v),
        };
        json!({ "key": self.key, "value": value, "timestamp": self.time.as_millisecond(), "step": self.step })
    }
}

/// A word that no other run has. Of a run whose log has begun it is always the same, by which the run is found if what is kept of
/// it is lost.
fn token(run: &RunFacts, host: &Host) -> Result<String, TrackError> {
    let begun = match first_time(run)? {
        Some(first) => first.to_string(),
        None => format!("{} {}", host.clock.now(), host.process),
    };
    let place = run.dir.path().display().to_string();
    let mut hasher = blake3::Hasher::new();
    for part in [&host.name, &begun, &place, &run.started.digest] {
        hasher.update(part.as_bytes()).update(b"\n");
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}

/// When the log begins, if it is there.
fn first_time(run: &RunFacts) -> Result<Option<Timestamp>, TrackError> {
    Ok(run.dir.log()?.into_iter().find_map(|entry| entry.time))
}

/// Where a run's artefacts lie below those that the server hands through: `mlflow-artifacts:/1/abc/artifacts`.
fn artefacts_below(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("mlflow-artifacts:/")?;
    // With two slashes it is the address of another server.
    (!rest.starts_with('/')).then_some(rest.trim_end_matches('/'))
}

/// The greatest step of each metric.
fn steps_of(run: &Value) -> HashMap<String, u64> {
    let metrics = run.pointer("/data/metrics").and_then(Value::as_array);
    let metrics = metrics.into_iter().flatten().filter_map(|metric| {
        // The step 0 is left out by protobuf's JSON.
        let step = metric.get("step").and_then(whole).unwrap_or(0);
        Some((metric["key"].as_str()?.to_string(), step))
    });
    metrics.collect()
}

/// What MLflow calls the state of a run that ended so.
fn status(ending: Ending) -> &'static str {
    match ending {
        Ending::Complete => "FINISHED",
        Ending::Stopped => "KILLED",
        Ending::Failed => "FAILED",
    }
}

/// Whole numbers of 64 bits may be texts in protobuf's JSON.
fn whole(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn keys_of<'a>(run: &'a Value, place: &str) -> HashSet<&'a str> {
    let all = run.pointer(place).and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|one| one["key"].as_str())
        .collect()
}

fn text(value: &Value, place: &str) -> Result<String, TrackError> {
    let found = value.pointer(place).and_then(Value::as_str);
    found.map(str::to_string).ok_or_else(|| unexpected(place))
}

fn unexpected(place: &str) -> TrackError {
    TrackError::Server(format!(
        "the server's answer has no `{place}`; check that the address is that of an MLflow server"
    ))
}
