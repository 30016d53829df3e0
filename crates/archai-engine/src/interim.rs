//! Stand-ins for types of the neighbouring crates.

/// Keyed random draws.
pub mod rng {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng};

    /// A key of random draws: a hash of everything that it was derived from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Key([u8; 32]);

    /// A part of a [`Key`].
    pub enum Part<'a> {
        /// Text.
        Text(&'a str),
        /// Number.
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
        fn from(n: u64) -> Self {
            Part::Number(n)
        }
    }
    impl From<usize> for Part<'_> {
        fn from(n: usize) -> Self {
            Part::Number(n as u64)
        }
    }

    impl Key {
        /// The root key of a run.
        pub fn new(seed: u64) -> Key {
            Key(*blake3::hash(&seed.to_le_bytes()).as_bytes())
        }
        /// A key below this one.
        pub fn with<'a>(&self, part: impl Into<Part<'a>>) -> Key {
            Key(match part.into() {
                Part::Text(t) => *blake3::keyed_hash(&self.0, t.as_bytes()).as_bytes(),
                Part::Number(n) => *blake3::keyed_hash(&self.0, &n.to_le_bytes()).as_bytes(),
            })
        }
        /// Its generator.
        pub fn rng(&self) -> Rng {
            Rng(ChaCha8Rng::from_seed(self.0))
        }
    }

    /// A generator.
    pub struct Rng(ChaCha8Rng);
    impl Rng {
        /// Uniform in [0, 1).
        pub fn uniform_f64(&mut self) -> f64 {
            (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
        }
        /// Standard normal.
        pub fn normal(&mut self) -> f64 {
            let radius = (-2.0 * (1.0 - self.uniform_f64()).ln()).sqrt();
            radius * (std::f64::consts::TAU * self.uniform_f64()).cos()
        }
    }
}

/// Images with labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `[n, c, h, w]`, row-major.
    pub images: Vec<f32>,
    /// Sizes.
    pub shape: [usize; 4],
    /// One label per image.
    pub labels: Vec<i64>,
}

/// What is known of an op without tensors.
pub trait OpInfo: Send + Sync {
    /// Name in descriptions.
    fn name(&self) -> &str;
    /// One line for `archai ops`.
    fn summary(&self) -> &str;
}

/// Ops by name.
#[derive(Clone, Default)]
pub struct OpCatalog {
    ops: indexmap::IndexMap<String, std::sync::Arc<dyn OpInfo>>,
}

impl OpCatalog {
    /// Adds an op.
    ///
    /// # Errors
    /// The name is taken.
    pub fn register(&mut self, op: impl OpInfo + 'static) -> Result<(), String> {
        match self
            .ops
            .insert(op.name().to_string(), std::sync::Arc::new(op))
        {
            None => Ok(()),
            Some(_) => Err("taken".into()),
        }
    }
}
