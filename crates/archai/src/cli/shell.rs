//! `archai completions` and `archai man`: made from the same types as the help texts.

use std::io::Write;
use std::path::Path;

use archai_engine::files::FileError;
use archai_lab::Lab;
use archai_spec::config::shipped_datasets;
use archai_spec::registry::{Named, Registry};
use archai_spec::settings::OWN_SPACE;
use clap::Command;
use clap::builder::PossibleValuesParser;
use clap_complete::Shell;
use clap_mangen::Man;

use super::error::CliError;

/// Prints a completion script, which knows the names of what the lab has.
///
/// # Errors
/// Standard output that cannot be written.
pub fn completions(shell: Shell, program: Command, lab: &Lab) -> Result<(), CliError> {
    let mut program = with_names(program, lab);
    let name = program.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// The program with the names that its arguments may have. Where a path may stand as well, shells complete that, too.
fn with_names(program: Command, lab: &Lab) -> Command {
    let algorithms: Vec<String> = names(lab.algorithms());
    let datasets: Vec<String> = shipped_datasets().map(str::to_string).collect();
    let mut spaces: Vec<String> = names(&lab.components().spaces);
    spaces.push(OWN_SPACE.to_string());
    let takes = |command: Command, argument: &'static str, names: &[String]| {
        let names = PossibleValuesParser::new(names.to_vec());
        command.mut_arg(argument, |argument| argument.value_parser(names))
    };
    let sources = |command: Command| {
        let command = takes(command, "datasets", &datasets);
        takes(takes(command, "eval_dataset", &datasets), "space", &spaces)
    };
    program
        .mut_subcommand("run", |run| takes(sources(run), "algos", &algorithms))
        .mut_subcommand("config", |config| {
            config.mut_subcommand("show", |show| takes(sources(show), "algo", &algorithms))
        })
}

fn names<T: Named + ?Sized>(list: &Registry<T>) -> Vec<String> {
    list.iter().map(|item| item.name().to_string()).collect()
}

/// Prints the manual page, or writes a page for every command to a folder.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn man(dir: Option<&Path>, program: Command) -> Result<(), CliError> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        Man::new(program).render(&mut page)?;
        return Ok(std::io::stdout().write_all(&page)?);
    };
    std::fs::create_dir_all(dir).map_err(|e| FileError::new("create the folder", dir, e))?;
    clap_mangen::generate_to(program, dir)
        .map_err(|e| FileError::new("write manual pages to", dir, e))?;
    writeln!(
        std::io::stdout(),
        "the manual pages are in {}",
        dir.display()
    )?;
    Ok(())
}
