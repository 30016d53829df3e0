//! `archai data …`: data sets onto the disk, and what they are like.

use std::io::Write;
use std::path::{Path, PathBuf};

use archai_data::download::{self, Source};
use archai_data::sheet::{self, Augmentation, RgbImage};
use archai_data::survey;
use archai_engine::files::write_atomically;
use archai_lab::Lab;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{DataCommand, InspectArgs, PreviewArgs};
use super::data_found;
use super::env::Env;
use super::error::CliError;

/// Runs a command of the group.
///
/// # Errors
/// An unknown data set, a download that fails, a folder that cannot be written.
pub fn run(
    command: &DataCommand,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    match command {
        DataCommand::Get {
            name,
            from,
            dataroot,
        } => get(name, from.as_ref(), dataroot.as_ref(), env),
        DataCommand::Inspect(args) => inspect(args, overrides, lab, env),
        DataCommand::Preview(args) => preview(args, overrides, lab, env),
    }
}

/// Tells what a data set is like.
fn inspect(args: &InspectArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let seen = data_found::seen(
        &args.what,
        resolution(&args.resolution)?,
        overrides,
        lab,
        env,
    )?;
    let mut out = std::io::stdout().lock();
    match args.json {
        true => {
            let text = serde_json::to_string_pretty(&seen.survey).map_err(CliError::caused)?;
            writeln!(out, "{text}")?;
        }
        false => write!(
            out,
            "{}\n{}",
            seen.survey.text(seen.chosen.as_ref()),
            seen.survey.table()
        )?,
    }
    if let Some(path) = &args.output {
        let Some(chosen) = &seen.chosen else {
            return Err(CliError::usage(format!(
                "`{}` is described already; --output is for folders and files of data",
                args.what
            )));
        };
        data_found::write(path, &survey::describe(&seen.survey, chosen))?;
    }
    if let Some(path) = &args.sheet {
        let augmentation = Augmentation {
            transforms: &lab.components().transforms,
            cutout: 0,
        };
        let drawn = sheet::classes(&seen.open(lab)?, augmentation).map_err(CliError::input)?;
        draw(path, &drawn)?;
    }
    Ok(())
}

/// Draws what a training sees.
fn preview(args: &PreviewArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let seen = data_found::seen(
        &args.what,
        resolution(&args.resolution)?,
        overrides,
        lab,
        env,
    )?;
    let augmentation = Augmentation {
        transforms: &lab.components().transforms,
        cutout: args.cutout.into(),
    };
    let (pictures, draws) = (args.pictures.into(), args.draws.into());
    let sheet = sheet::draws(&seen.open(lab)?, augmentation, pictures, draws);
    let sheet = sheet.map_err(CliError::input)?;
    draw(&args.output, &sheet)?;
    writeln!(std::io::stdout(), "{}", args.output.display())?;
    Ok(())
}

fn draw(path: &Path, drawn: &RgbImage) -> Result<(), CliError> {
    let bytes = sheet::png(drawn).map_err(CliError::input)?;
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}

/// The sides that `--resolution` gives.
pub fn resolution(given: &Option<String>) -> Result<Option<[usize; 2]>, CliError> {
    let side = given.as_ref().map(|text| text.parse::<usize>()).transpose();
    Ok(side.map_err(CliError::caused)?.map(|side| [side; 2]))
}

/// Fetches a data set.
fn get(
    name: &str,
    from: Option<&String>,
    dataroot: Option<&PathBuf>,
    env: &Env,
) -> Result<(), CliError> {
    let Some(known) = download::by_name(name) else {
        let all: Vec<String> = download::all().into_iter().map(|d| d.name).collect();
        return Err(CliError::usage(format!(
            "`{name}` cannot be fetched; {} can. Other data sets: put the files where `archai config show darts --full \
             --datasets NAME` says under dataset.path, or describe your own in a YAML file",
            all.join(" and ")
        )));
    };
    let root = match (dataroot, env.path_vars().get("dataroot")) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => PathBuf::from(dir),
        (None, None) => {
            return Err(CliError::usage(
                "there is no home folder; name a folder with --dataroot DIR",
            ));
        }
    };
    let proxy = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .find_map(|name| {
            env.vars
                .get(*name)
                .filter(|value| !value.is_empty())
                .cloned()
        });
    if let Some(file) = from.filter(|from| !from.contains("://"))
        && !Path::new(file).exists()
    {
        return Err(CliError::usage(format!(
            "--from: there is no file `{file}`; check the path"
        )));
    }
    let source = from
        .map_or_else(Source::official, Source::from)
        .with_proxy(proxy);

    let bar = if env.draws {
        let style = ProgressStyle::with_template(
            "{msg} {bar:30.cyan/dim} {bytes}/{total_bytes}   {bytes_per_sec}, {eta} to go",
        )
        .map_err(CliError::caused)?
        .progress_chars("━╸─");
        ProgressBar::new(known.bytes())
            .with_style(style)
            .with_message(name.to_owned())
    } else {
        ProgressBar::hidden()
    };
    let mut tenths = 0;
    let folder = download::get(&source, &known, &root, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        let now = (10 * done).checked_div(total).unwrap_or(10);
        if !env.draws && now > tenths {
            tenths = now;
            // Progress is a courtesy; whoever closed standard error does not want it.
            let _ = writeln!(
                std::io::stderr(),
                "{name}: {} of {} MB",
                done / 1_000_000,
                total / 1_000_000
            );
        }
    });
    bar.finish_and_clear();
    let folder = folder.map_err(CliError::caused)?;
    writeln!(std::io::stdout(), "{name} is in {}", folder.display())?;
    Ok(())
}
