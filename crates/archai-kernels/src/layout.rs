//! The channel-blocked layout `[N, ⌈C/8⌉, H·W, 8]` and the way in and out of it.
//!
//! Channel `c` of a pixel is lane `c % 8` of block `c / 8`. If C is not a multiple of eight, the lanes past C are
//! padding and hold zeros: every op expects that of its arguments, gradients included, and keeps it in its results.

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::exec::Exec;
use crate::simd::LANES;
use std::fmt;

/// The size of one sample: channels, rows, columns. The number of samples follows from the length of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeatureMap {
    /// Channels, padding not counted.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl FeatureMap {
    /// A map of the given size.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        FeatureMap {
            channels,
            height,
            width,
        }
    }

    /// Blocks of eight channels, the last one perhaps partly padding.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Channels with padding.
    pub fn padded_channels(&self) -> usize {
        self.blocks() * LANES
    }

    /// Rows times columns.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Elements of one sample in the blocked layout.
    pub fn sample_len(&self) -> usize {
        self.padded_channels() * self.pixels()
    }

    /// Elements of one sample in NCHW.
    pub fn plain_len(&self) -> usize {
        self.channels * self.pixels()
    }

    /// The number of samples in a blocked tensor of `len` elements.
    ///
    /// # Panics
    /// If `len` is not a positive multiple of the sample's length.
    pub fn samples(&self, len: usize) -> usize {
        let sample = self.sample_len();
        assert!(
            len > 0 && sample > 0 && len.is_multiple_of(sample),
            "a tensor of {len} elements does not hold whole samples of {self}: one has {sample} in the blocked layout"
        );
        len / sample
    }

    /// Checks that `x` holds `n` samples.
    pub(crate) fn check(&self, what: &str, x: &[f32], n: usize) {
        assert!(
            x.len() == n * self.sample_len(),
            "{what}: {} elements given, {n} samples of {self} in the blocked layout have {}",
            x.len(),
            n * self.sample_len()
        );
    }

    pub(crate) fn with_channels(self, channels: usize) -> Self {
        FeatureMap { channels, ..self }
    }
}

impl fmt::Display for FeatureMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}×{}×{} (channels, rows, columns)",
            self.channels, self.height, self.width
        )
    }
}

/// An op that cannot be built: the message says what was asked, what is possible and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

/// NCHW to blocked. `x` holds whole samples of `map`; the padding lanes become zero.
///
/// ```
/// use archai_kernels::{Exec, FeatureMap, from_nchw, to_nchw};
/// let map = FeatureMap::new(3, 1, 2);
/// let x = [1., 2., 3., 4., 5., 6.];
/// let blocked = from_nchw(&Exec::new(), map, &x);
/// assert_eq!(blocked[..8], [1., 3., 5., 0., 0., 0., 0., 0.]);
/// assert_eq!(to_nchw(&Exec::new(), map, &blocked), x);
/// ```
pub fn from_nchw(exec: &Exec, map: FeatureMap, x: &[f32]) -> Vec<f32> {
    let (plain, len, pixels) = (map.plain_len(), map.sample_len(), map.pixels());
    assert!(
        plain > 0 && x.len().is_multiple_of(plain),
        "{} elements are no whole samples of {map} in NCHW",
        x.len()
    );
    let n = x.len() / plain;
    // SAFETY: the loops below assign every lane of every pixel, those past the channels too.
    let mut out = unsafe { overwritten::<f32>(n * len) };
    let (src, dst) = (Samples::whole(x, plain), SamplesMut::whole(&mut out, len));
    exec.for_samples(n, n * len, dst, |i, d| {
        let s = src.get(i);
        for (block, d) in d.chunks_exact_mut(pixels * LANES).enumerate() {
            for (p, d) in d.chunks_exact_mut(LANES).enumerate() {
                for (lane, d) in d.iter_mut().enumerate() {
                    let c = block * LANES + lane;
                    *d = if c < map.channels {
                        s[c * pixels + p]
                    } else {
                        0.0
                    };
                }
            }
        }
    });
    out
}

/// Blocked to NCHW: the inverse of [`from_nchw`] (and its gradient).
pub fn to_nchw(exec: &Exec, map: FeatureMap, x: &[f32]) -> Vec<f32> {
    let (plain, len, pixels) = (map.plain_len(), map.sample_len(), map.pixels());
    let n = map.samples(x.len());
    // SAFETY: the loops below assign every pixel of every channel.
    let mut out = unsafe { overwritten::<f32>(n * plain) };
    let (src, dst) = (Samples::whole(x, len), SamplesMut::whole(&mut out, plain));
    exec.for_samples(n, n * len, dst, |i, d| {
        let s = src.get(i);
        for (c, d) in d.chunks_exact_mut(pixels).enumerate() {
            let s = &s[c / LANES * pixels * LANES + c % LANES..];
            for (p, d) in d.iter_mut().enumerate() {
                *d = s[p * LANES];
            }
        }
    });
    out
}
