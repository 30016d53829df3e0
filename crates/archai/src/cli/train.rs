//! `archai train NETWORK.yaml`: trains a description as it is written. It is an evaluation without a search
//! (`archai run --no-search` with `nas.eval.template: as_is`), whose settings follow from the file.

use std::path::Path;

use archai_engine::files::FileError;
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
    let path = Path::new(&args.file);
    let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e));
    let text = text.map_err(CliError::at_named)?;
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    let desc = ModelDesc::from_yaml(&text, &args.file, ops.catalog()).map_err(CliError::caused)?;
    // The tower belongs to the description; whether it is trained is the weight of its loss.
    let has_tower = desc.cells.iter().any(|cell| cell.aux_tower.is_some());
    let aux_weight = if has_tower { PAPERS_AUX_WEIGHT } else { 0.0 };
    // Quoted, so that a path which looks like a list or a number stays a text.
    let file = serde_json::Value::from(args.file.as_str());
    let mut all = vec![
        "nas.eval.template=as_is".to_string(),
        format!("nas.eval.final_desc_filename={file}"),
        format!("nas.eval.model_desc.aux_weight={aux_weight}"),
    ];
    all.extend(overrides.iter().cloned());
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let run = RunArgs {
        algos: vec![args.algo.clone()],
        datasets: args.datasets.clone(),
        eval_dataset: None,
        mode: args.mode,
        space: None,
        table: None,
        no_search: Some(true),
        no_eval: None,
        exp_prefix: (args.exp_prefix.clone()).unwrap_or_else(|| stem.into_owned()),
        logdir: args.logdir.clone(),
        config: args.config.clone(),
        config_only: Vec::new(),
        device: args.device.clone(),
        engine: args.engine,
        threads: args.threads,
        seed: args.seed,
        seeds: Vec::new(),
        fresh: args.fresh,
        allow_changed: args.allow_changed,
        dry_run: args.dry_run,
        screen: args.screen,
    };
    Ok((run, all))
}
