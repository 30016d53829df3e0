//! Times training steps of three networks on both engines, in turn and in one process, so that a busy machine disturbs
//! both alike: `cargo run --release --example step_time [supernet|toy|eval] [batch] [rounds]`.

use std::time::Instant;

use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::optim::{Optimizer, clip_factor};
use archai_engine::{Compute, Model, ModelOptions, Objective, OpRegistry, Regular, Want};
use archai_kernels::PoolAllocator;
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, OpCatalog, build, from_genotype};
use archai_spec::settings::{ModelDescSettings, OptimizerKind, Settings, StemWiring};

#[global_allocator]
static ALLOC: PoolAllocator = PoolAllocator::new(usize::MAX);

fn settings(
    n_cells: usize,
    n_reductions: usize,
    n_nodes: usize,
    channels: usize,
) -> ModelDescSettings {
    let shipped = Settings::shipped("cifar10").expect("a shipped data set");
    let mut settings = shipped.nas.search.model_desc;
    settings.n_cells = n_cells;
    settings.n_reductions = n_reductions;
    settings.model_stems.init_node_ch = channels;
    settings.cell.n_nodes = n_nodes;
    settings.model_stems.wiring = StemWiring::Shared;
    settings.model_stems.affine = Some(true);
    settings
}

fn describe(what: &str) -> Result<ModelDesc, Box<dyn std::error::Error>> {
    let catalog = OpCatalog::builtin();
    let supernet = |s| build(&DartsModelDescBuilder, s, None, false, &catalog);
    Ok(match what {
        "supernet" => supernet(&settings(8, 2, 4, 16))?.desc,
        "toy" => supernet(&settings(3, 1, 2, 16))?.desc,
        "eval" => {
            let mut s = settings(20, 2, 4, 36);
            s.aux_weight = 0.4;
            // DARTS_V2
            let genotype = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
                 ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), \
                 ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), \
                 ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), \
                 ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])";
            from_genotype(&genotype.parse()?, &s, true, &catalog)?.desc
        }
        other => return Err(format!("`{other}` is none of supernet, toy, eval").into()),
    })
}

fn batch(n: usize, seed: u64) -> Batch {
    let mut rng = Key::new(seed).with("images").rng();
    let images = (0..n * 3 * 32 * 32).map(|_| 2.0 * rng.uniform_f64() as f32 - 1.0);
    let labels = (0..n).map(|i| (i % 10) as i64).collect();
    Batch::new(images.collect(), labels, [n, 3, 32, 32])
}

fn settings_of_sgd() -> archai_spec::settings::Optimizer {
    archai_spec::settings::Optimizer {
        kind: OptimizerKind::Sgd,
        lr: 0.025,
        decay: 3e-4,
        decay_bn: None,
        momentum: Some(0.9),
        nesterov: None,
        betas: None,
        eps: None,
        alpha: None,
        centered: None,
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or("supernet".into());
    let n = args.next().map_or(Ok(32), |v| v.parse())?;
    let rounds = args.next().map_or(Ok(3), |v| v.parse())?;
    let with_plain = args.next().is_none_or(|v| v != "fused");
    let desc = describe(&what)?;
    let mut engines = vec![Compute::cpu()];
    if with_plain {
        engines.push(Compute::cpu().with_plain_ops());
    }
    let mut models = Vec::new();
    for compute in &engines {
        let compute = compute.clone();
        let options = ModelOptions {
            compute,
            ..ModelOptions::default()
        };
        models.push(Model::compile(&desc, &OpRegistry::builtin(), &options)?);
    }
    let objective = Objective {
        aux_weight: if what == "eval" { 0.4 } else { 0.0 },
        ..Objective::default()
    };
    let regular = Regular {
        drop_path_prob: if what == "eval" { 0.2 } else { 0.0 },
        draw: Key::new(1),
    };
    let sgd = settings_of_sgd();
    let mut optimizers = vec![Optimizer::new(&sgd)?; models.len()];
    let mut times = vec![Vec::new(); models.len()];
    for round in 0..rounds + 1 {
        let before = ALLOC.system_requests();
        for (i, model) in models.iter_mut().enumerate() {
            let batch = batch(n, round);
            let start = Instant::now();
            let want = Want {
                weights: true,
                arch: true,
            };
            let grads = model.train_pass(&batch, &objective, &regular, want)?;
            let seconds = start.elapsed().as_secs_f64();
            if round > 0 {
                times[i].push(seconds);
            }
            let start = Instant::now();
            let norm = grads.weights.norm();
            let clipped = grads.weights.scale(clip_factor(norm, 5.0));
            let weights = optimizers[i].step(model.weights(), &clipped, 0.0);
            model.set_weights(weights);
            let update = start.elapsed().as_secs_f64();
            let start = Instant::now();
            model.predict(batch.images, batch.shape)?;
            let inference = start.elapsed().as_secs_f64();
            println!(
                "round {round}, {:5} engine: {:9.1} ms, then {:5.1} ms for clipping and SGD; inference {:8.1} ms; loss {:.7}, gradient norm \
                 {norm:.5}",
                engines[i].engine().to_string(),
                1e3 * seconds,
                1e3 * update,
                1e3 * inference,
                grads.loss,
            );
        }
        println!(
            "large blocks asked of the system: {}",
            ALLOC.system_requests() - before
        );
    }
    let medians: Vec<f64> = times.iter_mut().map(|t| median(t)).collect();
    if let [fused, plain] = medians[..] {
        println!("{what}, batch {n}: fused / plain = {:.4}", fused / plain);
    }
    Ok(())
}
