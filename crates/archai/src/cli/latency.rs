//! `archai latency …`: how long networks take, measured beside a reference network, and tables of it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use archai_engine::export::{ModelFile, ModelInfo, Options};
use archai_engine::run::Clock;
use archai_engine::{NamedTensor, OpRegistry};
use archai_lab::Lab;
use archai_lab::config::all_ops;
use archai_lab::timing::{
    Effort, LatencyTable, Machine, NetworkTimer, ProfileRequest, Timing, in_turns, profile,
    reference, runnable, summary,
};
use archai_spec::desc::ModelDesc;
use archai_spec::graph::Graph;
use archai_spec::rng::Key;
use serde_json::{Value, json};

use super::args::{LatencyCommand, MeasureArgs, ProfileArgs, RuntimeArg};
use super::env::Env;
use super::error::CliError;
use super::networks::{Given, given, members, name_of};
use super::onnxruntime::Onnxruntime;
use super::text::{table, width};
use super::{model, space};

/// Seconds since it was made. It never goes back, as the time of day may.
pub(super) struct Stopwatch(pub Instant);

impl Clock for Stopwatch {
    fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Runs a command of the group.
///
/// # Errors
/// A network or space that cannot be used, a runtime that is not there, a file that cannot be written.
pub fn run(command: &LatencyCommand, lab: &Lab, env: &Env) -> Result<(), CliError> {
    let (ops, _) = all_ops(lab.algorithms(), lab.components())?;
    match command {
        LatencyCommand::Measure(args) => measure(args, &ops, lab),
        LatencyCommand::Profile(args) => make_table(args, &ops, env),
        LatencyCommand::Predict {
            table,
            network,
            sample,
            seed,
            json,
        } => predict(table, network, (*sample, *seed), *json, &ops),
    }
}

/// A network with its numbers.
struct Subject {
    name: String,
    desc: ModelDesc,
    graph: Graph,
    state: Vec<NamedTensor>,
}

fn subject(network: &str, id: Option<&str>, ops: &OpRegistry) -> Result<Subject, CliError> {
    let built = |name: String, desc: ModelDesc| {
        let (graph, state) = runnable(&desc, ops, 1).map_err(CliError::usage)?;
        Ok(Subject {
            name,
            desc,
            graph,
            state,
        })
    };
    match given(network, ops.catalog())? {
        Given::Model(file) => Ok(Subject {
            name: name_of(network),
            graph: file.graph(ops.catalog())?,
            desc: file.desc.clone(),
            state: file.state,
        }),
        Given::Description(desc) => built(name_of(network), *desc),
        Given::Space(space) => {
            let Some(id) = id else {
                return Err(CliError::usage(format!(
                    "`{network}` is a space; say which member with --id, as `archai space sample {network}` shows them, or \
                     measure its layers with `archai latency profile`"
                )));
            };
            let mut only = members(&space, &[id.to_string()], 1, Key::new(0))?;
            match only.pop() {
                Some(network) => built(network.name, network.desc),
                None => Err(CliError::usage(format!("`{id}` names no network"))),
            }
        }
    }
}

/// What was measured for batches of one size.
struct Row {
    batch: usize,
    timing: Timing,
    /// The median of the reference network, in seconds.
    reference: f64,
}

fn measure(args: &MeasureArgs, ops: &OpRegistry, lab: &Lab) -> Result<(), CliError> {
    let subject = subject(&args.network, args.id.as_deref(), ops)?;
    let effort = Effort {
        seconds: args.seconds,
        ..Effort::default()
    };
    let threads = args.threads;
    let (runtime, rows) = match args.runtime {
        RuntimeArg::Own => {
            if args.python.is_some() {
                return Err(CliError::usage(
                    "--python names the interpreter of onnxruntime; add --runtime onnxruntime, or leave it out",
                ));
            }
            let rows = model::in_threads(Some(threads), || own(&subject, &args.batch, &effort))?;
            ("own".to_string(), rows)
        }
        RuntimeArg::Onnxruntime => {
            let Some(python) = &args.python else {
                return Err(CliError::usage(
                    "--runtime onnxruntime runs in a Python that has it; name one with --python, such as --python python3",
                ));
            };
            onnxruntime(&subject, args, python, ops, lab)?
        }
    };
    let machine = machine(usize::from(threads));
    let text = match args.json {
        true => format!("{:#}\n", as_json(&subject.name, &runtime, &machine, &rows)),
        false => as_table(&subject.name, &runtime, &machine, &rows),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn own(subject: &Subject, batches: &[usize], effort: &Effort) -> Result<Vec<Row>, CliError> {
    let clock = Stopwatch(Instant::now());
    let reference = reference().map_err(CliError::failure)?;
    let (graph, state) =
        runnable(&reference, &OpRegistry::builtin(), 1).map_err(CliError::failure)?;
    let rows = batches.iter().map(|&batch| {
        let mut network = NetworkTimer::new(&subject.graph, &subject.state, batch)
            .map_err(|e| CliError::usage(format!("{}: {e}", subject.name)))?;
        let mut beside = NetworkTimer::new(&graph, &state, batch).map_err(CliError::failure)?;
        let times = in_turns(&mut [&mut network, &mut beside], effort, &clock)
            .map_err(CliError::failure)?;
        row(batch, &times[0], &times[1])
    });
    rows.collect()
}

fn row(batch: usize, network: &[Vec<f64>], beside: &[Vec<f64>]) -> Result<Row, CliError> {
    Ok(Row {
        batch,
        timing: summary(network, beside).map_err(CliError::failure)?,
        reference: summary(beside, beside).map_err(CliError::failure)?.median,
    })
}

/// Both networks as ONNX files in a folder that goes away, timed in turns by a Python.
fn onnxruntime(
    subject: &Subject,
    args: &MeasureArgs,
    python: &Path,
    ops: &OpRegistry,
    lab: &Lab,
) -> Result<(String, Vec<Row>), CliError> {
    let runtime = Onnxruntime::new(python)?.in_threads(usize::from(args.threads));
    let folder = tempfile::tempdir().map_err(CliError::caused)?;
    let desc = reference().map_err(CliError::failure)?;
    let (_, state) = runnable(&desc, &OpRegistry::builtin(), 1).map_err(CliError::failure)?;
    let exporter = lab
        .components()
        .exporters
        .get("onnx")
        .map_err(CliError::input)?;
    let write = |name: &str, desc: &ModelDesc, state: &[NamedTensor]| {
        let options = Options::default();
        let info = info(desc);
        let file = ModelFile {
            desc: desc.clone(),
            info,
            state: state.to_vec(),
        };
        let exported = file.exported(ops.catalog(), &options);
        exporter
            .check(desc, ops.catalog(), &options)
            .map_err(|e| CliError::usage(format!("{name}: {e}")))?;
        let path = folder.path().join(format!("{name}.onnx"));
        archai_engine::files::write_atomically(&path, |out| exporter.export(&exported, out))
            .map_err(CliError::at_named)?;
        Ok::<_, CliError>(path)
    };
    let paths = [
        write("network", &subject.desc, &subject.state)?,
        write("reference", &desc, &state)?,
    ];
    let measured = runtime.times(&[&paths[0], &paths[1]], &args.batch, args.seconds)?;
    let runs = |times: &[f64]| -> Vec<Vec<f64>> {
        let turns = times.chunks(Effort::default().runs);
        turns
            .map(|turn| turn.iter().map(|ms| ms / 1e3).collect())
            .collect()
    };
    let rows = measured
        .batches
        .iter()
        .map(|(batch, times)| match times.as_slice() {
            [network, beside] => row(*batch, &runs(network), &runs(beside)),
            _ => Err(CliError::failure(
                "the interpreter measured other files than those that it was given",
            )),
        });
    Ok((
        format!("onnxruntime {}", measured.version),
        rows.collect::<Result<_, _>>()?,
    ))
}

/// What a file of a network that nobody trained says of it.
fn info(desc: &ModelDesc) -> ModelInfo {
    let channels = desc.input.channels;
    ModelInfo {
        class_names: (0..desc.n_classes).map(|i| format!("class {i}")).collect(),
        n_classes: desc.n_classes,
        channels,
        size: [desc.input.height, desc.input.width],
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        transforms: Vec::new(),
        pictures: Default::default(),
        provenance: Default::default(),
    }
}

fn as_table(name: &str, runtime: &str, machine: &Machine, rows: &[Row]) -> String {
    let ms = |seconds: f64| format!("{:.3}", 1e3 * seconds);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(
            |Row {
                 batch,
                 timing,
                 reference,
             }| {
                vec![
                    batch.to_string(),
                    format!("{} ms", ms(timing.median)),
                    format!(
                        "{} to {}",
                        ms(timing.interval.low),
                        ms(timing.interval.high)
                    ),
                    format!("{} ms", ms(timing.p90)),
                    format!("{:.0}", *batch as f64 / timing.median),
                    format!("{:.3}", timing.ratio),
                    format!(
                        "{:.3} to {:.3}",
                        timing.ratio_interval.low, timing.ratio_interval.high
                    ),
                    format!("{} ms", ms(*reference)),
                    timing.runs.to_string(),
                ]
            },
        )
        .collect();
    let header = [
        "batch",
        "median",
        "95 % interval",
        "90 % within",
        "images/s",
        "ratio",
        "95 % interval",
        "reference",
        "runs",
    ];
    let mut text = format!("{name} on {}\n", on(runtime, machine));
    text += &table(&header, 0, &cells, width());
    text += "\nratio: to a fixed small network that was timed in the same turns\n";
    text
}

/// `own inference, 1 thread, Intel …, governor performance`.
fn on(runtime: &str, machine: &Machine) -> String {
    let threads = match machine.threads {
        1 => "1 thread".to_string(),
        n => format!("{n} threads"),
    };
    let runtime = match runtime {
        "own" => "own inference",
        other => other,
    };
    let mut text = format!("{runtime}, {threads}");
    if !machine.cpu.is_empty() {
        let _ = write!(text, ", {}", machine.cpu);
    }
    if !machine.governor.is_empty() {
        let _ = write!(text, ", governor {}", machine.governor);
    }
    text
}

fn as_json(name: &str, runtime: &str, machine: &Machine, rows: &[Row]) -> Value {
    let batches = rows.iter().map(
        |Row {
             batch,
             timing,
             reference,
         }| {
            let both = |low: f64, high: f64| json!([low, high]);
            json!({
                "batch": batch,
                "median_ms": 1e3 * timing.median,
                "interval_ms": both(1e3 * timing.interval.low, 1e3 * timing.interval.high),
                "p90_ms": 1e3 * timing.p90,
                "images_per_s": *batch as f64 / timing.median,
                "ratio": timing.ratio,
                "ratio_interval": both(timing.ratio_interval.low, timing.ratio_interval.high),
                "reference_ms": 1e3 * reference,
                "runs": timing.runs,
            })
        },
    );
    json!({
        "network": name,
        "runtime": runtime,
        "machine": machine,
        "batches": batches.collect::<Vec<_>>(),
    })
}

/// What the system says of the machine.
fn machine(threads: usize) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_string())
    });
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    Machine {
        cpu: cpu.unwrap_or_default(),
        threads,
        governor: governor.trim().to_string(),
    }
}

fn make_table(args: &ProfileArgs, ops: &OpRegistry, env: &Env) -> Result<(), CliError> {
    let space = space::load(&args.space)?;
    let request = ProfileRequest {
        space: &space,
        ops,
        networks: args.networks,
        batch: args.batch,
        seed: args.seed,
        effort: Effort {
            seconds: args.seconds,
            interval: 0.05,
            ..Effort::default()
        },
        machine: machine(usize::from(args.threads)),
    };
    let bar = model::bar(0, "measuring", env.draws)?;
    let made = model::in_threads(Some(args.threads), || {
        let mut progress = |done: usize, of: usize| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        };
        let clock = Stopwatch(Instant::now());
        profile(&request, &clock, &mut progress).map_err(CliError::failure)
    });
    bar.finish_and_clear();
    let made = made?;
    made.write(&args.output).map_err(CliError::input)?;
    let LatencyTable { error, layers, .. } = &made;
    let text = format!(
        "{}: {} layers of `{}`, fitted to {} whole networks\nrank correlation {:.3}, mean error {:.1} %, in 95 of 100 networks at \
         most {:.1} % above the prediction\n",
        args.output.display(),
        layers.len(),
        made.space,
        error.networks,
        error.spearman,
        100.0 * error.mean_relative,
        100.0 * error.quantile_95
    );
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn predict(
    path: &Path,
    network: &str,
    (sample, seed): (u32, u64),
    json: bool,
    ops: &OpRegistry,
) -> Result<(), CliError> {
    let table_of = LatencyTable::read(path).map_err(CliError::input)?;
    let networks = match given(network, ops.catalog())? {
        Given::Space(space) => {
            let networks = members(&space, &[], sample, Key::new(seed).with("archai latency"))?;
            networks.into_iter().map(|n| (n.name, n.desc)).collect()
        }
        Given::Description(desc) => vec![(name_of(network), *desc)],
        Given::Model(file) => vec![(name_of(network), file.desc.clone())],
    };
    let mut rows = Vec::new();
    for (name, desc) in networks {
        let graph = desc.lower(ops.catalog()).map_err(CliError::input)?;
        let ms = table_of.predict(&graph);
        rows.push((
            name,
            ms.map_err(|e| CliError::usage(format!("{}: {e}", path.display())))?,
        ));
    }
    let most = |ms: f64| ms * (1.0 + table_of.error.quantile_95);
    let text = match json {
        true => {
            let all = rows
                .iter()
                .map(|(name, ms)| json!({"network": name, "ms": ms, "at_most_ms": most(*ms)}));
            format!("{:#}\n", all.collect::<Value>())
        }
        false => {
            let cells: Vec<Vec<String>> = (rows.iter())
                .map(|(name, ms)| {
                    vec![
                        name.clone(),
                        format!("{ms:.3} ms"),
                        format!("{:.3} ms", most(*ms)),
                    ]
                })
                .collect();
            table(
                &["network", "latency", "95 of 100 at most"],
                1,
                &cells,
                width(),
            ) + "\n"
        }
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
