//! The tabular benchmarks' spaces and the zoo as networks that compute: layer by layer and on kernels alike, with as many
//! numbers as the cost model says, and a gradient for every one of them.

use archai_engine::finalize::{DefaultFinalizers, Finalizers};
use archai_engine::{Compute, Model, Objective, OpRegistry, Precision};
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::nasbench201::{Cell201, NasBench201Builder, Op201};
use archai_spec::desc::{ModelDesc, ModelDescBuilder, build, zoo};
use archai_spec::settings::{ModelDescSettings, StemWiring};

use crate::fused::check_network;
use crate::support::{batch, compile, settings};

pub fn nasbench201(per_stage: usize, channels: usize) -> ModelDescSettings {
    let mut s = settings(3 * per_stage + 2, 2, 3, channels);
    s.dataset.size = [8, 8];
    s.max_final_edges = 3;
    s.model_post_op = "bnrelu_pool_avg2d".into();
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.cell.cell_post_op = "identity".into();
    s
}

pub fn built(builder: &dyn ModelDescBuilder, s: &ModelDescSettings, affine: bool) -> ModelDesc {
    let registry = OpRegistry::builtin();
    build(builder, s, None, affine, registry.catalog())
        .unwrap()
        .desc
}

/// As many weights as the cost model says, and a gradient for each tensor of them.
fn check_weights(what: &str, desc: &ModelDesc, n: usize) -> Model {
    let model = compile(desc, &Compute::cpu());
    let cost = desc.cost(OpRegistry::builtin().catalog()).unwrap();
    assert_eq!(
        model.weights().n_numbers() as u64,
        cost.total(true).params,
        "{what}"
    );
    let grads = model
        .grads(&batch(n, desc, 1), &Objective::default())
        .unwrap();
    assert!(grads.loss.is_finite(), "{what}");
    for t in grads.weights.named() {
        let norm: f64 = t.values.iter().map(|v| v * v).sum();
        assert!(norm > 0.0 && norm.is_finite(), "{what}: {} {norm}", t.name);
    }
    model
}

#[test]
fn nasbench201_searches_and_scales() {
    let registry = OpRegistry::builtin();
    let supernet = built(&NasBench201Builder, &nasbench201(1, 6), false);
    check_network(&supernet, &registry, 3, 0.0);
    let compute = Compute::cpu().with_precision(Precision::F64);
    let model = compile(&supernet, &compute);
    let grads = model
        .grads(&batch(4, &supernet, 1), &Objective::default())
        .unwrap();
    // The gradient reaches every alpha; that of `none` through its share of the softmax.
    let alphas = grads.arch.to_host();
    assert_eq!(alphas.len(), 6);
    for (key, g) in alphas {
        assert!(g.len() == 5 && g.iter().all(|g| *g != 0.0), "{key}: {g:?}");
    }
    let found = DefaultFinalizers.finalize_model(&model).unwrap();
    let cell = Cell201::from_desc(&found).unwrap();
    assert!(!cell.edges.contains(&Op201::None), "{cell}");
    let full = build(
        &NasBench201Builder,
        &nasbench201(2, 8),
        Some(&found),
        true,
        registry.catalog(),
    )
    .unwrap()
    .desc;
    assert_eq!(Cell201::from_desc(&full).unwrap(), cell);
    // Every edge is there and leads somewhere.
    check_weights("found", &full, 8);
}

#[test]
fn nasbench201_cells_compute() {
    let registry = OpRegistry::builtin();
    for text in ["220223", "433012", "123401", "111111"] {
        let cell: Cell201 = text.parse().unwrap();
        let desc = cell
            .to_desc(&nasbench201(1, 6), registry.catalog())
            .unwrap()
            .desc;
        check_network(&desc, &registry, 3, 0.3);
    }
}

/// Networks of cells of NAS-Bench-101.
pub fn nasbench101() -> ModelDescSettings {
    let mut s = settings(5, 1, 5, 10);
    s.dataset.size = [8, 8];
    s.model_stems.ops = ["stem_conv3x3Relu".into(), "stem_conv3x3Relu".into()];
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.model_post_op = "pool_mean_tensor".into();
    s.cell.cell_post_op = "identity".into();
    s
}

#[test]
fn nasbench101_cells_compute() {
    let s = nasbench101();
    let mut rng = archai_data::rng::Key::new(3).with("cells").rng();
    for i in 0..6 {
        let cell = Cell101::random(|n| rng.uniform_u32_below(n)).unwrap();
        let desc = built(&NasBench101Builder { cell: Some(cell) }, &s, true);
        check_network(&desc, &OpRegistry::builtin(), 3, 0.0);
        check_weights(&format!("cell {i}"), &desc, 8);
    }
}

#[test]
fn zoo_networks_compute() {
    for (name, size) in [
        ("resnet20", 16),
        ("resnet50", 16),
        ("vgg11_bn", 32),
        ("densenet_bc_100_12", 8),
        ("mobilenet_v2", 32),
        ("wide_resnet_16_4", 16),
    ] {
        let mut s = settings(20, 2, 4, 16);
        s.dataset.size = [size, size];
        let builder = zoo::builder(name).unwrap();
        let desc = built(&*builder, &s, true);
        check_weights(name, &desc, 4);
    }
    // With large stems; the layers behind them are those of above.
    for (name, size) in [("resnet18", 72), ("mobilenet_v2", 96)] {
        let mut s = settings(20, 2, 4, 16);
        s.dataset.size = [size, size];
        let builder = zoo::builder(name).unwrap();
        let desc = built(&*builder, &s, true);
        check_weights(name, &desc, 4);
    }
    let mut s = settings(20, 2, 4, 16);
    s.dataset.size = [16, 16];
    let desc = built(&*zoo::builder("resnet20").unwrap(), &s, true);
    check_network(&desc, &OpRegistry::builtin(), 3, 0.2);
}
