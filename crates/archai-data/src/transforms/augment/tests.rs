//! Ops and policies beside Pillow, on the same draws (`scripts/augmentations.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use archai_spec::settings::{Aug, AugName, AugOp, AugStep};
use flate2::Crc;
use serde_json::{Value, json};

use super::Chance;
use super::op::{Kind, MIXED, Op, USUAL, WIDE, range};
use super::policy::{Plan, Policy};
use super::raster::Raster;
use crate::rng::Key;

fn cases(name: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/augment");
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

/// The computed picture of the script.
fn picture(mode: &Value) -> Raster {
    let (height, width) = (19, 23);
    let channels = if mode == "RGB" { 3 } else { 1 };
    let mut bytes = Vec::new();
    for c in 0..channels {
        for y in 0..height {
            bytes.extend((0..width).map(|x| match c {
                0 => (20 + (37 * x + 11 * y * y) % 200) as u8,
                1 => (5 + 200 * x / width) as u8,
                _ => ((x * y * 91 + 7 * y) % 256) as u8,
            }));
        }
    }
    Raster {
        bytes,
        channels,
        height,
        width,
    }
}

fn crc(picture: &Raster) -> u64 {
    let mut crc = Crc::new();
    crc.update(&picture.bytes);
    crc.sum().into()
}

fn apply(picture: &mut Raster, op: &str, args: &[f64]) {
    let mut spare = Vec::new();
    let whole = |i: usize| args[i] as usize;
    match op {
        "shear_x" => Op::ShearX(args[0]).apply(picture, &mut spare),
        "shear_y" => Op::ShearY(args[0]).apply(picture, &mut spare),
        "translate_x" => Op::TranslateX(args[0]).apply(picture, &mut spare),
        "translate_y" => Op::TranslateY(args[0]).apply(picture, &mut spare),
        "rotate" => Op::Rotate(args[0]).apply(picture, &mut spare),
        "auto_contrast" => Op::AutoContrast.apply(picture, &mut spare),
        "invert" => Op::Invert.apply(picture, &mut spare),
        "equalize" => Op::Equalize.apply(picture, &mut spare),
        "solarize" => Op::Solarize(args[0]).apply(picture, &mut spare),
        "posterize" => Op::Posterize(args[0] as u32).apply(picture, &mut spare),
        "contrast" => Op::Contrast(args[0]).apply(picture, &mut spare),
        "color" => Op::Color(args[0]).apply(picture, &mut spare),
        "brightness" => Op::Brightness(args[0]).apply(picture, &mut spare),
        "sharpness" => Op::Sharpness(args[0]).apply(picture, &mut spare),
        "cutout" => {
            Op::Cutout([whole(0), whole(1)], [whole(2), whole(3)]).apply(picture, &mut spare)
        }
        "hue" => picture.hue(args[0] as u8),
        "affine" => picture.affine(std::array::from_fn(|i| args[i]), &mut spare),
        other => panic!("{other}"),
    }
}

#[test]
fn every_op_gives_the_bytes_of_pillow() {
    let mut failed = BTreeMap::new();
    let mut ops = BTreeSet::new();
    for case in cases("ops.json") {
        let (op, args) = (case["op"].as_str().unwrap(), &case["args"]);
        let args: Vec<f64> = serde_json::from_value(args.clone()).unwrap();
        let mut found = match op {
            "hue of all colours" => Raster {
                bytes: [16, 8, 0]
                    .map(|s| (0..1 << 24).map(move |i: u32| (i >> s) as u8))
                    .into_iter()
                    .flatten()
                    .collect(),
                channels: 3,
                height: 4096,
                width: 4096,
            },
            _ => picture(&case["mode"]),
        };
        let op = if op == "hue of all colours" {
            "hue"
        } else {
            op
        };
        apply(&mut found, op, &args);
        let is_equal = match (&case["crc"], &case["pixels"]) {
            (Value::Number(expect), _) => crc(&found) == expect.as_u64().unwrap(),
            (_, pixels) => {
                let hex: String = found
                    .bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                hex == pixels.as_str().unwrap()
            }
        };
        if !is_equal {
            let place = format!(
                "{op} {args:?} {} {}",
                case["mode"],
                case["pixels"].is_null()
            );
            failed.insert(place, ());
        }
        ops.insert(op.to_owned());
    }
    assert_eq!(ops.len(), 17);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Draws from lists.
struct Listed(Vec<f64>, Vec<f64>);

impl Chance for Listed {
    fn unit(&mut self) -> f64 {
        self.0.remove(0)
    }
    fn gamma(&mut self, _: f64) -> f64 {
        self.1.remove(0)
    }
}

fn policy(aug: impl Into<Value>) -> Policy {
    let aug: Aug = serde_json::from_value(aug.into()).unwrap();
    Policy::new(&aug).unwrap()
}

#[test]
fn every_policy_gives_the_bytes_of_pillow_on_the_same_draws() {
    let mut names = BTreeSet::new();
    let mut changed = 0;
    for case in cases("policies.json") {
        let list = |name: &str| serde_json::from_value(case[name].clone()).unwrap();
        let mut found = picture(&case["mode"]);
        let before = found.clone();
        let size = [found.height, found.width];
        let plan =
            policy(case["aug"].clone()).plan(size, &mut Listed(list("units"), list("gammas")));
        plan.apply(&mut found, &mut Vec::new());
        let place = format!("{} {}: {plan:?}", case["name"], case["mode"]);
        assert_eq!(crc(&found), case["crc"].as_u64().unwrap(), "{place}");
        changed += usize::from(found != before);
        names.insert(case["name"].to_string());
    }
    assert_eq!(names.len(), 14);
    assert!(changed > 100, "{changed}");
}

#[test]
fn every_step_of_the_tables_is_within_its_range() {
    let counts = [
        ("autoaugment_cifar10", 25),
        ("autoaugment_imagenet", 25),
        ("autoaugment_svhn", 25),
        ("autoaug_extend", 95),
        ("fa_reduced_cifar10", 493),
        ("fa_reduced_imagenet", 498),
        ("fa_reduced_svhn", 497),
        ("arsaug", 35),
    ];
    let share = |v: f64| (0.0..=1.0).contains(&v);
    for (name, n) in counts {
        match policy(name) {
            Policy::Auto(table) => {
                assert_eq!(table.len(), n, "{name}");
                for (kind, p, bin) in table.iter().flatten() {
                    assert!(share(*p) && *bin < 10, "{name} {kind:?} {p} {bin}");
                }
            }
            Policy::Archai(table) => {
                assert_eq!(table.len(), n, "{name}");
                for AugStep(op, p, level) in table.iter().flatten() {
                    assert!(share(*p), "{name} {op:?} {p}");
                    // Archai notes levels for ops, too, that have none.
                    if !matches!(op, AugOp::AutoContrast | AugOp::Invert | AugOp::Equalize) {
                        let (low, high) = range(*op);
                        let v = level * (high - low) + low;
                        let is_within = (low - 1e-9..=high + 1e-9).contains(&v);
                        assert!(is_within && share(*level), "{name} {op:?} {level}");
                    }
                }
            }
            other => panic!("{name} is {other:?}"),
        }
    }
    // The first and the last step of a published table.
    let Policy::Auto(table) = policy("autoaugment_imagenet") else {
        panic!()
    };
    assert_eq!(
        table[0],
        [(Kind::Posterize, 0.4, 8), (Kind::Rotate, 0.6, 9)]
    );
    assert_eq!(
        table[24],
        [(Kind::Equalize, 0.8, 0), (Kind::Equalize, 0.6, 0)]
    );
    let Policy::Archai(table) = policy("arsaug") else {
        panic!()
    };
    assert_eq!(table[0][0], AugStep(AugOp::Solarize, 0.66, 0.34));
    // Names without options are those with the defaults.
    for name in ["randaugment", "trivialaugment", "augmix"] {
        assert_eq!(
            format!("{:?}", policy(name)),
            format!("{:?}", policy(json!({name: {}})))
        );
    }
    assert!(serde_json::from_value::<AugName>(json!("fastaugment")).is_err());
}

#[test]
fn magnitudes_are_those_of_torchvision() {
    let check = |kind: Kind, space, bin, bins, expect: f64| {
        let found = kind.magnitude(space, bin, bins, [100, 200]);
        assert!(
            (found - expect).abs() < 1e-5,
            "{kind:?} {bin}/{bins}: {found}"
        );
    };
    check(Kind::ShearX, &USUAL, 9, 10, 0.3);
    check(Kind::ShearX, &WIDE, 30, 31, 0.99);
    check(Kind::TranslateX, &USUAL, 9, 10, 200.0 * 150.0 / 331.0);
    check(Kind::TranslateY, &USUAL, 9, 10, 100.0 * 150.0 / 331.0);
    check(Kind::TranslateY, &WIDE, 15, 31, 16.0);
    check(Kind::TranslateX, &MIXED, 9, 10, 200.0 / 3.0);
    check(Kind::Rotate, &WIDE, 20, 31, 90.0);
    check(Kind::Brightness, &USUAL, 3, 10, 0.3);
    check(Kind::Solarize, &USUAL, 0, 10, 255.0);
    check(Kind::Solarize, &USUAL, 9, 10, 0.0);
    let bits = |space, bins| -> Vec<f64> {
        (0..bins)
            .map(|bin| Kind::Posterize.magnitude(space, bin, bins, [1, 1]))
            .collect()
    };
    assert_eq!(
        bits(&USUAL, 10),
        [8.0, 8.0, 7.0, 7.0, 6.0, 6.0, 5.0, 5.0, 4.0, 4.0]
    );
    assert_eq!(
        bits(&MIXED, 10),
        [4.0, 4.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 0.0, 0.0]
    );
    assert_eq!((bits(&WIDE, 31)[0], bits(&WIDE, 31)[30]), (8.0, 2.0));
}

#[test]
fn every_op_comes_as_often_as_it_should() {
    let mut counts = BTreeMap::new();
    let random = policy("randaugment");
    for i in 0..7000u64 {
        let Plan::Chain(ops) = random.plan([32, 32], &mut Key::new(i).rng()) else {
            panic!()
        };
        assert_eq!(ops.len(), 2);
        for op in ops {
            let name = format!("{op:?}");
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    // 1000 each of 14 kinds; nine of them have two signs.
    assert_eq!(counts.len(), 14 + 9);
    for (name, n) in counts {
        assert!(
            (400..600).contains(&n) || (850..1150).contains(&n),
            "{name} {n}"
        );
    }
    // Weights of a mixture are shares of 1.
    for i in 0..100u64 {
        let Plan::Mix(own, chains) = policy("augmix").plan([32, 32], &mut Key::new(i).rng()) else {
            panic!()
        };
        let sum: f64 = own + chains.iter().map(|(weight, _)| weight).sum::<f64>();
        assert!((sum - 1.0).abs() < 1e-12 && chains.len() == 3);
        assert!(chains.iter().all(|(_, ops)| (1..=3).contains(&ops.len())));
    }
}
