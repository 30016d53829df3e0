//! Data that nobody has described: what lies at a path becomes the file of a data set, as `--datasets` takes it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use archai_data::survey::{self, Chosen, Opened, Pictures, Survey, Wanted};
use archai_engine::files::{FileError, write_atomically};
use archai_lab::config::{ConfigRequest, dataset_section};
use archai_lab::{Lab, RunMode};
use archai_spec::config::{Override, parse_overrides};
use archai_spec::settings::Dataset;

use super::args::RunArgs;
use super::config;
use super::data::resolution;
use super::env::Env;
use super::error::CliError;
use super::run;
use super::terminal::Terminal;

/// The longest side of images that is chosen for the published settings: ImageNet's.
const MOST: usize = 224;

/// The same for a small run, which shall take half a minute: larger pictures cost time to decode and in the stems, and show
/// little more of whether networks learn.
const MOST_OF_SMALL: usize = 64;

/// A data set that was looked at.
pub struct Seen {
    pub survey: Survey,
    pub opened: Opened,
    /// What was chosen, where nobody had described the data.
    pub chosen: Option<Chosen>,
}

/// Looks at a folder, a file of data, a described data set, or one that the program knows.
///
/// # Errors
/// Nothing of the name is there, or it is no data set; overrides that are none of the data set.
pub fn seen(
    what: &str,
    size: Option<[usize; 2]>,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<Seen, CliError> {
    let is_file = |ending: &str| what.ends_with(ending);
    let path = env.folder.join(what);
    if (is_file(".yaml") || is_file(".yml")) || !path.exists() {
        if let Some(size) = size {
            return Err(CliError::usage(format!(
                "`{what}` is described already, with its own size; --resolution {} is for folders and files of data, here it \
                 is --dataset.size",
                size[0]
            )));
        }
        let overrides = parse_overrides(overrides).map_err(CliError::config)?;
        let section = dataset_section(lab, what, overrides)?;
        return of_section(&section, lab);
    }
    found(&path, size, MOST, overrides, lab)
}

fn of_section(section: &Dataset, lab: &Lab) -> Result<Seen, CliError> {
    let formats = &lab.components().formats;
    let opened = Opened::new(formats, section).map_err(CliError::input)?;
    let pictures = Pictures::of(&opened).map_err(CliError::input)?;
    let about = formats.get(&section.format).map_err(CliError::input)?;
    let about = format!("{}: {}", about.name(), about.about());
    let survey = Survey::of(&opened, pictures, about).map_err(CliError::input)?;
    Ok(Seen {
        survey,
        opened,
        chosen: None,
    })
}

/// Looks at what lies at a path, and chooses what follows from it. Overrides of the data set count before that.
fn found(
    path: &Path,
    size: Option<[usize; 2]>,
    most: usize,
    overrides: &[String],
    lab: &Lab,
) -> Result<Seen, CliError> {
    let formats = &lab.components().formats;
    let found = survey::find(formats, path).map_err(CliError::input)?;
    let given = parse_overrides(overrides).map_err(CliError::config)?;
    let size = size.or(size_of(&given)?);
    let opened = Opened::new(formats, &found.section).map_err(CliError::input)?;
    let pictures = Pictures::of(&opened).map_err(CliError::input)?;
    let mut chosen = survey::choose(&opened, &pictures, Wanted { size, most });
    let opened = Opened::new(formats, &chosen.section).map_err(CliError::input)?;
    let mut survey = Survey::of(&opened, pictures, found.layout).map_err(CliError::input)?;
    survey.notes.extend(found.notes);
    chosen.section.mean.clone_from(&survey.mean);
    chosen.section.std.clone_from(&survey.std);
    let opened = Opened {
        section: chosen.section.clone(),
        ..opened
    };
    Ok(Seen {
        survey,
        opened,
        chosen: Some(chosen),
    })
}

/// The size that the command line gives: stems follow from it.
fn size_of(given: &[Override]) -> Result<Option<[usize; 2]>, CliError> {
    let Some(size) = given.iter().rfind(|given| given.key() == "dataset.size") else {
        return Ok(None);
    };
    serde_json::from_str(size.text()).map(Some).map_err(|_| {
        CliError::usage(format!(
            "dataset.size: `{}` is no height and width; write [64, 48], for example",
            size.text()
        ))
    })
}

/// The run on a data set that is described in a file of the log folder, which is written here, and the surroundings of a
/// command that names this file.
///
/// # Errors
/// No data at the path; a file of the name that somebody changed; a log folder that cannot be written.
pub fn described(
    path: &Path,
    args: &RunArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(RunArgs, Env), CliError> {
    let most = match args.mode.mode() {
        RunMode::Full => MOST,
        RunMode::Toy | RunMode::Smoke => MOST_OF_SMALL,
    };
    let place = env.folder.join(path);
    let size = resolution(&args.resolution)?;
    let seen = found(&place, size, most, overrides, lab)?;
    let Some(chosen) = &seen.chosen else {
        return Err(CliError::failure("nothing was chosen"));
    };
    let file = logdir(args, overrides, lab, env)?.join(format!("{}.yaml", seen.survey.name));
    let written = write(&file, &survey::describe(&seen.survey, chosen))?;
    let terminal = Terminal::new(env, run::loudness(args));
    terminal.tell(&seen.survey.text(Some(chosen)));
    terminal.tell(&match written {
        Written::New => format!(
            "{} says so; --datasets takes it, changed or not",
            file.display()
        ),
        Written::Anew => format!("{} was written anew", file.display()),
        Written::Same => format!("{} says so already", file.display()),
    });
    let file = file.to_string_lossy().into_owned();
    let command_line = named(&env.command_line, &file);
    let args = RunArgs {
        data: None,
        resolution: None,
        datasets: Some(vec![file]),
        ..args.clone()
    };
    let env = Env {
        command_line,
        ..env.clone()
    };
    Ok((args, env))
}

/// A command line with the file of the data set in place of what it was made from: it is what `archai resume` repeats.
fn named(command_line: &[String], file: &str) -> Vec<String> {
    let mut named = Vec::new();
    let mut rest = command_line.iter();
    while let Some(word) = rest.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, _)) => (flag, true),
            None => (word.as_str(), false),
        };
        if !["--data", "--resolution"].contains(&flag) {
            named.push(word.clone());
            continue;
        }
        if !value {
            rest.next();
        }
        if flag == "--data" {
            named.push(format!("--datasets={file}"));
        }
    }
    named
}

/// The folder of the run directories.
fn logdir(args: &RunArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<PathBuf, CliError> {
    if let Some(given) = &args.logdir {
        let vars = &lab.host().vars;
        let given = archai_spec::config::expand(given, vars).map_err(CliError::input)?;
        return Ok(env.folder.join(given));
    }
    let first = args.algos.first().map_or("", String::as_str);
    let algo = lab.algorithms().get(first).map_err(CliError::input)?;
    let mut common = parse_overrides(overrides).map_err(CliError::config)?;
    common.retain(|given| given.key().starts_with("common."));
    let files = config::files(&args.config);
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo,
        others: Vec::new(),
        dataset: None,
        eval_dataset: None,
        space: None,
        mode: args.mode.mode(),
        config: files.as_deref(),
        config_only: None,
        overrides: common,
        folder: &env.folder,
    };
    let mut vars = lab.host().vars.clone();
    // The run's own folders lie below the one that is looked for.
    for name in ["logdir", "expdir"] {
        vars.insert(name.into(), format!("${name}"));
    }
    let tree = request.load()?.expanded(&vars).map_err(CliError::config)?;
    let settings = tree.settings().map_err(CliError::config)?;
    Ok(env.folder.join(settings.common.logdir))
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    New,
    /// It was there, and nobody had changed it, but it said something else.
    Anew,
    Same,
}

/// Writes the file of a data set, unless somebody changed the one that is there.
///
/// # Errors
/// There is a file that says something else and was changed since it was written; it cannot be written.
pub fn write(file: &Path, text: &str) -> Result<Written, CliError> {
    let written = match fs::read_to_string(file) {
        Ok(old) if old == text => return Ok(Written::Same),
        Ok(old) if survey::is_as_written(&old) => Written::Anew,
        Ok(_) => {
            return Err(CliError::usage(format!(
                "`{0}` is there and says something else, and it is not as it was written, so that it stays: to run on what it \
                 says, give `--datasets {0}`; to have it written anew, move it away",
                file.display()
            )));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Written::New,
        Err(error) => return Err(FileError::new("read", file, error).into()),
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(|e| FileError::new("make", folder, e))?;
    }
    write_atomically(file, |to| to.write_all(text.as_bytes()))?;
    Ok(written)
}
