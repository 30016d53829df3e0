//! Spaces that come with the program.

use super::{Space, SpaceError};
use archai_spec::names::{UnknownName, unknown};

macro_rules! spaces {
    ($($name:literal: $about:literal),* $(,)?) => {
        const SPACES: &[(&str, &str, &str)] =
            &[$(($name, $about, include_str!(concat!("../../../../confs/search_spaces/", $name, ".yaml")))),*];
    };
}

spaces![
    "nb201": "cells of NAS-Bench-201 in its networks: 15,625 members",
    "darts": "cells of DARTS for CIFAR: 20 cells, two kinds",
    "resnet": "chains of residual blocks for CIFAR: depth, width and kind of block by stage",
    "mobile": "chains of inverted residual blocks for ImageNet: depth and width by stage; kernel, expansion, squeeze-and-excite by layer",
    "ofa_mobilenet_v3": "the members of the Once-for-All MobileNetV3 without squeeze-and-excite",
    "mlp": "perceptrons for tables",
];

/// Names of the shipped spaces, each with what it is.
pub fn shipped_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    SPACES.iter().map(|(name, about, _)| (*name, *about))
}

/// The text of a shipped space.
///
/// # Errors
/// There is no such space; the nearest name is offered.
pub fn shipped_text(name: &str) -> Result<&'static str, UnknownName> {
    let found = SPACES.iter().find(|(known, ..)| *known == name);
    found.map(|(.., text)| *text).ok_or_else(|| {
        unknown(
            "search space",
            name,
            SPACES.iter().map(|(known, ..)| *known),
        )
    })
}

/// A shipped space.
///
/// ```
/// let space = archai_search::space::shipped("mlp")?;
/// assert_eq!(space.report().members.to_string(), "278460");
/// assert!(archai_search::space::shipped("nb202").unwrap_err().to_string().contains("did you mean `nb201`?"));
/// # Ok::<(), archai_search::space::SpaceError>(())
/// ```
///
/// # Errors
/// There is no such space; the nearest name is offered.
pub fn shipped(name: &str) -> Result<Space, SpaceError> {
    let text = shipped_text(name).map_err(|e| SpaceError::new(e.to_string()))?;
    Space::parse(&format!("archai:search_spaces/{name}.yaml"), text)
}
