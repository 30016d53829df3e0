//! A trained model and data for it, as `archai predict` and `archai evaluate` are given them.

use std::path::Path;

use archai_data::{DataError, Dataset, Split, open};
use archai_lab::config::{dataset_of_run, dataset_section};
use archai_lab::{Lab, RunDir};
use archai_predict::{
    Classifier, ModelFile, ModelFileError, ModelFileErrorKind as Kind, PredictError,
};
use archai_spec::config::{Override, parse_overrides, shipped_datasets};
use archai_spec::settings;
use std::sync::Arc;

use super::args::ModelArgs;
use super::error::CliError;

impl From<PredictError> for CliError {
    fn from(error: PredictError) -> Self {
        match error {
            PredictError::Model(error) => error.into(),
            // Data and model that do not go together: nothing was begun.
            PredictError::Mismatch(_) => CliError::input(error),
            error => CliError::caused(error),
        }
    }
}

/// A file that is not there or is no model is the user's to mend.
impl From<ModelFileError> for CliError {
    fn from(error: ModelFileError) -> Self {
        match error.kind {
            Kind::Unreadable => CliError::caused(error),
            _ => CliError::input(error),
        }
    }
}

/// The model that the command line names, ready for work.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn load(args: &ModelArgs, lab: &Lab) -> Result<Classifier, CliError> {
    let path = ModelFile::find(&args.model, args.best)?;
    let components = lab.components();
    let transforms = &components.transforms;
    let model = match Classifier::open(&path, components.ops.catalog(), transforms) {
        // Looking for the ops that algorithms bring takes longer than reading the file, and most models have none.
        Err(PredictError::Model(error)) if error.kind == Kind::Incomplete => {
            let (ops, _) = archai_lab::config::all_ops(lab.algorithms(), components)?;
            Classifier::open(&path, ops.catalog(), transforms)?
        }
        model => model?,
    };
    let Some(file) = &args.classes else {
        return Ok(model);
    };
    let text = std::fs::read_to_string(file)
        .map_err(|e| CliError::at_named(archai_engine::files::FileError::new("read", file, e)))?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let names = names.map(str::to_string).collect();
    model
        .with_class_names(names)
        .map_err(|e| CliError::usage(format!("--classes {}: {e}", file.display())))
}

/// Does something in as many threads as the command line says.
///
/// # Errors
/// Threads that cannot be started.
pub fn in_threads<T: Send>(
    threads: Option<u16>,
    work: impl FnOnce() -> Result<T, CliError> + Send,
) -> Result<T, CliError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.map_or(0, usize::from))
        .build()
        .map_err(|e| CliError::failure(format!("cannot start the threads: {e}")))?
        .install(work)
}

/// The section of the data set of this name or path, all of whose pictures count.
///
/// # Errors
/// There is none, or it cannot be used.
pub fn section(name: &str, overrides: &[String], lab: &Lab) -> Result<settings::Dataset, CliError> {
    Ok(whole(dataset_section(lab, name, parsed(overrides)?)?))
}

/// The section of the data set that a model was trained on: that of its run directory, or the one of the name that its file
/// gives, if such a data set comes with the program.
///
/// # Errors
/// It is not known.
pub fn own_section(
    args: &ModelArgs,
    model: &Classifier,
    overrides: &[String],
    lab: &Lab,
) -> Result<settings::Dataset, CliError> {
    if args.model.is_dir()
        && let Some(section) = dataset_of_run(lab, &RunDir::new(&args.model), parsed(overrides)?)?
    {
        return Ok(whole(section));
    }
    let name = &model.info().provenance.dataset;
    match shipped_datasets().any(|known| known == name) {
        true => section(name, overrides, lab),
        false => Err(CliError::usage(match name.is_empty() {
            true => "the model does not say on which data it was trained; name a data set with --datasets".to_string(),
            false => format!(
                "the model was trained on `{name}`, which does not come with the program; give the path of its YAML file with \
                 --datasets"
            ),
        })),
    }
}

/// All pictures of a data set: a small run may have taken a part of them.
fn whole(section: settings::Dataset) -> settings::Dataset {
    settings::Dataset {
        max_batches: -1,
        ..section
    }
}

fn parsed(overrides: &[String]) -> Result<Vec<Override>, CliError> {
    parse_overrides(overrides).map_err(CliError::config)
}

/// Opens a part of a data set.
///
/// # Errors
/// As [`open`].
pub fn data(
    section: &settings::Dataset,
    split: Split,
    lab: &Lab,
) -> Result<Arc<dyn Dataset>, CliError> {
    open(&lab.components().formats, section, split).map_err(|error| match error {
        DataError::Io { .. } => CliError::caused(error),
        error => CliError::input(error),
    })
}

/// Whether an argument names a data set and no picture: the file of one, or one that comes with the program.
pub fn is_dataset(argument: &Path) -> bool {
    let ending = argument.extension().unwrap_or_default();
    let is_yaml = ending == "yaml" || ending == "yml";
    let is_known = || {
        let name = argument.to_str();
        !argument.exists() && name.is_some_and(|name| shipped_datasets().any(|known| known == name))
    };
    is_yaml || is_known()
}

/// A bar on the terminal, hidden elsewhere.
///
/// # Errors
/// None that a user can see: the template is a constant.
pub fn bar(n: usize, title: &str, draws: bool) -> Result<indicatif::ProgressBar, CliError> {
    if !draws {
        return Ok(indicatif::ProgressBar::hidden());
    }
    let template = "{msg} {bar:30.cyan/dim} {human_pos}/{human_len}   {per_sec}, {eta} to go";
    let style = indicatif::ProgressStyle::with_template(template)
        .map_err(CliError::caused)?
        .progress_chars("━╸─");
    let bar = indicatif::ProgressBar::new(n as u64).with_style(style);
    Ok(bar.with_message(title.to_string()))
}
