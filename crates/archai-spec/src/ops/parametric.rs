//! Ops whose kernel, groups, activation and the like are parameters, where the other ops have them in their names: what
//! spaces of discrete search choose from.

use super::function::{Activation, Share};
use super::layer::{ConvShape, Layer};
use super::list::{LayerBuilder, Value};
use crate::desc::{
    DescError, DescErrorKind, OpCatalog, OpDesc, OpInfo, ParamInfo, ParamType, ParamValue, Shape,
};
use crate::names::{did_you_mean, similar};

/// Names of activations, as the parameter `act` takes them. `none` is the identity.
pub const ACTIVATIONS: [&str; 6] = ["none", "relu", "relu6", "hswish", "gelu", "silu"];

/// What the numbers of a squeeze-and-excite go through, as its parameter `gate` takes it.
const GATES: [Activation; 2] = [Activation::HardSigmoid, Activation::Sigmoid];

/// Largest side of a kernel.
const MAX_KERNEL: i64 = 63;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parametric {
    /// Convolution, norm, activation.
    Conv,
    /// The same with one filter per channel.
    Depthwise,
    /// Channels scaled by what their means say (Hu et al. 2018).
    SqueezeExcite,
    /// Linear layer, norm, activation, dropout.
    Dense,
    /// An activation alone.
    Activation,
}

const KERNEL: ParamInfo = ParamInfo {
    name: "kernel",
    ty: ParamType::Int,
    summary: "side of the kernel, odd (default 3)",
};
const GROUPS: ParamInfo = ParamInfo {
    name: "groups",
    ty: ParamType::Int,
    summary: "groups of channels that do not see each other (default 1)",
};
const DILATION: ParamInfo = ParamInfo {
    name: "dilation",
    ty: ParamType::Int,
    summary: "distance of the kernel's taps (default 1)",
};
const ACT: ParamInfo = ParamInfo {
    name: "act",
    ty: ParamType::Text,
    summary: "the activation at the end: none, relu, relu6, hswish, gelu or silu (default none)",
};
const CONV_NORM: ParamInfo = ParamInfo {
    name: "norm",
    ty: ParamType::Bool,
    summary: "a norm follows the convolution, which has a bias otherwise (default true)",
};
const DENSE_NORM: ParamInfo = ParamInfo {
    name: "norm",
    ty: ParamType::Bool,
    summary: "a norm follows the linear layer (default false)",
};
const DROPOUT: ParamInfo = ParamInfo {
    name: "dropout",
    ty: ParamType::Float,
    summary: "share of features that training sets to zero, below 1 (default 0)",
};
const RATIO: ParamInfo = ParamInfo {
    name: "ratio",
    ty: ParamType::Int,
    summary: "by how much the channels inside are fewer (default 4)",
};
const GATE: ParamInfo = ParamInfo {
    name: "gate",
    ty: ParamType::Text,
    summary: "what makes factors of the numbers: hsigmoid as in MobileNetV3, or sigmoid (default hsigmoid)",
};
const KEEP: ParamInfo = ParamInfo {
    name: "keep",
    ty: ParamType::Bool,
    summary: "drop-path leaves the op alone, because it is the only way through its block (default false)",
};

/// All of them.
pub(crate) fn parametric() -> [Parametric; 5] {
    [
        Parametric::Conv,
        Parametric::Depthwise,
        Parametric::SqueezeExcite,
        Parametric::Dense,
        Parametric::Activation,
    ]
}

fn int(op: &OpDesc, name: &str, default: usize) -> usize {
    // Negative numbers have not passed the check.
    op.int(name)
        .map_or(default, |n| usize::try_from(n).unwrap_or(default))
}

fn truth(op: &OpDesc, name: &str, default: bool) -> bool {
    match op.params.get(name) {
        Some(ParamValue::Bool(value)) => *value,
        _ => default,
    }
}

fn number(op: &OpDesc, name: &str) -> f64 {
    match op.params.get(name) {
        Some(ParamValue::Float(value)) => *value,
        Some(ParamValue::Int(value)) => *value as f64,
        _ => 0.0,
    }
}

fn text<'a>(op: &'a OpDesc, name: &str, default: &'a str) -> &'a str {
    match op.params.get(name) {
        Some(ParamValue::Text(value)) => value,
        _ => default,
    }
}

fn act(op: &OpDesc) -> &str {
    text(op, "act", "none")
}

/// The gate of a squeeze-and-excite; none if it is no known one.
fn gate(op: &OpDesc) -> Option<Activation> {
    let name = text(op, "gate", GATES[0].name());
    GATES.into_iter().find(|gate| gate.name() == name)
}

/// Channels inside a squeeze-and-excite of `channels`.
fn squeezed(op: &OpDesc) -> usize {
    (op.ch_in / int(op, "ratio", 4).max(1)).max(1)
}

fn unknown(op: &OpDesc, what: &str, name: &str, known: &[&str]) -> DescError {
    let hint = did_you_mean(&similar(name, known.iter().copied()))
        .unwrap_or_else(|| format!("known are {}", known.join(", ")));
    let text = format!("`{}` has no {what} `{name}`; {hint}", op.name);
    DescError::new(DescErrorKind::Param, text)
}

fn unknown_act(op: &OpDesc) -> DescError {
    unknown(op, "activation", act(op), &ACTIVATIONS)
}

fn unknown_gate(op: &OpDesc) -> DescError {
    unknown(
        op,
        "gate",
        text(op, "gate", ""),
        &GATES.map(Activation::name),
    )
}

/// The activation that an op has at its end.
fn activated(op: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
    match act(op) {
        "none" => Ok(x),
        "relu" => Ok(b.relu(x)),
        "relu6" => Ok(b.relu6(x)),
        other => match Activation::named(other).filter(|_| ACTIVATIONS.contains(&other)) {
            Some(function) => Ok(b.activation(x, function)),
            None => Err(unknown_act(op)),
        },
    }
}

impl Parametric {
    fn conv(op: &OpDesc, groups: usize, x: Value, b: &mut LayerBuilder<'_>) -> Value {
        let norm = truth(op, "norm", true);
        let shape = ConvShape {
            groups,
            ..ConvShape::new(op.ch_in, op.ch_out, int(op, "kernel", 3))
        };
        let shape = shape
            .with_stride(op.stride)
            .with_dilation(int(op, "dilation", 1))
            .with_bias(!norm);
        let x = b.conv(x, shape);
        match norm {
            true => b.norm(x, op.ch_out),
            false => x,
        }
    }

    /// Without activation and dropout.
    fn body(self, op: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
        Ok(match self {
            Parametric::Conv => Self::conv(op, int(op, "groups", 1), x, b),
            Parametric::Depthwise => Self::conv(op, op.ch_in, x, b),
            Parametric::Dense => {
                let x = b.linear(x, op.ch_in, op.ch_out);
                match truth(op, "norm", false) {
                    true => b.norm(x, op.ch_out),
                    false => x,
                }
            }
            Parametric::SqueezeExcite => {
                let gate = gate(op).ok_or_else(|| unknown_gate(op))?;
                let (channels, inner) = (op.ch_in, squeezed(op));
                let means = b.layer(Layer::GlobalMean, &[x]);
                let y = b.conv(means, ConvShape::new(channels, inner, 1).with_bias(true));
                let y = b.relu(y);
                let y = b.conv(y, ConvShape::new(inner, channels, 1).with_bias(true));
                let factors = b.activation(y, gate);
                b.scale(x, factors)
            }
            Parametric::Activation => x,
        })
    }
}

impl OpInfo for Parametric {
    fn name(&self) -> &str {
        match self {
            Parametric::Conv => "conv",
            Parametric::Depthwise => "dwconv",
            Parametric::SqueezeExcite => "squeeze_excite",
            Parametric::Dense => "dense",
            Parametric::Activation => "activation",
        }
    }
    fn summary(&self) -> &str {
        match self {
            Parametric::Conv => "convolution of any kernel and groups, norm, activation",
            Parametric::Depthwise => "depthwise convolution of any kernel, norm, activation",
            Parametric::SqueezeExcite => {
                "each channel times a number from 0 to 1 that two pointwise layers make of all channels' means"
            }
            Parametric::Dense => "flatten, linear with bias, norm, activation, dropout",
            Parametric::Activation => "an activation alone",
        }
    }
    fn params(&self) -> &[ParamInfo] {
        match self {
            Parametric::Conv => &[KERNEL, GROUPS, DILATION, CONV_NORM, ACT, KEEP],
            Parametric::Depthwise => &[KERNEL, DILATION, CONV_NORM, ACT, KEEP],
            Parametric::SqueezeExcite => &[RATIO, GATE],
            Parametric::Dense => &[DENSE_NORM, ACT, DROPOUT, KEEP],
            Parametric::Activation => &[ACT],
        }
    }
    fn can_drop_path(&self, op: &OpDesc) -> bool {
        match self {
            Parametric::Conv | Parametric::Depthwise | Parametric::Dense => !op.flag("keep"),
            Parametric::SqueezeExcite | Parametric::Activation => false,
        }
    }
    fn in_features(&self, input: Shape) -> usize {
        match self {
            Parametric::Dense => input.flattened(),
            _ => input.channels,
        }
    }
    fn check(&self, op: &OpDesc, _catalog: &OpCatalog) -> Result<(), DescError> {
        let error = |text: String| {
            let text = format!("`{}` {text}", op.name);
            Err(DescError::new(DescErrorKind::Param, text))
        };
        let strided = matches!(self, Parametric::Conv | Parametric::Depthwise);
        if strided && !matches!(op.stride, 1 | 2) {
            return error(format!("has `stride: {}`; expected 1 or 2", op.stride));
        }
        if !strided && op.stride != 1 {
            return error(format!(
                "has `stride: {}`, but it has no stride; remove the field",
                op.stride
            ));
        }
        if !matches!(self, Parametric::Conv | Parametric::Dense) && op.ch_in != op.ch_out {
            return error(format!(
                "keeps its channels, but `ch_in` is {} and `ch_out` is {}",
                op.ch_in, op.ch_out
            ));
        }
        let kernel = op.int("kernel").unwrap_or(3);
        if !(1..=MAX_KERNEL).contains(&kernel) || kernel % 2 == 0 {
            return error(format!(
                "has `kernel: {kernel}`; expected an odd number from 1 to {MAX_KERNEL}"
            ));
        }
        for name in ["groups", "dilation", "ratio"] {
            let given = op.int(name).unwrap_or(1);
            if !(1..=i64::from(u16::MAX)).contains(&given) {
                return error(format!("has `{name}: {given}`; expected 1 or more"));
            }
        }
        let groups = int(op, "groups", 1);
        if !op.ch_in.is_multiple_of(groups) || !op.ch_out.is_multiple_of(groups) {
            return error(format!(
                "has `groups: {groups}`, which must divide its {} input channels and its {} output channels",
                op.ch_in, op.ch_out
            ));
        }
        let dropout = number(op, "dropout");
        if !(0.0..1.0).contains(&dropout) {
            return error(format!(
                "has `dropout: {dropout}`; expected 0 or more, below 1"
            ));
        }
        if !ACTIVATIONS.contains(&act(op)) {
            return Err(unknown_act(op));
        }
        match gate(op) {
            Some(_) => Ok(()),
            None => Err(unknown_gate(op)),
        }
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let x = self.body(op, inputs[0], b)?;
        let x = activated(op, x, b)?;
        Ok(match Share::new(number(op, "dropout")) {
            Some(share) if share.get() > 0.0 => b.dropout(x, share),
            // Other numbers have not passed the check.
            _ => x,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_papers_blocks() {
        let catalog = OpCatalog::builtin();
        let cost = |op: OpDesc, input| {
            catalog.check(&op).unwrap();
            catalog.cost(&op, &[input], true).unwrap()
        };
        let map = Shape::new(48, 14, 14);
        let se = cost(OpDesc::new("squeeze_excite", 48, 48), map);
        assert_eq!((se.params, se.macs), (2 * 48 * 12 + 12 + 48, 2 * 48 * 12));
        let conv = OpDesc::new("conv", 48, 24)
            .with_param("kernel", ParamValue::Int(5))
            .with_param("groups", ParamValue::Int(4))
            .with_stride(2);
        let conv = cost(conv, map);
        assert_eq!(
            (conv.params, conv.macs),
            (24 * 12 * 25 + 48, 24 * 12 * 25 * 49)
        );
        let dense = OpDesc::new("dense", 48, 10).with_param("norm", ParamValue::Bool(true));
        assert_eq!(cost(dense, Shape::new(48, 1, 1)).params, 48 * 10 + 10 + 20);
    }

    #[test]
    fn what_an_op_cannot_have_is_said() {
        let catalog = OpCatalog::builtin();
        let problem = |op: OpDesc| catalog.check(&op).unwrap_err().to_string();
        let conv = || OpDesc::new("conv", 6, 6);
        let with = |name, value| problem(conv().with_param(name, value));
        assert!(with("kernel", ParamValue::Int(4)).contains("an odd number from 1 to 63"));
        assert!(with("groups", ParamValue::Int(4)).contains("must divide its 6 input channels"));
        assert!(with("groups", ParamValue::Int(0)).contains("expected 1 or more"));
        assert!(with("act", ParamValue::Text("reul".into())).contains("did you mean `relu`?"));
        let gate = ParamValue::Text("sigmod".into());
        let gated = OpDesc::new("squeeze_excite", 6, 6).with_param("gate", gate);
        assert!(problem(gated).contains("has no gate `sigmod`; did you mean `sigmoid`"));
        assert!(problem(OpDesc::new("dwconv", 6, 8)).contains("keeps its channels"));
        assert!(problem(OpDesc::new("dense", 6, 8).with_stride(2)).contains("has no stride"));
    }
}
