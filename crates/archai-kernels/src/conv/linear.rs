//! The linear part of a [`ConvNorm`](super::ConvNorm) with the ReLU before it, on one sample.

use super::dense::Dense;
use super::pointwise::PointwiseRuns;
use super::reduce::Reduce;
use super::separable::{Separable, SeparableGrad};
use super::{ConvKind, scratch};
use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::Window;
use crate::micro::pad::{PadCopy, PadMap, Padded, ReluMask};
use crate::micro::pointwise::Ahead;
use crate::pack::{PackedKind, Packing, transpose_dense};
use crate::simd::LANES;

/// The linear part.
#[derive(Clone, Debug)]
pub(super) enum Linear {
    Separable(Separable),
    Pointwise(PointwiseRuns),
    Dense(Dense),
    Reduce(Reduce),
}

/// Arguments of [`Linear::backward`].
pub(super) struct LinearGrad<'a> {
    pub x: &'a [f32],
    pub params: &'a [f32],
    /// As [`Linear::transposed`] returns them.
    pub transposed: &'a [Vec<f32>; 2],
    /// The gradient of the linear part's result.
    pub dz: &'a [f32],
    pub ahead: Ahead<'a>,
}

/// Scratch of one run; what each part is depends on the kind.
pub(super) struct Scratch {
    /// Padded input.
    padded: Vec<f32>,
    /// Padded gradient at the output's size.
    padded_g: Vec<f32>,
    /// Depthwise result, or the two gathered halves, or a run of pixels after the ReLU and before its mask.
    mid: Vec<f32>,
    mid2: Vec<f32>,
    /// Gradient of the input before the ReLU's mask.
    dr: Vec<f32>,
}

impl Linear {
    pub fn new(
        input: FeatureMap,
        channels: usize,
        kind: ConvKind,
        layout: &mut Packing,
    ) -> Result<Self, Unsupported> {
        Ok(match kind {
            ConvKind::Separable {
                kernel,
                dilation,
                stride,
            } => {
                let window = Window {
                    k: kernel,
                    dilation,
                    stride,
                };
                Linear::Separable(Separable::new(input, channels, window, layout, "", 1)?)
            }
            ConvKind::Pointwise => {
                layout.push(
                    "conv1.weight".into(),
                    vec![channels, input.channels, 1, 1],
                    PackedKind::Dense { skip: 0 },
                );
                Linear::Pointwise(PointwiseRuns {
                    input,
                    output: input.with_channels(channels),
                })
            }
            ConvKind::Dense {
                kernel,
                stride,
                padding,
            } => Linear::Dense(Dense::new(
                input, channels, kernel, stride, padding, layout,
            )?),
            ConvKind::FactorizedReduce => Linear::Reduce(Reduce::new(input, channels, layout, "")?),
        })
    }

    pub fn output(&self) -> FeatureMap {
        match self {
            Linear::Separable(s) => s.output,
            Linear::Pointwise(c) => c.output,
            Linear::Dense(d) => d.output,
            Linear::Reduce(r) => r.output,
        }
    }

    pub fn scratch(&self, relu: bool, backward: bool) -> Scratch {
        let mut s = Scratch {
            padded: vec![],
            padded_g: vec![],
            mid: vec![],
            mid2: vec![],
            dr: vec![],
        };
        let input = match self {
            Linear::Separable(c) => {
                s.padded = c.side().scratch(c.input.blocks());
                s.mid = scratch(c.input.blocks() * c.output.pixels() * LANES);
                if backward {
                    s.padded_g = c.out_side().scratch(c.input.blocks());
                }
                c.input
            }
            Linear::Pointwise(c) => {
                s.mid = scratch(if relu { c.run_len() } else { 0 });
                s.mid2 = scratch(if relu && backward { c.run_len() } else { 0 });
                return s;
            }
            Linear::Dense(c) => {
                s.padded = c.side().scratch(c.input.blocks());
                if backward {
                    s.padded_g = c.out_side().scratch(c.output.blocks());
                }
                c.input
            }
            Linear::Reduce(c) => {
                s.mid = scratch(c.half_len());
                s.mid2 = scratch(c.half_len());
                c.input
            }
        };
        if backward && relu {
            s.dr = scratch(input.sample_len());
        }
        s
    }

    #[expect(clippy::too_many_arguments, reason = "each is something of its own")]
    pub fn forward(
        &self,
        exec: &Exec,
        relu: bool,
        x: &[f32],
        params: &[f32],
        s: &mut Scratch,
        z: &mut [f32],
        ahead: Ahead<'_>,
    ) {
        match self {
            Linear::Separable(c) => {
                pad(exec, relu, x, c.input, &mut s.padded);
                c.forward(exec, &s.padded, params, &mut s.mid, z, ahead);
            }
            Linear::Pointwise(c) => c.forward(exec, relu, x, params, &mut s.mid, z, ahead),
            Linear::Dense(c) => {
                pad(exec, relu, x, c.input, &mut s.padded);
                c.forward(exec, &s.padded, params, z);
            }
            Linear::Reduce(c) => {
                c.gather(exec, x, relu, &mut s.mid, &mut s.mid2);
                c.forward(exec, &s.mid, &s.mid2, params, z);
            }
        }
    }

    /// Weights with exchanged channels, for the data gradient.
    pub fn transposed(&self, params: &[f32]) -> [Vec<f32>; 2] {
        match self {
            Linear::Separable(c) => [c.transposed(params), vec![]],
            Linear::Pointwise(c) => [
                transpose_dense(params, c.output.channels, c.input.channels, 1),
                vec![],
            ],
            Linear::Dense(c) => [
                transpose_dense(
                    params,
                    c.output.channels,
                    c.input.channels,
                    c.kernel.0 * c.kernel.1,
                ),
                vec![],
            ],
            Linear::Reduce(c) => c.transposed(params),
        }
    }

    /// Writes the gradient of the input to `dx`; adds that of the parameters to `grad`.
    pub fn backward(
        &self,
        exec: &Exec,
        relu: bool,
        args: LinearGrad<'_>,
        s: &mut Scratch,
        dx: Option<&mut [f32]>,
        grad: Option<&mut [f32]>,
    ) {
        let LinearGrad {
            x,
            params,
            transposed,
            dz,
            ahead,
        } = args;
        let Scratch {
            padded,
            padded_g,
            mid,
            mid2,
            dr,
        } = s;
        // Without a ReLU there is no mask, and the gradient is written directly to `dx`.
        let (mut dx, mut dr) = (dx, &mut dr[..]);
        let target: Option<&mut [f32]> = match &mut dx {
            Some(dx) if !relu => Some(dx),
            Some(_) => Some(&mut dr),
            None => None,
        };
        match self {
            Linear::Separable(c) => {
                pad(exec, relu, x, c.input, padded);
                let args = SeparableGrad {
                    padded,
                    params,
                    transposed: &transposed[0],
                    dz,
                    padded_g,
                    mid,
                    ahead,
                };
                c.backward(exec, args, target, false, grad);
            }
            Linear::Pointwise(c) => {
                let scratch = (&mut mid[..], &mut mid2[..]);
                return c.backward(exec, relu, x, &transposed[0], dz, scratch, dx, grad, ahead);
            }
            Linear::Dense(c) => {
                if let Some(grad) = grad {
                    pad(exec, relu, x, c.input, padded);
                    c.weight_grad(exec, padded, dz, grad);
                }
                if let Some(dr) = target {
                    c.data_grad(exec, &transposed[0], dz, padded_g, dr);
                }
            }
            Linear::Reduce(c) => {
                if let Some(grad) = grad {
                    c.gather(exec, x, relu, mid, mid2);
                    c.weight_grad(exec, mid, mid2, dz, grad);
                }
                if let Some(dr) = target {
                    dr.fill(0.0);
                    c.data_grad(exec, transposed, dz, mid, dr);
                }
            }
        }
        if relu && let Some(dx) = dx {
            exec.run(ReluMask {
                x,
                g: dr,
                dx,
                add: false,
            });
        }
    }

    pub fn clear_padding(&self, grad: &mut [f32]) {
        if let Linear::Reduce(c) = self {
            c.clear_padding(grad);
        }
    }
}

/// One sample into scratch with zeros around, behind the ReLU if there is one.
fn pad(exec: &Exec, relu: bool, x: &[f32], input: FeatureMap, padded: &mut [f32]) {
    exec.run(PadCopy {
        src: x,
        blocks: input.blocks(),
        to: Padded::new(input.height, input.width),
        dst: padded,
        map: match relu {
            true => PadMap::Relu,
            false => PadMap::Plain,
        },
    });
}
