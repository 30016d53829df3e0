//! What was probably meant by an argument that no command has: a setting without its path, or the value of an option.

use std::path::Path;

use archai_lab::Lab;
use archai_spec::config::{Schema, shipped_datasets};
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::overrides;

/// Most settings that are offered.
const MOST: usize = 3;

/// The error with what was probably meant, for an argument that `run`, `train` or `config show` do not have.
pub fn unknown_argument(
    error: &clap::Error,
    command_line: &[String],
    lab: &Lab,
) -> Option<clap::Error> {
    let arguments = command_line.get(1..)?;
    if error.kind() != ErrorKind::UnknownArgument || !overrides::are_taken(arguments) {
        return None;
    }
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let message = match written.strip_prefix("--") {
        // The parser knows an option that is nearly the same.
        Some(_) if error.get(ContextKind::SuggestedArg).is_some() => return None,
        Some(name) => setting(name, written, arguments, lab)?,
        None if written.starts_with('-') => return None,
        None => value(written, arguments, lab)?,
    };
    Some(clap::Error::raw(error.kind(), format!("{message}\n")))
}

/// A setting that was given by its last name alone.
fn setting(name: &str, written: &str, arguments: &[String], lab: &Lab) -> Option<String> {
    let name = name.split('=').next()?.replace('-', "_");
    let algorithms = lab.algorithms().iter();
    let schema = algorithms.fold(Schema::settings(), |all, algo| algo.add_section(all));
    let keys = schema.keys_named(&name);
    if keys.is_empty() {
        return None;
    }
    let flag = written.split('=').next()?;
    let given = arguments.iter().enumerate().find_map(|(i, argument)| {
        match argument.strip_prefix(flag)?.strip_prefix('=') {
            Some(value) => Some(value),
            None if argument == flag => arguments.get(i + 1).map(String::as_str),
            None => None,
        }
    });
    let given = given.filter(|value| !value.starts_with("--"));
    let value = given.map_or_else(String::new, |value| format!(" {value}"));
    let offered = keys
        .iter()
        .take(MOST)
        .map(|key| format!("`--{key}{value}`"));
    let offered: Vec<String> = offered.collect();
    Some(format!(
        "there is no option `{flag}`; a setting is given by its whole name: {}",
        offered.join(" or ")
    ))
}

/// A value whose option was left out.
fn value(written: &str, arguments: &[String], lab: &Lab) -> Option<String> {
    let is_train = arguments.first().is_some_and(|command| command == "train");
    let algo = if is_train { "--algo" } else { "--algos" };
    let first = written.split(',').next()?;
    let is_file =
        || written.ends_with(".yaml") || written.ends_with(".yml") || Path::new(written).exists();
    Some(if lab.algorithms().get(first).is_ok() {
        format!("`{written}` is an algorithm; write `{algo} {written}`")
    } else if shipped_datasets().any(|known| known == first) {
        format!("`{written}` is a data set; write `--datasets {written}`")
    } else if lab.components().spaces.get(written).is_ok() {
        format!("`{written}` is a search space; write `--space {written}`")
    } else if is_file() {
        format!(
            "`{written}` stands alone; an option says what a file is: `--datasets {written}` (a data set) or `--config {written}` \
             (settings); a network is trained by `archai train {written}`"
        )
    } else {
        return None;
    })
}
