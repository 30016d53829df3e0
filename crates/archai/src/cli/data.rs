//! `archai data …`: data sets onto the disk.

use std::io::Write;
use std::path::{Path, PathBuf};

use archai_data::download::{self, Source};
use indicatif::{ProgressBar, ProgressStyle};

use super::args::DataCommand;
use super::env::Env;
use super::error::CliError;

/// Runs a command of the group.
///
/// # Errors
/// An unknown data set, a download that fails, a folder that cannot be written.
pub fn run(command: &DataCommand, env: &Env) -> Result<(), CliError> {
    let DataCommand::Get {
        name,
        from,
        dataroot,
    } = command;
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
    if let Some(file) = from.as_deref().filter(|from| !from.contains("://"))
        && !Path::new(file).exists()
    {
        return Err(CliError::usage(format!(
            "--from: there is no file `{file}`; check the path"
        )));
    }
    let source = from
        .as_ref()
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
            .with_message(name.clone())
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
