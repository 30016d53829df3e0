//! The ops of augmentation policies with their numbers, and how levels become numbers: the ranges of torchvision's policies
//! and those of Archai.

use archai_spec::settings::AugOp;

use super::Chance;
use super::raster::Raster;

/// What is done with a picture, with all that was random about it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    /// x grows by this share of y: the picture's pixel is looked up further to the right, the lower it is.
    ShearX(f64),
    /// y grows by this share of x.
    ShearY(f64),
    /// Pixels are looked up so many columns to the right.
    TranslateX(f64),
    /// Pixels are looked up so many rows below.
    TranslateY(f64),
    /// Degrees against the clock.
    Rotate(f64),
    AutoContrast,
    Invert,
    Equalize,
    /// The lowest level that is inverted.
    Solarize(f64),
    /// Bits that are kept.
    Posterize(u32),
    Contrast(f64),
    Color(f64),
    Brightness(f64),
    Sharpness(f64),
    /// A rectangle from (top, left) to (bottom, right), which belong to it.
    Cutout([usize; 2], [usize; 2]),
    Identity,
}

/// Archai's colour of what is cut out.
const CUT: [u8; 3] = [125, 123, 114];

impl Op {
    pub(crate) fn apply(self, picture: &mut Raster, spare: &mut Vec<u8>) {
        match self {
            Op::ShearX(v) => picture.affine([1.0, v, 0.0, 0.0, 1.0, 0.0], spare),
            Op::ShearY(v) => picture.affine([1.0, 0.0, 0.0, v, 1.0, 0.0], spare),
            Op::TranslateX(v) => picture.affine([1.0, 0.0, v, 0.0, 1.0, 0.0], spare),
            Op::TranslateY(v) => picture.affine([1.0, 0.0, 0.0, 0.0, 1.0, v], spare),
            Op::Rotate(degrees) => picture.rotate(degrees, spare),
            Op::AutoContrast => picture.autocontrast(),
            Op::Invert => picture.invert(),
            Op::Equalize => picture.equalize(),
            Op::Solarize(threshold) => picture.solarize(threshold),
            Op::Posterize(bits) => picture.posterize(bits),
            Op::Contrast(factor) => picture.contrast(factor),
            Op::Color(factor) => picture.color(factor),
            Op::Brightness(factor) => picture.brightness(factor),
            Op::Sharpness(factor) => picture.sharpness(factor),
            Op::Cutout(first, last) => picture.fill(first, last, CUT),
            Op::Identity => {}
        }
    }

    /// The op of Archai at a level in [0, 1] of its range, of a picture of this height and width.
    pub(crate) fn of_archai(
        op: AugOp,
        level: f64,
        [height, width]: [usize; 2],
        chance: &mut dyn Chance,
    ) -> Op {
        let (low, high) = range(op);
        let v = level * (high - low) + low;
        let mut mirrored = |v: f64| if chance.unit() > 0.5 { -v } else { v };
        match op {
            AugOp::ShearX => Op::ShearX(mirrored(v)),
            AugOp::ShearY => Op::ShearY(mirrored(v)),
            AugOp::TranslateX => Op::TranslateX(mirrored(v) * width as f64),
            AugOp::TranslateY => Op::TranslateY(mirrored(v) * height as f64),
            AugOp::TranslateXAbs => Op::TranslateX(mirrored(v)),
            AugOp::TranslateYAbs => Op::TranslateY(mirrored(v)),
            AugOp::Rotate => Op::Rotate(mirrored(v)),
            AugOp::AutoContrast => Op::AutoContrast,
            AugOp::Invert => Op::Invert,
            AugOp::Equalize => Op::Equalize,
            AugOp::Solarize => Op::Solarize(v),
            AugOp::Posterize | AugOp::Posterize2 => Op::Posterize(v as u32),
            AugOp::Contrast => Op::Contrast(v),
            AugOp::Color => Op::Color(v),
            AugOp::Brightness => Op::Brightness(v),
            AugOp::Sharpness => Op::Sharpness(v),
            AugOp::Cutout if v <= 0.0 => Op::Identity,
            AugOp::Cutout => cutout(v * width as f64, [height, width], chance),
            AugOp::CutoutAbs => cutout(v, [height, width], chance),
        }
    }
}

/// The range of an op of Archai, in the order of its levels.
pub(crate) fn range(op: AugOp) -> (f64, f64) {
    match op {
        AugOp::ShearX | AugOp::ShearY => (-0.3, 0.3),
        AugOp::TranslateX | AugOp::TranslateY => (-0.45, 0.45),
        AugOp::Rotate => (-30.0, 30.0),
        AugOp::AutoContrast | AugOp::Invert | AugOp::Equalize => (0.0, 1.0),
        AugOp::Solarize => (0.0, 256.0),
        AugOp::Posterize => (4.0, 8.0),
        AugOp::Contrast | AugOp::Color | AugOp::Brightness | AugOp::Sharpness => (0.1, 1.9),
        AugOp::Cutout => (0.0, 0.2),
        AugOp::CutoutAbs => (0.0, 20.0),
        AugOp::Posterize2 => (0.0, 4.0),
        AugOp::TranslateXAbs | AugOp::TranslateYAbs => (0.0, 10.0),
    }
}

/// A square of a side around a point that is drawn, as far as it is within the picture.
fn cutout(side: f64, [height, width]: [usize; 2], chance: &mut dyn Chance) -> Op {
    let mut along = |n: usize| {
        let first = (chance.unit() * n as f64 - side / 2.0).max(0.0) as usize;
        (first, (first as f64 + side).min(n as f64) as usize)
    };
    let (left, right) = along(width);
    let (top, bottom) = along(height);
    Op::Cutout([top, left], [bottom, right])
}

/// A kind of op in torchvision's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
    Invert,
}

/// How large the largest magnitudes of a policy of torchvision are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    shear: f64,
    /// Shares of width and height, or pixels.
    translate: Reach,
    degrees: f64,
    /// How far factors go from 1.
    factor: f64,
    /// Bits that the lowest and the highest magnitude keep.
    bits: [f32; 2],
}

#[derive(Clone, Copy, Debug)]
enum Reach {
    Share(f64),
    Third,
    Pixels(f64),
}

/// AutoAugment and RandAugment.
pub(crate) const USUAL: Space = Space {
    shear: 0.3,
    translate: Reach::Share(150.0 / 331.0),
    degrees: 30.0,
    factor: 0.9,
    bits: [8.0, 4.0],
};

/// TrivialAugment.
pub(crate) const WIDE: Space = Space {
    shear: 0.99,
    translate: Reach::Pixels(32.0),
    degrees: 135.0,
    factor: 0.99,
    bits: [8.0, 2.0],
};

/// AugMix.
pub(crate) const MIXED: Space = Space {
    shear: 0.3,
    translate: Reach::Third,
    degrees: 30.0,
    factor: 0.9,
    bits: [4.0, 0.0],
};

impl Kind {
    /// Whether its magnitude has a sign, which is drawn.
    pub(crate) fn is_signed(self) -> bool {
        match self {
            Kind::ShearX
            | Kind::ShearY
            | Kind::TranslateX
            | Kind::TranslateY
            | Kind::Rotate
            | Kind::Brightness
            | Kind::Color
            | Kind::Contrast
            | Kind::Sharpness => true,
            Kind::Identity
            | Kind::Posterize
            | Kind::Solarize
            | Kind::AutoContrast
            | Kind::Equalize
            | Kind::Invert => false,
        }
    }

    /// Whether it has magnitudes at all.
    pub(crate) fn has_magnitude(self) -> bool {
        self.is_signed() || matches!(self, Kind::Posterize | Kind::Solarize)
    }

    /// Its magnitude number `bin` of `bins`, in 32 bits as torchvision computes it.
    pub(crate) fn magnitude(
        self,
        space: &Space,
        bin: u32,
        bins: u32,
        [height, width]: [usize; 2],
    ) -> f64 {
        let reach = |side: usize| match space.translate {
            Reach::Third => side as f64 / 3.0,
            Reach::Share(share) => share * side as f64,
            Reach::Pixels(pixels) => pixels,
        };
        let up_to = |end: f64| f64::from(linspace(0.0, end as f32, bin, bins));
        match self {
            Kind::ShearX | Kind::ShearY => up_to(space.shear),
            Kind::TranslateX => up_to(reach(width)),
            Kind::TranslateY => up_to(reach(height)),
            Kind::Rotate => up_to(space.degrees),
            Kind::Brightness | Kind::Color | Kind::Contrast | Kind::Sharpness => {
                up_to(space.factor)
            }
            Kind::Posterize => {
                let [most, least] = space.bits;
                let step = (bins - 1) as f32 / (most - least);
                f64::from(most - (bin as f32 / step).round_ties_even())
            }
            Kind::Solarize => f64::from(linspace(255.0, 0.0, bin, bins)),
            Kind::Identity | Kind::AutoContrast | Kind::Equalize | Kind::Invert => 0.0,
        }
    }

    /// The op of a magnitude, with its sign.
    pub(crate) fn op(self, magnitude: f64) -> Op {
        match self {
            Kind::Identity => Op::Identity,
            Kind::ShearX => Op::ShearX(magnitude),
            Kind::ShearY => Op::ShearY(magnitude),
            // To the right means that pixels are looked up to the left.
            Kind::TranslateX => Op::TranslateX(-magnitude.trunc()),
            Kind::TranslateY => Op::TranslateY(-magnitude.trunc()),
            Kind::Rotate => Op::Rotate(magnitude),
            Kind::Brightness => Op::Brightness(1.0 + magnitude),
            Kind::Color => Op::Color(1.0 + magnitude),
            Kind::Contrast => Op::Contrast(1.0 + magnitude),
            Kind::Sharpness => Op::Sharpness(1.0 + magnitude),
            Kind::Posterize => Op::Posterize(magnitude as u32),
            Kind::Solarize => Op::Solarize(magnitude),
            Kind::AutoContrast => Op::AutoContrast,
            Kind::Equalize => Op::Equalize,
            Kind::Invert => Op::Invert,
        }
    }
}

/// Number `i` of `n` between two ends, from the nearer one, as `torch.linspace` computes it.
fn linspace(start: f32, end: f32, i: u32, n: u32) -> f32 {
    let step = (end - start) / (n - 1) as f32;
    match i < n / 2 {
        true => start + step * i as f32,
        false => end - step * (n - i - 1) as f32,
    }
}
