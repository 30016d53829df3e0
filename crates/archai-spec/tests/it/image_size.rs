//! Settings that follow from the size of images.

use archai_spec::config::{ConfigLoader, Schema};
use archai_spec::desc::nasbench201::Cell201;
use archai_spec::desc::{Built, DescErrors, OpCatalog, build, zoo};
use archai_spec::settings::{ForSize, Settings};
use archai_spec::spaces;

use crate::config::files;

#[test]
fn maps_are_of_one_size_whatever_the_image() {
    for height in 12..513 {
        for width in [height, height + height / 3, 2 * height] {
            let size = [height, width];
            let chosen = ForSize::of(size);
            let [first, last] = chosen.maps(size);
            assert_eq!(chosen.n_reductions, 2, "{size:?}");
            let area = first[0] * first[1];
            let is_usual = (16 * 16..=49 * 49).contains(&area);
            // No stride is smaller than 1 or larger than 8.
            assert!(
                is_usual || height < 24 || chosen.stem_stride == 8,
                "{size:?}: {first:?}"
            );
            assert!(last[0] >= 3, "{size:?}: {last:?}");
        }
    }
    for (size, stride, reductions, tower) in [
        ([16, 16], 1, 2, 2),
        ([28, 28], 1, 2, 2),
        ([32, 32], 1, 2, 3),
        ([30, 42], 1, 2, 3),
        ([47, 47], 1, 2, 3),
        ([48, 48], 2, 2, 2),
        ([48, 64], 2, 2, 2),
        ([64, 64], 2, 2, 3),
        ([96, 96], 4, 2, 2),
        ([128, 128], 4, 2, 2),
        ([192, 192], 8, 2, 2),
        ([224, 224], 8, 2, 2),
        ([512, 512], 8, 2, 2),
        ([1, 1], 1, 0, 2),
        ([7, 7], 1, 1, 2),
        ([11, 400], 1, 1, 2),
        ([24, 4000], 2, 2, 2),
        ([usize::MAX, usize::MAX], 8, 2, 2),
    ] {
        let found = ForSize::of(size);
        let found = (
            found.stem_stride,
            found.n_reductions,
            found.aux_tower_stride,
        );
        assert_eq!(found, (stride, reductions, tower), "{size:?}");
    }
}

/// Settings of networks for images of a size, in a space.
fn settings(size: [usize; 2], space: &str) -> Settings {
    let [height, width] = size;
    let network = ForSize::of(size)
        .yaml()
        .unwrap_or_else(|| "{}\n".to_string());
    let size = format!("dataset: {{size: [{height}, {width}]}}\n");
    // Cutout has no part in the network.
    let cutout = "nas: {search: {loader: {cutout: 0}}, eval: {loader: {cutout: 0}}}\n";
    let source = files(&[
        ("network.yaml", &network),
        ("size.yaml", &size),
        ("cutout.yaml", cutout),
    ]);
    let spaces = spaces::builtin();
    let source = spaces::files(&spaces, &source);
    ConfigLoader::new(&source)
        .files("archai:algos/common.yaml")
        .dataset("archai:datasets/cifar10.yaml")
        .files("network.yaml; size.yaml; cutout.yaml")
        // A space has stems of its own.
        .files(space)
        .load(&Schema::settings())
        .unwrap()
        .settings()
        .unwrap()
}

/// Height and width; some sides are odd before a reduction.
const SIZES: [[usize; 2]; 14] = [
    [16, 16],
    [28, 28],
    [32, 32],
    [48, 48],
    [64, 64],
    [96, 96],
    [128, 128],
    [224, 224],
    [512, 512],
    [48, 64],
    [30, 42],
    [31, 17],
    [75, 110],
    [16, 100],
];

#[test]
fn networks_of_every_space_are_built_for_every_size() {
    let catalog = OpCatalog::builtin();
    let lowered = |what: &str, size, built: Result<Built, DescErrors>| {
        let built = built.unwrap_or_else(|e| panic!("{what} for {size:?}: {e}"));
        let graph = built.desc.lower(&catalog);
        graph.unwrap_or_else(|e| panic!("{what} for {size:?}: {e}"));
        built.desc
    };
    for size in SIZES {
        for space in spaces::builtin().iter() {
            let settings = settings(size, &spaces::file(space.as_ref()));
            let (search, eval) = (
                &settings.nas.search.model_desc,
                &settings.nas.eval.model_desc,
            );
            let supernet = build(space.builder(), search, None, false, &catalog);
            lowered(space.name(), size, supernet);
            if space.name() == spaces::NASBENCH201 {
                let cell: Cell201 = "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|none~0|nor_conv_1x1~1|nor_conv_3x3~2|"
                    .parse()
                    .unwrap();
                let found = cell.to_desc(search, &catalog).unwrap().desc;
                let scaled = build(space.builder(), eval, Some(&found), true, &catalog);
                lowered(space.name(), size, scaled);
            }
        }
    }
}

/// A network that cannot take a size says which ones it takes, whatever is asked of it.
#[test]
fn published_networks_take_a_size_or_say_which() {
    let catalog = OpCatalog::builtin();
    for size in SIZES {
        let mut settings = settings(size, "");
        // Whole networks have no tower.
        settings.nas.eval.model_desc.aux_weight = 0.0;
        let settings = &settings.nas.eval.model_desc;
        for name in zoo::names() {
            let builder = zoo::builder(name).unwrap();
            let built = build(&*builder, settings, None, true, &catalog);
            // Five halvings, each rounded down; the stem for large images rounds up twice.
            let least = match name {
                _ if name.starts_with("vgg") => 32,
                "densenet121" if size[1] > 64 => 29,
                _ => 1,
            };
            if size.iter().all(|side| *side >= least) {
                let built = built.unwrap_or_else(|e| panic!("{name} for {size:?}: {e}"));
                let graph = built.desc.lower(&catalog);
                graph.unwrap_or_else(|e| panic!("{name} for {size:?}: {e}"));
                continue;
            }
            let error = built.expect_err(name).to_string();
            let says = format!("`{name}` takes images of {least}×{least} pixels and more");
            assert!(error.contains(&says), "{size:?}: {error}");
        }
    }
}

/// What is chosen for 32 pixels are the shipped defaults, and what is written for other sizes is read back as chosen.
#[test]
fn what_is_written_is_what_was_chosen() {
    assert_eq!(ForSize::of([32, 32]).yaml(), None);
    for size in [[32, 32], [16, 20], [64, 64], [128, 96], [224, 224], [8, 8]] {
        let chosen = ForSize::of(size);
        let text = chosen.yaml().unwrap_or_else(|| "{}\n".to_string());
        let source = files(&[("size.yaml", &text)]);
        let settings: Settings = ConfigLoader::new(&source)
            .files("archai:algos/common.yaml")
            .dataset("archai:datasets/cifar10.yaml")
            .files("size.yaml")
            .load(&Schema::settings())
            .unwrap()
            .settings()
            .unwrap();
        for desc in [
            &settings.nas.search.model_desc,
            &settings.nas.eval.model_desc,
        ] {
            let stems = &desc.model_stems;
            let found = ForSize {
                stem_stride: chosen.stem_stride,
                stem_multiplier: stems.stem_multiplier,
                n_reductions: desc.n_reductions,
                aux_tower_stride: desc.aux_tower_stride,
                aux_tower_second_norm: desc.aux_tower_second_norm,
                ..chosen
            };
            assert_eq!(found, chosen, "{size:?}");
            assert_eq!(stems.ops, chosen.stems, "{size:?}");
            assert_eq!(desc.model_post_op, chosen.pool, "{size:?}");
        }
    }
}
