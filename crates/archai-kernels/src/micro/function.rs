//! Functions that need an exponential, on eight lanes at a time. They are written for arrays, without branches, so that the compiler
//! makes vectors of them; no instruction set computes anything else than the others.

use crate::simd::{Isa, LANES};

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid<I: Isa>(v: I::V) -> I::V {
    lanes::<I>(v, |x| 1.0 / (1.0 + exp(-x)))
}

/// `x · Φ(x)`, Φ being the distribution function of the normal distribution.
#[inline(always)]
pub(crate) fn gelu<I: Isa>(v: I::V) -> I::V {
    lanes::<I>(v, |x| {
        // Φ(−|x|), in which nothing cancels.
        let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let tail = 0.5 * scaled_erfc(z) * exp(-z * z);
        x * if x > 0.0 { 1.0 - tail } else { tail }
    })
}

#[inline(always)]
fn lanes<I: Isa>(v: I::V, f: impl Fn(f32) -> f32) -> I::V {
    let values: [f32; LANES] = I::to_array(v);
    let values: [f32; LANES] = std::array::from_fn(|i| f(values[i]));
    I::from_array(&values)
}

/// eˣ to about an ulp, where it is a normal number; about 10⁻³⁸ below and 2·10³⁸ above. Not-a-number stays what it is.
#[inline(always)]
fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    // x = n·ln 2 + r with |r| ≤ ln 2 / 2; adding this number rounds to a whole one.
    const ROUND: f32 = 12_582_912.0;
    let n = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    // ln 2 in two parts, the first of which has few bits, so that its products are exact.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f64 = std::f64::consts::LN_2 - HIGH as f64;
    let r = x - n * HIGH - n * LOW as f32;
    // The series of the exponential up to r⁷ / 7!.
    let mut sum = 1.0 / 5040.0;
    for term in [720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * r + 1.0 / term;
    }
    // 2ⁿ by its bits. What is no number has no exponent, and its sum is none.
    sum * f32::from_bits(((n as i32 + 127) << 23) as u32)
}

/// `e^(z²) · erfc(z)` for `z ≥ 0`, with a relative error below 3·10⁻⁸ up to 10, beyond which `e^(−z²)` is zero: a polynomial in
/// `t = 1 / (1 + 0.3 z)`, the form of Abramowitz and Stegun 1964, 7.1.26, fitted in Chebyshev's points.
#[inline(always)]
fn scaled_erfc(z: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3 * z);
    let mut sum = -0.130_558_6_f32;
    for factor in [
        0.490_735_6,
        -0.523_299_14,
        0.560_781,
        -0.104_048_65,
        0.219_122_51,
        0.147_205_48,
        0.170_884_41,
        0.169_177_34,
    ] {
        sum = sum * t + factor;
    }
    sum * t
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    fn of(f: impl Fn([f32; LANES]) -> [f32; LANES], x: f32) -> f64 {
        f64::from(f([x; LANES])[3])
    }

    #[test]
    fn an_exponential_is_exact_to_about_a_bit() {
        for i in -8700..8830 {
            let x = i as f32 * 0.01;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found / expected - 1.0).abs() < 2e-7,
                "{x}: {found} {expected}"
            );
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1000.0) < 1e-37 && exp(f32::INFINITY) > 1e38);
    }

    #[test]
    fn functions_are_those_of_an_exact_arithmetic() {
        for (x, expected) in [
            (-10.0, -7.619_853_024_160_527e-23),
            (-5.0, -1.433_257_859_395_969_5e-6),
            (-1.0, -0.158_655_253_931_457_05),
            (-0.25, -0.100_323_418_579_269_04),
            (0.0, 0.0),
            (0.5, 0.345_731_230_637_006_56),
            (3.25, 3.248_124_668_612_23),
            (20.0, 20.0),
        ] {
            let found = of(gelu::<Portable>, x);
            let off = (found - expected).abs();
            // What rounding the square in the exponent costs.
            let size = f64::from(2.0 + x * x) * expected.abs();
            assert!(off <= 1.2e-7 * size, "gelu({x}): {found:e} {expected:e}");
        }
        for (x, expected) in [
            (-40.0, 4.248_354_255_291_589e-18),
            (-2.5, 0.075_858_180_021_243_55),
            (0.0, 0.5),
            (6.0, 0.997_527_376_843_365_2),
            (200.0, 1.0),
        ] {
            let found = of(sigmoid::<Portable>, x);
            let off = (found - expected).abs();
            assert!(
                off <= 3e-7 * expected,
                "sigmoid({x}): {found:e} {expected:e}"
            );
        }
        for f in [gelu::<Portable>, sigmoid::<Portable>] {
            assert!(of(f, f32::NAN).is_nan());
        }
    }
}
