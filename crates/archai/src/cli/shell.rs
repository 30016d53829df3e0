//! `archai completions` and `archai man`: made from the same types as the help texts.

use std::io::Write;
use std::path::Path;

use archai_engine::files::FileError;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::error::CliError;

/// Prints a completion script.
///
/// # Errors
/// Standard output that cannot be written.
pub fn completions(shell: Shell, mut program: Command) -> Result<(), CliError> {
    let name = program.get_name().to_string();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut script);
    Ok(std::io::stdout().write_all(&script)?)
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
