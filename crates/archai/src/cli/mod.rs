//! The command line, as a function: a program with algorithms of its own gets all of it by calling [`run`].
//!
//! Everything that touches the user's surroundings is below this module: arguments, environment variables, the terminal,
//! signals, exit status. The libraries get what they need from here as values.

mod args;
mod bench;
mod config;
mod data;
mod desc;
mod dirs;
mod env;
mod error;
mod lists;
mod logs;
mod overrides;
mod report;
mod run;
mod shell;
mod source;
mod started;
mod summary;
mod table;
mod terminal;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use archai_algos::Algorithms;
use archai_engine::files::FileError;
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use env::Env;
use error::CliError;
use run::Live;
use started::{Phase, STARTED_FILE};
use verify::Repetition;

/// Runs the command line of the process with these algorithms, and gives its exit status: 0 when all went well, 1 when
/// something failed, 2 when the command line or a configuration cannot be used, 130 after an interrupt.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     archai::cli::run(archai::algos::all())
/// }
/// ```
pub fn run(algos: Algorithms) -> ExitCode {
    let env = Env::read();
    let program = program(&env.program);
    let arguments = env.command_line.iter().skip(1).cloned().collect();
    let (cli, overrides) = match parse(arguments, &program, &env) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; whoever closed it does not want to know.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    match dispatch(&cli.command, &overrides, &algos, &env, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(env.colors),
    }
}

/// The parser under the name that the program was called by. Overrides never reach it, but its usage names them.
fn program(name: &str) -> clap::Command {
    let usage = |words: &str| format!("{name} {words} [--a.b.c VALUE]...");
    let (run, show) = (
        usage("run [OPTIONS]"),
        usage("config show [OPTIONS] <ALGO>"),
    );
    Cli::command()
        .name(name.to_string())
        .bin_name(name.to_string())
        .mut_subcommand("run", |command| command.override_usage(run))
        .mut_subcommand("config", |command| {
            command.mut_subcommand("show", |command| command.override_usage(show))
        })
}

/// The command line as types, and the settings that it overrides.
fn parse(
    arguments: Vec<String>,
    program: &clap::Command,
    env: &Env,
) -> Result<(Cli, Vec<String>), clap::Error> {
    let (mut flags, overrides) = overrides::split(arguments, program);
    flags.insert(0, env.program.clone());
    let matches = program.clone().try_get_matches_from(flags)?;
    Ok((Cli::from_arg_matches(&matches)?, overrides))
}

/// Gives the command again that made a run directory.
fn resume(
    dir: &Path,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    program: &clap::Command,
) -> Result<(), CliError> {
    if let Some(first) = overrides.first() {
        return Err(CliError::usage(format!(
            "`{first}`: a run goes on with the settings that it has; to change some, give the run's command with them"
        )));
    }
    let dir = dir
        .canonicalize()
        .map_err(|e| FileError::new("read", dir, e))?;
    let started = match Phase::of(&dir)? {
        Phase::Unfinished(started) | Phase::Finished(started, _) => started,
        Phase::Absent | Phase::Foreign => {
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
    std::env::set_current_dir(&started.folder)
        .map_err(|e| unusable(format!("`{}`: {e}", started.folder.display())))?;
    let mut env = env.clone();
    env.folder = started.folder.clone();
    env.command_line.truncate(1);
    env.command_line.extend(started.arguments.iter().cloned());
    let (cli, overrides) =
        parse(started.arguments.clone(), program, &env).map_err(|e| unusable(e.to_string()))?;
    match &cli.command {
        Command::Run(args) => run::resume(args, &overrides, algos, &env, &dir),
        _ => Err(unusable("it is no `run`".to_string())),
    }
}

/// Does finished runs again and compares.
fn verify(
    dirs: &[PathBuf],
    threads: Option<u16>,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    program: &clap::Command,
) -> Result<(), CliError> {
    let mut more: Vec<String> = overrides.to_vec();
    more.extend(threads.map(|n| format!("--threads={n}")));
    // All are looked at before the first is repeated.
    let repetitions: Vec<Repetition> = dirs
        .iter()
        .map(|dir| Repetition::new(dir, &more))
        .collect::<Result<_, _>>()?;
    let live = Live::new(env)?;
    for repetition in &repetitions {
        let mut env = env.clone();
        env.folder = repetition.scratch().to_path_buf();
        env.command_line.truncate(1);
        env.command_line
            .extend(repetition.arguments.iter().cloned());
        let arguments = repetition.arguments.clone();
        let (cli, overrides) =
            parse(arguments, program, &env).map_err(|e| CliError::failure(e.to_string()))?;
        let Command::Run(args) = &cli.command else {
            return Err(CliError::failure("the repetition is no `run`"));
        };
        run::quietly(args, &overrides, algos, &env, &live)?;
        repetition.compare()?;
    }
    Ok(())
}

fn dispatch(
    command: &Command,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    program: clap::Command,
) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(args, overrides, algos, env),
        Command::Resume { dir } => resume(dir, overrides, algos, env, &program),
        Command::Verify { dirs, threads } => {
            verify(dirs, *threads, overrides, algos, env, &program)
        }
        Command::Algos(args) => lists::algos(*args, algos),
        Command::Ops(args) => lists::ops(*args),
        Command::Datasets(args) => lists::datasets(*args),
        Command::Config(command) => config::run(command, overrides, algos),
        Command::Desc(command) => desc::run(command, algos),
        Command::Data(command) => data::run(command, env),
        Command::Bench(args) => bench::run(args, env),
        Command::Table(args) => table::run(args),
        Command::Report(command) => report::run(command),
        Command::Completions { shell } => shell::completions(*shell, program),
        Command::Man { dir } => shell::man(dir.as_deref(), program),
    }
}
