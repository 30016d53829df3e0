use std::fmt;
use std::path::Path;

use archai_kernels::infer::Net;
use archai_kernels::{Exec, Unsupported};

use weights::Weights;

/// The network with its numbers. It may be shared between threads, and computes on all cores.
pub struct Network {
    net: Net,
    exec: Exec,
}

/// What went wrong.
#[derive(Debug)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<Unsupported> for Error {
    fn from(e: Unsupported) -> Self {
        Error(e.to_string())
    }
}

/// A class and its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Its place among the outputs.
    pub class: usize,
    /// Its name.
    pub name: String,
    /// Its probability.
    pub probability: f32,
}

impl Network {
    /// Reads the weights, `model.safetensors` of this crate.
    pub fn load(weights: impl AsRef<Path>) -> Result<Self, Error> {
        Network::with_weights(&Weights::load(weights.as_ref())?)
    }

    /// The network with the weights in a file's contents (`include_bytes!`, say).
    pub fn from_bytes(weights: Vec<u8>) -> Result<Self, Error> {
        Network::with_weights(&Weights::from_bytes(weights)?)
    }

    fn with_weights(weights: &Weights) -> Result<Self, Error> {
        let net = network::network(weights)?;
        Ok(Network { net, exec: Exec::new() })
    }

    /// The outputs for images that are normalised as in training, in the order image, channel, row, column: a logit for
    /// each class of each image.
    pub fn logits(&self, images: &[f32]) -> Result<Vec<f32>, Error> {
        let each = CHANNELS * HEIGHT * WIDTH;
        match images.len() % each {
            0 => Ok(self.net.run(&self.exec, images)),
            _ => Err(Error(format!(
                "{} numbers are no whole images: one has {CHANNELS} channels of {HEIGHT}x{WIDTH}, {each} numbers",
                images.len()
            ))),
        }
    }

    /// Classifies an image: bytes in the order row, column, channel, as image files have them. The likeliest class comes first.
    pub fn classify(&self, pixels: &[u8]) -> Result<Vec<Prediction>, Error> {
        if pixels.len() != CHANNELS * HEIGHT * WIDTH {
            return Err(Error(format!(
                "{} bytes are no image of {WIDTH}x{HEIGHT} pixels in {CHANNELS} channels; scale it first",
                pixels.len()
            )));
        }
        let mut image = vec![0.0; pixels.len()];
        for (i, byte) in pixels.iter().enumerate() {
            let (pixel, channel) = (i / CHANNELS, i % CHANNELS);
            let value = f32::from(*byte) / 255.0;
            image[channel * HEIGHT * WIDTH + pixel] = (value - MEAN[channel]) / STD[channel];
        }
        let logits = self.logits(&image)?;
        let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
        let sum: f32 = exp.iter().sum();
        let mut predictions: Vec<Prediction> = exp
            .iter()
            .enumerate()
            .map(|(class, e)| Prediction {
                class,
                name: CLASSES.get(class).map_or_else(|| class.to_string(), ToString::to_string),
                probability: e / sum,
            })
            .collect();
        predictions.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        Ok(predictions)
    }
}
