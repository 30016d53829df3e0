//! A space as it is written: the same data whether it comes from YAML or from Rust. Places are remembered for messages and
//! do not count in comparisons.

use std::fmt;
use std::sync::Arc;

use archai_spec::desc::Shape;

use super::expr::Expr;

/// Where something was written: `mlp.yaml:11:21`.
#[derive(Clone, Default)]
pub struct Pos(pub(crate) Option<Arc<str>>);

impl fmt::Debug for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The same space in another file is the same space.
        f.write_str("@")
    }
}

impl PartialEq for Pos {
    fn eq(&self, _: &Pos) -> bool {
        true
    }
}

impl Pos {
    /// The place that a text names.
    pub fn at(place: impl fmt::Display) -> Pos {
        Pos(Some(place.to_string().into()))
    }

    /// Line and column of a place in a file.
    pub fn line(&self) -> Option<usize> {
        let mut parts = self.0.as_deref()?.rsplit(':');
        parts.next()?;
        parts.next()?.parse().ok()
    }
}

/// `mlp.yaml:11:21: `, or nothing where the place is not known.
impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(place) => write!(f, "{place}: "),
            None => Ok(()),
        }
    }
}

/// A value that is fixed.
#[derive(Clone, Debug, PartialEq)]
pub enum Lit {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Several values.
    List(Vec<Lit>),
}

impl fmt::Display for Lit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lit::Bool(value) => write!(f, "{value}"),
            Lit::Int(value) => write!(f, "{value}"),
            Lit::Float(value) => write!(f, "{value:?}"),
            Lit::Text(value) => f.write_str(value),
            Lit::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

impl From<bool> for Lit {
    fn from(value: bool) -> Self {
        Lit::Bool(value)
    }
}
impl From<i64> for Lit {
    fn from(value: i64) -> Self {
        Lit::Int(value)
    }
}
impl From<f64> for Lit {
    fn from(value: f64) -> Self {
        Lit::Float(value)
    }
}
impl From<&str> for Lit {
    fn from(value: &str) -> Self {
        Lit::Text(value.to_owned())
    }
}

/// A value, or what it is chosen from or computed of.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Where it stands.
    pub pos: Pos,
    /// What it is.
    pub kind: ValueKind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// A fixed value.
    Lit(Lit),
    /// What a name stands for.
    Name(String),
    /// What is computed of names.
    Expr(Expr),
    /// One of several, each with its label. Options may contain further choices, which exist only with them.
    OneOf(Vec<(Option<String>, Value)>),
    /// So many of these, in their order.
    Subset(Vec<Lit>, usize),
}

impl Value {
    /// A fixed value.
    pub fn lit(value: impl Into<Lit>) -> Value {
        Value {
            pos: Pos::default(),
            kind: ValueKind::Lit(value.into()),
        }
    }
}

/// What a `let` binds.
#[derive(Clone, Debug, PartialEq)]
pub enum Binding {
    /// A value.
    Value(Value),
    /// Layers.
    Layers(Vec<Layer>),
}

/// A name and what it stands for, chosen once for the scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub pos: Pos,
    /// What it stands for.
    pub binding: Binding,
}

/// Arguments by name.
pub type Args = Vec<(String, Value)>;

/// A layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Where it stands.
    pub pos: Pos,
    /// What it is.
    pub kind: LayerKind,
}

/// What a layer is.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// An op with its arguments.
    Op(String, Args),
    /// Layers that a name stands for.
    Name(String),
    /// One of several, each with its label.
    OneOf(Vec<(String, Vec<Layer>)>),
    /// The body so many times, each time with choices of its own.
    Repeat {
        /// How many times.
        times: Value,
        /// What is repeated.
        body: Vec<Layer>,
    },
    /// A body so many times, with names of its own.
    Stage(Stage),
    /// The input plus what the layers make of it.
    Residual(Vec<Layer>),
    /// Layers side by side.
    Branches {
        /// Whether they are added up; joined along the channels otherwise.
        add: bool,
        /// Each branch.
        of: Vec<Vec<Layer>>,
    },
    /// A small graph.
    Dag(Dag),
    /// Cells of two inputs.
    Cells(Cells),
}

/// A stage: a scope with names of its own and a body that is repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Its name, by which conditions see its names: `$s2.width`.
    pub id: String,
    /// Its names.
    pub lets: Vec<Let>,
    /// How many times the body stands.
    pub times: Value,
    /// Arguments that the first layer has the first time.
    pub first: Args,
    /// What is repeated.
    pub body: Vec<Layer>,
}

/// A small graph: inputs, then nodes that add up what their edges bring from earlier states.
#[derive(Clone, Debug, PartialEq)]
pub struct Dag {
    /// How many inputs.
    pub inputs: usize,
    /// How many nodes.
    pub nodes: usize,
    /// Which earlier states a node reads.
    pub edges: DagEdges,
    /// What an edge, or a node, computes: the options, one layer list each.
    pub ops: Vec<(String, Vec<Layer>)>,
    /// Whether a node computes on the sum of its edges, instead of each edge on its own.
    pub on_nodes: bool,
    /// What comes out.
    pub output: DagOutput,
}

/// Which earlier states a node of a [`Dag`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DagEdges {
    /// All.
    Every,
    /// So many, which ones being a choice.
    Pick(usize),
}

/// What comes out of a [`Dag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DagOutput {
    /// The last node.
    Last,
    /// All nodes joined along the channels.
    Concat,
    /// The nodes that no other reads, joined along the channels.
    Unused,
}

/// A network of two-input cells whose channels double at reductions.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Channels of the first cells' nodes.
    pub channels: Value,
    /// The kind of each cell. Kinds called `reduce…` halve height and width.
    pub sequence: Vec<String>,
    /// The graph of each kind, chosen once.
    pub kinds: Vec<(String, Dag)>,
}

/// A value beside the network.
#[derive(Clone, Debug, PartialEq)]
pub enum RecipeChoice {
    /// As in the network.
    Value(Value),
    /// A whole number in a range.
    Int {
        /// Smallest value.
        lo: i64,
        /// Largest value.
        hi: i64,
        /// Distance of neighbours.
        step: i64,
    },
    /// A number in a range: one of [`FLOAT_STEPS`] + 1 values in equal steps of its scale.
    Float {
        /// Smallest value.
        lo: f64,
        /// Largest value.
        hi: f64,
        /// Whether steps are equal in the logarithm.
        log: bool,
    },
    /// One of several, each a set of settings below this one, or a value.
    OneOf(Vec<(String, RecipeOption)>),
}

/// Steps between the ends of a range of numbers.
pub const FLOAT_STEPS: u16 = 1000;

/// An option of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum RecipeOption {
    /// A value.
    Lit(Lit),
    /// Settings below, and `true` for the label itself where nothing stands for it.
    Section(Vec<(String, Recipe)>),
}

/// A setting that members choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Where it stands.
    pub pos: Pos,
    /// What it is chosen from.
    pub choice: RecipeChoice,
}

/// A condition that members have to meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Where it stands.
    pub pos: Pos,
    /// As it was written.
    pub text: String,
    /// What must be true.
    pub expr: Expr,
}

/// A space as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceDesc {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// The image, or the features as channels of one pixel.
    pub input: Shape,
    /// Classes.
    pub classes: usize,
    /// Names of the whole space.
    pub lets: Vec<Let>,
    /// The network.
    pub network: Vec<Layer>,
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// Settings beside the network, by their dotted keys.
    pub recipe: Vec<(String, Recipe)>,
}
