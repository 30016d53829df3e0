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

/// A window's maximum and its position so far, or its sum.
#[derive(Clone, Copy)]
struct Best<V> {
    value: V,
    at: V,
}

/// Takes one more value into a window.
#[inline(always)]
fn take<I: Isa, const MAX: bool>(best: &mut Best<I::V>, v: I::V, at: I::V) {
    if MAX {
        (best.value, best.at) = I::take_greater(v, at, best.value, best.at);
    } else {
        best.value = I::add(best.value, v);
    }
}

#[inline(always)]
fn nothing<I: Isa, const MAX: bool>() -> Best<I::V> {
    Best {
        value: if MAX {
            I::splat(f32::NEG_INFINITY)
        } else {
            I::zero()
        },
        at: I::zero(),
    }
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
        assert!(pad < k && height + 2 * pad >= k && width + 2 * pad >= k && k <= 5);
        assert!(!keep || at.len() >= blocks * out_h * out_w * LANES);
        let cols: Vec<Range<usize>> = (0..out_w).map(|ox| window.cells(ox, width)).collect();
        // A window's rows are reduced first; neighbouring windows share them, so each is kept for as long as it is
        // needed. Taking rows in order, and columns in order within them, the first maximum wins.
        let mut lines: [Vec<Best<I::V>>; 5] =
            std::array::from_fn(|_| vec![nothing::<I, MAX>(); out_w]);
        for b in 0..blocks {
            let mut reduced = 0;
            for oy in 0..out_h {
                let cells = window.cells(oy, height);
                let first = oy * stride + cells.start - pad;
                let last = first + cells.len();
                for iy in reduced.max(first)..last {
                    let line = (b * height + iy) * width;
                    // SAFETY: the row exists, and `cols` leaves only columns that exist.
                    unsafe { reduce_row::<I, MAX>(window, x, line, &cols, &mut lines[iy % 5]) };
                }
                reduced = last;
                let o = (b * out_h + oy) * out_w * LANES;
                let y = &mut y[o..o + out_w * LANES];
                let at = if keep {
                    &mut at[o..o + out_w * LANES]
                } else {
                    &mut [][..]
                };
                let line = |i: usize| &lines[(first + i) % 5][..out_w];
                let count = cells.len();
                if count == 3 {
                    finish::<I, MAX, 3>(
                        [line(0), line(1), line(2)],
                        cells.start * k,
                        k,
                        &cols,
                        y,
                        at,
                    );
                } else {
                    let empty = &lines[0][..0];
                    let all: [&[Best<I::V>]; 5] =
                        std::array::from_fn(|i| if i < count { line(i) } else { empty });
                    finish_some::<I, MAX>(&all[..count], cells.start * k, k, &cols, y, at);
                }
            }
        }
    }
}

/// Reduces one input row, which begins at pixel `line`, for all columns of windows.
///
/// # Safety
/// `x` holds the row, and the cells lie within it.
#[inline(always)]
unsafe fn reduce_row<I: Isa, const MAX: bool>(
    window: PoolWindow,
    x: &[f32],
    line: usize,
    cols: &[Range<usize>],
    row: &mut [Best<I::V>],
) {
    for (ox, (row, cells)) in row.iter_mut().zip(cols).enumerate() {
        let base = line + ox * window.stride + cells.start - window.pad;
        let mut best = nothing::<I, MAX>();
        // SAFETY: promised by the caller.
        unsafe {
            if cells.start == 0 && cells.end == 3 {
                for kx in 0..3 {
                    take::<I, MAX>(
                        &mut best,
                        I::load(x, (base + kx) * LANES),
                        I::splat(kx as f32),
                    );
                }
            } else {
                for (i, kx) in cells.clone().enumerate() {
                    take::<I, MAX>(
                        &mut best,
                        I::load(x, (base + i) * LANES),
                        I::splat(kx as f32),
                    );
                }
            }
        }
        *row = best;
    }
}

/// Reduces `N` reduced rows, the first of which has position `at0` in the window, to a row of results.
#[inline(always)]
fn finish<I: Isa, const MAX: bool, const N: usize>(
    lines: [&[Best<I::V>]; N],
    at0: usize,
    k: usize,
    cols: &[Range<usize>],
    y: &mut [f32],
    at: &mut [u8],
) {
    finish_some::<I, MAX>(&lines, at0, k, cols, y, at);
}

#[inline(always)]
fn finish_some<I: Isa, const MAX: bool>(
    lines: &[&[Best<I::V>]],
    at0: usize,
    k: usize,
    cols: &[Range<usize>],
    y: &mut [f32],
    at: &mut [u8],
) {
    let places: [I::V; 5] = std::array::from_fn(|i| I::splat((at0 + i * k) as f32));
    let shares: [f32; 6] = std::array::from_fn(|n| 1.0 / (n.max(1) * lines.len()) as f32);
    for (ox, (cells, y)) in cols.iter().zip(y.chunks_exact_mut(LANES)).enumerate() {
        let mut best = nothing::<I, MAX>();
        for (line, place) in lines.iter().zip(places) {
            take::<I, MAX>(&mut best, line[ox].value, I::add(line[ox].at, place));
        }
        if MAX && !at.is_empty() {
            at[ox * LANES..][..LANES].copy_from_slice(&I::to_bytes(best.at));
        }
        if !MAX {
            best.value = I::mul(best.value, I::splat(shares[cells.len()]));
        }
        // SAFETY: a chunk of eight.
        unsafe { I::store(y, 0, best.value) };
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
        let position = |o: usize| I::from_bytes(at[o..o + LANES].try_into().expect("eight bytes"));
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
