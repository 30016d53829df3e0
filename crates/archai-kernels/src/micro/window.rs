//! The other inner loops of inference, on rows of one block of channels: copies with a border or with a stride, depthwise
//! convolutions, pools, and sums of maps.

use super::product::Act;
use crate::buffer::Shared;
use crate::simd::{Isa, Kernel, LANES};

/// Pixels of a step: eight accumulators hide the latency of the multiply-add.
const TILE: usize = 8;

/// Pixels that [`Depthwise`] may read behind the last one of a row at stride 1; at stride `s` it is `s` times as many.
pub(crate) const DEPTHWISE_SLACK: usize = TILE;

/// A plane of one block of channels.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a> {
    pub data: &'a [f32],
    pub height: usize,
    pub width: usize,
}

/// Copies `rows`×`cols` pixels of a plane from pixel (`top`, `left`) on, which may lie outside: there are zeros. `act` is
/// applied to each.
pub(crate) struct PadRows<'a> {
    pub src: Plane<'a>,
    pub top: isize,
    pub left: isize,
    pub rows: usize,
    pub cols: usize,
    pub act: Act,
    pub dst: &'a mut [f32],
}

impl Kernel for PadRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PadRows {
            src,
            top,
            left,
            rows,
            cols,
            act,
            dst,
        } = self;
        let Plane {
            data,
            height,
            width,
        } = src;
        assert!(data.len() >= height * width * LANES && dst.len() >= rows * cols * LANES);
        // Columns left of the plane, inside it, and right of it.
        let before = cols.min(left.min(0).unsigned_abs());
        let first = left.max(0) as usize;
        let inside = width.saturating_sub(first).min(cols - before);
        for r in 0..rows {
            let d = r * cols * LANES;
            let line = &mut dst[d..d + cols * LANES];
            let Some(y) = usize::try_from(top + r as isize)
                .ok()
                .filter(|&y| y < height)
            else {
                line.fill(0.0);
                continue;
            };
            line[..before * LANES].fill(0.0);
            line[(before + inside) * LANES..].fill(0.0);
            if inside == 0 {
                continue;
            }
            let s = (y * width + first) * LANES;
            let source = &data[s..s + inside * LANES];
            let line = &mut line[before * LANES..(before + inside) * LANES];
            copy::<I>(source, line, act);
        }
    }
}

/// `dst = act(src)`.
#[inline(always)]
fn copy<I: Isa>(src: &[f32], dst: &mut [f32], act: Act) {
    assert!(src.len() == dst.len() && src.len().is_multiple_of(LANES));
    match act {
        Act::None => dst.copy_from_slice(src),
        Act::Relu => each::<I>(src, dst, |v| Act::Relu.apply::<I>(v)),
        Act::Relu6 => each::<I>(src, dst, |v| Act::Relu6.apply::<I>(v)),
        act => each::<I>(src, dst, |v| act.apply::<I>(v)),
    }
}

#[inline(always)]
fn each<I: Isa>(src: &[f32], dst: &mut [f32], f: impl Fn(I::V) -> I::V) {
    for i in (0..src.len()).step_by(LANES) {
        // SAFETY: whole vectors of equally long slices.
        unsafe { I::store(dst, i, f(I::load(src, i))) };
    }
}

/// Copies the pixels (`top + y · stride.0`, `left + x · stride.1`) of a plane, all of which exist, for `rows`×`cols` of them,
/// with `act`.
pub(crate) struct PickRows<'a> {
    pub src: Plane<'a>,
    pub top: usize,
    pub left: usize,
    pub stride: (usize, usize),
    pub rows: usize,
    pub cols: usize,
    pub act: Act,
    pub dst: Shared<'a>,
}

impl Kernel for PickRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PickRows {
            src,
            top,
            left,
            stride,
            rows,
            cols,
            act,
            dst,
        } = self;
        let Plane {
            data,
            height,
            width,
        } = src;
        assert!(rows > 0 && cols > 0 && data.len() >= height * width * LANES);
        assert!(top + (rows - 1) * stride.0 < height && left + (cols - 1) * stride.1 < width);
        assert!(dst.len() >= rows * cols * LANES);
        for y in 0..rows {
            let s = ((top + y * stride.0) * width + left) * LANES;
            let d = y * cols * LANES;
            for x in 0..cols {
                // SAFETY: the asserts cover the last pixel; the rows are the caller's.
                unsafe {
                    let v = I::load(data, s + x * stride.1 * LANES);
                    dst.store::<I>(d + x * LANES, act.apply::<I>(v));
                }
            }
        }
    }
}

/// A depthwise convolution of one block: `dst = act(bias + window(src))`, `src` having its border already.
pub(crate) struct Depthwise<'a> {
    pub src: &'a [f32],
    /// Elements from one row of the source to the next.
    pub row: usize,
    pub kernel: (usize, usize),
    pub dilation: usize,
    pub stride: (usize, usize),
    /// `[taps][8]`.
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub act: Act,
    /// Row after row.
    pub dst: Shared<'a>,
}

impl Kernel for Depthwise<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Depthwise {
            src,
            row,
            kernel,
            dilation,
            stride,
            ..
        } = self;
        let (rows, cols) = (self.rows, self.cols);
        assert!(rows > 0 && cols > 0 && kernel.0 > 0 && kernel.1 > 0);
        assert!(self.weights.len() >= kernel.0 * kernel.1 * LANES && self.bias.len() >= LANES);
        assert!(self.dst.len() >= rows * cols * LANES);
        let last = ((rows - 1) * stride.0 + (kernel.0 - 1) * dilation) * row
            + ((cols.next_multiple_of(TILE) - 1) * stride.1 + (kernel.1 - 1) * dilation + 1)
                * LANES;
        assert!(src.len() >= last);
        // SAFETY: the assert bounds the last pixel that a tile reads, which may hang over the row's end.
        unsafe {
            match (kernel, dilation, stride.1) {
                ((3, 3), 1, 1) => self.rows_of::<I, 3, 1, 1>(),
                ((5, 5), 1, 1) => self.rows_of::<I, 5, 1, 1>(),
                ((7, 7), 1, 1) => self.rows_of::<I, 7, 1, 1>(),
                ((3, 3), 2, 1) => self.rows_of::<I, 3, 2, 1>(),
                ((5, 5), 2, 1) => self.rows_of::<I, 5, 2, 1>(),
                ((3, 3), 1, 2) => self.rows_of::<I, 3, 1, 2>(),
                ((5, 5), 1, 2) => self.rows_of::<I, 5, 1, 2>(),
                _ => self.tiles::<I>(|acc, line, ky| self.any_row::<I>(acc, line, ky)),
            }
        }
    }
}

impl Depthwise<'_> {
    /// All tiles; `row` adds the products of one row of the window.
    ///
    /// # Safety
    /// As [`Depthwise::run`] asserts.
    #[inline(always)]
    unsafe fn tiles<I: Isa>(&self, row: impl Fn(&mut [I::V; TILE], usize, usize)) {
        for y in 0..self.rows {
            for x in (0..self.cols).step_by(TILE) {
                let s = y * self.stride.0 * self.row + x * self.stride.1 * LANES;
                let d = (y * self.cols + x) * LANES;
                let m = (self.cols - x).min(TILE);
                // SAFETY: promised by the caller; `m` pixels are stored.
                unsafe {
                    let mut acc = [I::load(self.bias, 0); TILE];
                    for ky in 0..self.kernel.0 {
                        row(&mut acc, s + ky * self.dilation * self.row, ky);
                    }
                    match self.act {
                        Act::None => store::<I>(&self.dst, d, &acc, m, |v| v),
                        act => store::<I>(&self.dst, d, &acc, m, |v| act.apply::<I>(v)),
                    }
                }
            }
        }
    }

    /// Windows of `K` columns at a distance of `D`, every `S`-th.
    ///
    /// # Safety
    /// As [`Depthwise::run`] asserts.
    #[inline(always)]
    unsafe fn rows_of<I: Isa, const K: usize, const D: usize, const S: usize>(&self) {
        let row = |acc: &mut [I::V; TILE], line: usize, ky: usize| {
            for kx in 0..K {
                // SAFETY: promised by the caller.
                unsafe {
                    // A pixel is read again by the next tap: kept in registers, it would take the place of the sums.
                    I::hold();
                    let w = I::load(self.weights, (ky * K + kx) * LANES);
                    for i in 0..TILE {
                        let v = I::load(self.src, line + (i * S + kx * D) * LANES);
                        acc[i] = I::fma(v, w, acc[i]);
                    }
                }
            }
        };
        // SAFETY: promised by the caller.
        unsafe { self.tiles::<I>(row) };
    }

    /// One row of any window.
    #[inline(always)]
    fn any_row<I: Isa>(&self, acc: &mut [I::V; TILE], line: usize, ky: usize) {
        for kx in 0..self.kernel.1 {
            // SAFETY: within what `run` asserts.
            unsafe {
                let w = I::load(self.weights, (ky * self.kernel.1 + kx) * LANES);
                let q = line + kx * self.dilation * LANES;
                for (i, acc) in acc.iter_mut().enumerate() {
                    *acc = I::fma(I::load(self.src, q + i * self.stride.1 * LANES), w, *acc);
                }
            }
        }
    }
}

/// Writes `f` of the first `m` of a tile's pixels.
///
/// # Safety
/// They lie within `d`, and nobody else reads or writes them meanwhile.
#[inline(always)]
unsafe fn store<I: Isa>(
    d: &Shared<'_>,
    at: usize,
    tile: &[I::V; TILE],
    m: usize,
    f: impl Fn(I::V) -> I::V,
) {
    for (i, &v) in tile.iter().enumerate() {
        if i < m {
            // SAFETY: promised by the caller.
            unsafe { d.store::<I>(at + i * LANES, f(v)) };
        }
    }
}

/// What a window gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pooling {
    Max,
    /// The sum times this, or, if there is none, the mean of the pixels inside the map.
    Mean(Option<f32>),
}

/// A pool of one block, rows `first..first + rows` of its output; every window covers a pixel of the map.
pub(crate) struct PoolRows<'a> {
    pub src: Plane<'a>,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub pooling: Pooling,
    pub first: usize,
    pub rows: usize,
    pub cols: usize,
    /// Row after row, from row `first` on.
    pub dst: Shared<'a>,
}

impl Kernel for PoolRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let PoolRows {
            src,
            kernel,
            stride,
            padding,
            pooling,
            first,
            rows,
            cols,
            dst,
        } = self;
        let Plane {
            data,
            height,
            width,
        } = src;
        assert!(data.len() >= height * width * LANES && dst.len() >= rows * cols * LANES);
        let span = |at: usize, n: usize| {
            let start = (at * stride).saturating_sub(padding);
            let end = (at * stride + kernel).saturating_sub(padding).min(n);
            assert!(start < end, "a window outside the map");
            (start, end)
        };
        for y in 0..rows {
            let (top, bottom) = span(first + y, height);
            for x in 0..cols {
                let (left, right) = span(x, width);
                let pixels = (top..bottom).flat_map(|y| (left..right).map(move |x| y * width + x));
                // SAFETY: the windows were cut to the map; the rows are the caller's.
                unsafe {
                    let begin = I::load(data, (top * width + left) * LANES);
                    let v = match pooling {
                        Pooling::Max => pixels.fold(begin, |best, p| {
                            let v = I::load(data, p * LANES);
                            I::take_greater(v, v, best, best).0
                        }),
                        Pooling::Mean(factor) => {
                            let n = (bottom - top) * (right - left);
                            let sum = pixels
                                .skip(1)
                                .fold(begin, |sum, p| I::add(sum, I::load(data, p * LANES)));
                            I::mul(sum, I::splat(factor.unwrap_or(1.0 / n as f32)))
                        }
                    };
                    dst.store::<I>((y * cols + x) * LANES, v);
                }
            }
        }
    }
}

/// `dst = act((Σ terms) · scale + shift)` for the pixels of one block; the terms have the same pixels.
pub(crate) struct SumRows<'a> {
    pub terms: &'a [Shared<'a>],
    /// Eight numbers each.
    pub scale_shift: Option<(&'a [f32], &'a [f32])>,
    pub act: Act,
    /// It may be a term.
    pub dst: Shared<'a>,
}

impl Kernel for SumRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let SumRows {
            terms,
            scale_shift,
            act,
            dst,
        } = self;
        let len = dst.len();
        assert!(len.is_multiple_of(LANES) && terms.iter().all(|t| t.len() == len));
        let Some((first, others)) = terms.split_first() else {
            unreachable!("a sum has terms");
        };
        let (scale, shift) = scale_shift.unwrap_or((&[1.0; LANES], &[0.0; LANES]));
        assert!(scale.len() >= LANES && shift.len() >= LANES);
        for i in (0..len).step_by(LANES) {
            // SAFETY: whole vectors of equally long parts, which are the caller's.
            unsafe {
                let mut sum = first.load::<I>(i);
                for term in others {
                    sum = I::add(sum, term.load::<I>(i));
                }
                if scale_shift.is_some() {
                    sum = I::fma(sum, I::load(scale, 0), I::load(shift, 0));
                }
                dst.store::<I>(i, act.apply::<I>(sum));
            }
        }
    }
}

/// `dst = src · factors` for the pixels of one block, each lane with its own factor.
pub(crate) struct ScaleRows<'a> {
    pub src: &'a [f32],
    /// Eight numbers.
    pub factors: &'a [f32],
    pub dst: Shared<'a>,
}

impl Kernel for ScaleRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let ScaleRows { src, factors, dst } = self;
        assert!(src.len() == dst.len() && src.len().is_multiple_of(LANES));
        assert!(factors.len() >= LANES);
        // SAFETY: checked above.
        let factors = unsafe { I::load(factors, 0) };
        for i in (0..src.len()).step_by(LANES) {
            // SAFETY: whole vectors of equally long parts, which are the caller's.
            unsafe { dst.store::<I>(i, I::mul(I::load(src, i), factors)) };
        }
    }
}

/// The sum over all pixels of one block: `dst[..8] = factor · Σ src`, row by row, so that large maps lose no precision.
pub(crate) struct MeanRows<'a> {
    pub src: Plane<'a>,
    pub factor: f32,
    pub dst: Shared<'a>,
}

impl Kernel for MeanRows<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let MeanRows { src, factor, dst } = self;
        let Plane {
            data,
            height,
            width,
        } = src;
        assert!(data.len() >= height * width * LANES && dst.len() >= LANES);
        let mut total = I::zero();
        for y in 0..height {
            let mut sum = I::zero();
            for x in 0..width {
                // SAFETY: within the plane.
                unsafe { sum = I::add(sum, I::load(data, (y * width + x) * LANES)) };
            }
            total = I::add(total, sum);
        }
        // SAFETY: checked above.
        unsafe { dst.store::<I>(0, I::mul(total, I::splat(factor))) };
    }
}
