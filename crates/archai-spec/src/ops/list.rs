//! The list of layers to which an op lowers, and the builder with which it is written.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::function::{Activation, Share};
use super::layer::{ConvShape, Layer};
use crate::desc::{Cost, DescError, DescErrorKind, OpCatalog, OpDesc, Shape};

/// A value while layers are listed: an input, or what a layer gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(usize);

impl Value {
    /// Its index among the values: inputs first, then what each step gives.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A layer on values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStep {
    /// Name of its output, relative to the op: `conv1`, `bn1`, `relu2`. Its parameters are named below it
    /// (`conv1.weight`).
    pub name: String,
    /// The layer.
    #[serde(flatten)]
    pub layer: Layer,
    /// Indices of the values that it reads.
    pub inputs: Vec<usize>,
}

/// Layers in an order in which each comes after what it reads. Value i is input i for i < `n_inputs`; after these, each
/// step gives one more value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerList {
    /// How many values are given.
    pub n_inputs: usize,
    /// The layers.
    pub steps: Vec<LayerStep>,
    /// Index of the value that is the result. An identity gives back an input.
    pub output: usize,
}

impl LayerList {
    /// The layers, if each reads what the one before gives (the first one reads input 0) and the last one gives the
    /// result.
    pub fn chain(&self) -> Option<Vec<&Layer>> {
        let mut value = 0;
        for (i, step) in self.steps.iter().enumerate() {
            if step.inputs != [value] {
                return None;
            }
            value = self.n_inputs + i;
        }
        (self.output == value).then(|| self.steps.iter().map(|s| &s.layer).collect())
    }

    /// Whether the result is zero whatever the inputs.
    pub fn is_zero(&self) -> bool {
        let last = self.output.checked_sub(self.n_inputs);
        let step = last.and_then(|i| self.steps.get(i));
        step.is_some_and(|step| matches!(step.layer, Layer::Zero { .. }))
    }

    /// Shapes of all values, and the cost of each step.
    ///
    /// # Errors
    /// Another number of inputs than the list has; the first layer that its inputs do not fit, or that reads a value which
    /// does not come before it.
    pub fn trace(&self, inputs: &[Shape]) -> Result<(Vec<Shape>, Vec<Cost>), DescError> {
        if inputs.len() != self.n_inputs {
            let (n, given) = (self.n_inputs, inputs.len());
            return Err(reference(format!(
                "the list of layers reads {n} input(s), but is given {given}"
            )));
        }
        let mut shapes = inputs.to_vec();
        let mut costs = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let read = |&i: &usize| {
                shapes.get(i).copied().ok_or_else(|| {
                    let known = shapes.len();
                    let name = &step.name;
                    reference(format!(
                        "`{name}` reads value {i}, but only {known} value(s) come before it"
                    ))
                })
            };
            let read = (step.inputs.iter().map(read)).collect::<Result<Vec<Shape>, _>>()?;
            let (out, cost) = step.layer.measure(&read)?;
            shapes.push(out);
            costs.push(cost);
        }
        Ok((shapes, costs))
    }

    /// Shape of the result, and the cost of the whole.
    ///
    /// # Errors
    /// As [`LayerList::trace`]; a result that is none of the values.
    pub fn measure(&self, inputs: &[Shape]) -> Result<(Shape, Cost), DescError> {
        let (shapes, costs) = self.trace(inputs)?;
        let out = shapes.get(self.output).copied().ok_or_else(|| {
            let (output, n) = (self.output, shapes.len());
            reference(format!("the result is value {output}, but there are {n}"))
        })?;
        Ok((out, costs.into_iter().sum()))
    }
}

fn reference(text: String) -> DescError {
    DescError::new(DescErrorKind::Reference, text)
}

/// Lists the layers of an op, or of many ops one after the other. Layers are numbered by kind in order of use within an op:
/// `conv1`, `conv2`, …, `bn1`, …, `relu1`, ….
///
/// ```
/// use archai_spec::desc::OpCatalog;
/// use archai_spec::ops::{ConvShape, LayerBuilder};
/// let catalog = OpCatalog::builtin();
/// let (mut b, inputs) = LayerBuilder::new(&catalog, 1, true);
/// let x = b.conv(inputs[0], ConvShape::new(3, 8, 3));
/// let x = b.norm(x, 8);
/// let sum = b.add(&[x, x]);
/// let list = b.finish(sum);
/// assert_eq!(list.steps.last().map(|s| s.name.as_str()), Some("add1"));
/// ```
pub struct LayerBuilder<'a> {
    catalog: &'a OpCatalog,
    n_inputs: usize,
    steps: Vec<LayerStep>,
    prefix: String,
    affine: bool,
    counts: HashMap<&'static str, usize>,
}

impl<'a> LayerBuilder<'a> {
    /// An empty list of layers on `n_inputs` values, which are returned with it. `affine` says whether norms have learnt
    /// scales and shifts.
    pub fn new(catalog: &'a OpCatalog, n_inputs: usize, affine: bool) -> (Self, Vec<Value>) {
        let builder = LayerBuilder {
            catalog,
            n_inputs,
            steps: Vec::new(),
            prefix: String::new(),
            affine,
            counts: HashMap::new(),
        };
        (builder, (0..n_inputs).map(Value).collect())
    }

    /// The list, `output` being its result.
    pub fn finish(self, output: Value) -> LayerList {
        LayerList {
            n_inputs: self.n_inputs,
            steps: self.steps,
            output: output.0,
        }
    }

    /// Whether norms have learnt scales and shifts.
    pub fn affine(&self) -> bool {
        self.affine
    }

    /// What op names mean.
    pub fn catalog(&self) -> &'a OpCatalog {
        self.catalog
    }

    /// How many layers are listed.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether no layer is listed yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Any layer.
    pub fn layer(&mut self, layer: Layer, inputs: &[Value]) -> Value {
        let kind = layer.name();
        let n = self.counts.entry(kind).or_insert(0);
        *n += 1;
        let name = match self.prefix.as_str() {
            "" => format!("{kind}{n}"),
            prefix => format!("{prefix}.{kind}{n}"),
        };
        self.steps.push(LayerStep {
            name,
            layer,
            inputs: inputs.iter().map(|v| v.0).collect(),
        });
        Value(self.n_inputs + self.steps.len() - 1)
    }

    /// max(x, 0).
    pub fn relu(&mut self, x: Value) -> Value {
        self.layer(Layer::Relu, &[x])
    }

    /// min(max(x, 0), 6).
    pub fn relu6(&mut self, x: Value) -> Value {
        self.layer(Layer::Relu6, &[x])
    }

    /// Any other function of each number.
    pub fn activation(&mut self, x: Value, function: Activation) -> Value {
        self.layer(Layer::Activation { function }, &[x])
    }

    /// Each channel times its number among `factors`, a map of one pixel.
    pub fn scale(&mut self, x: Value, factors: Value) -> Value {
        self.layer(Layer::Scale, &[x, factors])
    }

    /// A dropout.
    pub fn dropout(&mut self, x: Value, share: Share) -> Value {
        self.layer(Layer::Dropout { share }, &[x])
    }

    /// A convolution.
    pub fn conv(&mut self, x: Value, shape: ConvShape) -> Value {
        self.layer(Layer::Conv(shape), &[x])
    }

    /// A norm, affine if [`LayerBuilder::affine`].
    pub fn norm(&mut self, x: Value, channels: usize) -> Value {
        let affine = self.affine;
        self.layer(Layer::Norm { channels, affine }, &[x])
    }

    /// Flattened, then a linear layer with bias.
    pub fn linear(&mut self, x: Value, n_in: usize, n_out: usize) -> Value {
        let x = self.layer(Layer::Flatten, &[x]);
        let bias = true;
        self.layer(Layer::Linear { n_in, n_out, bias }, &[x])
    }

    /// All channels, one value after the other.
    pub fn concat(&mut self, values: &[Value]) -> Value {
        self.layer(Layer::Concat, values)
    }

    /// The sum.
    pub fn add(&mut self, values: &[Value]) -> Value {
        self.layer(Layer::Add, values)
    }

    /// The layers of another op, whose numbering goes on with this one's.
    ///
    /// # Errors
    /// An op that is unknown or does not lower, by name; another number of inputs than it reads.
    pub fn child(&mut self, op: &OpDesc, inputs: &[Value]) -> Result<Value, DescError> {
        let info = self.catalog.get(&op.name)?;
        info.arity().check(op, inputs.len())?;
        let outer = self.affine;
        self.affine = op.affine.unwrap_or(outer);
        let value = info.lower(op, inputs, self);
        self.affine = outer;
        value
    }

    /// The layers of another op, below a name of its own.
    ///
    /// # Errors
    /// As [`LayerBuilder::child`].
    pub fn child_named(
        &mut self,
        name: &str,
        op: &OpDesc,
        inputs: &[Value],
    ) -> Result<Value, DescError> {
        self.below(name, |b| b.child(op, inputs))
    }

    /// Lists layers below a name of their own, numbered from one.
    pub fn below<T>(&mut self, name: &str, list: impl FnOnce(&mut Self) -> T) -> T {
        let inner = match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        };
        let prefix = std::mem::replace(&mut self.prefix, inner);
        let counts = std::mem::take(&mut self.counts);
        let result = list(self);
        self.prefix = prefix;
        self.counts = counts;
        result
    }

    /// As [`LayerBuilder::below`], with norms that have learnt scales and shifts or not.
    pub(crate) fn below_with<T>(
        &mut self,
        name: &str,
        affine: bool,
        list: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let outer = std::mem::replace(&mut self.affine, affine);
        let result = self.below(name, list);
        self.affine = outer;
        result
    }
}
