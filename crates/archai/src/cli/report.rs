//! `archai report`: writes what [`archai_lab::report`] makes of the runs below a folder, and the pages of [`archai_report`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use archai_engine::files::{FileError, write_atomically};
use archai_lab::report::{Collation, collate, find};
use archai_lab::rundir::{RECORD_FILE, REPORT_FILE, STARTED_FILE};
use archai_lab::{Lab, Outcome, RunDir};
use archai_report::{run_page, runs_page};

use super::args::{CollateArgs, FormatArg, HtmlArgs, ReportCommand};
use super::error::CliError;

/// Runs a command of `archai report`.
///
/// # Errors
/// Folders that cannot be read, no run in them, files that cannot be written.
pub fn run(command: &ReportCommand, lab: &Lab) -> Result<(), CliError> {
    match command {
        ReportCommand::Collate(args) => write_collation(args),
        ReportCommand::Html(args) => html(args, lab),
    }
}

/// The page of a run directory, or that of the runs below folders.
fn html(args: &HtmlArgs, lab: &Lab) -> Result<(), CliError> {
    let (page, usual) = match args.dirs.as_slice() {
        [dir] if is_run(dir) => {
            let page = run_page(lab, &RunDir::new(dir)).map_err(CliError::input)?;
            (page, Some(dir.join(REPORT_FILE)))
        }
        dirs => {
            let collation = read(dirs)?;
            let names: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            let usual = match dirs {
                [dir] => Some(dir.join(REPORT_FILE)),
                _ => None,
            };
            (runs_page(&collation, &names.join(", ")), usual)
        }
    };
    let path = args.out.clone().or(usual).ok_or_else(|| {
        CliError::usage(
            "a page of several folders belongs to none of them; say with --out which file to write",
        )
    })?;
    write_page(&path, &page)?;
    writeln!(io::stdout(), "{}", path.display())?;
    Ok(())
}

/// Whether a directory is that of one phase of a run.
fn is_run(dir: &Path) -> bool {
    [STARTED_FILE, RECORD_FILE]
        .iter()
        .any(|name| dir.join(name).exists())
}

fn write_page(path: &Path, page: &str) -> Result<(), FileError> {
    write_atomically(path, |out| out.write_all(page.as_bytes()))
}

/// Writes the pages of a run into its directories, and says of each where it lies, or why there is none.
pub fn of_outcome(lab: &Lab, outcome: &Outcome) -> Vec<Result<PathBuf, String>> {
    let search = outcome
        .search_dir
        .as_ref()
        .filter(|_| outcome.search.is_some());
    let eval = outcome.eval_dir.as_ref().filter(|_| outcome.eval.is_some());
    let written = search.into_iter().chain(eval).map(|dir| {
        let page = run_page(lab, &RunDir::new(dir)).map_err(|e| e.to_string())?;
        let path = dir.join(REPORT_FILE);
        write_page(&path, &page).map_err(|e| e.to_string())?;
        Ok(path)
    });
    written.collect()
}

fn write_collation(args: &CollateArgs) -> Result<(), CliError> {
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
    let collation = read(&args.dirs)?;
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

fn read(dirs: &[PathBuf]) -> Result<Collation, CliError> {
    for dir in dirs {
        if !dir.is_dir() {
            return Err(CliError::usage(format!(
                "`{}` is no folder; give folders that hold runs, for example the log folder",
                dir.display()
            )));
        }
    }
    let (runs, left_out) = find(dirs)?;
    if runs.is_empty() && left_out.is_empty() {
        let dirs: Vec<String> = (dirs.iter())
            .map(|d| format!("`{}`", d.display()))
            .collect();
        return Err(CliError::usage(format!(
            "there is no run in {}; runs are folders that `archai run` leaves, NAME_search and NAME_eval",
            dirs.join(", ")
        )));
    }
    Ok(collate(runs, left_out))
}
