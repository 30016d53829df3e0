//! The zoo: parameter counts against the published ones.

use std::collections::HashSet;

use archai_spec::desc::{Built, DescErrorKind, ModelDesc, OpCatalog, build, zoo};
use archai_spec::settings::{ModelDescSettings, StemWiring};

use super::golden::read;
use super::{cifar, imagenet};

fn built(name: &str, settings: &ModelDescSettings) -> Built {
    let builder = zoo::builder(name).unwrap_or_else(|| panic!("no {name}"));
    build(&*builder, settings, None, true, &OpCatalog::builtin())
        .unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn params(desc: &ModelDesc) -> u64 {
    desc.cost(&OpCatalog::builtin())
        .unwrap()
        .total(false)
        .params
}

#[test]
fn published_counts_on_imagenet() {
    let s = imagenet(14, 48);
    for (name, published) in [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("vgg11_bn", 132_868_840),
        ("vgg13_bn", 133_053_736),
        ("vgg16_bn", 138_365_992),
        ("vgg19_bn", 143_678_248),
        ("densenet121", 7_978_856),
        ("mobilenet_v2", 3_504_872),
    ] {
        let desc = built(name, &s).desc;
        assert_eq!(params(&desc), published, "{name}");
        let last = desc.cells.last().unwrap().out;
        let size = if name.starts_with("vgg") { 1 } else { 7 };
        assert_eq!((last.height, last.width), (size, size), "{name}");
    }
    // Multiply-adds in millions, as published for 224 pixels.
    for (name, millions) in [
        ("resnet18", 1814),
        ("resnet50", 4089),
        ("mobilenet_v2", 300),
    ] {
        let cost = built(name, &s).desc.cost(&OpCatalog::builtin()).unwrap();
        let found = cost.total(false).macs as f64 / 1e6;
        assert!((found - f64::from(millions)).abs() < 2.0, "{name}: {found}");
    }
}

#[test]
fn published_counts_on_cifar() {
    let s = cifar(20, 2, 4, 36);
    for (name, published) in [
        // The paper gives 0.27, 0.46, 0.66, 0.85 and 1.7 million.
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet110", 1_727_962),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("resnet50", 23_520_842),
        // With the biases that norms make void, the count usual for this variant is 14,728,266.
        ("vgg16_bn", 14_728_266 - 4_224),
        ("densenet_bc_100_12", 769_162),
        // ImageNet's, with the classifier of ten classes.
        ("mobilenet_v2", 3_504_872 - 1281 * 1000 + 1281 * 10),
        ("wide_resnet_28_10", 36_479_194),
        ("wide_resnet_16_4", 2_748_890),
        ("wide_resnet_40_2", 2_243_546),
    ] {
        assert_eq!(params(&built(name, &s).desc), published, "{name}");
    }
}

/// He et al. 2016a, §4.2: a 3×3 convolution, 2n of them per stage, a classifier; norms after all; free shortcuts.
#[test]
fn the_small_resnets_follow_their_formula() {
    let s = cifar(20, 2, 4, 36);
    let conv = |from: u64, to: u64| 9 * from * to + 2 * to;
    for (name, n) in [("resnet20", 3), ("resnet110", 18)] {
        let stage = |c: u64, from: u64| conv(from, c) + (2 * n - 1) * conv(c, c);
        let formula = conv(3, 16) + stage(16, 16) + stage(32, 16) + stage(64, 32) + 64 * 10 + 10;
        assert_eq!(params(&built(name, &s).desc), formula, "{name}");
    }
}

#[test]
fn published_cells_are_the_references() {
    let golden = read("eval_net.json");
    // The original code's network: one stem for both inputs.
    let mut s = cifar(20, 2, 4, 36);
    s.model_stems.wiring = StemWiring::Shared;
    for (name, key) in [
        ("darts_v1", "DARTS_V1"),
        ("darts_v2", "DARTS_V2"),
        ("nasnet_a", "NASNet"),
        ("amoebanet_a", "AmoebaNet"),
    ] {
        let genotype = zoo::genotype(name).unwrap();
        let wanted = serde_json::from_value(golden["genotypes"][key].clone()).unwrap();
        assert_eq!(genotype, wanted, "{name}");
        let desc = built(name, &s).desc;
        assert_eq!(desc.genotype().unwrap(), genotype, "{name}");
        let count = match key {
            "DARTS_V1" => 3_169_414,
            "DARTS_V2" => 3_349_342,
            "NASNet" => 3_830_950,
            _ => 3_145_078,
        };
        assert_eq!(params(&desc), count, "{name}");
    }
    // Published with two digits behind the point: 3.63 million with 36 channels and 20 cells.
    let found = params(&built("pc_darts_cifar", &s).desc);
    assert_eq!((found as f64 / 1e4).round(), 363.0, "{found}");
}

#[test]
fn every_name_builds_for_every_data_set() {
    let catalog = OpCatalog::builtin();
    let names: Vec<&str> = zoo::names().collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    let mut grey = cifar(20, 2, 4, 36);
    (grey.dataset.channels, grey.dataset.n_classes) = (1, 7);
    let mut tiny = cifar(20, 2, 4, 36);
    (tiny.dataset.size, tiny.dataset.n_classes) = ([64, 64], 200);
    let mut large = imagenet(14, 48);
    large.model_post_op = "pool_adaptive_avg2d".into();
    for name in names {
        assert!(!zoo::about(name).unwrap().is_empty());
        for settings in [&grey, &tiny, &large] {
            let built = built(name, settings);
            let desc = &built.desc;
            assert_eq!(desc.input.channels, settings.dataset.channels);
            assert_eq!(desc.n_classes, settings.dataset.n_classes);
            let again = ModelDesc::from_yaml(&desc.to_yaml().unwrap(), "z.yaml", &catalog).unwrap();
            assert_eq!(again, *desc, "{name}");
            if zoo::genotype(name).is_none() {
                assert!(
                    built.notes[0].contains("`n_cells`"),
                    "{name}: {:?}",
                    built.notes
                );
                assert!(!desc.has_alphas());
            }
        }
    }
    assert!(zoo::builder("nope").is_none() && zoo::about("nope").is_none());
    // Its own description is a template for other data; another's, or an edited one, is none.
    let template = built("resnet20", &grey).desc;
    let mut coloured = grey.clone();
    (coloured.dataset.channels, coloured.dataset.n_classes) = (3, 17);
    let own = zoo::builder("resnet20").unwrap();
    let again = build(&*own, &coloured, Some(&template), true, &catalog).unwrap();
    assert_eq!(again.desc, built("resnet20", &coloured).desc);
    let mut edited = template.clone();
    edited.cells[1].nodes.swap(0, 1);
    let other = zoo::builder("resnet32").unwrap();
    for (builder, template) in [(&other, &template), (&own, &edited)] {
        let e = build(&**builder, &grey, Some(template), true, &catalog).unwrap_err();
        assert_eq!(e.0[0].kind, DescErrorKind::Template);
    }
    let mut minute = grey;
    minute.dataset.size = [16, 16];
    let builder = zoo::builder("vgg11_bn").unwrap();
    let e = build(&*builder, &minute, None, true, &catalog).unwrap_err();
    assert!(e.to_string().contains("2×2 window does not fit"), "{e}");
}
