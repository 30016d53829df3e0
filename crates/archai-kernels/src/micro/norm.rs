//! Reductions per channel and linear combinations with coefficients per channel: all that batch norm, its gradient, and
//! weighted sums consist of.

use super::place::{ChannelSlice, Lanes, Place};
use crate::simd::{Isa, Kernel, LANES};
use std::ops::Range;

/// Pixels whose sum is kept in single precision before it joins the total in double precision.
const RUN: usize = 128;

/// `sums[0..C] += Σ z`, `sums[C..2C] += Σ z²` over a sample, C counting padding.
pub(crate) struct ChannelSums<'a> {
    pub z: &'a [f32],
    pub blocks: usize,
    pub pixels: usize,
    pub sums: &'a mut [f64],
}

impl Kernel for ChannelSums<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let ChannelSums {
            z,
            blocks,
            pixels,
            sums,
        } = self;
        let c = blocks * LANES;
        assert!(z.len() >= c * pixels && sums.len() >= 2 * c);
        for b in 0..blocks {
            let (mut sum, mut squares) = ([0.0; LANES], [0.0; LANES]);
            for start in (0..pixels).step_by(RUN) {
                let end = (start + RUN).min(pixels);
                let (mut s, mut t) = ([I::zero(); 4], [I::zero(); 4]);
                let at = |p: usize| (b * pixels + p) * LANES;
                let mut p = start;
                // SAFETY: pixels of existing blocks.
                unsafe {
                    while p + 4 <= end {
                        for k in 0..4 {
                            let v = I::load(z, at(p + k));
                            s[k] = I::add(s[k], v);
                            t[k] = I::fma(v, v, t[k]);
                        }
                        p += 4;
                    }
                    while p < end {
                        let v = I::load(z, at(p));
                        s[0] = I::add(s[0], v);
                        t[0] = I::fma(v, v, t[0]);
                        p += 1;
                    }
                }
                I::add_to(&mut sum, I::add(I::add(s[0], s[1]), I::add(s[2], s[3])));
                I::add_to(&mut squares, I::add(I::add(t[0], t[1]), I::add(t[2], t[3])));
            }
            for j in 0..LANES {
                sums[b * LANES + j] += sum[j];
                sums[c + b * LANES + j] += squares[j];
            }
        }
    }
}

/// `sums[0..C] += Σ g` and, for each `t`, `sums[(t+1)C..] += Σ g · zs[t]`: what the gradients of norms and of mixing
/// weights need. Reads `g` from memory once.
pub(crate) struct Dots<'a> {
    pub g: ChannelSlice<'a>,
    pub zs: &'a [&'a [f32]],
    pub blocks: usize,
    pub pixels: usize,
    pub sums: &'a mut [f64],
}

impl Kernel for Dots<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let c = self.blocks * LANES;
        let len = c * self.pixels;
        assert!(self.g.values.len() >= len && self.zs.iter().all(|z| z.len() >= len));
        assert!(self.sums.len() >= (self.zs.len() + 1) * c);
        let mut args = self;
        for b in 0..args.blocks {
            let lanes = args.g.at.block(b, args.blocks, args.pixels);
            let g = args.g.values;
            // SAFETY: pixels of existing blocks; the last one never continues in another.
            unsafe {
                match lanes {
                    Lanes::Whole => args.block::<I>(b, |at| I::load(g, at)),
                    _ => args.block::<I>(b, |at| lanes.load::<I>(g, at)),
                }
            }
        }
    }
}

impl Dots<'_> {
    /// One block, where `g` reads a vector of the gradient.
    ///
    /// # Safety
    /// `g` may be called for all pixels of the block.
    #[inline(always)]
    unsafe fn block<I: Isa>(&mut self, b: usize, g: impl Fn(usize) -> I::V) {
        let Dots {
            zs,
            blocks,
            pixels,
            sums,
            ..
        } = self;
        for start in (0..*pixels).step_by(RUN) {
            let end = (start + RUN).min(*pixels);
            let at = |p: usize| (b * *pixels + p) * LANES;
            let mut keep = |t: usize, v: I::V| {
                let o = (t * *blocks + b) * LANES;
                let slot: &mut [f64; LANES] =
                    (&mut sums[o..o + LANES]).try_into().expect("eight sums");
                I::add_to(slot, v);
            };
            let sum = sum_run::<I>(start..end, |p, sum| I::add(sum, g(at(p))));
            keep(0, sum);
            for (t, z) in zs.iter().enumerate() {
                let dot = |p: usize, sum: I::V| {
                    // SAFETY: a pixel of an existing block.
                    let z = unsafe { I::load(z, at(p)) };
                    I::fma(g(at(p)), z, sum)
                };
                let sum = sum_run::<I>(start..end, dot);
                keep(t + 1, sum);
            }
        }
    }
}

/// A sum over pixels in four parts, whose additions need not wait for each other; `add` adds a pixel's value to one.
#[inline(always)]
fn sum_run<I: Isa>(pixels: Range<usize>, add: impl Fn(usize, I::V) -> I::V) -> I::V {
    let mut s = [I::zero(); 4];
    let mut p = pixels.start;
    while p + 4 <= pixels.end {
        for (k, s) in s.iter_mut().enumerate() {
            *s = add(p + k, *s);
        }
        p += 4;
    }
    while p < pixels.end {
        s[0] = add(p, s[0]);
        p += 1;
    }
    I::add(I::add(s[0], s[1]), I::add(s[2], s[3]))
}

/// One summand of a [`Combine`]: values and their coefficient per channel.
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    pub src: ChannelSlice<'a>,
    pub scale: &'a [f32],
}

impl<'a> Term<'a> {
    pub fn new(src: impl Into<ChannelSlice<'a>>, scale: &'a [f32]) -> Self {
        let src = src.into();
        Term { src, scale }
    }
}

/// `dst = base + Σ_t scale_t · src_t`, base and scales per channel; `add` keeps what is in `dst` as a further summand,
/// which must have blocks of its own then.
pub(crate) struct Combine<'a> {
    pub terms: &'a [Term<'a>],
    pub base: &'a [f32],
    pub blocks: usize,
    pub pixels: usize,
    pub dst: &'a mut [f32],
    pub to: Place,
    pub add: bool,
}

impl Kernel for Combine<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        const TILE: usize = 8;
        let (blocks, pixels) = (self.blocks, self.pixels);
        let len = blocks * pixels * LANES;
        assert!(self.base.len() >= blocks * LANES && self.dst.len() >= len);
        assert!(
            self.terms
                .iter()
                .all(|t| t.src.values.len() >= len && t.scale.len() >= blocks * LANES)
        );
        assert!(!self.add || self.to == Place::Blocks);
        let mut args = self;
        for b in 0..blocks {
            let mut p = 0;
            // SAFETY: pixels of existing blocks; the last one never continues in another.
            unsafe {
                while p + TILE <= pixels {
                    args.tile::<I, TILE>(b, p);
                    p += TILE;
                }
                while p < pixels {
                    args.tile::<I, 1>(b, p);
                    p += 1;
                }
            }
        }
    }
}

impl Combine<'_> {
    /// # Safety
    /// Block `b` and the pixels `p..p + P` exist in all slices.
    #[inline(always)]
    unsafe fn tile<I: Isa, const P: usize>(&mut self, b: usize, p: usize) {
        let (blocks, pixels) = (self.blocks, self.pixels);
        let o = (b * pixels + p) * LANES;
        // SAFETY: promised by the caller.
        unsafe {
            let mut acc = [I::load(self.base, b * LANES); P];
            if self.add {
                for (i, acc) in acc.iter_mut().enumerate() {
                    *acc = I::add(*acc, I::load(self.dst, o + i * LANES));
                }
            }
            for t in self.terms {
                let k = I::load(t.scale, b * LANES);
                let src = t.src.values;
                match t.src.at.block(b, blocks, pixels) {
                    Lanes::Whole => {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            *acc = I::fma(I::load(src, o + i * LANES), k, *acc);
                        }
                    }
                    lanes => {
                        for (i, acc) in acc.iter_mut().enumerate() {
                            *acc = I::fma(lanes.load::<I>(src, o + i * LANES), k, *acc);
                        }
                    }
                }
            }
            match self.to.block(b, blocks, pixels) {
                Lanes::Whole => {
                    for (i, acc) in acc.iter().enumerate() {
                        I::store(self.dst, o + i * LANES, *acc);
                    }
                }
                lanes => {
                    for (i, acc) in acc.iter().enumerate() {
                        lanes.store::<I>(self.dst, o + i * LANES, *acc);
                    }
                }
            }
        }
    }
}

/// `data = data · scale + shift`, in place.
pub(crate) struct ScaleShift<'a> {
    pub data: &'a mut [f32],
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub blocks: usize,
    pub pixels: usize,
}

impl Kernel for ScaleShift<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let ScaleShift {
            data,
            scale,
            shift,
            blocks,
            pixels,
        } = self;
        assert!(
            data.len() >= blocks * pixels * LANES
                && scale.len() >= blocks * LANES
                && shift.len() >= blocks * LANES
        );
        for b in 0..blocks {
            // SAFETY: pixels of existing blocks.
            unsafe {
                let (k, c) = (I::load(scale, b * LANES), I::load(shift, b * LANES));
                for p in b * pixels..(b + 1) * pixels {
                    I::store(data, p * LANES, I::fma(I::load(data, p * LANES), k, c));
                }
            }
        }
    }
}

/// The gradient through `relu(z · scale + shift)`: `dst = g` where that is positive, and the sums `Σ dst`, `Σ dst · z`
/// that the gradient of the norm before the ReLU needs.
pub(crate) struct MaskedSums<'a> {
    pub z: &'a [f32],
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub g: &'a [f32],
    pub blocks: usize,
    pub pixels: usize,
    pub dst: &'a mut [f32],
    pub sums: &'a mut [f64],
}

impl Kernel for MaskedSums<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let MaskedSums {
            z,
            scale,
            shift,
            g,
            blocks,
            pixels,
            dst,
            sums,
        } = self;
        let c = blocks * LANES;
        let len = c * pixels;
        assert!(z.len() >= len && g.len() >= len && dst.len() >= len && sums.len() >= 2 * c);
        assert!(scale.len() >= c && shift.len() >= c);
        for b in 0..blocks {
            let (mut sum, mut dot) = ([0.0; LANES], [0.0; LANES]);
            // SAFETY: pixels of existing blocks.
            unsafe {
                let (k, h) = (I::load(scale, b * LANES), I::load(shift, b * LANES));
                for start in (0..pixels).step_by(RUN) {
                    let end = (start + RUN).min(pixels);
                    let (mut s, mut t) = ([I::zero(); 2], [I::zero(); 2]);
                    let mut one = |p: usize, u: usize| {
                        let o = (b * pixels + p) * LANES;
                        let zv = I::load(z, o);
                        let d = I::where_positive(I::fma(zv, k, h), I::load(g, o));
                        I::store(dst, o, d);
                        s[u] = I::add(s[u], d);
                        t[u] = I::fma(d, zv, t[u]);
                    };
                    let mut p = start;
                    while p + 2 <= end {
                        one(p, 0);
                        one(p + 1, 1);
                        p += 2;
                    }
                    if p < end {
                        one(p, 0);
                    }
                    I::add_to(&mut sum, I::add(s[0], s[1]));
                    I::add_to(&mut dot, I::add(t[0], t[1]));
                }
            }
            for j in 0..LANES {
                sums[b * LANES + j] += sum[j];
                sums[c + b * LANES + j] += dot[j];
            }
        }
    }
}
