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
mod summary;
mod table;
mod terminal;

use std::process::ExitCode;

use archai_algos::Algorithms;
use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use env::Env;
use error::CliError;

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
    let (mut flags, overrides) = overrides::split(arguments, &program);
    flags.insert(0, env.program.clone());
    let parsed = program
        .clone()
        .try_get_matches_from(flags)
        .and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
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

fn dispatch(
    command: &Command,
    overrides: &[String],
    algos: &Algorithms,
    env: &Env,
    program: clap::Command,
) -> Result<(), CliError> {
    match command {
        Command::Run(args) => run::run(args, overrides, algos, env),
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
