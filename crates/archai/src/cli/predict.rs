//! `archai predict`: what pictures show, in the eyes of a trained model.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use archai_data::{DataError, Dataset, Split};
use archai_lab::Lab;
use archai_predict::{Classifier, Guess, Pictures, PredictError, Prediction};
use serde_json::json;

use super::args::{OutputFormat, PredictArgs};
use super::data_found::for_model;
use super::env::Env;
use super::error::CliError;
use super::model;
use super::text::csv_field;

/// Classifies pictures and prints what they show.
///
/// # Errors
/// A model that cannot be used, a place without pictures; pictures that cannot be read, once all others are done.
pub fn run(args: &PredictArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let mut sources = sources(args, overrides, lab, env)?;
    let model = model::load(&args.model, lab)?;
    if let Some(path) = &args.data {
        let found = for_model(path, Split::Test, &model, overrides, lab, env)?;
        let data = model::data(&found.section, found.split, lab)?;
        sources.push(Source::data(data, env));
    }
    model::in_threads(args.threads, || classify(args, &model, &sources, env))
}

/// Pictures of one kind.
enum Source {
    Files(Vec<PathBuf>),
    /// A data set, and the folder at which paths start that are shown.
    Data(Arc<dyn Dataset>, PathBuf),
}

impl Source {
    fn data(data: Arc<dyn Dataset>, env: &Env) -> Source {
        Source::Data(data, env.folder.clone())
    }

    fn len(&self) -> usize {
        match self {
            Source::Files(files) => files.len(),
            Source::Data(data, _) => data.len(),
        }
    }

    /// What a picture is called.
    fn name(&self, i: usize) -> String {
        match self {
            Source::Files(files) => files[i].display().to_string(),
            Source::Data(data, folder) => match data.file(i) {
                Some(file) => {
                    // Without what changes nothing of a path, such as `./`.
                    let file: PathBuf = file
                        .strip_prefix(folder)
                        .unwrap_or(file)
                        .components()
                        .collect();
                    file.display().to_string()
                }
                None => format!("{}:{i}", data.name()),
            },
        }
    }

    /// What a picture is said to show, if somebody says it: the name of its class, or the number of one without a name.
    fn label(&self, i: usize) -> Option<String> {
        match self {
            Source::Files(_) => None,
            Source::Data(data, _) => {
                let class = data.label(i);
                let name = data.class_names().get(class as usize);
                Some(name.cloned().unwrap_or_else(|| class.to_string()))
            }
        }
    }

    /// What some of the pictures show.
    fn predict(
        &self,
        model: &Classifier,
        items: Range<usize>,
    ) -> Result<Vec<Result<Prediction, DataError>>, PredictError> {
        model.predict_each(items.len(), |i| match self {
            Source::Files(files) => model.read(&files[items.start + i]),
            Source::Data(data, _) => data.image(items.start + i),
        })
    }
}

/// What the arguments name, in their order. What is not there is found before the first picture is read.
fn sources(
    args: &PredictArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<Vec<Source>, CliError> {
    let (mut sources, mut others) = (Vec::new(), 0);
    let mut has_data = args.data.is_some();
    for argument in &args.inputs {
        if model::is_dataset(argument) {
            has_data = true;
            let name = argument.to_string_lossy();
            let section = model::section(&name, overrides, lab)?;
            sources.push(Source::data(model::data(&section, Split::Test, lab)?, env));
            continue;
        }
        let found = Pictures::find(&[argument]).map_err(|e| CliError::usage(e.to_string()))?;
        others += found.others;
        match sources.last_mut() {
            Some(Source::Files(files)) => files.extend(found.files),
            _ => sources.push(Source::Files(found.files)),
        }
    }
    if let (Some(first), false) = (overrides.first(), has_data) {
        return Err(CliError::usage(format!(
            "`{first}`: settings have a meaning for data sets alone, and none is named"
        )));
    }
    if others > 0 {
        note(&format!(
            "files that are no pictures by name and content, and are not looked at: {others}"
        ));
    }
    Ok(sources)
}

/// Says something on standard error; whoever closed it does not want to know.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn classify(
    args: &PredictArgs,
    model: &Classifier,
    sources: &[Source],
    env: &Env,
) -> Result<(), CliError> {
    let n: usize = sources.iter().map(Source::len).sum();
    let rows = Rows::new(args, model, sources, n);
    let bar = model::bar(n, "classifying", env.draws && n > 1)?;
    let say = |text: &str| -> Result<(), CliError> {
        let write = || std::io::stdout().lock().write_all(text.as_bytes());
        Ok(bar.suspend(write)?)
    };
    say(rows.head())?;
    let (mut done, mut unreadable) = (0, 0);
    for source in sources {
        for start in (0..source.len()).step_by(args.batch) {
            let items = start..source.len().min(start + args.batch);
            let predictions = source.predict(model, items.clone())?;
            let mut text = String::new();
            for (i, prediction) in items.clone().zip(predictions) {
                let name = source.name(i);
                let prediction = prediction.map_err(|error| why(&error));
                if let Err(problem) = &prediction {
                    unreadable += 1;
                    bar.suspend(|| note(&format!("cannot read `{name}`: {problem}")));
                }
                done += 1;
                let picture = Picture {
                    name: &name,
                    label: source.label(i),
                    prediction: &prediction,
                };
                rows.write(&mut text, &picture, done == n);
            }
            say(&text)?;
            bar.set_position(done as u64);
        }
    }
    bar.finish_and_clear();
    match unreadable {
        0 => Ok(()),
        _ => Err(CliError::failure(format!(
            "{unreadable} of {n} pictures could not be read; they are named above"
        ))),
    }
}

/// What is wrong with a picture. What errors of data sets advise does not help here.
fn why(error: &DataError) -> String {
    match error {
        DataError::Malformed {
            expected, found, ..
        } => format!("expected {expected}, found {found}"),
        DataError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// A picture and what is known of it.
struct Picture<'a> {
    name: &'a str,
    label: Option<String>,
    prediction: &'a Result<Prediction, String>,
}

/// What is printed, picture by picture, so that no more than a batch is in memory.
struct Rows {
    format: OutputFormat,
    /// Classes that are named for each picture.
    top: usize,
    /// Whether a picture has lines of its own, since it is the only one.
    is_single: bool,
    /// Widths of the columns: pictures, classes.
    widths: [usize; 2],
}

impl Rows {
    fn new(args: &PredictArgs, model: &Classifier, sources: &[Source], n: usize) -> Rows {
        /// Longer names of pictures push the rest of their line to the right.
        const WIDEST: usize = 60;
        let count = |text: &str| text.chars().count();
        let top = args.top.unwrap_or(if n == 1 { 5 } else { 1 });
        let names = (sources.iter()).flat_map(|s| (0..s.len()).map(|i| count(&s.name(i))));
        let classes = model.class_names().iter().map(|name| count(name));
        Rows {
            format: args.format.chosen(),
            top: top.min(model.class_names().len()),
            is_single: n == 1,
            widths: [
                names.max().unwrap_or(0).min(WIDEST),
                classes.max().unwrap_or(0),
            ],
        }
    }

    fn head(&self) -> &'static str {
        match self.format {
            OutputFormat::Table => "",
            OutputFormat::Json => "[\n",
            OutputFormat::Csv => "picture,rank,class,name,probability,error,label\n",
        }
    }

    fn write(&self, out: &mut String, picture: &Picture<'_>, is_last: bool) {
        let Picture {
            name: picture,
            label,
            prediction,
        } = picture;
        // Writing to a text cannot fail.
        match self.format {
            OutputFormat::Table => {
                if let Ok(prediction) = prediction {
                    self.line(out, picture, label.as_deref(), &prediction.top(self.top));
                }
            }
            OutputFormat::Json => {
                let mut value = match prediction {
                    Ok(prediction) => {
                        let guess = |g: Guess<'_>| json!({"class": g.class, "name": g.name, "probability": g.probability});
                        let top = prediction.top(self.top).into_iter().map(guess);
                        json!({"picture": picture, "predictions": top.collect::<Vec<_>>()})
                    }
                    Err(problem) => json!({"picture": picture, "error": problem}),
                };
                if let (Some(label), Some(value)) = (label, value.as_object_mut()) {
                    value.insert("label".into(), json!(label));
                }
                let end = if is_last { "\n]" } else { "," };
                let _ = writeln!(out, "  {value}{end}");
            }
            OutputFormat::Csv => {
                let picture = csv_field(picture);
                let label = csv_field(label.as_deref().unwrap_or_default());
                match prediction {
                    Ok(prediction) => {
                        for (rank, g) in prediction.top(self.top).into_iter().enumerate() {
                            let (rank, name) = (rank + 1, csv_field(g.name));
                            let _ = writeln!(
                                out,
                                "{picture},{rank},{},{name},{},,{label}",
                                g.class, g.probability
                            );
                        }
                    }
                    Err(problem) => {
                        let _ = writeln!(out, "{picture},,,,,{},{label}", csv_field(problem));
                    }
                }
            }
        }
    }

    /// The line of a picture, or several of the only one.
    fn line(&self, out: &mut String, picture: &str, label: Option<&str>, top: &[Guess<'_>]) {
        let [pictures, classes] = self.widths;
        let guess = |g: &Guess<'_>| {
            let percent = format!("{:.1} %", 100.0 * g.probability);
            format!("{:<classes$}  {percent:>7}", g.name)
        };
        let guesses: Vec<String> = top.iter().map(guess).collect();
        // What is right needs no word.
        let wrong = label.filter(|label| top.first().is_none_or(|first| first.name != *label));
        let note = wrong.map_or(String::new(), |label| format!("  (labelled {label})"));
        let _ = match self.is_single {
            true => writeln!(out, "{picture}{note}\n  {}", guesses.join("\n  ")),
            false => writeln!(out, "{picture:<pictures$}  {}{note}", guesses.join("  ")),
        };
    }
}
