//! `archai desc …`: model descriptions on the command line.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use archai_engine::files::{FileError, write_atomically};
use archai_lab::{Lab, config::ConfigRequest};
use archai_spec::desc::{
    CellType, Cost, DefaultModelDescBuilder, DescError, Genotype, ModelDesc, ModelTable, OpCatalog,
    OpDesc, Shape, build, draw_dot, draw_svg, from_genotype, import_archai,
};
use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::numbers::{millions, thousands};
use archai_spec::settings::{ModelDescSettings, StemWiring};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::args::{DescCommand, MacroArgs, StemsArg};
use super::error::CliError;

/// Runs a command of the group.
///
/// # Errors
/// A file that cannot be read or written, or a description that says something impossible.
pub fn run(command: &DescCommand, lab: &Lab) -> Result<(), CliError> {
    let catalog = lab.components().ops.catalog().clone();
    match command {
        DescCommand::Show { file, json } => {
            let desc = load(file, &catalog)?;
            let parts = desc.table(&catalog).map_err(CliError::caused)?;
            let text = if *json {
                format!("{:#}\n", as_json(&desc, &parts))
            } else {
                as_table(&desc, &parts)
            };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
        DescCommand::Lower { file, json } => {
            let desc = load(file, &catalog)?;
            let graph = desc.lower(&catalog).map_err(CliError::caused)?;
            let text = if *json {
                format!("{:#}\n", json!(graph))
            } else {
                as_list(&graph)
            };
            Ok(std::io::stdout().write_all(text.as_bytes())?)
        }
        DescCommand::Check { file } => {
            let desc = load(file, &catalog)?;
            let cost = desc.cost(&catalog).map_err(CliError::caused)?.total(false);
            let (cells, params) = (desc.cells.len(), thousands(cost.params));
            Ok(writeln!(
                std::io::stdout(),
                "{file} is a valid description: {cells} cells, {params} parameters"
            )?)
        }
        DescCommand::Draw { file, output } => draw(file, output.as_deref(), &catalog),
        DescCommand::Scale {
            file,
            macro_args,
            output,
        } => {
            let template = load(file, &catalog)?;
            let settings = settings(macro_args, lab)?;
            let built = build(
                &DefaultModelDescBuilder,
                &settings,
                Some(&template),
                true,
                &catalog,
            );
            let built = built.map_err(CliError::caused)?;
            notes(&built.notes)?;
            give(&built.desc, output.as_deref())
        }
        DescCommand::Import { file, output } => {
            let (text, name) = read(file)?;
            let built =
                import_archai(&text, &name, None, false, &catalog).map_err(CliError::caused)?;
            notes(&built.notes)?;
            give(&built.desc, output.as_deref())
        }
        DescCommand::Genotype { file } => {
            let genotype = load(file, &catalog)?.genotype().map_err(CliError::caused)?;
            Ok(writeln!(std::io::stdout(), "{genotype}")?)
        }
        DescCommand::FromGenotype {
            file,
            macro_args,
            output,
        } => {
            let (text, name) = read(file)?;
            let genotype: Genotype = text
                .trim()
                .parse()
                .map_err(|e: DescError| CliError::caused(e.at(&name)))?;
            let settings = settings(macro_args, lab)?;
            let built =
                from_genotype(&genotype, &settings, true, &catalog).map_err(CliError::caused)?;
            // The number of nodes is the genotype's; that the settings had another one is no news to anybody here.
            give(&built.desc, output.as_deref())
        }
    }
}

/// The text of a file, or of standard input for `-`, and what to call it.
fn read(file: &str) -> Result<(String, String), CliError> {
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

fn load(file: &str, catalog: &OpCatalog) -> Result<ModelDesc, CliError> {
    let (text, name) = read(file)?;
    ModelDesc::from_yaml(&text, &name, catalog).map_err(CliError::caused)
}

/// Writes a description to a file or to standard output.
fn give(desc: &ModelDesc, output: Option<&Path>) -> Result<(), CliError> {
    let text = desc.to_yaml().map_err(CliError::caused)?;
    match output {
        Some(path) => {
            write_atomically(path, |out| out.write_all(text.as_bytes())).map_err(CliError::at_named)
        }
        None => Ok(std::io::stdout().write_all(text.as_bytes())?),
    }
}

fn notes(notes: &[String]) -> Result<(), CliError> {
    notes
        .iter()
        .try_for_each(|note| writeln!(std::io::stderr(), "note: {note}"))
        .map_err(CliError::from)
}

fn draw(file: &str, output: Option<&Path>, catalog: &OpCatalog) -> Result<(), CliError> {
    let desc = load(file, catalog)?;
    let svg = match output {
        Some(path) => path.to_path_buf(),
        None if file == "-" => {
            return Err(CliError::usage(
                "say where to draw what standard input describes: -o FILE.svg",
            ));
        }
        None => PathBuf::from(file).with_extension("svg"),
    };
    if svg.extension().is_none_or(|ending| ending != "svg") {
        return Err(CliError::usage(format!(
            "`{}`: the drawing is SVG; let its name end in .svg",
            svg.display()
        )));
    }
    let dot = svg.with_extension("dot");
    write_atomically(&svg, |out| out.write_all(draw_svg(&desc).as_bytes()))
        .map_err(CliError::at_named)?;
    write_atomically(&dot, |out| out.write_all(draw_dot(&desc).as_bytes()))?;
    Ok(writeln!(
        std::io::stdout(),
        "{}\n{}",
        svg.display(),
        dot.display()
    )?)
}

/// The evaluation's settings of DARTS, in the size that was asked for.
fn settings(args: &MacroArgs, lab: &Lab) -> Result<ModelDescSettings, CliError> {
    let algo = lab
        .algorithms()
        .get("darts")
        .map_err(|e| CliError::usage(e.to_string()))?;
    let request = ConfigRequest {
        algos: lab.algorithms(),
        components: lab.components(),
        algo,
        dataset: Some(&args.dataset),
        eval_dataset: None,
        space: None,
        full: true,
        config: None,
        config_only: None,
        overrides: Vec::new(),
    };
    let mut settings = request
        .load()?
        .settings()
        .map_err(CliError::config)?
        .nas
        .eval
        .model_desc;
    settings.n_cells = args.cells;
    settings.n_reductions = args.reductions;
    settings.model_stems.init_node_ch = args.channels;
    settings.model_stems.wiring = match args.stems {
        StemsArg::One => StemWiring::Shared,
        StemsArg::Two => StemWiring::Independent,
    };
    if !args.aux {
        settings.aux_weight = 0.0;
    }
    Ok(settings)
}

fn as_table(desc: &ModelDesc, parts: &ModelTable) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "part",
        "kind",
        "what",
        "output",
        "parameters",
        "multiply-adds",
    ]);
    for row in &parts.rows {
        table.add_row([
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
        table.add_row([
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
    for kind in [CellType::Regular, CellType::Reduction] {
        let Some(cell) = desc.first_cell(kind) else {
            continue;
        };
        out.push_str(&format!("\n{kind} cell\n"));
        for (i, node) in cell.nodes.iter().enumerate() {
            let edges: Vec<String> = node
                .edges
                .iter()
                .map(|edge| {
                    let inputs: Vec<String> = edge.inputs.iter().map(usize::to_string).collect();
                    format!("{}←{}", op_name(&edge.op), inputs.join(","))
                })
                .collect();
            out.push_str(&format!(
                "  state {}   {}\n",
                i + cell.stems.len(),
                edges.join("  ")
            ));
        }
        let concat: Vec<String> = cell.concat.iter().map(usize::to_string).collect();
        out.push_str(&format!("  output    states {}\n", concat.join(", ")));
    }
    out
}

/// The name of an op; a mixed op says how many candidates it holds.
fn op_name(op: &OpDesc) -> String {
    if op.is_mixed() {
        format!("{} of {}", op.name, op.children.len())
    } else {
        op.name.clone()
    }
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

fn shape(shape: Shape) -> String {
    format!("{}x{}x{}", shape.channels, shape.height, shape.width)
}

fn as_json(desc: &ModelDesc, parts: &ModelTable) -> Value {
    let mut value = json!(parts);
    value["input"] = json!(desc.input);
    value["n_classes"] = json!(desc.n_classes);
    value["genotype"] = json!(desc.genotype().ok().map(|g| g.to_string()));
    value
}
