//! 1×1 convolutions: a matrix product per sample, with a tile of output blocks by pixels in registers.

use crate::simd::{Isa, Kernel, LANES, scalar};
use std::ops::Range;

/// Where the pixels of a plane stand, in pixels: a plane inside a padded one is described as well as a contiguous one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane {
    pub origin: usize,
    pub row: usize,
    pub block: usize,
}

impl Plane {
    /// `pixels` without gaps; to be walked as a single row.
    pub fn flat(pixels: usize) -> Self {
        Plane {
            origin: 0,
            row: pixels,
            block: pixels,
        }
    }

    fn last(&self, blocks: usize, rows: usize, cols: usize) -> usize {
        self.origin + (blocks - 1) * self.block + (rows - 1) * self.row + cols
    }
}

/// Memory that is read next, asked for while the processor multiplies and the memory would have nothing to do: passes over
/// memory otherwise wait for it, and the products take longer than it takes to come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead<'a>(pub [&'a [f32]; 3]);

impl<'a> Ahead<'a> {
    /// Part `i` of `n` equal ones.
    pub fn part(&self, i: usize, n: usize) -> Self {
        Ahead(self.0.map(|s| &s[i * s.len() / n..(i + 1) * s.len() / n]))
    }

    fn lines(&self) -> usize {
        self.0.iter().map(|s| s.len().div_ceil(LINE)).sum()
    }

    /// Asks for the next lines.
    #[inline(always)]
    fn fetch<I: Isa>(&mut self, lines: usize) {
        for _ in 0..lines {
            let [first, b, c] = self.0;
            if first.is_empty() {
                if b.is_empty() && c.is_empty() {
                    return;
                }
                self.0 = [b, c, &[]];
                continue;
            }
            // SAFETY: there is a first element.
            unsafe { I::prefetch(first, 0) };
            self.0[0] = &first[LINE.min(first.len())..];
        }
    }
}

/// Elements of a cache line.
const LINE: usize = 16;

/// `dst[o] (+)= Σ_i w[o][i] · src[i]` for `rows`×`cols` pixels. Weights `[⌈co/8⌉][ci][8]`.
pub(crate) struct Pointwise<'a> {
    pub weights: &'a [f32],
    pub ci: usize,
    pub co_blocks: usize,
    pub src: &'a [f32],
    pub from: Plane,
    pub dst: &'a mut [f32],
    pub to: Plane,
    pub rows: usize,
    pub cols: usize,
    pub add: bool,
    pub ahead: Ahead<'a>,
}

/// Pixels that one group of output blocks works on before the next group does: a group's weights stay in the first
/// cache for so many pixels, and the pixels in the second for all groups.
const PANEL: usize = 64;

/// Most input channels that are summed up at a time, so that the weights of a group fill about half of the first cache.
const DEPTH: usize = 192;

/// Runs `$body` for every group of blocks: two by two and perhaps a single one, or, with 32 registers, three by three and
/// the rest (five instead of three and two, twice two instead of three and one).
macro_rules! for_groups {
    ($I:ident, $blocks:expr, |$c:ident, $CB:ident| $body:expr) => {{
        let blocks: usize = $blocks;
        let rest = match blocks % 3 {
            _ if !$I::WIDE => blocks,
            1 if blocks > 1 => 4,
            2 if blocks > 2 => 5,
            rest => rest,
        };
        let threes = blocks - rest;
        if $I::WIDE {
            for $c in (0..threes).step_by(3) {
                const $CB: usize = 3;
                $body
            }
            if rest == 5 {
                let $c = threes;
                const $CB: usize = 5;
                $body
            }
        }
        let (start, pairs) = match $I::WIDE && rest == 5 {
            true => (blocks, 0),
            false => (threes, rest / 2 * 2),
        };
        for $c in (start..start + pairs).step_by(2) {
            const $CB: usize = 2;
            $body
        }
        for $c in start + pairs..blocks {
            const $CB: usize = 1;
            $body
        }
    }};
}

impl Kernel for Pointwise<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (ci, rows, cols) = (self.ci, self.rows, self.cols);
        assert!(ci > 0 && self.co_blocks > 0 && rows > 0 && cols > 0);
        assert!(self.weights.len() >= self.co_blocks * ci * LANES);
        assert!(self.src.len() >= self.from.last(ci.div_ceil(LANES), rows, cols) * LANES);
        assert!(self.dst.len() >= self.to.last(self.co_blocks, rows, cols) * LANES);
        let mut args = self;
        let (down, across) = ((PANEL / cols).max(1), cols.min(PANEL));
        let depth = ci.div_ceil(ci.div_ceil(DEPTH)).next_multiple_of(LANES);
        // Tiles of four pixels and two blocks, about.
        let tiles = rows * cols.div_ceil(4) * args.co_blocks.div_ceil(2) * ci.div_ceil(depth);
        let per_tile = args.ahead.lines().div_ceil(tiles);
        for y in (0..rows).step_by(down) {
            let lines = y..(y + down).min(rows);
            for x in (0..cols).step_by(across) {
                let line = x..(x + across).min(cols);
                for i in (0..ci).step_by(depth) {
                    let inputs = i..(i + depth).min(ci);
                    // Eight accumulators at least hide the latency of the multiply-add; more than there are registers
                    // for would be worse than that latency.
                    for_groups!(I, args.co_blocks, |c, CB| for y in lines.clone() {
                        // SAFETY: the asserts cover every pixel of every block.
                        unsafe {
                            if CB == 1 {
                                strip::<I, CB, 8>(&mut args, c, y, &line, &inputs, per_tile);
                            } else {
                                strip::<I, CB, 4>(&mut args, c, y, &line, &inputs, per_tile);
                            }
                        };
                    });
                }
            }
        }
    }
}

/// A run of pixels of one row, tile by tile. Rather than end with a piece, the last tile overlaps the one before and writes
/// the same values again, unless it adds to what is there.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn strip<I: Isa, const CB: usize, const P: usize>(
    args: &mut Pointwise<'_>,
    c: usize,
    y: usize,
    line: &Range<usize>,
    inputs: &Range<usize>,
    per_tile: usize,
) {
    let overlap = !args.add && inputs.len() == args.ci && line.len() >= P;
    let mut x = line.start;
    // SAFETY: promised by the caller.
    unsafe {
        while x + P <= line.end {
            tile::<I, CB, P>(args, c, y, x, inputs);
            args.ahead.fetch::<I>(per_tile);
            x += P;
        }
        if x < line.end && overlap {
            tile::<I, CB, P>(args, c, y, line.end - P, inputs);
            return;
        }
        while P > 4 && x + 4 <= line.end {
            tile::<I, CB, 4>(args, c, y, x, inputs);
            x += 4;
        }
        while x < line.end {
            tile::<I, CB, 1>(args, c, y, x, inputs);
            x += 1;
        }
    }
}

/// # Safety
/// Blocks `c..c + CB`, pixels `x..x + P` of row `y` and input channels `inputs`, which begin with a block, exist in source,
/// destination and weights.
#[inline(always)]
unsafe fn tile<I: Isa, const CB: usize, const P: usize>(
    args: &mut Pointwise<'_>,
    c: usize,
    y: usize,
    x: usize,
    inputs: &Range<usize>,
) {
    let Pointwise {
        weights,
        ci,
        src,
        from,
        dst,
        to,
        add,
        ..
    } = args;
    let s = (from.origin + y * from.row + x) * LANES;
    let d = (to.origin + c * to.block + y * to.row + x) * LANES;
    let w = c * *ci * LANES;
    let w_block = *ci * LANES;
    let mut acc = [[I::zero(); P]; CB];
    let whole = inputs.end / LANES;
    // SAFETY: promised by the caller.
    unsafe {
        for b in inputs.start / LANES..whole {
            let sb = s + b * from.block * LANES;
            for i in 0..LANES {
                step::<I, CB, P>(
                    weights,
                    w + (b * LANES + i) * LANES,
                    w_block,
                    src,
                    sb + i,
                    &mut acc,
                );
            }
        }
        for i in whole * LANES..inputs.end {
            let sb = s + whole * from.block * LANES + i % LANES;
            step::<I, CB, P>(weights, w + i * LANES, w_block, src, sb, &mut acc);
        }
        let add = *add || inputs.start > 0;
        for (r, acc) in acc.iter().enumerate() {
            for (p, acc) in acc.iter().enumerate() {
                let d = d + (r * to.block + p) * LANES;
                I::store(
                    dst,
                    d,
                    if add {
                        I::add(I::load(dst, d), *acc)
                    } else {
                        *acc
                    },
                );
            }
        }
    }
}

/// One input channel of `P` pixels times its weights of `CB` blocks.
///
/// # Safety
/// `CB` weight vectors `w_block` apart and `P` pixels from `s` on exist.
#[inline(always)]
pub(crate) unsafe fn step<I: Isa, const CB: usize, const P: usize>(
    weights: &[f32],
    w: usize,
    w_block: usize,
    src: &[f32],
    s: usize,
    acc: &mut [[I::V; P]; CB],
) {
    // SAFETY: promised by the caller.
    unsafe {
        let wv: [I::V; CB] = std::array::from_fn(|r| I::load(weights, w + r * w_block));
        for p in 0..P {
            let v = I::splat(scalar(src, s + p * LANES));
            for r in 0..CB {
                acc[r][p] = I::fma(v, wv[r], acc[r][p]);
            }
        }
    }
}

/// `dw[o][i] += Σ_p g[o][p] · x[i][p]`.
pub(crate) struct PointwiseGrad<'a> {
    pub g: &'a [f32],
    /// Pixels from one block of `g` to the next.
    pub g_block: usize,
    pub co_blocks: usize,
    pub x: &'a [f32],
    pub x_block: usize,
    pub ci: usize,
    pub pixels: usize,
    pub dw: &'a mut [f32],
}

impl Kernel for PointwiseGrad<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut args = self;
        let (ci, np) = (args.ci, args.pixels);
        assert!(ci > 0 && args.co_blocks > 0);
        assert!(args.g.len() >= ((args.co_blocks - 1) * args.g_block + np) * LANES);
        assert!(args.x.len() >= (ci.div_ceil(LANES).saturating_sub(1) * args.x_block + np) * LANES);
        assert!(args.dw.len() >= args.co_blocks * ci * LANES);
        for p in (0..np).step_by(GRAD_PANEL) {
            let pixels = p..(p + GRAD_PANEL).min(np);
            for_groups!(I, args.co_blocks, |c, CB| {
                // SAFETY: the asserts cover all blocks, input channels and pixels; four or eight channels from a
                // multiple of as many on stay within one block.
                unsafe { grad_strip::<I, CB>(&mut args, c, &pixels) }
            });
        }
    }
}

/// Pixels whose sums are taken at a time: so many of a group of output blocks stay in the first cache.
const GRAD_PANEL: usize = 128;

/// All input channels against a group of output blocks.
///
/// # Safety
/// As for [`grad_tile`], for all input channels.
#[inline(always)]
unsafe fn grad_strip<I: Isa, const CB: usize>(
    args: &mut PointwiseGrad<'_>,
    c: usize,
    pixels: &Range<usize>,
) {
    let mut i = 0;
    // SAFETY: promised by the caller.
    unsafe {
        while i < args.ci {
            match args.ci - i {
                8.. if CB != 2 && CB < 5 => {
                    grad_tile::<I, CB, 8>(args, c, i, pixels);
                    i += 8;
                }
                4.. => {
                    grad_tile::<I, CB, 4>(args, c, i, pixels);
                    i += 4;
                }
                _ => {
                    grad_tile::<I, CB, 1>(args, c, i, pixels);
                    i += 1;
                }
            }
        }
    }
}

/// # Safety
/// Output blocks `c..c + CB`, input channels `i..i + R` (within one block) and the pixels exist.
#[inline(always)]
unsafe fn grad_tile<I: Isa, const CB: usize, const R: usize>(
    args: &mut PointwiseGrad<'_>,
    c: usize,
    i: usize,
    pixels: &Range<usize>,
) {
    let s = i / LANES * args.x_block * LANES + i % LANES;
    let mut acc = [[I::zero(); R]; CB];
    // SAFETY: promised by the caller.
    unsafe {
        for p in pixels.clone() {
            let gv: [I::V; CB] =
                std::array::from_fn(|q| I::load(args.g, ((c + q) * args.g_block + p) * LANES));
            for r in 0..R {
                let v = I::splat(scalar(args.x, s + p * LANES + r));
                for q in 0..CB {
                    acc[q][r] = I::fma(v, gv[q], acc[q][r]);
                }
            }
        }
        for (q, acc) in acc.iter().enumerate() {
            for (r, acc) in acc.iter().enumerate() {
                let o = ((c + q) * args.ci + i + r) * LANES;
                I::store(args.dw, o, I::add(I::load(args.dw, o), *acc));
            }
        }
    }
}
