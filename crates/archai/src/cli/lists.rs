//! `archai algos`, `archai ops`, `archai exporters` and their like: what there is, a line each.

use std::io::Write;

use archai_data::Formats;
use archai_engine::finalize::NamedFinalizer;
use archai_lab::config::{ConfigRequest, all_ops};
use archai_lab::{Lab, RunMode};
use archai_spec::config::shipped_datasets;
use archai_spec::registry::{Named, Registry};
use archai_spec::settings::Dataset;
use serde_json::{Value, json};

use super::args::ListArgs;
use super::error::CliError;
use super::text::{self, wrapped};

/// A name, what it is, and what programs may want to know besides.
///
/// What belongs to one algorithm alone says so in `more`, and beside its name where people read it: another may have the same
/// name.
struct Entry {
    name: String,
    about: String,
    more: Value,
}

/// Lists algorithms.
///
/// # Errors
/// Standard output that cannot be written.
pub fn algos(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let entries = lab.algorithms().iter().map(|algo| Entry {
        name: algo.name().to_string(),
        about: match algo.paper_title() {
            Some(paper) => format!("{} ({paper})", algo.about()),
            None => algo.about().to_string(),
        },
        more: json!({ "paper": algo.paper_title() }),
    });
    print(args, entries)
}

/// Lists operations, those that algorithms bring to their runs included.
///
/// # Errors
/// An algorithm whose default settings cannot be used; standard output that cannot be written.
pub fn ops(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let (ops, brought) = all_ops(lab.algorithms(), lab.components())?;
    let entries = ops.catalog().iter().map(|op| {
        let algorithm = brought.iter().find(|(name, _)| name == op.name());
        Entry {
            name: op.name().to_string(),
            about: op.summary().to_string(),
            more: json!({ "primitive": op.is_primitive(), "algorithm": algorithm.map(|(_, algo)| algo) }),
        }
    });
    let entries: Vec<Entry> = entries.collect();
    print(args, entries)
}

/// Lists search spaces.
///
/// # Errors
/// Standard output that cannot be written.
pub fn spaces(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let entries = lab.components().spaces.iter().map(|space| Entry {
        name: space.name().to_string(),
        about: space.about().to_string(),
        more: json!({ "has_settings": space.config().is_some() }),
    });
    print(args, entries)
}

/// Lists the finalizers of every supernet, then those that algorithms bring.
///
/// # Errors
/// An algorithm whose default settings cannot be used; standard output that cannot be written.
pub fn finalizers(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let entry = |finalizer: &NamedFinalizer, algorithm: Option<&str>| Entry {
        name: finalizer.name().to_string(),
        about: finalizer.about().to_string(),
        more: json!({ "algorithm": algorithm }),
    };
    let shared = lab.components().finalizers.iter();
    let mut entries: Vec<Entry> = shared.map(|finalizer| entry(finalizer, None)).collect();
    for algo in lab.algorithms().iter() {
        let request = ConfigRequest {
            algos: lab.algorithms(),
            components: lab.components(),
            algo,
            others: Vec::new(),
            dataset: None,
            eval_dataset: None,
            space: None,
            mode: RunMode::default(),
            config: None,
            config_only: None,
            overrides: Vec::new(),
            folder: &lab.host().folder,
        };
        let runner = algo.runner(&request.load()?).map_err(CliError::config)?;
        let own = runner.finalizers();
        entries.extend(own.iter().map(|own| entry(own, Some(algo.name()))));
    }
    print(args, entries)
}

/// Lists the formats in which a trained model can be left.
///
/// # Errors
/// Standard output that cannot be written.
pub fn exporters(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let entries = lab.components().exporters.iter().map(|exporter| Entry {
        name: exporter.name().to_string(),
        about: match exporter.extension() {
            "" => format!("{} (a folder)", exporter.about()),
            extension => format!("{} (.{extension})", exporter.about()),
        },
        more: json!({ "extension": exporter.extension() }),
    });
    print(args, entries)
}

/// Lists the devices that can be computed on here.
///
/// # Errors
/// Standard output that cannot be written.
pub fn devices(args: ListArgs, lab: &Lab) -> Result<(), CliError> {
    let kinds = lab.components().devices.iter();
    let entries = kinds.flat_map(|kind| {
        let available = kind.available().into_iter();
        available.map(|device| Entry {
            name: device.name,
            about: device.about,
            more: json!({ "kind": kind.name() }),
        })
    });
    print(args, entries)
}

/// Lists data sets.
///
/// # Errors
/// Standard output that cannot be written.
pub fn datasets(args: ListArgs, formats: &Formats) -> Result<(), CliError> {
    let entries: Vec<Entry> = shipped_datasets()
        .map(|name| dataset(name, formats))
        .collect::<Result<_, _>>()?;
    print(args, entries)
}

/// Lists what a configuration may name: data formats, transforms.
///
/// # Errors
/// Standard output that cannot be written.
pub fn named<T: Named + ?Sized>(args: ListArgs, list: &Registry<T>) -> Result<(), CliError> {
    let entries = list.iter().map(|item| Entry {
        name: item.name().to_string(),
        about: item.about().to_string(),
        more: json!({}),
    });
    print(args, entries)
}

fn dataset(name: &str, formats: &Formats) -> Result<Entry, CliError> {
    let dataset = Dataset::shipped(name).map_err(CliError::config)?;
    let format = formats
        .get(&dataset.format)
        .map_err(|unknown| CliError::usage(format!("dataset.format: {unknown}")))?;
    let [height, width] = dataset.size;
    let colour = if dataset.channels == 1 {
        "grey"
    } else {
        "colour"
    };
    let place = if !format.needs_path() {
        "in the program".to_string()
    } else if archai_data::download::by_name(name).is_some() {
        format!("{}; fetched by `archai data get {name}`", dataset.path)
    } else {
        dataset.path.clone()
    };
    Ok(Entry {
        name: name.to_string(),
        about: format!(
            "{} classes, {colour}, {height}x{width}; {place}",
            dataset.n_classes
        ),
        more: json!({ "dataset": dataset }),
    })
}

impl Entry {
    /// The name for people.
    fn label(&self) -> String {
        match self.more["algorithm"].as_str() {
            Some(algorithm) => format!("{} ({algorithm})", self.name),
            None => self.name.clone(),
        }
    }
}

fn print(args: ListArgs, entries: impl IntoIterator<Item = Entry>) -> Result<(), CliError> {
    let entries: Vec<Entry> = entries.into_iter().collect();
    let mut out = std::io::stdout().lock();
    if args.json {
        let list: Vec<Value> = entries
            .iter()
            .map(|entry| {
                let mut value = json!({ "name": entry.name, "about": entry.about });
                if let (Value::Object(all), Value::Object(more)) = (&mut value, &entry.more) {
                    all.extend(more.clone());
                }
                value
            })
            .collect();
        writeln!(out, "{:#}", Value::Array(list))?;
    } else {
        let width = entries
            .iter()
            .map(|entry| entry.label().len())
            .max()
            .unwrap_or(0);
        for entry in &entries {
            let line = format!("{:<width$}  {}", entry.label(), entry.about);
            writeln!(out, "{}", wrapped(&line, text::width(), width + 2))?;
        }
    }
    Ok(())
}
