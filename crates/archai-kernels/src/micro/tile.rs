//! The register tile of all matrix products: the sums of some blocks for some pixels (or, in weight gradients, for some
//! input channels), kept in registers while the products are added up.
//!
//! Blocks go in pairs, since a pair fills a register of AVX-512; a single one may follow the pairs. The order in which
//! a sum's products are added does not depend on the tile's shape, and so neither does the result.

use crate::buffer::Shared;
use crate::simd::{Isa, LANES, scalar};

/// Runs `$body` for each of at most eight pixels, whose number `$K` is a constant: the address of its scalar then needs
/// no instruction of its own.
macro_rules! for_pixels {
    ($P:ident, |$K:ident| $body:expr) => {
        for_pixels!(@each $P, $K, $body, 0 1 2 3 4 5 6 7)
    };
    (@each $P:ident, $K:ident, $body:expr, $($number:literal)*) => {
        const { assert!($P <= 8) };
        $(if $number < $P {
            const $K: usize = $number;
            $body
        })*
    };
}
/// Sums of `CP` pairs of blocks and `CS` (0 or 1) single ones, for `P` pixels.
pub(crate) struct Tile<I: Isa, const CP: usize, const CS: usize, const P: usize> {
    pairs: [[I::Pair; P]; CP],
    singles: [[I::V; P]; CS],
}

/// Where the vectors of a tile are in a slice: the first one, from block to block, and from pixel to pixel, in
/// elements.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    pub start: usize,
    pub block: usize,
    pub pixel: usize,
}

impl<I: Isa, const CP: usize, const CS: usize, const P: usize> Tile<I, CP, CS, P> {
    #[inline(always)]
    pub fn zero() -> Self {
        Tile {
            pairs: [[I::splat_pair(0.0); P]; CP],
            singles: [[I::zero(); P]; CS],
        }
    }

    /// The sums that `s` holds.
    ///
    /// # Safety
    /// All vectors of the tile lie within `s`.
    #[inline(always)]
    pub unsafe fn load(s: &[f32], at: Places) -> Self {
        let place = |c: usize, p: usize| at.start + c * at.block + p * at.pixel;
        let mut tile = Self::zero();
        // SAFETY: promised by the caller.
        unsafe {
            for p in 0..P {
                for c in 0..CP {
                    tile.pairs[c][p] = I::load_pair(s, place(2 * c, p), place(2 * c + 1, p));
                }
                for c in 0..CS {
                    tile.singles[c][p] = I::load(s, place(2 * CP + c, p));
                }
            }
        }
        tile
    }

    /// Writes the sums of the first `pixels` pixels.
    ///
    /// # Safety
    /// Their vectors lie within `d`.
    #[inline(always)]
    pub unsafe fn store(&self, d: &mut [f32], at: Places, pixels: usize) {
        let place = |c: usize, p: usize| at.start + c * at.block + p * at.pixel;
        // SAFETY: promised by the caller.
        unsafe {
            for c in 0..CP {
                for p in 0..P {
                    if p < pixels {
                        let (first, second) = (place(2 * c, p), place(2 * c + 1, p));
                        I::store_pair(d, first, second, self.pairs[c][p]);
                    }
                }
            }
            for c in 0..CS {
                for p in 0..P {
                    if p < pixels {
                        I::store(d, place(2 * CP + c, p), self.singles[c][p]);
                    }
                }
            }
        }
    }

    /// Adds the sums to those in `d`.
    ///
    /// # Safety
    /// All vectors of the tile lie within `d`.
    #[inline(always)]
    pub unsafe fn add_to(&self, d: &mut [f32], at: Places) {
        // Multiplied by one, the sum is rounded once, as an addition is.
        let one = I::splat_pair(1.0);
        // SAFETY: promised by the caller.
        unsafe {
            let mut total = Self::load(d, at);
            for p in 0..P {
                for c in 0..CP {
                    total.pairs[c][p] = I::fma_pair(one, self.pairs[c][p], total.pairs[c][p]);
                }
                for c in 0..CS {
                    total.singles[c][p] = I::add(self.singles[c][p], total.singles[c][p]);
                }
            }
            total.store(d, at, P);
        }
    }

    /// Sums that begin with one vector per block, from `v[at]` on.
    ///
    /// # Safety
    /// A vector for each block of the tile lies within `v`.
    #[inline(always)]
    pub unsafe fn per_block(v: &[f32], at: usize) -> Self {
        // SAFETY: promised by the caller.
        let (pairs, singles) = unsafe { Self::vectors(v, at, LANES) };
        Tile {
            pairs: pairs.map(|pair| [pair; P]),
            singles: singles.map(|single| [single; P]),
        }
    }

    /// Adds what `s` holds for the first `pixels` pixels.
    ///
    /// # Safety
    /// Their vectors lie within `s`, and nobody writes them meanwhile.
    #[inline(always)]
    pub unsafe fn add_shared(&mut self, s: &Shared<'_>, at: Places, pixels: usize) {
        let place = |c: usize, p: usize| at.start + c * at.block + p * at.pixel;
        // SAFETY: promised by the caller.
        unsafe {
            for p in 0..P {
                if p < pixels {
                    for c in 0..CP {
                        let (a, b) = I::split(self.pairs[c][p]);
                        let first = I::add(s.load::<I>(place(2 * c, p)), a);
                        let second = I::add(s.load::<I>(place(2 * c + 1, p)), b);
                        self.pairs[c][p] = I::join(first, second);
                    }
                    for c in 0..CS {
                        let at = place(2 * CP + c, p);
                        self.singles[c][p] = I::add(s.load::<I>(at), self.singles[c][p]);
                    }
                }
            }
        }
    }

    /// Writes `f` of the sums of the first `pixels` pixels.
    ///
    /// # Safety
    /// Their vectors lie within `d`, and nobody else reads or writes them meanwhile.
    #[inline(always)]
    pub unsafe fn store_shared(
        &self,
        d: &Shared<'_>,
        at: Places,
        pixels: usize,
        f: impl Fn(I::V) -> I::V,
    ) {
        let place = |c: usize, p: usize| at.start + c * at.block + p * at.pixel;
        // SAFETY: promised by the caller.
        unsafe {
            for p in 0..P {
                if p < pixels {
                    for c in 0..CP {
                        let (first, second) = I::split(self.pairs[c][p]);
                        d.store::<I>(place(2 * c, p), f(first));
                        d.store::<I>(place(2 * c + 1, p), f(second));
                    }
                    for c in 0..CS {
                        d.store::<I>(place(2 * CP + c, p), f(self.singles[c][p]));
                    }
                }
            }
        }
    }

    /// Adds the products of one vector per block, `block` elements apart from `v[at]` on, and one scalar per pixel,
    /// `PIXEL` elements apart from `s[from]` on.
    ///
    /// # Safety
    /// All of them lie within their slices.
    #[inline(always)]
    pub unsafe fn step<const PIXEL: usize>(
        &mut self,
        v: &[f32],
        at: usize,
        block: usize,
        s: &[f32],
        from: usize,
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            let vectors = Self::vectors(v, at, block);
            for_pixels!(P, |K| self.pixel::<K, PIXEL>(K, &vectors, s, from));
        }
    }

    /// As eight times [`Tile::step`]: vectors and scalars that follow each other, pixels eight elements apart.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn step_block(
        &mut self,
        v: &[f32],
        at: usize,
        block: usize,
        s: &[f32],
        from: usize,
    ) {
        if !I::WIDE && CP == 1 && CS == 1 && P == 4 {
            let mut sums = [I::zero(); 12];
            for p in 0..P {
                (sums[p], sums[4 + p]) = I::split(self.pairs[0][p]);
                sums[8 + p] = self.singles[0][p];
            }
            // SAFETY: promised by the caller.
            unsafe {
                for_pixels!(LANES, |K| I::three_by_four::<K>(
                    &mut sums,
                    (v, at, block),
                    (s, from)
                ));
            }
            for p in 0..P {
                self.pairs[0][p] = I::join(sums[p], sums[4 + p]);
                self.singles[0][p] = sums[8 + p];
            }
            return;
        }
        for i in 0..LANES {
            // SAFETY: promised by the caller.
            unsafe { self.step::<LANES>(v, at + i * LANES, block, s, from + i) };
        }
    }

    /// As [`Tile::step`], with the scalars any number of elements apart.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub unsafe fn step_apart(
        &mut self,
        v: &[f32],
        at: usize,
        block: usize,
        s: &[f32],
        from: usize,
        pixel: usize,
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            let vectors = Self::vectors(v, at, block);
            for p in 0..P {
                self.pixel::<0, 0>(p, &vectors, s, from + p * pixel);
            }
        }
    }

    /// Adds the products for pixel `p`, whose scalar is `s[from + K * STEP]`.
    ///
    /// # Safety
    /// It lies within `s`.
    #[inline(always)]
    unsafe fn pixel<const K: usize, const STEP: usize>(
        &mut self,
        p: usize,
        (pairs, singles): &([I::Pair; CP], [I::V; CS]),
        s: &[f32],
        from: usize,
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            for c in 0..CP {
                let sum = self.pairs[c][p];
                self.pairs[c][p] = I::fma_pair_scalar::<K, STEP>(s, from, pairs[c], sum);
            }
            for c in 0..CS {
                let x = I::splat(scalar(s, from + K * STEP));
                self.singles[c][p] = I::fma(x, singles[c], self.singles[c][p]);
            }
        }
    }

    /// One vector per block.
    ///
    /// # Safety
    /// All of them lie within `v`.
    #[inline(always)]
    unsafe fn vectors(v: &[f32], at: usize, block: usize) -> ([I::Pair; CP], [I::V; CS]) {
        let place = |c: usize| at + c * block;
        // SAFETY: promised by the caller.
        unsafe {
            (
                std::array::from_fn(|c| I::load_pair(v, place(2 * c), place(2 * c + 1))),
                std::array::from_fn(|c| I::load(v, place(2 * CP + c))),
            )
        }
    }
}

/// Runs `$body` for every group of `$blocks` blocks, from block `$c` on: `$CP` pairs and `$CS` single ones, with tiles
/// of `$P` pixels. A tile has eight sums at least, which hide the latency of the multiply-add, and no more than there
/// are registers for: 16, or 32 twice as wide.
macro_rules! for_groups {
    ($I:ident, $blocks:expr, |$c:ident, $CP:ident, $CS:ident, $P:ident| $body:expr) => {{
        let blocks: usize = $blocks;
        let mut $c = 0;
        while $c < blocks {
            $c += match blocks - $c {
                1 => for_groups!(@group $CP = 0, $CS = 1, $P = 8, $body),
                _ if !$I::WIDE => for_groups!(@group $CP = 1, $CS = 0, $P = 4, $body),
                6 | 10.. => for_groups!(@group $CP = 3, $CS = 0, $P = 8, $body),
                5 => for_groups!(@group $CP = 2, $CS = 1, $P = 8, $body),
                3 => for_groups!(@group $CP = 1, $CS = 1, $P = 8, $body),
                2 => for_groups!(@group $CP = 1, $CS = 0, $P = 8, $body),
                _ => for_groups!(@group $CP = 2, $CS = 0, $P = 8, $body),
            };
        }
    }};
    (@group $CP:ident = $pairs:literal, $CS:ident = $singles:literal, $P:ident = $pixels:literal, $body:expr) => {{
        const $CP: usize = $pairs;
        const $CS: usize = $singles;
        const $P: usize = $pixels;
        $body;
        2 * $CP + $CS
    }};
}
pub(crate) use for_groups;
