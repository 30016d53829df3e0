//! Networks and batches that several tests use.

use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::{AlphaInit, Compute, Model, ModelOptions, OpRegistry};
use archai_spec::desc::{
    DartsModelDescBuilder, Genotype, ModelDesc, OpCatalog, build, from_genotype,
};
use archai_spec::settings::{ModelDescSettings, Settings};

/// The original code's network for small images, with two independent stems and no auxiliary tower.
pub fn settings(
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
    settings
}

/// The supernet of DARTS.
pub fn supernet(settings: &ModelDescSettings) -> ModelDesc {
    build(
        &DartsModelDescBuilder,
        settings,
        None,
        false,
        &OpCatalog::builtin(),
    )
    .unwrap()
    .desc
}

/// The network of a genotype.
pub fn network(genotype: &Genotype, settings: &ModelDescSettings) -> ModelDesc {
    from_genotype(genotype, settings, true, &OpCatalog::builtin())
        .unwrap()
        .desc
}

/// A small genotype with skips of both strides, pools and convolutions.
pub fn genotype() -> Genotype {
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 1), ('max_pool_3x3', 2)], \
     normal_concat=range(2, 4), reduce=[('skip_connect', 0), ('avg_pool_3x3', 1), ('sep_conv_3x3', 2), \
     ('skip_connect', 1)], reduce_concat=range(2, 4))"
        .parse()
        .unwrap()
}

/// 3 cells, 1 reduction, 2 nodes on 8×8 images.
pub fn tiny_supernet() -> ModelDesc {
    let mut s = settings(3, 1, 2, 4);
    s.dataset.size = [8, 8];
    supernet(&s)
}

pub fn compile(desc: &ModelDesc, compute: &Compute) -> Model {
    let options = ModelOptions {
        compute: compute.clone(),
        seed: 7,
        alpha_init: AlphaInit::Normal { std: 0.5 },
        ..ModelOptions::default()
    };
    Model::compile(desc, &OpRegistry::builtin(), &options).unwrap()
}

/// Random images in [−1, 1) with labels in turn.
pub fn batch(n: usize, desc: &ModelDesc, seed: u64) -> Batch {
    let shape = [n, desc.input.channels, desc.input.height, desc.input.width];
    let mut rng = Key::new(seed).with("images").rng();
    let images = (0..shape.iter().product())
        .map(|_| 2.0 * rng.uniform_f64() as f32 - 1.0)
        .collect();
    let labels = (0..n).map(|i| (i * 7 % desc.n_classes) as i64).collect();
    Batch::new(images, labels, shape)
}
