//! The typed settings that a configuration tree ends in: one struct per section, one field per key. Names, types,
//! ranges and documentation come from here alone; the loader checks trees against the JSON schema of [`Settings`],
//! and `archai config schema` prints that schema for editors.
//!
//! Defaults are not here but in `confs/`, where users read them; code gets them from there too, with
//! [`Settings::shipped`]. An algorithm's own section (`nas.search.<algorithm>`) is typed by the algorithm.
//!
//! Three things are said by a key itself. A key that is named `path`, `logdir` or `init_weights`, or whose name ends in `_filename`, holds a
//! path: variables in it are expanded, and no digest depends on it. A field with `x-names` in its schema holds a name (or
//! names) of the open list of that kind: see [`Schema::naming`](crate::config::Schema::naming). A field with `x-unit` is a number
//! whose unit is easily mistaken; `config/units.rs` has the table of units, their ranges and what a wrong one was meant as.

mod archai;
mod augment;
mod check;
mod digest;
mod export;
mod image_size;
mod pictures;
mod shipped;
mod track;
mod tree;

pub use archai::{ImportNote, ImportTarget, ImportedConfig, import_archai_config};
pub use augment::{
    Aug, AugMix, AugName, AugOp, AugStep, AugWith, ColorJitter, RandAugment, RandomAffine,
    RandomErasing, TrivialAugment,
};
pub use export::{ExportInput, ExportOptions};
pub use image_size::ForSize;
pub use pictures::{Interpolation, Orientation, Pictures, RandomResizedCrop, Resize};
pub use track::{Track, TrackTarget};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole configuration, without the algorithm's own section.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What holds for every phase.
    pub common: Common,
    /// The data set; the sections below copy it unless they name another.
    pub dataset: Dataset,
    /// Search and evaluation.
    pub nas: Nas,
}

/// What holds for every phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Where run directories are made. `~`, `$VAR` and `${VAR}` are expanded.
    pub logdir: String,
    /// Base name of the log files (`log` gives `log.log`, `log.yaml`, `log.jsonl`).
    pub log_prefix: String,
    /// Least level that reaches `log.log` and the terminal: 10 debug, 20 info, 30 warning, 40 error.
    #[schemars(range(min = 0, max = 50))]
    pub log_level: u32,
    /// Also write the hierarchical log `log.yaml` at the end.
    pub yaml_log: bool,
    /// Seed of every random draw of the run.
    pub seed: u64,
    /// How often the state of a training is kept, so that a run that was cut off can be resumed.
    #[serde(default = "Checkpoint::shipped")]
    pub checkpoint: Checkpoint,
    /// Where figures go besides the log: TensorBoard, MLflow. Left out, nowhere.
    #[serde(default, skip_serializing_if = "Track::is_left_out")]
    pub track: Track,
}

/// How often the state of a training is kept, besides the end of each epoch and an interruption. No result depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// After so many steps; 0 not by steps.
    pub every_steps: usize,
    /// After so many seconds; 0 not by time.
    #[schemars(range(min = 0.0))]
    pub every_seconds: f64,
    /// How many checkpoints of a training under way are kept; older ones serve when the last is damaged.
    #[schemars(range(min = 1))]
    pub keep: usize,
}

/// Search and evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nas {
    /// The search phase: from a search space to a found description.
    pub search: Search,
    /// The evaluation phase: from a found description to a trained model.
    pub eval: Eval,
}

/// The value of [`Search::space`] that means the algorithm's own space; for most it is that of DARTS.
pub const OWN_SPACE: &str = "own";

fn own_space() -> String {
    OWN_SPACE.to_string()
}

/// The search phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// What is searched: `own` is the algorithm's own space, `nasbench201` that of NAS-Bench-201, in the evaluation too;
    /// `archai spaces` lists all. `--space` sets it along with the sizes that belong to the space.
    #[serde(default = "own_space")]
    pub space: String,
    /// How a trained supernet becomes a description: `default` (strongest ops), `random`, `darts_pt` (ops whose removal
    /// hurts most), or one that the algorithm brings; `archai finalizers` lists all.
    pub finalizer: String,
    /// Where the found description is written.
    pub final_desc_filename: String,
    /// The supernet's shape.
    pub model_desc: ModelDescSettings,
    /// Batches of the search.
    pub loader: Loader,
    /// Training of the supernet.
    pub trainer: Trainer,
    /// Optional short training of the found network at the search's size (`trainer.epochs` 0 skips it).
    pub post_train: Training,
    /// What is watched while a supernet trains, since searches may collapse into skip connections.
    pub guard: Guard,
    /// The finalizer `darts_pt`.
    pub darts_pt: DartsPt,
}

/// What is watched after each epoch of a supernet's training: the share of skip connections among the ops that the
/// architecture parameters would choose, the entropy of the weights of ops, and the sharpness of the validation loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Also estimate the dominant eigenvalue of the Hessian of the validation loss in the architecture parameters. Costs
    /// 2·`iterations` passes over one batch per epoch.
    pub hessian: bool,
    /// Iterations of the power method.
    #[schemars(range(min = 1))]
    pub iterations: usize,
    /// Distance by which the architecture parameters are moved to both sides for a finite difference.
    #[schemars(range(min = 1e-9, max = 1.0))]
    pub epsilon: f64,
    /// When to end the training early; by default never.
    pub stop: GuardStop,
}

/// When the guard ends the training of a supernet before its last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardStop {
    /// Stop once the architecture parameters would choose at least this many `skip_connect` in one regular cell; null never.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub skips: Option<usize>,
    /// Stop, and take back the architecture of `window` epochs ago, once the mean absolute eigenvalue of the `window` epochs up to
    /// then is below this many times the mean of the last `window` epochs; null never.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub eigenvalue_ratio: Option<f64>,
    /// Epochs over which the eigenvalue is averaged, and by which the compared averages lie apart.
    #[schemars(range(min = 1))]
    pub window: usize,
}

/// Selection by perturbation: each decision is measured on validation data, with some training in between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DartsPt {
    /// Steps of the weights after each decision.
    pub tune_steps: usize,
    /// Learning rate of these steps; all else is as in the search's training.
    #[schemars(extend("x-unit" = "learning rate"))]
    pub tune_lr: f64,
    /// Measure on this many validation batches; -1 takes all.
    #[schemars(range(min = -1))]
    pub measure_batches: i64,
}

/// A training with its own loader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Batches.
    pub loader: Loader,
    /// Training.
    pub trainer: Trainer,
}

/// What an evaluation does with the found description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemplateUse {
    /// Its cells are scaled to the size in `nas.eval.model_desc`.
    #[default]
    Scale,
    /// The network is trained as it is written, every cell by itself. Of `nas.eval.model_desc` the data set and `aux_weight`
    /// count.
    AsIs,
    /// As `as_is`, but first it is fitted to the images and classes of the data set: stems that read an image with another
    /// number of channels and a classifier of another size become new ones. This is what fine-tuning takes.
    Adapt,
}

impl TemplateUse {
    fn is_scale(&self) -> bool {
        *self == TemplateUse::Scale
    }
}

/// The evaluation phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eval {
    /// The found description that is scaled up: the template.
    pub final_desc_filename: String,
    /// What becomes of the found description: `scale` makes a network of the size in `model_desc` from its cells, `as_is`
    /// trains it as it is written, `adapt` as it is written but for the images and classes of the data set. Left out, it is
    /// `scale`.
    #[serde(default, skip_serializing_if = "TemplateUse::is_scale")]
    pub template: TemplateUse,
    /// Weights that the training starts from: a model file or a state dict of this program (safetensors or PyTorch) for the
    /// same description. Stems, classifier and auxiliary tower may differ: such a part starts anew, and its tensors are named in
    /// the log and in the summary. Null draws all weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_weights: Option<String>,
    /// Parts that are not trained: `stem`, `cell*`, `cell3.node0`, the front of the names that `archai desc lower` lists, where `*`
    /// stands for any letters. Their weights stay, without decay, and their norms compute with their running statistics, which stay, too:
    /// such a part is the same function in training and afterwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<String>,
    /// Factors of the learning rate by part, named as in `freeze`; where several cover a parameter, the closest counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lr_factors: BTreeMap<String, f64>,
    /// Where the scaled description is written.
    pub full_desc_filename: String,
    /// Where the metrics of the training are written.
    pub metric_filename: String,
    /// Where the PyTorch state dict is written; files of other formats stand beside it.
    pub model_filename: String,
    /// In which formats the trained model is written: exporters of `archai exporters`.
    #[serde(default = "Eval::shipped_export")]
    #[schemars(extend("x-names" = "exporter"))]
    pub export: Vec<String>,
    /// How they are written.
    #[serde(default)]
    pub export_options: ExportOptions,
    /// Test after every epoch too, not only after the last one. Never used to choose a model.
    pub test_every_epoch: bool,
    /// The evaluated network's shape.
    pub model_desc: ModelDescSettings,
    /// Batches of the evaluation.
    pub loader: Loader,
    /// Training from scratch.
    pub trainer: Trainer,
}

/// A data set. A custom one is a YAML file with this section and nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Name, used in the names of run directories.
    pub name: String,
    /// How its files are laid out: a format of `archai formats`.
    #[schemars(extend("x-names" = "data format"))]
    pub format: String,
    /// Its folder (for `embedded`: its name inside the program). `~` and `$VAR` are expanded; `$dataroot` is the
    /// folder of all data sets.
    pub path: String,
    /// Training file or folder below `path`; `*` matches any characters. Null takes the format's usual names.
    #[serde(default)]
    pub train: Option<String>,
    /// Test file or folder below `path`. Null takes the format's usual names.
    #[serde(default)]
    pub test: Option<String>,
    /// Share of the images that is set apart as test data where a data set has none of its own, the same of each class. 0
    /// sets nothing apart.
    #[serde(default, skip_serializing_if = "is_none_of_it")]
    #[schemars(range(min = 0.0, max = 0.95))]
    #[schemars(extend("x-unit" = "share"))]
    pub test_ratio: f64,
    /// Which images these are: another number chooses others. It does not depend on `common.seed`, so that runs of different
    /// seeds are tested on the same images.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub split_seed: u64,
    /// Number of classes.
    #[schemars(range(min = 2))]
    pub n_classes: usize,
    /// Image channels that the network sees: 1 or 3. Grey images are repeated, coloured ones are averaged.
    #[schemars(range(min = 1, max = 4))]
    pub channels: usize,
    /// Height and width that the network sees. Pictures of any size may be mixed; `resize` says how they get this one.
    pub size: [usize; 2],
    /// How a picture gets the size. `fit`: a side that is longer is scaled down to it (each side on its own, so the aspect
    /// ratio may change), one that is shorter is padded with zeros at both ends. `squish`: both sides are scaled. `crop`: the
    /// picture is scaled with its proportions until it covers the size, and its middle is taken. `pad`: it is scaled with its
    /// proportions until it lies within the size, and padded with `background`, or black. Left out, it is `fit`.
    #[serde(default, skip_serializing_if = "Resize::is_fit")]
    pub resize: Resize,
    /// With `resize: crop`: the share of the scaled shorter side that the middle keeps, timm's `crop_pct`; 0.875 is what tests
    /// on ImageNet take (224 of 256). Left out, it is 1.
    #[serde(default = "pictures::one", skip_serializing_if = "pictures::is_one")]
    #[schemars(extend("x-unit" = "share"))]
    pub crop_ratio: f64,
    /// How `squish`, `crop`, `pad` and `random_resized_crop` scale: `bilinear` or `bicubic`, both over all pixels that are
    /// covered, as Pillow does it. Left out, it is `bilinear`.
    #[serde(default, skip_serializing_if = "Interpolation::is_bilinear")]
    pub interpolation: Interpolation,
    /// Of a training picture, a part is chosen at random and scaled to the size; other pictures go by `resize`. Null, or left
    /// out: training pictures go by `resize`, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// `exif`: pictures are turned and mirrored as their cameras noted it. Left out, it is `ignore`.
    #[serde(default, skip_serializing_if = "Orientation::is_ignored")]
    pub orientation: Orientation,
    /// The colour (red, green, blue, 0 to 255) below transparent pixels, and around pictures with `resize: pad`. Null, or left
    /// out: transparency is dropped, and what is around is black.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<[u8; 3]>,
    /// Mean of each channel, of pixels in [0, 1].
    #[schemars(extend("x-unit" = "pixel mean"))]
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, of pixels in [0, 1].
    #[schemars(extend("x-unit" = "pixel deviation"))]
    pub std: Vec<f32>,
    /// Training images are padded by this many pixels and cropped back at random. 0 switches it off.
    #[serde(default = "four")]
    pub crop_padding: usize,
    /// Training images are mirrored left to right with probability 1/2.
    #[serde(default = "yes")]
    pub flip: bool,
    /// Brightness, contrast, saturation and hue of training images change at random, as in torchvision's `ColorJitter`. Null,
    /// or left out: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// Training images are turned, moved, scaled and sheared at random, as in torchvision's `RandomAffine`. Null, or left out:
    /// they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_affine: Option<RandomAffine>,
    /// Take only this many batches of training data and of test data; -1 takes all.
    #[serde(default = "all")]
    #[schemars(range(min = -1))]
    pub max_batches: i64,
    /// What is done to its images, in this order: transforms of `archai transforms`. Left out, they are `crop`, `flip`,
    /// `normalise` and `cutout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-names" = "transform"))]
    pub transforms: Option<Vec<String>>,
    /// What happens to a picture of an image folder, a table or an archive that is damaged or no picture at all. Formats
    /// that hold pixels are read whole or not at all, and refuse the key.
    #[serde(default, skip_serializing_if = "OnDamaged::is_stop")]
    pub on_damaged: OnDamaged,
    /// What a table or a file of arrays calls its pictures and labels, where it is not one of the usual names. Formats
    /// without names refuse the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
}

/// The names of what a format looks up by name: columns of a table, arrays of a file, members of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// The pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Their labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The pictures of the test data, where one file has the arrays of both parts. Left out, they are called as those of
    /// the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_image: Option<String>,
    /// The labels of the test data, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_label: Option<String>,
}

/// What happens to pictures that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDamaged {
    /// The first one ends the run with an error that names it, where it can be seen before the training.
    #[default]
    Stop,
    /// They are left out, counted and named in a warning; every picture is read once more at the start to find them.
    Skip,
}

impl OnDamaged {
    /// Whether it is what happens if nothing is said: such a configuration has the digest of one without the key.
    fn is_stop(&self) -> bool {
        *self == OnDamaged::Stop
    }
}

impl Dataset {
    /// The names of the transforms that its images go through, in order.
    pub fn transforms(&self) -> Vec<&str> {
        match &self.transforms {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => vec!["crop", "flip", "normalise", "cutout"],
        }
    }
}

fn is_none_of_it(share: &f64) -> bool {
    *share == 0.0
}
fn is_zero(n: &u64) -> bool {
    *n == 0
}
fn four() -> usize {
    4
}
fn yes() -> bool {
    true
}
fn all() -> i64 {
    -1
}

/// Batches: how a data set is split, augmented and loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loader {
    /// The data set of this phase.
    pub dataset: Dataset,
    /// Side of the square that cutout sets to zero after normalisation; 0 switches it off.
    pub cutout: usize,
    /// A policy that changes training images before their other transforms: `randaugment`, `{randaugment: {n: 2, m: 9}}`, or
    /// sub-policies of your own, `[[[Rotate, 0.5, 0.8], [Color, 0.3, 0.7]], …]` (op, probability, level of 0 to 1). Null, or
    /// left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aug: Option<Aug>,
    /// A rectangle of training images is set to zero after normalisation, as in torchvision's `RandomErasing`. Null, or left
    /// out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
    /// Load the training data.
    pub load_train: bool,
    /// Load the test data.
    pub load_test: bool,
    /// Images per training batch. The last, short batch of an epoch is kept.
    #[schemars(range(min = 1))]
    pub train_batch: usize,
    /// Images per validation (when only measuring) and test batch.
    #[schemars(range(min = 1))]
    pub test_batch: usize,
    /// Threads that prepare training batches ahead of the training; the order does not depend on it.
    #[schemars(range(min = 0, max = 256))]
    pub train_workers: usize,
    /// Threads that prepare test batches ahead.
    #[schemars(range(min = 0, max = 256))]
    pub test_workers: usize,
    /// Share of the training data that is set apart for validation (in a search: for the architecture).
    #[schemars(range(min = 0.0, max = 0.95))]
    #[schemars(extend("x-unit" = "share"))]
    pub val_ratio: f64,
    /// Validation batches that move the architecture are augmented like training data, as in the original DARTS code.
    /// Metrics on validation data never are.
    pub val_augment: bool,
    /// Training images of a batch that are mixed with each other, and their targets with them. Null: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// Which images a pass over the training data takes.
    #[serde(default, skip_serializing_if = "Sampler::is_shuffled")]
    pub sampler: Sampler,
    /// How much each class counts in the training loss; measured losses are never weighted.
    #[serde(default, skip_serializing_if = "ClassWeights::is_equal")]
    pub class_weights: ClassWeights,
}

/// Mixing of training images with each other (mixup: Zhang et al., 2018; CutMix: Yun et al., 2019). One share λ holds for a
/// batch, whose images are mixed with those of the same batch in reverse order, as timm does; a class counts by its share in
/// the targets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// α of mixup, whose share λ is drawn from Beta(α, α): the images are averaged with weights λ and 1 − λ. 0: no mixup.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub mixup: f64,
    /// α of CutMix: a rectangle of 1 − λ of the area comes from the other image. 0: no CutMix.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub cutmix: f64,
    /// Share of the batches that are mixed.
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-unit" = "share"))]
    pub prob: f64,
    /// Share of CutMix in the batches that are mixed, where both are asked for.
    #[serde(default = "half")]
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-unit" = "share"))]
    pub switch_prob: f64,
}

fn one() -> f64 {
    1.0
}
fn half() -> f64 {
    0.5
}

/// Which images a pass over training data takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Each image once, in random order.
    #[default]
    Shuffled,
    /// As many images as there are, each time one of a class that is drawn with equal probability: images of rare classes
    /// come several times, some of common ones not at all.
    Balanced,
}

impl Sampler {
    fn is_shuffled(&self) -> bool {
        *self == Sampler::Shuffled
    }
}

/// How much each class counts in the training loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// As much as any other.
    #[default]
    Equal,
    /// n / (K·n_c) for n training images of K classes, n_c of class c, so that all classes together count the same
    /// (scikit-learn's `balanced`). The loss is then the weighted mean, as PyTorch's `CrossEntropyLoss(weight=…)` has it.
    Balanced,
}

impl ClassWeights {
    fn is_equal(&self) -> bool {
        *self == ClassWeights::Equal
    }
}

/// Training: schedule, optimisers, regularisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trainer {
    /// Name of this training in the logs.
    pub title: String,
    /// Passes over the training data.
    pub epochs: usize,
    /// Cut each batch into this many chunks to save memory; the gradient stays the same.
    #[schemars(range(min = 1))]
    pub batch_chunks: usize,
    /// Log every so many steps; 0 never.
    pub logger_freq: usize,
    /// Weight of the auxiliary tower's loss.
    #[schemars(extend("x-unit" = "weight of a loss"))]
    pub aux_weight: f64,
    /// Probability of dropping a path in the last epoch; it grows linearly from 0.
    #[schemars(range(min = 0.0, max = 0.999))]
    #[schemars(extend("x-unit" = "share"))]
    pub drop_path_prob: f64,
    /// Largest global L2 norm of the weights' gradient; 0 switches clipping off.
    #[schemars(range(min = 0.0))]
    pub grad_clip: f64,
    /// Weight of the sum of the architecture parameters' absolute values in the loss.
    #[schemars(range(min = 0.0))]
    pub l1_alphas: f64,
    /// What happens when the loss, a gradient or a parameter is infinite or not a number.
    #[serde(default)]
    pub on_nan: OnNan,
    /// Loss on training data.
    pub lossfn: Loss,
    /// Optimiser of the weights.
    pub optimizer: Optimizer,
    /// Schedule of the weights' learning rate.
    pub lr_schedule: LrSchedule,
    /// Optimiser of the architecture parameters; null where a training has none.
    #[serde(default)]
    pub alpha_optimizer: Option<Optimizer>,
    /// Schedule of the architecture parameters' learning rate.
    #[serde(default)]
    pub alpha_lr_schedule: Option<LrSchedule>,
    /// Measuring on validation data.
    pub validation: Validation,
}

/// What happens to a training whose loss, gradient or parameters are infinite or not a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnNan {
    /// It ends with an error that names phase, epoch and step.
    #[default]
    Stop,
    /// The step is undone, counted, and the next batch taken; more than ten in a row end the training.
    Skip,
}

/// Measuring on validation data (and on test data at the end).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Name in the logs.
    pub title: String,
    /// Log every so many batches; 0 never.
    pub logger_freq: usize,
    /// Cut each batch into this many chunks.
    #[schemars(range(min = 1))]
    pub batch_chunks: usize,
    /// Measure every so many epochs, and after the last one; 0 never.
    pub freq: usize,
    /// Loss.
    pub lossfn: Loss,
}

/// A loss function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: LossKind,
    /// Label smoothing ε: targets are (1 − ε)·one-hot + ε/K, as PyTorch has it.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.999))]
    #[schemars(extend("x-unit" = "share"))]
    pub smoothing: f64,
}

/// Which loss function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LossKind {
    /// Mean cross entropy of the softmax of the logits.
    CrossEntropyLoss,
}

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam (Kingma and Ba, 2015), decay added to the gradient.
    Adam,
    /// Adam whose decay is no part of the moments (Loshchilov and Hutter, 2019): the weights shrink by lr·λ at each step.
    #[serde(rename = "adamw")]
    AdamW,
    /// The gradient over the root of its running mean square (Tieleman and Hinton, 2012), decay added to the gradient.
    #[serde(rename = "rmsprop")]
    RmsProp,
}

impl OptimizerKind {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            OptimizerKind::Sgd => "sgd",
            OptimizerKind::Adam => "adam",
            OptimizerKind::AdamW => "adamw",
            OptimizerKind::RmsProp => "rmsprop",
        }
    }
}

/// The types whose optimisers or schedules read a key that not all read: `x-types` in its schema. A default of such a key
/// goes with its type: a configuration that changes the type has it no more.
mod types {
    pub const NESTEROV: &[&str] = &["sgd"];
    pub const MOMENTUM: &[&str] = &["sgd", "rmsprop"];
    pub const BETAS: &[&str] = &["adam", "adamw"];
    pub const EPS: &[&str] = &["adam", "adamw", "rmsprop"];
    pub const SQUARES: &[&str] = &["rmsprop"];
    pub const MIN_LR: &[&str] = &["cosine"];
    pub const MILESTONES: &[&str] = &["multi_step"];
    pub const PERIOD: &[&str] = &["step"];
    pub const GAMMA: &[&str] = &["step", "multi_step"];
}

/// A key that a section gives and that its type does not read, with the types that do.
pub type ForeignKey = (&'static str, &'static [&'static str]);

fn foreign_to(
    kind: &str,
    given: impl IntoIterator<Item = (bool, &'static str, &'static [&'static str])>,
) -> Vec<ForeignKey> {
    let foreign = given
        .into_iter()
        .filter(|(is_given, _, types)| *is_given && !types.contains(&kind));
    foreign.map(|(_, key, types)| (key, types)).collect()
}

/// An optimiser, with the formulas and defaults of PyTorch. Keys that belong to another `type` must be absent or null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: OptimizerKind,
    /// Learning rate at the start.
    #[schemars(extend("x-unit" = "learning rate"))]
    pub lr: f64,
    /// Weight decay λ: λ·w is added to the gradient (after clipping); AdamW takes lr·λ·w off the weights instead.
    #[schemars(extend("x-unit" = "weight decay"))]
    pub decay: f64,
    /// Weight decay of normalisation parameters; null takes `decay`.
    #[serde(default)]
    #[schemars(extend("x-unit" = "weight decay"))]
    pub decay_bn: Option<f64>,
    /// SGD and RMSProp: momentum; null takes 0.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.99999))]
    #[schemars(extend("x-unit" = "share", "x-types" = types::MOMENTUM))]
    pub momentum: Option<f64>,
    /// SGD: Nesterov's variant.
    #[serde(default)]
    #[schemars(extend("x-types" = types::NESTEROV))]
    pub nesterov: Option<bool>,
    /// Adam and AdamW: decay rates of the two moments; null takes [0.9, 0.999].
    #[serde(default)]
    #[schemars(extend("x-unit" = "share", "x-types" = types::BETAS))]
    pub betas: Option<[f64; 2]>,
    /// Adam, AdamW and RMSProp: added to the denominator; null takes 1e-8.
    #[serde(default)]
    #[schemars(extend("x-unit" = "small number", "x-types" = types::EPS))]
    pub eps: Option<f64>,
    /// RMSProp: share of the past in the running mean square of the gradient; null takes 0.99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 0.99999))]
    #[schemars(extend("x-unit" = "share", "x-types" = types::SQUARES))]
    pub alpha: Option<f64>,
    /// RMSProp: divide by the root of the variance instead of the mean square; null takes false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-types" = types::SQUARES))]
    pub centered: Option<bool>,
}

impl Optimizer {
    /// Keys that are given and that the type does not read.
    pub fn foreign(&self) -> Vec<ForeignKey> {
        let given = [
            (self.momentum.is_some(), "momentum", types::MOMENTUM),
            (self.nesterov.is_some(), "nesterov", types::NESTEROV),
            (self.betas.is_some(), "betas", types::BETAS),
            (self.eps.is_some(), "eps", types::EPS),
            (self.alpha.is_some(), "alpha", types::SQUARES),
            (self.centered.is_some(), "centered", types::SQUARES),
        ];
        foreign_to(self.kind.name(), given)
    }
}

/// Which learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Constant.
    Constant,
    /// Half a cosine from the optimiser's rate to `min_lr`.
    Cosine,
    /// Multiplied by `gamma` at each epoch of `milestones`.
    MultiStep,
    /// Multiplied by `gamma` every `decay_period` epochs.
    Step,
}

/// A learning-rate schedule, stepped once per epoch. Keys that belong to another `type` must be absent or null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LrSchedule {
    /// Which one.
    #[serde(rename = "type")]
    pub kind: ScheduleKind,
    /// Cosine: rate at the end; null takes 0.
    #[serde(default)]
    #[schemars(extend("x-unit" = "learning rate", "x-types" = types::MIN_LR))]
    pub min_lr: Option<f64>,
    /// Multi-step: epochs at which the rate drops.
    #[serde(default)]
    #[schemars(extend("x-types" = types::MILESTONES))]
    pub milestones: Option<Vec<usize>>,
    /// Step: epochs between two drops.
    #[serde(default)]
    #[schemars(range(min = 1))]
    #[schemars(extend("x-types" = types::PERIOD))]
    pub decay_period: Option<usize>,
    /// Multi-step and step: factor of a drop.
    #[serde(default)]
    #[schemars(extend("x-unit" = "factor of a drop", "x-types" = types::GAMMA))]
    pub gamma: Option<f64>,
    /// Warm-up before the schedule; null for none.
    #[serde(default)]
    pub warmup: Option<Warmup>,
}

impl ScheduleKind {
    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            ScheduleKind::Constant => "constant",
            ScheduleKind::Cosine => "cosine",
            ScheduleKind::MultiStep => "multi_step",
            ScheduleKind::Step => "step",
        }
    }
}

impl LrSchedule {
    /// Keys that are given and that the type does not read.
    pub fn foreign(&self) -> Vec<ForeignKey> {
        let given = [
            (self.min_lr.is_some(), "min_lr", types::MIN_LR),
            (self.milestones.is_some(), "milestones", types::MILESTONES),
            (self.decay_period.is_some(), "decay_period", types::PERIOD),
            (self.gamma.is_some(), "gamma", types::GAMMA),
        ];
        foreign_to(self.kind.name(), given)
    }

    /// The rate stays.
    pub fn constant() -> Self {
        LrSchedule {
            kind: ScheduleKind::Constant,
            min_lr: None,
            milestones: None,
            decay_period: None,
            gamma: None,
            warmup: None,
        }
    }
}

/// A warm-up: the rate grows linearly during the first epochs, and the first epoch already trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Epochs of warm-up; 0 for none. At most those of the training.
    pub epochs: usize,
    /// 1: from lr/epochs up to lr. Above 1: from lr up to `multiplier`·lr, where the main schedule then starts.
    #[schemars(range(min = 1.0))]
    pub multiplier: f64,
}

/// How the two states that enter the first cell are made from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StemWiring {
    /// Two stems, each on the image: Archai's way.
    Independent,
    /// The first stem alone feeds both states: the original DARTS code on CIFAR. The second op must equal the first.
    Shared,
    /// The second stem reads the first one's output: the original DARTS code on ImageNet.
    Chained,
}

/// The macro structure of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDescSettings {
    /// The data set whose images, channels and classes the network is built for.
    pub dataset: Dataset,
    /// Cells in all.
    #[schemars(range(min = 1))]
    pub n_cells: usize,
    /// Cells that halve height and width and double the channels.
    pub n_reductions: usize,
    /// Edges that each node keeps when the search is finalised.
    #[schemars(range(min = 1))]
    pub max_final_edges: usize,
    /// Ops that each edge of the supernet chooses among, of those that `archai ops` lists or a program registers. Left out,
    /// they are the space's own. The evaluation chooses nothing, so that only the search may have this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub primitives: Option<Vec<String>>,
    /// Op between the last cell and the classifier.
    pub model_post_op: String,
    /// Weight of the auxiliary tower's loss; 0 builds no tower.
    #[schemars(extend("x-unit" = "weight of a loss"))]
    pub aux_weight: f64,
    /// Stride of the auxiliary tower's 5×5 pool: 3 for 32×32 images, 2 for ImageNet. Maps that are too small for it get a
    /// smaller stride, and if need be smaller windows.
    #[schemars(range(min = 1))]
    pub aux_tower_stride: usize,
    /// The auxiliary tower normalises after its second convolution. The original DARTS code does so on CIFAR and not on
    /// ImageNet.
    pub aux_tower_second_norm: bool,
    /// From the image to the first cell.
    pub model_stems: ModelStems,
    /// Cells.
    pub cell: CellSettings,
}

/// From the image to the first cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelStems {
    /// Ops of the two stems.
    pub ops: [String; 2],
    /// How the two states are made from the ops.
    pub wiring: StemWiring,
    /// The stems' norms have learnt scales and shifts; null takes the model's choice (searches have none).
    pub affine: Option<bool>,
    /// The stems give `init_node_ch` times this many channels.
    #[schemars(range(min = 1))]
    pub stem_multiplier: usize,
    /// Channels of the nodes of the first cell.
    #[schemars(range(min = 1))]
    pub init_node_ch: usize,
}

/// What all cells have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellSettings {
    /// Nodes of a cell, its two inputs not counted.
    #[schemars(range(min = 1))]
    pub n_nodes: usize,
    /// Op that joins the nodes into the cell's output.
    pub cell_post_op: String,
}
