//! `archai runs`: lists the runs in a folder, and removes some.

use std::io::Write;
use std::path::{Path, PathBuf};

use archai_algos::BASE_ALGORITHM;
use archai_engine::files::FileError;
use archai_lab::runs::{RunInfo, RunState, list, remove};
use archai_lab::summary::time;
use archai_lab::{Lab, Request};
use archai_spec::names::unknown;
use archai_spec::numbers::percent;
use jiff::Timestamp;

use super::args::{RemoveArgs, RunsArgs, RunsCommand};
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
    let mut out = std::io::stdout().lock();
    if args.json {
        let text = serde_json::to_string_pretty(&runs).map_err(CliError::caused)?;
        writeln!(out, "{text}")?;
        return Ok(());
    }
    if runs.is_empty() {
        writeln!(out, "no runs in {}", folder.display())?;
        return Ok(());
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = runs.iter().map(|run| row(run, now)).collect();
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
    writeln!(out, "{}", text::table(&header, 4, &rows, text::width()))?;
    Ok(())
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
