//! Eight bits instead of a number: the arithmetic of ONNX's `QuantizeLinear` and `DequantizeLinear`.

/// How numbers of a value become bytes: byte = round(number / scale) + zero point, cut off at 0 and 255. Rounding is to the
/// nearest, halves to even. Zero is always exact, because convolutions pad with it.
///
/// ```
/// use archai_export::quant::Affine;
/// let affine = Affine::of_range(-1.0, 3.0);
/// assert_eq!(affine.zero_point, 64);
/// assert_eq!(affine.round(0.0), 0.0);
/// assert!((affine.round(1.234) - 1.234).abs() <= 0.5 * f64::from(affine.scale));
/// assert_eq!(affine.round(99.0), f64::from(affine.scale) * (255.0 - 64.0));
/// // What is never negative spends all bytes on what it is.
/// assert_eq!(Affine::of_range(0.0, 2.55).zero_point, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// What neighbouring bytes differ by.
    pub scale: f32,
    /// The byte of 0.
    pub zero_point: u8,
}

impl Affine {
    /// The whole of `low` to `high`, widened to contain 0.
    pub fn of_range(low: f64, high: f64) -> Affine {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0) as f32;
        // A value that is always zero, or too small for a 32-bit scale.
        if scale < f32::MIN_POSITIVE {
            return Affine {
                scale: 1.0,
                zero_point: 0,
            };
        }
        Affine {
            scale,
            zero_point: (-low / f64::from(scale))
                .round_ties_even()
                .clamp(0.0, 255.0) as u8,
        }
    }

    /// The byte of a number.
    pub fn quantise(&self, x: f64) -> u8 {
        let steps = (x / f64::from(self.scale)).round_ties_even();
        (steps + f64::from(self.zero_point)).clamp(0.0, 255.0) as u8
    }

    /// The number of a byte.
    pub fn dequantise(&self, byte: u8) -> f64 {
        f64::from(self.scale) * (f64::from(byte) - f64::from(self.zero_point))
    }

    /// What is left of a number.
    pub fn round(&self, x: f64) -> f64 {
        self.dequantise(self.quantise(x))
    }
}

/// A weight in signed bytes: number = scale · byte, with a scale for each of its first axis' entries (output channels).
#[derive(Clone, Debug, PartialEq)]
pub struct Bytes {
    /// Between −127 and 127, in the order of the weight.
    pub values: Vec<i8>,
    /// One for each output channel.
    pub scales: Vec<f32>,
}

impl Bytes {
    /// A weight whose first axis has `channels` entries.
    ///
    /// The scale of a channel is the smallest with which no byte exceeds 127 and no two of one sign exceed 128 together.
    /// The second condition is for x86 processors without VNNI: their instruction for bytes (`vpmaddubsw`) adds two
    /// products in 16 bits, and 255·128 is the most that fits. Without it results would depend on the processor.
    ///
    /// `least` bounds the scales from below, channel by channel.
    pub fn of_weight(weight: &[f64], channels: usize, least: impl Fn(usize) -> f64) -> Bytes {
        let size = weight.len() / channels.max(1);
        let mut bytes = Bytes {
            values: Vec::with_capacity(weight.len()),
            scales: Vec::with_capacity(channels),
        };
        for (c, row) in weight.chunks_exact(size.max(1)).enumerate() {
            // One less than 128: rounding may add a half to each of the two.
            let scale = row_extent(row).max(least(c) * 127.0) / 127.0;
            let scale = match scale as f32 {
                scale if scale >= f32::MIN_POSITIVE => scale,
                // A channel of zeros.
                _ => 1.0,
            };
            let byte = |w: &f64| {
                (w / f64::from(scale))
                    .round_ties_even()
                    .clamp(-127.0, 127.0) as i8
            };
            bytes.values.extend(row.iter().map(byte));
            bytes.scales.push(scale);
        }
        bytes
    }

    /// The numbers that the bytes stand for.
    pub fn dequantised(&self) -> Vec<f64> {
        let size = self.values.len() / self.scales.len().max(1);
        let scale = |i: usize| f64::from(self.scales[i / size.max(1)]);
        let numbers = self.values.iter().enumerate();
        numbers.map(|(i, &b)| scale(i) * f64::from(b)).collect()
    }
}

/// The largest magnitude of a row, or of the sum of two entries of one sign.
fn row_extent(row: &[f64]) -> f64 {
    let of_sign = |sign: f64| {
        let (mut first, mut second) = (0.0_f64, 0.0_f64);
        for w in row.iter().map(|w| w * sign) {
            if w > first {
                (first, second) = (w, first);
            } else if w > second {
                second = w;
            }
        }
        first + second
    };
    of_sign(1.0).max(of_sign(-1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (low, high, scale, zero_point) in [
            (0.0, 255.0, 1.0, 0),
            (1.0, 255.0, 1.0, 0),
            (-255.0, -1.0, 1.0, 255),
            (-127.5, 127.5, 1.0, 128),
            (0.0, 0.0, 1.0, 0),
            (-1e-60, 1e-60, 1.0, 0),
        ] {
            let affine = Affine::of_range(low, high);
            assert_eq!(
                (affine.scale, affine.zero_point),
                (scale, zero_point),
                "{low} {high}"
            );
        }
    }

    #[test]
    fn halves_go_to_even_and_ends_are_cut_off() {
        let affine = Affine {
            scale: 0.5,
            zero_point: 10,
        };
        for (x, byte) in [
            (0.25, 10),
            (0.75, 12),
            (-0.25, 10),
            (-9.0, 0),
            (200.0, 255),
            (f64::MAX, 255),
        ] {
            assert_eq!(affine.quantise(x), byte, "{x}");
        }
    }

    #[test]
    fn weights_never_overflow_a_pair() {
        // Pseudo-random rows, some with one dominant entry.
        let mut x = 12345_u64;
        let mut number = || {
            x = x
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (x >> 40) as f64 / (1 << 24) as f64 - 0.5
        };
        for size in [1, 2, 3, 9, 25, 144] {
            let weight: Vec<f64> = (0..50 * size).map(|_| number() * number().exp()).collect();
            let bytes = Bytes::of_weight(&weight, 50, |_| 0.0);
            let back = bytes.dequantised();
            for (c, row) in bytes.values.chunks_exact(size).enumerate() {
                let mut sorted: Vec<i32> = row.iter().map(|&b| b.into()).collect();
                sorted.sort_unstable();
                let two = |ends: &mut dyn Iterator<Item = &i32>| ends.take(2).sum::<i32>();
                let low = two(&mut sorted.iter().filter(|b| **b < 0));
                let high = two(&mut sorted.iter().rev().filter(|b| **b > 0));
                // 255 · sum in 16 bits.
                assert!(255 * low >= -32768 && 255 * high <= 32767, "{sorted:?}");
                let scale = f64::from(bytes.scales[c]);
                for (w, b) in weight[c * size..].iter().zip(&back[c * size..][..size]) {
                    assert!((w - b).abs() <= 0.5001 * scale, "{w} {b} {scale}");
                }
                // No scale is larger than needed.
                assert!(low <= -125 || high >= 125, "{sorted:?}");
            }
        }
    }

    #[test]
    fn a_row_of_zeros_has_a_scale() {
        let bytes = Bytes::of_weight(&[0.0, 0.0, 1.0, -0.5], 2, |_| 0.0);
        assert_eq!(bytes.values, [0, 0, 127, -64]);
        assert_eq!(bytes.scales[0], 1.0);
        let bytes = Bytes::of_weight(&[0.1, 0.1], 1, |_| 1.0);
        assert_eq!((bytes.scales[0], &bytes.values[..]), (1.0, &[0, 0][..]));
    }
}
