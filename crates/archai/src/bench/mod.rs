//! `archai bench`: how fast this machine does the steps of a search and of an evaluation, at the sizes of the DARTS paper.
//!
//! Each measurement runs in a process of its own, so that its peak memory is its own and nothing is warm from another.

mod cell;
mod machine;
mod network;
mod overheads;
mod show;
mod step;

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use archai_engine::{Compute, Engine, Model, ModelOptions, OpRegistry, Want};
use archai_spec::desc::OpCatalog;
use serde::{Deserialize, Serialize};

use crate::cli::args::{BenchArgs, EngineArg, Workload};
use crate::cli::env::Env;
use crate::cli::error::CliError;

use cell::cell;
use machine::{ceiling_gflops, peak_rss_mb};
use network::{MACRO_201, describe, macs, settings};
use overheads::overheads;
use show::{estimates, print_json, table};
use step::Step;

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
    let desc = describe(workload, &settings, &catalog)?;
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
