//! What a trained network takes and gives, for programs that use it: `model.yaml` beside the weights, and texts in their
//! headers where a format has some.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archai_spec::settings;
use serde::{Deserialize, Serialize};

/// What a trained network takes and gives. An image goes in as numbers from 0 to 1, one plane per channel, of which `mean` is
/// subtracted before they are divided by `std`.
///
/// ```
/// use archai_export::ModelInfo;
/// let text = "
/// class_names: [cat, dog]
/// n_classes: 2
/// channels: 3
/// size: [32, 48]
/// mean: [0.5, 0.5, 0.5]
/// std: [0.25, 0.25, 0.25]
/// transforms: [normalise]
/// ";
/// let info: ModelInfo = serde_saphyr::from_str(text)?;
/// assert_eq!(info.metadata()["input_size"], "[3,32,48]");
/// assert_eq!(info.metadata()["std"], "[0.25,0.25,0.25]");
/// assert!(info.to_yaml()?.starts_with("# "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Names of the classes in the order of the network's outputs; empty if the data do not tell them.
    pub class_names: Vec<String>,
    /// Number of the network's outputs.
    pub n_classes: usize,
    /// Channels of an image: 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
    /// All transforms of the data set; those that augment do nothing once the network is trained.
    pub transforms: Vec<String>,
}

const HEAD: &str = "\
# What the network takes and gives whose weights lie beside this file.
# An image of `size` (height, width) has `channels` planes of numbers from 0 to 1; each plane goes in as
# (numbers - mean) / std. Output number i stands for class_names[i].
";

impl ModelInfo {
    /// Of a network that is trained on these data, whose classes have these names.
    pub fn new(dataset: &settings::Dataset, class_names: &[String]) -> Self {
        ModelInfo {
            class_names: class_names.to_vec(),
            n_classes: dataset.n_classes,
            channels: dataset.channels,
            size: dataset.size,
            mean: dataset.mean.clone(),
            std: dataset.std.clone(),
            transforms: dataset.transforms().into_iter().map(String::from).collect(),
        }
    }

    /// The text of `model.yaml`.
    ///
    /// # Errors
    /// Numbers that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, std::io::Error> {
        let text = serde_saphyr::to_string(self);
        let text = text.map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(format!("{HEAD}{text}"))
    }

    /// The same as texts by name, each a JSON value, for headers of files: `class_names`, `input_size` (channels, height,
    /// width), `mean` and `std`.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let [height, width] = self.size;
        // The shortest text of each number: JSON values are 64 bits wide and would show what 32 bits cannot hold.
        let list = |numbers: &[f32]| {
            let texts: Vec<String> = numbers.iter().map(f32::to_string).collect();
            format!("[{}]", texts.join(","))
        };
        let texts = [
            (
                "class_names",
                serde_json::json!(self.class_names).to_string(),
            ),
            (
                "input_size",
                serde_json::json!([self.channels, height, width]).to_string(),
            ),
            ("mean", list(&self.mean)),
            ("std", list(&self.std)),
        ];
        texts.map(|(name, text)| (name.to_string(), text)).into()
    }
}

/// Where it is written: `model.pt` → `model.yaml`.
pub fn info_path(model: &Path) -> PathBuf {
    model.with_extension("yaml")
}
