//! `archai export`: a trained network in the formats of other programs.

use std::fmt::Write as _;
use std::io::Write;

use archai_engine::experiment::RunFile;
use archai_lab::Lab;
use archai_lab::export::ExportRequest;
use archai_lab::forecast::bytes;
use archai_spec::settings::ExportOptions;
use serde_json::json;

use super::args::ExportArgs;
use super::error::CliError;
use super::text::{self, wrapped};

/// Writes the files and says what they are, how large, and how they are loaded.
///
/// # Errors
/// As [`Lab::export`].
pub fn run(args: &ExportArgs, lab: &Lab) -> Result<(), CliError> {
    let request = ExportRequest {
        model: args.model.clone(),
        best: args.best,
        formats: args.to.iter().map(|name| name.trim().to_string()).collect(),
        options: options(args),
        out: args.out.clone(),
        replace: args.replace,
    };
    let files = lab.export(&request)?;
    let text = match args.json {
        true => format!("{:#}\n", as_json(&files)),
        false => as_text(&files),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn options(args: &ExportArgs) -> ExportOptions {
    ExportOptions {
        input: args.input.into(),
        softmax: args.softmax,
        fold_norms: args.fold_norms,
        half: args.half,
        training: args.training,
    }
}

fn as_json(files: &[RunFile]) -> serde_json::Value {
    let files = files.iter().map(|file| {
        json!({ "path": file.path, "what": file.what, "bytes": file.bytes, "usage": file.usage })
    });
    json!({ "version": 1, "files": files.collect::<Vec<_>>() })
}

fn as_text(files: &[RunFile]) -> String {
    let names: Vec<String> = files.iter().map(|f| f.path.display().to_string()).collect();
    let sizes: Vec<String> = files.iter().map(|f| bytes(f.bytes.unwrap_or(0))).collect();
    let longest = |texts: &[String]| texts.iter().map(|t| t.chars().count()).max().unwrap_or(0);
    let (name, size) = (longest(&names), longest(&sizes));
    let mut out = String::new();
    for (i, file) in files.iter().enumerate() {
        let line = format!("{:<name$}  {:>size$}  {}", names[i], sizes[i], file.what);
        let _ = writeln!(out, "{}", wrapped(&line, text::width(), name + size + 6));
    }
    for file in files {
        if let Some(usage) = &file.usage {
            let file = file.path.file_name().unwrap_or_default().to_string_lossy();
            let _ = write!(out, "\nTo load {file}:\n  {usage}\n");
        }
    }
    out
}
