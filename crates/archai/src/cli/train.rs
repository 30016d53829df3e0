//! `archai train NETWORK.yaml`: trains a description as it is written. It is an evaluation without a search
//! (`archai run --no-search` with `nas.eval.template: as_is`), whose settings follow from the file. With `--model` it is fitted
//! to the data and starts from the model's weights.

use std::path::{Path, PathBuf};

use archai_engine::export::ModelFile;
use archai_engine::files::{FOUND_DESC, FULL_DESC, FileError};
use archai_lab::{Lab, config::all_ops};
use archai_spec::desc::ModelDesc;

use super::args::{RunArgs, TrainArgs};
use super::desc::PAPERS_AUX_WEIGHT;
use super::error::CliError;

/// The flags and the overrides of the `run` that trains the network. `overrides`, the user's own, come last and so count.
///
/// # Errors
/// A file that cannot be read or is no description.
pub fn as_run(
    args: &TrainArgs,
    overrides: &[String],
    lab: &Lab,
) -> Result<(RunArgs, Vec<String>), CliError> {
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    // Quoted, so that a path which looks like a list or a number stays a text.
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy().into_owned());
    let (path, mut all) = match (&args.model, &args.file) {
        (Some(model), _) => {
            let file = ModelFile::find(model, false).map_err(CliError::input)?;
            ModelFile::open(&file, ops.catalog()).map_err(CliError::input)?;
            let text = quoted(&file);
            let all = vec![
                "nas.eval.template=adapt".to_string(),
                format!("nas.eval.init_weights={text}"),
                format!("nas.eval.final_desc_filename={text}"),
                // Model files have no towers.
                "nas.eval.model_desc.aux_weight=0".to_string(),
            ];
            (file, all)
        }
        (None, Some(file)) => {
            let path = PathBuf::from(file);
            refuse_folder(&path)?;
            let text = std::fs::read_to_string(&path).map_err(|e| FileError::new("read", &path, e));
            let text = text.map_err(CliError::at_named)?;
            let desc = ModelDesc::from_yaml(&text, file, ops.catalog()).map_err(CliError::input)?;
            // The tower belongs to the description; whether it is trained is the weight of its loss.
            let has_tower = desc.cells.iter().any(|cell| cell.aux_tower.is_some());
            let aux_weight = if has_tower { PAPERS_AUX_WEIGHT } else { 0.0 };
            let all = vec![
                "nas.eval.template=as_is".to_string(),
                format!("nas.eval.final_desc_filename={}", quoted(&path)),
                format!("nas.eval.model_desc.aux_weight={aux_weight}"),
            ];
            (path, all)
        }
        (None, None) => {
            return Err(CliError::usage(
                "name a description, or a trained network with --model",
            ));
        }
    };
    all.extend(overrides.iter().cloned());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let prefix = args.exp_prefix.as_deref().unwrap_or(&stem);
    let run = RunArgs {
        datasets: args.datasets.clone(),
        data: args.data.clone(),
        resolution: args.resolution.clone(),
        mode: args.mode,
        logdir: args.logdir.clone(),
        config: args.config.clone(),
        fresh: args.fresh,
        allow_changed: args.allow_changed,
        track: args.track.clone(),
        dry_run: args.dry_run,
        screen: args.screen,
        ..RunArgs::evaluation(&args.algo, prefix, &args.compute)
    };
    Ok((run, all))
}

/// A run directory holds the found network and, after an evaluation, the scaled one. Which of them to train is the user's to say.
fn refuse_folder(path: &Path) -> Result<(), CliError> {
    if !path.is_dir() {
        return Ok(());
    }
    let there = [
        ("the scaled network", FULL_DESC),
        ("the found one, small as it was searched for", FOUND_DESC),
    ];
    let there = there.map(|(what, name)| (what, path.join(name)));
    let there = there.iter().filter(|(_, file)| file.is_file());
    let there: Vec<String> = there
        .map(|(what, file)| format!("`{}` ({what})", file.display()))
        .collect();
    let hint = match there.is_empty() {
        true => "no run directory either: a run's descriptions are not in it".to_string(),
        false => format!("name what to train: {}", there.join(" or ")),
    };
    Err(CliError::usage(format!(
        "`{}` is a folder and no model description; {hint}",
        path.display()
    )))
}
