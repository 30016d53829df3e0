//! From the lines of a log to points of curves: which curve, at which step, which number.
//!
//! A curve is named by its place in the log without the numbers in it, and a number is its step:
//!
//! | place and value in the log | curve | step |
//! |---|---|---|
//! | `arch_search/arch_train/epochs/3/train` `loss` | `search/train/loss` | 3 |
//! | `arch_search/arch_train/epochs/3/steps/7` `loss` | `search/train_steps/loss` | 3 · batches + 7 |
//! | `arch_search/arch_train/epochs/3/train` `duration` | `speed/search/train/duration` | 3 |
//! | `eval_arch/eval_train/test` `top1` | `eval/test/top1` | the last epoch |
//! | `eval_arch/eval_train/best_test` `top1` | `summary/eval/best_test/top1` | the last epoch |
//! | `random/5/train/epochs/3/val` `top1` | `random.5/val/top1` | 3 |
//! | `random/5` `val_top1` | `random/val_top1` | 5 |
//!
//! The steps of a curve grow with the lines of the log, which is what lets a tracker go on where it stopped.

use std::collections::HashMap;

use archai_lab::log::LogEntry;
use jiff::Timestamp;
use serde_json::Value;

/// Something of the log that a tracker shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The curve: `search/train/loss`. Up to the first slash it is the group.
    pub curve: String,
    /// Where on the curve.
    pub step: u64,
    /// When it was logged.
    pub time: Timestamp,
    /// What was logged.
    pub what: What,
}

/// What a [`Point`] holds.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A number, which may be NaN or infinite.
    Number(f64),
    /// The weights that the edges of a supernet give their ops: the softmax of the architecture parameters, by the edge's name
    /// in the log (`cell0.node1.edge2`).
    Weights(Vec<(String, Vec<f64>)>),
}

/// Batches of an epoch: of training, validation and test.
#[derive(Clone, Copy, Debug, Default)]
struct Batches {
    train: Option<u64>,
    val: Option<u64>,
    test: Option<u64>,
}

/// A training that began.
#[derive(Clone, Copy, Debug, Default)]
struct Training {
    batches: Batches,
    /// The last epoch that was heard of.
    epoch: u64,
}

/// Makes [`Point`]s of a log, line by line from its beginning.
#[derive(Debug, Default)]
pub struct Points {
    /// By their places in the log.
    trainings: HashMap<String, Training>,
    /// The last step of each curve.
    steps: HashMap<String, u64>,
}

/// Names of values that say how fast it went, in groups of their own.
const SPEED: [&str; 3] = ["duration", "step_time", "images_per_s"];

/// Places that say how the run was started, which trackers learn from its other files.
const APART: [&str; 3] = ["run", "dataset", "resumed"];

/// Where a place of the log lies on its curves.
struct Place {
    /// Group and rest of the curves' names.
    group: String,
    rest: Vec<String>,
    /// The step; none counts on.
    step: Option<u64>,
}

impl Points {
    /// The points of the next line; most often a handful, none for a message.
    pub fn of(&mut self, entry: &LogEntry) -> Vec<Point> {
        let Some((path, values)) = entry.values() else {
            return Vec::new();
        };
        let parts: Vec<&str> = path.0.iter().map(String::as_str).collect();
        if parts.first().is_some_and(|first| APART.contains(first)) {
            return Vec::new();
        }
        let time = entry.time.unwrap_or(Timestamp::UNIX_EPOCH);
        if let Some(training) = path.to_string().strip_suffix("__init__") {
            let count = |name: &str| values.iter().find(|(own, _)| own == name)?.1.as_u64();
            let batches = Batches {
                train: count("train_batches"),
                val: count("val_batches"),
                test: count("test_batches"),
            };
            let training = self.trainings.entry(training.to_string()).or_default();
            training.batches = batches;
            return Vec::new();
        }
        let place = self.place(&parts);
        if parts.last() == Some(&"alphas") {
            let edges = values
                .iter()
                .filter_map(|(edge, alphas)| Some((edge.clone(), softmax(&numbers(alphas)?))))
                .collect();
            let step = place.step.unwrap_or(0);
            return vec![Point {
                curve: format!("weights/{}", place.group),
                step,
                time,
                what: What::Weights(edges),
            }];
        }
        let points = values.iter().filter_map(|(name, value)| {
            let value = number(value)?;
            let curve = place.curve(name);
            let step = self.step_of(&curve, place.step);
            Some(Point {
                curve,
                step,
                time,
                what: What::Number(value),
            })
        });
        points.collect()
    }

    /// The step of the next point of a curve. One that has none of its own, or that does not lie behind the last one, counts
    /// on.
    fn step_of(&mut self, curve: &str, given: Option<u64>) -> u64 {
        let last = self.steps.get(curve).copied();
        let next = last.map_or(0, |last| last.saturating_add(1));
        let step = given.map_or(next, |given| given.max(next));
        self.steps.insert(curve.to_string(), step);
        step
    }

    fn place(&mut self, parts: &[&str]) -> Place {
        let rest = |parts: &[&str]| parts.iter().map(|part| part.to_string()).collect();
        // The longest training above it.
        for end in (1..=parts.len()).rev() {
            let Some(training) = self.trainings.get_mut(&parts[..end].join("/")) else {
                continue;
            };
            let (group, mut below) = (group(&parts[..end]), &parts[end..]);
            let mut in_epoch = false;
            if let ["epochs", epoch, after @ ..] = below
                && let Ok(epoch) = epoch.parse()
            {
                training.epoch = epoch;
                (below, in_epoch) = (after, true);
            }
            let training = *training;
            return match below {
                ["steps", step] => Place {
                    group,
                    rest: vec!["train_steps".to_string()],
                    step: step_in(training, training.batches.train, step),
                },
                [part, "steps", step] => Place {
                    group,
                    rest: vec![format!("{part}_steps")],
                    step: match *part {
                        "val" => step_in(training, training.batches.val, step),
                        "test" => step_in(training, training.batches.test, step),
                        _ => None,
                    },
                },
                below => Place {
                    // What a training says once, at its end, would stand between its curves.
                    group: match in_epoch || below.first() == Some(&"test") {
                        true => group,
                        false => format!("summary/{group}"),
                    },
                    rest: rest(below),
                    step: Some(training.epoch),
                },
            };
        }
        let (step, parts) = match parts {
            [above @ .., last] if !above.is_empty() => match last.parse() {
                Ok(step) => (Some(step), above),
                Err(_) => (Some(0), parts),
            },
            parts => (Some(0), parts),
        };
        match parts {
            // What stands at the root is the result.
            [] => Place {
                group: "result".to_string(),
                rest: Vec::new(),
                step,
            },
            [first, below @ ..] => Place {
                group: renamed(first).to_string(),
                rest: rest(below),
                step,
            },
        }
    }
}

/// Counts the steps of all epochs.
fn step_in(training: Training, batches: Option<u64>, step: &str) -> Option<u64> {
    let (batches, step) = (batches?, step.parse::<u64>().ok()?);
    training.epoch.checked_mul(batches)?.checked_add(step)
}

impl Place {
    fn curve(&self, name: &str) -> String {
        // Kinds of curves that matter less have names further down the alphabet, in which they are shown.
        let mut curve = match SPEED.contains(&name) {
            true => format!("speed/{}", self.group),
            false => self.group.clone(),
        };
        for part in self.rest.iter().map(String::as_str).chain([name]) {
            curve.push('/');
            curve.push_str(part);
        }
        curve
    }
}

fn renamed(part: &str) -> &str {
    match part {
        "arch_search" => "search",
        "eval_arch" => "eval",
        other => other,
    }
}

/// The group of a training's curves: `search`, `eval`, `random.5`.
fn group(parts: &[&str]) -> String {
    let usual = ["arch_train", "eval_train", "train"];
    let (first, below) = parts.split_first().unwrap_or((&"train", &[]));
    let below = below.iter().filter(|part| !usual.contains(part));
    let names: Vec<&str> = [renamed(first)].into_iter().chain(below.copied()).collect();
    names.join(".")
}

/// A number of the log; what JSON has no number for is a text there.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "inf" => Some(f64::INFINITY),
            "-inf" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(number).collect()
}

/// Numbers between 0 and 1 whose sum is 1.
fn softmax(alphas: &[f64]) -> Vec<f64> {
    let most = alphas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = alphas.iter().map(|alpha| (alpha - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use archai_lab::log::read_entries;

    fn points(lines: &[(&str, &str)]) -> Vec<Point> {
        let lines: Vec<String> = lines
            .iter()
            .map(|(path, values)| {
                format!(r#"{{"time":"2026-01-02T03:04:05Z","path":"{path}","values":{values}}}"#)
            })
            .collect();
        let mut points = Points::default();
        read_entries(lines.join("\n").as_bytes())
            .flat_map(|entry| points.of(&entry))
            .collect()
    }

    #[test]
    fn places_of_the_log_become_curves() {
        let search = (
            "arch_search/arch_train__init__",
            r#"{"train_batches": 6, "val_batches": 4, "lr": 1}"#,
        );
        let eval = (
            "eval_arch/eval_train__init__",
            r#"{"train_batches": 6, "test_batches": 2}"#,
        );
        let random = ("random/5/train__init__", r#"{"train_batches": 2}"#);
        let seed = ("petridish/2/train/seed_train__init__", "{}");
        let above = "arch_search/arch_train/epochs";
        for (before, path, values, expect) in [
            (
                search,
                format!("{above}/3/train"),
                r#"{"loss": 2}"#,
                ("search/train/loss", 3),
            ),
            (
                search,
                format!("{above}/3/steps/5"),
                r#"{"loss": 2}"#,
                ("search/train_steps/loss", 23),
            ),
            (
                search,
                format!("{above}/3/val/steps/1"),
                r#"{"top1": 2}"#,
                ("search/val_steps/top1", 13),
            ),
            (
                search,
                format!("{above}/3/train"),
                r#"{"duration": 2}"#,
                ("speed/search/train/duration", 3),
            ),
            (
                search,
                format!("{above}/3/guard"),
                r#"{"entropy": 2}"#,
                ("search/guard/entropy", 3),
            ),
            (
                search,
                format!("{above}/3"),
                r#"{"temperature": 2}"#,
                ("search/temperature", 3),
            ),
            (
                search,
                "arch_search/arch_train/timings".into(),
                r#"{"run": 2}"#,
                ("summary/search/timings/run", 0),
            ),
            (
                search,
                "arch_search/finalize/cell0".into(),
                r#"{"samples": 2}"#,
                ("search/finalize/cell0/samples", 0),
            ),
            (
                eval,
                "eval_arch/eval_train/test".into(),
                r#"{"top1": 2}"#,
                ("eval/test/top1", 0),
            ),
            (
                eval,
                "eval_arch/eval_train/test/steps/1".into(),
                r#"{"top1": 2}"#,
                ("eval/test_steps/top1", 1),
            ),
            (
                random,
                "random/5/train/epochs/1/val".into(),
                r#"{"top1": 2}"#,
                ("random.5/val/top1", 1),
            ),
            (
                random,
                "random/5".into(),
                r#"{"val_top1": 2}"#,
                ("random/val_top1", 5),
            ),
            (
                random,
                "random".into(),
                r#"{"mean": 2}"#,
                ("random/mean", 0),
            ),
            (
                seed,
                "petridish/2/train/seed_train/epochs/1/val".into(),
                r#"{"top1": 2}"#,
                ("petridish.2.seed_train/val/top1", 1),
            ),
            (
                search,
                String::new(),
                r#"{"search_top1_val": 2}"#,
                ("result/search_top1_val", 0),
            ),
        ] {
            let found = points(&[before, (&path, values)]);
            let found: Vec<_> = found.iter().map(|p| (p.curve.as_str(), p.step)).collect();
            assert_eq!(found, [expect], "{path}");
        }
    }

    #[test]
    fn what_is_no_number_is_no_point() {
        assert!(
            points(&[
                ("run", r#"{"seed": 2}"#),
                ("a/b", r#"{"text": "x", "no": null, "is": true}"#)
            ])
            .is_empty()
        );
        let odd = points(&[("a", r#"{"x": "NaN", "y": "-inf"}"#)]);
        let odd: Vec<f64> = odd
            .into_iter()
            .map(|point| match point.what {
                What::Number(number) => number,
                What::Weights(_) => 0.0,
            })
            .collect();
        assert!(odd[0].is_nan() && odd[1] == f64::NEG_INFINITY);
    }

    #[test]
    fn the_steps_of_a_curve_grow() {
        let line = ("own/epochs/0/steps/3", r#"{"loss": 1}"#);
        let lines = [line, line, ("own/epochs/1/steps/0", r#"{"loss": 1}"#)];
        let found: Vec<_> = points(&lines)
            .iter()
            .map(|p| (p.curve.clone(), p.step))
            .collect();
        // Not announced as a training, so that no number of batches is known.
        assert_eq!(found[0], ("own/epochs/0/steps/loss".into(), 3));
        assert_eq!(found[1].1, 4);
        assert_eq!(found[2], ("own/epochs/1/steps/loss".into(), 0));
        let test = [
            ("eval_arch/eval_train__init__", "{}"),
            ("eval_arch/eval_train/epochs/0/test", r#"{"top1": 1}"#),
            ("eval_arch/eval_train/epochs/1/train", r#"{"top1": 1}"#),
            ("eval_arch/eval_train/test", r#"{"top1": 1}"#),
        ];
        let found: Vec<_> = points(&test)
            .iter()
            .map(|p| (p.curve.clone(), p.step))
            .collect();
        assert_eq!(found[0], ("eval/test/top1".into(), 0));
        assert_eq!(found[2], ("eval/test/top1".into(), 1));
    }

    #[test]
    fn alphas_become_weights() {
        let path = "arch_search/arch_train/epochs/2/alphas";
        let lines = [
            ("arch_search/arch_train__init__", "{}"),
            (
                path,
                r#"{"cell0.node0.edge0": [0, 0], "cell0.node0.edge1": [-1000000000.0, 0.0, "-inf"]}"#,
            ),
        ];
        let found = points(&lines);
        assert_eq!(
            (found[0].curve.as_str(), found[0].step),
            ("weights/search", 2)
        );
        let What::Weights(edges) = &found[0].what else {
            panic!("{found:?}");
        };
        assert_eq!(edges[0].1, [0.5, 0.5]);
        assert_eq!(edges[1].1, [0.0, 1.0, 0.0]);
    }
}
