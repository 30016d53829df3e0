//! `archai runs`: lists the runs in a folder, and removes some. `archai status`: lists them, too, and says how far they are.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use archai_algos::BASE_ALGORITHM;
use archai_engine::files::FileError;
use archai_lab::progress::PhaseProgress;
use archai_lab::runs::{RunInfo, RunState, list, remove};
use archai_lab::summary::{clock, time};
use archai_lab::{Lab, Phase, Request};
use archai_spec::names::unknown;
use archai_spec::numbers::percent;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, to_value};

use super::args::{RemoveArgs, RunsArgs, RunsCommand, WhichRuns};
use super::error::CliError;
use super::text;

/// Lists runs, or removes some.
///
/// # Errors
/// A folder or a run that is not there, runs in which a process works, files that cannot be removed.
pub fn run(args: &RunsArgs, lab: &Lab) -> Result<(), CliError> {
    if let Some(RunsCommand::Rm(args)) = &args.command {
        return remove_runs(args, lab);
    }
    let header = [
        "run",
        "state",
        "algorithm",
        "data",
        "seed",
        "test accuracy",
        "age",
        "size",
    ];
    show(&args.which, lab, (&header, 4), row, |run, _| to_value(run))
}

/// Says how far runs are.
///
/// # Errors
/// A folder that is not there or cannot be read.
pub fn status(args: &WhichRuns, lab: &Lab) -> Result<(), CliError> {
    let header = [
        "run", "state", "phase", "progress", "accuracy", "left", "age",
    ];
    show(args, lab, (&header, 3), standing, |run, now| {
        to_value(Standing::new(run, now))
    })
}

/// Lists runs: as a table whose columns but the first `left` stand to the right, or as JSON.
fn show(
    args: &WhichRuns,
    lab: &Lab,
    (header, left): (&[&str], usize),
    row: impl Fn(&RunInfo, Timestamp) -> Vec<String>,
    value: impl Fn(&RunInfo, Timestamp) -> serde_json::Result<Value>,
) -> Result<(), CliError> {
    let given = args.logdir.as_deref().or(args.logdir_option.as_deref());
    let folder = folder(given, lab)?;
    let state = args.state.map(RunState::from);
    let is_wanted = |run: &RunInfo| {
        let texts = [
            Some(&run.name),
            run.algorithm.as_ref(),
            run.dataset.as_ref(),
        ];
        let holds = |text: &String| (texts.iter().flatten()).any(|own| own.contains(text.as_str()));
        state.is_none_or(|state| run.state == state) && args.filter.as_ref().is_none_or(holds)
    };
    let mut runs = list(&folder)?;
    runs.retain(is_wanted);
    let now = Timestamp::now();
    let mut out = std::io::stdout().lock();
    if args.json {
        let values = runs.iter().map(|run| value(run, now));
        let values = values.collect::<Result<Vec<_>, _>>();
        let text = values.and_then(|values| serde_json::to_string_pretty(&values));
        let text = text.map_err(CliError::caused)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    if runs.is_empty() {
        writeln!(out, "no runs in {}", folder.display())?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = runs.iter().map(|run| row(run, now)).collect();
    writeln!(out, "{}", text::table(header, left, &rows, text::width()))?;
    Ok(())
}

/// A run as `archai status --json` has it: what `archai runs --json` says, and how far it is.
#[derive(Serialize)]
struct Standing<'a> {
    #[serde(flatten)]
    run: &'a RunInfo,
    phase: Option<Phase>,
    progress: Option<&'a PhaseProgress>,
    /// Of the training that is under way; none where nobody works or nobody knows yet.
    seconds_left: Option<f64>,
}

impl<'a> Standing<'a> {
    fn new(run: &'a RunInfo, now: Timestamp) -> Self {
        Standing {
            phase: run.present().map(|phase| phase.phase),
            progress: run.progress(),
            seconds_left: left(run, now).map(|left| left.as_secs_f64()),
            run,
        }
    }
}

/// How long the training that is under way still takes, if a process works on it.
fn left(run: &RunInfo, now: Timestamp) -> Option<Duration> {
    let progress = run.progress().filter(|_| run.state == RunState::Running);
    progress?.left(now)
}

/// How far a run is, as a row of the table.
fn standing(run: &RunInfo, now: Timestamp) -> Vec<String> {
    let none = || "-".to_string();
    let progress = run.progress();
    let accuracy = match (
        run.test_top1,
        progress.and_then(|p| Some((p.top1?, p.top1_of?))),
    ) {
        (Some(test), _) => format!("{} test", percent(test)),
        (None, Some((top1, of))) => format!("{} {of}", percent(top1)),
        (None, None) => none(),
    };
    vec![
        run.name.clone(),
        run.state.name().to_string(),
        run.present()
            .map_or_else(none, |phase| phase.phase.to_string()),
        come_to(run),
        accuracy,
        left(run, now).map_or_else(none, clock),
        run.changed.map_or_else(none, |changed| {
            age(now.duration_since(changed).as_secs_f64())
        }),
    ]
}

/// `epoch 3/10, 24 %`.
fn come_to(run: &RunInfo) -> String {
    match run.progress() {
        None if run.state == RunState::Complete => "100 %".to_string(),
        Some(progress) if progress.epochs > 0 => {
            // Not the whole before all is over.
            let percent = (100.0 * progress.fraction).floor();
            let before = match progress.trainings {
                0 | 1 => String::new(),
                n => format!("training {n}, "),
            };
            format!(
                "{before}epoch {}/{}, {percent} %",
                progress.epoch, progress.epochs
            )
        }
        _ => "-".to_string(),
    }
}

/// Longest that a state in words may be in a table.
const STATE: usize = 48;

fn row(run: &RunInfo, now: Timestamp) -> Vec<String> {
    let none = || "-".to_string();
    let state = run.state_in_words();
    let state = match state.char_indices().nth(STATE) {
        Some((end, _)) => format!("{} …", state[..end].rsplit_once(' ').map_or("", |(s, _)| s)),
        None => state,
    };
    vec![
        run.name.clone(),
        state,
        run.algorithm.clone().unwrap_or_else(none),
        run.dataset.clone().unwrap_or_else(none),
        run.seed.map_or_else(none, |seed| seed.to_string()),
        run.test_top1.map_or_else(none, percent),
        run.changed.map_or_else(none, |changed| {
            age(now.duration_since(changed).as_secs_f64())
        }),
        bytes(run.size),
    ]
}

/// `12.3 s`, `5 min`, `3 h`, `12 d`.
fn age(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => time(s.max(0.0)),
        s if s < 3600.0 => format!("{:.0} min", s / 60.0),
        s if s < 86_400.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// `512 B`, `12.3 kB`, `1.2 MB`.
fn bytes(n: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.iter().find(|(_, size)| n as f64 >= *size);
    match unit {
        Some((name, size)) => format!("{:.1} {name}", n as f64 / size),
        None => format!("{n} B"),
    }
}

/// Removes the runs that are named, after all were found.
fn remove_runs(args: &RemoveArgs, lab: &Lab) -> Result<(), CliError> {
    let state = args.state.map(RunState::from);
    let mut going: Vec<RunInfo> = Vec::new();
    if let Some(state) = state {
        let runs = list(&folder(args.logdir.as_deref(), lab)?)?;
        going.extend(runs.into_iter().filter(|run| run.state == state));
    }
    for name in &args.names {
        let run = find(name, args.logdir.as_deref(), lab)?;
        if !going.contains(&run) {
            going.push(run);
        }
    }
    let mut out = std::io::stdout().lock();
    let verb = match args.dry_run {
        true => "would remove",
        false => "removed",
    };
    for run in &going {
        if !args.dry_run {
            remove(run, lab.host())?;
        }
        writeln!(
            out,
            "{verb} {} ({}, {})",
            run.name,
            run.state_in_words(),
            bytes(run.size)
        )?;
    }
    if going.is_empty() {
        writeln!(out, "no such runs")?;
    }
    Ok(())
}

/// A run by its name, or by one of its directories.
fn find(name: &str, logdir: Option<&Path>, lab: &Lab) -> Result<RunInfo, CliError> {
    let as_dir = Path::new(name);
    if name.contains(['/', '\\']) && as_dir.is_dir() {
        let dir = as_dir.canonicalize();
        let dir = dir.map_err(|e| CliError::at_named(FileError::new("read", as_dir, e)))?;
        let runs = list(dir.parent().unwrap_or(Path::new(".")))?;
        let mut holding = runs.into_iter().filter(|run| {
            let dirs = run.phases.iter().map(|phase| phase.dir.path());
            dirs.into_iter().any(|own| own == dir)
        });
        return holding.next().ok_or_else(|| {
            CliError::usage(format!(
                "`{name}` is no run directory; name a folder that `archai run` made"
            ))
        });
    }
    let folder = folder(logdir, lab)?;
    let mut runs = list(&folder)?;
    match runs.iter().position(|run| run.name == name) {
        Some(at) => Ok(runs.swap_remove(at)),
        None => {
            let names = runs.iter().map(|run| run.name.as_str());
            let error = unknown("run", name, names);
            Err(CliError::usage(format!(
                "{error} (in {})",
                folder.display()
            )))
        }
    }
}

/// The folder of runs that was named, or the one of the settings.
///
/// # Errors
/// It is not there.
pub fn folder(given: Option<&Path>, lab: &Lab) -> Result<PathBuf, CliError> {
    let folder = match given {
        Some(given) => given.to_path_buf(),
        None => {
            let plan = lab.plan(&Request::new(BASE_ALGORITHM))?;
            let search = plan
                .dirs()
                .first()
                .map(|dirs| dirs.search.path().to_path_buf());
            let folder = search.as_deref().and_then(Path::parent);
            folder.unwrap_or(Path::new(".")).to_path_buf()
        }
    };
    match (folder.is_dir(), given) {
        (true, _) => Ok(folder),
        (false, None) => Err(CliError::usage(format!(
            "there are no runs yet: `{}` is not there; name another folder",
            folder.display()
        ))),
        (false, Some(_)) => Err(CliError::usage(format!(
            "`{}` is no folder; give the folder that holds the runs",
            folder.display()
        ))),
    }
}
