//! How fast a run was, how much memory it took, how long it still takes, and how fast the trained network is.

use archai_lab::forecast::bytes;
use archai_lab::summary::time;
use archai_lab::{Phase, Record};
use archai_spec::numbers::percent;
use maud::{Markup, html};
use serde_json::Value;

use crate::log::{Epoch, RunLog, Training};
use crate::page::facts;
use crate::ticks::plain;

/// Everything that is known; none if nothing is.
pub fn section(phase: Phase, record: Option<&Record>, log: &RunLog) -> Option<Markup> {
    let figure = |name: &str| record?.figures.get(name).copied();
    let logged = |name: &str| log.run.get(name);
    let mut rows: Vec<(String, Markup)> = Vec::new();
    let mut add = |name: &str, value: Markup| rows.push((name.to_string(), value));
    if let Some(median) = figure("latency_seconds") {
        let p90 = figure("latency_p90_seconds");
        add(
            "one picture through the trained network",
            html! {
                (milliseconds(median)) " in the median"
                @if let Some(p90) = p90 { ", nine of ten within " (milliseconds(p90)) }
                " (the network alone, on this machine's processor"
                @if let Some(threads) = logged("threads").and_then(Value::as_u64) { ", " (crate::words::plural(threads as usize, "thread")) }
                ")"
            },
        );
    } else if phase == Phase::Eval && record.is_some() {
        add(
            "one picture through the trained network",
            html! { "not measured; " code { "archai evaluate --model DIR --latency" } " does" },
        );
    }
    if let Some(training) = log.trainings.iter().find(|t| !t.epochs.is_empty()) {
        let mean = |name: &str| mean(training, |epoch| epoch.train.get(name).copied());
        if let Some(speed) = mean("images_per_s").filter(|v| *v > 0.0) {
            add(
                "training",
                html! { (plain(speed)) " pictures a second, mean of the epochs" },
            );
        }
        if let Some(step) = mean("step_time").filter(|v| *v > 0.0) {
            let waited = mean("data_time").filter(|v| *v > 0.0);
            add(
                "one step",
                html! {
                    (milliseconds(step))
                    @if let Some(waited) = waited { ", of which " (percent(waited / step)) " waiting for its pictures" }
                },
            );
        }
        if let Some(duration) = mean("duration").filter(|v| *v > 0.0) {
            add("one epoch of training", html! { (time(duration)) });
        }
        if record.is_none()
            && let Some(left) = time_left(training)
        {
            add(
                "left",
                html! { "about " (time(left)) " of this training, if the next epochs take as long as the last ones" },
            );
        }
    }
    if let Some(memory) = logged("peak_memory").and_then(Value::as_u64) {
        add(
            "most memory of the process",
            html! { (bytes(memory)) @if phase == Phase::Eval { ", an earlier search in the same process included" } },
        );
    }
    (!rows.is_empty()).then(|| facts("Speed and memory", &rows))
}

/// Seconds until the planned end of a training, by its last epochs with their validation.
pub fn time_left(training: &Training) -> Option<f64> {
    /// Epochs whose mean counts.
    const LAST: usize = 5;
    let left = training
        .planned_epochs()?
        .checked_sub(training.epochs.len() as u64)?;
    let took = |epoch: &Epoch| {
        let train = epoch.train.get("duration")?;
        Some(train + epoch.val.get("duration").copied().unwrap_or(0.0))
    };
    let times: Vec<f64> = training
        .epochs
        .values()
        .rev()
        .filter_map(took)
        .take(LAST)
        .collect();
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    (left > 0 && mean > 0.0).then_some(mean * left as f64)
}

fn mean(training: &Training, of: impl Fn(&Epoch) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = training.epochs.values().filter_map(of).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn milliseconds(seconds: f64) -> String {
    format!("{} ms", plain(1e3 * seconds))
}
