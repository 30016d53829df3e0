//! Augmentation policies: which ops an image goes through. What is random is drawn first, in a fixed order, so that a policy
//! can be compared with another program's on the same draws.

use archai_spec::settings::{
    Aug, AugMix, AugName, AugOp, AugStep, AugWith, RandAugment, TrivialAugment,
};
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::Chance;
use super::op::{Kind, MIXED, Op, Space, USUAL, WIDE};
use super::raster::Raster;

/// The tables that others published.
const TABLES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/policies.txt"));

/// Ops of torchvision's RandAugment and TrivialAugment, in its order.
const RANDOM: [Kind; 14] = [
    Kind::Identity,
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateX,
    Kind::TranslateY,
    Kind::Rotate,
    Kind::Brightness,
    Kind::Color,
    Kind::Contrast,
    Kind::Sharpness,
    Kind::Posterize,
    Kind::Solarize,
    Kind::AutoContrast,
    Kind::Equalize,
];

/// Ops of torchvision's AugMix, in its order.
const CHAINED: [Kind; 13] = [
    Kind::ShearX,
    Kind::ShearY,
    Kind::TranslateX,
    Kind::TranslateY,
    Kind::Rotate,
    Kind::Posterize,
    Kind::Solarize,
    Kind::AutoContrast,
    Kind::Equalize,
    Kind::Brightness,
    Kind::Color,
    Kind::Contrast,
    Kind::Sharpness,
];

/// Magnitudes of AutoAugment and of AugMix.
const TEN: u32 = 10;

/// A step of AutoAugment: op, probability, and the number of the magnitude among ten.
type Tenth = (Kind, f64, u32);

/// A policy that is ready to use.
#[derive(Clone, Debug)]
pub(crate) enum Policy {
    /// Of torchvision's AutoAugment.
    Auto(Vec<[Tenth; 2]>),
    /// Of Archai, or of the user's own.
    Archai(Vec<Vec<AugStep>>),
    Rand(RandAugment),
    Trivial(TrivialAugment),
    Mix(AugMix),
}

/// What one image goes through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    /// One op after the other.
    Chain(Vec<Op>),
    /// The weight of the image itself, and chains with theirs.
    Mix(f64, Vec<(f64, Vec<Op>)>),
}

impl Policy {
    pub(crate) fn new(aug: &Aug) -> Result<Policy, String> {
        Ok(match aug {
            Aug::List(list) => Policy::Archai(list.clone()),
            Aug::With(AugWith::Randaugment(options)) => Policy::Rand(*options),
            Aug::With(AugWith::Trivialaugment(options)) => Policy::Trivial(*options),
            Aug::With(AugWith::Augmix(options)) => Policy::Mix(*options),
            Aug::Named(AugName::Randaugment) => Policy::Rand(RandAugment::default()),
            Aug::Named(AugName::Trivialaugment) => Policy::Trivial(TrivialAugment::default()),
            Aug::Named(AugName::Augmix) => Policy::Mix(AugMix::default()),
            Aug::Named(AugName::AutoaugmentCifar10) => auto("autoaugment_cifar10")?,
            Aug::Named(AugName::AutoaugmentImagenet) => auto("autoaugment_imagenet")?,
            Aug::Named(AugName::AutoaugmentSvhn) => auto("autoaugment_svhn")?,
            Aug::Named(AugName::AutoaugExtend) => archai("autoaug_extend")?,
            Aug::Named(AugName::FaReducedCifar10) => archai("fa_reduced_cifar10")?,
            Aug::Named(AugName::FaReducedImagenet) => archai("fa_reduced_imagenet")?,
            Aug::Named(AugName::FaReducedSvhn) => archai("fa_reduced_svhn")?,
            Aug::Named(AugName::Arsaug) => archai("arsaug")?,
        })
    }

    /// What an image of this height and width goes through.
    pub(crate) fn plan(&self, size: [usize; 2], chance: &mut dyn Chance) -> Plan {
        match self {
            Policy::Auto(table) => {
                let steps = &table[below(table.len(), chance)];
                let probabilities = [chance.unit(), chance.unit()];
                let signs = [below(2, chance), below(2, chance)];
                let mut ops = Vec::new();
                for (i, (kind, p, bin)) in steps.iter().enumerate() {
                    if probabilities[i] <= *p {
                        let magnitude = kind.magnitude(&USUAL, *bin, TEN, size);
                        let is_mirrored = kind.is_signed() && signs[i] == 0;
                        ops.push(kind.op(if is_mirrored { -magnitude } else { magnitude }));
                    }
                }
                Plan::Chain(ops)
            }
            Policy::Archai(table) => {
                let mut ops = Vec::new();
                for AugStep(op, p, level) in &table[below(table.len(), chance)] {
                    if chance.unit() <= *p {
                        ops.push(Op::of_archai(*op, *level, size, chance));
                    }
                }
                Plan::Chain(ops)
            }
            Policy::Rand(RandAugment { n, m, bins }) => {
                let op = |_| random(&RANDOM, &USUAL, size, *bins, &mut |_| *m, chance);
                Plan::Chain((0..*n).map(op).collect())
            }
            Policy::Trivial(TrivialAugment { bins }) => {
                let mut any = |chance: &mut dyn Chance| below(*bins as usize, chance) as u32;
                Plan::Chain(vec![random(&RANDOM, &WIDE, size, *bins, &mut any, chance)])
            }
            Policy::Mix(options) => mix(*options, size, chance),
        }
    }
}

fn mix(options: AugMix, size: [usize; 2], chance: &mut dyn Chance) -> Plan {
    let AugMix {
        severity,
        width,
        depth,
        alpha,
    } = options;
    let own = dirichlet(alpha, 2, chance);
    let weights = dirichlet(alpha, width as usize, chance);
    let mut low = |chance: &mut dyn Chance| below(severity as usize, chance) as u32;
    let chains = weights.into_iter().map(|weight| {
        let depth = match usize::try_from(depth) {
            Ok(depth) => depth,
            Err(_) => 1 + below(3, chance),
        };
        let op = |_| random(&CHAINED, &MIXED, size, TEN, &mut low, chance);
        (weight * own[1], (0..depth).map(op).collect())
    });
    let chains = chains.collect();
    Plan::Mix(own[0], chains)
}

/// One of several kinds, each as likely, with a magnitude and its sign.
fn random(
    kinds: &[Kind],
    space: &Space,
    size: [usize; 2],
    bins: u32,
    bin: &mut dyn FnMut(&mut dyn Chance) -> u32,
    chance: &mut dyn Chance,
) -> Op {
    let kind = kinds[below(kinds.len(), chance)];
    if !kind.has_magnitude() {
        return kind.op(0.0);
    }
    let magnitude = kind.magnitude(space, bin(chance), bins, size);
    let is_mirrored = kind.is_signed() && below(2, chance) == 1;
    kind.op(if is_mirrored { -magnitude } else { magnitude })
}

/// A whole number below `n`, each as likely.
pub(crate) fn below(n: usize, chance: &mut dyn Chance) -> usize {
    ((chance.unit() * n as f64) as usize).min(n.saturating_sub(1))
}

/// Shares of 1 of the symmetric Dirichlet distribution.
fn dirichlet(alpha: f64, n: usize, chance: &mut dyn Chance) -> Vec<f64> {
    let drawn: Vec<f64> = (0..n).map(|_| chance.gamma(alpha)).collect();
    let sum: f64 = drawn.iter().sum();
    // Parameters so small that nothing differs from 0 share equally.
    let share = |v: &f64| if sum > 0.0 { v / sum } else { 1.0 / n as f64 };
    drawn.iter().map(share).collect()
}

impl Plan {
    pub(crate) fn apply(&self, picture: &mut Raster, spare: &mut Vec<u8>) {
        match self {
            Plan::Chain(ops) => ops.iter().for_each(|op| op.apply(picture, spare)),
            Plan::Mix(own, chains) => {
                let own = *own as f32;
                let mut sum: Vec<f32> = picture.bytes.iter().map(|b| own * f32::from(*b)).collect();
                for (weight, ops) in chains {
                    let mut changed = picture.clone();
                    ops.iter().for_each(|op| op.apply(&mut changed, spare));
                    let weight = *weight as f32;
                    for (sum, byte) in sum.iter_mut().zip(&changed.bytes) {
                        *sum += weight * f32::from(*byte);
                    }
                }
                for (byte, sum) in picture.bytes.iter_mut().zip(sum) {
                    *byte = sum as u8;
                }
            }
        }
    }
}

/// The steps of a table: op, probability, level.
fn table(name: &str) -> Result<Vec<Vec<[&'static str; 3]>>, String> {
    let mut lines = TABLES
        .lines()
        .skip_while(|line| line.split_once(' ').is_none_or(|(first, _)| first != name));
    let head = lines.next().and_then(|line| line.split_once(' '));
    let n: Option<usize> = head.and_then(|(_, n)| n.parse().ok());
    let n = n.ok_or_else(|| format!("the program has no table `{name}`"))?;
    let steps = |line: &'static str| {
        let words: Vec<&str> = line.split(' ').collect();
        let steps = words
            .chunks_exact(3)
            .map(|step| [step[0], step[1], step[2]]);
        steps.collect()
    };
    Ok(lines.take(n).map(steps).collect())
}

fn number(word: &str) -> Result<f64, String> {
    word.parse()
        .map_err(|e| format!("`{word}` in a table: {e}"))
}

fn archai(name: &str) -> Result<Policy, String> {
    let step = |[op, p, level]: [&'static str; 3]| -> Result<AugStep, String> {
        let found: Result<AugOp, serde::de::value::Error> =
            AugOp::deserialize(op.into_deserializer());
        let op = found.map_err(|e| format!("op `{op}` in table `{name}`: {e}"))?;
        Ok(AugStep(op, number(p)?, number(level)?))
    };
    let steps = |steps: Vec<_>| steps.into_iter().map(step).collect();
    let all: Result<_, String> = table(name)?.into_iter().map(steps).collect();
    Ok(Policy::Archai(all?))
}

fn auto(name: &str) -> Result<Policy, String> {
    let step = |[op, p, level]: [&'static str; 3]| -> Result<Tenth, String> {
        let kind = match op {
            "ShearX" => Kind::ShearX,
            "ShearY" => Kind::ShearY,
            "TranslateX" => Kind::TranslateX,
            "TranslateY" => Kind::TranslateY,
            "Rotate" => Kind::Rotate,
            "Brightness" => Kind::Brightness,
            "Color" => Kind::Color,
            "Contrast" => Kind::Contrast,
            "Sharpness" => Kind::Sharpness,
            "Posterize" => Kind::Posterize,
            "Solarize" => Kind::Solarize,
            "AutoContrast" => Kind::AutoContrast,
            "Equalize" => Kind::Equalize,
            "Invert" => Kind::Invert,
            other => {
                return Err(format!(
                    "op `{other}` in table `{name}` is none of torchvision's"
                ));
            }
        };
        let bin = match level {
            "-" => 0,
            level => number(level)? as u32,
        };
        Ok((kind, number(p)?, bin))
    };
    let mut all = Vec::new();
    for steps in table(name)? {
        match steps[..] {
            [first, second] => all.push([step(first)?, step(second)?]),
            _ => {
                return Err(format!(
                    "table `{name}` has a sub-policy that is not of two steps"
                ));
            }
        }
    }
    Ok(Policy::Auto(all))
}
