//! 1×1 convolutions: a matrix product per sample, with a tile of output blocks by pixels in registers.

use super::tile::{Places, Tile, for_groups};
use crate::simd::{Isa, Kernel, LANES};
use std::ops::Range;

/// Where the pixels of a plane are, counted in pixels; the plane may be contiguous or lie inside a padded one.
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

/// Memory that is read next, prefetched while the processor multiplies and the memory is idle: a pass over memory would
/// wait for it otherwise, and the products take longer than the fetch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead<'a> {
    parts: [&'a [f32]; 3],
    /// Elements of the first part that have been prefetched.
    done: usize,
}

impl<'a> Ahead<'a> {
    pub fn new(parts: [&'a [f32]; 3]) -> Self {
        Ahead { parts, done: 0 }
    }

    /// Part `i` of `n` equal ones.
    pub fn part(&self, i: usize, n: usize) -> Self {
        Self::new(
            self.parts
                .map(|s| &s[i * s.len() / n..(i + 1) * s.len() / n]),
        )
    }

    fn lines(&self) -> usize {
        self.parts.iter().map(|s| s.len().div_ceil(LINE)).sum()
    }

    /// Prefetches the next lines of the first part. A few instructions each, since they are issued between
    /// multiply-adds.
    #[inline(always)]
    fn fetch<I: Isa>(&mut self, lines: usize) {
        let end = (self.done + lines * LINE).min(self.parts[0].len());
        while self.done < end {
            // SAFETY: just compared.
            unsafe { I::prefetch(self.parts[0], self.done) };
            self.done += LINE;
        }
    }

    /// Continues with the next part if the first is done.
    #[inline(always)]
    fn advance(&mut self) {
        if self.done >= self.parts[0].len() {
            *self = Self::new([self.parts[1], self.parts[2], &[]]);
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

impl<'a> Pointwise<'a> {
    /// A 1×1 convolution of stride 1 of `pixels` pixels between planes without a border, which writes `dst` and fetches
    /// nothing ahead.
    pub fn flat(
        weights: &'a [f32],
        [ci, co_blocks]: [usize; 2],
        src: &'a [f32],
        dst: &'a mut [f32],
        pixels: usize,
    ) -> Self {
        let plane = Plane::flat(pixels);
        Pointwise {
            weights,
            ci,
            co_blocks,
            src,
            from: plane,
            dst,
            to: plane,
            rows: 1,
            cols: pixels,
            add: false,
            ahead: Ahead::default(),
        }
    }
}

/// Pixels that one group of output blocks works on before the next group does: a group's weights stay in the first
/// cache for all pixels of a panel, and the pixels in the second for all groups.
const PANEL: usize = 64;

/// Most input channels that are summed up at a time, so that the weights of the largest group fill about half of the
/// first cache.
const DEPTH: usize = 96;

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
        // The number of lines to prefetch with every block of inputs: few at a time, or the loads that are needed would
        // wait.
        let mut tiles = 0;
        for_groups!(I, args.co_blocks, |c, CP, CS, P| tiles += cols.div_ceil(P));
        let fetch = (args.ahead.lines()).div_ceil(rows * tiles * ci.div_ceil(LANES));
        for y in (0..rows).step_by(down) {
            let lines = y..(y + down).min(rows);
            for x in (0..cols).step_by(across) {
                let line = x..(x + across).min(cols);
                for i in (0..ci).step_by(depth) {
                    let inputs = i..(i + depth).min(ci);
                    for_groups!(I, args.co_blocks, |c, CP, CS, P| {
                        for y in lines.clone() {
                            // SAFETY: the asserts cover every pixel of every block.
                            unsafe {
                                strip::<I, CP, CS, P>(&mut args, c, y, &line, &inputs, fetch)
                            };
                        }
                    });
                }
            }
        }
    }
}

/// A run of pixels of one row, tile by tile. Rather than end with a piece, the last tile overlaps the one before and
/// writes the same values again, unless it adds to what is there.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn strip<I: Isa, const CP: usize, const CS: usize, const P: usize>(
    args: &mut Pointwise<'_>,
    c: usize,
    y: usize,
    line: &Range<usize>,
    inputs: &Range<usize>,
    fetch: usize,
) {
    let overlap = !args.add && inputs.len() == args.ci && line.len() >= P;
    let mut x = line.start;
    // SAFETY: promised by the caller.
    unsafe {
        while x + P <= line.end {
            tile::<I, CP, CS, P>(args, c, y, x, inputs, fetch);
            x += P;
        }
        if x < line.end && overlap {
            match line.end - x {
                ..=4 => tile::<I, CP, CS, 4>(args, c, y, line.end - 4, inputs, 0),
                _ => tile::<I, CP, CS, P>(args, c, y, line.end - P, inputs, 0),
            }
            return;
        }
        while P > 4 && x + 4 <= line.end {
            tile::<I, CP, CS, 4>(args, c, y, x, inputs, 0);
            x += 4;
        }
        while x < line.end {
            tile::<I, CP, CS, 1>(args, c, y, x, inputs, 0);
            x += 1;
        }
    }
}

/// # Safety
/// The group's blocks from `c` on, pixels `x..x + P` of row `y` and input channels `inputs`, which begin with a block,
/// exist in source, destination and weights.
#[inline(always)]
unsafe fn tile<I: Isa, const CP: usize, const CS: usize, const P: usize>(
    args: &mut Pointwise<'_>,
    c: usize,
    y: usize,
    x: usize,
    inputs: &Range<usize>,
    fetch: usize,
) {
    let Pointwise {
        weights,
        ci,
        src,
        from,
        dst,
        to,
        add,
        ahead,
        ..
    } = args;
    let s = (from.origin + y * from.row + x) * LANES;
    let at = Places {
        start: (to.origin + c * to.block + y * to.row + x) * LANES,
        block: to.block * LANES,
        pixel: LANES,
    };
    let w_block = *ci * LANES;
    let w = c * w_block;
    let whole = inputs.end / LANES;
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = match *add || inputs.start > 0 {
            true => Tile::<I, CP, CS, P>::load(dst, at),
            false => Tile::zero(),
        };
        for b in inputs.start / LANES..whole {
            let (w, s) = (w + b * LANES * LANES, s + b * from.block * LANES);
            for i in 0..LANES {
                sums.step::<LANES>(weights, w + i * LANES, w_block, src, s + i);
            }
            ahead.fetch::<I>(fetch);
        }
        for i in whole * LANES..inputs.end {
            let s = s + whole * from.block * LANES + i % LANES;
            sums.step::<LANES>(weights, w + i * LANES, w_block, src, s);
        }
        sums.store(dst, at, P);
    }
    if fetch > 0 {
        ahead.advance();
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
            for_groups!(I, args.co_blocks, |c, CP, CS, P| {
                // SAFETY: the asserts cover all blocks, input channels and pixels; four or eight channels from a
                // multiple of as many on stay within one block.
                unsafe { grad_strip::<I, CP, CS, P>(&mut args, c, &pixels) }
            });
        }
    }
}

/// Pixels that are summed up at a time: that many of a group of output blocks stay in the first cache.
const GRAD_PANEL: usize = 128;

/// All input channels against a group of output blocks.
///
/// # Safety
/// As for [`grad_tile`], for all input channels.
#[inline(always)]
unsafe fn grad_strip<I: Isa, const CP: usize, const CS: usize, const R: usize>(
    args: &mut PointwiseGrad<'_>,
    c: usize,
    pixels: &Range<usize>,
) {
    let mut i = 0;
    // SAFETY: promised by the caller.
    unsafe {
        while i + R <= args.ci {
            grad_tile::<I, CP, CS, R>(args, c, i, pixels);
            i += R;
        }
        while R > 4 && i + 4 <= args.ci {
            grad_tile::<I, CP, CS, 4>(args, c, i, pixels);
            i += 4;
        }
        while i < args.ci {
            grad_tile::<I, CP, CS, 1>(args, c, i, pixels);
            i += 1;
        }
    }
}

/// # Safety
/// The group's output blocks from `c` on, input channels `i..i + R` (within one block) and the pixels exist.
#[inline(always)]
unsafe fn grad_tile<I: Isa, const CP: usize, const CS: usize, const R: usize>(
    args: &mut PointwiseGrad<'_>,
    c: usize,
    i: usize,
    pixels: &Range<usize>,
) {
    let s = i / LANES * args.x_block * LANES + i % LANES;
    let at = Places {
        start: (c * args.ci + i) * LANES,
        block: args.ci * LANES,
        pixel: LANES,
    };
    let (g, g_block) = (c * args.g_block * LANES, args.g_block * LANES);
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = Tile::<I, CP, CS, R>::zero();
        for p in pixels.clone() {
            sums.step::<1>(args.g, g + p * LANES, g_block, args.x, s + p * LANES);
        }
        sums.add_to(args.dw, at);
    }
}
