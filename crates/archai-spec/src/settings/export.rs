//! How a trained network is written for other programs: `nas.eval.export_options`, and the flags of `archai export`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What may be chosen about an export. A format that has no use for a choice leaves it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExportOptions {
    /// What goes into the network: `normalised` images, pixels from 0 to 1 (`unit`), or `bytes` from 0 to 255. In the last two
    /// cases the file holds the normalisation. ONNX only.
    pub input: ExportInput,
    /// The outputs are probabilities that sum to 1, not logits. ONNX only.
    pub softmax: bool,
    /// Batch norms are folded into the convolutions before them: fewer and faster layers, other names of parameters. ONNX
    /// only.
    pub fold_norms: bool,
    /// Weights of convolutions and linear layers are written in 16 bits, in half the space; networks compute with them in 32
    /// bits as before. Norms and biases keep 32 bits.
    pub half: bool,
    /// What matters in training alone is written too, so that training can go on: auxiliary towers with their weights, and
    /// the places of drop-path. PyTorch only.
    pub training: bool,
}

/// What a written network takes as its input, always in the order batch, channels, height, width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportInput {
    /// 32-bit floats from which the mean is subtracted and which are divided by the standard deviation, as in training.
    #[default]
    Normalised,
    /// 32-bit floats from 0 to 1.
    Unit,
    /// Unsigned bytes from 0 to 255.
    Bytes,
}

impl ExportInput {
    /// Its word in settings.
    pub fn name(self) -> &'static str {
        match self {
            ExportInput::Normalised => "normalised",
            ExportInput::Unit => "unit",
            ExportInput::Bytes => "bytes",
        }
    }
}
