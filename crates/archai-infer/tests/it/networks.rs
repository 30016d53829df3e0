//! Whole networks: the zoo, drawn cells of each space.

use archai_search::space::{SearchSpace, Space as Searched, shipped_names, shipped_text};
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::{ModelDesc, OpCatalog, build, zoo};
use archai_spec::finalize::Supernet;
use archai_spec::rng::Key;
use archai_spec::settings::{ModelDescSettings, StemWiring};
use archai_spec::spaces::{DartsSpace, NasBench201Space, Space};

use crate::support::{Rng, cifar, difference};

/// The largest difference that single precision explains in networks of this depth.
const TOLERANCE: f64 = 2e-5;

fn check(what: &str, desc: &ModelDesc, n: usize) {
    let graph = desc.lower(&OpCatalog::builtin()).unwrap();
    let found = difference(&graph, n, 7);
    assert!(found < TOLERANCE, "{what}: {found:e}");
}

fn nasbench201(size: [usize; 2]) -> ModelDescSettings {
    let mut s = cifar(5, 2, 6, size);
    s.cell.n_nodes = 3;
    s.max_final_edges = 3;
    s.model_post_op = "bnrelu_pool_avg2d".into();
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.cell.cell_post_op = "identity".into();
    s
}

#[test]
fn the_zoo_at_small_sizes() {
    for name in zoo::names() {
        let size = if name.starts_with("vgg") {
            [32, 32]
        } else {
            [16, 16]
        };
        let mut settings = cifar(5, 2, 6, size);
        // Whole networks have widths of their own; a few of these are too much for plain loops.
        if zoo::genotype(name).is_none()
            && !matches!(name, "resnet20" | "mobilenet_v2" | "densenet_bc_100_12")
        {
            continue;
        }
        settings.max_final_edges = 2;
        let builder = zoo::builder(name).unwrap();
        let built = build(&*builder, &settings, None, true, &OpCatalog::builtin());
        let desc = built.unwrap_or_else(|e| panic!("{name}: {e}")).desc;
        check(name, &desc, 2);
    }
}

#[test]
fn drawn_cells_of_darts_and_of_nasbench201() {
    let catalog = OpCatalog::builtin();
    let sizes = [[16, 16], [12, 20], [8, 8]];
    for (i, channels) in [6, 3, 8, 9, 4, 12].into_iter().enumerate() {
        let size = sizes[i % sizes.len()];
        let mut darts = cifar(5, 2, channels, size);
        darts.cell.n_nodes = 3;
        let cases: [(&dyn Space, ModelDescSettings); 2] =
            [(&DartsSpace, darts), (&NasBench201Space, nasbench201(size))];
        for (space, settings) in cases {
            let what = format!("{} {i} at {size:?}", space.name());
            let built = match space.supernet(&settings, &catalog) {
                Ok(built) => built,
                Err(e) => panic!("{what}: {e}"),
            };
            let supernet = Supernet::new(&built.desc, &catalog);
            let desc = space.draw(supernet, &Key::new(3).with(i as u64)).unwrap();
            check(&what, &desc, 3);
        }
    }
}

#[test]
fn members_of_shipped_spaces_of_discrete_search() {
    let catalog = OpCatalog::builtin();
    for (name, _) in shipped_names() {
        let text = shipped_text(name).unwrap();
        let text = text
            .replace("size: [32, 32]", "size: [8, 8]")
            .replace("size: [224, 224]", "size: [32, 32]")
            .replace("classes: 1000", "classes: 10");
        let space = Searched::parse(name, &text).unwrap_or_else(|e| panic!("{e}"));
        for i in 0..3u64 {
            let member = space.sample(Key::new(i).with(name)).unwrap();
            let desc = space.describe(&member).unwrap_or_else(|e| panic!("{e}"));
            desc.check(&catalog).unwrap_or_else(|e| panic!("{e}"));
            check(&format!("{name} {i}"), &desc, 2);
        }
    }
}

#[test]
fn drawn_cells_of_nasbench101() {
    let catalog = OpCatalog::builtin();
    let mut rng = Rng(11);
    for i in 0..8 {
        let cell = Cell101::random(|n| rng.below(n as usize) as u32).unwrap();
        let mut settings = cifar(5, 2, 8 + 2 * i, [12, 12]);
        settings.model_stems.ops = ["stem_conv3x3Relu".into(), "stem_conv3x3Relu".into()];
        settings.model_stems.stem_multiplier = 1;
        settings.model_stems.wiring = StemWiring::Shared;
        settings.model_post_op = "pool_mean_tensor".into();
        settings.cell.cell_post_op = "identity".into();
        let builder = NasBench101Builder { cell: Some(cell) };
        let built = build(&builder, &settings, None, true, &catalog).unwrap();
        check(&format!("NAS-Bench-101 {i}"), &built.desc, 2);
    }
}
