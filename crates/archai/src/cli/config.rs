//! `archai config …`: what a run would use, and what may stand in a configuration file.

use std::io::{self, Read, Write};
use std::path::Path;

use archai_algos::Algorithm;
use archai_engine::files::write_atomically;
use archai_lab::{Lab, config::ConfigRequest};
use archai_spec::config::{
    ConfigLoader, FileSource, Files, Schema, Shipped, parse_overrides, shipped_datasets,
};
use archai_spec::desc::zoo;
use archai_spec::names::unknown;
use archai_spec::settings::{ImportTarget, ImportedConfig, import_archai_config};
use archai_spec::spaces;

use super::args::{ConfigCommand, ShowArgs};
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
        ConfigCommand::Defaults { file } => defaults(file.as_deref(), lab),
    }
}

/// Configuration files as flags give them, repeated or separated by commas, as the one text that a request has. A path that has
/// a comma of its own and is there stands for itself.
pub fn files(given: &[String]) -> Option<String> {
    let each = |given: &String| match Path::new(given).is_file() {
        true => given.clone(),
        false => given.replace(',', ";"),
    };
    (!given.is_empty()).then(|| given.iter().map(each).collect::<Vec<_>>().join(";"))
}

/// Prints a file that comes with the program, or the names of all.
fn defaults(file: Option<&str>, lab: &Lab) -> Result<(), CliError> {
    let files = archai_algos::files(lab.algorithms(), &Shipped);
    let files = spaces::files(&lab.components().spaces, &files);
    let mut names = files.shipped();
    names.sort();
    let text = match file {
        Some(file) => {
            let name = shipped_name(file, &names)?;
            let text = files.read(name);
            text.map_err(|e| CliError::usage(format!("{name}: {e}")))?
        }
        None => names.iter().map(|name| format!("{name}\n")).collect(),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The shipped file of a name: whole (`archai:algos/darts.yaml`, with the line and column of an error, too), without what all
/// begin with, or by its last word alone (`darts`) where only one file has it.
fn shipped_name<'a>(given: &str, names: &'a [String]) -> Result<&'a str, CliError> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut wanted = given;
    while let Some((before, _)) = wanted.rsplit_once(':').filter(|(_, n)| is_number(n)) {
        wanted = before;
    }
    let path = |name: &'a String| name.strip_prefix("archai:").unwrap_or(name);
    let is_whole = |name: &&'a String| *name == wanted || path(name) == wanted;
    if let Some(name) = names.iter().find(is_whole) {
        return Ok(name);
    }
    let stem = |name: &'a String| {
        let file = path(name).rsplit('/').next().unwrap_or_default();
        file.strip_suffix(".yaml").unwrap_or(file)
    };
    let short = wanted.strip_suffix(".yaml").unwrap_or(wanted);
    let same: Vec<&String> = names.iter().filter(|name| stem(name) == short).collect();
    match same.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::usage(
            unknown("shipped file", given, names.iter().map(String::as_str)).to_string(),
        )),
        several => Err(CliError::usage(format!(
            "`{given}` could be {}; give the whole name",
            several
                .iter()
                .map(|name| name.as_str())
                .collect::<Vec<_>>()
                .join(" or ")
        ))),
    }
}

fn show(args: &ShowArgs, overrides: &[String], lab: &Lab) -> Result<(), CliError> {
    let known = args
        .algo
        .iter()
        .map(|name| lab.algorithms().get(name.trim()));
    let algos: Vec<&Algorithm> = known
        .map(|algo| algo.map(AsRef::as_ref))
        .collect::<Result<_, _>>()
        .map_err(|e| CliError::usage(e.to_string()))?;
    let (config, config_only) = (files(&args.config), files(&args.config_only));
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo: algos[0],
        others: algos[1..].to_vec(),
        dataset: args.datasets.as_deref(),
        eval_dataset: args.eval_dataset.as_deref(),
        space: args.space.as_deref(),
        mode: args.mode.mode(),
        config: config.as_deref(),
        config_only: config_only.as_deref(),
        overrides: parse_overrides(overrides).map_err(CliError::config)?,
        folder: &lab.host().folder,
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
            let settings = Schema::settings();
            of(algos
                .iter()
                .fold(settings, |all, algo| algo.add_section(all)))
        }
    };
    Ok(writeln!(std::io::stdout(), "{schema:#}")?)
}
