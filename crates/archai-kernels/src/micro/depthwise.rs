//! Depthwise K×K convolutions on padded planes, "same" padding: forward, data gradient, weight gradient.

use super::pad::{PAD, Padded};
use crate::exec::Exec;
use crate::simd::{Isa, Kernel, LANES};

/// Output pixels per step: eight accumulators hide the latency of the multiply-add.
const TILE: usize = 8;

/// Kernel size, dilation and stride of a depthwise convolution with "same" padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub k: usize,
    pub dilation: usize,
    pub stride: usize,
}

/// Runs `$body` with constants for a supported kernel size and dilation.
macro_rules! with_window {
    ($window:expr, |$K:ident, $D:ident| $body:expr) => {
        match ($window.k, $window.dilation) {
            (3, 1) => with_window!(3, 1, |$K, $D| $body),
            (5, 1) => with_window!(5, 1, |$K, $D| $body),
            (7, 1) => with_window!(7, 1, |$K, $D| $body),
            (3, 2) => with_window!(3, 2, |$K, $D| $body),
            (5, 2) => with_window!(5, 2, |$K, $D| $body),
            (k, d) => {
                unreachable!("a {k}×{k} window with dilation {d} is refused when the op is built")
            }
        }
    };
    ($k:literal, $d:literal, |$K:ident, $D:ident| $body:expr) => {{
        const $K: usize = $k;
        const $D: usize = $d;
        $body
    }};
}

impl Window {
    pub fn is_supported(&self) -> bool {
        matches!((self.k, self.dilation), (3 | 5 | 7, 1) | (3 | 5, 2))
            && matches!(self.stride, 1 | 2)
    }

    /// Rows or columns that come out of `n`.
    pub fn out(&self, n: usize) -> usize {
        (n - 1) / self.stride + 1
    }

    /// `dst[out_h · out_w] = window(src)`; `src` has the size of `side`.
    pub fn forward(
        &self,
        exec: &Exec,
        src: &[f32],
        side: Padded,
        weights: &[f32],
        blocks: usize,
        dst: &mut [f32],
    ) {
        let (out_h, out_w) = (self.out(side.height), self.out(side.width));
        with_window!(self, |K, D| if self.stride == 1 {
            exec.run(Forward::<K, D, 1, false, false> {
                src,
                side,
                weights,
                blocks,
                out_h,
                out_w,
                dst,
            })
        } else {
            exec.run(Forward::<K, D, 2, false, false> {
                src,
                side,
                weights,
                blocks,
                out_h,
                out_w,
                dst,
            })
        })
    }

    /// `dst (+)= ` gradient with respect to the input of `height`×`width`; `g` is padded with zeros.
    pub fn data_grad(
        &self,
        exec: &Exec,
        g: &[f32],
        side: Padded,
        weights: &[f32],
        blocks: usize,
        to: DataGrad<'_>,
    ) {
        let DataGrad {
            height,
            width,
            dst,
            add,
        } = to;
        with_window!(self, |K, D| match (self.stride, add) {
            (1, false) => {
                exec.run(Forward::<K, D, 1, true, false> {
                    src: g,
                    side,
                    weights,
                    blocks,
                    out_h: height,
                    out_w: width,
                    dst,
                })
            }
            (1, true) => {
                exec.run(Forward::<K, D, 1, true, true> {
                    src: g,
                    side,
                    weights,
                    blocks,
                    out_h: height,
                    out_w: width,
                    dst,
                })
            }
            (_, add) => exec.run(Transposed::<K, D> {
                g,
                side,
                weights,
                blocks,
                height,
                width,
                dst,
                add
            }),
        })
    }

    /// `dw += ` gradient with respect to the weights; `src` and `g` are padded with zeros.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a buffer or a size of its own"
    )]
    pub fn weight_grad(
        &self,
        exec: &Exec,
        src: &[f32],
        side: Padded,
        g: &[f32],
        g_side: Padded,
        blocks: usize,
        dw: &mut [f32],
    ) {
        with_window!(self, |K, D| if self.stride == 1 {
            exec.run(WeightGrad::<K, D, 1> {
                src,
                side,
                g,
                g_side,
                blocks,
                dw,
            })
        } else {
            exec.run(WeightGrad::<K, D, 2> {
                src,
                side,
                g,
                g_side,
                blocks,
                dw,
            })
        })
    }
}

/// Where a data gradient is written.
pub(crate) struct DataGrad<'a> {
    pub height: usize,
    pub width: usize,
    pub dst: &'a mut [f32],
    /// Add to what is there, rather than replace it.
    pub add: bool,
}

/// Correlation with the window (`FLIP`: with the window turned by 180°, the data gradient at stride 1).
struct Forward<
    'a,
    const K: usize,
    const D: usize,
    const S: usize,
    const FLIP: bool,
    const ADD: bool,
> {
    src: &'a [f32],
    side: Padded,
    weights: &'a [f32],
    blocks: usize,
    out_h: usize,
    out_w: usize,
    dst: &'a mut [f32],
}

impl<const K: usize, const D: usize, const S: usize, const FLIP: bool, const ADD: bool> Kernel
    for Forward<'_, K, D, S, FLIP, ADD>
{
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            src,
            side,
            weights,
            blocks,
            out_h,
            out_w,
            dst,
        } = self;
        let off = PAD - K / 2 * D;
        let reach = (K - 1) * D + off;
        assert!(src.len() >= side.len(blocks) && weights.len() >= blocks * K * K * LANES);
        assert!(dst.len() >= blocks * out_h * out_w * LANES && out_h > 0 && out_w > 0);
        assert!(
            (out_h - 1) * S + reach < side.height + 2 * PAD && (out_w - 1) * S + reach < side.row()
        );
        let row = side.row();
        for b in 0..blocks {
            let w = b * K * K * LANES;
            for y in 0..out_h {
                for x in (0..out_w).step_by(TILE) {
                    let s = (b * side.block() + (y * S + off) * row + x * S + off) * LANES;
                    let d = ((b * out_h + y) * out_w + x) * LANES;
                    let full = x + TILE <= out_w;
                    let m = if full { TILE } else { out_w - x };
                    // SAFETY: the asserts above bound the last pixel of a row; a tile that hangs over the row's end
                    // reads at most (TILE - 1) * 2 pixels further, which the slack of padded scratch covers, and stores
                    // only the `m` pixels that exist. Weights: K·K vectors per block.
                    unsafe {
                        let mut acc = [I::zero(); TILE];
                        if ADD {
                            for i in 0..TILE {
                                if i < m {
                                    acc[i] = I::load(dst, d + i * LANES);
                                }
                            }
                        }
                        for ky in 0..K {
                            let line = s + ky * D * row * LANES;
                            for kx in 0..K {
                                let t = if FLIP {
                                    K * K - 1 - ky * K - kx
                                } else {
                                    ky * K + kx
                                };
                                let wv = I::load(weights, w + t * LANES);
                                let q = line + kx * D * LANES;
                                for (i, acc) in acc.iter_mut().enumerate() {
                                    *acc = I::fma(I::load(src, q + i * S * LANES), wv, *acc);
                                }
                            }
                        }
                        if full {
                            for i in 0..TILE {
                                I::store(dst, d + i * LANES, acc[i]);
                            }
                        } else {
                            for i in 0..TILE {
                                if i < m {
                                    I::store(dst, d + i * LANES, acc[i]);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The data gradient at stride 2: four interleaved images, each touched by the taps of one parity.
struct Transposed<'a, const K: usize, const D: usize> {
    g: &'a [f32],
    side: Padded,
    weights: &'a [f32],
    blocks: usize,
    height: usize,
    width: usize,
    dst: &'a mut [f32],
    add: bool,
}

impl<const K: usize, const D: usize> Kernel for Transposed<'_, K, D> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut args = self;
        let Self {
            g,
            side,
            weights,
            blocks,
            height,
            width,
            ..
        } = &args;
        assert!(g.len() >= side.len(*blocks) && weights.len() >= blocks * K * K * LANES);
        assert!(args.dst.len() >= blocks * height * width * LANES);
        assert!(side.height == (height - 1) / 2 + 1 && side.width == (width - 1) / 2 + 1);
        // SAFETY: checked above.
        unsafe {
            parity::<I, K, D, 0, 0>(&mut args);
            parity::<I, K, D, 0, 1>(&mut args);
            parity::<I, K, D, 1, 0>(&mut args);
            parity::<I, K, D, 1, 1>(&mut args);
        }
    }
}

/// The image of the pixels (2y + PY, 2x + PX).
///
/// # Safety
/// The lengths are as [`Transposed::run`] asserts.
#[inline(always)]
unsafe fn parity<I: Isa, const K: usize, const D: usize, const PY: usize, const PX: usize>(
    args: &mut Transposed<'_, K, D>,
) {
    let Transposed {
        g,
        side,
        weights,
        blocks,
        height,
        width,
        dst,
        add,
    } = args;
    let row = side.row();
    let (rows, cols) = ((*height + 1 - PY) / 2, (*width + 1 - PX) / 2);
    // Taps `first_y`, `first_y + STEP`, … reach this parity, if any does; tap `k` meets the output at `place(k)`,
    // counted from the padded edge, in each direction. 2·PAD keeps the differences positive.
    let step = if D == 2 { 1 } else { 2 };
    let place = |parity: usize, k: usize| (parity + K / 2 * D + 2 * PAD - k * D) / 2;
    let (first_y, first_x) = ((PY + K / 2 * D) % 2, (PX + K / 2 * D) % 2);
    let none = D == 2 && (first_y > 0 || first_x > 0);
    if none && *add {
        return;
    }
    for b in 0..*blocks {
        for y in 0..rows {
            for x in (0..cols).step_by(TILE) {
                let m = (cols - x).min(TILE);
                let d = ((b * *height + 2 * y + PY) * *width + 2 * x + PX) * LANES;
                // SAFETY: outputs lie at most K/2·D/2 + 1 ≤ PAD pixels outside the gradient's plane, hence in its
                // border, and a tile that hangs over reads into the slack; `m` pixels are stored.
                unsafe {
                    let mut acc = [I::zero(); TILE];
                    let mut ky = first_y;
                    while ky < K && !none {
                        let line = (b * side.block() + (y + place(PY, ky)) * row + x) * LANES;
                        let mut kx = first_x;
                        while kx < K {
                            let wv = I::load(weights, (b * K * K + ky * K + kx) * LANES);
                            let q = line + place(PX, kx) * LANES;
                            for (i, acc) in acc.iter_mut().enumerate() {
                                *acc = I::fma(I::load(g, q + i * LANES), wv, *acc);
                            }
                            kx += step;
                        }
                        ky += step;
                    }
                    for (i, acc) in acc.iter().enumerate() {
                        if i < m {
                            let d = d + i * 2 * LANES;
                            I::store(
                                dst,
                                d,
                                if *add {
                                    I::add(I::load(dst, d), *acc)
                                } else {
                                    *acc
                                },
                            );
                        }
                    }
                }
            }
        }
    }
}

struct WeightGrad<'a, const K: usize, const D: usize, const S: usize> {
    src: &'a [f32],
    side: Padded,
    g: &'a [f32],
    g_side: Padded,
    blocks: usize,
    dw: &'a mut [f32],
}

impl<const K: usize, const D: usize, const S: usize> Kernel for WeightGrad<'_, K, D, S> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self {
            src,
            side,
            g,
            g_side,
            blocks,
            dw,
        } = self;
        let (h, w) = (g_side.height, g_side.width);
        let off = PAD - K / 2 * D;
        let reach = (K - 1) * D + off;
        assert!(
            src.len() >= side.len(blocks)
                && g.len() >= g_side.len(blocks)
                && dw.len() >= blocks * K * K * LANES
        );
        assert!((h - 1) * S + reach < side.height + 2 * PAD && (w - 1) * S + reach < side.row());
        for b in 0..blocks {
            let s = (b * side.block() + off * side.row() + off) * LANES;
            let gb = (b * g_side.block() + g_side.origin()) * LANES;
            let o = b * K * K * LANES;
            // SAFETY: the asserts bound the last pixel; pixels of a pair may stand behind the row's end, where
            // the gradient's border makes it count zero and the source is covered by border and slack.
            unsafe {
                if K == 3 {
                    let mut acc = [[I::zero(); K]; K];
                    for y in 0..h {
                        for x in (0..w).step_by(2 * spread::<D, S>()) {
                            for r in 0..spread::<D, S>() {
                                for x in [x + r, x + r + spread::<D, S>()] {
                                    let gv = I::load(g, gb + (y * g_side.row() + x) * LANES);
                                    let q = s + (y * S * side.row() + x * S) * LANES;
                                    for ky in 0..K {
                                        let q = q + ky * D * side.row() * LANES;
                                        for kx in 0..K {
                                            let v = I::load(src, q + kx * D * LANES);
                                            acc[ky][kx] = I::fma(v, gv, acc[ky][kx]);
                                        }
                                    }
                                }
                            }
                        }
                    }
                    for (t, acc) in acc.as_flattened().iter().enumerate() {
                        let q = o + t * LANES;
                        I::store(dw, q, I::add(I::load(dw, q), *acc));
                    }
                } else if K == 5 {
                    weight_rows::<I, K, D, S, 2>(src, s, side.row(), g, gb, g_side, dw, o);
                } else {
                    weight_rows::<I, K, D, S, 1>(src, s, side.row(), g, gb, g_side, dw, o);
                }
            }
        }
    }
}

/// The distance of two output pixels that share most of their source pixels. Rows are walked in pairs at this
/// distance, up to three pixels past their end.
const fn spread<const D: usize, const S: usize>() -> usize {
    if D > S { D / S } else { 1 }
}

/// The weight gradient a row of taps at a time, on `U` pixels: more accumulators than there are registers would spill.
///
/// # Safety
/// As in [`WeightGrad::run`], for the block that begins at `s`, `gb` and `o`.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a buffer or a size of its own"
)]
#[inline(always)]
unsafe fn weight_rows<I: Isa, const K: usize, const D: usize, const S: usize, const U: usize>(
    src: &[f32],
    s: usize,
    row: usize,
    g: &[f32],
    gb: usize,
    g_side: Padded,
    dw: &mut [f32],
    o: usize,
) {
    for ky in 0..K {
        let mut acc = [[I::zero(); K]; U];
        // SAFETY: promised by the caller.
        unsafe {
            for y in 0..g_side.height {
                let line = s + (y * S + ky * D) * row * LANES;
                let gl = gb + y * g_side.row() * LANES;
                for x in (0..g_side.width).step_by(U * spread::<D, S>()) {
                    for r in 0..spread::<D, S>() {
                        for (u, acc) in acc.iter_mut().enumerate() {
                            let x = x + r + u * spread::<D, S>();
                            let gv = I::load(g, gl + x * LANES);
                            let q = line + x * S * LANES;
                            for (kx, acc) in acc.iter_mut().enumerate() {
                                *acc = I::fma(I::load(src, q + kx * D * LANES), gv, *acc);
                            }
                        }
                    }
                }
            }
            for kx in 0..K {
                let q = o + (ky * K + kx) * LANES;
                let sum = acc
                    .iter()
                    .skip(1)
                    .fold(acc[0][kx], |sum, acc| I::add(sum, acc[kx]));
                I::store(dw, q, I::add(I::load(dw, q), sum));
            }
        }
    }
}
