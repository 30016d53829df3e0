//! The section of a configuration that follows from what was found of a data set.

use archai_spec::settings::{self, Orientation, Resize};

use super::{Pictures, Sides};

/// The sides of images that are chosen among: those of the papers' data sets and between them. Stems keep the cost of the
/// cells about the same for each of them ([`ForSize`](archai_spec::settings::ForSize)).
pub const RESOLUTIONS: [usize; 5] = [32, 64, 96, 128, 224];

/// Sides that no network of two reductions makes anything of are padded to this one.
const LEAST: usize = 16;

/// What the user wants of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Height and width; none follows from the pictures.
    pub size: Option<[usize; 2]>,
    /// 1 (grey) or 3; none follows from the pictures.
    pub channels: Option<usize>,
    /// The longest side that is chosen without being asked for.
    pub most: usize,
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The section, whose mean and deviation are not known yet.
    pub section: settings::Dataset,
    /// Why its images have their size.
    pub why: String,
}

/// Chooses size and channels of the images, and what goes with the size.
///
/// Pictures of one size keep it. Otherwise images are squares of the resolution to which the median of the shorter sides
/// comes closest from above, or lies at most a quarter below: so most pictures are made smaller, and none much larger.
pub fn choose(found: &settings::Dataset, pictures: &Pictures, wanted: Wanted) -> Chosen {
    let (size, why) = size(pictures, wanted, found.size);
    let is_grey = pictures.read() > 0 && pictures.grey == pictures.read();
    let channels = wanted.channels.unwrap_or(if is_grey { 1 } else { 3 });
    let section = settings::Dataset {
        channels,
        size,
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
        crop_ratio: 1.0,
        // Pictures keep their proportions.
        resize: match pictures.sides {
            Some(Sides {
                same: true,
                height,
                width,
                ..
            }) if [height.max, width.max] == size => Resize::Fit,
            _ => Resize::Crop,
        },
        orientation: match pictures.turned {
            0 => Orientation::Ignore,
            _ => Orientation::Exif,
        },
        background: (pictures.transparent > 0).then_some([255; 3]),
        // As 4 of CIFAR-10's 32 pixels.
        crop_padding: size[0].min(size[1]) / 8,
        ..found.clone()
    };
    Chosen { section, why }
}

fn size(pictures: &Pictures, wanted: Wanted, usual: [usize; 2]) -> ([usize; 2], String) {
    if let Some(size) = wanted.size {
        return (size, "as asked for".to_owned());
    }
    let Some(sides) = pictures.sides else {
        return (
            usual,
            "the files do not say how large pictures are".to_owned(),
        );
    };
    let own = [sides.height.max, sides.width.max];
    if sides.same && own.iter().all(|side| (LEAST..=wanted.most).contains(side)) {
        return (own, "all pictures have this size".to_owned());
    }
    let median = sides.shorter.median;
    let fits = |side: &&usize| **side <= wanted.most && 4 * **side <= 5 * median;
    let side = RESOLUTIONS
        .iter()
        .rev()
        .find(fits)
        .unwrap_or(&RESOLUTIONS[0]);
    let limit = match 4 * wanted.most < 5 * median && *side < RESOLUTIONS[RESOLUTIONS.len() - 1] {
        true => format!(", and at most {} here", wanted.most),
        false => String::new(),
    };
    (
        [*side; 2],
        format!("the median of the shorter sides is {median}{limit}"),
    )
}
