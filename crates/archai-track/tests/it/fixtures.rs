//! Run directories as a lab leaves them, and notices that are kept.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use archai_lab::{Host, Lab, RunDir};
use archai_spec::settings::Track;
use archai_track::{Notice, Notices, Pace, RunFacts};
use serde_json::{Value, json};
use std::time::Duration;

/// A pace for tests.
pub const QUICK: Pace = Pace {
    look: Duration::from_millis(10),
    first_try: Duration::from_millis(10),
    last_try: Duration::from_millis(40),
};

/// A lab on a host with these variables.
pub fn lab(vars: &[(&str, &str)]) -> Lab {
    let vars = vars
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Lab::builtin().on(Host {
        vars: vars.collect(),
        ..Host::default()
    })
}

/// Notices, in the order in which they come.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<Notice>>>);

impl Heard {
    pub fn notices(&self) -> Notices {
        let heard = Arc::clone(&self.0);
        Arc::new(move |notice| heard.lock().unwrap().push(notice))
    }

    pub fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap().clone()
    }

    /// How often something was said, by the beginning of its name.
    pub fn count(&self, kind: &str) -> usize {
        let all = self.all();
        all.iter()
            .filter(|notice| format!("{notice:?}").starts_with(kind))
            .count()
    }
}

/// Waits until something holds, for a while.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not come to this: {what}");
}

/// A line of a log.
pub fn line(second: usize, path: &str, values: &Value) -> String {
    let time = format!("2026-01-02T03:{:02}:{:02}Z", second / 60, second % 60);
    format!(
        "{}\n",
        json!({ "time": time, "path": path, "values": values })
    )
}

/// The log of a search, whose numbers follow from epoch and step: from `first` (an epoch) on, at `second`.
pub fn search_log(epochs: std::ops::Range<u32>, mut second: usize) -> String {
    let mut text = String::new();
    let mut add = |path: String, values: Value| {
        second += 1;
        text += &line(second, &path, &values);
    };
    let at = "arch_search/arch_train";
    if epochs.start == 0 {
        add("run".into(), json!({ "seed": 2 }));
        add(
            format!("{at}__init__"),
            json!({ "train_batches": 3, "val_batches": 2, "lr": 0.025 }),
        );
    }
    for epoch in epochs {
        for step in 0..3 {
            let loss = 2.0 - f64::from(epoch * 3 + step) / 100.0;
            add(
                format!("{at}/epochs/{epoch}/steps/{step}"),
                json!({ "loss": loss, "top1": 0.5, "step_time": 0.25 }),
            );
        }
        let loss = 2.0 - f64::from(epoch) / 10.0;
        add(
            format!("{at}/epochs/{epoch}/train"),
            json!({ "loss": loss, "top1": 0.25, "duration": 1.5, "start_lr": 0.025 }),
        );
        let tilt = f64::from(epoch);
        add(
            format!("{at}/epochs/{epoch}/alphas"),
            json!({ "cell0.node0.edge0": [tilt, 0.0, 0.0], "cell0.node0.edge1": [0.0, 0.0, tilt] }),
        );
    }
    text
}

/// A run directory with this log.
pub fn run_dir(root: &Path, log: &str, track: &Track) -> RunDir {
    let dir = RunDir::new(root.join("darts_toy_search"));
    fs::create_dir_all(dir.path()).unwrap();
    let started = json!({
        "version": 1, "program": "0.1.0", "phase": "search", "algorithm": "darts", "engine": "fused",
        "arguments": ["run", "--algos=darts"], "folder": root.display().to_string(), "eval_follows": false,
        "digest": "d1ge57", "given_desc": null,
        "settings": {
            "common.seed": 2,
            "dataset.name": "toy",
            "dataset.train": null,
            "nas.search.trainer.grad_clip": 5.0,
            "nas.search.loader.train_batch": 64,
            "nas.search.trainer.optimizer.nesterov": false,
            "nas.search.model_desc.primitives": ["x".repeat(300), "y".repeat(300)],
            "nas.eval.trainer.epochs": 600,
        },
    });
    fs::write(dir.file("run.json"), started.to_string()).unwrap();
    let config = json!({ "common": { "log_prefix": "log", "track": track } });
    fs::write(dir.file("config_used.yaml"), config.to_string()).unwrap();
    fs::write(dir.file("log.jsonl"), log).unwrap();
    dir
}

/// Writes on in the log.
pub fn append(dir: &RunDir, text: &str) {
    let file = fs::OpenOptions::new()
        .append(true)
        .open(dir.file("log.jsonl"));
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// Lets the search end well.
pub fn finish(dir: &RunDir) {
    let record = json!({
        "version": 1, "phase": "search", "algorithm": "darts", "dataset": "toy", "eval_dataset": "toy", "seed": 2,
        "digest": "d1ge57", "engine": "fused", "given_desc": null, "settings": {},
        "figures": { "supernet_val_top1": 0.75 },
    });
    fs::write(
        dir.file("summary.md"),
        "# What came out\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    )
    .unwrap();
    fs::write(dir.file("final_model_desc.yaml"), "cells: []\n").unwrap();
    fs::create_dir_all(dir.file("checkpoints")).unwrap();
    fs::write(dir.file("checkpoints/1.checkpoint"), "state").unwrap();
    fs::create_dir_all(dir.file("model_desc_gallery")).unwrap();
    fs::write(dir.file("model_desc_gallery/model desc 1.yaml"), "one").unwrap();
    fs::write(dir.file("result.json"), record.to_string()).unwrap();
}

pub fn facts(dir: &RunDir) -> RunFacts {
    RunFacts::read(dir.path()).unwrap()
}

pub fn asked(to: &[&str]) -> Track {
    Track {
        to: to.iter().map(|text| text.to_string()).collect(),
        ..Track::default()
    }
}
