//! Parameters as one value. A model's weights, their gradients and an optimiser's momentum are all a [`ParamVec`]: one
//! flat tensor per parameter, in the model's order, so that a look-ahead step is arithmetic and nothing must be restored.
//!
//! A parameter may pack several named pieces (scale and shift of a norm, or all weights of one op in the layout of a fast
//! kernel): only [`ParamSpec::pieces`] knows, and names reach files, exports and tests through [`ParamVec::named`] and
//! [`ParamVec::from_named`] alone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

pub use archai_export::NamedTensor;
use burn::tensor::Tensor;

use crate::compute::{Compute, to_host};
use crate::error::EngineError;
use archai_data::rng::Key;

/// Handle of a parameter of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) usize);

/// What a parameter is for: optimisers may treat norms apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// A convolution's or linear layer's weight or bias.
    Weight,
    /// Scale or shift of a normalisation.
    Norm,
}

/// A named part of a parameter, in the shape that other programs know (PyTorch's order of axes).
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Readable name, for example `cell0.node1.edge2.sep_conv_3x3.conv1.weight`.
    pub name: String,
    /// Shape in PyTorch's order of axes.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// What it is for.
    pub role: ParamRole,
}

impl Piece {
    /// Numbers in it.
    pub fn n_numbers(&self) -> usize {
        self.shape.iter().product()
    }
}

/// How a piece starts, drawn from a generator keyed by the run's seed and the piece's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in ±1/√fan_in: the framework default of PyTorch's convolutions and linear layers.
    FanIn(usize),
    /// A constant.
    Constant(f64),
}

/// A parameter: one flat tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its parts.
    pub pieces: Vec<Piece>,
    /// How the parts lie in the flat tensor: in the order in which a kernel reads them, piece by piece the same as
    /// `pieces` and with zeros between; or, without, one after the other in row-major order.
    pub packing: Option<Arc<archai_kernels::Packing>>,
}

impl ParamSpec {
    /// Numbers in it, padding not counted.
    pub fn n_numbers(&self) -> usize {
        self.pieces.iter().map(Piece::n_numbers).sum()
    }

    /// Length of the flat tensor, padding counted.
    pub fn flat_len(&self) -> usize {
        match &self.packing {
            Some(packing) => packing.len(),
            None => self.n_numbers(),
        }
    }

    /// Flat tensor from the pieces' numbers.
    fn pack(&self, pieces: impl Iterator<Item = Vec<f64>>, compute: &Compute) -> Tensor<1> {
        let n = self.flat_len();
        let Some(packing) = &self.packing else {
            return compute.tensor(pieces.flatten().collect(), [n]);
        };
        let mut flat = vec![0.0; n];
        for (place, values) in packing.tensors().iter().zip(pieces) {
            let values: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            place.pack(&values, &mut flat);
        }
        compute.tensor_f32(flat, [n])
    }

    /// The pieces' numbers from the flat tensor.
    fn unpack(&self, flat: &Tensor<1>) -> Vec<Vec<f64>> {
        let values = to_host(flat);
        let Some(packing) = &self.packing else {
            let mut rest = values.as_slice();
            let pieces = self.pieces.iter();
            return pieces
                .map(|p| {
                    rest.split_off(..p.n_numbers())
                        .map_or(Vec::new(), <[f64]>::to_vec)
                })
                .collect();
        };
        let flat: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
        let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect();
        packing
            .tensors()
            .iter()
            .map(|p| wide(p.unpack(&flat)))
            .collect()
    }

    /// Where in the flat tensor each piece lies.
    fn ranges(&self) -> Vec<Range<usize>> {
        let mut end = 0;
        let range = |(i, piece): (usize, &Piece)| {
            let range = match &self.packing {
                Some(packing) => {
                    let place = &packing.tensors()[i];
                    place.offset..place.offset + place.packed_len
                }
                None => end..end + piece.n_numbers(),
            };
            end = range.end;
            range
        };
        self.pieces.iter().enumerate().map(range).collect()
    }

    /// A number for each piece, as it falls to the numbers of the flat tensor; 1 between the pieces.
    pub(crate) fn spread(&self, of: impl Fn(&Piece) -> f64) -> Spread {
        let numbers: Vec<f64> = self.pieces.iter().map(of).collect();
        match numbers.split_first() {
            None => Spread::All(1.0),
            Some((&first, rest)) if rest.iter().all(|&n| n == first) => Spread::All(first),
            Some(_) => {
                let mut each = vec![1.0; self.flat_len()];
                for (number, range) in numbers.into_iter().zip(self.ranges()) {
                    each[range].fill(number);
                }
                Spread::Each(each)
            }
        }
    }

    /// What the numbers of the flat tensor are for.
    pub fn roles(&self) -> Roles {
        let first = self.pieces.first().map_or(ParamRole::Weight, |p| p.role);
        if self.pieces.iter().all(|p| p.role == first) {
            return Roles::All(first);
        }
        let mut is_norm = vec![false; self.flat_len()];
        for (piece, range) in self.pieces.iter().zip(self.ranges()) {
            is_norm[range].fill(piece.role == ParamRole::Norm);
        }
        Roles::IsNorm(is_norm)
    }
}

/// A number for all numbers of a flat tensor, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spread {
    All(f64),
    Each(Vec<f64>),
}

/// What the numbers of one flat tensor are for.
#[derive(Clone, Debug, PartialEq)]
pub enum Roles {
    /// All for the same.
    All(ParamRole),
    /// For each number, whether it belongs to a norm.
    IsNorm(Vec<bool>),
}

/// All parameters of a model, without their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamLayout {
    /// In the model's order.
    pub params: Vec<ParamSpec>,
}

impl ParamLayout {
    /// Numbers in all parameters.
    pub fn n_numbers(&self) -> usize {
        self.params.iter().map(ParamSpec::n_numbers).sum()
    }

    /// All pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.params.iter().flat_map(|p| &p.pieces)
    }
}

/// One flat tensor per parameter of a model: weights, gradients, momenta. A value: cloning shares the numbers until one
/// of the clones changes.
#[derive(Clone, Debug)]
pub struct ParamVec {
    pub(crate) layout: Arc<ParamLayout>,
    pub(crate) tensors: Vec<Tensor<1>>,
}

impl ParamVec {
    /// The starting values: each piece from its own generator, keyed by `key` and its name, so independent of order.
    pub(crate) fn init(layout: &Arc<ParamLayout>, key: &Key, compute: &Compute) -> ParamVec {
        let tensors = layout
            .params
            .iter()
            .map(|spec| {
                let pieces = spec.pieces.iter().map(|piece| {
                    let n = piece.n_numbers();
                    match piece.init {
                        Init::Constant(c) => vec![c; n],
                        Init::FanIn(fan_in) => {
                            let bound = 1.0 / (fan_in as f64).sqrt();
                            let mut rng = key.with(&piece.name).rng();
                            (0..n)
                                .map(|_| bound * (2.0 * rng.uniform_f64() - 1.0))
                                .collect()
                        }
                    }
                });
                spec.pack(pieces, compute)
            })
            .collect();
        ParamVec {
            layout: layout.clone(),
            tensors,
        }
    }

    /// Names, shapes and roles.
    pub fn layout(&self) -> &Arc<ParamLayout> {
        &self.layout
    }

    /// Number of parameters (flat tensors).
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Numbers in all parameters.
    pub fn n_numbers(&self) -> usize {
        self.layout.n_numbers()
    }

    /// The flat tensors, in the model's order.
    pub fn tensors(&self) -> &[Tensor<1>] {
        &self.tensors
    }

    /// The parts of parameter `i`, and how they lie in its flat tensor.
    pub fn spec(&self, i: usize) -> &ParamSpec {
        &self.layout.params[i]
    }

    /// Zeros of the same shapes.
    pub fn zeros_like(&self) -> ParamVec {
        self.map(|t| t.zeros_like())
    }

    /// Applies `f` to each parameter.
    pub fn map(&self, f: impl FnMut(&Tensor<1>) -> Tensor<1>) -> ParamVec {
        ParamVec {
            layout: self.layout.clone(),
            tensors: self.tensors.iter().map(f).collect(),
        }
    }

    /// Applies `f` to each pair of parameters. Both must belong to the same model.
    pub fn zip_map(
        &self,
        other: &ParamVec,
        mut f: impl FnMut(&Tensor<1>, &Tensor<1>) -> Tensor<1>,
    ) -> ParamVec {
        assert_eq!(
            self.len(),
            other.len(),
            "parameters of two different models"
        );
        let tensors = self
            .tensors
            .iter()
            .zip(&other.tensors)
            .map(|(a, b)| f(a, b))
            .collect();
        ParamVec {
            layout: self.layout.clone(),
            tensors,
        }
    }

    /// self + by·other
    pub fn add_scaled(&self, other: &ParamVec, by: f64) -> ParamVec {
        self.zip_map(other, |a, b| a.clone() + b.clone() * by)
    }

    /// by·self
    pub fn scale(&self, by: f64) -> ParamVec {
        self.map(|t| t.clone() * by)
    }

    /// Euclidean norm over all numbers: summed in order and in 64 bits, so independent of threads.
    pub fn norm(&self) -> f64 {
        sum_of_squares(&self.tensors).sqrt()
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        sum_of_squares(&self.tensors).is_finite()
    }

    /// All pieces by name.
    pub fn named(&self) -> Vec<NamedTensor> {
        let mut named = Vec::new();
        for (spec, tensor) in self.layout.params.iter().zip(&self.tensors) {
            for (piece, values) in spec.pieces.iter().zip(spec.unpack(tensor)) {
                named.push(NamedTensor {
                    name: piece.name.clone(),
                    shape: piece.shape.clone(),
                    values,
                });
            }
        }
        named
    }

    /// Packs named tensors.
    ///
    /// # Errors
    /// [`EngineError::Shape`] names every tensor that is missing, unknown, doubled or of another shape.
    pub fn from_named(
        layout: &Arc<ParamLayout>,
        tensors: &[NamedTensor],
        compute: &Compute,
    ) -> Result<ParamVec, EngineError> {
        let names = layout
            .pieces()
            .map(|p| (p.name.as_str(), p.shape.as_slice()));
        let by_name = match_names(names, tensors)?;
        let tensors = layout
            .params
            .iter()
            .map(|spec| {
                let pieces = spec.pieces.iter();
                spec.pack(
                    pieces.map(|p| by_name[p.name.as_str()].values.clone()),
                    compute,
                )
            })
            .collect();
        Ok(ParamVec {
            layout: layout.clone(),
            tensors,
        })
    }
}

/// Σ x² over all tensors, in 64 bits and in a fixed order.
pub(crate) fn sum_of_squares(tensors: &[Tensor<1>]) -> f64 {
    tensors.iter().map(squares).sum()
}

/// Σ x² in several running sums, so that one addition need not wait for the last.
fn squares(tensor: &Tensor<1>) -> f64 {
    fn add<T: Copy + Into<f64>>(values: &[T]) -> f64 {
        let mut sums = [0.0; 8];
        for chunk in values.chunks(sums.len()) {
            for (sum, &v) in sums.iter_mut().zip(chunk) {
                let v: f64 = v.into();
                *sum += v * v;
            }
        }
        sums.iter().sum()
    }
    let data = tensor.to_data();
    match (data.as_slice::<f32>(), data.as_slice::<f64>()) {
        (Ok(values), _) => add(values),
        (_, Ok(values)) => add(values),
        _ => to_host(tensor).iter().map(|x| x * x).sum(),
    }
}

/// Pairs wanted names and shapes with tensors, or says everything that does not fit.
pub(crate) fn match_names<'a, 't>(
    wanted: impl Iterator<Item = (&'a str, &'a [usize])>,
    tensors: &'t [NamedTensor],
) -> Result<HashMap<&'a str, &'t NamedTensor>, EngineError> {
    let mut given: HashMap<&str, &NamedTensor> = HashMap::new();
    let mut wrong = Vec::new();
    for t in tensors {
        if given.insert(&t.name, t).is_some() {
            wrong.push(format!("`{}` is given twice", t.name));
        }
    }
    let mut found = HashMap::new();
    for (name, shape) in wanted {
        match given.remove(name) {
            None => wrong.push(format!("`{name}` (shape {shape:?}) is missing")),
            Some(t) if t.shape != shape => wrong.push(format!(
                "`{name}` has shape {:?} instead of {shape:?}",
                t.shape
            )),
            Some(t) if t.values.len() != shape.iter().product::<usize>() => wrong.push(format!(
                "`{name}` of shape {shape:?} has {} numbers",
                t.values.len()
            )),
            Some(t) => {
                found.insert(name, t);
            }
        }
    }
    let mut unknown: Vec<&str> = given.into_keys().collect();
    unknown.sort_unstable();
    wrong.extend(
        unknown
            .iter()
            .map(|name| format!("`{name}` is not part of the model")),
    );
    if wrong.is_empty() {
        return Ok(found);
    }
    let n = wrong.len();
    wrong.truncate(20);
    if n > 20 {
        wrong.push(format!("and {} more", n - 20));
    }
    Err(EngineError::Shape(format!(
        "tensors do not fit the model: {}",
        wrong.join("; ")
    )))
}
