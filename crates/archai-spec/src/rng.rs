//! Randomness without state that order or threads could disturb.
//!
//! A generator that is passed along gives each consumer what the earlier ones left over, so one more draw, or one
//! more thread, changes everything after it. Here every draw is addressed instead: a [`Key`] names what the draw is
//! for, and equal keys give equal numbers, whoever asks, whenever.
//!
//! ```
//! use archai_spec::rng::Key;
//! let key = Key::new(2).with("drop path").with(3u64);
//! let mut rng = key.with(17u64).rng();          // for the 17th image of epoch 3
//! let kept = rng.uniform_f64() < 0.8;
//! assert_eq!(kept, key.with(17u64).rng().uniform_f64() < 0.8);
//! ```
//!
//! A key is a chain of BLAKE3 hashes; a generator is ChaCha with 8 rounds seeded by it. Values are the same on every
//! platform, except [`Rng::normal`], [`Rng::gamma`] and [`Rng::beta`], which are as exact as the platform's logarithm, power and
//! cosine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Names one stream of random numbers: a seed and what the numbers are for.
///
/// Parts are kept apart by kind and length: `with("ab").with("c")`, `with("a").with("bc")` and `with("abc")` are three
/// keys, and so are `with("1")` and `with(1u64)`. `with(1u64)`, `with(1u32)` and `with(1usize)` are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// A part of a [`Key`]: text or a whole number.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// What the numbers are for.
    Text(&'a str),
    /// An epoch, a step, an index.
    Number(u64),
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(text: &'a str) -> Self {
        Part::Text(text)
    }
}
impl<'a> From<&'a String> for Part<'a> {
    fn from(text: &'a String) -> Self {
        Part::Text(text)
    }
}
impl From<u64> for Part<'_> {
    fn from(number: u64) -> Self {
        Part::Number(number)
    }
}
impl From<u32> for Part<'_> {
    fn from(number: u32) -> Self {
        Part::Number(number.into())
    }
}
impl From<usize> for Part<'_> {
    fn from(number: usize) -> Self {
        Part::Number(number as u64)
    }
}

impl Key {
    /// The key of a run's seed.
    pub fn new(seed: u64) -> Key {
        Key(blake3::derive_key(
            "archai: key of a random stream, version 1",
            &seed.to_le_bytes(),
        ))
    }

    /// A key below this one.
    #[must_use]
    pub fn with<'a>(&self, part: impl Into<Part<'a>>) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        match part.into() {
            Part::Text(text) => hasher.update(&[0]).update(text.as_bytes()),
            Part::Number(number) => hasher.update(&[1]).update(&number.to_le_bytes()),
        };
        Key(hasher.finalize().into())
    }

    /// This key below another one, so that what one purpose draws differs with each step of a training, say.
    #[must_use]
    pub fn under(&self, other: Key) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&other.0);
        hasher.update(&[2]).update(&self.0);
        Key(hasher.finalize().into())
    }

    /// The generator of this key, at its beginning.
    pub fn rng(&self) -> Rng {
        Rng(ChaCha8Rng::from_seed(self.0))
    }
}

/// A generator of random numbers; see [`Key::rng`].
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A whole number in 0..n, each equally likely (Lemire, "Fast random integer generation in an interval", 2019).
    /// `n` = 0 gives 0.
    pub fn uniform_u32_below(&mut self, n: u32) -> u32 {
        // The high half of x·n falls on each value equally often, but for the 2³² mod n smallest low halves.
        let mut product = u64::from(self.next_u32()) * u64::from(n);
        if (product as u32) < n {
            let surplus = n.wrapping_neg() % n;
            while (product as u32) < surplus {
                product = u64::from(self.next_u32()) * u64::from(n);
            }
        }
        (product >> 32) as u32
    }

    /// A number in [0, 1): a multiple of 2⁻⁵³, each equally likely.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A number of the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform_f64()).cos()
    }

    /// A number of the gamma distribution of the given shape and scale 1 (Marsaglia and Tsang, "A simple method for generating
    /// gamma variables", 2000). A shape that is not positive gives 0.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape.is_nan() || shape <= 0.0 {
            return 0.0;
        }
        // Their method needs a shape of at least 1; a smaller one is made of the next larger one.
        let boost = match shape < 1.0 {
            true => (1.0 - self.uniform_f64()).powf(1.0 / shape),
            false => 1.0,
        };
        let d = if shape < 1.0 { shape + 1.0 } else { shape } - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            let u = 1.0 - self.uniform_f64();
            if v > 0.0 && u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return boost * d * v;
            }
        }
    }

    /// A number of the beta distribution, in [0, 1]. Parameters so small that neither of the two gamma numbers differs from 0
    /// give 1/2.
    pub fn beta(&mut self, alpha: f64, beta: f64) -> f64 {
        let (x, y) = (self.gamma(alpha), self.gamma(beta));
        match x + y > 0.0 {
            true => x / (x + y),
            false => 0.5,
        }
    }

    /// Puts the items into a random order, each equally likely (Fisher and Yates).
    ///
    /// # Panics
    /// With more than 2³² items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        assert!(
            items.len() as u64 <= u64::from(u32::MAX),
            "at most 2^32 items can be shuffled"
        );
        for last in (1..items.len()).rev() {
            let other = self.uniform_u32_below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Key {
        Key::new(42).with("purpose").with(3u64)
    }

    #[test]
    fn gamma_and_beta_have_their_means_and_variances() {
        let moments = |values: &[f64]| {
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            (mean, variance)
        };
        let near = |found: f64, expected: f64| (found - expected).abs() < 0.1 * expected;
        for shape in [0.2, 1.0, 4.5] {
            let mut rng = base().with("gamma").rng();
            let values: Vec<f64> = (0..100_000).map(|_| rng.gamma(shape)).collect();
            let (mean, variance) = moments(&values);
            assert!(
                near(mean, shape) && near(variance, shape),
                "{shape}: {mean} {variance}"
            );
        }
        for (a, b) in [(0.2, 0.2), (1.0, 1.0), (2.0, 5.0)] {
            let mut rng = base().with("beta").rng();
            let values: Vec<f64> = (0..100_000).map(|_| rng.beta(a, b)).collect();
            assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
            let (mean, variance) = moments(&values);
            let expected = a * b / ((a + b) * (a + b) * (a + b + 1.0));
            assert!(
                near(mean, a / (a + b)) && near(variance, expected),
                "{a} {b}: {mean} {variance}"
            );
        }
        assert_eq!(base().rng().gamma(0.0), 0.0);
        assert_eq!(base().rng().beta(0.0, 0.0), 0.5);
    }

    #[test]
    fn values_never_change() {
        let mut rng = base().with(7usize).rng();
        let words: Vec<u32> = (0..4).map(|_| rng.next_u32()).collect();
        assert_eq!(
            words,
            [96_750_194, 1_183_891_743, 1_506_424_278, 121_477_660]
        );
        let mut rng = base().with(8u32).rng();
        let below: Vec<u32> = (0..12).map(|_| rng.uniform_u32_below(10)).collect();
        assert_eq!(below, [8, 2, 1, 8, 6, 1, 3, 2, 8, 1, 9, 9]);
        assert_eq!(
            base().with(9u64).rng().uniform_f64(),
            0.718_287_102_755_811_6
        );
        let mut order: Vec<u32> = (0..10).collect();
        base().with(10u64).rng().shuffle(&mut order);
        assert_eq!(order, [8, 1, 4, 2, 9, 0, 3, 6, 5, 7]);
        assert!((base().with(11u64).rng().normal() - 0.596_763_247_747_787_5).abs() < 1e-12);
    }

    #[test]
    fn keys_are_told_apart() {
        let key = Key::new(1);
        let keys = [
            key,
            Key::new(2),
            key.with("abc"),
            key.with("ab").with("c"),
            key.with("a").with("bc"),
            key.with("1"),
            key.with(1u64),
            key.with(1u64).with(0u64),
            key.with(""),
        ];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                assert_ne!(a, b);
            }
        }
        assert_eq!(key.with(1u32), key.with(1usize));
        assert_eq!(key.with(&String::from("abc")), key.with("abc"));
    }

    #[test]
    fn bounds_hold_and_every_value_comes() {
        for n in [1, 2, 3, 7, 10, 1000] {
            let mut rng = base().with(n).rng();
            let mut count = vec![0u32; n as usize];
            for _ in 0..n * 500 {
                count[rng.uniform_u32_below(n) as usize] += 1;
            }
            // 500 expected, standard deviation below 22.4.
            assert!(
                count.iter().all(|&c| (380..620).contains(&c)),
                "{n}: {count:?}"
            );
        }
        // A bound just above 2³¹: without the rejection, low values would come twice as often.
        let mut rng = base().rng();
        let n = (1u32 << 31) + 1;
        let low = (0..4000)
            .filter(|_| rng.uniform_u32_below(n) < n / 2)
            .count();
        assert!((1850..2150).contains(&low), "{low}");
        assert_eq!(rng.uniform_u32_below(0), 0);
    }

    #[test]
    fn moments() {
        let mut rng = base().rng();
        let n = 100_000;
        let (mut uniform, mut sum, mut square) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let u = rng.uniform_f64();
            assert!((0.0..1.0).contains(&u));
            uniform += u;
            let x = rng.normal();
            sum += x;
            square += x * x;
        }
        let n = f64::from(n);
        assert!((uniform / n - 0.5).abs() < 0.005);
        assert!((sum / n).abs() < 0.015);
        assert!((square / n - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_shuffle_keeps_the_items() {
        for n in 0..50u32 {
            let mut items: Vec<u32> = (0..n).collect();
            base().with(n).rng().shuffle(&mut items);
            items.sort_unstable();
            assert!(items.into_iter().eq(0..n));
        }
    }
}
