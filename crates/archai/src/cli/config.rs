//! `archai config …`: what a run would use, and what may stand in a configuration file.

use std::io::Write;

use archai_algos::Algorithms;
use archai_spec::config::{Shape, parse_overrides};

use super::args::{ConfigCommand, ShowArgs, is_on};
use super::error::CliError;
use super::source::ConfigRequest;

/// Runs a command of the group.
///
/// # Errors
/// An unknown algorithm or data set, a configuration that cannot be used.
pub fn run(command: &ConfigCommand, overrides: &[String], algos: &Algorithms) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show(args) => show(args, overrides, algos),
        ConfigCommand::Schema { algo } => schema(algo.as_deref(), algos),
    }
}

fn show(args: &ShowArgs, overrides: &[String], algos: &Algorithms) -> Result<(), CliError> {
    let request = ConfigRequest {
        algo: algos.get(&args.algo).map_err(|e| CliError::usage(e.to_string()))?,
        dataset: args.datasets.as_deref(),
        eval_dataset: args.eval_dataset.as_deref(),
        full: is_on(args.full),
        config: args.config.as_deref(),
        config_only: args.config_only.as_deref(),
        overrides: parse_overrides(overrides).map_err(CliError::config)?,
    };
    let tree = request.load()?;
    // Values that contradict each other are an error here too, not only once a run starts.
    tree.settings().map_err(CliError::config)?;
    let text = if args.origins { tree.to_yaml_with_origins() } else { tree.to_yaml() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn schema(algo: Option<&str>, algos: &Algorithms) -> Result<(), CliError> {
    let shape = match algo {
        Some(name) => algos.get(name).map_err(|e| CliError::usage(e.to_string()))?.shape(),
        None => algos.iter().fold(Shape::settings(), |shape, algo| algo.add_section(shape)),
    };
    Ok(writeln!(std::io::stdout(), "{:#}", shape.editor_schema())?)
}
