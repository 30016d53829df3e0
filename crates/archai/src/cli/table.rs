//! `archai table`: what the table of NAS-Bench-201 says of a cell.

use std::io::Write;
use std::path::Path;

use archai_engine::files::FileError;
use archai_lab::table::Table;
use archai_lab::{Lab, config::all_ops};
use archai_spec::desc::{ModelDesc, nasbench201::Cell201};

use super::args::TableArgs;
use super::desc::description;
use super::error::CliError;

/// Prints what a table says of a cell.
///
/// # Errors
/// A table or a description that cannot be read, a cell that is none.
pub fn run(args: &TableArgs, lab: &Lab) -> Result<(), CliError> {
    let file = description(&args.cell)?;
    let path = Path::new(&file);
    let cell = if path.is_file() {
        let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))?;
        let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
        let desc = ModelDesc::from_yaml(&text, &file, ops.catalog());
        Cell201::from_desc(&desc.map_err(CliError::input)?).map_err(CliError::input)?
    } else {
        args.cell.parse().map_err(|e| {
            CliError::usage(format!(
                "{e}; or the path of a found description, but there is no file of this name"
            ))
        })?
    };
    let entry = Table::open(&args.table)?.of_cell(&cell);
    let mut out = std::io::stdout().lock();
    for line in entry.lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
