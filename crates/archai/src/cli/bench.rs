//! `archai bench`: how fast this machine does the steps of a search and of an evaluation, at the sizes of the DARTS paper.
//!
//! Each measurement runs in a process of its own, so that its peak memory is its own and nothing is warm from another.

use std::hint::black_box;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use archai_algos::DartsSettings;
use archai_algos::darts::LookAhead;
use archai_data::rng::Key;
use archai_data::{Batch, InMemory, Loader, Loaders, Transform};
use archai_engine::optim::{Optimizer, clip_factor};
use archai_engine::run::{Clock, Run, StopFlag};
use archai_engine::trainer::{ArchTrainer, Outcome, Step as TrainerStep, TrainerHooks};
use archai_engine::{
    ArchParams, Compute, Engine, EngineError, Model, ModelOptions, Objective, OpRegistry, ParamVec,
    Regular, Want,
};
use archai_kernels::{
    CellEdge, CellPlan, CellWant, Exec, FeatureMap, ParamLayout, Primitive, fma_burst,
};
use archai_spec::config::{ConfigLoader, Schema, Shipped, parse_overrides};
use archai_spec::desc::nasbench201::Cell201;
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, OpCatalog, build, from_genotype, zoo};
use archai_spec::event::{Event, EventSink, LogPath};
use archai_spec::settings::Settings;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::args::{BenchArgs, EngineArg, Workload};
use super::env::Env;
use super::error::CliError;

/// The found cells of the paper's second-order search (DARTS_V2 in the original code).
const DARTS_V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
    ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], \
    reduce_concat=[2, 3, 4, 5])";

/// The cell of NAS-Bench-201 with the best test accuracy on CIFAR-10 (index 6111 of its table).
const BEST_201: &str = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|";

/// What one measurement gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    workload: String,
    batch: usize,
    threads: usize,
    engine: String,
    /// Median milliseconds of a step.
    ms: f64,
    min_ms: f64,
    max_ms: f64,
    steps: usize,
    /// Images that a step reads.
    images: usize,
    /// Arithmetic of convolutions and the classifier in a step.
    gflop: f64,
    peak_rss_mb: Option<f64>,
    /// Of `overheads` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    overheads: Option<Overheads>,
}

/// What of a training's step is not the network, in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Overheads {
    /// Preparing the batch (crop, flip, normalise), metrics, logging every step: median between two steps' passes.
    between_ms: f64,
    /// Clipping and the optimiser's step.
    optimizer_ms: f64,
}

impl Measured {
    fn images_per_s(&self) -> f64 {
        self.images as f64 / self.ms * 1e3
    }
    fn gflop_per_s(&self) -> f64 {
        self.gflop / self.ms * 1e3
    }
}

/// What a child process prints, as far as its parent reads it.
#[derive(Deserialize)]
struct Printed {
    measurements: Vec<Measured>,
}

/// Runs one measurement in this process, or all of them in processes of their own.
///
/// # Errors
/// A measurement that cannot be run.
pub fn run(args: &BenchArgs, env: &Env) -> Result<(), CliError> {
    start_threads(args.threads)?;
    match args.only {
        Some(workload) => {
            let measured = measure(workload, args)?;
            match args.json {
                true => print_json(&[measured], ceiling_gflops())?,
                false => table(&[measured], ceiling_gflops())?,
            }
            Ok(())
        }
        None => all(args, env),
    }
}

fn start_threads(threads: Option<u16>) -> Result<(), CliError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.map_or(0, usize::from))
        .build_global()
        .map_err(|e| CliError::failure(format!("cannot start the threads: {e}")))
}

fn all(args: &BenchArgs, env: &Env) -> Result<(), CliError> {
    let program = std::env::current_exe()
        .map_err(|e| CliError::failure(format!("cannot find this program to run it again: {e}")))?;
    let mut results = Vec::new();
    for workload in Workload::ALL {
        if args.engine == EngineArg::Plain && workload == Workload::Cell {
            continue;
        }
        if !args.json && io::stderr().is_terminal() && env.colors {
            let _ = write!(io::stderr(), "\rmeasuring: {:<12}", workload.name());
        }
        let mut command = std::process::Command::new(&program);
        command.args(["bench", "--json", "--only", workload.name()]);
        command.args(["--steps", &args.steps.to_string()]);
        command.args(["--engine", &Engine::from(args.engine).to_string()]);
        command.args(["--threads", &rayon::current_num_threads().to_string()]);
        if let Some(batch) = args.batch {
            command.args(["--batch", &batch.to_string()]);
        }
        let output = command
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(|e| CliError::failure(format!("cannot start {}: {e}", program.display())))?;
        let name = workload.name();
        if !output.status.success() {
            let status = output.status;
            return Err(CliError::failure(format!(
                "the measurement `{name}` ended with {status}; if memory ran out, try a smaller --batch"
            )));
        }
        let mut printed: Printed = serde_json::from_slice(&output.stdout).map_err(|e| {
            CliError::failure(format!("the measurement `{name}` printed no result: {e}"))
        })?;
        results.append(&mut printed.measurements);
    }
    if !args.json && io::stderr().is_terminal() && env.colors {
        let _ = write!(io::stderr(), "\r{:24}\r", "");
    }
    let ceiling = ceiling_gflops();
    if args.json {
        print_json(&results, ceiling)
    } else {
        table(&results, ceiling)?;
        estimates(&results)
    }
}

/// One object with the median of each step at its top level.
fn print_json(results: &[Measured], ceiling: f64) -> Result<(), CliError> {
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

fn table(results: &[Measured], ceiling: f64) -> Result<(), CliError> {
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
fn estimates(results: &[Measured]) -> Result<(), CliError> {
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

/// Multiply-adds in registers on all threads: GFLOP/s, the best of a few tries.
fn ceiling_gflops() -> f64 {
    let exec = Exec::new();
    let threads = rayon::current_num_threads();
    let mut best = 0.0f64;
    for _ in 0..5 {
        let start = Instant::now();
        let done: f64 = (0..threads)
            .into_par_iter()
            .map(|_| {
                let (operations, value) = fma_burst(&exec, 4_000_000);
                black_box(value);
                operations
            })
            .sum();
        best = best.max(done / start.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// What was measured on.
fn device() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|l| l.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_string())
        });
    format!(
        "cpu: {} ({})",
        model.unwrap_or_else(|| std::env::consts::ARCH.to_string()),
        Exec::new().simd().name()
    )
}

/// The most memory that this process has held, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kb: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kb / 1024.0)
}

/// NAS-Bench-201's macro structure: 16 channels, three stages of five cells, a residual block before the second and third.
const MACRO_201: [&str; 7] = [
    "nas.eval.model_desc.n_cells=17",
    "nas.eval.model_desc.model_post_op=bnrelu_pool_avg2d",
    "nas.eval.model_desc.aux_weight=0",
    "nas.eval.model_desc.model_stems.stem_multiplier=1",
    "nas.eval.model_desc.model_stems.init_node_ch=16",
    "nas.eval.model_desc.cell.n_nodes=3",
    "nas.eval.model_desc.cell.cell_post_op=identity",
];

/// The shipped settings, with the stem of the original code (one, shared, with learnt norms) and with `more`.
fn settings(more: &[&str]) -> Result<Settings, CliError> {
    let stems = [
        "nas.search.model_desc.model_stems.wiring=shared",
        "nas.search.model_desc.model_stems.affine=true",
        "nas.eval.model_desc.model_stems.wiring=shared",
    ];
    let flags: Vec<String> = stems.iter().chain(more).map(|s| s.to_string()).collect();
    ConfigLoader::new(&Shipped)
        .files("archai:algos/darts.yaml")
        .dataset("archai:datasets/cifar10.yaml")
        .overrides(parse_overrides(&flags).map_err(CliError::config)?)
        .load(&Schema::settings().section::<DartsSettings>("nas.search.darts"))
        .and_then(|tree| tree.settings())
        .map_err(CliError::config)
}

fn measure(workload: Workload, args: &BenchArgs) -> Result<Measured, CliError> {
    let batch = args.batch.map_or(workload.default_batch(), usize::from);
    let compute = Compute::cpu().with_engine(args.engine.into());
    if workload == Workload::Cell {
        if args.engine == EngineArg::Plain {
            return Err(CliError::usage(
                "the cell is measured on the fused engine alone; leave out --engine plain",
            ));
        }
        return cell(batch, args.steps);
    }
    let settings = settings(match workload {
        Workload::NasBench201 => &MACRO_201,
        _ => &[],
    })?;
    let catalog = OpCatalog::builtin();
    let search = matches!(
        workload,
        Workload::Supernet | Workload::Bilevel | Workload::Overheads
    );
    let eval = &settings.nas.eval.model_desc;
    let desc = match workload {
        Workload::Supernet | Workload::Bilevel | Workload::Overheads => build(
            &DartsModelDescBuilder,
            &settings.nas.search.model_desc,
            None,
            false,
            &catalog,
        ),
        Workload::Eval | Workload::Infer | Workload::Cell => {
            let genotype = DARTS_V2.parse().map_err(CliError::caused)?;
            from_genotype(&genotype, eval, true, &catalog)
        }
        Workload::NasBench201 => {
            let cell: Cell201 = BEST_201.parse().map_err(CliError::caused)?;
            cell.to_desc(eval, &catalog)
        }
        Workload::ResNet20 => {
            let builder = zoo::builder(workload.name())
                .ok_or_else(|| CliError::failure("the zoo has no ResNet-20"))?;
            build(builder.as_ref(), eval, None, true, &catalog)
        }
    }
    .map_err(CliError::caused)?
    .desc;
    let options = ModelOptions {
        compute,
        ..ModelOptions::default()
    };
    let model =
        Model::compile(&desc, &OpRegistry::builtin(), &options).map_err(CliError::engine)?;
    let macs = macs(&desc, &catalog, workload == Workload::Eval)?;
    let size = Size {
        batch,
        images: batch * if workload == Workload::Bilevel { 2 } else { 1 },
        flop: macs * batch as f64 * workload.flop_per_mac(),
    };
    if workload == Workload::Overheads {
        return overheads(model, &settings, args, size);
    }
    let mut step = Step::new(model, &settings, search, batch)?;
    timed(
        workload,
        args.engine.into(),
        args.steps,
        size,
        || match workload {
            Workload::Supernet => step.train(Want {
                weights: true,
                arch: true,
            }),
            Workload::Bilevel => step.bilevel(),
            Workload::Eval | Workload::NasBench201 | Workload::ResNet20 => step.train(Want {
                weights: true,
                arch: false,
            }),
            Workload::Infer | Workload::Cell | Workload::Overheads => step.infer(),
        },
    )
}

/// Multiply-adds per image.
fn macs(desc: &ModelDesc, catalog: &OpCatalog, aux: bool) -> Result<f64, CliError> {
    Ok(desc
        .cost(catalog)
        .map_err(CliError::caused)?
        .total(aux)
        .macs as f64)
}

/// A model with what its steps need.
struct Step {
    model: Model,
    objective: Objective,
    weights: Optimizer<ParamVec>,
    alphas: Option<Optimizer<ArchParams>>,
    lr: f64,
    alpha_lr: f64,
    clip: f64,
    train: Batch,
    valid: Batch,
}

impl Step {
    fn new(model: Model, settings: &Settings, search: bool, n: usize) -> Result<Self, CliError> {
        let trainer = match search {
            true => &settings.nas.search.trainer,
            false => &settings.nas.eval.trainer,
        };
        let alpha = trainer.alpha_optimizer.as_ref().filter(|_| search);
        Ok(Step {
            objective: Objective {
                aux_weight: trainer.aux_weight,
                ..Objective::default()
            },
            weights: Optimizer::new(&trainer.optimizer).map_err(CliError::engine)?,
            alphas: alpha
                .map(Optimizer::new)
                .transpose()
                .map_err(CliError::engine)?,
            lr: trainer.optimizer.lr,
            alpha_lr: alpha.map_or(0.0, |a| a.lr),
            clip: trainer.grad_clip,
            train: noise(n, 1, &model),
            valid: noise(n, 2, &model),
            model,
        })
    }

    /// Forward and backward with running statistics, clipping and SGD.
    fn train(&mut self, want: Want) -> Result<(), CliError> {
        let regular = Regular {
            drop_path_prob: 0.0,
            draw: Key::new(3),
        };
        let grads = self
            .model
            .train_pass(&self.train, &self.objective, &regular, want)
            .map_err(CliError::engine)?;
        let factor = clip_factor(grads.weights.norm(), self.clip);
        let clipped = grads.weights.scale(factor);
        let weights = self.weights.step(self.model.weights(), &clipped, self.lr);
        self.model.set_weights(weights);
        Ok(())
    }

    /// The whole second-order step: architecture, then weights.
    fn bilevel(&mut self) -> Result<(), CliError> {
        let draw = Key::new(4);
        let (_, grads) = self
            .model
            .weight_grads(&self.train, &self.objective, Some(&draw))
            .map_err(CliError::engine)?;
        let update = self.weights.direction(self.model.weights(), &grads);
        let ahead = LookAhead {
            update: &update,
            xi: self.lr,
            epsilon: 0.01,
        };
        let (_, grads) = ahead
            .arch_grads(
                &self.model,
                &self.train,
                &self.valid,
                &self.objective,
                &draw,
            )
            .map_err(CliError::engine)?;
        if let Some(optimizer) = &mut self.alphas {
            let arch = optimizer.step(self.model.arch(), &grads, self.alpha_lr);
            self.model.set_arch(arch);
        }
        self.train(Want {
            weights: true,
            arch: false,
        })
    }

    fn infer(&mut self) -> Result<(), CliError> {
        let logits = self
            .model
            .predict(self.train.images.clone(), self.train.shape);
        black_box(logits.map_err(CliError::engine)?);
        Ok(())
    }
}

/// Seconds since the watch was made.
#[derive(Clone, Copy)]
struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Notes when the passes of a training begin and end.
struct Passes {
    watch: Watch,
    times: Arc<Mutex<Vec<[f64; 2]>>>,
}

impl TrainerHooks for Passes {
    fn pre_step(&mut self, _: &mut TrainerStep<'_>) -> Result<(), EngineError> {
        let now = self.watch.now();
        self.times().push([now; 2]);
        Ok(())
    }
    fn post_step(&mut self, _: &mut TrainerStep<'_>, _: &Outcome) -> Result<(), EngineError> {
        let now = self.watch.now();
        if let Some([_, end]) = self.times().last_mut() {
            *end = now;
        }
        Ok(())
    }
}

impl Passes {
    fn times(&self) -> std::sync::MutexGuard<'_, Vec<[f64; 2]>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes events as a run's log has them, to nowhere.
struct ToNowhere;

impl EventSink for ToNowhere {
    fn emit(&self, event: Event) -> io::Result<()> {
        serde_json::to_writer(io::sink(), &event).map_err(io::Error::other)
    }
}

/// A training of the search network on images of CIFAR's size, prepared in the training's own thread so that all of it
/// counts, and logged at every step.
fn overheads(
    mut model: Model,
    settings: &Settings,
    args: &BenchArgs,
    size: Size,
) -> Result<Measured, CliError> {
    let search = &settings.nas.search;
    let images = size.batch * (args.steps + 2);
    let mut rng = Key::new(6).with("bench images").rng();
    let input = model.desc().input;
    let shape = [input.channels, input.height, input.width];
    let pixels = images * shape.iter().product::<usize>();
    let pixels = (0..pixels).map(|_| rng.uniform_u32_below(256) as u8);
    let labels = (0..images as u32).map(|i| i % 10).collect();
    let data = InMemory::new("noise", 10, shape, pixels.collect(), labels);
    let data = Arc::new(data.map_err(CliError::caused)?);
    let transform = Transform::train(&search.loader.dataset, search.loader.cutout);
    let transform = transform.map_err(CliError::caused)?;
    let loaders = Loaders {
        train: Loader::new(data, transform, size.batch).shuffled(Key::new(7)),
        valid: None,
        valid_arch: None,
        test: None,
    };
    let mut trainer = search.trainer.clone();
    (trainer.epochs, trainer.logger_freq) = (1, 1);
    let watch = Watch(Instant::now());
    let times: Arc<Mutex<Vec<[f64; 2]>>> = Arc::default();
    let passes = Passes {
        watch,
        times: times.clone(),
    };
    let mut hooks: [Box<dyn TrainerHooks>; 1] = [Box::new(passes)];
    let stop = StopFlag::new();
    let run = Run::new(&ToNowhere, &watch, &stop, 0);
    ArchTrainer::new(&trainer, run, &LogPath::new("bench"), &mut hooks)
        .fit(&mut model, &loaders)
        .map_err(CliError::engine)?;
    let times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));

    // The optimiser alone, on some gradient.
    let mut optimizer = Optimizer::new(&trainer.optimizer).map_err(CliError::engine)?;
    let grads = model.weights().clone();
    let mut optimizer_ms = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        let clipped = grads.scale(clip_factor(grads.norm(), trainer.grad_clip));
        model.set_weights(optimizer.step(model.weights(), &clipped, trainer.optimizer.lr));
        optimizer_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let median = |mut ms: Vec<f64>| {
        ms.sort_by(f64::total_cmp);
        ms[ms.len() / 2]
    };
    // From one pass's beginning to the next one's; the first step does not count.
    let starts = times.windows(2).skip(1);
    let mut steps: Vec<f64> = starts.clone().map(|w| (w[1][0] - w[0][0]) * 1e3).collect();
    let between_ms = median(starts.map(|w| (w[1][0] - w[0][1]) * 1e3).collect());
    let mut measured = timed(Workload::Overheads, args.engine.into(), 1, size, || Ok(()))?;
    steps.sort_by(f64::total_cmp);
    measured.ms = steps[steps.len() / 2];
    (measured.min_ms, measured.max_ms) = (steps[0], steps[steps.len() - 1]);
    measured.steps = steps.len();
    measured.overheads = Some(Overheads {
        between_ms,
        optimizer_ms: median(optimizer_ms),
    });
    Ok(measured)
}

/// A batch of noise.
fn noise(n: usize, seed: u64, model: &Model) -> Batch {
    let input = model.desc().input;
    let shape = [n, input.channels, input.height, input.width];
    let mut rng = Key::new(seed).with("bench").rng();
    let classes = model.desc().n_classes;
    Batch {
        images: (0..shape.iter().product())
            .map(|_| rng.normal() as f32)
            .collect(),
        labels: (0..n).map(|i| (i % classes) as i64).collect(),
        shape,
    }
}

/// The first search cell alone: 14 edges of 8 primitives on 16 channels of 32×32, forward and backward, with the gradients
/// of both inputs, of the mixing weights and of the parameters.
fn cell(batch: usize, steps: usize) -> Result<Measured, CliError> {
    let primitives = vec![
        Primitive::MaxPool { norm: true },
        Primitive::AvgPool { norm: true },
        Primitive::Skip,
        Primitive::Sep { kernel: 3 },
        Primitive::Sep { kernel: 5 },
        Primitive::Dil { kernel: 3 },
        Primitive::Dil { kernel: 5 },
        Primitive::None,
    ];
    let edges = (0..4)
        .flat_map(|node| (0..node + 2).map(move |from| (from, node)))
        .map(|(from, node)| CellEdge {
            from,
            node,
            primitives: primitives.clone(),
        })
        .collect();
    let plan =
        CellPlan::new(FeatureMap::new(16, 32, 32), 4, false, edges).map_err(CliError::caused)?;
    let mut rng = Key::new(5).with("bench cell").rng();
    let mut draw = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
    let len = batch * plan.input().sample_len();
    let (s0, s1) = (draw(len), draw(len));
    let mixing = vec![0.125; plan.mixing_len()];
    let params = plan
        .params()
        .pack(|piece| draw(piece.len()).iter().map(|v| 0.1 * v).collect());
    let exec = Exec::new();
    let macs = cell_macs(plan.params(), 32 * 32);
    let flop = macs * batch as f64 * Workload::Cell.flop_per_mac();
    let g = draw(batch * plan.output().sample_len());
    let size = Size {
        batch,
        images: batch,
        flop,
    };
    timed(Workload::Cell, Engine::Fused, steps, size, || {
        let (y, save) = plan.forward(&exec, [&s0, &s1], &mixing, &params);
        let grads = plan.backward(
            &exec,
            [&s0, &s1],
            &mixing,
            &params,
            &y,
            &save,
            g.clone(),
            CellWant::ALL,
        );
        black_box(grads);
        Ok(())
    })
}

/// Multiply-adds per image of a cell whose convolutions all keep `pixels` pixels: each weight once per pixel.
fn cell_macs(params: &ParamLayout, pixels: usize) -> f64 {
    params
        .pieces()
        .iter()
        .map(|p| (p.len() * pixels) as f64)
        .sum()
}

/// What a step works on and how much it computes.
struct Size {
    batch: usize,
    /// Images that it reads.
    images: usize,
    /// Operations of convolutions and the classifier.
    flop: f64,
}

/// Runs `step` once to warm up and `steps` times with the clock running.
fn timed(
    workload: Workload,
    engine: Engine,
    steps: usize,
    size: Size,
    mut step: impl FnMut() -> Result<(), CliError>,
) -> Result<Measured, CliError> {
    step()?;
    let mut times = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        step()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(Measured {
        workload: workload.name().to_string(),
        batch: size.batch,
        threads: rayon::current_num_threads(),
        engine: engine.to_string(),
        ms: times[times.len() / 2],
        min_ms: times[0],
        max_ms: times[times.len() - 1],
        steps: times.len(),
        images: size.images,
        gflop: size.flop / 1e9,
        peak_rss_mb: peak_rss_mb(),
        overheads: None,
    })
}

impl Workload {
    /// Operations of a step for each multiply-add of a forward pass. A pass forward, the gradient of the data and that of
    /// the weights cost two each; the two passes of the finite difference need no gradient of the weights.
    fn flop_per_mac(self) -> f64 {
        match self {
            Workload::Infer => 2.0,
            Workload::Cell
            | Workload::Supernet
            | Workload::Eval
            | Workload::NasBench201
            | Workload::ResNet20
            | Workload::Overheads => 6.0,
            Workload::Bilevel => 3.0 * 6.0 + 2.0 * 4.0,
        }
    }

    /// Images per batch in the papers.
    fn default_batch(self) -> usize {
        match self {
            Workload::Cell | Workload::Supernet | Workload::Bilevel | Workload::Overheads => 64,
            Workload::Eval | Workload::Infer => 96,
            Workload::NasBench201 => 256,
            Workload::ResNet20 => 128,
        }
    }
}
