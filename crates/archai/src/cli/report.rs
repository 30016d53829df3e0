//! `archai report collate`: finds runs on disk, and writes what [`crate::report`] makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use archai_engine::evaluater::EvalResult;
use archai_engine::files::{FileError, write_atomically};
use archai_engine::searcher::SearchResult;

use super::args::{CollateArgs, FormatArg, ReportCommand};
use super::error::CliError;
use crate::report::{Collation, FinishedRun, LeftOut, RECORD_FILE, Record, collate};

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
                    tell_left_out(&collation)?;
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
            tell_left_out(&collation)?;
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
fn tell_left_out(collation: &Collation) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for left_out in &collation.left_out {
        writeln!(err, "left out: {}: {}", left_out.name, left_out.reason)?;
    }
    Ok(())
}

fn read(args: &CollateArgs) -> Result<Collation, CliError> {
    let mut found = Found::default();
    for dir in &args.dirs {
        if !dir.is_dir() {
            return Err(CliError::usage(format!(
                "`{}` is no folder; give folders that hold runs, for example the log folder",
                dir.display()
            )));
        }
        found.look_into(dir)?;
    }
    if found.runs.is_empty() && found.left_out.is_empty() {
        let dirs: Vec<String> = (args.dirs.iter())
            .map(|d| format!("`{}`", d.display()))
            .collect();
        return Err(CliError::failure(format!(
            "there is no run in {}; runs are folders that `archai run` leaves, NAME_search and NAME_eval",
            dirs.join(", ")
        )));
    }
    Ok(collate(found.runs.into_values().collect(), found.left_out))
}

/// Runs by the name that their two directories share.
#[derive(Default)]
struct Found {
    runs: BTreeMap<PathBuf, FinishedRun>,
    left_out: Vec<LeftOut>,
    seen: Vec<PathBuf>,
}

impl Found {
    /// Looks at a folder and those below it, in the order of their names. Links are not followed.
    fn look_into(&mut self, dir: &Path) -> Result<(), CliError> {
        let failed = |e| FileError::new("read the folder", dir, e);
        let canonical = dir.canonicalize().map_err(failed)?;
        if self.seen.contains(&canonical) {
            return Ok(());
        }
        self.seen.push(canonical);
        let phase = phase_of(dir);
        if dir.join("config_used.yaml").exists() || dir.join(RECORD_FILE).exists() {
            self.take(dir, phase);
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                entries.push(entry.path());
            }
        }
        if phase.is_some() && entries.is_empty() {
            self.leave(
                dir,
                "it has neither config_used.yaml nor result.json: the run ended before it began",
            );
        }
        entries.sort();
        entries.iter().try_for_each(|entry| self.look_into(entry))
    }

    fn leave(&mut self, dir: &Path, reason: impl Into<String>) {
        self.left_out.push(LeftOut {
            name: dir.display().to_string(),
            reason: reason.into(),
        });
    }

    fn take(&mut self, dir: &Path, phase: Option<(PathBuf, &'static str)>) {
        let record = match read_record(dir) {
            Ok(record) => record,
            Err(reason) => return self.leave(dir, reason),
        };
        // A directory that was renamed by hand is a run of its own.
        let key = match phase {
            Some((key, phase)) if record.phase.starts_with(phase) => key,
            _ => dir.to_path_buf(),
        };
        let run = self.runs.entry(key.clone()).or_insert_with(|| FinishedRun {
            name: key.display().to_string(),
            search: None,
            eval: None,
        });
        let place = match record.phase.as_str() {
            "search" => &mut run.search,
            _ => &mut run.eval,
        };
        *place = Some(record);
    }
}

/// For `…/NAME_search.3`: `…/NAME.3` and `search`, as records begin their phase.
fn phase_of(dir: &Path) -> Option<(PathBuf, &'static str)> {
    let name = dir.file_name()?.to_str()?;
    let (stem, number) = match name.rsplit_once('.') {
        Some((stem, n)) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
            (stem, &name[stem.len()..])
        }
        _ => (name, ""),
    };
    [("_search", "search"), ("_eval", "eval")]
        .into_iter()
        .find_map(|(end, phase)| {
            let base = stem.strip_suffix(end)?;
            Some((dir.with_file_name(format!("{base}{number}")), phase))
        })
}

/// The record of a run directory, or why there is none.
fn read_record(dir: &Path) -> Result<Record, String> {
    let path = dir.join(RECORD_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let last =
                last_message(dir).map_or_else(String::new, |m| format!("; its log ends with: {m}"));
            return Err(format!(
                "it is not complete, or was made by an older program: there is no {RECORD_FILE}{last}"
            ));
        }
        Err(e) => return Err(format!("{RECORD_FILE} cannot be read: {e}")),
    };
    Record::from_json(&text).map_err(|why| format!("{RECORD_FILE} {why}"))
}

/// The last sentence in a log that is there, for people who wonder how far a run got.
fn last_message(dir: &Path) -> Option<String> {
    let logs = fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()));
    let log = logs
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .min()?;
    crate::report::last_message(&fs::read_to_string(log).ok()?)
}

/// What a report keeps of a search.
pub fn figures_of_search(result: &SearchResult) -> BTreeMap<String, f64> {
    figures([
        ("supernet_train_top1", result.train_top1),
        ("supernet_val_top1", result.val_top1),
        ("post_train_test_top1", result.post_train_test_top1),
        (
            "supernet_parameters",
            Some(result.supernet_parameters as f64),
        ),
        ("alphas", Some(result.alphas as f64)),
        ("search_parameters", Some(result.parameters as f64)),
        ("search_macs", Some(result.macs as f64)),
        ("search_seconds", Some(result.seconds)),
    ])
}

/// What a report keeps of an evaluation.
pub fn figures_of_eval(result: &EvalResult) -> BTreeMap<String, f64> {
    figures([
        ("test_top1", result.test_top1),
        ("test_top5", result.test_top5),
        ("val_top1", result.val_top1),
        ("best_val_top1", result.best_val.map(|(_, top1)| top1)),
        ("train_top1", result.train_top1),
        ("parameters", Some(result.parameters as f64)),
        ("macs", Some(result.macs as f64)),
        ("epochs", Some(result.epochs as f64)),
        ("eval_seconds", Some(result.seconds)),
    ])
}

fn figures<const N: usize>(all: [(&str, Option<f64>); N]) -> BTreeMap<String, f64> {
    // JSON has no NaN: a figure that is none is not there.
    let there = all
        .into_iter()
        .filter_map(|(name, v)| Some((name.to_string(), v.filter(|v| v.is_finite())?)));
    there.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_one_run_share_a_name() {
        for (dir, expect) in [
            ("a/darts_x_one_search", Some(("a/darts_x_one", "search"))),
            ("a/darts_x_one_eval", Some(("a/darts_x_one", "eval"))),
            ("a/darts_x_one_eval.12", Some(("a/darts_x_one.12", "eval"))),
            ("a/darts_x_v1.5_search", Some(("a/darts_x_v1.5", "search"))),
            ("a/search", None),
            ("a/x_search.old", None),
        ] {
            let got = phase_of(Path::new(dir));
            let expect = expect.map(|(key, phase)| (PathBuf::from(key), phase));
            assert_eq!(got, expect, "{dir}");
        }
    }
}
