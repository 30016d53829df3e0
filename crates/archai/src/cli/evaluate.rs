//! `archai evaluate`: how often a trained model is right, and how fast it is.

use std::fmt::Write as _;
use std::io::Write;
use std::time::{Duration, Instant};

use archai_data::Split;
use archai_data::rng::Key;
use archai_lab::Lab;
use archai_predict::{Classifier, Evaluation};
use archai_spec::numbers::{percent, thousands};
use serde::Serialize;
use serde_json::{Value, json};

use super::args::{EvaluateArgs, OutputFormat, SplitArg};
use super::data_found::{ForModel, for_model};
use super::env::Env;
use super::error::CliError;
use super::model;
use super::text::{csv_field, table, width};

/// Measures a model and prints what was found.
///
/// # Errors
/// A model or data that cannot be used, data of another kind than the model's.
pub fn run(
    args: &EvaluateArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    let split = match args.split {
        SplitArg::Test => Some(Split::Test),
        SplitArg::Train => Some(Split::Train),
        SplitArg::None => None,
    };
    if split.is_none() && (args.format.chosen() == OutputFormat::Csv || !args.latency) {
        return Err(CliError::usage(
            "--split none measures no accuracy; it has a meaning beside --latency, as a table or as JSON",
        ));
    }
    let model = model::load(&args.model, lab)?;
    let found = match split {
        Some(split) => {
            let described = |section| ForModel {
                section,
                split,
                part: split.as_str(),
            };
            let found = match (&args.data, &args.datasets) {
                (Some(path), _) => for_model(path, split, &model, overrides, lab, env)?,
                (None, Some(name)) => described(model::section(name, overrides, lab)?),
                (None, None) => described(model::own_section(&args.model, &model, overrides, lab)?),
            };
            let ForModel {
                section,
                split,
                part,
            } = found;
            let data = model::data(&section, split, lab)?;
            let bar = model::bar(data.len(), "evaluating", env.draws)?;
            let accuracy = model::in_threads(args.threads, || {
                let mut progress = |done: usize| bar.set_position(done as u64);
                Ok(model.evaluate(&section, data.as_ref(), args.batch, &mut progress)?)
            });
            bar.finish_and_clear();
            Some(Measured {
                dataset: section.name,
                split: part,
                left_out: data.left_out().len(),
                accuracy: accuracy?,
            })
        }
        None => None,
    };
    let latency = match args.latency {
        false => None,
        true => Some(model::in_threads(args.threads, || {
            latencies(&model, args.batch)
        })?),
    };
    let text = match args.format.chosen() {
        OutputFormat::Table => as_table(&model, found.as_ref(), latency.as_ref()),
        OutputFormat::Json => format!("{:#}\n", as_json(&model, found.as_ref(), latency.as_ref())),
        // Without an accuracy there is no CSV; that was refused above.
        OutputFormat::Csv => found.map_or_else(String::new, |found| as_csv(&found.accuracy)),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// How often the model is right, and about what.
struct Measured {
    dataset: String,
    split: &'static str,
    /// Pictures of the data that cannot be read and were left out, as the data set's section asks for.
    left_out: usize,
    accuracy: Evaluation,
}

/// How long the network takes for a batch; decoding and preparing pictures do not count.
#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    batch: usize,
    median_ms: f64,
    /// Nine of ten batches take at most as long.
    p90_ms: f64,
    images_per_s: f64,
    /// Batches that were measured.
    runs: usize,
}

#[derive(Debug, Serialize)]
struct Latencies {
    threads: usize,
    latencies: Vec<Latency>,
}

fn latencies(model: &Classifier, batch: usize) -> Result<Latencies, CliError> {
    let mut batches = vec![1, batch];
    batches.dedup();
    let latencies = batches.into_iter().map(|batch| latency(model, batch));
    Ok(Latencies {
        threads: rayon::current_num_threads(),
        latencies: latencies.collect::<Result<_, _>>()?,
    })
}

/// Times the network on batches of noise.
fn latency(model: &Classifier, batch: usize) -> Result<Latency, CliError> {
    /// Batches before the first that counts: memory is planned, caches are filled.
    const WARM_UP: usize = 3;
    /// At least so many batches, and for at least so long, unless that comes to very many.
    const LEAST: usize = 20;
    const MOST: usize = 2000;
    const TIME: Duration = Duration::from_secs(2);
    let info = model.info();
    let numbers = batch * info.channels * info.size[0] * info.size[1];
    let mut noise = Key::new(1).with("images of noise").rng();
    let images: Vec<f32> = (0..numbers).map(|_| noise.normal() as f32).collect();
    let once = || -> Result<f64, CliError> {
        let begun = Instant::now();
        let logits = model.network().logits(&images).map_err(CliError::caused)?;
        std::hint::black_box(&logits);
        Ok(begun.elapsed().as_secs_f64())
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let (begun, mut times) = (Instant::now(), Vec::new());
    while times.len() < LEAST || (begun.elapsed() < TIME && times.len() < MOST) {
        times.push(once()?);
    }
    times.sort_by(f64::total_cmp);
    let (median, p90) = (quantile(&times, 0.5), quantile(&times, 0.9));
    Ok(Latency {
        batch,
        median_ms: 1e3 * median,
        p90_ms: 1e3 * p90,
        images_per_s: batch as f64 / median,
        runs: times.len(),
    })
}

/// A quantile of sorted numbers, between two of them in proportion.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (place - low as f64) * (sorted[high] - sorted[low])
}

fn as_json(model: &Classifier, found: Option<&Measured>, latency: Option<&Latencies>) -> Value {
    let mut value = json!({ "provenance": model.info().provenance });
    if let Some(found) = found {
        let accuracy = &found.accuracy;
        value["dataset"] = json!(found.dataset);
        value["split"] = json!(found.split);
        value["pictures"] = json!(accuracy.pictures());
        value["left_out"] = json!(found.left_out);
        value["correct"] = json!(accuracy.correct());
        value["top1"] = json!(accuracy.top1());
        value["top5"] = json!(accuracy.top5());
        value["loss"] = json!(accuracy.loss);
        value["classes_by_number"] = json!(accuracy.by_number);
        let classes = accuracy.class_names.iter().zip(accuracy.per_class());
        let classes = classes.map(|(name, (pictures, correct))| {
            json!({"name": name, "pictures": pictures, "correct": correct, "accuracy": share(correct, pictures)})
        });
        value["classes"] = classes.collect();
        value["confusion"] = json!(accuracy.confusion);
    }
    if let Some(latency) = latency {
        value["threads"] = json!(latency.threads);
        value["latency"] = json!(latency.latencies);
    }
    value
}

/// The confusion matrix: a row for each true class, a column for each class that the model said.
fn as_csv(accuracy: &Evaluation) -> String {
    let names: Vec<String> = accuracy
        .class_names
        .iter()
        .map(|name| csv_field(name))
        .collect();
    let mut text = format!("class,pictures,accuracy,{}\n", names.join(","));
    let rows = names
        .iter()
        .zip(accuracy.per_class())
        .zip(&accuracy.confusion);
    for ((name, (pictures, correct)), row) in rows {
        let accuracy = share(correct, pictures).map_or_else(String::new, |v| v.to_string());
        let row: Vec<String> = row.iter().map(u64::to_string).collect();
        let _ = writeln!(text, "{name},{pictures},{accuracy},{}", row.join(","));
    }
    text
}

/// None of no pictures.
fn share(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// Most classes whose confusion matrix people can read.
const READABLE: usize = 20;

fn as_table(model: &Classifier, found: Option<&Measured>, latency: Option<&Latencies>) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    if let Some(found) = found {
        let accuracy = &found.accuracy;
        let count = |n: u64| thousands(n);
        let _ = writeln!(
            text,
            "{} ({} data): {} of {} pictures are right",
            found.dataset,
            found.split,
            count(accuracy.correct()),
            count(accuracy.pictures())
        );
        let _ = writeln!(text, "  top-1 accuracy  {}", percent(accuracy.top1()));
        if let Some(top5) = accuracy.top5() {
            let _ = writeln!(text, "  top-5 accuracy  {}", percent(top5));
        }
        let _ = writeln!(text, "  cross entropy   {:.4}", accuracy.loss);
        let before = &model.info().provenance;
        if let Some(top1) = before.accuracy.get("test_top1")
            && (before.dataset == found.dataset && found.split == Split::Test.as_str())
        {
            let _ = writeln!(
                text,
                "  when it was trained, test accuracy was {}",
                percent(*top1)
            );
        }
        if accuracy.by_number {
            text.push_str("  classes were told to be the same by their numbers: data or model do not name them\n");
        }
        if found.left_out > 0 {
            let _ = writeln!(
                text,
                "  {} pictures cannot be read and were left out",
                found.left_out
            );
        }
        text.push('\n');
        text.push_str(&classes(accuracy));
        text.push_str(&confusion(accuracy));
    }
    if let Some(latency) = latency {
        if found.is_some() {
            text.push('\n');
        }
        let rows: Vec<Vec<String>> = (latency.latencies.iter())
            .map(|l| {
                vec![
                    l.batch.to_string(),
                    format!("{:.2} ms", l.median_ms),
                    format!("{:.2} ms", l.p90_ms),
                    format!("{:.0}", l.images_per_s),
                ]
            })
            .collect();
        let header = ["batch", "median", "90 % within", "images/s"];
        let _ = writeln!(
            text,
            "time of the network alone, in {} threads, decoding of pictures not included\n{}",
            latency.threads,
            table(&header, 0, &rows, width())
        );
    }
    text
}

/// A row for each class: how many of its pictures are right, and what most of the others were taken for.
fn classes(accuracy: &Evaluation) -> String {
    let names = &accuracy.class_names;
    let rows: Vec<Vec<String>> = accuracy
        .per_class()
        .enumerate()
        .map(|(class, (pictures, correct))| {
            let others = accuracy.confusion[class].iter().enumerate();
            let others = others.filter(|(other, n)| *other != class && **n > 0);
            // Of equal counts the first class.
            let mistaken = others.max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(&a.0)));
            vec![
                names[class].clone(),
                thousands(pictures),
                share(correct, pictures).map_or_else(|| "–".to_string(), percent),
                mistaken.map_or_else(String::new, |(other, n)| format!("{} ({n})", names[other])),
            ]
        })
        .collect();
    let header = ["class", "pictures", "right", "most often taken for"];
    format!("{}\n", table(&header, 1, &rows, width()))
}

/// The confusion matrix, if it can be read.
fn confusion(accuracy: &Evaluation) -> String {
    let n = accuracy.class_names.len();
    if n > READABLE {
        return format!("--format csv gives the confusion matrix of all {n} classes\n");
    }
    // Columns are numbered, so that long names do not make them wide.
    let numbers: Vec<String> = (0..n).map(|class| class.to_string()).collect();
    let mut header = vec!["class \\ taken for"];
    header.extend(numbers.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = (accuracy.confusion.iter().enumerate())
        .map(|(class, row)| {
            let mut cells = vec![format!("{class} {}", accuracy.class_names[class])];
            // What never happened would hide what did.
            cells.extend(row.iter().map(|n| match n {
                0 => "·".to_string(),
                n => n.to_string(),
            }));
            cells
        })
        .collect();
    format!("\n{}\n", table(&header, 1, &rows, width()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy() -> Evaluation {
        Evaluation {
            class_names: vec!["cat, small".into(), "dog".into(), "owl".into()],
            confusion: vec![vec![3, 1, 0], vec![2, 2, 2], vec![0, 0, 0]],
            within_five: None,
            loss: 0.5,
            by_number: false,
        }
    }

    #[test]
    fn the_matrix_as_csv() {
        let expect = "class,pictures,accuracy,\"cat, small\",dog,owl\n\
            \"cat, small\",4,0.75,3,1,0\ndog,6,0.3333333333333333,2,2,2\nowl,0,,0,0,0\n";
        assert_eq!(as_csv(&accuracy()), expect);
    }

    #[test]
    fn classes_say_what_they_are_taken_for() {
        let text = classes(&accuracy());
        let line = |name: &str| {
            let row = |line: &&str| line.starts_with(&format!("│ {name}"));
            text.lines().find(row).unwrap()
        };
        assert!(line("cat, small").contains("75.00 %") || line("cat, small").contains("75.0 %"));
        assert!(line("cat, small").contains("dog (1)"), "{text}");
        assert!(line("dog").contains("cat, small (2)"), "{text}");
        assert!(line("owl").contains('–'), "{text}");
        assert!(
            confusion(&accuracy()).contains("1 dog"),
            "{}",
            confusion(&accuracy())
        );
    }

    #[test]
    fn quantiles_lie_between() {
        let times = [1.0, 2.0, 3.0, 4.0];
        assert_eq!((quantile(&times, 0.5), quantile(&times, 1.0)), (2.5, 4.0));
        assert!((quantile(&times, 0.9) - 3.7).abs() < 1e-12);
        assert_eq!(quantile(&[5.0], 0.9), 5.0);
    }
}
