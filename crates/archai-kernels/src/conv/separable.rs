//! Depthwise and pointwise convolution on one sample.

use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::{DataGrad, Window};
use crate::micro::pad::Padded;
use crate::micro::pointwise::{Ahead, Plane, Pointwise, PointwiseGrad};
use crate::pack::{PackedKind, Packing, transpose_dense};

/// Depthwise and pointwise, on one sample whose input is in padded scratch (after its ReLU).
#[derive(Clone, Debug)]
pub(crate) struct Separable {
    pub input: FeatureMap,
    pub output: FeatureMap,
    window: Window,
    depthwise: usize,
    pointwise: usize,
}

/// Arguments of [`Separable::backward`].
pub(crate) struct SeparableGrad<'a> {
    pub padded: &'a [f32],
    pub params: &'a [f32],
    pub transposed: &'a [f32],
    pub dz: &'a [f32],
    pub padded_g: &'a mut [f32],
    pub mid: &'a mut [f32],
    pub ahead: Ahead<'a>,
}

impl Separable {
    /// Appends its weights to `layout` as `{prefix}conv{number}.weight` and the number after it.
    pub fn new(
        input: FeatureMap,
        channels: usize,
        window: Window,
        layout: &mut Packing,
        prefix: &str,
        number: usize,
    ) -> Result<Self, Unsupported> {
        let Window {
            k,
            dilation,
            stride,
        } = window;
        if !window.is_supported() {
            return Err(Unsupported(format!(
                "a depthwise {k}×{k} kernel with dilation {dilation} and stride {stride}: there are kernels for 3, 5, \
                 7 with dilation 1 and 3, 5 with dilation 2, at strides 1 and 2"
            )));
        }
        let c = input.channels;
        let depthwise = layout.push(
            format!("{prefix}conv{number}.weight"),
            vec![c, 1, k, k],
            PackedKind::Depthwise,
        );
        let name = format!("{prefix}conv{}.weight", number + 1);
        let pointwise = layout.push(name, vec![channels, c, 1, 1], PackedKind::Dense { skip: 0 });
        let output = FeatureMap::new(channels, window.out(input.height), window.out(input.width));
        Ok(Separable {
            input,
            output,
            window,
            depthwise,
            pointwise,
        })
    }

    pub fn side(&self) -> Padded {
        Padded::new(self.input.height, self.input.width)
    }

    pub fn out_side(&self) -> Padded {
        Padded::new(self.output.height, self.output.width)
    }

    /// `mid` = depthwise, `z` = pointwise.
    pub fn forward(
        &self,
        exec: &Exec,
        padded: &[f32],
        params: &[f32],
        mid: &mut [f32],
        z: &mut [f32],
        ahead: Ahead<'_>,
    ) {
        self.window.forward(
            exec,
            padded,
            self.side(),
            &params[self.depthwise..],
            self.input.blocks(),
            mid,
        );
        let (weights, pixels) = (&params[self.pointwise..], self.output.pixels());
        let sizes = [self.input.channels, self.output.blocks()];
        exec.run(Pointwise {
            ahead,
            ..Pointwise::flat(weights, sizes, mid, z, pixels)
        });
    }

    /// The pointwise weights with exchanged channels.
    pub fn transposed(&self, params: &[f32]) -> Vec<f32> {
        transpose_dense(
            &params[self.pointwise..],
            self.output.channels,
            self.input.channels,
            1,
        )
    }

    /// Writes the gradient of the padded input to `dr` (adds it with `add`); adds those of the weights to `grad`.
    pub fn backward(
        &self,
        exec: &Exec,
        s: SeparableGrad<'_>,
        dr: Option<&mut [f32]>,
        add: bool,
        grad: Option<&mut [f32]>,
    ) {
        let (out, blocks, side) = (self.output, self.input.blocks(), self.out_side());
        let taps = &s.params[self.depthwise..];
        let mut grad = grad;
        if let Some(grad) = &mut grad {
            self.window
                .forward(exec, s.padded, self.side(), taps, blocks, s.mid);
            exec.run(PointwiseGrad {
                g: s.dz,
                g_block: out.pixels(),
                co_blocks: out.blocks(),
                x: s.mid,
                x_block: out.pixels(),
                ci: self.input.channels,
                pixels: out.pixels(),
                dw: &mut grad[self.pointwise..],
            });
        }
        exec.run(Pointwise {
            weights: s.transposed,
            ci: out.channels,
            co_blocks: blocks,
            src: s.dz,
            from: Plane {
                origin: 0,
                row: out.width,
                block: out.pixels(),
            },
            dst: s.padded_g,
            to: Plane {
                origin: side.origin(),
                row: side.row(),
                block: side.block(),
            },
            rows: out.height,
            cols: out.width,
            add: false,
            ahead: s.ahead,
        });
        if let Some(grad) = grad {
            self.window.weight_grad(
                exec,
                s.padded,
                self.side(),
                s.padded_g,
                side,
                blocks,
                &mut grad[self.depthwise..],
            );
        }
        if let Some(dst) = dr {
            let to = DataGrad {
                height: self.input.height,
                width: self.input.width,
                dst,
                add,
            };
            self.window
                .data_grad(exec, s.padded_g, side, taps, blocks, to);
        }
    }
}
