//! Dense convolutions as lists of taps on padded planes. A data gradient is the same kernel with exchanged channels, at
//! stride > 1 once for each parity of the pixels.

use super::pad::Padded;
use super::pointwise::step;
use crate::simd::{Isa, Kernel, LANES, scalar};

/// One tap: its place in the padded source, in pixels from the first output pixel, and its index in the weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    pub offset: usize,
    pub index: usize,
}

/// Pixels of the destination: first one, from row to row, from column to column, from block to block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub origin: usize,
    pub row: usize,
    pub col: usize,
    pub block: usize,
}

/// `dst[o] = Σ_taps Σ_i w[o][i][tap] · src[i][pixel + tap]`.
pub(crate) struct Conv<'a> {
    pub src: &'a [f32],
    pub side: Padded,
    /// Source pixels between neighbouring outputs, down and across.
    pub stride: (usize, usize),
    pub taps: &'a [Tap],
    /// Taps in the weights' layout, of which `taps` may be a part.
    pub taps_in_weights: usize,
    pub weights: &'a [f32],
    pub ci: usize,
    pub co_blocks: usize,
    pub rows: usize,
    pub cols: usize,
    pub dst: &'a mut [f32],
    pub to: Grid,
}

impl Kernel for Conv<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut args = self;
        let (rows, cols, to) = (args.rows, args.cols, args.to);
        if rows == 0 || cols == 0 {
            return;
        }
        let reach = args.taps.iter().map(|t| t.offset).max().unwrap_or(0);
        let last =
            (rows - 1) * args.stride.0 * args.side.row() + (cols - 1) * args.stride.1 + reach;
        assert!(last < args.side.block() && args.stride.1 <= 4);
        assert!(args.src.len() >= args.side.len(args.ci.div_ceil(LANES)));
        assert!(args.weights.len() >= args.co_blocks * args.ci * args.taps_in_weights * LANES);
        assert!(args.taps.iter().all(|t| t.index < args.taps_in_weights));
        let end = to.origin
            + (args.co_blocks - 1) * to.block
            + (rows - 1) * to.row
            + (cols - 1) * to.col
            + 1;
        assert!(args.dst.len() >= end * LANES);
        let pairs = args.co_blocks / 2 * 2;
        for y in 0..rows {
            // SAFETY: the asserts bound the last pixel. A tile that hangs over the end reads at most 7 · 4 pixels
            // further, which the slack covers, and stores only pixels that exist.
            unsafe {
                // Blocks two by two on four pixels; an odd one last, on eight.
                for x in (0..cols).step_by(4) {
                    for c in (0..pairs).step_by(2) {
                        conv_tile::<I, 2, 4>(&mut args, c, y, x);
                    }
                }
                if pairs < args.co_blocks {
                    for x in (0..cols).step_by(8) {
                        conv_tile::<I, 1, 8>(&mut args, pairs, y, x);
                    }
                }
            }
        }
    }
}

/// # Safety
/// Blocks `c..c + CB` exist, and the tile at (`y`, `x`) begins at an existing pixel.
#[inline(always)]
unsafe fn conv_tile<I: Isa, const CB: usize, const TILE: usize>(
    args: &mut Conv<'_>,
    c: usize,
    y: usize,
    x: usize,
) {
    let Conv {
        src,
        side,
        stride,
        taps,
        taps_in_weights: t_all,
        weights,
        ci,
        cols,
        dst,
        to,
        ..
    } = args;
    let (ci, t_all, dx) = (*ci, *t_all, stride.1 * LANES);
    let s = (y * stride.0 * side.row() + x * stride.1) * LANES;
    let w_block = ci * t_all * LANES;
    let m = (*cols - x).min(TILE);
    let mut acc = [[I::zero(); TILE]; CB];
    // SAFETY: promised by the caller, together with the asserts of `Conv::run`.
    unsafe {
        for b in 0..ci.div_ceil(LANES) {
            let lanes = (ci - b * LANES).min(LANES);
            let w = c * w_block + b * LANES * t_all * LANES;
            for tap in taps.iter() {
                let q = s + (b * side.block() + tap.offset) * LANES;
                let w = w + tap.index * lanes * LANES;
                if lanes == LANES && dx == LANES {
                    for i in 0..LANES {
                        step::<I, CB, TILE>(weights, w + i * LANES, w_block, src, q + i, &mut acc);
                    }
                } else {
                    for i in 0..lanes {
                        let wv: [I::V; CB] =
                            std::array::from_fn(|r| I::load(weights, w + i * LANES + r * w_block));
                        for p in 0..TILE {
                            let v = I::splat(scalar(src, q + i + p * dx));
                            for r in 0..CB {
                                acc[r][p] = I::fma(v, wv[r], acc[r][p]);
                            }
                        }
                    }
                }
            }
        }
        let d = (to.origin + c * to.block + y * to.row + x * to.col) * LANES;
        for (r, acc) in acc.iter().enumerate() {
            for (p, acc) in acc.iter().enumerate() {
                if p < m {
                    I::store(dst, d + (r * to.block + p * to.col) * LANES, *acc);
                }
            }
        }
    }
}

/// `dw[o][i][tap] += Σ_pixels g[o] · src[i][pixel + tap]`; `g` contiguous, `src` padded.
pub(crate) struct ConvGrad<'a> {
    pub g: &'a [f32],
    pub co_blocks: usize,
    pub rows: usize,
    pub cols: usize,
    pub src: &'a [f32],
    pub side: Padded,
    pub stride: (usize, usize),
    pub taps: &'a [Tap],
    pub ci: usize,
    pub dw: &'a mut [f32],
}

impl Kernel for ConvGrad<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut args = self;
        let (ci, rows, cols) = (args.ci, args.rows, args.cols);
        let reach = args.taps.iter().map(|t| t.offset).max().unwrap_or(0);
        let last =
            (rows - 1) * args.stride.0 * args.side.row() + (cols - 1) * args.stride.1 + reach;
        assert!(last < args.side.block() && args.src.len() >= args.side.len(ci.div_ceil(LANES)));
        assert!(args.g.len() >= args.co_blocks * rows * cols * LANES);
        assert!(args.dw.len() >= args.co_blocks * ci * args.taps.len() * LANES);
        assert!(args.taps.iter().all(|t| t.index < args.taps.len()));
        let pairs = args.co_blocks / 2 * 2;
        for t in 0..args.taps.len() {
            // SAFETY: the asserts cover all blocks, channels, taps and pixels; the channels of a tile stay in one block.
            unsafe {
                for c in (0..pairs).step_by(2) {
                    for i in (0..ci).step_by(4) {
                        match ci - i {
                            4.. => conv_grad_tile::<I, 2, 4>(&mut args, c, i, t),
                            3 => conv_grad_tile::<I, 2, 3>(&mut args, c, i, t),
                            lanes => (i..i + lanes)
                                .for_each(|i| conv_grad_tile::<I, 2, 1>(&mut args, c, i, t)),
                        }
                    }
                }
                for c in pairs..args.co_blocks {
                    for i in (0..ci).step_by(LANES) {
                        match ci - i {
                            8.. => conv_grad_tile::<I, 1, 8>(&mut args, c, i, t),
                            lanes @ 4.. => {
                                conv_grad_tile::<I, 1, 4>(&mut args, c, i, t);
                                (i + 4..i + lanes)
                                    .for_each(|i| conv_grad_tile::<I, 1, 1>(&mut args, c, i, t));
                            }
                            lanes => (i..i + lanes)
                                .for_each(|i| conv_grad_tile::<I, 1, 1>(&mut args, c, i, t)),
                        }
                    }
                }
            }
        }
    }
}

/// # Safety
/// Output blocks `c..c + CB`, input channels `i..i + R` (within one block) and tap `t` exist.
#[inline(always)]
unsafe fn conv_grad_tile<I: Isa, const CB: usize, const R: usize>(
    args: &mut ConvGrad<'_>,
    c: usize,
    i: usize,
    t: usize,
) {
    let ConvGrad {
        g,
        rows,
        cols,
        src,
        side,
        stride,
        taps,
        ci,
        dw,
        ..
    } = args;
    let tap = taps[t];
    let np = *rows * *cols;
    let s = (i / LANES * side.block() + tap.offset) * LANES + i % LANES;
    let mut acc = [[I::zero(); R]; CB];
    // SAFETY: promised by the caller.
    unsafe {
        for y in 0..*rows {
            let line = s + y * stride.0 * side.row() * LANES;
            for x in 0..*cols {
                let gv: [I::V; CB] =
                    std::array::from_fn(|q| I::load(g, ((c + q) * np + y * *cols + x) * LANES));
                let s = line + x * stride.1 * LANES;
                for r in 0..R {
                    let v = I::splat(scalar(src, s + r));
                    for q in 0..CB {
                        acc[q][r] = I::fma(v, gv[q], acc[q][r]);
                    }
                }
            }
        }
        let (b, lane, n) = (i / LANES, i % LANES, taps.len());
        let lanes = (*ci - b * LANES).min(LANES);
        for (q, acc) in acc.iter().enumerate() {
            for (r, acc) in acc.iter().enumerate() {
                let o = ((c + q) * *ci * n + b * LANES * n + tap.index * lanes + lane + r) * LANES;
                I::store(dw, o, I::add(I::load(dw, o), *acc));
            }
        }
    }
}
