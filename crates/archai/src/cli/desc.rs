//! `archai desc …`: model descriptions on the command line.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use archai_algos::BASE_ALGORITHM;
use archai_engine::files::{FOUND_DESC, FileError, write_atomically};
use archai_lab::{
    Lab, RunMode,
    config::{ConfigRequest, all_ops},
};
use archai_report::Ground;
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::{
    Cost, DefaultModelDescBuilder, DescError, Foreign, Genotype, ModelDesc, ModelTable, NodeDesc,
    OpCatalog, Shape, Which, build, draw, draw_dot, from_genotype, import_archai,
};
use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::numbers::{millions, thousands};
use archai_spec::settings::{Dataset, ModelDescSettings, StemWiring};
use archai_spec::spaces::NASBENCH201;
use clap::ValueEnum as _;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::args::{CIFAR10, DescCommand, DrawArgs, DrawFormat, FromArgs, MacroArgs, StemsArg};
use super::error::CliError;
use super::text::{self, narrow, wrapped};

/// Weight of the auxiliary tower's loss in the papers.
pub(super) const PAPERS_AUX_WEIGHT: f64 = 0.4;

/// Runs a command of the group.
///
/// # Errors
/// A file that cannot be read or written, or a description that says something impossible.
pub fn run(command: &DescCommand, lab: &Lab) -> Result<(), CliError> {
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    let catalog = ops.catalog().clone();
    match command {
        DescCommand::Show { file, json } => {
            let desc = load(file, &catalog)?;
            let parts = desc.table(&catalog).map_err(CliError::input)?;
            let text = if *json {
                format!("{:#}\n", as_json(&desc, &parts))
            } else {
                as_table(&desc, &parts)
            };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
        DescCommand::Lower { file, json } => {
            let desc = load(file, &catalog)?;
            let graph = desc.lower(&catalog).map_err(CliError::input)?;
            let text = if *json {
                format!("{:#}\n", json!(graph))
            } else {
                as_list(&graph)
            };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
        DescCommand::Check { file } => {
            let desc = load(file, &catalog)?;
            let cost = desc.cost(&catalog).map_err(CliError::input)?.total(false);
            let (cells, params) = (desc.cells.len(), thousands(cost.params));
            Ok(writeln!(
                std::io::stdout(),
                "{file} is a valid description: {cells} cells, {params} parameters"
            )?)
        }
        DescCommand::Draw(args) => draw_cells(args, &catalog),
        DescCommand::Scale {
            file,
            macro_args,
            output,
        } => {
            let template = load(file, &catalog)?;
            let settings = settings(macro_args, StemsArg::Two, lab)?;
            let built = build(
                &DefaultModelDescBuilder,
                &settings,
                Some(&template),
                true,
                &catalog,
            );
            let built = built.map_err(CliError::input)?;
            notes(&built.notes)?;
            give(&built.desc, output.as_deref())
        }
        DescCommand::Import { file, output } => {
            let (text, name) = read(file)?;
            let built =
                import_archai(&text, &name, None, false, &catalog).map_err(CliError::input)?;
            notes(&built.notes)?;
            give(&built.desc, output.as_deref())
        }
        DescCommand::Genotype { file } => {
            let desc = load(file, &catalog)?;
            let genotype = desc.genotype_by_node().map_err(CliError::input)?;
            Ok(writeln!(std::io::stdout(), "{genotype}")?)
        }
        DescCommand::FromGenotype(args) => {
            let (text, name) = read(&args.file)?;
            let genotype = Genotype::find(&text, &which(args));
            let genotype = genotype.map_err(|e| CliError::input(e.at(&name)))?;
            give(
                &of_genotype(&genotype, args, lab, &catalog)?,
                args.output.as_deref(),
            )
        }
        DescCommand::From(args) => from(args, lab, &catalog),
    }
}

/// Which of the architectures in a file was asked for.
fn which(args: &FromArgs) -> Which {
    match (args.nth, &args.name) {
        (Some(n), _) => Which::Nth(n),
        (None, Some(name)) => Which::Named(name.clone()),
        (None, None) => Which::Only,
    }
}

/// The network of a genotype. That the settings had another number of nodes than the genotype is no news to anybody.
fn of_genotype(
    genotype: &Genotype,
    args: &FromArgs,
    lab: &Lab,
    catalog: &OpCatalog,
) -> Result<ModelDesc, CliError> {
    let stems = match args.macro_args.dataset.as_str() {
        IMAGENET => StemsArg::Imagenet,
        _ => StemsArg::Two,
    };
    let settings = settings(&args.macro_args, stems, lab)?;
    let built = from_genotype(genotype, &settings, true, catalog).map_err(CliError::input)?;
    Ok(built.desc)
}

/// `archai desc from`.
fn from(args: &FromArgs, lab: &Lab, catalog: &OpCatalog) -> Result<(), CliError> {
    let (text, name) = read(&args.file)?;
    let found = Foreign::read(&text, &which(args));
    let found = found.map_err(|e: DescError| CliError::input(e.at(&name)))?;
    let desc = match &found {
        Foreign::Genotype(genotype) => of_genotype(genotype, args, lab, catalog)?,
        Foreign::Cell201(cell) => {
            // Digits have several meanings among programs; the benchmark's text has one.
            notes(&[format!("the cell is {cell}, in digits {}", cell.digits())])?;
            let settings = benchmark(&args.macro_args, ("darts", Some(NASBENCH201)), lab)?;
            let built = cell.to_desc(&settings, catalog);
            built.map_err(CliError::input)?.desc
        }
        Foreign::Cell101(cell) => of_cell101(cell, args, lab, catalog)?,
        Foreign::Archai => {
            let asked = &args.macro_args;
            let is_default = asked.channels.is_none()
                && asked.cells.is_none()
                && asked.reductions.is_none()
                && asked.stems.is_none()
                && !asked.aux
                && asked.dataset == CIFAR10;
            // As `archai desc import` has it, unless a size is asked for.
            let settings = match is_default {
                true => None,
                false => Some(settings(asked, StemsArg::Two, lab)?),
            };
            let affine = settings.is_some();
            let built = import_archai(&text, &name, settings.as_ref(), affine, catalog);
            let built = built.map_err(CliError::input)?;
            notes(&built.notes)?;
            built.desc
        }
    };
    notes(&[format!("{name} holds {}", found.form())])?;
    give(&desc, args.output.as_deref())
}

fn of_cell101(
    cell: &Cell101,
    args: &FromArgs,
    lab: &Lab,
    catalog: &OpCatalog,
) -> Result<ModelDesc, CliError> {
    let settings = benchmark(&args.macro_args, ("nasbench101", None), lab)?;
    let builder = NasBench101Builder {
        cell: Some(cell.clone()),
    };
    let built = build(&builder, &settings, None, true, catalog).map_err(CliError::input)?;
    Ok(built.desc)
}

/// The data set of DARTS's larger network.
pub(super) const IMAGENET: &str = "imagenet";

/// The text of a file, or of standard input for `-`, and what to call it.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn read(file: &str) -> Result<(String, String), CliError> {
    let file = &description(file)?;
    if file == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| CliError::failure(format!("cannot read standard input: {e}")))?;
        return Ok((text, "standard input".to_string()));
    }
    let text =
        std::fs::read_to_string(file).map_err(|e| FileError::new("read", Path::new(file), e));
    Ok((text.map_err(CliError::at_named)?, file.to_string()))
}

/// The description that an argument names: a file, - for standard input or, of a run directory, the network that it found.
///
/// # Errors
/// A folder without a found network.
pub(super) fn description(file: &str) -> Result<String, CliError> {
    let path = Path::new(file);
    if !path.is_dir() {
        return Ok(file.to_string());
    }
    let found = path.join(FOUND_DESC);
    if found.is_file() {
        return Ok(found.display().to_string());
    }
    Err(CliError::usage(format!(
        "`{file}` is a folder, and no run directory that holds a found network ({FOUND_DESC}); name the file of a model description"
    )))
}

pub(super) fn load(file: &str, catalog: &OpCatalog) -> Result<ModelDesc, CliError> {
    let (text, name) = read(file)?;
    ModelDesc::from_yaml(&text, &name, catalog).map_err(CliError::input)
}

/// Writes a description to a file or to standard output.
pub(super) fn give(desc: &ModelDesc, output: Option<&Path>) -> Result<(), CliError> {
    let text = desc.to_yaml().map_err(CliError::caused)?;
    match output {
        Some(path) => {
            write_atomically(path, |out| out.write_all(text.as_bytes())).map_err(CliError::at_named)
        }
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

pub(super) fn notes(notes: &[String]) -> Result<(), CliError> {
    notes
        .iter()
        .try_for_each(|note| writeln!(std::io::stderr(), "note: {note}"))
        .map_err(CliError::from)
}

/// `archai desc draw`.
fn draw_cells(args: &DrawArgs, catalog: &OpCatalog) -> Result<(), CliError> {
    let file = &description(&args.file)?;
    let formats = formats(args)?;
    let first = formats[0];
    for (given, flag) in [(args.scale.is_some(), "--scale"), (args.dark, "--dark")] {
        if given && !formats.contains(&DrawFormat::Png) {
            return Err(CliError::usage(format!(
                "{flag} is for PNG: SVG and HTML have any size and follow the ground that their viewer wants; leave it out, or \
                 draw with --format png"
            )));
        }
    }
    let path = match &args.output {
        Some(path) => path.clone(),
        None if file == "-" => {
            return Err(CliError::usage(format!(
                "say where to draw what standard input describes: -o FILE.{}",
                first.ending()
            )));
        }
        None => PathBuf::from(file).with_extension(first.ending()),
    };
    let desc = load(file, catalog)?;
    // All is made before anything is written.
    let mut made: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for format in formats {
        let path = match format == first {
            true => path.clone(),
            false => path.with_extension(format.ending()),
        };
        made.push((path, drawn(&desc, format, args, catalog)?));
    }
    for (path, bytes) in &made {
        write_atomically(path, |out| out.write_all(bytes)).map_err(CliError::at_named)?;
        writeln!(std::io::stdout(), "{}", path.display())?;
    }
    Ok(())
}

/// What is to be made: what is asked for, what the output's name says, or else drawing and graph.
fn formats(args: &DrawArgs) -> Result<Vec<DrawFormat>, CliError> {
    if let Some(format) = args.format {
        return Ok(vec![format]);
    }
    let pair = vec![DrawFormat::Svg, DrawFormat::Dot];
    let Some(path) = &args.output else {
        return Ok(pair);
    };
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let known = DrawFormat::value_variants()
        .iter()
        .find(|format| format.ending() == ending);
    match known {
        Some(DrawFormat::Svg) => Ok(pair),
        Some(format) => Ok(vec![*format]),
        None => Err(CliError::usage(format!(
            "`{}`: its name does not say what to draw; let it end in .svg, .png, .dot or .html, or name a --format",
            path.display()
        ))),
    }
}

fn drawn(
    desc: &ModelDesc,
    format: DrawFormat,
    args: &DrawArgs,
    catalog: &OpCatalog,
) -> Result<Vec<u8>, CliError> {
    let cells = || draw::cells(desc, catalog);
    match format {
        DrawFormat::Svg => Ok(cells().svg(draw::Place::File).into_bytes()),
        DrawFormat::Dot => Ok(draw_dot(desc).into_bytes()),
        DrawFormat::Png => {
            let ground = if args.dark {
                Ground::Dark
            } else {
                Ground::Light
            };
            archai_report::png(&cells(), args.scale.unwrap_or(2.0), ground)
                .map_err(|e| CliError::usage(e.to_string()))
        }
        DrawFormat::Html => {
            // The run that found it, or the file.
            let path = Path::new(&args.file);
            let name = match path.is_dir() {
                true => path.file_name(),
                false => path.file_stem(),
            };
            let name = match (args.file.as_str(), name.and_then(|name| name.to_str())) {
                ("-", _) | (_, None) => "A network",
                (_, Some(name)) => name,
            };
            let page = archai_report::desc_page(desc, name, catalog).map_err(CliError::input)?;
            Ok(page.into_bytes())
        }
    }
}

/// The evaluation's settings of an algorithm in a space, for a data set.
fn evaluation(
    (algo, space): (&str, Option<&str>),
    dataset: &str,
    lab: &Lab,
) -> Result<ModelDescSettings, CliError> {
    let algo = lab
        .algorithms()
        .get(algo)
        .map_err(|e| CliError::usage(e.to_string()))?;
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo,
        others: Vec::new(),
        dataset: Some(dataset),
        eval_dataset: None,
        space,
        mode: RunMode::Full,
        config: None,
        config_only: None,
        overrides: Vec::new(),
        folder: &lab.host().folder,
    };
    let settings = request.load()?.settings().map_err(CliError::config)?;
    Ok(settings.nas.eval.model_desc)
}

/// A data set, by its name or the path of its file.
pub(super) fn dataset(name: &str, lab: &Lab) -> Result<Dataset, CliError> {
    Ok(evaluation((BASE_ALGORITHM, None), name, lab)?.dataset)
}

/// The settings in the size that was asked for.
fn sized(mut settings: ModelDescSettings, args: &MacroArgs) -> ModelDescSettings {
    settings.n_cells = args.cells.unwrap_or(settings.n_cells);
    settings.n_reductions = args.reductions.unwrap_or(settings.n_reductions);
    let channels = &mut settings.model_stems.init_node_ch;
    *channels = args.channels.unwrap_or(*channels);
    settings
}

/// The evaluation's settings of DARTS, in the size that was asked for.
pub(super) fn settings(
    args: &MacroArgs,
    usual_stems: StemsArg,
    lab: &Lab,
) -> Result<ModelDescSettings, CliError> {
    let mut settings = sized(
        evaluation((BASE_ALGORITHM, None), &args.dataset, lab)?,
        args,
    );
    let stems = &mut settings.model_stems;
    stems.wiring = match args.stems.unwrap_or(usual_stems) {
        StemsArg::One => StemWiring::Shared,
        StemsArg::Two => StemWiring::Independent,
        StemsArg::Imagenet => {
            stems.ops = ["stem_conv3x3_s4", "stem_relu_conv3x3_s2"].map(String::from);
            stems.stem_multiplier = 1;
            StemWiring::Chained
        }
    };
    settings.aux_weight = match (args.aux, settings.aux_weight) {
        (false, _) => 0.0,
        // A data set whose evaluation has no tower; any weight builds one, and it is not part of a description.
        (true, 0.0) => PAPERS_AUX_WEIGHT,
        (true, weight) => weight,
    };
    Ok(settings)
}

/// A benchmark's settings, in the size that was asked for.
fn benchmark(
    args: &MacroArgs,
    of: (&str, Option<&str>),
    lab: &Lab,
) -> Result<ModelDescSettings, CliError> {
    for (given, flag) in [(args.stems.is_some(), "--stems"), (args.aux, "--aux")] {
        if given {
            return Err(CliError::usage(format!(
                "{flag} is for genotypes and descriptions of Archai: a benchmark's network has stems of its own and no \
                 auxiliary tower; leave it out"
            )));
        }
    }
    Ok(sized(evaluation(of, &args.dataset, lab)?, args))
}

/// Where the edges of a node begin on their line.
const EDGES: usize = 12;

fn as_table(desc: &ModelDesc, parts: &ModelTable) -> String {
    let header = [
        "part",
        "kind",
        "what",
        "output",
        "parameters",
        "multiply-adds",
    ];
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in &parts.rows {
        rows.push(vec![
            row.part.clone(),
            row.cell_type
                .map_or_else(String::new, |kind| kind.to_string()),
            row.what.clone(),
            shape(row.out),
            thousands(row.cost.params),
            millions(row.cost.macs),
        ]);
    }
    let mut total = |name: &str, cost: Cost| {
        let none = String::new;
        rows.push(vec![
            name.to_string(),
            none(),
            none(),
            none(),
            thousands(cost.params),
            millions(cost.macs),
        ]);
    };
    total("total", parts.total);
    if parts.total_with_aux != parts.total {
        total("in training", parts.total_with_aux);
    }
    narrow(&header, &mut rows, 2, text::width());
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut out = format!("{table}\n");
    if parts.alphas > 0 {
        out.push_str(&format!(
            "{} architecture parameters\n",
            thousands(parts.alphas)
        ));
    }
    for group in desc.distinct_cells() {
        let cell = &desc.cells[group.first()];
        out.push_str(&format!("\n{group}\n"));
        for (n, node) in cell.nodes.iter().enumerate() {
            let edges: Vec<String> = match node.edges.as_slice() {
                [] => vec![format!(
                    "repeats {}",
                    cell.state_name((n + cell.stems.len()).saturating_sub(1))
                )],
                edges => edges.iter().map(|edge| cell.edge_text(edge)).collect(),
            };
            let line = format!("  node {n:<4} {}\n", edges.join("  "));
            out.push_str(&wrapped(&line, text::width(), EDGES));
        }
        let line = format!("  output    {}\n", cell.output_text());
        out.push_str(&wrapped(&line, text::width(), EDGES));
    }
    out
}

/// A line per layer: the value that it gives, what it is, what it reads, its shape and its learnt numbers.
fn as_list(graph: &Graph) -> String {
    let name = |value: usize| graph.values[value].name.as_str();
    let line = |layer: &GraphLayer| {
        let inputs: Vec<&str> = layer.inputs.iter().map(|&i| name(i)).collect();
        let params = match layer.cost.params {
            0 => String::new(),
            n => format!("  {} parameters", thousands(n)),
        };
        let when = if layer.only_training {
            "  in training"
        } else {
            ""
        };
        let out = &graph.values[layer.output];
        format!(
            "{} = {}({})  {}{params}{when}\n",
            out.name,
            layer.layer,
            inputs.join(", "),
            shape(out.shape)
        )
    };
    let mut text = format!("{}  {}\n", name(0), shape(graph.values[0].shape));
    text.extend(graph.layers.iter().map(line));
    let (cost, memory) = (graph.cost(false), graph.memory(4));
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    text.push_str(&format!(
        "\nlogits: {}\n{} layers, {} parameters, {} multiply-adds\nactivations of one image in 32 bits: {:.2} MiB in all, \
         {:.2} MiB at most at one time if each is freed after its last use\n",
        name(graph.logits),
        graph.layers.iter().filter(|l| !l.only_training).count(),
        thousands(cost.params),
        millions(cost.macs),
        mebibytes(memory.forward),
        mebibytes(memory.peak),
    ));
    text
}

pub(super) fn shape(shape: Shape) -> String {
    format!("{}x{}x{}", shape.channels, shape.height, shape.width)
}

fn as_json(desc: &ModelDesc, parts: &ModelTable) -> Value {
    let mut value = json!(parts);
    value["input"] = json!(desc.input);
    value["n_classes"] = json!(desc.n_classes);
    // The architectures, as the text shows them.
    let groups = desc.distinct_cells().into_iter().map(|group| {
        let cell = &desc.cells[group.first()];
        let edges = |node: &NodeDesc| -> Vec<String> {
            node.edges.iter().map(|edge| cell.edge_text(edge)).collect()
        };
        json!({
            "cell_type": group.cell_type,
            "cells": group.cells,
            "nodes": cell.nodes.iter().map(edges).collect::<Vec<_>>(),
            "output": cell.output_text(),
        })
    });
    value["distinct_cells"] = groups.collect();
    value["genotype"] = json!(desc.genotype().ok().map(|g| g.to_string()));
    value
}
