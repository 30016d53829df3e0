//! Data that nobody has described: what lies at a path becomes the file of a data set, as `--datasets` takes it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use archai_data::Split;
use archai_data::survey::{self, Chosen, Found, Inventory, Opened, Survey, Wanted};
use archai_engine::files::{FileError, write_atomically};
use archai_lab::config::{ConfigRequest, dataset_section};
use archai_lab::{Lab, RunMode};
use archai_predict::Classifier;
use archai_spec::config::{Override, parse_overrides};
use archai_spec::settings::{Columns, Dataset, ForSize};
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::NamedTempFile;

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
    /// Its section.
    pub section: Dataset,
    /// What was chosen, where nobody had described the data.
    pub chosen: Option<Chosen>,
}

impl Seen {
    /// Opens it, for a look at single pictures.
    ///
    /// # Errors
    /// The data are not there any more.
    pub fn open(&self, lab: &Lab) -> Result<Opened, CliError> {
        Opened::new(&lab.components().formats, &self.section).map_err(CliError::input)
    }
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
    let mut here = chosen(&path, size, MOST, overrides, lab)?;
    here.chosen.section = overridden(&here.chosen.section, overrides, lab)?;
    // Other parts hold other pictures.
    let (formats, cache) = (&lab.components().formats, &lab.host().cache);
    here.inventory =
        survey::take_inventory(formats, &of_parts(&here), cache).map_err(CliError::input)?;
    measured(here, lab)
}

fn of_section(section: &Dataset, lab: &Lab) -> Result<Seen, CliError> {
    let (formats, cache) = (&lab.components().formats, &lab.host().cache);
    let inventory = survey::take_inventory(formats, section, cache).map_err(CliError::input)?;
    let statistics = survey::statistics(formats, section, cache).map_err(CliError::input)?;
    let about = formats.get(&section.format).map_err(CliError::input)?;
    let about = format!("{}: {}", about.name(), about.about());
    Ok(Seen {
        survey: Survey::of(section, inventory, statistics, about),
        section: section.clone(),
        chosen: None,
    })
}

/// What lies at a path, and what follows from it.
struct FoundHere {
    found: Found,
    inventory: Inventory,
    chosen: Chosen,
}

/// The section with which the files were looked at, divided into parts as was chosen in the end.
fn of_parts(here: &FoundHere) -> Dataset {
    let chosen = &here.chosen.section;
    Dataset {
        train: chosen.train.clone(),
        test: chosen.test.clone(),
        test_ratio: chosen.test_ratio,
        split_seed: chosen.split_seed,
        n_classes: chosen.n_classes,
        on_damaged: chosen.on_damaged,
        columns: chosen.columns.clone(),
        ..here.found.section.clone()
    }
}

/// Looks at what lies at a path, and chooses what follows from it. Size and channels that the overrides give count before that.
fn chosen(
    path: &Path,
    size: Option<[usize; 2]>,
    most: usize,
    overrides: &[String],
    lab: &Lab,
) -> Result<FoundHere, CliError> {
    let (formats, cache) = (&lab.components().formats, &lab.host().cache);
    let given = parse_overrides(overrides).map_err(CliError::config)?;
    check_found(path, &given)?;
    let wanted = Wanted {
        size: size.or(size_of(&given)?),
        channels: value_of(&given, "dataset.channels", "1 or 3")?,
        most,
    };
    let columns = columns_of(&given, lab)?;
    let found = survey::find(formats, path, columns.as_ref(), cache).map_err(CliError::input)?;
    let inventory =
        survey::take_inventory(formats, &found.section, cache).map_err(CliError::input)?;
    let chosen = survey::choose(&found.section, &inventory.pictures, wanted);
    Ok(FoundHere {
        found,
        inventory,
        chosen,
    })
}

/// Measures the pixels of what was chosen, and puts all together.
fn measured(here: FoundHere, lab: &Lab) -> Result<Seen, CliError> {
    let FoundHere {
        found,
        inventory,
        mut chosen,
    } = here;
    let (formats, cache) = (&lab.components().formats, &lab.host().cache);
    let statistics = survey::statistics(formats, &chosen.section, cache);
    let statistics = statistics.map_err(CliError::input)?;
    let mut survey = Survey::of(&chosen.section, inventory, statistics, found.layout);
    survey.notes.extend(found.notes);
    chosen.section.mean.clone_from(&survey.mean);
    chosen.section.std.clone_from(&survey.std);
    Ok(Seen {
        survey,
        section: chosen.section.clone(),
        chosen: Some(chosen),
    })
}

/// Pictures that nobody has described, as a model takes them.
pub struct ForModel {
    pub section: Dataset,
    pub split: Split,
    /// The name of the part: `all` where they are not divided.
    pub part: &'static str,
}

/// Finds out what lies at a path, for a model that shall look at its part `wanted`. Where nothing says which pictures are for
/// the test, all of them are, unless the model has learnt from most of them: then it is those that were set apart.
///
/// # Errors
/// No data at the path; overrides that are none of a data set, or do not fit.
pub fn for_model(
    path: &Path,
    wanted: Split,
    model: &Classifier,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<ForModel, CliError> {
    let (formats, cache) = (&lab.components().formats, &lab.host().cache);
    let path = env.folder.join(path);
    let given = parse_overrides(overrides).map_err(CliError::config)?;
    check_found(&path, &given)?;
    let columns = columns_of(&given, lab)?;
    let found = survey::find(formats, &path, columns.as_ref(), cache).map_err(CliError::input)?;
    let own = model.info().dataset();
    let section = Dataset {
        channels: own.channels,
        size: own.size,
        resize: own.resize,
        crop_ratio: own.crop_ratio,
        interpolation: own.interpolation,
        orientation: own.orientation,
        background: own.background,
        mean: own.mean,
        std: own.std,
        crop_padding: 0,
        flip: false,
        ..found.section
    };
    let section = overridden(&section, overrides, lab)?;
    let divided = ForModel {
        section: section.clone(),
        split: wanted,
        part: wanted.as_str(),
    };
    let is_asked_for =
        |one: &Override| ["dataset.test_ratio", "dataset.split_seed"].contains(&one.key().as_str());
    if section.test_ratio == 0.0 || given.iter().any(is_asked_for) {
        return Ok(divided);
    }
    if let Some(learnt) = model.info().provenance.data.get("train") {
        let contents = cache.inspect(formats, &section, Split::Train);
        if contents.map_err(CliError::input)?.digest == *learnt {
            return Ok(divided);
        }
    }
    Ok(ForModel {
        section: Dataset {
            test_ratio: 0.0,
            split_seed: 0,
            ..section
        },
        split: Split::Train,
        part: "all",
    })
}

/// Refuses to be told where data lie and how they are laid out, which was found out.
fn check_found(path: &Path, given: &[Override]) -> Result<(), CliError> {
    let found = ["dataset.path", "dataset.format"];
    match given.iter().find(|one| found.contains(&one.key().as_str())) {
        None => Ok(()),
        Some(one) => Err(CliError::usage(format!(
            "{}: is found out by looking at `{}`; leave it out, or describe the data in a YAML file for --datasets",
            one.key(),
            path.display()
        ))),
    }
}

/// The names of columns that overrides give: a table can only be looked at once they are known.
fn columns_of(given: &[Override], lab: &Lab) -> Result<Option<Columns>, CliError> {
    let named = (given.iter()).filter(|one| one.key().starts_with("dataset.columns"));
    let named: Vec<String> = named
        .map(|one| format!("{}={}", one.key(), one.text()))
        .collect();
    if named.is_empty() {
        return Ok(None);
    }
    // Nothing else of this section is looked at.
    let any = Dataset::shipped("fashion_mnist_mini").map_err(CliError::caused)?;
    Ok(overridden(&any, &named, lab)?.columns)
}

/// A section as overrides change it.
///
/// # Errors
/// Overrides that are none of a data set, or do not fit it.
pub fn overridden(section: &Dataset, overrides: &[String], lab: &Lab) -> Result<Dataset, CliError> {
    if overrides.is_empty() {
        return Ok(section.clone());
    }
    let given = parse_overrides(overrides).map_err(CliError::config)?;
    let file = described_in_passing(section, "")?;
    Ok(dataset_section(lab, &file.path().to_string_lossy(), given)?)
}

/// The file of a data set that goes away: what is said of data in the configuration is said in files.
fn described_in_passing(section: &Dataset, network: &str) -> Result<NamedTempFile, CliError> {
    let section = Dataset {
        // A dollar sign in a path is none of a variable.
        path: section.path.replace('$', "$$"),
        ..section.clone()
    };
    let write = || -> std::io::Result<NamedTempFile> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        // JSON is YAML.
        write!(file, "dataset: {}\n{network}", json!(section))?;
        file.flush()?;
        Ok(file)
    };
    write().map_err(|e| CliError::failure(format!("cannot write a temporary file: {e}")))
}

/// What data may be like of which nothing is known yet: channels, side and classes. They need other stems, reductions and towers.
const STAND_INS: [(usize, usize, usize); 4] = [(3, 64, 10), (1, 32, 2), (3, 224, 100), (1, 8, 3)];

/// Refuses what no picture would mend, before the first one is looked at: what is wrong in the same words whatever the data are
/// like.
fn check_ahead(
    path: &Path,
    size: Option<[usize; 2]>,
    args: &RunArgs,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    let given = parse_overrides(overrides).map_err(CliError::config)?;
    check_found(path, &given)?;
    let size = size.or(size_of(&given)?);
    let mut common: Option<Vec<String>> = None;
    for (channels, side, n_classes) in STAND_INS {
        let size = size.unwrap_or([side; 2]);
        let section = json!({
            "name": survey::name_of(path), "format": "image_folder", "path": path.to_string_lossy(), "n_classes": n_classes,
            "channels": channels, "size": size, "mean": vec![0.5; channels], "std": vec![0.25; channels], "crop_padding": 0,
        });
        let section = serde_json::from_value(section).map_err(CliError::caused)?;
        let network = ForSize::of(size).yaml().unwrap_or_default();
        let file = described_in_passing(&section, &network)?;
        let args = RunArgs {
            data: None,
            resolution: None,
            datasets: Some(vec![file.path().to_string_lossy().into_owned()]),
            ..args.clone()
        };
        let error = match lab.plan(&run::request(&args, overrides, env)) {
            Ok(_) => return Ok(()),
            Err(error) => CliError::from(error),
        };
        let text = error.to_string();
        let lines = || text.lines().filter(|line| !line.ends_with(" problems:"));
        let both = match common {
            None => lines().map(|line| line.trim().to_owned()).collect(),
            Some(mut common) => {
                common.retain(|line| lines().any(|other| other.trim() == line));
                common
            }
        };
        if both.is_empty() {
            return Ok(());
        }
        common = Some(both);
    }
    match common {
        None => Ok(()),
        Some(lines) => Err(CliError::usage(lines.join("\n  "))),
    }
}

/// The size that the command line gives: stems follow from it.
fn size_of(given: &[Override]) -> Result<Option<[usize; 2]>, CliError> {
    value_of(
        given,
        "dataset.size",
        "a height and a width, such as [64, 48]",
    )
}

/// The value that the command line gives a key.
fn value_of<T: DeserializeOwned>(
    given: &[Override],
    key: &str,
    expected: &str,
) -> Result<Option<T>, CliError> {
    let Some(value) = given.iter().rfind(|given| given.key() == key) else {
        return Ok(None);
    };
    serde_json::from_str(value.text()).map(Some).map_err(|_| {
        CliError::usage(format!(
            "{key}: expected {expected}, found `{}`",
            value.text()
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
    check_ahead(&place, size, args, overrides, lab, env)?;
    let seen = measured(chosen(&place, size, most, overrides, lab)?, lab)?;
    let Some(chosen) = &seen.chosen else {
        return Err(CliError::failure("nothing was chosen"));
    };
    let file = logdir(args, overrides, lab, env)?.join(format!("{}.yaml", seen.survey.name));
    let written = write(&file, &survey::describe(&seen.survey, chosen))?;
    let terminal = Terminal::new(env, run::loudness(args), true);
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
