//! `archai config …`: what a run would use, and what may stand in a configuration file.

use std::io::{self, Read, Write};
use std::path::Path;

use archai_engine::files::write_atomically;
use archai_lab::{Lab, config::ConfigRequest};
use archai_spec::config::{
    ConfigLoader, FileSource, Files, Schema, parse_overrides, shipped_datasets,
};
use archai_spec::desc::zoo;
use archai_spec::settings::{ImportTarget, ImportedConfig, import_archai_config};
use archai_spec::spaces;
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
        ConfigCommand::Import { file, algo, output } => {
            import(file, algo.as_deref(), output.as_deref(), lab)
        }
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

/// What standard input is called in messages.
const PIPED: &str = "standard input";

/// A configuration from standard input, beside files. What it includes lies below the working folder.
struct Piped<'a> {
    text: String,
    rest: &'a dyn FileSource,
}

impl FileSource for Piped<'_> {
    fn read(&self, name: &str) -> io::Result<String> {
        match name {
            PIPED => Ok(self.text.clone()),
            name => self.rest.read(name),
        }
    }
    fn check_include(&self, top: &str, included: &str) -> io::Result<()> {
        self.rest.check_include(top, included)
    }
    fn shipped(&self) -> Vec<String> {
        self.rest.shipped()
    }
}

/// Most bytes of a configuration from standard input, as of a file.
const MAX_PIPED: u64 = 16 << 20;

fn import(
    file: &str,
    algo: Option<&str>,
    output: Option<&Path>,
    lab: &Lab,
) -> Result<(), CliError> {
    let algos = lab.algorithms();
    // Archai's own files are named after their algorithms: xnas.yaml, xnas_toy.yaml.
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
    let named = stem
        .map(|stem| stem.trim_end_matches("_toy"))
        .filter(|stem| algos.get(stem).is_ok());
    let algo = algo.or(named).unwrap_or("darts");
    let algo = algos
        .get(algo)
        .map_err(|e| CliError::usage(e.to_string()))?;
    let files = archai_algos::files(algos, &Files);
    let files = spaces::files(&lab.components().spaces, &files);
    let mut defaults = ConfigLoader::new(&files)
        .files(&algo.defaults())
        .dataset("archai:datasets/cifar10.yaml");
    if let Some(space) = algo.space_file() {
        defaults = defaults.files(space);
    }
    let networks: Vec<&str> = zoo::names().collect();
    let target = ImportTarget {
        algo: algo.name(),
        defaults: &defaults,
        schema: &lab.components().naming(algo.schema()),
        networks: &networks,
    };
    let imported = if file == "-" {
        let mut text = String::new();
        let mut input = io::stdin().take(MAX_PIPED);
        input
            .read_to_string(&mut text)
            .map_err(|e| CliError::failure(format!("cannot read {PIPED}: {e}")))?;
        let source = Piped { text, rest: &files };
        import_archai_config(&source, PIPED, target)
    } else {
        import_archai_config(&files, file, target)
    };
    let imported = imported.map_err(CliError::config)?;
    let mut err = io::stderr().lock();
    for note in &imported.notes {
        writeln!(err, "{note}")?;
    }
    let text = format!("{}{}", usage(&imported, algo.name()), imported.yaml);
    match output {
        Some(path) => {
            write_atomically(path, |out| out.write_all(text.as_bytes())).map_err(CliError::at_named)
        }
        None => Ok(io::stdout().write_all(text.as_bytes())?),
    }
}

/// Comments that say how the translation is used.
fn usage(imported: &ImportedConfig, algo: &str) -> String {
    let mut command = format!("archai run --algos {algo} --full");
    let mut unknown = String::new();
    for (flag, name) in [
        ("--datasets", &imported.dataset),
        ("--eval-dataset", &imported.eval_dataset),
    ] {
        let Some(name) = name else { continue };
        if shipped_datasets().any(|known| known == name) {
            command.push_str(&format!(" {flag} {name}"));
        } else {
            // The name is the file's and may hold anything.
            let shown: String = name.escape_debug().take(60).collect();
            command.push_str(&format!(" {flag} DATA.yaml"));
            unknown.push_str(&format!(
                "# DATA.yaml stands for a file that describes the data set \"{shown}\", which is not among `archai datasets`.\n"
            ));
        }
    }
    format!(
        "# Translated from a configuration of Microsoft Archai. It lies over the defaults:\n#\n#   {command} --config \
         THIS_FILE\n#\n{unknown}"
    )
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
