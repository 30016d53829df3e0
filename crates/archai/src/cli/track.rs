//! `archai track`, the flag `--track`, and what is said of trackers.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use archai_engine::files::FileError;
use archai_lab::{Lab, LabError};
use archai_spec::settings::{Track, TrackTarget};
use archai_track::{Notice, Notices, RunFacts, TrackError, track};

use super::args::TrackArgs;
use super::env::Env;
use super::error::CliError;
use super::terminal::{Loudness, Terminal};

/// The word for no tracker.
const NONE: &str = "none";

/// What `--track` names: nothing for `none`.
pub fn targets(given: &[String]) -> Vec<String> {
    let given = given.iter().map(|target| target.trim());
    let given = given.filter(|target| !target.is_empty());
    let all: Vec<String> = given.map(str::to_string).collect();
    match all.as_slice() {
        [only] if only == NONE => Vec::new(),
        _ => all,
    }
}

/// Shows what is to be said of trackers on the terminal.
pub fn notices(terminal: &Arc<Terminal>, env: &Env) -> Notices {
    let (terminal, program) = (Arc::clone(terminal), env.program.clone());
    Arc::new(move |notice| {
        let text = in_words(&notice, &program);
        match notice {
            Notice::Shown { .. } | Notice::Back { .. } => terminal.tell(&text),
            _ => terminal.say(&text),
        }
    })
}

fn in_words(notice: &Notice, program: &str) -> String {
    match notice {
        Notice::Shown { target, place } => match target {
            TrackTarget::TensorBoard => {
                format!("  TensorBoard: `tensorboard --logdir {}`", above(place))
            }
            TrackTarget::MlFlow(_) => format!("  MLflow: {place}"),
        },
        Notice::Down { target, why } => format!(
            "  warning: {target} gets nothing at the moment: {why}; the run goes on, and nothing is lost, since the log has all of it"
        ),
        Notice::Back { target } => format!("  {target} is back and has what it missed"),
        Notice::Refused { target, what } => format!("  warning: {target} does not take {what}"),
        Notice::Behind { target, dir } => format!(
            "  warning: {target} has not got all of it; to send the rest: {program} track {} --to {target}",
            dir.display()
        ),
        other => format!("  {other:?}"),
    }
}

/// The folder of runs in which a run's event files lie: TensorBoard shows all of them beside each other.
fn above(place: &str) -> String {
    let above = Path::new(place).ancestors().nth(2);
    let above = above.filter(|above| !above.as_os_str().is_empty());
    above.unwrap_or(Path::new(".")).display().to_string()
}

/// Gives runs to trackers.
///
/// # Errors
/// Texts that name no tracker, folders that are no runs or in which a process works, trackers that are down. What could be given
/// is given.
pub fn run(args: &TrackArgs, lab: &Lab, env: &Env) -> Result<(), CliError> {
    let wanted = Track {
        to: args.to.clone(),
        ..Track::default()
    };
    let wanted = wanted
        .targets()
        .map_err(|(_, why)| CliError::usage(format!("--to: {why}")))?;
    let terminal = Arc::new(Terminal::new(env, Loudness::Usual, true));
    let notices = notices(&terminal, env);
    // All of them first, so that the last does not fail for what could be seen before the first.
    let runs = args.dirs.iter().map(|dir| {
        let dir = dir
            .canonicalize()
            .map_err(|e| CliError::at_named(FileError::new("read", dir, e)))?;
        RunFacts::read(&dir).map_err(as_cli_error)
    });
    let runs: Vec<RunFacts> = runs.collect::<Result<_, _>>()?;
    let mut out = std::io::stdout().lock();
    let mut first_problem = None;
    for run in &runs {
        let mut settings = run.dir.track()?;
        settings.experiment = args.experiment.clone().or(settings.experiment);
        for target in &wanted {
            match track(run, target, &settings, lab, &notices) {
                Ok(place) => writeln!(out, "{}: {}", run.name(), place.unwrap_or_default())?,
                Err(error) => {
                    let error = as_cli_error(error);
                    match first_problem {
                        None => first_problem = Some(error),
                        Some(_) => terminal.say(&error.to_string()),
                    }
                }
            }
        }
    }
    first_problem.map_or(Ok(()), Err)
}

fn as_cli_error(error: TrackError) -> CliError {
    match error {
        TrackError::File(error) => CliError::from(LabError::from(error)),
        TrackError::Run(error) => CliError::from(error),
        other => CliError::failure(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_names_no_tracker() {
        let of = |given: &[&str]| targets(&given.iter().map(|t| t.to_string()).collect::<Vec<_>>());
        assert!(of(&["none"]).is_empty() && of(&[]).is_empty());
        assert_eq!(of(&[" tensorboard", ""]), ["tensorboard"]);
        // Beside another it is a mistake, which the settings' check names.
        assert_eq!(of(&["none", "tensorboard"]).len(), 2);
    }

    #[test]
    fn who_is_behind_is_told_how_to_go_on() {
        let notice = Notice::Behind {
            target: TrackTarget::MlFlow("http://h:1".into()),
            dir: "/d/a_eval".into(),
        };
        let text = in_words(&notice, "archai");
        assert!(
            text.ends_with("archai track /d/a_eval --to mlflow=http://h:1"),
            "{text}"
        );
        assert_eq!(above("/d/a_eval/tensorboard"), "/d");
        assert_eq!(above("a_eval/tensorboard"), ".");
    }
}
