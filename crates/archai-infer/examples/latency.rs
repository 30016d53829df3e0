//! The time that a network takes, as JSON: `cargo run --release -p archai-infer --example latency -- MODEL.safetensors`.
//!
//! `--batch N` (1) images at a time, `--threads N` (all cores), `--runs N` (50) measurements after a few unmeasured ones.
//! `first_ms` is the time from the start of `main` to the first logits, reading the file included, of which `read_ms`,
//! `graph_ms` and `network_ms` are the parts before the first run; the others are medians and minima of the runs. `--logits` prints the logits of a fixed batch instead, one image per line.
//!
//! `--make NAME DIR [--cells N] [--channels N]` writes a network of the zoo with random weights instead, as a safetensors file and as ONNX.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use archai_export::{ModelFile, ModelInfo, NamedTensor, Options, builtin};
use archai_infer::Network;
use archai_spec::desc::{OpCatalog, build, zoo};
use archai_spec::graph::Graph;
use archai_spec::ops::ParamKind;
use archai_spec::settings::Settings;

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| args.iter().position(|a| a == name);
    let number = |name: &str, default: usize| -> Result<usize, Box<dyn Error>> {
        match flag(name) {
            None => Ok(default),
            Some(i) => Ok(args
                .get(i + 1)
                .ok_or(format!("{name} needs a number"))?
                .parse()?),
        }
    };
    if let Some(i) = flag("--make") {
        let [name, dir] = args.get(i + 1..i + 3).ok_or("--make NAME DIR")? else {
            return Err("--make NAME DIR".into());
        };
        return make(
            name,
            Path::new(dir),
            number("--cells", 20)?,
            number("--channels", 36)?,
        );
    }
    let path = args
        .first()
        .filter(|a| !a.starts_with("--"))
        .ok_or("expected a safetensors file")?;
    let (batch, runs) = (number("--batch", 1)?, number("--runs", 50)?);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(number("--threads", 0)?)
        .build()?;

    let catalog = OpCatalog::builtin();
    let since = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let model = ModelFile::open(Path::new(path), &catalog)?;
    let read_ms = since(start);
    let graph = model.graph(&catalog)?;
    let graph_ms = since(start) - read_ms;
    let network = pool.install(|| Network::new(&graph, &model.state))?;
    let network_ms = since(start) - graph_ms - read_ms;
    let shape = network.input();
    let one = shape.channels * shape.height * shape.width;
    let images: Vec<f32> = (0..batch * one).map(|i| (i as f32 * 0.37).sin()).collect();
    let first = pool.install(|| network.logits(&images[..one]))?;
    let first_ms = since(start);
    if flag("--logits").is_some() {
        for logits in pool
            .install(|| network.logits(&images))?
            .chunks(first.len())
        {
            println!("{logits:?}");
        }
        return Ok(());
    }
    let mut times = Vec::new();
    for i in 0..runs + 5 {
        let start = Instant::now();
        pool.install(|| network.logits(&images))?;
        if i >= 5 {
            times.push(since(start));
        }
    }
    times.sort_by(f64::total_cmp);
    let (median, least) = (times[times.len() / 2], times[0]);
    let threads = pool.current_num_threads();
    println!(
        "{{\"batch\": {batch}, \"threads\": {threads}, \"ms\": {median:.3}, \"min_ms\": {least:.3}, \"first_ms\": {first_ms:.1}, \
         \"read_ms\": {read_ms:.1}, \"graph_ms\": {graph_ms:.1}, \"network_ms\": {network_ms:.1}}}"
    );
    Ok(())
}

/// Writes a network with random numbers.
fn make(name: &str, dir: &Path, cells: usize, channels: usize) -> Result<(), Box<dyn Error>> {
    let shipped = Settings::shipped("cifar10")?;
    let dataset = shipped.nas.eval.loader.dataset.clone();
    let mut settings = shipped.nas.search.model_desc;
    (settings.n_cells, settings.n_reductions) = (cells, 2);
    settings.model_stems.init_node_ch = channels;
    settings.max_final_edges = 2;
    let catalog = OpCatalog::builtin();
    let builder = zoo::builder(name).ok_or_else(|| format!("the zoo has no `{name}`"))?;
    let desc = build(&*builder, &settings, None, true, &catalog)?.desc;
    let state = random(&desc.lower(&catalog)?.inference());
    let info = ModelInfo::new(&dataset, &[]);
    let model = ModelFile { desc, state, info };
    let options = Options::default();
    let exported = model.exported(&catalog, &options);
    std::fs::create_dir_all(dir)?;
    // The two that are compared.
    let all = builtin();
    for exporter in all
        .iter()
        .filter(|e| ["safetensors", "onnx"].contains(&e.name()))
    {
        let path = dir.join(format!("{name}.{}", exporter.extension()));
        let mut bytes = Vec::new();
        exporter.export(&exported, &mut bytes)?;
        std::fs::write(&path, bytes)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Numbers of a size that keeps activations near one.
fn random(graph: &Graph) -> Vec<NamedTensor> {
    let mut seed = 1u64;
    let mut unit = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from((seed >> 40) as f32 / (1 << 23) as f32 - 1.0)
    };
    let params = graph.layers.iter().flat_map(|l| &l.params);
    let tensor = |p: &archai_spec::graph::GraphParam| {
        let n: usize = p.shape.iter().product();
        let fan_in: usize = p.shape.iter().skip(1).product();
        let mut value = || match p.kind {
            ParamKind::Weight => unit() * (6.0 / fan_in as f64).sqrt(),
            ParamKind::Bias | ParamKind::Shift | ParamKind::RunningMean => unit() * 0.1,
            ParamKind::Scale | ParamKind::RunningVar => 1.0 + 0.5 * unit(),
        };
        // Files hold 32 bits.
        let values = (0..n).map(|_| f64::from(value() as f32)).collect();
        NamedTensor {
            name: p.name.clone(),
            shape: p.shape.clone(),
            values,
        }
    };
    params.map(tensor).collect()
}
