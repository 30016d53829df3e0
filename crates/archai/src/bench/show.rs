//! Measurements as JSON and as a table.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::Measured;
use super::machine::device;
use super::network::settings;
use crate::cli::error::CliError;

/// One object with the median of each step at its top level.
pub(super) fn print_json(results: &[Measured], ceiling: f64) -> Result<(), CliError> {
    let mut top = Map::new();
    let mut memory = Map::new();
    for r in results {
        let key = match r.workload.as_str() {
            "infer" => "infer_ms".to_string(),
            name => format!("{name}_step_ms"),
        };
        top.insert(key, json!(r.ms));
        memory.insert(r.workload.clone(), json!(r.peak_rss_mb));
    }
    top.insert("peak_rss_mb".into(), Value::Object(memory));
    top.insert("device".into(), json!(device()));
    top.insert("threads".into(), json!(rayon::current_num_threads()));
    top.insert("ceiling_gflop_per_s".into(), json!(ceiling));
    top.insert("measurements".into(), json!(results));
    let text = serde_json::to_string_pretty(&top).map_err(CliError::caused)?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

pub(super) fn table(results: &[Measured], ceiling: f64) -> Result<(), CliError> {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "step",
        "batch",
        "ms",
        "images/s",
        "GFLOP/s",
        "of ceiling",
        "peak memory",
    ]);
    for r in results {
        table.add_row([
            r.workload.clone(),
            r.batch.to_string(),
            format!("{:.1}", r.ms),
            format!("{:.1}", r.images_per_s()),
            format!("{:.1}", r.gflop_per_s()),
            format!("{:.0} %", 100.0 * r.gflop_per_s() / ceiling),
            r.peak_rss_mb
                .map_or("unknown".into(), |mb| format!("{mb:.0} MB")),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    let mut out = io::stdout();
    writeln!(out, "{table}")?;
    for (r, o) in results
        .iter()
        .filter_map(|r| Some((r, r.overheads.as_ref()?)))
    {
        writeln!(
            out,
            "overheads of a step: {:.1} ms for data, metrics and log, {:.1} ms for the optimiser: {:.1} %",
            o.between_ms,
            o.optimizer_ms,
            100.0 * (o.between_ms + o.optimizer_ms) / r.ms
        )?;
    }
    writeln!(
        out,
        "{}, {} threads; ceiling {ceiling:.0} GFLOP/s: multiply-adds in registers, nothing else",
        device(),
        rayon::current_num_threads()
    )?;
    Ok(())
}

/// How long the full run of the shipped settings would take at these speeds.
pub(super) fn estimates(results: &[Measured]) -> Result<(), CliError> {
    let settings = settings(&[])?;
    let days = |r: &Measured, images: usize, epochs: usize| {
        let steps = images.div_ceil(r.batch) * epochs;
        (steps, steps as f64 * r.ms / 1e3 / 86_400.0)
    };
    let mut out = io::stdout();
    for r in results {
        let (what, images, epochs) = match r.workload.as_str() {
            "bilevel" => (
                "second-order search",
                25_000,
                settings.nas.search.trainer.epochs,
            ),
            "eval" => ("evaluation", 50_000, settings.nas.eval.trainer.epochs),
            _ => continue,
        };
        let (steps, days) = days(r, images, epochs);
        writeln!(
            out,
            "full {what} on CIFAR-10, {epochs} epochs at batch {}: {steps} steps, about {days:.1} days",
            r.batch
        )?;
    }
    Ok(())
}
