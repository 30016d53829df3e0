//! Descriptions: building, checking, counting, reading, writing, scaling, drawing.

mod architecture;
mod build;
mod draw;
mod foreign;
mod genotype;
mod golden;
mod import;
mod lower;
mod nasbench101;
mod nasbench201;
mod spaces;
mod yaml;
mod zoo;

use archai_spec::desc::{
    Built, ChildDesc, DartsModelDescBuilder, EdgeDesc, Genotype, ModelDesc, OpCatalog, OpDesc,
    build, from_genotype,
};
use archai_spec::settings::{ModelDescSettings, Settings, StemWiring};

/// The original code's CIFAR evaluation network, with the sizes to be changed by the tests.
fn cifar(
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

/// The original code's ImageNet evaluation network.
fn imagenet(n_cells: usize, channels: usize) -> ModelDescSettings {
    let mut settings = cifar(n_cells, 2, 4, channels);
    settings.dataset.n_classes = 1000;
    settings.dataset.size = [224, 224];
    settings.model_post_op = "pool_avg2d7x7".into();
    settings.aux_tower_stride = 2;
    settings.aux_tower_second_norm = false;
    settings.model_stems.ops = ["stem_conv3x3_s4".into(), "stem_relu_conv3x3_s2".into()];
    settings.model_stems.wiring = StemWiring::Chained;
    settings.model_stems.stem_multiplier = 1;
    settings
}

fn supernet(settings: &ModelDescSettings) -> ModelDesc {
    let built: Built = build(
        &DartsModelDescBuilder,
        settings,
        None,
        false,
        &OpCatalog::builtin(),
    )
    .unwrap();
    assert_eq!(built.notes, Vec::<String>::new());
    built.desc
}

fn network(genotype: &Genotype, settings: &ModelDescSettings) -> ModelDesc {
    from_genotype(genotype, settings, true, &OpCatalog::builtin())
        .unwrap()
        .desc
}

/// An edge of two parts: a convolution of the second input and a skip of the first.
fn multi_edge(channels: usize) -> EdgeDesc {
    let mut op = OpDesc::new("multi_op", channels, channels);
    for (input, name) in [(1, "sep_conv_3x3"), (0, "skip_connect")] {
        op.children.push(ChildDesc {
            input,
            op: OpDesc::new(name, channels, channels),
        });
    }
    EdgeDesc {
        inputs: vec![0, 1],
        op,
    }
}

const DARTS_V1: &str = "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), \
    ('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], \
    normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 0), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], \
    reduce_concat=range(2, 6))";

const DARTS_V2: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), \
    ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], \
    normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), \
    ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], \
    reduce_concat=range(2, 6))";

const AMOEBANET: &str = "Genotype(normal=[('avg_pool_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 2), \
    ('sep_conv_3x3', 0), ('avg_pool_3x3', 3), ('sep_conv_3x3', 1), ('skip_connect', 1), ('skip_connect', \
    0), ('avg_pool_3x3', 1)], normal_concat=[4, 5, 6], reduce=[('avg_pool_3x3', 0), ('sep_conv_3x3', 1), \
    ('max_pool_3x3', 0), ('sep_conv_7x7', 2), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1), ('max_pool_3x3', \
    0), ('max_pool_3x3', 1), ('conv_7x1_1x7', 0), ('sep_conv_3x3', 5)], reduce_concat=[3, 4, 6])";
