//! `archai export`: a trained network in the formats of other programs.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::Arc;

use archai_data::Split;
use archai_engine::experiment::RunFile;
use archai_engine::export::onnx::Int8Exporter;
use archai_engine::export::{Exporter, ModelFile, width};
use archai_lab::Lab;
use archai_lab::export::ExportRequest;
use archai_lab::forecast::bytes;
use archai_lab::summary::by_folder;
use archai_predict::{Classifier, Evaluation, PredictError};
use archai_spec::numbers::{percent, thousands};
use archai_spec::settings::ExportOptions;
use serde_json::json;

use super::args::{ExportArgs, ModelArgs};
use super::env::Env;
use super::error::CliError;
use super::model;
use super::onnxruntime::{Latencies, Onnxruntime};
use super::text::{self, wrapped};

/// Writes the files and says what they are, how large, and how they are loaded.
///
/// # Errors
/// As [`Lab::export`].
pub fn run(args: &ExportArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let formats: Vec<String> = args.to.iter().map(|name| name.trim().to_string()).collect();
    if !formats.iter().any(|name| name == "onnx") {
        if args.int8 {
            return Err(CliError::usage(
                "--int8 writes an ONNX file beside the usual one; name `onnx` in --to",
            ));
        }
        if args.latency_with.is_some() {
            return Err(CliError::usage(
                "--latency-with measures written ONNX files; name `onnx` in --to",
            ));
        }
    }
    let runtime = match &args.latency_with {
        Some(python) => Some(Onnxruntime::new(python)?),
        None => None,
    };
    let mut own: Vec<Arc<dyn Exporter>> = Vec::new();
    let mut losses = Vec::new();
    if args.int8 || args.half {
        let subject = Subject::new(args, overrides, lab);
        match subject {
            Ok(subject) => {
                if args.half {
                    losses.push(subject.in_half(&options(args), lab)?);
                }
                if args.int8 {
                    let (exporter, loss) = subject.in_int8(args, lab, env)?;
                    own.push(Arc::new(exporter));
                    losses.push(loss);
                }
            }
            Err(error) if args.int8 => return Err(error),
            // The files can be written all the same.
            Err(error) => losses.push(Loss {
                what: "half precision",
                measured: Err(error.to_string()),
            }),
        }
    }
    let request = ExportRequest {
        model: args.model.clone(),
        best: args.best,
        formats,
        own,
        options: options(args),
        out: args.out.clone(),
        replace: args.replace,
    };
    let files = lab.export(&request)?;
    if args.training && !has_tower(args, lab)? {
        let note = "the model file holds no auxiliary tower, so none is written; an evaluation whose network has one keeps it with \
                    --nas.eval.export_options.training true";
        // Whoever closed standard error does not want to know.
        let _ = writeln!(std::io::stderr(), "{note}");
    }
    let latencies = match runtime {
        Some(runtime) => {
            let onnx = files.iter().map(|file| file.path.as_path());
            let onnx = onnx.filter(|path| path.extension().is_some_and(|e| e == "onnx"));
            Some(runtime.measure(&onnx.collect::<Vec<_>>())?)
        }
        None => None,
    };
    let text = match args.json {
        true => format!("{:#}\n", as_json(&files, &losses, latencies.as_ref())),
        false => {
            let files = by_folder(&files, &request.folder());
            as_text(&files, &losses, latencies.as_ref())
        }
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Whether the model file holds an auxiliary tower.
fn has_tower(args: &ExportArgs, lab: &Lab) -> Result<bool, CliError> {
    let (ops, _) = archai_lab::config::all_ops(lab.algorithms(), lab.components())?;
    let file = ModelFile::open(&ModelFile::find(&args.model, args.best)?, ops.catalog())?;
    Ok(file.desc.cells.iter().any(|cell| cell.aux_tower.is_some()))
}

fn options(args: &ExportArgs) -> ExportOptions {
    ExportOptions {
        input: args.input.into(),
        softmax: args.softmax,
        fold_norms: args.fold_norms,
        half: args.half,
        training: args.training,
    }
}

/// What fewer bits change.
struct Loss {
    what: &'static str,
    /// Or why it is not known.
    measured: Result<Measured, String>,
}

struct Measured {
    dataset: String,
    /// In 32 bits, and in fewer.
    accuracies: [f64; 2],
    pictures: u64,
    /// How many there are.
    all: usize,
    /// Pictures of the training data that ranges were found on.
    calibration: Option<usize>,
}

impl Measured {
    fn new(subject: &Subject<'_>, before: &Evaluation, after: &Evaluation) -> Self {
        Measured {
            dataset: subject.section.name.clone(),
            accuracies: [before.top1(), after.top1()],
            pictures: after.pictures(),
            all: subject.test.len(),
            calibration: None,
        }
    }
}

/// A model and the data that it is measured on.
struct Subject<'a> {
    file: ModelFile,
    classifier: Classifier,
    ops: archai_engine::OpRegistry,
    section: archai_spec::settings::Dataset,
    test: Arc<dyn archai_data::Dataset>,
    args: &'a ExportArgs,
}

/// Multiply-adds that simulating a quantised network may take: about two minutes of two processors.
const MOST_MACS: u64 = 100_000_000_000;
/// Pictures that are always looked at.
const LEAST_PICTURES: u64 = 100;

impl<'a> Subject<'a> {
    fn new(args: &'a ExportArgs, overrides: &[String], lab: &Lab) -> Result<Self, CliError> {
        let model_args = ModelArgs {
            model: args.model.clone(),
            best: args.best,
            classes: None,
        };
        let classifier = model::load(&model_args, lab)?;
        let section = match &args.datasets {
            Some(name) => model::section(name, overrides, lab)?,
            None => model::own_section(&model_args, &classifier, overrides, lab)?,
        };
        let test = model::data(&section, Split::Test, lab)?;
        let (ops, _) = archai_lab::config::all_ops(lab.algorithms(), lab.components())?;
        let file = ModelFile::open(&ModelFile::find(&args.model, args.best)?, ops.catalog())?;
        Ok(Subject {
            file,
            classifier,
            ops,
            section,
            test,
            args,
        })
    }

    fn in_half(&self, options: &ExportOptions, lab: &Lab) -> Result<Loss, CliError> {
        let state = width::rounded(&self.file.state, options);
        let halved = ModelFile {
            state: state.map_err(|e| CliError::usage(e.to_string()))?,
            ..self.file.clone()
        };
        let transforms = &lab.components().transforms;
        let halved = Classifier::new(halved, self.ops.catalog(), transforms)?;
        let of = |model: &Classifier| model.evaluate(&self.section, &*self.test, 32, &mut |_| {});
        let (before, after) = model::in_threads(None, || {
            let both = of(&self.classifier).and_then(|before| Ok((before, of(&halved)?)));
            both.map_err(PredictError::into)
        })?;
        Ok(Loss {
            what: "half precision",
            measured: Ok(Measured::new(self, &before, &after)),
        })
    }

    fn in_int8(
        &self,
        args: &ExportArgs,
        lab: &Lab,
        env: &Env,
    ) -> Result<(Int8Exporter, Loss), CliError> {
        let train = model::data(&self.section, Split::Train, lab)?;
        let catalog = self.ops.catalog();
        let cost = self.file.desc.cost(catalog).map_err(CliError::caused)?;
        let affordable = (MOST_MACS / cost.total(false).macs.max(1)).max(LEAST_PICTURES);
        let pictures = self.test.len().min(affordable as usize);
        let bar = model::bar(pictures, "simulating 8 bits", env.draws)?;
        let (quantised, compared) = model::in_threads(None, || {
            let model = &self.classifier;
            let (section, n) = (&self.section, self.args.calibration);
            let quantised = model.quantise(&self.file, catalog, section, &*train, n)?;
            let mut progress = |done: usize| bar.set_position(done as u64);
            let compared =
                model.compare(&quantised, section, &*self.test, pictures, &mut progress)?;
            Ok((quantised, compared))
        })?;
        bar.finish_and_clear();
        let measured = Measured {
            calibration: Some(args.calibration.min(train.len())),
            ..Measured::new(self, &compared.before, &compared.after)
        };
        let loss = Loss {
            what: "8 bits",
            measured: Ok(measured),
        };
        Ok((Int8Exporter::new(quantised), loss))
    }
}

fn as_json(files: &[RunFile], losses: &[Loss], latencies: Option<&Latencies>) -> serde_json::Value {
    let files = files.iter().map(|file| {
        json!({ "path": file.path, "what": file.what, "bytes": file.bytes, "usage": file.usage })
    });
    let mut value = json!({ "version": 1, "files": files.collect::<Vec<_>>() });
    if !losses.is_empty() {
        let losses = losses.iter().map(|loss| match &loss.measured {
            Ok(m) => json!({
                "what": loss.what,
                "dataset": m.dataset,
                "pictures": m.pictures,
                "accuracy": m.accuracies[0],
                "accuracy_after": m.accuracies[1],
                "calibration": m.calibration,
            }),
            Err(reason) => json!({ "what": loss.what, "not_measured": reason }),
        });
        value["losses"] = losses.collect();
    }
    if let Some(latencies) = latencies {
        value["onnxruntime"] = json!(latencies);
    }
    value
}

impl Loss {
    fn as_text(&self) -> String {
        let m = match &self.measured {
            Ok(measured) => measured,
            Err(reason) => {
                return format!(
                    "{}: the accuracy is not measured, because {reason}",
                    self.what
                );
            }
        };
        let pictures = match m.pictures as usize == m.all {
            true => format!("{} test pictures", thousands(m.pictures)),
            false => format!(
                "{} of {} test pictures",
                thousands(m.pictures),
                thousands(m.all as u64)
            ),
        };
        let calibrated = m.calibration.map_or_else(String::new, |n| {
            format!(
                " (simulated; calibrated with {} training pictures)",
                thousands(n as u64)
            )
        });
        format!(
            "{}: {} of {pictures} of {} are right; in 32 bits {}{calibrated}",
            self.what,
            percent(m.accuracies[1]),
            m.dataset,
            percent(m.accuracies[0]),
        )
    }
}

impl Latencies {
    fn as_text(&self) -> String {
        let name = |path: &std::path::Path| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().into_owned()
        };
        let width = self.files.iter().map(|f| name(&f.path).chars().count());
        let width = width.max().unwrap_or(0);
        let threads = match self.threads {
            1 => "1 thread".to_string(),
            n => format!("{n} threads"),
        };
        let mut out = format!(
            "medians of onnxruntime {} on {threads} of this machine:\n",
            self.version
        );
        for file in &self.files {
            let _ = write!(out, "  {:<width$}", name(&file.path));
            for (i, of) in file.batches.iter().enumerate() {
                let pictures = if of.batch == 1 { "picture" } else { "pictures" };
                let comma = if i == 0 { " " } else { "," };
                let _ = write!(
                    out,
                    "{comma} {:.2} ms for {} {pictures}",
                    of.median_ms, of.batch
                );
            }
            out.push('\n');
        }
        out
    }
}

fn as_text(files: &[RunFile], losses: &[Loss], latencies: Option<&Latencies>) -> String {
    let names: Vec<String> = files.iter().map(|f| f.path.display().to_string()).collect();
    let sizes: Vec<String> = files.iter().map(|f| bytes(f.bytes.unwrap_or(0))).collect();
    let longest = |texts: &[String]| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    let (name, size) = (longest(&names), longest(&sizes));
    let mut out = String::new();
    for (i, file) in files.iter().enumerate() {
        let line = format!("{:<name$}  {:>size$}  {}", names[i], sizes[i], file.what);
        let _ = writeln!(out, "{}", wrapped(&line, text::width(), name + size + 6));
    }
    for loss in losses {
        let _ = writeln!(out, "\n{}", wrapped(&loss.as_text(), text::width(), 2));
    }
    if let Some(latencies) = latencies {
        let _ = write!(out, "\n{}", latencies.as_text());
    }
    for file in files {
        if let Some(usage) = &file.usage {
            let file = file.path.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(out, "\nTo load {file}:\n  {usage}\n");
        }
    }
    out
}
