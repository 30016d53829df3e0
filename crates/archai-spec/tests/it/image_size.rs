//! Settings that follow from the size of images.

use archai_spec::config::{ConfigLoader, Schema};
use archai_spec::settings::{ForSize, Settings};

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
