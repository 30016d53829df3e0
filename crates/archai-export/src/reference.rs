//! What each layer computes, by the plainest loops in 64 bits: the definition against which files for other programs and
//! faster engines are held. It is slow on purpose and meant for tests and for small networks.

use std::collections::BTreeMap;
use std::io;

use archai_spec::desc::ArchKey;
use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::{ConvShape, Layer, ParamKind, PoolShape};

use crate::weights::NORM_EPSILON;
use crate::{NamedTensor, Weights, invalid};

/// Feature maps of several images.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// Images, channels, height, width.
    pub shape: [usize; 4],
    /// The numbers in row-major order.
    pub values: Vec<f64>,
}

impl Maps {
    /// Maps of these numbers.
    ///
    /// # Errors
    /// There are more or fewer numbers than the shape says.
    pub fn new(shape: [usize; 4], values: Vec<f64>) -> io::Result<Maps> {
        let expected: usize = shape.iter().product();
        if values.len() != expected {
            return Err(invalid(format!(
                "maps of shape {shape:?} hold {expected} numbers; {} are given",
                values.len()
            )));
        }
        Ok(Maps { shape, values })
    }

    /// Maps whose number of image n, channel c, row y and column x is `at(n, c, y, x)`.
    pub fn from_fn(shape: [usize; 4], at: impl Fn(usize, usize, usize, usize) -> f64) -> Maps {
        let [n, c, h, w] = shape;
        let mut values = Vec::with_capacity(n * c * h * w);
        for i in 0..n {
            for j in 0..c {
                for y in 0..h {
                    values.extend((0..w).map(|x| at(i, j, y, x)));
                }
            }
        }
        Maps { shape, values }
    }

    /// The number of image `n`, channel `c`, row `y` and column `x`.
    pub fn at(&self, n: usize, c: usize, y: usize, x: usize) -> f64 {
        self.plane(n, c)[y * self.shape[3] + x]
    }

    /// One channel of one image.
    pub fn plane(&self, n: usize, c: usize) -> &[f64] {
        let [_, channels, h, w] = self.shape;
        &self.values[(n * channels + c) * h * w..][..h * w]
    }

    /// Some of the images.
    ///
    /// # Panics
    /// If there are fewer.
    #[must_use]
    pub fn slice(&self, images: std::ops::Range<usize>) -> Maps {
        let [_, c, h, w] = self.shape;
        let size = c * h * w;
        Maps {
            shape: [images.len(), c, h, w],
            values: self.values[images.start * size..images.end * size].to_vec(),
        }
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Maps {
        Maps {
            shape: self.shape,
            values: self.values.iter().map(|&v| f(v)).collect(),
        }
    }
}

/// A graph and its numbers, ready to be executed.
///
/// ```
/// use archai_export::NamedTensor;
/// use archai_export::reference::{Maps, Reference};
/// use archai_spec::graph::Graph;
/// # fn f(graph: &Graph, state: &[NamedTensor], images: &Maps) -> std::io::Result<()> {
/// let logits = Reference::new(graph, state)?.logits(images)?;
/// assert_eq!(logits.shape[0], images.shape[0]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Reference<'a> {
    graph: &'a Graph,
    weights: Weights<'a>,
    mixtures: BTreeMap<ArchKey, Vec<f64>>,
    batch_statistics: bool,
}

impl<'a> Reference<'a> {
    /// A network as it is used once it is trained: norms go by their running statistics.
    ///
    /// # Errors
    /// As [`Weights::new`].
    pub fn new(graph: &'a Graph, state: &'a [NamedTensor]) -> io::Result<Self> {
        Ok(Reference {
            graph,
            weights: Weights::new(graph, state)?,
            mixtures: BTreeMap::new(),
            batch_statistics: false,
        })
    }

    /// Norms go by the statistics of the images given, as in training.
    #[must_use]
    pub fn with_batch_statistics(self) -> Self {
        Reference {
            batch_statistics: true,
            ..self
        }
    }

    /// The weights of a supernet's mixtures, one for each candidate of the edge that owns them.
    #[must_use]
    pub fn with_mixtures(self, weights: impl IntoIterator<Item = (ArchKey, Vec<f64>)>) -> Self {
        Reference {
            mixtures: weights.into_iter().collect(),
            ..self
        }
    }

    /// All values of the graph for these images, the images first.
    ///
    /// # Errors
    /// Images of another shape than the network's; a mixture without weights.
    pub fn values(&self, images: &Maps) -> io::Result<Vec<Maps>> {
        let mut values = Vec::with_capacity(self.graph.values.len());
        self.execute(images, None, |_, maps| values.push(maps.clone()))?;
        Ok(values)
    }

    /// The logits, maps of one pixel with a channel per class.
    ///
    /// # Errors
    /// As [`Reference::values`].
    pub fn logits(&self, images: &Maps) -> io::Result<Maps> {
        self.walk(images, |_, _| {})
    }

    /// The logits, where `visit` sees each value (its index in the graph) once it is there, the images first, and may change
    /// it: layers read what it leaves.
    ///
    /// # Errors
    /// As [`Reference::values`].
    pub fn walk(&self, images: &Maps, visit: impl FnMut(usize, &mut Maps)) -> io::Result<Maps> {
        self.execute(images, Some(self.graph.logits), visit)
    }

    /// Executes the layers in order and shows each value once it is there. If only one value is `wanted`, the others are
    /// given free after their last use, and that one comes back; else the last one does.
    fn execute(
        &self,
        images: &Maps,
        wanted: Option<usize>,
        mut visit: impl FnMut(usize, &mut Maps),
    ) -> io::Result<Maps> {
        let expected = self.graph.values[0].shape;
        let expected = [expected.channels, expected.height, expected.width];
        if images.shape[1..] != expected {
            return Err(invalid(format!(
                "images have the shape {:?} (channels, height, width); the network takes {expected:?}",
                &images.shape[1..]
            )));
        }
        let mut last_use = vec![0; self.graph.values.len()];
        for (i, layer) in self.graph.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&v| last_use[v] = i);
        }
        let wanted = wanted.unwrap_or(self.graph.values.len() - 1);
        let mut image = images.clone();
        visit(0, &mut image);
        let mut values: Vec<Option<Maps>> = vec![None; self.graph.values.len()];
        values[0] = Some(image);
        for (i, layer) in self.graph.layers.iter().enumerate() {
            let read = |&v: &usize| {
                values[v]
                    .as_ref()
                    .expect("a layer comes after what it reads")
            };
            let inputs: Vec<&Maps> = layer.inputs.iter().map(read).collect();
            let mut out = self.layer(layer, &inputs)?;
            let said = self.graph.values[layer.output].shape;
            let said = [said.channels, said.height, said.width];
            if out.shape[1..] != said {
                return Err(invalid(format!(
                    "`{}` should have the shape {said:?}, but the layer gives {:?}",
                    self.graph.values[layer.output].name,
                    &out.shape[1..]
                )));
            }
            visit(layer.output, &mut out);
            for &v in layer
                .inputs
                .iter()
                .filter(|&&v| last_use[v] == i && v != wanted)
            {
                values[v] = None;
            }
            values[layer.output] = Some(out);
        }
        Ok(values[wanted].take().expect("a graph gives all its values"))
    }

    fn param(&self, layer: &GraphLayer, kind: ParamKind) -> &'a [f64] {
        let param = self.weights.get(layer, kind);
        param.expect("`Weights` has all parameters of a layer, which lists what it needs")
    }

    fn layer(&self, layer: &GraphLayer, inputs: &[&Maps]) -> io::Result<Maps> {
        let x = inputs[0];
        let said = self.graph.values[layer.output].shape;
        let shape = [x.shape[0], said.channels, said.height, said.width];
        let pixels = (x.shape[2] * x.shape[3]) as f64;
        Ok(match &layer.layer {
            Layer::Zero { .. } => Maps::from_fn(shape, |_, _, _, _| 0.0),
            // What is no number stays none.
            Layer::Relu => x.map(|v| if v < 0.0 { 0.0 } else { v }),
            Layer::Relu6 => x.map(|v| v.clamp(0.0, 6.0)),
            Layer::Activation { function } => x.map(|v| function.apply(v)),
            Layer::Conv(conv) => self.conv(layer, conv, x, shape),
            Layer::Norm { .. } => self.norm(layer, x),
            Layer::MaxPool(p) => windows(x, shape, p, |seen| {
                let larger = |m: f64, v: f64| if v > m || v.is_nan() { v } else { m };
                seen.flatten().fold(f64::NEG_INFINITY, larger)
            }),
            Layer::AvgPool {
                window,
                count_include_pad,
            } => windows(x, shape, window, |seen| {
                let (mut sum, mut count) = (0.0, 0);
                for v in seen {
                    sum += v.unwrap_or(0.0);
                    count += usize::from(v.is_some() || *count_include_pad);
                }
                sum / count as f64
            }),
            Layer::GlobalMean => Maps::from_fn(shape, |i, c, _, _| {
                x.plane(i, c).iter().sum::<f64>() / pixels
            }),
            Layer::Flatten => Maps {
                shape,
                values: x.values.clone(),
            },
            Layer::Linear { n_in, .. } => {
                let weight = self.param(layer, ParamKind::Weight);
                let bias = self.weights.get(layer, ParamKind::Bias);
                Maps::from_fn(shape, |i, c, _, _| {
                    let row = &weight[c * n_in..][..*n_in];
                    let features = &x.values[i * n_in..][..*n_in];
                    let terms = row.iter().zip(features).map(|(w, x)| w * x);
                    terms.sum::<f64>() + bias.map_or(0.0, |b| b[c])
                })
            }
            Layer::Subsample { stride } => {
                Maps::from_fn(shape, |i, c, y, z| x.at(i, c, y * stride, z * stride))
            }
            Layer::Crop { top, left } => {
                Maps::from_fn(shape, |i, c, y, z| x.at(i, c, y + top, z + left))
            }
            Layer::Shift => Maps::from_fn(shape, |i, c, y, z| {
                match y + 1 < x.shape[2] && z + 1 < x.shape[3] {
                    true => x.at(i, c, y + 1, z + 1),
                    false => 0.0,
                }
            }),
            Layer::TakeChannels { .. } => Maps::from_fn(shape, |i, c, y, z| x.at(i, c, y, z)),
            Layer::PadChannels { before, .. } => Maps::from_fn(shape, |i, c, y, z| {
                match c.checked_sub(*before).filter(|c| *c < x.shape[1]) {
                    Some(c) => x.at(i, c, y, z),
                    None => 0.0,
                }
            }),
            Layer::Concat => {
                let mut values = Vec::with_capacity(shape.iter().product());
                for i in 0..shape[0] {
                    for part in inputs {
                        let size = part.values.len() / shape[0];
                        values.extend_from_slice(&part.values[i * size..][..size]);
                    }
                }
                Maps { shape, values }
            }
            Layer::Add => weighted_sum(shape, inputs.iter().map(|part| (1.0, *part))),
            Layer::Scale => {
                let factors = inputs[1];
                Maps::from_fn(shape, |i, c, y, z| {
                    x.at(i, c, y, z) * factors.at(i, c, 0, 0)
                })
            }
            Layer::Mix { places, of } => {
                let name = &self.graph.values[layer.output].name;
                let weights = layer.arch.and_then(|key| self.mixtures.get(&key));
                let weights = weights.filter(|w| w.len() == *of).ok_or_else(|| {
                    invalid(format!(
                        "`{name}` is a weighted sum of candidates, but its {of} weights are not given"
                    ))
                })?;
                let parts = inputs.iter().zip(places);
                weighted_sum(shape, parts.map(|(part, &place)| (weights[place], *part)))
            }
            Layer::DropPath | Layer::Dropout { .. } => x.clone(),
        })
    }

    fn conv(&self, layer: &GraphLayer, conv: &ConvShape, x: &Maps, shape: [usize; 4]) -> Maps {
        let weight = self.param(layer, ParamKind::Weight);
        let bias = self.weights.get(layer, ParamKind::Bias);
        let (per_group, outs) = (conv.c_in / conv.groups, conv.c_out / conv.groups);
        let ([kh, kw], [n, _, _, w]) = (conv.kernel, shape);
        let mut values = Vec::with_capacity(shape.iter().product());
        for i in 0..n {
            for c in 0..conv.c_out {
                let mut out = vec![bias.map_or(0.0, |b| b[c]); shape[2] * w];
                for k in 0..per_group {
                    let plane = x.plane(i, c / outs * per_group + k);
                    for (r, s) in (0..kh).flat_map(|r| (0..kw).map(move |s| (r, s))) {
                        let tap = weight[((c * per_group + k) * kh + r) * kw + s];
                        let rows = seen(conv, 0, r, x.shape[2], shape[2]);
                        let columns = seen(conv, 1, s, x.shape[3], w);
                        for (y, row) in rows {
                            let (out, row) = (&mut out[y * w..][..w], &plane[row * x.shape[3]..]);
                            let columns = columns.clone();
                            match conv.stride[1] {
                                // The same as below, in a form that compilers make wide instructions of.
                                1 => {
                                    let Some((first, column)) = columns.clone().next() else {
                                        continue;
                                    };
                                    let out = &mut out[first..first + columns.len()];
                                    let row = &row[column..];
                                    out.iter_mut().zip(row).for_each(|(o, x)| *o += tap * x);
                                }
                                _ => columns.for_each(|(z, column)| out[z] += tap * row[column]),
                            }
                        }
                    }
                }
                values.extend(out);
            }
        }
        Maps { shape, values }
    }

    fn norm(&self, layer: &GraphLayer, x: &Maps) -> Maps {
        let [n, channels, h, w] = x.shape;
        let statistics = |c: usize| {
            if !self.batch_statistics {
                let mean = self.param(layer, ParamKind::RunningMean)[c];
                return (mean, self.param(layer, ParamKind::RunningVar)[c]);
            }
            let count = (n * h * w) as f64;
            let numbers = || (0..n).flat_map(|i| x.plane(i, c));
            let mean = numbers().sum::<f64>() / count;
            let squares = numbers().map(|v| (v - mean).powi(2));
            (mean, squares.sum::<f64>() / count)
        };
        let statistics: Vec<(f64, f64)> = (0..channels).map(statistics).collect();
        let scale = self.weights.get(layer, ParamKind::Scale);
        let shift = self.weights.get(layer, ParamKind::Shift);
        Maps::from_fn(x.shape, |i, c, y, z| {
            let (mean, var) = statistics[c];
            let normal = (x.at(i, c, y, z) - mean) / (var + NORM_EPSILON).sqrt();
            normal * scale.map_or(1.0, |s| s[c]) + shift.map_or(0.0, |s| s[c])
        })
    }
}

/// The outputs on an axis that tap `tap` of a convolution takes part in, each with the input that it meets there: none in the
/// padding.
fn seen(
    conv: &ConvShape,
    axis: usize,
    tap: usize,
    size: usize,
    outputs: usize,
) -> impl ExactSizeIterator<Item = (usize, usize)> + Clone {
    let (stride, padding) = (conv.stride[axis], conv.padding[axis]);
    let offset = tap * conv.dilation;
    let first = padding.saturating_sub(offset).div_ceil(stride);
    let end = (size + padding).saturating_sub(offset).div_ceil(stride);
    let end = end.min(outputs).max(first);
    (first..end).map(move |o| (o, o * stride + offset - padding))
}

/// Σ weight·maps, added from first to last.
fn weighted_sum<'m>(shape: [usize; 4], parts: impl Iterator<Item = (f64, &'m Maps)>) -> Maps {
    let mut values = vec![0.0; shape.iter().product()];
    for (weight, part) in parts {
        for (sum, v) in values.iter_mut().zip(&part.values) {
            *sum += weight * v;
        }
    }
    Maps { shape, values }
}

/// Reduces what each window of a pool sees, nothing where it sees padding.
fn windows(
    x: &Maps,
    shape: [usize; 4],
    p: &PoolShape,
    reduce: impl Fn(&mut dyn Iterator<Item = Option<f64>>) -> f64,
) -> Maps {
    let [_, _, height, width] = x.shape;
    Maps::from_fn(shape, |i, c, y, z| {
        let place = |o: usize, k: usize, size: usize| {
            let place = (o * p.stride + k).checked_sub(p.padding)?;
            (place < size).then_some(place)
        };
        let taps = (0..p.kernel).flat_map(|r| (0..p.kernel).map(move |s| (r, s)));
        reduce(&mut taps.map(|(r, s)| {
            let (row, column) = (place(y, r, height)?, place(z, s, width)?);
            Some(x.at(i, c, row, column))
        }))
    })
}
