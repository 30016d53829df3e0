//! Pooling windows over unpadded planes: maximum with its position, and the average of the cells that exist.

use crate::simd::{Isa, Kernel, LANES};
use std::ops::Range;

/// A square pooling window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolWindow {
    pub k: usize,
    pub stride: usize,
    pub pad: usize,
    pub height: usize,
    pub width: usize,
}

impl PoolWindow {
    pub fn out(&self) -> (usize, usize) {
        let out = |n: usize| (n + 2 * self.pad - self.k) / self.stride + 1;
        (out(self.height), out(self.width))
    }

    /// Rows (or columns) of the window that exist, relative to its first one, for output `o` along a side of `n`.
    #[inline(always)]
    fn cells(&self, o: usize, n: usize) -> Range<usize> {
        let start = o * self.stride;
        self.pad.saturating_sub(start)..(n + self.pad - start).min(self.k)
    }
}

/// Maximum (`MAX`, with the position of the first maximum in `at`) or average.
pub(crate) struct PoolForward<'a, const MAX: bool> {
    pub window: PoolWindow,
    pub blocks: usize,
    pub x: &'a [f32],
    pub y: &'a mut [f32],
    /// Position inside the window per element; empty if not wanted.
    pub at: &'a mut [u8],
}

impl<const MAX: bool> Kernel for PoolForward<'_, MAX> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PoolForward {
            window,
            blocks,
            x,
            y,
            at,
        } = self;
        let PoolWindow {
            k,
            stride,
            pad,
            height,
            width,
        } = window;
        let (out_h, out_w) = window.out();
        let keep = MAX && !at.is_empty();
        assert!(
            x.len() >= blocks * height * width * LANES && y.len() >= blocks * out_h * out_w * LANES
        );
        assert!(
            pad < k
                && height + 2 * pad >= k
                && width + 2 * pad >= k
                && (!keep || at.len() >= blocks * out_h * out_w * LANES)
        );
        let position: [I::V; 25] = std::array::from_fn(|t| I::splat(t as f32));
        assert!(k * k <= position.len());
        for b in 0..blocks {
            for oy in 0..out_h {
                let rows = window.cells(oy, height);
                for ox in 0..out_w {
                    let cols = window.cells(ox, width);
                    // The first cell of the window; padding makes it negative, existing cells bring it back.
                    let base = ((b * height + oy * stride) * width + ox * stride) as isize
                        - (pad * width + pad) as isize;
                    let o = ((b * out_h + oy) * out_w + ox) * LANES;
                    // SAFETY: `cells` leaves only rows and columns that exist.
                    unsafe {
                        let cell = |ky: usize, kx: usize| {
                            (base + (ky * width + kx) as isize) as usize * LANES
                        };
                        if MAX {
                            let (mut best, mut best_at) = (I::splat(f32::NEG_INFINITY), I::zero());
                            let mut take = |ky: usize, kx: usize| {
                                let v = I::load(x, cell(ky, kx));
                                (best, best_at) =
                                    I::take_greater(v, position[ky * k + kx], best, best_at);
                            };
                            if k == 3 && rows.len() == 3 && cols.len() == 3 {
                                for ky in 0..3 {
                                    for kx in 0..3 {
                                        take(ky, kx);
                                    }
                                }
                            } else {
                                for ky in rows.clone() {
                                    for kx in cols.clone() {
                                        take(ky, kx);
                                    }
                                }
                            }
                            I::store(y, o, best);
                            if keep {
                                for (at, v) in at[o..o + LANES].iter_mut().zip(I::to_array(best_at))
                                {
                                    // A position is at most 24.
                                    *at = v.to_int_unchecked::<i32>() as u8;
                                }
                            }
                        } else {
                            let mut sum = I::zero();
                            if k == 3 && rows.len() == 3 && cols.len() == 3 {
                                for ky in 0..3 {
                                    for kx in 0..3 {
                                        sum = I::add(sum, I::load(x, cell(ky, kx)));
                                    }
                                }
                            } else {
                                for ky in rows.clone() {
                                    for kx in cols.clone() {
                                        sum = I::add(sum, I::load(x, cell(ky, kx)));
                                    }
                                }
                            }
                            I::store(
                                y,
                                o,
                                I::mul(sum, I::splat(1.0 / (rows.len() * cols.len()) as f32)),
                            );
                        }
                    }
                }
            }
        }
    }
}

/// `dx += ` the gradient of a pool.
pub(crate) struct PoolBackward<'a, const MAX: bool> {
    pub window: PoolWindow,
    pub blocks: usize,
    pub g: &'a [f32],
    /// Positions of the maxima; empty for the average.
    pub at: &'a [u8],
    pub dx: &'a mut [f32],
    /// Scratch for the 3×3 window at stride 1, of [`scratch_len`] elements.
    pub scratch: &'a mut [f32],
}

/// Elements of scratch that [`PoolBackward`] wants.
pub(crate) fn scratch_len(window: PoolWindow) -> usize {
    if gathers(window) {
        2 * (window.height + 2) * (window.width + 2) * LANES
    } else {
        0
    }
}

/// At stride 1 each input pixel gathers from its nine outputs, which reads and writes it once instead of nine times.
fn gathers(window: PoolWindow) -> bool {
    window.k == 3 && window.stride == 1 && window.pad == 1
}

impl<const MAX: bool> Kernel for PoolBackward<'_, MAX> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PoolBackward {
            window,
            blocks,
            g,
            at,
            dx,
            scratch,
        } = self;
        let PoolWindow {
            k,
            stride,
            pad,
            height,
            width,
        } = window;
        let (out_h, out_w) = window.out();
        assert!(
            g.len() >= blocks * out_h * out_w * LANES
                && dx.len() >= blocks * height * width * LANES
        );
        assert!(!MAX || at.len() >= blocks * out_h * out_w * LANES);
        assert!(scratch.len() >= scratch_len(window) && k * k <= 25);
        let share = |rows: &Range<usize>, cols: &Range<usize>| {
            if MAX {
                I::splat(1.0)
            } else {
                I::splat(1.0 / (rows.len() * cols.len()) as f32)
            }
        };
        let position = |o: usize| from_bytes::<I>(at, o);
        if gathers(window) {
            let row = width + 2;
            let half = (height + 2) * row * LANES;
            let (gs, ats) = scratch.split_at_mut(half);
            gs.fill(0.0);
            // Border cells never match a position.
            ats[..half].fill(-1.0);
            for b in 0..blocks {
                for y in 0..height {
                    let rows = window.cells(y, height);
                    for x in 0..width {
                        let cols = window.cells(x, width);
                        let (o, q) = (
                            ((b * height + y) * width + x) * LANES,
                            ((y + 1) * row + x + 1) * LANES,
                        );
                        // SAFETY: a pixel of an existing block, and its place inside the scratch's border.
                        unsafe {
                            I::store(gs, q, I::mul(share(&rows, &cols), I::load(g, o)));
                            if MAX {
                                I::store(ats, q, position(o));
                            }
                        }
                    }
                }
                for y in 0..height {
                    for x in 0..width {
                        let o = ((b * height + y) * width + x) * LANES;
                        // SAFETY: as above; the nine neighbours stand within the scratch's border.
                        unsafe {
                            let mut acc = I::load(dx, o);
                            for ky in 0..3 {
                                for kx in 0..3 {
                                    let q = ((y + ky) * row + x + kx) * LANES;
                                    let v = I::load(gs, q);
                                    let t = I::splat((8 - ky * 3 - kx) as f32);
                                    acc = I::add(
                                        acc,
                                        if MAX {
                                            I::where_equal(I::load(ats, q), t, v)
                                        } else {
                                            v
                                        },
                                    );
                                }
                            }
                            I::store(dx, o, acc);
                        }
                    }
                }
            }
            return;
        }
        for b in 0..blocks {
            for oy in 0..out_h {
                let rows = window.cells(oy, height);
                for ox in 0..out_w {
                    let cols = window.cells(ox, width);
                    let base = ((b * height + oy * stride) * width + ox * stride) as isize
                        - (pad * width + pad) as isize;
                    let o = ((b * out_h + oy) * out_w + ox) * LANES;
                    // SAFETY: `cells` leaves only rows and columns that exist.
                    unsafe {
                        let v = I::mul(share(&rows, &cols), I::load(g, o));
                        let at = if MAX { position(o) } else { I::zero() };
                        for ky in rows.clone() {
                            for kx in cols.clone() {
                                let d = (base + (ky * width + kx) as isize) as usize * LANES;
                                let v = if MAX {
                                    I::where_equal(at, I::splat((ky * k + kx) as f32), v)
                                } else {
                                    v
                                };
                                I::store(dx, d, I::add(I::load(dx, d), v));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Eight bytes as floats.
#[inline(always)]
fn from_bytes<I: Isa>(at: &[u8], o: usize) -> I::V {
    let bytes: &[u8; LANES] = at[o..o + LANES].try_into().expect("eight bytes");
    let v: [f32; LANES] = std::array::from_fn(|i| f32::from(bytes[i]));
    // SAFETY: an array of eight.
    unsafe { I::load(&v, 0) }
}
