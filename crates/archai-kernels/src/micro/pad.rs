//! Copies with a border of zeros, and the other passes that only move or mask values.

use crate::simd::{Isa, Kernel, LANES};

/// Width of the border on every side: the widest that a supported kernel needs (5×5 with dilation 2).
pub(crate) const PAD: usize = 4;

/// Pixels behind the last block, so that a tile of eight output pixels, at most four apart, may read past the last row.
const SLACK: usize = 32;

/// A plane with its border.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Padded {
    pub height: usize,
    pub width: usize,
}

impl Padded {
    pub fn new(height: usize, width: usize) -> Self {
        Padded { height, width }
    }

    /// Pixels from one row to the next.
    pub fn row(&self) -> usize {
        self.width + 2 * PAD
    }

    /// Pixels from one block to the next.
    pub fn block(&self) -> usize {
        self.row() * (self.height + 2 * PAD)
    }

    /// The first pixel inside the border.
    pub fn origin(&self) -> usize {
        PAD * self.row() + PAD
    }

    /// Elements of `blocks` planes and the slack behind them.
    pub fn len(&self, blocks: usize) -> usize {
        (blocks * self.block() + SLACK) * LANES
    }

    /// Scratch for `blocks` planes: border and slack are zero and stay so, the inside is to be written.
    pub fn scratch(&self, blocks: usize) -> Vec<f32> {
        vec![0.0; self.len(blocks)]
    }
}

/// Copies planes into the inside of padded scratch: as they are, after ReLU, or after scale, shift and ReLU.
pub(crate) struct PadCopy<'a> {
    pub src: &'a [f32],
    pub blocks: usize,
    pub to: Padded,
    pub dst: &'a mut [f32],
    pub map: PadMap<'a>,
}

pub(crate) enum PadMap<'a> {
    Plain,
    Relu,
    /// `relu(x * scale + shift)`, per channel.
    NormRelu {
        scale: &'a [f32],
        shift: &'a [f32],
    },
}

impl Kernel for PadCopy<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PadCopy {
            src,
            blocks,
            to,
            dst,
            map,
        } = self;
        let (h, w) = (to.height, to.width);
        assert!(src.len() >= blocks * h * w * LANES && dst.len() >= to.len(blocks));
        if let PadMap::NormRelu { scale, shift } = &map {
            assert!(scale.len() >= blocks * LANES && shift.len() >= blocks * LANES);
        }
        for b in 0..blocks {
            for y in 0..h {
                let s = (b * h + y) * w * LANES;
                let d = (b * to.block() + to.origin() + y * to.row()) * LANES;
                // SAFETY: rows of `w` pixels within `blocks` planes, checked above.
                unsafe {
                    match map {
                        PadMap::Plain => {
                            dst[d..d + w * LANES].copy_from_slice(&src[s..s + w * LANES])
                        }
                        PadMap::Relu => {
                            for i in (0..w * LANES).step_by(LANES) {
                                I::store(dst, d + i, I::relu(I::load(src, s + i)));
                            }
                        }
                        PadMap::NormRelu { scale, shift } => {
                            let (k, c) = (I::load(scale, b * LANES), I::load(shift, b * LANES));
                            for i in (0..w * LANES).step_by(LANES) {
                                I::store(dst, d + i, I::relu(I::fma(I::load(src, s + i), k, c)));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `dst = relu(src)`.
pub(crate) struct ReluCopy<'a> {
    pub src: &'a [f32],
    pub dst: &'a mut [f32],
}

impl Kernel for ReluCopy<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let ReluCopy { src, dst } = self;
        assert!(src.len() == dst.len() && src.len().is_multiple_of(LANES));
        for i in (0..src.len()).step_by(LANES) {
            // SAFETY: whole vectors of equally long slices.
            unsafe { I::store(dst, i, I::relu(I::load(src, i))) };
        }
    }
}

/// `dx (+)= g` where `x > 0`: the gradient of a ReLU. Without `add` it bypasses the caches: `dx` is a whole tensor's,
/// which is read again only when the batch is done.
pub(crate) struct ReluMask<'a> {
    pub x: &'a [f32],
    pub g: &'a [f32],
    pub dx: &'a mut [f32],
    pub add: bool,
}

impl Kernel for ReluMask<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let ReluMask { x, g, dx, add } = self;
        assert!(x.len() == dx.len() && g.len() >= x.len() && x.len().is_multiple_of(LANES));
        for i in (0..x.len()).step_by(LANES) {
            // SAFETY: whole vectors of slices that are long enough; the fence follows.
            unsafe {
                let v = I::where_positive(I::load(x, i), I::load(g, i));
                match add {
                    true => I::store(dx, i, I::add(I::load(dx, i), v)),
                    false => I::stream(dx, i, v),
                }
            }
        }
        I::fence();
    }
}

/// `dst += src`.
pub(crate) struct Accumulate<'a> {
    pub src: &'a [f32],
    pub dst: &'a mut [f32],
}

impl Kernel for Accumulate<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Accumulate { src, dst } = self;
        assert!(src.len() == dst.len() && src.len().is_multiple_of(LANES));
        for i in (0..src.len()).step_by(LANES) {
            // SAFETY: whole vectors of equally long slices.
            unsafe { I::store(dst, i, I::add(I::load(dst, i), I::load(src, i))) };
        }
    }
}

/// Every second pixel of planes, from (`shift`, `shift`) on: half of a side, rounded up. Where a shifted side is odd, the last
/// one lies outside.
#[derive(Clone, Copy)]
pub(crate) struct EverySecond {
    pub blocks: usize,
    pub height: usize,
    pub width: usize,
    pub shift: usize,
}

impl EverySecond {
    fn check(&self, whole: usize, half: usize) {
        assert!(self.shift < 2);
        let (h, w) = (self.height.div_ceil(2), self.width.div_ceil(2));
        assert!(whole >= self.blocks * self.height * self.width * LANES);
        assert!(half >= self.blocks * h * w * LANES);
    }

    /// Calls `f` with the position of each pixel, none where it lies outside, and its position among every second one.
    #[inline(always)]
    fn pairs(&self, mut f: impl FnMut(Option<usize>, usize)) {
        let (h, w) = (self.height.div_ceil(2), self.width.div_ceil(2));
        // As many have a pixel.
        let (rows, columns) = (
            (self.height + 1 - self.shift) / 2,
            (self.width + 1 - self.shift) / 2,
        );
        for b in 0..self.blocks {
            for y in 0..h {
                let there = if y < rows { columns } else { 0 };
                for x in 0..there {
                    let whole =
                        ((b * self.height + 2 * y + self.shift) * self.width + 2 * x + self.shift)
                            * LANES;
                    f(Some(whole), ((b * h + y) * w + x) * LANES);
                }
                for x in there..w {
                    f(None, ((b * h + y) * w + x) * LANES);
                }
            }
        }
    }
}

/// `dst = src` (after ReLU, if asked) at every second pixel.
pub(crate) struct Gather<'a> {
    pub at: EverySecond,
    pub src: &'a [f32],
    pub relu: bool,
    pub dst: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Gather { at, src, relu, dst } = self;
        at.check(src.len(), dst.len());
        // SAFETY: `check` covers all positions.
        at.pairs(|whole, half| unsafe {
            let v = whole.map_or(I::splat(0.0), |whole| I::load(src, whole));
            I::store(dst, half, if relu { I::relu(v) } else { v });
        });
    }
}

/// `dst += g` at every second pixel: the gradient of [`Gather`] without its ReLU.
pub(crate) struct Scatter<'a> {
    pub at: EverySecond,
    pub g: &'a [f32],
    pub dst: &'a mut [f32],
}

impl Kernel for Scatter<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Scatter { at, g, dst } = self;
        at.check(dst.len(), g.len());
        at.pairs(|whole, half| {
            if let Some(whole) = whole {
                // SAFETY: `check` covers all positions.
                unsafe { I::store(dst, whole, I::add(I::load(dst, whole), I::load(g, half))) }
            }
        });
    }
}
