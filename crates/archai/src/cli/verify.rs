//! `archai verify`: does finished runs again and prints what differs; of a discrete search it computes every proposal again.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use archai_engine::files::FileError;
use archai_lab::Lab;
use archai_lab::verify::{Compared, Repetition, Verdict};

use super::env::Env;
use super::error::CliError;
use super::run::Live;
use super::search;
use super::terminal::Loudness;

/// Does finished runs again, with further overrides, and compares.
///
/// # Errors
/// A directory that is no finished run, whatever goes wrong in a repetition, files that differ.
pub fn run(
    dirs: &[PathBuf],
    threads: Option<u16>,
    overrides: &[String],
    lab: &Lab,
    env: &Env,
) -> Result<(), CliError> {
    let (searches, dirs) = search::told_apart(dirs);
    for dir in &searches {
        search::verify(dir, lab)?;
    }
    if dirs.is_empty() {
        return Ok(());
    }
    // All are inspected before the first is repeated.
    let repetitions = dirs.iter().map(|dir| {
        let scratch = tempfile::Builder::new()
            .prefix("archai-verify-")
            .tempdir()
            .map_err(|e| FileError::new("make a folder in", &std::env::temp_dir(), e))?;
        let threads = threads.map(usize::from);
        let repetition = Repetition::new(lab, dir, scratch.path(), overrides, threads)?;
        Ok((repetition, scratch))
    });
    let repetitions: Vec<_> = repetitions.collect::<Result<_, CliError>>()?;
    let live = Live::new(env, Loudness::Usual, false)?;
    for (repetition, _scratch) in &repetitions {
        let files = repetition.run(lab, &live)?;
        report(&repetition.dir().path().display().to_string(), &files)?;
    }
    Ok(())
}

/// Prints file by file how a run compares with its repetition.
fn report(dir: &str, files: &[Compared]) -> Result<(), CliError> {
    let width = files.iter().map(|file| file.name.len()).max().unwrap_or(0);
    let mut table = format!("\n{dir}\n");
    for file in files {
        let verdict = match file.verdict {
            Verdict::Same => "same",
            Verdict::Differs => "DIFFERS",
            Verdict::OnlyOld => "DIFFERS: the repetition does not have it",
            Verdict::OnlyNew => "DIFFERS: only the repetition has it",
        };
        let _ = writeln!(
            table,
            "  {:<width$}  {:.16}  {verdict}",
            file.name, file.digest
        );
    }
    std::io::stdout().write_all(table.as_bytes())?;
    let differing = files.iter().filter(|file| file.verdict != Verdict::Same);
    let differing: Vec<&str> = differing.map(|file| file.name.as_str()).collect();
    if differing.is_empty() {
        let verdict = format!("{} files, all the same but for times\n", files.len());
        std::io::stdout().write_all(verdict.as_bytes())?;
        return Ok(());
    }
    Err(CliError::failure(format!(
        "{} of {} files in `{dir}` are not what the run gives: {}; another version of the program, another kind of \
         processor or other data can be the reason, or somebody changed them",
        differing.len(),
        files.len(),
        differing.join(", ")
    )))
}
