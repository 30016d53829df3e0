//! 1×1 convolutions: a matrix product per sample, with a tile of output blocks by pixels in registers.

use crate::simd::{Isa, Kernel, LANES, scalar};

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
        // SAFETY: the asserts cover every pixel of every block.
        unsafe {
            for y in 0..rows {
                let mut x = 0;
                while x < cols {
                    let left = cols - x;
                    let step = if left >= 8 && args.co_blocks == 1 {
                        8
                    } else {
                        left.min(4)
                    };
                    if step < 4 && cols >= 4 && !args.add {
                        // The last tile overlaps the one before and writes the same values again.
                        x = cols - 4;
                        continue;
                    }
                    let mut c = 0;
                    while c < args.co_blocks {
                        let blocks = blocks_at_once(args.co_blocks - c);
                        match (blocks, step) {
                            (3, 4) => tile::<I, 3, 4>(&mut args, c, y, x),
                            (2, 4) => tile::<I, 2, 4>(&mut args, c, y, x),
                            (1, 8) => tile::<I, 1, 8>(&mut args, c, y, x),
                            (1, 4) => tile::<I, 1, 4>(&mut args, c, y, x),
                            (blocks, step) => {
                                for c in c..c + blocks {
                                    for x in x..x + step {
                                        tile::<I, 1, 1>(&mut args, c, y, x);
                                    }
                                }
                            }
                        }
                        c += blocks;
                    }
                    x += step;
                }
            }
        }
    }
}

/// How many output blocks share one pass over the inputs: three fill the registers, and two rather than three and one.
#[inline(always)]
pub(crate) fn blocks_at_once(left: usize) -> usize {
    match left {
        1 => 1,
        2 | 4 => 2,
        _ => 3,
    }
}

/// # Safety
/// Blocks `c..c + CB` and pixels `x..x + P` of row `y` exist in source, destination and weights.
#[inline(always)]
unsafe fn tile<I: Isa, const CB: usize, const P: usize>(
    args: &mut Pointwise<'_>,
    c: usize,
    y: usize,
    x: usize,
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
    // SAFETY: promised by the caller.
    unsafe {
        for b in 0..*ci / LANES {
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
        for i in *ci / LANES * LANES..*ci {
            let sb = s + i / LANES * from.block * LANES + i % LANES;
            step::<I, CB, P>(weights, w + i * LANES, w_block, src, sb, &mut acc);
        }
        for (r, acc) in acc.iter().enumerate() {
            for (p, acc) in acc.iter().enumerate() {
                let d = d + (r * to.block + p) * LANES;
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

/// `dw[o][i] += Σ_p g[o][p] · x[i][p]`; both planes contiguous.
pub(crate) struct PointwiseGrad<'a> {
    pub g: &'a [f32],
    pub co_blocks: usize,
    pub x: &'a [f32],
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
        assert!(
            args.g.len() >= args.co_blocks * np * LANES
                && args.x.len() >= ci.div_ceil(LANES) * np * LANES
        );
        assert!(args.dw.len() >= args.co_blocks * ci * LANES);
        let mut c = 0;
        // SAFETY: the asserts cover all blocks, input channels and pixels.
        unsafe {
            while c < args.co_blocks {
                let blocks = blocks_at_once(args.co_blocks - c);
                let mut i = 0;
                while i < ci {
                    let left = ci - i;
                    let lanes = if blocks == 1 && left >= 8 {
                        8
                    } else {
                        left.min(4)
                    };
                    match (blocks, lanes) {
                        (3, 4) => grad_tile::<I, 3, 4>(&mut args, c, i),
                        (2, 4) => grad_tile::<I, 2, 4>(&mut args, c, i),
                        (1, 8) => grad_tile::<I, 1, 8>(&mut args, c, i),
                        (1, 4) => grad_tile::<I, 1, 4>(&mut args, c, i),
                        (3, _) => {
                            (i..i + lanes).for_each(|i| grad_tile::<I, 3, 1>(&mut args, c, i))
                        }
                        (2, _) => {
                            (i..i + lanes).for_each(|i| grad_tile::<I, 2, 1>(&mut args, c, i))
                        }
                        _ => (i..i + lanes).for_each(|i| grad_tile::<I, 1, 1>(&mut args, c, i)),
                    }
                    i += lanes;
                }
                c += blocks;
            }
        }
    }
}

/// # Safety
/// Output blocks `c..c + CB` and input channels `i..i + R` (within one block) exist.
#[inline(always)]
unsafe fn grad_tile<I: Isa, const CB: usize, const R: usize>(
    args: &mut PointwiseGrad<'_>,
    c: usize,
    i: usize,
) {
    let np = args.pixels;
    let s = i / LANES * np * LANES + i % LANES;
    let mut acc = [[I::zero(); R]; CB];
    // SAFETY: promised by the caller.
    unsafe {
        for p in 0..np {
            let gv: [I::V; CB] =
                std::array::from_fn(|q| I::load(args.g, ((c + q) * np + p) * LANES));
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
