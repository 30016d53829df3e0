//! What an op of the language comes to: a few ops of the catalogue, with channels that follow from what comes in.

use archai_spec::desc::{OpCatalog, OpDesc, ParamType, ParamValue, Shape};

use super::desc::Lit;

/// Ops on states: state 0 is the input, state i + 1 the sum of the terms of node i. The last state is the output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Block {
    /// Each node: the terms, which are a state and an op on it.
    pub nodes: Vec<Vec<(usize, OpDesc)>>,
}

impl Block {
    fn then(&mut self, from: usize, op: OpDesc) -> usize {
        self.nodes.push(vec![(from, op)]);
        self.nodes.len()
    }
    fn of(op: OpDesc) -> Block {
        Block {
            nodes: vec![vec![(0, op)]],
        }
    }
}

/// Type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ty {
    /// A whole number, at least 1.
    Count,
    /// Any whole number.
    Int,
    Bool,
    Float,
    Text,
    /// `true`, `false`, `batch` or `none`.
    Norm,
    Ints,
}

impl Ty {
    fn name(self) -> &'static str {
        match self {
            Ty::Count => "a whole number, at least 1",
            Ty::Int => "a whole number",
            Ty::Bool => "true or false",
            Ty::Float => "a number",
            Ty::Text => "a word",
            Ty::Norm => "true, false, batch or none",
            Ty::Ints => "a list of whole numbers",
        }
    }
    fn accepts(self, value: &Lit) -> bool {
        match (self, value) {
            (Ty::Count, Lit::Int(n)) => *n >= 1 && *n <= 1 << 20,
            (Ty::Int, Lit::Int(_))
            | (Ty::Bool | Ty::Norm, Lit::Bool(_))
            | (Ty::Float, Lit::Int(_) | Lit::Float(_))
            | (Ty::Text, Lit::Text(_)) => true,
            (Ty::Norm, Lit::Text(text)) => text == "batch" || text == "none",
            (Ty::Ints, Lit::List(items)) => items.iter().all(|i| matches!(i, Lit::Int(_))),
            _ => false,
        }
    }
}

/// An op of the language's own.
pub(crate) struct Own {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    pub args: &'static [(&'static str, Ty)],
    build: fn(&Given<'_>) -> Result<Block, String>,
}

/// Arguments and what comes in.
struct Given<'a> {
    args: &'a [(String, Lit)],
    input: Shape,
}

impl Given<'_> {
    fn get(&self, name: &str) -> Option<&Lit> {
        (self.args.iter()).find_map(|(known, value)| (known == name).then_some(value))
    }
    fn count(&self, name: &str, default: usize) -> usize {
        match self.get(name) {
            Some(Lit::Int(n)) => usize::try_from(*n).unwrap_or(default),
            _ => default,
        }
    }
    /// Channels that come out; as many as come in where nothing is said.
    fn out(&self) -> usize {
        self.count("out", self.input.channels)
    }
    fn needed_out(&self, op: &str) -> Result<usize, String> {
        match self.get("out") {
            Some(_) => Ok(self.out()),
            None => Err(format!("`{op}` wants the argument `out`")),
        }
    }
    fn stride(&self) -> usize {
        self.count("stride", 1)
    }
    fn truth(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            Some(Lit::Bool(value)) => *value,
            Some(Lit::Text(text)) => text == "batch",
            _ => default,
        }
    }
    fn text<'b>(&'b self, name: &str, default: &'b str) -> &'b str {
        match self.get(name) {
            Some(Lit::Text(text)) => text,
            _ => default,
        }
    }
    fn float(&self, name: &str) -> f64 {
        match self.get(name) {
            Some(Lit::Float(value)) => *value,
            Some(Lit::Int(value)) => *value as f64,
            _ => 0.0,
        }
    }
}

fn int(op: OpDesc, name: &str, value: usize, default: usize) -> OpDesc {
    match i64::try_from(value) {
        Ok(n) if value != default => op.with_param(name, ParamValue::Int(n)),
        _ => op,
    }
}

fn truth(op: OpDesc, name: &str, value: bool, default: bool) -> OpDesc {
    match value == default {
        true => op,
        false => op.with_param(name, ParamValue::Bool(value)),
    }
}

fn act(op: OpDesc, name: &str) -> OpDesc {
    match name {
        "none" => op,
        _ => op.with_param("act", ParamValue::Text(name.to_owned())),
    }
}

fn keep(op: OpDesc) -> OpDesc {
    op.with_param("keep", ParamValue::Bool(true))
}

fn conv(g: &Given<'_>, norm: bool) -> Block {
    let op = OpDesc::new("conv", g.input.channels, g.out()).with_stride(g.stride());
    let op = int(op, "kernel", g.count("kernel", 3), 3);
    let op = int(op, "groups", g.count("groups", 1), 1);
    let op = int(op, "dilation", g.count("dilation", 1), 1);
    let op = truth(op, "norm", norm, true);
    Block::of(keep(act(op, g.text("act", "none"))))
}

fn squeeze_excite(g: &Given<'_>, channels: usize) -> OpDesc {
    let op = OpDesc::new("squeeze_excite", channels, channels);
    let op = int(op, "ratio", g.count("ratio", 4), 4);
    match g.text("gate", "hsigmoid") {
        "hsigmoid" => op,
        gate => op.with_param("gate", ParamValue::Text(gate.to_owned())),
    }
}

/// Pointwise to more channels, depthwise, squeeze-and-excite, pointwise; added to the input where shapes allow it.
fn mbconv(g: &Given<'_>) -> Result<Block, String> {
    let (from, to, stride) = (g.input.channels, g.out(), g.stride());
    let expand = g.count("expand", 6);
    let wide = from * expand;
    let name = g.text("act", "relu");
    let mut block = Block::default();
    let mut x = 0;
    if expand != 1 {
        let op = int(OpDesc::new("conv", from, wide), "kernel", 1, 3);
        x = block.then(x, keep(act(op, name)));
    }
    let op = OpDesc::new("dwconv", wide, wide).with_stride(stride);
    let op = int(op, "kernel", g.count("kernel", 3), 3);
    x = block.then(x, keep(act(op, name)));
    if g.truth("se", false) {
        x = block.then(x, squeeze_excite(g, wide));
    }
    let last = int(OpDesc::new("conv", wide, to), "kernel", 1, 3);
    match stride == 1 && from == to {
        true => block
            .nodes
            .push(vec![(x, last), (0, OpDesc::new("identity", to, to))]),
        false => {
            block.then(x, keep(last));
        }
    }
    Ok(block)
}

/// The residual block between the stages of NAS-Bench-201's networks.
fn basic_block(g: &Given<'_>) -> Result<Block, String> {
    let (from, to, stride) = (g.input.channels, g.out(), g.stride());
    let mut block = Block::default();
    let first = OpDesc::new("nor_conv_3x3", from, to).with_stride(stride);
    let inner = block.then(0, keep(first));
    let last = keep(OpDesc::new("nor_conv_3x3", to, to));
    let shortcut = match (stride, from == to) {
        (1, true) => (0, OpDesc::new("identity", to, to)),
        (1, false) => (0, keep(OpDesc::new("conv_1x1", from, to))),
        _ => {
            let pooled = block.then(0, OpDesc::new("avg_pool_2x2", from, from));
            (pooled, keep(OpDesc::new("conv_1x1", from, to)))
        }
    };
    block.nodes.push(vec![(inner, last), shortcut]);
    Ok(block)
}

/// He et al. 2016: twice k×k, or 1×1, k×k, 1×1, beside a shortcut; ReLU on the sum.
fn residual_block(g: &Given<'_>, bottleneck: bool) -> Result<Block, String> {
    let (from, to, stride) = (g.input.channels, g.out(), g.stride());
    let kernel = g.count("kernel", 3);
    let mut block = Block::default();
    let relu = |op: OpDesc| keep(act(op, "relu"));
    let (inner, last) = match bottleneck {
        false => {
            let op = OpDesc::new("conv", from, to).with_stride(stride);
            let inner = block.then(0, relu(int(op, "kernel", kernel, 3)));
            (inner, int(OpDesc::new("conv", to, to), "kernel", kernel, 3))
        }
        true => {
            let ratio = g.count("ratio", 4);
            let thin = (to / ratio).max(1);
            let first = int(OpDesc::new("conv", from, thin), "kernel", 1, 3);
            let x = block.then(0, relu(first));
            let op = OpDesc::new("conv", thin, thin).with_stride(stride);
            let op = int(op, "groups", g.count("groups", 1), 1);
            let x = block.then(x, relu(int(op, "kernel", kernel, 3)));
            (x, int(OpDesc::new("conv", thin, to), "kernel", 1, 3))
        }
    };
    let shortcut = match stride == 1 && from == to {
        true => OpDesc::new("identity", to, to),
        false => {
            let op = OpDesc::new("conv", from, to).with_stride(stride);
            keep(int(op, "kernel", 1, 3))
        }
    };
    block.nodes.push(vec![(inner, last), (0, shortcut)]);
    let sum = block.nodes.len();
    block.then(sum, OpDesc::new("relu", to, to));
    Ok(block)
}

/// The language's own ops. All others are the catalogue's.
pub(crate) const OWN: &[Own] = &[
    Own {
        name: "conv_bn",
        about: "convolution, norm, activation",
        args: &[
            ("out", Ty::Count),
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
            ("groups", Ty::Count),
            ("dilation", Ty::Count),
            ("act", Ty::Text),
        ],
        build: |g| Ok(conv(g, true)),
    },
    Own {
        name: "conv",
        about: "convolution, with a norm or a bias, activation",
        args: &[
            ("out", Ty::Count),
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
            ("groups", Ty::Count),
            ("dilation", Ty::Count),
            ("act", Ty::Text),
            ("norm", Ty::Norm),
        ],
        build: |g| Ok(conv(g, g.truth("norm", true))),
    },
    Own {
        name: "dwconv",
        about: "depthwise convolution, with a norm or a bias, activation",
        args: &[
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
            ("dilation", Ty::Count),
            ("act", Ty::Text),
            ("norm", Ty::Norm),
        ],
        build: |g| {
            let c = g.input.channels;
            let op = OpDesc::new("dwconv", c, c).with_stride(g.stride());
            let op = int(op, "kernel", g.count("kernel", 3), 3);
            let op = int(op, "dilation", g.count("dilation", 1), 1);
            let op = truth(op, "norm", g.truth("norm", true), true);
            Ok(Block::of(keep(act(op, g.text("act", "none")))))
        },
    },
    Own {
        name: "mbconv",
        about: "inverted residual block: pointwise to `expand` times the channels, depthwise, squeeze-and-excite if `se`, pointwise",
        args: &[
            ("out", Ty::Count),
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
            ("expand", Ty::Count),
            ("se", Ty::Bool),
            ("ratio", Ty::Count),
            ("gate", Ty::Text),
            ("act", Ty::Text),
        ],
        build: mbconv,
    },
    Own {
        name: "squeeze_excite",
        about: "channels scaled by what their means say",
        args: &[("ratio", Ty::Count), ("gate", Ty::Text)],
        build: |g| Ok(Block::of(squeeze_excite(g, g.input.channels))),
    },
    Own {
        name: "basic_block",
        about: "the residual block between the stages of NAS-Bench-201's networks",
        args: &[("out", Ty::Count), ("stride", Ty::Count)],
        build: basic_block,
    },
    Own {
        name: "res_block",
        about: "ResNet's basic block: two convolutions beside a shortcut",
        args: &[
            ("out", Ty::Count),
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
        ],
        build: |g| residual_block(g, false),
    },
    Own {
        name: "bottleneck",
        about: "ResNet's bottleneck: pointwise to fewer channels, convolution, pointwise, beside a shortcut",
        args: &[
            ("out", Ty::Count),
            ("kernel", Ty::Count),
            ("stride", Ty::Count),
            ("ratio", Ty::Count),
            ("groups", Ty::Count),
        ],
        build: |g| residual_block(g, true),
    },
    Own {
        name: "dense",
        about: "linear layer, norm, activation, dropout",
        args: &[
            ("out", Ty::Count),
            ("act", Ty::Text),
            ("norm", Ty::Norm),
            ("dropout", Ty::Float),
        ],
        build: |g| {
            let n = g.input.flattened();
            let op = OpDesc::new("dense", n, g.count("out", n));
            let op = truth(op, "norm", g.truth("norm", false), false);
            let op = act(op, g.text("act", "none"));
            let op = match g.float("dropout") {
                0.0 => op,
                share => op.with_param("dropout", ParamValue::Float(share)),
            };
            Ok(Block::of(keep(op)))
        },
    },
    Own {
        name: "linear",
        about: "flatten, linear with bias: the classifier",
        args: &[("out", Ty::Count)],
        build: |g| {
            let op = OpDesc::new("linear", g.input.flattened(), g.needed_out("linear")?);
            Ok(Block::of(op))
        },
    },
    Own {
        name: "bn_relu",
        about: "norm, ReLU",
        args: &[],
        build: |g| {
            Ok(Block::of(OpDesc::new(
                "bnrelu",
                g.input.channels,
                g.input.channels,
            )))
        },
    },
    Own {
        name: "fit",
        about: "the first channels, or all of them with zeros around; every other pixel with stride 2",
        args: &[("out", Ty::Count), ("stride", Ty::Count)],
        build: |g| {
            let op = OpDesc::new("fit_channels", g.input.channels, g.out());
            Ok(Block::of(op.with_stride(g.stride())))
        },
    },
    Own {
        name: "pool",
        about: "`kind: mean` over height and width; `kind: max` or `average` of windows of 3×3 with a stride",
        args: &[("kind", Ty::Text), ("stride", Ty::Count)],
        build: |g| {
            let c = g.input.channels;
            let name = match g.text("kind", "mean") {
                "mean" if g.get("stride").is_none() => "pool_adaptive_avg2d",
                "mean" => {
                    return Err(
                        "`pool` of `kind: mean` is over the whole map and has no `stride`"
                            .to_owned(),
                    );
                }
                "max" => "max_pool_3x3",
                "average" => "avg_pool_3x3",
                other => {
                    return Err(format!(
                        "there is no pool of `kind: {other}`; expected mean, max or average"
                    ));
                }
            };
            Ok(Block::of(OpDesc::new(name, c, c).with_stride(g.stride())))
        },
    },
    Own {
        name: "identity",
        about: "the input itself",
        args: &[],
        build: |_| Ok(Block::default()),
    },
];

/// An op by its name.
pub(crate) fn find(name: &str) -> Option<&'static Own> {
    OWN.iter().find(|op| op.name == name)
}

/// Names of all ops: the language's, then the catalogue's.
pub(crate) fn names(catalog: &OpCatalog) -> Vec<&str> {
    let own = OWN.iter().map(|op| op.name);
    let others = catalog
        .iter()
        .filter(|info| !info.has_children())
        .map(|info| info.name());
    own.chain(others.filter(|name| find(name).is_none()))
        .collect()
}

/// Arguments that an op takes, if there is such an op.
pub(crate) fn arguments<'a>(name: &str, catalog: &'a OpCatalog) -> Option<Vec<&'a str>> {
    if let Some(own) = find(name) {
        return Some(own.args.iter().map(|(name, _)| *name).collect());
    }
    let info = catalog.get(name).ok().filter(|info| !info.has_children())?;
    let params = info.params().iter().map(|param| param.name);
    Some(["out", "stride"].into_iter().chain(params).collect())
}

/// What an argument has to be.
fn ty(op: &str, argument: &str, catalog: &OpCatalog) -> Option<Ty> {
    let of = |args: &[(&str, Ty)]| args.iter().find(|(n, _)| *n == argument).map(|(_, ty)| *ty);
    if let Some(own) = find(op) {
        return of(own.args);
    }
    if let Some(ty) = of(&[("out", Ty::Count), ("stride", Ty::Count)]) {
        return Some(ty);
    }
    let param = catalog
        .get(op)
        .ok()?
        .params()
        .iter()
        .find(|p| p.name == argument)?;
    Some(match param.ty {
        ParamType::Bool => Ty::Bool,
        ParamType::Int => Ty::Int,
        ParamType::Float => Ty::Float,
        ParamType::Text => Ty::Text,
        ParamType::Ints => Ty::Ints,
    })
}

/// Checks the value of an argument.
pub(crate) fn check_value(
    op: &str,
    argument: &str,
    value: &Lit,
    catalog: &OpCatalog,
) -> Result<(), String> {
    match ty(op, argument, catalog) {
        Some(ty) if !ty.accepts(value) => Err(format!(
            "`{argument}` of `{op}` is {}, not `{value}`",
            ty.name()
        )),
        _ => Ok(()),
    }
}

/// The catalogue's ops that an op with these arguments comes to on an input.
///
/// # Errors
/// Arguments that are missing or do not fit.
pub(crate) fn build(
    name: &str,
    args: &[(String, Lit)],
    input: Shape,
    catalog: &OpCatalog,
) -> Result<Block, String> {
    for (argument, value) in args {
        check_value(name, argument, value, catalog)?;
    }
    let given = Given { args, input };
    let block = match find(name) {
        Some(own) => (own.build)(&given)?,
        None => {
            let info = catalog.get(name).map_err(|e| e.to_string())?;
            let c_in = info.in_features(input);
            let out = given.count("out", c_in);
            let mut op = OpDesc::new(name, c_in, out).with_stride(given.stride());
            for (argument, value) in args {
                let value = match value {
                    _ if argument == "out" || argument == "stride" => continue,
                    Lit::Bool(v) => ParamValue::Bool(*v),
                    Lit::Int(v) => ParamValue::Int(*v),
                    Lit::Float(v) => ParamValue::Float(*v),
                    Lit::Text(v) => ParamValue::Text(v.clone()),
                    Lit::List(items) => ParamValue::Ints(
                        (items.iter())
                            .filter_map(|item| match item {
                                Lit::Int(v) => Some(*v),
                                _ => None,
                            })
                            .collect(),
                    ),
                };
                op = op.with_param(argument, value);
            }
            Block::of(op)
        }
    };
    Ok(block)
}
