//! Each layer in PyTorch: as a module if it has parameters, as an expression if it has none.

use std::io;

use archai_spec::graph::Graph;
use archai_spec::ops::{Activation, ConvShape, Layer, PoolShape};

use super::expr::Expr;

/// What a number of a layer is. Numbers of different families never become one argument of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// A module that is given from outside.
    Module,
    /// Channels or features.
    Channels,
    /// The size of a window.
    Kernel,
    /// Steps.
    Stride,
    /// Pixels around a map.
    Padding,
    /// Distance of a kernel's taps.
    Dilation,
    /// Groups of channels.
    Groups,
    /// Rows or columns to leave out.
    Crop,
    /// The number of classes, which has a name of its own.
    Classes,
}

impl Family {
    /// How an argument of this family is called.
    pub fn noun(self) -> &'static str {
        match self {
            Family::Module => "module",
            Family::Channels => "channels",
            Family::Kernel => "kernel",
            Family::Stride => "stride",
            Family::Padding => "padding",
            Family::Dilation => "dilation",
            Family::Groups => "groups",
            Family::Crop => "crop",
            Family::Classes => "classes",
        }
    }
}

/// What the parts of a network are written from.
pub struct Facts<'a> {
    /// The layers.
    pub graph: &'a Graph,
    /// Whether PyTorch holds a value as `[N, C]`; others are `[N, C, H, W]`.
    pub flat: Vec<bool>,
    /// Layers whose number of outputs is the number of classes.
    pub classifiers: Vec<usize>,
}

impl<'a> Facts<'a> {
    pub fn new(graph: &'a Graph) -> Facts<'a> {
        let mut flat = vec![false; graph.values.len()];
        let mut producer = vec![None; graph.values.len()];
        for (i, layer) in graph.layers.iter().enumerate() {
            let all_flat = layer.inputs.iter().all(|&v| flat[v]);
            flat[layer.output] = match layer.layer {
                Layer::GlobalMean | Layer::Flatten | Layer::Linear { .. } => true,
                Layer::Relu
                | Layer::Relu6
                | Layer::Activation { .. }
                | Layer::DropPath
                | Layer::Dropout { .. }
                | Layer::Add
                | Layer::Scale
                | Layer::Concat
                | Layer::TakeChannels { .. } => all_flat,
                Layer::Zero { .. }
                | Layer::Conv(_)
                | Layer::Norm { .. }
                | Layer::MaxPool(_)
                | Layer::AvgPool { .. }
                | Layer::Subsample { .. }
                | Layer::Crop { .. }
                | Layer::Shift
                | Layer::PadChannels { .. }
                | Layer::Mix { .. } => false,
            };
            producer[layer.output] = Some(i);
        }
        let mut classifiers = Vec::new();
        let n_classes = graph.values[graph.logits].shape.channels;
        for &value in graph.aux.iter().chain([&graph.logits]) {
            let mut at = producer[value];
            while let Some(i) = at {
                match graph.layers[i].layer {
                    Layer::Flatten
                    | Layer::Relu
                    | Layer::Relu6
                    | Layer::Activation { .. }
                    | Layer::Dropout { .. } => {
                        at = producer[graph.layers[i].inputs[0]];
                    }
                    Layer::Linear { n_out, .. } if n_out == n_classes => {
                        classifiers.push(i);
                        at = None;
                    }
                    _ => at = None,
                }
            }
        }
        Facts {
            graph,
            flat,
            classifiers,
        }
    }

    /// What PyTorch cannot do as the layers say.
    ///
    /// # Errors
    /// Of kind `Unsupported`: a mixture of candidates, or a pool whose padding is more than half of its window.
    pub fn check(&self) -> io::Result<()> {
        for layer in &self.graph.layers {
            let name = &self.graph.values[layer.output].name;
            let problem = match &layer.layer {
                Layer::Mix { of, .. } => format!(
                    "`{name}` is still a choice among {of} candidates; export the network that a search has found"
                ),
                Layer::Shift => crate::unspelt(self.graph, layer.output),
                Layer::MaxPool(p) | Layer::AvgPool { window: p, .. }
                    if 2 * p.padding > p.kernel =>
                {
                    format!(
                        "the pool `{name}` has padding {} around windows of {}; PyTorch takes at most half of a window",
                        p.padding, p.kernel
                    )
                }
                _ => continue,
            };
            return Err(super::unsupported(problem));
        }
        Ok(())
    }

    /// The numbers of a layer, in a fixed order.
    pub fn numbers(&self, layer: usize) -> Vec<(Family, usize)> {
        use Family::{Channels, Crop, Dilation, Groups, Kernel, Padding, Stride};
        let pool =
            |p: &PoolShape| vec![(Kernel, p.kernel), (Stride, p.stride), (Padding, p.padding)];
        match &self.graph.layers[layer].layer {
            Layer::Conv(c) => {
                let form = ConvForm::of(c);
                let mut numbers = vec![(Channels, c.c_in), (Channels, c.c_out)];
                let axes = if form.square { 1 } else { 2 };
                for (family, of) in [(Kernel, c.kernel), (Stride, c.stride)] {
                    numbers.extend(of[..axes].iter().map(|&n| (family, n)));
                }
                if !form.centred {
                    numbers.extend(c.padding[..axes].iter().map(|&n| (Padding, n)));
                }
                numbers.push((Dilation, c.dilation));
                if form.groups == Grouping::Some {
                    numbers.push((Groups, c.groups));
                }
                numbers
            }
            Layer::Norm { channels, .. } | Layer::TakeChannels { channels } => {
                vec![(Channels, *channels)]
            }
            Layer::Linear { n_in, n_out, .. } => {
                let family = match self.classifiers.contains(&layer) {
                    true => Family::Classes,
                    false => Channels,
                };
                vec![(Channels, *n_in), (family, *n_out)]
            }
            Layer::MaxPool(p) | Layer::AvgPool { window: p, .. } => pool(p),
            Layer::Zero { stride } | Layer::Subsample { stride } => vec![(Stride, *stride)],
            Layer::Crop { top, left } => vec![(Crop, *top), (Crop, *left)],
            Layer::PadChannels { before, after } => vec![(Channels, *before), (Channels, *after)],
            Layer::Relu
            | Layer::Relu6
            | Layer::Activation { .. }
            | Layer::GlobalMean
            | Layer::Flatten
            | Layer::Concat
            | Layer::Add
            | Layer::Scale
            | Layer::Mix { .. }
            | Layer::Shift
            | Layer::Dropout { .. }
            | Layer::DropPath => Vec::new(),
        }
    }

    /// What a layer is but for its numbers.
    pub fn form(&self, layer: usize) -> String {
        let found = &self.graph.layers[layer].layer;
        let name = found.name();
        match found {
            Layer::Conv(c) => format!("{name} {:?} {}", ConvForm::of(c), c.bias),
            Layer::Norm { affine, .. } => format!("{name} {affine}"),
            Layer::Linear { bias, .. } => {
                format!("{name} {bias} {}", self.classifiers.contains(&layer))
            }
            Layer::AvgPool {
                window,
                count_include_pad,
            } => format!("{name} {}", *count_include_pad || window.padding == 0),
            Layer::Dropout { share } => format!("{name} {share}"),
            _ => name.to_string(),
        }
    }

    /// The module of a layer with parameters, made with these numbers; none for others.
    pub fn construct(&self, layer: usize, numbers: &[String]) -> Option<Expr> {
        let n = |i: usize| Expr::atom(&numbers[i]);
        Some(match &self.graph.layers[layer].layer {
            Layer::Conv(c) => conv(c, numbers),
            Layer::Norm { affine, .. } => {
                let norm = Expr::call("nn.BatchNorm2d", [n(0)]);
                match affine {
                    true => norm,
                    false => norm.with("affine", Expr::atom("False")),
                }
            }
            Layer::Linear { bias, .. } => {
                let linear = Expr::call("nn.Linear", [n(0), n(1)]);
                match bias {
                    true => linear,
                    false => linear.with("bias", Expr::atom("False")),
                }
            }
            _ => return None,
        })
    }

    /// The layer on its inputs. `module` is what a layer with parameters is called.
    pub fn apply(&self, layer: usize, numbers: &[String], module: &str, inputs: Vec<Expr>) -> Expr {
        let found = &self.graph.layers[layer];
        let read = &found.inputs;
        let maps = |(i, x): (usize, Expr)| match self.flat[read[i]] {
            true => x.then("[:, :, None, None]"),
            false => x,
        };
        let flat = self.flat[found.output];
        let mut inputs: Vec<Expr> = match &found.layer {
            // What they read may have either form, and they give what they read.
            Layer::Relu
            | Layer::Relu6
            | Layer::Activation { .. }
            | Layer::DropPath
            | Layer::Dropout { .. }
            | Layer::TakeChannels { .. }
            | Layer::Flatten
            | Layer::Linear { .. } => inputs,
            Layer::Add | Layer::Concat | Layer::Scale if flat => inputs,
            _ => inputs.into_iter().enumerate().map(maps).collect(),
        };
        let n = |i: usize| numbers[i].as_str();
        // Window, stride, padding.
        let pool = |f: &str, x: Expr| {
            let numbers = match n(2) {
                "0" => &numbers[..2],
                _ => &numbers[..3],
            };
            Expr::call(f, [x].into_iter().chain(numbers.iter().map(Expr::atom)))
        };
        match &found.layer {
            Layer::Add => return Expr::Sum(inputs),
            Layer::Concat => return Expr::call("torch.cat", [Expr::List(inputs), Expr::atom("1")]),
            _ => {}
        }
        let x = inputs.remove(0);
        if let (Layer::Scale, Some(factors)) = (&found.layer, inputs.pop()) {
            return Expr::Product(vec![x, factors]);
        }
        match &found.layer {
            Layer::Zero { .. } if n(0) == "1" => Expr::call("torch.zeros_like", [x]),
            Layer::Zero { .. } => {
                let x = x.then(format!("[:, :, ::{0}, ::{0}]", step(n(0))));
                Expr::call("torch.zeros_like", [x])
            }
            Layer::Relu => Expr::call("F.relu", [x]),
            Layer::Relu6 => Expr::call("F.relu6", [x]),
            Layer::Activation { function } => {
                let f = match function {
                    Activation::HardSwish => "F.hardswish",
                    Activation::HardSigmoid => "F.hardsigmoid",
                    Activation::Sigmoid => "torch.sigmoid",
                    Activation::Gelu => "F.gelu",
                    Activation::Silu => "F.silu",
                };
                Expr::call(f, [x])
            }
            Layer::Dropout { share } => {
                let args = [
                    x,
                    Expr::atom(share.to_string()),
                    Expr::atom("self.training"),
                ];
                Expr::call("F.dropout", args)
            }
            Layer::Conv(_) | Layer::Norm { .. } => Expr::call(module, [x]),
            Layer::Linear { .. } => {
                let x = match self.flat[read[0]] {
                    true => x,
                    false => x.then(".flatten(1)"),
                };
                Expr::call(module, [x])
            }
            Layer::MaxPool(_) => pool("F.max_pool2d", x),
            Layer::AvgPool {
                window,
                count_include_pad,
            } => {
                let call = pool("F.avg_pool2d", x);
                match *count_include_pad || window.padding == 0 {
                    true => call,
                    false => call.with("count_include_pad", Expr::atom("False")),
                }
            }
            Layer::GlobalMean => x.then(".mean((2, 3))"),
            Layer::Flatten if self.flat[read[0]] => x,
            Layer::Flatten => x.then(".flatten(1)"),
            Layer::Subsample { .. } => x.then(format!("[:, :, ::{0}, ::{0}]", step(n(0)))),
            Layer::Crop { .. } => {
                let from = |n: &str| match n {
                    "0" => ":".to_string(),
                    n => format!("{}:", step(n)),
                };
                x.then(format!("[:, :, {}, {}]", from(n(0)), from(n(1))))
            }
            Layer::TakeChannels { .. } => x.then(format!("[:, :{}]", step(n(0)))),
            Layer::PadChannels { .. } => {
                let sides = format!("(0, 0, 0, 0, {}, {})", n(0), n(1));
                Expr::call("F.pad", [x, Expr::atom(sides)])
            }
            Layer::DropPath => Expr::call("self.drop_path", [x]),
            // Three more are above, and the others are refused before anything is written.
            Layer::Add | Layer::Concat | Layer::Scale | Layer::Mix { .. } | Layer::Shift => x,
        }
    }
}

/// A number in a slice: an expression has a space before it.
fn step(number: &str) -> String {
    match number.contains([' ', '.']) {
        true => format!(" {number}"),
        false => number.to_string(),
    }
}

/// How a convolution's channels see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// All of them.
    One,
    /// Each sees itself alone.
    Depthwise,
    /// Groups of several channels.
    Some,
}

/// What a convolution is but for its numbers.
#[derive(Clone, Copy, Debug)]
struct ConvForm {
    /// Kernel, stride and padding are the same in both directions.
    square: bool,
    /// Its padding follows from its kernel: it keeps the size of maps.
    centred: bool,
    groups: Grouping,
}

impl ConvForm {
    fn of(c: &ConvShape) -> ConvForm {
        ConvForm {
            square: [c.kernel, c.stride, c.padding].iter().all(|[h, w]| h == w),
            centred: c.padding == c.kernel.map(|k| c.dilation * (k / 2)),
            groups: match c.groups {
                1 => Grouping::One,
                n if n == c.c_in => Grouping::Depthwise,
                _ => Grouping::Some,
            },
        }
    }
}

/// `nn.Conv2d(…)`, without what is PyTorch's default.
fn conv(c: &ConvShape, numbers: &[String]) -> Expr {
    let form = ConvForm::of(c);
    let axes = if form.square { 1 } else { 2 };
    let mut numbers = numbers.iter().map(String::as_str);
    let mut next = || numbers.next().unwrap_or_default().to_string();
    let (c_in, c_out) = (next(), next());
    let mut pair = || (0..axes).map(|_| next()).collect::<Vec<_>>();
    let (kernel, stride) = (pair(), pair());
    let own_padding = (!form.centred).then(&mut pair);
    let dilation = next();
    let padding = own_padding.unwrap_or_else(|| {
        let half = kernel.iter().map(|k| centred(k, &dilation));
        half.collect()
    });
    let tuple = |of: &[String]| match of {
        [one] => one.clone(),
        _ => format!("({})", of.join(", ")),
    };
    let args = [c_in.clone(), c_out, tuple(&kernel)].map(Expr::Atom);
    let mut call = Expr::call("nn.Conv2d", args);
    let one = vec!["1".to_string(); axes];
    let zero = vec!["0".to_string(); axes];
    if stride != one {
        call = call.with("stride", Expr::Atom(tuple(&stride)));
    }
    if padding != zero {
        call = call.with("padding", Expr::Atom(tuple(&padding)));
    }
    if dilation != "1" {
        call = call.with("dilation", Expr::Atom(dilation));
    }
    match form.groups {
        Grouping::One => {}
        Grouping::Depthwise => call = call.with("groups", Expr::Atom(c_in)),
        Grouping::Some => call = call.with("groups", Expr::Atom(next())),
    }
    match c.bias {
        true => call,
        false => call.with("bias", Expr::atom("False")),
    }
}

/// The padding with which a convolution keeps the size of maps.
fn centred(kernel: &str, dilation: &str) -> String {
    match (kernel.parse::<usize>(), dilation.parse::<usize>()) {
        (Ok(k), Ok(d)) => (d * (k / 2)).to_string(),
        (Ok(k), Err(_)) => match k / 2 {
            0 => "0".to_string(),
            1 => dilation.to_string(),
            half => format!("{half} * {dilation}"),
        },
        (Err(_), Ok(1)) => format!("{kernel} // 2"),
        (Err(_), _) => format!("{dilation} * ({kernel} // 2)"),
    }
}
