//! How pictures of any size become images of one: the keys of a data-set section that say it, and which of them go together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Dataset;

/// How a picture gets the size that the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// A side that is too long is scaled down, each on its own; one that is too short is padded with zeros at both ends.
    #[default]
    Fit,
    /// Both sides are scaled, up or down, so that proportions change.
    Squish,
    /// The picture is scaled until it covers the size, with its proportions, and the middle is taken; see `crop_ratio`.
    Crop,
    /// The picture is scaled until it lies within the size, with its proportions, and padded at both ends with `background`.
    Pad,
}

/// How pixels between pixels are found. Where a picture becomes smaller, all pixels that are covered count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// A triangle over the pixels on both sides.
    #[default]
    Bilinear,
    /// The cubic of Keys (1981) with a = -1/2, as Pillow has it: sharper.
    Bicubic,
}

/// Whether a picture is turned as its camera noted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Pixels are taken as they lie in the file, which is what Pillow and torchvision do.
    #[default]
    Ignore,
    /// The picture is turned and mirrored as its EXIF tag says: JPEG, PNG, WebP and TIFF have one.
    Exif,
}

/// A part of a training picture, chosen at random and scaled to the size (Szegedy et al., 2015), as torchvision's
/// `RandomResizedCrop` has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RandomResizedCrop {
    /// Smallest and largest share of the picture's area.
    pub scale: [f64; 2],
    /// Smallest and largest width over height, before it is scaled. It is drawn on a logarithmic scale.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    /// Of torchvision: 8 to 100 % of the area, proportions 3:4 to 4:3.
    fn default() -> Self {
        RandomResizedCrop {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

/// What happens to every picture before it is an image of the network's size, in training or not: the keys of a data-set
/// section that a trained network has to know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pictures {
    /// How a picture gets the size.
    #[serde(skip_serializing_if = "Resize::is_fit")]
    pub resize: Resize,
    /// With `crop`: the share of the scaled shorter side that the middle keeps.
    #[serde(skip_serializing_if = "is_one")]
    pub crop_ratio: f64,
    /// How pixels between pixels are found.
    #[serde(skip_serializing_if = "Interpolation::is_bilinear")]
    pub interpolation: Interpolation,
    /// Whether a picture is turned as its camera noted it.
    #[serde(skip_serializing_if = "Orientation::is_ignored")]
    pub orientation: Orientation,
    /// What lies below transparent pixels, and around pictures that are padded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<[u8; 3]>,
}

impl Default for Pictures {
    fn default() -> Self {
        Pictures {
            resize: Resize::Fit,
            crop_ratio: 1.0,
            interpolation: Interpolation::Bilinear,
            orientation: Orientation::Ignore,
            background: None,
        }
    }
}

impl Pictures {
    /// Whether all is as if nothing were said.
    pub fn is_default(&self) -> bool {
        *self == Pictures::default()
    }
}

impl Resize {
    pub(super) fn is_fit(&self) -> bool {
        *self == Resize::Fit
    }
}

impl Interpolation {
    pub(super) fn is_bilinear(&self) -> bool {
        *self == Interpolation::Bilinear
    }
}

impl Orientation {
    pub(super) fn is_ignored(&self) -> bool {
        *self == Orientation::Ignore
    }
}

pub(super) fn one() -> f64 {
    1.0
}

pub(super) fn is_one(value: &f64) -> bool {
    *value == 1.0
}

impl Dataset {
    /// What happens to every picture of the data set.
    pub fn pictures(&self) -> Pictures {
        Pictures {
            resize: self.resize,
            crop_ratio: self.crop_ratio,
            interpolation: self.interpolation,
            orientation: self.orientation,
            background: self.background,
        }
    }

    /// The problems of [`Dataset::check`] with the size of pictures.
    pub(super) fn check_pictures(&self, problems: &mut Vec<(&'static str, String)>) {
        if !(self.crop_ratio > 0.0 && self.crop_ratio <= 1.0) {
            let message = format!(
                "is {}; expected a share of the shorter side, above 0 and at most 1 (ImageNet's tests take 0.875)",
                self.crop_ratio
            );
            problems.push(("crop_ratio", message));
        } else if self.crop_ratio != 1.0 && self.resize != Resize::Crop {
            let message = "says how much a centre crop keeps, and `resize` is not `crop`; set resize to crop, or leave this out";
            problems.push(("crop_ratio", message.to_owned()));
        }
        let is_scaled = self.resize != Resize::Fit || self.random_resized_crop.is_some();
        if self.interpolation != Interpolation::Bilinear && !is_scaled {
            let message = "has no effect with `resize: fit`, which always scales by a triangle; set resize to squish, crop or \
                           pad, or leave this out";
            problems.push(("interpolation", message.to_owned()));
        }
        let Some(RandomResizedCrop { scale, ratio }) = self.random_resized_crop else {
            return;
        };
        if !(scale[0] > 0.0 && scale[0] <= scale[1] && scale[1] <= 1.0) {
            let message = format!(
                "scale is {scale:?}; expected the smallest and the largest share of a picture's area, above 0 and at most 1 \
                 ([0.08, 1.0] is usual)"
            );
            problems.push(("random_resized_crop", message));
        }
        if !(ratio[0] > 0.0 && ratio[0] <= ratio[1] && ratio[1].is_finite()) {
            let message = format!(
                "ratio is {ratio:?}; expected the smallest and the largest width over height, above 0 ([0.75, 1.3333] is usual)"
            );
            problems.push(("random_resized_crop", message));
        }
        if self.crop_padding > 0 {
            let message = format!(
                "crops training images at random, and so does crop_padding, which is {}; set crop_padding to 0, or this to null",
                self.crop_padding
            );
            problems.push(("random_resized_crop", message));
        }
    }
}
