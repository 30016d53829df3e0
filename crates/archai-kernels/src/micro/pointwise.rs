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
        let pairs = args.co_blocks / 2 * 2;
        // SAFETY: the asserts cover every pixel of every block.
        unsafe {
            for y in 0..rows {
                // Blocks two by two on four pixels; an odd one last, on eight.
                let mut x = 0;
                while x < cols && pairs > 0 {
                    let step = step_of(4, &mut x, cols, args.add);
                    for c in (0..pairs).step_by(2) {
                        if step == 4 {
                            tile::<I, 2, 4>(&mut args, c, y, x);
                        } else {
                            (x..x + step).for_each(|x| tile::<I, 2, 1>(&mut args, c, y, x));
                        }
                    }
                    x += step;
                }
                let mut x = 0;
                while x < cols && pairs < args.co_blocks {
                    let step = step_of(8, &mut x, cols, args.add);
                    if step == 8 {
                        tile::<I, 1, 8>(&mut args, pairs, y, x);
                    } else {
                        (x..x + step).for_each(|x| tile::<I, 1, 1>(&mut args, pairs, y, x));
                    }
                    x += step;
                }
            }
        }
    }
}

/// Pixels of the next step: `tile`, or what is left. Rather than end with a piece, the last tile overlaps the one before
/// and writes the same values again, unless it adds to what is there.
#[inline(always)]
fn step_of(tile: usize, x: &mut usize, cols: usize, add: bool) -> usize {
    if cols - *x < tile && cols >= tile && !add {
        *x = cols - tile;
    }
    (cols - *x).min(tile)
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
        let pairs = args.co_blocks / 2 * 2;
        // SAFETY: the asserts cover all blocks, input channels and pixels; `lanes` channels stay within one block.
        unsafe {
            for c in (0..pairs).step_by(2) {
                for i in (0..ci).step_by(4) {
                    match ci - i {
                        4.. => grad_tile::<I, 2, 4>(&mut args, c, i),
                        lanes => (i..i + lanes).for_each(|i| grad_tile::<I, 2, 1>(&mut args, c, i)),
                    }
                }
            }
            for c in pairs..args.co_blocks {
                for i in (0..ci).step_by(LANES) {
                    match ci - i {
                        8.. => grad_tile::<I, 1, 8>(&mut args, c, i),
                        lanes @ 4.. => {
                            grad_tile::<I, 1, 4>(&mut args, c, i);
                            (i + 4..i + lanes).for_each(|i| grad_tile::<I, 1, 1>(&mut args, c, i));
                        }
                        lanes => (i..i + lanes).for_each(|i| grad_tile::<I, 1, 1>(&mut args, c, i)),
                    }
                }
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
