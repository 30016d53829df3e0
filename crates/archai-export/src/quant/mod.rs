//! Static quantisation: a trained network whose weights and values between layers are bytes.
//!
//! [`Quantised::new`] takes a graph, its numbers and some images of the training share, on which it sees what numbers each
//! value takes ([`Method`]). Weights get a scale for each output channel, values between layers one scale and one zero point
//! ([`Affine`]); biases are whole numbers of 32 bits in the scale of the products that they are added to. The logits stay
//! numbers with a fraction. What the quantised network computes is simulated ([`Quantised::logits`]) by the loops of
//! [`crate::reference`], so that its accuracy is known without the program that will run it.
//!
//! The choices are those of Jacob et al. 2018 ("Quantization and training of neural networks for efficient
//! integer-arithmetic-only inference") and of the white paper by Krishnamoorthi 2018, §3.

mod affine;
mod calibrate;
mod prepare;

use std::collections::HashMap;
use std::io;

use archai_spec::graph::Graph;
use archai_spec::ops::{Layer, ParamKind};

pub use affine::{Affine, Bytes};
pub use calibrate::Method;
use prepare::readers;
pub use prepare::{Prepared, prepare};

use crate::reference::{Maps, Reference};
use crate::{NamedTensor, Weights, invalid, unsupported};

/// How a network is calibrated.
#[derive(Clone, Copy, Debug)]
pub struct Calibration<'a> {
    /// Images as the network takes them, normalised, `[N, C, H, W]`.
    pub images: &'a Maps,
    /// How ranges are found.
    pub method: Method,
    /// How many threads execute the network; the result does not depend on it.
    pub threads: usize,
}

/// Images that are executed at once. Few, so that the values of a batch fit into the cache.
const BATCH: usize = 4;

/// A parameter as whole numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum QuantisedParam {
    /// A weight.
    Weight(Bytes),
    /// A bias, and a scale for each of its numbers.
    Bias {
        /// In units of the scales.
        values: Vec<i32>,
        /// Scale of the layer's input times scale of the weight's channel.
        scales: Vec<f32>,
    },
}

impl QuantisedParam {
    fn dequantised(&self) -> Vec<f64> {
        match self {
            QuantisedParam::Weight(bytes) => bytes.dequantised(),
            QuantisedParam::Bias { values, scales } => {
                let numbers = values.iter().zip(scales);
                numbers
                    .map(|(&v, &s)| f64::from(v) * f64::from(s))
                    .collect()
            }
        }
    }
}

/// A quantised network.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The network that is quantised: [`prepare`]d, with numbers of 32 bits.
    pub prepared: Prepared,
    /// How each value of its graph becomes bytes. A value has none if it stays as it is (the logits), or if it is only on the
    /// way from a convolution to its ReLU, which integer kernels compute at once.
    pub values: Vec<Option<Affine>>,
    /// How many images it was calibrated with.
    pub n_images: usize,
    /// How ranges were found.
    pub method: Method,
    /// Its parameters by name.
    pub params: HashMap<String, QuantisedParam>,
    /// The numbers that the parameters stand for.
    rounded: Vec<NamedTensor>,
}

impl Quantised {
    /// Quantises a trained network.
    ///
    /// # Errors
    /// As [`Weights::new`]; images of another shape than the network's, or none; numbers that are infinite; of kind
    /// `Unsupported` for a supernet.
    pub fn new(
        graph: &Graph,
        state: &[NamedTensor],
        calibration: &Calibration<'_>,
    ) -> io::Result<Quantised> {
        let prepared = prepare(graph, state)?;
        let graph = &prepared.graph;
        let places = places(graph)?;
        let n_images = calibration.images.shape[0];
        if n_images == 0 {
            return Err(invalid(
                "quantisation needs images to see what numbers the network computes with, and there are none".to_string(),
            ));
        }
        let reference = Reference::new(graph, &prepared.state)?;
        let execute = |batch: usize, show: &mut dyn FnMut(usize, &[f64])| {
            let images = calibration
                .images
                .slice(batch * BATCH..n_images.min((batch + 1) * BATCH));
            let seen = |value: usize, maps: &mut Maps| show(value, &maps.values);
            reference.walk(&images, seen).map(|_| ())
        };
        let own: Vec<bool> = places.iter().map(|p| *p == Place::Own).collect();
        let names: Vec<&str> = graph.values.iter().map(|v| v.name.as_str()).collect();
        let ranges = calibrate::ranges(
            &names,
            &own,
            n_images.div_ceil(BATCH),
            &execute,
            calibration.method,
            calibration.threads,
        )?;
        let affine = |place: &Place, own: usize| match *place {
            Place::Number => None,
            Place::Own => Some(Affine::of_range(ranges[own].0, ranges[own].1)),
            Place::As(other) => Some(Affine::of_range(ranges[other].0, ranges[other].1)),
        };
        let values: Vec<Option<Affine>> = places
            .iter()
            .enumerate()
            .map(|(v, place)| affine(place, v))
            .collect();
        let params = params(&prepared, &values)?;
        let rounded = (prepared.state.iter()).map(|tensor| NamedTensor {
            values: match params.get(&tensor.name) {
                Some(param) => param.dequantised(),
                None => tensor.values.clone(),
            },
            ..tensor.clone()
        });
        Ok(Quantised {
            rounded: rounded.collect(),
            n_images,
            method: calibration.method,
            values,
            params,
            prepared,
        })
    }

    /// What the quantised network computes for images as the network takes them: logits, maps of one pixel.
    ///
    /// Rounding happens where integer kernels round. They sum in whole numbers and this sums in 64 bits, so a value halfway
    /// between two bytes may become the other one.
    ///
    /// # Errors
    /// Images of another shape than the network's.
    pub fn logits(&self, images: &Maps) -> io::Result<Maps> {
        let reference = Reference::new(&self.prepared.graph, &self.rounded)?;
        reference.walk(images, |value, maps| {
            if let Some(affine) = &self.values[value] {
                maps.values.iter_mut().for_each(|x| *x = affine.round(*x));
            }
        })
    }
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It stays a number.
    Number,
    /// It has a range of its own.
    Own,
    /// Its bytes are some of those of another value: no rounding is needed.
    As(usize),
}

fn places(graph: &Graph) -> io::Result<Vec<Place>> {
    let readers = readers(graph);
    // Convolutions whose ReLU follows directly.
    let mut rectified = vec![false; graph.values.len()];
    for layer in &graph.layers {
        if matches!(layer.layer, Layer::Relu | Layer::Relu6) {
            rectified[layer.inputs[0]] = readers[layer.inputs[0]] == 1;
        }
    }
    let mut results = vec![false; graph.values.len()];
    results[graph.logits] = true;
    for layer in graph.layers.iter().rev() {
        if layer.layer == Layer::Flatten && results[layer.output] && readers[layer.inputs[0]] == 1 {
            results[layer.inputs[0]] = true;
        }
    }
    let mut places = vec![Place::Own; graph.values.len()];
    for layer in &graph.layers {
        let same = || match places[layer.inputs[0]] {
            Place::Number => Place::Number,
            Place::Own => Place::As(layer.inputs[0]),
            other => other,
        };
        let of = layer.output;
        places[of] = match &layer.layer {
            Layer::Conv(_) | Layer::Linear { .. } if results[of] || rectified[of] => Place::Number,
            Layer::Relu | Layer::Relu6 => match same() {
                Place::Number => Place::Own,
                same => same,
            },
            Layer::Flatten
            | Layer::MaxPool(_)
            | Layer::Subsample { .. }
            | Layer::Crop { .. }
            | Layer::Shift
            | Layer::TakeChannels { .. }
            | Layer::PadChannels { .. }
            | Layer::DropPath
            | Layer::Dropout { .. } => same(),
            Layer::Conv(_)
            | Layer::Linear { .. }
            | Layer::AvgPool { .. }
            | Layer::GlobalMean
            | Layer::Concat
            | Layer::Add
            | Layer::Scale
            | Layer::Activation { .. }
            | Layer::Zero { .. }
            | Layer::Norm { .. } => Place::Own,
            Layer::Mix { .. } => {
                return Err(unsupported(format!(
                    "`{}` is a weighted sum of candidates: the network is one that is still searched, and only found ones are \
                     quantised",
                    graph.values[of].name
                )));
            }
        };
    }
    Ok(places)
}

/// The parameters of convolutions and linear layers as whole numbers.
fn params(
    prepared: &Prepared,
    values: &[Option<Affine>],
) -> io::Result<HashMap<String, QuantisedParam>> {
    let weights = Weights::new(&prepared.graph, &prepared.state)?;
    let mut params = HashMap::new();
    for layer in &prepared.graph.layers {
        let Some(weight) = weights.get(layer, ParamKind::Weight) else {
            continue;
        };
        let named = |kind| layer.params.iter().find(|p| p.kind == kind);
        let name = &prepared.graph.values[layer.output].name;
        let (Some(input), Some(weight_param)) = (values[layer.inputs[0]], named(ParamKind::Weight))
        else {
            return Err(invalid(format!(
                "`{name}` reads a value that is not quantised"
            )));
        };
        let bias = weights.get(layer, ParamKind::Bias);
        let in_scale = f64::from(input.scale);
        // With a smaller scale the bias would not fit into 32 bits.
        let least = |c: usize| bias.map_or(0.0, |b| b[c].abs() / in_scale / f64::from(1 << 30));
        let bytes = Bytes::of_weight(weight, weight_param.shape[0], least);
        if let (Some(bias), Some(param)) = (bias, named(ParamKind::Bias)) {
            let scales: Vec<f32> = bytes.scales.iter().map(|s| input.scale * s).collect();
            let values = bias.iter().zip(&scales);
            let values = values.map(|(b, s)| (b / f64::from(*s)).round_ties_even() as i32);
            let bias = QuantisedParam::Bias {
                values: values.collect(),
                scales,
            };
            params.insert(param.name.clone(), bias);
        }
        params.insert(weight_param.name.clone(), QuantisedParam::Weight(bytes));
    }
    Ok(params)
}
