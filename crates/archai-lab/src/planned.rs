//! The published settings that those of a run are compared with. Nothing is read of its data, and nothing is written.

use std::collections::BTreeMap;

use archai_engine::Engine;
use serde_json::Value;

use crate::error::LabError;
use crate::lab::Lab;
use crate::phase::Phase;
use crate::request::{Request, RunMode};
use crate::started::Started;

impl Lab {
    /// The settings that change results as the algorithm publishes them for the data set of a run, by dotted names: what
    /// `--full` takes without any other flag. Those of the data set's file count among them where it has a shipped name or is
    /// named on the command line.
    ///
    /// # Errors
    /// An algorithm or a data set that this lab does not have.
    pub fn published_settings(
        &self,
        started: &Started,
    ) -> Result<BTreeMap<String, Value>, LabError> {
        let named = started.argument("--datasets").map(str::to_string);
        let own = started.settings.get("dataset.name").and_then(Value::as_str);
        let dataset = named
            .filter(|names| !names.contains(','))
            .or(own.map(str::to_string));
        let request = Request {
            datasets: dataset.map(|name| vec![name]),
            space: started.argument("--space").map(str::to_string),
            mode: RunMode::Full,
            engine: engine_of(started),
            // Nothing is written there; the folder of a home is not asked for.
            logdir: Some("published".to_string()),
            search: true,
            eval: started.phase == Phase::Eval,
            ..Request::new(&started.algorithm)
        };
        self.plan(&request)?.settings_of_first()
    }
}

fn engine_of(started: &Started) -> Engine {
    let engines = [Engine::Fused, Engine::Plain];
    let mut known = engines
        .into_iter()
        .filter(|e| e.to_string() == started.engine);
    known.next().unwrap_or_default()
}
