//! A server that does what MLflow's does, as far as trackers ask, or something worse.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Habit {
    Good,
    /// Answers with this status, and a page.
    Page(u16),
    /// Answers 200 with what is no JSON.
    Garbage,
    /// Hangs up without an answer.
    HangsUp,
    /// Says that much is to come, and hangs up.
    BreaksOff,
    /// Says nothing for longer than anybody waits.
    Silent,
    /// Does what is asked and hangs up instead of answering.
    Forgets,
    /// Sends on to another place.
    Redirects,
    /// Has no time for anything but the states of runs.
    Busy,
}

#[derive(Clone, Debug, Default)]
pub struct Run {
    pub name: String,
    pub experiment: String,
    pub status: String,
    pub end_time: Option<i64>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    /// (name, step, time, value) of every row.
    pub metrics: Vec<(String, u64, i64, String)>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub is_deleted: bool,
}

impl Run {
    /// The rows of a metric: step and value.
    pub fn metric(&self, name: &str) -> Vec<(u64, f64)> {
        let own = self.metrics.iter().filter(|row| row.0 == name);
        own.map(|row| (row.1, row.3.parse().unwrap_or(f64::NAN)))
            .collect()
    }
}

#[derive(Default)]
pub struct State {
    pub experiments: Vec<String>,
    pub runs: Vec<Run>,
    /// Entries of each batch.
    pub batches: Vec<usize>,
    pub authorizations: Vec<Option<String>>,
    pub requests: usize,
    /// A metric that is refused.
    pub disliked: Option<String>,
    /// Where it says that artefacts are.
    pub artifacts: Option<String>,
}

pub struct Server {
    pub url: String,
    state: Arc<Mutex<State>>,
    habit: Arc<Mutex<Habit>>,
}

impl Server {
    pub fn start(habit: Habit) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server {
            url,
            state: Arc::default(),
            habit: Arc::new(Mutex::new(habit)),
        };
        let (state, habit) = (Arc::clone(&server.state), Arc::clone(&server.habit));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (state, habit) = (Arc::clone(&state), *habit.lock().unwrap());
                thread::spawn(move || answer(stream.unwrap(), habit, &state));
            }
        });
        server
    }

    pub fn set(&self, habit: Habit) {
        *self.habit.lock().unwrap() = habit;
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The only run that there is.
    #[track_caller]
    pub fn run(&self) -> Run {
        let state = self.state();
        assert_eq!(state.runs.len(), 1, "runs on the server");
        state.runs[0].clone()
    }
}

fn answer(mut stream: TcpStream, habit: Habit, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap_or(0);
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.trim().split_once(": ") else {
            continue;
        };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = Some(value.to_string()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        state.authorizations.push(authorization);
    }
    let mut parts = first.split_whitespace();
    let (method, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let page = "<html><body>Not\n what you want</body></html>".to_string();
    let (status, extra, text) = match habit {
        Habit::HangsUp => return,
        Habit::Silent => {
            thread::sleep(Duration::from_secs(60));
            return;
        }
        Habit::Page(status) => (status, "", page),
        Habit::Garbage => (200, "", page),
        Habit::Redirects => (302, "Location: https://elsewhere.example/\r\n", page),
        Habit::BreaksOff => {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{\"run\"";
            let _ = stream.write_all(head.as_bytes());
            return;
        }
        Habit::Busy if !target.ends_with("runs/update") => (503, "", page),
        Habit::Good | Habit::Forgets | Habit::Busy => {
            let (status, answer) = handle(method, target, &body, &mut state.lock().unwrap());
            if habit == Habit::Forgets {
                return;
            }
            (status, "", answer.to_string())
        }
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        text.len()
    );
    // The client may hang up first, which is its right.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(text.as_bytes()));
}

fn refused(code: &str, message: &str) -> (u16, Value) {
    let status = if code == "RESOURCE_DOES_NOT_EXIST" {
        404
    } else {
        400
    };
    (status, json!({ "error_code": code, "message": message }))
}

fn handle(method: &str, target: &str, body: &[u8], state: &mut State) -> (u16, Value) {
    if let Some(place) = target.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/") {
        let parts: Vec<&str> = place.splitn(4, '/').collect();
        let [_, run, "artifacts", name] = parts[..] else {
            return refused("INVALID_PARAMETER_VALUE", place);
        };
        let run: usize = run.trim_start_matches('r').parse().unwrap();
        assert_eq!(method, "PUT");
        state.runs[run]
            .files
            .insert(name.to_string(), body.to_vec());
        return (200, json!({}));
    }
    let call = target.strip_prefix("/api/2.0/mlflow/").unwrap_or("?");
    let (call, query) = call.split_once('?').unwrap_or((call, ""));
    let query = query
        .split_once('=')
        .map_or("", |(_, value)| value)
        .to_string();
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_string();
    let not_there = || refused("RESOURCE_DOES_NOT_EXIST", "there is no such thing");
    match (method, call) {
        ("GET", "experiments/get-by-name") => {
            match state.experiments.iter().position(|name| *name == query) {
                Some(i) => (
                    200,
                    json!({ "experiment": { "experiment_id": i.to_string(), "lifecycle_stage": "active" } }),
                ),
                None => not_there(),
            }
        }
        ("POST", "experiments/create") => {
            state.experiments.push(text("name"));
            (
                200,
                json!({ "experiment_id": (state.experiments.len() - 1).to_string() }),
            )
        }
        ("POST", "runs/create") => {
            let mut run = Run {
                name: text("run_name"),
                experiment: text("experiment_id"),
                status: "RUNNING".into(),
                ..Run::default()
            };
            add_pairs(&body["tags"], &mut run.tags);
            state.runs.push(run);
            (200, json!({ "run": shown(state, state.runs.len() - 1) }))
        }
        ("GET", "runs/get") => match number(&query, state) {
            Some(i) => (200, json!({ "run": shown(state, i) })),
            None => not_there(),
        },
        ("POST", "runs/search") => {
            let filter = text("filter");
            let token = filter.split('\'').nth(1).unwrap();
            let has = |run: &Run| run.tags.get("archai.token").is_some_and(|own| own == token);
            let found = state
                .runs
                .iter()
                .position(|run| has(run) && !run.is_deleted);
            (
                200,
                found.map_or(json!({}), |i| json!({ "runs": [shown(state, i)] })),
            )
        }
        ("POST", "runs/update") => match number(&text("run_id"), state) {
            Some(i) => {
                state.runs[i].status = text("status");
                state.runs[i].end_time = body["end_time"].as_i64();
                (200, json!({ "run_info": {} }))
            }
            None => not_there(),
        },
        ("POST", "runs/log-batch") => match number(&text("run_id"), state) {
            Some(i) => log_batch(i, &body, state),
            None => not_there(),
        },
        _ => refused("ENDPOINT_NOT_FOUND", target),
    }
}

fn number(id: &str, state: &State) -> Option<usize> {
    let i: usize = id.strip_prefix('r')?.parse().ok()?;
    (i < state.runs.len()).then_some(i)
}

fn add_pairs(pairs: &Value, to: &mut BTreeMap<String, String>) {
    for pair in pairs.as_array().into_iter().flatten() {
        to.insert(
            pair["key"].as_str().unwrap().to_string(),
            pair["value"].as_str().unwrap().to_string(),
        );
    }
}

fn log_batch(i: usize, body: &Value, state: &mut State) -> (u16, Value) {
    let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
    let (metrics, params) = (list("metrics"), list("params"));
    state
        .batches
        .push(metrics.len() + params.len() + list("tags").len());
    if metrics.len() > 1000 || params.len() > 100 {
        return refused("INVALID_PARAMETER_VALUE", "too many at once");
    }
    let all = metrics.iter().chain(&params);
    for entry in all {
        let key = entry["key"].as_str().unwrap();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
        if key.len() > 250 || !key.chars().all(is_plain) {
            return refused("INVALID_PARAMETER_VALUE", &format!("invalid name {key}"));
        }
        if state.disliked.as_deref() == Some(key) {
            return refused("INVALID_PARAMETER_VALUE", "not this one");
        }
    }
    let run = &mut state.runs[i];
    for param in &params {
        let (key, value) = (
            param["key"].as_str().unwrap(),
            param["value"].as_str().unwrap(),
        );
        if value.chars().count() > 500 || run.params.get(key).is_some_and(|old| old != value) {
            return refused(
                "INVALID_PARAMETER_VALUE",
                "params are short and do not change",
            );
        }
    }
    add_pairs(&body["params"], &mut run.params);
    add_pairs(&body["tags"], &mut run.tags);
    for metric in &metrics {
        let value = match &metric["value"] {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        run.metrics.push((
            metric["key"].as_str().unwrap().to_string(),
            metric["step"].as_u64().unwrap(),
            metric["timestamp"].as_i64().unwrap(),
            value,
        ));
    }
    (200, json!({}))
}

/// A run as the server shows it: of each metric the last row.
fn shown(state: &State, i: usize) -> Value {
    let run = &state.runs[i];
    let pairs = |all: &BTreeMap<String, String>| -> Vec<Value> {
        all.iter()
            .map(|(key, value)| json!({ "key": key, "value": value }))
            .collect()
    };
    let mut last: BTreeMap<&str, &(String, u64, i64, String)> = BTreeMap::new();
    for row in &run.metrics {
        let old = last.entry(&row.0).or_insert(row);
        if row.1 >= old.1 {
            *old = row;
        }
    }
    // As protobuf's JSON: whole numbers of 64 bits may be texts, and a 0 may be left out.
    let metrics: Vec<Value> = last
        .values()
        .map(|row| match row.1 {
            0 => json!({ "key": row.0, "value": 1.0 }),
            step => json!({ "key": row.0, "value": 1.0, "step": step.to_string() }),
        })
        .collect();
    let place = format!("mlflow-artifacts:/{}/r{i}/artifacts", run.experiment);
    json!({
        "info": {
            "run_id": format!("r{i}"),
            "experiment_id": run.experiment,
            "status": run.status,
            "lifecycle_stage": if run.is_deleted { "deleted" } else { "active" },
            "artifact_uri": state.artifacts.clone().unwrap_or(place),
        },
        "data": { "params": pairs(&run.params), "tags": pairs(&run.tags), "metrics": metrics },
    })
}
