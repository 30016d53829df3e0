//! What a trained network said of each test picture, as `test_predictions.csv` holds it: enough for a confusion matrix, for
//! accuracies by class, and for finding the pictures that it was most wrong about.

use std::io;
use std::path::{Path, PathBuf};

use archai_data::Loader;

use crate::error::EngineError;
use crate::model::Logits;
use crate::run::Run;

/// The columns of the file.
const COLUMNS: [&str; 6] = [
    "index",
    "name",
    "label",
    "predicted",
    "probability",
    "label_probability",
];

/// Where the predictions of the network in a file of weights stand: `model.pt` → `test_predictions.csv`,
/// `model_desc_3_model.pt` → `model_desc_3_test_predictions.csv`.
///
/// ```
/// use archai_engine::predictions::predictions_path;
/// use std::path::Path;
/// assert_eq!(predictions_path(Path::new("run/model.pt")), Path::new("run/test_predictions.csv"));
/// assert_eq!(predictions_path(Path::new("net.pt")), Path::new("net_test_predictions.csv"));
/// ```
pub fn predictions_path(model: &Path) -> PathBuf {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let name = match stem.strip_suffix("model") {
        Some(before) => format!("{before}test_predictions.csv"),
        None => format!("{stem}_test_predictions.csv"),
    };
    model.with_file_name(name)
}

/// What a network said of one test picture. Classes are numbers, from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct TestPrediction {
    /// Which picture of the test data it is, from 0.
    pub index: usize,
    /// Its name in the data set; empty where pictures have none.
    pub name: String,
    /// Its class.
    pub label: usize,
    /// The class with the largest logit, of equal ones the first; none if no logit is a number.
    pub predicted: Option<usize>,
    /// The network's probability of that class, to six digits.
    pub probability: f64,
    /// The network's probability of the picture's own class, to six digits.
    pub label_probability: f64,
}

/// Collects what a network says in a test, batch by batch in the order of the data.
#[derive(Debug)]
pub(crate) struct Predictions<'a> {
    loader: &'a Loader,
    all: Vec<TestPrediction>,
}

impl<'a> Predictions<'a> {
    /// Nothing yet of what `loader` gives.
    pub fn of(loader: &'a Loader) -> Self {
        Predictions {
            loader,
            all: Vec::with_capacity(loader.n_images()),
        }
    }

    /// Takes the logits of the next batch.
    pub fn take(&mut self, logits: &Logits, labels: &[i64]) {
        let rows = logits.values.chunks_exact(logits.classes.max(1));
        let items = &self.loader.items()[self.all.len()..];
        for ((row, label), &index) in rows.zip(labels).zip(items) {
            let label = usize::try_from(*label).unwrap_or(usize::MAX);
            let (predicted, probabilities) = probabilities(row);
            let of = |class: Option<usize>| {
                let share = class.and_then(|class| probabilities.get(class));
                share.copied().unwrap_or(0.0)
            };
            self.all.push(TestPrediction {
                index,
                name: self.loader.dataset().item_name(index).unwrap_or_default(),
                label,
                predicted,
                probability: of(predicted),
                label_probability: of(Some(label)),
            });
        }
    }

    /// Writes all of them.
    pub fn write(&self, run: Run<'_>, path: &Path) -> Result<(), EngineError> {
        run.write(path, |out| write(&self.all, out))
    }
}

/// The class of the largest logit, and the softmax in 64 bits. What is no number has no share.
fn probabilities(logits: &[f32]) -> (Option<usize>, Vec<f64>) {
    let mut best: Option<(usize, f32)> = None;
    for (class, &value) in logits.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, most)| value > most) {
            best = Some((class, value));
        }
    }
    let Some((class, most)) = best else {
        return (None, Vec::new());
    };
    let power = |value: f32| match value {
        value if value.is_nan() => 0.0,
        value if value == most => 1.0,
        value => (f64::from(value) - f64::from(most)).exp(),
    };
    let powers: Vec<f64> = logits.iter().map(|value| power(*value)).collect();
    let sum: f64 = powers.iter().sum();
    let rounded = |share: f64| (share * 1e6).round() / 1e6;
    let shares = powers.into_iter().map(|power| rounded(power / sum));
    (Some(class), shares.collect())
}

/// Writes predictions as a table with a line of names.
fn write(all: &[TestPrediction], out: &mut dyn io::Write) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(COLUMNS)?;
    for one in all {
        let predicted = one.predicted.map_or_else(String::new, |c| c.to_string());
        table.write_record([
            one.index.to_string(),
            one.name.clone(),
            one.label.to_string(),
            predicted,
            format!("{:.6}", one.probability),
            format!("{:.6}", one.label_probability),
        ])?;
    }
    table.flush()
}

/// Reads such a table.
///
/// # Errors
/// What is wrong with it, to be put behind its name.
pub fn read(bytes: &[u8]) -> Result<Vec<TestPrediction>, String> {
    let damaged = |e: csv::Error| format!("is damaged: {e}");
    let mut table = csv::Reader::from_reader(bytes);
    let columns = table.headers().map_err(damaged)?;
    if columns != COLUMNS.as_slice() {
        return Err(format!(
            "is no table of predictions: its columns are not {}",
            COLUMNS.join(", ")
        ));
    }
    let mut all = Vec::new();
    for (i, row) in table.records().enumerate() {
        let row = row.map_err(damaged)?;
        let one = prediction(&row);
        // The first line has the names.
        all.push(one.map_err(|why| format!("is damaged: line {}: {why}", i + 2))?);
    }
    Ok(all)
}

fn prediction(row: &csv::StringRecord) -> Result<TestPrediction, String> {
    let field = |at: usize| row.get(at).unwrap_or_default();
    let number = |at: usize| {
        let text = field(at);
        let number = text.parse::<usize>();
        number.map_err(|_| format!("{} is `{text}`, expected a number from 0", COLUMNS[at]))
    };
    let share = |at: usize| {
        let text = field(at);
        let share = text.parse::<f64>().ok();
        let share = share.filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| format!("{} is `{text}`, expected a share of 1", COLUMNS[at]))
    };
    Ok(TestPrediction {
        index: number(0)?,
        name: field(1).to_string(),
        label: number(2)?,
        predicted: match field(3) {
            "" => None,
            _ => Some(number(3)?),
        },
        probability: share(4)?,
        label_probability: share(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_softmax() {
        let (class, shares) = probabilities(&[0.0, 3f32.ln(), f32::NAN]);
        assert_eq!((class, shares), (Some(1), vec![0.25, 0.75, 0.0]));
        // Of equal logits the first, as accuracies count.
        assert_eq!(probabilities(&[1.0, 1.0]).0, Some(0));
        assert_eq!(
            probabilities(&[0.0, f32::INFINITY]),
            (Some(1), vec![0.0, 1.0])
        );
        assert_eq!(probabilities(&[f32::NAN]), (None, vec![]));
    }

    #[test]
    fn what_was_written_comes_back() {
        let one = |name: &str, predicted| TestPrediction {
            index: 7,
            name: name.to_string(),
            label: 2,
            predicted,
            probability: 0.125,
            label_probability: 0.000_001,
        };
        let all = [
            one("cats/a \"b\", c\n.png", Some(3)),
            one("", None),
            one("=1+1", Some(0)),
        ];
        let mut bytes = Vec::new();
        write(&all, &mut bytes).unwrap();
        assert_eq!(read(&bytes).unwrap(), all);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("7,,2,,0.125000,0.000001\n"), "{text}");
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let head = COLUMNS.join(",");
        for (text, expect) in [
            ("a,b\n1,2\n".to_string(), "columns"),
            (format!("{head}\n1,,2\n"), "damaged"),
            (
                format!("{head}\n1,,2,0,0.5,2\n"),
                "label_probability is `2`",
            ),
            (
                format!("{head}\n1,,-2,0,0.5,0.5\n"),
                "line 2: label is `-2`",
            ),
            (format!("{head}\n1,,2,0,NaN,0.5\n"), "probability"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(expect), "{error}");
        }
        assert_eq!(read(format!("{head}\n").as_bytes()).unwrap(), []);
    }
}
