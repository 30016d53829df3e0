//! How training images are changed at random beyond crops and mirrors: `loader.aug`, `loader.random_erasing`,
//! `dataset.color_jitter` and `dataset.random_affine`, with the names and defaults of torchvision.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Dataset, Loader};

/// An augmentation policy: a name, a name with options, or a list of sub-policies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Aug {
    /// A policy as it was published.
    Named(AugName),
    /// One with options.
    With(AugWith),
    /// One of your own: a sub-policy is chosen at random for each image, and each of its steps is taken with its probability.
    List(Vec<Vec<AugStep>>),
}

/// Published policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AugName {
    /// AutoAugment (Cubuk et al., 2019) for CIFAR-10, as torchvision has it: 25 sub-policies of two steps.
    #[serde(rename = "autoaugment_cifar10")]
    AutoaugmentCifar10,
    /// AutoAugment for ImageNet, as torchvision has it.
    AutoaugmentImagenet,
    /// AutoAugment for SVHN, as torchvision has it.
    AutoaugmentSvhn,
    /// AutoAugment's sub-policies of CIFAR-10 with those that were found on the way, as Archai has them: 95.
    AutoaugExtend,
    /// Fast AutoAugment (Lim et al., 2019) for CIFAR-10, as Archai has it: 493 sub-policies.
    #[serde(rename = "fa_reduced_cifar10")]
    FaReducedCifar10,
    /// Fast AutoAugment for ImageNet, as Archai has it: 498 sub-policies.
    FaReducedImagenet,
    /// Fast AutoAugment for SVHN, as Archai has it: 497 sub-policies.
    FaReducedSvhn,
    /// Archai's own: 35 sub-policies.
    Arsaug,
    /// RandAugment (Cubuk et al., 2020), as torchvision has it, with its defaults.
    Randaugment,
    /// TrivialAugment Wide (Müller and Hutter, 2021), as torchvision has it.
    Trivialaugment,
    /// AugMix (Hendrycks et al., 2020), as torchvision has it, with its defaults.
    Augmix,
}

/// A policy with options: one key, the policy's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AugWith {
    /// RandAugment.
    Randaugment(RandAugment),
    /// TrivialAugment Wide.
    Trivialaugment(TrivialAugment),
    /// AugMix.
    Augmix(AugMix),
}

/// Ops that are chosen at random, all of one magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandAugment {
    /// Ops for each image, one after the other.
    #[schemars(range(min = 1, max = 100))]
    pub n: u32,
    /// Their magnitude: 0 to `bins` - 1.
    pub m: u32,
    /// Number of magnitudes.
    #[schemars(range(min = 2, max = 1000))]
    pub bins: u32,
}

impl Default for RandAugment {
    fn default() -> Self {
        RandAugment {
            n: 2,
            m: 9,
            bins: 31,
        }
    }
}

/// One op for each image, of any magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrivialAugment {
    /// Number of magnitudes.
    #[schemars(range(min = 2, max = 1000))]
    pub bins: u32,
}

impl Default for TrivialAugment {
    fn default() -> Self {
        TrivialAugment { bins: 31 }
    }
}

/// Several chains of ops, whose results are averaged with the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugMix {
    /// Magnitudes are drawn from the lowest so many of ten.
    #[schemars(range(min = 1, max = 10))]
    pub severity: u32,
    /// Number of chains.
    #[schemars(range(min = 1, max = 100))]
    pub width: u32,
    /// Ops of a chain; -1 draws 1 to 3.
    #[schemars(range(min = -1, max = 100))]
    pub depth: i32,
    /// Parameter of the Dirichlet and beta distributions of the weights.
    #[schemars(range(min = 0.001, max = 1000.0))]
    pub alpha: f64,
}

impl Default for AugMix {
    fn default() -> Self {
        AugMix {
            severity: 3,
            width: 3,
            depth: -1,
            alpha: 1.0,
        }
    }
}

/// A step of a sub-policy: op, probability, level. The level is a share of the op's range in Archai (0.5 is its middle).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AugStep(pub AugOp, pub f64, pub f64);

/// The ops of sub-policies, under Archai's names, with their ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AugOp {
    /// Sheared along x by -0.3 to 0.3; the sign is drawn.
    ShearX,
    /// Sheared along y by -0.3 to 0.3; the sign is drawn.
    ShearY,
    /// Moved along x by -0.45 to 0.45 of the width; the sign is drawn.
    TranslateX,
    /// Moved along y by -0.45 to 0.45 of the height; the sign is drawn.
    TranslateY,
    /// Turned by -30 to 30 degrees; the sign is drawn.
    Rotate,
    /// The darkest level becomes black, and the brightest white.
    AutoContrast,
    /// White becomes black.
    Invert,
    /// All levels become as frequent.
    Equalize,
    /// Levels from a threshold of 0 to 256 on are inverted.
    Solarize,
    /// 4 to 8 bits of each level are kept.
    Posterize,
    /// Contrast by 0.1 to 1.9.
    Contrast,
    /// Colours by 0.1 to 1.9.
    Color,
    /// Brightness by 0.1 to 1.9.
    Brightness,
    /// Sharpness by 0.1 to 1.9.
    Sharpness,
    /// A square of 0 to 0.2 of the width becomes grey.
    Cutout,
    /// A square of 0 to 20 pixels becomes grey.
    CutoutAbs,
    /// 0 to 4 bits of each level are kept.
    Posterize2,
    /// Moved along x by 0 to 10 pixels; the sign is drawn.
    TranslateXAbs,
    /// Moved along y by 0 to 10 pixels; the sign is drawn.
    TranslateYAbs,
}

/// A rectangle of a training image that becomes zero after normalisation (Zhong et al., 2020).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomErasing {
    /// Probability.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-unit" = "share"))]
    pub p: f64,
    /// Smallest and largest share of the image's area.
    pub scale: [f64; 2],
    /// Smallest and largest height over width, drawn on a logarithmic scale.
    pub ratio: [f64; 2],
}

impl Default for RandomErasing {
    fn default() -> Self {
        RandomErasing {
            p: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
        }
    }
}

/// Brightness, contrast, saturation and hue of a training image, in an order that is drawn, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ColorJitter {
    /// The factor lies between 1 - `brightness` (at least 0) and 1 + `brightness`.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub brightness: f64,
    /// The factor lies between 1 - `contrast` (at least 0) and 1 + `contrast`.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub contrast: f64,
    /// The factor lies between 1 - `saturation` (at least 0) and 1 + `saturation`.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub saturation: f64,
    /// The hue turns by -`hue` to `hue` of a circle.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub hue: f64,
}

/// A training image is turned, moved, scaled and sheared around its middle, without interpolation; what comes in is black.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomAffine {
    /// It is turned by -`degrees` to `degrees`.
    #[schemars(range(min = 0.0, max = 180.0))]
    pub degrees: f64,
    /// It is moved along x and y by up to these shares of its width and its height.
    pub translate: [f64; 2],
    /// It is scaled by a factor between these.
    pub scale: [f64; 2],
    /// It is sheared along x by -`shear` to `shear` degrees.
    #[schemars(range(min = 0.0, max = 89.0))]
    pub shear: f64,
}

impl Default for RandomAffine {
    fn default() -> Self {
        RandomAffine {
            degrees: 0.0,
            translate: [0.0; 2],
            scale: [1.0; 2],
            shear: 0.0,
        }
    }
}

impl Loader {
    /// Finds augmentation that contradicts itself: (key of the section, what is wrong and how to mend it). Empty when all is well.
    pub fn check_augmentation(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        match &self.aug {
            Some(Aug::List(list)) if list.is_empty() || list.iter().any(Vec::is_empty) => {
                let message = "expected at least one sub-policy, and at least one step in each; for none at all give null";
                problems.push(("aug", message.to_owned()));
            }
            Some(Aug::List(list)) => {
                let wrong = |value: &f64| !(0.0..=1.0).contains(value);
                let mut steps = list.iter().flatten();
                if let Some(AugStep(op, p, level)) =
                    steps.find(|AugStep(_, p, level)| wrong(p) || wrong(level))
                {
                    let message = format!(
                        "step [{op:?}, {p}, {level}]: expected the op, its probability and its level, both of them 0 to 1"
                    );
                    problems.push(("aug", message));
                }
            }
            Some(Aug::With(AugWith::Randaugment(RandAugment { m, bins, .. }))) if m >= bins => {
                let message = format!("m is {m}; expected 0 to bins - 1, which is {}", bins - 1);
                problems.push(("aug", message));
            }
            Some(Aug::With(AugWith::Augmix(AugMix { depth: 0, .. }))) => {
                let message =
                    "depth is 0, which changes nothing; expected at least 1, or -1 to draw 1 to 3";
                problems.push(("aug", message.to_owned()));
            }
            Some(Aug::Named(_) | Aug::With(_)) | None => {}
        }
        if let Some(RandomErasing { p, scale, ratio }) = self.random_erasing {
            let is_sound = (0.0..=1.0).contains(&p)
                && 0.0 <= scale[0]
                && scale[0] <= scale[1]
                && scale[1] <= 1.0
                && 0.0 < ratio[0]
                && ratio[0] <= ratio[1]
                && ratio[1].is_finite();
            if !is_sound {
                let message = format!(
                    "p is {p}, scale is {scale:?} and ratio is {ratio:?}; expected a probability, the smallest and the largest \
                     share of the area, and the smallest and the largest height over width \
                     (0.5, [0.02, 0.33] and [0.3, 3.3] are usual)"
                );
                problems.push(("random_erasing", message));
            }
        }
        problems
    }
}

impl Dataset {
    /// The problems of [`Dataset::check`] with colours and affine changes.
    pub(super) fn check_changes(&self, problems: &mut Vec<(&'static str, String)>) {
        if let Some(jitter) = self.color_jitter {
            let ColorJitter {
                brightness,
                contrast,
                saturation,
                hue,
            } = jitter;
            let factors = [brightness, contrast, saturation];
            if !factors.iter().all(|f| (0.0..=100.0).contains(f)) || !(0.0..=0.5).contains(&hue) {
                let message = format!(
                    "expected brightness, contrast and saturation of at least 0 (0.4 is usual), and a hue of 0 to 0.5, found \
                     {factors:?} and {hue}"
                );
                problems.push(("color_jitter", message));
            }
            if self.channels == 1 && (saturation != 0.0 || hue != 0.0) {
                let message =
                    "grey images have neither saturation nor hue; set both to 0, or channels to 3";
                problems.push(("color_jitter", message.to_owned()));
            }
        }
        if let Some(affine) = self.random_affine {
            let RandomAffine {
                degrees,
                translate,
                scale,
                shear,
            } = affine;
            let is_sound = (0.0..=180.0).contains(&degrees)
                && translate.iter().all(|t| (0.0..=1.0).contains(t))
                && 0.0 < scale[0]
                && scale[0] <= scale[1]
                && scale[1].is_finite()
                && (0.0..=89.0).contains(&shear);
            if !is_sound {
                let message = format!(
                    "degrees is {degrees}, translate is {translate:?}, scale is {scale:?} and shear is {shear}; expected 0 to \
                     180 degrees, shares of width and height, the smallest and the largest factor, and 0 to 89 degrees"
                );
                problems.push(("random_affine", message));
            }
        }
    }
}
