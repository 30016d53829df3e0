//! The description of one operation.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::error::{DescError, DescErrorKind};
use crate::ops::{MIXED_OP, MULTI_OP, search_params};

/// An op by name, with its channels, stride and parameters. What a name means is said by an
/// `OpCatalog`; users may add names of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpDesc {
    /// Name in the catalogue, for example `sep_conv_3x3`.
    pub name: String,
    /// Channels of each input (of all together, for `concat_states`; features, for `linear`).
    pub ch_in: usize,
    /// Channels of the output.
    pub ch_out: usize,
    /// Stride: 1, or 2 to halve height and width.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Norms of this op have learnt scales and shifts; absent takes the model's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affine: Option<bool>,
    /// Further parameters, typed and checked by the op's entry in the catalogue, for example `norm: true` of a pool.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub params: IndexMap<String, ParamValue>,
    /// Ops inside this one: the primitives of a `mixed_op`, the parts of a `multi_op`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildDesc>,
}

/// An op inside another one, and which input of the outer op it reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildDesc {
    /// Index into the outer op's inputs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub input: usize,
    /// The op.
    pub op: OpDesc,
}

/// What remains of an op in a found network.
#[derive(Clone, Debug, PartialEq)]
pub struct Finalized {
    /// The op that remains.
    pub desc: OpDesc,
    /// How strongly it is wanted; edges without a rank are always kept.
    pub rank: Option<f64>,
}

/// A parameter of an op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list of whole numbers.
    Ints(Vec<i64>),
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ParamValue::Bool(v) => write!(f, "{v}"),
            ParamValue::Int(v) => write!(f, "{v}"),
            ParamValue::Float(v) => write!(f, "{v}"),
            ParamValue::Text(v) => write!(f, "{v}"),
            ParamValue::Ints(v) => write!(f, "{v:?}"),
        }
    }
}

fn one() -> usize {
    1
}
fn is_one(n: &usize) -> bool {
    *n == 1
}
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl OpDesc {
    /// An op with stride 1 and no parameters.
    ///
    /// ```
    /// use archai_spec::desc::OpDesc;
    /// let op = OpDesc::new("sep_conv_3x3", 16, 16).with_stride(2);
    /// assert_eq!((op.ch_out, op.stride), (16, 2));
    /// ```
    pub fn new(name: impl Into<String>, ch_in: usize, ch_out: usize) -> Self {
        OpDesc {
            name: name.into(),
            ch_in,
            ch_out,
            stride: 1,
            affine: None,
            params: IndexMap::new(),
            children: Vec::new(),
        }
    }
    /// The same op with another stride.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }
    /// The same op with its own choice of affine norms.
    pub fn with_affine(mut self, affine: impl Into<Option<bool>>) -> Self {
        self.affine = affine.into();
        self
    }
    /// The same op with one more parameter.
    pub fn with_param(mut self, name: &str, value: ParamValue) -> Self {
        self.params.insert(name.to_string(), value);
        self
    }
    /// The same op with these children, each reading input 0.
    pub fn with_children(mut self, children: impl IntoIterator<Item = OpDesc>) -> Self {
        self.children = children
            .into_iter()
            .map(|op| ChildDesc { input: 0, op })
            .collect();
        self
    }
    /// The mixed op of DARTS (eq. 2): a weighted sum of `primitives`, all from and to `channels`, all with `stride`. The built-in
    /// pools are followed by a norm, as in the original search; a found network has them bare.
    ///
    /// ```
    /// use archai_spec::desc::{OpDesc, PRIMITIVES};
    /// let op = OpDesc::mixed(&PRIMITIVES, 16, 2);
    /// assert_eq!(op.children.len(), 8);
    /// assert!(op.is_mixed() && op.children[0].op.flag("norm"));
    /// ```
    pub fn mixed<S: AsRef<str>>(primitives: &[S], channels: usize, stride: usize) -> Self {
        OpDesc::new(MIXED_OP, channels, channels)
            .with_stride(stride)
            .with_children(primitives.iter().map(|name| {
                let op = OpDesc::new(name.as_ref(), channels, channels).with_stride(stride);
                let searched = search_params(name.as_ref()).iter();
                searched.fold(op, |op, param| op.with_param(param, ParamValue::Bool(true)))
            }))
    }
    /// The one of the op's `inputs` (shapes, values, …) that child `child` reads.
    ///
    /// # Errors
    /// There is no such input.
    pub(crate) fn input_of<T: Copy>(&self, child: usize, inputs: &[T]) -> Result<T, DescError> {
        let input = self.children[child].input;
        inputs.get(input).copied().ok_or_else(|| {
            let (name, n) = (&self.name, inputs.len());
            let text = format!("reads input {input} of `{name}`, which has {n} input(s)");
            DescError::new(DescErrorKind::Reference, text).at(format!("child {child}"))
        })
    }
    /// Names of the children of a mixed op, below which their parameters stand: the ops' own, those of twins numbered
    /// (`sep_conv_3x3`, `sep_conv_3x3_2`).
    pub fn child_names(&self) -> Vec<String> {
        let names = self.children.iter().map(|c| &c.op.name);
        let twins = |i: usize, name: &String| names.clone().take(i).filter(|n| *n == name).count();
        let named = names
            .clone()
            .enumerate()
            .map(|(i, name)| match twins(i, name) {
                0 => name.clone(),
                n => format!("{name}_{}", n + 1),
            });
        named.collect()
    }
    /// Whether the op is a choice among its children, with one architecture parameter per child. Every op with children
    /// is one, except [`MULTI_OP`], whose children all run.
    pub fn is_mixed(&self) -> bool {
        !self.children.is_empty() && self.name != MULTI_OP
    }
    /// A whole-number parameter, where it is given.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.params.get(name) {
            Some(ParamValue::Int(v)) => Some(*v),
            _ => None,
        }
    }
    /// A truth parameter; false where absent.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.params.get(name), Some(ParamValue::Bool(true)))
    }
}
