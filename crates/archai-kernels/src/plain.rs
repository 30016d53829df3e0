//! What networks need between the fused ops: ReLU, sums, channel concatenation, global pooling.

use crate::buffer::{PerSample, Samples, SamplesMut, overwritten};
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::norm::{Combine, Term};
use crate::micro::pad::{Accumulate, ReluCopy, ReluMask};
use crate::micro::place::Place;
use crate::simd::LANES;
use std::ops::Range;

/// Elements of one task of an elementwise op.
const PIECE: usize = 1 << 14;

/// Pieces of a tensor that are written like samples; the last one may be shorter.
struct Pieces<'a>(&'a mut [f32]);

impl<'a> PerSample for Pieces<'a> {
    type Sample = &'a mut [f32];

    fn split(self, pieces: usize) -> (Self, Self) {
        let (first, others) = self.0.split_at_mut(self.0.len().min(pieces * PIECE));
        (Pieces(first), Pieces(others))
    }

    #[inline]
    fn take(&mut self) -> &'a mut [f32] {
        let len = self.0.len().min(PIECE);
        self.0.split_off_mut(..len).unwrap_or_default()
    }
}

/// Calls `body` for every piece of `out`, with its place in the whole.
fn for_pieces(exec: &Exec, out: &mut [f32], body: impl Fn(Range<usize>, &mut [f32]) + Sync) {
    let len = out.len();
    assert!(
        len.is_multiple_of(LANES),
        "{len} elements are not whole blocks of {LANES}"
    );
    exec.for_samples(len.div_ceil(PIECE), len, Pieces(out), |i, out| {
        body(i * PIECE..i * PIECE + out.len(), out);
    });
}

/// `max(x, 0)`.
pub fn relu(exec: &Exec, x: &[f32]) -> Vec<f32> {
    // SAFETY: the pieces make up the whole, and `ReluCopy` writes every element of one.
    let mut y = unsafe { overwritten::<f32>(x.len()) };
    for_pieces(exec, &mut y, |r, dst| {
        exec.run(ReluCopy { src: &x[r], dst });
    });
    y
}

/// The gradient of [`relu`]: `g` where `x > 0`. The output of [`relu`] may be given as `x`.
pub fn relu_backward(exec: &Exec, x: &[f32], g: &[f32]) -> Vec<f32> {
    assert!(
        x.len() == g.len(),
        "{} values and {} gradients",
        x.len(),
        g.len()
    );
    // SAFETY: the pieces make up the whole, and `ReluMask` without `add` writes every element of one.
    let mut dx = unsafe { overwritten::<f32>(x.len()) };
    for_pieces(exec, &mut dx, |r, dx| {
        exec.run(ReluMask {
            x: &x[r.clone()],
            g: &g[r],
            dx,
            add: false,
        });
    });
    dx
}

/// `a += b`, in place.
pub fn add(exec: &Exec, a: &mut [f32], b: &[f32]) {
    assert!(a.len() == b.len(), "{} and {} values", a.len(), b.len());
    for_pieces(exec, a, |r, dst| {
        exec.run(Accumulate { src: &b[r], dst });
    });
}

/// Each sample times its own factor; its gradient is the same with the gradient for `x`.
///
/// # Panics
/// If there are not as many factors as samples.
pub fn scale_samples(exec: &Exec, map: FeatureMap, x: &[f32], factors: &[f32]) -> Vec<f32> {
    sum_samples(exec, map, &[(x, Some(factors))])
}

/// The sum of tensors, each sample times its own factor where factors are given. Samples with factor zero are not read.
///
/// ```
/// use archai_kernels::{Exec, FeatureMap, sum_samples};
/// let (a, b) = (vec![1.0; 16], vec![2.0; 16]);
/// let y = sum_samples(&Exec::new(), FeatureMap::new(8, 1, 1), &[(&a, None), (&b, Some(&[0.0, 3.0]))]);
/// assert_eq!((y[0], y[8]), (1.0, 7.0));
/// ```
///
/// # Panics
/// If there is no tensor, sizes differ, or there are not as many factors as samples.
pub fn sum_samples(exec: &Exec, map: FeatureMap, terms: &[(&[f32], Option<&[f32]>)]) -> Vec<f32> {
    let (n, len) = (map.samples(terms[0].0.len()), map.sample_len());
    let sources: Vec<Samples<'_>> = terms
        .iter()
        .map(|(x, factors)| {
            map.check("term of a sum", x, n);
            if let Some(factors) = factors {
                assert!(
                    n == factors.len(),
                    "{n} samples and {} factors",
                    factors.len()
                );
            }
            Samples::whole(x, len)
        })
        .collect();
    let base = vec![0.0; map.padded_channels()];
    // SAFETY: `Combine` without `add` writes every element of each sample, also if no term is left.
    let mut y = unsafe { overwritten::<f32>(n * len) };
    let dst = SamplesMut::whole(&mut y, len);
    exec.for_samples(n, n * len * terms.len(), dst, |i, dst| {
        let scaled: Vec<(&[f32], Vec<f32>)> = sources
            .iter()
            .zip(terms)
            .map(|(x, (_, factors))| (x, factors.map_or(1.0, |f| f[i])))
            .filter(|(_, factor)| *factor != 0.0)
            .map(|(x, factor)| (x.get(i), vec![factor; base.len()]))
            .collect();
        let terms: Vec<Term<'_>> = scaled
            .iter()
            .map(|(src, scale)| Term::new(*src, scale))
            .collect();
        exec.run(Combine {
            terms: &terms,
            base: &base,
            blocks: map.blocks(),
            pixels: map.pixels(),
            dst,
            to: Place::Blocks,
            add: false,
        });
    });
    y
}

fn same_size(maps: &[FeatureMap]) -> FeatureMap {
    let (h, w) = (maps[0].height, maps[0].width);
    for m in maps {
        assert!(
            m.height == h && m.width == w,
            "maps of different sizes, {} and {m}, have no common channel axis",
            maps[0]
        );
    }
    FeatureMap::new(maps.iter().map(|m| m.channels).sum(), h, w)
}

/// Where a part's channels go: whole blocks are copied, others as the lanes of one source block fall into one or two
/// blocks of the whole. Calls `f(part's element, whole's element, number of consecutive elements)`.
fn for_channels(part: FeatureMap, first: usize, mut f: impl FnMut(usize, usize, usize)) {
    let pixels = part.pixels();
    if first.is_multiple_of(LANES) && part.channels.is_multiple_of(LANES) {
        return f(0, first * pixels, part.sample_len());
    }
    let place = |c: usize, p: usize| (c / LANES * pixels + p) * LANES + c % LANES;
    let mut c = 0;
    while c < part.channels {
        let to = first + c;
        let lanes = (part.channels - c)
            .min(LANES - c % LANES)
            .min(LANES - to % LANES);
        match lanes {
            LANES => f(place(c, 0), place(to, 0), pixels * LANES),
            _ => (0..pixels).for_each(|p| f(place(c, p), place(to, p), lanes)),
        }
        c += lanes;
    }
}

/// Copies few or many elements; half blocks are the usual case beside whole ones.
#[inline(always)]
fn copy(src: &[f32], dst: &mut [f32]) {
    match (src, &mut *dst) {
        ([a, b, c, d], [w, x, y, z]) => (*w, *x, *y, *z) = (*a, *b, *c, *d),
        _ if src.len() < LANES => dst.iter_mut().zip(src).for_each(|(d, s)| *d = *s),
        _ => dst.copy_from_slice(src),
    }
}

/// Copies one sample of a part to its channels of the whole, the first of which is `first`.
pub(crate) fn place_channels(part: FeatureMap, src: &[f32], first: usize, whole: &mut [f32]) {
    for_channels(part, first, |s, d, n| {
        copy(&src[s..s + n], &mut whole[d..d + n])
    });
}

/// Concatenates the channels of several tensors, whose numbers need not be multiples of eight.
///
/// ```
/// use archai_kernels::{Exec, FeatureMap, concat_channels, split_channels};
/// let (exec, map) = (Exec::new(), FeatureMap::new(3, 1, 1));
/// let a = [1., 2., 3., 0., 0., 0., 0., 0.];
/// let (whole, both) = concat_channels(&exec, &[(map, &a), (map, &a)]);
/// assert_eq!((whole.channels, &both[..]), (6, &[1., 2., 3., 1., 2., 3., 0., 0.][..]));
/// assert_eq!(split_channels(&exec, &[map, map], &both)[1], a);
/// ```
pub fn concat_channels(exec: &Exec, parts: &[(FeatureMap, &[f32])]) -> (FeatureMap, Vec<f32>) {
    let maps: Vec<FeatureMap> = parts.iter().map(|p| p.0).collect();
    let whole = same_size(&maps);
    let n = maps[0].samples(parts[0].1.len());
    let len = whole.sample_len();
    // SAFETY: of every sample the last block is cleared if it has padding, and the parts make up all channels.
    let mut out = unsafe { overwritten::<f32>(n * len) };
    let dst = SamplesMut::whole(&mut out, len);
    let sources: Vec<Samples<'_>> = parts
        .iter()
        .map(|(map, x)| {
            map.check("part of a concatenation", x, n);
            Samples::whole(x, map.sample_len())
        })
        .collect();
    exec.for_samples(n, n * len, dst, |i, dst| {
        if whole.channels < whole.padded_channels() {
            dst[(whole.blocks() - 1) * whole.pixels() * LANES..].fill(0.0);
        }
        let mut first = 0;
        for (map, src) in maps.iter().zip(&sources) {
            place_channels(*map, src.get(i), first, dst);
            first += map.channels;
        }
    });
    (whole, out)
}

/// The inverse of [`concat_channels`] (and its gradient).
pub fn split_channels(exec: &Exec, maps: &[FeatureMap], x: &[f32]) -> Vec<Vec<f32>> {
    let whole = same_size(maps);
    let n = whole.samples(x.len());
    let src = Samples::whole(x, whole.sample_len());
    // SAFETY: of every sample the last block is cleared if it has padding, and all channels are copied.
    let mut parts: Vec<Vec<f32>> = maps
        .iter()
        .map(|m| unsafe { overwritten::<f32>(n * m.sample_len()) })
        .collect();
    let dsts: Vec<SamplesMut<'_>> = parts
        .iter_mut()
        .zip(maps)
        .map(|(p, m)| SamplesMut::whole(p, m.sample_len()))
        .collect();
    exec.for_samples(n, x.len(), dsts, |i, dsts| {
        let src = src.get(i);
        let mut first = 0;
        for (map, dst) in maps.iter().zip(dsts) {
            if map.channels < map.padded_channels() {
                dst[(map.blocks() - 1) * map.pixels() * LANES..].fill(0.0);
            }
            for_channels(*map, first, |d, s, n| {
                copy(&src[s..s + n], &mut dst[d..d + n])
            });
            first += map.channels;
        }
    });
    parts
}

/// The mean over all pixels: `[N, C]`, without padding.
pub fn global_avg_pool(exec: &Exec, map: FeatureMap, x: &[f32]) -> Vec<f32> {
    let (n, pixels) = (map.samples(x.len()), map.pixels());
    let mut out = vec![0.0; n * map.channels];
    let (src, dst) = (
        Samples::whole(x, map.sample_len()),
        SamplesMut::whole(&mut out, map.channels),
    );
    exec.for_samples(n, x.len(), dst, |i, dst| {
        for (block, d) in src
            .get(i)
            .chunks_exact(pixels * LANES)
            .zip(dst.chunks_mut(LANES))
        {
            let mut sums = [0f32; LANES];
            for pixel in block.chunks_exact(LANES) {
                for (s, v) in sums.iter_mut().zip(pixel) {
                    *s += v;
                }
            }
            for (d, s) in d.iter_mut().zip(sums) {
                *d = s / pixels as f32;
            }
        }
    });
    out
}

/// The gradient of [`global_avg_pool`], blocked; `g` is `[N, C]`.
pub fn global_avg_pool_backward(exec: &Exec, map: FeatureMap, g: &[f32]) -> Vec<f32> {
    let (c, pixels) = (map.channels, map.pixels());
    assert!(
        g.len().is_multiple_of(c),
        "{} gradients are no whole rows of {c} channels",
        g.len()
    );
    let n = g.len() / c;
    // SAFETY: the loops below write every pixel of every block, and there is a chunk of `g` for each block.
    let mut dx = unsafe { overwritten::<f32>(n * map.sample_len()) };
    let (src, dst) = (
        Samples::whole(g, c),
        SamplesMut::whole(&mut dx, map.sample_len()),
    );
    exec.for_samples(n, n * map.sample_len(), dst, |i, dst| {
        for (block, g) in dst
            .chunks_exact_mut(pixels * LANES)
            .zip(src.get(i).chunks(LANES))
        {
            let mut share = [0f32; LANES];
            for (s, g) in share.iter_mut().zip(g) {
                *s = g / pixels as f32;
            }
            for pixel in block.chunks_exact_mut(LANES) {
                pixel.copy_from_slice(&share);
            }
        }
    });
    dx
}
