//! Spaces in Rust: closures write layers, setters of ops take values or choices of the right type, and what comes out is the
//! same [`SpaceDesc`] that the language gives.
//!
//! ```
//! use archai_search::space::build::{Act, ConvBn, Dense, Linear, MbConv, MeanPool, Seq, one_of, residual};
//! use archai_search::space::Space;
//! fn chain(s: &mut Seq) {
//!     s.push(ConvBn::new(16).kernel(3).stride(2));
//!     for widths in [[24, 32], [40, 48]] {
//!         s.scope(|s| {
//!             let width = s.bind("width", one_of(widths));            // once for the stage
//!             s.repeat(one_of([2, 3, 4]), |i, s| {                    // once for each layer
//!                 s.push(MbConv::new(&width).kernel(one_of([3, 5])).stride(if i == 0 { 2 } else { 1 }));
//!             });
//!         });
//!     }
//!     s.push(MeanPool).push(Linear::classes());
//! }
//! let space = Space::image("chain", [3, 64, 64], 10, chain)?.limit("$s2.width >= $s1.width + 16")?;
//! assert_eq!(space.report().members.to_string(), (3 * (4 + 8 + 16u32).pow(2)).to_string());
//! # Ok::<(), archai_search::space::SpaceError>(())
//! ```

use std::marker::PhantomData;
use std::ops::{Add, Mul, Sub};

use archai_spec::desc::Shape;

use super::desc::{
    Binding, Cells, Condition, Dag, DagEdges, DagOutput, Layer, LayerKind, Let, Lit, Pos,
    SpaceDesc, Stage, Value, ValueKind,
};
use super::expr::{Binary, Expr};
use super::yaml::{is_name, ordered};
use super::{Space, SpaceError};

/// An activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The identity.
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x · min(max(x + 3, 0), 6) / 6.
    Hswish,
    /// x · Φ(x).
    Gelu,
    /// x · σ(x).
    Silu,
}

impl From<Act> for Lit {
    fn from(act: Act) -> Lit {
        Lit::from(match act {
            Act::None => "none",
            Act::Relu => "relu",
            Act::Relu6 => "relu6",
            Act::Hswish => "hswish",
            Act::Gelu => "gelu",
            Act::Silu => "silu",
        })
    }
}

/// What makes the factors of a squeeze-and-excite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// min(max(x + 3, 0), 6) / 6, as in MobileNetV3.
    Hsigmoid,
    /// σ(x), as in the first paper.
    Sigmoid,
}

impl From<Gate> for Lit {
    fn from(gate: Gate) -> Lit {
        Lit::from(match gate {
            Gate::Hsigmoid => "hsigmoid",
            Gate::Sigmoid => "sigmoid",
        })
    }
}
impl From<usize> for Lit {
    fn from(value: usize) -> Lit {
        // Larger numbers are refused by the check.
        Lit::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<i32> for Lit {
    fn from(value: i32) -> Lit {
        Lit::Int(value.into())
    }
}

/// What a setter wants: a value of type `T`, a choice of such, a name that was bound, or what is computed of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Val<T> {
    value: Value,
    of: PhantomData<T>,
}

/// A type of options, and what setters call it.
pub trait Options: Into<Lit> {
    /// The type of the setters that take it.
    type Of;
}
impl Options for usize {
    type Of = usize;
}
impl Options for i32 {
    type Of = usize;
}
impl Options for bool {
    type Of = bool;
}
impl Options for f64 {
    type Of = f64;
}
impl Options for Act {
    type Of = Act;
}
impl Options for Gate {
    type Of = Gate;
}

fn value(kind: ValueKind) -> Value {
    Value {
        pos: Pos::default(),
        kind,
    }
}

fn val<T>(kind: ValueKind) -> Val<T> {
    Val {
        value: value(kind),
        of: PhantomData,
    }
}

/// A choice among values.
pub fn one_of<I: Options>(options: impl IntoIterator<Item = I>) -> Val<I::Of> {
    let options = options.into_iter().map(|option| (None, Value::lit(option)));
    val(ValueKind::OneOf(options.collect()))
}

impl From<usize> for Val<usize> {
    fn from(n: usize) -> Self {
        val(ValueKind::Lit(n.into()))
    }
}
impl From<i32> for Val<usize> {
    fn from(n: i32) -> Self {
        val(ValueKind::Lit(n.into()))
    }
}
impl From<bool> for Val<bool> {
    fn from(b: bool) -> Self {
        val(ValueKind::Lit(b.into()))
    }
}
impl From<f64> for Val<f64> {
    fn from(x: f64) -> Self {
        val(ValueKind::Lit(x.into()))
    }
}
impl From<Act> for Val<Act> {
    fn from(act: Act) -> Self {
        val(ValueKind::Lit(act.into()))
    }
}
impl From<Gate> for Val<Gate> {
    fn from(gate: Gate) -> Self {
        val(ValueKind::Lit(gate.into()))
    }
}
impl<T: Clone> From<&Val<T>> for Val<T> {
    fn from(v: &Val<T>) -> Self {
        v.clone()
    }
}

impl Val<usize> {
    fn expr(&self) -> Expr {
        match &self.value.kind {
            ValueKind::Lit(lit) => Expr::Lit(lit.clone()),
            ValueKind::Name(name) => Expr::Name(name.clone()),
            ValueKind::Expr(expr) => expr.clone(),
            // The check says that this is no name: what is computed with must be bound before.
            ValueKind::OneOf(_) | ValueKind::Subset(..) => {
                Expr::Name("(a choice that is not bound)".to_owned())
            }
        }
    }
    fn with(&self, op: Binary, other: usize) -> Val<usize> {
        let (a, b) = (Box::new(self.expr()), Box::new(Expr::Lit(other.into())));
        val(ValueKind::Expr(Expr::Binary(op, a, b)))
    }
}
impl Add<usize> for &Val<usize> {
    type Output = Val<usize>;
    fn add(self, other: usize) -> Val<usize> {
        self.with(Binary::Add, other)
    }
}
impl Sub<usize> for &Val<usize> {
    type Output = Val<usize>;
    fn sub(self, other: usize) -> Val<usize> {
        self.with(Binary::Sub, other)
    }
}
impl Mul<usize> for &Val<usize> {
    type Output = Val<usize>;
    fn mul(self, other: usize) -> Val<usize> {
        self.with(Binary::Mul, other)
    }
}

fn layer(kind: LayerKind) -> Layer {
    Layer {
        pos: Pos::default(),
        kind,
    }
}

/// Any op by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    name: String,
    args: Vec<(String, Value)>,
}

impl Op {
    /// An op of the language or of the catalogue.
    pub fn new(name: &str) -> Op {
        Op {
            name: name.to_owned(),
            args: Vec::new(),
        }
    }
    /// With an argument.
    #[must_use]
    pub fn arg<T>(mut self, name: &str, value: impl Into<Val<T>>) -> Op {
        self.args.retain(|(known, _)| known != name);
        self.args.push((name.to_owned(), value.into().value));
        self
    }
}

impl From<Op> for Layer {
    fn from(op: Op) -> Layer {
        let args = ordered(&op.name, op.args);
        layer(LayerKind::Op(op.name, args))
    }
}

macro_rules! op {
    ($(#[$about:meta])* $type:ident = $name:literal { $($(#[$what:meta])* $arg:ident: $ty:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $type(Op);

        impl $type {
            $($(#[$what])*
            #[must_use]
            pub fn $arg(self, value: impl Into<Val<$ty>>) -> Self {
                $type(self.0.arg::<$ty>(stringify!($arg), value))
            })*
        }

        impl From<$type> for Layer {
            fn from(op: $type) -> Layer {
                op.0.into()
            }
        }
    };
}

macro_rules! new {
    (out: $($type:ident = $name:literal),*) => {
        $(impl $type {
            /// With so many channels, or features, that come out.
            pub fn new(out: impl Into<Val<usize>>) -> Self {
                $type(Op::new($name).arg::<usize>("out", out))
            }
            /// With as many that come out as come in.
            pub fn same() -> Self {
                $type(Op::new($name))
            }
        })*
    };
}

op! {
    /// Convolution, norm, activation.
    ConvBn = "conv_bn" {
        /// Side of the kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// Groups of channels.
        groups: usize,
        /// Distance of the kernel's taps.
        dilation: usize,
        /// Activation.
        act: Act,
    }
}
op! {
    /// Convolution, with a norm or a bias, activation.
    Conv = "conv" {
        /// Side of the kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// Groups of channels.
        groups: usize,
        /// Distance of the kernel's taps.
        dilation: usize,
        /// Activation.
        act: Act,
        /// Whether a norm follows.
        norm: bool,
    }
}
op! {
    /// Inverted residual block.
    MbConv = "mbconv" {
        /// Side of the kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// By how much there are more channels inside.
        expand: usize,
        /// Whether it squeezes and excites.
        se: bool,
        /// By how much there are fewer channels inside of squeeze-and-excite.
        ratio: usize,
        /// What makes the factors of squeeze-and-excite (default: a hard sigmoid).
        gate: Gate,
        /// Activation.
        act: Act,
    }
}
op! {
    /// The residual block between the stages of NAS-Bench-201's networks.
    BasicBlock = "basic_block" {
        /// Stride.
        stride: usize,
    }
}
op! {
    /// ResNet's basic block.
    ResBlock = "res_block" {
        /// Side of the kernels.
        kernel: usize,
        /// Stride.
        stride: usize,
    }
}
op! {
    /// ResNet's bottleneck.
    Bottleneck = "bottleneck" {
        /// Side of the kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// By how much there are fewer channels inside.
        ratio: usize,
        /// Groups of channels.
        groups: usize,
    }
}
op! {
    /// Linear layer, norm, activation, dropout.
    Dense = "dense" {
        /// Activation.
        act: Act,
        /// Whether a norm follows.
        norm: bool,
        /// Share of features that training sets to zero.
        dropout: f64,
    }
}
new!(out: ConvBn = "conv_bn", Conv = "conv", MbConv = "mbconv", BasicBlock = "basic_block", ResBlock = "res_block",
    Bottleneck = "bottleneck", Dense = "dense");

/// Norm, ReLU.
#[derive(Clone, Copy, Debug)]
pub struct BnRelu;
/// Mean over height and width.
#[derive(Clone, Copy, Debug)]
pub struct MeanPool;
/// The input itself.
#[derive(Clone, Copy, Debug)]
pub struct Identity;
/// The classifier.
#[derive(Clone, Copy, Debug)]
pub struct Linear(());

impl Linear {
    /// With a number for each class.
    pub fn classes() -> Linear {
        Linear(())
    }
}

impl From<BnRelu> for Layer {
    fn from(_: BnRelu) -> Layer {
        Op::new("bn_relu").into()
    }
}
impl From<MeanPool> for Layer {
    fn from(_: MeanPool) -> Layer {
        layer(LayerKind::Op(
            "pool".to_owned(),
            vec![("kind".to_owned(), Value::lit("mean"))],
        ))
    }
}
impl From<Identity> for Layer {
    fn from(_: Identity) -> Layer {
        Op::new("identity").into()
    }
}
impl From<Linear> for Layer {
    fn from(_: Linear) -> Layer {
        let classes = value(ValueKind::Name("classes".to_owned()));
        layer(LayerKind::Op(
            "linear".to_owned(),
            vec![("out".to_owned(), classes)],
        ))
    }
}

/// The input plus what a layer makes of it.
pub fn residual(inner: impl Into<Layer>) -> Layer {
    layer(LayerKind::Residual(vec![inner.into()]))
}

/// A small graph of so many nodes and one input; see [`Dag`].
pub fn dag(nodes: usize) -> DagBuilder {
    DagBuilder(Dag {
        inputs: 1,
        nodes,
        edges: DagEdges::Every,
        ops: Vec::new(),
        on_nodes: false,
        output: DagOutput::Last,
    })
}

/// A [`Dag`] in the making.
#[derive(Clone, Debug)]
pub struct DagBuilder(Dag);

impl DagBuilder {
    /// With so many inputs.
    #[must_use]
    pub fn inputs(mut self, n: usize) -> Self {
        self.0.inputs = n;
        self
    }
    /// Every node reads all earlier states, each through one of these ops.
    #[must_use]
    pub fn every_edge<L: Into<Layer>>(self, ops: impl IntoIterator<Item = L>) -> Self {
        self.with(DagEdges::Every, ops)
    }
    /// Every node reads `k` earlier states, which ones being a choice, each through one of these ops.
    #[must_use]
    pub fn pick<L: Into<Layer>>(self, k: usize, ops: impl IntoIterator<Item = L>) -> Self {
        self.with(DagEdges::Pick(k), ops)
    }
    fn with<L: Into<Layer>>(mut self, edges: DagEdges, ops: impl IntoIterator<Item = L>) -> Self {
        self.0.edges = edges;
        let labelled = |layer: Layer| {
            let label = match &layer.kind {
                LayerKind::Op(name, _) => name.clone(),
                _ => "op".to_owned(),
            };
            (label, vec![layer])
        };
        self.0.ops = ops.into_iter().map(|op| labelled(op.into())).collect();
        self
    }
    /// The ops are on nodes, not on edges.
    #[must_use]
    pub fn on_nodes(mut self) -> Self {
        self.0.on_nodes = true;
        self
    }
    /// What comes out is the last node.
    #[must_use]
    pub fn output_last(mut self) -> Self {
        self.0.output = DagOutput::Last;
        self
    }
    /// What comes out are all nodes, joined.
    #[must_use]
    pub fn output_concat(mut self) -> Self {
        self.0.output = DagOutput::Concat;
        self
    }
    /// What comes out are the nodes that no other reads, joined.
    #[must_use]
    pub fn output_unused(mut self) -> Self {
        self.0.output = DagOutput::Unused;
        self
    }
}

impl From<DagBuilder> for Layer {
    fn from(dag: DagBuilder) -> Layer {
        layer(LayerKind::Dag(dag.0))
    }
}
impl From<&str> for Layer {
    fn from(op: &str) -> Layer {
        Op::new(op).into()
    }
}

/// Layers that were bound: chosen once, however often they are used.
#[derive(Clone, Debug)]
pub struct Fragment(String);

impl From<Fragment> for Layer {
    fn from(fragment: Fragment) -> Layer {
        layer(LayerKind::Name(fragment.0))
    }
}
impl From<&Fragment> for Layer {
    fn from(fragment: &Fragment) -> Layer {
        fragment.clone().into()
    }
}

/// Layers one after the other.
#[derive(Clone, Debug, Default)]
pub struct Seq {
    layers: Vec<Layer>,
    lets: Vec<Let>,
    /// Stages so far, in the whole network.
    stages: usize,
    /// Whether names may be bound here.
    is_scope: bool,
    errors: Vec<String>,
}

impl Seq {
    /// Adds a layer.
    pub fn push(&mut self, layer: impl Into<Layer>) -> &mut Self {
        self.layers.push(layer.into());
        self
    }

    /// Binds a name to a value, which is chosen once for the scope.
    pub fn bind<T>(&mut self, name: &str, choice: Val<T>) -> Val<T> {
        self.bound(name, Binding::Value(choice.value));
        val(ValueKind::Name(name.to_owned()))
    }

    /// Binds a name to a layer, whose choices are made once for the scope.
    pub fn bind_fragment(&mut self, name: &str, layer: impl Into<Layer>) -> Fragment {
        self.bound(name, Binding::Layers(vec![layer.into()]));
        Fragment(name.to_owned())
    }

    fn bound(&mut self, name: &str, binding: Binding) {
        if !self.is_scope {
            self.errors.push(format!(
                "`{name}` is bound within a repetition or an option; bind it before, or within a `scope`"
            ));
        }
        if !is_name(name) || name == "classes" {
            self.errors.push(format!(
                "`{name}` cannot be a name: names have letters, digits and `_`, begin with a letter and are not `classes`"
            ));
        }
        self.lets.push(Let {
            name: name.to_owned(),
            pos: Pos::default(),
            binding,
        });
    }

    fn inner(&mut self, is_scope: bool, f: impl FnOnce(&mut Seq)) -> Seq {
        let mut inner = Seq {
            stages: self.stages,
            is_scope,
            ..Seq::default()
        };
        f(&mut inner);
        self.stages = inner.stages;
        self.errors.append(&mut inner.errors);
        inner
    }

    /// Repeats layers, each time with choices of their own. `f` is told which repetition it writes; what differs between
    /// the first one and the others are arguments of the first layer, within a [`Seq::scope`].
    pub fn repeat(
        &mut self,
        times: impl Into<Val<usize>>,
        f: impl Fn(usize, &mut Seq),
    ) -> &mut Self {
        let times = times.into().value;
        let [first, second, third] = [0, 1, 2].map(|i| self.inner(false, |s| f(i, s)).layers);
        if second != third {
            self.errors.push(
                "repetitions differ from the second on; only the arguments of the first layer of the first one may"
                    .to_owned(),
            );
        }
        if first == second {
            self.layers
                .push(layer(LayerKind::Repeat { times, body: first }));
            return self;
        }
        match first_arguments(&first, &second) {
            Some(first) => self.layers.push(layer(LayerKind::Stage(Stage {
                id: String::new(),
                lets: Vec::new(),
                times,
                first,
                body: second,
            }))),
            None => self.errors.push(
                "the first repetition differs from the others by more than arguments that its first layer has besides"
                    .to_owned(),
            ),
        }
        self
    }

    /// A stage: names that are bound in it are chosen once for it. It holds one repetition, and is called `s1`, `s2`, … in
    /// conditions.
    pub fn scope(&mut self, f: impl FnOnce(&mut Seq)) -> &mut Self {
        self.stages += 1;
        let id = format!("s{}", self.stages);
        let inner = self.inner(true, f);
        let mut layers = inner.layers.into_iter();
        let stage = match (layers.next().map(|layer| layer.kind), layers.next()) {
            (Some(LayerKind::Repeat { times, body }), None) => Some((times, Vec::new(), body)),
            (Some(LayerKind::Stage(stage)), None) if stage.id.is_empty() => {
                Some((stage.times, stage.first, stage.body))
            }
            _ => None,
        };
        match stage {
            Some((times, first, body)) => self.layers.push(layer(LayerKind::Stage(Stage {
                id,
                lets: inner.lets,
                times,
                first,
                body,
            }))),
            None => self.errors.push(format!(
                "the scope `{id}` holds something else than one `repeat`"
            )),
        }
        self
    }

    /// One of several layers, each with its label.
    pub fn either<'a>(&mut self, options: impl IntoIterator<Item = (&'a str, Layer)>) -> &mut Self {
        let options = options.into_iter();
        let options = options.map(|(label, layer)| (label.to_owned(), vec![layer]));
        self.layers.push(layer(LayerKind::OneOf(options.collect())));
        self
    }

    /// Layers side by side, added up or joined along the channels.
    pub fn branches(&mut self, add: bool, of: impl IntoIterator<Item = Vec<Layer>>) -> &mut Self {
        let of = of.into_iter().collect();
        self.layers.push(layer(LayerKind::Branches { add, of }));
        self
    }

    /// Cells of two inputs: the kind of each, and the graph of each kind.
    pub fn cells<'a>(
        &mut self,
        channels: impl Into<Val<usize>>,
        sequence: impl IntoIterator<Item = &'a str>,
        kinds: impl IntoIterator<Item = (&'a str, DagBuilder)>,
    ) -> &mut Self {
        let kinds = kinds
            .into_iter()
            .map(|(kind, dag)| (kind.to_owned(), dag.0));
        self.layers.push(layer(LayerKind::Cells(Cells {
            channels: channels.into().value,
            sequence: sequence.into_iter().map(str::to_owned).collect(),
            kinds: kinds.collect(),
        })));
        self
    }
}

/// The arguments that the first layer of the first body has besides those of the others.
fn first_arguments(first: &[Layer], others: &[Layer]) -> Option<Vec<(String, Value)>> {
    let ([first, rest @ ..], [other, others @ ..]) = (first, others) else {
        return None;
    };
    let (LayerKind::Op(a, first), LayerKind::Op(b, other)) = (&first.kind, &other.kind) else {
        return None;
    };
    let kept = |(name, _): &&(String, Value)| first.iter().any(|(known, _)| known == name);
    if a != b || rest != others || other.iter().filter(kept).count() < other.len() {
        return None;
    }
    let more = first.iter().filter(|arg| !other.contains(arg));
    Some(more.cloned().collect())
}

impl Space {
    /// A space of networks for images of these channels, height and width, checked as a whole.
    ///
    /// # Errors
    /// As [`Space::parse`]; closures that write what the language cannot say.
    pub fn image(
        name: &str,
        [channels, height, width]: [usize; 3],
        classes: usize,
        network: impl FnOnce(&mut Seq),
    ) -> Result<Space, SpaceError> {
        Space::new(desc(
            name,
            Shape::new(channels, height, width),
            classes,
            network,
        )?)
    }

    /// A space of networks for rows of so many features, checked as a whole.
    ///
    /// # Errors
    /// As [`Space::image`].
    pub fn table(
        name: &str,
        features: usize,
        classes: usize,
        network: impl FnOnce(&mut Seq),
    ) -> Result<Space, SpaceError> {
        Space::new(desc(name, Shape::new(features, 1, 1), classes, network)?)
    }

    /// The space with one more condition.
    ///
    /// # Errors
    /// The condition cannot be read, or no member meets it.
    pub fn limit(self, condition: &str) -> Result<Space, SpaceError> {
        let mut desc = self.desc().clone();
        desc.conditions.push(Condition {
            pos: Pos::default(),
            text: condition.to_owned(),
            expr: Expr::parse(condition).map_err(SpaceError::new)?,
        });
        Space::new(desc)
    }
}

/// What a closure writes.
///
/// # Errors
/// What the language cannot say.
pub fn desc(
    name: &str,
    input: Shape,
    classes: usize,
    network: impl FnOnce(&mut Seq),
) -> Result<SpaceDesc, SpaceError> {
    let mut seq = Seq {
        is_scope: true,
        ..Seq::default()
    };
    network(&mut seq);
    let unnamed = |layer: &Layer| matches!(&layer.kind, LayerKind::Stage(s) if s.id.is_empty());
    if seq.layers.iter().any(unnamed) {
        seq.errors
            .push("a repetition whose first time differs stands in a `scope`".to_owned());
    }
    if !is_name(name) {
        seq.errors.push(format!(
            "`{name}` is no name of a space: it has letters, digits and `_`, and begins with a letter"
        ));
    }
    match seq.errors.is_empty() {
        true => Ok(SpaceDesc {
            name: name.to_owned(),
            input,
            classes,
            lets: seq.lets,
            network: seq.layers,
            conditions: Vec::new(),
            recipe: Vec::new(),
        }),
        false => Err(SpaceError::new(seq.errors.join("\n"))),
    }
}
