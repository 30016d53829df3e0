//! The open catalogue of ops: what a name in a description means for shapes and cost, without building tensors.
//! A catalogue is a value; users register ops of their own beside the built-in ones.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use super::error::suggest;
use super::{Cost, DescError, DescErrorKind, Finalized, OpDesc, ParamValue, Shape};
use crate::ops::{LayerBuilder, LayerList, Value};

/// Most channels, classes or features that a description may ask for; larger numbers are typing errors.
pub const MAX_CHANNELS: usize = 1 << 20;

/// How many states an op reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Fixed(usize),
    /// One or more.
    Any,
}

impl Arity {
    /// Whether an op may be given so many inputs.
    pub(crate) fn check(self, op: &OpDesc, given: usize) -> Result<(), DescError> {
        let (wanted, ok) = match self {
            Arity::Fixed(n) => (format!("{n}"), given == n),
            Arity::Any => ("one or more".to_string(), given > 0),
        };
        if ok {
            return Ok(());
        }
        Err(DescError::new(
            DescErrorKind::Reference,
            format!(
                "`{}` reads {wanted} input(s), but is given {given}",
                op.name
            ),
        ))
    }
}

/// Type of a parameter of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A text.
    Text,
    /// A list of whole numbers.
    Ints,
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParamType::Bool => "true or false",
            ParamType::Int => "a whole number",
            ParamType::Float => "a number",
            ParamType::Text => "a text",
            ParamType::Ints => "a list of whole numbers",
        })
    }
}

impl ParamType {
    fn accepts(self, value: &ParamValue) -> bool {
        matches!(
            (self, value),
            (ParamType::Bool, ParamValue::Bool(_))
                | (ParamType::Int, ParamValue::Int(_))
                | (ParamType::Float, ParamValue::Float(_) | ParamValue::Int(_))
                | (ParamType::Text, ParamValue::Text(_))
                | (ParamType::Ints, ParamValue::Ints(_))
        )
    }
}

/// A parameter that an op understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    /// Its name below `params`.
    pub name: &'static str,
    /// Its type.
    pub ty: ParamType,
    /// One line on what it does.
    pub summary: &'static str,
}

/// What an op's name means. The catalogue checks names, channel limits, parameter names and types and the number of inputs
/// before it asks; an entry answers for the rest.
///
/// An op that consists of the layers of [`crate::ops`] lists them in [`OpInfo::lower`], and that is all: shapes and costs
/// follow, the engine executes the list, and exporters write it.
///
/// ```
/// use archai_spec::desc::{DescError, OpCatalog, OpDesc, OpInfo, Shape};
/// use archai_spec::ops::{ConvShape, LayerBuilder, Value};
/// /// A 3×3 convolution in two groups, and its ReLU6.
/// struct Grouped;
/// impl OpInfo for Grouped {
///     fn name(&self) -> &str { "grouped_conv_3x3" }
///     fn summary(&self) -> &str { "3×3 convolution in two groups, ReLU6" }
///     fn lower(&self, op: &OpDesc, inputs: &[Value], b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
///         let shape = ConvShape { groups: 2, ..ConvShape::new(op.ch_in, op.ch_out, 3) };
///         let x = b.conv(inputs[0], shape);
///         Ok(b.relu6(x))
///     }
/// }
/// let mut catalog = OpCatalog::builtin();
/// catalog.register(Grouped)?;
/// let cost = catalog.cost(&OpDesc::new("grouped_conv_3x3", 8, 4), &[Shape::new(8, 5, 5)], true)?;
/// assert_eq!(cost.params, 4 * 4 * 9);
/// # Ok::<(), DescError>(())
/// ```
///
/// An op that does not lower gives its shape and cost itself:
///
/// ```
/// use archai_spec::desc::{Cost, DescError, OpCatalog, OpDesc, OpInfo, Shape};
/// /// Swish: no weights, the shape stays.
/// struct Swish;
/// impl OpInfo for Swish {
///     fn name(&self) -> &str { "swish" }
///     fn summary(&self) -> &str { "x · sigmoid(x)" }
///     fn measure(&self, _: &OpDesc, inputs: &[Shape], _: bool, _: &OpCatalog) -> Result<(Shape, Cost), DescError> {
///         Ok((inputs[0], Cost::default()))
///     }
/// }
/// let mut catalog = OpCatalog::builtin();
/// catalog.register(Swish).unwrap();
/// assert!(catalog.register(Swish).is_err(), "names are unique");
/// let error = catalog.lower(&OpDesc::new("swish", 8, 8), 1, true).unwrap_err();
/// assert!(error.to_string().contains("`swish` is not made of layers"));
/// ```
pub trait OpInfo: Send + Sync {
    /// Name in descriptions.
    fn name(&self) -> &str;
    /// One line for `archai ops`.
    fn summary(&self) -> &str;
    /// How many states the op reads.
    fn arity(&self) -> Arity {
        Arity::Fixed(1)
    }
    /// Parameters that the op understands; all others are errors.
    fn params(&self) -> &[ParamInfo] {
        &[]
    }
    /// Whether the op consists of the ops in [`OpDesc::children`].
    fn has_children(&self) -> bool {
        false
    }
    /// Whether searches may choose the op for an edge.
    fn is_primitive(&self) -> bool {
        false
    }
    /// Whether the output is zero whatever the input. A search may offer such an op; a found network keeps it only where an
    /// edge offers nothing else.
    fn is_zero(&self) -> bool {
        false
    }
    /// Whether drop-path may drop this op's output.
    fn can_drop_path(&self, _op: &OpDesc) -> bool {
        true
    }
    /// What remains of the op in a found network, and how strongly it is wanted there. `weights` are the relaxed architecture
    /// parameters of its edge, one per child where the op is a choice ([`OpDesc::is_mixed`]), none otherwise. Default: the
    /// op as it is, without a rank.
    ///
    /// # Errors
    /// A child that the catalogue does not know.
    fn finalize(
        &self,
        op: &OpDesc,
        _weights: &[f64],
        _catalog: &OpCatalog,
    ) -> Result<Finalized, DescError> {
        Ok(Finalized {
            desc: op.clone(),
            rank: None,
        })
    }
    /// Its colour in drawings, `#rrggbb`, for ops that are drawn often; the others take turns.
    fn colour(&self) -> Option<&str> {
        None
    }
    /// Lists the op's layers on `inputs` and gives the result. The description has passed [`OpInfo::check`] where it comes
    /// from a file; `b` says whether norms are affine.
    ///
    /// # Errors
    /// The op, or one inside it, is not made of layers: the default.
    fn lower(
        &self,
        op: &OpDesc,
        _inputs: &[Value],
        _b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        Err(DescError::new(
            DescErrorKind::NoLayers,
            format!(
                "`{}` is not made of layers that are known outside the program; implement `OpInfo::lower` for it, or \
                 choose another op",
                op.name
            ),
        ))
    }
    /// How many input features `ch_in` has to count for an input of this shape: its channels, unless the op flattens.
    fn in_features(&self, input: Shape) -> usize {
        input.channels
    }
    /// Whether `ch_in` counts the features of all inputs together, so that they may differ; other ops read inputs of `ch_in`
    /// features each.
    fn joins_channels(&self) -> bool {
        false
    }
    /// Checks what does not depend on the inputs: stride, channels, values of parameters, children.
    ///
    /// # Errors
    /// Says what the op cannot have.
    fn check(&self, _op: &OpDesc, _catalog: &OpCatalog) -> Result<(), DescError> {
        Ok(())
    }
    /// Shape of the output, parameters and multiply-adds, at once: an op asks each op inside it a single time, by
    /// [`OpCatalog::measure`]. `inputs` has the right number of shapes, each with `ch_in` features (or all together, see
    /// [`OpInfo::joins_channels`]). `affine`: norms have learnt scales and shifts. Default: what the layers give.
    ///
    /// # Errors
    /// Says which shape does not fit, and what would.
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        let lower = |inputs: &[Value], b: &mut LayerBuilder<'_>| self.lower(op, inputs, b);
        catalog.measure_layers(op, inputs, affine, lower)
    }
}

/// Ops by name, in the order in which they were registered.
#[derive(Clone)]
pub struct OpCatalog {
    ops: IndexMap<String, Arc<dyn OpInfo>>,
}

impl fmt::Debug for OpCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ops.keys()).finish()
    }
}

impl Default for OpCatalog {
    fn default() -> Self {
        OpCatalog::builtin()
    }
}

impl OpCatalog {
    /// A catalogue without ops.
    pub fn empty() -> Self {
        OpCatalog {
            ops: IndexMap::new(),
        }
    }
    /// All ops that come with the program.
    pub fn builtin() -> Self {
        let mut catalog = OpCatalog::empty();
        for op in crate::ops::all() {
            catalog.ops.insert(op.name().to_string(), Arc::new(op));
        }
        for op in crate::ops::parametric() {
            catalog.ops.insert(op.name().to_string(), Arc::new(op));
        }
        catalog
    }
    /// Adds an op.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register(&mut self, op: impl OpInfo + 'static) -> Result<(), DescError> {
        let name = op.name().to_string();
        if self.ops.contains_key(&name) {
            return Err(DescError::new(
                DescErrorKind::DuplicateOp,
                format!("an op named `{name}` is registered already; choose another name"),
            ));
        }
        self.ops.insert(name, Arc::new(op));
        Ok(())
    }
    /// The entry of a name.
    ///
    /// # Errors
    /// No such op; the nearest names are listed.
    pub fn get(&self, name: &str) -> Result<&dyn OpInfo, DescError> {
        self.ops.get(name).map(AsRef::as_ref).ok_or_else(|| {
            DescError::new(
                DescErrorKind::UnknownOp,
                format!(
                    "unknown op `{name}`; {}",
                    suggest(name, self.ops.keys().map(String::as_str))
                ),
            )
        })
    }
    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &dyn OpInfo> {
        self.ops.values().map(AsRef::as_ref)
    }
    /// Checks an op and its children, without inputs.
    ///
    /// # Errors
    /// Unknown op, unknown or mistyped parameter, channels or stride that the op cannot have, children where none may be.
    pub fn check(&self, op: &OpDesc) -> Result<(), DescError> {
        let info = self.get(&op.name)?;
        let error = |text: String| {
            Err(DescError::new(
                DescErrorKind::Param,
                format!("`{}` {text}", op.name),
            ))
        };
        for (field, value) in [("ch_in", op.ch_in), ("ch_out", op.ch_out)] {
            if value == 0 || value > MAX_CHANNELS {
                return error(format!(
                    "has `{field}: {value}`; expected 1 to {MAX_CHANNELS}"
                ));
            }
        }
        for (key, value) in &op.params {
            let Some(param) = info.params().iter().find(|p| p.name == key) else {
                return error(if info.params().is_empty() {
                    format!("takes no parameters, but `params` has `{key}`; remove it")
                } else {
                    format!(
                        "has no parameter `{key}`; {}",
                        suggest(key, info.params().iter().map(|p| p.name))
                    )
                });
            };
            if !param.ty.accepts(value) {
                return error(format!("has `{key}: {value}`; expected {}", param.ty));
            }
        }
        if info.has_children() && op.children.is_empty() {
            return error("needs ops in `children`".into());
        }
        if !info.has_children() && !op.children.is_empty() {
            return error("is a single op and cannot have `children`; remove them".into());
        }
        for (i, child) in op.children.iter().enumerate() {
            self.check(&child.op)
                .map_err(|e| e.at(format!("child {i} of `{}`", op.name)))?;
        }
        info.check(op, self)
    }
    /// Shape of an op's output.
    ///
    /// # Errors
    /// Wrong number of inputs, wrong channels (both shapes are named), sizes that the op cannot take.
    pub fn out_shape(&self, op: &OpDesc, inputs: &[Shape]) -> Result<Shape, DescError> {
        Ok(self.measure(op, inputs, false)?.0)
    }
    /// Parameters and multiply-adds of an op. `affine` is the model's choice; the op's own comes first.
    ///
    /// # Errors
    /// As [`OpCatalog::out_shape`].
    pub fn cost(&self, op: &OpDesc, inputs: &[Shape], affine: bool) -> Result<Cost, DescError> {
        Ok(self.measure(op, inputs, affine)?.1)
    }
    /// Shape of an op's output, and its cost: [`OpCatalog::out_shape`] and [`OpCatalog::cost`] at once.
    ///
    /// # Errors
    /// As [`OpCatalog::out_shape`].
    pub fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
    ) -> Result<(Shape, Cost), DescError> {
        let info = self.get(&op.name)?;
        info.arity().check(op, inputs.len())?;
        if info.joins_channels() {
            let total = inputs
                .iter()
                .fold(0usize, |n, s| n.saturating_add(info.in_features(*s)));
            if total != op.ch_in {
                return Err(DescError::new(
                    DescErrorKind::Shape,
                    format!(
                        "`{}` expects {} channels in all (`ch_in`), but its inputs have {total}",
                        op.name, op.ch_in
                    ),
                ));
            }
        } else if let Some(input) = inputs.iter().find(|s| info.in_features(**s) != op.ch_in) {
            return Err(DescError::new(
                DescErrorKind::Shape,
                format!(
                    "`{}` expects {} channels (`ch_in`), but its input is {input}, which gives {}",
                    op.name,
                    op.ch_in,
                    info.in_features(*input)
                ),
            ));
        }
        let (out, cost) = info.measure(op, inputs, op.affine.unwrap_or(affine), self)?;
        if out.channels != op.ch_out {
            return Err(DescError::new(
                DescErrorKind::Shape,
                format!(
                    "`{}` gives {out} here, but `ch_out` says {} channels",
                    op.name, op.ch_out
                ),
            ));
        }
        Ok((out, cost))
    }
    /// The layers of an op that reads `n_inputs` states. `affine` is the model's choice; the op's own comes first.
    ///
    /// # Errors
    /// Unknown op; an op that is not made of layers, or one inside it, by name; another number of inputs than it reads.
    pub fn lower(
        &self,
        op: &OpDesc,
        n_inputs: usize,
        affine: bool,
    ) -> Result<LayerList, DescError> {
        let (mut b, inputs) = LayerBuilder::new(self, n_inputs, affine);
        let output = b.child(op, &inputs)?;
        Ok(b.finish(output))
    }
    /// Output shape and cost of an op that is a choice among its children, each on the input that it names: the shape that
    /// all of them give, and the costs of all. For [`OpInfo::measure`] of such an op.
    ///
    /// # Errors
    /// A child that its input does not fit, or that gives another shape than the first one; a child that reads an input
    /// which is not there.
    pub fn measure_choice(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
    ) -> Result<(Shape, Cost), DescError> {
        let (mut out, mut total) = (None, Cost::default());
        for (i, child) in op.children.iter().enumerate() {
            let input = [op.input_of(i, inputs)?];
            let at = |e: DescError| e.at(format!("child {i} (`{}`)", child.op.name));
            let (shape, cost) = self.measure(&child.op, &input, affine).map_err(at)?;
            if let Some(first) = out.filter(|first| *first != shape) {
                let text = format!(
                    "gives {shape}, but child 0 gives {first}; all children of `{}` must agree",
                    op.name
                );
                return Err(at(DescError::new(DescErrorKind::Shape, text)));
            }
            out = Some(shape);
            total += cost;
        }
        // An op without children is refused by `check`.
        Ok((out.unwrap_or(inputs[0]), total))
    }
    /// Shape and cost of the layers that `lower` lists for `op`.
    pub(crate) fn measure_layers(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        lower: impl FnOnce(&[Value], &mut LayerBuilder<'_>) -> Result<Value, DescError>,
    ) -> Result<(Shape, Cost), DescError> {
        let (mut b, values) = LayerBuilder::new(self, inputs.len(), affine);
        let output = lower(&values, &mut b)?;
        b.finish(output).measure(inputs).map_err(|e| DescError {
            message: format!("`{}`: {}", op.name, e.message),
            ..e
        })
    }
    /// Whether an op of this name gives zeros whatever its input; false for unknown names.
    ///
    /// ```
    /// use archai_spec::desc::OpCatalog;
    /// let catalog = OpCatalog::builtin();
    /// assert!(catalog.is_zero("none") && !catalog.is_zero("skip_connect"));
    /// ```
    pub fn is_zero(&self, name: &str) -> bool {
        self.ops.get(name).is_some_and(|op| op.is_zero())
    }
    /// What remains of an op in a found network; see [`OpInfo::finalize`].
    ///
    /// # Errors
    /// Unknown op; another number of weights than the op is a choice of.
    pub fn finalize(&self, op: &OpDesc, weights: &[f64]) -> Result<Finalized, DescError> {
        let info = self.get(&op.name)?;
        let wanted = if op.is_mixed() { op.children.len() } else { 0 };
        if weights.len() != wanted {
            return Err(DescError::new(
                DescErrorKind::Structure,
                format!(
                    "`{}` wants {wanted} weight(s) to finalise, but is given {}",
                    op.name,
                    weights.len()
                ),
            ));
        }
        info.finalize(op, weights, self)
    }
    /// Whether drop-path may drop this op's output.
    ///
    /// # Errors
    /// Unknown op.
    pub fn can_drop_path(&self, op: &OpDesc) -> Result<bool, DescError> {
        Ok(self.get(&op.name)?.can_drop_path(op))
    }
}
