//! `archai import`: weights of other programs, or of this one, as one model file.

use std::io::Write;

use archai_engine::export::import::{self, DartsSize, Layout, Weights};
use archai_engine::export::{
    Exported, Exporter, ModelInfo, Options, info_path, safetensors::SafetensorsExporter,
};
use archai_engine::files::{FileError, write_atomically};
use archai_lab::{Lab, config::all_ops};
use archai_spec::desc::{Genotype, ModelDesc, OpCatalog, Shape, Which};
use archai_spec::numbers::thousands;
use archai_spec::settings::Dataset;

use super::args::{CIFAR10, ImportArgs, MacroArgs, StemsArg};
use super::desc::{self, IMAGENET};
use super::error::CliError;

/// The text of a model file's header that holds the description.
const DESC_TEXT: &str = "model_desc";

/// Runs the command.
///
/// # Errors
/// Files that cannot be read or written, weights that are not those of the network.
pub fn run(args: &ImportArgs, lab: &Lab) -> Result<(), CliError> {
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    let catalog = ops.catalog();
    let path = &args.weights;
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|e| CliError::at_named(FileError::new("read", path, e)))?;
    let in_file = |e: std::io::Error| CliError::input(FileError::new("use", path, e));
    let weights = Weights::read(&bytes).map_err(in_file)?;
    drop(bytes);
    let mut notes = weights.notes.clone();

    let size = DartsSize::of(&weights);
    let dataset = match (&args.dataset, size) {
        (Some(name), _) => name.as_str(),
        (None, Some(DartsSize { imagenet: true, .. })) => IMAGENET,
        (None, _) => CIFAR10,
    };
    let desc = match (&args.genotype, &args.desc) {
        (Some(genotype), _) => of_genotype(genotype, args, &weights, dataset, lab, catalog)?,
        (None, Some(file)) => desc::load(file, catalog)?,
        (None, None) => match weights.texts.get(DESC_TEXT) {
            Some(text) => {
                let name = format!("the header of `{}`", path.display());
                ModelDesc::from_yaml(text, &name, catalog).map_err(CliError::input)?
            }
            None => {
                return Err(CliError::usage(format!(
                    "`{}` holds weights, and no description of their network: say what it is with --genotype TEXT (weights of \
                     the original DARTS code) or --desc FILE (a description of this program, such as a run's \
                     full_model_desc.yaml)",
                    path.display()
                )));
            }
        },
    };
    let layouts = import::layouts();
    let layout = match (&args.layout, size) {
        (Some(name), _) => layouts.get(name),
        (None, Some(_)) => layouts.get("darts"),
        (None, None) => layouts.get("archai"),
    };
    let layout: &dyn Layout = layout.map_err(|e| CliError::usage(e.to_string()))?.as_ref();
    let (mut state, idle) = import::place(&weights, &desc, catalog, layout).map_err(in_file)?;

    let info = info(args, &weights, dataset, &desc, lab, &mut notes)?;
    // Towers are for training, and model files hold what is used after it.
    let without = desc.without_towers();
    let main = without.lower(catalog).map_err(CliError::caused)?;
    let params = main.layers.iter().flat_map(|layer| &layer.params);
    let names: std::collections::HashSet<&str> = params.map(|param| param.name.as_str()).collect();
    let placed = state.len();
    state.retain(|tensor| names.contains(tensor.name.as_str()));
    let of_tower = placed - state.len();
    for (n, what) in [
        (of_tower, "of the auxiliary tower, which only trainings use"),
        (idle, "that count batches, which no network computes with"),
    ] {
        if n > 0 {
            notes.push(format!("left out: {n} tensors {what}"));
        }
    }
    desc::notes(&notes)?;

    let exported = Exported {
        desc: &without,
        catalog,
        state: &state,
        info: &info,
        options: &Options::default(),
    };
    write_atomically(&args.out, |out| SafetensorsExporter.export(&exported, out))
        .map_err(CliError::at_named)?;
    let numbers: usize = state.iter().map(|tensor| tensor.values.len()).sum();
    Ok(writeln!(
        std::io::stdout(),
        "{}: {} tensors, {} numbers, {} cells, {} classes (names of `{}`)",
        args.out.display(),
        state.len(),
        thousands(numbers as u64),
        without.cells.len(),
        without.n_classes,
        layout.name(),
    )?)
}

/// The network of a genotype in the size that the weights have.
fn of_genotype(
    genotype: &str,
    args: &ImportArgs,
    weights: &Weights,
    dataset: &str,
    lab: &Lab,
    catalog: &OpCatalog,
) -> Result<ModelDesc, CliError> {
    // A text has brackets, and names of files have none that open first.
    let (text, name) = match genotype.contains(['(', '{', '[']) {
        true => (genotype.to_string(), "--genotype".to_string()),
        false => desc::read(genotype)?,
    };
    let which = match &args.name {
        Some(name) => Which::Named(name.clone()),
        None => Which::Only,
    };
    let genotype = Genotype::find(&text, &which);
    let genotype = genotype.map_err(|e| CliError::input(e.at(&name)))?;
    let size = DartsSize::of(weights).ok_or_else(|| {
        CliError::usage(format!(
            "--genotype is for weights of the original DARTS code, whose tensors are called `stem.0.weight`, \
             `cells.0.preprocess0.op.1.weight` and the like; in `{}` they are called {}; for weights of this program give --desc FILE",
            args.weights.display(),
            some_names(weights)
        ))
    })?;
    for (flag, given, found) in [
        ("--channels", args.channels, size.channels),
        ("--layers", args.layers, size.cells),
        ("--classes", args.classes, size.classes),
    ] {
        if given.is_some_and(|given| given != found) {
            return Err(CliError::usage(format!(
                "{flag} {}: the weights in `{}` are of a network with {found}; leave the flag out, or take other weights",
                given.unwrap_or_default(),
                args.weights.display()
            )));
        }
    }
    let asked = MacroArgs {
        channels: Some(size.channels),
        cells: Some(size.cells),
        reductions: None,
        stems: None,
        aux: size.tower,
        dataset: dataset.to_string(),
    };
    let stems = if size.imagenet {
        StemsArg::Imagenet
    } else {
        StemsArg::One
    };
    let mut settings = desc::settings(&asked, stems, lab)?;
    settings.dataset.n_classes = size.classes;
    settings.dataset.channels = size.image_channels;
    // The code as published has this norm for CIFAR and not for ImageNet; the file knows.
    settings.aux_tower_second_norm =
        (weights.tensors.iter()).any(|t| t.name == "auxiliary_head.features.6.running_mean");
    let built = archai_spec::desc::from_genotype(&genotype, &settings, true, catalog);
    Ok(built.map_err(CliError::input)?.desc)
}

/// The first names of a file's tensors.
fn some_names(weights: &Weights) -> String {
    let names = weights
        .tensors
        .iter()
        .take(3)
        .map(|t| format!("`{}`", t.name));
    match names.collect::<Vec<_>>() {
        names if names.is_empty() => "nothing".to_string(),
        names => names.join(", "),
    }
}

/// What the network takes and gives: from a `model.yaml` that is named or lies beside the weights, or from the data set.
fn info(
    args: &ImportArgs,
    weights: &Weights,
    dataset: &str,
    desc: &ModelDesc,
    lab: &Lab,
    notes: &mut Vec<String>,
) -> Result<ModelInfo, CliError> {
    let beside = info_path(&args.weights);
    let from = match (&args.info, &args.dataset, &args.genotype) {
        (Some(file), _, _) => Some(file.clone()),
        // A run leaves it beside its weights.
        (None, None, None) if beside.is_file() => Some(beside),
        _ => None,
    };
    let Shape {
        channels,
        height,
        width,
        ..
    } = desc.input;
    let mut info = match &from {
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|e| CliError::at_named(FileError::new("read", file, e)))?;
            notes.push(format!(
                "image size, normalisation and classes are those of `{}`",
                file.display()
            ));
            import::read_info(&text).map_err(|e| CliError::input(FileError::new("use", file, e)))?
        }
        // A model file says it itself.
        None if args.dataset.is_none()
            && args.genotype.is_none()
            && weights.texts.contains_key(DESC_TEXT) =>
        {
            let info = ModelInfo::from_metadata(&weights.texts, desc.n_classes);
            info.map_err(CliError::failure)?
        }
        None => {
            notes.push(format!(
                "the network gets images that are normalised as those of {dataset}; --dataset and --info say otherwise"
            ));
            let data: Dataset = desc::dataset(dataset, lab)?;
            ModelInfo::new(
                &Dataset {
                    n_classes: desc.n_classes,
                    ..data
                },
                &[],
            )
        }
    };
    if let Some(file) = &args.class_names {
        let (text, _) = desc::read(&file.to_string_lossy())?;
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        info.class_names = names.map(String::from).collect();
    }
    let names = info.class_names.len();
    if info.n_classes != desc.n_classes || ![0, desc.n_classes].contains(&names) {
        return Err(CliError::usage(format!(
            "the network has {} classes, but {} are said and {names} named; give a file of {} lines with --class-names, or other \
             data with --dataset or --info",
            desc.n_classes, info.n_classes, desc.n_classes
        )));
    }
    if (info.channels, info.size) != (channels, [height, width]) {
        return Err(CliError::usage(format!(
            "the network takes {}, but {}x{}x{} are said; give its data set with --dataset, or a file with --info",
            desc::shape(desc.input),
            info.channels,
            info.size[0],
            info.size[1]
        )));
    }
    Ok(info)
}
