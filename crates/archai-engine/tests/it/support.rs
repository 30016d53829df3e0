//! Networks and batches that several tests use.

use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::{AlphaInit, Compute, Model, ModelOptions, OpRegistry};
use archai_spec::desc::{
    DartsModelDescBuilder, Genotype, ModelDesc, OpCatalog, build, from_genotype,
};
use archai_spec::settings::{
    CellSettings, Dataset, DatasetFormat, ModelDescSettings, ModelStems, StemWiring,
};

/// The original code's network for small images, with two independent stems and no auxiliary tower.
pub fn settings(
    n_cells: usize,
    n_reductions: usize,
    n_nodes: usize,
    channels: usize,
) -> ModelDescSettings {
    ModelDescSettings {
        dataset: Dataset {
            name: "test".into(),
            format: DatasetFormat::Cifar10Binary,
            path: "test".into(),
            train: None,
            test: None,
            n_classes: 10,
            channels: 3,
            size: [32, 32],
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
            crop_padding: 4,
            flip: true,
            max_batches: -1,
        },
        n_cells,
        n_reductions,
        max_final_edges: 2,
        model_post_op: "pool_adaptive_avg2d".into(),
        aux_weight: 0.0,
        aux_tower_stride: 3,
        aux_tower_second_norm: true,
        model_stems: ModelStems {
            ops: ["stem_conv3x3".into(), "stem_conv3x3".into()],
            wiring: StemWiring::Independent,
            affine: None,
            stem_multiplier: 3,
            init_node_ch: channels,
        },
        cell: CellSettings {
            n_nodes,
            cell_post_op: "concate_channels".into(),
        },
    }
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
    Batch {
        images,
        labels,
        shape,
    }
}
