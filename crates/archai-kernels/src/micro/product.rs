//! The matrix products of inference: output blocks by pixels, of one tap or of many, with bias, residual and activation
//! in the same pass.

use super::function;
use super::tile::{Places, Tile};
use crate::buffer::Shared;
use crate::simd::{Isa, Kernel, LANES};

/// An elementwise function without parameters. Not-a-number stays what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    None,
    Relu,
    Relu6,
    HardSwish,
    HardSigmoid,
    Sigmoid,
    Gelu,
    Silu,
}

impl Act {
    /// Whether it is a few instructions, so that other loops may do it along the way.
    pub fn is_short(self) -> bool {
        !matches!(self, Act::Sigmoid | Act::Gelu | Act::Silu)
    }

    #[inline(always)]
    pub fn apply<I: Isa>(self, v: I::V) -> I::V {
        let hard_sigmoid = |v: I::V| {
            let v = I::min(I::relu(I::add(v, I::splat(3.0))), I::splat(6.0));
            I::mul(v, I::splat(1.0 / 6.0))
        };
        match self {
            Act::None => v,
            Act::Relu => I::relu(v),
            Act::Relu6 => I::min(I::relu(v), I::splat(6.0)),
            Act::HardSwish => I::mul(v, hard_sigmoid(v)),
            Act::HardSigmoid => hard_sigmoid(v),
            Act::Sigmoid => function::sigmoid::<I>(v),
            Act::Gelu => function::gelu::<I>(v),
            Act::Silu => I::mul(v, function::sigmoid::<I>(v)),
        }
    }
}

/// Some lanes of a block of the source, at one tap: where they are, counted from the pixel, and how many. The rows of the
/// weights follow the segments' order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub offset: usize,
    pub lanes: usize,
}

/// Where the pixels of a source or destination are, in elements: the first one, from row to row and from pixel to pixel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixels {
    pub start: usize,
    pub row: usize,
    pub step: usize,
}

/// `dst[o] = act(bias[o] + residual[o] + Σ_k w[o][k] · src[pixel + k])` for `rows`×`cols` pixels, the sum in the order of
/// the segments. Weights `[blocks][lanes of all segments][8]`.
pub(crate) struct Product<'a> {
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub segments: &'a [Segment],
    pub blocks: usize,
    pub src: &'a [f32],
    pub from: Pixels,
    /// Pixels behind the last one of each row that may be read.
    pub slack: usize,
    pub rows: usize,
    pub cols: usize,
    /// What is added, at the same places as the destination's; it may be the destination itself.
    pub residual: Option<Shared<'a>>,
    pub dst: Shared<'a>,
    /// Its pixels lie side by side.
    pub to: Pixels,
    /// Elements from one block of the destination to the next.
    pub to_block: usize,
    pub act: Act,
}

/// Most numbers per output that are summed up at a time, so that the weights of three blocks fill about half of the first
/// cache.
const DEPTH: usize = 192;

/// A part of the sums: some segments and the weights' row of the first of them.
#[derive(Clone, Copy)]
struct Part<'a> {
    segments: &'a [Segment],
    row: usize,
    /// Rows of weights per block.
    depth: usize,
    first: bool,
    last: bool,
}

/// Runs `$body` for every group of `$blocks` blocks, from block `$c` on: `$CP` pairs and `$CS` single ones, with tiles of
/// `$P` pixels. Sums, weights and a scalar fill 16 registers, or 32 that hold a pair each.
macro_rules! for_tiles {
    ($I:ident, $blocks:expr, |$c:ident, $CP:ident, $CS:ident, $P:ident| $body:expr) => {{
        let blocks: usize = $blocks;
        let mut $c = 0;
        while $c < blocks {
            $c += match (blocks - $c, $I::WIDE) {
                (1, _) => for_tiles!(@group $CP = 0, $CS = 1, $P = 8, $body),
                (2 | 4, false) => for_tiles!(@group $CP = 1, $CS = 0, $P = 4, $body),
                (_, false) => for_tiles!(@group $CP = 1, $CS = 1, $P = 4, $body),
                (6 | 10.., true) => for_tiles!(@group $CP = 3, $CS = 0, $P = 8, $body),
                (5, true) => for_tiles!(@group $CP = 2, $CS = 1, $P = 8, $body),
                (3, true) => for_tiles!(@group $CP = 1, $CS = 1, $P = 8, $body),
                (2, true) => for_tiles!(@group $CP = 1, $CS = 0, $P = 8, $body),
                (_, true) => for_tiles!(@group $CP = 2, $CS = 0, $P = 8, $body),
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

impl Kernel for Product<'_> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let args = &self;
        let (rows, cols) = (args.rows, args.cols);
        assert!(args.blocks > 0 && rows > 0 && cols > 0);
        assert!(
            args.act.is_short(),
            "{:?} is no part of a product",
            args.act
        );
        let depth: usize = args.segments.iter().map(|s| s.lanes).sum();
        assert!(args.weights.len() >= args.blocks * depth * LANES);
        assert!(args.bias.len() >= args.blocks * LANES);
        let reach = (args.segments.iter())
            .map(|s| s.offset + s.lanes)
            .max()
            .unwrap_or(0);
        let last = |p: &Pixels, cols: usize| p.start + (rows - 1) * p.row + (cols - 1) * p.step;
        assert!(args.src.len() >= last(&args.from, cols + args.slack) + reach);
        assert!(args.to.step == LANES);
        let end = last(&args.to, cols) + (args.blocks - 1) * args.to_block + LANES;
        assert!(args.dst.len() >= end);
        assert!(args.residual.is_none_or(|r| r.len() >= end));
        let mut rest = Part {
            segments: args.segments,
            row: 0,
            depth,
            first: true,
            last: false,
        };
        while !rest.last {
            let mut lanes = 0;
            let n = rest.segments.iter().take_while(|s| {
                lanes += s.lanes;
                lanes <= DEPTH
            });
            let (now, later) = rest
                .segments
                .split_at(n.count().max(1).min(rest.segments.len()));
            let part = Part {
                segments: now,
                last: later.is_empty(),
                ..rest
            };
            for_tiles!(I, args.blocks, |c, CP, CS, P| for y in 0..rows {
                // SAFETY: the asserts cover every pixel of every block, and `slack` further ones of the source.
                unsafe {
                    let mut x = 0;
                    while x + P <= cols {
                        tile::<I, CP, CS, P>(args, &part, c, y, x, P);
                        x += P;
                    }
                    if x < cols && cols + args.slack >= x + P {
                        tile::<I, CP, CS, P>(args, &part, c, y, x, cols - x);
                        x = cols;
                    }
                    while x < cols {
                        tile::<I, CP, CS, 1>(args, &part, c, y, x, 1);
                        x += 1;
                    }
                }
            });
            let row = part.row + now.iter().map(|s| s.lanes).sum::<usize>();
            rest = Part {
                segments: later,
                row,
                first: false,
                ..part
            };
        }
    }
}

/// # Safety
/// The group's blocks from `c` on and pixels `x..x + m` of row `y` exist; the source has `P` pixels from there on.
#[inline(always)]
unsafe fn tile<I: Isa, const CP: usize, const CS: usize, const P: usize>(
    args: &Product<'_>,
    part: &Part<'_>,
    c: usize,
    y: usize,
    x: usize,
    m: usize,
) {
    let s = args.from.start + y * args.from.row + x * args.from.step;
    let at = Places {
        start: args.to.start + y * args.to.row + x * LANES + c * args.to_block,
        block: args.to_block,
        pixel: LANES,
    };
    let w_block = part.depth * LANES;
    let mut w = c * w_block + part.row * LANES;
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = match part.first {
            true => Tile::<I, CP, CS, P>::per_block(args.bias, c * LANES),
            false => Tile::zero(),
        };
        match args.residual {
            _ if !part.first => sums.add_shared(&args.dst, at, m),
            Some(residual) => sums.add_shared(&residual, at, m),
            None => {}
        }
        for segment in part.segments {
            let q = s + segment.offset;
            match (segment.lanes, args.from.step) {
                (LANES, LANES) => sums.step_block(args.weights, w, w_block, args.src, q),
                (lanes, LANES) => {
                    for i in 0..lanes {
                        sums.step::<LANES>(args.weights, w + i * LANES, w_block, args.src, q + i);
                    }
                }
                (lanes, step) => {
                    for i in 0..lanes {
                        sums.step_apart(
                            args.weights,
                            w + i * LANES,
                            w_block,
                            args.src,
                            q + i,
                            step,
                        );
                    }
                }
            }
            w += segment.lanes * LANES;
        }
        match (part.last, args.act) {
            (true, Act::Relu) => sums.store_shared(&args.dst, at, m, |v| Act::Relu.apply::<I>(v)),
            (true, Act::Relu6) => sums.store_shared(&args.dst, at, m, |v| Act::Relu6.apply::<I>(v)),
            (true, Act::HardSwish) => {
                sums.store_shared(&args.dst, at, m, |v| Act::HardSwish.apply::<I>(v));
            }
            (true, Act::HardSigmoid) => {
                sums.store_shared(&args.dst, at, m, |v| Act::HardSigmoid.apply::<I>(v));
            }
            _ => sums.store_shared(&args.dst, at, m, |v| v),
        }
    }
}
