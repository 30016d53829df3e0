//! What of a network follows from the size of the images: stems, reductions, pool and tower.
//!
//! The published settings are for two sizes. On CIFAR-10's 32×32 pixels the first cell sees the whole image; on ImageNet's
//! 224×224 three convolutions of stride 2 stand before it, so that it sees 28×28 (Liu, Simonyan and Yang 2019, section 3.3).
//! What they have in common is taken for all sizes here: the first cell sees maps of 24 to 47 pixels, and two reductions leave
//! 6 to 11. So an image of 128 pixels costs about as much as one of 32, beside its stems.

use std::fmt::Write;

use super::ModelDescSettings;

/// The settings of a network that follow from the size of its images. [`ForSize::of`] chooses them for any size.
///
/// ```
/// use archai_spec::settings::ForSize;
/// assert_eq!(ForSize::of([32, 32]).stems, ["stem_conv3x3", "stem_conv3x3"], "as on CIFAR-10");
/// assert_eq!(ForSize::of([64, 48]).stems, ["stem_conv3x3_s2", "stem_conv3x3_s2"]);
/// assert_eq!(ForSize::of([128, 128]).stems, ["stem_conv3x3_s4", "stem_conv3x3_s4"]);
/// assert_eq!(ForSize::of([224, 224]).stems, ["stem_conv3x3_s4", "stem_conv3x3_s4s2"], "as on ImageNet");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForSize {
    /// `model_stems.ops`.
    pub stems: [&'static str; 2],
    /// By how much the stems divide height and width.
    pub stem_stride: usize,
    /// `model_stems.stem_multiplier`.
    pub stem_multiplier: usize,
    /// `n_reductions`.
    pub n_reductions: usize,
    /// `model_post_op`: a mean over maps of any size.
    pub pool: &'static str,
    /// `aux_tower_stride`.
    pub aux_tower_stride: usize,
    /// `aux_tower_second_norm`.
    pub aux_tower_second_norm: bool,
}

/// A stem for each stride, with what goes with it: ImageNet's networks have no wider stem and no second norm in the tower.
const STEMS: [ForSize; 4] = {
    const CIFAR: ForSize = ForSize {
        stems: ["stem_conv3x3", "stem_conv3x3"],
        stem_stride: 1,
        stem_multiplier: 3,
        n_reductions: 2,
        pool: "pool_adaptive_avg2d",
        aux_tower_stride: 3,
        aux_tower_second_norm: true,
    };
    const IMAGENET: ForSize = ForSize {
        stems: ["stem_conv3x3_s4", "stem_conv3x3_s4s2"],
        stem_stride: 8,
        stem_multiplier: 1,
        aux_tower_stride: 2,
        aux_tower_second_norm: false,
        ..CIFAR
    };
    let two = ForSize {
        stems: ["stem_conv3x3_s2", "stem_conv3x3_s2"],
        stem_stride: 2,
        ..CIFAR
    };
    let four = ForSize {
        stems: ["stem_conv3x3_s4", "stem_conv3x3_s4"],
        stem_stride: 4,
        ..IMAGENET
    };
    [CIFAR, two, four, IMAGENET]
};

/// The tower's 5×5 windows at stride 3 leave 2×2 cells of maps of this side, as the second convolution needs.
const TOWER_AT_STRIDE_3: usize = 8;

impl ForSize {
    /// For images of this height and width.
    ///
    /// The stems' stride is the power of two, up to 8, by which the geometric mean of the sides becomes less than 48, but no
    /// more than leaves 12 pixels of the shorter side. Of these, two reductions leave 3; on smaller images there are fewer.
    pub fn of([height, width]: [usize; 2]) -> ForSize {
        let area = height.saturating_mul(width);
        let side = height.min(width);
        let fits = |stems: &&ForSize| side.div_ceil(stems.stem_stride) >= 12;
        let is_enough = |stems: &&ForSize| {
            let seen = 48 * stems.stem_stride;
            area < seen * seen
        };
        let usable = || STEMS.iter().filter(fits);
        let stems = usable().find(is_enough).or(usable().next_back());
        let stems = stems.copied().unwrap_or(STEMS[0]);
        let first = side.div_ceil(stems.stem_stride);
        let n_reductions = match first {
            12.. => 2,
            6.. => 1,
            _ => 0,
        };
        let last = first.div_ceil(1 << n_reductions);
        let aux_tower_stride = match last < TOWER_AT_STRIDE_3 {
            true => 2,
            false => stems.aux_tower_stride,
        };
        ForSize {
            n_reductions,
            aux_tower_stride,
            ..stems
        }
    }

    /// Height and width of the maps that the first cell and the last one see.
    pub fn maps(&self, size: [usize; 2]) -> [[usize; 2]; 2] {
        let first = size.map(|side| side.div_ceil(self.stem_stride));
        [
            first,
            first.map(|side| side.div_ceil(1 << self.n_reductions)),
        ]
    }

    /// Keys below `model_desc` and their values, as YAML has them.
    fn rows(&self) -> [(&'static str, String); 6] {
        [
            ("n_reductions", self.n_reductions.to_string()),
            ("model_post_op", self.pool.to_string()),
            ("aux_tower_stride", self.aux_tower_stride.to_string()),
            (
                "aux_tower_second_norm",
                self.aux_tower_second_norm.to_string(),
            ),
            ("model_stems.ops", format!("[{}]", self.stems.join(", "))),
            (
                "model_stems.stem_multiplier",
                self.stem_multiplier.to_string(),
            ),
        ]
    }

    /// What to set below `model_desc` for images of the settings' size: keys and values that the settings do not have.
    pub fn missing_in(settings: &ModelDescSettings) -> Vec<(&'static str, String)> {
        let stems = &settings.model_stems;
        let has = [
            settings.n_reductions.to_string(),
            settings.model_post_op.clone(),
            settings.aux_tower_stride.to_string(),
            settings.aux_tower_second_norm.to_string(),
            format!("[{}]", stems.ops.join(", ")),
            stems.stem_multiplier.to_string(),
        ];
        let rows = ForSize::of(settings.dataset.size).rows().into_iter();
        let pairs = rows.zip(has).filter(|((_, wanted), has)| wanted != has);
        pairs.map(|(row, _)| row).collect()
    }

    /// A section `nas` for a data set's file: what differs from the settings for 32×32 pixels, which all algorithms start
    /// from, for search and evaluation; none where nothing does.
    pub fn yaml(&self) -> Option<String> {
        let usual = STEMS[0].rows();
        let differences = self.rows().into_iter().filter(|row| !usual.contains(row));
        let differences: Vec<(&str, String)> = differences.collect();
        if differences.is_empty() {
            return None;
        }
        let mut text = String::from("nas:\n");
        for phase in ["search", "eval"] {
            let _ = writeln!(text, "  {phase}:\n    model_desc:");
            let (stems, own): (Vec<_>, Vec<_>) = differences
                .iter()
                .partition(|(key, _)| key.starts_with("model_stems."));
            for (key, value) in own {
                let _ = writeln!(text, "      {key}: {value}");
            }
            if !stems.is_empty() {
                text.push_str("      model_stems:\n");
            }
            for (key, value) in stems {
                let key = key.trim_start_matches("model_stems.");
                let _ = writeln!(text, "        {key}: {value}");
            }
        }
        Some(text)
    }
}
