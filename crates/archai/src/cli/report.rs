//! `archai report collate`: writes what [`archai_lab::report`] makes of the runs below a folder.

use std::fs;
use std::io::{self, Write};

use archai_engine::files::{FileError, write_atomically};
use archai_lab::report::{Collation, collate, find};

use super::args::{CollateArgs, FormatArg, ReportCommand};
use super::error::CliError;

/// Runs a command of `archai report`.
///
/// # Errors
/// Folders that cannot be read, no run in them, files that cannot be written.
pub fn run(command: &ReportCommand) -> Result<(), CliError> {
    let ReportCommand::Collate(args) = command;
    let formats = match (args.format.is_empty(), &args.out) {
        (false, _) => args.format.clone(),
        (true, None) => vec![FormatArg::Markdown],
        (true, Some(_)) => vec![FormatArg::Markdown, FormatArg::Csv, FormatArg::Json],
    };
    if args.out.is_none() && formats.len() > 1 {
        return Err(CliError::usage(
            "several formats cannot share standard output; give a folder with --out, or one format",
        ));
    }
    let collation = read(args)?;
    match &args.out {
        None => {
            for format in formats {
                io::stdout().write_all(text(&collation, format)?.as_bytes())?;
                if format == FormatArg::Csv {
                    report_left_out(&collation)?;
                }
            }
        }
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|e| FileError::new("create the folder", dir, e))?;
            for format in formats {
                let name = match format {
                    FormatArg::Markdown => "report.md",
                    FormatArg::Csv => "report.csv",
                    FormatArg::Json => "report.json",
                };
                let (path, text) = (dir.join(name), text(&collation, format)?);
                write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
                writeln!(io::stdout(), "{}", path.display())?;
            }
            report_left_out(&collation)?;
        }
    }
    Ok(())
}

fn text(collation: &Collation, format: FormatArg) -> Result<String, CliError> {
    Ok(match format {
        FormatArg::Markdown => collation.to_markdown(),
        FormatArg::Csv => collation.to_csv(),
        FormatArg::Json => {
            serde_json::to_string_pretty(collation).map_err(CliError::caused)? + "\n"
        }
    })
}

/// Where the report itself does not say it, standard error does.
fn report_left_out(collation: &Collation) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for left_out in &collation.left_out {
        writeln!(err, "left out: {}: {}", left_out.name, left_out.reason)?;
    }
    Ok(())
}

fn read(args: &CollateArgs) -> Result<Collation, CliError> {
    for dir in &args.dirs {
        if !dir.is_dir() {
            return Err(CliError::usage(format!(
                "`{}` is no folder; give folders that hold runs, for example the log folder",
                dir.display()
            )));
        }
    }
    let (runs, left_out) = find(&args.dirs)?;
    if runs.is_empty() && left_out.is_empty() {
        let dirs: Vec<String> = (args.dirs.iter())
            .map(|d| format!("`{}`", d.display()))
            .collect();
        return Err(CliError::usage(format!(
            "there is no run in {}; runs are folders that `archai run` leaves, NAME_search and NAME_eval",
            dirs.join(", ")
        )));
    }
    Ok(collate(runs, left_out))
}
