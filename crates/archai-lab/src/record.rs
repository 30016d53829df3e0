//! The facts of one phase of a run that ended well, as `result.json` holds them.

use std::collections::BTreeMap;

use archai_engine::evaluater::EvalResult;
use archai_engine::searcher::SearchResult;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::Data;
use crate::device::{is_usual_device, usual_device};
use crate::phase::Phase;

/// Version of [`Record`]s that this program writes. Others are not read.
pub const RECORD_VERSION: u32 = 1;

/// The facts of one phase of a run that ended well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The phase.
    pub phase: Phase,
    /// The algorithm's name.
    pub algorithm: String,
    /// The data set of the search.
    pub dataset: String,
    /// The data set of the evaluation.
    pub eval_dataset: String,
    /// The run's seed.
    pub seed: u64,
    /// Digest of the settings, the seed among them.
    pub digest: String,
    /// What computed it: `fused` or `plain`.
    pub engine: String,
    /// Where it was computed; the file says so only of devices other than [`archai_engine::device::USUAL_DEVICE`].
    #[serde(default = "usual_device", skip_serializing_if = "is_usual_device")]
    pub device: String,
    /// The description that was evaluated, by its digest, if it came from a file of the user's and not from a search.
    pub given_desc: Option<String>,
    /// All settings that change results, by dotted names.
    pub settings: BTreeMap<String, Value>,
    /// What the data of the phase held; empty in records of programs that did not look.
    #[serde(default, skip_serializing_if = "Data::is_empty")]
    pub data: Data,
    /// Measured numbers by name, for example `test_top1`. Accuracies are fractions, times are seconds.
    pub figures: BTreeMap<String, f64>,
    /// The result as the phase gave it, for a command that is resumed after it.
    #[serde(default)]
    pub outcome: Value,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, to be put behind its name: another version, or no record.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let damaged = |e: serde_json::Error| format!("is damaged: {e}");
        let value: Value = serde_json::from_str(text).map_err(damaged)?;
        match value["version"].as_u64() {
            Some(v) if v == u64::from(RECORD_VERSION) => {}
            Some(v) => {
                return Err(format!(
                    "has version {v}, this program reads {RECORD_VERSION}"
                ));
            }
            None => return Err("is damaged: it has no version".to_string()),
        }
        serde_json::from_value(value).map_err(damaged)
    }
}

/// What a record keeps of a search.
pub(crate) fn figures_of_search(result: &SearchResult) -> BTreeMap<String, f64> {
    // Other searches train no supernet.
    let count = |n: u64| (n > 0).then_some(n as f64);
    figures([
        ("supernet_train_top1", result.train_top1),
        ("supernet_val_top1", result.val_top1),
        ("post_train_test_top1", result.post_train_test_top1),
        ("supernet_parameters", count(result.supernet_parameters)),
        ("alphas", count(result.alphas)),
        ("search_parameters", Some(result.parameters as f64)),
        ("search_macs", Some(result.macs as f64)),
        ("search_seconds", Some(result.seconds)),
    ])
}

/// What a record keeps of an evaluation.
pub(crate) fn figures_of_eval(result: &EvalResult) -> BTreeMap<String, f64> {
    figures([
        ("test_top1", result.test_top1),
        ("test_top5", result.test_top5),
        ("val_top1", result.val_top1),
        ("best_test_top1", result.best_test_top1),
        ("best_val_top1", result.best_val.map(|(_, top1)| top1)),
        ("train_top1", result.train_top1),
        ("parameters", Some(result.parameters as f64)),
        ("macs", Some(result.macs as f64)),
        ("epochs", Some(result.epochs as f64)),
        ("eval_seconds", Some(result.seconds)),
    ])
}

fn figures<const N: usize>(all: [(&str, Option<f64>); N]) -> BTreeMap<String, f64> {
    // JSON has no NaN: a figure that is none is not there.
    let there = all
        .into_iter()
        .filter_map(|(name, v)| Some((name.to_string(), v.filter(|v| v.is_finite())?)));
    there.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused() {
        let record = r#"{"version": 1, "phase": "train", "algorithm": "darts", "dataset": "x", "eval_dataset": "x",
            "seed": 1, "digest": "", "engine": "fused", "given_desc": null, "settings": {}, "figures": {}}"#;
        for (text, expect) in [
            (record, "expected `search` or `evaluation`"),
            ("{\"version\": 9}", "version 9"),
            ("{}", "no version"),
            ("{", "is damaged"),
        ] {
            let error = Record::from_json(text).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
        let record = Record::from_json(&record.replace("train", "evaluation")).unwrap();
        assert_eq!(record.phase, Phase::Eval);
        assert_eq!(
            record.device, "cpu",
            "records were written before they knew the device"
        );
        assert!(!serde_json::to_string(&record).unwrap().contains("device"));
        assert!(
            serde_json::to_string(&record)
                .unwrap()
                .contains(r#""phase":"evaluation""#)
        );
    }
}
