//! `archai config …`: what a run would use, and what may stand in a configuration file.

use std::io::Write;

use archai_lab::{Lab, config::ConfigRequest};
use archai_spec::config::{Schema, parse_overrides};
use serde_json::Value;

use super::args::{ConfigCommand, ShowArgs, is_on};
use super::error::CliError;

/// Runs a command of the group.
///
/// # Errors
/// An unknown algorithm or data set, a configuration that cannot be used.
pub fn run(command: &ConfigCommand, overrides: &[String], lab: &Lab) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show(args) => show(args, overrides, lab),
        ConfigCommand::Schema { algo } => schema(algo.as_deref(), lab),
    }
}

fn show(args: &ShowArgs, overrides: &[String], lab: &Lab) -> Result<(), CliError> {
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo: lab
            .algorithms()
            .get(&args.algo)
            .map_err(|e| CliError::usage(e.to_string()))?,
        dataset: args.datasets.as_deref(),
        eval_dataset: args.eval_dataset.as_deref(),
        space: args.space.as_deref(),
        full: is_on(args.full),
        config: args.config.as_deref(),
        config_only: args.config_only.as_deref(),
        overrides: parse_overrides(overrides).map_err(CliError::config)?,
    };
    let tree = request.load()?;
    // Values that contradict each other are an error here too, not only once a run starts.
    tree.settings().map_err(CliError::config)?;
    let text = if args.origins {
        tree.to_yaml_with_origins()
    } else {
        tree.to_yaml()
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn schema(algo: Option<&str>, lab: &Lab) -> Result<(), CliError> {
    let algos = lab.algorithms();
    let of = |schema| lab.components().naming(schema).editor_schema();
    let schema = match algo {
        Some(name) => of(algos
            .get(name)
            .map_err(|e| CliError::usage(e.to_string()))?
            .schema()),
        None => {
            let all = algos.iter().map(|algo| of(algo.schema())).reduce(union);
            all.unwrap_or_else(|| of(Schema::settings()))
        }
    };
    Ok(writeln!(std::io::stdout(), "{schema:#}")?)
}

/// A schema that takes what either takes: schemas of algorithms differ in the algorithms' own sections alone.
fn union(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut all), Value::Object(other)) => {
            for (key, theirs) in other {
                let merged = match (all.remove(&key), key.as_str()) {
                    // A section that only one algorithm needs is not needed by a file for the other.
                    (Some(Value::Array(mut ours)), "required") => {
                        ours.retain(|name| {
                            theirs
                                .as_array()
                                .is_some_and(|theirs| theirs.contains(name))
                        });
                        Value::Array(ours)
                    }
                    (Some(ours), _) => union(ours, theirs),
                    (None, _) => theirs,
                };
                all.insert(key, merged);
            }
            Value::Object(all)
        }
        (one, _) => one,
    }
}

#[cfg(test)]
mod tests {
    use super::union;
    use serde_json::json;

    #[test]
    fn schemas_of_two_algorithms_take_the_sections_of_both() {
        let of = |name: &str| json!({ "properties": { "common": {}, name: { "type": "object" } }, "required": ["common", name] });
        assert_eq!(
            union(of("a"), of("b")),
            json!({
                "properties": { "common": {}, "a": { "type": "object" }, "b": { "type": "object" } },
                "required": ["common"]
            })
        );
    }
}
