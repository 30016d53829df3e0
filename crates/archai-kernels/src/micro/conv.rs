//! Dense convolutions as lists of taps on padded planes. A data gradient is the same kernel with exchanged channels, at
//! stride > 1 once for each parity of the pixels.

use super::pad::Padded;
use super::tile::{Places, Tile, for_groups};
use crate::simd::{Isa, Kernel, LANES};
use std::ops::Range;

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
        for_groups!(I, args.co_blocks, |c, CP, CS, P| for y in 0..rows {
            // SAFETY: the asserts bound the last pixel. A tile wider than the row reads at most 7 · 4 pixels further,
            // which the slack covers, and stores only pixels that exist.
            unsafe {
                let mut x = 0;
                while x + P <= cols {
                    conv_tile::<I, CP, CS, P>(&mut args, c, y, x);
                    x += P;
                }
                // The last tile overlaps the one before, if there is one; it computes the same values.
                match cols - x {
                    0 => (),
                    1..=4 => conv_tile::<I, CP, CS, 4>(&mut args, c, y, cols.max(4) - 4),
                    _ => conv_tile::<I, CP, CS, P>(&mut args, c, y, cols.max(P) - P),
                }
            }
        });
    }
}

/// # Safety
/// The group's blocks from `c` on exist, and the tile at (`y`, `x`) begins at an existing pixel.
#[inline(always)]
unsafe fn conv_tile<I: Isa, const CP: usize, const CS: usize, const P: usize>(
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
    let mut sums = Tile::<I, CP, CS, P>::zero();
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
                        sums.step::<LANES>(weights, w + i * LANES, w_block, src, q + i);
                    }
                } else {
                    for i in 0..lanes {
                        sums.step_apart(weights, w + i * LANES, w_block, src, q + i, dx);
                    }
                }
            }
        }
        let at = Places {
            start: (to.origin + c * to.block + y * to.row + x * to.col) * LANES,
            block: to.block * LANES,
            pixel: to.col * LANES,
        };
        sums.store(dst, at, *cols - x);
    }
}

/// Pixels whose sums are taken at a time in weight gradients.
const GRAD_PANEL: usize = 128;

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
        // Some rows at a time, so that what all taps read stays in the first two caches.
        let down = (GRAD_PANEL / cols).max(1);
        for y in (0..rows).step_by(down) {
            let lines = y..(y + down).min(rows);
            for_groups!(
                I,
                args.co_blocks,
                |c, CP, CS, P| for t in 0..args.taps.len() {
                    // SAFETY: the asserts cover all blocks, channels, taps and pixels; four or eight channels from a
                    // multiple of as many on stay within one block.
                    unsafe {
                        let mut i = 0;
                        while i + P <= ci {
                            conv_grad_tile::<I, CP, CS, P>(&mut args, c, i, t, &lines);
                            i += P;
                        }
                        while P > 4 && i + 4 <= ci {
                            conv_grad_tile::<I, CP, CS, 4>(&mut args, c, i, t, &lines);
                            i += 4;
                        }
                        while i < ci {
                            conv_grad_tile::<I, CP, CS, 1>(&mut args, c, i, t, &lines);
                            i += 1;
                        }
                    }
                }
            );
        }
    }
}

/// # Safety
/// The group's output blocks from `c` on, input channels `i..i + R` (within one block), tap `t` and the rows exist.
#[inline(always)]
unsafe fn conv_grad_tile<I: Isa, const CP: usize, const CS: usize, const R: usize>(
    args: &mut ConvGrad<'_>,
    c: usize,
    i: usize,
    t: usize,
    lines: &Range<usize>,
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
    let block = *rows * *cols * LANES;
    let s = (i / LANES * side.block() + tap.offset) * LANES + i % LANES;
    let mut sums = Tile::<I, CP, CS, R>::zero();
    // SAFETY: promised by the caller.
    unsafe {
        for y in lines.clone() {
            let line = s + y * stride.0 * side.row() * LANES;
            let g_line = c * block + y * *cols * LANES;
            for x in 0..*cols {
                let s = line + x * stride.1 * LANES;
                sums.step::<1>(g, g_line + x * LANES, block, src, s);
            }
        }
        let (b, lane, n) = (i / LANES, i % LANES, taps.len());
        let lanes = (*ci - b * LANES).min(LANES);
        let at = Places {
            start: (c * *ci * n + b * LANES * n + tap.index * lanes + lane) * LANES,
            block: *ci * n * LANES,
            pixel: LANES,
        };
        sums.add_to(dw, at);
    }
}
