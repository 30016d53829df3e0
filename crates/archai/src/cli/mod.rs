//! The command line, as a function: a program with algorithms of its own gets all of it by calling [`run`].
//!
//! Everything that touches the user's surroundings is below this module: arguments, environment variables, the terminal,
//! signals, exit status. The libraries get what they need from here as values.

pub(crate) mod args;

mod block;
mod canvas;
mod config;
mod data;
mod data_found;
mod desc;
pub(crate) mod env;
pub(crate) mod error;
mod evaluate;
mod export;
mod forecast;
mod hints;
mod import;
mod latency;
mod lists;
mod model;
mod networks;
mod onnxruntime;
mod overrides;
mod predict;
mod proxies;
mod report;
mod run;
mod runs;
mod search;
mod shell;
mod space;
mod summary;
mod table;
mod terminal;
mod text;
mod track;
mod train;
mod tty;
mod verify;
mod watch;

use std::path::Path;
use std::process::ExitCode;

use archai_engine::files::FileError;
use archai_lab::discrete::SearchDir;
use archai_lab::rundir::STARTED_FILE;
use archai_lab::{DirState, Host, Lab, RunDir};
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command, ResumeArgs};
use env::Env;
use error::CliError;

/// The surroundings of this process, for a lab that works without the command line: variables and folder, the system's
/// clock, the names of process and machine.
///
/// ```
/// let lab = archai::lab::Lab::builtin().on(archai::cli::host());
/// assert_eq!(lab.host().process, std::process::id());
/// ```
pub fn host() -> Host {
    Env::read().host()
}

/// Runs the command line of the process in this lab, and gives its exit status: 0 when all went well, 1 when
/// something failed on the way, 2 when what was asked for cannot be done (the command line, a configuration, or a file or folder
/// that they name is missing or cannot be used), 130 after an interrupt.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     archai::cli::run(archai::lab::Lab::builtin())
/// }
/// ```
pub fn run(lab: Lab) -> ExitCode {
    run_in(lab, &Env::read())
}

/// [`run`] with a command line that does not come from the process: the program's name, then its arguments.
///
/// ```no_run
/// let command_line = ["mine", "ops", "--json"].map(String::from);
/// let status = archai::cli::run_as(archai::lab::Lab::builtin(), command_line.to_vec());
/// # let _ = status;
/// ```
pub fn run_as(lab: Lab, command_line: Vec<String>) -> ExitCode {
    run_in(lab, &Env::of(command_line))
}

fn run_in(lab: Lab, env: &Env) -> ExitCode {
    let arguments = env.command_line.iter().skip(1).cloned().collect();
    let (cli, overrides) = match parse(arguments, env) {
        Ok(parsed) => parsed,
        Err(error) => {
            let error = hint_at_run(&env.command_line, &program(&env.program))
                .or_else(|| hints::unknown_argument(&error, &env.command_line, &lab))
                .unwrap_or(error);
            // Help goes to standard output, mistakes to standard error; whoever closed it does not want to know.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    // Not before: help and mistakes need no time zone.
    let lab = lab.on(env.host());
    match dispatch(&cli.command, &overrides, &lab, env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(env.colors),
    }
}

/// The parser under the name that the program was called by. Overrides never reach it, but its usage names them.
fn program(name: &str) -> clap::Command {
    let usage = |words: &str| format!("{name} {words} [--a.b.c VALUE]...");
    let (run, train, show, search) = (
        usage("run [OPTIONS]"),
        usage("train [OPTIONS] <NETWORK|--model MODEL>"),
        usage("config show [OPTIONS] <ALGO>"),
        usage("search run [OPTIONS] <SPACE>"),
    );
    Cli::command()
        .name(name.to_string())
        .bin_name(name.to_string())
        .mut_subcommand("run", |command| command.override_usage(run))
        .mut_subcommand("train", |command| command.override_usage(train))
        .mut_subcommand("config", |command| {
            command.mut_subcommand("show", |command| command.override_usage(show))
        })
        .mut_subcommand("search", |command| {
            command.mut_subcommand("run", |command| command.override_usage(search))
        })
}

/// The command line as types, and the settings that it overrides.
fn parse(arguments: Vec<String>, env: &Env) -> Result<(Cli, Vec<String>), clap::Error> {
    // A copy of the parser would cost more than all the rest of `--help`: the few commands that need one build their own.
    let program = program(&env.program);
    let (mut flags, overrides) = overrides::split(arguments, &program);
    flags.insert(0, env.program.clone());
    let matches = program.try_get_matches_from(flags)?;
    Ok((Cli::from_arg_matches(&matches)?, overrides))
}

/// The mistake of a command line whose `run` was left out: it begins with an option of that command, or with a setting.
fn hint_at_run(command_line: &[String], program: &clap::Command) -> Option<clap::Error> {
    let (called, arguments) = command_line.split_first()?;
    let first = arguments.first()?;
    let name = first.split('=').next().unwrap_or(first);
    let is_of_run = |run: &clap::Command| {
        let known = |arg: &clap::Arg| overrides::is_called(arg, name);
        let elsewhere =
            program.get_arguments().any(known) || ["--help", "--version"].contains(&name);
        run.get_arguments().any(known) && !elsewhere
    };
    if !program.find_subcommand("run").is_some_and(is_of_run) && !overrides::is_override(first) {
        return None;
    }
    let called = Path::new(called).file_name()?.to_string_lossy();
    let message = format!(
        "`{name}` belongs to the command `run`; write: {called} run {}\n",
        arguments.join(" ")
    );
    Some(clap::Error::raw(
        clap::error::ErrorKind::UnknownArgument,
        message,
    ))
}

/// Gives the command again that made a run directory.
fn resume(asked: &ResumeArgs, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    let dir = asked.dir.as_path();
    if let Some(first) = overrides.first() {
        return Err(CliError::usage(format!(
            "`{first}`: a run goes on with the settings that it has; to change some, give the run's command with them"
        )));
    }
    let dir = dir
        .canonicalize()
        .map_err(|e| CliError::at_named(FileError::new("read", dir, e)))?;
    if SearchDir::new(&dir).is_there() {
        return search::resume(&dir, asked, lab, env);
    }
    let started = match RunDir::new(&dir).state()? {
        DirState::Unfinished(started) | DirState::Finished(started, _) => started,
        DirState::Absent | DirState::Foreign => {
            return Err(CliError::usage(format!(
                "`{}` is no run directory: it has no {STARTED_FILE}",
                dir.display()
            )));
        }
    };
    let unusable = |why: String| {
        CliError::failure(format!(
            "the command in `{}` cannot be given again: {why}",
            dir.join(STARTED_FILE).display()
        ))
    };
    if started.folder.as_os_str().is_empty() {
        return Err(unusable(
            "the program that gave it did not say in which folder (`Host::folder` was empty), so that its relative paths mean \
             nothing here; run that program again with the same request"
                .to_string(),
        ));
    }
    std::env::set_current_dir(&started.folder)
        .map_err(|e| unusable(format!("`{}`: {e}", started.folder.display())))?;
    let mut env = env.clone();
    env.folder = started.folder.clone();
    env.command_line.truncate(1);
    env.command_line.extend(started.arguments.iter().cloned());
    let lab = lab.clone().on(env.host());
    let (cli, overrides) =
        parse(started.arguments.clone(), &env).map_err(|e| unusable(e.to_string()))?;
    let (mut args, overrides) = match &cli.command {
        Command::Run(args) => (args.clone(), overrides),
        Command::Train(args) => train::as_run(args, &overrides, &lab)?,
        _ => return Err(unusable("it is no `run` or `train`".to_string())),
    };
    // What changes no result is the choice of whoever resumes.
    args.screen = asked.screen;
    if asked.threads.threads.is_some() {
        args.compute.threads = asked.threads;
    }
    args.track = match &asked.track {
        Some(targets) => Some(targets.clone()),
        None => Some(RunDir::new(&dir).track()?.to).filter(|to| !to.is_empty()),
    };
    run::resume(&args, &overrides, &lab, &env, &dir)
}

fn dispatch(command: &Command, overrides: &[String], lab: &Lab, env: &Env) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(args, overrides, lab, env),
        Command::Train(args) => {
            let (args, overrides) = train::as_run(args, overrides, lab)?;
            run::run(&args, &overrides, lab, env)
        }
        Command::Runs(args) => runs::run(args, lab),
        Command::Status(args) => runs::status(args, lab),
        Command::Track(args) => track::run(args, lab, env),
        Command::Watch(args) => watch::run(args, lab, env),
        Command::Resume(args) => resume(args, overrides, lab, env),
        Command::Verify { dirs, threads } => {
            verify::run(dirs, threads.threads, overrides, lab, env)
        }
        Command::Export(args) => export::run(args, overrides, lab, env),
        Command::Predict(args) => predict::run(args, overrides, lab, env),
        Command::Evaluate(args) => evaluate::run(args, overrides, lab, env),
        Command::Proxies(args) => proxies::run(args, overrides, lab, env),
        Command::Latency(command) => latency::run(command, lab, env),
        Command::Algos(args) => lists::algos(*args, lab),
        Command::Ops(args) => lists::ops(*args, lab),
        Command::Spaces(args) => lists::spaces(*args, lab),
        Command::Finalizers(args) => lists::finalizers(*args, lab),
        Command::Exporters(args) => lists::exporters(*args, lab),
        Command::Devices(args) => lists::devices(*args, lab),
        Command::Datasets(args) => lists::datasets(*args, &lab.components().formats),
        Command::Formats(args) => lists::named(*args, &lab.components().formats),
        Command::Transforms(args) => lists::named(*args, &lab.components().transforms),
        Command::Config(command) => config::run(command, overrides, lab),
        Command::Desc(command) => desc::run(command, lab),
        Command::Space(command) => space::run(command),
        Command::Search(command) => search::run(command, overrides, lab, env),
        Command::Import(args) => import::run(args, lab),
        Command::Data(command) => data::run(command, overrides, lab, env),
        Command::Bench(args) => crate::bench::run(args, env),
        Command::Table(args) => table::run(args, lab),
        Command::Report(command) => report::run(command, lab),
        Command::Completions { shell } => shell::completions(*shell, program(&env.program), lab),
        Command::Man { dir } => shell::man(dir.as_deref(), program(&env.program)),
    }
}
