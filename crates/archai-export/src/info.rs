//! What a trained network takes and gives, for programs that use it: `model.yaml` beside the weights, and texts in their
//! headers where a format has some.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archai_spec::settings;
use serde::de::DeserializeOwned;
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
/// assert_eq!(ModelInfo::from_metadata(&info.metadata(), 2)?, info);
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
    /// How pictures of any size become images of `size`; left out if they are fitted, which is the default.
    #[serde(default, skip_serializing_if = "settings::Pictures::is_default")]
    pub pictures: settings::Pictures,
    /// Where the network comes from. It belongs to one file of weights, so that `model.yaml`, which stands for several, does
    /// not have it.
    #[serde(default, skip_serializing_if = "Provenance::is_empty")]
    pub provenance: Provenance,
}

/// Where a network comes from: what a person who meets the file alone wants to know.
///
/// ```
/// use archai_export::Provenance;
/// let provenance = Provenance { dataset: "cifar10".into(), seed: Some(2), ..Provenance::default() };
/// assert_eq!(serde_json::to_string(&provenance)?, r#"{"dataset":"cifar10","seed":2}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The program that wrote it, with its version: `archai 0.1.0`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program: String,
    /// The algorithm that found the network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub algorithm: String,
    /// The file or program that the weights come from, if no run of this program trained them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The data set that it was trained on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dataset: String,
    /// BLAKE3 digests in hexadecimal of the parts of the data set, by name (`train`, `test`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Digest of all settings that changed the result, as the run directory has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// The run's seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Epochs of training that the weights have seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Accuracies that these weights reached, as fractions, by name: `test_top1`, `test_top5`, `val_top1`, `train_top1`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub accuracy: BTreeMap<String, f64>,
}

impl Provenance {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Provenance::default()
    }
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
            pictures: dataset.pictures(),
            provenance: Provenance {
                dataset: dataset.name.clone(),
                ..Provenance::default()
            },
        }
    }

    /// The text of `model.yaml`.
    ///
    /// # Errors
    /// Numbers that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, std::io::Error> {
        let info = ModelInfo {
            provenance: Provenance::default(),
            ..self.clone()
        };
        let text = serde_saphyr::to_string(&info);
        let text = text.map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(format!("{HEAD}{text}"))
    }

    /// The same as texts by name, each a JSON value, for headers of files: `class_names`, `input_size` (channels, height,
    /// width), `mean`, `std`, `transforms`, `pictures` if they are not fitted, and `provenance` if something is known of it.
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
            ("transforms", serde_json::json!(self.transforms).to_string()),
        ];
        let mut texts: BTreeMap<String, String> =
            texts.map(|(name, text)| (name.to_string(), text)).into();
        if !self.pictures.is_default() {
            let pictures = serde_json::json!(self.pictures).to_string();
            texts.insert("pictures".to_string(), pictures);
        }
        if !self.provenance.is_empty() {
            let provenance = serde_json::json!(self.provenance).to_string();
            texts.insert("provenance".to_string(), provenance);
        }
        texts
    }

    /// Reads what [`ModelInfo::metadata`] gives, from the header of a file with a network of so many classes.
    ///
    /// # Errors
    /// A text that is missing or says what cannot be: what it is, what was expected and how to mend it.
    pub fn from_metadata(
        texts: &BTreeMap<String, String>,
        n_classes: usize,
    ) -> Result<ModelInfo, String> {
        let [channels, height, width] = text(texts, "input_size", "[channels, height, width]")?;
        let info = ModelInfo {
            class_names: text(texts, "class_names", "a list of the names of its classes")?,
            n_classes,
            channels,
            size: [height, width],
            mean: text(texts, "mean", "a list with the mean of each channel")?,
            std: text(
                texts,
                "std",
                "a list with the standard deviation of each channel",
            )?,
            transforms: text(
                texts,
                "transforms",
                "a list of the transforms of its images",
            )?,
            pictures: match texts.contains_key("pictures") {
                true => text(texts, "pictures", "how pictures get their size")?,
                false => settings::Pictures::default(),
            },
            provenance: match texts.contains_key("provenance") {
                true => text(texts, "provenance", "where the network comes from")?,
                false => Provenance::default(),
            },
        };
        let n_names = info.class_names.len();
        if n_names != n_classes && n_names != 0 {
            return Err(format!(
                "`class_names` in its header has {n_names} names, but the network has {n_classes} classes; expected one name \
                 for each class, or none at all; write it again"
            ));
        }
        match info.dataset().check().into_iter().next() {
            Some((key, problem)) => {
                Err(format!("`{key}` in its header: {problem}; write it again"))
            }
            None => Ok(info),
        }
    }

    /// The data set of images as the network takes them, for everything that prepares images as a section of a configuration
    /// says. It has no files, and nothing is augmented.
    pub fn dataset(&self) -> settings::Dataset {
        let settings::Pictures {
            resize,
            crop_ratio,
            interpolation,
            orientation,
            background,
        } = self.pictures;
        settings::Dataset {
            name: self.provenance.dataset.clone(),
            format: String::new(),
            path: String::new(),
            train: None,
            test: None,
            test_ratio: 0.0,
            split_seed: 0,
            n_classes: self.n_classes,
            channels: self.channels,
            size: self.size,
            resize,
            crop_ratio,
            interpolation,
            random_resized_crop: None,
            orientation,
            background,
            mean: self.mean.clone(),
            std: self.std.clone(),
            crop_padding: 0,
            flip: false,
            color_jitter: None,
            random_affine: None,
            max_batches: -1,
            transforms: Some(self.transforms.clone()),
            on_damaged: settings::OnDamaged::Stop,
            columns: None,
        }
    }

    /// The name of a class: its number if the classes have no names.
    pub fn class_name(&self, class: usize) -> String {
        match self.class_names.get(class) {
            Some(name) => name.clone(),
            None => class.to_string(),
        }
    }
}

/// A text of a header that holds a JSON value.
fn text<T: DeserializeOwned>(
    texts: &BTreeMap<String, String>,
    name: &str,
    expected: &str,
) -> Result<T, String> {
    let text = texts.get(name).ok_or_else(|| {
        format!("its header lacks `{name}`; expected {expected}, as JSON; write it again")
    })?;
    serde_json::from_str(text).map_err(|e| {
        format!(
            "`{name}` in its header is `{text}` ({e}); expected {expected}, as JSON; write it again"
        )
    })
}

/// Where it is written: `model.pt` → `model.yaml`.
pub fn info_path(model: &Path) -> PathBuf {
    model.with_extension("yaml")
}
