//! Ops whose kernel, groups, activation and the like are parameters, where the other ops have them in their names: what
//! spaces of discrete search choose from.

use super::layer::{ConvShape, Layer};
use super::list::{LayerBuilder, Value};
use crate::desc::{
    Cost, DescError, DescErrorKind, OpCatalog, OpDesc, OpInfo, ParamInfo, ParamType, ParamValue,
    Shape,
};
use crate::names::{did_you_mean, similar};

/// Names of activations, as the parameter `act` takes them. `none` is the identity.
pub const ACTIVATIONS: [&str; 6] = ["none", "relu", "relu6", "hswish", "gelu", "silu"];

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
const KEEP: ParamInfo = ParamInfo {
    name: "keep",
    ty: ParamType::Bool,
    summary: "drop-path leaves the op alone, because it is the only way through its block (default false)",
};

/// Those that lower.
pub(crate) fn parametric() -> [Parametric; 4] {
    [
        Parametric::Conv,
        Parametric::Depthwise,
        Parametric::Dense,
        Parametric::Activation,
    ]
}

/// The op `squeeze_excite`, whose shape and cost are known, but which no engine computes yet: no part of
/// [`OpCatalog::builtin`], so that a network with it can be counted and not trained.
pub fn squeeze_excite() -> impl OpInfo {
    Parametric::SqueezeExcite
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

fn text<'a>(op: &'a OpDesc, name: &str) -> &'a str {
    match op.params.get(name) {
        Some(ParamValue::Text(value)) => value,
        _ => "none",
    }
}

/// Channels inside a squeeze-and-excite of `channels`.
fn squeezed(op: &OpDesc) -> usize {
    (op.ch_in / int(op, "ratio", 4).max(1)).max(1)
}

fn no_layer(op: &OpDesc, what: &str) -> DescError {
    DescError::new(
        DescErrorKind::NoLayers,
        format!(
            "`{}` has {what}, for which there is no layer yet; such a network can be counted, but not trained or exported",
            op.name
        ),
    )
}

fn activation(op: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
    match text(op, "act") {
        "none" => Ok(x),
        "relu" => Ok(b.relu(x)),
        "relu6" => Ok(b.relu6(x)),
        other => Err(no_layer(op, &format!("the activation `{other}`"))),
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

    /// What learns, without activation and dropout.
    fn weights(self, op: &OpDesc, x: Value, b: &mut LayerBuilder<'_>) -> Value {
        match self {
            Parametric::Conv => Self::conv(op, int(op, "groups", 1), x, b),
            Parametric::Depthwise => Self::conv(op, op.ch_in, x, b),
            Parametric::Dense => {
                let x = b.linear(x, op.ch_in, op.ch_out);
                match truth(op, "norm", false) {
                    true => b.norm(x, op.ch_out),
                    false => x,
                }
            }
            Parametric::SqueezeExcite | Parametric::Activation => x,
        }
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
            Parametric::SqueezeExcite => &[RATIO],
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
        let act = text(op, "act");
        if !ACTIVATIONS.contains(&act) {
            let hint = did_you_mean(&similar(act, ACTIVATIONS))
                .unwrap_or_else(|| format!("known are {}", ACTIVATIONS.join(", ")));
            return error(format!("has no activation `{act}`; {hint}"));
        }
        Ok(())
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        if *self == Parametric::SqueezeExcite {
            return Err(no_layer(op, "a product of maps"));
        }
        let x = self.weights(op, inputs[0], b);
        let x = activation(op, x, b)?;
        match number(op, "dropout") {
            0.0 => Ok(x),
            _ => Err(no_layer(op, "dropout")),
        }
    }
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        affine: bool,
        catalog: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        if *self == Parametric::SqueezeExcite {
            let (channels, inner) = (op.ch_in, squeezed(op));
            let mean = Layer::GlobalMean.measure(inputs)?.0;
            let down = Layer::Conv(ConvShape::new(channels, inner, 1).with_bias(true));
            let (mid, mut cost) = down.measure(&[mean])?;
            let up = Layer::Conv(ConvShape::new(inner, channels, 1).with_bias(true));
            cost += up.measure(&[mid])?.1;
            return Ok((inputs[0], cost));
        }
        // Neither activations nor dropout change shape or cost.
        catalog.measure_layers(op, inputs, affine, |values, b| {
            Ok(self.weights(op, values[0], b))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_the_papers_blocks() {
        let mut catalog = OpCatalog::builtin();
        catalog.register(squeeze_excite()).unwrap();
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
        assert!(problem(OpDesc::new("dwconv", 6, 8)).contains("keeps its channels"));
        assert!(problem(OpDesc::new("dense", 6, 8).with_stride(2)).contains("has no stride"));
    }
}
